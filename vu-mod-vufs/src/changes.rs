//! What the upper directory of a `cow` mount holds against the lower one, told from the outside: the mount need not be there.

use crate::{
    stored::{Xattrs, stored_xattrs},
    union::{
        carried,
        record::{self, Record},
    },
};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};
use thiserror::Error;
use vu_api::{Errno, FileType, Stat};

/// How an object differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// It is only in the upper tree.
    Added,
    /// Its content, or its type, is another.
    Changed,
    /// Its attributes alone are others: owner, mode, time of change, extended attributes, how many names it has.
    Attributes,
    /// It was removed.
    Deleted,
}

/// An object that differs.
#[derive(Debug, Clone)]
pub struct Change {
    /// Its path in the union, without a leading slash; `.` is the root.
    pub path: PathBuf,
    /// How it differs.
    pub difference: Difference,
    /// The object that has its content: that of the upper tree, or of the lower one if only attributes of that are kept; `None` if it was removed.
    pub object: Option<PathBuf>,
    /// The attributes as the union shows them; meaningless for what was removed.
    pub stat: Stat,
    /// The extended attributes as the union shows them.
    pub xattrs: Xattrs,
    /// A directory that shows nothing of the lower one of that name.
    pub opaque: bool,
}

/// An object of one of the trees that cannot be looked at.
#[derive(Debug, Error)]
#[error("{}: {errno}", object.display())]
pub struct Unreadable {
    /// Which one.
    pub object: PathBuf,
    /// Why.
    pub errno: Errno,
}

/// Says which object could not be looked at.
fn at(object: &Path) -> impl FnOnce(io::Error) -> Unreadable {
    move |error| Unreadable { object: object.to_owned(), errno: error.into() }
}

type Result<T> = std::result::Result<T, Unreadable>;

/// All that differs, directories before what is in them. Without a `lower` tree all that is in the upper one counts as added, and all whiteouts as
/// removed.
///
/// # Errors
/// The first object that cannot be looked at.
pub fn changes(upper: &Path, lower: Option<&Path>) -> Result<Vec<Change>> {
    let mut found = Vec::new();
    let comparison = Comparison { upper, lower };
    comparison.root(&mut found)?;
    comparison.directory(Path::new(""), lower.is_some(), &mut found)?;
    comparison.further_names(&mut found)?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

struct Comparison<'a> {
    upper: &'a Path,
    lower: Option<&'a Path>,
}

