/* Makes the system calls that its input asks for, and prints what came of each, a line a call.
 *
 * usage: random_calls [-s NUMBERS] [-i NUMBERS] SCRATCH [PATH...]
 *
 * The input is batches: a 32-bit count, and as many records of 32 bytes. Every record means something, whatever its bytes: its number is
 * chosen from the known calls, mostly; each argument from what arguments can be: good and bad descriptors, paths, pointers to every kind of
 * memory. A batch runs in a child of its own, in a directory deep below SCRATCH, all of which is put back in order before it; every fourth call
 * or so is made by the 32-bit entry. A count of 0 runs /bin/true and tells its status. After each batch a line "." is printed.
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
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RECORD = 32, BATCH_MAX = 4096, PAGE = 4096 };
/* How long one call may take, in milliseconds. */
enum { PATIENCE = 3000 };

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
/* SCRATCH, and the working directory: so deep that ".." hardly leads out of SCRATCH. */
static const char *top, *scratch;
static const char *const levels = "/1/2/3/4/5/6/7/8";

/* Where mounts may be made, below SCRATCH; they are removed after the batch. */
static const char *const mountable[] = {"/file", "/dir", "/missing", "/dir/new"};

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

/* As syscall(2), without errno, which is thread-local. */
static long raw(long nr, long a, long b, long c, long d)
{
    register long r10 __asm__("r10") = d;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return result;
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
    /* which others there are, at the time */
    SYS_getpgid, SYS_getsid, SYS_getpriority, SYS_ioprio_get, SYS_sched_getparam, SYS_sched_getscheduler, SYS_sched_getaffinity,
    SYS_sched_rr_get_interval, SYS_sched_getattr, SYS_get_robust_list, SYS_pidfd_open,
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

enum { NUMBERS = 1 << 16 };
static bool skip64[NUMBERS], skip80[NUMBERS];

/* ---- What arguments can be. */

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

/* Whether a pointer leads to the name of an object in SCRATCH by an absolute path without links. */
static bool is_inside(unsigned long pointer)
{
    if (pointer < STRINGS || pointer >= STRINGS + (unsigned long)path_count * SLOT || (pointer - STRINGS) % SLOT)
        return false;
    const char *path = paths[(pointer - STRINGS) / SLOT];
    size_t length = strlen(scratch);
    if (strncmp(path, scratch, length))
        return false;
    for (unsigned i = 0; i < sizeof mountable / sizeof *mountable; i++)
        if (!strcmp(path + length, mountable[i]))
            return true;
    return false;
}

/* mount(2), umount2(2), umount(2). */
static bool is_mount(const struct outcome *o)
{
    return o->abi == 64 ? o->nr == SYS_mount || o->nr == SYS_umount2 : o->nr == 21 || o->nr == 22 || o->nr == 52;
}

/* Mends the arguments that could do harm, or wait for ever; false: not to be made at all. */
static bool harmless(struct outcome *o)
{
    unsigned long *args = o->args;
    if (o->abi == 80) {
        /* The 32-bit entry's child could not be told from the parent; the rest is as on x86_64, or harmless. */
        if (is_birth(80, o->nr) || (o->nr >= 0 && o->nr < NUMBERS && skip80[o->nr]))
            return false;
        for (unsigned i = 0; i < 6; i++)
            args[i] = (uint32_t)args[i];
    } else {
        if (o->nr >= 0 && o->nr < NUMBERS && skip64[o->nr])
            return false;
        for (unsigned i = 0; i < sizeof never / sizeof *never; i++)
            if (o->nr == never[i])
                return false;
        /* The low half of the number is what counts. */
        if ((int)o->nr != o->nr && (int)o->nr >= 0 && (int)o->nr != 2)
            return false;
    }
    if (is_mount(o)) {
        unsigned long target = args[o->nr == SYS_mount || o->nr == 21 ? 1 : 0];
        return is_inside(target) || target < STRINGS;
    }
    unsigned nr = UINT32_MAX;
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
    /* Allowed to the only thread: one that was made may not be gone yet. */
    case SYS_unshare: args[0] &= ~(unsigned long)(CLONE_VM | CLONE_SIGHAND | CLONE_THREAD); break;
    /* A death that comes at some time; no memory for the hypervisor's doings. */
    case SYS_setrlimit: return (unsigned)args[0] != RLIMIT_CPU && (unsigned)args[0] != RLIMIT_AS;
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
    /* All of it that the entry takes: what is forbidden must not come in by the upper half. */
    if (o->abi == 80)
        o->nr = (int)o->nr;
    o->skipped = !harmless(o);
}

/* ---- The child. */

enum { EXIT_STATUS = 1000, EXIT_SIGNAL = 2000, NOT_EXECUTED = 253 };

static long make(const struct outcome *o)
{
    return o->abi == 80 ? call80(o->nr, o->args) : call64(o->nr, o->args);
}

/* An exec that succeeds ends the caller: it is made by a child. */
static long make_in_child(struct outcome *o)
{
    int status = 0;
    long waited, pid = raw(SYS_clone, SIGCHLD, 0, 0, 0);
    if (pid == 0) {
        o->result = make(o);
        raw(SYS_exit_group, NOT_EXECUTED, 0, 0, 0);
    }
    if (pid < 0)
        return pid;
    do
        waited = raw(SYS_wait4, pid, (long)&status, 0, 0);
    while (waited == -EINTR);
    if (waited < 0)
        return waited;
    if (WIFSIGNALED(status))
        return EXIT_SIGNAL + WTERMSIG(status);
    return WEXITSTATUS(status) == NOT_EXECUTED ? o->result : EXIT_STATUS + WEXITSTATUS(status);
}

static void limit(int what, unsigned long to)
{
    struct rlimit limit = {to, to};
    setrlimit(what, &limit);
}

static int at_number(int want, int fd)
{
    if (fd >= 0 && fd != want) {
        dup2(fd, want);
        close(fd);
    }
    return want;
}

/* The descriptors from 10 on, the same in every run; nothing waits on any of them. */
static void open_descriptors(int extras, char **extra)
{
    int pair[2], n = 10;
    at_number(n++, open("file", O_RDWR));
    at_number(n++, open("dir", O_RDONLY | O_DIRECTORY));
    at_number(n++, open(".", O_RDONLY | O_DIRECTORY));
    at_number(n++, open("dir", O_PATH));
    at_number(n++, open("link", O_PATH | O_NOFOLLOW));
    at_number(n++, open("/", O_RDONLY | O_DIRECTORY));
    at_number(n++, open("/dev/null", O_RDWR));
    at_number(n++, open("/proc/self", O_RDONLY | O_DIRECTORY));
    if (pipe2(pair, O_NONBLOCK) == 0) {
        at_number(n++, pair[0]);
        at_number(n++, pair[1]);
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0) {
        at_number(n++, pair[0]);
        at_number(n++, pair[1]);
    }
    at_number(n++, socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0));
    at_number(n++, memfd_create("random", 0));
    at_number(n++, epoll_create1(0));
    at_number(n++, eventfd(0, EFD_NONBLOCK));
    at_number(n++, inotify_init1(IN_NONBLOCK));
    for (int i = 0; i < extras && n < 32; i++)
        at_number(n++, open(extra[i], O_RDONLY | O_NONBLOCK));
}

