//! The view as a tree that is walked on behalf of one task.

use crate::{
    call::Call,
    handlers::stat::magic_name,
    sys::{self, At, Final, Reach},
    task::{Task, host_name},
};
use std::{cell::Cell, os::fd::AsFd, sync::Arc};
use vu_api::{AbsPath, AccessMode, Errno, FileType, Filesystem, Location, Probe, Purpose};
use vu_path::{Look, Magic, Tree};
use vu_trace::Tid;

/// The view of a call's task.
pub struct ViewTree<'a> {
    call: &'a Call<'a>,
    /// Where the walk begins.
    start: AbsPath,
    /// Whether all that was looked at is what the kernel would have come by, too.
    agrees: Cell<bool>,
    /// Whether a link of `/proc` was met, which leads each task elsewhere.
    personal: Cell<bool>,
    /// On the way to this object of the host, a link was met already.
    linked: Option<AbsPath>,
}

impl<'a> ViewTree<'a> {
    /// `agrees`: whether kernel and view begin at the same directory.
    pub fn new(call: &'a Call<'a>, start: AbsPath, agrees: bool) -> ViewTree<'a> {
        ViewTree { call, start, agrees: Cell::new(agrees), personal: Cell::new(false), linked: None }
    }

    /// With what is known of a name: a link stands there, or on the way.
    #[must_use]
    pub fn with_link_to(self, linked: Option<AbsPath>) -> ViewTree<'a> {
        ViewTree { linked, ..self }
    }

    /// Whether the kernel's own walk would have led to the same place.
    pub fn kernel_agrees(&self) -> bool {
        self.agrees.get()
    }

    /// Whether the same path may mean something else for another task of the view.
    pub fn is_personal(&self) -> bool {
        self.personal.get()
    }

    /// The links of `/proc` that lead a task to itself, and those that lead to objects (proc(5)).
    fn proc_link(&self, path: &AbsPath) -> Option<Look> {
        let mut names = path.components();
        if names.next()? != b"proc" {
            return None;
        }
        let first = names.next()?;
        let task = &self.call.task;
        let process = task.process.id;
        let Some(second) = names.next() else {
            // What the kernel would answer the tracee, not the hypervisor.
            return match first {
                b"self" => Some(Look::Symlink(process.to_string().into_bytes())),
                b"thread-self" => Some(Look::Symlink(format!("{process}/task/{}", task.tid).into_bytes())),
                _ => None,
            };
        };
        let mut tid = number(first)?;
        let mut link = second;
        if second == b"task" {
            tid = number(names.next()?)?;
            link = names.next()?;
        }
        let entry = names.next();
        if names.next().is_some() {
            return None;
        }
        let owner = self.call.core.tasks.get(Tid(tid));
        match (link, entry) {
            (b"cwd" | b"root" | b"exe", None) => Some(self.magic(path, owner.as_ref(), link)),
            (b"fd", Some(fd)) => {
                let fd = number(fd)?;
                Some(Look::Magic(self.descriptor(path, owner.as_ref(), fd)?))
            }
            (b"map_files", Some(_)) => Some(Look::Magic(Magic::Opaque)),
            _ => None,
        }
    }

    fn magic(&self, path: &AbsPath, owner: Option<&Arc<Task>>, link: &[u8]) -> Look {
        let Some(owner) = owner else { return Look::Magic(Magic::Opaque) };
        let target = match link {
            b"root" => Some(owner.fs().root.read().clone()),
            b"cwd" => match owner.cwd_host_path() {
                Ok(host) => {
                    let name = self.call.name_by(&owner.fs().cwd_route.read(), &host);
                    Some(self.jump(&host, name))
                }
                // Deleted, as placeholders are.
                Err(_) => magic_name(self.call, path).inspect(|_| self.agrees.set(false)),
            },
            // The program itself: opened by way of the link, whatever became of its name.
            _ => None,
        };
        Look::Magic(target.map_or(Magic::Opaque, Magic::Jump))
    }

    /// A directory is walked on from, by its name in the view; all else is opened by way of the link itself.
    fn descriptor(&self, path: &AbsPath, owner: Option<&Arc<Task>>, number: i32) -> Option<Magic> {
        let link = sys::look_at(At::Root, path.parent().as_bytes(), Final::Refuse).ok()?;
        let Ok(host) = host_name(sys::read_link(link.as_fd(), &number.to_string()).ok()?) else {
            let virtual_name = owner.and_then(|owner| self.call.descriptor_name(owner, number));
            if virtual_name.is_some() {
                self.agrees.set(false);
            }
            return Some(virtual_name.map_or(Magic::Opaque, Magic::Jump));
        };
        let is_directory = sys::look_at(At::Root, host.as_bytes(), Final::Itself)
            .and_then(|fd| sys::file_type(fd.as_fd()))
            .is_ok_and(|file_type| file_type == FileType::Directory);
        if !is_directory {
            return Some(Magic::Opaque);
        }
        let name = owner.and_then(|owner| self.call.descriptor_name(owner, number));
        Some(Magic::Jump(self.jump(&host, name)))
    }

    fn jump(&self, host: &AbsPath, name: Option<AbsPath>) -> AbsPath {
        let name = name.unwrap_or_else(|| host.clone());
        if name != *host {
            self.agrees.set(false);
        }
        name
    }
}

