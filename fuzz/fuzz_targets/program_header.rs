//! How a program file begins: `#!` lines and ELF headers of any file, read in any pieces, against a plain second reading.
#![no_main]

use libfuzzer_sys::{
    arbitrary::{Arbitrary, Result, Unstructured},
    fuzz_target,
};
use std::cell::Cell;
use vu_api::Errno;
use vu_core::program::{Header, Interpreter};

/// What the kernel reads of a file (`BINPRM_BUF_SIZE`).
const BEGINNING: usize = 256;

#[derive(Debug)]
struct Case {
    file: Vec<u8>,
    /// The read that fails, counted from 0.
    fails: Option<u8>,
}

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(data: &mut Unstructured<'a>) -> Result<Case> {
        let fails = if data.ratio(1, 16)? { Some(data.int_in_range(0..=3)?) } else { None };
        let mut file = match data.int_in_range(0..=3)? {
            0 => Vec::new(),
            1 => script(data)?,
            _ => elf(data)?,
        };
        file.extend_from_slice(data.bytes(data.len())?);
        Ok(Case { file, fails })
    }
}

/// A `#!` line, more or less.
fn script(data: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut line = b"#!".to_vec();
    for _ in 0..data.int_in_range(0..=12)? {
        let piece: &[u8] = data.choose(&[&b" "[..], b"\t", b"\n", b"\0", b"/bin/sh", b"-e", b"x", b"\r", b"#!"])?;
        let times = if data.ratio(1, 4)? { data.int_in_range(1..=260)? } else { 1 };
        line.extend(piece.iter().cycle().take(piece.len() * times));
    }
    Ok(line)
}

/// An ELF header and program headers, more or less.
fn elf(data: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let wide = data.arbitrary()?;
    let word = if wide { 8 } else { 4 };
    let mut file = vec![0; if wide { 64 } else { 52 }];
    file[..4].copy_from_slice(b"\x7fELF");
    file[4] = if wide { 2 } else { 1 };
    let (phoff, phentsize) = if wide { (32, 54) } else { (28, 42) };
    let size: u16 = if wide { 56 } else { 32 };
    let count: u16 = if data.ratio(1, 8)? { data.arbitrary()? } else { data.int_in_range(0..=5)? };
    let header = file.len() as u64;
    let offset = odd(data, header)?;
    file[phoff..phoff + word].copy_from_slice(&offset.to_le_bytes()[..word]);
    let entry = odd(data, u64::from(size))? as u16;
    file[phentsize..phentsize + 2].copy_from_slice(&entry.to_le_bytes());
    file[phentsize + 2..phentsize + 4].copy_from_slice(&count.to_le_bytes());
    let name = b"/lib64/ld-linux-x86-64.so.2\0";
    for _ in 0..count.min(5) {
        let mut segment = vec![0; usize::from(size)];
        let kind: u32 = *data.choose(&[1, 2, 3, 3, 6])?;
        segment[..4].copy_from_slice(&kind.to_le_bytes());
        let (at, length) = if wide { (8, 32) } else { (4, 16) };
        let place = header + u64::from(size) * u64::from(count.min(5));
        segment[at..at + word].copy_from_slice(&odd(data, place)?.to_le_bytes()[..word]);
        segment[length..length + word].copy_from_slice(&odd(data, name.len() as u64)?.to_le_bytes()[..word]);
        file.extend(segment);
    }
    if data.ratio(7, 8)? {
        file.extend_from_slice(name);
    }
    if data.ratio(1, 8)? {
        let length = data.int_in_range(0..=file.len())?;
        file.truncate(length);
    }
    Ok(file)
}

/// The number that is right, mostly.
fn odd(data: &mut Unstructured<'_>, right: u64) -> Result<u64> {
    Ok(match data.int_in_range(0..=15)? {
        0 => data.arbitrary()?,
        1 => right.wrapping_add(data.int_in_range(0..=4)?).wrapping_sub(2),
        2 => u64::MAX - data.int_in_range(0..=64)?,
        _ => right,
    })
}

