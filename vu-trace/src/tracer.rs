//! The tracer: the one thread that attaches, waits for events, and lets tracees go on.
//!
//! Each thread of the view is seized when it is born and stays so for life. No stop at system calls is asked for, so the events are few: births,
//! execs, deaths, signals, group-stops, the calls of the base filter, and the interrupts this thread asks for itself.
//!
//! **Invariant:** this thread never waits for one particular tracee. What takes several stops (an injected call, a rewritten one) is a [`Phase`] of
//! the thread it happens to. A tracee may be frozen, starved or blocked behind a lock that another one holds, and all others go on.

use crate::{
    core_files::{Doomed, Dumping},
    debugger::{self, Debuggee, Debuggers, Kind, Wait, Waits},
    deciders::{Deciders, Deciding},
    doorbell::{Doorbell, Request},
    execs::Execs,
    fence::{self, Fenced},
    filter,
    filters::{Filter, Required},
    in_place::Overwritten,
    inject::Injection,
    naming::Naming,
    own_filters::{Concerned, NewFilter, OwnFilters},
    ptrace::{Boundary, Delivery, Entry, Event, Gone, Resume, Stopped, Tid, decode, interrupt, is_anyone_left},
    relief::Relief,
    repair,
    rewrite::{Answered, Inside, Reissue, Replaced},
    seat::Seat,
    space::{Signature, Space},
    supervisor::{Passing, Supervisors},
    verdict::{Death, Hypervisor, Verdict},
    x86_64::{Abi, Registers, Waited, wait_any},
};
use ahash::AHashMap;
use std::{collections::VecDeque, mem, sync::Arc, time::Instant};
use vu_api::Errno;

/// Where a thread stands.
pub(crate) enum Phase<H> {
    /// It runs its program, or will when its stop is over.
    Free,
    /// Its notified call was answered for show; the next stop belongs to what is to be done instead.
    Answered(Answered),
    /// It is about to make its call again.
    Reissuing(Box<Reissue>),
    /// It is in the call that was put in place of its own.
    Inside(Box<Inside>),
    /// It is in an exec by a path that was overwritten, or stops behind it.
    Overwritten(Box<Overwritten>),
    /// Its memory may not be read; at its next system call it is made readable.
    Unreadable,
    /// It is in the call that makes it readable; with these registers it makes its own.
    Exposing(Registers),
    /// It has just executed a program, which is to find other names than the kernel's.
    Naming(Naming),
    /// It makes a call of the tracer's.
    Injecting(Box<Injection<H>>),
    /// It is in the stop before a call about which is being decided.
    Deciding(Deciding),
    /// It is in the stop before a signal that ends it, while it is found out where its core file is to lie.
    Dumping(Dumping),
    /// It is a debugger, and waits.
    Waiting(Box<Wait>),
    /// It is in the call that installs a filter of its own.
    Filtering(NewFilter),
}

pub(crate) struct Thread<H> {
    pub process: Tid,
    pub phase: Phase<H>,
    /// How many of the required filters it has.
    pub filters: usize,
    /// How many it had when it was last seen stopped: what it started since, and was not seen yet, may have no more.
    pub filters_seen: usize,
    /// How much scratch memory its address space had then.
    pub areas_seen: usize,
    /// It was interrupted by us, and the stop has not come yet.
    pub asked: bool,
    /// After a stop that was used for something else: what it stopped for is to be asked for again.
    pub owed: bool,
    /// The registers of a call that failed with `EINTR` for no reason that the program would know, and is made again; see [`repair`].
    pub repaired: Option<Box<Registers>>,
    /// Where the last call of ours was made: the program's own filter may answer it by a signal.
    pub injected_at: Option<u64>,
    /// When a call that sleeps with a timeout is interrupted: since when it does.
    pub timeout: Option<repair::Timeout>,
    /// When such a call was made again with what was left of its timeout: since when the program's own sleeps, in milliseconds of `CLOCK_MONOTONIC`.
    pub sleeps_since: Option<f64>,
    /// In the program's memory, until the call that it is in has made its thread.
    pub changed: Option<fence::Changed>,
    /// In a group-stop, and it reports the end of that.
    pub listening: bool,
    /// A debugger of the view has attached to it.
    pub debuggee: Option<Box<Debuggee>>,
    /// Whether its waits are seen.
    pub waits: Waits,
    /// Its next wait finds no child.
    pub childless: bool,
    /// A filter that its process alone is to have.
    pub wanted_filter: Option<Filter>,
    /// The filters that its program has installed.
    pub own_filters: OwnFilters,
    /// A signal that ends it was held back.
    pub doomed: Option<Box<Doomed>>,
}

