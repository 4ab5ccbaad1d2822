//! Filters of the programs' own (seccomp(2)), and what else a program knows of them.
//!
//! The kernel keeps them beside the hypervisor's in one chain, and shows all of them, and the promise that the hypervisor's need, to whoever asks. So a copy of the program's own is kept:
//!
//! * whether there are any, how many, and whether the program has promised to gain no rights, is told as it would be without the hypervisor's ([`Appearance`]);
//! * `SECCOMP_MODE_STRICT`, which a thread with filters cannot have, is kept here;
//! * where a filter says `SECCOMP_RET_TRACE`, the hypervisor's may be stricter (`SECCOMP_RET_USER_NOTIF` is), and the kernel would not tell. So threads with such a filter
//!   stop at the entry of each call, where it is asked once more, and the debugger is told (`PTRACE_EVENT_SECCOMP`).
//!
//! A filter stops each call that changes or tells any of it; few programs ever make one.

use crate::{
    bpf::{self, Data},
    debugger::Debuggee,
    memory::{Address, Memory, ProcessMemory},
    proc::Status,
    ptrace::{Boundary, Entry, Gone, Stopped, Tid},
    tracer::Tracer,
    verdict::{Appearance, Hypervisor, Verdict},
    x86_64::{Abi, Registers},
};
use libc::sock_filter;
use std::sync::Arc;
use vu_api::{Errno, capability};

/// `BPF_MAXINSNS` (`include/uapi/linux/bpf_common.h`).
const MAX_INSTRUCTIONS: u16 = 4096;
/// The flags of `SECCOMP_SET_MODE_FILTER` that the kernel may know (`include/uapi/linux/seccomp.h`).
const FILTER_FLAGS: u64 = 0x3f;
const FLAG_TSYNC: u64 = 1;
const FLAG_NEW_LISTENER: u64 = 1 << 3;

/// What a thread has asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnFilters {
    /// Whether one of them may say `SECCOMP_RET_TRACE`.
    trace: bool,
    /// The programs, the oldest first.
    programs: Arc<Vec<Arc<[sock_filter]>>>,
    /// `SECCOMP_MODE_STRICT`
    strict: bool,
    /// To gain no rights by an exec (`PR_SET_NO_NEW_PRIVS`).
    promised: bool,
    outside: Outside,
}

/// The filters in force where the hypervisor was started, which its processes have, too.
#[derive(Debug, Clone, Copy, Default)]
struct Outside {
    mode: u8,
    filters: u32,
}

/// A filter that is about to be installed.
pub(crate) struct NewFilter {
    program: Arc<[sock_filter]>,
    flags: u64,
}

/// What a call asks.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// For a filter: these flags, and where its `struct sock_fprog` lies.
    Filter { flags: u64, program: Address },
    /// For `SECCOMP_MODE_STRICT`.
    Strict,
    /// Which mode there is.
    Mode,
    /// To note the promise.
    Promise,
    /// Whether it was given.
    Promised,
}

impl Asked {
    /// `None`: nothing that concerns us, or what the kernel refuses.
    fn decode(abi: Abi, nr: i64, args: [u64; 6]) -> Option<Asked> {
        let int = |index: usize| args[index] & u64::from(u32::MAX);
        let option = |option: i32| u64::from(option.unsigned_abs());
        if nr == abi.numbers().seccomp {
            return match (int(0), int(1)) {
                (0, 0) if args[2] == 0 => Some(Asked::Strict),
                (1, flags) if flags & !FILTER_FLAGS == 0 => Some(Asked::Filter { flags, program: args[2] }),
                _ => None,
            };
        }
        if nr != abi.numbers().prctl {
            return None;
        }
        let nothing_from = |first: usize| args[first..5].iter().all(|&arg| arg == 0);
        match int(0) {
            o if o == option(libc::PR_GET_SECCOMP) => Some(Asked::Mode),
            o if o == option(libc::PR_SET_SECCOMP) => match args[1] {
                1 => Some(Asked::Strict),
                2 => Some(Asked::Filter { flags: 0, program: args[2] }),
                _ => None,
            },
            o if o == option(libc::PR_SET_NO_NEW_PRIVS) && args[1] == 1 && nothing_from(2) => Some(Asked::Promise),
            o if o == option(libc::PR_GET_NO_NEW_PRIVS) && nothing_from(1) => Some(Asked::Promised),
            _ => None,
        }
    }
}

