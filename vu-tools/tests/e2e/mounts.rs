//! Mounting and unmounting.

use crate::harness::{Flavour, Running, Site, UMVU, helper};
use std::fmt::Write as _;
use std::process::Stdio;

/// What a script prints in a view with `vufs`.
#[track_caller]
fn says(script: &str, expected: &str) {
    let site = Site::new();
    let said = site.session(&format!("exec 2>&1\n{script}")).stdout().replace(site.path().to_str().unwrap(), "$D");
    assert_eq!(said, expected, "{script}");
}

#[test]
fn a_module_in_use_is_not_removed() {
    let site = Site::new();
    let ran = site.session(
        "vumount -t vufs / $M; vu_rmmod vufs; echo $?; vu_lsmod; ls $M > /dev/null && vuumount $M && vu_rmmod vufs; echo $?; vu_lsmod",
    );
    assert_eq!(ran.stdout(), "1\nvufs: vu filesystem patchworking\n0\n");
    assert!(
        ran.stderr().contains("vufs") && ran.stderr().lines().any(|line| line.starts_with("vu_rmmod: ")),
        "{}",
        ran.stderr()
    );
}

#[test]
fn the_newest_mount_wins_not_the_deepest() {
    says(
        "mkdir -p a/b one two; echo 1 > one/f; mkdir two/b; echo 2 > two/b/f; echo host > a/b/f
        cat a/b/f; vumount -t vufs $W/one $W/a/b; cat a/b/f; vumount -t vufs $W/two $W/a; cat a/b/f; vuumount $W/a; cat a/b/f; vuumount $W/a/b; cat a/b/f",
        "host\n1\n2\n1\nhost\n",
    );
}

#[test]
fn unmounting_in_any_order() {
    // Three mounts on two directories and two below them; the newest at exactly that point goes first.
    for order in [
        ["x", "y", "x/s", "y/s", "x"],
        ["x/s", "x", "y/s", "x", "y"],
        ["y", "y/s", "x", "x/s", "x"],
        ["x", "x", "x/s", "y", "y/s"],
    ] {
        let mut script = "mkdir -p x/s y/s s1 s2 s3; for i in 1 2 3; do echo $i > s$i/f; mkdir s$i/s; echo s$i > s$i/s/f; done; echo hx > x/f; echo hxs > x/s/f; echo hy > y/f; echo hys > y/s/f
            show() { echo $(cat x/f x/s/f y/f y/s/f); }
            vumount -t vufs $W/s1 $W/x; vumount -t vufs $W/s2 $W/x; vumount -t vufs $W/s3 $W/y; vumount -t vufs $W/s1/s $W/x/s; vumount -t vufs $W/s2/s $W/y/s; show\n"
            .to_owned();
        // The same by a model: mount points with what their `f` and `s/f` say, the newest last.
        let mut model =
            vec![("x", "1", "s1"), ("x", "2", "s2"), ("y", "3", "s3"), ("x/s", "s1", ""), ("y/s", "s2", "")];
        let show = |model: &[(&str, &str, &str)]| {
            let said = |at: &str| {
                let covers =
                    |point: &str| at == point || at.strip_prefix(point).is_some_and(|rest| rest.starts_with('/'));
                match model.iter().rev().find(|(point, ..)| covers(point)) {
                    Some((point, own, _)) if *point == at => (*own).to_owned(),
                    Some((_, _, below)) => (*below).to_owned(),
                    None => format!("h{}", at.replace('/', "")),
                }
            };
            format!("{} {} {} {}\n", said("x"), said("x/s"), said("y"), said("y/s"))
        };
        let mut expected = show(&model);
        for point in order {
            writeln!(script, "vuumount $W/{point} && show").unwrap();
            let newest = model.iter().rposition(|(at, ..)| *at == point).unwrap();
            model.remove(newest);
            expected += &show(&model);
        }
        says(&script, &expected);
    }
}

