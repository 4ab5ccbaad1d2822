//! The umask of a caller, put on for what the hypervisor makes in its place.
//!
//! A mode without the umask's bits would not do: where the directory has a default access control list, the kernel leaves the umask alone
//! (`posix_acl_create`, `fs/posix_acl.c`).

use nix::{
    sched::{CloneFlags, unshare},
    sys::stat::{Mode, umask},
};
use std::{cell::Cell, marker::PhantomData};

thread_local! {
    /// Whether this thread has a umask of its own; `None` before it was tried.
    static OWN: Cell<Option<bool>> = const { Cell::new(None) };
}

/// While it lives, this thread makes files with a caller's umask; otherwise with none.
pub struct Worn(
    /// It belongs to the thread that made it.
    PhantomData<*const ()>,
);

impl Worn {
    /// `None` where a sandbox forbids threads a umask of their own.
    #[must_use]
    pub fn new(mask: u32) -> Option<Worn> {
        let own = OWN.get().unwrap_or_else(|| {
            let own = unshare(CloneFlags::CLONE_FS).is_ok();
            OWN.set(Some(own));
            own
        });
        own.then(|| {
            umask(Mode::from_bits_truncate(mask));
            Worn(PhantomData)
        })
    }
}

impl Drop for Worn {
    fn drop(&mut self) {
        umask(Mode::empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt, thread};

    #[test]
    fn it_is_one_thread_s_and_for_a_while() {
        let directory = tempfile::tempdir().unwrap();
        let made = |name: &str| {
            let path = directory.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::metadata(path).unwrap().permissions().mode() & 0o777
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                let worn = Worn::new(0o27).unwrap();
                assert_eq!(made("masked"), 0o750);
                drop(worn);
                assert_eq!(made("bare"), 0o777);
            });
        });
        assert_ne!(made("other"), 0o777, "the umask of the other threads is their own");
    }
}
