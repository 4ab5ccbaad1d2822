/* What runs inside the views of main.rs: `tracee SCENARIO DIR`. Each scenario looks for itself whether all is as it must be. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define CHECK(condition) \
    do { if (!(condition)) { fprintf(stderr, "%s:%d: %s: errno %d (%s)\n", scenario, __LINE__, #condition, errno, strerror(errno)); _exit(1); } } while (0)

static const char *scenario, *dir, *self;

enum { CONTROL = 0x7675, MOUNT = 1, HYPERVISOR = 2, LIVING = 3, MEET = 4, WAIT = 5, AWAITED = 6, LEFT = 7 };
static long control(long command) { return syscall(CONTROL, command); }
/* The answer of the hypervisor: only with the path filter. */
static int in_force(void) { return access("/virt/answer", F_OK) == -1 && errno == EXDEV; }

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}
static void nap(int ms) {
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    while (nanosleep(&t, &t) && errno == EINTR) {}
}
/* A path that the hypervisor has the call redirected to: DIR/name. */
static char *host(char *buffer, const char *name) {
    snprintf(buffer, 256, "/virt/host%s/%s", dir, name);
    return buffer;
}
static void make_and_remove(const char *name) {
    char path[256], real[256];
    host(path, name);
    snprintf(real, sizeof real, "%s/%s", dir, name);
    CHECK(mkdir(path, 0755) == 0);
    CHECK(rmdir(real) == 0);
}
/* Waits for a child that shall end well. */
static void reap(pid_t child) {
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    if (status) { fprintf(stderr, "%s: child ended with status %#x\n", scenario, status); _exit(1); }
}

/* ---- verdicts */
static void basic(void) {
    CHECK(access("/virt/answer", F_OK) == -1 && errno == ENOENT);
    CHECK(control(MOUNT) == 0);
    CHECK(in_force());
    char buffer[64] = {0};
    int fd = open("/virt/fd", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && read(fd, buffer, sizeof buffer) == 9 && !memcmp(buffer, "installed", 9));
    CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    for (int i = 0; i < 300; i++) make_and_remove("basic");
    /* The finish closure doubles what getppid, put in the place of it, returns. */
    CHECK(access("/virt/finish", F_OK) == 2 * getppid());
    /* All registers but rax, rcx and r11 are as before. */
    char path[256];
    host(path, "registers");
    register long r10 __asm__("r10") = 0x1111222233334444, r8 __asm__("r8") = 0x5555666677778888, r9 __asm__("r9") = 0x99990000aaaabbbb;
    long rdi = (long)path, rsi = 0755, rdx = 0x7777111122223333, rax = SYS_mkdir;
    __asm__ volatile("syscall" : "+a"(rax), "+D"(rdi), "+S"(rsi), "+d"(rdx), "+r"(r10), "+r"(r8), "+r"(r9) : : "rcx", "r11", "memory");
    CHECK(rax == 0 && rdi == (long)path && rsi == 0755 && rdx == 0x7777111122223333);
    CHECK(r10 == 0x1111222233334444 && r8 == 0x5555666677778888 && r9 == (long)0x99990000aaaabbbb);
    char real[256];
    snprintf(real, sizeof real, "%s/registers", dir);
    CHECK(rmdir(real) == 0);
    /* exec, by a name that only the view knows. */
    pid_t child = fork();
    if (!child) { execl("/virt/host/bin/true", "true", NULL); _exit(9); }
    reap(child);
}

/* ---- verdicts that take long, and hold up nobody else */
enum { EARLY = 80 };
static int gates[EARLY][2], met[2];

static void meet(void) { CHECK(access("/virt/meet", F_OK) == 0); }

/* A process that meets somebody three times, each time when it is told to. */
static pid_t meets(int number) {
    char byte;
    CHECK(pipe(gates[number]) == 0);
    pid_t child = fork();
    if (child) return child;
    for (int i = 0; i < 3; i++) {
        CHECK(read(gates[number][0], &byte, 1) == 1);
        meet();
        CHECK(write(met[1], "m", 1) == 1);
    }
    _exit(0);
}

/* Has all of them meet. Nobody does so again before all have: one that is left with others to meet would wait for good. */
static void all_meet(const pid_t *who, int count) {
    char byte;
    for (int i = 0; i < 3; i++) {
        for (int n = 0; n < count; n++) CHECK(write(gates[n][1], "b", 1) == 1);
        for (int n = 0; n < count; n++) CHECK(read(met[0], &byte, 1) == 1);
    }
    for (int n = 0; n < count; n++) {
        reap(who[n]);
        CHECK(close(gates[n][0]) == 0 && close(gates[n][1]) == 0);
    }
}

static void long_verdicts(void) {
    pid_t early[EARLY], some[6];
    CHECK(pipe(met) == 0);
    /* Before the mount, so that each has a listener of its own; more than are served by a thread each. */
    for (int i = 0; i < EARLY; i++) early[i] = meets(i);
    CHECK(control(MOUNT) == 0);
    all_meet(early, EARLY);
    /* These share one listener. */
    for (int i = 0; i < 5; i++) {
        pid_t child = fork();
        if (!child) { meet(); _exit(0); }
        meet();
        reap(child);
    }
    for (int i = 0; i < 6; i++) some[i] = meets(i);
    all_meet(some, 6);
    CHECK(in_force());
}

