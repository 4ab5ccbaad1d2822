//! The rules against the kernel: the same calls, made by a thread of root's and applied to an identity, have the same results.
//!
//! That goes for what the kernel refuses, too, as long as the identity is not free. Only root can be compared with.
#![allow(clippy::unwrap_used, clippy::cast_possible_wrap, reason = "a test that cannot go on fails")]

use proptest::prelude::*;
use vu_api::{Capabilities, Errno, IdKind, Identity, IdentityChange, Ids, capability::ALL as ALL_CAPABILITIES};
use vu_mod_unrealuidgid::change::changed;

const PR_SET_KEEPCAPS: u64 = 8;
const PR_CAPBSET_DROP: u64 = 24;
const PR_GET_SECUREBITS: u64 = 27;
const PR_SET_SECUREBITS: u64 = 28;
const PR_CAP_AMBIENT: u64 = 47;

fn call(nr: i64, args: [u64; 5]) -> Result<i64, Errno> {
    let [a, b, c, d, e] = args;
    // SAFETY: only calls that take numbers or addresses of live values are made here.
    let result = unsafe { libc::syscall(nr, a, b, c, d, e) };
    if result < 0 { Err(Errno::last()) } else { Ok(result) }
}

fn id(value: Option<u32>) -> u64 {
    u64::from(value.unwrap_or(u32::MAX))
}

/// What this thread is.
fn now() -> Identity {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t")).unwrap();
    let ids = |name: &str| {
        let ids: Vec<u32> = field(name).split('\t').map(|id| id.parse().unwrap()).collect();
        Ids { real: ids[0], effective: ids[1], saved: ids[2], fs: ids[3] }
    };
    let set = |name: &str| u64::from_str_radix(field(name), 16).unwrap();
    Identity {
        users: ids("Uid"),
        groups: ids("Gid"),
        supplementary: field("Groups").split_whitespace().map(|id| id.parse().unwrap()).collect(),
        capabilities: Capabilities {
            inheritable: set("CapInh"),
            permitted: set("CapPrm"),
            effective: set("CapEff"),
            bounding: set("CapBnd"),
            ambient: set("CapAmb"),
        },
        secure_bits: u32::try_from(call(libc::SYS_prctl, [PR_GET_SECUREBITS, 0, 0, 0, 0]).unwrap()).unwrap(),
        no_new_privileges: field("NoNewPrivs") == "1",
        free: false,
    }
}

/// Asks the kernel for a change.
fn ask(change: &IdentityChange) -> Result<(), Errno> {
    let by = |kind: &IdKind, user: i64, group: i64| if *kind == IdKind::User { user } else { group };
    let prctl = |option: u64, argument: u64| call(libc::SYS_prctl, [option, argument, 0, 0, 0]);
    match change {
        IdentityChange::One(kind, to) => {
            call(by(kind, libc::SYS_setuid, libc::SYS_setgid), [u64::from(*to), 0, 0, 0, 0])
        }
        IdentityChange::Two(kind, real, effective) => {
            call(by(kind, libc::SYS_setreuid, libc::SYS_setregid), [id(*real), id(*effective), 0, 0, 0])
        }
        IdentityChange::Three(kind, [real, effective, saved]) => {
            call(by(kind, libc::SYS_setresuid, libc::SYS_setresgid), [id(*real), id(*effective), id(*saved), 0, 0])
        }
        IdentityChange::Fs(kind, to) => {
            let nr = by(kind, libc::SYS_setfsuid, libc::SYS_setfsgid);
            // It never fails; what it did is seen.
            call(nr, [u64::from(*to), 0, 0, 0, 0])
        }
        IdentityChange::Supplementary(groups) => {
            call(libc::SYS_setgroups, [groups.len() as u64, groups.as_ptr() as u64, 0, 0, 0])
        }
        IdentityChange::Capabilities { effective, permitted, inheritable } => {
            let header = [0x2008_0522_u32, 0];
            #[allow(clippy::cast_possible_truncation, reason = "the two halves")]
            let half = |set: u64, high: bool| if high { (set >> 32) as u32 } else { set as u32 };
            let sets = [effective, permitted, inheritable];
            let data: Vec<u32> = [false, true].iter().flat_map(|&high| sets.map(|set| half(*set, high))).collect();
            call(libc::SYS_capset, [header.as_ptr() as u64, data.as_ptr() as u64, 0, 0, 0])
        }
        IdentityChange::SecureBits(bits) => prctl(PR_SET_SECUREBITS, u64::from(*bits)),
        IdentityChange::KeepCapabilities(keep) => prctl(PR_SET_KEEPCAPS, *keep),
        IdentityChange::DropBounding(number) => prctl(PR_CAPBSET_DROP, *number),
        IdentityChange::RaiseAmbient(number) => call(libc::SYS_prctl, [PR_CAP_AMBIENT, 2, *number, 0, 0]),
        IdentityChange::LowerAmbient(number) => call(libc::SYS_prctl, [PR_CAP_AMBIENT, 3, *number, 0, 0]),
        IdentityChange::ClearAmbient => call(libc::SYS_prctl, [PR_CAP_AMBIENT, 4, 0, 0, 0]),
        IdentityChange::NoNewPrivileges => Ok(0),
    }
    .map(|_| ())
}

