//! Proofs end by time.

use super::Agents;
use crate::clear::LIFETIME;
use parking_lot::{Condvar, Mutex};
use std::sync::{
    Arc, OnceLock, Weak,
    atomic::{AtomicBool, Ordering},
};

/// How many times as long as others the proofs of programs are good: what could change from outside of the view meanwhile is only that a link on a program's way leads into a mount, or that it
/// becomes a script, which would be told the host's name of itself for once.
const LIFETIMES_OF_PROGRAMS: u32 = 8;
/// In bytes.
const STACK: usize = 1 << 17;

/// Ends proofs by time.
#[derive(Default)]
pub(super) struct Expiry {
    /// Whether something was published since the last time.
    published: AtomicBool,
    /// Whether there is a thread that looks.
    started: OnceLock<bool>,
    asleep: Mutex<()>,
    wake: Condvar,
}

impl Expiry {
    /// Something is about to be published, which is to end. False if nobody can see to that.
    pub(super) fn begin(&self, agents: &Arc<Agents>) -> bool {
        if self.published.swap(true, Ordering::AcqRel) {
            return true;
        }
        let start = || {
            let agents = Arc::downgrade(agents);
            vu_trace::start_thread("proofs", STACK, move || end_proofs(&agents)).is_ok()
        };
        if !self.started.get_or_init(start) {
            return false;
        }
        drop(self.asleep.lock());
        self.wake.notify_one();
        true
    }
}

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