impl OwnFilters {
    /// Those of the first process: what the hypervisor itself, which makes no promise and installs no filter in itself, was started with.
    pub(crate) fn first() -> OwnFilters {
        let own = Status::read(Tid(std::process::id().cast_signed()));
        let number = |name: &str| own.as_ref().and_then(|status| status.number(name)).unwrap_or(0);
        let outside = Outside {
            mode: number("Seccomp").try_into().unwrap_or(0),
            filters: number("Seccomp_filters").try_into().unwrap_or(0),
        };
        OwnFilters { promised: number("NoNewPrivs") == 1, outside, ..OwnFilters::default() }
    }

    /// `seccomp.mode`: 0 for none, 1 for strict, 2 for filters.
    fn mode(&self) -> u8 {
        match self.strict {
            true => 1,
            false if !self.programs.is_empty() => 2,
            false => self.outside.mode,
        }
    }

    fn add(&mut self, program: Arc<[sock_filter]>) {
        self.trace |= bpf::may_trace(&program);
        Arc::make_mut(&mut self.programs).push(program);
    }

    /// What a thread looks like that has these.
    pub(crate) fn appearance(&self) -> Appearance {
        Appearance {
            seccomp_mode: self.mode(),
            filters: u32::try_from(self.programs.len()).unwrap_or(u32::MAX).saturating_add(self.outside.filters),
            no_new_privileges: self.promised,
            watched: self.strict || !self.programs.is_empty(),
            ..Appearance::default()
        }
    }

    /// Whether each call is to be looked at before it is made.
    pub(crate) fn watches_calls(&self) -> bool {
        self.strict || self.trace
    }

    /// The message for the debugger, if they say `SECCOMP_RET_TRACE` to a call.
    fn traces(&self, data: &Data) -> Option<u16> {
        if !self.trace {
            return None;
        }
        let verdict = self.say(data);
        let message = (verdict & libc::SECCOMP_RET_DATA).try_into().ok()?;
        (verdict & libc::SECCOMP_RET_ACTION_FULL == libc::SECCOMP_RET_TRACE).then_some(message)
    }

    fn say(&self, data: &Data) -> u32 {
        bpf::strictest(self.programs.iter().map(|program| &**program), data)
    }

    /// Whether a thread in strict mode may make a call: `read`, `write`, `exit` and the return from a signal's handler (`mode1_syscalls`, `kernel/seccomp.c`).
    pub(crate) fn strictly_forbids(&self, abi: Abi, nr: i64) -> bool {
        let allowed: [i64; 4] = match abi {
            Abi::X86_64 => [libc::SYS_read, libc::SYS_write, libc::SYS_exit, libc::SYS_rt_sigreturn],
            Abi::I386 => [3, 4, 1, 119],
        };
        self.strict && !allowed.contains(&nr)
    }
}

