//! Calls on objects that a mount keeps itself: from the arguments of the system call to the operation of the file system.

use crate::{
    call::{Call, Outcome},
    handlers::{
        layouts,
        ownership::{adopt, made_with},
        rewrite::{Meant, ends_in_dots, errno_of_kernels, last_component, type_of, wrong_with_ways},
        stat, xattrs,
    },
    resolve::{Meaning, Place},
};
use vu_api::{Errno, FileType, Filesystem, RenameFlags, Time, TimeChange, Withdrawn, XattrFlags};
use vu_trace::{Abi, Memory};

/// Whether what the call asks for is an operation of file systems.
pub(super) fn has_operation(name: &str) -> bool {
    !matches!(
        name,
        "truncate"
            | "inotify_add_watch"
            | "name_to_handle_at"
            | "file_getattr"
            | "file_setattr"
            | "acct"
            | "swapon"
            | "swapoff"
            | "quotactl"
    )
}

/// Does what call `name` asks, at least one of whose paths means an object of a mount.
pub(super) fn operate(call: &Call<'_>, name: &str, meant: &[Meant]) -> Result<Outcome, Errno> {
    call.still_waits()?;
    if let Some(errno) = meant.iter().enumerate().find_map(|(index, m)| dot_entry(call, name, index, m)) {
        return Err(wrong_with_ways(call, name, meant).unwrap_or(errno));
    }
    let place = |index: usize| match meant.get(index) {
        Some(Meant { meaning: Meaning::Place(place), .. }) => Ok(place),
        Some(kernels) => Err(errno_of_kernels(call, kernels)),
        None => Err(Errno::EXDEV),
    };
    let first = place(0)?;
    // A slash behind it says that it is a directory; of names that are made or taken away, each call judges that in its own way.
    for m in meant.iter().filter(|m| !m.entry) {
        if let Meaning::Place(place) = &m.meaning
            && place.found
        {
            place.must_suit_slash(call)?;
        }
    }
    // No directory is made by other calls than mkdir(2) (`filename_create`, `fs/namei.c`).
    let slashless = |place: &Place| match place.must_be_dir {
        true => Err(wrong_with_ways(call, name, meant).unwrap_or(Errno::ENOENT)),
        false => Ok(()),
    };
    let (fs, task) = (&call.layer, &*call.task);
    // The arguments behind the path: where they stand depends on whether a directory descriptor stands before it.
    let after = |offset: usize| meant.first().map_or(0, |m| m.index) + offset;
    match name {
        "mkdir" | "mkdirat" => {
            absent(first)?;
            let mode = call.uint(after(1)) & 0o7777;
            fs.mkdir(&first.name, made_with(task, fs, &first.name, mode, FileType::Directory), task)?;
            adopt(task, fs, &first.name, Some(mode));
        }
        "mknod" | "mknodat" => {
            absent(first)?;
            slashless(first)?;
            let mode = call.uint(after(1));
            let mode = if mode & libc::S_IFMT == 0 { mode | libc::S_IFREG } else { mode };
            let kind = FileType::from_mode(mode).ok_or(Errno::EINVAL)?;
            let on_host = mode & libc::S_IFMT | made_with(task, fs, &first.name, mode & 0o7777, kind);
            fs.mknod(&first.name, on_host, u64::from(call.uint(after(2))), task)?;
            adopt(task, fs, &first.name, Some(mode));
        }
        "unlink" => unlink(call, first)?,
        "rmdir" => rmdir(call, first)?,
        "unlinkat" => match call.int(2) {
            0 => unlink(call, first)?,
            libc::AT_REMOVEDIR => rmdir(call, first)?,
            _ => return Err(Errno::EINVAL),
        },
        "rename" | "renameat" | "renameat2" => {
            let flags = if name == "renameat2" { call.uint(4) } else { 0 };
            if !first.found {
                return Err(wrong_with_ways(call, name, meant).unwrap_or(Errno::ENOENT));
            }
            let (to, flags) = (place(1)?, RenameFlags::from_bits_retain(flags));
            if flags.contains(RenameFlags::NOREPLACE) {
                absent(to)?;
            }
            if flags.contains(RenameFlags::EXCHANGE) {
                to.must_exist(call)?;
            }
            if !suits_slashes(call, first, to, flags)? {
                return Err(wrong_with_ways(call, name, meant).unwrap_or(Errno::ENOTDIR));
            }
            let to = &to.name;
            // Nor may what stands for a directory be told by its old name.
            let (_changes, begin) = (fs.withdraw(Withdrawn::Names), call.core.nodes.now());
            fs.rename(&first.name, to, flags, task)?;
            call.core.nodes.renamed(&first.name, to, flags.contains(RenameFlags::EXCHANGE), begin);
        }
        "link" | "linkat" => {
            first.must_exist(call)?;
            absent(place(1)?)?;
            slashless(place(1)?)?;
            fs.link(&first.name, &place(1)?.name, task)?;
        }
        "symlink" | "symlinkat" => {
            absent(first)?;
            slashless(first)?;
            let target = call.read_path(0)?;
            if target.is_empty() {
                return Err(Errno::ENOENT);
            }
            fs.symlink(&target, &first.name, task)?;
            adopt(task, fs, &first.name, None);
        }
        "chmod" | "fchmodat" | "fchmodat2" => {
            first.must_exist(call)?;
            fs.chmod(&first.name, call.uint(after(1)) & 0o7777, task)?;
        }
        "chown" | "lchown" | "fchownat" => {
            first.must_exist(call)?;
            let id = |value: u32| (value != u32::MAX).then_some(value);
            fs.chown(&first.name, id(call.uint(after(1))), id(call.uint(after(2))), task)?;
        }
        "utime" | "utimes" | "futimesat" | "utimensat" | "utimensat_time64" => {
            first.must_exist(call)?;
            let (atime, mtime) = times(call, name, call.arg(after(1)))?;
            fs.utimens(&first.name, atime, mtime, task)?;
        }
        "truncate" => {
            first.must_exist(call)?;
            match type_of(call, first) {
                Some(FileType::Directory) => return Err(Errno::EISDIR),
                Some(FileType::Regular) => {}
                _ => return Err(Errno::EINVAL),
            }
            let size = u64::try_from(call.arg(after(1)).cast_signed()).map_err(|_| Errno::EINVAL)?;
            fs.truncate(&first.name, size, task)?;
        }
        "setxattr" | "lsetxattr" => {
            first.must_exist(call)?;
            let value = xattrs::value(call, call.arg(after(2)), call.size(after(3)))?;
            let flags = XattrFlags::from_bits_retain(call.int(after(4)));
            fs.set_xattr(&first.name, &xattrs::name(call, after(1))?, &value, flags, task)?;
        }
        "removexattr" | "lremovexattr" => {
            first.must_exist(call)?;
            fs.remove_xattr(&first.name, &xattrs::name(call, after(1))?, task)?;
        }
        "setxattrat" => {
            first.must_exist(call)?;
            let XattrArgs { value, size, flags } = xattr_args(call, after(3))?;
            let value = xattrs::value(call, value, size)?;
            let flags = XattrFlags::from_bits_retain(flags.cast_signed());
            fs.set_xattr(&first.name, &xattrs::name(call, after(2))?, &value, flags, task)?;
        }
        "removexattrat" => {
            first.must_exist(call)?;
            fs.remove_xattr(&first.name, &xattrs::name(call, after(2))?, task)?;
        }
        "getxattrat" => {
            first.must_exist(call)?;
            let XattrArgs { value, size, flags } = xattr_args(call, after(3))?;
            if flags != 0 {
                return Err(Errno::EINVAL);
            }
            let bytes = stat::get_xattr(call, &first.name, &xattrs::name(call, after(2))?)?;
            return xattrs::give(call, &bytes, value, size);
        }
        "listxattrat" => {
            first.must_exist(call)?;
            let names = stat::list_xattr(call, &first.name)?;
            return xattrs::give(call, &names, call.arg(after(2)), call.size(after(3)));
        }
        "stat" | "lstat" | "stat64" | "lstat64" | "fstatat64" if call.abi == Abi::I386 => {
            first.must_exist(call)?;
            call.write(call.arg(after(1)), &layouts::encode_stat(name, &fs.stat(&first.name)?)?)?;
        }
        "statfs" | "statfs64" if call.abi == Abi::I386 => {
            first.must_exist(call)?;
            layouts::tell_statfs(call, name, &fs.statfs(&first.name)?)?;
        }
        // No kernel object stands for it: nothing can watch it, refer to it by a handle, or account to it.
        "inotify_add_watch" | "name_to_handle_at" if !first.found => return Err(Errno::ENOENT),
        "inotify_add_watch" | "name_to_handle_at" | "file_getattr" | "file_setattr" => return Err(Errno::EOPNOTSUPP),
        _ => return Err(if call.abi == Abi::I386 { Errno::EOPNOTSUPP } else { Errno::EACCES }),
    }
    Ok(Outcome::Done(0))
}

