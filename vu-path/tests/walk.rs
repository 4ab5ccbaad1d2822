//! The rules of the walk, a line a case.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod support;

use std::{cell::Cell, collections::BTreeMap};
use support::{Files, Node, StepByStep, View};
use vu_api::{AbsPath, Errno, FileType, Probe};
use vu_path::{
    EmptyPath, Follow, Kind, Last, Look, MAX_SYMLINKS, Options, ResolveFlags, Resolved, Start, State, Tree, resolve,
};

const DIRECTORY: State = State::Found(Kind::Directory);
const OTHER: State = State::Found(Kind::Other);
const SYMLINK: State = State::Found(Kind::Symlink);
const LAST: Options = options(Follow::Last, ResolveFlags::empty());
const NEVER: Options = options(Follow::Never, ResolveFlags::empty());
const ENTRY: Options = options(Follow::Entry, ResolveFlags::empty());

const fn options(follow: Follow, resolve: ResolveFlags) -> Options {
    Options { follow, empty: EmptyPath::Refuse, resolve }
}

fn p(text: &str) -> AbsPath {
    AbsPath::new(text).unwrap()
}

/// The tree of the tables; a working directory is `/home/u`.
fn tree() -> View {
    let mut files = Files::default();
    for directory in ["/dir/sub", "/home/u/empty", "/proc/7/fd", "/usr/bin"] {
        files.add(p(directory), Node::Directory);
    }
    for file in ["/dir/file", "/usr/bin/cc", "/home/u/note"] {
        files.add(p(file), Node::File);
    }
    for (link, target) in [
        ("/bin", "usr/bin"),
        ("/abs", "/dir"),
        ("/up", "../../dir/./sub/.."),
        ("/slash", "dir/"),
        ("/fileslash", "/dir/file/"),
        ("/rootlink", "/"),
        ("/emptylink", ""),
        ("/nul", "dir\0/../.."),
        ("/loop", "loop"),
        ("/ping", "pong/x"),
        ("/pong", "ping"),
        ("/dangling", "dir/new"),
        ("/dangling2", "nowhere/new"),
        ("/tofile", "dir/file"),
        ("/tolink", "tofile"),
        ("/dir/here", "."),
        ("/dir/sub/out", "../../home/u"),
    ] {
        files.add(p(link), Node::Link(target.into()));
    }
    files.add(p("/proc/7/cwd"), Node::Jump(p("/dir/sub")));
    files.add(p("/proc/7/exe"), Node::Jump(p("/usr/bin/cc")));
    files.add(p("/proc/7/fd/0"), Node::Opaque);
    files.add(p("/proc/7/fd/3"), Node::Jump(p("/tofile")));
    View::new(files)
}

fn walk_in(view: &View, path: &str, options: &Options) -> Result<Resolved, Errno> {
    let (root, cwd) = (AbsPath::root(), p("/home/u"));
    let start = Start { root: &root, cwd: &cwd };
    let together = resolve(view, &start, path.as_bytes(), options);
    let stepwise = resolve(&StepByStep(view), &start, path.as_bytes(), options);
    assert_eq!(format!("{together:?}"), format!("{stepwise:?}"), "{path} with and without the fast path");
    together
}

#[track_caller]
fn found(options: &Options, cases: &[(&str, &str, State)]) {
    for (path, place, state) in cases {
        match walk_in(&tree(), path, options) {
            Ok(resolved) => assert_eq!((&resolved.path, resolved.state), (&p(place), *state), "{path}"),
            Err(errno) => panic!("{path}: {errno:?}"),
        }
    }
}

#[track_caller]
fn refused(options: &Options, cases: &[(&str, Errno)]) {
    for (path, errno) in cases {
        assert_eq!(walk_in(&tree(), path, options).map(|resolved| resolved.path), Err(*errno), "{path}");
    }
}

