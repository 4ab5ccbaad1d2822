//! A special file: the one object of a vudev mount.

use crate::Attributes;
use parking_lot::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};
use vu_api::{
    AbsPath, AccessMode, Caller, Credentials, Errno, Filesystem, OpenFlags, OpenHow, Opened, Probe, RenameFlags, Stat,
    Time, TimeChange, permitted,
};

/// What stands behind a special file.
pub trait Device: Send + Sync {
    /// Type and attributes as far as the mount's words do not set them.
    ///
    /// # Errors
    /// `ENXIO` if the device is gone; others of stat(2).
    fn stat(&self) -> Result<Stat, Errno>;

    /// Opens it. That the caller may was checked; `flags` creates nothing.
    ///
    /// # Errors
    /// Those of open(2).
    fn open(&self, flags: OpenFlags, caller: &dyn Caller) -> Result<Opened, Errno>;
}

/// A file system that is one special file: its root, which is the mount point.
pub struct SpecialFile {
    device: Box<dyn Device>,
    attributes: Mutex<Attributes>,
}

impl SpecialFile {
    /// The file of `device`, with these attributes.
    #[must_use]
    pub fn new(device: Box<dyn Device>, attributes: Attributes) -> SpecialFile {
        SpecialFile { device, attributes: Mutex::new(attributes) }
    }

    /// Changes the attributes, if `allowed` says so of the present ones and who asks.
    fn change(
        &self,
        path: &AbsPath,
        caller: &dyn Caller,
        allowed: impl FnOnce(&Stat, &Credentials) -> Result<(), Errno>,
        change: impl FnOnce(&mut Attributes, &Stat),
    ) -> Result<(), Errno> {
        let who = caller.credentials()?;
        only_the_root(path)?;
        let device = self.device.stat()?;
        let mut attributes = self.attributes.lock();
        let stat = attributes.over(device);
        allowed(&stat, &who)?;
        change(&mut attributes, &stat);
        attributes.ctime = Some(now());
        Ok(())
    }
}

impl Filesystem for SpecialFile {
    fn probe(&self, path: &AbsPath) -> Result<Probe, Errno> {
        Ok(Probe::Found { file_type: Some(self.stat(path)?.file_type()), handle: None })
    }

    fn stat(&self, path: &AbsPath) -> Result<Stat, Errno> {
        only_the_root(path)?;
        let device = self.device.stat()?;
        Ok(self.attributes.lock().over(device))
    }

    fn open(&self, path: &AbsPath, how: &OpenHow, caller: &dyn Caller) -> Result<Opened, Errno> {
        let flags = how.flags;
        let stat = self.stat(path)?;
        if flags.contains(OpenFlags::DIRECTORY) {
            return Err(Errno::ENOTDIR);
        }
        if !flags.contains(OpenFlags::PATH) {
            if flags.contains(OpenFlags::CREAT | OpenFlags::EXCL) {
                return Err(Errno::EEXIST);
            }
            let read = if flags.reads() { AccessMode::READ } else { AccessMode::empty() };
            let write = if flags.writes() { AccessMode::WRITE } else { AccessMode::empty() };
            permitted(&stat, read | write, &caller.credentials()?)?;
        }
        // The file is there; whatever the device opens below must not come into being by that.
        self.device.open(flags - (OpenFlags::CREAT | OpenFlags::EXCL), caller)
    }

    fn chmod(&self, path: &AbsPath, mode: u32, caller: &dyn Caller) -> Result<(), Errno> {
        self.change(path, caller, owns, |attributes, _| attributes.mode = Some(mode & 0o7777))
    }

    /// Who may is `chown_ok` and `chgrp_ok` of `fs/attr.c`.
    fn chown(&self, path: &AbsPath, uid: Option<u32>, gid: Option<u32>, caller: &dyn Caller) -> Result<(), Errno> {
        let allowed = |stat: &Stat, who: &Credentials| {
            let owner = who.uid == stat.uid;
            let own_group = |gid| gid == who.gid || who.groups.contains(&gid);
            let uid_stays = uid.is_none_or(|uid| owner && uid == stat.uid);
            let gid_may = gid.is_none_or(|gid| owner && (gid == stat.gid || own_group(gid)));
            if who.uid == 0 || uid_stays && gid_may { Ok(()) } else { Err(Errno::EPERM) }
        };
        self.change(path, caller, allowed, |attributes, stat| {
            attributes.uid = Some(uid.unwrap_or(stat.uid));
            attributes.gid = Some(gid.unwrap_or(stat.gid));
            // Set-id bits do not survive a new owner (`chown_common`, `fs/open.c`).
            attributes.mode = Some(stat.permissions() & !0o6000);
        })
    }

