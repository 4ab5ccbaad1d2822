//! Attributes that the mount keeps: what the host does not store, the numbers of what was copied up, and how many names an object has that had several in B.

use super::{
    Trees,
    copy::refused,
    places::{MARKS, Place},
    record::{self, Record},
};
use std::{
    fs::File,
    io::{Read, Write},
    sync::atomic::Ordering,
};
use vu_api::{AbsPath, Caller, Errno, FileType, OpenFlags, OpenHow, Opened, RenameFlags, Stat, XattrFlags};

/// Ends the name of a record.
const SUFFIX: u8 = 0x7f;
/// Begins the name by which an object is held that had several names in B.
pub(crate) const LINKED: &str = "\x7flink.";
/// Begins the name of the record of an object of A that had several names when its attributes were changed.
pub(crate) const SHARED: &str = "\x7fsame.";

/// An object, as far as attributes go.
pub(super) struct Object {
    pub place: Place,
    /// As the host tells them.
    pub host: Stat,
    /// What is kept.
    pub record: Record,
    /// The name of the object that holds the content, in the layer below.
    pub name: AbsPath,
}

impl Object {
    /// The attributes as they are to be seen.
    pub fn stat(&self) -> Stat {
        let mut stat = self.host;
        self.record.apply(&mut stat);
        stat
    }
}

impl Trees {
    /// Looks at an object.
    ///
    /// # Errors
    /// `ENOENT`; others of stat(2).
    pub(super) fn object(&self, path: &AbsPath) -> Result<Object, Errno> {
        let (place, seen) = self.find_and_stat(path)?;
        let name = match place {
            Place::Nowhere => return Err(Errno::ENOENT),
            Place::Upper => self.in_upper(path),
            Place::Lower => self.in_lower(path),
        };
        let mut host = match seen {
            Some(stat) => stat,
            None => self.below.stat(&name)?,
        };
        let mut record = self.record(path, place, host.ino)?.unwrap_or_default();
        let mut held = name;
        if let Some(link) = self.linked(place, &host, &record) {
            let own = (host.dev, host.ino);
            if place == Place::Lower
                && let Some(stat) = self.stat_if_there(&link)?
            {
                (held, host) = (link.clone(), stat);
                (host.dev, host.ino) = own;
            }
            // The attributes of an object are those of all its names.
            if let Some(common) = self.read_records(&link)?.into_iter().next() {
                host.nlink = common.links.unwrap_or(host.nlink);
                record = Record { object: record.object, dev: record.dev, ino: record.ino, links: None, ..common };
            }
        } else if place == Place::Upper && host.file_type() == FileType::Directory && self.directory(path)?.lower {
            // How many directories are in it is not known; 1 says so to those who count (`ovl_getattr`, fs/overlayfs/inode.c).
            host.nlink = 1;
        }
        if record.is_empty() {
            record = Record::default();
        }
        Ok(Object { place, host, record, name: held })
    }

    /// Whether the attributes of an object are others than the host's of the object that has its content.
    pub(super) fn keeps_attributes(&self, path: &AbsPath, place: Place) -> Result<bool, Errno> {
        let parent = if path.is_root() { path.clone() } else { path.parent() };
        let marks = self.directory(&parent)?.marks;
        let elsewhere = match place {
            Place::Upper => &self.has_shared,
            Place::Lower | Place::Nowhere => &self.has_links,
        };
        let may = marks || elsewhere.load(Ordering::Relaxed);
        if !may {
            return Ok(false);
        }
        let object = self.object(path)?;
        Ok(object.record != Record::default() || object.stat() != self.below.stat(&object.name)?)
    }

    /// The record of an object.
    pub(super) fn record(&self, path: &AbsPath, place: Place, ino: u64) -> Result<Option<Record>, Errno> {
        if place == Place::Upper
            && let Some(shared) = self.shared(ino)?
        {
            return Ok(Some(shared));
        }
        if !path.is_root() && !self.directory(&path.parent())?.marks {
            return Ok(None);
        }
        let belongs = |record: &Record| match (place, record.object) {
            (_, None) => true,
            (Place::Upper, Some(object)) => object == ino,
            _ => false,
        };
        Ok(self.read_records(&self.mark(path))?.into_iter().find(belongs))
    }

    /// The record that all names of an object of A share, if it has one.
    fn shared(&self, ino: u64) -> Result<Option<Record>, Errno> {
        if !self.has_shared.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let record = self.read_records(&self.shared_name(ino))?.into_iter().find(|record| record.object == Some(ino));
        Ok(record.map(|record| Record { links: None, ..record }))
    }

