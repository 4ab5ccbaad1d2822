//! What is kept of an object that the host does not store: a text in `.-`, `NAME=VALUE` a line.
//!
//! A record belongs to one object: that of A with the inode number of the line `object`, or, without such a line, whatever is there. So it can be
//! written before the step that gives the object its name, and a record that was left behind means nothing. A file holds several records while a
//! name passes from one object to another; an empty line stands between them.

use std::{collections::BTreeMap, fmt::Write};
use vu_api::{FileType, NAME_MAX, Stat};

/// The longest text that is read: extended attributes are the longest part of it.
pub(crate) const LONGEST: u64 = 1 << 20;
/// Ends the name of a file of records.
const SUFFIX: u8 = 0x7f;
/// Begins the name of such a file where the object's name leaves no room for the ending.
const LONG: &str = "\x7flong.";

/// What the file of records of an object of this name is called, in the directory of marks. The mount's root has no name.
pub(crate) fn file_name(name: &[u8]) -> Vec<u8> {
    let head = if name.len() == NAME_MAX { format!("{LONG}{:016x}", hash(name)).into_bytes() } else { name.to_vec() };
    [&head[..], &[SUFFIX]].concat()
}

/// Begins the name by which an object is held that had several names in B.
pub(crate) const LINKED: &str = "\x7flink.";

/// The name by which an object is held that had several in B, where it had this device and inode number.
pub(crate) fn link_name(dev: u64, ino: u64) -> String {
    format!("{LINKED}{}.{}.{ino}", nix::sys::stat::major(dev), nix::sys::stat::minor(dev))
}

/// FNV-1a (draft-eastlake-fnv).
fn hash(name: &[u8]) -> u64 {
    let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    name.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// What is kept of one object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Record {
    /// The type of a special file, for which an empty regular file stands.
    pub kind: Option<FileType>,
    /// Permission bits, with set-id and sticky bits.
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    /// The device of a special file, as `makedev` encodes it.
    pub rdev: Option<u64>,
    /// The device and inode number of B's object of which it is a copy.
    pub dev: Option<u64>,
    pub ino: Option<u64>,
    /// The inode number of A's object that it belongs to.
    pub object: Option<u64>,
    /// How many names an object has that had several in B.
    pub links: Option<u64>,
    /// Whether B's entries are no part of this directory.
    pub opaque: bool,
    /// Extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Lines of others.
    pub others: Vec<String>,
}

impl Record {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        *self == Record { object: self.object, ..Record::default() }
    }

    /// Whether it says what other readers of the format understand, too: these look for it in a file.
    pub fn is_for_others(&self) -> bool {
        self.kind.is_some() || self.mode.is_some() || self.uid.is_some() || self.gid.is_some() || self.rdev.is_some()
    }

    /// Whether it is of A's object with this inode number, or of what B has.
    pub fn belongs_to(&self, object: Option<u64>) -> bool {
        self.object.is_none() || self.object == object
    }

    /// The attributes as they are to be seen.
    pub fn apply(&self, stat: &mut Stat) {
        if let Some(kind) = self.kind {
            stat.mode = stat.mode & 0o7777 | kind.mode_bits();
            (stat.size, stat.blocks) = (0, 0);
        }
        if let Some(mode) = self.mode {
            stat.mode = stat.mode & !0o7777 | mode & 0o7777;
        }
        stat.uid = self.uid.unwrap_or(stat.uid);
        stat.gid = self.gid.unwrap_or(stat.gid);
        stat.rdev = self.rdev.unwrap_or(stat.rdev);
        if let (Some(dev), Some(ino)) = (self.dev, self.ino) {
            (stat.dev, stat.ino) = (dev, ino);
        }
    }
}

/// Reads records. Lines that are not understood are kept as they are.
pub(crate) fn parse(text: &[u8]) -> Vec<Record> {
    let text = String::from_utf8_lossy(text);
    let mut records = vec![Record::default()];
    for line in text.split('\n') {
        if line.is_empty() {
            records.push(Record::default());
        } else if let Some(record) = records.last_mut()
            && read_line(record, line).is_none()
        {
            record.others.push(line.to_owned());
        }
    }
    records.retain(|record| *record != Record::default());
    records
}

fn read_line(record: &mut Record, line: &str) -> Option<()> {
    let (name, value) = line.split_once('=')?;
    match name {
        "type" => record.kind = Some(kind_of(value)?),
        "mode" => record.mode = Some(u32::from_str_radix(value, 8).ok()? & 0o7777),
        "uid" => record.uid = Some(value.parse().ok()?),
        "gid" => record.gid = Some(value.parse().ok()?),
        "rdev" => record.rdev = Some(device(value)?),
        "dev" => record.dev = Some(device(value)?),
        "ino" => record.ino = Some(value.parse().ok()?),
        "object" => record.object = Some(value.parse().ok()?),
        "links" => record.links = Some(value.parse().ok()?),
        "opaque" => record.opaque = value == "1",
        name => {
            let name = match name.strip_prefix("xattr64.") {
                Some(name) => decode(name)?,
                None => name.strip_prefix("xattr.")?.as_bytes().to_vec(),
            };
            record.xattrs.insert(name, decode(value)?);
        }
    }
    Some(())
}

const KINDS: [(&str, FileType); 4] =
    [("s", FileType::Socket), ("f", FileType::Fifo), ("c", FileType::CharDevice), ("b", FileType::BlockDevice)];