#[test]
fn twenty_nested_mounts() {
    let site = Site::new();
    let root = site.native("ls /").ok();
    let script = "for i in $(seq 20); do vumount -t vufs / $M || exit 1; done
        p=; for i in $(seq 20); do p=$p$M; cat $p$W/file $p$W/dir/up $p$W/linkdir/lines | md5sum; done; ls $p; echo \"empty: $(ls $p$M)\"; (cd $p$W/dir && pwd | wc -c); $p/bin/cat $p/etc/passwd | cmp - /etc/passwd
        for i in $(seq 20); do echo nested > $p$W/new$i; p=${p%$M}; done; cat $W/new* | sort | uniq -c | tr -d ' '; for i in $(seq 20); do vuumount $M || exit 1; done; ls $M";
    let sum = site.native("cat file dir/up dir/lines | md5sum").ok();
    let length = site.mount_point().as_os_str().len() * 20 + site.work().as_os_str().len() + "/dir\n".len();
    let expected = format!("{}{root}empty: \n{length}\n20nested\n", sum.repeat(20));
    assert_eq!(site.session(script).ok(), expected);
}

#[test]
fn a_thousand_mounts() {
    let mounter = helper("mounter", Flavour::Dynamic);
    let site = Site::new();
    let ran = site
        .session(&format!("mkdir points; {} many 1000 /etc $W/points; vumount | grep -c points", mounter.display()));
    assert_eq!(ran.stdout(), "seen wrong: 0\nwrong in the middle: 0\n0\n", "{}", ran.stderr());
}

#[test]
fn a_file_and_a_name_that_does_not_exist() {
    says(
        "vumount -t vufs $W/dir/lines $W/file; cat file; cat < link; stat -c %F file; [ file -ef dir/lines ] && echo same; echo more >> file; tail -1 dir/lines; vuumount $W/file; cat file
        vumount -t vufs $W/file $W/nowhere; cat nowhere; ls nowhere; ls | grep -c nowhere; cat $W/dir/../nowhere; cd dir; cat ../nowhere; cd ..; vuumount $W/nowhere; cat nowhere
        vumount -t vufs $W/dir $W/notdir; head -1 notdir/lines; ls -d notdir notdir/sub; cat notdir/sub/../up; cat absolutedir/../notdir/up; (cd notdir/sub; pwd; cd ..; pwd; cd ..; pwd; ls notdir); echo new > notdir/new; mkdir notdir/d; ls dir; vuumount $W/notdir; ls notdir",
        "one\ntwo\nthree\none\ntwo\nthree\nregular file\nsame\nmore\ncontent\n\
         content\nnowhere\n0\ncontent\ncontent\ncat: nowhere: No such file or directory\n\
         one\nnotdir\nnotdir/sub\ninner\ninner\n$D/work/notdir/sub\n$D/work/notdir\n$D/work\nlines\nsub\nup\nd\nlines\nnew\nsub\nup\nls: cannot access 'notdir': No such file or directory\n",
    );
}

#[test]
fn relative_mounts() {
    says(
        "cd dir; vumount -t vufs sub ../empty; cat ../empty/inner; cd ../empty; cat inner; pwd; cd ..; vumount -t vufs ./file relative; cat relative; ln -s empty el; cat el/inner; vuumount relative; cd empty; vuumount ../empty; cd ..; ls empty
        vumount -t vufs linkdir el; ls empty; vuumount el/; ls empty; vumount -t vufs dir/lines link; head -1 file; vuumount link; cat file",
        "inner\ninner\n$D/work/empty\ncontent\ninner\nlines\nsub\nup\none\ncontent\n",
    );
}

#[test]
fn a_bind_over_a_file_that_is_open() {
    says(
        "exec 3< file 4>> zero; vumount -t vufs $W/dir/lines $W/file; vumount -t vufs $W/dir/sub/inner $W/zero; cat <&3; echo written >&4; cat file zero; exec 3< file; vuumount $W/file; cat <&3; cat file; vuumount $W/zero; cat zero",
        "content\none\ntwo\nthree\ninner\none\ntwo\nthree\ncontent\nwritten\n",
    );
}

#[test]
fn a_descriptor_and_a_working_directory_do_not_hold_a_bind() {
    says(
        "vumount -t vufs $W/dir $W/empty; exec 3< empty/lines 4>> empty/new; cd empty/sub; vuumount $W/empty; echo $?; cat <&3; echo x >&4; cat $W/dir/new; cat inner; ls $W/empty",
        "0\none\ntwo\nthree\nx\ninner\n",
    );
}

