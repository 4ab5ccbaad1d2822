//! How a view ends: nothing outlives it, and nothing is left behind.

use crate::harness::{Running, Site, UMVU, run, survivors};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A view full of processes: sleeping, computing, stopped, a daemon of a session of its own, a vfork parent, one that ignores signals.
fn busy(site: &Site, mount: &str) -> Running {
    let mut command = site.user_command(&*UMVU);
    let script = format!(
        "{mount}
        sleep 1000 & (while :; do [ -e missing ]; done) & (sleep 1000 & kill -STOP $!; wait) & setsid sleep 1000 & (trap '' TERM HUP INT; sleep 1000; sleep 1000) &
        python3 -c 'import subprocess; subprocess.run([\"sleep\", \"1000\"])' & cat fifo & touch ready; wait"
    );
    command.args(["--norc", "-m", "vufs", "--", "bash", "-c", &script]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let running = Running::start(command);
    eventually("the view starts", || site.work().join("ready").exists() && survivors(site).len() >= 10);
    running
}

#[track_caller]
fn eventually(what: &str, mut happens: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !happens() {
        assert!(begin.elapsed() < Duration::from_secs(100), "{what}: not within 100 seconds");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn end_by(signal: Signal, mount: &str) -> ExitStatus {
    let site = Site::new();
    let mut view = busy(&site, mount);
    kill(Pid::from_raw(view.pid()), signal).unwrap();
    let status = view.wait();
    eventually("every process of the view ends", || survivors(&site).is_empty());
    assert_eq!(site.native("cat file; ls $M; touch after && echo still works").ok(), "content\nstill works\n");
    status
}

#[test]
fn kill_9_leaves_no_process() {
    assert_eq!(end_by(Signal::SIGKILL, "").signal(), Some(9));
    assert_eq!(end_by(Signal::SIGKILL, "vumount -t vufs / $M").signal(), Some(9));
}

#[test]
fn sigterm_and_sighup_end_the_view() {
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let status = end_by(signal, "vumount -t vufs / $M");
        let told = status.signal() == Some(signal as i32) || status.code() == Some(128 + signal as i32);
        assert!(told, "{signal}: {status}");
    }
}

#[test]
fn the_view_lasts_as_long_as_its_command_or_its_processes() {
    // As with a shell, the status is the command's; what it left running in the background goes on seeing the view.
    let site = Site::new();
    let ran =
        site.session("vumount -t vufs $W/dir $W/empty; (sleep 0.5; cat empty/up > seen) > /dev/null 2>&1 & exit 3");
    assert_eq!(ran.status.code(), Some(3));
    eventually("the background process has looked, or has ended with the view", || {
        site.work().join("seen").exists() || survivors(&site).is_empty()
    });
    let seen = std::fs::read_to_string(site.work().join("seen")).unwrap_or_default();
    assert!(seen.is_empty() || seen == "inner\n", "nobody sees half a view: {seen}");
    eventually("and then nothing is left", || survivors(&site).is_empty());
}

/// As `init` of a container, or under a process that is a subreaper and executes umvu: what nobody waits for comes to it.
#[test]
fn orphans_are_waited_for_by_who_inherits_them() {
    let site = Site::new();
    let script = r#"for i in {1..5}; do orphan=$( (sh -c 'echo $$' &) ); for i in {1..1000}; do [ -d /proc/$orphan ] || { echo gone; break; }; sleep 0.01; done; done; exit 3"#;
    let subreaper = "import ctypes, os, sys; assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0; os.execv(sys.argv[1], sys.argv[1:])";
    let mut command = site.user_command("/usr/bin/python3");
    command.args(["-c", subreaper]).arg(&*UMVU).args(["--norc", "--", "bash", "-c", script]);
    let ran = run(command, b"");
    assert_eq!(ran.text(), "gone\ngone\ngone\ngone\ngone\n--- stderr\n--- exit status: 3\n");
}

/// Where the first process of a container waits for nobody, each would be left as a zombie.
#[test]
fn umvu_waits_for_its_own_processes() {
    let site = Site::new();
    let inherit = r#"
import ctypes, os, subprocess, sys
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0
for _ in range(30):
    subprocess.run(sys.argv[1:], check=True)
try:
    print("left:", os.waitpid(-1, os.WNOHANG))
except ChildProcessError:
    print("nobody is left")
"#;
    let mut command = site.user_command("/usr/bin/python3");
    command.args(["-c", inherit]).arg(&*UMVU).args(["--norc", "--", "/bin/true"]);
    assert_eq!(run(command, b"").ok(), "nobody is left\n");
}

#[test]
fn ignored_signals_stay_ignored_and_the_commands_status_is_told() {
    let site = Site::new();
    let look = "grep SigIgn /proc/self/status; exit 3";
    let run_by = |ignored: &str, args: &[&str]| {
        let begin = format!(
            "import os, signal, sys; [signal.signal(s, signal.SIG_DFL if s != {ignored} else signal.SIG_IGN) for s in (signal.SIGCHLD, signal.SIGPIPE)]; os.execv(sys.argv[1], sys.argv[1:])"
        );
        let mut command = site.user_command("/usr/bin/python3");
        command.args(["-c", &begin]).args(args);
        run(command, b"").text()
    };
    let umvu = UMVU.to_string_lossy();
    for ignored in ["None", "signal.SIGCHLD", "signal.SIGPIPE"] {
        let native = run_by(ignored, &["/bin/sh", "-c", look]);
        assert!(native.ends_with("--- exit status: 3\n"), "{native}");
        assert_eq!(run_by(ignored, &[&umvu, "--norc", "--", "/bin/sh", "-c", look]), native, "{ignored}");
        let nested = [&umvu, "--norc", "--", &umvu, "--norc", "--", "/bin/sh", "-c", look];
        assert_eq!(run_by(ignored, &nested), native, "{ignored}, in a view of a view");
    }
}

#[test]
fn nothing_is_left_behind() {
    let site = Site::new();
    site.native("mkdir tmp run; chmod 700 tmp run").ok();
    let place = |command: &mut std::process::Command| {
        command.env("TMPDIR", site.work().join("tmp")).env("XDG_RUNTIME_DIR", site.work().join("run"));
    };
    let script = "vu_insmod vufuse; vumount -t vufusenull none $W/empty; ls empty; vumount -t vufs / $M; ls $M > /dev/null; cd empty; [ \"$1\" ] && kill -9 $(vuname -U) && sleep 100; exit 3";
    for killed in ["", "yes"] {
        let mut command = site.user_command(&*UMVU);
        command.args(["--norc", "-m", "vufs", "--", "bash", "-c", script, "bash", killed]);
        place(&mut command);
        let ran = run(command, b"");
        if killed.is_empty() {
            assert_eq!((ran.status.code(), ran.stderr().as_str()), (Some(3), ""));
        } else {
            assert!(!ran.status.success() && ran.stderr().starts_with("umvu: "), "{}: {}", ran.status, ran.stderr());
        }
        eventually("its processes end", || survivors(&site).is_empty());
        assert_eq!(site.native("find tmp run -mindepth 1").ok(), "", "killed: {killed}");
    }
}

#[test]
fn the_content_of_a_tmpfs_goes_with_it() {
    let site = Site::new();
    let file = format!("content/{}", site.path().file_name().unwrap().display());
    let is_there = || {
        let places = ["/dev/shm", "/tmp", "/var/tmp"].into_iter().filter_map(|place| std::fs::read_dir(place).ok());
        places.flat_map(|place| place.flatten()).any(|entry| entry.path().join(&file).exists())
    };
    let script = "mkdir -p $D/up && vumount -t vufs -o cow $D/up $W && cd $W && exec vusu -c \"
        mount -t tmpfs tmpfs empty; mkdir -p empty/a/b; echo > empty/a/b/c; chmod 0 empty/a; echo > empty/$(basename $D); cat $D/go; case $1 in umount) umount empty; cat $D/go;; kill) kill -9 $(vuname -U); sleep 100;; esac\"";
    site.native("mkfifo $D/go; chmod 666 $D/go").ok();
    let go = || site.native("echo > $D/go").ok();
    for end in ["exit", "umount", "kill"] {
        let mut command = site.user_command(&*UMVU);
        command.args(["--norc", "-m", "vufs,unrealuidgid", "--", "bash", "-c", script, "bash", end]);
        let mut view = Running::start(command);
        eventually("there is content", is_there);
        go();
        if end == "umount" {
            eventually("what is unmounted is gone", || !is_there());
            go();
        }
        view.wait();
        eventually("nothing of it is left", || !is_there() && survivors(&site).is_empty());
    }
}

