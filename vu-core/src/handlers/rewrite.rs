//! The calls that change what a path names, and all others that carry paths and need no treatment of their own.
//!
//! They are made on the host's object by the tracee itself, so that rights, umask, limits, quotas and restarts are the kernel's; or, where it comes to the
//! same, by the hypervisor (`direct.rs`).

use crate::{
    call::{Call, Outcome},
    handlers::{direct, link, own, ownership::adopt, refused, stat::magic_name},
    layer::Layer,
    resolve::{Meaning, Need, PathArg, Place},
    sys, table,
};
use std::os::fd::AsFd;
use vu_api::{AbsPath, AccessMode, Caller, Errno, FileType, Filesystem, Location, NAME_MAX, Purpose};
use vu_path::{EmptyPath, Follow};
use vu_trace::{Abi, Argument, Finish};

/// A path argument of a call: where it stands, and what it means.
pub(super) struct Meant {
    pub index: usize,
    pub dirfd: Option<usize>,
    pub entry: bool,
    pub text: Vec<u8>,
    pub meaning: Meaning,
}

/// Every call whose row says so: resolves each path argument of it, and exchanges those that the kernel would not understand.
pub fn paths(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let Some(row) = table::lookup(call.abi, call.syscall.nr) else { return Ok(Outcome::Host) };
    if refused::for_its_numbers(call, row.name) {
        return Ok(Outcome::Host);
    }
    let outcome = exchange(call, row);
    match outcome {
        // Memory that cannot be read tells nothing (`EFAULT`; `EPERM` where the hypervisor alone may not, `PR_SET_DUMPABLE`).
        Err(Errno::EFAULT | Errno::EPERM) => outcome,
        // Looked at only where a path is wrong, too: else the kernel says the same in either case.
        Err(_) if refused::for_what_it_gives(call, row.name) => Ok(Outcome::Host),
        _ => outcome,
    }
}