/* ---- descriptors for many threads, of which sometimes one, sometimes all are at it */
static void *take_descriptors(void *number) {
    unsigned turn = 7 * (unsigned)(uintptr_t)number;
    for (int i = 0; i < 4000; i++) {
        char buffer[16] = {0};
        int fd = open("/virt/fd", O_RDONLY | O_CLOEXEC);
        CHECK(fd > 2 && pread(fd, buffer, sizeof buffer, 0) == 9 && !memcmp(buffer, "installed", 9));
        CHECK(close(fd) == 0);
        turn = turn * 1103515245 + 12345;
        if (turn >> 16 & 64) for (unsigned spin = turn >> 8 & 0xffff; spin; spin--) __asm__ volatile("");
    }
    return NULL;
}

static void descriptor_storm(void) {
    pthread_t threads[6];
    CHECK(control(MOUNT) == 0);
    /* So that no number below 3 is free. */
    while (open("/dev/null", O_RDONLY) < 3) ;
    /* The cores are wanted by others, too. */
    pid_t others[4];
    for (int i = 0; i < 4; i++)
        if (!(others[i] = fork())) { prctl(PR_SET_PDEATHSIG, SIGKILL); for (;;) ; }
    for (uintptr_t i = 0; i < 6; i++) CHECK(pthread_create(&threads[i], NULL, take_descriptors, (void *)i) == 0);
    for (int i = 0; i < 6; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < 4; i++) CHECK(kill(others[i], SIGKILL) == 0 && waitpid(others[i], NULL, 0) == others[i]);
}

/* ---- verdicts that never come: whoever is to end does not wait for them */
static void nothing_more(int signal) { (void)signal; }

static void ends_by(pid_t child, int signal, long before) {
    int status;
    while (control(AWAITED) <= before) nap(1);
    /* Neither what has a handler nor what is ignored or blocked ends it. */
    CHECK(kill(child, SIGUSR1) == 0 && kill(child, SIGUSR2) == 0 && kill(child, SIGALRM) == 0);
    nap(200);
    CHECK(control(LEFT) == before && waitpid(child, &status, WNOHANG) == 0);
    CHECK(kill(child, signal) == 0);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == signal);
    while (control(LEFT) <= before) nap(1);
}

static void wait_for_good(void) {
    sigset_t blocked;
    signal(SIGUSR1, nothing_more);
    signal(SIGUSR2, SIG_IGN);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGALRM);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    access("/virt/wait", F_OK);
    _exit(9);
}

static void no_verdicts(void) {
    static const int ends[] = {SIGINT, SIGKILL, SIGTERM, SIGHUP};
    enum { ENDS = sizeof ends / sizeof *ends };
    /* These have a listener each, of which most are served together. */
    pid_t early[EARLY];
    int begin[EARLY][2];
    char byte;
    for (int i = 0; i < EARLY; i++) {
        CHECK(pipe(begin[i]) == 0);
        if (!(early[i] = fork())) {
            CHECK(read(begin[i][0], &byte, 1) == 1);
            wait_for_good();
        }
    }
    CHECK(control(MOUNT) == 0);
    long number = 0;
    for (int i = 0; i < EARLY; i += 10) {
        CHECK(write(begin[i][1], "b", 1) == 1);
        ends_by(early[i], ends[number % ENDS], number);
        number++;
    }
    for (int i = 0; i < EARLY; i++)
        if (i % 10) CHECK(kill(early[i], SIGKILL) == 0 && waitpid(early[i], NULL, 0) == early[i]);
    for (int i = 0; i < ENDS; i++) {
        pid_t child = fork();
        if (!child) wait_for_good();
        ends_by(child, ends[i], number++);
    }
    CHECK(in_force());
}

/* ---- decisions about stopped callers that take long: others go on, and whoever is to end does not wait */
static void *long_call(void *unused) { (void)unused; control(WAIT); return NULL; }

