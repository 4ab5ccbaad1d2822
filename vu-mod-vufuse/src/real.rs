//! `vufusereal`: a directory of the layer below, passed through.
//!
//! What a bind mount of vufs does by saying where an object lives, this does by answering every request itself: an
//! example of a file system served by path, and the mount in which the virtual files of the hypervisor are tested
//! against real ones.

use crate::no_words;
use nix::{dir::Dir, fcntl::OFlag, sys::stat::Mode};
use parking_lot::Mutex;
use std::{fs, os::fd::AsRawFd, sync::Arc};
use vu_api::{
    AbsPath, AccessMode, Caller, DirEntry, Errno, File, FileType, Filesystem, MountRequest, Mounted, OpenHow, Opened,
    Probe, RenameFlags, Stat, StatFs, Submodule, TimeChange, XattrFlags,
};

/// The submodule.
pub struct VufuseReal;

vu_api::register_submodule!(VufuseReal);

impl Submodule for VufuseReal {
    fn module(&self) -> &'static str {
        "vufuse"
    }

    fn types(&self) -> &'static [&'static str] {
        &["vufusereal"]
    }

    fn description(&self) -> &'static str {
        "a directory passed through"
    }

    fn mount(&self, request: &MountRequest<'_>) -> Result<Mounted, Errno> {
        no_words(request)?;
        let source = request.source_path.clone().ok_or(Errno::ENOENT)?;
        if request.below.stat(&source)?.file_type() != FileType::Directory {
            tracing::info!("vufusereal on {}: the source {source} is not a directory", request.target);
            return Err(Errno::ENOTDIR);
        }
        Ok(Mounted::Filesystem(Arc::new(Real { below: request.below.clone(), source })))
    }
}

struct Real {
    below: Arc<dyn Filesystem>,
    source: AbsPath,
}

impl Real {
    /// The name of the object in the layer below.
    fn name_below(&self, path: &AbsPath) -> AbsPath {
        self.source.below(&path.as_bytes()[1..])
    }
}

impl Filesystem for Real {
    fn probe(&self, path: &AbsPath) -> Result<Probe, Errno> {
        match self.below.probe(&self.name_below(path))? {
            // Not the handle: it would be the host's object, and this file system claims to have its own.
            Probe::Found { file_type, .. } => Ok(Probe::Found { file_type, handle: None }),
            // The source was moved away and a symbolic link put in its place: no link in the caller's path to walk.
            Probe::Symlink if matches!(self.below.probe(&self.source)?, Probe::Symlink) => Err(Errno::ENOENT),
            Probe::Symlink => Ok(Probe::Symlink),
        }
    }

    fn stat(&self, path: &AbsPath) -> Result<Stat, Errno> {
        self.below.stat(&self.name_below(path))
    }

    fn open(&self, path: &AbsPath, how: &OpenHow, caller: &dyn Caller) -> Result<Opened, Errno> {
        match self.below.open(&self.name_below(path), how, caller)? {
            Opened::Host(fd) => {
                let file = fs::File::from(fd);
                if file.metadata()?.is_dir() {
                    Ok(Opened::Virtual(Arc::new(Directory { file, listing: Mutex::default() })))
                } else {
                    Ok(Opened::Host(file.into()))
                }
            }
            opened @ Opened::Virtual(_) => Ok(opened),
        }
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

/// A mount point can be neither removed nor renamed (`d_is_local_mountpoint`, `fs/namei.c`).
fn refuse_root(path: &AbsPath) -> Result<(), Errno> {
    if path.is_root() { Err(Errno::EBUSY) } else { Ok(()) }
}

/// An open directory.
struct Directory {
    file: fs::File,
    /// The entries as they were when the listing began; an entry's position is its place in it.
    listing: Mutex<Arc<[DirEntry]>>,
}

impl File for Directory {
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(Stat::from(&self.file.metadata()?))
    }

    /// Position 0 takes the listing anew, as rewinddir(3) demands.
    fn entries(&self, from: u64) -> Result<Vec<DirEntry>, Errno> {
        /// What one call hands out: what fits the usual getdents64 buffer of 32 KiB.
        const AT_ONCE: usize = 1024;
        let listing = {
            let mut listing = self.listing.lock();
            if from == 0 || listing.is_empty() {
                *listing = self.list()?.into();
            }
            listing.clone()
        };
        let from = usize::try_from(from).map_err(|_| Errno::EINVAL)?;
        Ok(listing.iter().skip(from).take(AT_ONCE).cloned().collect())
    }

    fn sync(&self) -> Result<(), Errno> {
        Ok(self.file.sync_all()?)
    }
}

impl Directory {
    fn list(&self) -> Result<Vec<DirEntry>, Errno> {
        // A description of its own: the offset of `file` stays untouched, and two listings do not disturb one another.
        // Not by the name ".", which takes search permission; listing takes only that to read.
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut dir = Dir::open(path.as_str(), flags, Mode::empty()).map_err(|errno| Errno::new(errno as i32))?;
        let mut entries = Vec::new();
        for (next, entry) in (1..).zip(dir.iter()) {
            let entry = entry.map_err(|errno| Errno::new(errno as i32))?;
            entries.push(DirEntry {
                name: entry.file_name().to_bytes().to_vec(),
                ino: entry.ino(),
                file_type: self.type_of(&entry),
                next,
            });
        }
        Ok(entries)
    }

