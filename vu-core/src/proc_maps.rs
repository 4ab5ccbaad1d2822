//! `/proc/PID/maps`, `smaps` and `numa_maps` as a view has them: with its names of the files (proc_pid_maps(5), proc_pid_smaps(5), proc_pid_numa_maps(5)).

use crate::{
    call::Call,
    mapped::{MappedFile, Names, Shown},
    proc_files::Content,
    sys,
    task::{Object, Task},
};
use ahash::AHashMap;
use std::{
    cell::Cell,
    ffi::OsStr,
    fs::File,
    io::{BufRead, BufReader},
    ops::Range,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
};
use vu_api::{AbsPath, Caller, Errno, capability};

/// How the files tell of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `RANGE PERMISSIONS OFFSET DEVICE INODE NAME`.
    Maps,
    /// The same, and lines with attributes follow each.
    Smaps,
    /// `ADDRESS POLICY file=NAME …`
    NumaMaps,
}

/// What is longer is left as the kernel tells it: a process may have 65530 mappings, with names of 4095 bytes, and everybody who opens the file gets one of his own.
const MOST: usize = 64 << 20;
/// In more mappings scratch memory is not looked for.
const MOST_LOOKS: usize = 1024;
/// More different files of one process are not remembered while its text is read.
const MOST_NAMES: usize = 4096;

/// An open file with the mappings of a task, for a file of this name of it; `None` if the kernel tells the same.
///
/// # Errors
/// Those of making a file.
pub fn open(call: &Call<'_>, owner: &Task, path: &AbsPath, name: &[u8]) -> Result<Option<OwnedFd>, Errno> {
    let kind = match name {
        b"maps" => Kind::Maps,
        b"smaps" => Kind::Smaps,
        _ => Kind::NumaMaps,
    };
    if !sees_the_same(call, owner) {
        return Ok(None);
    }
    // What cannot be looked at is the kernel's to refuse, or to tell the process itself (`PR_SET_DUMPABLE`).
    let Ok(host) = File::open(OsStr::from_bytes(path.as_bytes())) else { return Ok(None) };
    let names = Names::new(call, owner);
    let mut known: AHashMap<MappedFile, Shown> = AHashMap::new();
    let shown = |file: MappedFile| {
        if let Some(shown) = known.get(&file) {
            return shown.clone();
        }
        let shown = names.shown(&file);
        if known.len() < MOST_NAMES {
            known.insert(file, shown.clone());
        }
        shown
    };
    // Each costs a look or two at the process's memory.
    let looks = Cell::new(0);
    let scratch = |range| {
        looks.set(looks.get() + 1);
        if looks.get() > MOST_LOOKS { None } else { call.core.scratch_in(owner, range) }
    };
    let content = Content::of(path);
    translated(BufReader::with_capacity(1 << 16, host), kind, content, shown, scratch)?.map(Content::finish).transpose()
}

/// The text with other names, and without scratch memory; `None` if it is the same one, or cannot be told.
fn translated(
    mut host: impl BufRead,
    kind: Kind,
    mut content: Content,
    mut shown: impl FnMut(MappedFile) -> Shown,
    scratch: impl Fn(Range<u64>) -> Option<Range<u64>>,
) -> Result<Option<Content>, Errno> {
    let (mut differs, mut hidden) = (false, false);
    let mut line = Vec::new();
    loop {
        line.clear();
        // A process that ends meanwhile, or executes another program.
        let Ok(length) = host.read_until(b'\n', &mut line) else { return Ok(None) };
        if length == 0 {
            break;
        }
        let other = if let Some(range) = anonymous(kind, &line) {
            let left = without_scratch(range.clone(), &scratch, kind);
            let lines = left.iter().flat_map(|left| with_range(&line, left)).collect();
            hidden = left.is_empty();
            (left != [range]).then_some(lines)
        } else {
            hidden &= !is_mapping(&line);
            if hidden {
                Some(Vec::new())
            } else {
                let other = mapping(kind, &line).and_then(|mapping| mapping.with(&line, &mut shown));
                hidden = other.as_ref().is_some_and(Vec::is_empty);
                other
            }
        };
        differs |= other.is_some();
        content.add(other.as_deref().unwrap_or(&line))?;
        if content.len() > MOST {
            return Ok(None);
        }
    }
    Ok(differs.then_some(content))
}

