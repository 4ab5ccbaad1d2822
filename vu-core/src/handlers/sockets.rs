//! Sockets: which stack makes them, and the names of AF_UNIX sockets, which are paths.

use crate::{
    call::{Call, Outcome, Syscall},
    debug::Tag,
    handlers::ownership::adopt,
    layer::Layer,
    resolve::{Meaning, Need, PathArg, Place},
    socket_names::SocketNames,
    sys::{self, At, End, Final},
    table,
    umask::Worn,
};
use std::{
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::atomic::{AtomicU16, Ordering},
};
use vu_api::{AbsPath, AccessMode, Errno, Family, Opened, Purpose};
use vu_path::Follow;
use vu_trace::{Abi, Argument, Memory, NewDescriptor, ProcessMemory};

/// The room for a name in `struct sockaddr_un` (unix(7)).
const NAME_ROOM: usize = 108;
/// Where it begins.
const NAME_AT: usize = 2;
/// The longest address there is, `struct sockaddr_storage`; as calls are told it, and as we count.
pub(super) const ROOM_FOR_ANY: u32 = 128;
pub(super) const ADDRESS_MAX: usize = ROOM_FOR_ANY as usize;
/// `AF_UNIX`, as an address begins.
const UNIX: [u8; NAME_AT] = [1, 0];

/// socket(2): by the stack that the process has chosen for the family.
pub fn socket(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let family = Family(call.int(0));
    if family.0 == libc::AF_NETLINK && call.int(2) == libc::NETLINK_AUDIT && call.task.identity().is_some() {
        // The host's log is not to hear of virtual users, and what sends to it complains of refusals. A kernel without such a log says this.
        return Err(Errno::EPROTONOSUPPORT);
    }
    let Some(stack) = call.task.stack(family) else { return Ok(hosts_socket(call, family)) };
    call.debug(Tag::Network, format_args!("a socket of family {} by its own stack", family.0));
    let kind = call.int(1);
    let modes = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    match stack.socket(family, kind & !modes, call.int(2))? {
        Opened::Host(fd) => {
            let close_on_exec = kind & libc::SOCK_CLOEXEC != 0;
            Ok(Outcome::Install(NewDescriptor { fd, close_on_exec, undo: None }))
        }
        Opened::Virtual(_) => Err(Errno::EAFNOSUPPORT),
    }
}

/// A socket of the host's. With one for datagrams of AF_UNIX, messages can be sent to names, which stand where no filter sees them.
fn hosts_socket(call: &Call<'_>, family: Family) -> Outcome {
    const KIND: i32 = 0xf;
    if family.0 != libc::AF_UNIX || call.int(1) & KIND != libc::SOCK_DGRAM || !call.task.process.watch_messages() {
        return Outcome::Host;
    }
    let mut outcome = call.rewrite(Default::default());
    if let Outcome::Rewrite(rewrite) = &mut outcome {
        rewrite.filter = call.core.message_filter();
    }
    outcome
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

/// i386's socketcall(2): its arguments lie in memory. Each of its calls has a number of its own, too (since Linux 4.3), by which it is made if it is to be another one.
pub fn socketcall(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let Some(&(nr, arguments)) = usize::try_from(call.int(0)).ok().and_then(|which| SOCKET_CALLS.get(which)) else {
        return Ok(Outcome::Host);
    };
    let Some(handler) = table::lookup(Abi::I386, nr).and_then(table::Row::handler) else {
        return Ok(Outcome::HostMaySleep);
    };
    let mut args = [0; 6];
    for (at, value) in (0u64..).zip(args.iter_mut().take(arguments)) {
        *value = call.memory().read_u32(call.arg(1).wrapping_add(4 * at)).map(u64::from).inspect_err(|errno| {
            call.unreadable.set(*errno == Errno::EFAULT);
        })?;
    }
    // What may be there in registers is to be looked at by its filter only if this argument is something.
    let looked_at = table::lookup(Abi::I386, nr).is_none_or(|row| row.looks_at(&args));
    if !looked_at {
        return Ok(Outcome::HostMaySleep);
    }
    call.syscall = Syscall { nr, args };
    let mut outcome = handler(call)?;
    if let Outcome::Rewrite(rewrite) = &mut outcome {
        for (argument, value) in rewrite.args.iter_mut().zip(args) {
            if *argument == Argument::Keep {
                *argument = Argument::Value(value);
            }
        }
    }
    Ok(outcome)
}

/// The calls of socketcall(2) by their numbers there (`include/uapi/linux/net.h`): the number of the call itself on i386, and how many arguments
/// it has. accept(2) has none, and is accept4(2) without flags.
const SOCKET_CALLS: [(i64, usize); 21] = [
    (0, 0),
    (359, 3),
    (361, 3),
    (362, 3),
    (363, 2),
    (364, 3),
    (367, 3),
    (368, 3),
    (360, 4),
    (369, 4),
    (371, 4),
    (369, 6),
    (371, 6),
    (373, 2),
    (366, 5),
    (365, 5),
    (370, 3),
    (372, 3),
    (364, 4),
    (337, 5),
    (345, 4),
];

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
    let Some(told) = told_name(call, 1) else { return Ok(Outcome::HostMaySleep) };
    let (memory, names, task) = (call.memory(), call.core.socket_names.clone(), call.task.clone());
    let finish = Box::new(move |result| {
        if let Ok(accepted) = i32::try_from(result)
            && accepted >= 0
        {
            told.exchange(&memory, &names, || {
                sys::socket_address(task.descriptor(accepted).ok()?.as_fd(), End::Peer).ok()
            });
        }
        result
    });
    Ok(call.rewrite_with(call.syscall.nr, Default::default(), Some(finish)))
}

