//! The agents of the views' processes: who gets one, what they are told, and when they are switched off.
//!
//! An agent (`vu-agent`) lets a path call go to the kernel by itself where a *proof* has been published that the kernel is right. A proof is what
//! [`ClearPaths`](crate::clear::ClearPaths) knows of a directory, for one view, and is good for as long: some milliseconds, and no longer than until a process of the
//! view renames, links or mounts something.
//!
//! Proofs are published of directories that are the host's, by their own name or through a bind, or that a union has not touched: it says so before it does (`Agents::hold_back`). Where other mounts than plain binds are there, the agents have doubts (`Doubts`):
//! what is asked of a descriptor, and whether something may be written to or run, goes to the hypervisor as ever.
//!
//! Views in whose listings mount points appear have no agents. And there are some only in processes of which nothing is special, because what they are is not looked at when the agent answers:
//! not in one with a root of its own, with a virtual identity, with namespaces, or in which somebody looks at system calls (a debugger, a filter of its own, `vudebug`).
//! What becomes special later has its agent switched off. Programs that hardly ask for anything have none either (`modest.rs`).

use crate::{
    call::Call,
    clear::{self, LIFETIME, UNREST},
    core::Core,
    modest::{ModestPrograms, Program},
    proc_maps::numbers,
    resolve::{Meaning, PathArg, Place},
    route::{Lending, Route},
    sys::{self, At, Reach},
    task::{Object, Task, host_name},
    view::{Mount, View},
};
use ahash::{AHashMap, AHashSet};
use parking_lot::{Condvar, Mutex};
use std::{
    ffi::OsStr,
    io::Read,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use vu_agent::{Bind, Board, Doubts, Image, Key, Seeds, Start, board, code, image};
use vu_api::{AbsPath, Caller, Errno, FileType, Filesystem, Location, Purpose, Shows, Withdrawn};
use vu_trace::{Abi, Memory, ProcessMemory, Tid};

/// How many libraries of a view are copied.
const MOST_LIBRARIES: usize = 8;
/// How many dynamic linkers are known by their beginnings.
const MOST_LOADERS: usize = 8;
/// How many directories may be touched in an era.
const MOST_TOUCHED: usize = 4096;
/// How many programs are remembered that agents may execute.
const MOST_PROGRAMS: usize = 1024;
/// Longer paths of programs are left to the hypervisor.
const LONGEST_PROGRAM: usize = 400;
/// How many times as long as others the proofs of programs are good: what could change from outside of the view meanwhile is only that a link on a program's way leads into a mount, or that it
/// becomes a script, which would be told the host's name of itself for once.
const LIFETIMES_OF_PROGRAMS: u32 = 8;

/// The agents of all views.
pub struct Agents {
    cookie: u64,
    seeds: AtomicU64,
    turns: AtomicU64,
    /// Until when no proofs of programs are published, by the clock of [`clear`](crate::clear), in nanoseconds: a file is being changed.
    unrest_until: AtomicU64,
    modest: Arc<ModestPrograms>,
    views: Mutex<Vec<(Weak<View>, Arc<Agent>)>>,
    /// Whether there was ever one of these.
    made: AtomicBool,
    loaders: Mutex<Vec<Arc<Loader>>>,
    /// How many changes are under way of what directories show.
    changes: AtomicUsize,
    /// The number of the era: 1 and more.
    era: AtomicU64,
    /// Whether something was lent in it.
    lends: AtomicBool,
    /// The directories of the host of which unions have shown all in this era, and do not any more.
    touched: Mutex<AHashSet<Object>>,
    expiry: Arc<Expiry>,
}

/// The agents of the processes of a view.
pub struct Agent {
    /// That of the boards; 0 while they are disabled.
    seed: AtomicU64,
    /// That of the proofs of programs.
    exec_seed: AtomicU64,
    /// Whether something has changed since they were told of the mounts. Of many mounts in a row, that is told once.
    outdated: AtomicBool,
    state: Mutex<State>,
}

/// What a program is to be called that an agent executed by a path of the host.
#[derive(Debug, Clone)]
pub(crate) struct Called {
    /// The path that was given.
    pub told: Vec<u8>,
    /// Its name in the view, if it has another one on the host.
    pub name: Option<AbsPath>,
}

#[derive(Default)]
struct State {
    /// With their copies; those that cannot be copied have none.
    libraries: Vec<(Library, Option<Arc<Image>>)>,
    told: Told,
    /// Whether a union was met that has copies of objects with several names.
    doubts_links: bool,
    /// The programs of which there are, or were, proofs, by the paths that agents execute them by.
    programs: AHashMap<Vec<u8>, Called>,
    /// Of what [`Agent::refresh`] they are.
    turn: u64,
}

/// What agents are told of the mounts.
#[derive(Default)]
struct Told {
    /// The last names of mount points, and of what mounts decline.
    names: Vec<Vec<u8>>,
    binds: Vec<Bind>,
    doubts: Doubts,
}

/// A file that processes have mapped a copy of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// Its name on the host.
    pub path: AbsPath,
    /// Its device and inode number.
    pub object: Object,
    /// What tells that it is another one now: its size, and when it was changed.
    version: (u64, i64, i64),
}

