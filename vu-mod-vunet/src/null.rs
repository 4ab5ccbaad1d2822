//! `vunetnull`: no network.

use crate::Families;
use std::sync::Arc;
use vu_api::{Errno, Family, MountRequest, Mounted, Opened, Stack, Submodule};

/// The submodule.
pub struct VunetNull;

vu_api::register_submodule!(VunetNull);

impl Submodule for VunetNull {
    fn module(&self) -> &'static str {
        "vunet"
    }

    fn types(&self) -> &'static [&'static str] {
        &["vunetnull"]
    }

    fn description(&self) -> &'static str {
        "no network"
    }

    /// The words are the families that it takes; none means all. The source is ignored.
    fn mount(&self, request: &MountRequest<'_>) -> Result<Mounted, Errno> {
        let refuse = |word: &str| {
            tracing::warn!(
                "vunetnull on {}: {word:?} is not an address family; inet, inet6, 16, all are",
                request.target
            );
            Errno::EINVAL
        };
        if let Some((word, Some(_))) = request.words.iter().find(|(_, value)| value.is_some()) {
            return Err(refuse(word));
        }
        let families = Families::parse(request.words.iter().map(|(name, _)| name)).map_err(refuse)?;
        Ok(Mounted::Stack(Arc::new(Null { families })))
    }
}

struct Null {
    families: Families,
}

impl Stack for Null {
    fn supports(&self, family: Family) -> bool {
        self.families.contains(family)
    }

    /// What socket(2) says on a kernel that was built without the family.
    fn socket(&self, _family: Family, _kind: i32, _protocol: i32) -> Result<Opened, Errno> {
        Err(Errno::EAFNOSUPPORT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Vunet;
    use vu_api::testing::{DirTree, Objects, mount};

    fn stack(words: &str) -> Result<Arc<dyn Stack>, Errno> {
        match mount(&Vunet, "vunetnull", "none", words, DirTree::new("/", Objects::Host))? {
            Mounted::Stack(stack) => Ok(stack),
            Mounted::Filesystem(_) => panic!("not a stack"),
        }
    }

    #[test]
    fn there_is_no_network() {
        let stack = stack("").unwrap();
        assert!(stack.supports(Family::INET) && !stack.supports(Family::UNIX));
        let socket = stack.socket(Family::INET, libc::SOCK_STREAM, 0);
        assert_eq!(socket.err(), Some(Errno::EAFNOSUPPORT));
    }

    #[test]
    fn words_choose_families() {
        let stack = stack("inet,inet6").unwrap();
        assert!(stack.supports(Family::INET6) && !stack.supports(Family::NETLINK));
    }

    #[test]
    fn other_words_are_refused() {
        for words in ["bogus", "unix", "families=inet", "inet,mode=1"] {
            assert_eq!(stack(words).err(), Some(Errno::EINVAL), "{words}");
        }
    }
}
