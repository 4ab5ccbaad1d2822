//! What A remembers in its directory `.-`: whiteouts, and the directories they stand in.

use super::{
    Trees,
    kept::SHARED,
    places::{MARKS, Place, is_there},
    record::{self, Record},
};
use nix::unistd::{getegid, geteuid};
use std::{
    process,
    sync::atomic::{AtomicU64, Ordering},
};
use vu_api::{AbsPath, Caller, Credentials, Errno, FileType, OpenFlags, OpenHow, Opened, RenameFlags, capability};

/// The mount itself, as one who asks the layer below: the user of the hypervisor.
pub(super) struct Mounter(Credentials);

impl Mounter {
    pub(super) fn new() -> Mounter {
        let uid = geteuid().as_raw();
        let capabilities = if uid == 0 { capability::ALL } else { 0 };
        Mounter(Credentials { uid, gid: getegid().as_raw(), groups: Vec::new(), umask: 0, capabilities })
    }

    /// Whether the hypervisor may act for others, and so must look at what they may do.
    pub(super) fn is_root(&self) -> bool {
        self.0.uid == 0
    }

    /// Whether it is this user.
    pub(super) fn is_user(&self, uid: u32) -> bool {
        self.0.uid == uid
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

/// What A remembers of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marked {
    /// Nothing.
    No,
    /// That B's object is hidden: an empty regular file stands for it.
    Whiteout,
    /// What it remembers of what is in the directory of that name.
    Container,
}

/// The mode of the directories in `.-`, and of whiteouts: others may look at them.
const CONTAINER_MODE: u32 = 0o755;
const WHITEOUT_MODE: u32 = 0o644;

/// Begins the names of temporary objects in `.-`. No name of the view stands in `.-` with it in front but one that begins with the same byte.
const TEMPORARY: &str = "\x7ftmp.";

/// How many temporary objects were made: several mounts of this process may work in one directory.
static TEMPORARIES: AtomicU64 = AtomicU64::new(0);

impl Trees {
    pub(super) fn mark(&self, path: &AbsPath) -> AbsPath {
        self.upper.child(MARKS).below(&path.as_bytes()[1..])
    }

    /// What stands under a name in `.-`, by one look: one mark may take the place of another at any moment.
    pub(super) fn marked(&self, path: &AbsPath) -> Result<Marked, Errno> {
        match self.below.stat(&self.mark(path)) {
            Ok(stat) => Ok(match stat.file_type() {
                FileType::Directory => Marked::Container,
                // One that is not empty keeps attributes of another.
                FileType::Regular if stat.size == 0 => Marked::Whiteout,
                _ => Marked::No,
            }),
            // A whiteout stands for a directory above it, since a moment ago: what was in that is not there either.
            Err(Errno::ENOTDIR) => Ok(Marked::Whiteout),
            Err(Errno::ENOENT | Errno::ELOOP | Errno::ENAMETOOLONG) => Ok(Marked::No),
            Err(errno) => Err(errno),
        }
    }

    /// Whether B's object of this name is hidden.
    pub(super) fn is_whiteout(&self, path: &AbsPath) -> Result<bool, Errno> {
        Ok(self.marked(path)? == Marked::Whiteout)
    }

    /// Whether there are marks of what is in this directory.
    pub(super) fn has_container(&self, path: &AbsPath) -> Result<bool, Errno> {
        Ok(self.marked(path)? == Marked::Container)
    }

    /// A name in `.-` that nobody else uses.
    pub(super) fn temporary(&self) -> Result<AbsPath, Errno> {
        self.make_container(&AbsPath::root())?;
        let number = TEMPORARIES.fetch_add(1, Ordering::Relaxed);
        Ok(self.upper.child(MARKS).child(format!("{TEMPORARY}{}.{number}", process::id()).as_bytes()))
    }

    /// Looks at what was left in `.-`: what hypervisors that were killed have left half made is removed.
    pub(super) fn look_around(&self) {
        let entries = match super::listing::read_directory(&*self.below, &self.upper.child(MARKS), &self.me) {
            Ok(entries) => entries,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return,
            // What is there cannot be known: it is asked for each time.
            Err(_) => {
                self.has_links.store(true, Ordering::Relaxed);
                self.has_shared.store(true, Ordering::Relaxed);
                return;
            }
        };
        for entry in entries {
            if entry.name.starts_with(record::LINKED.as_bytes()) {
                self.has_links.store(true, Ordering::Relaxed);
            }
            if entry.name.starts_with(SHARED.as_bytes()) {
                self.has_shared.store(true, Ordering::Relaxed);
            }
            let owner =
                std::str::from_utf8(&entry.name).ok().and_then(|name| name.strip_prefix(TEMPORARY)?.split('.').next());
            if self.kind != super::Kind::Merge
                && owner.is_some_and(|pid| !std::path::Path::new("/proc").join(pid).exists())
            {
                self.discard(&self.upper.child(MARKS).child(&entry.name));
            }
        }
    }

