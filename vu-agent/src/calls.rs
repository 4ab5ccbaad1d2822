//! Where a library makes path calls, and what is put there.

use crate::{
    code::{self, Kind},
    elf::Header,
    image::ImageError,
};

/// `mov eax, …` and `jmp …`, with 4 bytes behind them, and `syscall` (AMD64 Architecture Programmer's Manual, volume 3).
pub(crate) const MOV_EAX: u8 = 0xb8;
pub(crate) const JUMP: u8 = 0xe9;
pub(crate) const SYSCALL: [u8; 2] = [0x0f, 0x05];

/// A path call.
pub(crate) struct Call {
    /// Where the instruction stands in the file that moves the number to its register.
    pub at: usize,
    /// How many bytes of moves stand between that and the call.
    pub between: usize,
    pub nr: i32,
    pub kind: Kind,
}

/// How long the instruction is that moves a number to eax.
pub(crate) const MOV_SIZE: usize = 5;
/// How many bytes of moves there may be behind it.
const MOST_BETWEEN: usize = 16;

/// The path calls in a segment.
pub(crate) fn calls(library: &[u8], text: &Header) -> Vec<Call> {
    let start = usize::try_from(text.offset).unwrap_or(usize::MAX);
    let end = usize::try_from(text.offset.saturating_add(text.file_size)).unwrap_or(usize::MAX).min(library.len());
    let Some(code) = library.get(start..end) else { return Vec::new() };
    let call = |end: usize, between: usize| {
        // With the byte before it.
        let at = end.checked_sub(between + MOV_SIZE)?;
        let [before, MOV_EAX, number @ ..] = code.get(at.checked_sub(1)?..at + MOV_SIZE)? else { return None };
        // After a REX prefix it is another register.
        if (0x40..=0x4f).contains(before) || !are_moves(&code[at + MOV_SIZE..end]) {
            return None;
        }
        let nr = i32::from_le_bytes(number.try_into().ok()?);
        Kind::of(nr.into()).map(|kind| Call { at: start + at, between, nr, kind })
    };
    let found = |end: usize| (0..=MOST_BETWEEN).find_map(|between| call(end, between));
    memchr::memmem::find_iter(code, &SYSCALL).filter_map(found).collect()
}

/// Whether these are instructions which do nothing but move constants and registers to registers other than eax, so that it does not matter where they stand.
fn are_moves(mut code: &[u8]) -> bool {
    /// `mov`, the register that is written to in the lower three bits of what follows, and two registers
    const BETWEEN_REGISTERS: u8 = 0x89;
    while !code.is_empty() {
        // REX: 64 bits (8), and which registers are the upper eight ones (4 that is read, 1 that is written to).
        let (rex, rest) = match code {
            [rex @ 0x40..=0x4f, rest @ ..] => (*rex, rest),
            _ => (0, code),
        };
        let upper = rex & 1 != 0;
        code = match rest {
            [BETWEEN_REGISTERS, registers @ 0xc0..=0xff, rest @ ..] if upper || registers & 7 != 0 => rest,
            // A constant of 32 bits.
            [opcode @ 0xb8..=0xbf, _, _, _, _, rest @ ..] if rex & 8 == 0 && (upper || *opcode != MOV_EAX) => rest,
            _ => return false,
        };
    }
    true
}

pub(crate) const STUB_SIZE: usize = 23;

/// What a place jumps to; see [`code`]. `call` is where its `syscall` instruction stands, `page` the code page.
pub(crate) fn stub(nr: i32, kind: Kind, at: u64, call: u64, page: u64) -> Result<[u8; STUB_SIZE], ImageError> {
    let mut stub = [0; STUB_SIZE];
    stub[0] = MOV_EAX;
    stub[1..5].copy_from_slice(&nr.to_le_bytes());
    // mov r11d, …
    stub[5..7].copy_from_slice(&[0x41, 0xbb]);
    stub[7..11].copy_from_slice(&kind.bits().to_le_bytes());
    // lea rcx, [rip + …]
    stub[11..14].copy_from_slice(&[0x48, 0x8d, 0x0d]);
    put(&mut stub, 14, distance(at + 18, call)?)?;
    stub[18] = JUMP;
    put(&mut stub, 19, distance(at + 23, page + code::entry() as u64)?)?;
    Ok(stub)
}

/// A displacement, from behind an instruction.
pub(crate) fn distance(from: u64, to: u64) -> Result<i32, ImageError> {
    // Both are below 2⁴¹.
    i32::try_from(to.cast_signed() - from.cast_signed()).map_err(|_| ImageError::NoRoom)
}

pub(crate) fn put(bytes: &mut [u8], at: usize, value: i32) -> Result<(), ImageError> {
    let place = bytes.get_mut(at..at + 4).ok_or(ImageError::NoRoom)?;
    place.copy_from_slice(&value.to_le_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf;

    #[test]
    fn calls_are_known_by_what_stands_before_them() {
        let found = |code: &[u8]| {
            let code = [&[0x90; 30][..], code, &SYSCALL].concat();
            let size = code.len() as u64;
            let text = Header {
                kind: elf::LOAD,
                flags: elf::READ,
                offset: 0,
                address: 0,
                file_size: size,
                memory_size: size,
                align: 1,
            };
            calls(&code, &text).iter().map(|call| (call.at - 30, call.between)).collect::<Vec<_>>()
        };
        // mov eax, 257; mov rdi, rsi; mov edi, -100; mov r10d, 0; mov r8, rax
        const OPENAT: &[u8] = &[0xb8, 1, 1, 0, 0];
        const MOVES: [&[u8]; 4] =
            [&[0x48, 0x89, 0xfe], &[0xbf, 0x9c, 0xff, 0xff, 0xff], &[0x41, 0xba, 0, 0, 0, 0], &[0x49, 0x89, 0xc0]];
        assert_eq!(found(OPENAT), [(0, 0)]);
        assert_eq!(found(&[OPENAT, MOVES[0], MOVES[1]].concat()), [(0, 8)]);
        assert_eq!(found(&[OPENAT, MOVES[2], MOVES[3]].concat()), [(0, 9)]);
        assert_eq!(found(&[OPENAT, MOVES[1], MOVES[1], MOVES[2]].concat()), [(0, 16)]);
        let none: [&[u8]; 9] = [
            // of another call, to another register
            &[0xb8, 39, 0, 0, 0],
            &[0x41, 0xb8, 1, 1, 0, 0],
            // a constant and a register to eax
            &[0xb8, 1, 1, 0, 0, 0xb8, 39, 0, 0, 0],
            &[0xb8, 1, 1, 0, 0, 0x48, 0x89, 0xf8],
            // memory, a jump, a constant of 64 bits, one that is cut off, too many
            &[0xb8, 1, 1, 0, 0, 0x48, 0x89, 0x3c, 0x24],
            &[0xb8, 1, 1, 0, 0, 0xeb, 0xfe],
            &[0xb8, 1, 1, 0, 0, 0x48, 0xbf, 1, 0, 0, 0, 0, 0, 0, 0],
            &[0xb8, 1, 1, 0, 0, 0xbf, 1, 0],
            &[0xb8, 1, 1, 0, 0, 0x90, 0x90],
        ];
        none.iter().for_each(|code| assert_eq!(found(code), [], "{code:x?}"));
        assert_eq!(found(&[OPENAT, &MOVES[0].repeat(6)].concat()), []);
    }
}
