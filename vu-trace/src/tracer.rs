//! The tracer: the one thread that attaches, waits for events, and lets tracees go on.
//!
//! Each thread of the view is seized when it is born and stays so for life. No stop at system calls is asked for, so the events are few: births,
//! execs, deaths, signals, group-stops, the three calls of the base filter, and the interrupts this thread asks for itself.
//!
//! # Rewriting a notified call
//!
//! A notification cannot change a call, only answer it. So the caller is interrupted, the notification answered, and the caller
//! stops ([`Phase::Answered`]) before it is back in its program. There it is made to issue the very same call again, watched for system calls
//! ([`Phase::Reissuing`]). Only at the stop at the entry of that call are number and arguments exchanged ([`Phase::Inside`]), and at its exit the argument
//! registers restored. Whatever signal handler runs in between thus sees the tracee's own registers, and a handler that never returns leaves
//! nothing behind.

use crate::{
    doorbell::{Doorbell, Request},
    inject::{Injector, Scratch},
    memory::{Memory, ProcessMemory},
    ptrace::{Gone, Resume, Stopped, Tid, interrupt},
    supervisor::{Passing, Supervisors},
    verdict::{Argument, Birth, Finish, Hypervisor, Intercepted, Interception, Pointer, Rewrite, Verdict},
    x86_64::{Abi, Registers, Waited, wait_any},
};
use ahash::{AHashMap, AHashSet};
use parking_lot::Mutex;
use std::{collections::VecDeque, mem, sync::Arc};
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

/// The filters that every process of the view has to have, beyond the base filter, in the order in which they are installed.
///
/// What the hypervisor adds here while it handles a call that was intercepted by a stop is in force before that call returns.
#[derive(Default)]
pub struct Required(Mutex<Vec<Filter>>);

impl Required {
    /// Adds a filter.
    pub fn add(&self, filter: Filter) {
        self.0.lock().push(filter);
    }

    fn len(&self) -> usize {
        self.0.lock().len()
    }

    fn get(&self, index: usize) -> Option<Filter> {
        self.0.lock().get(index).cloned()
    }
}

/// Where a thread stands.
enum Phase {
    /// It runs its program, or will when its stop is over.
    Free,
    /// Its notified call was answered for show; the next stop belongs to the rewrite.
    Answered(Box<Rewrite>, Abi),
    /// It is about to make its call again.
    Reissuing(Box<Reissue>),
    /// It is in the call that was put in place of its own.
    Inside(Box<Inside>),
    /// Its program may not be read; at its next system call it is made dumpable.
    Opaque,
}

struct Reissue {
    nr: i64,
    values: [u64; 6],
    cookie: bool,
    finish: Option<Finish>,
    abi: Abi,
    /// The registers with which the call is made again.
    own: Registers,
    scratch: Option<Scratch>,
}

struct Inside {
    finish: Option<Finish>,
    abi: Abi,
    /// The tracee's own registers, as they are to be after the call, but for the result.
    own: Registers,
    scratch: Option<Scratch>,
}

struct Thread {
    process: Tid,
    phase: Phase,
    /// How many filters its process had when this thread was last seen stopped: what it started before it was seen may have fewer.
    seen: usize,
}

#[derive(Default)]
struct Process {
    threads: usize,
    /// How many of the required filters it has.
    installed: usize,
    /// Scratch memory that no rewritten call uses.
    scratch: Vec<Scratch>,
}

/// The tracer's state. It belongs to one thread.
pub(crate) struct Tracer<H> {
    hypervisor: Arc<H>,
    supervisors: Supervisors<H>,
    doorbell: Arc<Doorbell>,
    passing: Arc<Passing>,
    required: Arc<Required>,
    cookie: u64,
    threads: AHashMap<Tid, Thread>,
    processes: AHashMap<Tid, Process>,
    /// Threads that reported their first stop before their parent's event was seen.
    newborn: AHashSet<Tid>,
    /// What a wait for one particular tracee saw in passing.
    deferred: VecDeque<(Tid, i32)>,
    on_farewell: Box<dyn FnMut()>,
    farewell: bool,
}

