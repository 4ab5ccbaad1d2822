//! The path walk: from the bytes a system call was given to one place in a tree of files.

use crate::{Look, Magic, Tree, options::*};
use std::borrow::Cow;
use vu_api::{AbsPath, Errno, FileType, NAME_MAX, PATH_MAX, Probe};

/// How many symbolic links one walk follows (`MAXSYMLINKS`, `include/linux/namei.h`); the next is `ELOOP`.
pub const MAX_SYMLINKS: u32 = 40;

/// Resolves `path` as the kernel would, from `start`, in `tree`.
///
/// The object itself need not exist ([`State::Missing`]); the directory that would hold it must.
///
/// # Errors
/// Those of path_resolution(7): `ENOENT`, `ENOTDIR`, `ELOOP`, `ENAMETOOLONG`, `EACCES`; `EXDEV` for leaving the start
/// under [`ResolveFlags::BENEATH`], or for a magic link where the start is a boundary; `EINVAL` for `BENEATH` together with
/// `IN_ROOT`; and whatever else the tree says.
pub fn resolve<T: Tree + ?Sized>(
    tree: &T,
    start: &Start<'_>,
    path: &[u8],
    options: &Options,
) -> Result<Resolved, Errno> {
    Walk::begin(tree, start, path, options, Wanted::Place)?.run()
}

/// As [`resolve`], for calls that need an object: what does not exist is `ENOENT`. That spares the look at the parent by
/// which `resolve` tells a missing object from a missing directory, when most look-ups of a program (`PATH`,
/// include directories) end so.
///
/// # Errors
/// Those of [`resolve`].
pub fn resolve_existing<T: Tree + ?Sized>(
    tree: &T,
    start: &Start<'_>,
    path: &[u8],
    options: &Options,
) -> Result<Resolved, Errno> {
    Walk::begin(tree, start, path, options, Wanted::Object)?.run()
}

/// What the caller needs of a path whose last component does not exist.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Where it would be.
    Place,
    /// Nothing: that is `ENOENT`.
    Object,
}

/// A walk under way.
struct Walk<'a, T: ?Sized> {
    tree: &'a T,
    options: &'a Options,
    wanted: Wanted,
    /// Where `..` ends and an absolute link begins.
    root: &'a AbsPath,
    /// How far the walk has come: always a directory, and its path in the tree without a symbolic link.
    here: AbsPath,
    /// What remains to be walked, from `at` on. A followed link puts its target in front of the rest.
    text: Cow<'a, [u8]>,
    at: usize,
    /// What the last component looked at was, if it was no name.
    last: Last,
    /// Links followed.
    links: u32,
    /// Whether the next names are tried together; not again between a failure and the link that caused it.
    try_run: bool,
}

/// Some names in a row, without `.` and `..`, as far as they go.
struct Run {
    /// `here` and all of the names.
    path: AbsPath,
    /// How many there are.
    names: usize,
    /// Where the last of them begins in the text.
    last_at: usize,
    /// Where the text goes on behind them, and the slashes that follow.
    end: usize,
    position: Position,
}

/// Where in the path a name stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    /// Another component follows, so it must be a directory.
    Inner,
    /// It is the last component.
    Last,
    /// It is the last component, and slashes follow.
    LastWithSlash,
}

/// How the walk ends, or that it goes on.
type Step = Result<Option<Resolved>, Errno>;

impl<'a, T: Tree + ?Sized> Walk<'a, T> {
    /// `path_init` of `fs/namei.c`.
    fn begin(
        tree: &'a T,
        start: &Start<'a>,
        path: &'a [u8],
        options: &'a Options,
        wanted: Wanted,
    ) -> Result<Self, Errno> {
        let flags = options.resolve;
        if flags.contains(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT) {
            return Err(Errno::EINVAL);
        }
        let path = c_string(path);
        if path.len() >= PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        if path.is_empty() && options.empty == EmptyPath::Refuse {
            return Err(Errno::ENOENT);
        }
        let scoped = flags.intersects(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT);
        let root = if scoped { start.cwd } else { start.root };
        let absolute = path.first() == Some(&b'/');
        if absolute && flags.contains(ResolveFlags::BENEATH) {
            return Err(Errno::EXDEV);
        }
        let here = if absolute { root } else { start.cwd }.clone();
        let text = Cow::Borrowed(path);
        Ok(Walk { tree, options, wanted, root, here, text, at: 0, last: Last::Root, links: 0, try_run: true })
    }

