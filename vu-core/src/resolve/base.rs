//! Where paths begin, and what the directories and files that a task holds are called in the view.

use super::PathArg;
use crate::{
    call::Call,
    keep::Kept,
    lent::Lent,
    route::Route,
    sys::{self, At, Final},
    task::{Cwd, Object, REMOVED, Task, host_name},
};
use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};
use vu_api::{AbsPath, Errno, FileType, Filesystem, Location, Purpose, Shows};
use vu_path::{Epoch, ResolveFlags};

/// Which descriptors are asked for their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Directories; the kernel refuses to begin a path at others.
    Directory,
    /// Any.
    Any,
}

/// Where relative paths begin.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    /// The name in the view.
    pub view: AbsPath,
    /// The name on the host of what the kernel holds; `None` for a placeholder.
    pub host: Option<AbsPath>,
    /// Whether it stands for a directory that was removed: only the way up leads anywhere.
    pub(super) removed: bool,
}

impl Base {
    pub(super) fn lent(lent: Lent) -> Base {
        let removed = lent.shows == Shows::Nothing;
        Base { view: lent.name, host: Some(lent.host), removed }
    }
}

impl Call<'_> {
    /// Where the path begins; `None` if only the kernel can say (a bad descriptor, a deleted directory).
    pub(crate) fn base(&self, arg: &PathArg) -> Result<Option<Base>, Errno> {
        if arg.is_absolute() && !arg.resolve.intersects(ResolveFlags::IN_ROOT | ResolveFlags::BENEATH) {
            let root = self.task.fs().root.read().clone();
            return Ok(Some(Base { view: root, host: Some(AbsPath::root()), removed: false }));
        }
        self.named(arg.dirfd, Wanted::Directory)
    }

    /// The directory of a descriptor, or the working directory.
    pub(super) fn named(&self, dirfd: i32, wanted: Wanted) -> Result<Option<Base>, Errno> {
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
        let fd = match self.task.descriptor(dirfd) {
            Ok(fd) => fd,
            Err(errno) if errno.is_no_answer() => return Err(errno),
            Err(_) => return Ok(None),
        };
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

    /// The working directory, if it is a placeholder, and its name.
    pub(crate) fn cwd_placeholder(&self) -> Option<(Object, AbsPath)> {
        let cwd = self.cwd().ok().filter(|cwd| cwd.placeholder)?;
        let base = self.placeholder_of(cwd.object).filter(|base| !base.removed)?;
        Some((cwd.object, base.view))
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

    /// The text of a magic link of the task. The kernel tells none that is longer than a page (`d_path`, `fs/d_path.c`), and is left to find its way
    /// from there: where no name reaches, nothing is mounted.
    pub(crate) fn told_name(&self, link: &str) -> Result<Option<Vec<u8>>, Errno> {
        match sys::read_link(self.task.proc()?, link) {
            Err(Errno::ENAMETOOLONG) => Ok(None),
            told => told.map(Some),
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

    /// The name in the view of an open host object, if it is not the host's.
    #[must_use]
    pub fn name_of(&self, fd: BorrowedFd<'_>, host: &AbsPath) -> Option<AbsPath> {
        let route = match sys::tag(fd) {
            Ok(0) => self.untagged_route(fd).or_else(|| self.opened_from_cwd(fd, host)),
            Ok(tag) => self.tagged_route(tag, host),
            // O_PATH: the description has no room for a tag.
            Err(_) => sys::fstat(fd)
                .ok()
                .and_then(|stat| self.task.process.path_routes.find((stat.st_dev, stat.st_ino)))
                .or_else(|| self.opened_from_cwd(fd, host)),
        };
        self.name_by(&*route?, host)
    }

    /// The name in the view by a route. When its mount is gone, so is its name; what is open goes on by the host's.
    pub(crate) fn name_by(&self, route: &Route, host: &AbsPath) -> Option<AbsPath> {
        let there = route.is_host() || self.view.table().contains(Epoch(route.mount));
        if there { route.view_path(host) } else { None }
    }

    /// The route by which a name of the view leads to a name of the host.
    #[must_use]
    pub fn route(&self, name: &AbsPath, host: &AbsPath) -> Route {
        let mount = self.layer.mount_for(name).map_or(0, |(mount, _)| mount.epoch.0);
        Route::between(name, host, mount)
    }

    /// The route of what is open with this tag.
    pub(crate) fn tagged_route(&self, tag: i32, host: &AbsPath) -> Option<Arc<Route>> {
        let table = self.view.table();
        self.core.routes.find(tag, host, |mount| table.contains(Epoch(mount)))
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

    /// The route by which the working directory leads to the host; that of a placeholder, by which what it stands for does, as far as that is one directory.
    fn route_of_cwd(&self) -> Arc<Route> {
        match self.cwd_placeholder().map(|(_, name)| (self.layer.locate(&name, Purpose::Read), name)) {
            Some((Ok(Location::Host(host)), name)) => Arc::new(self.route(&name, &host)),
            _ => self.task.fs().cwd_route.read().clone(),
        }
    }

    /// A file that the kernel opened by itself has no tag. If its process works inside a mount, and the file lies there, it was most likely
    /// opened from there. (Directories always get their tags.)
    fn opened_from_cwd(&self, fd: BorrowedFd<'_>, host: &AbsPath) -> Option<Arc<Route>> {
        let route = self.route_of_cwd();
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

    pub(super) fn placeholder(&self, fd: BorrowedFd<'_>) -> Option<Base> {
        let stat = sys::fstat(fd).ok()?;
        self.placeholder_of((stat.st_dev, stat.st_ino))
    }

    pub(super) fn placeholder_of(&self, (device, inode): Object) -> Option<Base> {
        let node = self.core.nodes.find(device, inode)?;
        let name = node.name();
        Some(Base { view: name.path, host: None, removed: name.removed })
    }
}
