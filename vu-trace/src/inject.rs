//! System calls that the tracer makes in a tracee.
//!
//! They are made one at a time and waited for, with all signals held back: none of them sleeps, and the tracee's program sees nothing of them.

use crate::{
    Listener,
    memory::{Memory, ProcessMemory},
    ptrace::{Gone, Resume, Stopped, Tid, interrupt},
    tracer::Filter,
    x86_64::{Abi, Registers},
};
use std::{
    collections::VecDeque,
    os::fd::{FromRawFd, OwnedFd},
};
use vu_api::Errno;

/// Memory in a tracee that belongs to the tracer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scratch {
    pub address: u64,
    pub length: usize,
}

impl Scratch {
    /// The least that is mapped: two paths and some more.
    const LEAST: usize = 16 << 10;

    /// Whether a call by this entry can be given addresses in it.
    pub(crate) fn fits(&self, abi: Abi) -> bool {
        abi == Abi::X86_64 || self.address < 1 << 32
    }
}

/// Makes calls in tracees; what a wait for the one tracee finds of its death goes to the tracer's list of deferred events.
pub(crate) struct Injector<'a> {
    deferred: &'a mut VecDeque<(Tid, i32)>,
    abi: Abi,
}

const SECCOMP_SET_MODE_FILTER: u64 = 1;
const FLAG_TSYNC: u64 = 1;
const FLAG_NEW_LISTENER: u64 = 1 << 3;
const FLAG_TSYNC_ESRCH: u64 = 1 << 4;
/// Linux 5.19.
const FLAG_WAIT_KILLABLE_RECV: u64 = 1 << 5;

