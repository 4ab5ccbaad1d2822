//! The hypervisor: what is shared by all views, and the dispatch of calls.

use crate::{
    agents::{Agents, Called},
    call::{Call, Outcome},
    clear::ClearPaths,
    debug::{Override, Served, Tag},
    identity,
    lent::Names,
    libraries::{self, Sites},
    mapped::KnownSources,
    program::Programs,
    route::Routes,
    socket_names::SocketNames,
    table::{self, Filter, Printed},
    task::{Task, Tasks, sets_apart},
    view::{Mount, View},
};
use parking_lot::Mutex;
use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};
use vu_api::{Errno, MountFlags};
use vu_fd::Nodes;
use vu_path::Epoch;
use vu_trace::{Abi, Appearance, Birth, Death, Hypervisor, Intercepted, Naming, Required, Tid, Verdict};

/// The hypervisor.
///
/// Locks here are held for a look or an exchange, never while a mount is asked anything or a tracee waited for.
pub struct Core {
    /// The processes of all views.
    pub tasks: Tasks,
    /// The virtual open files.
    pub nodes: Arc<Nodes>,
    /// Paths that were looked at a moment ago.
    pub clear: Arc<ClearPaths>,
    /// The code in processes that answers calls by itself.
    pub agents: Arc<Agents>,
    /// How programs begin that were executed a while ago.
    pub programs: Programs,
    /// Under which names host directories are open.
    pub routes: Arc<Routes>,
    /// Where the mounts show what of the host.
    pub sources: KnownSources,
    /// What is open on the host of unions' directories.
    pub lent: Names,
    /// What sockets were called in the view.
    pub socket_names: Arc<SocketNames>,
    required: Arc<Required>,
    cookie: u64,
    installed: Mutex<Installed>,
    messages: OnceLock<Option<vu_trace::Filter>>,
    stats: OnceLock<Option<vu_trace::Filter>>,
    sites: OnceLock<Sites>,
    /// Whether the filter with paths lets the dynamic linker look for its files by itself.
    linker_passes: AtomicBool,
    virtual_files: AtomicBool,
    listed: AtomicBool,
    read_only: AtomicBool,
    no_exec: AtomicBool,
    /// How many tasks are stopped by a signal.
    stopped: AtomicUsize,
    generation: AtomicU64,
    me: Weak<Core>,
    first: Arc<View>,
    debug: Override,
}

/// Which filters the views have come to need.
#[derive(Default)]
struct Installed {
    /// The one by which calls wait for a verdict.
    notifying: Option<Filter>,
    path: bool,
    descriptor: bool,
    attribute: bool,
    socket_name: bool,
    identity: bool,
    linker: bool,
}

impl Installed {
    fn note(&mut self, filter: Filter) {
        if filter.notifies() {
            self.path = true;
            self.notifying.get_or_insert(filter);
        }
        self.descriptor |= matches!(filter, Filter::PathAndDescriptor | Filter::Descriptor);
        self.attribute |= filter == Filter::Attribute;
        self.identity |= filter == Filter::Identity;
        self.linker |= filter == Filter::Linker;
    }
}

impl Core {
    /// The hypervisor of one first view; `me` is what it is held by.
    #[must_use]
    pub fn new(
        me: &Weak<Core>,
        first: Arc<View>,
        nodes: Arc<Nodes>,
        clear: Arc<ClearPaths>,
        required: Arc<Required>,
        cookie: u64,
    ) -> Core {
        let agents = Arc::new(Agents::new(cookie));
        clear.serve(agents.clone());
        Core {
            tasks: Tasks::default(),
            nodes,
            clear,
            agents,
            programs: Programs::default(),
            routes: Arc::default(),
            sources: KnownSources::default(),
            lent: Names::default(),
            socket_names: Arc::default(),
            required,
            cookie,
            installed: Mutex::default(),
            messages: OnceLock::new(),
            stats: OnceLock::new(),
            sites: OnceLock::new(),
            linker_passes: AtomicBool::new(false),
            virtual_files: AtomicBool::new(false),
            listed: AtomicBool::new(false),
            read_only: AtomicBool::new(false),
            no_exec: AtomicBool::new(false),
            stopped: AtomicUsize::new(0),
            generation: AtomicU64::new(1),
            me: me.clone(),
            first,
            debug: Override::default(),
        }
    }

