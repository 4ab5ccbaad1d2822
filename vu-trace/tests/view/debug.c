/* A debugger and its debuggees: `debug SCENARIO`. It must end well natively, and in a view. With a second word, the path filter is
   in force from the start. */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/ptrace.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Not <sys/ptrace.h>, which does not go together with <linux/ptrace.h>; and the C library's function changes PEEK requests. */
static long ask(long request, pid_t pid, unsigned long addr, void *data) { return syscall(SYS_ptrace, request, (long)pid, addr, data); }
static void *number(unsigned long n) { return (void *)n; }

static const char *scenario;

#define CHECK(condition) \
    do { if (!(condition)) { fprintf(stderr, "%s:%d: %s: errno %d (%s)\n", scenario, __LINE__, #condition, errno, strerror(errno)); _exit(1); } } while (0)
#define FAILS(call, error) \
    do { errno = 0; long result_ = (call); int errno_ = errno; \
         if (result_ != -1 || errno_ != (error)) { fprintf(stderr, "%s:%d: %s: %ld, errno %d (%s)\n", scenario, __LINE__, #call, result_, errno_, strerror(errno_)); _exit(1); } } while (0)

static void nap(int ms) {
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    while (nanosleep(&t, &t) && errno == EINTR) {}
}
/* The next status of one tracee. */
static int next(pid_t tid) {
    int status = 0;
    CHECK(waitpid(tid, &status, __WALL) == tid);
    return status;
}
#define STOP(signal) ((signal) << 8 | 0x7f)
#define EVENT(event) (SIGTRAP << 8 | 0x7f | (event) << 16)
#define CALL STOP(SIGTRAP | 0x80)
static void expect(pid_t tid, int expected, int line) {
    int status = next(tid);
    if (status != expected) { fprintf(stderr, "%s:%d: status %#x, not %#x\n", scenario, line, status, expected); _exit(1); }
}
#define EXPECT(tid, expected) expect(tid, expected, __LINE__)
static void resume(long request, pid_t tid, int signal) { CHECK(ask(request, tid, 0, number(signal)) == 0); }
static char state(pid_t tid) {
    char path[64], text[512] = {0};
    snprintf(path, sizeof path, "/proc/%d/stat", tid);
    int fd = open(path, O_RDONLY);
    if (fd < 0) return '-';
    CHECK(read(fd, text, sizeof text - 1) > 0);
    close(fd);
    return strrchr(text, ')')[2];
}
static void until_state(pid_t tid, const char *states) {
    for (int i = 0; i < 3000 && !strchr(states, state(tid)); i++) nap(1);
    CHECK(strchr(states, state(tid)));
}
static siginfo_t info(pid_t tid) {
    siginfo_t info;
    CHECK(ask(PTRACE_GETSIGINFO, tid, 0, &info) == 0);
    return info;
}
static struct user_regs_struct regs(pid_t tid) {
    struct user_regs_struct regs;
    CHECK(ask(PTRACE_GETREGS, tid, 0, &regs) == 0);
    return regs;
}
static unsigned long message(pid_t tid) {
    unsigned long message = -1;
    CHECK(ask(PTRACE_GETEVENTMSG, tid, 0, &message) == 0);
    return message;
}
static void options(pid_t tid, long options) { CHECK(ask(PTRACE_SETOPTIONS, tid, 0, number(options)) == 0); }

/* A child does not outlive a scenario that fails. */
static pid_t child_of(void) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
    return child;
}
/* A child that asks to be traced, and stands in its SIGSTOP. */
static pid_t traced(void (*run)(void)) {
    pid_t child = child_of();
    if (child == 0) {
        CHECK(ask(PTRACE_TRACEME, 0, 0, 0) == 0);
        raise(SIGSTOP);
        run();
        _exit(0);
    }
    EXPECT(child, STOP(SIGSTOP));
    return child;
}
/* A child that knows of nothing. */
static pid_t ordinary(void (*run)(void)) {
    pid_t child = child_of();
    if (child == 0) { run(); _exit(0); }
    return child;
}
static void ended(pid_t child, int status) {
    EXPECT(child, status);
    FAILS(waitpid(child, NULL, __WALL), ECHILD);
}
static void nothing(void) {}
static void sleeps(void) { for (;;) pause(); }
static void spins(void) { for (;;) sched_yield(); }
static void finish(pid_t child) {
    CHECK(kill(child, SIGKILL) == 0);
    ended(child, SIGKILL);
}

/* ---- requests */
static volatile long word = 0x1122334455667788;
static void exits_with_word(void) { _exit(word & 0xff); }

static void memory(void) {
    pid_t child = traced(exits_with_word);
    long got = 0;
    CHECK(ask(PTRACE_PEEKDATA, child, (unsigned long)&word, &got) == 0 && got == word);
    CHECK(ask(PTRACE_PEEKTEXT, child, (unsigned long)exits_with_word, &got) == 0 && got == *(long *)exits_with_word);
    FAILS(ask(PTRACE_PEEKDATA, child, 8, &got), EIO);
    FAILS(ask(PTRACE_PEEKDATA, child, (unsigned long)&word, (void *)8), EFAULT);
    FAILS(ask(PTRACE_POKEDATA, child, 8, number(1)), EIO);
    CHECK(ask(PTRACE_POKEDATA, child, (unsigned long)&word, number(7)) == 0);
    /* Read-only memory can be written to: breakpoints. */
    long code = *(long *)nothing;
    CHECK(ask(PTRACE_POKETEXT, child, (unsigned long)nothing, number(code ^ 0xff)) == 0);
    CHECK(ask(PTRACE_PEEKTEXT, child, (unsigned long)nothing, &got) == 0 && got == (code ^ 0xff));
    CHECK(word == 0x1122334455667788);
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", child);
    int fd = open(path, O_RDWR);
    CHECK(fd >= 0 && pread(fd, &got, 8, (off_t)(uintptr_t)&word) == 8 && got == 7);
    resume(PTRACE_CONT, child, 0);
    ended(child, 7 << 8);
}

static void registers(void) {
    pid_t child = traced(sleeps);
    struct user_regs_struct r = regs(child), again;
    long got;
    CHECK(ask(PTRACE_PEEKUSR, child, offsetof(struct user, regs.rip), &got) == 0 && got == (long)r.rip);
    r.r15 ^= 0x5a5a;
    CHECK(ask(PTRACE_SETREGS, child, 0, &r) == 0);
    again = regs(child);
    CHECK(!memcmp(&r, &again, sizeof r));
    CHECK(ask(PTRACE_POKEUSR, child, offsetof(struct user, regs.r14), number(99)) == 0 && regs(child).r14 == 99);
    FAILS(ask(PTRACE_PEEKUSR, child, 3, &got), EIO);
    FAILS(ask(PTRACE_PEEKUSR, child, 1 << 20, &got), EIO);
    struct user_fpregs_struct f;
    CHECK(ask(PTRACE_GETFPREGS, child, 0, &f) == 0 && (f.mxcsr & 0x1f80) == 0x1f80);
    f.xmm_space[0] = 0x12345678;
    CHECK(ask(PTRACE_SETFPREGS, child, 0, &f) == 0);
    char big[32768];
    struct iovec v = {big, sizeof big};
    CHECK(ask(PTRACE_GETREGSET, child, NT_PRSTATUS, &v) == 0 && v.iov_len == sizeof r && ((struct user_regs_struct *)big)->r14 == 99);
    v.iov_len = 64;
    CHECK(ask(PTRACE_GETREGSET, child, NT_PRSTATUS, &v) == 0 && v.iov_len == 64);
    v = (struct iovec){big, sizeof big};
    CHECK(ask(PTRACE_GETREGSET, child, NT_X86_XSTATE, &v) == 0 && v.iov_len >= 576 && v.iov_len < sizeof big);
    CHECK(((struct user_fpregs_struct *)big)->xmm_space[0] == 0x12345678);
    CHECK(ask(PTRACE_SETREGSET, child, NT_X86_XSTATE, &v) == 0);
    FAILS(ask(PTRACE_GETREGSET, child, 0x7777, &v), EINVAL);
    FAILS(ask(PTRACE_GETREGSET, child, NT_PRSTATUS, (void *)8), EFAULT);
    /* Debug registers: a watchpoint that is not hit. */
    CHECK(ask(PTRACE_POKEUSR, child, offsetof(struct user, u_debugreg[0]), (void *)&word) == 0);
    CHECK(ask(PTRACE_POKEUSR, child, offsetof(struct user, u_debugreg[7]), number(0xd0001)) == 0);
    uint64_t mask = 0;
    CHECK(ask(PTRACE_GETSIGMASK, child, 8, &mask) == 0 && mask == 0);
    mask = 1 << (SIGUSR1 - 1);
    CHECK(ask(PTRACE_SETSIGMASK, child, 8, &mask) == 0);
    FAILS(ask(PTRACE_GETSIGMASK, child, 4, &mask), EINVAL);
    CHECK(kill(child, SIGUSR1) == 0 && kill(child, SIGUSR2) == 0);
    siginfo_t pending[4];
    struct ptrace_peeksiginfo_args args = {0, PTRACE_PEEKSIGINFO_SHARED, 4};
    CHECK(ask(PTRACE_PEEKSIGINFO, child, (unsigned long)&args, pending) == 2);
    CHECK(pending[0].si_signo + pending[1].si_signo == SIGUSR1 + SIGUSR2 && pending[0].si_pid == getpid());
    args.nr = -1;
    FAILS(ask(PTRACE_PEEKSIGINFO, child, (unsigned long)&args, pending), EINVAL);
    unsigned long base = 0;
    CHECK(ask(30 /* ARCH_PRCTL */, child, (unsigned long)&base, number(0x1003)) == 0 && base == r.fs_base);
    finish(child);
}

static void errors(void) {
    pid_t child = traced(spins), stranger = ordinary(sleeps);
    FAILS(ask(4711, child, 0, 0), EIO);
    FAILS(ask(PTRACE_CONT, child, 0, number(65)), EIO);
    FAILS(ask(PTRACE_SETOPTIONS, child, 0, number(1 << 30)), EINVAL);
    FAILS(ask(PTRACE_INTERRUPT, child, 0, 0), EIO);
    FAILS(ask(PTRACE_LISTEN, child, 0, 0), EIO);
    FAILS(ask(PTRACE_ATTACH, child, 0, 0), EPERM);
    FAILS(ask(PTRACE_SEIZE, child, 0, 0), EPERM);
    FAILS(ask(PTRACE_SEIZE, stranger, 1, 0), EIO);
    FAILS(ask(PTRACE_SEIZE, stranger, 0, number(1 << 30)), EIO);
    FAILS(ask(PTRACE_ATTACH, getpid(), 0, 0), EPERM);
    FAILS(ask(PTRACE_CONT, stranger, 0, 0), ESRCH);
    FAILS(ask(PTRACE_CONT, 0x7ffffff0, 0, 0), ESRCH);
    FAILS(ask(PTRACE_ATTACH, 0x7ffffff0, 0, 0), ESRCH);
    resume(PTRACE_CONT, child, 0);
    struct user_regs_struct r;
    FAILS(ask(PTRACE_GETREGS, child, 0, &r), ESRCH);
    FAILS(ask(PTRACE_CONT, child, 0, 0), ESRCH);
    FAILS(ask(PTRACE_DETACH, child, 0, 0), ESRCH);
    CHECK(ask(PTRACE_KILL, child, 0, 0) == 0);
    ended(child, SIGKILL);
    finish(stranger);
}

/* ---- system calls */
static volatile long results[4];
static void calls(void) {
    results[0] = syscall(SYS_getppid);
    results[1] = syscall(SYS_getpid);
    results[2] = syscall(SYS_getuid);
    results[3] = syscall(SYS_getpid);
    _exit(results[1] == 77 && results[2] == -ENOSYS ? 5 : results[2] == -1 && errno == ENOSYS && results[1] == 77 ? 5 : 6);
}
static void entry(pid_t child, long nr, int line) {
    expect(child, CALL, line);
    struct ptrace_syscall_info i;
    CHECK(ask(PTRACE_GET_SYSCALL_INFO, child, sizeof i, &i) >= (long)offsetof(struct ptrace_syscall_info, seccomp));
    if (i.op != PTRACE_SYSCALL_INFO_ENTRY || (long)i.entry.nr != nr || (long)regs(child).orig_rax != nr) {
        fprintf(stderr, "%s:%d: op %d, call %ld, not %ld\n", scenario, line, i.op, (long)i.entry.nr, nr);
        _exit(1);
    }
    CHECK((long)regs(child).rax == -ENOSYS && message(child) == PTRACE_EVENTMSG_SYSCALL_ENTRY);
    CHECK(info(child).si_code == (SIGTRAP | 0x80));
}
static long leave(pid_t child, long nr, int line) {
    resume(PTRACE_SYSCALL, child, 0);
    expect(child, CALL, line);
    struct ptrace_syscall_info i;
    CHECK(ask(PTRACE_GET_SYSCALL_INFO, child, sizeof i, &i) > 0 && i.op == PTRACE_SYSCALL_INFO_EXIT);
    CHECK(i.exit.rval == (long)regs(child).rax && message(child) == PTRACE_EVENTMSG_SYSCALL_EXIT);
    if ((long)regs(child).orig_rax != nr) {
        fprintf(stderr, "%s:%d: exit of call %ld, not %ld\n", scenario, line, (long)regs(child).orig_rax, nr);
        _exit(1);
    }
    return i.exit.rval;
}
static void enter(pid_t child, long nr, int line) {
    resume(PTRACE_SYSCALL, child, 0);
    entry(child, nr, line);
}
#define ENTER(child, nr) enter(child, nr, __LINE__)
#define LEAVE(child, nr) leave(child, nr, __LINE__)

static void syscalls(void) {
    pid_t child = traced(calls);
    options(child, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
    ENTER(child, SYS_getppid);
    CHECK(LEAVE(child, SYS_getppid) == getpid());
    ENTER(child, SYS_getpid);
    CHECK(LEAVE(child, SYS_getpid) == child);
    /* The debugger changes a result. */
    struct user_regs_struct r = regs(child);
    r.rax = 77;
    CHECK(ask(PTRACE_SETREGS, child, 0, &r) == 0);
    /* It has a call not made. */
    ENTER(child, SYS_getuid);
    CHECK(ask(PTRACE_POKEUSR, child, offsetof(struct user, regs.orig_rax), number(-1)) == 0);
    CHECK(LEAVE(child, -1) == -ENOSYS);
    /* It makes another one of it. */
    ENTER(child, SYS_getpid);
    CHECK(ask(PTRACE_POKEUSR, child, offsetof(struct user, regs.orig_rax), number(SYS_getppid)) == 0);
    CHECK(LEAVE(child, SYS_getppid) == getpid());
    ENTER(child, SYS_exit_group);
    resume(PTRACE_SYSCALL, child, 0);
    ended(child, 5 << 8);
}

/* Calls that umvu looks at: by a path, by a stop, answered and changed. */
static void path_calls(void) {
    struct stat st;
    stat("/proc/self/exe", &st);
    access("/virt/answer", F_OK);
    mkdir("/virt/host/proc/none", 0700);
    int fd = open("/virt/fd", O_RDONLY);
    close(fd);
    execl("/virt/host/bin/true", "true", NULL);
    execl("/bin/true", "true", NULL);
}
static int mounted;
static void paths(void) {
    pid_t child = traced(path_calls);
    options(child, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
    ENTER(child, SYS_newfstatat);
    CHECK(LEAVE(child, SYS_newfstatat) == 0);
    ENTER(child, SYS_access);
    CHECK(LEAVE(child, SYS_access) == (mounted ? -EXDEV : -ENOENT));
    ENTER(child, SYS_mkdir);
    unsigned long path = regs(child).rdi;
    CHECK(LEAVE(child, SYS_mkdir) == (mounted ? -ENOENT : -ENOENT) && regs(child).rdi == path);
    ENTER(child, SYS_openat);
    long fd = LEAVE(child, SYS_openat);
    CHECK(mounted ? fd >= 0 : fd == -ENOENT);
    ENTER(child, SYS_close);
    CHECK(LEAVE(child, SYS_close) == (mounted ? 0 : -EBADF));
    ENTER(child, SYS_execve);
    options(child, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT);
    if (!mounted) {
        CHECK(LEAVE(child, SYS_execve) == -ENOENT);
        ENTER(child, SYS_execve);
    }
    resume(PTRACE_SYSCALL, child, 0);
    EXPECT(child, EVENT(PTRACE_EVENT_EXEC));
    CHECK(message(child) == (unsigned long)child);
    CHECK(LEAVE(child, SYS_execve) == 0);
    ENTER(child, SYS_brk);
    resume(PTRACE_CONT, child, 0);
    EXPECT(child, EVENT(PTRACE_EVENT_EXIT));
    CHECK(message(child) == 0);
    resume(PTRACE_CONT, child, 0);
    ended(child, 0);
}

/* ---- signals */
static volatile sig_atomic_t handled, handled_code;
static void on_signal(int signal, siginfo_t *info, void *context) { (void)context; handled = signal; handled_code = info->si_code; }
static void handle(int signal, int flags) {
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | flags};
    CHECK(sigaction(signal, &action, NULL) == 0);
}
static void signals_itself(void) {
    handle(SIGUSR1, 0);
    handle(SIGUSR2, 0);
    raise(SIGUSR1);
    CHECK(handled == 0);
    raise(SIGUSR1);
    CHECK(handled == SIGUSR2 && handled_code == SI_USER);
    handled = 0;
    raise(SIGUSR1);
    CHECK(handled == SIGUSR1 && handled_code == 42);
    raise(SIGTERM);
}
static void signals(void) {
    pid_t child = traced(signals_itself);
    resume(PTRACE_CONT, child, 0);
    EXPECT(child, STOP(SIGUSR1));
    CHECK(info(child).si_code == SI_TKILL && info(child).si_pid == child);
    resume(PTRACE_CONT, child, 0);
    EXPECT(child, STOP(SIGUSR1));
    resume(PTRACE_CONT, child, SIGUSR2);
    EXPECT(child, STOP(SIGUSR1));
    siginfo_t changed = info(child);
    changed.si_code = 42;
    CHECK(ask(PTRACE_SETSIGINFO, child, 0, &changed) == 0);
    resume(PTRACE_CONT, child, SIGUSR1);
    EXPECT(child, STOP(SIGTERM));
    resume(PTRACE_CONT, child, SIGTERM);
    ended(child, SIGTERM);
}

static volatile int steps;
static __attribute__((noinline)) void stepped(void) { __asm__ volatile("int3; nop; nop; nop" ::: "memory"); steps++; }
static void traps(void) {
    pid_t child = traced(stepped);
    resume(PTRACE_CONT, child, 0);
    EXPECT(child, STOP(SIGTRAP));
    CHECK(info(child).si_code == SI_KERNEL);
    unsigned long at = regs(child).rip;
    for (int i = 1; i <= 3; i++) {
        resume(PTRACE_SINGLESTEP, child, 0);
        EXPECT(child, STOP(SIGTRAP));
        CHECK(info(child).si_code == TRAP_TRACE && regs(child).rip == at + i && !(regs(child).eflags & 0x100));
    }
    /* Through calls of all kinds, to the end. */
    int status, n = 0;
    do {
        resume(PTRACE_SINGLESTEP, child, 0);
        status = next(child);
        CHECK(++n < 100000);
    } while (status == STOP(SIGTRAP));
    CHECK(status == 0);
}
static void steps_through(void) {
    mkdir("/virt/host/proc/none", 0700);
    CHECK(syscall(SYS_getpid) == getpid());
    struct stat st;
    CHECK(stat("/", &st) == 0);
}
static void steps_of_calls(void) {
    pid_t child = traced(steps_through);
    int n = 0, status, made = 0;
    do {
        unsigned long before = regs(child).rip;
        long code = 0;
        ask(PTRACE_PEEKTEXT, child, before, &code);
        resume(PTRACE_SINGLESTEP, child, 0);
        status = next(child);
        if ((code & 0xffff) == 0x050f && status == STOP(SIGTRAP)) {
            CHECK(regs(child).rip == before + 2);
            made++;
        }
        CHECK(++n < 200000);
    } while (status == STOP(SIGTRAP));
    CHECK(status == 0 && made >= 3);
}

/* ---- events */
static void *thread_ends(void *unused) { (void)unused; return NULL; }
static void makes_children(void) {
    pid_t child = fork();
    if (child == 0) _exit(1);
    CHECK(waitpid(child, NULL, 0) == child);
    child = vfork();
    if (child == 0) _exit(2);
    CHECK(waitpid(child, NULL, 0) == child);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, thread_ends, NULL) == 0 && pthread_join(thread, NULL) == 0);
    execl("/bin/true", "true", NULL);
}
static void new_child(pid_t child, int seized) {
    EXPECT(child, seized ? EVENT(PTRACE_EVENT_STOP) : STOP(SIGSTOP));
    CHECK(seized || (info(child).si_code == SI_USER && info(child).si_pid == 0));
    resume(PTRACE_CONT, child, 0);
}
static void all_events(pid_t child, int seized) {
    EXPECT(child, EVENT(PTRACE_EVENT_FORK));
    pid_t new = message(child);
    new_child(new, seized);
    EXPECT(new, EVENT(PTRACE_EVENT_EXIT));
    CHECK(message(new) == 1 << 8);
    resume(PTRACE_CONT, new, 0);
    resume(PTRACE_CONT, child, 0);
    ended(new, 1 << 8);
    EXPECT(child, STOP(SIGCHLD));
    resume(PTRACE_CONT, child, SIGCHLD);
    EXPECT(child, EVENT(PTRACE_EVENT_VFORK));
    new = message(child);
    resume(PTRACE_CONT, child, 0);
    new_child(new, seized);
    EXPECT(new, EVENT(PTRACE_EVENT_EXIT));
    resume(PTRACE_CONT, new, 0);
    EXPECT(child, EVENT(PTRACE_EVENT_VFORK_DONE));
    CHECK(message(child) == (unsigned long)new);
    resume(PTRACE_CONT, child, 0);
    ended(new, 2 << 8);
    EXPECT(child, STOP(SIGCHLD));
    resume(PTRACE_CONT, child, SIGCHLD);
    EXPECT(child, EVENT(PTRACE_EVENT_CLONE));
    new = message(child);
    new_child(new, seized);
    EXPECT(new, EVENT(PTRACE_EVENT_EXIT));
    resume(PTRACE_CONT, new, 0);
    ended(new, 0);
    resume(PTRACE_CONT, child, 0);
    EXPECT(child, EVENT(PTRACE_EVENT_EXEC));
    resume(PTRACE_CONT, child, 0);
    EXPECT(child, EVENT(PTRACE_EVENT_EXIT));
    resume(PTRACE_CONT, child, 0);
    ended(child, 0);
}
enum { EVENTS = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT | PTRACE_O_TRACEVFORKDONE };
static void events(void) {
    pid_t child = traced(makes_children);
    options(child, EVENTS);
    resume(PTRACE_CONT, child, 0);
    all_events(child, 0);
}
static int gate[2];
static void waits_and_makes_children(void) {
    char byte;
    CHECK(read(gate[0], &byte, 1) == 1);
    makes_children();
}
static void events_seized(void) {
    CHECK(pipe(gate) == 0);
    pid_t child = ordinary(waits_and_makes_children);
    until_state(child, "S");
    CHECK(ask(PTRACE_SEIZE, child, 0, number(EVENTS)) == 0);
    CHECK(write(gate[1], "x", 1) == 1);
    all_events(child, 1);
}

static void executes(void) { execl("/bin/true", "true", NULL); }
static void exec_trap(void) {
    pid_t child = traced(executes);
    resume(PTRACE_CONT, child, 0);
    EXPECT(child, STOP(SIGTRAP));
    CHECK(info(child).si_code == SI_USER && info(child).si_pid == child);
    /* It is in its new program, at the first instruction. */
    struct user_regs_struct r = regs(child);
    CHECK(r.rax == 0);
    CHECK(ask(PTRACE_SETREGS, child, 0, &r) == 0);
    resume(PTRACE_CONT, child, 0);
    ended(child, 0);
}
static void *thread_executes(void *unused) { (void)unused; nap(20); execl("/bin/true", "true", NULL); return NULL; }
static void thread_execs(void) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, thread_executes, NULL) == 0);
    sleeps();
}
static void exec_of_thread(void) {
    pid_t child = traced(thread_execs);
    options(child, PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
    resume(PTRACE_CONT, child, 0);
    EXPECT(child, EVENT(PTRACE_EVENT_CLONE));
    pid_t thread = message(child);
    new_child(thread, 0);
    resume(PTRACE_CONT, child, 0);
    int status;
    pid_t got = waitpid(-1, &status, __WALL);
    CHECK(got == child && status == EVENT(PTRACE_EVENT_EXEC));
    CHECK(message(child) == (unsigned long)thread);
    FAILS(ask(PTRACE_CONT, thread, 0, 0), ESRCH);
    resume(PTRACE_CONT, child, 0);
    ended(child, 0);
}

/* ---- attaching */
static void attach(void) {
    pid_t child = ordinary(sleeps);
    until_state(child, "S");
    CHECK(ask(PTRACE_ATTACH, child, 0, 0) == 0);
    EXPECT(child, STOP(SIGSTOP));
    CHECK(info(child).si_code == SI_KERNEL);
    CHECK(state(child) == 't');
    CHECK(ask(PTRACE_DETACH, child, 0, 0) == 0);
    until_state(child, "S");
    /* Once more, and with a signal. */
    CHECK(ask(PTRACE_ATTACH, child, 0, 0) == 0);
    EXPECT(child, STOP(SIGSTOP));
    CHECK(ask(PTRACE_DETACH, child, 0, number(SIGTERM)) == 0);
    ended(child, SIGTERM);
}
static void attach_running(void) {
    pid_t child = ordinary(spins);
    for (int i = 0; i < 20; i++) {
        CHECK(ask(PTRACE_ATTACH, child, 0, 0) == 0);
        EXPECT(child, STOP(SIGSTOP));
        CHECK(ask(PTRACE_DETACH, child, 0, 0) == 0);
    }
    finish(child);
}
static void attach_to_stopped(void) {
    pid_t child = ordinary(sleeps);
    int status;
    CHECK(kill(child, SIGSTOP) == 0);
    CHECK(waitpid(child, &status, WUNTRACED) == child && status == STOP(SIGSTOP));
    CHECK(ask(PTRACE_ATTACH, child, 0, 0) == 0);
    EXPECT(child, STOP(SIGSTOP));
    resume(PTRACE_CONT, child, 0);
    EXPECT(child, STOP(SIGSTOP));
    /* It is let go and is stopped as before. */
    CHECK(ask(PTRACE_DETACH, child, 0, number(SIGSTOP)) == 0);
    until_state(child, "Tt");
    CHECK(kill(child, SIGCONT) == 0);
    until_state(child, "S");
    finish(child);
}
static void seize(void) {
    pid_t child = ordinary(sleeps);
    until_state(child, "S");
    CHECK(ask(PTRACE_SEIZE, child, 0, 0) == 0);
    CHECK(waitpid(child, NULL, WNOHANG | __WALL) == 0 && state(child) == 'S');
    FAILS(ask(PTRACE_CONT, child, 0, 0), ESRCH);
    CHECK(ask(PTRACE_INTERRUPT, child, 0, 0) == 0);
    EXPECT(child, EVENT(PTRACE_EVENT_STOP));
    resume(PTRACE_CONT, child, 0);
    /* A group-stop, and its end. */
    CHECK(kill(child, SIGTSTP) == 0);
    EXPECT(child, STOP(SIGTSTP));
    resume(PTRACE_CONT, child, SIGTSTP);
    EXPECT(child, SIGTSTP << 8 | 0x7f | PTRACE_EVENT_STOP << 16);
    CHECK(ask(PTRACE_LISTEN, child, 0, 0) == 0);
    CHECK(waitpid(child, NULL, WNOHANG | __WALL) == 0);
    FAILS(ask(PTRACE_CONT, child, 0, 0), ESRCH);
    CHECK(kill(child, SIGCONT) == 0);
    EXPECT(child, EVENT(PTRACE_EVENT_STOP));
    resume(PTRACE_CONT, child, 0);
    EXPECT(child, STOP(SIGCONT));
    resume(PTRACE_CONT, child, SIGCONT);
    /* Asked for in a call that sleeps. */
    nap(10);
    CHECK(ask(PTRACE_INTERRUPT, child, 0, 0) == 0);
    EXPECT(child, EVENT(PTRACE_EVENT_STOP));
    CHECK(ask(PTRACE_DETACH, child, 0, 0) == 0);
    until_state(child, "S");
    finish(child);
}
static void group_stop(void) {
    pid_t child = traced(sleeps);
    resume(PTRACE_CONT, child, SIGSTOP);
    EXPECT(child, STOP(SIGSTOP));
    siginfo_t i;
    FAILS(ask(PTRACE_GETSIGINFO, child, 0, &i), EINVAL);
    resume(PTRACE_CONT, child, 0);
    until_state(child, "S");
    CHECK(kill(child, SIGCONT) == 0);
    EXPECT(child, STOP(SIGCONT));
    CHECK(info(child).si_pid == getpid());
    resume(PTRACE_CONT, child, 0);
    finish(child);
}

/* ---- waiting */
static void ends_later(void) { nap(50); }
static void waits(void) {
    pid_t child = traced(sleeps), other = ordinary(ends_later);
    siginfo_t i;
    int status;
    CHECK(waitpid(-1, &status, WNOHANG | __WALL) == 0);
    resume(PTRACE_CONT, child, 0);
    memset(&i, 0x55, sizeof i);
    CHECK(waitid(P_PID, child, &i, WNOHANG | WEXITED | WSTOPPED) == 0 && i.si_pid == 0 && i.si_signo == 0);
    /* A real child's end comes through. */
    CHECK(waitpid(-1, &status, __WALL) == other && status == 0);
    kill(child, SIGUSR1);
    memset(&i, 0, sizeof i);
    CHECK(waitid(P_ALL, 0, &i, WSTOPPED | WNOWAIT) == 0 && i.si_pid == child && i.si_code == CLD_TRAPPED && i.si_status == SIGUSR1);
    CHECK(i.si_signo == SIGCHLD && i.si_uid == getuid());
    CHECK(waitid(P_PGID, getpgrp(), &i, WEXITED) == 0 && i.si_code == CLD_TRAPPED);
    CHECK(waitpid(child, &status, WNOHANG | __WALL) == 0);
    /* Nothing but what is debugged, and a wait that a handler interrupts, or does not. */
    resume(PTRACE_CONT, child, 0);
    struct itimerval soon = {{0, 0}, {0, 30000}};
    handle(SIGALRM, 0);
    CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
    FAILS(waitpid(child, &status, 0), EINTR);
    CHECK(handled == SIGALRM);
    handle(SIGALRM, SA_RESTART);
    pid_t killer = child_of();
    if (killer == 0) { nap(100); kill(child, SIGUSR2); _exit(0); }
    CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
    CHECK(waitpid(child, &status, 0) == child && status == STOP(SIGUSR2));
    CHECK(waitpid(killer, &status, 0) == killer);
    struct rusage used;
    resume(PTRACE_CONT, child, 0);
    CHECK(kill(child, SIGINT) == 0);
    CHECK(wait4(child, &status, 0, &used) == child && used.ru_minflt > 0);
    CHECK(waitpid(child, NULL, WNOHANG) == 0);
    FAILS(waitpid(child, NULL, 0x40000), EINVAL);
    finish(child);
    FAILS(wait(&status), ECHILD);
}
/* Of what is no child. */
static pid_t grandchild(void (*run)(void)) {
    int ends[2];
    pid_t id;
    CHECK(pipe(ends) == 0);
    pid_t middle = child_of();
    if (middle == 0) {
        id = child_of();
        if (id == 0) { close(ends[0]); close(ends[1]); run(); _exit(9); }
        CHECK(write(ends[1], &id, sizeof id) == sizeof id);
        int status;
        CHECK(waitpid(id, &status, WUNTRACED) == id);
        _exit(status == 9 << 8 ? 3 : status == SIGKILL ? 4 : 5);
    }
    CHECK(read(ends[0], &id, sizeof id) == sizeof id);
    close(ends[0]);
    close(ends[1]);
    return id;
}
static void reads_and_ends(void) { char byte; CHECK(read(gate[0], &byte, 1) == 1); }
static void waits_for_strangers(void) {
    CHECK(pipe(gate) == 0);
    pid_t stranger = grandchild(reads_and_ends);
    int status;
    FAILS(waitpid(stranger, &status, __WALL), ECHILD);
    CHECK(ask(PTRACE_ATTACH, stranger, 0, 0) == 0);
    EXPECT(stranger, STOP(SIGSTOP));
    /* The parent sees nothing of it. */
    nap(20);
    resume(PTRACE_CONT, stranger, 0);
    CHECK(waitpid(stranger, &status, __WALL | WNOHANG) == 0);
    CHECK(waitpid(-1, &status, __WALL | WNOHANG) == 0);
    CHECK(write(gate[1], "x", 1) == 1);
    ended(stranger, 9 << 8);
    CHECK(waitpid(-1, &status, __WALL) > 0 && status == 3 << 8);
    FAILS(waitpid(-1, &status, __WALL), ECHILD);
}
static volatile sig_atomic_t children, child_code, child_status, child_pid;
static void on_child(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    children++, child_code = info->si_code, child_status = info->si_status, child_pid = info->si_pid;
}
static void sigchld(void) {
    pid_t child = traced(sleeps);
    struct sigaction action = {.sa_sigaction = on_child, .sa_flags = SA_SIGINFO | SA_RESTART};
    CHECK(sigaction(SIGCHLD, &action, NULL) == 0);
    resume(PTRACE_CONT, child, 0);
    CHECK(kill(child, SIGUSR1) == 0);
    EXPECT(child, STOP(SIGUSR1));
    CHECK(children == 1 && child_code == CLD_TRAPPED && child_status == SIGUSR1 && child_pid == child);
    /* As gdb waits. */
    sigset_t block, none;
    sigemptyset(&none);
    sigemptyset(&block);
    sigaddset(&block, SIGCHLD);
    sigprocmask(SIG_BLOCK, &block, NULL);
    resume(PTRACE_CONT, child, 0);
    CHECK(waitpid(-1, NULL, WNOHANG | __WALL) == 0);
    CHECK(kill(child, SIGUSR2) == 0);
    sigsuspend(&none);
    CHECK(children == 2 && waitpid(-1, NULL, WNOHANG | __WALL) == child);
    resume(PTRACE_CONT, child, SIGTERM);
    CHECK(waitpid(child, NULL, 0) == child);
}

/* ---- threads, and the end of debuggers */
static pid_t debuggee;
static void *other_thread(void *unused) {
    (void)unused;
    int status;
    /* Another thread's debuggee, or child, can be waited for, but not be asked. */
    FAILS(waitpid(debuggee, &status, __WALL | __WNOTHREAD), ECHILD);
    CHECK(kill(debuggee, SIGUSR1) == 0);
    CHECK(waitpid(debuggee, &status, __WALL) == debuggee && status == STOP(SIGUSR1));
    FAILS(ask(PTRACE_CONT, debuggee, 0, 0), ESRCH);
    return NULL;
}
static void threads(void) {
    debuggee = traced(sleeps);
    resume(PTRACE_CONT, debuggee, 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, other_thread, NULL) == 0 && pthread_join(thread, NULL) == 0);
    resume(PTRACE_CONT, debuggee, 0);
    finish(debuggee);
}
static void *sleeps_in_wait(void *unused) {
    (void)unused;
    int status;
    /* It sleeps before there is anything to debug. */
    CHECK(waitpid(-1, &status, __WALL) == debuggee && status == STOP(SIGSTOP));
    return NULL;
}
static void asleep_before(void) {
    pthread_t thread;
    pid_t child = ordinary(sleeps);
    debuggee = child;
    until_state(child, "S");
    CHECK(pthread_create(&thread, NULL, sleeps_in_wait, NULL) == 0);
    nap(50);
    CHECK(ask(PTRACE_ATTACH, child, 0, 0) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(ask(PTRACE_DETACH, child, 0, 0) == 0);
    finish(child);
}
/* A debugger that dies while its debuggee stands in a stop that is none of its process, and is listened for. */
static void listener_ends(void) {
    CHECK(pipe(gate) == 0);
    pid_t stranger = grandchild(reads_and_ends);
    pid_t debugger = child_of();
    if (debugger == 0) {
        CHECK(ask(PTRACE_SEIZE, stranger, 0, 0) == 0 && ask(PTRACE_INTERRUPT, stranger, 0, 0) == 0);
        EXPECT(stranger, EVENT(PTRACE_EVENT_STOP));
        CHECK(ask(PTRACE_LISTEN, stranger, 0, 0) == 0);
        _exit(0);
    }
    int status;
    CHECK(waitpid(debugger, &status, 0) == debugger && status == 0);
    CHECK(write(gate[1], "x", 1) == 1);
    CHECK(wait(&status) > 0 && status == 3 << 8);
}
static void debugger_dies(long option, int expected) {
    CHECK(pipe(gate) == 0);
    pid_t stranger = grandchild(reads_and_ends);
    pid_t debugger = child_of();
    if (debugger == 0) {
        CHECK(ask(PTRACE_SEIZE, stranger, 0, number(option)) == 0);
        CHECK(ask(PTRACE_INTERRUPT, stranger, 0, 0) == 0);
        EXPECT(stranger, EVENT(PTRACE_EVENT_STOP));
        _exit(0);
    }
    int status;
    CHECK(waitpid(debugger, &status, 0) == debugger && status == 0);
    CHECK(write(gate[1], "x", 1) == 1);
    CHECK(wait(&status) > 0 && status == expected << 8);
}
static void debugger_ends(void) { debugger_dies(0, 3); }
static void exit_kill(void) { debugger_dies(PTRACE_O_EXITKILL, 4); }

/* A debugger that is debugged. */
static void debugs_itself(void) {
    pid_t child = traced(calls);
    resume(PTRACE_SYSCALL, child, 0);
    EXPECT(child, STOP(SIGTRAP));
    resume(PTRACE_CONT, child, 0);
    EXPECT(child, 6 << 8);
}
static void nested(void) {
    pid_t child = traced(debugs_itself);
    options(child, PTRACE_O_TRACESYSGOOD);
    int entries = 0, ptraces = 0, waits = 0;
    for (;;) {
        resume(PTRACE_SYSCALL, child, 0);
        int status = next(child);
        if (status == STOP(SIGCHLD)) continue;
        if (status == 0) break;
        CHECK(status == CALL);
        struct ptrace_syscall_info i;
        CHECK(ask(PTRACE_GET_SYSCALL_INFO, child, sizeof i, &i) > 0);
        if (i.op == PTRACE_SYSCALL_INFO_ENTRY) {
            entries++;
            ptraces += i.entry.nr == SYS_ptrace;
            waits += i.entry.nr == SYS_wait4;
        }
    }
    if (ptraces != 2 || waits != 3 || entries >= 40)
        fprintf(stderr, "%d traces, %d waits, %d entries\n", ptraces, waits, entries);
    CHECK(ptraces == 2 && waits == 3 && entries < 40);
}

/* Much happens at once. */
static void storm(void) {
    for (int i = 0; i < 30; i++) usleep(100);
    for (int i = 0; i < 10; i++) {
        pid_t child = fork();
        if (child == 0) _exit(0);
        CHECK(waitpid(child, NULL, 0) == child);
    }
}
static void *stormy(void *unused) { (void)unused; storm(); return NULL; }
static void storms(void) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, stormy, NULL) == 0);
    for (int i = 0; i < 4; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    _exit(0);
}
static void many(void) {
    pid_t child = traced(storms);
    options(child, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEVFORK | PTRACE_O_EXITKILL);
    resume(PTRACE_SYSCALL, child, 0);
    int born = 0, ended = 0, last = -1;
    for (;;) {
        int status;
        pid_t tid = waitpid(-1, &status, __WALL);
        if (tid < 0) { CHECK(errno == ECHILD); break; }
        if (!WIFSTOPPED(status)) {
            ended++;
            if (tid == child) last = status;
            continue;
        }
        int signal = WSTOPSIG(status);
        if (status >> 16) { born++; signal = 0; }
        if (signal == (SIGTRAP | 0x80) || signal == SIGSTOP || signal == SIGTRAP) signal = 0;
        if (ask(PTRACE_SYSCALL, tid, 0, number(signal)) != 0) CHECK(errno == ESRCH);
    }
    CHECK(born == 44 && ended == 45 && last == 0);
}

