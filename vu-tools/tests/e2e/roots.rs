//! Root file systems and images, built and used by an ordinary user: `chroot`, packages, archives, file system images.

use crate::harness::Site;

/// What a script of virtual root's prints, in a directory of a `cow` mount.
#[track_caller]
fn root_says(script: &str, expected: &str) {
    let site = Site::new();
    let enter = format!(
        "exec 2>&1; umask 022; mkdir $D/up $D/r && vumount -t vufs -o cow $D/up $D/r && vu_insmod unrealuidgid || exit 99
        cat > $D/script <<'END-OF-SCRIPT'\nset -e\n{ROOT}\n{script}\nEND-OF-SCRIPT
        cd $D/r && exec vusu -c \"exec bash $D/script\""
    );
    let said = site.session(&enter);
    assert_eq!(said.stdout(), expected, "{script}");
}

/// Makes a root file system of busybox in the directory `root`.
const ROOT: &str = r#"
mkdir -p root/bin root/etc root/dev root/proc root/tmp root/root root/home/joe root/var
chmod 1777 root/tmp; chmod 700 root/root; chown 1000:1000 root/home/joe
cp $(type -P busybox) root/bin/busybox
for applet in sh ls id cat mknod su passwd tar stat chown chmod mkdir rm test echo ps touch ln find env sed sleep tail readlink; do ln -s busybox root/bin/$applet; done
mknod -m 666 root/dev/null c 1 3; mknod -m 600 root/dev/disk b 8 1
printf '%s\n' root:x:0:0::/root:/bin/sh joe:x:1000:1000::/home/joe:/bin/sh > root/etc/passwd
printf '%s\n' root:x:0: joe:x:1000: shadow:x:42:joe > root/etc/group
printf '%s\n' 'root:*::0:::::' 'joe:*::0:::::' > root/etc/shadow; chmod 640 root/etc/shadow; chown 0:42 root/etc/shadow
"#;

#[test]
fn another_root_with_users_of_its_own() {
    root_says(
        r#"cat > root/in <<'end'
id; echo gone > /dev/null; test -c /dev/null && echo device
echo secret > /root/secret; echo public > /root/public; mkdir -m 711 /srv; echo s > /srv/s
su joe -c 'id; cat /etc/shadow | tail -n 1; cat /root/public; echo mine > /home/joe/f; echo x > /etc/x; ls /srv; cat /srv/s; touch /tmp/of-joe; echo > /dev/null; echo > /dev/disk'
stat -c '%n %u:%g %a' /home/joe/f /etc/shadow /tmp/of-joe; ls /home/joe; touch /tmp/of-root; su joe -c 'rm /tmp/of-root'
end
chroot root /bin/sh /in 2>&1 | sed 's/^[^ ]*sh: //'"#,
        "uid=0(root) gid=0(root) groups=0(root)\ndevice\nuid=1000(joe) gid=1000(joe) groups=42(shadow),1000(joe)\njoe:*::0:::::\ncat: can't open '/root/public': Permission denied\ncan't create /etc/x: Permission denied\nls: can't open '/srv': Permission denied\ns\ncan't create /dev/disk: Permission denied\n/home/joe/f 1000:1000 644\n/etc/shadow 0:42 640\n/tmp/of-joe 1000:1000 644\nf\nrm: can't remove '/tmp/of-root': Operation not permitted\n",
    );
}

/// As apk runs the scripts of packages: the file that is executed has no name, its interpreter is the root's.
#[test]
fn scripts_without_a_name() {
    root_says(
        r##"mount -t proc proc root/proc; ln -s /proc/self/fd root/dev/fd; ln -s busybox root/bin/ash
cat > own << 'end'
#!/bin/ash
echo "$0 $1 $(readlink /proc/self/exe)"
end
chmod 755 own
python3 -c 'import os
def script(way):
    if way == "removed":
        fd = os.open("own", os.O_RDONLY)
        os.unlink("own")
        return fd
    fd = os.memfd_create("script", 0)
    os.write(fd, open("own", "rb").read())
    return fd
for way in "memfd", "by path", "removed":
    if os.fork() == 0:
        os.dup2(script(way), 9)
        os.chroot("root")
        os.chdir("/")
        os.execve("/proc/self/fd/9" if way == "by path" else 9, ["s", "arg"], {"PATH": "/bin"})
    os.wait()' 2>&1"##,
        "/dev/fd/9 arg /bin/busybox\n/proc/self/fd/9 arg /bin/busybox\n/dev/fd/9 arg /bin/busybox\n",
    );
}

