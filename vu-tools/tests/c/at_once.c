// Changes directories while others look at them: a look that begins when a change has returned sees it, and who has seen it once never sees again what was there before.
//   at_once DIR ROUNDS
// DIR gets directories with files, which are to be untouched in the union that is mounted over it afterwards: made with ROUNDS only ("at_once DIR ROUNDS make").
// Three other processes and another thread look, by absolute and by relative paths, and below an open directory, which they list, too. Prints what was wrong.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KINDS = 16, LINKED = KINDS, LOOKERS = 4, MOST = 400 };

// How an object looks: all that the changes below change.
struct look {
    int error;
    mode_t mode;
    long long size, seconds, nanoseconds;
    char content;
};

struct shared {
    atomic_int current, changed;
    atomic_long looks[LOOKERS];
    struct look before[MOST];
    atomic_int wrong;
};

static struct shared *shared;
static const char *directory;
static int count;

static void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(2);
}

static struct look look(int at, const char *path, int content) {
    struct look seen = {0};
    struct stat stat_now;
    if (at == AT_FDCWD ? stat(path, &stat_now) : fstatat(at, path, &stat_now, 0)) {
        seen.error = errno;
        return seen;
    }
    seen.mode = stat_now.st_mode;
    seen.size = S_ISDIR(stat_now.st_mode) ? 0 : (long long)stat_now.st_size;
    if (S_ISREG(stat_now.st_mode)) {
        seen.seconds = stat_now.st_mtim.tv_sec;
        seen.nanoseconds = stat_now.st_mtim.tv_nsec;
    }
    if (content) {
        int fd = openat(at, path, O_RDONLY);
        if (fd >= 0 && read(fd, &seen.content, 1) < 0) seen.content = '?';
        if (fd >= 0) close(fd);
    }
    return seen;
}

static int same(const struct look *a, const struct look *b, int content) {
    return a->error == b->error && a->mode == b->mode && a->size == b->size && a->seconds == b->seconds && a->nanoseconds == b->nanoseconds &&
           (!content || a->content == b->content);
}

// The last one is of its own kind: from then on, a union knows that its files have several names.
static int kind(int index) {
    return index == count - 1 ? LINKED : index % KINDS;
}

// What is looked at in the directory of a change.
static const char *object(int index) {
    switch (kind(index)) {
    case 6: return "sub";
    case 8: return "new";
    case 9: return "link";
    case 13: case 14: case 15: return "sub/f";
    case LINKED: return "../links/h";
    default: return "f";
    }
}

static int lists(int directory, const char *name) {
    char buffer[4096];
    if (lseek(directory, 0, SEEK_SET)) fail("lseek");
    for (ssize_t size; (size = getdents64(directory, buffer, sizeof buffer)) > 0;)
        for (ssize_t at = 0; at < size; at += ((struct dirent64 *)(buffer + at))->d_reclen)
            if (!strcmp(((struct dirent64 *)(buffer + at))->d_name, name)) return 1;
    return 0;
}

// The directory of an object.
static int open_directory(int index) {
    char path[64];
    snprintf(path, sizeof path, "d%d/%s", index, object(index));
    *strrchr(path, '/') = 0;
    return open(path, O_RDONLY | O_DIRECTORY);
}

static void wrong(const char *path, const char *what) {
    printf("%s: %s\n", path, what);
    atomic_fetch_add(&shared->wrong, 1);
}

static void watch(int who) {
    int at = -1, seen = 0, below = -1;
    char path[512];
    while ((atomic_load(&shared->current)) < MOST) {
        int now = atomic_load(&shared->current);
        if (now < 0) continue;
        if (now != at) {
            at = now;
            seen = 0;
            close(below);
            below = who == 3 ? open_directory(now) : -1;
        }
        int returned = atomic_load(&shared->changed) >= now;
        // One that is removed does not come back, whatever is made under its name.
        if (who == 3 && (kind(now) == 13 || kind(now) == 14)) {
            close(below);
            below = open_directory(now);
        }
        if (who == 3) snprintf(path, sizeof path, "%s", strrchr(object(now), '/') ? strrchr(object(now), '/') + 1 : object(now));
        else if (who == 1) snprintf(path, sizeof path, "d%d/%s", now, object(now));
        else snprintf(path, sizeof path, "%s/d%d/%s", directory, now, object(now));
        // With several threads, opens are not answered in the process.
        struct look here = {.error = ENOENT};
        if (who != 3 || below >= 0) here = look(who == 3 ? below : AT_FDCWD, path, who != 0);
        int old = same(&here, &shared->before[now], who != 0);
        if (old && (returned || seen)) wrong(path, returned ? "as before after the change" : "as before once more");
        if (who == 3 && below >= 0 && returned) {
            struct stat itself;
            if (lists(below, path) != !here.error) wrong(path, "is listed or found, but not both");
            if (fstat(below, &itself) || (kind(now) == 15 && (itself.st_mode & 0777) != 0700)) wrong(path, "its directory's mode is as before");
        }
        seen |= !old;
        atomic_fetch_add(&shared->looks[who], 1);
    }
}

