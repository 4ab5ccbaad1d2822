//! Calls that end with `EINTR` although no signal came that the program knows of.
//!
//! Most sleeping calls that are interrupted without a signal handler are restarted by the kernel, timeouts and all; some are not, but end with `EINTR`
//! (epoll_wait, semop, sigtimedwait, sockets with a timeout; signal(7)). Without us they would be interrupted by handlers and by
//! stop signals only. Being traced, they are by two more things: an interrupt of ours, and a signal that the program ignores, which the kernel drops at once
//! unless the tracer may want to see it (`sig_ignored`, `kernel/signal.c`). Then they are made again.
//!
//! Should a signal with a handler come before the call is made again, it ends with `EINTR` after all: a handler that runs in the midst of
//! epoll_pwait(2), whose mask let the signal in, must wake the program.

use crate::{
    memory::{Memory, ProcessMemory},
    proc::{self, Status},
    ptrace::{Boundary, Delivery, Gone, Stopped, Tid, interrupt},
    tracer::{Phase, Thread},
    verdict::{Argument, Rewrite},
    x86_64::{Abi, Registers},
};
use ahash::AHashMap;
use std::mem;
use vu_api::Errno;

/// Whether a call that failed with `EINTR` has done nothing, so that it may be made again. close(2) has closed the descriptor.
fn repeatable(abi: Abi, nr: i64) -> bool {
    nr != abi.numbers().close
}

/// At a stop that we asked for: a call that our interrupt made fail is made again. If it sleeps with a timeout, and how long
/// it has slept is known, the call that takes its place is returned.
pub(crate) fn after_interrupt<H>(
    stopped: &Stopped<Boundary>,
    thread: &mut Thread<H>,
    timeout: Option<Timeout>,
) -> Result<Option<Rewrite>, Gone> {
    let own = stopped.registers()?;
    if !own.in_syscall() || own.result() != Errno::EINTR.as_result() {
        return Ok(None);
    }
    let abi = stopped.abi(&own);
    let pending = Status::read(stopped.tid()).is_none_or(|status| status.signal_pending());
    if pending || !repeatable(abi, own.syscall()) {
        return Ok(None);
    }
    thread.repaired = Some(Box::new(own));
    if abi == Abi::X86_64
        && let Some(timeout) = timeout
        && let Some(rewrite) = timeout.rest(stopped.tid(), own.syscall(), own.args(abi))
    {
        thread.sleeps_since = Some(timeout.since);
        return Ok(Some(rewrite));
    }
    let mut regs = own;
    regs.reissue();
    stopped.set_registers(&regs)?;
    Ok(None)
}

/// Before a signal is delivered to a program that is in no call: if it is one that is about to be made again, and the signal has a handler, it is interrupted
/// after all.
pub(crate) fn before_signal<H>(
    stopped: &Stopped<Delivery>,
    thread: &mut Thread<H>,
    regs: &Registers,
    signal: i32,
) -> Result<(), Gone> {
    if let Some(own) = thread.repaired.as_deref()
        && regs.is_reissue_of(own)
        && Status::read(stopped.tid()).is_some_and(|status| status.catches(signal))
    {
        stopped.set_registers(own)?;
        thread.repaired = None;
        thread.phase = Phase::Free;
    }
    Ok(())
}

/// Before a signal is delivered that ended a call with `EINTR`: if the program ignores it, the call is made again; one that sleeps with a timeout at the
/// stop that is asked for here, with what is left of it.
pub(crate) fn before_ignored<H>(
    stopped: &Stopped<Delivery>,
    thread: &mut Thread<H>,
    own: &Registers,
    signal: i32,
) -> Result<(), Gone> {
    let Some(status) = Status::read(stopped.tid()) else { return Err(Gone) };
    let abi = stopped.abi(own);
    let since = thread.sleeps_since.take();
    if !status.ignores(signal) || status.signal_pending() || !repeatable(abi, own.syscall()) {
        return Ok(());
    }
    if abi == Abi::X86_64 && has_timeout(own.syscall(), own.args(abi)) {
        // Of the first time it is not known when it began; each further one must not begin anew, or a signal that comes again and again would keep it
        // asleep for ever.
        let since = since.unwrap_or_else(monotonic_milliseconds);
        thread.timeout = Some(Timeout { since, nr: own.syscall() });
        thread.asked = interrupt(stopped.tid()).is_ok();
        return Ok(());
    }
    thread.repaired = Some(Box::new(*own));
    let mut regs = *own;
    regs.reissue();
    stopped.set_registers(&regs)
}

/// Since when a thread sleeps in a call with a timeout.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeout {
    /// In milliseconds of `CLOCK_MONOTONIC`.
    since: f64,
    nr: i64,
}

/// Translates times of the scheduler, which has a clock for each processor: they differ by what was stolen or spent in interrupts.
#[derive(Default)]
pub(crate) struct SchedulerClocks {
    /// By processor: what is to be added to have `CLOCK_MONOTONIC`, in milliseconds; `None` if it cannot be known.
    offsets: AHashMap<usize, Option<f64>>,
}

