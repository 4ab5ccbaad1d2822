//! Listings of directories that two trees have a part in.

use super::{
    Trees,
    places::{Place, Presence, is_reserved},
};
use parking_lot::Mutex;
use std::{
    collections::HashSet,
    fs,
    os::{
        fd::AsRawFd,
        unix::{ffi::OsStringExt, fs::DirEntryExt},
    },
    sync::{Arc, Weak},
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

/// Entries, their names one behind the other: a listing may have a million of them.
#[derive(Default)]
struct Entries {
    names: Vec<u8>,
    entries: Vec<Entry>,
}

struct Entry {
    /// Where its name ends; it begins where the one before ends.
    end: usize,
    ino: u64,
    file_type: FileType,
}

/// How many entries are handed out at a time.
const CHUNK: usize = 1024;

impl Entries {
    fn push(&mut self, name: &[u8], ino: u64, file_type: FileType) {
        self.names.extend_from_slice(name);
        self.entries.push(Entry { end: self.names.len(), ino, file_type });
    }

    fn from(&self, position: u64) -> Vec<DirEntry> {
        let first = usize::try_from(position).unwrap_or(usize::MAX).min(self.entries.len());
        let last = first.saturating_add(CHUNK).min(self.entries.len());
        let mut begin = if first == 0 { 0 } else { self.entries[first - 1].end };
        let entries = self.entries[first..last].iter().zip(position + 1..).map(|(entry, next)| {
            let name = self.names[begin..entry.end].to_vec();
            begin = entry.end;
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
            let fresh = self.trees.entries(&path)?;
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
    /// Opens a directory.
    pub(super) fn list(self: &Arc<Trees>, path: &AbsPath) -> Result<Arc<dyn File>, Errno> {
        let stat = self.stat(path)?;
        let listing = Arc::new(Listing {
            trees: self.clone(),
            path: Mutex::new(Some(path.clone())),
            last: Mutex::new(stat),
            entries: Mutex::default(),
        });
        self.listings.add(&listing);
        Ok(listing)
    }

    /// Whether a directory shows anything.
    pub(super) fn emptiness(&self, path: &AbsPath) -> Result<Emptiness, Errno> {
        let entries = self.entries(path)?;
        Ok(if entries.entries.len() > 2 { Emptiness::NotEmpty } else { Emptiness::Empty })
    }

    fn entries(&self, path: &AbsPath) -> Result<Entries, Errno> {
        let directory = self.directory(path)?;
        let mut entries = Entries::default();
        entries.push(b".", self.stat(path)?.ino, FileType::Directory);
        entries.push(b"..", self.stat(&path.parent())?.ino, FileType::Directory);
        let mut seen: HashSet<Vec<u8>> = HashSet::new();
        // Whiteouts, and the records of attributes that the mount keeps.
        let marks: HashSet<Vec<u8>> = if directory.marks {
            let marks = read_directory(&*self.below, &self.mark(path), &self.me)?;
            marks.into_iter().filter(|mark| mark.file_type == FileType::Regular).map(|mark| mark.name).collect()
        } else {
            HashSet::new()
        };
        let in_upper = self.find(path)? == Place::Upper && directory.upper == Presence::Directory;
        if in_upper {
            for entry in read_directory(&*self.below, &self.in_upper(path), &self.me)? {
                if is_reserved(&path.child(&entry.name)) {
                    continue;
                }
                let recorded = !marks.is_empty() && marks.contains(&[&entry.name[..], &[0x7f]].concat());
                match recorded.then(|| self.stat(&path.child(&entry.name))) {
                    Some(Ok(stat)) => entries.push(&entry.name, stat.ino, stat.file_type()),
                    _ => entries.push(&entry.name, entry.ino, entry.file_type),
                }
                if directory.lower {
                    seen.insert(entry.name);
                }
            }
        }
        if !directory.lower {
            return Ok(entries);
        }
        let lower = match read_directory(&*self.below, &self.in_lower(path), &self.me) {
            Err(Errno::ENOENT) if in_upper => Vec::new(),
            read => read?,
        };
        for entry in lower {
            let child = path.child(&entry.name);
            // A mark of that name may keep the attributes of another object.
            let is_hidden =
                marks.contains(&entry.name) && (entry.name.last() != Some(&0x7f) || self.is_whiteout(&child)?);
            if is_hidden || seen.contains(&entry.name) || is_reserved(&child) {
                continue;
            }
            entries.push(&entry.name, entry.ino, entry.file_type);
        }
        Ok(entries)
    }
}

/// The entries of a directory of the layer below, without `.` and `..`.
pub(super) fn read_directory(
    below: &dyn Filesystem,
    name: &AbsPath,
    caller: &dyn Caller,
) -> Result<Vec<DirEntry>, Errno> {
    match below.open(name, &OpenHow { flags: OpenFlags::DIRECTORY, mode: 0 }, caller)? {
        Opened::Host(fd) => {
            let mut entries = Vec::new();
            for (entry, next) in fs::read_dir(format!("/proc/self/fd/{}", fd.as_raw_fd()))?.zip(1..) {
                let entry = entry?;
                let kind = entry.file_type()?;
                entries.push(DirEntry {
                    ino: entry.ino(),
                    file_type: file_type(kind),
                    name: entry.file_name().into_vec(),
                    next,
                });
            }
            Ok(entries)
        }
        Opened::Virtual(file) => {
            let mut entries: Vec<DirEntry> = Vec::new();
            loop {
                let more = file.entries(entries.last().map_or(0, |entry| entry.next))?;
                if more.is_empty() {
                    entries.retain(|entry| entry.name != b"." && entry.name != b"..");
                    return Ok(entries);
                }
                entries.extend(more);
            }
        }
    }
}

fn file_type(kind: fs::FileType) -> FileType {
    use std::os::unix::fs::FileTypeExt;
    match () {
        () if kind.is_dir() => FileType::Directory,
        () if kind.is_symlink() => FileType::Symlink,
        () if kind.is_fifo() => FileType::Fifo,
        () if kind.is_socket() => FileType::Socket,
        () if kind.is_char_device() => FileType::CharDevice,
        () if kind.is_block_device() => FileType::BlockDevice,
        () => FileType::Regular,
    }
}
