//! The hypervisor: views, layers, tasks, the syscall table and its handlers.

pub mod call;
pub mod config;
pub mod control;
pub mod debug;
pub mod handlers;
pub mod host;
pub mod layer;
pub mod log;
mod modules;
pub mod view;

/// Why a view cannot be started.
#[derive(Debug)]
pub enum StartError {
    /// The hypervisor is not there yet.
    Missing,
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("this umvu was built without its hypervisor")
    }
}

/// Runs a view; the exit status of its command.
///
/// # Errors
/// See [`StartError`].
pub fn run(_config: config::Config) -> Result<i32, StartError> {
    Err(StartError::Missing)
}
