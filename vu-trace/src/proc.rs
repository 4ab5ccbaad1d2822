//! What `/proc` tells of a tracee (proc(5)). All of it is looked at in rare cases only: a read costs as much as a stop.

use crate::ptrace::Tid;
use std::fs;

/// The contents of `/proc/TID/status`.
pub(crate) struct Status(String);

impl Status {
    pub(crate) fn read(tid: Tid) -> Option<Status> {
        fs::read_to_string(format!("/proc/{tid}/status")).ok().map(Status)
    }

    /// The value of a line `Name: VALUE`.
    fn field(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    pub(crate) fn number(&self, name: &str) -> Option<i32> {
        self.field(name)?.parse().ok()
    }

    fn mask(&self, name: &str) -> u64 {
        self.field(name).and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0)
    }

    /// The process it belongs to.
    pub(crate) fn process(&self) -> Option<Tid> {
        self.number("Tgid").map(Tid)
    }

    /// The parent of its process.
    pub(crate) fn parent(&self) -> Option<Tid> {
        self.number("PPid").map(Tid)
    }

    /// Whether a signal is there that is not blocked.
    pub(crate) fn signal_pending(&self) -> bool {
        (self.mask("SigPnd") | self.mask("ShdPnd")) & !self.mask("SigBlk") != 0
    }

    /// Whether a signal is there that ends it, whatever it does (`sig_fatal`, `include/linux/signal.h`).
    pub(crate) fn is_to_end(&self) -> bool {
        const HARMLESS: [i32; 8] = [
            libc::SIGCONT,
            libc::SIGCHLD,
            libc::SIGURG,
            libc::SIGWINCH,
            libc::SIGSTOP,
            libc::SIGTSTP,
            libc::SIGTTIN,
            libc::SIGTTOU,
        ];
        let harmless = HARMLESS.into_iter().map(signal_bit).fold(0, |all, bit| all | bit);
        let survived = self.mask("SigBlk") | self.mask("SigIgn") | self.mask("SigCgt") | harmless;
        (self.mask("SigPnd") | self.mask("ShdPnd")) & !survived != 0
    }

    /// Whether it has a handler for a signal.
    pub(crate) fn catches(&self, signal: i32) -> bool {
        self.mask("SigCgt") & signal_bit(signal) != 0
    }

    /// Whether a signal that is ignored by default would be noticed: by a handler, or by one who blocks it and waits for it.
    pub(crate) fn notices(&self, signal: i32) -> bool {
        let noticed = self.mask("SigCgt") | self.mask("SigBlk");
        noticed & !self.mask("SigIgn") & signal_bit(signal) != 0
    }

    /// Whether it is stopped, by a signal or by ptrace.
    pub(crate) fn is_stopped(&self) -> bool {
        self.field("State").is_some_and(|state| state.starts_with(['t', 'T']))
    }

    /// Whether it lives in a pid namespace below the hypervisor's, where threads have other ids.
    pub(crate) fn in_inner_namespace(&self) -> bool {
        self.field("NSpid").is_some_and(|ids| ids.split_ascii_whitespace().count() > 1)
    }

    /// Real, effective and saved user.
    pub(crate) fn users(&self) -> [u32; 3] {
        self.ids("Uid")
    }

    /// Real, effective and saved group.
    pub(crate) fn groups(&self) -> [u32; 3] {
        self.ids("Gid")
    }

    fn ids(&self, name: &str) -> [u32; 3] {
        let mut words = self.field(name).unwrap_or("").split_ascii_whitespace();
        [(); 3].map(|()| words.next().and_then(|word| word.parse().ok()).unwrap_or(u32::MAX))
    }

    /// The capabilities in force.
    pub(crate) fn capabilities(&self) -> u64 {
        self.mask("CapEff")
    }

    /// Those it may put in force.
    pub(crate) fn permitted_capabilities(&self) -> u64 {
        self.mask("CapPrm")
    }

    /// Whether a signal, once delivered, has no effect: ignored, or by default without one.
    pub(crate) fn ignores(&self, signal: i32) -> bool {
        let harmless = matches!(signal, libc::SIGCHLD | libc::SIGURG | libc::SIGWINCH);
        self.mask("SigIgn") & signal_bit(signal) != 0 || harmless && !self.catches(signal)
    }
}

fn signal_bit(signal: i32) -> u64 {
    u32::try_from(signal - 1).ok().and_then(|shift| 1u64.checked_shl(shift)).unwrap_or(0)
}