impl Comparison<'_> {
    fn mark(&self, path: &Path) -> PathBuf {
        self.upper.join(".-").join(path)
    }

    /// The path of the file of records of an object. The root's has no name.
    fn record_file(&self, path: &Path) -> PathBuf {
        let name = path.file_name().unwrap_or_default();
        self.mark(path.parent().unwrap_or(path)).join(OsStr::from_bytes(&record::file_name(name.as_bytes())))
    }

    /// How the root differs. The directory of the upper tree was made by others, so only what is kept of it counts.
    fn root(&self, found: &mut Vec<Change>) -> Result<()> {
        let meta = metadata(self.upper)?;
        let (Some(lower), Some(record)) = (self.lower, self.record(Path::new(""), Some(meta.ino()))?) else {
            return Ok(());
        };
        let mut stat = Stat::from(&meta);
        record.apply(&mut stat);
        if attributes_differ(&stat, &metadata(lower)?) {
            let (path, object) = (PathBuf::from("."), Some(self.upper.to_owned()));
            let (difference, xattrs) = (Difference::Attributes, stored_xattrs(lower));
            found.push(Change { path, difference, object, stat, xattrs, opaque: false });
        }
        Ok(())
    }

    /// What differs in a directory; `merged`: the lower tree has a part in it.
    fn directory(&self, path: &Path, merged: bool, found: &mut Vec<Change>) -> Result<()> {
        for name in names(&self.upper.join(path))? {
            let child = path.join(&name);
            if child == Path::new(".-") {
                continue;
            }
            self.object(child, merged, found)?;
        }
        for name in names(&self.mark(path))? {
            let child = path.join(&name);
            if name.as_bytes().starts_with(b"\x7f") || self.upper.join(&child).symlink_metadata().is_ok() {
                continue;
            }
            self.marked(path, &name, merged, found)?;
        }
        Ok(())
    }

    fn object(&self, path: PathBuf, merged: bool, found: &mut Vec<Change>) -> Result<()> {
        let name = self.upper.join(&path);
        let meta = metadata(&name)?;
        let record = self.record(&path, Some(meta.ino()))?.unwrap_or_default();
        let mut stat = Stat::from(&meta);
        record.apply(&mut stat);
        let below = self.lower.and_then(|lower| lower.join(&path).symlink_metadata().ok());
        let is_directory = meta.is_dir();
        let lower_directory = is_directory && below.as_ref().is_some_and(Metadata::is_dir);
        let marked = record.opaque || is_whiteout(&self.mark(&path));
        let hides = !merged || marked;
        let hidden = if lower_directory && hides { self.hidden(&path)? } else { Vec::new() };
        let opaque = is_directory && marked && (!hidden.is_empty() && merged || self.lower.is_none());
        let links = self.links_in_common(&record)?.unwrap_or(meta.nlink());
        let mut xattrs = shown_xattrs(&name);
        xattrs.extend(record.xattrs);
        let same_xattrs = || self.lower.is_some_and(|lower| stored_xattrs(&lower.join(&path)) == xattrs);
        let difference = match &below {
            None => Some(Difference::Added),
            Some(below) if Stat::from(below).file_type() != stat.file_type() => Some(Difference::Changed),
            Some(below) if !is_directory && self.content_differs(&path, &meta, below)? => Some(Difference::Changed),
            Some(below) if attributes_differ(&stat, below) || !same_xattrs() => Some(Difference::Attributes),
            // It was given one more name.
            Some(below) if !is_directory && links > 1 && links != below.nlink() => Some(Difference::Attributes),
            Some(_) => None,
        };
        if difference.is_some() || opaque {
            found.push(Change {
                path: path.clone(),
                difference: difference.unwrap_or(Difference::Attributes),
                object: Some(name),
                stat,
                xattrs,
                opaque,
            });
        }
        if !is_directory {
            return Ok(());
        }
        found.extend(hidden);
        self.directory(&path, lower_directory && !hides, found)
    }

    /// What an opaque directory hides.
    fn hidden(&self, path: &Path) -> Result<Vec<Change>> {
        let Some(lower) = self.lower else { return Ok(Vec::new()) };
        let children = names(&lower.join(path))?.into_iter().map(|name| path.join(name));
        Ok(children.filter(|child| self.upper.join(child).symlink_metadata().is_err()).map(deleted).collect())
    }

    /// A mark without an object of the upper tree.
    fn marked(&self, path: &Path, name: &OsStr, merged: bool, found: &mut Vec<Change>) -> Result<()> {
        let child = path.join(name);
        let mark = self.mark(&child);
        let in_lower = |child: &Path| match self.lower {
            Some(lower) => merged && lower.join(child).symlink_metadata().is_ok(),
            None => true,
        };
        if metadata(&mark)?.is_dir() {
            return if in_lower(&child) { self.directory(&child, merged, found) } else { Ok(()) };
        }
        if is_whiteout(&mark) {
            if in_lower(&child) {
                found.push(deleted(child));
            }
            return Ok(());
        }
        // The attributes of an object that was not copied.
        let Some(of) = name.as_bytes().strip_suffix(b"\x7f") else { return Ok(()) };
        let child = path.join(OsStr::from_bytes(of));
        let (Some(lower), Err(_)) = (self.lower, self.upper.join(&child).symlink_metadata()) else { return Ok(()) };
        if let (Ok(meta), Some(record), true) =
            (lower.join(&child).symlink_metadata(), self.record(&child, None)?, merged)
        {
            let mut stat = Stat::from(&meta);
            record.apply(&mut stat);
            if attributes_differ(&stat, &meta) || !record.xattrs.is_empty() {
                let difference = Difference::Attributes;
                let mut xattrs = stored_xattrs(&lower.join(&child));
                xattrs.extend(record.xattrs);
                let object = Some(lower.join(&child));
                found.push(Change { path: child, difference, object, stat, xattrs, opaque: false });
            }
        }
        Ok(())
    }

    /// Names in the lower tree of objects that were copied under another of their names.
    fn further_names(&self, found: &mut Vec<Change>) -> Result<()> {
        let Some(lower) = self.lower else { return Ok(()) };
        let mut copies = BTreeMap::new();
        for name in names(&self.mark(Path::new("")))? {
            let copy = self.mark(Path::new(&name));
            if let Some(object) = link_of(name.as_bytes())
                && copy.symlink_metadata().is_ok()
                && name.as_bytes().last() != Some(&0x7f)
            {
                copies.insert(object, copy);
            }
        }
        if copies.is_empty() {
            return Ok(());
        }
        let mut todo = vec![PathBuf::new()];
        while let Some(directory) = todo.pop() {
            for name in names(&lower.join(&directory)).unwrap_or_default() {
                let path = directory.join(name);
                let Ok(meta) = lower.join(&path).symlink_metadata() else { continue };
                let hidden = is_whiteout(&self.mark(&path)) || self.is_opaque(&path)?;
                match self.upper.join(&path).symlink_metadata() {
                    _ if hidden => {}
                    Ok(upper) if !upper.is_dir() => {}
                    _ if meta.is_dir() => todo.push(path),
                    Ok(_) => {}
                    Err(_) => found.extend(self.further_name(path, &meta, &copies)?),
                }
            }
        }
        Ok(())
    }

    fn further_name(
        &self,
        path: PathBuf,
        meta: &Metadata,
        copies: &BTreeMap<(u64, u64), PathBuf>,
    ) -> Result<Option<Change>> {
        let Some(copy) = copies.get(&(meta.dev(), meta.ino())) else { return Ok(None) };
        let record = self.record(Path::new(copy.file_name().unwrap_or_default()), None)?.unwrap_or_default();
        let mut stat = Stat::from(&metadata(copy)?);
        record.apply(&mut stat);
        let mut xattrs = shown_xattrs(copy);
        xattrs.extend(record.xattrs);
        let (difference, object) = (Difference::Changed, Some(copy.clone()));
        Ok(Some(Change { path, difference, object, stat, xattrs, opaque: false }))
    }

    /// How many names an object has that had several in the lower tree.
    fn links_in_common(&self, record: &Record) -> Result<Option<u64>> {
        let (Some(dev), Some(ino)) = (record.dev, record.ino) else { return Ok(None) };
        let common = read_records(&self.record_file(Path::new(&record::link_name(dev, ino))))?;
        Ok(common.into_iter().find_map(|record| record.links))
    }

    fn is_opaque(&self, path: &Path) -> Result<bool> {
        let Ok(meta) = self.upper.join(path).symlink_metadata() else { return Ok(false) };
        Ok(self.record(path, Some(meta.ino()))?.is_some_and(|record| record.opaque))
    }

    fn record(&self, path: &Path, ino: Option<u64>) -> Result<Option<Record>> {
        if let Some(ino) = ino {
            let shared = format!("{}{ino}", crate::union::SHARED);
            if let Some(record) = read_records(&self.record_file(Path::new(&shared)))?
                .into_iter()
                .find(|record| record.object == Some(ino))
            {
                return Ok(Some(record));
            }
        }
        let filed = read_records(&self.record_file(path))?.into_iter().find(|record| record.belongs_to(ino));
        Ok(filed.or_else(|| carried(&self.upper.join(path), ino?)))
    }

    fn content_differs(&self, path: &Path, meta: &Metadata, below: &Metadata) -> Result<bool> {
        let Some(lower) = self.lower else { return Ok(true) };
        let (one, other) = (self.upper.join(path), lower.join(path));
        if meta.is_symlink() {
            return Ok(target(&one)? != target(&other)?);
        }
        if !meta.is_file() {
            return Ok(meta.rdev() != below.rdev());
        }
        if meta.len() != below.len() {
            return Ok(true);
        }
        match File::open(&one) {
            // Copying up keeps this time, and so does who forbids himself to read the copy.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Ok(Stat::from(meta).mtime != Stat::from(below).mtime)
            }
            opened => Ok(!same_content(opened.map_err(at(&one))?, &one, &other)?),
        }
    }
}