    /// Makes the directory of marks of a directory, and those above it.
    pub(super) fn make_container(&self, path: &AbsPath) -> Result<(), Errno> {
        if self.directory(path)?.marks {
            return Ok(());
        }
        if !path.is_root() {
            self.make_container(&path.parent())?;
            if self.is_whiteout(path)? {
                return self.make_opaque(path);
            }
        }
        // The directory may have been untouched.
        let _changes = self.withdraw(path);
        match self.below.mkdir(&self.mark(path), CONTAINER_MODE, &self.me) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
        if path.is_root() {
            // What is made in it to be copies of B's objects is to have their ACLs, not what A gives to new ones. A file system without ACLs has none.
            let _ = self.below.remove_xattr(&self.mark(path), b"system.posix_acl_default", &self.me);
        }
        self.cache.forget(path);
        Ok(())
    }

    /// A whiteout under a directory of A gives way to marks of what is in that: that it hides what B has is kept otherwise, before.
    fn make_opaque(&self, path: &AbsPath) -> Result<(), Errno> {
        let host = self.below.stat(&self.in_upper(path))?;
        let known = self.record(path, Place::Upper, &host)?.unwrap_or_default();
        self.keep(path, Record { object: Some(host.ino), opaque: true, ..known }, Some(&host))?;
        let temporary = self.temporary()?;
        self.below.mkdir(&temporary, CONTAINER_MODE, &self.me)?;
        let exchanged = self.below.rename(&temporary, &self.mark(path), RenameFlags::EXCHANGE, &self.me);
        self.discard(&temporary);
        self.cache.forget(path);
        exchanged
    }

    /// Hides what B has under this name, in one step. `names` is held.
    pub(super) fn hide(&self, path: &AbsPath) -> Result<(), Errno> {
        self.make_container(&path.parent())?;
        let mark = self.mark(path);
        match self.make_whiteout(&mark) {
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
        self.cache.forget(path);
        Ok(())
    }

    /// One more name of the whiteout made last costs a file system much less than a new file (so does `ovl_whiteout`, fs/overlayfs/dir.c). It is for the
    /// file system to say that there can be no such name: that one is gone, or a directory of marks by now, or has as many as it can have.
    fn make_whiteout(&self, name: &AbsPath) -> Result<(), Errno> {
        let mut last = self.whiteout.lock();
        if let Some(last) = &*last {
            match self.below.link(last, name, &self.me) {
                Err(Errno::EEXIST) => return Err(Errno::EEXIST),
                Err(_) => {}
                Ok(()) => return Ok(()),
            }
        }
        self.make_empty(name)?;
        // A name with this ending may become that of a record, which is not empty.
        *last = (name.as_bytes().last() != Some(&0x7f)).then(|| name.clone());
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
            self.cache.forget(path);
        }
        Ok(())
    }

    /// Takes the marks of what is in a directory away, for [`put_container`](Self::put_container). `names` is held.
    pub(super) fn take_container(&self, path: &AbsPath) -> Result<Option<AbsPath>, Errno> {
        if !self.has_container(path)? {
            return Ok(None);
        }
        let temporary = self.temporary()?;
        self.below.rename(&self.mark(path), &temporary, RenameFlags::NOREPLACE, &self.me)?;
        self.cache.forget(path);
        Ok(Some(temporary))
    }

    /// Puts them where the directory is now, whatever marks are there. `names` is held.
    pub(super) fn put_container(&self, container: Option<AbsPath>, path: &AbsPath) -> Result<(), Errno> {
        let Some(container) = container else { return Ok(()) };
        self.make_container(&path.parent())?;
        let mark = self.mark(path);
        match self.below.rename(&container, &mark, RenameFlags::NOREPLACE, &self.me) {
            Err(Errno::EEXIST) => {
                self.below.rename(&container, &mark, RenameFlags::EXCHANGE, &self.me)?;
                self.discard(&container);
            }
            moved => moved?,
        }
        self.cache.forget(path);
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
        self.find_on_both_sides(path).map(is_there)
    }
}
