//! Asking the hypervisor of the view.

use crate::failure::Failure;
use vu_api::Errno;
use vu_api::control::{Request, Rows};

/// Asks; see [`Request`] for the replies and errors.
///
/// # Errors
/// What the hypervisor says, or `ENOSYS` outside a view.
pub fn ask(request: &Request) -> Result<Rows, Errno> {
    vu_trace::control_call::control(request)
}

/// What a view says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The process id of its umvu.
    pub server_id: String,
    /// Its name; may be empty.
    pub name: String,
    /// The version of its umvu.
    pub version: String,
}

/// The view of the calling process, if it is in one.
#[must_use]
pub fn info() -> Option<Info> {
    let row = ask(&Request::ViewInfo).ok()?.into_iter().next()?;
    let [server_id, name, version] = row.try_into().ok()?;
    Some(Info { server_id, name, version })
}

/// The view of the calling process, for a tool that is of no use outside.
///
/// # Errors
/// A [`Failure`] that says so.
pub fn require() -> Result<Info, Failure> {
    info().ok_or_else(|| Failure::new("this process is not in a view: start one with 'umvu bash', and use it there"))
}

/// The names in the first column, for a message; `none` if there are none.
#[must_use]
pub fn names(rows: &Rows) -> String {
    let names: Vec<&str> = rows.iter().filter_map(|row| row.first()).map(String::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
