//! The path walk and the mount table of a view.
//!
//! A system call is given some bytes; what is meant by them is a place in a tree of files. The kernel finds it in
//! `fs/namei.c`, and explains how in its document [path-lookup]; path_resolution(7) tells it to programmers. In a view the
//! tree is another one, so the hypervisor must find the place itself, and by exactly the same rules: a program that is told
//! `ENOTDIR` for `ENOENT` takes another turn. This crate holds the rules, and knows neither system calls nor mounts' contents nor
//! the host: whatever can look at one path is a [`Tree`].
//!
//! [path-lookup]: https://docs.kernel.org/filesystems/path-lookup.html
//!
//! # The walk
//!
//! ## What is a path made of?
//!
//! Of components, with one slash or more between them. A slash at the beginning makes it absolute: it begins at the *root* of
//! the process ([`Start::root`]); others begin at [`Start::cwd`]. The length is limited twice, to 4095 bytes for
//! the path and 255 for a component, and each limit has its moment: a path that is too long is refused before anything
//! is looked at, a component when it is looked up. So `missing/<256 bytes>` is `ENOENT`, not `ENAMETOOLONG`.
//!
//! ## Where has the walk come to?
//!
//! At any moment there are two things, as in the kernel's `struct nameidata`: a place, and a text that remains to
//! be walked from there. About the place one thing always holds: **it is a directory, and its name contains no symbolic
//! link, no `.` and no `..`**. That is why the place can be a mere name ([`AbsPath`](vu_api::AbsPath)), why `..` is to drop the last
//! component of it, and why the mount table may be asked by comparing bytes.
//!
//! A step takes the first component off the text. `.` does nothing. `..` goes to the parent, but not above the root, where it does
//! nothing either. A name is looked at: if it is a directory, that is the new place; a symbolic link is
//! followed; anything else is `ENOTDIR`, since more of the path is to come.
//!
//! ## What does it mean to follow a link?
//!
//! Its target takes its place in the text. The place remains what it was, the directory that holds the link, unless the target is
//! absolute: then it is the root. The kernel keeps a stack of the texts that are not finished, so as not to copy
//! them; here they are joined, with the same result. After 40 links it is `ELOOP`, be it a loop or not.
//!
//! Joining says without further rules what a slash at the end of a target does, and a target that is empty: nothing remains, so
//! the walk ends in the directory of the link.
//!
//! ## And the links of `/proc`?
//!
//! What readlink(2) tells of a *magic link* (`/proc/PID/fd/3`, `cwd`, `root`, `exe`) is a description, and the kernel does not read it: it
//! jumps to the object. So does the walk, and since an object is not a text, it does not look whether that is a link in turn. The tree
//! says where the object is in the view ([`Magic::Jump`]). Some have no name there: a pipe, a file that was deleted. Then the walk
//! ends at the link itself and says so ([`Resolved::opaque`]): the kernel can follow it, by that name, and nobody else.
//!
//! ## Why is the last component different?
//!
//! Because what becomes of it depends on the call. stat follows a link there, lstat does not, mkdir wants nothing to be there, and open may
//! want either. So the walk stops *before* acting: it says what stands at the end, or that nothing does and that the directory for
//! it exists ([`State::Missing`]), and the call goes on from that.
//!
//! A slash after the last component makes it, for most calls, one that is not the last: `lstat("link/")` follows the link, and what
//! is found must be a directory. Calls that make or remove an *entry* never follow ([`Follow::Entry`]): `mkdir("new/")` is
//! fine, `rmdir("link/")` is `ENOTDIR` although the link leads to a directory, `open("new/", O_CREAT)` is `EISDIR`. They judge the slash
//! themselves, each in its way, by [`Resolved::must_be_dir`]; and whether the path ended in `.` or `..`, where there is no
//! entry, by [`Resolved::last`].
//!
//! ## Must every component be looked at?
//!
//! No, and that is the *fast path*. Most paths contain no link, and a kernel with openat2 can say so in one call
//! ([`Filesystem::probe`](vu_api::Filesystem::probe)): either all components but the last are directories, then the text is a
//! canonical name already; or a link stands among them, then the walk goes step by step up to that link, follows it, and tries again with all
//! that remains. Names up to the next `.` or `..` are tried together, so `/usr/lib/gcc/13/../../libc.so` takes two looks instead of seven.
//!
//! An error is as good as success: a component that fails comes before any link. Only `ENOENT` needs a second look if
//! the caller wants to create something, since it does not say *which* component is missing; [`resolve_existing`] is for those who do not care.
//!
//! ## What of permissions?
//!
//! The kernel checks the permission to search a directory each time something is looked up in it. Looking at a name
//! is the tree's business, and so is that check; for `.` and `..`, where no name is looked at, the walk asks [`Tree::search`].
//! The start itself is not checked, and that it is a directory is the caller's word.
//!
//! ## And openat2's restrictions?
//!
//! [`ResolveFlags`] change three moments: following a link (`ELOOP` for any, or for a magic one), a step above the start and a jump to
//! the root (`EXDEV` under `BENEATH`; under `IN_ROOT` the start is the root), and following a magic link (`EXDEV` under both, since no one
//! knows whether it leads out).
//!
//! # The mount table
//!
//! The newest mount that covers a path wins, not the deepest. [`MountTable`] therefore orders mounts by [`Epoch`], and a layer of the
//! view is the table with all but the older ones left out. The walk knows nothing of it: a tree that has mounts
//! looks a path up in the table each time it is asked, and may find a mount where the directory above lists nothing.
//!
//! # What is absent
//!
//! Automounts, `nosymfollow` mounts and the sysctl `protected_symlinks` of the host do not exist in this walk. A name is looked at at one moment and used at a later
//! one: what happens in between is seen by neither, as with any program that looks before it acts.
#![forbid(unsafe_code)]

mod map;
mod options;
mod table;
mod tree;
mod walk;

pub use options::{EmptyPath, Follow, Kind, Last, Options, ResolveFlags, Resolved, Start, State};
pub use table::{Covering, Entry, Epoch, MountTable};
pub use tree::{Look, Magic, Plain, Tree};
pub use walk::{MAX_SYMLINKS, resolve, resolve_existing};