impl<H> Thread<H> {
    pub(crate) fn new(process: Tid, filters: usize) -> Thread<H> {
        Thread {
            process,
            phase: Phase::Free,
            filters,
            filters_seen: filters,
            areas_seen: 0,
            asked: false,
            owed: false,
            repaired: None,
            injected_at: None,
            timeout: None,
            sleeps_since: None,
            changed: None,
            listening: false,
            debuggee: None,
            waits: Waits::Unseen,
            childless: false,
            wanted_filter: None,
            own_filters: OwnFilters::default(),
            doomed: None,
        }
    }
}

impl<H> Thread<H> {
    /// Whether it is to be given a filter that not all have.
    pub(crate) fn wants_filter(&self) -> bool {
        self.waits == Waits::Wanted || self.wanted_filter.is_some()
    }

    /// It goes on without the filters that it lacks, of which so many are required.
    pub(crate) fn give_up(&mut self, required: usize) {
        if self.filters < required {
            self.filters = required;
        } else if self.wanted_filter.take().is_none() && self.waits == Waits::Wanted {
            self.waits = Waits::Seen;
        }
    }
}

#[derive(Default)]
pub(crate) struct Process {
    pub threads: usize,
    /// It has had several.
    pub threaded: bool,
    /// The thread that made it; not that of the view's first process.
    pub maker: Option<Tid>,
    pub space: Space,
    /// Where the stack of its program began, by which an exec and the processes that were forked since are told from others; 0 if that is not known.
    pub stack: u64,
}

/// A thread that may have made another one of which it had not told when it ended.
pub(crate) struct Deceased {
    pub death: Death,
    pub since: Instant,
    /// That of its [process](Process::stack).
    pub stack: u64,
    pub own_filters: OwnFilters,
}

