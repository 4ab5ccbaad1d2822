//! System calls of the hypervisor on the host, on behalf of tracees, that `nix` has not or has only with conversions we would undo.
//!
//! With `host.rs` the only file of this crate with `unsafe`.

use crate::umask::Worn;
use std::{
    ffi::{CStr, CString},
    mem::{self, MaybeUninit},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    sync::OnceLock,
};
use vu_api::{Errno, FileType, PATH_MAX};

/// Where a relative path begins.
#[derive(Debug, Clone, Copy)]
pub enum At<'a> {
    /// The path is absolute.
    Root,
    /// At this directory.
    Dir(BorrowedFd<'a>),
}

impl At<'_> {
    fn raw(self) -> RawFd {
        match self {
            At::Root => libc::AT_FDCWD,
            At::Dir(fd) => fd.as_raw_fd(),
        }
    }
}

/// Whether a final symbolic link is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Final {
    /// It is the object meant.
    Itself,
    /// It would have to be followed, so it is an error (`ELOOP`) here.
    Refuse,
}

/// fcntl(2) commands (`include/uapi/asm-generic/fcntl.h`).
const F_SETSIG: i32 = 10;
/// Which signal [`F_SETSIG`] chose.
pub const F_GETSIG: i32 = 11;

/// The rule of landlock(7) about what lies below a directory (`include/uapi/linux/landlock.h`).
pub const LANDLOCK_RULE_PATH_BENEATH: u32 = 1;

/// What openat2 knows (`VALID_OPEN_FLAGS`, `include/linux/fcntl.h`).
pub const VALID_OPEN_FLAGS: i32 = libc::O_ACCMODE
    | libc::O_CREAT
    | libc::O_EXCL
    | libc::O_NOCTTY
    | libc::O_TRUNC
    | libc::O_APPEND
    | libc::O_NONBLOCK
    | libc::O_SYNC
    | libc::O_ASYNC
    | libc::O_DIRECT
    | 0o100_000
    | libc::O_DIRECTORY
    | libc::O_NOFOLLOW
    | libc::O_NOATIME
    | libc::O_CLOEXEC
    | libc::O_PATH
    | libc::O_TMPFILE;

fn c_path(path: &[u8]) -> Result<CString, Errno> {
    CString::new(path).map_err(|_| Errno::EINVAL)
}

fn check(result: i64) -> Result<i64, Errno> {
    if result < 0 { Err(Errno::last()) } else { Ok(result) }
}

