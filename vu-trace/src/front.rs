//! The front of a view: the process that umvu's caller started. It mirrors the command: when it stops or ends, and how.

use crate::launch::{GOES_ON, HANG_UP, STOPS, TERMINATE};
use std::{
    io::Write,
    os::{fd::AsRawFd, unix::net::UnixStream},
    sync::atomic::{AtomicI32, Ordering},
    thread,
    time::Duration,
};
use vu_api::Errno;

/// Where the signal handler writes to.
static CONTROL: AtomicI32 = AtomicI32::new(-1);

/// How long a signal to a whole process group may take from one process to the next.
const SAME_MOMENT: Duration = Duration::from_millis(10);

/// The status wait(2) tells, or `None` if there is no such child, or nothing to tell yet.
pub(crate) fn wait(child: i32, options: i32) -> Option<i32> {
    let mut status = 0;
    loop {
        // SAFETY: the kernel writes one int.
        let got = unsafe { libc::waitpid(child, &raw mut status, options) };
        if got == child {
            return Some(status);
        }
        if got == 0 || Errno::last() != Errno::EINTR {
            return None;
        }
    }
}

pub(crate) fn set_signal(signal: i32, handler: libc::sighandler_t) {
    // SAFETY: the handlers used are SIG_IGN, SIG_DFL and `ask_to_end`, which is async-signal-safe.
    unsafe { libc::signal(signal, handler) };
}

/// The terminal's signals are the command's; ours are requests to end the view in order.
pub(crate) fn take_signals(control: &UnixStream) {
    CONTROL.store(control.as_raw_fd(), Ordering::SeqCst);
    // Where it is ignored, a child leaves no status behind (wait(2)).
    set_signal(libc::SIGCHLD, libc::SIG_DFL);
    for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP] {
        set_signal(signal, libc::SIG_IGN);
    }
    // Who ignores it is not told how his children ended (wait(2)); our caller may have, and the command still does.
    set_signal(libc::SIGCHLD, libc::SIG_DFL);
    for signal in [libc::SIGTERM, libc::SIGHUP] {
        let ask = ask_to_end as *const () as libc::sighandler_t;
        // SAFETY: as above. What was ignored from the start (nohup(1)) stays so.
        if unsafe { libc::signal(signal, ask) } == libc::SIG_IGN {
            set_signal(signal, libc::SIG_IGN);
        }
    }
}

extern "C" fn ask_to_end(signal: i32) {
    let message = [if signal == libc::SIGHUP { HANG_UP } else { TERMINATE }];
    // SAFETY: write(2) is async-signal-safe, and the byte lives through the call.
    unsafe { libc::write(CONTROL.load(Ordering::SeqCst), message.as_ptr().cast(), 1) };
}

/// The command's status when it stops or ends. Whoever else ends meanwhile is let go: where the front is the init of a pid namespace (a container's command), or a subreaper, processes whose
/// parents have ended become its children, and their numbers are taken until it waits for them.
fn wait_as_init(command: i32) -> Option<i32> {
    loop {
        let mut status = 0;
        // SAFETY: the kernel writes one int.
        let got = unsafe { libc::waitpid(-1, &raw mut status, libc::WUNTRACED) };
        if got == command {
            return Some(status);
        }
        if got < 0 && Errno::last() != Errno::EINTR {
            return None;
        }
    }
}

/// Waits for the command, stops when it stops, and returns its status as a shell tells it.
pub(crate) fn mirror(command: i32, control: &mut UnixStream) -> i32 {
    let mut told = wait_as_init(command);
    while let Some(status) = told {
        if libc::WIFEXITED(status) {
            return libc::WEXITSTATUS(status);
        }
        if libc::WIFSIGNALED(status) {
            return 128 + libc::WTERMSIG(status);
        }
        if !libc::WIFSTOPPED(status) {
            told = wait_as_init(command);
            continue;
        }
        // The shell that waits for us is to see the job stopped. It continues the whole process group. If somebody continues the
        // command only, the hypervisor, who is told first, continues us.
        let _ = control.write_all(&[STOPS]);
        // SAFETY: no memory is involved.
        unsafe { libc::raise(libc::SIGSTOP) };
        let _ = control.write_all(&[GOES_ON]);
        // And if somebody continued us only, he meant the command.
        thread::sleep(SAME_MOMENT);
        told = wait(command, libc::WCONTINUED | libc::WNOHANG | libc::WUNTRACED);
        if told.is_none() {
            // SAFETY: no memory is involved.
            unsafe { libc::kill(command, libc::SIGCONT) };
            told = wait_as_init(command);
        }
    }
    1
}
