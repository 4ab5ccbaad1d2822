//! Which threads are in an exec that was intercepted, for debuggers that attach meanwhile.

use crate::{ptrace::Tid, x86_64::Abi};
use ahash::AHashSet;
use parking_lot::Mutex;

/// The threads that began an exec, which has not succeeded yet. Who has failed stays among them until its next one, or its end: there are no more than threads.
#[derive(Default)]
pub(crate) struct Execs(Mutex<AHashSet<Tid>>);

impl Execs {
    /// A thread makes a call.
    pub(crate) fn calls(&self, tid: Tid, abi: Abi, nr: i64) {
        if abi.numbers().executes(nr) {
            self.0.lock().insert(tid);
        }
    }

    pub(crate) fn began(&self, tid: Tid) -> bool {
        self.0.lock().contains(&tid)
    }

    /// A thread's exec has succeeded, or the thread has ended.
    pub(crate) fn over(&self, tid: Tid) {
        self.0.lock().remove(&tid);
    }
}