fn change() -> impl Strategy<Value = IdentityChange> {
    let kind = || prop_oneof![3 => Just(IdKind::User), 1 => Just(IdKind::Group)];
    let id = || prop_oneof![3 => Just(0u32), 3 => Just(1000), 1 => Just(7), 1 => Just(70000)];
    let some = move || proptest::option::of(id());
    let set = || prop_oneof![Just(0), Just(ALL_CAPABILITIES), Just(0xff), Just(0x1c0), any::<u64>()];
    let number = || prop_oneof![0..10u64, 39..43u64];
    prop_oneof![
        4 => (kind(), id()).prop_map(|(kind, id)| IdentityChange::One(kind, id)),
        4 => (kind(), some(), some()).prop_map(|(kind, real, effective)| IdentityChange::Two(kind, real, effective)),
        4 => (kind(), some(), some(), some()).prop_map(|(kind, r, e, s)| IdentityChange::Three(kind, [r, e, s])),
        3 => (kind(), id()).prop_map(|(kind, id)| IdentityChange::Fs(kind, id)),
        1 => proptest::collection::vec(id(), 0..4).prop_map(IdentityChange::Supplementary),
        2 => (set(), set(), set()).prop_map(|(effective, permitted, inheritable)| {
            IdentityChange::Capabilities { effective: effective & permitted, permitted, inheritable }
        }),
        1 => prop_oneof![0..256u32, Just(1 << 20), Just(0), Just(0x10), Just(4)].prop_map(IdentityChange::SecureBits),
        2 => (0..3u64).prop_map(IdentityChange::KeepCapabilities),
        1 => number().prop_map(IdentityChange::DropBounding),
        2 => number().prop_map(IdentityChange::RaiseAmbient),
        1 => number().prop_map(IdentityChange::LowerAmbient),
        1 => Just(IdentityChange::ClearAmbient),
    ]
}

/// Makes the changes in a thread of its own: identities are a thread's.
fn compare(changes: Vec<IdentityChange>) -> Result<(), String> {
    let thread = std::thread::spawn(move || {
        let mut who = now();
        for (step, change) in changes.iter().enumerate() {
            let asked = ask(change);
            let new = changed(&who, change);
            if new.as_ref().err() != asked.as_ref().err() {
                return Err(format!("step {step} of {changes:?}: the kernel says {asked:?}, we {new:?}"));
            }
            who = new.unwrap_or(who);
            if who != now() {
                return Err(format!("after step {step} of {changes:?}: the kernel has {:?}, we {who:?}", now()));
            }
        }
        Ok(())
    });
    thread.join().unwrap()
}

