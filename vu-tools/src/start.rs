//! How a command starts in a view: the start-up files first, then the command in the same process.
//!
//! Start-up files are programs inside the view. If there are any, the hypervisor starts, in the place of the command, `umvu` once
//! more as a *starter* (`umvu --inside-view …`), which runs them and then becomes the command.

use crate::failure::{self, Failure, Outcome};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use vu_api::Errno;
use vu_core::config::ExecFailure;
use vu_trace::with_inherited_broken_pipes;

/// The first argument of the starter; the number of start-up files, their names and the command follow.
pub const INSIDE: &str = "--inside-view";

/// The start-up file of the system.
const SYSTEM_FILE: &str = "/etc/vurc";
/// The name of the user's start-up file in the home directory.
const USER_FILE: &str = ".vurc";

/// The start-up files that are there and executable, in the order in which they are run.
#[must_use]
pub fn default_files() -> Vec<PathBuf> {
    let user = std::env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(USER_FILE));
    std::iter::once(PathBuf::from(SYSTEM_FILE)).chain(user).filter(|file| is_start_up_file(file)).collect()
}

fn is_start_up_file(file: &Path) -> bool {
    let Ok(about) = std::fs::metadata(file) else { return false };
    let executable = about.is_file() && about.permissions().mode() & 0o111 != 0;
    if !executable {
        tracing::info!("start-up file {} is not run: it is not executable", file.display());
    }
    executable
}

/// The start-up file that somebody asked for.
///
/// # Errors
/// A [`Failure`] if it cannot be run: then it is not what was meant.
pub fn given_file(file: &Path) -> Result<PathBuf, Failure> {
    let failed = |reason: &dyn std::fmt::Display| Failure::new(format!("start-up file {}: {reason}", file.display()));
    let about = std::fs::metadata(file).map_err(|error| failed(&Errno::from(error)))?;
    if !about.is_file() || about.permissions().mode() & 0o111 == 0 {
        return Err(failed(&"it is not an executable file; chmod +x makes it one"));
    }
    // Without a slash it would be looked for on PATH.
    std::path::absolute(file).map_err(|error| failed(&Errno::from(error)))
}

/// The command line of a starter, or the command itself if there is nothing to do before it.
#[must_use]
pub fn with_files(umvu: &Path, files: &[PathBuf], command: Vec<OsString>) -> Vec<OsString> {
    if files.is_empty() {
        return command;
    }
    let mut words = vec![umvu.as_os_str().to_owned(), INSIDE.into(), files.len().to_string().into()];
    words.extend(files.iter().map(|file| file.as_os_str().to_owned()));
    words.extend(command);
    words
}

/// What the starter does with the arguments that follow [`INSIDE`]. Does not return if all goes well.
///
/// # Errors
/// A [`Failure`] if the command cannot be executed.
pub fn inside(args: &[OsString]) -> Outcome {
    let count = args.first().and_then(|count| count.to_str()).and_then(|count| count.parse::<usize>().ok());
    let rest = args.get(1..).unwrap_or_default();
    match count.and_then(|count| rest.split_at_checked(count)) {
        Some((files, command)) if !command.is_empty() => {
            run_files(files, None);
            Err(exec(command, None))
        }
        _ => Err(Failure::misuse(format!("{INSIDE} is umvu's own: start a command with 'umvu COMMAND'"))),
    }
}

/// Runs start-up files one after the other, with this `PATH` if they are to have another one. One that fails is reported, and the others are run all the same.
pub fn run_files(files: &[impl AsRef<OsStr>], path: Option<&OsStr>) {
    for file in files {
        let file = Path::new(file);
        if let Some(reason) = run_file(file, path) {
            failure::report("umvu", &format!("start-up file {}: {reason}", file.display()));
        }
    }
}

/// Runs a program; why it failed, if it did.
fn run_file(file: &Path, path: Option<&OsStr>) -> Option<String> {
    let run = |command: &mut Command| command.envs(path.map(|path| ("PATH", path))).status();
    let status = match run(&mut Command::new(file)) {
        // As execvp(3) and every shell do with a script without a first line that names its interpreter.
        Err(error) if error.raw_os_error() == Some(libc::ENOEXEC) => run(Command::new("/bin/sh").arg(file)),
        status => status,
    };
    describe(file, status)
}

fn describe(file: &Path, status: io::Result<ExitStatus>) -> Option<String> {
    match status {
        Err(error) => Some(ExecFailure::reason(file.as_os_str(), Errno::from(error))),
        Ok(status) if status.success() => None,
        Ok(status) => Some(match status.signal() {
            Some(signal) => format!("killed by signal {signal}"),
            None => format!("exit status {}", status.code().unwrap_or_default()),
        }),
    }
}

/// Becomes the command, with another `PATH` if one is given. Returns only why it could not.
#[must_use]
pub fn exec(command: &[OsString], path: Option<&OsStr>) -> Failure {
    let Some((program, arguments)) = command.split_first() else {
        return Failure::misuse("there is no command");
    };
    let mut next = Command::new(program);
    next.args(arguments);
    if let Some(path) = path {
        next.env("PATH", path);
    }
    let failure = ExecFailure::new(program, Errno::from(with_inherited_broken_pipes(&mut next).exec()));
    Failure { message: failure.message, status: failure.status }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_starter_only_where_there_is_something_to_start() {
        let command = vec![OsString::from("true")];
        let umvu = Path::new("/bin/umvu");
        assert_eq!(with_files(umvu, &[], command.clone()), command);
        let words = with_files(umvu, &["/etc/vurc".into(), "/x".into()], command);
        assert_eq!(words, ["/bin/umvu", INSIDE, "2", "/etc/vurc", "/x", "true"]);
    }

    #[test]
    fn failing_files_are_described() {
        let shell = Path::new("/bin/sh");
        let run = |script: &str| describe(shell, Command::new(shell).args(["-c", script]).status());
        assert_eq!(run("exit 0"), None);
        assert_eq!(run("exit 3"), Some("exit status 3".into()));
        assert_eq!(run("kill -9 $$"), Some("killed by signal 9".into()));
        assert_eq!(run_file(Path::new("/nonexistent"), None), Some("No such file or directory".into()));
    }

    #[test]
    fn a_script_without_a_first_line_is_the_shell_s() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("vurc");
        std::fs::write(&file, "exit 4\n").unwrap();
        assert!(given_file(&file).is_err(), "not executable");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(given_file(&file).unwrap(), file);
        assert_eq!(run_file(&file, None), Some("exit status 4".into()));
        std::fs::write(&file, "#!/no/such/shell\n").unwrap();
        assert_eq!(run_file(&file, None), Some("its interpreter /no/such/shell does not exist".into()));
    }
}
