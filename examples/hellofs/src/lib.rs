//! `vumount -t hellofs 'Hello, world' /tmp/hello` makes a read-only file that holds the source's text.
//!
//! To use it: copy this crate, name it in vu-tools' `Cargo.toml` and, as `use hellofs as _;`, in `src/modules.rs`.
#![forbid(unsafe_code)]

use nix::sys::memfd::{MFdFlags, memfd_create};
use std::{fs::File, fs::Permissions, io::Write, os::fd::AsRawFd, os::unix::fs::PermissionsExt, sync::Arc};
use vu_api::{AbsPath, AccessMode, Caller, Errno, FileType, Filesystem, Module, MountRequest, MountWords, Mounted};
use vu_api::{OpenHow, Opened, Probe, Stat};

struct Hello;

vu_api::register_module!(Hello);

impl Module for Hello {
    fn name(&self) -> &'static str {
        "hellofs"
    }

    fn description(&self) -> &'static str {
        "a file with a greeting"
    }

    /// What it opens is a kernel object.
    fn virtual_files(&self, _words: &MountWords) -> bool {
        false
    }

    fn mount(&self, request: &MountRequest<'_>) -> Result<Mounted, Errno> {
        if request.words.unknown(&[], &[]).is_some() {
            return Err(Errno::EINVAL);
        }
        // The content is a kernel object, so that reading, seeking and mmap are the kernel's business, not ours.
        let memfd = memfd_create("hellofs", MFdFlags::MFD_CLOEXEC).map_err(|errno| Errno::new(errno as i32))?;
        let mut content = File::from(memfd);
        content.write_all(request.source)?;
        content.write_all(b"\n")?;
        content.set_permissions(Permissions::from_mode(0o444))?;
        Ok(Mounted::Filesystem(Arc::new(Greeting { content })))
    }
}

/// A file system whose root, the mount point, is a file.
struct Greeting {
    content: File,
}

impl Filesystem for Greeting {
    fn probe(&self, path: &AbsPath) -> Result<Probe, Errno> {
        self.stat(path).map(|_| Probe::Found { file_type: Some(FileType::Regular), handle: None })
    }

    fn stat(&self, path: &AbsPath) -> Result<Stat, Errno> {
        if path.is_root() { Ok(Stat::from(&self.content.metadata()?)) } else { Err(Errno::ENOTDIR) }
    }

    fn open(&self, path: &AbsPath, how: &OpenHow, caller: &dyn Caller) -> Result<Opened, Errno> {
        self.access(path, AccessMode::READ, caller)?;
        if how.flags.writes() {
            return Err(Errno::EROFS);
        }
        // A new description, with an offset of its own, that cannot write.
        Ok(Opened::Host(File::open(format!("/proc/self/fd/{}", self.content.as_raw_fd()))?.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use vu_api::OpenFlags;
    use vu_api::testing::{As, DirTree, Objects, mount_fs, path};

    fn mount(words: &str) -> Result<Arc<dyn Filesystem>, Errno> {
        mount_fs(&Hello, "hellofs", "Hello, world", words, DirTree::new("/", Objects::Host))
    }

    fn open(flags: OpenFlags) -> Result<File, Errno> {
        match mount("")?.open(&path("/"), &OpenHow { flags, mode: 0 }, &As::user(1000))? {
            Opened::Host(fd) => Ok(fd.into()),
            Opened::Virtual(_) => panic!("not a kernel object"),
        }
    }

    #[test]
    fn it_greets_every_reader_from_the_start() {
        for _ in 0..2 {
            let mut text = String::new();
            open(OpenFlags::empty()).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "Hello, world\n");
        }
        let stat = mount("").unwrap().stat(&path("/")).unwrap();
        assert_eq!((stat.mode, stat.size), (0o100_444, 13));
    }

    #[test]
    fn it_cannot_be_changed() {
        assert_eq!(open(OpenFlags::RDWR).err(), Some(Errno::EROFS));
        assert!(open(OpenFlags::empty()).unwrap().write_all(b"x").is_err());
    }

    #[test]
    fn it_is_a_file_without_options_and_a_module() {
        assert_eq!(mount("").unwrap().stat(&path("/x")).err(), Some(Errno::ENOTDIR));
        assert_eq!(mount("bogus").err(), Some(Errno::EINVAL));
        assert!(vu_api::modules().iter().any(|module| module.claims("hellofs")));
    }
}
