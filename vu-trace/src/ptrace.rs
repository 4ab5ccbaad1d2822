//! ptrace(2) with types.
//!
//! A tracee in a ptrace-stop is a [`Stopped`], which names the kind of stop: what is not legal there does not compile. A call cannot be injected
//! where the kernel would overwrite the registers on its way out (the event of an exec), a call can only be exchanged at its entry, only a
//! delivery takes a signal, only a stop between kernel and program can turn into a group-stop. Letting the tracee run consumes the value, and only
//! [`decode`] makes one, from what wait(2) told.
//!
//! That a tracee is dead is a state ([`Gone`]), not an error: it can die at any moment, also while it is stopped.

use crate::x86_64::{Abi, Registers};
use std::{fmt, marker::PhantomData, mem, ptr};
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
pub(crate) struct Gone;

/// Between the kernel and the program: behind a system call or an interrupt. The registers are what the program goes on with.
#[derive(Debug)]
pub(crate) enum Boundary {}
/// Before a system call: its number and arguments are what the kernel goes on with.
#[derive(Debug)]
pub(crate) enum Entry {}
/// Before a signal is delivered.
#[derive(Debug)]
pub(crate) enum Delivery {}
/// Somewhere inside a system call, which will still set the result.
#[derive(Debug)]
pub(crate) enum Midway {}

/// A tracee in a ptrace-stop. Only the thread that traces it holds one.
#[derive(Debug)]
#[must_use = "a stopped tracee stays stopped until it is resumed"]
pub(crate) struct Stopped<At> {
    tid: Tid,
    at: PhantomData<At>,
}

/// What wait(2) told of a tracee.
#[derive(Debug)]
pub(crate) enum Event {
    /// It ended; whether by `SIGKILL`.
    Ended { killed: bool },
    /// It came to a stop that was asked for, to its first stop, or to a group-stop (then `group` holds).
    Interrupted { stopped: Stopped<Boundary>, group: bool },
    /// It is about to make a system call.
    Entering(Stopped<Entry>),
    /// It has made one.
    Leaving(Stopped<Boundary>),
    /// A filter stopped it before a system call.
    Filtered(Stopped<Entry>),
    /// It made a thread or process.
    Bore(Stopped<Midway>),
    /// It executes another program.
    Executed(Stopped<Midway>),
    /// It is to get a signal.
    Signalled(Stopped<Delivery>, i32),
    /// Something that was not asked for.
    Other(Stopped<Midway>),
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
/// The message of a stop at a system call's entry (`PTRACE_EVENTMSG_SYSCALL_ENTRY`, Linux 5.3).
const AT_ENTRY: u64 = 1;

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

/// Asks a tracee to stop, in whatever state it is; it reports [`Event::Interrupted`] once more, before it is in its program again.
pub(crate) fn interrupt(tid: Tid) -> Result<(), Gone> {
    request(libc::PTRACE_INTERRUPT, tid, 0, 0).map(drop).map_err(|_| Gone)
}

/// What a status of wait(2) says. It is to be called once for each status, and at once.
pub(crate) fn decode(tid: Tid, status: i32) -> Option<Event> {
    if libc::WIFEXITED(status) {
        return Some(Event::Ended { killed: false });
    }
    if libc::WIFSIGNALED(status) {
        return Some(Event::Ended { killed: libc::WTERMSIG(status) == libc::SIGKILL });
    }
    if !libc::WIFSTOPPED(status) {
        return None;
    }
    let signal = libc::WSTOPSIG(status);
    Some(match status >> 16 {
        libc::PTRACE_EVENT_STOP => Event::Interrupted { stopped: Stopped::new(tid), group: signal != libc::SIGTRAP },
        libc::PTRACE_EVENT_SECCOMP => Event::Filtered(Stopped::new(tid)),
        libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => Event::Bore(Stopped::new(tid)),
        libc::PTRACE_EVENT_EXEC => Event::Executed(Stopped::new(tid)),
        0 if signal == libc::SIGTRAP | 0x80 => {
            let midway = Stopped::<Midway>::new(tid);
            // If it died in the stop, nothing that follows has an effect.
            if midway.event_message() == Ok(AT_ENTRY) {
                Event::Entering(Stopped::new(tid))
            } else {
                Event::Leaving(Stopped::new(tid))
            }
        }
        0 => Event::Signalled(Stopped::new(tid), signal),
        _ => Event::Other(Stopped::new(tid)),
    })
}

impl<At> Stopped<At> {
    fn new(tid: Tid) -> Stopped<At> {
        Stopped { tid, at: PhantomData }
    }

    /// Which thread it is.
    pub(crate) fn tid(&self) -> Tid {
        self.tid
    }