impl<H: Hypervisor> Tracer<H> {
    pub(crate) fn new(
        hypervisor: Arc<H>,
        required: Arc<Required>,
        cookie: u64,
        doorbell: Arc<Doorbell>,
        on_farewell: Box<dyn FnMut()>,
    ) -> Tracer<H> {
        let passing = Arc::new(Passing::default());
        let supervisors =
            Supervisors { hypervisor: hypervisor.clone(), doorbell: doorbell.clone(), passing: passing.clone() };
        Tracer {
            hypervisor,
            supervisors,
            doorbell,
            passing,
            required,
            cookie,
            threads: AHashMap::default(),
            processes: AHashMap::default(),
            newborn: AHashSet::default(),
            deferred: VecDeque::new(),
            on_farewell,
            farewell: false,
        }
    }

    /// Takes the command's process in, which was just seized.
    pub(crate) fn adopt(&mut self, tid: Tid) {
        self.threads.insert(tid, Thread { process: tid, phase: Phase::Free, seen: 0 });
        self.processes.insert(tid, Process { threads: 1, ..Process::default() });
        self.hypervisor.born(Birth { parent: tid, child: tid, process: tid, flags: 0 });
    }

    /// Serves until no tracee is left.
    pub(crate) fn run(&mut self) {
        loop {
            let requests = self.doorbell.answer();
            for request in requests {
                self.serve(request);
            }
            if let Some((tid, status)) = self.deferred.pop_front() {
                self.event(tid, status);
                continue;
            }
            match wait_any(self.doorbell.flag()) {
                Waited::Status(tid, status) => self.event(tid, status),
                Waited::Rung => {}
                Waited::NoTracees => return,
            }
        }
    }

    fn serve(&mut self, request: Request) {
        match request {
            Request::Rewrite { tid, abi, listener, id, rewrite } => {
                if let Some(thread) = self.threads.get_mut(&tid)
                    && interrupt(tid).is_ok()
                {
                    thread.phase = Phase::Answered(rewrite, abi);
                }
                // The caller wakes up, and stops before it is back in its program.
                listener.answer(id, 0);
            }
            Request::KillAll => {
                for process in self.processes.keys() {
                    // SAFETY: no memory is involved.
                    unsafe { libc::kill(process.0, libc::SIGKILL) };
                }
            }
            Request::Farewell => {
                self.farewell = true;
                (self.on_farewell)();
            }
        }
    }

