//! `/proc/PID/mounts`, `mountinfo` and `mountstats` as a view has them: the host's lines, then those of the view's mounts, in the order in which they were
//! made (proc_pid_mountinfo(5)).

use crate::{call::Call, layer::Layer, mount::Mount, proc_files::with_content, task::Task, view::View};
use std::{
    fmt::Write as _,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    sync::Arc,
};
use vu_api::{AbsPath, Errno, Filesystem};

/// One of the three files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Mounts,
    MountInfo,
    MountStats,
}

/// Where the numbers of the view's mounts begin; the kernel counts from 1.
const FIRST_ID: u64 = 1 << 30;

/// An open file with the list, for a file of this name of a task.
///
/// # Errors
/// Those of reading the host's file.
pub fn open(call: &Call<'_>, owner: &Task, path: &AbsPath, name: &[u8]) -> Result<Option<OwnedFd>, Errno> {
    let kind = match name {
        b"mounts" => Kind::Mounts,
        b"mountinfo" => Kind::MountInfo,
        b"mountstats" => Kind::MountStats,
        _ => return Ok(None),
    };
    let host = std::fs::read(std::ffi::OsStr::from_bytes(path.as_bytes()))?;
    let mut text = below(&owner.fs().root.read(), &hidden(&owner.view()), kind, &host);
    text.extend_from_slice(lines(call, owner, kind, &host).as_bytes());
    with_content(path, &text).map(Some)
}

/// Where the host has mounted something for mounts of a view, which are told in its place.
pub(crate) fn hidden(view: &View) -> Vec<AbsPath> {
    let table = view.table();
    let scratches = table.iter_newest_first().filter_map(|entry| entry.mount.scratch.as_ref());
    scratches.filter(|scratch| scratch.is_mount()).map(|scratch| scratch.content()).collect()
}

/// The host's lines as they are seen from a root: what lies outside of it is not shown (`show_mountinfo`, `fs/proc_namespace.c`), nor is what is `hidden`.
fn below(root: &AbsPath, hidden: &[AbsPath], kind: Kind, host: &[u8]) -> Vec<u8> {
    if root.is_root() && hidden.is_empty() {
        return host.to_vec();
    }
    let place = match kind {
        Kind::Mounts => 1,
        // `device DEVICE mounted on POINT …`, `no device mounted on POINT …`; further lines may follow that belong to it.
        Kind::MountInfo | Kind::MountStats => 4,
    };
    let mut text = Vec::new();
    let mut shown = false;
    for line in host.split_inclusive(|&b| b == b'\n') {
        if kind == Kind::MountStats && !line.starts_with(b"device ") && !line.starts_with(b"no device ") {
            text.extend_from_slice(if shown { line } else { b"" });
            continue;
        }
        let mut words: Vec<&[u8]> = line.split(|&b| b == b' ').collect();
        let point = words.get(place).and_then(|point| AbsPath::new(&unescape(point)[..]).ok());
        let point = point.filter(|point| !hidden.contains(point));
        let Some(seen) = point.and_then(|point| point.rebase(root, &AbsPath::root())) else {
            shown = false;
            continue;
        };
        shown = true;
        let seen = escape(seen.as_bytes());
        if let Some(word) = words.get_mut(place) {
            *word = &seen;
        }
        text.extend_from_slice(&words.join(&b' '));
    }
    text
}

