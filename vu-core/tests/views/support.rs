//! A module for tests, whose mounts tell who was asked, and short ways to use it.
#![allow(dead_code, clippy::unwrap_used, reason = "of tests, and shared with a benchmark")]

use std::sync::Arc;
use vu_api::{
    AbsPath, Caller, Errno, Family, FileType, Filesystem, Location, Module, MountFlags, MountRequest, Mounted, OpenHow,
    Opened, Probe, Purpose, Stack, Stat, testing::path,
};
use vu_core::{
    config::Nesting,
    layer::Layer,
    view::{Mount, MountCall, Refusal, View},
};
use vu_fd::Nodes;

/// Its types are `mark` (every path of it is there, a directory, and located at /SOURCE/…), `bind` (as vufs has it), `panic`, and
/// `stack`. The word `except=/PATH` is understood by the first two.
pub struct Tester;

vu_api::register_module!(Tester);

impl Module for Tester {
    fn name(&self) -> &'static str {
        "tester"
    }

    fn description(&self) -> &'static str {
        "mounts for tests"
    }

    fn claims(&self, fs_type: &str) -> bool {
        ["mark", "bind", "panic", "panic-at-mount", "stack"].contains(&fs_type)
    }

    fn mount(&self, request: &MountRequest<'_>) -> Result<Mounted, Errno> {
        if request.words.unknown(&[], &["except"]).is_some() {
            return Err(Errno::EINVAL);
        }
        let except = request.words.iter().filter_map(|(_, value)| AbsPath::new(value?).ok()).collect();
        Ok(match request.fs_type {
            "mark" => {
                let mark = String::from_utf8(request.source.to_vec()).map_err(|_| Errno::EINVAL)?;
                Mounted::Filesystem(Arc::new(Mark { mark, except }))
            }
            "bind" => {
                let source = request.source_path.clone().ok_or(Errno::ENOENT)?;
                Mounted::Filesystem(Arc::new(Bind { below: request.below.clone(), source, except }))
            }
            "panic" => Mounted::Filesystem(Arc::new(Panics)),
            "stack" => Mounted::Stack(Arc::new(Ipv4)),
            _ => panic!("this type always does"),
        })
    }
}

/// Another module, without mounts.
pub struct Idler;

vu_api::register_module!(Idler);

impl Module for Idler {
    fn name(&self) -> &'static str {
        "idler"
    }

    fn description(&self) -> &'static str {
        "nothing"
    }
}

/// Where everything is, and says whose it is.
pub struct Mark {
    pub mark: String,
    pub except: Vec<AbsPath>,
}

impl Filesystem for Mark {
    fn declines(&self, path: &AbsPath) -> bool {
        self.except.iter().any(|exception| path.starts_with(exception))
    }

    fn locate(&self, path: &AbsPath, _purpose: Purpose) -> Result<Location, Errno> {
        path.rebase(&AbsPath::root(), &self::path(&format!("/{}", self.mark))).map(Location::Host).ok_or(Errno::EIO)
    }

    fn probe(&self, _path: &AbsPath) -> Result<Probe, Errno> {
        Ok(Probe::Found { file_type: Some(FileType::Directory), handle: None })
    }

    fn stat(&self, _path: &AbsPath) -> Result<Stat, Errno> {
        Ok(Stat { mode: libc::S_IFDIR | 0o755, nlink: 2, ..Stat::default() })
    }

    fn open(&self, _path: &AbsPath, _how: &OpenHow, _caller: &dyn Caller) -> Result<Opened, Errno> {
        Err(Errno::ENXIO)
    }
}

struct Bind {
    below: Arc<dyn Filesystem>,
    source: AbsPath,
    except: Vec<AbsPath>,
}

impl Bind {
    fn there(&self, path: &AbsPath) -> AbsPath {
        self.source.below(&path.as_bytes()[1..])
    }
}

impl Filesystem for Bind {
    fn declines(&self, path: &AbsPath) -> bool {
        self.except.iter().any(|exception| path.starts_with(exception))
    }

    fn locate(&self, path: &AbsPath, purpose: Purpose) -> Result<Location, Errno> {
        self.below.locate(&self.there(path), purpose)
    }

