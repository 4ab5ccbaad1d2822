//! Writing changes down to a real tree.

use super::complaint;
use crate::failure::{self, Outcome};
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, mknod, utimensat};
use nix::sys::time::TimeSpec;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use vu_api::{FileType, Stat};
use vu_mod_vufs::{Change, Difference, copy_content, store_xattrs};

/// Makes all changes. What cannot be done is said, and the rest goes on.
pub fn apply(changes: &[Change], lower: &Path) -> Outcome {
    let mut status = 0;
    let mut done = |name: &Path, result: io::Result<()>| {
        if let Err(error) = result {
            failure::report("vufsdiff", &complaint(name, &error));
            status = 1;
        }
    };
    for change in changes.iter().filter(|change| change.difference == Difference::Deleted) {
        let name = lower.join(&change.path);
        done(&name, remove(&name));
    }
    let present = || changes.iter().filter(|change| change.difference != Difference::Deleted);
    let mut links = HashMap::new();
    for change in present() {
        let name = lower.join(&change.path);
        done(&name, put(change, &name, &mut links));
    }
    // What is written into a directory changes its times, and needs its mode.
    for change in present().collect::<Vec<_>>().into_iter().rev() {
        let name = lower.join(&change.path);
        // A list of access rights goes with the mode, and before it: who may do most is told by both.
        done(&name, store_xattrs(&name, &change.xattrs));
        done(&name, attributes(&change.stat, &name));
    }
    Ok(status)
}

fn remove(name: &Path) -> io::Result<()> {
    match name.symlink_metadata() {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(name),
        Ok(_) => fs::remove_file(name),
        // It went with its directory.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Puts the object of the upper tree in the place of that of the lower one. A file takes its place when it is whole.
fn put(change: &Change, name: &Path, links: &mut HashMap<(u64, u64), PathBuf>) -> io::Result<()> {
    let Some(object) = &change.object else { return Ok(()) };
    let meta = object.symlink_metadata()?;
    let several = meta.nlink() > 1 && !meta.is_dir();
    let first = links.get(&(meta.dev(), meta.ino())).filter(|_| several);
    if change.difference == Difference::Attributes && first.is_none() {
        if several {
            links.insert((meta.dev(), meta.ino()), name.to_owned());
        }
        return Ok(());
    }
    if change.stat.file_type() == FileType::Directory {
        if change.difference == Difference::Changed {
            remove(name)?;
        }
        return match fs::create_dir(name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        };
    }
    let temporary = name.with_file_name(format!(".vufsdiff.{}", std::process::id()));
    let made = match (first, change.stat.file_type()) {
        (Some(first), _) => fs::hard_link(first, &temporary),
        (None, FileType::Regular) => copy(object, &temporary),
        (None, FileType::Symlink) => symlink(fs::read_link(object)?, &temporary),
        (None, kind) => {
            let kind = SFlag::from_bits_truncate(kind.mode_bits());
            mknod(&temporary, kind, Mode::S_IRUSR | Mode::S_IWUSR, change.stat.rdev).map_err(io::Error::from)
        }
    };
    let put = made.and_then(|()| {
        if name.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            fs::remove_dir_all(name)?;
        }
        fs::rename(&temporary, name)
    });
    // Half of it helps nobody, and rename(2) leaves it where both are names of one file.
    let _ = fs::remove_file(&temporary);
    if put.is_ok() {
        links.entry((meta.dev(), meta.ino())).or_insert_with(|| name.to_owned());
    }
    put
}

/// Copies a file, with its holes. Nobody else may look at the copy as long as it has not the attributes that it is to have.
fn copy(object: &Path, copy: &Path) -> io::Result<()> {
    let from = File::open(object)?;
    let to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(copy)?;
    copy_content(&from, &to, from.metadata()?.len())
}

fn attributes(stat: &Stat, name: &Path) -> io::Result<()> {
    let meta = name.symlink_metadata()?;
    if (meta.uid(), meta.gid()) != (stat.uid, stat.gid) {
        lchown(name, Some(stat.uid), Some(stat.gid))?;
    }
    if stat.file_type() != FileType::Symlink {
        fs::set_permissions(name, Permissions::from_mode(stat.permissions()))?;
    }
    let time = |time: vu_api::Time| TimeSpec::new(time.secs, time.nanos.into());
    let flags = UtimensatFlags::NoFollowSymlink;
    utimensat(AT_FDCWD, name, &time(stat.atime), &time(stat.mtime), flags).map_err(io::Error::from)
}
