//! statmount(2) and listmount(2): the mounts of the view with those of the host, under the numbers that `mountinfo` and statx(2) tell.
//!
//! What the kernel would refuse it refuses itself, and of its own mounts it tells itself where nothing but its tree is seen. What it would tell of mounts of another
//! namespace than the caller's is its own, too.

use crate::{
    call::{Call, Outcome},
    mount::Mount,
    mount_list::{self, HostMounts, Parent},
    sys::{self, Reach},
};
use std::sync::Arc;
use vu_api::{AbsPath, Caller, Errno, Filesystem, MountFlags, capability};
use vu_path::Epoch;
use vu_trace::Memory;

/// The unique numbers of the view's mounts begin here; the kernel counts from 2³¹ (`MNT_UNIQUE_ID_OFFSET`, `fs/namespace.c`).
const FIRST_ID: u64 = 1 << 62;
/// No mount has this unique number, or a smaller one.
const NO_ID: u64 = 1 << 31;
/// The root of the caller, for listmount.
const LSMT_ROOT: u64 = u64::MAX;
/// Later mounts first.
const LISTMOUNT_REVERSE: u32 = 1;
/// How many numbers are asked for at once.
const MOST_AT_ONCE: usize = 1 << 12;
/// More can not be asked for (`listmount`, `fs/namespace.c`).
const MOST: usize = 1_000_000;

/// The number of a mount of the view, as statx(2) tells it for `STATX_MNT_ID_UNIQUE`.
#[must_use]
pub fn unique_id(mount: &Mount) -> u64 {
    FIRST_ID + mount.epoch.0
}

/// `struct mnt_id_req` (`include/uapi/linux/mount.h`).
struct Request {
    bytes: Vec<u8>,
    id: u64,
    param: u64,
    /// The caller's mount namespace, if it is not the hypervisor's; 0 otherwise.
    namespace: u64,
}

impl Request {
    const ID: usize = 8;
    const PARAM: usize = 16;
    const NAMESPACE: usize = 24;
    const SHORTEST: usize = 24;
    const KNOWN: usize = 32;
    const LONGEST: usize = 4096;

    /// The request at argument 0; `None` if it is the kernel's to answer, or to refuse (`copy_mnt_id_req`).
    fn read(call: &Call<'_>) -> Option<Request> {
        if call.view.table().is_empty() && call.task.fs().root.read().is_root() {
            return None;
        }
        let size = usize::try_from(call.memory().read_u32(call.arg(0)).ok()?).ok()?;
        if !(Request::SHORTEST..=Request::LONGEST).contains(&size) {
            return None;
        }
        let mut bytes = vec![0; size];
        call.memory().read(call.arg(0), &mut bytes).ok()?;
        bytes.resize(size.max(Request::KNOWN), 0);
        let word = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
        let (id, param, namespace) = (word(Request::ID)?, word(Request::PARAM)?, word(Request::NAMESPACE)?);
        let spare = bytes.get(4..8)?.iter().chain(bytes.get(Request::KNOWN..)?).any(|&byte| byte != 0);
        let others = !call.task.shares_namespaces();
        let apart = if others { sys::mount_namespace(call.task.proc().ok()?).ok()? } else { 0 };
        let its_own = namespace == 0 || namespace == apart || !others && own_namespace() == Some(namespace);
        (!spare && id > NO_ID && its_own).then_some(Request { bytes, id, param, namespace: apart })
    }

    fn with(&self, id: u64, param: u64) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes[Request::ID..Request::ID + 8].copy_from_slice(&id.to_le_bytes());
        bytes[Request::PARAM..Request::PARAM + 8].copy_from_slice(&param.to_le_bytes());
        bytes[Request::NAMESPACE..Request::NAMESPACE + 8].copy_from_slice(&self.namespace.to_le_bytes());
        let size = u32::try_from(bytes.len()).unwrap_or(0);
        bytes[..4].copy_from_slice(&size.to_le_bytes());
        bytes
    }
}