#[test]
fn a_mount_that_is_built_on_a_mount_holds_it() {
    says(
        "vumount -t vufs / $M; vumount -t vufs $M$W/dir $W/empty; vuumount $M > /dev/null 2>&1; echo $?; ls empty; vuumount $W/empty; vuumount $M; echo $?; ls $M",
        "1\nlines\nsub\nup\n0\n",
    );
}

#[test]
fn lazily_unmounted_it_goes_out_of_sight_and_on_for_who_uses_it() {
    for option in ["-d", "-f"] {
        says(
            &format!(
                "vumount -t vufs / $M; vumount -t vufs $M$W/dir $W/empty; vuumount {option} $M; echo $?; ls $M; ls empty; cat empty/up; vuumount $W/empty; echo $?; ls empty; vu_rmmod vufs; echo $?"
            ),
            "0\nlines\nsub\nup\ninner\n0\n0\n",
        );
    }
}

#[test]
fn unmounting_with_virtual_files_open() {
    for kind in ["vufusenull none", "vufusereal $W/dir"] {
        says(
            &format!(
                "vu_insmod vufuse; vumount -t {kind} $W/empty; exec 3< empty; vuumount $W/empty > /dev/null 2>&1; echo $?; exec 3<&-; vuumount $W/empty; echo $?
                vumount -t {kind} $W/empty; exec 3< empty; vuumount -d $W/empty; echo $?; ls empty; stat -L -c %F /proc/self/fd/3; exec 3<&-; vu_rmmod vufuse; echo $?"
            ),
            "1\n0\n0\ndirectory\n0\n",
        );
    }
}

#[test]
fn an_empty_directory_of_the_views_own() {
    says(
        "vu_insmod vufuse; vumount -t vufusenull none $W/dir; ls -A dir | wc -l; ls -a dir; stat -c %F dir; cat dir/lines; cd dir; pwd; ls; cd ..; vuumount $W/dir; ls dir",
        "0\n.\n..\ndirectory\ncat: dir/lines: No such file or directory\n$D/work/dir\nlines\nsub\nup\n",
    );
}

#[test]
fn a_host_directory_passed_through() {
    says(
        "vu_insmod vufuse; vumount -t vufusereal $W/dir $W/empty; ls empty; cat empty/lines empty/up; stat -c '%F %s' empty/lines; find empty | sort; (cd empty/sub && cat inner && cd .. && pwd); python3 -c 'import os; print(sorted(os.listdir(\"empty\")))'; vuumount $W/empty; ls empty",
        "lines\nsub\nup\none\ntwo\nthree\ninner\nregular file 14\nempty\nempty/lines\nempty/sub\nempty/sub/deep\nempty/sub/deep/file\nempty/sub/inner\nempty/up\ninner\n$D/work/empty\n['lines', 'sub', 'up']\n",
    );
}

#[test]
fn a_device_that_swallows() {
    says(
        "vu_insmod vudev; vumount -t vudevnull none $W/null; stat -c %F null; echo gone > null; cat null; cat < null; [ -c null ]; echo $?; ls | grep -c null; vuumount $W/null; stat null",
        "character special file\n0\n0\nstat: cannot statx 'null': No such file or directory\n",
    );
}

#[test]
fn no_network_on_a_stack_that_is_none() {
    says(
        "vu_insmod vunet; vumount -t vunetnull none $W/nonet; cat > s.py << 'END'
import socket, errno
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
    try: socket.socket(family, socket.SOCK_STREAM); print('ok')
    except OSError as e: print(errno.errorcode[e.errno])
END
        python3 s.py; vustack -f inet,inet6 $W/nonet python3 s.py; python3 s.py",
        "ok\nok\nok\nEAFNOSUPPORT\nEAFNOSUPPORT\nok\nok\nok\nok\n",
    );
}

#[test]
fn read_only() {
    says(
        "vumount -t vufs -r $W $M; cat $M/file; for c in 'touch M/file' 'mkdir M/d' 'rm -f M/file' 'mv M/file M/x' 'ln M/file M/h' 'ln -s a M/s' 'chmod 600 M/file' 'truncate -s 0 M/file' 'rmdir M/empty'; do ${c//M/$M} 2>&1 | grep -o 'Read-only file system' || echo \"$c is allowed\"; done
        (echo x > $M/file) 2>&1 | grep -o 'Read-only.*'; (cd $M/dir; touch new; cp ../zero lines) 2>&1 | grep -o 'Read-only.*'; [ -w $M/file ]; echo $?; $M/script; cat file; touch file; vuumount $M; ls $M",
        &("content\n".to_owned() + &"Read-only file system\n".repeat(12) + "1\nscript\ncontent\n"),
    );
}

