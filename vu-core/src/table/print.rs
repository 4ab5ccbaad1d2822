//! Calls and results as text, for the debug log.
//!
//! Everything read here belongs to the caller, and may be anything: pointers to nowhere, strings without an end, lengths of 2⁶⁴ − 1. What cannot be read is
//! printed as its address, what is long is cut.

use super::{Arg, Row, lookup, low_int};
use std::{
    fmt::{self, Display, Formatter, Write},
    net::{Ipv4Addr, Ipv6Addr},
};
use vu_api::{Errno, PATH_MAX};
use vu_trace::{Abi, Memory};

/// How much of a string or a buffer that is no path is printed, in bytes.
const TEXT_LIMIT: usize = 64;
/// How many strings of a vector are printed.
const STRINGS_LIMIT: usize = 12;
/// How many strings of an environment are counted.
const ENVIRONMENT_LIMIT: usize = 10_000;
/// The longest address of a socket (`struct sockaddr_storage`).
const ADDRESS_LIMIT: usize = 128;

/// A system call as a line of text: `openat(AT_FDCWD, "/etc/passwd", O_RDONLY|O_CLOEXEC)`.
pub struct Printed<'a> {
    /// By which entry it was made.
    pub abi: Abi,
    /// Its number.
    pub nr: i64,
    /// Its arguments.
    pub args: [u64; 6],
    /// Where its pointers lead.
    pub memory: &'a dyn Memory,
}

impl Display for Printed<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match lookup(self.abi, self.nr) {
            // Of a call that is not looked at, the table tells no arguments.
            Some(row) if row.handler().is_some() => self.known(row, f),
            Some(row) => self.unknown(row.name, f),
            None => self.unknown(&format!("syscall_{}", self.nr), f),
        }
    }
}

