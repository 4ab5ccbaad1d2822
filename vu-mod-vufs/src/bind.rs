//! The mode `bind`: one part of the layer below, seen at the mount point.

use std::sync::Arc;
use vu_api::{
    AbsPath, AccessMode, Caller, Errno, Filesystem, Location, OpenHow, Opened, Probe, Purpose, Removed, RenameFlags,
    Shows, Stat, StatFs, TimeChange, Withdrawal, Withdrawn, XattrFlags,
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
    fn exceptions(&self) -> &[AbsPath] {
        &self.except
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

    fn keeps_owners(&self, path: &AbsPath) -> bool {
        self.below.keeps_owners(&self.name_below(path))
    }

    fn removed(&self, path: &AbsPath, object: Removed) -> Removed {
        self.below.removed(&self.name_below(path), object)
    }

    fn is_alias(&self) -> bool {
        true
    }

    fn host_directories(&self, path: &AbsPath) -> Vec<AbsPath> {
        self.below.host_directories(&self.name_below(path))
    }

    fn shows(&self, path: &AbsPath, directory: &AbsPath) -> Result<Shows, Errno> {
        self.below.shows(&self.name_below(path), directory)
    }

    fn withdraw(&self, what: Withdrawn) -> Withdrawal {
        self.below.withdraw(what)
    }

    fn unlock(&self, path: &AbsPath) -> Result<bool, Errno> {
        self.below.unlock(&self.name_below(path))
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

    fn give(&self, path: &AbsPath, owner: (u32, u32), mode: u32, caller: &dyn Caller) -> Result<(), Errno> {
        self.below.give(&self.name_below(path), owner, mode, caller)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs::{self, File},
        io::Read,
        os::unix::fs::symlink,
    };
    use vu_api::{
        FileType, OpenFlags,
        testing::{As, DirTree, Objects, path},
    };

    /// A tree `d/{file,link -> file,sub/}` in a directory of its own, and `/d` bound.
    fn bind(objects: Objects, except: &[&str]) -> (tempfile::TempDir, Bind) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("d/sub")).unwrap();
        fs::write(dir.path().join("d/file"), "content").unwrap();
        symlink("file", dir.path().join("d/link")).unwrap();
        symlink("d", dir.path().join("l")).unwrap();
        let below = DirTree::new(dir.path(), objects);
        (dir, Bind::new(below, path("/d"), except.iter().map(|e| path(e)).collect()))
    }

    #[test]
    fn an_object_is_the_one_below() {
        let (dir, bind) = bind(Objects::Host, &[]);
        let host = |name: &str| Location::Host(path(&format!("{}{name}", dir.path().display())));
        for (in_bind, below) in [("/", "/d"), ("/file", "/d/file"), ("/not/there", "/d/not/there")] {
            assert_eq!(bind.locate(&path(in_bind), Purpose::Read), Ok(host(below)));
        }
        assert_eq!(bind_own().1.locate(&path("/file"), Purpose::Change), Ok(Location::Own));
    }

    fn bind_own() -> (tempfile::TempDir, Bind) {
        bind(Objects::Own, &[])
    }

    #[test]
    fn a_file_may_be_bound() {
        let (dir, _) = bind_own();
        let bind = Bind::new(DirTree::new(dir.path(), Objects::Own), path("/d/file"), Vec::new());
        assert_eq!(bind.stat(&path("/")).unwrap().file_type(), FileType::Regular);
        assert_eq!(bind.probe(&path("/x")).err(), Some(Errno::ENOTDIR));
    }

    #[test]
    fn exceptions_end_at_components() {
        let (_dir, bind) = bind(Objects::Host, &["/sub", "/a/b"]);
        for (name, declined) in
            [("/sub", true), ("/sub/x", true), ("/sub2", false), ("/a", false), ("/a/b", true), ("/", false)]
        {
            assert_eq!(bind.declines(&path(name)), declined, "{name}");
        }
    }

    #[test]
    fn probing() {
        let (dir, bind) = bind_own();
        let found = |name: &str| match bind.probe(&path(name)) {
            Ok(Probe::Found { file_type, .. }) => Ok(file_type),
            Ok(Probe::Symlink) => Ok(None),
            Err(errno) => Err(errno),
        };
        assert_eq!(found("/"), Ok(Some(FileType::Directory)));
        assert_eq!(found("/link"), Ok(Some(FileType::Symlink)));
        assert_eq!(found("/link/x"), Ok(None), "a symbolic link on the way: walk");
        assert_eq!(found("/x"), Err(Errno::ENOENT));
        assert_eq!(found("/file/x"), Err(Errno::ENOTDIR));

        let through_a_link = Bind::new(DirTree::new(dir.path(), Objects::Own), path("/l/sub"), Vec::new());
        assert_eq!(through_a_link.probe(&path("/")).err(), Some(Errno::ENOENT), "nothing to walk in an empty path");
    }

    #[test]
    fn operations_arrive_below_under_the_name_there() {
        let (dir, bind) = bind_own();
        let caller = &As::user(1000);
        let host = |name: &str| dir.path().join("d").join(name);

        let how = OpenHow { flags: OpenFlags::empty(), mode: 0 };
        let Opened::Host(fd) = bind.open(&path("/file"), &how, caller).unwrap() else { panic!("not a host file") };
        let mut text = String::new();
        File::from(fd).read_to_string(&mut text).unwrap();
        assert_eq!(text, "content");
        assert_eq!(bind.read_link(&path("/link")), Ok(b"file".to_vec()));
        assert_eq!(bind.access(&path("/file"), AccessMode::READ, caller), Ok(()));

        bind.mkdir(&path("/new"), 0o700, caller).unwrap();
        assert!(host("new").is_dir());
        bind.symlink(b"../x", &path("/new/s"), caller).unwrap();
        assert_eq!(fs::read_link(host("new/s")).unwrap().to_str(), Some("../x"));
        bind.link(&path("/file"), &path("/new/hard"), caller).unwrap();
        bind.truncate(&path("/new/hard"), 3, caller).unwrap();
        assert_eq!(fs::read(host("file")).unwrap(), b"con");
        bind.chmod(&path("/file"), 0o600, caller).unwrap();
        assert_eq!(bind.stat(&path("/new/hard")).unwrap().permissions(), 0o600);
        bind.rename(&path("/new/hard"), &path("/sub/moved"), RenameFlags::empty(), caller).unwrap();
        assert!(host("sub/moved").exists());
        bind.unlink(&path("/sub/moved"), caller).unwrap();
        bind.rmdir(&path("/sub"), caller).unwrap();
        assert!(!host("sub").exists());
    }

    #[test]
    fn the_mount_point_itself_stays() {
        let (dir, bind) = bind_own();
        let caller = &As::user(1000);
        let root = path("/");
        assert_eq!(bind.rmdir(&root, caller), Err(Errno::EBUSY));
        assert_eq!(bind.unlink(&root, caller), Err(Errno::EBUSY));
        assert_eq!(bind.rename(&root, &path("/x"), RenameFlags::empty(), caller), Err(Errno::EBUSY));
        assert_eq!(bind.rename(&path("/sub"), &root, RenameFlags::EXCHANGE, caller), Err(Errno::EBUSY));
        assert!(dir.path().join("d/sub").is_dir());
    }
}
