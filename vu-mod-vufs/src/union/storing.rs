//! What is asked of A's file system first, and kept where that refuses it: owners, device files, attributes for the privileged.
//!
//! The layer below may be one that would only *keep* them, as a union does. It is not asked, as if it were the host, which refuses them to an ordinary user: so what
//! is kept of an object goes with it, also to where nothing is kept.

use super::{Side, Trees, xattrs::name_on};
use vu_api::{AbsPath, Caller, Errno, FileType, XattrFlags};

impl Trees {
    /// Whether the layer below keeps, but does not store, what an ordinary user cannot have stored of an object of A.
    fn would_only_be_kept(&self, side: Side, name: &AbsPath) -> bool {
        side == Side::Upper && self.may_keep() && self.below.keeps_owners(name)
    }

    /// chown(2) of an object of A or B.
    ///
    /// # Errors
    /// `EPERM`, …
    pub(super) fn chown_on(
        &self,
        side: Side,
        name: &AbsPath,
        uid: Option<u32>,
        gid: Option<u32>,
        caller: &dyn Caller,
    ) -> Result<(), Errno> {
        if self.would_only_be_kept(side, name) { Err(Errno::EPERM) } else { self.below.chown(name, uid, gid, caller) }
    }

    /// mknod(2) in A or B.
    ///
    /// # Errors
    /// `EPERM` for devices, …
    pub(super) fn mknod_on(
        &self,
        side: Side,
        name: &AbsPath,
        mode: u32,
        rdev: u64,
        caller: &dyn Caller,
    ) -> Result<(), Errno> {
        let is_device = matches!(FileType::from_mode(mode), Some(FileType::CharDevice | FileType::BlockDevice));
        if is_device && self.would_only_be_kept(side, &name.parent()) {
            return Err(Errno::EPERM);
        }
        self.below.mknod(name, mode, rdev, caller)
    }

    /// Sets an attribute of an object of A or B, by its name in the view.
    ///
    /// # Errors
    /// `EPERM`, …
    pub(super) fn set_xattr_on(
        &self,
        side: Side,
        object: &AbsPath,
        (name, value): (&[u8], &[u8]),
        flags: XattrFlags,
        caller: &dyn Caller,
    ) -> Result<(), Errno> {
        let is_for_the_privileged = name.starts_with(b"security.") || name.starts_with(b"trusted.");
        if is_for_the_privileged && self.would_only_be_kept(side, object) {
            return Err(Errno::EPERM);
        }
        self.below.set_xattr(object, &name_on(side, name), value, flags, caller)
    }
}
