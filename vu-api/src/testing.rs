//! Test doubles for the tests of modules: a layer below, a caller, and a mount(2) without a hypervisor.
//!
//! Behind the feature `testing`, which belongs under `[dev-dependencies]` only.

use crate::{
    AbsPath, Caller, Credentials, Errno, FileType, Filesystem, Location, Module, MountFlags, MountRequest, MountWords,
    Mounted, OpenHow, Opened, Probe, Purpose, RenameFlags, Stat, capability,
};
use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, OpenOptions, Permissions},
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

/// A directory of the host as a layer: its root is the directory. It does as a host file system does, as far as std goes.
pub struct DirTree {
    root: PathBuf,
    objects: Objects,
}

/// What [`DirTree::locate`](Filesystem::locate) says of the objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objects {
    /// They are the host's, as those of a layer without mounts are.
    Host,
    /// They are the tree's own, as those of an image are.
    Own,
}

impl DirTree {
    /// The tree in the directory `root`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, objects: Objects) -> Arc<DirTree> {
        Arc::new(DirTree { root: root.into(), objects })
    }

    fn host(&self, path: &AbsPath) -> PathBuf {
        self.root.join(Path::new(OsStr::from_bytes(&path.as_bytes()[1..])))
    }
}

impl Filesystem for DirTree {
    fn locate(&self, path: &AbsPath, _purpose: Purpose) -> Result<Location, Errno> {
        Ok(match self.objects {
            Objects::Host => {
                Location::Host(AbsPath::new(self.host(path).into_os_string().into_vec()).map_err(|_| Errno::EINVAL)?)
            }
            Objects::Own => Location::Own,
        })
    }

    fn probe(&self, path: &AbsPath) -> Result<Probe, Errno> {
        let mut at = AbsPath::root();
        let mut names = path.components().peekable();
        while let Some(name) = names.next() {
            at.push(name);
            if names.peek().is_some() && fs::symlink_metadata(self.host(&at))?.is_symlink() {
                return Ok(Probe::Symlink);
            }
        }
        let mode = Stat::from(&fs::symlink_metadata(self.host(path))?).mode;
        Ok(Probe::Found { file_type: FileType::from_mode(mode), handle: None })
    }

    fn stat(&self, path: &AbsPath) -> Result<Stat, Errno> {
        Ok(Stat::from(&fs::symlink_metadata(self.host(path))?))
    }

    fn open(&self, path: &AbsPath, how: &OpenHow, _caller: &dyn Caller) -> Result<Opened, Errno> {
        let flags = how.flags.bits();
        let file = OpenOptions::new()
            .read(flags & libc::O_ACCMODE != libc::O_WRONLY)
            .write(flags & libc::O_ACCMODE != libc::O_RDONLY)
            .custom_flags(flags | libc::O_NOFOLLOW)
            .mode(how.mode)
            .open(self.host(path))?;
        Ok(Opened::Host(file.into()))
    }

    fn read_link(&self, path: &AbsPath) -> Result<Vec<u8>, Errno> {
        Ok(fs::read_link(self.host(path))?.into_os_string().into_vec())
    }

    fn mkdir(&self, path: &AbsPath, mode: u32, _caller: &dyn Caller) -> Result<(), Errno> {
        Ok(DirBuilder::new().mode(mode).create(self.host(path))?)
    }

    fn unlink(&self, path: &AbsPath, _caller: &dyn Caller) -> Result<(), Errno> {
        Ok(fs::remove_file(self.host(path))?)
    }

    fn rmdir(&self, path: &AbsPath, _caller: &dyn Caller) -> Result<(), Errno> {
        Ok(fs::remove_dir(self.host(path))?)
    }

    fn rename(&self, from: &AbsPath, to: &AbsPath, flags: RenameFlags, _caller: &dyn Caller) -> Result<(), Errno> {
        if !flags.is_empty() {
            return Err(Errno::EINVAL);
        }
        Ok(fs::rename(self.host(from), self.host(to))?)
    }

    fn link(&self, from: &AbsPath, to: &AbsPath, _caller: &dyn Caller) -> Result<(), Errno> {
        Ok(fs::hard_link(self.host(from), self.host(to))?)
    }

    fn symlink(&self, target: &[u8], path: &AbsPath, _caller: &dyn Caller) -> Result<(), Errno> {
        Ok(std::os::unix::fs::symlink(OsStr::from_bytes(target), self.host(path))?)
    }

    fn chmod(&self, path: &AbsPath, mode: u32, _caller: &dyn Caller) -> Result<(), Errno> {
        Ok(fs::set_permissions(self.host(path), Permissions::from_mode(mode))?)
    }

    fn truncate(&self, path: &AbsPath, size: u64, _caller: &dyn Caller) -> Result<(), Errno> {
        Ok(OpenOptions::new().write(true).open(self.host(path))?.set_len(size)?)
    }
}

/// A caller with these credentials.
pub struct As(pub Credentials);

impl As {
    /// A user, alone in a group of the same number; 0 has all capabilities.
    #[must_use]
    pub fn user(id: u32) -> As {
        let capabilities = if id == 0 { capability::ALL } else { 0 };
        As(Credentials { uid: id, gid: id, groups: Vec::new(), umask: 0o022, capabilities })
    }
}

impl Caller for As {
    fn pid(&self) -> i32 {
        1
    }

    fn credentials(&self) -> Result<Credentials, Errno> {
        Ok(self.0.clone())
    }
}

/// An absolute path.
///
/// # Panics
/// If `text` is none.
#[must_use]
pub fn path(text: &str) -> AbsPath {
    AbsPath::new(text).unwrap_or_else(|error| panic!("{text:?} is {error}"))
}

/// What mount(2) of `source` on `/mnt`, with the data string `words`, makes in a layer above `below`.
///
/// # Errors
/// Those of the module.
///
/// # Panics
/// If `words` is malformed.
pub fn mount(
    module: &dyn Module,
    fs_type: &str,
    source: &str,
    words: &str,
    below: Arc<dyn Filesystem>,
) -> Result<Mounted, Errno> {
    let words = MountWords::parse(words.as_bytes()).unwrap_or_else(|error| panic!("{words:?}: {error}"));
    let source_path = AbsPath::new(source).ok().filter(|path| below.stat(path).is_ok());
    module.mount(&MountRequest {
        fs_type,
        source: source.as_bytes(),
        source_path,
        target: &path("/mnt"),
        flags: MountFlags::empty(),
        words: &words,
        below,
    })
}

/// [`mount`] for what makes file systems.
///
/// # Errors
/// As [`mount`].
///
/// # Panics
/// As [`mount`], and if the mount is no file system.
pub fn mount_fs(
    module: &dyn Module,
    fs_type: &str,
    source: &str,
    words: &str,
    below: Arc<dyn Filesystem>,
) -> Result<Arc<dyn Filesystem>, Errno> {
    match mount(module, fs_type, source, words, below)? {
        Mounted::Filesystem(fs) => Ok(fs),
        Mounted::Stack(_) => panic!("{fs_type} made a stack"),
    }
}
