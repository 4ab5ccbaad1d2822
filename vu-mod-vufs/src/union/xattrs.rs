//! Extended attributes as the view sees them: those that A's or B's object has, and those that are kept.
//!
//! An object of A may carry an attribute of the mount's own ([`carried`](super::carried)), which the view does not see; what the view calls by such a name has
//! another one in A.

use super::{
    Kind, Place, Side, Trees,
    carried::{self, RECORD, shown_name, stored_name},
    copy::refused,
};
use vu_api::{AbsPath, Caller, Errno, FileType, Removed, XattrFlags};

impl Trees {
    pub(crate) fn get_xattr(&self, path: &AbsPath, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let object = self.object(path)?;
        match object.record.xattrs.get(name) {
            Some(value) => Ok(value.clone()),
            None => self.below.get_xattr(&object.name, &name_on(object.side, name)),
        }
    }

    pub(crate) fn list_xattr(&self, path: &AbsPath) -> Result<Vec<Vec<u8>>, Errno> {
        let object = self.object(path)?;
        let mut names = self.below.list_xattr(&object.name)?;
        if object.side == Side::Upper {
            names = names.into_iter().filter_map(shown_name).collect();
        }
        names.retain(|name| !object.record.xattrs.contains_key(name));
        names.extend(object.record.xattrs.into_keys());
        Ok(names)
    }

    pub(crate) fn set_xattr(
        &self,
        path: &AbsPath,
        name: &[u8],
        value: &[u8],
        flags: XattrFlags,
        caller: &dyn Caller,
    ) -> Result<(), Errno> {
        self.may_have(path, name)?;
        // Of an object that cannot have a list for what is made in it (`set_posix_acl`, fs/posix_acl.c): that no right is missing.
        if name == b"system.posix_acl_default" && self.stat(path)?.file_type() != FileType::Directory {
            return Err(Errno::EACCES);
        }
        let mut kept = false;
        self.changed(path, |side, file, record| match record.xattrs.contains_key(name) {
            true if flags.contains(XattrFlags::CREATE) => Err(Errno::EEXIST),
            true => {
                kept = true;
                Ok(())
            }
            false => match self.set_xattr_on(side, file, (name, value), flags, caller) {
                Err(errno) if self.may_keep() && is_kept(name, errno, caller) => {
                    if flags.contains(XattrFlags::REPLACE) {
                        return Err(Errno::ENODATA);
                    }
                    kept = true;
                    Ok(())
                }
                done => done,
            },
        })?;
        if !kept {
            return Ok(());
        }
        self.change_record(path, |record, _| drop(record.xattrs.insert(name.to_vec(), value.to_vec())))
    }

    /// Only files and directories have attributes of users (`xattr_permission`, fs/xattr.c).
    fn may_have(&self, path: &AbsPath, name: &[u8]) -> Result<(), Errno> {
        let has = !name.starts_with(b"user.")
            || matches!(self.stat(path)?.file_type(), FileType::Regular | FileType::Directory);
        if has { Ok(()) } else { Err(Errno::EPERM) }
    }

    pub(crate) fn remove_xattr(&self, path: &AbsPath, name: &[u8], caller: &dyn Caller) -> Result<(), Errno> {
        self.may_have(path, name)?;
        let mut kept = false;
        self.changed(path, |side, file, record| {
            kept = record.xattrs.contains_key(name);
            if kept { Ok(()) } else { self.below.remove_xattr(file, &name_on(side, name), caller) }
        })?;
        if kept { self.change_record(path, |record, _| drop(record.xattrs.remove(name))) } else { Ok(()) }
    }
}

impl Trees {
    /// See [`Filesystem::removed`](vu_api::Filesystem::removed). What was kept of an object of A is known as far as it carries that.
    pub(crate) fn removed(&self, path: &AbsPath, object: Removed) -> Removed {
        if self.kind == Kind::Merge {
            return self.below.removed(&self.in_lower(path), object);
        }
        let Removed { mut stat, xattrs } = self.below.removed(&self.in_upper(path), object);
        let mut record = xattrs.get(RECORD).and_then(|value| carried::read(value, stat.ino)).unwrap_or_default();
        if stat.nlink > 0
            && let Some(link) = self.linked(Place::Upper, &stat, &record)
        {
            // It has other names, and was one object with them in B. What cannot be read is not told.
            let _ = self.add_common(&link, &mut stat, &mut record);
        }
        record.apply(&mut stat);
        let shown = xattrs.into_iter().filter_map(|(name, value)| Some((shown_name(name)?, value)));
        Removed { stat, xattrs: shown.chain(record.xattrs).collect() }
    }
}

/// What an attribute of the view is called there.
pub(super) fn name_on(side: Side, name: &[u8]) -> Vec<u8> {
    match side {
        Side::Upper => stored_name(name),
        Side::Lower => name.to_vec(),
    }
}

/// Whether an attribute that the host refused is kept. Who has a virtual identity was judged by that; for all others the host's word counts (`xattr_permission`,
/// fs/xattr.c), but for what it takes from no ordinary user, as with owners, and what the file system has no room for.
fn is_kept(name: &[u8], errno: Errno, caller: &dyn Caller) -> bool {
    let by_anybody = errno == Errno::EOPNOTSUPP || name.starts_with(b"security.");
    is_for_few(name)
        && (refused(errno) || errno == Errno::EOPNOTSUPP)
        && (caller.is_virtual() || by_anybody && !name.starts_with(b"trusted."))
}

/// Attributes that not everybody may set, and so are kept where the host refuses them (xattr(7)).
pub(super) fn is_for_few(name: &[u8]) -> bool {
    [&b"security."[..], b"trusted.", b"user."].iter().any(|prefix| name.starts_with(prefix))
}
