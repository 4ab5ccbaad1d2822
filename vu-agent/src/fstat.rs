//! Where the C library asks about an open file.
//!
//! From glibc 2.33 to 2.38 fstat(3) is `newfstatat(fd, "", …, AT_EMPTY_PATH)`: by its number and flags it might as well be a call with a path, which only who reads the
//! text can tell. But the empty text is a constant of the library, and the library makes the call in one place. Where that lies in its page, and how far the
//! text lies from there, are the same in each process, wherever the library was mapped: so the filter knows such a call without reading anything.

use crate::image::{elf, headers};

/// `newfstatat` with an empty path, as a library makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Site {
    /// The address behind its `syscall` instruction, within a page.
    pub in_page: u32,
    /// How far the text lies from there.
    pub distance: i32,
}

/// `mov ecx, AT_EMPTY_PATH`; `lea rsi, […]`
const WITH_FLAG: [u8; 8] = [0xb9, 0x00, 0x10, 0x00, 0x00, 0x48, 0x8d, 0x35];
/// `mov eax, newfstatat`; `syscall`
const CALL: [u8; 7] = [0xb8, 0x06, 0x01, 0x00, 0x00, 0x0f, 0x05];
const JUMP: u8 = 0xe9;
/// The function it goes on with begins with the call, but for a move.
const BEFORE_CALL: usize = 16;
const PAGE: u64 = 4096;

/// The sites of a library; none in what is not one.
#[must_use]
pub fn sites(library: &[u8]) -> Vec<Site> {
    let Some(headers) = headers(library) else { return Vec::new() };
    let loaded: Vec<_> = headers.iter().map(|(_, header)| header).filter(|header| header.kind == elf::LOAD).collect();
    // Whether an address is that of an empty text that nobody can change.
    let is_empty = |address: u64| {
        loaded.iter().any(|header| {
            let place = address.checked_sub(header.address).filter(|&place| place < header.file_size);
            let byte = place.and_then(|place| usize::try_from(header.offset.checked_add(place)?).ok());
            header.flags & elf::WRITE == 0 && byte.is_some_and(|at| library.get(at) == Some(&0))
        })
    };
    let mut sites = Vec::new();
    for text in loaded.iter().filter(|header| header.flags & elf::EXECUTE != 0) {
        let range = usize::try_from(text.offset).ok().zip(usize::try_from(text.file_size).ok());
        let Some(code) = range.and_then(|(start, size)| library.get(start..start.checked_add(size)?)) else { continue };
        sites.extend(memchr::memmem::find_iter(code, &WITH_FLAG).filter_map(|at| {
            let behind_text = at + WITH_FLAG.len() + 4;
            let behind_jump = behind_text + 5;
            let target = displaced(behind_jump, displacement(code, behind_text, JUMP)?)?;
            let call = memchr::memmem::find(code.get(target..)?.get(..BEFORE_CALL)?, &CALL)?;
            let behind_call = text.address.checked_add((target + call + CALL.len()) as u64)?;
            let address = text.address.checked_add(behind_text as u64)?;
            let text = address.checked_add_signed(number(code, behind_text - 4)?.into())?;
            let distance = i32::try_from(text.wrapping_sub(behind_call).cast_signed()).ok()?;
            is_empty(text).then_some(Site { in_page: u32::try_from(behind_call % PAGE).ok()?, distance })
        }));
    }
    sites
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
            assert_eq!(sites(&fs::read(path).unwrap()).len(), expected, "{path}");
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
        [&WITH_FLAG[..], &text.to_le_bytes(), &[JUMP], &jump.to_le_bytes(), &[0x90; 3], &CALL].concat()
    }

    #[test]
    fn a_site_is_a_constant_text_and_a_call() {
        let readable = elf::READ | elf::EXECUTE;
        // The text is at 0x1ff, the call ends at 120 + 27.
        let to_text = 0x1ff - 132;
        let site = Site { in_page: 147, distance: 0x1ff - 147 };
        assert_eq!(sites(&library(&code(to_text, 0), readable)), [site]);
        assert_eq!(sites(&library(&code(to_text, 3), readable)), [site], "jumps to the call itself");
        assert_eq!(sites(&library(&code(to_text, 4), readable)), [], "jumps into it");
        assert_eq!(sites(&library(&code(to_text - 1, 0), readable)), [], "a text that is not empty");
        assert_eq!(sites(&library(&code(0x2000, 0), readable)), [], "a text somewhere else");
        assert_eq!(sites(&library(&code(to_text, 0), readable | elf::WRITE)), [], "a text that can be changed");
        for end in 0..27 {
            assert_eq!(sites(&library(&code(to_text, 0)[..end], readable)), [], "{end} bytes of it");
        }
    }

    #[test]
    fn what_is_no_library_has_none() {
        for bytes in [&b""[..], b"\x7fELF", &[0; 4096], &WITH_FLAG] {
            assert_eq!(sites(bytes), []);
        }
    }
}
