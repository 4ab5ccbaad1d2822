//! The map from placeholders to what they stand for.

use crate::{
    placeholder::{self, Store},
    watch::{End, Watcher},
};
use ahash::AHashMap;
use nix::{
    sys::inotify::WatchDescriptor,
    time::{ClockId, clock_gettime},
};
use parking_lot::Mutex;
use std::{
    collections::HashSet,
    os::fd::OwnedFd,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use vu_api::{AbsPath, Errno, File, OpenFlags};

/// The virtual open files of a hypervisor.
///
/// Locks: `live`, and each node's name; each is held for one look or exchange, never both, and no [`File`] is called, nor dropped, meanwhile.
#[derive(Default)]
pub struct Nodes {
    /// Made at the first open: a view without virtual files needs no tmpfs and no watcher.
    backend: OnceLock<Backend>,
    /// How many were opened.
    opened: AtomicU64,
}

/// A virtual open file.
pub struct Node {
    /// What it is.
    pub file: Arc<dyn File>,
    /// The epoch of its mount.
    pub mount_epoch: u64,
    name: Mutex<Name>,
    held_as: HeldAs,
    /// How many were opened before.
    number: u64,
}

/// A moment: what was opened before it, and what after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

/// What a placeholder is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldAs {
    /// A descriptor, which holds the file's mount.
    Descriptor,
    /// A working directory, which does not.
    WorkingDirectory,
}

/// What a file is called in the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The path under which it was opened, or the one it was given since, or the last it had.
    pub path: AbsPath,
    /// Whether it was removed.
    pub removed: bool,
}

impl Node {
    /// What it is called in the view.
    #[must_use]
    pub fn name(&self) -> Name {
        self.name.lock().clone()
    }
}

struct Backend {
    store: Store,
    watcher: Watcher,
    live: Mutex<Live>,
    /// When it was last asked who is dead, in milliseconds.
    asked: AtomicU64,
}

/// How long, in milliseconds, a look-up does without asking who is dead.
const PATIENCE: u64 = 10;

/// The nodes whose placeholder lives, or whose end has not been looked at yet.
#[derive(Default)]
struct Live {
    by_ino: AHashMap<u64, (Option<WatchDescriptor>, Arc<Node>)>,
    /// Those whose watches have descriptors.
    by_watch: AHashMap<WatchDescriptor, u64>,
}

impl Nodes {
    /// No files yet.
    #[must_use]
    pub fn new() -> Nodes {
        Nodes::default()
    }

    /// Makes a placeholder for `file`: a new open file description, close-on-exec in the hypervisor. Of `flags` it bears those
    /// that `F_GETFL` shows of a directory.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if no tmpfs is there to make it on, `ENFILE` if the user's inotify watches are used up (each is
    /// said in the log); `EMFILE`, `ENFILE`, `ENOMEM`, `ENOSPC` of the host.
    pub fn open(
        &self,
        file: Arc<dyn File>,
        flags: OpenFlags,
        mount_epoch: u64,
        view_path: AbsPath,
        held_as: HeldAs,
    ) -> Result<OwnedFd, Errno> {
        let backend = self.made_backend()?;
        // Opening is when the map grows, so here it is kept from growing without end.
        backend.forget_the_dead_now_and_then();
        let (fd, ino) = backend.store.open(flags)?;
        let name = Mutex::new(Name { path: view_path, removed: false });
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        backend.remember(&fd, ino, Node { file, mount_epoch, name, held_as, number })?;
        Ok(fd)
    }

    /// What the object with these numbers of stat(2) stands for; `None` if it is not a placeholder.
    #[must_use]
    pub fn find(&self, dev: u64, ino: u64) -> Option<Arc<Node>> {
        // Every fstat of a host file comes by here: it ends at the comparison of the device.
        let backend = self.backend.get().filter(|backend| backend.store.dev() == dev)?;
        backend.forget_the_dead_now_and_then();
        backend.live.lock().by_ino.get(&ino).map(|(_, node)| node.clone())
    }

    /// Whether a virtual file of this mount is open.
    #[must_use]
    pub fn busy(&self, mount_epoch: u64) -> bool {
        self.backend.get().is_some_and(|backend| {
            backend.forget_the_dead();
            let open = |node: &Node| node.mount_epoch == mount_epoch && node.held_as == HeldAs::Descriptor;
            backend.live.lock().by_ino.values().any(|(_, node)| open(node))
        })
    }

