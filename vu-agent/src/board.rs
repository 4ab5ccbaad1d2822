//! What the hypervisor publishes to the agents of a view, in memory that they can read and only it can write.
//!
//! A *proof* says that the kernel, asked for a name in a directory by this text, finds what the view means. It is published as a [`Key`]: a
//! hash of the text, of where it begins, and of the board's *seed*. With a new seed all proofs are void at once, without anything being written but that number.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

/// Where things stand on a board, in bytes. The agent's code has the same numbers.
pub(crate) mod layout {
    pub const ENABLED: usize = 0;
    pub const SEED: usize = 8;
    pub const COOKIE: usize = 16;
    pub const BIND_COUNT: usize = 24;
    pub const EXEC_SEED: usize = 32;
    pub const DOUBTS: usize = 40;
    pub const LINKS: usize = 48;
    pub const BINDS: usize = 64;
    /// Two lengths (4 bytes each) and two texts, the tag, and another text and its length.
    pub const BIND_SIZE: usize = 1024;
    pub const BIND_POINT: usize = 8;
    pub const BIND_SOURCE: usize = 256;
    pub const BIND_TAG: usize = 504;
    pub const BIND_EXEC: usize = 512;
    pub const BIND_EXEC_LENGTH: usize = BIND_SIZE - 8;
    /// A number for each tag, and one for none.
    pub const MOUNTS: usize = 5120;
    pub const NAMES: usize = 8192;
    pub const NAMES_SIZE: usize = 8192;
    pub const KEYS: usize = NAMES + NAMES_SIZE;
    pub const KEY_COUNT: usize = 8192;
    /// The highest bits of a key are its place.
    pub const KEY_SHIFT: u32 = 64 - KEY_COUNT.ilog2();
    /// A key, a length and a text each.
    pub const STANDS: usize = KEYS + 8 * KEY_COUNT;
    pub const STAND_SIZE: usize = 256;
    pub const STAND_COUNT: usize = 32;
    pub const STAND_LENGTH: usize = 8;
    pub const STAND_NAME: usize = 16;
    /// The highest bits of a key are its place.
    pub const STAND_SHIFT: u32 = 64 - STAND_COUNT.ilog2();
    /// A Bloom filter as that of the names.
    pub const TOUCHED: usize = STANDS + STAND_SIZE * STAND_COUNT;
    pub const TOUCHED_SIZE: usize = 8192;
    pub const SIZE: usize = TOUCHED + TOUCHED_SIZE;
}

/// The size of a board in bytes: whole pages.
pub const SIZE: usize = layout::SIZE;
/// How many binds it tells of.
pub const MOST_BINDS: usize = 4;
/// How long the mount point and the source of one may be.
pub const LONGEST_BIND: usize = layout::BIND_SOURCE - layout::BIND_POINT - 8;
const _: () = assert!(layout::BINDS + MOST_BINDS * layout::BIND_SIZE <= layout::MOUNTS);
/// How many tags a description may have: signal numbers.
pub(crate) const TAGS: usize = 64;
const _: () = assert!(layout::MOUNTS + 8 * (TAGS + 1) <= layout::NAMES);
/// Where all directories with a tag begin, without that.
pub(crate) const ALL: u64 = 1 << 28;
/// What is added to where a path begins, with the tag, to say which one a directory is given that is opened there.
pub(crate) const LENT: u64 = 1 << 29;
/// What stands before a source where programs are executed: so many slashes at least, and up to [`MOST_BINDS`] more.
const LEAST_SLASHES: usize = 2;
const _: () = assert!(LONGEST_BIND + LEAST_SLASHES + MOST_BINDS < layout::BIND_EXEC_LENGTH - layout::BIND_EXEC);

/// How long the name of a directory may be that something stands for: with what is looked up there, it must fit where the agent puts it together.
pub const LONGEST_STAND: usize = layout::STAND_SIZE - layout::STAND_NAME - 32;