/// Takes a descriptor that a system call returned.
fn own(result: i64) -> Result<OwnedFd, Errno> {
    let fd = RawFd::try_from(check(result)?).map_err(|_| Errno::EIO)?;
    // SAFETY: the call just made it, and nothing else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A path as the kernel takes it.
///
/// A path of the host may be longer than `PATH_MAX`: where a mount puts a long path of the view below a directory of its own. Of such a one the
/// beginning is looked up first, without following a symbolic link, and what is left is relative to that.
pub struct Near {
    start: Option<OwnedFd>,
    path: CString,
}

impl Near {
    /// # Errors
    /// Those of openat2(2) for the beginning of a path that is too long.
    pub fn new(path: &[u8]) -> Result<Near, Errno> {
        let (start, rest) = shorten(path)?;
        Ok(Near { start, path: c_path(rest)? })
    }

    fn raw(&self) -> RawFd {
        self.start.as_ref().map_or(libc::AT_FDCWD, AsRawFd::as_raw_fd)
    }

    /// For calls that take no directory; valid as long as `self` is.
    fn absolute(&self) -> Result<CString, Errno> {
        match &self.start {
            None => Ok(self.path.clone()),
            Some(start) => {
                c_path(&[format!("/proc/self/fd/{}/", start.as_raw_fd()).as_bytes(), self.path.as_bytes()].concat())
            }
        }
    }
}

/// What is left of an absolute path when its beginning has been looked up, so far as that is necessary to make it short enough.
///
/// # Errors
/// `ENAMETOOLONG` if one component alone is too long; those of openat2(2).
pub fn shorten(path: &[u8]) -> Result<(Option<OwnedFd>, &[u8]), Errno> {
    let (mut start, mut rest) = (None::<OwnedFd>, path);
    while rest.len() >= PATH_MAX {
        // Something is left behind the slash, be it another one.
        let slash = rest[..PATH_MAX - 1].iter().rposition(|&b| b == b'/').filter(|&at| at > 0);
        let slash = slash.ok_or(Errno::ENAMETOOLONG)?;
        let from = start.as_ref().map_or(At::Root, |dir| At::Dir(dir.as_fd()));
        start = Some(open_beneath(
            from.raw(),
            &c_path(&rest[..slash])?,
            libc::O_PATH | libc::O_CLOEXEC | libc::O_NOFOLLOW,
            0,
        )?);
        rest = &rest[slash + 1..];
    }
    Ok((start, rest))
}

/// Opens the object of a path for looking at it (`O_PATH`), if no symbolic link stands on the way.
///
/// # Errors
/// `ELOOP` if one does; those of openat2(2).
pub fn look_at(at: At<'_>, path: &[u8], last: Final) -> Result<OwnedFd, Errno> {
    let look = |nofollow| open_without_links(at, path, libc::O_PATH | libc::O_CLOEXEC | nofollow, 0);
    let is_link = |it: OwnedFd| file_type(it.as_fd()) == Ok(FileType::Symlink);
    match last {
        Final::Itself => look(libc::O_NOFOLLOW),
        // Whether somebody's link may be followed in a sticky directory (`fs.protected_symlinks`) the kernel asks of the hypervisor, and before it notices that none is to
        // be (`pick_link`, `fs/namei.c`). It is the tracee that may follow it.
        Final::Refuse => match look(0) {
            Err(Errno::EACCES) if look(libc::O_NOFOLLOW).is_ok_and(is_link) => Err(Errno::ELOOP),
            found => found,
        },
    }
}

/// openat2(2) with `RESOLVE_NO_SYMLINKS`; flags that it does not know are left out, as openat(2) does.
fn open_without_links(at: At<'_>, path: &[u8], flags: i32, mode: u32) -> Result<OwnedFd, Errno> {
    match at {
        At::Root => {
            let near = Near::new(path)?;
            open_beneath(near.raw(), &near.path, flags, mode)
        }
        At::Dir(dir) => open_beneath(dir.as_raw_fd(), &c_path(path)?, flags, mode),
    }
}

fn open_beneath(at: RawFd, path: &CStr, flags: i32, mode: u32) -> Result<OwnedFd, Errno> {
    // SAFETY: all-zero is valid for this struct of integers.
    let mut how: libc::open_how = unsafe { mem::zeroed() };
    how.flags = u64::from((flags & VALID_OPEN_FLAGS).cast_unsigned());
    how.mode = u64::from(mode & 0o7777);
    how.resolve = libc::RESOLVE_NO_SYMLINKS;
    // SAFETY: a C string and a struct of the size that is told.
    own(unsafe { libc::syscall(libc::SYS_openat2, at, path.as_ptr(), &raw const how, size_of::<libc::open_how>()) })
}

/// open(2) with an absolute path.
///
/// # Errors
/// Those of open(2).
pub fn open(path: &[u8], flags: i32) -> Result<OwnedFd, Errno> {
    let near = Near::new(path)?;
    let flags = flags & !(libc::O_CREAT | libc::O_EXCL) | libc::O_CLOEXEC;
    // SAFETY: a C string; without O_CREAT no mode is read.
    own(unsafe { libc::openat(near.raw(), near.path.as_ptr(), flags) }.into())
}

/// open(2) of a regular file or directory on whose absolute path no symbolic link stands, in no time: neither a lease that somebody has on it (fcntl(2)),
/// nor what may have come in its place just now, makes the caller wait. Without `O_EXCL`; with `O_CREAT`, it is made if it has just gone.
///
/// # Errors
/// `EAGAIN` if a lease is to be broken first, `ELOOP` if a link has come in its place; those of openat2(2).
pub fn open_at_once(path: &[u8], flags: i32, mode: u32) -> Result<OwnedFd, Errno> {
    let mode = if flags & libc::O_CREAT == 0 { 0 } else { mode };
    let at_once = flags & !libc::O_EXCL | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    let fd = open_without_links(At::Root, path, at_once, mode)?;
    if flags & libc::O_NONBLOCK == 0 {
        set_status_flags(fd.as_fd(), flags)?;
    }
    Ok(fd)
}

/// Gives an open file those of the flags of an open that can be changed afterwards (`F_SETFL`, fcntl(2)).
///
/// # Errors
/// Those of fcntl(2).
pub fn set_status_flags(fd: BorrowedFd<'_>, flags: i32) -> Result<(), Errno> {
    // SAFETY: plain numbers. Flags that cannot be changed are ignored.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags) }.into()).map(drop)
}

/// Makes a regular file at an absolute path on which no symbolic link stands, and opens it.
///
/// # Errors
/// `EEXIST` if there is something, `ELOOP` if a link is on the way; those of openat2(2).
pub fn make(path: &[u8], flags: i32, mode: u32) -> Result<OwnedFd, Errno> {
    open_without_links(At::Root, path, flags | libc::O_CREAT | libc::O_EXCL | libc::O_NOCTTY | libc::O_CLOEXEC, mode)
}

/// Takes the name of what was made just now away again.
pub fn unmake(path: &[u8]) {
    if let Ok(near) = Near::new(path) {
        // SAFETY: a C string. That it is gone already is as well.
        let _ = unsafe { libc::unlinkat(near.raw(), near.path.as_ptr(), 0) };
    }
}

/// openat(2), `O_PATH`, following links: for `cwd` and the like below a held `/proc/PID`.
///
/// # Errors
/// Those of openat(2).
pub fn open_link(dir: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    let name = c_path(name.as_bytes())?;
    // SAFETY: a C string.
    own(unsafe { libc::openat(dir.as_fd().as_raw_fd(), name.as_ptr(), libc::O_PATH | libc::O_CLOEXEC) }.into())
}

/// How an object of the host is reached.
#[derive(Debug, Clone, Copy)]
pub enum Reach<'a> {
    /// It is held.
    Held(BorrowedFd<'a>),
    /// By an absolute path on which no symbolic link stands. A link at its end is meant itself.
    Path(&'a [u8]),
}

impl Reach<'_> {
    /// What the first arguments of an `…at` call are made of, and its flags.
    fn at(self) -> Result<(Near, RawFd, i32), Errno> {
        match self {
            Reach::Held(fd) => {
                Ok((Near { start: None, path: CString::default() }, fd.as_raw_fd(), libc::AT_EMPTY_PATH))
            }
            Reach::Path(path) => {
                let near = Near::new(path)?;
                let at = near.raw();
                Ok((near, at, libc::AT_SYMLINK_NOFOLLOW))
            }
        }
    }
}

/// newfstatat(2), as the kernel fills it.
///
/// # Errors
/// Those of fstatat(2).
pub fn stat_at(object: Reach<'_>) -> Result<libc::stat, Errno> {
    let (near, at, flags) = object.at()?;
    let mut stat = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: a C string, and room for one struct; zeroed, it is valid whatever the kernel fills in.
    unsafe {
        check(libc::fstatat(at, near.path.as_ptr(), stat.as_mut_ptr(), flags).into())?;
        Ok(stat.assume_init())
    }
}

/// fstat(2), as the kernel fills it.
///
/// # Errors
/// Those of fstat(2).
pub fn fstat(fd: BorrowedFd<'_>) -> Result<libc::stat, Errno> {
    let mut stat = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: room for one struct; zeroed, it is valid whatever the kernel fills in.
    unsafe {
        check(libc::fstat(fd.as_raw_fd(), stat.as_mut_ptr()).into())?;
        Ok(stat.assume_init())
    }
}

/// Which object a path leads to on the host, links followed: device and inode number.
///
/// # Errors
/// Those of stat(2).
pub fn identity(path: &[u8]) -> Result<(u64, u64), Errno> {
    let stat = fstat(open(path, libc::O_PATH)?.as_fd())?;
    Ok((stat.st_dev, stat.st_ino))
}

/// stat(2): all links are followed.
///
/// # Errors
/// Those of stat(2).
pub fn stat(path: &[u8]) -> Result<libc::stat, Errno> {
    let near = Near::new(path)?;
    let mut stat = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: a C string; the kernel fills the struct, of which all zeros are a valid value, too.
    unsafe {
        check(libc::fstatat(near.raw(), near.path.as_ptr(), stat.as_mut_ptr(), 0).into())?;
        Ok(stat.assume_init())
    }
}

/// The type of an open object. What has none (epoll, eventfd and the like) is a stream: neither directory nor file.
///
/// # Errors
/// Those of fstat(2).
pub fn file_type(fd: BorrowedFd<'_>) -> Result<FileType, Errno> {
    Ok(FileType::from_mode(fstat(fd)?.st_mode).unwrap_or(FileType::Fifo))
}

/// statx(2), as the kernel fills it.
///
/// # Errors
/// Those of statx(2).
pub fn statx(object: Reach<'_>, flags: i32, mask: u32) -> Result<libc::statx, Errno> {
    let (near, at, reach) = object.at()?;
    let mut stat = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: as in `stat_at`.
    unsafe {
        check(libc::statx(at, near.path.as_ptr(), flags | reach, mask, stat.as_mut_ptr()).into())?;
        Ok(stat.assume_init())
    }
}

/// From which number on a process is given no descriptors (`RLIMIT_NOFILE`, getrlimit(2)).
///
/// # Errors
/// Those of prlimit(2).
pub fn descriptor_limit(process: libc::pid_t) -> Result<u64, Errno> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: nothing is read, and there is room for one struct.
    check(unsafe { libc::prlimit(process, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut limit) }.into())?;
    Ok(limit.rlim_cur)
}

