//! The calls that only look: stat(2) and its relatives, access(2), readlink(2), statfs(2).

use crate::{
    call::{Call, Outcome},
    handlers::{mount_queries, rewrite, xattrs},
    identity, mapped, mount_list, proc_files,
    resolve::{Meaning, Need, PathArg, Place},
    sys,
    task::{Task, host_name},
    tree::of_another_proc,
    view::Mount,
};
use std::{os::fd::AsFd, sync::Arc};
use vu_api::{
    AbsPath, AccessMode, Caller, Errno, FileType, Filesystem, Location, MountFlags, Purpose, Removed, Stat, StatFs,
    capability,
};
use vu_path::Follow;
use vu_trace::{Abi, Tid};

/// The flags that the kernel takes (`vfs_statx`, `fs/stat.c`); others it refuses before it looks at the path.
pub(super) const STAT_FLAGS: i32 =
    libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT | libc::AT_EMPTY_PATH | libc::AT_STATX_SYNC_TYPE;

/// `STATX__RESERVED` (`include/uapi/linux/stat.h`).
const STATX_RESERVED: u32 = 0x8000_0000;

/// What is done with a place: nothing, where the kernel finds it itself. A host's object may have to be reached by its path.
fn look(
    call: &mut Call<'_>,
    dirfd: i32,
    path_index: usize,
    follow: Follow,
    answer: impl FnOnce(&mut Call<'_>, &Place) -> Result<Outcome, Errno>,
) -> Result<Outcome, Errno> {
    look_for(call, (dirfd, path_index, follow), Purpose::Attributes, answer)
}

/// The same, for who asks for what `purpose` says.
fn look_for(
    call: &mut Call<'_>,
    (dirfd, path_index, follow): (i32, usize, Follow),
    purpose: Purpose,
    answer: impl FnOnce(&mut Call<'_>, &Place) -> Result<Outcome, Errno>,
) -> Result<Outcome, Errno> {
    let path = call.read_path(path_index)?;
    let arg = PathArg::at(dirfd, path, follow);
    if let Some(outcome) = proc_files::look(call, &arg)? {
        return Ok(outcome);
    }
    let meaning = call.meaning(&arg, Need::Path)?;
    call.prove(&arg, &meaning);
    let place = match meaning {
        Meaning::Kernel => return Ok(Outcome::Host),
        Meaning::Place(place) => call.for_attributes(place, purpose)?,
    };
    match place {
        place if place.native => Ok(Outcome::Host),
        place => {
            let place = place.existing(call)?;
            place.must_suit_slash(call)?;
            let host = place.host().is_some();
            if host && (place.opaque || call.abi != Abi::X86_64 || !call.task.same_credentials()) {
                return rewrite::paths(call);
            }
            answer(call, &place)
        }
    }
}

/// As [`look`], for who asks for attributes: the files of a process of the view may be another's than the host says.
fn look_at_attributes(
    call: &mut Call<'_>,
    dirfd: i32,
    path_index: usize,
    follow: Follow,
    answer: impl FnOnce(&mut Call<'_>, &Place, Option<(u32, u32)>) -> Result<Outcome, Errno>,
) -> Result<Outcome, Errno> {
    if call.view.identities().is_some() && call.abi == Abi::X86_64 {
        let path = call.read_path(path_index)?;
        let in_proc = path.windows(4).any(|window| window == b"proc");
        let arg = PathArg::at(dirfd, path, follow);
        if (in_proc || call.may_be_magic(&arg))
            && let Meaning::Place(place) = call.meaning(&arg, Need::Name)?
            && place.found
            && !place.opaque
            && let Some(owner) = place.host().and_then(|host| identity::owner_in_proc(call, host))
        {
            return answer(call, &place, Some(owner));
        }
    }
    look(call, dirfd, path_index, follow, |call, place| answer(call, place, None))
}

fn follow_unless(nofollow: bool) -> Follow {
    if nofollow { Follow::Never } else { Follow::Last }
}

/// stat(2).
pub fn stat(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    look_at_attributes(call, libc::AT_FDCWD, 0, Follow::Last, |call, place, owner| tell(call, place, owner, 1))
}

/// lstat(2).
pub fn lstat(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    look_at_attributes(call, libc::AT_FDCWD, 0, Follow::Never, |call, place, owner| tell(call, place, owner, 1))
}

/// newfstatat(2).
pub fn newfstatat(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let flags = call.int(3);
    // A descriptor alone is looked at before the flags are (`vfs_fstatat`, `fs/stat.c`).
    let empty = flags & libc::AT_EMPTY_PATH != 0 && is_empty(call, 1);
    if empty && call.int(0) >= 0 {
        return super::fds::stat_of(call, call.int(0), 2);
    }
    if flags & !STAT_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    if empty {
        return super::fds::stat_of(call, call.int(0), 2);
    }
    let follow = follow_unless(flags & libc::AT_SYMLINK_NOFOLLOW != 0);
    look_at_attributes(call, call.int(0), 1, follow, |call, place, owner| tell(call, place, owner, 2))
}

/// Whether the path at `index` is empty or, where the kernel takes that for empty (Linux 6.11), NULL.
pub(super) fn is_empty(call: &Call<'_>, index: usize) -> bool {
    call.arg(index) == 0 || call.read_path(index).is_ok_and(|path| path.is_empty())
}

fn tell(call: &Call<'_>, place: &Place, owner: Option<(u32, u32)>, buffer: usize) -> Result<Outcome, Errno> {
    let mut stat = match place.reach() {
        Some(object) => sys::stat_at(object)?,
        None => encode_stat(&call.layer.stat(&place.name)?),
    };
    if let Some((uid, gid)) = owner
        && stat.st_uid == sys::effective_uid()
    {
        (stat.st_uid, stat.st_gid) = (uid, gid);
    }
    call.write(call.arg(buffer), sys::bytes(&stat))?;
    Ok(Outcome::Done(0))
}

/// statx(2).
pub fn statx(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let flags = call.int(2);
    let both = libc::AT_STATX_FORCE_SYNC | libc::AT_STATX_DONT_SYNC;
    if flags & !STAT_FLAGS != 0 || flags & both == both || call.uint(3) & STATX_RESERVED != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & libc::AT_EMPTY_PATH != 0 && is_empty(call, 1) {
        return super::fds::statx_of(call, call.int(0), 4);
    }
    let follow = follow_unless(flags & libc::AT_SYMLINK_NOFOLLOW != 0);
    let told = |call: &mut Call<'_>, place: &Place, owner: Option<(u32, u32)>| {
        let (flags, mask) = (call.int(2), call.uint(3));
        let mut stat = match place.reach() {
            Some(object) => sys::statx(object, flags & libc::AT_STATX_SYNC_TYPE, mask)?,
            None => encode_statx(&call.layer.stat(&place.name)?, mask),
        };
        if let Some((uid, gid)) = owner
            && stat.stx_uid == sys::effective_uid()
        {
            (stat.stx_uid, stat.stx_gid) = (uid, gid);
        }
        if let Some((mount, rest)) = call.layer.mount_for(&place.name) {
            tell_mount(&mut stat, &mount, Some(rest.is_root()), mask);
        }
        call.write(call.arg(4), sys::bytes(&stat))?;
        Ok(Outcome::Done(0))
    };
    if asks_for_mount(call.uint(3)) && call.abi == Abi::X86_64 && call.task.same_credentials() {
        // The kernel finds the object, but not the mount that it is in.
        let arg = PathArg::at(call.int(0), call.read_path(1)?, follow);
        if let Some(outcome) = proc_files::look(call, &arg)? {
            return Ok(outcome);
        }
        if let Meaning::Place(place) = call.meaning(&arg, Need::Name)?
            && place.found
            && !place.opaque
            && call.layer.mount_for(&place.name).is_some()
        {
            let place = call.for_attributes(place, Purpose::Attributes)?;
            return told(call, &place, None);
        }
    }
    look_at_attributes(call, call.int(0), 1, follow, told)
}

/// Whether statx(2) is asked in which mount an object lies. It is told in any case; that of the host to who does not ask.
pub(super) fn asks_for_mount(mask: u32) -> bool {
    mask & (libc::STATX_MNT_ID | libc::STATX_MNT_ID_UNIQUE) != 0
}

/// Tells that an object lies in a mount of the view, and whether it is its root, if that is known.
pub(super) fn tell_mount(stat: &mut libc::statx, mount: &Mount, is_root: Option<bool>, mask: u32) {
    const MOUNT_ROOT: u64 = libc::STATX_ATTR_MOUNT_ROOT.unsigned_abs() as u64;
    stat.stx_mask &= !(libc::STATX_MNT_ID | libc::STATX_MNT_ID_UNIQUE);
    if mask & libc::STATX_MNT_ID_UNIQUE != 0 {
        stat.stx_mnt_id = mount_queries::unique_id(mount);
        stat.stx_mask |= libc::STATX_MNT_ID_UNIQUE;
    } else {
        stat.stx_mnt_id = mount_list::id(mount);
        stat.stx_mask |= libc::STATX_MNT_ID;
    }
    if let Some(is_root) = is_root {
        stat.stx_attributes_mask |= MOUNT_ROOT;
        stat.stx_attributes =
            if is_root { stat.stx_attributes | MOUNT_ROOT } else { stat.stx_attributes & !MOUNT_ROOT };
    }
}

/// access(2).
pub fn access(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let mode = access_mode(call, 1)?;
    access_at(call, libc::AT_FDCWD, 0, Follow::Last, mode, 0)
}

/// faccessat(2): without flags, as the kernel's.
pub fn faccessat(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let mode = access_mode(call, 2)?;
    access_at(call, call.int(0), 1, Follow::Last, mode, 0)
}

/// faccessat2(2).
pub fn faccessat2(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let (mode, flags) = (access_mode(call, 2)?, call.int(3));
    if flags & !(libc::AT_EACCESS | libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let follow = follow_unless(flags & libc::AT_SYMLINK_NOFOLLOW != 0);
    access_at(call, call.int(0), 1, follow, mode, flags & libc::AT_EACCESS)
}

/// The operation.
fn access_at(
    call: &mut Call<'_>,
    dirfd: i32,
    path_index: usize,
    follow: Follow,
    mode: i32,
    flags: i32,
) -> Result<Outcome, Errno> {
    judge_access(call, dirfd, path_index, follow, mode, flags)?;
    if mode & libc::W_OK != 0 && call.core.has_virtual_files() {
        // What may be written is the mount's to say where it keeps changes elsewhere.
        let path = call.read_path(path_index)?;
        if let Meaning::Place(place) = call.meaning(&PathArg::at(dirfd, path, follow), Need::Object)?
            && !place.opaque
            && call.may_write(&place)? == Location::Own
        {
            let place = place.existing(call)?;
            place.must_suit_slash(call)?;
            call.layer.access(&place.name, AccessMode::from_bits_retain(mode), &*call.task)?;
            return Ok(Outcome::Done(0));
        }
    }
    look(call, dirfd, path_index, follow, |call, place| accessible(call, place, mode, flags))
}

/// Whether a virtual identity may do so as far as the mount keeps that: by its real ids, and what they could do, if not asked otherwise
/// (`access_override_creds`, `fs/open.c`). Whether it can, is asked of the host after that.
fn judge_access(
    call: &Call<'_>,
    dirfd: i32,
    path_index: usize,
    follow: Follow,
    mode: i32,
    flags: i32,
) -> Result<(), Errno> {
    const NO_SETUID_FIXUP: u32 = 1 << 2;
    let (Some(who), Some(mut asks)) = (call.task.other_identity(), call.task.judged()) else { return Ok(()) };
    if flags & libc::AT_EACCESS == 0 {
        (asks.uid, asks.gid) = (who.users.real, who.groups.real);
        if who.secure_bits & NO_SETUID_FIXUP == 0 {
            asks.capabilities = if asks.uid == 0 { who.capabilities.permitted } else { 0 };
        }
    }
    let path = call.read_path(path_index)?;
    let Meaning::Place(place) = call.meaning(&PathArg::at(dirfd, path, follow), Need::Name)? else { return Ok(()) };
    if !place.found || place.opaque {
        return Ok(());
    }
    let Some(judge) = call.layer.judge_of(&place.name, asks) else { return Ok(()) };
    judge.may(&place.name, AccessMode::from_bits_retain(mode))?;
    call.let_access(&place, mode)
}

/// Judged before the path is looked at (`do_faccessat`, `fs/open.c`).
fn access_mode(call: &Call<'_>, index: usize) -> Result<i32, Errno> {
    let mode = call.int(index);
    if mode & !(libc::R_OK | libc::W_OK | libc::X_OK) == 0 { Ok(mode) } else { Err(Errno::EINVAL) }
}

fn accessible(call: &mut Call<'_>, place: &Place, mode: i32, flags: i32) -> Result<Outcome, Errno> {
    // It is the real user that access(2) asks for; the hypervisor's own is not always the same.
    if place.host().is_some() && flags & libc::AT_EACCESS == 0 && !call.task.is_really_same_user() {
        return rewrite::paths(call);
    }
    if mode & libc::W_OK != 0 {
        call.may_write(place)?;
    }
    if mode & libc::X_OK != 0 {
        call.layer.locate(&place.name, Purpose::Execute)?;
    }
    match place.reach() {
        Some(object) => {
            // What the mount keeps of a device has been looked at, and that of the host is another one.
            let device = call.task.is_virtual()
                && matches!(place.file_type(call)?, FileType::CharDevice | FileType::BlockDevice);
            sys::access(object, if device { mode & !libc::X_OK } else { mode }, flags)?;
        }
        None => call.layer.access(&place.name, AccessMode::from_bits_retain(mode), &*call.task)?,
    }
    Ok(Outcome::Done(0))
}

/// readlink(2).
pub fn readlink(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    read_link_at(call, libc::AT_FDCWD, 0)
}

/// readlinkat(2).
pub fn readlinkat(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    read_link_at(call, call.int(0), 1)
}

fn read_link_at(call: &Call<'_>, dirfd: i32, path_index: usize) -> Result<Outcome, Errno> {
    // Judged before the path is looked at (`do_readlinkat`, `fs/stat.c`).
    let size = call.int(path_index + 2);
    let Ok(size) = usize::try_from(size) else { return Err(Errno::EINVAL) };
    if size == 0 {
        return Err(Errno::EINVAL);
    }
    let path = call.read_path(path_index)?;
    let arg = PathArg::at(dirfd, path, Follow::Never);
    let need = if call.may_be_magic(&arg) { Need::Name } else { Need::Object };
    let meaning = call.meaning(&arg, need)?;
    call.prove(&arg, &meaning);
    let place = match meaning {
        Meaning::Kernel => return Ok(Outcome::Host),
        Meaning::Place(place) => place,
    };
    let target = match place.host().map(|host| told_name(call, host).or_else(|| magic_text(call, host))) {
        Some(Some(name)) => {
            // As seen from the reader's root (`d_path`, `fs/d_path.c`).
            let root = call.task.fs().root.read().clone();
            name.rebase(&root, &AbsPath::root()).unwrap_or(name).as_bytes().to_vec()
        }
        _ if place.native => return Ok(Outcome::Host),
        Some(None) => match place.host().and_then(|host| of_another_proc(&call.task, host)) {
            Some(target) => target,
            None => {
                let place = place.existing(call)?;
                place.must_suit_slash(call)?;
                let handle = place.handle.as_ref().ok_or(Errno::EINVAL)?;
                // Of what is no link, an O_PATH descriptor says ENOENT.
                sys::read_link(handle.as_fd(), "").map_err(|e| if e == Errno::ENOENT { Errno::EINVAL } else { e })?
            }
        },
        None => {
            let place = place.existing(call)?;
            place.must_suit_slash(call)?;
            call.layer.read_link(&place.name)?
        }
    };
    let length = target.len().min(size);
    call.write(call.arg(path_index + 1), &target[..length])?;
    Ok(Outcome::Done(i64::try_from(length).unwrap_or(i64::MAX)))
}

/// The task of a magic link of `/proc`, and the names that follow it.
fn task_and_link<'a>(call: &Call<'_>, link: &'a AbsPath) -> Option<(Arc<Task>, Vec<&'a [u8]>)> {
    let mut names: Vec<&[u8]> = link.components().collect();
    if names.first() != Some(&&b"proc"[..]) {
        return None;
    }
    let mut tid = number(names.get(1)?)?;
    if names.get(2) == Some(&&b"task"[..]) {
        tid = number(names.get(3)?)?;
        names.drain(1..3);
    }
    names.drain(..2);
    Some((call.core.tasks.get(Tid(tid))?, names))
}

/// The task and the descriptor of it that a magic link leads to.
pub(super) fn magic_descriptor(call: &Call<'_>, link: &AbsPath) -> Option<(Arc<Task>, i32)> {
    let (task, names) = task_and_link(call, link)?;
    match &names[..] {
        [b"fd", fd] => Some((task, number(fd)?)),
        _ => None,
    }
}

fn number(text: &[u8]) -> Option<i32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// What the magic link of a file reads as in the view, if not as on the host; that of one which was removed says so.
pub(super) fn magic_text(call: &Call<'_>, link: &AbsPath) -> Option<AbsPath> {
    removed_name(call, link).or_else(|| magic_name(call, link))
}

/// What the magic link of a file reads as that umvu tells in the place of one of `/proc`.
fn told_name(call: &Call<'_>, link: &AbsPath) -> Option<AbsPath> {
    let (task, number) = magic_descriptor(call, link)?;
    proc_files::told_name(&task, number)
}

/// What the magic link of a file that was removed reads as in the view. It is no name of anything.
fn removed_name(call: &Call<'_>, link: &AbsPath) -> Option<AbsPath> {
    let (task, number) = magic_descriptor(call, link)?;
    call.removed_name(&task, number)
}

/// What a magic link of `/proc` reads as in the view, if not as on the host.
pub(crate) fn magic_name(call: &Call<'_>, link: &AbsPath) -> Option<AbsPath> {
    let (task, names) = task_and_link(call, link)?;
    match &names[..] {
        [b"cwd"] => {
            let host = host_name(sys::read_link(task.proc().ok()?, "cwd").ok()?);
            match host {
                Ok(host) => call.name_by(&task.fs().cwd_route.read(), &host),
                Err(_) => {
                    let fd = sys::open_link(task.proc().ok()?, "cwd").ok()?;
                    let stat = sys::fstat(fd.as_fd()).ok()?;
                    let name = call.core.nodes.find(stat.st_dev, stat.st_ino)?.name();
                    let deleted: &[u8] = if name.removed { b" (deleted)" } else { b"" };
                    AbsPath::new([name.path.as_bytes(), deleted].concat()).ok()
                }
            }
        }
        [b"root"] => {
            let root = task.fs().root.read().clone();
            if root.is_root() { None } else { Some(root) }
        }
        [b"exe"] => task.process.executable(),
        [b"fd", fd] => call.descriptor_name(&task, number(fd)?),
        [b"map_files", range] => mapped::link(call, &task, range),
        _ => None,
    }
}

/// `f_flags` of a file system that is mounted read-only (statfs(2)).
const ST_RDONLY: i64 = 1;

/// statfs(2).
pub fn statfs(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    look(call, libc::AT_FDCWD, 0, Follow::Last, |call, place| {
        let stat = match place.host() {
            Some(host) => {
                let mut stat = match &place.handle {
                    Some(handle) => sys::fstatfs(handle.as_fd())?,
                    None => sys::fstatfs(sys::look_at(sys::At::Root, host.as_bytes(), sys::Final::Itself)?.as_fd())?,
                };
                let read_only = |(mount, _): (Arc<Mount>, _)| mount.flags.contains(MountFlags::RDONLY);
                if call.layer.mount_for(&place.name).is_some_and(read_only) {
                    stat.f_flags |= ST_RDONLY;
                }
                stat
            }
            None => encode_statfs(&call.layer.statfs(&place.name)?),
        };
        call.write(call.arg(1), sys::bytes(&stat))?;
        Ok(Outcome::Done(0))
    })
}

/// getxattr(2).
pub fn getxattr(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    look_for_attribute(call, Follow::Last)
}

/// lgetxattr(2).
pub fn lgetxattr(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    look_for_attribute(call, Follow::Never)
}

fn look_for_attribute(call: &mut Call<'_>, follow: Follow) -> Result<Outcome, Errno> {
    let looked = look_at_xattrs(call, follow, |call, place| attribute(call, place, 1, &xattrs::name(call, 1)?));
    if looked.is_err() {
        // Judged before the path is looked at.
        xattrs::name(call, 1)?;
    }
    looked
}

/// listxattr(2).
pub fn listxattr(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    look_at_xattrs(call, Follow::Last, |call, place| attribute(call, place, 0, b""))
}

/// llistxattr(2).
pub fn llistxattr(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    look_at_xattrs(call, Follow::Never, |call, place| attribute(call, place, 0, b""))
}

fn look_at_xattrs(
    call: &mut Call<'_>,
    follow: Follow,
    answer: impl FnOnce(&mut Call<'_>, &Place) -> Result<Outcome, Errno>,
) -> Result<Outcome, Errno> {
    look_for(call, (libc::AT_FDCWD, 0, follow), Purpose::ExtendedAttributes, answer)
}

/// The attribute whose name is argument `name`, or the list of all for 0; buffer and size follow.
fn attribute(call: &Call<'_>, place: &Place, name: usize, wanted: &[u8]) -> Result<Outcome, Errno> {
    let (buffer, size) = (call.arg(name + 1), call.size(name + 2));
    let Some(host) = place.host() else {
        let value = match name {
            0 => list_xattr(call, &place.name)?,
            _ => get_xattr(call, &place.name, wanted)?,
        };
        return xattrs::give(call, &value, buffer, size);
    };
    place.must_suit_slash(call)?;
    let (length, value) = sys::xattr(host.as_bytes(), wanted, size.min(xattrs::SIZE_MAX))?;
    call.write(buffer, &value)?;
    Ok(Outcome::Done(i64::try_from(length).unwrap_or(i64::MAX)))
}

/// An extended attribute of a virtual object, as the caller sees it.
pub(super) fn get_xattr(call: &Call<'_>, path: &AbsPath, name: &[u8]) -> Result<Vec<u8>, Errno> {
    may_read_xattr(call, path, name)?;
    let value = call.layer.get_xattr(path, name)?;
    if is_shown(call, name) { Ok(value) } else { Err(Errno::ENODATA) }
}

/// Who may not read an object is not told its user's attributes, though the hypervisor may (`xattr_permission`, `fs/xattr.c`).
fn may_read_xattr(call: &Call<'_>, path: &AbsPath, name: &[u8]) -> Result<(), Errno> {
    if !name.starts_with(b"user.") || call.task.same_credentials() && !call.task.is_virtual() {
        return Ok(());
    }
    if !matches!(call.layer.stat(path)?.file_type(), FileType::Regular | FileType::Directory) {
        return Err(Errno::ENODATA);
    }
    match call.layer.judge(path, &*call.task) {
        Some(judge) => judge.may(path, AccessMode::READ),
        None => call.layer.access(path, AccessMode::READ, &*call.task),
    }
}

/// The names of those that the caller sees, each with a NUL behind it.
pub(super) fn list_xattr(call: &Call<'_>, path: &AbsPath) -> Result<Vec<u8>, Errno> {
    Ok(shown_list(call, call.layer.list_xattr(path)?))
}

/// The same of an object that was removed.
pub(super) fn get_xattr_of(call: &Call<'_>, removed: &Removed, name: &[u8]) -> Result<Vec<u8>, Errno> {
    removed.xattrs.get(name).filter(|_| is_shown(call, name)).cloned().ok_or(Errno::ENODATA)
}

/// The same.
pub(super) fn list_xattr_of(call: &Call<'_>, removed: Removed) -> Vec<u8> {
    shown_list(call, removed.xattrs.into_keys())
}

fn shown_list(call: &Call<'_>, names: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let shown = names.into_iter().filter(|name| is_shown(call, name));
    shown.flat_map(|name| name.into_iter().chain([0])).collect()
}

/// Trusted attributes are there for the capable only (`xattr_permission`, `simple_xattr_list`, `fs/xattr.c`).
fn is_shown(call: &Call<'_>, name: &[u8]) -> bool {
    !name.starts_with(b"trusted.") || call.task.credentials().is_ok_and(|who| who.has(capability::SYS_ADMIN))
}

/// The kernel's form of the attributes of a virtual object.
#[must_use]
pub fn encode_stat(from: &Stat) -> libc::stat {
    let mut to: libc::stat = sys::zeroed();
    to.st_dev = from.dev;
    to.st_ino = from.ino;
    to.st_mode = from.mode;
    to.st_nlink = from.nlink;
    to.st_uid = from.uid;
    to.st_gid = from.gid;
    to.st_rdev = from.rdev;
    to.st_size = i64::try_from(from.size).unwrap_or(i64::MAX);
    to.st_blksize = from.blksize.into();
    to.st_blocks = i64::try_from(from.blocks).unwrap_or(i64::MAX);
    (to.st_atime, to.st_atime_nsec) = (from.atime.secs, from.atime.nanos.into());
    (to.st_mtime, to.st_mtime_nsec) = (from.mtime.secs, from.mtime.nanos.into());
    (to.st_ctime, to.st_ctime_nsec) = (from.ctime.secs, from.ctime.nanos.into());
    to
}

/// The kernel's form of the extended attributes of a virtual object, for who asks for these. When it was made is told to who asks, as by most file systems.
#[must_use]
pub fn encode_statx(from: &Stat, mask: u32) -> libc::statx {
    let mut to: libc::statx = sys::zeroed();
    let time = |time: vu_api::Time| {
        let mut t = to_time();
        t.tv_sec = time.secs;
        t.tv_nsec = time.nanos;
        t
    };
    to.stx_mask = libc::STATX_BASIC_STATS;
    to.stx_blksize = from.blksize;
    to.stx_nlink = u32::try_from(from.nlink).unwrap_or(u32::MAX);
    to.stx_uid = from.uid;
    to.stx_gid = from.gid;
    to.stx_mode = u16::try_from(from.mode & 0xffff).unwrap_or(0);
    to.stx_ino = from.ino;
    to.stx_size = from.size;
    to.stx_blocks = from.blocks;
    to.stx_atime = time(from.atime);
    to.stx_mtime = time(from.mtime);
    to.stx_ctime = time(from.ctime);
    if let Some(btime) = from.btime.filter(|_| mask & libc::STATX_BTIME != 0) {
        to.stx_btime = time(btime);
        to.stx_mask |= libc::STATX_BTIME;
    }
    if let Some(id) = from.mnt_id {
        to.stx_mnt_id = id;
        to.stx_mask |= libc::STATX_MNT_ID;
    }
    to.stx_rdev_major = libc::major(from.rdev);
    to.stx_rdev_minor = libc::minor(from.rdev);
    to.stx_dev_major = libc::major(from.dev);
    to.stx_dev_minor = libc::minor(from.dev);
    to
}

fn to_time() -> libc::statx_timestamp {
    sys::zeroed::<libc::statx>().stx_atime
}

/// The kernel's form of what is told about a virtual file system.
#[must_use]
pub fn encode_statfs(from: &StatFs) -> libc::statfs64 {
    let mut to: libc::statfs64 = sys::zeroed();
    to.f_type = from.fs_type;
    to.f_bsize = from.bsize;
    to.f_blocks = from.blocks;
    to.f_bfree = from.bfree;
    to.f_bavail = from.bavail;
    to.f_files = from.files;
    to.f_ffree = from.ffree;
    to.f_fsid = sys::fsid(from.fsid);
    to.f_namelen = from.namelen;
    to.f_frsize = from.frsize;
    to.f_flags = from.flags;
    to
}