/// The record that an object of the upper tree carries.
fn carried(object: &Path, ino: u64) -> Option<Record> {
    carried::read(stored_xattrs(object).get(carried::RECORD)?, ino)
}

/// The extended attributes of an object of the upper tree as the union shows them, but for those of its record.
fn shown_xattrs(object: &Path) -> Xattrs {
    let stored = stored_xattrs(object).into_iter();
    stored.filter_map(|(name, value)| Some((carried::shown_name(name)?, value))).collect()
}

/// The device and inode number in the lower tree of an object whose copy has this name.
fn link_of(name: &[u8]) -> Option<(u64, u64)> {
    let text = std::str::from_utf8(name).ok()?.strip_prefix(record::LINKED)?;
    let mut numbers = text.split('.').map(|number| number.parse::<u64>().ok());
    let (major, minor, ino) = (numbers.next()??, numbers.next()??, numbers.next()??);
    Some((nix::sys::stat::makedev(major, minor), ino))
}

fn deleted(path: PathBuf) -> Change {
    Change {
        path,
        difference: Difference::Deleted,
        object: None,
        stat: Stat::default(),
        xattrs: Xattrs::new(),
        opaque: false,
    }
}

fn is_whiteout(mark: &Path) -> bool {
    mark.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.len() == 0)
}

