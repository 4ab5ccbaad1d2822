//! Directories that the lower tree of a union lends.
//!
//! A directory of a union is put together by its mount, and its descriptor is a placeholder (`vu-fd`). But most are never touched: the upper tree has no part in them, and they show what the
//! lower one's do. Such a one is opened as what it is on the host. Its description bears the tag of a route (`route.rs`) that says *lent*, and as long as nothing of it has
//! changed, listing it, its attributes and those of what is in it are the kernel's to tell: to walk through a tree costs what it costs in a bind.
//!
//! What it shows may change with any change of the view. So whoever has such a descriptor is asked about asks the mount first ([`Filesystem::shows`]):
//!
//! * *all* of it: what only looks is left to the kernel. The lower tree never changes, so that what it finds there was true when the mount was asked. If the union has a copy of any object that had
//!   several names, this holds for the listing, and for objects that have one name.
//! * *a part*: the descriptor stands for a name, as a placeholder does. A listing that has begun goes on in the lower tree; after a rewind it is the mount's, and the
//!   process keeps it ([`Listings`]), while its position is still that of the description.
//! * *nothing*: the directory was removed from the view. It never comes back, whatever is made under its name. (A merge removes the lower tree's own; then it is lent no more, and all is the kernel's to tell.)
//!
//! What changes something goes by the name in any case. A working directory is never lent: the kernel writes core files there.

use crate::{
    call::Call,
    resolve::Place,
    route::{Lending, Route},
    sys::{self, Reach},
    task::{Object, REMOVED, Task, host_name},
};
use ahash::AHashMap;
use parking_lot::Mutex;
use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};
use vu_api::{AbsPath, Caller, File, FileType, Filesystem, Location, OpenFlags, Purpose, Shows};
use vu_trace::Abi;

/// What a lent descriptor stands for.
#[derive(Debug, Clone)]
pub struct Lent {
    /// Its name in the view.
    pub name: AbsPath,
    /// What it is called on the host.
    pub host: AbsPath,
    /// How much of it is shown there.
    pub shows: Shows,
}

/// The names of what was lent on the host, by device and inode number, and the tag: that tells in which of the host's mounts it lies, for there it may have several names. One is believed as long as it leads there: a merge renames directories of its lower
/// tree, and what agents open is not noted, which may have the number of one that was.
#[derive(Default)]
pub struct Names(Mutex<AHashMap<(Object, i32), AbsPath>>);

impl Names {
    /// Of more, all are forgotten, and asked of the kernel again.
    const MOST: usize = 4096;

    fn note(&self, object: Object, tag: i32, host: AbsPath) {
        let mut names = self.0.lock();
        if names.len() >= Self::MOST {
            names.clear();
        }
        names.insert((object, tag), host);
    }

    fn find(&self, object: Object, tag: i32) -> Option<AbsPath> {
        self.0.lock().get(&(object, tag)).cloned()
    }
}

/// The listings by their mount of what a process has open as lent, by number and object; oldest first.
#[derive(Default)]
pub struct Listings(Mutex<Vec<(Numbered, Arc<dyn File>)>>);

/// A descriptor, and what it was open on.
type Numbered = (i32, Object);

impl Listings {
    /// Of more the oldest are forgotten.
    const MOST: usize = 64;

    /// A listing has begun.
    pub fn begin(&self, number: i32, object: Object, listing: Arc<dyn File>) {
        let mut all = self.0.lock();
        all.retain(|(of, _)| *of != (number, object));
        let oldest = (all.len() == Self::MOST).then(|| all.remove(0));
        all.push(((number, object), listing));
        drop(all);
        drop(oldest);
    }

    /// The listing that a descriptor goes on with; by another number, it may have been duplicated.
    #[must_use]
    pub fn find(&self, number: i32, object: Object) -> Option<Arc<dyn File>> {
        let all = self.0.lock();
        let exactly = all.iter().rfind(|(of, _)| *of == (number, object));
        exactly.or_else(|| all.iter().rfind(|((_, of), _)| *of == object)).map(|(_, listing)| listing.clone())
    }

    /// A child has the descriptors of its parent.
    pub fn copy(&self, parent: &Listings) {
        let listings = parent.0.lock().clone();
        *self.0.lock() = listings;
    }
}

