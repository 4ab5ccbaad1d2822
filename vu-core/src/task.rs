//! What the hypervisor keeps for each thread and process of the view.
//!
//! Little: descriptors, working directory, umask and, as long as no module makes it virtual, identity are the kernel's. Kept are the virtual root and the route of the working
//! directory, shared as the kernel shares them (`CLONE_FS`), the view, and handles by which the process is reached.

use crate::{
    control::StackChoice,
    debug::{Override, Tag},
    identity::Held,
    keep::{Keep, Kept},
    lent::Listings,
    mapped::OpenedFiles,
    modest::{Asked, Program},
    route::Route,
    sys,
    view::View,
};
use ahash::AHashMap;
use parking_lot::{Mutex, RwLock};
use std::{
    fmt,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering},
    },
};
use vu_api::{AbsPath, Caller, Credentials, Errno, Family, Stack, capability};
use vu_trace::{Appearance, Birth, Death, Naming, Parent, ProcessMemory, Tid};

/// A thread of the view.
pub struct Task {
    /// Its id.
    pub tid: Tid,
    /// Its process.
    pub process: Arc<Process>,
    fs: RwLock<Arc<FsContext>>,
    view: RwLock<Arc<Inhabited>>,
    /// Its default network stacks, newest last.
    stacks: RwLock<Vec<StackChoice>>,
    /// Debug categories of its own.
    debug: RwLock<Override>,
    /// The number of its last call that was decided about, if that may sleep in the kernel, so that a signal may interrupt it; negative if not.
    sleeps_in: AtomicI64,
    /// Whether its ids for files may differ from its effective ones.
    own_fs_ids: AtomicBool,
    /// Whether the filter for calls with paths is there.
    heard: AtomicBool,
    /// Whether it has namespaces of its own, or is restricted by Landlock: what the hypervisor can do is not what it can.
    apart: Apart,
    /// Who it is where identities are virtual.
    pub(crate) identity: Held,
    /// What the tracer knows of it that the kernel tells otherwise.
    appearance: RwLock<Appearance>,
    held: Keep,
}

/// A host object: device and inode number.
pub type Object = (u64, u64);

/// A process of the view.
pub struct Process {
    /// Its id.
    pub id: Tid,
    pidfd: Keep,
    /// The name in the view of the program it executes, if the host's differs.
    executable: Mutex<Option<AbsPath>>,
    /// The routes of directories opened with `O_PATH`, whose descriptions have no room for a tag, by device and inode number; oldest first.
    pub path_routes: ObjectRoutes,
    /// The same of what had its tag taken off, for the signal number of a lease or of news of a directory is the program's.
    pub untagged_routes: ObjectRoutes,
    /// By which routes it has opened files lately.
    opened: Mutex<OpenedFiles>,
    /// Its listings of directories that unions lent it, and changed since.
    pub listings: Listings,
    /// Whether the calls that carry message headers are intercepted in it.
    watches_messages: AtomicBool,
    /// Whether the calls that tell attributes of what is open are intercepted in it, though they are not in others.
    watches_stat: AtomicBool,
    /// Whether its program was given a C library with an agent (`agents.rs`), which has not been switched off.
    pub(crate) agent: AtomicBool,
    /// What its program has asked for.
    pub(crate) asked: Asked,
    /// The program that it is about to execute, and the one that it executes; 0 where that is not known.
    next_program: AtomicU64,
    pub(crate) program: AtomicU64,
    /// What is known of the program that it is about to execute.
    next_executable: Mutex<Next>,
}

/// The routes of some objects, by device and inode number; oldest first.
#[derive(Default)]
pub struct ObjectRoutes(Mutex<Vec<(Object, Arc<Route>)>>);

impl ObjectRoutes {
    /// Of more the oldest are forgotten, and go by the name on the host.
    const MOST: usize = 64;

