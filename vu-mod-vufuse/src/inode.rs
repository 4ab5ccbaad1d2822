//! File systems that know their objects by inode number.

use std::sync::Arc;
use vu_api::{
    AbsPath, AccessMode, Caller, Credentials, DirEntry, Errno, File, FileType, Filesystem, NAME_MAX, OpenFlags,
    OpenHow, Opened, Probe, RenameFlags, Stat, StatFs, TimeChange, XattrFlags, permitted,
};

/// The inode number of the root directory, as in FUSE.
pub const ROOT: u64 = 1;

/// A file system by inode, read-only. The names are those of FUSE's low-level operations.
///
/// Inode numbers come from [`ROOT`], `lookup` and `readdir` only, and stay valid while the file system is mounted. No
/// method is asked what its caller may do: [`ByInode`] judges by the attributes (FUSE's `default_permissions`).
pub trait InodeFs: Send + Sync + 'static {
    /// The inode of this name in a directory; `.` and `..` are not asked for.
    ///
    /// # Errors
    /// `ENOENT` if there is none; `EIO`, ….
    fn lookup(&self, directory: u64, name: &[u8]) -> Result<u64, Errno>;

    /// The attributes; `dev` must be the same for all objects ([`new_device`](crate::new_device)), `ino` the number
    /// that was asked.
    ///
    /// # Errors
    /// `EIO`, ….
    fn getattr(&self, ino: u64) -> Result<Stat, Errno>;

    /// The entries of a directory as [`File::entries`] gives them, `.` and `..` included.
    ///
    /// # Errors
    /// `EIO`, ….
    fn readdir(&self, directory: u64, from: u64) -> Result<Vec<DirEntry>, Errno>;

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// `EIO`, ….
    fn readlink(&self, _ino: u64) -> Result<Vec<u8>, Errno> {
        Err(Errno::EINVAL)
    }

    /// Opens what is neither a directory nor a symbolic link. The default is what open(2) says of a socket.
    ///
    /// # Errors
    /// Those of open(2).
    fn open(&self, _ino: u64, _how: &OpenHow) -> Result<Opened, Errno> {
        Err(Errno::ENXIO)
    }

    /// Tells about the file system. The default knows no sizes.
    ///
    /// # Errors
    /// `EIO`, ….
    fn statfs(&self) -> Result<StatFs, Errno> {
        /// `FUSE_SUPER_MAGIC` of `linux/magic.h`.
        const FUSE: i64 = 0x6573_5546;
        /// `ST_RDONLY` of statfs(2).
        const READ_ONLY: i64 = 1;
        Ok(StatFs { fs_type: FUSE, bsize: 4096, frsize: 4096, namelen: 255, flags: READ_ONLY, ..StatFs::default() })
    }
}

/// An [`InodeFs`] as a [`Filesystem`]: paths walked, permissions checked, changes refused as on a read-only file system.
pub struct ByInode<F> {
    fs: Arc<F>,
}

impl<F: InodeFs> ByInode<F> {
    /// Serves `fs`.
    pub fn new(fs: F) -> ByInode<F> {
        ByInode { fs: Arc::new(fs) }
    }

    /// The inode at a path and its attributes, or that a symbolic link stands before the last component. Search permission is
    /// checked if it is known for whom.
    fn walk(&self, path: &AbsPath, who: Option<&Credentials>) -> Result<Walked, Errno> {
        let mut stat = self.fs.getattr(ROOT)?;
        for name in path.components() {
            match stat.file_type() {
                FileType::Directory => {}
                FileType::Symlink => return Ok(Walked::Symlink),
                _ => return Err(Errno::ENOTDIR),
            }
            if let Some(who) = who {
                permitted(&stat, AccessMode::EXECUTE, who)?;
            }
            if name.len() > NAME_MAX {
                return Err(Errno::ENAMETOOLONG);
            }
            stat = self.fs.getattr(self.fs.lookup(stat.ino, name)?)?;
        }
        Ok(Walked::Found(stat))
    }

