//! The view as it was at an epoch.

use crate::{
    debug::Tag,
    host::stat_of,
    permission::Judge,
    view::{Mount, Table, View},
};
use std::{cell::Cell, fmt::Display, sync::Arc};
use vu_api::{
    AbsPath, AccessMode, Caller, Errno, FileType, Filesystem, Location, MountFlags, OpenFlags, OpenHow, Opened, Probe,
    Purpose, Removed, RenameFlags, Shows, Stat, StatFs, TimeChange, Withdrawal, Withdrawn, XattrFlags,
};
use vu_path::Epoch;

/// The mounts of a view that are older than an epoch, and the host: what a mount made at that epoch works on. The
/// newest of them that covers a path and does not decline it answers for the path; what none answers for is the host's.
///
/// Beyond routing, a layer does for every mount what a module must not forget: `ro` and `noexec`, no removal of a mount point,
/// `EXDEV` between mounts, and a module's panic is an `EIO`.
///
/// **Mount points are where they were mounted.** The name of one was free of symbolic links then. That it still is, is
/// looked at in the top layer, where it decides whether a path must be walked; a mount's requests to the layers below take
/// it for granted, as they do for the mount's source. Otherwise a chain of mounts, each of which has its source in the one before,
/// would cost twice as much with every link.
#[derive(Clone)]
pub struct Layer {
    view: Arc<View>,
    epoch: Epoch,
    /// The mount in which the source of this layer's mount lies: it stays in this layer when it was lazily unmounted.
    source_mount: Option<Epoch>,
}

/// Who answers for a path.
struct Route<'t> {
    /// The mount, and the path in it; `None`: the host.
    mount: Option<(&'t Arc<Mount>, AbsPath)>,
    /// The uppermost part of the path that a newer mount declined, if one did; of several, the deepest.
    declined: Option<AbsPath>,
}

impl Layer {
    /// The whole view.
    #[must_use]
    pub fn top(view: Arc<View>) -> Layer {
        Layer { view, epoch: Epoch::MAX, source_mount: None }
    }

    pub(crate) fn below(view: Arc<View>, epoch: Epoch, source_mount: Option<Epoch>) -> Layer {
        Layer { view, epoch, source_mount }
    }

    /// Whether it is what processes see, and not what a mount works on.
    #[must_use]
    pub fn is_top(&self) -> bool {
        self.epoch == Epoch::MAX
    }

    /// The view it is a layer of.
    #[must_use]
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// The mount that answers for a path, and the path in it; `None`: the host.
    #[must_use]
    pub fn mount_for(&self, path: &AbsPath) -> Option<(Arc<Mount>, AbsPath)> {
        let table = self.view.table();
        self.route(&table, path).mount.map(|(mount, rest)| (Arc::clone(mount), rest))
    }

    /// The mounts that cover a path, the newest first, and what each has to do with it.
    #[must_use]
    pub fn considered(&self, path: &AbsPath) -> Vec<(Arc<Mount>, Considered)> {
        let mut answered = false;
        let judge = |entry: &vu_path::Entry<Arc<Mount>>| {
            let rest = path.rebase(&entry.point, &AbsPath::root());
            let how = if answered {
                Considered::Hidden
            } else if entry.mount.detached && self.source_mount != Some(entry.epoch) {
                Considered::Unmounted
            } else if rest.is_some_and(|rest| entry.mount.declines(&rest)) {
                Considered::Declines
            } else {
                answered = true;
                Considered::Answers
            };
            (Arc::clone(&entry.mount), how)
        };
        self.view.table().covering(path, self.epoch).map(judge).collect()
    }

