//! Replacing a notified call by another one.
//!
//! A notification cannot change a call, only answer it. So the caller is interrupted, the notification answered for show
//! ([`Phase::Answered`]), and the caller stops before it is back in its program. There it is made to issue the very same call again, watched for
//! system calls ([`Phase::Reissuing`]). Only at the stop at the entry of that call are number and arguments exchanged ([`Phase::Inside`]), and at its
//! exit the argument registers restored. Signals are held back until that entry, or a program with a fast timer would never get there. From
//! then on they do what they do to any call, and a handler sees the tracee's own registers.

use crate::{
    Listener,
    inject::RESTARTS,
    memory::{self, Memory, ProcessMemory},
    ptrace::{Boundary, Entry, Gone, Stopped, Tid, interrupt},
    space::{BelowStack, Scratch},
    tracer::{Phase, Tracer},
    verdict::{Argument, Finish, Hypervisor, Pointer, Rewrite},
    x86_64::{Abi, Registers},
};
use vu_api::Errno;

/// What is done with a call that was answered for show.
pub(crate) enum Answered {
    /// Another one takes its place.
    Rewrite(Replaced),
    /// It is made again after the process's memory was made readable.
    Expose,
    /// Another one takes its place, on a descriptor that it has been given.
    Borrow(Borrowed),
}

/// A call that is made on a descriptor, which is closed behind it.
pub(crate) struct Borrowed {
    /// The descriptor's.
    pub number: i32,
    pub abi: Abi,
    /// That of the call.
    pub nr: i64,
    pub finish: Finish,
}

/// A call, and what is to take its place.
pub(crate) struct Replaced {
    pub rewrite: Box<Rewrite>,
    pub abi: Abi,
    /// The number of its own.
    pub nr: i64,
    /// Its own arguments.
    pub args: [u64; 6],
}

/// A call that is about to be made in place of the tracee's own.
pub(crate) struct Reissue {
    nr: i64,
    values: [u64; 6],
    cookie: bool,
    finish: Option<Finish>,
    abi: Abi,
    /// The registers with which the call is made again.
    own: Registers,
    scratch: Option<Scratch>,
    /// The tracee's own blocked signals, while all are.
    mask: Option<u64>,
}

/// A call that is made in place of the tracee's own.
pub(crate) struct Inside {
    finish: Option<Finish>,
    /// The tracee's own registers, as they are to be after the call, but for the result.
    own: Registers,
    /// In use by the call until it is over.
    scratch: Option<Scratch>,
}

impl Inside {
    /// An exec has succeeded.
    pub(crate) fn succeeded(self) {
        if let Some(finish) = self.finish {
            finish(0);
        }
    }
}

impl Reissue {
    /// For a rewrite that needs no memory in the tracee.
    pub(crate) fn without_memory(rewrite: Rewrite, own: Registers, abi: Abi) -> Reissue {
        let (values, _) = arrange(&rewrite.args, own.args(abi), abi, 0);
        let Rewrite { nr, cookie, finish, .. } = rewrite;
        Reissue { nr, values, cookie, finish, abi, own, scratch: None, mask: None }
    }
}

impl Rewrite {
    /// Whether it has arguments that lie in the tracee's memory.
    pub(crate) fn needs_memory(&self) -> bool {
        self.args
            .iter()
            .any(|argument| matches!(argument, Argument::Bytes(_) | Argument::Vector(_) | Argument::Record(..)))
    }
}

impl<H: Hypervisor> Tracer<H> {
    /// The result of a call that was answered for show: no call returns it, so that the stop behind it is recognised.
    pub(crate) fn mark(&self) -> i64 {
        ((self.cookie | 1 << 61) & (u64::MAX >> 2)).cast_signed()
    }

