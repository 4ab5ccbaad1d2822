//! Descriptors of what belongs to tracees, kept as long as there are enough of them.
//!
//! Each process has a directory in `/proc`, a working directory and, if its descriptors are looked at, a pidfd. They are kept open, since opening them anew would cost
//! more than most calls do. But the hypervisor's descriptors are limited, and processes may be many: beyond half of the limit nothing more is kept, and what is
//! needed is opened for the one call.

use nix::sys::resource::{Resource, getrlimit};
use parking_lot::Mutex;
use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};
use vu_api::Errno;

/// How many are kept now.
static KEPT: AtomicU64 = AtomicU64::new(0);
/// How many may be.
static MOST: LazyLock<u64> = LazyLock::new(|| getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft / 2));

/// An open descriptor that may be kept, or may be needed once only.
#[derive(Debug)]
pub struct Kept {
    fd: OwnedFd,
    counts: bool,
}

impl Kept {
    /// Takes a descriptor.
    #[must_use]
    pub fn new(fd: OwnedFd) -> Kept {
        Kept::among(fd, *MOST)
    }

    fn among(fd: OwnedFd, most: u64) -> Kept {
        let counts = KEPT.fetch_add(1, Ordering::Relaxed) < most;
        if !counts {
            KEPT.fetch_sub(1, Ordering::Relaxed);
        }
        Kept { fd, counts }
    }

    /// Whether it may be kept.
    #[must_use]
    pub fn may_stay(&self) -> bool {
        self.counts
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.counts {
            KEPT.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl AsFd for Kept {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A place for one that is always the same, once it is open.
#[derive(Debug, Default)]
pub struct Keep(Mutex<Option<Arc<Kept>>>);

impl Keep {
    /// The descriptor; opened if it is not kept.
    ///
    /// # Errors
    /// Those of `open`.
    pub fn get(&self, open: impl FnOnce() -> Result<OwnedFd, Errno>) -> Result<Arc<Kept>, Errno> {
        self.get_among(*MOST, open)
    }

    fn get_among(&self, most: u64, open: impl FnOnce() -> Result<OwnedFd, Errno>) -> Result<Arc<Kept>, Errno> {
        if let Some(kept) = &*self.0.lock() {
            return Ok(kept.clone());
        }
        let kept = Arc::new(Kept::among(open()?, most));
        if kept.may_stay() {
            *self.0.lock() = Some(kept.clone());
        }
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::Cell, fs::File};

    #[test]
    fn what_is_scarce_is_opened_again() {
        let opened = Cell::new(0);
        let open = || {
            opened.set(opened.get() + 1);
            Ok(File::open("/dev/null").unwrap().into())
        };
        let keep = Keep::default();
        for _ in 0..3 {
            assert!(!keep.get_among(0, open).unwrap().may_stay());
        }
        assert_eq!(opened.get(), 3);
        for _ in 0..3 {
            assert!(keep.get_among(u64::MAX, open).unwrap().may_stay());
        }
        assert_eq!(opened.get(), 4);
        assert_eq!(
            keep.get_among(u64::MAX, || Err(Errno::EMFILE)).map(|kept| kept.may_stay()),
            Ok(true),
            "open already"
        );
        assert_eq!(Keep::default().get(|| Err(Errno::ESRCH)).map(drop), Err(Errno::ESRCH));
    }
}