    /// Notes by which route an object was opened.
    pub fn note(&self, object: Object, route: Arc<Route>) {
        let mut routes = self.0.lock();
        routes.retain(|(known, _)| *known != object);
        if routes.len() == Self::MOST {
            routes.remove(0);
        }
        routes.push((object, route));
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// The route of an object, if it is known.
    #[must_use]
    pub fn find(&self, object: Object) -> Option<Arc<Route>> {
        self.0.lock().iter().find(|(known, _)| *known == object).map(|(_, route)| route.clone())
    }

    fn copy(&self, other: &ObjectRoutes) {
        let routes = other.0.lock().clone();
        *self.0.lock() = routes;
    }
}

/// Whether a task can do what the hypervisor can, found out when it is asked for.
#[derive(Default)]
struct Apart(AtomicU8);

impl Apart {
    const NO: u8 = 1;
    const YES: u8 = 2;

    fn known() -> Apart {
        Apart(AtomicU8::new(Apart::YES))
    }

    fn copy(&self) -> Apart {
        Apart(AtomicU8::new(self.0.load(Ordering::Relaxed)))
    }

    fn set(&self) {
        self.0.store(Apart::YES, Ordering::Relaxed);
    }

    fn get_or_find(&self, find: impl FnOnce() -> bool) -> bool {
        match self.0.load(Ordering::Relaxed) {
            Apart::NO => false,
            Apart::YES => true,
            _ => {
                let apart = find();
                let found = if apart { Apart::YES } else { Apart::NO };
                // Who was set apart meanwhile stays so.
                let _ = self.0.compare_exchange(0, found, Ordering::Relaxed, Ordering::Relaxed);
                self.0.load(Ordering::Relaxed) == Apart::YES
            }
        }
    }
}

/// A view in which tasks live; when the last of them is gone, it ends.
struct Inhabited(Arc<View>);

impl Drop for Inhabited {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Root and working directory, shared among tasks as `struct fs_struct` is in the kernel.
pub struct FsContext {
    /// The virtual root, in the view.
    pub root: RwLock<AbsPath>,
    /// The route of the kernel's working directory.
    pub cwd_route: RwLock<Arc<Route>>,
    /// What is known of the working directory, until it changes.
    cwd: Mutex<Option<Cwd>>,
    /// The umask, once it is known.
    umask: Mutex<Option<u32>>,
}

/// The working directory, held.
#[derive(Clone)]
pub struct Cwd {
    /// An `O_PATH` descriptor of it.
    pub fd: Arc<Kept>,
    /// The state of the mount table for which [`natural`](Self::natural) was found out.
    pub epoch: u64,
    /// Whether the view means by this directory what the kernel holds.
    pub natural: bool,
    /// Whether the view means by its name on the host what the kernel holds, too, so that it does not matter by which name it was entered.
    pub plain: bool,
    /// Its name on the host; `None` if it has none.
    pub host: Option<AbsPath>,
    /// Which object it is.
    pub object: Object,
    /// Whether it lies in `/proc`.
    pub in_proc: bool,
    /// Whether it stands for a directory of the view that no host's directory can stand for.
    pub placeholder: bool,
}

/// Whether a birth gives the new task namespaces in which it finds other files, or may do what its maker may not.
pub(crate) fn sets_apart(birth: &Birth) -> bool {
    birth.flags & u64::from((libc::CLONE_NEWNS | libc::CLONE_NEWUSER).unsigned_abs()) != 0
}

fn host_route() -> Arc<Route> {
    Arc::new(Route::of_host())
}

impl FsContext {
    fn new() -> FsContext {
        FsContext {
            root: RwLock::new(AbsPath::root()),
            cwd_route: RwLock::new(host_route()),
            cwd: Mutex::default(),
            umask: Mutex::default(),
        }
    }

    fn copy(&self) -> FsContext {
        FsContext {
            root: RwLock::new(self.root.read().clone()),
            cwd_route: RwLock::new(self.cwd_route.read().clone()),
            cwd: Mutex::new(self.cwd.lock().clone()),
            umask: Mutex::new(*self.umask.lock()),
        }
    }

    /// Notes the umask.
    pub fn set_umask(&self, mask: u32) {
        *self.umask.lock() = Some(mask);
    }

