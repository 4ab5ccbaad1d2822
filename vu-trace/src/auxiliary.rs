//! The auxiliary vector of a program that has not run yet (getauxval(3)).
//!
//! On its stack it stands behind the number of arguments, their addresses and those of the environment, each of which end with a NULL (`create_elf_tables`,
//! `fs/binfmt_elf.c`). `/proc/PID/auxv` tells the same, at four times the cost.

use crate::{memory::Memory, x86_64::Abi};
use vu_api::Errno;

/// More entries than a kernel has (`AT_VECTOR_SIZE`, `include/linux/auxvec.h`).
const MOST: u64 = 64;
/// More words than arguments and environment can have.
const MOST_STRINGS: u64 = 1 << 21;
/// So much of the stack is read at first: most often it is all that matters.
const BEGINNING: usize = 1536;
/// With so much of it, most often, all strings.
const WITH_STRINGS: usize = 6144;

/// The value of this type.
pub(crate) fn get(memory: &impl Memory, stack: u64, abi: Abi, kind: u64) -> Option<u64> {
    Words::new(memory, stack, abi).value(kind)
}

/// The path that an entry of this type points to, and where it lies. It stands on the stack, too, a little above the vector, and is most often read with that.
pub(crate) fn path(memory: &impl Memory, stack: u64, abi: Abi, kind: u64) -> Option<(u64, Vec<u8>)> {
    let words = Words::with_beginning(memory, stack, abi, WITH_STRINGS);
    let address = words.value(kind)?;
    let read = || {
        let behind = words.beginning.get(usize::try_from(address.checked_sub(stack)?).ok()?..)?;
        Some(behind[..behind.iter().position(|&byte| byte == 0)?].to_vec())
    };
    Some((address, read().or_else(|| memory.read_path(address).ok())?))
}

/// Exchanges values.
///
/// # Errors
/// `EFAULT`, `ESRCH`.
pub(crate) fn put(memory: &impl Memory, stack: u64, abi: Abi, values: &[(u64, u64)]) -> Result<(), Errno> {
    let words = Words::new(memory, stack, abi);
    for entry in words.entries()? {
        let (index, kind) = entry?;
        if let Some((_, value)) = values.iter().find(|(wanted, _)| *wanted == kind) {
            memory.write(words.address(index + 1)?, &value.to_le_bytes()[..abi.pointer_size()])?;
        }
    }
    Ok(())
}

/// The stack, as words.
struct Words<'a, M> {
    memory: &'a M,
    stack: u64,
    width: usize,
    beginning: Vec<u8>,
}