    /// This moment.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment(self.opened.load(Ordering::Relaxed))
    }

    /// A directory of the view got another name: what is open there is known by that from now on. What `to` was before is gone, or, if both were
    /// exchanged, is `from` now. It began at `begin`: what was opened as `to` since is what was renamed.
    pub fn renamed(&self, from: &AbsPath, to: &AbsPath, exchanged: bool, begin: Moment) {
        self.each(|number, name| {
            if let Some(new) = name.path.rebase(from, to) {
                name.path = new;
            } else if let Some(new) = name.path.rebase(to, from) {
                if exchanged {
                    name.path = new;
                } else {
                    name.removed = number < begin.0;
                }
            }
        });
    }

    /// A directory of the view was removed.
    pub fn removed(&self, path: &AbsPath) {
        self.each(|_, name| name.removed |= name.path == *path);
    }

    /// Visits the names of those that were not removed.
    fn each(&self, change: impl Fn(u64, &mut Name)) {
        let Some(backend) = self.backend.get() else { return };
        let nodes: Vec<Arc<Node>> = backend.live.lock().by_ino.values().map(|(_, node)| node.clone()).collect();
        for node in nodes {
            let mut name = node.name.lock();
            if !name.removed {
                change(node.number, &mut name);
            }
        }
    }

    /// What the user has too many of now, he may have less of the next time.
    fn made_backend(&self) -> Result<&Backend, Errno> {
        match self.backend.get() {
            Some(backend) => Ok(backend),
            None => {
                let backend = Backend::new()?;
                Ok(self.backend.get_or_init(|| backend))
            }
        }
    }
}

impl Backend {
    fn new() -> Result<Backend, Errno> {
        let store = Store::find()?;
        let watcher = Watcher::new().map_err(|errno| {
            tracing::error!(
                "cannot watch virtual directories: inotify_init: {errno}; raise fs.inotify.max_user_instances"
            );
            placeholder::errno(errno)
        })?;
        Ok(Backend::with(store, watcher))
    }

    fn with(store: Store, watcher: Watcher) -> Backend {
        Backend { store, watcher, live: Mutex::default(), asked: AtomicU64::new(0) }
    }

    fn remember(&self, fd: &OwnedFd, ino: u64, node: Node) -> Result<(), Errno> {
        let mut live = self.live.lock();
        let watch = self.watcher.watch(fd).map_err(|errno| {
            let limit = self.watcher.limit();
            tracing::error!("cannot watch a virtual directory: {errno}; raise {limit}");
            match errno {
                // "The user limit on watches was reached": for the tracee, a limit on open files.
                nix::Error::ENOSPC => Errno::ENFILE,
                other => placeholder::errno(other),
            }
        })?;
        let stale = live.by_ino.insert(ino, (watch, Arc::new(node)));
        if let Some((Some(stale), _)) = &stale {
            live.by_watch.remove(stale);
        }
        if let Some(watch) = watch {
            live.by_watch.insert(watch, ino);
        }
        drop(live);
        drop(stale);
        Ok(())
    }

    /// The same, unless it was done a moment ago. A number may come back after its object is gone, but not in such a time: even where they have
    /// 32 bits only, all others come before it (`get_next_ino`, fs/inode.c).
    fn forget_the_dead_now_and_then(&self) {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_or(Duration::MAX, Duration::from);
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        if now.saturating_sub(self.asked.load(Ordering::Relaxed)) >= PATIENCE {
            self.asked.store(now, Ordering::Relaxed);
            self.forget_the_dead();
        }
    }

    /// Drops the nodes whose last descriptor is gone.
    fn forget_the_dead(&self) {
        let mut dead = Vec::new();
        let mut live = self.live.lock();
        for end in self.watcher.ends() {
            match end {
                End::Of(watch) => dead.extend(live.remove(watch)),
                End::OfSome => dead.extend(live.retain(&self.watcher.watched())),
            }
        }
        // A file may do work when it is dropped: not under the lock.
        drop(live);
        drop(dead);
    }
}

impl Live {
    fn remove(&mut self, watch: WatchDescriptor) -> Option<Arc<Node>> {
        let ino = self.by_watch.remove(&watch)?;
        self.by_ino.remove(&ino).map(|(_, node)| node)
    }