impl Printed<'_> {
    fn known(&self, row: &Row, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", row.name)?;
        for (index, &kind) in row.args.iter().enumerate() {
            if kind == Arg::Mode && index > 0 && row.args[index - 1] == Arg::OpenFlags && !creates(self.args[index - 1])
            {
                break;
            }
            if index > 0 {
                f.write_str(", ")?;
            }
            let next = self.args.get(index + 1).copied().unwrap_or(0);
            self.argument(kind, self.args[index], next, f)?;
        }
        f.write_char(')')
    }

    fn unknown(&self, name: &str, f: &mut Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.args;
        write!(f, "{name}({a:#x}, {b:#x}, {c:#x}, {d:#x}, {e:#x}, {g:#x})")
    }

    fn argument(&self, kind: Arg, value: u64, next: u64, f: &mut Formatter<'_>) -> fmt::Result {
        let int = low_int(value);
        match kind {
            Arg::DirFd if int == libc::AT_FDCWD => f.write_str("AT_FDCWD"),
            Arg::DirFd | Arg::Fd | Arg::Int => write!(f, "{int}"),
            Arg::Path | Arg::PathNoFollow | Arg::ChangedPath | Arg::ChangedPathNoFollow | Arg::Entry => {
                self.string(value, PATH_MAX, f)
            }
            Arg::Text => self.string(value, TEXT_LIMIT, f),
            Arg::Bytes => self.bytes(value, next, f),
            Arg::Strings => self.strings(value, f),
            Arg::Environment => self.environment(value, f),
            Arg::SocketAddress => self.socket_address(value, next, f),
            Arg::OpenHow => self.open_how(value, next, f),
            Arg::OpenFlags => open_flags(int.cast_unsigned().into(), f),
            Arg::Mode => write!(f, "{:#05o}", int.cast_unsigned()),
            Arg::AccessMode => flags(int, "F_OK", ACCESS_MODE, f),
            Arg::AtFlags => flags(int, "0", AT_FLAGS, f),
            Arg::UnlinkFlags => flags(int, "0", UNLINK_FLAGS, f),
            Arg::RenameFlags => flags(int, "0", RENAME_FLAGS, f),
            Arg::MountFlags => flags(int, "0", MOUNT_FLAGS, f),
            Arg::UmountFlags => flags(int, "0", UMOUNT_FLAGS, f),
            Arg::WatchMask => flags(int, "0", WATCH_MASK, f),
            Arg::CloneFlags => flags(int, "0", CLONE_FLAGS, f),
            Arg::Family => family(int, f),
            Arg::SocketType => socket_type(int, f),
            Arg::Id if int == -1 => f.write_str("-1"),
            Arg::Id => write!(f, "{}", int.cast_unsigned()),
            Arg::Long => match self.abi {
                Abi::X86_64 => write!(f, "{}", value.cast_signed()),
                Abi::I386 => write!(f, "{int}"),
            },
            Arg::Size => write!(f, "{value}"),
            Arg::Hex => write!(f, "{value:#x}"),
            Arg::Pointer => address(value, f),
        }
    }

    /// Up to `limit` bytes from an address, as far as they can be read.
    fn read(&self, from: u64, limit: usize) -> Vec<u8> {
        const CHUNK: usize = 256;
        let mut bytes = Vec::new();
        while bytes.len() < limit {
            let mut chunk = [0; CHUNK];
            let Some(at) = from.checked_add(bytes.len() as u64) else { break };
            // Not past the end of a page: the next one may not be readable.
            let in_page = usize::try_from(4096 - at % 4096).unwrap_or(CHUNK);
            let want = CHUNK.min(limit - bytes.len()).min(in_page);
            match self.memory.read_some(at, &mut chunk[..want]) {
                Ok(0) | Err(_) => break,
                Ok(got) => {
                    let chunk = &chunk[..got.min(want)];
                    bytes.extend_from_slice(chunk);
                    // Whoever wants a string needs no more; buffers are short enough to be read in one go.
                    if chunk.contains(&0) {
                        break;
                    }
                }
            }
        }
        bytes
    }

    fn string(&self, from: u64, limit: usize, f: &mut Formatter<'_>) -> fmt::Result {
        if from == 0 {
            return address(from, f);
        }
        let mut bytes = self.read(from, limit);
        match bytes.iter().position(|&byte| byte == 0) {
            Some(end) => {
                bytes.truncate(end);
                quoted(&bytes, f)
            }
            None if bytes.is_empty() => address(from, f),
            None => {
                quoted(&bytes, f)?;
                f.write_str("...")
            }
        }
    }

    fn bytes(&self, from: u64, length: u64, f: &mut Formatter<'_>) -> fmt::Result {
        let wanted = usize::try_from(length).unwrap_or(usize::MAX).min(TEXT_LIMIT);
        let mut buffer = [0; TEXT_LIMIT];
        match self.memory.read_some(from, &mut buffer[..wanted]) {
            Ok(got) if wanted > 0 => {
                let got = got.min(wanted);
                quoted(&buffer[..got], f)?;
                if (got as u64) < length { f.write_str("...") } else { Ok(()) }
            }
            _ => address(from, f),
        }
    }

    fn pointer(&self, vector: u64, index: usize) -> Option<u64> {
        let width = self.abi.pointer_size();
        let at = vector.checked_add(index.checked_mul(width)? as u64)?;
        self.memory.read_pointer(at, width).ok()
    }

    fn strings(&self, vector: u64, f: &mut Formatter<'_>) -> fmt::Result {
        if vector == 0 || self.pointer(vector, 0).is_none() {
            return address(vector, f);
        }
        f.write_char('[')?;
        for index in 0..=STRINGS_LIMIT {
            let Some(string) = self.pointer(vector, index).filter(|&string| string != 0) else { break };
            if index > 0 {
                f.write_str(", ")?;
            }
            if index == STRINGS_LIMIT {
                f.write_str("...")?;
            } else {
                self.string(string, TEXT_LIMIT, f)?;
            }
        }
        f.write_char(']')
    }

    fn environment(&self, vector: u64, f: &mut Formatter<'_>) -> fmt::Result {
        address(vector, f)?;
        if vector == 0 {
            return Ok(());
        }
        let strings = (0..ENVIRONMENT_LIMIT).take_while(|&index| self.pointer(vector, index).is_some_and(|p| p != 0));
        write!(f, " /* {} strings */", strings.count())
    }

    fn open_how(&self, from: u64, size: u64, f: &mut Formatter<'_>) -> fmt::Result {
        let field = |index: u64| self.memory.read_u64(from.checked_add(8 * index).ok_or(Errno::EFAULT)?);
        // struct open_how: three numbers, and more only in kernels to come (openat2(2)).
        let (Ok(how), Ok(mode), Ok(resolve)) = (field(0), field(1), field(2)) else { return address(from, f) };
        if size < 24 {
            return address(from, f);
        }
        f.write_str("{flags=")?;
        open_flags(how, f)?;
        if creates(how) {
            write!(f, ", mode={mode:#05o}")?;
        }
        if resolve != 0 {
            f.write_str(", resolve=")?;
            wide_flags(resolve, RESOLVE_FLAGS, f)?;
        }
        f.write_char('}')
    }

    fn socket_address(&self, from: u64, length: u64, f: &mut Formatter<'_>) -> fmt::Result {
        let mut buffer = [0; ADDRESS_LIMIT];
        let wanted = usize::try_from(length).unwrap_or(usize::MAX).min(ADDRESS_LIMIT);
        let got =
            if from == 0 { 0 } else { self.memory.read_some(from, &mut buffer[..wanted]).unwrap_or(0).min(wanted) };
        let Some((&[low, high], rest)) = buffer[..got].split_first_chunk() else { return address(from, f) };
        let number = i32::from(u16::from_ne_bytes([low, high]));
        f.write_char('{')?;
        family(number, f)?;
        match (number, rest) {
            (libc::AF_UNIX, []) => {}
            // unix(7): a name that begins with NUL is no path, and has no end but the address's.
            (libc::AF_UNIX, [0, name @ ..]) => {
                f.write_str(", @")?;
                quoted(name, f)?;
            }
            (libc::AF_UNIX, path) => {
                f.write_str(", ")?;
                quoted(path.split(|&byte| byte == 0).next().unwrap_or_default(), f)?;
            }
            (libc::AF_INET, &[p, q, a, b, c, d, ..]) => {
                write!(f, ", {}:{}", Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([p, q]))?;
            }
            (libc::AF_INET6, &[p, q, _, _, _, _, ref rest @ ..]) if rest.len() >= 16 => {
                let mut bytes = [0; 16];
                bytes.copy_from_slice(&rest[..16]);
                write!(f, ", [{}]:{}", Ipv6Addr::from(bytes), u16::from_be_bytes([p, q]))?;
            }
            (_, rest) => write!(f, ", {} bytes", rest.len())?,
        }
        f.write_char('}')
    }
}

