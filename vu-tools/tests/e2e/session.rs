//! The session of the README, its output the expectation; and how a view starts.

use crate::harness::{Site, UMVU, run};

/// What a shell in a view prints when it reads these lines; `$M` is an empty directory.
#[track_caller]
fn shell(site: &Site, lines: &str) -> String {
    let mut command = site.user_command(&*UMVU);
    command.args(["bash"]);
    let ran = run(command, lines.as_bytes());
    ran.stderr().lines().fold(ran.stdout(), |text, line| text + "stderr: " + line + "\n")
}

#[test]
fn the_session_of_the_readme() {
    let site = Site::new();
    let root = site.native("ls /").ok();
    assert!(root.contains("etc\n") && !root.contains("unreal"));
    let lines = r#"
exec 2>&1
echo "== empty"; ls $M
echo "== lsmod"; vu_insmod vufs; vu_lsmod
echo "== root"; vumount -t vufs / $M; ls $M
echo "== empty"; ls $M$M
echo "== root"; vumount -t vufs / $M; ls $M$M
echo "== empty"; ls $M$M$M
echo "== missing"; ls /unreal
echo "== root"; vumount -t vufs / /unreal; ls /unreal
echo "== reachable"; ls -d /unreal; cd /; ls -d unreal
echo "== not listed"; ls
echo "== resolv.conf"; echo nameserver 80.80.80.80 > $D/resolv.conf; vumount -t vufs $D/resolv.conf /etc/resolv.conf; cat /etc/resolv.conf
echo "== unmounted"; vuumount /etc/resolv.conf; cat /etc/resolv.conf 2>&1
vuumount /unreal; ls -d /unreal; vuumount $M; ls $M$M; vuumount $M; ls $M; vu_rmmod vufs; vu_lsmod
echo "== end"; exit
"#;
    let resolv = site.native("cat /etc/resolv.conf 2>&1").stdout();
    let expected = [
        "== empty\n",
        "== lsmod\nvufs: vu filesystem patchworking\n",
        "== root\n",
        &root,
        "== empty\n",
        "== root\n",
        &root,
        "== empty\n",
        "== missing\nls: cannot access '/unreal': No such file or directory\n",
        "== root\n",
        &root,
        "== reachable\n/unreal\nunreal\n",
        "== not listed\n",
        &root,
        "== resolv.conf\nnameserver 80.80.80.80\n",
        "== unmounted\n",
        &resolv,
        "ls: cannot access '/unreal': No such file or directory\n",
        "== end\n",
    ]
    .concat();
    assert_eq!(shell(&site, lines), expected);
}

#[test]
fn umvu_without_a_command_runs_the_shell() {
    let site = Site::new();
    let mut command = site.user_command(&*UMVU);
    command.env("SHELL", "/bin/dash");
    let ran = run(command, b"cat file; cat /proc/$$/comm; exit 3\n");
    assert_eq!((ran.stdout().as_str(), ran.status.code()), ("content\ndash\n", Some(3)), "{}", ran.stderr());
}

#[test]
fn start_up_files_mount_before_the_command_starts() {
    let site = Site::new();
    site.native(
        "printf '#!/bin/sh\\nvu_insmod vufs 2> /dev/null; vumount -t vufs / \"$M\"\\n' > ~/.vurc; chmod +x ~/.vurc",
    )
    .ok();
    assert_eq!(site.umvu(&["sh", "-c", "cat $M$W/file"], b"").ok(), "content\n");
    assert_eq!(site.umvu(&["--norc", "sh", "-c", "ls $M"], b"").ok(), "");
    let inner = "PATH=/usr/bin:/bin $UMVU sh -c 'cat $M$W/file'";
    assert_eq!(site.umvu(&["--norc", "sh", "-c", inner], b"").ok(), "content\n", "in a view in a view, too");
    site.native("printf '#!/bin/sh\\nexit 4\\n' > own; chmod +x own").ok();
    let ran = site.umvu(&["--rc", "own", "sh", "-c", "ls $M; exit 6"], b"");
    let complaint = ran.stderr();
    assert!(complaint.contains("own") && complaint.contains('4'), "a start-up file that fails is named: {complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    assert_eq!((ran.stdout().as_str(), ran.status.code()), ("", Some(6)), "and the command runs all the same");
}

#[test]
fn the_tools_tell_about_the_view() {
    let site = Site::new();
    let script =
        "vuname -V; vuname -U; vuname -s; vuname other; vuname -V; vu_lsmod -a | cut -d: -f1 | sort | tr '\\n' ' '";
    let said = site.umvu(&["--norc", "-V", "first", "-m", "vufs", "--", "bash", "-c", script], b"").ok();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "first");
    assert!(lines[1].parse::<u32>().is_ok(), "the server's id is umvu's pid: {}", lines[1]);
    assert_eq!(&lines[2..4], ["Linux", "other"]);
    for module in ["vudev", "vufs", "vufuse", "vunet"] {
        assert!(lines[4].contains(module), "{}", lines[4]);
    }
}
