//! What a module author sees.
//!
//! A *module* makes *mounts*; a mount is a [`Filesystem`] put over a path, or a
//! [`Stack`] chosen by name. This crate holds the vocabulary both sides share and
//! nothing of the hypervisor:
//!
//! * [`Errno`], [`AbsPath`], [`Stat`], [`OpenFlags`] …: the types of the operations;
//! * [`Filesystem`] and [`File`]: the operations, each with a default that answers as
//!   Linux does on a file system without it;
//! * [`Module`] and [`Submodule`]: how mounts are made, and [`register_module!`] /
//!   [`register_submodule!`], by which they announce themselves;
//! * [`MountWords`]: the data string of `mount(2)`, taken apart;
//! * [`control`]: what the `vu_*` tools and the hypervisor say to each other.
//!
//! A module works on the layer *below* itself ([`MountRequest::below`]) and on nothing else:
//! nesting is a function call, and a cycle cannot be built.
#![forbid(unsafe_code)]

mod caller;
pub mod control;
mod errno;
mod flags;
mod fs;
mod identity;
mod module;
mod path;
mod permission;
mod stack;
#[cfg(feature = "testing")]
pub mod testing;
mod types;
mod words;

pub use caller::{Caller, Credentials};
pub use errno::Errno;
pub use flags::{AccessMode, MountFlags, OpenFlags, RenameFlags, XattrFlags};
pub use fs::{File, Filesystem, Location, Opened, Probe, Purpose, Shows, Withdrawal, Withdrawn};
pub use identity::{Capabilities, IdKind, Identities, Identity, IdentityChange, Ids, SetIds, capability};
#[doc(hidden)]
pub use inventory;
pub use module::{Module, MountRequest, Mounted, Submodule, modules, submodules};
#[doc(hidden)]
pub use module::{RegisteredModule as __RegisteredModule, RegisteredSubmodule as __RegisteredSubmodule};
pub use path::{AbsPath, NAME_MAX, NotAbsolute, PATH_MAX};
pub use permission::{
    may_chown, may_follow, may_set_times, may_set_xattr, may_take, mode_to_set, owns, permitted, permitted_with,
};
pub use stack::{Family, Stack};
pub use types::{DirEntry, FileType, OpenHow, Removed, Stat, StatFs, Time, TimeChange};
pub use words::{MountWords, WordError};
