//! execvp(3) with an environment, for the command of a view.

use std::{
    ffi::{CStr, CString},
    ptr,
};
use vu_api::Errno;

/// Executes the program `argv[0]`, looked up on `path` if it has no slash; returns only the error.
///
/// As execvp(3) does, a file that is no program is run by `/bin/sh`, and `EACCES` is told only if a file was found that may not be executed, and no other.
/// `SIGPIPE`, which Rust's runtime ignores, is as it was.
#[must_use]
pub fn execute_on_path(argv: &[CString], envp: &[CString], path: &[u8]) -> Errno {
    let Some(name) = argv.first() else { return Errno::EINVAL };
    // SAFETY: the default action is no handler of ours.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
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