fn lines(call: &Call<'_>, owner: &Task, kind: Kind, host: &[u8]) -> String {
    let view = owner.view();
    let root = owner.fs().root.read().clone();
    let hosts = if kind == Kind::MountInfo { HostMounts::new(host) } else { HostMounts::default() };
    let mut text = String::new();
    let table = view.table();
    let mut mounts: Vec<_> = table.iter_newest_first().map(|entry| &entry.mount).collect();
    mounts.reverse();
    for mount in mounts.into_iter().filter(|mount| !mount.detached) {
        // What lies outside of the root is not shown.
        let Some(shown) = mount.point.rebase(&root, &AbsPath::root()) else { continue };
        let text_of = |bytes: &[u8]| String::from_utf8_lossy(&escape(bytes)).into_owned();
        let shown = text_of(shown.as_bytes());
        let source = if mount.source.is_empty() { "none".to_owned() } else { text_of(&mount.source) };
        let (fs_type, options) = (&mount.fs_type, mount.options());
        // Writing to a String cannot fail.
        let _ = match kind {
            Kind::Mounts => writeln!(text, "{source} {shown} {fs_type} {options} 0 0"),
            Kind::MountStats => writeln!(text, "device {source} mounted on {shown} with fstype {fs_type}"),
            Kind::MountInfo => {
                let parent = parent(&view, mount, &hosts).id();
                let id = id(mount);
                let dev = call.layer.stat(&mount.point).map_or(0, |stat| stat.dev);
                let (major, minor) = (libc::major(dev), libc::minor(dev));
                writeln!(text, "{id} {parent} {major}:{minor} / {shown} {options} - {fs_type} {source} {options}")
            }
        };
    }
    text
}

/// The number of a mount of the view in `mountinfo`, and as statx(2) tells it for `STATX_MNT_ID`.
#[must_use]
pub fn id(mount: &Mount) -> u64 {
    FIRST_ID + mount.epoch.0
}

/// The mount in which the mount point of another lies.
pub(crate) enum Parent {
    OfView(Arc<Mount>),
    /// By its number in `mountinfo`.
    OfHost(u64),
}

impl Parent {
    fn id(&self) -> u64 {
        match self {
            Parent::OfView(mount) => id(mount),
            Parent::OfHost(id) => *id,
        }
    }
}

/// The parent of a mount of the view.
pub(crate) fn parent(view: &Arc<View>, mount: &Mount, hosts: &HostMounts) -> Parent {
    match Layer::below(view.clone(), mount.epoch, None).mount_for(&mount.point) {
        Some((parent, _)) => Parent::OfView(parent),
        None => Parent::OfHost(hosts.mount_of(&mount.point)),
    }
}

/// Whether a mount of the view lies in the mount of a number, or in one that does.
pub(crate) fn lies_below(view: &Arc<View>, mount: &Mount, top: u64, hosts: &HostMounts) -> bool {
    let mut above = parent(view, mount, hosts);
    // Each is older than the one before.
    while let Parent::OfView(mount) = &above {
        if id(mount) == top {
            return true;
        }
        above = parent(view, mount, hosts);
    }
    hosts.lies_in(above.id(), top)
}

/// The host's mounts: number, parent's number, and mount point of each.
#[derive(Debug, Default)]
pub(crate) struct HostMounts(Vec<(u64, u64, AbsPath)>);

impl HostMounts {
    /// Those that a task has.
    ///
    /// # Errors
    /// `ESRCH`.
    pub fn read(task: &Task) -> Result<HostMounts, Errno> {
        std::fs::read(format!("/proc/{}/mountinfo", task.tid))
            .map(|text| HostMounts::new(&text))
            .map_err(|_| Errno::ESRCH)
    }

    fn new(text: &[u8]) -> HostMounts {
        let mount = |line: &[u8]| {
            let words: Vec<&[u8]> = line.split(|&b| b == b' ').take(5).collect();
            let number = |at: usize| std::str::from_utf8(words.get(at)?).ok()?.parse().ok();
            Some((number(0)?, number(1)?, AbsPath::new(unescape(words.get(4)?)).ok()?))
        };
        HostMounts(text.split(|&b| b == b'\n').filter_map(mount).collect())
    }

    /// The number of the mount that a path lies in: of the deepest mount points, the last one.
    fn mount_of(&self, path: &AbsPath) -> u64 {
        let covering = self.0.iter().filter(|(.., point)| path.starts_with(point));
        covering.max_by_key(|(.., point)| point.depth()).map_or(1, |(id, ..)| *id)
    }

