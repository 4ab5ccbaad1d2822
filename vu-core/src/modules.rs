//! The modules a view uses.

use vu_api::{Errno, Identities, Module, control::Rows, modules, submodules};

/// The active modules of a view, in the order in which they were activated.
#[derive(Clone, Default)]
pub(crate) struct ActiveModules(Vec<Active>);

#[derive(Clone)]
struct Active {
    module: &'static dyn Module,
    permanent: bool,
}

impl ActiveModules {
    /// Activates a module that is linked in.
    ///
    /// # Errors
    /// `EEXIST` if it is active, `ENOENT` if there is none of this name.
    pub fn insert(&mut self, name: &str, permanent: bool) -> Result<(), Errno> {
        if self.position(name).is_some() {
            tracing::info!("module {name} is active already");
            return Err(Errno::EEXIST);
        }
        let Some(module) = modules().into_iter().find(|module| module.name() == name) else {
            let names: Vec<_> = modules().iter().map(|module| module.name()).collect();
            tracing::info!("there is no module {:?}; there are: {}", name, names.join(", "));
            return Err(Errno::ENOENT);
        };
        self.0.push(Active { module, permanent });
        Ok(())
    }

    /// Deactivates a module; `mounts` is the number of its mounts.
    ///
    /// # Errors
    /// `ENOENT` if it is not active, `EPERM` if it is permanent, `EBUSY` if it has mounts.
    pub fn remove(&mut self, name: &str, mounts: usize) -> Result<(), Errno> {
        let Some(at) = self.position(name) else {
            tracing::info!("module {name:?} is not active; vu_lsmod lists those that are");
            return Err(Errno::ENOENT);
        };
        if self.0[at].permanent {
            tracing::info!("module {name} was made permanent when it was activated: it stays as long as the view");
            return Err(Errno::EPERM);
        }
        if mounts > 0 {
            tracing::info!("module {name} has {mounts} mounts; vuumount them first (vumount lists them)");
            return Err(Errno::EBUSY);
        }
        self.0.remove(at);
        Ok(())
    }

    /// Whether this very module is active.
    pub fn has(&self, module: &dyn Module) -> bool {
        self.position(module.name()).is_some()
    }

    /// The active module whose mounts are of this type.
    pub fn claiming(&self, fs_type: &str) -> Option<&'static dyn Module> {
        self.0.iter().map(|active| active.module).find(|module| module.claims(fs_type))
    }

    /// The rules of the active module that makes identities virtual.
    pub fn identities(&self) -> Option<&'static dyn Identities> {
        self.0.iter().find_map(|active| active.module.identities())
    }

    /// Name, description and submodules of each.
    pub fn rows(&self) -> Rows {
        self.0.iter().map(|active| describe(active.module)).collect()
    }

    /// Name, description and submodules of each that is linked in, and `active` or nothing.
    pub fn available_rows(&self) -> Rows {
        let row = |module: &'static dyn Module| {
            let mut row = describe(module);
            row.push(if self.has(module) { "active" } else { "" }.to_owned());
            row
        };
        modules().into_iter().map(row).collect()
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|active| active.module.name() == name)
    }
}

fn describe(module: &dyn Module) -> Vec<String> {
    let mut drivers: Vec<_> =
        submodules(module.name()).filter_map(|submodule| submodule.types().first().copied()).collect();
    drivers.sort_unstable();
    vec![module.name().to_owned(), module.description().to_owned(), drivers.join(" ")]
}