static void child(int extras, char **extra)
{
    static const int ignored[] = {SIGXFSZ, SIGPIPE, SIGIO, SIGURG};
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (unsigned i = 0; i < sizeof ignored / sizeof *ignored; i++)
        signal(ignored[i], SIG_IGN);
    setpgid(0, 0);
    for (int fd = 0; fd < 3; fd++) {
        close(fd);
        if (open("/dev/null", O_RDWR) != fd)
            _exit(254);
    }
    if (chdir(scratch) < 0)
        _exit(254);
    open_descriptors(extras, extra);
    close_range(100, ~0u, 0);
    limit(RLIMIT_FSIZE, 1 << 20);
    limit(RLIMIT_AS, 1ul << 31);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_NOFILE, 1024);
    limit(RLIMIT_NPROC, 1000);
    limit(RLIMIT_CPU, 20);
    int count = shared->count;
    long self = raw(SYS_gettid, 0, 0, 0, 0);
    for (int i = 0; i < count; i++) {
        struct outcome *o = &shared->outcomes[i];
        /* Should a call have made a process by a way that is not thought of, it must not go on to make more. */
        if (raw(SYS_gettid, 0, 0, 0, 0) != self)
            raw(SYS_exit, 0, 0, 0, 0);
        shared->at = i;
        if (!o->skipped)
            o->result = is_exec(o->abi, o->nr) ? make_in_child(o) : make(o);
        o->done = 1;
    }
    raw(SYS_exit_group, 0, 0, 0, 0);
}