#[test]
fn noexec() {
    says(
        "vumount -t vufs -o noexec $W $M; (exec $M/script) 2> /dev/null; echo $?; cp script $M/s2; (exec $M/s2) 2> /dev/null; echo $?; (cd $M; exec ./script) 2> /dev/null; echo $?; [ -x $M/script ]; echo $?; cat $M/file; rm $M/s2; ./script; vuumount $M
        vumount -t vufs -o ro,noexec $W $M; touch $M/x; (exec $M/script) 2> /dev/null; echo $?",
        "126\n126\n126\n1\ncontent\nscript\ntouch: cannot touch '$D/m/x': Read-only file system\n126\n",
    );
}

#[test]
fn exceptions() {
    says(
        "mkdir over over/sub over/sub2; echo o > over/sub/f; echo o > over/sub2/f; echo o > over/lines; vumount -t vufs -o except=/sub $W/over $W/dir; ls dir; cat dir/lines dir/sub2/f dir/sub/inner; ls dir/sub; vuumount $W/dir
        vumount -t vufs -o except=/sub,except=/lines $W/over $W/dir; head -1 dir/lines; cat dir/sub/inner dir/sub2/f; vuumount $W/dir; ls dir",
        "lines\nsub\nsub2\no\no\ninner\ndeep\ninner\none\ninner\no\nlines\nsub\nup\n",
    );
    // By relative names, too, from the host's own directory that the mount shows.
    says(
        "mkdir -p over/sub; echo o > over/sub/inner; vumount -t vufs -o except=/sub $W/over $W/dir; cd dir; cat sub/inner $W/dir/sub/inner; head -n1 < sub/inner; cd sub; cat inner ../sub/inner; cd ..
        python3 -c 'import os, sys; fd = os.open(\".\", os.O_RDONLY); print(os.stat(\"sub\", dir_fd=fd) == os.stat(\"sub\") == os.stat(sys.argv[1]))' $W/dir/sub",
        "inner\ninner\ninner\ninner\ninner\nTrue\n",
    );
}

#[test]
fn permanent_mounts_and_modules_stay() {
    let site = Site::new();
    let ran = site.session(
        "vumount -t vufs -o permanent $W/dir $W/empty; vuumount $W/empty; echo $?; vuumount -d $W/empty; echo $?; ls empty; vu_insmod -p vudev; vu_rmmod vudev; echo $?",
    );
    assert_eq!(ran.stdout(), "1\n1\nlines\nsub\nup\n1\n", "{}", ran.stderr());
    for tool in ["vuumount: ", "vu_rmmod: "] {
        assert!(ran.stderr().lines().any(|line| line.starts_with(tool)), "{}", ran.stderr());
    }
}

#[test]
fn the_mounts_are_listed_newest_first() {
    let site = Site::new();
    let said =
        site.session("vumount; vumount -t vufs $W/dir $W/empty; vumount -t vufs -r $W/file $W/zero; vumount").ok();
    let rows: Vec<&str> = said.lines().filter(|line| line.contains("/work/")).collect();
    assert_eq!(rows.len(), 2, "{said}");
    assert!(rows[0].contains("/work/file") && rows[0].contains("/work/zero") && rows[0].contains("ro"), "{said}");
    assert!(rows[1].contains("/work/dir") && rows[1].contains("/work/empty"), "{said}");
}

#[test]
fn a_listed_mount_is_in_its_parents_listing() {
    says(
        "vumount -t vufs -o list $W/dir $W/shown; vumount -t vufs $W/dir $W/hidden; ls -d shown hidden; ls | grep -e shown -e hidden",
        "hidden\nshown\nshown\n",
    );
}

