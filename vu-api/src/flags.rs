//! Flag words of the system calls.
#![allow(missing_docs, reason = "the man page named at each type documents its constants")]

use bitflags::bitflags;

bitflags! {
    /// The flags of open(2), including those of the file status (`F_GETFL`).
    ///
    /// Unknown bits are kept: the kernel's open ignores them, openat2 refuses them, and which of both
    /// applies is the caller's to know.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct OpenFlags: i32 {
        const WRONLY = libc::O_WRONLY;
        const RDWR = libc::O_RDWR;
        const CREAT = libc::O_CREAT;
        const EXCL = libc::O_EXCL;
        const NOCTTY = libc::O_NOCTTY;
        const TRUNC = libc::O_TRUNC;
        const APPEND = libc::O_APPEND;
        const NONBLOCK = libc::O_NONBLOCK;
        const DSYNC = libc::O_DSYNC;
        const SYNC = libc::O_SYNC;
        const ASYNC = libc::O_ASYNC;
        const DIRECT = libc::O_DIRECT;
        /// The kernel's value on x86_64; libc's constant is 0 there.
        const LARGEFILE = 0o100_000;
        const DIRECTORY = libc::O_DIRECTORY;
        const NOFOLLOW = libc::O_NOFOLLOW;
        const NOATIME = libc::O_NOATIME;
        const CLOEXEC = libc::O_CLOEXEC;
        const PATH = libc::O_PATH;
        const TMPFILE = libc::O_TMPFILE;
        const _ = !0;
    }

    /// The mode of access(2); the empty set is `F_OK`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct AccessMode: i32 {
        const EXECUTE = libc::X_OK;
        const WRITE = libc::W_OK;
        const READ = libc::R_OK;
    }

    /// The flags of renameat2(2).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct RenameFlags: u32 {
        const NOREPLACE = libc::RENAME_NOREPLACE;
        const EXCHANGE = libc::RENAME_EXCHANGE;
        const WHITEOUT = libc::RENAME_WHITEOUT;
    }

    /// The flags of setxattr(2).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct XattrFlags: i32 {
        const CREATE = libc::XATTR_CREATE;
        const REPLACE = libc::XATTR_REPLACE;
    }

    /// The flags of mount(2), `MS_*`; unknown ones are kept.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct MountFlags: u64 {
        const RDONLY = libc::MS_RDONLY;
        const NOSUID = libc::MS_NOSUID;
        const NODEV = libc::MS_NODEV;
        const NOEXEC = libc::MS_NOEXEC;
        const SYNCHRONOUS = libc::MS_SYNCHRONOUS;
        const REMOUNT = libc::MS_REMOUNT;
        const NOATIME = libc::MS_NOATIME;
        const NODIRATIME = libc::MS_NODIRATIME;
        const BIND = libc::MS_BIND;
        const MOVE = libc::MS_MOVE;
        const REC = libc::MS_REC;
        const SILENT = libc::MS_SILENT;
        const RELATIME = libc::MS_RELATIME;
        const STRICTATIME = libc::MS_STRICTATIME;
        const LAZYTIME = libc::MS_LAZYTIME;
        const _ = !0;
    }
}

impl OpenFlags {
    /// Whether the description will be readable.
    #[must_use]
    pub fn reads(self) -> bool {
        !self.contains(OpenFlags::WRONLY)
    }

    /// Whether opening asks for write permission: write access, or truncation (open(2)).
    #[must_use]
    pub fn writes(self) -> bool {
        self.intersects(OpenFlags::WRONLY | OpenFlags::RDWR | OpenFlags::TRUNC)
    }

    /// Whether a final symbolic link is not followed: `O_NOFOLLOW`, or `O_CREAT` with `O_EXCL`.
    #[must_use]
    pub fn nofollow(self) -> bool {
        self.contains(OpenFlags::NOFOLLOW) || self.contains(OpenFlags::CREAT.union(OpenFlags::EXCL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_flags_keep_what_they_do_not_know() {
        assert_eq!(OpenFlags::from_bits_retain(-1).bits(), -1);
        assert!(OpenFlags::empty().reads() && !OpenFlags::empty().writes());
        assert!(OpenFlags::TRUNC.writes());
        assert!(!OpenFlags::CREAT.nofollow() && (OpenFlags::CREAT | OpenFlags::EXCL).nofollow());
    }
}
