//! Trees in memory, with mounts, and a second walk over them that is as plain as can be: what the tests, the benches and
//! the fuzz target share.
#![allow(dead_code, unused_imports, reason = "each of its users needs a part")]

mod naive;

pub use naive::naive;

use std::{collections::BTreeMap, sync::Arc};
use vu_api::{AbsPath, Errno, FileType, Probe};
use vu_path::{EmptyPath, Epoch, Follow, Look, Magic, MountTable, Options, ResolveFlags, Start, Tree};

/// An object of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    Directory,
    File,
    Link(Vec<u8>),
    /// A magic link to this path.
    Jump(AbsPath),
    Opaque,
}

/// A tree, by path. Its root is there in any case: a directory, if nothing else is said.
#[derive(Debug, Clone, Default)]
pub struct Files(BTreeMap<AbsPath, Node>);

impl Files {
    /// Adds an object and the directories above it, unless something else is in the way.
    pub fn add(&mut self, path: AbsPath, node: Node) {
        if !path.is_root() {
            self.add(path.parent(), Node::Directory);
            if self.get(&path.parent()) == Some(&Node::Directory) {
                self.0.entry(path).or_insert(node);
            }
        }
    }

    fn get(&self, path: &AbsPath) -> Option<&Node> {
        self.0.get(path).or(if path.is_root() { Some(&Node::Directory) } else { None })
    }
}

/// What one mount shows.
#[derive(Debug, Clone)]
pub struct Mount {
    pub point: AbsPath,
    pub files: Files,
    /// Below this path, relative to the mount point, it declines.
    pub except: Option<AbsPath>,
}

impl Mount {
    /// What it says of a path of the view: `None`: nothing.
    fn see(&self, path: &AbsPath) -> Option<Option<&Node>> {
        let rest = AbsPath::root().below(path.strip_prefix(&self.point)?);
        let declines = self.except.as_ref().is_some_and(|except| rest.starts_with(except));
        (!declines).then(|| self.files.get(&rest))
    }
}

/// A host and mounts over it.
#[derive(Debug, Clone, Default)]
pub struct View {
    pub host: Files,
    /// Oldest first.
    pub mounts: Vec<Arc<Mount>>,
    table: MountTable<Arc<Mount>>,
    /// Whether a look at many components does not tell the type.
    pub shy: bool,
}

impl View {
    /// A host without mounts.
    pub fn new(host: Files) -> View {
        View { host, ..View::default() }
    }

    pub fn mount(&mut self, mount: Mount) {
        let mount = Arc::new(mount);
        self.mounts.push(Arc::clone(&mount));
        self.table.insert(Epoch(self.mounts.len() as u64), mount.point.clone(), mount);
    }

    /// What stands at a path, by looking at one mount after the other.
    pub fn see(&self, path: &AbsPath) -> Option<&Node> {
        self.mounts.iter().rev().find_map(|mount| mount.see(path)).unwrap_or_else(|| self.host.get(path))
    }

    /// The same by the mount table.
    fn see_by_table(&self, path: &AbsPath) -> Option<&Node> {
        let mut covering = self.table.covering(path, Epoch::MAX);
        covering.find_map(|entry| entry.mount.see(path)).unwrap_or_else(|| self.host.get(path))
    }

    /// Whether this is a directory, and everything above it.
    pub fn is_directory(&self, path: &AbsPath) -> bool {
        self.see(path) == Some(&Node::Directory) && (path.is_root() || self.is_directory(&path.parent()))
    }

    /// The paths at which some tree has something.
    fn places(&self) -> Vec<AbsPath> {
        let mounted = self.mounts.iter().flat_map(|mount| {
            mount.files.0.keys().map(|path| mount.point.below(path.strip_prefix(&AbsPath::root()).unwrap()))
        });
        self.host.0.keys().cloned().chain(mounted).collect()
    }

    /// Where a magic link leads; one that lost its target is opaque.
    fn jump(&self, target: &AbsPath) -> Magic {
        if self.see(target).is_some() && self.is_directory(&target.parent()) {
            Magic::Jump(target.clone())
        } else {
            Magic::Opaque
        }
    }
}

impl Tree for View {
    fn look(&self, path: &AbsPath) -> Result<Look, Errno> {
        if !path.is_root() {
            let parent = path.parent();
            assert!(self.is_directory(&parent), "the walk asks for {path} although {parent} is no directory");
        }
        Ok(match self.see_by_table(path).ok_or(Errno::ENOENT)? {
            Node::Directory => Look::Directory,
            Node::File => Look::Other,
            Node::Link(target) => Look::Symlink(target.clone()),
            Node::Jump(target) => Look::Magic(self.jump(target)),
            Node::Opaque => Look::Magic(Magic::Opaque),
        })
    }

    fn probe(&self, path: &AbsPath) -> Result<Probe, Errno> {
        let mut prefix = AbsPath::root();
        for name in path.parent().components() {
            prefix.push(name);
            match self.see_by_table(&prefix).ok_or(Errno::ENOENT)? {
                Node::Directory => {}
                Node::File => return Err(Errno::ENOTDIR),
                _ => return Ok(Probe::Symlink),
            }
        }
        let file_type = match self.see_by_table(path).ok_or(Errno::ENOENT)? {
            Node::Directory => FileType::Directory,
            Node::File => FileType::Regular,
            _ => FileType::Symlink,
        };
        Ok(Probe::Found { file_type: (!self.shy).then_some(file_type), handle: None })
    }
}

