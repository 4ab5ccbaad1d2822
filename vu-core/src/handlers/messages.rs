//! Calls whose socket addresses lie in message headers: sendmsg(2), recvmsg(2), and those for several messages.
//!
//! They are intercepted only in processes that have made an AF_UNIX socket for datagrams: on all other sockets no path can stand there.

use super::sockets::{ADDRESS_MAX, ROOM_FOR_ANY, Told, name_to_reach, no_socket, tells_names, unix_address, unix_path};
use crate::{
    call::{Call, Outcome},
    debug::Tag,
    resolve::{Meaning, Need, PathArg},
};
use std::os::fd::OwnedFd;
use vu_api::Errno;
use vu_path::Follow;
use vu_trace::{Abi, Argument, Memory};

/// `UIO_MAXIOV`: no call looks at more messages (`__sys_sendmmsg`, `do_recvmmsg`, `net/socket.c`).
const MOST: u64 = 1024;

/// The size of the flags in a header.
const FLAGS: usize = 4;

/// Where things stand in `struct msghdr`, and the sizes of it and of `struct mmsghdr`, at whose end is the length of what was sent or received.
struct Layout {
    name_length: u64,
    /// The length of the control messages, which recvmsg(2) changes; behind it the flags.
    results: usize,
    size: usize,
    message: u64,
}

impl Layout {
    fn of(abi: Abi) -> Layout {
        match abi {
            Abi::X86_64 => Layout { name_length: 8, results: 40, size: 56, message: 64 },
            Abi::I386 => Layout { name_length: 4, results: 20, size: 28, message: 32 },
        }
    }

    /// The address of the name, which is the first field of a header.
    fn name(call: &Call<'_>, header: u64) -> Result<u64, Errno> {
        call.memory().read_pointer(header, call.abi.pointer_size())
    }
}

/// sendmsg(2).
pub fn sendmsg(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let header = call.arg(1);
    let Some((exchanged, held)) = exchanged(call, header)? else { return Ok(Outcome::HostMaySleep) };
    let mut args: [Argument; 6] = Default::default();
    args[1] = exchanged;
    let finish = move |result| {
        drop(held);
        result
    };
    Ok(call.rewrite_with(call.syscall.nr, args, Some(Box::new(finish))))
}

