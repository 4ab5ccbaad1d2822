//! wait4(2) and waitid(2) of debuggers.
//!
//! They are intercepted in processes that have debuggees, by a filter of their own. If a debuggee has something to tell, the call is answered. Otherwise it
//! is made, so that the kernel tells of real children, and when a debuggee comes to have something to tell, the call is interrupted and answered. Who has
//! debuggees but no children would hear `ECHILD`; that one sleeps in futex(2), which signals interrupt as they interrupt waits.

use super::{Waits, equal, load, ret};
use crate::{
    filters::Filter,
    inject::RESTARTS,
    memory::{Memory, ProcessMemory},
    proc::{Status, Usage},
    ptrace::{Boundary, Entry, Gone, Stopped, Tid, interrupt},
    tracer::{ERESTARTSYS, Phase, Tracer},
    verdict::{Hypervisor, Verdict},
    x86_64::{Abi, Registers},
};
use vu_api::Errno;

/// Which children a wait is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whom {
    All,
    One(Tid),
    Group(i32),
}

/// Where the answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Wait4,
    Waitid,
}

/// A wait.
#[derive(Debug, Clone, Copy)]
struct Request {
    whom: Whom,
    options: i32,
    form: Form,
    /// The address of the status or of the siginfo, or 0.
    told: u64,
    /// The address of the resources used, or 0.
    usage: u64,
}

/// A wait on its way.
pub(crate) struct Wait {
    request: Request,
    /// The tracee's own registers at its entry.
    own: Registers,
    /// It sleeps in futex(2), because there is no child.
    childless: bool,
}

/// Something that a wait can tell.
struct News {
    tid: Tid,
    /// `si_code` and `si_status`
    fate: (i32, i32),
    /// As wait4 tells it.
    status: i32,
    turn: u64,
    /// The index of a dead one.
    dead: Option<usize>,
    owner: Option<u32>,
}

const CLD_TRAPPED: i32 = 4;
const COMMON: i32 =
    libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED | libc::__WNOTHREAD | libc::__WCLONE | libc::__WALL;

/// The filter that stops before each wait of 64-bit code.
pub(crate) fn filter() -> Filter {
    let number = |nr: i64| u32::try_from(nr).unwrap_or(u32::MAX);
    let program = vec![
        load(4),
        equal(Abi::X86_64.audit_arch(), 0, 4),
        load(0),
        equal(number(libc::SYS_wait4), 1, 0),
        equal(number(libc::SYS_waitid), 0, 1),
        ret(libc::SECCOMP_RET_TRACE),
        ret(libc::SECCOMP_RET_ALLOW),
    ];
    Filter { program: program.into(), notifies: false }
}

pub(crate) fn is_wait(abi: Abi, nr: i64) -> bool {
    abi == Abi::X86_64 && matches!(nr, libc::SYS_wait4 | libc::SYS_waitid)
}

/// An argument of type `int`.
fn int(value: u64) -> i32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

impl Request {
    /// `None` for what the kernel refuses, or what is for real children only.
    fn decode(waiter: Tid, nr: i64, args: [u64; 6]) -> Option<Request> {
        // SAFETY: no memory is involved.
        let own_group = || Some(Whom::Group(unsafe { libc::getpgid(waiter.0) }));
        if nr == libc::SYS_wait4 {
            let options = int(args[2]);
            let whom = match int(args[0]) {
                -1 => Some(Whom::All),
                0 => own_group(),
                id @ 1.. => Some(Whom::One(Tid(id))),
                id => id.checked_neg().map(Whom::Group),
            }?;
            let valid = options & !COMMON == 0;
            let request =
                Request { whom, options: options | libc::WEXITED, form: Form::Wait4, told: args[1], usage: args[3] };
            return valid.then_some(request);
        }
        let options = int(args[3]);
        let id = int(args[1]);
        let whom = match u32::try_from(int(args[0])).ok()? {
            libc::P_ALL => Some(Whom::All),
            libc::P_PID if id > 0 => Some(Whom::One(Tid(id))),
            libc::P_PGID if id == 0 => own_group(),
            libc::P_PGID if id > 0 => Some(Whom::Group(id)),
            libc::P_PIDFD => crate::proc::process_of_pidfd(waiter, id).map(Whom::One),
            _ => None,
        }?;
        let which = libc::WEXITED | libc::WSTOPPED | libc::WCONTINUED;
        let valid = options & !(COMMON | which | libc::WNOWAIT) == 0 && options & which != 0;
        valid.then_some(Request { whom, options, form: Form::Waitid, told: args[2], usage: args[4] })
    }

