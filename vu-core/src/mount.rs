//! One mount of a view.

use crate::scratch::Scratch;
use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};
use vu_api::{
    AbsPath, Caller, Errno, FileType, Filesystem, Module, MountFlags, MountWords, Mounted, OpenHow, Opened, Probe, Stat,
};
use vu_path::Epoch;

/// A mount in a view.
#[derive(Clone)]
pub struct Mount {
    /// When it was made; unique among all views of a hypervisor.
    pub epoch: Epoch,
    /// What it covers.
    pub point: AbsPath,
    /// Its type.
    pub fs_type: String,
    /// The first argument of mount(2), as given.
    pub source: Vec<u8>,
    /// `MS_*`, those that were given as words included.
    pub flags: MountFlags,
    /// The words that are the module's.
    pub words: MountWords,
    /// Whether it can never be unmounted: the word `permanent`.
    pub permanent: bool,
    /// Whether it is to be listed in its parent directory: the word `list`.
    pub list: bool,
    /// What made it.
    pub module: &'static dyn Module,
    /// What the module made.
    pub mounted: Mounted,
    /// What stands at the mount point.
    pub(crate) tree: Arc<dyn Filesystem>,
    /// Whether its files may be such that the calls on descriptors must be looked at.
    pub(crate) virtual_files: bool,
    /// Where its content is, if that is to go with it.
    pub(crate) scratch: Option<Arc<Scratch>>,
    /// What it declines, relative to its mount point.
    pub(crate) exceptions: Vec<AbsPath>,
    /// The mount in which its source lies.
    pub(crate) source_mount: Option<Epoch>,
    /// Whether it was lazily unmounted and only those built on it still see it.
    pub(crate) detached: bool,
}

impl Mount {
    pub(crate) fn declines(&self, rest: &AbsPath) -> bool {
        // One that cannot even say so is left in place: what it is asked next fails.
        self.shielded("declines", |fs| Ok(fs.declines(rest))).unwrap_or(false)
    }

    /// Has the module do something; its panic is an `EIO` and a line in the log.
    pub(crate) fn shielded<T>(
        &self,
        operation: &str,
        call: impl FnOnce(&dyn Filesystem) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        shielded(
            || call(&*self.tree),
            |panic| {
                tracing::error!("module {} panicked: {self}, {operation}: {panic}", self.module.name());
            },
        )
    }

    /// The options, as the list of mounts shows them.
    #[must_use]
    pub fn options(&self) -> String {
        let mut text = if self.flags.contains(MountFlags::RDONLY) { "ro" } else { "rw" }.to_owned();
        let mut add = |word: &str| {
            text.push(',');
            text.push_str(word);
        };
        // The one is told above, the other is of the call and not of the mount.
        let others = MountFlags::RDONLY | MountFlags::SILENT;
        for (word, flag, _) in FLAG_WORDS.iter().filter(|(_, flag, on)| *on && !others.contains(*flag)) {
            if self.flags.contains(*flag) {
                add(word);
            }
        }
        if self.permanent {
            add("permanent");
        }
        if self.list {
            add("list");
        }
        for (word, _) in self.own_options() {
            add(&word);
        }
        text
    }
}

impl Mount {
    /// The options that are its module's: as they stand in a list, and as they are.
    #[must_use]
    pub fn own_options(&self) -> Vec<(String, String)> {
        let option = |(name, value): (&str, Option<&str>)| match value {
            Some(value) => (format!("{}={}", quoted(name), quoted(value)), format!("{name}={value}")),
            None => (quoted(name), name.to_owned()),
        };
        self.words.iter().map(option).collect()
    }
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.fs_type, self.point)
    }
}

impl fmt::Debug for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} at epoch {}", self.epoch)
    }
}

/// A word with a backslash before what would end it.
fn quoted(word: &str) -> String {
    word.chars().flat_map(|c| matches!(c, ',' | '\\' | '\'' | '"').then_some('\\').into_iter().chain([c])).collect()
}

/// Has a module do something; `report` is told the message of its panic.
pub(crate) fn shielded<T>(call: impl FnOnce() -> Result<T, Errno>, report: impl FnOnce(&str)) -> Result<T, Errno> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| {
        report(panic_text(&*payload));
        Err(Errno::EIO)
    })
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// The data words, sorted by whose they are.
pub(crate) struct Words {
    pub flags: MountFlags,
    pub words: MountWords,
    pub permanent: bool,
    pub list: bool,
}

/// The standard words of mount(8) that are flags of mount(2), and whether they set or clear theirs.
const FLAG_WORDS: [(&str, MountFlags, bool); 19] = [
    ("ro", MountFlags::RDONLY, true),
    ("rw", MountFlags::RDONLY, false),
    ("nosuid", MountFlags::NOSUID, true),
    ("suid", MountFlags::NOSUID, false),
    ("nodev", MountFlags::NODEV, true),
    ("dev", MountFlags::NODEV, false),
    ("noexec", MountFlags::NOEXEC, true),
    ("exec", MountFlags::NOEXEC, false),
    ("sync", MountFlags::SYNCHRONOUS, true),
    ("async", MountFlags::SYNCHRONOUS, false),
    ("noatime", MountFlags::NOATIME, true),
    ("atime", MountFlags::NOATIME, false),
    ("nodiratime", MountFlags::NODIRATIME, true),
    ("diratime", MountFlags::NODIRATIME, false),
    ("relatime", MountFlags::RELATIME, true),
    ("norelatime", MountFlags::RELATIME, false),
    ("strictatime", MountFlags::STRICTATIME, true),
    ("lazytime", MountFlags::LAZYTIME, true),
    ("silent", MountFlags::SILENT, true),
];

impl Words {
    pub fn new(mut flags: MountFlags, mut words: MountWords) -> Words {
        // A magic number of old, which callers may still give (`path_mount`, fs/namespace.c).
        if flags.bits() & libc::MS_MGC_MSK == libc::MS_MGC_VAL {
            flags = MountFlags::from_bits_retain(flags.bits() & !libc::MS_MGC_MSK);
        }
        // Of contradictory words, the last one counts.
        for (name, value) in words.iter() {
            if let Some((_, flag, on)) = FLAG_WORDS.iter().find(|(word, ..)| *word == name && value.is_none()) {
                flags.set(*flag, *on);
            }
        }
        for (word, ..) in FLAG_WORDS {
            words.take(word);
        }
        words.take("defaults");
        let (permanent, list) = (words.take("permanent"), words.take("list"));
        Words { flags, words, permanent, list }
    }
}

/// How a network stack shows at its mount point: as a character device without a driver.
pub(crate) struct StackDevice {
    pub ino: u64,
}

impl StackDevice {
    fn only_root(path: &AbsPath) -> Result<(), Errno> {
        if path.is_root() { Ok(()) } else { Err(Errno::ENOTDIR) }
    }
}

impl Filesystem for StackDevice {
    fn probe(&self, path: &AbsPath) -> Result<Probe, Errno> {
        Self::only_root(path)?;
        Ok(Probe::Found { file_type: Some(FileType::CharDevice), handle: None })
    }

    fn stat(&self, path: &AbsPath) -> Result<Stat, Errno> {
        Self::only_root(path)?;
        let mode = FileType::CharDevice.mode_bits() | 0o666;
        Ok(Stat { ino: self.ino, mode, nlink: 1, blksize: 4096, ..Stat::default() })
    }

    fn open(&self, path: &AbsPath, _how: &OpenHow, _caller: &dyn Caller) -> Result<Opened, Errno> {
        Self::only_root(path)?;
        Err(Errno::ENXIO)
    }
}
