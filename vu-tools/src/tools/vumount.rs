//! `vumount`: mount, or list what is mounted.

use super::Program;
use crate::failure::{Failure, Outcome};
use crate::view;
use clap::Parser;
use nix::mount::{MsFlags, mount};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use vu_api::Errno;
use vu_api::control::{Request, Rows};

/// Mount in the running view, or list its mounts
///
/// The mount is seen by the processes of the view and by nobody else; it hides what was at TARGET, which need not exist, only its
/// directory must. An active module decides by TYPE what it is: see vu_insmod(1).
///
/// Without arguments: the mounts of the view, the newest first.
#[derive(Debug, Parser)]
#[command(after_help = "Examples: 'vumount -t vufs / /mnt' shows the whole tree below /mnt as well; \
                        'vumount -t vufs /tmp/hosts /etc/hosts' puts one file in the place of another.")]
pub struct Options {
    /// The type of the mount
    #[arg(short = 't', long = "types", value_name = "TYPE", requires = "source")]
    fs_type: Option<String>,
    /// Options, separated by commas; what every file system knows (ro, noexec …) becomes a flag of mount(2), the rest is the module's
    #[arg(short, long, value_name = "LIST", requires = "source")]
    options: Vec<OsString>,
    /// Read-only, as -o ro
    #[arg(short, long, requires = "source", overrides_with = "read_write")]
    read_only: bool,
    /// Read-write, as -o rw
    #[arg(short = 'w', long = "rw", visible_alias = "read-write", requires = "source", overrides_with = "read_only")]
    read_write: bool,
    /// As -o bind
    #[arg(short = 'B', long, requires = "source")]
    bind: bool,
    /// As -o move
    #[arg(short = 'M', long = "move", requires = "source")]
    move_mount: bool,
    /// As -o rbind
    #[arg(short = 'R', long, requires = "source")]
    rbind: bool,
    /// What is mounted
    #[arg(requires = "target")]
    source: Option<PathBuf>,
    /// Where
    target: Option<PathBuf>,
}

impl Program for Options {
    fn run(self) -> Outcome {
        view::require()?;
        let (Some(source), Some(target)) = (&self.source, &self.target) else {
            let rows =
                view::ask(&Request::Mounts).map_err(|error| Failure::new(format!("the list of mounts: {error}")))?;
            crate::print(&table(&rows))?;
            return Ok(0);
        };
        let list = self.options.join(OsStr::new(","));
        let (mut flags, data) = split_options(list.as_bytes(), self.fs_type.as_deref());
        flags.set(MsFlags::MS_RDONLY, self.read_only || flags.contains(MsFlags::MS_RDONLY) && !self.read_write);
        flags.set(MsFlags::MS_BIND, self.bind || self.rbind || flags.contains(MsFlags::MS_BIND));
        flags.set(MsFlags::MS_REC, self.rbind || flags.contains(MsFlags::MS_REC));
        flags.set(MsFlags::MS_MOVE, self.move_mount || flags.contains(MsFlags::MS_MOVE));
        let needs_type = !flags.intersects(MsFlags::MS_BIND | MsFlags::MS_MOVE | MsFlags::MS_REMOUNT);
        if self.fs_type.is_none() && needs_type {
            return Err(Failure::misuse(format!(
                "{} on {}: of which type? -t TYPE says it (active modules: {})",
                source.display(),
                target.display(),
                view::names(&view::ask(&Request::ActiveModules).unwrap_or_default())
            )));
        }
        let fs_type = self.fs_type.as_deref();
        let data = (!data.is_empty()).then(|| OsString::from_vec(data));
        match mount(Some(source.as_path()), target.as_path(), fs_type, flags, data.as_deref()) {
            Ok(()) => Ok(0),
            Err(error) => Err(Failure::new(explain(source, target, fs_type, Errno::new(error as i32)))),
        }
    }
}