/// The filter that stops the calls of [`Asked`].
pub(crate) fn filter() -> Vec<sock_filter> {
    let load = |k| sock_filter { code: 0x20, jt: 0, jf: 0, k };
    let equal = |k, jt, jf| sock_filter { code: 0x15, jt, jf, k };
    let number = |nr: i64| u32::try_from(nr).unwrap_or(u32::MAX);
    let (wide, narrow) = (Abi::X86_64.numbers(), Abi::I386.numbers());
    vec![
        load(4),
        equal(Abi::X86_64.audit_arch(), 0, 3),
        load(0),
        equal(number(wide.seccomp), 11, 0),
        equal(number(wide.prctl), 4, 9),
        equal(Abi::I386.audit_arch(), 0, 8),
        load(0),
        equal(number(narrow.seccomp), 7, 0),
        equal(number(narrow.prctl), 0, 5),
        // The lower half of the first argument.
        load(16),
        equal(libc::PR_GET_SECCOMP.unsigned_abs(), 4, 0),
        equal(libc::PR_SET_SECCOMP.unsigned_abs(), 3, 0),
        equal(libc::PR_SET_NO_NEW_PRIVS.unsigned_abs(), 2, 0),
        equal(libc::PR_GET_NO_NEW_PRIVS.unsigned_abs(), 1, 0),
        sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
        sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_TRACE },
    ]
}

/// What a stop by a filter before a call has to do with this.
pub(crate) enum Concerned {
    /// Nothing, or all of it is done; others may be concerned.
    No,
    /// The call is decided.
    Verdict(Verdict),
    /// A filter is about to be installed.
    Installs(NewFilter),
}

impl<H: Hypervisor> Tracer<H> {
    /// At a stop by a filter.
    pub(crate) fn about_filters(&mut self, stopped: &Stopped<Entry>, regs: &Registers, abi: Abi) -> Concerned {
        let tid = stopped.tid();
        let asked = Asked::decode(abi, regs.syscall(), regs.args(abi));
        let (Some(asked), Some(thread)) = (asked, self.threads.get_mut(&tid)) else { return Concerned::No };
        let own = &mut thread.own_filters;
        let answer = |result: i64| Concerned::Verdict(Verdict::Return(result));
        match asked {
            Asked::Mode => answer(own.mode().into()),
            Asked::Promised => answer(own.promised.into()),
            Asked::Promise => {
                own.promised = true;
                self.publish(tid);
                Concerned::No
            }
            // Who has filters cannot have it, and is told so by the kernel.
            Asked::Strict if own.mode() != 0 => Concerned::No,
            Asked::Strict => {
                own.strict = true;
                self.publish(tid);
                answer(0)
            }
            Asked::Filter { flags, program } => {
                // What cannot be read, or is no filter, is refused by the kernel.
                let Some(program) = read(tid, abi, program) else { return Concerned::No };
                if !own.promised && !self.administrates(tid) {
                    return answer(Errno::EACCES.as_result());
                }
                Concerned::Installs(NewFilter { program, flags })
            }
        }
    }

    /// Whether a thread may install filters without the promise (`seccomp_prepare_filter`).
    fn administrates(&self, tid: Tid) -> bool {
        let capabilities = self.hypervisor.capabilities(tid);
        let capabilities = capabilities.or_else(|| Status::read(tid).map(|status| status.capabilities()));
        capabilities.is_some_and(|set| set & 1 << capability::SYS_ADMIN != 0)
    }

    /// At the exit of a call that installs a filter.
    pub(crate) fn filter_installed(&mut self, stopped: Stopped<Boundary>, new: NewFilter) -> Result<(), Gone> {
        let tid = stopped.tid();
        let result = stopped.registers()?.result();
        // Asked for all threads, it tells the id of one that cannot have it, unless it tells the listener.
        let number_is_failure = new.flags & (FLAG_TSYNC | FLAG_NEW_LISTENER) == FLAG_TSYNC;
        if (result == 0 || result > 0 && !number_is_failure)
            && let Some(thread) = self.threads.get_mut(&tid)
        {
            thread.own_filters.add(new.program);
            let (own, process) = (thread.own_filters.clone(), thread.process);
            let concerned: Vec<Tid> = if new.flags & FLAG_TSYNC == 0 {
                vec![tid]
            } else {
                // The promise goes with the filters (`seccomp_sync_threads`).
                let threads = self.threads.iter_mut().filter(|(_, thread)| thread.process == process);
                threads.map(|(&tid, thread)| (thread.own_filters = own.clone(), tid).1).collect()
            };
            for tid in concerned {
                self.publish(tid);
            }
        }
        self.left(stopped)
    }