    /// Whether there may be descriptors of virtual files.
    #[must_use]
    pub fn has_virtual_files(&self) -> bool {
        self.virtual_files.load(Ordering::Acquire)
    }

    /// Whether there may be mounts whose mount points are to be listed.
    #[must_use]
    pub fn has_listed_mounts(&self) -> bool {
        self.listed.load(Ordering::Acquire)
    }

    /// Whether there may be mounts whose programs are not executed (`noexec`).
    #[must_use]
    pub fn has_mounts_without_programs(&self) -> bool {
        self.no_exec.load(Ordering::Acquire)
    }

    /// Whether there are tasks that are stopped by a signal.
    #[must_use]
    pub fn has_stopped_tasks(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) > 0
    }

    /// What a part of a task's memory has of the hypervisor's at its beginning or its end.
    #[must_use]
    pub fn scratch_in(&self, task: &Task, range: std::ops::Range<u64>) -> Option<std::ops::Range<u64>> {
        vu_trace::scratch_in(&task.memory(), self.cookie, range)
    }

    /// A task is gone, and not in the books any more.
    fn has_ended(&self, task: &Task) {
        self.count_stopped(task.appearance().stopped, false);
        task.tell(Tag::Tasks, format_args!("has ended"));
        if task.tid == task.process.id {
            task.process.asked.end(false);
        }
    }

    /// One of them more, or less.
    fn count_stopped(&self, before: bool, now: bool) {
        match (before, now) {
            (false, true) => self.stopped.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.stopped.fetch_sub(1, Ordering::Relaxed),
            _ => 0,
        };
    }

    /// A number that changes whenever a mount comes or goes in any view.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether there may be read-only mounts.
    #[must_use]
    pub fn has_read_only_mounts(&self) -> bool {
        self.read_only.load(Ordering::Acquire)
    }

    /// A mount was made: what it virtualises is intercepted from now on. Returns the filters that this made necessary.
    pub fn mounted(&self, mount: &Mount) -> Vec<Filter> {
        let virtual_files = mount.virtual_files || mount.list;
        if mount.list {
            self.listed.store(true, Ordering::Release);
        }
        if virtual_files {
            self.virtual_files.store(true, Ordering::Release);
        }
        if mount.flags.contains(MountFlags::NOEXEC) {
            self.no_exec.store(true, Ordering::Release);
        }
        let read_only = mount.flags.contains(MountFlags::RDONLY);
        if read_only {
            self.read_only.store(true, Ordering::Release);
        }
        self.mounts_changed();
        self.forget_routes();
        let mut installed = self.installed.lock();
        let mut wanted = Vec::new();
        let hides = libraries::hides_linker_files(&mount.point);
        if !installed.path {
            self.linker_passes.store(!hides && libraries::linker_files_stay(), Ordering::Release);
        } else if hides && self.linker_passes.load(Ordering::Acquire) && !installed.linker {
            wanted.push(Filter::Linker);
        }
        if !installed.path {
            wanted.push(if virtual_files { Filter::PathAndDescriptor } else { Filter::Path });
        } else if virtual_files && !installed.descriptor {
            // A task's chain of filters can have one listener only, so what comes later stops.
            wanted.push(Filter::Descriptor);
        }
        if read_only && !virtual_files && !installed.descriptor && !installed.attribute {
            wanted.push(Filter::Attribute);
        }
        wanted.retain(|&filter| self.require(filter));
        for filter in &wanted {
            installed.path = true;
            installed.note(*filter);
        }
        wanted
    }

    /// What a process is given that has a root of its own, in which the dynamic linker's files are others; `None` if they are looked at anyway.
    #[must_use]
    pub fn linker_filter(&self) -> Option<vu_trace::Filter> {
        if !self.linker_passes.load(Ordering::Acquire) || self.installed.lock().linker {
            return None;
        }
        self.compiled(Filter::Linker)
    }

    /// Forgets under which names directories were opened through mounts that are gone.
    fn forget_routes(&self) {
        if !self.routes.are_many() {
            return;
        }
        let mut views: Vec<Arc<View>> = Vec::new();
        for view in self.tasks.all().iter().map(|task| task.view()) {
            if !views.iter().any(|known| Arc::ptr_eq(known, &view)) {
                views.push(view);
            }
        }
        let tables: Vec<_> = views.iter().map(|view| view.table()).collect();
        self.routes.retain(|mount| tables.iter().any(|table| table.contains(Epoch(mount))));
    }

    /// A socket is given a name that is another one on the host: from now on, those who ask for names are told the view's.
    pub fn socket_named(&self) {
        let mut installed = self.installed.lock();
        if !installed.socket_name {
            installed.socket_name = self.require(Filter::SocketName);
        }
    }

    /// What a process is given that makes AF_UNIX sockets for datagrams.
    #[must_use]
    pub fn message_filter(&self) -> Option<vu_trace::Filter> {
        let compile = || self.compiled(Filter::Message);
        self.messages.get_or_init(compile).clone()
    }

    /// What a process is given that looks by name at what umvu tells in `/proc`; `None` if all of the view have it.
    #[must_use]
    pub fn stat_filter(&self) -> Option<vu_trace::Filter> {
        if self.installed.lock().descriptor {
            return None;
        }
        let compile = || self.compiled(Filter::Stat);
        self.stats.get_or_init(compile).clone()
    }

    /// A module makes identities virtual: who asks for one is to be looked at from now on, and so are paths, since programs are executed by them and
    /// `/proc` tells identities. Returns the filters that this made necessary.
    pub fn identities_are_virtual(&self) -> Vec<Filter> {
        let mut installed = self.installed.lock();
        let mut wanted = Vec::new();
        // Such views are made for mounts that keep owners, whose files need the descriptors' calls; a task's chain of filters can have one listener only.
        if !installed.path {
            wanted.push(Filter::PathAndDescriptor);
        }
        if !installed.identity {
            wanted.push(Filter::Identity);
        }
        wanted.retain(|&filter| self.require(filter));
        for filter in &wanted {
            installed.note(*filter);
        }
        drop(installed);
        self.agents.outdate();
        wanted
    }

    /// No module makes identities virtual any more: those of the view's processes are the host's again.
    pub fn identities_are_real(&self, view: &Arc<View>) {
        for task in self.tasks.all().into_iter().filter(|task| view.has(task)) {
            task.forget_identity();
        }
    }

    /// Has a filter installed in every process; false if it cannot be made.
    fn require(&self, filter: Filter) -> bool {
        self.compiled(filter).map(|filter| self.required.add(filter)).is_some()
    }

    fn compiled(&self, filter: Filter) -> Option<vu_trace::Filter> {
        let mut spec = table::filter(filter, self.cookie);
        let sites = self.sites.get_or_init(Sites::find);
        spec.sites = sites.of(filter, self.linker_passes.load(Ordering::Acquire));
        match vu_trace::filter::compile(&spec) {
            Ok(program) => Some(vu_trace::Filter { program: program.into(), notifies: filter.notifies() }),
            Err(error) => {
                tracing::error!("the filter {filter:?} cannot be made: {error}");
                None
            }
        }
    }

    /// A mount came or went, or a task changed its view.
    pub fn mounts_changed(&self) {
        self.clear.forget();
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.agents.outdate();
    }

    /// The same for a mount that comes once a call has been made.
    pub(crate) fn notice_of_change(&self) -> impl FnOnce() + Send + use<> {
        let me = self.me.clone();
        move || {
            if let Some(core) = me.upgrade() {
                core.mounts_changed();
            }
        }
    }

    /// Holds no working directory that is not asked for again: what is to be unmounted must not be in use by the hypervisor itself.
    pub fn let_go_of_directories(&self) {
        for task in self.tasks.all() {
            task.fs().forget_cwd();
        }
    }

    /// A name that could stand on the way of others is about to change.
    pub fn names_change(&self) {
        self.clear.forget();
        self.files_change_names();
    }

    /// The same of names that only files get, which is no link: what was free of links stays so.
    pub fn files_change_names(&self) {
        self.agents.forget();
        self.agents.forget_programs();
    }

    fn handle(&self, intercepted: &Intercepted<'_>) -> Verdict {
        let Some(row) = table::lookup(intercepted.abi, intercepted.nr) else { return Verdict::Continue };
        let Some(handler) = row.handler() else { return Verdict::Continue };
        // Every thread of a view is known before it runs.
        let Some(task) = self.tasks.get(intercepted.tid) else {
            // But it may have been killed since it made its call.
            if intercepted.still_waits() {
                tracing::error!("{}: a system call of a thread that is not known", intercepted.tid);
            }
            return Verdict::Return(Errno::ENOSYS.as_result());
        };
        self.agents.look_again(&task);
        task.process.asked.count();
        let mut call = Call::new(self, task, intercepted);
        if call.can_install() {
            call.task.set_heard();
        }
        let _served = (!call.view.debug().silent()).then(|| Served::begin(call.task.tid.0, call.task.debug()));
        if call.tells(Tag::Filters) {
            let way = if call.can_install() { "a notification" } else { "a stop" };
            call.debug(Tag::Filters, format_args!("{} comes by {way}", row.name));
        }
        let text = call.told.then(|| {
            Printed { abi: intercepted.abi, nr: intercepted.nr, args: intercepted.args, memory: &call.memory() }
                .to_string()
        });
        let mut result = handler(&mut call);
        if result.is_err() && call.unreadable.get() {
            result = Ok(Outcome::Host);
        }
        if let Some(text) = text {
            let answered_by = call.meant.borrow().as_ref().and_then(|path| call.layer.mount_for(path));
            let by = answered_by.map_or_else(String::new, |(mount, _)| format!(" [{mount}]"));
            call.debug(Tag::Syscalls, format_args!("{text} = {}{by}", Answer(&result)));
        }
        let sleeps = match &result {
            Ok(Outcome::HostMaySleep) => true,
            Ok(Outcome::Rewrite(_)) => call.waits.get(),
            _ => false,
        };
        call.task.set_sleeps_in(sleeps.then_some(intercepted.nr));
        match result {
            Ok(Outcome::Host | Outcome::HostMaySleep) => Verdict::Continue,
            Ok(Outcome::Done(result)) => Verdict::Return(result),
            Ok(Outcome::Install(installed)) => Verdict::Install(installed),
            Ok(Outcome::Rewrite(rewrite)) => Verdict::Rewrite(rewrite),
            Ok(Outcome::Borrow(borrow)) => Verdict::Borrow(borrow),
            Err(errno) => Verdict::Return(errno.as_result()),
        }
    }
}

