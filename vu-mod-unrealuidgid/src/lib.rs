//! `unrealuidgid`: users, groups and capabilities of a view's processes are virtual.
//!
//! While the module is active, who lives in the view may become somebody else; what the kernel knows of it stays as it is. The hypervisor keeps the
//! identities; this crate knows what a change does to one ([`change`]), and what an exec does ([`exec`]). Both are the kernel's rules (credentials(7),
//! capabilities(7)), but for one: who has become nobody else yet is *free*, and a change that the kernel would refuse is made as if a privileged thread had asked
//! for it. So everybody can become root, and what root gives up is given up: programs make sure of that.
#![forbid(unsafe_code)]

pub mod change;
pub mod exec;

use vu_api::{Errno, Identities, Identity, IdentityChange, Module, SetIds, capability};

/// The module.
pub struct Unrealuidgid;

vu_api::register_module!(Unrealuidgid);

impl Module for Unrealuidgid {
    fn name(&self) -> &'static str {
        "unrealuidgid"
    }

    fn description(&self) -> &'static str {
        "virtual users, groups and capabilities"
    }

    /// It mounts nothing.
    fn claims(&self, _fs_type: &str) -> bool {
        false
    }

    fn identities(&self) -> Option<&'static dyn Identities> {
        Some(&Unrealuidgid)
    }
}

impl Identities for Unrealuidgid {
    /// The bounding set of the host is no bound here, and nobody is anybody else yet.
    fn begins(&self, mut host: Identity) -> Identity {
        host.capabilities.bounding = capability::ALL;
        host.free = true;
        host
    }

    fn changed(&self, who: &Identity, change: &IdentityChange) -> Result<Identity, Errno> {
        change::changed(who, change)
    }

    fn executed(&self, who: &Identity, program: SetIds) -> Identity {
        exec::executed(who, program)
    }
}
