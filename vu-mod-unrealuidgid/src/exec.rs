//! What an exec does to an identity (`cap_bprm_creds_from_file`, security/commoncap.c; `bprm_fill_uid`, fs/exec.c).

use crate::change::secure;
use vu_api::{Identity, SetIds};

/// See [`vu_api::Identities::executed`].
#[must_use]
pub fn executed(who: &Identity, program: SetIds) -> Identity {
    let mut new = who.clone();
    if !who.no_new_privileges {
        new.users.effective = program.user.unwrap_or(who.users.effective);
        new.groups.effective = program.group.unwrap_or(who.groups.effective);
    }
    new.users.saved = new.users.effective;
    new.users.fs = new.users.effective;
    new.groups.saved = new.groups.effective;
    new.groups.fs = new.groups.effective;

    let group = new.groups.effective;
    let in_group = group == who.groups.fs || who.supplementary.contains(&group);
    let other = new.users.effective != who.users.effective || !in_group;
    let capabilities = &mut new.capabilities;
    if other {
        capabilities.ambient = 0;
    }
    let as_root = who.secure_bits & secure::NO_ROOT == 0;
    let mut permitted = 0;
    if as_root && (new.users.effective == 0 || new.users.real == 0) {
        permitted = capabilities.bounding | capabilities.inheritable;
    }
    permitted |= capabilities.ambient;
    capabilities.effective = if as_root && new.users.effective == 0 { permitted } else { capabilities.ambient };
    capabilities.permitted = permitted;
    new.secure_bits &= !secure::KEEP_CAPS;
    // Who runs a program of somebody else's is not free there, nor is what that makes of itself.
    new.free &= new.users.effective == who.users.effective && new.groups.effective == who.groups.effective;
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use vu_api::{Capabilities, Ids, capability::ALL as ALL_CAPABILITIES};

    fn user(id: u32) -> Identity {
        let ids = Ids { real: id, effective: id, saved: id, fs: id };
        let capabilities = Capabilities { bounding: ALL_CAPABILITIES, ..Capabilities::default() };
        Identity { users: ids, groups: ids, capabilities, free: true, ..Identity::default() }
    }

    #[test]
    fn a_set_user_id_program_of_root_s() {
        let new = executed(&user(5), SetIds { user: Some(0), group: None });
        assert_eq!(new.users, Ids { real: 5, effective: 0, saved: 0, fs: 0 });
        assert_eq!((new.groups, new.free), (user(5).groups, false));
        assert_eq!((new.capabilities.permitted, new.capabilities.effective), (ALL_CAPABILITIES, ALL_CAPABILITIES));
    }

    #[test]
    fn a_set_group_id_program() {
        let new = executed(&user(5), SetIds { user: None, group: Some(8) });
        assert_eq!(new.groups, Ids { real: 5, effective: 8, saved: 8, fs: 8 });
        assert_eq!(new.capabilities.effective, 0);
    }

    #[test]
    fn who_promised_gains_nothing() {
        let who = Identity { no_new_privileges: true, ..user(5) };
        assert_eq!(executed(&who, SetIds { user: Some(0), group: Some(0) }), who);
    }

    #[test]
    fn saved_ids_follow_and_ambient_capabilities_stay() {
        let mut who = user(5);
        who.users.effective = 6;
        who.users.fs = 7;
        who.secure_bits = secure::KEEP_CAPS;
        (who.capabilities.permitted, who.capabilities.ambient, who.capabilities.inheritable) = (7, 4, 4);
        let new = executed(&who, SetIds::default());
        assert_eq!(new.users, Ids { real: 5, effective: 6, saved: 6, fs: 6 });
        assert_eq!((new.capabilities.permitted, new.capabilities.effective, new.secure_bits), (4, 4, 0));
    }

    #[test]
    fn root_without_capabilities_has_them_again() {
        let new = executed(&user(0), SetIds::default());
        assert_eq!(new.capabilities.effective, ALL_CAPABILITIES);
        let strict = Identity { secure_bits: secure::NO_ROOT, ..user(0) };
        assert_eq!(executed(&strict, SetIds::default()).capabilities.effective, 0);
    }
}