    fn route<'t>(&self, table: &'t Table, path: &AbsPath) -> Route<'t> {
        let mut declined = None;
        if !table.is_empty() {
            for entry in table.covering(path, self.epoch) {
                if entry.mount.detached && self.source_mount != Some(entry.epoch) {
                    continue;
                }
                let Some(rest) = path.rebase(&entry.point, &AbsPath::root()) else { continue };
                if entry.mount.declines(&rest) {
                    declined = declined.max(Some(declined_part(&entry.mount, path)));
                    continue;
                }
                return Route { mount: Some((&entry.mount, rest)), declined };
            }
        }
        Route { mount: None, declined }
    }

    /// Has the one who answers for `path` do something.
    fn ask<T>(
        &self,
        operation: &'static str,
        path: &AbsPath,
        act: Act,
        call: impl FnOnce(&dyn Filesystem, &AbsPath) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let table = self.view.table();
        let Some((mount, rest)) = self.route(&table, path).mount else {
            self.tell(&"the host", operation, path);
            return call(self.view.host(), path);
        };
        self.tell(mount, operation, path);
        self.permit(mount, path, &rest, act)?;
        mount.shielded(operation, |fs| call(fs, &rest))
    }

    /// Refuses what no mount of this kind does.
    fn permit(&self, mount: &Mount, path: &AbsPath, rest: &AbsPath, act: Act) -> Result<(), Errno> {
        let read_only = mount.flags.contains(MountFlags::RDONLY);
        match act {
            // A mount point cannot be removed (`d_is_local_mountpoint`, fs/namei.c).
            Act::Remove if rest.is_root() => Err(Errno::EBUSY),
            // That the name is taken is said first (`filename_create`, fs/namei.c): `mkdir -p` lives on it.
            Act::Create if read_only && self.stat(path).is_ok() => Err(Errno::EEXIST),
            Act::Change | Act::Create | Act::Remove if read_only => Err(Errno::EROFS),
            _ => Ok(()),
        }
    }

    /// As [`ask`](Self::ask), on behalf of a caller who may have to be judged first. Where the host refuses what was permitted, it is told not to.
    fn ask_for<T>(
        &self,
        caller: &dyn Caller,
        judge: impl FnOnce(&Judge<'_>) -> Result<(), Errno>,
        operation: &'static str,
        (path, act): (&AbsPath, Act),
        call: impl Fn(&dyn Filesystem, &AbsPath) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let Some(judged) = self.judge(path, caller) else { return self.ask(operation, path, act, call) };
        if let Some((mount, rest)) = self.mount_for(path) {
            self.permit(&mount, path, &rest, act)?;
        }
        judge(&judged)?;
        match self.ask(operation, path, act, &call) {
            Err(Errno::EACCES) if self.unlock(path)? => self.ask(operation, path, act, &call),
            done => done,
        }
    }

    /// As [`ask_both`](Self::ask_both), for a caller who may have to be judged first.
    fn ask_both_for(
        &self,
        caller: &dyn Caller,
        judge: impl FnOnce(&Judge<'_>) -> Result<(), Errno>,
        operation: &'static str,
        (from, to): ((&AbsPath, Act), (&AbsPath, Act)),
        call: impl Fn(&dyn Filesystem, &AbsPath, &AbsPath) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let Some(judged) = self.judge(to.0, caller) else { return self.ask_both(operation, from, to, call) };
        judge(&judged)?;
        match self.ask_both(operation, from, to, &call) {
            Err(Errno::EACCES) if self.unlock(from.0)? | self.unlock(to.0)? => {
                self.ask_both(operation, from, to, &call)
            }
            done => done,
        }
    }

    /// As [`ask`](Self::ask), for what is done to two names, which must both be of one mount.
    fn ask_both(
        &self,
        operation: &'static str,
        (from, from_act): (&AbsPath, Act),
        (to, to_act): (&AbsPath, Act),
        call: impl FnOnce(&dyn Filesystem, &AbsPath, &AbsPath) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let table = self.view.table();
        match (self.route(&table, from).mount, self.route(&table, to).mount) {
            (None, None) => {
                self.tell(&"the host", operation, from);
                call(self.view.host(), from, to)
            }
            (Some((mount, from_rest)), Some((other, to_rest))) if mount.epoch == other.epoch => {
                self.tell(mount, operation, from);
                self.permit(mount, from, &from_rest, from_act)?;
                self.permit(mount, to, &to_rest, to_act)?;
                mount.shielded(operation, |fs| call(fs, &from_rest, &to_rest))
            }
            _ => Err(Errno::EXDEV),
        }
    }

    /// For the debug category of layers.
    fn tell(&self, asked: &dyn Display, operation: &str, path: &AbsPath) {
        if self.epoch != Epoch::MAX {
            let text = format_args!("{operation} {path} below epoch {}: {asked}", self.epoch);
            self.view.debug().tell_served(Tag::Layers, text);
        }
    }

    fn probe_in(&self, table: &Table, path: &AbsPath) -> Result<Probe, Errno> {
        let route = self.route(table, path);
        if self.epoch == Epoch::MAX
            && let Some(junction) = route.junction()
        {
            match self.probe_in(table, &junction)? {
                Probe::Symlink => return Ok(Probe::Symlink),
                Probe::Found { file_type, handle } => match self.type_of(&junction, file_type, handle)? {
                    FileType::Directory => {}
                    FileType::Symlink => return Ok(Probe::Symlink),
                    _ => return Err(Errno::ENOTDIR),
                },
            }
        }
        let probe = route.probe(self.view.host(), path)?;
        match &route.declined {
            // A symbolic link in the answering mount at a place where the view shows the directory of another: no step
            // of a walk would meet it, and nothing leads past it.
            Some(declined) if matches!(probe, Probe::Symlink) => {
                match route.upper(declined).probe(self.view.host(), declined)? {
                    Probe::Symlink => Err(Errno::ENOENT),
                    Probe::Found { .. } => Ok(Probe::Symlink),
                }
            }
            _ => Ok(probe),
        }
    }

    fn type_of(
        &self,
        path: &AbsPath,
        told: Option<FileType>,
        handle: Option<std::os::fd::OwnedFd>,
    ) -> Result<FileType, Errno> {
        Ok(match (told, handle) {
            (Some(file_type), _) => file_type,
            (None, Some(handle)) => stat_of(handle)?.file_type(),
            (None, None) => self.stat(path)?.file_type(),
        })
    }
}

/// What a mount that covers a path has to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Considered {
    /// It answers.
    Answers,
    /// It has an exception there.
    Declines,
    /// It was lazily unmounted.
    Unmounted,
    /// A newer one answers.
    Hidden,
}

