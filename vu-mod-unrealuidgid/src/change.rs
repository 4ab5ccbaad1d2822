//! What the calls of the set*id family, capset(2) and prctl(2) do to an identity (`kernel/sys.c`, `kernel/capability.c`, `security/commoncap.c`).

use vu_api::{Capabilities, Errno, IdKind, Identity, IdentityChange, Ids, capability};

/// The capabilities that come and go with the user for files (`CAP_FS_SET`): `CHOWN`, `DAC_OVERRIDE`, `DAC_READ_SEARCH`, `FOWNER`, `FSETID`,
/// `LINUX_IMMUTABLE`, `MKNOD`, `MAC_OVERRIDE`.
const OF_FILES: u64 = 0b1_1111 | 1 << 9 | 1 << 27 | 1 << 32;

/// `SECBIT_*` (include/uapi/linux/securebits.h).
pub(crate) mod secure {
    pub const NO_ROOT: u32 = 1 << 0;
    pub const NO_SETUID_FIXUP: u32 = 1 << 2;
    pub const KEEP_CAPS: u32 = 1 << 4;
    pub const KEEP_CAPS_LOCKED: u32 = 1 << 5;
    pub const NO_CAP_AMBIENT_RAISE: u32 = 1 << 6;
    /// Every second bit; the one above each locks it.
    pub const BASE: u32 = 0b0101_0101_0101;
    pub const LOCKS: u32 = BASE << 1;
    /// Linux 6.14: whether scripts and files are to be checked before they are interpreted; changing these and their locks takes no privilege.
    pub const UNPRIVILEGED: u32 = 0b1111 << 8;
}

/// See [`vu_api::Identities::changed`].
///
/// # Errors
/// Those of the kernel: `EPERM` for ids, capabilities and bits that cannot be had; `EINVAL` for what does not exist.
pub fn changed(who: &Identity, change: &IdentityChange) -> Result<Identity, Errno> {
    let mut new = who.clone();
    match change {
        IdentityChange::One(kind, id) => {
            let ids = ids(&mut new, *kind);
            let known = [ids.real, ids.saved].contains(id);
            // Only who is privileged changes all of them, and who is free does as one who is.
            if capable(who, *kind) || !known {
                (ids.real, ids.saved) = (*id, *id);
            }
            (ids.effective, ids.fs) = (*id, *id);
            set(who, &mut new, *kind, known)?;
        }
        IdentityChange::Two(kind, real, effective) => {
            let old = *ids(&mut new, *kind);
            let ids = ids(&mut new, *kind);
            ids.real = real.unwrap_or(old.real);
            ids.effective = effective.unwrap_or(old.effective);
            if real.is_some() || effective.is_some_and(|id| id != old.real) {
                ids.saved = ids.effective;
            }
            ids.fs = ids.effective;
            let known = real.is_none_or(|id| [old.real, old.effective].contains(&id))
                && effective.is_none_or(|id| [old.real, old.effective, old.saved].contains(&id));
            set(who, &mut new, *kind, known)?;
        }
        IdentityChange::Three(kind, wanted) => {
            let old = *ids(&mut new, *kind);
            let [real, effective, saved] = *wanted;
            let unchanged = real.is_none_or(|id| id == old.real)
                && effective.is_none_or(|id| id == old.effective && id == old.fs)
                && saved.is_none_or(|id| id == old.saved);
            if unchanged {
                return Ok(new);
            }
            let effective = effective.unwrap_or(old.effective);
            *ids(&mut new, *kind) =
                Ids { real: real.unwrap_or(old.real), effective, saved: saved.unwrap_or(old.saved), fs: effective };
            let known = wanted.iter().flatten().all(|id| [old.real, old.effective, old.saved].contains(id));
            set(who, &mut new, *kind, known)?;
        }
        IdentityChange::Fs(kind, id) => {
            let ids = ids(&mut new, *kind);
            let known = [ids.real, ids.effective, ids.saved, ids.fs].contains(id);
            // It tells nobody that it did nothing (setfsuid(2)).
            if known || capable(who, *kind) || who.free {
                ids.fs = *id;
                if *kind == IdKind::User {
                    fix_for_files(who, &mut new, known);
                }
            }
        }
        IdentityChange::Supplementary(groups) => {
            if !has(who, capability::SETGID) && !who.free {
                return Err(Errno::EPERM);
            }
            new.supplementary.clone_from(groups);
            new.supplementary.sort_unstable();
        }
        IdentityChange::Capabilities { effective, permitted, inheritable } => {
            let wanted = [effective, permitted, inheritable].map(|set| set & capability::ALL);
            new.capabilities = with_capabilities(who, wanted)?;
        }
        IdentityChange::SecureBits(bits) => new.secure_bits = with_secure_bits(who, *bits)?,
        IdentityChange::KeepCapabilities(keep) => {
            if *keep > 1 {
                return Err(Errno::EINVAL);
            }
            if who.secure_bits & secure::KEEP_CAPS_LOCKED != 0 {
                return Err(Errno::EPERM);
            }
            new.secure_bits &= !secure::KEEP_CAPS;
            if *keep == 1 {
                new.secure_bits |= secure::KEEP_CAPS;
            }
        }
        IdentityChange::DropBounding(number) => {
            if !has(who, capability::SETPCAP) {
                return Err(Errno::EPERM);
            }
            new.capabilities.bounding &= !bit(*number)?;
        }
        IdentityChange::RaiseAmbient(number) => {
            let bit = bit(*number)?;
            let capabilities = &mut new.capabilities;
            if capabilities.permitted & capabilities.inheritable & bit == 0
                || who.secure_bits & secure::NO_CAP_AMBIENT_RAISE != 0
            {
                return Err(Errno::EPERM);
            }
            capabilities.ambient |= bit;
        }
        IdentityChange::LowerAmbient(number) => new.capabilities.ambient &= !bit(*number)?,
        IdentityChange::ClearAmbient => new.capabilities.ambient = 0,
        IdentityChange::NoNewPrivileges => new.no_new_privileges = true,
    }
    Ok(new)
}