/// The multiplier of the hashes, which are those of FNV-1a (draft-eastlake-fnv) with another number: 2⁶⁴ divided by the golden ratio.
pub(crate) const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
/// What a hash of a name begins with.
pub(crate) const NAME_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// Whether a page of a file can be mapped for execution.
///
/// # Errors
/// Those of mmap(2): `EPERM` where the host forbids it.
pub(crate) fn try_to_execute(file: BorrowedFd<'_>, offset: usize) -> io::Result<()> {
    use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    let length = std::num::NonZeroUsize::new(crate::code::SIZE).ok_or_else(invalid)?;
    let at = i64::try_from(offset).map_err(|_| invalid())?;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_EXEC;
    // SAFETY: a new mapping at a place of the kernel's choice, which nothing refers to and is taken away at once.
    unsafe {
        let memory = mmap(None, length, access, MapFlags::MAP_PRIVATE, file, at)?;
        munmap(memory, length.get())?;
    }
    Ok(())
}

/// What the kernel maps with one entry of a table, where it has one for that: huge pages (`HPAGE_PMD_SIZE`).
pub(crate) const HUGE: usize = 2 << 20;

/// Has the memory of a file of a whole number of [`HUGE`] bytes, which has some in each of them, lie in huge pages. It is mapped in small ones, nevertheless; but the
/// kernel counts its mappings once for the whole then, not once for each small page, which is a tenth of what a program's start costs.
///
/// # Errors
/// Those of mmap(2) and of `MADV_COLLAPSE` (madvise(2), Linux 6.1): the kernel has none, or none is free.
pub(crate) fn collapse(file: BorrowedFd<'_>, length: usize) -> io::Result<()> {
    use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
    const COLLAPSE: i32 = 25;
    let sized = |length| std::num::NonZeroUsize::new(length).ok_or(io::ErrorKind::InvalidInput);
    let room = sized(length.saturating_add(HUGE))?;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping at a place of the kernel's choice, of which a part is put in another's place; nothing refers to either, and both are taken away at once.
    unsafe {
        let memory = mmap_anonymous(None, room, ProtFlags::PROT_NONE, MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE)?;
        let at = std::num::NonZeroUsize::new(memory.addr().get().next_multiple_of(HUGE));
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_FIXED;
        let mapped = mmap(at, sized(length)?, access, flags, file, 0);
        let result = mapped.map(|mapped| libc::madvise(mapped.as_ptr(), length, COLLAPSE));
        let error = io::Error::last_os_error();
        munmap(memory, room.get())?;
        if result? == 0 { Ok(()) } else { Err(error) }
    }
}

/// Where a path begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the root, and it is looked up as it stands.
    Root,
    /// At a working directory: device and inode number.
    Directory(u64, u64),
    /// At the root, in the bind of this index: it is looked up with the bind's source in place of its mount point.
    Bind(usize),
    /// At an open directory whose description has a tag (`F_SETSIG`), and its attributes: device and inode number, and the tag.
    Tagged(u64, u64, u32),
    /// At a working directory that only stands for one of the host, whose name is [told](Board::tell_stand): device and inode number.
    Stand(u64, u64),
}

impl Start {
    /// By which it is known in a key.
    fn word(self) -> u64 {
        match self {
            Start::Root => 0,
            Start::Bind(index) => index as u64 + 1,
            Start::Directory(device, inode) => Key::of_object(device, inode),
            Start::Tagged(device, inode, tag) => Key::of_object(device, inode).wrapping_add(2 + u64::from(tag)),
            Start::Stand(device, inode) => Key::of_object(device, inode).wrapping_add(1),
        }
    }
}

/// What the proofs of a state depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seeds {
    /// Those of paths.
    pub paths: u64,
    /// Those of programs.
    pub programs: u64,
}

/// Where the path of a program begins.
pub(crate) const PROGRAMS: u64 = 1 << 30;

/// A proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(u64);