    fn event(&mut self, tid: Tid, status: i32) {
        if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
            return self.exited(tid);
        }
        if !libc::WIFSTOPPED(status) {
            return;
        }
        let stopped = Stopped::reported(tid);
        let signal = libc::WSTOPSIG(status);
        if !self.threads.contains_key(&tid) {
            // A new thread whose parent's event is still to come. It waits.
            self.newborn.insert(tid);
            self.adopt_stray(tid);
            return;
        }
        let outcome = match status >> 16 {
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => self.bore(stopped),
            libc::PTRACE_EVENT_EXEC => self.executed(stopped),
            libc::PTRACE_EVENT_SECCOMP => self.intercepted(stopped),
            libc::PTRACE_EVENT_STOP => self.event_stop(stopped, signal),
            0 if signal == libc::SIGTRAP | 0x80 => self.at_syscall(stopped),
            0 => self.signalled(stopped, signal),
            _ => {
                self.resume(stopped, 0);
                Ok(())
            }
        };
        // A tracee that died while it was handled reports its death next.
        let (Ok(()) | Err(Gone)) = outcome;
    }

    /// Lets a thread go on as its phase demands.
    fn resume(&mut self, stopped: Stopped, signal: i32) {
        let phase = self.threads.get(&stopped.tid()).map(|thread| &thread.phase);
        let how = match phase {
            Some(Phase::Reissuing(_) | Phase::Inside(_) | Phase::Opaque) => Resume::ToSyscall,
            _ => Resume::Freely,
        };
        stopped.resume(how, signal);
    }

    fn set_phase(&mut self, tid: Tid, phase: Phase) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.phase = phase;
        }
    }

    // ---- births, execs, deaths

    fn bore(&mut self, stopped: Stopped) -> Result<(), Gone> {
        let parent = stopped.tid();
        let child = Tid(i32::try_from(stopped.event_message()?).unwrap_or(0));
        let regs = stopped.registers()?;
        self.birth(parent, child, clone_flags(parent, &regs));
        self.resume(stopped, 0);
        Ok(())
    }

    /// Enters a new thread into the books and lets it run, if it has reported already.
    fn birth(&mut self, parent: Tid, child: Tid, flags: u64) {
        let Some(maker) = self.threads.get_mut(&parent) else { return };
        // Filters that came to the parent's process since this thread of it was last seen may have come after the birth.
        let installed = self.processes.get(&maker.process).map_or(0, |p| p.installed);
        let seen = mem::replace(&mut maker.seen, installed);
        let process = maker.process;
        self.birth_from(process, seen, parent, child, flags);
    }

    fn birth_from(&mut self, parents_process: Tid, seen: usize, parent: Tid, child: Tid, flags: u64) {
        if self.threads.contains_key(&child) {
            return;
        }
        let is_thread = flags & u64::from(libc::CLONE_THREAD.unsigned_abs()) != 0;
        let process = if is_thread { parents_process } else { child };
        let entry = self.processes.entry(process).or_insert_with(|| Process { installed: seen, ..Process::default() });
        entry.threads += 1;
        self.threads.insert(child, Thread { process, phase: Phase::Free, seen });
        self.hypervisor.born(Birth { parent, child, process, flags });
        if self.newborn.remove(&child) {
            let outcome = self.event_stop(Stopped::reported(child), libc::SIGTRAP);
            let (Ok(()) | Err(Gone)) = outcome;
        }
    }

    /// A parent that is killed between making a child and telling so leaves the child without an event. Its process is known from `/proc`.
    fn adopt_stray(&mut self, child: Tid) {
        let Some(parent) = parent_of(child) else { return };
        if self.threads.get(&parent).is_none() && !self.processes.contains_key(&parent) {
            // The parent is gone already, and so is what it knew: the view's first process stands in for it.
            if let Some(&any) = self.threads.keys().min() {
                self.birth(any, child, 0);
            }
        }
    }

    fn executed(&mut self, stopped: Stopped) -> Result<(), Gone> {
        let process = stopped.tid();
        let former = Tid(i32::try_from(stopped.event_message()?).unwrap_or(process.0));
        if former != process
            && let Some(thread) = self.threads.remove(&former)
        {
            // The thread that made the call goes on under the leader's id.
            self.threads.insert(process, thread);
            if let Some(p) = self.processes.get_mut(&process) {
                p.threads = p.threads.saturating_sub(1);
            }
        }
        if let Some(p) = self.processes.get_mut(&process) {
            p.scratch.clear();
        }
        self.passing.take(former);
        if let Some(thread) = self.threads.get(&process) {
            self.adopt_orphans(process, thread.seen, former);
        }
        if let Some(thread) = self.threads.get_mut(&process)
            && let Phase::Inside(inside) = mem::replace(&mut thread.phase, Phase::Free)
            && let Some(finish) = inside.finish
        {
            finish(0);
        }
        self.hypervisor.executed(process, former);
        let entry = stopped.registers()?.instruction();
        if ProcessMemory(process).read(entry, &mut [0]) == Err(Errno::EPERM) {
            // A program that may be executed but not read (mode 0111): neither may its memory, and calls could not be understood.
            self.set_phase(process, Phase::Opaque);
        }
        let stopped = self.bring_up_to_date(stopped)?;
        self.resume(stopped, 0);
        Ok(())
    }

    fn exited(&mut self, tid: Tid) {
        self.newborn.remove(&tid);
        self.passing.take(tid);
        let Some(thread) = self.threads.remove(&tid) else { return };
        if let Some(process) = self.processes.get_mut(&thread.process) {
            process.threads = process.threads.saturating_sub(1);
            if process.threads == 0 {
                self.processes.remove(&thread.process);
            }
        }
        if !self.processes.contains_key(&thread.process) {
            self.adopt_orphans(thread.process, thread.seen, tid);
        }
        self.hypervisor.exited(tid);
    }

    /// No thread of a process, but `heir`, can still report that it made another one: those that wait for such a report are taken in
    /// without it.
    fn adopt_orphans(&mut self, process: Tid, seen: usize, heir: Tid) {
        if self.newborn.is_empty() {
            return;
        }
        let orphans: Vec<_> = self.newborn.iter().copied().collect();
        for orphan in orphans {
            // A parent that is gone has left its children to another.
            if parent_of(orphan).is_none_or(|parent| parent == process || !self.processes.contains_key(&parent)) {
                self.birth_from(process, seen, heir, orphan, 0);
            }
        }
    }

    // ---- stops

    fn event_stop(&mut self, stopped: Stopped, signal: i32) -> Result<(), Gone> {
        let tid = stopped.tid();
        let group_stop = matches!(signal, libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU);
        let mut stopped = self.bring_up_to_date(stopped)?;
        let phase = self.threads.get_mut(&tid).map(|thread| mem::replace(&mut thread.phase, Phase::Free));
        match phase {
            Some(Phase::Answered(rewrite, abi)) => stopped = self.reissue(stopped, *rewrite, abi)?,
            Some(phase) => {
                self.set_phase(tid, phase);
                repair_interrupted(&stopped)?;
            }
            None => {}
        }
        if group_stop && stopped.listen() {
            return Ok(());
        }
        if group_stop {
            // A call of ours took it out of the stop proper; it comes back to it.
            interrupt(tid)?;
        }
        self.resume(Stopped::reported(tid), 0);
        Ok(())
    }

    fn signalled(&mut self, stopped: Stopped, signal: i32) -> Result<(), Gone> {
        if self.required.len() > 0 {
            let mut regs = stopped.registers()?;
            // The wait for the verdict was interrupted, not the call: it is made again after the handler.
            if regs.syscall() >= 0
                && regs.result() == -ERESTARTSYS
                && self.hypervisor.never_interrupted(stopped.tid(), regs.abi(), regs.syscall())
            {
                regs.reissue();
                stopped.set_registers(&regs)?;
            }
        }
        self.resume(stopped, signal);
        Ok(())
    }

    /// A stop at the entry to or exit from a system call: part of a rewrite.
    fn at_syscall(&mut self, stopped: Stopped) -> Result<(), Gone> {
        let tid = stopped.tid();
        let phase = self.threads.get_mut(&tid).map(|thread| mem::replace(&mut thread.phase, Phase::Free));
        match phase {
            Some(Phase::Reissuing(reissue)) => self.enter(stopped, *reissue),
            Some(Phase::Inside(inside)) => self.leave(stopped, *inside),
            Some(Phase::Opaque) => self.make_dumpable(stopped),
            _ => {
                self.resume(stopped, 0);
                Ok(())
            }
        }
    }

    // ---- rewriting

    /// At the stop behind a call that was answered for show: prepares the arguments of the call that is to take its place, and has the tracee's own
    /// made again.
    fn reissue(&mut self, stopped: Stopped, rewrite: Rewrite, abi: Abi) -> Result<Stopped, Gone> {
        let tid = stopped.tid();
        let mut own = stopped.registers()?;
        let Rewrite { nr, args, cookie, finish } = rewrite;
        let (mut values, bytes) = arrange(&args, own.args(abi), abi, 0);
        let (stopped, scratch) = if bytes.is_empty() {
            (stopped, None)
        } else {
            match self.scratch(stopped, abi, bytes.len())? {
                (stopped, Ok(scratch)) => {
                    let (placed, bytes) = arrange(&args, own.args(abi), abi, scratch.address);
                    values = placed;
                    if ProcessMemory(tid).write(scratch.address, &bytes).is_err() {
                        // The program unmapped it, or is dying: it shall have the error of a bad address.
                        return fail(stopped, own, Errno::EFAULT);
                    }
                    (stopped, Some(scratch))
                }
                (stopped, Err(errno)) => return fail(stopped, own, errno),
            }
        };
        own.reissue();
        stopped.set_registers(&own)?;
        let reissue = Reissue { nr, values, cookie, finish, abi, own, scratch };
        self.set_phase(tid, Phase::Reissuing(Box::new(reissue)));
        Ok(stopped)
    }

    fn enter(&mut self, stopped: Stopped, reissue: Reissue) -> Result<(), Gone> {
        let Reissue { nr, values, cookie, finish, abi, own, scratch } = reissue;
        let now = stopped.registers()?;
        let same = now.instruction() == own.instruction().wrapping_add(Abi::ENTRY_LENGTH)
            && now.syscall() == own.result()
            && now.args(abi) == own.args(abi)
            && now.stack() == own.stack();
        if same {
            return self.substitute(stopped, abi, nr, values, cookie, finish, scratch);
        }
        // A signal handler came first, and this is a call of its own. The other one will be made, and notified, anew.
        self.give_back(stopped.tid(), scratch);
        self.resume(stopped, 0);
        Ok(())
    }

    /// At the entry to a call: puts another one in its place.
    #[expect(clippy::too_many_arguments, reason = "the parts of a Reissue, which half of the callers have not")]
    fn substitute(
        &mut self,
        stopped: Stopped,
        abi: Abi,
        nr: i64,
        mut values: [u64; 6],
        cookie: bool,
        finish: Option<Finish>,
        scratch: Option<Scratch>,
    ) -> Result<(), Gone> {
        let tid = stopped.tid();
        let own = stopped.registers()?;
        let mut regs = own;
        if cookie && abi == Abi::X86_64 {
            values[5] = self.cookie;
        } else {
            self.passing.let_pass(tid);
        }
        regs.set_syscall(nr);
        regs.set_args(abi, values);
        stopped.set_registers(&regs)?;
        self.set_phase(tid, Phase::Inside(Box::new(Inside { finish, abi, own, scratch })));
        self.resume(stopped, 0);
        Ok(())
    }

    /// At the exit from a substituted call.
    fn leave(&mut self, stopped: Stopped, inside: Inside) -> Result<(), Gone> {
        let Inside { finish, abi, own, scratch } = inside;
        let tid = stopped.tid();
        self.passing.take(tid);
        self.give_back(tid, scratch);
        let mut regs = stopped.registers()?;
        regs.set_args(abi, own.args(abi));
        regs.set_syscall(own.syscall());
        let result = regs.result();
        // An interrupted call has no result yet: the kernel decides between EINTR and doing it again, which then is the tracee's own.
        if !RESTARTS.contains(&result)
            && let Some(finish) = finish
        {
            regs.set_result(finish(result));
        }
        stopped.set_registers(&regs)?;
        self.resume(stopped, 0);
        Ok(())
    }

    fn give_back(&mut self, tid: Tid, scratch: Option<Scratch>) {
        if let Some(scratch) = scratch
            && let Some(thread) = self.threads.get(&tid)
            && let Some(process) = self.processes.get_mut(&thread.process)
        {
            process.scratch.push(scratch);
        }
    }

    /// Scratch memory of at least `length` bytes, mapped into the tracee if none is free. At a stop from which [`Injector::inject`] can start.
    fn scratch(
        &mut self,
        stopped: Stopped,
        abi: Abi,
        length: usize,
    ) -> Result<(Stopped, Result<Scratch, Errno>), Gone> {
        let process = self.threads.get(&stopped.tid()).map(|thread| thread.process);
        if let Some(process) = process.and_then(|p| self.processes.get_mut(&p))
            && let Some(index) = process.scratch.iter().position(|s| s.length >= length && s.fits(abi))
        {
            let scratch = process.scratch.swap_remove(index);
            return Ok((stopped, Ok(scratch)));
        }
        Injector::new(&mut self.deferred, abi).map_scratch(stopped, length)
    }

    // ---- calls intercepted by a stop

    fn intercepted(&mut self, stopped: Stopped) -> Result<(), Gone> {
        let tid = stopped.tid();
        let regs = stopped.registers()?;
        let abi = stopped.syscall_abi().unwrap_or(regs.abi());
        let before = self.required.len();
        let call = Intercepted { tid, abi, nr: regs.syscall(), args: regs.args(abi), by: Interception::Stop };
        let verdict = self.hypervisor.intercepted(&call);
        if self.required.len() > before {
            return self.spread(stopped, abi, regs, verdict);
        }
        self.conclude(stopped, abi, regs, verdict)
    }

    /// Carries a verdict out, at the stop before the call is made.
    fn conclude(&mut self, stopped: Stopped, abi: Abi, mut regs: Registers, verdict: Verdict) -> Result<(), Gone> {
        match verdict {
            Verdict::Continue => {}
            Verdict::Return(result) => {
                regs.set_syscall(-1);
                regs.set_result(result);
                stopped.set_registers(&regs)?;
            }
            Verdict::Rewrite(rewrite) => {
                let Rewrite { nr, args, cookie, finish } = *rewrite;
                let (values, bytes) = arrange(&args, regs.args(abi), abi, 0);
                if bytes.is_empty() {
                    return self.substitute(stopped, abi, nr, values, cookie, finish, None);
                }
                error!("{}: a call stopped by a filter cannot be given new strings", stopped.tid());
                return self.conclude(stopped, abi, regs, Verdict::Return(Errno::ENOSYS.as_result()));
            }
            Verdict::Install { .. } => {
                error!("{}: a call stopped by a filter cannot be given a descriptor", stopped.tid());
                return self.conclude(stopped, abi, regs, Verdict::Return(Errno::ENOSYS.as_result()));
            }
        }
        self.resume(stopped, 0);
        Ok(())
    }

    // ---- filters

    /// After a call that made a further filter necessary: installs it in the caller, has all others stop for it, and answers.
    fn spread(&mut self, stopped: Stopped, abi: Abi, regs: Registers, verdict: Verdict) -> Result<(), Gone> {
        let tid = stopped.tid();
        for (&other, thread) in &self.threads {
            if other != tid && self.threads.get(&tid).is_none_or(|own| own.process != thread.process) {
                let _ = interrupt(other);
            }
        }
        // The call itself is over with its answer: its place is free for the first of our own.
        let stopped = Injector::new(&mut self.deferred, abi).leave_entry(stopped)?;
        let stopped = self.bring_up_to_date(stopped)?;
        let mut regs = regs;
        match verdict {
            Verdict::Return(result) => {
                regs.set_syscall(-1);
                regs.set_result(result);
            }
            // It will be made again, and intercepted again.
            _ => regs.reissue(),
        }
        stopped.set_registers(&regs)?;
        self.resume(stopped, 0);
        Ok(())
    }

    /// Installs what the tracee's process lacks of the required filters, in all its threads.
    fn bring_up_to_date(&mut self, stopped: Stopped) -> Result<Stopped, Gone> {
        let tid = stopped.tid();
        let Some(thread) = self.threads.get_mut(&tid) else { return Ok(stopped) };
        let process = thread.process;
        let target = self.required.len();
        let mut installed = self.processes.get(&process).map_or(target, |p| p.installed);
        thread.seen = target;
        let mut stopped = stopped;
        while installed < target
            && let Some(filter) = self.required.get(installed)
        {
            let abi = stopped.registers()?.abi();
            let (back, result) = Injector::new(&mut self.deferred, abi).install(stopped, process, &filter)?;
            stopped = back;
            match result {
                Ok(Some(listener)) => {
                    if let Err(error) = self.supervisors.serve(listener) {
                        error!(
                            "process {process}: no thread to serve its system calls ({error}); they fail with ENOSYS"
                        );
                    }
                }
                Ok(None) => {}
                Err(errno) => {
                    error!("process {process} ({tid}) escapes the view: its filter cannot be installed: {errno}")
                }
            }
            installed += 1;
            if let Some(p) = self.processes.get_mut(&process) {
                p.installed = installed;
            }
        }
        Ok(stopped)
    }

    /// At the first system call of a program that may not be read: lets the process be looked at by who runs it.
    fn make_dumpable(&mut self, stopped: Stopped) -> Result<(), Gone> {
        let abi = stopped.syscall_abi().unwrap_or(Abi::X86_64);
        let stopped = Injector::new(&mut self.deferred, abi).allow_reading(stopped)?;
        self.resume(stopped, 0);
        Ok(())
    }
}

