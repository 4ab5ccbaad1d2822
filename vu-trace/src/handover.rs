//! Keeping a caller and its supervisor on one core while a descriptor is installed.
//!
//! `SECCOMP_IOCTL_NOTIF_ADDFD` wakes the caller, which takes the descriptor itself, and waits for it (`seccomp_notify_addfd`, `kernel/seccomp.c`). Unlike
//! receiving and answering, it does not know `SYNC_WAKE_UP`: where another core idles the caller goes on there, and wakes the supervisor up here. These are two wake-ups
//! of sleeping cores, of 15 µs each in a virtual machine. So the caller is confined to the supervisor's core for just this request.
//!
//! **Nobody can tell.** The caller is inside its call, and goes on only when it has its affinity back. Others could look at its affinity meanwhile, or change it; so the first tracee that does so to
//! any thread puts an end to all of this before its own call runs ([`forgo`]).

use crate::ptrace::Tid;
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

/// How many callers are confined; with [`FORGONE`], no more will be.
static CONFINED: AtomicUsize = AtomicUsize::new(0);
const FORGONE: usize = 1 << (usize::BITS - 1);

/// Makes a request for which the kernel wakes this thread up, which waits in its call.
pub(crate) fn on_this_core<T>(caller: Tid, request: impl FnOnce() -> T) -> T {
    if CONFINED.fetch_add(1, Ordering::SeqCst) & FORGONE != 0 {
        CONFINED.fetch_sub(1, Ordering::SeqCst);
        return request();
    }
    let confined = Confined::new(caller);
    let result = request();
    drop(confined);
    CONFINED.fetch_sub(1, Ordering::SeqCst);
    result
}

/// The affinities of threads are looked at, or managed, by others: no caller is confined any more when this returns.
pub fn forgo() {
    // A request ends as soon as its caller runs, unless somebody freezes that. Nobody is waited for without end.
    const PATIENCE: u32 = 50;
    CONFINED.fetch_or(FORGONE, Ordering::SeqCst);
    for _ in 0..PATIENCE {
        if CONFINED.load(Ordering::SeqCst) == FORGONE {
            return;
        }
        thread::sleep(Duration::from_micros(200));
    }
}

struct Confined {
    caller: Pid,
    own: CpuSet,
    here: CpuSet,
}

impl Confined {
    /// `None` where there is nothing to win, or it is not possible.
    fn new(caller: Tid) -> Option<Confined> {
        let caller = Pid::from_raw(caller.0);
        let own = sched_getaffinity(caller).ok()?;
        let core = sched_getcpu().ok()?;
        let others = (0..CpuSet::count()).any(|other| other != core && own.is_set(other) == Ok(true));
        if !others || own.is_set(core) != Ok(true) {
            return None;
        }
        let mut here = CpuSet::new();
        here.set(core).ok()?;
        sched_setaffinity(caller, &here).ok()?;
        Some(Confined { caller, own, here })
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        // Whatever somebody outside of the view has set meanwhile stays.
        if sched_getaffinity(self.caller) == Ok(self.here) {
            let _ = sched_setaffinity(self.caller, &self.own);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::gettid;

    #[test]
    fn affinity_is_as_before() {
        let me = gettid();
        let own = sched_getaffinity(me).unwrap();
        let cores = |set: &CpuSet| (0..CpuSet::count()).filter(|&core| set.is_set(core) == Ok(true)).count();
        let inside = on_this_core(Tid(me.as_raw()), || sched_getaffinity(me).unwrap());
        assert_eq!(cores(&inside), 1);
        assert_eq!(sched_getaffinity(me), Ok(own));
        // What others set stays.
        let mut other = CpuSet::new();
        let last = (0..CpuSet::count()).rfind(|&core| own.is_set(core) == Ok(true)).unwrap();
        other.set(last).unwrap();
        let first = (0..CpuSet::count()).find(|&core| own.is_set(core) == Ok(true)).unwrap();
        let mut pair = other;
        pair.set(first).unwrap();
        on_this_core(Tid(me.as_raw()), || sched_setaffinity(me, &pair).unwrap());
        assert_eq!(sched_getaffinity(me), Ok(pair));
        sched_setaffinity(me, &own).unwrap();
        forgo();
        assert_eq!(on_this_core(Tid(me.as_raw()), || sched_getaffinity(me)), Ok(own));
    }
}
