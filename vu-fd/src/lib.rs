//! The kernel objects that stand for virtual open files.
//!
//! A tracee that opens a virtual directory must hold a real descriptor, so that dup, fork, close, fchdir, passing it over a
//! socket and all the rest need no interception. This crate makes that descriptor, a *placeholder*, and recognises it again.
//!
//! **What a placeholder is.** A directory of a tmpfs, opened and then removed. It is a directory in the kernel's eyes:
//! `O_DIRECTORY`, `EISDIR`, `fchdir` are right by themselves, and its file offset (any up to 2⁶²) serves as the
//! position in the listing. But it is dead: whatever is looked up or created below it fails with
//! `ENOENT`, so no call that escapes interception can reach the host through it. `fstat` and `getdents64` are asked of
//! the [`File`](vu_api::File) that the placeholder stands for.
//!
//! **How it is recognised.** By device and inode number, which the kernel keeps unique while the object lives: never
//! by process and descriptor number, which would have to follow every dup, fork and close.
//!
//! **When it is forgotten.** inotify, or fanotify in its place, tells when the last descriptor and the last working directory are gone. The events are
//! looked at when something is asked of [`Nodes`]; there is no thread.
#![forbid(unsafe_code)]

mod nodes;
mod placeholder;
mod watch;

pub use nodes::{HeldAs, Moment, Name, Node, Nodes};