fn attributes_differ(stat: &Stat, below: &Metadata) -> bool {
    let kind = stat.file_type();
    (stat.uid, stat.gid) != (below.uid(), below.gid())
        || kind != FileType::Symlink && stat.permissions() != below.mode() & 0o7777
        // A directory's time is another with every change in it.
        || kind != FileType::Directory && stat.mtime != Stat::from(below).mtime
}

/// The names in a directory, sorted; none if there is no such directory.
fn names(directory: &Path) -> Result<Vec<std::ffi::OsString>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(at(directory)(error)),
    };
    let names = entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>();
    let mut names = names.map_err(at(directory))?;
    names.sort();
    Ok(names)
}

fn metadata(object: &Path) -> Result<Metadata> {
    object.symlink_metadata().map_err(at(object))
}

fn target(link: &Path) -> Result<PathBuf> {
    fs::read_link(link).map_err(at(link))
}

/// Whether two files are the same, which are equally long. Who may not read the lower one has not copied it, but put another in its place.
fn same_content(mut one: File, upper: &Path, lower: &Path) -> Result<bool> {
    let mut other = match File::open(lower) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(false),
        opened => opened.map_err(at(lower))?,
    };
    let (mut a, mut b) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let length = one.read(&mut a).map_err(at(upper))?;
        if length == 0 {
            return Ok(true);
        }
        match other.read_exact(&mut b[..length]) {
            Ok(()) if a[..length] == b[..length] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(at(lower)(error)),
        }
    }
}

/// The records in a file; none if there is no such file.
fn read_records(name: &Path) -> Result<Vec<Record>> {
    let mut text = Vec::new();
    match File::open(name) {
        Ok(file) => file.take(record::LONGEST).read_to_end(&mut text).map_err(at(name))?,
        // A whiteout stands where a directory of records would be.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(at(name)(error)),
    };
    Ok(record::parse(&text))
}
