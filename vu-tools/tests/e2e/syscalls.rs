//! Every system call that takes a path, with every shape of argument, natively and in each view: the same results.

use crate::harness::{Compare, Flavour, Site, View, differential_with, helper};
use std::collections::{BTreeMap, VecDeque};

/// Runs `tests/c/paths.c` everywhere. Its output is some 40000 lines, a system call each.
fn paths(flavour: Flavour) {
    let program = helper("paths", flavour);
    let site = Site::new();
    let script = format!("mkdir scratch && exec \"$P{}\" \"$W/scratch\"", program.display());
    let native = site.script_in(None, "sh", &script).ok();
    assert!(native.ends_with("done\n") && native.lines().count() > 30000, "it ends early: {:?}", native.lines().last());
    let mut failures = Vec::new();
    // Who may do what is another matter in a cow mount of `/`, whose root is the user's own; there the kernel's overlayfs is what is compared with (`oracle.rs`).
    for view in View::ALL.into_iter().filter(|view| *view != View::Cow) {
        site.reset();
        let ran = site.script_in(Some(view), "sh", &script);
        let seen = ran.stdout();
        let differing = if seen == native { String::new() } else { differing_calls(view, flavour, &native, &seen) };
        if !differing.is_empty() || !ran.status.success() {
            failures.push(format!("in the view {view:?} ({}):\n{}{}", ran.status, differing, ran.stderr()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Each call that ends in another way, or changes something else, than on the host; counted by system call.
fn differing_calls(view: View, flavour: Flavour, native: &str, seen: &str) -> String {
    let inside = view == View::Inside;
    // A call's own line, and those that tell what it changed.
    let calls = |text: &str| {
        let mut calls: Vec<(String, String)> = Vec::new();
        for line in text.lines() {
            match calls.last_mut() {
                Some((_, result)) if line.starts_with(' ') => *result += &format!(";{}", &line[3..]),
                _ => {
                    let (call, result) = line.split_once(" = ").unwrap_or((line, ""));
                    calls.push((call.to_owned(), result.to_owned()));
                }
            }
        }
        calls
    };
    let (native, seen) = (calls(native), calls(seen));
    // The same call may be made more than once; then the order tells which is which.
    let mut results: BTreeMap<&str, VecDeque<&str>> = BTreeMap::new();
    for (call, result) in &seen {
        results.entry(call).or_default().push_back(result);
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut shown = String::new();
    for (call, host) in &native {
        let view = results.get_mut(call.as_str()).and_then(VecDeque::pop_front);
        if view == Some(host) || is_known(inside, flavour, call, host, view.unwrap_or_default()) {
            continue;
        }
        let count = counts.entry(call.split(' ').next().unwrap_or_default()).or_default();
        *count += 1;
        // A few of each system call; the rest is usually more of the same.
        if *count <= 12 {
            shown += &format!("  {call}: host: {host}  view: {}\n", view.unwrap_or("no such line"));
        }
    }
    if native.len() != seen.len() {
        shown +=
            &format!("  {} calls on the host, {} in the view, the last {:?}\n", native.len(), seen.len(), seen.last());
    }
    if shown.is_empty() { shown } else { format!("{shown}  how many: {counts:?}\n") }
}

/// What is not as on the host, and is documented (README, "What is not supported"; SYSCALLS.md) or right: only in a bind by whose paths the
/// program runs, where the kernel's own look-up leads elsewhere.
fn is_known(inside: bool, flavour: Flavour, call: &str, host: &str, view: &str) -> bool {
    let is = |names: &[&str]| names.contains(&call.split(' ').next().unwrap_or_default());
    let errno = |text: &str| text.starts_with('E') || text.starts_with("errno");
    // The number of an inode of the moment.
    if call.starts_with("readlink fd of pipe") {
        return true;
    }
    // A rename somewhere on the machine in the moment of a ".." that must not lead out: "try again" (openat2(2)).
    if is(&["openat2"]) && (host.starts_with("EAGAIN") || view.starts_with("EAGAIN")) {
        return true;
    }
    // What is told of the process there is the view's, so the file is umvu's (README.md), which was opened by a link.
    if call.starts_with("open /proc/self/status NOFOLLOW") && host.replace("fl 404000", "fl 4000") == view {
        return true;
    }
    if !inside {
        return false;
    }
    // i386's socketcall has its arguments in memory, where they cannot be replaced.
    let socketcall = flavour == Flavour::I386 && is(&["bind", "connect", "sendto"]) && view == "errno 99";
    // The host's root lies outside of the bind: a link or rename between both is one between file systems.
    let root = (call.contains(":/") || call.ends_with(" /")) && view == "EXDEV";
    // Which of two errors comes first, where the path alone is wrong for two reasons.
    let order = errno(host)
        && errno(view)
        && (call.contains("linkslash")
            || call.contains("that is closed")
            || call.contains("EMPTY")
            || is(&["fstatat"]));
    // AT_EMPTY_PATH, used where it is not needed, asks who opened the descriptor (Linux 6.10): umvu did.
    let empty = call.starts_with("linkat") && call.contains("EMPTY") && view.starts_with("ENOENT");
    // A name above a removed directory, of which only the kernel knows where it was.
    let removed = call.contains("removed dir:..");
    socketcall || root || order || empty || removed
}

#[test]
fn paths_of_a_64_bit_program() {
    paths(Flavour::Dynamic);
}

#[test]
fn paths_of_a_32_bit_program() {
    paths(Flavour::I386);
}

#[test]
fn odd_arguments_and_signals_about_files() {
    let program = helper("odd_calls", Flavour::Dynamic);
    differential_with("sh", &format!("mkdir odd && \"$P{}\" \"$W/odd\"", program.display()), Compare::Output);
}

#[test]
fn what_descriptors_addresses_and_rules_name() {
    let program = helper("by_descriptor", Flavour::Dynamic);
    differential_with("sh", &format!("cd \"$W\" && \"$P{}\"", program.display()), Compare::Output);
}

/// Of a process that forbids to be looked at (`PR_SET_DUMPABLE`), as sftp-server(8) and ssh-agent(1) do, neither the memory nor `/proc/PID` can be read.
#[test]
fn calls_of_who_may_not_be_looked_at() {
    let program = r#"import ctypes, os, socket
prctl = ctypes.CDLL(None).prctl
mine = os.open(".", os.O_RDONLY)
def bind():
    socket.socket(socket.AF_UNIX).bind("socket")
first = [os.getcwd, lambda: os.stat("file"), lambda: os.open("file", os.O_RDWR), lambda: os.listdir("."), lambda: os.chdir(".."), lambda: os.fchdir(mine),
    lambda: os.mkdir("new"), lambda: os.rename("new", "newer"), lambda: os.rmdir("newer"), lambda: os.readlink("/proc/self/cwd"), lambda: os.listdir(mine),
    lambda: os.statvfs("."), lambda: os.utime("file", (1, 2)), bind, lambda: os.unlink("socket"), lambda: os.stat("file", dir_fd=mine), lambda: os.fstat(mine),
    lambda: os.execv("/bin/true", ["true"]), lambda: os.execv("./missing", ["missing"]), lambda: os.open("/root/.none", 0)]
for number, call in enumerate(first):
    child = os.fork()
    if child == 0:
        prctl(4, 0)
        try:
            call()
            name = os.path.relpath(os.getcwd(), os.environ["W"])
        except OSError as error:
            name = error.strerror
        print(number, name, flush=True)
        os._exit(0)
    print(number, os.waitpid(child, 0)[1], flush=True)
"#;
    differential_with(
        "bash",
        &format!("cd \"$W\"; cat > first.py << 'END'\n{program}\nEND\npython3 first.py 2>&1"),
        Compare::Output,
    );
}

#[test]
fn what_is_asked_of_an_object_by_its_descriptor() {
    let program = helper("objects", Flavour::Dynamic);
    differential_with("sh", &format!("cd \"$W\" && \"$P{}\"", program.display()), Compare::Output);
}

/// What is wrong with the directory is said before who may change the root.
#[test]
fn what_is_no_root() {
    differential_with(
        "sh",
        r#"cd "$W"; mkdir shut; chmod 222 shut; /usr/bin/python3 -c '
import os
for name in "shut", "shut/.", "shut/none", "missing", "file", "file/none", "":
    try:
        os.chroot(name)
        print(name)
    except OSError as error:
        print(name, error.strerror)
'; chmod 755 shut"#,
        Compare::Output,
    );
}

/// Names of entries with dots, slashes and too many letters at their ends, and what is wrong first where several things are.
/// A bind of everything shows a union and what that declines, between which nothing is renamed or linked: errors come in the order of two file systems.
#[test]
fn a_bind_shows_more_than_one_file_system() {
    let site = Site::new();
    let script = "import errno, itertools, os
link = lambda a, b: os.link(a, b, src_dir_fd=0, follow_symlinks=False)
names = '/proc/self', '/proc/none', '/proc/self/..', 'file', 'none', 'dir', 'dir/..', 'missing/x', 'file/x'
for call, pair in itertools.product((os.rename, link), itertools.product(names, names)):
    if ('/proc' in pair[0]) != ('/proc' in pair[1]):
        try: print(*pair, call(*pair))
        except OSError as error: print(*pair, errno.errorcode[error.errno])";
    let look = format!("cd $W && /usr/bin/python3 -c \"{script}\"");
    let native = site.native(&look).ok();
    for union in
        ["", "vumount -t vufs -o merge,except=/proc $D/merge /; ", "vumount -t vufs -o cow,except=/proc $D/cow /; "]
    {
        let seen = site.session(&format!("{union}vumount -t vufs / /; {look}")).ok();
        assert!(native == seen, "{union}\n{}", crate::harness::difference(&native, &seen));
    }
}

#[test]
fn names_that_end_oddly() {
    let program = r#"import ctypes, errno, itertools, os
libc = ctypes.CDLL(None, use_errno=True)
def renameat2(flags):
    def rename(name, other):
        if libc.renameat2(-100, name.encode(), -100, other.encode(), flags):
            raise OSError(ctypes.get_errno(), "")
    return rename
def what(*call):
    child = os.fork()
    if child == 0:
        try:
            print(*(part for part in call[1:] if part != long), call[0](*call[1:]), flush=True)
        except OSError as error:
            print(*(part if part != long else "long" for part in call[1:]), errno.errorcode[error.errno], flush=True)
        os._exit(0)
    os.wait()
long = "n" * 300
here = os.open(".", os.O_RDONLY)
for name in "./", ".//", "full/./", "full/../", "full/.", "full/..", "file/", "missing/", "../" + os.path.basename(os.environ["W"]) + "/./":
    for call in os.rmdir, os.unlink, os.mkdir, lambda name: os.rmdir(name, dir_fd=here):
        what(call, name)
for name in "script/", "file/", "script/x", os.environ["W"] + "/script/", "dir/", "missing/":
    what(os.execv, name, ["x"])
ends = ["full/..", "full/.", "full/../", "missing/x", "missing", long, "missing/" + long, "file/x", "full/" + long]
for call in os.rename, renameat2(1), renameat2(2), os.link:
    for pair in itertools.product(ends, ends):
        what(call, *pair)
open_file = os.open("dir", os.O_TMPFILE | os.O_RDWR, 0o644)
for name in "new/", "full/new/", "file/", "full/", "missing/x", "file/x", "new//", "new/.":
    for follow in False, True:
        what(lambda name: os.link(f"/proc/self/fd/{open_file}", name, src_dir_fd=here, follow_symlinks=follow), name)
"#;
    differential_with(
        "bash",
        &format!("cd \"$W\"; mkdir full full/in; cat > ends.py << 'END'\n{program}\nEND\npython3 ends.py 2>&1"),
        Compare::All,
    );
}

/// Names of AF_UNIX sockets in addresses and message headers, and descriptors that are passed.
fn messages(flavour: Flavour) {
    let program = helper("messages", flavour);
    differential_with("sh", &format!("cp \"$P{}\" prog; ./prog", program.display()), Compare::All);
}

#[test]
fn sockets_have_the_names_of_the_view() {
    messages(Flavour::Dynamic);
}

/// By socketcall(2).
#[test]
fn sockets_of_32_bit_programs_have_the_names_of_the_view() {
    messages(Flavour::I386);
}

/// `F_GETFL`.
#[test]
fn flags_of_open_directories() {
    differential_with(
        "bash",
        r#"/usr/bin/python3 -c '
import fcntl, os
for name in ".", os.environ["W"], "/usr":
    for flags in (0, os.O_NOFOLLOW, os.O_DIRECTORY | os.O_NONBLOCK, os.O_PATH, os.O_PATH | os.O_DIRECTORY, os.O_PATH | os.O_NOFOLLOW, os.O_DIRECTORY | os.O_CLOEXEC,
                  os.O_SYNC, os.O_DSYNC, os.O_APPEND, os.O_ASYNC, os.O_DIRECT, os.O_APPEND | os.O_NOFOLLOW | os.O_SYNC):
        try:
            fd = os.open(name, flags)
            print(hex(flags), hex(fcntl.fcntl(fd, fcntl.F_GETFL)), hex(fcntl.fcntl(fd, fcntl.F_GETFD)))
            os.close(fd)
        except OSError as error:
            print(hex(flags), error.strerror)
'"#,
        Compare::All,
    );
}

/// Who looks at a link itself, in whatever words, has not read it: its time of access stays.
#[test]
fn looking_at_a_link_is_not_reading_it() {
    differential_with(
        "bash",
        "mkdir d; echo x > d/f; ln -s f d/l; touch -h -d '2040-01-01 UTC' d/l; touch -h -a -d '2035-01-01 UTC' d/l
        for name in d/l ./d/l ././d/./l \"$PWD/d/l\" \"$PWD/./d/l\" d/../d/l d/./l; do stat -c '%X %Y %F' \"$name\"; test -h \"$name\" && stat -c %X d/l; done
        mv ./d/./l d/m; stat -c %X d/m; ln ./d/./m d/n; stat -c %X d/n; rm d/./n; stat -c %X d/m",
        Compare::Output,
    );
}
