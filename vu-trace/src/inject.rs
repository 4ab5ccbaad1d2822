//! System calls that the tracer makes in a tracee.
//!
//! Each takes two stops, at its entry and at its exit, and the tracer serves others in between. All signals are held back meanwhile; the
//! tracee's program sees nothing of them.

use crate::{
    memory::{Memory, ProcessMemory},
    proc,
    ptrace::{Boundary, Delivery, Gone, Stopped, Tid},
    space::{Area, Lease},
    tracer::{Phase, Tracer},
    verdict::Hypervisor,
    x86_64::{Abi, Registers},
};
use vu_api::Errno;

/// What follows an injected call: it is given the call's result.
type Then<H> = Box<dyn FnOnce(&mut Tracer<H>, Stopped<Boundary>, i64) -> Result<(), Gone>>;

/// A call on its way. If the tracee dies, it is dropped, and what should have followed with it.
pub(crate) struct Injection<H> {
    /// The tracee's own registers.
    own: Registers,
    /// Its own blocked signals.
    mask: u64,
    before: Phase<H>,
    then: Then<H>,
}

/// A call of ours that the program's own filter refuses by a signal must not cost the program its handler, as a blocked signal would (`force_sig_info_to_task`).
const HELD_BACK: u64 = !(1 << (libc::SIGSYS - 1));

/// `ERESTARTSYS` … `ERESTART_RESTARTBLOCK`: "interrupted, to be restarted" inside the kernel (`include/linux/errno.h`).
pub(crate) const RESTARTS: std::ops::RangeInclusive<i64> = -516..=-512;

impl<H: Hypervisor> Tracer<H> {
    /// Has a tracee make one call; its registers and phase are as before when `then` is called.
    ///
    /// If a call of its own was interrupted by the stop, only a further stop makes the kernel decide about restarting it; if it was in a
    /// group-stop, it is none any more. So it will be made to stop again ([`go_on`](Tracer::go_on)).
    pub(crate) fn inject(
        &mut self,
        stopped: Stopped<Boundary>,
        abi: Abi,
        nr: i64,
        args: [u64; 6],
        then: impl FnOnce(&mut Tracer<H>, Stopped<Boundary>, i64) -> Result<(), Gone> + 'static,
    ) -> Result<(), Gone> {
        let tid = stopped.tid();
        let own = stopped.registers()?;
        let Some(gadget) = gadget(tid, &own, abi) else {
            return then(self, stopped, Errno::ENOSYS.as_result());
        };
        let mask = stopped.signal_mask()?;
        stopped.set_signal_mask(HELD_BACK)?;
        let mut regs = own;
        regs.enter(gadget, nr);
        regs.set_args(abi, args);
        stopped.set_registers(&regs)?;
        let before = self.take_phase(tid);
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.owed = true;
            thread.injected_at = Some(gadget + Abi::ENTRY_LENGTH);
            thread.phase = Phase::Injecting(Box::new(Injection { own, mask, before, then: Box::new(then) }));
        }
        self.resume(stopped);
        Ok(())
    }

    /// At the exit from an injected call.
    pub(crate) fn injected(&mut self, stopped: Stopped<Boundary>, injection: Injection<H>) -> Result<(), Gone> {
        let Injection { own, mask, before, then } = injection;
        let result = stopped.registers()?.result();
        stopped.set_registers(&own)?;
        stopped.set_signal_mask(mask)?;
        self.set_phase(stopped.tid(), before);
        then(self, stopped, result)
    }

    /// A signal in the midst of an injected call: only what cannot be held back.
    pub(crate) fn signalled_injecting(
        &mut self,
        stopped: Stopped<Delivery>,
        injection: Box<Injection<H>>,
        signal: i32,
    ) -> Result<(), Gone> {
        let tid = stopped.tid();
        if matches!(signal, libc::SIGSTOP | libc::SIGSYS) {
            // The stop is passed through and found again behind the call. A SIGSYS without a filter behind it is somebody's kill(2).
            self.set_phase(tid, Phase::Injecting(injection));
            stopped.deliver(crate::ptrace::Resume::ToSyscall, if signal == libc::SIGSTOP { signal } else { 0 });
            return Ok(());
        }
        // The instruction that enters the kernel cannot be executed: nobody can do anything in this process.
        tracing::error!("{tid}: a system call of the hypervisor's was answered by signal {signal}; it does without");
        let mut own = injection.own;
        if own.result() == self.mark() {
            own.set_result(Errno::ENOSYS.as_result());
        }
        stopped.set_registers(&own)?;
        stopped.set_signal_mask(injection.mask)?;
        self.set_phase(tid, injection.before);
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.give_up(self.required.len());
        }
        let how = self.how(tid);
        stopped.deliver(how, 0);
        Ok(())
    }

    /// Scratch memory of at least `length` bytes, mapped into the tracee if none is free.
    pub(crate) fn with_memory(
        &mut self,
        stopped: Stopped<Boundary>,
        abi: Abi,
        length: usize,
        then: impl FnOnce(&mut Tracer<H>, Stopped<Boundary>, Result<Lease, Errno>) -> Result<(), Gone> + 'static,
    ) -> Result<(), Gone> {
        let tid = stopped.tid();
        let space = self.space(tid);
        if let Some(lease) = space.take(tid, abi, length, self.signature()) {
            return then(self, stopped, Ok(lease));
        }
        let length = Area::to_map(length);
        let protection = (libc::PROT_READ | libc::PROT_WRITE).unsigned_abs().into();
        let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS).unsigned_abs().into();
        // The result may come in a 32-bit register.
        let no_file = u32::MAX.into();
        let args = [0, length as u64, protection, flags, no_file, 0];
        self.inject(stopped, abi, abi.numbers().mmap, args, move |tracer, stopped, result| {
            let lease = match address_or_errno(result) {
                // A filter of the program's may have put anything there.
                Ok(address) if address % 4096 != 0 => Err(Errno::ENOMEM),
                Ok(address) => {
                    let area = Area::mapped(address, length);
                    space.add(stopped.tid(), area, tracer.signature()).ok_or(Errno::ENOMEM)
                }
                Err(errno) => Err(errno),
            };
            tracer.seen(stopped.tid());
            then(tracer, stopped, lease)
        })
    }
}

