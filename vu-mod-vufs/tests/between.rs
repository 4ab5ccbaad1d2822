//! Two changes at once have the results, and leave the names, of one after the other: of each pair, the second is made between the first one's looks and steps, before each
//! of them in turn.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod host;

use host::{Attributed, Host, UNLIMITED};
use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use vu_api::{
    AbsPath, AccessMode, Caller, Errno, FileType, Filesystem, Location, OpenFlags, OpenHow, Opened, Probe, Purpose,
    RenameFlags, Stat, TimeChange, XattrFlags,
    testing::{As, path},
};
use vu_mod_vufs::{Attributes, Kind, Union};

/// A layer in which something happens before one of the calls.
struct Between {
    tree: Host,
    calls_before: AtomicUsize,
    happens: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Between {
    fn call(&self) -> &Host {
        let one_less = |calls: usize| calls.checked_sub(1);
        if self.calls_before.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less) == Ok(1) {
            let happens = self.happens.lock().unwrap().take();
            happens.into_iter().for_each(|happens| happens());
        }
        &self.tree
    }
}

impl Filesystem for Between {
    fn locate(&self, path: &AbsPath, purpose: Purpose) -> Result<Location, Errno> {
        self.call().locate(path, purpose)
    }

    fn probe(&self, path: &AbsPath) -> Result<Probe, Errno> {
        self.call().probe(path)
    }

    fn stat(&self, path: &AbsPath) -> Result<Stat, Errno> {
        self.call().stat(path)
    }

    fn open(&self, path: &AbsPath, how: &OpenHow, caller: &dyn Caller) -> Result<Opened, Errno> {
        self.call().open(path, how, caller)
    }

    fn mkdir(&self, path: &AbsPath, mode: u32, caller: &dyn Caller) -> Result<(), Errno> {
        self.call().mkdir(path, mode, caller)
    }

    fn unlink(&self, path: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        self.call().unlink(path, caller)
    }

    fn rmdir(&self, path: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        self.call().rmdir(path, caller)
    }

    fn rename(&self, from: &AbsPath, to: &AbsPath, flags: RenameFlags, caller: &dyn Caller) -> Result<(), Errno> {
        self.call().rename(from, to, flags, caller)
    }

    fn link(&self, from: &AbsPath, to: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        self.call().link(from, to, caller)
    }

    fn symlink(&self, target: &[u8], path: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        self.call().symlink(target, path, caller)
    }

    fn chmod(&self, path: &AbsPath, mode: u32, caller: &dyn Caller) -> Result<(), Errno> {
        self.call().chmod(path, mode, caller)
    }

    fn access(&self, path: &AbsPath, mode: AccessMode, caller: &dyn Caller) -> Result<(), Errno> {
        self.call().access(path, mode, caller)
    }

    fn chown(&self, path: &AbsPath, uid: Option<u32>, gid: Option<u32>, caller: &dyn Caller) -> Result<(), Errno> {
        self.call().chown(path, uid, gid, caller)
    }

    fn utimens(&self, path: &AbsPath, atime: TimeChange, mtime: TimeChange, caller: &dyn Caller) -> Result<(), Errno> {
        self.call().utimens(path, atime, mtime, caller)
    }

    fn get_xattr(&self, path: &AbsPath, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.call().get_xattr(path, name)
    }

    fn set_xattr(
        &self,
        path: &AbsPath,
        name: &[u8],
        value: &[u8],
        flags: XattrFlags,
        caller: &dyn Caller,
    ) -> Result<(), Errno> {
        self.call().set_xattr(path, name, value, flags, caller)
    }

    fn remove_xattr(&self, path: &AbsPath, name: &[u8], caller: &dyn Caller) -> Result<(), Errno> {
        self.call().remove_xattr(path, name, caller)
    }

    fn truncate(&self, path: &AbsPath, size: u64, caller: &dyn Caller) -> Result<(), Errno> {
        self.call().truncate(path, size, caller)
    }
}

/// A change of the union.
type Change = fn(&Union) -> Result<(), Errno>;

fn me() -> As {
    As::user(nix::unistd::geteuid().as_raw())
}

fn make(union: &Union, name: &str) -> Result<(), Errno> {
    let how = OpenHow { flags: OpenFlags::CREAT | OpenFlags::WRONLY, mode: 0o644 };
    union.open(&path(name), &how, &me()).map(drop)
}

fn rename(union: &Union, from: &str, to: &str) -> Result<(), Errno> {
    union.rename(&path(from), &path(to), RenameFlags::empty(), &me())
}

/// What is made and removed, and the directory above it, too.
const CHANGES: &[(&str, Change)] = &[
    ("mkdir dir", |union| union.mkdir(&path("/top/dir"), 0o755, &me())),
    ("rmdir dir", |union| union.rmdir(&path("/top/dir"), &me())),
    ("mkdir dir/new", |union| union.mkdir(&path("/top/dir/new"), 0o755, &me())),
    ("rmdir dir/new", |union| union.rmdir(&path("/top/dir/new"), &me())),
    ("make dir", |union| make(union, "/top/dir")),
    ("make dir/new", |union| make(union, "/top/dir/new")),
    ("unlink dir/new", |union| union.unlink(&path("/top/dir/new"), &me())),
    ("symlink dir/new", |union| union.symlink(b"file", &path("/top/dir/new"), &me())),
    ("link linked dir/new", |union| union.link(&path("/linked"), &path("/top/dir/new"), &me())),
    ("rename file dir/new", |union| rename(union, "/file", "/top/dir/new")),
    ("rename dir/new file", |union| rename(union, "/top/dir/new", "/file")),
    ("rename dir moved", |union| rename(union, "/top/dir", "/moved")),
    ("rename empty dir", |union| rename(union, "/empty", "/top/dir")),
    ("chmod dir/new", |union| union.chmod(&path("/top/dir/new"), 0o600, &me())),
    ("truncate dir/new", |union| union.truncate(&path("/top/dir/new"), 0, &me())),
];

