//! Attributes that the mount keeps: what the host does not store, the numbers of what was copied up, and how many names an object has that had several in B.
//!
//! An object of A carries its record where it can ([`carried`](super::carried)). What it cannot carry, and what other readers of the format look for, stands in a file in
//! `.-`, which prevails: so each change of a record counts from one step on, whatever it was before.

use super::{
    Side, Trees,
    copy::refused,
    places::{MARKS, Place},
    record::{self, Record},
};
use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::{FileExt, MetadataExt},
    sync::atomic::Ordering,
};
use vu_api::{AbsPath, Caller, Errno, FileType, OpenFlags, OpenHow, Opened, RenameFlags, Stat, Withdrawn};

/// So many bytes of a file, from its beginning, are read or written by one step: a page.
const ONE_STEP: usize = 4096;
/// Begins the name of the record of an object of A that had several names when its attributes were changed.
pub(crate) const SHARED: &str = "\x7fsame.";

/// An object, as far as attributes go.
pub(super) struct Object {
    pub place: Place,
    /// As the host tells them.
    pub host: Stat,
    /// What is kept.
    pub record: Record,
    /// The name of the object that holds the content, in the layer below, and the side on which that is.
    pub name: AbsPath,
    pub side: Side,
    /// If it had several names in B: the name by which a copy of it is held.
    pub link: Option<AbsPath>,
    /// Whether a file of records may stand under the name.
    pub filed: bool,
    /// Whether the attributes are others than those of the object that holds the content.
    pub differs: bool,
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
        self.object_found(path, self.find_and_stat(path)?)
    }

    /// The same of an object that was found there just now, with these attributes.
    fn object_found(&self, path: &AbsPath, (place, seen): (Place, Option<Stat>)) -> Result<Object, Errno> {
        let (name, mut side) = match place {
            Place::Nowhere => return Err(Errno::ENOENT),
            Place::Upper => (self.in_upper(path), Side::Upper),
            Place::Lower => (self.in_lower(path), Side::Lower),
        };
        let mut host = match seen {
            Some(stat) => stat,
            None => self.below.stat(&name)?,
        };
        let (record, filed) = self.record_and_whether_filed(path, place, &host)?;
        let mut record = record.unwrap_or_default();
        let mut differs = false;
        let mut held = name;
        let link = self.linked(place, &host, &record);
        if let Some(link) = &link {
            differs = true;
            let own = (host.dev, host.ino);
            if place == Place::Lower
                && let Some(stat) = self.stat_if_there(link)?
            {
                (held, host, side) = (link.clone(), stat, Side::Upper);
                (host.dev, host.ino) = own;
            }
            self.add_common(link, &mut host, &mut record)?;
        } else if place == Place::Upper && host.file_type() == FileType::Directory && self.directory(path)?.lower {
            // How many directories are in it is not known; 1 says so to those who count (`ovl_getattr`, fs/overlayfs/inode.c).
            (host.nlink, differs) = (1, true);
        }
        if record.is_empty() {
            record = Record::default();
        }
        differs |= record != Record::default();
        Ok(Object { place, host, record, name: held, side, link, filed, differs })
    }

    /// Whether the attributes of an object, which was found there just now, are others than the host's of the object that has its content.
    pub(super) fn keeps_attributes(&self, path: &AbsPath, found: (Place, Option<Stat>)) -> Result<bool, Errno> {
        let parent = if path.is_root() { path.clone() } else { path.parent() };
        let directory = self.directory(&parent)?;
        let elsewhere = match found.0 {
            Place::Upper => &self.has_shared,
            Place::Lower | Place::Nowhere => &self.has_links,
        };
        let may = directory.marks || directory.carriers || elsewhere.load(Ordering::Relaxed);
        if may { self.object_found(path, found).map(|object| object.differs) } else { Ok(false) }
    }

    /// The record of an object, which has these attributes.
    pub(super) fn record(&self, path: &AbsPath, place: Place, host: &Stat) -> Result<Option<Record>, Errno> {
        self.record_and_whether_filed(path, place, host).map(|(record, _)| record)
    }

    fn record_and_whether_filed(
        &self,
        path: &AbsPath,
        place: Place,
        host: &Stat,
    ) -> Result<(Option<Record>, bool), Errno> {
        if place == Place::Upper
            && let Some(shared) = self.shared(host.ino)?
        {
            return Ok((Some(shared), true));
        }
        let records = self.filed(path)?;
        let filed = !records.is_empty();
        let object = (place == Place::Upper).then_some(host.ino);
        let record = match records.into_iter().find(|record| record.belongs_to(object)) {
            None if place == Place::Upper && self.may_carry(path)? => {
                self.carried(&self.in_upper(path), (host.file_type(), host.ino))?
            }
            record => record,
        };
        Ok((record, filed))
    }

    /// Whether something may be remembered of an object of this name.
    fn may_be_marked(&self, path: &AbsPath) -> Result<bool, Errno> {
        Ok(path.is_root() || self.directory(&path.parent())?.marks)
    }

    fn may_carry(&self, path: &AbsPath) -> Result<bool, Errno> {
        if path.is_root() {
            return Ok(true);
        }
        let directory = self.directory(&path.parent())?;
        Ok(directory.marks || directory.carriers)
    }

    /// The records in the file of a name.
    pub(super) fn filed(&self, path: &AbsPath) -> Result<Vec<Record>, Errno> {
        if self.may_be_marked(path)? { self.read_filed(path) } else { Ok(Vec::new()) }
    }

    /// The same, of a name of which something may be remembered.
    fn read_filed(&self, path: &AbsPath) -> Result<Vec<Record>, Errno> {
        if let Some(known) = self.cache.records(path) {
            return Ok(known);
        }
        let generation = self.cache.generation();
        let records = self.read_records(&self.mark(path))?;
        if records.iter().all(|record| record.xattrs.is_empty() && record.others.is_empty()) {
            // Of what may be long, nothing is held.
            self.cache.insert_records(generation, path, &records);
        }
        Ok(records)
    }

    /// Writes the file of records of a name of which something may be remembered, or takes it away.
    fn write_filed(&self, path: &AbsPath, records: &[Record]) -> Result<(), Errno> {
        let written = self.write_records(&self.mark(path), records);
        self.cache.forget_records(path);
        written
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
                self.keep(path, record, Some(&object.host))?;
                self.write_records(&name, &[])
            }
        }
    }

    /// The records under a mark, whose name is without the ending.
    pub(super) fn read_records(&self, mark: &AbsPath) -> Result<Vec<Record>, Errno> {
        let how = OpenHow { flags: OpenFlags::NOFOLLOW, mode: 0 };
        let _unchanged = self.records.read();
        let fd = match self.below.open(&record_name(mark), &how, &self.me) {
            Ok(Opened::Host(fd)) => fd,
            // No file of records, as the host says by reading it.
            Ok(Opened::Virtual(other)) => {
                let is_directory = other.stat()?.file_type() == FileType::Directory;
                return Err(if is_directory { Errno::EISDIR } else { Errno::EIO });
            }
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG) => return Ok(Vec::new()),
            Err(errno) => return Err(errno),
        };
        // As much as most files have, by one step.
        let mut text = Vec::with_capacity(ONE_STEP);
        File::from(fd).take(record::LONGEST).read_to_end(&mut text)?;
        Ok(record::parse(&text))
    }

    /// Writes records in one step; where there are none, the file is taken away.
    fn write_records(&self, mark: &AbsPath, records: &[Record]) -> Result<(), Errno> {
        if !records.is_empty() {
            return self.write_file(mark, records);
        }
        match self.below.unlink(&record_name(mark), &self.me) {
            Err(Errno::ENOENT | Errno::ENOTDIR) | Ok(()) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn write_file(&self, mark: &AbsPath, records: &[Record]) -> Result<(), Errno> {
        let (name, text) = (record_name(mark), record::format(records));
        if self.overwrite(&name, text.as_bytes()) {
            return Ok(());
        }
        let temporary = self.temporary()?;
        let flags = OpenFlags::CREAT | OpenFlags::EXCL | OpenFlags::WRONLY;
        let Opened::Host(fd) = self.below.open(&temporary, &OpenHow { flags, mode: 0o644 }, &self.me)? else {
            return Err(Errno::EIO);
        };
        let written = File::from(fd)
            .write_all(text.as_bytes())
            .map_err(Errno::from)
            .and_then(|()| self.below.rename(&temporary, &name, RenameFlags::empty(), &self.me));
        if written.is_err() {
            self.discard(&temporary);
        }
        written
    }

    /// Writes a text over that of a file of records, in one step. False if that cannot be, and it must take the file's place: a shorter one would leave some of what was there behind, a
    /// long one is written in several steps, and a file that stands under two names ([`announce`](Self::announce)) is not to change under the other.
    ///
    /// Many file systems write the content of what takes another file's place to the disk at once (`auto_da_alloc`, ext4(5)): that takes a thousand times as long.
    fn overwrite(&self, name: &AbsPath, text: &[u8]) -> bool {
        if text.len() > ONE_STEP {
            return false;
        }
        let _alone = self.records.write();
        let how = OpenHow { flags: OpenFlags::WRONLY | OpenFlags::NOFOLLOW, mode: 0 };
        let Ok(Opened::Host(fd)) = self.below.open(name, &how, &self.me) else { return false };
        let file = File::from(fd);
        let fits = |there: fs::Metadata| there.is_file() && there.nlink() == 1 && there.len() <= text.len() as u64;
        file.metadata().is_ok_and(fits) && file.write_at(text, 0).is_ok_and(|written| written == text.len())
    }

    /// Keeps a record of an object, those of others of that name are forgotten; `host` has the attributes of A's object, if it is of that. `names` is held, or
    /// the name is nobody else's.
    pub(super) fn keep(&self, path: &AbsPath, record: Record, host: Option<&Stat>) -> Result<(), Errno> {
        let Some(host) = host.filter(|_| !record.opaque) else { return self.keep_in_file(path, record) };
        let name = self.in_upper(path);
        if self.is_filed(path)? {
            // The file prevails, and comes last; a copy of the object has what that carries.
            let carries = self.carry(&name, host, &record)?;
            let hides = record.is_empty() && !carries;
            return if hides { self.file(path, &[record]) } else { self.keep_in_file(path, record) };
        }
        if record.is_empty() {
            if !self.may_carry(path)? {
                return Ok(());
            }
        } else if !path.is_root() && self.can_carry(host) {
            self.expect_carriers(&path.parent())?;
        }
        if self.carry(&name, host, &record)? && !record.is_for_others() {
            return Ok(());
        }
        // An empty one, too, hides what the object cannot be rid of.
        self.file(path, &[record])
    }

    /// Whether there is a file of records of a name.
    pub(super) fn is_filed(&self, path: &AbsPath) -> Result<bool, Errno> {
        Ok(self.may_be_marked(path)? && self.stat_if_there(&record_name(&self.mark(path)))?.is_some())
    }

    /// The same, in the file of that name.
    pub(super) fn keep_in_file(&self, path: &AbsPath, record: Record) -> Result<(), Errno> {
        if record.is_empty() { self.forget_file(path) } else { self.file(path, &[record]) }
    }

    /// Writes the file of records of a name.
    fn file(&self, path: &AbsPath, records: &[Record]) -> Result<(), Errno> {
        // The directory in which it stands.
        self.make_container(&if path.is_root() { path.clone() } else { path.parent() })?;
        self.write_filed(path, records)?;
        if records.iter().any(|record| record.opaque) {
            self.cache.forget(path);
        }
        Ok(())
    }

    /// Takes the file of records of a name away.
    pub(super) fn forget_file(&self, path: &AbsPath) -> Result<(), Errno> {
        if self.is_filed(path)? { self.write_filed(path, &[]) } else { Ok(()) }
    }

    /// Before an object is renamed: its record is there under the new name, too, beside that of the object that has it now. What carries its record has it
    /// there anyway, but must be asked there.
    pub(super) fn announce(
        &self,
        from: (&AbsPath, &Stat),
        to: (&AbsPath, Option<u64>),
        opaque: bool,
    ) -> Result<(), Errno> {
        let object = Some(from.1.ino);
        let of_moved = |record: &&Record| record.belongs_to(object);
        let here = self.filed(from.0)?;
        let moved = match here.iter().find(of_moved).cloned() {
            None => {
                let carried = self.record(from.0, Place::Upper, from.1)?;
                if carried.is_some() {
                    self.expect_carriers(&to.0.parent())?;
                }
                opaque.then(|| carried.unwrap_or_default())
            }
            filed => filed,
        };
        let there = self.filed(to.0)?;
        let mut records: Vec<Record> = moved.into_iter().map(|record| Record { object, opaque, ..record }).collect();
        if let Some(ino) = to.1 {
            let other = there.iter().find(|record| record.belongs_to(Some(ino)));
            records.extend(other.map(|record| Record { object: Some(ino), ..record.clone() }));
        }
        if records == there || records == here && there.is_empty() && self.link_records(from.0, to.0, &records)? {
            return Ok(());
        }
        self.file(to.0, &records)
    }

    /// Gives the file of these records a second name, for an object that is about to have that: until then they mean nothing under it, and afterwards nothing under the first. A name costs a file
    /// system much less than a new file. False if it can have no such name.
    fn link_records(&self, from: &AbsPath, to: &AbsPath, records: &[Record]) -> Result<bool, Errno> {
        let tells_apart = |record: &Record| record.object.is_some() && !record.opaque;
        if !records.iter().all(tells_apart) {
            return Ok(false);
        }
        self.make_container(&to.parent())?;
        let [file, name] = [from, to].map(|path| record_name(&self.mark(path)));
        let linked = self.below.link(&file, &name, &self.me).is_ok();
        self.cache.forget_records(to);
        Ok(linked)
    }

    /// Leaves only the record of the object that has the name now in the file of that name.
    pub(super) fn settle(&self, path: &AbsPath) -> Result<(), Errno> {
        let records = self.filed(path)?;
        if records.is_empty() {
            return Ok(());
        }
        let now = self.stat_if_there(&self.in_upper(path))?;
        let belongs = |record: &&Record| now.is_some_and(|stat| record.belongs_to(Some(stat.ino)));
        let own: Vec<Record> = records.iter().find(belongs).cloned().into_iter().collect();
        if own == records { Ok(()) } else { self.write_filed(path, &own) }
    }

    /// Before an object is made unreadable for its user: what it carries stands in a file from then on. `names` is not held.
    fn unload(&self, path: &AbsPath) -> Result<(), Errno> {
        let _names = self.names.lock();
        let host = self.below.stat(&self.in_upper(path))?;
        if self.shared(host.ino)?.is_some() || self.filed(path)?.iter().any(|record| record.belongs_to(Some(host.ino)))
        {
            return Ok(());
        }
        match self.record(path, Place::Upper, &host)? {
            Some(record) if host.nlink > 1 && host.file_type() != FileType::Directory => self.share(&host, record),
            Some(record) => self.keep_in_file(path, record),
            None => Ok(()),
        }
    }

    /// Writes the record that all names of an object of A share.
    fn share(&self, host: &Stat, record: Record) -> Result<(), Errno> {
        self.make_container(&AbsPath::root())?;
        self.write_records(&self.shared_name(host.ino), &[Record { links: Some(host.nlink), ..record }])?;
        self.has_shared.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Whether a directory of A hides what B has in the directory of that name, by its record.
    pub(super) fn is_opaque(&self, path: &AbsPath, ino: u64) -> Result<bool, Errno> {
        let records = self.read_filed(path)?;
        Ok(records.iter().any(|record| record.opaque && record.belongs_to(Some(ino))))
    }

    // ---- changes

    /// Changes attributes: first as the host stores them, then, where it does not, as they are kept.
    pub(super) fn change_record(&self, path: &AbsPath, change: impl FnOnce(&mut Record, &Stat)) -> Result<(), Errno> {
        let _names = self.names.lock();
        let object = self.object(path)?;
        let host = self.below.stat(&object.name)?;
        // Of a directory that stays untouched (`nochcopy`), all was told, its attributes included.
        let _changes = (object.place == Place::Lower).then(|| self.withdraw(path));
        let mut record = object.record.clone();
        record.object = (object.place == Place::Upper).then_some(host.ino);
        change(&mut record, &object.stat());
        let several = object.place == Place::Upper && host.file_type() != FileType::Directory && host.nlink > 1;
        if let Some(link) = &object.link
            && let Some(common) = self.common(link)?
        {
            self.write_records(
                link,
                &[Record { links: common.links, object: None, dev: None, ino: None, ..record.clone() }],
            )?;
        } else if object.place == Place::Upper && self.shared(host.ino)?.is_some()
            || several && (object.filed || record.is_for_others() || !self.carry(&object.name, &host, &record)?)
        {
            // The other names, whichever they are, have records of what was so when they were given.
            self.share(&host, record.clone())?;
        }
        self.keep(path, record, (object.place == Place::Upper).then_some(&host))
    }

    /// The directory A is the copy of the mount's root, but made by others: what B's has otherwise is kept, as of any directory that is copied up.
    pub(super) fn keep_root(&self) -> Result<(), Errno> {
        let root = AbsPath::root();
        let [host, seen] = [&self.upper, &self.lower].map(|tree| self.below.stat(tree));
        let (host, seen) = (host?, seen?);
        let alike = (host.uid, host.gid, host.permissions()) == (seen.uid, seen.gid, seen.permissions());
        if !self.may_keep() || alike || self.record(&root, Place::Upper, &host)?.is_some() {
            return Ok(());
        }
        self.change_record(&root, |record, _| {
            (record.uid, record.gid, record.mode) = (Some(seen.uid), Some(seen.gid), Some(seen.permissions()));
        })
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
        self.changed(path, |side, name, record| {
            kept.get_or_insert(record.mode.is_some() || stored(record) != mode);
            if side == Side::Upper && stored(record) & 0o400 == 0 && !self.me.is_root() {
                self.unload(path)?;
            }
            match self.below.chmod(name, stored(record), caller) {
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
        self.changed(path, |side, name, record| {
            let has = record.uid.is_some() || record.gid.is_some();
            match self.chown_on(side, name, uid, gid, caller) {
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

    /// See [`Filesystem::give`](vu_api::Filesystem::give). What was just made has nothing kept of it, and what the host does not store of both is kept by one change.
    pub(crate) fn give(
        &self,
        path: &AbsPath,
        (uid, gid): (u32, u32),
        mode: u32,
        caller: &dyn Caller,
    ) -> Result<(), Errno> {
        let object = self.object(path)?;
        let is_new = self.may_keep() && object.place == Place::Upper && object.record == Record::default();
        if !is_new || self.chown_on(Side::Upper, &object.name, Some(uid), Some(gid), caller) != Err(Errno::EPERM) {
            self.chown(path, Some(uid), Some(gid), caller)?;
            return self.chmod(path, mode, caller);
        }
        let stored = mode & 0o1777 | for_its_user(&object.host, mode);
        if stored != object.host.permissions() {
            self.below.chmod(&object.name, stored, caller)?;
        }
        self.change_record(path, |record, _| {
            (record.uid, record.gid) = (Some(uid), Some(gid));
            record.mode = (stored != mode).then_some(mode);
        })
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
    pub(super) fn may_keep(&self) -> bool {
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
        let made = self.make(path, |side, name| self.mknod_on(side, name, mode, rdev, caller));
        let kind = FileType::from_mode(mode);
        let Some(kind @ (FileType::CharDevice | FileType::BlockDevice)) = kind else { return made };
        if made != Err(Errno::EPERM) || !self.may_keep() {
            return made;
        }
        self.make(path, |_, name| {
            self.below.mknod(name, FileType::Regular.mode_bits() | mode & 0o777, 0, caller)?;
            let host = self.below.stat(name)?;
            let record = Record { kind: Some(kind), rdev: Some(rdev), object: Some(host.ino), ..Record::default() };
            self.keep(path, record, Some(&host))
        })
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

    /// The name of what holds the content of an object that B has, in the layer below.
    ///
    /// # Errors
    /// `EMFILE`, `EIO`, …: that of a copy cannot be told then, and B's is another one. What is wrong with the path, whoever looks there finds.
    pub(super) fn content_of_lower(&self, path: &AbsPath) -> Result<AbsPath, Errno> {
        if !self.has_links.load(Ordering::Relaxed) {
            return Ok(self.in_lower(path));
        }
        match self.object(path) {
            Ok(object) => Ok(object.name),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::ENAMETOOLONG | Errno::EACCES) => {
                Ok(self.in_lower(path))
            }
            Err(errno) => Err(errno),
        }
    }

    pub(super) fn link_name(&self, dev: u64, ino: u64) -> AbsPath {
        self.upper.child(MARKS).child(record::link_name(dev, ino).as_bytes())
    }

    /// One name more or less of an object that had several in B; with the last, the object goes. `names` is held.
    pub(super) fn count_links(&self, link: &AbsPath, before: u64, change: i64) -> Result<(), Errno> {
        let known = self.common(link)?.unwrap_or_default();
        let links = known.links.unwrap_or(before).saturating_add_signed(change);
        if links == 0 {
            self.write_records(link, &[])?;
            self.discard(link);
            return Ok(());
        }
        self.keep_common(link, Record { links: Some(links), ..known })
    }

    /// What all names of an object have in common, if something of it is kept.
    fn common(&self, link: &AbsPath) -> Result<Option<Record>, Errno> {
        Ok(self.read_records(link)?.into_iter().next())
    }

    /// Adds that to what is known of the object by one of its names: its attributes are those of them all.
    pub(super) fn add_common(&self, link: &AbsPath, host: &mut Stat, record: &mut Record) -> Result<(), Errno> {
        if let Some(common) = self.common(link)? {
            host.nlink = common.links.unwrap_or(host.nlink);
            *record = Record { object: record.object, dev: record.dev, ino: record.ino, links: None, ..common };
        }
        Ok(())
    }

    /// Keeps what all names of an object have in common.
    pub(super) fn keep_common(&self, link: &AbsPath, common: Record) -> Result<(), Errno> {
        self.make_container(&AbsPath::root())?;
        self.write_records(link, &[common])?;
        if !self.has_links.load(Ordering::Relaxed) {
            // Any directory may have another name of it.
            let _changes = self.below.withdraw(Withdrawn::Everything);
            self.has_links.store(true, Ordering::SeqCst);
        }
        Ok(())
    }
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
        Some(MARKS) => mark.child(&record::file_name(b"")),
        Some(name) => mark.parent().child(&record::file_name(name)),
        None => mark.clone(),
    }
}