impl Call<'_> {
    /// What a descriptor of a task stands for, if a union lent it. `fd` is a copy of it, open on `object`.
    #[must_use]
    pub(crate) fn lent(&self, task: &Task, number: i32, fd: BorrowedFd<'_>, object: Object) -> Option<Lent> {
        let untagged = &task.process.untagged_routes;
        let link = || sys::read_link(task.proc().ok()?, &format!("fd/{number}")).ok();
        let told = || host_name(link()?).ok();
        let (route, host) = match sys::tag(fd) {
            Ok(0) if untagged.is_empty() => return None,
            Ok(0) => (untagged.find(object).filter(|route| route.lent.is_some())?, told()?),
            Ok(tag) if self.core.routes.may_be_lent(tag) => {
                let leads = |stat: libc::stat| (stat.st_dev, stat.st_ino) == object;
                let still = |host: &AbsPath| sys::stat_at(Reach::Path(host.as_bytes())).is_ok_and(leads);
                let host = match self.core.lent.find(object, tag) {
                    Some(noted) if still(&noted) => noted,
                    // It was removed in the lower tree itself, as a merge does: whatever has its name now is another one.
                    Some(_) if link()?.ends_with(REMOVED) => return None,
                    Some(noted) => told().filter(still).unwrap_or(noted),
                    None => told()?,
                };
                (self.tagged_route(tag, &host).filter(|route| route.lent.is_some())?, host)
            }
            Ok(_) | Err(_) => return None,
        };
        // When the mount is gone, what it lent is the host's, as everything is that is open.
        let name = self.name_by(&route, &host)?;
        // Of what cannot be looked at now, nothing is left to the kernel.
        let shows = self.layer.shows(&name, &host).unwrap_or(Shows::Part);
        Some(Lent { name, host, shows })
    }

    /// The same, of a descriptor that has not been looked at.
    #[must_use]
    pub(crate) fn lent_by(&self, task: &Task, number: i32, fd: BorrowedFd<'_>) -> Option<Lent> {
        if !self.core.has_virtual_files() {
            return None;
        }
        let stat = sys::fstat(fd).ok()?;
        self.lent(task, number, fd, (stat.st_dev, stat.st_ino))
    }

    /// Opens an untouched directory of a union as what it is on the host. `None` if that is not the same.
    #[must_use]
    pub(crate) fn lend(&self, place: &Place, flags: OpenFlags) -> Option<OwnedFd> {
        let looks_only = !flags.intersects(OpenFlags::PATH | OpenFlags::CREAT) && !flags.writes();
        // Those of 32 bits open without `O_LARGEFILE`, which openat2(2) always gives.
        let plain = self.can_install() && self.abi == Abi::X86_64;
        if !looks_only || !place.found || !plain || !self.task.same_credentials() {
            return None;
        }
        let name = &place.name;
        // Before it is looked at.
        let era = self.core.agents.era_of_lending();
        let Ok(Location::Host(host)) = self.layer.locate(name, Purpose::Read) else { return None };
        let shows = self.layer.shows(name, &host).unwrap_or(Shows::Part);
        if !matches!(shows, Shows::All | Shows::AllButLinked)
            || self.layer.locate(name, Purpose::Attributes) == Ok(Location::Own)
        {
            return None;
        }
        let fd = sys::open_at_once(host.as_bytes(), flags.bits(), 0).ok()?;
        let stat = sys::statx(Reach::Held(fd.as_fd()), 0, libc::STATX_BASIC_STATS | libc::STATX_MNT_ID).ok()?;
        if FileType::from_mode(stat.stx_mode.into()) != Some(FileType::Directory) {
            return None;
        }
        let lending = Lending { mount: stat.stx_mnt_id, era, table: self.view.table_number() };
        let tag = self.core.routes.tag(&self.lent_route(name, &host, lending));
        if tag == 0 || sys::set_tag(fd.as_fd(), tag).is_err() {
            return None;
        }
        let object = (libc::makedev(stat.stx_dev_major, stat.stx_dev_minor), stat.stx_ino);
        // It is looked at next.
        if *name == host
            && self.are_agents_told(shows)
            && let Some(lending) = self.core.routes.only(tag).and_then(|route| route.lent)
        {
            self.prove_lent(object, tag, lending);
        }
        self.core.lent.note(object, tag, host);
        Some(fd)
    }

    /// The route of a directory that is lent. When there are many routes, it is that of all eras and views.
    #[must_use]
    pub(crate) fn lent_route(&self, name: &AbsPath, host: &AbsPath, lending: Lending) -> Route {
        let route = Route { lent: Some(lending), ..self.route_of_mount(name, host) };
        if self.core.routes.have_room_for(&route) {
            return route;
        }
        Route { lent: Some(lending.anywhere()), ..route }
    }

    /// The route by which all of a mount leads to the host, as far as it leads to names that end as the view's do.
    fn route_of_mount(&self, name: &AbsPath, host: &AbsPath) -> Route {
        let (mut view, mut below) = (name.clone(), host.clone());
        let Some((mount, _)) = self.layer.mount_for(name) else { return Route::between(name, host, 0) };
        while view != mount.point
            && let Some(last) = view.file_name()
            && below.file_name() == Some(last)
        {
            view.pop();
            below.pop();
        }
        Route { view, host: below, mount: mount.epoch.0, lent: None }
    }
}

