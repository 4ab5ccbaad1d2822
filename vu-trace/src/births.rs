//! Births, execs and deaths.
//!
//! A new thread is attached by the kernel and stops before it runs. Its parent stops, too, to tell of it; either stop may be reported first, and if it is the
//! child's, the child waits for its parent's. A parent that is killed in between never tells: then the child's origin is found out otherwise.
//!
//! A thread that executes a program goes on under its process's number. Its own, of which nobody tells any more, is free from then on, and may be another's before the exec is told; if
//! the process is killed meanwhile, that never is.

use crate::{
    auxiliary,
    debugger::{Debuggee, Kind, event_option},
    memory::{Memory, ProcessMemory},
    naming::ExecutedBy,
    proc::{self, Status},
    ptrace::{Gone, Midway, Stopped, Tid, interrupt},
    tracer::{Deceased, Phase, Process, Thread, Tracer},
    verdict::{Birth, Death, Hypervisor, Parent},
    x86_64::{Abi, Registers},
};
use std::{
    collections::hash_map::Entry,
    mem,
    time::{Duration, Instant},
};
use vu_api::Errno;

/// How long a parent that is alive may take from making a child to telling so, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long one is waited for that may be in the midst of making it.
const LONGEST: Duration = Duration::from_secs(30);
/// How long a child waits if its parent is not known, or somebody was killed who may have been it.
const IMPATIENCE: Duration = Duration::from_millis(100);

impl<H: Hypervisor> Tracer<H> {
    /// A parent tells of its child.
    pub(crate) fn bore(&mut self, stopped: Stopped<Midway>, event: i32) -> Result<(), Gone> {
        let parent = stopped.tid();
        let child = Tid(i32::try_from(stopped.event_message()?).unwrap_or(0));
        let regs = stopped.registers()?;
        let flags = clone_flags(&stopped, &regs);
        if let Some(changed) = self.threads.get_mut(&parent).and_then(|thread| thread.changed.take())
            && changed.belongs_to(&regs, stopped.abi(&regs))
        {
            changed.put_back(parent);
            changed.put_back(child);
        }
        if self.is_to_be_entered(parent, child, flags) {
            let debuggee = self.inherit(parent, event, flags);
            self.birth(parent, child, flags, debuggee);
        }
        if !shares(flags, libc::CLONE_THREAD) {
            self.has_child(parent);
        }
        self.seen(parent);
        if self.debuggee(parent).is_some_and(|debuggee| debuggee.has_option(event_option(event))) {
            self.hold(stopped, Kind::Event(event));
        } else {
            self.resume(stopped);
        }
        Ok(())
    }

    /// Whether a thread of which its parent tells is to be entered into the books: not if it has ended, or somebody stood in for the parent. Then its number may be another's already.
    fn is_to_be_entered(&mut self, parent: Tid, child: Tid, flags: u64) -> bool {
        self.forget_if_vanished(child);
        let is_settled = self.threads.contains_key(&child)
            || !self.newborn.contains_key(&child) && !is_unheard_of(child)
            // Who had this number ended before anybody told of him. It is he who is told of, unless the living one is known to be this parent's.
            || self.stillborn.contains_key(&child) && !self.is_child(parent, child, flags);
        if is_settled {
            self.stillborn.remove(&child);
        }
        !is_settled
    }

    /// Whether the kernel says that a thread was made so.
    fn is_child(&self, parent: Tid, child: Tid, flags: u64) -> bool {
        let (Some(maker), Some(status)) = (self.threads.get(&parent), Status::read(child)) else { return false };
        if shares(flags, libc::CLONE_THREAD) {
            return status.process() == Some(maker.process);
        }
        let parent = if shares(flags, libc::CLONE_PARENT) {
            Status::read(maker.process).and_then(|maker| maker.parent())
        } else {
            Some(maker.process)
        };
        status.process() == Some(child) && status.parent() == parent
    }

