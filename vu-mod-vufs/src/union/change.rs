//! Names and attributes: made, removed, renamed, changed.

use super::{
    Content, Kind, Side, Trees,
    copy::{is_special, refused},
    kept::Object,
    listing::Emptiness,
    places::{Place, is_there, refuse_reserved},
    record::Record,
};
use vu_api::{AbsPath, AccessMode, Caller, Errno, FileType, Filesystem, RenameFlags, Stat, TimeChange, Withdrawn};

impl Trees {
    /// The attributes of an object.
    pub(crate) fn stat(&self, path: &AbsPath) -> Result<Stat, Errno> {
        self.object(path).map(|object| object.stat())
    }

    /// Has an object changed on the side where that happens; `change` is told what is kept of it.
    pub(crate) fn changed(
        &self,
        path: &AbsPath,
        mut change: impl FnMut(Side, &AbsPath, &Record) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let object = self.object(path)?;
        match (self.kind, object.place) {
            (Kind::Merge, Place::Upper) => return Err(Errno::EROFS),
            (Kind::Merge, _) => return change(Side::Lower, &self.in_lower(path), &object.record),
            // What refuses here may only have been kept, not done.
            (Kind::Mincow, Place::Lower) if self.lower_permits(path, AccessMode::WRITE)? => {
                match change(Side::Lower, &self.in_lower(path), &object.record) {
                    Err(errno) if refused(errno) => {}
                    done => return done,
                }
            }
            (_, Place::Upper) => return change(Side::Upper, &self.in_upper(path), &object.record),
            _ => {}
        }
        self.copy_up(path, Content::Keep)?;
        let record = self.object(path)?.record;
        change(Side::Upper, &self.in_upper(path), &record)
    }

    /// Makes a name that is not there.
    pub(crate) fn make(&self, path: &AbsPath, make: impl Fn(Side, &AbsPath) -> Result<(), Errno>) -> Result<(), Errno> {
        refuse_reserved(path)?;
        if self.is_lowers_to_say(path)? {
            return make(Side::Lower, &self.in_lower(path));
        }
        let found = self.find_on_both_sides(path)?;
        if is_there(found) {
            return Err(if found == (Place::Upper, None) { Errno::ENOTDIR } else { Errno::EEXIST });
        }
        // What `mincow` finds writable may still be refused.
        if self.prepare_found(path, found, Content::Keep)? == Side::Lower {
            match make(Side::Lower, &self.in_lower(path)) {
                Err(errno) if refused(errno) && self.kind == Kind::Mincow => {
                    self.make_parents(path)?;
                    self.forget_leftovers(path)?;
                }
                done => return done,
            }
        }
        make(Side::Upper, &self.in_upper(path))
    }

    /// Before a name is made: what may have been left behind under it by one that was killed is no part of what is made.
    pub(super) fn forget_leftovers(&self, path: &AbsPath) -> Result<(), Errno> {
        let marks = self.directory(&path.parent())?.marks;
        if !(marks && (self.has_container(path)? || self.is_filed(path)?)) {
            return Ok(());
        }
        let _names = self.names.lock();
        if !self.exists(path)? {
            self.unmark_directory(path)?;
            self.forget_file(path)?;
        }
        Ok(())
    }

    pub(crate) fn mkdir(&self, path: &AbsPath, mode: u32, caller: &dyn Caller) -> Result<(), Errno> {
        // One of B's may have been removed a moment ago.
        let _changes = (self.kind == Kind::Mincow).then(|| self.below.withdraw(Withdrawn::Names));
        self.make(path, |_, name| self.below.mkdir(name, mode, caller))?;
        self.cache.forget(path);
        Ok(())
    }

