//! What becomes of mounts that are there: `mount -o remount`, `mount --move`.

use super::{Mount, Refusal, Table, View, newest_at, next_epoch};
use crate::{mount::Words, tmpfs};
use std::{fmt, sync::Arc};
use vu_api::{AbsPath, Errno, MountFlags, MountWords};

/// The flags about times of access.
const ACCESS_TIMES: MountFlags =
    MountFlags::NOATIME.union(MountFlags::NODIRATIME).union(MountFlags::RELATIME).union(MountFlags::STRICTATIME);

/// Those that a remount exchanges.
const EXCHANGED: MountFlags = MountFlags::RDONLY
    .union(MountFlags::NOSUID)
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC)
    .union(MountFlags::SYNCHRONOUS)
    .union(ACCESS_TIMES);

impl View {
    /// mount(2) with `MS_REMOUNT`, of the newest mount at exactly this point: the flags are exchanged; the words may say again what it was mounted with, and of
    /// a `tmpfs` how large it may become.
    ///
    /// # Errors
    /// [`Refusal::NotOurs`] if there is no mount at this point, `EINVAL` for another word.
    pub fn remount(&self, point: &AbsPath, flags: MountFlags, data: &[u8]) -> Result<Arc<Mount>, Refusal> {
        let changes = self.changes.lock();
        let mut table = Table::clone(&self.table());
        let mount = newest_at(&table, point).ok_or(Refusal::NotOurs)?;
        let refuse = |why: &dyn fmt::Display| {
            tracing::warn!("remount {mount}: {why}");
            Refusal::Errno(Errno::EINVAL)
        };
        // Of a bind, only the flags are looked at (mount(2)).
        let data = if flags.contains(MountFlags::BIND) { b"" } else { data };
        let words = MountWords::parse(data).map_err(|error| refuse(&error))?;
        let Words { flags, words, .. } = Words::new(flags, words);
        let is_new = |word: &(&str, Option<&str>)| !mount.words.iter().any(|known| known == *word);
        // What the host has mounted, it has been asked about.
        let takes_others =
            mount.scratch.as_ref().is_some_and(|scratch| scratch.is_mount() || tmpfs::Options::parse(&words).is_ok());
        if let Some((word, _)) = words.iter().find(is_new).filter(|_| !takes_others) {
            let why = format_args!("it was not mounted with {word:?}; unmount it and mount it anew");
            return Err(refuse(&why));
        }
        // How times of access are kept is left as it is unless something is said of it (`path_mount`, fs/namespace.c).
        let exchanged = if flags.intersects(ACCESS_TIMES) { EXCHANGED } else { EXCHANGED.difference(ACCESS_TIMES) };
        let flags = mount.flags.difference(exchanged) | flags.intersection(exchanged);
        let mut shown = mount.words.clone();
        if takes_others {
            shown.exchange(&words);
        }
        let remounted = Arc::new(Mount { flags, words: shown, ..Mount::clone(&mount) });
        super::insert(&mut table, remounted.clone());
        let before = self.exchange(table);
        drop(changes);
        drop((before, mount));
        Ok(remounted)
    }

    /// mount(2) with `MS_MOVE`: the newest mount at exactly `from` is at `to` from now on, and what was mounted below it since moves with it. There, they are
    /// the newest.
    ///
    /// # Errors
    /// [`Refusal::NotOurs`] if there is no mount at this point; `ELOOP` for a target below it (`do_move_mount`, fs/namespace.c). Unlike the kernel, `EBUSY` while one of them is in
    /// use: what is open, or mounted elsewhere from there, is known by the old name.
    pub fn move_mount(&self, from: &AbsPath, to: &AbsPath) -> Result<(), Refusal> {
        let changes = self.changes.lock();
        let mut table = Table::clone(&self.table());
        let mount = newest_at(&table, from).ok_or(Refusal::NotOurs)?;
        if to.starts_with(from) {
            return Err(Errno::ELOOP.into());
        }
        let mut moving: Vec<Arc<Mount>> = table
            .iter_newest_first()
            .filter(|entry| entry.epoch >= mount.epoch && entry.point.starts_with(from) && !entry.mount.detached)
            .map(|entry| entry.mount.clone())
            .collect();
        let in_use =
            |mount: &Arc<Mount>| changes.dependants.contains_key(&mount.epoch) || self.nodes.busy(mount.epoch.0);
        if let Some(used) = moving.iter().find(|mount| in_use(mount)) {
            tracing::warn!("move {mount} to {to}: {used} is in use");
            return Err(Errno::EBUSY.into());
        }
        if let Some(permanent) = moving.iter().find(|mount| mount.permanent) {
            tracing::warn!("move {mount} to {to}: {permanent} was mounted with the option permanent");
            return Err(Errno::EPERM.into());
        }
        // The oldest first: what hid another goes on hiding it.
        moving.reverse();
        for mount in &moving {
            let Some(point) = mount.point.rebase(from, to) else { continue };
            let epoch = next_epoch();
            table.remove(mount.epoch);
            super::insert(&mut table, Arc::new(Mount { epoch, point, ..Mount::clone(mount) }));
        }
        let before = self.exchange(table);
        drop(changes);
        drop((before, mount, moving));
        Ok(())
    }

    /// Whether a mount is at exactly this point.
    #[must_use]
    pub fn is_mount_point(&self, point: &AbsPath) -> bool {
        newest_at(&self.table(), point).is_some()
    }
}
