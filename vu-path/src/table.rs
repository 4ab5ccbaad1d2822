//! The mount table.

use crate::map::Map;
use smallvec::SmallVec;
use std::{borrow::Borrow, fmt, hash::Hash, sync::Arc};
use vu_api::AbsPath;

/// The tick at which a mount was made. No two mounts of a view share one, and later is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

impl Epoch {
    /// Before every mount: the layer of this epoch is the host.
    pub const HOST: Epoch = Epoch(0);
    /// After every mount: the layer of this epoch is the whole view.
    pub const MAX: Epoch = Epoch(u64::MAX);
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A mount in the table.
#[derive(Debug, Clone)]
pub struct Entry<M> {
    /// When it was made.
    pub epoch: Epoch,
    /// What it covers: this path and everything below.
    pub point: AbsPath,
    /// The names at which its files may part from those of the host below the same directory: its mount point's last component, and those of what it declines.
    names: Vec<Vec<u8>>,
    /// The mount itself.
    pub mount: M,
}

/// The mounts of a view, by mount point and by age.
///
/// A value, not a place: a clone costs three reference counts, and changing one leaves every other as it was, so readers
/// work on a snapshot and take no lock. The newest mount that covers a path wins, not the deepest;
/// [`covering`](Self::covering) gives them in that order.
///
/// Every mount point *and every prefix of one* is a key of a hash map, with the mounts at exactly that path and the number of
/// mount points below it. A look-up goes down the path from the root and stops at the first prefix below which there is
/// nothing, so it costs a few hashes, however many mounts there are elsewhere.
pub struct MountTable<M> {
    places: Map<Key, Place<M>>,
    by_epoch: Map<Epoch, Arc<Entry<M>>>,
    /// How many mount points, and paths that mounts decline, have this last component.
    names: Map<Name, usize>,
    len: usize,
}

/// What the table knows of one path.
struct Place<M> {
    /// The mounts at exactly this path, oldest first.
    here: SmallVec<[Arc<Entry<M>>; 1]>,
    /// How many mounts are strictly below.
    below: usize,
}

/// The mounts that cover one path: [`MountTable::covering`].
pub struct Covering<'a, M> {
    /// For each prefix of the path, those not yet given, oldest first.
    stacks: SmallVec<[&'a [Arc<Entry<M>>]; 8]>,
}

impl<M> MountTable<M> {
    /// A table without mounts.
    #[must_use]
    pub fn new() -> Self {
        MountTable { places: Map::new(), by_epoch: Map::new(), names: Map::new(), len: 0 }
    }

    /// Adds a mount. One of the same epoch is replaced.
    pub fn insert(&mut self, epoch: Epoch, point: AbsPath, mount: M) {
        self.insert_with_exceptions(epoch, point, &[], mount);
    }

    /// The same, of one that declines these paths, with all below them.
    pub fn insert_with_exceptions(&mut self, epoch: Epoch, point: AbsPath, exceptions: &[AbsPath], mount: M) {
        self.remove(epoch);
        let names = [&point].into_iter().chain(exceptions).filter_map(|path| path.file_name()).map(<[u8]>::to_vec);
        let entry = Arc::new(Entry { epoch, names: names.collect(), point, mount });
        for prefix in proper_prefixes(entry.point.as_bytes()) {
            self.change_place(prefix, |place| place.below += 1);
        }
        self.change_place(entry.point.as_bytes(), |place| {
            let at = place.here.partition_point(|other| other.epoch < epoch);
            place.here.insert(at, Arc::clone(&entry));
        });
        for name in &entry.names {
            self.names.change(Bytes(name.as_slice().into()), |count| Some(count.unwrap_or(0) + 1));
        }
        self.by_epoch.change(epoch, |_| Some(entry));
        self.len += 1;
    }

    /// Takes a mount away.
    pub fn remove(&mut self, epoch: Epoch) -> Option<Arc<Entry<M>>> {
        let entry = Arc::clone(self.by_epoch.get(&epoch)?);
        for prefix in proper_prefixes(entry.point.as_bytes()) {
            self.change_place(prefix, |place| place.below -= 1);
        }
        self.change_place(entry.point.as_bytes(), |place| place.here.retain(|other| other.epoch != epoch));
        for name in &entry.names {
            self.names.change(Bytes(name.as_slice().into()), |count| count.filter(|&n| n > 1).map(|n| n - 1));
        }
        self.by_epoch.change(epoch, |_| None);
        self.len -= 1;
        Some(entry)
    }