#[test]
fn names_slashes_and_dots() {
    found(
        &LAST,
        &[
            ("/", "/", DIRECTORY),
            ("//", "/", DIRECTORY),
            ("/.", "/", DIRECTORY),
            ("/..", "/", DIRECTORY),
            ("/../../dir", "/dir", DIRECTORY),
            ("/dir//file", "/dir/file", OTHER),
            ("/dir/./file", "/dir/file", OTHER),
            ("/dir/../dir/sub/../file", "/dir/file", OTHER),
            (".", "/home/u", DIRECTORY),
            ("./", "/home/u", DIRECTORY),
            ("..", "/home", DIRECTORY),
            ("../../dir/", "/dir", DIRECTORY),
            ("note", "/home/u/note", OTHER),
            ("./note", "/home/u/note", OTHER),
            ("empty/..", "/home/u", DIRECTORY),
            ("/...", "/...", State::Missing),
        ],
    );
    refused(
        &LAST,
        &[
            ("", Errno::ENOENT),
            ("/dir/file/", Errno::ENOTDIR),
            ("/dir/file/.", Errno::ENOTDIR),
            ("/dir/file/..", Errno::ENOTDIR),
            ("/dir/file/x", Errno::ENOTDIR),
            ("/nowhere/x", Errno::ENOENT),
            ("/nowhere/.", Errno::ENOENT),
            ("/nowhere/..", Errno::ENOENT),
            ("/dir/nowhere/x/y", Errno::ENOENT),
        ],
    );
}

#[test]
fn missing_names() {
    found(
        &LAST,
        &[
            ("/new", "/new", State::Missing),
            ("/new/", "/new", State::Missing),
            ("/dir/sub/new", "/dir/sub/new", State::Missing),
            ("new", "/home/u/new", State::Missing),
            ("../v", "/home/v", State::Missing),
            ("/abs/new", "/dir/new", State::Missing),
            ("/dangling", "/dir/new", State::Missing),
            ("/dangling/", "/dir/new", State::Missing),
        ],
    );
    refused(&LAST, &[("/dangling2", Errno::ENOENT), ("/dangling/x", Errno::ENOENT)]);
    for (path, must_be_dir) in [("/new", false), ("/new/", true), ("/new//", true), ("/dir/", true), ("/dir/.", false)]
    {
        assert_eq!(walk_in(&tree(), path, &LAST).unwrap().must_be_dir, must_be_dir, "{path}");
    }
}

#[test]
fn links_are_followed() {
    found(
        &LAST,
        &[
            ("/bin/cc", "/usr/bin/cc", OTHER),
            ("/bin/../bin", "/usr/bin", DIRECTORY),
            ("/abs/file", "/dir/file", OTHER),
            ("/up/file", "/dir/file", OTHER),
            ("/slash/file", "/dir/file", OTHER),
            ("/slash", "/dir", DIRECTORY),
            ("/rootlink/dir", "/dir", DIRECTORY),
            ("/rootlink", "/", DIRECTORY),
            ("/emptylink", "/", DIRECTORY),
            ("/emptylink/dir", "/dir", DIRECTORY),
            ("/tolink", "/dir/file", OTHER),
            // No file system has one, but a mount might.
            ("/nul/file", "/dir/file", OTHER),
            ("/dir/here/here/here/sub", "/dir/sub", DIRECTORY),
            ("/dir/sub/out/note", "/home/u/note", OTHER),
            ("/dir/sub/out/../v", "/home/v", State::Missing),
        ],
    );
    refused(
        &LAST,
        &[
            ("/loop", Errno::ELOOP),
            ("/loop/", Errno::ELOOP),
            ("/loop/x", Errno::ELOOP),
            ("/ping", Errno::ELOOP),
            ("/fileslash", Errno::ENOTDIR),
            ("/tofile/", Errno::ENOTDIR),
            ("/tofile/..", Errno::ENOTDIR),
        ],
    );
}

#[test]
fn the_last_link_may_be_meant_itself() {
    found(
        &NEVER,
        &[
            ("/bin", "/bin", SYMLINK),
            ("/loop", "/loop", SYMLINK),
            ("/bin/", "/usr/bin", DIRECTORY),
            ("/bin/.", "/usr/bin", DIRECTORY),
            ("/dangling", "/dangling", SYMLINK),
            ("/dangling/", "/dir/new", State::Missing),
            ("/abs/here", "/dir/here", SYMLINK),
        ],
    );
    refused(&NEVER, &[("/tofile/", Errno::ENOTDIR), ("/tolink/", Errno::ENOTDIR), ("/loop/", Errno::ELOOP)]);
    found(
        &ENTRY,
        &[
            ("/bin/", "/bin", SYMLINK),
            ("/dangling/", "/dangling", SYMLINK),
            ("/dir/file/", "/dir/file", OTHER),
            ("/abs/new/", "/dir/new", State::Missing),
        ],
    );
    refused(&ENTRY, &[("/bin/cc/x", Errno::ENOTDIR), ("/loop/x", Errno::ELOOP), ("/nowhere/x/", Errno::ENOENT)]);
}

