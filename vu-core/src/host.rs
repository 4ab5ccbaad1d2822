//! The bottom of every layer: the file system of the host.
//!
//! A path given to [`HostFs`] has been resolved, so a symbolic link on the way means that somebody changed the tree since. No
//! operation follows one: each reaches its object through a handle that `openat2(RESOLVE_NO_SYMLINKS)` gave, and fails
//! with `ELOOP` otherwise. What is created or removed is named relative to the handle of its directory.
//!
//! What a caller is named for is done with its identity and its umask. The hypervisor's own umask is expected to be 0.
//!
//! This is the only file of this crate with `unsafe` code: system calls, and nothing else.

use crate::{
    clear::ClearPaths,
    object_request::{ObjectRequest, ROOM},
    sys::{self, open_at_once, shorten},
    umask::Worn,
};
use smallvec::SmallVec;
use std::{
    collections::BTreeMap,
    marker::PhantomData,
    mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    sync::Arc,
};
use vu_api::{
    AbsPath, AccessMode, Caller, Errno, Filesystem, Location, OpenFlags, OpenHow, Opened, Probe, Purpose, RenameFlags,
    Stat, StatFs, Time, TimeChange, Withdrawal, Withdrawn, XattrFlags,
};

/// The file system of the host, as the hypervisor's own process sees it.
pub struct HostFs {
    /// What was found free of symbolic links a moment ago needs no handle to be looked at.
    clear: Arc<ClearPaths>,
}

/// Why the host's kernel cannot be the bottom of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// openat2(2) is missing.
    #[error("the kernel has no openat2(2): Linux 5.6 or newer is needed")]
    TooOld,
    /// Something forbids openat2(2).
    #[error(
        "openat2(2) is forbidden ({0}), probably by a container's seccomp profile: \
         use a newer container runtime, or one with --security-opt seccomp=unconfined"
    )]
    Forbidden(Errno),
}

impl HostFs {
    /// The host, after a look whether it has what is needed.
    ///
    /// # Errors
    /// See [`Unsupported`].
    pub fn new() -> Result<HostFs, Unsupported> {
        match handle(&AbsPath::root()) {
            Ok(_) => Ok(HostFs { clear: Arc::default() }),
            Err(Errno::ENOSYS) => Err(Unsupported::TooOld),
            Err(errno) => Err(Unsupported::Forbidden(errno)),
        }
    }
}

impl HostFs {
    /// The proofs that it keeps, to be shared with who looks at the host, too.
    #[must_use]
    pub fn proofs(&self) -> Arc<ClearPaths> {
        self.clear.clone()
    }

    /// The path as the kernel takes it, if no symbolic link stands on the way.
    fn clear(&self, path: &AbsPath) -> Option<CBytes> {
        let short = path.as_bytes().len() < vu_api::PATH_MAX;
        if short && self.clear.knows(path.directory()) { CBytes::new(path.as_bytes()).ok() } else { None }
    }

    /// A handle of the object itself; the way to it is noted.
    fn handle(&self, path: &AbsPath) -> Result<OwnedFd, Errno> {
        let handle = handle(path);
        if matches!(handle, Ok(_) | Err(Errno::ENOENT)) {
            self.clear.note(path.directory());
        }
        handle
    }
}

impl Filesystem for HostFs {
    fn locate(&self, path: &AbsPath, _purpose: Purpose) -> Result<Location, Errno> {
        Ok(Location::Host(path.clone()))
    }

    fn withdraw(&self, what: Withdrawn) -> Withdrawal {
        self.clear.withdraw(what)
    }

    fn probe(&self, path: &AbsPath) -> Result<Probe, Errno> {
        match handle(path) {
            Ok(handle) => Ok(Probe::Found { file_type: None, handle: Some(handle) }),
            Err(Errno::ELOOP) => Ok(Probe::Symlink),
            Err(errno) => Err(errno),
        }
    }

    fn stat(&self, path: &AbsPath) -> Result<Stat, Errno> {
        match self.clear(path) {
            Some(name) => statx(libc::AT_FDCWD, &name.0, libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT),
            None => stat_of(self.handle(path)?),
        }
    }

    fn open(&self, path: &AbsPath, how: &OpenHow, caller: &dyn Caller) -> Result<Opened, Errno> {
        let flags = kernel_flags(how.flags);
        // openat2 insists on mode 0 for an open that creates nothing; open ignores it.
        let creates = flags & libc::O_CREAT != 0 || flags & libc::O_TMPFILE == libc::O_TMPFILE;
        let (mode, _umask) = if creates { masked(how.mode, caller)? } else { (0, None) };
        let _identity = Identity::of(caller)?;
        openat2(path, flags, mode).map(Opened::Host)
    }

