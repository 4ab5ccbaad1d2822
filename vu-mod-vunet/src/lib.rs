//! `vunet`: network stacks. `mount -t vunetTYPE SOURCE /dev/net/NAME` makes a stack appear, which `vustack` chooses.
//!
//! The module itself makes nothing; each type is a *submodule* ([`Submodule`](vu_api::Submodule)), which may live in any crate and
//! makes a [`Stack`](vu_api::Stack). [`null`] is the example.
#![forbid(unsafe_code)]

mod families;
pub mod null;

pub use families::Families;

use vu_api::{Module, MountWords};

/// The module.
pub struct Vunet;

vu_api::register_module!(Vunet);

impl Module for Vunet {
    fn name(&self) -> &'static str {
        "vunet"
    }

    fn description(&self) -> &'static str {
        "network stacks"
    }

    /// Sockets are never placeholders: a stack gives out real ones, or ends of socket pairs.
    fn virtual_files(&self, _words: &MountWords) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_claims_the_types_of_its_submodules() {
        let module = vu_api::modules().into_iter().find(|m| m.name() == "vunet").unwrap();
        assert!(module.claims("vunetnull") && !module.claims("vunetreal") && !module.claims("vufs"));
    }
}