impl Call<'_> {
    /// Whether people asked to be told about this.
    #[must_use]
    pub fn tells(&self, tag: Tag) -> bool {
        self.task.tells(tag)
    }

    /// Tells people who asked for it.
    pub fn debug(&self, tag: Tag, text: fmt::Arguments<'_>) {
        self.task.tell(tag, text);
    }
}

/// What became of a call, for people.
struct Answer<'a>(&'a Result<Outcome, Errno>);

impl fmt::Display for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(Outcome::Host | Outcome::HostMaySleep) => f.write_str("(host)"),
            Ok(Outcome::Done(result)) => write!(f, "{result}"),
            Ok(Outcome::Install(_)) => f.write_str("(descriptor)"),
            Ok(Outcome::Borrow(_)) => f.write_str("(by a descriptor)"),
            Ok(Outcome::Rewrite(rewrite)) => {
                let path = rewrite.args.iter().find_map(|argument| match argument {
                    vu_trace::Argument::Bytes(bytes) => Some(bytes),
                    _ => None,
                });
                match path {
                    Some(path) => write!(f, "(host: {})", path.strip_suffix(&[0]).unwrap_or(path).escape_ascii()),
                    None => f.write_str("(host)"),
                }
            }
            Err(errno) => write!(f, "-1 {errno:?} ({errno})"),
        }
    }
}

