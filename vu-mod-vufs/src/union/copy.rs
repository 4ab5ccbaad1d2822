//! Copying up: what only B has comes to A before it is changed.

use super::{
    Content, Kind, Side, Trees,
    places::{Place, Presence, refuse_reserved},
    record::Record,
    xattrs::is_for_few,
};
use nix::{
    fcntl::copy_file_range,
    sys::statfs::PROC_SUPER_MAGIC,
    unistd::{Whence, lseek},
};
use rustix::fs::{Timespec, Timestamps};
use std::{fs::File, io, os::unix::fs::FileExt};
use vu_api::{
    AbsPath, AccessMode, Errno, FileType, OpenFlags, OpenHow, Opened, RenameFlags, Stat, StatFs, Time, TimeChange,
    XattrFlags,
};

/// What B says when it does not let something be changed.
pub(super) fn refused(errno: Errno) -> bool {
    matches!(errno, Errno::EACCES | Errno::EPERM | Errno::EROFS)
}

impl Trees {
    /// Prepares a place where the object of a path can be written to, or made.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR` if there is no directory to make it in; `EROFS` where nothing may be written; what copying meets.
    pub(super) fn prepare(&self, path: &AbsPath, content: Content) -> Result<Side, Errno> {
        self.prepare_found(path, self.find_on_both_sides(path)?, content)
    }

    /// The same of what was found there just now.
    pub(super) fn prepare_found(
        &self,
        path: &AbsPath,
        (place, seen): (Place, Option<Stat>),
        content: Content,
    ) -> Result<Side, Errno> {
        refuse_reserved(path)?;
        match (self.kind, place, seen) {
            // What is made in a directory of both is made in B.
            (Kind::Merge, Place::Upper, _) if self.directory(path)?.lower => Ok(Side::Lower),
            (Kind::Merge, Place::Upper, _) => Err(Errno::EROFS),
            (Kind::Merge, Place::Nowhere, _) if self.is_directory(&path.parent())? => Err(Errno::EROFS),
            (Kind::Merge, Place::Nowhere, _) => Err(Errno::ENOTDIR),
            // What is wrong with the way in B, which may change at any moment, only the change itself can say.
            (Kind::Merge, Place::Lower, _) => Ok(Side::Lower),
            (_, Place::Upper, _) => {
                if path.is_root() {
                    // Whoever watches A is not to see this come.
                    self.make_container(path)?;
                }
                Ok(Side::Upper)
            }
            // Writing to a device or a FIFO changes nothing of it.
            (_, Place::Lower, Some(stat)) if is_special(&stat) || self.is_told_the_kernel(path, &stat) => {
                Ok(Side::Lower)
            }
            (Kind::Mincow, Place::Lower, Some(_)) if self.lower_permits(path, AccessMode::WRITE)? => Ok(Side::Lower),
            (Kind::Mincow, Place::Lower, None)
                if self.parent_is_in_lower(path)
                    && self.lower_permits(&path.parent(), AccessMode::WRITE | AccessMode::EXECUTE)? =>
            {
                Ok(Side::Lower)
            }
            (_, Place::Lower, Some(stat)) => self.copy_up_seen(path, &stat, content).map(|()| Side::Upper),
            (_, Place::Lower | Place::Nowhere, None) => {
                self.make_parents(path)?;
                self.forget_leftovers(path).map(|()| Side::Upper)
            }
            (_, Place::Nowhere, Some(_)) => Err(Errno::ENOENT),
        }
    }

    /// Whether what is written to a file of B's is stored nowhere, but told the kernel: by `/proc`, of the caller's own processes. Root could change the whole system
    /// by it, and writes to a copy.
    fn is_told_the_kernel(&self, path: &AbsPath, stat: &Stat) -> bool {
        let may_be = stat.file_type() == FileType::Regular && stat.size == 0 && !self.me.is_root();
        let file_system = |stat: StatFs| stat.fs_type == PROC_SUPER_MAGIC.0;
        may_be && self.below.statfs(&self.in_lower(path)).is_ok_and(file_system)
    }

    /// Whether B has the directory in which something is to be made.
    pub(super) fn parent_is_in_lower(&self, path: &AbsPath) -> bool {
        let parent = self.below.stat(&self.in_lower(&path.parent()));
        parent.is_ok_and(|stat| stat.file_type() == FileType::Directory)
    }

