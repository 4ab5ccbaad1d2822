//! A `cow` mount against the kernel's overlayfs, `mincow` and `merge` against a plain directory: the same random operations on both have the same results and
//! leave the same trees.

use crate::harness::{Flavour, UMVU, difference, helper, run};
use crate::programs::{BEHIND_A_SHUT_DIRECTORY, FROM_BESIDE_IT};
use nix::unistd::geteuid;
use proptest::{prelude::*, test_runner::Config};
use std::process::Command;

/// The lower tree, before it has hard links.
const LOWER: &str = "mkdir -p a/d a/e/deep b c && echo one > a/x && echo two > a/d/p && echo three > b/x && echo file > f && echo linked > g && ln -s a l && ln -s nowhere s && mkfifo q && chmod 640 a/x && chmod 700 b && setfattr -n user.x -v old f && setfattr -n system.posix_acl_access -v 0x0200000001000600ffffffff020007000000000004000400ffffffff10000400ffffffff20000400ffffffff a/d/p && setfattr -n system.posix_acl_default -v 0x0200000001000700ffffffff020007000000000004000500ffffffff10000700ffffffff20000000ffffffff a/e && touch -d @7 a/x b/x b f s";

/// They stay together in an overlay with an index, which only root's overlays have.
const LINKS: &str = "ln g h; ln g b/h";

/// Runs operations in what they are compared with, and in a view, in a mount namespace of their own. What they print is told apart by lines of `===`.
const BOTH: &str = r#"
set -e
S=$(mktemp -d); trap 'umount -l $S; rmdir $S' EXIT
mount -t tmpfs none $S; cd $S; mkdir l u w m u2 u3
(cd l; eval "$LOWER"; eval "$LINKS"); cp -a l l2
cat > ops
case $AGAINST in
overlay)
    mount -t overlay overlay -o lowerdir=l,upperdir=u,workdir=w,$OVERLAY m
    $OPS m < ops 2>&1; umount m;;
directory) $OPS l < ops 2>&1;;
esac
echo ===
MOUNTS=$(eval echo "\"$MOUNTS\"")
$UMVU -N -m vufs -- sh -c "{ $MOUNTS; } || exit 99; \$OPS $S/l2 < ops" 2>&1
echo ===
$UMVU -N -m vufs -- sh -c "{ $MOUNTS; } || exit 99; \$OPS $S/l2 < /dev/null" 2>&1
echo ===
$OPS l2 < /dev/null
echo ===
$OPS l < /dev/null
"#;

/// Names below directories.
const NAMES: &[&str] = &["a", "b", "c", "f", "g", "h", "l", "s", "q", "n", "x", "d", "e", "p"];
/// Those that are there, and some that are not.
const PATHS: &[&str] =
    &["a", "b", "c", "f", "g", "h", "l", "s", "q", "n", "m", "a", "b", "c", "a/x", "a/d", "a/d/p", "a/e", "b/x", "b/h"];

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => proptest::sample::select(PATHS).prop_map(str::to_owned),
        2 => (proptest::sample::select(&PATHS[..14]), proptest::sample::select(NAMES)).prop_map(|(a, b)| format!("{a}/{b}")),
        1 => (proptest::sample::select(&NAMES[..4]), proptest::sample::select(NAMES), proptest::sample::select(NAMES))
            .prop_map(|(a, b, c)| format!("{a}/{b}/{c}")),
    ]
}