impl<'a> Injector<'a> {
    pub(crate) fn new(deferred: &'a mut VecDeque<(Tid, i32)>, abi: Abi) -> Injector<'a> {
        Injector { deferred, abi }
    }

    /// Makes one call and returns its result. The tracee is in any stop but one at a system call's entry; its registers are as before afterwards.
    ///
    /// If a call of the tracee's own had been interrupted by the stop, the tracee is made to stop once more, since only then
    /// does the kernel decide about restarting it.
    pub(crate) fn inject(&mut self, stopped: Stopped, nr: i64, args: [u64; 6]) -> Result<(Stopped, i64), Gone> {
        let tid = stopped.tid();
        let own = stopped.registers()?;
        let Some(gadget) = self.gadget(tid, &own) else {
            return Ok((stopped, Errno::ENOSYS.as_result()));
        };
        let mask = stopped.signal_mask()?;
        stopped.set_signal_mask(!0)?;
        let mut regs = own;
        regs.enter(gadget, nr);
        regs.set_args(self.abi, args);
        stopped.set_registers(&regs)?;
        let (stopped, stopped_meanwhile) = self.to_syscall(stopped, 2)?;
        let result = stopped.registers()?.result();
        stopped.set_registers(&own)?;
        stopped.set_signal_mask(mask)?;
        let interrupted = own.syscall() >= 0 && (-516..=-512).contains(&own.result());
        if interrupted || stopped_meanwhile {
            interrupt(tid)?;
        }
        Ok((stopped, result))
    }

    /// From a stop at the entry of a call: skips it. Afterwards the tracee is in a stop from which [`inject`](Self::inject) can start.
    pub(crate) fn leave_entry(&mut self, stopped: Stopped) -> Result<Stopped, Gone> {
        let mut regs = stopped.registers()?;
        regs.set_syscall(-1);
        stopped.set_registers(&regs)?;
        let (stopped, stopped_meanwhile) = self.to_syscall(stopped, 1)?;
        if stopped_meanwhile {
            interrupt(stopped.tid())?;
        }
        Ok(stopped)
    }

    /// At the entry of a tracee's call: makes `prctl(PR_SET_DUMPABLE, 1)` in its place and has the tracee make its own again.
    pub(crate) fn allow_reading(&mut self, stopped: Stopped) -> Result<Stopped, Gone> {
        let own = stopped.registers()?;
        let mut regs = own;
        regs.set_syscall(self.abi.numbers().prctl);
        regs.set_args(self.abi, [libc::PR_SET_DUMPABLE.unsigned_abs().into(), 1, 0, 0, 0, 0]);
        stopped.set_registers(&regs)?;
        let (stopped, stopped_meanwhile) = self.to_syscall(stopped, 1)?;
        let mut again = own;
        again.reissue();
        stopped.set_registers(&again)?;
        if stopped_meanwhile {
            interrupt(stopped.tid())?;
        }
        Ok(stopped)
    }

    /// Lets the tracee run through `count` stops at system calls. Whether it also came to a group-stop or an interrupt is returned: the
    /// caller has it stop again, so that the event is seen where it is understood.
    fn to_syscall(&mut self, stopped: Stopped, count: u32) -> Result<(Stopped, bool), Gone> {
        let tid = stopped.tid();
        let mut stopped = stopped;
        let mut stopped_meanwhile = false;
        let mut left = count;
        let mut signal = 0;
        while left > 0 {
            stopped.resume(Resume::ToSyscall, signal);
            signal = 0;
            let mut status = 0;
            // SAFETY: the kernel writes one int.
            while unsafe { libc::waitpid(tid.0, &raw mut status, libc::__WALL) } != tid.0 {
                if Errno::last() != Errno::EINTR {
                    return Err(Gone);
                }
            }
            if !libc::WIFSTOPPED(status) {
                self.deferred.push_back((tid, status));
                return Err(Gone);
            }
            stopped = Stopped::reported(tid);
            match (status >> 16, libc::WSTOPSIG(status)) {
                (0, sig) if sig == libc::SIGTRAP | 0x80 => left -= 1,
                // All other signals are held back; this one cannot be.
                (0, sig) => signal = sig,
                (libc::PTRACE_EVENT_STOP, _) => stopped_meanwhile = true,
                _ => {}
            }
        }
        Ok((stopped, stopped_meanwhile))
    }

    /// The address of an instruction that enters the kernel: the one the tracee used last, or one in its vDSO.
    fn gadget(&self, tid: Tid, regs: &Registers) -> Option<u64> {
        let memory = ProcessMemory(tid);
        let entry = self.abi.entry_instruction();
        let behind = regs.instruction().checked_sub(Abi::ENTRY_LENGTH)?;
        let mut code = [0u8; 2];
        if memory.read(behind, &mut code).is_ok() && code == entry {
            return Some(behind);
        }
        let base = vdso(tid, self.abi)?;
        let mut image = vec![0u8; 8192];
        let length = memory.read_some(base, &mut image).ok()?;
        // Wherever these bytes stand in executable memory, jumping there executes them.
        let at = image[..length].windows(2).position(|bytes| bytes == entry)?;
        Some(base + at as u64)
    }

    /// Maps scratch memory.
    pub(crate) fn map_scratch(
        &mut self,
        stopped: Stopped,
        length: usize,
    ) -> Result<(Stopped, Result<Scratch, Errno>), Gone> {
        let length = length.max(Scratch::LEAST).next_multiple_of(4096);
        let protection = (libc::PROT_READ | libc::PROT_WRITE).unsigned_abs().into();
        let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS).unsigned_abs().into();
        let no_file = match self.abi {
            Abi::X86_64 => u64::MAX,
            Abi::I386 => u32::MAX.into(),
        };
        let nr = self.abi.numbers().mmap;
        let (stopped, result) = self.inject(stopped, nr, [0, length as u64, protection, flags, no_file, 0])?;
        let address = match self.abi {
            Abi::X86_64 => result,
            // Compatible calls return sign-extended errors and zero-extended addresses, by way of a 32-bit register.
            Abi::I386 => i64::from(i32::try_from(result & 0xffff_ffff).unwrap_or(i32::MAX)).max(result),
        };
        let outcome = match u64::try_from(address) {
            Ok(address) => Ok(Scratch { address, length }),
            Err(_) => Err(errno_of(result)),
        };
        Ok((stopped, outcome))
    }