impl Key {
    /// Of the text of a path up to its last slash, without that.
    #[must_use]
    pub fn new(seed: u64, start: Start, directory: &[u8]) -> Key {
        Key::from_word(seed, start.word(), directory)
    }

    /// Of the same, and of a tag: a directory that is opened there is lent, and is given it, if it lies in the mount of the host that is [told](Board::tell_mount) of the tag.
    #[must_use]
    pub fn of_lent(seed: u64, start: Start, directory: &[u8], tag: u32) -> Key {
        Key::from_word(seed, start.word().wrapping_add(LENT + u64::from(tag)), directory)
    }

    /// Of all open directories whose descriptions have this tag, but for those that were [touched](Board::touch): as [`Start::Tagged`] of each.
    #[must_use]
    pub fn of_all(seed: u64, tag: u32) -> Key {
        Key::from_word(seed, ALL + u64::from(tag), b"")
    }

    fn from_word(seed: u64, start: u64, directory: &[u8]) -> Key {
        Key((hash(seed, directory) ^ start).wrapping_mul(PRIME) | 1)
    }

    fn of_object(device: u64, inode: u64) -> u64 {
        (device.wrapping_mul(PRIME) ^ inode).wrapping_mul(PRIME)
    }

    /// Of a whole absolute path by which a program is executed (the seed is that of programs): as it stands, or by the bind of this index.
    #[must_use]
    pub fn of_program(seed: u64, bind: Option<usize>, path: &[u8]) -> Key {
        let start = PROGRAMS + bind.map_or(0, |index| index as u64 + 1);
        Key((hash(seed, path) ^ start).wrapping_mul(PRIME) | 1)
    }

    fn place(self) -> usize {
        // Less than the number of places, by the shift.
        usize::try_from(self.0 >> layout::KEY_SHIFT).unwrap_or(0)
    }

    /// The same among the directories that something stands for.
    fn stand_place(self) -> usize {
        usize::try_from(self.0 >> layout::STAND_SHIFT).unwrap_or(0)
    }
}

fn hash(basis: u64, text: &[u8]) -> u64 {
    text.iter().fold(basis, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

/// The two bits that stand for a name.
fn bits(name: &[u8]) -> [usize; 2] {
    bits_of(hash(NAME_BASIS, name))
}

fn bits_of(hash: u64) -> [usize; 2] {
    [48, 32].map(|shift| usize::try_from(hash >> shift & 0xffff).unwrap_or(0))
}

/// A bind, for paths that lie in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Its mount point, absolute and canonical, no longer than [`LONGEST_BIND`].
    pub point: Vec<u8>,
    /// What stands in its place on the host: absolute and canonical, as long at most; empty for the root.
    pub source: Vec<u8>,
    /// The signal number (`F_SETSIG`, fcntl(2)) by which a file is known that was opened there; 0 if it cannot be.
    pub tag: u32,
}

impl Bind {
    /// Whether a board can tell of it.
    #[must_use]
    pub fn fits(&self) -> bool {
        (1..=LONGEST_BIND).contains(&self.point.len()) && self.source.len() <= LONGEST_BIND
    }

    /// What stands in place of the mount point, as the bind of this index, in the path of a program that is executed: the source behind so many slashes that there is room for
    /// the mount point, and that tell the index. Paths are not written so, and slashes at their beginning mean nothing.
    #[must_use]
    pub fn exec_prefix(&self, index: usize) -> Vec<u8> {
        let room = self.point.len().saturating_sub(self.source.len()).max(LEAST_SLASHES);
        let more = (index + MOST_BINDS - room % MOST_BINDS) % MOST_BINDS;
        let mut prefix = vec![b'/'; room + more];
        prefix.extend_from_slice(&self.source);
        prefix
    }
}

/// What agents of a view do not take for granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Doubts {
    /// That a descriptor is of what the view means by it. One may be a placeholder, or of a directory whose content in the view is another one by now.
    pub descriptors: bool,
    /// That who may write to an object, or run it, is the kernel's to say (access(2)).
    pub access: bool,
    /// That an object of a file system without a device of its own belongs to whom the kernel says: it may be of `/proc`.
    pub owners: bool,
}