impl Hypervisor for Core {
    fn intercepted(&self, call: &Intercepted<'_>) -> Verdict {
        // A defect in a handler fails one call, not the view.
        catch_unwind(AssertUnwindSafe(|| self.handle(call))).unwrap_or_else(|_| {
            let name = table::name(call.abi, call.nr).unwrap_or("?");
            tracing::error!("{}: the handler of {name} panicked; the call fails with EIO", call.tid);
            Verdict::Return(Errno::EIO.as_result())
        })
    }

    fn decides_at_once(&self, abi: Abi, nr: i64) -> bool {
        table::lookup(abi, nr).is_none_or(table::Row::decides_at_once)
    }

    fn never_interrupted(&self, tid: Tid, abi: Abi, nr: i64, args: &[u64; 6]) -> bool {
        let Some(row) = table::lookup(abi, nr) else { return false };
        let task = self.tasks.get(tid);
        let notifying = self.installed.lock().notifying;
        let waits = notifying.is_some_and(|filter| filter.intercepts(row, abi, args, self.cookie));
        let again = waits && !(row.sleeps() && task.as_ref().is_some_and(|task| task.sleeps_in(nr)));
        if let Some(task) = task {
            let what = if again { "is made again after the signal" } else { "was interrupted by the signal" };
            task.tell(Tag::Signals, format_args!("{} {what}", row.name));
        }
        again
    }