fn ids(who: &mut Identity, kind: IdKind) -> &mut Ids {
    match kind {
        IdKind::User => &mut who.users,
        IdKind::Group => &mut who.groups,
    }
}

fn has(who: &Identity, capability: u32) -> bool {
    who.capabilities.effective & (1 << capability) != 0
}

fn capable(who: &Identity, kind: IdKind) -> bool {
    has(who, if kind == IdKind::User { capability::SETUID } else { capability::SETGID })
}

fn bit(number: u64) -> Result<u64, Errno> {
    if number > u64::from(capability::LAST) { Err(Errno::EINVAL) } else { Ok(1 << number) }
}

/// Whether ids may change so, and what that means for capabilities (`cap_task_fix_setuid`); `known` tells whether they are old ones in new places.
fn set(old: &Identity, new: &mut Identity, kind: IdKind, known: bool) -> Result<(), Errno> {
    let permitted = known || capable(old, kind);
    if !permitted && !old.free {
        return Err(Errno::EPERM);
    }
    if kind == IdKind::Group {
        return Ok(());
    }
    new.free &= new.users == old.users;
    let is_root = |ids: &Ids| [ids.real, ids.effective, ids.saved].contains(&0);
    let capabilities = &mut new.capabilities;
    if old.secure_bits & secure::NO_SETUID_FIXUP == 0 {
        if is_root(&old.users) && !is_root(&new.users) {
            if old.secure_bits & secure::KEEP_CAPS == 0 {
                capabilities.permitted = 0;
                capabilities.effective = 0;
            }
            capabilities.ambient = 0;
        }
        if old.users.effective == 0 && new.users.effective != 0 {
            capabilities.effective = 0;
        }
        if old.users.effective != 0 && new.users.effective == 0 {
            capabilities.effective = capabilities.permitted;
        }
    }
    // Who becomes root out of nothing can do what root can.
    if !permitted && is_root(&new.users) {
        capabilities.permitted = capabilities.bounding;
        capabilities.effective = if new.users.effective == 0 { capabilities.bounding } else { 0 };
    }
    Ok(())
}

/// The same for the user for files.
fn fix_for_files(old: &Identity, new: &mut Identity, known: bool) {
    new.free &= new.users == old.users;
    if old.secure_bits & secure::NO_SETUID_FIXUP != 0 {
        return;
    }
    let capabilities = &mut new.capabilities;
    if old.users.fs == 0 && new.users.fs != 0 {
        capabilities.effective &= !OF_FILES;
    }
    if old.users.fs != 0 && new.users.fs == 0 {
        if !known && !has(old, capability::SETUID) {
            capabilities.permitted |= OF_FILES;
        }
        capabilities.effective |= capabilities.permitted & OF_FILES;
    }
}

/// `cap_capset`, security/commoncap.c
fn with_capabilities(who: &Identity, [effective, permitted, inheritable]: [u64; 3]) -> Result<Capabilities, Errno> {
    let old = who.capabilities;
    let within = |set: u64, bounds: u64| if set & !bounds == 0 { Ok(()) } else { Err(Errno::EPERM) };
    if !has(who, capability::SETPCAP) {
        within(inheritable, old.inheritable | old.permitted)?;
    }
    within(inheritable, old.inheritable | old.bounding)?;
    within(permitted, old.permitted)?;
    within(effective, permitted)?;
    let ambient = old.ambient & permitted & inheritable;
    Ok(Capabilities { inheritable, permitted, effective, bounding: old.bounding, ambient })
}

/// `cap_task_prctl`, security/commoncap.c
fn with_secure_bits(who: &Identity, bits: u32) -> Result<u32, Errno> {
    let old = who.secure_bits;
    let locked = (old & secure::LOCKS) >> 1;
    let changed = old ^ bits;
    if bits & !(secure::BASE | secure::LOCKS) != 0 || locked & changed != 0 || old & secure::LOCKS & !bits != 0 {
        return Err(Errno::EPERM);
    }
    // That nothing changes is refused, too, "for legacy reason".
    if !has(who, capability::SETPCAP) && (changed == 0 || changed & !secure::UNPRIVILEGED != 0) {
        return Err(Errno::EPERM);
    }
    Ok(bits)
}
