//! What a mapped file is called in a view.
//!
//! A mapping outlives the descriptor that it was made by, and with that the tag which tells by which route the file was opened (`route.rs`). So each process remembers by
//! which routes it has opened files lately ([`OpenedFiles`]). What is remembered is only a hint, for it may be another file by now, and what was opened long ago,
//! or by the kernel itself, is not remembered at all: where no hint leads to the file, the mounts are asked which of them shows it ([`Sources`]).

use crate::{
    call::Call,
    clear::Seen,
    route::Route,
    sys,
    task::{Object, REMOVED, Task, host_name},
    view::View,
};
use ahash::{AHashMap, RandomState};
use parking_lot::Mutex;
use std::sync::{Arc, LazyLock};
use vu_api::{AbsPath, Filesystem, Location, Purpose};
use vu_path::Epoch;

/// The routes by which a process has opened files, by their names on the host. A copy shares the memory until either changes.
#[derive(Default, Clone)]
pub struct OpenedFiles(Option<Arc<[Opened; OpenedFiles::MOST]>>);

/// A name's hash, and its route.
type Opened = Option<(u64, Arc<Route>)>;

/// How names are hashed: differently in each hypervisor, so that nobody can choose names that drive others out.
static HASHED: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl OpenedFiles {
    /// How many are remembered. Each name has one place; of those with the same, the last one.
    const MOST: usize = 256;

    fn place(name: &AbsPath) -> (u64, usize) {
        let hash = HASHED.hash_one(name.as_bytes());
        (hash, usize::try_from(hash % OpenedFiles::MOST as u64).unwrap_or(0))
    }

    /// Notes by which route a file was opened.
    pub fn note(&mut self, host: &AbsPath, route: Arc<Route>) {
        let (hash, place) = OpenedFiles::place(host);
        let places = self.0.get_or_insert_with(|| Arc::new([const { None }; OpenedFiles::MOST]));
        if let Some(opened) = Arc::make_mut(places).get_mut(place) {
            *opened = Some((hash, route));
        }
    }

    /// By which route it was opened, as far as is known.
    #[must_use]
    pub fn find(&self, host: &AbsPath) -> Option<Arc<Route>> {
        let (hash, place) = OpenedFiles::place(host);
        let (known, route) = self.0.as_ref()?.get(place)?.as_ref()?;
        (*known == hash).then(|| route.clone())
    }
}

/// Which directories and files of the host the mounts of a view show, and where.
#[derive(Default)]
pub struct Sources(AHashMap<AbsPath, Vec<Source>>);

#[derive(Debug, Clone)]
struct Source {
    epoch: Epoch,
    point: AbsPath,
    /// Whether it is one of several trees that are shown as one: nobody opens their files by other names.
    of_union: bool,
}

impl Sources {
    /// More are not tried: each means asking a mount.
    const MOST_TRIED: usize = 64;

    fn of(view: &View) -> Sources {
        let mut sources = Sources::default();
        for entry in view.table().iter_newest_first().filter(|entry| !entry.mount.detached) {
            let root = AbsPath::root();
            let ask = |purpose| entry.mount.shielded("locate", |fs| fs.locate(&root, purpose));
            let is_alias = entry.mount.shielded("is_alias", |fs| Ok(fs.is_alias())).unwrap_or(false);
            let of_union = !is_alias && ask(Purpose::List) == Ok(Location::Own);
            let mut shown =
                entry.mount.shielded("host_directories", |fs| Ok(fs.host_directories(&root))).unwrap_or_default();
            if let Ok(Location::Host(host)) = ask(Purpose::Read)
                && !shown.contains(&host)
            {
                shown.push(host);
            }
            for host in shown {
                let source = Source { epoch: entry.epoch, point: entry.point.clone(), of_union };
                sources.0.entry(host).or_default().push(source);
            }
        }
        sources
    }

