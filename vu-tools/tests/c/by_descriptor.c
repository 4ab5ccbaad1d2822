/* What is changed, allowed or refused by way of a descriptor, an address or a sandbox's rule rather than by a path alone. A line a call. It is to be run in a
 * directory with a `file`, a `dir` with an entry `dir/lines`, and nothing of the names it makes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Numbers and structures that the C library may not have yet: `include/uapi/asm-generic/unistd.h`, `linux/xattr.h`, `linux/fs.h`, `linux/landlock.h`. */
enum { SETXATTRAT = 463, GETXATTRAT, LISTXATTRAT, REMOVEXATTRAT, FILE_GETATTR = 468, FILE_SETATTR, FCHMODAT2 = 452 };
enum { LANDLOCK_CREATE = 444, LANDLOCK_ADD, LANDLOCK_RESTRICT };
enum { WRITE_FILE = 1 << 1, READ_FILE = 1 << 2, MAKE_REG = 1 << 8, BENEATH = 1 };
struct xattr_args {
    uint64_t value;
    uint32_t size, flags;
};
struct file_attr {
    uint64_t xflags;
    uint32_t extsize, nextents, projid, cowextsize;
};

static void tell(const char *what, long result)
{
    const char *why = result < 0 ? strerror(errno) : "";
    printf("%s: %d %s\n", what, result < 0 ? -1 : 0, why);
    fflush(stdout);
}

static void count(const char *what, long result)
{
    tell(what, result);
    printf("  %ld\n", result);
}

static void attributes(const char *what, int fd, int named)
{
    struct xattr_args args = {(uintptr_t)"value", 5, 0};
    char room[256];
    struct xattr_args told = {(uintptr_t)room, sizeof room, 0};
    printf("%s\n", what);
    tell("setxattrat", syscall(SETXATTRAT, fd, "", AT_EMPTY_PATH, "user.one", &args, sizeof args));
    tell("setxattrat NULL", syscall(SETXATTRAT, fd, NULL, AT_EMPTY_PATH, "user.two", &args, sizeof args));
    tell("setxattrat NULL alone", syscall(SETXATTRAT, fd, NULL, 0, "user.two", &args, sizeof args));
    tell("setxattrat of a name only", syscall(SETXATTRAT, named, "", AT_EMPTY_PATH, "user.three", &args, sizeof args));
    tell("setxattrat below", syscall(SETXATTRAT, fd, "lines", 0, "user.four", &args, sizeof args));
    count("getxattrat", syscall(GETXATTRAT, fd, "", AT_EMPTY_PATH, "user.one", &told, sizeof told));
    count("getxattrat NULL", syscall(GETXATTRAT, fd, NULL, AT_EMPTY_PATH, "user.two", &told, sizeof told));
    count("listxattrat", syscall(LISTXATTRAT, fd, "", AT_EMPTY_PATH, room, sizeof room));
    tell("getxattrat of a name only", syscall(GETXATTRAT, named, "", AT_EMPTY_PATH, "user.one", &told, sizeof told));
    tell("removexattrat", syscall(REMOVEXATTRAT, fd, "", AT_EMPTY_PATH, "user.one"));
    tell("removexattrat NULL", syscall(REMOVEXATTRAT, fd, NULL, AT_EMPTY_PATH, "user.two"));
    tell("removexattrat again", syscall(REMOVEXATTRAT, fd, "", AT_EMPTY_PATH, "user.one"));
    tell("removexattrat of a name only", syscall(REMOVEXATTRAT, named, "", AT_EMPTY_PATH, "user.one"));
    struct file_attr file = {0};
    tell("file_getattr", syscall(FILE_GETATTR, fd, "", &file, sizeof file, AT_EMPTY_PATH));
    tell("file_getattr of a name only", syscall(FILE_GETATTR, named, "", &file, sizeof file, AT_EMPTY_PATH));
    file = (struct file_attr){0};
    tell("file_setattr", syscall(FILE_SETATTR, fd, "", &file, sizeof file, AT_EMPTY_PATH));
    tell("file_setattr of a name only", syscall(FILE_SETATTR, named, "", &file, sizeof file, AT_EMPTY_PATH));
}

static void nulls(int fd)
{
    struct timespec times[2] = {{1, 0}, {2, 0}}, none[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
    struct stat stat;
    tell("fchmodat2 NULL", syscall(FCHMODAT2, fd, NULL, 0600, AT_EMPTY_PATH));
    tell("fchownat NULL", syscall(SYS_fchownat, fd, NULL, getuid(), getgid(), AT_EMPTY_PATH));
    tell("utimensat NULL", syscall(SYS_utimensat, fd, NULL, times, 0));
    tell("utimensat NULL, flags", syscall(SYS_utimensat, fd, NULL, times, AT_SYMLINK_NOFOLLOW));
    tell("fstat", fstat(fd, &stat));
    printf("  %ld %o\n", (long)stat.st_mtime, stat.st_mode);
    tell("utimensat of neither time", utimensat(AT_FDCWD, "missing", none, 0));
    tell("utimensat of neither time", utimensat(AT_FDCWD, "missing/there", none, AT_SYMLINK_NOFOLLOW));
    tell("utimensat of both times", utimensat(AT_FDCWD, "missing", times, 0));
}

static void reach(const char *name, int kind)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, name);
    int fd = socket(AF_UNIX, kind, 0);
    char byte = 'x';
    struct iovec bytes = {&byte, 1};
    struct msghdr message = {.msg_name = &address, .msg_namelen = sizeof address, .msg_iov = &bytes, .msg_iovlen = 1};
    printf("%s\n", name);
    if (kind == SOCK_DGRAM) {
        tell("sendto", sendto(fd, "x", 1, 0, (struct sockaddr *)&address, sizeof address));
        tell("sendmsg", sendmsg(fd, &message, 0));
    }
    tell("connect", connect(fd, (struct sockaddr *)&address, sizeof address));
    close(fd);
}

