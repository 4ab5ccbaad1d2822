//! Sockets: which stack makes them, and the names of AF_UNIX sockets, which are paths.

use crate::{
    call::{Call, Outcome},
    debug::Tag,
    handlers::ownership::adopt,
    layer::Layer,
    resolve::{Meaning, Need, PathArg},
    socket_names::SocketNames,
    sys::{self, At, End, Final},
};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use vu_api::{AbsPath, AccessMode, Errno, Family, Opened, Purpose};
use vu_path::Follow;
use vu_trace::{Argument, Memory, NewDescriptor, ProcessMemory};

/// The room for a name in `struct sockaddr_un` (unix(7)).
const NAME_ROOM: usize = 108;
/// Where it begins.
const NAME_AT: usize = 2;
/// The longest address there is, `struct sockaddr_storage`.
const ADDRESS_MAX: usize = 128;
/// `AF_UNIX`, as an address begins.
const UNIX: [u8; NAME_AT] = [1, 0];

/// socket(2): by the stack that the process has chosen for the family.
pub fn socket(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let family = Family(call.int(0));
    let Some(stack) = call.task.stack(family) else { return Ok(Outcome::Host) };
    call.debug(Tag::Network, format_args!("a socket of family {} by its own stack", family.0));
    let kind = call.int(1);
    let modes = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    match stack.socket(family, kind & !modes, call.int(2))? {
        Opened::Host(fd) => {
            let close_on_exec = kind & libc::SOCK_CLOEXEC != 0;
            Ok(Outcome::Install(NewDescriptor { fd, close_on_exec, at_once: false, undo: None }))
        }
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

/// getsockname(2).
pub fn getsockname(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    tell_name(call, End::Own)
}

/// getpeername(2).
pub fn getpeername(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    tell_name(call, End::Peer)
}

/// accept(2) and accept4(2), with an address.
pub fn accept(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    Ok(with_name(call, 1))
}

/// recvfrom(2), with an address.
pub fn recvfrom(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    Ok(with_name(call, 4))
}

fn tell_name(call: &Call<'_>, end: End) -> Result<Outcome, Errno> {
    let given = call.task.descriptor(call.int(0)).and_then(|fd| sys::socket_address(fd.as_fd(), end));
    let Some(given) = given.ok().and_then(|kernels| given_address(&call.core.socket_names, &kernels)) else {
        return Ok(Outcome::Host);
    };
    let memory = call.memory();
    let room = memory.read_u32(call.arg(2))?.cast_signed();
    write_address(&memory, &given, room, call.arg(1), call.arg(2))?;
    Ok(Outcome::Done(0))
}

/// A call that, when it is done, tells an address at argument `index` and its length at the next one: if it is that of a socket which was given another
/// name in the view, it is exchanged.
fn with_name(call: &Call<'_>, index: usize) -> Outcome {
    let (address, length) = (call.arg(index), call.arg(index + 1));
    let own = call.task.descriptor(call.int(0)).and_then(|fd| sys::socket_address(fd.as_fd(), End::Own));
    let (Ok(own), Ok(room)) = (own, call.memory().read_u32(length)) else { return Outcome::HostMaySleep };
    if own.get(..NAME_AT) != Some(&UNIX[..]) {
        return Outcome::HostMaySleep;
    }
    let (memory, names) = (call.memory(), call.core.socket_names.clone());
    let exchange = move || {
        let told = memory.read_u32(length).ok().filter(|told| *told <= room)?;
        let mut kernels = vec![0; usize::try_from(told).ok().filter(|told| *told <= ADDRESS_MAX)?];
        memory.read(address, &mut kernels).ok()?;
        let given = given_address(&names, &kernels)?;
        write_address(&memory, &given, room.cast_signed(), address, length).ok()
    };
    let finish = Box::new(move |result| {
        if result >= 0 {
            exchange();
        }
        result
    });
    call.rewrite_with(call.syscall.nr, Default::default(), Some(finish))
}

/// The address as the program that bound the socket gave it, if the kernel's is another one.
fn given_address(names: &SocketNames, kernels: &[u8]) -> Option<Vec<u8>> {
    let name = kernels.strip_prefix(&UNIX)?;
    let end = name.iter().position(|&b| b == 0).unwrap_or(name.len());
    let given = names.given(&name[..end])?;
    Some([&UNIX[..], &given, b"\0"].concat())
}

/// As much of an address as there is room for, and its whole length (`move_addr_to_user`, `net/socket.c`).
fn write_address(memory: &ProcessMemory, bytes: &[u8], room: i32, address: u64, length: u64) -> Result<(), Errno> {
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    memory.write(address, &bytes[..bytes.len().min(room)])?;
    memory.write(length, &u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_ne_bytes())
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
    if bytes[..NAME_AT] != UNIX {
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
    let binds = follow == Follow::Entry;
    let place = match call.meaning(&PathArg::at_cwd(path.clone(), follow), Need::Object) {
        Ok(Meaning::Kernel) => return Ok(host()),
        Ok(Meaning::Place(place)) if place.native && !binds => place,
        // To all others the address is of a wrong family, whatever it says.
        _ if !is_unix_socket(call) => return Ok(host()),
        Ok(Meaning::Place(place)) => place,
        Err(errno) => return Err(errno),
    };
    if let Some(judge) = call.layer.judge(&place.name, &*call.task) {
        match place.found {
            true if !binds => judge.may(&place.name, AccessMode::WRITE)?,
            false if binds => judge.may_make(&place.name)?,
            _ => {}
        }
    }
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
    let bound = binds.then(|| {
        call.core.socket_named();
        (call.core.socket_names.clone(), name.clone())
    });
    let (task, made) = (call.task.clone(), place.name.clone());
    let mut bytes = UNIX.to_vec();
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
            if result == 0
                && let Some((names, kernels)) = bound
            {
                names.note(kernels, path);
                adopt(&task, &Layer::top(task.view()), &made, None);
            }
            result
        })),
    ))
}

/// Whether descriptor argument 0 is an AF_UNIX socket.
fn is_unix_socket(call: &Call<'_>) -> bool {
    let own = call.task.descriptor(call.int(0)).and_then(|fd| sys::socket_address(fd.as_fd(), End::Own));
    own.is_ok_and(|address| address.starts_with(&UNIX))
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