#[test]
fn what_the_last_component_is() {
    for (path, last) in [
        ("/dir", Last::Name),
        ("/dir/", Last::Name),
        ("/dir/.", Last::Dot),
        ("/dir/./", Last::Dot),
        ("/dir/..", Last::DotDot),
        ("/", Last::Root),
        ("//", Last::Root),
        ("/rootlink", Last::Root),
        ("/./rootlink", Last::Root),
        ("/dir/../emptylink", Last::Root),
        ("/dir/here", Last::Dot),
    ] {
        assert_eq!(walk_in(&tree(), path, &LAST).unwrap().last, last, "{path}");
    }
}

#[test]
fn forty_links_and_no_more() {
    let mut files = Files::default();
    files.add(p("/0"), Node::Directory);
    for n in 1..=MAX_SYMLINKS + 1 {
        files.add(p(&format!("/{n}")), Node::Link((n - 1).to_string().into()));
    }
    let view = View::new(files);
    let at_most = walk_in(&view, "/40", &LAST).unwrap();
    assert_eq!((at_most.path, at_most.symlinks), (p("/0"), 40));
    assert_eq!(walk_in(&view, "/20/../20", &LAST).unwrap().symlinks, 40);
    assert_eq!(walk_in(&view, "/41", &LAST).unwrap_err(), Errno::ELOOP);
    assert_eq!(walk_in(&view, "/20/../21", &LAST).unwrap_err(), Errno::ELOOP);
    assert_eq!(walk_in(&view, "/41", &NEVER).unwrap().symlinks, 0);
}

#[test]
fn lengths() {
    let (fits, too_long) = ("n".repeat(255), "n".repeat(256));
    found(&LAST, &[(&format!("/dir/{fits}"), &format!("/dir/{fits}"), State::Missing)]);
    refused(
        &LAST,
        &[
            (&format!("/dir/{too_long}"), Errno::ENAMETOOLONG),
            (&format!("{too_long}/x"), Errno::ENAMETOOLONG),
            (&format!("/bin/{too_long}"), Errno::ENAMETOOLONG),
            // What comes before it is looked at first.
            (&format!("/nowhere/{too_long}"), Errno::ENOENT),
            (&format!("/dir/file/{too_long}"), Errno::ENOTDIR),
        ],
    );
    let path = |length: usize| format!("/{}dir", "./".repeat(length / 2 - 2)) + &"/".repeat(length % 2);
    assert_eq!((path(4094).len(), path(4095).len()), (4094, 4095));
    found(&LAST, &[(&path(4094), "/dir", DIRECTORY), (&path(4095), "/dir", DIRECTORY)]);
    refused(&LAST, &[(&path(4096), Errno::ENAMETOOLONG)]);
    // A path ends at its NUL.
    found(&LAST, &[("/dir\0/x", "/dir", DIRECTORY)]);
    refused(&LAST, &[("\0/dir", Errno::ENOENT)]);
}

#[test]
fn empty_paths() {
    let allow = Options { empty: EmptyPath::Allow, ..LAST };
    let resolved = walk_in(&tree(), "", &allow).unwrap();
    assert_eq!((resolved.path, resolved.state, resolved.last), (p("/home/u"), DIRECTORY, Last::Empty));
    let (root, file) = (AbsPath::root(), p("/tofile"));
    // The descriptor of a link, opened with O_PATH and O_NOFOLLOW.
    let resolved = resolve(&tree(), &Start { root: &root, cwd: &file }, b"", &allow).unwrap();
    assert_eq!((resolved.path, resolved.state), (file, SYMLINK));
}

