//! Listings of directories that two trees have a part in.

use super::{
    Trees,
    places::{MARKS, Place, Presence},
    record,
};
use nix::dir::{self, Dir};
use parking_lot::Mutex;
use std::{
    collections::HashSet,
    ops::ControlFlow,
    sync::{Arc, Weak, atomic::Ordering},
};
use vu_api::{AbsPath, Caller, DirEntry, Errno, File, FileType, Filesystem, OpenFlags, OpenHow, Opened, Stat};

/// An open directory. What it lists is what was there when the listing began; a rewind begins anew.
pub(super) struct Listing {
    trees: Arc<Trees>,
    /// `None` when it was removed.
    path: Mutex<Option<AbsPath>>,
    /// The attributes as they were last seen.
    last: Mutex<Stat>,
    entries: Mutex<Entries>,
}

/// Entries, their names one behind the other: a listing may have a million of them, which take some 30 MB.
#[derive(Default)]
struct Entries {
    names: Vec<u8>,
    entries: Vec<Entry>,
}

struct Entry {
    ino: u64,
    /// Where its name ends; it begins where the one before ends.
    end: u32,
    file_type: FileType,
}

/// How many entries are handed out at a time.
const CHUNK: usize = 1024;

impl Entries {
    /// # Errors
    /// `ENOMEM` for more names than anybody has.
    fn push(&mut self, name: &[u8], ino: u64, file_type: FileType) -> Result<(), Errno> {
        let end = u32::try_from(self.names.len() + name.len()).map_err(|_| Errno::ENOMEM)?;
        self.names.extend_from_slice(name);
        self.entries.push(Entry { ino, end, file_type });
        Ok(())
    }

    fn from(&self, position: u64) -> Vec<DirEntry> {
        let first = usize::try_from(position).unwrap_or(usize::MAX).min(self.entries.len());
        let last = first.saturating_add(CHUNK).min(self.entries.len());
        let end = |entry: &Entry| usize::try_from(entry.end).unwrap_or(usize::MAX);
        let mut begin = if first == 0 { 0 } else { end(&self.entries[first - 1]) };
        let entries = self.entries[first..last].iter().zip(position + 1..).map(|(entry, next)| {
            let name = self.names[begin..end(entry)].to_vec();
            begin = end(entry);
            DirEntry { name, ino: entry.ino, file_type: entry.file_type, next }
        });
        entries.collect()
    }
}

impl File for Listing {
    fn stat(&self) -> Result<Stat, Errno> {
        let Some(path) = self.path.lock().clone() else {
            return Ok(Stat { nlink: 0, ..*self.last.lock() });
        };
        let stat = self.trees.stat(&path)?;
        *self.last.lock() = stat;
        Ok(stat)
    }

    fn entries(&self, from: u64) -> Result<Vec<DirEntry>, Errno> {
        if from == 0 {
            // A directory that was removed lists nothing (`iterate_dir`, fs/readdir.c).
            let Some(path) = self.path.lock().clone() else { return Err(Errno::ENOENT) };
            let own = self.last.lock().ino;
            let fresh = self.trees.entries(&path, own)?;
            *self.entries.lock() = fresh;
        }
        Ok(self.entries.lock().from(from))
    }
}

/// The directories that are open, so that they follow when they are renamed.
#[derive(Default)]
pub(super) struct Listings(Mutex<Vec<Weak<Listing>>>);

impl Listings {
    fn add(&self, listing: &Arc<Listing>) {
        let mut all = self.0.lock();
        if all.len() == all.capacity() {
            all.retain(|listing| listing.strong_count() > 0);
        }
        all.push(Arc::downgrade(listing));
    }

    /// Visits those at or below a path.
    fn each(&self, visit: impl Fn(&mut Option<AbsPath>)) {
        let all: Vec<_> = self.0.lock().iter().filter_map(Weak::upgrade).collect();
        for listing in all {
            visit(&mut listing.path.lock());
        }
    }