/// recvfrom(2), with an address.
pub fn recvfrom(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    const NAME: usize = 4;
    let Some(told) = told_name(call, NAME) else { return Ok(Outcome::HostMaySleep) };
    let (memory, names) = (call.memory(), call.core.socket_names.clone());
    if !told.is_short() {
        let finish = Box::new(move |result| {
            if result >= 0 {
                told.exchange(&memory, &names, || None);
            }
            result
        });
        return Ok(call.rewrite_with(call.syscall.nr, Default::default(), Some(finish)));
    }
    let mut args: [Argument; 6] = Default::default();
    args[NAME] = Argument::Bytes(vec![0; ADDRESS_MAX]);
    args[NAME + 1] = Argument::Bytes(ROOM_FOR_ANY.to_ne_bytes().to_vec());
    Ok(call.rewrite_placed(args, move |result, placed| {
        if result < 0 {
            return result;
        }
        let told =
            memory.read_u32(placed[NAME + 1]).and_then(|length| told.hand_on(&memory, &names, (placed[NAME], length)));
        told.map_or_else(Errno::as_result, |()| result)
    }))
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

/// Where a call tells an address, at argument `index`, and its length, at the next one: if that may be the name of a socket that was given another one in
/// the view.
fn told_name(call: &Call<'_>, index: usize) -> Option<Told> {
    Told::new(call, call.arg(index), call.arg(index + 1)).filter(|_| tells_names(call))
}

/// Whether the socket in the first argument may be told a name that was another one in the view.
pub(super) fn tells_names(call: &Call<'_>) -> bool {
    let own = || call.task.descriptor(call.int(0)).and_then(|fd| sys::socket_address(fd.as_fd(), End::Own));
    !call.core.socket_names.is_empty() && own().is_ok_and(|own| own.get(..NAME_AT) == Some(&UNIX[..]))
}

/// Where a call will tell an address and its length.
pub(super) struct Told {
    address: u64,
    length: u64,
    room: u32,
}

impl Told {
    /// Before the call, when the length says how much room there is; `None` if nothing is asked for.
    pub(super) fn new(call: &Call<'_>, address: u64, length: u64) -> Option<Told> {
        let room = call.memory().read_u32(length).ok().filter(|_| address != 0)?;
        Some(Told { address, length, room })
    }

    /// Whether the kernel's name may be longer than that.
    pub(super) fn is_short(&self) -> bool {
        usize::try_from(self.room).is_ok_and(|room| room < NAME_AT + NAME_ROOM)
    }

    /// After it. `whole` tells the kernel's address if only its beginning had room; if it does not, that of a socket that begins so is meant, if there is one only.
    pub(super) fn exchange(
        &self,
        memory: &ProcessMemory,
        names: &SocketNames,
        whole: impl FnOnce() -> Option<Vec<u8>>,
    ) -> Option<()> {
        let told = usize::try_from(memory.read_u32(self.length).ok()?).ok().filter(|told| *told <= ADDRESS_MAX)?;
        let mut kernels = vec![0; told.min(usize::try_from(self.room).ok()?)];
        memory.read(self.address, &mut kernels).ok()?;
        let given = if kernels.len() == told {
            given_address(names, &kernels)?
        } else if let Some(kernels) = whole() {
            given_address(names, &kernels)?
        } else {
            // The NUL at its end counts, too.
            let length = told.checked_sub(NAME_AT + 1)?;
            [&UNIX[..], &names.given_by_beginning(kernels.strip_prefix(&UNIX)?, length)?, b"\0"].concat()
        };
        self.write(memory, &given).ok()
    }

    /// After a call that was given room for any address in another place, with where that is and how long.
    ///
    /// # Errors
    /// `EFAULT`, as of the call itself.
    pub(super) fn hand_on(
        &self,
        memory: &ProcessMemory,
        names: &SocketNames,
        (address, length): (u64, u32),
    ) -> Result<(), Errno> {
        let mut kernels = vec![0; usize::try_from(length).map_or(ADDRESS_MAX, |length| length.min(ADDRESS_MAX))];
        memory.read(address, &mut kernels)?;
        let given = given_address(names, &kernels).unwrap_or(kernels);
        self.write(memory, &given)
    }

    fn write(&self, memory: &ProcessMemory, address: &[u8]) -> Result<(), Errno> {
        write_address(memory, address, self.room.cast_signed(), self.address, self.length)
    }
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
pub(super) fn unix_path(call: &Call<'_>, address: u64, length: u32) -> Result<Option<Vec<u8>>, Errno> {
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
    let as_given = || if binds { bind_as_given(call, &path) } else { host() };
    // Where a socket is made, it must be known whether something is there: it may be made elsewhere.
    let need = if binds { Need::Change } else { Need::Object };
    let place = match call.meaning(&PathArg::at_cwd(path.clone(), follow), need) {
        Ok(Meaning::Kernel) => return Ok(as_given()),
        Ok(Meaning::Place(place)) if place.native && !binds => place,
        // To all others the address is of a wrong family, whatever it says.
        _ if !is_unix_socket(call) => return Ok(host()),
        Ok(Meaning::Place(place)) => place,
        Err(errno) => return Err(errno),
    };
    if binds && !place.native && place.must_be_dir && !place.found {
        // A slash follows the name of what is no directory (`filename_create`, `fs/namei.c`).
        return Err(Errno::ENOENT);
    }
    if !binds && !place.native && place.found {
        place.must_suit_slash(call)?;
    }
    if let Some(judge) = call.layer.judge(&place.name, &*call.task) {
        match place.found {
            true if !binds => judge.may(&place.name, AccessMode::WRITE)?,
            false if binds => judge.may_make(&place.name)?,
            _ => {}
        }
    }
    let place = if binds && !place.found { call.for_writing(place, Purpose::Write)? } else { place };
    if place.native {
        return Ok(as_given());
    }
    if binds && place.found {
        return Err(Errno::EADDRINUSE);
    }
    let Some(name) = place.host() else {
        return Err(if binds { Errno::EPERM } else { no_socket(&place) });
    };
    call.debug(Tag::Network, format_args!("the socket {}: the host's {name}", place.name));
    let short = if binds { short_name(name)? } else { Some(name_to_reach(name)?) };
    let Some((name, held)) = short else { return bind_for(call, &place.name, name, path) };
    let bound = binds.then(|| {
        call.core.socket_named();
        (call.core.socket_names.clone(), name.clone())
    });
    let (task, made) = (call.task.clone(), place.name.clone());
    let (bytes, length) = unix_address(&name);
    let mut args: [Argument; 6] = Default::default();
    args[index] = Argument::Bytes(bytes);
    args[index + 1] = Argument::Value(length.into());
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

/// bind(2) by a name that is the kernel's, too: if it was one that the kernel had for a socket of another name in the view, that is so no more.
fn bind_as_given(call: &Call<'_>, path: &[u8]) -> Outcome {
    let names = call.core.socket_names.clone();
    if names.given(path).is_none() {
        return Outcome::Host;
    }
    let path = path.to_vec();
    let forget = move |result| {
        if result == 0 {
            names.forget(&path);
        }
        result
    };
    call.rewrite_with(call.syscall.nr, Default::default(), Some(Box::new(forget)))
}

/// Why nobody is reached by the name of an object of a mount's own: no mount keeps sockets (`unix_find_bsd`, `net/unix/af_unix.c`).
pub(super) fn no_socket(place: &Place) -> Errno {
    if place.found { Errno::ECONNREFUSED } else { Errno::ENOENT }
}

/// Whether descriptor argument 0 is an AF_UNIX socket.
fn is_unix_socket(call: &Call<'_>) -> bool {
    let own = call.task.descriptor(call.int(0)).and_then(|fd| sys::socket_address(fd.as_fd(), End::Own));
    own.is_ok_and(|address| address.starts_with(&UNIX))
}

/// The address of a name that fits into one, and its length.
pub(super) fn unix_address(name: &[u8]) -> (Vec<u8>, u32) {
    let bytes = [&UNIX[..], name, b"\0"].concat();
    let length = u32::try_from(bytes.len().min(NAME_AT + NAME_ROOM)).unwrap_or(u32::MAX);
    (bytes, length)
}

/// A name that fits into an address, and a descriptor that it leads by, to be held until the call was made.
type Short = (Vec<u8>, Option<OwnedFd>);

/// The name of a socket as it fits into an address: by way of a descriptor of it if it is too long.
pub(super) fn name_to_reach(name: &AbsPath) -> Result<Short, Errno> {
    if name.as_bytes().len() < NAME_ROOM {
        return Ok((name.as_bytes().to_vec(), None));
    }
    let socket = sys::look_at(At::Root, name.as_bytes(), Final::Itself)?;
    Ok((format!("/proc/{}/fd/{}", std::process::id(), socket.as_raw_fd()).into_bytes(), Some(socket)))
}

/// The same for one that is to be made: by way of its directory. `None` if its last component alone leaves no room for that.
///
/// The number of the descriptor soon leads to another directory, and a socket keeps the name by which it was made: what stands between tells it from
/// those that were made by the same number before.
fn short_name(name: &AbsPath) -> Result<Option<Short>, Errno> {
    if name.as_bytes().len() < NAME_ROOM {
        return Ok(Some((name.as_bytes().to_vec(), None)));
    }
    let last = name.file_name().ok_or(Errno::EADDRINUSE)?;
    let parent = sys::look_at(At::Root, name.parent().as_bytes(), Final::Refuse)?;
    let mut short = format!("/proc/{}/fd/{}/", std::process::id(), parent.as_raw_fd()).into_bytes();
    let Some(left) = (NAME_ROOM - 1).checked_sub(short.len() + last.len()) else { return Ok(None) };
    static MADE: AtomicU16 = AtomicU16::new(0);
    let made = MADE.fetch_add(1, Ordering::Relaxed);
    for digit in (0..u16::BITS).take(left / 2) {
        short.extend_from_slice(if made >> digit & 1 == 0 { b"/" } else { b"./" });
    }
    short.extend_from_slice(last);
    Ok(Some((short, Some(parent))))
}

/// bind(2) in the tracee's place, in the directory of the name on the host.
///
/// # Errors
/// `ENAMETOOLONG` if its longest component leaves no room for a directory, and the tracee's rights are not the hypervisor's; those of bind(2).
fn bind_for(call: &Call<'_>, seen: &AbsPath, host: &AbsPath, given: Vec<u8>) -> Result<Outcome, Errno> {
    let last = host.file_name().filter(|last| last.len() <= NAME_ROOM).ok_or(Errno::ENAMETOOLONG)?;
    let alike = sys::everybodys_ids().is_some() && call.task.same_credentials();
    let umask = if alike { Worn::new(call.task.umask()?) } else { None };
    let umask = umask.ok_or(Errno::ENAMETOOLONG)?;
    let parent = sys::look_at(At::Root, host.parent().as_bytes(), Final::Refuse)?;
    let socket = call.task.descriptor(call.int(0))?;
    call.still_waits()?;
    // The end of the room is an end of the name, too.
    sys::bind_in(&umask, parent.as_fd(), socket.as_fd(), &[&UNIX[..], last].concat())?;
    if last == given {
        call.core.socket_names.forget(last);
    } else {
        call.core.socket_named();
        call.core.socket_names.note(last.to_vec(), given);
    }
    adopt(&call.task, &Layer::top(call.task.view()), seen, None);
    Ok(Outcome::Done(0))
}