#[test]
fn magic_links() {
    found(
        &LAST,
        &[
            ("/proc/7/cwd", "/dir/sub", DIRECTORY),
            ("/proc/7/cwd/", "/dir/sub", DIRECTORY),
            ("/proc/7/cwd/../file", "/dir/file", OTHER),
            ("/proc/7/exe", "/usr/bin/cc", OTHER),
            ("/proc/7/fd/0", "/proc/7/fd/0", OTHER),
            // It leads to the link that was opened, not through it.
            ("/proc/7/fd/3", "/tofile", SYMLINK),
        ],
    );
    refused(
        &LAST,
        &[
            ("/proc/7/exe/", Errno::ENOTDIR),
            ("/proc/7/exe/x", Errno::ENOTDIR),
            ("/proc/7/fd/0/", Errno::ENOTDIR),
            ("/proc/7/fd/0/x", Errno::ENOTDIR),
            ("/proc/7/fd/3/x", Errno::ENOTDIR),
        ],
    );
    found(&NEVER, &[("/proc/7/exe", "/proc/7/exe", SYMLINK), ("/proc/7/fd/0", "/proc/7/fd/0", SYMLINK)]);
    assert!(walk_in(&tree(), "/proc/7/fd/0", &LAST).unwrap().opaque);
    assert!(!walk_in(&tree(), "/proc/7/fd/0", &NEVER).unwrap().opaque);
}

#[test]
fn resolve_flags() {
    let no_symlinks = options(Follow::Last, ResolveFlags::NO_SYMLINKS);
    found(&no_symlinks, &[("/usr/bin/cc", "/usr/bin/cc", OTHER)]);
    refused(&no_symlinks, &[("/bin/cc", Errno::ELOOP), ("/bin", Errno::ELOOP), ("/proc/7/exe", Errno::ELOOP)]);
    found(&options(Follow::Never, ResolveFlags::NO_SYMLINKS), &[("/bin", "/bin", SYMLINK)]);

    let no_magic = options(Follow::Last, ResolveFlags::NO_MAGICLINKS);
    found(&no_magic, &[("/bin/cc", "/usr/bin/cc", OTHER)]);
    refused(&no_magic, &[("/proc/7/exe", Errno::ELOOP), ("/proc/7/cwd/x", Errno::ELOOP)]);

    let beneath = options(Follow::Last, ResolveFlags::BENEATH);
    found(&beneath, &[("note", "/home/u/note", OTHER), ("empty/../note", "/home/u/note", OTHER)]);
    refused(&beneath, &[("/dir", Errno::EXDEV), ("..", Errno::EXDEV), ("empty/../../u/note", Errno::EXDEV)]);

    let in_root = options(Follow::Last, ResolveFlags::IN_ROOT);
    found(&in_root, &[("/note", "/home/u/note", OTHER), ("../../note", "/home/u/note", OTHER)]);
    refused(&options(Follow::Last, ResolveFlags::IN_ROOT | ResolveFlags::BENEATH), &[("note", Errno::EINVAL)]);
}

#[test]
fn links_out_of_a_scope() {
    let (root, cwd) = (AbsPath::root(), p("/dir/sub"));
    let start = Start { root: &root, cwd: &cwd };
    let walk = |path: &str, resolve: ResolveFlags| {
        resolve_path(&tree(), &start, path, &options(Follow::Last, resolve)).map(|resolved| resolved.path)
    };
    assert_eq!(walk("out", ResolveFlags::BENEATH), Err(Errno::EXDEV));
    assert_eq!(walk("out", ResolveFlags::IN_ROOT), Err(Errno::ENOENT));
    let (root, cwd) = (AbsPath::root(), AbsPath::root());
    let start = Start { root: &root, cwd: &cwd };
    let walk = |path: &str, resolve: ResolveFlags| {
        resolve_path(&tree(), &start, path, &options(Follow::Last, resolve)).map(|resolved| resolved.path)
    };
    assert_eq!(walk("abs", ResolveFlags::BENEATH), Err(Errno::EXDEV));
    assert_eq!(walk("bin", ResolveFlags::BENEATH), Ok(p("/usr/bin")));
    assert_eq!(walk("proc/7/exe", ResolveFlags::IN_ROOT), Err(Errno::EXDEV));
    assert_eq!(walk("abs", ResolveFlags::IN_ROOT), Ok(p("/dir")));
}

