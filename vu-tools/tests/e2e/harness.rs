//! What the tests stand on: an unprivileged user, a place of its own for each test, and commands that run natively and in views.

use nix::sys::signal::{SigHandler, Signal, kill, killpg, signal};
use nix::unistd::{Pid, Uid, User, geteuid};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, mpsc};
use std::time::{Duration, Instant};

/// How long a command may say nothing before it counts as hanging. What says much may take longer: the hypervisor is not optimised here,
/// and may itself run inside of a view (`tests/inside`).
const PATIENCE: Duration = Duration::from_secs(300);

/// The account the commands run as when the tests run as root.
const ACCOUNT: &str = "umvu-test";

/// The user the commands run as: never root, since everything must work without privilege.
static USER: LazyLock<User> = LazyLock::new(|| {
    if !geteuid().is_root() {
        return User::from_uid(geteuid()).ok().flatten().expect("the user who runs the tests has no account");
    }
    let find = || User::from_name(ACCOUNT).expect("the user database is readable");
    find().unwrap_or_else(|| {
        let useradd =
            Command::new("useradd").args(["--system", "--no-create-home", "--shell", "/bin/sh", ACCOUNT]).status();
        // Another process of the tests may have been faster.
        find().unwrap_or_else(|| panic!("useradd {ACCOUNT} gave {useradd:?}"))
    })
});

/// A directory that every user may search, for what all tests share: umvu itself and compiled helpers. It stays, so that the next run
/// finds them compiled.
static SHARED: LazyLock<PathBuf> = LazyLock::new(|| {
    let dir = std::env::temp_dir().join(format!("umvu-tests-{}", geteuid()));
    fs::create_dir_all(&dir).unwrap();
    assert_eq!(fs::symlink_metadata(&dir).unwrap().uid(), geteuid().as_raw(), "{} is somebody else's", dir.display());
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    dir
});

/// A copy of the umvu under test where the user reaches it, in a directory of the user's own (umvu puts the tools' links there).
pub static UMVU: LazyLock<PathBuf> = LazyLock::new(|| {
    let built = Path::new(env!("CARGO_BIN_EXE_umvu"));
    let meta = fs::metadata(built).unwrap();
    made(&format!("umvu-{:016x}", hash(&(meta.len(), meta.mtime(), meta.mtime_nsec()))), |dir| {
        fs::copy(built, dir.join("umvu")).unwrap();
    })
    .join("umvu")
});

/// The name of a directory in [`SHARED`] that `make` fills once, by whichever process and thread comes first.
fn made(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let path = SHARED.join(name);
    if !path.exists() {
        let new = tempfile::Builder::new().prefix("new-").tempdir_in(&*SHARED).unwrap();
        make(new.path());
        fs::set_permissions(new.path(), fs::Permissions::from_mode(0o755)).unwrap();
        chown(new.path(), Some(USER.uid.as_raw()), Some(USER.gid.as_raw())).unwrap();
        // Renaming onto a directory that is not empty fails: then another was faster, and its work is as good.
        let _ = fs::rename(new.path(), &path);
    }
    path
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// How a helper program is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// For glibc, dynamically linked.
    Dynamic,
    /// For glibc, static.
    Static,
    /// For musl, static.
    Musl,
    /// For 32 bits.
    I386,
    /// As the first, with what a debugger wants to know.
    Debuggable,
}

/// Compiles `tests/c/NAME.c` and returns the program.
pub fn helper(name: &str, flavour: Flavour) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c").join(name).with_extension("c");
    let text = fs::read(&source).unwrap();
    let (compiler, options): (_, &[&str]) = match flavour {
        Flavour::Dynamic => ("gcc", &[]),
        Flavour::Static => ("gcc", &["-static"]),
        Flavour::Musl => ("musl-gcc", &["-static"]),
        Flavour::I386 => ("gcc", &["-m32"]),
        Flavour::Debuggable => ("gcc", &["-g"]),
    };
    let dir = made(&format!("{name}-{:016x}", hash(&(&text, flavour))), |dir| {
        let status = Command::new(compiler)
            .args(options)
            .args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-format-truncation", "-pthread", "-o"])
            .arg(dir.join(name))
            .arg(&source)
            .status()
            .unwrap_or_else(|error| panic!("{compiler}: {error} (tests/run installs what the tests need)"));
        assert!(
            status.success(),
            "{compiler} {options:?} {}: {status} (tests/run installs what the tests need)",
            source.display()
        );
    });
    dir.join(name)
}

