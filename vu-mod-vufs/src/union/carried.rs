//! What an object of A carries: its record, in an extended attribute of its own.
//!
//! So what is kept of an object is part of it. It goes where the object goes, all names of the object have it, and it costs no file: on most file systems a
//! new file costs more than everything else that copying up does. Text as in the files of records, so that `getfattr` shows it.
//!
//! Not everything can carry it: only files and directories have attributes of users, not every file system has, and who may not read or write an object may
//! not read or set its attributes either (xattr(7)). Then the record stands in a file ([`kept`](super::kept)), which prevails; and so does, besides, what other readers of the
//! format look for there ([`Record::is_for_others`]).

use super::{
    Trees,
    record::{self, Record},
};
use std::{slice, sync::atomic::Ordering};
use vu_api::{AbsPath, Errno, FileType, Stat, XattrFlags};

/// The attribute that holds a record.
pub(crate) const RECORD: &[u8] = b"user.vufs.record";
/// The attribute of a directory of A in which something may carry a record: in others, nobody looks for any.
const CONTAINS: &[u8] = b"user.vufs.contains";
/// Begins the names of attributes that are A's own.
const OWN: &[u8] = b"user.vufs.";
const USER: &[u8] = b"user.";

/// What A calls an attribute of the view. The view may show another union's upper directory, whose attributes are not this one's.
pub(super) fn stored_name(name: &[u8]) -> Vec<u8> {
    match name.strip_prefix(USER) {
        Some(rest) if name.starts_with(OWN) => [OWN, rest].concat(),
        _ => name.to_vec(),
    }
}

/// What the view calls an attribute that A has under this name; `None` if it is the mount's own.
pub(crate) fn shown_name(name: Vec<u8>) -> Option<Vec<u8>> {
    match name.strip_prefix(OWN) {
        None => Some(name),
        Some(rest) if [USER, rest].concat().starts_with(OWN) => Some([USER, rest].concat()),
        Some(_) => None,
    }
}

/// The record in the value of the attribute of the object with this inode number. Of a copy that was made by other means, `cp -a` say, everything is right but
/// the numbers that are shown: those are the original's.
pub(crate) fn read(value: &[u8], ino: u64) -> Option<Record> {
    let record = record::parse(value).into_iter().next()?;
    let (dev, number) = if record.object == Some(ino) { (record.dev, record.ino) } else { (None, None) };
    Some(Record { dev, ino: number, object: Some(ino), ..record })
}

