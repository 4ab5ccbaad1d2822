//! The syscall table: what becomes of every system call of a tracee.
//!
//! A row a call, plain data, grouped by subject. From the rows derive
//!
//! * the handler of an intercepted call ([`lookup`]),
//! * the seccomp filters ([`filter`]),
//! * what the debug log prints ([`Printed`]),
//! * SYSCALLS.md ([`document`]).
//!
//! Each number of x86_64 up to Linux 6.19 stands in exactly one row: one declared twice does not build, one of the kernel's headers that is in no row
//! fails a test. The numbers of i386, by which `int 0x80` calls come, are given for all calls that are intercepted. A number in no row is the
//! kernel's, which does not know it either.

mod document;
mod filters;
mod handled;
mod host;
mod i386;
mod identity;
mod print;
mod refused;

pub use document::document;
pub use filters::{Filter, filter};
pub use print::{Printed, PrintedResult};

use crate::call::Handler;
use vu_api::{Errno, Purpose, control::CONTROL_SYSCALL};
use vu_path::{EmptyPath, Follow};
use vu_trace::{Abi, filter::When};

/// What is known of one system call.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its number on x86_64; `None` for a call that only i386 has.
    pub nr: Option<i64>,
    /// Its number on i386, if calls by the 32-bit entry are treated by this row. Calls whose arguments differ there have a row of their own.
    pub i386: Option<i64>,
    /// Its name, as in the kernel's headers.
    pub name: &'static str,
    /// Its arguments; of calls that are never seen, none are told.
    pub args: &'static [Arg],
    /// What becomes of it.
    pub support: Support,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy)]
pub enum Support {
    /// umvu looks at it.
    Handled {
        /// From when on.
        tier: Tier,
        /// In which cases.
        when: When,
        /// Who.
        handler: Handler,
        /// Whether the kernel itself may end it with `EINTR` on files that programs use daily (FIFOs, terminals, sockets, locks), so that an interrupted call
        /// is not simply made again.
        sleeps: bool,
        /// What is not as on Linux.
        partial: Option<&'static str>,
    },
    /// It runs in the kernel unseen, for this reason.
    Host(&'static str),
    /// It fails at once.
    Refused {
        /// From when on.
        tier: Tier,
        /// With what.
        errno: Errno,
        /// Why, and why so.
        why: &'static str,
    },
}

/// From when on a call is intercepted: each tier is a seccomp filter, installed when the view first needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tier {
    /// From the start.
    Base,
    /// From the first mount on.
    Path,
    /// From the first mount on that has files of its own, which no kernel object can be in every respect.
    Descriptor,
    /// With the former, and in processes that look by name at files of `/proc` that umvu tells, and their children: calls that tell attributes of what is open.
    Stat,
    /// From the first read-only mount on, too: calls that change attributes by a descriptor that need not be open for writing.
    Attribute,
    /// From the first AF_UNIX socket on that is bound to a name which is another one on the host: calls that tell names of sockets.
    SocketName,
    /// In processes that make AF_UNIX sockets for datagrams, and their children: calls whose addresses lie in message headers, where no filter sees whether there is one.
    Message,
    /// While a module makes users and groups virtual.
    Identity,
}

