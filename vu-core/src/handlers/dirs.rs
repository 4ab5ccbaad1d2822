//! The working directory and the root: chdir(2), fchdir(2), getcwd(2), chroot(2).

use crate::{
    call::{Call, Outcome, own_descriptor},
    resolve::{Meaning, Need, PathArg, Place},
    route::Route,
    task::host_name,
};
use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};
use vu_api::{
    AbsPath, AccessMode, Caller, Errno, FileType, Filesystem, Location, OpenFlags, OpenHow, Opened, PATH_MAX, Shows,
    capability,
};
use vu_fd::HeldAs;
use vu_path::Follow;
use vu_trace::{Abi, Argument, Borrow, Finish};

/// `__NR_chdir` (`arch/x86/entry/syscalls/syscall_32.tbl`).
const I386_CHDIR: i64 = 12;
/// `__NR_fchdir`.
const I386_FCHDIR: i64 = 133;

/// chdir(2).
pub fn chdir(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let path = call.read_path(0)?;
    let absolute = path.starts_with(b"/");
    let arg = PathArg::at_cwd(path, Follow::Last);
    let place = match call.meaning(&arg, Need::Open)? {
        // It stays where it is, and what is known of that must not be lost.
        Meaning::Kernel if !absolute && call.is_removed_base(&arg) => return Ok(Outcome::Done(0)),
        Meaning::Kernel if absolute => return Ok(natural_change(call, Route::of_host())),
        // The kernel's directory changes, its route does not.
        Meaning::Kernel => return Ok(natural_change(call, route_now(call))),
        Meaning::Place(place) => call.for_listing(place)?,
    };
    if place.found {
        may_enter(call, &place)?;
    }
    match place.location.clone() {
        Location::Host(host) => {
            let route = call.route(&place.name, &host);
            if place.native {
                return Ok(natural_change(call, route));
            }
            directory(call, &place.existing(call)?)?;
            Ok(changed(call, call.path_argument(host.as_bytes())?, route, None))
        }
        Location::Own => {
            let place = place.existing(call)?;
            directory(call, &place)?;
            let fd = held(call, &place.name)?;
            entered(call, fd)
        }
    }
}

/// What stands for a directory of its mount's own, for its caller to enter, who must be one who may.
fn held(call: &Call<'_>, name: &AbsPath) -> Result<OwnedFd, Errno> {
    // Who may search it need not be one who may list it.
    may_search(call, name)?;
    let how = OpenHow { flags: OpenFlags::DIRECTORY | OpenFlags::PATH, mode: 0 };
    match call.layer.open(name, &how, &*call.task)? {
        Opened::Host(fd) => Ok(fd),
        Opened::Virtual(file) => {
            let epoch = call.layer.mount_for(name).map_or(0, |(mount, _)| mount.epoch.0);
            call.core.nodes.open(file, OpenFlags::DIRECTORY, epoch, name.clone(), HeldAs::WorkingDirectory)
        }
    }
}

fn may_search(call: &Call<'_>, name: &AbsPath) -> Result<(), Errno> {
    if let Some(judge) = call.layer.judge(name, &*call.task) {
        judge.may_search(name)?;
    }
    call.layer.access(name, AccessMode::EXECUTE, &*call.task)
}

/// Whether the mount of a directory, where it keeps who may search it, permits that.
fn may_enter(call: &Call<'_>, place: &Place) -> Result<(), Errno> {
    let Some(judge) = call.layer.judge(&place.name, &*call.task) else { return Ok(()) };
    if place.file_type(call)? == FileType::Directory { judge.may_search(&place.name) } else { Err(Errno::ENOTDIR) }
}

fn directory(call: &Call<'_>, place: &Place) -> Result<(), Errno> {
    if place.file_type(call)? == FileType::Directory { Ok(()) } else { Err(Errno::ENOTDIR) }
}

fn route_now(call: &Call<'_>) -> Route {
    (**call.task.fs().cwd_route.read()).clone()
}

/// A change of directory that the kernel understands as it is.
fn natural_change(call: &Call<'_>, route: Route) -> Outcome {
    let fs = call.task.fs();
    let same = **fs.cwd_route.read() == route || fs.cwd_route.read().is_host() && route.is_host();
    // This task's handle and ours here; more are other tasks that share the directory and may look at it before it has changed.
    let shared = Arc::strong_count(&fs) > 2;
    if same && !shared {
        fs.forget_cwd();
        return Outcome::Host;
    }
    changed(call, Argument::Keep, route, None)
}

/// Has the tracee change its directory, and notes the route when it has.
fn changed(call: &Call<'_>, argument: Argument, route: Route, held: Option<OwnedFd>) -> Outcome {
    let mut args: [Argument; 6] = Default::default();
    args[0] = argument;
    changed_by(call, call.syscall.nr, args, route, held)
}

