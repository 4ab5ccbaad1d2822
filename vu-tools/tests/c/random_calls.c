/* Makes the system calls that its input asks for, and prints what came of each, a line a call.
 *
 * usage: random_calls [-s NUMBERS] [-i NUMBERS] SCRATCH [PATH...]
 *
 * The input is batches: a 32-bit count, and as many records of 32 bytes. Every record means something, whatever its bytes: its number is
 * chosen from the known calls, mostly; each argument from what arguments can be: good and bad descriptors, paths, pointers to every kind of
 * memory. A batch runs in a child of its own, in the directory SCRATCH, which is put back in order before it; every fourth call or so is
 * made by the 32-bit entry. A count of 0 runs /bin/true and tells its status. After each batch a line "." is printed.
 *
 * Never made are calls that may harm others than the caller (kill, System V IPC, keys), that only wait, or that take the caller apart
 * (exit, rt_sigreturn, arch_prctl); -s and -i name further ones of x86_64 and of i386, separated by commas. Paths that are changed lie
 * in SCRATCH, or belong to others: to be run by a user of no importance.
 *
 * From the fork on, the child uses nothing of libc that needs thread-local storage: the calls may have taken it away.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RECORD = 32, BATCH_MAX = 4096, PAGE = 4096, UNKNOWN = -1 };
/* How long one call may take, in milliseconds. */
enum { PATIENCE = 5000 };

/* ---- The memory that pointers lead to: at fixed addresses below 4 GiB, for the 32-bit entry, and the same in every run. */

#define STRINGS 0x20000000ul /* read-only: the paths, one a slot */
#define ENDS 0x21000000ul    /* pages that end before unmapped ones */
#define STRUCTS 0x22000000ul /* read-only: structures of all kinds, pointers among them */
#define BUFFER 0x23000000ul  /* for answers; nothing behind it */
#define SHARED 0x30000000ul  /* what the child tells the parent */
enum { SLOT = 8192, BUFFER_SIZE = 16 * PAGE, STRUCT_SLOT = 20480 };

struct shared {
    volatile int at;        /* the record that is being dealt with */
    volatile int count;     /* its number of calls */
    struct outcome {
        int abi, skipped;
        long nr;
        unsigned long args[6];
        volatile long result;
        volatile int done;
    } outcomes[BATCH_MAX];
};
static struct shared *shared;

static const char *paths[128];
static int path_count;
static const char *scratch;

/* Tells the length of what the structures point to. */
static int struct_count;

/* ---- The two entries into the kernel. Calls that make a process return in the parent only: the child ends at once, without a stack. */

long call64(long nr, const unsigned long *args);
long call80(long nr, const unsigned long *args);
__asm__(".text\n"
        "call64:\n"
        "  push %rbx\n"
        "  mov %rdi, %rax\n"
        "  mov %rsi, %rbx\n"
        "  mov 0(%rbx), %rdi\n  mov 8(%rbx), %rsi\n  mov 16(%rbx), %rdx\n  mov 24(%rbx), %r10\n  mov 32(%rbx), %r8\n  mov 40(%rbx), %r9\n"
        "  mov %rax, %rbx\n"
        "  syscall\n"
        "  test %rax, %rax\n"
        "  jnz 1f\n"
        "  cmp $56, %rbx\n  je 2f\n  cmp $57, %rbx\n  je 2f\n  cmp $58, %rbx\n  je 2f\n  cmp $435, %rbx\n  je 2f\n"
        "1: pop %rbx\n"
        "  ret\n"
        "2: mov $60, %eax\n  xor %edi, %edi\n  syscall\n  hlt\n"
        "call80:\n"
        "  push %rbx\n  push %rbp\n  push %r12\n  push %r13\n  push %r14\n  push %r15\n"
        "  mov %rdi, %rax\n"
        "  mov %rsi, %r12\n"
        "  mov 0(%r12), %rbx\n  mov 8(%r12), %rcx\n  mov 16(%r12), %rdx\n  mov 24(%r12), %rsi\n  mov 32(%r12), %rdi\n  mov 40(%r12), %rbp\n"
        "  int $0x80\n"
        "  movslq %eax, %rax\n"
        "  pop %r15\n  pop %r14\n  pop %r13\n  pop %r12\n  pop %rbp\n  pop %rbx\n"
        "  ret\n");

