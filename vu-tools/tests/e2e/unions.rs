//! The modes `merge`, `cow` and `mincow` of vufs: two directories as one.
//!
//! What happens in a `cow` mount must be what would happen in an ordinary directory with the same content; so most tests run a script in one and in the
//! other. Afterwards B must be as it was, to the last time stamp.

use crate::harness::{Flavour, Site, difference, helper};

/// What can be told of a tree, its access times aside.
const TELL: &str = "find . -printf '%p %y %m %U:%G %T@ %C@ %n %l\\n' | sort; find . -type f -exec md5sum {} + | sort";

/// Mounts A over B, which is `$W`, and goes there.
const MOUNT: &str = "mkdir -p $D/up && vumount -t vufs -o cow $D/up $W && cd $W || exit 99\n";

/// Runs a script in a directory, and in a cow mount with the same content, and fails if it can tell the difference.
#[track_caller]
fn as_in_a_directory(script: &str) {
    let site = Site::new();
    let told = "cd $W; echo '--- tree'; LC_ALL=C ls -R . 2>&1; find . -type f | sort | while read f; do echo \"$f: $(md5sum < \"$f\" 2>&1)\"; done";
    let native = site.native(&format!("exec 2>&1; cd $W; {script}\n{told}")).stdout();
    site.reset();
    let before = site.native(TELL).stdout();
    let seen = site.session(&format!("exec 2>&1\n{MOUNT}{script}\n{told}")).stdout();
    assert!(native == seen, "{script}\ndiffers:\n{}", difference(&native, &seen));
    let after = site.native(TELL).stdout();
    assert!(before == after, "{script}\nB has changed:\n{}", difference(&before, &after));
    let again = site.session(&format!("exec 2>&1\n{MOUNT}{told}")).stdout();
    let tree = |text: &str| text[text.find("--- tree").unwrap_or(0)..].to_owned();
    assert!(tree(&again) == tree(&seen), "{script}\nmounted again:\n{}", difference(&tree(&seen), &tree(&again)));
}

#[test]
fn writing_and_creating() {
    as_in_a_directory(
        "echo more >> file; cat file; echo new > dir/new; cat dir/new; cp file dir/sub/copy; echo x > dir/sub/deep/file; : > zero; mkdir -p dir/sub/a/b/c; echo y > dir/sub/a/b/c/y; ls dir/sub",
    );
    as_in_a_directory(
        "echo longer content >> dir/lines; sed -i s/two/2/ dir/lines; cat dir/lines; truncate -s 3 dir/sub/inner; cat dir/sub/inner; truncate -s 0 'a b/c d'; dd if=/dev/zero of=dir/sub/deep/file bs=1 count=2 conv=notrunc status=none; od -c dir/sub/deep/file",
    );
    as_in_a_directory(
        "set -C; (echo x > file) 2> /dev/null; echo $?; set +C; echo y >| file; cat file; mkdir dir; mkdir file; ln -s a link; mkfifo fifo; mknod script p; echo $?",
    );
    as_in_a_directory(
        "cd dir/sub; echo one > ../../one; cat ../../one; cd ../..; echo t > dir/up; cat dir/sub/inner; echo u > absolute; cat file; echo v > dangling; cat missing",
    );
}

#[test]
fn what_is_done_on_behalf_of_a_process() {
    let program = helper("on_behalf", Flavour::Dynamic);
    as_in_a_directory(&format!("{} umasks acl flags no_descriptors changes leases affinity", program.display()));
}

#[test]
fn what_a_descriptor_an_address_or_a_rule_names() {
    as_in_a_directory(helper("by_descriptor", Flavour::Dynamic).to_str().unwrap());
}

/// The look that found nothing there is remembered for a moment, and must not be taken for leave to make it on the host.
#[test]
fn a_socket_is_made_where_something_was_missing_a_moment_ago() {
    let program = "import os, socket
name = os.getcwd() + '/socket'
for look in os.unlink, os.stat, lambda name: socket.socket(socket.AF_UNIX).connect(name):
    try: look(name)
    except OSError as error: print(error.errno)
    made = socket.socket(socket.AF_UNIX)
    made.bind(name)
    made.listen()
    socket.socket(socket.AF_UNIX).connect(name)
    print(sorted(os.listdir()))
    os.unlink(name)";
    as_in_a_directory(&format!("python3 -c \"{program}\""));
}

#[test]
fn directories_that_are_open_while_they_change() {
    let program = helper("open_directories", Flavour::Dynamic);
    as_in_a_directory(&format!("{} locks", program.display()));
    // As 32-bit programs see them, in a directory that was copied up, and where something lies below already.
    as_in_a_directory(helper("open_directories", Flavour::I386).to_str().unwrap());
    let program = helper("open_directories", Flavour::Static);
    as_in_a_directory(&format!("echo x > dir/one; touch dir/sub/two; {}", program.display()));
}

#[test]
fn what_32_bit_programs_are_told() {
    let program = helper("attributes", Flavour::I386);
    let program = program.display();
    as_in_a_directory(&format!("{program} file dir dir/sub link empty missing file/ dangling dir/lines/x"));
    as_in_a_directory(&format!(
        "chmod 604 dir/lines; mkdir made; echo x > made/x; touch -d @1.5 made/x made; rmdir empty; {program} dir/lines dir/ made made/x empty"
    ));
}

#[test]
fn what_is_asked_of_an_object() {
    as_in_a_directory(helper("objects", Flavour::Dynamic).to_str().unwrap());
}

#[test]
fn removing() {
    as_in_a_directory(
        "mkdir gone; cd gone; rmdir ../gone; ls -a; stat -c '%F %h' . ./; [ -d . ] && echo there; mkdir x; touch y; ls ./x; cd .; echo $?; cd ..; ls -d gone; mkdir dir/g; cd dir/g; rm -r ../../dir; ls; stat -c %F .; echo *; find .; echo $?",
    );
    as_in_a_directory(
        "rm file; ls file; cat file; rm dir/lines; ls dir; rmdir dir; rm -r dir; ls; ls dir; rmdir empty; ls empty; echo back > file; cat file; mkdir dir; ls dir; ls -a dir | wc -l; echo in > dir/in; ls dir",
    );
    as_in_a_directory(
        "rm -r dir && mkdir dir && ls dir; mkdir dir/sub; ls dir/sub; rm -r dir; mkdir -p dir/sub/deep; find dir; rmdir -p dir/sub/deep; ls -d dir",
    );
    as_in_a_directory(
        "rm zero; mkdir zero; touch zero/x; ls zero; rm -r zero; ln -s file zero; cat zero; rm zero; mkfifo zero; stat -c %F zero; rm zero; echo z > zero; cat zero",
    );
    as_in_a_directory(
        "rm dir; rmdir file; rmdir many; rm missing; unlink dir; rmdir dir/sub; rm dir/sub/; rmdir .; rmdir dir/..; rm link/; rmdir dir/sub/.; echo $?",
    );
    as_in_a_directory(
        "cd dir/sub; rm -r ../../dir 2>/dev/null; pwd; touch x; mkdir d; cd $W; ls -d dir; mkdir e; cd e; mv ../e ../f; /bin/pwd; touch in; ls ../f",
    );
    as_in_a_directory(
        "rm many/f1; for i in 1 2 3 4; do rm many/f1$i; done; ls many; rm many/*; rmdir many && mkdir many && ls -a many",
    );
}

#[test]
fn renaming() {
    as_in_a_directory(
        "mv file moved; ls; cat moved; mv moved dir/; ls dir; mv dir/lines file; cat file; mv zero file; cat file; mv -n link file; mv many/f1 many/f2; cat many/f2; ls many | wc -l",
    );
    as_in_a_directory(
        "mv dir moved; ls; ls -R moved; cat moved/sub/inner; mkdir dir; ls dir; mv moved/sub dir/; ls dir; mv dir/sub/deep empty; ls empty; mv many many2; mv many2 many; ls many | wc -l",
    );
    as_in_a_directory(
        "mkdir d; mv file d/file; mv d dir/d; ls dir dir/d; mv dir/d e; mv -T e empty; ls empty; cat empty/file; mv -T empty many; mv -T dir/sub file; mv -T zero dir; echo $?",
    );
    as_in_a_directory(
        "echo changed >> file; mv file renamed; ls file; cat file; echo again > file; cat file renamed; rm file renamed; ls",
    );
    as_in_a_directory(
        "mkdir a; mkdir a/b; mv a a/b/c; mv a/b a; mv dir dir/sub/x; echo $?; cd a; mv ../a ../c; pwd -P; touch in; ls ../c; cd $W; rm -r c",
    );
}

#[test]
fn links() {
    as_in_a_directory(
        "ln dir/lines l1; ln l1 dir/sub/l2; echo four >> dir/sub/l2; cat dir/lines; [ l1 -ef dir/lines ] && echo same; stat -c %h l1; rm dir/lines; stat -c %h l1; ln -s dir/sub s; cat s/inner; ln file dir; ln dir d2; ln missing m; ln l1 file; echo $?",
    );
    as_in_a_directory(
        "ln -sfn dir/sub link; ls link/; readlink link; rm link; ln -s many link; ls link/ | wc -l; ln -s $W/dir/lines abs; cat abs; echo five >> abs; tail -1 dir/lines",
    );
}