    /// The held working directory, if it is known.
    #[must_use]
    pub fn cwd(&self) -> Option<Cwd> {
        self.cwd.lock().clone()
    }

    /// Remembers it, if there are descriptors to spare.
    pub fn set_cwd(&self, cwd: Cwd) {
        *self.cwd.lock() = cwd.fd.may_stay().then_some(cwd);
    }

    /// Forgets it: it changes, or will in a moment.
    pub fn forget_cwd(&self) {
        *self.cwd.lock() = None;
    }
}

impl Task {
    /// What `/proc` is to tell of it in the kernel's place.
    #[must_use]
    pub fn appearance(&self) -> Appearance {
        *self.appearance.read()
    }

    /// That has changed; tells what it was.
    pub fn set_appearance(&self, appearance: Appearance) -> Appearance {
        std::mem::replace(&mut *self.appearance.write(), appearance)
    }

    /// Its memory.
    #[must_use]
    pub fn memory(&self) -> ProcessMemory {
        ProcessMemory(self.tid)
    }

    /// Root and working directory.
    #[must_use]
    pub fn fs(&self) -> Arc<FsContext> {
        self.fs.read().clone()
    }

    /// Stops sharing them (`unshare(CLONE_FS)`).
    pub fn unshare_fs(&self) {
        let copy = Arc::new(self.fs().copy());
        *self.fs.write() = copy;
    }

    /// The view it lives in.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.view.read().0.clone()
    }

    /// Moves it to another view.
    pub fn set_view(&self, view: Arc<View>) {
        *self.view.write() = Arc::new(Inhabited(view));
    }

    /// Its debug categories.
    #[must_use]
    pub fn debug(&self) -> Override {
        *self.debug.read()
    }

    /// Sets them.
    pub fn set_debug(&self, debug: Override) {
        *self.debug.write() = debug;
    }

    /// Whether people asked to be told about this.
    #[must_use]
    pub fn tells(&self, tag: Tag) -> bool {
        let view = self.view.read();
        let debug = view.0.debug();
        !debug.silent() && debug.enabled(tag, &self.debug())
    }

    /// Tells people who asked for it.
    pub fn tell(&self, tag: Tag, text: fmt::Arguments<'_>) {
        if self.tells(tag) {
            self.view().debug().line(tag, self.tid.0, text);
        }
    }

    /// The stack that takes its sockets of a family; `None` is the host's.
    #[must_use]
    pub fn stack(&self, family: Family) -> Option<Arc<dyn Stack>> {
        self.stacks.read().iter().rev().find(|choice| choice.covers(family)).map(|choice| choice.stack.clone())
    }

    /// Chooses a stack; `None` goes back to the host's.
    pub fn set_stack(&self, choice: Option<StackChoice>) {
        let mut stacks = self.stacks.write();
        match choice {
            Some(choice) => {
                // What the new one replaces entirely is not kept: a process may choose as often as it likes.
                stacks.retain(|old| old.families != choice.families);
                stacks.push(choice);
            }
            None => stacks.clear(),
        }
    }

    /// The umask. It is looked up once, if the task's calls that change it are heard.
    ///
    /// # Errors
    /// `ESRCH`.
    pub fn umask(&self) -> Result<u32, Errno> {
        let fs = self.fs();
        if let Some(mask) = *fs.umask.lock() {
            return Ok(mask);
        }
        let mask = self.umask_by(&self.status()?)?;
        if self.heard.load(Ordering::Relaxed) {
            fs.set_umask(mask);
        }
        Ok(mask)
    }

    /// That line of `/proc/TID/status`.
    fn umask_by(&self, status: &str) -> Result<u32, Errno> {
        let mask = status.lines().find_map(|line| line.strip_prefix("Umask:")).ok_or(Errno::ESRCH)?;
        u32::from_str_radix(mask.trim(), 8).map_err(|_| Errno::EIO)
    }