static long raw(long nr, long a, long b, long c, long d, long e, long f)
{
    unsigned long args[6] = {a, b, c, d, e, f};
    return call64(nr, args);
}

/* ---- The calls whose arguments are known: the number on x86_64 and i386 (-1: not there) and a letter for each argument. */

/* d directory descriptor, F descriptor, p path, s name or text, b buffer, v vector of buffers, k socket address, h struct open_how,
 * t time structure, A vector of strings, c struct clone_args, o open flags, a AT_ flags, m mode, z size, l offset or length, C clone flags,
 * i small number, x anything */
static const struct known { short nr, i386; const char *args; } known[] = {
    {2, 5, "pom"}, {85, 8, "pm"}, {257, 295, "dpom"}, {437, 437, "dphz"}, {4, -1, "pb"}, {6, -1, "pb"}, {262, -1, "dpba"},
    {332, 383, "dpaxb"}, {21, 33, "pi"}, {269, 307, "dpi"}, {439, 439, "dpia"}, {89, 85, "pbz"}, {267, 305, "dpbz"}, {137, 99, "pb"},
    {83, 39, "pm"}, {258, 296, "dpm"}, {133, 14, "pmi"}, {259, 297, "dpmi"}, {84, 40, "p"}, {87, 10, "p"}, {263, 301, "dpa"},
    {82, 38, "pp"}, {264, 302, "dpdp"}, {316, 353, "dpdpi"}, {86, 9, "pp"}, {265, 303, "dpdpa"}, {88, 83, "pp"}, {266, 304, "pdp"},
    {90, 15, "pm"}, {268, 306, "dpm"}, {452, 452, "dpma"}, {92, 182, "pxx"}, {94, 16, "pxx"}, {260, 298, "dpxxa"}, {132, 30, "pt"},
    {235, 271, "pt"}, {261, 299, "dpt"}, {280, 320, "dpta"}, {76, 92, "pl"}, {468, 468, "dpbza"}, {469, 469, "dpbza"}, {254, 292, "Fpx"},
    {303, 341, "dpbba"}, {163, 51, "p"}, {167, 87, "px"}, {168, 115, "p"}, {188, 226, "psbzi"}, {189, 227, "psbzi"}, {463, 463, "dpasbz"},
    {191, 229, "psbz"}, {192, 230, "psbz"}, {464, 464, "dpasbz"}, {194, 232, "pbz"}, {195, 233, "pbz"}, {465, 465, "dpabz"},
    {197, 235, "ps"}, {198, 236, "ps"}, {466, 466, "dpas"}, {80, 12, "p"}, {81, 133, "F"}, {79, 183, "bz"}, {161, 61, "p"},
    {59, 11, "pAA"}, {322, 358, "dpAAa"}, {165, 21, "ppsxs"}, {166, 52, "px"}, {41, 359, "iii"}, {49, 361, "Fkz"}, {42, 362, "Fkz"},
    {44, 369, "Fbzxkz"}, {272, 310, "C"}, {308, 346, "FC"}, {5, -1, "Fb"}, {78, 141, "Fbz"}, {217, 220, "Fbz"}, {16, 54, "Fxb"},
    {74, 118, "F"}, {75, 148, "F"}, {138, 100, "Fb"}, {91, 94, "Fm"}, {93, 95, "Fxx"}, {77, 93, "Fl"}, {190, 228, "Fsbzi"},
    {193, 231, "Fsbz"}, {196, 234, "Fbz"}, {199, 237, "Fs"}, {155, 217, "pp"}, {179, 131, "xpxb"}, {304, 342, "Fbo"}, {301, 339, "Fxxdp"},
    {428, 428, "dpa"}, {429, 429, "dpdpx"}, {430, 430, "sx"}, {433, 433, "dpa"}, {442, 442, "dpabz"}, {457, 457, "bbzx"}, {425, 425, "ib"},
    {0, 3, "Fbz"}, {1, 4, "Fbz"}, {17, 180, "Fbzl"}, {18, 181, "Fbzl"}, {19, 145, "Fvi"}, {20, 146, "Fvi"}, {295, 333, "Fvil"},
    {296, 334, "Fvil"}, {327, 378, "Fvilx"}, {328, 379, "Fvilx"}, {8, 19, "Fli"}, {32, 41, "F"}, {33, 63, "FF"}, {292, 330, "FFo"},
    {3, 6, "F"}, {436, 436, "FFi"}, {72, 221, "Fii"}, {40, 187, "FFbz"}, {326, 377, "FbFbzx"}, {275, 313, "FbFbzx"}, {285, 324, "Fill"},
    {9, -1, "bziiFl"}, {11, 91, "bz"}, {10, 125, "bzi"}, {25, 163, "bzzxb"}, {46, 370, "Fbx"}, {47, 372, "Fbx"}, {45, 371, "Fbzxbb"},
    {48, 373, "Fi"}, {50, 363, "Fi"}, {51, 367, "Fbb"}, {52, 368, "Fbb"}, {53, 360, "iiib"}, {54, 366, "Fiibz"}, {55, 365, "Fiibb"},
    {43, -1, "Fbb"}, {288, 364, "Fbbx"}, {22, 42, "b"}, {293, 331, "bo"}, {233, 255, "FiFb"}, {319, 356, "sx"}, {13, 174, "ibbi"},
    {14, 175, "ibbi"}, {131, 186, "bb"}, {56, 120, "Cxbbx"}, {57, 2, ""}, {58, 190, ""}, {435, 435, "cz"}, {95, 60, "m"}, {157, 172, "xxxxx"},
    {160, 75, "ib"}, {97, 76, "ib"}, {135, 136, "x"}, {39, 20, ""}, {110, 64, ""}, {96, 78, "bb"}, {228, 265, "ib"}, {63, 122, "b"},
    {219, 0, ""}, {317, 354, "ixb"}, {73, 143, "Fi"}, {221, 272, "Flli"}, {187, 225, "Flz"}, {276, 315, "FFzx"}, {278, 316, "Fvix"},
    {-1, 195, "pb"}, {-1, 196, "pb"}, {-1, 197, "Fb"}, {-1, 300, "dpba"}, {-1, 18, "pb"}, {-1, 84, "pb"}, {-1, 106, "pb"}, {-1, 107, "pb"},
    {-1, 268, "pzb"}, {-1, 269, "Fzb"}, {-1, 193, "pll"}, {-1, 194, "Fll"}, {-1, 212, "pxx"}, {-1, 198, "pxx"}, {-1, 22, "p"},
    {-1, 412, "dpta"}, {-1, 102, "ib"}, {-1, 140, "Fllbi"}, {-1, 90, "b"}, {-1, 192, "bziiFl"}, {-1, 67, "ibb"}, {-1, 89, "Fbi"},
};
enum { KNOWN = sizeof known / sizeof *known };