    fn read_link(&self, path: &AbsPath) -> Result<Vec<u8>, Errno> {
        let link = handle(path)?;
        let mut target = vec![0; vu_api::PATH_MAX];
        // SAFETY: "" is a C string; `target` has the length that is passed.
        let length =
            unsafe { libc::readlinkat(link.as_raw_fd(), c"".as_ptr(), target.as_mut_ptr().cast(), target.len()) };
        match length_of(length) {
            Ok(length) => {
                target.truncate(length);
                Ok(target)
            }
            // What the empty path gives for an object that is no link (`do_readlinkat`, fs/stat.c).
            Err(Errno::ENOENT) => Err(Errno::EINVAL),
            Err(errno) => Err(errno),
        }
    }

    fn access(&self, path: &AbsPath, mode: AccessMode, caller: &dyn Caller) -> Result<(), Errno> {
        // By a handle in any case: the way there is not for the caller's identity to search.
        let object = self.handle(path)?;
        let _identity = Identity::of(caller)?;
        let flags = libc::AT_EACCESS | libc::AT_EMPTY_PATH;
        // The C library's faccessat emulates the flags on its own, and not this one.
        // SAFETY: "" is a C string; the other arguments are integers.
        done(unsafe { libc::syscall(libc::SYS_faccessat2, object.as_raw_fd(), c"".as_ptr(), mode.bits(), flags) })
    }

    fn mkdir(&self, path: &AbsPath, mode: u32, caller: &dyn Caller) -> Result<(), Errno> {
        let (mode, _umask) = masked(mode, caller)?;
        let _identity = Identity::of(caller)?;
        let (dir, name) = entry(path)?;
        // SAFETY: `name` is a C string.
        done(unsafe { libc::mkdirat(dir.as_raw_fd(), name.as_ptr(), mode) })
    }

    fn mknod(&self, path: &AbsPath, mode: u32, rdev: u64, caller: &dyn Caller) -> Result<(), Errno> {
        let (permissions, _umask) = masked(mode, caller)?;
        let mode = mode & libc::S_IFMT | permissions;
        let _identity = Identity::of(caller)?;
        let (dir, name) = entry(path)?;
        // SAFETY: `name` is a C string.
        done(unsafe { libc::mknodat(dir.as_raw_fd(), name.as_ptr(), mode, rdev) })
    }

    fn unlink(&self, path: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        let _identity = Identity::of(caller)?;
        let (dir, name) = entry(path)?;
        // SAFETY: `name` is a C string.
        done(unsafe { libc::unlinkat(dir.as_raw_fd(), name.as_ptr(), 0) })
    }

    fn rmdir(&self, path: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        let _identity = Identity::of(caller)?;
        let (dir, name) = entry(path)?;
        // SAFETY: `name` is a C string.
        done(unsafe { libc::unlinkat(dir.as_raw_fd(), name.as_ptr(), libc::AT_REMOVEDIR) })
    }

    fn rename(&self, from: &AbsPath, to: &AbsPath, flags: RenameFlags, caller: &dyn Caller) -> Result<(), Errno> {
        let _identity = Identity::of(caller)?;
        let (from_dir, from) = entry(from)?;
        let (to_dir, to) = entry(to)?;
        // The C library's renameat2 is missing in some (musl).
        // SAFETY: both names are C strings; the other arguments are integers.
        done(unsafe {
            libc::syscall(
                libc::SYS_renameat2,
                from_dir.as_raw_fd(),
                from.as_ptr(),
                to_dir.as_raw_fd(),
                to.as_ptr(),
                flags.bits(),
            )
        })
    }

    fn link(&self, from: &AbsPath, to: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        let _identity = Identity::of(caller)?;
        let (from_dir, from) = entry(from)?;
        let (to_dir, to) = entry(to)?;
        // SAFETY: both names are C strings.
        done(unsafe { libc::linkat(from_dir.as_raw_fd(), from.as_ptr(), to_dir.as_raw_fd(), to.as_ptr(), 0) })
    }

    fn symlink(&self, target: &[u8], path: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        let target = CBytes::new(target)?;
        let _identity = Identity::of(caller)?;
        let (dir, name) = entry(path)?;
        // SAFETY: target and name are C strings.
        done(unsafe { libc::symlinkat(target.as_ptr(), dir.as_raw_fd(), name.as_ptr()) })
    }

