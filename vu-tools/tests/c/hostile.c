/* What a program can do to its hypervisor that means no good. Nothing is expected of the calls: the hypervisor must live, and others must not notice.
 *
 *     hostile SCENARIO HYPERVISOR    in a directory of its own, for about a second; ends with status 0
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double begin;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int goes_on(void) { return now() < begin + 1; }

static void reap_all(void) { while (waitpid(-1, NULL, 0) > 0 || errno == EINTR) ; }

/* ---- memory that changes while it is read */
static volatile char *changing;

static void *change(void *unused)
{
    static const char *const names[] = {"made/./made", "made/../made/x", "loop", "/proc/self/exe", "", "link/.", "/proc/self/fd/3/../..", "made"};
    (void)unused;
    for (unsigned i = 0; goes_on(); i++) {
        const char *name = names[i % 8];
        for (size_t at = 0; at <= strlen(name); at++) changing[at] = name[at];
        if (i % 64 == 0) mprotect((void *)changing, 4096, i % 128 ? PROT_NONE : PROT_READ | PROT_WRITE);
        mprotect((void *)changing, 4096, PROT_READ | PROT_WRITE);
    }
    return NULL;
}

static void *use(void *unused)
{
    (void)unused;
    char *path = (char *)changing;
    struct stat st;
    while (goes_on()) {
        int fd = open(path, O_RDWR | O_CREAT, 0600);
        if (fd >= 0) close(fd);
        stat(path, &st);
        rename(path, path + 1);
        mkdir(path, 0700);
        unlink(path);
        rmdir(path);
        link(path, "other");
        symlink(path, path);
        chdir(path);
        syscall(SYS_openat2, AT_FDCWD, path, path, 24);
        char *args[] = {path, path, NULL};
        if (vfork() == 0) { execve(path, args, args); _exit(1); }
    }
    return NULL;
}

static void race(void)
{
    pthread_t threads[4];
    changing = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    symlink("loop", "loop");
    symlink("/etc", "link");
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, i ? use : change, NULL);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    reap_all();
}

/* ---- memory that goes away: the hypervisor's own in the process, too */
static void unmap(void)
{
    while (goes_on()) {
        pid_t child = fork();
        if (child == 0) {
            for (int i = 0; i < 3; i++) { chdir("."); mkdir("made", 0700); rmdir("made"); open("made2", O_RDWR | O_CREAT, 0600); }
            char line[512];
            FILE *maps = fopen("/proc/self/maps", "r");
            static struct { unsigned long from, to; } areas[256];
            int count = 0;
            while (maps && count < 256 && fgets(line, sizeof line, maps))
                if (!strchr(line, '/') && !strstr(line, "[stack]") && !strstr(line, "[v") && sscanf(line, "%lx-%lx", &areas[count].from, &areas[count].to) == 2)
                    count++;
            /* Without the C library's memory: nothing but system calls from here on. */
            for (int i = 0; i < count; i++) syscall(SYS_munmap, areas[i].from, areas[i].to - areas[i].from);
            for (int i = 0; i < 20; i++) {
                syscall(SYS_chdir, ".");
                syscall(SYS_mkdir, "made", 0700);
                syscall(SYS_rmdir, "made");
                syscall(SYS_open, "made2", O_RDWR | O_CREAT, 0600);
                syscall(SYS_brk, 0);
            }
            char *args[] = {"/bin/true", NULL};
            syscall(SYS_execve, "/bin/true", args, NULL);
            syscall(SYS_exit_group, 0);
        }
        waitpid(child, NULL, 0);
    }
}

/* ---- descriptors that are closed while others are given */
static void *close_all(void *unused)
{
    (void)unused;
    while (goes_on()) {
        syscall(SYS_close_range, 3, ~0U, 0);
        struct rlimit few = {(rlim_t)(3 + rand() % 4), 64};
        setrlimit(RLIMIT_NOFILE, &few);
    }
    return NULL;
}