impl Library {
    /// From where on a copy has what the file has not: the agent.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.version.0.next_multiple_of(4096)
    }
}

/// A dynamic linker in memory.
struct Loader {
    /// Where it opens files, from its beginning on.
    opens_at: u64,
    /// How it begins: its headers, and the number of its build.
    head: [u8; 1024],
}

/// Ends proofs by time.
#[derive(Default)]
struct Expiry {
    /// Whether something was published since the last time.
    published: AtomicBool,
    /// Whether there is a thread that looks.
    started: OnceLock<bool>,
    asleep: Mutex<()>,
    wake: Condvar,
}

impl Agents {
    pub(crate) fn new(cookie: u64) -> Agents {
        Agents {
            cookie,
            seeds: AtomicU64::new(cookie),
            turns: AtomicU64::new(1),
            unrest_until: AtomicU64::new(0),
            modest: Arc::default(),
            views: Mutex::default(),
            made: AtomicBool::new(false),
            loaders: Mutex::default(),
            changes: AtomicUsize::new(0),
            era: AtomicU64::new(1),
            lends: AtomicBool::new(false),
            touched: Mutex::default(),
            expiry: Arc::default(),
        }
    }

    /// What the tracer knows the agents' code by. It stands in the memory of tracees: the cookie cannot be told from it without trying all.
    fn signature(&self) -> [u8; code::SIGNATURE_SIZE] {
        let mut signature = *b"umvu's agent\0\0\0\0";
        let number = mixed(self.cookie ^ 0x6167_656e_7400_0000);
        signature[12..].copy_from_slice(&number.to_le_bytes()[..4]);
        signature
    }

    fn next_seed(&self) -> u64 {
        // Odd: never 0.
        mixed(self.seeds.fetch_add(1, Ordering::Relaxed)) | 1
    }

    /// Whether there are, or have been, any.
    fn exist(&self) -> bool {
        self.made.load(Ordering::Acquire)
    }

    /// Those of the views that have one.
    fn all(&self) -> Vec<(Weak<View>, Arc<Agent>)> {
        self.views.lock().clone()
    }

    /// Names may lead elsewhere from now on: what was proved is so no more.
    pub(crate) fn forget(&self) {
        for (_, agent) in self.all() {
            agent.forget(self.next_seed());
        }
    }

    /// What directories show is about to change: what was proved is so no more, and nothing is proved before the change is made.
    pub(crate) fn hold_back(self: &Arc<Agents>, what: Withdrawn) -> HeldBack {
        self.changes.fetch_add(1, Ordering::SeqCst);
        match what {
            Withdrawn::Directory(device, inode) if self.touch((device, inode)) => self.forget(),
            Withdrawn::Names => self.forget(),
            Withdrawn::Directory(..) | Withdrawn::Everything => self.end_era(),
        }
        HeldBack(self.clone())
    }

    /// Directories that are lent in one era are known by its number to be untouched, but for those that were touched in it. One ends when what is shown may be another thing for any of them:
    /// when mounts come and go.
    pub fn era(&self) -> u64 {
        self.era.load(Ordering::SeqCst)
    }

    /// The same, for what is about to be looked at, and lent if it is untouched.
    pub(crate) fn era_of_lending(&self) -> u64 {
        self.lends.store(true, Ordering::SeqCst);
        self.era()
    }

    /// False if it is one too many.
    fn touch(&self, object: Object) -> bool {
        let mut touched = self.touched.lock();
        if touched.len() >= MOST_TOUCHED {
            return false;
        }
        touched.insert(object);
        drop(touched);
        for (_, agent) in self.all() {
            agent.state.lock().boards().for_each(|board| board.touch(object));
        }
        true
    }

    /// To be called while a change is under way.
    fn end_era(&self) {
        let lends = self.lends.swap(false, Ordering::SeqCst);
        if lends {
            self.era.fetch_add(1, Ordering::SeqCst);
            self.touched.lock().clear();
        }
        self.forget();
        // Nobody goes by what is said of eras now.
        for (_, agent) in self.all().into_iter().filter(|_| lends) {
            let state = agent.state.lock();
            state.boards().for_each(Board::forget_touched);
            let touched = self.touched.lock();
            state.boards().for_each(|board| touched.iter().for_each(|&object| board.touch(object)));
        }
    }

    /// Whether all that was lent in an era, but for what was touched, is still untouched for whoever has it open: nobody else may have it than processes of one view.
    fn is_of_now(&self, lending: Lending) -> bool {
        lending.era == self.era() && self.views.lock().iter().filter(|(view, _)| view.strong_count() > 0).count() == 1
    }

    /// What a proof is published by that is found from now on; 0 if none is to be.
    pub(crate) fn seed_of(&self, agent: &Agent) -> u64 {
        // In this order: a change that is not seen to be under way makes this seed void.
        let seed = agent.seed.load(Ordering::SeqCst);
        if self.changes.load(Ordering::SeqCst) == 0 { seed } else { 0 }
    }

    /// A file is about to be written to, removed, or made a program: what was proved of programs is so no more. Nothing new is proved for a moment, in which the caller does it.
    pub(crate) fn forget_programs(&self) {
        self.unrest_until.store(nanoseconds(clear::now() + UNREST), Ordering::SeqCst);
        self.forget_old_programs();
    }