/// The Rust toolchain, where the user reaches it.
pub fn toolchain() -> PathBuf {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap().stdout;
    let sysroot = PathBuf::from(String::from_utf8(sysroot).unwrap().trim());
    made(&format!("toolchain-{:016x}", hash(&sysroot)), |dir| {
        // Only what compiles programs for this machine, and by hard links where the file systems are the same.
        let copy = "cd \"$1\" && for f in bin/cargo bin/rustc lib/*.so* lib/rustlib/x86_64-unknown-linux-gnu; do
            mkdir -p \"$2/$(dirname $f)\" && { cp -al $f \"$2/$f\" 2>/dev/null || cp -a $f \"$2/$(dirname $f)/\"; } || exit 1
        done";
        let status = Command::new("sh").args(["-c", copy, "sh"]).args([&sysroot, dir]).status().unwrap();
        assert!(status.success(), "copying the toolchain {}", sysroot.display());
    })
}

/// What becomes of a command.
pub struct Ran {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub status: ExitStatus,
}

impl Ran {
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// All of it as text, to compare and to show.
    pub fn text(&self) -> String {
        format!("{}--- stderr\n{}--- {}\n", self.stdout(), without_pids(&self.stderr()), self.status)
    }

    /// The standard output of a command that must have succeeded without a complaint.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.status.success() && self.stderr.is_empty(), "it failed:\n{}", self.text());
        self.stdout()
    }

    /// The standard error of a command that must have failed with `status`, having printed nothing else.
    #[track_caller]
    pub fn refused(self, status: i32) -> String {
        assert!(
            self.status.code() == Some(status) && self.stdout.is_empty(),
            "exit status {status} expected:\n{}",
            self.text()
        );
        self.stderr()
    }
}

/// The views a differential test compares with the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Nothing is mounted.
    Nothing,
    /// `/` is bound on an empty directory, and the command runs on the host's paths.
    Beside,
    /// The same, and the command and its paths are those below the mount.
    Inside,
    /// `/` is bound on `/`.
    Root,
    /// Changes of `/` go to a directory of the test's own.
    Cow,
    /// The tree is the upper part of a cow mount with nothing below.
    Upper,
    /// Everything is the lower part of a merge with nothing above.
    Merge,
}

impl View {
    pub const ALL: [View; 5] = [View::Nothing, View::Beside, View::Inside, View::Root, View::Cow];
    /// Further ones, of which each test has its turn with one: what they do of their own is little.
    const FURTHER: [View; 2] = [View::Upper, View::Merge];

    fn mount(self) -> &'static str {
        match self {
            View::Nothing => "",
            View::Beside | View::Inside => "vumount -t vufs / \"$M\" || exit 99\n",
            View::Root => "vumount -t vufs / / || exit 99\n",
            View::Cow => "vumount -t vufs -o cow,except=/proc,except=\"$D/out\" \"$D/cow\" / || exit 99\n",
            View::Upper => {
                "[ -e \"$D/cow/tree\" ] || { mv \"$W\" \"$D/cow/tree\" && mkdir \"$W\"; }; vumount -t vufs -o cow \"$D/cow/tree\" \"$W\" || exit 99\n"
            }
            View::Merge => "vumount -t vufs -o merge,except=/proc \"$D/merge\" / || exit 99\n",
        }
    }
}

/// A place of its own for one test; removed with it.
pub struct Site {
    dir: tempfile::TempDir,
}

