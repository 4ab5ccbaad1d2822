//! How views begin, stop and end.

use crate::{House, finish};
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

pub type Test = fn(&House);
pub const TESTS: &[(&str, Test)] = &[
    ("exit_status", exit_status),
    ("background_outlives_the_command", background_outlives_the_command),
    ("hypervisor_killed", hypervisor_killed),
    ("front_killed", front_killed),
    ("terminated_in_order", terminated_in_order),
    ("hangup_is_ignored_if_it_was", hangup_is_ignored_if_it_was),
    ("closed_descriptors", closed_descriptors),
    ("stopped_and_continued", stopped_and_continued),
    ("command_continued_alone", command_continued_alone),
    ("terminal", terminal),
];

fn exit_status(house: &House) {
    assert_eq!(finish(&mut house.view(&["sh", "-c", "exit 7"]), 60).status.code(), Some(7));
    assert_eq!(finish(&mut house.view(&["sh", "-c", "kill -SEGV $$"]), 60).status.code(), Some(128 + libc::SIGSEGV));
    assert_eq!(finish(&mut house.view(&["timeout", "0.2", "sleep", "9"]), 60).status.code(), Some(124));
    assert_eq!(finish(&mut house.view(&["setsid", "--wait", "sh", "-c", "exit 5"]), 60).status.code(), Some(5));
}

/// The processes that run the house's scenario `sleep`, or are its hypervisor.
fn survivors(house: &House) -> Vec<i32> {
    let mine = house.dir.to_str().unwrap().as_bytes();
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let running = |pid: &i32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let zombie = state.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'));
        !zombie && words.windows(mine.len()).any(|part| part == mine)
    };
    processes.filter(running).collect()
}

fn gone(house: &House) {
    until("all are gone", || survivors(house).is_empty());
}

/// A view with a command and two more processes that sleep for a minute; it is returned when they all run, with its hypervisor.
fn sleeping(house: &House) -> (Child, i32) {
    let tracee = format!("{} sleep {}", house.tracee.display(), house.dir.display());
    let script = format!("{tracee} & setsid {tracee} & grep TracerPid /proc/self/status; wait");
    // Its words name the directory, so that survivors() finds the front and the hypervisor, too.
    let mut view = house.view(&["sh", "-c", &script]).stdout(Stdio::piped()).process_group(0).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(view.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let hypervisor = line.split_whitespace().last().unwrap().parse().unwrap();
    until("all run", || survivors(house).len() >= 5);
    (view, hypervisor)
}

fn kill(pid: i32, signal: i32) {
    // SAFETY: no memory is involved.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

fn id(child: &Child) -> i32 {
    child.id().cast_signed()
}

fn background_outlives_the_command(house: &House) {
    let (mark, go) = (house.dir.join("outlived"), house.dir.join("go"));
    let wait = format!("until [ -e {} ]; do sleep 0.05; done", go.display());
    let script = format!("({wait}; echo done > {}) >/dev/null 2>&1 & exit 3", mark.display());
    // It lets go of both outputs, although a process of the view still runs.
    assert_eq!(finish(&mut house.view(&["sh", "-c", &script]), 60).status.code(), Some(3));
    fs::write(&go, "").unwrap();
    until("the other one goes on", || fs::read_to_string(&mark).is_ok_and(|text| text == "done\n"));
    gone(house);
}

fn hypervisor_killed(house: &House) {
    let (mut view, hypervisor) = sleeping(house);
    kill(hypervisor, libc::SIGKILL);
    assert_eq!(view.wait().unwrap().code(), Some(128 + libc::SIGKILL));
    gone(house);
}

fn front_killed(house: &House) {
    let (mut view, _) = sleeping(house);
    kill(id(&view), libc::SIGKILL);
    assert_eq!(view.wait().unwrap().signal(), Some(libc::SIGKILL));
    gone(house);
}

fn terminated_in_order(house: &House) {
    for signal in [libc::SIGTERM, libc::SIGHUP] {
        let (mut view, _) = sleeping(house);
        kill(id(&view), signal);
        assert_eq!(view.wait().unwrap().code(), Some(128 + signal));
        gone(house);
    }
    // All are gone when the front is.
    let mut view = house.view(&["sh", "-c", "(trap '' TERM; echo ready; sleep 9; sleep 9) & wait"]);
    let mut view = view.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(view.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    kill(id(&view), libc::SIGTERM);
    assert_eq!(view.wait().unwrap().code(), Some(128 + libc::SIGTERM));
    assert!(lines.next().is_none());
    // Who does not want to is given two seconds.
    let script = "trap 'echo asked' TERM; echo ready; while :; do sleep 0.1; done";
    let mut view = house.view(&["sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(view.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    kill(id(&view), libc::SIGTERM);
    assert_eq!(lines.next().unwrap().unwrap(), "asked");
    assert_eq!(view.wait().unwrap().code(), Some(128 + libc::SIGKILL));
    gone(house);
}

/// nohup(1).
fn hangup_is_ignored_if_it_was(house: &House) {
    let mut command = house.view(&["sh", "-c", "echo ready; sleep 0.3; exit 6"]);
    // SAFETY: signal(2) is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGHUP, libc::SIG_IGN);
            Ok(())
        });
    }
    let mut view = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(view.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    kill(id(&view), libc::SIGHUP);
    assert_eq!(view.wait().unwrap().code(), Some(6));
}

fn closed_descriptors(house: &House) {
    let tracee = house.tracee.to_str().unwrap();
    let mut command = house.view(&[tracee, "basic", house.dir.to_str().unwrap()]);
    // SAFETY: close(2) is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            for fd in 0..3 {
                libc::close(fd);
            }
            Ok(())
        });
    }
    let mut view = command.spawn().unwrap();
    assert!(view.wait().unwrap().success());
}

