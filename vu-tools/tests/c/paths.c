/* Makes every system call that takes a path, with many shapes of path and argument, in a tree of its own, and prints what came of
 * it, a line a call: `call arguments = result`. What it prints depends on Linux' rules only, so a run in a view must print exactly
 * what a run on the host prints. Paths are printed by the names of their shapes, never as they are.
 *
 * usage: paths DIRECTORY      (it must exist and be empty; the user must not be root)
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_faccessat2
#define SYS_faccessat2 439
#endif
#ifndef AT_STATX_SYNC_TYPE
#define AT_STATX_SYNC_TYPE 0x6000
#endif
enum { NO_XDEV = 1, NO_MAGICLINKS = 2, NO_SYMLINKS = 4, BENEATH = 8, IN_ROOT = 16, CACHED = 32 };
struct how { uint64_t flags, mode, resolve; };

#if defined __i386__
#define SYS_STAT SYS_stat64
#define SYS_LSTAT SYS_lstat64
#define SYS_FSTAT SYS_fstat64
#define SYS_FSTATAT SYS_fstatat64
typedef struct stat64 Stat;
#else
#define SYS_STAT SYS_stat
#define SYS_LSTAT SYS_lstat
#define SYS_FSTAT SYS_fstat
#define SYS_FSTATAT SYS_newfstatat
typedef struct stat Stat;
#endif

static char top[4096];    /* the directory, as getcwd tells it */
static int top_fd;        /* a descriptor of it */
static int own_exe;       /* a descriptor of this program */
#define BAD ((void *)-4096L)

/* -------------------------------------------------------------------------------------------------------- printing */

static const char *errno_name(int error)
{
    static char number[32];
    switch (error) {
#define E(x) case x: return #x
        E(EPERM); E(ENOENT); E(EINTR); E(EIO); E(ENXIO); E(E2BIG); E(ENOEXEC); E(EBADF); E(EAGAIN); E(ENOMEM); E(EACCES); E(EFAULT);
        E(ENOTBLK); E(EBUSY); E(EEXIST); E(EXDEV); E(ENODEV); E(ENOTDIR); E(EISDIR); E(EINVAL); E(ENOTTY); E(ETXTBSY); E(EFBIG);
        E(ENOSPC); E(ESPIPE); E(EROFS); E(EMLINK); E(ERANGE); E(ENAMETOOLONG); E(ENOSYS); E(ENOTEMPTY); E(ELOOP); E(ENODATA);
        E(EOVERFLOW); E(EOPNOTSUPP); E(EAFNOSUPPORT); E(ECONNREFUSED); E(EADDRINUSE); E(EPROTOTYPE); E(ESTALE); E(ESRCH); E(ECHILD);
#undef E
    }
    snprintf(number, sizeof number, "errno %d", error);
    return number;
}

static char line[65536];
static size_t used;

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    used += (size_t)vsnprintf(line + used, sizeof line - used, format, arguments);
    va_end(arguments);
}

static void end(void)
{
    puts(line);
    used = 0;
    line[0] = 0;
}

/* Whether a call has succeeded since the tree was last looked at. */
static int succeeded;

/* The result of a call that returns 0 (or a number that says nothing) or fails. */
static void say_result(long result)
{
    if (result >= 0)
        succeeded = 1;
    if (result < 0)
        say(" = %s", errno_name(errno));
    else
        say(" = %ld", result);
}

static void result(long value)
{
    say_result(value);
    end();
}

static const char *type_name(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG: return "file";
    case S_IFDIR: return "dir";
    case S_IFLNK: return "symlink";
    case S_IFIFO: return "fifo";
    case S_IFSOCK: return "socket";
    case S_IFCHR: return "chr";
    case S_IFBLK: return "blk";
    }
    return "?";
}

/* What of a stat is the same in every run: not times, numbers of inodes, or the size of a directory. */
static void say_stat(const Stat *st)
{
    int kept = S_ISREG(st->st_mode);
    say(" {%s %o", type_name(st->st_mode), (unsigned)st->st_mode & 07777);
    if (S_ISREG(st->st_mode) || S_ISFIFO(st->st_mode) || S_ISSOCK(st->st_mode))
        say(" nlink %ld size %lld", (long)st->st_nlink, (long long)st->st_size);
    if (S_ISCHR(st->st_mode))
        say(" rdev %lx", (long)st->st_rdev);
    say(" %s%s}", st->st_uid == getuid() ? "mine" : st->st_uid == 0 ? "root's" : "other's", kept && st->st_blocks ? " blocks" : "");
}

/* The path of an object relative to the tree, by its descriptor; "outside" if it is not in the tree. */
static const char *inside(char *path)
{
    size_t length = strlen(top);
    char *dead = strstr(path, " (deleted)");
    if (dead)
        return "(deleted)";
    if (strncmp(path, top, length) == 0 && (path[length] == '/' || path[length] == 0))
        return path[length] ? path + length + 1 : ".";
    return strcmp(path, "/") == 0 ? "ROOT" : "outside";
}

/* Identity: the same object by descriptor as by another look. */
static void say_identity(int fd)
{
    Stat a;
    char where[4200], name[64];
    if (syscall(SYS_FSTAT, fd, &a) < 0) {
        say(" fstat: %s", errno_name(errno));
        return;
    }
    say_stat(&a);
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(name, where, sizeof where - 1);
    if (length > 0) {
        where[length] = 0;
        if (where[0] == '/')
            say(" at %s", strstr(where, "/proc/") ? "/proc" : inside(where));
    }
}

/* ------------------------------------------------------------------------------------------------------- the tree */

static void must(int ok, const char *what)
{
    if (!ok) {
        printf("SETUP %s: %s\n", what, strerror(errno));
        fflush(stdout);
        exit(2);
    }
}

