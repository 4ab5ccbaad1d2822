//! mounts

use crate::call::{Call, Outcome};
use vu_api::Errno;

/// mount(2).
pub fn mount(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// umount2(2).
pub fn umount2(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}
