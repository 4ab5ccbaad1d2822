//! The requests of ioctl(2) that are about a file as an object of its file system, not about its content: the flags of `chattr`, its generation, what it lies on.
//!
//! Of an object that its mount keeps itself they are made on that of the host in which it is kept. For this their arguments must be known: how much is
//! taken from the caller's memory and how much is given to it.

use vu_trace::Abi;

/// The most that one takes or gives.
pub const ROOM: usize = 256;

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It tells something of the object.
    Tells,
    /// It tells something of the whole file system.
    TellsOfAll,
    /// It changes the object.
    Changes,
    /// It changes the whole file system, which is more than the view's.
    ChangesAll,
}

/// One of the requests that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectRequest {
    number: u32,
    takes: usize,
    gives: usize,
    effect: Effect,
}

/// `include/uapi/linux/fs.h`; the sizes are those that `ioctl_getflags` and its like in `fs/ioctl.c`, and `fs/ext4/ioctl.c`, copy.
const KNOWN: &[ObjectRequest] = &[
    tells(0x2, 4),                                // FIGETBSZ
    tells(0x5460, 8),                             // FIOQSIZE
    tells(0x8008_6601, 4),                        // FS_IOC_GETFLAGS: declared as a long, but an int
    changes(0x4008_6602, 4),                      // FS_IOC_SETFLAGS, too
    tells(0x8008_7601, 4),                        // FS_IOC_GETVERSION, too
    changes(0x4008_7602, 4),                      // FS_IOC_SETVERSION, too
    tells(0x801c_581f, 28),                       // FS_IOC_FSGETXATTR
    changes(0x401c_5820, 28),                     // FS_IOC_FSSETXATTR
    of_all(0x8100_9431, 256, Effect::TellsOfAll), // FS_IOC_GETFSLABEL
    of_all(0x8011_1500, 17, Effect::TellsOfAll),  // FS_IOC_GETFSUUID
    of_all(0x8081_1501, 129, Effect::TellsOfAll), // FS_IOC_GETFSSYSFSPATH
    of_all(0x4100_9432, 0, Effect::ChangesAll),   // FS_IOC_SETFSLABEL
    of_all(0xc004_5877, 0, Effect::ChangesAll),   // FIFREEZE
    of_all(0xc004_5878, 0, Effect::ChangesAll),   // FITHAW
    of_all(0xc018_5879, 0, Effect::ChangesAll),   // FITRIM
];

const fn tells(number: u32, gives: usize) -> ObjectRequest {
    ObjectRequest { number, takes: 0, gives, effect: Effect::Tells }
}

const fn changes(number: u32, takes: usize) -> ObjectRequest {
    ObjectRequest { number, takes, gives: 0, effect: Effect::Changes }
}

const fn of_all(number: u32, gives: usize, effect: Effect) -> ObjectRequest {
    ObjectRequest { number, takes: 0, gives, effect }
}

impl ObjectRequest {
    /// The request of this number, if it is one of them.
    #[must_use]
    pub fn known(number: u32, abi: Abi) -> Option<ObjectRequest> {
        // Where a long has 32 bits, so does the size in the number.
        let number = match (abi, number) {
            (Abi::I386, 0x8004_6601 | 0x4004_6602 | 0x8004_7601 | 0x4004_7602) => number + (4 << 16),
            (Abi::I386, 0x8008_6601 | 0x4008_6602 | 0x8008_7601 | 0x4008_7602) => return None,
            _ => number,
        };
        KNOWN.iter().find(|known| known.number == number).copied()
    }

    /// The number by which the hypervisor makes it.
    #[must_use]
    pub fn number(self) -> u32 {
        self.number
    }

    /// How many bytes it takes from its argument.
    #[must_use]
    pub fn takes(self) -> usize {
        self.takes
    }

    /// How many bytes it gives to its argument.
    #[must_use]
    pub fn gives(self) -> usize {
        self.gives
    }

    /// What it does.
    #[must_use]
    pub fn effect(self) -> Effect {
        self.effect
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_request_needs_more_room() {
        assert!(KNOWN.iter().all(|request| request.takes.max(request.gives) <= ROOM));
    }

    #[test]
    fn those_of_longs_have_other_numbers_in_32_bits() {
        let number = |number, abi| ObjectRequest::known(number, abi).map(ObjectRequest::number);
        assert_eq!(number(0x8004_6601, Abi::I386), Some(0x8008_6601));
        assert_eq!(number(0x4004_7602, Abi::I386), Some(0x4008_7602));
        assert_eq!(number(0x8004_6601, Abi::X86_64), None);
        assert_eq!(number(0x8008_6601, Abi::I386), None);
        assert_eq!(number(0x801c_581f, Abi::I386), Some(0x801c_581f));
        assert_eq!(number(0x5401, Abi::X86_64), None);
    }
}
