//! open_by_handle_at(2): a handle leads to a file without a path, past every mount.

use crate::{
    call::{Call, Outcome},
    sys,
};
use std::os::fd::AsFd;
use vu_api::Errno;
use vu_trace::Memory;

/// The longest handle there is (`include/linux/exportfs.h`).
const MAX_HANDLE_SZ: u32 = 128;
/// In place of a descriptor: the file systems of pidfds and of namespaces (`include/uapi/linux/fcntl.h`), on which there are no files of anybody.
const FD_PIDFS_ROOT: i32 = -10002;
const FD_NSFS_ROOT: i32 = -10003;
/// The same by a descriptor of theirs (`include/uapi/linux/magic.h`).
const PID_FS_MAGIC: i64 = 0x5049_4446;
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// Refused when everything else is right, with what Linux says without `CAP_DAC_READ_SEARCH`, in its order (`handle_to_path`, `fs/fhandle.c`).
pub fn open_by_handle_at(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let memory = call.memory();
    let length = memory.read_u32(call.arg(1))?;
    memory.read_u32(call.arg(1).wrapping_add(4))?;
    if length == 0 || length > MAX_HANDLE_SZ {
        return Err(Errno::EINVAL);
    }
    match call.int(0) {
        libc::AT_FDCWD => {}
        FD_PIDFS_ROOT | FD_NSFS_ROOT => return Ok(Outcome::Host),
        number => {
            let file_system = sys::fstatfs(call.task.descriptor(number)?.as_fd())?.f_type;
            if [PID_FS_MAGIC, NSFS_MAGIC].contains(&file_system) {
                return Ok(Outcome::Host);
            }
        }
    }
    Err(Errno::EPERM)
}
