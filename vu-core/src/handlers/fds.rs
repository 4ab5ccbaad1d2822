//! Calls on descriptors of virtual files: the placeholder's own answers would be wrong.

use crate::{
    call::{Call, Outcome},
    handlers::{
        layouts,
        stat::{self, encode_stat, encode_statfs, encode_statx},
        xattrs,
    },
    host::stat_of as stat_of_host,
    lent::Lent,
    proc_files,
    sys::{self, Plain, Reach},
    table,
    task::host_name,
};
use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};
use vu_api::{
    AbsPath, DirEntry, Errno, File, FileType, Filesystem, OpenFlags, OpenHow, Opened, Purpose, Removed, Shows, Stat,
    XattrFlags,
};
use vu_fd::Node;
use vu_trace::Abi;

/// What is behind a descriptor, with a copy of it.
pub(super) enum Behind {
    /// A virtual file; what is open is its placeholder.
    Node(Arc<Node>, OwnedFd),
    /// A directory that a union lent.
    Lent(Lent, OwnedFd),
    /// The host's.
    Host(OwnedFd),
    /// What the kernel alone knows.
    Unknown,
}

pub(super) fn behind(call: &Call<'_>, number: i32) -> Behind {
    if !call.core.has_virtual_files() {
        return Behind::Unknown;
    }
    let fd = if number == libc::AT_FDCWD {
        call.task.proc().and_then(|proc| sys::open_link(proc, "cwd"))
    } else {
        call.task.descriptor(number)
    };
    let Ok(fd) = fd else { return Behind::Unknown };
    let Ok(stat) = sys::fstat(fd.as_fd()) else { return Behind::Unknown };
    let object = (stat.st_dev, stat.st_ino);
    match call.core.nodes.find(object.0, object.1) {
        Some(node) => Behind::Node(node, fd),
        None if number < 0 || FileType::from_mode(stat.st_mode) != Some(FileType::Directory) => Behind::Host(fd),
        None => match call.lent(&call.task, number, fd.as_fd(), object) {
            Some(lent) => Behind::Lent(lent, fd),
            None => Behind::Host(fd),
        },
    }
}

fn tell<T: Plain>(call: &Call<'_>, buffer: usize, answer: &T) -> Result<Outcome, Errno> {
    if call.abi != Abi::X86_64 && !T::SAME_ON_I386 {
        // Its structures are laid out otherwise; EOVERFLOW is what it says of files it cannot describe (stat(2)).
        return Err(Errno::EOVERFLOW);
    }
    call.write(call.arg(buffer), sys::bytes(answer))?;
    Ok(Outcome::Done(0))
}

/// Does something with the virtual file of descriptor argument 0; the kernel does it with all others, and refuses it for those that are open as names only
/// (`O_PATH`; `fdget`, `fs/file.c`).
fn with(call: &Call<'_>, act: impl FnOnce(&Node, &OwnedFd) -> Result<Outcome, Errno>) -> Result<Outcome, Errno> {
    match behind(call, call.int(0)) {
        Behind::Node(node, fd) if !sys::is_path_only(fd.as_fd()) => act(&node, &fd),
        _ => Ok(Outcome::Host),
    }
}

/// The same for a call that changes attributes: the kernel refuses it for files of read-only mounts however they are open.
fn change(call: &Call<'_>, act: impl FnOnce(&AbsPath) -> Result<(), Errno>) -> Result<Outcome, Errno> {
    if !call.task.descriptor(call.int(0)).is_ok_and(|fd| !sys::is_path_only(fd.as_fd())) {
        return Ok(Outcome::Host);
    }
    call.may_change_descriptor(call.int(0))?;
    match call.changed_by_name(call.int(0))? {
        Some(name) => act(&name).map(|()| Outcome::Done(0)),
        None => Ok(Outcome::Host),
    }
}

/// Its name in the view.
fn named(node: &Node) -> Result<AbsPath, Errno> {
    let name = node.name();
    if name.removed { Err(Errno::ENOENT) } else { Ok(name.path) }
}

/// fstat(2).
pub fn fstat(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    stat_of(call, call.int(0), 1)
}