/// What an operation does to the name it is given.
#[derive(Clone, Copy)]
enum Act {
    /// Looks at the object.
    Look,
    /// Changes the object.
    Change,
    /// Makes the name.
    Create,
    /// Takes the name away, or gives it to something else.
    Remove,
}

impl Route<'_> {
    fn probe(&self, host: &dyn Filesystem, path: &AbsPath) -> Result<Probe, Errno> {
        match &self.mount {
            None => host.probe(path),
            Some((mount, rest)) => mount.shielded("probe", |fs| fs.probe(rest)),
        }
    }

    /// The same answerer, for a path that leads to the one that was routed.
    fn upper(&self, path: &AbsPath) -> Route<'_> {
        let rest = |mount: &Mount| path.rebase(&mount.point, &AbsPath::root());
        Route { mount: self.mount.as_ref().and_then(|(mount, _)| Some((*mount, rest(mount)?))), declined: None }
    }

    /// The directory in which the path passes to the one who answers, coming from somebody else; `None` if that is the root,
    /// or if the answerer has the whole path.
    fn junction(&self) -> Option<AbsPath> {
        let point = self.mount.as_ref().map(|(mount, _)| &mount.point);
        // Both are parts of one path: the greater is the deeper.
        let entrance = point.max(self.declined.as_ref())?;
        Some(entrance.parent()).filter(|junction| !junction.is_root())
    }
}