#[test]
fn attributes() {
    as_in_a_directory(
        "chmod 600 file; stat -c '%a %s' file; chmod 700 dir; stat -c %a dir; touch -d '2001-02-03 04:05:06' dir/lines; stat -c %y dir/lines; chmod u-w zero; stat -c %A zero; touch -h -d 2002-02-02 link; stat -c %y link; chmod +x dir/sub/inner; [ -x dir/sub/inner ] && echo executable",
    );
    as_in_a_directory(
        "stat -c '%y %a' dir dir/sub dir/sub/deep; echo x >> dir/sub/deep/file; stat -c '%y %a' dir dir/sub dir/sub/deep; chmod 700 dir/sub/inner; stat -c %y dir dir/sub dir/sub/inner",
    );
    as_in_a_directory(
        "[ dir -nt file ] && echo newer; rm dir/lines; [ dir -nt file ] && echo newer; touch many/f1; [ many -nt file ] && echo many newer; mv dir/up .; test -w file && echo w; test -w dir && echo w; test -w missing || echo no",
    );
}

#[test]
fn modes_and_umasks() {
    as_in_a_directory(
        "for u in 0 002 022 077 0777; do umask $u; mkdir d$u; mkfifo p$u; : > f$u; mkdir -m 1751 k$u; umask 022; stat -c '%a %n' ?$u; done; rm f0777",
    );
    as_in_a_directory(
        "mkdir -m 300 new; for d in new dir; do chmod 300 $d; (cd $d 2> /dev/null && pwd && mkdir below && ls -d below); ls $d; chmod 600 $d; (cd $d 2> /dev/null && pwd); ls -d $d/below; chmod 700 $d; ls $d; done; \
         mkdir -m 300 a b; mkdir b/c d; rmdir a; rmdir b; chmod 0 d; mv -T empty d; ls -d a b d; chmod 700 b; ls b",
    );
}

#[test]
fn names_with_slashes_and_rights_in_store() {
    as_in_a_directory(
        "ln -T file missing/; ls missing; for f in file link dangling missing; do for c in 'touch -c' 'touch -h' 'chmod 600' 'chown 0' 'touch -a'; do $c $f/; echo $?; done; done; touch -d 2009-10-10 -h linkdir/; stat -c %y dir | cut -c1-10",
    );
    as_in_a_directory(
        "mkdir acl; setfattr -n system.posix_acl_default -v 0x0200000001000700ffffffff04000700ffffffff20000500ffffffff acl; echo $?; umask 077; mkdir acl/d; mkfifo acl/p; : > acl/f; stat -c '%a %n' acl/*; getfattr -d -m - acl/d",
    );
}

#[test]
fn paths_of_the_greatest_length() {
    // In A they are longer than the kernel takes.
    as_in_a_directory(
        "p=$W; while [ ${#p} -lt 3800 ]; do p=$p/$(printf %0200d 0); done; mkdir -p $p; n=$((4094 - ${#p})); f=$p/$(printf %0${n}d 1); g=$p/$(printf %0${n}d 2); d=$p/$(printf %0${n}d 3);          echo one > $f; cat $f; echo two >> $f; chmod 640 $f; stat -c '%a %s' $f; ln $f $g; stat -c %h $g; ln -s $f ${g%?}4 && readlink ${g%?}4 | wc -c; cat ${g%?}4; mkfifo ${g%?}5; stat -c %F ${g%?}5;          mv $g ${g%?}6; cat ${g%?}6; truncate -s 2 $f; cat $f; touch -d 2001-01-01 $f; stat -c %y $f; mkdir $d; ls $d; cd $d && touch x; ls; cd $W; ls $d; rm $d/x; rm $f/; rm $f $d ${f}1; rmdir $d;          cp /bin/echo $f; $f run; ls $p | wc -l; rm -r $W/000*; ls $W",
    );
}

#[test]
fn programs() {
    as_in_a_directory(
        "export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z' GIT_CONFIG_GLOBAL=/dev/null; rm fifo; git -c init.defaultBranch=m init -q .; git config user.name T; git config user.email t@e; git add .; git commit -qm one; echo x >> dir/lines; git status --short; git commit -qam two; git clone -q . clone; git -C clone log --format=%s; git checkout -q -b side HEAD~1; git status --short; git gc -q; git fsck; rm -rf .git clone; ls -A",
    );
    as_in_a_directory(
        "tar c dir many | (mkdir out; tar x -C out); diff -r dir out/dir && echo same; rsync -a dir/ out/rsynced/; diff -r dir out/rsynced && echo same; cp -a many out/; diff -r many out/many && echo same; rm -r dir; cp -a out/dir .; find dir | sort; cat dir/up",
    );
    as_in_a_directory(
        "printf 'all: prog\\nprog: main.o\\n\\tgcc -o prog main.o\\n%%.o: %%.c\\n\\tgcc -c $<\\n' > Makefile; printf '#include <stdio.h>\\nint main(void){puts(\"built\");}\\n' > main.c; make -s; ./prog; make -q && echo done; rm main.o prog; ls",
    );
    as_in_a_directory(
        "sqlite3 db 'create table t(a); insert into t values (1),(2); select sum(a) from t;'; sqlite3 db 'begin; delete from t; rollback; select count(*) from t; pragma integrity_check;'; rm db; ls",
    );
    as_in_a_directory(
        "python3 -c \"import os, mmap\nf = os.open('dir/lines', os.O_RDWR); m = mmap.mmap(f, 0); m[0:3] = b'ONE'; m.close(); os.close(f); print(open('dir/lines').read())\nos.replace('file', 'dir/file'); print(sorted(os.listdir('dir')), os.path.exists('file')); fd = os.open('many', os.O_RDONLY); os.unlink('f1', dir_fd=fd); print(len(os.listdir(fd))); os.mkdir('d', dir_fd=fd); print(os.listdir('many/d')); os.fchmod(fd, 0o711); print(oct(os.stat('many').st_mode)); r = os.open('zero', os.O_RDONLY); os.fchmod(r, 0o604); print(oct(os.stat('zero').st_mode)); os.utime(r, (1, 2)); print(os.stat('zero').st_mtime, os.fstat(fd).st_mtime > 3)\"",
    );
}

#[test]
fn programs_of_32_bits_list_directories() {
    let program = helper("hello", Flavour::I386);
    let site = Site::new();
    let seen = site.session(&format!("{MOUNT}{} exec", program.display()));
    assert!(seen.stdout().contains("dir: 5 entries"), "{}", seen.stdout());
}

/// What a script prints in a cow mount of `$D/up` over `$W`.
#[track_caller]
fn says(script: &str, expected: &str) {
    let site = Site::new();
    let said =
        site.session(&format!("exec 2>&1\n{MOUNT}{script}")).stdout().replace(site.path().to_str().unwrap(), "$D");
    assert_eq!(said, expected, "{script}");
}

#[test]
fn what_was_changed_is_in_a_and_what_was_not_is_not() {
    says(
        "echo x >> dir/lines; rm many/f1; chmod 600 zero; cat file > /dev/null; mkdir -p empty/e; vuumount $W; cd $D/up; find . | grep -v $'\\x7f' | sort; cat dir/lines; stat -c '%F %s' .-/many/f1 .-/many",
        ".\n./.-\n./.-/many\n./.-/many/f1\n./dir\n./dir/lines\n./empty\n./empty/e\n./many\n./zero\none\ntwo\nthree\nx\nregular empty file 0\ndirectory 4096\n",
    );
}

#[test]
fn opening_does_not_copy_and_truncating_copies_nothing() {
    says(
        "head -c 100000000 /dev/zero > $D/big; vuumount $W; mv $D/big dir/big; vumount -t vufs -o cow $D/up $W; cd $W
        exec 3< dir/big; head -c 1 <&3 | od -An -c; cd dir; cd ..; ls -l > /dev/null; find $D/up -mindepth 1 | wc -l; echo short > dir/big; cat dir/big; du -sk --apparent-size $D/up/dir/big; head -c 1 <&3 | od -An -c",
        "  \\0\n0\nshort\n1\t$D/up/dir/big\n  \\0\n",
    );
}

