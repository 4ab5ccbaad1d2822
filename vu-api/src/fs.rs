//! The operations of a file system, and of an open file of it.

use crate::{
    AbsPath, AccessMode, Caller, DirEntry, Errno, FileType, OpenHow, Removed, RenameFlags, Stat, StatFs, TimeChange,
    XattrFlags, permitted,
};
use std::{fmt, os::fd::OwnedFd, sync::Arc};

/// Why a path is located: what the caller is about to do with the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Look at it: open for reading, read a link, watch.
    Read,
    /// Ask for its attributes: stat.
    Attributes,
    /// Ask for its extended attributes: which there are, or the value of one.
    ExtendedAttributes,
    /// Open it as a directory, or work in it.
    List,
    /// Run it, or map it for execution.
    Execute,
    /// Change what it is called or its attributes: create, unlink, rename, link, chmod. Only asks whether and where: nothing happens to it yet.
    Change,
    /// Write to it under its name on the host, or make it there: a file system that keeps changes elsewhere prepares the place where they go.
    Write,
    /// The same, and the content is not needed any more: `O_TRUNC`.
    Replace,
}

impl Purpose {
    /// Whether something is to be changed.
    #[must_use]
    pub fn changes(self) -> bool {
        matches!(self, Purpose::Change | Purpose::Write | Purpose::Replace)
    }
}

/// Where the object behind a path lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// It is in every respect the host's object of this name; the caller acts on that one.
    Host(AbsPath),
    /// The file system keeps it itself; the operations below reach it.
    Own,
}

/// What one look at a path, following nothing, found.
#[derive(Debug)]
pub enum Probe {
    /// No component of the path, the last one excepted, is a symbolic link, and it exists.
    Found {
        /// The type of the last component, `Symlink` included; `None` where telling costs a further
        /// system call ([`Filesystem::stat`] tells).
        file_type: Option<FileType>,
        /// An `O_PATH` descriptor of it, if it is a host object.
        handle: Option<OwnedFd>,
    },
    /// A component *before* the last one is a symbolic link: the path must be walked.
    Symlink,
}

/// What an open leads to.
pub enum Opened {
    /// A descriptor that behaves in every respect as the file; it is installed in the tracee.
    Host(OwnedFd),
    /// An object that only the mount knows; the hypervisor gives it a backing.
    Virtual(Arc<dyn File>),
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Opened::Host(fd) => f.debug_tuple("Host").field(fd).finish(),
            Opened::Virtual(_) => f.write_str("Virtual"),
        }
    }
}

/// How much of a directory of the host is shown by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// All that it has, and nothing else: whoever looks there finds the same.
    All,
    /// All names that it has, and nothing else; but what has other names elsewhere, and is no directory, may be another object.
    AllButLinked,
    /// It has a part in what is shown.
    Part,
    /// It has nothing to do with it, or no longer.
    Nothing,
}

/// Of what it is no longer so that it shows all of a directory of the host: [`Filesystem::withdraw`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawn {
    /// Of names only, by which something else is found: what is open shows what it did.
    Names,
    /// Of the directory that shows this one of the host: device and inode number.
    Directory(u64, u64),
    /// Perhaps of any.
    Everything,
}

/// As long as it lives, a change is under way: [`Filesystem::withdraw`].
pub type Withdrawal = Box<dyn Send>;

/// A tree of files: a mount, a layer, or the host.
///
/// Paths are relative to the file system's own root and already resolved: no component but the last is
/// a symbolic link, and no operation follows the last one. Symbolic links, `..`, trailing slashes and
/// mount points are the path walk's business, permission to search the directories on the way the file
/// system's.
///
/// Every operation but [`probe`](Self::probe), [`stat`](Self::stat) and [`open`](Self::open) has a
/// default: what Linux answers on a file system whose driver has no such operation (`fs/namei.c`,
/// `fs/xattr.c`). `ENOSYS` would mean that the *system call* does not exist, and is never right here.
///
/// Operations may be called by several threads at once, and block only the tracee that asked.
pub trait Filesystem: Send + Sync {
    /// Whether this path is not this mount's although it lies below its mount point: the next older mount that covers
    /// it is asked, and at the end the host. No other operation is asked of a declined path.
    fn declines(&self, path: &AbsPath) -> bool {
        self.exceptions().iter().any(|exception| path.starts_with(exception))
    }

    /// The uppermost paths that it declines.
    fn exceptions(&self) -> &[AbsPath] {
        &[]
    }