impl Lent {
    /// The name by which its mount is to be asked for its attributes; `None` if the kernel tells them.
    #[must_use]
    pub(crate) fn kept(&self, call: &Call<'_>) -> Option<&AbsPath> {
        let own = || call.layer.locate(&self.name, Purpose::Attributes) == Ok(Location::Own);
        match self.shows {
            Shows::Nothing => None,
            Shows::All | Shows::AllButLinked if !own() => None,
            Shows::All | Shows::AllButLinked | Shows::Part => Some(&self.name),
        }
    }

    /// Whether what is in it, and only looked at, is the kernel's to find.
    #[must_use]
    pub(crate) fn is_the_kernels(&self, call: &Call<'_>) -> bool {
        self.shows == Shows::All && !call.task.is_virtual()
    }

    /// The same, for whoever leaves objects with several names to others.
    #[must_use]
    pub(crate) fn is_the_agents(&self, call: &Call<'_>) -> bool {
        matches!(self.shows, Shows::All | Shows::AllButLinked) && !call.task.is_virtual()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vu_api::{Errno, Stat, testing::path};

    struct Known(u64);

    impl File for Known {
        fn stat(&self) -> Result<Stat, Errno> {
            Ok(Stat { ino: self.0, ..Stat::default() })
        }
    }

    #[test]
    fn a_listing_is_that_of_its_descriptor() {
        let listings = Listings::default();
        let number = |listings: &Listings, number, object| {
            listings.find(number, object).and_then(|listing| listing.stat().ok()).map(|stat| stat.ino)
        };
        listings.begin(3, (1, 1), Arc::new(Known(10)));
        listings.begin(4, (1, 1), Arc::new(Known(20)));
        assert_eq!(number(&listings, 3, (1, 1)), Some(10));
        assert_eq!(number(&listings, 5, (1, 1)), Some(20), "a duplicate");
        assert_eq!(number(&listings, 3, (1, 2)), None, "the number is another directory's now");
        listings.begin(3, (1, 1), Arc::new(Known(30)));
        assert_eq!(number(&listings, 3, (1, 1)), Some(30), "rewound");
        let child = Listings::default();
        child.copy(&listings);
        for more in 0..1000 {
            listings.begin(more, (2, 2), Arc::new(Known(0)));
        }
        assert_eq!(number(&listings, 3, (1, 1)), None);
        assert_eq!(listings.0.lock().len(), Listings::MOST);
        assert_eq!(number(&child, 3, (1, 1)), Some(30));
    }

    #[test]
    fn names_are_bounded() {
        let names = Names::default();
        for inode in 0..3 * Names::MOST as u64 {
            names.note((1, inode), 5, path("/d"));
            assert_eq!((names.find((1, inode), 5), names.find((1, inode), 6)), (Some(path("/d")), None));
        }
        assert!(names.0.lock().len() <= Names::MOST);
    }
}