/// Has the tracee change to what stands for a directory, by a path to our descriptor of it; who does not reach that, by a copy.
fn entered(call: &Call<'_>, fd: OwnedFd) -> Result<Outcome, Errno> {
    let (chdir, fchdir) = match call.abi {
        Abi::I386 => (I386_CHDIR, I386_FCHDIR),
        Abi::X86_64 => (libc::SYS_chdir, libc::SYS_fchdir),
    };
    if call.can_install() && !call.task.same_credentials() {
        return Ok(Outcome::Borrow(Borrow { fd, nr: fchdir, finish: noted(call, Route::of_host(), None) }));
    }
    let mut args: [Argument; 6] = Default::default();
    args[0] = call.path_argument(&own_descriptor(&fd))?;
    Ok(changed_by(call, chdir, args, Route::of_host(), Some(fd)))
}

/// The same by a call of another number.
fn changed_by(call: &Call<'_>, nr: i64, args: [Argument; 6], route: Route, held: Option<OwnedFd>) -> Outcome {
    call.rewrite_with(nr, args, Some(noted(call, route, held)))
}

/// Notes the new directory's route, if it has become that.
fn noted(call: &Call<'_>, route: Route, held: Option<OwnedFd>) -> Finish {
    let fs = call.task.fs();
    Box::new(move |result| {
        drop(held);
        if result == 0 {
            *fs.cwd_route.write() = Arc::new(route);
        }
        fs.forget_cwd();
        result
    })
}

/// fchdir(2): the directory is the kernel's; its route is the descriptor's.
pub fn fchdir(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let number = call.int(0);
    let host_route = Route::of_host();
    let Ok(fd) = call.task.descriptor(number) else { return Ok(Outcome::Host) };
    if let Some(lent) = call.lent_by(&call.task, number, fd.as_fd()) {
        if lent.shows == Shows::Nothing {
            return Err(Errno::ENOENT);
        }
        let fd = held(call, &lent.name)?;
        return entered(call, fd);
    }
    if let Some(name) = call.placeholder_name(number) {
        // Who opened it need not be one who may enter it; what stands for it lets everybody in.
        may_search(call, &name)?;
    }
    // What is too long a name for the kernel lies deep in the same tree, most likely.
    let Some(link) = call.told_name(&format!("fd/{number}"))? else { return Ok(natural_change(call, route_now(call))) };
    let route = match host_name(link) {
        Ok(host) => match call.name_of(fd.as_fd(), &host) {
            Some(name) => call.route(&name, &host),
            None => host_route,
        },
        Err(_) => host_route,
    };
    Ok(natural_change(call, route))
}

/// getcwd(2).
pub fn getcwd(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let fs = call.task.fs();
    let root = fs.root.read().clone();
    if root.is_root() && fs.cwd_route.read().is_host() && !call.core.has_virtual_files() {
        return Ok(Outcome::Host);
    }
    let Some(name) = call.cwd_name()? else { return Ok(Outcome::Host) };
    // Outside of the root, the kernel says so, too (`prepend_path`, `fs/d_path.c`).
    let mut text = match name.rebase(&root, &AbsPath::root()) {
        Some(inside) => inside.as_bytes().to_vec(),
        None => [b"(unreachable)", name.as_bytes()].concat(),
    };
    text.push(0);
    // In this order (`getcwd`, `fs/d_path.c`).
    if text.len() > PATH_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    if text.len() > call.size(1) {
        return Err(Errno::ERANGE);
    }
    call.write(call.arg(0), &text)?;
    Ok(Outcome::Done(i64::try_from(text.len()).unwrap_or(i64::MAX)))
}

/// chroot(2): the root is the view's to keep, and changing it takes no privilege.
pub fn chroot(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let path = call.read_path(0)?;
    let place = call.object(&PathArg::at_cwd(path, Follow::Last))?;
    directory(call, &place)?;
    may_enter(call, &place)?;
    // That it may be searched is asked first, of who may change the root, too (`ksys_chroot`, `fs/open.c`).
    call.layer.access(&place.name, AccessMode::EXECUTE, &*call.task)?;
    // Everybody may in their own view; who has become somebody else may do what that one may.
    if call.task.judged().is_some_and(|who| !who.has(capability::SYS_CHROOT)) {
        return Err(Errno::EPERM);
    }
    let fs = call.task.fs();
    *fs.root.write() = place.name;
    fs.forget_cwd();
    for task in call.core.tasks.all().iter().filter(|task| Arc::ptr_eq(&task.fs(), &fs)) {
        call.core.agents.switch_off(task);
    }
    let Some(filter) = call.core.linker_filter() else { return Ok(Outcome::Done(0)) };
    // In place of a call that needs the host's rights, one that needs none: behind it the process has the filter.
    let nr = match call.abi {
        Abi::X86_64 => libc::SYS_getppid,
        Abi::I386 => I386_GETPPID,
    };
    let mut outcome = call.rewrite_with(nr, Default::default(), Some(Box::new(|_| 0)));
    if let Outcome::Rewrite(rewrite) = &mut outcome {
        rewrite.filter = Some(filter);
    }
    Ok(outcome)
}

/// `arch/x86/entry/syscalls/syscall_32.tbl`
const I386_GETPPID: i64 = 64;
