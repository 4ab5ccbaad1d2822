//! Keeping children inside: `CLONE_UNTRACED` would make a child of which its tracer hears nothing.
//!
//! It is meant for the kernel's own threads. A filter stops clone(2) with this flag, and every clone3(2), whose flags lie in memory that no filter
//! sees; the call is then made without the flag.

use crate::{
    memory::{Address, Memory, ProcessMemory},
    ptrace::{Entry, Gone, Stopped, Tid},
    x86_64::{Abi, Registers},
};
use libc::sock_filter;

const UNTRACED: u32 = libc::CLONE_UNTRACED.unsigned_abs();

/// The flags of a clone3(2) that were changed in memory, and are to be put back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Changed {
    address: Address,
    flags: u64,
}

impl Changed {
    /// Whether this is the call; an earlier one failed, and made nothing.
    pub(crate) fn belongs_to(self, regs: &Registers, abi: Abi) -> bool {
        regs.syscall() == abi.numbers().clone3 && regs.args(abi)[0] == self.address
    }

    /// In the memory of the caller, or in its child's copy.
    pub(crate) fn put_back(self, tid: Tid) {
        // Who unmapped it meanwhile does not look at it.
        let _ = ProcessMemory(tid).write(self.address, &self.flags.to_le_bytes());
    }
}

/// The filter.
pub(crate) fn filter() -> Vec<sock_filter> {
    let load = |k| sock_filter { code: 0x20, jt: 0, jf: 0, k };
    let equal = |k, jt, jf| sock_filter { code: 0x15, jt, jf, k };
    let clone = |abi: Abi| u32::try_from(abi.numbers().clone).unwrap_or(u32::MAX);
    let clone3 = |abi: Abi| u32::try_from(abi.numbers().clone3).unwrap_or(u32::MAX);
    vec![
        load(4),
        equal(Abi::X86_64.audit_arch(), 0, 3),
        load(0),
        equal(clone3(Abi::X86_64), 7, 0),
        equal(clone(Abi::X86_64), 4, 7),
        equal(Abi::I386.audit_arch(), 0, 6),
        load(0),
        equal(clone3(Abi::I386), 3, 0),
        equal(clone(Abi::I386), 0, 3),
        // The lower half of the first argument.
        load(16),
        sock_filter { code: 0x45, jt: 0, jf: 1, k: UNTRACED },
        sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_TRACE },
        sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
    ]
}

/// What a stop by a filter before a call has to do with this.
pub(crate) enum Fenced {
    /// Nothing.
    No,
    /// The call is made without the flag, if it had it.
    Yes(Option<Changed>),
}

/// At a stop by a filter.
pub(crate) fn keep_inside(stopped: &Stopped<Entry>, mut regs: Registers, abi: Abi) -> Result<Fenced, Gone> {
    let mut args = regs.args(abi);
    let untraced = u64::from(UNTRACED);
    if regs.syscall() == abi.numbers().clone3 {
        let memory = ProcessMemory(stopped.tid());
        // Where it cannot be read, the kernel cannot read it either, or the program may not be read: such a one keeps what it asks for.
        let Ok(flags) = memory.read_u64(args[0]) else { return Ok(Fenced::Yes(None)) };
        if flags & untraced == 0 || memory.write(args[0], &(flags & !untraced).to_le_bytes()).is_err() {
            return Ok(Fenced::Yes(None));
        }
        return Ok(Fenced::Yes(Some(Changed { address: args[0], flags })));
    }
    if regs.syscall() != abi.numbers().clone || args[0] & untraced == 0 {
        return Ok(Fenced::No);
    }
    args[0] &= !untraced;
    regs.set_args(abi, args);
    stopped.set_registers(&regs)?;
    Ok(Fenced::Yes(None))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the filter says to a call, with the first argument `flags`.
    fn verdict(arch: u32, nr: u32, flags: u32) -> u32 {
        let program = filter();
        let (mut at, mut accumulator) = (0usize, 0);
        loop {
            let instruction = program[at];
            at += 1;
            let holds = match instruction.code {
                0x06 => return instruction.k,
                0x20 => {
                    accumulator = [nr, arch, 0, 0, flags][instruction.k as usize / 4];
                    continue;
                }
                0x15 => accumulator == instruction.k,
                _ => accumulator & instruction.k != 0,
            };
            at += usize::from(if holds { instruction.jt } else { instruction.jf });
        }
    }

    #[test]
    fn only_what_may_leave_is_stopped() {
        for abi in [Abi::X86_64, Abi::I386] {
            let (clone, clone3) = (abi.numbers().clone, abi.numbers().clone3);
            for nr in 0..500u32 {
                for flags in [0, 1, UNTRACED, UNTRACED | 17, !UNTRACED] {
                    let stops = i64::from(nr) == clone3 || i64::from(nr) == clone && flags & UNTRACED != 0;
                    let expected = if stops { libc::SECCOMP_RET_TRACE } else { libc::SECCOMP_RET_ALLOW };
                    assert_eq!(verdict(abi.audit_arch(), nr, flags), expected, "{abi:?} {nr} {flags:x}");
                }
            }
        }
        assert_eq!(verdict(0xc000_00b7, 435, UNTRACED), libc::SECCOMP_RET_ALLOW);
    }
}
