//! The calls that run in the kernel unseen, each with the reason.

use super::Row;

const REAL: &str = "a virtual descriptor is a real one of the kernel, so its own call does it";
const OWN_MEMORY: &str = "concerns the memory of the process; no name of a file is involved";
const WAITS: &str = "waits on real descriptors, virtual files included";
const EXISTS: &str =
    "works on a socket that exists; addresses that are paths were handled when it was bound or connected";
const PROCESS_IDS: &str = "process ids and their relations are not virtual";
const VIRTUAL_PTRACE: &str = "between processes of the view it is virtual: umvu, whom the kernel takes for their tracer, does on the debugger's behalf what it asks, and wait4 and waitid of debuggers tell of it; PTRACE_O_TRACESECCOMP is refused, 32-bit debuggers get ENOSYS";
const FOLLOWED: &str = "umvu follows every birth, exec and death by ptrace, so the child is in the view, too";
const SIGNAL: &str = "signals are the kernel's; umvu passes them on";
const SCHEDULER: &str = "scheduling is not virtual";
const LIMITS: &str = "limits and accounting are the kernel's";
const CLOCK: &str = "time is not virtual";
const SYSV: &str = "keys and names of IPC objects are not paths";
const SYNC: &str = "no virtual file holds back data, so there is nothing else to write";
const MACHINE: &str = "concerns the machine, which is the host's; takes privileges of the host";
const GONE: &str = "Linux has no such call any more, or never had: ENOSYS";

/// The data plane. It is never looked at: that is why virtual files are backed by real ones.
pub(super) const DATA: &[Row] = &[
    Row::host(0, "read", REAL),
    Row::host(1, "write", REAL),
    Row::host(17, "pread64", REAL),
    Row::host(18, "pwrite64", REAL),
    Row::host(19, "readv", REAL),
    Row::host(20, "writev", REAL),
    Row::host(295, "preadv", REAL),
    Row::host(296, "pwritev", REAL),
    Row::host(327, "preadv2", REAL),
    Row::host(328, "pwritev2", REAL),
    Row::host(8, "lseek", REAL),
    Row::host(40, "sendfile", REAL),
    Row::host(275, "splice", REAL),
    Row::host(276, "tee", REAL),
    Row::host(278, "vmsplice", REAL),
    Row::host(326, "copy_file_range", REAL),
    Row::host(285, "fallocate", REAL),
    Row::host(221, "fadvise64", REAL),
    Row::host(187, "readahead", REAL),
    Row::host(451, "cachestat", REAL),
    Row::host(206, "io_setup", "asynchronous reads and writes work on real descriptors; nothing is opened"),
    Row::host(207, "io_destroy", "see io_setup"),
    Row::host(208, "io_getevents", "see io_setup"),
    Row::host(209, "io_submit", "see io_setup"),
    Row::host(210, "io_cancel", "see io_setup"),
    Row::host(333, "io_pgetevents", "see io_setup"),
    Row::host(162, "sync", SYNC),
    Row::host(306, "syncfs", SYNC),
    Row::host(277, "sync_file_range", SYNC),
];

/// Descriptors as such.
pub(super) const DESCRIPTORS: &[Row] = &[
    Row::host(3, "close", REAL),
    Row::host(436, "close_range", REAL),
    Row::host(32, "dup", REAL),
    Row::host(33, "dup2", REAL),
    Row::host(292, "dup3", REAL),
    Row::host(73, "flock", REAL),
    Row::host(22, "pipe", REAL),
    Row::host(293, "pipe2", REAL),
    Row::host(438, "pidfd_getfd", "the copy is the same open file, and is recognised as such wherever it goes"),
    Row::host(319, "memfd_create", "a file without a path"),
    Row::host(447, "memfd_secret", "a file without a path"),
    Row::host(443, "quotactl_fd", "names the file system by a descriptor, and takes no paths (Q_QUOTAON is EINVAL)"),
    Row::host(312, "kcmp", "compares what the kernel holds; virtual descriptors are real ones"),
];

/// Sockets, once they are there.
pub(super) const SOCKETS: &[Row] = &[
    Row::host(48, "shutdown", EXISTS),
    Row::host(50, "listen", EXISTS),
    Row::host(54, "setsockopt", EXISTS),
    Row::host(53, "socketpair", "connects the caller to itself; no address is involved"),
];