/// The attributes of a descriptor, into the buffer at argument `buffer`.
pub(super) fn stat_of(call: &Call<'_>, number: i32, buffer: usize) -> Result<Outcome, Errno> {
    match attributes(call, number)? {
        Some(stat) if call.abi == Abi::I386 => {
            let name = table::name(call.abi, call.syscall.nr).unwrap_or_default();
            call.write(call.arg(buffer), &layouts::encode_stat(name, &stat)?)?;
            Ok(Outcome::Done(0))
        }
        Some(stat) => tell(call, buffer, &encode_stat(&stat)),
        None => Ok(Outcome::Host),
    }
}

/// The same as statx(2) tells them.
pub(super) fn statx_of(call: &Call<'_>, number: i32, buffer: usize) -> Result<Outcome, Errno> {
    let mask = call.uint(3);
    let told = attributes(call, number)?;
    if told.is_none() && !(stat::asks_for_mount(mask) && call.abi == Abi::X86_64) {
        return Ok(Outcome::Host);
    }
    let mount = call.mount_of_descriptor(number);
    let mut stat = match (&told, &mount) {
        (Some(stat), _) => encode_statx(stat, mask),
        (None, None) => return Ok(Outcome::Host),
        (None, Some(_)) => {
            let fd = match number {
                libc::AT_FDCWD => call.task.proc().and_then(|proc| sys::open_link(proc, "cwd")),
                number => call.task.descriptor(number),
            };
            sys::statx(Reach::Held(fd?.as_fd()), call.int(2) & libc::AT_STATX_SYNC_TYPE, mask)?
        }
    };
    if let Some(mount) = mount {
        stat::tell_mount(&mut stat, &mount, None, mask);
    }
    tell(call, buffer, &stat)
}

/// The attributes of what a descriptor stands for; `None` if they are those that the kernel tells.
fn attributes(call: &Call<'_>, number: i32) -> Result<Option<Stat>, Errno> {
    match behind(call, number) {
        Behind::Node(node, _) => node.file.stat().map(Some),
        Behind::Lent(lent, fd) if lent.shows == Shows::Nothing => Ok(Some(Stat { nlink: 0, ..stat_of_host(fd)? })),
        Behind::Lent(lent, _) => {
            call.prove_descriptor(number);
            lent.kept(call).map(|name| call.layer.stat(name)).transpose()
        }
        // The oldest form for 32 bits has no room for all of them; the kernel tells its own.
        Behind::Host(_) if table::name(call.abi, call.syscall.nr) == Some("oldfstat") => Ok(None),
        Behind::Host(fd) if number >= 0 => match call.kept_attributes(number, fd.as_fd())? {
            None => proc_files::attributes(call, number, fd.as_fd()),
            kept => Ok(kept),
        },
        Behind::Unknown if number >= 0 => match call.task.descriptor(number) {
            Ok(fd) => proc_files::attributes(call, number, fd.as_fd()),
            Err(_) => Ok(None),
        },
        Behind::Host(_) | Behind::Unknown => Ok(None),
    }
}

/// fstatfs(2).
pub fn fstatfs(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    match behind(call, call.int(0)) {
        Behind::Node(node, _) => {
            let stat = call.layer.statfs(&named(&node)?)?;
            if call.abi == Abi::I386 {
                layouts::tell_statfs(call, table::name(call.abi, call.syscall.nr).unwrap_or_default(), &stat)?;
                return Ok(Outcome::Done(0));
            }
            tell(call, 1, &encode_statfs(&stat))
        }
        Behind::Lent(..) | Behind::Host(_) | Behind::Unknown => Ok(Outcome::Host),
    }
}

/// getdents64(2).
pub fn getdents64(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    entries(call, Entry64)
}

/// getdents(2), the older form.
pub fn getdents(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    entries(call, Entry32 { word: call.abi.pointer_size() })
}

fn entries(call: &Call<'_>, form: impl Form) -> Result<Outcome, Errno> {
    match behind(call, call.int(0)) {
        Behind::Node(node, fd) if !sys::is_path_only(fd.as_fd()) => list(call, &*node.file, &fd, form),
        Behind::Lent(lent, fd) => match lent.shows {
            Shows::All | Shows::AllButLinked => {
                call.prove_descriptor(call.int(0));
                Ok(Outcome::Host)
            }
            // A directory that was removed lists nothing (`iterate_dir`, fs/readdir.c).
            Shows::Nothing => Err(Errno::ENOENT),
            Shows::Part => match listing(call, &lent, &fd)? {
                Some(listing) => list(call, &*listing, &fd, form),
                None => Ok(Outcome::Host),
            },
        },
        Behind::Host(_) => {
            call.prove_descriptor(call.int(0));
            Ok(Outcome::Host)
        }
        Behind::Node(..) | Behind::Unknown => Ok(Outcome::Host),
    }
}