#[test]
fn closed_standard_descriptors() {
    let site = Site::new();
    let script = "$UMVU --norc -- sh -c 'echo out; exit 4' <&- ; echo $?; $UMVU --norc -- sh -c 'exit 5' >&- 2>&-; echo $?; $UMVU --norc -m vufs -- sh -c 'vumount -t vufs / $M && ls -d $M/etc | wc -l' <&-; ls /proc/self/fd | wc -l; $UMVU --norc ls /proc/self/fd | wc -l";
    let said = site.native(script).ok();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..4], ["out", "4", "5", "1"]);
    assert_eq!(lines[4], lines[5], "no descriptor of the hypervisor's leaks into the view");
}

#[test]
fn a_thousand_short_lived_processes() {
    let site = Site::new();
    let script = "vumount -t vufs / $M; i=0; while [ $i -lt 300 ]; do $M/bin/true & /bin/true & (:) & wait; i=$((i + 1)); done; wait; echo done";
    assert_eq!(site.session(script).ok(), "done\n");
    eventually("nothing is left", || survivors(&site).is_empty());
}

#[test]
fn a_view_starts_where_signals_are_blocked_or_cannot_be_queued() {
    let site = Site::new();
    let view = "$UMVU -N -m vufs sh -c 'vumount -t vufs / $M && cd $M$W && cat file && exit 5'; echo $?";
    for start in ["env --block-signal", "env --ignore-signal=CHLD,URG,ALRM"] {
        assert_eq!(site.native(&format!("{start} {view}")).ok(), "content\n5\n", "{start}");
        let masks = |umvu| site.native(&format!("{start} {umvu} grep -E ^Sig[BI] /proc/self/status")).ok();
        assert_eq!(masks("$UMVU -N"), masks(""), "{start}");
    }
    assert_eq!(site.native(&format!("ulimit -i 0; {view}")).ok(), "content\n5\n");
}