/// What an argument is: enough to find the paths of a call, and to print it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arg {
    /// The directory at which the path in the next argument begins, or `AT_FDCWD`.
    DirFd,
    /// A descriptor.
    Fd,
    /// The path of an object that is looked at; a final symbolic link is followed, unless flags say otherwise.
    Path,
    /// The same, but a final symbolic link is the object, unless flags say otherwise.
    PathNoFollow,
    /// The path of an object that is changed; links as for [`Arg::Path`].
    ChangedPath,
    /// The path of an object that is changed; links as for [`Arg::PathNoFollow`].
    ChangedPathNoFollow,
    /// The path of a name that is made or taken away.
    Entry,
    /// A string that is no path of the view: the target of a symbolic link, the name of an attribute.
    Text,
    /// `O_*`
    OpenFlags,
    /// `struct open_how`, its size in the next argument.
    OpenHow,
    /// Permission bits, in octal.
    Mode,
    /// `R_OK` …
    AccessMode,
    /// `AT_*` that say how a path is resolved.
    AtFlags,
    /// `AT_REMOVEDIR`
    UnlinkFlags,
    /// `RENAME_*`
    RenameFlags,
    /// `MS_*`
    MountFlags,
    /// `MNT_*`, `UMOUNT_NOFOLLOW`
    UmountFlags,
    /// `IN_*`; `IN_DONT_FOLLOW` says how the path is resolved.
    WatchMask,
    /// `CLONE_*`
    CloneFlags,
    /// `AF_*`
    Family,
    /// `SOCK_*`
    SocketType,
    /// A socket address, its length in the next argument.
    SocketAddress,
    /// Bytes the call reads, their number in the next argument.
    Bytes,
    /// A NULL-terminated vector of strings.
    Strings,
    /// The same, but only their number is printed.
    Environment,
    /// A signed number of C's type int.
    Int,
    /// A user or group id; −1 is "as it is".
    Id,
    /// A signed number of the entry's word size.
    Long,
    /// A number of bytes, or the like.
    Size,
    /// A number best read in hexadecimal: flags without names here, a device, a request of ioctl.
    Hex,
    /// An address in the caller's memory.
    Pointer,
}

/// Rows about one subject.
pub struct Group {
    /// What they are about.
    pub title: &'static str,
    /// The rows.
    pub rows: &'static [Row],
}

/// The table.
pub const GROUPS: &[Group] = &[
    Group { title: "Opening files", rows: handled::OPEN },
    Group { title: "Attributes of paths", rows: handled::STAT },
    Group { title: "Names, and changes by path", rows: handled::NAMES },
    Group { title: "Extended attributes by path", rows: handled::XATTR },
    Group { title: "Working directory and root", rows: handled::DIRECTORIES },
    Group { title: "Executing programs", rows: handled::EXEC },
    Group { title: "Mounts", rows: handled::MOUNTS },
    Group { title: "Sockets", rows: handled::SOCKETS },
    Group { title: "Users, groups, capabilities", rows: identity::ROWS },
    Group { title: "Users, groups, capabilities by i386", rows: identity::I386 },
    Group { title: "Namespaces", rows: handled::NAMESPACES },
    Group { title: "Descriptors of virtual files", rows: handled::DESCRIPTORS },
    Group {
        title: "Signals about files: F_SETLEASE, F_NOTIFY and F_GETSIG (all else of fcntl is the kernel's)",
        rows: handled::CONTROLS,
    },
    Group { title: "Calls that only i386 has", rows: i386::ROWS },
    Group { title: "Refused", rows: refused::ROWS },
    Group { title: "Reading and writing", rows: host::DATA },
    Group { title: "Descriptors", rows: host::DESCRIPTORS },
    Group { title: "Sockets that exist", rows: host::SOCKETS },
    Group { title: "Waiting and events", rows: host::EVENTS },
    Group { title: "Memory", rows: host::MEMORY },
    Group { title: "Processes and threads", rows: host::PROCESSES },
    Group { title: "Signals", rows: host::SIGNALS },
    Group { title: "Security labels and keys", rows: host::SECURITY },
    Group { title: "Scheduling", rows: host::SCHEDULING },
    Group { title: "Time", rows: host::TIME },
    Group { title: "System V and POSIX IPC", rows: host::IPC },
    Group { title: "The system", rows: host::SYSTEM },
    Group { title: "Numbers without a call", rows: host::ABSENT },
];

/// The number of entries of an index: numbers above, but for the control call's, are in no row.
const INDEX_LENGTH: u16 = 480;

type Index = [Option<&'static Row>; INDEX_LENGTH as usize];

static X86_64: Index = index(Abi::X86_64);
static I386: Index = index(Abi::I386);

/// Where each number's row is. A number that is declared twice, or does not fit, does not build.
const fn index(abi: Abi) -> Index {
    let mut index: Index = [None; INDEX_LENGTH as usize];
    let mut group = 0;
    while group < GROUPS.len() {
        let rows = GROUPS[group].rows;
        let mut at = 0;
        while at < rows.len() {
            let row = &rows[at];
            row.check();
            let nr = match abi {
                Abi::X86_64 => row.nr,
                Abi::I386 => row.i386,
            };
            if let Some(nr) = nr
                && nr != CONTROL_SYSCALL
            {
                assert!(0 <= nr && nr < INDEX_LENGTH as i64, "a system call number is out of range");
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "asserted")]
                let slot = nr as usize;
                assert!(index[slot].is_none(), "a system call number is declared twice");
                index[slot] = Some(row);
            }
            at += 1;
        }
        group += 1;
    }
    index
}

