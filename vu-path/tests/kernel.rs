//! The walk over the host's own files against the kernel: openat2 for what is there, mkdir and `O_CREAT` for what is not.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod support;

use nix::{
    fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2},
    sys::stat::{Mode, fstat, mkdirat},
};
use proptest::prelude::*;
use std::{
    ffi::OsStr,
    fs::{self, File},
    os::{
        fd::OwnedFd,
        unix::{
            ffi::{OsStrExt, OsStringExt},
            fs::{MetadataExt, symlink},
        },
    },
    path::Path,
};
use support::{Source, StepByStep, config};
use vu_api::{AbsPath, Errno, FileType, Probe};
use vu_path::{EmptyPath, Follow, Kind, Look, Options, ResolveFlags, Resolved, Start, State, Tree, resolve};

/// The host's files, without mounts and magic links.
struct Host;

fn os(path: &AbsPath) -> &Path {
    Path::new(OsStr::from_bytes(path.as_bytes()))
}

fn errno(error: nix::errno::Errno) -> Errno {
    Errno::new(error as i32)
}

impl Tree for Host {
    fn look(&self, path: &AbsPath) -> Result<Look, Errno> {
        let file_type = fs::symlink_metadata(os(path))?.file_type();
        Ok(if file_type.is_dir() {
            Look::Directory
        } else if file_type.is_symlink() {
            Look::Symlink(fs::read_link(os(path))?.into_os_string().into_vec())
        } else {
            Look::Other
        })
    }

    fn pass(&self, path: &AbsPath) -> Result<Look, Errno> {
        match fs::read_link(os(path)) {
            Ok(target) => Ok(Look::Symlink(target.into_os_string().into_vec())),
            // No link. Whether it is a directory, the next look tells.
            Err(error) if error.raw_os_error() == Some(nix::libc::EINVAL) => Ok(Look::Directory),
            Err(error) => Err(error.into()),
        }
    }

    fn probe(&self, path: &AbsPath) -> Result<Probe, Errno> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        match openat2(AT_FDCWD, os(path), how) {
            Ok(handle) => {
                let file_type = FileType::from_mode(fstat(&handle).map_err(errno)?.st_mode);
                Ok(Probe::Found { file_type, handle: Some(handle) })
            }
            Err(nix::errno::Errno::ELOOP) => Ok(Probe::Symlink),
            Err(error) => Err(errno(error)),
        }
    }
}

/// A random tree on the disk; removed when dropped.
struct Files {
    _dir: tempfile::TempDir,
    top: AbsPath,
    directories: Vec<AbsPath>,
    /// Some symbolic link's target ends in a slash.
    slashed: bool,
}

impl Files {
    fn make(bytes: &mut Source<'_>) -> Files {
        let dir = tempfile::tempdir().unwrap();
        // Deep, so that `..` does not easily lead out of it.
        let deep = dir.path().canonicalize().unwrap().join("1/2/3/4/5/6/7/8");
        fs::create_dir_all(&deep).unwrap();
        let top = AbsPath::new(deep.as_os_str().as_bytes()).unwrap();
        let mut files = Files { _dir: dir, directories: vec![top.clone()], top, slashed: false };
        for _ in 0..bytes.below(24) {
            let parent = &files.directories[bytes.below(files.directories.len())];
            let path = parent.child(bytes.name());
            if fs::symlink_metadata(os(&path)).is_ok() {
                continue;
            }
            match bytes.below(8) {
                0 => drop(File::create(os(&path)).unwrap()),
                1..=4 => {
                    let mut target = bytes.text(5);
                    if target.is_empty() {
                        target = b".".to_vec();
                    }
                    files.slashed |= target.ends_with(b"/");
                    if target.starts_with(b"/") && bytes.flag() {
                        target.splice(0..0, files.top.as_bytes().iter().copied());
                    }
                    symlink(OsStr::from_bytes(&target), os(&path)).unwrap();
                }
                _ => {
                    fs::create_dir(os(&path)).unwrap();
                    files.directories.push(path);
                }
            }
        }
        files
    }
}

fn object(path: &Path) -> (u64, u64) {
    let metadata = fs::symlink_metadata(path).unwrap();
    (metadata.dev(), metadata.ino())
}

fn object_of(fd: &OwnedFd) -> (u64, u64) {
    let stat = fstat(fd).unwrap();
    (stat.st_dev, stat.st_ino)
}

/// Our walk, by both ways, which must agree.
fn walk(cwd: &AbsPath, path: &[u8], options: &Options) -> Result<Result<Resolved, Errno>, TestCaseError> {
    let root = AbsPath::root();
    let start = Start { root: &root, cwd };
    let together = resolve(&Host, &start, path, options);
    let stepwise = resolve(&StepByStep(&Host), &start, path, options);
    let short = |walked: &Result<Resolved, Errno>| match walked {
        Ok(resolved) => Ok((resolved.path.clone(), resolved.state, resolved.must_be_dir, resolved.symlinks)),
        Err(errno) => Err(*errno),
    };
    prop_assert_eq!(short(&together), short(&stepwise));
    Ok(together)
}

fn open_dir(path: &AbsPath) -> OwnedFd {
    File::open(os(path)).unwrap().into()
}