/// A result as it stands in the register: a number, or the name and the sentence of an errno.
pub struct PrintedResult(pub i64);

impl Display for PrintedResult {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match i32::try_from(self.0) {
            Ok(number) if (-Errno::MAX..0).contains(&number) => {
                let errno = Errno::new(-number);
                write!(f, "{errno:?} ({errno})")
            }
            _ => write!(f, "{}", self.0),
        }
    }
}

fn creates(flags: u64) -> bool {
    let flags = low_int(flags);
    flags & libc::O_CREAT != 0 || flags & libc::O_TMPFILE == libc::O_TMPFILE
}

fn address(value: u64, f: &mut Formatter<'_>) -> fmt::Result {
    if value == 0 { f.write_str("NULL") } else { write!(f, "{value:#x}") }
}

fn quoted(bytes: &[u8], f: &mut Formatter<'_>) -> fmt::Result {
    match std::str::from_utf8(bytes) {
        Ok(text) => write!(f, "{text:?}"),
        Err(_) => write!(f, "\"{}\"", bytes.escape_ascii()),
    }
}

type Names = &'static [(u32, &'static str)];

/// The names of the set flags, and what has no name as a number. A name of several bits stands before those of its bits.
fn flags(value: i32, zero: &str, names: Names, f: &mut Formatter<'_>) -> fmt::Result {
    if value == 0 { f.write_str(zero) } else { wide_flags(value.cast_unsigned().into(), names, f) }
}

fn wide_flags(value: u64, names: Names, f: &mut Formatter<'_>) -> fmt::Result {
    let mut rest = value;
    let mut bar = "";
    for &(bits, name) in names {
        let bits = u64::from(bits);
        if rest & bits == bits {
            write!(f, "{bar}{name}")?;
            bar = "|";
            rest &= !bits;
        }
    }
    if rest == 0 { Ok(()) } else { write!(f, "{bar}{rest:#x}") }
}

fn open_flags(value: u64, f: &mut Formatter<'_>) -> fmt::Result {
    let access = value & 3;
    f.write_str(["O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"][low_int(access).unsigned_abs() as usize])?;
    if value == access {
        return Ok(());
    }
    f.write_char('|')?;
    wide_flags(value & !3, OPEN_FLAGS, f)
}

fn family(number: i32, f: &mut Formatter<'_>) -> fmt::Result {
    match FAMILIES.iter().find(|&&(family, _)| family == number) {
        Some((_, name)) => f.write_str(name),
        None => write!(f, "AF_{number}"),
    }
}

fn socket_type(value: i32, f: &mut Formatter<'_>) -> fmt::Result {
    let modifiers = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let base = value & !modifiers;
    match SOCKET_TYPES.iter().find(|&&(kind, _)| kind == base) {
        Some((_, name)) => f.write_str(name)?,
        None => write!(f, "{base:#x}")?,
    }
    if value & modifiers == 0 {
        return Ok(());
    }
    f.write_char('|')?;
    flags(value & modifiers, "", SOCKET_FLAGS, f)
}

/// A table of constants of libc with their names; they are of several types there.
macro_rules! names {
    ($($name:ident)*) => { &[$((libc::$name as u32, stringify!($name))),*] };
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "constants of at most 32 bits")]
mod tables {
    use super::Names;