/// The row of a call; `None` if no call has this number.
#[must_use]
pub fn lookup(abi: Abi, nr: i64) -> Option<&'static Row> {
    if nr == CONTROL_SYSCALL {
        return Some(&handled::CONTROL);
    }
    let index = match abi {
        Abi::X86_64 => &X86_64,
        Abi::I386 => &I386,
    };
    *index.get(usize::try_from(nr).ok()?)?
}

/// The name of a call, if one has this number.
#[must_use]
pub fn name(abi: Abi, nr: i64) -> Option<&'static str> {
    lookup(abi, nr).map(|row| row.name)
}

/// All rows, in the order of the groups.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    GROUPS.iter().flat_map(|group| group.rows)
}

/// A path among the arguments of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathArgument {
    /// Which argument it is.
    pub index: usize,
    /// Which argument holds the descriptor of the directory at which a relative path begins; `None`: the working directory.
    pub dirfd: Option<usize>,
    /// What a final symbolic link means, the call's flags considered.
    pub follow: Follow,
    /// What an empty path means, the call's flags considered.
    pub empty: EmptyPath,
    /// What is done with the object.
    pub purpose: Purpose,
}

impl Row {
    /// The handler, if umvu looks at the call.
    #[must_use]
    pub const fn handler(&self) -> Option<Handler> {
        match self.support {
            Support::Handled { handler, .. } => Some(handler),
            _ => None,
        }
    }

    /// Whether the filter lets the call pass when it carries the view's cookie.
    #[must_use]
    pub const fn takes_cookie(&self) -> bool {
        matches!(self.support, Support::Handled { when: When::WithoutCookie, .. })
    }

    /// Whether a filter that looks at the arguments would intercept the call.
    #[must_use]
    pub fn looks_at(&self, args: &[u64; 6]) -> bool {
        match self.support {
            Support::Handled { when: When::ArgumentNotZero(index), .. } => {
                args.get(usize::from(index)).is_some_and(|&arg| arg != 0)
            }
            _ => true,
        }
    }

    /// Whether all that its handler looks at is what the hypervisor knows: no file, no mount.
    #[must_use]
    pub const fn decides_at_once(&self) -> bool {
        !matches!(self.support, Support::Handled { tier, .. } if !matches!(tier, Tier::Identity))
    }

    /// Whether the kernel itself may end the call with `EINTR`, see [`Support::Handled`].
    #[must_use]
    pub const fn sleeps(&self) -> bool {
        matches!(self.support, Support::Handled { sleeps: true, .. })
    }

    /// The paths among the arguments, in their order. A call may have none of those a row names: `utimensat(fd, NULL, …)`, `acct(NULL)`; then the
    /// argument is 0.
    pub fn paths<'a>(&'a self, args: &'a [u64; 6]) -> impl Iterator<Item = PathArgument> + 'a {
        let flags = self.resolution_flags(args);
        self.args.iter().enumerate().filter_map(move |(index, kind)| {
            let (follow, purpose) = match kind {
                Arg::Path => (Follow::Last, Purpose::Read),
                Arg::PathNoFollow => (Follow::Never, Purpose::Read),
                Arg::ChangedPath => (Follow::Last, Purpose::Change),
                Arg::ChangedPathNoFollow => (Follow::Never, Purpose::Change),
                Arg::Entry => (Follow::Entry, Purpose::Change),
                _ => return None,
            };
            let before = index.checked_sub(1);
            Some(PathArgument {
                index,
                dirfd: before.filter(|&before| self.args.get(before) == Some(&Arg::DirFd)),
                follow: match follow {
                    Follow::Last if flags & libc::AT_SYMLINK_NOFOLLOW != 0 => Follow::Never,
                    Follow::Never if flags & libc::AT_SYMLINK_FOLLOW != 0 => Follow::Last,
                    follow => follow,
                },
                empty: if flags & libc::AT_EMPTY_PATH != 0 && follow != Follow::Entry {
                    EmptyPath::Allow
                } else {
                    EmptyPath::Refuse
                },
                purpose,
            })
        })
    }

