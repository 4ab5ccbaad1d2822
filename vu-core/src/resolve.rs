//! What a path argument of a tracee means.
//!
//! The question behind every path call is: does the kernel's own look-up lead to the object the view means? If so the call runs as it is, with no difference
//! to a program outside. Three looks answer it, the cheapest first:
//!
//! 1. `kernel_is_right` (`kernel.rs`): a relative path that starts at a directory where kernel and view agree, has no `..`, touches no name of a mount point and no
//!    symbolic link, stays where they agree. At most one system call.
//! 2. `by_text` (`text.rs`): a path without symbolic links is its own canonical name, so the text alone says which mount it belongs to; one
//!    `openat2(RESOLVE_NO_SYMLINKS)` proves it.
//! 3. `by_walk`, below: component by component (`vu-path`), through symbolic links, magic links and mounts.

mod base;
mod kernel;
mod text;

use crate::{
    call::Call,
    clear::Walked,
    debug::Tag,
    mount::Mount,
    sys::{self, At, Final, Reach},
    tree::ViewTree,
};
pub(crate) use base::Base;
use base::Wanted;
use smallvec::SmallVec;
use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};
use vu_api::{AbsPath, Caller, Errno, FileType, Filesystem, Location, Purpose, capability};
use vu_path::{EmptyPath, Follow, Options, ResolveFlags, Start, State};

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

    /// Whether what is done next is done to the name, and not to what was found.
    fn is_of_the_name(self) -> bool {
        self.changes() || self == Need::Name
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
    /// If it does not, as [`must_exist`](Self::must_exist).
    pub fn existing(self, call: &Call<'_>) -> Result<Place, Errno> {
        self.must_exist(call).map(|()| self)
    }

    /// What a slash follows must be a directory.
    ///
    /// # Errors
    /// `ENOTDIR`; those of stat(2).
    pub fn must_suit_slash(&self, call: &Call<'_>) -> Result<(), Errno> {
        if self.must_be_dir && self.file_type(call)? != FileType::Directory { Err(Errno::ENOTDIR) } else { Ok(()) }
    }

    /// The object must exist.
    ///
    /// # Errors
    /// If it does not, what is wrong with the way there, or `ENOENT`.
    pub fn must_exist(&self, call: &Call<'_>) -> Result<(), Errno> {
        match &self.location {
            _ if self.found => Ok(()),
            // The look-up would have failed by anything else.
            Location::Host(_) if !self.native => Err(Errno::ENOENT),
            _ => Err(call.layer.stat(&self.name).err().unwrap_or(Errno::ENOENT)),
        }
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
    /// Those of path_resolution(7); `EBADF`, `ENOTDIR` or `ENOENT` where the kernel would find that the start is none.
    pub fn place(&self, arg: &PathArg) -> Result<Place, Errno> {
        match self.look_up(arg, Need::Name) {
            Ok(Meaning::Place(place)) => Ok(place),
            Ok(Meaning::Kernel) => Err(self.wrong_with_start(arg).unwrap_or(Errno::ENOENT)),
            Err(failure) => Err(failure.errno),
        }
    }

    /// Why a path cannot begin at its descriptor (`path_init`, `fs/namei.c`).
    pub(crate) fn wrong_with_start(&self, arg: &PathArg) -> Option<Errno> {
        if arg.path.is_empty() || arg.is_absolute() || arg.dirfd == libc::AT_FDCWD {
            return None;
        }
        match self.task.descriptor(arg.dirfd).map(|fd| sys::file_type(fd.as_fd())) {
            Ok(Ok(FileType::Directory)) => None,
            Ok(_) => Some(Errno::ENOTDIR),
            Err(_) => Some(Errno::EBADF),
        }
    }

    /// As [`place`](Self::place), of what must be there.
    ///
    /// # Errors
    /// The same; what is wrong with the way there, or `ENOENT`.
    pub fn object(&self, arg: &PathArg) -> Result<Place, Errno> {
        self.place(arg)?.existing(self)
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
}
