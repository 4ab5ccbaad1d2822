//! execvp(3) with an environment, for the command of a view.

use std::{
    ffi::{CStr, CString},
    mem,
    os::unix::process::CommandExt,
    process::Command,
    ptr,
    sync::atomic::{AtomicBool, Ordering},
};
use vu_api::Errno;

/// Whether `SIGPIPE` was ignored when this process began, before Rust's runtime ignored it.
static BROKEN_PIPES_IGNORED: AtomicBool = AtomicBool::new(false);

/// The C library calls what stands in this section before `main`.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_THE_BEGINNING: extern "C" fn() = remember_broken_pipes;

extern "C" fn remember_broken_pipes() {
    // SAFETY: all-zero is a valid sigaction, and the kernel writes one.
    let action = unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        libc::sigaction(libc::SIGPIPE, ptr::null(), &raw mut action);
        action.sa_sigaction
    };
    BROKEN_PIPES_IGNORED.store(action == libc::SIG_IGN, Ordering::Relaxed);
}

/// What `SIGPIPE` was when this process began.
fn on_broken_pipes() -> libc::sighandler_t {
    if BROKEN_PIPES_IGNORED.load(Ordering::Relaxed) { libc::SIG_IGN } else { libc::SIG_DFL }
}

/// Has the program of a [`Command`] find `SIGPIPE` as it was when this process began; the standard library would set it to its default.
pub fn with_inherited_broken_pipes(command: &mut Command) -> &mut Command {
    // SAFETY: signal(2) is async-signal-safe, and neither action is a handler of ours.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGPIPE, on_broken_pipes());
            Ok(())
        })
    }
}

/// Executes the program `argv[0]`, looked up on `path` if it has no slash; returns only the error.
///
/// As execvp(3) does, a file that is no program is run by `/bin/sh`, and `EACCES` is told only if a file was found that may not be executed, and no other.
/// `SIGPIPE`, which Rust's runtime ignores, is as it was when this process began.
#[must_use]
pub fn execute_on_path(argv: &[CString], envp: &[CString], path: &[u8]) -> Errno {
    let Some(name) = argv.first() else { return Errno::EINVAL };
    // SAFETY: neither action is a handler of ours.
    unsafe { libc::signal(libc::SIGPIPE, on_broken_pipes()) };
    if name.as_bytes().is_empty() {
        return Errno::ENOENT;
    }
    if name.as_bytes().contains(&b'/') {
        return execute(name, argv, envp);
    }
    let mut forbidden = false;
    for directory in path.split(|&b| b == b':') {
        let directory = if directory.is_empty() { &b"."[..] } else { directory };
        let Ok(file) = CString::new([directory, b"/", name.as_bytes()].concat()) else { continue };
        match execute(&file, argv, envp) {
            // A directory that may not be searched says nothing about the file.
            Errno::EACCES => forbidden |= exists(&file),
            Errno::ENOENT | Errno::ENOTDIR | Errno::ESTALE | Errno::ENODEV | Errno::ETIMEDOUT => {}
            errno => return errno,
        }
    }
    if forbidden { Errno::EACCES } else { Errno::ENOENT }
}

fn exists(file: &CStr) -> bool {
    // SAFETY: a C string.
    unsafe { libc::access(file.as_ptr(), libc::F_OK) == 0 }
}

fn execute(file: &CStr, argv: &[CString], envp: &[CString]) -> Errno {
    let error = become_program(file, argv, envp);
    if error != Errno::ENOEXEC {
        return error;
    }
    let mut script = vec![c"/bin/sh".to_owned(), file.to_owned()];
    script.extend(argv.iter().skip(1).cloned());
    become_program(c"/bin/sh", &script, envp)
}

fn become_program(file: &CStr, argv: &[CString], envp: &[CString]) -> Errno {
    let vector = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
    };
    let (argv, envp) = (vector(argv), vector(envp));
    // SAFETY: a C string and two NULL-terminated vectors of C strings, all alive through the call.
    unsafe { libc::execve(file.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    Errno::last()
}