/// The words of mount(8) that are flags of mount(2): word, flag, whether it sets or clears it.
const WORDS: [(&str, MsFlags, bool); 30] = [
    ("ro", MsFlags::MS_RDONLY, true),
    ("rw", MsFlags::MS_RDONLY, false),
    ("nosuid", MsFlags::MS_NOSUID, true),
    ("suid", MsFlags::MS_NOSUID, false),
    ("nodev", MsFlags::MS_NODEV, true),
    ("dev", MsFlags::MS_NODEV, false),
    ("noexec", MsFlags::MS_NOEXEC, true),
    ("exec", MsFlags::MS_NOEXEC, false),
    ("sync", MsFlags::MS_SYNCHRONOUS, true),
    ("async", MsFlags::MS_SYNCHRONOUS, false),
    ("dirsync", MsFlags::MS_DIRSYNC, true),
    ("remount", MsFlags::MS_REMOUNT, true),
    ("bind", MsFlags::MS_BIND, true),
    ("rbind", MsFlags::MS_BIND.union(MsFlags::MS_REC), true),
    ("move", MsFlags::MS_MOVE, true),
    ("silent", MsFlags::MS_SILENT, true),
    ("loud", MsFlags::MS_SILENT, false),
    ("mand", MsFlags::MS_MANDLOCK, true),
    ("nomand", MsFlags::MS_MANDLOCK, false),
    ("noatime", MsFlags::MS_NOATIME, true),
    ("atime", MsFlags::MS_NOATIME, false),
    ("nodiratime", MsFlags::MS_NODIRATIME, true),
    ("diratime", MsFlags::MS_NODIRATIME, false),
    ("relatime", MsFlags::MS_RELATIME, true),
    ("norelatime", MsFlags::MS_RELATIME, false),
    ("strictatime", MsFlags::MS_STRICTATIME, true),
    ("nostrictatime", MsFlags::MS_STRICTATIME, false),
    ("lazytime", MsFlags::MS_LAZYTIME, true),
    ("nolazytime", MsFlags::MS_LAZYTIME, false),
    ("defaults", MsFlags::empty(), true),
];

/// What is a flag only where there is no type: beside a type it is the module's word (`bind` and `move` are modes of vufs), since
/// mount(2) with such a flag looks at no type.
const WITHOUT_TYPE: MsFlags = MsFlags::MS_BIND.union(MsFlags::MS_MOVE);

/// Takes the flags out of a list of options; the rest is passed on as it is written.
fn split_options(list: &[u8], fs_type: Option<&str>) -> (MsFlags, Vec<u8>) {
    let mut flags = MsFlags::empty();
    let mut data: Vec<u8> = Vec::new();
    for word in split_words(list) {
        let known = WORDS.iter().find(|(name, _, _)| name.as_bytes() == word);
        match known.filter(|(_, flag, _)| fs_type.is_none() || !flag.intersects(WITHOUT_TYPE)) {
            Some(&(_, flag, set)) => flags.set(flag, set),
            None if word.is_empty() => {}
            None => {
                if !data.is_empty() {
                    data.push(b',');
                }
                data.extend_from_slice(word);
            }
        }
    }
    (flags, data)
}

