//! ioctl(2): the kernel's own on everything that is open on the host; here is what it would be wrong for.
//!
//! A virtual directory's descriptor is a placeholder of another file system, and a file of a `cow` mount that is open for reading may be in the tree that never
//! changes. What is asked about such an object itself ([`ObjectRequest`]) is asked of that of the host in which it is kept.

use crate::{
    call::{Call, Outcome},
    debug::Tag,
    handlers::fds::{Behind, behind},
    host,
    lent::Lent,
    object_request::{Effect, ObjectRequest, ROOM},
    sys,
};
use std::os::fd::AsFd;
use vu_api::{AbsPath, Errno, Filesystem, Location, Purpose, Shows};
use vu_fd::Node;
use vu_trace::Memory;

/// `_IOW(0x94, 9, int)`, and `_IOW(0x94, 13, struct file_clone_range)`, which begins with the descriptor as 64 bits (ioctl_ficlone(2)).
const FICLONE: u32 = 0x4004_9409;
const FICLONERANGE: u32 = 0x4020_940d;
/// `_IOWR('f', 11, struct fiemap)` (`Documentation/filesystems/fiemap.rst`).
const FS_IOC_FIEMAP: u32 = 0xc020_660b;

/// ioctl(2).
pub fn ioctl(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let (number, request) = (call.int(0), call.uint(1));
    // What every descriptor knows is the kernel's.
    let every = [libc::FIOCLEX, libc::FIONCLEX, libc::FIONBIO, libc::FIOASYNC];
    if every.contains(&libc::c_ulong::from(request)) {
        return Ok(Outcome::Host);
    }
    let known = ObjectRequest::known(request, call.abi);
    match behind(call, number) {
        Behind::Node(node, fd) if !sys::is_path_only(fd.as_fd()) => of_virtual(call, &node, request, known),
        Behind::Lent(lent, _) => of_lent(call, number, &lent, request, known),
        Behind::Host(fd) if !sys::is_path_only(fd.as_fd()) => match known {
            Some(known) => of_file(call, number, known),
            None if clones(call, request)? => Err(Errno::EISDIR),
            None => Ok(Outcome::HostMaySleep),
        },
        _ => Ok(Outcome::HostMaySleep),
    }
}

/// Whether a virtual directory is to be cloned: that is said of it before it is found to be on another file system (`generic_file_rw_checks`, `fs/read_write.c`).
fn clones(call: &Call<'_>, request: u32) -> Result<bool, Errno> {
    let source = match request {
        FICLONE => call.int(2),
        FICLONERANGE => call.memory().read_u32(call.arg(2))?.cast_signed(),
        _ => return Ok(false),
    };
    Ok(matches!(behind(call, source), Behind::Node(..) | Behind::Lent(..)))
}

/// On a directory that a union lent: as on a virtual one, for what the host's would do there is done to the tree that never changes.
fn of_lent(
    call: &Call<'_>,
    number: i32,
    lent: &Lent,
    request: u32,
    known: Option<ObjectRequest>,
) -> Result<Outcome, Errno> {
    match known {
        Some(known) if lent.shows != Shows::Nothing => match known.effect() {
            Effect::Tells | Effect::Changes => of_file(call, number, known),
            Effect::TellsOfAll | Effect::ChangesAll => ask(call, &lent.name, &lent.host, known),
        },
        _ => Err(refusal(request).unwrap_or(Errno::ENOTTY)),
    }
}

/// What the kernel itself says of a request, on a directory that its file system knows nothing of: of overlayfs' they are (`do_vfs_ioctl`, `ioctl_fiemap`, `fs/ioctl.c`).
fn refusal(request: u32) -> Option<Errno> {
    match request {
        FICLONE | FICLONERANGE => Some(Errno::EISDIR),
        FS_IOC_FIEMAP => Some(Errno::EOPNOTSUPP),
        _ => None,
    }
}

/// On a virtual directory.
fn of_virtual(call: &Call<'_>, node: &Node, request: u32, known: Option<ObjectRequest>) -> Result<Outcome, Errno> {
    let name = node.name();
    match known {
        Some(known) if !name.removed => {
            if known.effect() == Effect::Changes {
                call.may_change_descriptor(call.int(0))?;
            }
            match place(call, &name.path, known)? {
                Some(host) => ask(call, &name.path, &host, known),
                None => node.file.ioctl(request, call.arg(2)).map(Outcome::Done),
            }
        }
        _ => match refusal(request) {
            Some(errno) => Err(errno),
            None => node.file.ioctl(request, call.arg(2)).map(Outcome::Done),
        },
    }
}

/// On an open file of the host, which stays the kernel's unless its mount has, or is to have, the object elsewhere.
fn of_file(call: &Call<'_>, number: i32, known: ObjectRequest) -> Result<Outcome, Errno> {
    if !matches!(known.effect(), Effect::Tells | Effect::Changes) {
        return Ok(Outcome::HostMaySleep);
    }
    if known.effect() == Effect::Changes {
        call.may_change_descriptor(number)?;
    }
    let Some(name) = call.changed_by_name(number)? else { return Ok(Outcome::HostMaySleep) };
    match place(call, &name, known)? {
        Some(there) if !call.is_open_at(number, &there) => ask(call, &name, &there, known),
        _ => Ok(Outcome::HostMaySleep),
    }
}

/// Where on the host the object is that is asked; `None` if it is nowhere there.
fn place(call: &Call<'_>, name: &AbsPath, known: ObjectRequest) -> Result<Option<AbsPath>, Errno> {
    let purpose = match known.effect() {
        Effect::Changes => {
            if let Some(judge) = call.layer.judge(name, &*call.task) {
                judge.owns(name)?;
            }
            Purpose::Write
        }
        Effect::Tells | Effect::TellsOfAll | Effect::ChangesAll => Purpose::Read,
    };
    match call.layer.locate(name, purpose)? {
        Location::Host(host) => Ok(Some(host)),
        // A directory that is put together of several: the first of them is where changes of it are.
        Location::Own => Ok(call.layer.host_directories(name).into_iter().next()),
    }
}

/// Makes the request on the host's object.
fn ask(call: &Call<'_>, name: &AbsPath, host: &AbsPath, known: ObjectRequest) -> Result<Outcome, Errno> {
    if known.effect() == Effect::ChangesAll {
        // It would freeze or trim what other views, and this very process, write to. EPERM is what Linux says without CAP_SYS_ADMIN.
        return Err(if sys::effective_uid() == 0 { Errno::EOPNOTSUPP } else { Errno::EPERM });
    }
    call.debug(Tag::Files, format_args!("ioctl {:#x} of {name}: the host's {host}", known.number()));
    let mut data = [0; ROOM];
    call.memory().read(call.arg(2), &mut data[..known.takes()])?;
    call.still_waits()?;
    let result = host::request(host, known, &mut data, &*call.task)?;
    call.write(call.arg(2), &data[..known.gives()])?;
    Ok(Outcome::Done(result))
}
