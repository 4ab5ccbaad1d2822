//! Calls of the C library whose meaning is known by the place where they are made.
//!
//! A filter sees where a call's path lies, not what it says. But where the path is a constant of the library, and the library makes the call in one place, that place in its page, and how far
//! the constant lies from there, are the same in each process, wherever the library was mapped. So the filter knows such a call without reading anything.
//!
//! * From glibc 2.33 to 2.38 fstat(3) is `newfstatat(fd, "", …, AT_EMPTY_PATH)`.
//! * The dynamic linker looks for two files whenever a program starts, of which only the system's administrator makes use.

use crate::{
    calls::{JUMP, MOV_EAX, SYSCALL},
    elf::{self, Header, headers},
};

/// A call as a library makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Site {
    /// Its number.
    pub nr: u32,
    /// Which argument is the path.
    pub path: u8,
    /// Which argument is the flags, and what they are.
    pub flags: (u8, u32),
    /// The address behind the `syscall` instruction, within a page.
    pub in_page: u32,
    /// How far the path lies from there.
    pub distance: i32,
}

/// The files that the dynamic linker opens, or looks for, with each program (ld.so(8)).
pub const LINKER_FILES: [&str; 2] = ["/etc/ld.so.preload", "/etc/ld.so.cache"];

const NEWFSTATAT: u32 = 262;
const ACCESS: u32 = 21;
const OPENAT: u32 = 257;
/// `AT_EMPTY_PATH`, `R_OK`, `O_RDONLY | O_CLOEXEC`
const EMPTY_PATH: u32 = 0x1000;
const READABLE: u32 = 4;
const READ_AND_CLOSE: u32 = 0x80000;
/// `mov ecx, AT_EMPTY_PATH`; `lea rsi, […]`
const WITH_FLAG: [u8; 8] = [0xb9, 0x00, 0x10, 0x00, 0x00, 0x48, 0x8d, 0x35];
/// Between its number and the call other registers may be set.
const NUMBER_BEFORE: usize = 24;
/// The function it goes on with begins with the call, but for a move.
const BEFORE_CALL: usize = 16;
const PAGE: u64 = 4096;

/// Where a library asks about an open file; nowhere in what is no library.
#[must_use]
pub fn of_descriptors(library: &[u8]) -> Vec<Site> {
    let Some(library) = Library::new(library) else { return Vec::new() };
    let site = |code: &[u8], address: u64, at: usize| {
        let behind_path = at + WITH_FLAG.len() + 4;
        let behind_jump = behind_path + 5;
        let target = displaced(behind_jump, displacement(code, behind_path, JUMP)?)?;
        let call = call(NEWFSTATAT);
        let at = memchr::memmem::find(code.get(target..)?.get(..BEFORE_CALL)?, &call)?;
        let behind = address.checked_add((target + at + call.len()) as u64)?;
        let path =
            address.checked_add(behind_path as u64)?.checked_add_signed(number(code, behind_path - 4)?.into())?;
        // An empty path that nobody can change.
        (library.constant(path) == Some(0)).then_some(())?;
        site(NEWFSTATAT, 1, (3, EMPTY_PATH), behind, path)
    };
    let sites = library.code().flat_map(|(code, address)| {
        memchr::memmem::find_iter(code, &WITH_FLAG).filter_map(move |at| site(code, address, at)).collect::<Vec<_>>()
    });
    sites.collect()
}

