//! The virtual identity of a task, where a module makes those of its view virtual.
//!
//! A task has none until it changes something for the first time: until then, the kernel answers. From then on the kernel's is only what counts on the host.

use crate::{call::Call, task::Task, view::View};
use parking_lot::RwLock;
use std::sync::Arc;
use vu_api::{AbsPath, Capabilities, Errno, Identities, Identity, IdentityChange, Ids, SetIds};
use vu_trace::Tid;

/// The identity of a thread, which it has from its parent.
#[derive(Default)]
pub struct Held {
    now: RwLock<Option<Arc<Identity>>>,
    /// That after the exec that it is about to make.
    next: RwLock<Option<Arc<Identity>>>,
}

impl Held {
    /// What a child begins with.
    #[must_use]
    pub fn inherited(&self) -> Held {
        Held { now: RwLock::new(self.now.read().clone()), next: RwLock::default() }
    }

    /// What goes on under another thread id.
    #[must_use]
    pub fn moved(&self) -> Held {
        Held { now: RwLock::new(self.now.read().clone()), next: RwLock::new(self.next.read().clone()) }
    }
}

impl Task {
    /// Its virtual identity; `None` if the host's counts.
    #[must_use]
    pub fn identity(&self) -> Option<Arc<Identity>> {
        self.identity.now.read().clone()
    }

    /// Its virtual identity, if it has become somebody else than the user of the view.
    #[must_use]
    pub fn other_identity(&self) -> Option<Arc<Identity>> {
        self.identity().filter(|who| !who.free)
    }

    /// Lets it become anybody, as a program of root's with the set-user-id bit would.
    ///
    /// # Errors
    /// `EPERM` if it promised to gain no rights; `ESRCH` if it died.
    pub fn free_identity(&self, rules: &dyn Identities) -> Result<(), Errno> {
        let who = self.identity_by(rules)?;
        if who.no_new_privileges {
            return Err(Errno::EPERM);
        }
        *self.identity.now.write() = Some(Arc::new(Identity { free: true, ..(*who).clone() }));
        Ok(())
    }

    /// From now on the host's identity counts again.
    pub fn forget_identity(&self) {
        *self.identity.now.write() = None;
        *self.identity.next.write() = None;
    }

    /// Its virtual identity, or the one with which it would begin to have one.
    ///
    /// # Errors
    /// `ESRCH` if it died.
    pub fn identity_by(&self, rules: &dyn Identities) -> Result<Arc<Identity>, Errno> {
        match self.identity() {
            Some(identity) => Ok(identity),
            None => {
                let mut host = parse(&self.status()?).ok_or(Errno::ESRCH)?;
                host.no_new_privileges = self.appearance().no_new_privileges;
                Ok(Arc::new(rules.begins(host)))
            }
        }
    }

    /// Changes it.
    ///
    /// # Errors
    /// Those of [`Identities::changed`].
    pub fn change_identity(&self, rules: &dyn Identities, change: &IdentityChange) -> Result<(), Errno> {
        let new = rules.changed(&*self.identity_by(rules)?, change)?;
        *self.identity.now.write() = Some(Arc::new(new));
        Ok(())
    }

    /// Notes what a program says that it is about to execute.
    ///
    /// # Errors
    /// `ESRCH` if it died.
    pub fn will_execute(&self, rules: &dyn Identities, program: SetIds) -> Result<(), Errno> {
        let stays = self.identity().is_none() && program == SetIds::default();
        let next = if stays { None } else { Some(Arc::new(rules.executed(&*self.identity_by(rules)?, program))) };
        *self.identity.next.write() = next;
        Ok(())
    }

    /// It executes that program.
    pub fn executed(&self) {
        if let Some(next) = self.identity.next.write().take() {
            *self.identity.now.write() = Some(next);
        }
    }
}

impl View {
    /// Whether a task lives here.
    #[must_use]
    pub fn has(self: &Arc<View>, task: &Task) -> bool {
        Arc::ptr_eq(self, &task.view())
    }
}

/// Whose a file of `/proc/TID` is in the view, if that is told by another identity than the host's (`task_dump_owner`, `fs/proc/base.c`).
#[must_use]
pub fn owner_in_proc(call: &Call<'_>, path: &AbsPath) -> Option<(u32, u32)> {
    let mut names = path.components();
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok().map(Tid);
    let mut tid = (names.next()? == b"proc").then(|| number(names.next()?))??;
    if names.next() == Some(b"task")
        && let Some(thread) = names.next()
    {
        tid = number(thread)?;
    }
    let owner = call.core.tasks.get(tid).filter(|task| call.view.has(task))?;
    owner.identity().map(|who| (who.users.effective, who.groups.effective))
}

/// What the auxiliary vector of a program says of who runs it (getauxval(3)), where that is another one than the host's.
#[must_use]
pub fn auxiliary(who: &Identity) -> Vec<(u64, u64)> {
    let secure = who.users.real != who.users.effective || who.groups.real != who.groups.effective;
    vec![
        (libc::AT_UID, who.users.real.into()),
        (libc::AT_EUID, who.users.effective.into()),
        (libc::AT_GID, who.groups.real.into()),
        (libc::AT_EGID, who.groups.effective.into()),
        (libc::AT_SECURE, secure.into()),
    ]
}

/// The identity that `/proc/TID/status` tells (proc_pid_status(5)).
pub(crate) fn parse(status: &str) -> Option<Identity> {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let ids = |name: &str| {
        let mut ids = field(name)?.split_whitespace().map(|id| id.parse().ok());
        Some(Ids { real: ids.next()??, effective: ids.next()??, saved: ids.next()??, fs: ids.next()?? })
    };
    let set = |name: &str| u64::from_str_radix(field(name)?, 16).ok();
    Some(Identity {
        users: ids("Uid")?,
        groups: ids("Gid")?,
        supplementary: field("Groups")?.split_whitespace().filter_map(|id| id.parse().ok()).collect(),
        capabilities: Capabilities {
            inheritable: set("CapInh")?,
            permitted: set("CapPrm")?,
            effective: set("CapEff")?,
            bounding: set("CapBnd")?,
            ambient: set("CapAmb")?,
        },
        secure_bits: 0,
        // The kernel shows the hypervisor's promise.
        no_new_privileges: false,
        free: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tcat\nUmask:\t0022\nUid:\t1000\t1001\t1002\t1003\nGid:\t7\t7\t7\t7\nFDSize:\t64\nGroups:\t4 24 \nThreads:\t1\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000001\nCapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\n";

    #[test]
    fn status_is_read() {
        let who = parse(STATUS).unwrap();
        assert_eq!(who.users, Ids { real: 1000, effective: 1001, saved: 1002, fs: 1003 });
        assert_eq!((who.supplementary.as_slice(), who.capabilities.bounding), (&[4, 24][..], 0x1ff_ffff_ffff));
    }
}