/// Whether a line tells of a mapping, and not of an attribute of one: those begin with capital letters.
fn is_mapping(line: &[u8]) -> bool {
    line.first().is_some_and(|&b| b.is_ascii_digit() || b.is_ascii_lowercase())
}

/// The range of a private mapping of nothing, readable and writable, as the hypervisor's are.
fn anonymous(kind: Kind, line: &[u8]) -> Option<Range<u64>> {
    let text = std::str::from_utf8(line).ok().filter(|_| kind != Kind::NumaMaps)?;
    let mut words = text.split_whitespace();
    let (first, last) = words.next()?.split_once('-')?;
    if !words.eq(["rw-p", "00000000", "00:00", "0"]) {
        return None;
    }
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    Some(number(first)?..number(last)?)
}

/// What is left of a range. Of what is told with attributes, all of it or nothing: they are those of the whole.
fn without_scratch(
    range: Range<u64>,
    scratch: impl Fn(Range<u64>) -> Option<Range<u64>>,
    kind: Kind,
) -> Vec<Range<u64>> {
    let mut left = range.clone();
    while !left.is_empty()
        && let Some(area) = scratch(left.clone())
    {
        left = if area.start == left.start { area.end..left.end } else { left.start..area.start };
    }
    match left {
        left if left.is_empty() => Vec::new(),
        _ if kind == Kind::Smaps => vec![range],
        left => vec![left],
    }
}

/// The line with another range.
fn with_range(line: &[u8], range: &Range<u64>) -> Vec<u8> {
    let rest = line.iter().position(|&b| b == b' ').map_or(&b"\n"[..], |at| &line[at..]);
    // As the kernel writes it (`show_vma_header_prefix`, `fs/proc/task_mmu.c`).
    [format!("{:08x}-{:08x}", range.start, range.end).as_bytes(), rest].concat()
}

/// Whether the hypervisor reads of a task what the caller would: with the same rights (`__ptrace_may_access`, `kernel/ptrace.c`), and with the same names.
fn sees_the_same(call: &Call<'_>, owner: &Task) -> bool {
    let caller = &call.task;
    if !caller.shares_namespaces() || !owner.shares_namespaces() {
        return false;
    }
    if caller.process.id == owner.process.id {
        return true;
    }
    // An unprivileged hypervisor's processes are what it is, as long as they are not restricted further.
    if sys::effective_uid() != 0 {
        return caller.same_credentials();
    }
    let Ok(who) = caller.host_credentials() else { return false };
    if who.has(capability::SYS_PTRACE) {
        return caller.same_credentials();
    }
    let Ok(status) = owner.status() else { return false };
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let all = |name: &str, id: u32| {
        field(name).is_some_and(|ids| ids.split_whitespace().take(3).all(|text| text.parse() == Ok(id)))
    };
    let permitted = field("CapPrm").and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    // The directory of a process that may not be looked at is root's (`task_dump_owner`, `fs/proc/base.c`).
    let dumpable = owner.proc().and_then(|proc| sys::fstat(proc.as_fd())).is_ok_and(|stat| stat.st_uid == who.uid);
    all("Uid", who.uid) && all("Gid", who.gid) && permitted.is_some_and(|set| set & !who.capabilities == 0) && dumpable
}

/// Device and inode number of what is mapped at a range, as it is named in `/proc/PID/map_files`.
pub(crate) fn object_of(owner: &Task, range: &str) -> Option<Object> {
    let (first, last) = range.split_once('-')?;
    // Here the numbers have no leading zeros (`proc_map_files_lookup`, `fs/proc/base.c`).
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    let wanted = (number(first)?, number(last)?);
    let mut host = BufReader::new(File::open(format!("/proc/{}/maps", owner.tid)).ok()?);
    let mut line = Vec::new();
    while host.read_until(b'\n', &mut line).ok()? != 0 {
        let text = String::from_utf8_lossy(line.split(|&b| b == b' ').next()?).into_owned();
        let (first, last) = text.split_once('-')?;
        if (number(first)?, number(last)?) == wanted {
            return mapping(Kind::Maps, &line)?.file.object;
        }
        line.clear();
    }
    None
}

