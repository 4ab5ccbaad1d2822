//! Making removed directories on a tmpfs.

use nix::{
    fcntl::{OFlag, open, openat},
    sys::{
        stat::{Mode, fchmod, fstat, mkdirat},
        statfs::{TMPFS_MAGIC, fstatfs},
    },
    unistd::{UnlinkatFlags, unlinkat},
};
use std::{
    env,
    ffi::OsString,
    os::fd::{AsRawFd, OwnedFd},
    process,
    sync::atomic::{AtomicU64, Ordering},
};
use vu_api::{Errno, OpenFlags};

/// A directory of a tmpfs, in which placeholders are made.
pub(crate) struct Store {
    directory: OwnedFd,
    dev: u64,
    made: AtomicU64,
}

impl Store {
    /// The first usable directory of the usual ones.
    ///
    /// A tmpfs, because on others the inode numbers of removed directories come back soon, and seeking in a directory is limited
    /// to positions the file system gave out.
    pub(crate) fn find() -> Result<Store, Errno> {
        let candidates =
            [env::var_os("XDG_RUNTIME_DIR"), Some("/dev/shm".into()), env::var_os("TMPDIR"), Some("/tmp".into())];
        for directory in candidates.into_iter().flatten() {
            if let Some(store) = Store::new(&directory) {
                return Ok(store);
            }
        }
        tracing::error!(
            "no directory for virtual files: none of $XDG_RUNTIME_DIR, /dev/shm, $TMPDIR and /tmp is a tmpfs in which \
             directories can be made; mount a tmpfs on /dev/shm, or set TMPDIR to a directory of one"
        );
        Err(Errno::EOPNOTSUPP)
    }

    fn new(directory: &OsString) -> Option<Store> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = open(directory.as_os_str(), flags, Mode::empty()).ok()?;
        if fstatfs(&directory).ok()?.filesystem_type() != TMPFS_MAGIC {
            return None;
        }
        let dev = fstat(&directory).ok()?.st_dev;
        let store = Store { directory, dev, made: AtomicU64::new(0) };
        store.open(OpenFlags::empty()).ok()?;
        Some(store)
    }

    /// The device number of the placeholders.
    pub(crate) fn dev(&self) -> u64 {
        self.dev
    }

    /// A new placeholder, and its inode number.
    pub(crate) fn open(&self, flags: OpenFlags) -> Result<(OwnedFd, u64), Errno> {
        // The mode of an O_PATH one cannot be changed.
        let by_path = flags.contains(OpenFlags::PATH);
        let fd = self.make(if by_path { OpenFlags::empty() } else { flags.intersection(visible()) })?;
        // Tracees may run as other users than the hypervisor. Done when the name is gone, so that nobody can reach it by name.
        fchmod(&fd, Mode::from_bits_truncate(0o555)).map_err(errno)?;
        let ino = fstat(&fd).map_err(errno)?.st_ino;
        if !by_path {
            return Ok((fd, ino));
        }
        // What it shows beside O_PATH. A directory leads to itself also when it has no name any more.
        let shown = flags.intersection(OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW);
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::from_bits_retain(shown.bits());
        Ok((openat(&fd, ".", flags, Mode::empty()).map_err(errno)?, ino))
    }

    /// The directory has a name only while this function runs: a hypervisor that is killed leaves nothing behind.
    fn make(&self, visible: OpenFlags) -> Result<OwnedFd, Errno> {
        loop {
            let name = format!(".umvu-{}-{}", process::id(), self.made.fetch_add(1, Ordering::Relaxed));
            match mkdirat(&self.directory, name.as_str(), Mode::S_IRWXU) {
                Ok(()) => {}
                // Another hypervisor with the same process id, in another pid namespace.
                Err(nix::Error::EEXIST) => continue,
                Err(error) => return Err(errno(error)),
            }
            let visible = OFlag::from_bits_retain(visible.bits());
            // If somebody has put something else there, it is not removed below.
            let flags = visible | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
            let fd = openat(&self.directory, name.as_str(), flags, Mode::empty());
            unlinkat(&self.directory, name.as_str(), UnlinkatFlags::RemoveDir).map_err(errno)?;
            return fd.map_err(errno);
        }
    }
}

/// The flags of a directory that its descriptors show (`F_GETFL`), but for `O_DIRECT`, which a tmpfs need not know.
fn visible() -> OpenFlags {
    OpenFlags::NONBLOCK
        | OpenFlags::NOATIME
        | OpenFlags::NOFOLLOW
        | OpenFlags::DIRECTORY
        | OpenFlags::APPEND
        | OpenFlags::SYNC
        | OpenFlags::ASYNC
}

/// The magic link to a descriptor of this process.
pub(crate) fn link_to(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

pub(crate) fn errno(error: nix::Error) -> Errno {
    Errno::new(error as i32)
}