proptest! {
    #![proptest_config(config(400))]

    /// What stat, lstat and openat2 find.
    #[test]
    fn objects(bytes in proptest::collection::vec(any::<u8>(), 20..300)) {
        let mut bytes = Source(&bytes);
        let path = bytes.text(7);
        let which = bytes.below(256);
        let files = Files::make(&mut bytes);
        let cwd = &files.directories[which % files.directories.len()];
        let fd = open_dir(cwd);
        for (theirs, ours) in [
            (ResolveFlag::empty(), ResolveFlags::empty()),
            (ResolveFlag::RESOLVE_NO_SYMLINKS, ResolveFlags::NO_SYMLINKS),
            (ResolveFlag::RESOLVE_NO_MAGICLINKS, ResolveFlags::NO_MAGICLINKS),
            (ResolveFlag::RESOLVE_BENEATH, ResolveFlags::BENEATH),
            (ResolveFlag::RESOLVE_IN_ROOT, ResolveFlags::IN_ROOT),
            (ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_BENEATH, ResolveFlags::IN_ROOT | ResolveFlags::BENEATH),
        ] {
            for (flag, follow) in [(OFlag::empty(), Follow::Last), (OFlag::O_NOFOLLOW, Follow::Never)] {
                let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC | flag).resolve(theirs);
                let kernel = openat2(&fd, path.as_slice(), how).map_err(errno);
                let options = Options { follow, empty: EmptyPath::Refuse, resolve: ours };
                match (walk(cwd, &path, &options)?, kernel) {
                    (Ok(Resolved { state: State::Missing, path, .. }), Err(Errno::ENOENT)) => {
                        prop_assert!(os(&path.parent()).is_dir());
                    }
                    (Ok(resolved), Ok(kernel)) => {
                        prop_assert_eq!(object(os(&resolved.path)), object_of(&kernel));
                        // Its name is canonical.
                        let parent = resolved.path.parent();
                        prop_assert_eq!(os(&parent).canonicalize().unwrap(), os(&parent));
                    }
                    (Err(errno), Err(kernel)) => prop_assert_eq!(errno, kernel),
                    (ours, kernel) => prop_assert!(false, "{follow:?}: {ours:?}, but the kernel says {kernel:?}"),
                }
            }
        }
    }

    /// Where mkdir makes a directory.
    #[test]
    fn entries(bytes in proptest::collection::vec(any::<u8>(), 20..300)) {
        let mut bytes = Source(&bytes);
        let path = bytes.text(6);
        let which = bytes.below(256);
        let files = Files::make(&mut bytes);
        let cwd = &files.directories[which % files.directories.len()];
        let ours = walk(cwd, &path, &Options { follow: Follow::Entry, ..Options::default() })?;
        if let Ok(Resolved { state: State::Missing, path, .. }) = &ours
            && !path.starts_with(&files.top)
        {
            return Ok(());
        }
        let kernel = mkdirat(open_dir(cwd), path.as_slice(), Mode::S_IRWXU).map_err(errno);
        match (ours, kernel) {
            (Ok(Resolved { state: State::Missing, path, .. }), Ok(())) => prop_assert!(fs::remove_dir(os(&path)).is_ok()),
            (Ok(Resolved { state: State::Found(_), .. }), Err(Errno::EEXIST)) => {}
            (Err(errno), Err(kernel)) => prop_assert_eq!(errno, kernel),
            (ours, kernel) => prop_assert!(false, "{ours:?}, but the kernel says {kernel:?}"),
        }
    }

    /// Where open makes a file: at the end of dangling links, too.
    #[test]
    fn creation(bytes in proptest::collection::vec(any::<u8>(), 20..300)) {
        let mut bytes = Source(&bytes);
        let path = bytes.text(6);
        let files = Files::make(&mut bytes);
        // A slash at the end is EISDIR to O_CREAT before anything is looked at, which is open's rule, not the walk's.
        if path.ends_with(b"/") || files.slashed {
            return Ok(());
        }
        let options = Options { resolve: ResolveFlags::IN_ROOT, ..Options::default() };
        let ours = walk(&files.top, &path, &options)?;
        let how = OpenHow::new()
            .flags(OFlag::O_CREAT | OFlag::O_CLOEXEC)
            .mode(Mode::S_IRWXU)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT);
        match (ours, openat2(open_dir(&files.top), path.as_slice(), how).map_err(errno)) {
            (Ok(Resolved { state: State::Missing | State::Found(Kind::Other), path, .. }), Ok(kernel)) => {
                prop_assert_eq!(object(os(&path)), object_of(&kernel));
            }
            (Ok(Resolved { state: State::Found(Kind::Directory), .. }), Err(Errno::EISDIR)) => {}
            (Err(errno), Err(kernel)) => prop_assert_eq!(errno, kernel),
            (ours, kernel) => prop_assert!(false, "{ours:?}, but the kernel says {kernel:?}"),
        }
    }
}

/// Paths of the greatest length, as the kernel sees them.
#[test]
fn lengths() {
    let dir = tempfile::tempdir().unwrap();
    let top = AbsPath::new(dir.path().canonicalize().unwrap().as_os_str().as_bytes()).unwrap();
    fs::create_dir(os(&top.child(b"d"))).unwrap();
    for text in [
        "./".repeat(2047) + "d",
        "./".repeat(2047) + "d/",
        "./".repeat(2047) + "x",
        "n".repeat(255),
        "n".repeat(256),
        "x/".to_owned() + &"n".repeat(256),
        "d/../".repeat(819),
        String::new(),
    ] {
        let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC);
        let kernel = openat2(open_dir(&top), text.as_str(), how).map_err(errno);
        let ours = walk(&top, text.as_bytes(), &Options::default()).unwrap();
        let found =
            ours.and_then(|r| if r.state == State::Missing { Err(Errno::ENOENT) } else { Ok(object(os(&r.path))) });
        assert_eq!(found, kernel.map(|fd| object_of(&fd)), "{} bytes", text.len());
    }
}