/// A tree without the look at many components: what it gives must be the same.
pub struct StepByStep<'a, T>(pub &'a T);

impl<T: Tree> Tree for StepByStep<'_, T> {
    fn look(&self, path: &AbsPath) -> Result<Look, Errno> {
        self.0.look(path)
    }

    fn search(&self, directory: &AbsPath) -> Result<(), Errno> {
        self.0.search(directory)
    }
}

/// Everything one walk needs.
#[derive(Debug, Clone)]
pub struct Case {
    pub view: View,
    pub root: AbsPath,
    pub cwd: AbsPath,
    pub path: Vec<u8>,
    pub options: Options,
}

impl Case {
    pub fn start(&self) -> Start<'_> {
        Start { root: &self.root, cwd: &self.cwd }
    }

    /// Makes a case of any bytes.
    pub fn from_bytes(bytes: &[u8]) -> Case {
        // What matters most comes first, since short inputs end in zeros.
        let mut bytes = Source(bytes);
        let options = Options {
            follow: [Follow::Last, Follow::Never, Follow::Entry][bytes.below(3)],
            empty: [EmptyPath::Refuse, EmptyPath::Allow][bytes.below(2)],
            resolve: match bytes.below(12) {
                0 => ResolveFlags::NO_MAGICLINKS,
                1 => ResolveFlags::NO_SYMLINKS,
                2 => ResolveFlags::BENEATH,
                3 => ResolveFlags::IN_ROOT,
                _ => ResolveFlags::empty(),
            },
        };
        // Half of the paths begin with something that exists, or did before a mount hid it.
        let known = bytes.flag().then(|| usize::from(bytes.byte()));
        let text = bytes.text(if known.is_some() { 3 } else { 8 });
        let (root, cwd) = (bytes.place(), bytes.place());
        let mut view = View { shy: bytes.flag(), host: bytes.files(), ..View::default() };
        for _ in 0..bytes.below(6) {
            let point = bytes.place();
            let mut files = bytes.files();
            if bytes.flag() && !point.is_root() {
                files = Files(BTreeMap::from([(AbsPath::root(), Node::File)]));
            }
            let except = bytes.flag().then(|| bytes.place());
            view.mount(Mount { point, files, except });
        }
        let directory = |path| if view.is_directory(&path) { path } else { AbsPath::root() };
        let (root, cwd) = (directory(root), directory(cwd));
        let mut places = view.places();
        if places.iter().any(|path| is_link(&view, path)) && bytes.flag() {
            places.retain(|path| is_link(&view, path));
        }
        let mut path = match known {
            Some(which) if !places.is_empty() => places[which % places.len()].as_bytes().to_vec(),
            _ => Vec::new(),
        };
        if !path.is_empty() && !text.is_empty() {
            path.push(b'/');
        }
        path.extend(text);
        Case { view, root, cwd, path, options }
    }
}

fn is_link(view: &View, path: &AbsPath) -> bool {
    matches!(view.see(path), Some(Node::Link(_) | Node::Jump(_) | Node::Opaque))
}

/// How often proptest tries. A failure is printed with its input, and becomes a line of a table.
#[cfg(test)]
pub fn config(cases: u32) -> proptest::test_runner::Config {
    proptest::test_runner::Config { cases, failure_persistence: None, ..Default::default() }
}

/// Bytes that decide what is made; endless zeros follow.
pub struct Source<'a>(pub &'a [u8]);

impl Source<'_> {
    pub fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    pub fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    pub fn name(&mut self) -> &'static [u8] {
        [&b"a"[..], b"a", b"b", b"b", b"c"][self.below(5)]
    }

    /// A path that may be one of a tree's.
    pub fn place(&mut self) -> AbsPath {
        let mut path = AbsPath::root();
        for _ in 0..[0, 1, 1, 2, 2, 2, 3, 3][self.below(8)] {
            path.push(self.name());
        }
        path
    }

    /// A path as a program or a symbolic link may spell it.
    pub fn text(&mut self, most: usize) -> Vec<u8> {
        let mut text = Vec::new();
        if self.flag() {
            text.push(b'/');
        }
        for _ in 0..self.below(most) {
            match self.below(20) {
                0 => text.extend(b"."),
                1..=3 => text.extend(b".."),
                4 if self.below(16) == 0 => text.extend([b'x'; 256]),
                _ => text.extend(self.name()),
            }
            text.extend(if self.below(8) == 0 { &b"//"[..] } else { b"/" });
        }
        if self.below(4) != 0 && text.len() > 1 {
            while text.last() == Some(&b'/') {
                text.pop();
            }
        }
        text
    }

    pub fn files(&mut self) -> Files {
        let mut files = Files::default();
        for _ in 0..self.below(20) {
            let path = self.place();
            let node = match self.below(8) {
                0 => Node::File,
                1 => Node::Link(self.text(4)),
                2 => Node::Link(self.place().as_bytes().to_vec()),
                3 => Node::Link(self.name().to_vec()),
                4 if self.flag() => Node::Jump(self.place()),
                4 => Node::Opaque,
                _ => Node::Directory,
            };
            files.add(path, node);
        }
        files
    }
}
