/* What is asked and told of an object by its descriptor, whatever it is called: its flags, its links, leases on it, and names of sockets as long as an address
 * allows. A line a call. It is to be run in a directory with a `file`, a `dir` with an entry `dir/lines`, and nothing of the names it makes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/quota.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static long tell(const char *what, long result)
{
    printf("%s: %d %s\n", what, result < 0 ? -1 : 0, result < 0 ? strerror(errno) : "");
    fflush(stdout);
    return result;
}

/* Those that every file system has which has any: others, that say how it is stored, may differ from one file to the next. */
enum { SHOWN = FS_NODUMP_FL | FS_NOATIME_FL | FS_SYNC_FL };

static void flags(const char *what, int fd)
{
    unsigned told[2] = {0, 0xabcdef01}, wanted;
    printf("%s\n", what);
    tell("GETFLAGS", ioctl(fd, FS_IOC_GETFLAGS, told));
    printf("  %x %x\n", told[0] & SHOWN, told[1]);
    wanted = told[0] | FS_NODUMP_FL;
    tell("SETFLAGS", ioctl(fd, FS_IOC_SETFLAGS, &wanted));
    tell("GETFLAGS", ioctl(fd, FS_IOC_GETFLAGS, told));
    printf("  %x\n", told[0] & SHOWN);
    struct fsxattr more = {0};
    tell("FSGETXATTR", ioctl(fd, FS_IOC_FSGETXATTR, &more));
    printf("  %x %u\n", more.fsx_xflags & FS_XFLAG_NODUMP, more.fsx_projid);
    more.fsx_xflags &= ~FS_XFLAG_NODUMP;
    tell("FSSETXATTR", ioctl(fd, FS_IOC_FSSETXATTR, &more));
    tell("FSGETXATTR", ioctl(fd, FS_IOC_FSGETXATTR, &more));
    printf("  %x\n", more.fsx_xflags & FS_XFLAG_NODUMP);
    tell("SETFLAGS of nowhere", ioctl(fd, FS_IOC_SETFLAGS, 8));
    tell("GETFLAGS to nowhere", ioctl(fd, FS_IOC_GETFLAGS, 8));
}

static void requests(const char *what, int fd)
{
    int number = 0;
    long long size = -1;
    char label[FSLABEL_MAX];
    printf("%s\n", what);
    tell("FIGETBSZ", ioctl(fd, FIGETBSZ, &number));
    printf("  %d\n", number);
    tell("FIOQSIZE", ioctl(fd, FIOQSIZE, &size));
    printf("  %d\n", size >= 0);
    tell("GETVERSION", ioctl(fd, FS_IOC_GETVERSION, &number));
    tell("GETFSLABEL", ioctl(fd, FS_IOC_GETFSLABEL, label));
    tell("TCGETS", ioctl(fd, 0x5401, label));
    tell("unknown", ioctl(fd, 0x12345678, label));
    tell("FIOASYNC", ioctl(fd, FIOASYNC, &(int){1}));
    tell("FIOASYNC", ioctl(fd, FIOASYNC, &(int){0}));
}

/* How many links the object of a descriptor has, and whether the name is one of them. */
static void linked(const char *name, int fd)
{
    struct stat named = {0}, open = {0};
    tell(name, lstat(name, &named));
    fstat(fd, &open);
    printf("  %ld %d\n", (long)named.st_nlink, named.st_ino == open.st_ino);
}

static void links(const char *what, const char *to, int fd, int named)
{
    char magic[64], name[64];
    printf("%s\n", what);
    snprintf(magic, sizeof magic, "/proc/self/fd/%d", fd);
    snprintf(name, sizeof name, "%s by its link", to);
    if (tell("linkat by its link", linkat(AT_FDCWD, magic, AT_FDCWD, name, AT_SYMLINK_FOLLOW)) == 0)
        linked(name, fd);
    tell("linkat again", linkat(AT_FDCWD, magic, AT_FDCWD, name, AT_SYMLINK_FOLLOW));
    tell("linkat over another", linkat(AT_FDCWD, magic, AT_FDCWD, "dir", AT_SYMLINK_FOLLOW));
    tell("linkat of the link", linkat(AT_FDCWD, magic, AT_FDCWD, "never", 0));
    snprintf(name, sizeof name, "dir/%s by a name only", to);
    snprintf(magic, sizeof magic, "/proc/self/fd/%d", named);
    if (tell("linkat of a name only", linkat(AT_FDCWD, magic, AT_FDCWD, name, AT_SYMLINK_FOLLOW)) == 0)
        linked(name, fd);
}

static void unnamed(void)
{
    int fd = open(".", O_TMPFILE | O_RDWR, 0600), gone = open("gone", O_RDWR | O_CREAT, 0600);
    if (tell("O_TMPFILE", fd) < 0)
        return;
    unlink("gone");
    links("a file without a name", "unnamed", fd, fd);
    links("a file that is gone", "gone", gone, gone);
}

static void signalled(int signal)
{
    (void)signal;
}