    /// Whether a file is perhaps being changed just now that may be a program.
    fn files_change(&self) -> bool {
        nanoseconds(clear::now()) < self.unrest_until.load(Ordering::SeqCst)
    }

    fn forget_old_programs(&self) {
        for (_, agent) in self.all() {
            agent.forget_programs(self.next_seed());
        }
    }

    /// Mounts, modules or debug categories have changed: what the agents were told is void, and they are told anew when somebody has asked what they might have answered.
    pub(crate) fn outdate(self: &Arc<Agents>) {
        let _era = self.lends.load(Ordering::SeqCst).then(|| self.hold_back(Withdrawn::Everything));
        for (_, agent) in self.all() {
            agent.outdate(self);
        }
        self.views.lock().retain(|(view, _)| view.strong_count() > 0);
    }

    /// The file of which a process has mapped this object as a copy.
    #[must_use]
    pub fn original(&self, object: Object) -> Option<Library> {
        let copy = |image: &Option<Arc<Image>>| image.as_ref().is_some_and(|image| image.object() == object);
        self.all().iter().find_map(|(_, agent)| {
            let state = agent.state.lock();
            state.libraries.iter().find(|(_, image)| copy(image)).map(|(library, _)| library.clone())
        })
    }

    /// From now on, all path calls of a process are looked at. Who has been given a copy and has not mapped it yet is met once more at its next call.
    pub(crate) fn switch_off(&self, task: &Task) {
        if !task.process.agent.load(Ordering::Acquire) {
            return;
        }
        let images_of = |agent: &Agent| -> Vec<Arc<Image>> {
            agent.state.lock().libraries.iter().filter_map(|(_, image)| image.clone()).collect()
        };
        let images: Vec<Arc<Image>> = self.all().iter().flat_map(|(_, agent)| images_of(agent)).collect();
        if images.is_empty() {
            return;
        }
        let Ok(maps) = std::fs::read_to_string(format!("/proc/{}/maps", task.process.id)) else { return };
        for (start, offset, object) in maps.lines().filter_map(numbers) {
            let switch =
                images.iter().filter(|image| image.object() == object).find_map(|image| image.switch(offset, start));
            // What is not there any more was another program's.
            if let Some(switch) = switch
                && ProcessMemory(task.process.id).write(switch, &[1]).is_ok()
            {
                task.process.agent.store(false, Ordering::Release);
            }
        }
    }

    /// The program that is executed by this path.
    pub(crate) fn program(&self, path: &[u8]) -> Program {
        self.modest.program(path)
    }

    /// The same of a task that became special just when it was given a copy.
    pub(crate) fn look_again(&self, task: &Task) {
        if task.process.agent.load(Ordering::Acquire) && (task.appearance().watched || task.identity().is_some()) {
            self.switch_off(task);
        }
    }

    /// Where a thread goes on that met unreadable memory in an agent.
    pub(crate) fn recover(&self, tid: Tid, instruction: u64) -> Option<u64> {
        let offset = instruction % code::SIZE as u64;
        let page = instruction - offset;
        let mut signature = [0; code::SIGNATURE_SIZE];
        ProcessMemory(tid).read(page + code::SIGNATURE as u64, &mut signature).ok()?;
        if signature != self.signature() {
            return None;
        }
        Some(page + code::recover(usize::try_from(offset).ok()?)? as u64)
    }

    /// Whether the instruction before this address is one by which the dynamic linker of the task's program opens files.
    fn is_loader(&self, task: &Task, instruction: u64) -> bool {
        let begins = |base: u64| {
            let mut head = [0; 1024];
            task.memory().read(base, &mut head).is_ok().then_some(head)
        };
        let known = self.loaders.lock().clone();
        let is_known = |loader: &Arc<Loader>| {
            let base = instruction.wrapping_sub(loader.opens_at);
            base.is_multiple_of(4096) && begins(base) == Some(loader.head)
        };
        if known.iter().any(is_known) {
            return true;
        }
        // Farther than a linker is long.
        const FAR: u64 = 1 << 20;
        let Some(base) = loader_base(task).filter(|&base| base != 0 && (base..base + FAR).contains(&instruction))
        else {
            return false;
        };
        let Some(head) = begins(base) else { return false };
        let mut loaders = self.loaders.lock();
        if loaders.len() >= MOST_LOADERS {
            loaders.clear();
        }
        loaders.push(Arc::new(Loader { opens_at: instruction - base, head }));
        true
    }

    /// The agent of a view, made with the first question for it.
    fn of(&self, core: &Core, view: &Arc<View>) -> Arc<Agent> {
        if let Some(agent) = view.agent() {
            return agent.clone();
        }
        let agent = view.set_agent(Agent {
            seed: AtomicU64::new(0),
            exec_seed: AtomicU64::new(self.next_seed()),
            outdated: AtomicBool::new(false),
            state: Mutex::default(),
        });
        self.made.store(true, Ordering::Release);
        let mut views = self.views.lock();
        if !views.iter().any(|(_, known)| Arc::ptr_eq(known, agent)) {
            views.push((Arc::downgrade(view), agent.clone()));
        }
        drop(views);
        agent.refresh(core, view, self);
        agent.clone()
    }
}

/// A change is under way.
pub(crate) struct HeldBack(Arc<Agents>);

