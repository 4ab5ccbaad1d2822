//! `vufs`: file system patchworking. `mount -t vufs A B` puts one part of the tree over another.
//!
//! What it does with the two is its *mode*. Of the modes this crate has [`bind`](Bind): A takes B's place.
//!
//! It never touches the host itself: everything goes through the layer below, so A may be a directory of the host, of
//! another vufs mount, or of an image.
#![forbid(unsafe_code)]

mod bind;
mod options;

pub use bind::Bind;
pub use options::{Mode, Options};

use std::sync::Arc;
use vu_api::{Errno, Module, MountRequest, Mounted};

/// The module.
pub struct Vufs;

vu_api::register_module!(Vufs);

impl Module for Vufs {
    fn name(&self) -> &'static str {
        "vufs"
    }

    fn description(&self) -> &'static str {
        "vu filesystem patchworking"
    }

    /// What vufs opens is the backing file itself.
    fn virtual_files(&self) -> bool {
        false
    }

    fn mount(&self, request: &MountRequest<'_>) -> Result<Mounted, Errno> {
        let Options { mode, except } = Options::parse(request.words).map_err(|error| {
            tracing::warn!("vufs on {}: {error}", request.target);
            Errno::EINVAL
        })?;
        let Some(source) = request.source_path.clone() else {
            tracing::warn!("vufs on {}: the source {} does not exist", request.target, request.source.escape_ascii());
            return Err(Errno::ENOENT);
        };
        Ok(Mounted::Filesystem(match mode {
            Mode::Bind => Arc::new(Bind::new(request.below.clone(), source, except)),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vu_api::{
        Filesystem,
        testing::{DirTree, Objects, mount_fs, path},
    };

    fn mount(source: &str, words: &str) -> Result<Arc<dyn Filesystem>, Errno> {
        let below = DirTree::new(env!("CARGO_MANIFEST_DIR"), Objects::Host);
        mount_fs(&Vufs, "vufs", source, words, below)
    }

    #[test]
    fn it_is_registered_and_claims_its_type_only() {
        let module = vu_api::modules().into_iter().find(|m| m.name() == "vufs").unwrap();
        assert_eq!(module.description(), "vu filesystem patchworking");
        assert!(module.claims("vufs") && !module.claims("vufsx") && !module.claims("vufuse"));
        assert!(!module.virtual_files());
    }

    #[test]
    fn a_source_that_does_not_exist() {
        for source in ["/no such", "", "src"] {
            assert_eq!(mount(source, "").err(), Some(Errno::ENOENT), "{source:?}");
        }
    }

    #[test]
    fn words() {
        for words in ["", "bind", "move", "bind,except=/a,except='/b,c'"] {
            assert!(mount("/", words).is_ok(), "{words}");
        }
        for words in ["bogus", "merge", "cow", "mincow", "bind,cow", "except", "except=a", "except=/", "bind=1"] {
            assert_eq!(mount("/", words).err(), Some(Errno::EINVAL), "{words}");
        }
    }

    #[test]
    fn exceptions_reach_the_mount() {
        let fs = mount("/", "except=/etc").unwrap();
        assert!(fs.declines(&path("/etc/passwd")));
        assert!(!fs.declines(&path("/usr")));
    }
}
