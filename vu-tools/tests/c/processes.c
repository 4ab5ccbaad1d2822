/* Making processes and threads in every way.
 *
 * usage: processes spawn           fork, vfork, posix_spawn, clone, clone3, a chain of /proc/self/exe
 *        processes thread-exec     an exec by a thread that is not the leader, while others look up paths
 *        processes storm N         stats of N threads at once
 *        processes crowd N         N processes at once, each looking at a path and executing a program
 *        processes signals         what a signal handler sees
 *        processes orphan          a process whose parent has gone still sees the same
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void reap(const char *what, pid_t pid)
{
    int status = -1;
    if (pid < 0)
        printf("%s: %s\n", what, strerror(errno));
    else if (waitpid(pid, &status, 0) != pid)
        printf("%s: lost\n", what);
    else
        printf("%s: %x\n", what, status);
}

static int in_clone(void *name)
{
    struct stat st;
    return stat(name, &st) == 0 ? 5 : 6;
}

static int spawn(char *self)
{
    char *echo[] = {"sh", "-c", "echo from a program; exit 3", NULL};
    pid_t pid = fork();
    if (pid == 0) {
        execv("/bin/sh", echo);
        _exit(9);
    }
    reap("fork", pid);
    pid = vfork();
    if (pid == 0) {
        execv("/bin/sh", echo);
        _exit(9);
    }
    reap("vfork", pid);
    pid = vfork();
    if (pid == 0)
        _exit(4);
    reap("vfork without exec", pid);
    pid = vfork();
    if (pid == 0) {
        execv("/no/such/program", echo);
        _exit(errno);
    }
    reap("vfork of nothing", pid);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 5, "/etc/passwd", O_RDONLY, 0);
    posix_spawn_file_actions_addchdir_np(&actions, "/");
    char *pwd[] = {"sh", "-c", "head -c 4 <&5; echo; /bin/pwd", NULL};
    int error = posix_spawn(&pid, "/bin/sh", &actions, NULL, pwd, environ);
    if (error)
        printf("posix_spawn: %s\n", strerror(error));
    else
        reap("posix_spawn", pid);
    printf("posix_spawn of nothing: %s\n", strerror(posix_spawn(&pid, "/no/such", NULL, NULL, pwd, environ)));
    FILE *f = popen("echo by popen", "r");
    char line[64] = "";
    if (!fgets(line, sizeof line, f))
        printf("popen gave nothing\n");
    printf("popen: %s%d\n", line, pclose(f));
    printf("system: %x\n", system("exit 6"));
    char *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    reap("clone", clone(in_clone, stack + 65536, SIGCHLD, "/etc/passwd"));
    reap("clone sharing memory", clone(in_clone, stack + 65536, CLONE_VM | SIGCHLD, "/etc/passwd"));
    reap("clone sharing everything", clone(in_clone, stack + 65536, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | SIGCHLD, "/no/such"));
    struct clone_args args = {.exit_signal = SIGCHLD};
    pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0)
        _exit(in_clone("/etc/passwd"));
    reap("clone3", pid);
    /* Whoever asks not to be traced is traced all the same, and does not see it. */
    args.flags = CLONE_UNTRACED;
    pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0)
        _exit(in_clone("/etc/passwd"));
    reap("clone3 untraced", pid);
    pid = fork();
    if (pid == 0) {
        execl("/proc/self/exe", self, "again", "5", NULL);
        _exit(9);
    }
    reap("chain of /proc/self/exe", pid);
    return 0;
}

static int again(const char *self, const char *count)
{
    char less[16], exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[n > 0 ? n : 0] = 0;
    struct stat by_link, by_name;
    printf("again %s: exe is %s\n", count, stat("/proc/self/exe", &by_link) == 0 && stat(exe, &by_name) == 0 && by_link.st_ino == by_name.st_ino ? "itself" : "ANOTHER");
    fflush(stdout);
    if (atoi(count) == 0)
        return 11;
    snprintf(less, sizeof less, "%d", atoi(count) - 1);
    execl("/proc/self/exe", self, "again", less, NULL);
    return 9;
}