/// Makes a call that was answered for show fail.
fn fail(stopped: Stopped, mut own: Registers, errno: Errno) -> Result<Stopped, Gone> {
    own.set_result(errno.as_result());
    stopped.set_registers(&own)?;
    Ok(stopped)
}

/// `ERESTARTSYS` … `ERESTART_RESTARTBLOCK`: "interrupted, to be restarted" inside the kernel (`include/linux/errno.h`).
const RESTARTS: std::ops::RangeInclusive<i64> = -516..=-512;
const ERESTARTSYS: i64 = 512;

/// An interrupt of ours makes some sleeping calls end with `EINTR` although no signal came (signal(7)): they are made again. A call that had a
/// timeout starts it anew.
fn repair_interrupted(stopped: &Stopped) -> Result<(), Gone> {
    let mut regs = stopped.registers()?;
    if regs.syscall() >= 0 && regs.result() == Errno::EINTR.as_result() && !signal_pending(stopped.tid()) {
        regs.reissue();
        stopped.set_registers(&regs)?;
    }
    Ok(())
}

/// A line `Name:	VALUE` of `/proc/TID/status`.
fn status_field(status: &str, name: &str) -> Option<String> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(|value| value.trim().to_owned())
}

fn signal_pending(tid: Tid) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{tid}/status")) else { return true };
    let mask = |name| status_field(&status, name).and_then(|hex| u64::from_str_radix(&hex, 16).ok()).unwrap_or(0);
    (mask("SigPnd") | mask("ShdPnd")) & !mask("SigBlk") != 0
}