/* What the links of open files in /proc tell, below the directory in which this runs. */
static void named(const char *what, int fd)
{
    char here[4096], link[4200] = "", path[64];
    if (!getcwd(here, sizeof here))
        return;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    tell(what, readlink(path, link, sizeof link - 1));
    printf("  %s\n", strncmp(link, here, strlen(here)) ? link : link + strlen(here));
}

static void removed(void)
{
    int file = open("gone", O_RDWR | O_CREAT, 0600), queue = syscall(SYS_mq_open, "by_descriptor", O_RDWR | O_CREAT, 0600, NULL);
    mkdir("gone dir", 0700);
    int dir = open("gone dir", O_RDONLY);
    named("a file", file);
    named("a directory", dir);
    unlink("gone");
    rmdir("gone dir");
    named("a file that is gone", file);
    named("a directory that is gone", dir);
    named("a message queue", queue);
    syscall(SYS_mq_unlink, "by_descriptor");
    close(queue);
}

static void opened(const char *path, int flags)
{
    int fd = open(path, flags, 0600);
    printf("open %s %x: %s\n", path, flags, fd < 0 ? strerror(errno) : "");
    if (fd >= 0)
        close(fd);
}

/* Only `dir` may be read and written, made in, and nothing else. */
static void sandbox(void)
{
    struct {
        uint64_t access;
    } handled = {WRITE_FILE | READ_FILE | MAKE_REG};
    struct {
        uint64_t access;
        int32_t directory;
    } __attribute__((packed)) rule = {WRITE_FILE | READ_FILE | MAKE_REG, open("dir", O_PATH | O_DIRECTORY)};
    int rules = syscall(LANDLOCK_CREATE, &handled, sizeof handled, 0);
    tell("landlock_add_rule", syscall(LANDLOCK_ADD, rules, BENEATH, &rule, 0));
    tell("landlock_add_rule, flags", syscall(LANDLOCK_ADD, rules, BENEATH, &rule, 1));
    tell("landlock_add_rule, another kind", syscall(LANDLOCK_ADD, rules, 77, &rule, 0));
    tell("landlock_add_rule, no rules", syscall(LANDLOCK_ADD, 0, BENEATH, &rule, 0));
    rule.access = 1ull << 40;
    tell("landlock_add_rule, unknown access", syscall(LANDLOCK_ADD, rules, BENEATH, &rule, 0));
    rule.directory = 999;
    tell("landlock_add_rule, no directory", syscall(LANDLOCK_ADD, rules, BENEATH, &rule, 0));
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    tell("landlock_restrict_self", syscall(LANDLOCK_RESTRICT, rules, 0));
    opened("dir/lines", O_RDONLY);
    opened("dir/lines", O_RDWR);
    opened("dir/made", O_RDWR | O_CREAT);
    opened("dir/made", O_RDONLY);
    opened("dir/sub/inner", O_WRONLY | O_APPEND);
    opened("dir/sub/made", O_WRONLY | O_CREAT | O_EXCL);
    opened("file", O_RDONLY);
    opened("file", O_WRONLY);
    opened("made", O_RDWR | O_CREAT);
}

int main(void)
{
    /* A file that is changed first, so that it is no other one before and after it is. */
    int file = open("file", O_RDWR | O_APPEND), dir = open("dir", O_RDONLY | O_DIRECTORY);
    attributes("a file", file, open("file", O_PATH));
    attributes("a directory", dir, open("dir", O_PATH));
    nulls(file);
    removed();
    reach("missing", SOCK_STREAM);
    reach("missing", SOCK_DGRAM);
    reach("dir", SOCK_STREAM);
    reach("dir", SOCK_DGRAM);
    reach("dir/missing", SOCK_DGRAM);
    reach("missing/missing", SOCK_STREAM);
    opened("/proc/self/mounts", O_RDONLY | O_DIRECTORY);
    opened("/proc/self/status", O_RDONLY | O_DIRECTORY);
    opened("/proc/self/mountinfo/", O_RDONLY);
    count("F_GETSIG", fcntl(dir, F_GETSIG));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        sandbox();
        return 0;
    }
    int status;
    waitpid(child, &status, 0);
    printf("%x\n", status);
    return 0;
}