fn resolve_path(view: &View, start: &Start<'_>, path: &str, options: &Options) -> Result<Resolved, Errno> {
    resolve(view, start, path.as_bytes(), options)
}

#[test]
fn the_root_of_a_process_is_a_wall() {
    let (root, cwd) = (p("/dir"), p("/dir/sub"));
    let start = Start { root: &root, cwd: &cwd };
    for (path, place) in [
        ("/", Ok("/dir")),
        ("/..", Ok("/dir")),
        ("../../..", Ok("/dir")),
        ("/file", Ok("/dir/file")),
        ("new", Ok("/dir/sub/new")),
        // `../../home/u`, and there is no `/dir/home`.
        ("/sub/out", Err(Errno::ENOENT)),
    ] {
        let walked = resolve_path(&tree(), &start, path, &LAST).map(|resolved| resolved.path);
        assert_eq!(walked, place.map(p), "{path}");
    }
    // Who stands outside of his root, as after chroot without chdir, walks up to the very top.
    let outside = p("/home/u");
    let start = Start { root: &root, cwd: &outside };
    let resolved = resolve_path(&tree(), &start, "../../../usr", &LAST).unwrap();
    assert_eq!(resolved.path, p("/usr"));
}

/// A tree that counts what it is asked, and may forbid things.
struct Counting {
    view: View,
    probes: Cell<u32>,
    looks: Cell<u32>,
    /// Nothing may be looked up in this directory.
    closed: Option<AbsPath>,
    /// Links that end a path may not be followed here.
    kept: Option<AbsPath>,
}

impl Counting {
    fn permit(&self, path: &AbsPath) -> Result<(), Errno> {
        let closed = self.closed.as_ref().is_some_and(|closed| path != closed && path.starts_with(closed));
        if closed { Err(Errno::EACCES) } else { Ok(()) }
    }
}

impl Tree for Counting {
    fn look(&self, path: &AbsPath) -> Result<Look, Errno> {
        self.looks.set(self.looks.get() + 1);
        self.permit(path)?;
        self.view.look(path)
    }

    fn probe(&self, path: &AbsPath) -> Result<Probe, Errno> {
        self.probes.set(self.probes.get() + 1);
        self.permit(path)?;
        self.view.probe(path)
    }

    fn search(&self, directory: &AbsPath) -> Result<(), Errno> {
        if self.closed.as_ref() == Some(directory) { Err(Errno::EACCES) } else { Ok(()) }
    }

    fn may_follow(&self, link: &AbsPath) -> Result<(), Errno> {
        if self.kept.as_ref() == Some(link) { Err(Errno::EACCES) } else { Ok(()) }
    }
}

fn counting(closed: Option<&str>) -> Counting {
    Counting { view: tree(), probes: Cell::new(0), looks: Cell::new(0), closed: closed.map(p), kept: None }
}

#[test]
fn the_fast_path_costs_one_probe() {
    for (path, options, probes, looks) in [
        ("/usr/bin/cc", LAST, 1, 0),
        ("note", LAST, 1, 0),
        ("/", LAST, 0, 0),
        ("..", LAST, 0, 0),
        ("../../dir/sub", LAST, 1, 0),
        ("/dir/sub/../file", LAST, 2, 0),
        ("/new", LAST, 1, 0),
        ("/bin", NEVER, 1, 0),
        // The link itself is looked at, and all of what remains at once.
        ("/bin", LAST, 2, 1),
        ("/bin/cc", LAST, 2, 1),
        // Is the parent there?
        ("/dir/sub/new", LAST, 2, 0),
    ] {
        let tree = counting(None);
        let (root, cwd) = (AbsPath::root(), p("/home/u"));
        resolve(&tree, &Start { root: &root, cwd: &cwd }, path.as_bytes(), &options).unwrap();
        assert_eq!((tree.probes.get(), tree.looks.get()), (probes, looks), "{path}");
    }
}

