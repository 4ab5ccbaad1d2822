//! More threads for a listener whose callers wait for one another.
//!
//! A caller and its supervisor take turns on one core. While several callers are at it at once, the kernel would have all go on where the one supervisor runs: the
//! supervisor wakes each on its own core (`SYNC_WAKE_UP`), and the other cores idle. So then several threads serve the listener, each bound to a core: with two on
//! two cores, `make -j2` takes four fifths of the time, two threads of stats half of it. But all that wait for a call are woken by each one, and a second that waits for
//! *one* caller costs half as much again: there are as many as have something to do. One more begins when callers had to wait, and one goes when another one had
//! hardly any.
//!
//! Whoever waits for the next call can only be woken by one: a signal could reach it a moment later, while the kernel waits on its behalf for a caller that takes a
//! descriptor, and the call would fail with `EINTR` (`seccomp_notify_addfd`, `kernel/seccomp.c`). So when a thread is not needed any more, the others leave it the
//! next call, and wait themselves until it has that.

use crate::{ptrace::Tid, seat};
use nix::sched::sched_getcpu;
use parking_lot::{Condvar, Mutex};
use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    time::Duration,
};

/// A thread that received a call within this time did not sleep before: the call had been waiting.
const AT_ONCE: Duration = Duration::from_nanos(1200);
/// At so many calls that had been waiting, more than others, another thread begins.
const MANY: u32 = 24;
/// After so many calls, a thread looks at what the others did meanwhile.
const ROUND: u32 = 64;
/// With fewer calls than this in a round, one was not needed.
const FEW: u32 = 24;
/// How many serve one listener at most.
const MOST: usize = 16;

/// What the threads of a listener know of each other.
pub(crate) struct Team {
    members: Box<[Member]>,
    /// How many of the members serve: the first always does.
    active: AtomicUsize,
    /// How often that has changed.
    changes: AtomicU32,
    /// How many have a thread.
    started: AtomicUsize,
    ended: AtomicBool,
    /// Who is not needed sleeps here, and who leaves the next call to another.
    sleep: Mutex<()>,
    /// More are needed, or none any more.
    called: Condvar,
    /// One that is not needed has received a call, or has gone.
    left: Condvar,
}

struct Member {
    /// Where it serves while it is not the only one.
    core: usize,
    /// How many calls it has received.
    calls: AtomicU32,
    /// It receives a call, or is about to.
    receives: AtomicBool,
}

impl Team {
    pub(crate) fn new() -> Team {
        Team::on(&cores())
    }

    /// With a member for each of these cores, as far as that is allowed.
    fn on(cores: &[usize]) -> Team {
        let member = |&core| Member { core, calls: AtomicU32::new(0), receives: AtomicBool::new(false) };
        // There is one in any case, which is not bound as long as it is alone.
        let cores = if cores.is_empty() { &[0] } else { cores };
        Team {
            members: cores.iter().take(MOST).map(member).collect(),
            active: AtomicUsize::new(1),
            changes: AtomicU32::new(0),
            started: AtomicUsize::new(1),
            ended: AtomicBool::new(false),
            sleep: Mutex::new(()),
            called: Condvar::new(),
            left: Condvar::new(),
        }
    }

    fn active(&self) -> usize {
        self.active.load(Ordering::SeqCst)
    }

    /// Has one more serve, if there is a core for it; the member that is to be started for that.
    fn grow(&self) -> Option<usize> {
        let sleep = self.sleep.lock();
        let active = self.active();
        if active >= self.members.len() {
            return None;
        }
        self.active.store(active + 1, Ordering::SeqCst);
        self.changes.fetch_add(1, Ordering::SeqCst);
        let starts = self.started.load(Ordering::SeqCst) <= active;
        if starts {
            self.started.store(active + 1, Ordering::SeqCst);
        }
        drop(sleep);
        self.called.notify_all();
        self.left.notify_all();
        starts.then_some(active)
    }

    /// Of so many that serve, the last one is not needed any more.
    fn shrink(&self, active: usize) {
        if active > 1 && self.active.compare_exchange(active, active - 1, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            self.changes.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Whether somebody waits for a call who is not needed any more.
    fn somebody_leaves(&self) -> bool {
        self.members.iter().skip(self.active()).any(|member| member.receives.load(Ordering::SeqCst))
    }

    /// Nobody uses the listener any more.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        drop(self.sleep.lock());
        self.called.notify_all();
    }

    /// This member could not be started.
    pub(crate) fn give_up(&self, index: usize) {
        let _sleep = self.sleep.lock();
        self.active.fetch_min(index.max(1), Ordering::SeqCst);
        self.started.fetch_min(index.max(1), Ordering::SeqCst);
    }
}

/// One thread's part.
pub(crate) struct Part<'a> {
    team: &'a Team,
    index: usize,
    /// To its core.
    bound: bool,
    last: Option<Tid>,
    score: u32,
    /// Its calls in this round.
    calls: u32,
    /// How many each member had had when the round began, and how often the team had changed.
    before: [u32; MOST],
    changes: u32,
}