    /// Where the object of this path lives. For a [`Location::Host`] none of the other
    /// operations is asked: the tracee works on the host's object itself.
    ///
    /// The object need not exist; its name's place must be told then, too. The answer may depend on the purpose: what a file system
    /// shows of two directories of the host is the host's for reading, its own where names come and go.
    ///
    /// # Errors
    /// `EROFS` for a [purpose that changes](Purpose::changes) on a read-only mount, `EACCES` for [`Purpose::Execute`] on a `noexec` one. For
    /// [`Purpose::Write`] and [`Purpose::Replace`] also what hinders the preparation: `ENOENT` without a directory to make it in, `ENOSPC`, ….
    fn locate(&self, _path: &AbsPath, _purpose: Purpose) -> Result<Location, Errno> {
        Ok(Location::Own)
    }

    /// Looks at a path in one go, following no symbolic link.
    ///
    /// # Errors
    /// What path_resolution(7) gives: `ENOENT`, `ENOTDIR`, `EACCES`, `ENAMETOOLONG`. An error is final: no
    /// symbolic link stands before the component that causes it ([`Probe::Symlink`] otherwise).
    fn probe(&self, path: &AbsPath) -> Result<Probe, Errno>;

    /// The attributes of the object itself, as lstat(2).
    ///
    /// # Errors
    /// Those of lstat(2).
    fn stat(&self, path: &AbsPath) -> Result<Stat, Errno>;

    /// Opens it; with `O_CREAT`, creates it, too.
    ///
    /// # Errors
    /// Those of open(2); `ELOOP` for a final symbolic link (without `O_PATH`).
    fn open(&self, path: &AbsPath, how: &OpenHow, caller: &dyn Caller) -> Result<Opened, Errno>;

    /// The target of a symbolic link, unchanged.
    ///
    /// # Errors
    /// `EINVAL` if it is none; others of readlink(2).
    fn read_link(&self, _path: &AbsPath) -> Result<Vec<u8>, Errno> {
        Err(Errno::EINVAL)
    }

    /// Whether the caller may access the object so (access(2)), by the caller's effective ids. The default judges
    /// by the mode bits.
    ///
    /// # Errors
    /// `EACCES`; others of access(2).
    fn access(&self, path: &AbsPath, mode: AccessMode, caller: &dyn Caller) -> Result<(), Errno> {
        let stat = self.stat(path)?;
        if mode.is_empty() { Ok(()) } else { permitted(&stat, mode, &caller.credentials()?) }
    }

    /// Whether what lies there has an owner and a mode of the mount's own, by which callers with a virtual identity are judged (before the operation is
    /// asked for). Where it has not, whoever has the object decides.
    fn keeps_owners(&self, _path: &AbsPath) -> bool {
        false
    }

    /// What an object shows that was removed, `path` being the name it had, of which the host tells `object`.
    fn removed(&self, _path: &AbsPath, object: Removed) -> Removed {
        object
    }

    /// Whether it shows what another directory below it shows, under other names, and does nothing else.
    fn is_alias(&self) -> bool {
        false
    }

    /// The directories of the host whose entries a directory shows: what is ruled for it (landlock(7)) is ruled for those.
    fn host_directories(&self, path: &AbsPath) -> Vec<AbsPath> {
        match self.locate(path, Purpose::List) {
            Ok(Location::Host(host)) => vec![host],
            Ok(Location::Own) | Err(_) => Vec::new(),
        }
    }

    /// How much a directory shows of one of the host's, at this moment.
    ///
    /// # Errors
    /// What hinders the look.
    fn shows(&self, path: &AbsPath, directory: &AbsPath) -> Result<Shows, Errno> {
        match self.locate(path, Purpose::List)? {
            Location::Host(host) if host == *directory => Ok(Shows::All),
            Location::Host(_) | Location::Own => Ok(Shows::Nothing),
        }
    }

    /// What [`shows`](Self::shows) said of directories may be so no more in a moment: it is called before a directory that showed all of one of the host's shows less. Whoever went by
    /// it must not from now on, and not be told anew before the returned value is dropped. A file system that is built on others asks the one below.
    fn withdraw(&self, _what: Withdrawn) -> Withdrawal {
        Box::new(())
    }

    /// Has the host let its user at an object, and at the directories above it, whose modes on the host forbid it: a caller with a virtual identity has been
    /// judged, and may. The modes that are seen stay as they are. Tells whether anything was changed.
    ///
    /// # Errors
    /// What hinders it.
    fn unlock(&self, _path: &AbsPath) -> Result<bool, Errno> {
        Ok(false)
    }