#[test]
fn what_fails_makes_and_empties_nothing() {
    // With a slash behind a file, where a directory is asked for, and where no descriptor is to be had; below, and when it has been changed.
    let script = "/usr/bin/python3 - <<'PYTHON'
import errno, os, resource, sys

EMPTIES = os.O_WRONLY | os.O_TRUNC

def fails(call, *arguments):
    try:
        print(call(*arguments))
    except OSError as error:
        print(errno.errorcode[error.errno], [(name, os.path.getsize(name)) for name in ('file', 'dir/lines')], os.listdir('empty'))

for name in ('file', 'dir/lines', 'dir/lines'):
    fails(os.truncate, name + '/', 0)
    fails(os.open, name + '/', EMPTIES)
    fails(os.open, name, EMPTIES | os.O_DIRECTORY)
    fails(os.open, name, EMPTIES | os.O_CREAT | os.O_EXCL)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    high = os.dup2(1, 100)
    resource.setrlimit(resource.RLIMIT_NOFILE, (30, limits[1]))
    held = []
    while len(held) < 30 and (not held or held[-1] < 29):
        held.append(os.open('/dev/null', os.O_RDONLY))
    for flags in (EMPTIES, os.O_RDONLY | os.O_TRUNC, EMPTIES | os.O_CREAT):
        fails(os.open, name, flags)
    for flags in (0, os.O_EXCL):
        fails(os.open, 'empty/new', os.O_WRONLY | os.O_CREAT | flags)
    os.close(held.pop())
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    for number in held + [high]:
        os.close(number)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    print(os.write(os.open(name, os.O_WRONLY | os.O_APPEND), b'changed'))
PYTHON";
    as_in_a_directory(script);
}

#[test]
fn holes_times_modes_and_links_are_copied() {
    says(
        "vuumount $W; truncate -s 50M dir/holes; echo end >> dir/holes; setfattr -n user.test -v value dir/holes; chmod 640 dir/holes; touch -d '2011-11-11 11:11:11' dir/holes; touch -d '2020-01-02 03:04:05' dir; vumount -t vufs -o cow $D/up $W; cd $W
        chmod 660 dir/holes; cd $D/up/dir; stat -c '%a %y %s' holes; [ $(stat -c %b holes) -lt 100 ] && echo sparse; getfattr -n user.test --only-values holes; echo; tail -c 4 holes; stat -c '%a %y' $D/up/dir",
        "660 2011-11-11 11:11:11.000000000 +0000 52428804\nsparse\nvalue\nend\n755 2020-01-02 03:04:05.000000000 +0000\n",
    );
}

#[test]
fn the_marks_are_seen_nowhere() {
    says(
        "rm file; ls -a | grep -c '^\\.-$'; ls .-; cat .-/file; mkdir .-; mkdir .-/x; touch .-; find . -name .- | wc -l; mv zero .-; echo $?; mkdir dir/.-; ls -a dir | grep -c '^\\.-$'",
        "0\nls: cannot access '.-': No such file or directory\ncat: .-/file: No such file or directory\nmkdir: cannot create directory ‘.-’: Operation not permitted\nmkdir: cannot create directory ‘.-/x’: No such file or directory\ntouch: cannot touch '.-': Operation not permitted\n0\nmv: cannot move 'zero' to '.-': Operation not permitted\n1\n1\n",
    );
}

#[test]
fn a_listing_can_be_rewound_and_follows() {
    says(
        "perl -e 'opendir D, \"many\" or die; my @a = readdir D; rewinddir D; my @b = readdir D; print scalar(@a), \" \", \"@a\" eq \"@b\" ? \"equal\" : \"different\", \"\\n\"; open F, \">many/new\"; close F; unlink \"many/f1\", \"many/f2\"; rewinddir D; my @c = readdir D; print scalar(@c), \" \", (grep { $_ eq \"new\" } @c) ? \"new\" : \"old\", \"\\n\"; rewinddir D; readdir D; readdir D; my $p = telldir D; my $x = readdir D; seekdir D, $p; print $x eq readdir D ? \"same\" : \"other\", \"\\n\"'",
        "22 equal\n21 new\nsame\n",
    );
}

#[test]
fn exceptions_and_unions_of_unions() {
    says(
        "vuumount $W; mkdir $D/up2; vumount -t vufs -o cow,except=/dir,except=/many/f1 $D/up $W; cd $W; echo x > dir/through; rm many/f1; vumount -t vufs -o cow $D/up2 $W; cd $W; echo two > zero; rm file; echo y > dir/kept; mkdir -p empty/a; mv many/f3 f3; cat f3; ls dir; vuumount $W; cat zero file; ls dir many/f3; vuumount $W; ls dir many/f1 many/f3; cd $D; find up up2 | grep -v $'\\x7f' | sort",
        "3\nkept\nlines\nsub\nthrough\nup\ncontent\nmany/f3\n\ndir:\nlines\nsub\nthrough\nup\nls: cannot access 'many/f1': No such file or directory\nmany/f3\n\ndir:\nlines\nsub\nthrough\nup\nup\nup2\nup2/.-\nup2/.-/file\nup2/.-/many\nup2/.-/many/f3\nup2/dir\nup2/dir/kept\nup2/empty\nup2/empty/a\nup2/f3\nup2/many\nup2/zero\n",
    );
}

#[test]
fn merge_adds_and_prevails() {
    says(
        "vuumount $W; mkdir -p $D/up/dir/more $D/up/only; echo upper > $D/up/file; echo more > $D/up/dir/more/f; vumount -t vufs -o merge $D/up $W; cd $W; cat file; ls dir only; echo no > file; rm file; mv file f2; chmod 600 file; touch only/x; mkdir dir/more/x; rmdir only; echo yes > dir/yes; rm dir/lines; echo z > zero; ls dir; test -w file || echo ro; vuumount $W; cat file zero dir/yes; ls dir; find $D/up | sort",
        "upper\ndir:\nlines\nmore\nsub\nup\n\nonly:\nbash: line 3: file: Read-only file system\nrm: cannot remove 'file': Read-only file system\nmv: cannot move 'file' to 'f2': Read-only file system\nchmod: changing permissions of 'file': Read-only file system\ntouch: cannot touch 'only/x': Read-only file system\nmkdir: cannot create directory ‘dir/more/x’: Read-only file system\nrmdir: failed to remove 'only': Read-only file system\nmore\nsub\nup\nyes\nro\ncontent\nz\nyes\nsub\nup\nyes\n$D/up\n$D/up/dir\n$D/up/dir/more\n$D/up/dir/more/f\n$D/up/file\n$D/up/only\n",
    );
}

#[test]
fn mincow_changes_what_it_may() {
    says(
        "vuumount $W; vumount -t vufs -o mincow $D/up /; cd $W; echo b > file; echo a > /etc/umvu-test; cat /etc/umvu-test; rm /etc/passwd; rm many/f1; ls /etc/passwd many/f1; echo '# x' >> /etc/profile; mkdir empty/b; mv script s2; cd $D; vuumount /; cat $W/file; ls /etc/umvu-test /etc/passwd $W/many/f1 $W/empty $W/s2; find $D/up | grep -v $'\\x7f' | sort",
        "a\nls: cannot access '/etc/passwd': No such file or directory\nls: cannot access 'many/f1': No such file or directory\nb\nls: cannot access '/etc/umvu-test': No such file or directory\nls: cannot access '$D/work/many/f1': No such file or directory\n/etc/passwd\n$D/work/s2\n\n$D/work/empty:\nb\n$D/up\n$D/up/.-\n$D/up/.-/etc\n$D/up/.-/etc/passwd\n$D/up/etc\n$D/up/etc/profile\n$D/up/etc/umvu-test\n",
    );
}

#[test]
fn names_of_one_file_stay_names_of_one_file() {
    as_in_a_directory(
        "stat -c %h file; echo more >> file; cat hard; stat -c %h file hard; [ file -ef hard ] && echo same; ln hard third; stat -c %h file; rm file; stat -c %h hard third; echo x >> third; cat hard; mv hard dir/; stat -c %h third; chmod 600 third; stat -c %a dir/hard; rm third; stat -c %h dir/hard; rm dir/hard",
    );
    as_in_a_directory(
        "rm file; stat -c %h hard; cat hard; echo x > hard; stat -c %h hard; mv hard file; cat file; mv zero file; ls",
    );
    as_in_a_directory(
        "cp -a . ../copy; [ ../copy/file -ef ../copy/hard ] && echo linked; touch -d 2001-01-01 hard; stat -c %y file; mv file hard; ls; rm -r ../copy",
    );
}

#[test]
fn links_that_are_open_have_the_names_of_a_bind_of_a_union() {
    let program = "import os, sys
os.chdir(sys.argv[1])
for flags in os.O_PATH | os.O_NOFOLLOW, os.O_PATH: print(os.readlink('/proc/self/fd/%d' % os.open('link', flags)))";
    for kind in ["merge", "cow"] {
        let site = Site::new();
        let said = site.session(&format!(
            "mkdir $D/up; vumount -t vufs -o {kind} $D/up $W; vumount -t vufs $W $M; exec /usr/bin/python3 -c \"{program}\" $M"
        ));
        let at = site.mount_point();
        assert_eq!(said.ok(), format!("{0}/link\n{0}/file\n", at.display()), "{kind}");
    }
}

