//! What the kernel refuses before it looks at a call's paths. Such a call is left to it, since otherwise what is wrong with a path would be said first.

use crate::{
    call::Call,
    handlers::{
        layouts,
        own::{times, xattr_args},
        stat::{STAT_FLAGS, is_empty},
        xattrs,
    },
    sys,
};
use vu_api::{Errno, FileType, XattrFlags};
use vu_trace::{Abi, Memory};

/// Whether one of its numbers is refused.
pub(super) fn for_its_numbers(call: &Call<'_>, name: &str) -> bool {
    let has_other = |index: usize, known: i32| call.int(index) & !known != 0;
    let link_flags = libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW;
    let file_type = |index: usize| {
        let mode = call.uint(index);
        mode & libc::S_IFMT != 0
            && !matches!(FileType::from_mode(mode), Some(t) if t != FileType::Directory && t != FileType::Symlink)
    };
    match name {
        "unlinkat" => has_other(2, libc::AT_REMOVEDIR),
        "renameat2" => {
            let flags = call.uint(4);
            let exchange = flags & libc::RENAME_EXCHANGE != 0;
            flags & !(libc::RENAME_NOREPLACE | libc::RENAME_EXCHANGE | libc::RENAME_WHITEOUT) != 0
                || exchange && flags & (libc::RENAME_NOREPLACE | libc::RENAME_WHITEOUT) != 0
        }
        "truncate" => {
            call.abi == Abi::X86_64 && call.arg(1).cast_signed() < 0 || call.abi == Abi::I386 && call.int(1) < 0
        }
        "mknod" => file_type(1),
        "mknodat" => file_type(2),
        "statfs64" => call.size(1) != layouts::STATFS64,
        "linkat" => has_other(4, libc::AT_EMPTY_PATH | libc::AT_SYMLINK_FOLLOW),
        "setxattrat" | "getxattrat" => has_other(2, link_flags) || !(16..=4096).contains(&call.size(5)),
        "listxattrat" | "removexattrat" => has_other(2, link_flags),
        "file_getattr" | "file_setattr" => has_other(4, link_flags) || !(24..=4096).contains(&call.size(3)),
        // The kinds of quotas: of users, groups and projects (`do_quotactl`, `fs/quota/quota.c`).
        "quotactl" => call.uint(0) & 0xff > 2,
        "fchmodat2" => has_other(3, link_flags),
        // A descriptor alone is looked at before the flags are.
        "fstatat64" => has_other(3, STAT_FLAGS) && !(call.int(3) & libc::AT_EMPTY_PATH != 0 && is_empty(call, 1)),
        "fchownat" => has_other(4, link_flags),
        "utimensat" => has_other(3, link_flags) || changes_no_time(call),
        // Only root may.
        "acct" | "swapon" | "swapoff" => sys::effective_uid() != 0,
        _ => false,
    }
}

/// Whether utimensat(2) is to leave both times as they are: then nothing is looked up (`do_utimes`, `fs/utimes.c`).
fn changes_no_time(call: &Call<'_>) -> bool {
    let mut times = [0; 32];
    call.core.has_virtual_files()
        && call.abi == Abi::X86_64
        && call.arg(2) != 0
        && call.memory().read(call.arg(2), &mut times).is_ok()
        && [8, 24].iter().all(|&at| times[at..at + 8] == libc::UTIME_OMIT.to_ne_bytes())
}

/// Whether what it gives in its memory is refused: the name and the value of an attribute (`setxattr_copy`, `fs/xattr.c`), times (`fs/utimes.c`).
pub(super) fn for_what_it_gives(call: &Call<'_>, name: &str) -> bool {
    given(call, name).is_err()
}

fn given(call: &Call<'_>, name: &str) -> Result<(), Errno> {
    match name {
        "setxattr" | "lsetxattr" => attribute(call, 1, (call.arg(2), call.size(3)), call.uint(4)),
        "setxattrat" => {
            let args = xattr_args(call, 4)?;
            attribute(call, 3, (args.value, args.size), args.flags)
        }
        "removexattr" | "lremovexattr" => xattrs::name(call, 1).map(drop),
        "removexattrat" => xattrs::name(call, 3).map(drop),
        "utime" | "utimes" => times(call, name, call.arg(1)).map(drop),
        "futimesat" => times(call, name, call.arg(2)).map(drop),
        "utimensat" | "utimensat_time64" => match times(call, name, call.arg(2)) {
            // Whether nanoseconds are any is asked when the file is there (`vfs_utimes`).
            Err(Errno::EINVAL) => Ok(()),
            told => told.map(drop),
        },
        _ => Ok(()),
    }
}

fn attribute(call: &Call<'_>, name: usize, (value, size): (u64, usize), flags: u32) -> Result<(), Errno> {
    if XattrFlags::from_bits(flags.cast_signed()).is_none() {
        return Err(Errno::EINVAL);
    }
    xattrs::name(call, name)?;
    xattrs::value(call, value, size).map(drop)
}