    /// Enters a new thread into the books, and lets it run if it has reported already.
    fn birth(&mut self, parent: Tid, child: Tid, flags: u64, debuggee: Option<Box<Debuggee>>) {
        let space = self.space(parent);
        let Some(maker) = self.threads.get(&parent) else { return };
        let process = if shares(flags, libc::CLONE_THREAD) { maker.process } else { child };
        let filters = if process != child {
            // The kernel gives a filter to all threads of a process at once, and this one is among them.
            maker.filters
        } else {
            // Filters and memory that came to the parent's process since the parent was last seen may have come after the birth.
            let space = if shares(flags, libc::CLONE_VM) { space } else { space.forked(maker.areas_seen) };
            let stack = self.processes.get(&maker.process).map_or(0, |process| process.stack);
            self.processes.insert(child, Process { maker: Some(parent), space, stack, ..Process::default() });
            maker.filters_seen
        };
        self.enrol(Birth { parent: Parent::Living(parent), child, process, flags }, filters, debuggee);
    }

    fn enrol(&mut self, birth: Birth, filters: usize, debuggee: Option<Box<Debuggee>>) {
        let Birth { parent, child, process, .. } = birth;
        let mut thread = Thread::new(process, filters);
        let mut stack = 0;
        match parent {
            Parent::Living(parent) => {
                if let Some(parent) = self.threads.get(&parent) {
                    stack = self.processes.get(&parent.process).map_or(0, |process| process.stack);
                    thread.own_filters = parent.own_filters.clone();
                    if process != child {
                        // As with other filters: the kernel gives it to all threads at once, or each gets it when it stops.
                        thread.waits = parent.waits;
                    }
                }
            }
            Parent::Killed(death) => {
                if let Some(parent) = self.deceased.iter().find(|deceased| deceased.death == death) {
                    stack = parent.stack;
                    thread.own_filters = parent.own_filters.clone();
                }
            }
        }
        self.threads.insert(child, thread);
        let known = self.processes.entry(process).or_insert_with(|| Process { stack, ..Process::default() });
        known.threads += 1;
        known.threaded |= known.threads > 1;
        self.hypervisor.born(birth);
        self.publish(child);
        if let Some(debuggee) = debuggee {
            self.born_debuggee(child, *debuggee);
        }
        if self.ending {
            kill(child);
        }
        if filters < self.spread {
            let _ = interrupt(child);
        }
        if let Some((event, _)) = self.newborn.remove(&child) {
            self.event(child, event);
        }
    }

    /// Children whose parents did not tell of them in time: a parent was killed between making a child and telling so.
    pub(crate) fn look_for_orphans(&mut self) {
        let now = Instant::now();
        let waiting: Vec<_> = self.newborn.iter().map(|(&tid, &(_, since))| (tid, now.duration_since(since))).collect();
        for (child, waited) in waiting {
            let Some(status) = Status::read(child) else { continue };
            let process = status.process().unwrap_or(child);
            let maker = if process == child { status.parent() } else { Some(process) };
            let maker = maker.filter(|maker| self.processes.contains_key(maker));
            // A parent that is alive, and may be about to tell, is waited for: on a busy machine that takes its time, and others are killed meanwhile.
            let may_tell = maker.is_some_and(|maker| self.makes_children(maker));
            let patience = if may_tell {
                LONGEST
            } else if maker.is_some() && self.deceased.is_empty() {
                PATIENCE
            } else {
                IMPATIENCE
            };
            if waited < patience {
                continue;
            }
            let Some(parent) = self.stand_in(child, process, maker) else {
                tracing::error!("{child}: nobody is left of whom it could have its view; it is killed");
                self.newborn.remove(&child);
                kill(child);
                continue;
            };
            let thread = (libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES).unsigned_abs();
            let flags = if process == child { 0 } else { thread.into() };
            tracing::debug!("{child}: its maker did not tell of it; {parent} stands in");
            // It may have any of the filters: those it has already are not given to it once more.
            self.enrol(Birth { parent, child, process, flags }, 0, None);
        }
        while let Some(deceased) = self.deceased.front()
            && now.duration_since(deceased.since) > PATIENCE
            // A child that takes longer has nobody else.
            && !(self.threads.is_empty() && self.deceased.len() == 1)
        {
            self.hypervisor.forgets(deceased.death);
            self.deceased.pop_front();
        }
        self.stillborn.retain(|_, &mut since| now.duration_since(since) <= LONGEST);
        if !self.newborn.is_empty() || !self.deceased.is_empty() || !self.stillborn.is_empty() {
            self.doorbell.alarm();
        }
    }