    fn probe(&self, path: &AbsPath) -> Result<Probe, Errno> {
        self.below.probe(&self.there(path))
    }

    fn stat(&self, path: &AbsPath) -> Result<Stat, Errno> {
        self.below.stat(&self.there(path))
    }

    fn open(&self, path: &AbsPath, how: &OpenHow, caller: &dyn Caller) -> Result<Opened, Errno> {
        self.below.open(&self.there(path), how, caller)
    }

    fn read_link(&self, path: &AbsPath) -> Result<Vec<u8>, Errno> {
        self.below.read_link(&self.there(path))
    }

    fn mkdir(&self, path: &AbsPath, mode: u32, caller: &dyn Caller) -> Result<(), Errno> {
        self.below.mkdir(&self.there(path), mode, caller)
    }

    fn unlink(&self, path: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        self.below.unlink(&self.there(path), caller)
    }

    fn link(&self, from: &AbsPath, to: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        self.below.link(&self.there(from), &self.there(to), caller)
    }
}

/// Fails in the worst way.
struct Panics;

impl Filesystem for Panics {
    fn declines(&self, path: &AbsPath) -> bool {
        assert!(path.file_name() != Some(b"declines"), "asked whether it declines");
        false
    }

    fn probe(&self, _path: &AbsPath) -> Result<Probe, Errno> {
        panic!("probed")
    }

    fn stat(&self, path: &AbsPath) -> Result<Stat, Errno> {
        panic!("stat of {path}")
    }

    fn open(&self, _path: &AbsPath, _how: &OpenHow, _caller: &dyn Caller) -> Result<Opened, Errno> {
        std::panic::panic_any(7)
    }
}

struct Ipv4;

impl Stack for Ipv4 {
    fn supports(&self, family: Family) -> bool {
        family == Family::INET
    }

    fn socket(&self, _family: Family, _kind: i32, _protocol: i32) -> Result<Opened, Errno> {
        Err(Errno::EAFNOSUPPORT)
    }
}

/// A view over a host that is a [`Mark`] `host`, with the module active.
pub fn marked_view() -> Arc<View> {
    view_over(Arc::new(Mark { mark: "host".to_owned(), except: Vec::new() }))
}

pub fn view_over(host: Arc<dyn Filesystem>) -> Arc<View> {
    let view = View::new(host, Arc::new(Nodes::new()), Nesting::Layers);
    view.insert_module("tester", false).unwrap();
    view
}

/// mount(2) with a source that exists.
pub fn try_mount(
    view: &Arc<View>,
    fs_type: &str,
    source: &str,
    target: &str,
    data: &str,
) -> Result<Arc<Mount>, Refusal> {
    view.mount(&MountCall {
        fs_type: fs_type.as_bytes(),
        source: source.as_bytes(),
        source_path: AbsPath::new(source).ok(),
        target: &path(target),
        flags: MountFlags::empty(),
        data: data.as_bytes(),
        shown: None,
        wanted: &|| true,
    })
}

#[track_caller]
pub fn mount(view: &Arc<View>, fs_type: &str, source: &str, target: &str, data: &str) -> Arc<Mount> {
    try_mount(view, fs_type, source, target, data)
        .unwrap_or_else(|refusal| panic!("mount {fs_type} {source} {target}: {refusal:?}"))
}

pub fn umount(view: &View, target: &str) -> Result<(), Refusal> {
    view.umount(&path(target), 0).map(drop)
}

pub fn umount_lazily(view: &View, target: &str) -> Result<(), Refusal> {
    view.umount(&path(target), libc::MNT_DETACH).map(drop)
}

/// Where the view has a path.
pub fn located(view: &Arc<View>, text: &str) -> Result<String, Errno> {
    located_for(view, text, Purpose::Read)
}

pub fn located_for(view: &Arc<View>, text: &str, purpose: Purpose) -> Result<String, Errno> {
    Layer::top(view.clone()).locate(&path(text), purpose).map(|location| match location {
        Location::Host(path) => path.to_string(),
        Location::Own => "own".to_owned(),
    })
}
