//! The modules that are linked into umvu.
//!
//! Modules announce themselves by [`vu_api::register_module!`]. A crate that is only named in `Cargo.toml` is not linked, so its
//! announcement never happens, and nothing complains: each is named here, too.

use vu_mod_unrealuidgid as _;
use vu_mod_vudev as _;
use vu_mod_vufs as _;
use vu_mod_vufuse as _;
use vu_mod_vunet as _;

use crate::failure::Failure;

/// Checks that a module of this name is linked in.
///
/// # Errors
/// A [`Failure`] that names those there are.
pub fn check(name: &str) -> Result<(), Failure> {
    let all = vu_api::modules();
    if all.iter().any(|module| module.name() == name) {
        return Ok(());
    }
    let names: Vec<&str> = all.iter().map(|module| module.name()).collect();
    Err(Failure::new(format!("there is no module '{name}'; there are: {}", names.join(", "))))
}

#[cfg(test)]
mod tests {
    /// A module crate that is forgotten above is missing here.
    #[test]
    fn every_module_is_linked_in() {
        let names: Vec<&str> = vu_api::modules().iter().map(|module| module.name()).collect();
        assert_eq!(names, ["unrealuidgid", "vudev", "vufs", "vufuse", "vunet"]);
    }

    #[test]
    fn every_submodule_is_linked_in() {
        let mut types: Vec<&str> = vu_api::modules()
            .iter()
            .flat_map(|m| vu_api::submodules(m.name()))
            .flat_map(|s| s.types())
            .copied()
            .collect();
        types.sort_unstable();
        assert_eq!(types, ["vudevnull", "vufusenull", "vufusereal", "vunetnull"]);
    }
}