fn exchange(call: &mut Call<'_>, row: &table::Row) -> Result<Outcome, Errno> {
    let name = row.name;
    let makes = makes_a_name(name);
    if name.starts_with("symlink") {
        call.core.names_change();
        // A symbolic link's text is copied in before any path is looked at (`do_symlinkat`, `fs/namei.c`).
        call.read_path(0)?;
    }
    let kernel_finds = |m: &Meant| match &m.meaning {
        Meaning::Kernel => true,
        Meaning::Place(place) => place.native,
    };
    let mut meant = Vec::new();
    for argument in row.paths(&call.syscall.args) {
        // A path that is NULL means no path, where that is allowed; elsewhere the kernel says EFAULT.
        if call.arg(argument.index) == 0 && !is_link_or_rename(name) {
            if let Some(dirfd) = argument.dirfd
                && means_descriptor(call, name)
                // The kernel takes no O_PATH there (`do_utimes_fd`, `fs/utimes.c`).
                && call.task.descriptor(call.int(dirfd)).is_ok_and(|fd| !sys::is_path_only(fd.as_fd()))
            {
                if argument.purpose == Purpose::Change {
                    call.may_change_descriptor(call.int(dirfd))?;
                }
                meant.extend(by_descriptor(call, name, argument.purpose, argument.index, dirfd)?);
            }
            continue;
        }
        let text = call.read_path(argument.index).inspect_err(|_| {
            // The kernel would have looked for the first path before it came to the second, and is not to say that it is missing.
            if !meant.iter().all(kernel_finds) {
                call.unreadable.set(false);
            }
        })?;
        if text.is_empty() && argument.empty == EmptyPath::Refuse {
            // ENOENT, as the kernel says (`getname_flags`, `fs/namei.c`).
            return Ok(Outcome::Host);
        }
        let dirfd = argument.dirfd.map_or(libc::AT_FDCWD, |at| call.int(at));
        let changes = argument.purpose == Purpose::Change || is_link_or_rename(name);
        let need = if changes { Need::Change } else { Need::Object };
        let arg = PathArg::at(dirfd, text.clone(), argument.follow);
        let mut meaning = call.meaning(&arg, need).map_err(|errno| said_of_path(call, row, (&text, errno), &meant))?;
        if changes_a_program(name) {
            call.program_changes(&arg, &meaning);
        }
        if text.is_empty() && (argument.purpose == Purpose::Change || needs_open_file(name)) {
            if needs_open_file(name) && call.task.descriptor(dirfd).is_ok_and(|fd| sys::is_path_only(fd.as_fd())) {
                return Err(Errno::EBADF);
            }
            if argument.purpose == Purpose::Change {
                call.may_change_descriptor(dirfd)?;
            }
            if let Some(at) = argument.dirfd
                && let Some(of_mount) = by_descriptor(call, name, argument.purpose, argument.index, at)?
            {
                meant.push(of_mount);
                continue;
            }
        }
        if argument.purpose == Purpose::Change
            && let Meaning::Place(place) = &mut meaning
            && place.opaque
            && let Some(name) = changed_by_link(call, place)?
        {
            *place = of_mount(name);
        }
        if let Meaning::Place(place) = &mut meaning
            && argument.purpose == Purpose::Change
            && permit(call, argument.follow == Follow::Entry && !ends_in_dots(&text), makes, place)? == Location::Own
            && !place.opaque
        {
            // The mount's to do, wherever the object is now.
            place.location = Location::Own;
            place.native = false;
        }
        if let Meaning::Place(place) = meaning {
            meaning = Meaning::Place(placed(call, name, argument.follow, place)?);
        }
        if name.starts_with("link") && meant.is_empty() && is_missing_in_view(&meaning) {
            return Err(Errno::ENOENT);
        }
        meant.push(Meant {
            index: argument.index,
            dirfd: argument.dirfd,
            entry: argument.follow == Follow::Entry,
            text,
            meaning,
        });
    }
    if is_link_or_rename(name) {
        if meant.iter().take(if exchanges(call, name) { 2 } else { 1 }).all(is_file) {
            call.core.files_change_names();
        } else {
            call.core.names_change();
        }
    }
    if name.starts_with("link")
        && link::unnamed(&meant)
        && let Some(from) = meant.first_mut()
    {
        link::by_name(call, from)?;
    }
    if let [from, to] = &meant[..]
        && is_link_or_rename(name)
    {
        // Whether both names are right is said before whether they are of one file system (`do_linkat`, `fs/namei.c`).
        let taken = || name.starts_with("link") && is_taken(call, to);
        let wrong = || wrong_with_ways(call, name, &meant);
        if !one_file_system(call, from, to) {
            return match taken() {
                true if meant.iter().all(kernel_finds) => Ok(Outcome::Host),
                true => Err(wrong().unwrap_or(Errno::EEXIST)),
                // What is no directory is not made by a name with a slash behind it (`filename_create`).
                false if name.starts_with("link") && to.text.ends_with(b"/") => Err(wrong().unwrap_or(Errno::ENOENT)),
                false => Err(wrong().unwrap_or(Errno::EXDEV)),
            };
        }
        if !kernel_finds(to) && taken() {
            return Err(wrong().unwrap_or(Errno::EEXIST));
        }
    }
    if meant.iter().all(kernel_finds) {
        return Ok(Outcome::Host);
    }
    let mut made = None;
    if name.starts_with("link") && link::unnamed(&meant) {
        let [from, to] = &mut meant[..] else { return Ok(Outcome::Host) };
        made = link::into_mount(call, from, to)?;
    }
    if meant.iter().any(|m| matches!(&m.meaning, Meaning::Place(place) if place.location == Location::Own)) {
        return own::operate(call, name, &meant);
    }
    let mut args: [Argument; 6] = Default::default();
    for m in &meant {
        let Meaning::Place(place) = &m.meaning else { continue };
        let Location::Host(host) = &place.location else { continue };
        let mut path = host.as_bytes().to_vec();
        // What the last component was decides about some errors: rmdir("x/.") is EINVAL, rmdir("x/..") ENOTEMPTY.
        let last = last_component(&m.text);
        if m.entry && (last == b"." || last == b".." && name.starts_with("rename")) {
            path.extend_from_slice(b"/.");
        } else if place.must_be_dir && path.len() > 1 {
            path.push(b'/');
        }
        args[m.index] = call.path_argument(&path)?;
        if let Some(dirfd) = m.dirfd {
            args[dirfd] = Argument::Value(i64::from(libc::AT_FDCWD).cast_unsigned());
        }
    }
    // What the kernel is to look up by itself begins where the tracee is, and what lies in `/proc` depends on who looks.
    let anybodys =
        |place: &Place| !place.opaque && place.host().is_some_and(|host| host.components().next() != Some(b"proc"));
    if made.is_none()
        && meant.iter().all(|m| matches!(&m.meaning, Meaning::Place(place) if anybodys(place)))
        && let Some(result) = direct::change(call, name, &args)?
    {
        return Ok(Outcome::Done(result));
    }
    let task = call.task.clone();
    let adopted: Option<Finish> = made.filter(|_| task.is_virtual()).map(|name| -> Finish {
        Box::new(move |result| {
            if result == 0 {
                adopt(&task, &Layer::top(task.view()), &name, None);
            }
            result
        })
    });
    Ok(call.rewrite_with(call.syscall.nr, args, adopted))
}

