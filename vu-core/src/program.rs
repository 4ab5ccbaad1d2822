//! How a program file begins: `#!` lines and ELF headers. Untrusted input.

use crate::sys;
use ahash::AHashMap;
use parking_lot::Mutex;
use std::{
    fs::File,
    os::{fd::OwnedFd, unix::fs::FileExt},
    sync::Arc,
};
use vu_api::{Errno, FileType};

/// How much the kernel reads of a file to find out what it is (`BINPRM_BUF_SIZE`, `include/uapi/linux/binfmts.h`).
const BEGINNING: usize = 256;
/// More program headers, or a longer loader's name, than this the kernel refuses, or no program has.
const MAX_PROGRAM_HEADERS: usize = 1 << 10;
const PATH_MAX: usize = 4096;

const PT_INTERP: u32 = 3;

/// The beginning of a program file, and the name of its loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    beginning: Vec<u8>,
    loader: Option<Vec<u8>>,
}

/// What the kernel starts in a program's place, or beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interpreter {
    /// The interpreter of a script.
    Script {
        /// Its path.
        path: Vec<u8>,
        /// The one argument that may follow it on the line.
        argument: Option<Vec<u8>>,
    },
    /// The loader of an ELF program.
    Loader(Vec<u8>),
}

/// How programs of the host begin, as read before, by what tells that a file is the same and unchanged.
#[derive(Default)]
pub struct Programs(Mutex<AHashMap<Version, Arc<Option<Interpreter>>>>);

/// Device and inode number, size, and the time of the last change.
type Version = (u64, u64, i64, (i64, i64));

impl Programs {
    /// How many are kept.
    const MOST: usize = 256;

    /// What interprets the program of a path of the host, all links followed; `None` if that cannot be said: it is no regular file, or may not be read.
    pub fn interpreter(&self, path: &[u8]) -> Option<Arc<Option<Interpreter>>> {
        let version = |stat: &libc::stat| (stat.st_dev, stat.st_ino, stat.st_size, (stat.st_ctime, stat.st_ctime_nsec));
        let stat = sys::stat(path).ok()?;
        if FileType::from_mode(stat.st_mode) != Some(FileType::Regular) {
            return None;
        }
        let known = self.0.lock().get(&version(&stat)).cloned();
        if known.is_some() {
            return known;
        }
        let file = sys::open(path, libc::O_RDONLY | libc::O_NOCTTY | libc::O_NONBLOCK).ok()?;
        let interpreter = Arc::new(Header::read(file).ok()?.interpreter());
        let mut programs = self.0.lock();
        if programs.len() >= Self::MOST {
            programs.clear();
        }
        // Under the version from before it was read: if it was changed meanwhile, nobody finds this.
        programs.insert(version(&stat), interpreter.clone());
        Some(interpreter)
    }
}

impl Header {
    /// Reads it.
    ///
    /// # Errors
    /// Those of pread(2).
    pub fn read(file: OwnedFd) -> Result<Header, Errno> {
        let file = File::from(file);
        Header::read_with(|offset, buffer| {
            let mut got = 0;
            while got < buffer.len() {
                match file.read_at(&mut buffer[got..], offset + got as u64) {
                    Ok(0) => break,
                    Ok(n) => got += n,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(Errno::from(error)),
                }
            }
            Ok(got)
        })
    }

    /// Reads it by a function that fills a buffer from an offset, and says how far.
    ///
    /// # Errors
    /// Those of the function.
    pub fn read_with(read: impl Fn(u64, &mut [u8]) -> Result<usize, Errno>) -> Result<Header, Errno> {
        let mut beginning = vec![0; BEGINNING];
        let length = read(0, &mut beginning)?;
        beginning.truncate(length);
        let loader = loader(&beginning, &read)?;
        Ok(Header { beginning, loader })
    }

    /// What interprets the program; `None` if nothing does, or the kernel will not execute it.
    #[must_use]
    pub fn interpreter(&self) -> Option<Interpreter> {
        if let Some(loader) = &self.loader {
            return Some(Interpreter::Loader(loader.clone()));
        }
        script(&self.beginning)
    }
}