impl<M: Memory> Words<'_, M> {
    fn new(memory: &M, stack: u64, abi: Abi) -> Words<'_, M> {
        Words::with_beginning(memory, stack, abi, BEGINNING)
    }

    fn with_beginning(memory: &M, stack: u64, abi: Abi, size: usize) -> Words<'_, M> {
        let mut beginning = vec![0; size];
        let length = memory.read_some(stack, &mut beginning).unwrap_or(0);
        beginning.truncate(length);
        Words { memory, stack, width: abi.pointer_size(), beginning }
    }

    fn address(&self, index: u64) -> Result<u64, Errno> {
        index.checked_mul(self.width as u64).and_then(|offset| self.stack.checked_add(offset)).ok_or(Errno::EFAULT)
    }

    fn get(&self, index: u64) -> Result<u64, Errno> {
        let at = usize::try_from(index).ok().and_then(|index| index.checked_mul(self.width));
        match at.and_then(|at| self.beginning.get(at..at.checked_add(self.width)?)) {
            Some(bytes) => Ok(bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))),
            None => self.memory.read_pointer(self.address(index)?, self.width),
        }
    }

    fn value(&self, kind: u64) -> Option<u64> {
        let index = self.entries().ok()?.find_map(|entry| (entry.ok()?.1 == kind).then_some(entry.ok()?.0))?;
        self.get(index + 1).ok()
    }

    /// The index and the type of each entry.
    fn entries(&self) -> Result<impl Iterator<Item = Result<(u64, u64), Errno>>, Errno> {
        // The number of arguments, they, and the NULL.
        let mut index = self.get(0)?.checked_add(2).ok_or(Errno::EFAULT)?;
        let last = index.saturating_add(MOST_STRINGS);
        while self.get(index)? != 0 {
            index += 1;
            if index == last {
                return Err(Errno::E2BIG);
            }
        }
        index += 1;
        let entry = move |number| {
            let index = index + 2 * number;
            self.get(index).map(|kind| (index, kind))
        };
        Ok((0..MOST).map(entry).take_while(|entry| !matches!(entry, Ok((_, libc::AT_NULL)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::FakeMemory;

    const STACK: u64 = 0x7ff0;

    fn stack(abi: Abi, environment: usize) -> FakeMemory {
        let mut words = vec![2, 0x10, 0x20, 0];
        words.extend(vec![0x30; environment]);
        words.extend([0, libc::AT_PAGESZ, 4096, libc::AT_EXECFN, 0x40, libc::AT_NULL, 0, libc::AT_UID, 7]);
        let bytes: Vec<u8> =
            words.iter().flat_map(|word: &u64| word.to_le_bytes()[..abi.pointer_size()].to_vec()).collect();
        FakeMemory { base: STACK, bytes: bytes.into() }
    }

    #[test]
    fn it_is_found_behind_arguments_and_environment() {
        for abi in [Abi::X86_64, Abi::I386] {
            for environment in [0, 1, 180, 191, 192, 1000] {
                let memory = stack(abi, environment);
                let get = |kind| get(&memory, STACK, abi, kind);
                assert_eq!(get(libc::AT_EXECFN), Some(0x40), "{abi:?}, {environment}");
                assert_eq!(get(libc::AT_PAGESZ), Some(4096));
                assert_eq!(get(libc::AT_UID), None, "behind the end");
                put(&memory, STACK, abi, &[(libc::AT_EXECFN, 0x50), (libc::AT_UID, 9)]).unwrap();
                assert_eq!(get(libc::AT_EXECFN), Some(0x50));
                assert_eq!(get(libc::AT_PAGESZ), Some(4096));
            }
        }
    }

    #[test]
    fn a_path_is_found_wherever_it_lies() {
        for environment in [0, 100, 760, 1000] {
            let words = 4 + environment + 1 + 4;
            let at = STACK + 8 * words as u64;
            let mut all = vec![2, 0x10, 0x20, 0];
            all.extend(vec![0x30; environment]);
            all.extend([0, libc::AT_EXECFN, at, libc::AT_NULL, 0]);
            let mut bytes: Vec<u8> = all.iter().flat_map(|word: &u64| word.to_le_bytes()).collect();
            bytes.extend(b"/bin/program\0\0\0");
            let found = |bytes: &[u8]| {
                let memory = FakeMemory { base: STACK, bytes: bytes.to_vec().into() };
                path(&memory, STACK, Abi::X86_64, libc::AT_EXECFN)
            };
            assert_eq!(found(&bytes), Some((at, b"/bin/program".to_vec())), "{environment}");
            let cut = bytes.len() - 4;
            assert_eq!(found(&bytes[..cut]), None, "{environment}: without its end");
        }
    }

    #[test]
    fn a_stack_may_hold_anything() {
        for words in [vec![], vec![u64::MAX], vec![1, 0x10], vec![1, 0x10, 0, 0x30], vec![0, 0, 0, 3]] {
            let bytes: Vec<u8> = words.iter().flat_map(|word: &u64| word.to_le_bytes()).collect();
            let memory = FakeMemory { base: STACK, bytes: bytes.into() };
            assert_eq!(get(&memory, STACK, Abi::X86_64, libc::AT_EXECFN), None, "{words:?}");
            assert_eq!(get(&memory, u64::MAX - 7, Abi::X86_64, libc::AT_EXECFN), None);
        }
    }
}
