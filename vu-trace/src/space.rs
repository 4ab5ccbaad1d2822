//! Scratch memory in tracees: where the strings of rewritten calls lie.
//!
//! It is mapped into an address space once and used again and again. Processes that share their memory (vfork(2), until the
//! child executes a program) share the list of it; a process made by fork(2) has copies of all of it.

use crate::{
    memory::{Memory, ProcessMemory},
    ptrace::Tid,
    x86_64::Abi,
};
use std::{cell::RefCell, ops::Range, rc::Rc};

/// An area of scratch memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Area {
    pub address: u64,
    /// Without the signature behind it.
    pub length: usize,
}

impl Area {
    /// The least that is mapped: two paths and some more.
    const LEAST: usize = 16 << 10;

    /// How much to map for an area of at least this length.
    pub(crate) fn to_map(length: usize) -> usize {
        (length + Signature::LENGTH).max(Area::LEAST).next_multiple_of(4096)
    }

    /// What was mapped, as an area.
    pub(crate) fn mapped(address: u64, length: usize) -> Area {
        Area { address, length: length - Signature::LENGTH }
    }

    fn fits(&self, abi: Abi, length: usize) -> bool {
        self.length >= length && (abi == Abi::X86_64 || self.address < 1 << 32)
    }
}

/// What stands at the end of each area. A program that unmapped an area, and has something else there now, keeps what it has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signature(pub u64);

impl Signature {
    const LENGTH: usize = 16;

    fn of(self, area: Area) -> [u8; Signature::LENGTH] {
        let mut bytes = [0; Signature::LENGTH];
        bytes[..8].copy_from_slice(&self.0.to_le_bytes());
        bytes[8..].copy_from_slice(&area.address.to_le_bytes());
        bytes
    }

    /// That of a view with this cookie. Memory is read by whom it belongs to: the cookie itself stays out of it.
    pub(crate) fn with(cookie: u64) -> Signature {
        Signature(cookie.rotate_left(17) ^ 0x7675_7363_7261_7463)
    }

    fn stands(self, memory: &impl Memory, area: Area) -> bool {
        let mut found = [0; Signature::LENGTH];
        let end = area.address.checked_add(area.length as u64);
        end.is_some_and(|end| memory.read(end, &mut found).is_ok()) && found == self.of(area)
    }

    fn write(self, memory: ProcessMemory, area: Area) -> bool {
        memory.write(area.address + area.length as u64, &self.of(area)).is_ok()
    }
}

/// The part of a range of a process's memory, at its beginning or its end, that is scratch memory of the view with this cookie. What lies side by side is one mapping for
/// the kernel.
#[must_use]
pub fn scratch_in(memory: &impl Memory, cookie: u64, range: Range<u64>) -> Option<Range<u64>> {
    let signature = Signature::with(cookie);
    let length = range.end.checked_sub(range.start)?;
    let is_one = |start: u64, length: u64| {
        let length = usize::try_from(length).ok().filter(|&length| length >= Area::LEAST)?;
        signature.stands(memory, Area::mapped(start, length)).then_some(start..start + length as u64)
    };
    let at_end = || {
        // An area says itself where it begins.
        let start = memory.read_u64(range.end.checked_sub(8)?).ok()?;
        is_one(start, range.end.checked_sub(start)?).filter(|area| area.start >= range.start)
    };
    let least = Area::LEAST as u64;
    if length < least { None } else { is_one(range.start, least).or_else(at_end) }
}

#[derive(Debug, Default)]
struct Areas {
    /// Each that was ever mapped, in order.
    all: Vec<Area>,
    free: Vec<Area>,
}

/// The scratch memory of an address space.
#[derive(Debug, Default, Clone)]
pub(crate) struct Space(Rc<RefCell<Areas>>);

impl Space {
    /// How many areas were mapped so far.
    pub(crate) fn mapped(&self) -> usize {
        self.0.borrow().all.len()
    }

    /// A copy made by fork(2) when only the first `count` areas were there.
    pub(crate) fn forked(&self, count: usize) -> Space {
        let all: Vec<_> = self.0.borrow().all.iter().copied().take(count).collect();
        Space(Rc::new(RefCell::new(Areas { free: all.clone(), all })))
    }

    /// Whether no other process shares the memory.
    pub(crate) fn is_unshared(&self) -> bool {
        Rc::strong_count(&self.0) == 1
    }

    /// Borrows an area that nobody uses.
    pub(crate) fn take(&self, tid: Tid, abi: Abi, length: usize, signature: Signature) -> Option<Lease> {
        let mut areas = self.0.borrow_mut();
        while let Some(index) = areas.free.iter().position(|area| area.fits(abi, length)) {
            let area = areas.free.swap_remove(index);
            if signature.stands(&ProcessMemory(tid), area) {
                return Some(Lease { space: self.clone(), area });
            }
        }
        None
    }

    /// Enters an area that was just mapped, and lends it. `None` if it cannot be written to.
    pub(crate) fn add(&self, tid: Tid, area: Area, signature: Signature) -> Option<Lease> {
        if !signature.write(ProcessMemory(tid), area) {
            return None;
        }
        self.0.borrow_mut().all.push(area);
        Some(Lease { space: self.clone(), area })
    }
}

/// An area in use; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    space: Space,
    area: Area,
}

impl Lease {
    pub(crate) fn address(&self) -> u64 {
        self.area.address
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.space.0.borrow_mut().free.push(self.area);
    }
}

/// Memory in use by a rewritten call.
#[derive(Debug)]
pub(crate) enum Scratch {
    Area(Lease),
    Stack(BelowStack),
}

impl Scratch {
    pub(crate) fn address(&self) -> u64 {
        match self {
            Scratch::Area(lease) => lease.address(),
            Scratch::Stack(below) => below.address,
        }
    }