    /// The attributes of the object at a path that is already resolved.
    fn find(&self, path: &AbsPath, who: Option<&Credentials>) -> Result<Stat, Errno> {
        match self.walk(path, who)? {
            Walked::Found(stat) => Ok(stat),
            // Resolved paths have no symbolic link on the way; this one changed under its caller.
            Walked::Symlink => Err(Errno::ENOTDIR),
        }
    }

    /// What a call that creates `path` is told (`filename_create`, `fs/namei.c`): that it exists, before that nothing can be
    /// created.
    fn refuse_creation(&self, path: &AbsPath, caller: &dyn Caller) -> Errno {
        let refusal = || {
            let who = caller.credentials()?;
            match self.find(path, Some(&who)) {
                Ok(_) => Err(Errno::EEXIST),
                Err(Errno::ENOENT) => self.find(&path.parent(), Some(&who)).map(|_| Errno::EROFS),
                Err(errno) => Err(errno),
            }
        };
        refusal().unwrap_or_else(|errno| errno)
    }

    /// What a call that changes an existing object is told.
    fn refuse_change(&self, path: &AbsPath, caller: &dyn Caller) -> Errno {
        let found = caller.credentials().and_then(|who| self.find(path, Some(&who)));
        found.err().unwrap_or(Errno::EROFS)
    }
}

enum Walked {
    Found(Stat),
    Symlink,
}

/// Permission to use an object so; what has content of its own cannot be written (`sb_permission`, `fs/namei.c`).
fn may(stat: &Stat, mode: AccessMode, who: &Credentials) -> Result<(), Errno> {
    let ours = matches!(stat.file_type(), FileType::Regular | FileType::Directory | FileType::Symlink);
    if ours && mode.contains(AccessMode::WRITE) { Err(Errno::EROFS) } else { permitted(stat, mode, who) }
}

impl<F: InodeFs> Filesystem for ByInode<F> {
    fn probe(&self, path: &AbsPath) -> Result<Probe, Errno> {
        Ok(match self.walk(path, None)? {
            Walked::Found(stat) => Probe::Found { file_type: Some(stat.file_type()), handle: None },
            Walked::Symlink => Probe::Symlink,
        })
    }

    fn stat(&self, path: &AbsPath) -> Result<Stat, Errno> {
        self.find(path, None)
    }

    fn open(&self, path: &AbsPath, how: &OpenHow, caller: &dyn Caller) -> Result<Opened, Errno> {
        let flags = how.flags;
        let who = caller.credentials()?;
        let stat = match self.find(path, Some(&who)) {
            Err(Errno::ENOENT) if flags.contains(OpenFlags::CREAT) => return Err(self.refuse_creation(path, caller)),
            found => found?,
        };
        let file_type = stat.file_type();
        let opened = || Opened::Virtual(Arc::new(OpenInode { fs: self.fs.clone(), ino: stat.ino }));
        if flags.contains(OpenFlags::DIRECTORY) && file_type != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        // O_PATH leaves all other flags but O_DIRECTORY and O_NOFOLLOW without effect (open(2)).
        if flags.contains(OpenFlags::PATH) {
            return Ok(opened());
        }
        if flags.contains(OpenFlags::CREAT | OpenFlags::EXCL) {
            return Err(Errno::EEXIST);
        }
        match file_type {
            FileType::Symlink => Err(Errno::ELOOP),
            FileType::Directory if flags.contains(OpenFlags::TMPFILE) => Err(Errno::EROFS),
            FileType::Directory if flags.writes() || flags.contains(OpenFlags::CREAT) => Err(Errno::EISDIR),
            FileType::Directory => may(&stat, AccessMode::READ, &who).map(|()| opened()),
            _ => {
                let read = if flags.reads() { AccessMode::READ } else { AccessMode::empty() };
                let write = if flags.writes() { AccessMode::WRITE } else { AccessMode::empty() };
                may(&stat, read | write, &who)?;
                self.fs.open(stat.ino, how)
            }
        }
    }

    fn read_link(&self, path: &AbsPath) -> Result<Vec<u8>, Errno> {
        let stat = self.find(path, None)?;
        if stat.file_type() == FileType::Symlink { self.fs.readlink(stat.ino) } else { Err(Errno::EINVAL) }
    }

