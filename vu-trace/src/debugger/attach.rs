//! How a thread becomes a debuggee, and ceases to be one.

use super::{Attached, Dead, Debuggee, Sent, Told, Waits};
use crate::{
    proc::{Status, sleeps_in},
    ptrace::{Resume, Tid, interrupt, tgkill},
    repair::{SchedulerClocks, Timeout},
    tracer::{Phase, Tracer},
    verdict::{Hypervisor, Verdict},
    x86_64::Abi,
};
use std::{fs, os::unix::fs::MetadataExt};
use vu_api::Errno;

/// The number of `CAP_SYS_PTRACE`.
const CAP_SYS_PTRACE: u64 = 19;
/// How many dead debuggees are remembered for debuggers that never wait.
const MOST_DEAD: usize = 1 << 16;

// waitid(2)
pub(super) const CLD_EXITED: i32 = 1;
pub(super) const CLD_KILLED: i32 = 2;
pub(super) const CLD_DUMPED: i32 = 3;

/// The user a process belongs to.
pub(super) fn owner(tid: Tid) -> u32 {
    Status::read(tid).map_or(0, |status| status.users()[0])
}

/// Whether a thread may debug another one (`__ptrace_may_access` with `PTRACE_MODE_ATTACH_REALCREDS`, and `cap_ptrace_access_check`).
fn may_debug(debugger: Tid, tid: Tid) -> Result<(), Errno> {
    let (Some(own), Some(other)) = (Status::read(debugger), Status::read(tid)) else { return Err(Errno::ESRCH) };
    let privileged = own.capabilities() & 1 << CAP_SYS_PTRACE != 0;
    let same = |own: [u32; 3], other: [u32; 3]| other == [own[0]; 3];
    let like = same(own.users(), other.users()) && same(own.groups(), other.groups());
    // The directory of a process that is not dumpable belongs to root (proc(5)).
    let dumpable = fs::metadata(format!("/proc/{tid}")).is_ok_and(|directory| directory.uid() == other.users()[1]);
    let weaker = other.permitted_capabilities() & !own.permitted_capabilities() == 0;
    // It means others by its numbers.
    if own.in_inner_namespace() {
        return Err(Errno::EPERM);
    }
    if privileged || like && dumpable && weaker { Ok(()) } else { Err(Errno::EPERM) }
}

impl<H: Hypervisor> Tracer<H> {
    /// `PTRACE_TRACEME`: the thread that is the parent becomes the debugger (`ptrace_traceme`).
    pub(super) fn trace_me(&mut self, tid: Tid) -> Result<(), Errno> {
        let thread = self.threads.get(&tid).ok_or(Errno::ESRCH)?;
        if thread.debuggee.is_some() {
            return Err(Errno::EPERM);
        }
        let status = Status::read(tid).ok_or(Errno::EPERM)?;
        let parent = status.parent().ok_or(Errno::EPERM)?;
        let maker = self.processes.get(&thread.process).and_then(|process| process.maker);
        let maker = maker.filter(|maker| self.threads.get(maker).is_some_and(|thread| thread.process == parent));
        // A parent outside of the view cannot be the debugger: it cannot be waited for there.
        let debugger = maker.or_else(|| self.thread_of(parent)).ok_or(Errno::EPERM)?;
        let strong = Status::read(debugger).is_some_and(|parent| {
            !parent.in_inner_namespace()
                && (parent.capabilities() & 1 << CAP_SYS_PTRACE != 0
                    || status.permitted_capabilities() & !parent.permitted_capabilities() == 0)
        });
        if !strong {
            return Err(Errno::EPERM);
        }
        self.make_debuggee(tid, Debuggee::new(debugger, Attached::Plainly, 0));
        Ok(())
    }

    /// `PTRACE_ATTACH`
    pub(super) fn attach(&mut self, debugger: Tid, tid: Tid) -> Result<(), Errno> {
        self.check(debugger, tid)?;
        let mut debuggee = Debuggee::new(debugger, Attached::Plainly, 0);
        debuggee.sent = Some(Sent::Attach);
        self.make_debuggee(tid, debuggee);
        self.stop_child(tid);
        Ok(())
    }