/// What a lent directory lists from its position on, now that it has changed; `None` if the kernel goes on with what it has begun.
fn listing(call: &Call<'_>, lent: &Lent, fd: &OwnedFd) -> Result<Option<Arc<dyn File>>, Errno> {
    let listings = &call.task.process.listings;
    let (number, stat) = (call.int(0), sys::fstat(fd.as_fd())?);
    let object = (stat.st_dev, stat.st_ino);
    if sys::seek(fd.as_fd(), 0, libc::SEEK_CUR)? != 0 {
        return Ok(listings.find(number, object));
    }
    let how = OpenHow { flags: OpenFlags::DIRECTORY, mode: 0 };
    let Opened::Virtual(listing) = call.layer.open(&lent.name, &how, &*call.task)? else { return Ok(None) };
    listings.begin(number, object, listing.clone());
    Ok(Some(listing))
}

/// A form of directory entries.
trait Form {
    fn append(&self, buffer: &mut Vec<u8>, entry: &DirEntry);
}

/// `struct linux_dirent64`.
struct Entry64;

impl Form for Entry64 {
    fn append(&self, buffer: &mut Vec<u8>, entry: &DirEntry) {
        let begin = buffer.len();
        buffer.extend_from_slice(&entry.ino.to_le_bytes());
        buffer.extend_from_slice(&entry.next.to_le_bytes());
        // The length is filled in below.
        buffer.extend_from_slice(&[0, 0, entry.file_type.d_type()]);
        buffer.extend_from_slice(&entry.name);
        buffer.push(0);
        close_record(buffer, begin, 16, 8);
    }
}

/// `struct linux_dirent`, whose numbers are words of the caller's size.
struct Entry32 {
    word: usize,
}

impl Form for Entry32 {
    fn append(&self, buffer: &mut Vec<u8>, entry: &DirEntry) {
        let begin = buffer.len();
        buffer.extend_from_slice(&entry.ino.to_le_bytes()[..self.word]);
        buffer.extend_from_slice(&entry.next.to_le_bytes()[..self.word]);
        buffer.extend_from_slice(&[0, 0]);
        buffer.extend_from_slice(&entry.name);
        // The type stands in the last byte of the record.
        let length = (buffer.len() - begin + 2).next_multiple_of(self.word);
        buffer.resize(begin + length - 1, 0);
        buffer.push(entry.file_type.d_type());
        close_record(buffer, begin, 2 * self.word, self.word);
    }
}

/// Pads a record and notes its length at `at` in it.
fn close_record(buffer: &mut Vec<u8>, begin: usize, at: usize, alignment: usize) {
    let length = (buffer.len() - begin).next_multiple_of(alignment);
    buffer.resize(begin + length, 0);
    let length = u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes();
    buffer[begin + at..begin + at + 2].copy_from_slice(&length);
}

/// The position of a listing is the placeholder's own file offset, so lseek, dup and fork are the kernel's.
fn list(call: &Call<'_>, file: &dyn File, fd: &OwnedFd, form: impl Form) -> Result<Outcome, Errno> {
    // More than is ever asked for; a guest must not choose how much we allocate.
    let room = call.size(2).min(1 << 20);
    let mut position = u64::try_from(sys::seek(fd.as_fd(), 0, libc::SEEK_CUR)?).map_err(|_| Errno::EINVAL)?;
    let mut buffer = Vec::new();
    'more: loop {
        let entries = file.entries(position)?;
        if entries.is_empty() {
            break;
        }
        for entry in entries {
            let before = buffer.len();
            form.append(&mut buffer, &entry);
            if buffer.len() > room {
                buffer.truncate(before);
                if before == 0 {
                    return Err(Errno::EINVAL);
                }
                break 'more;
            }
            position = entry.next;
        }
    }
    call.write(call.arg(1), &buffer)?;
    sys::seek(fd.as_fd(), i64::try_from(position).map_err(|_| Errno::EOVERFLOW)?, libc::SEEK_SET)?;
    Ok(Outcome::Done(i64::try_from(buffer.len()).unwrap_or(i64::MAX)))
}