/// What is said of an entry that is `.` or `..` (`do_rmdir`, `do_unlinkat`, `do_renameat2`, `fs/namei.c`).
fn dot_entry(call: &Call<'_>, name: &str, index: usize, m: &Meant) -> Option<Errno> {
    if !m.entry || !ends_in_dots(&m.text) {
        return None;
    }
    let dot = last_component(&m.text) == b".";
    let flag = |index: usize, flag: i32| call.int(index) & flag != 0;
    Some(match name {
        "rmdir" if dot => Errno::EINVAL,
        "unlinkat" if dot && flag(2, libc::AT_REMOVEDIR) => Errno::EINVAL,
        "rmdir" => Errno::ENOTEMPTY,
        "unlinkat" if flag(2, libc::AT_REMOVEDIR) => Errno::ENOTEMPTY,
        "unlink" | "unlinkat" => Errno::EISDIR,
        "rename" | "renameat" | "renameat2" if index == 1 => renamed_to_dots(call, name),
        "rename" | "renameat" | "renameat2" => Errno::EBUSY,
        _ => Errno::EEXIST,
    })
}

/// What is said of a rename whose second name is `.` or `..` (`do_renameat2`, `fs/namei.c`).
pub(super) fn renamed_to_dots(call: &Call<'_>, name: &str) -> Errno {
    let replaces = name != "renameat2" || call.uint(4) & libc::RENAME_NOREPLACE == 0;
    if replaces { Errno::EBUSY } else { Errno::EEXIST }
}