impl Trees {
    /// The record that an object of A carries.
    ///
    /// # Errors
    /// `EIO`, …; that there is no such attribute, or none to be seen, is no error.
    pub(super) fn carried(&self, name: &AbsPath, (file_type, ino): (FileType, u64)) -> Result<Option<Record>, Errno> {
        if !has_attributes(file_type) {
            return Ok(None);
        }
        match self.below.get_xattr(name, RECORD) {
            Ok(value) => Ok(read(&value, ino)),
            Err(
                Errno::ENODATA
                | Errno::EOPNOTSUPP
                | Errno::EACCES
                | Errno::EPERM
                | Errno::ENOENT
                | Errno::ENOTDIR
                | Errno::ELOOP
                | Errno::ENAMETOOLONG,
            ) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Whether something in a directory of A may carry a record.
    ///
    /// # Errors
    /// As of [`carried`](Self::carried).
    pub(super) fn has_carriers(&self, name: &AbsPath) -> Result<bool, Errno> {
        match self.below.get_xattr(name, CONTAINS) {
            // Who may not read the directory is not told, but may read what is in it.
            Ok(_) | Err(Errno::EACCES) => Ok(true),
            Err(errno) if errno.is_no_answer() => Err(errno),
            Err(_) => Ok(false),
        }
    }

    /// Before an object that carries a record gets a name in a directory.
    ///
    /// # Errors
    /// What hinders it.
    pub(super) fn expect_carriers(&self, directory: &AbsPath) -> Result<(), Errno> {
        let known = self.directory(directory)?;
        if known.carriers || known.marks && self.has_no_attributes.load(Ordering::Relaxed) {
            return Ok(());
        }
        if !self.mark_for_carriers(&self.in_upper(directory))? {
            return self.make_container(directory);
        }
        self.cache.forget_one(directory);
        Ok(())
    }

    /// Marks a directory of A as one in which something may carry a record. False if it cannot be marked.
    ///
    /// # Errors
    /// As of [`carry`](Self::carry).
    pub(super) fn mark_for_carriers(&self, name: &AbsPath) -> Result<bool, Errno> {
        let done = self.below.set_xattr(name, CONTAINS, b"records", XattrFlags::empty(), &self.me);
        if done == Err(Errno::EOPNOTSUPP) {
            self.has_no_attributes.store(true, Ordering::Relaxed);
        }
        settled(done)
    }

    /// Has an object of A carry this record, and no other, in one step. False if it cannot, or cannot be rid of one.
    ///
    /// # Errors
    /// Those that are not about attributes.
    pub(super) fn carry(&self, name: &AbsPath, host: &Stat, record: &Record) -> Result<bool, Errno> {
        let done = if record.is_empty() {
            match self.carried(name, (host.file_type(), host.ino))? {
                None => return Ok(true),
                Some(_) => self.below.remove_xattr(name, RECORD, &self.me),
            }
        } else if self.can_carry(host) {
            let text = record::format(slice::from_ref(record));
            self.below.set_xattr(name, RECORD, text.as_bytes(), XattrFlags::empty(), &self.me)
        } else {
            return Ok(false);
        };
        settled(done)
    }

    /// Whether what an object of A carries can be read again.
    pub(super) fn can_carry(&self, host: &Stat) -> bool {
        has_attributes(host.file_type()) && self.reads_attributes(host, host.permissions())
    }

    /// Whether the attributes of an object can be read that has this mode.
    pub(super) fn reads_attributes(&self, host: &Stat, mode: u32) -> bool {
        self.me.is_root() || self.me.is_user(host.uid) && mode & 0o400 != 0
    }
}

/// Whether an attribute was set. Where there is no room for it, or no such thing, or no permission, it was not.
fn settled(done: Result<(), Errno>) -> Result<bool, Errno> {
    match done {
        Ok(()) => Ok(true),
        Err(errno) if errno.is_no_answer() || matches!(errno, Errno::EROFS | Errno::ENOENT) => Err(errno),
        Err(_) => Ok(false),
    }
}

fn has_attributes(file_type: FileType) -> bool {
    matches!(file_type, FileType::Regular | FileType::Directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_view_are_none_of_the_mounts_own() {
        for (shown, stored) in [
            ("user.a", "user.a"),
            ("security.x", "security.x"),
            ("user.vufs", "user.vufs"),
            ("user.vufs.record", "user.vufs.vufs.record"),
            ("user.vufs.vufs.record", "user.vufs.vufs.vufs.record"),
        ] {
            assert_eq!(stored_name(shown.as_bytes()), stored.as_bytes());
            assert_eq!(shown_name(stored.as_bytes().to_vec()), Some(shown.as_bytes().to_vec()));
        }
        assert_eq!(shown_name(RECORD.to_vec()), None);
        assert_eq!(shown_name(b"user.vufs.other".to_vec()), None);
    }

    #[test]
    fn a_copy_has_numbers_of_its_own() {
        let text = b"uid=5\ndev=8,1\nino=7\nobject=100\n";
        let (own, copied) = (read(text, 100).unwrap(), read(text, 101).unwrap());
        assert_eq!((own.uid, own.ino, own.object), (Some(5), Some(7), Some(100)));
        assert_eq!((copied.uid, copied.ino, copied.dev, copied.object), (Some(5), None, None, Some(101)));
        assert_eq!(read(b"", 1), None);
    }
}