/// Waiting.
pub(super) const EVENTS: &[Row] = &[
    Row::host(7, "poll", WAITS),
    Row::host(271, "ppoll", WAITS),
    Row::host(23, "select", WAITS),
    Row::host(270, "pselect6", WAITS),
    Row::host(213, "epoll_create", WAITS),
    Row::host(291, "epoll_create1", WAITS),
    Row::host(233, "epoll_ctl", WAITS),
    Row::host(232, "epoll_wait", WAITS),
    Row::host(281, "epoll_pwait", WAITS),
    Row::host(441, "epoll_pwait2", WAITS),
    Row::host(282, "signalfd", "makes or serves a descriptor of the kernel without a path"),
    Row::host(289, "signalfd4", "makes or serves a descriptor of the kernel without a path"),
    Row::host(284, "eventfd", "makes or serves a descriptor of the kernel without a path"),
    Row::host(290, "eventfd2", "makes or serves a descriptor of the kernel without a path"),
    Row::host(283, "timerfd_create", "makes or serves a descriptor of the kernel without a path"),
    Row::host(286, "timerfd_settime", "makes or serves a descriptor of the kernel without a path"),
    Row::host(287, "timerfd_gettime", "makes or serves a descriptor of the kernel without a path"),
    Row::host(253, "inotify_init", "makes or serves a descriptor of the kernel without a path"),
    Row::host(294, "inotify_init1", "makes or serves a descriptor of the kernel without a path"),
    Row::host(255, "inotify_rm_watch", "makes or serves a descriptor of the kernel without a path"),
    Row::host(323, "userfaultfd", "makes or serves a descriptor of the kernel without a path"),
    Row::host(202, "futex", "synchronises threads in memory they share"),
    Row::host(449, "futex_waitv", "synchronises threads in memory they share"),
    Row::host(454, "futex_wake", "synchronises threads in memory they share"),
    Row::host(455, "futex_wait", "synchronises threads in memory they share"),
    Row::host(456, "futex_requeue", "synchronises threads in memory they share"),
    Row::host(273, "set_robust_list", "synchronises threads in memory they share"),
    Row::host(274, "get_robust_list", "synchronises threads in memory they share"),
    Row::host(324, "membarrier", "synchronises threads in memory they share"),
    Row::host(334, "rseq", "synchronises threads in memory they share"),
];

/// Memory.
pub(super) const MEMORY: &[Row] = &[
    Row::host(9, "mmap", "maps real descriptors, so shared mappings of virtual files are the kernel's"),
    Row::host(10, "mprotect", OWN_MEMORY),
    Row::host(11, "munmap", OWN_MEMORY),
    Row::host(12, "brk", OWN_MEMORY),
    Row::host(25, "mremap", OWN_MEMORY),
    Row::host(27, "mincore", OWN_MEMORY),
    Row::host(28, "madvise", OWN_MEMORY),
    Row::host(149, "mlock", OWN_MEMORY),
    Row::host(325, "mlock2", OWN_MEMORY),
    Row::host(150, "munlock", OWN_MEMORY),
    Row::host(151, "mlockall", OWN_MEMORY),
    Row::host(152, "munlockall", OWN_MEMORY),
    Row::host(216, "remap_file_pages", OWN_MEMORY),
    Row::host(237, "mbind", OWN_MEMORY),
    Row::host(238, "set_mempolicy", OWN_MEMORY),
    Row::host(239, "get_mempolicy", OWN_MEMORY),
    Row::host(450, "set_mempolicy_home_node", OWN_MEMORY),
    Row::host(256, "migrate_pages", OWN_MEMORY),
    Row::host(279, "move_pages", OWN_MEMORY),
    Row::host(329, "pkey_mprotect", OWN_MEMORY),
    Row::host(330, "pkey_alloc", OWN_MEMORY),
    Row::host(331, "pkey_free", OWN_MEMORY),
    Row::host(440, "process_madvise", OWN_MEMORY),
    Row::host(448, "process_mrelease", OWN_MEMORY),
    Row::host(453, "map_shadow_stack", OWN_MEMORY),
    Row::host(462, "mseal", OWN_MEMORY),
    Row::host(310, "process_vm_readv", OWN_MEMORY),
    Row::host(311, "process_vm_writev", OWN_MEMORY),
    Row::host(26, "msync", SYNC),
];

