//! `vufuse`: file systems served by the hypervisor, visible in the view only.
//!
//! The module itself makes nothing; each type of mount is a *submodule* ([`Submodule`](vu_api::Submodule)), which may live
//! in any crate and announces itself with [`register_submodule!`](vu_api::register_submodule). As FUSE does, it may
//! serve its files in one of two ways:
//!
//! * **by path**: it implements [`Filesystem`](vu_api::Filesystem), as libfuse's `fuse_operations` do. [`real`] does.
//! * **by inode**: it implements [`InodeFs`] (`lookup`, `getattr`, `readdir` …), as libfuse's low-level API and most file
//!   systems written in Rust do, and mounts a [`ByInode`] of it, which walks the paths, checks permissions, and opens
//!   directories. [`null`] does. So far a `ByInode` is read-only, as an archive, an ISO image, or a squashfs is.
//!
//! Whichever way, an opened directory is a virtual file, and a regular file is a descriptor that behaves as the file: the
//! backing file itself, or a memfd with its content.
#![forbid(unsafe_code)]

mod device;
mod inode;
pub mod null;
pub mod real;

pub use device::new_device;
pub use inode::{ByInode, InodeFs, ROOT};

use vu_api::{Errno, Module, MountRequest};

/// The module.
pub struct Vufuse;

vu_api::register_module!(Vufuse);

impl Module for Vufuse {
    fn name(&self) -> &'static str {
        "vufuse"
    }

    fn description(&self) -> &'static str {
        "file systems in user space"
    }
}

/// Refuses every data word, as file systems without options do; the log says which word it was.
///
/// # Errors
/// `EINVAL` if there is a word.
pub fn no_words(request: &MountRequest<'_>) -> Result<(), Errno> {
    let Some(word) = request.words.unknown(&[], &[]) else { return Ok(()) };
    tracing::warn!("{} on {}: unknown mount option {word:?}; it has none of its own", request.fs_type, request.target);
    Err(Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_claims_the_types_of_its_submodules() {
        let module = vu_api::modules().into_iter().find(|m| m.name() == "vufuse").unwrap();
        for (fs_type, claimed) in [("vufusenull", true), ("vufusereal", true), ("vufusex", false), ("vufs", false)] {
            assert_eq!(module.claims(fs_type), claimed, "{fs_type}");
        }
    }
}
