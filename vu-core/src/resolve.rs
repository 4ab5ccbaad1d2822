//! What a path argument of a tracee means.
//!
//! The question behind every path call is: does the kernel's own look-up lead to the object the view means? If so the call runs as it is, with no difference
//! to a program outside. Three looks answer it, the cheapest first:
//!
//! 1. `kernel_is_right`: a relative path that starts at a directory where kernel and view agree, has no `..`, touches no name of a mount point and no
//!    symbolic link, stays where they agree. At most one system call.
//! 2. `by_text`: a path without symbolic links is its own canonical name, so the text alone says which mount it belongs to; one
//!    `openat2(RESOLVE_NO_SYMLINKS)` proves it.
//! 3. `by_walk`: component by component (`vu-path`), through symbolic links, magic links and mounts.

use crate::{
    call::Call,
    clear::{Seen, Walked},
    debug::Tag,
    keep::Kept,
    lent::Lent,
    mount::Mount,
    route::Route,
    sys::{self, At, Final, Reach},
    task::{Cwd, Object, REMOVED, Task, host_name},
    tree::ViewTree,
};
use smallvec::SmallVec;
use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};
use vu_api::{AbsPath, Caller, Errno, FileType, Filesystem, Location, Probe, Purpose, Shows, capability};
use vu_path::{EmptyPath, Epoch, Follow, Options, ResolveFlags, Start, State};

/// A path argument with what belongs to it.
#[derive(Debug, Clone)]
pub struct PathArg {
    /// The directory a relative path begins at: a descriptor, or `AT_FDCWD`.
    pub dirfd: i32,
    /// The path.
    pub path: Vec<u8>,
    /// What a final symbolic link means.
    pub follow: Follow,
    /// openat2's restrictions.
    pub resolve: ResolveFlags,
}

/// What the caller needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Only whether the kernel's own look-up is right; the object is held if not.
    Object,
    /// The same, but where the way is known to be clear, an object of the host need not be held, and may be missing after all.
    Path,
    /// The same, and the object, or what it is called, is to be changed.
    Change,
    /// Also whether it is a directory that is known by another name in the view: its descriptor must be given its route.
    Open,
    /// The same, and it is opened for writing.
    OpenToWrite,
    /// The name in the view.
    Name,
}

impl Need {
    fn opens(self) -> bool {
        matches!(self, Need::Open | Need::OpenToWrite)
    }

    fn changes(self) -> bool {
        matches!(self, Need::Change | Need::OpenToWrite)
    }
}

/// The meaning of a path.
#[derive(Debug)]
pub enum Meaning {
    /// What the kernel finds.
    Kernel,
    /// This object.
    Place(Place),
}

/// An object of the view, or the place where it would be.
#[derive(Debug)]
pub struct Place {
    /// Its name in the view, canonical.
    pub name: AbsPath,
    /// Where it lives.
    pub location: Location,
    /// Whether it exists.
    pub found: bool,
    /// The host's object, held, if it was looked at.
    pub handle: Option<OwnedFd>,
    /// Its type, if that was all that was looked at.
    pub file_type: Option<FileType>,
    /// A slash follows the last component.
    pub must_be_dir: bool,
    /// Whether the kernel's own look-up leads there, too.
    pub native: bool,
    /// It is a magic link of `/proc` to an object without a path, to be followed by the kernel.
    pub opaque: bool,
}

/// Which descriptors are asked for their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Directories; the kernel refuses to begin a path at others.
    Directory,
    /// Any.
    Any,
}

/// What the text of a path says by itself.
enum ByText {
    /// What it means.
    Place(Place),
    /// A symbolic link stands on the way to this name, or there.
    Linked(AbsPath),
    /// Nothing.
    Unclear,
}

/// Why a path means nothing.
struct Failure {
    errno: Errno,
    /// Whether the kernel came by the same on its way.
    kernel_agrees: bool,
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Failure {
        Failure { errno, kernel_agrees: false }
    }
}

/// The way from a directory to the last component of a path, as a key of [`ClearPaths`](crate::clear::ClearPaths).
struct Way(SmallVec<[u8; 128]>);

impl Way {
    fn new((device, inode): Object, path: &[u8]) -> Way {
        let mut key = SmallVec::new();
        // No absolute path begins so.
        key.push(0);
        key.extend_from_slice(&device.to_ne_bytes());
        key.extend_from_slice(&inode.to_ne_bytes());
        key.extend_from_slice(path.iter().rposition(|&b| b == b'/').map_or(b"", |slash| &path[..slash]));
        Way(key)
    }

    fn key(&self) -> &[u8] {
        &self.0
    }
}

/// Where relative paths begin.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    /// The name in the view.
    pub view: AbsPath,
    /// The name on the host of what the kernel holds; `None` for a placeholder.
    pub host: Option<AbsPath>,
    /// Whether it stands for a directory that was removed: only the way up leads anywhere.
    removed: bool,
}

impl Base {
    fn lent(lent: Lent) -> Base {
        let removed = lent.shows == Shows::Nothing;
        Base { view: lent.name, host: Some(lent.host), removed }
    }
}

impl PathArg {
    /// A path relative to the working directory.
    #[must_use]
    pub fn at_cwd(path: Vec<u8>, follow: Follow) -> PathArg {
        PathArg { dirfd: libc::AT_FDCWD, path, follow, resolve: ResolveFlags::empty() }
    }

