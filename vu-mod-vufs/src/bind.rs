//! The mode `bind`: one part of the layer below, seen at the mount point.

use std::sync::Arc;
use vu_api::{
    AbsPath, AccessMode, Caller, Errno, Filesystem, Location, OpenHow, Opened, Probe, Purpose, RenameFlags, Stat,
    StatFs, TimeChange, XattrFlags,
};

/// A file or directory of the layer below under another name.
///
/// It owns nothing: an object of it *is* the object below ([`Filesystem::locate`] says so), and every operation is the
/// operation below, under the name there.
pub struct Bind {
    below: Arc<dyn Filesystem>,
    source: AbsPath,
    except: Vec<AbsPath>,
}

impl Bind {
    /// `source`, a path of `below`, without the paths `except`, which are relative to the mount.
    #[must_use]
    pub fn new(below: Arc<dyn Filesystem>, source: AbsPath, except: Vec<AbsPath>) -> Bind {
        Bind { below, source, except }
    }

    /// The name of the object in the layer below.
    fn name_below(&self, path: &AbsPath) -> AbsPath {
        self.source.below(&path.as_bytes()[1..])
    }
}

impl Filesystem for Bind {
    fn declines(&self, path: &AbsPath) -> bool {
        self.except.iter().any(|exception| path.starts_with(exception))
    }

    fn locate(&self, path: &AbsPath, purpose: Purpose) -> Result<Location, Errno> {
        self.below.locate(&self.name_below(path), purpose)
    }

    fn probe(&self, path: &AbsPath) -> Result<Probe, Errno> {
        match self.below.probe(&self.name_below(path))? {
            // The source was free of symbolic links when it was mounted. If someone replaced a directory on the way to
            // it by one since, no component of the caller's path is to blame, and there is nothing to walk: the source
            // is gone.
            Probe::Symlink if matches!(self.below.probe(&self.source)?, Probe::Symlink) => Err(Errno::ENOENT),
            probe => Ok(probe),
        }
    }

    fn stat(&self, path: &AbsPath) -> Result<Stat, Errno> {
        self.below.stat(&self.name_below(path))
    }

    fn open(&self, path: &AbsPath, how: &OpenHow, caller: &dyn Caller) -> Result<Opened, Errno> {
        self.below.open(&self.name_below(path), how, caller)
    }

    fn read_link(&self, path: &AbsPath) -> Result<Vec<u8>, Errno> {
        self.below.read_link(&self.name_below(path))
    }

    fn access(&self, path: &AbsPath, mode: AccessMode, caller: &dyn Caller) -> Result<(), Errno> {
        self.below.access(&self.name_below(path), mode, caller)
    }

    fn mkdir(&self, path: &AbsPath, mode: u32, caller: &dyn Caller) -> Result<(), Errno> {
        self.below.mkdir(&self.name_below(path), mode, caller)
    }

    fn mknod(&self, path: &AbsPath, mode: u32, rdev: u64, caller: &dyn Caller) -> Result<(), Errno> {
        self.below.mknod(&self.name_below(path), mode, rdev, caller)
    }

    fn unlink(&self, path: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        refuse_root(path)?;
        self.below.unlink(&self.name_below(path), caller)
    }

    fn rmdir(&self, path: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        refuse_root(path)?;
        self.below.rmdir(&self.name_below(path), caller)
    }

    fn rename(&self, from: &AbsPath, to: &AbsPath, flags: RenameFlags, caller: &dyn Caller) -> Result<(), Errno> {
        refuse_root(from)?;
        refuse_root(to)?;
        self.below.rename(&self.name_below(from), &self.name_below(to), flags, caller)
    }

    fn link(&self, from: &AbsPath, to: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        self.below.link(&self.name_below(from), &self.name_below(to), caller)
    }

    fn symlink(&self, target: &[u8], path: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        self.below.symlink(target, &self.name_below(path), caller)
    }

    fn chmod(&self, path: &AbsPath, mode: u32, caller: &dyn Caller) -> Result<(), Errno> {
        self.below.chmod(&self.name_below(path), mode, caller)
    }

    fn chown(&self, path: &AbsPath, uid: Option<u32>, gid: Option<u32>, caller: &dyn Caller) -> Result<(), Errno> {
        self.below.chown(&self.name_below(path), uid, gid, caller)
    }

    fn utimens(&self, path: &AbsPath, atime: TimeChange, mtime: TimeChange, caller: &dyn Caller) -> Result<(), Errno> {
        self.below.utimens(&self.name_below(path), atime, mtime, caller)
    }

    fn truncate(&self, path: &AbsPath, size: u64, caller: &dyn Caller) -> Result<(), Errno> {
        self.below.truncate(&self.name_below(path), size, caller)
    }

    fn statfs(&self, path: &AbsPath) -> Result<StatFs, Errno> {
        self.below.statfs(&self.name_below(path))
    }

    fn get_xattr(&self, path: &AbsPath, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.below.get_xattr(&self.name_below(path), name)
    }

    fn list_xattr(&self, path: &AbsPath) -> Result<Vec<Vec<u8>>, Errno> {
        self.below.list_xattr(&self.name_below(path))
    }

    fn set_xattr(
        &self,
        path: &AbsPath,
        name: &[u8],
        value: &[u8],
        flags: XattrFlags,
        caller: &dyn Caller,
    ) -> Result<(), Errno> {
        self.below.set_xattr(&self.name_below(path), name, value, flags, caller)
    }

    fn remove_xattr(&self, path: &AbsPath, name: &[u8], caller: &dyn Caller) -> Result<(), Errno> {
        self.below.remove_xattr(&self.name_below(path), name, caller)
    }
}

/// A mount point can be neither removed nor renamed (`d_is_local_mountpoint`, `fs/namei.c`): else the name that vanished
/// would be the source's.
fn refuse_root(path: &AbsPath) -> Result<(), Errno> {
    if path.is_root() { Err(Errno::EBUSY) } else { Ok(()) }
}