fn is_root() -> bool {
    let root = now().users.effective == 0;
    if !root {
        eprintln!("not compared with the kernel: that takes root");
    }
    root
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_sequence_has_the_kernel_s_results(changes in proptest::collection::vec(change(), 1..12)) {
        if is_root() {
            prop_assert_eq!(compare(changes), Ok(()));
        }
    }
}

/// What an ordinary user finds: all that the kernel would refuse.
#[test]
fn an_ordinary_user_becomes_anybody() {
    let ids = Ids { real: 5, effective: 5, saved: 5, fs: 5 };
    let capabilities = Capabilities { bounding: ALL_CAPABILITIES, ..Capabilities::default() };
    let user = Identity { users: ids, groups: ids, capabilities, free: true, ..Identity::default() };
    let all = |id| Ids { real: id, effective: id, saved: id, fs: id };
    let check = |change: IdentityChange, users: Ids, can: u64| {
        let new = changed(&user, &change).unwrap();
        assert_eq!(
            (new.users, new.capabilities.permitted, new.capabilities.effective),
            (users, can, can),
            "{change:?}"
        );
        new
    };
    use IdKind::User;
    check(IdentityChange::One(User, 0), all(0), ALL_CAPABILITIES);
    check(IdentityChange::One(User, 7), all(7), 0);
    check(IdentityChange::Two(User, None, Some(0)), Ids { real: 5, ..all(0) }, ALL_CAPABILITIES);
    check(IdentityChange::Three(User, [Some(1), None, Some(3)]), Ids { real: 1, effective: 5, saved: 3, fs: 5 }, 0);
    check(IdentityChange::Three(User, [None, Some(0), None]), Ids { effective: 0, fs: 0, ..ids }, ALL_CAPABILITIES);
    assert_eq!(changed(&user, &IdentityChange::Fs(IdKind::Group, 3)).unwrap().groups, Ids { fs: 3, ..ids });
    assert_eq!(changed(&user, &IdentityChange::Supplementary(vec![9, 0])).unwrap().supplementary, [0, 9]);
    // Root of nothing but the real user can do nothing yet.
    let real = changed(&user, &IdentityChange::Three(User, [Some(0), Some(5), Some(5)])).unwrap();
    assert_eq!((real.capabilities.permitted, real.capabilities.effective), (ALL_CAPABILITIES, 0));
}

/// Whoever has become somebody keeps to the kernel's rules: what is given up is given up.
#[test]
fn nobody_becomes_root_twice() {
    use IdKind::{Group, User};
    let ids = Ids { real: 5, effective: 5, saved: 5, fs: 5 };
    let capabilities = Capabilities { bounding: ALL_CAPABILITIES, ..Capabilities::default() };
    let user = Identity { users: ids, groups: ids, capabilities, free: true, ..Identity::default() };
    // Other groups, and what changes nothing, do not make one somebody else.
    let mut who = user.clone();
    for change in [
        IdentityChange::Supplementary(vec![8]),
        IdentityChange::Three(Group, [Some(7); 3]),
        IdentityChange::One(User, 5),
        IdentityChange::Fs(User, 5),
        IdentityChange::NoNewPrivileges,
    ] {
        who = changed(&who, &change).unwrap();
        assert!(who.free, "{change:?}");
    }
    let root = changed(&who, &IdentityChange::One(User, 0)).unwrap();
    let dropped = changed(&root, &IdentityChange::Three(User, [Some(5); 3])).unwrap();
    assert_eq!((dropped.users, dropped.capabilities, dropped.free), (user.users, user.capabilities, false));
    for change in [
        IdentityChange::One(User, 0),
        IdentityChange::Two(User, None, Some(0)),
        IdentityChange::Three(User, [None, Some(0), None]),
        IdentityChange::One(Group, 0),
        IdentityChange::Supplementary(Vec::new()),
    ] {
        assert_eq!(changed(&dropped, &change), Err(Errno::EPERM), "{change:?}");
    }
    assert_eq!(changed(&dropped, &IdentityChange::Fs(User, 0)), Ok(dropped.clone()), "it tells nobody");
}