static void *open_all(void *unused)
{
    (void)unused;
    while (goes_on()) {
        open("/etc/passwd", O_RDONLY);
        open("made", O_RDWR | O_CREAT, 0600);
        open(".", O_RDONLY | O_DIRECTORY);
        int fd = open("/proc/self/status", O_RDONLY);
        dup2(fd, 0);
        unlink("made");
    }
    return NULL;
}

static void descriptors(void)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, i ? open_all : close_all, NULL);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
}

/* ---- the sixth argument, in which the hypervisor knows its own calls */
static void cookies(void)
{
    uint64_t cookie = 1;
    for (unsigned i = 0; goes_on(); i++) {
        cookie = cookie * 6364136223846793005u + 1442695040888963407u;
        uint64_t guess = i % 3 == 0 ? cookie : i % 3 == 1 ? (uint64_t)1 << (i % 64) : ~(uint64_t)0;
        syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY, 0, guess, guess);
        syscall(SYS_mkdirat, AT_FDCWD, "made", 0700, guess, guess, guess);
        syscall(SYS_unlinkat, AT_FDCWD, "made", AT_REMOVEDIR, guess, guess, guess);
        syscall(SYS_mount, "none", ".", "tmpfs", guess, guess, guess);
        syscall(SYS_ptrace, guess, guess, guess, guess, guess, guess);
        syscall(SYS_seccomp, guess, guess, guess, guess, guess, guess);
        syscall(SYS_close_range, 3, ~0U, 0);
    }
}

/* ---- the hypervisor itself */
static int its_pid;

static void hypervisor(void)
{
    char name[64], room[64] = {0};
    if (its_pid <= 1) _exit(6);
    /* Stopped, it could not let anybody go on. */
    if (ptrace(PTRACE_ATTACH, its_pid, 0, 0) != -1 || errno != EPERM) _exit(7);
    if (ptrace(PTRACE_SEIZE, its_pid, 0, PTRACE_O_TRACESYSGOOD) != -1 || errno != EPERM) _exit(7);
    ptrace(PTRACE_INTERRUPT, its_pid, 0, 0);
    ptrace(PTRACE_CONT, its_pid, 0, 0);
    struct iovec own = {room, sizeof room}, its = {(void *)0x10000, sizeof room};
    process_vm_readv(its_pid, &own, 1, &its, 1, 0);
    snprintf(name, sizeof name, "/proc/%d/mem", its_pid);
    int fd = open(name, O_RDONLY);
    if (pread(fd, room, sizeof room, 0x10000) > 0) room[0] = 0;
    syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, its_pid, 0), 3, 0);
    kill(its_pid, SIGCONT);
    kill(its_pid, SIGWINCH);
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGWINCH);
}

/* ---- signals without end */
static volatile long handled;
static void handler(int signal) { (void)signal; handled++; }

