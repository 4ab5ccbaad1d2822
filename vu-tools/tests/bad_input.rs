//! Bad input that needs no view to be refused: one clear line on standard error, nothing on standard output, the right status.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const UMVU: &str = env!("CARGO_BIN_EXE_umvu");

/// The executable, called by the name of one of its tools.
fn tool(name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(UMVU);
    command.arg0(name).args(args).stdin(Stdio::null()).env_remove("RUST_BACKTRACE");
    command
}

#[track_caller]
fn output(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().expect("it ended by itself"), text(stdout), text(stderr))
}

/// Runs `TOOL ARGS…` and expects exactly this on standard error.
#[track_caller]
fn check(line: &str, status: i32, message: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let expected = format!("{}: {message}\n", words[0]);
    assert_eq!(output(&mut tool(words[0], &words[1..])), (status, String::new(), expected), "{line}");
}

#[test]
fn tools_outside_a_view_say_so() {
    for line in [
        "vu_insmod vufs",
        "vu_insmod -p vufs vudev",
        "vu_rmmod vufs",
        "vu_lsmod",
        "vu_lsmod -a -v",
        "vumount",
        "vumount -t vufs / /mnt",
        "vuumount /mnt",
        "vuname -x",
        "vuname newname",
        "vudebug",
        "vudebug +s -- true",
        "vustack /dev/net/null true",
    ] {
        check(line, 1, "this process is not in a view: start one with 'umvu bash', and use it there");
    }
}

#[test]
fn quiet_is_quiet_but_fails() {
    assert_eq!(output(&mut tool("vuname", &["-q", "-U"])), (1, String::new(), String::new()));
}

#[test]
fn arguments_that_make_no_sense() {
    check("umvu --nosuch true", 2, "there is no option '--nosuch' ('umvu --help' says what there is)");
    check("vu_insmod", 2, "<NAME>... is missing ('vu_insmod --help' says what there is)");
    check("vuumount", 2, "<TARGET>... is missing ('vuumount --help' says what there is)");
    check("vumount -t vufs /a", 2, "<TARGET> is missing ('vumount --help' says what there is)");
    check("vumount -t vufs", 2, "<SOURCE> <TARGET> is missing ('vumount --help' says what there is)");
    check("vumount a b c", 2, "there is one argument too many: 'c' ('vumount --help' says what there is)");
    check("vustack -f inet", 2, "<STACK> <COMMAND>... is missing ('vustack --help' says what there is)");
    check("vu_lsmod -x", 2, "there is no option '-x' ('vu_lsmod --help' says what there is)");
    check(
        "umvu -l 9 true",
        2,
        "invalid value '9' for '--loglevel <N>': 9 is not in 0..=7 ('umvu --help' says what there is)",
    );
    check(
        "umvu -f x -N true",
        2,
        "the argument '--rc <FILE>' cannot be used with '--norc' ('umvu --help' says what there is)",
    );
}

#[test]
fn umvu_refuses_what_it_cannot_do() {
    check("umvu -S true", 1, "seccomp is required, since it is how umvu sees system calls: run it without -S");
    check("umvu -m nosuch true", 1, "there is no module 'nosuch'; there are: unrealuidgid, vudev, vufs, vufuse, vunet");
    check("umvu -f /nonexistent/rc true", 1, "start-up file /nonexistent/rc: No such file or directory");
    check(
        "umvu -f /etc/passwd true",
        1,
        "start-up file /etc/passwd: it is not an executable file; chmod +x makes it one",
    );
    check("umvu -o /nonexistent/log true", 1, "cannot log to /nonexistent/log: No such file or directory");
    for name in [&*"x".repeat(65), "a\tb"] {
        let refused = "the name of a view has at most 64 bytes and no control characters: choose another one";
        check(&format!("umvu -V {name} true"), 2, refused);
    }
}

#[test]
fn umvu_knows_debug_categories() {
    let (status, _, message) = output(&mut tool("umvu", &["-d", "sZ", "true"]));
    assert_eq!((status, message.lines().count()), (2, 1));
    assert!(message.starts_with("umvu: there is no debug category 'Z'; there are: c (control), "), "{message}");
    check(
        "umvu -D s:pink true",
        2,
        "'pink' is no colour: write TAGS:COLOUR with a name (red), or letters of nrgybmcw (capital: background) and +-_*#",
    );
}

#[test]
fn a_message_is_one_line_whatever_it_names() {
    let (status, _, message) = output(&mut tool("umvu", &["-m", "a\nb\u{1b}[2J", "true"]));
    assert_eq!((status, message.lines().count()), (1, 1));
    assert!(message.contains("'a\\nb\\u{1b}[2J'"), "{message}");
}

#[test]
fn help_and_version_are_no_errors() {
    for tool_name in
        ["umvu", "vu_insmod", "vu_lsmod", "vu_rmmod", "vudebug", "vumount", "vuname", "vustack", "vuumount"]
    {
        for option in ["-h", "--help"] {
            let (status, help, errors) = output(&mut tool(tool_name, &[option]));
            assert_eq!((status, errors.as_str()), (0, ""));
            assert!(help.contains(&format!("Usage: {tool_name}")), "{help}");
        }
        let version = format!("{tool_name} {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(output(&mut tool(tool_name, &["--version"])), (0, version, String::new()));
    }
}

#[test]
fn a_name_it_does_not_know_is_umvu() {
    let (status, _, message) = output(&mut tool("/usr/bin/renamed", &["-S", "true"]));
    assert_eq!((status, message.split(':').next()), (1, Some("umvu")));
}

/// The starter, which works outside a view as well, shows what becomes of a command that cannot be executed.
#[test]
fn commands_that_cannot_be_executed() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("script");
    std::fs::write(&script, "#!/nonexistent/interpreter\n").unwrap();
    let no_interpreter = script.to_str().unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for (command, status, reason) in [
        ("umvu-no-such-command", 127, "command not found on PATH"),
        ("/nonexistent/command", 127, "No such file or directory"),
        (no_interpreter, 127, "its interpreter /nonexistent/interpreter does not exist"),
        ("/etc/passwd", 126, "Permission denied (is it executable? chmod +x makes it so)"),
        ("/etc", 126, "Is a directory"),
    ] {
        check(&format!("umvu --inside-view 0 {command}"), status, &format!("{command}: {reason}"));
    }
    check("umvu --inside-view 1 x", 2, "--inside-view is umvu's own: start a command with 'umvu COMMAND'");
    check("umvu --inside-view", 2, "--inside-view is umvu's own: start a command with 'umvu COMMAND'");
}

#[test]
fn start_up_files_run_in_order_and_failing_ones_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let script = |name: &str, text: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let (first, second) =
        (script("first", "#!/bin/sh\necho one\nexit 3\n"), script("second", "echo two\nkill -9 $$\n"));
    let result = output(&mut tool("umvu", &["--inside-view", "2", &first, &second, "sh", "-c", "echo three; exit 7"]));
    let errors =
        format!("umvu: start-up file {first}: exit status 3\numvu: start-up file {second}: killed by signal 9\n");
    assert_eq!(result, (7, "one\ntwo\nthree\n".to_owned(), errors));
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let mut command = tool("vuname", &["-a"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(1), Vec::new()));
}

#[test]
fn a_full_disk_is_said() {
    let full = std::fs::File::options().write(true).open(Path::new("/dev/full")).unwrap();
    let output = tool("vuname", &["-a"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(message, "vuname: cannot write to standard output: No space left on device\n");
    assert_eq!(output.status.code(), Some(1));
}