/// fstatfs(2), as the kernel fills it.
///
/// # Errors
/// Those of fstatfs(2).
pub fn fstatfs(fd: BorrowedFd<'_>) -> Result<libc::statfs64, Errno> {
    let mut stat = MaybeUninit::<libc::statfs64>::zeroed();
    // SAFETY: as in `fstat`.
    unsafe {
        check(libc::fstatfs64(fd.as_raw_fd(), stat.as_mut_ptr()).into())?;
        Ok(stat.assume_init())
    }
}

/// statmount(2): what it tells in a buffer of this size, by a whole `struct mnt_id_req`.
///
/// # Errors
/// Those of statmount(2).
pub fn statmount(request: &[u8], size: usize) -> Result<Vec<u8>, Errno> {
    const STATMOUNT: i64 = 457;
    let mut buffer = vec![0u8; size];
    // SAFETY: a request that tells its own size, which is its length, and a buffer of the length that is told.
    check(unsafe { libc::syscall(STATMOUNT, sized(request)?.as_ptr(), buffer.as_mut_ptr(), buffer.len(), 0) })?;
    let told = buffer.first_chunk().map_or(0, |told| u32::from_le_bytes(*told));
    buffer.truncate(usize::try_from(told).unwrap_or(0));
    Ok(buffer)
}

