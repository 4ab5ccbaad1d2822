//! quotactl(2): the quotas are the host's; what names their file system is a path of the view.

use crate::{
    call::{Call, Outcome},
    handlers::rewrite,
    sys,
};
use vu_api::Errno;

/// The command that names a second path, of the host's quota file (`include/uapi/linux/quota.h`).
const Q_QUOTAON: u32 = 0x80_0002;

/// quotactl(2).
pub fn quotactl(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    // To all others it is EPERM by itself (`check_quotactl_permission`, `fs/quota/quota.c`).
    if call.uint(0) >> 8 == Q_QUOTAON && sys::effective_uid() == 0 {
        return Err(Errno::EPERM);
    }
    rewrite::paths(call)
}
