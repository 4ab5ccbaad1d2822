//! fds

use crate::call::{Call, Outcome};
use vu_api::Errno;

/// fstat(2).
pub fn fstat(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// getdents(2).
pub fn getdents(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// getdents64(2).
pub fn getdents64(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// ioctl(2).
pub fn ioctl(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// fsync(2).
pub fn fsync(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// fstatfs(2).
pub fn fstatfs(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// fchmod(2).
pub fn fchmod(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// fchown(2).
pub fn fchown(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// ftruncate(2).
pub fn ftruncate(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// fgetxattr(2).
pub fn fgetxattr(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// flistxattr(2).
pub fn flistxattr(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// fsetxattr(2).
pub fn fsetxattr(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// fremovexattr(2).
pub fn fremovexattr(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}
