//! A layer below.
#![allow(dead_code, reason = "each test uses a part of it")]

use nix::{
    fcntl::{AT_FDCWD, AtFlags, RenameFlags as Renameat2, renameat2},
    sys::{
        stat::{Mode, SFlag, UtimensatFlags, mknod, utimensat},
        time::TimeSpec,
    },
    unistd::{Gid, Uid, fchownat},
};
use rustix::fs::{lgetxattr, lremovexattr, lsetxattr};
use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink},
    },
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};
use vu_api::{
    AbsPath, AccessMode, Caller, Errno, Filesystem, Location, OpenFlags, OpenHow, Opened, Probe, Purpose, RenameFlags,
    Stat, TimeChange, XattrFlags,
};

pub const UNLIMITED: usize = usize::MAX;

/// A directory of the host that can be changed only so many times more.
pub struct Host {
    pub root: PathBuf,
    pub steps: AtomicUsize,
    pub attributes: Attributed,
}

/// Whether objects of the host can have extended attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attributed {
    Yes,
    No,
}

impl Host {
    fn name(&self, path: &AbsPath) -> PathBuf {
        self.root.join(OsStr::from_bytes(&path.as_bytes()[1..]))
    }

    fn expect_attributes(&self) -> Result<(), Errno> {
        if self.attributes == Attributed::Yes { Ok(()) } else { Err(Errno::EOPNOTSUPP) }
    }

    /// Another step; behind the last one nothing happens any more.
    fn step(&self) -> Result<(), Errno> {
        let left = self.steps.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| Errno::EIO)
    }
}

fn errno(error: nix::Error) -> Errno {
    Errno::new(error as i32)
}

impl Filesystem for Host {
    fn locate(&self, path: &AbsPath, _purpose: Purpose) -> Result<Location, Errno> {
        Ok(Location::Host(AbsPath::new(self.name(path).into_os_string().into_vec()).unwrap()))
    }

    fn probe(&self, path: &AbsPath) -> Result<Probe, Errno> {
        let file_type = Some(self.stat(path)?.file_type());
        Ok(Probe::Found { file_type, handle: None })
    }

    fn stat(&self, path: &AbsPath) -> Result<Stat, Errno> {
        Ok(Stat::from(&fs::symlink_metadata(self.name(path))?))
    }

    fn open(&self, path: &AbsPath, how: &OpenHow, _caller: &dyn Caller) -> Result<Opened, Errno> {
        if how.flags.writes() || how.flags.contains(OpenFlags::CREAT) {
            self.step()?;
        }
        let bits = how.flags.bits();
        let mut options = OpenOptions::new();
        options.read(how.flags.reads()).write(bits & libc::O_ACCMODE != libc::O_RDONLY);
        options.custom_flags(bits | libc::O_NOFOLLOW).mode(how.mode);
        if how.flags.contains(OpenFlags::CREAT | OpenFlags::EXCL) {
            options.create_new(true);
        } else {
            options.create(how.flags.contains(OpenFlags::CREAT));
        }
        Ok(Opened::Host(options.open(self.name(path))?.into()))
    }

    fn read_link(&self, path: &AbsPath) -> Result<Vec<u8>, Errno> {
        Ok(fs::read_link(self.name(path))?.into_os_string().into_vec())
    }

    fn access(&self, _path: &AbsPath, _mode: AccessMode, _caller: &dyn Caller) -> Result<(), Errno> {
        Ok(())
    }

    fn mkdir(&self, path: &AbsPath, mode: u32, _caller: &dyn Caller) -> Result<(), Errno> {
        self.step()?;
        Ok(DirBuilder::new().mode(mode).create(self.name(path))?)
    }

    fn mknod(&self, path: &AbsPath, mode: u32, rdev: u64, _caller: &dyn Caller) -> Result<(), Errno> {
        self.step()?;
        let (kind, mode_bits) = (SFlag::from_bits_truncate(mode), Mode::from_bits_truncate(mode & 0o7777));
        mknod(&self.name(path), kind, mode_bits, rdev).map_err(errno)
    }

    fn unlink(&self, path: &AbsPath, _caller: &dyn Caller) -> Result<(), Errno> {
        self.step()?;
        Ok(fs::remove_file(self.name(path))?)
    }

    fn rmdir(&self, path: &AbsPath, _caller: &dyn Caller) -> Result<(), Errno> {
        self.step()?;
        Ok(fs::remove_dir(self.name(path))?)
    }

    fn rename(&self, from: &AbsPath, to: &AbsPath, flags: RenameFlags, _caller: &dyn Caller) -> Result<(), Errno> {
        self.step()?;
        let flags = Renameat2::from_bits_truncate(flags.bits());
        renameat2(AT_FDCWD, &self.name(from), AT_FDCWD, &self.name(to), flags).map_err(errno)
    }

    fn link(&self, from: &AbsPath, to: &AbsPath, _caller: &dyn Caller) -> Result<(), Errno> {
        self.step()?;
        Ok(fs::hard_link(self.name(from), self.name(to))?)
    }

    fn symlink(&self, target: &[u8], path: &AbsPath, _caller: &dyn Caller) -> Result<(), Errno> {
        self.step()?;
        Ok(symlink(OsStr::from_bytes(target), self.name(path))?)
    }

    fn chmod(&self, path: &AbsPath, mode: u32, _caller: &dyn Caller) -> Result<(), Errno> {
        self.step()?;
        Ok(fs::set_permissions(self.name(path), Permissions::from_mode(mode))?)
    }

    fn chown(&self, path: &AbsPath, uid: Option<u32>, gid: Option<u32>, _caller: &dyn Caller) -> Result<(), Errno> {
        self.step()?;
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        fchownat(AT_FDCWD, &self.name(path), uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(errno)
    }

    fn utimens(&self, path: &AbsPath, atime: TimeChange, mtime: TimeChange, _caller: &dyn Caller) -> Result<(), Errno> {
        self.step()?;
        let time = |change| match change {
            TimeChange::Now => TimeSpec::UTIME_NOW,
            TimeChange::Omit => TimeSpec::UTIME_OMIT,
            TimeChange::Set(time) => TimeSpec::new(time.secs, time.nanos.into()),
        };
        let flags = UtimensatFlags::NoFollowSymlink;
        utimensat(AT_FDCWD, &self.name(path), &time(atime), &time(mtime), flags).map_err(errno)
    }

    fn truncate(&self, path: &AbsPath, size: u64, _caller: &dyn Caller) -> Result<(), Errno> {
        self.step()?;
        Ok(OpenOptions::new().write(true).open(self.name(path))?.set_len(size)?)
    }

    fn get_xattr(&self, path: &AbsPath, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.expect_attributes()?;
        let mut value = vec![0; 65536];
        let length = lgetxattr(self.name(path), name, &mut value[..]).map_err(io::Error::from)?;
        value.truncate(length);
        Ok(value)
    }

    fn set_xattr(
        &self,
        path: &AbsPath,
        name: &[u8],
        value: &[u8],
        flags: XattrFlags,
        _caller: &dyn Caller,
    ) -> Result<(), Errno> {
        self.expect_attributes()?;
        self.step()?;
        let flags = rustix::fs::XattrFlags::from_bits_retain(flags.bits().cast_unsigned());
        Ok(lsetxattr(self.name(path), name, value, flags).map_err(io::Error::from)?)
    }

    fn remove_xattr(&self, path: &AbsPath, name: &[u8], _caller: &dyn Caller) -> Result<(), Errno> {
        self.expect_attributes()?;
        self.step()?;
        Ok(lremovexattr(self.name(path), name).map_err(io::Error::from)?)
    }
}