/// Processes.
pub(super) const PROCESSES: &[Row] = &[
    Row::host(56, "clone", FOLLOWED),
    Row::host(57, "fork", FOLLOWED),
    Row::host(58, "vfork", FOLLOWED),
    Row::host(435, "clone3", FOLLOWED),
    Row::host(60, "exit", FOLLOWED),
    Row::host(231, "exit_group", FOLLOWED),
    Row::host(61, "wait4", PROCESS_IDS),
    Row::host(247, "waitid", PROCESS_IDS),
    Row::host(39, "getpid", PROCESS_IDS),
    Row::host(110, "getppid", PROCESS_IDS),
    Row::host(186, "gettid", PROCESS_IDS),
    Row::host(109, "setpgid", PROCESS_IDS),
    Row::host(121, "getpgid", PROCESS_IDS),
    Row::host(111, "getpgrp", PROCESS_IDS),
    Row::host(112, "setsid", PROCESS_IDS),
    Row::host(124, "getsid", PROCESS_IDS),
    Row::host(218, "set_tid_address", PROCESS_IDS),
    Row::host(434, "pidfd_open", PROCESS_IDS),
    Row::host(101, "ptrace", VIRTUAL_PTRACE),
    Row::host(158, "arch_prctl", "registers of the caller itself"),
    Row::host(154, "modify_ldt", "segments of the caller itself"),
    Row::host(135, "personality", "attributes of the caller itself, kept by the kernel"),
    Row::host(317, "seccomp", "a filter of the program stands beside umvu's; the stricter verdict wins"),
    Row::host(444, "landlock_create_ruleset", "rules about the host's files, named by real descriptors"),
    Row::host(335, "uretprobe", "only for code that the kernel itself puts into a process"),
    Row::host(336, "uprobe", "only for code that the kernel itself puts into a process"),
    Row::host(97, "getrlimit", LIMITS),
    Row::host(160, "setrlimit", LIMITS),
    Row::host(302, "prlimit64", LIMITS),
    Row::host(98, "getrusage", LIMITS),
    Row::host(100, "times", LIMITS),
];

/// Signals.
pub(super) const SIGNALS: &[Row] = &[
    Row::host(13, "rt_sigaction", SIGNAL),
    Row::host(14, "rt_sigprocmask", SIGNAL),
    Row::host(15, "rt_sigreturn", SIGNAL),
    Row::host(127, "rt_sigpending", SIGNAL),
    Row::host(128, "rt_sigtimedwait", SIGNAL),
    Row::host(129, "rt_sigqueueinfo", SIGNAL),
    Row::host(130, "rt_sigsuspend", SIGNAL),
    Row::host(131, "sigaltstack", SIGNAL),
    Row::host(297, "rt_tgsigqueueinfo", SIGNAL),
    Row::host(34, "pause", SIGNAL),
    Row::host(62, "kill", SIGNAL),
    Row::host(200, "tkill", SIGNAL),
    Row::host(234, "tgkill", SIGNAL),
    Row::host(424, "pidfd_send_signal", SIGNAL),
    Row::host(219, "restart_syscall", "the kernel's own way back into a call that a signal interrupted"),
];

/// Who a process is.
pub(super) const SECURITY: &[Row] = &[
    Row::host(459, "lsm_get_self_attr", "security labels are the host's"),
    Row::host(460, "lsm_set_self_attr", "security labels are the host's"),
    Row::host(461, "lsm_list_modules", "security labels are the host's"),
    Row::host(248, "add_key", "keys are the kernel's, and their names are no paths"),
    Row::host(249, "request_key", "keys are the kernel's, and their names are no paths"),
    Row::host(250, "keyctl", "keys are the kernel's, and their names are no paths"),
];

/// Scheduling.
pub(super) const SCHEDULING: &[Row] = &[
    Row::host(24, "sched_yield", SCHEDULER),
    Row::host(142, "sched_setparam", SCHEDULER),
    Row::host(143, "sched_getparam", SCHEDULER),
    Row::host(144, "sched_setscheduler", SCHEDULER),
    Row::host(145, "sched_getscheduler", SCHEDULER),
    Row::host(146, "sched_get_priority_max", SCHEDULER),
    Row::host(147, "sched_get_priority_min", SCHEDULER),
    Row::host(148, "sched_rr_get_interval", SCHEDULER),
    Row::host(314, "sched_setattr", SCHEDULER),
    Row::host(315, "sched_getattr", SCHEDULER),
    Row::host(140, "getpriority", SCHEDULER),
    Row::host(141, "setpriority", SCHEDULER),
    Row::host(251, "ioprio_set", SCHEDULER),
    Row::host(252, "ioprio_get", SCHEDULER),
    Row::host(309, "getcpu", SCHEDULER),
];

