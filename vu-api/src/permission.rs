//! Who may do what to a file: the kernel's rules, as functions of its attributes and of who asks.

use crate::{AccessMode, Credentials, Errno, FileType, Stat, TimeChange, capability};

/// The classic permission check (`acl_permission_check`, `generic_permission`, `fs/namei.c`), without ACLs.
///
/// # Errors
/// `EACCES`.
pub fn permitted(stat: &Stat, mode: AccessMode, who: &Credentials) -> Result<(), Errno> {
    permitted_with(stat, || None, mode, who)
}

/// The same for a file that may have an access control list: `acl` fetches the value of its extended attribute
/// `system.posix_acl_access`, and is asked only if it matters.
///
/// # Errors
/// `EACCES`.
pub fn permitted_with(
    stat: &Stat,
    acl: impl FnOnce() -> Option<Vec<u8>>,
    mode: AccessMode,
    who: &Credentials,
) -> Result<(), Errno> {
    let bits = stat.permissions();
    let wanted = mode.bits().unsigned_abs() & 7;
    let within = |granted: u32| wanted & !granted == 0;
    let by_list = || if bits & 0o070 != 0 { by_acl(&acl()?, stat, wanted, who) } else { None };
    let granted = if who.uid == stat.uid {
        within(bits >> 6)
    } else if let Some(answer) = by_list() {
        answer
    } else if who.is_in(stat.gid) {
        within(bits >> 3)
    } else {
        within(bits)
    };
    if granted || overrides(stat, mode, who) { Ok(()) } else { Err(Errno::EACCES) }
}

/// What capabilities permit whatever the mode says.
fn overrides(stat: &Stat, mode: AccessMode, who: &Credentials) -> bool {
    let reads = who.has(capability::DAC_READ_SEARCH);
    let all = who.has(capability::DAC_OVERRIDE);
    if stat.file_type() == FileType::Directory {
        return all || reads && !mode.contains(AccessMode::WRITE);
    }
    // What nobody may execute, root may not either.
    let executable = !mode.contains(AccessMode::EXECUTE) || stat.permissions() & 0o111 != 0;
    all && executable || reads && mode == AccessMode::READ
}

/// What an access control list says (`posix_acl_permission`, `fs/posix_acl.c`); `None` if it is none (`include/uapi/linux/posix_acl_xattr.h`).
fn by_acl(value: &[u8], stat: &Stat, wanted: u32, who: &Credentials) -> Option<bool> {
    const VERSION: u32 = 2;
    const USER_OBJ: u16 = 0x01;
    const USER: u16 = 0x02;
    const GROUP_OBJ: u16 = 0x04;
    const GROUP: u16 = 0x08;
    const MASK: u16 = 0x10;
    const OTHER: u16 = 0x20;
    let (version, rest) = value.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != VERSION || rest.len() % 8 != 0 {
        return None;
    }
    let entries = rest.chunks_exact(8).filter_map(|entry| match entry {
        [t0, t1, p0, p1, a, b, c, d] => {
            let permissions = u32::from(u16::from_le_bytes([*p0, *p1]));
            Some((u16::from_le_bytes([*t0, *t1]), permissions, u32::from_le_bytes([*a, *b, *c, *d])))
        }
        _ => None,
    });
    let mask = entries.clone().find(|(tag, ..)| *tag == MASK).map_or(7, |(_, permissions, _)| permissions);
    let mut in_a_group = false;
    for (tag, permissions, id) in entries {
        let granted = wanted & !permissions == 0;
        let masked = wanted & !(permissions & mask) == 0;
        match tag {
            USER_OBJ if who.uid == stat.uid => return Some(granted),
            USER if who.uid == id => return Some(masked),
            GROUP_OBJ | GROUP if who.is_in(if tag == GROUP { id } else { stat.gid }) => {
                if granted {
                    return Some(masked);
                }
                in_a_group = true;
            }
            OTHER => return Some(!in_a_group && granted),
            _ => {}
        }
    }
    None
}

