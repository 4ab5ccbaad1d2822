//! Views with a tiny hypervisor, and in them programs that do what is hard to trace.
//!
//! A view must be started by a process with one thread, which no test of the usual harness is. So this program is its own harness: without
//! arguments it runs all tests, with one those whose name contains it; as `view COMMAND…` it is a view.
//!
//! As root, everything runs twice: as root, and without any rights.
#![allow(clippy::unwrap_used, reason = "a test")]

mod debug;
mod lifetime;
mod tiny;

use std::{
    env,
    fs::{self, Permissions},
    io::Read,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio, exit},
    time::{Duration, Instant},
};
use vu_trace::{Launch, execute_on_path, launch};

/// What tracee.c looks at for itself.
const SCENARIOS: &[&str] = &[
    "basic",
    "long_verdicts",
    "no_verdicts",
    "descriptor_storm",
    "long_decisions",
    "sleepers",
    "ignored",
    "signals",
    "trap",
    "stops",
    "stopped_spread",
    "kills",
    "orphans",
    "thread_exec",
    "thread_spread",
    "vfork_spread",
    "tiny_stack",
    "no_leak",
    "descriptors",
    "no_memory",
    "many",
    "own_filters",
    "compat",
    "births",
    "births3",
    "unreadable",
    "stillborn",
];

/// As whom the views run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Root,
    User,
}

/// Where the programs are, and who runs them.
pub struct House {
    /// This program, where everybody can execute it.
    view: PathBuf,
    tracee: PathBuf,
    /// Where everybody can write.
    dir: PathBuf,
    who: Option<u32>,
}

impl House {
    /// A view in which a command is going to run.
    pub fn view(&self, command: &[&str]) -> Command {
        let mut view = Command::new(&self.view);
        view.arg("view").args(command).current_dir(&self.dir).stdin(Stdio::null());
        // However the tests are run: in an orphaned process group nobody stops (`is_current_pgrp_orphaned`, kernel/exit.c).
        view.process_group(0);
        // And what their caller ignores (nohup(1)) nobody could be ended by.
        // SAFETY: signal(2) is async-signal-safe.
        unsafe {
            view.pre_exec(|| {
                libc::signal(libc::SIGHUP, libc::SIG_DFL);
                Ok(())
            });
        }
        if let Some(user) = self.who {
            view.uid(user).gid(user);
        }
        view
    }

    /// A view in which a scenario of tracee.c is going to run.
    pub fn tracee(&self, scenario: &str) -> Command {
        self.view(&[self.tracee.to_str().unwrap(), scenario, self.dir.to_str().unwrap()])
    }
}

/// The output and status of what must end in time, and all of whose processes must let go of its output.
pub fn finish(command: &mut Command, seconds: u64) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let out = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        out.read_to_end(&mut bytes).map(|_| bytes)
    });
    let err = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        err.read_to_end(&mut bytes).map(|_| bytes)
    });
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !(out.is_finished() && err.is_finished()) {
        if Instant::now() > deadline {
            // Its hypervisor ends with it, and the whole view with that.
            child.kill().unwrap();
            panic!("it hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let status = child.wait().unwrap();
    Output { status, stdout: out.join().unwrap().unwrap(), stderr: err.join().unwrap().unwrap() }
}

fn scenario(house: &House, name: &str) {
    // A scenario takes seconds; a disk that is busy with other things can make it minutes.
    let output = finish(&mut house.tracee(name), 300);
    let errors = String::from_utf8_lossy(&output.stderr);
    // It is not possible to help a process whose own filter forbids it, and that is told.
    let expected = |line: &&str| name == "own_filters" && line.contains("escapes the view") || line.starts_with('(');
    let unexpected: Vec<_> = errors.lines().filter(|line| !expected(line)).collect();
    assert!(output.status.success() && unexpected.is_empty(), "{}\n{errors}", output.status);
    print!("{}", errors.lines().filter(|line| line.starts_with('(')).collect::<String>());
}

fn compile(source: &str, program: &Path, flags: &[&str]) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/view").join(source);
    let status = Command::new("cc").arg("-O1").args(flags).arg(source).arg("-o").arg(program).status().unwrap();
    assert!(status.success(), "the C compiler is needed, for 32 bits, too");
}

fn build(dir: &Path) -> (PathBuf, PathBuf) {
    let view = dir.join("view");
    fs::copy(env::current_exe().unwrap(), &view).unwrap();
    let tracee = dir.join("tracee");
    compile("tracee.c", &tracee, &["-pthread"]);
    let freestanding = ["-m32", "-nostdlib", "-static", "-no-pie", "-fno-pic", "-fno-stack-protector"];
    compile("tracee32.c", &dir.join("tracee32"), &freestanding);
    compile("debug.c", &dir.join("debug"), &["-pthread"]);
    fs::copy(&tracee, dir.join("tracee0111")).unwrap();
    fs::set_permissions(dir.join("tracee0111"), Permissions::from_mode(0o111)).unwrap();
    (view, tracee)
}

fn run_view(command: &[String]) -> i32 {
    let words: Vec<_> = command.iter().map(|word| std::ffi::CString::new(word.as_str()).unwrap()).collect();
    let path = env::var("PATH").unwrap_or_default();
    let environment = [c"PATH=/usr/bin:/bin".to_owned()];
    let launched = launch(Launch {
        base_filter: tiny::base_filter(),
        cookie: tiny::COOKIE,
        hypervisor: |required| {
            log();
            tiny::Tiny::new(required)
        },
        command: || {
            let _ = execute_on_path(&words, &environment, path.as_bytes());
            127
        },
    });
    launched.unwrap_or_else(|hindrance| {
        eprintln!("{hindrance}");
        125
    })
}

/// What the tracer says goes to the standard error output.
fn log() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).without_time().with_target(false).with_ansi(false).init();
}

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "view") {
        exit(run_view(&words[1..]));
    }
    let wanted = words.iter().find(|word| !word.starts_with('-')).cloned().unwrap_or_default();
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), Permissions::from_mode(0o755)).unwrap();
    let (view, tracee) = build(home.path());
    // SAFETY: a plain number is returned.
    let root = unsafe { libc::geteuid() } == 0;
    let mut failed = 0;
    for who in if root { vec![Who::User, Who::Root] } else { vec![Who::User] } {
        let dir = home.path().join(if who == Who::Root { "root" } else { "user" });
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, Permissions::from_mode(0o777)).unwrap();
        let user = (root && who == Who::User).then_some(65534);
        let house = House { view: view.clone(), tracee: tracee.clone(), dir, who: user };
        let scenarios = SCENARIOS.iter().map(|&name| (name, None));
        let others = lifetime::TESTS.iter().chain(debug::TESTS).map(|&(name, test)| (name, Some(test)));
        for (name, test) in scenarios.chain(others) {
            let full = format!("{}::{name}", if who == Who::Root { "root" } else { "user" });
            if !full.contains(&wanted) {
                continue;
            }
            print!("test {full} ... ");
            let begin = Instant::now();
            let run = || match test {
                Some(test) => test(&house),
                None => scenario(&house, name),
            };
            let passed = catch_unwind(AssertUnwindSafe(run)).is_ok();
            println!("{} ({:.1} s)", if passed { "ok" } else { "FAILED" }, begin.elapsed().as_secs_f64());
            failed += i32::from(!passed);
        }
    }
    drop(home);
    exit(i32::from(failed > 0));
}