/// The process a thread belongs to, or, for the first thread of a process, the process that made it.
fn parent_of(tid: Tid) -> Option<Tid> {
    let status = std::fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    let field = |name| status_field(&status, name).and_then(|id| id.parse().ok()).map(Tid);
    let group = field("Tgid")?;
    if group == tid { field("PPid") } else { Some(group) }
}

/// The flags of the call that made a thread, from its maker's registers.
fn clone_flags(parent: Tid, regs: &Registers) -> u64 {
    // The 64-bit numbers of these calls mean nothing dangerous in the other numbering, and the maker's code segment decides.
    let abi = regs.abi();
    let numbers = abi.numbers();
    let args = regs.args(abi);
    match regs.syscall() {
        nr if nr == numbers.clone => args[0],
        nr if nr == numbers.clone3 => ProcessMemory(parent).read_u64(args[0]).unwrap_or(0),
        nr if nr == numbers.vfork => (libc::CLONE_VFORK | libc::CLONE_VM).unsigned_abs().into(),
        _ => 0,
    }
}

/// The values of arguments whose bytes lie at `base` on, and those bytes.
fn arrange(args: &[Argument; 6], own: [u64; 6], abi: Abi, base: u64) -> ([u64; 6], Vec<u8>) {
    let mut bytes = Vec::new();
    let mut values = own;
    for (value, argument) in values.iter_mut().zip(args) {
        match argument {
            Argument::Keep => {}
            Argument::Value(new) => *value = *new,
            Argument::Bytes(data) => *value = append(&mut bytes, base, data),
            Argument::Vector(pointers) => {
                let mut vector = Vec::new();
                for pointer in pointers {
                    let address = match pointer {
                        Pointer::Address(address) => *address,
                        Pointer::Bytes(data) => append(&mut bytes, base, data),
                    };
                    vector.extend_from_slice(&address.to_le_bytes()[..abi.pointer_size()]);
                }
                vector.resize(vector.len() + abi.pointer_size(), 0);
                *value = append(&mut bytes, base, &vector);
            }
        }
    }
    (values, bytes)
}

