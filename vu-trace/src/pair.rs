//! A second thread for a listener whose callers wait for one another.
//!
//! A caller and its supervisor take turns on one core. While two callers are at it at once, the kernel would have both go on where the one supervisor runs: the
//! supervisor wakes each on its own core (`SYNC_WAKE_UP`), and the other cores idle. So then two threads serve the listener, each bound to a core: `make -j2`
//! takes four fifths of the time, two threads of stats half of it. But two that wait for *one* caller are both woken by each call, which costs half as much again: the
//! second serves only as long as both have something to do.
//!
//! Whoever waits for the next call can only be woken by one: a signal could reach it a moment later, while the kernel waits on its behalf for a caller that takes a
//! descriptor, and the call would fail with `EINTR` (`seccomp_notify_addfd`, `kernel/seccomp.c`). So when the second is not needed any more, the first leaves it the
//! next call, and waits itself until the second has that.

use crate::{ptrace::Tid, seat};
use nix::sched::{CpuSet, sched_getcpu};
use parking_lot::{Condvar, Mutex};
use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    time::Duration,
};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It serves always.
    First,
    /// It serves while both have something to do.
    Second,
}

/// A thread that received a call within this time did not sleep before: the call had been waiting.
const AT_ONCE: Duration = Duration::from_nanos(1200);
/// At so many calls that had been waiting, more than others, the second thread begins.
const MANY: u32 = 24;
/// After so many calls, a thread looks at what the other one did meanwhile.
const ROUND: u32 = 64;
/// With fewer calls than this in a round, it was not needed.
const FEW: u32 = 24;

/// What the two threads of a listener know of each other.
pub(crate) struct Pair {
    active: AtomicBool,
    ended: AtomicBool,
    started: AtomicBool,
    /// How many calls each has had in the other one's round.
    calls: [AtomicU32; 2],
    /// The core of each, while the pair is active.
    cores: [AtomicUsize; 2],
    /// The second thread receives a call, or is about to.
    receives: AtomicBool,
    sleep: Mutex<()>,
    called: Condvar,
    /// The second thread has received a call, or has gone.
    left: Condvar,
}

impl Pair {
    pub(crate) fn new() -> Pair {
        Pair {
            active: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            started: AtomicBool::new(false),
            calls: Default::default(),
            cores: Default::default(),
            receives: AtomicBool::new(false),
            sleep: Mutex::new(()),
            called: Condvar::new(),
            left: Condvar::new(),
        }
    }

    fn is_active(&self) -> bool {
        self.active.load(Ordering::SeqCst)
    }

    /// Has the second thread serve, if there is a core for it; tells whether it is to be started first.
    fn activate(&self) -> bool {
        let Some((own, other)) = two_cores() else { return false };
        for (core, number) in self.cores.iter().zip([own, other]) {
            core.store(number, Ordering::SeqCst);
        }
        for calls in &self.calls {
            calls.store(0, Ordering::SeqCst);
        }
        self.active.store(true, Ordering::SeqCst);
        drop(self.sleep.lock());
        self.called.notify_all();
        !self.started.swap(true, Ordering::SeqCst)
    }

    fn deactivate(&self) {
        self.active.store(false, Ordering::SeqCst);
    }

    /// The first thread leaves the next call to the second one, if that waits for it though it is not needed any more.
    fn let_the_second_leave(&self) {
        if self.receives.load(Ordering::SeqCst) {
            let mut sleep = self.sleep.lock();
            while self.receives.load(Ordering::SeqCst) && !self.is_active() {
                self.left.wait(&mut sleep);
            }
        }
    }

    /// The second thread does not receive any more.
    fn leaves(&self) {
        if self.receives.swap(false, Ordering::SeqCst) && !self.is_active() {
            drop(self.sleep.lock());
            self.left.notify_all();
        }
    }

    /// Nobody uses the listener any more.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        drop(self.sleep.lock());
        self.called.notify_all();
    }

    /// The second thread could not be started.
    pub(crate) fn give_up(&self) {
        self.active.store(false, Ordering::SeqCst);
        self.started.store(false, Ordering::SeqCst);
    }
}

/// One thread's part.
pub(crate) struct Part<'a> {
    pair: &'a Pair,
    role: Role,
    /// To its core of the pair.
    bound: bool,
    last: Option<Tid>,
    score: u32,
    calls: u32,
}