static void long_decisions(void) {
    for (int i = 0; i < 5; i++) {
        pid_t child = fork();
        if (!child) { CHECK(control(MEET) == 0); _exit(0); }
        /* The tracer is needed for this, while the child's call is being decided. */
        for (int j = 0; j < 3; j++) {
            pid_t other = fork();
            if (!other) { execl(self, self, "nothing", "/", NULL); _exit(9); }
            reap(other);
        }
        CHECK(control(MEET) == 0);
        reap(child);
    }
    /* By SIGKILL, by a signal that ends by default, by the exec of another thread, and by the end of the process in another thread. */
    for (int how = 0; how < 5; how++) {
        pid_t child = fork();
        if (!child) {
            if (how < 3) { control(WAIT); _exit(9); }
            pthread_t thread;
            CHECK(pthread_create(&thread, NULL, long_call, NULL) == 0);
            while (control(AWAITED) <= how) nap(1);
            if (how == 3) { execl(self, self, "nothing", "/", NULL); _exit(9); }
            _exit(0);
        }
        while (control(AWAITED) <= how) nap(1);
        static const int ends[] = {SIGKILL, SIGINT, SIGTERM};
        int status;
        if (how < 3) CHECK(kill(child, ends[how]) == 0);
        CHECK(waitpid(child, &status, 0) == child);
        if (how < 3) CHECK(WIFSIGNALED(status) && WTERMSIG(status) == ends[how]);
        else CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        while (control(LEFT) <= how) nap(1);
    }
    /* What does not end it does not interrupt it: not a handler, nor a stop. */
    pid_t child = fork();
    if (!child) {
        signal(SIGUSR1, nothing_more);
        CHECK(control(MEET) == 0);
        _exit(0);
    }
    nap(20);
    CHECK(kill(child, SIGUSR1) == 0 && kill(child, SIGSTOP) == 0);
    nap(250);
    CHECK(kill(child, SIGCONT) == 0);
    CHECK(control(MEET) == 0);
    reap(child);
    /* More of them than there are threads at first. */
    enum { MANY = 40 };
    pid_t many[MANY];
    for (int i = 0; i < MANY; i++)
        if (!(many[i] = fork())) { control(WAIT); _exit(9); }
    CHECK(control(MOUNT) == 0 && in_force());
    for (int i = 0; i < MANY; i++) {
        int status;
        CHECK(kill(many[i], SIGKILL) == 0 && waitpid(many[i], &status, 0) == many[i]);
    }
}

/* ---- sleeping calls, while another process makes the first mount */
static volatile sig_atomic_t alarms;
static void on_alarm(int signal) { (void)signal; alarms++; }

enum { SLEEP = 3 };
static void sleeper(int kind) {
    const double begin = now();
    /* Long enough to tell a call that begins anew from one that ends late on a busy machine. */
    struct timespec second = {SLEEP, 0};
    int fds[2];
    sigset_t usr1, none;
    sigemptyset(&none);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    const int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fds[0], &event) == 0);
    switch (kind) {
    case 0: CHECK(epoll_wait(epoll, &event, 1, SLEEP * 1000) == 0); break;
    case 1: CHECK(syscall(SYS_epoll_pwait2, epoll, &event, 1, &second, &none, 8) == 0); break;
    case 2: CHECK(sigtimedwait(&usr1, NULL, &second) == -1 && errno == EAGAIN); break;
    case 3: {
        const int sem = semget(IPC_PRIVATE, 1, 0600);
        struct sembuf down = {0, -1, 0};
        CHECK(sem >= 0 && semtimedop(sem, &down, 1, &second) == -1 && errno == EAGAIN);
        semctl(sem, 0, IPC_RMID);
        break;
    }
    case 4: CHECK(nanosleep(&second, NULL) == 0); break;
    case 5: { struct pollfd p = {fds[0], POLLIN, 0}; CHECK(poll(&p, 1, SLEEP * 1000) == 0); break; }
    case 6: { struct pollfd p = {fds[0], POLLIN, 0}; CHECK(ppoll(&p, 1, &second, &none) == 0); break; }
    case 7: { struct timeval t = {SLEEP, 0}; CHECK(select(0, NULL, NULL, NULL, &t) == 0); break; }
    case 8: { int word = 0; CHECK(syscall(SYS_futex, &word, FUTEX_WAIT, 0, &second, NULL, 0) == -1 && errno == ETIMEDOUT); break; }
    case 9: case 10: case 11: {
        /* These end with a signal, and with nothing else. */
        struct sigaction action = {.sa_handler = on_alarm};
        sigaction(SIGALRM, &action, NULL);
        sigset_t alrm, old;
        sigemptyset(&alrm);
        sigaddset(&alrm, SIGALRM);
        sigprocmask(SIG_BLOCK, &alrm, &old);
        struct itimerval timer = {{0, 0}, {SLEEP, 0}};
        setitimer(ITIMER_REAL, &timer, NULL);
        if (kind == 9) { sigprocmask(SIG_UNBLOCK, &alrm, NULL); CHECK(pause() == -1 && errno == EINTR); }
        if (kind == 10) CHECK(sigsuspend(&old) == -1 && errno == EINTR);
        if (kind == 11) CHECK(epoll_pwait(epoll, &event, 1, -1, &old) == -1 && errno == EINTR);
        CHECK(alarms == 1);
        break;
    }
    case 12: { char c; struct timeval t = {SLEEP, 0}; setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
               CHECK(recv(fds[0], &c, 1, 0) == -1 && errno == EAGAIN); break; }
    case 13: { char c; int p[2]; CHECK(pipe(p) == 0); if (!fork()) { nap(SLEEP * 1000); _exit(write(p[1], "x", 1) != 1); } CHECK(read(p[0], &c, 1) == 1); wait(NULL); break; }
    case 14: { pid_t c = fork(); if (!c) { nap(SLEEP * 1000); _exit(0); } reap(c); break; }
    }
    const double slept = now() - begin;
    if (slept < SLEEP - 0.01 || slept > (kind == 12 ? 2.4 : 1.4) * SLEEP) { fprintf(stderr, "sleeper %d: slept %f s\n", kind, slept); _exit(1); }
    if (!in_force()) { fprintf(stderr, "sleeper %d: no filter\n", kind); _exit(1); }
    _exit(0);
}

