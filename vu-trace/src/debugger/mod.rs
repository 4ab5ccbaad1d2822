//! Debuggers inside the view: ptrace(2) between tracees.
//!
//! The kernel gives each thread one tracer, and that is the hypervisor's. So what a program asks of ptrace(2) and of wait(2) as a debugger is done on its
//! behalf by the tracer's thread:
//!
//! * A *debuggee* is a thread of the view that another thread of the view, its *debugger*, has attached to ([`attach`]).
//! * Where the kernel would stop a debuggee for its debugger, the debuggee is in the hypervisor's own ptrace-stop of the same kind already. It is *held* there
//!   ([`stops`]): the stop ends when the debugger says so, and it takes the same registers, signals and siginfo as the debugger's would.
//! * The debugger's requests are the kernel's own, made by the tracer's thread on what is held ([`requests`]).
//! * Waits see these stops ([`waits`]). They are intercepted in processes that have become debuggers only, by a filter of their own.
//!
//! **Invariant:** a debugger sees its debuggee's own calls only, each once: what the hypervisor injects, repeats or puts in place of a call is never reported.
//!
//! Behaviour is that of `kernel/ptrace.c` and `kernel/signal.c`; comments name the functions.

mod attach;
mod requests;
mod stops;
mod waits;

pub(crate) use attach::event_option;
pub(crate) use stops::Kind;
pub(crate) use waits::{Wait, filter as wait_filter, is_wait};

use crate::{
    ptrace::{Entry, Held, Resume, Stopped, Tid},
    x86_64::Abi,
};
use ahash::{AHashMap, AHashSet};
use libc::sock_filter;

/// How a debuggee was attached to: what a seized one reports is told more exactly, and it can be interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attached {
    Seized,
    /// By `PTRACE_TRACEME` or `PTRACE_ATTACH`.
    Plainly,
}

/// A signal that the hypervisor sent in the kernel's place; its siginfo is to be what the kernel's is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The `SIGSTOP` of `PTRACE_ATTACH`, which comes from the kernel.
    Attach,
    /// The `SIGSTOP` of a new thread, of which nothing is known.
    Birth,
    /// The `SIGTRAP` behind an exec, which comes from itself.
    Exec,
}

/// What is kept of a thread that a debugger has attached to.
#[derive(Debug)]
pub(crate) struct Debuggee {
    pub debugger: Tid,
    pub attached: Attached,
    /// `PTRACE_O_*`
    pub options: i32,
    /// The kernel was not told of the options yet.
    pub options_changed: bool,
    /// How it goes on when nothing of the hypervisor's is in between.
    pub mode: Resume,
    /// The debugger has seen a stop of it.
    pub met: bool,
    /// It was in an exec when the debugger attached, and is.
    pub in_exec: bool,
    /// The stop it is in for its debugger.
    pub held: Option<(Stopped<Held>, Kind)>,
    /// What of that stop wait(2) has not told yet.
    pub report: Option<Report>,
    /// The debugger has been told of its entry to a system call, and not of its exit.
    pub in_call: bool,
    /// The debugger has been told that a filter of the debuggee's says to trace its call.
    pub filter_told: bool,
    /// It was in a group-stop, and may still have to stop when it is let go.
    pub group_stopped: bool,
    /// In a group-stop, and the debugger wants to be told of its end.
    pub listening: bool,
    /// A stop that the debugger asked for (`PTRACE_INTERRUPT`), or the first one of a seized child, has not come yet.
    pub stop_wanted: bool,
    /// The number of its call, where the kernel has another one: of a call that was answered, none; of one that goes on, restart_syscall(2).
    pub number: Option<i64>,
    /// Its own blocked signals, while all are, because its call is repeated.
    pub withheld: Option<u64>,
    /// Its process is a child of the debugger's: the kernel tells of its end.
    pub child: bool,
    pub sent: Option<Sent>,
}

/// What wait(2) is to tell of a stop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report {
    /// `exit_code`: signal and event.
    pub code: i32,
    /// When it came: what came first is told first.
    pub turn: u64,
}

impl Debuggee {
    pub(crate) fn new(debugger: Tid, attached: Attached, options: i32) -> Debuggee {
        Debuggee {
            debugger,
            attached,
            options,
            options_changed: options & FURTHER != 0,
            mode: Resume::Freely,
            met: false,
            in_exec: false,
            held: None,
            report: None,
            in_call: false,
            filter_told: false,
            group_stopped: false,
            listening: false,
            stop_wanted: false,
            number: None,
            withheld: None,
            child: false,
            sent: None,
        }
    }

    /// The options that the kernel is to be told of.
    pub(crate) fn further_options(&self) -> i32 {
        self.options & FURTHER
    }