    fn is_for(&self, tid: Tid, group: impl FnOnce() -> i32) -> bool {
        match self.whom {
            Whom::All => true,
            Whom::One(one) => one == tid,
            Whom::Group(wanted) => wanted == group(),
        }
    }

    fn has(&self, option: i32) -> bool {
        self.options & option != 0
    }
}

fn group_of(tid: Tid) -> i32 {
    // SAFETY: no memory is involved.
    unsafe { libc::getpgid(tid.0) }
}

impl<H: Hypervisor> Tracer<H> {
    /// At the entry of a wait.
    pub(crate) fn waits(&mut self, stopped: Stopped<Entry>, regs: Registers) -> Result<(), Gone> {
        let tid = stopped.tid();
        let args = regs.args(Abi::X86_64);
        let childless = self.threads.get_mut(&tid).is_some_and(|thread| std::mem::take(&mut thread.childless));
        // A child of a debugger has the filter, too. And what is to sleep may come to concern a debuggee while it does.
        let debugs = self.threads.get(&tid).is_some_and(|thread| thread.waits == Waits::Seen);
        let request = Request::decode(tid, regs.syscall(), args).filter(|_| debugs);
        let Some(request) = request.filter(|request| !request.has(libc::WNOHANG) || self.concerns(tid, request)) else {
            self.resume(stopped);
            return Ok(());
        };
        if let Some(result) = self.answer_wait(tid, &request) {
            return self.conclude(stopped, Abi::X86_64, regs, Verdict::Return(result));
        }
        if childless {
            // Any word that does not change will do: that of the instruction which makes the call.
            let mut word = [0; 4];
            let address = regs.instruction() & !3;
            if ProcessMemory(tid).read(address, &mut word).is_err() {
                return self.conclude(stopped, Abi::X86_64, regs, Verdict::Return(Errno::ECHILD.as_result()));
            }
            let wait = (libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG).unsigned_abs();
            let mut sleep = regs;
            sleep.set_syscall(libc::SYS_futex);
            sleep.set_args(Abi::X86_64, [address, wait.into(), u32::from_le_bytes(word).into(), 0, 0, 0]);
            stopped.set_registers(&sleep)?;
        }
        self.debuggers.waiting.insert(tid);
        self.set_phase(tid, Phase::Waiting(Box::new(Wait { request, own: regs, childless })));
        self.resume(stopped);
        Ok(())
    }

    /// At the exit of a wait that had begun before the waits of its process were seen, and was interrupted: what there is to tell meanwhile, as the kernel would have
    /// told, instead of a second entry behind the `SIGCHLD`.
    pub(super) fn answer_early_wait(&mut self, tid: Tid, abi: Abi, regs: &Registers) -> Option<i64> {
        if !is_wait(abi, regs.syscall()) {
            return None;
        }
        let request = Request::decode(tid, regs.syscall(), regs.args(abi))?;
        self.answer_wait(tid, &request)
    }

    /// At the exit of a wait that was made.
    pub(crate) fn waited(&mut self, stopped: Stopped<Boundary>, wait: Wait) -> Result<(), Gone> {
        let tid = stopped.tid();
        self.debuggers.waiting.remove(&tid);
        let Wait { request, mut own, childless } = wait;
        let result = stopped.registers()?.result();
        let none = result == Errno::ECHILD.as_result() && !childless;
        let idle = none || childless || RESTARTS.contains(&result);
        if idle && let Some(answer) = self.answer_wait(tid, &request) {
            own.set_result(answer);
        } else if none && self.concerns(tid, &request) {
            if request.has(libc::WNOHANG) {
                own.set_result(self.nothing(tid, &request));
            } else {
                return self.sleep_childless(stopped, own);
            }
        } else if !idle && self.is_double(tid, &request, result) {
            own.reissue();
            stopped.set_registers(&own)?;
            return self.again(stopped);
        } else if RESTARTS.contains(&result) {
            // The kernel restarts the call, or not, as it does a wait.
            own.set_result(-ERESTARTSYS);
            stopped.set_registers(&own)?;
            // Interrupted for news that another thread has got.
            let signal = Status::read(tid).is_none_or(|status| status.signal_pending());
            return if signal { self.left(stopped) } else { self.again(stopped) };
        } else if childless {
            own.reissue();
            stopped.set_registers(&own)?;
            return self.again(stopped);
        } else {
            own.set_result(result);
        }
        stopped.set_registers(&own)?;
        self.left(stopped)
    }

