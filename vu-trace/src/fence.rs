//! Keeping children inside: `CLONE_UNTRACED` would make a child of which its tracer hears nothing.
//!
//! It is meant for the kernel's own threads. clone(2) with it is stopped by a filter and made without it. The flags of clone3(2) lie in memory, which no
//! filter sees, and stopping each clone3 would make every thread and every posix_spawn dearer; who goes that way keeps the
//! filters it was born with, and its intercepted calls fail with `ENOSYS`.

use crate::{
    ptrace::{Entry, Gone, Stopped},
    x86_64::{Abi, Registers},
};
use libc::sock_filter;

const UNTRACED: u32 = libc::CLONE_UNTRACED.unsigned_abs();

/// The filter.
pub(crate) fn filter() -> Vec<sock_filter> {
    let load = |k| sock_filter { code: 0x20, jt: 0, jf: 0, k };
    let equal = |k, jt, jf| sock_filter { code: 0x15, jt, jf, k };
    let allow = sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
    let number = |abi: Abi| u32::try_from(abi.numbers().clone).unwrap_or(u32::MAX);
    vec![
        load(4),
        equal(Abi::X86_64.audit_arch(), 0, 2),
        load(0),
        equal(number(Abi::X86_64), 3, 6),
        equal(Abi::I386.audit_arch(), 0, 5),
        load(0),
        equal(number(Abi::I386), 0, 3),
        // The lower half of the first argument.
        load(16),
        sock_filter { code: 0x45, jt: 0, jf: 1, k: UNTRACED },
        sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_TRACE },
        allow,
    ]
}

/// At a stop by a filter: if it is this one's, the call is made without the flag.
pub(crate) fn keep_inside(stopped: &Stopped<Entry>, mut regs: Registers, abi: Abi) -> Result<bool, Gone> {
    let mut args = regs.args(abi);
    if regs.syscall() != abi.numbers().clone || args[0] & u64::from(UNTRACED) == 0 {
        return Ok(false);
    }
    args[0] &= !u64::from(UNTRACED);
    regs.set_args(abi, args);
    stopped.set_registers(&regs)?;
    Ok(true)
}
