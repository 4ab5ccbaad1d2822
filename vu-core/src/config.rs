//! What `umvu` hands over to the hypervisor: everything about a view that is decided before it starts.

use crate::{
    debug::Changes,
    program::{Header, Interpreter},
};
use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
};
use vu_api::Errno;

/// A view that is to be started, and the command in it.
///
/// Start-up files are not here: they are programs inside the view, so the command is then a starter that runs them first
/// (`vu-tools/src/start.rs`).
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The program, looked up on `PATH` as execvp(3) does, and its arguments; never empty.
    pub command: Vec<OsString>,
    /// Variables that are added to the environment of the command, or replaced in it.
    pub environment: Vec<(OsString, OsString)>,
    /// The name of the view; empty for none.
    pub view_name: String,
    /// The modules to activate before the command starts; each is linked in.
    pub modules: Vec<String>,
    /// What a mount's own requests go to.
    pub nesting: Nesting,
    /// The debug categories that are on from the start, and their colours.
    pub debug: Changes,
}

/// What a mount's own requests go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Nesting {
    /// The layer below the mount.
    #[default]
    Layers,
    /// The host.
    Host,
}

/// Why a command could not be executed, as a shell says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecFailure {
    /// One line for people, without the name of the program that reports it.
    pub message: String,
    /// 127 if the command was not found, 126 if it was found and cannot be executed (POSIX, Shell Command Language, 2.8.2).
    pub status: i32,
}

impl ExecFailure {
    /// Explains the error that execve(2), or the search on `PATH`, ended with.
    #[must_use]
    pub fn new(program: &OsStr, error: Errno) -> ExecFailure {
        let message = format!("{}: {}", program.to_string_lossy(), ExecFailure::reason(program, error));
        let status = if matches!(error, Errno::ENOENT | Errno::ENOTDIR) { 127 } else { 126 };
        ExecFailure { message, status }
    }

    /// The reason alone, without the name of the program.
    #[must_use]
    pub fn reason(program: &OsStr, error: Errno) -> String {
        let named_by_path = program.as_encoded_bytes().contains(&b'/');
        match error {
            Errno::ENOENT if !named_by_path => "command not found on PATH".to_owned(),
            // The file is there, so it is the program named in its first line, or its ELF interpreter, that is not.
            Errno::ENOENT if fs::metadata(program).is_ok() => match interpreter(program) {
                Some(name) => format!("its interpreter {name} does not exist"),
                None => "its interpreter does not exist".to_owned(),
            },
            Errno::EACCES if fs::metadata(program).is_ok_and(|m| m.is_dir()) => Errno::EISDIR.to_string(),
            Errno::EACCES if named_by_path => format!("{error} (is it executable? chmod +x makes it so)"),
            Errno::ENOEXEC => "not a program this machine can execute".to_owned(),
            _ => error.to_string(),
        }
    }
}

/// The interpreter that a program file names, if it can be read.
fn interpreter(program: &OsStr) -> Option<String> {
    match Header::read(File::open(program).ok()?.into()).ok()?.interpreter()? {
        Interpreter::Script { path, .. } | Interpreter::Loader(path) => {
            Some(String::from_utf8_lossy(&path).into_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(program: &str, error: Errno, status: i32, reason: &str) {
        let failure = ExecFailure::new(OsStr::new(program), error);
        assert_eq!(failure.status, status);
        assert_eq!(failure.message, format!("{program}: {reason}"));
    }

    #[test]
    fn statuses_are_those_of_a_shell() {
        check("nosuch", Errno::ENOENT, 127, "command not found on PATH");
        check("/no/such", Errno::ENOENT, 127, "No such file or directory");
        check("/etc/passwd", Errno::ENOENT, 127, "its interpreter does not exist");
        check("/etc/passwd/x", Errno::ENOTDIR, 127, "Not a directory");
        check("/etc", Errno::EACCES, 126, "Is a directory");
        check("/etc/passwd", Errno::EACCES, 126, "Permission denied (is it executable? chmod +x makes it so)");
        check("/etc/passwd", Errno::ENOEXEC, 126, "not a program this machine can execute");
        check("x", Errno::ENOMEM, 126, "Cannot allocate memory");
    }

    #[test]
    fn a_missing_interpreter_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("script");
        fs::write(&script, "#! /no/such/shell -e\n").unwrap();
        let reason = ExecFailure::reason(script.as_os_str(), Errno::ENOENT);
        assert_eq!(reason, "its interpreter /no/such/shell does not exist");
    }
}
