//! Installs filters in a child, in the real kernel, and looks at what becomes of the child's calls.
//!
//! The child makes its calls one after the other; the parent is its tracer and, in a second thread, its supervisor. Both answer with a mark of
//! their own, so a call's result tells which verdict it met.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "numbers of a test of raw system calls"
)]

use std::{
    arch::asm,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr,
    sync::atomic::{AtomicI64, Ordering},
    thread,
};
use vu_api::Errno;
use vu_trace::{
    Listener, Received,
    filter::{Calls, FilterError, FilterSpec, Rule, When, X32, compile},
};

const COOKIE: u64 = 0x5eed_c0de_8000_0001;

/// What the tracer and the supervisor answer.
const TRACED: i64 = 0x7ace_0000;
const NOTIFIED: i64 = 0x0707_1f1e;

/// What became of a call.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// The kernel (or the filter's refusal) gave this result.
    Result(i64),
    /// It came to the tracer, with this message.
    Traced(i64),
    /// It came to the supervisor.
    Notified,
}

const fn failed(errno: Errno) -> Fate {
    Fate::Result(errno.as_result())
}

#[derive(Clone, Copy)]
enum Entry {
    Syscall,
    Int80,
}
use Entry::{Int80, Syscall};

type Attempt = (Entry, i64, [u64; 6]);

/// What child and parent share.
struct Shared {
    listener: AtomicI64,
    results: [AtomicI64; 64],
}

/// Makes one call.
///
/// # Safety
/// The call must not touch memory or state of this process that anything relies on.
unsafe fn enter((entry, nr, args): Attempt) -> i64 {
    let result: i64;
    match entry {
        // SAFETY: by the caller; `syscall` changes rax, rcx and r11 only.
        Syscall => unsafe {
            asm!("syscall", inlateout("rax") nr => result, in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
                in("r10") args[3], in("r8") args[4], in("r9") args[5], lateout("rcx") _, lateout("r11") _);
        },
        // SAFETY: by the caller; rbx and rbp, which Rust keeps for itself, are restored, and r8–r11 are given up, since older kernels clear them.
        Int80 => unsafe {
            asm!("push rbx", "push rbp", "mov rbx, r8", "mov rbp, r9", "int 0x80", "pop rbp", "pop rbx",
                inlateout("rax") nr => result, inlateout("r8") args[0] => _, in("rcx") args[1], in("rdx") args[2],
                in("rsi") args[3], in("rdi") args[4], inlateout("r9") args[5] => _, lateout("r10") _, lateout("r11") _);
        },
    }
    result
}

fn no_new_privileges() {
    // SAFETY: plain numbers.
    unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
}

/// Installs a filter in the calling thread; the listener's descriptor, 0 if it has none, or a negative errno. Usable after fork.
fn install(program: &[libc::sock_filter], notifies: bool) -> i64 {
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    let flags = if notifies { libc::SECCOMP_FILTER_FLAG_NEW_LISTENER } else { 0 };
    // SAFETY: the program is alive; the kernel copies it.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    // SAFETY: errno of this thread.
    if result < 0 { -i64::from(unsafe { *libc::__errno_location() }) } else { result }
}

