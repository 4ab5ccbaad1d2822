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

    fn number(&self, name: &str) -> Option<i32> {
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

    /// Whether it has a handler for a signal.
    pub(crate) fn catches(&self, signal: i32) -> bool {
        self.mask("SigCgt") & signal_bit(signal) != 0
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
        assert!(status.signal_pending());
        let status = Status("SigIgn:\t0000000000000001\nSigCgt:\t0000000000010000\n".into());
        assert!(status.ignores(libc::SIGHUP) && !status.ignores(libc::SIGINT) && status.ignores(libc::SIGWINCH));
        assert!(status.catches(libc::SIGCHLD) && !status.ignores(libc::SIGCHLD));
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
}
