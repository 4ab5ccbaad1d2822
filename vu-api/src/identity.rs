//! Virtual identities: what a thread's are, what is asked of them, and who knows the rules.

use crate::Errno;

/// The four user ids, or the four group ids, of a thread (credentials(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ids {
    /// Whose process it is.
    pub real: u32,
    /// Who it acts as.
    pub effective: u32,
    /// Who it may act as again.
    pub saved: u32,
    /// Who it is for files.
    pub fs: u32,
}

/// The capability sets of a thread, a bit a capability (capabilities(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "capabilities(7) documents each")]
pub struct Capabilities {
    pub inheritable: u64,
    pub permitted: u64,
    pub effective: u64,
    pub bounding: u64,
    pub ambient: u64,
}

/// Capabilities by number (`include/uapi/linux/capability.h`): those that something here depends on.
pub mod capability {
    /// Change owners.
    pub const CHOWN: u32 = 0;
    /// Pass over permission bits.
    pub const DAC_OVERRIDE: u32 = 1;
    /// Pass over permission bits for reading and searching.
    pub const DAC_READ_SEARCH: u32 = 2;
    /// Do what only owners may.
    pub const FOWNER: u32 = 3;
    /// Keep set-id bits.
    pub const FSETID: u32 = 4;
    /// Change group ids.
    pub const SETGID: u32 = 6;
    /// Change user ids.
    pub const SETUID: u32 = 7;
    /// Change capabilities.
    pub const SETPCAP: u32 = 8;
    /// chroot(2)
    pub const SYS_CHROOT: u32 = 18;
    /// Look at the processes of others.
    pub const SYS_PTRACE: u32 = 19;
    /// Administrate.
    pub const SYS_ADMIN: u32 = 21;
    /// Make device nodes.
    pub const MKNOD: u32 = 27;
    /// Set capabilities of files.
    pub const SETFCAP: u32 = 31;
    /// The last one there is (`CAP_CHECKPOINT_RESTORE`).
    pub const LAST: u32 = 40;
    /// Every one, as a set.
    pub const ALL: u64 = (1 << (LAST + 1)) - 1;
}

/// All that makes up the identity of a thread: `struct cred` of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// User ids.
    pub users: Ids,
    /// Group ids.
    pub groups: Ids,
    /// Supplementary groups, in ascending order.
    pub supplementary: Vec<u32>,
    /// Capabilities.
    pub capabilities: Capabilities,
    /// `SECBIT_*`.
    pub secure_bits: u32,
    /// Whether it promised to gain no rights by an exec (`PR_SET_NO_NEW_PRIVS`).
    pub no_new_privileges: bool,
    /// Whether it may become anybody: the user of the view, who has become nobody else yet.
    pub free: bool,
}

/// Which of the two kinds of ids is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdKind {
    /// User ids.
    User,
    /// Group ids.
    Group,
}

/// A change that a thread asks of its identity. `None` leaves an id as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityChange {
    /// setuid(2), setgid(2).
    One(IdKind, u32),
    /// setreuid(2), setregid(2): real and effective.
    Two(IdKind, Option<u32>, Option<u32>),
    /// setresuid(2), setresgid(2): real, effective and saved.
    Three(IdKind, [Option<u32>; 3]),
    /// setfsuid(2), setfsgid(2).
    Fs(IdKind, u32),
    /// setgroups(2).
    Supplementary(Vec<u32>),
    /// capset(2).
    Capabilities {
        /// The new effective set.
        effective: u64,
        /// The new permitted set.
        permitted: u64,
        /// The new inheritable set.
        inheritable: u64,
    },
    /// `PR_SET_SECUREBITS`
    SecureBits(u32),
    /// `PR_SET_KEEPCAPS`: 1 or 0.
    KeepCapabilities(u64),
    /// `PR_CAPBSET_DROP`
    DropBounding(u64),
    /// `PR_CAP_AMBIENT_RAISE`
    RaiseAmbient(u64),
    /// `PR_CAP_AMBIENT_LOWER`
    LowerAmbient(u64),
    /// `PR_CAP_AMBIENT_CLEAR_ALL`
    ClearAmbient,
    /// `PR_SET_NO_NEW_PRIVS`
    NoNewPrivileges,
}

/// What a program file says about who executes it: its owner where it has the set-user-id bit, its group where it has the set-group-id bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SetIds {
    /// The new effective user.
    pub user: Option<u32>,
    /// The new effective group.
    pub group: Option<u32>,
}

/// What a module does that makes the identities of a view virtual: it knows the rules, the hypervisor keeps the identities.
///
/// The rules are functions of an identity: no state, no system call.
pub trait Identities: Send + Sync {
    /// The identity with which a thread begins to have a virtual one, from its identity on the host.
    fn begins(&self, host: Identity) -> Identity;

    /// The identity after a change. One that is not known as a number (`u32::MAX`) never comes here.
    ///
    /// # Errors
    /// Those of the system call.
    fn changed(&self, who: &Identity, change: &IdentityChange) -> Result<Identity, Errno>;

    /// The identity after an exec.
    fn executed(&self, who: &Identity, program: SetIds) -> Identity;
}