    fn utimens(&self, path: &AbsPath, atime: TimeChange, mtime: TimeChange, caller: &dyn Caller) -> Result<(), Errno> {
        let allowed = |stat: &Stat, who: &Credentials| match (atime, mtime) {
            // "Now" is what writing to the file would do as well (utimensat(2), "Permissions requirements").
            (TimeChange::Now, TimeChange::Now) => owns(stat, who).or_else(|_| permitted(stat, AccessMode::WRITE, who)),
            _ => owns(stat, who),
        };
        self.change(path, caller, allowed, |attributes, _| {
            for (field, change) in [(&mut attributes.atime, atime), (&mut attributes.mtime, mtime)] {
                match change {
                    TimeChange::Now => *field = Some(now()),
                    TimeChange::Set(time) => *field = Some(time),
                    TimeChange::Omit => {}
                }
            }
        })
    }

    fn truncate(&self, path: &AbsPath, _size: u64, _caller: &dyn Caller) -> Result<(), Errno> {
        only_the_root(path).and(Err(Errno::EINVAL))
    }

    // The root is a mount point: it exists, and can be neither removed nor renamed (`d_is_local_mountpoint`, `fs/namei.c`).

    fn mkdir(&self, path: &AbsPath, _mode: u32, _caller: &dyn Caller) -> Result<(), Errno> {
        only_the_root(path).and(Err(Errno::EEXIST))
    }

    fn mknod(&self, path: &AbsPath, _mode: u32, _rdev: u64, _caller: &dyn Caller) -> Result<(), Errno> {
        only_the_root(path).and(Err(Errno::EEXIST))
    }

    fn symlink(&self, _target: &[u8], path: &AbsPath, _caller: &dyn Caller) -> Result<(), Errno> {
        only_the_root(path).and(Err(Errno::EEXIST))
    }

    fn link(&self, _from: &AbsPath, to: &AbsPath, _caller: &dyn Caller) -> Result<(), Errno> {
        only_the_root(to).and(Err(Errno::EEXIST))
    }

    fn unlink(&self, path: &AbsPath, _caller: &dyn Caller) -> Result<(), Errno> {
        only_the_root(path).and(Err(Errno::EBUSY))
    }

    fn rmdir(&self, _path: &AbsPath, _caller: &dyn Caller) -> Result<(), Errno> {
        Err(Errno::ENOTDIR)
    }

    fn rename(&self, from: &AbsPath, _to: &AbsPath, _flags: RenameFlags, _caller: &dyn Caller) -> Result<(), Errno> {
        only_the_root(from).and(Err(Errno::EBUSY))
    }
}

/// Below a special file there is nothing.
fn only_the_root(path: &AbsPath) -> Result<(), Errno> {
    if path.is_root() { Ok(()) } else { Err(Errno::ENOTDIR) }
}