/// listmount(2): at most `most` numbers, by a whole `struct mnt_id_req`.
///
/// # Errors
/// Those of listmount(2).
pub fn listmount(request: &[u8], most: usize, flags: u32) -> Result<Vec<u64>, Errno> {
    const LISTMOUNT: i64 = 458;
    let mut ids = vec![0u64; most];
    // SAFETY: a request that tells its own size, which is its length, and room for as many numbers as is told.
    let count =
        check(unsafe { libc::syscall(LISTMOUNT, sized(request)?.as_ptr(), ids.as_mut_ptr(), ids.len(), flags) })?;
    ids.truncate(usize::try_from(count).unwrap_or(0));
    Ok(ids)
}

/// The number of the mount namespace of a process, whose directory in `/proc` is held (ioctl_nsfs(2)).
///
/// # Errors
/// Those of openat(2), and `ENOTTY` before Linux 6.11.
pub fn mount_namespace(process: impl AsFd) -> Result<u64, Errno> {
    const NS_GET_MNTNS_ID: libc::Ioctl = 0x8008_b705;
    let link = c"ns/mnt";
    // SAFETY: a C string.
    let namespace =
        own(unsafe { libc::openat(process.as_fd().as_raw_fd(), link.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) }
            .into())?;
    let mut id = 0u64;
    // SAFETY: the request writes a number of 8 bytes.
    check(unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_MNTNS_ID, &raw mut id) }.into())?;
    Ok(id)
}

/// A structure that begins with its size.
///
/// # Errors
/// `EINVAL` if it does not.
fn sized(bytes: &[u8]) -> Result<&[u8], Errno> {
    let told = bytes.first_chunk().map(|told| u32::from_le_bytes(*told));
    if told.is_some_and(|told| usize::try_from(told) == Ok(bytes.len())) { Ok(bytes) } else { Err(Errno::EINVAL) }
}

/// faccessat2(2).
///
/// # Errors
/// Those of faccessat2(2).
pub fn access(object: Reach<'_>, mode: i32, flags: i32) -> Result<(), Errno> {
    let (near, at, reach) = object.at()?;
    // SAFETY: a C string and plain numbers.
    check(unsafe { libc::syscall(libc::SYS_faccessat2, at, near.path.as_ptr(), mode, flags | reach) }).map(drop)
}

/// readlinkat(2), whole. An empty name reads an open link itself.
///
/// # Errors
/// Those of readlinkat(2).
pub fn read_link(dir: impl AsFd, name: &str) -> Result<Vec<u8>, Errno> {
    let name = c_path(name.as_bytes())?;
    let mut target = vec![0u8; 4096];
    // SAFETY: a C string, and a buffer of the length that is told.
    let length = check(unsafe {
        libc::readlinkat(dir.as_fd().as_raw_fd(), name.as_ptr(), target.as_mut_ptr().cast(), target.len())
    } as i64)?;
    target.truncate(usize::try_from(length).unwrap_or(0));
    Ok(target)
}

