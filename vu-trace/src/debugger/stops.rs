//! The stops of debuggees.

use super::{Attached, Debuggee, Report, Sent, Told};
use crate::{
    proc::Status,
    ptrace::{Boundary, Delivery, Gone, Midway, Resume, Stopped, Tid, interrupt},
    tracer::Tracer,
    verdict::Hypervisor,
};
use vu_api::Errno;

/// Why a debuggee is stopped, as its debugger sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Before the delivery of a signal.
    Signal(i32),
    /// A group-stop by this signal.
    Group(i32),
    /// `PTRACE_EVENT_STOP` of a seized one that is in no group-stop.
    Trap,
    /// `PTRACE_EVENT_*`
    Event(i32),
    /// At the entry to a system call.
    Entry,
    /// At the exit from one.
    Exit,
    /// `PTRACE_EVENT_SECCOMP`, with this message. For the kernel it is at the entry to a call.
    Filtered(u16),
}

impl Kind {
    /// `exit_code` of the stop (`ptrace_notify`, `do_jobctl_trap`, `ptrace_report_syscall`).
    pub(super) fn code(self, debuggee: &Debuggee) -> i32 {
        let seized = debuggee.attached == Attached::Seized;
        match self {
            Kind::Group(signal) if seized => signal | libc::PTRACE_EVENT_STOP << 8,
            Kind::Signal(signal) | Kind::Group(signal) => signal,
            Kind::Trap => libc::SIGTRAP | libc::PTRACE_EVENT_STOP << 8,
            Kind::Event(event) => libc::SIGTRAP | event << 8,
            Kind::Filtered(_) => libc::SIGTRAP | libc::PTRACE_EVENT_SECCOMP << 8,
            Kind::Entry | Kind::Exit if debuggee.has_option(libc::PTRACE_O_TRACESYSGOOD) => libc::SIGTRAP | 0x80,
            Kind::Entry | Kind::Exit => libc::SIGTRAP,
        }
    }
}

const CLD_TRAPPED: i32 = 4;

impl<H: Hypervisor> Tracer<H> {
    pub(crate) fn debuggee(&mut self, tid: Tid) -> Option<&mut Debuggee> {
        self.threads.get_mut(&tid)?.debuggee.as_deref_mut()
    }

    /// Leaves a debuggee in its stop, and tells its debugger. What is not debugged goes on.
    pub(crate) fn hold<At>(&mut self, stopped: Stopped<At>, kind: Kind) {
        let tid = stopped.tid();
        let turn = self.debuggers.next_turn();
        let Some(debuggee) = self.debuggee(tid) else { return self.resume(stopped) };
        if let Some(mask) = debuggee.withheld.take() {
            let _ = stopped.set_signal_mask(mask);
        }
        debuggee.stop_wanted = false;
        debuggee.met = true;
        debuggee.group_stopped |= matches!(kind, Kind::Group(_));
        if matches!(kind, Kind::Signal(_)) {
            // The exit of the call that it interrupted was told, or is not told any more.
            debuggee.in_call = false;
        }
        if std::mem::take(&mut debuggee.options_changed) {
            stopped.set_further_options(debuggee.further_options());
        }
        let code = kind.code(debuggee);
        debuggee.held = Some((stopped.hold(), kind));
        debuggee.report = Some(Report { code, turn });
        let debugger = debuggee.debugger;
        self.tell(debugger, Told { tid, code: CLD_TRAPPED, status: code });
    }

    /// Wakes a debugger's waits, and sends it `SIGCHLD` (`do_notify_parent_cldstop`).
    pub(super) fn tell(&mut self, debugger: Tid, told: Told) {
        let Some(process) = self.threads.get(&debugger).map(|thread| thread.process) else { return };
        // A signal that has no handler, and is not waited for, does nothing but disturb.
        if Status::read(process).is_some_and(|status| status.notices(libc::SIGCHLD)) {
            self.debuggers.told.insert(process, told);
            // SAFETY: no memory is involved.
            unsafe { libc::kill(process.0, libc::SIGCHLD) };
        }
        self.wake(process);
    }

    /// Has the waits of a debugger's process look again.
    pub(super) fn wake(&mut self, process: Tid) {
        for tid in &self.debuggers.waiting {
            if let Some(thread) = self.threads.get_mut(tid)
                && thread.process == process
            {
                // It is in a call, at whose exit it stops, and by that the interrupt is over.
                let _ = interrupt(*tid);
            }
        }
    }

