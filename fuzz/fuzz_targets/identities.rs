//! Virtual identities: any changes and executions one after the other, from any identity. What follows is an identity or an errno, and one that the kernel could have
//! (credentials(7), capabilities(7)).
#![no_main]

use libfuzzer_sys::{arbitrary::Unstructured, fuzz_target};
use vu_api::{Capabilities, IdKind, Identities, Identity, IdentityChange, Ids, SetIds, capability::ALL};
use vu_mod_unrealuidgid::Unrealuidgid;

type Input<'a, 'b> = &'a mut Unstructured<'b>;
type Taken<T> = libfuzzer_sys::arbitrary::Result<T>;

/// Few numbers, so that they meet.
fn id(input: Input<'_, '_>) -> Taken<u32> {
    Ok(*input.choose(&[0, 1, 1000, 65534, u32::MAX - 1])?)
}

fn maybe(input: Input<'_, '_>) -> Taken<Option<u32>> {
    if input.arbitrary()? { id(input).map(Some) } else { Ok(None) }
}

fn ids(input: Input<'_, '_>) -> Taken<Ids> {
    Ok(Ids { real: id(input)?, effective: id(input)?, saved: id(input)?, fs: id(input)? })
}

fn kind(input: Input<'_, '_>) -> Taken<IdKind> {
    Ok(if input.arbitrary()? { IdKind::User } else { IdKind::Group })
}

fn change(input: Input<'_, '_>) -> Taken<IdentityChange> {
    Ok(match input.int_in_range(0..=12)? {
        0 => IdentityChange::One(kind(input)?, id(input)?),
        1 => IdentityChange::Two(kind(input)?, maybe(input)?, maybe(input)?),
        2 => IdentityChange::Three(kind(input)?, [maybe(input)?, maybe(input)?, maybe(input)?]),
        3 => IdentityChange::Fs(kind(input)?, id(input)?),
        4 => {
            let many = input.int_in_range(0..=5)?;
            IdentityChange::Supplementary((0..many).map(|_| id(input)).collect::<Taken<_>>()?)
        }
        5 => IdentityChange::Capabilities {
            effective: input.arbitrary()?,
            permitted: input.arbitrary()?,
            inheritable: input.arbitrary()?,
        },
        6 => IdentityChange::SecureBits(input.arbitrary()?),
        7 => IdentityChange::KeepCapabilities(input.arbitrary()?),
        8 => IdentityChange::DropBounding(input.arbitrary()?),
        9 => IdentityChange::RaiseAmbient(input.arbitrary()?),
        10 => IdentityChange::LowerAmbient(input.arbitrary()?),
        11 => IdentityChange::ClearAmbient,
        _ => IdentityChange::NoNewPrivileges,
    })
}

fn run(input: Input<'_, '_>) -> Taken<()> {
    let permitted = input.arbitrary::<u64>()? & ALL;
    let host = Identity {
        users: ids(input)?,
        groups: ids(input)?,
        capabilities: Capabilities { permitted, effective: permitted, bounding: permitted, ..Capabilities::default() },
        ..Identity::default()
    };
    let mut who = Unrealuidgid.begins(host);
    while !input.is_empty() {
        let kept_promise = who.no_new_privileges;
        if input.arbitrary()? {
            let program = SetIds { user: maybe(input)?, group: maybe(input)? };
            who = Unrealuidgid.executed(&who, program);
        } else if let Ok(next) = Unrealuidgid.changed(&who, &change(input)?) {
            who = next;
        }
        let sets = &who.capabilities;
        assert_eq!(sets.ambient & !(sets.permitted & sets.inheritable), 0, "{who:?}");
        assert_eq!(sets.effective & !sets.permitted, 0, "{who:?}");
        assert!(who.supplementary.is_sorted(), "{who:?}");
        assert!(who.no_new_privileges || !kept_promise, "a promise is for ever");
        assert!(
            [who.users, who.groups].iter().all(|ids| ![ids.real, ids.effective, ids.saved, ids.fs].contains(&u32::MAX))
        );
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    let _ = run(&mut Unstructured::new(data));
});