    fn access(&self, path: &AbsPath, mode: AccessMode, caller: &dyn Caller) -> Result<(), Errno> {
        let who = caller.credentials()?;
        may(&self.find(path, Some(&who))?, mode, &who)
    }

    fn mkdir(&self, path: &AbsPath, _mode: u32, caller: &dyn Caller) -> Result<(), Errno> {
        Err(self.refuse_creation(path, caller))
    }

    fn mknod(&self, path: &AbsPath, _mode: u32, _rdev: u64, caller: &dyn Caller) -> Result<(), Errno> {
        Err(self.refuse_creation(path, caller))
    }

    // Removing and renaming are refused before the names are looked up (`do_unlinkat`, `do_renameat2`).
    fn unlink(&self, _path: &AbsPath, _caller: &dyn Caller) -> Result<(), Errno> {
        Err(Errno::EROFS)
    }

    fn rmdir(&self, _path: &AbsPath, _caller: &dyn Caller) -> Result<(), Errno> {
        Err(Errno::EROFS)
    }

    fn rename(&self, _from: &AbsPath, _to: &AbsPath, _flags: RenameFlags, _caller: &dyn Caller) -> Result<(), Errno> {
        Err(Errno::EROFS)
    }

    fn link(&self, from: &AbsPath, to: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        self.find(from, None)?;
        Err(self.refuse_creation(to, caller))
    }

    fn symlink(&self, _target: &[u8], path: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        Err(self.refuse_creation(path, caller))
    }

    fn chmod(&self, path: &AbsPath, _mode: u32, caller: &dyn Caller) -> Result<(), Errno> {
        Err(self.refuse_change(path, caller))
    }

    fn chown(&self, path: &AbsPath, _uid: Option<u32>, _gid: Option<u32>, caller: &dyn Caller) -> Result<(), Errno> {
        Err(self.refuse_change(path, caller))
    }

    fn utimens(&self, path: &AbsPath, _: TimeChange, _: TimeChange, caller: &dyn Caller) -> Result<(), Errno> {
        Err(self.refuse_change(path, caller))
    }

    fn truncate(&self, path: &AbsPath, _size: u64, caller: &dyn Caller) -> Result<(), Errno> {
        match self.find(path, None)?.file_type() {
            FileType::Directory => Err(Errno::EISDIR),
            FileType::Regular => Err(self.refuse_change(path, caller)),
            _ => Err(Errno::EINVAL),
        }
    }

    fn statfs(&self, _path: &AbsPath) -> Result<StatFs, Errno> {
        self.fs.statfs()
    }

    fn set_xattr(
        &self,
        path: &AbsPath,
        _name: &[u8],
        _value: &[u8],
        _flags: XattrFlags,
        caller: &dyn Caller,
    ) -> Result<(), Errno> {
        Err(self.refuse_change(path, caller))
    }

    fn remove_xattr(&self, path: &AbsPath, _name: &[u8], caller: &dyn Caller) -> Result<(), Errno> {
        Err(self.refuse_change(path, caller))
    }
}

/// An open directory, or anything opened with `O_PATH`.
struct OpenInode<F> {
    fs: Arc<F>,
    ino: u64,
}

impl<F: InodeFs> File for OpenInode<F> {
    fn stat(&self) -> Result<Stat, Errno> {
        self.fs.getattr(self.ino)
    }