/// Installs the filters of the specs, in this order, in a child that then makes the calls.
fn fates(specs: &[FilterSpec], attempts: &[Attempt]) -> Vec<Fate> {
    let programs: Vec<_> = specs.iter().map(|spec| (compile(spec).unwrap(), notifies(spec))).collect();
    assert!(attempts.len() <= 64);
    // SAFETY: a new mapping of zeroes, which are valid atomics.
    let shared: &Shared = unsafe {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let page = libc::mmap(ptr::null_mut(), size_of::<Shared>(), libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        assert_ne!(page, libc::MAP_FAILED);
        &*page.cast()
    };

    // SAFETY: the child only makes system calls and writes to the shared mapping.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        no_new_privileges();
        // SAFETY: the attempts of this file pass null pointers and bad descriptors only; the rest are plain calls.
        unsafe {
            libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
            for (program, notifies) in &programs {
                let installed = install(program, *notifies);
                if *notifies || installed < 0 {
                    shared.listener.store(installed, Ordering::SeqCst);
                }
            }
            libc::raise(libc::SIGSTOP);
            for (attempt, result) in attempts.iter().zip(&shared.results) {
                result.store(enter(*attempt), Ordering::SeqCst);
            }
            libc::_exit(0)
        }
    }

    let mut status = 0;
    let mut messages = Vec::new();
    // SAFETY: waits for and traces our own child; the pointers are to locals of the right types.
    unsafe {
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        assert!(libc::WIFSTOPPED(status), "the child cannot be traced here: status {status:x}");
        let options = libc::PTRACE_O_TRACESECCOMP | libc::PTRACE_O_EXITKILL;
        assert_eq!(libc::ptrace(libc::PTRACE_SETOPTIONS, child, 0, options), 0);
    }
    let number = shared.listener.load(Ordering::SeqCst);
    assert!(number >= 0, "the kernel refuses the filter: {:?}", Errno::new(-number as i32));
    let supervisor = (number > 0).then(|| {
        // SAFETY: plain numbers; the result is a new descriptor of ours.
        let fd = unsafe {
            let pidfd = OwnedFd::from_raw_fd(libc::syscall(libc::SYS_pidfd_open, child, 0) as i32);
            OwnedFd::from_raw_fd(libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0) as i32)
        };
        thread::spawn(move || {
            let listener = Listener::new(fd);
            loop {
                match listener.receive() {
                    Received::Call(call) => listener.answer(call.id, NOTIFIED),
                    Received::Nothing => {}
                    Received::Ended => break,
                }
            }
        })
    });

    // SAFETY: as above.
    unsafe {
        loop {
            libc::ptrace(libc::PTRACE_CONT, child, 0, 0);
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
            if !libc::WIFSTOPPED(status) {
                break;
            }
            assert_eq!(status >> 8, libc::SIGTRAP | libc::PTRACE_EVENT_SECCOMP << 8, "an unexpected stop");
            let mut message = 0u64;
            libc::ptrace(libc::PTRACE_GETEVENTMSG, child, 0, &raw mut message);
            messages.push(message as i64);
            let mut registers: libc::user_regs_struct = std::mem::zeroed();
            libc::ptrace(libc::PTRACE_GETREGS, child, 0, &raw mut registers);
            registers.orig_rax = u64::MAX;
            registers.rax = TRACED as u64;
            libc::ptrace(libc::PTRACE_SETREGS, child, 0, &raw const registers);
        }
    }
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the child ended with {status:x}");
    if let Some(supervisor) = supervisor {
        supervisor.join().unwrap();
    }

    let mut messages = messages.into_iter();
    let fates = shared.results[..attempts.len()].iter().map(|result| match result.load(Ordering::SeqCst) {
        TRACED => Fate::Traced(messages.next().unwrap()),
        NOTIFIED => Fate::Notified,
        other => Fate::Result(other),
    });
    fates.collect()
}

fn notifies(spec: &FilterSpec) -> bool {
    !spec.x86_64.notify.is_empty() || !spec.i386.notify.is_empty()
}

fn always(nrs: &[i64]) -> Vec<Rule> {
    nrs.iter().map(|&nr| Rule { nr, when: When::Always }).collect()
}

fn spec() -> FilterSpec {
    FilterSpec { x86_64: Calls::default(), i386: Calls::default(), x32: X32::Allow, cookie: COOKIE, sites: Vec::new() }
}

const NONE: [u64; 6] = [0; 6];

/// i386 numbers (`asm/unistd_32.h`).
mod i386 {
    pub const MKDIR: i64 = 39;
    pub const RMDIR: i64 = 40;
    pub const MOUNT: i64 = 21;
    pub const SWAPON: i64 = 87;
    pub const GETPPID: i64 = 64;
}

#[test]
fn a_filter_without_rules_lets_everything_run() {
    let own = i64::from(std::process::id());
    let attempts = [
        (Syscall, libc::SYS_getppid, NONE),
        (Int80, i386::GETPPID, NONE),
        (Syscall, libc::SYS_mkdir, NONE),
        (Int80, i386::MKDIR, NONE),
        (Syscall, 600, NONE),
        (Int80, 600, NONE),
    ];
    let expected = [
        Fate::Result(own),
        Fate::Result(own),
        failed(Errno::EFAULT),
        failed(Errno::EFAULT),
        failed(Errno::ENOSYS),
        failed(Errno::ENOSYS),
    ];
    assert_eq!(fates(&[spec()], &attempts), expected);
}

