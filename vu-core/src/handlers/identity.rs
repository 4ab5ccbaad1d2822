//! Who a thread is: the calls of the set*id family, of capabilities, and what else tells about them, where a module makes identities virtual.
//!
//! Before the thread has changed anything, the kernel answers. The calls of i386 that have no `32` in their names take and give ids of 16 bits
//! (`kernel/uid16.c`).

use crate::{
    call::{Call, Outcome},
    sys, table,
};
use std::{os::fd::AsFd, sync::Arc};
use vu_api::{Errno, IdKind, Identities, Identity, IdentityChange};
use vu_trace::{Abi, Memory, Tid};

/// `NGROUPS_MAX` (include/uapi/linux/limits.h).
const MAX_GROUPS: u32 = 65536;

/// What does not fit into 16 bits is shown as this one (`DEFAULT_OVERFLOWUID`, include/linux/highuid.h).
const OVERFLOW: u16 = 65534;

/// How wide the ids of a call are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Width {
    Short,
    Full,
}

impl Width {
    fn of(call: &Call<'_>) -> Width {
        let short = call.abi == Abi::I386 && table::name(call.abi, call.syscall.nr).is_some_and(|n| !n.ends_with("32"));
        if short { Width::Short } else { Width::Full }
    }

    fn bytes(self, id: u32) -> Vec<u8> {
        match self {
            Width::Short => u16::try_from(id).unwrap_or(OVERFLOW).to_le_bytes().to_vec(),
            Width::Full => id.to_le_bytes().to_vec(),
        }
    }

    fn size(self) -> usize {
        if self == Width::Short { 2 } else { 4 }
    }
}