static const long strange[] = {600, 100000, -1, -2, -600, 512, 547, 1023, 0x40000000, 0x40000001, 0x40000101, 0x7fffffff, 0x80000000, 0x80000002,
                               0xffffffff, 0x100000002, 0x7675, INT64_MIN, 480, 481};
enum { STRANGE = sizeof strange / sizeof *strange };

/* By their number on x86_64; i386 calls are chosen from the known ones only. */
static const short never[] = {
    SYS_exit, SYS_exit_group, SYS_rt_sigreturn, SYS_arch_prctl, SYS_modify_ldt, SYS_set_thread_area,
    /* others' processes */
    SYS_kill, SYS_tkill, SYS_tgkill, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_pidfd_send_signal, SYS_ptrace, SYS_process_vm_readv,
    SYS_process_vm_writev, SYS_process_madvise, SYS_process_mrelease, SYS_pidfd_getfd, SYS_prlimit64, SYS_setpriority, SYS_ioprio_set,
    SYS_sched_setparam, SYS_sched_setscheduler, SYS_sched_setaffinity, SYS_sched_setattr, SYS_migrate_pages, SYS_move_pages, SYS_kcmp,
    SYS_setpgid, SYS_setsid,
    /* things that outlive the caller */
    SYS_shmget, SYS_shmat, SYS_shmctl, SYS_shmdt, SYS_semget, SYS_semop, SYS_semctl, SYS_semtimedop, SYS_msgget, SYS_msgsnd, SYS_msgrcv,
    SYS_msgctl, SYS_mq_open, SYS_mq_unlink, SYS_add_key, SYS_request_key, SYS_keyctl, SYS_bpf, SYS_perf_event_open, SYS_userfaultfd,
    /* the machine */
    SYS_reboot, SYS_kexec_load, SYS_kexec_file_load, SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_sync, SYS_syncfs, SYS_syslog,
    SYS_iopl, SYS_ioperm, SYS_settimeofday, SYS_clock_settime, SYS_adjtimex, SYS_clock_adjtime,
    /* what waits, or ends in a signal at some time */
    SYS_pause, SYS_nanosleep, SYS_clock_nanosleep, SYS_rt_sigsuspend, SYS_rt_sigtimedwait, SYS_select, SYS_pselect6, SYS_poll, SYS_ppoll,
    SYS_epoll_wait, SYS_epoll_pwait, 441 /* epoll_pwait2 */, SYS_wait4, SYS_waitid, SYS_futex, 449, 454, 455, 456 /* futex_waitv … */,
    SYS_io_getevents, 333 /* io_pgetevents */, SYS_mq_timedreceive, SYS_mq_timedsend, SYS_alarm, SYS_setitimer, SYS_timer_settime, SYS_flock,
    SYS_vhangup, SYS_fallocate,
};