impl Drop for HeldBack {
    fn drop(&mut self) {
        self.0.changes.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Agent {
    /// That of the proofs that can be published now; 0 for none.
    pub(crate) fn seed(&self) -> u64 {
        self.seed.load(Ordering::Acquire)
    }

    fn forget(&self, seed: u64) {
        let state = self.state.lock();
        if self.seed() != 0 {
            state.boards().for_each(|board| board.set_seed(seed));
            self.seed.store(seed, Ordering::SeqCst);
        }
    }

    /// The same of the proofs of programs.
    pub(crate) fn exec_seed(&self) -> u64 {
        self.exec_seed.load(Ordering::Acquire)
    }

    fn forget_programs(&self, seed: u64) {
        let state = self.state.lock();
        state.boards().for_each(|board| board.set_exec_seed(seed));
        self.exec_seed.store(seed, Ordering::Release);
    }

    fn remember(&self, path: Vec<u8>, called: Called) {
        let mut state = self.state.lock();
        if state.programs.len() >= MOST_PROGRAMS {
            state.programs.clear();
        }
        state.programs.insert(path, called);
    }

    /// What a program is to be called that was executed by this path of the host, if not by that.
    pub(crate) fn called(&self, path: &[u8]) -> Option<Called> {
        self.state.lock().programs.get(path).cloned()
    }

    fn outdate(&self, agents: &Agents) {
        let mut state = self.state.lock();
        // Who is about to tell what was so before gives way.
        state.turn = agents.turns.fetch_add(1, Ordering::AcqRel);
        state.disable(agents.next_seed());
        self.seed.store(0, Ordering::SeqCst);
        self.outdated.store(true, Ordering::Release);
    }

    /// Has them told anew, if they are to be.
    fn renew(&self, core: &Core, view: &Arc<View>, agents: &Agents) {
        if self.outdated.load(Ordering::Acquire) && self.outdated.swap(false, Ordering::AcqRel) {
            self.refresh(core, view, agents);
        }
    }

    fn refresh(&self, core: &Core, view: &Arc<View>, agents: &Agents) {
        // Taken before the view is looked at: of two that look at once, the one that may have seen less gives way.
        let turn = agents.turns.fetch_add(1, Ordering::AcqRel);
        let told = told(core, view);
        let seed = agents.next_seed();
        let mut state = self.state.lock();
        if turn < state.turn {
            return;
        }
        state.turn = turn;
        match told {
            Some(told) => {
                state.told = told;
                let seeds = Seeds { paths: seed, programs: agents.next_seed() };
                state.boards().for_each(|board| state.tell(board, seeds));
                self.seed.store(seed, Ordering::SeqCst);
                self.exec_seed.store(seeds.programs, Ordering::Release);
            }
            None => {
                self.seed.store(0, Ordering::Release);
                state.disable(seed);
            }
        }
    }

    fn publish(&self, key: Key) {
        self.state.lock().boards().for_each(|board| board.publish(key));
    }

    /// From now on, objects with several names are left to the hypervisor. To be called before a proof is published of a directory where they may be others.
    fn doubt_links(&self) {
        let mut state = self.state.lock();
        if !state.doubts_links {
            state.doubts_links = true;
            state.boards().for_each(Board::doubt_links);
        }
    }

    /// Tells in which mount of the host directories lie with this tag.
    fn tell_mount(&self, tag: u32, lending: Option<Lending>) {
        let mount = lending.map(|lending| lending.mount);
        self.state.lock().boards().for_each(|board| board.tell_mount(tag, mount));
    }

    /// Tells for which directory of the host a placeholder stands; false if that cannot be.
    fn tell_stand(&self, seed: u64, placeholder: Object, name: &AbsPath) -> bool {
        self.state.lock().boards().all(|board| board.tell_stand(seed, placeholder, name.as_bytes()))
    }

    /// The copy of a library, if there can be one.
    fn image(&self, agents: &Agents, library: &Library) -> Option<Arc<Image>> {
        if let Some((_, image)) = self.state.lock().libraries.iter().find(|(known, _)| known == library) {
            return image.clone();
        }
        // The lock is not held while a file is read.
        let made = read(library).and_then(|bytes| match Image::new(bytes, agents.signature()) {
            Ok(image) => Some(Arc::new(image)),
            Err(error) => {
                tracing::info!("{}: programs with this library have no agent: {error}", library.path);
                None
            }
        });
        let mut state = self.state.lock();
        if let Some((_, image)) = state.libraries.iter().find(|(known, _)| known == library) {
            return image.clone();
        }
        if state.libraries.len() >= MOST_LIBRARIES {
            return None;
        }
        if let Some(image) = &made {
            image.board().set_cookie(agents.cookie);
            agents.touched.lock().iter().for_each(|&object| image.board().touch(object));
            if state.doubts_links {
                image.board().doubt_links();
            }
            if self.seed() != 0 {
                state.tell(image.board(), Seeds { paths: self.seed(), programs: self.exec_seed() });
            }
        }
        state.libraries.push((library.clone(), made.clone()));
        made
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.state.lock().boards().for_each(Board::disable);
    }
}

impl State {
    fn boards(&self) -> impl Iterator<Item = &Board> {
        self.libraries.iter().filter_map(|(_, image)| image.as_deref()).map(Image::board)
    }

    fn disable(&self, seed: u64) {
        self.boards().for_each(|board| {
            board.disable();
            board.set_seed(seed);
        });
    }

    fn tell(&self, board: &Board, seeds: Seeds) {
        let Told { names, binds, doubts } = &self.told;
        board.enable(seeds, names.iter().map(Vec::as_slice), binds, *doubts);
    }
}

impl Expiry {
    /// Something is about to be published, which is to end. False if nobody can see to that.
    fn begin(&self, agents: &Arc<Agents>) -> bool {
        if self.published.swap(true, Ordering::AcqRel) {
            return true;
        }
        let start = || {
            let agents = Arc::downgrade(agents);
            vu_trace::start_thread("proofs", STACK, move || end_proofs(&agents))
        };
        if !self.started.get_or_init(start) {
            return false;
        }
        drop(self.asleep.lock());
        self.wake.notify_one();
        true
    }
}

/// In bytes.
const STACK: usize = 1 << 17;

/// Voids proofs some time after there were new ones, as long as there are views.
fn end_proofs(agents: &Weak<Agents>) {
    let Some(expiry) = agents.upgrade().map(|agents| agents.expiry.clone()) else { return };
    let mut times = 0u32;
    loop {
        let mut asleep = expiry.asleep.lock();
        while !expiry.published.swap(false, Ordering::AcqRel) {
            expiry.wake.wait(&mut asleep);
        }
        drop(asleep);
        // Good for so long, and at most twice.
        std::thread::sleep(LIFETIME);
        let Some(agents) = agents.upgrade() else { return };
        agents.forget();
        times = times.wrapping_add(1);
        if times.is_multiple_of(LIFETIMES_OF_PROGRAMS) {
            agents.forget_old_programs();
        }
    }
}

/// What the agents of a view are told; `None` if it is to have none.
fn told(core: &Core, view: &Arc<View>) -> Option<Told> {
    if core.has_listed_mounts() || !view.debug().silent() {
        return None;
    }
    // Who belongs to whom is the hypervisor's to say, and whom a program makes of its caller.
    let owners = view.identities().is_some();
    let descriptors = core.has_virtual_files();
    let access = descriptors || owners || core.has_read_only_mounts() || core.has_mounts_without_programs();
    let table = view.table();
    let names = table.names().map(<[u8]>::to_vec).collect();
    let layer = crate::layer::Layer::top(view.clone());
    let bind = |mount: &Mount, point: &AbsPath| match layer.locate(point, Purpose::Read) {
        Ok(Location::Host(source)) if !point.is_root() && source != *point => {
            let route = Route::between(point, &source, mount.epoch.0);
            let tag = u32::try_from(core.routes.tag(&route)).unwrap_or(0);
            let source = if source.is_root() { Vec::new() } else { source.as_bytes().to_vec() };
            Some(Bind { point: point.as_bytes().to_vec(), source, tag }).filter(Bind::fits)
        }
        _ => None,
    };
    let binds = table
        .iter_newest_first()
        .filter_map(|entry| bind(&entry.mount, &entry.mount.point))
        .take(board::MOST_BINDS)
        .collect();
    Some(Told { names, binds, doubts: Doubts { descriptors, access, owners } })
}

/// The directory of an absolute path, as agents read it: up to its last slash, without that.
fn without_slash(directory: &[u8]) -> &[u8] {
    if directory == b"/" { b"" } else { directory }
}

/// The content of a library, if it is still that one, and everybody may read it.
fn read(library: &Library) -> Option<Vec<u8>> {
    let mut file = std::fs::File::open(OsStr::from_bytes(library.path.as_bytes())).ok()?;
    let meta = file.metadata().ok()?;
    let public = meta.is_file() && meta.mode() & 0o004 != 0;
    let same = (meta.dev(), meta.ino()) == library.object && meta.len() == library.version.0;
    if !public || !same || meta.len() > image::LONGEST as u64 {
        return None;
    }
    // The agent is put behind it.
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).ok()?.saturating_add(2 * code::SIZE));
    file.by_ref().take(image::LONGEST as u64).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Where the dynamic linker of a program begins; 0 for none (getauxval(3)).
fn loader_base(task: &Task) -> Option<u64> {
    let vector = std::fs::read(format!("/proc/{}/auxv", task.process.id)).ok()?;
    let word = |bytes: &[u8]| bytes.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes));
    let base = vector.chunks_exact(16).find(|entry| word(entry) == Some(libc::AT_BASE))?;
    word(&base[8..])
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators").
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

