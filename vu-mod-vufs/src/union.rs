//! The modes `merge`, `cow` and `mincow`: two directories, shown as one.
//!
//! A, the *upper* tree, lies over B, the *lower* one, which is what the mount point was before. A name is looked for in A, then in B. What is removed but still
//! in B is hidden by a *whiteout*; what is changed but still in B is *copied up* first. Both, and everything else that must be remembered, stand in
//! the directory `.-` of A (`docs/vufs-format.md`), which is seen nowhere in the view.
//!
//! **Content is the host's.** A file is opened, mapped and executed by its name in A or B ([`Filesystem::locate`]); nothing of it passes through here but what is copied
//! up. Directories are listed here, names made and removed here, attributes changed here.
//!
//! **Order makes it safe.** A whiteout under which A has an object means nothing but that B's is hidden. So it can be made before the step that counts and left behind
//! after it; each change is decided by one atomic step (a rename, a creation, a removal), and a hypervisor that is killed at any instant leaves the
//! old object or the new one.
//!
//! **Whoever looks twice believes the step that counts.** Others change names at any moment. Where a merge finds that A has no part in a name, what is wrong there is said by the
//! change in B itself, and by no look before it; a rename that finds its names changed, when it has the lock, begins anew. `tests/between.rs` makes a second change between
//! any two looks of a first one.
//!
//! **Locks.** `names` is held while names are looked at once more and exchanged, never while content is copied. A union's layer below may be a union; its
//! lock is taken after this one's, and the layers are ordered.

pub(crate) mod carried;
mod change;
mod copy;
mod devices;
mod kept;
mod listing;
mod marks;
mod places;
pub(crate) mod record;
mod root;
mod storing;
mod xattrs;

use crate::Mode;
pub use copy::copy_content;
use devices::Devices;
pub(crate) use kept::SHARED;
use listing::Listings;
use marks::Mounter;
use parking_lot::{Mutex, RwLock};
use places::{Cache, Place};
use std::sync::{Arc, atomic::AtomicBool};
use vu_api::{AbsPath, Errno, FileType, Filesystem, Location, Purpose, Stat};

pub use root::{Attributes, Union};

/// How the two trees are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A's names are read-only; everything else happens in B.
    Merge,
    /// Everything happens in A.
    Cow,
    /// What B refuses happens in A.
    Mincow,
}

impl Kind {
    /// The kind of a mode that puts two trees together.
    #[must_use]
    pub fn of(mode: Mode) -> Option<Kind> {
        match mode {
            Mode::Bind => None,
            Mode::Merge => Some(Kind::Merge),
            Mode::Cow => Some(Kind::Cow),
            Mode::Mincow => Some(Kind::Mincow),
        }
    }
}

/// Two trees put together.
pub(crate) struct Trees {
    /// What both are parts of.
    below: Arc<dyn Filesystem>,
    /// A, in the layer below.
    upper: AbsPath,
    /// B.
    lower: AbsPath,
    kind: Kind,
    /// For what is done on behalf of nobody but the mount.
    me: Mounter,
    cache: Cache,
    names: Mutex<()>,
    /// Held by one alone while a file of records is changed in place: who reads one sees it before or after that.
    records: RwLock<()>,
    listings: Listings,
    devices: Devices,
    /// The whiteout that was made last.
    whiteout: Mutex<Option<AbsPath>>,
    /// Whether there may be copies of objects with several names in B.
    has_links: AtomicBool,
    /// Whether there may be records of objects with several names in A.
    has_shared: AtomicBool,
    /// Whether a directory of A was found that cannot have extended attributes.
    has_no_attributes: AtomicBool,
    /// `nochcopy`
    no_copy_for_attributes: bool,
}

/// What becomes of the content of a file that is copied up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// It is copied.
    Keep,
    /// Nobody needs it: the file is about to be truncated.
    Drop,
}

/// The side on which something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Upper,
    Lower,
}

impl Trees {
    fn in_upper(&self, path: &AbsPath) -> AbsPath {
        self.upper.below(&path.as_bytes()[1..])
    }

    fn in_lower(&self, path: &AbsPath) -> AbsPath {
        self.lower.below(&path.as_bytes()[1..])
    }

