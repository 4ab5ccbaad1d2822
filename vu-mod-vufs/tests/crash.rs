//! A hypervisor that is killed at any instant leaves the old object or the new one: each change is cut off before each of the steps it takes on the host, and
//! then looked at by a new mount.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod host;

use host::{Attributed, Host, UNLIMITED};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs, io,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, symlink},
    },
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicUsize},
};
use vu_api::{
    AbsPath, Errno, FileType, Filesystem, Location, OpenFlags, OpenHow, Opened, Purpose, RenameFlags,
    testing::{As, path},
};
use vu_mod_vufs::{Attributes, Kind, Union};

/// What is shown: of each object its type and content, its mode, and whose number of the lower tree it has.
type Shown = BTreeMap<String, String>;

/// A pair of trees, and mounts of it.
struct Site(tempfile::TempDir, Attributed);

impl Site {
    fn new(attributes: Attributed) -> Site {
        let site = Site(tempfile::tempdir().unwrap(), attributes);
        let low = site.0.path().join("low");
        fs::create_dir_all(low.join("dir/sub")).unwrap();
        fs::create_dir(low.join("empty")).unwrap();
        fs::create_dir(site.0.path().join("up")).unwrap();
        for name in ["file", "other", "dir/x", "dir/sub/y"] {
            fs::write(low.join(name), format!("old {name}")).unwrap();
        }
        fs::hard_link(low.join("file"), low.join("hard")).unwrap();
        symlink("file", low.join("link")).unwrap();
        site
    }

    fn mount(&self, steps: usize) -> Union {
        let host =
            Arc::new(Host { root: self.0.path().to_owned(), steps: AtomicUsize::new(steps), attributes: self.1 });
        Union::new(host, path("/up"), path("/low"), Kind::Cow, Vec::new(), Attributes::Copied).unwrap()
    }

    fn shown(&self) -> Shown {
        let union = self.mount(UNLIMITED);
        let mut shown = Shown::new();
        show(&union, &AbsPath::root(), &self.numbers(), &mut shown);
        shown
    }

    /// The first name of each object of the lower tree, by its number.
    fn numbers(&self) -> BTreeMap<u64, String> {
        let low = self.0.path().join("low");
        let mut all: Vec<_> = self.lower().into_iter().map(|(name, ..)| name).collect();
        all.reverse();
        let name = |path: &PathBuf| path.strip_prefix(&low).unwrap().display().to_string();
        all.iter().map(|path| (fs::symlink_metadata(path).unwrap().ino(), name(path))).collect()
    }

    fn lower(&self) -> Vec<(PathBuf, u64, i64, i64)> {
        let mut all = Vec::new();
        let mut todo = vec![self.0.path().join("low")];
        while let Some(name) = todo.pop() {
            let meta = fs::symlink_metadata(&name).unwrap();
            if meta.is_dir() {
                todo.extend(fs::read_dir(&name).unwrap().map(|entry| entry.unwrap().path()));
            }
            all.push((name, meta.len(), meta.mtime(), meta.mtime_nsec()));
        }
        all.sort();
        all
    }
}

fn show(union: &Union, at: &AbsPath, numbers: &BTreeMap<u64, String>, shown: &mut Shown) {
    let me = As::user(nix::unistd::geteuid().as_raw());
    let how = OpenHow { flags: OpenFlags::DIRECTORY, mode: 0 };
    let Opened::Virtual(directory) = union.open(at, &how, &me).unwrap() else {
        panic!("{at} is no directory of the union")
    };
    for entry in directory.entries(0).unwrap() {
        if entry.name == b"." || entry.name == b".." {
            continue;
        }
        let name = at.child(&entry.name);
        let stat = union.stat(&name).unwrap_or_else(|errno| panic!("{name} is listed, and not there: {errno}"));
        assert_eq!((stat.file_type(), stat.ino), (entry.file_type, entry.ino), "{name}");
        let content = match stat.file_type() {
            FileType::Regular => {
                let Ok(Location::Host(host)) = union.locate(&name, Purpose::Read) else { panic!("{name}") };
                match fs::read_to_string(Path::new(OsStr::from_bytes(host.as_bytes()))) {
                    // Its mode is an ordinary user's, too.
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => "unreadable".to_owned(),
                    content => content.unwrap(),
                }
            }
            FileType::Symlink => format!("-> {}", String::from_utf8(union.read_link(&name).unwrap()).unwrap()),
            kind => format!("{kind:?}"),
        };
        let whose = numbers.get(&stat.ino).map_or("", String::as_str);
        shown.insert(name.to_string(), format!("{content}, {:o}, number of {whose:?}", stat.permissions()));
        if stat.file_type() == FileType::Directory {
            show(union, &name, numbers, shown);
        }
    }
}

/// Whether records of what is in a directory may be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Records {
    Stay,
    MayBeLost,
}

/// What is shown without what stands in records.
fn without_records(shown: Shown) -> Shown {
    shown.into_iter().map(|(name, text)| (name, text.split(", number").next().unwrap().to_owned())).collect()
}

/// Makes a change after some others, cut off before each of its steps in turn, on both kinds of hosts.
#[track_caller]
fn cut_off(before: impl Fn(&Union), change: impl Fn(&Union) -> Result<(), Errno>) {
    for attributes in [Attributed::Yes, Attributed::No] {
        cut_off_on(attributes, Records::Stay, &before, &change);
    }
}

/// The same for a directory that is renamed. What cannot carry its record can lose it.
#[track_caller]
fn cut_off_directory(before: impl Fn(&Union), change: impl Fn(&Union) -> Result<(), Errno>) {
    cut_off_on(Attributed::Yes, Records::Stay, &before, &change);
    cut_off_on(Attributed::No, Records::MayBeLost, &before, &change);
}

