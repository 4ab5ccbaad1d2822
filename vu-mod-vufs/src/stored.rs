//! Extended attributes that the host stores, as a comparison of two trees is told them.

use rustix::{
    fs::{XattrFlags, lgetxattr, llistxattr, lremovexattr, lsetxattr},
    io::Errno,
};
use std::{collections::BTreeMap, io, path::Path};

/// Attributes, by their names.
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// The longest value, and list of names (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`, include/uapi/linux/limits.h).
const LONGEST: usize = 65536;

/// Those of an object that belong to it wherever it is: its user's, access control lists, capabilities. Labels of security modules are each machine's own.
#[must_use]
pub fn stored_xattrs(object: &Path) -> Xattrs {
    let mut list = vec![0; LONGEST];
    // A file system without them has none.
    let Ok(length) = llistxattr(object, &mut list[..]) else { return Xattrs::new() };
    let mut value = vec![0; LONGEST];
    let names = list.get(..length).unwrap_or_default().split(|&byte| byte == 0).filter(|name| belongs(name));
    names
        .filter_map(|name| {
            let length = lgetxattr(object, name, &mut value[..]).ok()?;
            Some((name.to_vec(), value.get(..length)?.to_vec()))
        })
        .collect()
}

/// Gives an object these, and takes others away.
///
/// # Errors
/// The first that the host refuses, named.
pub fn store_xattrs(object: &Path, wanted: &Xattrs) -> io::Result<()> {
    let named = |name: &[u8], errno: Errno| {
        let errno = vu_api::Errno::new(errno.raw_os_error());
        io::Error::other(format!("{}: {errno}", String::from_utf8_lossy(name)))
    };
    let present = stored_xattrs(object);
    for name in present.keys().filter(|name| !wanted.contains_key(*name)) {
        lremovexattr(object, &name[..]).map_err(|errno| named(name, errno))?;
    }
    for (name, value) in wanted.iter().filter(|(name, value)| present.get(*name) != Some(*value)) {
        lsetxattr(object, &name[..], value, XattrFlags::empty()).map_err(|errno| named(name, errno))?;
    }
    Ok(())
}

fn belongs(name: &[u8]) -> bool {
    let kinds = [&b"user."[..], b"trusted.", b"system.posix_acl_", b"security.capability"];
    kinds.iter().any(|kind| name.starts_with(kind))
}