/// A line that tells of a mapped file.
#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    kind: Kind,
    /// From where in the file on it is mapped, if that is told.
    offset: u64,
    /// Where device and inode number stand, if they do.
    numbers: Range<usize>,
    /// Where the name stands.
    name: Range<usize>,
    file: MappedFile,
}

/// Of the beginning of a line of `/proc/PID/maps`: where the mapping begins, from where in the file, and of which (proc_pid_maps(5)).
pub(crate) fn numbers(line: &str) -> Option<(u64, u64, Object)> {
    let mut fields = line.split_ascii_whitespace();
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let start = hex(fields.next()?.split_once('-')?.0)?;
    let offset = hex(fields.nth(1)?)?;
    let (major, minor) = fields.next()?.split_once(':')?;
    let device = libc::makedev(u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
    Some((start, offset, (device, fields.next()?.parse().ok()?)))
}

/// The file that a line tells of; `None` if of none.
fn mapping(kind: Kind, line: &[u8]) -> Option<Mapping> {
    match kind {
        Kind::Maps | Kind::Smaps => {
            if !is_mapping(line) {
                return None;
            }
            let blanks: Vec<usize> = (0..line.len()).filter(|&at| line[at] == b' ').take(5).collect();
            let [_, _, before_device, _, after_inode] = blanks[..] else { return None };
            let name = after_inode + line[after_inode..].iter().position(|&b| b != b' ')?;
            let end = line.len() - usize::from(line.ends_with(b"\n"));
            if line.get(name) != Some(&b'/') {
                return None;
            }
            let (_, offset, object) = numbers(std::str::from_utf8(&line[..after_inode]).ok()?)?;
            let file = MappedFile { object: Some(object), text: unescaped(kind, &line[name..end]) };
            Some(Mapping { kind, offset, numbers: before_device + 1..after_inode, name: name..end, file })
        }
        Kind::NumaMaps => {
            let word = b" file=";
            let name = line.windows(word.len()).position(|bytes| bytes == word)? + word.len();
            let length = line[name..].iter().position(|&b| matches!(b, b' ' | b'\n'))?;
            let file = MappedFile { object: None, text: unescaped(kind, &line[name..name + length]) };
            Some(Mapping { kind, offset: 0, numbers: 0..0, name: name..name + length, file })
        }
    }
}

impl Mapping {
    /// The column in which names begin, if what stands before is not longer (`show_map_vma`, `fs/proc/task_mmu.c`).
    const NAME_COLUMN: usize = 73;

    /// The line with what is shown in the file's place, which may be nothing; `None` if it is the same.
    fn with(self, line: &[u8], shown: impl FnOnce(MappedFile) -> Shown) -> Option<Vec<u8>> {
        let Mapping { kind, offset, numbers, name, file } = self;
        let shown = shown(file.clone());
        if offset >= shown.end {
            return Some(Vec::new());
        }
        if shown.text == file.text && shown.object == file.object {
            return None;
        }
        let mut other = line[..name.start].to_vec();
        if shown.object != file.object
            && let Some((device, inode)) = shown.object
        {
            other.truncate(numbers.start);
            let (major, minor) = (libc::major(device), libc::minor(device));
            other.extend_from_slice(format!("{major:02x}:{minor:02x} {inode}").as_bytes());
            other.push(b' ');
            other.resize(other.len().max(Mapping::NAME_COLUMN), b' ');
        }
        other.extend_from_slice(&escaped(kind, &shown.text));
        other.extend_from_slice(&line[name.end..]);
        Some(other)
    }
}

impl Kind {
    /// The bytes that are not written in names as they are (`seq_path`, `fs/seq_file.c`). A backslash is none of them.
    fn special(self) -> &'static [u8] {
        match self {
            Kind::Maps | Kind::Smaps => b"\n",
            Kind::NumaMaps => b"\n\t= ",
        }
    }
}

