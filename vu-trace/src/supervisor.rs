//! The threads that hear notifications.
//!
//! One thread a listener, blocked in the request that receives: the kernel then hands the core from the caller to it and back, which neither a
//! poll before each request nor a second thread on the same listener allows (two idle threads cost 20 %, four 80 %).

use crate::{
    Listener, Received,
    doorbell::{Doorbell, Request},
    notify::Notification,
    ptrace::Tid,
    verdict::{Hypervisor, Intercepted, Interception, Verdict},
};
use ahash::AHashSet;
use parking_lot::Mutex;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
use vu_api::Errno;

/// The stack of a supervisor's thread, in bytes; it is touched as far as it is used.
const STACK: usize = 1 << 20;

/// The threads whose next notified call is a rewritten one, and runs.
#[derive(Default)]
pub(crate) struct Passing {
    count: AtomicUsize,
    threads: Mutex<AHashSet<Tid>>,
}

impl Passing {
    pub(crate) fn let_pass(&self, tid: Tid) {
        if self.threads.lock().insert(tid) {
            self.count.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Whether this thread's call passes; it then passes no more.
    pub(crate) fn take(&self, tid: Tid) -> bool {
        // Hardly any call is a rewritten one: no lock for the others.
        if self.count.load(Ordering::SeqCst) == 0 || !self.threads.lock().remove(&tid) {
            return false;
        }
        self.count.fetch_sub(1, Ordering::SeqCst);
        true
    }
}

/// What every supervisor's thread works with.
pub(crate) struct Supervisors<H> {
    pub hypervisor: Arc<H>,
    pub doorbell: Arc<Doorbell>,
    pub passing: Arc<Passing>,
}

impl<H> Clone for Supervisors<H> {
    fn clone(&self) -> Self {
        Supervisors {
            hypervisor: self.hypervisor.clone(),
            doorbell: self.doorbell.clone(),
            passing: self.passing.clone(),
        }
    }
}

impl<H: Hypervisor> Supervisors<H> {
    /// Starts the thread that serves a listener until no process uses it any more.
    pub(crate) fn serve(&self, listener: Listener) -> io::Result<()> {
        let own = self.clone();
        let listener = Arc::new(listener);
        thread::Builder::new().name("supervisor".into()).stack_size(STACK).spawn(move || own.run(&listener)).map(drop)
    }

    fn run(&self, listener: &Arc<Listener>) {
        loop {
            match listener.receive() {
                Received::Call(notification) => self.decide(listener, &notification),
                Received::Nothing => {}
                Received::Ended => return,
            }
        }
    }

    fn decide(&self, listener: &Arc<Listener>, notification: &Notification) {
        let &Notification { id, tid, abi, nr, args } = notification;
        if self.passing.take(tid) {
            return listener.let_run(id);
        }
        let Some(abi) = abi else {
            return listener.answer(id, Errno::ENOSYS.as_result());
        };
        let by = Interception::Notification { listener, id };
        match self.hypervisor.intercepted(&Intercepted { tid, abi, nr, args, by }) {
            Verdict::Continue => listener.let_run(id),
            Verdict::Return(result) => listener.answer(id, result),
            Verdict::Install { fd, close_on_exec, at_once } => listener.install(id, fd, close_on_exec, at_once),
            Verdict::Rewrite(rewrite) => {
                self.doorbell.ring(Request::Rewrite { tid, abi, listener: listener.clone(), id, rewrite });
            }
        }
    }
}
