//! The handlers of the syscall table.
//!
//! A handler *decodes* (what did the tracee ask, read from its registers and memory) and then *operates* (what does that mean in its view). Where several calls are
//! forms of one, each is a decoder of a few lines onto one private operation.

pub mod control;
mod direct;
pub mod dirs;
pub mod exec;
pub mod fds;
pub mod handles;
mod host_mounts;
pub mod identity;
pub mod ioctls;
pub mod landlock;
mod layouts;
mod link;
pub mod messages;
pub mod mount_queries;
pub mod mounts;
pub mod open;
mod own;
mod ownership;
mod prepare;
pub mod process;
pub mod quota;
mod refused;
pub mod rewrite;
pub mod sockets;
mod stand_ins;
pub mod stat;
mod xattrs;
