//! Where the object of a path is.

use super::{Trees, marks::Marked, record::Record};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};
use vu_api::{AbsPath, Errno, FileType, Shows, Stat, Withdrawal, Withdrawn};

/// The directory of A that holds what must be remembered.
pub(super) const MARKS: &[u8] = b".-";

/// Who has the object of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A has it, or something on the way to it that is no directory.
    Upper,
    /// A does not have it, and does not hide what B may have.
    Lower,
    /// A does not have it, and hides what B may have.
    Nowhere,
}

/// What A has under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Absent,
    Directory,
    /// Something else, here or on the way here.
    Other,
}

/// What must be known of a directory to find what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Directory {
    pub upper: Presence,
    /// Whether B's entries are part of it. If A has no such directory it is not known whether B has.
    pub lower: bool,
    /// Whether something is remembered of its entries in `.-`.
    pub marks: bool,
    /// Whether something in it may carry a record.
    pub carriers: bool,
}

impl Trees {
    /// Finds out who has the object of a path.
    ///
    /// # Errors
    /// `EACCES`, `EIO`, … of A.
    pub(crate) fn find(&self, path: &AbsPath) -> Result<Place, Errno> {
        self.find_and_stat(path).map(|(place, _)| place)
    }

    /// The same, and the attributes of A's object, if A has the object and was asked: one look tells both. A look that holds nothing costs the host less than one
    /// that does, where the way is known to be free of links.
    pub(super) fn find_and_stat(&self, path: &AbsPath) -> Result<(Place, Option<Stat>), Errno> {
        if path.is_root() {
            return Ok((Place::Upper, None));
        }
        if is_reserved(path) {
            return Ok((Place::Nowhere, None));
        }
        let parent = self.directory(&path.parent())?;
        match parent.upper {
            Presence::Other => return Ok((Place::Upper, None)),
            Presence::Directory => match self.below.stat(&self.in_upper(path)) {
                Ok(seen) => return Ok((Place::Upper, Some(seen))),
                Err(Errno::ENOTDIR | Errno::ELOOP) => return Ok((Place::Upper, None)),
                // A longer path than the host takes is not there.
                Err(Errno::ENOENT | Errno::ENAMETOOLONG) => {}
                Err(errno) => return Err(errno),
            },
            Presence::Absent => {}
        }
        if !parent.lower || parent.marks && self.is_whiteout(path)? {
            return Ok((Place::Nowhere, None));
        }
        Ok((Place::Lower, None))
    }

    /// The same, and the attributes of B's object where A does not have one.
    ///
    /// # Errors
    /// Those of B, too.
    pub(super) fn find_on_both_sides(&self, path: &AbsPath) -> Result<(Place, Option<Stat>), Errno> {
        let found = self.find_and_stat(path)?;
        if found.0 != Place::Lower {
            return Ok(found);
        }
        match self.below.stat(&self.in_lower(path)) {
            Ok(stat) => Ok((Place::Lower, Some(stat))),
            Err(Errno::ENOENT) => Ok((Place::Lower, None)),
            Err(errno) => Err(errno),
        }
    }

    /// Whether a path leads to a directory.
    ///
    /// # Errors
    /// If it leads nowhere: those of stat(2).
    pub(super) fn is_directory(&self, path: &AbsPath) -> Result<bool, Errno> {
        let in_upper = self.directory(path)?.upper == Presence::Directory;
        Ok(in_upper || self.object(path)?.stat().file_type() == FileType::Directory)
    }

    /// What is known of a directory; of what is none, that nothing is in it.
    pub(super) fn directory(&self, path: &AbsPath) -> Result<Directory, Errno> {
        if let Some(known) = self.cache.get(path) {
            return Ok(known);
        }
        let generation = self.cache.generation();
        let directory = if path.is_root() {
            let (marks, carriers) = (self.has_container(path)?, self.has_carriers(&self.upper)?);
            Directory { upper: Presence::Directory, lower: true, marks, carriers }
        } else {
            self.directory_in(path, self.directory(&path.parent())?)?
        };
        if self.is_settled(path, directory)? {
            self.cache.insert(generation, path, directory);
        }
        Ok(directory)
    }