impl<'a> Part<'a> {
    pub(crate) fn new(team: &'a Team, index: usize) -> Part<'a> {
        Part { team, index, bound: false, last: None, score: 0, calls: 0, before: [0; MOST], changes: 0 }
    }

    fn member(&self) -> &'a Member {
        &self.team.members[self.index]
    }

    /// Before it receives: it waits until it is needed. False if it never will be.
    pub(crate) fn ready(&mut self) -> bool {
        loop {
            let active = self.team.active();
            self.bind(active > 1 && self.index < active);
            if self.index >= active {
                let mut sleep = self.team.sleep.lock();
                while self.index >= self.team.active() {
                    if self.team.ended.load(Ordering::SeqCst) {
                        return false;
                    }
                    self.team.called.wait(&mut sleep);
                }
                continue;
            }
            // Whoever finds it to be needed less now sees that it is there.
            self.member().receives.store(true, Ordering::SeqCst);
            let leaves = self.team.somebody_leaves();
            if !leaves && self.index < self.team.active() {
                return true;
            }
            self.returned();
            if leaves {
                let mut sleep = self.team.sleep.lock();
                while self.team.somebody_leaves() && self.index < self.team.active() {
                    self.team.left.wait(&mut sleep);
                }
            }
        }
    }

    /// It does not receive any more, whatever came of it.
    pub(crate) fn returned(&self) {
        self.member().receives.store(false, Ordering::SeqCst);
        if self.index >= self.team.active() {
            drop(self.team.sleep.lock());
            self.team.left.notify_all();
        }
    }

    /// It has received a call, after so long. The member that is to be started, if there is one.
    pub(crate) fn received(&mut self, caller: Tid, after: Duration) -> Option<usize> {
        let waited = self.last.replace(caller) != Some(caller) && after < AT_ONCE;
        if self.bound {
            self.member().calls.fetch_add(1, Ordering::Relaxed);
            self.calls += 1;
            if self.calls >= ROUND {
                self.look_at_the_others();
            }
        }
        self.score = if waited { self.score + 2 } else { self.score.saturating_sub(1) };
        if self.score < 2 * MANY {
            return None;
        }
        self.score = 0;
        self.team.grow()
    }

    fn look_at_the_others(&mut self) {
        let active = self.team.active();
        let (before, changes) = (self.before, self.changes);
        self.begin_round();
        if self.changes != changes {
            // Some have had less than a round.
            return;
        }
        let had = |index: usize| self.before[index].wrapping_sub(before[index]);
        if (0..active).any(|other| other != self.index && had(other) < FEW) {
            self.team.shrink(active);
        }
    }

    fn begin_round(&mut self) {
        self.calls = 0;
        self.changes = self.team.changes.load(Ordering::SeqCst);
        for (before, member) in self.before.iter_mut().zip(&self.team.members) {
            *before = member.calls.load(Ordering::Relaxed);
        }
    }

    fn bind(&mut self, bound: bool) {
        if bound == self.bound {
            return;
        }
        if bound {
            self.begin_round();
            self.bound = seat::bind_to(self.member().core);
        } else {
            seat::unbind();
            self.bound = false;
        }
    }
}