/// The uppermost part of `path` that the mount declines.
fn declined_part(mount: &Mount, path: &AbsPath) -> AbsPath {
    let mut part = path.clone();
    loop {
        let upper = part.parent();
        match upper.rebase(&mount.point, &AbsPath::root()) {
            Some(rest) if part != upper && mount.declines(&rest) => part = upper,
            _ => return part,
        }
    }
}

impl Filesystem for Layer {
    fn locate(&self, path: &AbsPath, purpose: Purpose) -> Result<Location, Errno> {
        let table = self.view.table();
        let Some((mount, rest)) = self.route(&table, path).mount else {
            self.tell(&"the host", "locate", path);
            return self.view.host().locate(path, purpose);
        };
        self.tell(mount, "locate", path);
        match purpose {
            purpose if purpose.changes() && mount.flags.contains(MountFlags::RDONLY) => Err(Errno::EROFS),
            Purpose::Execute if mount.flags.contains(MountFlags::NOEXEC) => Err(Errno::EACCES),
            _ => mount.shielded("locate", |fs| fs.locate(&rest, purpose)),
        }
    }

    fn probe(&self, path: &AbsPath) -> Result<Probe, Errno> {
        self.probe_in(&self.view.table(), path)
    }

    fn stat(&self, path: &AbsPath) -> Result<Stat, Errno> {
        self.ask("stat", path, Act::Look, |fs, path| fs.stat(path))
    }

    fn open(&self, path: &AbsPath, how: &OpenHow, caller: &dyn Caller) -> Result<Opened, Errno> {
        let act = match self.mount_flags(path) {
            Some(flags) if flags.contains(MountFlags::RDONLY) => self.open_read_only(path, how)?,
            _ => Act::Look,
        };
        self.ask("open", path, act, |fs, path| fs.open(path, how, caller))
    }

    fn read_link(&self, path: &AbsPath) -> Result<Vec<u8>, Errno> {
        self.ask("read_link", path, Act::Look, |fs, path| fs.read_link(path))
    }

    fn access(&self, path: &AbsPath, mode: AccessMode, caller: &dyn Caller) -> Result<(), Errno> {
        self.ask("access", path, Act::Look, |fs, path| fs.access(path, mode, caller))?;
        // Permission is judged before the mount's own state (`do_faccessat`, fs/open.c), but for noexec, whose errno is the same.
        let Some(flags) = self.mount_flags(path) else { return Ok(()) };
        if mode.contains(AccessMode::EXECUTE)
            && flags.contains(MountFlags::NOEXEC)
            && self.stat(path)?.file_type() == FileType::Regular
        {
            return Err(Errno::EACCES);
        }
        if mode.contains(AccessMode::WRITE)
            && flags.contains(MountFlags::RDONLY)
            && !is_special(self.stat(path)?.file_type())
        {
            return Err(Errno::EROFS);
        }
        Ok(())
    }

    fn keeps_owners(&self, path: &AbsPath) -> bool {
        let table = self.view.table();
        self.route(&table, path)
            .mount
            .is_some_and(|(mount, rest)| mount.shielded("keeps_owners", |fs| Ok(fs.keeps_owners(&rest))) == Ok(true))
    }

    fn removed(&self, path: &AbsPath, object: Removed) -> Removed {
        let table = self.view.table();
        match self.route(&table, path).mount {
            None => object,
            Some((mount, rest)) => {
                mount.shielded("removed", |fs| Ok(fs.removed(&rest, object.clone()))).unwrap_or(object)
            }
        }
    }

    fn host_directories(&self, path: &AbsPath) -> Vec<AbsPath> {
        let table = self.view.table();
        match self.route(&table, path).mount {
            None => self.view.host().host_directories(path),
            Some((mount, rest)) => {
                mount.shielded("host_directories", |fs| Ok(fs.host_directories(&rest))).unwrap_or_default()
            }
        }
    }