/// Whatever is made under the name of a directory that was removed, a descriptor of that leads to nothing.
#[test]
fn what_is_open_in_a_union_or_a_bind_of_it() {
    let program = include_str!("../python/open_in_unions.py");
    let run = |mounts: &str, at: &str| {
        let site = Site::new();
        let script = format!(
            "cd $D; mkdir open up; cat > program.py <<'END'\n{program}\nEND\n{mounts}exec /usr/bin/python3 program.py {at}"
        );
        if mounts.is_empty() { site.native(&script).ok() } else { site.session(&script).ok() }
    };
    let native = run("", "$D/open");
    for kind in ["merge", "cow"] {
        let mount = format!("vumount -t vufs -o {kind},except=/proc $D/up /; ");
        assert_eq!(run(&mount, "$D/open"), native, "{kind}");
        assert_eq!(run(&format!("{mount}vumount -t vufs / $M; "), "$M$D/open"), native, "in a bind of a {kind}");
    }
}

/// An open file that has lost one of its names is told as by the others, and with the last of them nothing of it stays in A.
#[test]
fn an_open_file_loses_its_names_one_by_one() {
    let program = "
import os
held = [os.open('one', os.O_RDWR), os.open('three', os.O_RDONLY)]
def tell():
    for stat in map(os.fstat, held): print(stat.st_nlink, oct(stat.st_mode), stat.st_ino == os.stat('three').st_ino)
    print(*map(os.listxattr, held))
os.unlink('one'); tell()
os.write(held[0], b'changed'); os.chmod('two', 0o640); tell()
os.unlink('two'); tell()
os.unlink('three'); print(os.fstat(held[0]).st_nlink, os.listxattr(held[0]))
";
    let script = format!("echo content > one; ln one two; ln one three; /usr/bin/python3 -c \"{program}\"");
    let native = Site::new().native(&script).ok();
    assert!(native.ends_with("0 []\n"), "{native}");
    let site = Site::new();
    site.native("echo content > one; ln one two; ln one three").ok();
    let mounted = format!("mkdir $D/up; vumount -t vufs -o cow $D/up $W; cd $W; /usr/bin/python3 -c \"{program}\"");
    assert_eq!(site.session(&mounted).ok(), native);
    assert_eq!(site.native("find $D/up -name '*link*'; cat one two three").ok(), "content\n".repeat(3));
}