#[test]
fn each_list_gives_its_verdict_and_the_entries_have_their_own_lists() {
    let mut spec = spec();
    spec.x86_64.trace = always(&[libc::SYS_mount, 0x7675]);
    spec.x86_64.notify = always(&[libc::SYS_mkdir, libc::SYS_truncate]);
    spec.x86_64.refuse = vec![
        (libc::SYS_swapon, Errno::EPERM),
        (libc::SYS_io_uring_setup, Errno::ENOSYS),
        (libc::SYS_acct, Errno::EPERM),
    ];
    spec.i386.trace = always(&[i386::MOUNT]);
    // 40 is sendfile of x86_64 and rmdir of i386; 39 is getpid and mkdir.
    spec.i386.notify = always(&[i386::RMDIR]);
    spec.i386.refuse = vec![(i386::SWAPON, Errno::ENOTTY)];
    let attempts = [
        (Syscall, libc::SYS_mount, NONE),
        (Syscall, 0x7675, NONE),
        (Syscall, libc::SYS_mkdir, NONE),
        (Syscall, libc::SYS_truncate, NONE),
        (Syscall, libc::SYS_swapon, NONE),
        (Syscall, libc::SYS_io_uring_setup, NONE),
        (Syscall, libc::SYS_acct, [1; 6]),
        (Syscall, libc::SYS_rmdir, NONE),
        (Syscall, i386::RMDIR, [u64::MAX, u64::MAX, 0, 0, 0, 0]),
        (Int80, i386::MOUNT, NONE),
        (Int80, i386::RMDIR, NONE),
        (Int80, i386::MKDIR, NONE),
        (Int80, i386::SWAPON, NONE),
        // symlink of i386.
        (Int80, libc::SYS_mkdir, NONE),
    ];
    let expected = [
        Fate::Traced(libc::SYS_mount),
        Fate::Traced(0x7675),
        Fate::Notified,
        Fate::Notified,
        failed(Errno::EPERM),
        failed(Errno::ENOSYS),
        failed(Errno::EPERM),
        failed(Errno::EFAULT),
        failed(Errno::EBADF),
        Fate::Traced(i386::MOUNT),
        Fate::Notified,
        failed(Errno::EFAULT),
        failed(Errno::ENOTTY),
        failed(Errno::EFAULT),
    ];
    assert_eq!(fates(&[spec], &attempts), expected);
}

#[test]
fn the_cookie_lets_pass_only_as_a_whole_and_only_by_the_64_bit_entry() {
    let mut spec = spec();
    spec.x86_64.notify =
        vec![Rule { nr: libc::SYS_mkdir, when: When::WithoutCookie }, Rule { nr: libc::SYS_rmdir, when: When::Always }];
    spec.i386.notify = vec![Rule { nr: i386::MKDIR, when: When::WithoutCookie }];
    let with = |cookie| [0, 0, 0, 0, 0, cookie];
    let attempts = [
        (Syscall, libc::SYS_mkdir, with(COOKIE)),
        (Syscall, libc::SYS_mkdir, with(COOKIE + 1)),
        (Syscall, libc::SYS_mkdir, with(COOKIE & 0xffff_ffff)),
        (Syscall, libc::SYS_mkdir, with(COOKIE & !0xffff_ffff)),
        (Syscall, libc::SYS_mkdir, [COOKIE, COOKIE, COOKIE, COOKIE, COOKIE, 0]),
        (Syscall, libc::SYS_rmdir, with(COOKIE)),
        (Int80, i386::MKDIR, with(COOKIE)),
    ];
    let mut expected = vec![failed(Errno::EFAULT)];
    expected.extend((0..6).map(|_| Fate::Notified));
    assert_eq!(fates(&[spec], &attempts), expected);
}

#[test]
fn an_argument_that_is_zero() {
    let mut spec = spec();
    spec.x86_64.notify = vec![Rule { nr: libc::SYS_sendto, when: When::ArgumentNotZero(4) }];
    let bad = u64::MAX;
    let attempts = [
        (Syscall, libc::SYS_sendto, [bad, 0, 0, 0, 0, 1]),
        (Syscall, libc::SYS_sendto, [bad, 0, 0, 0, 1, 0]),
        (Syscall, libc::SYS_sendto, [bad, 0, 0, 0, 1 << 32, 0]),
    ];
    assert_eq!(fates(&[spec], &attempts), [failed(Errno::EBADF), Fate::Notified, Fate::Notified]);
}