    /// Notes that its calls with paths, and thus those that change its umask, are heard.
    pub fn set_heard(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    /// Notes the number of the call that is let run if it may sleep there.
    pub fn set_sleeps_in(&self, nr: Option<i64>) {
        self.sleeps_in.store(nr.unwrap_or(-1), Ordering::Relaxed);
    }

    /// Whether its last call that was decided about has this number, and may sleep in the kernel. The one that it waits in may be another one, which is still to be heard of.
    #[must_use]
    pub fn sleeps_in(&self, nr: i64) -> bool {
        self.sleeps_in.load(Ordering::Relaxed) == nr
    }

    /// Its directory in `/proc`, held: it names this thread even when its number is another's.
    ///
    /// # Errors
    /// `ESRCH` if it is gone; `EMFILE`, `ENFILE`.
    pub fn proc(&self) -> Result<Arc<Kept>, Errno> {
        let open = || sys::open(format!("/proc/{}", self.tid).as_bytes(), libc::O_PATH | libc::O_DIRECTORY);
        self.held.get(open).map_err(|errno| if errno == Errno::ENOENT { Errno::ESRCH } else { errno })
    }

    /// The host's name of its working directory.
    ///
    /// # Errors
    /// `ESRCH`; `ENOENT` if it was removed or lies outside of what the hypervisor sees.
    pub fn cwd_host_path(&self) -> Result<AbsPath, Errno> {
        host_name(sys::read_link(self.proc()?, "cwd")?)
    }

    /// A copy of its descriptor `number`.
    ///
    /// # Errors
    /// `EBADF`, `ESRCH`; `EMFILE`, … of the hypervisor itself.
    pub fn descriptor(&self, number: i32) -> Result<OwnedFd, Errno> {
        sys::pidfd_getfd(self.process.pidfd()?.as_fd(), number)
    }

    /// Whether it can be given one more descriptor (`alloc_fd`, `fs/file.c`). Where that cannot be known, it is assumed.
    pub(crate) fn has_room_for_descriptor(&self) -> bool {
        let Ok(limit) = sys::descriptor_limit(self.tid.0) else { return true };
        let open = format!("/proc/{}/fd", self.tid);
        // Linux 6.2 tells how many there are (`proc_fd_getattr`, fs/proc/fd.c).
        let told = sys::stat_at(sys::Reach::Path(open.as_bytes())).map_or(0, |fd| fd.st_size.unsigned_abs());
        if told > 0 && told < limit {
            return true;
        }
        // Those from before the limit was lowered do not count.
        let Ok(numbers) = std::fs::read_dir(open) else { return true };
        let numbers = numbers.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers.filter(|&number: &u64| number < limit).count() as u64 != limit
    }

    /// Lines of `/proc/TID/status`.
    pub(crate) fn status(&self) -> Result<String, Errno> {
        std::fs::read_to_string(format!("/proc/{}/status", self.tid)).map_err(|_| Errno::ESRCH)
    }

    /// Whether it has the hypervisor's users and mounts.
    #[must_use]
    pub fn shares_namespaces(&self) -> bool {
        let proc = self.proc();
        !self.is_apart() || sys::shares_namespaces(proc.as_ref().map(AsFd::as_fd).map_err(|&errno| errno))
    }

    /// Whether the host treats what the hypervisor does as if the task did it.
    #[must_use]
    pub fn same_credentials(&self) -> bool {
        if self.is_apart() {
            return false;
        }
        // An unprivileged hypervisor's processes cannot change theirs.
        if sys::effective_uid() != 0 {
            return true;
        }
        if self.own_fs_ids.load(Ordering::Relaxed) {
            return self.host_credentials().is_ok_and(|who| who.uid == 0 && who.gid == sys::effective_gid());
        }
        // Its directory in /proc belongs to its effective user and group, at any moment (`pid_getattr`, `fs/proc/base.c`); /proc/TID/status would tell the same
        // at twenty times the cost.
        self.proc()
            .and_then(|proc| sys::fstat(proc.as_fd()))
            .is_ok_and(|stat| stat.st_uid == 0 && stat.st_gid == sys::effective_gid())
    }

    /// Whether it has namespaces of its own, or rules of Landlock.
    #[must_use]
    pub fn is_apart(&self) -> bool {
        self.apart.get_or_find(|| {
            let proc = self.proc();
            !sys::shares_namespaces(proc.as_ref().map(AsFd::as_fd).map_err(|&errno| errno))
        })
    }

    /// Its identity, if it has given up what the hypervisor may do as root, and goes by no virtual one.
    #[must_use]
    pub fn without_root(&self) -> Option<Credentials> {
        if sys::effective_uid() != 0 || self.is_virtual() || self.same_credentials() {
            return None;
        }
        let who = self.host_credentials().ok()?;
        // For files, only the capabilities count.
        (!who.has(capability::DAC_OVERRIDE) && !who.has(capability::DAC_READ_SEARCH)).then_some(who)
    }

    /// Whether its real user, for whom access(2) asks, is the hypervisor's.
    #[must_use]
    pub fn is_really_same_user(&self) -> bool {
        let real = |status: String| {
            let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
            ids.split_whitespace().next()?.parse::<u32>().ok()
        };
        sys::effective_uid() != 0 || self.status().is_ok_and(|status| real(status) == Some(0))
    }

    /// Notes that it has, or will have in a moment, namespaces of its own, or rules of Landlock.
    pub fn set_apart(&self) {
        self.apart.set();
    }

    /// Notes that it has ids of its own for files, apart from the effective ones (setfsuid(2)).
    pub fn set_own_fs_ids(&self) {
        self.own_fs_ids.store(true, Ordering::Relaxed);
    }
}

impl Process {
    fn new(id: Tid) -> Process {
        Process {
            id,
            pidfd: Keep::default(),
            executable: Mutex::default(),
            path_routes: ObjectRoutes::default(),
            untagged_routes: ObjectRoutes::default(),
            opened: Mutex::default(),
            listings: Listings::default(),
            watches_messages: AtomicBool::new(false),
            watches_stat: AtomicBool::new(false),
            agent: AtomicBool::new(false),
            asked: Asked::default(),
            next_program: AtomicU64::new(0),
            program: AtomicU64::new(0),
            next_executable: Mutex::default(),
        }
    }