    /// Before a signal is delivered: those that were sent in the kernel's place look as the kernel's.
    pub(crate) fn complete_signal(&mut self, stopped: &Stopped<Delivery>, signal: i32) -> Result<(), Gone> {
        let tid = stopped.tid();
        let Some(thread) = self.threads.get_mut(&tid) else { return Ok(()) };
        let sent = thread.debuggee.as_deref_mut().and_then(|debuggee| debuggee.sent);
        // For the kernel, a sender outside of the receiver's pid namespace has none.
        let is_ours = |sender: i32| [std::process::id().cast_signed(), 0].contains(&sender);
        if signal == libc::SIGCHLD
            && let Some(told) = self.debuggers.told.remove(&thread.process)
        {
            let info = stopped.info()?;
            if info.code == libc::SI_USER && is_ours(info.sender) {
                let owner = super::attach::owner(told.tid).cast_signed();
                stopped.set_info(signal, told.code, [told.tid.0, owner, told.status]);
            }
        } else if let Some(sent) = sent {
            let expected = if sent == Sent::Exec { libc::SIGTRAP } else { libc::SIGSTOP };
            let info = stopped.info()?;
            if signal == expected && info.code == libc::SI_TKILL && is_ours(info.sender) {
                if let Some(debuggee) = thread.debuggee.as_deref_mut() {
                    debuggee.sent = None;
                }
                match sent {
                    // SEND_SIG_PRIV
                    Sent::Attach => stopped.set_info(signal, SI_KERNEL, [0; 3]),
                    Sent::Birth => stopped.set_info(signal, libc::SI_USER, [0; 3]),
                    Sent::Exec => {
                        let process = thread.process;
                        let owner = super::attach::owner(process).cast_signed();
                        stopped.set_info(signal, libc::SI_USER, [process.0, owner, 0]);
                    }
                }
            }
        }
        Ok(())
    }

    /// At the entry of a call that is the thread's own: whether a debugger is to be told of it.
    pub(crate) fn tells_entry(&mut self, tid: Tid) -> bool {
        match self.debuggee(tid) {
            // A call that is made again was told already.
            Some(debuggee) if debuggee.stops_at_calls() && !debuggee.in_call => {
                debuggee.in_call = debuggee.mode == Resume::ToSyscall;
                true
            }
            _ => false,
        }
    }

    /// At the exit of a call that is the thread's own.
    pub(crate) fn left(&mut self, stopped: Stopped<Boundary>) -> Result<(), Gone> {
        let tid = stopped.tid();
        let Some(thread) = self.threads.get_mut(&tid) else { return self.go_on(stopped) };
        let (asked, owed) = (thread.asked, thread.owed);
        let Some(debuggee) = thread.debuggee.as_deref_mut() else { return self.go_on(stopped) };
        debuggee.filter_told = false;
        let mut regs = stopped.registers()?;
        if let Some(nr) = debuggee.number.take()
            && [-1, stopped.abi(&regs).numbers().restart_syscall].contains(&regs.syscall())
        {
            regs.set_syscall(nr);
            stopped.set_registers(&regs)?;
        }
        if debuggee.mode != Resume::ToSyscall {
            return self.go_on(stopped);
        }
        let mut interrupted = crate::inject::RESTARTS.contains(&regs.result());
        if interrupted && let Some(result) = self.answer_early_wait(tid, stopped.abi(&regs), &regs) {
            regs.set_result(result);
            stopped.set_registers(&regs)?;
            interrupted = false;
        }
        if interrupted && self.waited_for_verdict(&stopped, &regs) {
            // It is made again, and then the signal comes.
            let mask = stopped.signal_mask()?;
            stopped.set_signal_mask(!0)?;
            regs.reissue();
            stopped.set_registers(&regs)?;
            if let Some(debuggee) = self.debuggee(tid) {
                debuggee.withheld.get_or_insert(mask);
            }
            return self.go_on(stopped);
        }
        // Interrupted by us only, it is made again by the kernel, or by `repair`.
        let failed = interrupted || regs.result() == Errno::EINTR.as_result();
        if asked && failed && !Status::read(tid).is_none_or(|status| status.signal_pending()) {
            // A debugger that asked for a stop sees its call interrupted.
            if let Some(debuggee) = self.debuggee(tid)
                && !debuggee.stop_wanted
            {
                // The kernel may go on with it by another call.
                debuggee.number = Some(regs.syscall());
                return self.go_on(stopped);
            }
        }
        if let Some(debuggee) = self.debuggee(tid) {
            debuggee.in_call = false;
        }
        if owed {
            if let Some(thread) = self.threads.get_mut(&tid) {
                thread.owed = false;
            }
            interrupt(tid)?;
        }
        self.hold(stopped, Kind::Exit);
        Ok(())
    }

    /// At a stop that was asked for, in a group-stop, or at the first stop, when nothing else is to be done there: whether the debugger is to see it.
    pub(crate) fn sees_interrupt(&mut self, tid: Tid, group: Option<i32>) -> Option<Kind> {
        let debuggee = self.debuggee(tid)?;
        let wanted = std::mem::take(&mut debuggee.stop_wanted);
        let listening = std::mem::take(&mut debuggee.listening);
        match group {
            Some(signal) => Some(Kind::Group(signal)),
            None if debuggee.attached == Attached::Seized && (wanted || listening) => Some(Kind::Trap),
            None => None,
        }
    }

    /// Events that only debuggers ask for.
    pub(crate) fn other(&mut self, stopped: Stopped<Midway>, event: i32) {
        let option = match event {
            libc::PTRACE_EVENT_EXIT => libc::PTRACE_O_TRACEEXIT,
            libc::PTRACE_EVENT_VFORK_DONE => libc::PTRACE_O_TRACEVFORKDONE,
            _ => 0,
        };
        if self.debuggee(stopped.tid()).is_some_and(|debuggee| debuggee.has_option(option)) {
            self.hold(stopped, Kind::Event(event));
        } else {
            self.resume(stopped);
        }
    }
}

/// `include/uapi/asm-generic/siginfo.h`
const SI_KERNEL: i32 = 0x80;