/* Signals come while calls wait for their verdict: each call is told once, with its own result. */
static void calls_under_signals(void) {
    handle(SIGALRM, SA_RESTART);
    struct itimerval often = {{0, 3000}, {0, 3000}};
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    for (int i = 0; i < 1500; i++) {
        access("/virt/answer", F_OK);
        mkdir("/virt/host/proc/none", 0700);
    }
    often = (struct itimerval){{0, 0}, {0, 0}};
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    _exit(0);
}
static void alarms(void) {
    pid_t child = traced(calls_under_signals);
    options(child, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
    int status, signal = 0, entries = 0, signals = 0;
    long inside = -1;
    for (;;) {
        CHECK(ask(PTRACE_SYSCALL, child, 0, number(signal)) == 0);
        signal = 0;
        status = next(child);
        if (!WIFSTOPPED(status)) break;
        if (status == STOP(SIGALRM)) {
            CHECK(inside == -1);
            signal = SIGALRM;
            signals++;
            continue;
        }
        CHECK(status == CALL);
        struct ptrace_syscall_info i;
        CHECK(ask(PTRACE_GET_SYSCALL_INFO, child, sizeof i, &i) > 0);
        struct user_regs_struct r = regs(child);
        if (i.op == PTRACE_SYSCALL_INFO_ENTRY) {
            CHECK(inside == -1);
            inside = i.entry.nr;
            entries += inside == SYS_access || inside == SYS_mkdir;
        } else {
            CHECK(i.op == PTRACE_SYSCALL_INFO_EXIT && (inside == (long)r.orig_rax || inside == SYS_rt_sigreturn));
            if (inside == SYS_access) CHECK(i.exit.rval == (mounted ? -EXDEV : -ENOENT));
            if (inside == SYS_mkdir) CHECK(i.exit.rval == -ENOENT);
            inside = -1;
        }
    }
    CHECK(status == 0 && entries == 3000 && signals > 10);
}

/* The first mount of a view is made while debugger and debuggees sleep in calls, or stand in stops. */
enum { CONTROL = 0x7675 };
static void sleeps_in_calls(void) {
    int epoll = epoll_create1(0);
    struct epoll_event event;
    CHECK(epoll_wait(epoll, &event, 1, 400) == 0);
    struct timespec t = {0, 400000000};
    CHECK(nanosleep(&t, NULL) == 0);
    CHECK(access("/virt/answer", F_OK) == -1 && errno == EXDEV);
    _exit(0);
}
static void mounting(void) {
    /* Natively there is nothing to mount. */
    if (syscall(CONTROL, 3) == -1 && errno == ENOSYS) return;
    pid_t sleeper = traced(sleeps_in_calls), waiter = traced(sleeps_in_calls), stopped = traced(exits_with_word);
    for (int i = 0; i < 2; i++) options(i ? sleeper : waiter, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
    pid_t mounter = child_of();
    if (mounter == 0) { nap(150); CHECK(syscall(CONTROL, 1) == 0); nap(350); CHECK(syscall(CONTROL, 1) == 0); _exit(0); }
    ENTER(sleeper, SYS_epoll_create1);
    CHECK(LEAVE(sleeper, SYS_epoll_create1) >= 0);
    ENTER(sleeper, SYS_epoll_wait);
    CHECK(LEAVE(sleeper, SYS_epoll_wait) == 0);
    ENTER(sleeper, SYS_clock_nanosleep);
    CHECK(LEAVE(sleeper, SYS_clock_nanosleep) == 0);
    ENTER(sleeper, SYS_access);
    CHECK(LEAVE(sleeper, SYS_access) == -EXDEV);
    ENTER(sleeper, SYS_exit_group);
    resume(PTRACE_CONT, sleeper, 0);
    ended(sleeper, 0);
    ended(mounter, 0);
    resume(PTRACE_CONT, waiter, 0);
    ended(waiter, 0);
    resume(PTRACE_CONT, stopped, 0);
    ended(stopped, (word & 0xff) << 8);
}

/* Filters of the debuggee's own that ask for its debugger. */
#define MESSAGE 0x1234
static int expected_answer;
static void install(int nr, unsigned verdict) {
    struct sock_filter program[] = {
        {0x20, 0, 0, offsetof(struct seccomp_data, nr)}, {0x15, 0, 1, nr}, {0x06, 0, 0, verdict}, {0x06, 0, 0, SECCOMP_RET_ALLOW},
    };
    struct sock_fprog filter = {4, program};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) == 0);
}
static void asks_for_debugger(void) {
    install(SYS_getppid, SECCOMP_RET_TRACE | 1);
    install(SYS_getppid, SECCOMP_RET_TRACE | MESSAGE);
    install(SYS_access, SECCOMP_RET_TRACE | MESSAGE);
    install(SYS_getsid, SECCOMP_RET_TRACE | MESSAGE);
    install(SYS_getsid, SECCOMP_RET_ERRNO | ENOANO);
    raise(SIGUSR2);
    syscall(SYS_getppid);
    syscall(SYS_getpid);
    errno = 0;
    int answer = access("/virt/answer", F_OK) == -1 ? errno : 0;
    CHECK(getsid(0) == -1 && errno == ENOANO);
    syscall(SYS_getppid);
    CHECK(syscall(SYS_getppid) == getpid());
    pid_t child = fork();
    if (child == 0) _exit(syscall(SYS_getppid) == 77);
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(syscall(SYS_getppid) == -1 && errno == ENOSYS);
    CHECK(access("/", F_OK) == -1 && errno == ENOSYS);
    _exit(answer == expected_answer ? WEXITSTATUS(status) : 9);
}
static void of_filter(pid_t tid, long nr, int line) {
    expect(tid, EVENT(PTRACE_EVENT_SECCOMP), line);
    CHECK(message(tid) == MESSAGE && info(tid).si_code == (SIGTRAP | PTRACE_EVENT_SECCOMP << 8));
    struct user_regs_struct r = regs(tid);
    CHECK((long)r.orig_rax == nr && (long)r.rax == -ENOSYS);
    struct ptrace_syscall_info call = {0};
    CHECK(ask(PTRACE_GET_SYSCALL_INFO, tid, sizeof call, &call) >= 84 && call.op == PTRACE_SYSCALL_INFO_SECCOMP && (long)call.seccomp.nr == nr);
    CHECK(call.seccomp.ret_data == MESSAGE && call.seccomp.args[0] == r.rdi);
}
#define OF_FILTER(tid, nr) of_filter(tid, nr, __LINE__)
static void own_filters(void) {
    /* An earlier scenario may have made the mount. */
    expected_answer = access("/virt/answer", F_OK) == -1 ? errno : 0;
    pid_t child = traced(asks_for_debugger);
    options(child, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEFORK | PTRACE_O_EXITKILL);
    resume(PTRACE_CONT, child, 0);
    EXPECT(child, STOP(SIGUSR2));
    /* Entry, filter, exit. */
    ENTER(child, SYS_getppid);
    resume(PTRACE_SYSCALL, child, 0);
    OF_FILTER(child, SYS_getppid);
    CHECK(LEAVE(child, SYS_getppid) == getpid());
    resume(PTRACE_CONT, child, 0);
    /* No entry was asked for. */
    OF_FILTER(child, SYS_access);
    CHECK(LEAVE(child, SYS_access) == -expected_answer);
    /* The stricter verdict is told to nobody. */
    resume(PTRACE_CONT, child, 0);
    OF_FILTER(child, SYS_getppid);
    resume(PTRACE_CONT, child, 0);
    /* The debugger makes another call of it. */
    OF_FILTER(child, SYS_getppid);
    struct user_regs_struct r = regs(child);
    r.orig_rax = SYS_getpid;
    CHECK(ask(PTRACE_SETREGS, child, 0, &r) == 0);
    resume(PTRACE_CONT, child, 0);
    EXPECT(child, EVENT(PTRACE_EVENT_FORK));
    pid_t forked = message(child);
    EXPECT(forked, STOP(SIGSTOP));
    resume(PTRACE_CONT, forked, 0);
    /* And of another one none. */
    OF_FILTER(forked, SYS_getppid);
    r = regs(forked);
    r.orig_rax = -1;
    r.rax = 77;
    CHECK(ask(PTRACE_SETREGS, forked, 0, &r) == 0);
    resume(PTRACE_CONT, forked, 0);
    ended(forked, 1 << 8);
    /* Who does not want to hear of it is not told, and the call is not made. */
    options(child, PTRACE_O_EXITKILL);
    resume(PTRACE_CONT, child, 0);
    EXPECT(child, STOP(SIGCHLD));
    resume(PTRACE_DETACH, child, 0);
    ended(child, 1 << 8);
}