    /// The loop of `link_path_walk` and `path_lookupat`.
    fn run(mut self) -> Result<Resolved, Errno> {
        if self.text.is_empty() {
            return self.empty_path();
        }
        loop {
            self.at += slashes(&self.text[self.at..]);
            let end = match component(&self.text[self.at..]) {
                // The path ends in a dot, or is a slash: the place is a directory, known as such.
                b"" => return Ok(self.found_here()),
                b"." => {
                    self.tree.search(&self.here)?;
                    self.last = Last::Dot;
                    self.at += 1;
                    continue;
                }
                b".." => {
                    self.dot_dot()?;
                    self.at += 2;
                    continue;
                }
                name if name.len() > NAME_MAX => return Err(self.name_too_long()),
                _ if self.try_run => self.names_together()?,
                _ => self.one_name()?,
            };
            if let Some(resolved) = end {
                return Ok(resolved);
            }
        }
    }

    /// The object a descriptor stands for (`AT_EMPTY_PATH`): nothing is walked, and it may be of any type.
    fn empty_path(mut self) -> Result<Resolved, Errno> {
        let kind = kind_of(&self.tree.look(&self.here)?);
        Ok(Resolved { last: Last::Empty, ..self.found(None, kind, Position::Last) })
    }

    /// `handle_dots`: the parent, but never above the root.
    fn dot_dot(&mut self) -> Result<(), Errno> {
        self.tree.search(&self.here)?;
        if self.here == *self.root {
            if self.options.resolve.contains(ResolveFlags::BENEATH) {
                return Err(Errno::EXDEV);
            }
        } else {
            self.here.pop();
        }
        self.last = Last::DotDot;
        Ok(())
    }

    /// The file system refuses a long name when it is looked up, so what is wrong with the directory comes first.
    fn name_too_long(&self) -> Errno {
        let name = component(&self.text[self.at..]);
        match self.tree.look(&self.here.child(name)) {
            Err(errno) if errno != Errno::ENOENT => errno,
            _ => Errno::ENAMETOOLONG,
        }
    }

    /// The fast path: all names up to the next `.`, `..` or the end in one look. It decides unless a symbolic link stands
    /// among them.
    fn names_together(&mut self) -> Step {
        let run = self.next_run();
        let looked = match self.tree.probe(&run.path) {
            Ok(Probe::Symlink) => return self.one_name(),
            Ok(Probe::Found { file_type: None, handle }) if !self.any_type_will_do(run.position) => {
                self.tree.look(&run.path).map(|look| (kind_of(&look), handle))
            }
            Ok(Probe::Found { file_type, handle }) => Ok((kind_of_type(file_type), handle)),
            Err(errno) => Err(errno),
        };
        let (kind, handle) = match looked {
            Ok(found) => found,
            // It may also have gone between two looks at it.
            Err(Errno::ENOENT) if run.position != Position::Inner && self.wanted == Wanted::Place => {
                return self.missing_together(run);
            }
            Err(errno) => return Err(errno),
        };
        match kind {
            Kind::Symlink if self.follows(run.position) => {
                // Everything before the link is a directory, so the walk goes on right there.
                self.here = run.path.parent();
                self.at = run.last_at;
                self.one_name()
            }
            Kind::Directory if run.position == Position::Inner => {
                self.here = run.path;
                self.at = run.end;
                Ok(None)
            }
            kind => {
                self.check_type(kind, run.position)?;
                Ok(Some(Resolved { handle, ..self.found(Some(run.path), kind, run.position) }))
            }
        }
    }