#[test]
fn permission_to_search() {
    let (root, cwd) = (AbsPath::root(), p("/dir"));
    let start = Start { root: &root, cwd: &cwd };
    let long = format!("/dir/{}", "n".repeat(256));
    for (path, errno) in [
        ("/dir", None),
        ("/dir/", None),
        ("/", None),
        ("/dir/.", Some(Errno::EACCES)),
        ("/dir/..", Some(Errno::EACCES)),
        ("..", Some(Errno::EACCES)),
        (".", Some(Errno::EACCES)),
        ("/dir/new", Some(Errno::EACCES)),
        ("/dir/sub/x/y", Some(Errno::EACCES)),
        (&long, Some(Errno::EACCES)),
    ] {
        let walked = resolve(&counting(Some("/dir")), &start, path.as_bytes(), &LAST);
        assert_eq!(walked.map(|_| ()).err(), errno, "{path}");
    }
}

#[test]
fn a_tree_may_keep_the_type_to_itself() {
    let mut view = tree();
    view.shy = true;
    let (root, cwd) = (AbsPath::root(), p("/home/u"));
    let start = Start { root: &root, cwd: &cwd };
    let state = |path: &str, options| resolve_path(&view, &start, path, options).map(|resolved| resolved.state);
    assert_eq!(state("/bin", &NEVER), Ok(State::Found(Kind::Unknown)));
    assert_eq!(state("/bin/", &NEVER), Ok(DIRECTORY));
    assert_eq!(state("/bin", &LAST), Ok(DIRECTORY));
    assert_eq!(state("/dir/file", &LAST), Ok(OTHER));
    assert_eq!(state("/dir/file/", &NEVER), Err(Errno::ENOTDIR));
}

/// What the fast path saw is gone when the walk goes on.
struct Vanishing(BTreeMap<AbsPath, Option<FileType>>);

impl Tree for Vanishing {
    fn look(&self, _path: &AbsPath) -> Result<Look, Errno> {
        Err(Errno::ENOENT)
    }

    fn probe(&self, path: &AbsPath) -> Result<Probe, Errno> {
        let file_type = *self.0.get(path).ok_or(Errno::ENOENT)?;
        Ok(Probe::Found { file_type, handle: None })
    }
}

#[test]
fn a_tree_that_changes_gives_an_errno() {
    let root = AbsPath::root();
    let start = Start { root: &root, cwd: &root };
    for (path, file_type, expected) in [
        ("/a", Some(FileType::Symlink), Err(Errno::ENOENT)),
        ("/a", Some(FileType::Regular), Err(Errno::ENOENT)),
        ("/a", None, Err(Errno::ENOENT)),
        ("/a", Some(FileType::Directory), Ok(State::Missing)),
        ("/a/b", Some(FileType::Symlink), Ok(State::Missing)),
        ("/a/b", None, Err(Errno::ENOENT)),
    ] {
        let tree = Vanishing(BTreeMap::from([(p(path), file_type)]));
        let walked = resolve(&tree, &start, b"/a/b", &LAST).map(|resolved| resolved.state);
        assert_eq!(walked, expected, "{path} {file_type:?}");
    }
}

/// Which links may be followed is asked of those that end the path alone (`WALK_TRAILING`, fs/namei.c).
#[test]
fn links_that_end_a_path_may_be_kept_from_being_followed() {
    let (root, cwd) = (AbsPath::root(), p("/"));
    let start = Start { root: &root, cwd: &cwd };
    let walked = |kept: &str, path: &[u8], options| {
        let tree = Counting { kept: Some(p(kept)), ..counting(None) };
        resolve(&tree, &start, path, options).map(|resolved| resolved.state)
    };
    for path in [&b"/bin"[..], b"bin/", b"/dir/../bin"] {
        assert_eq!(walked("/bin", path, &LAST), Err(Errno::EACCES), "{}", path.escape_ascii());
    }
    assert_eq!(walked("/tofile", b"/tolink", &LAST), Err(Errno::EACCES), "the end of what a link leads to");
    assert_eq!(walked("/bin", b"/bin/cc", &LAST), Ok(OTHER), "on the way");
    assert_eq!(walked("/bin", b"/bin", &NEVER), Ok(State::Found(Kind::Symlink)), "not followed");
    assert_eq!(walked("/bin", b"/bin/", &NEVER), Err(Errno::EACCES), "a slash follows");
    assert_eq!(walked("/tolink", b"/tofile", &LAST), Ok(OTHER), "another one");
}