/// A request about a mount of the host in a namespace, of which 0 is the hypervisor's.
fn request(namespace: u64, id: u64, param: u64) -> Vec<u8> {
    Request { bytes: vec![0; Request::KNOWN], id, param, namespace }.with(id, param)
}

/// What the host tells of a mount.
fn told(namespace: u64, id: u64, mask: u64) -> Option<Told> {
    let mut bytes = sys::statmount(&request(namespace, id, mask), 1 << 14).ok()?;
    bytes.resize(bytes.len().max(Told::SIZE), 0);
    Some(Told { fixed: bytes.get(..Told::SIZE)?.to_vec(), strings: bytes.get(Told::SIZE..)?.to_vec() })
}

/// The mount of the host's root.
fn host_root() -> Option<u64> {
    let stat = sys::statx(Reach::Path(b"/"), 0, libc::STATX_MNT_ID_UNIQUE).ok()?;
    (stat.stx_mask & libc::STATX_MNT_ID_UNIQUE != 0).then_some(stat.stx_mnt_id)
}

/// The number of the hypervisor's mount namespace.
fn own_namespace() -> Option<u64> {
    let told = told(0, host_root()?, STATMOUNT_MNT_NS_ID)?;
    (told.mask() & STATMOUNT_MNT_NS_ID != 0).then(|| told.long(Told::NAMESPACE))
}

const STATMOUNT_SB_BASIC: u64 = 0x1;
const STATMOUNT_MNT_BASIC: u64 = 0x2;
const STATMOUNT_PROPAGATE_FROM: u64 = 0x4;
const STATMOUNT_MNT_ROOT: u64 = 0x8;
const STATMOUNT_MNT_POINT: u64 = 0x10;
const STATMOUNT_FS_TYPE: u64 = 0x20;
const STATMOUNT_MNT_NS_ID: u64 = 0x40;
const STATMOUNT_MNT_OPTS: u64 = 0x80;
const STATMOUNT_FS_SUBTYPE: u64 = 0x100;
const STATMOUNT_SB_SOURCE: u64 = 0x200;
const STATMOUNT_OPT_ARRAY: u64 = 0x400;
const STATMOUNT_OPT_SEC_ARRAY: u64 = 0x800;
const STATMOUNT_SUPPORTED_MASK: u64 = 0x1000;
const STATMOUNT_MNT_UIDMAP: u64 = 0x2000;
const STATMOUNT_MNT_GIDMAP: u64 = 0x4000;
/// Those whose answers are strings (`STATMOUNT_STRING_REQ`).
const STRINGS: u64 = STATMOUNT_MNT_ROOT
    | STATMOUNT_MNT_POINT
    | STATMOUNT_FS_TYPE
    | STATMOUNT_MNT_OPTS
    | STATMOUNT_FS_SUBTYPE
    | STATMOUNT_SB_SOURCE
    | STATMOUNT_OPT_ARRAY
    | STATMOUNT_OPT_SEC_ARRAY
    | STATMOUNT_MNT_UIDMAP
    | STATMOUNT_MNT_GIDMAP;

/// `struct statmount` (`include/uapi/linux/mount.h`), and the strings behind it.
struct Told {
    fixed: Vec<u8>,
    strings: Vec<u8>,
}

impl Told {
    const SIZE: usize = 512;
    // Where the fields stand.
    const OPTIONS: usize = 4;
    const MASK: usize = 8;
    const DEVICE: usize = 16;
    const MAGIC: usize = 24;
    const SB_FLAGS: usize = 32;
    const FS_TYPE: usize = 36;
    const ID: usize = 40;
    const PARENT: usize = 48;
    const OLD_ID: usize = 56;
    const OLD_PARENT: usize = 60;
    const ATTRIBUTES: usize = 64;
    const PROPAGATION: usize = 72;
    const ROOT: usize = 104;
    const POINT: usize = 108;
    const NAMESPACE: usize = 112;
    const SOURCE: usize = 124;
    const OPTION_COUNT: usize = 128;
    const OPTION_ARRAY: usize = 132;
    const SUPPORTED: usize = 144;