/// The result of a call that returns a number or a negative errno. 32-bit entries may return the latter without its upper half.
pub(crate) fn address_or_errno(result: i64) -> Result<u64, Errno> {
    let short = u32::try_from(result).map_or(result, |low| i64::from(low.cast_signed()));
    if (-4095..0).contains(&short) {
        return Err(Errno::new(i32::try_from(-short).unwrap_or(0)));
    }
    Ok(result.cast_unsigned())
}

/// The address of an instruction that enters the kernel: the one the tracee used last or is about to use, or any in its executable memory.
fn gadget(tid: Tid, regs: &Registers, abi: Abi) -> Option<u64> {
    /// How much of each mapping is looked at, and of all together: a program may have mapped as much as it likes.
    const MOST: usize = 4 << 20;
    const MOST_OF_ALL: usize = 64 << 20;
    let memory = ProcessMemory(tid);
    let entry = abi.entry_instruction();
    let here = regs.instruction();
    let behind = here.wrapping_sub(Abi::ENTRY_LENGTH);
    for at in [behind, here] {
        let mut code = [0u8; 2];
        // Both bytes lie on the page that the tracee executes.
        let same_page = at / 4096 == here / 4096 && at % 4096 != 4095;
        if same_page && memory.read(at, &mut code).is_ok() && code == entry {
            return Some(at);
        }
    }
    // Wherever these bytes stand in executable memory, jumping there executes them.
    let mut left = MOST_OF_ALL;
    proc::executable_memory(tid).into_iter().find_map(|(start, length)| {
        let mut image = vec![0u8; length.min(MOST).min(left)];
        left -= image.len();
        let got = memory.read_some(start, &mut image).ok()?;
        let at = image[..got].windows(2).position(|bytes| bytes == entry)?;
        Some(start + at as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results() {
        assert_eq!(address_or_errno(7), Ok(7));
        assert_eq!(address_or_errno(-12), Err(Errno::ENOMEM));
        assert_eq!(address_or_errno(0xffff_fff4), Err(Errno::ENOMEM), "from a 32-bit register");
        assert_eq!(address_or_errno(0xf7f0_0000), Ok(0xf7f0_0000), "a high address of 32 bits");
        assert_eq!(address_or_errno(0x7fff_0000_0000), Ok(0x7fff_0000_0000));
    }

    #[test]
    fn a_gadget_is_found_in_the_vdso_or_elsewhere() {
        let own = Tid(std::process::id().cast_signed());
        // SAFETY: all-zero is a valid value of this struct of integers.
        let regs = Registers(unsafe { std::mem::zeroed() });
        let at = gadget(own, &regs, Abi::X86_64).unwrap();
        let mut code = [0; 2];
        ProcessMemory(own).read(at, &mut code).unwrap();
        assert_eq!(code, [0x0f, 0x05]);
    }
}
