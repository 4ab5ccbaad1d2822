//! `vudevnull`: a character device that swallows what is written and has nothing to read.

use crate::{Attributes, Device, Known, SpecialFile};
use std::sync::Arc;
use vu_api::{
    AbsPath, Caller, Errno, FileType, Filesystem, MountRequest, Mounted, OpenFlags, OpenHow, Opened, Stat, Submodule,
};

/// The submodule.
pub struct VudevNull;

vu_api::register_submodule!(VudevNull);

impl Submodule for VudevNull {
    fn module(&self) -> &'static str {
        "vudev"
    }

    fn types(&self) -> &'static [&'static str] {
        &["vudevnull"]
    }

    fn description(&self) -> &'static str {
        "a character device that swallows"
    }

    /// The source is ignored.
    fn mount(&self, request: &MountRequest<'_>) -> Result<Mounted, Errno> {
        let attributes = Attributes::parse(request.words, |_, _| Ok(Known::No)).map_err(|error| {
            tracing::warn!("vudevnull on {}: {error}", request.target);
            Errno::EINVAL
        })?;
        let null = Null { below: request.below.clone(), path: AbsPath::root().child(b"dev").child(b"null") };
        if !null.stat().is_ok_and(|stat| stat.file_type() == FileType::CharDevice) {
            tracing::warn!("vudevnull on {}: there is no character device {} to back it", request.target, null.path);
            return Err(Errno::ENODEV);
        }
        Ok(Mounted::Filesystem(Arc::new(SpecialFile::new(Box::new(null), attributes))))
    }
}

/// The null device of the layer below: what a tracee opens is that one, so that every call on it is the kernel's.
struct Null {
    below: Arc<dyn Filesystem>,
    path: AbsPath,
}

impl Device for Null {
    fn stat(&self) -> Result<Stat, Errno> {
        self.below.stat(&self.path)
    }

    fn open(&self, flags: OpenFlags, caller: &dyn Caller) -> Result<Opened, Errno> {
        self.below.open(&self.path, &OpenHow { flags, mode: 0 }, caller)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Vudev;
    use std::{
        fs::File,
        io::{Read, Write},
    };
    use vu_api::testing::{As, DirTree, Objects, mount_fs, path};

    fn mount(words: &str) -> Result<Arc<dyn Filesystem>, Errno> {
        mount_fs(&Vudev, "vudevnull", "none", words, DirTree::new("/", Objects::Host))
    }

    #[test]
    fn it_swallows() {
        let how = OpenHow { flags: OpenFlags::RDWR, mode: 0 };
        let opened = mount("").unwrap().open(&path("/"), &how, &As::user(1000)).unwrap();
        let Opened::Host(fd) = opened else { panic!("not a host file") };
        let mut file = File::from(fd);
        file.write_all(b"gone").unwrap();
        let mut left = Vec::new();
        file.read_to_end(&mut left).unwrap();
        assert!(left.is_empty());
    }

    #[test]
    fn it_looks_as_the_words_say() {
        let host = DirTree::new("/", Objects::Host).stat(&path("/dev/null")).unwrap();
        assert_eq!(mount("").unwrap().stat(&path("/")), Ok(host));
        let stat = mount("mode=0604,uid=5,major=200").unwrap().stat(&path("/")).unwrap();
        assert_eq!((stat.mode, stat.uid, stat.gid), (0o020_604, 5, host.gid));
        assert_eq!(stat.rdev, nix::sys::stat::makedev(200, 3));
    }

    #[test]
    fn refusals() {
        for words in ["bogus", "mode=rw", "size=1M"] {
            assert_eq!(mount(words).err(), Some(Errno::EINVAL), "{words}");
        }
        let empty = tempfile::tempdir().unwrap();
        let nothing_there = mount_fs(&Vudev, "vudevnull", "none", "", DirTree::new(empty.path(), Objects::Host));
        assert_eq!(nothing_there.err(), Some(Errno::ENODEV));
    }
}