fn state(pid: i32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
}

/// Waits for what is to happen soon; how soon is the machine's business.
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(5));
    }
}

/// ^Z and `fg`, as a shell sees them.
fn stopped_and_continued(house: &House) {
    let (mut view, _) = sleeping(house);
    let group = -id(&view);
    for _ in 0..5 {
        kill(group, libc::SIGTSTP);
        let mut status = 0;
        // SAFETY: the kernel writes one int.
        let stopped =
            || unsafe { libc::waitpid(id(&view), &raw mut status, libc::WUNTRACED | libc::WNOHANG) } == id(&view);
        until("it is stopped", stopped);
        assert!(libc::WIFSTOPPED(status));
        kill(group, libc::SIGCONT);
        until("it runs again", || state(id(&view)) == 'S');
    }
    // Continued alone, the front continues the command.
    kill(group, libc::SIGTSTP);
    until("it is stopped", || state(id(&view)) == 'T');
    kill(id(&view), libc::SIGCONT);
    sleep(Duration::from_millis(100));
    kill(id(&view), libc::SIGTERM);
    assert_eq!(view.wait().unwrap().code(), Some(128 + libc::SIGTERM));
    gone(house);
}

/// A command that stops itself and is continued by its child.
fn command_continued_alone(house: &House) {
    let script = "(sleep 0.3; kill -CONT $$) & kill -STOP $$; echo goes on; exit 4";
    let output = finish(&mut house.view(&["sh", "-c", script]), 60);
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(output.stdout, b"goes on\n");
}

/// A shell with job control on a terminal of its own.
fn terminal(house: &House) {
    let view = format!("{} view", house.view.display());
    let script = house.dir.join("session");
    fs::write(&script, format!("{view} sh -c 'kill -TSTP $$; echo went on'\necho status $?\njobs\nfg\necho end $?\n"))
        .unwrap();
    let mut terminal = std::process::Command::new("script");
    terminal.args(["-qec", &format!("bash --norc -i {}", script.display()), "/dev/null"]);
    terminal.current_dir(&house.dir).stdin(Stdio::null());
    if let Some(user) = house.who {
        terminal.uid(user).gid(user);
    }
    let output = finish(&mut terminal, 60);
    let text = String::from_utf8_lossy(&output.stdout);
    let stopped = format!("status {}", 128 + libc::SIGSTOP);
    assert!(text.contains(&stopped) && text.contains("Stopped"), "{text}");
    assert!(text.contains("went on") && text.contains("end 0"), "{text}");
}