    fn entries(&self, from: u64) -> Result<Vec<DirEntry>, Errno> {
        match self.stat()?.file_type() {
            FileType::Directory => self.fs.readdir(self.ino, from),
            _ => Err(Errno::ENOTDIR),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vu_api::testing::{As, path};

    /// `/`, `/dir` (0711), `/dir/file` (0644), `/dir/secret` (0600), `/closed` (0700), `/closed/file`, `/link`, `/null`,
    /// owned by user 1000: numbers, parents, names, modes.
    const TREE: [(u64, u64, &str, u32); 8] = [
        (1, 1, "", 0o040_755),
        (2, 1, "dir", 0o040_711),
        (3, 2, "file", 0o100_644),
        (4, 2, "secret", 0o100_600),
        (5, 1, "closed", 0o040_700),
        (6, 5, "file", 0o100_644),
        (7, 1, "link", 0o120_777),
        (8, 1, "null", 0o020_666),
    ];

    struct Tree;

    impl InodeFs for Tree {
        fn lookup(&self, directory: u64, name: &[u8]) -> Result<u64, Errno> {
            TREE.iter().find(|row| row.1 == directory && row.2.as_bytes() == name).map(|row| row.0).ok_or(Errno::ENOENT)
        }

        fn getattr(&self, ino: u64) -> Result<Stat, Errno> {
            let row = TREE.iter().find(|row| row.0 == ino).ok_or(Errno::EIO)?;
            Ok(Stat { ino, mode: row.3, uid: 1000, gid: 1000, ..Stat::default() })
        }

        fn readdir(&self, directory: u64, from: u64) -> Result<Vec<DirEntry>, Errno> {
            let of = |row: &(u64, u64, &str, u32)| DirEntry {
                name: row.2.into(),
                ino: row.0,
                file_type: FileType::from_mode(row.3).unwrap(),
                next: row.0,
            };
            Ok(TREE[1..].iter().filter(|row| row.1 == directory && row.0 > from).map(of).collect())
        }

        fn readlink(&self, _ino: u64) -> Result<Vec<u8>, Errno> {
            Ok(b"dir".to_vec())
        }

        fn open(&self, _ino: u64, _how: &OpenHow) -> Result<Opened, Errno> {
            Ok(Opened::Host(std::fs::File::open("/dev/null")?.into()))
        }
    }

    const OWNER: u32 = 1000;
    const OTHER: u32 = 1001;

    #[track_caller]
    fn check_open(user: u32, name: &str, flags: OpenFlags, expected: Result<&str, Errno>) {
        let how = OpenHow { flags, mode: 0o666 };
        let opened = ByInode::new(Tree).open(&path(name), &how, &As::user(user)).map(|opened| match opened {
            Opened::Host(_) => "host",
            Opened::Virtual(_) => "virtual",
        });
        assert_eq!(opened, expected, "{name} {flags:?}");
    }

    #[test]
    fn opening() {
        let read = OpenFlags::empty();
        check_open(OWNER, "/dir/file", read, Ok("host"));
        check_open(OWNER, "/dir/secret", read, Ok("host"));
        check_open(OTHER, "/dir/secret", read, Err(Errno::EACCES));
        check_open(0, "/dir/secret", read, Ok("host"));
        check_open(OTHER, "/closed/file", read, Err(Errno::EACCES));
        check_open(OTHER, "/dir", read, Err(Errno::EACCES));
        check_open(OWNER, "/dir", read, Ok("virtual"));
        check_open(OWNER, "/dir/file", OpenFlags::PATH, Ok("virtual"));
        check_open(OWNER, "/link", OpenFlags::PATH, Ok("virtual"));
        check_open(OWNER, "/link", read, Err(Errno::ELOOP));
        check_open(OWNER, "/dir/file", OpenFlags::DIRECTORY, Err(Errno::ENOTDIR));
        check_open(OWNER, "/dir/file/x", read, Err(Errno::ENOTDIR));
        check_open(OWNER, "/x", read, Err(Errno::ENOENT));
        check_open(OWNER, &format!("/{}", "n".repeat(256)), read, Err(Errno::ENAMETOOLONG));
    }

    #[test]
    fn opening_to_change() {
        for flags in [OpenFlags::WRONLY, OpenFlags::RDWR, OpenFlags::TRUNC] {
            check_open(0, "/dir/file", flags, Err(Errno::EROFS));
            check_open(0, "/dir", flags, Err(Errno::EISDIR));
            check_open(OTHER, "/null", flags, Ok("host"));
        }
        let create = OpenFlags::CREAT | OpenFlags::WRONLY;
        check_open(OWNER, "/new", create, Err(Errno::EROFS));
        check_open(OWNER, "/x/new", create, Err(Errno::ENOENT));
        check_open(OWNER, "/dir", OpenFlags::CREAT, Err(Errno::EISDIR));
        check_open(OWNER, "/dir/file", OpenFlags::CREAT, Ok("host"));
        check_open(OWNER, "/dir/file", create | OpenFlags::EXCL, Err(Errno::EEXIST));
        check_open(OWNER, "/link", create | OpenFlags::EXCL, Err(Errno::EEXIST));
        check_open(OWNER, "/dir", OpenFlags::TMPFILE | OpenFlags::RDWR, Err(Errno::EROFS));
    }

    #[test]
    fn changes_are_refused_in_the_order_of_linux() {
        let (fs, owner) = (ByInode::new(Tree), &As::user(OWNER));
        assert_eq!(fs.mkdir(&path("/dir"), 0o777, owner), Err(Errno::EEXIST));
        assert_eq!(fs.mkdir(&path("/new"), 0o777, owner), Err(Errno::EROFS));
        assert_eq!(fs.mkdir(&path("/x/new"), 0o777, owner), Err(Errno::ENOENT));
        assert_eq!(fs.symlink(b"t", &path("/closed/new"), &As::user(OTHER)), Err(Errno::EACCES));
        assert_eq!(fs.unlink(&path("/x"), owner), Err(Errno::EROFS));
        assert_eq!(fs.chmod(&path("/x"), 0, owner), Err(Errno::ENOENT));
        assert_eq!(fs.chmod(&path("/dir"), 0, owner), Err(Errno::EROFS));
        assert_eq!(fs.truncate(&path("/dir"), 0, owner), Err(Errno::EISDIR));
        assert_eq!(fs.truncate(&path("/dir/file"), 0, owner), Err(Errno::EROFS));
        assert_eq!(fs.link(&path("/x"), &path("/y"), owner), Err(Errno::ENOENT));
        assert_eq!(fs.link(&path("/link"), &path("/y"), owner), Err(Errno::EROFS));
    }

    #[test]
    fn looking() {
        let fs = ByInode::new(Tree);
        assert!(matches!(fs.probe(&path("/dir/file")), Ok(Probe::Found { file_type: Some(FileType::Regular), .. })));
        assert!(matches!(fs.probe(&path("/link")), Ok(Probe::Found { file_type: Some(FileType::Symlink), .. })));
        assert!(matches!(fs.probe(&path("/link/file")), Ok(Probe::Symlink)));
        assert_eq!(fs.read_link(&path("/link")), Ok(b"dir".to_vec()));
        assert_eq!(fs.read_link(&path("/dir")), Err(Errno::EINVAL));
        let (owner, other) = (&As::user(OWNER), &As::user(OTHER));
        assert_eq!(fs.access(&path("/dir/secret"), AccessMode::READ, other), Err(Errno::EACCES));
        assert_eq!(fs.access(&path("/closed/file"), AccessMode::empty(), other), Err(Errno::EACCES));
        assert_eq!(fs.access(&path("/dir/file"), AccessMode::WRITE, owner), Err(Errno::EROFS));
        assert_eq!(fs.access(&path("/null"), AccessMode::WRITE, other), Ok(()));
    }

    #[test]
    fn listing_goes_on_where_it_ended() {
        let how = OpenHow { flags: OpenFlags::DIRECTORY, mode: 0 };
        let Ok(Opened::Virtual(directory)) = ByInode::new(Tree).open(&path("/"), &how, &As::user(OWNER)) else {
            panic!("a directory is virtual")
        };
        let names = |from| directory.entries(from).unwrap().into_iter().map(|e| (e.name, e.next)).collect::<Vec<_>>();
        assert_eq!(
            names(0).iter().map(|(name, _)| name.as_slice()).collect::<Vec<_>>(),
            [&b"dir"[..], b"closed", b"link", b"null"]
        );
        assert_eq!(names(names(0)[1].1), names(0)[2..]);
        assert_eq!(directory.stat().unwrap().ino, ROOT);
    }
}
