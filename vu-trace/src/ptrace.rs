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
/// In any of these, at the disposal of a debugger inside the view.
#[derive(Debug)]
pub(crate) enum Held {}

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
    /// It ended, with this status.
    Ended { status: i32 },
    /// It came to a stop that was asked for, to its first stop, or to a group-stop by this signal.
    Interrupted { stopped: Stopped<Boundary>, group: Option<i32> },
    /// It is about to make a system call.
    Entering(Stopped<Entry>),
    /// It has made one.
    Leaving(Stopped<Boundary>),
    /// A filter stopped it before a system call.
    Filtered(Stopped<Entry>),
    /// It made a thread or process; by which event it tells so.
    Bore(Stopped<Midway>, i32),
    /// It executes another program.
    Executed(Stopped<Midway>),
    /// It is to get a signal.
    Signalled(Stopped<Delivery>, i32),
    /// An event that only a debugger inside the view asks for, or nobody.
    Other(Stopped<Midway>, i32),
}

/// How a stopped tracee goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resume {
    /// Until the next event or signal.
    Freely,
    /// Until the next entry to or exit from a system call, too.
    ToSyscall,
    /// By one instruction.
    Step,
    /// Until the next jump that is taken.
    Block,
    /// Until the next entry to a system call, which is not made (`PTRACE_SYSEMU`).
    Emulation,
    /// By one instruction, and no system call is made.
    EmulationStep,
}

/// What every tracee is attached with.
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
const PTRACE_PEEKSIGINFO: libc::c_uint = 0x4209;
/// `arch/x86/include/uapi/asm/ptrace-abi.h`
const PTRACE_SYSEMU: libc::c_uint = 31;
const PTRACE_SYSEMU_SINGLESTEP: libc::c_uint = 32;
const PTRACE_SINGLEBLOCK: libc::c_uint = 33;
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

/// Whether there is any tracee or child of this thread: [`wait_any`](crate::x86_64::wait_any) will not say next that there is nothing to wait for.
pub(crate) fn is_anyone_left() -> bool {
    let options = libc::WEXITED | libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL | libc::__WNOTHREAD;
    // SAFETY: nothing is written where there is no pointer to (`waitid`, kernel/exit.c).
    unsafe { libc::waitid(libc::P_ALL, 0, ptr::null_mut(), options) == 0 }
}

/// Sends a thread a signal.
pub(crate) fn tgkill(process: Tid, tid: Tid, signal: i32) {
    // SAFETY: no memory is involved.
    unsafe { libc::syscall(libc::SYS_tgkill, process.0, tid.0, signal) };
}

/// What a status of wait(2) says. It is to be called once for each status, and at once.
pub(crate) fn decode(tid: Tid, status: i32) -> Option<Event> {
    if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
        return Some(Event::Ended { status });
    }
    if !libc::WIFSTOPPED(status) {
        return None;
    }
    let signal = libc::WSTOPSIG(status);
    Some(match status >> 16 {
        libc::PTRACE_EVENT_STOP => {
            Event::Interrupted { stopped: Stopped::new(tid), group: (signal != libc::SIGTRAP).then_some(signal) }
        }
        libc::PTRACE_EVENT_SECCOMP => Event::Filtered(Stopped::new(tid)),
        event @ (libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE) => {
            Event::Bore(Stopped::new(tid), event)
        }
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
        event => Event::Other(Stopped::new(tid), event),
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
        if self.go(how, 0) == Err(Errno::EIO) {
            // The machine cannot step like that.
            let _ = self.go(Resume::Freely, 0);
        }
    }

    /// Leaves it in its stop, at the disposal of a debugger.
    pub(crate) fn hold(self) -> Stopped<Held> {
        Stopped::new(self.tid)
    }

    /// Sets which of the events that not every tracee reports it reports (`PTRACE_O_*`). Its future children inherit that.
    pub(crate) fn set_further_options(&self, further: i32) {
        let options = (OPTIONS | further).unsigned_abs() as usize;
        // If it died, it reports that.
        let _ = request(libc::PTRACE_SETOPTIONS, self.tid, 0, options);
    }

    fn go(&self, how: Resume, signal: i32) -> Result<(), Errno> {
        let how = match how {
            Resume::Freely => libc::PTRACE_CONT,
            Resume::ToSyscall => libc::PTRACE_SYSCALL,
            Resume::Step => libc::PTRACE_SINGLESTEP,
            Resume::Block => PTRACE_SINGLEBLOCK,
            Resume::Emulation => PTRACE_SYSEMU,
            Resume::EmulationStep => PTRACE_SYSEMU_SINGLESTEP,
        };
        request(how, self.tid, 0, signal.unsigned_abs() as usize).map(drop)
    }
}