    /// At the exit of a wait that found no child: it is made once more, to sleep.
    ///
    /// A signal that came with the wait, or comes now, is one that interrupts it, and its handler must not run behind it: so it is the kernel that makes the call
    /// again, which it does if it finds no signal to deliver (`arch_do_signal_or_restart`). It looks for one since a stop is asked for.
    fn sleep_childless(&mut self, stopped: Stopped<Boundary>, mut own: Registers) -> Result<(), Gone> {
        let tid = stopped.tid();
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.childless = true;
        }
        own.set_result(-ERESTARTSYS);
        stopped.set_registers(&own)?;
        interrupt(tid)?;
        self.again(stopped)
    }

    /// A thread made a child: those of its process that wait without having any wait for it, too.
    pub(crate) fn has_child(&mut self, parent: Tid) {
        if self.debuggers.debuggees.is_empty() {
            return;
        }
        let Some(process) = self.process_of(parent) else { return };
        for thread in self.threads.values_mut().filter(|thread| thread.process == process) {
            thread.childless = false;
        }
        self.wake(process);
    }

    /// The call is made once more, which a debugger of the debugger does not see.
    fn again(&mut self, stopped: Stopped<Boundary>) -> Result<(), Gone> {
        self.go_on(stopped)
    }

    /// Whether the kernel told of a group-stop, or its end, of a debuggee that is a child: a debugger hears of its own stops only (`wait_consider_task`).
    fn is_double(&self, waiter: Tid, request: &Request, result: i64) -> bool {
        let memory = ProcessMemory(waiter);
        let number = |at: u64| {
            let mut bytes = [0; 4];
            memory.read(request.told.wrapping_add(at), &mut bytes).map(|()| i32::from_le_bytes(bytes)).unwrap_or(0)
        };
        if result < 0 || request.told == 0 {
            return false;
        }
        let tid = match request.form {
            Form::Wait4 => {
                let status = number(0);
                let stop = libc::WIFSTOPPED(status) || libc::WIFCONTINUED(status);
                stop.then(|| Tid(i32::try_from(result).unwrap_or(0)))
            }
            // CLD_STOPPED, CLD_CONTINUED
            Form::Waitid => matches!(number(8), 5 | 6).then(|| Tid(number(16))),
        };
        tid.is_some_and(|tid| self.debuggees_of(waiter, request).any(|debuggee| debuggee == tid))
    }

    /// The debuggees of a thread, and, unless it says otherwise, of the other threads of its process.
    fn debuggees_of(&self, waiter: Tid, request: &Request) -> impl Iterator<Item = Tid> {
        let (alone, process) = (request.has(libc::__WNOTHREAD), self.process_of(waiter));
        let debuggers = self.debuggers.debuggees.iter();
        let debuggers = debuggers.filter(move |&(&debugger, _)| {
            debugger == waiter || !alone && process.is_some() && self.process_of(debugger) == process
        });
        debuggers.flat_map(|(_, debuggees)| debuggees.iter().copied())
    }

    fn process_of(&self, tid: Tid) -> Option<Tid> {
        self.threads.get(&tid).map(|thread| thread.process)
    }

    fn dead_of(&self, waiter: Tid, request: &Request) -> impl Iterator<Item = (usize, &super::Dead)> {
        let (alone, process) = (request.has(libc::__WNOTHREAD), self.process_of(waiter));
        self.debuggers.dead.iter().enumerate().filter(move |(_, dead)| {
            dead.debugger == waiter || !alone && process.is_some() && self.process_of(dead.debugger) == process
        })
    }

    /// Whether a wait is for debuggees, too.
    fn concerns(&self, waiter: Tid, request: &Request) -> bool {
        self.debuggees_of(waiter, request).any(|tid| request.is_for(tid, || group_of(tid)))
            || self.dead_of(waiter, request).any(|(_, dead)| request.is_for(dead.tid, || dead.group))
    }

    /// What there is to tell, the oldest first.
    fn news(&self, waiter: Tid, request: &Request) -> Option<News> {
        let stops = self.debuggees_of(waiter, request).filter_map(|tid| {
            let report = self.threads.get(&tid)?.debuggee.as_deref()?.report?;
            request.is_for(tid, || group_of(tid)).then_some(News {
                tid,
                fate: (CLD_TRAPPED, report.code),
                status: report.code << 8 | 0x7f,
                turn: report.turn,
                dead: None,
                owner: None,
            })
        });
        let dead = self.dead_of(waiter, request).filter_map(|(index, dead)| {
            let wanted = request.has(libc::WEXITED) && request.is_for(dead.tid, || dead.group);
            wanted.then_some(News {
                tid: dead.tid,
                fate: super::attach::fate(dead.status),
                status: dead.status,
                turn: dead.turn,
                dead: Some(index),
                owner: Some(dead.owner),
            })
        });
        stops.chain(dead).min_by_key(|news| news.turn)
    }

    /// The result of a wait, if a debuggee has something to tell.
    fn answer_wait(&mut self, waiter: Tid, request: &Request) -> Option<i64> {
        let news = self.news(waiter, request)?;
        if !request.has(libc::WNOWAIT) {
            match news.dead {
                Some(index) => {
                    self.debuggers.dead.remove(index);
                }
                None => {
                    if let Some(debuggee) = self.debuggee(news.tid) {
                        debuggee.report = None;
                    }
                }
            }
        }
        let memory = ProcessMemory(waiter);
        let written = write_usage(memory, request.usage, news.tid).and_then(|()| match request.form {
            Form::Wait4 if request.told == 0 => Ok(()),
            Form::Wait4 => memory.write(request.told, &news.status.to_le_bytes()),
            Form::Waitid => {
                let owner = news.owner.unwrap_or_else(|| super::attach::owner(news.tid));
                write_siginfo(memory, request.told, libc::SIGCHLD, &news, owner)
            }
        });
        Some(match (written, request.form) {
            (Err(errno), _) => errno.as_result(),
            (Ok(()), Form::Wait4) => news.tid.0.into(),
            (Ok(()), Form::Waitid) => 0,
        })
    }

    /// The result of a wait that does not sleep and has nothing to tell.
    fn nothing(&self, waiter: Tid, request: &Request) -> i64 {
        let none = News { tid: Tid(0), fate: (0, 0), status: 0, turn: 0, dead: None, owner: None };
        match request.form {
            Form::Wait4 => 0,
            Form::Waitid => {
                let written = write_siginfo(ProcessMemory(waiter), request.told, 0, &none, 0);
                written.map_or_else(Errno::as_result, |()| 0)
            }
        }
    }
}

