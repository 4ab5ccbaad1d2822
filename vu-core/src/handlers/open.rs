//! open

use crate::call::{Call, Outcome};
use vu_api::Errno;

/// open(2).
pub fn open(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// openat(2).
pub fn openat(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// openat2(2).
pub fn openat2(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// creat(2).
pub fn creat(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}