impl<At> Stopped<At> {
    fn message(&self) -> Result<u64, Gone> {
        let mut message: libc::c_ulong = 0;
        request(libc::PTRACE_GETEVENTMSG, self.tid, 0, ptr::from_mut(&mut message).addr()).map_err(|_| Gone)?;
        Ok(message)
    }
}

impl Stopped<Midway> {
    /// The number that comes with an event: the new thread, the former id of an exec.
    pub(crate) fn event_message(&self) -> Result<u64, Gone> {
        self.message()
    }
}

impl Stopped<Entry> {
    /// The number that comes with the filter's verdict, if it was one that stopped it.
    pub(crate) fn event_message(&self) -> Result<u64, Gone> {
        self.message()
    }

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

    /// What is known of the signal: a `siginfo_t`.
    pub(crate) fn info(&self) -> Result<SignalInfo, Gone> {
        // SAFETY: all-zero is a valid value of this plain struct.
        let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
        request(libc::PTRACE_GETSIGINFO, self.tid, 0, ptr::from_mut(&mut info).addr()).map_err(|_| Gone)?;
        // SAFETY: si_pid is a plain number at this place, whatever was stored there.
        Ok(SignalInfo { code: info.si_code, sender: unsafe { info.si_pid() } })
    }

    /// All of it, as it is.
    pub(crate) fn whole_info(&self) -> Result<[u8; SIGINFO], Gone> {
        let mut info = [0; SIGINFO];
        request(libc::PTRACE_GETSIGINFO, self.tid, 0, info.as_mut_ptr().addr()).map_err(|_| Gone)?;
        Ok(info)
    }

    /// Exchanges it.
    pub(crate) fn set_whole_info(&self, info: &[u8; SIGINFO]) {
        // Where it does not work, the tracee is dead.
        let _ = request(libc::PTRACE_SETSIGINFO, self.tid, 0, info.as_ptr().addr());
    }

    /// Changes that; `fields` are what follows `si_code` and its padding.
    pub(crate) fn set_info(&self, signal: i32, code: i32, fields: [i32; 3]) {
        let mut info = [0i32; SIGINFO / size_of::<i32>()];
        (info[0], info[2]) = (signal, code);
        info[4..7].copy_from_slice(&fields);
        // Where it does not work, the tracee is dead.
        let _ = request(libc::PTRACE_SETSIGINFO, self.tid, 0, info.as_ptr().addr());
    }

    /// Whether the program caused the signal by what it did just now, rather than somebody who sent it (sigaction(2)).
    pub(crate) fn is_fault(&self) -> bool {
        self.info().is_ok_and(|info| info.code > 0)
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
        let _ = self.go(how, signal);
    }
}

/// The size of a `siginfo_t`.
pub(crate) const SIGINFO: usize = 128;

/// Of a signal that is to be delivered.
pub(crate) struct SignalInfo {
    pub code: i32,
    /// Of a signal that was sent by kill(2) and the like: by which process.
    pub sender: i32,
}

/// What a debugger may ask of its tracee. The numbers are those of ptrace(2), and the kernel judges them; each method names the shape in which
/// a request takes or gives its data.
impl Stopped<Held> {
    /// Lets it run; `signal` is what is delivered, or sent, if its stop is one that takes a signal.
    ///
    /// # Errors
    /// `EIO` if the machine cannot do that: then it is given back, stopped as before.
    pub(crate) fn release(self, how: Resume, signal: i32) -> Result<(), (Errno, Stopped<Held>)> {
        match self.go(how, signal) {
            // The dead tell so themselves.
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err((errno, self)),
        }
    }

    /// Leaves it in its group-stop.
    pub(crate) fn listen_held(&self) -> Result<(), Errno> {
        request(libc::PTRACE_LISTEN, self.tid, 0, 0).map(drop)
    }

    /// `PTRACE_PEEK*`
    pub(crate) fn peek(&self, what: libc::c_uint, addr: usize) -> Result<u64, Errno> {
        let mut word = 0u64;
        // SAFETY: unlike the C library's function, the system call stores one word, here in a live u64.
        let result = unsafe { libc::syscall(libc::SYS_ptrace, what, self.tid.0, addr, &raw mut word) };
        if result == -1 { Err(Errno::last()) } else { Ok(word) }
    }