    /// Whether only what this mount does itself can change what is known of a directory. A name that is none yet in A may become that of a file at any moment,
    /// made by a process under its name on the host.
    fn is_settled(&self, path: &AbsPath, directory: Directory) -> Result<bool, Errno> {
        Ok(match directory.upper {
            Presence::Directory => true,
            Presence::Other => false,
            Presence::Absent => {
                directory.lower
                    && self
                        .stat_if_there(&self.in_lower(path))?
                        .is_some_and(|stat| stat.file_type() == FileType::Directory)
            }
        })
    }

    fn directory_in(&self, path: &AbsPath, parent: Directory) -> Result<Directory, Errno> {
        let (upper, ino) = match parent.upper {
            Presence::Directory => match self.stat_if_there(&self.in_upper(path))? {
                None => (Presence::Absent, 0),
                Some(stat) if stat.file_type() == FileType::Directory => (Presence::Directory, stat.ino),
                Some(_) => (Presence::Other, 0),
            },
            above => (above, 0),
        };
        let marked = if parent.marks { self.marked(path)? } else { Marked::No };
        let hidden = upper == Presence::Other || !parent.lower || marked == Marked::Whiteout;
        let marks = marked == Marked::Container;
        let lower = !hidden
            && (upper == Presence::Absent
                || !(parent.marks && self.is_opaque(path, ino)?)
                    && self
                        .stat_if_there(&self.in_lower(path))?
                        .is_some_and(|stat| stat.file_type() == FileType::Directory));
        let carriers = upper == Presence::Directory && self.has_carriers(&self.in_upper(path))?;
        Ok(Directory { upper, lower, marks, carriers })
    }

    /// See [`Filesystem::shows`].
    pub(super) fn shows(&self, path: &AbsPath, directory: &AbsPath) -> Result<Shows, Errno> {
        if is_reserved(path) {
            return Ok(Shows::Nothing);
        }
        let known = self.directory(path)?;
        if !known.lower {
            return Ok(Shows::Nothing);
        }
        let shown = self.below.shows(&self.in_lower(path), directory)?;
        let untouched = known.upper == Presence::Absent && !known.marks;
        Ok(match shown {
            Shows::All | Shows::AllButLinked if !untouched => Shows::Part,
            // A name of an object that has several may show a copy that was made under another one.
            Shows::All if self.has_links.load(Ordering::SeqCst) => Shows::AllButLinked,
            shown => shown,
        })
    }

    /// To be called before a directory is touched that was not until now.
    pub(super) fn withdraw(&self, path: &AbsPath) -> Withdrawal {
        // What B has is what was shown, if anything was.
        self.below.withdraw(match self.below.stat(&self.in_lower(path)) {
            Ok(stat) => Withdrawn::Directory(stat.dev, stat.ino),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Withdrawn::Names,
            Err(_) => Withdrawn::Everything,
        })
    }

    /// The attributes of an object of the layer below; `None` if it is not there.
    pub(super) fn stat_if_there(&self, name: &AbsPath) -> Result<Option<Stat>, Errno> {
        match self.below.stat(name) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::ENAMETOOLONG) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// The attributes of what B has under a name, if nothing but A's own object of that name hides it.
    pub(super) fn stat_lower(&self, path: &AbsPath) -> Result<Option<Stat>, Errno> {
        let parent = self.directory(&path.parent())?;
        if !parent.lower || parent.marks && self.is_whiteout(path)? {
            return Ok(None);
        }
        self.stat_if_there(&self.in_lower(path))
    }
}

/// Whether what was found on both sides is an object.
pub(super) fn is_there((place, seen): (Place, Option<Stat>)) -> bool {
    match place {
        Place::Upper => true,
        Place::Lower => seen.is_some(),
        Place::Nowhere => false,
    }
}

/// Whether it is the mount's own directory of marks.
pub(super) fn is_reserved(path: &AbsPath) -> bool {
    path.components().next() == Some(MARKS)
}

/// A name of a directory of marks can be neither made nor given.
pub(super) fn refuse_reserved(path: &AbsPath) -> Result<(), Errno> {
    match is_reserved(path) {
        false => Ok(()),
        true if path.depth() == 1 => Err(Errno::EPERM),
        true => Err(Errno::ENOENT),
    }
}

/// What was found out about directories, and in files of records, a moment ago.
///
/// The mount itself tells when it changes something. Changes of A or B by others, which the kernel's overlayfs calls undefined, are seen when the knowledge is
/// old enough.
#[derive(Default)]
pub(super) struct Cache(Mutex<Known>);

