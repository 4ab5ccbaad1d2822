//! open(2), openat(2), openat2(2), creat(2).

use crate::{
    call::{Call, Outcome, own_descriptor},
    debug::Tag,
    handlers::{
        ownership::{adopt, made_with},
        rewrite::last_component,
        stat::{magic_name, magic_text},
    },
    layer::Layer,
    listed::{Listed, Under, further_entries},
    proc_files,
    resolve::{Meaning, Need, PathArg, Place},
    sys, table,
    task::host_name,
    umask::Worn,
};
use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};
use vu_api::{AbsPath, Errno, FileType, Filesystem, Location, OpenFlags, OpenHow, Opened, Purpose};
use vu_fd::HeldAs;
use vu_path::{Follow, ResolveFlags};
use vu_trace::{Argument, Finish, Memory, NewDescriptor};

/// Where the arguments of an open stand, and what they are.
struct Request {
    dirfd: i32,
    path: Vec<u8>,
    how: OpenHow,
    resolve: ResolveFlags,
    /// The index of the path argument; a directory descriptor stands before it if it is not 0.
    path_index: usize,
}

/// open(2).
pub fn open(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let how = OpenHow { flags: call.open_flags(1), mode: call.uint(2) };
    open_at(call, &simple(call, libc::AT_FDCWD, 0, how)?)
}

/// creat(2).
pub fn creat(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let flags = OpenFlags::CREAT | OpenFlags::WRONLY | OpenFlags::TRUNC;
    open_at(call, &simple(call, libc::AT_FDCWD, 0, OpenHow { flags, mode: call.uint(1) })?)
}

/// openat(2).
pub fn openat(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let how = OpenHow { flags: call.open_flags(2), mode: call.uint(3) };
    open_at(call, &simple(call, call.int(0), 1, how)?)
}

