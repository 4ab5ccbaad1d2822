//! What root mounts where a mount of the view keeps the objects itself.
//!
//! There is nothing there that the kernel could mount on, and nobody would see it. So the caller's own call mounts on a directory of the host that nobody looks at, and that is what a
//! mount of the view shows. Rights, namespaces and errors are the kernel's thus, and a file system that the caller itself serves is not asked anything before it can answer.

use super::stand_ins::{self, FS_TYPE, StandIn};
use crate::{
    call::{Call, Outcome},
    debug::Tag,
    resolve::Place,
    scratch::Scratch,
    sys,
    view::{MountCall, Refusal, Shown},
};
use std::sync::Arc;
use vu_api::{AbsPath, Caller, Errno, FileType, Filesystem, Location, MountFlags, Purpose, capability};
use vu_trace::Argument;

/// What is not a block device, for a source that is none either and that the host does not have.
const NO_BLOCK_DEVICE: &[u8] = b"/dev/null";

/// Whether a mount of the view keeps what is there itself.
pub(super) fn is_own(call: &Call<'_>, place: &Place) -> bool {
    let keeps = |purpose| matches!(call.layer.locate(&place.name, purpose), Ok(Location::Own));
    place.host().is_none() || place.found && !place.opaque && (keeps(Purpose::List) || keeps(Purpose::Change))
}

/// Whether the host lets the caller mount, and what it mounts is what the hypervisor sees.
pub(super) fn is_root_of_the_host(call: &Call<'_>) -> bool {
    sys::effective_uid() == 0
        && call.task.shares_namespaces()
        && call.task.host_credentials().is_ok_and(|who| who.has(capability::SYS_ADMIN))
}

/// What `mount --bind` mounts in the view, if the host cannot: its source or its target is kept by a mount.
///
/// # Errors
/// As mount(2).
pub(super) fn bind<'a>(
    call: &Call<'_>,
    object: impl Fn(Vec<u8>) -> Result<Place, Errno>,
) -> Result<Option<StandIn<'a>>, Errno> {
    if call.view.claims(FS_TYPE).is_none() || !is_root_of_the_host(call) {
        return Ok(None);
    }
    let (source, target) = (object(call.read_path(0)?)?, object(call.read_path(1)?)?);
    if source.opaque || target.opaque {
        // What has no name is the kernel's to find, and no mount point.
        return Ok(None);
    }
    let below = call.view.host_mount_at(&target.name);
    if below.is_none() && !is_own(call, &target) && !is_own(call, &source) {
        return Ok(None);
    }
    stand_ins::same_kind(source.file_type(call)?, target.file_type(call)?)?;
    let flags = MountFlags::empty();
    Ok(Some(StandIn { source: source.name, target: target.name, flags, shown: None, data: b"", tmpfs: None }))
}

/// A new mount of the host's; `None` if the host has what it is to be mounted on.
///
/// # Errors
/// As mount(2).
pub(super) fn mount(
    call: &Call<'_>,
    fs_type: &[u8],
    (source, data): (&[u8], &[u8]),
    object: impl Fn(Vec<u8>) -> Result<Place, Errno>,
) -> Result<Option<Outcome>, Errno> {
    if call.view.table().is_empty() || call.view.claims(FS_TYPE).is_none() || !is_root_of_the_host(call) {
        return Ok(None);
    }
    let target = object(call.read_path(1)?)?;
    let before = call.view.host_mount_at(&target.name);
    if before.is_none() && !is_own(call, &target) {
        return Ok(None);
    }
    stand_ins::same_kind(FileType::Directory, target.file_type(call)?)?;
    let mut args: [Argument; 6] = Default::default();
    // What is no path means what it says.
    if (source.starts_with(b"/") || needs_a_device(fs_type))
        && let Ok(place) = object(source.to_vec())
    {
        match place.host() {
            Some(host) if place.native && *host == place.name => {}
            Some(host) => args[0] = call.path_argument(host.as_bytes())?,
            None if place.file_type(call)? == FileType::BlockDevice => {}
            None => args[0] = call.path_argument(NO_BLOCK_DEVICE)?,
        }
    }
    if let Some(options) = overlay_on_the_host(call, fs_type, data, &object) {
        args[4] = options;
    }
    let scratch = Arc::new(Scratch::for_mount()?);
    args[1] = call.path_argument(scratch.content().as_bytes())?;
    let request = MountCall {
        fs_type: FS_TYPE,
        source: b"",
        source_path: Some(scratch.content()),
        target: &target.name,
        flags: MountFlags::from_bits_retain(call.arg(3)),
        data: b"",
        shown: Some(Shown {
            // What is none, the kernel does not mount.
            fs_type: std::str::from_utf8(fs_type).unwrap_or_default(),
            source,
            data,
            scratch: Some(scratch.clone()),
        }),
        wanted: &|| true,
    };
    let mount = call.view.prepare(&request).map_err(errno)?;
    // Nothing less is necessary a moment before it is there.
    call.core.mounted(&mount);
    call.debug(Tag::Mounts, format_args!("mount {mount}, by the host on {}", scratch.content()));
    let (view, changed) = (call.view.clone(), call.core.notice_of_change());
    let finish = move |result| {
        if result != 0 {
            return result;
        }
        scratch.mounted();
        // As `do_add_mount` refuses it (`fs/namespace.c`); ours is put where the kernel does not see the other.
        if before.is_some_and(|before| before.shows_the_same(&scratch)) {
            return Errno::EBUSY.as_result();
        }
        let put = view.put(mount, true);
        changed();
        put.map_or_else(|refusal| errno(refusal).as_result(), |_| result)
    };
    Ok(Some(call.rewrite_with(call.syscall.nr, args, Some(Box::new(finish)))))
}