    /// Some file systems do not tell types in a listing (readdir(3)).
    fn type_of(&self, entry: &nix::dir::Entry) -> FileType {
        use nix::{dir::Type, fcntl::AtFlags, sys::stat::fstatat};
        match entry.file_type() {
            Some(Type::Fifo) => FileType::Fifo,
            Some(Type::CharacterDevice) => FileType::CharDevice,
            Some(Type::Directory) => FileType::Directory,
            Some(Type::BlockDevice) => FileType::BlockDevice,
            Some(Type::File) => FileType::Regular,
            Some(Type::Symlink) => FileType::Symlink,
            Some(Type::Socket) => FileType::Socket,
            None => fstatat(&self.file, entry.file_name(), AtFlags::AT_SYMLINK_NOFOLLOW)
                .ok()
                .and_then(|stat| FileType::from_mode(stat.st_mode))
                // Removed meanwhile; a listing may tell of it.
                .unwrap_or(FileType::Regular),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Vufuse;
    use std::{collections::BTreeSet, io::Read, os::unix::fs::MetadataExt};
    use vu_api::{
        Location, OpenFlags, Purpose,
        testing::{As, DirTree, Objects, mount_fs, path},
    };

    /// A mount of `/d`, which holds `file`, `dir/`, `link -> file`.
    fn mounted() -> (tempfile::TempDir, Arc<dyn Filesystem>) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("d/dir")).unwrap();
        fs::write(dir.path().join("d/file"), "content").unwrap();
        std::os::unix::fs::symlink("file", dir.path().join("d/link")).unwrap();
        let real = mount_fs(&Vufuse, "vufusereal", "/d", "", DirTree::new(dir.path(), Objects::Host)).unwrap();
        (dir, real)
    }

    fn open(fs: &dyn Filesystem, name: &str, flags: OpenFlags) -> Result<Opened, Errno> {
        fs.open(&path(name), &OpenHow { flags, mode: 0o666 }, &As::user(1000))
    }

    fn directory(fs: &dyn Filesystem, name: &str) -> Arc<dyn File> {
        match open(fs, name, OpenFlags::DIRECTORY) {
            Ok(Opened::Virtual(file)) => file,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn mounting() {
        let (dir, _) = mounted();
        let mount = |source, words| {
            mount_fs(&Vufuse, "vufusereal", source, words, DirTree::new(dir.path(), Objects::Host)).err()
        };
        assert_eq!(mount("/d", ""), None);
        assert_eq!(mount("/x", ""), Some(Errno::ENOENT));
        assert_eq!(mount("/d/file", ""), Some(Errno::ENOTDIR));
        assert_eq!(mount("/d", "bogus"), Some(Errno::EINVAL));
        assert_eq!(mount("/d", "mode=1"), Some(Errno::EINVAL));
    }

    #[test]
    fn its_objects_are_its_own_but_equal() {
        let (dir, real) = mounted();
        assert_eq!(real.locate(&path("/file"), Purpose::Read), Ok(Location::Own));
        let host = fs::metadata(dir.path().join("d/file")).unwrap();
        assert_eq!(real.stat(&path("/file")), Ok(Stat::from(&host)));
        assert!(matches!(real.probe(&path("/link/x")), Ok(Probe::Symlink)));
        assert!(matches!(real.probe(&path("/dir")), Ok(Probe::Found { handle: None, .. })));
    }

    #[test]
    fn a_regular_file_is_the_backing_file() {
        let (_dir, real) = mounted();
        let Ok(Opened::Host(fd)) = open(&*real, "/file", OpenFlags::empty()) else { panic!("not a host file") };
        let mut text = String::new();
        fs::File::from(fd).read_to_string(&mut text).unwrap();
        assert_eq!(text, "content");
        assert_eq!(open(&*real, "/link", OpenFlags::empty()).err(), Some(Errno::ELOOP));
        assert!(open(&*real, "/new", OpenFlags::CREAT | OpenFlags::RDWR).is_ok());
        assert_eq!(real.unlink(&path("/new"), &As::user(1000)), Ok(()));
        assert_eq!(real.rmdir(&path("/"), &As::user(1000)), Err(Errno::EBUSY));
    }

    #[test]
    fn a_listing_is_that_of_the_host() {
        let (dir, real) = mounted();
        let entries = directory(&*real, "/").entries(0).unwrap();
        let names: BTreeSet<_> = entries.iter().map(|e| String::from_utf8_lossy(&e.name).into_owned()).collect();
        assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), [".", "..", "dir", "file", "link"]);
        for entry in entries.iter().filter(|e| !e.name.starts_with(b".")) {
            let name = String::from_utf8_lossy(&entry.name).into_owned();
            let host = fs::symlink_metadata(dir.path().join("d").join(&name)).unwrap();
            assert_eq!((entry.ino, entry.file_type.mode_bits()), (host.ino(), host.mode() & 0o170_000), "{name}");
        }
    }

    #[test]
    fn a_large_listing_goes_on_in_spite_of_changes_and_rewinds_to_them() {
        let (dir, real) = mounted();
        for number in 0..3000 {
            fs::write(dir.path().join(format!("d/dir/{number}")), "").unwrap();
        }
        let directory = directory(&*real, "/dir");
        let list = |change_at: usize| {
            let mut names = BTreeSet::new();
            let mut from = 0;
            loop {
                let entries = directory.entries(from).unwrap();
                let Some(last) = entries.last() else { return names };
                from = last.next;
                names.extend(entries.into_iter().map(|entry| entry.name));
                if names.len() >= change_at {
                    let _ = fs::remove_file(dir.path().join("d/dir/7"));
                }
            }
        };
        assert_eq!(list(1).len(), 3002, "one listing is stable");
        assert_eq!(list(usize::MAX).len(), 3001, "the next sees the removal");
        assert_eq!(directory.entries(u64::MAX), Ok(Vec::new()));
    }
}