static void write_file(const char *name, const char *text, mode_t mode)
{
    int fd = openat(top_fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    must(fd >= 0, name);
    must(write(fd, text, strlen(text)) == (ssize_t)strlen(text), name);
    must(fchmod(fd, mode) == 0, name);
    close(fd);
}

static void remove_below(int dir)
{
    /* Only descriptors that are ours: what one run left, whatever its modes. */
    DIR *d = fdopendir(dup(dir));
    struct dirent *entry;
    must(d != NULL, "opendir");
    rewinddir(d);
    while ((entry = readdir(d))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(dir, entry->d_name, 0) == 0)
            continue;
        fchmodat(dir, entry->d_name, 0700, 0);
        int sub = openat(dir, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        if (sub >= 0) {
            remove_below(sub);
            close(sub);
        }
        must(unlinkat(dir, entry->d_name, AT_REMOVEDIR) == 0, entry->d_name);
    }
    closedir(d);
}

static char name255[256], name256[257];

static void make_tree(void)
{
    char target[4300];
    must(fchdir(top_fd) == 0, "fchdir");
    remove_below(top_fd);
    umask(022);
    must(mkdir("dir", 0755) == 0 && mkdir("dir/sub", 0755) == 0 && mkdir("empty", 0755) == 0, "mkdir");
    must(mkdir("shut", 0755) == 0 && mkdir("readonly", 0755) == 0 && mkdir("sticky", 01777) == 0, "mkdir");
    write_file("file", "0123456789", 0644);
    write_file("dir/inner", "inner", 0644);
    write_file("dir/sub/deep", "deep", 0644);
    write_file("shut/x", "x", 0644);
    write_file("readonly/x", "x", 0644);
    write_file("unreadable", "u", 0200);
    write_file("unwritable", "w", 0444);
    write_file("script", "#!/bin/sh\nexit 7\n", 0755);
    write_file("noexec", "#!/bin/sh\nexit 7\n", 0644);
    write_file("nointerpreter", "#!/no/such/interpreter\n", 0755);
    write_file("garbage", "garbage, no program", 0755);
    write_file("emptyprogram", "", 0755);
    write_file(name255, "long", 0644);
    must(link("file", "hard") == 0, "link");
    must(symlink("file", "link") == 0 && symlink("dir", "linkdir") == 0 && symlink("missing", "dangling") == 0, "symlink");
    must(symlink("dir/new", "danglinginside") == 0 && symlink("nodir/new", "danglingnodir") == 0, "symlink");
    must(symlink("loop2", "loop") == 0 && symlink("loop", "loop2") == 0 && symlink("self", "self") == 0, "symlink");
    must(symlink("../file", "dir/up") == 0 && symlink("dir/up", "twice") == 0, "symlink");
    must(symlink("file/", "linkslash") == 0 && symlink("dir/", "linkdirslash") == 0 && symlink("dir/.", "linkdirdot") == 0, "symlink");
    must(symlink("..", "dir/parent") == 0 && symlink(".", "here") == 0 && symlink("/", "root") == 0, "symlink");
    must(symlink("/proc/self", "self_process") == 0 && symlink("/proc/self/cwd", "cwd") == 0, "symlink");
    snprintf(target, sizeof target, "%s/file", top);
    must(symlink(target, "absolute") == 0, "symlink");
    snprintf(target, sizeof target, "%s/dir", top);
    must(symlink(target, "absolutedir") == 0, "symlink");
    snprintf(target, sizeof target, "%s/missing", top);
    must(symlink(target, "absolutedangling") == 0, "symlink");
    must(mkfifo("fifo", 0644) == 0, "mkfifo");
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
    must(bind(fd, (struct sockaddr *)&address, sizeof address) == 0, "bind");
    close(fd);
    must(chmod("readonly", 0555) == 0 && chmod("shut", 0000) == 0 && chmod("sticky", 01777) == 0, "chmod");
}

/* Links in a row, beside the tree, since making them each time would take longer than all the rest. */
static void make_chain(void)
{
    must(mkdir("../chain", 0755) == 0 && symlink("../tree/file", "../chain/0") == 0, "chain");
    for (int i = 1; i <= 40; i++) {
        char from[32], to[32];
        snprintf(from, sizeof from, "../chain/%d", i);
        snprintf(to, sizeof to, "%d", i - 1);
        must(symlink(to, from) == 0, "symlink");
    }
}

static void remove_chain(void)
{
    int chain = open("../chain", O_RDONLY | O_DIRECTORY);
    must(chain >= 0, "chain");
    remove_below(chain);
    must(rmdir("../chain") == 0, "rmdir");
}

/* ----------------------------------------------------------------------------------------------- the tree as text */

static char *lines[4096];
static int line_count;
static char *base[4096];
static int base_count;

static void list_below(int dir, const char *prefix)
{
    DIR *d = fdopendir(dup(dir));
    struct dirent *entry;
    if (!d)
        return;
    rewinddir(d);
    while ((entry = readdir(d))) {
        char text[1024], target[4200] = "";
        Stat st;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (syscall(SYS_FSTATAT, dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (S_ISLNK(st.st_mode)) {
            ssize_t length = readlinkat(dir, entry->d_name, target, 40);
            target[length > 0 ? length : 0] = 0;
            if (target[0] == '/')
                strcpy(target, "/...");
        }
        /* Whether it is as it is listed. */
        int same = entry->d_type == DT_UNKNOWN || (mode_t)DTTOIF(entry->d_type) == (st.st_mode & S_IFMT);
        snprintf(text, sizeof text, "%s%.60s %s %o %ld %lld %s%s%s", prefix, entry->d_name, type_name(st.st_mode),
                 (unsigned)st.st_mode & 07777, S_ISDIR(st.st_mode) ? 0 : (long)st.st_nlink, S_ISREG(st.st_mode) ? (long long)st.st_size : 0,
                 target, same ? "" : " WRONG d_type", entry->d_ino == st.st_ino ? "" : " WRONG d_ino");
        lines[line_count++] = strdup(text);
        if (S_ISDIR(st.st_mode)) {
            char below[1024];
            int sub = openat(dir, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
            snprintf(below, sizeof below, "%s%.60s/", prefix, entry->d_name);
            if (sub >= 0) {
                list_below(sub, below);
                close(sub);
            }
        }
    }
    closedir(d);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list_tree(void)
{
    for (int i = 0; i < line_count; i++)
        free(lines[i]);
    line_count = 0;
    list_below(top_fd, "");
    qsort(lines, (size_t)line_count, sizeof *lines, by_text);
}

/* Prints in what the tree differs from the one that make_tree makes, and makes it again if it does. */
static void look_for_changes(void)
{
    int i = 0, j = 0, changed = 0;
    succeeded = 0;
    list_tree();
    while (i < base_count || j < line_count) {
        int order = i == base_count ? 1 : j == line_count ? -1 : strcmp(base[i], lines[j]);
        if (order == 0) {
            i++, j++;
            continue;
        }
        printf("    %c %s\n", order < 0 ? '-' : '+', order < 0 ? base[i++] : lines[j++]);
        changed = 1;
    }
    if (changed)
        make_tree();
}

/* After each call that may have changed something. What a call that failed has changed all the same shows a little later: whoever
 * makes many calls looks at the end of them. */
static void changes(void)
{
    if (succeeded)
        look_for_changes();
}

/* ---------------------------------------------------------------------------------------------- shapes of paths */

struct shape {
    const char *name; /* printed */
    const char *path; /* given; NULL: to be made */
};

static char long4095[4097], long4096[4098], long_slashes[4097], long_dots[4097], long_missing[4097], absolute_file[4200], absolute_dir[4200],
    absolute_missing[4200], absolute_up[4300], fd_file[64], fd_dir[64], fd_link[64], fd_pipe[64], fd_dead[64], fd_none[64], dev_fd[64], fd_below[80],
    fd_slash[80];
static char *page_end, *unterminated, *crossing;
static int held_file, held_dir, held_link, held_opath_dir, held_opath_file, held_dead, held_pipe[2], held_writable;

static struct shape shapes[] = {
    {"file", "file"}, {"dir", "dir"}, {"missing", "missing"}, {"file/", "file/"}, {"dir/", "dir/"}, {"dir//", "dir//"}, {"missing/", "missing/"},
    {"dir/.", "dir/."}, {"dir/..", "dir/.."}, {"dir/../", "dir/../"}, {"dir/./.", "dir/./."}, {"file/.", "file/."}, {"file/..", "file/.."},
    {"missing/.", "missing/."}, {"missing/..", "missing/.."}, {"missing/../file", "missing/../file"}, {"file/../file", "file/../file"},
    {".", "."}, {"..", ".."}, {"./", "./"}, {"../", "../"}, {"./file", "./file"}, {"dir/../file", "dir/../file"}, {"dir//inner", "dir//inner"},
    {"dir/inner", "dir/inner"}, {"dir/inner/", "dir/inner/"}, {"dir/new", "dir/new"}, {"dir/new/", "dir/new/"}, {"dir/sub", "dir/sub"},
    {"missing/x", "missing/x"}, {"file/x", "file/x"}, {"file/x/y", "file/x/y"}, {"", ""}, {"/", "/"}, {"//", "//"}, {"/.", "/."}, {"/..", "/.."},
    {"/../..", "/../.."}, {"...", "..."}, {" ", " "}, {"empty", "empty"}, {"empty/", "empty/"}, {"empty/.", "empty/."}, {"hard", "hard"},
    {"link", "link"}, {"link/", "link/"}, {"link/.", "link/."}, {"link/x", "link/x"}, {"linkdir", "linkdir"}, {"linkdir/", "linkdir/"},
    {"linkdir/.", "linkdir/."}, {"linkdir/..", "linkdir/.."}, {"linkdir/../file", "linkdir/../file"}, {"linkdir/inner", "linkdir/inner"},
    {"linkdir/new", "linkdir/new"}, {"linkslash", "linkslash"}, {"linkdirslash", "linkdirslash"}, {"linkdirslash/inner", "linkdirslash/inner"},
    {"linkdirdot", "linkdirdot"}, {"dangling", "dangling"}, {"dangling/", "dangling/"}, {"dangling/x", "dangling/x"},
    {"danglinginside", "danglinginside"}, {"danglinginside/", "danglinginside/"}, {"danglingnodir", "danglingnodir"}, {"loop", "loop"},
    {"loop/", "loop/"}, {"loop/x", "loop/x"}, {"self", "self"}, {"dir/up", "dir/up"}, {"twice", "twice"}, {"dir/parent", "dir/parent"},
    {"dir/parent/file", "dir/parent/file"}, {"dir/parent/dir/parent/file", "dir/parent/dir/parent/file"}, {"here/here/here/file", "here/here/here/file"},
    {"root", "root"}, {"root/", "root/"}, {"root/..", "root/.."}, {"root/etc/passwd", "root/etc/passwd"}, {"absolute", "absolute"},
    {"absolute/", "absolute/"}, {"absolutedir", "absolutedir"}, {"absolutedir/", "absolutedir/"}, {"absolutedir/inner", "absolutedir/inner"},
    {"absolutedir/../file", "absolutedir/../file"}, {"absolutedir/new", "absolutedir/new"}, {"absolutedangling", "absolutedangling"},
    {"chain of 39", "../chain/38"}, {"chain of 40", "../chain/39"}, {"chain of 41", "../chain/40"}, {"fifo", "fifo"}, {"fifo/", "fifo/"}, {"socket", "socket"}, {"shut", "shut"},
    {"shut/", "shut/"}, {"shut/x", "shut/x"}, {"shut/..", "shut/.."}, {"shut/missing", "shut/missing"}, {"shut/../file", "shut/../file"},
    {"readonly", "readonly"}, {"readonly/x", "readonly/x"}, {"readonly/new", "readonly/new"}, {"readonly/new/", "readonly/new/"},
    {"unreadable", "unreadable"}, {"unwritable", "unwritable"}, {"sticky", "sticky"}, {"script", "script"}, {"noexec", "noexec"},
    {"nointerpreter", "nointerpreter"}, {"garbage", "garbage"}, {"emptyprogram", "emptyprogram"}, {"name of 255", name255}, {"name of 256", name256},
    {"name of 256/x", NULL}, {"4095 bytes to file", long4095}, {"4096 bytes to file", long4096}, {"slashes and dots to file", long_slashes},
    {"dots to file", long_dots}, {"4095 bytes to nothing", long_missing}, {"TOP/file", absolute_file}, {"TOP/dir", absolute_dir},
    {"TOP/missing", absolute_missing}, {"TOP/dir/../file", absolute_up}, {"/dev/null", "/dev/null"}, {"/dev/null/", "/dev/null/"},
    {"/dev/null/x", "/dev/null/x"}, {"/etc/passwd", "/etc/passwd"}, {"/etc", "/etc"}, {"/etc/missing", "/etc/missing"}, {"/usr/../etc/passwd", "/usr/../etc/passwd"},
    {"/missing", "/missing"}, {"/proc/self", "/proc/self"}, {"/proc/self/", "/proc/self/"}, {"/proc/self/cwd", "/proc/self/cwd"},
    {"/proc/self/cwd/", "/proc/self/cwd/"}, {"/proc/self/cwd/file", "/proc/self/cwd/file"}, {"/proc/self/cwd/dir/..", "/proc/self/cwd/dir/.."},
    {"/proc/thread-self/cwd/file", "/proc/thread-self/cwd/file"}, {"/proc/self/root", "/proc/self/root"}, {"/proc/self/root/etc/passwd", "/proc/self/root/etc/passwd"},
    {"/proc/self/exe", "/proc/self/exe"}, {"/proc/self/exe/", "/proc/self/exe/"}, {"/proc/self/status", "/proc/self/status"}, {"/proc/1", "/proc/1"},
    {"/proc/1/cwd", "/proc/1/cwd"}, {"/proc/1/cwd/x", "/proc/1/cwd/x"}, {"/proc/missing", "/proc/missing"}, {"self_process/cwd/file", "self_process/cwd/file"},
    {"cwd/file", "cwd/file"}, {"cwd", "cwd"}, {"fd of file", fd_file}, {"fd of dir", fd_dir}, {"fd of dir/", fd_slash}, {"fd of dir/inner", fd_below},
    {"O_PATH fd of link", fd_link}, {"fd of pipe", fd_pipe}, {"fd of removed dir", fd_dead}, {"fd that is closed", fd_none}, {"/dev/fd of file", dev_fd},
    {"NULL", (void *)0}, {"bad pointer", BAD}, {"pointer 1", (void *)1}, {"ends with its page", NULL}, {"not ended by its page", NULL},
    {"across two pages", NULL},
};
#define SHAPES (sizeof shapes / sizeof *shapes)

static struct shape *shape(const char *name)
{
    for (size_t i = 0; i < SHAPES; i++)
        if (strcmp(shapes[i].name, name) == 0)
            return &shapes[i];
    printf("SETUP no shape %s\n", name);
    exit(2);
}

/* Fills `buffer` with `length` bytes that lead to `last`: `fill` again and again, then `last`. */
static void lengthen(char *buffer, size_t length, const char *fill, const char *last)
{
    size_t n = 0, size = strlen(fill);
    while (n + size + strlen(last) <= length) {
        memcpy(buffer + n, fill, size);
        n += size;
    }
    while (n + strlen(last) < length)
        buffer[n++] = '/';
    strcpy(buffer + n, last);
    /* A relative path stays relative. */
    if (buffer[0] == '/')
        buffer[0] = '.';
}

static void make_shapes(void)
{
    static char name256x[260];
    memset(name255, 'n', 255);
    memset(name256, 'n', 256);
    snprintf(name256x, sizeof name256x, "%s/x", name256);
    shape("name of 256/x")->path = name256x;
    lengthen(long4095, 4095, "dir/../", "file");
    lengthen(long4096, 4096, "dir/../", "file");
    lengthen(long_slashes, 4095, "///./", "file");
    lengthen(long_dots, 4000, "./", "file");
    lengthen(long_missing, 4095, "dir/../", "missing");
    snprintf(absolute_file, sizeof absolute_file, "%s/file", top);
    snprintf(absolute_dir, sizeof absolute_dir, "%s/dir", top);
    snprintf(absolute_missing, sizeof absolute_missing, "%s/missing", top);
    snprintf(absolute_up, sizeof absolute_up, "%s/dir/../file", top);
    char *pages = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(pages != MAP_FAILED && munmap(pages + 3 * 4096, 4096) == 0, "mmap");
    page_end = pages + 3 * 4096 - 5;
    memcpy(page_end, "file", 5);
    crossing = pages + 4096 - 2;
    memcpy(crossing, "file", 5);
    char *more = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(more != MAP_FAILED && munmap(more + 4096, 4096) == 0, "mmap");
    unterminated = more + 4096 - 4;
    memcpy(unterminated, "file", 4);
    shape("ends with its page")->path = page_end;
    shape("not ended by its page")->path = unterminated;
    shape("across two pages")->path = crossing;
}

/* Opens what stays open in all tests of one part. */
static void hold(void)
{
    must((held_file = open("file", O_RDONLY)) >= 0, "open file");
    must((held_writable = open("hard", O_RDWR)) >= 0, "open hard");
    must((held_dir = open("dir", O_RDONLY | O_DIRECTORY)) >= 0, "open dir");
    must((held_link = open("link", O_PATH | O_NOFOLLOW)) >= 0, "open link");
    must((held_opath_dir = open("dir", O_PATH | O_DIRECTORY)) >= 0, "open dir");
    must((held_opath_file = open("file", O_PATH)) >= 0, "open file");
    must(mkdir("dead", 0755) == 0 && (held_dead = open("dead", O_RDONLY | O_DIRECTORY)) >= 0 && rmdir("dead") == 0, "dead");
    must(pipe(held_pipe) == 0, "pipe");
    snprintf(fd_file, sizeof fd_file, "/proc/self/fd/%d", held_file);
    snprintf(fd_dir, sizeof fd_dir, "/proc/self/fd/%d", held_dir);
    snprintf(fd_slash, sizeof fd_slash, "/proc/self/fd/%d/", held_dir);
    snprintf(fd_below, sizeof fd_below, "/proc/self/fd/%d/inner", held_dir);
    snprintf(fd_link, sizeof fd_link, "/proc/self/fd/%d", held_link);
    snprintf(fd_pipe, sizeof fd_pipe, "/proc/self/fd/%d", held_pipe[0]);
    snprintf(fd_dead, sizeof fd_dead, "/proc/self/fd/%d", held_dead);
    snprintf(fd_none, sizeof fd_none, "/proc/self/fd/%d", 987);
    snprintf(dev_fd, sizeof dev_fd, "/dev/fd/%d", held_file);
}

static void release(void)
{
    int fds[] = {held_file, held_writable, held_dir, held_link, held_opath_dir, held_opath_file, held_dead, held_pipe[0], held_pipe[1]};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        close(fds[i]);
}

/* Whether a call that changes something must not be made with this shape, since it would reach beyond the tree. */
static int beyond(const struct shape *s)
{
    return s->path && s->path != BAD && s->path != (void *)1 && (s->path[0] == '/' || strncmp(s->path, "root", 4) == 0 || strncmp(s->path, "../chain", 8) == 0) && strncmp(s->path, top, strlen(top)) != 0
           && strncmp(s->path, "/proc/self/cwd", 14) != 0 && s->path != fd_file && s->path != fd_dir && s->path != fd_below && s->path != fd_slash && s->path != fd_dead
           && s->path != fd_none && s->path != fd_link;
}

/* --------------------------------------------------------------------------------------------- calls that only look */

static void say_statx(int dirfd, const char *path, int flags, unsigned mask)
{
    struct statx x;
    memset(&x, 0, sizeof x);
    long r = syscall(SYS_statx, dirfd, path, flags, mask, &x);
    say_result(r);
    if (r == 0)
        say(" {%s %o size %s uid %d %s}", type_name(x.stx_mode), x.stx_mode & 07777u, S_ISREG(x.stx_mode) && x.stx_size == 10 ? "10" : "-",
            x.stx_uid == getuid(), x.stx_mask & STATX_BTIME ? "btime" : "");
    end();
}

struct flag { const char *name; long value; };
static const struct flag at_flags[] = {
    {"0", 0}, {"NOFOLLOW", AT_SYMLINK_NOFOLLOW}, {"EMPTY", AT_EMPTY_PATH}, {"EMPTY|NOFOLLOW", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW},
    {"NO_AUTOMOUNT", AT_NO_AUTOMOUNT}, {"EACCESS", AT_EACCESS}, {"EACCESS|NOFOLLOW", AT_EACCESS | AT_SYMLINK_NOFOLLOW}, {"FOLLOW", AT_SYMLINK_FOLLOW},
    {"0x40000000", 0x40000000}, {"-1", -1},
};
#define AT_FLAGS (sizeof at_flags / sizeof *at_flags)

static void look(const struct shape *s)
{
    Stat st;
    struct statfs fs;
    char buffer[4200];
    const char *p = s->path;
    long r;

    r = syscall(SYS_STAT, p, &st);
    say("stat %s", s->name);
    say_result(r);
    if (r == 0)
        say_stat(&st);
    end();
    r = syscall(SYS_LSTAT, p, &st);
    say("lstat %s", s->name);
    say_result(r);
    if (r == 0)
        say_stat(&st);
    end();
    for (size_t i = 0; i < AT_FLAGS; i++) {
        r = syscall(SYS_FSTATAT, AT_FDCWD, p, &st, (int)at_flags[i].value);
        say("fstatat %s %s", s->name, at_flags[i].name);
        say_result(r);
        if (r == 0)
            say_stat(&st);
        end();
        say("statx %s %s", s->name, at_flags[i].name);
        say_statx(AT_FDCWD, p, (int)at_flags[i].value, STATX_BASIC_STATS | STATX_BTIME);
        say("faccessat2 %s %s", s->name, at_flags[i].name);
        result(syscall(SYS_faccessat2, AT_FDCWD, p, R_OK, (int)at_flags[i].value));
    }
    static const int modes[] = {F_OK, R_OK, W_OK, X_OK, R_OK | W_OK, 8, -1};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        say("access %s %d", s->name, modes[i]);
        result(syscall(SYS_access, p, modes[i]));
        say("faccessat %s %d", s->name, modes[i]);
        result(syscall(SYS_faccessat, AT_FDCWD, p, modes[i]));
    }
    static const int sizes[] = {4096, 3, 1, 0, -1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        memset(buffer, '#', sizeof buffer);
        r = syscall(i % 2 ? SYS_readlink : SYS_readlinkat, i % 2 ? (long)p : AT_FDCWD, i % 2 ? (long)buffer : (long)p, i % 2 ? sizes[i] : (long)buffer, sizes[i]);
        say("readlink %s %d", s->name, sizes[i]);
        if (r > 0 && buffer[0] == '/') {
            /* An absolute target may have another length inside of a bind. */
            say(" = absolute %s", r < 4096 && sizes[i] == 4096 ? (buffer[r] = 0, strncmp(s->name, "/proc/1", 7) ? inside(buffer) : "") : "");
        } else {
            say_result(strncmp(s->name, "/proc/", 6) == 0 && r > 0 && buffer[0] != '/' ? 1 : r);
            if (r > 0 && r < 100 && strncmp(s->name, "/proc/", 6) != 0 && strncmp(s->name, "fd of pipe", 10) != 0)
                say(" %.*s%s", (int)r, buffer, buffer[r] == '#' ? "" : " WRITTEN BEYOND");
        }
        end();
    }
    r = syscall(SYS_statfs, p, &fs);
    say("statfs %s", s->name);
    say_result(r);
    if (r == 0)
        say(" type %lx", (long)fs.f_type);
    end();
    say("getxattr %s", s->name);
    result(syscall(SYS_getxattr, p, "user.none", buffer, 100));
    say("lgetxattr %s", s->name);
    result(syscall(SYS_lgetxattr, p, "user.none", buffer, 100));
    say("getxattr %s no name", s->name);
    result(syscall(SYS_getxattr, p, "", buffer, 100));
    say("listxattr %s", s->name);
    result(syscall(SYS_listxattr, p, buffer, 100));
    say("llistxattr %s", s->name);
    result(syscall(SYS_llistxattr, p, NULL, 0));
    struct { struct file_handle handle; unsigned char bytes[128]; } handle;
    int mount_id;
    for (int i = 0; i < 3; i++) {
        handle.handle.handle_bytes = i == 2 ? 0 : 128;
        say("name_to_handle_at %s %d", s->name, i);
        result(syscall(SYS_name_to_handle_at, AT_FDCWD, p, &handle, &mount_id, i == 1 ? AT_SYMLINK_FOLLOW : 0));
    }
    int inotify = inotify_init1(IN_CLOEXEC);
    say("inotify_add_watch %s", s->name);
    result(syscall(SYS_inotify_add_watch, inotify, p, IN_CREATE | IN_DELETE_SELF));
    say("inotify_add_watch %s DONT_FOLLOW", s->name);
    say(" = %s", syscall(SYS_inotify_add_watch, inotify, p, IN_ATTRIB | IN_DONT_FOLLOW) < 0 ? errno_name(errno) : "ok");
    end();
    say("inotify_add_watch %s ONLYDIR", s->name);
    say(" = %s", syscall(SYS_inotify_add_watch, inotify, p, IN_ATTRIB | IN_ONLYDIR) < 0 ? errno_name(errno) : "ok");
    end();
    close(inotify);
}

static void bad_buffers(void)
{
    char buffer[128];
    Stat st;
    say("stat file to NULL"); result(syscall(SYS_STAT, "file", NULL));
    say("stat file to bad"); result(syscall(SYS_STAT, "file", BAD));
    say("stat missing to bad"); result(syscall(SYS_STAT, "missing", BAD));
    say("lstat link to bad"); result(syscall(SYS_LSTAT, "link", BAD));
    say("fstatat file to bad"); result(syscall(SYS_FSTATAT, AT_FDCWD, "file", BAD, 0));
    say("fstatat EMPTY to bad"); result(syscall(SYS_FSTATAT, held_file, "", BAD, AT_EMPTY_PATH));
    say("fstat to bad"); result(syscall(SYS_FSTAT, held_file, BAD));
    say("statx file to bad"); result(syscall(SYS_statx, AT_FDCWD, "file", 0, STATX_ALL, BAD));
    say("statx file reserved mask"); result(syscall(SYS_statx, AT_FDCWD, "file", 0, 0x80000000u, &(struct statx){0}));
    say("statx file sync type"); result(syscall(SYS_statx, AT_FDCWD, "file", AT_STATX_SYNC_TYPE, STATX_ALL, &(struct statx){0}));
    say("statx file mask 0"); say_statx(AT_FDCWD, "file", 0, 0);
    say("readlink link to bad"); result(syscall(SYS_readlink, "link", BAD, 100));
    say("readlink link to NULL"); result(syscall(SYS_readlink, "link", NULL, 100));
    say("readlink file to bad"); result(syscall(SYS_readlink, "file", BAD, 100));
    say("statfs file to bad"); result(syscall(SYS_statfs, "file", BAD));
    say("getcwd to bad"); result(syscall(SYS_getcwd, BAD, 4096));
    say("getcwd of 0"); result(syscall(SYS_getcwd, buffer, 0));
    say("getcwd of 1"); result(syscall(SYS_getcwd, buffer, 1));
    say("getcwd to NULL"); result(syscall(SYS_getcwd, NULL, 100));
    say("getcwd one too small"); result(syscall(SYS_getcwd, long_dots, strlen(top)));
    say("getcwd just enough");
    say("%s", syscall(SYS_getcwd, long_dots, strlen(top) + 1) == (long)strlen(top) + 1 ? " = right" : " = WRONG");
    end();
    lengthen(long_dots, 4000, "./", "file");
    say("getxattr file name bad"); result(syscall(SYS_getxattr, "file", BAD, buffer, 100));
    say("setxattr file name NULL"); result(syscall(SYS_setxattr, "file", NULL, "v", 1, 0));
    say("setxattr file value bad"); result(syscall(SYS_setxattr, "file", "user.a", BAD, 1, 0));
    say("setxattr file size -1"); result(syscall(SYS_setxattr, "file", "user.a", "v", -1L, 0));
    say("setxattr file flags 8"); result(syscall(SYS_setxattr, "file", "user.a", "v", 1, 8));
    say("utimensat file times bad"); result(syscall(SYS_utimensat, AT_FDCWD, "file", BAD, 0));
    say("execve argv bad"); result(syscall(SYS_execve, "/bin/true", BAD, NULL));
    say("execve argv element bad"); result(syscall(SYS_execve, "/bin/true", (char *[]){BAD, NULL}, NULL));
    say("inotify_add_watch bad fd"); result(syscall(SYS_inotify_add_watch, 987, "file", IN_CREATE));
    say("inotify_add_watch not inotify"); result(syscall(SYS_inotify_add_watch, held_file, "file", IN_CREATE));
    say("inotify_add_watch no mask"); int i = inotify_init1(0); result(syscall(SYS_inotify_add_watch, i, "file", 0)); close(i);
    say("getdents64 of file"); result(syscall(SYS_getdents64, held_file, buffer, sizeof buffer));
    say("getdents64 to bad"); int d = open("dir", O_RDONLY | O_DIRECTORY); result(syscall(SYS_getdents64, d, BAD, 4096));
    say("getdents64 of 1 byte"); result(syscall(SYS_getdents64, d, buffer, 1)); close(d);
    say("getdents64 of O_PATH"); result(syscall(SYS_getdents64, held_opath_dir, buffer, sizeof buffer));
    say("fstat of O_PATH link"); long r = syscall(SYS_FSTAT, held_link, &st); say_result(r); if (r == 0) say_stat(&st); end();
    say("fchdir file"); result(fchdir(held_file));
    say("fchdir closed"); result(fchdir(987));
    say("fchmod O_PATH"); result(fchmod(held_opath_file, 0644));
    say("ioctl of dir"); result(syscall(SYS_ioctl, held_dir, 0x5401, buffer));
}

/* ----------------------------------------------------------------------------------------------------- descriptors */

static void by_dirfd(void)
{
    struct flag fds[] = {{"dir", held_dir}, {"O_PATH dir", held_opath_dir}, {"file", held_file}, {"O_PATH file", held_opath_file}, {"O_PATH link", held_link},
                         {"removed dir", held_dead}, {"pipe", held_pipe[0]}, {"closed", 987}, {"-1", -1}, {"TOP", top_fd}, {"AT_FDCWD", AT_FDCWD}};
    struct shape paths[] = {{"inner", "inner"}, {"sub/deep", "sub/deep"}, {"../file", "../file"}, {".", "."}, {"..", ".."}, {"", ""}, {"NULL", NULL}, {"/", "/"},
                            {"TOP/file", absolute_file}, {"missing", "missing"}, {"up", "up"}, {"parent/file", "parent/file"}, {"bad", BAD}, {"link", "link"}};
    char buffer[4200];
    for (size_t f = 0; f < sizeof fds / sizeof *fds; f++) {
        int fd = (int)fds[f].value;
        for (size_t p = 0; p < sizeof paths / sizeof *paths; p++) {
            const char *path = paths[p].path;
            for (size_t i = 0; i < AT_FLAGS; i++) {
                Stat st;
                long r = syscall(SYS_FSTATAT, fd, path, &st, (int)at_flags[i].value);
                say("fstatat %s:%s %s", fds[f].name, paths[p].name, at_flags[i].name);
                say_result(r);
                if (r == 0)
                    say_stat(&st);
                end();
                say("statx %s:%s %s", fds[f].name, paths[p].name, at_flags[i].name);
                say_statx(fd, path, (int)at_flags[i].value, STATX_BASIC_STATS);
                say("faccessat2 %s:%s %s", fds[f].name, paths[p].name, at_flags[i].name);
                result(syscall(SYS_faccessat2, fd, path, W_OK, (int)at_flags[i].value));
                say("fchmodat2 %s:%s %s", fds[f].name, paths[p].name, at_flags[i].name);
                if (path && path != BAD && path[0] == '/' && path[1] == 0)
                    say(" = not tried"), end();
                else
                    result(syscall(SYS_fchmodat2, fd, path, 0755, (int)at_flags[i].value));
                say("fchownat %s:%s %s", fds[f].name, paths[p].name, at_flags[i].name);
                result(syscall(SYS_fchownat, fd, path, -1, -1, (int)at_flags[i].value));
                say("utimensat %s:%s %s", fds[f].name, paths[p].name, at_flags[i].name);
                result(syscall(SYS_utimensat, fd, path, (struct timespec[2]){{1, UTIME_OMIT}, {1, UTIME_OMIT}}, (int)at_flags[i].value));
                /* The root is on another mount than the tree if that is seen through a bind. */
                if (!path || path == BAD || strcmp(path, "/") != 0) {
                    say("linkat %s:%s %s", fds[f].name, paths[p].name, at_flags[i].name);
                    result(syscall(SYS_linkat, fd, path, top_fd, "newlink", (int)at_flags[i].value));
                }
                changes();
            }
            long r = syscall(SYS_readlinkat, fd, path, buffer, 4096L);
            say("readlinkat %s:%s", fds[f].name, paths[p].name);
            say_result(r > 0 && buffer[0] == '/' ? 1 : r);
            end();
            static const struct flag opens[] = {{"RDONLY", O_RDONLY}, {"RDWR", O_RDWR}, {"PATH", O_PATH}, {"PATH|NOFOLLOW", O_PATH | O_NOFOLLOW}, {"DIRECTORY", O_DIRECTORY},
                                                {"CREAT|RDWR", O_CREAT | O_RDWR}, {"TMPFILE", O_TMPFILE | O_RDWR}};
            for (size_t o = 0; o < sizeof opens / sizeof *opens; o++) {
                int is_root = path && path != BAD && strcmp(path, "/") == 0;
                if (is_root && opens[o].value == (O_TMPFILE | O_RDWR))
                    continue;
                long opened = syscall(SYS_openat, fd, path, (int)opens[o].value | O_NONBLOCK, 0644);
                say("openat %s:%s %s", fds[f].name, paths[p].name, opens[o].name);
                say_result(opened >= 0 ? 0 : opened);
                if (opened >= 0) {
                    say_identity((int)opened);
                    close((int)opened);
                }
                end();
                changes();
            }
            say("mkdirat %s:%s", fds[f].name, paths[p].name); result(syscall(SYS_mkdirat, fd, path, 0755)); changes();
            say("unlinkat %s:%s", fds[f].name, paths[p].name); result(syscall(SYS_unlinkat, fd, path, 0)); changes();
            say("unlinkat %s:%s REMOVEDIR", fds[f].name, paths[p].name); result(syscall(SYS_unlinkat, fd, path, AT_REMOVEDIR)); changes();
            say("symlinkat x %s:%s", fds[f].name, paths[p].name); result(syscall(SYS_symlinkat, "x", fd, path)); changes();
            say("mknodat %s:%s", fds[f].name, paths[p].name); result(syscall(SYS_mknodat, fd, path, S_IFIFO | 0644, 0)); changes();
            if (path && path != BAD && strcmp(path, "/") == 0)
                continue;
            say("renameat %s:%s to", fds[f].name, paths[p].name); result(syscall(SYS_renameat, fd, path, top_fd, "newname")); changes();
            say("renameat to %s:%s", fds[f].name, paths[p].name); result(syscall(SYS_renameat, top_fd, "script", fd, path)); changes();
            /* The tree may have been made again: the descriptors must be of the new one. */
            release();
            must(fchdir(top_fd) == 0, "fchdir");
            unlink("../file");
            look_for_changes();
            hold();
            struct flag now[] = {{"dir", held_dir}, {"O_PATH dir", held_opath_dir}, {"file", held_file}, {"O_PATH file", held_opath_file}, {"O_PATH link", held_link},
                                 {"removed dir", held_dead}, {"pipe", held_pipe[0]}, {"closed", 987}, {"-1", -1}, {"TOP", top_fd}, {"AT_FDCWD", AT_FDCWD}};
            memcpy(fds, now, sizeof fds);
            fd = (int)fds[f].value;
        }
    }
}

/* ------------------------------------------------------------------------------------------------------------ open */

static const struct flag open_flags[] = {
    {"RDONLY", O_RDONLY}, {"WRONLY", O_WRONLY}, {"RDWR", O_RDWR}, {"3", 3}, {"DIRECTORY", O_DIRECTORY}, {"RDWR|DIRECTORY", O_RDWR | O_DIRECTORY}, {"NOFOLLOW", O_NOFOLLOW},
    {"DIRECTORY|NOFOLLOW", O_DIRECTORY | O_NOFOLLOW}, {"PATH", O_PATH}, {"PATH|NOFOLLOW", O_PATH | O_NOFOLLOW}, {"PATH|DIRECTORY", O_PATH | O_DIRECTORY},
    {"PATH|NOFOLLOW|DIRECTORY", O_PATH | O_NOFOLLOW | O_DIRECTORY}, {"PATH|CREAT|RDWR", O_PATH | O_CREAT | O_RDWR}, {"CREAT|WRONLY", O_CREAT | O_WRONLY}, {"CREAT", O_CREAT},
    {"CREAT|EXCL|RDWR", O_CREAT | O_EXCL | O_RDWR}, {"CREAT|NOFOLLOW|RDWR", O_CREAT | O_NOFOLLOW | O_RDWR}, {"CREAT|DIRECTORY|RDWR", O_CREAT | O_DIRECTORY | O_RDWR},
    {"CREAT|EXCL|NOFOLLOW", O_CREAT | O_EXCL | O_NOFOLLOW}, {"CREAT|TRUNC|WRONLY", O_CREAT | O_TRUNC | O_WRONLY}, {"TRUNC|WRONLY", O_TRUNC | O_WRONLY}, {"TRUNC", O_TRUNC},
    {"APPEND|WRONLY", O_APPEND | O_WRONLY}, {"EXCL", O_EXCL}, {"TMPFILE|RDWR", O_TMPFILE | O_RDWR}, {"TMPFILE", O_TMPFILE}, {"TMPFILE|EXCL|WRONLY", O_TMPFILE | O_EXCL | O_WRONLY},
    {"NOATIME", O_NOATIME}, {"SYNC|RDWR", O_SYNC | O_RDWR}, {"CLOEXEC", O_CLOEXEC}, {"0x80000000", (long)(int)0x80000000}, {"-1", -1},
};
#define OPEN_FLAGS (sizeof open_flags / sizeof *open_flags)

static void say_opened(long fd)
{
    if (fd < 0) {
        say_result(fd);
        return;
    }
    int get = fcntl((int)fd, F_GETFL), cloexec = fcntl((int)fd, F_GETFD);
    char byte = 0;
    succeeded = 1;
    say(" = fd fl %o fd %d", get & ~O_LARGEFILE & ~0100000, cloexec);
    say_identity((int)fd);
    if ((get & O_PATH) == 0 && (get & O_ACCMODE) != O_WRONLY) {
        ssize_t n = read((int)fd, &byte, 1);
        say(" read %s", n < 0 ? errno_name(errno) : n == 0 ? "end" : "byte");
    }
    if ((get & O_PATH) == 0 && (get & O_ACCMODE) != O_RDONLY)
        say(" write %s", write((int)fd, "W", 1) == 1 ? "ok" : errno_name(errno));
    close((int)fd);
}

static void open_shape(const struct shape *s)
{
    for (size_t i = 0; i < OPEN_FLAGS; i++) {
        int flags = (int)open_flags[i].value;
        int changing = flags & (O_CREAT | O_TRUNC | O_WRONLY | O_RDWR | O_TMPFILE);
        if (changing && !(flags & O_PATH) && beyond(s))
            continue;
        /* Devices and the program itself are not for writing, and the random part of their answers is not for comparing. */
        say("open %s %s", s->name, open_flags[i].name);
        say_opened(syscall(SYS_open, s->path, flags | O_NONBLOCK, 0666));
        end();
        if (changing)
            changes();
    }
    /* Without a reader, a FIFO would block. */
    if (!beyond(s) && strcmp(s->name, "fifo") != 0) {
        say("creat %s", s->name); say_opened(syscall(SYS_creat, s->path, 0640)); end(); changes();
    }
    static const struct flag resolves[] = {{"0", 0}, {"NO_SYMLINKS", NO_SYMLINKS}, {"NO_MAGICLINKS", NO_MAGICLINKS}, {"BENEATH", BENEATH}, {"IN_ROOT", IN_ROOT},
                                           {"BENEATH|IN_ROOT", BENEATH | IN_ROOT}, {"BENEATH|NO_SYMLINKS", BENEATH | NO_SYMLINKS}, {"0x80", 0x80}};
    for (size_t i = 0; i < sizeof resolves / sizeof *resolves; i++) {
        struct how how = {O_PATH, 0, (uint64_t)resolves[i].value}, create = {O_CREAT | O_RDWR | O_NONBLOCK, 0644, (uint64_t)resolves[i].value};
        say("openat2 %s PATH %s", s->name, resolves[i].name); say_opened(syscall(SYS_openat2, AT_FDCWD, s->path, &how, sizeof how)); end();
        how.flags = O_PATH | O_NOFOLLOW;
        say("openat2 %s PATH|NOFOLLOW %s", s->name, resolves[i].name); say_opened(syscall(SYS_openat2, AT_FDCWD, s->path, &how, sizeof how)); end();
        if (!beyond(s)) {
            say("openat2 %s CREAT %s", s->name, resolves[i].name); say_opened(syscall(SYS_openat2, AT_FDCWD, s->path, &create, sizeof create)); end();
            changes();
        }
    }
}

static void open_how(void)
{
    struct { struct how how; uint64_t more[600]; } big;
    memset(&big, 0, sizeof big);
    static const unsigned sizes[] = {0, 1, 8, 16, 23, 24, 25, 32, 64, 4096, 4097};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        say("openat2 size %u", sizes[i]); say_opened(syscall(SYS_openat2, AT_FDCWD, "file", &big, (size_t)sizes[i])); end();
    }
    big.more[1] = 1;
    say("openat2 size 64 with more"); say_opened(syscall(SYS_openat2, AT_FDCWD, "file", &big, (size_t)64)); end();
    say("openat2 size 32 with more beyond"); say_opened(syscall(SYS_openat2, AT_FDCWD, "file", &big, (size_t)32)); end();
    say("openat2 how NULL"); say_opened(syscall(SYS_openat2, AT_FDCWD, "file", NULL, (size_t)24)); end();
    say("openat2 how bad"); say_opened(syscall(SYS_openat2, AT_FDCWD, "file", BAD, (size_t)24)); end();
    struct how how = {O_RDONLY, 0644, 0};
    say("openat2 mode without CREAT"); say_opened(syscall(SYS_openat2, AT_FDCWD, "file", &how, sizeof how)); end();
    how = (struct how){O_CREAT, 07777777, 0};
    say("openat2 mode too large"); say_opened(syscall(SYS_openat2, AT_FDCWD, "file", &how, sizeof how)); end();
    how = (struct how){1ull << 40, 0, 0};
    say("openat2 unknown flag"); say_opened(syscall(SYS_openat2, AT_FDCWD, "file", &how, sizeof how)); end();
    how = (struct how){O_PATH, 0, BENEATH};
    say("openat2 BENEATH .. of dirfd"); say_opened(syscall(SYS_openat2, held_dir, "../file", &how, sizeof how)); end();
    say("openat2 BENEATH sub/../inner"); say_opened(syscall(SYS_openat2, held_dir, "sub/../inner", &how, sizeof how)); end();
    say("openat2 BENEATH up"); say_opened(syscall(SYS_openat2, held_dir, "up", &how, sizeof how)); end();
    how = (struct how){O_PATH, 0, IN_ROOT};
    say("openat2 IN_ROOT /inner"); say_opened(syscall(SYS_openat2, held_dir, "/inner", &how, sizeof how)); end();
    say("openat2 IN_ROOT ../../inner"); say_opened(syscall(SYS_openat2, held_dir, "../../inner", &how, sizeof how)); end();
    say("openat2 IN_ROOT up"); say_opened(syscall(SYS_openat2, held_dir, "up", &how, sizeof how)); end();
    say("openat2 IN_ROOT /file"); say_opened(syscall(SYS_openat2, held_dir, "/file", &how, sizeof how)); end();
    umask(077);
    say("open CREAT with umask 077"); say_opened(open("masked", O_CREAT | O_RDWR, 0666)); end(); changes();
    umask(0);
    say("open CREAT with umask 0"); say_opened(open("unmasked", O_CREAT | O_RDWR, 06777)); end(); changes();
    umask(022);
    say("descriptors are the lowest"); int a = open("file", O_RDONLY), b = open("dir", O_RDONLY); say(" %d", b - a); close(a); int c = open("link", O_RDONLY); say(" %d", c - a); close(b); close(c); end();
}

/* ------------------------------------------------------------------------------------------------ calls that change */

static void change(const struct shape *s)
{
    const char *p = s->path;
    if (beyond(s))
        return;
    say("mkdir %s", s->name); result(syscall(SYS_mkdir, p, 0777)); changes();
    say("rmdir %s", s->name); result(syscall(SYS_rmdir, p)); changes();
    say("unlink %s", s->name); result(syscall(SYS_unlink, p)); changes();
    say("unlinkat %s bad flag", s->name); result(syscall(SYS_unlinkat, AT_FDCWD, p, 1)); changes();
    say("mknod fifo %s", s->name); result(syscall(SYS_mknod, p, S_IFIFO | 0640, 0)); changes();
    say("mknod file %s", s->name); result(syscall(SYS_mknod, p, 0640, 0)); changes();
    say("mknod device %s", s->name); result(syscall(SYS_mknod, p, S_IFCHR | 0640, 0x103)); changes();
    say("mknod dir %s", s->name); result(syscall(SYS_mknod, p, S_IFDIR | 0755, 0)); changes();
    say("symlink x %s", s->name); result(syscall(SYS_symlink, "x", p)); changes();
    say("symlink %s to new", s->name); result(syscall(SYS_symlink, p, "newlink"));
    if (p && p != BAD && p != (void *)1 && p != unterminated && p[0] == '/')
        unlink("newlink");
    changes();
    say("link %s", s->name); result(syscall(SYS_link, p, "newlink")); changes();
    say("link file %s", s->name); result(syscall(SYS_link, "file", p)); changes();
    say("link to %s/ FOLLOW", s->name); result(syscall(SYS_linkat, AT_FDCWD, p, AT_FDCWD, "newlink/", AT_SYMLINK_FOLLOW)); changes();
    say("rename %s", s->name); result(syscall(SYS_rename, p, "newname")); changes();
    say("rename %s to newname/", s->name); result(syscall(SYS_rename, p, "newname/")); changes();
    say("rename %s to empty", s->name); result(syscall(SYS_rename, p, "empty")); changes();
    say("rename %s to itself", s->name); result(syscall(SYS_rename, p, p)); changes();
    say("rename %s to bad pointer", s->name); result(syscall(SYS_rename, p, BAD));
    say("link %s to NULL", s->name); result(syscall(SYS_link, p, NULL));
    say("symlink bad pointer to %s", s->name); result(syscall(SYS_symlink, BAD, p));
    say("rename file to %s", s->name); result(syscall(SYS_rename, "file", p)); changes();
    say("rename dir to %s", s->name); result(syscall(SYS_rename, "dir", p)); changes();
    say("renameat2 file to %s NOREPLACE", s->name); result(syscall(SYS_renameat2, AT_FDCWD, "file", AT_FDCWD, p, RENAME_NOREPLACE)); changes();
    say("renameat2 dir with %s EXCHANGE", s->name); result(syscall(SYS_renameat2, AT_FDCWD, "dir", AT_FDCWD, p, RENAME_EXCHANGE)); changes();
    say("renameat2 %s bad flag", s->name); result(syscall(SYS_renameat2, AT_FDCWD, p, AT_FDCWD, "newname", 0x80)); changes();
    say("renameat2 %s NOREPLACE|EXCHANGE", s->name); result(syscall(SYS_renameat2, AT_FDCWD, p, AT_FDCWD, "newname", RENAME_NOREPLACE | RENAME_EXCHANGE)); changes();
    say("chmod %s", s->name); result(syscall(SYS_chmod, p, 0700)); changes();
    say("fchmodat %s", s->name); result(syscall(SYS_fchmodat, AT_FDCWD, p, 0711)); changes();
    say("fchmodat2 %s NOFOLLOW", s->name); result(syscall(SYS_fchmodat2, AT_FDCWD, p, 0711, AT_SYMLINK_NOFOLLOW)); changes();
    say("chown %s -1", s->name); result(syscall(SYS_chown, p, -1, -1));
    say("chown %s 0", s->name); result(syscall(SYS_chown, p, 0, 0));
    say("lchown %s -1", s->name); result(syscall(SYS_lchown, p, -1, -1));
    say("lchown %s mine", s->name); result(syscall(SYS_lchown, p, getuid(), getgid())); changes();
    say("truncate %s 3", s->name); result(syscall(SYS_truncate, p, 3L)); changes();
    say("truncate %s -1", s->name); result(syscall(SYS_truncate, p, -1L)); changes();
    say("utimensat %s", s->name); result(syscall(SYS_utimensat, AT_FDCWD, p, (struct timespec[2]){{1, 2}, {3, 4}}, 0));
    say("utimensat %s NOFOLLOW", s->name); result(syscall(SYS_utimensat, AT_FDCWD, p, NULL, AT_SYMLINK_NOFOLLOW));
    say("utimensat %s bad time", s->name); result(syscall(SYS_utimensat, AT_FDCWD, p, (struct timespec[2]){{1, 2000000000}, {3, 4}}, 0));
    say("utimes %s", s->name); result(syscall(SYS_utimes, p, NULL));
    say("utime %s", s->name); result(syscall(SYS_utime, p, NULL));
    say("futimesat %s", s->name); result(syscall(SYS_futimesat, AT_FDCWD, p, NULL));
    say("setxattr %s", s->name); result(syscall(SYS_setxattr, p, "user.a", "value", 5L, 0));
    char buffer[100];
    say("getxattr %s", s->name); result(syscall(SYS_getxattr, p, "user.a", buffer, 100L));
    say("listxattr %s", s->name); result(syscall(SYS_listxattr, p, buffer, 100L));
    say("removexattr %s", s->name); result(syscall(SYS_removexattr, p, "user.a"));
    say("lsetxattr %s", s->name); result(syscall(SYS_lsetxattr, p, "user.b", "value", 5L, XATTR_CREATE));
    say("lremovexattr %s", s->name); result(syscall(SYS_lremovexattr, p, "user.b"));
    say("setxattr %s trusted", s->name); result(syscall(SYS_setxattr, p, "trusted.a", "value", 5L, 0));
    say("acct %s", s->name); result(syscall(SYS_acct, p));
    say("swapoff %s", s->name); result(syscall(SYS_swapoff, p));
}

/* ----------------------------------------------------------------------------------- chdir, execve, sockets */

static void move_and_run(const struct shape *s)
{
    char cwd[4200];
    long r = syscall(SYS_chdir, s->path);
    say("chdir %s", s->name);
    say_result(r);
    if (r == 0) {
        long length = syscall(SYS_getcwd, cwd, sizeof cwd);
        int at_home = length > 0 && strncmp(s->name, "/proc", 5) != 0;
        say(" getcwd %s", length < 0 ? errno_name(errno) : at_home ? inside(cwd) : "");
        Stat by_dot, by_name, parent;
        say(" . %s", syscall(SYS_STAT, ".", &by_dot) < 0 ? errno_name(errno) : "ok");
        if (length > 0 && at_home)
            say(" %s", syscall(SYS_STAT, cwd, &by_name) < 0 ? errno_name(errno) : by_name.st_ino == by_dot.st_ino ? "the same" : "ANOTHER");
        say(" .. %s", syscall(SYS_STAT, "..", &parent) < 0 ? errno_name(errno) : "ok");
        ssize_t n = readlink("/proc/self/cwd", cwd, sizeof cwd - 1);
        cwd[n > 0 ? n : 0] = 0;
        if (at_home)
            say(" link %s", n < 0 ? errno_name(errno) : inside(cwd));
        Stat inner;
        say(" inner %s", syscall(SYS_STAT, "inner", &inner) < 0 ? errno_name(errno) : "ok");
    }
    end();
    must(fchdir(top_fd) == 0, "fchdir");
    fflush(stdout);
    for (int how = 0; how < 3; how++) {
        static const char *const names[] = {"execve", "execveat", "execveat NOFOLLOW"};
        if (strncmp(s->name, "/proc", 5) == 0 && how == 0 && strncmp(s->name, "/proc/self/exe", 14) != 0)
            continue;
        say("%s %s", names[how], s->name);
        pid_t pid = fork();
        if (pid == 0) {
            char *argv[] = {"exec", NULL};
            int fd = open("/dev/null", O_RDWR);
            dup2(fd, 0), dup2(fd, 1), dup2(fd, 2);
            if (how == 0)
                syscall(SYS_execve, s->path, argv, (char *[]){"PATHS_CHILD=1", NULL});
            else
                syscall(SYS_execveat, AT_FDCWD, s->path, argv, (char *[]){"PATHS_CHILD=1", NULL}, how == 2 ? AT_SYMLINK_NOFOLLOW : 0);
            _exit(100 + (errno & 63) + (errno > 63 ? 64 : 0));
        }
        int status = 0;
        waitpid(pid, &status, 0);
        say(" = status %x", status);
        end();
    }
    /* An address that does not end is as long as its size. */
    if (s->path && s->path != BAD && s->path != (void *)1 && s->path != unterminated && strlen(s->path) < 108 && strncmp(s->name, "/proc/1", 7) != 0) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        memcpy(address.sun_path, s->path, strlen(s->path));
        socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(s->path) + 1);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        say("connect %s", s->name);
        result(connect(fd, (struct sockaddr *)&address, length));
        close(fd);
        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        say("sendto %s", s->name);
        result(sendto(fd, "x", 1, 0, (struct sockaddr *)&address, length));
        close(fd);
        if (!beyond(s) && s->path[0]) {
            fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
            say("bind %s", s->name);
            int bound = bind(fd, (struct sockaddr *)&address, length);
            say_result(bound);
            if (bound == 0 && listen(fd, 1) == 0) {
                int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
                say(" connect %s", connect(client, (struct sockaddr *)&address, length) < 0 ? errno_name(errno) : "ok");
                close(client);
            }
            end();
            close(fd);
            changes();
        }
    }
}

/* -------------------------------------------------------------------------------------------------- places and fates */

static void show_cwd(const char *when)
{
    char cwd[4200];
    long r = syscall(SYS_getcwd, cwd, sizeof cwd);
    say("getcwd %s", when);
    if (r < 0)
        say_result(r);
    else
        say(" = %s", inside(cwd));
    Stat st;
    say("; stat . %s", syscall(SYS_STAT, ".", &st) < 0 ? errno_name(errno) : "ok");
    say(", x %s", syscall(SYS_STAT, "x", &st) < 0 ? errno_name(errno) : "ok");
    say(", .. %s", syscall(SYS_STAT, "..", &st) < 0 ? errno_name(errno) : "ok");
    say(", ../file %s", syscall(SYS_STAT, "../file", &st) < 0 ? errno_name(errno) : "ok");
    int fd = open("new", O_CREAT | O_RDWR, 0644);
    say(", create %s", fd < 0 ? errno_name(errno) : "ok");
    if (fd >= 0)
        close(fd);
    say(", mkdir %s", mkdir("newdir", 0755) < 0 ? errno_name(errno) : "ok");
    end();
}

static void fates(void)
{
    must(chdir("dir/sub") == 0, "chdir");
    show_cwd("in dir/sub");
    must(rename("../../dir", "../../moved") == 0, "rename");
    show_cwd("after its parent was renamed");
    must(fchdir(top_fd) == 0, "fchdir");
    look_for_changes();

    must(mkdir("gone", 0755) == 0 && chdir("gone") == 0 && rmdir("../gone") == 0, "gone");
    show_cwd("in a removed directory");
    must(mkdirat(top_fd, "gone", 0755) == 0, "mkdir");
    show_cwd("in a removed directory whose name is there again");
    must(fchdir(top_fd) == 0, "fchdir");
    look_for_changes();

    int fd = open("dir", O_RDONLY | O_DIRECTORY);
    must(rename("dir", "empty/dir") == 0, "rename");
    Stat st;
    say("fstatat of a renamed dirfd"); result(syscall(SYS_FSTATAT, fd, "inner", &st, 0));
    say("fstatat .. of a renamed dirfd"); result(syscall(SYS_FSTATAT, fd, "../dir/inner", &st, 0));
    say("openat CREAT of a renamed dirfd"); say_opened(openat(fd, "created", O_CREAT | O_RDWR, 0644)); end();
    must(fchdir(fd) == 0, "fchdir");
    show_cwd("after fchdir to a renamed directory");
    must(fchdir(top_fd) == 0, "fchdir");
    look_for_changes();
    close(fd);

    /* A descriptor that came over a socket. */
    int pair[2];
    must(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0, "socketpair");
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        if (chdir("dir"))
            _exit(1);
        int own = open("sub", O_RDONLY | O_DIRECTORY);
        char control[CMSG_SPACE(sizeof own)] = {0};
        struct iovec vector = {"x", 1};
        struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_RIGHTS, header->cmsg_len = CMSG_LEN(sizeof own);
        memcpy(CMSG_DATA(header), &own, sizeof own);
        _exit(sendmsg(pair[1], &message, 0) == 1 ? 0 : 1);
    }
    int received = -1;
    char byte, control[CMSG_SPACE(sizeof received)];
    struct iovec vector = {&byte, 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    must(recvmsg(pair[0], &message, 0) == 1 && CMSG_FIRSTHDR(&message), "recvmsg");
    memcpy(&received, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof received);
    int status;
    waitpid(pid, &status, 0);
    say("received dirfd: deep"); result(syscall(SYS_FSTATAT, received, "deep", &st, 0));
    say("received dirfd: ../inner"); result(syscall(SYS_FSTATAT, received, "../inner", &st, 0));
    say("received dirfd: opened"); say_opened(openat(received, "../../file", O_RDONLY)); end();
    must(fchdir(received) == 0, "fchdir");
    show_cwd("after fchdir to a received directory");
    must(fchdir(top_fd) == 0, "fchdir");
    look_for_changes();
    close(received), close(pair[0]), close(pair[1]);

    /* Directories: all of it, in pieces, from a position, after rewinding. */
    DIR *dir = opendir("many");
    must(dir == NULL, "many is not there yet");
    must(mkdir("many", 0755) == 0, "mkdir");
    for (int i = 0; i < 300; i++) {
        char name[64];
        snprintf(name, sizeof name, "many/entry-with-a-long-name-%d", i);
        must(close(open(name, O_CREAT | O_WRONLY, 0644)) == 0, name);
    }
    dir = opendir("many");
    must(dir != NULL, "opendir");
    int count = 0, dots = 0, regular = 0;
    long middle = 0;
    char after[256] = "";
    struct dirent *entry;
    while ((entry = readdir(dir))) {
        count++, dots += entry->d_name[0] == '.', regular += entry->d_type == DT_REG;
        if (count == 150)
            middle = telldir(dir);
        if (count == 151)
            strcpy(after, entry->d_name);
    }
    rewinddir(dir);
    int again = 0;
    while (readdir(dir))
        again++;
    seekdir(dir, middle);
    entry = readdir(dir);
    say("listing: %d, dots %d, regular %d, again %d, seekdir %s", count, dots, regular, again, entry && strcmp(entry->d_name, after) == 0 ? "right" : "WRONG");
    end();
    rewinddir(dir);
    int removed = 0;
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            removed += unlinkat(dirfd(dir), entry->d_name, 0) == 0;
    say("removed while listing: %d, rmdir", removed); result(rmdir("many"));
    closedir(dir);
    look_for_changes();

    /* What inotify tells about changes by name. */
    int inotify = inotify_init1(IN_NONBLOCK);
    say("watch"); result(inotify_add_watch(inotify, "linkdir", IN_ALL_EVENTS) == 1 ? 0 : -1);
    must(close(open("dir/new", O_CREAT | O_WRONLY, 0644)) == 0 && rename("dir/new", "dir/newer") == 0 && unlink("dir/newer") == 0, "events");
    char events[4096] __attribute__((aligned(8)));
    ssize_t size = read(inotify, events, sizeof events);
    for (char *at = events; at < events + size; at += sizeof(struct inotify_event) + ((struct inotify_event *)at)->len) {
        struct inotify_event *event = (struct inotify_event *)at;
        say("event %x %s", event->mask, event->len ? event->name : "");
        end();
    }
    close(inotify);
    look_for_changes();

    /* ETXTBSY, not invented and not lost. */
    fd = open("script", O_WRONLY);
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        execl("script", "script", NULL);
        _exit(100 + errno);
    }
    waitpid(pid, &status, 0);
    say("exec of what is open for writing = %x", status);
    end();
    close(fd);
    pid = fork();
    if (pid == 0) {
        execl("script", "script", NULL);
        _exit(100 + errno);
    }
    waitpid(pid, &status, 0);
    say("and after it was closed = %x", status);
    end();
}

