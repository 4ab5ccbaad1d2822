/* What the hypervisor does in a process's place: it must look as if the process had done it.
 *
 * usage: on_behalf WHAT...      in a directory where `behalf` can be made
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static char here[4096], name[8192];

/* An absolute path: relative ones the kernel may look up by itself. */
static const char *at(const char *file)
{
    snprintf(name, sizeof name, "%s/%s", here, file);
    return name;
}

static void say(const char *what, long result)
{
    printf("%s: %s\n", what, result < 0 ? strerror(errno) : "done");
}

static void mode(const char *file)
{
    struct stat st;
    if (lstat(at(file), &st))
        say(file, -1);
    else
        printf("%s: %o\n", file, (unsigned)st.st_mode);
}

static int make(const char *file, int flags, mode_t permissions)
{
    int fd = open(at(file), O_CREAT | flags, permissions);
    if (fd < 0)
        say(file, -1);
    return fd;
}

static int other_umask(void *unused)
{
    (void)unused;
    umask(0007);
    return 0;
}

static void umasks(void)
{
    umask(0077);
    close(make("m077", O_WRONLY, 0666));
    mkdir(at("d077"), 02777);
    mkfifo(at("q077"), 0666);
    umask(0);
    close(make("m000", O_RDWR | O_EXCL, 0666));
    close(make("m4751", O_RDONLY, 04751));
    mkdir(at("d000"), 01777);
    /* A process that shares it changes it. */
    static char stack[65536];
    int child = clone(other_umask, stack + sizeof stack, CLONE_FS | SIGCHLD, NULL);
    waitpid(child, NULL, 0);
    close(make("m007", O_WRONLY, 0666));
    if (fork() == 0) {
        umask(0222);
        close(make("m222", O_WRONLY, 0666));
        _exit(0);
    }
    wait(NULL);
    close(make("m007b", O_WRONLY, 0666));
    const char *all[] = {"m077", "d077", "q077", "m000", "m4751", "d000", "m007", "m222", "m007b"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        mode(all[i]);
    printf("umask %o\n", (unsigned)umask(022));
}

/* Where there is a default access control list, the umask does not count. */
static void acl(void)
{
    struct { uint32_t version; struct { uint16_t tag, permissions; uint32_t id; } entries[3]; } list =
        {2, {{1, 7, -1}, {4, 7, -1}, {32, 5, -1}}};
    mkdir(at("acl"), 0777);
    if (setxattr(at("acl"), "system.posix_acl_default", &list, sizeof list, 0))
        return say("acl", -1);
    umask(077);
    close(make("acl/file", O_WRONLY, 0666));
    mkdir(at("acl/dir"), 0777);
    mkfifo(at("acl/fifo"), 0666);
    umask(022);
    mode("acl/file");
    mode("acl/dir");
    mode("acl/fifo");
}

static void flags(void)
{
    const int all[] = {O_WRONLY, O_RDWR | O_APPEND, O_WRONLY | O_NONBLOCK, O_RDWR | O_SYNC | O_CLOEXEC, O_WRONLY | O_NOFOLLOW, O_RDONLY};
    for (int made = 0; made < 2; made++)
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
            int fd = made ? open(at("flags"), all[i]) : make("flags", all[i] | O_EXCL, 0666);
            printf("%x: %x %x\n", all[i], fcntl(fd, F_GETFL), fcntl(fd, F_GETFD));
            close(fd);
            if (!made && i + 1 < sizeof all / sizeof *all)
                unlink(at("flags"));
        }
}