static void *thread(void *none) {
    watch(0);
    return none;
}

static void check(int result, const char *what) {
    if (result < 0) fail(what);
}

static void put(const char *name, const char *text, int flags) {
    int fd = open(name, O_WRONLY | O_CREAT | flags, 0644);
    check(fd, name);
    check((int)write(fd, text, strlen(text)), name);
    close(fd);
}

static void change(int index) {
    char d[32], f[64], g[64], sub[64], other[64];
    snprintf(d, sizeof d, "d%d", index);
    snprintf(f, sizeof f, "%s/f", d);
    snprintf(g, sizeof g, "%s/g", d);
    snprintf(sub, sizeof sub, "%s/sub", d);
    snprintf(other, sizeof other, "%s/%s", d, object(index));
    char moved[64];
    snprintf(moved, sizeof moved, "%s/other", d);
    struct timespec times[2] = {{1, 2}, {3, 4}};
    switch (kind(index)) {
    case 0: put(f, "newer", O_TRUNC); break;
    case 1: check(unlink(f), f); break;
    case 2: check(rename(f, sub), f); break;
    case 3: check(rename(g, f), f); break;
    case 4: check(chmod(f, 0600), f); break;
    case 5:
        check(unlink(f), f);
        check(symlink("g", f), f);
        break;
    case 6: check(rmdir(sub), sub); break;
    case 7:
        check(unlink(f), f);
        check(unlink(g), g);
        check(rmdir(sub), sub);
        check(rmdir(d), d);
        break;
    case 8: check(mkdir(other, 0755), other); break;
    case 9: check(link(f, other), other); break;
    case 10: check(utimensat(AT_FDCWD, f, times, 0), f); break;
    case 11: check(truncate(f, 2), f); break;
    case 12:
        check(unlink(f), f);
        check(unlink(g), g);
        check(rmdir(sub), sub);
        check(rmdir(d), d);
        check(mkdir(d, 0755), d);
        put(f, "newer", 0);
        break;
    case 13:
        check(rmdir(sub), sub);
        check(mkdir(sub, 0755), sub);
        put(other, "newer", 0);
        break;
    case 14: check(rename(moved, sub), sub); break;
    case 15:
        check(chmod(sub, 0700), sub);
        put(other, "newer", 0);
        break;
    case LINKED: check(truncate(f, 2), f); break;
    }
}

// Where a directory is to be looked at that is untouched below one that is not.
static void prepare(int index) {
    char name[64];
    if (kind(index) < 13 || kind(index) == LINKED) return;
    snprintf(name, sizeof name, "d%d/other", index);
    check(mkdir(name, 0755), name);
    snprintf(name, sizeof name, "d%d/other/f", index);
    put(name, "newer", 0);
}

static void make(void) {
    for (int i = 0; i < count; i++) {
        char name[64];
        snprintf(name, sizeof name, "d%d", i);
        check(mkdir(name, 0755), name);
        snprintf(name, sizeof name, "d%d/f", i);
        put(name, "old", 0);
        snprintf(name, sizeof name, "d%d/g", i);
        put(name, "newest", 0);
        snprintf(name, sizeof name, "d%d/sub", i);
        // A file may be renamed to it in one of them.
        if (kind(i) != 2) check(mkdir(name, 0755), name);
        if (kind(i) == LINKED) {
            snprintf(name, sizeof name, "d%d/f", i);
            check(mkdir("links", 0755), "links");
            check(link(name, "links/h"), name);
        }
    }
}

static void wait_for_looks(int count) {
    long before[LOOKERS];
    for (int i = 0; i < LOOKERS; i++) before[i] = atomic_load(&shared->looks[i]);
    for (int i = 0; i < LOOKERS; i++)
        while (atomic_load(&shared->looks[i]) < before[i] + count) usleep(100);
}

int main(int argc, char **argv) {
    directory = argv[1];
    count = atoi(argv[2]) * KINDS + 1;
    check(chdir(directory), directory);
    if (argc > 3) {
        make();
        return 0;
    }
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) fail("mmap");
    shared->current = shared->changed = -1;
    pid_t children[LOOKERS];
    for (int who = 1; who < LOOKERS; who++) {
        children[who] = fork();
        if (children[who] == 0) {
            watch(who);
            fflush(stdout);
            _exit(0);
        }
    }
    pthread_t looker;
    if (pthread_create(&looker, NULL, thread, NULL)) fail("pthread_create");
    for (int i = 0; i < count; i++) {
        char path[512];
        prepare(i);
        snprintf(path, sizeof path, "d%d/%s", i, object(i));
        shared->before[i] = look(AT_FDCWD, path, 1);
        atomic_store(&shared->current, i);
        wait_for_looks(30);
        change(i);
        atomic_store(&shared->changed, i);
        wait_for_looks(10);
    }
    atomic_store(&shared->current, MOST);
    for (int who = 1; who < LOOKERS; who++) waitpid(children[who], NULL, 0);
    pthread_join(looker, NULL);
    printf("%d changes, %d wrong looks\n", count, shared->wrong);
    return shared->wrong != 0;
}
