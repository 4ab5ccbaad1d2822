//! Any call of any tracee, printed for the debug log and asked for its paths: any number, any arguments, any memory.
#![no_main]

use libfuzzer_sys::{
    arbitrary::{Arbitrary, Result, Unstructured},
    fuzz_target,
};
use vu_core::table::{GROUPS, Printed, PrintedResult, lookup};
use vu_trace::{Abi, FakeMemory};

/// Where the memory begins: near the end of a page, so that what is read crosses it.
const BASE: u64 = 0x1_0ff0;

#[derive(Debug)]
struct Case {
    abi: Abi,
    nr: i64,
    args: [u64; 6],
    memory: Vec<u8>,
}

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(data: &mut Unstructured<'a>) -> Result<Case> {
        let abi = if data.arbitrary()? { Abi::I386 } else { Abi::X86_64 };
        let nr = if data.ratio(7, 8)? {
            let group = data.choose(GROUPS)?;
            let row = data.choose(group.rows)?;
            row.nr.or(row.i386).unwrap_or(-1)
        } else {
            data.arbitrary()?
        };
        let mut args = [0; 6];
        for argument in &mut args {
            *argument = match data.int_in_range(0..=3)? {
                0 => BASE + u64::from(data.arbitrary::<u8>()?),
                1 => data.arbitrary::<u8>()?.into(),
                2 => 1 << data.int_in_range(0..=63)?,
                _ => data.arbitrary()?,
            };
        }
        let mut memory: Vec<u8> = data.arbitrary()?;
        // Words that point into the memory itself, as those of argv do.
        for _ in 0..data.int_in_range(0..=4)? {
            let at = 8 * data.int_in_range(0..=31usize)?;
            let word = (BASE + u64::from(data.arbitrary::<u8>()?)).to_le_bytes();
            if let Some(slot) = memory.get_mut(at..at + 8) {
                slot.copy_from_slice(&word);
            }
        }
        Ok(Case { abi, nr, args, memory })
    }
}

fuzz_target!(|case: Case| {
    let Case { abi, nr, args, memory } = case;
    let memory = FakeMemory { base: BASE, bytes: memory.into() };
    let text = Printed { abi, nr, args, memory: &memory }.to_string();
    assert!(!text.chars().any(char::is_control), "one line, and nothing that moves a cursor: {text:?}");
    assert!(text.ends_with(')'));
    if let Some(row) = lookup(abi, nr) {
        assert!(text.starts_with(row.name));
        assert!(row.nr == Some(nr) || row.i386 == Some(nr));
        for path in row.paths(&args) {
            assert!(path.index < 6 && path.dirfd.is_none_or(|dirfd| dirfd + 1 == path.index));
        }
    }
    assert!(!PrintedResult(nr).to_string().is_empty());
});