/// Splits at commas that stand neither in quotes nor after a backslash; nothing is taken away, since the module reads the words
/// by the same rules ([`vu_api::MountWords`]).
fn split_words(list: &[u8]) -> Vec<&[u8]> {
    let mut words = Vec::new();
    let (mut start, mut quote, mut escaped) = (0, None, false);
    for (i, &byte) in list.iter().enumerate() {
        match (byte, quote) {
            _ if escaped => escaped = false,
            (b'\\', _) => escaped = true,
            (_, Some(open)) if byte == open => quote = None,
            (b'\'' | b'"', None) => quote = Some(byte),
            (b',', None) => {
                words.push(&list[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    words.push(&list[start..]);
    words
}

fn explain(source: &Path, target: &Path, fs_type: Option<&str>, error: Errno) -> String {
    let what = format!("{} on {}", source.display(), target.display());
    let name = fs_type.unwrap_or_default();
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match error {
        // What no module of the view claims goes to the host, and the host allows no mount to an ordinary user.
        Errno::EPERM | Errno::ENODEV if !is_claimed(name) => match module_of(name) {
            Some(module) => {
                format!("{what}: type {name} belongs to a module that is not active: 'vu_insmod {module}' first")
            }
            None => format!(
                "{what}: no active module knows the type '{name}', and the host refuses it: {error} (active modules: {})",
                view::names(&view::ask(&Request::ActiveModules).unwrap_or_default())
            ),
        },
        Errno::ENOENT if parent.metadata().is_err() => {
            format!("{what}: the directory of the mount point, {}, does not exist", parent.display())
        }
        Errno::ENOENT if source.symlink_metadata().is_err() => format!("{what}: {} does not exist", source.display()),
        // A bind makes names that were not there; a union has two directories.
        Errno::ENOENT if target.metadata().is_err() => {
            format!("{what}: {} does not exist, and in this mode it must be a directory", target.display())
        }
        Errno::ENOTDIR => match [source, target].into_iter().find(|path| path.metadata().is_ok_and(|m| !m.is_dir())) {
            Some(path) => format!("{what}: {} is no directory, and in this mode both must be", path.display()),
            None => format!("{what}: {error}"),
        },
        Errno::EINVAL => format!("{what}: type {name} refuses the options; umvu's log names the word it does not know"),
        error => format!("{what}: {error}"),
    }
}

/// Whether an active module has this type.
fn is_claimed(fs_type: &str) -> bool {
    view::ask(&Request::ActiveModules).is_ok_and(|rows| rows.iter().any(|row| row_has(row, fs_type)))
}

/// The module, active or not, that has this type.
fn module_of(fs_type: &str) -> Option<String> {
    let rows = view::ask(&Request::AvailableModules).ok()?;
    rows.into_iter().find(|row| row_has(row, fs_type))?.into_iter().next()
}

/// Whether a row of modules (name, description, submodules) has this type.
fn row_has(row: &[String], fs_type: &str) -> bool {
    row.first().is_some_and(|name| name == fs_type)
        || row.get(2).is_some_and(|types| types.split_whitespace().any(|t| t == fs_type))
}

/// The mounts (source, target, type, options, epoch) as people read them; nothing if there are none.
fn table(rows: &Rows) -> String {
    const ORDER: [(&str, usize); 5] = [("EPOCH", 4), ("TYPE", 2), ("SOURCE", 0), ("TARGET", 1), ("OPTIONS", 3)];
    if rows.is_empty() {
        return String::new();
    }
    let cell = |row: &[String], column: usize| match row.get(column).map(String::as_str) {
        None | Some("") => "-".to_owned(),
        Some(text) => vu_core::log::printable(text),
    };
    let mut lines = vec![ORDER.map(|(title, _)| title.to_owned())];
    lines.extend(rows.iter().map(|row| ORDER.map(|(_, column)| cell(row, column))));
    let widths = [0, 1, 2, 3, 4].map(|i| lines.iter().map(|line| line[i].chars().count()).max().unwrap_or(0));
    let mut text = String::new();
    for line in lines {
        let padded: Vec<String> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(list: &str, flags: MsFlags, data: &str) {
        let (found, rest) = split_options(list.as_bytes(), Some("vufs"));
        assert_eq!((found, std::str::from_utf8(&rest).unwrap()), (flags, data));
    }

    #[test]
    fn standard_words_are_flags() {
        check("", MsFlags::empty(), "");
        check("ro,noexec", MsFlags::MS_RDONLY | MsFlags::MS_NOEXEC, "");
        check("ro,rw,defaults", MsFlags::empty(), "");
        check("bind,ro", MsFlags::MS_RDONLY, "bind");
        check("move", MsFlags::empty(), "move");
        assert_eq!(split_options(b"rbind", None), (MsFlags::MS_BIND | MsFlags::MS_REC, Vec::new()));
        check("mode=0600,ro,except=/a,,rw+", MsFlags::MS_RDONLY, "mode=0600,except=/a,rw+");
    }

    #[test]
    fn quoted_commas_stay() {
        check(r#"except='/a,ro',"b,ro"#, MsFlags::empty(), r#"except='/a,ro',"b,ro"#);
        check(r"a\,ro,ro", MsFlags::MS_RDONLY, r"a\,ro");
    }

    /// What is passed on reads as it was meant, for every list that can be read at all.
    #[test]
    fn the_module_reads_what_was_written() {
        for list in ["x='a,b',ro,y", r"ro,\'a,b\',x", r#"k="v,w\"",noexec"#] {
            let whole = vu_api::MountWords::parse(list.as_bytes()).unwrap();
            let rest = vu_api::MountWords::parse(&split_options(list.as_bytes(), Some("vufs")).1).unwrap();
            let kept: Vec<_> = whole.iter().filter(|(name, _)| !matches!(*name, "ro" | "noexec")).collect();
            assert_eq!(rest.iter().collect::<Vec<_>>(), kept);
        }
    }

    #[test]
    fn the_table() {
        assert_eq!(table(&Rows::new()), "");
        let rows = [["/", "/mnt", "vufs", "", "12"], ["/tmp/a\n", "/etc/x", "vufs", "ro,except=/b", "3"]];
        let rows = rows.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect();
        let expected = "\
EPOCH  TYPE  SOURCE    TARGET  OPTIONS
12     vufs  /         /mnt    -
3      vufs  /tmp/a\\n  /etc/x  ro,except=/b
";
        assert_eq!(table(&rows), expected);
    }
}