/// Which of the addresses of [`memory_map`] is that of the arguments, and where the stack began.
pub(crate) const ARGUMENTS: usize = 7;
pub(crate) const STACK: usize = 6;

/// Where the parts of a program lie that has not run yet, in the order of `struct prctl_mm_map` (`include/uapi/linux/prctl.h`).
pub(crate) fn memory_map(tid: Tid) -> Option<[u64; 11]> {
    parse_memory_map(&fs::read_to_string(format!("/proc/{tid}/stat")).ok()?)
}

fn parse_memory_map(stat: &str) -> Option<[u64; 11]> {
    // The second field may contain anything; what follows it is counted from 3. The heap, whose end is not told, is empty yet.
    const FIELDS: [usize; 11] = [26, 27, 45, 46, 47, 47, 28, 48, 49, 50, 51];
    let rest: Vec<&str> = stat.rsplit_once(") ")?.1.split_ascii_whitespace().collect();
    let mut map = [0; 11];
    for (address, field) in map.iter_mut().zip(FIELDS) {
        *address = rest.get(field - 3)?.parse().ok()?;
    }
    Some(map)
}

/// The system call in which a thread sleeps: its number and arguments. `None` if it does not sleep in one.
pub(crate) fn sleeps_in(tid: Tid) -> Option<(i64, [u64; 6])> {
    let text = fs::read_to_string(format!("/proc/{tid}/syscall")).ok()?;
    let mut words = text.split_ascii_whitespace();
    let nr = words.next()?.parse().ok()?;
    let mut args = [0; 6];
    for arg in &mut args {
        *arg = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    }
    Some((nr, args))
}

/// When the scheduler last took the processor from a thread, in milliseconds of its own clock; needs a kernel with `CONFIG_SCHED_DEBUG`.
pub(crate) fn last_ran(tid: Tid) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{tid}/sched")).ok()?;
    let line = text.lines().find(|line| line.starts_with("se.exec_start"))?;
    line.split(':').nth(1)?.trim().parse().ok()
}

/// The processor on which a thread last ran.
pub(crate) fn processor(tid: Tid) -> Option<usize> {
    let stat = fs::read_to_string(format!("/proc/{tid}/stat")).ok()?;
    // The 39th field; the second may contain anything, so it is counted from the third.
    stat.rsplit_once(") ")?.1.split(' ').nth(36)?.parse().ok()
}

/// What a process and the children it has waited for have used, as far as `/proc/PID/stat` tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    minor_faults: i64,
    major_faults: i64,
    /// In ticks.
    user: i64,
    system: i64,
}

/// The ticks of a second in `/proc` (`USER_HZ`).
const TICKS: i64 = 100;

impl Usage {
    pub(crate) fn read(tid: Tid) -> Option<Usage> {
        Usage::parse(&fs::read_to_string(format!("/proc/{tid}/stat")).ok()?)
    }

    fn parse(stat: &str) -> Option<Usage> {
        // The second field may contain anything; what follows it is counted from 3.
        let rest = stat.rsplit_once(") ")?.1;
        let number = |field: usize| rest.split(' ').nth(field - 3).and_then(|word| word.parse::<i64>().ok());
        let with_children = |own: usize, step: usize| Some(number(own)?.saturating_add(number(own + step)?));
        Some(Usage {
            minor_faults: with_children(10, 1)?,
            major_faults: with_children(12, 1)?,
            user: with_children(14, 2)?,
            system: with_children(15, 2)?,
        })
    }

    /// A `struct rusage` of 64-bit programs; what is not known is 0.
    pub(crate) fn rusage(self) -> Vec<u8> {
        let mut words = [0i64; 18];
        (words[0], words[1]) = (self.user / TICKS, self.user % TICKS * (1_000_000 / TICKS));
        (words[2], words[3]) = (self.system / TICKS, self.system % TICKS * (1_000_000 / TICKS));
        (words[8], words[9]) = (self.minor_faults, self.major_faults);
        words.map(i64::to_ne_bytes).concat()
    }
}

