//! `vudev`: virtual devices. `mount -t vudevTYPE SOURCE /dev/NAME` makes a special file appear.
//!
//! The module itself makes nothing; each type is a *submodule* ([`Submodule`](vu_api::Submodule)), which may live in any crate.
//! A submodule implements [`Device`] and mounts a [`SpecialFile`] of it, which keeps the attributes of the file (`mode=`, `uid=`,
//! `gid=`, `major=`, `minor=`, and what chmod, chown and utimens make of them) and checks permissions. [`null`] is the example.
#![forbid(unsafe_code)]

mod attributes;
pub mod null;
mod special;

pub use attributes::{Attributes, Known, WordError};
pub use special::{Device, SpecialFile};

use vu_api::{Module, MountWords};

/// The module.
pub struct Vudev;

vu_api::register_module!(Vudev);

impl Module for Vudev {
    fn name(&self) -> &'static str {
        "vudev"
    }

    fn description(&self) -> &'static str {
        "virtual devices"
    }

    /// Every device so far is backed by a device of the layer below.
    fn virtual_files(&self, _words: &MountWords) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_claims_the_types_of_its_submodules() {
        let module = vu_api::modules().into_iter().find(|m| m.name() == "vudev").unwrap();
        assert!(module.claims("vudevnull") && !module.claims("vudevzero") && !module.claims("vufs"));
    }
}
