//! Views, and how mounts come into them and leave them.

mod again;

use crate::{
    agents::Agent,
    config::Nesting,
    debug::Debug,
    layer::Layer,
    modules::ActiveModules,
    mount::{StackDevice, Words, shielded},
    scratch::Scratch,
};
use arc_swap::{ArcSwap, Guard};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};
use vu_api::{
    AbsPath, Errno, Filesystem, Identities, Module, MountFlags, MountRequest, MountWords, Mounted, Stack, control::Rows,
};
use vu_fd::Nodes;
use vu_path::{Entry, Epoch, MountTable};

pub use crate::mount::Mount;

/// The mounts of a view.
pub type Table = MountTable<Arc<Mount>>;

/// The mounts and active modules a tree of processes lives in.
///
/// Readers take no lock: they work on a snapshot of the table ([`table`](Self::table)).
///
/// Lock order: `changes`, then `identities`. While either is held, no mount is asked anything and none is dropped.
///
/// A mount holds its layer, and the layer its view: whoever ends a view calls [`close`](Self::close), which parts them.
pub struct View {
    table: ArcSwap<Table>,
    table_number: AtomicU64,
    changes: Mutex<Changing>,
    /// What `changes.modules` says, where it is asked for at every call.
    identities: RwLock<Option<&'static dyn Identities>>,
    host: Arc<dyn Filesystem>,
    nodes: Arc<Nodes>,
    nesting: Nesting,
    debug: Debug,
    agent: OnceLock<Arc<Agent>>,
}

/// What only those look at who change the view.
#[derive(Default)]
struct Changing {
    name: String,
    modules: ActiveModules,
    /// For each mount the number of mounts whose source lies in it.
    dependants: HashMap<Epoch, usize>,
}

/// What mount(2) asks of a view. Paths are resolved by the path walk, for the calling process.
pub struct MountCall<'a> {
    /// The type.
    pub fs_type: &'a [u8],
    /// The source as given.
    pub source: &'a [u8],
    /// The source as a path of the view; `None` if it is empty or does not exist.
    pub source_path: Option<AbsPath>,
    /// The mount point.
    pub target: &'a AbsPath,
    /// `MS_*`.
    pub flags: MountFlags,
    /// The data string.
    pub data: &'a [u8],
    /// As what it is shown, if not as what it is.
    pub shown: Option<Shown<'a>>,
    /// Whether the caller still waits for it. A module may take its time, and who was killed meanwhile mounts nothing.
    pub wanted: &'a dyn Fn() -> bool,
}

/// What a mount that stands for one of the host's is shown as.
#[derive(Debug, Clone)]
pub struct Shown<'a> {
    /// The type.
    pub fs_type: &'a str,
    /// The source.
    pub source: &'a [u8],
    /// The data string; what is malformed is not shown.
    pub data: &'a [u8],
    /// Where its content is, if that goes with the mount. It is mounted over nothing then, and only the host lies below it.
    pub scratch: Option<Arc<Scratch>>,
}

/// Why a view does not mount or unmount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No active module has this type, or no mount is at this point: it is the host's business.
    NotOurs,
    /// The call fails.
    Errno(Errno),
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Refusal {
        Refusal::Errno(errno)
    }
}

impl View {
    /// A view with nothing in it over `host`. `nodes` are the virtual open files of the hypervisor.
    #[must_use]
    pub fn new(host: Arc<dyn Filesystem>, nodes: Arc<Nodes>, nesting: Nesting) -> Arc<View> {
        Arc::new(View {
            table: ArcSwap::default(),
            table_number: AtomicU64::new(next_table_number()),
            changes: Mutex::default(),
            identities: RwLock::default(),
            host,
            nodes,
            nesting,
            debug: Debug::default(),
            agent: OnceLock::new(),
        })
    }