    /// A path relative to a directory.
    #[must_use]
    pub fn at(dirfd: i32, path: Vec<u8>, follow: Follow) -> PathArg {
        PathArg { dirfd, path, follow, resolve: ResolveFlags::empty() }
    }

    pub(crate) fn is_absolute(&self) -> bool {
        self.path.first() == Some(&b'/')
    }

    /// Whether a directory is named in it as its own entry, for which it must be searched (`may_lookup`, fs/namei.c).
    fn has_dot_behind_a_name(&self) -> bool {
        let mut components =
            self.path.split(|&b| b == b'/').filter(|name| !name.is_empty()).skip_while(|name| *name == b".");
        components.any(|name| name == b".")
    }

    fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.path.split(|&b| b == b'/').filter(|name| !matches!(*name, b"" | b"."))
    }
}

impl Place {
    /// The type of the object; asked only of what was found.
    ///
    /// # Errors
    /// Those of stat(2).
    pub fn file_type(&self, call: &Call<'_>) -> Result<FileType, Errno> {
        match (self.file_type, &self.handle) {
            (Some(file_type), _) => Ok(file_type),
            (None, Some(handle)) => sys::file_type(handle.as_fd()),
            (None, None) => Ok(call.layer.stat(&self.name)?.file_type()),
        }
    }

    /// How the host's object is reached; `None` if it is none.
    #[must_use]
    pub fn reach(&self) -> Option<Reach<'_>> {
        let by_path = self.host().map(|host| Reach::Path(host.as_bytes()));
        by_path.map(|by_path| self.handle.as_ref().map_or(by_path, |handle| Reach::Held(handle.as_fd())))
    }

    /// The host's name, if it is a host object.
    #[must_use]
    pub fn host(&self) -> Option<&AbsPath> {
        match &self.location {
            Location::Host(path) => Some(path),
            Location::Own => None,
        }
    }

    /// The object must exist.
    ///
    /// # Errors
    /// `ENOENT` if it does not.
    pub fn existing(self) -> Result<Place, Errno> {
        if self.found { Ok(self) } else { Err(Errno::ENOENT) }
    }
}