/// What only the owner may do, or who acts for owners (`inode_owner_or_capable`, `fs/inode.c`).
///
/// # Errors
/// `EPERM`.
pub fn owns(stat: &Stat, who: &Credentials) -> Result<(), Errno> {
    if who.uid == stat.uid || who.has(capability::FOWNER) { Ok(()) } else { Err(Errno::EPERM) }
}

/// Whether a symbolic link that ends a path may be followed: where everybody may have put it, only one's own, and those of the directory's owner
/// (`may_follow_link`, fs/namei.c). No capability helps. The setting `fs.protected_symlinks` says whether this counts.
///
/// # Errors
/// `EACCES`.
pub fn may_follow(directory: &Stat, link: &Stat, who: &Credentials) -> Result<(), Errno> {
    let everybodys = directory.permissions() & 0o1002 == 0o1002;
    if !everybodys || [who.uid, directory.uid].contains(&link.uid) { Ok(()) } else { Err(Errno::EACCES) }
}

/// Whether something may be taken away from a directory in which each may do so only with what is its own (`__check_sticky`, `fs/namei.c`).
///
/// # Errors
/// `EPERM`.
pub fn may_take(directory: &Stat, object: &Stat, who: &Credentials) -> Result<(), Errno> {
    let sticky = directory.permissions() & 0o1000 != 0;
    if !sticky || who.uid == directory.uid { Ok(()) } else { owns(object, who) }
}

/// Whether the owner and the group may be changed to these (`chown_ok`, `chgrp_ok`, `fs/attr.c`).
///
/// # Errors
/// `EPERM`.
pub fn may_chown(stat: &Stat, uid: Option<u32>, gid: Option<u32>, who: &Credentials) -> Result<(), Errno> {
    let own = who.uid == stat.uid;
    let user = uid.is_none_or(|uid| own && uid == stat.uid);
    let group = gid.is_none_or(|gid| own && (gid == stat.gid || who.is_in(gid)));
    if user && group || who.has(capability::CHOWN) { Ok(()) } else { Err(Errno::EPERM) }
}

/// The mode that is set when this one is asked for: nobody makes programs run with a group that is not theirs (`setattr_prepare`, `fs/attr.c`).
///
/// # Errors
/// `EPERM` for who is not the owner.
pub fn mode_to_set(stat: &Stat, mode: u32, who: &Credentials) -> Result<u32, Errno> {
    owns(stat, who)?;
    let keeps_group = who.is_in(stat.gid) || who.has(capability::FSETID);
    Ok(if keeps_group { mode } else { mode & !0o2000 })
}

/// Whether the times may be set to these (`setattr_prepare`, `vfs_utimes`): to now by whoever may write.
///
/// # Errors
/// `EPERM`; for now, `EACCES`.
pub fn may_set_times(
    stat: &Stat,
    (atime, mtime): (TimeChange, TimeChange),
    write: impl FnOnce() -> Result<(), Errno>,
    who: &Credentials,
) -> Result<(), Errno> {
    match (atime, mtime) {
        (TimeChange::Omit, TimeChange::Omit) => Ok(()),
        (TimeChange::Now, TimeChange::Now) => owns(stat, who).or_else(|_| write()),
        _ => owns(stat, who),
    }
}