/// The name of the call without the width of its ids.
fn name(call: &Call<'_>) -> &'static str {
    table::name(call.abi, call.syscall.nr).unwrap_or_default().trim_end_matches("32")
}

/// Which ids the call is about.
fn kind(call: &Call<'_>) -> IdKind {
    if name(call).contains("uid") { IdKind::User } else { IdKind::Group }
}

/// Argument `index` as an id; `None` for −1.
fn id(call: &Call<'_>, index: usize) -> Option<u32> {
    let value = match Width::of(call) {
        Width::Short => match call.uint(index) & 0xffff {
            0xffff => u32::MAX,
            short => short,
        },
        Width::Full => call.uint(index),
    };
    (value != u32::MAX).then_some(value)
}

/// The virtual identity of the caller, if it has one.
fn held(call: &Call<'_>) -> Option<Arc<Identity>> {
    call.view.identities().and_then(|_| call.task.identity())
}

/// Changes the caller's, if the view's are virtual.
fn change(call: &Call<'_>, rules: Option<&dyn Identities>, change: &IdentityChange) -> Result<Outcome, Errno> {
    let Some(rules) = rules else { return Ok(Outcome::Host) };
    call.task.change_identity(rules, change)?;
    call.core.agents.switch_off(&call.task);
    Ok(Outcome::Done(0))
}

/// getuid(2), geteuid(2), getgid(2), getegid(2).
pub fn get_id(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let Some(who) = held(call) else { return Ok(Outcome::Host) };
    let id = match name(call) {
        "getuid" => who.users.real,
        "geteuid" => who.users.effective,
        "getgid" => who.groups.real,
        _ => who.groups.effective,
    };
    Ok(Outcome::Done(match Width::of(call) {
        Width::Short => u16::try_from(id).unwrap_or(OVERFLOW).into(),
        Width::Full => id.into(),
    }))
}

/// getresuid(2), getresgid(2).
pub fn get_ids(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let Some(who) = held(call) else { return Ok(Outcome::Host) };
    let ids = if kind(call) == IdKind::User { who.users } else { who.groups };
    for (index, id) in [ids.real, ids.effective, ids.saved].into_iter().enumerate() {
        call.write(call.arg(index), &Width::of(call).bytes(id))?;
    }
    Ok(Outcome::Done(0))
}

/// setuid(2), setgid(2).
pub fn set_id(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let rules = call.view.identities();
    match id(call, 0) {
        Some(id) => change(call, rules, &IdentityChange::One(kind(call), id)),
        None => Err(Errno::EINVAL),
    }
}

/// setreuid(2), setregid(2).
pub fn set_two_ids(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    change(call, call.view.identities(), &IdentityChange::Two(kind(call), id(call, 0), id(call, 1)))
}

/// setresuid(2), setresgid(2).
pub fn set_three_ids(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let ids = [id(call, 0), id(call, 1), id(call, 2)];
    change(call, call.view.identities(), &IdentityChange::Three(kind(call), ids))
}

/// setfsuid(2), setfsgid(2): they tell the former id, and never fail.
pub fn set_fs_id(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let Some(rules) = call.view.identities() else {
        // What the kernel shows of the task's identity may from now on not be the one that counts for files.
        call.task.set_own_fs_ids();
        return Ok(Outcome::Host);
    };
    let who = call.task.identity_by(rules)?;
    let former = if kind(call) == IdKind::User { who.users.fs } else { who.groups.fs };
    if let Some(id) = id(call, 0)
        && id != former
    {
        call.task.change_identity(rules, &IdentityChange::Fs(kind(call), id))?;
        call.core.agents.switch_off(&call.task);
    }
    Ok(Outcome::Done(former.into()))
}

/// getgroups(2).
pub fn getgroups(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let Some(who) = held(call) else { return Ok(Outcome::Host) };
    let size = usize::try_from(call.int(0)).map_err(|_| Errno::EINVAL)?;
    let count = who.supplementary.len();
    if size != 0 {
        if size < count {
            return Err(Errno::EINVAL);
        }
        let bytes: Vec<u8> = who.supplementary.iter().flat_map(|&id| Width::of(call).bytes(id)).collect();
        call.write(call.arg(1), &bytes)?;
    }
    Ok(Outcome::Done(i64::try_from(count).unwrap_or(i64::MAX)))
}

/// setgroups(2).
pub fn setgroups(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let rules = call.view.identities();
    if rules.is_none() {
        return Ok(Outcome::Host);
    }
    if call.uint(0) > MAX_GROUPS {
        return Err(Errno::EINVAL);
    }
    let width = Width::of(call).size();
    let mut bytes = vec![0; width * usize::try_from(call.uint(0)).map_err(|_| Errno::EINVAL)?];
    call.memory().read(call.arg(1), &mut bytes)?;
    let groups = bytes.chunks(width).map(|id| match id {
        [a, b] => Some(u32::from(u16::from_le_bytes([*a, *b]))).filter(|&id| id != 0xffff),
        [a, b, c, d] => Some(u32::from_le_bytes([*a, *b, *c, *d])).filter(|&id| id != u32::MAX),
        _ => None,
    });
    let groups = groups.collect::<Option<Vec<u32>>>().ok_or(Errno::EINVAL)?;
    change(call, rules, &IdentityChange::Supplementary(groups))
}

/// How many words a set of capabilities has in the version that the header names, and whose they are; `None` for what the kernel refuses
/// (`cap_validate_magic`, kernel/capability.c).
fn header(call: &Call<'_>) -> Option<(usize, i32)> {
    let words = match call.memory().read_u32(call.arg(0)).ok()? {
        0x1998_0330 => 1,
        0x2007_1026 | 0x2008_0522 => 2,
        _ => return None,
    };
    let pid = call.memory().read_u32(call.arg(0).wrapping_add(4)).ok()?.cast_signed();
    Some((words, pid))
}

/// capget(2).
pub fn capget(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    if call.view.identities().is_none() || call.arg(1) == 0 {
        return Ok(Outcome::Host);
    }
    let Some((words, pid)) = header(call) else { return Ok(Outcome::Host) };
    let task = if pid == 0 { Some(call.task.clone()) } else { call.core.tasks.get(Tid(pid)) };
    let Some(who) = task.filter(|task| call.view.has(task)).and_then(|task| task.identity()) else {
        return Ok(Outcome::Host);
    };
    let sets = [who.capabilities.effective, who.capabilities.permitted, who.capabilities.inheritable];
    let mut bytes = Vec::new();
    for word in 0..words {
        for set in sets {
            bytes.extend_from_slice(&set.to_le_bytes()[4 * word..4 * word + 4]);
        }
    }
    call.write(call.arg(1), &bytes)?;
    Ok(Outcome::Done(0))
}

/// capset(2): of the caller itself.
pub fn capset(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let rules = call.view.identities();
    let Some((words, pid)) = header(call) else { return Ok(Outcome::Host) };
    if rules.is_none() || pid != 0 && pid != call.task.tid.0 {
        return Ok(Outcome::Host);
    }
    let mut sets = [0u64; 3];
    for word in 0..words {
        for (at, set) in sets.iter_mut().enumerate() {
            let offset = 4 * (3 * word + at) as u64;
            let value = call.memory().read_u32(call.arg(1).wrapping_add(offset))?;
            *set |= u64::from(value) << (32 * word);
        }
    }
    let [effective, permitted, inheritable] = sets;
    change(call, rules, &IdentityChange::Capabilities { effective, permitted, inheritable })
}

/// prctl(2), as far as it concerns identities (`cap_task_prctl`, security/commoncap.c).
pub fn prctl(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    const AMBIENT_IS_SET: i32 = 1;
    let Some(rules) = call.view.identities() else { return Ok(Outcome::Host) };
    let argument = if call.abi == Abi::I386 { u64::from(call.uint(1)) } else { call.arg(1) };
    let kept = |answer: &dyn Fn(&Identity) -> bool| match held(call) {
        Some(who) => Ok(Outcome::Done(answer(&who).into())),
        None => Ok(Outcome::Host),
    };
    let is_set = |set: u64, number: u64| u32::try_from(number).is_ok_and(|n| set.checked_shr(n).unwrap_or(0) & 1 == 1);
    let wanted = match call.int(0) {
        libc::PR_GET_KEEPCAPS => return kept(&|who| who.secure_bits & KEEP_CAPS != 0),
        libc::PR_GET_SECUREBITS => {
            return Ok(held(call).map_or(Outcome::Host, |who| Outcome::Done(who.secure_bits.into())));
        }
        libc::PR_CAPBSET_READ if argument < 41 => return kept(&|who| is_set(who.capabilities.bounding, argument)),
        libc::PR_SET_KEEPCAPS => IdentityChange::KeepCapabilities(argument),
        libc::PR_SET_SECUREBITS => IdentityChange::SecureBits(u32::try_from(argument).map_err(|_| Errno::EPERM)?),
        libc::PR_CAPBSET_DROP => IdentityChange::DropBounding(argument),
        libc::PR_CAP_AMBIENT => {
            if call.arg(3) != 0 || call.arg(4) != 0 {
                return Err(Errno::EINVAL);
            }
            match call.int(1) {
                AMBIENT_IS_SET if call.arg(2) < 41 => {
                    return kept(&|who| is_set(who.capabilities.ambient, call.arg(2)));
                }
                libc::PR_CAP_AMBIENT_RAISE => IdentityChange::RaiseAmbient(call.arg(2)),
                libc::PR_CAP_AMBIENT_LOWER => IdentityChange::LowerAmbient(call.arg(2)),
                libc::PR_CAP_AMBIENT_CLEAR_ALL if call.arg(2) == 0 => IdentityChange::ClearAmbient,
                _ => return Err(Errno::EINVAL),
            }
        }
        libc::PR_SET_NO_NEW_PRIVS if argument == 1 && call.arg(2) | call.arg(3) | call.arg(4) == 0 => {
            call.task.change_identity(rules, &IdentityChange::NoNewPrivileges)?;
            call.core.agents.switch_off(&call.task);
            return Ok(Outcome::Host);
        }
        _ => return Ok(Outcome::Host),
    };
    change(call, Some(rules), &wanted)
}

/// `SECBIT_KEEP_CAPS`
const KEEP_CAPS: u32 = 1 << 4;

/// getsockopt(2): who is at the other end of a socket, if that is a process of the view. It is told as it is now, not as it was when it connected.
pub fn getsockopt(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let option = call.int(2);
    let asks_for_peer = call.int(1) == libc::SOL_SOCKET && matches!(option, libc::SO_PEERCRED | libc::SO_PEERGROUPS);
    if call.view.identities().is_none() || !asks_for_peer {
        return Ok(Outcome::Host);
    }
    let Ok(fd) = call.task.descriptor(call.int(0)) else { return Ok(Outcome::Host) };
    let Ok(peer) = sys::peer(fd.as_fd()) else { return Ok(Outcome::Host) };
    let peer_task = call.core.tasks.get(Tid(peer.pid)).filter(|task| call.view.has(task));
    let Some(who) = peer_task.and_then(|task| task.identity()) else { return Ok(Outcome::Host) };
    let room = call.memory().read_u32(call.arg(4))?.cast_signed();
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    if option == libc::SO_PEERGROUPS {
        let groups = bytes_of(&who.supplementary);
        if room < groups.len() {
            // Who has too little room is told how much it takes (`sk_getsockopt`, net/core/sock.c).
            tell_length(call, groups.len())?;
            return Err(Errno::ERANGE);
        }
        return tell_option(call, &groups);
    }
    let peer = bytes_of(&[peer.pid.cast_unsigned(), who.users.effective, who.groups.effective]);
    tell_option(call, peer.get(..room).unwrap_or(&peer))
}

fn bytes_of(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Answers getsockopt(2) with this value.
fn tell_option(call: &Call<'_>, value: &[u8]) -> Result<Outcome, Errno> {
    call.write(call.arg(3), value)?;
    tell_length(call, value.len())?;
    Ok(Outcome::Done(0))
}

fn tell_length(call: &Call<'_>, length: usize) -> Result<(), Errno> {
    call.write(call.arg(4), &u32::try_from(length).unwrap_or(0).to_le_bytes())
}
