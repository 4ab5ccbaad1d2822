//! How umvu intercepts: ptrace attached for life, and seccomp user notification.
//!
//! Two mechanisms, each for what it does best (ARCHITECTURE.md has the measurements):
//!
//! * *ptrace* is attached to every thread of the view from its birth to its death, and asks for no stops at system calls. It gives exact inheritance
//!   (births are events), exact signals and group-stops, injection and replacement of calls, and nothing outlives the hypervisor.
//! * *seccomp notification* hands over the calls that carry paths and the like; the kernel passes the core from the caller to the supervisor
//!   and back, which no ptrace-stop does.
//!
//! With nothing mounted only the base filter is there, and no path call stops. [`Required::add`] says that a further filter is
//! necessary; it is then injected into every running process.
//!
//! Who decides about calls implements [`Hypervisor`]; [`launch`] starts it.
//!
//! **Invariant:** this crate does not know what any system call means, but for the few that the tracer makes in tracees itself, and those that make threads. It knows neither paths nor mounts.

mod auxiliary;
mod births;
mod bpf;
mod check;
pub mod control_call;
mod core_files;
mod debugger;
mod deciders;
mod doorbell;
mod exec;
mod execs;
mod fence;
pub mod filter;
mod filters;
mod front;
mod handover;
mod in_place;
mod inject;
mod launch;
pub mod memory;
mod naming;
mod notify;
mod own_filters;
mod proc;
mod ptrace;
mod relief;
mod repair;
mod rewrite;
mod seat;
mod space;
mod supervisor;
mod team;
mod tracer;
mod verdict;
mod x86_64;

pub use check::Hindrance;
pub use exec::{execute_on_path, with_inherited_broken_pipes};
pub use filters::{Filter, Required};
pub use handover::forgo as forgo_confinement;
pub use launch::{Launch, launch};
pub use memory::{Address, FakeMemory, Memory, ProcessMemory};
pub use naming::{NamedBy, Naming};
pub use notify::{Listener, Notification, Received};
pub use ptrace::Tid;
pub use seat::start as start_thread;
pub use space::scratch_in;
pub use verdict::{
    Appearance, Argument, Birth, Borrow, Death, Finish, Hypervisor, Intercepted, Interception, NewDescriptor, Parent,
    Placed, Pointer, Rewrite, Verdict,
};
pub use x86_64::{Abi, Registers};