/// Makes the small tree in which every command runs, all its times in the past.
const TREE: &str = r#"
umask 022
mkdir "$1" && cd "$1" || exit 1
mkdir -p dir/sub/deep empty many 'a b'
echo content > file; echo 'one
two
three' > dir/lines; echo inner > dir/sub/inner; echo deep > dir/sub/deep/file; printf '' > zero; echo blank > 'a b/c d'
ln file hard; ln -s file link; ln -s dir linkdir; ln -s missing dangling; ln -s loop loop; ln -s ../dir/sub/inner dir/up
ln -s "$1/file" absolute; ln -s "$1/dir" absolutedir; mkfifo fifo
chmod 640 file; chmod 750 dir/sub; printf '#!/bin/sh\necho script "$@"\n' > script; chmod 755 script
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do echo $i > many/f$i; done
find . -exec touch -h -d '2020-01-02 03:04:05' {} +
"#;

impl Site {
    pub fn new() -> Site {
        let dir = tempfile::Builder::new().prefix("umvu-").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        chown(dir.path(), Some(USER.uid.as_raw()), Some(USER.gid.as_raw())).unwrap();
        let site = Site { dir };
        site.native("mkdir -p \"$M\" \"$HOME\" \"$D/out\"").ok();
        site.reset();
        site
    }

    /// The directory of the test's own.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The tree in which commands run: `$W`.
    pub fn work(&self) -> PathBuf {
        self.path().join("work")
    }

    /// An empty directory to mount on: `$M`.
    pub fn mount_point(&self) -> PathBuf {
        self.path().join("m")
    }

    fn home(&self) -> PathBuf {
        self.path().join("home")
    }

    /// Puts the tree back as it was.
    pub fn reset(&self) {
        let clean = "for d in \"$1\" \"$D/cow\" \"$D/out\" \"$D/merge\"; do chmod -R u+rwX \"$d\" 2>/dev/null; rm -rf \"$d\"; done; mkdir \"$D/cow\" \"$D/out\" \"$D/merge\"; ";
        let mut command = self.user_command("/bin/sh");
        command.current_dir("/").args(["-c", &format!("{clean}{TREE}"), "sh"]).arg(self.work());
        run(command, b"").ok();
    }

    /// A command of the user's, in the tree, with an environment of its own.
    pub fn user_command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HOME", self.home())
            .env("USER", &USER.name)
            .env("LOGNAME", &USER.name)
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .env("SHELL", "/bin/bash")
            .env("M", self.mount_point())
            .env("W", self.work())
            .env("D", self.path())
            .env("P", "")
            .env("UMVU", &*UMVU)
            .current_dir(if self.work().exists() { self.work() } else { "/".into() });
        // However the tests are run: of what is ignored at the start (nohup(1), a shell's background) no shell could be ended.
        // SAFETY: signal(2) is async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                for ignored in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
                    signal(ignored, SigHandler::SigDfl)?;
                }
                Ok(())
            });
        }
        if geteuid().is_root() {
            command.uid(USER.uid.as_raw()).gid(USER.gid.as_raw());
        }
        command
    }

    /// Runs a shell script outside of any view.
    #[track_caller]
    pub fn native(&self, script: &str) -> Ran {
        let mut command = self.user_command("/bin/bash");
        command.args(["-c", script]);
        run(command, b"")
    }

    /// Runs a bash script inside a new view that has the module `vufs`, without start-up files.
    #[track_caller]
    pub fn session(&self, script: &str) -> Ran {
        self.umvu(&["--norc", "-m", "vufs", "--", "bash", "-c", script], b"")
    }

    /// Runs umvu with these arguments.
    #[track_caller]
    pub fn umvu(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut command = self.user_command(&*UMVU);
        command.args(arguments);
        run(command, input)
    }

    /// Runs a script with `shell -c`, natively or in a view, with `$W` its working directory.
    #[track_caller]
    pub fn script_in(&self, view: Option<View>, shell: &str, script: &str) -> Ran {
        let enter = r#"umask 022; cd "$W" && exec "$0" -c "$S""#;
        let mut command;
        match view {
            None => {
                command = self.user_command("/bin/sh");
                command.args(["-c", enter, shell]);
            }
            Some(view) => {
                let mut launcher = view.mount().to_owned();
                if view == View::Inside {
                    launcher.push_str(
                        "P=$M; W=$M$W; D=$M$D; HOME=$M$HOME; PATH=$M/usr/local/bin:$M/usr/bin:$M/bin:$M/usr/sbin:$M/sbin; export P W D HOME PATH\n",
                    );
                }
                launcher.push_str(enter);
                command = self.user_command(&*UMVU);
                command.args(["--norc", "-m", "vufs", "--", "/bin/sh", "-c", &launcher, shell]);
            }
        }
        command.env("S", script);
        let mut ran = run(command, b"");
        if view == Some(View::Inside) {
            let prefix = self.mount_point();
            ran.stdout = without(&ran.stdout, prefix.as_os_str().as_bytes());
            ran.stderr = without(&ran.stderr, prefix.as_os_str().as_bytes());
        }
        ran
    }

    /// The tree as it is in a view, when it was changed there.
    fn digest_in(&self, view: Option<View>) -> String {
        let Some(view @ (View::Cow | View::Upper)) = view else { return self.digest(&self.work()) };
        // What was changed there is to be found when it is mounted again, and nowhere else.
        let script = view.mount().to_owned() + "cp -a \"$W\" \"$D/out/\"";
        self.session(&script).ok();
        self.digest(&self.path().join("out/work"))
    }

    /// Everything that can be told about the tree but its times, a line an object.
    fn digest(&self, top: &Path) -> String {
        let mut lines = BTreeMap::new();
        let top = top.to_owned();
        let mut todo = vec![top.clone()];
        while let Some(path) = todo.pop() {
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            let mut line = format!("{:o} {} {}:{}", meta.mode(), meta.nlink(), meta.uid(), meta.gid());
            if meta.is_dir() {
                todo.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
            } else if meta.is_file() {
                let content = fs::read(&path).map(|bytes| without(&bytes, self.mount_point().as_os_str().as_bytes()));
                write!(line, " {:?}", content.map(|bytes| (bytes.len(), hash(&bytes))).ok()).unwrap();
            } else if meta.is_symlink() {
                let target = fs::read_link(&path).unwrap_or_default();
                let target = without(target.as_os_str().as_bytes(), self.mount_point().as_os_str().as_bytes());
                write!(line, " -> {}", target.escape_ascii()).unwrap();
            }
            lines.insert(path.strip_prefix(&top).unwrap().to_owned(), line);
        }
        lines.iter().fold("--- tree\n".to_owned(), |text, (path, line)| text + &format!("{} {line}\n", path.display()))
    }
}