fn absent(place: &Place) -> Result<(), Errno> {
    if place.found { Err(Errno::EEXIST) } else { Ok(()) }
}

/// Whether what is renamed, and what it replaces, are directories if a slash follows their names (`do_renameat2`, `fs/namei.c`).
fn suits_slashes(call: &Call<'_>, from: &Place, to: &Place, flags: RenameFlags) -> Result<bool, Errno> {
    let is_no_directory = |place: &Place| place.file_type(call).map(|kind| kind != FileType::Directory);
    Ok(match flags.contains(RenameFlags::EXCHANGE) {
        true if to.must_be_dir && is_no_directory(to)? => false,
        true => !(from.must_be_dir && is_no_directory(from)?),
        false => !((from.must_be_dir || to.must_be_dir) && is_no_directory(from)?),
    })
}

/// Whether the caller may take the name away is said before whether it can be taken away so (`may_delete`, `fs/namei.c`).
fn may_remove(call: &Call<'_>, place: &Place) -> Result<(), Errno> {
    call.layer.judge(&place.name, &*call.task).map_or(Ok(()), |judge| judge.may_remove(&place.name))
}

fn unlink(call: &Call<'_>, place: &Place) -> Result<(), Errno> {
    place.must_exist(call)?;
    may_remove(call, place)?;
    match type_of(call, place) {
        Some(FileType::Directory) => Err(Errno::EISDIR),
        _ if place.must_be_dir => Err(Errno::ENOTDIR),
        _ => call.layer.unlink(&place.name, &*call.task),
    }
}

