//! The hypervisor: views, layers, tasks, the syscall table and its handlers.

pub mod call;
pub mod config;
pub mod debug;
pub mod handlers;
pub mod log;