    fn chmod(&self, path: &AbsPath, mode: u32, caller: &dyn Caller) -> Result<(), Errno> {
        let object = handle(path)?;
        let _identity = Identity::of(caller)?;
        let mode = mode & 0o7777;
        // SAFETY: "" is a C string; the other arguments are integers.
        let changed =
            done(unsafe { libc::syscall(SYS_FCHMODAT2, object.as_raw_fd(), c"".as_ptr(), mode, libc::AT_EMPTY_PATH) });
        if !unknown(changed) {
            return changed;
        }
        // Before Linux 6.6.
        // SAFETY: the name is a C string.
        done(unsafe { libc::chmod(proc_name(&object).as_ptr(), mode) })
    }

    fn chown(&self, path: &AbsPath, uid: Option<u32>, gid: Option<u32>, caller: &dyn Caller) -> Result<(), Errno> {
        let object = handle(path)?;
        let _identity = Identity::of(caller)?;
        let (uid, gid) = (uid.unwrap_or(u32::MAX), gid.unwrap_or(u32::MAX));
        // SAFETY: "" is a C string.
        done(unsafe { libc::fchownat(object.as_raw_fd(), c"".as_ptr(), uid, gid, libc::AT_EMPTY_PATH) })
    }

    fn utimens(&self, path: &AbsPath, atime: TimeChange, mtime: TimeChange, caller: &dyn Caller) -> Result<(), Errno> {
        let object = handle(path)?;
        let _identity = Identity::of(caller)?;
        let times = [timespec(atime), timespec(mtime)];
        // SAFETY: "" is a C string; `times` holds the two elements that are read.
        done(unsafe { libc::utimensat(object.as_raw_fd(), c"".as_ptr(), times.as_ptr(), libc::AT_EMPTY_PATH) })
    }

    fn truncate(&self, path: &AbsPath, size: u64, caller: &dyn Caller) -> Result<(), Errno> {
        let object = handle(path)?;
        let _identity = Identity::of(caller)?;
        let size = i64::try_from(size).map_err(|_| Errno::EFBIG)?;
        // SAFETY: the name is a C string.
        done(unsafe { libc::truncate(proc_name(&object).as_ptr(), size) })
    }

    fn statfs(&self, path: &AbsPath) -> Result<StatFs, Errno> {
        let object = handle(path)?;
        // SAFETY: a structure of integers, of which all-zero is a value.
        let mut raw: libc::statfs64 = unsafe { mem::zeroed() };
        // SAFETY: `raw` is the structure that is written.
        done(unsafe { libc::fstatfs64(object.as_raw_fd(), &raw mut raw) })?;
        // SAFETY: two 32-bit integers, which libc keeps private; any bytes are a u64.
        let fsid = unsafe { mem::transmute::<libc::fsid_t, u64>(raw.f_fsid) };
        Ok(StatFs {
            fs_type: raw.f_type,
            bsize: raw.f_bsize,
            blocks: raw.f_blocks,
            bfree: raw.f_bfree,
            bavail: raw.f_bavail,
            files: raw.f_files,
            ffree: raw.f_ffree,
            fsid,
            namelen: raw.f_namelen,
            frsize: raw.f_frsize,
            flags: raw.f_flags,
        })
    }

    fn get_xattr(&self, path: &AbsPath, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let name = CBytes::new(name)?;
        if let Some(file) = self.clear(path) {
            return xattr_bytes(|buffer| {
                // SAFETY: file and name are C strings; the buffer has the length that is passed.
                unsafe { libc::lgetxattr(file.as_ptr(), name.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) }
            });
        }
        let object = self.handle(path)?;
        let file = proc_name(&object);
        xattr_bytes(|buffer| {
            // SAFETY: as above.
            unsafe { libc::getxattr(file.as_ptr(), name.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) }
        })
    }

    fn list_xattr(&self, path: &AbsPath) -> Result<Vec<Vec<u8>>, Errno> {
        let names = match self.clear(path) {
            Some(file) => xattr_bytes(|buffer| {
                // SAFETY: `file` is a C string; the buffer has the length that is passed.
                unsafe { libc::llistxattr(file.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) }
            }),
            None => {
                let object = self.handle(path)?;
                let file = proc_name(&object);
                xattr_bytes(|buffer| {
                    // SAFETY: as above.
                    unsafe { libc::listxattr(file.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) }
                })
            }
        }?;
        Ok(each_name(&names).map(<[u8]>::to_vec).collect())
    }