    /// A view that begins as this one is now. What happens in one from then on is not seen in the other; the mounts that
    /// both have are the same, and go on working on the layers of the view they were made in.
    #[must_use]
    pub fn fork(&self, name: &str) -> Arc<View> {
        let changes = self.changes.lock();
        let table = self.table.load_full();
        let mut dependants = HashMap::new();
        for source_mount in table.iter_newest_first().filter_map(|entry| entry.mount.source_mount) {
            *dependants.entry(source_mount).or_default() += 1;
        }
        Arc::new(View {
            table: ArcSwap::new(table),
            table_number: AtomicU64::new(self.table_number()),
            identities: RwLock::new(changes.modules.identities()),
            changes: Mutex::new(Changing { name: name.to_owned(), modules: changes.modules.clone(), dependants }),
            host: self.host.clone(),
            nodes: self.nodes.clone(),
            nesting: self.nesting,
            debug: self.debug.clone(),
            agent: OnceLock::new(),
        })
    }

    /// Takes every mount away: nobody lives in the view any more.
    pub fn close(&self) {
        let mut changes = self.changes.lock();
        changes.dependants.clear();
        let mounts = self.exchange(Table::default());
        drop(changes);
        drop(mounts);
    }

    /// A snapshot of the mounts.
    pub fn table(&self) -> Guard<Arc<Table>> {
        self.table.load()
    }

    /// Views with the same number have the same mounts: one is as it was when it was [forked](View::fork) from the other. Never 0. When mounts have changed, the number is known to be another one
    /// before anybody is told that they have.
    #[must_use]
    pub fn table_number(&self) -> u64 {
        self.table_number.load(Ordering::SeqCst)
    }

    /// Has these mounts instead of those that are returned; `changes` is held.
    fn exchange(&self, table: Table) -> Arc<Table> {
        let before = self.table.swap(Arc::new(table));
        self.table_number.store(next_table_number(), Ordering::SeqCst);
        before
    }

    /// The bottom of its layers.
    #[must_use]
    pub fn host(&self) -> &dyn Filesystem {
        &*self.host
    }

    /// The virtual open files of the hypervisor.
    #[must_use]
    pub fn nodes(&self) -> &Arc<Nodes> {
        &self.nodes
    }

    /// Its debug categories.
    #[must_use]
    pub fn debug(&self) -> &Debug {
        &self.debug
    }

    /// What its processes' agents are told; `None` if none has one.
    #[must_use]
    pub fn agent(&self) -> Option<&Arc<Agent>> {
        self.agent.get()
    }

    /// Sets that once.
    pub(crate) fn set_agent(&self, agent: Agent) -> &Arc<Agent> {
        self.agent.get_or_init(|| Arc::new(agent))
    }

    /// Its name; empty if it has none.
    #[must_use]
    pub fn name(&self) -> String {
        self.changes.lock().name.clone()
    }

    /// Names it.
    pub fn set_name(&self, name: &str) {
        name.clone_into(&mut self.changes.lock().name);
    }

    /// Activates a module.
    ///
    /// # Errors
    /// `EEXIST` if it is active, `ENOENT` if there is none of this name.
    pub fn insert_module(&self, name: &str, permanent: bool) -> Result<(), Errno> {
        let mut changes = self.changes.lock();
        changes.modules.insert(name, permanent)?;
        *self.identities.write() = changes.modules.identities();
        Ok(())
    }

    /// Deactivates a module.
    ///
    /// # Errors
    /// `ENOENT` if it is not active, `EPERM` if it is permanent, `EBUSY` if it has mounts.
    pub fn remove_module(&self, name: &str) -> Result<(), Errno> {
        let mut changes = self.changes.lock();
        let mounts = self.table().iter_newest_first().filter(|entry| entry.mount.module.name() == name).count();
        changes.modules.remove(name, mounts)?;
        *self.identities.write() = changes.modules.identities();
        Ok(())
    }

