//! The path walk and the mount table.
#![forbid(unsafe_code)]

mod map;
mod options;
mod table;
mod tree;
mod walk;

pub use options::{EmptyPath, Follow, Kind, Last, Options, ResolveFlags, Resolved, Start, State};
pub use table::{Entry, Epoch, MountTable};
pub use tree::{Look, Magic, Plain, Tree};
pub use walk::{MAX_SYMLINKS, resolve, resolve_existing};
