//! ptrace(2) with types: a request that needs a stopped tracee takes a [`Stopped`], and letting it run consumes it.
//!
//! That a tracee is dead is a state ([`Gone`]), not an error: it can die at any moment, also while it is stopped.

use crate::x86_64::{Abi, Registers};
use std::{fmt, mem, ptr};
use vu_api::Errno;

/// The id of a thread, in the hypervisor's pid namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tid(pub i32);

impl fmt::Display for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The tracee died, or was never ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// A tracee in a ptrace-stop. Only the thread that traces it holds one.
#[derive(Debug)]
#[must_use = "a stopped tracee stays stopped until it is resumed"]
pub struct Stopped {
    tid: Tid,
}

/// How a stopped tracee goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resume {
    /// Until the next event or signal.
    Freely,
    /// Until the next entry to or exit from a system call, too.
    ToSyscall,
}

const OPTIONS: i32 = libc::PTRACE_O_EXITKILL
    | libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_TRACESECCOMP;

/// `PTRACE_GETSIGMASK` and `PTRACE_SETSIGMASK` (`include/uapi/linux/ptrace.h`).
const PTRACE_GETSIGMASK: libc::c_uint = 0x420a;
const PTRACE_SETSIGMASK: libc::c_uint = 0x420b;
const PTRACE_GET_SYSCALL_INFO: libc::c_uint = 0x420e;

fn request(request: libc::c_uint, tid: Tid, addr: usize, data: usize) -> Result<i64, Errno> {
    // SAFETY: every caller passes as `data` either a plain number or the address of a live object of the size the request
    // writes or reads; ptrace does not touch other memory of ours.
    let result = unsafe { libc::ptrace(request, tid.0, addr, data) };
    if result == -1 { Err(Errno::last()) } else { Ok(result) }
}

/// Becomes the tracer of a thread and of whatever it will start, for life. It goes on running.
///
/// # Errors
/// `EPERM`, `ESRCH` (ptrace(2), "Ptrace access mode checking").
pub(crate) fn seize(tid: Tid) -> Result<(), Errno> {
    request(libc::PTRACE_SEIZE, tid, 0, OPTIONS.unsigned_abs() as usize).map(drop)
}

/// Asks a running tracee to stop; it reports `PTRACE_EVENT_STOP`.
pub(crate) fn interrupt(tid: Tid) -> Result<(), Gone> {
    request(libc::PTRACE_INTERRUPT, tid, 0, 0).map(drop).map_err(|_| Gone)
}

impl Stopped {
    /// To be called only with what wait(2) just reported as stopped.
    pub(crate) fn reported(tid: Tid) -> Stopped {
        Stopped { tid }
    }

    /// Which thread it is.
    #[must_use]
    pub fn tid(&self) -> Tid {
        self.tid
    }

    pub(crate) fn registers(&self) -> Result<Registers, Gone> {
        // SAFETY: all-zero is a valid value of this struct of integers.
        let mut regs: libc::user_regs_struct = unsafe { mem::zeroed() };
        request(libc::PTRACE_GETREGS, self.tid, 0, ptr::from_mut(&mut regs).addr()).map_err(|_| Gone)?;
        Ok(Registers(regs))
    }

    pub(crate) fn set_registers(&self, regs: &Registers) -> Result<(), Gone> {
        request(libc::PTRACE_SETREGS, self.tid, 0, ptr::from_ref(&regs.0).addr()).map(drop).map_err(|_| Gone)
    }

    /// The number that comes with an event: the new thread, the former id of an exec, the data of a filter.
    pub(crate) fn event_message(&self) -> Result<u64, Gone> {
        let mut message: libc::c_ulong = 0;
        request(libc::PTRACE_GETEVENTMSG, self.tid, 0, ptr::from_mut(&mut message).addr()).map_err(|_| Gone)?;
        Ok(message)
    }

    /// By which entry the call was made at whose stop this is; `None` if it cannot be told (before Linux 5.3).
    pub(crate) fn syscall_abi(&self) -> Option<Abi> {
        // struct ptrace_syscall_info: op, 3 bytes of padding, arch, ….
        let mut info = [0u32; 24];
        let got = request(PTRACE_GET_SYSCALL_INFO, self.tid, size_of_val(&info), ptr::from_mut(&mut info).addr());
        if got.ok()? < 8 || info[0].to_le_bytes()[0] == 0 { None } else { Abi::from_audit_arch(info[1]) }
    }

    /// The blocked signals.
    pub(crate) fn signal_mask(&self) -> Result<u64, Gone> {
        let mut mask = 0u64;
        request(PTRACE_GETSIGMASK, self.tid, size_of::<u64>(), ptr::from_mut(&mut mask).addr()).map_err(|_| Gone)?;
        Ok(mask)
    }

    pub(crate) fn set_signal_mask(&self, mask: u64) -> Result<(), Gone> {
        request(PTRACE_SETSIGMASK, self.tid, size_of::<u64>(), ptr::from_ref(&mask).addr()).map(drop).map_err(|_| Gone)
    }

    /// Lets it run, delivering `signal` if that is not 0. A tracee that died meanwhile reports so to wait(2).
    pub(crate) fn resume(self, how: Resume, signal: i32) {
        let how = match how {
            Resume::Freely => libc::PTRACE_CONT,
            Resume::ToSyscall => libc::PTRACE_SYSCALL,
        };
        let _ = request(how, self.tid, 0, signal.unsigned_abs() as usize);
    }

    /// Leaves it in its group-stop, and lets it tell when that ends. False if it is not in one, or not any more: then it is stopped as before.
    pub(crate) fn listen(&self) -> bool {
        request(libc::PTRACE_LISTEN, self.tid, 0, 0).is_ok()
    }
}