    /// At the entry of a call of a thread's own: a thread in strict mode that may not make it is killed.
    pub(crate) fn kills_before(&self, stopped: &Stopped<Entry>) -> Result<bool, Gone> {
        let tid = stopped.tid();
        let Some(own) = self.threads.get(&tid).map(|thread| &thread.own_filters) else { return Ok(false) };
        if !own.watches_calls() {
            return Ok(false);
        }
        let regs = stopped.registers()?;
        let forbidden = own.strictly_forbids(stopped.abi(&regs), regs.syscall());
        if forbidden {
            // SAFETY: no memory is involved.
            unsafe { libc::kill(tid.0, libc::SIGKILL) };
        }
        Ok(forbidden)
    }

    /// Before a call of a debuggee's own, or after its debugger has let it enter it: the message for the debugger, if it is to be told once more, because of a filter of the
    /// debuggee's.
    pub(crate) fn told_of_filter<At>(&mut self, stopped: &Stopped<At>) -> Option<u16> {
        let thread = self.threads.get_mut(&stopped.tid())?;
        let debuggee = thread.debuggee.as_deref_mut()?;
        if !thread.own_filters.trace || debuggee.filter_told || !debuggee.has_option(libc::PTRACE_O_TRACESECCOMP) {
            return None;
        }
        let regs = stopped.registers().ok()?;
        let message = thread.own_filters.traces(&Data::of(&regs, stopped.abi(&regs)))?;
        debuggee.filter_told = true;
        Some(message)
    }

    /// Whether a filter of a thread's own says that a call is to be traced, and there is no debugger that wants to hear of it: it fails with `ENOSYS` (`__seccomp_filter`).
    fn misses_debugger(&self, tid: Tid, data: &Data) -> bool {
        let Some(thread) = self.threads.get(&tid).filter(|thread| thread.own_filters.trace) else { return false };
        let hears = |debuggee: &Debuggee| debuggee.has_option(libc::PTRACE_O_TRACESECCOMP);
        !thread.debuggee.as_deref().is_some_and(hears) && thread.own_filters.traces(data).is_some()
    }

    /// At a stop by a filter: whether the call is one of those.
    pub(crate) fn fails_untraced(&self, stopped: &Stopped<Entry>, regs: &Registers, abi: Abi) -> bool {
        self.misses_debugger(stopped.tid(), &Data::of(regs, abi))
    }

    /// At the entry of a call: if it is one of those, it is not made.
    pub(crate) fn skip_untraced(&self, stopped: &Stopped<Entry>) -> Result<(), Gone> {
        let tid = stopped.tid();
        if !self.threads.get(&tid).is_some_and(|thread| thread.own_filters.trace) {
            return Ok(());
        }
        let mut regs = stopped.registers()?;
        let data = Data::of(&regs, stopped.abi(&regs));
        // The filters are asked about what is left of it, and must not take offence at that.
        let harmless =
            |own: &OwnFilters| own.say(&data.skipped()).cast_signed() >= libc::SECCOMP_RET_TRACE.cast_signed();
        if self.misses_debugger(tid, &data)
            && self.threads.get(&tid).is_some_and(|thread| harmless(&thread.own_filters))
        {
            regs.set_syscall(-1);
            regs.set_result(Errno::ENOSYS.as_result());
            stopped.set_registers(&regs)?;
        }
        Ok(())
    }

    /// Tells the hypervisor what a thread looks like, after any of it has changed.
    pub(crate) fn publish(&self, tid: Tid) {
        let Some(thread) = self.threads.get(&tid) else { return };
        let debugger = thread.debuggee.as_deref().map(|debuggee| debuggee.debugger);
        let own = thread.own_filters.appearance();
        let watched = own.watched || debugger.is_some();
        self.hypervisor.appears(tid, Appearance { debugger, stopped: thread.listening, watched, ..own });
    }
}