    /// The names that an object of the host may have by way of the mounts: of unions first, the newest first.
    fn names(&self, host: &AbsPath, of_unions: bool) -> Vec<(Epoch, AbsPath)> {
        let mut names = Vec::new();
        let mut part = host.clone();
        loop {
            let here = self.0.get(&part).into_iter().flatten().filter(|source| source.of_union == of_unions);
            names.extend(here.filter_map(|source| Some((source.epoch, host.rebase(&part, &source.point)?))));
            if part.is_root() {
                break;
            }
            part.pop();
        }
        names.sort_by(|(one, _), (other, _)| other.cmp(one));
        names.truncate(Sources::MOST_TRIED);
        names
    }
}

/// Those of the view that was asked about last.
#[derive(Default)]
pub struct KnownSources(Mutex<Option<(Seen, Arc<Sources>)>>);

impl KnownSources {
    fn get(&self, call: &Call<'_>) -> Arc<Sources> {
        let seen = call.seen();
        if let Some((known, sources)) = &*self.0.lock()
            && *known == seen
        {
            return sources.clone();
        }
        let sources = Arc::new(Sources::of(&call.view));
        *self.0.lock() = Some((seen, sources.clone()));
        sources
    }
}

/// A file that a process has mapped, as `/proc` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MappedFile {
    /// Its device and inode number, where they are told.
    pub object: Option<Object>,
    /// Its name on the host, behind which it says that it was removed, if it was (`d_path`, `fs/d_path.c`).
    pub text: Vec<u8>,
}

/// What is shown in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Device and inode number.
    pub object: Option<Object>,
    /// Its name, as seen from the reader's root.
    pub text: Vec<u8>,
    /// From where on it is not shown: what a copy has more than what it stands for.
    pub end: u64,
}

/// Who asks what the files are called that a task has mapped.
pub struct Names<'a> {
    call: &'a Call<'a>,
    root: AbsPath,
    reader_root: AbsPath,
    executable: Option<AbsPath>,
    opened: OpenedFiles,
    sources: Arc<Sources>,
}