    fn set_xattr(
        &self,
        path: &AbsPath,
        name: &[u8],
        value: &[u8],
        flags: XattrFlags,
        caller: &dyn Caller,
    ) -> Result<(), Errno> {
        let name = CBytes::new(name)?;
        {
            let (dir, file) = entry(path)?;
            let _identity = Identity::of(caller)?;
            let args = XattrArgs {
                value: value.as_ptr().addr() as u64,
                size: u32::try_from(value.len()).map_err(|_| Errno::E2BIG)?,
                flags: flags.bits().cast_unsigned(),
            };
            // SAFETY: file and name are C strings; `args` is the structure that is read, of the size that is passed, and holds a value of the length that it tells.
            let set = done(unsafe {
                libc::syscall(
                    SYS_SETXATTRAT,
                    dir.as_raw_fd(),
                    file.as_ptr(),
                    libc::AT_SYMLINK_NOFOLLOW,
                    name.as_ptr(),
                    &raw const args,
                    size_of::<XattrArgs>(),
                )
            });
            if !unknown(set) {
                return set;
            }
        }
        // Before Linux 6.13.
        let object = handle(path)?;
        let file = proc_name(&object);
        let _identity = Identity::of(caller)?;
        // SAFETY: file and name are C strings; the value has the length that is passed.
        done(unsafe { libc::setxattr(file.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), flags.bits()) })
    }

    fn remove_xattr(&self, path: &AbsPath, name: &[u8], caller: &dyn Caller) -> Result<(), Errno> {
        let object = handle(path)?;
        let (file, name) = (proc_name(&object), CBytes::new(name)?);
        let _identity = Identity::of(caller)?;
        // SAFETY: file and name are C strings.
        done(unsafe { libc::removexattr(file.as_ptr(), name.as_ptr()) })
    }
}

/// Makes a request of ioctl(2) on the directory or regular file of this name, in no time and in the caller's name. It takes its argument from the beginning of
/// `data` and gives its answer there.
///
/// # Errors
/// Those of openat2(2), of [`Caller::host_credentials`], and of the request.
pub fn request(
    path: &AbsPath,
    request: ObjectRequest,
    data: &mut [u8; ROOM],
    caller: &dyn Caller,
) -> Result<i64, Errno> {
    let object = open_at_once(path.as_bytes(), libc::O_RDONLY, 0)?;
    let _identity = Identity::of(caller)?;
    let number = libc::c_ulong::from(request.number());
    // SAFETY: the requests there are take and give no more than ROOM bytes.
    let result = unsafe { libc::ioctl(object.as_raw_fd(), number, data.as_mut_ptr()) };
    done(result).map(|()| result.into())
}

/// Calls that the C library may not know yet (`include/uapi/asm-generic/unistd.h`).
const SYS_FCHMODAT2: i64 = 452;
const SYS_SETXATTRAT: i64 = 463;

/// Whether a call may not be known to the kernel; the profiles of some containers say `EPERM` of what they do not know.
fn unknown(result: Result<(), Errno>) -> bool {
    matches!(result, Err(Errno::ENOSYS | Errno::EPERM))
}

/// `struct xattr_args` (`include/uapi/linux/xattr.h`).
#[repr(C, align(8))]
struct XattrArgs {
    value: u64,
    size: u32,
    flags: u32,
}

/// The attributes of the object behind a descriptor, an `O_PATH` one included.
///
/// # Errors
/// Those of statx(2).
pub fn stat_of(object: impl AsFd) -> Result<Stat, Errno> {
    statx(object.as_fd().as_raw_fd(), b"\0", libc::AT_EMPTY_PATH)
}