#[test]
fn what_root_mounts_there() {
    root_says(
        r#"mount -t proc proc root/proc; chroot root /bin/cat /proc/self/comm /proc/self/mounts; mount -o nosuid,nodev -t sysfs none root/sys 2>&1 | grep -c exist; mkdir root/sys root/mnt; mount -t sysfs none root/sys; test -d root/sys/kernel && echo sysfs
mkdir root/dev/pts; mount -t devpts devpts root/dev/pts -o gid=5,mode=620; test -c root/dev/pts/ptmx && echo devpts
mount --bind root/etc root/mnt; stat -c '%u:%g %a' root/mnt/shadow; echo new > root/mnt/made; cat root/etc/made; mountpoint -q root/mnt && echo mounted
set +e; mount --bind root/etc/passwd root/mnt 2> /dev/null || echo $?; mount --bind root/none root/mnt 2> /dev/null || echo $?; mount -t ext4 none root/mnt 2> /dev/null || echo $?
python3 -c 'import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def mount(source, target, kind, flags):
    done = libc.mount(source, target, kind, flags, None)
    print(kind, flags, done, os.strerror(ctypes.get_errno()) if done else "")
mount(b"root/etc/passwd", b"root/mnt", None, 4096); mount(b"root/none", b"root/mnt", None, 4096); mount(b"none", b"root/none", b"proc", 0); mount(b"none", b"root/etc/passwd", b"proc", 0); mount(b"none", b"root/mnt", b"ext4", 0)
os.setresuid(1000, 1000, 1000); mount(b"none", b"root/mnt", b"proc", 0)'
umount root/mnt root/dev/pts root/sys root/proc; echo $?; ls root/mnt root/proc root/sys"#,
        "cat\nproc /proc proc rw 0 0\n1\nsysfs\ndevpts\n0:42 640\nnew\nmounted\n32\n32\n32\nNone 4096 -1 Not a directory\nNone 4096 -1 No such file or directory\nb'proc' 0 -1 No such file or directory\nb'proc' 0 -1 Not a directory\nb'ext4' 0 -1 Operation not permitted\nb'proc' 0 -1 Operation not permitted\n0\nroot/mnt:\n\nroot/proc:\n\nroot/sys:\n",
    );
}

#[test]
fn a_tmpfs_of_virtual_root_s() {
    root_says(
        r#"mkdir root/t; echo below > root/t/below
mount -t tmpfs -o silent,size=10M,mode=750,uid=3,gid=4,nodev,noexec tmpfs root/t; cd root/t
findmnt -n -o SOURCE,FSTYPE,OPTIONS . | tr -s ' '; stat -c '%u:%g %a' .; ls
echo data > file; mkdir d; chown 5:6 file; mknod disk b 8 1; ln -s file l; cp ../bin/busybox true; ./true 2> /dev/null || echo noexec; setfattr -n user.a -v b file; mv file d/; ln d/file hard
stat -c '%n %u:%g %a %F' d d/file disk hard l; getfattr --only-values -n user.a d/file; echo; ls -A; df . | awk 'END { print $1 }'; echo $(readlink /proc/self/cwd | grep -o 'root/t$')
cd ../..; umount root/t; ls root/t; grep -c root/t /proc/mounts || true; find $OLDPWD/../../../up -name hard | wc -l
set +e; for o in size=much nosuch mode=9; do mount -t tmpfs -o $o tmpfs root/t 2> /dev/null || echo $?; done; mount -t tmpfs tmpfs root/etc/passwd 2> /dev/null || echo $?; mount -t tmpfs tmpfs root/none 2> /dev/null || echo $?"#,
        "tmpfs tmpfs rw,nodev,noexec,size=10M,mode=750,uid=3,gid=4\n3:4 750\nnoexec\nd 0:0 755 directory\nd/file 5:6 644 regular file\ndisk 0:0 644 block special file\nhard 5:6 644 regular file\nl 0:0 777 symbolic link\nb\nd\ndisk\nhard\nl\ntrue\ntmpfs\nroot/t\nbelow\n0\n0\n32\n32\n32\n32\n32\n",
    );
}

