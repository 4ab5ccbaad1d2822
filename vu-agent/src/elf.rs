//! Where things stand in an ELF file (elf(5)), as far as a library is changed.

pub(crate) const IDENT: &[u8] = b"\x7fELF\x02\x01\x01";
pub(crate) const TYPE: usize = 16;
pub(crate) const DYN: u16 = 3;
pub(crate) const MACHINE: usize = 18;
pub(crate) const X86_64: u16 = 62;
pub(crate) const HEADERS: usize = 32;
pub(crate) const HEADER_SIZE: usize = 54;
pub(crate) const HEADER_COUNT: usize = 56;
pub(crate) const LOAD: u32 = 1;
pub(crate) const GNU_PROPERTY: u32 = 0x6474_e553;
pub(crate) const EXECUTE: u32 = 1;
pub(crate) const WRITE: u32 = 2;
pub(crate) const READ: u32 = 4;

/// A program header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub kind: u32,
    pub flags: u32,
    pub offset: u64,
    pub address: u64,
    pub file_size: u64,
    pub memory_size: u64,
    pub align: u64,
}

impl Header {
    pub const SIZE: usize = 56;

    fn read(bytes: &[u8]) -> Option<Header> {
        let word = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let half = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        Some(Header {
            kind: half(0)?,
            flags: half(4)?,
            offset: word(8)?,
            address: word(16)?,
            file_size: word(32)?,
            memory_size: word(40)?,
            align: word(48)?,
        })
    }

    pub fn bytes(&self) -> [u8; Header::SIZE] {
        let mut bytes = [0; Header::SIZE];
        bytes[..4].copy_from_slice(&self.kind.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.flags.to_le_bytes());
        let words = [self.offset, self.address, self.address, self.file_size, self.memory_size, self.align];
        for (place, word) in bytes[8..].chunks_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

/// The program headers, each with its place in the file.
pub(crate) fn headers(library: &[u8]) -> Option<Vec<(usize, Header)>> {
    let half = |at: usize| Some(u16::from_le_bytes(*library.get(at..)?.first_chunk()?));
    let first = usize::try_from(u64::from_le_bytes(*library.get(HEADERS..)?.first_chunk()?)).ok()?;
    let known = library.starts_with(IDENT)
        && half(TYPE)? == DYN
        && half(MACHINE)? == X86_64
        && usize::from(half(HEADER_SIZE)?) == Header::SIZE;
    if !known {
        return None;
    }
    let place = |index: usize| first.checked_add(index * Header::SIZE);
    (0..usize::from(half(HEADER_COUNT)?))
        .map(|index| Some((place(index)?, Header::read(library.get(place(index)?..)?)?)))
        .collect()
}
