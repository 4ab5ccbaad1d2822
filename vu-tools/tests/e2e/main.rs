//! End-to-end tests: whole programs and shell sessions, as an unprivileged user, in real views.
//!
//! Most are *differential* (see [`harness`]): the same command runs natively and in four views, and must not be able to tell the
//! difference. Nothing is skipped: what a test needs and the machine lacks is a failure that names it, and `tests/run` installs it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod agents;
mod debug_log;
mod debuggers;
mod harness;
mod host_mounts;
mod hostile;
mod identities;
mod lifetime;
mod mounts;
mod oracle;
mod proc;
mod programs;
mod random_calls;
mod refusals;
mod roots;
mod session;
mod syscalls;
mod terminal;
mod unions;
