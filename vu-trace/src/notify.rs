//! seccomp user notification: the listener, what it hears and what it answers (seccomp_unotify(2)).

use crate::{handover, ptrace::Tid, verdict::NewDescriptor, x86_64::Abi};
use std::{
    mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
};
use vu_api::Errno;

/// `SECCOMP_IOCTL_NOTIF_SET_FLAGS` and its flag (`include/uapi/linux/seccomp.h`, Linux 6.6).
const SET_FLAGS: libc::c_ulong = 0x4008_2104;
const FD_SYNC_WAKE_UP: libc::c_ulong = 1;
const RECV: libc::c_ulong = 0xc050_2100;
const SEND: libc::c_ulong = 0xc018_2101;
const ID_VALID: libc::c_ulong = 0x4008_2102;
const ADDFD: libc::c_ulong = 0x4018_2103;
const FLAG_CONTINUE: u32 = 1;

/// The end of a filter at which its notifications arrive.
#[derive(Debug)]
pub struct Listener(OwnedFd);

/// A system call that waits for its verdict.
#[derive(Debug, Clone, Copy)]
pub struct Notification {
    /// Its identity.
    pub id: u64,
    /// Which thread made it.
    pub tid: Tid,
    /// By which entry; `None` for one that cannot be (and is answered with `ENOSYS`).
    pub abi: Option<Abi>,
    /// Its number.
    pub nr: i64,
    /// Its arguments.
    pub args: [u64; 6],
    /// The address behind the instruction that made it.
    pub instruction: u64,
}

/// What [`Listener::receive`] found.
#[derive(Debug)]
pub enum Received {
    /// A call.
    Call(Notification),
    /// Nothing this time: the caller died, or a signal came.
    Nothing,
    /// No process uses the filter any more.
    Ended,
}

fn ioctl<T>(fd: RawFd, request: libc::c_ulong, argument: *mut T) -> Result<i32, Errno> {
    // SAFETY: each request is paired below with the struct the kernel's header defines for it, alive through the call.
    let result = unsafe { libc::ioctl(fd, request, argument) };
    if result < 0 { Err(Errno::last()) } else { Ok(result) }
}

