//! The *agent*: code inside the tracees that lets a path call go to the kernel at once, where its answer is known to be right.
//!
//! A notification costs two changes of process, whatever is decided. Most decisions are "the kernel is right", and the next call asks for another file
//! of the same directory. So the hypervisor publishes what it found out on a [`Board`], memory that its tracees can read: *this directory, by this text, is what the
//! kernel finds, and no mount lies on the way*. The agent looks there first. What it does not find there goes the usual way, and is published then.
//!
//! **How it gets there.** `ld.so` opens the C library, and is given a copy ([`image`]) in which the few places that make path calls
//! jump to a page of code behind its end ([`code`]). No process is stopped for it, and its pages are shared by all. The call that is made in the end, by either way, is the program's own.
//!
//! **What it must not do.** It keeps no state, takes no memory, makes no descriptor, and never waits. All that it changes are registers that a system call
//! may change, and memory below the red zone of the stack. If it meets memory that cannot be read, the tracer takes it back to the beginning, and
//! the kernel says `EFAULT`, as always ([`code::recover`]).
//!
//! **How the filter knows its calls.** By the view's cookie in the sixth argument, which calls of the hypervisor's own in a tracee carry, too. A view is no jail: who reads
//! the cookie there sees the host's files, which are his own.
//!
//! **Invariant:** this crate does not know what a mount is; `unsafe` only in `board.rs` (the shared memory) and `code.rs` (the assembled bytes).

pub mod board;
mod calls;
pub mod code;
mod elf;
pub mod image;
pub mod sites;

pub use board::{Bind, Board, Doubts, Key, Seeds, Start};
pub use image::{Image, ImageError};