    /// Keeps the nodes with these inode numbers; returns the others.
    fn retain(&mut self, inos: &HashSet<u64>) -> Vec<Arc<Node>> {
        let mut gone = Vec::new();
        self.by_ino.retain(|ino, (watch, node)| {
            let kept = inos.contains(ino);
            if !kept {
                if let Some(watch) = watch {
                    self.by_watch.remove(watch);
                }
                gone.push(node.clone());
            }
            kept
        });
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::{
        fcntl::{AT_FDCWD, AtFlags, FcntlArg, OFlag, fcntl, openat},
        sys::stat::{Mode, fstat, mkdirat},
        unistd::{Whence, lseek64},
    };
    use std::{
        fs,
        os::{fd::AsFd, unix::fs::OpenOptionsExt},
        sync::Weak,
    };
    use vu_api::Stat;

    /// A file known by its inode number.
    struct Numbered(u64);

    impl File for Numbered {
        fn stat(&self) -> Result<Stat, Errno> {
            Ok(Stat { ino: self.0, ..Stat::default() })
        }
    }

    fn open(nodes: &Nodes, number: u64, epoch: u64) -> OwnedFd {
        let path = AbsPath::new(format!("/dir/{number}")).unwrap();
        nodes.open(Arc::new(Numbered(number)), OpenFlags::DIRECTORY, epoch, path, HeldAs::Descriptor).unwrap()
    }

    fn find(nodes: &Nodes, fd: &impl AsFd) -> Option<Arc<Node>> {
        let stat = fstat(fd).unwrap();
        nodes.find(stat.st_dev, stat.st_ino)
    }

    #[test]
    fn each_placeholder_is_found_by_its_inode() {
        let nodes = Nodes::new();
        let fds: Vec<_> = (0..100).map(|number| open(&nodes, number, 1)).collect();
        for (number, fd) in (0..).zip(&fds) {
            let node = find(&nodes, fd).unwrap();
            assert_eq!(node.file.stat().unwrap().ino, number);
            assert_eq!(node.name().path, AbsPath::new(format!("/dir/{number}")).unwrap());
        }
        let host = fs::File::open("/").unwrap();
        assert!(find(&nodes, &host).is_none());
    }

    #[test]
    fn names_follow_what_is_renamed() {
        let nodes = Nodes::new();
        let path = |text: &str| AbsPath::new(text).unwrap();
        let (inner, other) = (open(&nodes, 1, 1), open(&nodes, 2, 1));
        let names =
            || [&inner, &other].map(|fd| find(&nodes, fd).unwrap().name()).map(|name| (name.path, name.removed));
        nodes.renamed(&path("/dir/1"), &path("/x"), false, nodes.now());
        assert_eq!(names(), [(path("/x"), false), (path("/dir/2"), false)]);
        nodes.renamed(&path("/dir"), &path("/x"), true, nodes.now());
        assert_eq!(names(), [(path("/dir"), false), (path("/x/2"), false)]);
        nodes.removed(&path("/dir"));
        nodes.renamed(&path("/y"), &path("/x/2"), false, nodes.now());
        nodes.renamed(&path("/dir"), &path("/z"), false, nodes.now());
        assert_eq!(names(), [(path("/dir"), true), (path("/x/2"), true)]);
        let begin = nodes.now();
        let new = open(&nodes, 3, 1);
        nodes.renamed(&path("/y"), &path("/dir/3"), false, begin);
        assert!(!find(&nodes, &new).unwrap().name().removed, "that is what has the name now");
    }

    #[test]
    fn it_lives_as_long_as_its_last_descriptor() {
        let nodes = Nodes::new();
        let file = Arc::new(Numbered(1));
        let weak: Weak<Numbered> = Arc::downgrade(&file);
        let fd = nodes.open(file, OpenFlags::empty(), 7, AbsPath::root(), HeldAs::Descriptor).unwrap();
        let copy = fd.try_clone().unwrap();
        drop(fd);
        assert!(nodes.busy(7) && !nodes.busy(8) && find(&nodes, &copy).is_some());
        drop(copy);
        assert!(!nodes.busy(7));
        assert_eq!(weak.strong_count(), 0, "the file is dropped with its node");
    }

    #[test]
    fn fanotify_does_for_inotify() {
        let nodes = Nodes::new();
        let Ok(watcher) = Watcher::by_fanotify() else {
            return eprintln!("not tested: a container's rules forbid fanotify here");
        };
        assert!(nodes.backend.set(Backend::with(Store::find().unwrap(), watcher)).is_ok());
        let fds: Vec<_> = (0..100).map(|number| open(&nodes, number, number)).collect();
        let copies: Vec<_> = fds.iter().step_by(2).map(|fd| fd.try_clone().unwrap()).collect();
        drop(fds);
        assert!((0..100).all(|number| nodes.busy(number) == (number % 2 == 0)));
        for (number, fd) in (0..).step_by(2).zip(&copies) {
            assert_eq!(find(&nodes, fd).unwrap().file.stat().unwrap().ino, number);
        }
        drop(copies);
        assert!(!nodes.busy(0) && nodes.backend.get().unwrap().live.lock().by_ino.is_empty());
    }

    #[test]
    fn it_is_a_dead_directory_whose_offset_is_free() {
        let nodes = Nodes::new();
        let fd = open(&nodes, 1, 1);
        assert_eq!(mkdirat(&fd, "x", Mode::S_IRWXU), Err(nix::Error::ENOENT));
        assert_eq!(
            openat(&fd, "..", OFlag::O_RDONLY, Mode::empty()).err(),
            None,
            "the way up is the kernel's: intercept it"
        );
        assert_eq!(openat(&fd, "x", OFlag::O_CREAT | OFlag::O_WRONLY, Mode::S_IRWXU).err(), Some(nix::Error::ENOENT));
        let end = (1 << 62) - 1;
        assert_eq!(lseek64(&fd, end, Whence::SeekSet), Ok(end));
        assert_eq!(fstat(&fd).unwrap().st_mode & 0o777, 0o555, "whatever user the tracee is, it may fchdir");
    }

    #[test]
    fn flags_show_in_the_descriptor() {
        let nodes = Nodes::new();
        let flags_of = |flags| {
            let fd = nodes.open(Arc::new(Numbered(1)), flags, 1, AbsPath::root(), HeldAs::Descriptor).unwrap();
            assert!(find(&nodes, &fd).is_some());
            OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL).unwrap())
        };
        for shown in [OpenFlags::empty(), OpenFlags::DIRECTORY, OpenFlags::NOFOLLOW] {
            let expected = OFlag::O_PATH | OFlag::from_bits_retain(shown.bits());
            assert_eq!(flags_of(OpenFlags::PATH | shown), expected);
        }
        assert!(flags_of(OpenFlags::NONBLOCK).contains(OFlag::O_NONBLOCK));
        assert!(!flags_of(OpenFlags::empty()).intersects(OFlag::O_PATH | OFlag::O_NONBLOCK | OFlag::O_ACCMODE));
        let host = fs::OpenOptions::new().read(true).custom_flags(OFlag::O_APPEND.bits()).open("/").unwrap();
        let of_host = OFlag::from_bits_retain(fcntl(&host, FcntlArg::F_GETFL).unwrap());
        assert_eq!(flags_of(OpenFlags::APPEND).contains(OFlag::O_APPEND), of_host.contains(OFlag::O_APPEND));
        // What makes or cuts off a file does not reach the host's open, which would refuse it for a directory.
        assert!(!flags_of(OpenFlags::CREAT | OpenFlags::TRUNC).intersects(OFlag::O_APPEND | OFlag::O_ACCMODE));
    }

    #[test]
    fn nothing_is_left_behind() {
        let nodes = Nodes::new();
        let fd = open(&nodes, 1, 1);
        let name = fs::read_link(placeholder::link_to(&fd)).unwrap();
        let name = name.to_str().unwrap().strip_suffix(" (deleted)").expect("removed").to_owned();
        // Those of another test may have the same name for the moment that they have one.
        let gone = || {
            let found = nix::sys::stat::fstatat(AT_FDCWD, name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
            found.err() == Some(nix::Error::ENOENT)
        };
        let mut looks = (0..1000).map(|look| std::thread::sleep(std::time::Duration::from_millis(look.min(1))));
        assert!(gone() || looks.any(|()| gone()), "{name}");
    }

    #[test]
    fn threads_do_not_mix_up_files() {
        let nodes = Nodes::new();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let nodes = &nodes;
                scope.spawn(move || {
                    for number in 0..200 {
                        let fd = open(nodes, thread << 32 | number, thread);
                        assert_eq!(find(nodes, &fd).unwrap().file.stat().unwrap().ino, thread << 32 | number);
                    }
                });
            }
        });
        assert!((0..4).all(|epoch| !nodes.busy(epoch)));
    }

    #[test]
    fn after_an_overflow_of_events_the_kernel_is_asked() {
        let nodes = Nodes::new();
        let (kept, gone) = (open(&nodes, 1, 1), open(&nodes, 2, 2));
        drop(gone);
        let backend = nodes.backend.get().unwrap();
        let watched = backend.watcher.watched();
        assert_eq!(watched, HashSet::from([fstat(&kept).unwrap().st_ino]));
        let removed = backend.live.lock().retain(&watched);
        assert_eq!(removed.iter().map(|node| node.mount_epoch).collect::<Vec<_>>(), [2]);
    }
}