    /// A call that waits for its verdict: answers it, and has its caller stop before its program sees the answer.
    pub(crate) fn answer_for_show(&mut self, tid: Tid, listener: &Listener, id: u64, answered: Answered) {
        // Who is not known any more was killed in the meantime.
        let Some(thread) = self.threads.get(&tid) else {
            return listener.answer(id, Errno::ENOSYS.as_result());
        };
        if !matches!(thread.phase, Phase::Free) {
            if listener.waits(id) {
                tracing::error!("{tid}: a system call out of turn; it fails with ENOSYS");
            }
            return listener.answer(id, Errno::ENOSYS.as_result());
        }
        let answered = match answered {
            Answered::Rewrite(replaced) => match self.overwrite(tid, listener, id, replaced) {
                Ok(()) => return,
                Err(replaced) => Answered::Rewrite(replaced),
            },
            answered @ (Answered::Expose | Answered::Borrow(_)) => answered,
        };
        // If it is dying there is nobody to answer. It wakes up interrupted, so it stops before anything else happens to it.
        if interrupt(tid).is_ok() {
            let Some(process) = self.threads.get(&tid).map(|thread| thread.process) else { return };
            if let Answered::Rewrite(Replaced { rewrite, .. }) = &answered
                && let Some(filter) = &rewrite.filter
            {
                let filter = filter.clone();
                self.want(process, &filter);
            }
            let Some(thread) = self.threads.get_mut(&tid) else { return };
            thread.phase = Phase::Answered(answered);
            let mark = self.mark();
            if !listener.answer_if_waiting(id, mark)
                && let Some(thread) = self.threads.get_mut(&tid)
            {
                // Its caller is dead, and this is perhaps another thread of the same number, which must not notice that it was interrupted.
                thread.phase = Phase::Free;
                thread.asked = true;
            }
        }
    }

    /// At the stop behind a call that was answered for show.
    pub(crate) fn instead(
        &mut self,
        stopped: Stopped<Boundary>,
        mut regs: Registers,
        answered: Answered,
    ) -> Result<(), Gone> {
        match answered {
            Answered::Rewrite(Replaced { rewrite, abi, nr, .. }) => {
                regs.set_syscall(nr);
                self.prepare(stopped, regs, *rewrite, abi)
            }
            Answered::Expose => {
                regs.reissue();
                stopped.set_registers(&regs)?;
                self.set_phase(stopped.tid(), Phase::Unreadable);
                self.go_on(stopped)
            }
            Answered::Borrow(borrowed) => self.call_on(stopped, borrowed),
        }
    }

    /// Makes the call on the descriptor, and closes that.
    fn call_on(&mut self, stopped: Stopped<Boundary>, borrowed: Borrowed) -> Result<(), Gone> {
        let Borrowed { number, abi, nr, finish } = borrowed;
        let tid = stopped.tid();
        let args = [u64::from(number.unsigned_abs()), 0, 0, 0, 0, 0];
        self.passing.let_pass(tid);
        self.inject(stopped, abi, nr, args, move |tracer, stopped, result| {
            tracer.passing.take(tid);
            let result = finish(result);
            tracer.inject(stopped, abi, abi.numbers().close, args, move |tracer, stopped, _| {
                let mut regs = stopped.registers()?;
                regs.set_result(result);
                stopped.set_registers(&regs)?;
                tracer.left(stopped)
            })
        })
    }

    /// Prepares the arguments of the call that is to take the place of the one that the tracee has just left, and has the tracee's own made again.
    pub(crate) fn prepare(
        &mut self,
        stopped: Stopped<Boundary>,
        own: Registers,
        rewrite: Rewrite,
        abi: Abi,
    ) -> Result<(), Gone> {
        if !rewrite.needs_memory() {
            return self.reissue(stopped, Reissue::without_memory(rewrite, own, abi));
        }
        let (_, bytes) = arrange(&rewrite.args, own.args(abi), abi, 0);
        if self.is_about_to_vanish(stopped.tid(), abi, rewrite.nr)
            && let Some(below) = BelowStack::near(&ProcessMemory(stopped.tid()), own.stack(), bytes.len())
        {
            return self.place_arguments(stopped, own, rewrite, abi, Ok(Scratch::Stack(below)));
        }
        self.with_memory(stopped, abi, bytes.len(), move |tracer, stopped, lease| {
            tracer.place_arguments(stopped, own, rewrite, abi, lease.map(Scratch::Area))
        })
    }

    /// Whether a call, if it succeeds, does away with the memory of the process, which is nobody else's.
    pub(crate) fn is_about_to_vanish(&self, tid: Tid, abi: Abi, nr: i64) -> bool {
        let process = self.threads.get(&tid).and_then(|thread| self.processes.get(&thread.process));
        abi.numbers().executes(nr) && process.is_some_and(|process| process.threads == 1 && process.space.is_unshared())
    }