#[test]
fn mount_and_umount_without_the_tools() {
    let mounter = helper("mounter", Flavour::Dynamic);
    let mounter = mounter.display();
    let site = Site::new();
    // Whatever is not the view's goes to the kernel, which says what it says outside.
    let ours = format!(
        "m={mounter}; $m mount $W/dir $W/empty vufs 0 bind; ls empty; $m umount $W/empty 0; $m mount $W/missing $W/empty vufs 0 ''; $m mount $W/dir $W/missing/x vufs 0 ''; $m mount $W/dir $W/file/x vufs 0 ''
        $m mount $W/dir $W/empty vufs 0 nosuchword; $m mount $W/dir $W/empty vufs 0 cows; $m mount $W/dir $W/empty vufs 0 'except='; $m mount '' $W/empty vufs 0 ''; $m mount $W/dir $W/empty vufs 1 ''; touch empty/x; $m umount $W/empty 2; ls empty"
    );
    let said = site.session(&format!("exec 2> /dev/null; {ours}")).stdout();
    assert_eq!(said, "ok\nlines\nsub\nup\nok\nENOENT\nENOENT\nENOTDIR\nEINVAL\nEINVAL\nEINVAL\nENOENT\nok\nok\n");
    let hosts = format!(
        "m={mounter}; $m umount $W/empty 0; $m umount $W/missing 0; $m mount none $W/empty tmpfs 0 ''; $m mount $W/dir $W/empty vufsx 0 ''; $m mount $W/dir $W/empty none 4096 ''; $m mount none $W/missing tmpfs 0 ''; mount -t tmpfs none $W/empty; umount $W/empty; echo $?"
    );
    let native = site.native(&hosts);
    let seen = site.session(&hosts);
    assert_eq!((seen.stdout(), seen.stderr()), (native.stdout(), native.stderr()));
}

#[test]
fn renames_and_links_between_mounts_are_refused_as_between_file_systems() {
    says(
        "mkdir one two; vumount -t vufs $W/dir $W/one; vumount -t vufs $W/many $W/two; cat > r.py << 'END'
import os, errno
for what, f in [('rename', os.rename), ('link', os.link)]:
    for a, b in [('one/lines', 'two/x'), ('one/lines', 'x'), ('file', 'one/x'), ('two/f1', 'one/f1')]:
        try: f(a, b); print(what, a, b, 'ok')
        except OSError as e: print(what, a, b, errno.errorcode[e.errno])
os.rename('one/lines', 'one/moved'); print(os.listdir('dir').count('moved'))
END
        python3 r.py; mv one/moved two/ && ls dir; cat many/moved; rmdir one 2>&1 | grep -o busy; mv one three 2>&1 | grep -o busy; rm -rf two 2> /dev/null; ls -d two",
        "rename one/lines two/x EXDEV\nrename one/lines x EXDEV\nrename file one/x EXDEV\nrename two/f1 one/f1 EXDEV\n\
         link one/lines two/x EXDEV\nlink one/lines x EXDEV\nlink file one/x EXDEV\nlink two/f1 one/f1 EXDEV\n\
         1\nsub\nup\none\ntwo\nthree\nbusy\nbusy\ntwo\n",
    );
}

/// Proofs that a way is free of links outlive the renames of files only.
#[test]
fn a_link_that_takes_the_place_of_a_directory_or_a_file_is_seen_at_once() {
    says(
        "mkdir upper low; vumount -t vufs $W/dir $W/empty; vumount -t vufs -o cow upper low; cat > r.py << 'END'
import ctypes, os, sys, time
def text(name): return open(os.getcwd() + '/' + name).readline().strip()
def exchange(a, b): assert ctypes.CDLL(None).renameat2(-100, a.encode(), -100, b.encode(), 2) == 0
for place in sys.argv[2:]:
    os.chdir(place)
    os.makedirs('way/sub'); print('way', file=open('way/sub/inner', 'w')); print('plain', file=open('plain', 'w'))
    os.symlink(sys.argv[1], 'to_dir'); os.symlink(sys.argv[1] + '/lines', 'to_lines'); time.sleep(0.05)
    said = [text('way/sub/inner'), text('plain')]
    os.rename('plain', 'other'); os.link('other', 'plain'); said += [text('way/sub/inner'), text('plain')]
    exchange('plain', 'to_lines'); said += [text('plain'), text('to_lines')]
    os.rename('way', 'gone'); os.rename('to_dir', 'way'); said.append(text('way/sub/inner'))
    print(*said)
END
        python3 r.py $W/empty $W $W/low",
        "way plain way plain one plain inner\nway plain way plain one plain inner\n",
    );
}

