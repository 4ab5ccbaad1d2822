//! The handlers of the syscall table.

pub mod control;
pub mod dirs;
pub mod exec;
pub mod fds;
pub mod mounts;
pub mod open;
pub mod process;
pub mod rewrite;
pub mod sockets;
pub mod stat;