/// `name` ends with a NUL.
fn statx(at: RawFd, name: &[u8], flags: i32) -> Result<Stat, Errno> {
    debug_assert_eq!(name.last(), Some(&0));
    let mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME | libc::STATX_MNT_ID;
    // SAFETY: a structure of integers, of which all-zero is a value.
    let mut raw: libc::statx = unsafe { mem::zeroed() };
    // SAFETY: `name` is a C string; `raw` is the structure that is written.
    done(unsafe { libc::statx(at, name.as_ptr().cast(), flags, mask, &raw mut raw) })?;
    let time = |t: libc::statx_timestamp| Time { secs: t.tv_sec, nanos: t.tv_nsec };
    let has = |bit: u32| raw.stx_mask & bit != 0;
    Ok(Stat {
        dev: libc::makedev(raw.stx_dev_major, raw.stx_dev_minor),
        ino: raw.stx_ino,
        mode: raw.stx_mode.into(),
        nlink: raw.stx_nlink.into(),
        uid: raw.stx_uid,
        gid: raw.stx_gid,
        rdev: libc::makedev(raw.stx_rdev_major, raw.stx_rdev_minor),
        size: raw.stx_size,
        blksize: raw.stx_blksize,
        blocks: raw.stx_blocks,
        atime: time(raw.stx_atime),
        mtime: time(raw.stx_mtime),
        ctime: time(raw.stx_ctime),
        btime: has(libc::STATX_BTIME).then(|| time(raw.stx_btime)),
        mnt_id: has(libc::STATX_MNT_ID).then_some(raw.stx_mnt_id),
    })
}

/// An `O_PATH` descriptor of the object itself.
fn handle(path: &AbsPath) -> Result<OwnedFd, Errno> {
    openat2(path, libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC, 0)
}

/// A handle of the directory that holds the name, and the name. Of the root, the name is `/`: relative to any directory it
/// is still the root, and the kernel has the right error for what is asked of it.
fn entry(path: &AbsPath) -> Result<(OwnedFd, CBytes), Errno> {
    let name = CBytes::new(path.file_name().unwrap_or(b"/"))?;
    let dir = openat2(&path.parent(), libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC, 0)?;
    Ok((dir, name))
}

/// A name for the object behind a handle, for the calls that take no handle. Following this magic link leads to the object
/// itself: to a symbolic link, not to its target.
fn proc_name(object: &impl AsRawFd) -> CBytes {
    let mut name = SmallVec::from_slice(b"/proc/self/fd/");
    name.extend_from_slice(object.as_raw_fd().to_string().as_bytes());
    name.push(0);
    CBytes(name)
}

/// openat2(2) that follows no symbolic link. `flags` and `mode` are as the kernel wants them.
fn openat2(path: &AbsPath, flags: i32, mode: u32) -> Result<OwnedFd, Errno> {
    let (start, rest) = shorten(path.as_bytes())?;
    let at = start.as_ref().map_or(libc::AT_FDCWD, AsRawFd::as_raw_fd);
    let path = CBytes::new(rest)?;
    // SAFETY: a structure of integers, of which all-zero is a value.
    let mut how: libc::open_how = unsafe { mem::zeroed() };
    how.flags = u64::from(flags.cast_unsigned());
    how.mode = mode.into();
    how.resolve = libc::RESOLVE_NO_SYMLINKS;
    loop {
        // SAFETY: `path` is a C string; `how` is the structure that is read, of the size that is passed.
        let fd =
            unsafe { libc::syscall(libc::SYS_openat2, at, path.as_ptr(), &raw const how, size_of::<libc::open_how>()) };
        match RawFd::try_from(fd) {
            // SAFETY: a descriptor that was just made, and that nobody else knows.
            Ok(fd) if fd >= 0 => return Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
            // A signal for the hypervisor is not the tracee's business.
            _ if Errno::last() == Errno::EINTR => {}
            _ => return Err(Errno::last()),
        }
    }
}

/// What openat2 must be given for what open was given: bits that open ignores are errors there (openat2(2), NOTES).
fn kernel_flags(flags: OpenFlags) -> i32 {
    const PATH: i32 = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let bits = flags.bits() | libc::O_CLOEXEC;
    if flags.contains(OpenFlags::PATH) {
        bits & PATH | libc::O_NOFOLLOW
    } else {
        // The tracee's terminal must not become the hypervisor's; open on 64 bits sets O_LARGEFILE by itself.
        bits & sys::VALID_OPEN_FLAGS | libc::O_NOCTTY | OpenFlags::LARGEFILE.bits()
    }
}

/// The permission bits for what is made with the caller's umask as long as that is worn; where it cannot be, they are without those that it takes away.
fn masked(mode: u32, caller: &dyn Caller) -> Result<(u32, Option<Worn>), Errno> {
    let mask = caller.host_credentials()?.umask;
    let (mode, worn) = (mode & 0o7777, Worn::new(mask));
    Ok((if worn.is_some() { mode } else { mode & !mask }, worn))
}

fn timespec(change: TimeChange) -> libc::timespec {
    let (secs, nanos) = match change {
        TimeChange::Now => (0, libc::UTIME_NOW),
        TimeChange::Omit => (0, libc::UTIME_OMIT),
        TimeChange::Set(time) => (time.secs, time.nanos.into()),
    };
    libc::timespec { tv_sec: secs, tv_nsec: nanos }
}