static void signals(void)
{
    struct sigaction action = {.sa_handler = handler};
    for (int signal = SIGRTMIN + 5; signal < SIGRTMAX; signal++) sigaction(signal, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
    /* So that it does not take minutes to handle what has come within a second. */
    struct rlimit pending = {200, 200};
    setrlimit(RLIMIT_SIGPENDING, &pending);
    pid_t target = getpid();
    for (int i = 0; i < 3; i++)
        if (fork() == 0) {
            for (unsigned n = 0; goes_on(); n++) {
                union sigval value = {(int)n};
                sigqueue(target, SIGRTMIN + 5 + (int)(n % 20), value);
                if (n % 50 == 0) kill(target, SIGUSR1);
                if (n % 500 == 0) { kill(target, SIGSTOP); kill(target, SIGCONT); }
            }
            _exit(0);
        }
    struct stat st;
    while (goes_on()) {
        if (stat("/etc/passwd", &st) != 0) _exit(3);
        if (mkdir("made", 0700) != 0) _exit(4);
        if (rmdir("made") != 0) _exit(5);
        pid_t child = vfork();
        if (child == 0) { execl("/bin/true", "true", NULL); _exit(1); }
    }
    /* They end by themselves: one that has just stopped this process continues it first. */
    reap_all();
}

/* ---- threads that all execute at once, and are killed while they do */
static void *execute(void *unused)
{
    (void)unused;
    execl("/bin/true", "true", NULL);
    return NULL;
}

static void executions(void)
{
    for (unsigned n = 0; goes_on(); n++) {
        pid_t child = fork();
        if (child == 0) {
            pthread_t threads[8];
            for (int i = 0; i < 8; i++) pthread_create(&threads[i], NULL, execute, NULL);
            execute(NULL);
        }
        usleep(n * 37 % 900);
        if (n % 2) kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        child = fork();
        if (child == 0) {
            if (vfork() == 0) { execl("/bin/true", "true", NULL); _exit(1); }
            mkdir("made", 0700);
            chdir("made");
            _exit(0);
        }
        usleep(n * 53 % 700);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        rmdir("made");
    }
}

/* ---- processes that end while a thread of theirs makes children */

/* Whether a process without a parent has come into another view: leaves something where that is to be seen. */
static void look_around(void)
{
    const char *elsewhere = getenv("ELSEWHERE");
    char found[4096];
    if (elsewhere && access(elsewhere, F_OK) == 0 && snprintf(found, sizeof found, "%s.found", elsewhere) > 0)
        close(creat(found, 0600));
}

static void *multiply(void *unused)
{
    (void)unused;
    for (;;)
        if (fork() == 0) {
            look_around();
            _exit(0);
        }
    return NULL;
}

static void orphans(void)
{
    for (unsigned n = 0; goes_on(); n++) {
        pid_t child = fork();
        if (child == 0) {
            pthread_t thread;
            pthread_create(&thread, NULL, multiply, NULL);
            usleep(n * 71 % 1500);
            _exit(0);
        }
        waitpid(child, NULL, 0);
    }
}

/* ---- with next to nothing */
static void poverty(void)
{
    while (goes_on()) {
        pid_t child = fork();
        if (child == 0) {
            struct rlimit none = {0, 0}, little = {1 << 22, 1 << 22};
            setrlimit(RLIMIT_AS, &little);
            setrlimit(RLIMIT_STACK, &none);
            setrlimit(RLIMIT_FSIZE, &none);
            setrlimit(RLIMIT_NPROC, &none);
            setrlimit(RLIMIT_SIGPENDING, &none);
            setrlimit(RLIMIT_NOFILE, &none);
            setrlimit(RLIMIT_MEMLOCK, &none);
            chdir("/");
            open("/etc/passwd", O_RDONLY);
            mkdir("made", 0700);
            fork();
            socket(AF_UNIX, SOCK_STREAM, 0);
            execl("/bin/true", "true", NULL);
            _exit(0);
        }
        waitpid(child, NULL, 0);
    }
}

int main(int argc, char **argv)
{
    static const struct { const char *name; void (*run)(void); } all[] = {
        {"race", race}, {"unmap", unmap}, {"descriptors", descriptors}, {"cookies", cookies}, {"hypervisor", hypervisor},
        {"signals", signals}, {"executions", executions}, {"orphans", orphans},
        {"poverty", poverty},
    };
    begin = now();
    its_pid = argc == 3 ? atoi(argv[2]) : 0;
    for (unsigned i = 0; argc == 3 && i < sizeof all / sizeof *all; i++)
        if (!strcmp(argv[1], all[i].name)) {
            /* What it does to itself is its own affair. */
            pid_t child = fork();
            if (child == 0) { all[i].run(); exit(0); }
            int status = 0;
            while (waitpid(child, &status, 0) < 0 || WIFSTOPPED(status))
                ptrace(PTRACE_CONT, child, 0, 0);
            return WIFEXITED(status) ? WEXITSTATUS(status) : 0;
        }
    return 2;
}
