//! On whose behalf an operation is done.

use crate::Errno;

/// The identity that file permission checks and newly created files use (credentials(7)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// File system user id.
    pub uid: u32,
    /// File system group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// File mode creation mask.
    pub umask: u32,
    /// Effective capabilities, a bit each ([`capability`](crate::capability)).
    pub capabilities: u64,
}

impl Credentials {
    /// Whether a capability is effective.
    #[must_use]
    pub fn has(&self, capability: u32) -> bool {
        self.capabilities.checked_shr(capability).unwrap_or(0) & 1 == 1
    }

    /// Whether a group is one of theirs (`in_group_p`, `kernel/groups.c`).
    #[must_use]
    pub fn is_in(&self, group: u32) -> bool {
        group == self.gid || self.groups.contains(&group)
    }
}

/// The tracee that asks. Who it is costs a look into `/proc`, so it is looked up when asked for.
pub trait Caller {
    /// Its process id, in the hypervisor's pid namespace.
    fn pid(&self) -> i32;

    /// Its identity now, as the view has it.
    ///
    /// # Errors
    /// `ESRCH` if it died meanwhile.
    fn credentials(&self) -> Result<Credentials, Errno>;

    /// Its identity for the host's kernel, where [`credentials`](Self::credentials) tells a virtual one.
    ///
    /// # Errors
    /// `ESRCH` if it died meanwhile.
    fn host_credentials(&self) -> Result<Credentials, Errno> {
        self.credentials()
    }

    /// Its identity, if that is a virtual one and what it asks for is to be judged by it.
    fn judged(&self) -> Option<Credentials> {
        None
    }

    /// Whether it has a virtual identity: what the host keeps of what it does must not hinder others that the mount lets at it.
    fn is_virtual(&self) -> bool {
        false
    }
}
