//! dirs

use crate::call::{Call, Outcome};
use vu_api::Errno;

/// chdir(2).
pub fn chdir(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// fchdir(2).
pub fn fchdir(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// getcwd(2).
pub fn getcwd(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// chroot(2).
pub fn chroot(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}
