//! ptrace(2), called by a debugger.

use super::{Attached, Debuggee, FURTHER, Kind};
use crate::{
    memory::{Memory, ProcessMemory},
    ptrace::{Block, Entry, Gone, Held, ROOM, RegisterSet, Resume, SIGINFO, Size, Stopped, Tid, Way, interrupt},
    tracer::Tracer,
    verdict::{Hypervisor, Verdict},
    x86_64::{Abi, Registers},
};
use std::{mem, path::Path};
use vu_api::Errno;

// Requests that libc does not name (`include/uapi/linux/ptrace.h`, `arch/x86/include/uapi/asm/ptrace-abi.h`).
const OLD_SET_OPTIONS: libc::c_uint = 21;
const ARCH_PRCTL: libc::c_uint = 30;
const SYSEMU: libc::c_uint = 31;
const SYSEMU_SINGLESTEP: libc::c_uint = 32;
const SINGLEBLOCK: libc::c_uint = 33;
const PEEKSIGINFO: libc::c_uint = 0x4209;
const GETSIGMASK: libc::c_uint = 0x420a;
const SETSIGMASK: libc::c_uint = 0x420b;
const GET_SYSCALL_INFO: libc::c_uint = 0x420e;
const SECCOMP_GET_FILTER: libc::c_uint = 0x420c;
const SECCOMP_GET_METADATA: libc::c_uint = 0x420d;

/// The options of `PTRACE_SETOPTIONS` (`PTRACE_O_MASK`).
const ALL_OPTIONS: u64 = 0x0030_00ff;
const SUSPEND_SECCOMP: u64 = 1 << 21;
/// The largest register set that is read: more than any processor has.
const LARGEST_SET: usize = 64 << 10;
/// The most pending signals that are looked at by one request.
const MOST_SIGNALS: usize = 1024;

/// Whether options can be had (`check_ptrace_options`): suspending filters only by who administrates the system.
pub(super) fn check_options(options: u64) -> Result<i32, Errno> {
    if options & !ALL_OPTIONS != 0 {
        return Err(Errno::EINVAL);
    }
    if options & SUSPEND_SECCOMP != 0 {
        return Err(Errno::EPERM);
    }
    i32::try_from(options).map_err(|_| Errno::EINVAL)
}

/// What becomes of a request.
enum Reply {
    /// It is for the host.
    Host,
    Now(Result<i64, Errno>),
    /// It succeeds when this thread has come to its stop.
    WhenStopped(Tid),
}

impl<H: Hypervisor> Tracer<H> {
    /// At the entry of a ptrace(2) call.
    pub(crate) fn debugs(&mut self, stopped: Stopped<Entry>, regs: Registers, abi: Abi) -> Result<(), Gone> {
        let tid = stopped.tid();
        let reply = match abi {
            Abi::X86_64 => self.request(tid, regs.args(abi)),
            // The layouts of a 32-bit debugger are not known here; a kernel without them says so.
            Abi::I386 => Reply::Now(Err(Errno::ENOSYS)),
        };
        let verdict = match reply {
            Reply::Host => Verdict::Continue,
            Reply::Now(result) => Verdict::Return(result.unwrap_or_else(Errno::as_result)),
            Reply::WhenStopped(debuggee) => {
                self.debuggers.attaching.insert(debuggee, stopped);
                return Ok(());
            }
        };
        self.conclude(stopped, abi, regs, verdict)
    }