impl<'a> Names<'a> {
    /// The names of a task's files, for the caller.
    #[must_use]
    pub fn new(call: &'a Call<'a>, owner: &'a Task) -> Names<'a> {
        let root = owner.fs().root.read().clone();
        let reader_root = call.task.fs().root.read().clone();
        Names {
            call,
            root,
            reader_root,
            executable: owner.process.executable(),
            opened: owner.process.opened(),
            sources: call.core.sources.get(call),
        }
    }

    /// What is to be shown of a file.
    #[must_use]
    pub fn shown(&self, file: &MappedFile) -> Shown {
        let as_it_is = || Shown { object: file.object, text: file.text.clone(), end: u64::MAX };
        let original = file.object.and_then(|object| self.call.core.agents.original(object));
        let (object, host, removed, end) = match &original {
            Some(library) => (Some(library.object), library.path.clone(), false, library.end()),
            None => {
                let removed = file.text.ends_with(REMOVED);
                let name = if removed { &file.text[..file.text.len() - REMOVED.len()] } else { &file.text };
                let Ok(host) = AbsPath::new(name) else { return as_it_is() };
                // What is no path, though it looks like one, is left as it is.
                if host.as_bytes() != name {
                    return as_it_is();
                }
                (file.object, host, removed, u64::MAX)
            }
        };
        let name = self.name(&host, removed).unwrap_or(host);
        let object = match object {
            Some(_) if !removed && self.call.layer.locate(&name, Purpose::Attributes) == Ok(Location::Own) => {
                self.call.layer.stat(&name).map_or(object, |stat| Some((stat.dev, stat.ino)))
            }
            object => object,
        };
        let seen = name.rebase(&self.reader_root, &AbsPath::root()).unwrap_or(name);
        let removed: &[u8] = if removed { REMOVED } else { b"" };
        Shown { object, text: [seen.as_bytes(), removed].concat(), end }
    }

    /// The name in the view of a file of the host, if it is another one than there.
    fn name(&self, host: &AbsPath, removed: bool) -> Option<AbsPath> {
        // A removed file is at its name no more; then it must do that the mount is there.
        let leads = |name: &AbsPath, mount: Option<Epoch>| {
            let layer = &self.call.layer;
            if removed {
                layer.mount_for(name).map(|(mount, _)| mount.epoch) == mount
            } else {
                layer.locate(name, Purpose::Read).is_ok_and(|there| there == Location::Host(host.clone()))
            }
        };
        let by_route = |route: &Arc<Route>| {
            let name = self.call.name_by(route, host)?;
            leads(&name, Some(Epoch(route.mount)).filter(|_| route.mount != 0)).then_some(name)
        };
        let by_mounts = |of_unions: bool| {
            let names = self.sources.names(host, of_unions);
            names
                .into_iter()
                .find(|(mount, name)| name.starts_with(&self.root) && leads(name, Some(*mount)))
                .map(|(_, name)| name)
        };
        if let Some(program) = &self.executable
            && self.call.layer.locate(program, Purpose::Read).is_ok_and(|there| there == Location::Host(host.clone()))
        {
            return Some(program.clone());
        }
        if let Some(name) = self.opened.find(host).as_ref().and_then(by_route) {
            return Some(name);
        }
        if let Some(name) = by_mounts(true) {
            return Some(name);
        }
        if host.starts_with(&self.root) && leads(host, None) { None } else { by_mounts(false) }
    }
}

/// What the link of a mapping (`/proc/PID/map_files/RANGE`) reads as in the view; `None` if as on the host.
#[must_use]
pub fn link(call: &Call<'_>, owner: &Task, range: &[u8]) -> Option<AbsPath> {
    let range = std::str::from_utf8(range).ok()?;
    let text = sys::read_link(owner.proc().ok()?, &format!("map_files/{range}")).ok()?;
    // Only what stands for another file has no name of its own.
    let object = if host_name(text.clone()).is_err() { crate::proc_maps::object_of(owner, range) } else { None };
    let file = MappedFile { object, text };
    let shown = Names::new(call, owner).shown(&file);
    AbsPath::new(&shown.text).ok().filter(|name| name.as_bytes() != file.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(text: &str) -> AbsPath {
        AbsPath::new(text).unwrap()
    }

    #[test]
    fn what_was_opened_is_remembered_for_a_while() {
        let mut opened = OpenedFiles::default();
        assert_eq!(opened.find(&p("/a")), None);
        let route = |mount| Arc::new(Route { view: p("/m"), host: p("/s"), mount, lent: None });
        opened.note(&p("/s/x"), route(1));
        let mut child = opened.clone();
        child.note(&p("/s/x"), route(2));
        assert_eq!(opened.find(&p("/s/x")).map(|route| route.mount), Some(1));
        assert_eq!(child.find(&p("/s/x")).map(|route| route.mount), Some(2));
        assert_eq!(child.find(&p("/s/y")), None);
        for i in 0..100_000u64 {
            opened.note(&p(&format!("/s/{i}")), route(i));
        }
        assert_eq!(opened.find(&p("/s/99999")).map(|route| route.mount), Some(99_999));
        let known =
            (0..100_000).filter(|i| opened.find(&p(&format!("/s/{i}"))).is_some_and(|route| route.mount == *i)).count();
        assert!((100..=OpenedFiles::MOST).contains(&known), "{known}");
    }

    #[test]
    fn names_by_way_of_the_mounts() {
        let mut sources = Sources::default();
        let mut add = |host: &str, epoch, point: &str, of_union| {
            sources.0.entry(p(host)).or_default().push(Source { epoch: Epoch(epoch), point: p(point), of_union });
        };
        add("/", 1, "/mnt", false);
        add("/up", 2, "/work", true);
        add("/up/lib", 3, "/lib", false);
        add("/up", 4, "/again", false);
        let names = |host: &str, of_unions| {
            let names = sources.names(&p(host), of_unions);
            names.iter().map(|(epoch, name)| format!("{epoch} {name}")).collect::<Vec<_>>()
        };
        assert_eq!(names("/up/lib/c", false), ["4 /again/lib/c", "3 /lib/c", "1 /mnt/up/lib/c"]);
        assert_eq!(names("/up/lib/c", true), ["2 /work/lib/c"]);
        assert_eq!(names("/upper", false), ["1 /mnt/upper"]);
        assert_eq!(names("/up", true), ["2 /work"]);
    }
}