#[test]
fn a_command_that_is_continued_alone_is_waited_for() {
    // However long its front takes to stop behind it.
    let site = Site::new();
    let script = r#"echo '#include <signal.h>
        #include <unistd.h>
        int raise(int signal) { if (signal == SIGSTOP) sleep(2); return kill(getpid(), signal); }' > late.c
        gcc -shared -fPIC -o late.so late.c
        LD_PRELOAD=$PWD/late.so $UMVU -N sh -c 'echo $$ > pid; kill -STOP $$; exit 5' & front=$!
        until [ -s pid ] && grep -q '^State:.[Tt]' /proc/$(cat pid)/status; do sleep 0.01; done
        kill -CONT $(cat pid); wait $front; echo $?"#;
    assert_eq!(site.native(script).ok(), "5\n");
}

#[test]
fn with_few_descriptors_calls_fail_and_none_waits_for_ever() {
    let site = Site::new();
    let script = "for n in $(seq 4 32); do (ulimit -n $n; timeout 60 $UMVU -N -m vufs sh -c 'vumount -t vufs / $M && cat $M$W/file') > out 2> said; \
        case $? in 0) cat out;; 124) echo $n hangs; cat said;; esac; done | sort | uniq -c | sed 's/^ *[0-9]* //'";
    assert_eq!(site.native(script).ok(), "content\n");
}