static void no_descriptors(void)
{
    struct rlimit old, none;
    getrlimit(RLIMIT_NOFILE, &old);
    int next = dup(0);
    close(next);
    none = (struct rlimit){next, old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    int fd = open(at("too-many"), O_CREAT | O_WRONLY, 0666);
    say("no descriptor", fd);
    setrlimit(RLIMIT_NOFILE, &old);
    mode("too-many");
}

static volatile int held;
static int leased;

static void give_back(int signal)
{
    (void)signal;
    struct stat st;
    /* The holder of a lease looks at paths before it gives it back. */
    for (int i = 0; i < 100; i++)
        stat(at("lease"), &st);
    held = 0;
    fcntl(leased, F_SETLEASE, F_UNLCK);
}

static void leases(void)
{
    int ready[2], over[2];
    char byte;
    close(make("lease", O_RDWR, 0666));
    if (pipe(ready) || pipe(over))
        return say("pipe", -1);
    int child = fork();
    if (child == 0) {
        signal(SIGIO, give_back);
        leased = open(at("lease"), O_RDWR);
        held = fcntl(leased, F_SETLEASE, F_WRLCK) == 0;
        if (write(ready[1], held ? "y" : "n", 1) != 1)
            _exit(1);
        while (held)
            usleep(1000);
        _exit(read(over[0], &byte, 1) != 0);
    }
    if (read(ready[0], &byte, 1) == 1 && byte == 'y')
        say("open a leased file", open(at("lease"), O_RDONLY));
    else
        printf("no leases here\n");
    close(over[1]);
    close(over[0]);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void affinity(void)
{
    cpu_set_t all, want, got;
    int wrong = 0;
    sched_getaffinity(0, sizeof all, &all);
    close(make("cores", O_RDWR, 0666));
    int child = fork();
    if (child == 0)
        for (;;)
            close(open(at("cores"), O_RDONLY));
    for (int i = 0; i < 300; i++) {
        int core = -1;
        for (int n = i % CPU_SETSIZE, c = 0; c < CPU_SETSIZE && core < 0; c++)
            if (CPU_ISSET((n + c) % CPU_SETSIZE, &all))
                core = (n + c) % CPU_SETSIZE;
        CPU_ZERO(&want);
        CPU_SET(core, &want);
        if (i % 3 == 2)
            want = all;
        sched_setaffinity(child, sizeof want, &want);
        for (int k = 0; k < 10; k++) {
            sched_getaffinity(child, sizeof got, &got);
            wrong += !CPU_EQUAL(&want, &got);
        }
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    printf("affinities of another process: %d wrong\n", wrong);
}

/* What Landlock forbids, nobody is to do for it. */
static void landlock(void)
{
    struct landlock_ruleset_attr attr = {
        .handled_access_fs = LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_READ_FILE};
    int rules = syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    if (rules < 0)
        return say("landlock", -1);
    close(make("locked", O_RDWR, 0666));
    if (fork() == 0) {
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        say("restrict", syscall(SYS_landlock_restrict_self, rules, 0));
        say("mkdir", mkdir(at("forbidden"), 0777));
        say("create", open(at("forbidden-file"), O_CREAT | O_WRONLY, 0666));
        say("unlink", unlink(at("locked")));
        say("read", open(at("locked"), O_RDONLY));
        say("chmod", chmod(at("locked"), 0600));
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
    close(rules);
}

static void namespaces(void)
{
    fflush(stdout);
    if (fork() == 0) {
        say("unshare", unshare(CLONE_NEWUSER | CLONE_NEWNS));
        say("mkdir", mkdir(at("apart"), 0777));
        say("chmod", chmod(at("apart"), 0700));
        say("rename", rename("apart", at("apart2")));
        close(make("apart2/file", O_WRONLY, 0640));
        mode("apart2");
        mode("apart2/file");
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
}

/* Each change once, with the errors that have an order. */
static void changes(void)
{
    struct timespec times[2] = {{1000, 1}, {2000, 2}};
    say("mkdir", mkdir(at("c"), 0777));
    say("mkdir again", mkdir(at("c"), 0777));
    say("mkdir below a file", mkdir(at("m077/x"), 0777));
    say("mkdir below nothing", mkdir(at("none/x"), 0777));
    say("symlink", symlink("to/nowhere", at("c/link")));
    say("symlink to nothing", symlink("", at("c/empty")));
    char to[8192];
    snprintf(to, sizeof to, "%s/c/link2", here);
    say("link", link(at("c/link"), to));
    say("chmod of a dangling link", chmod(at("c/link"), 0600));
    close(make("c/file", O_WRONLY, 0644));
    say("chmod", chmod(at("c/file"), 04711));
    mode("c/file");
    say("utimensat", utimensat(AT_FDCWD, at("c/file"), times, 0));
    say("utimensat, bad", syscall(SYS_utimensat, AT_FDCWD, at("c/file"), 8, 0));
    say("utimensat, now", utimensat(AT_FDCWD, at("c/file"), NULL, 0));
    times[0].tv_nsec = 2000000000;
    say("utimensat, wrong", utimensat(AT_FDCWD, at("c/file"), times, 0));
    say("chown", chown(at("c/file"), -1, getgid()));
    mode("c/file");
    say("mknod", mknod(at("c/node"), S_IFREG | 0640, 0));
    say("mknod of a directory", mknod(at("c/node2"), S_IFDIR | 0640, 0));
    mode("c/node");
    snprintf(to, sizeof to, "%s/c/moved", here);
    say("rename", rename(at("c/file"), to));
    say("rename, NOREPLACE", syscall(SYS_renameat2, AT_FDCWD, at("c/node"), AT_FDCWD, to, 1));
    say("rename, EXCHANGE", syscall(SYS_renameat2, AT_FDCWD, at("c/node"), AT_FDCWD, to, 2));
    mode("c/moved");
    say("rmdir, not empty", rmdir(at("c")));
    say("rmdir of a file", rmdir(at("c/moved")));
    say("unlink of a directory", unlink(at("c")));
    const char *all[] = {"c/moved", "c/node", "c/link", "c/link2"};
    for (int i = 0; i < 4; i++)
        say("unlink", unlink(at(all[i])));
    say("unlink again", unlink(at("c/node")));
    say("rmdir", rmdir(at("c")));
}

static void giving_away(void)
{
    close(make("given", O_WRONLY, 0644));
    say("chown to root", chown(at("given"), 0, -1));
}

/* An exec that fails, on a stack that begins in the middle of an area of known bytes, by the only thread of a process that fork made. */
static void failed_exec(void)
{
    static unsigned char area[8192] __attribute__((aligned(64)));
    int fd = make("nonsense", O_WRONLY, 0755);
    dprintf(fd, "\001\002 not a program\n");
    close(fd);
    char path[8192];
    snprintf(path, sizeof path, "%s", at("nonsense"));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        char *argv[] = {path, NULL};
        memset(area, 0x5a, sizeof area);
        long result = SYS_execve, saved;
        __asm__ volatile("mov %%rsp, %1; mov %2, %%rsp; syscall; mov %1, %%rsp"
                         : "+a"(result), "=&r"(saved) : "r"(area + 4096), "D"(path), "S"(argv), "d"(environ) : "rcx", "r11", "memory");
        size_t changed = 0;
        for (size_t i = 0; i < sizeof area; i++)
            changed += area[i] != 0x5a;
        printf("exec: %s, %zu bytes changed\n", strerror((int)-result), changed);
        fflush(stdout);
        argv[0] = "true";
        execv("/bin/true", argv);
        _exit(1);
    }
    int status;
    waitpid(child, &status, 0);
    printf("status %d\n", status);
}

int main(int argc, char **argv)
{
    static const struct { const char *name; void (*run)(void); } all[] = {
        {"umasks", umasks}, {"acl", acl}, {"flags", flags}, {"no_descriptors", no_descriptors}, {"changes", changes}, {"leases", leases},
        {"landlock", landlock}, {"affinity", affinity}, {"giving_away", giving_away}, {"namespaces", namespaces}, {"failed_exec", failed_exec},
    };
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (mkdir("behalf", 0755) || chdir("behalf") || !getcwd(here, sizeof here))
        return perror("behalf"), 1;
    for (int i = 1; i < argc; i++)
        for (size_t k = 0; k < sizeof all / sizeof *all; k++)
            if (strcmp(argv[i], all[k].name) == 0)
                all[k].run();
    return 0;
}