static bool skip64[512], skip80[512];

/* ---- What arguments can be. */

struct source {
    const unsigned char *bytes; /* of this argument: kind, a, and b in two bytes */
};

static unsigned long string_at(unsigned index) { return STRINGS + (unsigned long)index * SLOT; }

/* The paths that end where a page ends, and a page without a NUL. */
static unsigned long end_at(unsigned index)
{
    unsigned long end = ENDS + (unsigned long)(index + 1) * 2 * PAGE - PAGE;
    return end - (strnlen(paths[index], PAGE - 1) + 1);
}

static unsigned long wild(unsigned b)
{
    static const unsigned long addresses[] = {0, 1, 0x1000, 0xdead0000, 0x7fffffffe000, 0x7ffffffff000, 0x7fffffffffff, 0x800000000000,
                                              0xffff800000000000, 0xffffffff81000000, 0xffffffffff600000, ~0ul, ~0ul - 7, 0xfffff000,
                                              0xffffffff, 0x100000000, 0x123456789000};
    unsigned count = sizeof addresses / sizeof *addresses;
    return addresses[b % count];
}

static unsigned long buffer_at(unsigned a, unsigned b)
{
    switch (a % 8) {
    case 0: return BUFFER + BUFFER_SIZE - b % 160; /* less than is asked for, perhaps */
    case 1: return string_at(b % path_count);      /* not writable */
    case 2: return wild(b);
    case 3: return BUFFER + b % BUFFER_SIZE;
    default: return BUFFER + 16 * (b % 256);
    }
}

static unsigned long path_at(unsigned a, unsigned b)
{
    switch (a % 16) {
    case 0: return end_at(b % path_count);
    case 1: return ENDS + (unsigned long)(path_count + 1) * 2 * PAGE - PAGE - b % PAGE; /* not terminated */
    case 2: return wild(b);
    case 3: return buffer_at(b >> 8, b);
    default: return string_at(b % path_count);
    }
}

static unsigned long size_of(unsigned a, unsigned b)
{
    static const unsigned long sizes[] = {0, 1, 2, 8, 16, 24, 32, 48, 64, 108, 110, 128, 144, 256, 4095, 4096, 4097, 65536, 65537, 0x7ffff000,
                                          0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, INT64_MAX, (unsigned long)INT64_MIN, ~0ul, ~0ul - 4095};
    return a % 2 ? sizes[b % (sizeof sizes / sizeof *sizes)] : b % 5000;
}