    fn pidfd(&self) -> Result<Arc<Kept>, Errno> {
        self.pidfd.get(|| sys::pidfd_open(self.id.0))
    }

    /// Notes that the calls that carry message headers are intercepted from now on; whether they were not before.
    pub fn watch_messages(&self) -> bool {
        !self.watches_messages.swap(true, Ordering::Relaxed)
    }

    /// Whether the calls that tell attributes of what is open are intercepted, though they are not in other processes.
    #[must_use]
    pub fn watches_stat(&self) -> bool {
        self.watches_stat.load(Ordering::Relaxed)
    }

    /// Notes that they are from now on.
    pub fn watch_stat(&self) {
        self.watches_stat.store(true, Ordering::Relaxed);
    }

    /// The name in the view of its program, if it differs from the host's.
    #[must_use]
    pub fn executable(&self) -> Option<AbsPath> {
        self.executable.lock().clone()
    }

    /// Sets the name of the program that the process is about to execute, if it will differ from the host's, and what the program is to find about itself.
    pub fn set_next_executable(&self, path: Option<AbsPath>, naming: Naming) {
        *self.next_executable.lock() = Next { path, naming };
    }

    /// Whether more is known of the program that it is about to execute than the kernel knows.
    pub(crate) fn has_next_executable(&self) -> bool {
        let next = self.next_executable.lock();
        next.path.is_some() || next.naming != Naming::default()
    }

    /// Notes which program it is about to execute.
    pub(crate) fn set_next_program(&self, program: Program) {
        self.next_program.store(program, Ordering::Relaxed);
    }

    /// What the program that was just executed is to find about itself; asked once.
    pub fn naming(&self) -> Naming {
        std::mem::take(&mut self.next_executable.lock().naming)
    }

    /// Notes by which route it opens a file.
    pub fn note_opened(&self, host: &AbsPath, route: Arc<Route>) {
        self.opened.lock().note(host, route);
    }

    /// By which routes it has opened files lately.
    #[must_use]
    pub fn opened(&self) -> OpenedFiles {
        self.opened.lock().clone()
    }