    fn on(&self, side: Side, path: &AbsPath) -> AbsPath {
        match side {
            Side::Upper => self.in_upper(path),
            Side::Lower => self.in_lower(path),
        }
    }

    /// See [`Filesystem::locate`].
    pub(crate) fn locate(&self, path: &AbsPath, purpose: Purpose) -> Result<Location, Errno> {
        match purpose {
            Purpose::List | Purpose::Change => Ok(Location::Own),
            Purpose::Attributes | Purpose::ExtendedAttributes => match self.find_and_stat(path)? {
                (Place::Nowhere, _) => Ok(Location::Own),
                // What A's have is not always called as in the view ([`carried`]).
                (Place::Upper, _) if purpose == Purpose::ExtendedAttributes => Ok(Location::Own),
                found if self.keeps_attributes(path, found)? => Ok(Location::Own),
                found => self.locate_content(path, found, purpose),
            },
            Purpose::Read | Purpose::Execute => self.locate_content(path, self.find_and_stat(path)?, purpose),
            Purpose::Write => self.prepared(path, Content::Keep, purpose),
            Purpose::Replace => self.prepared(path, Content::Drop, purpose),
        }
    }

    /// Both sides of it, where they are there.
    pub(crate) fn host_directories(&self, path: &AbsPath) -> Vec<AbsPath> {
        let sides = [self.in_upper(path), self.in_lower(path)];
        let there = |name: &&AbsPath| self.below.stat(name).is_ok_and(|stat| stat.file_type() == FileType::Directory);
        sides.iter().filter(there).flat_map(|name| self.below.host_directories(name)).collect()
    }

    /// Where the content of an object is that was found there just now, with these attributes.
    fn locate_content(
        &self,
        path: &AbsPath,
        (place, seen): (Place, Option<Stat>),
        purpose: Purpose,
    ) -> Result<Location, Errno> {
        match place {
            Place::Upper if path.is_root() => Ok(Location::Own),
            Place::Nowhere => Ok(Location::Own),
            Place::Lower => self.below.locate(&self.content_of_lower(path)?, purpose),
            Place::Upper => {
                let name = self.in_upper(path);
                match seen {
                    Some(stat) if stat.file_type() == FileType::Directory => Ok(Location::Own),
                    Some(stat) if stat.size == 0 => match self.special(path, &stat)? {
                        Some(special) => self.locate_special(special, purpose),
                        None => self.below.locate(&name, purpose),
                    },
                    // A symbolic link on the way, say: whoever walks there finds it.
                    _ => self.below.locate(&name, purpose),
                }
            }
        }
    }

    /// The type and number of what an empty file only stands for.
    fn special(&self, path: &AbsPath, stat: &Stat) -> Result<Option<(FileType, u64)>, Errno> {
        let record = self.record(path, Place::Upper, stat)?;
        Ok(record.and_then(|record| Some((record.kind?, record.rdev.unwrap_or(0)))))
    }

    /// The same of what A has under a name, whatever it is.
    fn special_in_upper(&self, path: &AbsPath, stat: &Stat) -> Result<Option<(FileType, u64)>, Errno> {
        let may_stand = stat.file_type() == FileType::Regular && stat.size == 0;
        if may_stand { self.special(path, stat) } else { Ok(None) }
    }

    /// A device is the host's of that number, if it has it; what else was made elsewhere leads nowhere.
    fn locate_special(&self, special: (FileType, u64), purpose: Purpose) -> Result<Location, Errno> {
        let is_device = matches!(special.0, FileType::CharDevice | FileType::BlockDevice);
        match if is_device { self.device(special) } else { None } {
            Some(name) => self.below.locate(&name, purpose),
            None => Ok(Location::Own),
        }
    }

    fn prepared(&self, path: &AbsPath, content: Content, purpose: Purpose) -> Result<Location, Errno> {
        let found = self.find_on_both_sides(path)?;
        if let (Place::Upper, Some(stat)) = found
            && let Some(special) = self.special_in_upper(path, &stat)?
        {
            return self.locate_special(special, purpose);
        }
        let side = self.prepare_found(path, found, content)?;
        self.below.locate(&self.on(side, path), purpose)
    }
}
