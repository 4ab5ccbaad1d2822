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
        // SAFETY: one pollfd, as the count says.
        let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
        ready < 0 || poll.revents & (libc::POLLHUP | libc::POLLNVAL | libc::POLLERR) != 0
    }

    /// Whether the call still waits; if not, its thread may be gone and its number be another's.
    #[must_use]
    pub fn waits(&self, id: u64) -> bool {
        let mut id = id;
        ioctl(self.0.as_raw_fd(), ID_VALID, &raw mut id).is_ok()
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
        ioctl(self.0.as_raw_fd(), SEND, &raw mut response).is_ok()
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
        handover::on_this_core(caller, || {
            loop {
                match ioctl(self.0.as_raw_fd(), ADDFD, &raw mut request) {
                    Err(Errno::EINTR) => {}
                    installed => return installed,
                }
            }
        })
    }
}