fn operation() -> impl Strategy<Value = String> {
    let mode = proptest::sample::select(&["755", "700", "644", "600", "1777", "4755", "555"][..]);
    let slot = proptest::sample::select(&["a", "b"][..]);
    // In a user namespace of one user, there is no other one to be named in a list.
    let users = 0..if geteuid().is_root() { 9u8 } else { 1 };
    prop_oneof![
        3 => path().prop_map(|p| format!("m {p} 755")),
        3 => path().prop_map(|p| format!("r {p}")),
        3 => path().prop_map(|p| format!("u {p}")),
        4 => (proptest::sample::select(&["n", "n", "N", "X", "l"][..]), path(), path()).prop_map(|(op, a, b)| format!("{op} {a} {b}")),
        1 => (path(), path()).prop_map(|(a, b)| format!("s {a} {b}")),
        1 => path().prop_map(|p| format!("p {p}")),
        2 => path().prop_map(|p| format!("c {p} 644")),
        3 => (path(), "[a-z]{1,5}").prop_map(|(p, text)| format!("w {p} {text}")),
        1 => path().prop_map(|p| format!("t {p}")),
        1 => (path(), 0..9u8).prop_map(|(p, n)| format!("T {p} {n}")),
        2 => (path(), mode.clone()).prop_map(|(p, mode)| format!("C {p} {mode}")),
        1 => (path(), 0..3u8, 0..3u8).prop_map(|(p, u, g)| format!("O {p} {u} {g}")),
        1 => (path(), "[a-z]{1,5}").prop_map(|(p, text)| format!("v {p} {text}")),
        3 => (proptest::sample::select(&["V", "g", "G", "R", "L", "W"][..]), path()).prop_map(|(op, p)| format!("{op} {p}")),
        1 => (path(), path()).prop_map(|(a, b)| format!("i {a} {b}")),
        2 => (slot.clone(), path()).prop_map(|(slot, p)| format!("o {slot} {p}")),
        2 => (proptest::sample::select(&["y", "h", "f"][..]), slot.clone()).prop_map(|(op, slot)| format!("{op} {slot} more")),
        1 => (slot.clone(), mode).prop_map(|(slot, mode)| format!("F {slot} {mode}")),
        2 => (slot.clone(), path()).prop_map(|(slot, p)| format!("d {slot} {p}")),
        2 => slot.clone().prop_map(|slot| format!("e {slot}")),
        1 => (proptest::sample::select(&["A", "A", "D"][..]), path(), users).prop_map(|(op, p, n)| format!("{op} {p} {n}")),
        1 => (proptest::sample::select(&["E", "q"][..]), path(), 0..9u8).prop_map(|(op, p, n)| format!("{op} {p} {n}")),
        2 => (proptest::sample::select(&["B", "x", "j"][..]), path()).prop_map(|(op, p)| format!("{op} {p}")),
        1 => (proptest::sample::select(&["Q", "Z"][..]), path(), path()).prop_map(|(op, a, b)| format!("{op} {a} {b}")),
        1 => (proptest::sample::select(&["M", "U"][..]), slot, path()).prop_map(|(op, slot, p)| format!("{op} {slot} {p}")),
    ]
}

/// What operations in mounts are compared with.
#[derive(Debug, Clone, Copy)]
enum Against {
    Overlay,
    Directory,
}

/// What each of the five runs printed.
fn printed(against: Against, mounts: &str, operations: &[String]) -> Vec<String> {
    let mut command = Command::new("unshare");
    // A user who is not root is made root of a namespace, where overlays may be mounted, too: what they keep is in attributes that a user may set, and that alone
    // turns off what only root may turn on.
    command.args(if geteuid().is_root() { &["--mount"][..] } else { &["--map-root-user", "--mount"] });
    command
        .args(["/bin/sh", "-c", BOTH])
        .env("LOWER", LOWER)
        .env("MOUNTS", mounts)
        .env("LINKS", if geteuid().is_root() { LINKS } else { "" })
        .env("OVERLAY", if geteuid().is_root() { "index=on,redirect_dir=off,metacopy=off" } else { "userxattr" })
        .env("AGAINST", format!("{against:?}").to_lowercase())
        .env("UMVU", &*UMVU)
        // With the C library, so that an agent may answer.
        .env("OPS", helper("tree_ops", Flavour::Dynamic));
    let ran = run(command, (operations.join("\n") + "\n").as_bytes());
    let text = ran.stdout();
    let parts: Vec<String> = text.split("===\n").map(str::to_owned).collect();
    assert!(parts.len() == 5 && ran.status.success(), "overlays or views do not work:\n{text}{}", ran.stderr());
    parts
}

/// The tree of what was printed.
fn tree(text: &str) -> &str {
    text.find("--- tree").map_or("", |at| &text[at..])
}

/// Random operations; more of them by `PROPTEST_CASES`.
fn compare(against: Against, mounts: &str, cases: u32) {
    let cases = std::env::var("PROPTEST_CASES").map_or(cases, |cases| cases.parse().unwrap());
    let config = Config { cases, max_shrink_iters: 400, failure_persistence: None, ..Config::default() };
    proptest!(config, |(operations in proptest::collection::vec(operation(), 1..30))| {
        let [model, view, again, lower, before] = <[String; 5]>::try_from(printed(against, mounts, &operations)).unwrap();
        prop_assert!(model == view, "{against:?} (host) and mount (view) differ:\n{}", difference(&model, &view));
        prop_assert!(tree(&view) == tree(&again), "mounted again:\n{}", difference(tree(&view), tree(&again)));
        prop_assert!(lower == before, "the lower tree is not as it should be:\n{}", difference(&before, &lower));
    });
}