    fn place_arguments(
        &mut self,
        stopped: Stopped<Boundary>,
        mut own: Registers,
        rewrite: Rewrite,
        abi: Abi,
        scratch: Result<Scratch, Errno>,
    ) -> Result<(), Gone> {
        let placed = scratch.and_then(|scratch| {
            let (values, bytes) = arrange(&rewrite.args, own.args(abi), abi, scratch.address());
            if let Err(errno) = ProcessMemory(stopped.tid()).write(scratch.address(), &bytes) {
                scratch.put_back(stopped.tid());
                return Err(errno);
            }
            let Rewrite { nr, cookie, finish, placed: told, .. } = rewrite;
            if let Some(told) = told {
                let _ = told.set(values);
            }
            Ok(Reissue { nr, values, cookie, finish, abi, own, scratch: Some(scratch), mask: None })
        });
        match placed {
            Ok(reissue) => self.reissue(stopped, reissue),
            Err(errno) => {
                own.set_result(errno.as_result());
                stopped.set_registers(&own)?;
                self.go_on(stopped)
            }
        }
    }

    fn reissue(&mut self, stopped: Stopped<Boundary>, mut reissue: Reissue) -> Result<(), Gone> {
        reissue.own.reissue();
        stopped.set_registers(&reissue.own)?;
        reissue.mask = Some(stopped.signal_mask()?);
        stopped.set_signal_mask(!0)?;
        self.set_phase(stopped.tid(), Phase::Reissuing(Box::new(reissue)));
        self.go_on(stopped)
    }

    /// At the entry of the first call behind that.
    pub(crate) fn enter(&mut self, stopped: Stopped<Entry>, mut reissue: Reissue) -> Result<(), Gone> {
        if let Some(mask) = reissue.mask {
            stopped.set_signal_mask(mask)?;
        }
        let now = stopped.registers()?;
        if now.enters(&reissue.own, reissue.abi) {
            reissue.own = now;
            return self.substitute(stopped, reissue);
        }
        // Somebody else changed the registers. The call will be made, and notified, anew, if it is made at all.
        if let Some(scratch) = reissue.scratch {
            scratch.put_back(stopped.tid());
        }
        self.resume(stopped);
        Ok(())
    }

    /// At the entry to a call, whose registers are `reissue.own`: puts the other one in its place.
    pub(crate) fn substitute(&mut self, stopped: Stopped<Entry>, reissue: Reissue) -> Result<(), Gone> {
        let Reissue { nr, mut values, cookie, finish, abi, own, scratch, mask: _ } = reissue;
        let tid = stopped.tid();
        if cookie && abi == Abi::X86_64 {
            values[5] = self.cookie;
        } else {
            self.passing.let_pass(tid);
        }
        let mut regs = own;
        regs.set_syscall(nr);
        regs.set_args(abi, values);
        stopped.set_registers(&regs)?;
        self.set_phase(tid, Phase::Inside(Box::new(Inside { finish, own, scratch })));
        self.resume(stopped);
        Ok(())
    }

    /// At the exit from a substituted call.
    pub(crate) fn leave(&mut self, stopped: Stopped<Boundary>, inside: Inside) -> Result<(), Gone> {
        let Inside { finish, own, scratch } = inside;
        self.passing.take(stopped.tid());
        let result = stopped.registers()?.result();
        if result != Errno::EINTR.as_result()
            && let Some(thread) = self.threads.get_mut(&stopped.tid())
        {
            thread.sleeps_since = None;
        }
        let mut regs = own;
        regs.set_result(result);
        // An interrupted call has no result yet: the kernel decides between EINTR and doing it again, which then is the tracee's own.
        if !RESTARTS.contains(&result)
            && let Some(finish) = finish
        {
            regs.set_result(finish(result));
        }
        if let Some(scratch) = scratch {
            scratch.put_back(stopped.tid());
        }
        stopped.set_registers(&regs)?;
        self.left(stopped)
    }

    // ---- programs whose memory may not be read

    /// At the entry of a call of such a program: makes `prctl(PR_SET_DUMPABLE, 1)` in its place.
    ///
    /// A program file that may be executed but not read (mode 0111), and a program that asked for it (ssh-agent), can only be looked at by root. Their
    /// calls could not be understood.
    pub(crate) fn expose(&mut self, stopped: Stopped<Entry>) -> Result<(), Gone> {
        let own = stopped.registers()?;
        let abi = stopped.abi(&own);
        let mut regs = own;
        regs.set_syscall(abi.numbers().prctl);
        regs.set_args(abi, [libc::PR_SET_DUMPABLE.unsigned_abs().into(), 1, 0, 0, 0, 0]);
        stopped.set_registers(&regs)?;
        self.set_phase(stopped.tid(), Phase::Exposing(own));
        self.resume(stopped);
        Ok(())
    }