    /// The rules of virtual identities; `None` where the host's identities count.
    #[must_use]
    pub fn identities(&self) -> Option<&'static dyn Identities> {
        *self.identities.read()
    }

    /// The active modules: name, description and submodules of each.
    #[must_use]
    pub fn module_rows(&self) -> Rows {
        self.changes.lock().modules.rows()
    }

    /// All modules there are: as [`module_rows`](Self::module_rows), and `active` or nothing.
    #[must_use]
    pub fn available_module_rows(&self) -> Rows {
        self.changes.lock().modules.available_rows()
    }

    /// The active module that makes mounts of this type.
    #[must_use]
    pub fn claims(&self, fs_type: &[u8]) -> Option<&'static dyn Module> {
        let fs_type = std::str::from_utf8(fs_type).ok()?;
        self.changes.lock().modules.claiming(fs_type)
    }

    /// The mounts as [`vu_api::control::Request::Mounts`] tells them, newest first: source, target, type, options, epoch.
    #[must_use]
    pub fn mount_rows(&self) -> Rows {
        let row = |entry: &Entry<Arc<Mount>>| {
            let mount = &entry.mount;
            vec![
                String::from_utf8_lossy(&mount.source).into_owned(),
                String::from_utf8_lossy(mount.point.as_bytes()).into_owned(),
                mount.fs_type.clone(),
                mount.options(),
                mount.epoch.to_string(),
            ]
        };
        self.table().iter_newest_first().filter(|entry| !entry.mount.detached).map(row).collect()
    }

    /// mount(2).
    ///
    /// # Errors
    /// [`Refusal::NotOurs`] if no active module has the type. `ENOENT` or `ENOTDIR` if the mount point's parent is no
    /// directory, `EINVAL` for malformed data, and what the module says.
    pub fn mount(self: &Arc<View>, call: &MountCall<'_>) -> Result<Arc<Mount>, Refusal> {
        let mount = self.prepare(call)?;
        self.put(mount, (call.wanted)())
    }

    /// What [`mount`](Self::mount) mounts, not seen by anybody yet.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn prepare(self: &Arc<View>, call: &MountCall<'_>) -> Result<Arc<Mount>, Refusal> {
        let fs_type = std::str::from_utf8(call.fs_type).map_err(|_| Refusal::NotOurs)?;
        let module = self.claims(call.fs_type).ok_or(Refusal::NotOurs)?;
        let words = MountWords::parse(call.data).map_err(|error| {
            tracing::warn!("mount {} on {} as {fs_type}: {error}", call.source.escape_ascii(), call.target);
            Errno::EINVAL
        })?;
        let Words { flags, words, permanent, list } = Words::new(call.flags, words);
        self.check_parent(call.target)?;

        let scratch = call.shown.as_ref().and_then(|shown| shown.scratch.clone());
        let source_mount = if scratch.is_some() { None } else { self.hold_source(call.source_path.as_ref()) };
        let epoch = next_epoch();
        let below: Arc<dyn Filesystem> = match self.nesting {
            _ if scratch.is_some() => self.host.clone(),
            Nesting::Layers => Arc::new(Layer::below(self.clone(), epoch, source_mount)),
            Nesting::Host => self.host.clone(),
        };
        let request = MountRequest {
            fs_type,
            source: call.source,
            source_path: call.source_path.clone(),
            target: &scratch.as_ref().map_or_else(|| call.target.clone(), |scratch| scratch.nothing()),
            flags,
            words: &words,
            below,
        };
        let mounted = shielded(
            || module.mount(&request),
            |panic| {
                tracing::error!("module {} panicked when it mounted on {}: {panic}", module.name(), call.target);
            },
        );
        let virtual_files = module.virtual_files(&words);
        let (fs_type, source, words) = match &call.shown {
            None => (fs_type, call.source, words),
            Some(shown) => {
                let given = MountWords::parse(shown.data).unwrap_or_default();
                (shown.fs_type, shown.source, Words::new(flags, given).words)
            }
        };
        let (fs_type, source, point) = (fs_type.to_owned(), source.to_vec(), call.target.clone());
        let mount = mounted.map(|mounted| {
            let tree = match &mounted {
                Mounted::Filesystem(fs) => fs.clone(),
                Mounted::Stack(_) => Arc::new(StackDevice { ino: epoch.0 }),
            };
            let exceptions = shielded(|| Ok(tree.exceptions().to_vec()), |_| {}).unwrap_or_default();
            Arc::new(Mount {
                epoch,
                point,
                fs_type,
                source,
                flags,
                words,
                permanent,
                list,
                module,
                mounted,
                tree,
                virtual_files,
                scratch,
                exceptions,
                source_mount,
                detached: false,
            })
        });

        mount.map_err(|errno| {
            tracing::info!("mount on {} by {}: {errno}", call.target, module.name());
            self.let_go_of_source(source_mount);
            Refusal::Errno(errno)
        })
    }

    /// Puts in its place what was prepared, if it is still wanted.
    ///
    /// # Errors
    /// `EINTR` if it is not; `ENODEV` if its module was deactivated meanwhile: then it has no mounts.
    pub(crate) fn put(&self, mount: Arc<Mount>, wanted: bool) -> Result<Arc<Mount>, Refusal> {
        let changes = self.changes.lock();
        let hindrance = match wanted {
            true => (!changes.modules.has(mount.module)).then_some(Errno::ENODEV),
            false => Some(Errno::EINTR),
        };
        if let Some(errno) = hindrance {
            drop(changes);
            self.let_go_of_source(mount.source_mount);
            return Err(Refusal::Errno(errno));
        }
        let mut table = Table::clone(&self.table());
        insert(&mut table, mount.clone());
        let before = self.exchange(table);
        drop(changes);
        drop(before);
        Ok(mount)
    }

    /// The reverse of [`hold_source`](Self::hold_source).
    fn let_go_of_source(&self, source_mount: Option<Epoch>) {
        let mut changes = self.changes.lock();
        let mut table = Table::clone(&self.table());
        changes.release(&mut table, source_mount);
        let before = self.exchange(table);
        drop(changes);
        drop(before);
    }

    /// umount2(2) of the newest mount at exactly this mount point. `MNT_DETACH` and `MNT_FORCE` take it away also if it is in
    /// use; those who use it go on.
    ///
    /// # Errors
    /// [`Refusal::NotOurs`] if there is no mount at this point. `EPERM` if it is permanent; `EBUSY` if a virtual file of it is open
    /// or the source of another mount lies in it; `EINVAL` for flags that do not exist, and for `MNT_EXPIRE`.
    pub fn umount(&self, point: &AbsPath, flags: i32) -> Result<Arc<Mount>, Refusal> {
        const LAZY: i32 = libc::MNT_DETACH | libc::MNT_FORCE;
        let mut changes = self.changes.lock();
        let mut table = Table::clone(&self.table());
        let mount = newest_at(&table, point).ok_or(Refusal::NotOurs)?;
        let refuse = |errno: Errno, why: &dyn fmt::Display| {
            tracing::info!("umount {mount}: {why}");
            Refusal::Errno(errno)
        };
        if flags & !(LAZY | libc::UMOUNT_NOFOLLOW) != 0 {
            return Err(refuse(Errno::EINVAL, &format_args!("flags {flags:#x} are not known")));
        }
        if mount.permanent {
            return Err(refuse(
                Errno::EPERM,
                &"it was mounted with the option permanent: it stays as long as the view",
            ));
        }
        if flags & LAZY == 0 {
            self.in_use(&changes, &table, &mount).map_err(|why| refuse(Errno::EBUSY, &why))?;
        }
        let built_on = changes.dependants.contains_key(&mount.epoch);
        if built_on {
            let detached = Arc::new(Mount { detached: true, ..Mount::clone(&mount) });
            insert(&mut table, detached);
        } else {
            table.remove(mount.epoch);
            changes.release(&mut table, mount.source_mount);
        }
        let before = self.exchange(table);
        drop(changes);
        drop(before);
        Ok(mount)
    }

    /// Whether the newest mount at this point is used by nobody.
    ///
    /// # Errors
    /// [`Refusal::NotOurs`] if there is none; `EBUSY`.
    pub fn may_be_unmounted(&self, point: &AbsPath) -> Result<(), Refusal> {
        let (changes, table) = (self.changes.lock(), self.table());
        let mount = newest_at(&table, point).ok_or(Refusal::NotOurs)?;
        self.in_use(&changes, &table, &mount).map_err(|why| {
            tracing::info!("umount {mount}: {why}");
            Refusal::Errno(Errno::EBUSY)
        })
    }

    /// What the newest mount at this point shows, if the host has mounted it for the view.
    #[must_use]
    pub fn host_mount_at(&self, point: &AbsPath) -> Option<Arc<Scratch>> {
        newest_at(&self.table(), point)?.scratch.clone().filter(|scratch| scratch.is_mount())
    }

    /// `Err` says by whom a mount is used.
    fn in_use(&self, changes: &Changing, table: &Table, mount: &Mount) -> Result<(), String> {
        if changes.dependants.contains_key(&mount.epoch) {
            let user = table.iter_newest_first().find(|entry| entry.mount.source_mount == Some(mount.epoch));
            let user = user.map_or_else(|| "a mount being made".to_owned(), |entry| entry.mount.to_string());
            return Err(format!("its files are the source of {user}; unmount that first, or this lazily (-d)"));
        }
        if self.nodes.busy(mount.epoch.0) {
            return Err("a file of it is open, or a working directory; end its users, or unmount lazily (-d)".into());
        }
        Ok(())
    }

    /// The network stack that is mounted at this point.
    ///
    /// # Errors
    /// `ENOENT` if there is no mount, `ENODEV` if it is none of a stack.
    pub fn stack_at(&self, point: &AbsPath) -> Result<Arc<dyn Stack>, Errno> {
        match &newest_at(&self.table(), point).ok_or(Errno::ENOENT)?.mounted {
            Mounted::Stack(stack) => Ok(stack.clone()),
            Mounted::Filesystem(_) => Err(Errno::ENODEV),
        }
    }

    /// A mount point need not exist, its parent must.
    fn check_parent(self: &Arc<View>, target: &AbsPath) -> Result<(), Errno> {
        if target.is_root() { Ok(()) } else { Layer::top(self.clone()).check_parent(target) }
    }

    /// The mount in which a source lies: from now on it is in use.
    fn hold_source(self: &Arc<View>, source: Option<&AbsPath>) -> Option<Epoch> {
        let (top, source) = (Layer::top(self.clone()), source?);
        loop {
            let (mount, _) = top.mount_for(source)?;
            let mut changes = self.changes.lock();
            // It may have been unmounted a moment ago; then the source lies in another.
            if is_there(&self.table(), &mount) {
                *changes.dependants.entry(mount.epoch).or_default() += 1;
                return Some(mount.epoch);
            }
        }
    }
}