impl Drop for Site {
    /// Ends what a test that failed has left running.
    fn drop(&mut self) {
        for pid in survivors(self) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// `bytes` without any occurrence of `prefix`.
fn without(bytes: &[u8], prefix: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, tail)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(prefix) {
            rest = after;
        } else {
            kept.push(*first);
            rest = tail;
        }
    }
    kept
}

/// What a shell says of a killed program, without its process id: `bash: line 1: 4711 Killed` without the number.
fn without_pids(text: &str) -> String {
    let strip = |line: &str| {
        let (place, said) = line.split_once(": line ").and_then(|(shell, rest)| {
            let (number, said) = rest.split_once(": ")?;
            Some((format!("{shell}: line {number}: "), said))
        })?;
        let rest = said.trim_start().trim_start_matches(|c: char| c.is_ascii_digit());
        rest.starts_with(' ').then(|| place + rest.trim_start())
    };
    text.lines().fold(String::new(), |text, line| text + &strip(line).unwrap_or_else(|| line.to_owned()) + "\n")
}

/// What of a run is compared with the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// Output, status, and the tree that results.
    All,
    /// Output and status; for programs that store times or random names.
    Output,
}

/// Runs a script of `bash -c` natively and in every view, each time on a fresh tree, and fails if anything differs.
#[track_caller]
pub fn differential(script: &str) {
    differential_with("bash", script, Compare::All);
}

#[track_caller]
pub fn differential_with(shell: &str, script: &str, compare: Compare) {
    differential_in(&View::ALL, shell, script, compare);
}