/// The interpreter of a `#!` line (`load_script`, `fs/binfmt_script.c`); `None` also for an empty name, which the kernel refuses.
fn script(beginning: &[u8]) -> Option<Interpreter> {
    /// The last byte is never a part of the line: a NUL is put there.
    const LAST: usize = BEGINNING - 2 - 1;
    let mut line = beginning.strip_prefix(b"#!")?.to_vec();
    line.resize(LAST + 1, 0);
    let end = match line.iter().position(|&b| b == b'\n' || b == 0) {
        Some(end) => end,
        // The line goes on behind what was read: the interpreter's name must at least be whole.
        None if trimmed_start(&line).iter().any(is_blank) => LAST,
        None => return None,
    };
    // White space at the end does not count, unless a NUL comes before the end.
    let text = if line[end] == b'\n' || end == LAST { trimmed_end(&line[..end]) } else { &line[..end] };
    let text = trimmed_start(text);
    let (name, rest) = text.split_at(text.iter().position(is_blank).unwrap_or(text.len()));
    let argument = trimmed_start(rest);
    let argument = (!argument.is_empty()).then(|| argument.to_vec());
    (!name.is_empty()).then(|| Interpreter::Script { path: name.to_vec(), argument })
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn trimmed_start(text: &[u8]) -> &[u8] {
    &text[text.iter().position(|b| !is_blank(b)).unwrap_or(text.len())..]
}

fn trimmed_end(text: &[u8]) -> &[u8] {
    &text[..text.iter().rposition(|b| !is_blank(b)).map_or(0, |last| last + 1)]
}

/// The name in an ELF file's `PT_INTERP` segment (elf(5)).
fn loader(beginning: &[u8], read: &impl Fn(u64, &mut [u8]) -> Result<usize, Errno>) -> Result<Option<Vec<u8>>, Errno> {
    let Some(wide) = beginning.strip_prefix(b"\x7fELF").and_then(|rest| match rest.first() {
        Some(1) => Some(false),
        Some(2) => Some(true),
        _ => None,
    }) else {
        return Ok(None);
    };
    let number = |bytes: &[u8], at: usize, size: usize| -> Option<u64> {
        let field = bytes.get(at..at + size)?;
        Some(field.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    };
    // e_phoff, e_phentsize, e_phnum.
    let (offset, entry, count) = if wide {
        (number(beginning, 32, 8), number(beginning, 54, 2), number(beginning, 56, 2))
    } else {
        (number(beginning, 28, 4), number(beginning, 42, 2), number(beginning, 44, 2))
    };
    let (Some(offset), Some(entry), Some(count)) = (offset, entry, count) else { return Ok(None) };
    let (entry, count) = (usize::try_from(entry).unwrap_or(0), usize::try_from(count).unwrap_or(0));
    let size = if wide { 56 } else { 32 };
    if entry != size || count > MAX_PROGRAM_HEADERS {
        return Ok(None);
    }
    let mut headers = vec![0; entry * count];
    let length = read(offset, &mut headers)?;
    for header in headers[..length].chunks_exact(entry) {
        if number(header, 0, 4) != Some(u64::from(PT_INTERP)) {
            continue;
        }
        let (at, length) = if wide {
            (number(header, 8, 8), number(header, 32, 8))
        } else {
            (number(header, 4, 4), number(header, 16, 4))
        };
        let (Some(at), Some(length)) = (at, length) else { return Ok(None) };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if !(2..=PATH_MAX).contains(&length) {
            return Ok(None);
        }
        let mut name = vec![0; length];
        if read(at, &mut name)? != length || name.last() != Some(&0) {
            return Ok(None);
        }
        // As the kernel takes it, up to the first NUL.
        name.truncate(name.iter().position(|&b| b == 0).unwrap_or(0));
        return Ok((!name.is_empty()).then_some(name));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(file: &[u8]) -> Option<Interpreter> {
        let from = |offset: u64, buffer: &mut [u8]| {
            let rest = usize::try_from(offset).ok().and_then(|at| file.get(at..)).unwrap_or_default();
            let got = rest.len().min(buffer.len());
            buffer[..got].copy_from_slice(&rest[..got]);
            Ok(got)
        };
        Header::read_with(from).unwrap().interpreter()
    }

    #[track_caller]
    fn check_script(line: &str, path: &str, argument: Option<&str>) {
        let expected =
            Interpreter::Script { path: path.as_bytes().to_vec(), argument: argument.map(|a| a.as_bytes().to_vec()) };
        assert_eq!(read(line.as_bytes()), Some(expected), "{line:?}");
    }

    #[test]
    fn script_lines() {
        check_script("#!/bin/sh\necho", "/bin/sh", None);
        check_script("#! \t /bin/sh \t\n", "/bin/sh", None);
        check_script("#!/usr/bin/env -S a  b \n", "/usr/bin/env", Some("-S a  b"));
        check_script("#!sh", "sh", None);
        check_script("#!/bin/sh x\0y\n", "/bin/sh", Some("x"));
        let long = format!("#!/bin/{}\n", "x".repeat(300));
        assert_eq!(read(long.as_bytes()), None, "the name is cut");
        let argument = "y".repeat(300);
        check_script(&format!("#!/bin/sh {argument}\n"), "/bin/sh", Some(&argument[..255 - 10]));
        check_script("#!/bin/sh -e ", "/bin/sh", Some("-e "));
        check_script(&format!("#!/bin/sh -e {}\n", " ".repeat(300)), "/bin/sh", Some("-e"));
        for no in ["", "#", "#!", "#!\n", "#! \t\n", "# !/bin/sh\n"] {
            assert_eq!(read(no.as_bytes()), None, "{no:?}");
        }
    }

    #[test]
    fn own_program_has_a_loader_or_is_static() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        match read(&own) {
            Some(Interpreter::Loader(loader)) => assert!(loader.starts_with(b"/lib")),
            other => assert_eq!(other, None),
        }
    }

    proptest! {
        #[test]
        fn never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), kind in 0..3) {
            match kind {
                0 => { bytes.splice(0..0, *b"#!"); }
                1 => { bytes.splice(0..0, *b"\x7fELF\x02"); }
                _ => {}
            }
            let _ = read(&bytes);
        }
    }
}