/* ---- The parent. */

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static void empty(int dir)
{
    fchmod(dir, 0700);
    DIR *list = fdopendir(dir);
    struct dirent *entry;
    while (list && (entry = readdir(list))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        if (unlinkat(dirfd(list), entry->d_name, 0) == 0 || unlinkat(dirfd(list), entry->d_name, AT_REMOVEDIR) == 0)
            continue;
        fchmodat(dirfd(list), entry->d_name, 0700, 0);
        int sub = openat(dirfd(list), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        if (sub >= 0)
            empty(sub);
        unlinkat(dirfd(list), entry->d_name, AT_REMOVEDIR);
    }
    if (list)
        closedir(list);
}

static void fill(const char *name, const char *text, int mode)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, text, strlen(text)) < 0 || fchmod(fd, mode) < 0)
        die(name);
    close(fd);
}

/* Directories that the calls could lock: those of the PATHs, and what they lie in. */
static int kept[64], kept_count;

static void keep(const char *path)
{
    char parent[PAGE];
    snprintf(parent, sizeof parent, "%s/..", path);
    for (int i = 0; i < 2 && kept_count < 64; i++) {
        int fd = open(i ? parent : path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0)
            kept[kept_count++] = fcntl(fd, F_DUPFD_CLOEXEC, 100);
    }
}

/* Puts the directory back in order. */
static void tidy(bool mounted)
{
    char path[PAGE];
    for (int i = 0; i < kept_count; i++)
        fchmod(kept[i], 0755);
    for (unsigned i = 0; mounted && i < sizeof mountable / sizeof *mountable; i++) {
        snprintf(path, sizeof path, "%s%s", scratch, mountable[i]);
        for (int times = 0; times < 100 && umount2(path, MNT_DETACH) == 0; times++)
            ;
    }
    int dir = open(top, O_RDONLY | O_DIRECTORY);
    if (dir < 0 || fchdir(dir) < 0)
        die(top);
    empty(dir);
    for (const char *level = levels; *level; level += 2) {
        char name[2] = {level[1]};
        if (mkdir(name, 0755) < 0 || chdir(name) < 0)
            die(scratch);
    }
    umask(022);
    fill("file", "content\n", 0644);
    fill("script", "#!/bin/true x\n", 0755);
    fill("script2", "#!missing\n", 0755);
    fill("script3", "#!script\n", 0755);
    fill("elf", "\177ELF\2\1\1", 0755);
    fill("unreadable", "#!/bin/true\n", 0111);
    if (mkdir("dir", 0755) < 0 || mkdir("dir/sub", 0755) < 0)
        die("mkdir");
    fill("dir/file", "inner\n", 0600);
    snprintf(path, sizeof path, "%s/dir", scratch);
    if (symlink("file", "link") < 0 || symlink("dir", "dirlink") < 0 || symlink("missing", "dangling") < 0 || symlink("loop", "loop") < 0 ||
        symlink("/proc/self/fd/10", "magic") < 0 || symlink(path, "absolute") < 0)
        die("symlink");
}

static void print_path(const char *path)
{
    putchar('"');
    for (int i = 0; path[i] && i < 80; i++)
        if (path[i] > ' ' && path[i] < 127)
            putchar(path[i]);
        else
            printf("\\x%02x", (unsigned char)path[i]);
    putchar('"');
}

static void print_argument(unsigned long value)
{
    if (value >= STRINGS && value < STRINGS + (unsigned long)path_count * SLOT) {
        unsigned index = (value - STRINGS) / SLOT, offset = (value - STRINGS) % SLOT;
        print_path(paths[index]);
        if (offset)
            printf("+%#x", offset);
    } else if (value >= ENDS && value < ENDS + (unsigned long)(path_count + 2) * 2 * PAGE) {
        unsigned index = (value - ENDS) / (2 * PAGE);
        printf("end:");
        print_path(index < (unsigned)path_count ? paths[index] : "unterminated");
    } else if (value >= STRUCTS && value < STRUCTS + (unsigned long)struct_count * STRUCT_SLOT) {
        printf("struct%lu+%#lx", (value - STRUCTS) / STRUCT_SLOT, (value - STRUCTS) % STRUCT_SLOT);
    } else if (value >= BUFFER && value <= BUFFER + BUFFER_SIZE) {
        printf("buffer+%#lx", value - BUFFER);
    } else {
        printf("%#lx", value);
    }
}

