//! Giving running processes the filters that have become necessary.
//!
//! All threads are interrupted; the first of a process that stops has the filter installed in all of its process (`SECCOMP_FILTER_FLAG_TSYNC`). A thread
//! that is asleep inside the kernel and cannot be interrupted (a parent in vfork(2)) stops before it is back in its program.
//!
//! A process that has filters of its own in some of its threads gets ours in each thread by itself. One that cannot hold a
//! listener, because it has no descriptor to spare or a listener of its own, gets the filter with stops in place of notifications.

use crate::{
    Listener,
    debugger::{self, Waits},
    inject::address_or_errno,
    memory::{self, Memory, ProcessMemory},
    ptrace::{Boundary, Gone, Stopped, Tid, interrupt},
    repair::{SchedulerClocks, Timeout},
    space::{BelowStack, Scratch},
    tracer::{Phase, Thread, Tracer},
    verdict::Hypervisor,
    x86_64::Abi,
};
use parking_lot::Mutex;
use std::{
    os::fd::{FromRawFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tracing::error;
use vu_api::Errno;

/// A compiled seccomp filter.
#[derive(Clone)]
pub struct Filter {
    /// The program.
    pub program: Arc<[libc::sock_filter]>,
    /// Whether it notifies: then a listener comes with it.
    pub notifies: bool,
}

impl Filter {
    /// The filter with a stop wherever it has a notification.
    fn stopping(&self) -> Filter {
        let stop = |instruction: &libc::sock_filter| {
            let verdict = instruction.code == RETURN && instruction.k == libc::SECCOMP_RET_USER_NOTIF;
            libc::sock_filter { k: if verdict { libc::SECCOMP_RET_TRACE } else { instruction.k }, ..*instruction }
        };
        Filter { program: self.program.iter().map(stop).collect(), notifies: false }
    }

    /// As it lies in a tracee's memory at `address`: `struct sock_fprog`, and behind it the instructions.
    fn image(&self, address: u64, abi: Abi) -> Vec<u8> {
        const HEADER: usize = 16;
        let mut bytes = vec![0u8; HEADER];
        let count = u16::try_from(self.program.len()).unwrap_or(u16::MAX);
        bytes[..2].copy_from_slice(&count.to_le_bytes());
        let width = abi.pointer_size();
        bytes[width..2 * width].copy_from_slice(&(address + HEADER as u64).to_le_bytes()[..width]);
        for instruction in self.program.iter() {
            bytes.extend_from_slice(&instruction.code.to_le_bytes());
            bytes.extend_from_slice(&[instruction.jt, instruction.jf]);
            bytes.extend_from_slice(&instruction.k.to_le_bytes());
        }
        bytes
    }
}

/// `BPF_RET | BPF_K`
const RETURN: u16 = 0x06;

/// The filters that every process of the view has to have, beyond the base filter, in the order in which they are installed.
///
/// What the hypervisor adds here while it handles a call that was intercepted by a stop is in force before that call returns.
#[derive(Default)]
pub struct Required {
    filters: Mutex<Vec<Filter>>,
    count: AtomicUsize,
}

impl Required {
    /// Adds a filter.
    pub fn add(&self, filter: Filter) {
        let mut filters = self.filters.lock();
        filters.push(filter);
        self.count.store(filters.len(), Ordering::Release);
    }

    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    fn get(&self, index: usize) -> Option<Filter> {
        self.filters.lock().get(index).cloned()
    }
}

const SECCOMP_SET_MODE_FILTER: u64 = 1;
const FLAG_TSYNC: u64 = 1;
/// A filter is no sandbox here: it is not to bring the mitigation of speculative stores along, which the program would not have outside.
pub(crate) const FLAG_SPEC_ALLOW: u64 = 1 << 2;
const FLAG_NEW_LISTENER: u64 = 1 << 3;
const FLAG_TSYNC_ESRCH: u64 = 1 << 4;
/// Linux 5.19.
const FLAG_WAIT_KILLABLE_RECV: u64 = 1 << 5;

/// Which of its filters a process is given.
#[derive(Clone, Copy)]
enum Which {
    /// The required one of this index.
    Required(usize),
    /// The one that it alone is to have.
    Wanted,
    /// That of a debugger.
    Waits,
}

/// A filter on its way into a process.
struct Installation {
    filter: Filter,
    which: Which,
    abi: Abi,
    flags: u64,
    /// What its image lies in.
    place: Scratch,
    /// The process promised to gain no rights by an exec, as who is not root must.
    promised: bool,
    /// The process's own limit of descriptors, while it is raised.
    limit: Option<libc::rlimit>,
}

impl<H: Hypervisor> Tracer<H> {
    /// Has all threads stop that lack a filter.
    pub(crate) fn spread(&mut self) {
        let target = self.required.len();
        if target == self.spread {
            return;
        }
        self.spread = target;
        let mut clocks = SchedulerClocks::default();
        for (&tid, thread) in self.threads.iter_mut().filter(|(_, thread)| thread.filters < target) {
            thread.timeout = Timeout::of(tid, &mut clocks);
            thread.asked = interrupt(tid).is_ok();
        }
    }

    /// Has a process get a filter that others need not have: the caller sees to it that one of its threads stops before it goes on with its program.
    pub(crate) fn want(&mut self, process: Tid, filter: &Filter) {
        for thread in self.threads.values_mut().filter(|thread| thread.process == process) {
            thread.wanted_filter = Some(filter.clone());
        }
    }

    /// Installs the next of the filters that a tracee lacks; it comes here again for the one behind that.
    pub(crate) fn bring_up_to_date(&mut self, stopped: Stopped<Boundary>) -> Result<(), Gone> {
        let tid = stopped.tid();
        let Some(thread) = self.threads.get_mut(&tid) else { return Ok(()) };
        let index = thread.filters;
        let (filter, which) = match self.required.get(index) {
            Some(filter) => (filter, Which::Required(index)),
            None => match (&thread.wanted_filter, thread.waits) {
                (Some(filter), _) => (filter.clone(), Which::Wanted),
                (None, Waits::Wanted) => (debugger::wait_filter(), Which::Waits),
                (None, _) => return self.go_on(stopped),
            },
        };
        let regs = stopped.registers()?;
        if memory::unreadable(tid, regs.instruction()) {
            // At its next call it is made readable, and comes here again before the call is made.
            if matches!(thread.phase, Phase::Free) {
                thread.phase = Phase::Unreadable;
            }
            return self.go_on(stopped);
        }
        self.place(stopped, filter, which, regs.abi())
    }

    /// Puts the filter's image into the tracee.
    fn place(&mut self, stopped: Stopped<Boundary>, filter: Filter, which: Which, abi: Abi) -> Result<(), Gone> {
        let length = filter.image(0, abi).len();
        self.with_memory(stopped, abi, length, move |tracer, stopped, lease| {
            let memory = ProcessMemory(stopped.tid());
            // No handler runs now.
            let stack = stopped.registers()?.stack();
            let place = lease.map(Scratch::Area).ok();
            let place = place.or_else(|| BelowStack::far(&memory, stack, length).map(Scratch::Stack));
            let Some(place) = place else { return tracer.give_up(stopped, Errno::ENOMEM) };
            if let Err(errno) = memory.write(place.address(), &filter.image(place.address(), abi)) {
                return tracer.give_up(stopped, errno);
            }
            let listener = if filter.notifies { FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV } else { 0 };
            let flags = FLAG_SPEC_ALLOW | FLAG_TSYNC | FLAG_TSYNC_ESRCH | listener;
            let job = Installation { filter, which, abi, flags, place, promised: false, limit: None };
            tracer.set_filter(stopped, job)
        })
    }

    fn set_filter(&mut self, stopped: Stopped<Boundary>, job: Installation) -> Result<(), Gone> {
        let args = [SECCOMP_SET_MODE_FILTER, job.flags, job.place.address(), 0, 0, 0];
        self.inject(stopped, job.abi, job.abi.numbers().seccomp, args, move |tracer, stopped, result| {
            tracer.filter_set(stopped, job, result)
        })
    }

    /// Looks at the result of installing a filter. What can be remedied is tried again.
    fn filter_set(&mut self, stopped: Stopped<Boundary>, mut job: Installation, result: i64) -> Result<(), Gone> {
        let tid = stopped.tid();
        let process = self.threads.get(&tid).map_or(tid, |thread| thread.process);
        let result = address_or_errno(result);
        let notifies = job.flags & FLAG_NEW_LISTENER != 0;
        match result {
            // Before Linux 5.19: waits for verdicts can be interrupted by signals, and are repaired then.
            Err(Errno::EINVAL) if job.flags & FLAG_WAIT_KILLABLE_RECV != 0 => {
                job.flags &= !FLAG_WAIT_KILLABLE_RECV;
                return self.set_filter(stopped, job);
            }
            // A process that gave up root's rights below a root's view: it may only install filters if it gains none by an exec.
            Err(Errno::EACCES) if !job.promised => {
                job.promised = true;
                let args = [libc::PR_SET_NO_NEW_PRIVS.unsigned_abs().into(), 1, 0, 0, 0, 0];
                return self.inject(stopped, job.abi, job.abi.numbers().prctl, args, move |tracer, stopped, _| {
                    tracer.set_filter(stopped, job)
                });
            }
            // Another thread has filters of its own: each gets ours by itself, when it stops.
            Err(Errno::ESRCH) if job.flags & FLAG_TSYNC != 0 => {
                job.flags &= !(FLAG_TSYNC | FLAG_TSYNC_ESRCH);
                return self.set_filter(stopped, job);
            }
            Err(Errno::EMFILE) if job.limit.is_none() => {
                job.limit = raise_descriptor_limit(process);
                if job.limit.is_some() {
                    return self.set_filter(stopped, job);
                }
            }
            _ => {}
        }
        if let Some(own) = job.limit.take() {
            limit_descriptors(process, Some(&own));
        }
        job.place.put_back(tid);
        match result {
            Err(Errno::EMFILE | Errno::EBUSY) if notifies => {
                self.place(stopped, job.filter.stopping(), job.which, job.abi)
            }
            Err(errno) => self.give_up(stopped, errno),
            Ok(0) if !notifies => self.has_filter(stopped, &job),
            Ok(number) if notifies => self.take_listener(stopped, process, number, job),
            // The program's own filter answered in the kernel's place.
            Ok(_) => self.give_up(stopped, Errno::ENOSYS),
        }
    }

    fn take_listener(
        &mut self,
        stopped: Stopped<Boundary>,
        process: Tid,
        number: u64,
        job: Installation,
    ) -> Result<(), Gone> {
        let served = match take_descriptor(process, number) {
            // The program's own filter has answered in the kernel's place.
            Err(Errno::EBADF) => return self.give_up(stopped, Errno::EBADF),
            taken => taken.and_then(|fd| self.supervisors.serve(Listener::new(fd)).map_err(Errno::from)),
        };
        // Its calls would wait for ever as long as the listener is open in the process itself, and nobody listens.
        if let Err(errno) = served {
            error!("process {process}: nobody can serve its system calls ({errno}); they fail with ENOSYS");
        }
        let args = [number, 0, 0, 0, 0, 0];
        self.inject(stopped, job.abi, job.abi.numbers().close, args, move |tracer, stopped, _| {
            tracer.has_filter(stopped, &job)
        })
    }

    /// The tracee has got a filter, and all of its process with it unless it was for the one thread.
    fn has_filter(&mut self, stopped: Stopped<Boundary>, job: &Installation) -> Result<(), Gone> {
        let tid = stopped.tid();
        let note = |thread: &mut Thread<H>| match job.which {
            Which::Required(index) => thread.filters = thread.filters.max(index + 1),
            Which::Wanted => thread.wanted_filter = None,
            Which::Waits => thread.waits = Waits::Seen,
        };
        if let Some(thread) = self.threads.get_mut(&tid) {
            note(thread);
            let process = thread.process;
            let alone = self.processes.get(&process).is_none_or(|process| process.threads <= 1);
            if job.flags & FLAG_TSYNC != 0 && !alone {
                self.threads.values_mut().filter(|thread| thread.process == process).for_each(note);
            }
        }
        self.seen(tid);
        self.bring_up_to_date(stopped)
    }

    fn give_up(&mut self, stopped: Stopped<Boundary>, errno: Errno) -> Result<(), Gone> {
        let tid = stopped.tid();
        if let Some(thread) = self.threads.get_mut(&tid) {
            if thread.filters < self.required.len() || thread.wanted_filter.is_some() {
                error!("thread {tid} escapes the view: a filter cannot be installed ({errno})");
            } else {
                error!("thread {tid} will not hear of the processes it traces: a filter cannot be installed ({errno})");
            }
            thread.give_up(self.required.len());
        }
        self.go_on(stopped)
    }
}

/// Sets a process's limit of descriptors, and gives the former one.
fn limit_descriptors(process: Tid, new: Option<&libc::rlimit>) -> Option<libc::rlimit> {
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the kernel reads one struct rlimit, or none, and writes one.
    let result = unsafe { libc::prlimit(process.0, libc::RLIMIT_NOFILE, new, &raw mut old) };
    (result == 0).then_some(old)
}

/// Raises a process's limit of descriptors for a moment, as far as is allowed; gives its own.
fn raise_descriptor_limit(process: Tid) -> Option<libc::rlimit> {
    let own = limit_descriptors(process, None)?;
    // Beyond the hard limit only root can go.
    let beyond = own.rlim_max.saturating_add(4096).min(1 << 20).max(own.rlim_max);
    for limit in [beyond, own.rlim_max] {
        let raised = libc::rlimit { rlim_cur: limit, rlim_max: limit };
        if limit > own.rlim_cur && limit_descriptors(process, Some(&raised)).is_some() {
            return Some(own);
        }
    }
    None
}

/// A copy of a descriptor of another process.
fn take_descriptor(process: Tid, number: u64) -> Result<OwnedFd, Errno> {
    // SAFETY: both calls take plain numbers and return a descriptor that nothing else owns.
    unsafe {
        let pidfd = libc::syscall(libc::SYS_pidfd_open, process.0, 0);
        let Ok(pidfd) = i32::try_from(pidfd) else { return Err(Errno::EMFILE) };
        if pidfd < 0 {
            return Err(Errno::last());
        }
        let pidfd = OwnedFd::from_raw_fd(pidfd);
        let fd = libc::syscall(libc::SYS_pidfd_getfd, std::os::fd::AsRawFd::as_raw_fd(&pidfd), number, 0);
        match i32::try_from(fd) {
            Ok(fd) if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd)),
            _ => Err(Errno::last()),
        }
    }
}