    // `__O_TMPFILE` and `__O_SYNC` contain the bits of O_DIRECTORY and O_DSYNC.
    pub const OPEN_FLAGS: Names = names! {
        O_TMPFILE O_SYNC O_CREAT O_EXCL O_NOCTTY O_TRUNC O_APPEND O_NONBLOCK O_DSYNC O_ASYNC O_DIRECT O_DIRECTORY
        O_NOFOLLOW O_NOATIME O_CLOEXEC O_PATH
    };
    pub const ACCESS_MODE: Names = names! { R_OK W_OK X_OK };
    pub const AT_FLAGS: Names = &[
        (libc::AT_SYMLINK_NOFOLLOW as u32, "AT_SYMLINK_NOFOLLOW"),
        (libc::AT_SYMLINK_FOLLOW as u32, "AT_SYMLINK_FOLLOW"),
        (libc::AT_EACCESS as u32, "AT_EACCESS"),
        (libc::AT_NO_AUTOMOUNT as u32, "AT_NO_AUTOMOUNT"),
        (libc::AT_EMPTY_PATH as u32, "AT_EMPTY_PATH"),
        (libc::AT_STATX_FORCE_SYNC as u32, "AT_STATX_FORCE_SYNC"),
        (libc::AT_STATX_DONT_SYNC as u32, "AT_STATX_DONT_SYNC"),
        (libc::AT_RECURSIVE as u32, "AT_RECURSIVE"),
    ];
    pub const UNLINK_FLAGS: Names = names! { AT_REMOVEDIR };
    pub const RENAME_FLAGS: Names = names! { RENAME_NOREPLACE RENAME_EXCHANGE RENAME_WHITEOUT };
    pub const MOUNT_FLAGS: Names = names! {
        MS_RDONLY MS_NOSUID MS_NODEV MS_NOEXEC MS_SYNCHRONOUS MS_REMOUNT MS_MANDLOCK MS_DIRSYNC MS_NOATIME MS_NODIRATIME
        MS_BIND MS_MOVE MS_REC MS_SILENT MS_POSIXACL MS_UNBINDABLE MS_PRIVATE MS_SLAVE MS_SHARED MS_RELATIME
        MS_KERNMOUNT MS_I_VERSION MS_STRICTATIME MS_LAZYTIME
    };
    pub const UMOUNT_FLAGS: Names = names! { MNT_FORCE MNT_DETACH MNT_EXPIRE UMOUNT_NOFOLLOW };
    pub const WATCH_MASK: Names = names! {
        IN_ALL_EVENTS IN_ACCESS IN_MODIFY IN_ATTRIB IN_CLOSE_WRITE IN_CLOSE_NOWRITE IN_OPEN IN_MOVED_FROM IN_MOVED_TO IN_CREATE
        IN_DELETE IN_DELETE_SELF IN_MOVE_SELF IN_ONLYDIR IN_DONT_FOLLOW IN_EXCL_UNLINK IN_MASK_CREATE IN_MASK_ADD
        IN_ONESHOT
    };
    pub const CLONE_FLAGS: Names = names! {
        CLONE_NEWNS CLONE_NEWCGROUP CLONE_NEWUTS CLONE_NEWIPC CLONE_NEWUSER CLONE_NEWPID CLONE_NEWNET CLONE_NEWTIME CLONE_FS
        CLONE_FILES CLONE_VM CLONE_SIGHAND CLONE_THREAD CLONE_SYSVSEM
    };
    pub const SOCKET_FLAGS: Names = names! { SOCK_CLOEXEC SOCK_NONBLOCK };
    /// `RESOLVE_*` (openat2(2)).
    pub const RESOLVE_FLAGS: Names = names! {
        RESOLVE_NO_XDEV RESOLVE_NO_MAGICLINKS RESOLVE_NO_SYMLINKS RESOLVE_BENEATH RESOLVE_IN_ROOT RESOLVE_CACHED
    };
}
use tables::*;

const FAMILIES: &[(i32, &str)] = &[
    (libc::AF_UNSPEC, "AF_UNSPEC"),
    (libc::AF_UNIX, "AF_UNIX"),
    (libc::AF_INET, "AF_INET"),
    (libc::AF_INET6, "AF_INET6"),
    (libc::AF_NETLINK, "AF_NETLINK"),
    (libc::AF_PACKET, "AF_PACKET"),
    (libc::AF_ALG, "AF_ALG"),
    (libc::AF_VSOCK, "AF_VSOCK"),
    (libc::AF_BLUETOOTH, "AF_BLUETOOTH"),
    (libc::AF_CAN, "AF_CAN"),
];

const SOCKET_TYPES: &[(i32, &str)] = &[
    (libc::SOCK_STREAM, "SOCK_STREAM"),
    (libc::SOCK_DGRAM, "SOCK_DGRAM"),
    (libc::SOCK_RAW, "SOCK_RAW"),
    (libc::SOCK_RDM, "SOCK_RDM"),
    (libc::SOCK_SEQPACKET, "SOCK_SEQPACKET"),
];
