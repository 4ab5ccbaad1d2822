//! What the calls about extended attributes take from their caller, and give to it (xattr(7), `fs/xattr.c`).

use crate::call::{Call, Outcome};
use vu_api::Errno;
use vu_trace::Memory;

/// The longest value (`XATTR_SIZE_MAX`, `include/uapi/linux/limits.h`).
pub(super) const SIZE_MAX: usize = 65536;
/// The longest name, `XATTR_NAME_MAX`, and a NUL.
const NAME_MAX: usize = 256;

/// The name of an attribute at an argument (`import_xattr_name`).
///
/// # Errors
/// `ERANGE` for none, and for one that is too long; `EFAULT`.
pub(super) fn name(call: &Call<'_>, index: usize) -> Result<Vec<u8>, Errno> {
    match call.memory().read_string(call.arg(index), NAME_MAX) {
        Ok(name) if !name.is_empty() => Ok(name),
        Ok(_) | Err(Errno::ENAMETOOLONG) => Err(Errno::ERANGE),
        Err(errno) => Err(errno),
    }
}

/// The value that is to be set.
///
/// # Errors
/// `E2BIG`, `EFAULT`.
pub(super) fn value(call: &Call<'_>, address: u64, size: usize) -> Result<Vec<u8>, Errno> {
    if size > SIZE_MAX {
        return Err(Errno::E2BIG);
    }
    let mut value = vec![0; size];
    call.memory().read(address, &mut value)?;
    Ok(value)
}

/// Fills a buffer, which may have no room at all to learn how much is needed.
///
/// # Errors
/// `ERANGE` if it is too short; `EFAULT`.
pub(super) fn give(call: &Call<'_>, bytes: &[u8], address: u64, size: usize) -> Result<Outcome, Errno> {
    if size != 0 {
        if size < bytes.len() {
            return Err(Errno::ERANGE);
        }
        call.write(address, bytes)?;
    }
    Ok(Outcome::Done(i64::try_from(bytes.len()).unwrap_or(i64::MAX)))
}
