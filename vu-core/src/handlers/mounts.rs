//! mount(2) and umount2(2).

use super::{
    host_mounts,
    stand_ins::{self, StandIn},
};
use crate::{
    call::{Call, Outcome},
    debug::Tag,
    mount::Mount,
    resolve::{Meaning, Need, PathArg, Place},
    tmpfs,
    view::{MountCall, Refusal},
};
use vu_api::{AbsPath, Errno, FileType, Filesystem, Location, MountFlags, Purpose};
use vu_path::{Follow, ResolveFlags};
use vu_trace::{Argument, Memory};

/// The longest data string: a page, its NUL included (mount(2)).
const DATA_MAX: usize = 4096;

/// mount(2): where an active module has the type, it is the view's; otherwise the host's.
pub fn mount(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    // What is asked of a mount that is there comes first, whatever else is said (`path_mount`, fs/namespace.c).
    if MountFlags::from_bits_retain(call.arg(3)).intersects(OF_OTHERS) {
        return again(call);
    }
    let fs_type = string(call, 2)?;
    if call.view.claims(&fs_type).is_none() {
        let object = |path| call.object(&at_cwd(path, Follow::Last));
        let (given, data) = match call.arg(3) & libc::MS_BIND {
            0 => (string(call, 0)?, string(call, 4)?),
            _ => Default::default(),
        };
        let is_bind = call.arg(3) & libc::MS_BIND != 0;
        if !is_bind && let Some(outcome) = host_mounts::mount(call, &fs_type, (&given, &data), object)? {
            return Ok(outcome);
        }
        let bind = if is_bind { host_mounts::bind(call, object)? } else { None };
        let stand_in = match bind {
            None => stand_ins::stand_in(call, &fs_type, (&given, &data), object)?,
            bind => bind,
        };
        return match stand_in {
            Some(StandIn { source, target, flags, shown, data, tmpfs }) => by_the_view(
                call,
                &MountCall {
                    fs_type: stand_ins::FS_TYPE,
                    source: source.as_bytes(),
                    source_path: Some(source.clone()),
                    target: &target,
                    flags,
                    data,
                    shown,
                    wanted: &|| call.still_waits().is_ok(),
                },
                tmpfs,
            ),
            None => by_the_host(call),
        };
    }
    let source = string(call, 0)?;
    let data = string(call, 4)?;
    call.still_waits()?;
    let target = mount_point(call, call.read_path(1)?, Follow::Last)?;
    let source_path = match call.meaning(&at_cwd(source.clone(), Follow::Last), Need::Name) {
        Ok(Meaning::Place(place)) if place.found => Some(place.name),
        _ => None,
    };
    let request = MountCall {
        fs_type: &fs_type,
        source: &source,
        source_path,
        target: &target,
        flags: MountFlags::from_bits_retain(call.arg(3)),
        data: &data,
        shown: None,
        wanted: &|| call.still_waits().is_ok(),
    };
    by_the_view(call, &request, None)
}

fn by_the_view(call: &Call<'_>, request: &MountCall<'_>, tmpfs: Option<tmpfs::Options>) -> Result<Outcome, Errno> {
    match call.view.mount(request) {
        Ok(mount) => {
            installed(call, &mount);
            if let Some(options) = tmpfs {
                stand_ins::furnish(call, &mount, options)?;
            }
            call.debug(Tag::Modules, format_args!("{} made {mount}", mount.module.name()));
            call.debug(Tag::Mounts, format_args!("mount {mount}"));
            Ok(Outcome::Done(0))
        }
        Err(Refusal::NotOurs) => by_the_host(call),
        Err(Refusal::Errno(errno)) => Err(errno),
    }
}

/// Those of `mount -o remount`, `--move` and `--make-…`: they are about mounts that are there already.
const OF_OTHERS: MountFlags = PROPAGATION.union(MountFlags::REMOUNT).union(MountFlags::MOVE);

/// What is asked of a mount that is there, the view's or the host's.
fn again(call: &Call<'_>) -> Result<Outcome, Errno> {
    if call.view.table().is_empty() && !stand_ins::is_virtual_root(call) {
        return Ok(Outcome::Host);
    }
    let flags = MountFlags::from_bits_retain(call.arg(3));
    let object = |path| call.object(&at_cwd(path, Follow::Last));
    let target = object(call.read_path(1)?)?;
    let done = if flags.contains(MountFlags::REMOUNT) {
        let data = string(call, 4)?;
        host_mounts::remount(call, &target.name, &data)?;
        call.view.remount(&target.name, flags, &data).map(|mount| installed(call, &mount))
    } else if flags.intersects(PROPAGATION) {
        stand_ins::propagation(call, &target.name)?.ok_or(Refusal::NotOurs)
    } else {
        let source = object(call.read_path(0)?)?;
        let is_directory = |place: &Place| Ok::<_, Errno>(place.file_type(call)? == FileType::Directory);
        if is_directory(&source)? != is_directory(&target)? {
            return Err(Errno::ENOTDIR);
        }
        call.view.move_mount(&source.name, &target.name).map(|()| call.core.mounts_changed())
    };
    match done {
        Ok(()) => {
            call.debug(Tag::Mounts, format_args!("change of the mount on {}", target.name));
            Ok(Outcome::Done(0))
        }
        Err(Refusal::NotOurs) => by_the_host(call),
        Err(Refusal::Errno(errno)) => Err(errno),
    }
}

/// Has the filters that a mount needs.
fn installed(call: &Call<'_>, mount: &Mount) {
    for filter in call.core.mounted(mount) {
        call.debug(Tag::Filters, format_args!("the filter {filter:?} is installed in every process"));
    }
}

