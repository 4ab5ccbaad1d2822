//! Attributes in the structures of 32-bit programs (`arch/x86/include/asm/compat.h`, `include/uapi/asm-generic/statfs.h`).

use crate::call::{Call, low};
use vu_api::{Errno, Stat, StatFs, Time};

/// The length of `struct compat_statfs64`, which its callers tell.
pub(super) const STATFS64: usize = 84;

/// In the form that a call of this name fills.
///
/// # Errors
/// `EOVERFLOW` if there is no room for what is to be told.
pub(super) fn encode_stat(name: &str, from: &Stat) -> Result<Vec<u8>, Errno> {
    match name {
        "stat64" | "lstat64" | "fstatat64" | "fstat64" => Ok(stat64(from)),
        "stat" | "lstat" | "fstat" => stat(from),
        // The oldest has 16 bits for an inode number.
        _ => Err(Errno::EOVERFLOW),
    }
}

/// statfs(2), fstatfs(2), and with 64 bits, the size of the structure in argument 1: writes what is to be told of a file system.
///
/// # Errors
/// `EINVAL` for another size; `EOVERFLOW` as above; `EFAULT`.
pub(super) fn tell_statfs(call: &Call<'_>, name: &str, from: &StatFs) -> Result<(), Errno> {
    if name.ends_with("64") {
        return match call.size(1) {
            STATFS64 => call.write(call.arg(2), &statfs64(from)),
            _ => Err(Errno::EINVAL),
        };
    }
    call.write(call.arg(1), &statfs(from)?)
}

fn stat64(from: &Stat) -> Vec<u8> {
    let mut to = Vec::with_capacity(96);
    to.extend(from.dev.to_le_bytes());
    to.extend([0; 4]);
    to.extend(words(&[low(from.ino), from.mode, low(from.nlink), from.uid, from.gid]));
    to.extend(from.rdev.to_le_bytes());
    to.extend([0; 4]);
    to.extend(from.size.to_le_bytes());
    to.extend(from.blksize.to_le_bytes());
    to.extend(from.blocks.to_le_bytes());
    to.extend(times(from));
    to.extend(from.ino.to_le_bytes());
    to
}

/// `cp_compat_stat`, `fs/stat.c`.
fn stat(from: &Stat) -> Result<Vec<u8>, Errno> {
    /// Ids that do not fit, `DEFAULT_OVERFLOWUID`.
    const OVERFLOW_ID: u16 = 65534;
    let overflows = |_| Errno::EOVERFLOW;
    let id = |id: u32| u16::try_from(id).unwrap_or(OVERFLOW_ID);
    // What the host says of a file's length fits into 63 bits.
    let size = i32::try_from(from.size).map_err(overflows)?;
    let ino = u32::try_from(from.ino).map_err(overflows)?;
    let nlink = u16::try_from(from.nlink).map_err(overflows)?;
    let mut to = words(&[low(from.dev), ino]);
    for half in [u16::try_from(from.mode).map_err(overflows)?, nlink, id(from.uid), id(from.gid)] {
        to.extend(half.to_le_bytes());
    }
    to.extend(words(&[low(from.rdev), size.cast_unsigned(), from.blksize, low(from.blocks)]));
    to.extend(times(from));
    to.extend([0; 8]);
    Ok(to)
}

/// `put_compat_statfs`, `fs/statfs.c`.
fn statfs(from: &StatFs) -> Result<Vec<u8>, Errno> {
    let fits = |value: u64| u32::try_from(value).map_err(|_| Errno::EOVERFLOW);
    let all = |value: u64| if value == u64::MAX { Ok(u32::MAX) } else { fits(value) };
    let (bsize, frsize) = (fits(from.bsize.cast_unsigned())?, fits(from.frsize.cast_unsigned())?);
    let mut to = words(&[
        low(from.fs_type.cast_unsigned()),
        bsize,
        fits(from.blocks)?,
        fits(from.bfree)?,
        fits(from.bavail)?,
        all(from.files)?,
        all(from.ffree)?,
    ]);
    to.extend(ending(from, frsize));
    Ok(to)
}

fn statfs64(from: &StatFs) -> Vec<u8> {
    let mut to = words(&[low(from.fs_type.cast_unsigned()), low(from.bsize.cast_unsigned())]);
    for number in [from.blocks, from.bfree, from.bavail, from.files, from.ffree] {
        to.extend(number.to_le_bytes());
    }
    to.extend(ending(from, low(from.frsize.cast_unsigned())));
    to
}

/// The id, the length of names, the size of fragments, the flags, and what is spare.
fn ending(from: &StatFs, frsize: u32) -> Vec<u8> {
    words(&[
        low(from.fsid),
        low(from.fsid >> 32),
        low(from.namelen.cast_unsigned()),
        frsize,
        low(from.flags.cast_unsigned()),
        0,
        0,
        0,
        0,
    ])
}

/// Of access, change of content, and change of attributes, each in seconds and nanoseconds.
fn times(from: &Stat) -> Vec<u8> {
    let both = |time: Time| [low(time.secs.cast_unsigned()), time.nanos];
    words(&[both(from.atime), both(from.mtime), both(from.ctime)].concat())
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_has_its_length() {
        let (file, system) = (Stat::default(), StatFs::default());
        let length = |name| encode_stat(name, &file).unwrap().len();
        assert_eq!((length("lstat64"), length("lstat")), (96, 64));
        assert_eq!((statfs64(&system).len(), statfs(&system).unwrap().len()), (STATFS64, 64));
    }

    #[test]
    fn what_does_not_fit_is_not_told() {
        let long = Stat { size: 1 << 31, ..Stat::default() };
        let far = Stat { ino: 1 << 32, ..Stat::default() };
        for stat in [&long, &far] {
            assert_eq!(encode_stat("stat", stat), Err(Errno::EOVERFLOW));
            assert!(encode_stat("stat64", stat).is_ok());
        }
        let others = encode_stat("stat", &Stat { uid: 100_000, ..Stat::default() }).unwrap();
        assert_eq!(others[12..14], 65534u16.to_le_bytes());
        assert_eq!(encode_stat("oldstat", &Stat::default()), Err(Errno::EOVERFLOW));
        assert_eq!(statfs(&StatFs { blocks: 1 << 32, ..StatFs::default() }), Err(Errno::EOVERFLOW));
        assert!(statfs(&StatFs { files: u64::MAX, ..StatFs::default() }).is_ok());
    }
}