static void sleepers(void) {
    enum { KINDS = 15 };
    pid_t children[KINDS];
    for (int kind = 0; kind < KINDS; kind++)
        if (!(children[kind] = fork())) sleeper(kind);
    nap(SLEEP * 500);
    CHECK(control(MOUNT) == 0);
    int bad = 0, status;
    for (int kind = 0; kind < KINDS; kind++) {
        CHECK(waitpid(children[kind], &status, 0) == children[kind]);
        bad |= status;
    }
    CHECK(bad == 0);
}

/* A signal that is ignored interrupts nothing. */
static void ignored(void) {
    const int epoll = epoll_create1(0);
    struct epoll_event event;
    const pid_t parent = getpid();
    pid_t child = fork();
    if (!child) {
        for (int i = 0; i < 20; i++) { nap(20); kill(parent, i % 2 ? SIGWINCH : SIGURG); }
        _exit(0);
    }
    CHECK(epoll_wait(epoll, &event, 1, 600) == 0);
    reap(child);
    signal(SIGUSR1, SIG_IGN);
    if (!(child = fork())) { for (int i = 0; i < 20; i++) { nap(10); kill(parent, SIGUSR1); } _exit(0); }
    CHECK(epoll_wait(epoll, &event, 1, 400) == 0);
    reap(child);
    /* Signals that never end must not keep a timeout from being over. */
    if (!(child = fork())) { for (;;) { nap(5); kill(parent, SIGUSR1); } }
    CHECK(epoll_wait(epoll, &event, 1, 100) == 0);
    sigset_t none;
    sigemptyset(&none);
    struct timespec soon = {0, 100000000};
    CHECK(sigtimedwait(&none, NULL, &soon) == -1 && errno == EAGAIN);
    kill(child, SIGKILL);
    CHECK(waitpid(child, NULL, 0) == child);
}

/* ---- signals */
static void signals_with(int flags) {
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = flags};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval timer = {{0, 150}, {0, 150}};
    setitimer(ITIMER_REAL, &timer, NULL);
    const double end = now() + 1;
    long rounds = 0;
    alarms = 0;
    for (; now() < end || alarms <= 100 || rounds <= 50; rounds++) {
        char path[256], real[256];
        host(path, "signals");
        snprintf(real, sizeof real, "%s/signals", dir);
        CHECK(mkdir(path, 0755) == 0);
        CHECK(rmdir(real) == 0);
        CHECK(in_force());
        int fd = open("/virt/fd", O_RDONLY);
        CHECK(fd >= 0 && close(fd) == 0);
    }
    memset(&timer, 0, sizeof timer);
    setitimer(ITIMER_REAL, &timer, NULL);
}
static void signals(void) {
    CHECK(control(MOUNT) == 0);
    signals_with(0);
    signals_with(SA_RESTART);
    stack_t stack = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16};
    CHECK(sigaltstack(&stack, NULL) == 0);
    signals_with(SA_ONSTACK);
}
static void on_trap(int signal) { CHECK(signal == SIGTRAP); alarms++; }
static void trap(void) {
    CHECK(control(MOUNT) == 0);
    signal(SIGTRAP, on_trap);
    __asm__ volatile("int3");
    raise(SIGTRAP);
    make_and_remove("trap");
    CHECK(alarms == 2);
    signal(SIGTRAP, SIG_DFL);
    pid_t child = fork();
    if (!child) { __asm__ volatile("int3"); _exit(0); }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGTRAP);
}

/* ---- stops */
static void stops(void) {
    CHECK(control(MOUNT) == 0);
    int fds[2];
    CHECK(pipe(fds) == 0);
    pid_t child = fork();
    if (!child) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
            make_and_remove("stops");
            CHECK(in_force());
            int status;
            pid_t grandchild = vfork();
            if (!grandchild) { execl("/virt/host/bin/true", "true", NULL); _exit(9); }
            CHECK(waitpid(grandchild, &status, 0) == grandchild && status == 0);
            CHECK(write(fds[1], "x", 1) == 1);
        }
    }
    int status;
    const double end = now() + 30;
    for (int i = 0; i < 300 && (i < 60 || now() < end); i++) {
        usleep(rand() % 4000);
        CHECK(kill(child, i % 3 ? SIGSTOP : SIGTSTP) == 0);
        CHECK(waitpid(child, &status, WUNTRACED) == child);
        CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == (i % 3 ? SIGSTOP : SIGTSTP));
        if (i % 50 == 0) {
            /* Stopped is stopped. */
            char drain[65536];
            fcntl(fds[0], F_SETFL, O_NONBLOCK);
            (void)!read(fds[0], drain, sizeof drain);
            nap(20);
            (void)!read(fds[0], drain, sizeof drain);
            nap(50);
            CHECK(read(fds[0], drain, sizeof drain) == -1 && errno == EAGAIN);
        }
        CHECK(kill(child, SIGCONT) == 0);
        CHECK(waitpid(child, &status, WCONTINUED) == child && WIFCONTINUED(status));
    }
    char drain[65536];
    (void)!read(fds[0], drain, sizeof drain);
    fcntl(fds[0], F_SETFL, 0);
    CHECK(read(fds[0], drain, 1) == 1);
    kill(child, SIGKILL);
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
}
/* Stopped processes get the filter, and stay stopped. */
static void stopped_spread(void) {
    int fds[2], status;
    CHECK(pipe(fds) == 0);
    pid_t child = fork();
    if (!child) {
        raise(SIGSTOP);
        CHECK(write(fds[1], "x", 1) == 1);
        CHECK(in_force());
        _exit(0);
    }
    CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
    CHECK(control(MOUNT) == 0);
    nap(100);
    struct pollfd p = {fds[0], POLLIN, 0};
    CHECK(poll(&p, 1, 0) == 0);
    CHECK(waitpid(child, &status, WUNTRACED | WNOHANG) == 0);
    CHECK(kill(child, SIGCONT) == 0);
    reap(child);
}