/// The filter that a `struct sock_fprog` describes.
fn read(tid: Tid, abi: Abi, address: Address) -> Option<Arc<[sock_filter]>> {
    const INSTRUCTION: usize = 8;
    let memory = ProcessMemory(tid);
    let mut length = [0; 2];
    memory.read(address, &mut length).ok()?;
    let length = u16::from_le_bytes(length);
    if !(1..=MAX_INSTRUCTIONS).contains(&length) {
        return None;
    }
    let at = address.checked_add(abi.pointer_size() as u64)?;
    let at = memory.read_pointer(at, abi.pointer_size()).ok()?;
    let mut bytes = vec![0; INSTRUCTION * usize::from(length)];
    memory.read(at, &mut bytes).ok()?;
    let instruction = |bytes: &[u8]| match *bytes {
        [a, b, jt, jf, k0, k1, k2, k3] => {
            sock_filter { code: u16::from_le_bytes([a, b]), jt, jf, k: u32::from_le_bytes([k0, k1, k2, k3]) }
        }
        _ => sock_filter { code: 0, jt: 0, jf: 0, k: 0 },
    };
    Some(bytes.chunks_exact(INSTRUCTION).map(instruction).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked() {
        for abi in [Abi::X86_64, Abi::I386] {
            let (seccomp, prctl) = (abi.numbers().seccomp, abi.numbers().prctl);
            let decode = |nr, args: [u64; 4]| Asked::decode(abi, nr, [args[0], args[1], args[2], args[3], 0, 0]);
            assert_eq!(decode(seccomp, [1, 9, 4096, 0]), Some(Asked::Filter { flags: 9, program: 4096 }));
            assert_eq!(decode(seccomp, [1, 64, 4096, 0]), None, "EINVAL");
            assert_eq!(decode(seccomp, [0, 0, 0, 0]), Some(Asked::Strict));
            assert_eq!(decode(seccomp, [0, 1, 0, 0]), None, "EINVAL");
            assert_eq!(decode(prctl, [22, 1, 7, 7]), Some(Asked::Strict));
            assert_eq!(decode(prctl, [22, 2, 4096, 7]), Some(Asked::Filter { flags: 0, program: 4096 }));
            assert_eq!(decode(prctl, [22, 3, 0, 0]), None, "EINVAL");
            assert_eq!(decode(prctl, [21, 7, 7, 7]), Some(Asked::Mode));
            assert_eq!(decode(prctl, [38, 1, 0, 0]), Some(Asked::Promise));
            assert_eq!(decode(prctl, [38, 1, 0, 1]), None, "EINVAL");
            assert_eq!(decode(prctl, [38, 0, 0, 0]), None, "EINVAL");
            assert_eq!(decode(prctl, [39, 0, 0, 0]), Some(Asked::Promised));
            assert_eq!(decode(prctl, [15, 1, 0, 0]), None);
        }
    }

    #[test]
    fn what_has_been_asked_for_is_told() {
        let mut own = OwnFilters { outside: Outside { mode: 0, filters: 3 }, ..OwnFilters::default() };
        assert_eq!((own.mode(), own.appearance().filters, own.watches_calls()), (0, 3, false));
        let before = own.clone();
        own.add(Arc::new([sock_filter { code: 6, jt: 0, jf: 0, k: libc::SECCOMP_RET_TRACE }]));
        assert_eq!((own.mode(), own.appearance().filters, own.watches_calls()), (2, 4, true));
        assert_eq!((before.mode(), before.appearance().filters), (0, 3), "of who was born before");
        let strict = OwnFilters { strict: true, ..before };
        assert_eq!((strict.mode(), strict.watches_calls()), (1, true));
        assert!(strict.strictly_forbids(Abi::X86_64, libc::SYS_getpid) && !strict.strictly_forbids(Abi::X86_64, 0));
        assert!(strict.strictly_forbids(Abi::I386, 0) && !strict.strictly_forbids(Abi::I386, 3));
    }
}
