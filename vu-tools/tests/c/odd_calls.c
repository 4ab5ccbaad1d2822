/* Calls with an odd argument, of which Linux says what it says before it looks at anything else: descriptors that are open as names only, paths that are
 * empty, directories that are none, paths that are wrong together with something else; what is opened once more; and the signals that tell of a lease or of a
 * change. A line a call. It is to be run in an empty directory, whose absolute path is its argument.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static void tell(const char *what, long result)
{
    printf("%s: %d %s\n", what, result < 0 ? -1 : 0, result < 0 ? strerror(errno) : "");
}

static void names_only(const char *what, int fd)
{
    struct stat stat;
    struct statfs statfs;
    char room[1024];
    int number;
    printf("%s, open as a name\n", what);
    tell("fstat", fstat(fd, &stat));
    tell("fstatfs", fstatfs(fd, &statfs));
    tell("fchmod", fchmod(fd, 0700));
    tell("fchown", fchown(fd, getuid(), getgid()));
    tell("fsetxattr", fsetxattr(fd, "user.x", "y", 1, 0));
    tell("fgetxattr", fgetxattr(fd, "user.x", room, sizeof room));
    tell("flistxattr", flistxattr(fd, room, sizeof room));
    tell("fremovexattr", fremovexattr(fd, "user.x"));
    tell("ftruncate", ftruncate(fd, 0));
    tell("fsync", fsync(fd));
    tell("ioctl", ioctl(fd, FIONREAD, &number));
    tell("getdents64", syscall(SYS_getdents64, fd, room, sizeof room));
    tell("futimens", futimens(fd, NULL));
    tell("fchownat", fchownat(fd, "", getuid(), getgid(), AT_EMPTY_PATH));
}

/* Waits for one of the signals that might come; says which. */
static void tell_signal(const char *what)
{
    sigset_t all;
    sigfillset(&all);
    struct timespec patience = {60, 0};
    printf("%s: signal %d\n", what, sigtimedwait(&all, NULL, &patience));
}