    /// Creates a directory.
    ///
    /// # Errors
    /// Those of mkdir(2).
    fn mkdir(&self, _path: &AbsPath, _mode: u32, _caller: &dyn Caller) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Creates a file, FIFO, socket or device node; `mode` includes the type.
    ///
    /// # Errors
    /// Those of mknod(2).
    fn mknod(&self, _path: &AbsPath, _mode: u32, _rdev: u64, _caller: &dyn Caller) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Removes a name that is not a directory's.
    ///
    /// # Errors
    /// Those of unlink(2).
    fn unlink(&self, _path: &AbsPath, _caller: &dyn Caller) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// Those of rmdir(2).
    fn rmdir(&self, _path: &AbsPath, _caller: &dyn Caller) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Renames within this file system.
    ///
    /// # Errors
    /// Those of renameat2(2); `EINVAL` for a flag that is not supported.
    fn rename(&self, _from: &AbsPath, _to: &AbsPath, _flags: RenameFlags, _caller: &dyn Caller) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Makes a hard link within this file system.
    ///
    /// # Errors
    /// Those of link(2).
    fn link(&self, _from: &AbsPath, _to: &AbsPath, _caller: &dyn Caller) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Makes a symbolic link at `path` that holds `target`.
    ///
    /// # Errors
    /// Those of symlink(2).
    fn symlink(&self, _target: &[u8], _path: &AbsPath, _caller: &dyn Caller) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Changes the permission bits (07777).
    ///
    /// # Errors
    /// Those of chmod(2).
    fn chmod(&self, _path: &AbsPath, _mode: u32, _caller: &dyn Caller) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Changes owner and group; `None` leaves one as it is.
    ///
    /// # Errors
    /// Those of chown(2).
    fn chown(&self, _path: &AbsPath, _uid: Option<u32>, _gid: Option<u32>, _caller: &dyn Caller) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Gives an object that was just made to its owner, with the permission bits that were meant: [`chown`](Self::chown), then [`chmod`](Self::chmod), which a
    /// file system that keeps both may do in one.
    ///
    /// # Errors
    /// Those of the two.
    fn give(&self, path: &AbsPath, (uid, gid): (u32, u32), mode: u32, caller: &dyn Caller) -> Result<(), Errno> {
        self.chown(path, Some(uid), Some(gid), caller)?;
        self.chmod(path, mode, caller)
    }

    /// Changes the times of last access and modification.
    ///
    /// # Errors
    /// Those of utimensat(2).
    fn utimens(
        &self,
        _path: &AbsPath,
        _atime: TimeChange,
        _mtime: TimeChange,
        _caller: &dyn Caller,
    ) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Sets the size of a regular file, in bytes.
    ///
    /// # Errors
    /// Those of truncate(2).
    fn truncate(&self, _path: &AbsPath, _size: u64, _caller: &dyn Caller) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Tells about the file system.
    ///
    /// # Errors
    /// Those of statfs(2).
    fn statfs(&self, _path: &AbsPath) -> Result<StatFs, Errno> {
        Ok(StatFs { bsize: 4096, frsize: 4096, namelen: 255, ..StatFs::default() })
    }

    /// The value of an extended attribute.
    ///
    /// # Errors
    /// `ENODATA` if there is none of this name; others of getxattr(2).
    fn get_xattr(&self, _path: &AbsPath, _name: &[u8]) -> Result<Vec<u8>, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// The names of the extended attributes.
    ///
    /// # Errors
    /// Those of listxattr(2).
    fn list_xattr(&self, _path: &AbsPath) -> Result<Vec<Vec<u8>>, Errno> {
        Ok(Vec::new())
    }

    /// Sets an extended attribute.
    ///
    /// # Errors
    /// Those of setxattr(2).
    fn set_xattr(
        &self,
        _path: &AbsPath,
        _name: &[u8],
        _value: &[u8],
        _flags: XattrFlags,
        _caller: &dyn Caller,
    ) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// Those of removexattr(2).
    fn remove_xattr(&self, _path: &AbsPath, _name: &[u8], _caller: &dyn Caller) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }
}

/// An open file that no kernel object can stand for by itself: a virtual directory, say. The hypervisor installs
/// a placeholder in the tracee and asks here what the placeholder cannot answer.
pub trait File: Send + Sync {
    /// The attributes, as fstat(2).
    ///
    /// # Errors
    /// Those of fstat(2).
    fn stat(&self) -> Result<Stat, Errno>;

    /// The entries from position `from` on, 0 being the start; an empty list is the end. `.` and `..` are
    /// among them. The list need not be complete: the caller asks again from the last entry's
    /// [`next`](DirEntry::next).
    ///
    /// # Errors
    /// `ENOTDIR` if it is no directory; others of getdents64(2).
    fn entries(&self, _from: u64) -> Result<Vec<DirEntry>, Errno> {
        Err(Errno::ENOTDIR)
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// Those of fsync(2).
    fn sync(&self) -> Result<(), Errno> {
        Ok(())
    }

    /// ioctl(2). `argument` is the third argument as it stands; what it points to is not reachable from here yet.
    ///
    /// # Errors
    /// `ENOTTY` for a request the file does not know.
    fn ioctl(&self, _request: u32, _argument: u64) -> Result<i64, Errno> {
        Err(Errno::ENOTTY)
    }
}
