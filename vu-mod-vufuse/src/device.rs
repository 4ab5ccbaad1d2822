//! Device numbers for file systems without a device.

use std::sync::atomic::{AtomicU32, Ordering};

/// A number for `st_dev` that no other mount has.
///
/// Linux gives file systems without a device major number 0 and minor numbers from below (`get_anon_bdev`, `fs/super.c`);
/// these count down from the largest minor number, 2²⁰ − 1, so that the two do not meet.
#[must_use]
pub fn new_device() -> u64 {
    static MADE: AtomicU32 = AtomicU32::new(0);
    const MINORS: u32 = 1 << 20;
    let minor = MINORS - 1 - MADE.fetch_add(1, Ordering::Relaxed) % MINORS;
    nix::sys::stat::makedev(0, minor.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::{major, minor};

    #[test]
    fn numbers_differ_and_are_high() {
        let (a, b) = (new_device(), new_device());
        assert_ne!(a, b);
        assert_eq!(major(a), 0);
        assert!(minor(a) > 1 << 19);
    }
}