    /// What the call's flags say about the resolution of its paths, as `AT_*`.
    fn resolution_flags(&self, args: &[u64; 6]) -> i32 {
        self.args.iter().zip(args).fold(0, |flags, (kind, &value)| {
            let value = low_int(value);
            flags
                | match kind {
                    Arg::AtFlags => value,
                    Arg::WatchMask if value.cast_unsigned() & libc::IN_DONT_FOLLOW != 0 => libc::AT_SYMLINK_NOFOLLOW,
                    Arg::UmountFlags if value & libc::UMOUNT_NOFOLLOW != 0 => libc::AT_SYMLINK_NOFOLLOW,
                    _ => 0,
                }
        })
    }

    /// What must hold for each row, checked while building.
    const fn check(&self) {
        assert!(self.args.len() <= 6);
        assert!(self.nr.is_some() || self.i386.is_some());
        if let Support::Handled { tier, when, .. } = self.support {
            match when {
                When::WithoutCookie => {
                    assert!(
                        matches!(tier, Tier::Path | Tier::Descriptor | Tier::Stat),
                        "others never carry the cookie"
                    );
                    assert!(self.args.len() < 6, "the cookie has no place in a call of six arguments");
                }
                When::ArgumentNotZero(index) | When::ArgumentIn(index, _) => {
                    assert!((index as usize) < self.args.len());
                }
                When::ArgumentInWithoutCookie(index, _) => {
                    assert!((index as usize) < self.args.len() && self.args.len() < 6);
                }
                When::Always => {}
            }
        }
    }

    // How rows are written down.

    /// A call that carries a path.
    const fn path(nr: i64, name: &'static str, args: &'static [Arg], handler: Handler) -> Row {
        let support =
            Support::Handled { tier: Tier::Path, when: When::WithoutCookie, handler, sleeps: false, partial: None };
        Row { nr: Some(nr), i386: None, name, args, support }
    }

    /// A call that is intercepted from a tier on, whatever its arguments.
    const fn each(tier: Tier, nr: i64, name: &'static str, args: &'static [Arg], handler: Handler) -> Row {
        let support = Support::Handled { tier, when: When::Always, handler, sleeps: false, partial: None };
        Row { nr: Some(nr), i386: None, name, args, support }
    }

    const fn host(nr: i64, name: &'static str, why: &'static str) -> Row {
        Row { nr: Some(nr), i386: None, name, args: &[], support: Support::Host(why) }
    }

    const fn refused(tier: Tier, nr: i64, name: &'static str, errno: Errno, why: &'static str) -> Row {
        Row { nr: Some(nr), i386: None, name, args: &[], support: Support::Refused { tier, errno, why } }
    }

    /// Calls of this number by the 32-bit entry are treated the same.
    const fn i386(mut self, nr: i64) -> Row {
        self.i386 = Some(nr);
        self
    }

    /// Only i386 has the call.
    const fn only_i386(mut self) -> Row {
        self.i386 = self.nr;
        self.nr = None;
        self
    }

    /// The cookie does not let it pass.
    const fn always(self) -> Row {
        self.when(When::Always)
    }

    const fn when(mut self, condition: When) -> Row {
        if let Support::Handled { when, .. } = &mut self.support {
            *when = condition;
        }
        self
    }

    /// See [`Support::Handled`].
    const fn may_sleep(mut self) -> Row {
        if let Support::Handled { sleeps, .. } = &mut self.support {
            *sleeps = true;
        }
        self
    }

    const fn partial(mut self, what: &'static str) -> Row {
        if let Support::Handled { partial, .. } = &mut self.support {
            *partial = Some(what);
        }
        self
    }
}

/// The argument as C's int, which is what the kernel takes of a register for it.
#[allow(clippy::cast_possible_truncation, reason = "the upper half is not part of an int")]
const fn low_int(value: u64) -> i32 {
    value as i32
}

#[cfg(test)]
mod tests;
