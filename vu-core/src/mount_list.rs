//! `/proc/PID/mounts`, `mountinfo` and `mountstats` as a view has them: the host's lines, then those of the view's mounts, in the order in which they were
//! made (proc_pid_mountinfo(5)).

use crate::{call::Call, proc_files::with_content, task::Task};
use std::{
    fmt::Write as _,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
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
    let mut text = below(&owner.fs().root.read(), kind, &host);
    text.extend_from_slice(lines(call, owner, kind, &host).as_bytes());
    with_content(&text).map(Some)
}

/// The host's lines as they are seen from a root: what lies outside of it is not shown (`show_mountinfo`, `fs/proc_namespace.c`).
fn below(root: &AbsPath, kind: Kind, host: &[u8]) -> Vec<u8> {
    if root.is_root() {
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
    let parent = host_root_id(host);
    let mut text = String::new();
    let mut rows = view.mount_rows();
    rows.reverse();
    for row in &rows {
        let [source, target, fs_type, options, epoch] = &row[..] else { continue };
        let Ok(point) = AbsPath::new(target) else { continue };
        // What lies outside of the root is not shown.
        let Some(shown) = point.rebase(&root, &AbsPath::root()) else { continue };
        let text_of = |bytes: &[u8]| String::from_utf8_lossy(&escape(bytes)).into_owned();
        let shown = text_of(shown.as_bytes());
        let source = if source.is_empty() { "none".to_owned() } else { text_of(source.as_bytes()) };
        // Writing to a String cannot fail.
        let _ = match kind {
            Kind::Mounts => writeln!(text, "{source} {shown} {fs_type} {options} 0 0"),
            Kind::MountStats => writeln!(text, "device {source} mounted on {shown} with fstype {fs_type}"),
            Kind::MountInfo => {
                let id = FIRST_ID + epoch.parse().unwrap_or(0);
                let dev = call.layer.stat(&point).map_or(0, |stat| stat.dev);
                let (major, minor) = (libc::major(dev), libc::minor(dev));
                writeln!(text, "{id} {parent} {major}:{minor} / {shown} {options} - {fs_type} {source} {options}")
            }
        };
    }
    text
}

/// The number of the mount at `/` in the host's `mountinfo`.
fn host_root_id(text: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(text);
    let root = text.lines().find(|line| line.split(' ').nth(4) == Some("/"));
    root.and_then(|line| line.split(' ').next()?.parse().ok()).unwrap_or(1)
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
        assert_eq!(host_root_id(b"22 27 0:21 / /proc rw - proc proc rw\n27 1 254:0 / / rw - ext4 /dev/vda rw\n"), 27);
    }

    #[test]
    fn what_a_root_shows_of_the_host_s() {
        let root = AbsPath::new("/a b").unwrap();
        let seen = |kind, text: &str| String::from_utf8(below(&root, kind, text.as_bytes())).unwrap();
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
        assert_eq!(below(&AbsPath::root(), Kind::Mounts, b"as it is\n"), b"as it is\n");
    }
}