/// A mount of the host's, on what the path means in the view. Of the source, the kernel knows what it is by the type of the file system; what is an
/// absolute path, and leads to something else in the view, is taken for that.
fn by_the_host(call: &Call<'_>) -> Result<Outcome, Errno> {
    if call.view.table().is_empty() {
        return Ok(Outcome::Host);
    }
    // Where there was a directory, there may be a symbolic link behind it.
    call.core.names_change();
    let flags = MountFlags::from_bits_retain(call.arg(3));
    let mut args: [Argument; 6] = Default::default();
    let mut same = true;
    let mut exchange = |index: usize, place: &Place| {
        if let Some(host) = place.host()
            && !place.native
        {
            args[index] = call.path_argument(host.as_bytes())?;
            same = false;
        }
        Ok::<_, Errno>(())
    };
    match call.meaning(&at_cwd(call.read_path(1)?, Follow::Last), Need::Name)? {
        Meaning::Kernel => {}
        Meaning::Place(place) => {
            let place = if place.native { place } else { place.existing(call)? };
            let own = host_mounts::is_own(call, &place);
            if own && flags.intersects(PROPAGATION) {
                // The view's mounts have none; the host's that lie below it may.
                args[1] = call.path_argument(place.name.as_bytes())?;
                return Ok(call.rewrite(args));
            }
            if own && flags.intersects(OF_OTHERS) && host_mounts::is_root_of_the_host(call) {
                // It is no mount point.
                return Err(Errno::EINVAL);
            }
            if own {
                // Nothing that the kernel could mount on, and nothing of this user's.
                return Err(Errno::EPERM);
            }
            exchange(1, &place)?;
        }
    }
    let source = match call.arg(0) {
        0 => Vec::new(),
        _ => call.read_path(0)?,
    };
    if (source.starts_with(b"/") || flags.intersects(MountFlags::BIND | MountFlags::MOVE))
        && let Ok(Meaning::Place(place)) = call.meaning(&at_cwd(source, Follow::Last), Need::Name)
        && place.found
    {
        if flags.contains(MountFlags::BIND)
            && place.file_type(call)? == FileType::Directory
            && host_mounts::is_own(call, &place)
        {
            return Err(Errno::EPERM);
        }
        exchange(0, &place)?;
    }
    let object = |path| call.object(&at_cwd(path, Follow::Last));
    if !flags.intersects(OF_OTHERS | MountFlags::BIND)
        && let (Ok(fs_type), Ok(data)) = (string(call, 2), string(call, 4))
        && let Some(options) = host_mounts::overlay_on_the_host(call, &fs_type, &data, object)
    {
        args[4] = options;
        same = false;
    }
    Ok(if same { Outcome::Host } else { call.rewrite(args) })
}

/// The string at an argument; empty if there is none.
fn string(call: &Call<'_>, index: usize) -> Result<Vec<u8>, Errno> {
    match call.arg(index) {
        0 => Ok(Vec::new()),
        address => call.memory().read_string(address, DATA_MAX),
    }
}

/// umount2(2), and i386's umount(2).
pub fn umount2(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    // Nothing is mounted: not even the path needs to be read.
    if call.view.table().is_empty() {
        return Ok(Outcome::Host);
    }
    let flags = if crate::table::name(call.abi, call.syscall.nr) == Some("umount2") { call.int(1) } else { 0 };
    // Refused before the path is looked at (`ksys_umount`, `fs/namespace.c`).
    if flags & !(libc::MNT_FORCE | libc::MNT_DETACH | libc::MNT_EXPIRE | libc::UMOUNT_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL);
    }
    let follow = if flags & libc::UMOUNT_NOFOLLOW != 0 { Follow::Never } else { Follow::Last };
    // What was held of it would keep it in use.
    let Place { name: point, native, opaque, .. } = call.place(&at_cwd(call.read_path(0)?, follow))?;
    call.still_waits()?;
    if let Some(scratch) = call.view.host_mount_at(&point) {
        return host_mounts::umount(call, &point, &scratch, flags);
    }
    match call.view.umount(&point, flags) {
        Ok(mount) => {
            call.core.mounts_changed();
            call.debug(Tag::Mounts, format_args!("umount {mount}"));
            Ok(Outcome::Done(0))
        }
        Err(Refusal::NotOurs) => match call.layer.locate(&point, Purpose::Read)? {
            // What has no name is the kernel's to find. By the rest it would look below its own root, where the caller's may be another.
            Location::Host(_) if native || opaque => Ok(Outcome::Host),
            Location::Host(host) => {
                let mut args: [Argument; 6] = Default::default();
                args[0] = call.path_argument(host.as_bytes())?;
                Ok(call.rewrite(args))
            }
            Location::Own => {
                call.layer.stat(&point)?;
                // In this order (`can_umount`, fs/namespace.c).
                let may = stand_ins::is_virtual_root(call) || host_mounts::is_root_of_the_host(call);
                Err(if may { Errno::EINVAL } else { Errno::EPERM })
            }
        },
        Err(Refusal::Errno(errno)) => Err(errno),
    }
}

/// How mounts and umounts spread to other namespaces (mount_namespaces(7)).
pub(super) const PROPAGATION: MountFlags =
    MountFlags::from_bits_retain(libc::MS_SHARED | libc::MS_PRIVATE | libc::MS_SLAVE | libc::MS_UNBINDABLE);

fn at_cwd(path: Vec<u8>, follow: Follow) -> PathArg {
    PathArg { dirfd: libc::AT_FDCWD, path, follow, resolve: ResolveFlags::empty() }
}

/// The canonical name of a mount point, which need not exist.
fn mount_point(call: &Call<'_>, path: Vec<u8>, follow: Follow) -> Result<AbsPath, Errno> {
    call.place(&at_cwd(path, follow)).map(|place| place.name)
}