impl Changing {
    /// One mount less has its source in this one; if that was all that kept it, it goes now, and so on.
    fn release(&mut self, table: &mut Table, mut source_mount: Option<Epoch>) {
        while let Some(epoch) = source_mount.take() {
            let Some(count) = self.dependants.get_mut(&epoch) else { return };
            *count -= 1;
            if *count > 0 {
                return;
            }
            self.dependants.remove(&epoch);
            if let Some(entry) = table.remove(epoch) {
                if entry.mount.detached {
                    source_mount = entry.mount.source_mount;
                } else {
                    insert(table, entry.mount.clone());
                }
            }
        }
    }
}

fn insert(table: &mut Table, mount: Arc<Mount>) {
    table.insert_with_exceptions(mount.epoch, mount.point.clone(), &mount.exceptions.clone(), mount);
}

/// The newest mount at exactly this point that was not lazily unmounted.
fn newest_at(table: &Table, point: &AbsPath) -> Option<Arc<Mount>> {
    let mut before = Epoch::MAX;
    loop {
        let entry = table.newest_at(point, before)?;
        if !entry.mount.detached {
            return Some(entry.mount.clone());
        }
        before = entry.epoch;
    }
}

/// Whether this very mount is in the table, and not only for those built on it.
fn is_there(table: &Table, mount: &Mount) -> bool {
    let after = Epoch(mount.epoch.0 + 1);
    table.newest_at(&mount.point, after).is_some_and(|entry| entry.epoch == mount.epoch && !entry.mount.detached)
}

/// One clock for all views: a mount that an inner view has from its outer one is known by the same epoch in both.
fn next_epoch() -> Epoch {
    static LAST: AtomicU64 = AtomicU64::new(0);
    Epoch(LAST.fetch_add(1, Ordering::Relaxed) + 1)
}

fn next_table_number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}