#[test]
fn a_cow_mount_is_an_overlay() {
    compare(Against::Overlay, "vumount -t vufs -o cow $S/u2 $S/l2", 40);
}

#[test]
fn so_is_one_over_another() {
    compare(Against::Overlay, "vumount -t vufs -o cow $S/u2 $S/l2 && vumount -t vufs -o cow $S/u3 $S/l2", 15);
}

#[test]
fn a_mincow_mount_of_what_is_ones_own_is_a_directory() {
    compare(Against::Directory, "vumount -t vufs -o mincow $S/u2 $S/l2", 15);
}

#[test]
fn so_is_a_merge_with_nothing() {
    compare(Against::Directory, "vumount -t vufs -o merge $S/u2 $S/l2", 15);
}

/// Runs a script as root of a mount namespace, in a fresh tmpfs.
pub fn as_root(script: &str) -> String {
    // Without a place of its own, it would work in root's home.
    let begin = "exec 2>&1; S=$(mktemp -d) || exit; trap 'umount -l $S; rmdir $S' EXIT; mount -t tmpfs none $S && cd $S || exit\n";
    let mut command = Command::new("unshare");
    command.args(if geteuid().is_root() { &["--mount"][..] } else { &["--map-root-user", "--mount"] });
    command.args(["/bin/sh", "-c", &format!("{begin}{script}")]).env("UMVU", &*UMVU).env("LC_ALL", "C");
    run(command, b"").stdout()
}

#[test]
fn an_upper_tree_that_is_full_or_read_only() {
    let said = as_root(
        "mkdir l u; mount -t tmpfs -o size=256k none u; head -c 1000000 /dev/zero > l/big; echo small > l/small; sum=$(md5sum < l/big)
        COW=\"vumount -t vufs -o cow $S/u $S/l || exit 99;\"
        $UMVU -N -m vufs -- bash -c \"$COW cd l; echo x >> big; cp big copy; rm -f copy; [ \\\"\\$(md5sum < big)\\\" = '$sum' ] && echo whole; echo x >> small; cat small; rm big; ls\"
        find u -name '*tmp*' -o -name copy; mount -o remount,bind,ro u
        $UMVU -N -m vufs -- bash -c \"$COW cd l; echo x > new; echo x >> small; rm small; mkdir d; mv small s; chmod 600 small; cat small; ls\"",
    );
    let expected = [
        "bash: line 1: big: No space left on device",
        "cp: error writing 'copy': No space left on device",
        "whole\nsmall\nx\nsmall",
        "bash: line 1: new: Read-only file system",
        "bash: line 1: small: Read-only file system",
        "rm: cannot remove 'small': Read-only file system",
        "mkdir: cannot create directory 'd': Read-only file system",
        "mv: cannot move 'small' to 's': Read-only file system",
        "chmod: changing permissions of 'small': Read-only file system",
        "small\nx\nsmall\n",
    ];
    assert_eq!(said, expected.join("\n"));
}

/// The hypervisor may search every directory where it is root; who has given that up may not.
#[test]
fn who_has_given_up_root_is_kept_out_as_by_the_kernel() {
    if !geteuid().is_root() {
        eprintln!("not compared with the kernel: that takes root");
        return;
    }
    // Nor is it let into directories that are umvu's own (README).
    let script = format!(
        "chmod 755 .; mkdir native low up own in; drop='setpriv --reuid 65534 --regid 65534 --clear-groups'; export drop
        cat > behind <<'END'\n{BEHIND_A_SHUT_DIRECTORY}\nEND\ncat > beside <<'END'\n{FROM_BESIDE_IT}\nEND
        (cd native; sh ../behind > ../native.behind; sh ../beside > ../native.beside)
        $UMVU -N -m vufs -- sh -c 'vumount -t vufs -o cow up low && cd low && sh ../behind' > cow.behind
        $UMVU -N -m vufs -- sh -c 'vumount -t vufs own in && cd in && sh ../behind > ../bind.behind; sh ../beside' > bind.beside
        cat native.behind native.beside; diff native.behind cow.behind; diff native.behind bind.behind; diff native.beside bind.beside"
    );
    let said = as_root(&script);
    assert!(said.matches("Permission denied").count() >= 15, "{said}");
    assert!(!said.contains("\n> ") && !said.contains("\n< "), "{said}");
}

