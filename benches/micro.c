/* Loops of one system call, for benches/compare.
 *
 * usage: micro getppid N | read N | pread N FILE | stat N PATH | threads N PATH | open N PATH | exec N PROGRAM
 *        micro mounts N SOURCE DIRECTORY            N mounts of SOURCE on DIRECTORY/0 …; prints nanoseconds a mount
 *        micro nest N DIRECTORY                     N mounts of / on DIRECTORY, one over the other
 *        micro time N PATH                          nanoseconds a stat
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long count;
static const char *path;

static void check(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000 + t.tv_nsec;
}

static void *stats(void *unused)
{
    struct stat st;
    for (long i = 0; i < count; i++)
        check(stat(path, &st) == 0, path);
    return unused;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return fprintf(stderr, "usage: micro CALL N [PATH]\n"), 2;
    const char *what = argv[1];
    char buffer[4096];
    count = atol(argv[2]);
    path = argc > 3 ? argv[3] : "";
    if (strcmp(what, "getppid") == 0) {
        for (long i = 0; i < count; i++)
            syscall(SYS_getppid);
    } else if (strcmp(what, "read") == 0) {
        int fd = open("/dev/zero", O_RDONLY);
        for (long i = 0; i < count; i++)
            check(read(fd, buffer, 1) == 1, "read");
    } else if (strcmp(what, "pread") == 0) {
        int fd = open(path, O_RDONLY);
        for (long i = 0; i < count; i++)
            check(pread(fd, buffer, sizeof buffer, 0) == sizeof buffer, path);
    } else if (strcmp(what, "stat") == 0) {
        stats(NULL);
    } else if (strcmp(what, "threads") == 0) {
        pthread_t other;
        check(pthread_create(&other, NULL, stats, NULL) == 0, "pthread_create");
        stats(NULL);
        pthread_join(other, NULL);
    } else if (strcmp(what, "open") == 0) {
        for (long i = 0; i < count; i++) {
            int fd = open(path, O_RDONLY | O_CLOEXEC);
            check(fd >= 0, path);
            close(fd);
        }
    } else if (strcmp(what, "create") == 0) {
        check(chdir(path) == 0, "chdir");
        for (long i = 0; i < count; i++) {
            char name[32];
            snprintf(name, sizeof name, "new%ld", i);
            int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0644);
            check(fd >= 0, "open");
            close(fd);
        }
    } else if (strcmp(what, "exec") == 0) {
        for (long i = 0; i < count; i++) {
            pid_t pid = fork();
            check(pid >= 0, "fork");
            if (pid == 0) {
                execl(path, "true", (char *)NULL);
                _exit(127);
            }
            int status;
            check(waitpid(pid, &status, 0) == pid && status == 0, path);
        }
    } else if (strcmp(what, "mounts") == 0 && argc == 5) {
        long begin = now();
        for (long i = 0; i < count; i++) {
            snprintf(buffer, sizeof buffer, "%s/%ld", argv[4], i);
            check(mount(path, buffer, "vufs", 0, NULL) == 0, buffer);
        }
        printf("%ld\n", (now() - begin) / (count ? count : 1));
    } else if (strcmp(what, "nest") == 0) {
        for (long i = 0; i < count; i++)
            check(mount("/", path, "vufs", 0, NULL) == 0, path);
    } else if (strcmp(what, "time") == 0) {
        stats(NULL);
        long begin = now();
        stats(NULL);
        printf("%ld\n", (now() - begin) / count);
    } else {
        return fprintf(stderr, "micro: no loop %s\n", what), 2;
    }
    return 0;
}