/// Whether an extended attribute may be set or removed (`xattr_permission`, `fs/xattr.c`; `cap_inode_setxattr`, `security/commoncap.c`).
///
/// # Errors
/// `EPERM`; `EACCES` for who may not write.
pub fn may_set_xattr(
    stat: &Stat,
    name: &[u8],
    write: impl FnOnce() -> Result<(), Errno>,
    who: &Credentials,
) -> Result<(), Errno> {
    let needs = |capability| if who.has(capability) { Ok(()) } else { Err(Errno::EPERM) };
    if name == b"security.capability" {
        return needs(capability::SETFCAP);
    }
    if name.starts_with(b"trusted.") || name.starts_with(b"security.") {
        return needs(capability::SYS_ADMIN);
    }
    if name.starts_with(b"system.") {
        return owns(stat, who);
    }
    if name.starts_with(b"user.") {
        match stat.file_type() {
            FileType::Regular => {}
            FileType::Directory if stat.permissions() & 0o1000 == 0 => {}
            FileType::Directory => owns(stat, who)?,
            _ => return Err(Errno::EPERM),
        }
    }
    write()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(uid: u32, gid: u32, groups: &[u32], capabilities: &[u32]) -> Credentials {
        let capabilities = capabilities.iter().fold(0, |set, number| set | 1 << number);
        Credentials { uid, gid, groups: groups.to_vec(), umask: 0, capabilities }
    }

    fn object(kind: FileType, mode: u32) -> Stat {
        Stat { mode: kind.mode_bits() | mode, uid: 1, gid: 2, ..Stat::default() }
    }

    const R: AccessMode = AccessMode::READ;
    const W: AccessMode = AccessMode::WRITE;
    const X: AccessMode = AccessMode::EXECUTE;

    #[test]
    fn the_first_class_that_fits_decides() {
        let file = object(FileType::Regular, 0o047);
        assert_eq!(permitted(&file, R, &who(1, 2, &[], &[])), Err(Errno::EACCES), "the owner");
        assert_eq!(permitted(&file, R, &who(3, 2, &[], &[])), Ok(()), "the group");
        assert_eq!(permitted(&file, W, &who(3, 9, &[2], &[])), Err(Errno::EACCES), "a further group");
        assert_eq!(permitted(&file, R | W | X, &who(3, 3, &[], &[])), Ok(()), "all others");
    }

    #[test]
    fn capabilities_override() {
        let root = who(0, 0, &[], &[capability::DAC_OVERRIDE]);
        let reader = who(5, 5, &[], &[capability::DAC_READ_SEARCH]);
        let (file, directory) = (object(FileType::Regular, 0), object(FileType::Directory, 0));
        assert_eq!(permitted(&file, R | W, &root), Ok(()));
        assert_eq!(permitted(&file, X, &root), Err(Errno::EACCES), "nobody may execute it");
        assert_eq!(permitted(&object(FileType::Regular, 0o001), X, &root), Ok(()));
        assert_eq!(permitted(&directory, R | W | X, &root), Ok(()));
        assert_eq!(permitted(&directory, R | X, &reader), Ok(()));
        assert_eq!(permitted(&directory, W, &reader), Err(Errno::EACCES));
        assert_eq!(permitted(&file, R, &reader), Ok(()));
        assert_eq!(permitted(&file, R | W, &reader), Err(Errno::EACCES));
        assert_eq!(
            permitted(&file, R, &who(0, 0, &[], &[])),
            Err(Errno::EACCES),
            "root without capabilities is a user"
        );
    }

    /// A list as setfacl(1) makes it: `u::rw- u:5:rwx g::r-- g:6:rw- m::rw- o::---`.
    fn list() -> Option<Vec<u8>> {
        let entries: [(u16, u16, u32); 6] =
            [(1, 6, u32::MAX), (2, 7, 5), (4, 4, u32::MAX), (8, 6, 6), (16, 6, u32::MAX), (32, 0, u32::MAX)];
        let mut value = 2u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            value.extend(tag.to_le_bytes());
            value.extend(permissions.to_le_bytes());
            value.extend(id.to_le_bytes());
        }
        Some(value)
    }

    #[test]
    fn access_control_lists() {
        let file = object(FileType::Regular, 0o660);
        let may = |mode, who: &Credentials| permitted_with(&file, list, mode, who).is_ok();
        assert!(may(R | W, &who(1, 9, &[], &[])), "the owner");
        assert!(may(R | W, &who(5, 9, &[], &[])) && !may(X, &who(5, 9, &[], &[])), "a user it names, masked");
        assert!(may(R, &who(9, 2, &[], &[])) && !may(W, &who(9, 2, &[], &[])), "the group");
        assert!(may(W, &who(9, 2, &[6], &[])), "one of several groups is enough");
        assert!(!may(R, &who(9, 9, &[], &[])), "all others");
        assert!(permitted_with(&file, || Some(vec![1]), R, &who(9, 2, &[], &[])).is_ok(), "no list: the mode decides");
    }

    #[test]
    fn what_owners_may() {
        let file = object(FileType::Regular, 0o2755);
        let (owner, other, root) =
            (who(1, 9, &[], &[]), who(5, 2, &[], &[]), who(0, 0, &[], &[capability::CHOWN, capability::FOWNER]));
        assert_eq!((owns(&file, &owner), owns(&file, &other), owns(&file, &root)), (Ok(()), Err(Errno::EPERM), Ok(())));
        assert_eq!(mode_to_set(&file, 0o6755, &owner), Ok(0o4755), "not in the group");
        assert_eq!(mode_to_set(&file, 0o6755, &who(1, 2, &[], &[])), Ok(0o6755));
        assert_eq!(may_chown(&file, None, Some(9), &owner), Ok(()), "to a group of one's own");
        assert_eq!(may_chown(&file, None, Some(8), &owner), Err(Errno::EPERM));
        assert_eq!(may_chown(&file, Some(5), None, &owner), Err(Errno::EPERM));
        assert_eq!(may_chown(&file, Some(5), Some(8), &root), Ok(()));
        assert_eq!(may_chown(&file, None, None, &other), Ok(()));
        let sticky = object(FileType::Directory, 0o1777);
        assert_eq!(may_take(&sticky, &object(FileType::Regular, 0), &other), Err(Errno::EPERM));
        assert_eq!(may_take(&sticky, &Stat { uid: 5, ..file }, &other), Ok(()), "one's own");
        assert_eq!(may_take(&object(FileType::Directory, 0o777), &file, &other), Ok(()));
    }

    #[test]
    fn links_where_everybody_may_have_put_them() {
        let (sticky, open) = (object(FileType::Directory, 0o1777), object(FileType::Directory, 0o777));
        let closed = object(FileType::Directory, 0o1775);
        let link = |uid| Stat { uid, ..object(FileType::Symlink, 0o777) };
        let (other, root) = (who(5, 5, &[], &[]), who(0, 0, &[], &[capability::DAC_OVERRIDE]));
        assert_eq!(may_follow(&sticky, &link(7), &other), Err(Errno::EACCES));
        assert_eq!(may_follow(&sticky, &link(7), &root), Err(Errno::EACCES));
        assert_eq!(may_follow(&sticky, &link(5), &other), Ok(()), "one's own");
        assert_eq!(may_follow(&sticky, &link(1), &other), Ok(()), "the directory's owner's");
        assert_eq!((may_follow(&open, &link(7), &other), may_follow(&closed, &link(7), &other)), (Ok(()), Ok(())));
    }

    #[test]
    fn times_and_extended_attributes() {
        let file = object(FileType::Regular, 0o666);
        let (owner, other) = (who(1, 9, &[], &[]), who(5, 5, &[], &[]));
        let now = (TimeChange::Now, TimeChange::Now);
        assert_eq!(may_set_times(&file, now, || Ok(()), &other), Ok(()));
        assert_eq!(may_set_times(&file, now, || Err(Errno::EACCES), &other), Err(Errno::EACCES));
        assert_eq!(may_set_times(&file, (TimeChange::Now, TimeChange::Omit), || Ok(()), &other), Err(Errno::EPERM));
        assert_eq!(may_set_times(&file, (TimeChange::Omit, TimeChange::Omit), || Err(Errno::EACCES), &other), Ok(()));
        let may = |name: &[u8], who: &Credentials| may_set_xattr(&file, name, || Ok(()), who);
        assert_eq!((may(b"user.a", &other), may(b"trusted.a", &owner)), (Ok(()), Err(Errno::EPERM)));
        assert_eq!(
            (may(b"system.posix_acl_access", &other), may(b"security.capability", &owner)),
            (Err(Errno::EPERM), Err(Errno::EPERM))
        );
        assert_eq!(may(b"security.capability", &who(0, 0, &[], &[capability::SETFCAP])), Ok(()));
        let link = object(FileType::Symlink, 0o777);
        assert_eq!(may_set_xattr(&link, b"user.a", || Ok(()), &owner), Err(Errno::EPERM));
    }
}
