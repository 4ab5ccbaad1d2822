//! Error numbers as the kernel returns them.

use std::{fmt, io};

/// The errno of a failed system call, in `1..=4095` (`MAX_ERRNO` of `include/linux/err.h`).
///
/// Unlike an enum it keeps numbers it has no name for, so what the host says is passed on exactly.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Errno(i32);

macro_rules! errnos {
    ($($name:ident)*) => {
        #[allow(missing_docs, reason = "errno(3) documents each")]
        impl Errno {
            $(pub const $name: Errno = Errno(libc::$name);)*

            /// The symbolic name of errno(3), if there is one.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self.0 { $(libc::$name => Some(stringify!($name)),)* _ => None }
            }
        }
    };
}

errnos! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK
    EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE
    EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP ENODATA EOVERFLOW
    ENOTSOCK EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP
    EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ECONNABORTED ECONNRESET
    ENOBUFS EISCONN ENOTCONN ETIMEDOUT ECONNREFUSED EHOSTUNREACH EALREADY EINPROGRESS ESTALE EDQUOT
    ECANCELED EUCLEAN
}

impl Errno {
    /// The largest error number a system call can return.
    pub const MAX: i32 = 4095;

    /// An errno from its number; whatever is out of range is a defect of its source and becomes `EIO`.
    #[must_use]
    pub const fn new(raw: i32) -> Errno {
        if 0 < raw && raw <= Self::MAX { Errno(raw) } else { Errno(libc::EIO) }
    }

    /// The errno of the calling thread's last failed libc call.
    #[must_use]
    pub fn last() -> Errno {
        Errno::from(io::Error::last_os_error())
    }

    /// The positive number.
    #[must_use]
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// Whether it says nothing of the object of a call, but that whoever made it lacked descriptors or memory, or that a device failed. Who asks whether something is there must not
    /// take it for a no.
    #[must_use]
    pub const fn is_no_answer(self) -> bool {
        matches!(self, Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EIO)
    }

    /// What a system call that fails this way returns: the negative number.
    #[must_use]
    pub const fn as_result(self) -> i64 {
        -(self.0 as i64)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

/// The sentence of strerror(3).
impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = io::Error::from_raw_os_error(self.0).to_string();
        // std appends " (os error N)"; people are told the sentence only.
        f.write_str(text.split(" (os error").next().unwrap_or(&text))
    }
}

impl std::error::Error for Errno {}

/// An error that carries no errno becomes `EIO`.
impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Errno {
        error.raw_os_error().map_or(Errno::EIO, Errno::new)
    }
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_sentences() {
        assert_eq!(format!("{:?}", Errno::ENOENT), "ENOENT");
        assert_eq!(Errno::ENOENT.to_string(), "No such file or directory");
        assert_eq!(format!("{:?}", Errno::new(4000)), "errno 4000");
    }

    #[test]
    fn out_of_range_is_eio() {
        for raw in [0, -2, 4096, i32::MAX, i32::MIN] {
            assert_eq!(Errno::new(raw), Errno::EIO);
        }
        assert_eq!(Errno::ENOENT.as_result(), -2);
    }
}