impl Call<'_> {
    /// Publishes what was found out about a path that was only looked at: that the kernel finds the same, in the directory of this text.
    pub(crate) fn prove(&self, arg: &PathArg, meaning: &Meaning) {
        let Some(agent) = self.view.agent() else { return };
        agent.renew(self.core, &self.view, &self.core.agents);
        if self.proofs == 0 || self.abi != Abi::X86_64 || !arg.resolve.is_empty() || !self.is_plain() {
            return;
        }
        if arg.dirfd >= 0 && !arg.path.contains(&b'/') {
            return self.prove_descriptor(arg.dirfd);
        }
        let directory = match arg.path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => &arg.path[..slash],
            None => b"",
        };
        // What is there is another thing for each who looks.
        let in_proc = |name: &[u8]| name.split(|&byte| byte == b'/').any(|name| name == b"proc");
        let is_host = |meaning: &Meaning| matches!(meaning, Meaning::Place(place) if place.host().is_some_and(|host| in_proc(host.as_bytes())));
        if in_proc(directory) || is_host(meaning) {
            return;
        }
        let Some(start) = self.proved_from(agent, arg, directory, meaning) else { return };
        if self.core.agents.expiry.begin(&self.core.agents) {
            if let Meaning::Place(place) = meaning
                && let Some((tag, lending)) = self.lent_in(place)
            {
                agent.tell_mount(tag, Some(lending));
                agent.publish(Key::of_lent(self.proofs, start, directory, tag));
            }
            agent.publish(Key::new(self.proofs, start, directory));
        }
    }

    /// Publishes that a descriptor with a tag is of a directory that the kernel lists and searches as the view has it, and whose attributes it tells. (Of those without a tag, the agent
    /// knows by itself.)
    pub(crate) fn prove_descriptor(&self, number: i32) {
        let asks = self.task.process.agent.load(Ordering::Acquire) && self.abi == Abi::X86_64;
        let Some(agent) = self.view.agent().filter(|_| asks) else { return };
        agent.renew(self.core, &self.view, &self.core.agents);
        let published = self.proofs != 0 && number >= 0 && self.core.has_virtual_files();
        if !published || !self.is_plain() {
            return;
        }
        if let Some((object, tag, lending)) = self.proved_behind(number) {
            self.publish_descriptor(agent, object, tag, lending);
        }
    }

    /// The same of a directory that is about to be lent, under its name on the host, by the only route of this tag: it is untouched.
    pub(crate) fn prove_lent(&self, object: Object, tag: i32, lending: Lending) {
        let Some(agent) = self.view.agent().filter(|_| self.proofs != 0 && self.is_plain()) else { return };
        if self.task.process.agent.load(Ordering::Acquire)
            && !self.task.is_virtual()
            && let Ok(tag) = u32::try_from(tag)
        {
            self.publish_descriptor(agent, object, tag, Some(lending));
        }
    }

    /// `lending` is what all have in common that are lent with this tag.
    fn publish_descriptor(&self, agent: &Agent, (device, inode): Object, tag: u32, lending: Option<Lending>) {
        let agents = &self.core.agents;
        if agents.expiry.begin(agents) {
            agent.tell_mount(tag, lending);
            if lending.is_some_and(|lending| agents.is_of_now(lending)) {
                agent.publish(Key::of_all(self.proofs, tag));
            }
            agent.publish(Key::new(self.proofs, Start::Tagged(device, inode, tag), b""));
        }
    }

    fn proved_behind(&self, number: i32) -> Option<(Object, u32, Option<Lending>)> {
        let fd = self.task.descriptor(number).ok()?;
        let tag = sys::tag(fd.as_fd()).ok().filter(|&tag| tag != 0)?;
        // Of several, another directory may be behind the same numbers.
        let route = self.core.routes.only(tag)?;
        let stat = sys::fstat(fd.as_fd()).ok()?;
        if FileType::from_mode(stat.st_mode) != Some(FileType::Directory) {
            return None;
        }
        let object = (stat.st_dev, stat.st_ino);
        let same = if route.lent.is_some() {
            let lent = self.lent(&self.task, number, fd.as_fd(), object)?;
            // What is opened there has no other name, either.
            lent.name == lent.host
                && lent.is_the_agents(self)
                && lent.kept(self).is_none()
                && self.are_agents_told(lent.shows)
        } else {
            let host = host_name(self.told_name(&format!("fd/{number}")).ok()??).ok()?;
            let name = self.name_by(&route, &host)?;
            !sys::is_procfs(fd.as_fd()) && self.layer.locate(&name, Purpose::List) == Ok(Location::Host(host))
        };
        same.then(|| Some((object, u32::try_from(tag).ok()?, route.lent)))?
    }

    fn proved_from(&self, agent: &Agent, arg: &PathArg, directory: &[u8], meaning: &Meaning) -> Option<Start> {
        let clear = &self.core.clear;
        match meaning {
            Meaning::Kernel => {
                let table = self.view.table();
                if directory.split(|&byte| byte == b'/').any(|name| name == b".." || table.has_name(name)) {
                    return None;
                }
                let (device, inode) = self.clear_way(arg)?;
                Some(Start::Directory(device, inode))
            }
            Meaning::Place(place) if arg.is_absolute() && without_slash(place.name.directory()) == directory => {
                let host = place.host()?;
                if !clear.knows(host.directory()) || !self.shows_the_host(&place.name, host) {
                    return None;
                }
                if place.native {
                    return (*host == place.name).then_some(Start::Root);
                }
                let leads = |bind: &Bind| {
                    let rest = place.name.as_bytes().strip_prefix(bind.point.as_slice());
                    let below = host.as_bytes().strip_prefix(bind.source.as_slice());
                    rest == below && rest.is_some_and(|rest| rest.starts_with(b"/"))
                };
                agent.state.lock().told.binds.iter().position(leads).map(Start::Bind)
            }
            Meaning::Place(place) if !arg.is_absolute() && arg.dirfd == libc::AT_FDCWD => {
                self.proved_from_placeholder(agent, place, directory)
            }
            Meaning::Place(_) => None,
        }
    }

    /// The same where the working directory is a placeholder. The name of that on the host is the view's, else there would be more to be told of what is opened.
    fn proved_from_placeholder(&self, agent: &Agent, place: &Place, directory: &[u8]) -> Option<Start> {
        let (placeholder, name) = self.cwd_placeholder()?;
        let mut looked_in = name.clone();
        for component in directory.split(|&byte| byte == b'/').filter(|name| !matches!(*name, b"" | b".")) {
            if component == b".." {
                return None;
            }
            looked_in.push(component);
        }
        let host = place.host().filter(|host| **host == place.name)?;
        let proved = host.directory() == looked_in.as_bytes()
            && self.core.clear.knows(host.directory())
            && self.shows_the_host(&place.name, host);
        (proved && agent.tell_stand(self.proofs, placeholder, &name))
            .then_some(Start::Stand(placeholder.0, placeholder.1))
    }

    /// The tag that a directory is given which a union lends in the directory of this place, and what it must have in common with others.
    fn lent_in(&self, place: &Place) -> Option<(u32, Lending)> {
        if !self.core.has_virtual_files() || self.task.is_virtual() {
            return None;
        }
        let host = place.host().filter(|host| **host == place.name)?.parent();
        let name = place.name.parent();
        if self.layer.locate(&name, Purpose::List) != Ok(Location::Own)
            || self.layer.locate(&name, Purpose::Attributes) == Ok(Location::Own)
        {
            return None;
        }
        let stat = sys::statx(Reach::Path(host.as_bytes()), 0, libc::STATX_MNT_ID).ok()?;
        let lending = Lending { mount: stat.stx_mnt_id, era: self.core.agents.era_of_lending() };
        let tag = self.core.routes.tag(&self.lent_route(&name, &host, lending));
        let route = self.core.routes.only(tag)?;
        Some((u32::try_from(tag).ok()?, route.lent?))
    }

    /// Whether the directory of a name shows what is in that directory of the host, and all of it, until something is [withdrawn](Filesystem::withdraw).
    fn shows_the_host(&self, name: &AbsPath, host: &AbsPath) -> bool {
        if !self.core.has_virtual_files() {
            return true;
        }
        let (directory, shown) = (name.parent(), host.parent());
        if self.layer.locate(&directory, Purpose::List) == Ok(Location::Host(shown.clone())) {
            return true;
        }
        // What is not there comes to be there by a change of the nearest directory that is.
        let (mut directory, mut shown) = (directory, shown);
        let there = loop {
            match sys::stat_at(Reach::Path(shown.as_bytes())) {
                Err(Errno::ENOENT) => (directory, shown) = (directory.parent(), shown.parent()),
                there => break there,
            }
        };
        let is_directory = |stat: libc::stat| FileType::from_mode(stat.st_mode) == Some(FileType::Directory);
        let is_shown = || self.layer.shows(&directory, &shown).unwrap_or(Shows::Part);
        there.is_ok_and(is_directory) && self.are_agents_told(is_shown())
    }

    /// Whether a directory shows enough for agents to look there by themselves; they are told what they must look at.
    pub(crate) fn are_agents_told(&self, shows: Shows) -> bool {
        if shows == Shows::AllButLinked
            && let Some(agent) = self.view.agent()
        {
            agent.doubt_links();
        }
        matches!(shows, Shows::All | Shows::AllButLinked)
    }

    /// Publishes what was found out about a program that is executed by an absolute path: that the kernel does right by itself. `place` is given where it lies in a mount: its name there, and
    /// where it is on the host; its loader, if it has one, is then the kernel's, and it is no script.
    pub(crate) fn prove_program(&self, text: &[u8], place: Option<(&AbsPath, &[u8])>) {
        if self.proofs == 0 || self.abi != Abi::X86_64 || text.len() > LONGEST_PROGRAM || !self.is_plain() {
            return;
        }
        let Some(agent) = self.view.agent() else { return };
        if self.core.agents.files_change() {
            return;
        }
        // Elsewhere, what is executed may be another file after the next change, or not to be executed at all.
        if agent.state.lock().told.doubts != Doubts::default() {
            return;
        }
        // Each name once, and none that is another thing for each who looks.
        let Some(names) = text.strip_prefix(b"/") else { return };
        if names.split(|&byte| byte == b'/').any(|name| matches!(name, b"" | b"." | b".." | b"proc")) {
            return;
        }
        let seed = self.programs;
        let (key, path, name) = match place {
            None => (Key::of_program(seed, None, text), text.to_vec(), None),
            Some((name, host)) => {
                let binds = agent.state.lock().told.binds.clone();
                let rest = |bind: &Bind| text.strip_prefix(bind.point.as_slice()).filter(|rest| rest.starts_with(b"/"));
                let Some((index, bind, rest)) =
                    binds.iter().enumerate().find_map(|(index, bind)| Some((index, bind, rest(bind)?)))
                else {
                    return;
                };
                // Links on the way lead the kernel to the same file.
                let path = [&bind.exec_prefix(index), rest].concat();
                if !sys::identity(&path).is_ok_and(|object| sys::identity(host) == Ok(object)) {
                    return;
                }
                (Key::of_program(seed, Some(index), text), path, Some(name.clone()))
            }
        };
        // Who may not write to it has it not open, either.
        let host = place.map_or(text, |(_, host)| host);
        let may_be_written = |fd: OwnedFd| sys::access(Reach::Held(fd.as_fd()), libc::W_OK, libc::AT_EACCESS).is_ok();
        if sys::open(host, libc::O_PATH).is_ok_and(may_be_written) && sys::is_being_written(host) {
            return;
        }
        agent.remember(path, Called { told: text.to_vec(), name });
        // Looked at last: who announces a change first says so, and then voids the proofs of before.
        if !self.core.agents.files_change() && self.core.agents.expiry.begin(&self.core.agents) {
            agent.publish(key);
        }
    }

    /// This is about to be written to, removed, or given other permissions. What is no program, and cannot become one by that alone, takes no proof away.
    pub(crate) fn program_changes(&self, arg: &PathArg, meaning: &Meaning) {
        if self.core.agents.exist() && self.may_be_program(arg, meaning) {
            self.core.agents.forget_programs();
        }
    }

    /// Whether a path leads, or a link there may lead, to a file that somebody may execute.
    fn may_be_program(&self, arg: &PathArg, meaning: &Meaning) -> bool {
        let mode = match meaning {
            Meaning::Kernel if !arg.is_absolute() && arg.dirfd == libc::AT_FDCWD && !arg.path.is_empty() => {
                self.cwd().and_then(|cwd| sys::last_mode(At::Dir(cwd.fd.as_fd()), &arg.path))
            }
            Meaning::Place(place) if !place.opaque => match place.host() {
                Some(host) => sys::last_mode(At::Root, host.as_bytes()),
                None => return true,
            },
            _ => return true,
        };
        match mode {
            Ok(mode) => match FileType::from_mode(mode) {
                Some(FileType::Regular) => mode & 0o111 != 0,
                file_type => matches!(file_type, None | Some(FileType::Symlink)),
            },
            // It is made as a new one then: what had been found there was announced when it went.
            Err(errno) => errno != Errno::ENOENT,
        }
    }

    /// Whether nothing is special about who calls, so that it may have an agent, and what it finds others find, too.
    fn is_plain(&self) -> bool {
        let task = &self.task;
        task.fs().root.read().is_root() && !task.appearance().watched && !task.is_apart() && task.identity().is_none()
    }

    /// A copy with the agent of the C library that the dynamic linker of the caller's program opens just now, to be opened instead; `None` if it is anything else that is opened.
    pub(crate) fn library(&self, host: &AbsPath) -> Option<OwnedFd> {
        if self.abi != Abi::X86_64 || !host.as_bytes().ends_with(b"/libc.so.6") || !self.is_plain() {
            return None;
        }
        let agent = self.core.agents.of(self.core, &self.view);
        agent.renew(self.core, &self.view, &self.core.agents);
        if agent.seed() == 0 {
            return None;
        }
        let process = &self.task.process;
        let modest = &self.core.agents.modest;
        let program = process.program.load(Ordering::Relaxed);
        if modest.know(program) {
            process.asked.begin(program, false, modest);
            return None;
        }
        if !self.core.agents.is_loader(&self.task, self.instruction()) {
            return None;
        }
        let stat = sys::stat(host.as_bytes()).ok()?;
        let version = (stat.st_size.cast_unsigned(), stat.st_ctime, stat.st_ctime_nsec);
        let library = Library { path: host.clone(), object: (stat.st_dev, stat.st_ino), version };
        let copy = agent.image(&self.core.agents, &library)?.open().ok()?;
        if program != 0 {
            process.asked.begin(program, true, modest);
        }
        process.agent.store(true, Ordering::Release);
        Some(copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eras_end_with_mounts_and_with_too_many_changes() {
        let agents = Arc::new(Agents::new(7));
        let lending = |era| Lending { mount: 1, era };
        drop(agents.hold_back(Withdrawn::Everything));
        assert_eq!(agents.era(), 1, "nothing was lent");
        assert_eq!(agents.era_of_lending(), 1);
        drop(agents.hold_back(Withdrawn::Directory(1, 2)));
        drop(agents.hold_back(Withdrawn::Names));
        assert_eq!((agents.era(), agents.touched.lock().len()), (1, 1));
        drop(agents.hold_back(Withdrawn::Everything));
        assert_eq!((agents.era(), agents.touched.lock().len()), (2, 0));
        assert!(!agents.is_of_now(lending(1)) && !agents.is_of_now(lending(0)));
        assert_eq!(agents.era_of_lending(), 2);
        for inode in 0..=MOST_TOUCHED as u64 {
            drop(agents.hold_back(Withdrawn::Directory(1, inode)));
        }
        assert_eq!((agents.era(), agents.touched.lock().len()), (3, 0));
    }

    #[test]
    fn seeds_are_no_counters() {
        let agents = Agents::new(7);
        let seeds: Vec<u64> = (0..100).map(|_| agents.next_seed()).collect();
        assert!(seeds.iter().all(|&seed| seed != 0));
        assert!(seeds.windows(2).all(|two| (two[0] ^ two[1]).count_ones() > 8));
    }
}