/// Who is at the other end of a socket of AF_UNIX (`SO_PEERCRED`, unix(7)); process 0 if nobody is.
pub fn peer(fd: BorrowedFd<'_>) -> Result<libc::ucred, Errno> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = libc::socklen_t::try_from(size_of::<libc::ucred>()).unwrap_or(0);
    // SAFETY: the kernel writes no more than `length` bytes, the size of `peer`.
    let result = unsafe {
        libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut peer).cast(), &raw mut length)
    };
    if result == 0 { Ok(peer) } else { Err(Errno::last()) }
}

/// Whether an object lies in a `/proc`.
#[must_use]
pub fn is_procfs(fd: BorrowedFd<'_>) -> bool {
    fstatfs(fd).is_ok_and(|stat| stat.f_type == libc::PROC_SUPER_MAGIC)
}

/// What the last component of a path is; a link is not followed. Half as dear as opening it.
///
/// # Errors
/// Those of fstatat(2).
pub fn last_type(from: At<'_>, path: &[u8]) -> Result<FileType, Errno> {
    FileType::from_mode(last_mode(from, path)?).ok_or(Errno::EIO)
}

/// The same with its permissions (`st_mode`).
///
/// # Errors
/// Those of fstatat(2).
pub fn last_mode(from: At<'_>, path: &[u8]) -> Result<u32, Errno> {
    let near = Near::new(path)?;
    let at = if near.start.is_some() { near.raw() } else { from.raw() };
    // SAFETY: all-zero is a valid value of this plain struct.
    let mut stat: libc::stat = unsafe { mem::zeroed() };
    // SAFETY: an open descriptor or AT_FDCWD, a C string, and a struct that the kernel fills.
    check(unsafe { libc::fstatat(at, near.path.as_ptr(), &raw mut stat, libc::AT_SYMLINK_NOFOLLOW).into() })?;
    Ok(stat.st_mode)
}

/// readlink(2) of an absolute path, whole.
///
/// # Errors
/// Those of readlink(2).
pub fn read_link_at(path: &[u8]) -> Result<Vec<u8>, Errno> {
    let near = Near::new(path)?;
    let mut target = vec![0u8; 4096];
    // SAFETY: a C string, and a buffer of the length that is told.
    let length =
        check(unsafe { libc::readlinkat(near.raw(), near.path.as_ptr(), target.as_mut_ptr().cast(), target.len()) }
            as i64)?;
    target.truncate(usize::try_from(length).unwrap_or(0));
    Ok(target)
}

/// The extended attribute `name` of the object of an absolute path, no final link followed; with an empty name, the list of names. A `size` of 0 asks for
/// the length only.
///
/// # Errors
/// Those of lgetxattr(2) and llistxattr(2).
pub fn xattr(path: &[u8], name: &[u8], size: usize) -> Result<(usize, Vec<u8>), Errno> {
    let near = Near::new(path)?;
    let (path, name) = (near.absolute()?, c_path(name)?);
    let mut value = vec![0u8; size];
    // SAFETY: C strings, and a buffer of the length that is told.
    let length = check(unsafe {
        if name.is_empty() {
            libc::llistxattr(path.as_ptr(), value.as_mut_ptr().cast(), size)
        } else {
            libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), size)
        }
    } as i64)?;
    let length = usize::try_from(length).unwrap_or(0);
    value.truncate(length);
    Ok((length, value))
}

/// lseek(2).
///
/// # Errors
/// Those of lseek(2).
pub fn seek(fd: BorrowedFd<'_>, offset: i64, whence: i32) -> Result<i64, Errno> {
    // SAFETY: plain numbers.
    check(unsafe { libc::lseek(fd.as_raw_fd(), offset, whence) })
}

/// `AT_EXECVE_CHECK` (Linux 6.14): the caller only asks whether it could be executed.
pub const EXECVE_CHECK: i32 = 0x10000;

/// Whether a file of this path is open for writing, so that it cannot be executed; kernels that cannot be asked say no.
#[must_use]
pub fn is_being_written(path: &[u8]) -> bool {
    let Ok(near) = Near::new(path) else { return false };
    let none = [std::ptr::null::<libc::c_char>()];
    let argv = [near.path.as_ptr(), std::ptr::null()];
    // SAFETY: a C string and two vectors that end with NULL; with this flag the call executes nothing.
    let result = unsafe {
        libc::syscall(libc::SYS_execveat, near.raw(), near.path.as_ptr(), argv.as_ptr(), none.as_ptr(), EXECVE_CHECK)
    };
    check(result) == Err(Errno::ETXTBSY)
}

