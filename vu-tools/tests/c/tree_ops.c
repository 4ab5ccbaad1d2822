/* Operations on a tree of files, read from standard input, a line each; the result of each is printed, and the whole tree at the end.
 *
 * usage: tree_ops DIRECTORY < operations
 *
 * An operation is a letter and its arguments: paths relative to the directory, numbers, text.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SLOTS 4

static int files[SLOTS] = {-1, -1, -1, -1};
static DIR *directories[SLOTS];

static void result(const char *what, long value)
{
    if (value < 0)
        printf("%s: %s\n", what, strerrorname_np(errno));
    else
        printf("%s: ok\n", what);
}

static unsigned hash(const char *bytes, long length)
{
    unsigned h = 2166136261u;
    for (long i = 0; i < length; i++)
        h = (h ^ (unsigned char)bytes[i]) * 16777619u;
    return h;
}

static void content(const char *what, int fd)
{
    static char buffer[1 << 16];
    if (fd < 0) {
        result(what, -1);
        return;
    }
    long length = pread(fd, buffer, sizeof buffer, 0);
    if (length < 0)
        result(what, -1);
    else
        printf("%s: %ld bytes %08x\n", what, length, hash(buffer, length));
}

static void attributes(const char *what, int failed, const struct stat *st)
{
    if (failed) {
        result(what, -1);
        return;
    }
    int directory = S_ISDIR(st->st_mode);
    printf("%s: %o %d:%d %ld %ld\n", what, st->st_mode, (int)st->st_uid, (int)st->st_gid, directory ? 0 : (long)st->st_nlink,
           directory ? 0 : (long)st->st_size);
}

/* An access control list with an entry for a user (`struct posix_acl_xattr_header`, linux/posix_acl_xattr.h). */
static long set_acl(const char *path, const char *name, int user)
{
    struct __attribute__((packed)) {
        unsigned version;
        struct __attribute__((packed)) {
            unsigned short tag, perm;
            unsigned id;
        } entries[5];
    } acl = {2, {{1, 6, -1}, {2, 7, user}, {4, 5, -1}, {0x10, 5, -1}, {0x20, 1, -1}}};
    return setxattr(path, name, &acl, sizeof acl, 0);
}