/// A place that is the view's alone, with nothing in it.
fn is_missing_in_view(meaning: &Meaning) -> bool {
    matches!(meaning, Meaning::Place(place) if !place.found && !place.native)
}

fn is_link_or_rename(name: &str) -> bool {
    name.starts_with("rename") || matches!(name, "link" | "linkat")
}

/// Whether both objects of the call get other names.
fn exchanges(call: &Call<'_>, name: &str) -> bool {
    name == "renameat2" && call.uint(4) & libc::RENAME_EXCHANGE != 0
}

/// Whether it is known, without another look, that the object is a file, which is on the way to nothing.
fn is_file(m: &Meant) -> bool {
    let Meaning::Place(place) = &m.meaning else { return false };
    let held = || place.handle.as_ref().and_then(|handle| sys::file_type(handle.as_fd()).ok());
    !place.opaque && place.file_type.or_else(held) == Some(FileType::Regular)
}

/// Whether another program may be executed by a name, or none, when the call has been made.
fn changes_a_program(name: &str) -> bool {
    matches!(name, "unlink" | "unlinkat" | "chmod" | "fchmodat" | "fchmodat2") || name.starts_with("truncate")
}

/// Whether the entry is made, not taken away; of a rename both.
fn makes_a_name(name: &str) -> bool {
    matches!(name, "mkdir" | "mkdirat" | "mknod" | "mknodat" | "symlink" | "symlinkat" | "link" | "linkat")
}

/// What is wrong with the ways to the names of a call: that is said of all of them before anything about what they lead to, but what a link is made to
/// must be there before the other name is looked at (`do_linkat`, `do_renameat2`, `fs/namei.c`).
pub(super) fn wrong_with_ways(call: &Call<'_>, name: &str, meant: &[Meant]) -> Option<Errno> {
    let (first, others) = meant.split_first()?;
    let wrong = match name.starts_with("link") && !link::is_unnamed(first) {
        true => wrong_with_object(call, first),
        false => wrong_with_way(call, first),
    };
    wrong.or_else(|| others.iter().find_map(|m| wrong_with_way(call, m)))
}

/// What is said where a path means nothing, for this reason: first what is wrong with those before it.
fn said_of_path(call: &Call<'_>, row: &table::Row, (text, errno): (&[u8], Errno), before: &[Meant]) -> Errno {
    if let Some(wrong) = wrong_with_ways(call, row.name, before) {
        return wrong;
    }
    let is_long = errno == Errno::ENAMETOOLONG && last_component(text).len() > NAME_MAX;
    if !is_long || !row.name.starts_with("rename") {
        return errno;
    }
    // A file system is asked for entries after both ways are gone, and only if neither is `.` or `..` (`do_renameat2`, `fs/namei.c`).
    match before.first() {
        None => wrong_with_second(call, row).unwrap_or(errno),
        Some(from) if ends_in_dots(&from.text) => Errno::EBUSY,
        Some(from) => name_of(call, from).and_then(|path| call.layer.stat(&path)).err().unwrap_or(errno),
    }
}

/// What is wrong with the second path of a rename, whatever the first one is.
fn wrong_with_second(call: &Call<'_>, row: &table::Row) -> Option<Errno> {
    let argument = row.paths(&call.syscall.args).nth(1)?;
    let text = call.read_path(argument.index).ok()?;
    let dirfd = argument.dirfd.map_or(libc::AT_FDCWD, |at| call.int(at));
    let place = call.place(&PathArg::at(dirfd, text.clone(), argument.follow));
    let wrong = place.and_then(|place| call.layer.check_parent(&place.name)).err();
    wrong.or_else(|| ends_in_dots(&text).then(|| own::renamed_to_dots(call, row.name)))
}