impl<'a> Part<'a> {
    pub(crate) fn new(pair: &'a Pair, role: Role) -> Part<'a> {
        Part { pair, role, bound: false, last: None, score: 0, calls: 0 }
    }

    /// Before it receives: the second one waits until it is needed. False if it never will be.
    pub(crate) fn ready(&mut self) -> bool {
        if self.role == Role::First {
            let active = self.pair.is_active();
            self.bind(active);
            if !active {
                self.pair.let_the_second_leave();
            }
            return true;
        }
        loop {
            self.pair.receives.store(true, Ordering::SeqCst);
            if self.pair.is_active() {
                break;
            }
            self.pair.leaves();
            self.bind(false);
            let mut sleep = self.pair.sleep.lock();
            while !self.pair.is_active() {
                if self.pair.ended.load(Ordering::SeqCst) {
                    return false;
                }
                self.pair.called.wait(&mut sleep);
            }
        }
        self.bind(true);
        true
    }

    /// It does not receive any more, whatever came of it.
    pub(crate) fn returned(&self) {
        if self.role == Role::Second {
            self.pair.leaves();
        }
    }

    /// It has received a call, after so long. True if the second thread is to be started.
    pub(crate) fn received(&mut self, caller: Tid, after: Duration) -> bool {
        let waited = self.last.replace(caller) != Some(caller) && after < AT_ONCE;
        if self.bound {
            self.look_at_the_other();
            return false;
        }
        if self.role == Role::Second {
            return false;
        }
        self.score = if waited { self.score + 2 } else { self.score.saturating_sub(1) };
        if self.score < 2 * MANY {
            return false;
        }
        self.score = 0;
        self.pair.activate()
    }

    fn look_at_the_other(&mut self) {
        let own = self.role as usize;
        self.pair.calls[own].fetch_add(1, Ordering::Relaxed);
        self.calls += 1;
        if self.calls >= ROUND {
            self.calls = 0;
            if self.pair.calls[1 - own].swap(0, Ordering::Relaxed) < FEW {
                self.pair.deactivate();
            }
        }
    }

    fn bind(&mut self, bound: bool) {
        if bound == self.bound {
            return;
        }
        self.calls = 0;
        if bound {
            self.bound = seat::bind_to(self.pair.cores[self.role as usize].load(Ordering::SeqCst));
        } else {
            seat::unbind();
            self.bound = false;
        }
    }
}

/// The core of this thread, and another one on which it may run.
fn two_cores() -> Option<(usize, usize)> {
    let own = sched_getcpu().ok()?;
    let count = CpuSet::count();
    let other =
        (1..count).map(|step| (own + step) % count).find(|&core| seat::ALLOWED.is_set(core).unwrap_or(false))?;
    Some((own, other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::{sched::sched_getaffinity, unistd::Pid};
    use std::{sync::Arc, thread};

    const LONG: Duration = Duration::from_millis(1);

    fn pair() -> Pair {
        Pair::new()
    }

    #[test]
    fn callers_that_do_not_wait_for_one_another_have_one_thread() {
        let pair = pair();
        let mut first = Part::new(&pair, Role::First);
        // One caller, however fast; and several, of which none had to wait.
        assert!((0..1000).all(|_| first.ready() && !first.received(Tid(1), Duration::ZERO)));
        assert!((0..1000).all(|call| first.ready() && !first.received(Tid(call), LONG)));
        assert!(!pair.is_active());
    }

    #[test]
    fn callers_that_wait_get_a_second_thread_and_it_goes_when_it_is_not_needed() {
        let pair = Arc::new(pair());
        let mut first = Part::new(&pair, Role::First);
        let before = sched_getaffinity(Pid::from_raw(0)).unwrap();
        let storm = |first: &mut Part<'_>| {
            (0..1000).filter(|&call| first.ready() && first.received(Tid(call % 2), Duration::ZERO)).count()
        };
        let second = thread::spawn({
            let pair = pair.clone();
            move || {
                let mut second = Part::new(&pair, Role::Second);
                let mut served = 0;
                while second.ready() {
                    assert!(!second.received(Tid(7), LONG));
                    served += 1;
                }
                served
            }
        });
        if two_cores().is_none() {
            assert_eq!(storm(&mut first), 0, "there is one core only");
        } else {
            assert_eq!(storm(&mut first), 1, "it is started once");
            // Whichever of them has had a round by itself sends the other one away.
            while pair.is_active() {
                first.ready();
                first.received(Tid(1), LONG);
            }
            first.ready();
            assert_eq!(sched_getaffinity(Pid::from_raw(0)).unwrap(), before, "it may run everywhere again");
        }
        pair.end();
        assert!(second.join().unwrap() < 100_000_000);
    }

    #[test]
    fn the_first_leaves_the_second_the_next_call() {
        let pair = Arc::new(pair());
        pair.active.store(true, Ordering::SeqCst);
        let mut second = Part::new(&pair, Role::Second);
        assert!(second.ready());
        pair.deactivate();
        let first = thread::spawn({
            let pair = pair.clone();
            move || Part::new(&pair, Role::First).ready()
        });
        // However long it takes until one comes.
        thread::sleep(Duration::from_millis(50));
        assert!(!first.is_finished());
        second.returned();
        assert!(first.join().unwrap());
        // Nobody waits for one that does not receive.
        assert!(Part::new(&pair, Role::First).ready());
        pair.end();
        assert!(!second.ready());
        assert!(Part::new(&pair, Role::First).ready());
    }
}