static unsigned long descriptor(unsigned a, unsigned b)
{
    static const unsigned long others[] = {-1ul, -100l, 0xffffff9c, 0x100000000 + 10, 9, 1023, 0x7fffffff, -2ul};
    return a % 4 ? 10 + b % 22 : others[b % 8];
}

static unsigned long any(unsigned a, unsigned b);

static unsigned long of_kind(char kind, unsigned a, unsigned b)
{
    switch (kind) {
    case 'd': return a % 2 ? (unsigned long)AT_FDCWD : descriptor(a / 2, b);
    case 'F': return descriptor(a, b);
    case 'p': return path_at(a, b);
    case 's': return a % 4 ? string_at(b % 16) : path_at(a / 4, b);
    case 'b': return buffer_at(a, b);
    case 'v': case 'k': case 'h': case 't': case 'A': case 'c':
        /* Any structure will do, for any call. */
        return a % 8 == 0 ? wild(b) : a % 8 == 1 ? STRUCTS + b * 8 % ((unsigned)struct_count * STRUCT_SLOT)
                                                 : STRUCTS + (unsigned long)(b % struct_count) * STRUCT_SLOT;
    case 'o': {
        static const unsigned flags[] = {0, O_CREAT, O_EXCL, O_TRUNC, O_DIRECTORY, O_NOFOLLOW, O_PATH, O_TMPFILE, O_CLOEXEC, O_APPEND, O_DIRECT,
                                         O_SYNC, O_NOATIME, O_LARGEFILE, O_NOCTTY, 0x80000000};
        unsigned long value = (a % 4) | O_NONBLOCK | flags[b % 16];
        return b & 0x100 ? value | flags[b >> 4 & 15] | flags[b >> 12] : value;
    }
    case 'a': {
        static const unsigned flags[] = {0, 0, 0, AT_SYMLINK_NOFOLLOW, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, AT_NO_AUTOMOUNT, AT_EMPTY_PATH, 0x6000, 1,
                                         0x200000, 0x80000000, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, 4, 2, 0xffffffff};
        return flags[b % 16];
    }
    case 'm': return a % 2 ? b % 010000 : b | 0700;
    case 'z': case 'l': return size_of(a, b);
    case 'i': return a % 8 ? b % 8 : b;
    case 'C': {
        static const unsigned flags[] = {0, CLONE_VM, CLONE_VM | CLONE_VFORK, CLONE_FS, CLONE_FILES, CLONE_UNTRACED, CLONE_PTRACE, CLONE_PARENT,
                                         CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, CLONE_NEWUSER, CLONE_NEWNS, CLONE_PARENT_SETTID, CLONE_CHILD_CLEARTID,
                                         CLONE_NEWPID | CLONE_NEWUSER, CLONE_SETTLS, CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM};
        return flags[b % 16] | (a & 1 ? flags[b >> 4 & 15] : 0) | (a & 2 ? flags[b >> 8 & 15] : 0) | (a & 4 ? SIGCHLD : 0);
    }
    default: return any(a, b);
    }
}

static unsigned long any(unsigned a, unsigned b)
{
    static const char kinds[] = "dFpsbvozlaim";
    switch (a % 16) {
    case 0: return b;
    case 1: return -(unsigned long)b;
    case 2: return 1ul << b % 64;
    case 3: return b % 16;
    default: return of_kind(kinds[a % 16 - 4], b >> 4, b);
    }
}

/* ---- A record, and whether its call is made. */

static bool is_birth(int abi, long nr)
{
    return abi == 64 ? nr == SYS_clone || nr == SYS_fork || nr == SYS_vfork || nr == SYS_clone3 : nr == 120 || nr == 2 || nr == 190 || nr == 435;
}

static bool is_exec(int abi, long nr)
{
    return abi == 64 ? nr == SYS_execve || nr == SYS_execveat : nr == 11 || nr == 358;
}