    pub(crate) fn registers(&self) -> Result<Registers, Gone> {
        // SAFETY: all-zero is a valid value of this struct of integers.
        let mut regs: libc::user_regs_struct = unsafe { mem::zeroed() };
        request(libc::PTRACE_GETREGS, self.tid, 0, ptr::from_mut(&mut regs).addr()).map_err(|_| Gone)?;
        Ok(Registers(regs))
    }

    fn write_registers(&self, regs: &Registers) -> Result<(), Gone> {
        request(libc::PTRACE_SETREGS, self.tid, 0, ptr::from_ref(&regs.0).addr()).map(drop).map_err(|_| Gone)
    }

    /// The blocked signals; of a call that blocks others while it sleeps (sigsuspend), those the program has set.
    pub(crate) fn signal_mask(&self) -> Result<u64, Gone> {
        let mut mask = 0u64;
        request(PTRACE_GETSIGMASK, self.tid, size_of::<u64>(), ptr::from_mut(&mut mask).addr()).map_err(|_| Gone)?;
        Ok(mask)
    }

    pub(crate) fn set_signal_mask(&self, mask: u64) -> Result<(), Gone> {
        request(PTRACE_SETSIGMASK, self.tid, size_of::<u64>(), ptr::from_ref(&mask).addr()).map(drop).map_err(|_| Gone)
    }

    /// By which entry the call was made that this tracee is in or just leaves; for one that is in no call, by which it would make one.
    pub(crate) fn abi(&self, regs: &Registers) -> Abi {
        if !regs.in_syscall() {
            return regs.abi();
        }
        // struct ptrace_syscall_info: op, 3 bytes of padding, arch, …. The kernel tells the architecture in all stops.
        let mut info = [0u32; 24];
        let got = request(PTRACE_GET_SYSCALL_INFO, self.tid, size_of_val(&info), ptr::from_mut(&mut info).addr());
        match got {
            Ok(8..) => Abi::from_audit_arch(info[1]).unwrap_or(regs.abi()),
            _ => regs.abi(),
        }
    }

    /// Lets it run. A tracee that died meanwhile reports so to wait(2).
    pub(crate) fn resume(self, how: Resume) {
        self.go(how, 0);
    }

    fn go(self, how: Resume, signal: i32) {
        let how = match how {
            Resume::Freely => libc::PTRACE_CONT,
            Resume::ToSyscall => libc::PTRACE_SYSCALL,
        };
        let _ = request(how, self.tid, 0, signal.unsigned_abs() as usize);
    }
}

impl Stopped<Midway> {
    /// The number that comes with an event: the new thread, the former id of an exec.
    pub(crate) fn event_message(&self) -> Result<u64, Gone> {
        let mut message: libc::c_ulong = 0;
        request(libc::PTRACE_GETEVENTMSG, self.tid, 0, ptr::from_mut(&mut message).addr()).map_err(|_| Gone)?;
        Ok(message)
    }
}

impl Stopped<Entry> {
    /// Exchanges the call, or (number −1) skips it.
    pub(crate) fn set_registers(&self, regs: &Registers) -> Result<(), Gone> {
        self.write_registers(regs)
    }
}

impl Stopped<Delivery> {
    /// Changes what a signal handler returns to, and the kernel's decision about restarting a call.
    pub(crate) fn set_registers(&self, regs: &Registers) -> Result<(), Gone> {
        self.write_registers(regs)
    }

    /// Which system call a filter answered with this `SIGSYS`, and where: `None` if it was not sent by a filter.
    pub(crate) fn filtered_call(&self) -> Option<u64> {
        // SAFETY: all-zero is a valid value of this plain struct.
        let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
        request(libc::PTRACE_GETSIGINFO, self.tid, 0, ptr::from_mut(&mut info).addr()).ok()?;
        // SYS_SECCOMP; the address of the call is the first field of its part of the union, where si_addr is.
        // SAFETY: the field lies inside of the struct the kernel filled.
        (info.si_code == 1).then(|| unsafe { info.si_addr() }.addr() as u64)
    }

    /// Delivers the signal (0: none) and lets it run.
    pub(crate) fn deliver(self, how: Resume, signal: i32) {
        self.go(how, signal);
    }
}

impl Stopped<Boundary> {
    /// Changes what the program goes on with.
    pub(crate) fn set_registers(&self, regs: &Registers) -> Result<(), Gone> {
        self.write_registers(regs)
    }

    /// Leaves it in its group-stop; it tells when that ends. If it is not in one, or not any more, it is given back.
    pub(crate) fn listen(self) -> Result<(), Stopped<Boundary>> {
        if request(libc::PTRACE_LISTEN, self.tid, 0, 0).is_ok() { Ok(()) } else { Err(self) }
    }
}