    pub(super) fn renamed(&self, from: &AbsPath, to: &AbsPath, exchange: bool) {
        self.each(|path| {
            let Some(old) = path else { return };
            if let Some(new) = old.rebase(from, to) {
                *old = new;
            } else if let Some(new) = old.rebase(to, from).filter(|_| exchange) {
                *old = new;
            } else if old == to {
                // An empty directory in its place was replaced.
                *path = None;
            }
        });
    }

    pub(super) fn removed(&self, removed: &AbsPath) {
        self.each(|path| {
            if path.as_ref() == Some(removed) {
                *path = None;
            }
        });
    }
}

/// Whether a directory has entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Emptiness {
    Empty,
    NotEmpty,
}

impl Trees {
    /// Opens a directory, which has these attributes.
    pub(super) fn list(self: &Arc<Trees>, path: &AbsPath, stat: Stat) -> Arc<dyn File> {
        let listing = Arc::new(Listing {
            trees: self.clone(),
            path: Mutex::new(Some(path.clone())),
            last: Mutex::new(stat),
            entries: Mutex::default(),
        });
        self.listings.add(&listing);
        listing
    }

    /// Whether a directory shows anything.
    pub(super) fn emptiness(&self, path: &AbsPath) -> Result<Emptiness, Errno> {
        let mut emptiness = Emptiness::Empty;
        self.visit(path, |_, _, _| {
            emptiness = Emptiness::NotEmpty;
            Ok(ControlFlow::Break(()))
        })?;
        Ok(emptiness)
    }

    /// All entries of a directory of this inode number.
    fn entries(&self, path: &AbsPath, own: u64) -> Result<Entries, Errno> {
        let mut entries = Entries::default();
        entries.push(b".", own, FileType::Directory)?;
        entries.push(b"..", self.stat(&path.parent())?.ino, FileType::Directory)?;
        self.visit(path, |name, ino, file_type| entries.push(name, ino, file_type).map(ControlFlow::Continue))?;
        // Their lists grew by doubling.
        entries.names.shrink_to_fit();
        entries.entries.shrink_to_fit();
        Ok(entries)
    }