/// Root with another group, and somebody else's rights at a directory that is open.
const IN_PART: &str = r#"
import os
os.setresgid(-1, 65534, -1)
os.close(os.open("file", os.O_CREAT | os.O_RDWR, 0o644))
os.mkdir("dir")
os.close(os.open("dir/file", os.O_CREAT | os.O_WRONLY | os.O_EXCL))
os.mknod("node")
os.symlink("file", "link")
for name in "file", "dir", "dir/file", "node", "link":
    print(name, os.lstat(name).st_uid, os.lstat(name).st_gid)
os.chmod(".", 0o777)
os.seteuid(65534)
for mode in 0o400, 0o700:
    os.mkdir("of %o" % mode, mode)
    fd = os.open("of %o" % mode, os.O_RDONLY)
    try:
        os.fchdir(fd)
        print("entered", os.getcwd().endswith("700"))
    except OSError as error:
        print(error)
os.chdir("..")
os.mkdir("sticky")
os.seteuid(0)
os.mkdir("shut", 0o700)
os.mkdir("others")
os.mkdir("others/sticky")
os.chmod("others/sticky", 0o1777)
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
os.symlink("../../file", "others/sticky/link")
print(os.stat("others/sticky/link").st_gid)
before = os.listdir("/proc/self/fd")
here = os.getcwd()
for name in "others", "sticky", "link", "../../dir", "../shut", "../nothing", "../file", here, "../" * 40 + here[1:]:
    try:
        os.chdir(name)
        print(name.replace(here, "HERE"), os.getcwd().replace(here, "HERE"), sorted(os.listdir(".")))
    except OSError as error:
        print(str(error).replace(here, "HERE"))
print(os.listdir("/proc/self/fd") == before)
fd = os.open("others", os.O_RDONLY)
os.fchdir(fd)
os.system("cd sticky && ls -d link; pwd -P | grep -o 'others.*'; cd ../shut 2> /dev/null || echo shut")
"#;

#[test]
fn what_root_gives_up_in_part() {
    if !geteuid().is_root() {
        eprintln!("not compared with the kernel: that takes root");
        return;
    }
    let script = format!(
        "chmod 755 .; mkdir native low up own in; cat > script <<'END'\n{IN_PART}\nEND
        (cd native; python3 ../script > ../native.out)
        $UMVU -N -m vufs -- sh -c 'vumount -t vufs -o cow up low && cd low && python3 ../script' > cow.out
        $UMVU -N -m vufs -- sh -c 'vumount -t vufs own in && cd in && python3 ../script' > bind.out
        cat native.out; diff native.out cow.out; diff native.out bind.out"
    );
    let native = "file 0 65534\ndir 0 65534\ndir/file 0 65534\nnode 0 65534\nlink 0 65534\n[Errno 13] Permission denied\nentered True\n65534\n";
    let said = as_root(&script);
    assert!(said.contains(native) && said.ends_with("\nTrue\nlink\nothers/sticky\nshut\n"), "{said}");
    // Nothing differs.
    assert!(!said.contains("\n> ") && !said.contains("\n< "), "{said}");
}

/// What a directory says to a request that its file system knows nothing of.
#[test]
fn directories_are_asked_where_their_files_lie() {
    let script = r#"cat > ask.py <<'end'
import fcntl, os, sys
for name in sys.argv[1:]:
    try: print(fcntl.ioctl(os.open(name, os.O_RDONLY), 0xC020660B, bytes(32)))
    except OSError as error: print(error)
end
mkdir l l/untouched l/changed u w m u2; touch l/changed/x
mount -t overlay overlay -o lowerdir=l,upperdir=u,workdir=w,userxattr m; rm m/changed/x; python3 ask.py m/untouched m/changed; umount m
$UMVU -N -m vufs -- sh -c 'vumount -t vufs -o cow u2 l && rm l/changed/x && python3 ask.py l/untouched l/changed'"#;
    assert_eq!(as_root(script), "[Errno 95] Operation not supported\n".repeat(4));
}