fn rmdir(call: &Call<'_>, place: &Place) -> Result<(), Errno> {
    place.must_exist(call)?;
    may_remove(call, place)?;
    match type_of(call, place) {
        Some(FileType::Directory) => {
            call.layer.rmdir(&place.name, &*call.task)?;
            call.core.nodes.removed(&place.name);
            Ok(())
        }
        _ => Err(Errno::ENOTDIR),
    }
}

/// `struct xattr_args` (`include/uapi/linux/xattr.h`).
pub(super) struct XattrArgs {
    pub value: u64,
    pub size: usize,
    pub flags: u32,
}

/// The structure that one argument points to, and whose size is the next. A longer one may only have zeros behind (`copy_struct_from_user`).
pub(super) fn xattr_args(call: &Call<'_>, index: usize) -> Result<XattrArgs, Errno> {
    const SIZE: usize = 16;
    const LONGEST: usize = 4096;
    let size = call.size(index + 1);
    if size < SIZE {
        return Err(Errno::EINVAL);
    }
    if size > LONGEST {
        return Err(Errno::E2BIG);
    }
    let mut bytes = vec![0; size];
    call.memory().read(call.arg(index), &mut bytes)?;
    if bytes[SIZE..].iter().any(|&byte| byte != 0) {
        return Err(Errno::E2BIG);
    }
    let word = |at: usize| bytes[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let size = usize::try_from(word(8)).unwrap_or(usize::MAX);
    Ok(XattrArgs { value: u64::from(word(0)) | u64::from(word(4)) << 32, size, flags: word(12) })
}

/// The two times of utime(2) (seconds), utimes(2) (microseconds) or utimensat(2) (nanoseconds); NULL is now.
pub(super) fn times(call: &Call<'_>, name: &str, address: u64) -> Result<(TimeChange, TimeChange), Errno> {
    if address == 0 {
        return Ok((TimeChange::Now, TimeChange::Now));
    }
    let in_nanoseconds = name.starts_with("utimensat");
    let word = |index: u64| -> Result<i64, Errno> {
        if call.abi == Abi::I386 && name != "utimensat_time64" {
            return Ok(call.memory().read_u32(address.wrapping_add(4 * index))?.cast_signed().into());
        }
        let word = call.memory().read_u64(address.wrapping_add(8 * index))?.cast_signed();
        // Of nanoseconds, the upper half is padding there (`get_timespec64`, `kernel/time/time.c`).
        Ok(if call.abi == Abi::I386 && index % 2 == 1 { word & 0xffff_ffff } else { word })
    };
    let time = |secs: i64, fraction: i64| -> Result<TimeChange, Errno> {
        match fraction {
            libc::UTIME_NOW if in_nanoseconds => Ok(TimeChange::Now),
            libc::UTIME_OMIT if in_nanoseconds => Ok(TimeChange::Omit),
            _ => {
                let scale = if in_nanoseconds { 1 } else { 1000 };
                let nanos =
                    fraction.checked_mul(scale).filter(|n| (0..1_000_000_000).contains(n)).ok_or(Errno::EINVAL)?;
                Ok(TimeChange::Set(Time { secs, nanos: u32::try_from(nanos).map_err(|_| Errno::EINVAL)? }))
            }
        }
    };
    if name == "utime" {
        return Ok((time(word(0)?, 0)?, time(word(1)?, 0)?));
    }
    Ok((time(word(0)?, word(1)?)?, time(word(2)?, word(3)?)?))
}
