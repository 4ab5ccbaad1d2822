//! `/proc/TID/status` and `/proc/TID/stat` as a view has them: where the kernel tells of the hypervisor, what the program expects (proc_pid_status(5)).
//!
//! The kernel's tracer of every thread is the hypervisor, the first filters are its own, and so is the promise that they need; a thread that is stopped by a signal is
//! stopped in tracing for the kernel. And a module may make identities virtual.

use crate::{call::Call, proc_files::with_content, task::Task};
use std::{
    ffi::OsStr,
    fmt::Write as _,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
};
use vu_api::{AbsPath, Errno, Identity, Ids};
use vu_trace::Appearance;

/// What a thread is to look like.
struct Shown<'a> {
    identity: Option<&'a Identity>,
    appearance: Appearance,
    /// It is the one that looks.
    itself: bool,
    /// The process that debugs it; 0 if none does.
    debugger: i32,
}

/// An open file with what the view has for such a file of a task.
///
/// # Errors
/// Those of reading the host's file.
pub fn open(call: &Call<'_>, owner: &Task, path: &AbsPath, name: &[u8]) -> Result<Option<OwnedFd>, Errno> {
    let appearance = owner.appearance();
    if name == b"stat" {
        if !appearance.stopped {
            return Ok(None);
        }
        let stat = std::fs::read(OsStr::from_bytes(path.as_bytes()))?;
        return with_content(path, &stat_stopped(stat)).map(Some);
    }
    let debugger = appearance.debugger.and_then(|tid| call.core.tasks.get(tid)).map_or(0, |task| task.process.id.0);
    let identity = if call.view.has(owner) { owner.identity() } else { None };
    // Who looks at itself runs: to the hypervisor it seems to wait.
    let itself = owner.tid == call.task.tid;
    let shown = Shown { itself, identity: identity.as_deref(), appearance, debugger };
    with_content(path, status_with(&owner.status()?, &shown).as_bytes()).map(Some)
}

/// In the kernel's form (`task_state`, `render_cap_t`, `task_seccomp`, `fs/proc/array.c`).
fn status_with(status: &str, shown: &Shown<'_>) -> String {
    let ids = |ids: &Ids| format!("{}\t{}\t{}\t{}", ids.real, ids.effective, ids.saved, ids.fs);
    let set = |set: u64| format!("{set:016x}");
    let Appearance { stopped, seccomp_mode, filters, no_new_privileges, .. } = shown.appearance;
    let mut text = String::with_capacity(status.len() + 64);
    for line in status.lines() {
        let name = line.split(':').next().unwrap_or_default();
        let value = match (name, shown.identity) {
            ("State", _) if shown.itself => RUNNING.to_owned(),
            ("State", _) if stopped && line.ends_with(TRACED) => STOPPED.to_owned(),
            ("TracerPid", _) => shown.debugger.to_string(),
            ("NoNewPrivs", _) => u8::from(no_new_privileges).to_string(),
            ("Seccomp", _) => seccomp_mode.to_string(),
            ("Seccomp_filters", _) => filters.to_string(),
            ("Uid", Some(who)) => ids(&who.users),
            ("Gid", Some(who)) => ids(&who.groups),
            ("Groups", Some(who)) => {
                let groups: Vec<String> = who.supplementary.iter().map(u32::to_string).collect();
                groups.join(" ") + " "
            }
            ("CapInh", Some(who)) => set(who.capabilities.inheritable),
            ("CapPrm", Some(who)) => set(who.capabilities.permitted),
            ("CapEff", Some(who)) => set(who.capabilities.effective),
            ("CapBnd", Some(who)) => set(who.capabilities.bounding),
            ("CapAmb", Some(who)) => set(who.capabilities.ambient),
            _ => {
                text.push_str(line);
                text.push('\n');
                continue;
            }
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}:\t{value}");
    }
    text
}

const RUNNING: &str = "R (running)";
const TRACED: &str = "t (tracing stop)";
const STOPPED: &str = "T (stopped)";

/// The third field, behind a name that may contain anything.
fn stat_stopped(mut stat: Vec<u8>) -> Vec<u8> {
    let end_of_name = stat.windows(2).rposition(|bytes| bytes == b") ");
    if let Some(state) = end_of_name.and_then(|at| stat.get_mut(at + 2))
        && *state == b't'
    {
        *state = b'T';
    }
    stat
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::parse;
    use vu_trace::Tid;

    const STATUS: &str = "Name:\tcat\nUmask:\t0022\nState:\tt (tracing stop)\nTracerPid:\t77\nUid:\t1000\t1001\t1002\t1003\nGid:\t7\t7\t7\t7\nFDSize:\t64\nGroups:\t4 24 \nThreads:\t1\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000001\nCapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t5\n";

    #[test]
    fn what_is_the_hypervisor_s_is_not_shown() {
        let plain = Shown { itself: false, identity: None, appearance: Appearance::default(), debugger: 0 };
        let text = status_with(STATUS, &plain);
        let differs: Vec<&str> = text.lines().filter(|line| !STATUS.contains(&format!("{line}\n"))).collect();
        assert_eq!(differs, ["TracerPid:\t0", "NoNewPrivs:\t0", "Seccomp:\t0", "Seccomp_filters:\t0"]);
        let appearance = Appearance {
            debugger: Some(Tid(6)),
            stopped: true,
            seccomp_mode: 2,
            filters: 1,
            no_new_privileges: true,
            watched: true,
        };
        let text = status_with(STATUS, &Shown { itself: false, identity: None, appearance, debugger: 5 });
        let differs: Vec<&str> = text.lines().filter(|line| !STATUS.contains(&format!("{line}\n"))).collect();
        assert_eq!(differs, ["State:\tT (stopped)", "TracerPid:\t5", "Seccomp_filters:\t1"]);
    }

    #[test]
    fn identities_are_shown() {
        let who = parse(STATUS).unwrap();
        let shows = |who: &Identity| {
            status_with(
                STATUS,
                &Shown { itself: false, identity: Some(who), appearance: Appearance::default(), debugger: 77 },
            )
        };
        let until_promise = |text: &str| text.split("NoNewPrivs").next().map(str::to_owned);
        assert_eq!(until_promise(&shows(&who)), until_promise(STATUS));
        let other = Identity { users: Ids::default(), supplementary: vec![0], ..who };
        let text = shows(&other);
        assert!(text.contains("\nUid:\t0\t0\t0\t0\nGid:\t7\t7\t7\t7\nFDSize:\t64\nGroups:\t0 \nThreads:"), "{text}");
    }

    #[test]
    fn the_machine_s_own_status_is_of_this_form() {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let number = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap();
        let appearance = Appearance {
            seccomp_mode: number("Seccomp:"),
            filters: number("Seccomp_filters:").into(),
            no_new_privileges: number("NoNewPrivs:") == 1,
            ..Appearance::default()
        };
        let debugger = i32::from(number("TracerPid:"));
        let who = parse(&status).unwrap();
        assert_eq!(status_with(&status, &Shown { itself: true, identity: Some(&who), appearance, debugger }), status);
    }

    #[test]
    fn a_stopped_task_is_not_traced() {
        let stopped = |text: &str| String::from_utf8(stat_stopped(text.into())).unwrap();
        assert_eq!(stopped("5 (a) t (b)) t 1 2"), "5 (a) t (b)) T 1 2");
        assert_eq!(stopped("5 (t) S 1 2"), "5 (t) S 1 2");
        assert_eq!(stopped("5 (t"), "5 (t");
    }
}