#[test]
fn links_lead_into_and_out_of_mounts() {
    says(
        "mkdir mnt; vumount -t vufs $W/dir $W/mnt; ln -s mnt/lines into; head -1 into; ln -s $W/mnt/sub inabs; cat inabs/inner; cat mnt/up; ln -s ../file mnt/out; cat mnt/out; ln -s $W/mnt/../file dir/round; cat mnt/round; cat mnt/sub/../../file; cd mnt/sub; cat ../../file; head -1 ../lines; cd -P ..; pwd; cd ..; pwd
        ln -s mnt/created dangle; echo made > dangle; cat dir/created; readlink -f into inabs mnt/out mnt/sub/..; ls -l into | sed 's/.*into/into/'; cp -a mnt copied; diff -r --no-dereference mnt copied && echo equal",
        "one\ninner\ninner\ncontent\ncontent\ncontent\ncontent\none\n$D/work/mnt\n$D/work\nmade\n$D/work/mnt/lines\n$D/work/mnt/sub\n$D/work/file\n$D/work/mnt\ninto -> mnt/lines\nequal\n",
    );
}

#[test]
fn programs_and_libraries_come_from_mounts() {
    let hello = helper("hello", Flavour::Dynamic);
    let site = Site::new();
    let script = format!(
        "vumount -t vufs $W/dir $W/virtual; cp {} dir/prog; printf '#!%s/virtual/prog x\\n' \"$W\" > script2; chmod +x script2; printf '#!/bin/sh\\necho \"$0\"; readlink /proc/$$/cwd\\n' > dir/sh; chmod +x dir/sh
        virtual/prog | head -1; ./script2 | head -1; virtual/sh; (cd virtual; ./sh; ./prog > /dev/null; echo $?); PATH=$W/virtual:$PATH; prog | tail -1; python3 -c 'import os; f = os.open(\"virtual/prog\", os.O_RDONLY | os.O_CLOEXEC); os.execve(f, [\"x\"], os.environ)' | head -1; ln -s virtual/prog plink; ./plink | head -1; vuumount $W/virtual; ./script2 2> /dev/null || echo gone",
        hello.display()
    );
    let said = site.session(&script).ok().replace(site.path().to_str().unwrap(), "$D");
    assert_eq!(
        said,
        "64 bits, 1 arguments, file says content\n64 bits, 3 arguments, file says content\nvirtual/sh\n$D/work\n./sh\n$D/work/virtual\n21\ndir: 8 entries\n64 bits, 1 arguments, file says content\n64 bits, 1 arguments, file says content\ngone\n"
    );
}

#[test]
fn two_shells_in_one_view_see_each_others_mounts() {
    says(
        "(until [ -e go ]; do sleep 0.05; done; cat empty/up; vumount -t vufs $W/file $W/back; touch gone; sleep 0.2) & vumount -t vufs $W/dir $W/empty; touch go; until [ -e gone ]; do sleep 0.05; done; cat back; vuumount $W/empty; wait; ls empty",
        "inner\ncontent\n",
    );
}

#[test]
fn two_views_do_not_see_each_others_mounts() {
    let site = Site::new();
    let mut command = site.user_command(&*UMVU);
    let script =
        "vumount -t vufs $W/dir $W/empty; ls empty; touch mounted; until [ -e end ]; do sleep 0.05; done; ls empty";
    command.args(["--norc", "-m", "vufs", "--", "bash", "-c", script]);
    command.stdout(Stdio::piped());
    let mut first = Running::start(command);
    let second = site
        .session("until [ -e mounted ]; do sleep 0.05; done; ls empty; vumount -t vufs $W/many $W/empty; cat empty/f1; vumount -t vufs $W/many $W/dir; touch end; sleep 0.3; vumount | grep -c /work/many")
        .ok();
    assert_eq!(second, "1\n2\n");
    assert!(first.wait().success());
    assert_eq!(std::io::read_to_string(first.0.stdout.take().unwrap()).unwrap(), "lines\nsub\nup\nlines\nsub\nup\n");
}