    /// The process executes another program.
    pub fn executed(&self) {
        self.agent.store(false, Ordering::Release);
        self.asked.end(true);
        self.program.store(self.next_program.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        // What it had mapped is gone.
        *self.opened.lock() = OpenedFiles::default();
        *self.executable.lock() = self.next_executable.lock().path.take();
    }
}

/// What is to be known of a program when it begins.
#[derive(Debug, Default)]
struct Next {
    path: Option<AbsPath>,
    naming: Naming,
}

/// What stands behind the name that an object had before it was removed (`d_path`, `fs/d_path.c`).
pub(crate) const REMOVED: &[u8] = b" (deleted)";

/// A name that `/proc` gives to an object, as a path.
///
/// # Errors
/// `ENOENT` if the object has none: it was removed, or never had one.
pub fn host_name(link: Vec<u8>) -> Result<AbsPath, Errno> {
    if link.ends_with(REMOVED) {
        return Err(Errno::ENOENT);
    }
    AbsPath::new(link).map_err(|_| Errno::ENOENT)
}

impl Caller for Task {
    fn pid(&self) -> i32 {
        self.process.id.0
    }

    fn credentials(&self) -> Result<Credentials, Errno> {
        let host = self.host_credentials()?;
        Ok(match self.identity() {
            Some(who) => Credentials {
                uid: who.users.fs,
                gid: who.groups.fs,
                groups: who.supplementary.clone(),
                umask: host.umask,
                capabilities: who.capabilities.effective,
            },
            None => host,
        })
    }

    /// Without the umask: nothing is judged by that.
    fn judged(&self) -> Option<Credentials> {
        self.other_identity().map(|who| Credentials {
            uid: who.users.fs,
            gid: who.groups.fs,
            groups: who.supplementary.clone(),
            umask: 0,
            capabilities: who.capabilities.effective,
        })
    }

    fn is_virtual(&self) -> bool {
        self.other_identity().is_some()
    }

    fn host_credentials(&self) -> Result<Credentials, Errno> {
        if let Some((uid, gid, groups)) = sys::everybodys_ids() {
            return Ok(Credentials { uid, gid, groups: groups.to_vec(), umask: self.umask()?, capabilities: 0 });
        }
        let status = self.status()?;
        let field =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).ok_or(Errno::ESRCH);
        // Real, effective, saved, file system (proc_pid_status(5)).
        let fourth = |line: &str| line.split_whitespace().nth(3)?.parse().ok();
        Ok(Credentials {
            uid: fourth(field("Uid")?).ok_or(Errno::EIO)?,
            gid: fourth(field("Gid")?).ok_or(Errno::EIO)?,
            groups: field("Groups")?.split_whitespace().filter_map(|id| id.parse().ok()).collect(),
            umask: self.umask_by(&status)?,
            capabilities: u64::from_str_radix(field("CapEff")?.trim(), 16).map_err(|_| Errno::EIO)?,
        })
    }
}

/// All tasks, by thread id.
#[derive(Default)]
pub struct Tasks {
    living: RwLock<AHashMap<Tid, Arc<Task>>>,
    /// Those that were killed a moment ago, of whom somebody may still be born.
    killed: Mutex<AHashMap<Death, Arc<Task>>>,
}

impl Tasks {
    /// The task of a thread.
    #[must_use]
    pub fn get(&self, tid: Tid) -> Option<Arc<Task>> {
        self.living.read().get(&tid).cloned()
    }

    /// All of them, at this moment.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Task>> {
        self.living.read().values().cloned().collect()
    }

    /// Takes in the first one of a view.
    pub fn insert_first(&self, tid: Tid, view: Arc<View>, debug: Override) {
        let task = Task {
            tid,
            process: Arc::new(Process::new(tid)),
            fs: RwLock::new(Arc::new(FsContext::new())),
            view: RwLock::new(Arc::new(Inhabited(view))),
            stacks: RwLock::default(),
            debug: RwLock::new(debug),
            sleeps_in: AtomicI64::new(-1),
            own_fs_ids: AtomicBool::new(false),
            heard: AtomicBool::new(false),
            apart: Apart::default(),
            identity: Held::default(),
            appearance: RwLock::default(),
            held: Keep::default(),
        };
        self.living.write().insert(tid, Arc::new(task));
    }