    pub(super) fn lower_permits(&self, path: &AbsPath, mode: AccessMode) -> Result<bool, Errno> {
        match self.below.access(&self.in_lower(path), mode, &self.me) {
            Ok(()) => Ok(true),
            Err(errno) if refused(errno) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Sees to it that A has the directories that lead to a path.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR` if they are not there in B either.
    pub(super) fn make_parents(&self, path: &AbsPath) -> Result<(), Errno> {
        let parent = path.parent();
        match self.directory(&parent)?.upper {
            Presence::Directory => return Ok(()),
            Presence::Other => return Err(Errno::ENOTDIR),
            Presence::Absent => {}
        }
        match self.find(&parent)? {
            Place::Nowhere => return Err(Errno::ENOENT),
            Place::Upper => return Ok(()),
            Place::Lower => {}
        }
        let stat = self.below.stat(&self.in_lower(&parent))?;
        if stat.file_type() != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        self.copy_up(&parent, Content::Keep)
    }

    /// Copies an object up, if A does not have it yet: first under a temporary name, then it takes its place in one step.
    ///
    /// # Errors
    /// `ENOENT` if it is not there (any more); what reading B and writing to A meet.
    pub(super) fn copy_up(&self, path: &AbsPath, content: Content) -> Result<(), Errno> {
        match self.find(path)? {
            Place::Upper => return Ok(()),
            Place::Nowhere => return Err(Errno::ENOENT),
            Place::Lower => {}
        }
        let stat = self.below.stat(&self.in_lower(path))?;
        self.copy_up_seen(path, &stat, content)
    }

    /// The same, of what B has and A was found not to have.
    fn copy_up_seen(&self, path: &AbsPath, stat: &Stat, content: Content) -> Result<(), Errno> {
        self.make_parents(path)?;
        let several = stat.nlink > 1 && stat.file_type() != FileType::Directory;
        let link = several.then(|| self.link_name(stat.dev, stat.ino));
        let copied = match &link {
            Some(link) => self.stat_if_there(link)?.is_some(),
            None => false,
        };
        let name = self.temporary()?;
        let source = self.in_lower(path);
        let made = if copied { Ok(Copy::default()) } else { self.copy(&source, stat, &name, content) }
            .and_then(|copy| self.put_in_place(path, stat, (&name, copy), link.as_ref()));
        if !copied && !matches!(made, Ok(true)) {
            self.discard(&name);
        }
        made.map(drop)
    }

    /// Gives the copy its name. False if another was faster, or gave the copy another name before.
    fn put_in_place(
        &self,
        path: &AbsPath,
        stat: &Stat,
        (name, copy): (&AbsPath, Copy),
        link: Option<&AbsPath>,
    ) -> Result<bool, Errno> {
        let directory = self.in_upper(&path.parent());
        let _names = self.names.lock();
        match self.find(path)? {
            Place::Upper => return Ok(false),
            // It was removed meanwhile.
            Place::Nowhere => return Err(Errno::ENOENT),
            Place::Lower => {}
        }
        let before = self.below.stat(&directory)?;
        let mut used = true;
        // A directory is untouched no more. Of what is in one, and is no directory, nothing was told since that was touched.
        let _changes = (stat.file_type() == FileType::Directory).then(|| self.withdraw(path));
        let named = match link {
            None => {
                self.keep_copied(path, copy)?;
                self.below.rename(name, &self.in_upper(path), RenameFlags::NOREPLACE, &self.me)
            }
            // All names in B lead to the one copy from now on, and this one to it by itself.
            Some(link) => {
                match self.below.rename(name, link, RenameFlags::NOREPLACE, &self.me) {
                    Ok(()) => {
                        let links = Some(self.object(path)?.host.nlink);
                        self.keep_common(link, Record { links, dev: None, ino: None, object: None, ..copy.record })?;
                    }
                    Err(Errno::ENOENT | Errno::EEXIST) => used = false,
                    Err(errno) => return Err(errno),
                }
                let host = self.below.stat(link)?;
                let carries = self.carried(link, (host.file_type(), host.ino))?.is_some();
                self.keep_copied(path, Copy { record: origin(stat, host.ino), carries })?;
                self.below.link(link, &self.in_upper(path), &self.me)
            }
        };
        match named {
            Ok(()) => {}
            Err(Errno::EEXIST) => return Ok(false),
            Err(errno) => return Err(errno),
        }
        self.cache.forget(path);
        if stat.file_type() == FileType::Directory && stat.permissions() & 0o200 == 0 {
            self.below.chmod(&self.in_upper(path), stat.permissions(), &self.me)?;
        }
        // Nothing has changed in the directory, as far as the view goes.
        let times = (TimeChange::Set(before.atime), TimeChange::Set(before.mtime));
        if let Err(errno) = self.below.utimens(&directory, times.0, times.1, &self.me) {
            tracing::debug!("vufs: the times of {directory}: {errno}");
        }
        Ok(used)
    }

    /// Notes of which object it is a copy, and what the host did not store, before it has its name: in a file what it does not carry, or what one that is there
    /// would hide.
    fn keep_copied(&self, path: &AbsPath, copy: Copy) -> Result<(), Errno> {
        let filed = self.filed(path)?;
        if copy.carries && filed.is_empty() {
            return self.expect_carriers(&path.parent());
        }
        let before = filed.into_iter().find(|record| record.belongs_to(None)).unwrap_or_default();
        let kept = copy.record;
        let record = Record {
            kind: before.kind.or(kept.kind),
            mode: before.mode.or(kept.mode),
            uid: before.uid.or(kept.uid),
            gid: before.gid.or(kept.gid),
            rdev: before.rdev.or(kept.rdev),
            others: before.others,
            ..kept
        };
        self.keep_in_file(path, record)
    }

    /// Makes a copy, and tells what the host does not store of it.
    fn copy(&self, source: &AbsPath, stat: &Stat, name: &AbsPath, content: Content) -> Result<Copy, Errno> {
        let mut kept = origin(stat, 0);
        let file = match stat.file_type() {
            FileType::Regular => Some(self.copy_file(source, stat, name, content)?),
            FileType::Directory => {
                self.below.mkdir(name, 0o700, &self.me)?;
                None
            }
            FileType::Symlink => {
                self.below.symlink(&self.below.read_link(source)?, name, &self.me)?;
                None
            }
            kind => match self.mknod_on(Side::Upper, name, kind.mode_bits() | 0o600, stat.rdev, &self.me) {
                Err(Errno::EPERM) => {
                    self.below.mknod(name, FileType::Regular.mode_bits() | 0o600, 0, &self.me)?;
                    (kept.kind, kept.rdev) = (Some(kind), Some(stat.rdev));
                    None
                }
                made => {
                    made?;
                    None
                }
            },
        };
        let copy = self.copy_attributes(source, stat, (name, file.as_ref()), kept)?;
        if content == Content::Drop && stat.file_type() == FileType::Regular && stat.size > 0 {
            // Who truncates the copy finds it empty, which changes nothing of it.
            self.below.utimens(name, TimeChange::Omit, TimeChange::Now, &self.me)?;
        }
        Ok(copy)
    }

    fn copy_file(&self, source: &AbsPath, stat: &Stat, copy: &AbsPath, content: Content) -> Result<File, Errno> {
        let flags = OpenFlags::CREAT | OpenFlags::EXCL | OpenFlags::WRONLY;
        let to = self.open_file(copy, flags, 0o600)?;
        if content == Content::Drop {
            return Ok(to);
        }
        // Reading for the copy is not an access of B's file, where its owner may ask for that.
        let read = OpenFlags::empty();
        let from = self
            .open_file(source, read | OpenFlags::NOATIME, 0)
            .or_else(|errno| if errno == Errno::EPERM { self.open_file(source, read, 0) } else { Err(errno) })?;
        copy_content(&from, &to, stat.size)?;
        Ok(to)
    }

    fn open_file(&self, name: &AbsPath, flags: OpenFlags, mode: u32) -> Result<File, Errno> {
        match self.below.open(name, &OpenHow { flags, mode }, &self.me)? {
            Opened::Host(fd) => Ok(File::from(fd)),
            Opened::Virtual(_) => Err(Errno::EIO),
        }
    }

    /// Owner, extended attributes, record, mode and times, in the order in which none undoes another. A file is open still, which is the shorter way to it.
    fn copy_attributes(
        &self,
        source: &AbsPath,
        stat: &Stat,
        (name, file): (&AbsPath, Option<&File>),
        mut kept: Record,
    ) -> Result<Copy, Errno> {
        if !self.me.is(stat.uid, stat.gid) {
            match self.chown_on(Side::Upper, name, Some(stat.uid), Some(stat.gid), &self.me) {
                Ok(()) => {}
                Err(errno) if refused(errno) || errno == Errno::EINVAL => {
                    (kept.uid, kept.gid) = (Some(stat.uid), Some(stat.gid));
                }
                Err(errno) => return Err(errno),
            }
        }
        // Where there are no attributes, or none to be seen, there are none to copy; that they cannot be told just now is no reason to lose them.
        let attributes = match self.below.list_xattr(source) {
            Err(errno) if errno.is_no_answer() => return Err(errno),
            told => told.unwrap_or_default(),
        };
        for attribute in attributes {
            let value = match self.below.get_xattr(source, &attribute) {
                Ok(value) => value,
                Err(errno) if errno.is_no_answer() => return Err(errno),
                Err(_) => continue,
            };
            match self.set_xattr_on(Side::Upper, name, (&attribute, &value), XattrFlags::empty(), &self.me) {
                Err(errno) if errno.is_no_answer() || matches!(errno, Errno::ENOSPC | Errno::EDQUOT) => {
                    return Err(errno);
                }
                Err(_) if is_for_few(&attribute) => drop(kept.xattrs.insert(attribute, value)),
                // Security modules give their own.
                Ok(()) | Err(_) => {}
            }
        }
        let mut mode = stat.permissions();
        // A set-id bit of an owner that the host does not know would be one of ours.
        if kept.uid.is_some() && stat.file_type() != FileType::Directory && mode & 0o6000 != 0 {
            kept.mode = Some(mode);
            mode &= 0o1777;
        }
        if stat.file_type() == FileType::Directory {
            // Only a directory that its owner may write to can be moved (`vfs_rename`, fs/namei.c).
            mode |= 0o200;
        }
        let made = match file {
            Some(file) => Stat::from(&file.metadata()?),
            None => self.below.stat(name)?,
        };
        kept.object = Some(made.ino);
        if stat.file_type() == FileType::Directory {
            // Something is about to be made in it. Later it may not be writable.
            self.mark_for_carriers(name)?;
        }
        let carries = self.reads_attributes(&made, mode) && self.carry(name, &made, &kept)? && !kept.is_for_others();
        if let Some(file) = file {
            let time = |time: Time| Timespec { tv_sec: time.secs, tv_nsec: time.nanos.into() };
            rustix::fs::fchmod(file, rustix::fs::Mode::from_raw_mode(mode)).map_err(io::Error::from)?;
            let times = Timestamps { last_access: time(stat.atime), last_modification: time(stat.mtime) };
            rustix::fs::futimens(file, &times).map_err(io::Error::from)?;
            return Ok(Copy { record: kept, carries });
        }
        if stat.file_type() != FileType::Symlink {
            self.below.chmod(name, mode, &self.me)?;
        }
        self.below.utimens(name, TimeChange::Set(stat.atime), TimeChange::Set(stat.mtime), &self.me)?;
        Ok(Copy { record: kept, carries })
    }
}

/// What is kept of a copy, and whether it carries that itself.
#[derive(Default)]
struct Copy {
    record: Record,
    carries: bool,
}

/// Of which object of B one of A is a copy.
fn origin(stat: &Stat, object: u64) -> Record {
    Record { dev: Some(stat.dev), ino: Some(stat.ino), object: Some(object), ..Record::default() }
}

pub(super) fn is_special(stat: &Stat) -> bool {
    !matches!(stat.file_type(), FileType::Regular | FileType::Directory | FileType::Symlink)
}

/// Copies what there is of `size` bytes; holes stay holes. The kernel shares the blocks where the file system can (`vfs_copy_file_range`, fs/read_write.c).
pub fn copy_content(from: &File, to: &File, size: u64) -> io::Result<()> {
    // What has no size may still have content (proc(5)).
    if size == 0 {
        let (mut from, mut to) = (from, to);
        return io::copy(&mut from, &mut to).map(drop);
    }
    let length = i64::try_from(size).map_err(|_| io::Error::from_raw_os_error(Errno::EFBIG.raw()))?;
    to.set_len(size)?;
    let mut at = 0;
    while at < length {
        let data = match lseek(from, at, Whence::SeekData) {
            Ok(data) => data,
            // Nothing but a hole is left.
            Err(nix::Error::ENXIO) => break,
            // A file system that knows no holes.
            Err(_) => at,
        };
        let end = match lseek(from, data, Whence::SeekHole) {
            Ok(end) if end > data => end.min(length),
            _ => length,
        };
        copy_range(from, to, data, end)?;
        at = end;
    }
    Ok(())
}

fn copy_range(from: &File, to: &File, mut at: i64, end: i64) -> io::Result<()> {
    while at < end {
        let (mut read_at, mut write_at) = (at, at);
        let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(1 << 30);
        match copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), length) {
            // It has become shorter.
            Ok(0) => return Ok(()),
            Ok(_) => at = read_at,
            Err(nix::Error::EXDEV | nix::Error::EINVAL | nix::Error::ENOSYS | nix::Error::EOPNOTSUPP) => {
                return copy_by_hand(from, to, at, end);
            }
            Err(nix::Error::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn copy_by_hand(from: &File, to: &File, at: i64, end: i64) -> io::Result<()> {
    let (mut at, end) = (u64::try_from(at).unwrap_or(0), u64::try_from(end).unwrap_or(0));
    let mut buffer = vec![0; 1 << 17];
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let length = match from.read_at(&mut buffer[..wanted], at) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        to.write_all_at(&buffer[..length], at)?;
        at += length as u64;
    }
    Ok(())
}