/// `kernel_waitid`'s caller writes these fields only.
fn write_siginfo(memory: ProcessMemory, at: u64, signal: i32, news: &News, owner: u32) -> Result<(), Errno> {
    if at == 0 {
        return Ok(());
    }
    let head = [signal, 0, news.fate.0];
    let rest = [news.tid.0, owner.cast_signed(), news.fate.1];
    let bytes = |words: [i32; 3]| words.map(i32::to_le_bytes).concat();
    memory.write(at, &bytes(head))?;
    memory.write(at.wrapping_add(16), &bytes(rest))
}

fn write_usage(memory: ProcessMemory, at: u64, tid: Tid) -> Result<(), Errno> {
    if at == 0 {
        return Ok(());
    }
    memory.write(at, &Usage::read(tid).unwrap_or_default().rusage())
}

#[cfg(test)]
mod tests {
    use super::{super::tests::verdict, *};

    #[test]
    fn only_waits_stop() {
        for nr in 0..500 {
            let expected = if matches!(nr, 61 | 247) { libc::SECCOMP_RET_TRACE } else { libc::SECCOMP_RET_ALLOW };
            assert_eq!(verdict(&filter().program, Abi::X86_64.audit_arch(), nr), expected, "{nr}");
            assert_eq!(verdict(&filter().program, Abi::I386.audit_arch(), nr), libc::SECCOMP_RET_ALLOW, "{nr}");
        }
    }

    #[test]
    fn waits_are_understood() {
        let own = Tid(std::process::id().cast_signed());
        let wait4 = |pid: i32, options: i32| {
            let args = [i64::from(pid).cast_unsigned(), 8, u64::from(options.cast_unsigned()), 16, 0, 0];
            Request::decode(own, libc::SYS_wait4, args)
        };
        assert_eq!(wait4(-1, libc::__WALL).unwrap().whom, Whom::All);
        assert_eq!(wait4(7, 0).unwrap().whom, Whom::One(Tid(7)));
        assert_eq!(wait4(-7, libc::WNOHANG).unwrap().whom, Whom::Group(7));
        assert_eq!(wait4(0, 0).unwrap().whom, Whom::Group(group_of(own)));
        assert!(wait4(i32::MIN, 0).is_none(), "ESRCH");
        assert!(wait4(-1, libc::WNOWAIT).is_none(), "EINVAL");
        let waitid = |kind: u64, id: u64, options: i32| {
            Request::decode(own, libc::SYS_waitid, [kind, id, 8, u64::from(options.cast_unsigned()), 0, 0])
        };
        assert_eq!(waitid(0, 0, libc::WEXITED).unwrap().whom, Whom::All);
        assert!(!waitid(0, 0, libc::WSTOPPED).unwrap().has(libc::WEXITED));
        assert!(waitid(0, 0, libc::WNOHANG).is_none(), "EINVAL: for what?");
        assert!(waitid(1, 0, libc::WEXITED).is_none(), "EINVAL: no process");
        assert!(waitid(9, 0, libc::WEXITED).is_none(), "EINVAL");
    }
}