/* ---- kills */
static void kills(void) {
    CHECK(control(MOUNT) == 0);
    signal(SIGCHLD, SIG_DFL);
    const double end = now() + 3;
    enum { N = 6 };
    pid_t children[N] = {0};
    while (now() < end) {
        for (int i = 0; i < N; i++)
            if (!children[i] && !(children[i] = fork())) {
                setpgid(0, 0);
                char name[32];
                snprintf(name, sizeof name, "kills%d", getpid());
                for (;;) {
                    char path[256], real[256];
                    mkdir(host(path, name), 0755);
                    snprintf(real, sizeof real, "%s/%s", dir, name);
                    rmdir(real);
                    pid_t c = i % 2 ? fork() : vfork();
                    if (!c) { if (i % 3 == 0) execl("/virt/host/bin/true", "true", NULL); _exit(0); }
                    if (i % 2) { pid_t d = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0); if (!d) _exit(0); }
                    waitpid(c, NULL, 0);
                    while (waitpid(-1, NULL, WNOHANG) > 0) {}
                }
            }
        usleep(rand() % 3000);
        const int i = rand() % N;
        kill(children[i], SIGKILL);
        int status;
        pid_t gone;
        while ((gone = waitpid(children[i], &status, 0)) == -1 && errno == EINTR) {}
        children[i] = 0;
        /* Those that CLONE_PARENT made ours. */
        while ((gone = waitpid(-1, &status, WNOHANG)) > 0)
            for (int j = 0; j < N; j++) if (children[j] == gone) children[j] = 0;
    }
    for (int i = 0; i < N; i++) if (children[i]) kill(children[i], SIGKILL);
    while (wait(NULL) > 0) {}
    make_and_remove("kills");
}
/* Children whose parent is killed while it makes them run on, with all filters. */
static void orphans(void) {
    CHECK(control(MOUNT) == 0);
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    long ended = 0;
    for (int round = 0; round < 60; round++) {
        pid_t child = fork();
        if (!child) for (;;) if (!fork()) { CHECK(in_force()); _exit(0); }
        usleep(rand() % 3000);
        kill(child, SIGKILL);
        /* All its children are ours then. */
        int status;
        pid_t gone;
        while ((gone = wait(&status)) > 0) { CHECK(gone == child || status == 0); ended++; }
    }
    CHECK(ended > 60);
}

/* ---- threads */
static void *busy(void *name) {
    for (;;) { make_and_remove(name); CHECK(in_force()); }
    return NULL;
}
static void *leave(void *unused) { (void)unused; usleep(rand() % 5000); execl(self, "tracee", "nothing", dir, NULL); _exit(9); }
static void thread_exec(void) {
    CHECK(control(MOUNT) == 0);
    for (int round = 0; round < 60; round++) {
        pid_t child = fork();
        if (!child) {
            srand(round);
            char names[3][16];
            pthread_t thread;
            for (int i = 0; i < 3; i++) {
                snprintf(names[i], sizeof names[i], "exec%d", i);
                if (i < 2) pthread_create(&thread, NULL, busy, names[i]);
            }
            pthread_create(&thread, NULL, leave, NULL);
            busy(names[2]);
        }
        reap(child);
        for (int i = 0; i < 3; i++) { char real[256]; snprintf(real, sizeof real, "%s/exec%d", dir, i); rmdir(real); }
    }
}
static volatile int spread_done;
static void *watch_filter(void *unused) {
    (void)unused;
    while (!spread_done) {}
    CHECK(in_force());
    return NULL;
}
/* The threads of one process get the filter together. */
static void thread_spread(void) {
    int go[2];
    char c = 0;
    CHECK(pipe(go) == 0);
    pid_t child = fork();
    if (!child) {
        enum { N = 10 };
        pthread_t threads[N];
        for (int i = 0; i < N; i++) CHECK(pthread_create(&threads[i], NULL, watch_filter, NULL) == 0);
        CHECK(read(go[0], &c, 1) == 1);
        spread_done = 1;
        for (int i = 0; i < N; i++) pthread_join(threads[i], NULL);
        _exit(0);
    }
    nap(200);
    CHECK(control(MOUNT) == 0);
    CHECK(write(go[1], "m", 1) == 1);
    reap(child);
}
static void vfork_spread(void) {
    pid_t child = fork();
    if (!child) {
        pid_t grandchild = vfork();
        if (!grandchild) { nap(600); if (!in_force()) _exit(3); execl(self, "tracee", "nothing", dir, NULL); _exit(9); }
        CHECK(in_force());
        reap(grandchild);
        _exit(0);
    }
    nap(200);
    CHECK(control(MOUNT) == 0);
    reap(child);
}

