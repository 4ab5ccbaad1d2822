//! Whether the host lets a view run, and what to do if not.

use std::{fs, io};
use thiserror::Error;
use vu_api::Errno;

/// What keeps the host from running a view; each message names the cause and the remedy.
#[derive(Debug, Error)]
pub enum Hindrance {
    /// A system call that is not there or not allowed.
    #[error("{cause}; {remedy}")]
    Forbidden {
        /// What is missing.
        cause: String,
        /// What helps.
        remedy: &'static str,
    },
    /// A process could not be started.
    #[error("the view cannot be started: {0}")]
    Start(#[source] io::Error),
}

impl Hindrance {
    pub(crate) fn start(error: io::Error) -> Hindrance {
        Hindrance::Start(error)
    }

    fn forbidden(cause: impl Into<String>, remedy: &'static str) -> Hindrance {
        Hindrance::Forbidden { cause: cause.into(), remedy }
    }
}

const SECCOMP_GET_ACTION_AVAIL: libc::c_ulong = 2;
const SECCOMP_RET_USER_NOTIF: u32 = 0x7fc0_0000;

/// Looks for what the kernel must have: seccomp with user notification (5.0, and 5.14 for answering with a descriptor), and openat2 (5.6).
pub(crate) fn kernel() -> Result<(), Hindrance> {
    // SAFETY: the kernel reads one u32; openat2 gets a length of 0, which it refuses before it looks at anything.
    let (notification, openat2) = unsafe {
        let action = SECCOMP_RET_USER_NOTIF;
        let notification = libc::syscall(libc::SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &raw const action);
        let notification = if notification == 0 { None } else { Some(Errno::last()) };
        libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, c"/".as_ptr(), std::ptr::null::<u8>(), 0);
        (notification, Errno::last())
    };
    match notification {
        None => {}
        Some(Errno::EPERM | Errno::EACCES) => return Err(no_filter(Errno::EPERM)),
        Some(_) => {
            return Err(Hindrance::forbidden(
                "this kernel has no seccomp user notification",
                "umvu needs Linux 5.14 or newer with CONFIG_SECCOMP_FILTER",
            ));
        }
    }
    match openat2 {
        Errno::ENOSYS => Err(Hindrance::forbidden(
            "this kernel has no openat2 system call",
            "umvu needs Linux 5.14 or newer; a container's old seccomp profile hides the call, too",
        )),
        Errno::EPERM => Err(Hindrance::forbidden(
            "the openat2 system call is forbidden here",
            "start the container with a seccomp profile that allows openat2 (docker run --security-opt seccomp=unconfined)",
        )),
        _ => Ok(()),
    }
}

/// Why a filter cannot be installed.
pub(crate) fn no_filter(errno: Errno) -> Hindrance {
    let cause = format!("a seccomp filter cannot be installed here ({errno})");
    let remedy = match errno {
        Errno::EPERM | Errno::EACCES => {
            "a container forbids it: start the container with --security-opt seccomp=unconfined or a profile that allows seccomp"
        }
        Errno::ENOSYS | Errno::EINVAL => "umvu needs a kernel with CONFIG_SECCOMP_FILTER",
        _ => "see dmesg for the reason",
    };
    Hindrance::forbidden(cause, remedy)
}

/// Why a process cannot be traced.
pub(crate) fn no_ptrace(errno: Errno) -> Hindrance {
    let yama = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    match (errno, yama.trim()) {
        (Errno::EPERM | Errno::EACCES, "3") => Hindrance::forbidden(
            "ptrace is switched off on this host (kernel.yama.ptrace_scope is 3)",
            "root must boot it with a lower value; 3 cannot be lowered while the system runs",
        ),
        (Errno::EPERM | Errno::EACCES, "2") => Hindrance::forbidden(
            "only root may use ptrace on this host (kernel.yama.ptrace_scope is 2)",
            "root can allow it by: sysctl kernel.yama.ptrace_scope=1",
        ),
        (Errno::ENOSYS, _) => Hindrance::forbidden(
            "this kernel has no ptrace",
            "umvu needs a kernel with ptrace; gVisor and the like do not do",
        ),
        _ => Hindrance::forbidden(
            format!("processes cannot be traced here ({errno})"),
            "a container or sandbox forbids ptrace: start it with --cap-add=SYS_PTRACE or --security-opt seccomp=unconfined, and not below another debugger",
        ),
    }
}
