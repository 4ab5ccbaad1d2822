//! exec

use crate::call::{Call, Outcome};
use vu_api::Errno;

/// execve(2).
pub fn execve(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// execveat(2).
pub fn execveat(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}
