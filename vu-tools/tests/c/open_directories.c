/* What directories are that stay open while things change in them: a line for each thing that is seen. It is to be run in a directory with a `dir` that has entries,
 * among them `dir/lines` and `dir/sub` with `inner`, and an `empty` one, and nothing of the names it makes. With an argument, locks are tried, too.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

struct entry {
    uint64_t ino;
    int64_t next;
    unsigned short length;
    unsigned char type;
    char name[];
};

static void tell(const char *what, long result)
{
    printf("%s: %s\n", what, result < 0 ? strerrorname_np(errno) : "ok");
    fflush(stdout);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *names[256];
static int count;

/* Takes in what one call with this much room gives; the number of entries, 0 at the end. */
static int some(int fd, size_t room)
{
    char buffer[4096];
    long length = syscall(SYS_getdents64, fd, buffer, room);
    if (length < 0) {
        tell("getdents64", length);
        return 0;
    }
    int more = 0;
    for (long at = 0; at < length; more++) {
        struct entry *entry = (struct entry *)(buffer + at);
        struct stat st;
        char text[300];
        /* The number and type that the listing tells are those of the object. */
        int same = fstatat(fd, entry->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == entry->ino && entry->type == IFTODT(st.st_mode);
        snprintf(text, sizeof text, "%s%s", entry->name, same || entry->name[0] == '.' ? "" : " (otherwise)");
        if (count < 256)
            names[count++] = strdup(text);
        at += entry->length;
    }
    return more;
}

static void shown(const char *what)
{
    qsort(names, count, sizeof *names, by_name);
    printf("%s:", what);
    for (int i = 0; i < count; i++) {
        printf(" %s", names[i]);
        free(names[i]);
    }
    printf("\n");
    fflush(stdout);
    count = 0;
}

static void whole(const char *what, int fd)
{
    lseek(fd, 0, SEEK_SET);
    while (some(fd, 4096))
        ;
    shown(what);
}

static void same(const char *what, int fd, const char *path)
{
    struct stat a, b;
    struct statx c;
    if (fstat(fd, &a) != 0 || stat(path, &b) != 0 || statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &c) != 0) {
        tell(what, -1);
        return;
    }
    int equal = a.st_ino == b.st_ino && a.st_dev == b.st_dev && a.st_mode == b.st_mode && a.st_mtime == b.st_mtime && c.stx_ino == a.st_ino && c.stx_mode == a.st_mode;
    printf("%s: %s, mode %o, links %s\n", what, equal ? "the same" : "another", a.st_mode, a.st_nlink ? "some" : "none");
    fflush(stdout);
}

static void make(const char *what, int at, const char *name)
{
    int fd = openat(at, name, O_CREAT | O_WRONLY | O_EXCL, 0644);
    tell(what, fd < 0 ? -1 : write(fd, "made\n", 5));
    close(fd);
}

static void link_of(const char *what, int fd)
{
    char name[64], target[4096];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    long length = readlink(name, target, sizeof target - 1);
    target[length < 0 ? 0 : length] = 0;
    const char *last = strrchr(target, '/');
    printf("%s: %s\n", what, last ? last : "?");
}

