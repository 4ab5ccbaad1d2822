//! The walk again: recursive, component by component, a list of names for a place, every mount asked in turn.

use super::{Case, Node, View};
use vu_api::{AbsPath, Errno, NAME_MAX, PATH_MAX};
use vu_path::{EmptyPath, Follow, Kind, Last, Magic, Options, ResolveFlags, State};

/// Where a walk ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub path: AbsPath,
    pub state: State,
    pub last: Last,
    pub must_be_dir: bool,
    pub opaque: bool,
    pub symlinks: u32,
}

type Names = Vec<Vec<u8>>;

struct Naive<'a> {
    view: &'a View,
    root: Names,
    options: Options,
    links: u32,
}

/// What [`vu_path::resolve`] should say.
pub fn naive(case: &Case) -> Result<Place, Errno> {
    let flags = case.options.resolve;
    let scoped = flags.intersects(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT);
    let root = names(if scoped { &case.cwd } else { &case.root });
    let mut walk = Naive { view: &case.view, root, options: case.options, links: 0 };
    if case.path.len() >= PATH_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    if case.path.is_empty() {
        if case.options.empty == EmptyPath::Refuse {
            return Err(Errno::ENOENT);
        }
        let kind = walk.kind(&case.cwd).ok_or(Errno::ENOENT)?;
        let path = case.cwd.clone();
        let (state, last) = (State::Found(kind), Last::Empty);
        return Ok(Place { path, state, last, must_be_dir: false, opaque: false, symlinks: 0 });
    }
    let place = walk.text(names(&case.cwd), &case.path, case.options.follow)?;
    Ok(Place { symlinks: walk.links, ..place })
}

impl Naive<'_> {
    fn kind(&self, path: &AbsPath) -> Option<Kind> {
        Some(match self.view.see(path)? {
            Node::Directory => Kind::Directory,
            Node::File => Kind::Other,
            Node::Link(_) | Node::Jump(_) | Node::Opaque => Kind::Symlink,
        })
    }

    /// Walks one text, a path or a link's target, from `dir`.
    fn text(&mut self, mut dir: Names, text: &[u8], follow: Follow) -> Result<Place, Errno> {
        if text.starts_with(b"/") {
            if self.options.resolve.contains(ResolveFlags::BENEATH) {
                return Err(Errno::EXDEV);
            }
            dir = self.root.clone();
        }
        let slash = text.ends_with(b"/");
        let components: Vec<&[u8]> = text.split(|&b| b == b'/').filter(|name| !name.is_empty()).collect();
        let mut last = Last::Root;
        for (at, &name) in components.iter().enumerate() {
            let is_last = at + 1 == components.len();
            last = match name {
                b"." => Last::Dot,
                b".." => Last::DotDot,
                _ => Last::Name,
            };
            if name == b".." {
                if dir != self.root {
                    dir.pop();
                } else if self.options.resolve.contains(ResolveFlags::BENEATH) {
                    return Err(Errno::EXDEV);
                }
            }
            if last != Last::Name {
                continue;
            }
            let place = self.name(&dir, name, if is_last { Some((follow, slash)) } else { None })?;
            if is_last {
                return Ok(place);
            }
            match place.state {
                State::Missing => return Err(Errno::ENOENT),
                State::Found(Kind::Directory) => dir = names(&place.path),
                State::Found(_) => return Err(Errno::ENOTDIR),
            }
        }
        let state = State::Found(Kind::Directory);
        Ok(Place { path: path(&dir), state, last, must_be_dir: false, opaque: false, symlinks: 0 })
    }

    /// Walks one name; `end`: it is the last, and whether a slash follows.
    fn name(&mut self, dir: &Names, name: &[u8], end: Option<(Follow, bool)>) -> Result<Place, Errno> {
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let mut full = dir.clone();
        full.push(name.to_vec());
        let slash = matches!(end, Some((_, true)));
        let needs_directory = matches!(end, None | Some((Follow::Last | Follow::Never, true)));
        let mut place = Place {
            path: path(&full),
            state: State::Missing,
            last: Last::Name,
            must_be_dir: slash,
            opaque: false,
            symlinks: 0,
        };
        if let Some(kind) = self.kind(&place.path) {
            place.state = State::Found(kind);
        }
        let follows = needs_directory || matches!(end, Some((Follow::Last, _)));
        match self.view.see(&place.path) {
            Some(Node::Link(target)) if follows => {
                self.count()?;
                place = self.text(dir.clone(), target, Follow::Last)?;
                place.must_be_dir |= slash && place.last == Last::Name;
            }
            Some(node @ (Node::Jump(_) | Node::Opaque)) if follows => {
                self.count()?;
                if self.options.resolve.contains(ResolveFlags::NO_MAGICLINKS) {
                    return Err(Errno::ELOOP);
                }
                if self.options.resolve.intersects(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT) {
                    return Err(Errno::EXDEV);
                }
                let magic = if let Node::Jump(target) = node { self.view.jump(target) } else { Magic::Opaque };
                match magic {
                    Magic::Jump(target) => {
                        place.state = State::Found(self.kind(&target).ok_or(Errno::ENOENT)?);
                        place.path = target;
                    }
                    Magic::Opaque => {
                        place.state = State::Found(Kind::Other);
                        place.opaque = true;
                    }
                }
            }
            _ => {}
        }
        match place.state {
            State::Found(kind) if needs_directory && kind != Kind::Directory => Err(Errno::ENOTDIR),
            _ => Ok(place),
        }
    }

    fn count(&mut self) -> Result<(), Errno> {
        self.links += 1;
        if self.links > 40 || self.options.resolve.contains(ResolveFlags::NO_SYMLINKS) {
            return Err(Errno::ELOOP);
        }
        Ok(())
    }
}

fn names(path: &AbsPath) -> Names {
    path.components().map(<[u8]>::to_vec).collect()
}

fn path(names: &Names) -> AbsPath {
    names.iter().fold(AbsPath::root(), |path, name| path.child(name))
}