#[track_caller]
fn cut_off_on(
    attributes: Attributed,
    records: Records,
    before: impl Fn(&Union),
    change: impl Fn(&Union) -> Result<(), Errno>,
) {
    let seen = |shown| if records == Records::MayBeLost { without_records(shown) } else { shown };
    let done = {
        let site = Site::new(attributes);
        let union = site.mount(UNLIMITED);
        before(&union);
        change(&union).unwrap();
        seen(site.shown())
    };
    for steps in 0.. {
        let site = Site::new(attributes);
        before(&site.mount(UNLIMITED));
        let (old, lower) = (seen(site.shown()), site.lower());
        let made = change(&site.mount(steps));
        let now = seen(site.shown());
        assert!(
            now == old || now == done,
            "cut off after {steps} steps, {attributes:?}: {now:#?}\nis neither {old:#?}\nnor {done:#?}"
        );
        assert_eq!(site.lower(), lower, "cut off after {steps} steps");
        // What was begun can be done again, whatever was left behind.
        if made.is_err() && now == old {
            change(&site.mount(UNLIMITED)).unwrap_or_else(|errno| panic!("again after {steps} steps: {errno}"));
            assert_eq!(seen(site.shown()), done, "again after {steps} steps");
        }
        if made.is_ok() {
            return;
        }
    }
}

fn me() -> As {
    As::user(nix::unistd::geteuid().as_raw())
}

fn nothing(_: &Union) {}

fn write(union: &Union, name: &str, purpose: Purpose) -> Result<(), Errno> {
    let Location::Host(host) = union.locate(&path(name), purpose)? else { return Err(Errno::EIO) };
    fs::write(Path::new(OsStr::from_bytes(host.as_bytes())), "new")?;
    Ok(())
}

#[test]
fn copying_up() {
    for name in ["/file", "/dir/x", "/dir/sub/y", "/dir/sub/new"] {
        cut_off(nothing, |union| write(union, name, Purpose::Write));
    }
    cut_off(nothing, |union| union.chmod(&path("/dir/sub"), 0o700, &me()));
    cut_off(nothing, |union| union.locate(&path("/dir/sub/y"), Purpose::Write).map(drop));
}

#[test]
fn removing() {
    for name in ["/file", "/dir/x", "/link", "/hard"] {
        cut_off(nothing, |union| union.unlink(&path(name), &me()));
        cut_off(|union| union.chmod(&path("/file"), 0o600, &me()).unwrap(), |union| union.unlink(&path(name), &me()));
    }
    cut_off(nothing, |union| union.rmdir(&path("/empty"), &me()));
    let emptied = |union: &Union| {
        union.unlink(&path("/dir/sub/y"), &me()).unwrap();
        union.mkdir(&path("/dir/sub/made"), 0o755, &me()).unwrap();
        union.rmdir(&path("/dir/sub/made"), &me()).unwrap();
    };
    cut_off(emptied, |union| union.rmdir(&path("/dir/sub"), &me()));
}

#[test]
fn making_what_was_removed() {
    let removed = |union: &Union| {
        union.unlink(&path("/dir/sub/y"), &me()).unwrap();
        union.rmdir(&path("/dir/sub"), &me()).unwrap();
        union.unlink(&path("/file"), &me()).unwrap();
    };
    cut_off(removed, |union| union.mkdir(&path("/dir/sub"), 0o755, &me()));
    cut_off(removed, |union| union.mkdir(&path("/file"), 0o755, &me()));
    cut_off(removed, |union| union.symlink(b"x", &path("/file"), &me()));
    cut_off(removed, |union| write(union, "/file", Purpose::Write));
}

#[test]
fn renaming() {
    let rename = |from: &'static str, to: &'static str, flags: RenameFlags| {
        move |union: &Union| union.rename(&path(from), &path(to), flags, &me())
    };
    let (plain, exchange) = (RenameFlags::empty(), RenameFlags::EXCHANGE);
    for (from, to) in
        [("/file", "/new"), ("/file", "/other"), ("/dir/x", "/empty/x"), ("/link", "/dir/x"), ("/hard", "/other")]
    {
        cut_off(nothing, rename(from, to, plain));
    }
    cut_off(nothing, rename("/file", "/dir/x", exchange));
    let made = |union: &Union| {
        union.mkdir(&path("/made"), 0o755, &me()).unwrap();
        union.rename(&path("/file"), &path("/made/file"), RenameFlags::empty(), &me()).unwrap();
        union.unlink(&path("/dir/sub/y"), &me()).unwrap();
    };
    for to in ["/new", "/empty", "/dir/sub"] {
        cut_off_directory(made, rename("/made", to, plain));
    }
    cut_off_directory(made, rename("/made", "/other", exchange));
}

#[test]
fn changing_attributes() {
    // A file that its user may not write to, and one that it may not read, cannot have its record changed, or carry it.
    for modes in [&[0o444][..], &[0o200, 0o644], &[0, 0o600], &[0o200, 0o100]] {
        let change = |union: &Union, mode: u32| union.chmod(&path("/dir/x"), mode, &me());
        let (last, first) = modes.split_last().unwrap();
        cut_off(|union| first.iter().for_each(|mode| change(union, *mode).unwrap()), |union| change(union, *last));
    }
    let linked = |union: &Union| {
        union.link(&path("/dir/x"), &path("/linked"), &me()).unwrap();
    };
    cut_off(linked, |union| union.chmod(&path("/dir/x"), 0o200, &me()));
}

#[test]
fn linking() {
    cut_off(nothing, |union| union.link(&path("/dir/x"), &path("/linked"), &me()));
    cut_off(nothing, |union| union.link(&path("/hard"), &path("/dir/sub/linked"), &me()));
}
