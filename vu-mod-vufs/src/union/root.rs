//! The mount: the operations of the view's side.

use super::{Content, Kind, Trees, marks::Mounter, places::Place};
use std::sync::Arc;
use vu_api::{
    AbsPath, AccessMode, Caller, Errno, FileType, Filesystem, Location, OpenFlags, OpenHow, Opened, Probe, Purpose,
    Removed, RenameFlags, Shows, Stat, StatFs, TimeChange, Withdrawal, Withdrawn, XattrFlags,
};

/// What becomes of an object of B whose attributes are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attributes {
    /// It is copied up.
    Copied,
    /// Owner and mode are kept, and it stays where it is (`nochcopy`).
    Kept,
}

/// Two directories of the layer below as one.
pub struct Union {
    trees: Arc<Trees>,
    except: Vec<AbsPath>,
}

impl Union {
    /// `upper` over `lower`, both paths of `below`, without the paths `except`, which are relative to the mount.
    ///
    /// # Errors
    /// `ENOTDIR` if one of them is no directory, `ENOENT` if it does not exist.
    pub fn new(
        below: Arc<dyn Filesystem>,
        upper: AbsPath,
        lower: AbsPath,
        kind: Kind,
        except: Vec<AbsPath>,
        attributes: Attributes,
    ) -> Result<Union, Errno> {
        for tree in [&upper, &lower] {
            if below.stat(tree)?.file_type() != FileType::Directory {
                return Err(Errno::ENOTDIR);
            }
        }
        let trees = Trees {
            below,
            upper,
            lower,
            kind,
            me: Mounter::new(),
            cache: Default::default(),
            names: Default::default(),
            records: Default::default(),
            listings: Default::default(),
            devices: Default::default(),
            whiteout: Default::default(),
            has_links: Default::default(),
            has_shared: Default::default(),
            has_no_attributes: Default::default(),
            no_copy_for_attributes: attributes == Attributes::Kept,
        };
        trees.look_around();
        if let Err(errno) = trees.keep_root() {
            // All else can be looked at all the same.
            tracing::warn!("vufs: the owner and mode of {} are not kept in {}: {errno}", trees.lower, trees.upper);
        }
        Ok(Union { trees: Arc::new(trees), except })
    }

    /// Has the one who has the object of a path tell about it.
    fn ask<T>(
        &self,
        path: &AbsPath,
        question: impl Fn(&dyn Filesystem, &AbsPath) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let name = match self.trees.find(path)? {
            Place::Nowhere => return Err(Errno::ENOENT),
            Place::Upper => self.trees.in_upper(path),
            Place::Lower => self.trees.content_of_lower(path)?,
        };
        question(&*self.trees.below, &name)
    }
}

impl Filesystem for Union {
    fn exceptions(&self) -> &[AbsPath] {
        &self.except
    }

    fn locate(&self, path: &AbsPath, purpose: Purpose) -> Result<Location, Errno> {
        self.trees.locate(path, purpose)
    }

    /// In a `merge`, everything is whoever's it is below.
    fn keeps_owners(&self, path: &AbsPath) -> bool {
        let name = match (self.trees.kind, self.trees.find(path)) {
            (Kind::Cow | Kind::Mincow, _) => return true,
            (Kind::Merge, Ok(Place::Upper)) => self.trees.in_upper(path),
            (Kind::Merge, _) => self.trees.in_lower(path),
        };
        self.trees.below.keeps_owners(&name)
    }

    fn removed(&self, path: &AbsPath, object: Removed) -> Removed {
        self.trees.removed(path, object)
    }

    fn host_directories(&self, path: &AbsPath) -> Vec<AbsPath> {
        self.trees.host_directories(path)
    }

    fn shows(&self, path: &AbsPath, directory: &AbsPath) -> Result<Shows, Errno> {
        self.trees.shows(path, directory)
    }

    fn withdraw(&self, what: Withdrawn) -> Withdrawal {
        self.trees.below.withdraw(what)
    }

    fn unlock(&self, path: &AbsPath) -> Result<bool, Errno> {
        self.trees.unlock(path)
    }

    fn probe(&self, path: &AbsPath) -> Result<Probe, Errno> {
        self.ask(path, |fs, name| fs.probe(name))
    }

    fn stat(&self, path: &AbsPath) -> Result<Stat, Errno> {
        self.trees.stat(path)
    }