    /// Installs a filter in all threads of the tracee's process; gives the listener of one that notifies.
    ///
    /// A process that has a notifying filter already (it was born with it) gets no other: the kernel allows one only.
    #[expect(
        clippy::type_complexity,
        reason = "a result inside a result: the tracee's death and the call's failure differ"
    )]
    pub(crate) fn install(
        &mut self,
        stopped: Stopped,
        process: Tid,
        filter: &Filter,
    ) -> Result<(Stopped, Result<Option<Listener>, Errno>), Gone> {
        let tid = stopped.tid();
        let program: Vec<u8> = filter
            .program
            .iter()
            .flat_map(|i| {
                let [c0, c1] = i.code.to_le_bytes();
                let [k0, k1, k2, k3] = i.k.to_le_bytes();
                [c0, c1, i.jt, i.jf, k0, k1, k2, k3]
            })
            .collect();
        // struct sock_fprog lies in front of the program, at its own offset of 16.
        let header = 16;
        let (stopped, scratch) = self.map_scratch(stopped, header + program.len())?;
        let scratch = match scratch {
            Ok(scratch) => scratch,
            Err(errno) => return Ok((stopped, Err(errno))),
        };
        let mut bytes = vec![0u8; header];
        let count = u16::try_from(filter.program.len()).unwrap_or(u16::MAX);
        bytes[..2].copy_from_slice(&count.to_le_bytes());
        let pointer = (scratch.address + header as u64).to_le_bytes();
        let width = self.abi.pointer_size();
        bytes[width..2 * width].copy_from_slice(&pointer[..width]);
        bytes.extend_from_slice(&program);
        if let Err(errno) = ProcessMemory(tid).write(scratch.address, &bytes) {
            return Ok((stopped, Err(errno)));
        }
        let flags = if filter.notifies {
            FLAG_TSYNC | FLAG_TSYNC_ESRCH | FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV
        } else {
            FLAG_TSYNC | FLAG_TSYNC_ESRCH
        };
        let (stopped, result) = self.set_filter(stopped, flags, scratch.address)?;
        let (stopped, result) = if result == Errno::EINVAL.as_result() && filter.notifies {
            // Before Linux 5.19: waits for verdicts can be interrupted by signals, and are repaired then.
            self.set_filter(stopped, flags & !FLAG_WAIT_KILLABLE_RECV, scratch.address)?
        } else {
            (stopped, result)
        };
        let nr = self.abi.numbers();
        if !filter.notifies {
            let outcome = if result == 0 { Ok(None) } else { Err(errno_of(result)) };
            return Ok((stopped, outcome));
        }
        if result == Errno::EBUSY.as_result() {
            return Ok((stopped, Ok(None)));
        }
        let Ok(number) = u64::try_from(result) else { return Ok((stopped, Err(errno_of(result)))) };
        let listener = take_descriptor(process, number);
        let (stopped, _) = self.inject(stopped, nr.close, [number, 0, 0, 0, 0, 0])?;
        Ok((stopped, listener.map(|fd| Some(Listener::new(fd)))))
    }

    fn set_filter(&mut self, stopped: Stopped, flags: u64, program: u64) -> Result<(Stopped, i64), Gone> {
        let numbers = self.abi.numbers();
        let args = [SECCOMP_SET_MODE_FILTER, flags, program, 0, 0, 0];
        let (stopped, result) = self.inject(stopped, numbers.seccomp, args)?;
        if result != Errno::EACCES.as_result() {
            return Ok((stopped, result));
        }
        // A process that gave up root's rights below a root's view: it may only install filters if it gains none by an exec.
        let no_new_privileges = libc::PR_SET_NO_NEW_PRIVS.unsigned_abs().into();
        let (stopped, _) = self.inject(stopped, numbers.prctl, [no_new_privileges, 1, 0, 0, 0, 0])?;
        self.inject(stopped, numbers.seccomp, args)
    }
}

/// A result of a call that failed, as an errno.
fn errno_of(result: i64) -> Errno {
    // A 32-bit entry's result may come without its upper half.
    let low = i32::try_from(result).unwrap_or_else(|_| u32::try_from(result).map_or(0, u32::cast_signed));
    Errno::new(low.checked_neg().unwrap_or(0))
}

/// A copy of a descriptor of another process.
fn take_descriptor(process: Tid, number: u64) -> Result<OwnedFd, Errno> {
    // SAFETY: both calls take plain numbers and return a descriptor that nothing else owns.
    unsafe {
        let pidfd = libc::syscall(libc::SYS_pidfd_open, process.0, 0);
        let Ok(pidfd) = i32::try_from(pidfd) else { return Err(Errno::EMFILE) };
        if pidfd < 0 {
            return Err(Errno::last());
        }
        let pidfd = OwnedFd::from_raw_fd(pidfd);
        let fd = libc::syscall(libc::SYS_pidfd_getfd, std::os::fd::AsRawFd::as_raw_fd(&pidfd), number, 0);
        match i32::try_from(fd) {
            Ok(fd) if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd)),
            _ => Err(Errno::last()),
        }
    }
}

/// Where a process has its vDSO (getauxval(3), `AT_SYSINFO_EHDR`).
fn vdso(tid: Tid, abi: Abi) -> Option<u64> {
    let auxv = std::fs::read(format!("/proc/{tid}/auxv")).ok()?;
    let width = abi.pointer_size();
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |word, &byte| word << 8 | u64::from(byte));
    auxv.chunks_exact(2 * width).find_map(|entry| {
        let (key, value) = entry.split_at(width);
        (word(key) == libc::AT_SYSINFO_EHDR).then(|| word(value))
    })
}