    /// Who is taken for the parent of a child of which nobody told. `maker` is the process that the kernel names, as far as it is known: that of a thread, or the parent of a process,
    /// which may be one that adopted it.
    fn stand_in(&self, child: Tid, process: Tid, maker: Option<Tid>) -> Option<Parent> {
        let living = |process: Tid| self.thread_of(process).map(Parent::Living);
        if process != child
            && let Some(thread) = maker.and_then(living)
        {
            // One of its threads, which went with the exec of another one.
            return Some(thread);
        }
        let killed = |deceased: &Deceased| Parent::Killed(deceased.death);
        // Others are killed, too, in other views even: who is of its family is seen by the memory that it has from there.
        let stack = proc::memory_map(child).map(|map| map[proc::STACK]).filter(|&stack| stack != 0);
        let forked = self.deceased.iter().rev().find(|deceased| Some(deceased.stack) == stack).map(killed);
        let relative = || {
            let is_one = |process: &Tid| self.processes.get(process).is_some_and(|its| Some(its.stack) == stack);
            let any = || self.processes.keys().copied().filter(is_one).min();
            maker.filter(is_one).or_else(any).and_then(living)
        };
        // If nothing is known of its family, it is the last one killed, or the first process.
        let last = || self.deceased.back().map(killed);
        let first = || self.threads.keys().min().copied().map(Parent::Living);
        forked.or_else(relative).or_else(|| maker.and_then(living)).or_else(last).or_else(first)
    }

    /// Strikes a thread out of the books.
    fn strike_out(&mut self, tid: Tid) -> Option<Thread<H>> {
        let thread = self.threads.remove(&tid)?;
        self.passing.take(tid);
        self.execs.over(tid);
        self.debugger_ended(tid);
        if let Entry::Occupied(mut process) = self.processes.entry(thread.process) {
            process.get_mut().threads = process.get().threads.saturating_sub(1);
            if process.get().threads == 0 {
                process.remove();
            }
        }
        Some(thread)
    }

    /// Forgets a thread whose number is not its own any more.
    fn vanished(&mut self, tid: Tid) {
        let Some(thread) = self.strike_out(tid) else { return };
        if let Some(debuggee) = &thread.debuggee {
            self.forget_debuggee(tid, debuggee.debugger);
        }
        self.hypervisor.exited(tid);
    }

    /// The same, if it is so. Only those of threads that are no leaders vanish.
    pub(crate) fn forget_if_vanished(&mut self, tid: Tid) {
        let Some(process) = self.threads.get(&tid).map(|thread| thread.process).filter(|&process| process != tid)
        else {
            return;
        };
        // SAFETY: no memory is involved, and no signal is sent.
        let sent = unsafe { libc::syscall(libc::SYS_tgkill, process.0, tid.0, 0) };
        if sent != 0 && Errno::last() == Errno::ESRCH {
            self.vanished(tid);
        }
    }

    /// Whether a thread of a process is in a call that makes a thread or process, its stop at the end of that included, or runs, so that it may be.
    fn makes_children(&self, process: Tid) -> bool {
        let makes = |tid: Tid| match proc::sleeps_in(tid) {
            Some((nr, _)) => [Abi::X86_64, Abi::I386]
                .map(Abi::numbers)
                .iter()
                .any(|numbers| [numbers.clone, numbers.clone3, numbers.vfork, numbers.fork].contains(&nr)),
            None => true,
        };
        self.threads.iter().any(|(&tid, thread)| thread.process == process && makes(tid))
    }

    /// Some thread of a process.
    pub(crate) fn thread_of(&self, process: Tid) -> Option<Tid> {
        if self.threads.contains_key(&process) {
            return Some(process);
        }
        self.threads.iter().find(|(_, thread)| thread.process == process).map(|(&tid, _)| tid)
    }

