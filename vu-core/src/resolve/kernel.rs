//! The first look: a relative path stays where kernel and view agree, unless something on it leads away.

use super::{Base, Need, PathArg};
use crate::{
    call::Call,
    sys::{self, At, Final},
    task::Object,
};
use smallvec::SmallVec;
use std::os::fd::{AsFd, BorrowedFd};
use vu_api::{Errno, FileType};
use vu_path::Follow;

/// The way from a directory to the last component of a path, as a key of [`ClearPaths`](crate::clear::ClearPaths).
struct Way(SmallVec<[u8; 128]>);

impl Way {
    fn new((device, inode): Object, path: &[u8]) -> Way {
        let mut key = SmallVec::new();
        // No absolute path begins so.
        key.push(0);
        key.extend_from_slice(&device.to_ne_bytes());
        key.extend_from_slice(&inode.to_ne_bytes());
        key.extend_from_slice(path.iter().rposition(|&b| b == b'/').map_or(b"", |slash| &path[..slash]));
        Way(key)
    }

    fn key(&self) -> &[u8] {
        &self.0
    }
}

impl Call<'_> {
    /// The first look. False only means that it is not known.
    pub(super) fn kernel_is_right(&self, arg: &PathArg, need: Need) -> bool {
        let table = self.view.table();
        if arg.is_absolute() || !arg.resolve.is_empty() || arg.path.ends_with(b"/") {
            return false;
        }
        // Which mount the object belongs to would have to be known.
        if need.changes() && self.core.has_read_only_mounts() {
            return false;
        }
        let mut names = 0;
        for name in arg.components() {
            if name == b".." || table.has_name(name) {
                return false;
            }
            names += 1;
        }
        // "." and the like.
        if names == 0 {
            return false;
        }
        let one_name = names == 1 && arg.follow != Follow::Last;
        if arg.dirfd == libc::AT_FDCWD {
            let fs = self.task.fs();
            let Ok(cwd) = self.cwd() else { return false };
            if !cwd.natural {
                return false;
            }
            let elsewhere = need.opens() && !fs.cwd_route.read().is_host();
            return (one_name && !elsewhere) || self.no_links(cwd.fd.as_fd(), cwd.object, arg, elsewhere);
        }
        let placeholders = self.core.has_virtual_files();
        if one_name && !need.opens() && !placeholders {
            return true;
        }
        let dir = match self.task.descriptor(arg.dirfd) {
            Ok(dir) => dir,
            // A bad descriptor is the kernel's to refuse.
            Err(errno) => return !errno.is_no_answer(),
        };
        if placeholders && let Ok(stat) = sys::fstat(dir.as_fd()) {
            let object = (stat.st_dev, stat.st_ino);
            if let Some(base) = self.placeholder_of(object) {
                *self.begins.borrow_mut() = Some((arg.dirfd, base));
                return false;
            }
            if let Some(lent) = self.lent(&self.task, arg.dirfd, dir.as_fd(), object) {
                if one_name && need == Need::Path && lent.is_the_kernels(self) {
                    return true;
                }
                *self.begins.borrow_mut() = Some((arg.dirfd, Base::lent(lent)));
                return false;
            }
        }
        let elsewhere = need.opens() && !self.opened_natively(dir.as_fd());
        if one_name && !elsewhere {
            return true;
        }
        sys::fstat(dir.as_fd()).is_ok_and(|stat| self.no_links(dir.as_fd(), (stat.st_dev, stat.st_ino), arg, elsewhere))
    }

    /// Whether no symbolic link stands on the way of a relative path. With `elsewhere`, the object must not be a directory either: its descriptor
    /// would need a route.
    fn no_links(&self, dir: BorrowedFd<'_>, object: Object, arg: &PathArg, elsewhere: bool) -> bool {
        let last = if arg.follow == Follow::Last { Final::Refuse } else { Final::Itself };
        let way = Way::new(object, &arg.path);
        if !elsewhere
            && self.core.clear.knows(way.key())
            && (last == Final::Itself || self.is_no_link(At::Dir(dir), &arg.path))
        {
            return true;
        }
        match sys::look_at(At::Dir(dir), &arg.path, last) {
            Ok(handle) => {
                self.core.clear.note(way.key());
                self.seen.set(sys::file_type(handle.as_fd()).ok());
                !elsewhere || self.seen.get().is_some_and(|file_type| file_type != FileType::Directory)
            }
            Err(Errno::ELOOP) => false,
            // Any other error comes before a link could: the kernel will find the same.
            Err(errno) => {
                if errno == Errno::ENOENT {
                    // What is missing on the way can become a link only by what makes all proofs forgotten.
                    self.core.clear.note(way.key());
                }
                true
            }
        }
    }

    /// Whether the last component of a path is known not to be a symbolic link: it is something else, which is noted, or missing.
    pub(super) fn is_no_link(&self, from: At<'_>, path: &[u8]) -> bool {
        match sys::last_type(from, path) {
            Ok(file_type) => {
                self.seen.set(Some(file_type));
                file_type != FileType::Symlink
            }
            Err(errno) => errno == Errno::ENOENT,
        }
    }

    /// Which directory a relative path begins at, if it is the working directory, kernel and view agree on it, and no symbolic link was on the way from there a moment ago.
    pub(crate) fn clear_way(&self, arg: &PathArg) -> Option<Object> {
        if arg.is_absolute() || arg.dirfd != libc::AT_FDCWD {
            return None;
        }
        let cwd = self.cwd().ok().filter(|cwd| cwd.plain && !cwd.in_proc)?;
        let clear = !arg.path.contains(&b'/') || self.core.clear.knows(Way::new(cwd.object, &arg.path).key());
        clear.then_some(cwd.object)
    }
}
