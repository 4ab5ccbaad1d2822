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

mod copies;
mod expiry;
mod paths;
mod programs;

use crate::{
    clear::{self, UNREST},
    core::Core,
    modest::{ModestPrograms, Program},
    proc_maps::numbers,
    route::{Lending, Route},
    task::{Object, Task},
    view::{Mount, View},
};
use ahash::{AHashMap, AHashSet};
pub use copies::Library;
use copies::{Loader, read};
use expiry::Expiry;
use parking_lot::Mutex;
pub(crate) use programs::Called;
use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use vu_agent::{Bind, Board, Doubts, Image, Key, Seeds, board, code};
use vu_api::{AbsPath, Filesystem, Location, Purpose, Withdrawn};
use vu_trace::{Memory, ProcessMemory, Tid};

/// How many libraries of a view are copied.
const MOST_LIBRARIES: usize = 8;
/// How many directories may be touched in an era.
const MOST_TOUCHED: usize = 4096;
/// How many programs are remembered that agents may execute.
const MOST_PROGRAMS: usize = 1024;

/// The agents of all views.
pub struct Agents {
    cookie: u64,
    seeds: AtomicU64,
    turns: AtomicU64,
    /// Until when no proofs of programs are published, by the clock of [`clear`](crate::clear), in nanoseconds: a file is being changed.
    unrest_until: AtomicU64,
    modest: Arc<ModestPrograms>,
    views: Mutex<Vec<(Weak<View>, Arc<Agent>)>>,
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

impl Agents {
    pub(crate) fn new(cookie: u64) -> Agents {
        Agents {
            cookie,
            seeds: AtomicU64::new(cookie),
            turns: AtomicU64::new(1),
            unrest_until: AtomicU64::new(0),
            modest: Arc::default(),
            views: Mutex::default(),
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

    /// Whether there are any.
    fn exist(&self) -> bool {
        !self.views.lock().is_empty()
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

    /// Whether all that was lent in an era, but for what was touched, is still untouched in views with these mounts. (Those with other mounts may have it open, but their agents are told nothing of it.)
    fn is_of_now(&self, lending: Lending, table: u64) -> bool {
        lending.era == self.era() && lending.table == table
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

    /// The agent of a view, made with the first question for it, and told of the mounts.
    fn of(&self, core: &Core, view: &Arc<View>) -> Arc<Agent> {
        if let Some(agent) = view.agent() {
            agent.renew(core, view, self);
            return agent.clone();
        }
        let agent = view.set_agent(Agent {
            seed: AtomicU64::new(0),
            exec_seed: AtomicU64::new(self.next_seed()),
            outdated: AtomicBool::new(false),
            state: Mutex::default(),
        });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eras_end_with_mounts_and_with_too_many_changes() {
        let agents = Arc::new(Agents::new(7));
        let lending = |era| Lending { mount: 1, era, table: 3 };
        drop(agents.hold_back(Withdrawn::Everything));
        assert_eq!(agents.era(), 1, "nothing was lent");
        assert_eq!(agents.era_of_lending(), 1);
        drop(agents.hold_back(Withdrawn::Directory(1, 2)));
        drop(agents.hold_back(Withdrawn::Names));
        assert_eq!((agents.era(), agents.touched.lock().len()), (1, 1));
        drop(agents.hold_back(Withdrawn::Everything));
        assert_eq!((agents.era(), agents.touched.lock().len()), (2, 0));
        assert!(agents.is_of_now(lending(2), 3) && !agents.is_of_now(lending(2), 4));
        assert!(!agents.is_of_now(lending(1), 3) && !agents.is_of_now(lending(2).anywhere(), 3));
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
