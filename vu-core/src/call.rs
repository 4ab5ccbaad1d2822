//! One intercepted system call of a tracee, and what becomes of it.

use vu_api::Errno;

/// A system call as it stands in the tracee's registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Syscall {
    /// Its number.
    pub nr: i64,
    /// Its six arguments.
    pub args: [u64; 6],
}

/// An intercepted call while it is handled.
pub struct Call {
    /// What the tracee asked.
    pub syscall: Syscall,
}

/// What becomes of a call.
pub enum Outcome {
    /// It runs in the kernel as it is.
    Host,
    /// It is answered with this result.
    Done(i64),
}

/// A handler of the syscall table.
pub type Handler = fn(&mut Call) -> Result<Outcome, Errno>;