    fn began(&self, first: Tid) {
        self.tasks.insert_first(first, self.first.clone(), self.debug);
    }

    fn born(&self, birth: Birth) {
        self.tasks.born(&birth);
        if let Some(task) = self.tasks.get(birth.child) {
            if sets_apart(&birth) {
                self.agents.switch_off(&task);
            }
            let kind = if birth.process == birth.child { "process" } else { "thread" };
            task.tell(Tag::Tasks, format_args!("is a new {kind}, made by {}", birth.parent));
        }
    }

    fn executed(&self, process: Tid, former: Tid) {
        self.tasks.renamed(process, former);
        if let Some(task) = self.tasks.get(process) {
            task.process.executed();
            task.executed();
            task.tell(Tag::Tasks, format_args!("executes another program"));
            // exec ends the sharing of root and directory with other processes' threads only by clone's flags; what is held stays right.
            task.set_sleeps_in(None);
        }
    }

    fn asks_for_path(&self, process: Tid) -> bool {
        // An agent may have executed it, if no handler has.
        self.tasks
            .get(process)
            .is_some_and(|task| task.process.agent.load(Ordering::Acquire) && !task.process.has_next_executable())
    }

    fn executes(&self, process: Tid, path: &[u8]) {
        let Some(task) = self.tasks.get(process) else { return };
        let Some(Called { told, name }) = task.view().agent().and_then(|agent| agent.called(path)) else { return };
        task.process.set_next_program(self.agents.program(&told));
        if name.is_some() {
            let naming = Naming { path: Some(told), ..Naming::default() };
            task.process.set_next_executable(name, naming);
        }
    }

    fn naming(&self, process: Tid) -> Naming {
        self.tasks.get(process).map(|task| task.process.naming()).unwrap_or_default()
    }

    fn may_work_in_its_own(&self, _tid: Tid) -> bool {
        self.has_virtual_files()
    }

    fn core_directory(&self, process: Tid) -> Option<Vec<u8>> {
        let find = || self.tasks.get(process)?.core_directory(&self.nodes);
        catch_unwind(AssertUnwindSafe(find)).unwrap_or_default()
    }

    fn appears(&self, tid: Tid, appearance: Appearance) {
        if let Some(task) = self.tasks.get(tid) {
            let before = task.set_appearance(appearance);
            if appearance.watched && !before.watched {
                self.agents.switch_off(&task);
            }
            self.count_stopped(before.stopped, appearance.stopped);
        }
    }

    fn recovers(&self, tid: Tid, instruction: u64) -> Option<u64> {
        self.agents.recover(tid, instruction)
    }

    fn capabilities(&self, tid: Tid) -> Option<u64> {
        Some(self.tasks.get(tid)?.identity()?.capabilities.effective)
    }

    fn auxiliary(&self, process: Tid) -> Vec<(u64, u64)> {
        let who = self.tasks.get(process).and_then(|task| task.identity());
        who.map_or_else(Vec::new, |who| identity::auxiliary(&who))
    }

    fn exited(&self, tid: Tid) {
        if let Some(task) = self.tasks.exited(tid) {
            self.has_ended(&task);
        }
    }

    fn was_killed(&self, tid: Tid, death: Death) {
        if let Some(task) = self.tasks.was_killed(tid, death) {
            self.has_ended(&task);
        }
    }

    fn forgets(&self, death: Death) {
        self.tasks.forget(death);
    }
}