/// A name as the kernel writes it.
fn escaped(kind: Kind, name: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(name.len());
    for &byte in name {
        if kind.special().contains(&byte) {
            text.extend_from_slice(format!("\\{byte:03o}").as_bytes());
        } else {
            text.push(byte);
        }
    }
    text
}

/// The reverse. Whether a name has a newline in it or these four characters, cannot be told.
fn unescaped(kind: Kind, text: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let byte = after.get(..3).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        if first == b'\\'
            && let Some(byte) = byte.filter(|byte| kind.special().contains(byte))
        {
            name.push(byte);
            rest = after.get(3..).unwrap_or_default();
        } else {
            name.push(first);
            rest = after;
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Cursor, Read};

    const MAPS: &str = "\
55d0-55d2 r--p 00000000 fe:00 247282                                     /s/cat
55d2-55d8 r-xp 00002000 fe:00 247282                                     /s/cat
7f00-7f10 rw-p 00000000 00:00 0 
7f10-7f20 rw-s 00000000 00:01 1036                                       /memfd:x (deleted)
7f20-7f30 rw-p 00000000 103:02 18446744073709551615 /s/a\\012b\\101 c (deleted)
7ffd-7ffe rw-p 00000000 00:00 0                                          [stack]
";

    /// What begins, or ends, with `5c` is the hypervisor's, for a page.
    fn scratch(range: Range<u64>) -> Option<Range<u64>> {
        match (range.start >> 4, range.end >> 4) {
            (0x5c, _) => Some(range.start..range.start + 0x10),
            (_, 0x5c) => Some(range.end - 0x10..range.end),
            _ => None,
        }
    }

    /// What lies in `/s` is in `/view`, and the file 247282 another one there.
    fn told(kind: Kind, text: &str) -> Option<String> {
        let shown = |file: MappedFile| Shown {
            object: file.object.map(|object| if object.1 == 247_282 { (libc::makedev(0, 0x2a), 7) } else { object }),
            text: file.text.strip_prefix(b"/s/").map_or(file.text.clone(), |rest| [b"/view/", rest].concat()),
            end: if file.text == b"/memfd:copy (deleted)" { 0x2000 } else { u64::MAX },
        };
        let content = translated(Cursor::new(text), kind, Content::of(&AbsPath::root()), shown, scratch).unwrap()?;
        let mut told = String::new();
        File::from(content.finish().unwrap()).read_to_string(&mut told).unwrap();
        Some(told)
    }

    #[test]
    fn names_and_numbers_of_the_view() {
        let expected = "\
55d0-55d2 r--p 00000000 00:2a 7                                          /view/cat
55d2-55d8 r-xp 00002000 00:2a 7                                          /view/cat
7f00-7f10 rw-p 00000000 00:00 0 
7f10-7f20 rw-s 00000000 00:01 1036                                       /memfd:x (deleted)
7f20-7f30 rw-p 00000000 103:02 18446744073709551615 /view/a\\012b\\101 c (deleted)
7ffd-7ffe rw-p 00000000 00:00 0                                          [stack]
";
        assert_eq!(told(Kind::Maps, MAPS).unwrap(), expected);
        assert_eq!(told(Kind::Maps, "7f00-7f10 rw-p 00000000 00:00 0 \n"), None, "nothing to change");
        let smaps = "55d0-55d2 r--p 00000000 fe:00 1                                          /s/cat\nSize: 8 kB\nVmFlags: rd mr\n";
        assert_eq!(told(Kind::Maps, smaps).unwrap(), smaps.replace("/s/", "/view/"));
        assert_eq!(
            told(Kind::NumaMaps, "55d0 default file=/s/a\\040b\\075 mapped=1 N0=1\n55d1 default anon=1 N0=1\n")
                .unwrap(),
            "55d0 default file=/view/a\\040b\\075 mapped=1 N0=1\n55d1 default anon=1 N0=1\n"
        );
    }

    #[test]
    fn scratch_memory_is_not_told() {
        let line = |range: &str| format!("{range} rw-p 00000000 00:00 0 \n");
        let maps = |range: &str| told(Kind::Maps, &line(range));
        assert_eq!(maps("00000100-00000200"), None);
        assert_eq!(maps("000005c0-000005d0").as_deref(), Some(""));
        assert_eq!(maps("000005c0-000005f0"), Some(line("000005d0-000005f0")));
        assert_eq!(maps("00000500-000005c0"), Some(line("00000500-000005b0")));
        assert_eq!(
            told(Kind::Maps, "000005c0-000005d0 r--p 00000000 00:00 0 \n"),
            None,
            "not as the hypervisor maps it"
        );
        let with = |range: &str| line(range) + "Size: 4 kB\nVmFlags: rd wr\n";
        assert_eq!(
            told(
                Kind::Smaps,
                &[with("00000100-00000200"), with("000005c0-000005d0"), with("00000700-00000800")].concat()
            ),
            Some([with("00000100-00000200"), with("00000700-00000800")].concat())
        );
        assert_eq!(told(Kind::Smaps, &with("000005c0-000005f0")), None, "its attributes are those of the whole");
    }

    #[test]
    fn what_a_copy_has_more_is_not_told() {
        let copied = |offset: &str| {
            format!(
                "7f10-7f20 r-xp {offset} 00:01 1036                                       /memfd:copy (deleted)\nSize: 4 kB\n"
            )
        };
        let other = "7f20-7f30 r--p 00000000 fe:00 1                                          /etc/other\nSize: 8 kB\n";
        let text = [&copied("00001000"), &copied("00002000"), other].concat();
        assert_eq!(told(Kind::Smaps, &text), Some([&copied("00001000"), other].concat()));
    }

    #[test]
    fn what_a_line_tells() {
        let file = |line: &str| mapping(Kind::Maps, line.as_bytes()).map(|mapping| mapping.file);
        let told = MappedFile { object: Some((libc::makedev(0x103, 2), 5)), text: b"/s/a\nb\\101 c".to_vec() };
        assert_eq!(file("1-2 r--p 0 103:02 5   /s/a\\012b\\101 c\n"), Some(told));
        for other in [
            "",
            "\n",
            "1-2 r--p 0 00:00 0",
            "1-2 r--p 0 00:00 0 \n",
            "1-2 r--p 0 00:00 0   [heap]\n",
            "Size:  8 kB\n",
            "1 2 3 4 5 /s\n",
        ] {
            assert_eq!(file(other), None, "{other:?}");
        }
    }

    #[test]
    fn lines_of_maps_are_understood() {
        let line = "7f1c5a000000-7f1c5a026000 r-xp 001d3000 00:2f 1043                     /memfd:libc.so.6 (deleted)";
        assert_eq!(numbers(line), Some((0x7f1c_5a00_0000, 0x1d_3000, (libc::makedev(0, 0x2f), 1043))));
        assert_eq!(numbers("7ffd1000-7ffd2000 rw-p 00000000 00:00 0 [stack]").map(|found| found.2), Some((0, 0)));
        for bad in ["", "x", "12-13 r 0", "12-13 r-xp 0 0:zz 1"] {
            assert_eq!(numbers(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_text_without_end_is_left_alone() {
        let line = "1-2 r--p 00000000 fe:00 1                                          /s/cat\n";
        let endless = std::io::repeat(b'x').take(MOST as u64 + 1);
        let text = BufReader::new(Cursor::new(line.to_owned()).chain(endless));
        let shown = |file: MappedFile| Shown { object: file.object, text: b"/other".to_vec(), end: u64::MAX };
        assert!(translated(text, Kind::Maps, Content::of(&AbsPath::root()), shown, |_| None).unwrap().is_none());
    }
}
