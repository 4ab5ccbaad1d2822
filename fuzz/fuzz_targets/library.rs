//! Files that say they are C libraries: a copy with the agent is the file but for a few bytes, or there is none.
#![no_main]

use libfuzzer_sys::{
    arbitrary::{Arbitrary, Result, Unstructured},
    fuzz_target,
};
use std::{fs::File, io::Read};
use vu_agent::{Doubts, Image, Seeds, board, code, sites};

const HEADER: usize = 64;
const SEGMENT: usize = 56;
/// `PT_LOAD`, `PT_NOTE`, `PT_GNU_PROPERTY`.
const KINDS: [u32; 4] = [1, 1, 4, 0x6474_e553];

#[derive(Debug)]
struct Library(Vec<u8>);

impl<'a> Arbitrary<'a> for Library {
    fn arbitrary(data: &mut Unstructured<'a>) -> Result<Library> {
        let mut file = vec![0; HEADER];
        file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        (file[16], file[18]) = (3, 62);
        let count: u16 = if data.ratio(1, 8)? { data.arbitrary()? } else { data.int_in_range(2..=5)? };
        file[32..40].copy_from_slice(&odd(data, HEADER as u64)?.to_le_bytes());
        file[54..56].copy_from_slice(&(SEGMENT as u16).to_le_bytes());
        file[56..58].copy_from_slice(&count.to_le_bytes());
        // Code, then data, then what can be spared; or anything.
        let usual = [(1u32, 5u32, 0x1000u64), (1, 6, 0x4000), (0x6474_e553, 4, 0x200)];
        let mut text = vec![0x90u8; 0x1000];
        for index in 0..usize::from(count.min(5)) {
            let (mut kind, mut flags, mut address) = *usual.get(index).unwrap_or(&(4, 4, 0x300));
            if data.ratio(1, 8)? {
                (kind, flags, address) = (*data.choose(&KINDS)?, data.int_in_range(0..=7)?, data.arbitrary()?);
            }
            let mut segment = [0; SEGMENT];
            segment[..4].copy_from_slice(&kind.to_le_bytes());
            segment[4..8].copy_from_slice(&flags.to_le_bytes());
            let words = [0x1000, address, address, odd(data, 0x1000)?, odd(data, 0x1100)?, odd(data, 0x1000)?];
            for (place, word) in segment[8..].chunks_mut(8).zip(words) {
                place.copy_from_slice(&word.to_le_bytes());
            }
            file.extend(segment);
        }
        for _ in 0..data.int_in_range(0..=40)? {
            let nr: u32 = if data.ratio(1, 4)? { data.int_in_range(0..=450)? } else { *data.choose(&[4, 6, 262, 332])? };
            let at = data.int_in_range(0..=text.len() - 8)?;
            text[at] = 0xb8;
            text[at + 1..at + 5].copy_from_slice(&nr.to_le_bytes());
            text[at + 5..at + 7].copy_from_slice(&[0x0f, 0x05]);
        }
        file.resize(0x1000, 0);
        file.extend(text);
        file.truncate(if data.ratio(1, 16)? { data.int_in_range(0..=file.len())? } else { file.len() });
        Ok(Library(file))
    }
}

/// The number that is right, mostly.
fn odd(data: &mut Unstructured<'_>, right: u64) -> Result<u64> {
    Ok(match data.int_in_range(0..=31)? {
        0 => data.arbitrary()?,
        1 => right.wrapping_add(data.int_in_range(0..=16)?).wrapping_sub(8),
        2 => u64::MAX - data.int_in_range(0..=64)?,
        _ => right,
    })
}

fuzz_target!(|library: Library| {
    let Library(bytes) = library;
    for site in sites::of_descriptors(&bytes).into_iter().chain(sites::of_linker(&bytes)) {
        assert!(site.in_page < 4096 && site.path < 6 && site.flags.0 < 6);
    }
    let Ok(image) = Image::new(bytes.clone(), [9; code::SIGNATURE_SIZE]) else { return };
    image.board().enable(Seeds { paths: 3, programs: 4 }, [&b"name"[..]].into_iter(), &[], Doubts::default());
    let mut copy = Vec::new();
    File::from(image.open().unwrap()).read_to_end(&mut copy).unwrap();
    let agent = bytes.len().next_multiple_of(4096);
    assert!(copy.len() >= agent + code::SIZE + board::SIZE);
    assert_eq!(copy[agent..agent + code::SIGNATURE_SIZE], [9; code::SIGNATURE_SIZE]);
    // What else is changed: two program headers, and the first instruction of each call.
    let changed: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] != copy[at]).collect();
    let is_call = |at: usize| {
        (at.saturating_sub(4)..=at).any(|first| {
            bytes.get(first) == Some(&0xb8) && copy[first] == 0xe9 && bytes.get(first + 5..first + 7) == Some(&[0x0f, 0x05])
        })
    };
    let mut headers: Vec<usize> = changed.into_iter().filter(|&at| !is_call(at)).collect();
    headers.dedup_by(|later, first| *later < *first + SEGMENT);
    assert!(headers.len() <= 3, "{headers:?}");
});