    /// It is not needed any more, and the program goes on.
    pub(crate) fn put_back(&self, tid: Tid) {
        if let Scratch::Stack(below) = self {
            let _ = ProcessMemory(tid).write(below.address, &below.own);
        }
    }
}

/// Memory below a thread's stack pointer, where nothing of the program's lies.
#[derive(Debug)]
pub(crate) struct BelowStack {
    address: u64,
    /// What stood there.
    own: Vec<u8>,
}

impl BelowStack {
    /// Right below what a function may use there (the red zone of 128 bytes, System V ABI for x86-64, 3.2.2), if it is not so much that it might be another one's memory
    /// where a stack is a small one. For an exec: the memory of a process that was made by fork(2) only to execute a program is used once, which is not worth the three stops
    /// that it takes to map some.
    pub(crate) fn near(memory: &impl Memory, stack: u64, length: usize) -> Option<BelowStack> {
        const MOST: usize = 2048;
        if length > MOST { None } else { BelowStack::at_distance(memory, stack, 128, length) }
    }

    /// Far below, for a process that can map nothing.
    pub(crate) fn far(memory: &impl Memory, stack: u64, length: usize) -> Option<BelowStack> {
        BelowStack::at_distance(memory, stack, 4096, length)
    }

    /// `None` if there is not as much. What has been written there must be [put back](Scratch::put_back) before the program goes on.
    fn at_distance(memory: &impl Memory, stack: u64, distance: u64, length: usize) -> Option<BelowStack> {
        let address = stack.checked_sub(distance + length as u64)? & !15;
        let mut own = vec![0; length];
        memory.read(address, &mut own).ok()?;
        Some(BelowStack { address, own })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::FakeMemory;

    #[test]
    fn below_the_stack_is_what_no_function_uses() {
        let memory = FakeMemory { base: 0x1000, bytes: vec![7; 0x1000].into() };
        let below = BelowStack::near(&memory, 0x1808, 100).unwrap();
        assert!(
            below.address.is_multiple_of(16) && below.address + 100 <= 0x1808 - 128 && below.address > 0x1800 - 256
        );
        assert_eq!(below.own, [7; 100]);
        assert!(BelowStack::near(&memory, 0x1000 + 128 + 99, 100).is_none(), "the stack has no more room");
        assert!(BelowStack::near(&memory, 100, 100).is_none());
        assert!(BelowStack::near(&memory, 0x2000, 2049).is_none());
        assert!(BelowStack::far(&memory, 0x2000, 1).is_none(), "the stack has no more room");
        assert_eq!(BelowStack::far(&memory, 0x2fff, 2049).map(|far| far.address), Some(0x17f0));
    }

    /// Real memory of this process, so that the signature can stand in it.
    fn area(buffer: &mut [u8]) -> Area {
        Area::mapped(buffer.as_mut_ptr().addr() as u64, buffer.len())
    }

    #[test]
    fn scratch_memory_is_found_at_either_end_of_a_mapping() {
        let (base, cookie) = (0x10_0000, 0x1234_5678_9abc_def0);
        let mut bytes = vec![0; 0x10000];
        let mut put = |area: Area| {
            let at = usize::try_from(area.address - base).unwrap() + area.length;
            bytes[at..at + Signature::LENGTH].copy_from_slice(&Signature::with(cookie).of(area));
        };
        put(Area::mapped(base + 0x1000, 0x4000));
        put(Area::mapped(base + 0x8000, 0x6000));
        let memory = FakeMemory { base, bytes: bytes.into() };
        let found = |range: Range<u64>| {
            let found = scratch_in(&memory, cookie, base + range.start..base + range.end);
            found.map(|found| (found.start - base, found.end - base))
        };
        assert_eq!(found(0x1000..0x5000), Some((0x1000, 0x5000)));
        assert_eq!(found(0x1000..0x7000), Some((0x1000, 0x5000)), "followed by others");
        assert_eq!(found(0..0x5000), Some((0x1000, 0x5000)), "behind others");
        assert_eq!(found(0x5000..0xe000), Some((0x8000, 0xe000)), "a larger one");
        assert_eq!(found(0x9000..0xe000), None, "it begins elsewhere");
        assert_eq!(found(0..0x4000), None);
        assert_eq!(found(0x5000..0x8000), None);
        assert_eq!(found(0x8000..0x20000), None, "unmapped");
        assert_eq!(scratch_in(&memory, 1, base + 0x1000..base + 0x5000), None, "of another view");
    }

    #[test]
    fn areas_are_lent_once_and_come_back() {
        let own = Tid(std::process::id().cast_signed());
        let signature = Signature(0x1234_5678_9abc_def0);
        let mut buffer = vec![0u8; Area::to_map(100)];
        let space = Space::default();
        assert!(space.take(own, Abi::X86_64, 1, signature).is_none());
        let lease = space.add(own, area(&mut buffer), signature).unwrap();
        assert!(space.take(own, Abi::X86_64, 1, signature).is_none(), "in use");
        let child = space.forked(1);
        assert!(child.take(own, Abi::X86_64, 1, signature).is_some(), "a copy is nobody's yet");
        assert!(space.forked(0).take(own, Abi::X86_64, 1, signature).is_none(), "forked before it was mapped");
        drop(lease);
        assert!(space.take(own, Abi::X86_64, 1 << 20, signature).is_none(), "too large");
        let lease = space.take(own, Abi::X86_64, 1, signature).unwrap();
        drop(lease);
        buffer.fill(7);
        assert!(space.take(own, Abi::X86_64, 1, signature).is_none(), "the program has something else there");
        assert!(buffer.iter().all(|&byte| byte == 7));
    }
}