/// Where a dynamic linker looks for [`LINKER_FILES`]. Most of these are places where it opens other files with paths that it never gives there.
#[must_use]
pub fn of_linker(linker: &[u8]) -> Vec<Site> {
    let Some(library) = Library::new(linker) else { return Vec::new() };
    let calls = |nr: u32| -> Vec<u64> {
        let number = [&[MOV_EAX][..], &nr.to_le_bytes()].concat();
        let in_code = |(code, address): (&[u8], u64)| -> Vec<u64> {
            let is_of =
                |at: usize| memchr::memmem::find(&code[at.saturating_sub(NUMBER_BEFORE)..at], &number).is_some();
            let calls = memchr::memmem::find_iter(code, &SYSCALL).filter(|&at| is_of(at));
            calls.map(|at| address.saturating_add((at + SYSCALL.len()) as u64)).collect()
        };
        library.code().flat_map(in_code).collect()
    };
    let [preload, cache] = LINKER_FILES;
    let kinds = [(ACCESS, 0, (1, READABLE), preload), (OPENAT, 1, (2, READ_AND_CLOSE), cache)];
    let sites = kinds.into_iter().flat_map(|(nr, path, flags, file)| {
        let texts = library.constants(format!("\0{file}\0").as_bytes());
        let calls = calls(nr);
        let of_text = move |text: u64| -> Vec<Site> {
            calls.iter().filter_map(|&call| site(nr, path, flags, call, text.checked_add(1)?)).collect()
        };
        texts.into_iter().flat_map(of_text)
    });
    sites.collect()
}

fn call(nr: u32) -> [u8; 7] {
    let mut call = [MOV_EAX, 0, 0, 0, 0, SYSCALL[0], SYSCALL[1]];
    call[1..5].copy_from_slice(&nr.to_le_bytes());
    call
}

/// That of a call before this address, with its path at that one.
fn site(nr: u32, path: u8, flags: (u8, u32), behind: u64, at: u64) -> Option<Site> {
    let distance = i32::try_from(at.wrapping_sub(behind).cast_signed()).ok()?;
    Some(Site { nr, path, flags, in_page: u32::try_from(behind % PAGE).ok()?, distance })
}

/// A library's segments.
struct Library<'a> {
    bytes: &'a [u8],
    loaded: Vec<Header>,
}

impl Library<'_> {
    fn new(bytes: &[u8]) -> Option<Library<'_>> {
        let loaded = headers(bytes)?.into_iter().map(|(_, header)| header).filter(|header| header.kind == elf::LOAD);
        Some(Library { bytes, loaded: loaded.collect() })
    }

    fn content(&self, header: &Header) -> Option<&[u8]> {
        let start = usize::try_from(header.offset).ok()?;
        self.bytes.get(start..start.checked_add(usize::try_from(header.file_size).ok()?)?)
    }

    /// Its code, with its addresses.
    fn code(&self) -> impl Iterator<Item = (&[u8], u64)> {
        let executable = self.loaded.iter().filter(|header| header.flags & elf::EXECUTE != 0);
        executable.filter_map(|header| Some((self.content(header)?, header.address)))
    }

    fn unchanging(&self) -> impl Iterator<Item = (&[u8], u64)> {
        let constant = self.loaded.iter().filter(|header| header.flags & elf::WRITE == 0);
        constant.filter_map(|header| Some((self.content(header)?, header.address)))
    }

    /// What stands at an address, if that cannot be changed.
    fn constant(&self, address: u64) -> Option<u8> {
        self.unchanging()
            .find_map(|(content, start)| content.get(usize::try_from(address.checked_sub(start)?).ok()?).copied())
    }

    /// Where these bytes stand unchangeably.
    fn constants(&self, bytes: &[u8]) -> Vec<u64> {
        let places = |(content, start): (&[u8], u64)| -> Vec<u64> {
            memchr::memmem::find_iter(content, bytes).map(|at| start.saturating_add(at as u64)).collect()
        };
        self.unchanging().flat_map(places).collect()
    }
}

/// The displacement behind this instruction, if that is what stands there.
fn displacement(code: &[u8], at: usize, instruction: u8) -> Option<i32> {
    if *code.get(at)? == instruction { number(code, at + 1) } else { None }
}

fn number(code: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_le_bytes(*code.get(at..)?.first_chunk()?))
}