    /// `SYSCALL_DEFINE4(ptrace, …)`
    fn request(&mut self, debugger: Tid, args: [u64; 6]) -> Reply {
        let [request, pid, addr, data, ..] = args;
        let request = libc::c_uint::try_from(request).unwrap_or(libc::c_uint::MAX);
        if request == libc::PTRACE_TRACEME {
            return Reply::Now(self.trace_me(debugger).map(|()| 0));
        }
        let [a, b, c, d, ..] = pid.to_le_bytes();
        let tid = Tid(i32::from_le_bytes([a, b, c, d]));
        if !self.threads.contains_key(&tid) {
            // Who stopped the hypervisor would wait for it for good.
            let is_own = Path::new(&format!("/proc/self/task/{tid}")).exists();
            return if is_own { Reply::Now(Err(Errno::EPERM)) } else { Reply::Host };
        }
        let stopped = self.is_stopped(tid);
        let attached = match request {
            libc::PTRACE_ATTACH => self.attach(debugger, tid),
            libc::PTRACE_SEIZE => self.seize(debugger, tid, addr, data),
            _ => return Reply::Now(self.request_of_debuggee(debugger, tid, request, addr, data)),
        };
        match attached {
            Ok(()) if stopped => Reply::WhenStopped(tid),
            attached => Reply::Now(attached.map(|()| 0)),
        }
    }

    fn request_of_debuggee(
        &mut self,
        debugger: Tid,
        tid: Tid,
        request: libc::c_uint,
        addr: u64,
        data: u64,
    ) -> Result<i64, Errno> {
        let debuggee = self.debuggee(tid).filter(|debuggee| debuggee.debugger == debugger).ok_or(Errno::ESRCH)?;
        match request {
            libc::PTRACE_KILL => {
                // SAFETY: no memory is involved.
                unsafe { libc::kill(tid.0, libc::SIGKILL) };
                return Ok(0);
            }
            libc::PTRACE_INTERRUPT => {
                if debuggee.attached != Attached::Seized {
                    return Err(Errno::EIO);
                }
                debuggee.stop_wanted = true;
                return interrupt(tid).map(|()| 0).map_err(|Gone| Errno::ESRCH);
            }
            _ => {}
        }
        let (held, kind) = debuggee.held.as_ref().ok_or(Errno::ESRCH)?;
        let kind = *kind;
        let how = match request {
            libc::PTRACE_CONT => Resume::Freely,
            libc::PTRACE_SYSCALL => Resume::ToSyscall,
            libc::PTRACE_SINGLESTEP => Resume::Step,
            SINGLEBLOCK => Resume::Block,
            SYSEMU => Resume::Emulation,
            SYSEMU_SINGLESTEP => Resume::EmulationStep,
            libc::PTRACE_DETACH => {
                let signal = valid_signal(data)?;
                self.detach(tid, signal);
                return Ok(0);
            }
            libc::PTRACE_LISTEN => {
                if debuggee.attached != Attached::Seized || !matches!(kind, Kind::Group(_) | Kind::Trap) {
                    return Err(Errno::EIO);
                }
                held.listen_held()?;
                debuggee.held = None;
                debuggee.report = None;
                debuggee.listening = true;
                return Ok(0);
            }
            libc::PTRACE_SETOPTIONS | OLD_SET_OPTIONS => {
                let options = check_options(data)?;
                held.set_further_options(options & FURTHER);
                debuggee.options = options;
                debuggee.options_changed = false;
                return Ok(0);
            }
            _ => return look(ProcessMemory(debugger), debuggee, held, kind, request, addr, data),
        };
        let signal = valid_signal(data)?;
        self.let_go_on(tid, how, signal).map(|()| 0)
    }

    /// Ends the stop of a debuggee (`ptrace_resume`).
    fn let_go_on(&mut self, tid: Tid, mode: Resume, signal: i32) -> Result<(), Errno> {
        let debuggee = self.debuggee(tid).ok_or(Errno::ESRCH)?;
        let (held, kind) = debuggee.held.take().ok_or(Errno::ESRCH)?;
        let before = mem::replace(&mut debuggee.mode, mode);
        if kind == Kind::Entry
            && before == Resume::ToSyscall
            && let Some(message) = self.told_of_filter(&held)
        {
            // The filters are asked behind the entry (`syscall_trace_enter`).
            if signal != 0 {
                self.send(tid, signal);
            }
            self.hold(held, Kind::Filtered(message));
            return Ok(());
        }
        let how = self.how(tid);
        let result = held.release(how, signal);
        let Some(debuggee) = self.debuggee(tid) else { return Ok(()) };
        if let Err((errno, held)) = result {
            debuggee.mode = before;
            debuggee.held = Some((held, kind));
            return Err(errno);
        }
        debuggee.report = None;
        match kind {
            _ if mode != Resume::ToSyscall => debuggee.in_call = false,
            // What follows is the exit.
            Kind::Filtered(_) => debuggee.in_call = true,
            _ => {}
        }
        Ok(())
    }
}

