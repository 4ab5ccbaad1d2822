//! What virtual root mounts of the host's: file systems of the kernel (`mount -t proc`), and parts of the tree (`mount --bind`).
//!
//! Of an ordinary user the host takes neither. What stands in for it is a mount of the view: of the host's own such file system, or of the source. Scripts that
//! prepare a root file system for `chroot` then do what they do for root.

use super::mounts::PROPAGATION;
use crate::{call::Call, resolve::Place, sys};
use vu_api::{AbsPath, Caller, Errno, FileType, Filesystem, MountFlags, capability};

/// A mount of the view's in place of one of the host's.
pub(super) struct StandIn {
    /// What is mounted, as `bind`.
    pub source: AbsPath,
    pub target: AbsPath,
    pub flags: MountFlags,
}

/// The type of a mount that puts a part of the tree elsewhere.
pub(super) const FS_TYPE: &[u8] = b"vufs";

/// Those of `mount -o remount`, `--move` and `--make-…`: they are about mounts of the host's that are there already.
const OF_OTHERS: MountFlags = PROPAGATION.union(MountFlags::REMOUNT).union(MountFlags::MOVE);

/// What is mounted in place of what a caller asks the host for; `None` if the host decides. `object` finds out what a path means.
///
/// # Errors
/// As mount(2): `ENOENT`; `ENOTDIR` for a directory on something else, or the reverse (`graft_tree`, `fs/namespace.c`).
pub(super) fn stand_in(
    call: &Call<'_>,
    fs_type: &[u8],
    object: impl Fn(Vec<u8>) -> Result<Place, Errno>,
) -> Result<Option<StandIn>, Errno> {
    let flags = MountFlags::from_bits_retain(call.arg(3));
    if flags.intersects(OF_OTHERS) || !is_virtual_root(call) || call.view.claims(FS_TYPE).is_none() {
        return Ok(None);
    }
    let (source, kind, flags) = if flags.contains(MountFlags::BIND) {
        let source = object(call.read_path(0)?)?;
        let kind = source.file_type(call)?;
        // Whatever else is given counts at a later remount only (mount(2)).
        (source.name, kind, MountFlags::empty())
    } else {
        let Some(source) = place_of(fs_type).and_then(|place| AbsPath::new(place).ok()) else { return Ok(None) };
        // Where the host has none, it says what it thinks of that.
        let Ok(stat) = call.layer.stat(&source) else { return Ok(None) };
        (source, stat.file_type(), flags)
    };
    let target = object(call.read_path(1)?)?;
    let is_directory = |kind| kind == FileType::Directory;
    if is_directory(kind) != is_directory(target.file_type(call)?) {
        return Err(Errno::ENOTDIR);
    }
    Ok(Some(StandIn { source, target: target.name, flags }))
}

/// Whether the host refuses the caller, and in the view it is an administrator.
fn is_virtual_root(call: &Call<'_>) -> bool {
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
