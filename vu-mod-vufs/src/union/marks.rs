//! What A remembers in its directory `.-`: whiteouts, and the directories they stand in.

use super::{
    Trees,
    places::{MARKS, Place},
};
use nix::unistd::{getegid, geteuid};
use std::{process, sync::atomic::Ordering};
use vu_api::{AbsPath, Caller, Credentials, Errno, FileType, OpenFlags, OpenHow, Opened, RenameFlags};

/// The mount itself, as one who asks the layer below: the user of the hypervisor.
pub(super) struct Mounter(Credentials);

impl Mounter {
    pub(super) fn new() -> Mounter {
        Mounter(Credentials { uid: geteuid().as_raw(), gid: getegid().as_raw(), groups: Vec::new(), umask: 0 })
    }

    /// Whether the hypervisor may act for others, and so must look at what they may do.
    pub(super) fn is_root(&self) -> bool {
        self.0.uid == 0
    }

    /// Whether it is the owner of what it makes.
    pub(super) fn is(&self, uid: u32, gid: u32) -> bool {
        self.0.uid == uid && self.0.gid == gid
    }
}

impl Caller for Mounter {
    fn pid(&self) -> i32 {
        i32::try_from(process::id()).unwrap_or(0)
    }

    fn credentials(&self) -> Result<Credentials, Errno> {
        Ok(self.0.clone())
    }
}

/// The mode of the directories in `.-`, and of whiteouts: others may look at them.
const CONTAINER_MODE: u32 = 0o755;
const WHITEOUT_MODE: u32 = 0o644;

/// Begins the names of temporary objects in `.-`. No name of the view stands in `.-` with it in front but one that begins with the same byte.
const TEMPORARY: &str = "\x7ftmp.";

impl Trees {
    fn mark(&self, path: &AbsPath) -> AbsPath {
        self.upper.child(MARKS).below(&path.as_bytes()[1..])
    }

    /// Whether B's object of this name is hidden: an empty regular file stands for it. One that is not empty keeps attributes of another.
    pub(super) fn is_whiteout(&self, path: &AbsPath) -> Result<bool, Errno> {
        let stat = self.stat_if_there(&self.mark(path))?;
        Ok(stat.is_some_and(|stat| stat.file_type() == FileType::Regular && stat.size == 0))
    }

    /// Whether there are marks of what is in this directory.
    pub(super) fn has_container(&self, path: &AbsPath) -> Result<bool, Errno> {
        let stat = self.stat_if_there(&self.mark(path))?;
        Ok(stat.is_some_and(|stat| stat.file_type() == FileType::Directory))
    }

    /// Whether a directory of A hides what B has in the directory of that name.
    pub(super) fn is_opaque(&self, _path: &AbsPath) -> Result<bool, Errno> {
        Ok(false)
    }

    /// The name of the directory of marks of a directory.
    pub(super) fn container(&self, path: &AbsPath) -> AbsPath {
        self.mark(path)
    }

    /// A name in `.-` that nobody else uses.
    pub(super) fn temporary(&self) -> Result<AbsPath, Errno> {
        self.make_container(&AbsPath::root())?;
        let number = self.temporaries.fetch_add(1, Ordering::Relaxed);
        Ok(self.upper.child(MARKS).child(format!("{TEMPORARY}{}.{number}", process::id()).as_bytes()))
    }

    /// Removes what hypervisors that were killed have left half made.
    pub(super) fn clean_up(&self) {
        let Ok(entries) = super::listing::read_directory(&*self.below, &self.upper.child(MARKS), &self.me) else {
            return;
        };
        for entry in entries {
            let owner =
                std::str::from_utf8(&entry.name).ok().and_then(|name| name.strip_prefix(TEMPORARY)?.split('.').next());
            if owner.is_some_and(|pid| !std::path::Path::new("/proc").join(pid).exists()) {
                self.discard(&self.upper.child(MARKS).child(&entry.name));
            }
        }
    }

    /// Makes the directory of marks of a directory, and those above it.
    fn make_container(&self, path: &AbsPath) -> Result<(), Errno> {
        let container = self.mark(path);
        match self.below.mkdir(&container, CONTAINER_MODE, &self.me) {
            Ok(()) => {
                self.cache.forget();
                Ok(())
            }
            Err(Errno::EEXIST) => Ok(()),
            Err(Errno::ENOENT) if !path.is_root() => {
                self.make_container(&path.parent())?;
                match self.below.mkdir(&container, CONTAINER_MODE, &self.me) {
                    Ok(()) | Err(Errno::EEXIST) => Ok(()),
                    Err(errno) => Err(errno),
                }
            }
            Err(errno) => Err(errno),
        }
    }

    /// Hides what B has under this name, in one step. `names` is held.
    pub(super) fn hide(&self, path: &AbsPath) -> Result<(), Errno> {
        self.make_container(&path.parent())?;
        let mark = self.mark(path);
        match self.make_empty(&mark) {
            Ok(()) => {}
            // Marks of what was in a directory of that name: they mean nothing any more when it is hidden.
            Err(Errno::EEXIST) if !self.is_whiteout(path)? => {
                let temporary = self.temporary()?;
                self.make_empty(&temporary)?;
                let exchanged = self.below.rename(&temporary, &mark, RenameFlags::EXCHANGE, &self.me);
                self.discard(&temporary);
                exchanged?;
            }
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
        self.cache.forget();
        Ok(())
    }

    fn make_empty(&self, name: &AbsPath) -> Result<(), Errno> {
        let flags = OpenFlags::CREAT | OpenFlags::EXCL | OpenFlags::WRONLY;
        match self.below.open(name, &OpenHow { flags, mode: WHITEOUT_MODE }, &self.me)? {
            Opened::Host(_) | Opened::Virtual(_) => Ok(()),
        }
    }

    /// Removes the marks of what was in a directory that is gone. `names` is held.
    pub(super) fn unmark_directory(&self, path: &AbsPath) -> Result<(), Errno> {
        if self.has_container(path)? {
            self.discard(&self.mark(path));
            self.cache.forget();
        }
        Ok(())
    }

    /// Removes an object of ours with all that is in it, as far as it can be removed: what stays behind is only in the way.
    pub(super) fn discard(&self, name: &AbsPath) {
        let is_directory = self.below.stat(name).is_ok_and(|stat| stat.file_type() == FileType::Directory);
        let removed = if is_directory {
            for entry in super::listing::read_directory(&*self.below, name, &self.me).unwrap_or_default() {
                self.discard(&name.child(&entry.name));
            }
            self.below.rmdir(name, &self.me)
        } else {
            self.below.unlink(name, &self.me)
        };
        if let Err(errno) = removed
            && errno != Errno::ENOENT
        {
            tracing::warn!("vufs: {name} cannot be removed: {errno}");
        }
    }

    /// Whether the object of a path is there, in A or B.
    pub(super) fn exists(&self, path: &AbsPath) -> Result<bool, Errno> {
        match self.find(path)? {
            Place::Upper => Ok(true),
            Place::Nowhere => Ok(false),
            Place::Lower => match self.below.stat(&self.in_lower(path)) {
                Ok(_) => Ok(true),
                Err(Errno::ENOENT) => Ok(false),
                Err(errno) => Err(errno),
            },
        }
    }
}
