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
}