/// fcntl(2), for a lease or for news of a directory: the signal that tells of it is to be the one that the program chose. Where the kernel keeps that, the tag
/// of a route may stand (`route.rs`); that is then kept by the process. Who asks for the signal has chosen none while a tag stands there.
pub fn fcntl(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let number = call.int(0);
    if let Ok(fd) = call.task.descriptor(number)
        && let Ok(tag) = sys::tag(fd.as_fd())
        && tag != 0
        && let Ok(host) = host_name(sys::read_link(call.task.proc()?, &format!("fd/{number}"))?)
        && let Some(route) = call.tagged_route(tag, &host)
    {
        if call.int(1) == sys::F_GETSIG {
            return Ok(Outcome::Done(0));
        }
        let stat = sys::fstat(fd.as_fd())?;
        call.task.process.untagged_routes.note((stat.st_dev, stat.st_ino), route);
        sys::set_tag(fd.as_fd(), 0)?;
        // There, a tag tells what is behind a descriptor.
        call.core.agents.switch_off(&call.task);
    }
    Ok(Outcome::Host)
}

/// fsync(2), fdatasync(2).
pub fn fsync(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    with(call, |node, _| node.file.sync().map(|()| Outcome::Done(0)))
}

/// fchmod(2).
pub fn fchmod(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    change(call, |name| call.layer.chmod(name, call.uint(1) & 0o7777, &*call.task))
}

/// fchown(2).
pub fn fchown(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let id = |value: u32| (value != u32::MAX).then_some(value);
    change(call, |name| call.layer.chown(name, id(call.uint(1)), id(call.uint(2)), &*call.task))
}

/// ftruncate(2): a placeholder is a directory, which is not open for writing.
pub fn ftruncate(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    with(call, |_, _| Err(Errno::EINVAL))
}

/// fgetxattr(2).
pub fn fgetxattr(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let value = |of: Told<'_>| match of {
        Told::Named(name) => stat::get_xattr(call, name, &xattrs::name(call, 1)?),
        Told::Removed(removed) => stat::get_xattr_of(call, &removed, &xattrs::name(call, 1)?),
    };
    with_xattrs(call, |of| xattrs::give(call, &value(of)?, call.arg(2), call.size(3)))
}

/// flistxattr(2).
pub fn flistxattr(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let list = |of: Told<'_>| match of {
        Told::Named(name) => stat::list_xattr(call, name),
        Told::Removed(removed) => Ok(stat::list_xattr_of(call, removed)),
    };
    with_xattrs(call, |of| xattrs::give(call, &list(of)?, call.arg(1), call.size(2)))
}

/// What a mount tells extended attributes of.
enum Told<'a> {
    /// The object of this name.
    Named(&'a AbsPath),
    /// One that has none any more.
    Removed(Removed),
}

/// Asks the mount of a descriptor's file about it, if its extended attributes are the mount's to tell.
fn with_xattrs(call: &Call<'_>, ask: impl FnOnce(Told<'_>) -> Result<Outcome, Errno>) -> Result<Outcome, Errno> {
    let number = call.int(0);
    match behind(call, number) {
        Behind::Node(node, fd) if !sys::is_path_only(fd.as_fd()) => ask(Told::Named(&named(&node)?)),
        Behind::Lent(lent, _) => lent.kept(call).map_or(Ok(Outcome::Host), |name| ask(Told::Named(name))),
        Behind::Host(fd) if number >= 0 && !sys::is_path_only(fd.as_fd()) => {
            match call.kept_name(number, fd.as_fd(), Purpose::ExtendedAttributes)? {
                Some(name) => ask(Told::Named(&name)),
                None => match call.removed(number, fd.as_fd())? {
                    Some(removed) => ask(Told::Removed(removed)),
                    None => Ok(Outcome::Host),
                },
            }
        }
        _ => Ok(Outcome::Host),
    }
}

/// fsetxattr(2).
pub fn fsetxattr(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    change(call, |file| {
        let value = xattrs::value(call, call.arg(2), call.size(3))?;
        let flags = XattrFlags::from_bits_retain(call.int(4));
        let name = xattrs::name(call, 1)?;
        call.layer.set_xattr(file, &name, &value, flags, &*call.task)
    })
}

/// fremovexattr(2).
pub fn fremovexattr(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    change(call, |file| call.layer.remove_xattr(file, &xattrs::name(call, 1)?, &*call.task))
}