    pub(crate) fn executed(&mut self, stopped: Stopped<Midway>) -> Result<(), Gone> {
        let process = stopped.tid();
        // The only thread of a process is its leader: only others change their ids.
        let alone = self.processes.get(&process).is_some_and(|known| known.threads == 1);
        let former = if alone && self.threads.contains_key(&process) {
            process
        } else {
            Tid(i32::try_from(stopped.event_message()?).unwrap_or(process.0))
        };
        // Its number may be another's by now.
        let still = self.threads.get(&former).is_some_and(|thread| thread.process == process);
        let former = if still { former } else { process };
        self.passing.take(former);
        self.passing.take(process);
        if former != process
            && let Some(thread) = self.threads.remove(&former)
        {
            // The thread that made the call goes on under the leader's id; the leader is gone and its death is not told.
            if self.threads.insert(process, thread).is_some()
                && let Some(p) = self.processes.get_mut(&process)
            {
                p.threads = p.threads.saturating_sub(1);
            }
        }
        match self.take_phase(process) {
            Phase::Inside(inside) => inside.succeeded(),
            Phase::Overwritten(overwritten) => overwritten.succeeded(),
            _ => {}
        }
        if let Some(p) = self.processes.get_mut(&process) {
            p.space = crate::space::Space::default();
            p.stack = stopped.registers().map_or(0, |regs| regs.stack());
        }
        let executed_by = if self.hypervisor.asks_for_path(process) { ExecutedBy::find(&stopped)? } else { None };
        if let Some(by) = &executed_by {
            self.hypervisor.executes(process, &by.path);
        }
        self.hypervisor.executed(process, former);
        let naming = self.hypervisor.naming(process);
        let values = self.hypervisor.auxiliary(process);
        if !values.is_empty() {
            let regs = stopped.registers()?;
            // A program that may not even be looked at is told what the kernel says.
            let _ = auxiliary::put(&ProcessMemory(process), regs.stack(), regs.abi(), &values);
        }
        self.seen(process);
        if let Some(thread) = self.threads.get_mut(&process) {
            thread.repaired = None;
            thread.sleeps_since = None;
            thread.injected_at = None;
            // What was asked for before the exec is over is not forgotten by the kernel: an interrupt may still be pending.
            if thread.filters < self.spread {
                let _ = interrupt(process);
            }
        }
        self.debug_renamed(former, process);
        self.publish(process);
        self.rename(&stopped, naming, executed_by)?;
        self.execs.over(former);
        if self.debuggee(process).is_some_and(Debuggee::is_met_behind_exec) {
            self.resume(stopped);
        } else if self.debuggee(process).is_some_and(|debuggee| debuggee.has_option(libc::PTRACE_O_TRACEEXEC)) {
            self.hold(stopped, Kind::Event(libc::PTRACE_EVENT_EXEC));
        } else {
            self.trap_exec(process);
            self.resume(stopped);
        }
        Ok(())
    }

    pub(crate) fn ended(&mut self, tid: Tid, status: i32) {
        self.newborn.remove(&tid);
        let process = self.threads.get(&tid).and_then(|thread| self.processes.get(&thread.process));
        let (threads, threaded, stack) =
            process.map_or((0, false, 0), |process| (process.threads, process.threaded, process.stack));
        let Some(thread) = self.strike_out(tid) else {
            self.stillborn.insert(tid, Instant::now());
            return self.doorbell.alarm();
        };
        let is_leader = tid == thread.process;
        if let Some(debuggee) = &thread.debuggee {
            self.debuggee_ended(tid, thread.process, debuggee, status);
        }
        if is_leader && threads > 1 {
            // It ends last: who is known still has become that by an exec which was not told any more.
            let others = self.threads.iter().filter(|(_, other)| other.process == tid).map(|(&other, _)| other);
            for other in others.collect::<Vec<_>>() {
                self.vanished(other);
            }
        }
        // Who ends his process ends its other threads, wherever they are, and has their status be his own (`do_group_exit`, `kernel/exit.c`).
        let killed = libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL || is_leader && threaded;
        if !killed || self.ending {
            return self.hypervisor.exited(tid);
        }
        // It may have been about to tell of a child, which then has what it had.
        self.deaths += 1;
        let death = Death(self.deaths);
        self.hypervisor.was_killed(tid, death);
        let own_filters = thread.own_filters;
        self.deceased.push_back(Deceased { death, since: Instant::now(), stack, own_filters });
        self.doorbell.alarm();
    }
}

