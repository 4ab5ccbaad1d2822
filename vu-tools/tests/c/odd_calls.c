/* Calls with an odd argument, of which Linux says what it says before it looks at anything else: descriptors that are open as names only, paths that are
 * empty, directories that are none; and the signals that tell of a lease or of a change. A line a call. It is to be run in an empty directory, whose absolute
 * path is its argument.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
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