/// What a call that fills a buffer gives, however long it is: values and lists of xattrs are 64 KiB at most
/// (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
fn xattr_bytes(mut fill: impl FnMut(&mut [u8]) -> isize) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 256];
    loop {
        match length_of(fill(&mut buffer)) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::ERANGE) if buffer.len() < 65536 => buffer.resize(65536, 0),
            Err(errno) => return Err(errno),
        }
    }
}

/// The names of a list, in which each has a NUL behind it.
fn each_name(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == 0).filter(|name| !name.is_empty())
}

/// The extended attributes of an open file, by their names; none where the file system has none. It may be open as a name only (`O_PATH`), of which
/// flistxattr(2) tells none.
///
/// # Errors
/// Those of listxattr(2).
pub fn xattrs_of(object: BorrowedFd<'_>) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Errno> {
    let file = proc_name(&object);
    // SAFETY: `file` is a C string; the buffer has the length that is passed.
    let list =
        xattr_bytes(|buffer| unsafe { libc::listxattr(file.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) });
    let list = match list {
        Err(Errno::EOPNOTSUPP) => Vec::new(),
        list => list?,
    };
    let value = |name: &[u8]| {
        let name = CBytes::new(name)?;
        xattr_bytes(|buffer| {
            // SAFETY: both are C strings; the buffer has the length that is passed.
            unsafe { libc::getxattr(file.as_ptr(), name.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) }
        })
    };
    // One that cannot be read is not told.
    Ok(each_name(&list).filter_map(|name| Some((name.to_vec(), value(name).ok()?))).collect())
}

fn length_of(result: isize) -> Result<usize, Errno> {
    usize::try_from(result).map_err(|_| Errno::last())
}

fn done(result: impl Into<i64>) -> Result<(), Errno> {
    if result.into() < 0 { Err(Errno::last()) } else { Ok(()) }
}

/// A C string, on the stack if it is short.
struct CBytes(SmallVec<[u8; 256]>);

impl CBytes {
    fn new(bytes: &[u8]) -> Result<CBytes, Errno> {
        if bytes.contains(&0) {
            return Err(Errno::EINVAL);
        }
        let mut text = SmallVec::from_slice(bytes);
        text.push(0);
        Ok(CBytes(text))
    }

    /// Valid as long as `self` is.
    fn as_ptr(&self) -> *const libc::c_char {
        self.0.as_ptr().cast()
    }
}

/// While it lives, this thread does file accesses as the caller. There is something to do only where the hypervisor runs as
/// root: otherwise every process of its views has its identity, or one it cannot take.
struct Identity {
    own_groups: Vec<libc::gid_t>,
    /// It belongs to the thread that made it.
    _thread: PhantomData<*const ()>,
}

impl Identity {
    fn of(caller: &dyn Caller) -> Result<Option<Identity>, Errno> {
        let (uid, gid) = (sys::effective_uid(), sys::effective_gid());
        if uid != 0 {
            return Ok(None);
        }
        let who = caller.host_credentials()?;
        if who.uid == uid && who.gid == gid {
            return Ok(None);
        }
        let mut own_groups = vec![0; 65536];
        // SAFETY: the array has NGROUPS_MAX elements, the number that is passed.
        let count = unsafe { libc::getgroups(65536, own_groups.as_mut_ptr()) };
        own_groups.truncate(usize::try_from(count).map_err(|_| Errno::last())?);
        set_groups(&who.groups)?;
        let identity = Identity { own_groups, _thread: PhantomData };
        // SAFETY: integers; both are calls for one thread, and root's cannot fail.
        unsafe {
            libc::setfsgid(who.gid);
            libc::setfsuid(who.uid);
        }
        Ok(Some(identity))
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe {
            libc::setfsuid(sys::effective_uid());
            libc::setfsgid(sys::effective_gid());
        }
        if let Err(errno) = set_groups(&self.own_groups) {
            // What had the right a moment ago has it still; if not, going on would be with foreign rights.
            tracing::error!("cannot take back the hypervisor's groups: {errno}");
            std::process::abort();
        }
    }
}

/// setgroups(2) for this thread: the C library's function would do it for all threads.
fn set_groups(groups: &[libc::gid_t]) -> Result<(), Errno> {
    // SAFETY: the array has the number of elements that is passed.
    done(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })
}