fn kill(process: Tid) {
    // SAFETY: no memory is involved.
    unsafe { libc::kill(process.0, libc::SIGKILL) };
}

/// Whether a bit is set among the flags of clone(2).
fn shares(flags: u64, flag: i32) -> bool {
    flags & u64::from(flag.unsigned_abs()) != 0
}

/// Whether there is a tracee of the calling thread's by this number whose end was not heard of yet.
fn is_unheard_of(tid: Tid) -> bool {
    let Ok(number) = libc::id_t::try_from(tid.0) else { return false };
    let which = libc::WEXITED | libc::WSTOPPED | libc::__WALL | libc::__WNOTHREAD | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: all-zero is a valid siginfo_t, and the kernel writes one at most.
    unsafe {
        let mut info: libc::siginfo_t = mem::zeroed();
        libc::waitid(libc::P_PID, number, &raw mut info, which) == 0
    }
}

/// The flags of the call that made a thread, from its maker's registers.
fn clone_flags(stopped: &Stopped<Midway>, regs: &Registers) -> u64 {
    let nr = regs.syscall();
    // By which entry it came need only be asked where another call has the number there: who has made a thread has made one of these.
    let by = |abi: Abi| [abi.numbers().clone, abi.numbers().fork, abi.numbers().vfork].contains(&nr);
    let abi = if by(Abi::X86_64) {
        Abi::X86_64
    } else if by(Abi::I386) {
        Abi::I386
    } else {
        stopped.abi(regs)
    };
    let numbers = abi.numbers();
    let args = regs.args(abi);
    match regs.syscall() {
        nr if nr == numbers.clone => args[0],
        nr if nr == numbers.clone3 => ProcessMemory(stopped.tid()).read_u64(args[0]).unwrap_or(0),
        nr if nr == numbers.vfork => (libc::CLONE_VFORK | libc::CLONE_VM).unsigned_abs().into(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{doorbell::Doorbell, filters::Required, own_filters::OwnFilters, ptrace::decode, verdict::*};
    use parking_lot::Mutex;
    use std::{fs, sync::Arc};

    /// Notes who was born of whom, and who is gone.
    #[derive(Default)]
    struct Register(Mutex<Vec<(Tid, Parent)>>, Mutex<Vec<Tid>>);

    impl Hypervisor for Register {
        fn intercepted(&self, _call: &Intercepted<'_>) -> Verdict {
            Verdict::Continue
        }
        fn never_interrupted(&self, _tid: Tid, _abi: Abi, _nr: i64, _args: &[u64; 6]) -> bool {
            false
        }
        fn began(&self, _first: Tid) {}
        fn born(&self, birth: Birth) {
            self.0.lock().push((birth.child, birth.parent));
        }
        fn executed(&self, _process: Tid, _former: Tid) {}
        fn was_killed(&self, tid: Tid, _death: Death) {
            self.exited(tid);
        }
        fn forgets(&self, _death: Death) {}
        fn exited(&self, tid: Tid) {
            self.1.lock().push(tid);
        }
    }

    fn tracer(register: &Arc<Register>) -> Tracer<Register> {
        let doorbell = Doorbell::new().unwrap();
        Tracer::new(register.clone(), Arc::new(Required::default()), 1, doorbell, Box::new(|| ()))
    }

    /// A process in the call that makes its child, as long as the child lives: with `CLONE_VFORK`, as `posix_spawn` does it.
    fn making() -> (Tid, Tid) {
        // SAFETY: both new processes only wait; the second has a copy of the first one's memory.
        let parent = unsafe {
            match libc::fork() {
                0 => {
                    libc::syscall(libc::SYS_clone, libc::CLONE_VFORK | libc::SIGCHLD, 0, 0, 0, 0);
                    loop {
                        libc::pause();
                    }
                }
                pid => pid,
            }
        };
        assert!(parent > 0);
        loop {
            let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
            if let Ok(child) = children.trim().parse() {
                return (Tid(parent), Tid(child));
            }
            std::thread::yield_now();
        }
    }

    /// One that was killed just now.
    fn dead(death: u64, stack: u64) -> Deceased {
        Deceased { death: Death(death), since: Instant::now(), stack, own_filters: OwnFilters::default() }
    }

    /// A new thread stops for the first time.
    fn reports(tracer: &mut Tracer<Register>, child: Tid, since: Instant) {
        let event = decode(child, libc::PTRACE_EVENT_STOP << 16 | libc::SIGTRAP << 8 | 0x7f).unwrap();
        tracer.newborn.insert(child, (event, since));
    }

    /// Ends both, however the test ends.
    struct Family(Tid, Tid);

    impl Drop for Family {
        fn drop(&mut self) {
            kill(self.1);
            kill(self.0);
            // SAFETY: no status is asked for.
            unsafe { libc::waitpid(self.0.0, std::ptr::null_mut(), 0) };
        }
    }

    /// On a busy machine a parent may take long to tell of its child. Somebody who was killed meanwhile is not taken for it.
    #[test]
    fn a_parent_that_may_be_about_to_tell_is_waited_for() {
        let register = Arc::default();
        let mut tracer = tracer(&register);
        let (parent, child) = making();
        let _family = Family(parent, child);
        tracer.adopt(parent);
        let while_waiting = |tracer: &mut Tracer<Register>| {
            tracer.deceased.push_back(dead(1, 0));
            reports(tracer, child, Instant::now().checked_sub(2 * IMPATIENCE).unwrap());
            tracer.look_for_orphans();
            register.0.lock().iter().find(|(born, _)| *born == child).map(|&(_, parent)| parent)
        };
        while proc::sleeps_in(parent).is_none_or(|(nr, _)| nr != libc::SYS_clone) {
            std::thread::yield_now();
        }
        assert_eq!(while_waiting(&mut tracer), None);
        // Of who can have nothing more to tell, it is not.
        kill(child);
        while proc::sleeps_in(parent).is_none_or(|(nr, _)| nr == libc::SYS_clone) {
            std::thread::yield_now();
        }
        // Dead, but not waited for: as good as any child.
        assert_eq!(while_waiting(&mut tracer), Some(Parent::Living(parent)));
    }

    /// Whoever was killed last is not taken for the parent of what another one has forked.
    #[test]
    fn a_killed_parent_is_known_by_its_memory() {
        let register = Arc::default();
        let mut tracer = tracer(&register);
        let (parent, child) = making();
        let _family = Family(parent, child);
        let stack = proc::memory_map(parent).unwrap()[proc::STACK];
        tracer.deceased.extend([dead(1, stack), dead(2, stack + 16)]);
        assert_eq!(tracer.stand_in(child, child, None), Some(Parent::Killed(Death(1))));
        tracer.deceased.pop_front();
        assert_eq!(tracer.stand_in(child, child, None), Some(Parent::Killed(Death(2))), "if nothing is known of it");
        let relative = Tid(i32::MAX);
        tracer.adopt(relative);
        tracer.processes.get_mut(&relative).unwrap().stack = stack;
        assert_eq!(tracer.stand_in(child, child, None), Some(Parent::Living(relative)));
        tracer.adopt(parent);
        assert_eq!(tracer.stand_in(child, child, Some(parent)), Some(Parent::Living(relative)), "others adopt orphans");
        tracer.processes.get_mut(&parent).unwrap().stack = stack;
        assert_eq!(tracer.stand_in(child, child, Some(parent)), Some(Parent::Living(parent)));
    }

    /// Who ends his process may end another thread of it in the midst of making a child, and both end as he does.
    #[test]
    fn any_end_of_a_process_with_threads_may_leave_a_child() {
        let register: Arc<Register> = Arc::default();
        let mut tracer = tracer(&register);
        let (process, thread, alone) = (Tid(i32::MAX), Tid(i32::MAX - 1), Tid(i32::MAX - 2));
        tracer.adopt(process);
        tracer.adopt(alone);
        tracer.birth(process, thread, libc::CLONE_THREAD.unsigned_abs().into(), None);
        for (tid, deaths) in [(thread, 0), (alone, 0), (process, 1)] {
            tracer.ended(tid, 0);
            assert_eq!(tracer.deceased.len(), deaths, "{tid}");
        }
        assert_eq!(*register.1.lock(), [thread, alone, process]);
    }

    /// A parent that has much to wait for tells of its child when that has ended long since, and its number is another's.
    #[test]
    fn told_late_of_a_child_nobody_takes_another_one_for_it() {
        let mut tracer = tracer(&Arc::default());
        let (parent, child) = making();
        let _family = Family(parent, child);
        let late = Tid(i32::MAX);
        tracer.adopt(late);
        tracer.adopt(parent);
        assert!(!tracer.is_to_be_entered(late, child, 0), "there is no such tracee");
        tracer.stillborn.insert(child, Instant::now());
        reports(&mut tracer, child, Instant::now());
        assert!(tracer.is_to_be_entered(parent, child, 0), "of one it is to be told yet");
        assert!(!tracer.is_to_be_entered(late, child, 0) && tracer.stillborn.is_empty());
        assert!(tracer.is_to_be_entered(parent, child, 0));
        tracer.stillborn.insert(child, Instant::now());
        tracer.birth(parent, child, 0, None);
        for flags in [0, libc::CLONE_THREAD.unsigned_abs().into()] {
            assert!(!tracer.is_to_be_entered(late, child, flags) && tracer.stillborn.is_empty());
            assert_eq!(tracer.threads[&child].process, child);
        }
    }

    /// A process that is killed in an exec of a thread that is not its first ends under the first one's number, and nobody tells of the other.
    #[test]
    fn nobody_is_left_of_a_process_that_has_ended() {
        let register: Arc<Register> = Arc::default();
        let mut tracer = tracer(&register);
        let (process, thread, other) = (Tid(i32::MAX), Tid(i32::MAX - 1), Tid(i32::MAX - 2));
        for process in [process, other] {
            tracer.adopt(process);
        }
        tracer.birth(process, thread, libc::CLONE_THREAD.unsigned_abs().into(), None);
        assert_eq!(tracer.processes[&process].threads, 2);
        tracer.ended(process, libc::SIGKILL);
        assert_eq!(*register.1.lock(), [thread, process]);
        assert!(tracer.threads.keys().eq([&other]) && tracer.processes.keys().eq([&other]));
    }

    /// Its number may be another's before its exec is told.
    #[test]
    fn numbers_of_threads_that_became_leaders_are_used_again() {
        let register: Arc<Register> = Arc::default();
        let mut tracer = tracer(&register);
        let (process, parent) = (Tid(i32::MAX), Tid(i32::MAX - 1));
        // SAFETY: no memory is involved.
        let number = Tid(unsafe { libc::gettid() });
        tracer.adopt(process);
        tracer.adopt(parent);
        tracer.birth(process, number, libc::CLONE_THREAD.unsigned_abs().into(), None);
        reports(&mut tracer, number, Instant::now());
        assert!(tracer.is_to_be_entered(parent, number, 0));
        tracer.birth(parent, number, 0, None);
        assert_eq!(register.0.lock().last(), Some(&(number, Parent::Living(parent))));
        assert_eq!((tracer.threads[&number].process, tracer.processes[&process].threads), (number, 1));
        // That it reports first makes no difference.
        tracer.threads.get_mut(&number).unwrap().process = process;
        tracer.forget_if_vanished(number);
        assert!(!tracer.threads.contains_key(&number));
    }
}
