//! Who decides about a call may have to wait: for a file system of the network, or of a FUSE server, which may even be a process of the view. Its listener's
//! other calls are not to wait with it. So whoever is at it too long is *relieved*: another thread takes its place, and it ends with its call.
//! Nor is a caller to wait that has a signal which ends it: who waits for a server in the kernel ends, too (`wait_event_killable`; a tracee's kernel does not
//! know that the signal is fatal, see `complete_signal`, `kernel/signal.c`).
//!
//! The thread that looks after this sleeps as long as no call comes.

use crate::{notify::Listener, proc, ptrace::Tid, seat};
use parking_lot::{Condvar, Mutex};
use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use vu_api::Errno;

/// How often is looked, and about how long a call may take. Calls that need no waiting take microseconds.
const PERIOD: Duration = Duration::from_millis(40);
/// How many threads may be relieved and not yet done.
const MOST: usize = 256;

/// A thread's place.
#[derive(Default)]
pub(crate) struct Post {
    /// What it does: nothing, or a call since this time, or it was relieved of it.
    state: AtomicU64,
    /// Who made that call, if the caller waits for a listener's answer.
    caller: Mutex<Option<Caller>>,
}

impl Post {
    /// Which listener has the call that its thread is at.
    pub(crate) fn listener(&self) -> Option<Arc<Listener>> {
        self.caller.lock().as_ref().map(|caller| caller.listener.clone())
    }
}

/// Who waits for a listener's answer.
#[derive(Clone)]
pub(crate) struct Caller {
    pub tid: Tid,
    pub listener: Arc<Listener>,
    pub id: u64,
}

impl Caller {
    /// Lets it go without a verdict if there is a signal that ends it.
    fn end_if_dying(&self) {
        if proc::Status::read(self.tid).is_some_and(|status| status.is_to_end()) {
            self.listener.answer(self.id, Errno::EINTR.as_result());
        }
    }
}

const IDLE: u64 = 0;
const RELIEVED: u64 = u64::MAX;

/// Starts a thread that is to take a post over, if its holder is still at the call that it began then.
type Replace = Box<dyn Fn(Arc<Post>, u64) + Send>;

/// All threads that decide.
pub(crate) struct Relief {
    posts: Mutex<Vec<(Weak<Post>, Replace)>>,
    begin: Instant,
    /// How many calls were begun.
    calls: AtomicUsize,
    relieved: AtomicUsize,
    /// Nobody looks: no call has come for a while.
    asleep: AtomicBool,
    sleep: Mutex<()>,
    called: Condvar,
    started: AtomicBool,
}

impl Default for Relief {
    fn default() -> Relief {
        Relief {
            posts: Mutex::default(),
            begin: Instant::now(),
            calls: AtomicUsize::new(0),
            relieved: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            sleep: Mutex::default(),
            called: Condvar::new(),
            started: AtomicBool::new(false),
        }
    }
}

/// Starts a thread that decides; false if there can be no more.
pub(crate) fn start(name: &str, run: impl FnOnce() + Send + 'static) -> bool {
    /// In bytes; it is touched as far as it is used.
    const STACK: usize = 1 << 20;
    seat::start(name, STACK, run).is_ok()
}

impl Relief {
    /// A place for a thread that decides. `replace` starts another one, which begins with [`takes_over`](Self::takes_over).
    pub(crate) fn post(self: &Arc<Relief>, replace: impl Fn(Arc<Post>, u64) + Send + 'static) -> Arc<Post> {
        let post = Arc::new(Post::default());
        self.posts.lock().push((Arc::downgrade(&post), Box::new(replace)));
        if !self.started.swap(true, Ordering::SeqCst) {
            let relief = self.clone();
            let run = move || relief.look_after();
            if seat::start("relief", 1 << 17, run).is_err() {
                self.started.store(false, Ordering::SeqCst);
            }
        }
        post
    }

    /// Milliseconds; never one of the marks.
    fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).map_or(RELIEVED - 1, |now| (now + 1).min(RELIEVED - 1))
    }

    /// A thread begins with a call.
    pub(crate) fn begins(&self, post: &Post, caller: Option<Caller>) {
        *post.caller.lock() = caller;
        post.state.store(self.now(), Ordering::SeqCst);
        self.calls.fetch_add(1, Ordering::Relaxed);
        if self.asleep.swap(false, Ordering::SeqCst) {
            drop(self.sleep.lock());
            self.called.notify_one();
        }
    }

    /// It is done with it; false if another thread is at its place.
    pub(crate) fn ends(&self, post: &Post) -> bool {
        let keeps = post.state.swap(IDLE, Ordering::SeqCst) != RELIEVED;
        *post.caller.lock() = None;
        if !keeps {
            self.relieved.fetch_sub(1, Ordering::SeqCst);
        }
        keeps
    }

    /// Whether a thread takes the place of the one that began its call then: not if that one has ended it meanwhile.
    pub(crate) fn takes_over(&self, post: &Post, since: u64) -> bool {
        let late = post.state.compare_exchange(since, RELIEVED, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if late {
            self.relieved.fetch_add(1, Ordering::SeqCst);
        }
        late
    }

    fn look_after(&self) {
        let mut seen = self.calls.load(Ordering::Relaxed);
        loop {
            thread::sleep(PERIOD);
            let busy = self.look();
            let calls = self.calls.load(Ordering::Relaxed);
            if !busy && calls == seen {
                self.rest(calls);
            }
            seen = self.calls.load(Ordering::Relaxed);
        }
    }

    /// Sleeps until the next call.
    fn rest(&self, calls: usize) {
        let mut sleep = self.sleep.lock();
        self.asleep.store(true, Ordering::SeqCst);
        if self.calls.load(Ordering::SeqCst) != calls {
            self.asleep.store(false, Ordering::SeqCst);
        }
        while self.asleep.load(Ordering::SeqCst) {
            self.called.wait(&mut sleep);
        }
    }

    /// Has those replaced that are at a call for too long, and lets their callers end; tells whether anybody is at one.
    fn look(&self) -> bool {
        let mut busy = false;
        let mut waiting = Vec::new();
        let late = self.now().saturating_sub(u64::try_from(PERIOD.as_millis()).unwrap_or(0));
        self.posts.lock().retain(|(post, replace)| {
            let Some(post) = post.upgrade() else { return false };
            let since = post.state.load(Ordering::SeqCst);
            if since == IDLE {
                return true;
            }
            busy = true;
            if since <= late || since == RELIEVED {
                waiting.extend(post.caller.lock().clone());
            }
            if since <= late && self.relieved.load(Ordering::SeqCst) < MOST {
                replace(post, since);
            }
            true
        });
        for caller in waiting {
            caller.end_if_dying();
        }
        busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn who_is_at_it_too_long_is_relieved_and_no_other() {
        let relief = Arc::new(Relief::default());
        let (relieved, hears) = mpsc::channel();
        let post = relief.post({
            let relief = relief.clone();
            move |post, since| {
                let taken = relief.takes_over(&post, since);
                relieved.send(taken).unwrap();
            }
        });
        for _ in 0..3 {
            relief.begins(&post, None);
            assert!(relief.ends(&post));
        }
        assert_eq!(hears.recv_timeout(3 * PERIOD), Err(mpsc::RecvTimeoutError::Timeout));
        relief.begins(&post, None);
        assert_eq!(hears.recv(), Ok(true));
        assert!(!relief.ends(&post), "another thread is at its place");
        assert!(!relief.takes_over(&post, 1), "its call has ended");
    }
}