/// The name of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its own: getsockname(2).
    Own,
    /// That of the one it is connected with: getpeername(2).
    Peer,
}

/// The address of a socket, as the kernel has it.
///
/// # Errors
/// Those of getsockname(2) and getpeername(2).
pub fn socket_address(fd: BorrowedFd<'_>, end: End) -> Result<Vec<u8>, Errno> {
    let mut address = vec![0; size_of::<libc::sockaddr_storage>()];
    let mut length = u32::try_from(address.len()).unwrap_or(0);
    let to = address.as_mut_ptr().cast::<libc::sockaddr>();
    // SAFETY: a buffer of the length that is told, which the kernel fills byte by byte.
    check(i64::from(unsafe {
        match end {
            End::Own => libc::getsockname(fd.as_raw_fd(), to, &raw mut length),
            End::Peer => libc::getpeername(fd.as_raw_fd(), to, &raw mut length),
        }
    }))?;
    address.truncate(usize::try_from(length).unwrap_or(0));
    Ok(address)
}

/// A stable handle of a process.
///
/// # Errors
/// `ESRCH`, `EMFILE`.
pub fn pidfd_open(process: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: plain numbers.
    own(unsafe { libc::syscall(libc::SYS_pidfd_open, process, 0) })
}

/// A copy of a process's descriptor: the same description.
///
/// # Errors
/// `EBADF`, `ESRCH`, `EPERM`.
pub fn pidfd_getfd(process: BorrowedFd<'_>, number: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: plain numbers.
    own(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) })
}

/// The signal number a description would announce input with: where the tag of its route is kept (see `route.rs`).
///
/// # Errors
/// `EBADF` for an `O_PATH` descriptor.
pub fn tag(fd: BorrowedFd<'_>) -> Result<i32, Errno> {
    // SAFETY: plain numbers.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), F_GETSIG) }.into()).map(|tag| i32::try_from(tag).unwrap_or(0))
}

/// Whether a descriptor stands for a name only (`O_PATH`).
#[must_use]
pub fn is_path_only(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: plain numbers.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) & libc::O_PATH != 0 }
}

/// Whether what is open was made without a name (`O_TMPFILE`).
#[must_use]
pub fn was_made_unnamed(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: plain numbers.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    flags >= 0 && flags & libc::O_TMPFILE == libc::O_TMPFILE
}

/// Sets the tag of a description.
///
/// # Errors
/// `EBADF` for an `O_PATH` descriptor.
pub fn set_tag(fd: BorrowedFd<'_>, tag: i32) -> Result<(), Errno> {
    // SAFETY: plain numbers.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), F_SETSIG, tag) }.into()).map(drop)
}

/// bind(2) to an address whose path begins in a directory: that is this thread's working directory meanwhile, which is its own while it wears a umask.
///
/// # Errors
/// Those of openat(2), fchdir(2) and bind(2).
pub fn bind_in(_own: &Worn, dir: BorrowedFd<'_>, socket: BorrowedFd<'_>, address: &[u8]) -> Result<(), Errno> {
    let length = libc::socklen_t::try_from(address.len()).map_err(|_| Errno::EINVAL)?;
    let here = open(b".", libc::O_PATH)?;
    // SAFETY: plain numbers.
    check(unsafe { libc::fchdir(dir.as_raw_fd()) }.into())?;
    // SAFETY: the address has the length that is told.
    let bound = check(unsafe { libc::bind(socket.as_raw_fd(), address.as_ptr().cast(), length) }.into());
    // SAFETY: plain numbers.
    check(unsafe { libc::fchdir(here.as_raw_fd()) }.into())?;
    bound.map(drop)
}

/// Adds to a ruleset that these accesses are allowed below a directory (landlock_add_rule(2)).
///
/// # Errors
/// Those of landlock_add_rule(2).
pub fn allow_beneath(ruleset: BorrowedFd<'_>, access: u64, directory: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut rule = access.to_ne_bytes().to_vec();
    rule.extend_from_slice(&directory.as_raw_fd().to_ne_bytes());
    // SAFETY: the rule is a `struct landlock_path_beneath_attr`, which is packed.
    let result = unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), LANDLOCK_RULE_PATH_BENEATH, rule.as_ptr(), 0)
    };
    check(result).map(drop)
}