/// The process behind a pidfd of another process, if it is one.
pub(crate) fn process_of_pidfd(owner: Tid, fd: i32) -> Option<Tid> {
    let text = fs::read_to_string(format!("/proc/{owner}/fdinfo/{fd}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    line.trim().parse().ok().filter(|&pid| pid > 0).map(Tid)
}

/// Where machine instructions of a thread's process lie: its vDSO first, then its other executable memory.
pub(crate) fn executable_memory(tid: Tid) -> Vec<(u64, usize)> {
    let maps = fs::read_to_string(format!("/proc/{tid}/maps")).unwrap_or_default();
    let area = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let start = u64::from_str_radix(start, 16).ok()?;
        let end = u64::from_str_radix(end, 16).ok()?;
        words.next()?.contains('x').then(|| Some((start, usize::try_from(end.checked_sub(start)?).ok()?)))?
    };
    let vdso = maps.lines().filter(|line| line.ends_with("[vdso]")).filter_map(area);
    let others = maps.lines().filter(|line| !line.ends_with("[vdso]") && !line.ends_with("[vsyscall]"));
    vdso.chain(others.filter_map(area)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_fields() {
        let status = Status("Name:\tx\nTgid:\t12\nSigPnd:\t0000000000000100\nSigBlk:\t00000000000000ff\n".into());
        assert_eq!(status.process(), Some(Tid(12)));
        assert_eq!(status.parent(), None);
        assert!(!status.is_stopped() && Status("State:\tt (tracing stop)\n".into()).is_stopped());
        assert!(status.signal_pending() && status.is_to_end());
        let pending = |signal: i32, rest: &str| Status(format!("ShdPnd:\t{:016x}\n{rest}", signal_bit(signal)));
        assert!(pending(libc::SIGINT, "SigBlk:\t0\n").is_to_end());
        for survived in ["SigBlk:\t2\n", "SigIgn:\t2\n", "SigCgt:\t2\n"] {
            assert!(!pending(libc::SIGINT, survived).is_to_end());
        }
        assert!(!pending(libc::SIGTSTP, "").is_to_end() && !pending(libc::SIGCHLD, "").is_to_end());
        let status = Status("SigIgn:\t0000000000000001\nSigCgt:\t0000000000010000\n".into());
        assert!(status.ignores(libc::SIGHUP) && !status.ignores(libc::SIGINT) && status.ignores(libc::SIGWINCH));
        assert!(status.catches(libc::SIGCHLD) && !status.ignores(libc::SIGCHLD));
    }

    #[test]
    fn identities_and_usage() {
        let status = Status("Uid:\t1000\t1001\t1002\t1003\nCapEff:\t0000000000080000\n".into());
        assert_eq!(status.users(), [1000, 1001, 1002]);
        assert_eq!(status.groups(), [u32::MAX; 3]);
        assert_eq!(status.capabilities(), 1 << 19);
        assert!(!status.in_inner_namespace() && !Status("NSpid:\t712\n".into()).in_inner_namespace());
        assert!(Status("NSpid:\t712\t5\n".into()).in_inner_namespace());
        let status = Status("SigIgn:\t0000000000010000\nSigCgt:\t0000000000010000\nSigBlk:\t0000000000000001\n".into());
        assert!(status.notices(libc::SIGHUP) && !status.notices(libc::SIGCHLD));
        let usage = Usage::parse("7 (a) b) t 1 2 3 4 5 6 100 10 3 4 250 50 100 7 20 0 1").unwrap();
        assert_eq!(usage, Usage { minor_faults: 110, major_faults: 7, user: 350, system: 57 });
        assert_eq!(usage.rusage().len(), size_of::<libc::rusage>());
        assert_eq!(Usage::parse("7 (a) t 1"), None);
    }

    #[test]
    fn own_executable_memory() {
        let own = Tid(std::process::id().cast_signed());
        let here = own_executable_memory_contains as *const () as u64;
        assert!(own_executable_memory_contains(own, here));
    }

    fn own_executable_memory_contains(tid: Tid, address: u64) -> bool {
        executable_memory(tid).iter().any(|&(start, length)| (start..start + length as u64).contains(&address))
    }

    #[test]
    fn addresses_of_a_program() {
        let own = Tid(std::process::id().cast_signed());
        let map = memory_map(own).unwrap();
        let mut first = [0; 4];
        crate::memory::Memory::read(&crate::memory::ProcessMemory(own), map[ARGUMENTS], &mut first).unwrap();
        assert!(std::env::args().next().unwrap().as_bytes().starts_with(&first));
        assert_eq!(parse_memory_map("1 (a) b) S 1 2"), None);
    }
}