    fn new() -> Told {
        Told { fixed: vec![0; Told::SIZE], strings: Vec::new() }
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(field) = self.fixed.get_mut(at..at + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    }

    fn put_int(&mut self, at: usize, value: u32) {
        self.put(at, &value.to_le_bytes());
    }

    fn put_long(&mut self, at: usize, value: u64) {
        self.put(at, &value.to_le_bytes());
    }

    fn int(&self, at: usize) -> u32 {
        self.fixed.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
    }

    fn long(&self, at: usize) -> u64 {
        self.fixed.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
    }

    fn mask(&self) -> u64 {
        self.long(Told::MASK)
    }

    fn has(&mut self, what: u64) {
        self.put_long(Told::MASK, self.mask() | what);
    }

    /// One string; an empty one is not told. An offset of 0 is that of an empty string, whatever is told (`statmount_string`, `fs/namespace.c`).
    fn string(&mut self, what: u64, field: usize, text: &[u8], size: usize) -> Result<(), Errno> {
        if self.strings.is_empty() {
            self.strings.push(0);
        }
        if text.is_empty() {
            return Ok(());
        }
        let start = u32::try_from(self.strings.len()).map_err(|_| Errno::EOVERFLOW)?;
        self.strings.extend_from_slice(text);
        if Told::SIZE + self.strings.len() >= size {
            return Err(Errno::EOVERFLOW);
        }
        self.strings.push(0);
        self.put_int(field, start);
        self.has(what);
        Ok(())
    }

    /// The string of a field.
    fn text(&self, field: usize) -> &[u8] {
        let start = usize::try_from(self.int(field)).unwrap_or(usize::MAX);
        self.strings.get(start..).and_then(|text| text.split(|&byte| byte == 0).next()).unwrap_or_default()
    }

    fn give(mut self, call: &Call<'_>, size: usize) -> Result<Outcome, Errno> {
        let fixed = size.min(Told::SIZE);
        self.put_int(0, u32::try_from(fixed + self.strings.len()).unwrap_or(u32::MAX));
        call.write(call.arg(1).wrapping_add(Told::SIZE as u64), &self.strings)?;
        call.write(call.arg(1), self.fixed.get(..fixed).unwrap_or_default())?;
        Ok(Outcome::Done(0))
    }
}

/// statmount(2).
pub fn statmount(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let (size, flags) = (call.size(2), call.uint(3));
    let Some(request) = Request::read(call).filter(|_| flags == 0) else { return Ok(Outcome::Host) };
    let root = call.task.fs().root.read().clone();
    if request.id < FIRST_ID || request.id == LSMT_ROOT {
        return if root.is_root() { Ok(Outcome::Host) } else { of_host(call, &request, &root, size) };
    }
    // Whatever else is wrong, the host says.
    sys::statmount(&self::request(0, host_root().ok_or(Errno::ENOSYS)?, 0), Told::SIZE)?;
    let namespace = request.namespace;
    if request.param & STRINGS != 0 && size == Told::SIZE {
        return Err(Errno::EOVERFLOW);
    }
    let mount = of_view(call, request.id).ok_or(Errno::ENOENT)?;
    let point = mount.point.rebase(&root, &AbsPath::root());
    if point.is_none() && !sees_all(call) {
        return Err(Errno::EPERM);
    }
    describe(call, namespace, &mount, point.as_ref(), request.param, size)?.give(call, size)
}

/// Who may be told of mounts that its root does not show.
fn sees_all(call: &Call<'_>) -> bool {
    call.task.credentials().is_ok_and(|who| who.has(capability::SYS_ADMIN))
}

/// The mount of the view with this unique number.
fn of_view(call: &Call<'_>, id: u64) -> Option<Arc<Mount>> {
    let epoch = Epoch(id.checked_sub(FIRST_ID)?);
    let table = call.view.table();
    let entry = table.iter_newest_first().find(|entry| entry.epoch == epoch)?;
    (!entry.mount.detached).then(|| entry.mount.clone())
}

/// A mount of the host, as it is seen from another root than the host's.
fn of_host(call: &Call<'_>, request: &Request, root: &AbsPath, size: usize) -> Result<Outcome, Errno> {
    // What is longer than any answer is not filled.
    let bytes = sys::statmount(&request.with(request.id, request.param), size.min(1 << 20))?;
    let point = told(request.namespace, request.id, STATMOUNT_MNT_POINT)
        .and_then(|told| AbsPath::new(told.text(Told::POINT)).ok());
    let seen = point.and_then(|point| point.rebase(root, &AbsPath::root()));
    if seen.is_none() && !sees_all(call) {
        return Err(Errno::EPERM);
    }
    if bytes.len() < Told::SIZE {
        call.write(call.arg(1), &bytes)?;
        return Ok(Outcome::Done(0));
    }
    let (fixed, strings) = bytes.split_at(Told::SIZE);
    let mut told = Told { fixed: fixed.to_vec(), strings: strings.to_vec() };
    if told.mask() & STATMOUNT_MNT_POINT != 0 {
        // The new name is no longer than the one before.
        let (start, length) = (usize::try_from(told.int(Told::POINT)).unwrap_or(0), told.text(Told::POINT).len());
        let mut name = seen.as_ref().map_or_else(Vec::new, |seen| seen.as_bytes().to_vec());
        name.resize(length, 0);
        if let Some(place) = told.strings.get_mut(start..start + length) {
            place.copy_from_slice(&name);
        }
        if seen.is_none() {
            told.put_int(Told::POINT, 0);
            told.put_long(Told::MASK, told.mask() & !STATMOUNT_MNT_POINT);
        }
    }
    told.give(call, size)
}

/// What is told of a mount of the view; what cannot be known is left out, as the kernel does.
fn describe(
    call: &Call<'_>,
    namespace: u64,
    mount: &Mount,
    point: Option<&AbsPath>,
    mask: u64,
    size: usize,
) -> Result<Told, Errno> {
    let mut told = Told::new();
    let asked = |what: u64| mask & what != 0;
    if asked(STATMOUNT_MNT_BASIC) {
        let hosts = HostMounts::read(&call.task)?;
        let parent = mount_list::parent(&call.view, mount, &hosts);
        let (unique, old) = match &parent {
            Parent::OfView(parent) => (unique_id(parent), mount_list::id(parent)),
            Parent::OfHost(old) => (unique_of_host(namespace, *old).unwrap_or(0), *old),
        };
        told.put_long(Told::ID, unique_id(mount));
        told.put_long(Told::PARENT, unique);
        told.put_int(Told::OLD_ID, u32::try_from(mount_list::id(mount)).unwrap_or(u32::MAX));
        told.put_int(Told::OLD_PARENT, u32::try_from(old).unwrap_or(u32::MAX));
        told.put_long(Told::ATTRIBUTES, attributes(mount.flags));
        told.put_long(Told::PROPAGATION, libc::MS_PRIVATE);
        told.has(STATMOUNT_MNT_BASIC);
    }
    if asked(STATMOUNT_SB_BASIC) {
        let device = call.layer.stat(&mount.point).map_or(0, |stat| stat.dev);
        told.put_int(Told::DEVICE, libc::major(device));
        told.put_int(Told::DEVICE + 4, libc::minor(device));
        let magic = call.layer.statfs(&mount.point).map_or(0, |stat| stat.fs_type);
        told.put_long(Told::MAGIC, magic.cast_unsigned());
        let kept = MountFlags::RDONLY | MountFlags::SYNCHRONOUS | MountFlags::LAZYTIME;
        told.put_int(Told::SB_FLAGS, u32::try_from((mount.flags & kept).bits()).unwrap_or(0));
        told.has(STATMOUNT_SB_BASIC);
    }
    if asked(STATMOUNT_PROPAGATE_FROM) {
        told.has(STATMOUNT_PROPAGATE_FROM);
    }
    let options = mount.own_options();
    let array: Vec<u8> = options.iter().map(|(_, plain)| plain.as_bytes()).collect::<Vec<_>>().join(&0);
    let quoted = options.iter().map(|(quoted, _)| quoted.as_str()).collect::<Vec<_>>().join(",");
    let point = point.map(|point| point.as_bytes().to_vec()).unwrap_or_default();
    let strings: [(u64, usize, &[u8]); 9] = [
        (STATMOUNT_FS_TYPE, Told::FS_TYPE, mount.fs_type.as_bytes()),
        (STATMOUNT_MNT_ROOT, Told::ROOT, b"/"),
        (STATMOUNT_MNT_POINT, Told::POINT, &point),
        (STATMOUNT_MNT_OPTS, Told::OPTIONS, quoted.as_bytes()),
        (STATMOUNT_OPT_ARRAY, Told::OPTION_ARRAY, &array),
        (STATMOUNT_SB_SOURCE, Told::SOURCE, &mount.source),
        // The view's mounts have none of these.
        (STATMOUNT_OPT_SEC_ARRAY, 0, b""),
        (STATMOUNT_FS_SUBTYPE, 0, b""),
        (STATMOUNT_MNT_UIDMAP | STATMOUNT_MNT_GIDMAP, 0, b""),
    ];
    for (what, field, text) in strings.into_iter().filter(|(what, ..)| asked(*what)) {
        told.string(what, field, text, size)?;
    }
    if told.mask() & STATMOUNT_OPT_ARRAY != 0 {
        told.put_int(Told::OPTION_COUNT, u32::try_from(options.len()).unwrap_or(u32::MAX));
    }
    if asked(STATMOUNT_MNT_NS_ID)
        && let Some(namespace) = if namespace == 0 { own_namespace() } else { Some(namespace) }
    {
        told.put_long(Told::NAMESPACE, namespace);
        told.has(STATMOUNT_MNT_NS_ID);
    }
    if asked(STATMOUNT_SUPPORTED_MASK)
        && let Some(host) = host_root().and_then(|root| self::told(0, root, STATMOUNT_SUPPORTED_MASK))
        && host.mask() & STATMOUNT_SUPPORTED_MASK != 0
    {
        told.put_long(Told::SUPPORTED, host.long(Told::SUPPORTED));
        told.has(STATMOUNT_SUPPORTED_MASK);
    }
    Ok(told)
}

/// `MOUNT_ATTR_*` (mount_setattr(2)).
fn attributes(flags: MountFlags) -> u64 {
    let attributes = [
        (MountFlags::RDONLY, 0x1),
        (MountFlags::NOSUID, 0x2),
        (MountFlags::NODEV, 0x4),
        (MountFlags::NOEXEC, 0x8),
        (MountFlags::NOATIME, 0x10),
        (MountFlags::STRICTATIME, 0x20),
        (MountFlags::NODIRATIME, 0x80),
    ];
    attributes.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, attribute)| attribute).sum()
}

