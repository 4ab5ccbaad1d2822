//! System calls of a live tracee in a view with mounts: any number, any arguments, by either entry into the kernel.
//!
//! The calls are made by `vu-tools/tests/c/random_calls.c`, which says what the bytes mean. One umvu runs for all inputs; each input is
//! one batch, made by a process of its own. Nothing of umvu is instrumented, since it is another process: instead, each pair of a call and its result
//! counts as covered code.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{BufRead, BufReader, Write},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        LazyLock, Mutex,
        atomic::{AtomicU8, Ordering},
        mpsc::{Receiver, channel},
    },
    time::Duration,
};

const RECORD: usize = 32;
/// What a batch may have at most.
const LONGEST: usize = 128;
/// A batch after which /bin/true must run.
const CHECK_EACH: u64 = 50;
/// Longer than the helper waits for a call, or for the death of its child.
const PATIENCE: Duration = Duration::from_secs(60);
/// Nobody: everything must work without privilege, and no other process is to be in reach.
const USER: u32 = 64013;

#[unsafe(link_section = "__libfuzzer_extra_counters")]
static COVERED: [AtomicU8; 1 << 14] = [const { AtomicU8::new(0) }; 1 << 14];

const MOUNTS: &str = r#"
cd "$1" && mkdir src tree m && echo content > src/file && echo other > other || exit 98
vumount -t vufs / m && vumount -t vufs src tree/sub && vumount -t vufs tree outer && vumount -t vufs other src/file &&
vumount -t vufusenull none null && vumount -t vufusereal src real && vumount -t vudevnull none device || exit 99
exec "$2" "$1/view" "$1/m$1/src" "$1/tree/sub" "$1/outer/sub" "$1/src/file" "$1/null" "$1/real" "$1/device"
"#;

/// A directory of the user's with umvu and the helper, removed when this process is gone.
static PLACE: LazyLock<PathBuf> = LazyLock::new(|| {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("fuzz/ lies in the project");
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| project.join("target"), PathBuf::from);
    let built = env::var_os("UMVU").map_or_else(|| target.join("release/umvu"), PathBuf::from);
    let place = env::temp_dir().join(format!("umvu-fuzz-{}", std::process::id()));
    let bin = place.join("bin");
    fs::create_dir_all(&bin).expect("a temporary directory");
    fs::copy(&built, bin.join("umvu")).unwrap_or_else(|error| {
        panic!("{}: {error}: build umvu with `cargo build --release`, or name it in $UMVU", built.display())
    });
    let gcc = Command::new("gcc")
        .args(["-static", "-std=gnu11", "-O1", "-pthread", "-o"])
        .arg(bin.join("random_calls"))
        .arg(project.join("vu-tools/tests/c/random_calls.c"))
        .status();
    assert!(gcc.as_ref().is_ok_and(|status| status.success()), "gcc: {gcc:?}");
    for name in ["native", "view"] {
        fs::create_dir(place.join(name)).expect("a directory");
    }
    for path in [&place, &bin, &place.join("native"), &place.join("view")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
        if is_root() {
            chown(path, Some(USER), Some(USER)).expect("chown");
        }
    }
    // The helper keeps its own directories; those of the first mounts lie in this one, which is lost with them.
    let mut janitor = Command::new("sh");
    janitor.args(["-c", "trap '' INT TERM HUP; cat; sleep 1; chmod -R u+rwX \"$0\"; rm -rf \"$0\""]).arg(&place);
    #[allow(clippy::zombie_processes, reason = "it outlives this process")]
    let mut janitor = janitor.process_group(0).stdin(Stdio::piped()).spawn().expect("sh");
    std::mem::forget(janitor.stdin.take());
    place
});

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}

/// The helper, natively or in a view.
struct Session {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    log: PathBuf,
    batches: u64,
}

impl Session {
    fn start(program: &Path, arguments: &[&Path], log: &str) -> Session {
        let log = PLACE.join(log);
        let mut command = Command::new(program);
        command.args(arguments).current_dir("/").env_clear().env("PATH", "/usr/bin:/bin");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(fs::File::create(&log).expect("a log"));
        if is_root() {
            command.uid(USER).gid(USER);
        }
        let mut child = command.spawn().expect("the helper starts");
        let input = child.stdin.take().expect("it is piped");
        let output = child.stdout.take().expect("it is piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
            }
        });
        Session { child, input, lines, log, batches: 0 }
    }

    fn native() -> Session {
        let bin = PLACE.join("bin");
        Session::start(&bin.join("random_calls"), &[&PLACE.join("native")], "native.log")
    }

    fn view() -> Session {
        let bin = PLACE.join("bin");
        let options = ["--norc", "-m", "vufs,vufuse,vudev", "--", "sh", "-c", MOUNTS, "sh"].map(Path::new);
        let last = [&**PLACE, &bin.join("random_calls")];
        Session::start(&bin.join("umvu"), &[&options[..], &last[..]].concat(), "view.log")
    }

    /// What becomes of each call of a batch.
    fn run(&mut self, records: &[u8]) -> Vec<String> {
        let count = u32::try_from(records.len() / RECORD).expect("a batch is short");
        let written = self.input.write_all(&count.to_le_bytes()).and_then(|()| self.input.write_all(records));
        if let Err(error) = written {
            self.fail(&format!("its input is closed: {error}"));
        }
        self.batches += 1;
        let mut results = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line == "." => break,
                Ok(line) => results.push(line),
                Err(error) => self.fail(&format!("after {results:#?}: {error}")),
            }
        }
        if fs::read_to_string(&self.log).is_ok_and(|log| log.contains("panicked")) {
            self.fail(&format!("after {results:#?}"));
        }
        results
    }

    fn fail(&mut self, why: &str) -> ! {
        // What has died shows how, and what hangs does not.
        std::thread::sleep(Duration::from_millis(500));
        let status = self.child.try_wait();
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        panic!("umvu or the helper: {why}\nstatus {status:?}, batch {}, log:\n{log}", self.batches);
    }
}

fn hangs(results: &[String]) -> bool {
    results.iter().any(|line| line.ends_with("= hangs"))
}

fuzz_target!(|data: &[u8]| {
    static VIEW: LazyLock<Mutex<Session>> = LazyLock::new(|| Mutex::new(Session::view()));

    let records = &data[..(data.len() / RECORD).min(LONGEST) * RECORD];
    if records.is_empty() {
        return;
    }
    let mut view = VIEW.lock().expect("one thread");
    let results = view.run(records);
    for line in &results {
        // "ENTRY NUMBER(ARGUMENTS) = RESULT"
        let call = line.split('(').next();
        let result = line.rsplit(" = ").next();
        let mut hasher = DefaultHasher::new();
        (call, result).hash(&mut hasher);
        let slot = usize::try_from(hasher.finish() % COVERED.len() as u64).expect("it is small");
        COVERED[slot].store(1, Ordering::Relaxed);
    }
    if hangs(&results) && !hangs(&Session::native().run(records)) {
        view.fail(&format!("a call hangs in the view only: {results:#?}"));
    }
    if view.batches.is_multiple_of(CHECK_EACH) {
        view.run(&[]);
    }
});