/// Why a name does not lead to an object.
fn wrong_with_object(call: &Call<'_>, m: &Meant) -> Option<Errno> {
    match name_of(call, m).and_then(|path| call.layer.stat(&path)) {
        Ok(object) if m.text.ends_with(b"/") && object.file_type() != FileType::Directory => Some(Errno::ENOTDIR),
        Ok(_) => None,
        Err(errno) => Some(errno),
    }
}

/// What is wrong with the directory of an entry.
fn wrong_with_way(call: &Call<'_>, m: &Meant) -> Option<Errno> {
    if link::is_unnamed(m) {
        return None;
    }
    name_of(call, m).and_then(|path| call.layer.check_parent(&path)).err()
}

/// What a call on a descriptor alone means, if the kernel would take another object.
fn by_descriptor(
    call: &Call<'_>,
    name: &str,
    purpose: Purpose,
    index: usize,
    dirfd: usize,
) -> Result<Option<Meant>, Errno> {
    let object = match purpose {
        Purpose::Change => call.changed_by_name(call.int(dirfd))?,
        // An open file tells its own attributes, where no mount keeps some; a placeholder does not.
        _ => match call.placeholder_name(call.int(dirfd)) {
            None if reads_xattrs(name) && call.core.has_virtual_files() => {
                let number = call.int(dirfd);
                let fd = call.task.descriptor(number).ok();
                fd.map_or(Ok(None), |fd| call.kept_name(number, fd.as_fd(), Purpose::ExtendedAttributes))?
            }
            name => name,
        },
    };
    let Some(object) = object else { return Ok(None) };
    let meaning = Meaning::Place(placed(call, name, Follow::Never, of_mount(object))?);
    Ok(Some(Meant { index, dirfd: Some(dirfd), entry: false, text: Vec::new(), meaning }))
}

/// Whether NULL in place of a path stands for the descriptor before it; elsewhere it is EFAULT (`do_utimes`, `fs/utimes.c`; `getname_maybe_null`, `fs/namei.c`).
fn means_descriptor(call: &Call<'_>, name: &str) -> bool {
    match name {
        "futimesat" => true,
        "utimensat" | "utimensat_time64" => call.int(3) == 0,
        "setxattrat" | "getxattrat" | "listxattrat" | "removexattrat" => call.int(2) & libc::AT_EMPTY_PATH != 0,
        "file_getattr" | "file_setattr" => call.int(4) & libc::AT_EMPTY_PATH != 0,
        _ => false,
    }
}

/// Whether a descriptor that is meant by an empty path must be open, and not as a name only (`path_setxattrat`, `fs/xattr.c`; `file_setattr`, `fs/file_attr.c`).
fn needs_open_file(name: &str) -> bool {
    matches!(name, "setxattrat" | "getxattrat" | "listxattrat" | "removexattrat" | "file_getattr" | "file_setattr")
}

fn reads_xattrs(name: &str) -> bool {
    matches!(name, "getxattrat" | "listxattrat")
}

/// The same of what is changed by the magic link of a descriptor, as the C library does it where the kernel has no call of its own.
fn changed_by_link(call: &Call<'_>, place: &Place) -> Result<Option<AbsPath>, Errno> {
    if !call.core.has_virtual_files() {
        return Ok(None);
    }
    let Some(name) = place.host().and_then(|link| magic_name(call, link)) else { return Ok(None) };
    Ok((call.layer.locate(&name, Purpose::Change)? == Location::Own).then_some(name))
}

/// An object that its mount changes itself.
pub(super) fn of_mount(name: AbsPath) -> Place {
    Place {
        name,
        location: Location::Own,
        found: true,
        handle: None,
        file_type: None,
        must_be_dir: false,
        native: false,
        opaque: false,
    }
}

/// Whether the last component is `.` or `..`, which no entry is called.
pub(super) fn ends_in_dots(text: &[u8]) -> bool {
    matches!(last_component(text), b"." | b"..")
}

/// The last component of a path, without the slashes behind it.
pub(super) fn last_component(text: &[u8]) -> &[u8] {
    text.split(|&b| b == b'/').rfind(|component| !component.is_empty()).unwrap_or_default()
}