/// `valid_signal`
fn valid_signal(data: u64) -> Result<i32, Errno> {
    if data > 64 { Err(Errno::EIO) } else { i32::try_from(data).map_err(|_| Errno::EIO) }
}

/// Requests that look at a debuggee, or change it, and leave it stopped.
fn look(
    own: ProcessMemory,
    debuggee: &Debuggee,
    held: &Stopped<Held>,
    kind: Kind,
    request: libc::c_uint,
    addr: u64,
    data: u64,
) -> Result<i64, Errno> {
    let at = usize::try_from(addr).map_err(|_| Errno::EIO)?;
    match request {
        libc::PTRACE_PEEKTEXT | libc::PTRACE_PEEKDATA | libc::PTRACE_PEEKUSER => {
            own.write(data, &held.peek(request, at)?.to_le_bytes())?;
            Ok(0)
        }
        libc::PTRACE_POKETEXT | libc::PTRACE_POKEDATA | libc::PTRACE_POKEUSER => {
            held.poke(request, at, data).map(|()| 0)
        }
        libc::PTRACE_GETREGSET | libc::PTRACE_SETREGSET => {
            let way = if request == libc::PTRACE_GETREGSET { RegisterSet::Get } else { RegisterSet::Set };
            register_set(own, held, way, at, data)
        }
        libc::PTRACE_GETEVENTMSG if let Kind::Filtered(message) = kind => {
            own.write(data, &u64::from(message).to_le_bytes())?;
            Ok(0)
        }
        PEEKSIGINFO => pending_signals(own, held, addr, data),
        ARCH_PRCTL => segment_base(own, held, addr, data),
        // CAP_SYS_ADMIN, and filters are not told.
        SECCOMP_GET_FILTER | SECCOMP_GET_METADATA => Err(Errno::EACCES),
        GETSIGMASK | SETSIGMASK if addr != 8 => Err(Errno::EINVAL),
        // There is no signal in a group-stop of one that was not seized (`ptrace_getsiginfo`).
        libc::PTRACE_GETSIGINFO | libc::PTRACE_SETSIGINFO
            if debuggee.attached == Attached::Plainly && matches!(kind, Kind::Group(_)) =>
        {
            Err(Errno::EINVAL)
        }
        _ => {
            let block = Block::of(request).ok_or(Errno::EIO)?;
            let mut room = [0; ROOM];
            let size = match block.size {
                Size::Fixed(size) => size,
                Size::Address => at.min(ROOM),
            };
            let bytes = room.get_mut(..size).ok_or(Errno::EIO)?;
            if block.way == Way::FromDebugger {
                own.read(data, bytes)?;
                return held.block(block, at, &mut room);
            }
            let mut result = held.block(block, at.min(ROOM), &mut room)?;
            if request == libc::PTRACE_GETSIGINFO && matches!(kind, Kind::Entry | Kind::Exit | Kind::Filtered(_)) {
                // The hypervisor's own stops have the mark.
                room[8..12].copy_from_slice(&kind.code(debuggee).to_le_bytes());
            }
            if request == GET_SYSCALL_INFO
                && let Kind::Filtered(message) = kind
            {
                result = as_filtered(&mut room, message);
            }
            // The kernel tells how much it knows of blocks whose size is given, which may be more than there is room for.
            let filled =
                if block.size == Size::Address { usize::try_from(result).unwrap_or(0).min(size) } else { size };
            own.write(data, room.get(..filled).ok_or(Errno::EIO)?)?;
            Ok(result)
        }
    }
}