    fn shared_name(&self, ino: u64) -> AbsPath {
        self.upper.child(MARKS).child(format!("{SHARED}{ino}").as_bytes())
    }

    /// Before an object may lose its last name: what is kept of it is kept under that name alone. What has its number later begins anew.
    pub(super) fn unshare(&self, path: &AbsPath, object: &Object) -> Result<(), Errno> {
        let last = object.place == Place::Upper && object.host.nlink < 2;
        match if last { self.shared(object.host.ino)? } else { None } {
            None => Ok(()),
            Some(record) => {
                let name = self.shared_name(object.host.ino);
                self.keep(path, record)?;
                self.write_records(&name, &[])
            }
        }
    }

    /// The records under a mark, whose name is without the ending.
    fn read_records(&self, mark: &AbsPath) -> Result<Vec<Record>, Errno> {
        let how = OpenHow { flags: OpenFlags::NOFOLLOW, mode: 0 };
        let fd = match self.below.open(&record_name(mark), &how, &self.me) {
            Ok(Opened::Host(fd)) => fd,
            Ok(Opened::Virtual(_)) | Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG) => return Ok(Vec::new()),
            Err(errno) => return Err(errno),
        };
        let mut text = Vec::new();
        File::from(fd).take(record::LONGEST).read_to_end(&mut text)?;
        Ok(record::parse(&text))
    }

    /// Writes records in one step; none are taken away.
    fn write_records(&self, mark: &AbsPath, records: &[Record]) -> Result<(), Errno> {
        let name = record_name(mark);
        if records.iter().all(Record::is_empty) {
            return match self.below.unlink(&name, &self.me) {
                Err(Errno::ENOENT | Errno::ENOTDIR) | Ok(()) => Ok(()),
                Err(errno) => Err(errno),
            };
        }
        let temporary = self.temporary()?;
        let flags = OpenFlags::CREAT | OpenFlags::EXCL | OpenFlags::WRONLY;
        let Opened::Host(fd) = self.below.open(&temporary, &OpenHow { flags, mode: 0o644 }, &self.me)? else {
            return Err(Errno::EIO);
        };
        let written = File::from(fd)
            .write_all(record::format(records).as_bytes())
            .map_err(Errno::from)
            .and_then(|()| self.below.rename(&temporary, &name, RenameFlags::empty(), &self.me));
        if written.is_err() {
            self.discard(&temporary);
        }
        written
    }

    /// Keeps a record of an object, those of others of that name are forgotten. `names` is held, or the name is nobody else's.
    pub(super) fn keep(&self, path: &AbsPath, record: Record) -> Result<(), Errno> {
        self.keep_all(path, &[record])
    }

    fn keep_all(&self, path: &AbsPath, records: &[Record]) -> Result<(), Errno> {
        let parent = if path.is_root() { path.clone() } else { path.parent() };
        if !records.iter().all(Record::is_empty) {
            self.make_container(&parent)?;
        } else if !self.directory(&parent)?.marks {
            return Ok(());
        }
        let opaque = records.iter().any(|record| record.opaque);
        self.write_records(&self.mark(path), records)?;
        if opaque {
            self.cache.forget(path);
        }
        Ok(())
    }

    /// Forgets what was kept of an object that is gone.
    pub(super) fn forget_record(&self, path: &AbsPath) -> Result<(), Errno> {
        self.keep_all(path, &[])
    }

    /// Before an object is renamed: its record is there under the new name, too, beside that of the object that has it now.
    pub(super) fn announce(
        &self,
        from: (&AbsPath, u64),
        to: (&AbsPath, Option<u64>),
        opaque: bool,
    ) -> Result<(), Errno> {
        let moved = self.record(from.0, Place::Upper, from.1)?.unwrap_or_default();
        let moved = Record { object: Some(from.1), opaque, ..moved };
        let mut records = vec![moved];
        if let Some(ino) = to.1
            && let Some(other) = self.record(to.0, Place::Upper, ino)?
        {
            records.push(Record { object: Some(ino), ..other });
        }
        if records.iter().all(Record::is_empty) { Ok(()) } else { self.keep_all(to.0, &records) }
    }

    /// Keeps only the record of the object that has the name now.
    pub(super) fn settle(&self, path: &AbsPath) -> Result<(), Errno> {
        if !self.directory(&path.parent())?.marks {
            return Ok(());
        }
        let Some(stat) = self.stat_if_there(&self.in_upper(path))? else { return self.forget_record(path) };
        let record = self.record(path, Place::Upper, stat.ino)?.unwrap_or_default();
        self.keep(path, record)
    }

    /// Whether a directory of A hides what B has in the directory of that name, by its record.
    pub(super) fn is_opaque(&self, path: &AbsPath, ino: u64) -> Result<bool, Errno> {
        let belongs = |record: &Record| record.object.is_none_or(|object| object == ino);
        Ok(self.read_records(&self.mark(path))?.iter().any(|record| record.opaque && belongs(record)))
    }

    // ---- changes

    /// Changes attributes: first as the host stores them, then, where it does not, as they are kept.
    fn change_record(&self, path: &AbsPath, change: impl FnOnce(&mut Record, &Stat)) -> Result<(), Errno> {
        let _names = self.names.lock();
        let object = self.object(path)?;
        let host = self.below.stat(&object.name)?;
        let mut record = object.record.clone();
        record.object = (object.place == Place::Upper).then_some(host.ino);
        change(&mut record, &object.stat());
        let several = object.place == Place::Upper && host.file_type() != FileType::Directory && host.nlink > 1;
        if let Some(link) = self.linked(object.place, &object.host, &record)
            && let Some(common) = self.read_records(&link)?.into_iter().next()
        {
            self.write_records(
                &link,
                &[Record { links: common.links, object: None, dev: None, ino: None, ..record.clone() }],
            )?;
        } else if several || object.place == Place::Upper && self.shared(host.ino)?.is_some() {
            // The other names, whichever they are, have records of what was so when they were given.
            self.make_container(&AbsPath::root())?;
            self.write_records(&self.shared_name(host.ino), &[Record { links: Some(host.nlink), ..record.clone() }])?;
            self.has_shared.store(true, Ordering::Relaxed);
        }
        self.keep(path, record)
    }

    pub(crate) fn chmod(&self, path: &AbsPath, mode: u32, caller: &dyn Caller) -> Result<(), Errno> {
        if self.keeps_without_copying(path)? {
            return self.change_record(path, |record, _| record.mode = Some(mode));
        }
        // Who is judged by what is kept must not be hindered by what the host keeps.
        let open = if caller.is_virtual() && self.may_keep() { for_its_user(&self.stat(path)?, mode) } else { 0 };
        let stored = |record: &Record| {
            // A set-id bit of an owner that the host does not know would be one of ours.
            let others = record.uid.is_some() || record.gid.is_some() || record.kind.is_some();
            open | if others { mode & 0o1777 } else { mode }
        };
        let mut kept = None;
        self.changed(path, |fs, name, record| {
            kept.get_or_insert(record.mode.is_some() || stored(record) != mode);
            match fs.chmod(name, stored(record), caller) {
                Err(errno) if refused(errno) && errno != Errno::EROFS && self.may_keep() => {
                    kept = Some(true);
                    Ok(())
                }
                done => done,
            }
        })?;
        if kept == Some(true) { self.change_record(path, |record, _| record.mode = Some(mode)) } else { Ok(()) }
    }

    pub(crate) fn chown(
        &self,
        path: &AbsPath,
        uid: Option<u32>,
        gid: Option<u32>,
        caller: &dyn Caller,
    ) -> Result<(), Errno> {
        let note = |record: &mut Record, seen: &Stat| {
            record.uid = uid.or(record.uid);
            record.gid = gid.or(record.gid);
            // Whoever changes the owner, a program does not run as another without being asked (chown(2)).
            if seen.file_type() != FileType::Directory && seen.mode & 0o6000 != 0 {
                let group = if seen.mode & 0o010 != 0 { 0o2000 } else { 0 };
                record.mode = Some(seen.permissions() & !(0o4000 | group));
            }
        };
        if self.keeps_without_copying(path)? {
            return self.change_record(path, note);
        }
        let mut kept = false;
        self.changed(path, |fs, name, record| {
            let has = record.uid.is_some() || record.gid.is_some();
            match fs.chown(name, uid, gid, caller) {
                Ok(()) if !has => Ok(()),
                Err(errno) if !(has || refused(errno) || errno == Errno::EINVAL) => Err(errno),
                Err(errno) if !self.may_keep() => Err(errno),
                _ => {
                    kept = true;
                    Ok(())
                }
            }
        })?;
        if kept { self.change_record(path, note) } else { Ok(()) }
    }

    /// See [`Filesystem::unlock`](vu_api::Filesystem::unlock): what A has of the path, and is its user's own.
    pub(crate) fn unlock(&self, path: &AbsPath) -> Result<bool, Errno> {
        if !self.may_keep() {
            return Ok(false);
        }
        let mut changed = false;
        let mut names = vec![path.clone()];
        while let Some(last) = names.last()
            && !last.is_root()
        {
            names.push(last.parent());
        }
        while let Some(name) = names.pop() {
            let host = match self.find(&name)? {
                Place::Upper => self.below.stat(&self.in_upper(&name)),
                Place::Lower | Place::Nowhere => break,
            };
            let Ok(host) = host else { break };
            let mode = host.permissions() | for_its_user(&host, host.permissions());
            if !self.me.is_user(host.uid) || mode == host.permissions() {
                continue;
            }
            self.change_record(&name, |record, seen| record.mode = Some(seen.permissions()))?;
            self.below.chmod(&self.in_upper(&name), mode, &self.me)?;
            changed = true;
        }
        Ok(changed)
    }

    /// Whether this mount keeps attributes: where everything happens on the host, so does that.
    fn may_keep(&self) -> bool {
        self.kind != super::Kind::Merge && !self.me.is_root()
    }

    /// Whether a file only stands for a special file, which nobody can open.
    pub(super) fn stands_for_special(&self, path: &AbsPath) -> Result<bool, Errno> {
        self.object(path).map(|object| object.record.kind.is_some())
    }

    /// Whether attributes are to be kept without a copy being made (`nochcopy`).
    fn keeps_without_copying(&self, path: &AbsPath) -> Result<bool, Errno> {
        let keeps = self.no_copy_for_attributes && self.kind == super::Kind::Cow;
        Ok(keeps && self.find(path)? == Place::Lower)
    }

    /// Makes a special file, if need be an empty file that stands for one.
    pub(crate) fn mknod(&self, path: &AbsPath, mode: u32, rdev: u64, caller: &dyn Caller) -> Result<(), Errno> {
        let made = self.make(path, |fs, name| fs.mknod(name, mode, rdev, caller));
        let kind = FileType::from_mode(mode);
        let Some(kind @ (FileType::CharDevice | FileType::BlockDevice)) = kind else { return made };
        if made != Err(Errno::EPERM) || !self.may_keep() {
            return made;
        }
        self.make(path, |fs, name| {
            fs.mknod(name, FileType::Regular.mode_bits() | mode & 0o777, 0, caller)?;
            let record =
                Record { kind: Some(kind), rdev: Some(rdev), object: Some(fs.stat(name)?.ino), ..Record::default() };
            self.keep(path, record)
        })
    }

    pub(crate) fn get_xattr(&self, path: &AbsPath, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let object = self.object(path)?;
        match object.record.xattrs.get(name) {
            Some(value) => Ok(value.clone()),
            None => self.below.get_xattr(&object.name, name),
        }
    }

    pub(crate) fn list_xattr(&self, path: &AbsPath) -> Result<Vec<Vec<u8>>, Errno> {
        let object = self.object(path)?;
        let mut names = self.below.list_xattr(&object.name)?;
        names.retain(|name| !object.record.xattrs.contains_key(name));
        names.extend(object.record.xattrs.into_keys());
        Ok(names)
    }

    pub(crate) fn set_xattr(
        &self,
        path: &AbsPath,
        name: &[u8],
        value: &[u8],
        flags: XattrFlags,
        caller: &dyn Caller,
    ) -> Result<(), Errno> {
        self.may_have(path, name)?;
        // Of an object that cannot have a list for what is made in it (`set_posix_acl`, fs/posix_acl.c): that no right is missing.
        if name == b"system.posix_acl_default" && self.stat(path)?.file_type() != FileType::Directory {
            return Err(Errno::EACCES);
        }
        let mut kept = false;
        self.changed(path, |fs, file, record| match record.xattrs.contains_key(name) {
            true if flags.contains(XattrFlags::CREATE) => Err(Errno::EEXIST),
            true => {
                kept = true;
                Ok(())
            }
            false => match fs.set_xattr(file, name, value, flags, caller) {
                Err(errno) if self.may_keep() && is_kept(name, errno, caller) => {
                    if flags.contains(XattrFlags::REPLACE) {
                        return Err(Errno::ENODATA);
                    }
                    kept = true;
                    Ok(())
                }
                done => done,
            },
        })?;
        if !kept {
            return Ok(());
        }
        self.change_record(path, |record, _| drop(record.xattrs.insert(name.to_vec(), value.to_vec())))
    }

    /// Only files and directories have attributes of users (`xattr_permission`, fs/xattr.c).
    fn may_have(&self, path: &AbsPath, name: &[u8]) -> Result<(), Errno> {
        let has = !name.starts_with(b"user.")
            || matches!(self.stat(path)?.file_type(), FileType::Regular | FileType::Directory);
        if has { Ok(()) } else { Err(Errno::EPERM) }
    }

    pub(crate) fn remove_xattr(&self, path: &AbsPath, name: &[u8], caller: &dyn Caller) -> Result<(), Errno> {
        self.may_have(path, name)?;
        let mut kept = false;
        self.changed(path, |fs, file, record| {
            kept = record.xattrs.contains_key(name);
            if kept { Ok(()) } else { fs.remove_xattr(file, name, caller) }
        })?;
        if kept { self.change_record(path, |record, _| drop(record.xattrs.remove(name))) } else { Ok(()) }
    }

    // ---- objects with several names in B

    /// The name by which a copy of an object is held that had several names in B, if one may be.
    pub(super) fn linked(&self, place: Place, host: &Stat, record: &Record) -> Option<AbsPath> {
        if !self.has_links.load(Ordering::Relaxed) || host.file_type() == FileType::Directory {
            return None;
        }
        match place {
            Place::Lower if host.nlink > 1 => Some(self.link_name(host.dev, host.ino)),
            Place::Upper => Some(self.link_name(record.dev?, record.ino?)),
            _ => None,
        }
    }

    pub(super) fn link_name(&self, dev: u64, ino: u64) -> AbsPath {
        let (major, minor) = (nix::sys::stat::major(dev), nix::sys::stat::minor(dev));
        self.upper.child(MARKS).child(format!("{LINKED}{major}.{minor}.{ino}").as_bytes())
    }

    /// One name more or less of an object that had several in B; with the last, the object goes. `names` is held.
    pub(super) fn count_links(&self, link: &AbsPath, before: u64, change: i64) -> Result<(), Errno> {
        let known = self.read_records(link)?.into_iter().next().unwrap_or_default();
        let links = known.links.unwrap_or(before).saturating_add_signed(change);
        if links == 0 {
            self.write_records(link, &[])?;
            self.discard(link);
            return Ok(());
        }
        self.keep_common(link, Record { links: Some(links), ..known })
    }

    /// What all names of an object have in common.
    pub(super) fn keep_common(&self, link: &AbsPath, common: Record) -> Result<(), Errno> {
        self.make_container(&AbsPath::root())?;
        self.write_records(link, &[common])?;
        self.has_links.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// Whether an attribute that the host refused is kept. Who has a virtual identity was judged by that; for all others the host's word counts (`xattr_permission`,
/// fs/xattr.c), but for what it takes from no ordinary user, as with owners, and what the file system has no room for.
fn is_kept(name: &[u8], errno: Errno, caller: &dyn Caller) -> bool {
    let by_anybody = errno == Errno::EOPNOTSUPP || name.starts_with(b"security.");
    is_for_few(name)
        && (refused(errno) || errno == Errno::EOPNOTSUPP)
        && (caller.is_virtual() || by_anybody && !name.starts_with(b"trusted."))
}

/// Attributes that not everybody may set, and so are kept where the host refuses them (xattr(7)).
pub(super) fn is_for_few(name: &[u8]) -> bool {
    [&b"security."[..], b"trusted.", b"user."].iter().any(|prefix| name.starts_with(prefix))
}

/// The permissions that the host's user needs to do what others may do with an object of this mode.
fn for_its_user(object: &Stat, mode: u32) -> u32 {
    match object.file_type() {
        FileType::Directory => 0o700,
        FileType::Regular if mode & 0o111 != 0 => 0o700,
        FileType::Regular | FileType::Fifo | FileType::Socket => 0o600,
        _ => 0,
    }
}

fn record_name(mark: &AbsPath) -> AbsPath {
    match mark.file_name() {
        // That of the mount's root stands in `.-`.
        Some(MARKS) => mark.child(&[SUFFIX]),
        Some(name) => mark.parent().child(&[name, &[SUFFIX]].concat()),
        None => mark.clone(),
    }
}
