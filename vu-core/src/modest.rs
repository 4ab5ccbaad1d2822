//! Which programs ask for so little that an agent does not pay.
//!
//! An agent costs a program's start 45 µs: its copy of the C library is a descriptor that has to be installed, which takes two changes of process more than letting the call run.
//! It pays with the eighth path that the program looks at. `true`, `expr`, or `sleep` look at none, and shells start thousands of
//! them. So what programs ask is counted, by the paths that they are executed by; one that has asked for next to nothing several times in a row starts without an agent, until it asks for more.

use ahash::{AHashMap, RandomState};
use parking_lot::Mutex;
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// A program: a hash of the path that it was executed by, which is not 0.
pub type Program = u64;

/// So many calls go the long way for what an agent costs.
const FEW: u32 = 8;
/// So often a program has to ask for little.
const ENOUGH: u8 = 3;
/// How many programs are known.
const MOST: usize = 1024;

/// How often in a row programs have asked for little.
#[derive(Default)]
pub struct ModestPrograms {
    times: Mutex<AHashMap<Program, u8>>,
    hash: RandomState,
}

impl ModestPrograms {
    /// The program of a path.
    pub fn program(&self, path: &[u8]) -> Program {
        self.hash.hash_one(path) | 1
    }

    /// Whether a program is to start without an agent.
    pub fn know(&self, program: Program) -> bool {
        self.times.lock().get(&program).is_some_and(|&times| times >= ENOUGH)
    }

    fn note(&self, program: Program, modest: bool, forked: bool) {
        let mut known = self.times.lock();
        if known.len() >= MOST && !known.contains_key(&program) {
            known.clear();
        }
        let times = known.entry(program).or_default();
        match (modest, forked) {
            (true, false) => *times = times.saturating_add(1).min(ENOUGH),
            // What its children do says nothing good of it.
            (true, true) => {}
            (false, _) => *times = 0,
        }
    }
}

/// What a process has asked for since its program began.
#[derive(Default)]
pub struct Asked {
    running: Mutex<Option<Running>>,
    calls: AtomicU32,
}

/// Since its C library was opened.
#[derive(Clone)]
struct Running {
    program: Program,
    agent: bool,
    forked: bool,
    known: Arc<ModestPrograms>,
}

impl Asked {
    /// A program begins, with an agent or without.
    pub fn begin(&self, program: Program, agent: bool, known: &Arc<ModestPrograms>) {
        *self.running.lock() = Some(Running { program, agent, forked: false, known: known.clone() });
        self.calls.store(0, Ordering::Relaxed);
    }

    /// The process has made a call that was looked at.
    pub fn count(&self) {
        // It only matters whether they are few.
        if self.calls.load(Ordering::Relaxed) <= FEW {
            self.calls.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A child goes on with what its maker ran.
    pub fn inherit(&self, maker: &Asked) {
        let running = maker.running.lock().clone();
        *self.running.lock() = running.map(|running| Running { forked: true, ..running });
    }

    /// The program ends, perhaps in favour of another one. What it asked its agent nobody knows: it is called modest if that had no question left for the hypervisor.
    pub fn end(&self, executes: bool) {
        let Some(Running { program, agent, forked, known }) = self.running.lock().take() else { return };
        let calls = self.calls.load(Ordering::Relaxed);
        let modest = if agent { calls == 0 && !executes } else { calls <= FEW };
        known.note(program, modest, forked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: Program = 3;

    /// A run that makes so many calls.
    fn run(known: &Arc<ModestPrograms>, calls: u32, executes: bool) {
        let asked = Asked::default();
        asked.begin(PROGRAM, !known.know(PROGRAM), known);
        (0..calls).for_each(|_| asked.count());
        asked.end(executes);
    }

    #[test]
    fn who_asks_for_nothing_several_times_is_modest_until_he_asks_for_much() {
        let known = Arc::<ModestPrograms>::default();
        for _ in 0..ENOUGH {
            assert!(!known.know(PROGRAM));
            run(&known, 0, false);
        }
        assert!(known.know(PROGRAM) && !known.know(5));
        run(&known, FEW, true);
        assert!(known.know(PROGRAM), "few calls are cheaper than an agent");
        run(&known, FEW + 1, false);
        assert!(!known.know(PROGRAM));
    }

    #[test]
    fn who_has_an_agent_that_asks_or_executes_others_is_not() {
        for (calls, executes) in [(1, false), (0, true)] {
            let known = Arc::<ModestPrograms>::default();
            (1..ENOUGH).for_each(|_| run(&known, 0, false));
            run(&known, calls, executes);
            run(&known, 0, false);
            assert!(!known.know(PROGRAM));
        }
    }

    #[test]
    fn children_count_only_if_they_ask() {
        let known = Arc::<ModestPrograms>::default();
        let maker = Asked::default();
        maker.begin(PROGRAM, true, &known);
        let child = |executes| {
            let child = Asked::default();
            child.inherit(&maker);
            child.end(executes);
        };
        (0..10).for_each(|_| child(false));
        assert!(!known.know(PROGRAM));
        (0..ENOUGH).for_each(|_| run(&known, 0, false));
        child(true);
        assert!(!known.know(PROGRAM));
    }

    #[test]
    fn no_more_are_known_than_there_is_room_for() {
        let known = ModestPrograms::default();
        (0..3 * MOST as u64).for_each(|number| known.note(number, true, false));
        assert!(known.times.lock().len() <= MOST);
    }
}