/* ---- memory */
static void tiny_stack(void) {
    CHECK(control(MOUNT) == 0);
    static char path[256], real[256];
    host(path, "tiny");
    snprintf(real, sizeof real, "%s/tiny", dir);
    char *page = mmap(NULL, 3 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mprotect(page + 4096, 4096, PROT_READ | PROT_WRITE) == 0);
    long result;
    /* The stack pointer is at the very bottom of its page, and below is nothing. */
    __asm__ volatile("mov %%rsp, %%r12\n mov %[stack], %%rsp\n syscall\n mov %%r12, %%rsp"
                     : "=a"(result) : "0"((long)SYS_mkdir), "D"(path), "S"(0755L), [stack] "r"(page + 4096)
                     : "rcx", "r11", "r12", "memory");
    CHECK(result == 0 && rmdir(real) == 0);
    /* The same with a stack pointer that points nowhere. */
    __asm__ volatile("mov %%rsp, %%r12\n xor %%esp, %%esp\n syscall\n mov %%r12, %%rsp"
                     : "=a"(result) : "0"((long)SYS_mkdir), "D"(path), "S"(0755L) : "rcx", "r11", "r12", "memory");
    CHECK(result == 0 && rmdir(real) == 0);
    /* No more address space: what can be used already is. */
    struct rlimit limit = {1, 1};
    pid_t child = fork();
    if (!child) { CHECK(setrlimit(RLIMIT_AS, &limit) == 0); make_and_remove("tiny"); _exit(0); }
    reap(child);
}
static int mappings(void) {
    FILE *maps = fopen("/proc/self/maps", "r");
    int lines = 0, c;
    while ((c = getc(maps)) != EOF) lines += c == '\n';
    fclose(maps);
    return lines;
}
/* Whoever runs a thousand programs from a mount has no thousand mappings. */
static void no_leak(void) {
    CHECK(control(MOUNT) == 0);
    make_and_remove("leak");
    const int before = mappings();
    for (int i = 0; i < 300; i++) {
        pid_t child = vfork();
        if (!child) { execl("/virt/host/bin/true", "true", NULL); _exit(9); }
        reap(child);
    }
    CHECK(mappings() <= before + 3);
    const long living = control(LIVING);
    for (int i = 0; i < 300; i++) { pid_t child = fork(); if (!child) _exit(0); reap(child); }
    nap(20);
    CHECK(control(LIVING) == living);
    /* A program that unmapped the scratch memory, and has its own there, keeps that. */
    unsigned char *where = NULL;
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    static char regions[4096][32];
    (void)regions;
    while (fgets(line, sizeof line, maps)) {
        unsigned long start, end;
        char mode[8];
        if (sscanf(line, "%lx-%lx %7s", &start, &end, mode) == 3 && end - start == 16384 && !strcmp(mode, "rw-p")) where = (void *)start;
    }
    fclose(maps);
    if (where) {
        CHECK(mmap(where, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == where);
        memset(where, 0x5a, 16384);
        make_and_remove("leak");
        for (int i = 0; i < 16384; i++) CHECK(where[i] == 0x5a);
    }
}

/* ---- limits */
static void descriptors(void) {
    pid_t children[4];
    for (int kind = 0; kind < 4; kind++)
        if (!(children[kind] = fork())) {
            struct rlimit limit;
            CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
            if (kind == 0) limit.rlim_cur = 32;
            if (kind == 1) limit.rlim_cur = limit.rlim_max = 32;
            if (kind == 2) limit.rlim_cur = 0;
            if (kind == 3) limit.rlim_cur = limit.rlim_max = 0;
            CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
            while (dup(0) >= 0) {}
            nap(500);
            CHECK(in_force());
            char name[32];
            snprintf(name, sizeof name, "descriptors%d", kind);
            make_and_remove(name);
            struct rlimit after;
            CHECK(getrlimit(RLIMIT_NOFILE, &after) == 0 && after.rlim_cur == limit.rlim_cur && after.rlim_max == limit.rlim_max);
            if (kind < 2) { close(5); int fd = dup(0); CHECK(fd == 5); }
            CHECK(dup(0) == -1);
            _exit(0);
        }
    nap(200);
    CHECK(control(MOUNT) == 0);
    for (int kind = 0; kind < 4; kind++) reap(children[kind]);
}
static void no_memory(void) {
    pid_t child = fork();
    if (!child) {
        struct rlimit limit = {1, 1};
        CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
        nap(300);
        CHECK(in_force());
        _exit(0);
    }
    nap(100);
    CHECK(control(MOUNT) == 0);
    reap(child);
}
static void many(void) {
    enum { N = 3000 };
    int hold[2], done[2];
    CHECK(pipe(hold) == 0 && pipe(done) == 0);
    for (int i = 0; i < N; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (!child) {
            char c;
            close(hold[1]);
            CHECK(read(hold[0], &c, 1) == 0);
            CHECK(in_force());
            CHECK(write(done[1], "x", 1) == 1);
            _exit(0);
        }
    }
    const double begin = now();
    CHECK(control(MOUNT) == 0);
    close(hold[1]);
    for (int i = 0; i < N; i++) { int status; CHECK(wait(&status) > 0 && status == 0); }
    fprintf(stderr, "(%d processes have the filter after %.2f s)", N, now() - begin);
    make_and_remove("many");
}

/* ---- filters of the program's own */
static int own_filter(unsigned number, unsigned verdict) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, verdict),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, code};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}
static void *diverge(void *unused) {
    (void)unused;
    CHECK(own_filter(SYS_getpgid, SECCOMP_RET_ERRNO | 77) == 0);
    nap(500);
    CHECK(in_force());
    CHECK(getpgid(0) == -1 && errno == 77);
    make_and_remove("diverge1");
    return NULL;
}
static void on_sys(int signal) { (void)signal; alarms++; }
static void own_filters(void) {
    pid_t children[3];
    for (int kind = 0; kind < 3; kind++)
        if (!(children[kind] = fork())) {
            pthread_t thread;
            switch (kind) {
            case 0:
                pthread_create(&thread, NULL, diverge, NULL);
                nap(500);
                CHECK(in_force());
                make_and_remove("diverge0");
                pthread_join(thread, NULL);
                break;
            case 1:
                CHECK(own_filter(SYS_seccomp, SECCOMP_RET_ERRNO | EPERM) == 0);
                nap(500);
                break;
            case 2:
                signal(SIGSYS, on_sys);
                CHECK(own_filter(SYS_seccomp, SECCOMP_RET_TRAP) == 0);
                nap(500);
                CHECK(alarms == 0);
                syscall(SYS_seccomp, 99, 0, NULL);
                CHECK(alarms == 1);
                break;
            }
            _exit(0);
        }
    nap(200);
    CHECK(control(MOUNT) == 0);
    for (int kind = 0; kind < 3; kind++) reap(children[kind]);
}