/// Where the call is to happen: one that no operation of a file system corresponds to needs a name on the host.
fn placed(call: &Call<'_>, name: &str, follow: Follow, place: Place) -> Result<Place, Errno> {
    if name.ends_with("stat64") || call.abi == Abi::I386 && matches!(name, "stat" | "lstat") {
        return call.for_attributes(place, Purpose::Attributes);
    }
    if reads_xattrs(name) {
        return call.for_attributes(place, Purpose::ExtendedAttributes);
    }
    if name == "inotify_add_watch" {
        return Ok(match call.for_watching(place) {
            place if place.location == Location::Own && place.found => call.with_host_name(place)?,
            place => place,
        });
    }
    if place.location != Location::Own || !place.found || own::has_operation(name) || follow == Follow::Entry {
        return Ok(place);
    }
    if name == "truncate" {
        return match type_of(call, &place) {
            // With a slash behind it the call fails, and nothing may be prepared for it, least of all be emptied.
            Some(FileType::Regular) if !place.must_be_dir => {
                if let Some(judge) = call.layer.judge(&place.name, &*call.task) {
                    judge.may(&place.name, AccessMode::WRITE)?;
                }
                call.for_writing(place, if call.arg(1) == 0 { Purpose::Replace } else { Purpose::Write })
            }
            _ => Ok(place),
        };
    }
    call.with_host_name(place)
}

/// Read-only mounts, and the names of mount points. Tells where the change is to happen.
fn permit(call: &Call<'_>, entry: bool, makes: bool, place: &Place) -> Result<Location, Errno> {
    // That the name is taken is said before the file system is found to be read-only; `mkdir -p` lives on it.
    if entry && makes && place.found {
        return Ok(place.location.clone());
    }
    if entry && !makes && is_mount_point(call, place) {
        return Err(Errno::EBUSY);
    }
    call.layer.locate(&place.name, Purpose::Change)
}

fn is_mount_point(call: &Call<'_>, place: &Place) -> bool {
    !place.name.is_root() && call.layer.mount_for(&place.name).is_some_and(|(_, rest)| rest.is_root())
}

/// Two names of one file system: both of the same mount, or both of the host.
fn one_file_system(call: &Call<'_>, from: &Meant, to: &Meant) -> bool {
    // A file without a name (an O_TMPFILE's descriptor in /proc) has no mount that could be compared.
    if link::is_unnamed(from) || matches!((&from.meaning, &to.meaning), (Meaning::Kernel, Meaning::Kernel)) {
        return true;
    }
    let system_of = |m| {
        let name = name_of(call, m)?;
        let mount = call.layer.mount_for(&name).map(|(mount, _)| mount.epoch);
        // A bind may show a union and what that declines.
        let directory = if ends_in_dots(&m.text) { name } else { name.parent() };
        let of_union =
            call.core.has_virtual_files() && call.layer.locate(&directory, Purpose::List) == Ok(Location::Own);
        Ok::<_, Errno>((mount, of_union))
    };
    match (system_of(from), system_of(to)) {
        (Ok(from), Ok(to)) => from == to,
        // The kernel says what is wrong with the path.
        _ => true,
    }
}

/// The name of an entry in the view, or what is wrong with its path.
fn name_of(call: &Call<'_>, m: &Meant) -> Result<AbsPath, Errno> {
    match &m.meaning {
        Meaning::Place(place) => Ok(place.name.clone()),
        Meaning::Kernel => {
            let dirfd = m.dirfd.map_or(libc::AT_FDCWD, |at| call.int(at));
            Ok(call.place(&PathArg::at(dirfd, m.text.clone(), Follow::Entry))?.name)
        }
    }
}

/// What is wrong with a path of which the kernel alone knows, where the other one is a mount's: that is said before the two are compared.
pub(super) fn errno_of_kernels(call: &Call<'_>, m: &Meant) -> Errno {
    let arg = PathArg::at(m.dirfd.map_or(libc::AT_FDCWD, |at| call.int(at)), m.text.clone(), Follow::Entry);
    call.place(&arg).err().unwrap_or(Errno::EXDEV)
}

/// Whether there is an entry of this name.
fn is_taken(call: &Call<'_>, m: &Meant) -> bool {
    // That a place was found may only mean that the kernel may look itself.
    name_of(call, m).is_ok_and(|name| call.layer.stat(&name).is_ok())
}

/// The type of what a path means, if it is there.
pub(super) fn type_of(call: &Call<'_>, place: &Place) -> Option<FileType> {
    match &place.handle {
        Some(handle) => sys::file_type(handle.as_fd()).ok(),
        None => call.layer.stat(&place.name).ok().map(|stat| stat.file_type()),
    }
}
