//! The threads that hear notifications.
//!
//! One thread a listener, blocked in the request that receives: the kernel then hands the core from the caller to it and back, which neither a
//! poll before each request nor a second thread on the same listener allows (two idle threads cost 20 %, four 80 %). Only while
//! callers wait for one another there are more ([`team`](crate::team)).
//!
//! There is a listener for each process that was running when the filter became necessary, and these may be thousands: beyond a number, listeners are
//! served by a few threads together, which wait for all of them in epoll(7).

use crate::{
    Listener, Received,
    doorbell::{Doorbell, Request},
    execs::Execs,
    memory,
    notify::Notification,
    ptrace::Tid,
    relief::{self, Caller, Relief},
    rewrite::{Answered, Borrowed, Replaced},
    team::{Part, Team},
    verdict::{Borrow, Hypervisor, Intercepted, Interception, Verdict},
};
use ahash::{AHashMap, AHashSet};
use parking_lot::Mutex;
use std::{
    ffi::CStr,
    io, mem,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};
use vu_api::Errno;

/// How many listeners have a thread of their own.
const OWN_THREADS: usize = 64;
/// The same on kernels where a thread hears nothing of the end of the last process, and waits on (before 6.11): few enough not to matter.
const OWN_THREADS_OLD: usize = 4;
/// How many threads serve all others. A verdict may take its time, and some more calls are to be decided meanwhile.
const SHARED_THREADS: usize = 4;

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

    /// Whether a thread's call may pass.
    fn expects(&self, tid: Tid) -> bool {
        // Hardly any call is a rewritten one: no lock for the others.
        self.count.load(Ordering::SeqCst) != 0 && self.threads.lock().contains(&tid)
    }

    /// Whether this thread's call passes; it then passes no more.
    pub(crate) fn take(&self, tid: Tid) -> bool {
        if self.count.load(Ordering::SeqCst) == 0 || !self.threads.lock().remove(&tid) {
            return false;
        }
        self.count.fetch_sub(1, Ordering::SeqCst);
        true
    }
}

/// What every supervisor's thread works with.
struct Shared<H> {
    hypervisor: Arc<H>,
    doorbell: Arc<Doorbell>,
    passing: Arc<Passing>,
    execs: Arc<Execs>,
    own_threads: AtomicUsize,
    pool: Mutex<Option<Arc<Pool>>>,
    relief: Arc<Relief>,
}

/// Starts and feeds the supervisors' threads.
pub(crate) struct Supervisors<H>(Arc<Shared<H>>);

impl<H: Hypervisor> Supervisors<H> {
    pub(crate) fn new(
        hypervisor: Arc<H>,
        doorbell: Arc<Doorbell>,
        passing: Arc<Passing>,
        execs: Arc<Execs>,
        relief: Arc<Relief>,
    ) -> Supervisors<H> {
        let own_threads = AtomicUsize::new(if tells_the_end() { OWN_THREADS } else { OWN_THREADS_OLD });
        Supervisors(Arc::new(Shared {
            hypervisor,
            doorbell,
            passing,
            execs,
            own_threads,
            pool: Mutex::new(None),
            relief,
        }))
    }

    /// Has a listener served until no process uses it any more.
    pub(crate) fn serve(&self, listener: Listener) -> io::Result<()> {
        let listener = Arc::new(listener);
        let shared = &self.0;
        let free = shared.own_threads.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |free| free.checked_sub(1));
        if free.is_ok() {
            let (own, served) = (shared.clone(), listener.clone());
            let team = Arc::new(Team::new());
            if spawn(move || own.run(&served, &team, 0)) {
                return Ok(());
            }
            shared.own_threads.fetch_add(1, Ordering::SeqCst);
        }
        let mut pool = shared.pool.lock();
        let pool = match &mut *pool {
            Some(pool) => pool.clone(),
            none => {
                let made = Arc::new(Pool::new()?);
                let mut started = 0;
                for _ in 0..SHARED_THREADS {
                    let (own, pool) = (shared.clone(), made.clone());
                    started += usize::from(spawn(move || own.run_shared(&pool)));
                }
                if started == 0 {
                    return Err(io::Error::other("no thread can be started"));
                }
                none.insert(made).clone()
            }
        };
        pool.add(listener)
    }
}