/// Appends at an address that any type can have; returns the address.
fn append(bytes: &mut Vec<u8>, base: u64, data: &[u8]) -> u64 {
    bytes.resize(bytes.len().next_multiple_of(16), 0);
    let address = base + bytes.len() as u64;
    bytes.extend_from_slice(data);
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_laid_out_behind_one_another() {
        let args = [
            Argument::Keep,
            Argument::Bytes(b"/bin/sh\0".to_vec()),
            Argument::Vector(vec![Pointer::Address(7), Pointer::Bytes(b"x\0".to_vec())]),
            Argument::Value(9),
            Argument::Keep,
            Argument::Keep,
        ];
        let (values, bytes) = arrange(&args, [1, 2, 3, 4, 5, 6], Abi::X86_64, 0x1000);
        assert_eq!(values, [1, 0x1000, 0x1020, 9, 5, 6]);
        assert_eq!(&bytes[..8], b"/bin/sh\0");
        assert_eq!(&bytes[0x10..0x12], b"x\0");
        let vector: Vec<u64> =
            bytes[0x20..].chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
        assert_eq!(vector, [7, 0x1010, 0]);
    }

    #[test]
    fn status_fields() {
        let status = "Name:\tx\nTgid:\t12\nSigBlk:\t00000000000000ff\n";
        assert_eq!(status_field(status, "Tgid").as_deref(), Some("12"));
        assert_eq!(status_field(status, "Gid"), None);
    }
}