    /// `PTRACE_SEIZE`
    pub(super) fn seize(&mut self, debugger: Tid, tid: Tid, addr: u64, options: u64) -> Result<(), Errno> {
        if addr != 0 {
            return Err(Errno::EIO);
        }
        // Unlike for PTRACE_SETOPTIONS, what is not known is EIO (`ptrace_attach`).
        let options = super::requests::check_options(options)
            .map_err(|errno| if errno == Errno::EINVAL { Errno::EIO } else { errno })?;
        self.check(debugger, tid)?;
        let debuggee = Debuggee::new(debugger, Attached::Seized, options);
        let changed = debuggee.options_changed;
        self.make_debuggee(tid, debuggee);
        if changed && let Some(thread) = self.threads.get_mut(&tid) {
            // The kernel is told at the next stop.
            thread.asked |= interrupt(tid).is_ok();
        }
        Ok(())
    }

    /// Whether a thread is in a stop, or in one that the tracer has not heard of yet.
    pub(super) fn is_stopped(&self, tid: Tid) -> bool {
        self.threads.get(&tid).is_some_and(|thread| thread.listening)
            || Status::read(tid).is_some_and(|status| status.is_stopped())
    }

    /// Behind a stop of a thread: if it is the one that a debugger was waiting for, the debugger goes on.
    pub(crate) fn attached(&mut self, tid: Tid) {
        if !self.debuggers.attaching.contains_key(&tid) {
            return;
        }
        let arrives = self.threads.get(&tid).is_some_and(|thread| {
            let held = thread.debuggee.as_deref().is_some_and(|debuggee| debuggee.held.is_some());
            // Something of ours comes first, and the stop after it.
            !held && (thread.owed || !matches!(thread.phase, Phase::Free))
        });
        if !arrives {
            self.end_attaching(tid);
        }
    }

    /// Ends the call of the debugger that waits for this thread to stop.
    fn end_attaching(&mut self, tid: Tid) {
        // If it died, it reports that.
        if let Some(debugger) = self.debuggers.attaching.remove(&tid)
            && let Ok(regs) = debugger.registers()
        {
            let _ = self.conclude(debugger, Abi::X86_64, regs, Verdict::Return(0));
        }
    }

    fn check(&self, debugger: Tid, tid: Tid) -> Result<(), Errno> {
        let own = self.threads.get(&debugger).ok_or(Errno::ESRCH)?;
        let thread = self.threads.get(&tid).ok_or(Errno::ESRCH)?;
        if own.process == thread.process {
            return Err(Errno::EPERM);
        }
        may_debug(debugger, tid)?;
        if thread.debuggee.is_some() { Err(Errno::EPERM) } else { Ok(()) }
    }

    fn make_debuggee(&mut self, tid: Tid, mut debuggee: Debuggee) {
        let debugger = debuggee.debugger;
        let process_of_debugger = self.threads.get(&debugger).map(|thread| thread.process);
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        debuggee.in_exec = match sleeps_in(tid) {
            // Perhaps not heard of yet; or the one that it began has failed, which was not seen.
            Some((nr, _)) if matches!(thread.phase, Phase::Free) => {
                [Abi::X86_64, Abi::I386].iter().any(|abi| abi.numbers().executes(nr))
            }
            _ => self.execs.began(tid),
        };
        debuggee.child = process_of_debugger.is_some() && parent_of(thread.process) == process_of_debugger;
        thread.debuggee = Some(Box::new(debuggee));
        if thread.listening {
            // In a group-stop, and not to be asked anything in that state: it tells of it once more.
            let _ = interrupt(tid);
        }
        self.debuggers.debuggees.entry(debugger).or_default().insert(tid);
        self.publish(tid);
        self.watch_waits(debugger);
    }