    pub(crate) fn has_option(&self, option: i32) -> bool {
        self.options & option != 0
    }

    /// Whether the exec that has just succeeded is none of its debugger's business yet: it began before the debugger attached, or before the first stop, which
    /// was asked for. Who is told only of the end of an exec takes each entry for an exit from there on, as strace(1) does.
    pub(crate) fn is_met_behind_exec(&mut self) -> bool {
        let began_before = std::mem::take(&mut self.in_exec);
        !self.met && (began_before || self.stop_wanted || self.sent == Some(Sent::Attach))
    }

    /// Whether it is to stop at the entries of system calls, and at their exits.
    pub(crate) fn stops_at_calls(&self) -> bool {
        matches!(self.mode, Resume::ToSyscall | Resume::Emulation | Resume::EmulationStep)
    }
}

/// Events that only a debugger wants.
const FURTHER: i32 = libc::PTRACE_O_TRACEVFORKDONE | libc::PTRACE_O_TRACEEXIT;

/// A debuggee that is dead, of which its debugger has not heard yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dead {
    pub tid: Tid,
    pub debugger: Tid,
    /// As wait(2) tells it.
    pub status: i32,
    pub owner: u32,
    pub group: i32,
    pub turn: u64,
}

/// What a `SIGCHLD` tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    pub tid: Tid,
    pub code: i32,
    pub status: i32,
}

/// Who debugs whom.
#[derive(Debug, Default)]
pub(crate) struct Debuggers {
    /// By thread: its debuggees that are alive.
    pub debuggees: AHashMap<Tid, AHashSet<Tid>>,
    pub dead: Vec<Dead>,
    /// By thread that was stopped already: who attaches to it. That call ends when the thread is in a stop of the debugger's, so that it can be asked at
    /// once (`JOBCTL_TRAPPING`, `ptrace_attach`).
    pub attaching: AHashMap<Tid, Stopped<Entry>>,
    /// Threads that sleep in a wait.
    pub waiting: AHashSet<Tid>,
    /// By process: what the `SIGCHLD` on its way tells.
    pub told: AHashMap<Tid, Told>,
    turn: u64,
}

impl Debuggers {
    pub(crate) fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }
}

/// What is known of a thread's filter for waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Waits {
    /// It needs none.
    #[default]
    Unseen,
    /// It is to be given one.
    Wanted,
    /// It has one.
    Seen,
}

/// `arch/x86/entry/syscalls/syscall_32.tbl`
const I386_PTRACE: i64 = 26;

pub(crate) fn is_ptrace(abi: Abi, nr: i64) -> bool {
    nr == match abi {
        Abi::X86_64 => libc::SYS_ptrace,
        Abi::I386 => I386_PTRACE,
    }
}

/// The filter that stops before each ptrace(2), which no program makes that is no debugger; every process has it.
pub(crate) fn filter() -> Vec<sock_filter> {
    let number = |nr: i64| u32::try_from(nr).unwrap_or(u32::MAX);
    vec![
        load(4),
        equal(Abi::X86_64.audit_arch(), 0, 2),
        load(0),
        equal(number(libc::SYS_ptrace), 3, 4),
        equal(Abi::I386.audit_arch(), 0, 3),
        load(0),
        equal(number(I386_PTRACE), 0, 1),
        ret(libc::SECCOMP_RET_TRACE),
        ret(libc::SECCOMP_RET_ALLOW),
    ]
}

fn load(k: u32) -> sock_filter {
    sock_filter { code: 0x20, jt: 0, jf: 0, k }
}

fn equal(k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: 0x15, jt, jf, k }
}

fn ret(k: u32) -> sock_filter {
    sock_filter { code: 0x06, jt: 0, jf: 0, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a filter says to a call.
    pub(super) fn verdict(program: &[sock_filter], arch: u32, nr: u32) -> u32 {
        let (mut at, mut accumulator) = (0usize, 0);
        loop {
            let instruction = program[at];
            at += 1;
            match instruction.code {
                0x06 => return instruction.k,
                0x20 => accumulator = [nr, arch][instruction.k as usize / 4],
                _ => at += usize::from(if accumulator == instruction.k { instruction.jt } else { instruction.jf }),
            }
        }
    }

    #[test]
    fn only_ptrace_stops() {
        for (abi, ptrace) in [(Abi::X86_64, 101), (Abi::I386, 26)] {
            for nr in 0..500 {
                let expected = if nr == ptrace { libc::SECCOMP_RET_TRACE } else { libc::SECCOMP_RET_ALLOW };
                assert_eq!(verdict(&filter(), abi.audit_arch(), nr), expected, "{abi:?} {nr}");
            }
        }
        assert_eq!(verdict(&filter(), 0xc000_00b7, 101), libc::SECCOMP_RET_ALLOW);
    }
}