/* ---- other entries */
static long int80(long nr, long a, long b) {
    long result;
    register long r15 __asm__("r15") = 0x1234567812345678;
    long rbx = a, rcx = b, rdx = 0x7777888899990000;
    __asm__ volatile("int $0x80" : "=a"(result), "+b"(rbx), "+c"(rcx), "+d"(rdx), "+r"(r15) : "0"(nr) : "memory", "r8", "r9", "r10", "r11");
    CHECK(rbx == a && rcx == b && rdx == 0x7777888899990000 && r15 == 0x1234567812345678);
    return (int)result;
}
static void compat(void) {
    char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    CHECK(low != MAP_FAILED);
    pid_t child = fork();
    if (!child) {
        /* A program of 32 bits, born before the filter. */
        char program[256];
        snprintf(program, sizeof program, "%s32", self);
        execl(program, "tracee32", dir, NULL);
        _exit(errno == ENOENT ? 0 : 9);
    }
    nap(200);
    CHECK(control(MOUNT) == 0);
    strcpy(low, "/virt/answer");
    CHECK(int80(33, (long)low, F_OK) == -EXDEV);
    char real[256];
    snprintf(real, sizeof real, "%s/compat", dir);
    host(low, "compat");
    for (int i = 0; i < 100; i++) { CHECK(int80(39, (long)low, 0755) == 0); CHECK(rmdir(real) == 0); }
    reap(child);
}

