//! Virtual users and groups: the module `unrealuidgid`, and `vusu`.

use crate::harness::{Flavour, Site, UMVU, difference, helper, run};
use nix::unistd::geteuid;
use std::process::Command;

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
fn who_has_become_nobody_becomes_anybody() {
    says(
        "python3 -c '
import os, subprocess, threading
os.setgroups([7, 3]); os.setresgid(1, 2, 3); os.setresuid(0, 5, 6)
print(os.getresuid(), os.getresgid(), sorted(os.getgroups()), os.geteuid(), os.getgid(), flush=True)
subprocess.run([\"python3\", \"-c\", \"import os; print(os.getresuid(), os.getresgid())\"])
pid = os.fork()
if pid == 0:
    try: os.setuid(9)
    except OSError as e: print(e.strerror, flush=True)
    os.setuid(6); print(os.getresuid(), flush=True); os._exit(0)
os.waitpid(pid, 0)
print(os.getresuid(), flush=True)
t = threading.Thread(target=lambda: (os.setresuid(0, 0, 0), print(os.getresuid(), flush=True))); t.start(); t.join()
print(os.getresuid())
for bad in (lambda: os.setuid(-1 & 0xffffffff), lambda: os.setgroups([0xffffffff])):
    try: bad()
    except (OSError, OverflowError) as e: print(type(e).__name__)
'; id -u",
        // The C library changes the ids of all threads.
        "(0, 5, 6) (1, 2, 3) [3, 7] 5 1\n(0, 5, 5) (1, 2, 2)\nOperation not permitted\n(0, 6, 6)\n(0, 5, 6)\n(0, 0, 0)\n(0, 0, 0)\nOSError\nOSError\n{U}\n",
    );
}

/// sudo and sshd complain of a log that they may not write to.
#[test]
fn the_hosts_log_does_not_hear_of_virtual_users() {
    says_in_cow(
        "vusu -c 'python3 -c \"import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9)\" 2>&1 | tail -1'; python3 -c 'import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9)'",
        "OSError: [Errno 93] Protocol not supported\n",
    );
}

#[test]
fn sockets_tell_the_virtual_groups() {
    says(
        "vusu -c 'python3 -c \"
import os, socket
GROUPS = 59 # SO_PEERGROUPS
os.setgroups([3, 4])
a, b = socket.socketpair()
print(a.getsockopt(socket.SOL_SOCKET, GROUPS, 8), len(a.getsockopt(socket.SOL_SOCKET, GROUPS, 64)))
try: a.getsockopt(socket.SOL_SOCKET, GROUPS, 7)
except OSError as e: print(e.strerror)
os.setgroups([])
print(len(a.getsockopt(socket.SOL_SOCKET, GROUPS, 64)))
\"'",
        "b'\\x03\\x00\\x00\\x00\\x04\\x00\\x00\\x00' 8\nNumerical result out of range\n0\n",
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
        "vusu -c 'touch f; mkdir d; ln -s x l; mkfifo p; mknod null c 1 3; install -o daemon -g 3 zero inst; echo x > d/in; cp f h; mv f g; chown 4:5 h'; stat -c '%n %u:%g %F' d d/in g h inst l null p; vusu -c 'chmod 777 .'; vusu 1 -s /bin/sh -c 'echo > of1'; echo > mine; stat -c %u:%g of1 mine
        vusu -c 'mkdir s; chgrp 8 s; chmod 2755 s; mkdir s/d; touch s/f'; stat -c %u:%g:%a s s/d s/f; cd $D; vuumount $W; find up -uid 0 | wc -l",
        "d 0:0 directory\nd/in 0:0 regular file\ng 0:0 regular empty file\nh 4:5 regular empty file\ninst 1:3 regular empty file\nl 0:0 symbolic link\nnull 0:0 character special file\np 0:0 fifo\n1:1\n{U}:{G}\n0:8:2755\n0:8:2755\n0:8:644\n0\n",
    );
}

#[test]
fn what_all_names_of_a_file_have_in_common() {
    says_in_cow(
        "vusu -c 'mkdir n; cd n; touch a; ln a b; chown 3:4 a; ln b c; chmod 4755 c; stat -c \"%n %u:%g %a\" a b c; setfattr -n trusted.t -v v b; getfattr -n trusted.t --only-values c; echo; setfattr -x trusted.t a; getfattr -d -m - b
        mkfifo p; ln p q; chown 5 q; stat -c %u p; touch o; chown 6 o; ln o o2; mv c o; stat -c \"%n %u:%g %h\" o o2'; cd $D; vuumount $W; mkdir none; vufsdiff --tar - up none | tar tv --numeric-owner | grep -E \"n/(a|b|o|o2|p|q)\" | awk \"{print \\$1, \\$2, \\$6}\"; vumount -t vufs -o cow up $W; cd $W/n
        vusu -c 'stat -c \"%n %u:%g %a %h\" a b o p; rm a o; stat -c \"%n %u:%g %a %h\" b; rm b p q; ls'; find $D/up/.- -name '*same*'",
        "a 3:4 4755\nb 3:4 4755\nc 3:4 4755\nv\n5\no 3:4 3\no2 6:0 1\n-rwsr-xr-x 3/4 n/a\nhrwsr-xr-x 3/4 n/b\nhrwsr-xr-x 3/4 n/o\n-rw-r--r-- 6/0 n/o2\nprw-r--r-- 5/0 n/p\nhrw-r--r-- 5/0 n/q\na 3:4 4755 3\nb 3:4 4755 3\no 3:4 4755 3\np 5:0 644 2\nb 3:4 4755 1\no2\n",
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
    let expected = "setuid16 0\nsetuid16: 0 0 0, short 0 0\nsetresuid32 0\nsetresuid32: 0 70000 0, short 0 65534\nsetresuid16 0\nsetresuid16: 0 3 0, short 0 3\nsetreuid16 0\nsetreuid16: 4 0 0, short 4 0\nsetuid16 of nobody -22, setuid32 -22\nsetfsuid16 0 9\nsetgroups 0\n";
    for (flavour, more) in [
        (Flavour::Dynamic, ""),
        (Flavour::I386, "getgroups16 2 2 8 65534\ngetresgid32 0\ntoo few: -22, a bad address: -14\n"),
    ] {
        let program = helper("identities", flavour);
        says(&program.display().to_string(), &format!("{expected}{more}"));
    }
}

#[test]
fn what_root_gives_up_is_given_up() {
    // As apt's methods make sure of it, when they have become the user _apt.
    says(
        r#"python3 -c '
import os
def tries(*calls):
    for call in calls:
        try: call(); print("done", end=" ")
        except OSError as e: print(e.errno, end=" ")
    print(flush=True)
os.setuid(os.getuid()); os.setgroups([7])
os.setresgid(0, 0, 0); os.setresuid(0, 0, 0)
os.setgroups([42]); os.setresgid(42, 42, 42); os.setresuid(42, 42, 42)
tries(lambda: os.setuid(0), lambda: os.seteuid(0), lambda: os.setreuid(-1, 0), lambda: os.setgid(0), lambda: os.setgroups([0]), lambda: os.setuid(42), lambda: os.chroot("/"))
print(os.getresuid(), os.getgroups(), flush=True)
os.execvp("vusu", ["vusu", "-c", "id -u"])'
        vusu daemon -s /bin/sh -c 'python3 -c "import os; os.setuid(0)" 2>&1 | tail -n 1; setpriv --no-new-privs vusu -c id'; echo $?"#,
        "1 1 1 1 1 done 1 \n(42, 42, 42) [42]\n0\nPermissionError: [Errno 1] Operation not permitted\nvusu: cannot become root: Operation not permitted\n1\n",
    );
}

#[test]
fn kept_owners_and_modes_decide() {
    says_in_cow(
        r#"as() { u=$1; shift; vusu $u -s /bin/sh -c "$*"; }
        as root 'echo secret > secret; chmod 600 secret; mkdir shut open; chmod 700 shut; echo x > shut/x; chmod 1777 open; echo r > open/r; cp /bin/true prog; chmod 750 prog; chgrp daemon prog'
        as daemon 'cat secret; echo > secret; cat shut/x; ls shut; cd shut; rm open/r; echo d > open/d; stat -c %U open/d; ./prog; echo $?; touch new; chmod 644 secret; chown daemon secret; mv open open2; ln -s x l2; test -r secret; echo $?; (ls -l /proc/self/fd > /dev/null && echo own)'
        as bin 'echo b >> open/d; ./prog; rm open/d'
        as root 'cat secret shut/x; chmod 0 secret shut; cat secret shut/x; stat -c %a secret shut; rm open/d; chmod 644 prog; ./prog; test -x prog; echo $?'
        stat -c %a $D/up/secret"#,
        "cat: secret: Permission denied\nsh: 1: cannot create secret: Permission denied\ncat: shut/x: Permission denied\nls: cannot open directory 'shut': Permission denied\nsh: 1: cd: can't cd to shut\nrm: cannot remove 'open/r': Operation not permitted\ndaemon\n0\ntouch: cannot touch 'new': Permission denied\nchmod: changing permissions of 'secret': Operation not permitted\nchown: changing ownership of 'secret': Operation not permitted\nmv: cannot move 'open' to 'open2': Permission denied\nln: failed to create symbolic link 'l2': Permission denied\n1\nown\nsh: 1: cannot create open/d: Permission denied\nsh: 1: ./prog: Permission denied\nrm: cannot remove 'open/d': Operation not permitted\nsecret\nx\nsecret\nx\n0\n0\nsh: 1: ./prog: Permission denied\n1\n600\n",
    );
}

#[test]
fn access_control_lists_decide() {
    says_in_cow(
        "as() { u=$1; shift; vusu $u -s /bin/sh -c \"$*\"; }
        as root 'echo x > x; chmod 600 x; setfacl -m u:daemon:r x; mkdir d; chmod 700 d; setfacl -m g:bin:x d; echo y > d/y'
        as daemon 'cat x; echo >> x; cat d/y'; as bin 'cat d/y; ls d; cat x'",
        "x\nsh: 1: cannot create x: Permission denied\ncat: d/y: Permission denied\ny\nls: cannot open directory 'd': Permission denied\ncat: x: Permission denied\n",
    );
}

/// Nobody is hindered by what they, or others, have forbidden themselves on the host.
#[test]
fn root_is_let_at_what_the_user_has_shut() {
    says_in_cow(
        r#"mkdir -p d/e; echo x > d/e/f; chmod 0 d/e/f d/e d; vusu -c 'cat d/e/f; echo y > d/e/g; ln d/e/g d/e/h; rm d/e/f; stat -c %a:%u d d/e | sed "s/:$(stat -c %u many)/:own/"; ls d/e; cp /bin/echo d/e/run; chmod 111 d/e/run; d/e/run ran; mkdir -m 0 z; touch z/in; ls z; umask 777; echo > m; cat m; stat -c %a m z; mkfifo p; test -w p && echo w'"#,
        "x\n0:own\n0:own\ng\nh\nran\nin\n\n0\n0\nw\n",
    );
}

#[test]
fn device_nodes_that_are_kept_are_the_host_s_devices() {
    says_in_cow(
        r#"vusu -c 'mknod null c 1 3; mknod -m 600 zero2 c 1 5; mknod none c 240 99; echo x > null; wc -c < null; head -c 3 zero2 | od -An -tx1; cat none; stat -c "%n %F %t,%T %a" null zero2; python3 - <<end
import os
fd = os.open("zero2", os.O_RDWR)
print(oct(os.fstat(fd).st_mode), os.fstat(fd).st_uid, os.readlink("/proc/self/fd/%d" % fd) == os.path.realpath("zero2"))
os.fchmod(fd, 0o640)
os.chmod("/proc/self/fd/%d" % os.open("null", os.O_PATH), 0o604)
end
stat -c %a null zero2 /dev/null'; vusu daemon -s /bin/sh -c 'echo > zero2; cat null'; find $D/up -type c"#,
        "0\n 00 00 00\ncat: none: No such device or address\nnull character special file 1,3 644\nzero2 character special file 1,5 600\n0o20600 0 True\n604\n640\n666\nsh: 1: cannot create zero2: Permission denied\n",
    );
}

#[test]
fn programs_are_told_the_virtual_ids_when_they_begin() {
    says_in_cow(
        r#"cat > aux.c <<'end'
#include <stdio.h>
#include <sys/auxv.h>
int main(void) { printf("%lu %lu %lu %lu %lu\n", getauxval(AT_UID), getauxval(AT_EUID), getauxval(AT_GID), getauxval(AT_EGID), getauxval(AT_SECURE)); }
end
gcc -o aux aux.c && gcc -m32 -o aux32 aux.c && for p in ./aux ./aux32; do vusu -c $p; vusu -c "chown 1:8 $p; chmod 6755 $p"; vusu -c $p; done; ./aux | cut -d' ' -f 2,4,5"#,
        "0 0 0 0 0
0 1 0 8 1
0 0 0 0 0
0 1 0 8 1
1 8 1
",
    );
}

#[test]
fn the_files_of_a_process_are_its_virtual_user_s() {
    says(
        "vusu daemon -s /bin/sh -c 'sleep 100 & stat -c %u /proc/$! /proc/$!/status /proc/self/fd /proc/self/task/$$ 2>/dev/null; cd /proc; stat -c %u $!; python3 -c \"import os; print(os.stat(\\\"/proc/self\\\").st_uid)\"; ps -o user= -p $!; kill $!'; stat -Lc %u /proc/self",
        "1\n1\n1\n1\n1\ndaemon\n{U}\n",
    );
}

/// What random users do to files has the same results as if they were real.
#[test]
fn random_users_may_what_the_kernel_lets_them() {
    if !geteuid().is_root() {
        eprintln!("not compared with the kernel: that takes root");
        return;
    }
    let program = include_str!("../python/permissions.py");
    for seed in ["1", "2", "3", "4", "5", "6", "8", "9"] {
        let site = Site::new();
        std::fs::create_dir(site.path().join("native")).unwrap();
        let mut native = Command::new("python3");
        native.args(["-", seed, "100"]).current_dir(site.path().join("native"));
        let native = run(native, program.as_bytes());
        let script = "mkdir $D/up $D/low && vumount -t vufs -o cow $D/up $D/low && cd $D/low && exec vusu -c \"exec python3 - $0 100\"";
        let mut view = site.user_command(&*UMVU);
        view.args(["--norc", "-m", "vufs,unrealuidgid", "--", "sh", "-c", script, seed]);
        let view = run(view, program.as_bytes());
        let all = |ran: &crate::harness::Ran| ran.stdout() + &ran.stderr();
        assert!(native.stdout().lines().count() > 100, "{}", all(&native));
        assert!(all(&native) == all(&view), "seed {seed}:\n{}", difference(&all(&native), &all(&view)));
    }
}