/* ------------------------------------------------------------------------------------------- numbers there are none of */

static void numbers(void)
{
    static const long none[] = {600, 1000, 100000, 0x7fffffff, -2, -100, 0x40000000 + 4, 0x40000000 + 257, 0x40000000 + 600};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        say("syscall %ld", none[i]);
        result(syscall(none[i], "file", "file", "file", 0, 0, 0));
    }
    say("io vectors of 1025"); result(syscall(SYS_writev, 1, BAD, 1025));
    say("mount of nothing known"); result(syscall(SYS_mount, "none", "dir", "nosuchtype", 0, NULL) < 0 ? -1 : 0);
    say("mount type bad"); result(syscall(SYS_mount, "none", "dir", BAD, 0, NULL));
    say("mount target bad"); result(syscall(SYS_mount, "none", BAD, "tmpfs", 0, NULL));
    say("umount2 of what is no mount"); result(syscall(SYS_umount2, "dir", 0));
    say("umount2 of missing"); result(syscall(SYS_umount2, "missing", 0));
    say("umount2 bad"); result(syscall(SYS_umount2, BAD, 0));
    say("umount2 bad flag"); result(syscall(SYS_umount2, "dir", 0x100000));
}

int main(int argc, char **argv)
{
    if (getenv("PATHS_CHILD"))
        return 42;
    if (argc != 2 || getuid() == 0)
        return fprintf(stderr, "usage: paths DIRECTORY, as an unprivileged user\n"), 2;
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    signal(SIGPIPE, SIG_IGN);
    must((own_exe = open("/proc/self/exe", O_RDONLY)) >= 0, "exe");
    must(chdir(argv[1]) == 0 && getcwd(top, sizeof top) != NULL, argv[1]);
    printf("getcwd %s\n", strcmp(top, argv[1]) == 0 ? "as given" : top);
    /* A level deeper, so that what a path with `..` makes is not beyond reach. */
    must(mkdir("tree", 0755) == 0 && chdir("tree") == 0 && (top_fd = open(".", O_RDONLY | O_DIRECTORY)) >= 0, "tree");
    must(getcwd(top, sizeof top) != NULL, "getcwd");
    make_shapes();
    make_tree();
    make_chain();
    list_tree();
    memcpy(base, lines, sizeof lines);
    base_count = line_count;
    line_count = 0;

    hold();
    for (size_t i = 0; i < SHAPES; i++)
        look(&shapes[i]);
    bad_buffers();
    for (size_t i = 0; i < SHAPES; i++)
        move_and_run(&shapes[i]);
    open_how();
    release();
    make_tree();
    hold();
    for (size_t i = 0; i < SHAPES; i++) {
        open_shape(&shapes[i]);
        look_for_changes();
        release();
        hold();
    }
    for (size_t i = 0; i < SHAPES; i++) {
        change(&shapes[i]);
        look_for_changes();
        release();
        hold();
    }
    by_dirfd();
    release();
    make_tree();
    fates();
    make_tree();
    numbers();
    must(fchdir(top_fd) == 0, "fchdir");
    remove_below(top_fd);
    remove_chain();
    must(rmdir("../tree") == 0, "rmdir");
    puts("done");
    return 0;
}
