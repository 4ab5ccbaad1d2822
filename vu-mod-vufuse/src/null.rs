//! `vufusenull`: an empty directory.

use crate::{ByInode, InodeFs, ROOT, new_device, no_words};
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use vu_api::{DirEntry, Errno, FileType, MountRequest, Mounted, Stat, Submodule, Time};

/// The submodule.
pub struct VufuseNull;

vu_api::register_submodule!(VufuseNull);

impl Submodule for VufuseNull {
    fn module(&self) -> &'static str {
        "vufuse"
    }

    fn types(&self) -> &'static [&'static str] {
        &["vufusenull"]
    }

    fn description(&self) -> &'static str {
        "an empty directory"
    }

    /// The source is ignored.
    fn mount(&self, request: &MountRequest<'_>) -> Result<Mounted, Errno> {
        no_words(request)?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Time { secs: i64::try_from(since.as_secs()).unwrap_or_default(), nanos: since.subsec_nanos() };
        Ok(Mounted::Filesystem(Arc::new(ByInode::new(Null { dev: new_device(), mounted: now }))))
    }
}

struct Null {
    dev: u64,
    mounted: Time,
}

impl InodeFs for Null {
    fn lookup(&self, _directory: u64, _name: &[u8]) -> Result<u64, Errno> {
        Err(Errno::ENOENT)
    }

    fn getattr(&self, ino: u64) -> Result<Stat, Errno> {
        Ok(Stat {
            dev: self.dev,
            ino,
            mode: FileType::Directory.mode_bits() | 0o755,
            nlink: 2,
            blksize: 4096,
            atime: self.mounted,
            mtime: self.mounted,
            ctime: self.mounted,
            btime: Some(self.mounted),
            ..Stat::default()
        })
    }

    fn readdir(&self, _directory: u64, from: u64) -> Result<Vec<DirEntry>, Errno> {
        let entry =
            |name: &[u8], next| DirEntry { name: name.to_vec(), ino: ROOT, file_type: FileType::Directory, next };
        Ok([entry(b".", 1), entry(b"..", 2)].into_iter().filter(|entry| entry.next > from).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Vufuse;
    use vu_api::{
        Filesystem, OpenFlags, OpenHow, Opened,
        testing::{As, DirTree, Objects, mount_fs, path},
    };

    fn mount(words: &str) -> Result<Arc<dyn Filesystem>, Errno> {
        mount_fs(&Vufuse, "vufusenull", "none", words, DirTree::new("/", Objects::Host))
    }

    #[test]
    fn it_has_no_options() {
        for words in ["bogus", "mode=0755"] {
            assert_eq!(mount(words).err(), Some(Errno::EINVAL), "{words}");
        }
    }

    #[test]
    fn it_is_empty_and_stays_so() {
        let (null, user) = (mount("").unwrap(), &As::user(1000));
        assert_eq!(null.stat(&path("/x")).err(), Some(Errno::ENOENT));
        assert_eq!(null.mkdir(&path("/x"), 0o777, user), Err(Errno::EROFS));
        let stat = null.stat(&path("/")).unwrap();
        assert_eq!((stat.file_type(), stat.ino, stat.nlink), (FileType::Directory, ROOT, 2));
        let how = OpenHow { flags: OpenFlags::DIRECTORY, mode: 0 };
        let Ok(Opened::Virtual(directory)) = null.open(&path("/"), &how, user) else { panic!("not virtual") };
        assert_eq!(directory.stat(), Ok(stat));
        let names = |from| directory.entries(from).unwrap().into_iter().map(|e| e.name).collect::<Vec<_>>();
        assert_eq!(names(0), [b".".to_vec(), b"..".to_vec()]);
        assert_eq!(names(1), [b"..".to_vec()]);
        assert!(names(2).is_empty());
    }

    #[test]
    fn two_mounts_are_two_devices() {
        let dev = || mount("").unwrap().stat(&path("/")).unwrap().dev;
        assert_ne!(dev(), dev());
    }
}
