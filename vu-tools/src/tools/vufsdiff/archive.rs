//! Changes as a layer of a container image: a tar archive in which `.wh.NAME` stands for a NAME that was deleted, and `.wh..wh..opq` for a directory that shows nothing of
//! those below (OCI Image Format Specification, layer.md). The format is that of pax(1).

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use vu_api::{FileType, Stat};
use vu_mod_vufs::Change;

const BLOCK: usize = 512;
/// Begins the names that stand for deleted ones.
const WHITEOUT: &[u8] = b".wh.";

/// Writes an archive.
///
/// # Errors
/// The first change that cannot be written, by its path in the union.
pub fn write<'a>(to: &mut impl Write, changes: &'a [Change]) -> Result<(), (&'a Path, io::Error)> {
    let mut links = Links::new();
    for change in changes {
        put(to, change, &mut links).map_err(|error| (&*change.path, error))?;
    }
    to.write_all(&[0; 2 * BLOCK]).map_err(|error| (Path::new("its end"), error))
}

/// The names in the archive of objects of several names, by device and inode number.
type Links = HashMap<(u64, u64), Vec<u8>>;

/// Writes the entry of a change.
fn put(to: &mut impl Write, change: &Change, links: &mut Links) -> io::Result<()> {
    let Some(object) = &change.object else { return whiteout(to, &change.path) };
    if change.path.file_name().is_some_and(|name| name.as_bytes().starts_with(WHITEOUT)) {
        return Err(io::Error::other("in a layer, a name that begins with .wh. tells that another was deleted"));
    }
    let name = change.path.as_os_str().as_bytes();
    let meta = object.symlink_metadata()?;
    let mut entry = Entry { name: name.to_vec(), stat: change.stat, target: Vec::new(), size: 0, kind: b'0' };
    let first = links.get(&(meta.dev(), meta.ino())).filter(|_| meta.nlink() > 1 && !meta.is_dir());
    match change.stat.file_type() {
        _ if first.is_some() => {
            entry.kind = b'1';
            entry.target = first.cloned().unwrap_or_default();
        }
        FileType::Regular => entry.size = meta.len(),
        FileType::Directory => {
            entry.kind = b'5';
            entry.name.push(b'/');
        }
        FileType::Symlink => {
            entry.kind = b'2';
            entry.target = fs::read_link(object)?.into_os_string().into_vec();
        }
        FileType::CharDevice => entry.kind = b'3',
        FileType::BlockDevice => entry.kind = b'4',
        FileType::Fifo => entry.kind = b'6',
        // An archive has none.
        FileType::Socket => return Ok(()),
    }
    entry.write(to, &change.xattrs)?;
    if entry.kind == b'0' {
        let mut file = File::open(object)?.take(entry.size);
        let copied = io::copy(&mut file, to)?;
        // It has become shorter meanwhile.
        io::copy(&mut io::repeat(0).take(entry.size - copied + padding(entry.size)), to)?;
    }
    links.entry((meta.dev(), meta.ino())).or_insert_with(|| name.to_vec());
    if change.opaque {
        empty(to, [name, b"/.wh..wh..opq"].concat())?;
    }
    Ok(())
}

fn whiteout(to: &mut impl Write, path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let name = [WHITEOUT, name.as_bytes()].concat();
    empty(to, parent.join(std::ffi::OsStr::from_bytes(&name)).into_os_string().into_vec())
}

fn empty(to: &mut impl Write, name: Vec<u8>) -> io::Result<()> {
    let stat = Stat { mode: 0o600, ..Stat::default() };
    Entry { name, stat, target: Vec::new(), size: 0, kind: b'0' }.write(to, &Default::default())
}

struct Entry {
    name: Vec<u8>,
    stat: Stat,
    target: Vec<u8>,
    size: u64,
    kind: u8,
}

impl Entry {
    /// Writes the header, behind one with what has no room in it.
    fn write(&self, to: &mut impl Write, xattrs: &std::collections::BTreeMap<Vec<u8>, Vec<u8>>) -> io::Result<()> {
        let mut more = Vec::new();
        if self.name.len() > 100 {
            record(&mut more, b"path", &self.name);
        }
        if self.target.len() > 100 {
            record(&mut more, b"linkpath", &self.target);
        }
        for (name, number, digits) in
            [("size", self.size, 11), ("uid", self.stat.uid.into(), 7), ("gid", self.stat.gid.into(), 7)]
        {
            if number >= 1 << (3 * digits) {
                record(&mut more, name.as_bytes(), number.to_string().as_bytes());
            }
        }
        if self.stat.mtime.nanos != 0 || self.stat.mtime.secs < 0 {
            let text = format!("{}.{:09}", self.stat.mtime.secs, self.stat.mtime.nanos);
            record(&mut more, b"mtime", text.as_bytes());
        }
        for (name, value) in xattrs {
            record(&mut more, &[b"SCHILY.xattr.", &name[..]].concat(), value);
        }
        if !more.is_empty() {
            let size = more.len() as u64;
            let stat = Stat { mode: 0o644, ..Stat::default() };
            let header = Entry { name: b"././@PaxHeader".to_vec(), stat, target: Vec::new(), size, kind: b'x' };
            to.write_all(&header.header())?;
            to.write_all(&more)?;
            io::copy(&mut io::repeat(0).take(padding(size)), to)?;
        }
        to.write_all(&self.header())
    }

    /// `struct posix_header` (tar(5)).
    fn header(&self) -> [u8; BLOCK] {
        let mut header = [0; BLOCK];
        let mut put = |at: usize, length: usize, bytes: &[u8]| {
            let length = bytes.len().min(length);
            header[at..at + length].copy_from_slice(&bytes[..length]);
        };
        // A number that has no room stands in the header before.
        let octal = |number: u64, digits: usize| {
            let fits = number < 1 << (3 * digits);
            format!("{:0digits$o}\0", if fits { number } else { 0 }).into_bytes()
        };
        put(0, 100, &self.name);
        put(100, 8, &octal(self.stat.permissions().into(), 7));
        put(108, 8, &octal(self.stat.uid.into(), 7));
        put(116, 8, &octal(self.stat.gid.into(), 7));
        put(124, 12, &octal(self.size, 11));
        put(136, 12, &octal(u64::try_from(self.stat.mtime.secs).unwrap_or(0), 11));
        put(148, 8, b"        ");
        put(156, 1, &[self.kind]);
        put(157, 100, &self.target);
        put(257, 8, b"ustar\x0000");
        if matches!(self.kind, b'3' | b'4') {
            put(329, 8, &octal(nix::sys::stat::major(self.stat.rdev), 7));
            put(337, 8, &octal(nix::sys::stat::minor(self.stat.rdev), 7));
        }
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        header
    }
}

/// How many bytes are missing to a whole block.
fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK as u64) - size
}

/// A record of an extended header: its own length, in decimal, the name, the value.
fn record(to: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let rest = name.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    to.extend_from_slice(format!("{length} ").as_bytes());
    to.extend_from_slice(name);
    to.push(b'=');
    to.extend_from_slice(value);
    to.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_themselves() {
        for length in 0..1200 {
            let mut text = Vec::new();
            record(&mut text, b"path", &vec![b'x'; length]);
            let told: usize = String::from_utf8(text.clone()).unwrap().split(' ').next().unwrap().parse().unwrap();
            assert_eq!(told, text.len());
        }
    }
}
