//! Virtual users and groups: the module `unrealuidgid`, and `vusu`.

use crate::harness::{Flavour, Site, helper};

/// What a script prints in a view with the module, `U` and `G` standing for the ids of the user who runs it.
#[track_caller]
fn says(script: &str, expected: &str) {
    let site = Site::new();
    let own = |what: &str| site.native(&format!("id {what}")).ok().trim().to_owned();
    let expected = expected.replace("{U}", &own("-u")).replace("{G}", &own("-g"));
    let said = site.session(&format!("exec 2>&1\nvu_insmod unrealuidgid || exit 99\n{script}"));
    assert_eq!(said.stdout(), expected, "{script}");
}

/// The same with a cow mount on `$W`.
#[track_caller]
fn says_in_cow(script: &str, expected: &str) {
    says(
        &format!("mkdir $D/up; cd $D; vumount -t vufs -o cow $D/up $W || exit 99; cd $W; umask 022\n{script}"),
        expected,
    );
}

#[test]
fn before_any_change_ids_are_the_real_ones() {
    says("id -u; id -g; grep -c CapEff:.0000000000000000 /proc/self/status", "{U}\n{G}\n1\n");
}

#[test]
fn every_change_is_allowed_and_inherited() {
    says(
        "python3 -c '
import os, subprocess, threading
os.setgroups([7, 3]); os.setresgid(1, 2, 3); os.setresuid(0, 5, 6)
print(os.getresuid(), os.getresgid(), sorted(os.getgroups()), os.geteuid(), os.getgid(), flush=True)
subprocess.run([\"python3\", \"-c\", \"import os; print(os.getresuid(), os.getresgid())\"])
pid = os.fork()
if pid == 0:
    os.setuid(9); print(os.getresuid(), flush=True); os._exit(0)
os.waitpid(pid, 0)
print(os.getresuid(), flush=True)
t = threading.Thread(target=lambda: (os.setresuid(0, 0, 0), print(os.getresuid(), flush=True))); t.start(); t.join()
print(os.getresuid())
for bad in (lambda: os.setuid(-1 & 0xffffffff), lambda: os.setgroups([0xffffffff])):
    try: bad()
    except (OSError, OverflowError) as e: print(type(e).__name__)
'; id -u",
        // The C library changes the ids of all threads.
        "(0, 5, 6) (1, 2, 3) [3, 7] 5 1\n(0, 5, 5) (1, 2, 2)\n(9, 9, 9)\n(0, 5, 6)\n(0, 0, 0)\n(0, 0, 0)\nOSError\nOSError\n{U}\n",
    );
}

#[test]
fn proc_and_sockets_tell_the_virtual_ids() {
    says(
        "vusu -c 'grep -E \"^(Uid|Gid|Groups|CapPrm|CapEff)\" /proc/self/status; cd /proc/self; head -c 0 status; grep -c Uid:.0 status; cat task/*/status | grep -c ^Gid:.0'
        vusu -c 'sleep 60 & cat /proc/$!/status > /proc/self/fd/1; kill $!' | grep ^Uid
        vusu daemon -s /bin/sh -c 'grep CapEff /proc/self/status'
        python3 -c '
import os, socket, struct
a, b = socket.socketpair(); os.setresgid(4, 4, 4); os.setresuid(3, 3, 3)
print(struct.unpack(\"3i\", a.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1:], a.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE))'",
        "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t0 \nCapPrm:\t000001ffffffffff\nCapEff:\t000001ffffffffff\n1\n1\nUid:\t0\t0\t0\t0\nCapEff:\t0000000000000000\n(3, 4) 1\n",
    );
}

#[test]
fn capabilities_follow() {
    says(
        "vusu -c 'setpriv --dump | grep -E \"uid|Capability bounding|Securebits\" | cut -c1-40; setpriv --reuid 5 --inh-caps=-all grep CapPrm /proc/self/status
        capsh --keep=1 --uid=5 --caps=cap_chown=eip -- -c \"grep Cap[PE] /proc/self/status\"; capsh --drop=cap_chown -- -c \"grep CapE /proc/self/status\"; capsh --secbits=1 --print | grep -c secure-noroot:.yes'",
        "uid: 0\neuid: 0\nCapability bounding set: chown,dac_overr\nSecurebits: [none]\nCapPrm:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapEff:\t000001fffffffffe\n1\n",
    );
}

#[test]
fn becoming_another_user() {
    let site = Site::new();
    assert!(site.session("vusu -c id").refused(1).contains("vu_insmod unrealuidgid"));
    says(
        "vusu -c 'id; echo $HOME $SHELL $USER' | sed \"s/ $USER$/ same/\"; X=1 vusu - 1 -s /bin/sh -c 'echo $0 $X $HOME $USER $LOGNAME $PATH; pwd'; vusu - -s /bin/sh -c 'echo $HOME $USER $PATH' 2> /dev/null; X=1 HOME=/x vusu -p -c 'echo $X $HOME'; vusu daemon -s /bin/sh -c 'echo $0 $1 $HOME $USER; vusu -c \"id -u\"' name arg
        vusu nobody-of-that-name; echo $?; vusu -s /missing; echo $?; echo 'id -u; exit 7' | vusu; echo $?; vusu 1 -s /bin/sh -c 'id -un'",
        "uid=0(root) gid=0(root) groups=0(root)\n/root /bin/bash same\n-sh /usr/sbin daemon daemon /usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games\n/usr/sbin\n/root root /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n1 /x\nname arg /usr/sbin daemon\n0\nvusu: there is no user 'nobody-of-that-name'\n1\nvusu: /missing: No such file or directory\n127\n0\n7\ndaemon\n",
    );
}

#[test]
fn what_is_made_in_a_cow_mount_belongs_to_the_virtual_user() {
    says_in_cow(
        "vusu -c 'touch f; mkdir d; ln -s x l; mkfifo p; mknod null c 1 3; install -o daemon -g 3 zero inst; echo x > d/in; cp f h; mv f g; chown 4:5 h'; stat -c '%n %u:%g %F' d d/in g h inst l null p; vusu 1 -s /bin/sh -c 'echo > of1'; echo > mine; stat -c %u:%g of1 mine
        vusu -c 'mkdir s; chgrp 8 s; chmod 2755 s; mkdir s/d; touch s/f'; stat -c %u:%g:%a s s/d s/f; cd $D; vuumount $W; find up -uid 0 | wc -l",
        "d 0:0 directory\nd/in 0:0 regular file\ng 0:0 regular empty file\nh 4:5 regular empty file\ninst 1:3 regular empty file\nl 0:0 symbolic link\nnull 0:0 character special file\np 0:0 fifo\n1:1\n{U}:{G}\n0:8:2755\n0:8:2755\n0:8:644\n0\n",
    );
}

#[test]
fn archives_of_root_s_files() {
    says_in_cow(
        "mkdir a; echo x > a/x; mkdir -m 700 a/sub; echo y > a/sub/y; chmod 640 a/x; tar c --owner=root --group=daemon a > a.tar; rm -r a; vusu -c 'tar xpf a.tar && mknod a/null c 1 3 && chown 5:6 a/sub/y && chmod 4711 a/x && tar c --sort=name --numeric-owner a' | tar tv --numeric-owner | awk '{print $1, $2, $NF}'; vusu -c 'rm -r a && ls'",
        "drwxr-xr-x 0/1 a/\ncrw-r--r-- 0/0 a/null\ndrwx------ 0/1 a/sub/\n-rw-r--r-- 5/6 a/sub/y\n-rws--x--x 0/1 a/x\na b\na.tar\nabsolute\nabsolutedir\ndangling\ndir\nempty\nfifo\nfile\nhard\nlink\nlinkdir\nloop\nmany\nscript\nzero\n",
    );
}

#[test]
fn set_id_bits_are_honoured() {
    says_in_cow(
        "cp $(command -v id) id; vusu -c 'chown 1:8 id; chmod 6755 id'; ./id -u; ./id -ru; ./id -g; python3 -c 'import os; fd = os.open(\"id\", os.O_RDONLY); os.execve(fd, [\"id\", \"-u\"], {})'
        cp script s; echo '#!/bin/sh' > s; echo 'id -u' >> s; vusu -c 'chown root s; chmod 4755 s'; ./s; setpriv --no-new-privs ./id -u; cp id plain; ./plain -u",
        "1\n{U}\n8\n1\n{U}\n{U}\n{U}\n",
    );
}

#[test]
fn the_host_s_own_files_are_not_pretended() {
    says(
        "cd $W; vusu -c 'chown 3 file; touch $W/new; stat -c %u:%g $W/new; chmod 600 /etc/passwd'; ls $W/new | wc -l",
        "chown: changing ownership of 'file': Operation not permitted\n{U}:{G}\nchmod: changing permissions of '/etc/passwd': Operation not permitted\n1\n",
    );
}

#[test]
fn without_the_module_they_are_real_again() {
    says(
        "vusu -s /bin/bash <<'end'\nid -u; vu_rmmod unrealuidgid; id -u; grep -c Uid:.{U} /proc/self/status; vu_insmod unrealuidgid; id -u\nend\n"
            .replace("{U}", "$(id -u)")
            .as_str(),
        "0\n{U}\n1\n{U}\n",
    );
}

/// As [`says`], started with the module, and other views know nothing of it.
#[test]
fn it_can_be_there_from_the_start() {
    let site = Site::new();
    let seen = site.umvu(&["--norc", "-m", "unrealuidgid", "--", "sh", "-c", "vusu -c 'id -u'; id -u"], b"").ok();
    assert_eq!(seen, format!("0\n{}", site.native("id -u").ok()));
}

#[test]
fn ids_of_16_bits() {
    let expected = "setuid16 0\nsetuid16: 70 70 70, short 70 70\nsetresuid32 0\nsetresuid32: 70 70000 70, short 70 65534\nsetresuid16 0\nsetresuid16: 70 3 70, short 70 3\nsetreuid16 0\nsetreuid16: 4 3 3, short 4 3\nsetuid16 of nobody -22, setuid32 -22\nsetfsuid16 3 9\nsetgroups 0\n";
    for (flavour, more) in [
        (Flavour::Dynamic, ""),
        (Flavour::I386, "getgroups16 2 2 8 65534\ngetresgid32 0\ntoo few: -22, a bad address: -14\n"),
    ] {
        let program = helper("identities", flavour);
        says(&program.display().to_string(), &format!("{expected}{more}"));
    }
}