/// Whether a file system of this type lies on a block device, whose path is the source (proc_filesystems(5)).
fn needs_a_device(fs_type: &[u8]) -> bool {
    // What stands behind a dot is for the file system itself.
    let name = fs_type.split(|&byte| byte == b'.').next().unwrap_or_default();
    let known = std::fs::read("/proc/filesystems").unwrap_or_default();
    known.split(|&byte| byte == b'\n').any(|line| line.strip_prefix(b"\t") == Some(name))
}

/// The data string of an overlayfs, whose directories the kernel is to find; `None` if it does, or the file system is another.
pub(super) fn overlay_on_the_host(
    call: &Call<'_>,
    fs_type: &[u8],
    data: &[u8],
    object: impl Fn(Vec<u8>) -> Result<Place, Errno>,
) -> Option<Argument> {
    if fs_type != b"overlay" {
        return None;
    }
    let mut options = overlay_options(data, |path| {
        let place = object(path.to_vec()).ok().filter(|place| !place.native && !is_own(call, place))?;
        place.host().map(|host| host.as_bytes().to_vec())
    });
    (options != data).then(|| {
        options.push(0);
        Argument::Bytes(options)
    })
}

/// The options of an overlayfs with the directories' names on the host, where `host` knows one (`Documentation/filesystems/overlayfs.rst`). Commas and colons in names
/// have a backslash before them.
fn overlay_options(data: &[u8], host: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    let translated = |path: &[u8]| match host(&unescaped(path)) {
        Some(host) => host
            .into_iter()
            .flat_map(|b| matches!(b, b'\\' | b',' | b':').then_some(b'\\').into_iter().chain([b]))
            .collect(),
        None => path.to_vec(),
    };
    let option = |option: &[u8]| {
        let equals = option.iter().position(|&b| b == b'=').map_or(option.len(), |at| at + 1);
        let (name, value) = option.split_at(equals);
        match name {
            b"lowerdir=" => [name, &split(value, b':').map(translated).collect::<Vec<_>>().join(&b':')].concat(),
            b"upperdir=" | b"workdir=" => [name, &translated(value)].concat(),
            _ => option.to_vec(),
        }
    };
    split(data, b',').map(option).collect::<Vec<_>>().join(&b',')
}

/// The parts of a text between separators that have no backslash before them.
fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut escaped = false;
    text.split(move |&b| {
        let separates = b == separator && !escaped;
        escaped = b == b'\\' && !escaped;
        separates
    })
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut escaped = false;
    text.iter()
        .filter(|&&b| {
            escaped = b == b'\\' && !escaped;
            !escaped
        })
        .copied()
        .collect()
}

fn errno(refusal: Refusal) -> Errno {
    match refusal {
        Refusal::NotOurs => Errno::EINVAL,
        Refusal::Errno(errno) => errno,
    }
}

/// Has the host change what it has mounted for the mount at a point, if it has (`MS_REMOUNT`).
///
/// # Errors
/// As mount(2).
pub(super) fn remount(call: &Call<'_>, point: &AbsPath, data: &[u8]) -> Result<(), Errno> {
    let Some(scratch) = call.view.host_mount_at(point) else { return Ok(()) };
    if !is_root_of_the_host(call) {
        return Err(Errno::EPERM);
    }
    scratch.remount(call.arg(3), (call.arg(4) != 0).then_some(data))
}

/// umount2(2) of what the host has mounted for the mount at a point. It goes if the host lets it: whether it is in use, the host knows best.
///
/// # Errors
/// As umount2(2).
pub(super) fn umount(call: &Call<'_>, point: &AbsPath, scratch: &Scratch, flags: i32) -> Result<Outcome, Errno> {
    if !is_root_of_the_host(call) {
        return Err(Errno::EPERM);
    }
    if flags & (libc::MNT_DETACH | libc::MNT_FORCE) == 0 {
        call.view.may_be_unmounted(point).map_err(errno)?;
    }
    call.core.let_go_of_directories();
    if scratch.unmount(flags)? {
        call.view.umount(point, libc::MNT_DETACH).map_err(errno)?;
        call.debug(Tag::Mounts, format_args!("umount {point}"));
    }
    call.core.mounts_changed();
    Ok(Outcome::Done(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_an_overlay() {
        let host = |path: &[u8]| (path != b"own").then(|| [b"/h:ost/", path].concat());
        let options = |data: &str| String::from_utf8(overlay_options(data.as_bytes(), host)).unwrap();
        assert_eq!(options(""), "");
        assert_eq!(
            options("lowerdir=a:own:c\\:d,upperdir=u\\,v,workdir=own,index=off"),
            "lowerdir=/h\\:ost/a:own:/h\\:ost/c\\:d,upperdir=/h\\:ost/u\\,v,workdir=own,index=off"
        );
    }
}