impl Call<'_> {
    /// Finds out what a path means.
    ///
    /// # Errors
    /// Those of path_resolution(7).
    pub fn meaning(&self, arg: &PathArg, need: Need) -> Result<Meaning, Errno> {
        match self.look_up(arg, need) {
            Ok(meaning) => Ok(meaning),
            // The kernel comes by the same, and knows which of several errors comes first.
            Err(Failure { kernel_agrees: true, .. }) => Ok(Meaning::Kernel),
            Err(failure) => Err(failure.errno),
        }
    }

    fn look_up(&self, arg: &PathArg, need: Need) -> Result<Meaning, Failure> {
        // Left to the kernel: it says ENOENT, or looks at the descriptor of AT_EMPTY_PATH.
        if arg.path.is_empty() {
            return Ok(Meaning::Kernel);
        }
        if need != Need::Name && self.kernel_is_right(arg, need) {
            return Ok(Meaning::Kernel);
        }
        let Some(base) = self.base(arg)? else { return Ok(Meaning::Kernel) };
        if base.removed {
            match arg.components().next() {
                // What was lent is not removed on the host.
                None if base.host.is_some() => return Err(Errno::ENOENT.into()),
                // The directory itself. What stands for it on the host is a removed one, too, and as empty.
                None => return Ok(Meaning::Kernel),
                Some(b"..") if arg.resolve.is_empty() => return self.above_removed(arg, &base),
                Some(b"..") => {}
                Some(_) => return Err(Errno::ENOENT.into()),
            }
        }
        if !arg.resolve.is_empty() {
            return self.by_walk(arg, &base, None).map(|place| self.noted(place));
        }
        // That was by the hypervisor's rights.
        if self.without_root().is_none()
            && let Some(place) = self.walked_before(arg, need)
        {
            return Ok(self.noted(place));
        }
        let linked = match self.by_permitted_text(arg, &base, need)? {
            ByText::Place(place) => {
                self.may_walk(&base.view, &place.name)?;
                return Ok(self.noted(place));
            }
            ByText::Linked(name) => Some(name),
            ByText::Unclear => None,
        };
        self.by_walk(arg, &base, linked).map(|place| self.noted(place))
    }

    /// A path that begins with the way out of a removed directory: it goes on where that was.
    fn above_removed(&self, arg: &PathArg, base: &Base) -> Result<Meaning, Failure> {
        let behind = arg.path.windows(2).position(|two| two == b"..").map_or(&[][..], |at| &arg.path[at + 2..]);
        let rest = PathArg { path: [b".", behind].concat(), ..arg.clone() };
        let base = Base { view: base.view.parent(), host: None, removed: false };
        self.by_walk(&rest, &base, None).map(|place| self.noted(place))
    }

    /// Whether a path means the directory that it begins at, and that is one of the view's that was removed.
    pub fn is_removed_base(&self, arg: &PathArg) -> bool {
        arg.components().next().is_none() && matches!(self.base(arg), Ok(Some(Base { removed: true, .. })))
    }

    /// As [`by_text`](Self::by_text); where the host does not let a virtual identity search what the mount lets it search, it is told to.
    fn by_permitted_text(&self, arg: &PathArg, base: &Base, need: Need) -> Result<ByText, Errno> {
        let found = self.by_text(arg, base, need);
        let Err(errno) = found else { return found };
        if !self.task.is_virtual() && self.without_root().is_none() {
            return Err(errno);
        }
        let mut name = base.view.clone();
        for component in arg.components() {
            match component {
                b".." => name.pop(),
                component => name.push(component),
            }
        }
        if errno == Errno::EACCES && self.unlock(&name)? {
            return self.by_text(arg, base, need);
        }
        // Nothing is said of what lies behind a directory that may not be searched.
        self.may_walk(&base.view, &name)?;
        Err(errno)
    }

    /// See [`Filesystem::unlock`], where somebody is judged.
    pub(crate) fn unlock(&self, name: &AbsPath) -> Result<bool, Errno> {
        if self.task.is_virtual() && self.layer.keeps_owners(name) { self.layer.unlock(name) } else { Ok(false) }
    }

    /// Whether the directories on the way from one to a name may be searched: by a virtual identity, where their mount keeps who may; and by who has given up
    /// root, which the hypervisor has.
    pub(crate) fn may_walk(&self, from: &AbsPath, name: &AbsPath) -> Result<(), Errno> {
        let is_virtual = self.task.is_virtual();
        let Some(who) = self.task.judged().or_else(|| self.without_root().cloned()) else { return Ok(()) };
        if who.has(capability::DAC_OVERRIDE) || who.has(capability::DAC_READ_SEARCH) || name.is_root() {
            return Ok(());
        }
        // What lies above both was not looked at: the way began below it.
        let mut ways: SmallVec<[AbsPath; 8]> = SmallVec::new();
        let mut directory = from.clone();
        while !name.starts_with(&directory) {
            ways.push(directory.clone());
            directory.pop();
        }
        let common = directory;
        let mut directory = name.parent();
        while directory.starts_with(&common) {
            ways.push(directory.clone());
            if directory.is_root() {
                break;
            }
            directory.pop();
        }
        for directory in ways.iter().rev() {
            let judge = match is_virtual {
                true => self.layer.judge_of(directory, who.clone()),
                false => self.layer.judge_of_way(directory, who.clone()),
            };
            let Some(judge) = judge else { continue };
            match judge.may_search(directory) {
                // What is wrong with the way otherwise, the look-up has said.
                Err(errno) if errno != Errno::EACCES => break,
                permitted => permitted?,
            }
        }
        Ok(())
    }

    /// What people who follow the call are told.
    fn noted(&self, place: Place) -> Meaning {
        if self.tells(Tag::Paths) {
            let missing = if place.found { "" } else { ", missing" };
            match &place.location {
                Location::Host(_) if place.native => {
                    self.debug(Tag::Paths, format_args!("{}: the host's{missing}", place.name))
                }
                Location::Host(host) => {
                    self.debug(Tag::Paths, format_args!("{}: the host's {host}{missing}", place.name))
                }
                Location::Own => self.debug(Tag::Paths, format_args!("{}: of its mount{missing}", place.name)),
            }
        }
        if self.tells(Tag::Mounts)
            && let Some((mount, _)) = self.layer.mount_for(&place.name)
        {
            self.debug(Tag::Mounts, format_args!("{}: {mount}", place.name));
        }
        if self.told {
            *self.meant.borrow_mut() = Some(place.name.clone());
        }
        Meaning::Place(place)
    }

    /// As [`meaning`](Self::meaning), by the name in any case.
    ///
    /// # Errors
    /// Those of path_resolution(7); `EBADF` or `ENOENT` where the kernel would find that the start is none.
    pub fn place(&self, arg: &PathArg) -> Result<Place, Errno> {
        match self.look_up(arg, Need::Name) {
            Ok(Meaning::Place(place)) => Ok(place),
            Ok(Meaning::Kernel) => Err(Errno::ENOENT),
            Err(failure) => Err(failure.errno),
        }
    }

    /// As [`place`](Self::place), of what must be there.
    ///
    /// # Errors
    /// The same; what is wrong with the way there, or `ENOENT`.
    pub fn object(&self, arg: &PathArg) -> Result<Place, Errno> {
        let place = self.place(arg)?;
        if place.found { Ok(place) } else { Err(self.layer.stat(&place.name).err().unwrap_or(Errno::ENOENT)) }
    }

    /// The first look. False only means that it is not known.
    fn kernel_is_right(&self, arg: &PathArg, need: Need) -> bool {
        let table = self.view.table();
        if arg.is_absolute() || !arg.resolve.is_empty() || arg.path.ends_with(b"/") {
            return false;
        }
        // Which mount the object belongs to would have to be known.
        if need.changes() && self.core.has_read_only_mounts() {
            return false;
        }
        let mut names = 0;
        for name in arg.components() {
            if name == b".." || table.has_name(name) {
                return false;
            }
            names += 1;
        }
        // "." and the like.
        if names == 0 {
            return false;
        }
        let one_name = names == 1 && arg.follow != Follow::Last;
        if arg.dirfd == libc::AT_FDCWD {
            let fs = self.task.fs();
            let Ok(cwd) = self.cwd() else { return false };
            if !cwd.natural {
                return false;
            }
            let elsewhere = need.opens() && !fs.cwd_route.read().is_host();
            return (one_name && !elsewhere) || self.no_links(cwd.fd.as_fd(), cwd.object, arg, elsewhere);
        }
        let placeholders = self.core.has_virtual_files();
        if one_name && !need.opens() && !placeholders {
            return true;
        }
        // A bad descriptor is the kernel's to refuse.
        let Ok(dir) = self.task.descriptor(arg.dirfd) else { return true };
        if placeholders && let Ok(stat) = sys::fstat(dir.as_fd()) {
            let object = (stat.st_dev, stat.st_ino);
            if let Some(base) = self.placeholder_of(object) {
                *self.begins.borrow_mut() = Some((arg.dirfd, base));
                return false;
            }
            if let Some(lent) = self.lent(&self.task, arg.dirfd, dir.as_fd(), object) {
                if one_name && need == Need::Path && lent.is_the_kernels(self) {
                    return true;
                }
                *self.begins.borrow_mut() = Some((arg.dirfd, Base::lent(lent)));
                return false;
            }
        }
        let elsewhere = need.opens() && !self.opened_natively(dir.as_fd());
        if one_name && !elsewhere {
            return true;
        }
        sys::fstat(dir.as_fd()).is_ok_and(|stat| self.no_links(dir.as_fd(), (stat.st_dev, stat.st_ino), arg, elsewhere))
    }

    /// Whether no symbolic link stands on the way of a relative path. With `elsewhere`, the object must not be a directory either: its descriptor
    /// would need a route.
    fn no_links(&self, dir: BorrowedFd<'_>, object: Object, arg: &PathArg, elsewhere: bool) -> bool {
        let last = if arg.follow == Follow::Last { Final::Refuse } else { Final::Itself };
        let way = Way::new(object, &arg.path);
        if !elsewhere
            && self.core.clear.knows(way.key())
            && (last == Final::Itself || self.is_no_link(At::Dir(dir), &arg.path))
        {
            return true;
        }
        match sys::look_at(At::Dir(dir), &arg.path, last) {
            Ok(handle) => {
                self.core.clear.note(way.key());
                self.seen.set(sys::file_type(handle.as_fd()).ok());
                !elsewhere || self.seen.get().is_some_and(|file_type| file_type != FileType::Directory)
            }
            Err(Errno::ELOOP) => false,
            // Any other error comes before a link could: the kernel will find the same.
            Err(errno) => {
                if errno == Errno::ENOENT {
                    // What is missing on the way can become a link only by what makes all proofs forgotten.
                    self.core.clear.note(way.key());
                }
                true
            }
        }
    }

    /// Which directory a relative path begins at, if it is the working directory, kernel and view agree on it, and no symbolic link was on the way from there a moment ago.
    pub(crate) fn clear_way(&self, arg: &PathArg) -> Option<Object> {
        if arg.is_absolute() || arg.dirfd != libc::AT_FDCWD {
            return None;
        }
        let cwd = self.cwd().ok().filter(|cwd| cwd.plain && !cwd.in_proc)?;
        let clear = !arg.path.contains(&b'/') || self.core.clear.knows(Way::new(cwd.object, &arg.path).key());
        clear.then_some(cwd.object)
    }

    /// The working directory, if it is a placeholder, and its name.
    pub(crate) fn cwd_placeholder(&self) -> Option<(Object, AbsPath)> {
        let cwd = self.cwd().ok().filter(|cwd| cwd.placeholder)?;
        let base = self.placeholder_of(cwd.object).filter(|base| !base.removed)?;
        Some((cwd.object, base.view))
    }

    /// The working directory, held, with the knowledge whether kernel and view mean the same by it.
    pub(crate) fn cwd(&self) -> Result<Cwd, Errno> {
        let fs = self.task.fs();
        let epoch = self.core.generation();
        if let Some(cwd) = fs.cwd()
            && cwd.epoch == epoch
        {
            return Ok(cwd);
        }
        let fd = Arc::new(Kept::new(sys::open_link(self.task.proc()?, "cwd")?));
        let stat = sys::fstat(fd.as_fd())?;
        let object = (stat.st_dev, stat.st_ino);
        let cwd = if self.placeholder_of(object).is_some() {
            Cwd { fd, epoch, natural: false, plain: false, in_proc: false, host: None, object, placeholder: true }
        } else {
            let host = self.task.cwd_host_path()?;
            let view = self.name_by(&fs.cwd_route.read(), &host).unwrap_or_else(|| host.clone());
            // What is listed by the host has all of its names there, now and later.
            let is_host =
                |name| Ok::<_, Errno>(self.layer.locate(name, Purpose::List)? == Location::Host(host.clone()));
            let natural = is_host(&view)?;
            let plain = natural && (view == host || is_host(&host)?);
            let in_proc = sys::is_procfs(fd.as_fd());
            Cwd { fd, epoch, natural, plain, in_proc, host: Some(host), object, placeholder: false }
        };
        fs.set_cwd(cwd.clone());
        Ok(cwd)
    }

    /// Notes by which route a file is opened that the kernel finds from the working directory, if it has another name there.
    pub(crate) fn note_opened_from_cwd(&self, arg: &PathArg) {
        if arg.dirfd != libc::AT_FDCWD || arg.is_absolute() || arg.components().any(|name| name == b"..") {
            return;
        }
        let route = self.task.fs().cwd_route.read().clone();
        if !route.is_host()
            && let Ok(Cwd { host: Some(mut host), .. }) = self.cwd()
        {
            for name in arg.components() {
                host.push(name);
            }
            self.task.process.note_opened(&host, route);
        }
    }

    /// Whether a relative path may lead to a magic link of `/proc`, whose text is another one in the view.
    pub(crate) fn may_be_magic(&self, arg: &PathArg) -> bool {
        if arg.is_absolute() {
            return false;
        }
        let begins_in_proc = match arg.dirfd {
            libc::AT_FDCWD => self.cwd().is_ok_and(|cwd| cwd.in_proc),
            dirfd => self.task.descriptor(dirfd).is_ok_and(|fd| sys::is_procfs(fd.as_fd())),
        };
        begins_in_proc || arg.components().any(|name| name == b"proc")
    }

    /// The route by which a name of the view leads to a name of the host.
    #[must_use]
    pub fn route(&self, name: &AbsPath, host: &AbsPath) -> Route {
        let mount = self.layer.mount_for(name).map_or(0, |(mount, _)| mount.epoch.0);
        Route::between(name, host, mount)
    }

    /// The name in the view by a route. When its mount is gone, so is its name; what is open goes on by the host's.
    pub(crate) fn name_by(&self, route: &Route, host: &AbsPath) -> Option<AbsPath> {
        let there = route.is_host() || self.view.table().contains(Epoch(route.mount));
        if there { route.view_path(host) } else { None }
    }

    /// Where the path begins; `None` if only the kernel can say (a bad descriptor, a deleted directory).
    pub(crate) fn base(&self, arg: &PathArg) -> Result<Option<Base>, Errno> {
        if arg.is_absolute() && !arg.resolve.intersects(ResolveFlags::IN_ROOT | ResolveFlags::BENEATH) {
            let root = self.task.fs().root.read().clone();
            return Ok(Some(Base { view: root, host: Some(AbsPath::root()), removed: false }));
        }
        self.named(arg.dirfd, Wanted::Directory)
    }

    /// The directory of a descriptor, or the working directory.
    fn named(&self, dirfd: i32, wanted: Wanted) -> Result<Option<Base>, Errno> {
        let named = |view: Option<AbsPath>, host: AbsPath| {
            Some(Base { view: view.unwrap_or_else(|| host.clone()), host: Some(host), removed: false })
        };
        if dirfd == libc::AT_FDCWD {
            if let Ok(cwd) = self.cwd()
                && cwd.placeholder
            {
                return Ok(self.placeholder_of(cwd.object));
            }
            let Some(link) = self.told_name("cwd")? else { return Ok(None) };
            return Ok(match host_name(link) {
                Ok(host) => named(self.name_by(&self.task.fs().cwd_route.read(), &host), host),
                Err(_) => None,
            });
        }
        if let Some((known, base)) = &*self.begins.borrow()
            && *known == dirfd
        {
            return Ok(Some(base.clone()));
        }
        let Ok(fd) = self.task.descriptor(dirfd) else { return Ok(None) };
        let stat = sys::fstat(fd.as_fd())?;
        if wanted == Wanted::Directory && FileType::from_mode(stat.st_mode) != Some(FileType::Directory) {
            return Ok(None);
        }
        let object = (stat.st_dev, stat.st_ino);
        if let Some(base) = self.placeholder_of(object) {
            return Ok(Some(base));
        }
        if self.core.has_virtual_files()
            && let Some(lent) = self.lent(&self.task, dirfd, fd.as_fd(), object)
        {
            return Ok(Some(Base::lent(lent)));
        }
        let Some(link) = self.told_name(&format!("fd/{dirfd}"))? else { return Ok(None) };
        let Ok(host) = host_name(link) else { return Ok(None) };
        Ok(named(self.name_of(fd.as_fd(), &host), host))
    }

    /// The text of a magic link of the task. The kernel tells none that is longer than a page (`d_path`, `fs/d_path.c`), and is left to find its way
    /// from there: where no name reaches, nothing is mounted.
    pub(crate) fn told_name(&self, link: &str) -> Result<Option<Vec<u8>>, Errno> {
        match sys::read_link(self.task.proc()?, link) {
            Err(Errno::ENAMETOOLONG) => Ok(None),
            told => told.map(Some),
        }
    }

    /// The name in the view of an open host object, if it is not the host's.
    #[must_use]
    pub fn name_of(&self, fd: BorrowedFd<'_>, host: &AbsPath) -> Option<AbsPath> {
        let route = match sys::tag(fd) {
            Ok(0) => self.untagged_route(fd).or_else(|| self.opened_from_cwd(fd, host)),
            Ok(tag) => self.core.routes.find(tag, host),
            // O_PATH: the description has no room for a tag.
            Err(_) => sys::fstat(fd)
                .ok()
                .and_then(|stat| self.task.process.path_routes.find((stat.st_dev, stat.st_ino)))
                .or_else(|| self.opened_from_cwd(fd, host)),
        };
        self.name_by(&*route?, host)
    }

    /// The route of what had its tag taken off.
    fn untagged_route(&self, fd: BorrowedFd<'_>) -> Option<Arc<Route>> {
        let routes = &self.task.process.untagged_routes;
        if routes.is_empty() {
            return None;
        }
        let stat = sys::fstat(fd).ok()?;
        routes.find((stat.st_dev, stat.st_ino))
    }

    /// Whether kernel and view agree about what was opened as this descriptor.
    #[must_use]
    pub fn opened_natively(&self, fd: BorrowedFd<'_>) -> bool {
        sys::tag(fd) == Ok(0) && self.untagged_route(fd).is_none()
    }

    /// A file that the kernel opened by itself has no tag. If its process works inside a mount, and the file lies there, it was most likely
    /// opened from there. (Directories always get their tags.)
    fn opened_from_cwd(&self, fd: BorrowedFd<'_>, host: &AbsPath) -> Option<Arc<Route>> {
        let route = self.task.fs().cwd_route.read().clone();
        let in_proc = host.components().next() == Some(b"proc");
        // Terminals and other devices are inherited rather than opened.
        let kind = sys::file_type(fd);
        let untagged = !route.is_host()
            && !in_proc
            && matches!(kind, Ok(FileType::Regular | FileType::Symlink | FileType::Fifo | FileType::Socket));
        let name = if untagged { self.name_by(&route, host)? } else { return None };
        let same = self.layer.locate(&name, Purpose::Read).ok()? == Location::Host(host.clone());
        // Some objects are called by names that are no paths (a message queue's is `/NAME`); what is removed cannot be looked for.
        let stat = sys::fstat(fd).ok()?;
        let object = (stat.st_dev, stat.st_ino);
        let there = |found: OwnedFd| sys::fstat(found.as_fd()).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == object);
        let named = stat.st_nlink == 0 || sys::look_at(At::Root, host.as_bytes(), Final::Itself).is_ok_and(there);
        (same && named).then_some(route)
    }

    /// The name in the view of what a descriptor of ours stands for, if it is a placeholder, or lent and no longer the same.
    #[must_use]
    pub(crate) fn placeholder_name(&self, number: i32) -> Option<AbsPath> {
        let fd = self.task.descriptor(number).ok().filter(|_| self.core.has_virtual_files())?;
        let stat = sys::fstat(fd.as_fd()).ok()?;
        let object = (stat.st_dev, stat.st_ino);
        if let Some(base) = self.placeholder_of(object) {
            return (!base.removed).then_some(base.view);
        }
        self.lent(&self.task, number, fd.as_fd(), object)?.kept(self).cloned()
    }

    /// What the link of a descriptor of a task tells of a file that was removed: the name it had in the view, and that.
    #[must_use]
    pub(crate) fn removed_name(&self, task: &Task, number: i32) -> Option<AbsPath> {
        let fd = task.descriptor(number).ok()?;
        let Some(base) = self.placeholder(fd.as_fd()) else {
            if let Some(lent) = self.lent_by(task, number, fd.as_fd()) {
                let removed = lent.shows == Shows::Nothing;
                return removed.then(|| AbsPath::new([lent.name.as_bytes(), REMOVED].concat()).ok())?;
            }
            let link = sys::read_link(task.proc().ok()?, &format!("fd/{number}")).ok()?;
            let host = AbsPath::new(link.strip_suffix(REMOVED)?).ok()?;
            let name = self.name_of(fd.as_fd(), &host)?;
            return AbsPath::new([name.as_bytes(), REMOVED].concat()).ok();
        };
        base.removed.then(|| AbsPath::new([base.view.as_bytes(), REMOVED].concat()).ok())?
    }

    fn placeholder(&self, fd: BorrowedFd<'_>) -> Option<Base> {
        let stat = sys::fstat(fd).ok()?;
        self.placeholder_of((stat.st_dev, stat.st_ino))
    }

    fn placeholder_of(&self, (device, inode): Object) -> Option<Base> {
        let node = self.core.nodes.find(device, inode)?;
        let name = node.name();
        Some(Base { view: name.path, host: None, removed: name.removed })
    }

    /// The second look.
    fn by_text(&self, arg: &PathArg, base: &Base, need: Need) -> Result<ByText, Errno> {
        let mut name = base.view.clone();
        // What the kernel would reach, as long as it is known and not the same.
        let mut kernel = base.host.clone().filter(|host| *host != name);
        let known = base.host.is_some();
        let mut dots = false;
        if arg.has_dot_behind_a_name() {
            return Ok(ByText::Unclear);
        }
        for component in arg.components() {
            if component == b".." {
                dots = true;
                // Only where kernel and view agree on the directory do they agree on what is above it.
                let here = known
                    && self
                        .layer
                        .locate(&name, Purpose::Read)
                        .is_ok_and(|l| matches!(&l, Location::Host(host) if host == kernel.as_ref().unwrap_or(&name)));
                if !here || name.is_root() {
                    return Ok(ByText::Unclear);
                }
                name.pop();
                if let Some(kernel) = &mut kernel {
                    kernel.pop();
                }
            } else {
                if component.len() > vu_api::NAME_MAX {
                    return Ok(ByText::Unclear);
                }
                name.push(component);
                if let Some(kernel) = &mut kernel {
                    kernel.push(component);
                }
            }
        }
        let must_be_dir = arg.path.ends_with(b"/") || arg.path.ends_with(b"/.") || arg.path == b".";
        // Behind a slash a link is followed.
        let last = if arg.follow != Follow::Last && !must_be_dir { Final::Itself } else { Final::Refuse };
        let root = self.task.fs().root.read().is_root();
        match self.layer.locate(&name, Purpose::Read)? {
            Location::Host(host) => {
                let native = root && known && *kernel.as_ref().unwrap_or(&name) == host;
                let place = |found, handle| {
                    let location = Location::Host(host.clone());
                    let (name, file_type) = (name.clone(), None);
                    Place { name, location, found, handle, file_type, must_be_dir, native, opaque: false }
                };
                let same_name = native && host == name;
                let unheld = if native { need != Need::Name && host == name } else { need == Need::Path };
                // What is to be changed may be changed elsewhere, so what is there must be known.
                let looks = need.changes() && self.core.has_virtual_files();
                if unheld && !looks && !dots && !must_be_dir && self.is_clear(&host, last) {
                    // Whether it exists, the kernel will say.
                    return Ok(ByText::Place(place(true, None)));
                }
                if need == Need::Open
                    && !native
                    && !looks
                    && !dots
                    && !must_be_dir
                    && self.core.clear.knows(host.directory())
                {
                    // Where the way is clear, a look that holds nothing is enough, at half the cost.
                    return match sys::stat_at(Reach::Path(host.as_bytes()))
                        .map(|stat| FileType::from_mode(stat.st_mode))
                    {
                        Ok(Some(FileType::Symlink)) if last == Final::Refuse => Ok(ByText::Linked(name)),
                        Ok(file_type) => Ok(ByText::Place(Place { file_type, ..place(true, None) })),
                        Err(Errno::ENOENT) => Ok(ByText::Place(place(false, None))),
                        Err(errno) => Err(errno),
                    };
                }
                if same_name && self.agreed(arg, need) {
                    return Ok(ByText::Place(place(true, None)));
                }
                let looked = if dots && native {
                    // The text itself, since the components before a ".." must be directories, too.
                    let mut text = match &base.host {
                        Some(host) if !arg.is_absolute() => host.as_bytes().to_vec(),
                        _ => Vec::new(),
                    };
                    text.push(b'/');
                    text.extend_from_slice(&arg.path);
                    sys::look_at(At::Root, &text, last)
                } else if dots {
                    return Ok(ByText::Unclear);
                } else {
                    sys::look_at(At::Root, host.as_bytes(), last)
                };
                match looked {
                    Ok(handle) => {
                        if !dots {
                            self.note_clear(&host, last);
                        }
                        Ok(ByText::Place(place(true, Some(handle))))
                    }
                    Err(Errno::ELOOP) if dots => Ok(ByText::Unclear),
                    Err(Errno::ELOOP) => Ok(ByText::Linked(name)),
                    Err(Errno::ENOENT) => {
                        if !dots {
                            self.note_clear(&host, Final::Itself);
                        }
                        Ok(ByText::Place(place(false, None)))
                    }
                    // The kernel finds the same, and knows best which error comes first.
                    Err(_) if native => Ok(ByText::Place(place(false, None))),
                    Err(errno) => Err(errno),
                }
            }
            Location::Own => {
                if dots {
                    return Ok(ByText::Unclear);
                }
                let (found, handle) = match self.layer.probe(&name) {
                    Ok(Probe::Symlink) => return Ok(ByText::Unclear),
                    Ok(Probe::Found { file_type, handle }) => {
                        let file_type = match file_type {
                            Some(file_type) => file_type,
                            None => self.layer.stat(&name)?.file_type(),
                        };
                        if file_type == FileType::Symlink && last == Final::Refuse {
                            return Ok(ByText::Unclear);
                        }
                        if must_be_dir && file_type != FileType::Directory {
                            return Err(Errno::ENOTDIR);
                        }
                        (true, handle)
                    }
                    Err(Errno::ENOENT) => (false, None),
                    Err(errno) => return Err(errno),
                };
                let location = Location::Own;
                let (file_type, native) = (None, false);
                Ok(ByText::Place(Place {
                    name,
                    location,
                    found,
                    handle,
                    file_type,
                    must_be_dir,
                    native,
                    opaque: false,
                }))
            }
        }
    }

    /// Whether no symbolic link stands on the way to a path of the host, as far as it matters: the way was found clear a moment ago, and the last
    /// component is no link, or is not followed.
    fn is_clear(&self, name: &AbsPath, last: Final) -> bool {
        let clear = &self.core.clear;
        match last {
            Final::Itself => clear.knows(name.directory()),
            Final::Refuse => {
                clear.knows(name.as_bytes())
                    || clear.knows(name.directory()) && self.is_no_link(At::Root, name.as_bytes())
            }
        }
    }

    /// Whether the last component of a path is known not to be a symbolic link: it is something else, which is noted, or missing.
    fn is_no_link(&self, from: At<'_>, path: &[u8]) -> bool {
        match sys::last_type(from, path) {
            Ok(file_type) => {
                self.seen.set(Some(file_type));
                file_type != FileType::Symlink
            }
            Err(errno) => errno == Errno::ENOENT,
        }
    }

    /// Whether an absolute path, with the links on its way, was found to lead the kernel to what the view means. Its name is not known then.
    fn agreed(&self, arg: &PathArg, need: Need) -> bool {
        self.can_agree(arg)
            && matches!(need, Need::Object | Need::Path | Need::Open)
            && !self.core.has_listed_mounts()
            && self.core.clear.agree(&arg.path, self.seen())
    }

    fn can_agree(&self, arg: &PathArg) -> bool {
        // Where a mount keeps changes elsewhere, what the host's path leads to may not be what is meant a moment later.
        arg.is_absolute() && arg.follow == Follow::Last && arg.resolve.is_empty() && !self.core.has_virtual_files()
    }

    /// What a path with links on its way, in a mount, led to a moment ago, if the host's look-up of it leads there now: every directory on the way
    /// may still be searched, and the links lead where they led.
    fn walked_before(&self, arg: &PathArg, need: Need) -> Option<Place> {
        if !matches!(need, Need::Object | Need::Path | Need::Open) || !self.can_be_walked_before(arg) {
            return None;
        }
        let Walked { name, host, object } = self.core.clear.walked(&arg.path, self.seen())?;
        let text = AbsPath::new(&arg.path[..]).ok()?;
        let Ok(Location::Host(text)) = self.layer.locate(&text, Purpose::Read) else { return None };
        let handle = sys::open(text.as_bytes(), libc::O_PATH).ok()?;
        let stat = sys::fstat(handle.as_fd()).ok()?;
        ((stat.st_dev, stat.st_ino) == object).then(|| Place {
            name,
            location: Location::Host(host),
            found: true,
            handle: Some(handle),
            file_type: FileType::from_mode(stat.st_mode),
            must_be_dir: false,
            native: false,
            opaque: false,
        })
    }

    fn can_be_walked_before(&self, arg: &PathArg) -> bool {
        self.can_agree(arg)
            && !arg.path.ends_with(b"/")
            && arg.components().all(|name| name != b"..")
            && !self.core.has_listed_mounts()
            && !self.task.is_virtual()
            && self.task.fs().root.read().is_root()
    }

    pub(crate) fn seen(&self) -> Seen {
        Seen { view: Arc::as_ptr(&self.view).addr(), generation: self.generation }
    }

    fn note_clear(&self, name: &AbsPath, last: Final) {
        if last == Final::Refuse {
            self.core.clear.note(name.as_bytes());
        }
        self.core.clear.note(name.directory());
    }

    /// The third look.
    fn by_walk(&self, arg: &PathArg, base: &Base, linked: Option<AbsPath>) -> Result<Place, Failure> {
        let fs = self.task.fs();
        let root = fs.root.read().clone();
        let agrees = root.is_root() && base.host.as_ref() == Some(&base.view);
        let tree = ViewTree::new(self, base.view.clone(), agrees).with_link_to(linked);
        let options = Options { follow: arg.follow, empty: EmptyPath::Refuse, resolve: arg.resolve };
        let start = Start { root: &root, cwd: &base.view };
        let resolved = vu_path::resolve(&tree, &start, &arg.path, &options)
            .map_err(|errno| Failure { errno, kernel_agrees: tree.kernel_agrees() })?;
        let found = resolved.state != State::Missing;
        let location = self.layer.locate(&resolved.path, Purpose::Read)?;
        let native = tree.kernel_agrees() && location == Location::Host(resolved.path.clone());
        if native && !tree.is_personal() && self.can_agree(arg) {
            self.core.clear.note_agreed(&arg.path, self.seen());
        }
        let handle = match (&location, resolved.handle) {
            (Location::Host(host), None) if found && !resolved.opaque => {
                Some(sys::look_at(At::Root, host.as_bytes(), Final::Itself)?)
            }
            (_, handle) => handle,
        };
        if let (Location::Host(host), Some(handle)) = (&location, &handle)
            && *host != resolved.path
            && !tree.is_personal()
            && self.can_be_walked_before(arg)
        {
            let stat = sys::fstat(handle.as_fd())?;
            let (name, host, object) = (resolved.path.clone(), host.clone(), (stat.st_dev, stat.st_ino));
            self.core.clear.note_walked(&arg.path, self.seen(), Walked { name, host, object });
        }
        Ok(Place {
            name: resolved.path,
            location,
            found,
            handle,
            file_type: None,
            must_be_dir: resolved.must_be_dir,
            native,
            opaque: resolved.opaque,
        })
    }

    /// Whether an object may be written to, as far as its mount is concerned: that of a read-only one may not, but special
    /// files lead elsewhere (`sb_permission`, `fs/namei.c`).
    ///
    /// # Errors
    /// `EROFS`.
    pub fn may_write(&self, place: &Place) -> Result<Location, Errno> {
        match self.layer.locate(&place.name, Purpose::Change) {
            Err(Errno::EROFS) if place.found && self.is_special(place) => Ok(place.location.clone()),
            located => located,
        }
    }

    /// The same for the object of a descriptor.
    ///
    /// # Errors
    /// `EROFS`.
    pub fn may_change_descriptor(&self, number: i32) -> Result<(), Errno> {
        if !self.core.has_read_only_mounts() {
            return Ok(());
        }
        match self.named(number, Wanted::Any) {
            Ok(Some(base)) => self.layer.locate(&base.view, Purpose::Change).map(drop),
            // What has no name has no mount.
            _ => Ok(()),
        }
    }

    /// The mount of the view in which the object of a descriptor lies.
    #[must_use]
    pub(crate) fn mount_of_descriptor(&self, number: i32) -> Option<Arc<Mount>> {
        let base = self.named(number, Wanted::Any).ok()??;
        self.layer.mount_for(&base.view).map(|(mount, _)| mount)
    }

    fn is_special(&self, place: &Place) -> bool {
        place
            .file_type(self)
            .is_ok_and(|file_type| !matches!(file_type, FileType::Regular | FileType::Directory | FileType::Symlink))
    }

    /// The name in the view of the working directory; `None` if the kernel alone knows it.
    ///
    /// # Errors
    /// `ESRCH`.
    pub fn cwd_name(&self) -> Result<Option<AbsPath>, Errno> {
        match self.named(libc::AT_FDCWD, Wanted::Directory)? {
            Some(base) if base.removed => Err(Errno::ENOENT),
            base => Ok(base.map(|base| base.view)),
        }
    }

    /// The name in the view of a descriptor of a task; `None` if it has none, or the host's name is right.
    #[must_use]
    pub fn descriptor_name(&self, task: &Task, number: i32) -> Option<AbsPath> {
        let fd = task.descriptor(number).ok()?;
        match host_name(sys::read_link(task.proc().ok()?, &format!("fd/{number}")).ok()?) {
            Ok(host) => self.name_of(fd.as_fd(), &host),
            Err(_) => self.placeholder(fd.as_fd()).map(|base| base.view),
        }
    }
}