#[derive(Default)]
struct Known {
    directories: Recent<Directory>,
    records: Recent<Vec<Record>>,
    generation: u64,
}

/// How long knowledge is good for.
const LIFETIME: Duration = Duration::from_millis(100);
/// Of how many names something is known.
const MOST: usize = 4096;

impl Cache {
    fn get(&self, path: &AbsPath) -> Option<Directory> {
        self.0.lock().directories.get(path).copied()
    }

    /// The records that stand in the file of this name.
    pub(super) fn records(&self, path: &AbsPath) -> Option<Vec<Record>> {
        self.0.lock().records.get(path).cloned()
    }

    /// To be asked before the question is looked into that is answered by an insertion.
    pub(super) fn generation(&self) -> u64 {
        self.0.lock().generation
    }

    fn insert(&self, generation: u64, path: &AbsPath, directory: Directory) {
        let mut known = self.0.lock();
        if known.generation == generation {
            known.directories.insert(path, directory);
        }
    }

    pub(super) fn insert_records(&self, generation: u64, path: &AbsPath, records: &[Record]) {
        let mut known = self.0.lock();
        if known.generation == generation {
            known.records.insert(path, records.to_vec());
        }
    }

    /// What is known of a directory is wrong, and of nothing below it.
    pub(super) fn forget_one(&self, path: &AbsPath) {
        let mut known = self.0.lock();
        known.generation += 1;
        known.directories.remove(path);
    }

    /// The file of records of this name has changed.
    pub(super) fn forget_records(&self, path: &AbsPath) {
        let mut known = self.0.lock();
        known.generation += 1;
        known.records.remove(path);
    }

    /// An object or a mark of this name has come or gone: what is known of it, and of what is below it, may be wrong.
    pub(super) fn forget(&self, path: &AbsPath) {
        let mut known = self.0.lock();
        known.generation += 1;
        known.directories.remove_all(path);
        known.records.remove_all(path);
    }
}

/// What is known by names, and since when.
struct Recent<T>(BTreeMap<Vec<u8>, (T, Instant)>);

impl<T> Default for Recent<T> {
    fn default() -> Recent<T> {
        Recent(BTreeMap::new())
    }
}

impl<T> Recent<T> {
    fn get(&self, path: &AbsPath) -> Option<&T> {
        let (known, since) = self.0.get(path.as_bytes())?;
        (since.elapsed() < LIFETIME).then_some(known)
    }

    fn insert(&mut self, path: &AbsPath, known: T) {
        if self.0.len() >= MOST {
            self.0.clear();
        }
        self.0.insert(path.as_bytes().to_vec(), (known, Instant::now()));
    }

    fn remove(&mut self, path: &AbsPath) {
        self.0.remove(path.as_bytes());
    }

    /// The name, and all below it.
    fn remove_all(&mut self, path: &AbsPath) {
        if path.is_root() {
            return self.0.clear();
        }
        self.remove(path);
        // In the order of bytes, the names that begin with `PATH/` follow one another.
        let below = [path.as_bytes(), b"/"].concat();
        while let Some((name, _)) = self.0.range::<[u8], _>((Bound::Included(&below[..]), Bound::Unbounded)).next()
            && name.starts_with(&below)
        {
            let name = name.clone();
            self.0.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vu_api::testing::path;

    #[test]
    fn what_changed_is_forgotten_and_no_more() {
        let names = ["/", "/a", "/a-b", "/a/b", "/a/b/c", "/a/bc", "/a0", "/b"];
        let directory = Directory { upper: Presence::Directory, lower: true, marks: false, carriers: false };
        for (changed, left) in [
            ("/a", &["/", "/a-b", "/a0", "/b"][..]),
            ("/a/b", &["/", "/a", "/a-b", "/a/bc", "/a0", "/b"]),
            ("/a/b/c/d", &names),
            ("/", &[]),
        ] {
            let cache = Cache::default();
            for name in names {
                cache.insert(cache.generation(), &path(name), directory);
            }
            let before = cache.generation();
            cache.forget(&path(changed));
            let known: Vec<_> = names.into_iter().filter(|name| cache.get(&path(name)).is_some()).collect();
            assert_eq!(known, left, "{changed}");
            cache.insert(before, &path("/a"), directory);
            assert_eq!(
                cache.get(&path("/a")).is_some(),
                left.contains(&"/a"),
                "what was found out before is not entered"
            );
        }
    }
}
