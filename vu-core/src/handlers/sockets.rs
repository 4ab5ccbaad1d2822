//! Sockets: which stack makes them, and the names of AF_UNIX sockets, which are paths.

use crate::{
    call::{Call, Outcome},
    debug::Tag,
    resolve::{Meaning, Need, PathArg},
    sys::{self, At, Final},
};
use std::os::fd::{AsRawFd, OwnedFd};
use vu_api::{AbsPath, Errno, Family, Opened, Purpose};
use vu_path::Follow;
use vu_trace::{Argument, Memory};

/// The room for a name in `struct sockaddr_un` (unix(7)).
const NAME_ROOM: usize = 108;
/// Where it begins.
const NAME_AT: usize = 2;

/// socket(2): by the stack that the process has chosen for the family.
pub fn socket(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let family = Family(call.int(0));
    let Some(stack) = call.task.stack(family) else { return Ok(Outcome::Host) };
    call.debug(Tag::Network, format_args!("a socket of family {} by its own stack", family.0));
    let kind = call.int(1);
    let modes = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    match stack.socket(family, kind & !modes, call.int(2))? {
        Opened::Host(fd) => Ok(Outcome::Install { fd, close_on_exec: kind & libc::SOCK_CLOEXEC != 0, at_once: false }),
        Opened::Virtual(_) => Err(Errno::EAFNOSUPPORT),
    }
}

/// bind(2).
pub fn bind(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    address(call, 1, Follow::Entry, false)
}

/// connect(2).
pub fn connect(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    address(call, 1, Follow::Last, true)
}

/// sendto(2), with an address.
pub fn sendto(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    address(call, 4, Follow::Last, true)
}

/// i386's socketcall(2): its arguments lie in memory, where they cannot be exchanged without the caller noticing; its calls go to the host
/// as they are, unless one would use a name that is another one in the view.
pub fn socketcall(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    const SOCKET: i32 = 1;
    const BIND: i32 = 2;
    const CONNECT: i32 = 3;
    const SENDTO: i32 = 11;
    let word = |index: u64| call.memory().read_u32(call.arg(1).wrapping_add(4 * index));
    let (at, follow) = match call.int(0) {
        SOCKET => {
            let family = Family(word(0)?.cast_signed());
            // A stack's socket cannot be made by this call; a family of the host's can.
            return if call.task.stack(family).is_some() { Err(Errno::EAFNOSUPPORT) } else { Ok(Outcome::Host) };
        }
        BIND => (1, Follow::Entry),
        CONNECT => (1, Follow::Last),
        SENDTO => (4, Follow::Last),
        _ => return Ok(Outcome::HostMaySleep),
    };
    let (address, length) = (u64::from(word(at)?), word(at + 1)?);
    let Some(path) = unix_path(call, address, length)? else { return Ok(Outcome::HostMaySleep) };
    match call.meaning(&PathArg::at_cwd(path, follow), Need::Object)? {
        Meaning::Kernel => Ok(Outcome::HostMaySleep),
        Meaning::Place(place) if place.native => Ok(Outcome::HostMaySleep),
        Meaning::Place(_) => Err(Errno::EADDRNOTAVAIL),
    }
}

/// The path in a socket address; `None` if it is of another family, abstract, unnamed, or not valid.
fn unix_path(call: &Call<'_>, address: u64, length: u32) -> Result<Option<Vec<u8>>, Errno> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if address == 0 || !(NAME_AT + 1..=NAME_AT + NAME_ROOM).contains(&length) {
        return Ok(None);
    }
    let mut bytes = vec![0; length];
    // The kernel cannot read it either, and may find the descriptor bad first.
    call.memory().read(address, &mut bytes).inspect_err(|errno| call.unreadable.set(*errno == Errno::EFAULT))?;
    if bytes[..NAME_AT] != u16::try_from(libc::AF_UNIX).unwrap_or(1).to_le_bytes() {
        return Ok(None);
    }
    let name = &bytes[NAME_AT..];
    let end = name.iter().position(|&b| b == 0).unwrap_or(name.len());
    Ok((end > 0).then(|| name[..end].to_vec()))
}

/// A call whose argument `index` is an address, the next one its length.
fn address(call: &Call<'_>, index: usize, follow: Follow, sleeps: bool) -> Result<Outcome, Errno> {
    let host = || if sleeps { Outcome::HostMaySleep } else { Outcome::Host };
    let Some(path) = unix_path(call, call.arg(index), call.uint(index + 1))? else { return Ok(host()) };
    let place = match call.meaning(&PathArg::at_cwd(path, follow), Need::Object)? {
        Meaning::Kernel => return Ok(host()),
        Meaning::Place(place) => place,
    };
    let binds = follow == Follow::Entry;
    let place = if binds && !place.found { call.for_writing(place, Purpose::Write)? } else { place };
    if place.native {
        return Ok(host());
    }
    if binds && place.found {
        return Err(Errno::EADDRINUSE);
    }
    let Some(name) = place.host() else {
        // No mount keeps sockets of its own.
        return Err(if binds { Errno::EPERM } else { Errno::ECONNREFUSED });
    };
    call.debug(Tag::Network, format_args!("the socket {}: the host's {name}", place.name));
    let (name, held) = short_name(name)?;
    let mut bytes = u16::try_from(libc::AF_UNIX).unwrap_or(1).to_le_bytes().to_vec();
    bytes.extend_from_slice(&name);
    bytes.push(0);
    let length = bytes.len().min(NAME_AT + NAME_ROOM);
    let mut args: [Argument; 6] = Default::default();
    args[index] = Argument::Bytes(bytes);
    args[index + 1] = Argument::Value(length as u64);
    Ok(call.rewrite_with(
        call.syscall.nr,
        args,
        Some(Box::new(move |result| {
            drop(held);
            result
        })),
    ))
}

/// The name as it fits into an address: by way of a descriptor of its directory if it is too long. That is to be held until the call was made.
fn short_name(name: &AbsPath) -> Result<(Vec<u8>, Option<OwnedFd>), Errno> {
    if name.as_bytes().len() < NAME_ROOM {
        return Ok((name.as_bytes().to_vec(), None));
    }
    let last = name.file_name().ok_or(Errno::ECONNREFUSED)?;
    let parent = sys::look_at(At::Root, name.parent().as_bytes(), Final::Refuse)?;
    let mut short = format!("/proc/{}/fd/{}/", std::process::id(), parent.as_raw_fd()).into_bytes();
    short.extend_from_slice(last);
    if short.len() < NAME_ROOM { Ok((short, Some(parent))) } else { Err(Errno::ENAMETOOLONG) }
}
