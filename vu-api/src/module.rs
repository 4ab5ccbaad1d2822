//! Modules, their submodules, and the registry in which they find one another.

use crate::{AbsPath, Errno, Filesystem, Identities, MountFlags, MountWords, Stack};
use std::{fmt, sync::Arc};

/// What a mount(2) asks of a module.
pub struct MountRequest<'a> {
    /// The type, `vufs` say.
    pub fs_type: &'a str,
    /// The first argument of mount(2), as given. A path in it is resolved with [`source_path`](Self::source_path).
    pub source: &'a [u8],
    /// `source` as a path in the layer below, symbolic links resolved; `None` if it is empty or does not exist there.
    pub source_path: Option<AbsPath>,
    /// The mount point, resolved.
    pub target: &'a AbsPath,
    /// `MS_*`.
    pub flags: MountFlags,
    /// The data words.
    pub words: &'a MountWords,
    /// The layer below: everything that was mounted before, and the host at the bottom.
    pub below: Arc<dyn Filesystem>,
}

/// What a successful mount(2) puts into the view.
#[derive(Clone)]
pub enum Mounted {
    /// A tree (or one file: its root is the mount point).
    Filesystem(Arc<dyn Filesystem>),
    /// A network stack, named by the mount point; it shows there as a character device.
    Stack(Arc<dyn Stack>),
}

impl fmt::Debug for Mounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mounted::Filesystem(_) => "Filesystem",
            Mounted::Stack(_) => "Stack",
        })
    }
}

/// A maker of mounts.
pub trait Module: Send + Sync {
    /// Its name, by which `vu_insmod` knows it: `vufs`.
    fn name(&self) -> &'static str;

    /// One line for people: `vu filesystem patchworking`.
    fn description(&self) -> &'static str;

    /// Whether mounts of this type are this module's. The default: the module's own name, and the types of its submodules.
    fn claims(&self, fs_type: &str) -> bool {
        fs_type == self.name() || submodules(self.name()).any(|s| s.types().contains(&fs_type))
    }

    /// Whether a mount with these words hands out [`Opened::Virtual`](crate::Opened::Virtual) files, so that the calls on descriptors
    /// (fstat, getdents64, …) of the view's processes must be looked at.
    fn virtual_files(&self, _words: &MountWords) -> bool {
        true
    }

    /// The rules of virtual identities, if the module makes those of the view virtual while it is active.
    fn identities(&self) -> Option<&'static dyn Identities> {
        None
    }

    /// Makes a mount. The default hands the request to the submodule that has its type.
    ///
    /// # Errors
    /// Those of mount(2): `EINVAL` for an unknown word or type, `ENOENT` for a missing source, `ENODEV`, ….
    fn mount(&self, request: &MountRequest<'_>) -> Result<Mounted, Errno> {
        submodules(self.name()).find(|s| s.types().contains(&request.fs_type)).ok_or(Errno::ENODEV)?.mount(request)
    }
}

/// A driver inside a module: `vufusenull` inside `vufuse`.
pub trait Submodule: Send + Sync {
    /// The name of the module it belongs to.
    fn module(&self) -> &'static str;

    /// The mount types it drives; the first is its name.
    fn types(&self) -> &'static [&'static str];

    /// One line for people.
    fn description(&self) -> &'static str;

    /// Makes a mount.
    ///
    /// # Errors
    /// As [`Module::mount`].
    fn mount(&self, request: &MountRequest<'_>) -> Result<Mounted, Errno>;
}

#[doc(hidden)]
pub struct RegisteredModule(pub &'static dyn Module);
#[doc(hidden)]
pub struct RegisteredSubmodule(pub &'static dyn Submodule);

inventory::collect!(RegisteredModule);
inventory::collect!(RegisteredSubmodule);

/// Announces a module: `register_module!(Vufs);` with `Vufs` a unit value that is a [`Module`].
///
/// A crate that is only named in Cargo.toml is not linked and registers nothing, silently: name it in
/// `vu-tools/src/modules.rs`, too.
#[macro_export]
macro_rules! register_module {
    ($module:expr) => {
        $crate::inventory::submit! { $crate::__RegisteredModule(&$module) }
    };
}

/// Announces a [`Submodule`], as [`register_module!`] does a module.
#[macro_export]
macro_rules! register_submodule {
    ($submodule:expr) => {
        $crate::inventory::submit! { $crate::__RegisteredSubmodule(&$submodule) }
    };
}

/// Every module that is linked in, sorted by name.
#[must_use]
pub fn modules() -> Vec<&'static dyn Module> {
    let mut all: Vec<_> = inventory::iter::<RegisteredModule>().map(|r| r.0).collect();
    all.sort_by_key(|m| m.name());
    all
}

/// The submodules of a module, in no particular order.
pub fn submodules(module: &str) -> impl Iterator<Item = &'static dyn Submodule> {
    inventory::iter::<RegisteredSubmodule>().map(|r| r.0).filter(move |s| s.module() == module)
}