static const struct { const char *name; void (*run)(void); } scenarios[] = {
    {"memory", memory}, {"registers", registers}, {"errors", errors}, {"syscalls", syscalls}, {"paths", paths},
    {"signals", signals}, {"traps", traps}, {"steps_of_calls", steps_of_calls}, {"events", events}, {"events_seized", events_seized},
    {"exec_trap", exec_trap}, {"exec_of_thread", exec_of_thread}, {"attach", attach}, {"attach_running", attach_running},
    {"attach_to_stopped", attach_to_stopped}, {"seize", seize}, {"group_stop", group_stop}, {"waits", waits},
    {"waits_for_strangers", waits_for_strangers}, {"sigchld", sigchld}, {"threads", threads}, {"asleep_before", asleep_before},
    {"debugger_ends", debugger_ends}, {"exit_kill", exit_kill}, {"listener_ends", listener_ends}, {"nested", nested}, {"many", many}, {"alarms", alarms},
    {"own_filters", own_filters},
    {"mounting", mounting},
};

int main(int argc, char **argv) {
    mounted = argc > 2;
    if (mounted && syscall(CONTROL, 1) != 0) return 3;
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        if (argc > 1 && strcmp(argv[1], "all") && strcmp(argv[1], scenarios[i].name)) continue;
        scenario = scenarios[i].name;
        pid_t child = child_of();
        if (child == 0) {
            alarm(argc > 3 ? 0 : 120);
            scenarios[i].run();
            _exit(0);
        }
        int status;
        waitpid(child, &status, 0);
        if (status) { fprintf(stderr, "%s: status %#x\n", scenario, status); return 1; }
    }
    return 0;
}