/// openat2(2).
pub fn openat2(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    // struct open_how: flags, mode, resolve, 8 bytes each. Shorter ones, longer ones with something in them, and bad flags are the kernel's to refuse.
    const SIZE: usize = 24;
    const LONGEST: usize = 4096;
    if !(SIZE..=LONGEST).contains(&call.size(3)) {
        return Ok(Outcome::Host);
    }
    let mut how = vec![0; call.size(3)];
    if call.memory().read(call.arg(2), &mut how).is_err() || how[SIZE..].iter().any(|&byte| byte != 0) {
        return Ok(Outcome::Host);
    }
    let word = |index: usize| how[8 * index..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let (flags, mode, resolve) = (word(0), word(1), word(2));
    let Ok(flags) = i32::try_from(flags) else { return Ok(Outcome::Host) };
    let how = OpenHow { flags: OpenFlags::from_bits_retain(flags), mode: crate::call::low(mode) };
    // Stricter than open (`build_open_flags`, `fs/open.c`), and judged before the path is looked at.
    let path_flags = OpenFlags::PATH | OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW | OpenFlags::CLOEXEC;
    let known = flags & !sys::VALID_OPEN_FLAGS == 0 && resolve & !0x3f == 0 && mode & !0o7777 == 0;
    let makes = how.flags.intersects(OpenFlags::CREAT) || how.flags.contains(OpenFlags::TMPFILE);
    let scopes = libc::RESOLVE_BENEATH | libc::RESOLVE_IN_ROOT;
    if !known
        || mode != 0 && !makes
        || how.flags.contains(OpenFlags::PATH) && !path_flags.contains(how.flags)
        || resolve & scopes == scopes
    {
        return Ok(Outcome::Host);
    }
    let resolve = ResolveFlags::from_bits_retain(resolve);
    if (resolve & ResolveFlags::CACHED) == ResolveFlags::CACHED {
        // "Only if it needs no waiting": callers try again without.
        let arg = PathArg::at(call.int(0), call.read_path(1)?, Follow::Last);
        return Err(call.wrong_with_start(&arg).unwrap_or(Errno::EAGAIN));
    }
    let request = Request { resolve, ..simple(call, call.int(0), 1, how)? };
    open_at(call, &request)
}

fn simple(call: &Call<'_>, dirfd: i32, path_index: usize, how: OpenHow) -> Result<Request, Errno> {
    let path = call.read_path(path_index)?;
    Ok(Request { dirfd, path, how, resolve: ResolveFlags::empty(), path_index })
}

/// The operation.
fn open_at(call: &Call<'_>, request: &Request) -> Result<Outcome, Errno> {
    let flags = effective(request.how.flags);
    let request = &Request { how: OpenHow { flags, ..request.how }, path: request.path.clone(), ..*request };
    // Judged before the path is looked at (`build_open_flags`, `fs/open.c`).
    let temporary = flags.contains(OpenFlags::TMPFILE);
    let makes_directory = flags.contains(OpenFlags::CREAT | OpenFlags::DIRECTORY);
    if !flags.contains(OpenFlags::PATH)
        && (makes_directory || temporary && !flags.intersects(OpenFlags::WRONLY | OpenFlags::RDWR))
    {
        return Ok(Outcome::Host);
    }
    let creates = flags.contains(OpenFlags::CREAT) && !flags.contains(OpenFlags::PATH);
    let slash = names_a_directory(&request.path);
    let follow = match () {
        // Never a directory, whatever is there; only the way to it is looked at first (`open_last_lookups`, `fs/namei.c`).
        () if creates && slash => Follow::Entry,
        () if flags.nofollow() => Follow::Never,
        () => Follow::Last,
    };
    let arg = PathArg { dirfd: request.dirfd, path: request.path.clone(), follow, resolve: request.resolve };
    let need = if creates_or_writes(flags) || flags.contains(OpenFlags::CREAT) {
        Need::OpenToWrite
    } else if proc_files::may_be(call, &request.path) && call.may_be_magic(&arg) {
        // Below a directory of `/proc`, the kernel finds every file; this one is another in the view.
        Need::Name
    } else {
        Need::Open
    };
    let meaning = call.meaning(&arg, need)?;
    if need == Need::Open {
        call.prove(&arg, &meaning);
    }
    if creates_or_writes(flags) && !flags.contains(OpenFlags::CREAT | OpenFlags::EXCL) {
        call.program_changes(&arg, &meaning);
    }
    let place = match meaning {
        Meaning::Kernel => {
            call.note_opened_from_cwd(&arg);
            return Ok(by_the_kernel(call, None, flags));
        }
        Meaning::Place(place) => place,
    };
    if creates && slash {
        // Nothing may be prepared for it, least of all be emptied; and what is wrong with the way is said first.
        if place.native {
            return Ok(Outcome::Host);
        }
        call.layer.check_parent(&place.name)?;
        return Err(Errno::EISDIR);
    }
    if place.opaque
        && creates_or_writes(flags)
        && call.core.has_virtual_files()
        && let Some(path) = reopened_elsewhere(call, &place)?
    {
        return by_name(call, request, &place, &path);
    }
    if creates_or_writes(flags) {
        call.may_write(&place)?;
        if place.opaque
            && call.core.has_read_only_mounts()
            && let Some(name) = place.host().and_then(|link| magic_name(call, link))
        {
            call.layer.locate(&name, Purpose::Change)?;
        }
    }
    call.may_open(&place, flags)?;
    if flags.intersects(OpenFlags::CREAT | OpenFlags::TRUNC)
        && (call.core.has_virtual_files() || !place.native)
        && !call.task.has_room_for_descriptor()
    {
        // The kernel looks for a number first (`do_sys_openat2`, `fs/open.c`), so nothing is made or emptied.
        return Err(Errno::EMFILE);
    }
    let place = call.for_opening(place, flags)?;
    call.let_open(&place, flags)?;
    if let Some(path) = place.host()
        && !flags.writes()
        && !flags.contains(OpenFlags::PATH)
        && call.can_install()
        && let Some(fd) = proc_files::open(call, path)?
    {
        if place.must_be_dir || flags.contains(OpenFlags::DIRECTORY) {
            return Err(Errno::ENOTDIR);
        }
        sys::set_status_flags(fd.as_fd(), flags.bits())?;
        return Ok(install(fd, flags));
    }
    if call.core.has_listed_mounts()
        && let Some(listed) = open_listed(call, request, &place)?
    {
        return Ok(listed);
    }
    if let Some(host) = place.host().filter(|_| place.found && !place.opaque && flags == LOADED && call.can_install())
        && let Some(fd) = call.library(host)
    {
        return Ok(install(fd, flags));
    }
    match place.location.clone() {
        Location::Host(host) => open_host(call, request, &place, &host),
        Location::Own => open_own(call, request, &place),
    }
}

/// How a dynamic linker opens libraries.
const LOADED: OpenFlags = OpenFlags::CLOEXEC;

/// Where an open file is to be written to that is opened once more by its magic link, if that is another object than the one which is open.
fn reopened_elsewhere(call: &Call<'_>, place: &Place) -> Result<Option<AbsPath>, Errno> {
    let Some(link) = place.host() else { return Ok(None) };
    let Ok(open) = sys::open(link.as_bytes(), libc::O_PATH) else { return Ok(None) };
    if sys::file_type(open.as_fd())? != FileType::Regular {
        return Ok(None);
    }
    let Ok(target) = host_name(sys::read_link_at(link.as_bytes())?) else { return Ok(None) };
    let name = magic_name(call, link).unwrap_or_else(|| target.clone());
    match call.layer.locate(&name, Purpose::Read)? {
        Location::Host(host) if host == target => match call.layer.locate(&name, Purpose::Write)? {
            Location::Host(host) if host != target => Ok(Some(host)),
            _ => Ok(None),
        },
        _ => Ok(None),
    }
}

/// The tracee opens this path of the host in place of a magic link.
fn by_name(call: &Call<'_>, request: &Request, link: &Place, host: &AbsPath) -> Result<Outcome, Errno> {
    let mut args: [Argument; 6] = Default::default();
    args[request.path_index] = call.path_argument(host.as_bytes())?;
    let named = named(call, link).map(|(_, name)| (host.clone(), name));
    Ok(call.rewrite_with(call.syscall.nr, args, named.map(|named| tells(call, named, false))))
}

/// What the object of a place is called on the host and in the view. That of a magic link may have been removed, and then both say so.
fn named(call: &Call<'_>, place: &Place) -> Option<(AbsPath, AbsPath)> {
    let host = place.host()?;
    if !place.opaque {
        return Some((host.clone(), place.name.clone()));
    }
    let target = AbsPath::new(sys::read_link_at(host.as_bytes()).ok()?).ok()?;
    let name = magic_text(call, host).unwrap_or_else(|| target.clone());
    Some((target, name))
}

/// What is named by the route by which it was opened: what lies there. A symbolic link can be open, too (`O_PATH`).
const TOLD: [FileType; 3] = [FileType::Regular, FileType::Directory, FileType::Symlink];

/// When the tracee has opened an object that is called so on the host and in the view, its description is told by which route. If its mount `keeps` attributes, also that of a
/// device node, which may be one of the mount's own.
fn tells(call: &Call<'_>, (host, name): (AbsPath, AbsPath), keeps: bool) -> Finish {
    let (task, routes, route) = (call.task.clone(), call.core.routes.clone(), call.route(&name, &host));
    Box::new(move |result| {
        if let Ok(number) = i32::try_from(result)
            && number >= 0
            && let Ok(fd) = task.descriptor(number)
            && sys::file_type(fd.as_fd()).is_ok_and(|t| keeps || TOLD.contains(&t))
            && let Some((tag, route)) = routes.tagged(&route)
        {
            match (sys::set_tag(fd.as_fd(), tag), sys::fstat(fd.as_fd())) {
                (Err(_), Ok(stat)) => task.process.path_routes.note((stat.st_dev, stat.st_ino), route),
                _ => task.process.note_opened(&host, route),
            }
        }
        result
    })
}

/// Whether a slash follows the last component, which is a name, not `.` or `..`.
fn names_a_directory(path: &[u8]) -> bool {
    path.ends_with(b"/") && !matches!(last_component(path), b"" | b"." | b"..")
}

/// With `O_PATH`, most flags mean nothing (`build_open_flags`, `fs/open.c`).
fn effective(flags: OpenFlags) -> OpenFlags {
    if flags.contains(OpenFlags::PATH) {
        flags & (OpenFlags::PATH | OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW | OpenFlags::CLOEXEC)
    } else {
        flags
    }
}

fn creates_or_writes(flags: OpenFlags) -> bool {
    // O_TMPFILE contains O_DIRECTORY and always writes.
    !flags.contains(OpenFlags::PATH) && flags.writes()
}

/// The tracee opens it as it asked to. Files and directories are opened without a sleep that a signal could interrupt; of what is not known, one may wait for somebody (a FIFO, a terminal).
fn by_the_kernel(call: &Call<'_>, place: Option<&Place>, flags: OpenFlags) -> Outcome {
    let held = || place.and_then(|place| place.handle.as_ref()).and_then(|handle| sys::file_type(handle.as_fd()).ok());
    let file_type = call.seen.get().or_else(|| place.and_then(|place| place.file_type)).or_else(held);
    match file_type {
        _ if flags.contains(OpenFlags::PATH) => Outcome::Host,
        Some(FileType::Regular | FileType::Directory) => Outcome::Host,
        _ => Outcome::HostMaySleep,
    }
}

fn open_host(call: &Call<'_>, request: &Request, place: &Place, host: &AbsPath) -> Result<Outcome, Errno> {
    let flags = request.how.flags;
    let elsewhere = *host != place.name;
    let keeps_its_name = !place.opaque || named(call, place).is_none_or(|(host, name)| host == name);
    if place.native && keeps_its_name && (place.opaque || !elsewhere) {
        return Ok(by_the_kernel(call, Some(place), flags));
    }
    if place.opaque {
        return rewritten(call, request, place, host);
    }
    if !place.found {
        return if place.native {
            Ok(by_the_kernel(call, None, flags))
        } else if flags.contains(OpenFlags::CREAT) {
            made(call, request, place, host)
        } else {
            Err(Errno::ENOENT)
        };
    }
    let file_type = place.file_type(call)?;
    let is_directory = file_type == FileType::Directory;
    // Only a directory's descriptor must be told by which name it was opened.
    if place.native && !is_directory {
        if let Some((_, route)) = call.core.routes.tagged(&call.route(&place.name, host)) {
            call.task.process.note_opened(host, route);
        }
        return Ok(by_the_kernel(call, Some(place), flags));
    }
    // What the kernel checks before it opens (`do_open`, `fs/namei.c`).
    if flags.contains(OpenFlags::CREAT) {
        if names_a_directory(&request.path) {
            return Err(Errno::EISDIR);
        }
        if flags.contains(OpenFlags::EXCL) {
            return Err(Errno::EEXIST);
        }
        if is_directory || place.must_be_dir {
            return Err(Errno::EISDIR);
        }
    }
    if !is_directory
        && (place.must_be_dir || flags.contains(OpenFlags::DIRECTORY) && !flags.contains(OpenFlags::TMPFILE))
    {
        return Err(Errno::ENOTDIR);
    }
    let readable_here = matches!(file_type, FileType::Regular | FileType::Directory);
    // An O_PATH descriptor cannot be installed (`fget`, `fs/file.c`).
    if !readable_here
        || flags.intersects(OpenFlags::PATH)
        || flags.contains(OpenFlags::TMPFILE)
        || !call.can_install()
        || !call.task.same_credentials()
    {
        // What may block, or depends on who opens it: by the tracee itself.
        return rewritten(call, request, place, host);
    }
    // Whether an open may create decides about some objects of others, too (`may_create_in_sticky`, `fs/namei.c`).
    let umask = match flags.contains(OpenFlags::CREAT) {
        true => Some(Worn::new(call.task.umask()?)),
        false => None,
    };
    if matches!(umask, Some(None)) {
        return rewritten(call, request, place, host);
    }
    let fd = match sys::open_at_once(host.as_bytes(), flags.bits(), request.how.mode) {
        // Its opener has to wait, or it has just become something else.
        Err(Errno::EAGAIN | Errno::ELOOP | Errno::ENXIO) => return rewritten(call, request, place, host),
        opened => opened?,
    };
    tag(call, &fd, place);
    Ok(install(fd, flags))
}

/// A file that does not exist yet is made with the tracee's umask, and given to it.
fn made(call: &Call<'_>, request: &Request, place: &Place, host: &AbsPath) -> Result<Outcome, Errno> {
    let flags = request.how.flags;
    let simple = !flags.intersects(OpenFlags::PATH | OpenFlags::DIRECTORY) && !place.must_be_dir;
    let umask = match simple && call.can_install() && call.task.same_credentials() {
        true => Worn::new(call.task.umask()?),
        false => None,
    };
    if umask.is_none() {
        return rewritten(call, request, place, host);
    }
    let asked = request.how.mode;
    let mode = match call.task.identity() {
        Some(_) => made_with(&call.task, &call.layer, &place.name, asked, FileType::Regular),
        None => asked,
    };
    call.still_waits()?;
    let fd = match sys::make(host.as_bytes(), flags.bits(), mode) {
        // Something has come there just now.
        Err(Errno::EEXIST | Errno::ELOOP) => return rewritten(call, request, place, host),
        made => made?,
    };
    drop(umask);
    adopt(&call.task, &call.layer, &place.name, Some(asked));
    tag(call, &fd, place);
    let path = host.as_bytes().to_vec();
    let undo: Box<dyn FnOnce() + Send> = Box::new(move || sys::unmake(&path));
    let close_on_exec = flags.contains(OpenFlags::CLOEXEC);
    Ok(Outcome::Install(NewDescriptor { fd, close_on_exec, undo: Some(undo) }))
}

/// A directory in which mount points are to be listed; `None` for all others.
fn open_listed(call: &Call<'_>, request: &Request, place: &Place) -> Result<Option<Outcome>, Errno> {
    let flags = request.how.flags;
    if !place.found || place.opaque || flags.intersects(OpenFlags::PATH | OpenFlags::CREAT) || flags.writes() {
        return Ok(None);
    }
    let further = further_entries(&call.view, &call.layer, &place.name);
    if further.is_empty() || place.file_type(call)? != FileType::Directory {
        return Ok(None);
    }
    let under = match place.host() {
        Some(host) => Under::Host(sys::open(host.as_bytes(), flags.bits())?),
        None => match call.layer.open(&place.name, &request.how, &*call.task)? {
            Opened::Host(fd) => Under::Host(fd),
            Opened::Virtual(file) => Under::Virtual(file),
        },
    };
    let epoch = call.layer.mount_for(&place.name).map_or(0, |(mount, _)| mount.epoch.0);
    let fd = call.core.nodes.open(
        Arc::new(Listed::new(under, further)),
        flags,
        epoch,
        place.name.clone(),
        HeldAs::Descriptor,
    )?;
    Ok(Some(if call.can_install() { install(fd, flags) } else { reopened(call, request, fd)? }))
}

fn install(fd: OwnedFd, flags: OpenFlags) -> Outcome {
    let close_on_exec = flags.contains(OpenFlags::CLOEXEC);
    Outcome::Install(NewDescriptor { fd, close_on_exec, undo: None })
}

/// Notes in the description under which name it was opened.
fn tag(call: &Call<'_>, fd: &OwnedFd, place: &Place) {
    if let Some(host) = place.host()
        && let Some((tag, route)) = call.core.routes.tagged(&call.route(&place.name, host))
    {
        // O_PATH descriptions have no room; their name is found by guessing.
        let _ = sys::set_tag(fd.as_fd(), tag);
        call.task.process.note_opened(host, route);
    }
}

/// `struct open_how` without restrictions.
fn how_argument(flags: OpenFlags, mode: u32) -> Argument {
    let how = [u64::from(flags.bits().cast_unsigned()), u64::from(mode), 0];
    Argument::Bytes(how.iter().flat_map(|word| word.to_le_bytes()).collect())
}

/// The tracee opens the host's object itself.
fn rewritten(call: &Call<'_>, request: &Request, place: &Place, host: &AbsPath) -> Result<Outcome, Errno> {
    let waits = place.found && !matches!(place.file_type(call), Ok(FileType::Regular | FileType::Directory));
    call.waits.set(waits || place.opaque);
    let mut path = host.as_bytes().to_vec();
    if place.must_be_dir {
        path.push(b'/');
    }
    let mut args: [Argument; 6] = Default::default();
    args[request.path_index] = call.path_argument(&path)?;
    if !request.resolve.is_empty() {
        // The restrictions were kept when the path was resolved, and do not hold for the host's name.
        args[0] = Argument::Value(i64::from(libc::AT_FDCWD).cast_unsigned());
        args[2] = how_argument(request.how.flags, request.how.mode);
        args[3] = Argument::Value(24);
    }
    let task = call.task.clone();
    let tells = named(call, place).map(|named| tells(call, named, call.layer.keeps_owners(&place.name)));
    let made = (!place.found && task.identity().is_some()).then(|| (place.name.clone(), request.how.mode));
    if made.is_some() {
        let mode = made_with(&task, &call.layer, &place.name, request.how.mode, FileType::Regular);
        match table::name(call.abi, call.syscall.nr) {
            _ if mode == request.how.mode => {}
            Some("openat2") => {
                args[2] = how_argument(request.how.flags, mode);
                args[3] = Argument::Value(24);
            }
            Some("creat") => args[1] = Argument::Value(mode.into()),
            _ => args[request.path_index + 2] = Argument::Value(mode.into()),
        }
    }
    let finish: Finish = Box::new(move |result| {
        if result >= 0
            && let Some((name, mode)) = made
        {
            adopt(&task, &Layer::top(task.view()), &name, Some(mode));
        }
        tells.map_or(result, |tells| tells(result))
    });
    Ok(call.rewrite_with(call.syscall.nr, args, Some(finish)))
}

fn open_own(call: &Call<'_>, request: &Request, place: &Place) -> Result<Outcome, Errno> {
    let flags = request.how.flags;
    if !place.found && !flags.contains(OpenFlags::CREAT) {
        return Err(Errno::ENOENT);
    }
    if place.found && flags.contains(OpenFlags::CREAT | OpenFlags::EXCL) {
        return Err(Errno::EEXIST);
    }
    if place.must_be_dir && flags.contains(OpenFlags::CREAT) {
        return Err(Errno::EISDIR);
    }
    if let Some(fd) = call.lend(place, flags) {
        return Ok(install(fd, flags));
    }
    let fd = match call.layer.open(&place.name, &request.how, &*call.task)? {
        Opened::Host(fd) => fd,
        Opened::Virtual(file) => {
            let epoch = call.layer.mount_for(&place.name).map_or(0, |(mount, _)| mount.epoch.0);
            call.debug(Tag::Files, format_args!("{} is open, as a virtual file", place.name));
            call.core.nodes.open(file, flags, epoch, place.name.clone(), HeldAs::Descriptor)?
        }
    };
    if call.can_install() && !flags.contains(OpenFlags::PATH) {
        return Ok(install(fd, flags));
    }
    // Intercepted by a stop, or not to be installed: the tracee reopens what the hypervisor holds.
    reopened(call, request, fd)
}

fn reopened(call: &Call<'_>, request: &Request, fd: OwnedFd) -> Result<Outcome, Errno> {
    let mut args: [Argument; 6] = Default::default();
    let mut link = own_descriptor(&fd);
    // What was to be made has been made.
    let mut flags = request.how.flags - (OpenFlags::CREAT | OpenFlags::EXCL | OpenFlags::TRUNC);
    if flags.contains(OpenFlags::NOFOLLOW) {
        // The magic link is to be followed. A directory can be named so that it is although the flag stays, which is seen.
        if sys::file_type(fd.as_fd()) == Ok(FileType::Directory) {
            link.extend_from_slice(b"/.");
        } else {
            flags -= OpenFlags::NOFOLLOW;
        }
    }
    args[request.path_index] = call.path_argument(&link)?;
    if table::name(call.abi, call.syscall.nr) == Some("openat2") {
        args[2] = how_argument(flags, 0);
    } else if table::name(call.abi, call.syscall.nr) != Some("creat") {
        args[request.path_index + 1] = Argument::Value(u64::from(flags.bits().cast_unsigned()));
    }
    Ok(call.rewrite_with(
        call.syscall.nr,
        args,
        Some(Box::new(move |result| {
            drop(fd);
            result
        })),
    ))
}