/* Mends the arguments that could do harm, or wait for ever; false: not to be made at all. */
static bool harmless(struct outcome *o)
{
    unsigned long *args = o->args;
    if (o->abi == 80) {
        /* The 32-bit entry's child could not be told from the parent; the rest is as on x86_64, or harmless. */
        if (is_birth(80, o->nr) || (o->nr >= 0 && o->nr < 512 && skip80[o->nr]))
            return false;
        for (unsigned i = 0; i < 6; i++)
            args[i] = (uint32_t)args[i];
    } else {
        if (o->nr >= 0 && o->nr < 512 && skip64[o->nr])
            return false;
        for (unsigned i = 0; i < sizeof never / sizeof *never; i++)
            if (o->nr == never[i])
                return false;
        /* The low half of the number is what counts. */
        if ((int)o->nr != o->nr && (int)o->nr >= 0 && (int)o->nr != 2)
            return false;
    }
    unsigned nr = 0;
    for (unsigned i = 0; i < KNOWN; i++)
        if ((o->abi == 64 ? known[i].nr : known[i].i386) == o->nr && known[i].nr >= 0)
            nr = known[i].nr;
    if (o->abi == 64)
        nr = o->nr;
    switch (nr) {
    case SYS_open: args[1] |= O_NONBLOCK; break;
    case SYS_openat: args[2] |= O_NONBLOCK; break;
    /* No FIFOs: to open one waits. */
    case SYS_mknod:
        if ((args[1] & S_IFMT) == S_IFIFO)
            args[1] &= 0777;
        break;
    case SYS_mknodat:
        if ((args[2] & S_IFMT) == S_IFIFO)
            args[2] &= 0777;
        break;
    /* Who is sent signals. */
    case SYS_fcntl: {
        unsigned command = args[1];
        return command != F_SETOWN && command != F_SETOWN_EX && command != F_SETSIG && command != F_NOTIFY && command != F_SETLKW && command != F_OFD_SETLKW &&
               command != F_SETLK;
    }
    case SYS_ioctl: return (unsigned)args[1] != 0x8901 && (unsigned)args[1] != 0x8902;
    case SYS_clone: args[0] = (args[0] & ~0xfful) | (args[0] & 0xff ? SIGCHLD : 0); break;
    /* A filter of its own. */
    case SYS_prctl: return (unsigned)args[0] != 22;
    case SYS_seccomp: return false;
    }
    return true;
}

static void decode(const unsigned char *record, struct outcome *o)
{
    unsigned pick = record[2] | record[3] << 8;
    const struct known *call = NULL;
    memset(o, 0, sizeof *o);
    o->abi = record[0] % 4 == 3 ? 80 : 64;
    if (record[1] >= 250) {
        o->nr = strange[pick % STRANGE];
    } else if (record[1] >= 200 && o->abi == 64) {
        o->nr = pick % 480;
        for (unsigned i = 0; i < KNOWN; i++)
            if (known[i].nr == o->nr)
                call = &known[i];
    } else {
        call = &known[pick % KNOWN];
        if ((o->abi == 64 ? call->nr : call->i386) < 0)
            o->abi = call->nr < 0 ? 80 : 64;
        o->nr = o->abi == 64 ? call->nr : call->i386;
    }
    for (unsigned i = 0; i < 6; i++) {
        const unsigned char *bytes = record + 4 + 4 * i;
        unsigned b = bytes[2] | bytes[3] << 8;
        bool known_kind = call && i < strlen(call->args) && bytes[0] % 8;
        o->args[i] = known_kind ? of_kind(call->args[i], bytes[1], b) : any(bytes[1], b);
    }
    o->skipped = !harmless(o);
}

/* ---- The child. */

static long make(const struct outcome *o)
{
    return o->abi == 80 ? call80(o->nr, o->args) : call64(o->nr, o->args);
}

/* An exec that succeeds ends the caller: it is made by a child. */
static long make_in_child(const struct outcome *o)
{
    long pid = raw(SYS_clone, SIGCHLD, 0, 0, 0, 0, 0x7777);
    if (pid < 0)
        return pid;
    int status = 0;
    long waited;
    do
        waited = raw(SYS_wait4, pid, (long)&status, 0, 0, 0, 0);
    while (waited == -EINTR);
    if (waited < 0)
        return waited;
    return WIFSIGNALED(status) ? 2000 + WTERMSIG(status) : WEXITSTATUS(status) == 253 ? shared->outcomes[shared->at].result : 1000 + WEXITSTATUS(status);
}