    /// What a new thread is to its maker's debugger, if the debugger wants it.
    pub(crate) fn inherit(&self, maker: Tid, event: i32, flags: u64) -> Option<Box<Debuggee>> {
        let debuggee = self.threads.get(&maker)?.debuggee.as_deref()?;
        let option = event_option(event);
        if !debuggee.has_option(option) && flags & u64::from(libc::CLONE_PTRACE.unsigned_abs()) == 0 {
            return None;
        }
        let mut child = Debuggee::new(debuggee.debugger, debuggee.attached, debuggee.options);
        // Options are the kernel's to pass on.
        child.options_changed = debuggee.options_changed;
        match child.attached {
            Attached::Seized => child.stop_wanted = true,
            Attached::Plainly => child.sent = Some(Sent::Birth),
        }
        Some(Box::new(child))
    }

    /// A new thread, which was just entered into the books, is a debuggee (`ptrace_init_task`).
    pub(crate) fn born_debuggee(&mut self, child: Tid, debuggee: Debuggee) {
        let stop = debuggee.sent.is_some();
        self.make_debuggee(child, debuggee);
        if stop {
            self.stop_child(child);
        }
    }

    fn stop_child(&self, tid: Tid) {
        self.send(tid, libc::SIGSTOP);
    }

    pub(super) fn send(&self, tid: Tid, signal: i32) {
        if let Some(thread) = self.threads.get(&tid) {
            tgkill(thread.process, tid, signal);
        }
    }

    /// Behind an exec: `SIGTRAP`, if the debugger did not ask for the event (`ptrace_event`).
    pub(crate) fn trap_exec(&mut self, process: Tid) {
        if let Some(debuggee) = self.debuggee(process)
            && debuggee.attached == Attached::Plainly
            && !debuggee.has_option(libc::PTRACE_O_TRACEEXEC)
        {
            debuggee.sent = Some(Sent::Exec);
            tgkill(process, process, libc::SIGTRAP);
        }
    }

    /// Gives a debugger's process the filter for its waits.
    fn watch_waits(&mut self, debugger: Tid) {
        let Some(thread) = self.threads.get(&debugger) else { return };
        if thread.waits != Waits::Unseen {
            return;
        }
        let process = thread.process;
        let mut clocks = SchedulerClocks::default();
        for (&tid, thread) in self.threads.iter_mut().filter(|(_, thread)| thread.process == process) {
            if thread.waits == Waits::Unseen {
                thread.waits = Waits::Wanted;
                thread.timeout = Timeout::of(tid, &mut clocks);
                thread.asked |= interrupt(tid).is_ok();
            }
        }
    }

    /// Lets a debuggee go, which is stopped for its debugger if that asked for it.
    pub(super) fn detach(&mut self, tid: Tid, signal: i32) {
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        let Some(debuggee) = thread.debuggee.take() else { return };
        self.publish(tid);
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        if let Some(debuggees) = self.debuggers.debuggees.get_mut(&debuggee.debugger) {
            debuggees.remove(&tid);
            if debuggees.is_empty() {
                self.debuggers.debuggees.remove(&debuggee.debugger);
            }
        }
        let Some((held, _)) = debuggee.held else {
            if debuggee.listening {
                // It stays stopped only if its process is.
                thread.asked |= interrupt(tid).is_ok();
            }
            return;
        };
        held.set_further_options(0);
        if debuggee.group_stopped {
            // If its process is still to be stopped, it stops (`__ptrace_unlink`).
            thread.asked |= interrupt(tid).is_ok();
        }
        let how = self.how(tid);
        if let Err((errno, held)) = held.release(how, signal) {
            tracing::error!("{tid} does not go on without its debugger ({errno}); it is let run");
            let _ = held.release(Resume::Freely, 0);
        }
    }

