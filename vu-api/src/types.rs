//! The typed arguments and results of file system operations.

use crate::OpenFlags;
use std::{collections::BTreeMap, fs::Metadata, os::unix::fs::MetadataExt, time::UNIX_EPOCH};

/// What open asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenHow {
    /// The flags, as the caller gave them.
    pub flags: OpenFlags,
    /// The permission bits of a file that is created, the umask not yet applied.
    pub mode: u32,
}

/// The type of a file: the `S_IFMT` bits of its mode (inode(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "inode(7) documents each")]
pub enum FileType {
    Regular,
    Directory,
    Symlink,
    CharDevice,
    BlockDevice,
    Fifo,
    Socket,
}

impl FileType {
    /// From the bits of a mode; `None` if they are not one of the seven types.
    #[must_use]
    pub fn from_mode(mode: u32) -> Option<FileType> {
        Some(match mode & libc::S_IFMT {
            libc::S_IFREG => FileType::Regular,
            libc::S_IFDIR => FileType::Directory,
            libc::S_IFLNK => FileType::Symlink,
            libc::S_IFCHR => FileType::CharDevice,
            libc::S_IFBLK => FileType::BlockDevice,
            libc::S_IFIFO => FileType::Fifo,
            libc::S_IFSOCK => FileType::Socket,
            _ => return None,
        })
    }

    /// The bits of a mode.
    #[must_use]
    pub fn mode_bits(self) -> u32 {
        match self {
            FileType::Regular => libc::S_IFREG,
            FileType::Directory => libc::S_IFDIR,
            FileType::Symlink => libc::S_IFLNK,
            FileType::CharDevice => libc::S_IFCHR,
            FileType::BlockDevice => libc::S_IFBLK,
            FileType::Fifo => libc::S_IFIFO,
            FileType::Socket => libc::S_IFSOCK,
        }
    }

    /// The `d_type` of a directory entry (readdir(3)).
    #[must_use]
    pub fn d_type(self) -> u8 {
        match self {
            FileType::Regular => libc::DT_REG,
            FileType::Directory => libc::DT_DIR,
            FileType::Symlink => libc::DT_LNK,
            FileType::CharDevice => libc::DT_CHR,
            FileType::BlockDevice => libc::DT_BLK,
            FileType::Fifo => libc::DT_FIFO,
            FileType::Socket => libc::DT_SOCK,
        }
    }
}

/// A point in time since the epoch; `nanos` is below 10⁹.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time {
    /// Seconds; negative before 1970.
    pub secs: i64,
    /// Nanoseconds.
    pub nanos: u32,
}

/// One timestamp of utimensat(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeChange {
    /// `UTIME_NOW`
    Now,
    /// `UTIME_OMIT`
    Omit,
    /// This time.
    Set(Time),
}

/// What is told of an object that has lost its name, and is still open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removed {
    /// Its attributes.
    pub stat: Stat,
    /// Its extended attributes, by their names.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// The attributes of a file: what stat(2) and statx(2) tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stat {
    /// Device that holds the file, as `makedev` encodes it.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Type and permission bits.
    pub mode: u32,
    /// Number of hard links.
    pub nlink: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The device this special file stands for.
    pub rdev: u64,
    /// Size in bytes.
    pub size: u64,
    /// Preferred block size of I/O, in bytes.
    pub blksize: u32,
    /// Space taken, in units of 512 bytes.
    pub blocks: u64,
    /// Last access.
    pub atime: Time,
    /// Last modification of the content.
    pub mtime: Time,
    /// Last change of the attributes.
    pub ctime: Time,
    /// Creation, where it is known.
    pub btime: Option<Time>,
    /// Identity of the mount as statx's `stx_mnt_id` tells it, where it is known.
    pub mnt_id: Option<u64>,
}

impl Stat {
    /// The type; a mode without a valid type counts as a regular file.
    #[must_use]
    pub fn file_type(&self) -> FileType {
        FileType::from_mode(self.mode).unwrap_or(FileType::Regular)
    }

    /// The permission bits with set-id and sticky bits.
    #[must_use]
    pub fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }
}

/// What std knows of a file; std does not tell the identity of its mount.
impl From<&Metadata> for Stat {
    fn from(metadata: &Metadata) -> Stat {
        // The kernel's nanoseconds are below 10⁹, its block size fits.
        let time = |secs, nanos: i64| Time { secs, nanos: u32::try_from(nanos).unwrap_or_default() };
        let since_epoch = |time: std::time::SystemTime| time.duration_since(UNIX_EPOCH).ok();
        Stat {
            dev: metadata.dev(),
            ino: metadata.ino(),
            mode: metadata.mode(),
            nlink: metadata.nlink(),
            uid: metadata.uid(),
            gid: metadata.gid(),
            rdev: metadata.rdev(),
            size: metadata.size(),
            blksize: u32::try_from(metadata.blksize()).unwrap_or(4096),
            blocks: metadata.blocks(),
            atime: time(metadata.atime(), metadata.atime_nsec()),
            mtime: time(metadata.mtime(), metadata.mtime_nsec()),
            ctime: time(metadata.ctime(), metadata.ctime_nsec()),
            btime: metadata.created().ok().and_then(since_epoch).and_then(|since| {
                Some(Time { secs: i64::try_from(since.as_secs()).ok()?, nanos: since.subsec_nanos() })
            }),
            mnt_id: None,
        }
    }
}

/// What statfs(2) tells; the units are those of the man page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "statfs(2) documents each")]
pub struct StatFs {
    pub fs_type: i64,
    pub bsize: i64,
    pub blocks: u64,
    pub bfree: u64,
    pub bavail: u64,
    pub files: u64,
    pub ffree: u64,
    pub fsid: u64,
    pub namelen: i64,
    pub frsize: i64,
    pub flags: i64,
}

/// One entry of a directory listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The name: one component, or `.` or `..`.
    pub name: Vec<u8>,
    /// Inode number; equal to `st_ino` of the object.
    pub ino: u64,
    /// The type.
    pub file_type: FileType,
    /// The position *after* this entry, opaque to the caller; listing from it goes on with the next
    /// entry (`d_off` of getdents64(2)). Never 0, below 2⁶².
    pub next: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_types_round_trip() {
        for bits in 0..16u32 {
            let mode = bits << 12;
            if let Some(file_type) = FileType::from_mode(mode) {
                assert_eq!(file_type.mode_bits(), mode);
                assert_eq!(u32::from(file_type.d_type()), bits, "DT_* are the mode's upper bits");
            }
        }
    }
}
