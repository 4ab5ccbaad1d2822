//! The hypervisor: views, layers, tasks, the syscall table and its handlers.
//!
//! The tracee's side, from the outside in: [`core`] dispatches an intercepted call by the [`table`] to its handler in [`handlers`]; a handler decodes the
//! arguments ([`call`]), asks what a path means ([`resolve`]), and acts. The view's side: a [`view`] has mounts, a [`layer`] routes
//! each path to one of them, and the [`host`] is at the bottom.

pub mod agents;
pub mod call;
pub mod clear;
pub mod config;
pub mod control;
pub mod core;
mod core_files;
pub mod debug;
pub mod explain;
pub mod handlers;
pub mod host;
pub mod identity;
pub mod keep;
pub mod layer;
pub mod lent;
mod libraries;
pub mod listed;
pub mod log;
pub mod mapped;
mod modest;
mod modules;
pub mod mount;
pub mod mount_list;
pub mod object_request;
pub mod permission;
mod proc_fdinfo;
mod proc_files;
mod proc_maps;
mod proc_status;
pub mod program;
pub mod resolve;
pub mod route;
mod run;
pub mod scratch;
pub mod socket_names;
mod sys;
pub mod table;
pub mod task;
pub mod tmpfs;
mod tree;
mod umask;
pub mod view;

pub use run::{StartError, run};