#[test]
fn mounts_of_virtual_root_s_change() {
    root_says(
        r#"cd root; mkdir a b c; mount -t tmpfs tmpfs a; echo x > a/x; mkdir a/in; mount --bind etc a/in
options() { grep " $PWD/$1 " /proc/self/mounts | cut -d' ' -f3-4; }
set +e; mount -o remount,ro a; touch a/y 2>&1 | grep -o Read-only.*; (echo z >> a/x) 2> /dev/null; cat a/x; options a; mount -o remount,rw,nosuid,size=1M a; touch a/y; options a
mount --bind etc b; mount -o remount,bind,ro b; touch b/new 2>&1 | grep -o Read-only.*; touch etc/new && ls b/new; options b; mount -o remount,bind,rw b; touch b/new2
python3 -c 'import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def mount(source, target, flags, data=None):
    done = libc.mount(source, target, None, flags, data)
    print(flags, os.strerror(ctypes.get_errno()) if done else "done")
REMOUNT, BIND, MOVE, REC, PRIVATE, SLAVE = 32, 4096, 8192, 16384, 1 << 18, 1 << 19
mount(None, b"a", PRIVATE); mount(None, b"a", REC | SLAVE); mount(None, b"/", REC | PRIVATE); mount(None, b"c", PRIVATE); mount(None, b"a", PRIVATE | SLAVE); mount(None, b"none", PRIVATE)
mount(None, b"a", REMOUNT, b"nosuch"); mount(None, b"b", REMOUNT, b"size=1M"); mount(None, b"b", REMOUNT | BIND, b"size=1M")
mount(b"a", b"a/in", MOVE); mount(b"a", b"none", MOVE); mount(b"a", b"etc/passwd", MOVE)
listed = os.open("a", os.O_RDONLY); mount(b"a", b"c", MOVE); os.close(listed); mount(b"a", b"c", MOVE)'
echo $(ls a c c/in); options c/in; umount c/in b; echo $?; echo $(ls c)"#,
        "Read-only file system\nx\ntmpfs ro\ntmpfs rw,nosuid,size=1M\nRead-only file system\nb/new\nvufs ro\n262144 done\n540672 done\n278528 done\n262144 Invalid argument\n786432 Invalid argument\n262144 No such file or directory\n32 Invalid argument\n32 Invalid argument\n4128 done\n8192 Too many levels of symbolic links\n8192 No such file or directory\n8192 Not a directory\n8192 Device or resource busy\n8192 done\na: c: in x y c/in: group new new2 passwd shadow\nvufs rw\n0\nin x y\n",
    );
}

#[test]
fn a_mount_namespace_of_virtual_root_s() {
    root_says(
        r#"mkdir root/mnt; mount -t tmpfs tmpfs root/mnt; echo outer > root/mnt/f
unshare --mount sh -c 'cat root/mnt/f; mount -t tmpfs tmpfs root/tmp; echo x > root/tmp/inner; ls root/tmp; umount root/mnt; ls root/mnt; sleep 1000 > /dev/null & echo $! > root/pid'
ls root/tmp root/mnt; grep -c root/tmp /proc/self/mounts || true; grep -c root/tmp /proc/$(cat root/pid)/mounts; kill $(cat root/pid); umount root/mnt
set +e; unshare --mount --pid --fork true 2> /dev/null; echo $?; cd root; unshare --mount --propagation unchanged sh -c 'cd etc; ls passwd'; ls -d etc"#,
        "outer\ninner\nroot/mnt:\nf\n\nroot/tmp:\n0\n1\n1\npasswd\netc\n",
    );
}