static void *look_forever(void *unused)
{
    struct stat st;
    for (;;)
        stat("/etc/passwd", &st);
    return unused;
}

static pid_t leader;

static void *exec_now(void *self)
{
    usleep(20000);
    execl("/proc/self/exe", self, "after-exec", NULL);
    _exit(9);
}

static int thread_exec(char *self)
{
    for (int i = 0; i < 30; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            pthread_t thread;
            leader = getpid();
            char text[16];
            snprintf(text, sizeof text, "%d", leader);
            setenv("LEADER", text, 1);
            for (int t = 0; t < 3; t++)
                pthread_create(&thread, NULL, look_forever, NULL);
            pthread_create(&thread, NULL, exec_now, self);
            pause();
            _exit(8);
        }
        int status;
        if (waitpid(pid, &status, 0) != pid || status != 12 << 8)
            printf("round %d: status %x\n", i, status);
    }
    puts("done");
    return 0;
}

static int after_exec(void)
{
    struct stat st;
    int right = getpid() == atoi(getenv("LEADER")) && syscall(SYS_gettid) == getpid() && stat("/etc/passwd", &st) == 0;
    return right ? 12 : 13;
}

static volatile long wrong;

static void *storm_thread(void *number)
{
    struct stat st;
    char name[64];
    snprintf(name, sizeof name, "storm-%ld", (long)(intptr_t)number);
    for (int i = 0; i < 2000; i++) {
        long bad = 0;
        int fd = open(name, O_CREAT | O_RDWR, 0600);
        bad += fd < 0;
        bad += stat("/etc/passwd", &st) != 0;
        bad += stat(name, &st) != 0;
        bad += stat("/no/such", &st) == 0 || errno != ENOENT;
        bad += fd >= 0 && (st.st_mode & S_IFMT) != S_IFREG;
        close(fd);
        bad += unlink(name) != 0;
        bad += access(name, F_OK) == 0;
        if (bad)
            __sync_fetch_and_add(&wrong, bad);
    }
    return NULL;
}

static int storm(int count)
{
    pthread_t threads[64];
    for (long i = 0; i < count; i++)
        pthread_create(&threads[i], NULL, storm_thread, (void *)(intptr_t)i);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    printf("wrong: %ld\n", wrong);
    return 0;
}

static int crowd(int count)
{
    int gate[2], bad = 0;
    char byte;
    if (pipe(gate))
        return 1;
    for (int i = 0; i < count; i++) {
        pid_t pid = fork();
        if (pid < 0)
            return printf("fork: %s\n", strerror(errno)), 1;
        if (pid == 0) {
            struct stat st;
            close(gate[1]);
            /* All go at once when the gate is closed. */
            if (read(gate[0], &byte, 1) != 0 || stat("/etc/passwd", &st) != 0)
                _exit(1);
            execl("/bin/true", "true", NULL);
            _exit(2);
        }
    }
    close(gate[1]);
    for (int i = 0; i < count; i++) {
        int status;
        if (wait(&status) < 0 || status != 0)
            bad++;
    }
    printf("bad: %d, then %s\n", bad, wait(NULL) < 0 ? strerror(errno) : "one more");
    return 0;
}

static sigjmp_buf back;

static void on_fault(int signal, siginfo_t *info, void *context)
{
    (void)context;
    printf("signal %d code %d address %s\n", signal, info->si_code, info->si_addr == (void *)16 ? "right" : "other");
    siglongjmp(back, 1);
}

static void on_signal(int signal, siginfo_t *info, void *context)
{
    (void)context;
    printf("signal %d code %d pid %s value %d\n", signal, info->si_code, info->si_pid == getpid() ? "own" : "other", signal >= SIGRTMIN ? info->si_value.sival_int : 0);
}