/* What of the attributes is the file system's own: access control lists; and times that were set on purpose. */
static void lists(const char *path, const struct stat *st)
{
    static const char *const names[] = {"system.posix_acl_access", "system.posix_acl_default"};
    char value[1024];
    for (int i = 0; i < 2; i++) {
        long length = S_ISLNK(st->st_mode) ? -1 : lgetxattr(path, names[i], value, sizeof value);
        if (length > 0)
            printf("  %s %ld bytes %08x\n", names[i] + 17, length, hash(value, length));
    }
    if (st->st_mtim.tv_sec < 1000)
        printf("  of %ld.%09ld\n", (long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list(const char *what, DIR *dir)
{
    static char *names[4096];
    int count = 0;
    struct dirent *entry;
    if (!dir) {
        result(what, -1);
        return;
    }
    rewinddir(dir);
    errno = 0;
    while ((entry = readdir(dir)) && count < 4096) {
        char *line;
        struct stat st;
        int there = fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0;
        if (!strcmp(entry->d_name, "..") || asprintf(&line, "%s/%d%s", entry->d_name, entry->d_type, there && st.st_ino == entry->d_ino ? "" : "!") < 0)
            continue;
        names[count++] = line;
    }
    if (errno)
        printf("%s: %s\n", what, strerrorname_np(errno));
    qsort(names, count, sizeof *names, by_name);
    printf("%s:", what);
    for (int i = 0; i < count; i++) {
        printf(" %s", names[i]);
        free(names[i]);
    }
    printf("\n");
}

static void dump(int at, const char *name, const char *path)
{
    struct stat st;
    if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW)) {
        printf("%s %s\n", path, strerrorname_np(errno));
        return;
    }
    attributes(path, 0, &st);
    lists(path, &st);
    if (S_ISLNK(st.st_mode)) {
        char target[4096];
        long length = readlinkat(at, name, target, sizeof target - 1);
        printf("  -> %.*s\n", length < 0 ? 1 : (int)length, length < 0 ? "?" : target);
    } else if (S_ISREG(st.st_mode)) {
        int fd = openat(at, name, O_RDONLY);
        content("  has", fd);
        close(fd);
    } else if (S_ISDIR(st.st_mode)) {
        int fd = openat(at, name, O_RDONLY | O_DIRECTORY);
        DIR *dir = fdopendir(fd);
        static char *all[65536];
        int count = 0;
        struct dirent *entry;
        while (dir && (entry = readdir(dir)))
            if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") && count < 4096)
                all[count++] = strdup(entry->d_name);
        char *mine[4096];
        memcpy(mine, all, count * sizeof *mine);
        qsort(mine, count, sizeof *mine, by_name);
        for (int i = 0; i < count; i++) {
            char *below;
            if (asprintf(&below, "%s/%s", path, mine[i]) >= 0)
                dump(fd, mine[i], below);
        }
        if (dir)
            closedir(dir);
    }
}

int main(int argc, char **argv)
{
    char line[1024];
    if (argc != 2 || chdir(argv[1]))
        return 2;
    umask(022);
    for (int number = 1; fgets(line, sizeof line, stdin); number++) {
        char op = 0, a[256] = "", b[256] = "", what[1024];
        int n = 0, m = 0;
        struct stat st;
        line[strcspn(line, "\n")] = 0;
        snprintf(what, sizeof what, "%d %.900s", number, line);
        sscanf(line, "%c %255s %255s", &op, a, b);
        sscanf(line, "%c %*s %d %d", &op, &n, &m);
        int slot = (unsigned)a[0] % SLOTS;
        switch (op) {
        case 'm': result(what, mkdir(a, strtol(b, 0, 8))); break;
        case 'r': result(what, rmdir(a)); break;
        case 'u': result(what, unlink(a)); break;
        case 'n': result(what, rename(a, b)); break;
        case 'N': result(what, syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, 1)); break;
        case 'X': result(what, syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, 2)); break;
        case 'l': result(what, link(a, b)); break;
        case 's': result(what, symlink(a, b)); break;
        case 'p': result(what, mkfifo(a, 0644)); break;
        case 'c': {
            int fd = open(a, O_CREAT | O_EXCL | O_WRONLY, strtol(b, 0, 8));
            result(what, fd);
            close(fd);
            break;
        }
        case 'w': {
            int fd = open(a, O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK, 0644);
            result(what, fd < 0 ? fd : write(fd, b, strlen(b)));
            close(fd);
            break;
        }
        case 't': {
            int fd = open(a, O_WRONLY | O_TRUNC | O_NONBLOCK);
            result(what, fd);
            close(fd);
            break;
        }
        case 'T': result(what, truncate(a, n)); break;
        case 'C': result(what, chmod(a, strtol(b, 0, 8))); break;
        case 'O': result(what, lchown(a, n, m)); break;
        case 'v': result(what, setxattr(a, "user.x", b, strlen(b), 0)); break;
        case 'V': {
            char value[256];
            long length = lgetxattr(a, "user.x", value, sizeof value);
            printf("%s: %s\n", what, length < 0 ? strerrorname_np(errno) : "");
            if (length > 0)
                printf("  %.*s\n", (int)length, value);
            break;
        }
        case 'g': attributes(what, lstat(a, &st), &st); break;
        case 'G': attributes(what, stat(a, &st), &st); break;
        case 'R': {
            int fd = open(a, O_RDONLY | O_NONBLOCK);
            content(what, fd);
            close(fd);
            break;
        }
        case 'L': {
            DIR *dir = opendir(a);
            list(what, dir);
            if (dir)
                closedir(dir);
            break;
        }
        case 'W': result(what, access(a, W_OK)); break;
        case 'i': {
            struct stat other;
            int first = lstat(a, &st), second = lstat(b, &other);
            printf("%s: %s\n", what, first || second ? "missing" : st.st_ino == other.st_ino && st.st_dev == other.st_dev ? "same" : "different");
            break;
        }
        case 'o':
            close(files[slot]);
            files[slot] = open(b, O_RDWR | O_NONBLOCK);
            result(what, files[slot]);
            break;
        case 'y': result(what, write(files[slot], b, strlen(b))); break;
        case 'h': content(what, files[slot]); break;
        case 'f': attributes(what, fstat(files[slot], &st), &st); break;
        case 'F': result(what, fchmod(files[slot], strtol(b, 0, 8))); break;
        case 'd':
            if (directories[slot])
                closedir(directories[slot]);
            directories[slot] = opendir(b);
            result(what, directories[slot] ? 0 : -1);
            break;
        case 'e': list(what, directories[slot]); break;
        case 'M': result(what, mkdirat(directories[slot] ? dirfd(directories[slot]) : -1, b, 0755)); break;
        case 'Z': result(what, syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, 4)); break;
        case 'A': result(what, set_acl(a, "system.posix_acl_access", n)); break;
        case 'D': result(what, set_acl(a, "system.posix_acl_default", n)); break;
        case 'B':
            /* Of one that is not there, overlayfs alone says so. */
            if (getxattr(a, "system.posix_acl_access", 0, 0) >= 0)
                result(what, removexattr(a, "system.posix_acl_access"));
            break;
        case 'x': result(what, lremovexattr(a, "user.x")); break;
        case 'j': {
            /* Their order is the file system's. */
            char names[4096];
            long length = llistxattr(a, names, sizeof names);
            unsigned sum = 0;
            int count = 0;
            for (long i = 0; i < length; i += strlen(names + i) + 1, count++)
                sum += hash(names + i, strlen(names + i));
            if (length < 0)
                result(what, -1);
            else
                printf("%s: %d names %08x\n", what, count, sum);
            break;
        }
        case 'E': {
            struct timespec times[2] = {{n, 1}, {n, 2}};
            result(what, utimensat(AT_FDCWD, a, times, AT_SYMLINK_NOFOLLOW));
            break;
        }
        case 'Q': {
            char name[64];
            int fd = open(a, O_TMPFILE | O_RDWR, 0640);
            snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
            result(what, fd < 0 ? fd : write(fd, "unnamed", 7));
            if (fd >= 0)
                result("  linked", linkat(AT_FDCWD, name, AT_FDCWD, b, AT_SYMLINK_FOLLOW));
            close(fd);
            break;
        }
        case 'q': {
            int fd = open(a, O_RDWR | O_NONBLOCK);
            result(what, fd < 0 ? fd : fallocate(fd, n % 2 ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : 0, n, 1 + 100 * n));
            close(fd);
            break;
        }
        case 'U': result(what, unlinkat(directories[slot] ? dirfd(directories[slot]) : -1, b, 0)); break;
        default: printf("%s: ?\n", what);
        }
    }
    printf("--- tree\n");
    dump(AT_FDCWD, ".", ".");
    return 0;
}
