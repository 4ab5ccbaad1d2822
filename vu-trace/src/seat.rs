//! Where the tracer waits: on one core, as long as it is served there at once.
//!
//! A tracee that stops wakes the tracer, and where another core idles the kernel has it go on there (`select_idle_sibling`, `kernel/sched/fair.c`): in a virtual machine
//! 15 µs for the sleeping core, five times for each program that a shell starts, while the tracee's own core is free for just as long. Bound to a core, the tracer is
//! joined by its tracees, since whom it lets go on is woken from there. But where several tracees compute, the one core is busy while others idle,
//! and the tracer waits in its queue. The kernel tells how long it did, and then it is free again, for longer each time.

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};
use std::{fs::File, io, mem, os::unix::fs::FileExt, str, sync::LazyLock, thread};

/// After so many stops it is looked how long the tracer waited for its core.
const ROUND: u32 = 32;
/// If it waits longer than this for a stop, in nanoseconds and on the average, it is bound no longer.
const PATIENCE: u64 = 60_000;
/// For so many rounds it is free then; twice as many each further time.
const PAUSE: u32 = 8;
const LONGEST_PAUSE: u32 = 1024;

/// Where the hypervisor may run, as it was started.
pub(crate) static ALLOWED: LazyLock<CpuSet> = LazyLock::new(|| sched_getaffinity(Pid::from_raw(0)).unwrap_or_default());

/// Starts a thread that may run wherever the hypervisor may, though its maker is bound to a core. `EAGAIN` if there can be no more (pthread_create(3)).
pub fn start(name: &str, stack: usize, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    // Looked at before it is too late.
    LazyLock::force(&ALLOWED);
    let run = move || {
        unbind();
        run();
    };
    thread::Builder::new().name(name.into()).stack_size(stack).spawn(run).map(drop)
}

/// The tracer's own; it belongs to its thread.
pub(crate) struct Seat {
    /// `/proc/thread-self/schedstat`: time on a core, time in the queue (nanoseconds), times on a core; proc(5). None where the kernel does not tell.
    account: Option<File>,
    bound: bool,
    stops: u32,
    delay: u64,
    pause: u32,
    next_pause: u32,
}

impl Seat {
    /// Of the calling thread, which is free at first.
    pub(crate) fn new() -> Seat {
        let several = allowed_from(0).nth(1).is_some();
        let account = File::open("/proc/thread-self/schedstat").ok().filter(|_| several);
        Seat { account, bound: false, stops: 0, delay: 0, pause: 0, next_pause: PAUSE }
    }

    /// A tracee has stopped.
    pub(crate) fn stop(&mut self) {
        self.stops += 1;
        if self.stops < ROUND {
            return;
        }
        self.stops = 0;
        if self.account.is_some() {
            let waited = self.waited();
            self.round(waited);
        }
    }

    /// After a round, with how long this thread has waited for a core so far (nanoseconds).
    fn round(&mut self, waited: Option<u64>) {
        let Some(waited) = waited else { return self.release() };
        let since = waited.saturating_sub(mem::replace(&mut self.delay, waited));
        if !self.bound {
            self.pause = self.pause.saturating_sub(1);
            if self.pause == 0 {
                self.bind();
            }
        } else if since > PATIENCE * u64::from(ROUND) {
            self.release();
            self.pause = self.next_pause;
            self.next_pause = (self.next_pause * 2).min(LONGEST_PAUSE);
        } else {
            self.next_pause = (self.next_pause - self.next_pause / 8).max(PAUSE);
        }
    }

    fn bind(&mut self) {
        self.bound = sched_getcpu().is_ok_and(bind_to);
    }

    fn release(&mut self) {
        self.bound = false;
        unbind();
    }

    fn waited(&self) -> Option<u64> {
        let mut text = [0; 128];
        let length = self.account.as_ref()?.read_at(&mut text, 0).ok()?;
        str::from_utf8(text.get(..length)?).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
    }
}

/// The cores on which the hypervisor may run, from this one on and round.
pub(crate) fn allowed_from(first: usize) -> impl Iterator<Item = usize> {
    let count = CpuSet::count();
    (0..count).map(move |step| (first + step) % count).filter(|&core| ALLOWED.is_set(core) == Ok(true))
}

/// Has the calling thread run on this core only; false if it may not.
pub(crate) fn bind_to(core: usize) -> bool {
    let mut one = CpuSet::new();
    one.set(core).is_ok() && sched_setaffinity(Pid::from_raw(0), &one).is_ok()
}

/// Has the calling thread run wherever the hypervisor may.
pub(crate) fn unbind() {
    let _ = sched_setaffinity(Pid::from_raw(0), &ALLOWED);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn affinity() -> CpuSet {
        sched_getaffinity(Pid::from_raw(0)).unwrap()
    }

    fn cores() -> usize {
        let now = affinity();
        (0..CpuSet::count()).filter(|&core| now.is_set(core) == Ok(true)).count()
    }

    #[test]
    fn who_waits_for_its_core_is_bound_no_longer_and_tries_again_ever_later() {
        let mut seat = Seat::new();
        let all = cores();
        let (mut waited, mut pauses) = (0, Vec::new());
        for _ in 0..12 {
            let mut pause = 0;
            while !seat.bound {
                seat.round(Some(waited));
                pause += 1;
            }
            pauses.push(pause);
            assert_eq!(cores(), 1);
            // Served at once.
            seat.round(Some(waited + 1000));
            assert_eq!((seat.bound, cores()), (true, 1));
            waited += PATIENCE * u64::from(ROUND) + 2000;
            seat.round(Some(waited));
            assert_eq!((seat.bound, cores()), (false, all));
        }
        assert!(pauses.is_sorted() && pauses[1] < pauses[5] && *pauses.last().unwrap() <= LONGEST_PAUSE, "{pauses:?}");
        // Where the kernel does not tell.
        seat.bind();
        seat.round(None);
        assert_eq!((seat.bound, cores()), (false, all));
    }

    #[test]
    fn the_kernel_tells_how_long_a_thread_waited() {
        assert!(Seat { account: File::open("/proc/thread-self/schedstat").ok(), ..Seat::new() }.waited().is_some());
    }

    #[test]
    fn a_thread_that_is_started_is_not_bound_as_its_maker_is() {
        let before = affinity();
        let mut seat = Seat::new();
        seat.bind();
        assert!(seat.bound);
        let (send, receive) = mpsc::channel();
        start("free", 1 << 17, move || send.send(affinity()).unwrap()).unwrap();
        assert_eq!(receive.recv().unwrap(), before);
        seat.release();
        assert_eq!(affinity(), before);
    }
}