/// sendmmsg(2). Of messages the first of which has a name to be exchanged, that one is sent; of others those before it. That fewer were sent
/// than asked for is what callers reckon with.
pub fn sendmmsg(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let Layout { size, message, .. } = Layout::of(call.abi);
    let mut args: [Argument; 6] = Default::default();
    for index in 0..u64::from(call.uint(2)).min(MOST) {
        let header = call.arg(1).wrapping_add(index * message);
        match exchanged(call, header) {
            Ok(None) => continue,
            // Those before it are sent, and the error is told by the next call (`__sys_sendmmsg`).
            Ok(Some(_)) | Err(_) if index > 0 => {
                args[2] = Argument::Value(index);
                return Ok(call.rewrite(args));
            }
            Ok(Some((exchanged, held))) => {
                args[1] = exchanged;
                args[2] = Argument::Value(call.arg(3));
                args[3] = Argument::Value(0);
                let (memory, told) = (call.memory(), header.wrapping_add(size as u64));
                let finish = move |result: i64| {
                    drop(held);
                    match u32::try_from(result) {
                        Ok(sent) => memory.write(told, &sent.to_le_bytes()).map_or_else(Errno::as_result, |()| 1),
                        Err(_) => result,
                    }
                };
                let sendmsg = if call.abi == Abi::X86_64 { libc::SYS_sendmsg } else { I386_SENDMSG };
                return Ok(call.rewrite_with(sendmsg, args, Some(Box::new(finish))));
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(Outcome::HostMaySleep)
}

/// `arch/x86/entry/syscalls/syscall_32.tbl`
const I386_SENDMSG: i64 = 370;

/// recvmsg(2).
pub fn recvmsg(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let header = call.arg(1);
    match told_in(call, header) {
        Some(told) if told.is_short() && tells_names(call) => received(call, header, told),
        _ => Ok(told(call, &[header])),
    }
}

/// recvmsg(2) into a header of our own, that has room for any name; what it says is handed on.
fn received(call: &Call<'_>, header: u64, told: Told) -> Result<Outcome, Errno> {
    let Layout { name_length, size, results, .. } = Layout::of(call.abi);
    let (memory, names, width) = (call.memory(), call.core.socket_names.clone(), call.abi.pointer_size());
    let mut record = vec![0; size];
    memory.read(header, &mut record)?;
    set_name_length(&mut record, name_length, ROOM_FOR_ANY);
    let mut args: [Argument; 6] = Default::default();
    args[1] = Argument::Record(record, vec![(0, vec![0; ADDRESS_MAX])]);
    Ok(call.rewrite_placed(args, move |result, placed| {
        if result < 0 {
            return result;
        }
        let own = placed[1];
        let hand_on = || {
            let name = (memory.read_pointer(own, width)?, memory.read_u32(own.wrapping_add(name_length))?);
            told.hand_on(&memory, &names, name)?;
            let mut said = vec![0; width + FLAGS];
            memory.read(own.wrapping_add(results as u64), &mut said)?;
            memory.write(header.wrapping_add(results as u64), &said)
        };
        hand_on().map_or_else(Errno::as_result, |()| result)
    }))
}

/// recvmmsg(2).
pub fn recvmmsg(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let Layout { message, .. } = Layout::of(call.abi);
    let count = u64::from(call.uint(2)).min(MOST);
    let headers: Vec<u64> = (0..count).map(|index| call.arg(1).wrapping_add(index * message)).collect();
    Ok(told(call, &headers))
}

/// Where a name is told in a header, if one is asked for.
fn told_in(call: &Call<'_>, header: u64) -> Option<Told> {
    let Layout { name_length, .. } = Layout::of(call.abi);
    Told::new(call, Layout::name(call, header).ok()?, header.wrapping_add(name_length))
}

/// A call that tells names in these headers, one for each message that it receives.
fn told(call: &Call<'_>, headers: &[u64]) -> Outcome {
    if !tells_names(call) {
        return Outcome::HostMaySleep;
    }
    let told: Vec<Option<Told>> = headers.iter().map(|&header| told_in(call, header)).collect();
    if told.iter().all(Option::is_none) {
        return Outcome::HostMaySleep;
    }
    let (memory, names) = (call.memory(), call.core.socket_names.clone());
    let several = headers.len() > 1;
    let finish = move |result: i64| {
        let received = if several { usize::try_from(result).unwrap_or(0) } else { usize::from(result >= 0) };
        for told in told.iter().take(received).flatten() {
            told.exchange(&memory, &names, || None);
        }
        result
    };
    call.rewrite_with(call.syscall.nr, Default::default(), Some(Box::new(finish)))
}

/// A message header with another name in it, if the one in it is another one on the host; with it what is to be held until the message was sent.
fn exchanged(call: &Call<'_>, header: u64) -> Result<Option<(Argument, Option<OwnedFd>)>, Errno> {
    let Layout { name_length, size, .. } = Layout::of(call.abi);
    // What cannot be read is the kernel's to refuse.
    let memory = call.memory();
    let (Ok(name), Ok(length)) = (Layout::name(call, header), memory.read_u32(header.wrapping_add(name_length))) else {
        return Ok(None);
    };
    let Some(path) = unix_path(call, name, length)? else { return Ok(None) };
    let place = match call.meaning(&PathArg::at_cwd(path, Follow::Last), Need::Object)? {
        Meaning::Kernel => return Ok(None),
        Meaning::Place(place) if place.native => return Ok(None),
        Meaning::Place(place) => place,
    };
    let name = place.host().ok_or_else(|| no_socket(&place))?;
    call.debug(Tag::Network, format_args!("a message to the socket {}: the host's {name}", place.name));
    let (name, held) = name_to_reach(name)?;
    let (address, length) = unix_address(&name);
    let mut record = vec![0; size];
    memory.read(header, &mut record)?;
    set_name_length(&mut record, name_length, length);
    Ok(Some((Argument::Record(record, vec![(0, address)]), held)))
}

fn set_name_length(header: &mut [u8], at: u64, length: u32) {
    if let Some(place) = usize::try_from(at).ok().and_then(|at| header.get_mut(at..at + 4)) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}
