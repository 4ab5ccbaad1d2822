//! `vufs`: file system patchworking. `mount -t vufs A B` puts one part of the tree over another.
//!
//! What it does with the two is its *mode*: with [`bind`](Bind) A takes B's place; with `merge`, `cow` and `mincow` both are shown as one ([`Union`]).
//!
//! It never touches the host itself: everything goes through the layer below, so A may be a directory of the host, of
//! another vufs mount, or of an image.
#![forbid(unsafe_code)]

mod bind;
mod changes;
mod options;
mod stored;
mod union;

pub use bind::Bind;
pub use changes::{Change, Difference, Unreadable, changes};
pub use options::{Mode, Options};
pub use stored::{Xattrs, store_xattrs, stored_xattrs};
pub use union::{Attributes, Kind, Union, copy_content};

use std::sync::Arc;
use vu_api::{Errno, Module, MountRequest, MountWords, Mounted};

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

    /// What vufs opens is the backing file itself, but for directories that two trees have a part in.
    fn virtual_files(&self, words: &MountWords) -> bool {
        Options::parse(words).is_ok_and(|options| options.mode != Mode::Bind)
    }

    fn mount(&self, request: &MountRequest<'_>) -> Result<Mounted, Errno> {
        let Options { mode, except, attributes } = Options::parse(request.words).map_err(|error| {
            tracing::warn!("vufs on {}: {error}", request.target);
            Errno::EINVAL
        })?;
        let Some(source) = request.source_path.clone() else {
            tracing::info!("vufs on {}: the source {} does not exist", request.target, request.source.escape_ascii());
            return Err(Errno::ENOENT);
        };
        let below = request.below.clone();
        Ok(Mounted::Filesystem(match Kind::of(mode) {
            None => Arc::new(Bind::new(below, source, except)),
            Some(kind) => {
                let target = request.target.clone();
                let union = Union::new(below, source, target, kind, except, attributes).inspect_err(|errno| {
                    tracing::info!(
                        "vufs on {}: both the source and the mount point must be directories: {errno}",
                        request.target
                    );
                })?;
                Arc::new(union)
            }
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
        let virtual_files = |words: &str| module.virtual_files(&MountWords::parse(words.as_bytes()).unwrap());
        assert!(!virtual_files("") && !virtual_files("bind,except=/x") && virtual_files("cow"));
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
        for words in ["bogus", "bind,cows", "except", "except=a", "except=/", "bind=1"] {
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