/// The cores on which this thread may run, its own first.
fn cores() -> Vec<usize> {
    seat::allowed_from(sched_getcpu().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::{sched::sched_getaffinity, unistd::Pid};
    use std::{collections::VecDeque, sync::Arc, thread};

    const LONG: Duration = Duration::from_millis(1);

    /// With so many members, on whatever cores there are.
    fn team(members: usize) -> Arc<Team> {
        let cores = cores();
        Arc::new(Team::on(&cores.iter().copied().cycle().take(members).collect::<Vec<_>>()))
    }

    /// A listener: calls, each of a caller, as [`Listener::receive`](crate::Listener::receive) gives them. All that wait for one are woken by each.
    #[derive(Default)]
    struct Calls {
        state: Mutex<(VecDeque<i32>, bool)>,
        changed: Condvar,
    }

    impl Calls {
        fn make(&self, caller: i32) {
            self.state.lock().0.push_back(caller);
            self.changed.notify_all();
        }

        fn end(&self) {
            self.state.lock().1 = true;
            self.changed.notify_all();
        }

        fn receive(&self) -> Option<i32> {
            let mut state = self.state.lock();
            loop {
                match state.0.pop_front() {
                    None if !state.1 => self.changed.wait(&mut state),
                    received => return received,
                }
            }
        }
    }

    #[test]
    fn callers_that_do_not_wait_for_one_another_have_one_thread() {
        let team = team(4);
        let mut first = Part::new(&team, 0);
        // One caller, however fast; and several, of which none had to wait.
        assert!((0..1000).all(|_| first.ready() && first.received(Tid(1), Duration::ZERO).is_none()));
        assert!((0..1000).all(|call| first.ready() && first.received(Tid(call), LONG).is_none()));
        assert_eq!(team.active(), 1);
        // Where there is one core, there is one thread whatever happens.
        let alone = Team::on(&cores()[..1]);
        let mut only = Part::new(&alone, 0);
        assert!((0..1000).all(|call| only.ready() && only.received(Tid(call), Duration::ZERO).is_none()));
        assert!(!only.bound);
    }

    #[test]
    fn callers_that_wait_get_more_threads_one_by_one() {
        let team = team(4);
        let mut first = Part::new(&team, 0);
        let mut begun = Vec::new();
        for call in 0..1000 {
            assert!(first.ready());
            begun.extend(first.received(Tid(call), Duration::ZERO));
            // The others are as busy as the first.
            for member in &team.members[1..] {
                member.calls.fetch_add(1, Ordering::Relaxed);
            }
        }
        assert_eq!((begun, team.active()), (vec![1, 2, 3], 4), "each is started once");
        assert!(first.bound);
        team.give_up(2);
        assert_eq!(team.active(), 2);
    }

    #[test]
    fn who_has_nothing_to_do_goes_and_is_bound_no_longer() {
        let before = sched_getaffinity(Pid::from_raw(0)).unwrap();
        let team = team(3);
        let mut first = Part::new(&team, 0);
        while team.active() < 3 {
            assert!(first.ready());
            let _ = first.received(Tid(first.last.map_or(1, |last| last.0 + 1)), Duration::ZERO);
        }
        let mut calls = 0;
        while team.active() > 1 {
            assert!(first.ready());
            assert_eq!(first.received(Tid(1), LONG), None);
            calls += 1;
        }
        assert!((2 * ROUND..=6 * ROUND).contains(&calls), "a round or two for each of the others: {calls}");
        assert!(first.ready() && !first.bound);
        assert_eq!(sched_getaffinity(Pid::from_raw(0)).unwrap(), before, "it may run everywhere again");
    }

    #[test]
    fn the_others_leave_the_next_call_to_who_is_not_needed() {
        let team = team(3);
        team.active.store(3, Ordering::SeqCst);
        let mut last = Part::new(&team, 2);
        assert!(last.ready());
        team.shrink(3);
        let others: Vec<_> = (0..2)
            .map(|index| {
                let team = team.clone();
                thread::spawn(move || Part::new(&team, index).ready())
            })
            .collect();
        // However long it takes until one comes.
        thread::sleep(Duration::from_millis(50));
        assert!(others.iter().all(|other| !other.is_finished()));
        last.returned();
        assert!(others.into_iter().all(|other| other.join().unwrap()));
        // Nobody waits for one that does not receive; and whom more calls make necessary again is waited for no more.
        assert!(Part::new(&team, 0).ready());
        let mut second = Part::new(&team, 1);
        assert!(second.ready());
        team.shrink(2);
        let first = thread::spawn({
            let team = team.clone();
            move || Part::new(&team, 0).ready()
        });
        thread::sleep(Duration::from_millis(50));
        assert!(!first.is_finished());
        assert_eq!(team.grow(), Some(1));
        assert!(first.join().unwrap());
        team.end();
        assert!(!last.ready());
    }

    #[test]
    fn every_call_is_served_while_the_team_grows_and_shrinks() {
        const CALLS: i32 = 30_000;
        let team = team(5);
        let calls = Arc::new(Calls::default());
        let served = Arc::new(AtomicUsize::new(0));
        let serve = |index: usize| {
            let (team, calls, served) = (team.clone(), calls.clone(), served.clone());
            thread::spawn(move || {
                let mut part = Part::new(&team, index);
                while part.ready() {
                    let received = calls.receive();
                    part.returned();
                    let Some(call) = received else { break };
                    served.fetch_add(1, Ordering::SeqCst);
                    // All threads are there from the beginning here. Times in which callers wait, and others, take turns.
                    let after = if call / 1000 % 2 == 0 { Duration::ZERO } else { LONG };
                    let _ = part.received(Tid(call), after);
                }
                if index == 0 {
                    team.end();
                }
            })
        };
        let threads: Vec<_> = (0..5).map(serve).collect();
        for call in 0..CALLS {
            calls.make(call);
            if call % 500 == 0 {
                // They all come to wait.
                thread::sleep(Duration::from_millis(1));
            }
        }
        while served.load(Ordering::SeqCst) < usize::try_from(CALLS).unwrap() {
            thread::sleep(Duration::from_millis(1));
        }
        calls.end();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(team.changes.load(Ordering::SeqCst) > 4);
    }
}
