//! What the walk is asked, and what it answers.

use bitflags::bitflags;
use std::os::fd::OwnedFd;
use vu_api::AbsPath;

/// Where a walk begins. Both are directories, and their paths in the tree contain no symbolic link; for
/// an empty path, `cwd` may be an object of any type.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// The root of the process: what `/` means, and where `..` ends.
    pub root: &'a AbsPath,
    /// Where relative paths begin: the working directory, or the directory of a descriptor.
    pub cwd: &'a AbsPath,
}

/// What becomes of a symbolic link as the last component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Follow {
    /// It is followed: stat, open, chdir, ….
    #[default]
    Last,
    /// It is the object meant: lstat, `O_NOFOLLOW`, `AT_SYMLINK_NOFOLLOW`, …. With a slash behind it, it is followed all
    /// the same and must lead to a directory.
    Never,
    /// The *entry* is meant, and a slash behind it changes nothing: mkdir, mknod, symlink, link's new name, unlink, rmdir,
    /// rename (`filename_parentat`, `fs/namei.c`). What a slash says about the type is for each call to judge, by
    /// [`Resolved::must_be_dir`].
    Entry,
}

/// What an empty path means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EmptyPath {
    /// `ENOENT`.
    #[default]
    Refuse,
    /// The start itself: `AT_EMPTY_PATH`.
    Allow,
}

bitflags! {
    /// The `RESOLVE_*` flags of openat2(2); unknown bits are kept, and are the caller's to refuse.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct ResolveFlags: u64 {
        /// Not the walk's: it knows no mounts.
        const NO_XDEV = 0x01;
        /// A magic link that would be followed is `ELOOP`.
        const NO_MAGICLINKS = 0x02;
        /// A link that would be followed is `ELOOP`.
        const NO_SYMLINKS = 0x04;
        /// Leaving the start is `EXDEV`.
        const BENEATH = 0x08;
        /// The start is the root.
        const IN_ROOT = 0x10;
        /// Not the walk's: it knows no cache.
        const CACHED = 0x20;
        const _ = !0;
    }
}

/// How a path is to be resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// What becomes of a symbolic link as the last component.
    pub follow: Follow,
    /// What an empty path means.
    pub empty: EmptyPath,
    /// openat2's flags; none for every other call.
    pub resolve: ResolveFlags,
}

/// The place a path leads to.
#[derive(Debug)]
pub struct Resolved {
    /// Its name in the tree; no component but, perhaps, the last is a symbolic link.
    pub path: AbsPath,
    /// What stands there.
    pub state: State,
    /// What the last component was, after all links.
    pub last: Last,
    /// A slash follows the last component: whatever is there, or is to be made there, must be a directory.
    pub must_be_dir: bool,
    /// The last component is a magic link to an object that has no path, and was to be followed; `path` is the link's
    /// own, and only the kernel can follow it.
    pub opaque: bool,
    /// How many links were followed.
    pub symlinks: u32,
    /// The host's object, as an `O_PATH` descriptor, if the walk came by one.
    pub handle: Option<OwnedFd>,
}

/// Whether there is an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Yes.
    Found(Kind),
    /// No, but the directory that would hold it exists.
    Missing,
}

/// As much of an object's type as the walk comes to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A symbolic or magic link that was not to be followed.
    Symlink,
    /// Neither.
    Other,
    /// The tree did not tell, and the walk need not know: only without [`Follow::Last`] and a trailing slash.
    Unknown,
}

/// The last component of a path, as the calls that make and remove names distinguish it (`LAST_NORM`, … of `fs/namei.c`):
/// `rmdir(".")` is `EINVAL`, `rmdir("..")` is `ENOTEMPTY`, `unlink("/")` is `EISDIR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Last {
    /// An entry of a directory.
    Name,
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// There is none: `/`.
    Root,
    /// There is none: the path was empty.
    Empty,
}