impl SchedulerClocks {
    /// When a thread last ran.
    fn last_ran(&mut self, tid: Tid) -> Option<f64> {
        let (processor, time) = (proc::processor(tid)?, proc::last_ran(tid)?);
        Some(time + (*self.offsets.entry(processor).or_insert_with(|| offset_of(processor)))?)
    }
}

/// Moves to a processor for a moment, to read its clock.
fn offset_of(processor: usize) -> Option<f64> {
    if processor >= libc::CPU_SETSIZE.unsigned_abs() as usize {
        return None;
    }
    // SAFETY: all-zero is an empty set; the kernel reads or writes one set each; the processor is inside of it.
    unsafe {
        let size = size_of::<libc::cpu_set_t>();
        let (mut own, mut one): (libc::cpu_set_t, libc::cpu_set_t) = (mem::zeroed(), mem::zeroed());
        libc::CPU_SET(processor, &mut one);
        if libc::sched_getaffinity(0, size, &raw mut own) != 0 || libc::sched_setaffinity(0, size, &raw const one) != 0
        {
            return None;
        }
        // It was just put on this processor.
        let offset = proc::last_ran(Tid(libc::gettid())).map(|own| monotonic_milliseconds() - own);
        libc::sched_setaffinity(0, size, &raw const own);
        offset
    }
}

/// How a call is given its timeout, which is to be finite.
#[derive(Clone, Copy)]
enum Given {
    /// Milliseconds in the argument of this index.
    Milliseconds(usize),
    /// A pointer to a timespec in the argument of this index.
    Timespec(usize),
}

/// Which libc does not name.
const SYS_IO_PGETEVENTS: i64 = 333;

/// The calls that sleep with a timeout and that the kernel does not restart.
fn given(nr: i64) -> Option<Given> {
    Some(match nr {
        libc::SYS_epoll_wait | libc::SYS_epoll_pwait => Given::Milliseconds(3),
        libc::SYS_epoll_pwait2 | libc::SYS_semtimedop => Given::Timespec(3),
        libc::SYS_rt_sigtimedwait => Given::Timespec(2),
        libc::SYS_io_getevents | SYS_IO_PGETEVENTS => Given::Timespec(4),
        _ => return None,
    })
}

/// Whether a call sleeps with a timeout, and would not be restarted with what is left of it.
fn has_timeout(nr: i64, args: [u64; 6]) -> bool {
    match given(nr) {
        // An int: −1 is for ever.
        Some(Given::Milliseconds(at)) => args[at] & 0x8000_0000 == 0,
        Some(Given::Timespec(at)) => args[at] != 0,
        None => false,
    }
}

fn monotonic_milliseconds() -> f64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    milliseconds(now.tv_sec, now.tv_nsec)
}

#[expect(clippy::cast_precision_loss, reason = "a microsecond is enough")]
fn milliseconds(seconds: i64, nanoseconds: i64) -> f64 {
    seconds as f64 * 1e3 + nanoseconds as f64 / 1e6
}

impl Timeout {
    /// To be called before the thread is interrupted: of one that sleeps in such a call.
    pub(crate) fn of(tid: Tid, clocks: &mut SchedulerClocks) -> Option<Timeout> {
        let (nr, args) = proc::sleeps_in(tid)?;
        if !has_timeout(nr, args) {
            return None;
        }
        Some(Timeout { since: clocks.last_ran(tid)?, nr })
    }

    /// The call with what is left of its timeout.
    fn rest(self, tid: Tid, nr: i64, args: [u64; 6]) -> Option<Rewrite> {
        let passed = monotonic_milliseconds() - self.since;
        if nr != self.nr || !passed.is_finite() || passed <= 0.0 {
            return None;
        }
        let mut new: [Argument; 6] = Default::default();
        match given(nr)? {
            Given::Milliseconds(at) => {
                let whole = u32::try_from(args[at] & 0xffff_ffff).ok()?;
                new[at] = Argument::Value(to_whole(f64::from(whole) - passed));
            }
            Given::Timespec(at) => {
                let memory = ProcessMemory(tid);
                let seconds = memory.read_u64(args[at]).ok()?.cast_signed();
                let nanoseconds = memory.read_u64(args[at].wrapping_add(8)).ok()?.cast_signed();
                let left = to_whole((milliseconds(seconds, nanoseconds) - passed) * 1e3);
                let (seconds, nanoseconds) = (left / 1_000_000, left % 1_000_000 * 1000);
                new[at] = Argument::Bytes([seconds.to_le_bytes(), nanoseconds.to_le_bytes()].concat());
            }
        }
        Some(Rewrite { nr, args: new, cookie: false, finish: None, placed: None, filter: None })
    }
}

/// A whole number of units, at least 0: a timeout that has passed is asked for once more, as an immediate one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturating, as `as` is")]
fn to_whole(units: f64) -> u64 {
    units.max(0.0).ceil() as u64
}