/// All numbers of mounts of the host, in ascending order.
fn host_ids(namespace: u64) -> Result<Vec<u64>, Errno> {
    let mut ids: Vec<u64> = Vec::new();
    loop {
        let last = ids.last().copied().unwrap_or(0);
        let more = sys::listmount(&request(namespace, LSMT_ROOT, last), MOST_AT_ONCE, 0)?;
        if more.is_empty() || ids.len() > MOST {
            return Ok(ids);
        }
        ids.extend(more);
    }
}

/// The unique number of a mount of the host that `mountinfo` tells by this one.
fn unique_of_host(namespace: u64, old: u64) -> Option<u64> {
    let has = |id: &u64| {
        told(namespace, *id, STATMOUNT_MNT_BASIC).is_some_and(|told| u64::from(told.int(Told::OLD_ID)) == old)
    };
    host_ids(namespace).ok()?.into_iter().find(has)
}

/// listmount(2).
pub fn listmount(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let (room, flags) = (call.size(2), call.uint(3));
    let Some(request) = Request::read(call) else { return Ok(Outcome::Host) };
    if flags & !LISTMOUNT_REVERSE != 0 || room > MOST || request.param != 0 && request.param <= NO_ID {
        return Ok(Outcome::Host);
    }
    let root = call.task.fs().root.read().clone();
    let hosts = HostMounts::read(&call.task)?;
    let seen = |point: &AbsPath| point.starts_with(&root);
    // Below what the listed mounts must lie, by the old numbers; `None` is everything.
    let (of_host, top) = match request.id {
        LSMT_ROOT => (host_ids(request.namespace)?, None),
        id if id >= FIRST_ID => {
            let mount = of_view(call, id).ok_or(Errno::ENOENT)?;
            if !seen(&mount.point) && !sees_all(call) {
                return Err(Errno::EPERM);
            }
            (Vec::new(), Some(mount_list::id(&mount)))
        }
        id => {
            let old = told(request.namespace, id, STATMOUNT_MNT_BASIC).ok_or(Errno::ENOENT)?.int(Told::OLD_ID);
            if !hosts.point(old.into()).is_some_and(|point| seen(&point)) && !sees_all(call) {
                return Err(Errno::EPERM);
            }
            (sys::listmount(&request.with(id, 0), MOST_AT_ONCE, 0)?, Some(u64::from(old)))
        }
    };
    let shown = |id: &u64| {
        root.is_root()
            || told(request.namespace, *id, STATMOUNT_MNT_BASIC)
                .and_then(|told| hosts.point(told.int(Told::OLD_ID).into()))
                .is_some_and(|point| seen(&point))
    };
    let mut ids: Vec<u64> = of_host.into_iter().filter(shown).collect();
    let table = call.view.table();
    let mut mounts: Vec<Arc<Mount>> = table.iter_newest_first().map(|entry| entry.mount.clone()).collect();
    mounts.retain(|mount| {
        !mount.detached
            && seen(&mount.point)
            && top.is_none_or(|top| mount_list::lies_below(&call.view, mount, top, &hosts))
    });
    ids.extend(mounts.iter().rev().map(|mount| unique_id(mount)));
    ids.sort_unstable();
    let after = request.param;
    if flags & LISTMOUNT_REVERSE != 0 {
        ids.retain(|&id| after == 0 || id < after);
        ids.reverse();
    } else {
        ids.retain(|&id| id > after);
    }
    ids.truncate(room);
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    call.write(call.arg(1), &bytes)?;
    Ok(Outcome::Done(i64::try_from(ids.len()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_stand_behind_one_another() {
        let mut told = Told::new();
        told.string(STATMOUNT_FS_TYPE, Told::FS_TYPE, b"vufs", 600).unwrap();
        told.string(STATMOUNT_MNT_OPTS, Told::OPTIONS, b"", 600).unwrap();
        told.string(STATMOUNT_MNT_POINT, Told::POINT, b"/mnt", 600).unwrap();
        assert_eq!(told.strings, b"\0vufs\0/mnt\0");
        assert_eq!(
            (told.text(Told::FS_TYPE), told.text(Told::POINT), told.text(Told::OPTIONS)),
            (&b"vufs"[..], &b"/mnt"[..], &b""[..])
        );
        assert_eq!(told.mask(), STATMOUNT_FS_TYPE | STATMOUNT_MNT_POINT);
        // With its end, it has to be as long as the room at most.
        let length = Told::SIZE + b"\0vufs\0".len();
        assert_eq!(Told::new().string(STATMOUNT_FS_TYPE, Told::FS_TYPE, b"vufs", length), Ok(()));
        assert_eq!(Told::new().string(STATMOUNT_FS_TYPE, Told::FS_TYPE, b"vufs", length - 1), Err(Errno::EOVERFLOW));
    }
}