    /// At the exit of that: has the program make its own call.
    pub(crate) fn exposed(&mut self, stopped: Stopped<Boundary>, mut own: Registers) -> Result<(), Gone> {
        let tid = stopped.tid();
        if memory::unreadable(tid, own.instruction()) {
            // Something forbids it: better an error than trying for ever.
            own.set_result(Errno::EPERM.as_result());
            own.set_syscall(-1);
        } else {
            own.reissue();
        }
        stopped.set_registers(&own)?;
        // Filters that it could not be given before come before the call.
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.owed |= thread.filters < self.required.len();
        }
        self.go_on(stopped)
    }
}

/// The values of arguments whose bytes lie at `base` on, and those bytes.
fn arrange(args: &[Argument; 6], own: [u64; 6], abi: Abi, base: u64) -> ([u64; 6], Vec<u8>) {
    let mut bytes = Vec::new();
    let mut values = own;
    for (value, argument) in values.iter_mut().zip(args) {
        match argument {
            Argument::Keep => {}
            Argument::Value(new) => *value = *new,
            Argument::Bytes(data) => *value = append(&mut bytes, base, data),
            Argument::Vector(pointers) => {
                let mut vector = Vec::new();
                for pointer in pointers {
                    let address = match pointer {
                        Pointer::Address(address) => *address,
                        Pointer::Bytes(data) => append(&mut bytes, base, data),
                    };
                    vector.extend_from_slice(&address.to_le_bytes()[..abi.pointer_size()]);
                }
                vector.resize(vector.len() + abi.pointer_size(), 0);
                *value = append(&mut bytes, base, &vector);
            }
            Argument::Record(record, pointers) => {
                let mut record = record.clone();
                for (offset, data) in pointers {
                    let address = append(&mut bytes, base, data).to_le_bytes();
                    let width = abi.pointer_size();
                    if let Some(place) = record.get_mut(*offset..).and_then(|rest| rest.get_mut(..width)) {
                        place.copy_from_slice(&address[..width]);
                    }
                }
                *value = append(&mut bytes, base, &record);
            }
        }
    }
    (values, bytes)
}

/// Appends at an address that any type can have; returns the address.
fn append(bytes: &mut Vec<u8>, base: u64, data: &[u8]) -> u64 {
    bytes.resize(bytes.len().next_multiple_of(16), 0);
    let address = base + bytes.len() as u64;
    bytes.extend_from_slice(data);
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_laid_out_behind_one_another() {
        let args = [
            Argument::Keep,
            Argument::Bytes(b"/bin/sh\0".to_vec()),
            Argument::Vector(vec![Pointer::Address(7), Pointer::Bytes(b"x\0".to_vec())]),
            Argument::Value(9),
            Argument::Keep,
            Argument::Keep,
        ];
        let (values, bytes) = arrange(&args, [1, 2, 3, 4, 5, 6], Abi::X86_64, 0x1000);
        assert_eq!(values, [1, 0x1000, 0x1020, 9, 5, 6]);
        assert_eq!(&bytes[..8], b"/bin/sh\0");
        assert_eq!(&bytes[0x10..0x12], b"x\0");
        let vector: Vec<u64> =
            bytes[0x20..].chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
        assert_eq!(vector, [7, 0x1010, 0]);
        let record = Argument::Record(vec![9; 20], vec![(8, b"name".to_vec())]);
        let args = [Argument::Keep, record, Argument::Keep, Argument::Keep, Argument::Keep, Argument::Keep];
        for (abi, expected) in [
            (Abi::X86_64, [&[9; 8][..], &[0, 0x10, 0, 0, 0, 0, 0, 0], &[9; 4]]),
            (Abi::I386, [&[9; 8][..], &[0, 0x10, 0, 0], &[9; 8]]),
        ] {
            let (values, bytes) = arrange(&args, [0; 6], abi, 0x1000);
            assert_eq!((values[1], &bytes[..4]), (0x1010, &b"name"[..]));
            assert_eq!(bytes[0x10..], expected.concat());
        }
    }
}