/// The effective user id of the hypervisor, which never changes it.
#[must_use]
pub fn effective_uid() -> u32 {
    static UID: OnceLock<u32> = OnceLock::new();
    // SAFETY: cannot fail.
    *UID.get_or_init(|| unsafe { libc::geteuid() })
}

/// Its effective group id, which it never changes either.
#[must_use]
pub fn effective_gid() -> u32 {
    static GID: OnceLock<u32> = OnceLock::new();
    // SAFETY: cannot fail.
    *GID.get_or_init(|| unsafe { libc::getegid() })
}

/// Whether a process, whose directory in `/proc` is held, has the hypervisor's users and mounts (namespaces(7)). Who cannot be looked at has not.
#[must_use]
pub fn shares_namespaces(process: Result<BorrowedFd<'_>, Errno>) -> bool {
    let same = |process: BorrowedFd<'_>, name: &str| {
        let own = read_link_at(format!("/proc/self/{name}").as_bytes());
        own.is_ok() && own == read_link(process, name)
    };
    process.is_ok_and(|process| same(process, "ns/mnt") && same(process, "ns/user"))
}

/// The calls that change names and attributes by path, and need of their caller no more than what they are passed, its rights and its umask.
const CHANGES: &[i64] = &[
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_mknod,
    libc::SYS_mknodat,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_link,
    libc::SYS_linkat,
    libc::SYS_symlink,
    libc::SYS_symlinkat,
    libc::SYS_chmod,
    libc::SYS_fchmodat,
    SYS_FCHMODAT2,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
];
const SYS_FCHMODAT2: i64 = 452;

/// Whether [`change`] makes this call.
#[must_use]
pub fn is_change(nr: i64) -> bool {
    CHANGES.contains(&nr)
}

/// An argument of [`change`].
#[derive(Debug, Clone, Copy)]
pub enum Passed<'a> {
    /// A plain number.
    Number(u64),
    /// A C string, or the two times of utimensat(2).
    Bytes(&'a [u8]),
}