    /// Nothing of the last name is there; is it the last name alone that is missing?
    fn missing_together(&mut self, run: Run) -> Step {
        if run.names == 1 {
            return Ok(Some(self.missing(run.path, run.position)));
        }
        let parent = run.path.parent();
        let is_directory = match self.tree.probe(&parent)? {
            Probe::Found { file_type: Some(file_type), .. } => file_type == FileType::Directory,
            Probe::Found { file_type: None, .. } => matches!(self.tree.look(&parent)?, Look::Directory),
            Probe::Symlink => false,
        };
        if is_directory {
            return Ok(Some(self.missing(run.path, run.position)));
        }
        // The tree is changing under us; step by step there is one answer.
        self.one_name()
    }

    /// One component (`walk_component`).
    fn one_name(&mut self) -> Step {
        self.try_run = false;
        let name = component(&self.text[self.at..]);
        let path = self.here.child(name);
        let after = self.at + name.len();
        let position = position(&self.text[after..]);
        let next = component(&self.text[after + slashes(&self.text[after..])..]);
        let looked = match next {
            b"" if !self.follows(position) => self.tree.end(&path),
            b"" | b"." | b".." => self.tree.look(&path),
            _ => self.tree.pass(&path),
        };
        let look = match looked {
            Ok(look) => look,
            Err(Errno::ENOENT) if position != Position::Inner && self.wanted == Wanted::Place => {
                return Ok(Some(self.missing(path, position)));
            }
            Err(errno) => return Err(errno),
        };
        match look {
            Look::Symlink(target) if self.follows(position) => {
                self.count_link()?;
                if position != Position::Inner {
                    self.tree.may_follow(&path)?;
                }
                self.follow(&target, after).map(|()| None)
            }
            Look::Magic(magic) if self.follows(position) => self.follow_magic(magic, path, after, position),
            Look::Directory if position == Position::Inner => {
                self.here = path;
                self.at = after;
                Ok(None)
            }
            look => {
                let kind = kind_of(&look);
                self.check_type(kind, position)?;
                Ok(Some(self.found(Some(path), kind, position)))
            }
        }
    }

    /// `pick_link`: the target takes the link's place in the path.
    fn follow(&mut self, target: &[u8], after: usize) -> Result<(), Errno> {
        let target = c_string(target);
        if target.first() == Some(&b'/') {
            // `nd_jump_root`
            if self.options.resolve.contains(ResolveFlags::BENEATH) {
                return Err(Errno::EXDEV);
            }
            self.here.clone_from(self.root);
        }
        // The rest is empty or begins with a slash. Slashes at the beginning mean nothing from here on.
        self.text = Cow::Owned([target, &self.text[after..]].concat());
        self.at = 0;
        self.last = Last::Root;
        self.try_run = true;
        Ok(())
    }

    /// `nd_jump_link`: a magic link leads to an object, not to a text, so the object is not followed further.
    fn follow_magic(&mut self, magic: Magic, link: AbsPath, after: usize, position: Position) -> Step {
        self.count_link()?;
        if self.options.resolve.contains(ResolveFlags::NO_MAGICLINKS) {
            return Err(Errno::ELOOP);
        }
        if self.options.resolve.intersects(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT) {
            return Err(Errno::EXDEV);
        }
        match magic {
            Magic::Opaque => {
                self.check_type(Kind::Other, position)?;
                Ok(Some(Resolved { opaque: true, ..self.found(Some(link), Kind::Other, position) }))
            }
            Magic::Jump(target) => {
                let kind = kind_of(&self.tree.look(&target)?);
                self.check_type(kind, position)?;
                if position != Position::Inner {
                    return Ok(Some(self.found(Some(target), kind, position)));
                }
                self.here = target;
                self.at = after;
                self.try_run = true;
                Ok(None)
            }
        }
    }

    fn count_link(&mut self) -> Result<(), Errno> {
        if self.links == MAX_SYMLINKS || self.options.resolve.contains(ResolveFlags::NO_SYMLINKS) {
            return Err(Errno::ELOOP);
        }
        self.links += 1;
        Ok(())
    }