/* What stands where the signal number stands must not be lost with it. */
static void leases(int dir)
{
    char link[4200] = "", path[64], here[4096];
    signal(SIGIO, signalled);
    int fd = open("leased", O_RDWR | O_CREAT | O_EXCL, 0644);
    tell("F_SETLEASE", fcntl(fd, F_SETLEASE, F_WRLCK));
    tell("F_GETLEASE", fcntl(fd, F_GETLEASE));
    tell("F_SETLEASE", fcntl(fd, F_SETLEASE, F_UNLCK));
    tell("fchmod", fchmod(fd, 0640));
    struct stat stat = {0};
    tell("stat", lstat("leased", &stat));
    printf("  %o\n", stat.st_mode);
    links("a file that was leased", "leased", fd, fd);
    tell("F_NOTIFY", fcntl(dir, F_NOTIFY, DN_CREATE));
    int up = openat(dir, "..", O_RDONLY | O_DIRECTORY);
    tell("..", up);
    snprintf(path, sizeof path, "/proc/self/fd/%d", up);
    tell("its name", readlink(path, link, sizeof link - 1));
    printf("  %d\n", getcwd(here, sizeof here) && !strcmp(link, here));
}

/* As many bytes of a name as there is room for, with a NUL behind them or not. */
static void socket_name(const char *directory, unsigned length)
{
    union {
        struct sockaddr_un address;
        char room[256];
    } bound = {0}, told = {0};
    unsigned size = offsetof(struct sockaddr_un, sun_path) + length;
    char name[256] = "";
    bound.address.sun_family = AF_UNIX;
    memset(bound.address.sun_path, 's', length);
    memcpy(bound.address.sun_path, directory, strlen(directory));
    memcpy(name, bound.address.sun_path, length);
    printf("%u\n", length);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
    if (tell("bind", bind(listener, (struct sockaddr *)&bound.address, size)) == 0) {
        socklen_t room = sizeof told;
        tell("getsockname", getsockname(listener, (struct sockaddr *)&told.address, &room));
        printf("  %u %d\n", room, !strcmp(told.address.sun_path, name));
        listen(listener, 1);
        tell("connect", connect(client, (struct sockaddr *)&bound.address, size));
        room = sizeof told;
        memset(&told, 0, sizeof told);
        tell("getpeername", getpeername(client, (struct sockaddr *)&told.address, &room));
        printf("  %u %d\n", room, !strcmp(told.address.sun_path, name));
        struct stat stat = {0};
        tell("stat", lstat(name, &stat));
        printf("  %o\n", stat.st_mode);
        tell("bind again", bind(client, (struct sockaddr *)&bound.address, size));
        tell("unlink", unlink(name));
        tell("connect", connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&bound.address, size));
    }
    close(listener);
    close(client);
}

static void handles(int dir)
{
    struct {
        unsigned bytes;
        int type;
        char room[128];
    } handle = {.bytes = 128};
    int mount;
    tell("name_to_handle_at", syscall(SYS_name_to_handle_at, AT_FDCWD, "file", &handle, &mount, 0));
    tell("open_by_handle_at of no descriptor", syscall(SYS_open_by_handle_at, -5, &handle, O_RDONLY));
    tell("open_by_handle_at of nowhere", syscall(SYS_open_by_handle_at, dir, 8, O_RDONLY));
    handle.bytes = 0;
    tell("open_by_handle_at of nothing", syscall(SYS_open_by_handle_at, dir, &handle, O_RDONLY));
    handle.bytes = 129;
    tell("open_by_handle_at of too much", syscall(SYS_open_by_handle_at, -5, &handle, O_RDONLY));
    tell("quotactl of no device", syscall(SYS_quotactl, QCMD(Q_GETQUOTA, USRQUOTA), "file", getuid(), handle.room));
    tell("quotactl of nothing", syscall(SYS_quotactl, QCMD(Q_GETQUOTA, USRQUOTA), "missing", getuid(), handle.room));
    tell("quotactl of nowhere", syscall(SYS_quotactl, QCMD(Q_GETQUOTA, USRQUOTA), 8, getuid(), handle.room));
    tell("quotactl of no kind", syscall(SYS_quotactl, QCMD(Q_GETQUOTA, 77), "file", getuid(), handle.room));
    tell("quotactl of all", syscall(SYS_quotactl, QCMD(Q_SYNC, USRQUOTA), NULL, 0, NULL));
}

int main(void)
{
    int file = open("file", O_RDONLY), dir = open("dir", O_RDONLY | O_DIRECTORY), made = open("made", O_RDWR | O_CREAT | O_EXCL, 0600);
    flags("a file", file);
    flags("a file that is made", made);
    flags("a directory", dir);
    flags("a name only", open("dir", O_PATH));
    requests("a directory", dir);
    tell("FICLONE to a directory", ioctl(dir, FICLONE, file));
    tell("FICLONE of a directory", ioctl(made, FICLONE, dir));
    links("a file", "file", open("dir/lines", O_RDONLY), open("dir/lines", O_PATH));
    links("a file that is made", "made", made, open("made", O_PATH));
    links("a directory", "dir", dir, open("dir", O_PATH));
    unnamed();
    leases(dir);
    for (unsigned length = 88; length <= 108; length += 4)
        socket_name("", length);
    socket_name("", 107);
    socket_name("dir/", 107);
    socket_name("dir/", 108);
    /* As the last part of the one before. */
    socket_name("", 104);
    handles(dir);
    return 0;
}