/// The tracer's state. It belongs to one thread.
pub(crate) struct Tracer<H> {
    pub hypervisor: Arc<H>,
    pub supervisors: Supervisors<H>,
    pub deciders: Deciders<H>,
    pub doorbell: Arc<Doorbell>,
    pub passing: Arc<Passing>,
    pub execs: Arc<Execs>,
    pub required: Arc<Required>,
    /// How many of the required filters all threads were told of.
    pub spread: usize,
    pub cookie: u64,
    pub threads: AHashMap<Tid, Thread<H>>,
    pub processes: AHashMap<Tid, Process>,
    /// Threads that reported before their parent's event was seen. They wait in this stop.
    pub newborn: AHashMap<Tid, (Event, Instant)>,
    /// Killed threads, which may have made a thread and not told.
    pub deceased: VecDeque<Deceased>,
    /// How many there were.
    pub deaths: u64,
    /// Threads whose end was heard of before their parent's event was seen.
    pub stillborn: AHashMap<Tid, Instant>,
    /// Who debugs whom inside the view.
    pub debuggers: Debuggers,
    on_farewell: Box<dyn FnMut()>,
    /// The view is to end: whoever is born is killed.
    pub ending: bool,
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
        let execs = Arc::new(Execs::default());
        let relief = Arc::new(Relief::default());
        let supervisors =
            Supervisors::new(hypervisor.clone(), doorbell.clone(), passing.clone(), execs.clone(), relief.clone());
        let deciders = Deciders::new(hypervisor.clone(), doorbell.clone(), relief);
        Tracer {
            hypervisor,
            supervisors,
            deciders,
            doorbell,
            passing,
            execs,
            required,
            spread: 0,
            cookie,
            threads: AHashMap::default(),
            processes: AHashMap::default(),
            newborn: AHashMap::default(),
            deceased: VecDeque::new(),
            deaths: 0,
            stillborn: AHashMap::default(),
            debuggers: Debuggers::default(),
            on_farewell,
            ending: false,
        }
    }

    /// Takes the command's process in, which was just seized.
    pub(crate) fn adopt(&mut self, tid: Tid) {
        self.threads.insert(tid, Thread { own_filters: OwnFilters::first(), ..Thread::new(tid, 0) });
        self.processes.insert(tid, Process { threads: 1, ..Process::default() });
        self.hypervisor.began(tid);
        self.publish(tid);
    }

    /// Serves until no tracee is left.
    pub(crate) fn run(&mut self) {
        let mut seat = Seat::new();
        loop {
            for request in self.doorbell.answer() {
                self.serve(request);
            }
            match wait_any(self.doorbell.flag()) {
                Waited::Status(tid, status) => {
                    seat.stop();
                    if let Some(event) = decode(tid, status) {
                        self.event(tid, event);
                    }
                }
                Waited::Rung => {}
                Waited::NoTracees => return,
            }
        }
    }

    fn serve(&mut self, request: Request) {
        match request {
            Request::Instead { tid, listener, id, answered } => self.answer_for_show(tid, &listener, id, answered),
            Request::End(signal) => {
                self.ending |= signal == libc::SIGKILL;
                for process in self.processes.keys() {
                    // SAFETY: no memory is involved.
                    unsafe {
                        libc::kill(process.0, signal);
                        // Who is stopped is to hear of it.
                        libc::kill(process.0, libc::SIGCONT);
                    }
                }
            }
            // Of who was the last the front may hear before we are told; then it waits for our end.
            Request::Farewell if is_anyone_left() => (self.on_farewell)(),
            Request::Farewell => {}
            Request::LookAround => {
                self.look_for_orphans();
                self.look_for_dying();
            }
            Request::Decided { tid, stop, verdict } => {
                // If it was killed meanwhile, nobody is in that stop any more.
                let (Ok(()) | Err(Gone)) = self.decided(tid, &stop, verdict);
                self.attached(tid);
                self.spread();
            }
            Request::Dumps { tid, stop, directory } => {
                let (Ok(()) | Err(Gone)) = self.dumps(tid, &stop, directory);
                self.attached(tid);
                self.spread();
            }
        }
    }

    pub(crate) fn event(&mut self, tid: Tid, event: Event) {
        if let Event::Ended { status } = event {
            return self.ended(tid, status);
        }
        if matches!(event, Event::Interrupted { .. }) {
            self.forget_if_vanished(tid);
        }
        if !self.threads.contains_key(&tid) {
            // A new thread whose parent's event is still to come. It waits.
            self.newborn.insert(tid, (event, Instant::now()));
            return self.doorbell.alarm();
        }
        if !matches!(event, Event::Interrupted { .. })
            && let Some(thread) = self.threads.get(&tid)
            && (thread.asked || thread.debuggee.as_deref().is_some_and(|debuggee| debuggee.stop_wanted))
        {
            // Any stop makes the kernel forget that another one was asked for (`ptrace_stop`).
            let _ = interrupt(tid);
        }
        let outcome = match event {
            Event::Ended { .. } => Ok(()),
            Event::Interrupted { stopped, group } => self.interrupted(stopped, group),
            Event::Entering(stopped) => self.entering(stopped),
            Event::Leaving(stopped) => self.leaving(stopped),
            Event::Filtered(stopped) => self.filtered(stopped),
            Event::Bore(stopped, event) => self.bore(stopped, event),
            Event::Executed(stopped) => self.executed(stopped),
            Event::Signalled(stopped, signal) => self.signalled(stopped, signal),
            Event::Other(stopped, event) => {
                self.other(stopped, event);
                Ok(())
            }
        };
        // A tracee that died while it was handled reports its death next.
        let (Ok(()) | Err(Gone)) = outcome;
        self.attached(tid);
        self.spread();
    }

    /// How a thread goes on, by its phase.
    pub(crate) fn how(&self, tid: Tid) -> Resume {
        let Some(thread) = self.threads.get(&tid) else { return Resume::Freely };
        match (&thread.phase, &thread.debuggee) {
            (Phase::Free | Phase::Answered(_), debuggee) => {
                let mode = debuggee.as_ref().map_or(Resume::Freely, |debuggee| debuggee.mode);
                if mode == Resume::Freely && thread.own_filters.watches_calls() { Resume::ToSyscall } else { mode }
            }
            _ => Resume::ToSyscall,
        }
    }

    /// Lets a thread go on as its phase demands.
    pub(crate) fn resume<At>(&self, stopped: Stopped<At>) {
        let how = self.how(stopped.tid());
        stopped.resume(how);
    }

    /// Lets a thread go on after something of ours, which may have used up a stop of its own.
    pub(crate) fn go_on(&mut self, stopped: Stopped<Boundary>) -> Result<(), Gone> {
        if let Some(thread) = self.threads.get_mut(&stopped.tid())
            && mem::take(&mut thread.owed)
        {
            interrupt(stopped.tid())?;
        }
        self.resume(stopped);
        Ok(())
    }

    pub(crate) fn set_phase(&mut self, tid: Tid, phase: Phase<H>) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.phase = phase;
        }
    }

    /// The phase of a thread, which is free from now on.
    pub(crate) fn take_phase(&mut self, tid: Tid) -> Phase<H> {
        self.threads.get_mut(&tid).map_or(Phase::Free, |thread| mem::replace(&mut thread.phase, Phase::Free))
    }

    /// The scratch memory of a thread.
    pub(crate) fn space(&self, tid: Tid) -> Space {
        let process = self.threads.get(&tid).and_then(|thread| self.processes.get(&thread.process));
        process.map(|process| process.space.clone()).unwrap_or_default()
    }

    pub(crate) fn signature(&self) -> Signature {
        Signature::with(self.cookie)
    }

    /// Notes what a thread that is stopped now has: what it will start from here on has it, too.
    pub(crate) fn seen(&mut self, tid: Tid) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.filters_seen = thread.filters;
            thread.areas_seen = self.processes.get(&thread.process).map_or(0, |process| process.space.mapped());
        }
    }

    // ---- stops

    /// A stop that we asked for, the first one, or a group-stop or its end.
    fn interrupted(&mut self, stopped: Stopped<Boundary>, group: Option<i32>) -> Result<(), Gone> {
        let tid = stopped.tid();
        if self.is_doomed(tid) && matches!(self.threads.get(&tid).map(|thread| &thread.phase), Some(Phase::Free)) {
            return self.go_to_die(stopped);
        }
        let (target, mark) = (self.required.len(), self.mark());
        let Some(thread) = self.threads.get_mut(&tid) else { return Ok(()) };
        let listened = mem::take(&mut thread.listening);
        let asked = mem::take(&mut thread.asked);
        let wanted = thread.wants_filter() || thread.debuggee.as_deref().is_some_and(|debuggee| debuggee.stop_wanted);
        let timeout = thread.timeout.take();
        match mem::replace(&mut thread.phase, Phase::Free) {
            Phase::Injecting(injection) => {
                thread.phase = Phase::Injecting(injection);
                // In the midst of a call of ours: behind it, it stops again.
                thread.owed = true;
                thread.asked = asked;
                self.resume(stopped);
                return Ok(());
            }
            Phase::Answered(answered) => {
                let regs = stopped.registers()?;
                if regs.result() == mark {
                    // What else there is to do here is done at a further stop.
                    thread.owed = group.is_some() || wanted || thread.filters < target;
                    return self.instead(stopped, regs, answered);
                }
                thread.phase = Phase::Answered(answered);
            }
            Phase::Overwritten(overwritten) => {
                thread.owed = group.is_some() || wanted || thread.filters < target;
                return self.put_path_back(stopped, *overwritten);
            }
            Phase::Free if asked && group.is_none() => {
                if let Some(rewrite) = repair::after_interrupt(&stopped, thread, timeout)? {
                    thread.owed = wanted || thread.filters < target;
                    // A sleep goes on with what is left of its time: that is another call in place of its own.
                    let regs = stopped.registers()?;
                    return self.prepare(stopped, regs, rewrite, crate::Abi::X86_64);
                }
            }
            phase => thread.phase = phase,
        }
        self.seen(tid);
        if listened {
            self.publish(tid);
        }
        if let Some(thread) = self.threads.get(&tid)
            && (thread.filters < target || thread.wants_filter())
            && matches!(thread.phase, Phase::Free | Phase::Reissuing(_))
        {
            return self.bring_up_to_date(stopped);
        }
        if group.is_none() && self.threads.get(&tid).is_some_and(|thread| matches!(thread.phase, Phase::Reissuing(_))) {
            // In the midst of a call: a debugger sees it behind that. A stop that is still asked for is asked for again at the next one, and ends what sleeps.
            self.resume(stopped);
            return Ok(());
        }
        if let Some(kind) = self.sees_interrupt(tid, group) {
            self.hold(stopped, kind);
            return Ok(());
        }
        if let Some(debuggee) = self.debuggee(tid)
            && mem::take(&mut debuggee.options_changed)
        {
            stopped.set_further_options(debuggee.further_options());
        }
        if group.is_none() {
            self.resume(stopped);
            return Ok(());
        }
        match stopped.listen() {
            Ok(()) => {
                if let Some(thread) = self.threads.get_mut(&tid) {
                    thread.listening = true;
                }
                self.publish(tid);
            }
            // It is not in the stop any more, or about to die.
            Err(stopped) => self.resume(stopped),
        }
        Ok(())
    }

    fn entering(&mut self, stopped: Stopped<Entry>) -> Result<(), Gone> {
        let tid = stopped.tid();
        self.seen(tid);
        match self.take_phase(tid) {
            Phase::Reissuing(reissue) => self.enter(stopped, *reissue),
            Phase::Unreadable => self.expose(stopped),
            Phase::Free if self.kills_before(&stopped)? => {
                self.resume(stopped);
                Ok(())
            }
            Phase::Free if self.tells_entry(tid) => {
                self.hold(stopped, Kind::Entry);
                Ok(())
            }
            Phase::Free => {
                match self.told_of_filter(&stopped) {
                    Some(message) => self.hold(stopped, Kind::Filtered(message)),
                    None => {
                        self.skip_untraced(&stopped)?;
                        self.resume(stopped);
                    }
                }
                Ok(())
            }
            phase => {
                self.set_phase(tid, phase);
                self.resume(stopped);
                Ok(())
            }
        }
    }

    fn leaving(&mut self, stopped: Stopped<Boundary>) -> Result<(), Gone> {
        let tid = stopped.tid();
        self.seen(tid);
        match self.take_phase(tid) {
            Phase::Inside(inside) => self.leave(stopped, *inside),
            Phase::Overwritten(overwritten) => self.put_path_back(stopped, *overwritten),
            Phase::Exposing(own) => self.exposed(stopped, own),
            Phase::Naming(naming) => self.name(stopped, naming),
            Phase::Injecting(injection) => self.injected(stopped, *injection),
            Phase::Waiting(wait) => self.waited(stopped, *wait),
            Phase::Filtering(new) => self.filter_installed(stopped, new),
            Phase::Free => self.left(stopped),
            Phase::Answered(answered) => {
                let regs = stopped.registers()?;
                if regs.result() == self.mark() {
                    // Watched for a debugger, it stops here already.
                    return self.instead(stopped, regs, answered);
                }
                self.set_phase(tid, Phase::Answered(answered));
                self.resume(stopped);
                Ok(())
            }
            phase => {
                self.set_phase(tid, phase);
                self.resume(stopped);
                Ok(())
            }
        }
    }

    fn signalled(&mut self, stopped: Stopped<Delivery>, signal: i32) -> Result<(), Gone> {
        let tid = stopped.tid();
        self.seen(tid);
        let Some(thread) = self.threads.get_mut(&tid) else { return Ok(()) };
        if signal == libc::SIGSYS
            && let Some(at) = thread.injected_at
            && stopped.filtered_call() == Some(at)
        {
            // The program's own filter answered a call of ours.
            thread.injected_at = None;
            let how = self.how(tid);
            stopped.deliver(how, 0);
            return Ok(());
        }
        if matches!(thread.phase, Phase::Injecting(_)) {
            if let Phase::Injecting(injection) = self.take_phase(tid) {
                return self.signalled_injecting(stopped, injection, signal);
            }
            return Ok(());
        }
        // Its handler may have children before the thread waits the next time.
        thread.childless = false;
        if matches!(thread.phase, Phase::Free | Phase::Reissuing(_)) {
            let mut regs = stopped.registers()?;
            if [libc::SIGSEGV, libc::SIGBUS].contains(&signal)
                && stopped.is_fault()
                && let Some(address) = self.hypervisor.recovers(tid, regs.instruction())
            {
                regs.set_instruction(address);
                stopped.set_registers(&regs)?;
                let how = self.how(tid);
                stopped.deliver(how, 0);
                return Ok(());
            }
            if !regs.in_syscall() {
                repair::before_signal(&stopped, thread, &regs, signal)?;
            } else if regs.result() == Errno::EINTR.as_result() {
                repair::before_ignored(&stopped, thread, &regs, signal)?;
            } else if self.waited_for_verdict(&stopped, &regs) {
                // The wait for the verdict was interrupted, not the call: it is made again after the handler.
                regs.reissue();
                stopped.set_registers(&regs)?;
            }
        }
        self.complete_signal(&stopped, signal)?;
        if self.debuggee(tid).is_some() {
            self.hold(stopped, Kind::Signal(signal));
            return Ok(());
        }
        let Some(stopped) = self.before_core_file(stopped, signal)? else { return Ok(()) };
        let how = self.how(tid);
        stopped.deliver(how, signal);
        Ok(())
    }

    /// Whether what a signal interrupted was the wait for the verdict about a call, and not the call.
    pub(crate) fn waited_for_verdict<At>(&self, stopped: &Stopped<At>, regs: &Registers) -> bool {
        if regs.result() != -ERESTARTSYS || self.required.len() == 0 {
            return false;
        }
        let abi = stopped.abi(regs);
        self.hypervisor.never_interrupted(stopped.tid(), abi, regs.syscall(), &regs.args(abi))
    }

    // ---- calls intercepted by a stop

    fn filtered(&mut self, stopped: Stopped<Entry>) -> Result<(), Gone> {
        let tid = stopped.tid();
        self.seen(tid);
        let phase = self.threads.get(&tid).map(|thread| &thread.phase);
        if matches!(phase, Some(Phase::Injecting(_) | Phase::Exposing(_) | Phase::Inside(_))) {
            // A call of ours, not of the program's.
            self.resume(stopped);
            return Ok(());
        }
        let regs = stopped.registers()?;
        let abi = stopped.abi(&regs);
        if abi == Abi::X86_64
            && [libc::SYS_access, libc::SYS_openat].contains(&regs.syscall())
            && let Some(index) = filter::masked(stopped.event_message()?)
        {
            return self.unmask(stopped, regs, index);
        }
        self.execs.calls(tid, abi, regs.syscall());
        if debugger::is_ptrace(abi, regs.syscall()) {
            return self.debugs(stopped, regs, abi);
        }
        if debugger::is_wait(abi, regs.syscall()) {
            return self.waits(stopped, regs);
        }
        if self.fails_untraced(&stopped, &regs, abi) {
            return self.conclude(stopped, abi, regs, Verdict::Return(Errno::ENOSYS.as_result()));
        }
        match self.about_filters(&stopped, &regs, abi) {
            Concerned::No => {}
            Concerned::Verdict(verdict) => return self.conclude(stopped, abi, regs, verdict),
            Concerned::Installs(new) => {
                self.set_phase(tid, Phase::Filtering(new));
                self.resume(stopped);
                return Ok(());
            }
        }
        if let Fenced::Yes(changed) = fence::keep_inside(&stopped, regs, abi)? {
            if let Some(thread) = self.threads.get_mut(&tid) {
                thread.changed = changed;
            }
            self.resume(stopped);
            return Ok(());
        }
        self.decide(stopped, regs, abi)
    }

    /// Has the filters that let a call pass by its place do with it what they do with others: they look at it once more behind this stop (`__seccomp_filter`, `kernel/seccomp.c`), and at all
    /// of its flags, of which the kernel only takes the lower half.
    fn unmask(&mut self, stopped: Stopped<Entry>, mut regs: Registers, flags: usize) -> Result<(), Gone> {
        let mut args = regs.args(Abi::X86_64);
        if let Some(flags) = args.get_mut(flags) {
            *flags |= 1 << 32;
        }
        regs.set_args(Abi::X86_64, args);
        stopped.set_registers(&regs)?;
        self.resume(stopped);
        Ok(())
    }

    /// Carries a verdict out, at the stop before the call is made.
    pub(crate) fn conclude(
        &mut self,
        stopped: Stopped<Entry>,
        abi: crate::Abi,
        mut regs: Registers,
        verdict: Verdict,
    ) -> Result<(), Gone> {
        match verdict {
            Verdict::Continue => {}
            Verdict::Return(result) => {
                let nr = regs.syscall();
                if let Some(debuggee) = self.debuggee(stopped.tid()) {
                    debuggee.number = debuggee.in_call.then_some(nr);
                }
                regs.set_syscall(-1);
                regs.set_result(result);
                stopped.set_registers(&regs)?;
            }
            Verdict::Rewrite(rewrite) if rewrite.needs_memory() => {
                // Memory can be had only behind the call: as with a notified one, it is answered for show.
                let nr = regs.syscall();
                regs.set_syscall(-1);
                regs.set_result(self.mark());
                stopped.set_registers(&regs)?;
                interrupt(stopped.tid())?;
                let replaced = Replaced { rewrite, abi, nr, args: regs.args(abi) };
                self.set_phase(stopped.tid(), Phase::Answered(Answered::Rewrite(replaced)));
            }
            Verdict::Rewrite(rewrite) => {
                if let Some(filter) = &rewrite.filter {
                    interrupt(stopped.tid())?;
                    let process = self.threads.get(&stopped.tid()).map_or(stopped.tid(), |thread| thread.process);
                    self.want(process, filter);
                }
                return self.substitute(stopped, Reissue::without_memory(*rewrite, regs, abi));
            }
            // Only a process without a listener gets here that has no descriptor to spare for one.
            Verdict::Install(_) | Verdict::Borrow(_) => {
                return self.conclude(stopped, abi, regs, Verdict::Return(Errno::EMFILE.as_result()));
            }
        }
        self.resume(stopped);
        Ok(())
    }
}

pub(crate) const ERESTARTSYS: i64 = 512;