    /// Where the mount of a number is mounted.
    pub fn point(&self, number: u64) -> Option<AbsPath> {
        self.0.iter().find(|(id, ..)| *id == number).map(|(.., point)| point.clone())
    }

    /// Whether a mount is another, or lies in it.
    fn lies_in(&self, number: u64, top: u64) -> bool {
        let mut here = number;
        // A list that changed while it was read must not lead around in it.
        for _ in 0..=self.0.len() {
            if here == top {
                return true;
            }
            match self.0.iter().find(|(id, ..)| *id == here) {
                Some((_, parent, _)) => here = *parent,
                None => return false,
            }
        }
        false
    }
}

/// Blanks and backslashes as the kernel writes them (`mangle`, `fs/seq_file.c`).
fn escape(text: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len());
    for &byte in text {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => escaped.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
            _ => escaped.push(byte),
        }
    }
    escaped
}

/// The reverse.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match octal.filter(|_| first == b'\\') {
            Some(byte) => {
                plain.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                plain.push(first);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_are_escaped() {
        let (plain, escaped) = (b"a b\tc\\d#", b"a\\040b\\011c\\134d\\043");
        assert_eq!(escape(plain), escaped);
        assert_eq!(unescape(escaped), plain);
        assert_eq!(unescape(b"\\04\\999\\"), b"\\04\\999\\");
    }

    #[test]
    fn where_a_path_lies_on_the_host() {
        let text = b"22 27 0:21 / /proc rw - proc proc rw\n27 1 254:0 / / rw - ext4 /dev/vda rw\n30 22 0:9 / /proc/sys\\040x rw - x x rw\n31 27 0:9 / /proc rw - x x rw\n";
        let hosts = HostMounts::new(text);
        let lies = |path: &str| hosts.mount_of(&AbsPath::new(path).unwrap());
        assert_eq!((lies("/"), lies("/process"), lies("/proc/1"), lies("/proc/sys x/a")), (27, 27, 31, 30));
        assert!(hosts.lies_in(30, 27) && hosts.lies_in(30, 22) && hosts.lies_in(30, 30));
        assert!(!hosts.lies_in(27, 22) && !hosts.lies_in(31, 22) && !hosts.lies_in(5, 1));
        assert_eq!(hosts.point(30), AbsPath::new("/proc/sys x").ok());
    }

    #[test]
    fn what_a_root_shows_of_the_host_s() {
        let root = AbsPath::new("/a b").unwrap();
        let seen = |kind, text: &str| String::from_utf8(below(&root, &[], kind, text.as_bytes())).unwrap();
        assert_eq!(
            seen(Kind::Mounts, "x / ext4 rw 0 0\ny /a\\040b/c\\040d proc rw 0 0\nz /a\\040bc proc rw 0 0\n"),
            "y /c\\040d proc rw 0 0\n"
        );
        assert_eq!(
            seen(Kind::MountInfo, "1 0 8:1 / / rw - ext4 x rw\n2 1 8:2 / /a\\040b rw - ext4 y rw\n"),
            "2 1 8:2 / / rw - ext4 y rw\n"
        );
        let stats = "device x mounted on /a\\040b/n with fstype nfs\n\topts: rw\nno device mounted on /p with fstype proc\n\tage: 1\nno device mounted on /a\\040b/p with fstype proc\n";
        assert_eq!(
            seen(Kind::MountStats, stats),
            "device x mounted on /n with fstype nfs\n\topts: rw\nno device mounted on /p with fstype proc\n"
        );
        assert_eq!(below(&AbsPath::root(), &[], Kind::Mounts, b"as it is\n"), b"as it is\n");
        let hidden = [AbsPath::new("/s/content").unwrap()];
        let text = b"x / ext4 rw 0 0\ny /s/content ext2 rw 0 0\nz /s/content/in ext2 rw 0 0\n";
        assert_eq!(
            below(&AbsPath::root(), &hidden, Kind::Mounts, text),
            b"x / ext4 rw 0 0\nz /s/content/in ext2 rw 0 0\n"
        );
    }
}