fn displaced(at: usize, by: i32) -> Option<usize> {
    at.checked_add_signed(isize::try_from(by).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn version() -> u32 {
        let output = std::process::Command::new("getconf").arg("GNU_LIBC_VERSION").output().unwrap();
        let version = String::from_utf8(output.stdout).unwrap();
        version.trim().strip_prefix("glibc 2.").unwrap().parse().unwrap()
    }

    #[test]
    fn the_system_s_libraries_have_one_site_each_or_call_fstat() {
        for path in ["/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6"] {
            let expected = usize::from((33..=38).contains(&version()));
            assert_eq!(of_descriptors(&fs::read(path).unwrap()).len(), expected, "{path}");
        }
    }

    #[test]
    fn the_system_s_linker_has_a_site_for_each_of_its_files() {
        let sites = of_linker(&fs::read("/lib64/ld-linux-x86-64.so.2").unwrap());
        assert!([ACCESS, OPENAT].iter().all(|&nr| sites.iter().any(|site| site.nr == nr)), "{sites:?}");
        assert!(sites.len() <= 12, "the filter grows with them: {sites:?}");
    }

    #[test]
    fn a_linker_s_site_is_a_call_and_one_of_its_files() {
        let of = |code: &[u8]| of_linker(&library(code, elf::READ | elf::EXECUTE));
        let access = [&call(ACCESS)[..], b"\0/etc/ld.so.preload\0"].concat();
        let site = Site { nr: 21, path: 0, flags: (1, 4), in_page: 127, distance: 1 };
        assert_eq!(of(&access), [site]);
        let openat = [&b"\0/etc/ld.so.cache\0"[..], &call(OPENAT), &call(OPENAT)].concat();
        let first = Site { nr: 257, path: 1, flags: (2, 0x80000), in_page: 145, distance: -24 };
        assert_eq!(of(&openat), [first, Site { in_page: 152, distance: -31, ..first }]);
        for other in [&b"\0/etc/ld.so.cache2\0"[..], b"x/etc/ld.so.cache\0", b"\0/etc/ld.so.cache"] {
            assert_eq!(of(&[other, &call(OPENAT)].concat()), []);
        }
    }

    /// A library of one segment, at address 0, with code behind its headers and an empty text at its end.
    fn library(code: &[u8], flags: u32) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..elf::IDENT.len()].copy_from_slice(elf::IDENT);
        bytes[elf::TYPE] = 3;
        bytes[elf::MACHINE] = 62;
        bytes[elf::HEADERS] = 64;
        bytes[elf::HEADER_SIZE] = 56;
        bytes[elf::HEADER_COUNT] = 1;
        for word in [u64::from(elf::LOAD) | u64::from(flags) << 32, 0, 0, 0, 0x200, 0x200, 0x1000] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(code);
        bytes.resize(0x1ff, 0x90);
        bytes.push(0);
        bytes
    }

    /// The code from address 120 on, with these displacements.
    fn code(text: i32, jump: i32) -> Vec<u8> {
        [&WITH_FLAG[..], &text.to_le_bytes(), &[JUMP], &jump.to_le_bytes(), &[0x90; 3], &call(NEWFSTATAT)].concat()
    }

    #[test]
    fn a_site_is_a_constant_text_and_a_call() {
        let readable = elf::READ | elf::EXECUTE;
        // The text is at 0x1ff, the call ends at 120 + 27.
        let to_text = 0x1ff - 132;
        let site = Site { nr: 262, path: 1, flags: (3, 0x1000), in_page: 147, distance: 0x1ff - 147 };
        assert_eq!(of_descriptors(&library(&code(to_text, 0), readable)), [site]);
        assert_eq!(of_descriptors(&library(&code(to_text, 3), readable)), [site], "jumps to the call itself");
        assert_eq!(of_descriptors(&library(&code(to_text, 4), readable)), [], "jumps into it");
        assert_eq!(of_descriptors(&library(&code(to_text - 1, 0), readable)), [], "a text that is not empty");
        assert_eq!(of_descriptors(&library(&code(0x2000, 0), readable)), [], "a text somewhere else");
        assert_eq!(
            of_descriptors(&library(&code(to_text, 0), readable | elf::WRITE)),
            [],
            "a text that can be changed"
        );
        for end in 0..27 {
            assert_eq!(of_descriptors(&library(&code(to_text, 0)[..end], readable)), [], "{end} bytes of it");
        }
    }

    #[test]
    fn what_is_no_library_has_none() {
        for bytes in [&b""[..], b"\x7fELF", &[0; 4096], &WITH_FLAG] {
            assert_eq!(of_descriptors(bytes), []);
            assert_eq!(of_linker(bytes), []);
        }
    }
}
