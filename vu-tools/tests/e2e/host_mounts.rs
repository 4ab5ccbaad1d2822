//! File systems of the host that root mounts in a union: they are the view's there, and what they do is as outside.

use crate::{harness::difference, oracle::as_root};

/// What root does with mounts; `$1` is where.
const MOUNTS: &str = r#"cd "$1" && mkdir t s && echo s > s/s && echo file > f
say() { echo "$?: $*"; }
mount -t tmpfs -o size=64k some t; say mounted
cd t; echo hi > f; mkdir d; mv f d/g; ln d/g h; ls -R .; cat h; head -c 100000 /dev/zero > big; rm big; cd ..
findmnt -no SOURCE,FSTYPE t; stat -f -c %T t; grep -c umvu- /proc/self/mounts
umount t < t/h & wait $!; (cd t && umount "$1/t"); say busy
exec 3< t/h; umount t; say busy; umount -l t; say lazily; cat <&3; exec 3<&-; ls t
mount -t tmpfs -o ro other t; touch t/x; mount -o remount,rw other t; touch t/x; ls t; mount -o remount,ro other t; touch t/y; mount -t tmpfs upper t; ls t; touch t/z; umount t; ls t; umount t; say unmounted; umount t; say not mounted
mount --bind s t; cat t/s; echo more >> t/s; cat s/s; umount t; mount --bind s/s f; cat f; umount f; cat f
mount -o bind,ro s t; mount -o remount,bind,ro t; touch t/x; umount t
mount -t tmpfs none f; say a file; mount -t nonsense none t; say no such type; mount -t tmpfs none none; say no such directory; mount --move s t; say no mount; mount -o remount t; say no mount
mount -t ext4 "$PWD/f" t; say no device; mount -t tmpfs -o nonsense=1 none t; say no such option
mkdir -m 700 shut; mount -t tmpfs -o mode=755 none shut/../t; echo x > t/x; setpriv --reuid 65534 --clear-groups cat t/x; umount t
mount -t proc proc t; say proc; test "$(readlink t/self)" = "$(sh -c 'echo $PPID')" && cat t/self/comm; umount t
unshare --pid --fork sh -c 'mount -t proc proc t; readlink t/self; cat t/self/comm t/1/comm; umount t'
mount -t tmpfs none t; mkdir t/l t/u t/w t/o; echo lower > t/l/f; mount -t overlay -o "lowerdir=t/l,upperdir=$PWD/t/u,workdir=t/w" none t/o; say overlay; cat t/o/f; echo upper > t/o/f; cat t/u/f; umount t/o; umount t
python3 -c 'import ctypes, os
c = ctypes.CDLL(None, use_errno=True)
link = os.open("/proc/self/fd/%d" % os.open("f", os.O_RDONLY), os.O_PATH | os.O_NOFOLLOW)
print(c.mount(b"s/s", b"/proc/self/fd/%d" % link, None, 4096, None), ctypes.get_errno())'
ls -l --time-style=+; rmdir t; say gone
"#;

#[test]
fn what_root_mounts_in_a_union() {
    let script = format!(
        "chmod 755 .; mkdir native low up; cat > script <<'END'\n{MOUNTS}\nEND
        bash script $PWD/native > native.out 2>&1; sed -i \"s,$PWD/native,DIR,g; s/script: line [0-9]*://\" native.out
        $UMVU -N -m vufs -- sh -c 'vumount -t vufs -o cow up low && bash script $PWD/low > low.out 2>&1'; sed -i \"s,$PWD/low,DIR,g; s/script: line [0-9]*://\" low.out
        cat native.out; echo ===; cat low.out; echo ===; ls -A low; grep -c umvu- /proc/self/mounts"
    );
    let said = as_root(&script);
    let parts: Vec<&str> = said.split("===\n").collect();
    let [native, low, left] = parts[..] else { panic!("{said}") };
    assert!(native.contains("0: mounted\n") && native.lines().count() > 50, "{native}");
    assert!(native == low, "{}", difference(native, low));
    // The host has no mount any more, and the lower tree has nothing of it.
    assert_eq!(left, "0\n");
}

#[test]
fn it_goes_with_the_view() {
    let said = as_root(
        r#"mkdir low up
        $UMVU -N -m vufs -- sh -c "vumount -t vufs -o cow up low && mount -t tmpfs none low && echo x > low/x && cat low/x; grep -c umvu- /proc/self/mounts"
        while grep -q umvu- /proc/self/mounts; do sleep 0.1; done; ls low
        $UMVU -N -m vufs -- sh -c 'vumount -t vufs -o cow up low && mount -t tmpfs none low && kill -9 $(vuname -U); while :; do :; done'
        while grep -q umvu- /proc/self/mounts; do sleep 0.1; done; ls low; echo gone"#,
    );
    assert_eq!(
        said,
        "x\n0\numvu: the hypervisor died, and with it all processes of the view; please report this\ngone\n"
    );
}

/// What is mounted on the root that a process has chosen is unmounted by the name that it has there.
#[test]
fn on_a_chosen_root() {
    let said = as_root(
        r#"mkdir r; mount -t tmpfs none r; mkdir r/own
        cat > script <<'END'
import ctypes, os
c = ctypes.CDLL(None, use_errno=True)
os.chroot("r")
print([c.mount(b"/", b"/", None, 4096, None) for _ in range(2)], c.mount(b"none", b"/own", b"tmpfs", 0, None))
print(c.umount(b"/own"), ctypes.get_errno(), [c.umount(b"/") for _ in range(2)], ctypes.get_errno(), os.listdir("/"))
END
        python3 script; $UMVU -N -m vufs -- sh -c 'vumount -t vufs / / && python3 script'"#,
    );
    let once = "[0, 0] 0\n0 0 [0, 0] 0 ['own']\n";
    assert_eq!(said, once.repeat(2));
}