#[test]
fn an_inner_view_begins_with_the_outer_mounts_and_keeps_its_own() {
    says(
        "vumount -t vufs $W/dir $W/empty; $UMVU --norc bash -c 'ls empty; vumount -t vufs $W/file $W/own; cat own; vuumount $W/empty; ls empty; vuname inner; vuname -V'; cat own; ls empty; vuname outer; vuname -V",
        "lines\nsub\nup\ncontent\ninner\ncat: own: No such file or directory\nlines\nsub\nup\nouter\n",
    );
}

#[test]
fn a_mount_does_not_wake_who_waits() {
    let program = helper("interrupted", Flavour::Dynamic);
    let site = Site::new();
    let native = site.native(&format!("{} waits all-wait", program.display())).ok();
    assert!(!native.contains("too ") && native.contains("epoll_wait: done"), "{native}");
    site.native("rm all-wait").ok();
    // The first mount installs the filter in every process of the view, the sleeping ones included.
    let script = format!(
        "{} waits all-wait & until [ -e all-wait ]; do sleep 0.05; done; vumount -t vufs / $M; ls $M > /dev/null; wait",
        program.display()
    );
    assert_eq!(site.session(&script).ok(), native);
}

#[test]
fn the_first_mount_reaches_processes_that_run_already() {
    says(
        "cat > l.py << 'END'
import threading, os
seen = []
def look():
    while not os.path.exists('empty/lines'): pass
    seen.append(1)
ts = [threading.Thread(target=look) for _ in range(4)]
for t in ts: t.start()
open('ready', 'w')
for t in ts: t.join()
open('threads', 'w').write(str(len(seen)) + '\\n')
END
        (until [ -e empty/lines ]; do :; done; head -1 empty/lines > seen1) & (exec 3< file; while [ ! -e go ]; do sleep 0.02; done; cat empty/up - <&3 > seen2) & python3 l.py & until [ -e ready ]; do sleep 0.02; done
        vumount -t vufs $W/dir $W/empty; touch go; wait; cat seen1 seen2 threads",
        "one\ninner\ncontent\n4\n",
    );
}

#[test]
fn how_a_path_resolves_is_explained() {
    let squeezed = |text: &str| {
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect::<String>()
    };
    let site = Site::new();
    let script = "mkdir -p src/sub old point; echo new > src/f; ln -s f src/link; ln -s ../elsewhere src/out; echo x > point/kept
        vumount -t vufs $W/old $W/point; vumount -t vufs -o except=/kept $W/src $W/point; cd point
        vudebug explain link kept out sub/..; echo $?";
    let ran = site.session(&format!("exec 2>&1\n{script}"));
    let place = site.path().join("work");
    let own = |line: &&str| line.contains("$W") || !line.starts_with('/');
    let said: String = squeezed(&ran.stdout().replace(place.to_str().unwrap(), "$W")).lines().filter(own).fold(
        String::new(),
        |mut text, line| {
            writeln!(text, "{line}").unwrap();
            text
        },
    );
    let hidden = "vufs on $W/point is hidden";
    let expected = format!(
        "link\n\
         $W/point/link link to f vufs on $W/point: the host's $W/src/link; {hidden}\n\
         $W/point/f file vufs on $W/point: the host's $W/src/f; {hidden}\n\
         = $W/point/f file vufs on $W/point: the host's $W/src/f; {hidden}; the kernel is led there\n\
         kept\n\
         $W/point/kept No such file or directory vufs on $W/point: the host's $W/old/kept; vufs on $W/point declines\n\
         = $W/point/kept missing vufs on $W/point: the host's $W/old/kept; vufs on $W/point declines; the kernel is led there\n\
         out\n\
         $W/point/out link to ../elsewhere vufs on $W/point: the host's $W/src/out; {hidden}\n\
         $W/elsewhere No such file or directory the host\n\
         = $W/elsewhere missing the host; the kernel is led there\n\
         sub/..\n\
         $W/point/sub directory vufs on $W/point: the host's $W/src/sub; {hidden}\n\
         = $W/point directory vufs on $W/point: the host's $W/src; {hidden}; the kernel finds it by itself\n\
         0\n"
    );
    assert_eq!(said, expected);
}