/// What cannot be known of a copy is an error, or looked for in another way: B's content is another one.
#[test]
fn copies_that_cannot_be_looked_for_are_not_taken_for_none() {
    says(
        "echo x >> file; cd $D; vuumount $W; chmod 300 up/.-; vumount -t vufs -o cow up $W; cat $W/hard; vuumount $W; chmod 700 up/.-
        record=$(echo up/.-/*$'\x7f'); rm $record; mkdir $record; vumount -t vufs -o cow up $W; cat $W/file; cat $W/hard",
        "content\nx\ncat: $D/work/file: Is a directory\ncat: $D/work/hard: Is a directory\n",
    );
}

#[test]
fn numbers_of_files_stay() {
    says(
        "n() { stat -c %d:%i \"$@\"; }; a=$(n file dir/lines zero dir many link); echo x >> file; rm hard; echo x > dir/lines; chmod 600 zero; touch dir/new many/new; touch -h -d 2001-01-01 link; b=$(n file dir/lines zero dir many link); [ \"$a\" = \"$b\" ] && echo same
        [ $(ls -i dir | awk '/lines/{print $1}') = $(stat -c %i dir/lines) ] && echo listed; python3 -c 'import os; f = open(\"dir/lines\"); print(os.fstat(f.fileno()).st_ino == os.stat(\"dir/lines\").st_ino)'
        mv dir/lines moved; [ $(n moved) = $(echo $a | cut -d' ' -f2) ] && echo moved; cd $D; vuumount $W; vumount -t vufs -o cow $D/up $W; cd $W; [ $(n moved) = $(echo $a | cut -d' ' -f2) ] && echo again; getfattr --only-values -n user.vufs.record ../up/moved | cut -d= -f1 | tr '\\n' ' '",
        "same\nlisted\nTrue\nmoved\nagain\ndev ino object ",
    );
}

#[test]
fn what_the_host_does_not_store_is_kept() {
    says(
        "{ chown 0:7 file && stat -c %u:%g file; [ $(stat -c %u hard) = 0 ] && echo both; chmod 4755 file; stat -c %a file; chown 5 file; stat -c %a:%u:%g file; mknod null c 1 3; mknod disk b 8 1; stat -c '%F %t,%T %a' null disk; cat null; mkdir d; chown 1:2 d dir; stat -c %u:%g d dir; mv d e; stat -c %u:%g e; mv file e/; stat -c %u:%g e/file; mv e dir/; stat -c %u:%g dir/e dir/e/file; ls -ln dir/e | tail -1 | cut -d' ' -f3,4
        setfattr -n security.umvu -v x zero 2>&1 | head -1; getfattr -n security.umvu --only-values zero; echo; tar c -C $W null disk dir | tar tv --numeric-owner | awk '{print $1, $2, $3, $NF}' | head -4
        cd $D; vuumount $W; vumount -t vufs -o cow $D/up $W; cd $W; stat -c %u:%g dir dir/e/file null; rm null; touch null; stat -c '%F' null; echo x > dir/new; stat -c %F dir/new; find $D/up -uid 0 -o -type c -o -type b -o -perm /6000; } | sed \"s,$(id -u)\\\\([:/]\\\\)$(id -g),own\\\\1own,\"",
        "0:7\nboth\n4755\n755:5:7\ncharacter special file 1,3 644\nblock special file 8,1 644\n1:2\n1:2\n1:2\n5:7\n1:2\n5:7\n5 7\nx\ncrw-r--r-- own/own 1,3 null\nbrw-r--r-- own/own 8,1 disk\ndrwxr-xr-x 1/2 0 dir/\ndrwxr-xr-x 1/2 0 dir/e/\n1:2\n5:7\nown:own\nregular empty file\nregular file\n",
    );
}

/// A file of records is changed in place where that is one step, and under no name but its own.
#[test]
fn records_are_changed_where_they_stand() {
    let record = r"$D/up/.-/$(printf 'file\177')";
    says(
        &format!(
            r#"number() {{ [ $(stat -c %i "{record}") = $was ] && echo same || echo another; }}
        chown 5:7 file; was=$(stat -c %i "{record}"); chown 6:8 file; number; chmod 600 file; number; chown 1000:1000 file; number; stat -c %u:%g:%a file; chown 5:7 file; number; stat -c %u:%g:%a file
        was=$(stat -c %i "{record}"); cp -al $D/up $D/snapshot; chown 4:6 file; number; stat -c %u:%g file; grep -h id= $D/snapshot/.-/file*; mv file moved; stat -c %u:%g:%a moved; ls -A $D/up/.- | grep -c file
        touch new; chown 3:3 new; mv new other; mv moved new; stat -c %u:%g new other; mv --exchange new other 2> /dev/null || {{ mv new t; mv other new; mv t other; }}; stat -c %u:%g new other; chown 1:1 new; stat -c %u:%g new other"#
        ),
        "same\nsame\nsame\n1000:1000:600\nanother\n5:7:600\nanother\n4:6\nuid=5\ngid=7\n4:6:600\n1\n4:6\n3:3\n3:3\n4:6\n1:1\n4:6\n",
    );
}

/// What may be written to once it has been copied, and what is its owner's own and shut to him.
#[test]
fn who_may_write_is_told_before_anything_is_copied() {
    for mode in ["cow", "mincow"] {
        says(
            &format!(
                "vuumount $W; chmod 555 script dir/sub; vumount -t vufs -o {mode} $D/up $W; cd $W; for f in script dir/sub file dir; do [ -w $f ] && echo $f; done; [ -x script ] && [ -r dir/sub ] && echo rest; find $D/up -type f; (echo x > script; mkdir dir/sub/x) 2> /dev/null || echo refused; vuumount $W; chmod 755 dir/sub"
            ),
            "file\ndir\nrest\nrefused\n",
        );
    }
}

/// What a program calls `user.vufs.…` is its own; so the upper directory of a mount may lie in another one, and be archived there with all that its objects carry.
#[test]
fn attributes_of_an_upper_directory_in_a_union_go_with_it() {
    let tell = "{ stat -c '%n %u:%g %a %F %t,%T' dir/* dir/sub/*; getfattr -n user.vufs.x --only-values dir/lines; getfattr -n security.umvu --only-values dir/new; echo; ls -A dir; }";
    says(
        &format!(
            "mkdir in; vumount -t vufs -o cow $W/in $W/dir; cd dir; chown 1:2 sub; chown 3:3 lines; chmod 4755 sub/inner; mknod null c 1 3; chown 0:0 null; rm up; mkfifo pipe; mkdir gone; rmdir gone; echo x > new; chown 9:9 new sub/inner; chmod 4711 new
            setfattr -n user.vufs.x -v mine lines; setfattr -n security.umvu -v kept new; cd ..; {tell} > $D/told; sed \"s/$(id -u):$(id -g)/own/\" $D/told
            vuumount $W/dir; stat -c '%n %u %F' in/lines in/null | sed \"s/ $(id -u) / own /\"; getfattr -m user -R in | grep -v '^$' | sort | uniq -c | grep -v '#'
            tar --xattrs -C in -cf $D/in.tar .; cp -a in cp; rsync -aX in/ rsync/; mkdir tar; tar --xattrs -C tar -xpf $D/in.tar
            same() {{ vumount -t vufs -o cow $1 $W/dir && {tell} | diff $D/told - && echo same; vuumount $W/dir; }}; for copy in cp rsync tar; do same $W/$copy; done
            setfattr -n user.vufs.record -v uid=7 zero; setfattr -n user.vufs.y zero; python3 -c \"import os; f = os.open('zero', os.O_RDWR); print(sorted(os.listxattr(f)), os.getxattr(f, 'user.vufs.record'), sorted(os.listxattr('zero'))); os.removexattr(f, 'user.vufs.y'); print(os.listxattr(f))\"; stat -c %u zero | sed \"s/$(id -u)/own/\"
            vuumount $W; mkdir $D/out/in; tar --xattrs -C $D/out/in -xpf $D/in.tar; same $D/out/in"
        ),
        "dir/lines 3:3 644 regular file 0,0\ndir/new 9:9 4711 regular file 0,0\ndir/null 0:0 644 character special file 1,3\ndir/pipe own 644 fifo 0,0\ndir/sub 1:2 750 directory 0,0\ndir/sub/deep own 755 directory 0,0\ndir/sub/inner 9:9 755 regular file 0,0\nminekept\nlines\nnew\nnull\npipe\nsub\nin/lines own regular file\nin/null own regular empty file\n      2 user.vufs.contains\n      5 user.vufs.record\n      1 user.vufs.vufs.x\nsame\nsame\nsame\n['user.vufs.record', 'user.vufs.y'] b'uid=7' ['user.vufs.record', 'user.vufs.y']\n['user.vufs.record']\nown\nsame\n",
    );
}

#[test]
fn owners_and_modes_without_a_copy() {
    says(
        "cd $D; vuumount $W; vumount -t vufs -o cow,nochcopy $D/up $W; cd $W; chmod 600 dir/lines; chown 3 dir/lines; chmod 711 many; stat -c %a:%u dir/lines; stat -c %a many; ls $D/up; echo x >> dir/lines; stat -c %a:%u dir/lines; cat dir/lines; ls $D/up",
        "600:3\n711\n600:3\none\ntwo\nthree\nx\ndir\n",
    );
}

#[test]
fn files_of_others_are_changed_as_ones_own() {
    says(
        "cd $D; vuumount $W; vumount -t vufs -o cow,except=/proc $D/up /; cd /; stat -c %u:%g:%a /etc/passwd; echo x >> /etc/passwd; tail -1 /etc/passwd; stat -c %u:%g:%a /etc/passwd /etc; rm /etc/group; ls /etc/group; touch /etc/umvu-new; rm -r /usr/share/doc; mkdir /usr/share/doc; ls /usr/share/doc; test -w /etc/hosts && echo writable; vuumount /; ls /etc/umvu-new; tail -1 /etc/passwd | grep -c '^x$'; ls -d /usr/share/doc",
        "0:0:644\nx\n0:0:644\n0:0:755\nls: cannot access '/etc/group': No such file or directory\nwritable\nls: cannot access '/etc/umvu-new': No such file or directory\n0\n/usr/share/doc\n",
    );
}

/// Changes of every kind, made in a cow mount.
const CHANGES: &str = "echo x >> file; rm -r dir; mkdir dir; echo new > dir/lines; rm many/f1; mkdir n; ln -s target n/link; echo long > n/$(printf %0150d 7); chmod 600 zero; chown 4:5 script; mknod n/null c 1 3; mv 'a b' c; ln n/link n/hardlink; touch -d @5 many/f2\n";

#[test]
fn vufsdiff_tells_what_was_changed() {
    says(
        &format!(
            "{CHANGES}cd $D; vuumount $W; vufsdiff $D/up $W | sed s/0000*7/long/; vufsdiff $D/up | wc -l; vufsdiff $D/none; echo $?"
        ),
        "D a b\nA c/\nA c/c d\nM dir/\nC dir/lines\nD dir/sub\nD dir/up\nC file\nC hard\nD many/f1\nM many/f2\nA n/\nA n/long\nA n/hardlink\nA n/link\nA n/null\nM script\nM zero\n16\nvufsdiff: $D/none is no directory\n1\n",
    );
}

/// What is kept of a file is kept as long as it is open.
#[test]
fn removed_files_show_what_was_kept_of_them() {
    says(
        "echo x >> dir/lines; chown 5:6 dir/lines; chmod 4640 dir/lines; setfattr -n user.k -v 1 dir/lines; setfattr -n user.vufs.record -v mine dir/lines; cat > seen.py <<'end'
import os, sys
fd = os.open('dir/lines', os.O_RDWR)
def seen():
    stat = os.fstat(fd)
    return oct(stat.st_mode), stat.st_uid, stat.st_gid, stat.st_ino, sorted((name, os.getxattr(fd, name)) for name in os.listxattr(fd))
before = seen()
os.unlink('dir/lines')
print(seen() == before, os.fstat(fd).st_nlink, before[:3], before[4])
end
python3 seen.py",
        "True 0 ('0o104640', 5, 6) [('user.k', b'1'), ('user.vufs.record', b'mine')]\n",
    );
}

/// In the view, LOWER is what it is compared with: it said that nothing had changed, or wrote the changes where they came from.
#[test]
fn vufsdiff_wants_to_be_outside_of_the_union() {
    says(
        "echo x >> file; cd $D; for o in '' '--tar -' --apply; do vufsdiff $o up $W; echo $?; done; vuumount $W; vufsdiff up $W",
        &format!(
            "{0}{0}{0}C file\nC hard\n",
            "vufsdiff: up is mounted on $D/work here, where nothing differs from itself: leave the view, and say 'umvu vufsdiff up …'\n1\n"
        ),
    );
}

#[test]
fn vufsdiff_names_what_it_cannot_look_at() {
    says(
        "mkdir n; echo x > n/f; cd $D; vuumount $W; chmod 0 up/n; vufsdiff up $W; chmod 700 up/n; chmod 0 up/n/f; vufsdiff up $W; vufsdiff --tar layer up $W; echo $?",
        "vufsdiff: up/n: Permission denied\nA n/\nA n/f\nvufsdiff: layer: n/f: Permission denied\n1\n",
    );
}

/// Who forbids himself to read a copy has changed its mode, not its content.
#[test]
fn vufsdiff_compares_what_may_not_be_read() {
    says(
        "echo x >> dir/lines; chmod 0 script dir/lines; cd $D; vuumount $W; vufsdiff up $W; vufsdiff --apply up $W; echo $?; stat -c %a $W/script",
        "C dir/lines\nM script\nvufsdiff: $D/work/dir/lines: Permission denied\n1\n0\n",
    );
}

/// A name of 255 bytes leaves no room for the ending of a record's name.
#[test]
fn the_longest_names_keep_attributes() {
    says(
        &format!(
            "cd $D; vuumount $W; n() {{ printf %0255d $1; }}; echo x > $W/$(n 1); mkdir -p $W/$(n 2)/old
            {{ {MOUNT}
            chown 5:6 $(n 1); rm -r $(n 2); mkdir $(n 2); touch $(n 2)/new; chown 7 $(n 2) $(n 2)/new; ln -s t $(n 3); chown -h 8 $(n 3); mknod $(n 4) c 1 3; mv $(n 4) $(n 2); mv $(n 1) $(n 2)/$(n 6); find 0* -printf '%P %U %y\\n' | sed s/$(id -u)/USER/ | sort; cd $D; vuumount $W; vufsdiff up $W; ls up/.- | cat -v; }} | sed 's/0\\{{254\\}}/N/g'"
        ),
        " 7 d\n 8 l\nN4 USER c\nN6 5 f\nnew 7 f\nD N1\nM N2/\nA N2/N4\nA N2/N6\nA N2/new\nD N2/old\nA N3\nN1\nN2\n^?long.544e236a7a6589aa^?\n^?long.544e246a7a658b5d^?\n",
    );
}

/// What is written to `/proc` changes a process, and no file.
#[test]
fn processes_tell_the_kernel_of_themselves_in_a_union_of_everything() {
    says(
        "cd $D; vuumount $W; mkdir all; vumount -t vufs -o cow all /; sh -c 'echo me > /proc/$$/comm; cat /proc/$$/comm; echo 700 > /proc/self/oom_score_adj; cat /proc/self/oom_score_adj; [ -w /proc/self/comm ] && echo writable'; (echo 1 > /proc/version) 2>&1 | cut -d: -f4; vuumount /; find all | grep proc",
        "me\n\n700\nwritable\n Permission denied\n",
    );
}

#[test]
fn nothing_is_writable_above_a_read_only_tree() {
    says(
        "echo x >> file; cd $D; vuumount $W; vumount -t vufs -o ro up up; vumount -t vufs -o cow up $W; cd $W; for f in file dir/lines dir fifo; do [ -w $f ] && echo $f; done; echo x > dir/lines; cat dir/lines | wc -l; mkdir n 2>&1 | cut -d: -f3",
        "fifo\nbash: line 3: dir/lines: Read-only file system\n3\n Read-only file system\n",
    );
}

/// A directory that nobody else may look into, as mktemp(1) makes it, shows the one that it is mounted over.
#[test]
fn the_root_of_a_union_is_that_of_the_lower_tree() {
    says(
        "cd $D; vuumount $W; A=$(mktemp -d); s() { stat -c %a:%u:%g $W; }; chmod 751 $W; was=$(s); vumount -t vufs -o cow $A $W; [ \"$(s)\" = \"$was\" ] || s; stat -c %a $A; ls -A $W | grep '^[.]-'; chmod 1710 $W; chown 5 $W; stat -c %u:%a $W; vuumount $W; vumount -t vufs -o cow $A $W; stat -c %u:%a $W; vuumount $W
        vufsdiff $A $W; vufsdiff --tar - $A $W | tar tv --numeric-owner | cut -c1-13; rm -r $A",
        "700\n5:1710\n5:1710\nM ./\ndrwx--x--T 5/\n",
    );
}

#[test]
fn vufsdiff_keeps_hard_links_and_holes() {
    says(
        "ln zero more; ln hard further; truncate -s 1G big; echo end >> big; rm -r empty; mkdir empty; cd $D; vuumount $W; vufsdiff up $W; vufsdiff --tar - up $W | tar xf - big --to-command='wc -c'; vufsdiff --apply up $W; cd $W; [ zero -ef more ] && [ hard -ef file ] && [ file -ef further ] && echo linked; stat -c %h zero further; [ $(stat -c %b big) -lt 100 ] && echo sparse; ls -A . | grep vufsdiff; vufsdiff ../up .",
        "A big\nC file\nA further\nM hard\nA more\nM zero\n1073741828\nlinked\n2\n3\nsparse\n",
    );
}

#[test]
fn vufsdiff_tells_nothing_of_links_that_are_as_they_were() {
    says("rm hard; ln file hard; cd $D; vuumount $W; vufsdiff up $W; vufsdiff --apply up $W; vufsdiff up $W", "");
}

/// As it stands, whoever unpacks the layer would delete another file.
#[test]
fn vufsdiff_archives_no_name_that_tells_of_a_deleted_one() {
    says(
        "echo x > .wh.file; cd $D; vuumount $W; vufsdiff --tar layer up $W; echo $?; vufsdiff up $W",
        "vufsdiff: layer: .wh.file: in a layer, a name that begins with .wh. tells that another was deleted\n1\nA .wh.file\n",
    );
}

/// With `nochcopy`, the file itself is only in the lower tree; a layer has all of it.
#[test]
fn vufsdiff_archives_files_of_which_only_attributes_are_kept() {
    says(
        "cd $D; vuumount $W; vumount -t vufs -o cow,nochcopy up $W; chmod 600 work/dir/lines; vuumount $W; vufsdiff up $W; vufsdiff --tar - up $W | tar xOf - dir/lines; vufsdiff --apply up $W; stat -c %a work/dir/lines",
        "M dir/lines\none\ntwo\nthree\n600\n",
    );
}

#[test]
fn vufsdiff_knows_extended_attributes() {
    let changes = "setfattr -n user.k -v new zero; setfacl -m u:1:r dir/lines; setfacl -d -m u:2:rwx dir; setfattr -n user.gone -v 1 many/f1; setfattr -x user.gone many/f1; echo x >> file; setfattr -n user.k -v file file";
    let told = "getfattr -d -m user zero file many/f1; getfacl -cpn dir/lines dir";
    let site = Site::new();
    let seen = site.session(&format!("{MOUNT}{changes}; {told}")).ok();
    let said = site.session("vufsdiff $D/up $W; vufsdiff --tar - $D/up $W | grep -ac -e SCHILY.xattr.user.k=new -e SCHILY.xattr.user.k=file; vufsdiff --apply $D/up $W; vufsdiff $D/up $W");
    assert_eq!(said.ok(), "M dir/\nM dir/lines\nC file\nC hard\nM zero\n3\n");
    assert_eq!(site.native(told).ok(), seen);
}

#[test]
fn vufsdiff_writes_down_and_archives() {
    let site = Site::new();
    let told = "cd $W; find . ! -name null -printf '%p %y %m %s %l\\n' | sort; cat file dir/lines";
    let seen = site.session(&format!("{MOUNT}{CHANGES}{told}")).stdout();
    // Owners and devices are for root to write down.
    let ran =
        site.session("vufsdiff --tar $D/layer.tar $D/up $W; tar tf $D/layer.tar | sort; vufsdiff --apply $D/up $W");
    assert!(
        ran.stdout().contains("dir/.wh..wh..opq\n") && ran.stdout().contains("\nmany/.wh.f1\n"),
        "{}",
        ran.stdout()
    );
    assert!(ran.stderr().lines().all(|line| line.contains("script") || line.contains("null")), "{}", ran.stderr());
    let written = site.native(told).stdout();
    assert!(seen == written, "{}", difference(&written, &seen));
    let archived = site.native("mkdir $D/x; tar xf $D/layer.tar -C $D/x --no-same-owner --exclude null; cat $D/x/file $D/x/n/*7; readlink $D/x/n/link; stat -c '%a %h' $D/x/zero $D/x/n/link; tar tvf $D/layer.tar --numeric-owner | grep -c -e '4/5.* script' -e 'crw.* 1,3 .* n/null'");
    assert_eq!(archived.ok(), "content\nx\nlong\ntarget\n600 1\n777 2\n2\n");
}

#[test]
fn a_killed_hypervisor_leaves_whole_files() {
    let site = Site::new();
    for round in 0..5 {
        // Its end takes the shell with it.
        let _ = site.session(&format!("{MOUNT}(sleep 0.{round}3; kill -9 $(vuname -U)) & while :; do for f in many/f*; do echo new >> $f; mv $f x; cp x $f; rm x; done; rm -r dir; mkdir dir; done 2> /dev/null"));
        // It may have been killed between rm and mkdir.
        let seen = site.session(&format!("{MOUNT}cat many/f* | grep -vxE 'new|[0-9]+'; ls many dir 2> /dev/null | sort | grep -vxE 'f[0-9]+|dir:|many:|lines|sub|up|'; for f in many/*; do stat -c %F $f; done | sort -u; echo done; find $D/up -name '*tmp.*'"));
        let said = seen.ok();
        assert!(said.starts_with("regular") && said.ends_with("done\n"), "{said}");
    }
}

#[test]
fn many_entries() {
    says(
        "mkdir $D/up/many; vuumount $W; for i in $(seq 5000); do : > many/g$i; done; vumount -t vufs -o cow $D/up $W; cd $W; rm many/g1*; for i in $(seq 3000); do : > many/h$i; done; ls many | wc -l; find many -type f | wc -l; ls -f many | sort | uniq -d; python3 -c 'import os; e = list(os.scandir(\"many\")); print(len(e), all(x.inode() == x.stat().st_ino for x in e))'; rm -r many; ls many; mkdir many; ls many",
        "6909\n6909\n6909 True\nls: cannot access 'many': No such file or directory\n",
    );
}

#[test]
fn access_control_lists() {
    as_in_a_directory(
        "umask 077; setfacl -m u:1:rwx file && getfacl -cpn file; echo x >> file; chmod 640 file; getfacl -cpn file; setfacl -d -m u:2:rwx,o::- dir dir/sub; echo x >> dir/sub/inner; getfacl -cpn dir/sub/inner
        echo > dir/new; mkdir dir/sub/made; mkfifo dir/pipe; getfacl -cpn dir/new dir/sub/made dir/pipe; mv dir/new .; getfacl -cpn new; cp -a dir/sub/made .; getfacl -cpn made; setfacl -b file; setfacl -k dir; getfacl -cpn file dir",
    );
    // Copies have the lists of B's objects, not those that A gives to new ones.
    says(
        "cd $D; vuumount $W; rm -rf up; mkdir up; setfacl -d -m u:2:rwx up; vumount -t vufs -o cow up $W; cd $W; getfacl -cpn file > $D/before; echo x >> file; chmod 700 dir/sub; getfacl -cpn file | cmp - $D/before; getfacl -cpn dir/sub; echo > new; getfacl -cpn new | grep -c user:2",
        "user::rwx\ngroup::---\nother::---\n\n1\n",
    );
}

#[test]
fn files_without_a_name_get_one() {
    as_in_a_directory(
        "cat > $D/unnamed.py << 'END'
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
for place in '.', 'dir/sub', 'empty':
    for name in 'one', 'two':
        fd = os.open(place, os.O_TMPFILE | os.O_RDWR, 0o640)
        os.write(fd, b'unnamed')
        to = os.fsencode(place + '/' + name)
        linked = libc.linkat(fd, b'', -100, to, 0x1000) if name == 'one' else libc.linkat(-100, b'/proc/self/fd/%d' % fd, -100, to, 0x400)
        print(to, linked, errno.errorcode.get(ctypes.get_errno()), os.fstat(fd).st_nlink, os.path.sameopenfile(fd, os.open(to, 0)))
END
        python3 $D/unnamed.py",
    );
}

#[test]
fn attributes_of_users_belong_to_files_and_directories() {
    as_in_a_directory(
        "for f in link fifo dangling; do setfattr -h -n user.x -v 1 $f; setfattr -h -x user.x $f; done; setfattr -n user.x -v 1 file; setfattr -n user.x -v 2 dir; getfattr -h -d file dir link; setfattr -x user.x file; getfattr -d file hard",
    );
    as_in_a_directory(
        "chmod 400 file; setfattr -n user.x -v 1 file; setfattr -n trusted.x -v 1 zero dir; setfattr -x trusted.x zero; getfattr -d -m - file zero dir; getfattr -n trusted.x dir; chmod 600 file; setfattr -n user.x -v 1 file; chmod 400 file; setfattr -x user.x file; getfattr -d file",
    );
}

#[test]
fn attributes_of_every_name_are_kept() {
    let told = "'security.\\udcff\\x7f' b'value'\n'security.a=b' b'value'\n'security.line\\n=x' b'value'\n'security.plain' b'value'\n";
    says(
        "cat > $D/names.py << 'END'
import os, sys
if sys.argv[1:]:
    for name in 'security.plain', 'security.a=b', 'security.line\\n=x', b'security.\\xff\\x7f':
        os.setxattr('zero', name, b'value')
print(*sorted(f'{ascii(name)} {os.getxattr(\"zero\", name)}' for name in os.listxattr('zero')), sep='\\n')
END
        python3 $D/names.py set; cd $D; vuumount $W; vumount -t vufs -o cow $D/up $W; cd $W; python3 $D/names.py; mv zero dir; ln dir/zero .; python3 $D/names.py",
        &told.repeat(3),
    );
}

#[test]
fn what_an_object_carries_is_not_seen() {
    let program = "cat > $D/seen.py << 'END'
import os, sys
for f in sys.argv[1:]:
    for how in f, os.open(f, os.O_RDONLY | os.O_NONBLOCK):
        names = sorted(name for name in os.listxattr(how) if name.startswith('user.'))
        print(f, {name: os.getxattr(how, name) for name in names})
try:
    print(os.getxattr('file', 'user.vufs.record'))
except OSError as error:
    print(error.strerror)
END
";
    // What the view gives such a name is its own; another union, whose upper directory is in the view, calls its attributes so.
    let script = "echo x >> file; chmod 700 dir; mknod disk c 1 3; setfattr -n user.x -v 1 file; python3 $D/seen.py file dir disk
        for f in file dir; do setfattr -n user.vufs.record -v mine $f; setfattr -n user.vufs.new -v 2 $f; done; python3 $D/seen.py file dir; setfattr -x user.vufs.record file; stat -c '%F %n' disk; setfattr -x user.vufs.new file; python3 $D/seen.py file | tail -1
        cd $D; mkdir $W/inner $W/top; vumount -t vufs -o cow $W/inner $W/dir; cd $W/dir; a=$(stat -c %i lines); echo y >> lines; chown 3:4 lines sub; mknod null c 1 3; [ $(stat -c %u null) = $(id -u) ] || echo who; stat -c %u:%g:%F lines sub; [ $a = $(stat -c %i lines) ] && echo same; getfattr -d lines; python3 $D/seen.py sub | grep sub
        cd $D; vuumount $W/dir; vumount -t vufs -o cow $W/inner $W/top; cd $W/top; stat -c %u:%g:%F lines sub; cd $D; vuumount $W/top; vuumount $W; vumount -t vufs -o cow $D/up $W; vumount -t vufs -o cow $W/inner $W/dir; cd $W/dir; stat -c %u:%g:%F lines sub; [ $a = $(stat -c %i lines) ] && echo same";
    says(
        &format!("{program}{script}"),
        "file {'user.x': b'1'}
file {'user.x': b'1'}
dir {}
dir {}
disk {}
disk {}
No data available
file {'user.vufs.new': b'2', 'user.vufs.record': b'mine', 'user.x': b'1'}
file {'user.vufs.new': b'2', 'user.vufs.record': b'mine', 'user.x': b'1'}
dir {'user.vufs.new': b'2', 'user.vufs.record': b'mine'}
dir {'user.vufs.new': b'2', 'user.vufs.record': b'mine'}
b'mine'
character special file disk
No data available
3:4:regular file
3:4:directory
same
sub {}
sub {}
3:4:regular file
3:4:directory
3:4:regular file
3:4:directory
same
",
    );
}

#[test]
fn a_copy_of_the_upper_directory_keeps_what_its_objects_carry() {
    let seen = "$D/work/file 1:2 640 regular file\n$D/work/dir 1:2 755 directory\n$D/work/script 3 755 regular file\n$D/work/null 0 644 character special file\nnew\n";
    says(
        "chown 1:2 file dir; chown 3 script; mknod null c 1 3; chown 0 null; cd $D; vuumount $W; cp -a up copied; mkdir unpacked; tar --xattrs -C up -c . | tar --xattrs -C unpacked -x
        for up in copied unpacked; do vumount -t vufs -o cow $D/$up $W; stat -c '%n %u:%g %a %F' $W/file $W/dir; stat -c '%n %u %a %F' $W/script $W/null; [ $(stat -c %i $W/file) = $(stat -c %i $up/file) ] && echo new; vuumount $W; done",
        &seen.repeat(2),
    );
}

#[test]
fn trusted_attributes_are_for_the_capable() {
    says(
        "cat > $D/trusted.py << 'END'
import errno, os
def told(what, *arguments):
    try:
        return what(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
os.setresuid(0, 0, 0)
os.setxattr('zero', 'trusted.x', b'1')
os.setxattr('dir', 'trusted.y', b'2')
for uid in 0, 5:
    os.setresuid(uid, uid, uid)
    print(uid, os.listxattr('zero'), told(os.getxattr, 'zero', 'trusted.x'), told(os.setxattr, 'zero', 'trusted.x', b'3'), told(os.removexattr, 'dir', 'trusted.y'))
    directory = os.open('dir', os.O_RDONLY)
    print(os.listxattr(directory), told(os.getxattr, directory, 'trusted.y'))
    if uid == 0:
        os.setxattr('dir', 'trusted.y', b'2')
END
        vu_insmod unrealuidgid; python3 $D/trusted.py",
        "0 ['trusted.x'] b'1' None None\n[] ENODATA\n5 [] ENODATA EPERM EPERM\n[] ENODATA\n",
    );
}

#[test]
fn what_happens_in_a_directory_is_told() {
    as_in_a_directory(
        "cat > $D/watch.py << 'END'
import ctypes, os, struct
libc = ctypes.CDLL(None, use_errno=True)
fd = libc.inotify_init1(os.O_NONBLOCK)
# Closed after writing, moved from, moved to, created, deleted.
for place in '.', 'dir', 'dir/sub', 'empty':
    assert libc.inotify_add_watch(fd, os.fsencode(place), 0x3c8) > 0
# All that happens to what is removed, and to what is not for it is not empty; in which order the two directories tell of it depends on who has it open.
own = libc.inotify_init1(os.O_NONBLOCK)
for made in 'own', 'full':
    os.mkdir(made)
    open('full/inner', 'w').close() if made == 'full' else None
    assert libc.inotify_add_watch(own, os.fsencode(made), 0xfff) > 0
    try:
        os.rmdir(made)
    except OSError as error:
        print(made, error.strerror)
open('dir/sub/inner', 'a').write('x')
open('new', 'w').close()
os.mkdir('empty/made')
open('dir/one', 'w').write('x')
os.rename('dir/one', 'dir/two')
os.unlink('dir/two')
os.rmdir('empty/made')
data = os.read(own, 65536) + os.read(fd, 65536)
while data:
    watch, mask, _, length = struct.unpack_from('iIII', data)
    name = os.fsdecode(data[16:16 + length].rstrip(b'\\0'))
    data = data[16 + length:]
    # What is copied up comes from elsewhere.
    if mask & 0x80 == 0 or name == 'two':
        print(watch, hex(mask), name)
END
        python3 $D/watch.py",
    );
}

/// What may not be removed is judged before whether it is empty (`vfs_rmdir`, fs/namei.c).
#[test]
fn who_may_not_remove_a_directory_of_a_merge_is_told_so() {
    let rmdir = "rmdir work/shut/full 2>&1 | sed 's/.*: //'";
    let site = Site::new();
    let said = site.session(&format!("cd $D; mkdir -p add work/shut/full/x; chmod 555 work/shut; vumount -t vufs -o merge add $W; {rmdir}; chmod 755 work/shut; {rmdir}; rmdir work/shut/full/x; {rmdir}; ls work/shut"));
    assert_eq!(said.ok(), "Permission denied\nDirectory not empty\n");
}

#[test]
fn a_merge_makes_unnamed_files_where_it_makes_names() {
    let site = Site::new();
    let said = site.session("cd $D; mkdir -p add/dir/sub; vumount -t vufs -o merge add $W; python3 -c 'import ctypes, os; fd = os.open(\"work/dir/sub\", os.O_TMPFILE | os.O_RDWR, 0o600); ctypes.CDLL(None).linkat(-100, b\"/proc/self/fd/%d\" % fd, -100, b\"work/dir/sub/made\", 0x400)'; ls work/dir/sub; vuumount $W; ls work/dir/sub add/dir/sub");
    assert_eq!(said.ok(), "deep\ninner\nmade\nadd/dir/sub:\n\nwork/dir/sub:\ndeep\ninner\nmade\n");
}

#[test]
fn trees_of_the_original_are_read_and_written() {
    says(
        "cd $D; vuumount $W; mkdir -p up/.-/dir up/dir; : > up/.-/script; : > up/.-/empty; : > up/.-/dir/lines; : > up/null
        d=$'\\x7f'; printf 'mode=0600\\nuid=0\\ngid=7\\nnew=line\\nctime=12.5\\nno line\\n' > up/.-/zero$d; printf 'type=c\\nmode=0666\\nuid=0\\ngid=0\\nrdev=1,3\\ndev=8,1\\nctime=1\\n' > up/.-/null$d; printf 'mode=0711\\nuid=5\\n' > up/.-/dir$d
        vumount -t vufs -o cow up $W; cd $W; ls -d script empty dir/lines dir/up; stat -c '%n %a %u %F' zero null dir; stat -c %t,%T null
        chmod 640 zero; chown 9 zero; echo x >> zero; mv zero moved; mkdir empty; ls empty; stat -c '%a %u %g' moved; rm null; mknod disk b 8 1; rm -r dir; mkdir dir; ls dir; cd $D/up/.-; find . | tr $d + | sort; grep -v -e ino= -e dev= -e object= moved$d; grep -v object= disk$d; getfattr --only-values -n user.vufs.record ../disk | grep -v object=",
        "ls: cannot access 'script': No such file or directory\nls: cannot access 'empty': No such file or directory\nls: cannot access 'dir/lines': No such file or directory\ndir/up\nzero 600 0 regular empty file\nnull 666 0 character special file\ndir 711 5 directory\n1,3\n640 9 7\n.\n./dir\n./disk+\n./empty\n./moved+\n./script\n./zero\nmode=0640\nuid=9\ngid=7\nnew=line\nctime=12.5\nno line\ntype=b\nrdev=8,1\ntype=b\nrdev=8,1\n",
    );
}

/// Changes that the kernel makes in one step, and so must be old or new: not a part of them.
const WHOLE: [&str; 4] =
    ["echo more >> dir/lines", "mv file dir/sub/inner", "chmod 700 dir/sub", "mkdir made; rm zero; mv made zero"];

/// Nobody would see what the kernel mounted in a private namespace on a directory of B, or what it showed of one elsewhere.
#[test]
fn nothing_of_the_hosts_is_mounted_there() {
    let site = Site::new();
    let script = format!(
        "{MOUNT}mkdir own $D/outside $D/there; touch $D/outside/seen; case $(id -u) in 0) as=-m ;; *) as=-rm ;; esac
        unshare $as sh -c 'for d in dir own .; do mount -t tmpfs none $d 2> /dev/null; echo $?; mount --bind empty $d 2> /dev/null; echo $?; done
            touch dir/made; mount --bind dir $D 2> /dev/null; echo $?; mount --bind $D/outside $D/there; echo $?; ls $D/there'
        ls dir/made own; vuumount $W; ls $W/dir/made"
    );
    let said = site.session(&script);
    assert_eq!(said.stdout(), "32\n32\n32\n32\n32\n32\n32\n0\nseen\ndir/made\n\nown:\n", "{}", said.stderr());
}

#[test]
fn killed_before_any_step() {
    let tell = "LC_ALL=C; find . -exec stat -c '%n %F %a' {} + | sort; find . -type f -exec md5sum {} + | sort; find $D/up/.- -name '*tmp.*' 2> /dev/null";
    let clean = "cd /; chmod -R u+w $D/up; rm -rf $D/up";
    // The hypervisor is killed before the Nth of its calls that change something, if there are so many. strace must be an ancestor where Yama restricts it.
    let killed = "STEPS=mkdirat,mknodat,renameat2,linkat,symlinkat,unlinkat,fchownat,chmod,setxattr,utimensat,copy_file_range,ftruncate
        rm -f $D/pid $D/go $D/log $D/done; soon() { for i in $(seq 1000); do \"$@\" && break; sleep 0.01; done; }; export -f soon
        $UMVU -N -m vufs -- bash -c \"$MOUNT echo \\$(vuname -U) > $D/new; mv $D/new $D/pid; soon [ -e $D/go ]; $CHANGE; : > $D/done\" &
        soon [ -e $D/pid ]; (soon grep -q attached $D/log; : > $D/go) 2> /dev/null &
        exec strace -f -o /dev/null -e trace=$STEPS -e inject=$STEPS:signal=KILL:when=$N -p $(cat $D/pid) 2> $D/log";
    for change in WHOLE {
        let site = Site::new();
        let steps: Vec<&str> = change.split("; ").collect();
        let states: Vec<String> = (0..=steps.len())
            .map(|count| {
                let some: String = steps.iter().take(count).map(|step| format!("{step}\n")).collect();
                site.session(&format!("{MOUNT}{some}{tell}; {clean}")).ok()
            })
            .collect();
        let mut kills = 0;
        while !site.path().join("done").exists() {
            kills += 1;
            let script = format!("export N={kills} MOUNT='{}' CHANGE='{change}'\n{killed}", MOUNT.replace('\n', "; "));
            site.native(&script);
            let seen = site.session(&format!("{MOUNT}{tell}; {clean}")).ok();
            assert!(states.contains(&seen), "{change}, killed before step {kills}:\n{}", difference(&states[0], &seen));
        }
        assert!(kills > 2, "{change}: it was not killed");
    }
}

/// The kernel writes a core file where the process works; what ends a process tells who sent it, and what it did with its signals counts.
#[test]
fn core_files() {
    as_in_a_directory(
        r#"ulimit -c unlimited; mkdir -p below/it; echo old > below/it/core; cat > end.py <<'END'
import ctypes, os, signal, threading, time
def ended(how):
    child = os.fork()
    if child == 0:
        how()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    cores = [name for name in os.listdir(".") if name.startswith("core")]
    sizes = [os.stat(name).st_size > 4096 for name in cores]
    print(os.WIFSIGNALED(status) and os.WTERMSIG(status), os.WCOREDUMP(status), os.WIFEXITED(status) and os.WEXITSTATUS(status), sizes, flush=True)
    for name in cores:
        os.unlink(name)
def quits(handler):
    signal.signal(signal.SIGQUIT, handler)
    os.kill(os.getpid(), signal.SIGQUIT)
    time.sleep(0.1)
def among_threads():
    for _ in range(4):
        threading.Thread(target=time.sleep, args=(60,)).start()
    os.abort()
def small():
    import resource
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.abort()
ended(os.abort)
ended(lambda: ctypes.string_at(0))
ended(lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGSEGV}) and ctypes.string_at(0))
ended(lambda: quits(signal.SIG_DFL))
ended(lambda: quits(signal.SIG_IGN))
ended(lambda: quits(lambda *about: os._exit(3)))
ended(among_threads)
ended(small)
os.chdir("below/it")
ended(os.abort)
ended(os.abort)
END
        python3 end.py; sleep 60 & kill -ILL $!; wait $! 2> /dev/null; echo $?; ls; rm -f core core.*"#,
    );
}

/// Descriptors remember by a number of 64 through which mount they were opened (`route.rs` in vu-core).
#[test]
fn binds_of_everything_do_not_make_a_union_over_everything_forget_its_files() {
    let site = Site::new();
    let script = r#"mkdir $D/up && vumount -t vufs -o cow,except=/proc $D/up / || exit 99
        changes() {
            : > new$1; exec 3< new$1
            python3 -c 'import os; os.fchmod(3, 0o604)'; touch -d 2001-02-03 new$1; stat -c "$1 %a %.10y" new$1
        }
        changes before
        $UMVU --norc -m vufs bash -c 'for i in $(seq 70); do vumount -t vufs / $M; head -c 1 $M/etc/passwd > /dev/null; vuumount $M; done'
        changes behind
        for i in $(seq 70); do mkdir $D/m$i; vumount -t vufs / $D/m$i; head -c 1 $D/m$i/etc/passwd > /dev/null; done
        changes below
        for i in $(seq 70); do vuumount $D/m$i; done
        changes after"#;
    let ran = site.session(script);
    let expected = "before 604 2001-02-03\nbehind 604 2001-02-03\nbelow 604 2001-02-03\nafter 604 2001-02-03\n";
    assert_eq!(ran.stdout(), expected, "{}", ran.stderr());
}
