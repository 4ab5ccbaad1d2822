//! How other threads get the attention of the tracer, which sleeps in wait4(2).
//!
//! Only the thread that attached may make ptrace requests, and no system call waits for children and for anything else. So a
//! request is queued, a flag is set, and the tracer's thread gets a signal; the wait in `x86_64.rs` loses neither.

use crate::{Listener, Verdict, ptrace::Tid, rewrite::Answered, seat, x86_64};
use parking_lot::{Condvar, Mutex};
use std::{
    collections::VecDeque,
    io, mem, ptr,
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

/// How long after it was set the alarm rings.
const ALARM: Duration = Duration::from_millis(20);

/// The bell. No real-time signal: one of those is refused (`EAGAIN`) where the user's processes leave as many unhandled as may be queued
/// (`RLIMIT_SIGPENDING`), and the tracer would sleep on for ever; another one comes all the same (`__send_signal_locked`, `kernel/signal.c`).
const SIGNAL: i32 = libc::SIGURG;

/// What the tracer is asked to do.
pub(crate) enum Request {
    /// Have something done in place of a notified call.
    Instead { tid: Tid, listener: Arc<Listener>, id: u64, answered: Answered },
    /// Let a stopped caller go on by this verdict.
    Decided { tid: Tid, stop: Weak<()>, verdict: Verdict },
    /// Let one go on that a signal ends, whose core file is to lie in this directory.
    Dumps { tid: Tid, stop: Weak<()>, directory: Option<Vec<u8>> },
    /// Send every process of the view this signal, which is to end it.
    End(i32),
    /// Some time ago the alarm was set.
    LookAround,
    /// The command has ended and its status was passed on; tell whether others still run.
    Farewell,
}

/// The queue of requests and the bell.
pub(crate) struct Doorbell {
    queue: Mutex<VecDeque<Request>>,
    rung: AtomicU32,
    process: i32,
    tracer: i32,
    /// Whether the alarm is set; its thread waits for that.
    alarm: Mutex<bool>,
    alarm_set: Condvar,
}

impl Doorbell {
    /// To be made by the tracer's own thread. The alarm's thread is started at once: when it is needed, the view may have as many processes and
    /// threads as its user may (`RLIMIT_NPROC`), of which one waits for that alarm.
    pub(crate) fn new() -> io::Result<Arc<Doorbell>> {
        let doorbell = Arc::new(Doorbell::silent()?);
        let own = doorbell.clone();
        seat::start("alarm", 64 << 10, move || own.ring_late())?;
        Ok(doorbell)
    }

    /// One whose alarm nobody hears.
    fn silent() -> io::Result<Doorbell> {
        // SAFETY: all-zero is valid; `leave_wait` is async-signal-safe and has the signature that SA_SIGINFO demands. No SA_RESTART:
        // wait4 is to return. The set of signals is emptied before it is used.
        unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            action.sa_sigaction = x86_64::leave_wait as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            if libc::sigaction(SIGNAL, &raw const action, ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            // Who starts a view may block all signals, and the mask is inherited.
            let mut own: libc::sigset_t = mem::zeroed();
            libc::sigemptyset(&raw mut own);
            libc::sigaddset(&raw mut own, SIGNAL);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const own, ptr::null_mut());
            Ok(Doorbell {
                queue: Mutex::default(),
                rung: AtomicU32::new(0),
                process: libc::getpid(),
                tracer: libc::gettid(),
                alarm: Mutex::new(false),
                alarm_set: Condvar::new(),
            })
        }
    }

    /// Queues a request and wakes the tracer.
    pub(crate) fn ring(&self, request: Request) {
        self.queue.lock().push_back(request);
        // Rung already: the tracer has been woken and will look at the whole queue.
        if self.rung.swap(1, Ordering::SeqCst) == 0 {
            // SAFETY: no memory is involved.
            unsafe { libc::syscall(libc::SYS_tgkill, self.process, self.tracer, SIGNAL) };
        }
    }

    /// Has the tracer look a moment from now at what may have been waiting for too long.
    pub(crate) fn alarm(&self) {
        let mut set = self.alarm.lock();
        if !*set {
            *set = true;
            self.alarm_set.notify_one();
        }
    }

    fn ring_late(&self) {
        loop {
            let mut set = self.alarm.lock();
            while !*set {
                self.alarm_set.wait(&mut set);
            }
            drop(set);
            thread::sleep(ALARM);
            *self.alarm.lock() = false;
            self.ring(Request::LookAround);
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