static void lease(const char *what, const char *path, int chosen)
{
    int fd = open(path, O_RDWR);
    if (chosen)
        tell("F_SETSIG", fcntl(fd, F_SETSIG, chosen));
    tell("F_SETLEASE", fcntl(fd, F_SETLEASE, F_WRLCK));
    pid_t pid = fork();
    if (pid == 0) {
        close(open(path, O_RDONLY));
        _exit(0);
    }
    tell_signal(what);
    fcntl(fd, F_SETLEASE, F_UNLCK);
    waitpid(pid, NULL, 0);
    close(fd);
    /* Its end is a signal, too. */
    signal(SIGCHLD, SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
}

/* What is wrong with other arguments, and with where a path begins, is said before what is wrong with the path. */
static void wrong_twice(const char *path)
{
    void *nowhere = (void *)8;
    char room[256];
    struct timespec times[2] = {{5, 2000000000}, {5, 7}};
    uint64_t how[3] = {O_RDONLY, 0, 0x20};
    tell("setxattr of no name", setxattr(path, "", "y", 1, 0));
    tell("setxattr of no value", syscall(SYS_setxattr, path, "user.x", nowhere, 1, 0));
    tell("setxattr of a long value", syscall(SYS_setxattr, path, "user.x", room, 1 << 20, 0));
    tell("setxattr with a flag", setxattr(path, "user.x", "y", 1, 4));
    tell("removexattr of no name", removexattr(path, ""));
    tell("utimensat of odd times", utimensat(AT_FDCWD, path, times, 0));
    tell("utimensat of no times", syscall(SYS_utimensat, AT_FDCWD, path, nowhere, 0));
    tell("utimes of no times", syscall(SYS_utimes, path, nowhere));
    tell("file_setattr with a flag", syscall(469, AT_FDCWD, path, room, 24, AT_REMOVEDIR));
    tell("quotactl of no kind", syscall(SYS_quotactl, 0x80000103, path, 0, nowhere));
    tell("statx of what is reserved", syscall(SYS_statx, AT_FDCWD, path, 0, 0x80000000, nowhere));
    tell("statx in two ways", syscall(SYS_statx, AT_FDCWD, path, 0x6000, 0, nowhere));
    tell("umount2 with a flag", syscall(SYS_umount2, path, 16));
    tell("openat2 from nowhere", syscall(SYS_openat2, 999, "x", how, sizeof how));
    tell("renameat from nowhere", renameat(999, "x", AT_FDCWD, path));
    tell("linkat from nowhere", linkat(999, "x", AT_FDCWD, path, 0));
    tell("renameat of nothing into nowhere", renameat(AT_FDCWD, "nothing", 999, "x"));
}

/* What is open is opened once more by its link in /proc: it has the name that it had. */
static void once_more(const char *what, int fd)
{
    char link[64], name[4096] = "", again[4096] = "";
    const int flags[] = {O_RDONLY, O_WRONLY, O_RDWR | O_NONBLOCK, O_PATH};
    for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, name, sizeof name - 1);
        int other = open(link, flags[i]);
        if (other < 0) {
            tell(what, other);
            continue;
        }
        snprintf(link, sizeof link, "/proc/self/fd/%d", other);
        ssize_t other_length = readlink(link, again, sizeof again - 1);
        printf("%s: %s\n", what, length == other_length && !memcmp(name, again, length) ? "the same name" : again);
        close(other);
    }
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc < 2 || chdir(argv[1]))
        return 1;
    mkdir("dir", 0755);
    close(open("file", O_CREAT | O_RDWR, 0644));
    names_only("a directory", open("dir", O_PATH));
    names_only("a file", open("file", O_PATH));

    tell("fchmodat of nothing", syscall(SYS_fchmodat, AT_FDCWD, "", 0600));
    tell("chmod of nothing", chmod("", 0600));
    tell("utimensat of nothing", utimensat(AT_FDCWD, "", NULL, 0));
    tell("link of nothing", link("", "new"));
    tell("link to nothing", link("file", ""));
    tell("rename of nothing", rename("", "new"));
    int file = open("file", O_RDONLY);
    tell("linkat from a file", linkat(file, "x", AT_FDCWD, "new", 0));
    tell("linkat into a file", linkat(AT_FDCWD, "file", file, "new", 0));
    tell("linkat from nowhere", linkat(-7, "x", AT_FDCWD, "new", 0));
    tell("linkat into nowhere", linkat(AT_FDCWD, "file", 999, "new", 0));
    tell("renameat into a file", renameat(AT_FDCWD, "file", file, "new"));
    tell("renameat into nowhere", renameat(AT_FDCWD, "file", 999, "new"));

    tell("creat of a directory that is there", open("./", O_CREAT | O_EXCL | O_RDWR, 0600));
    symlink("loop", "loop");
    wrong_twice("loop");
    wrong_twice("file/x");
    int kept = open("kept", O_CREAT | O_RDWR, 0600);
    once_more("a file", kept);
    unlink("kept");
    once_more("a removed file", kept);
    once_more("a file without a name", open(".", O_TMPFILE | O_RDWR, 0600));
    once_more("a directory", open("dir", O_RDONLY));
    close(kept);

    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int internet = socket(AF_INET, SOCK_STREAM, 0);
    for (int i = 0; i < 4; i++) {
        snprintf(address.sun_path, sizeof address.sun_path, "%s", (const char *[]){".", "new", "file", "missing/new"}[i]);
        tell("bind of an internet socket", bind(internet, (void *)&address, sizeof address));
        tell("connect of an internet socket", connect(internet, (void *)&address, sizeof address));
        tell("bind of a file", bind(file, (void *)&address, sizeof address));
    }

    close(file);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    char path[4096];
    snprintf(path, sizeof path, "%s/file", argv[1]);
    lease("a lease", path, 0);
    lease("a lease with a signal of its own", path, SIGUSR2);
    return 0;
}