/// Makes a call that changes names or attributes; a number in the place of a pointer is taken for a bad address.
///
/// # Errors
/// Those of the call; `ENOSYS` for any other one.
pub fn change(nr: i64, args: &[Passed<'_>; 6]) -> Result<i64, Errno> {
    if !is_change(nr) {
        return Err(Errno::ENOSYS);
    }
    let raw = args.map(|argument| match argument {
        Passed::Number(number) => number,
        Passed::Bytes(bytes) => bytes.as_ptr().addr() as u64,
    });
    // SAFETY: these calls write no memory. What they read of it are C strings and two `struct timespec`, which the kernel checks to be readable.
    check(unsafe { libc::syscall(nr, raw[0], raw[1], raw[2], raw[3], raw[4], raw[5]) })
}

/// User, group and supplementary groups of an unprivileged hypervisor, which are those of all processes of its views: with its `no_new_privs`, none
/// can take others. `None` for a hypervisor with privileges.
pub fn everybodys_ids() -> Option<(u32, u32, &'static [u32])> {
    static GROUPS: OnceLock<Option<(u32, Vec<u32>)>> = OnceLock::new();
    let groups = GROUPS.get_or_init(|| {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let capabilities = status.lines().find_map(|line| line.strip_prefix("CapPrm:"))?;
        if effective_uid() == 0 || u64::from_str_radix(capabilities.trim(), 16) != Ok(0) {
            return None;
        }
        let mut groups = vec![0; 65536];
        // SAFETY: the array has NGROUPS_MAX elements, the number that is passed; the other call cannot fail.
        let (count, gid) = unsafe { (libc::getgroups(65536, groups.as_mut_ptr()), libc::getegid()) };
        groups.truncate(usize::try_from(count).unwrap_or(0));
        groups.shrink_to_fit();
        Some((gid, groups))
    });
    groups.as_ref().map(|(gid, groups)| (effective_uid(), *gid, groups.as_slice()))
}

/// Has large pieces of memory go back to the kernel whenever they are freed.
///
/// By itself, the C library's allocator takes the largest piece that was ever freed for the size of what comes again, and keeps as much for each thread (`M_MMAP_THRESHOLD`,
/// mallopt(3)). Here that is a whole C library, read for a view's agents by whichever thread is at it: 4 MB for each of them.
pub fn give_back_large_memory() {
    #[cfg(target_env = "gnu")]
    {
        /// In bytes: what the allocator begins with, which stays when it is set.
        const LARGE: libc::c_int = 128 << 10;
        // SAFETY: sets an integer of the allocator's; no memory of ours is involved.
        unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
    }
}

/// A kernel struct made of integers only, as the bytes a tracee receives.
pub trait Plain: Copy {
    /// Whether programs of 32 bits know it by the same layout.
    const SAME_ON_I386: bool = false;
}
impl Plain for libc::stat {}
impl Plain for libc::statx {
    const SAME_ON_I386: bool = true;
}
impl Plain for libc::statfs64 {}

/// Its bytes.
#[must_use]
pub fn bytes<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: the types above are C structs whose padding was zeroed before the kernel filled them (`MaybeUninit::zeroed`), or
    // that were built from `zeroed`.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// The id of a file system in the form of statfs(2): two words.
#[must_use]
pub fn fsid(id: u64) -> libc::fsid_t {
    // SAFETY: a C struct of two integers.
    unsafe { mem::transmute::<u64, libc::fsid_t>(id) }
}

/// An all-zero one.
#[must_use]
pub fn zeroed<T: Plain>() -> T {
    // SAFETY: structs of integers.
    unsafe { mem::zeroed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_belongs_to_the_description() {
        let dir = open(b"/", libc::O_RDONLY | libc::O_DIRECTORY).unwrap();
        assert_eq!(tag(dir.as_fd()), Ok(0));
        set_tag(dir.as_fd(), 37).unwrap();
        let copy = dir.try_clone().unwrap();
        assert_eq!(tag(copy.as_fd()), Ok(37));
        let other = open(b"/", libc::O_RDONLY).unwrap();
        assert_eq!(tag(other.as_fd()), Ok(0));
    }

    #[test]
    fn paths_may_be_longer_than_the_kernel_takes() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap().into_os_string().into_encoded_bytes();
        let mut path = top.clone();
        let mut below = open(&path, libc::O_PATH).unwrap();
        while path.len() < 3 * PATH_MAX {
            let name = [b'n'; 200];
            nix::sys::stat::mkdirat(&below, &name[..], nix::sys::stat::Mode::S_IRWXU).unwrap();
            path.push(b'/');
            path.extend_from_slice(&name);
            below = look_at(At::Root, &path, Final::Refuse).unwrap();
            assert_eq!(fstat(below.as_fd()).unwrap().st_ino, stat(&path).unwrap().st_ino, "{}", path.len());
            assert_eq!(stat_at(Reach::Path(&path)).unwrap().st_ino, stat(&path).unwrap().st_ino);
        }
        assert_eq!(xattr(&path, b"user.none", 0).unwrap_err(), Errno::ENODATA);
        assert_eq!(stat(&[&path[..], b"/missing"].concat()).unwrap_err(), Errno::ENOENT);
        assert_eq!(last_type(At::Root, &path), Ok(FileType::Directory));
        nix::unistd::symlinkat(&b"target"[..], &below, "link").unwrap();
        let link = [&path[..], b"/link"].concat();
        assert_eq!(read_link_at(&link).unwrap(), b"target");
        assert_eq!(last_type(At::Root, &link), Ok(FileType::Symlink));
        assert_eq!(look_at(At::Root, &[&link[..], b"/x"].concat(), Final::Itself).unwrap_err(), Errno::ELOOP);
        let too_long = [&top[..], b"/", &[b'n'; PATH_MAX]].concat();
        assert_eq!(stat(&too_long).unwrap_err(), Errno::ENAMETOOLONG);
        // Nobody removes so long a path by its name.
        let (name, mut shallow) = ([b'n'; 200], open(&top, libc::O_PATH).unwrap());
        nix::unistd::unlinkat(&below, "link", nix::unistd::UnlinkatFlags::NoRemoveDir).unwrap();
        drop(below);
        let mut chain = Vec::new();
        while let Ok(next) = look_at(At::Dir(shallow.as_fd()), &name, Final::Itself) {
            chain.push(std::mem::replace(&mut shallow, next));
        }
        for parent in chain.iter().rev() {
            nix::unistd::unlinkat(parent, &name[..], nix::unistd::UnlinkatFlags::RemoveDir).unwrap();
        }
    }

    #[test]
    fn looking_refuses_links_on_the_way() {
        let link = look_at(At::Root, b"/proc/self", Final::Itself).unwrap();
        assert_eq!(file_type(link.as_fd()), Ok(FileType::Symlink));
        assert_eq!(look_at(At::Root, b"/proc/self", Final::Refuse).unwrap_err(), Errno::ELOOP);
        assert_eq!(look_at(At::Root, b"/proc/self/status", Final::Itself).unwrap_err(), Errno::ELOOP);
        assert_eq!(look_at(At::Root, b"/no/such", Final::Itself).unwrap_err(), Errno::ENOENT);
    }
}
