//! sockets

use crate::call::{Call, Outcome};
use vu_api::Errno;

/// socket(2).
pub fn socket(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// bind(2).
pub fn bind(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// connect(2).
pub fn connect(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}

/// sendto(2).
pub fn sendto(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}