/// What the lower tree has, besides files and an empty directory.
#[derive(Debug, Clone, Copy)]
enum Lower {
    Nothing,
    Directory,
    DirectoryWithFile,
}

/// What comes of two changes: their results, and the names that are there.
type Outcome = (Result<(), Errno>, Result<(), Errno>, Vec<String>);

struct Site {
    dir: tempfile::TempDir,
    kind: Kind,
}

impl Site {
    fn new(kind: Kind, lower: Lower) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let low = dir.path().join("low");
        fs::create_dir_all(low.join("top")).unwrap();
        fs::create_dir(low.join("empty")).unwrap();
        for name in ["file", "linked"] {
            fs::write(low.join(name), "").unwrap();
        }
        fs::create_dir(dir.path().join("up")).unwrap();
        if !matches!(lower, Lower::Nothing) {
            fs::create_dir(low.join("top/dir")).unwrap();
        }
        if matches!(lower, Lower::DirectoryWithFile) {
            fs::write(low.join("top/dir/new"), "").unwrap();
        }
        Site { dir, kind }
    }

    fn mount(&self) -> (Arc<Between>, Arc<Union>) {
        let tree =
            Host { root: self.dir.path().to_owned(), steps: AtomicUsize::new(UNLIMITED), attributes: Attributed::Yes };
        let below = Arc::new(Between { tree, calls_before: AtomicUsize::new(0), happens: Mutex::default() });
        let (up, low) = (path("/up"), path("/low"));
        let union = Union::new(below.clone(), up, low, self.kind, Vec::new(), Attributes::Copied).unwrap();
        (below, Arc::new(union))
    }

    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        list(&self.mount().1, &AbsPath::root(), &mut names);
        names.sort();
        names
    }

    fn one_after_the_other(&self, first: Change, second: Change) -> Outcome {
        let (_, union) = self.mount();
        let (first, second) = (first(&union), second(&union));
        (first, second, self.names())
    }

    /// `change`, and `other` before its call with this number of the layer below; `None` if it makes fewer.
    fn at_once(&self, change: Change, other: Change, call: usize) -> Option<Outcome> {
        let (below, union) = self.mount();
        let (sender, begun) = mpsc::channel::<JoinHandle<_>>();
        let others = union.clone();
        *below.happens.lock().unwrap() = Some(Box::new(move || {
            let (done, is_done) = mpsc::channel();
            let made = thread::spawn(move || {
                let made = other(&others);
                let _ = done.send(());
                made
            });
            // Where it has to wait for the lock of names, it is made after the change.
            let _ = is_done.recv_timeout(Duration::from_millis(2));
            sender.send(made).unwrap();
        }));
        below.calls_before.store(call, Ordering::Relaxed);
        let made = change(&union);
        let other = begun.try_recv().ok()?.join().unwrap();
        Some((made, other, self.names()))
    }
}

fn list(union: &Union, at: &AbsPath, names: &mut Vec<String>) {
    let Opened::Virtual(directory) = union.open(at, &OpenHow { flags: OpenFlags::DIRECTORY, mode: 0 }, &me()).unwrap()
    else {
        panic!("{at} is no directory of the union")
    };
    for entry in directory.entries(0).unwrap() {
        if entry.name == b"." || entry.name == b".." {
            continue;
        }
        let name = at.child(&entry.name);
        let stat = union.stat(&name).unwrap_or_else(|errno| panic!("{name} is listed, and not there: {errno}"));
        names.push(format!("{name} {:?} {:o}", stat.file_type(), stat.permissions()));
        if stat.file_type() == FileType::Directory {
            list(union, &name, names);
        }
    }
}

/// All pairs of changes in a union of this kind, over each of these.
fn all_pairs(kind: Kind, over: &[Lower]) {
    let mut wrong = Vec::new();
    for &lower in over {
        for (change_name, change) in CHANGES {
            for (other_name, other) in CHANGES {
                let site = || Site::new(kind, lower);
                let before = site().one_after_the_other(*change, *other);
                let (second, first, names) = site().one_after_the_other(*other, *change);
                let after = (first, second, names);
                for call in 1.. {
                    let Some(outcome) = site().at_once(*change, *other, call) else { break };
                    if outcome != before && outcome != after {
                        wrong.push(format!(
                            "{lower:?}: {change_name}, {other_name} before call {call}: {outcome:?}\n  neither {before:?}\n  nor {after:?}"
                        ));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn in_a_merge() {
    all_pairs(Kind::Merge, &[Lower::Nothing, Lower::Directory, Lower::DirectoryWithFile]);
}

#[test]
fn in_a_cow() {
    all_pairs(Kind::Cow, &[Lower::DirectoryWithFile]);
}

#[test]
fn in_a_mincow() {
    all_pairs(Kind::Mincow, &[Lower::DirectoryWithFile]);
}