    fn shows(&self, path: &AbsPath, directory: &AbsPath) -> Result<Shows, Errno> {
        self.ask("shows", path, Act::Look, |fs, path| fs.shows(path, directory))
    }

    fn withdraw(&self, what: Withdrawn) -> Withdrawal {
        self.view.host().withdraw(what)
    }

    fn unlock(&self, path: &AbsPath) -> Result<bool, Errno> {
        self.ask("unlock", path, Act::Look, |fs, path| fs.unlock(path))
    }

    fn mkdir(&self, path: &AbsPath, mode: u32, caller: &dyn Caller) -> Result<(), Errno> {
        self.ask_for(
            caller,
            |judge| judge.may_make(path),
            "mkdir",
            (path, Act::Create),
            |fs, path| fs.mkdir(path, mode, caller),
        )
    }

    fn mknod(&self, path: &AbsPath, mode: u32, rdev: u64, caller: &dyn Caller) -> Result<(), Errno> {
        self.ask_for(
            caller,
            |judge| judge.may_make_special(path, mode),
            "mknod",
            (path, Act::Create),
            |fs, path| fs.mknod(path, mode, rdev, caller),
        )
    }

    fn unlink(&self, path: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        self.ask_for(
            caller,
            |judge| judge.may_remove(path),
            "unlink",
            (path, Act::Remove),
            |fs, path| fs.unlink(path, caller),
        )
    }

    fn rmdir(&self, path: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        self.ask_for(
            caller,
            |judge| judge.may_remove(path),
            "rmdir",
            (path, Act::Remove),
            |fs, path| fs.rmdir(path, caller),
        )
    }

    fn rename(&self, from: &AbsPath, to: &AbsPath, flags: RenameFlags, caller: &dyn Caller) -> Result<(), Errno> {
        let judge = |judge: &Judge<'_>| judge.may_rename(from, to, flags);
        self.ask_both_for(caller, judge, "rename", ((from, Act::Remove), (to, Act::Remove)), |fs, from, to| {
            fs.rename(from, to, flags, caller)
        })
    }

    fn link(&self, from: &AbsPath, to: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        let judge = |judge: &Judge<'_>| judge.may_link(from, to);
        self.ask_both_for(caller, judge, "link", ((from, Act::Look), (to, Act::Create)), |fs, from, to| {
            fs.link(from, to, caller)
        })
    }

    fn symlink(&self, target: &[u8], path: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        self.ask_for(
            caller,
            |judge| judge.may_make(path),
            "symlink",
            (path, Act::Create),
            |fs, path| fs.symlink(target, path, caller),
        )
    }

    fn chmod(&self, path: &AbsPath, mode: u32, caller: &dyn Caller) -> Result<(), Errno> {
        let allowed = Cell::new(mode);
        let judge = |judge: &Judge<'_>| judge.mode_to_set(path, mode).map(|mode| allowed.set(mode));
        self.ask_for(caller, judge, "chmod", (path, Act::Change), |fs, path| fs.chmod(path, allowed.get(), caller))
    }

    fn chown(&self, path: &AbsPath, uid: Option<u32>, gid: Option<u32>, caller: &dyn Caller) -> Result<(), Errno> {
        let judge = |judge: &Judge<'_>| judge.may_chown(path, uid, gid);
        self.ask_for(caller, judge, "chown", (path, Act::Change), |fs, path| fs.chown(path, uid, gid, caller))
    }

    /// By who made it, and so may: nobody is judged.
    fn give(&self, path: &AbsPath, owner: (u32, u32), mode: u32, caller: &dyn Caller) -> Result<(), Errno> {
        self.ask("give", path, Act::Change, |fs, path| fs.give(path, owner, mode, caller))
    }

    fn utimens(&self, path: &AbsPath, atime: TimeChange, mtime: TimeChange, caller: &dyn Caller) -> Result<(), Errno> {
        let judge = |judge: &Judge<'_>| judge.may_set_times(path, atime, mtime);
        self.ask_for(caller, judge, "utimens", (path, Act::Change), |fs, path| fs.utimens(path, atime, mtime, caller))
    }

