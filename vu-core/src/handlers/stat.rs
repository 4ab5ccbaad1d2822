//! stat

use crate::call::{Call, Outcome};
use vu_api::Errno;

/// stat(2).
pub fn stat(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// lstat(2).
pub fn lstat(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// newfstatat(2).
pub fn newfstatat(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// statx(2).
pub fn statx(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// access(2).
pub fn access(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// faccessat(2).
pub fn faccessat(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// faccessat2(2).
pub fn faccessat2(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// readlink(2).
pub fn readlink(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// readlinkat(2).
pub fn readlinkat(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// statfs(2).
pub fn statfs(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}