    pub(crate) fn link(&self, from: &AbsPath, to: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        let source = self.stat(from)?;
        if self.stat(&to.parent())?.file_type() != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        if source.file_type() == FileType::Directory {
            return Err(if self.exists(to)? { Errno::EEXIST } else { Errno::EPERM });
        }
        let place = self.find(from)?;
        match (self.kind, place) {
            // In B there is no way to link to A's object.
            (Kind::Merge, Place::Upper) => Err(Errno::EXDEV),
            (Kind::Merge, _) => self.make(to, |_, to| self.below.link(&self.in_lower(from), to, caller)),
            _ => {
                refuse_reserved(to)?;
                if self.exists(to)? {
                    return Err(Errno::EEXIST);
                }
                if (self.kind, place) == (Kind::Mincow, Place::Lower) && self.parent_is_in_lower(to) {
                    match self.below.link(&self.in_lower(from), &self.in_lower(to), caller) {
                        Err(errno) if refused(errno) => {}
                        done => return done,
                    }
                }
                self.make_parents(to)?;
                self.copy_up(from, Content::Keep)?;
                let _names = self.names.lock();
                let object = self.object(from)?;
                // What is kept is kept under each name.
                self.announce((from, &object.host), (to, None), false)?;
                self.below.link(&self.in_upper(from), &self.in_upper(to), caller)?;
                match &object.link {
                    Some(link) => self.count_links(link, object.host.nlink, 1),
                    None => Ok(()),
                }
            }
        }
    }

    /// Whether a name is B's alone, in a merge: B may change at any moment, and what is wrong with a change there, the change itself says.
    fn is_lowers_to_say(&self, path: &AbsPath) -> Result<bool, Errno> {
        Ok(self.kind == Kind::Merge && self.find(path)? == Place::Lower)
    }

    pub(crate) fn unlink(&self, path: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        if self.is_lowers_to_say(path)? {
            return self.below.unlink(&self.in_lower(path), caller);
        }
        let object = self.object(path)?;
        if object.stat().file_type() == FileType::Directory {
            return Err(Errno::EISDIR);
        }
        self.remove((path, object.place), caller, |fs, name| fs.unlink(name, caller))
    }

    pub(crate) fn rmdir(&self, path: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        if self.is_lowers_to_say(path)? && !self.has_container(path)? {
            self.below.rmdir(&self.in_lower(path), caller)?;
        } else {
            self.rmdir_of_both(path, caller)?;
        }
        self.listings.removed(path);
        self.cache.forget(path);
        Ok(())
    }

    fn rmdir_of_both(&self, path: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        let object = self.object(path)?;
        if object.stat().file_type() != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        // Who watches a directory (inotify(7)) is not told of a look at it that nobody but the mount takes.
        if !self.host_knows_whether_empty(path)? {
            self.expect_empty(path)?;
        }
        self.remove((path, object.place), caller, |fs, name| fs.rmdir(name, caller))
    }