    /// The mounts older than `before` at any prefix of `path`, the path itself included, newest first.
    pub fn covering(&self, path: &AbsPath, before: Epoch) -> Covering<'_, M> {
        let mut stacks = SmallVec::new();
        let bytes = path.as_bytes();
        for prefix in proper_prefixes(bytes).chain([bytes]) {
            let Some(place) = self.places.get(prefix) else { break };
            let older = older(&place.here, before);
            if !older.is_empty() {
                stacks.push(older);
            }
            if place.below == 0 {
                break;
            }
        }
        Covering { stacks }
    }

    /// The newest mount at exactly this mount point among those older than `before`.
    #[must_use]
    pub fn newest_at(&self, point: &AbsPath, before: Epoch) -> Option<&Entry<M>> {
        older(&self.places.get(point.as_bytes())?.here, before).last().map(Arc::as_ref)
    }

    /// Every mount, newest first.
    pub fn iter_newest_first(&self) -> impl Iterator<Item = &Entry<M>> {
        let mut all: Vec<_> = self.by_epoch.values().map(Arc::as_ref).collect();
        all.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.epoch));
        all.into_iter()
    }

    /// Whether the mount of this epoch is in the table.
    #[must_use]
    pub fn contains(&self, epoch: Epoch) -> bool {
        self.by_epoch.get(&epoch).is_some()
    }

    /// How many mounts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no mount.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether a mount point ends in this component, or a path that a mount declines.
    #[must_use]
    pub fn has_name(&self, name: &[u8]) -> bool {
        self.names.get(name).is_some()
    }

    /// All names of which [`has_name`](Self::has_name) says so.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.by_epoch.values().flat_map(|entry| entry.names.iter().map(Vec::as_slice))
    }

    /// Whether there is a mount at `/`.
    #[must_use]
    pub fn covers_root(&self) -> bool {
        self.places.get(&b"/"[..]).is_some_and(|place| !place.here.is_empty())
    }

    /// Whether there is a mount strictly below this path.
    #[must_use]
    pub fn any_below(&self, path: &AbsPath) -> bool {
        self.places.get(path.as_bytes()).is_some_and(|place| place.below > 0)
    }

    /// Changes what is known of a path; a path of which nothing is left is forgotten.
    fn change_place(&mut self, path: &[u8], change: impl FnOnce(&mut Place<M>)) {
        self.places.change(Bytes(path.into()), |place| {
            let mut place = place.unwrap_or(Place { here: SmallVec::new(), below: 0 });
            change(&mut place);
            (!place.here.is_empty() || place.below > 0).then_some(place)
        });
    }
}

impl<'a, M> Iterator for Covering<'a, M> {
    type Item = &'a Entry<M>;

    fn next(&mut self) -> Option<&'a Entry<M>> {
        // Few prefixes of a path are mount points: looking at all of them is the merge.
        let newest = self.stacks.iter_mut().max_by_key(|stack| stack.last().map(|entry| entry.epoch))?;
        let (entry, rest) = newest.split_last()?;
        *newest = rest;
        Some(entry)
    }
}

impl<M> Default for MountTable<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M> Clone for MountTable<M> {
    fn clone(&self) -> Self {
        MountTable {
            places: self.places.clone(),
            by_epoch: self.by_epoch.clone(),
            names: self.names.clone(),
            len: self.len,
        }
    }
}

impl<M: fmt::Debug> fmt::Debug for MountTable<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter_newest_first()).finish()
    }
}

impl<M> Clone for Place<M> {
    fn clone(&self) -> Self {
        Place { here: self.here.clone(), below: self.below }
    }
}

/// Those of a stack that are older.
fn older<M>(stack: &[Arc<Entry<M>>], before: Epoch) -> &[Arc<Entry<M>>] {
    &stack[..stack.partition_point(|entry| entry.epoch < before)]
}

/// The prefixes of an absolute path that end at a component, from the root on, the path itself excepted.
fn proper_prefixes(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let root = (path.len() > 1).then(|| &path[..1]);
    let inner = path.iter().enumerate().skip(1).filter(|&(_, &b)| b == b'/').map(|(at, _)| &path[..at]);
    root.into_iter().chain(inner)
}

/// Bytes that are kept with the map: paths and names, which are looked up by slices.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Bytes(Arc<[u8]>);
type Key = Bytes;
type Name = Bytes;

impl Borrow<[u8]> for Bytes {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}