static int signals(void)
{
    struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER}, plain = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    stack_t alternate = {.ss_sp = malloc(65536), .ss_size = 65536};
    setvbuf(stdout, NULL, _IONBF, 0);
    sigaltstack(&alternate, NULL);
    sigaction(SIGSEGV, &fault, NULL);
    sigaction(SIGTRAP, &plain, NULL);
    sigaction(SIGUSR1, &plain, NULL);
    sigaction(SIGSYS, &plain, NULL);
    sigaction(SIGCONT, &plain, NULL);
    sigaction(SIGRTMIN + 1, &plain, NULL);
    sigaction(SIGFPE, &fault, NULL);
    if (!sigsetjmp(back, 1))
        *(volatile int *)16 = 1;
    __asm__ volatile("int3");
    raise(SIGTRAP);
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGSYS);
    kill(getpid(), SIGTRAP);
    sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 77});
    /* What is blocked waits; what is ignored is gone; both survive an intercepted call. */
    sigset_t set, pending;
    struct stat st;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    kill(getpid(), SIGUSR1);
    stat("/etc/passwd", &st);
    sigpending(&pending);
    printf("pending: %d\n", sigismember(&pending, SIGUSR1));
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    signal(SIGUSR2, SIG_IGN);
    kill(getpid(), SIGUSR2);
    /* A stop, seen by the parent, and a death. */
    static const int deaths[] = {SIGTERM, SIGKILL, SIGSEGV, SIGABRT, SIGTRAP, SIGSYS, SIGALRM, SIGXCPU};
    for (size_t i = 0; i < sizeof deaths / sizeof *deaths; i++) {
        pid_t pid = fork();
        int status;
        if (pid == 0) {
            prctl(PR_SET_DUMPABLE, 0);
            signal(deaths[i], SIG_DFL);
            signal(SIGCONT, SIG_DFL);
            raise(SIGSTOP);
            for (;;)
                pause();
        }
        waitpid(pid, &status, WUNTRACED);
        printf("stopped %x", status);
        kill(pid, SIGCONT);
        waitpid(pid, &status, WCONTINUED);
        printf(" continued %x", status);
        kill(pid, deaths[i]);
        waitpid(pid, &status, 0);
        printf(" died %x\n", status);
    }
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            stat("/etc/passwd", &st);
    }
    usleep(20000);
    kill(pid, SIGKILL);
    int status;
    waitpid(pid, &status, 0);
    printf("killed in the middle %x\n", status);
    return 0;
}

static int orphan(void)
{
    int ends[2];
    char text[100];
    if (pipe(ends))
        return 1;
    pid_t pid = fork();
    if (pid == 0) {
        if (fork() == 0) {
            struct stat st;
            usleep(200000);
            int n = snprintf(text, sizeof text, "orphan: %s\n", stat("file", &st) == 0 && stat("/etc/passwd", &st) == 0 ? "sees" : strerror(errno));
            _exit(write(ends[1], text, (size_t)n) != n);
        }
        _exit(0);
    }
    reap("parent", pid);
    ssize_t n = read(ends[0], text, sizeof text - 1);
    text[n > 0 ? n : 0] = 0;
    printf("%s", text);
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    setvbuf(stdout, NULL, _IONBF, 0);
    if (strcmp(what, "spawn") == 0)
        return spawn(argv[0]);
    if (strcmp(what, "again") == 0 && argc == 3)
        return again(argv[0], argv[2]);
    if (strcmp(what, "thread-exec") == 0)
        return thread_exec(argv[0]);
    if (strcmp(what, "after-exec") == 0)
        return after_exec();
    if (strcmp(what, "storm") == 0 && argc == 3)
        return storm(atoi(argv[2]));
    if (strcmp(what, "crowd") == 0 && argc == 3)
        return crowd(atoi(argv[2]));
    if (strcmp(what, "signals") == 0)
        return signals();
    if (strcmp(what, "orphan") == 0)
        return orphan();
    fprintf(stderr, "usage: processes spawn|thread-exec|storm N|crowd N|signals|orphan\n");
    return 2;
}