/// As the kernel's `load_script` and `load_elf_binary` have it, in the plainest words.
fn naive(file: &[u8]) -> Option<Interpreter> {
    let beginning = &file[..file.len().min(BEGINNING)];
    if beginning.starts_with(b"\x7fELF") {
        return loader(file).map(Interpreter::Loader);
    }
    // Byte by byte, as the kernel's pointers go; its buffer is filled up with NULs.
    let mut buffer = beginning.to_vec();
    buffer.resize(BEGINNING, 0);
    if !buffer.starts_with(b"#!") {
        return None;
    }
    let blank = |at: usize| buffer[at] == b' ' || buffer[at] == b'\t';
    let last = BEGINNING - 1;
    let mut end = 2;
    while end <= last && buffer[end] != b'\n' && buffer[end] != 0 {
        end += 1;
    }
    if end > last || buffer[end] == 0 {
        let start = (2..=last).find(|&at| !blank(at))?;
        (start..=last).find(|&at| blank(at) || buffer[at] == 0)?;
        end = last;
    }
    while blank(end - 1) {
        end -= 1;
    }
    let start = (2..end).find(|&at| !blank(at))?;
    let stop = (start..end).find(|&at| blank(at) || buffer[at] == 0).unwrap_or(end);
    let path = buffer[start..stop].to_vec();
    if path.is_empty() {
        return None;
    }
    let mut argument = None;
    if stop < end
        && buffer[stop] != 0
        && let Some(from) = (stop..end).find(|&at| !blank(at))
    {
        let to = (from..end).find(|&at| buffer[at] == 0).unwrap_or(end);
        argument = (to > from).then(|| buffer[from..to].to_vec());
    }
    Some(Interpreter::Script { path, argument })
}

fn number(file: &[u8], at: u64, size: u64) -> Option<u64> {
    let mut value = 0;
    for index in (0..size).rev() {
        let at = usize::try_from(at.checked_add(index)?).ok()?;
        value = value * 256 + u64::from(*file.get(at)?);
    }
    Some(value)
}

fn loader(file: &[u8]) -> Option<Vec<u8>> {
    let (word, size, phoff, phentsize, at, length) = match file.get(4)? {
        1 => (4, 32, 28, 42, 4, 16),
        2 => (8, 56, 32, 54, 8, 32),
        _ => return None,
    };
    let headers = number(file, phoff, word)?;
    let count = number(file, phentsize + 2, 2)?;
    if number(file, phentsize, 2)? != size || count > 1024 {
        return None;
    }
    for index in 0..count {
        let header = headers.checked_add(index * size)?;
        // One that is cut off ends the list.
        number(file, header.checked_add(size - 1)?, 1)?;
        if number(file, header, 4)? != 3 {
            continue;
        }
        let length = number(file, header + length, word)?;
        if !(2..=4096).contains(&length) {
            return None;
        }
        let from = usize::try_from(number(file, header + at, word)?).ok()?;
        let name = file.get(from..from.checked_add(length as usize)?)?;
        if name[name.len() - 1] != 0 {
            return None;
        }
        let name: Vec<u8> = name.iter().copied().take_while(|&byte| byte != 0).collect();
        return (!name.is_empty()).then_some(name);
    }
    None
}

fuzz_target!(|case: Case| {
    let Case { file, fails } = case;
    let reads = Cell::new(0);
    let read = Header::read_with(|offset, buffer| {
        let number = reads.replace(reads.get() + 1);
        if fails.map(i32::from) == Some(number) {
            return Err(Errno::EIO);
        }
        let rest = usize::try_from(offset).ok().and_then(|at| file.get(at..)).unwrap_or_default();
        let got = rest.len().min(buffer.len());
        buffer[..got].copy_from_slice(&rest[..got]);
        Ok(got)
    });
    assert!(reads.get() <= 3, "a header needs few reads");
    let failed = fails.is_some_and(|number| i32::from(number) < reads.get());
    let interpreter = match read {
        Ok(header) => header.interpreter(),
        Err(errno) => {
            assert!(failed && errno == Errno::EIO);
            return;
        }
    };
    assert!(!failed, "an error is not swallowed");
    match &interpreter {
        Some(Interpreter::Script { path, argument }) => {
            assert!(!path.is_empty() && path.len() <= BEGINNING - 2);
            assert!(!path.iter().any(|byte| matches!(byte, b' ' | b'\t' | b'\n' | 0)));
            if let Some(argument) = argument {
                assert!(!argument.is_empty() && !argument.contains(&0) && !argument.contains(&b'\n'));
                assert!(!matches!(argument[0], b' ' | b'\t'));
            }
        }
        Some(Interpreter::Loader(path)) => {
            assert!(!path.is_empty() && !path.contains(&0));
        }
        None => {}
    }
    assert_eq!(interpreter, naive(&file));
});