/// The same, in these views only.
#[track_caller]
pub fn differential_in(views: &[View], shell: &str, script: &str, compare: Compare) {
    let site = Site::new();
    let once = |view| {
        site.reset();
        let ran = site.script_in(view, shell, script);
        let tree = if compare == Compare::All { site.digest_in(view) } else { String::new() };
        ran.text() + &tree
    };
    let native = once(None);
    // A program that is not there, or a script with a mistake in it, would fail everywhere alike.
    assert!(!native.contains("exit status: 127") && !native.contains("command not found"), "not installed?\n{native}");
    // Programs that are asked everywhere are asked in one view more.
    let further = (views == View::ALL).then(|| View::FURTHER[script.len() % View::FURTHER.len()]);
    let failures: Vec<String> = views
        .iter()
        .copied()
        .chain(further)
        .filter_map(|view| {
            let seen = once(Some(view));
            (seen != native).then(|| format!("in the view {view:?}:\n{}", difference(&native, &seen)))
        })
        .collect();
    assert!(failures.is_empty(), "{script}\ndiffers {}", failures.join("\n"));
}

/// The lines in which two texts differ, shortened to what a person reads.
pub fn difference(native: &str, seen: &str) -> String {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for line in native.lines() {
        *counts.entry(line).or_default() += 1;
    }
    for line in seen.lines() {
        *counts.entry(line).or_default() -= 1;
    }
    let mut lines = Vec::new();
    for (text, sign) in [(native, 1), (seen, -1)] {
        for line in text.lines().filter(|line| counts[line] * sign > 0) {
            lines.push(format!("  {} {line}", if sign > 0 { "host:" } else { "view:" }));
        }
    }
    if lines.is_empty() {
        lines.push("  the same lines in another order".to_owned());
    }
    let more = lines.len().saturating_sub(60);
    lines.truncate(60);
    lines.join("\n") + &if more > 0 { format!("\n  … and {more} lines more\n") } else { "\n".to_owned() }
}

/// A running command whose process group is killed when it is dropped.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            let _ = killpg(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), Signal::SIGKILL);
            let _ = self.0.wait();
        }
    }
}

impl Running {
    /// Starts a command in a process group of its own, its input and output as they are set.
    #[track_caller]
    pub fn start(mut command: Command) -> Running {
        command.process_group(0);
        Running(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(begin.elapsed() < PATIENCE, "it hangs");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }
}

/// Runs a command to its end: until it has exited and nobody holds its output open.
#[track_caller]
pub fn run(mut command: Command, input: &[u8]) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running::start(command);
    let mut stdin = running.0.stdin.take().unwrap();
    let input = input.to_vec();
    std::thread::spawn(move || stdin.write_all(&input));
    let stdout = collect(running.0.stdout.take().unwrap());
    let stderr = collect(running.0.stderr.take().unwrap());
    let take = |output: &Output| {
        let mut bytes = Vec::new();
        loop {
            match output.recv_timeout(PATIENCE) {
                Ok(chunk) => bytes.extend(chunk),
                Err(mpsc::RecvTimeoutError::Disconnected) => return (bytes, true),
                Err(mpsc::RecvTimeoutError::Timeout) => return (bytes, false),
            }
        }
    };
    let (stdout, ended) = take(&stdout);
    let (stderr, ended_too) = take(&stderr);
    if !(ended && ended_too) {
        let ran = Ran { stdout, stderr, status: ExitStatus::from_raw(0) };
        panic!("it hangs, having said:\n{}", ran.text());
    }
    Ran { stdout, stderr, status: running.wait() }
}

/// What a thread reads from a program, piece by piece; disconnected at the end of it.
type Output = mpsc::Receiver<Vec<u8>>;

/// Reads to the end on a thread of its own.
pub fn collect(mut from: impl Read + Send + 'static) -> Output {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Gives a file to the user.
pub fn give(path: &Path) {
    chown(path, Some(USER.uid.as_raw()), Some(USER.gid.as_raw())).unwrap();
}

/// The processes of the user whose environment names this site: everything that a test started and that still lives.
pub fn survivors(site: &Site) -> Vec<i32> {
    let mark = [b"D=", site.path().as_os_str().as_bytes()].concat();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if Uid::from_raw(entry.metadata().map_or(u32::MAX, |meta| meta.uid())) != USER.uid {
            continue;
        }
        if let Ok(environment) = fs::read(entry.path().join("environ"))
            && environment.split(|byte| *byte == 0).any(|variable| variable == mark)
        {
            found.push(pid);
        }
    }
    found
}