/// The same for a request about one call. It may have to wait, if only for the lock of the listener (`mutex_lock_interruptible`, `kernel/seccomp.c`): a signal that comes meanwhile, or being
/// frozen, makes it fail, which says nothing about that call, and it is made again.
fn persistent_ioctl<T>(fd: RawFd, request: libc::c_ulong, argument: *mut T) -> Result<i32, Errno> {
    loop {
        match ioctl(fd, request, argument) {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Listener {
    /// Takes the descriptor that `SECCOMP_FILTER_FLAG_NEW_LISTENER` gave.
    #[must_use]
    pub fn new(fd: OwnedFd) -> Listener {
        // A caller and its supervisor take turns, so waking the other one on the same core is best. Kernels before 6.6 know no
        // such flag and are merely slower.
        // SAFETY: this request takes its argument by value.
        let _ = unsafe { libc::ioctl(fd.as_raw_fd(), SET_FLAGS, FD_SYNC_WAKE_UP) };
        Listener(fd)
    }

    /// Waits for the next call.
    #[must_use]
    pub fn receive(&self) -> Received {
        // SAFETY: all-zero is a valid value of this struct of integers, and what the kernel demands (EINVAL otherwise).
        let mut raw: libc::seccomp_notif = unsafe { mem::zeroed() };
        match ioctl(self.0.as_raw_fd(), RECV, &raw mut raw) {
            Ok(_) => Received::Call(Notification {
                id: raw.id,
                tid: Tid(raw.pid.cast_signed()),
                abi: Abi::from_audit_arch(raw.data.arch),
                nr: i64::from(raw.data.nr),
                args: raw.data.args,
                instruction: raw.data.instruction_pointer,
            }),
            // ENOENT: the caller died.
            Err(Errno::ENOENT | Errno::EINTR | Errno::EAGAIN | Errno::ENOMEM) if !self.ended() => Received::Nothing,
            Err(_) => Received::Ended,
        }
    }

    /// Whether no process uses the filter any more.
    fn ended(&self) -> bool {
        let mut poll = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // A poll that fails, by a signal say, tells nothing.
        // SAFETY: one pollfd, as the count says.
        unsafe { libc::poll(&raw mut poll, 1, 0) };
        poll.revents & (libc::POLLHUP | libc::POLLNVAL | libc::POLLERR) != 0
    }

    /// Whether the call still waits; if not, its thread may be gone and its number be another's.
    #[must_use]
    pub fn waits(&self, id: u64) -> bool {
        let mut id = id;
        persistent_ioctl(self.0.as_raw_fd(), ID_VALID, &raw mut id).is_ok()
    }

    /// Lets the call run in the kernel.
    pub fn let_run(&self, id: u64) {
        self.send(id, 0, 0, FLAG_CONTINUE);
    }

    /// Answers the call. A negative result is an errno, as at the system call interface.
    pub fn answer(&self, id: u64, result: i64) {
        self.answer_if_waiting(id, result);
    }

    /// The same; false if the call does not wait any more.
    pub(crate) fn answer_if_waiting(&self, id: u64, result: i64) -> bool {
        match i32::try_from(result) {
            Ok(error) if (-4095..0).contains(&error) => self.send(id, 0, error, 0),
            _ => self.send(id, result, 0, 0),
        }
    }

    fn send(&self, id: u64, val: i64, error: i32, flags: u32) -> bool {
        let mut response = libc::seccomp_notif_resp { id, val, error, flags };
        // ENOENT: the caller died. EINPROGRESS: it was answered. Neither needs anything done.
        persistent_ioctl(self.0.as_raw_fd(), SEND, &raw mut response).is_ok()
    }

    /// Puts a copy of the descriptor at the lowest free number of the calling thread, and answers with that number.
    ///
    /// Our copy is closed before the caller goes on, so that `ETXTBSY`, `flock` and end-of-file are as if it had been the only one. These are two requests: a caller that takes it and
    /// goes on in one (`SECCOMP_ADDFD_FLAG_SEND`) would be back in its program before it has its affinity back, and it is no faster.
    ///
    /// The kernel waits for the caller to take it. What interrupts that wait (a signal, or being frozen) makes the request fail, and it is made again.
    pub fn install(&self, caller: Tid, id: u64, descriptor: NewDescriptor) {
        let NewDescriptor { fd, close_on_exec, undo } = descriptor;
        let installed = self.give(caller, id, fd.as_fd(), close_on_exec);
        drop(fd);
        match installed {
            Ok(number) => self.answer(id, i64::from(number)),
            // EMFILE is the caller's own limit.
            Err(errno) => {
                if errno == Errno::EMFILE
                    && let Some(undo) = undo
                {
                    undo();
                }
                self.answer(id, errno.as_result());
            }
        }
    }

    /// Puts a copy of the descriptor at the lowest free number of the calling thread, which waits on.
    ///
    /// # Errors
    /// `EMFILE`; `ENOENT` if the caller died.
    pub(crate) fn give(&self, caller: Tid, id: u64, fd: BorrowedFd<'_>, close_on_exec: bool) -> Result<i32, Errno> {
        let mut request = libc::seccomp_notif_addfd {
            id,
            flags: 0,
            srcfd: fd.as_raw_fd().unsigned_abs(),
            newfd: 0,
            newfd_flags: if close_on_exec { libc::O_CLOEXEC.unsigned_abs() } else { 0 },
        };
        handover::on_this_core(caller, || persistent_ioctl(self.0.as_raw_fd(), ADDFD, &raw mut request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{self, Calls, FilterSpec, Rule, When, X32};
    use nix::unistd::gettid;
    use std::{
        os::fd::FromRawFd,
        ptr,
        sync::{
            atomic::{AtomicBool, Ordering},
            mpsc,
        },
        thread,
    };

    /// A call that is answered, and never runs.
    const NOTIFIED: i64 = libc::SYS_vhangup;

    /// Has the calling thread's [`NOTIFIED`] heard by this listener, and those of the threads it starts.
    fn listen() -> Listener {
        let notified = Calls { notify: vec![Rule { nr: NOTIFIED, when: When::Always }], ..Calls::default() };
        let (i386, x32, sites) = (Calls::default(), X32::Allow, Vec::new());
        let mut filter = filter::compile(&FilterSpec { x86_64: notified, i386, x32, cookie: 0, sites }).unwrap();
        let program = libc::sock_fprog { len: u16::try_from(filter.len()).unwrap(), filter: filter.as_mut_ptr() };
        let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        // SAFETY: the kernel copies the program; the result is a new descriptor.
        unsafe {
            assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
            let fd = libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program);
            assert!(fd >= 0, "{}", Errno::last());
            Listener::new(OwnedFd::from_raw_fd(i32::try_from(fd).unwrap()))
        }
    }

    /// Ends what signals interrupt by nothing but its coming.
    extern "C" fn handler(_: i32) {}

    /// The next call.
    fn call(listener: &Listener) -> u64 {
        loop {
            match listener.receive() {
                Received::Call(call) => return call.id,
                Received::Nothing => {}
                Received::Ended => unreachable!("its callers are threads of the test"),
            }
        }
    }

    /// Has a caller take a descriptor at this number.
    fn place(listener: &Listener, id: u64, number: u32) {
        let flags = u32::try_from(libc::SECCOMP_ADDFD_FLAG_SETFD).unwrap();
        let srcfd = listener.0.as_raw_fd().unsigned_abs();
        let mut request = libc::seccomp_notif_addfd { id, flags, srcfd, newfd: number, newfd_flags: 0 };
        let placed = ioctl(listener.0.as_raw_fd(), ADDFD, &raw mut request);
        assert_eq!(placed, Ok(number.cast_signed()));
        // SAFETY: it was free, so it is that of this request.
        unsafe { libc::close(number.cast_signed()) };
    }

    /// Sets a flag when it is gone, whatever happens.
    struct End<'a>(&'a AtomicBool);

    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    /// A thread that takes a descriptor has the listener's lock while the table of its process grows, and other threads make that take milliseconds (`expand_fdtable`,
    /// `fs/file.c`). Who answers another call meanwhile sleeps, and is woken by any signal: the tracer gets one for each request that is made to it.
    #[test]
    fn a_signal_says_nothing_about_a_call() {
        const SIGNAL: i32 = libc::SIGWINCH;
        // The table doubles at each of these.
        let numbers = (8..14).map(|power| 1u32 << power);
        // SAFETY: all-zero is a valid sigaction, and the limit is one that this process may have; nobody else here has a use for the signal.
        unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            action.sa_sigaction = handler as *const () as usize;
            assert_eq!(libc::sigaction(SIGNAL, &raw const action, ptr::null_mut()), 0);
            let mut limit: libc::rlimit = mem::zeroed();
            assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
            limit.rlim_cur = limit.rlim_max;
            assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
        }
        let (gives, takes) = mpsc::channel();
        let calls = numbers.len();
        let callers = thread::spawn(move || {
            gives.send(listen()).unwrap();
            // SAFETY: the listener answers.
            let calls = move || (0..calls).all(|_| unsafe { libc::syscall(NOTIFIED) } == 7);
            let other = thread::spawn(calls);
            calls() && other.join().unwrap()
        });
        let listener = &takes.recv().unwrap();
        let (me, over) = (gettid(), AtomicBool::new(false));
        let over = &over;
        let mut mistaken = 0;
        thread::scope(|scope| {
            // Its thread is not to go on for ever should something fail.
            let end = End(over);
            scope.spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    // SAFETY: no memory is involved.
                    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), me.as_raw(), SIGNAL) };
                    thread::yield_now();
                }
            });
            for number in numbers {
                let (taker, other) = (call(listener), call(listener));
                let takes = scope.spawn(move || place(listener, taker, number));
                while !takes.is_finished() {
                    mistaken += usize::from(!listener.waits(other));
                }
                takes.join().unwrap();
                for id in [taker, other] {
                    while !listener.answer_if_waiting(id, 7) {
                        mistaken += 1;
                    }
                }
            }
            drop(end);
        });
        assert!(callers.join().unwrap());
        assert_eq!(mistaken, 0);
    }
}