    /// `PTRACE_POKE*`
    pub(crate) fn poke(&self, what: libc::c_uint, addr: usize, word: u64) -> Result<(), Errno> {
        // SAFETY: the data is a plain number.
        let result = unsafe { libc::syscall(libc::SYS_ptrace, what, self.tid.0, addr, word) };
        if result == -1 { Err(Errno::last()) } else { Ok(()) }
    }

    /// A request that reads or writes at its data pointer at most [`ROOM`] bytes.
    pub(crate) fn block(&self, what: Block, addr: usize, room: &mut [u8; ROOM]) -> Result<i64, Errno> {
        request(what.request, self.tid, addr, room.as_mut_ptr().addr())
    }

    /// `PTRACE_GETREGSET` and `PTRACE_SETREGSET`; how many bytes the set has.
    pub(crate) fn register_set(&self, what: RegisterSet, kind: usize, block: &mut [u8]) -> Result<usize, Errno> {
        let what = match what {
            RegisterSet::Get => libc::PTRACE_GETREGSET,
            RegisterSet::Set => libc::PTRACE_SETREGSET,
        };
        let mut vector = libc::iovec { iov_base: block.as_mut_ptr().cast(), iov_len: block.len() };
        request(what, self.tid, kind, ptr::from_mut(&mut vector).addr())?;
        Ok(vector.iov_len.min(block.len()))
    }

    /// `PTRACE_PEEKSIGINFO`: how many of the pending signals, of `SIGINFO` bytes each, are in `block`.
    pub(crate) fn pending_signals(&self, mut arguments: [u8; 16], block: &mut [u8]) -> Result<i64, Errno> {
        let most = i32::try_from(block.len() / SIGINFO).unwrap_or(0);
        arguments[12..].copy_from_slice(&most.to_le_bytes());
        request(PTRACE_PEEKSIGINFO, self.tid, arguments.as_ptr().addr(), block.as_mut_ptr().addr())
    }
}

/// Room for what any [`Block`] holds, with a reserve for kernels to come.
pub(crate) const ROOM: usize = 1024;

/// A request whose data is a block of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    request: libc::c_uint,
    pub size: Size,
    pub way: Way,
}

/// How large a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// Always the same.
    Fixed(usize),
    /// As the address argument says; the kernel fills less if it knows less.
    Address,
}

/// Which way a block goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    ToDebugger,
    FromDebugger,
}

impl Block {
    /// The request of this number, if its data is a block (`include/uapi/linux/ptrace.h`, `arch/x86/kernel/ptrace.c`).
    pub(crate) fn of(request: libc::c_uint) -> Option<Block> {
        use Size::{Address, Fixed};
        use Way::{FromDebugger, ToDebugger};
        const REGISTERS: usize = size_of::<libc::user_regs_struct>();
        const FLOATING: usize = size_of::<libc::user_fpregs_struct>();
        let (size, way) = match request {
            libc::PTRACE_GETREGS => (Fixed(REGISTERS), ToDebugger),
            libc::PTRACE_SETREGS => (Fixed(REGISTERS), FromDebugger),
            libc::PTRACE_GETFPREGS => (Fixed(FLOATING), ToDebugger),
            libc::PTRACE_SETFPREGS => (Fixed(FLOATING), FromDebugger),
            // PTRACE_GET_THREAD_AREA, PTRACE_SET_THREAD_AREA: struct user_desc.
            25 => (Fixed(16), ToDebugger),
            26 => (Fixed(16), FromDebugger),
            libc::PTRACE_GETEVENTMSG | PTRACE_GETSIGMASK => (Fixed(8), ToDebugger),
            PTRACE_SETSIGMASK => (Fixed(8), FromDebugger),
            libc::PTRACE_GETSIGINFO => (Fixed(SIGINFO), ToDebugger),
            libc::PTRACE_SETSIGINFO => (Fixed(SIGINFO), FromDebugger),
            // PTRACE_GET_RSEQ_CONFIGURATION, PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG
            PTRACE_GET_SYSCALL_INFO | 0x420f | 0x4211 => (Address, ToDebugger),
            // PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG, PTRACE_SET_SYSCALL_INFO
            0x4210 | 0x4212 => (Address, FromDebugger),
            _ => return None,
        };
        Some(Block { request, size, way })
    }
}

/// Which way a register set goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RegisterSet {
    Get,
    Set,
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