/* ---- births */
static int tracer(void) {
    char text[4096], *line;
    int fd = open("/proc/thread-self/status", O_RDONLY);
    CHECK(fd >= 0);
    text[read(fd, text, sizeof text - 1)] = 0;
    close(fd);
    CHECK((line = strstr(text, "TracerPid:")));
    return atoi(line + 10);
}
static void births(void) {
    const long hypervisor = control(HYPERVISOR);
    CHECK(tracer() == hypervisor);
    long flags[] = {SIGCHLD, CLONE_UNTRACED | SIGCHLD, CLONE_PARENT | SIGCHLD, CLONE_UNTRACED | CLONE_PARENT | SIGCHLD, CLONE_VFORK | CLONE_VM | CLONE_UNTRACED | SIGCHLD};
    CHECK(control(MOUNT) == 0);
    for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
        int fds[2];
        char c = 0;
        CHECK(pipe(fds) == 0);
        pid_t child = syscall(SYS_clone, flags[i], 0, 0, 0, 0);
        if (!child) { c = tracer() == hypervisor && in_force() ? 'y' : 'n'; (void)!write(fds[1], &c, 1); _exit(0); }
        CHECK(child > 0);
        CHECK(read(fds[0], &c, 1) == 1 && c == 'y');
        if (!(flags[i] & CLONE_PARENT)) reap(child);
    }
}
/* The same by clone3, which also makes threads and posix_spawn's children. */
static void births3(void) {
    const long hypervisor = control(HYPERVISOR);
    CHECK(control(MOUNT) == 0);
    for (int i = 0; i < 40; i++) {
        struct { uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls; } args = {.exit_signal = SIGCHLD};
        args.flags = i % 2 ? CLONE_UNTRACED : 0;
        pid_t child = syscall(SYS_clone3, &args, sizeof args);
        if (!child) _exit(!(tracer() == hypervisor && in_force() && args.flags == (i % 2 ? CLONE_UNTRACED : 0)));
        CHECK(child > 0 && args.flags == (i % 2 ? CLONE_UNTRACED : 0));
        reap(child);
    }
    CHECK(syscall(SYS_clone3, 1, 64) == -1 && errno == EFAULT);
}
/* A program that may not be read. */
static void unreadable(void) {
    char program[256];
    snprintf(program, sizeof program, "%s0111", self);
    pid_t early = fork();
    if (!early) { execl(program, "tracee", "later", dir, NULL); _exit(9); }
    nap(200);
    CHECK(control(MOUNT) == 0);
    reap(early);
    pid_t child = fork();
    if (!child) { execl(program, "tracee", "checked", dir, NULL); _exit(9); }
    reap(child);
    /* And one that asks for it. */
    CHECK(prctl(PR_SET_DUMPABLE, 0) == 0);
    CHECK(in_force());
    make_and_remove("unreadable");
}

/* Children that are killed before their parent tells of them, by somebody who guesses their numbers. */
static void stillborn(void) {
    enum { MAKERS = 3 };
    pid_t makers[MAKERS];
    /* A group of our own: that of whoever started the tests holds more than them. */
    CHECK(setpgid(0, 0) == 0);
    for (int m = 0; m < MAKERS; m++)
        if (!(makers[m] = fork())) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (;;) {
                const pid_t child = fork();
                if (!child) _exit(0);
                waitpid(child, NULL, 0);
            }
        }
    long killed = 0;
    const double end = now() + 3;
    while (now() < end) {
        const pid_t last = fork();
        if (!last) _exit(0);
        reap(last);
        for (int n = 0; n < 300; n++) {
            const pid_t guess = last + 1 + n % 6;
            int maker = 0;
            for (int m = 0; m < MAKERS; m++) maker |= guess == makers[m];
            /* Nobody's process but ours: the group is our own. */
            if (!maker && getpgid(guess) == getpgrp() && guess != getppid() && kill(guess, SIGKILL) == 0) killed++;
        }
    }
    CHECK(killed > 20);
    for (int m = 0; m < MAKERS; m++) { kill(makers[m], SIGKILL); CHECK(waitpid(makers[m], NULL, 0) == makers[m]); }
    /* None is remembered as living. */
    for (int n = 0; n < 200 && control(LIVING) != 1; n++) nap(50);
    CHECK(control(LIVING) == 1);
}

int main(int count, char **words) {
    if (count < 3) return 2;
    scenario = words[1], dir = words[2], self = "/proc/self/exe";
    char own[240];
    const ssize_t length = readlink(self, own, sizeof own - 1);
    if (length > 0) { own[length] = 0; self = own; }
    srand(getpid());
    alarm(250);
    static const struct { const char *name; void (*run)(void); } all[] = {
        {"basic", basic}, {"long_verdicts", long_verdicts}, {"no_verdicts", no_verdicts}, {"descriptor_storm", descriptor_storm}, {"long_decisions", long_decisions}, {"sleepers", sleepers}, {"ignored", ignored}, {"signals", signals}, {"trap", trap}, {"stops", stops},
        {"stopped_spread", stopped_spread}, {"kills", kills}, {"orphans", orphans}, {"thread_exec", thread_exec},
        {"thread_spread", thread_spread}, {"vfork_spread", vfork_spread}, {"tiny_stack", tiny_stack}, {"no_leak", no_leak},
        {"descriptors", descriptors}, {"no_memory", no_memory}, {"many", many}, {"own_filters", own_filters}, {"compat", compat},
        {"births", births}, {"births3", births3}, {"unreadable", unreadable}, {"stillborn", stillborn},
    };
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(scenario, all[i].name)) {
            /* A script's background jobs ignore them. */
            signal(SIGINT, SIG_DFL);
            signal(SIGQUIT, SIG_DFL);
            all[i].run();
            return 0;
        }
    if (!strcmp(scenario, "nothing")) return 0;
    if (!strcmp(scenario, "later")) nap(600);
    if (!strcmp(scenario, "later") || !strcmp(scenario, "checked")) { CHECK(in_force()); make_and_remove("checked"); return 0; }
    if (!strcmp(scenario, "sleep")) { nap(60000); return 0; }
    return 2;
}