    fn open(&self, path: &AbsPath, how: &OpenHow, caller: &dyn Caller) -> Result<Opened, Errno> {
        let flags = how.flags;
        if flags.contains(OpenFlags::PATH) {
            let stat = self.trees.stat(path)?;
            return match stat.file_type() {
                FileType::Directory => Ok(Opened::Virtual(self.trees.list(path, stat))),
                _ => self.ask(path, |fs, name| fs.open(name, how, caller)),
            };
        }
        let stat = match self.trees.stat(path) {
            Ok(stat) => Some(stat),
            Err(Errno::ENOENT) => None,
            Err(errno) => return Err(errno),
        };
        let writes = match stat.map(|stat| (stat, stat.file_type())) {
            None if flags.contains(OpenFlags::CREAT) => true,
            None => return Err(Errno::ENOENT),
            Some(_) if flags.contains(OpenFlags::CREAT | OpenFlags::EXCL) => return Err(Errno::EEXIST),
            Some((_, FileType::Directory)) if flags.contains(OpenFlags::TMPFILE) => true,
            Some((_, FileType::Directory)) if flags.writes() || flags.contains(OpenFlags::CREAT) => {
                return Err(Errno::EISDIR);
            }
            Some((stat, FileType::Directory)) => {
                self.trees.access(path, AccessMode::READ, caller)?;
                if flags.contains(OpenFlags::DIRECT) {
                    // Not every file system permits that.
                    self.ask(path, |fs, name| fs.open(name, how, caller))?;
                }
                return Ok(Opened::Virtual(self.trees.list(path, stat)));
            }
            Some((_, FileType::Regular)) => flags.writes(),
            Some((_, FileType::Symlink)) => false,
            // There is no such device, or nobody who listens to the socket.
            Some(_) if self.trees.stands_for_special(path)? => return Err(Errno::ENXIO),
            Some(_) => false,
        };
        if !writes {
            return self.ask(path, |fs, name| fs.open(name, how, caller));
        }
        let content = if flags.contains(OpenFlags::TRUNC) { Content::Drop } else { Content::Keep };
        let side = match self.trees.prepare(path, content) {
            // It was removed between the looks, and is to be made then.
            Err(Errno::ENOENT) if flags.contains(OpenFlags::CREAT) => self.trees.prepare(path, content)?,
            prepared => prepared?,
        };
        self.trees.below.open(&self.trees.on(side, path), how, caller)
    }

    fn read_link(&self, path: &AbsPath) -> Result<Vec<u8>, Errno> {
        self.ask(path, |fs, name| fs.read_link(name))
    }

    fn access(&self, path: &AbsPath, mode: AccessMode, caller: &dyn Caller) -> Result<(), Errno> {
        self.trees.access(path, mode, caller)
    }

    fn mkdir(&self, path: &AbsPath, mode: u32, caller: &dyn Caller) -> Result<(), Errno> {
        self.trees.mkdir(path, mode, caller)
    }

    fn mknod(&self, path: &AbsPath, mode: u32, rdev: u64, caller: &dyn Caller) -> Result<(), Errno> {
        self.trees.mknod(path, mode, rdev, caller)
    }

    fn unlink(&self, path: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        self.trees.unlink(path, caller)
    }

    fn rmdir(&self, path: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        self.trees.rmdir(path, caller)
    }

    fn rename(&self, from: &AbsPath, to: &AbsPath, flags: RenameFlags, caller: &dyn Caller) -> Result<(), Errno> {
        self.trees.rename(from, to, flags, caller)
    }

    fn link(&self, from: &AbsPath, to: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        self.trees.link(from, to, caller)
    }

    fn symlink(&self, target: &[u8], path: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        self.trees.make(path, |_, name| self.trees.below.symlink(target, name, caller))
    }

    fn chmod(&self, path: &AbsPath, mode: u32, caller: &dyn Caller) -> Result<(), Errno> {
        self.trees.chmod(path, mode, caller)
    }

    fn chown(&self, path: &AbsPath, uid: Option<u32>, gid: Option<u32>, caller: &dyn Caller) -> Result<(), Errno> {
        self.trees.chown(path, uid, gid, caller)
    }

    fn give(&self, path: &AbsPath, owner: (u32, u32), mode: u32, caller: &dyn Caller) -> Result<(), Errno> {
        self.trees.give(path, owner, mode, caller)
    }

    fn utimens(&self, path: &AbsPath, atime: TimeChange, mtime: TimeChange, caller: &dyn Caller) -> Result<(), Errno> {
        self.trees.changed(path, |_, name, _| self.trees.below.utimens(name, atime, mtime, caller))
    }

    fn truncate(&self, path: &AbsPath, size: u64, caller: &dyn Caller) -> Result<(), Errno> {
        let content = if size == 0 { Content::Drop } else { Content::Keep };
        let side = self.trees.prepare(path, content)?;
        self.trees.below.truncate(&self.trees.on(side, path), size, caller)
    }

    fn statfs(&self, path: &AbsPath) -> Result<StatFs, Errno> {
        self.ask(path, |fs, name| fs.statfs(name))
    }

    fn get_xattr(&self, path: &AbsPath, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.trees.get_xattr(path, name)
    }

    fn list_xattr(&self, path: &AbsPath) -> Result<Vec<Vec<u8>>, Errno> {
        self.trees.list_xattr(path)
    }

    fn set_xattr(
        &self,
        path: &AbsPath,
        name: &[u8],
        value: &[u8],
        flags: XattrFlags,
        caller: &dyn Caller,
    ) -> Result<(), Errno> {
        self.trees.set_xattr(path, name, value, flags, caller)
    }

    fn remove_xattr(&self, path: &AbsPath, name: &[u8], caller: &dyn Caller) -> Result<(), Errno> {
        self.trees.remove_xattr(path, name, caller)
    }
}
