//! What virtual root mounts of the host's: file systems of the kernel (`mount -t proc`, `-t tmpfs`), and parts of the tree (`mount --bind`); and what it asks of
//! mounts that are there.
//!
//! Of an ordinary user the host takes none of it. What stands in for it is a mount of the view: of the host's own such file system, of the source, of a directory
//! that goes with the mount. Scripts that prepare a root file system for `chroot` then do what they do for root.

use super::{mounts::PROPAGATION, ownership::Maker};
use crate::{call::Call, mount::Mount, resolve::Place, scratch::Scratch, sys, tmpfs, view::Shown};
use std::sync::Arc;
use vu_api::{AbsPath, Caller, Errno, FileType, Filesystem, MountFlags, MountWords, capability};

/// A mount of the view's in place of one of the host's.
pub(super) struct StandIn<'a> {
    /// What is mounted, as `bind`.
    pub source: AbsPath,
    pub target: AbsPath,
    pub flags: MountFlags,
    pub shown: Option<Shown<'a>>,
    /// The words of that.
    pub data: &'static [u8],
    /// What a `tmpfs` is to be like.
    pub tmpfs: Option<tmpfs::Options>,
}

/// The type of a mount that puts a part of the tree elsewhere.
pub(super) const FS_TYPE: &[u8] = b"vufs";

/// What is mounted in place of what a caller asks the host for; `None` if the host decides. `object` finds out what a path means.
///
/// # Errors
/// As mount(2): `ENOENT`; `ENOTDIR` for a directory on something else, or the reverse (`graft_tree`, `fs/namespace.c`); `EINVAL` for an option that the type does
/// not have.
pub(super) fn stand_in<'a>(
    call: &Call<'_>,
    fs_type: &'a [u8],
    (source, data): (&'a [u8], &'a [u8]),
    object: impl Fn(Vec<u8>) -> Result<Place, Errno>,
) -> Result<Option<StandIn<'a>>, Errno> {
    let flags = MountFlags::from_bits_retain(call.arg(3));
    if !is_virtual_root(call) || call.view.claims(FS_TYPE).is_none() {
        return Ok(None);
    }
    let mut shown = std::str::from_utf8(fs_type).ok().map(|fs_type| Shown { fs_type, source, data, scratch: None });
    let mut options = None;
    let (place, kind, flags) = if flags.contains(MountFlags::BIND) {
        shown = None;
        let source = object(call.read_path(0)?)?;
        let kind = source.file_type(call)?;
        // Whatever else is given counts at a later remount only (mount(2)).
        (source.name, kind, MountFlags::empty())
    } else if fs_type == TMPFS {
        // Its options are looked at before its target.
        let words = MountWords::parse(data).map_err(|_| Errno::EINVAL)?;
        options = Some(tmpfs::Options::parse(&words)?);
        (AbsPath::root(), FileType::Directory, flags)
    } else {
        let Some(place) = place_of(fs_type).and_then(|place| AbsPath::new(place).ok()) else { return Ok(None) };
        // Where the host has none, it says what it thinks of that.
        let Ok(stat) = call.layer.stat(&place) else { return Ok(None) };
        (place, stat.file_type(), flags)
    };
    let target = object(call.read_path(1)?)?;
    same_kind(kind, target.file_type(call)?)?;
    let mut stand_in = StandIn { source: place, target: target.name, flags, shown, data: b"", tmpfs: options };
    if options.is_some()
        && let Some(shown) = &mut stand_in.shown
    {
        let scratch = Arc::new(Scratch::new()?);
        stand_in.source = scratch.content();
        // Over nothing.
        stand_in.data = b"cow";
        shown.scratch = Some(scratch);
    }
    Ok(Some(stand_in))
}

/// A directory is mounted on a directory, anything else on anything else (`graft_tree`, `fs/namespace.c`).
pub(super) fn same_kind(one: FileType, other: FileType) -> Result<(), Errno> {
    let is_directory = |kind| kind == FileType::Directory;
    if is_directory(one) == is_directory(other) { Ok(()) } else { Err(Errno::ENOTDIR) }
}

const TMPFS: &[u8] = b"tmpfs";

/// Gives the root directory of a `tmpfs` its owner and mode.
///
/// # Errors
/// What hinders it.
pub(super) fn furnish(call: &Call<'_>, mount: &Mount, options: tmpfs::Options) -> Result<(), Errno> {
    let who = call.task.credentials()?;
    let maker = &Maker(&call.task);
    let root = AbsPath::root();
    let (uid, gid) = (options.uid.unwrap_or(who.uid), options.gid.unwrap_or(who.gid));
    mount.shielded("chown", |fs| fs.chown(&root, Some(uid), Some(gid), maker))?;
    mount.shielded("chmod", |fs| fs.chmod(&root, options.mode, maker))
}

/// Answers how a mount spreads to other namespaces: nothing of a view does, so for virtual root it is as it is asked to be. `None` if the host decides.
///
/// # Errors
/// `EINVAL` where there is no mount point, and for more than one kind of propagation (`do_change_type`, `flags_to_propagation_type`, `fs/namespace.c`).
pub(super) fn propagation(call: &Call<'_>, place: &AbsPath) -> Result<Option<()>, Errno> {
    if !is_virtual_root(call) {
        return Ok(None);
    }
    let flags = call.arg(3);
    let kinds = flags & PROPAGATION.bits();
    if flags & !(PROPAGATION.bits() | libc::MS_REC | libc::MS_SILENT) != 0 || !kinds.is_power_of_two() {
        return Err(Errno::EINVAL);
    }
    if call.view.is_mount_point(place) || is_mount_point_of_the_host(call, place) {
        return Ok(Some(()));
    }
    Err(Errno::EINVAL)
}

/// Whether the host has a mount point there, and it is seen.
fn is_mount_point_of_the_host(call: &Call<'_>, place: &AbsPath) -> bool {
    call.layer.mount_for(place).is_none()
        && (place.is_root()
            || match (call.layer.stat(place), call.layer.stat(&place.parent())) {
                (Ok(here), Ok(above)) => here.dev != above.dev,
                _ => false,
            })
}

/// Whether the host refuses the caller, and in the view it is an administrator.
pub(super) fn is_virtual_root(call: &Call<'_>) -> bool {
    sys::effective_uid() != 0 && call.task.judged().is_some_and(|who| who.has(capability::SYS_ADMIN))
}

/// Where the host has its own mount of such a file system, of which there is only one, or of which another one would show the same to an ordinary user.
fn place_of(fs_type: &[u8]) -> Option<&'static [u8]> {
    Some(match fs_type {
        b"proc" => b"/proc",
        b"sysfs" => b"/sys",
        b"devtmpfs" => b"/dev",
        b"devpts" => b"/dev/pts",
        b"mqueue" => b"/dev/mqueue",
        b"cgroup2" => b"/sys/fs/cgroup",
        _ => return None,
    })
}