    /// That a directory is empty, before it is removed or replaced. One that may not be listed may be removed all the same if it is empty.
    fn expect_empty(&self, path: &AbsPath) -> Result<(), Errno> {
        match self.emptiness(path) {
            Ok(Emptiness::Empty) => Ok(()),
            Ok(Emptiness::NotEmpty) => Err(Errno::ENOTEMPTY),
            Err(Errno::EACCES) if self.host_knows_whether_empty(path)? => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Whether a directory is empty if, and only if, the host removes it: nothing but A's has a part in it, or in a merge, nothing but B's.
    fn host_knows_whether_empty(&self, path: &AbsPath) -> Result<bool, Errno> {
        let of_one = match self.kind {
            Kind::Merge => self.find(path)? == Place::Lower,
            Kind::Cow | Kind::Mincow => self.stat_lower(path)?.is_none(),
        };
        Ok(of_one && !self.has_container(path)?)
    }

    /// Takes a name away whose object was found there: first what B has is hidden, then A's object goes. Where both have one, the second step is the one that counts.
    fn remove(
        &self,
        (path, place): (&AbsPath, Place),
        caller: &dyn Caller,
        remove: impl Fn(&dyn Filesystem, &AbsPath) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        match (self.kind, place) {
            (_, Place::Nowhere) => return Err(Errno::ENOENT),
            (Kind::Merge, Place::Upper) => return Err(Errno::EROFS),
            (Kind::Merge, Place::Lower) => return remove(&*self.below, &self.in_lower(path)),
            (Kind::Mincow, Place::Lower) => match remove(&*self.below, &self.in_lower(path)) {
                Err(errno) if refused(errno) => {}
                done => return done,
            },
            (Kind::Cow, Place::Lower) => self.may_remove(path, caller)?,
            _ => {}
        }
        // The directory has changed, and only A can tell when.
        self.make_parents(path)?;
        let _names = self.names.lock();
        let object = self.object(path)?;
        let in_lower = self.stat_lower(path)?.is_some();
        let _changes = (object.host.file_type() == FileType::Directory).then(|| self.withdraw(path));
        if in_lower {
            self.hide(path)?;
        }
        if object.place == Place::Upper {
            self.unshare(path, &object)?;
            remove(&*self.below, &self.in_upper(path))?;
        }
        if object.filed {
            self.forget_file(path)?;
        }
        self.one_name_less(&object)?;
        if object.place == Place::Upper {
            return if in_lower { Ok(()) } else { self.unmark_directory(path) };
        }
        let directory = self.in_upper(&path.parent());
        self.below.utimens(&directory, TimeChange::Omit, TimeChange::Now, &self.me)
    }

    /// Another name of what had several names in B is gone.
    fn one_name_less(&self, object: &Object) -> Result<(), Errno> {
        let several = object.host.file_type() != FileType::Directory && object.host.nlink > 1;
        match &object.link {
            Some(link) => self.count_links(link, object.host.nlink, -1),
            // The others know by this that they are fewer.
            None if several && object.place == Place::Lower => {
                self.count_links(&self.link_name(object.host.dev, object.host.ino), object.host.nlink, -1)
            }
            None => Ok(()),
        }
    }

    /// What the host checks when something is removed there (`may_delete`, fs/namei.c), where nothing is. It matters where the hypervisor may act for
    /// others; for an ordinary user, permission to change is permission to write to A.
    fn may_remove(&self, path: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        if !self.me.is_root() {
            return Ok(());
        }
        let directory = path.parent();
        self.access(&directory, AccessMode::WRITE | AccessMode::EXECUTE, caller)?;
        let (stat, above) = (self.stat(path)?, self.stat(&directory)?);
        let who = caller.credentials()?;
        let sticky = above.permissions() & 0o1000 != 0;
        if sticky && who.uid != 0 && who.uid != stat.uid && who.uid != above.uid { Err(Errno::EPERM) } else { Ok(()) }
    }

    /// access(2) by the effective ids.
    pub(crate) fn access(&self, path: &AbsPath, mode: AccessMode, caller: &dyn Caller) -> Result<(), Errno> {
        let (place, seen) = self.find_and_stat(path)?;
        let writes = mode.contains(AccessMode::WRITE);
        match place {
            Place::Nowhere => Err(Errno::ENOENT),
            Place::Upper if writes && self.kind == Kind::Merge => {
                self.below.access(&self.in_upper(path), mode - AccessMode::WRITE, caller)?;
                Err(Errno::EROFS)
            }
            Place::Upper => {
                let special = match seen.filter(|_| caller.is_virtual()) {
                    Some(stat) => self.special_in_upper(path, &stat)?,
                    None => None,
                };
                match special {
                    // The empty file that stands for it does not count.
                    Some(special) => {
                        let mode = mode - AccessMode::EXECUTE;
                        self.device(special).map_or(Ok(()), |name| self.below.access(&name, mode, caller))
                    }
                    None => self.below.access(&self.in_upper(path), mode, caller),
                }
            }
            Place::Lower => {
                let name = self.in_lower(path);
                let whole = self.below.access(&name, mode, caller);
                let elsewhere = writes && self.kind != Kind::Merge && !self.me.is_root();
                match whole {
                    Err(errno) if refused(errno) && elsewhere => {
                        self.below.access(&name, mode - AccessMode::WRITE, caller)?;
                        self.may_copy_up(path, caller)?;
                        // The copy is its user's own, and has the mode of the original.
                        let shut = !caller.is_virtual() && self.below.stat(&name)?.permissions() & 0o200 == 0;
                        if shut { Err(Errno::EACCES) } else { Ok(()) }
                    }
                    Ok(()) if writes && self.kind == Kind::Cow && self.upper_is_read_only() => {
                        // As of any file system that is read-only (`sb_permission`, fs/namei.c).
                        if is_special(&self.below.stat(&name)?) { Ok(()) } else { Err(Errno::EROFS) }
                    }
                    answer => answer,
                }
            }
        }
    }

    fn upper_is_read_only(&self) -> bool {
        self.below.access(&self.upper, AccessMode::WRITE, &self.me) == Err(Errno::EROFS)
    }

    /// Whether A can take a copy: whether the directory can be written to in which the copy, or the copies of the directories above it, would be made.
    fn may_copy_up(&self, path: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        let mut directory = path.parent();
        while self.find(&directory)? != Place::Upper {
            directory.pop();
        }
        self.below.access(&self.in_upper(&directory), AccessMode::WRITE | AccessMode::EXECUTE, caller)
    }

    /// renameat2(2) within the union.
    pub(crate) fn rename(
        &self,
        from: &AbsPath,
        to: &AbsPath,
        flags: RenameFlags,
        caller: &dyn Caller,
    ) -> Result<(), Errno> {
        refuse_reserved(to)?;
        if self.is_lowers_to_say(from)? && self.is_lowers_to_say(to)? {
            return self.rename_in_lower(from, to, flags, caller);
        }
        while self.try_to_rename(from, to, flags, caller)? == Attempt::Overtaken {}
        Ok(())
    }

    /// The same, if nobody changes what the two names are between the looks at them and the step that counts.
    fn try_to_rename(
        &self,
        from: &AbsPath,
        to: &AbsPath,
        flags: RenameFlags,
        caller: &dyn Caller,
    ) -> Result<Attempt, Errno> {
        let object = self.object(from)?;
        let source = object.stat();
        let target = match self.stat(to) {
            Ok(stat) => Some(stat),
            Err(Errno::ENOENT) if self.is_directory(&to.parent())? => None,
            Err(Errno::ENOENT) => return Err(Errno::ENOTDIR),
            Err(errno) => return Err(errno),
        };
        let exchange = flags.contains(RenameFlags::EXCHANGE);
        self.may_rename((from, &source), (to, target.as_ref()), flags)?;
        if target.is_some_and(|target| is_same(&source, &target)) {
            // Two names of one object stay as they are (rename(2)); but it may have been renamed from one to the other between the two looks.
            return Ok(if self.are_one(from, to)? { Attempt::Done } else { Attempt::Overtaken });
        }
        // To leave a whiteout behind is B's to do, where B changes (`ovl_rename`, fs/overlayfs/dir.c).
        let known = (RenameFlags::NOREPLACE | RenameFlags::EXCHANGE).contains(flags);
        if self.kind == Kind::Cow && !known {
            return Err(Errno::EINVAL);
        }
        match self.kind {
            Kind::Merge => return Err(Errno::EROFS),
            Kind::Mincow => match self.rename_in_lower(from, to, flags, caller) {
                Err(errno) if refused(errno) && known => {}
                done => return done.map(|()| Attempt::Done),
            },
            Kind::Cow => {}
        }
        let is_directory = |stat: &Stat| stat.file_type() == FileType::Directory;
        let source_is_directory = is_directory(&source);
        let target_is_directory = target.as_ref().is_some_and(is_directory);
        // A directory that B has a part in cannot be moved by moving A's part; who renames copies then (mv(1), `ovl_can_move`).
        let moves = |path: &AbsPath| -> Result<(), Errno> {
            if self.find(path)? == Place::Lower || self.directory(path)?.lower { Err(Errno::EXDEV) } else { Ok(()) }
        };
        if source_is_directory {
            moves(from)?;
        }
        if exchange && target_is_directory {
            moves(to)?;
        }
        if !exchange && target_is_directory {
            self.expect_empty(to)?;
        }
        if object.place == Place::Lower {
            self.may_remove(from, caller)?;
            self.copy_up(from, Content::Keep)?;
        }
        if target.is_some() && (exchange || target_is_directory) {
            match self.copy_up(to, Content::Keep) {
                Err(Errno::ENOENT) if !self.exists(to)? => return Ok(Attempt::Overtaken),
                copied => copied?,
            }
        } else {
            self.make_parents(to)?;
        }
        let _names = self.names.lock();
        let stat = |path: &AbsPath| self.stat_if_there(&self.in_upper(path));
        let source_now = stat(from)?.ok_or(Errno::ENOENT)?;
        let at_target = match self.object(to) {
            Err(Errno::ENOENT) => None,
            found => Some(found?),
        };
        let are_directories = (is_directory(&source_now), at_target.as_ref().map(|object| is_directory(&object.host)));
        if are_directories != (source_is_directory, target.as_ref().map(is_directory)) {
            return Ok(Attempt::Overtaken);
        }
        let replaced = at_target.filter(|_| !exchange);
        if let Some(replaced) = &replaced {
            self.unshare(to, replaced)?;
        }
        let target_now = stat(to)?;
        let in_lower = |path: &AbsPath| self.stat_lower(path).map(|stat| stat.is_some());
        let (from_in_lower, to_in_lower) = (in_lower(from)?, in_lower(to)?);
        // The marks of what is in a directory go with it. While they are on the way, only attributes that the host does not store are not seen.
        let carried = if source_is_directory { self.take_container(from)? } else { None };
        let carried_back = if exchange && target_is_directory { self.take_container(to)? } else { None };
        let opaque = to_in_lower && carried.is_some();
        self.announce((from, &source_now), (to, target_now.map(|stat| stat.ino)), opaque)?;
        if exchange && let Some(target_now) = &target_now {
            let opaque = from_in_lower && carried_back.is_some();
            self.announce((to, target_now), (from, Some(source_now.ino)), opaque)?;
        }
        // What A has hides what B has of the same name, but for directories. And what A has no more must stay hidden.
        if from_in_lower && (!exchange || target_is_directory) {
            self.hide(from)?;
        }
        if to_in_lower && source_is_directory {
            self.hide(to)?;
        }
        let renamed = self.below.rename(&self.in_upper(from), &self.in_upper(to), flags, caller);
        if source_is_directory || target_is_directory {
            self.cache.forget(from);
            self.cache.forget(to);
        }
        let (new, back) = if renamed.is_ok() { (to, from) } else { (from, to) };
        self.put_container(carried, new)?;
        self.put_container(carried_back, back)?;
        self.settle(from)?;
        self.settle(to)?;
        renamed?;
        if let Some(replaced) = replaced {
            self.one_name_less(&replaced)?;
        }
        self.listings.renamed(from, to, exchange);
        Ok(Attempt::Done)
    }

    /// Whether two names are of one object, by one look at both.
    fn are_one(&self, name: &AbsPath, other: &AbsPath) -> Result<bool, Errno> {
        let _names = self.names.lock();
        Ok(is_same(&self.stat(name)?, &self.stat(other)?))
    }

    /// What the kernel checks of the two names before it asks a file system (`do_renameat2`, `vfs_rename`, fs/namei.c).
    fn may_rename(
        &self,
        (from, source): (&AbsPath, &Stat),
        (to, target): (&AbsPath, Option<&Stat>),
        flags: RenameFlags,
    ) -> Result<(), Errno> {
        let exchange = flags.contains(RenameFlags::EXCHANGE);
        if flags.contains(RenameFlags::NOREPLACE) && target.is_some() {
            return Err(Errno::EEXIST);
        }
        if exchange && target.is_none() {
            return Err(Errno::ENOENT);
        }
        if from != to && to.starts_with(from) {
            return Err(Errno::EINVAL);
        }
        if from != to && from.starts_with(to) {
            return Err(if exchange { Errno::EINVAL } else { Errno::ENOTEMPTY });
        }
        match target.map(Stat::file_type) {
            Some(_) if exchange => Ok(()),
            Some(FileType::Directory) if source.file_type() != FileType::Directory => Err(Errno::EISDIR),
            Some(other) if source.file_type() == FileType::Directory && other != FileType::Directory => {
                Err(Errno::ENOTDIR)
            }
            _ => Ok(()),
        }
    }

    /// The same where only B changes.
    fn rename_in_lower(
        &self,
        from: &AbsPath,
        to: &AbsPath,
        flags: RenameFlags,
        caller: &dyn Caller,
    ) -> Result<(), Errno> {
        let _names = self.names.lock();
        if self.find(from)? != Place::Lower || self.find(to)? != Place::Lower {
            return Err(Errno::EROFS);
        }
        self.below.rename(&self.in_lower(from), &self.in_lower(to), flags, caller)?;
        self.cache.forget(from);
        self.cache.forget(to);
        self.listings.renamed(from, to, flags.contains(RenameFlags::EXCHANGE));
        Ok(())
    }
}

/// What came of an attempt to rename.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    Done,
    /// Somebody else changed what was looked at.
    Overtaken,
}

/// Whether these are the attributes of one object.
fn is_same(stat: &Stat, other: &Stat) -> bool {
    (stat.dev, stat.ino) == (other.dev, other.ino)
}