#[test]
fn packages_are_installed_there() {
    root_says(
        r#"mkdir -p pkg/DEBIAN pkg/usr/bin pkg/etc pkg/var/lib/p
printf '%s\n' 'Package: p' 'Version: 1' 'Architecture: all' 'Maintainer: nobody <n@example.org>' 'Description: a test' > pkg/DEBIAN/control
echo /etc/p.conf > pkg/DEBIAN/conffiles; echo conf > pkg/etc/p.conf; echo '#!/bin/sh' > pkg/usr/bin/p; chgrp 42 pkg/usr/bin/p; chmod 2755 pkg/usr/bin/p; chown 1000:1000 pkg/var/lib/p; chmod 700 pkg/var/lib/p
printf '%s\n' '#!/bin/sh' 'set -e' 'echo $1 as $(id -u); chown 1000:42 /etc/p.conf; chmod 640 /etc/p.conf; echo by postinst > /var/lib/p/data' > pkg/DEBIAN/postinst; chmod 755 pkg/DEBIAN/postinst
dpkg-deb -b pkg p.deb > /dev/null
mkdir -p root/var/lib/dpkg/info root/var/lib/dpkg/updates; touch root/var/lib/dpkg/status
dpkg --root=$PWD/root --force-bad-path -i p.deb > log 2>&1 || cat log; grep 'configure as' log
stat -c '%n %u:%g %a' root/usr/bin/p root/etc/p.conf root/var/lib/p root/var/lib/p/data; chroot root /usr/bin/p; chroot root /bin/sh -c 'cat /etc/p.conf /var/lib/p/data'
dpkg --root=$PWD/root --force-bad-path -P p > log 2>&1 || cat log; ls root/etc"#,
        "configure as 0\nroot/usr/bin/p 0:42 2755\nroot/etc/p.conf 1000:42 640\nroot/var/lib/p 1000:1000 700\nroot/var/lib/p/data 0:0 644\nconf\nby postinst\ngroup\npasswd\nshadow\n",
    );
}

#[test]
fn archives_and_images_have_the_virtual_owners() {
    root_says(
        r#"chmod 4755 root/bin/busybox; mkdir root/etc/secret; echo x > root/etc/secret/x; chmod 0 root/etc/secret/x; chmod 500 root/etc/secret; setfattr -n user.a -v b root/etc/group
tar cpf t.tar --numeric-owner --xattrs root; mkdir copy; tar xpf t.tar --numeric-owner --xattrs --xattrs-include='*' -C copy; tar dpf t.tar --numeric-owner -C copy && echo same
rsync -aX copy/root/ root2/; tar cf - --numeric-owner -C root2 . | tar tv --numeric-owner | grep -E 'shadow|null|disk|joe|busybox$|secret|tmp' | grep -v -- '->' | awk '{print $1, $2, $NF}' | sort -k 3
mksquashfs root r.sqfs -quiet -no-progress -noappend > /dev/null; unsquashfs -lln r.sqfs | grep -E 'shadow|null|disk|joe|bin/busybox$|secret|tmp' | awk '{print $1, $2, $NF}' | sort -k 3
mke2fs -q -t ext4 -d root r.ext4 16M > /dev/null; for f in etc/shadow dev/disk home/joe bin/busybox etc/secret/x; do debugfs -R "stat /$f" r.ext4 2>/dev/null | grep -E -o 'Type: [a-z ]+|Mode: +[0-7]+|User: +[0-9]+|Group: +[0-9]+|major.*' | tr -s ' \n' ' '; echo $f; done"#,
        "same\n-rwsr-xr-x 0/0 ./bin/busybox\nbrw------- 0/0 ./dev/disk\ncrw-rw-rw- 0/0 ./dev/null\ndr-x------ 0/0 ./etc/secret/\n---------- 0/0 ./etc/secret/x\n-rw-r----- 0/42 ./etc/shadow\ndrwxr-xr-x 1000/1000 ./home/joe/\ndrwxrwxrwt 0/0 ./tmp/\n-rwsr-xr-x 0/0 squashfs-root/bin/busybox\nbrw------- 0/0 squashfs-root/dev/disk\ncrw-rw-rw- 0/0 squashfs-root/dev/null\ndr-x------ 0/0 squashfs-root/etc/secret\n---------- 0/0 squashfs-root/etc/secret/x\n-rw-r----- 0/42 squashfs-root/etc/shadow\ndrwxr-xr-x 1000/1000 squashfs-root/home/joe\ndrwxrwxrwt 0/0 squashfs-root/tmp\nType: regular Mode: 0640 User: 0 Group: 42 etc/shadow\nType: block special Mode: 0600 User: 0 Group: 0 major/minor number: 08:01 (hex 08:01) dev/disk\nType: directory Mode: 0755 User: 1000 Group: 1000 home/joe\nType: regular Mode: 04755 User: 0 Group: 0 bin/busybox\nType: regular Mode: 0000 User: 0 Group: 0 etc/secret/x\n",
    );
}