    /// A debugger is dead: its debuggees go on, or die with it (`exit_ptrace`).
    pub(crate) fn debugger_ended(&mut self, debugger: Tid) {
        self.debuggers.attaching.retain(|_, attaching| attaching.tid() != debugger);
        self.debuggers.waiting.remove(&debugger);
        self.debuggers.dead.retain(|dead| dead.debugger != debugger);
        for tid in self.debuggers.debuggees.remove(&debugger).unwrap_or_default() {
            let Some(debuggee) = self.debuggee(tid) else { continue };
            if debuggee.has_option(libc::PTRACE_O_EXITKILL) {
                // SAFETY: no memory is involved.
                unsafe { libc::kill(tid.0, libc::SIGKILL) };
            }
            // A signal of which the debugger had not heard yet is delivered.
            let signal = match (&debuggee.held, debuggee.report) {
                (Some((_, super::Kind::Signal(signal))), Some(_)) => *signal,
                _ => 0,
            };
            self.detach(tid, signal);
        }
    }

    /// A debugger's or a debuggee's thread that executes a program goes on under the id of its process.
    pub(crate) fn debug_renamed(&mut self, former: Tid, process: Tid) {
        self.debuggers.waiting.remove(&former);
        self.debuggers.waiting.remove(&process);
        if former == process {
            return;
        }
        self.debugger_ended(process);
        if let Some(debuggees) = self.debuggers.debuggees.remove(&former) {
            for &tid in &debuggees {
                if let Some(debuggee) = self.debuggee(tid) {
                    debuggee.debugger = process;
                }
                self.publish(tid);
            }
            self.debuggers.debuggees.insert(process, debuggees);
        }
        for dead in &mut self.debuggers.dead {
            if dead.debugger == former {
                dead.debugger = process;
            }
        }
        // The leader is gone without a word, whoever debugged it.
        for debuggees in self.debuggers.debuggees.values_mut() {
            debuggees.remove(&process);
        }
        if let Some(debugger) = self.debuggee(process).map(|debuggee| debuggee.debugger)
            && let Some(debuggees) = self.debuggers.debuggees.get_mut(&debugger)
        {
            debuggees.remove(&former);
            debuggees.insert(process);
        }
    }

    /// A debuggee is one no more.
    pub(crate) fn forget_debuggee(&mut self, tid: Tid, debugger: Tid) {
        self.end_attaching(tid);
        if let Some(debuggees) = self.debuggers.debuggees.get_mut(&debugger) {
            debuggees.remove(&tid);
            if debuggees.is_empty() {
                self.debuggers.debuggees.remove(&debugger);
            }
        }
    }

    /// A debuggee is dead. Its debugger hears of it by the kernel if it is its child.
    pub(crate) fn debuggee_ended(&mut self, tid: Tid, process: Tid, debuggee: &Debuggee, status: i32) {
        let debugger = debuggee.debugger;
        self.forget_debuggee(tid, debugger);
        let Some(of_debugger) = self.threads.get(&debugger).map(|thread| thread.process) else { return };
        if tid == process && (debuggee.child || parent_of(tid) == Some(of_debugger)) {
            return self.wake(of_debugger);
        }
        let turn = self.debuggers.next_turn();
        // SAFETY: no memory is involved.
        let group = unsafe { libc::getpgid(tid.0) };
        if self.debuggers.dead.len() < MOST_DEAD {
            self.debuggers.dead.push(Dead { tid, debugger, status, owner: owner(tid), group, turn });
        }
        let (code, status) = fate(status);
        self.tell(debugger, Told { tid, code, status });
    }
}

/// `si_code` and `si_status` of an end.
pub(super) fn fate(status: i32) -> (i32, i32) {
    if libc::WIFEXITED(status) {
        (CLD_EXITED, libc::WEXITSTATUS(status))
    } else if libc::WCOREDUMP(status) {
        (CLD_DUMPED, libc::WTERMSIG(status))
    } else {
        (CLD_KILLED, libc::WTERMSIG(status))
    }
}

/// The option that makes a new thread a debuggee, by the event that tells of it.
pub(crate) fn event_option(event: i32) -> i32 {
    match event {
        libc::PTRACE_EVENT_FORK => libc::PTRACE_O_TRACEFORK,
        libc::PTRACE_EVENT_VFORK => libc::PTRACE_O_TRACEVFORK,
        _ => libc::PTRACE_O_TRACECLONE,
    }
}

fn parent_of(process: Tid) -> Option<Tid> {
    Status::read(process)?.parent()
}