/// Whether a link's target is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Read,
    LeftOut,
}

/// What `self` and `thread-self` of a `/proc` that is mounted elsewhere, perhaps for another pid namespace, are for a task.
pub(crate) fn of_another_proc(task: &Task, host: &AbsPath) -> Option<Vec<u8>> {
    let name = host.file_name().filter(|name| matches!(*name, b"self" | b"thread-self"))?;
    let link = sys::look_at(At::Root, host.as_bytes(), Final::Itself).ok()?;
    if !sys::is_procfs(link.as_fd()) || sys::file_type(link.as_fd()) != Ok(FileType::Symlink) {
        return None;
    }
    let ids = |line: &str, status: &str| Some(status.lines().find_map(|text| text.strip_prefix(line))?.to_owned());
    // Of the namespace that the hypervisor lives in it tells the hypervisor's number; where that has none, it is one that was made in the view.
    let inner = sys::read_link(link.as_fd(), "").is_err();
    let status = if inner { task.status().ok()? } else { String::new() };
    let number = |line, own: i32| match inner {
        true => Some(ids(line, &status)?.split_whitespace().next_back()?.to_owned()),
        false => Some(own.to_string()),
    };
    let process = number("NStgid:", task.process.id.0)?;
    let text = if name == b"self" { process } else { format!("{process}/task/{}", number("NSpid:", task.tid.0)?) };
    Some(text.into_bytes())
}

impl Tree for ViewTree<'_> {
    fn look(&self, path: &AbsPath) -> Result<Look, Errno> {
        // The walk has come as far as the directory.
        self.permitted(&path.parent(), path, Self::look_at)
    }

    fn pass(&self, path: &AbsPath) -> Result<Look, Errno> {
        self.permitted(&path.parent(), path, Self::pass_at)
    }

    fn end(&self, path: &AbsPath) -> Result<Look, Errno> {
        self.permitted(&path.parent(), path, Self::end_at)
    }

    fn probe(&self, path: &AbsPath) -> Result<Probe, Errno> {
        let root = self.call.task.fs().root.read().clone();
        let from = if path.starts_with(&self.start) { &self.start } else { &root };
        self.permitted(from, path, Self::probe_at)
    }

    fn search(&self, directory: &AbsPath) -> Result<(), Errno> {
        if let Some(judge) = self.call.layer.judge(directory, &*self.call.task) {
            return judge.may_search(directory);
        }
        if let Some(who) = self.call.without_root()
            && let Some(judge) = self.call.layer.judge_of_way(directory, who.clone())
        {
            return judge.may_search(directory);
        }
        let Location::Host(host) = self.call.layer.locate(directory, Purpose::Read)? else {
            return self.call.layer.access(directory, AccessMode::EXECUTE, &*self.call.task);
        };
        let handle = sys::look_at(At::Root, host.as_bytes(), Final::Itself)?;
        sys::access(Reach::Held(handle.as_fd()), libc::X_OK, libc::AT_EACCESS)
    }

    fn may_follow(&self, link: &AbsPath) -> Result<(), Errno> {
        self.call.layer.may_follow(link, &*self.call.task)
    }
}