int main(int argc, char **argv)
{
    struct stat st;
    char text[300];
    (void)argv;
    int d = open("dir", O_RDONLY | O_DIRECTORY), e = openat(d, ".", O_RDONLY), p = open("dir", O_PATH);
    /* Opened for a program of 32 bits, all are of large files. */
    printf("flags %o %o\n", fcntl(d, F_GETFL) & ~0100000, fcntl(e, F_GETFL) & ~0100000);
    whole("at first", d);
    same("at first", d, "dir");
    tell("lines may be written", faccessat(d, "lines", W_OK, 0));
    tell("nothing is not there", fstatat(d, "nothing", &st, 0));
    tell("below a file", fstatat(d, "lines/x", &st, 0));
    if (argc > 1) {
        tell("exclusive lock", flock(d, LOCK_EX | LOCK_NB));
        tell("another", flock(e, LOCK_EX | LOCK_NB));
        tell("unlock", flock(d, LOCK_UN));
    }
    tell("no terminal", ioctl(d, TIOCGWINSZ, text));
    tell("write", write(d, "x", 1));

    /* A listing that has begun has what was there and stays, once. */
    lseek(d, 0, SEEK_SET);
    some(d, 64);
    make("make while listing", d, "a made one");
    while (some(d, 64))
        ;
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], "a made one") == 0) {
            free(names[i]);
            names[i--] = names[--count];
        }
    shown("what was there");
    whole("with the made one", d);
    whole("by another description", e);
    same("changed", d, "dir");
    same("by name only", p, "dir");

    /* The position is the description's: shared with a duplicate and a child. */
    lseek(d, 0, SEEK_SET);
    some(d, 64);
    int other = dup(d);
    some(other, 64);
    fflush(stdout);
    int ends[2];
    if (pipe(ends) != 0)
        return 1;
    if (fork() == 0) {
        count = 0;
        some(d, 64);
        for (int i = 0; i < count; i++)
            dprintf(ends[1], "%s\n", names[i]);
        _exit(0);
    }
    close(ends[1]);
    wait(NULL);
    FILE *told = fdopen(ends[0], "r");
    while (fgets(text, sizeof text, told)) {
        text[strcspn(text, "\n")] = 0;
        names[count++] = strdup(text);
    }
    fclose(told);
    while (some(d, 64))
        ;
    shown("by three");
    close(other);

    tell("unlinkat", unlinkat(d, "lines", 0));
    tell("is gone", openat(d, "lines", O_RDONLY));
    tell("mkdirat", mkdirat(d, "lines", 0755));
    whole("another lines", d);
    tell("renameat", renameat(d, "a made one", d, "renamed"));
    whole("renamed", e);
    tell("symlinkat", symlinkat("renamed", d, "link"));
    tell("through it", fstatat(d, "link", &st, 0));
    int sub = openat(d, "sub", O_RDONLY | O_DIRECTORY);
    whole("sub", sub);
    snprintf(text, sizeof text, "/proc/self/fd/%d/in sub", sub);
    make("by the magic link", AT_FDCWD, text);
    whole("sub with that", sub);
    tell("..", fstatat(sub, "../renamed", &st, 0));
    tell("inner", renameat(sub, "inner", d, "outer"));
    whole("sub without inner", sub);

    int deep = openat(sub, "deep", O_RDONLY);
    tell("fchmod", fchmod(deep, 0700));
    same("its mode", deep, "dir/sub/deep");
    struct timespec times[2] = {{5, 0}, {7, 0}};
    tell("futimens", futimens(deep, times));
    same("its times", deep, "dir/sub/deep");
#ifdef __i386__
    /* utimensat_time64, with something in the padding. */
    uint32_t long_times[8] = {1, 0, 2, 9, 11, 0, 3, 9};
    tell("utimensat_time64", syscall(412, deep, NULL, long_times, 0));
    same("its times once more", deep, "dir/sub/deep");
    tell("utimensat_time64", syscall(412, AT_FDCWD, "dir/sub", long_times, 0));
    stat("dir/sub", &st);
    printf("%ld.%09ld\n", (long)st.st_mtim.tv_sec, (long)st.st_mtim.tv_nsec);
#endif
    tell("fsetxattr", fsetxattr(deep, "user.x", "y", 1, 0));
    printf("fgetxattr: %zd\n", fgetxattr(deep, "user.x", text, sizeof text));
    tell("fchdir", fchdir(deep));
    make("there", AT_FDCWD, "made there");
    tell("by name", stat("../deep/made there", &st));
    char *cwd = getcwd(NULL, 0);
    printf("in %s\n", cwd && strrchr(cwd, '/') ? strrchr(cwd, '/') : "?");
    whole("deep", deep);
    tell("back", chdir("../../.."));

    int gone = open("empty", O_RDONLY | O_DIRECTORY);
    whole("empty", gone);
    link_of("its name", gone);
    tell("rmdir", rmdir("empty"));
    printf("links: %s\n", fstat(gone, &st) == 0 && st.st_nlink == 0 ? "none" : "some");
    link_of("it had", gone);
    whole("removed", gone);
    make("in what is removed", gone, "x");
    tell("mkdir", mkdir("empty", 0755));
    make("in its successor", AT_FDCWD, "empty/y");
    printf("still: %s\n", fstat(gone, &st) == 0 && st.st_nlink == 0 ? "none" : "some");
    tell("y is not in it", openat(gone, "y", O_RDONLY));
    whole("still removed", gone);
    tell("its parent", fstatat(gone, "../dir", &st, 0));
    same("its successor", open("empty", O_RDONLY), "empty");
    return 0;
}