/// Clocks and timers.
pub(super) const TIME: &[Row] = &[
    Row::host(35, "nanosleep", CLOCK),
    Row::host(230, "clock_nanosleep", CLOCK),
    Row::host(36, "getitimer", CLOCK),
    Row::host(38, "setitimer", CLOCK),
    Row::host(37, "alarm", CLOCK),
    Row::host(96, "gettimeofday", CLOCK),
    Row::host(164, "settimeofday", CLOCK),
    Row::host(201, "time", CLOCK),
    Row::host(159, "adjtimex", CLOCK),
    Row::host(305, "clock_adjtime", CLOCK),
    Row::host(227, "clock_settime", CLOCK),
    Row::host(228, "clock_gettime", CLOCK),
    Row::host(229, "clock_getres", CLOCK),
    Row::host(222, "timer_create", CLOCK),
    Row::host(223, "timer_settime", CLOCK),
    Row::host(224, "timer_gettime", CLOCK),
    Row::host(225, "timer_getoverrun", CLOCK),
    Row::host(226, "timer_delete", CLOCK),
];

/// Inter-process communication.
pub(super) const IPC: &[Row] = &[
    Row::host(29, "shmget", SYSV),
    Row::host(30, "shmat", SYSV),
    Row::host(31, "shmctl", SYSV),
    Row::host(67, "shmdt", SYSV),
    Row::host(64, "semget", SYSV),
    Row::host(65, "semop", SYSV),
    Row::host(66, "semctl", SYSV),
    Row::host(220, "semtimedop", SYSV),
    Row::host(68, "msgget", SYSV),
    Row::host(69, "msgsnd", SYSV),
    Row::host(70, "msgrcv", SYSV),
    Row::host(71, "msgctl", SYSV),
    Row::host(240, "mq_open", SYSV),
    Row::host(241, "mq_unlink", SYSV),
    Row::host(242, "mq_timedsend", SYSV),
    Row::host(243, "mq_timedreceive", SYSV),
    Row::host(244, "mq_notify", SYSV),
    Row::host(245, "mq_getsetattr", SYSV),
];

/// The machine and the kernel.
pub(super) const SYSTEM: &[Row] = &[
    Row::host(63, "uname", "the names of the host; vuname tells those of the view"),
    Row::host(99, "sysinfo", MACHINE),
    Row::host(103, "syslog", MACHINE),
    Row::host(153, "vhangup", MACHINE),
    Row::host(169, "reboot", MACHINE),
    Row::host(170, "sethostname", MACHINE),
    Row::host(171, "setdomainname", MACHINE),
    Row::host(172, "iopl", MACHINE),
    Row::host(173, "ioperm", MACHINE),
    Row::host(175, "init_module", MACHINE),
    Row::host(176, "delete_module", MACHINE),
    Row::host(313, "finit_module", MACHINE),
    Row::host(246, "kexec_load", MACHINE),
    Row::host(320, "kexec_file_load", MACHINE),
    Row::host(298, "perf_event_open", MACHINE),
    Row::host(136, "ustat", "names the file system by its device number"),
    Row::host(139, "sysfs", "lists the types of file systems of the host's kernel"),
    Row::host(470, "listns", "namespaces are the kernel's"),
    Row::host(318, "getrandom", "random bytes"),
    Row::host(
        321,
        "bpf",
        "programs for the host's kernel; the paths of BPF_OBJ_PIN and BPF_OBJ_GET are the host's, and lead to objects of bpf only, not to files",
    ),
    Row::host(212, "lookup_dcookie", "for the host's profiler; Linux 6.7 removed it"),
];

/// Reserved or removed.
pub(super) const ABSENT: &[Row] = &[
    Row::host(134, "uselib", GONE),
    Row::host(156, "_sysctl", GONE),
    Row::host(174, "create_module", GONE),
    Row::host(177, "get_kernel_syms", GONE),
    Row::host(178, "query_module", GONE),
    Row::host(180, "nfsservctl", GONE),
    Row::host(181, "getpmsg", GONE),
    Row::host(182, "putpmsg", GONE),
    Row::host(183, "afs_syscall", GONE),
    Row::host(184, "tuxcall", GONE),
    Row::host(185, "security", GONE),
    Row::host(205, "set_thread_area", GONE),
    Row::host(211, "get_thread_area", GONE),
    Row::host(214, "epoll_ctl_old", GONE),
    Row::host(215, "epoll_wait_old", GONE),
    Row::host(236, "vserver", GONE),
];