impl ViewTree<'_> {
    /// Looks, if the directories on the way from one that was reached may be searched; where the host is in the way of what is permitted, it is told so.
    fn permitted<T>(
        &self,
        from: &AbsPath,
        path: &AbsPath,
        look: impl Fn(&Self, &AbsPath) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let found = match look(self, path) {
            Err(Errno::EACCES) if self.call.unlock(path)? => look(self, path),
            found => found,
        };
        match self.call.may_walk(from, path) {
            // A link on the way decides where it goes; its directory is looked at when it is met.
            Err(_) if !matches!(found, Err(Errno::ENOENT)) && found.is_err() => found,
            permitted => permitted.and(found),
        }
    }

    fn look_at(&self, path: &AbsPath) -> Result<Look, Errno> {
        self.look_by(path, Target::Read, |host| {
            let handle = sys::look_at(At::Root, host.as_bytes(), Final::Itself)?;
            Ok(match sys::file_type(handle.as_fd())? {
                FileType::Symlink => Look::Symlink(sys::read_link(handle.as_fd(), "")?),
                other => Look::without_target(other),
            })
        })
    }

    fn end_at(&self, path: &AbsPath) -> Result<Look, Errno> {
        self.look_by(path, Target::LeftOut, |host| {
            Ok(Look::without_target(sys::file_type(sys::look_at(At::Root, host.as_bytes(), Final::Itself)?.as_fd())?))
        })
    }

    /// One call instead of three or four.
    fn pass_at(&self, path: &AbsPath) -> Result<Look, Errno> {
        self.look_by(path, Target::Read, |host| match sys::read_link_at(host.as_bytes()) {
            Ok(target) => Ok(Look::Symlink(target)),
            // It is no link.
            Err(Errno::EINVAL) => Ok(Look::Directory),
            Err(errno) => Err(errno),
        })
    }

    fn look_by(
        &self,
        path: &AbsPath,
        target: Target,
        host: impl Fn(&AbsPath) -> Result<Look, Errno>,
    ) -> Result<Look, Errno> {
        let layer = &self.call.layer;
        let Location::Host(name) = layer.locate(path, Purpose::Read)? else {
            self.agrees.set(false);
            return Ok(match (layer.stat(path)?.file_type(), target) {
                (FileType::Symlink, Target::Read) => Look::Symlink(layer.read_link(path)?),
                (other, _) => Look::without_target(other),
            });
        };
        if name != *path {
            self.agrees.set(false);
        }
        if let Some(look) = self.proc_link(&name) {
            self.personal.set(true);
            return Ok(look);
        }
        if let Some(target) = of_another_proc(&self.call.task, &name) {
            self.personal.set(true);
            return Ok(Look::Symlink(target));
        }
        host(&name)
    }

    fn probe_at(&self, path: &AbsPath) -> Result<Probe, Errno> {
        let layer = &self.call.layer;
        let Location::Host(host) = layer.locate(path, Purpose::Read)? else {
            self.agrees.set(false);
            return layer.probe(path);
        };
        if host != *path {
            self.agrees.set(false);
        }
        if self.linked.as_ref() == Some(path) {
            return Ok(Probe::Symlink);
        }
        match sys::look_at(At::Root, host.as_bytes(), Final::Refuse) {
            // Nothing on the whole way is a link, so the object is none.
            Ok(handle) => {
                let file_type = Some(sys::file_type(handle.as_fd())?);
                Ok(Probe::Found { file_type, handle: Some(handle) })
            }
            Err(Errno::ELOOP) => Ok(Probe::Symlink),
            Err(errno) => Err(errno),
        }
    }
}

fn number(text: &[u8]) -> Option<i32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