    /// Visits what a directory shows, until the visitor has seen enough.
    fn visit(
        &self,
        path: &AbsPath,
        mut visitor: impl FnMut(&[u8], u64, FileType) -> Result<ControlFlow<()>, Errno>,
    ) -> Result<(), Errno> {
        let directory = self.directory(path)?;
        let mut seen: HashSet<Vec<u8>> = HashSet::new();
        // Whiteouts, and the records of attributes that the mount keeps.
        let mut marks: HashSet<Vec<u8>> = HashSet::new();
        if directory.marks {
            each_entry(&*self.below, &self.mark(path), &self.me, |mark| {
                if mark.file_type == FileType::Regular {
                    marks.insert(mark.name);
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        let in_upper = self.find(path)? == Place::Upper && directory.upper == Presence::Directory;
        let mut enough = false;
        if in_upper {
            each_entry(&*self.below, &self.in_upper(path), &self.me, |entry| {
                if path.is_root() && entry.name == MARKS {
                    return Ok(ControlFlow::Continue(()));
                }
                let recorded = !marks.is_empty() && marks.contains(&record::file_name(&entry.name));
                let (ino, file_type) = match () {
                    () if recorded || self.has_shared.load(Ordering::Relaxed) => self.seen_as(&path.child(&entry.name)),
                    () if directory.marks || directory.carriers => self.carried_by(path, &entry),
                    () => None,
                }
                .unwrap_or((entry.ino, entry.file_type));
                let flow = visitor(&entry.name, ino, file_type)?;
                enough = flow.is_break();
                if directory.lower {
                    seen.insert(entry.name);
                }
                Ok(flow)
            })?;
        }
        if enough || !directory.lower {
            return Ok(());
        }
        let lower = each_entry(&*self.below, &self.in_lower(path), &self.me, |entry| {
            // A mark of that name may keep the attributes of another object.
            let is_hidden = marks.contains(&entry.name)
                && (entry.name.last() != Some(&0x7f) || self.is_whiteout(&path.child(&entry.name))?);
            if is_hidden || seen.contains(&entry.name) || path.is_root() && entry.name == MARKS {
                return Ok(ControlFlow::Continue(()));
            }
            visitor(&entry.name, entry.ino, entry.file_type)
        });
        match lower {
            Err(Errno::ENOENT) if in_upper => Ok(()),
            read => read,
        }
    }
}

impl Trees {
    /// The inode number and type of an object as its record has them seen.
    fn seen_as(&self, path: &AbsPath) -> Option<(u64, FileType)> {
        self.stat(path).ok().map(|stat| (stat.ino, stat.file_type()))
    }

    /// The same of an object of A whose record can only be one that it carries.
    fn carried_by(&self, directory: &AbsPath, entry: &DirEntry) -> Option<(u64, FileType)> {
        let name = self.in_upper(directory).child(&entry.name);
        let record = self.carried(&name, (entry.file_type, entry.ino)).ok()??;
        let ino = record.dev.and(record.ino).unwrap_or(entry.ino);
        Some((ino, record.kind.unwrap_or(entry.file_type)))
    }
}

/// The entries of a directory of the layer below, without `.` and `..`.
pub(super) fn read_directory(
    below: &dyn Filesystem,
    name: &AbsPath,
    caller: &dyn Caller,
) -> Result<Vec<DirEntry>, Errno> {
    let mut entries = Vec::new();
    each_entry(below, name, caller, |entry| {
        entries.push(entry);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(entries)
}

/// Visits them one by one: there may be many.
fn each_entry(
    below: &dyn Filesystem,
    name: &AbsPath,
    caller: &dyn Caller,
    mut visitor: impl FnMut(DirEntry) -> Result<ControlFlow<()>, Errno>,
) -> Result<(), Errno> {
    match below.open(name, &OpenHow { flags: OpenFlags::DIRECTORY, mode: 0 }, caller)? {
        Opened::Host(fd) => {
            // It was opened just now, so it is read from its beginning.
            let mut directory = Dir::from_fd(fd).map_err(|errno| Errno::new(errno as i32))?;
            for (entry, next) in directory.iter().zip(1..) {
                let entry = entry.map_err(|errno| Errno::new(errno as i32))?;
                let own = entry.file_name().to_bytes();
                if own == b"." || own == b".." {
                    continue;
                }
                let entry =
                    DirEntry { ino: entry.ino(), file_type: file_type(below, name, &entry)?, name: own.to_vec(), next };
                if visitor(entry)?.is_break() {
                    return Ok(());
                }
            }
            Ok(())
        }
        Opened::Virtual(file) => {
            let mut position = 0;
            loop {
                let more = file.entries(position)?;
                let Some(last) = more.last() else { return Ok(()) };
                position = last.next;
                for entry in more {
                    if entry.name != b"." && entry.name != b".." && visitor(entry)?.is_break() {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// Not all file systems tell it in their listings.
fn file_type(below: &dyn Filesystem, directory: &AbsPath, entry: &dir::Entry) -> Result<FileType, Errno> {
    Ok(match entry.file_type() {
        Some(dir::Type::Directory) => FileType::Directory,
        Some(dir::Type::Symlink) => FileType::Symlink,
        Some(dir::Type::Fifo) => FileType::Fifo,
        Some(dir::Type::Socket) => FileType::Socket,
        Some(dir::Type::CharacterDevice) => FileType::CharDevice,
        Some(dir::Type::BlockDevice) => FileType::BlockDevice,
        Some(dir::Type::File) => FileType::Regular,
        None => below.stat(&directory.child(entry.file_name().to_bytes()))?.file_type(),
    })
}