fn kind_of(letter: &str) -> Option<FileType> {
    KINDS.iter().find(|(known, _)| *known == letter).map(|(_, kind)| *kind)
}

/// `MAJOR,MINOR`
fn device(value: &str) -> Option<u64> {
    let (major, minor) = value.split_once(',')?;
    Some(nix::sys::stat::makedev(major.parse().ok()?, minor.parse().ok()?))
}

fn device_text(device: u64) -> String {
    format!("{},{}", nix::sys::stat::major(device), nix::sys::stat::minor(device))
}

/// Writes records.
pub(crate) fn format(records: &[Record]) -> String {
    let texts: Vec<String> = records.iter().map(format_one).collect();
    texts.join("\n")
}

fn format_one(record: &Record) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            // A string takes everything.
            let _ = writeln!(text, "{name}={value}");
        }
    };
    let letter = |kind| KINDS.iter().find(|(_, known)| *known == kind).map(|(letter, _)| (*letter).to_owned());
    line("type", record.kind.and_then(letter));
    line("mode", record.mode.map(|mode| format!("0{mode:03o}")));
    line("uid", record.uid.map(|id| id.to_string()));
    line("gid", record.gid.map(|id| id.to_string()));
    line("rdev", record.rdev.map(device_text));
    line("dev", record.dev.map(device_text));
    line("ino", record.ino.map(|number| number.to_string()));
    line("object", record.object.map(|number| number.to_string()));
    line("links", record.links.map(|number| number.to_string()));
    line("opaque", record.opaque.then(|| "1".to_owned()));
    for (name, value) in &record.xattrs {
        let name = match str::from_utf8(name) {
            Ok(plain) if plain.bytes().all(|b| b.is_ascii_graphic() && b != b'=') => format!("xattr.{plain}"),
            _ => format!("xattr64.{}", encode(name).trim_end_matches('=')),
        };
        line(&name, Some(encode(value)));
    }
    for other in &record.others {
        text.push_str(other);
        text.push('\n');
    }
    text
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 (RFC 4648).
fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let [a, b, c] = [0, 1, 2].map(|i| u32::from(chunk.get(i).copied().unwrap_or(0)));
        let group = a << 16 | b << 8 | c;
        for (i, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = DIGITS[usize::try_from(group >> shift & 63).unwrap_or(0)];
            text.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for chunk in digits.chunks(4) {
        let mut group = 0u32;
        for &digit in chunk {
            let value = DIGITS.iter().position(|&known| known == digit)?;
            group = group << 6 | u32::try_from(value).ok()?;
        }
        group <<= 6 * (4 - chunk.len());
        let [_, a, b, c] = group.to_be_bytes();
        bytes.extend_from_slice(&[a, b, c][..chunk.len() - 1]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_text_is_for_people() {
        let record = Record {
            kind: Some(FileType::CharDevice),
            mode: Some(0o644),
            uid: Some(0),
            rdev: Some(nix::sys::stat::makedev(1, 3)),
            xattrs: [(b"security.x".to_vec(), b"value".to_vec())].into(),
            ..Record::default()
        };
        let text = "type=c\nmode=0644\nuid=0\nrdev=1,3\nxattr.security.x=dmFsdWU=\n";
        assert_eq!(format(std::slice::from_ref(&record)), text);
        assert_eq!(parse(text.as_bytes()), [record]);
    }

    #[test]
    fn names_that_have_no_room_in_a_line() {
        for name in [&b"user.a=b"[..], b"user.new\nline", b"user.\xff\xfe", b"user.", b"user.sp ace", b"user.\xc3\xa4"]
        {
            let record = Record { xattrs: [(name.to_vec(), b"value".to_vec())].into(), ..Record::default() };
            let text = format(std::slice::from_ref(&record));
            assert!(text.starts_with("xattr64.") == (name != b"user."), "{text}");
            assert_eq!(parse(text.as_bytes()), [record]);
        }
    }

    #[test]
    fn what_others_write_is_read_and_kept() {
        let text = "type=b\nmode=0600\nuid=1\ngid=2\nrdev=8,1\nctime=5\nnot a line\nmode=x\n";
        let records = parse(text.as_bytes());
        assert_eq!((records[0].uid, records[0].mode), (Some(1), Some(0o600)));
        assert_eq!(records[0].others, ["ctime=5", "not a line", "mode=x"]);
        assert_eq!(parse(format(&records).as_bytes()), records);
    }

    proptest! {
        #[test]
        fn nothing_that_is_read_harms(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let records = parse(&text);
            prop_assert_eq!(parse(format(&records).as_bytes()), records);
        }

        #[test]
        fn numbers_survive(uid: u32, ino: u64, mode in 0..0o10000u32, value: Vec<u8>, opaque: bool) {
            let xattrs = [(b"user.a=b".to_vec(), value.clone()), (b"user.c".to_vec(), value)];
            let xattrs = xattrs.into_iter().skip(1).collect();
            let one = Record { uid: Some(uid), mode: Some(mode), opaque, xattrs, ..Record::default() };
            let two = Record { ino: Some(ino), object: Some(ino), ..Record::default() };
            prop_assert_eq!(parse(format(&[one.clone(), two.clone()]).as_bytes()), [one, two]);
        }
    }
}