    /// Takes in a new one: it has of its parent what the flags of clone(2) share, and copies of the rest.
    pub fn born(&self, birth: &Birth) {
        let parent = match birth.parent {
            Parent::Living(tid) => self.get(tid),
            Parent::Killed(death) => self.killed.lock().get(&death).cloned(),
        };
        let Some(parent) = parent else { return };
        let shares = |flag: i32| birth.flags & u64::from(flag.unsigned_abs()) != 0;
        let process = if birth.process == parent.process.id {
            parent.process.clone()
        } else {
            let process = Process::new(birth.process);
            *process.executable.lock() = parent.process.executable();
            process.path_routes.copy(&parent.process.path_routes);
            process.untagged_routes.copy(&parent.process.untagged_routes);
            *process.opened.lock() = parent.process.opened();
            process.listings.copy(&parent.process.listings);
            process.watches_messages.store(parent.process.watches_messages.load(Ordering::Relaxed), Ordering::Relaxed);
            process.watches_stat.store(parent.process.watches_stat(), Ordering::Relaxed);
            process.agent.store(parent.process.agent.load(Ordering::Acquire), Ordering::Release);
            process.asked.inherit(&parent.process.asked);
            Arc::new(process)
        };
        let fs = if shares(libc::CLONE_FS) { parent.fs() } else { Arc::new(parent.fs().copy()) };
        let task = Task {
            tid: birth.child,
            process,
            fs: RwLock::new(fs),
            view: RwLock::new(parent.view.read().clone()),
            stacks: RwLock::new(parent.stacks.read().clone()),
            debug: RwLock::new(parent.debug()),
            sleeps_in: AtomicI64::new(-1),
            own_fs_ids: AtomicBool::new(parent.own_fs_ids.load(Ordering::Relaxed)),
            heard: AtomicBool::new(parent.heard.load(Ordering::Relaxed)),
            apart: if sets_apart(birth) { Apart::known() } else { parent.apart.copy() },
            identity: parent.identity.inherited(),
            appearance: RwLock::default(),
            held: Keep::default(),
        };
        self.living.write().insert(birth.child, Arc::new(task));
    }

    /// The thread `former` of a process goes on under the process's own id.
    pub fn renamed(&self, process: Tid, former: Tid) {
        if process == former {
            return;
        }
        let mut tasks = self.living.write();
        if let Some(old) = tasks.remove(&former) {
            let task = Task {
                tid: process,
                process: old.process.clone(),
                fs: RwLock::new(old.fs()),
                view: RwLock::new(old.view.read().clone()),
                stacks: RwLock::new(old.stacks.read().clone()),
                debug: RwLock::new(old.debug()),
                sleeps_in: AtomicI64::new(-1),
                own_fs_ids: AtomicBool::new(old.own_fs_ids.load(Ordering::Relaxed)),
                heard: AtomicBool::new(old.heard.load(Ordering::Relaxed)),
                apart: old.apart.copy(),
                identity: old.identity.moved(),
                appearance: RwLock::new(old.appearance()),
                held: Keep::default(),
            };
            tasks.insert(process, Arc::new(task));
        }
    }

    /// Forgets one, and returns it.
    pub fn exited(&self, tid: Tid) -> Option<Arc<Task>> {
        self.living.write().remove(&tid)
    }

    /// The same of one of whom somebody may still be born.
    pub fn was_killed(&self, tid: Tid, death: Death) -> Option<Arc<Task>> {
        let task = self.exited(tid)?;
        // What is found out again is not held: a file system of the host's could not be unmounted.
        task.fs().forget_cwd();
        self.killed.lock().insert(death, task.clone());
        Some(task)
    }

    /// Nobody is born of it any more.
    pub fn forget(&self, death: Death) {
        let task = self.killed.lock().remove(&death);
        // Its view may end with it, which takes its time.
        drop(task);
    }
}
