//! Directories that also list mount points in them: the mount word `list`.
//!
//! A mount point need not exist, and is then not listed by the directory above, which may be the host's. For a mount that asks for it, the
//! directory above is opened as a virtual one: its own entries, and the names of such mount points.

use crate::{host::stat_of, view::View};
use nix::{dir::Dir, fcntl::OFlag, sys::stat::Mode};
use parking_lot::Mutex;
use std::{
    os::fd::{AsRawFd, OwnedFd},
    sync::Arc,
};
use vu_api::{AbsPath, DirEntry, Errno, File, FileType, Filesystem, Stat};

/// A directory with further entries.
pub struct Listed {
    under: Under,
    further: Vec<(Vec<u8>, u64, FileType)>,
    /// The entries as they were when the listing began; a rewind begins anew.
    entries: Mutex<Vec<DirEntry>>,
}

/// The directory's own part.
pub enum Under {
    /// A directory of the host.
    Host(OwnedFd),
    /// A virtual one.
    Virtual(Arc<dyn File>),
}

/// The names to be listed in a directory of the view: the mount points of mounts with the word `list`.
#[must_use]
pub fn further_entries(view: &View, top: &dyn Filesystem, directory: &AbsPath) -> Vec<(Vec<u8>, u64, FileType)> {
    let mut names: Vec<(Vec<u8>, u64, FileType)> = Vec::new();
    for entry in view.table().iter_newest_first() {
        let point = &entry.point;
        let Some(name) = point.file_name() else { continue };
        if entry.mount.list && point.parent() == *directory && names.iter().all(|(known, ..)| known != name) {
            let stat = top.stat(point).unwrap_or_default();
            names.push((name.to_vec(), stat.ino, stat.file_type()));
        }
    }
    names
}

impl Listed {
    /// A directory with `further` entries.
    #[must_use]
    pub fn new(under: Under, further: Vec<(Vec<u8>, u64, FileType)>) -> Listed {
        Listed { under, further, entries: Mutex::default() }
    }

    fn read(&self) -> Result<Vec<DirEntry>, Errno> {
        let mut entries = match &self.under {
            Under::Host(fd) => host_entries(fd)?,
            Under::Virtual(file) => {
                let mut all: Vec<DirEntry> = Vec::new();
                loop {
                    let more = file.entries(all.last().map_or(0, |entry| entry.next))?;
                    if more.is_empty() {
                        break all;
                    }
                    all.extend(more);
                }
            }
        };
        for (name, ino, file_type) in &self.further {
            entries.retain(|entry| entry.name != *name);
            entries.push(DirEntry { name: name.clone(), ino: *ino, file_type: *file_type, next: 0 });
        }
        for (position, entry) in (1..).zip(&mut entries) {
            entry.next = position;
        }
        Ok(entries)
    }
}

fn host_entries(fd: &OwnedFd) -> Result<Vec<DirEntry>, Errno> {
    // A description of its own: its position is nobody else's.
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let errno = |error: nix::Error| Errno::new(error as i32);
    let mut dir = Dir::open(path.as_str(), OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(errno)?;
    let mut entries = Vec::new();
    for entry in dir.iter() {
        let entry = entry.map_err(errno)?;
        let file_type = match entry.file_type() {
            Some(nix::dir::Type::Directory) => FileType::Directory,
            Some(nix::dir::Type::Symlink) => FileType::Symlink,
            Some(nix::dir::Type::CharacterDevice) => FileType::CharDevice,
            Some(nix::dir::Type::BlockDevice) => FileType::BlockDevice,
            Some(nix::dir::Type::Fifo) => FileType::Fifo,
            Some(nix::dir::Type::Socket) => FileType::Socket,
            Some(nix::dir::Type::File) | None => FileType::Regular,
        };
        entries.push(DirEntry { name: entry.file_name().to_bytes().to_vec(), ino: entry.ino(), file_type, next: 0 });
    }
    Ok(entries)
}

impl File for Listed {
    fn stat(&self) -> Result<Stat, Errno> {
        match &self.under {
            Under::Host(fd) => stat_of(fd),
            Under::Virtual(file) => file.stat(),
        }
    }

    fn entries(&self, from: u64) -> Result<Vec<DirEntry>, Errno> {
        if from == 0 {
            let fresh = self.read()?;
            *self.entries.lock() = fresh;
        }
        let from = usize::try_from(from).map_err(|_| Errno::EINVAL)?;
        Ok(self.entries.lock().get(from..).unwrap_or_default().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_and_further_entries_each_once() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        std::fs::create_dir(dir.path().join("both")).unwrap();
        let fd = OwnedFd::from(std::fs::File::open(dir.path()).unwrap());
        let further = [("both", 7), ("new", 8)].map(|(name, ino)| (name.into(), ino, FileType::Directory));
        let listed = Listed::new(Under::Host(fd), further.to_vec());
        let all = listed.entries(0).unwrap();
        let mut names: Vec<&[u8]> = all.iter().map(|entry| &entry.name[..]).collect();
        names.sort_unstable();
        assert_eq!(names, [&b"."[..], b"..", b"both", b"file", b"new"]);
        assert_eq!(
            all.iter().find(|entry| entry.name == b"both").unwrap().ino,
            7,
            "what is mounted, not what is hidden"
        );
        let second = all[1].next;
        assert_eq!(listed.entries(second).unwrap(), all[2..]);
        assert_eq!(listed.entries(all.last().unwrap().next).unwrap(), []);
    }
}