impl Doubts {
    pub(crate) const DESCRIPTORS: u64 = 1;
    pub(crate) const ACCESS: u64 = 2;
    pub(crate) const OWNERS: u64 = 4;

    fn bits(self) -> u64 {
        let bit = |doubt, bit| if doubt { bit } else { 0 };
        bit(self.descriptors, Self::DESCRIPTORS) | bit(self.access, Self::ACCESS) | bit(self.owners, Self::OWNERS)
    }
}

/// A board. One writer at a time (the hypervisor sees to that), any number of readers in other processes.
#[derive(Debug)]
pub struct Board {
    words: NonNull<AtomicU64>,
}

// SAFETY: the memory is the board's own until it is dropped, and is accessed by atomic operations alone.
unsafe impl Send for Board {}
// SAFETY: the same.
unsafe impl Sync for Board {}

impl Board {
    /// Of a file, from `offset` on, which is a multiple of the size of a page.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn new(file: BorrowedFd<'_>, offset: usize) -> io::Result<Board> {
        use nix::sys::mman::{MapFlags, ProtFlags, mmap};
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        let length = std::num::NonZeroUsize::new(SIZE).ok_or_else(invalid)?;
        let at = i64::try_from(offset).map_err(|_| invalid())?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping, at a place of the kernel's choice; the image keeps the file as long as it is at least (it is sealed).
        let memory = unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, file.as_fd(), at) }?;
        Ok(Board { words: memory.cast() })
    }

    /// The word at a place in bytes, a multiple of 8.
    fn word(&self, at: usize) -> &AtomicU64 {
        let index = (at / 8).min(SIZE / 8 - 1);
        // SAFETY: within the mapping, which lives as long as `self` does; aligned, for mappings begin with a page.
        unsafe { self.words.add(index).as_ref() }
    }

    fn set(&self, at: usize, value: u64) {
        self.word(at).store(value, Ordering::Release);
    }

    /// Gives all of its bytes from `at` on.
    fn write(&self, at: usize, bytes: &[u8]) {
        for (index, chunk) in bytes.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.set(at + 8 * index, u64::from_ne_bytes(word));
        }
    }

    /// Tells the agents with which number their calls pass the filter.
    pub fn set_cookie(&self, cookie: u64) {
        self.set(layout::COOKIE, cookie);
    }

    /// Voids all proofs. To be called with a number that was not a seed before.
    pub fn set_seed(&self, seed: u64) {
        self.set(layout::SEED, seed);
    }

    /// Voids the proofs of programs. The same holds for the number.
    pub fn set_exec_seed(&self, seed: u64) {
        self.set(layout::EXEC_SEED, seed);
    }

    /// From now on, what has several names and is no directory may be another object wherever a proof leads.
    pub fn doubt_links(&self) {
        self.set(layout::LINKS, 1);
    }

    /// Switches all agents off that read it.
    pub fn disable(&self) {
        self.set(layout::ENABLED, 0);
    }

    /// Tells of a new state of the mounts: the last names of all mount points and whatever else is never to be asked of the kernel directly, and the binds in which paths may
    /// lie. Proofs of the former state are void, and agents may look.
    pub fn enable<'a>(&self, seeds: Seeds, names: impl Iterator<Item = &'a [u8]>, binds: &[Bind], doubts: Doubts) {
        // In this order: who begins before all is written finds another seed at the end.
        self.set_seed(!seeds.paths);
        self.set_exec_seed(seeds.programs);
        self.set(layout::DOUBTS, doubts.bits());
        (0..=TAGS).for_each(|tag| self.set(layout::MOUNTS + 8 * tag, 0));
        let mut words = vec![0u64; layout::NAMES_SIZE / 8];
        for bit in names.flat_map(bits) {
            words[bit / 64] |= 1 << (bit % 64);
        }
        for (index, word) in words.into_iter().enumerate() {
            self.set(layout::NAMES + 8 * index, word);
        }
        let binds: Vec<&Bind> = binds.iter().take(MOST_BINDS).take_while(|bind| bind.fits()).collect();
        for (index, bind) in binds.iter().enumerate() {
            let at = layout::BINDS + layout::BIND_SIZE * index;
            let lengths = [bind.point.len(), bind.source.len()].map(|length| length as u64);
            self.set(at, lengths[0] | lengths[1] << 32);
            self.write(at + layout::BIND_POINT, &bind.point);
            self.write(at + layout::BIND_SOURCE, &bind.source);
            self.set(at + layout::BIND_TAG, u64::from(bind.tag));
            let prefix = bind.exec_prefix(index);
            self.write(at + layout::BIND_EXEC, &prefix);
            self.set(at + layout::BIND_EXEC_LENGTH, prefix.len() as u64);
        }
        self.set(layout::BIND_COUNT, binds.len() as u64);
        self.set_seed(seeds.paths);
        self.set(layout::ENABLED, 1);
    }

    /// Publishes a proof. One of two places; what was there is forgotten.
    pub fn publish(&self, key: Key) {
        let place = |place: usize| layout::KEYS + 8 * place;
        let (first, second) = (place(key.place()), place(key.place() ^ 1));
        let known = self.word(first).load(Ordering::Relaxed);
        if known == key.0 || self.word(second).load(Ordering::Relaxed) == key.0 {
            return;
        }
        self.set(second, known);
        self.set(first, key.0);
    }

    /// A directory of the host is to be met by a proof of its own from now on.
    pub fn touch(&self, (device, inode): (u64, u64)) {
        for bit in bits_of(Key::of_object(device, inode)) {
            let at = layout::TOUCHED + bit / 64 * 8;
            self.set(at, self.word(at).load(Ordering::Relaxed) | 1 << (bit % 64));
        }
    }

    /// None is, because no proof of all of a tag's will be published that was before.
    pub fn forget_touched(&self) {
        (0..layout::TOUCHED_SIZE / 8).for_each(|index| self.set(layout::TOUCHED + 8 * index, 0));
    }

    /// Tells in which mount of the host directories lie whose descriptions have this tag (`STATX_MNT_ID`); `None` if that is all the same. To be called before a proof of one is published.
    pub fn tell_mount(&self, tag: u32, mount: Option<u64>) {
        if let Ok(tag @ 1..=TAGS) = usize::try_from(tag) {
            self.set(layout::MOUNTS + 8 * tag, mount.unwrap_or(u64::MAX));
        }
    }

    /// Tells for which directory of the host, absolute and canonical, a working directory stands. False if the name is too long to be told. It is forgotten when others need
    /// the place.
    pub fn tell_stand(&self, seed: u64, (device, inode): (u64, u64), name: &[u8]) -> bool {
        let name = if name == b"/" { b"" } else { name };
        if name.len() > LONGEST_STAND {
            return false;
        }
        let key = Key::new(seed, Start::Stand(device, inode), b"");
        let place = |place: usize| layout::STANDS + layout::STAND_SIZE * place;
        let (first, second) = (place(key.stand_place()), place(key.stand_place() ^ 1));
        let of_now = |at: usize| self.word(at).load(Ordering::Relaxed);
        if of_now(first) == key.0 || of_now(second) == key.0 {
            return true;
        }
        // Who reads meanwhile finds at the end that it is another one.
        let at = if of_now(first) == 0 { first } else { second };
        self.set(at, 0);
        self.set(at + layout::STAND_LENGTH, name.len() as u64);
        self.write(at + layout::STAND_NAME, name);
        self.set(at, key.0);
        true
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`, to which no reference is left.
        let _ = unsafe { nix::sys::mman::munmap(self.words.cast(), SIZE) };
    }
}