static void print_outcome(const struct outcome *o, const char *instead)
{
    printf("%s %ld(", o->abi == 80 ? "i386" : "x86_64", o->nr);
    for (int i = 0; i < 6; i++) {
        if (i)
            printf(", ");
        print_argument(o->args[i]);
    }
    printf(") = ");
    if (instead)
        printf("%s\n", instead);
    else if (o->skipped)
        printf("skipped\n");
    else if (o->result < 0 && o->result >= -4095)
        printf("%s\n", strerrorname_np(-o->result) ? strerrorname_np(-o->result) : "unknown errno");
    else if (!is_exec(o->abi, o->nr))
        printf("ok\n");
    else if (o->result >= EXIT_SIGNAL)
        printf("killed by %ld\n", o->result - EXIT_SIGNAL);
    else
        printf("exited with %ld\n", o->result - EXIT_STATUS);
}

/* Waits for the child's end; what is said of the call it was at. */
static const char *watch(pid_t pid)
{
    static char said[32];
    sigset_t chld;
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    int last = -1, waited = 0, killed = 0;
    for (;;) {
        int status;
        pid_t ended;
        /* CLONE_PARENT makes others our children, too. */
        while ((ended = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
            if (ended != pid)
                continue;
            kill(-pid, SIGKILL);
            if (killed)
                return "hangs";
            if (!WIFSIGNALED(status))
                return NULL;
            snprintf(said, sizeof said, "killed by %d", WTERMSIG(status));
            return said;
        }
        struct timespec tick = {0, 10 * 1000 * 1000};
        if (sigtimedwait(&chld, NULL, &tick) >= 0)
            continue;
        waited = shared->at == last ? waited + 10 : 0;
        last = shared->at;
        if (waited > PATIENCE && !killed) {
            killed = 1;
            waited = 0;
            kill(-pid, SIGKILL);
            kill(pid, SIGKILL);
        } else if (waited > PATIENCE) {
            print_outcome(&shared->outcomes[last < 0 ? 0 : last], "cannot be killed");
            fflush(stdout);
            _exit(3);
        }
    }
}

static void *region(unsigned long at, size_t size)
{
    void *got = mmap((void *)at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (got != (void *)at)
        die("mmap");
    return got;
}

static void add_path(const char *text)
{
    if (path_count == (int)(sizeof paths / sizeof *paths))
        die("too many paths");
    paths[path_count++] = text;
}

static void add_below(const char *base, const char *name)
{
    char *text;
    if (asprintf(&text, "%s%s", base, name) < 0)
        die("asprintf");
    add_path(text);
}

static void add_repeated(const char *piece, int length)
{
    char *text = malloc(length + 1);
    for (int i = 0; i < length; i++)
        text[i] = piece[i % strlen(piece)];
    text[length] = 0;
    add_path(text);
}

static void make_paths(int extras, char **extra)
{
    /* The first 16 are names of attributes and the like. */
    static const char *const texts[] = {"user.x", "user.", "security.capability", "trusted.x", "system.posix_acl_access", "", "vufs", "vufusenull", "vudevnull",
                                        "bind", "a=b,\"c", "except=/sub", "tmpfs", "none", "file"};
    static const char *const relative[] = {
        ".", "..", "../..", "/", "//", "/.", "/..", "dir", "dir/", "dir/file", "dir/.", "dir/..", "dir/sub/../file", "./file", "link", "link/", "dirlink",
        "dirlink/", "dirlink/file", "dirlink/..", "dirlink/../file", "dangling", "dangling/", "loop", "loop/x", "missing", "missing/x", "missing/", "file/",
        "file/.", "file/x", "file/..", "script", "script2", "script3", "elf", "unreadable", "magic", "absolute", "absolute/file", "new", "new/",
        "/etc/passwd", "/etc", "/proc/self", "/proc/self/exe", "/proc/self/cwd", "/proc/self/cwd/file", "/proc/self/fd/10", "/proc/self/fd/11/file",
        "/proc/self/fd/13", "/proc/self/root/etc", "/proc/thread-self/cwd/file", "/proc/self/maps", "/proc/1/cwd", "/dev/null", "/dev/fd/11", "/bin/true",
        "/missing/x"};
    static const char *const absolute[] = {"", "/", "/file", "/dir", "/dir/", "/dir/file", "/missing", "/dir/new", "/dirlink/file", "/dir/../file"};
    for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++)
        add_path(texts[i]);
    add_repeated("user.x", 256);
    for (unsigned i = 0; i < sizeof relative / sizeof *relative; i++)
        add_path(relative[i]);
    for (unsigned i = 0; i < sizeof absolute / sizeof *absolute; i++)
        add_below(scratch, absolute[i]);
    add_repeated("x", 255);
    add_repeated("./", 4095);
    add_repeated("./", 4096);
    add_repeated("/", 4094);
    add_repeated("x", 5000);
    add_repeated("dir/../", 4088);
    add_path("\xff\x01\n");
    for (int i = 0; i < extras; i++) {
        add_below(extra[i], "");
        add_below(extra[i], "/file");
        add_below(extra[i], "/..");
    }
    char *strings = region(STRINGS, (size_t)path_count * SLOT);
    char *ends = region(ENDS, (size_t)(path_count + 2) * 2 * PAGE);
    for (int i = 0; i < path_count; i++) {
        strcpy(strings + (size_t)i * SLOT, paths[i]);
        size_t length = strnlen(paths[i], PAGE - 1);
        char *end = ends + (size_t)i * 2 * PAGE + PAGE;
        memcpy(end - length - 1, paths[i], length);
        munmap(end, PAGE);
    }
    memset(ends + (size_t)path_count * 2 * PAGE, 'a', PAGE);
    munmap(ends + (size_t)path_count * 2 * PAGE + PAGE, 3 * PAGE);
    mprotect(strings, (size_t)path_count * SLOT, PROT_READ);
}

static char *structs;

static void *next_struct(void) { return structs + (size_t)struct_count++ * STRUCT_SLOT; }

static void vectors(int count, unsigned long base, unsigned long step, unsigned long length)
{
    struct iovec *v = next_struct();
    for (int i = 0; i < count; i++)
        v[i] = (struct iovec){(void *)(base + i * step), length};
}

static void address(int family, const char *name, size_t length)
{
    struct sockaddr_un *a = next_struct();
    a->sun_family = family;
    memcpy(a->sun_path, name, length < 200 ? length : 200);
}

static void how(uint64_t flags, uint64_t mode, uint64_t resolve, uint64_t behind)
{
    uint64_t *h = next_struct();
    h[0] = flags, h[1] = mode, h[2] = resolve, h[3] = behind;
}

static void times(long a, long b, long c, long d)
{
    long *t = next_struct();
    t[0] = a, t[1] = b, t[2] = c, t[3] = d;
}

static void words(const unsigned long *from, unsigned count, unsigned repeat)
{
    unsigned long *to = next_struct();
    for (unsigned i = 0; i < count * repeat; i++)
        to[i] = from[i % count];
}

static void make_structs(void)
{
    enum { SLOTS = 40 };
    structs = region(STRUCTS, (size_t)SLOTS * STRUCT_SLOT);
    vectors(8, BUFFER, 64, 16);
    vectors(1, BUFFER + BUFFER_SIZE - 8, 0, 64);
    vectors(8, 0xdead0000, 8, 64);
    vectors(1024, BUFFER, 1, 1);
    vectors(1025, BUFFER, 1, 1);
    vectors(4, BUFFER, 0, 0x7fffffff);
    vectors(4, BUFFER, 0, ~0ul);
    vectors(4, string_at(3), SLOT, 8);
    address(AF_UNIX, "sock", 5);
    address(AF_UNIX, "dir/sock", 9);
    address(AF_UNIX, scratch, strlen(scratch) + 1);
    address(AF_UNIX, "dirlink/../file", 16);
    address(AF_UNIX, "\0abstract", 10);
    address(AF_UNIX, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 125);
    address(AF_UNIX, "", 1);
    address(AF_UNSPEC, "file", 5);
    address(0x7fff, "file", 5);
    how(O_NONBLOCK, 0, 0, 0);
    how(O_NONBLOCK | O_RDWR | O_CREAT, 0600, RESOLVE_IN_ROOT, 0);
    how(O_NONBLOCK, 0, RESOLVE_BENEATH, 0);
    how(O_NONBLOCK | O_PATH, 0, RESOLVE_NO_SYMLINKS, 0);
    how(O_NONBLOCK, 0, RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV, 0);
    how(O_NONBLOCK, 0, RESOLVE_BENEATH | RESOLVE_IN_ROOT, 0);
    how(~0ul, 0, 0, 0);
    how(O_NONBLOCK, ~0ul, ~0ul, 0);
    how(O_NONBLOCK, 0, 0, 1);
    times(0, 0, 0, 0);
    times(1000000000, 5, 1000000001, 999999999);
    times(0, UTIME_NOW, 0, UTIME_OMIT);
    times(0, 1000000000, -1, -1);
    words((unsigned long[]){string_at(14), string_at(5), string_at(9), 0}, 4, 1);
    words((unsigned long[]){string_at(14), 0xdead0000, 0}, 3, 1);
    words((unsigned long[]){string_at(14)}, 1, STRUCT_SLOT / 8);
    words((unsigned long[]){0, 0, 0, 0, SIGCHLD, 0, 0, 0, 0, 0, 0}, 11, 1);
    words((unsigned long[]){CLONE_VM | CLONE_VFORK, 0, 0, 0, SIGCHLD, 0, 0, 0, 0, 0, 0}, 11, 1);
    words((unsigned long[]){CLONE_UNTRACED | CLONE_PIDFD, BUFFER, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 11, 1);
    words((unsigned long[]){CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, 0, BUFFER, BUFFER + 8, 0, BUFFER, 4096, 0, 0, 0, 0}, 11, 1);
    words((unsigned long[]){~0ul, ~0ul, ~0ul, ~0ul, SIGCHLD, ~0ul, ~0ul, ~0ul, ~0ul, ~0ul, ~0ul}, 11, 1);
    uint32_t *narrow = next_struct();
    narrow[0] = string_at(14), narrow[1] = string_at(5), narrow[2] = 0;
    struct msghdr *message = next_struct();
    message->msg_name = (void *)(STRUCTS + 8ul * STRUCT_SLOT);
    message->msg_namelen = sizeof(struct sockaddr_un);
    message->msg_iov = (void *)STRUCTS;
    message->msg_iovlen = 1;
    if (struct_count != SLOTS)
        die("SLOTS is wrong");
    mprotect(structs, (size_t)SLOTS * STRUCT_SLOT, PROT_READ);
}

static void skip(bool *which, char *numbers)
{
    for (char *number = strtok(numbers, ","); number; number = strtok(NULL, ","))
        if (atoi(number) >= 0 && atoi(number) < NUMBERS)
            which[atoi(number)] = true;
}

/* Reads all; false at the end of the input. */
static bool take(void *to, size_t length)
{
    size_t got = fread(to, 1, length, stdin);
    if (got != 0 && got != length)
        die("the input ends early");
    return got == length;
}

int main(int argc, char **argv)
{
    static unsigned char record[RECORD];
    int option;
    while ((option = getopt(argc, argv, "s:i:")) != -1) {
        if (option != 's' && option != 'i')
            return 2;
        skip(option == 's' ? skip64 : skip80, optarg);
    }
    if (optind == argc)
        return 2;
    top = argv[optind];
    char *below;
    if (asprintf(&below, "%s%s", top, levels) < 0)
        die("asprintf");
    scratch = below;
    int extras = argc - optind - 1;
    char **extra = argv + optind + 1;
    keep(top);
    for (int i = 0; i < extras; i++)
        keep(extra[i]);
    make_paths(extras, extra);
    make_structs();
    region(BUFFER, BUFFER_SIZE + PAGE);
    munmap((void *)(BUFFER + BUFFER_SIZE), PAGE);
    shared = mmap((void *)SHARED, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (shared == MAP_FAILED)
        die("mmap");
    sigset_t chld;
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &chld, NULL);
    uint32_t count;
    while (take(&count, sizeof count)) {
        if (count > BATCH_MAX) {
            fputs("a batch is too long\n", stderr);
            return 2;
        }
        shared->count = count;
        shared->at = 0;
        bool mounts = false;
        for (uint32_t i = 0; i < count; i++) {
            if (!take(record, sizeof record))
                return 2;
            decode(record, &shared->outcomes[i]);
            mounts |= !shared->outcomes[i].skipped && is_mount(&shared->outcomes[i]);
        }
        tidy(false);
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0 && count == 0) {
            execl("/bin/true", "true", NULL);
            _exit(127);
        }
        if (pid == 0)
            child(extras, extra);
        if (pid < 0)
            die("fork");
        if (count == 0) {
            int status;
            if (waitpid(pid, &status, 0) != pid || status != 0) {
                printf("/bin/true gives %#x\n", status);
                return 2;
            }
        } else {
            const char *said = watch(pid);
            uint32_t i = 0;
            for (; i < count && shared->outcomes[i].done; i++)
                print_outcome(&shared->outcomes[i], NULL);
            if (i < count)
                print_outcome(&shared->outcomes[i], said ? said : "ends the caller");
            tidy(mounts);
        }
        puts(".");
        fflush(stdout);
    }
    return 0;
}