    fn truncate(&self, path: &AbsPath, size: u64, caller: &dyn Caller) -> Result<(), Errno> {
        let judge = |judge: &Judge<'_>| judge.may(path, AccessMode::WRITE);
        self.ask_for(caller, judge, "truncate", (path, Act::Change), |fs, path| fs.truncate(path, size, caller))
    }

    /// With the flags of the mount among those of the file system, as `statfs_by_dentry` has it.
    fn statfs(&self, path: &AbsPath) -> Result<StatFs, Errno> {
        let mut statfs = self.ask("statfs", path, Act::Look, |fs, path| fs.statfs(path))?;
        if let Some(flags) = self.mount_flags(path) {
            // ST_RDONLY, ST_NOSUID, ST_NODEV and ST_NOEXEC are the numbers of their MS_ namesakes (statfs(2)).
            let shown = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            statfs.flags |= (flags & shown).bits().cast_signed();
        }
        Ok(statfs)
    }

    fn get_xattr(&self, path: &AbsPath, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.ask("get_xattr", path, Act::Look, |fs, path| fs.get_xattr(path, name))
    }

    fn list_xattr(&self, path: &AbsPath) -> Result<Vec<Vec<u8>>, Errno> {
        self.ask("list_xattr", path, Act::Look, |fs, path| fs.list_xattr(path))
    }

    fn set_xattr(
        &self,
        path: &AbsPath,
        name: &[u8],
        value: &[u8],
        flags: XattrFlags,
        caller: &dyn Caller,
    ) -> Result<(), Errno> {
        let judge = |judge: &Judge<'_>| judge.may_set_xattr(path, name);
        self.ask_for(caller, judge, "set_xattr", (path, Act::Change), |fs, path| {
            fs.set_xattr(path, name, value, flags, caller)
        })
    }

    fn remove_xattr(&self, path: &AbsPath, name: &[u8], caller: &dyn Caller) -> Result<(), Errno> {
        let judge = |judge: &Judge<'_>| judge.may_set_xattr(path, name);
        self.ask_for(caller, judge, "remove_xattr", (path, Act::Change), |fs, path| fs.remove_xattr(path, name, caller))
    }
}

impl Layer {
    /// A name needs a directory to be in.
    ///
    /// # Errors
    /// `ENOTDIR` if its parent is none; those of stat(2).
    pub fn check_parent(&self, path: &AbsPath) -> Result<(), Errno> {
        match self.stat(&path.parent())?.file_type() {
            FileType::Directory => Ok(()),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// The flags of the mount that answers for a path.
    fn mount_flags(&self, path: &AbsPath) -> Option<MountFlags> {
        let table = self.view.table();
        self.route(&table, path).mount.map(|(mount, _)| mount.flags)
    }

    /// What an open is on a read-only mount: writing to a device, a FIFO or a socket changes nothing of the mount
    /// (`do_dentry_open`, fs/open.c), and `O_CREAT` of what exists creates nothing.
    fn open_read_only(&self, path: &AbsPath, how: &OpenHow) -> Result<Act, Errno> {
        if how.flags.contains(OpenFlags::PATH) {
            return Ok(Act::Look);
        }
        if how.flags.contains(OpenFlags::TMPFILE) {
            return Ok(Act::Change);
        }
        match self.stat(path) {
            Ok(stat) if how.flags.writes() && !is_special(stat.file_type()) => Ok(Act::Change),
            Ok(_) => Ok(Act::Look),
            Err(Errno::ENOENT) if how.flags.contains(OpenFlags::CREAT) => Ok(Act::Change),
            Err(errno) => Err(errno),
        }
    }
}

fn is_special(file_type: FileType) -> bool {
    !matches!(file_type, FileType::Regular | FileType::Directory | FileType::Symlink)
}