    /// Whether a symbolic link there is followed. A trailing slash makes the last component an inner one
    /// (`lookup_last`), but for those who only want its name (`filename_parentat`).
    fn follows(&self, position: Position) -> bool {
        match (position, self.options.follow) {
            (Position::Inner, _) | (_, Follow::Last) => true,
            (Position::LastWithSlash, follow) => follow == Follow::Never,
            (Position::Last, _) => false,
        }
    }

    /// Whether the walk need not know the type of what stands there.
    fn any_type_will_do(&self, position: Position) -> bool {
        !self.follows(position) && !self.must_be_directory(position)
    }

    fn must_be_directory(&self, position: Position) -> bool {
        match position {
            Position::Inner => true,
            Position::LastWithSlash => self.options.follow != Follow::Entry,
            Position::Last => false,
        }
    }

    fn check_type(&self, kind: Kind, position: Position) -> Result<(), Errno> {
        if kind != Kind::Directory && self.must_be_directory(position) { Err(Errno::ENOTDIR) } else { Ok(()) }
    }

    /// The names from `at` on, as far as they can be looked at together.
    fn next_run(&self) -> Run {
        let mut path = self.here.clone();
        let mut names = 0;
        let mut at = self.at;
        loop {
            let name = component(&self.text[at..]);
            path.push(name);
            names += 1;
            let last_at = at;
            let after = at + name.len();
            let position = position(&self.text[after..]);
            at = after + slashes(&self.text[after..]);
            let next = component(&self.text[at..]);
            if position != Position::Inner || next == b"." || next == b".." || next.len() > NAME_MAX {
                return Run { path, names, last_at, end: at, position };
            }
        }
    }

    /// The result, taken out of the walk; `None`: `here`.
    fn found(&mut self, path: Option<AbsPath>, kind: Kind, position: Position) -> Resolved {
        self.end(path, State::Found(kind), Last::Name, position)
    }

    fn found_here(&mut self) -> Resolved {
        self.end(None, State::Found(Kind::Directory), self.last, Position::Last)
    }

    fn missing(&mut self, path: AbsPath, position: Position) -> Resolved {
        self.end(Some(path), State::Missing, Last::Name, position)
    }

    fn end(&mut self, path: Option<AbsPath>, state: State, last: Last, position: Position) -> Resolved {
        Resolved {
            path: path.unwrap_or_else(|| std::mem::replace(&mut self.here, AbsPath::root())),
            state,
            last,
            must_be_dir: position == Position::LastWithSlash,
            opaque: false,
            symlinks: self.links,
            handle: None,
        }
    }
}

fn kind_of(look: &Look) -> Kind {
    match look {
        Look::Directory => Kind::Directory,
        Look::Symlink(_) | Look::Magic(_) => Kind::Symlink,
        Look::Other => Kind::Other,
    }
}

fn kind_of_type(file_type: Option<FileType>) -> Kind {
    match file_type {
        Some(FileType::Directory) => Kind::Directory,
        Some(FileType::Symlink) => Kind::Symlink,
        Some(_) => Kind::Other,
        None => Kind::Unknown,
    }
}

/// The bytes up to a NUL: what the kernel sees of a string.
fn c_string(bytes: &[u8]) -> &[u8] {
    bytes.iter().position(|&b| b == 0).map_or(bytes, |nul| &bytes[..nul])
}

/// How many slashes `text` begins with.
fn slashes(text: &[u8]) -> usize {
    text.iter().take_while(|&&b| b == b'/').count()
}

/// What stands before the first slash of `text`.
fn component(text: &[u8]) -> &[u8] {
    text.iter().position(|&b| b == b'/').map_or(text, |slash| &text[..slash])
}

/// The position of a name that `rest` follows.
fn position(rest: &[u8]) -> Position {
    match slashes(rest) {
        n if n < rest.len() => Position::Inner,
        0 => Position::Last,
        _ => Position::LastWithSlash,
    }
}