/// `inode_owner_or_capable`, `fs/inode.c`.
fn owns(stat: &Stat, who: &Credentials) -> Result<(), Errno> {
    if who.uid == 0 || who.uid == stat.uid { Ok(()) } else { Err(Errno::EPERM) }
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { secs: i64::try_from(since.as_secs()).unwrap_or_default(), nanos: since.subsec_nanos() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use vu_api::testing::{As, path};

    /// A device of mode 0640, owned by user and group 1000.
    struct Disk;

    impl Device for Disk {
        fn stat(&self) -> Result<Stat, Errno> {
            Ok(Stat { mode: 0o060_640, uid: 1000, gid: 1000, ..Stat::default() })
        }

        fn open(&self, flags: OpenFlags, _caller: &dyn Caller) -> Result<Opened, Errno> {
            assert!(!flags.intersects(OpenFlags::CREAT | OpenFlags::EXCL));
            Ok(Opened::Host(File::open("/dev/null")?.into()))
        }
    }

    fn disk() -> SpecialFile {
        SpecialFile::new(Box::new(Disk), Attributes::default())
    }

    const OWNER: u32 = 1000;
    const OTHER: u32 = 1001;

    #[track_caller]
    fn check_open(user: u32, flags: OpenFlags, expected: Result<(), Errno>) {
        let how = OpenHow { flags, mode: 0 };
        assert_eq!(disk().open(&path("/"), &how, &As::user(user)).map(|_| ()), expected, "{flags:?}");
    }

    #[test]
    fn opening() {
        check_open(OWNER, OpenFlags::RDWR, Ok(()));
        check_open(0, OpenFlags::RDWR, Ok(()));
        check_open(OTHER, OpenFlags::empty(), Err(Errno::EACCES));
        check_open(OTHER, OpenFlags::PATH, Ok(()));
        check_open(OWNER, OpenFlags::CREAT | OpenFlags::WRONLY | OpenFlags::TRUNC, Ok(()));
        check_open(OWNER, OpenFlags::CREAT | OpenFlags::EXCL, Err(Errno::EEXIST));
        check_open(OWNER, OpenFlags::DIRECTORY, Err(Errno::ENOTDIR));
        check_open(OWNER, OpenFlags::DIRECTORY | OpenFlags::PATH, Err(Errno::ENOTDIR));
    }

    #[test]
    fn there_is_nothing_below() {
        let (disk, user) = (disk(), &As::user(0));
        let below = path("/x");
        assert_eq!(disk.probe(&below).err(), Some(Errno::ENOTDIR));
        assert_eq!(disk.stat(&below).err(), Some(Errno::ENOTDIR));
        assert_eq!(disk.mkdir(&below, 0, user), Err(Errno::ENOTDIR));
        assert_eq!(disk.mkdir(&path("/"), 0, user), Err(Errno::EEXIST));
        assert_eq!(disk.unlink(&path("/"), user), Err(Errno::EBUSY));
        assert_eq!(disk.truncate(&path("/"), 0, user), Err(Errno::EINVAL));
    }

    #[test]
    fn attributes_are_the_files_own() {
        let (disk, root) = (disk(), path("/"));
        let (owner, other, superuser) = (&As::user(OWNER), &As::user(OTHER), &As::user(0));

        assert_eq!(disk.chmod(&root, 0o604, other), Err(Errno::EPERM));
        disk.chmod(&root, 0o4604, owner).unwrap();
        assert_eq!(disk.stat(&root).unwrap().mode, 0o064_604);
        assert_eq!(disk.access(&root, AccessMode::READ, other), Ok(()));

        assert_eq!(disk.chown(&root, Some(OTHER), None, owner), Err(Errno::EPERM));
        assert_eq!(disk.chown(&root, None, Some(OTHER), owner), Err(Errno::EPERM));
        assert_eq!(disk.chown(&root, Some(OWNER), Some(OWNER), owner), Ok(()));
        disk.chown(&root, Some(OTHER), None, superuser).unwrap();
        let stat = disk.stat(&root).unwrap();
        assert_eq!((stat.uid, stat.gid, stat.mode), (OTHER, OWNER, 0o060_604));
        assert_eq!(disk.chmod(&root, 0, owner), Err(Errno::EPERM), "not the owner any more");
    }

    #[test]
    fn times() {
        let (disk, root) = (disk(), path("/"));
        let (owner, other) = (&As::user(OWNER), &As::user(OTHER));
        let time = Time { secs: 5, nanos: 6 };
        disk.utimens(&root, TimeChange::Omit, TimeChange::Set(time), owner).unwrap();
        let stat = disk.stat(&root).unwrap();
        assert_eq!((stat.atime, stat.mtime), (Time::default(), time));
        assert!(stat.ctime > time);
        assert_eq!(disk.utimens(&root, TimeChange::Now, TimeChange::Now, other), Err(Errno::EACCES));
        disk.chmod(&root, 0o602, owner).unwrap();
        assert_eq!(disk.utimens(&root, TimeChange::Now, TimeChange::Now, other), Ok(()));
        assert_eq!(disk.utimens(&root, TimeChange::Now, TimeChange::Omit, other), Err(Errno::EPERM));
        assert!(disk.stat(&root).unwrap().mtime > time);
    }
}