/// Starts a thread that supervises; false if there can be no more.
fn spawn(run: impl FnOnce() + Send + 'static) -> bool {
    relief::start("supervisor", run)
}

impl<H: Hypervisor> Shared<H> {
    /// Serves a listener as long as it is used, and as long as nobody has to take over.
    fn run(self: &Arc<Self>, listener: &Arc<Listener>, team: &Arc<Team>, index: usize) {
        let (shared, served, its_team) = (self.clone(), listener.clone(), team.clone());
        let post = self.relief.post(move |post, since| {
            let (shared, served, team) = (shared.clone(), served.clone(), its_team.clone());
            spawn(move || {
                if shared.relief.takes_over(&post, since) {
                    drop(post);
                    shared.run(&served, &team, index);
                }
            });
        });
        let mut part = Part::new(team, index);
        while part.ready() {
            let since = Instant::now();
            let received = listener.receive();
            part.returned();
            match received {
                Received::Call(notification) => {
                    if let Some(another) = part.received(notification.tid, since.elapsed()) {
                        self.start_another(listener, team, another);
                    }
                    self.relief.begins(&post, Some(caller(listener, &notification)));
                    self.decide(listener, &notification);
                    if !self.relief.ends(&post) {
                        return;
                    }
                }
                Received::Nothing => {}
                Received::Ended => break,
            }
        }
        if index == 0 {
            team.end();
            self.own_threads.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn start_another(self: &Arc<Self>, listener: &Arc<Listener>, team: &Arc<Team>, index: usize) {
        let (shared, served, its_team) = (self.clone(), listener.clone(), team.clone());
        if !spawn(move || shared.run(&served, &its_team, index)) {
            team.give_up(index);
        }
    }

    fn run_shared(self: &Arc<Self>, pool: &Arc<Pool>) {
        let (shared, served) = (self.clone(), pool.clone());
        let post = self.relief.post(move |post, since| {
            let (shared, served, at) = (shared.clone(), served.clone(), post.listener());
            spawn(move || {
                if shared.relief.takes_over(&post, since) {
                    drop(post);
                    if let Some(listener) = at {
                        served.rearm_late(&listener);
                    }
                    shared.run_shared(&served);
                }
            });
        });
        loop {
            let Some((key, listener)) = pool.wait() else { continue };
            match listener.receive() {
                Received::Call(notification) => {
                    self.relief.begins(&post, Some(caller(&listener, &notification)));
                    self.decide(&listener, &notification);
                    if !self.relief.ends(&post) {
                        return;
                    }
                }
                Received::Nothing => {}
                Received::Ended => {
                    pool.remove(key, &listener);
                    continue;
                }
            }
            pool.rearm(key, &listener);
        }
    }

    fn decide(&self, listener: &Arc<Listener>, notification: &Notification) {
        let &Notification { id, tid, abi, nr, args, instruction } = notification;
        // Its caller may be dead, and its number another's, whose call it is that passes.
        if self.passing.expects(tid) && listener.waits(id) && self.passing.take(tid) {
            return listener.let_run(id);
        }
        let Some(abi) = abi else {
            return listener.answer(id, Errno::ENOSYS.as_result());
        };
        self.execs.calls(tid, abi, nr);
        let instead = |answered| {
            self.doorbell.ring(Request::Instead { tid, listener: listener.clone(), id, answered });
        };
        let by = Interception::Notification { listener, id };
        match self.hypervisor.intercepted(&Intercepted { tid, abi, nr, args, instruction, by }) {
            Verdict::Continue => listener.let_run(id),
            // Perhaps nothing is wrong with the call, but it could not be read, nor what `/proc` tells of the caller.
            Verdict::Return(result)
                if [Errno::EPERM, Errno::EACCES].map(Errno::as_result).contains(&result)
                    && memory::unreadable(tid, instruction) =>
            {
                instead(Answered::Expose);
            }
            Verdict::Return(result) => listener.answer(id, result),
            Verdict::Install(descriptor) => listener.install(tid, id, descriptor),
            Verdict::Rewrite(rewrite) => instead(Answered::Rewrite(Replaced { rewrite, abi, nr, args })),
            Verdict::Borrow(Borrow { fd, nr, finish }) => match listener.give(tid, id, fd.as_fd(), true) {
                Ok(number) => instead(Answered::Borrow(Borrowed { number, abi, nr, finish })),
                Err(errno) => listener.answer(id, errno.as_result()),
            },
        }
    }
}

fn caller(listener: &Arc<Listener>, notification: &Notification) -> Caller {
    Caller { tid: notification.tid, listener: listener.clone(), id: notification.id }
}

/// Listeners that are served together. One that has a call is given to one thread, and to no other before that has dealt with it.
struct Pool {
    epoll: OwnedFd,
    listeners: Mutex<(u64, AHashMap<u64, Arc<Listener>>)>,
}

impl Pool {
    fn new() -> io::Result<Pool> {
        // SAFETY: a plain number is passed and returned; the descriptor is nobody else's.
        let epoll = unsafe {
            let fd = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Pool { epoll, listeners: Mutex::default() })
    }

    fn control(&self, operation: i32, key: u64, listener: &Listener) -> io::Result<()> {
        let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLONESHOT).cast_unsigned(), u64: key };
        let (epoll, fd) = (self.epoll.as_raw_fd(), listener.as_fd().as_raw_fd());
        // SAFETY: both descriptors are open; the kernel reads one epoll_event.
        let result = unsafe { libc::epoll_ctl(epoll, operation, fd, &raw mut event) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn add(&self, listener: Arc<Listener>) -> io::Result<()> {
        let key = {
            let mut listeners = self.listeners.lock();
            let key = listeners.0;
            listeners.0 += 1;
            listeners.1.insert(key, listener.clone());
            key
        };
        // One that nobody hears is not to stay open: its callers would wait for ever.
        self.control(libc::EPOLL_CTL_ADD, key, &listener).inspect_err(|_| drop(self.listeners.lock().1.remove(&key)))
    }

    fn remove(&self, key: u64, listener: &Listener) {
        let _ = self.control(libc::EPOLL_CTL_DEL, key, listener);
        self.listeners.lock().1.remove(&key);
    }

    fn rearm(&self, key: u64, listener: &Listener) {
        let _ = self.control(libc::EPOLL_CTL_MOD, key, listener);
    }

    /// The same of one whose thread is at its call for too long.
    fn rearm_late(&self, listener: &Arc<Listener>) {
        let key = self.listeners.lock().1.iter().find(|(_, known)| Arc::ptr_eq(known, listener)).map(|(&key, _)| key);
        if let Some(key) = key {
            self.rearm(key, listener);
        }
    }

    /// The next listener that has a call, or has ended.
    fn wait(&self) -> Option<(u64, Arc<Listener>)> {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: the kernel writes one epoll_event at most.
        let got = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), &raw mut event, 1, -1) };
        if got != 1 {
            return None;
        }
        let key = event.u64;
        let listener = self.listeners.lock().1.get(&key).cloned();
        listener.map(|listener| (key, listener))
    }
}

/// Whether a thread that receives hears that no process uses the filter any more (Linux 6.11).
fn tells_the_end() -> bool {
    // SAFETY: all-zero is a valid value of these arrays of bytes, and the kernel fills them with C strings.
    let release = unsafe {
        let mut name: libc::utsname = mem::zeroed();
        libc::uname(&raw mut name);
        CStr::from_ptr(name.release.as_ptr()).to_string_lossy().into_owned()
    };
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0u32));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (6, 11)
}