/// What the kernel tells of a call at its entry, as it tells it of one that a filter traces (`ptrace_get_syscall_info_seccomp`); the size.
fn as_filtered(room: &mut [u8; ROOM], message: u16) -> i64 {
    const AT_FILTER: u8 = 3;
    const MESSAGE: usize = 80;
    const END: usize = MESSAGE + 4;
    room[0] = AT_FILTER;
    room[MESSAGE..END].copy_from_slice(&u32::from(message).to_le_bytes());
    i64::try_from(END).unwrap_or(i64::MAX)
}

/// `struct iovec` in the debugger says where the set lies, and is told how large it is (`ptrace_regset`).
fn register_set(
    own: ProcessMemory,
    held: &Stopped<Held>,
    way: RegisterSet,
    kind: usize,
    vector: u64,
) -> Result<i64, Errno> {
    let (base, length) = (own.read_u64(vector)?, own.read_u64(vector.wrapping_add(8))?);
    let mut block = vec![0; usize::try_from(length).unwrap_or(usize::MAX).min(LARGEST_SET)];
    if way == RegisterSet::Set {
        own.read(base, &mut block)?;
    }
    let size = held.register_set(way, kind, &mut block)?;
    if way == RegisterSet::Get {
        own.write(base, block.get(..size).ok_or(Errno::EIO)?)?;
    }
    own.write(vector.wrapping_add(8), &(size as u64).to_le_bytes())?;
    Ok(0)
}

/// `struct ptrace_peeksiginfo_args`: offset, flags, number (`ptrace_peek_siginfo`).
fn pending_signals(own: ProcessMemory, held: &Stopped<Held>, addr: u64, data: u64) -> Result<i64, Errno> {
    let mut arguments = [0; 16];
    own.read(addr, &mut arguments)?;
    let [.., a, b, c, d] = arguments;
    let number = usize::try_from(i32::from_le_bytes([a, b, c, d])).map_err(|_| Errno::EINVAL)?;
    let mut block = vec![0; number.min(MOST_SIGNALS) * SIGINFO];
    let got = held.pending_signals(arguments, &mut block)?;
    let bytes = usize::try_from(got).unwrap_or(0) * SIGINFO;
    own.write(data, block.get(..bytes).ok_or(Errno::EIO)?)?;
    Ok(got)
}

/// `arch_prctl(2)` of a debuggee, whose arguments are the other way round: of the bases of fs and gs.
fn segment_base(own: ProcessMemory, held: &Stopped<Held>, addr: u64, code: u64) -> Result<i64, Errno> {
    const SET_GS: u64 = 0x1001;
    const SET_FS: u64 = 0x1002;
    const GET_FS: u64 = 0x1003;
    const GET_GS: u64 = 0x1004;
    let place = match code {
        SET_FS | GET_FS => std::mem::offset_of!(libc::user_regs_struct, fs_base),
        SET_GS | GET_GS => std::mem::offset_of!(libc::user_regs_struct, gs_base),
        _ => return Err(Errno::EINVAL),
    };
    if matches!(code, SET_FS | SET_GS) {
        held.poke(libc::PTRACE_POKEUSER, place, addr)?;
    } else {
        own.write(addr, &held.peek(libc::PTRACE_PEEKUSER, place)?.to_le_bytes())?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_signals() {
        assert_eq!(check_options(0x0010_007f), Ok(0x0010_007f));
        assert_eq!(check_options(1 << 7), Ok(1 << 7), "seccomp");
        assert_eq!(check_options(1 << 8), Err(Errno::EINVAL));
        assert_eq!(check_options(u64::MAX), Err(Errno::EINVAL));
        assert_eq!(check_options(SUSPEND_SECCOMP), Err(Errno::EPERM));
        assert_eq!(valid_signal(0), Ok(0));
        assert_eq!(valid_signal(64), Ok(64));
        assert_eq!(valid_signal(65), Err(Errno::EIO));
        assert_eq!(valid_signal(u64::MAX), Err(Errno::EIO));
    }
}
