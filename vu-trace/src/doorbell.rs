//! How other threads get the attention of the tracer, which sleeps in wait4(2).
//!
//! Only the thread that attached may make ptrace requests, and no system call waits for children and for anything else. So a
//! request is queued, a flag is set, and the tracer's thread gets a signal; the wait in `x86_64.rs` loses neither.

use crate::{
    Listener,
    ptrace::Tid,
    verdict::Rewrite,
    x86_64::{self, Abi},
};
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    io, mem, ptr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

/// What the tracer is asked to do.
pub(crate) enum Request {
    /// Have a notified call replaced.
    Rewrite { tid: Tid, abi: Abi, listener: Arc<Listener>, id: u64, rewrite: Box<Rewrite> },
    /// End every process of the view.
    KillAll,
    /// The command has ended and its status was passed on; tell whether others still run.
    Farewell,
}

/// The queue of requests and the bell.
pub(crate) struct Doorbell {
    queue: Mutex<VecDeque<Request>>,
    rung: AtomicU32,
    process: i32,
    tracer: i32,
}

impl Doorbell {
    /// To be made by the tracer's own thread.
    pub(crate) fn new() -> io::Result<Doorbell> {
        // SAFETY: all-zero is valid; `leave_wait` is async-signal-safe and has the signature that SA_SIGINFO demands. No SA_RESTART:
        // wait4 is to return.
        unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            action.sa_sigaction = x86_64::leave_wait as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            if libc::sigaction(Self::signal(), &raw const action, ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Doorbell {
                queue: Mutex::default(),
                rung: AtomicU32::new(0),
                process: libc::getpid(),
                tracer: libc::gettid(),
            })
        }
    }

    fn signal() -> i32 {
        libc::SIGRTMIN() + 3
    }

    /// Queues a request and wakes the tracer.
    pub(crate) fn ring(&self, request: Request) {
        self.queue.lock().push_back(request);
        // Rung already: the tracer has been woken and will look at the whole queue.
        if self.rung.swap(1, Ordering::SeqCst) == 0 {
            // SAFETY: no memory is involved.
            unsafe { libc::syscall(libc::SYS_tgkill, self.process, self.tracer, Self::signal()) };
        }
    }

    /// The flag that ends a wait.
    pub(crate) fn flag(&self) -> &AtomicU32 {
        &self.rung
    }

    /// The next request, if the bell was rung. The flag falls before the queue is looked at, so that nothing is overlooked.
    pub(crate) fn answer(&self) -> VecDeque<Request> {
        if self.rung.swap(0, Ordering::SeqCst) == 0 {
            return VecDeque::new();
        }
        mem::take(&mut *self.queue.lock())
    }
}