#[test]
fn numbers_that_no_call_has_go_to_the_kernel_and_x32_is_refused() {
    let mut spec = spec();
    spec.x32 = X32::Refuse;
    spec.x86_64.notify = always(&[libc::SYS_mkdir]);
    // With the bit, the number would be x32's mkdir: where the kernel has x32, "allowed" would show as EFAULT.
    let x32 = 0x4000_0000;
    let numbers = [x32 + libc::SYS_mkdir, x32 + 520, 600, 100_000, 0x7fff_ffff, i64::from(i32::MIN), -1, -2, 512, 547];
    let mut attempts = numbers.map(|nr| (Syscall, nr, NONE)).to_vec();
    attempts.extend([-1, 600, 100_000, x32 + i386::MKDIR].map(|nr| (Int80, nr, NONE)));
    for fate in fates(&[spec], &attempts) {
        assert_eq!(fate, failed(Errno::ENOSYS));
    }
}

#[test]
fn filters_stack() {
    let mut base = spec();
    base.x86_64.trace = always(&[libc::SYS_mount]);
    let mut path = spec();
    path.x86_64.notify = always(&[libc::SYS_mkdir]);
    let mut descriptor = spec();
    descriptor.x86_64.trace = always(&[libc::SYS_fsync]);
    let attempts = [
        (Syscall, libc::SYS_mount, NONE),
        (Syscall, libc::SYS_mkdir, NONE),
        (Syscall, libc::SYS_fsync, [u64::MAX; 6]),
        (Syscall, libc::SYS_fdatasync, [u64::MAX; 6]),
    ];
    let expected = [Fate::Traced(libc::SYS_mount), Fate::Notified, Fate::Traced(libc::SYS_fsync), failed(Errno::EBADF)];
    assert_eq!(fates(&[base, path, descriptor], &attempts), expected);
}

/// A filter of every number there is, in both entries, is one the kernel takes.
#[test]
fn room_for_every_call() {
    let mut spec = spec();
    let rule = |nr| Rule { nr, when: When::WithoutCookie };
    // These the child needs itself: exit_group, and what raise() calls.
    let kept = [libc::SYS_exit_group, libc::SYS_gettid, libc::SYS_getpid, libc::SYS_tgkill, libc::SYS_rt_sigprocmask];
    spec.x86_64.notify = (0..200).filter(|nr| !kept.contains(nr)).map(rule).collect();
    spec.i386.notify = (0..200).map(rule).collect();
    let attempts = [
        (Syscall, 199, NONE),
        (Syscall, libc::SYS_mkdir, [0, 0, 0, 0, 0, COOKIE]),
        (Int80, 199, NONE),
        (Syscall, libc::SYS_fadvise64, [u64::MAX; 6]),
    ];
    let expected = [Fate::Notified, failed(Errno::EFAULT), Fate::Notified, failed(Errno::EBADF)];
    assert_eq!(fates(&[spec], &attempts), expected);
}

#[test]
fn wrong_lists_are_refused() {
    let with = |refuse: &[i64], trace: &[i64]| {
        let mut spec = spec();
        spec.x86_64.refuse = refuse.iter().map(|&nr| (nr, Errno::EPERM)).collect();
        spec.x86_64.trace = always(trace);
        compile(&spec)
    };
    assert!(matches!(with(&[1], &[1]), Err(FilterError::Twice(1))));
    assert!(matches!(with(&[2, 2], &[]), Err(FilterError::Twice(2))));
    for nr in [-1, 0x4000_0000, 1 << 32] {
        assert!(matches!(with(&[], &[nr]), Err(FilterError::Number(refused)) if refused == nr));
    }
    let all: Vec<i64> = (0..1000).collect();
    assert!(matches!(with(&all, &[]), Err(FilterError::TooLong(_) | FilterError::Compile(_))));
    let mut bad_argument = spec();
    bad_argument.x86_64.notify = vec![Rule { nr: 1, when: When::ArgumentNotZero(6) }];
    assert!(matches!(compile(&bad_argument), Err(FilterError::Compile(_))));
}
