//! control

use crate::call::{Call, Outcome};
use vu_api::Errno;

/// control(2).
pub fn control(_call: &mut Call) -> Result<Outcome, Errno> {
    Ok(Outcome::Host)
}
