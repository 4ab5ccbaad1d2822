//! Bad input inside a view: one clear line and the right status each. (`bad_input.rs` has what needs no view.)

use crate::harness::Site;

/// A tool's line in a view with `vufs`, that it fails with `status`, and that it names all of `named` in one line: the only one, unless it sends people to umvu's log.
#[track_caller]
fn refused(line: &str, status: i32, named: &[&str]) {
    let site = Site::new();
    let ran = site.session(line);
    let complaint = ran.stderr();
    let tool = line.split(' ').next().unwrap();
    let own: Vec<&str> = complaint.lines().filter(|said| said.starts_with(&format!("{tool}: "))).collect();
    assert_eq!((ran.status.code(), ran.stdout().as_str()), (Some(status), ""), "{line}: {complaint}");
    assert_eq!(own.len(), 1, "{line}: one line of the tool's: {complaint}");
    assert!(complaint.lines().count() == 1 || complaint.contains("umvu's log"), "{line}: said twice: {complaint}");
    for name in named {
        let name = name.replace("$W", site.work().to_str().unwrap());
        assert!(complaint.contains(&name), "{line}: {name} is not in: {complaint}");
    }
}

#[test]
fn modules() {
    refused("vu_insmod nosuch", 1, &["nosuch", "vufs", "vufuse", "vudev", "vunet"]);
    refused("vu_insmod vufs", 1, &["vufs", "already"]);
    refused("vu_rmmod vudev", 1, &["vudev"]);
    refused("vu_rmmod nosuch", 1, &["nosuch"]);
}

#[test]
fn mounts() {
    refused("vumount -t nosuchtype / $W/dir", 1, &["nosuchtype", "$W/dir"]);
    refused("vumount -t vufusenull none $W/dir", 1, &["vufusenull"]);
    refused("vumount -t vufs $W/missing $W/dir", 1, &["$W/missing", "does not exist"]);
    refused("vumount -t vufs $W/dir $W/missing/x", 1, &["$W/missing/x"]);
    refused("vumount -t vufs $W/dir $W/file/x", 1, &["$W/file/x"]);
    refused("vumount -t vufs -o nosuchword $W/dir $W/empty", 1, &["nosuchword"]);
    refused("vumount -t vufs -o 'except=relative' $W/dir $W/empty", 1, &["relative"]);
    refused("vumount -t vufs -o 'bind,\"open' $W/dir $W/empty", 1, &["$W/empty"]);
    refused("vumount -t vufs -o =x $W/dir $W/empty", 1, &["$W/empty"]);
    refused("vumount -t vufs -o cow $W/file $W/empty", 1, &["$W/file is no directory"]);
    refused("vumount -t vufs -o cow $W/empty $W/file", 1, &["$W/file is no directory"]);
    refused("vumount -t vufs -o cow $W/empty $W/missing", 1, &["$W/missing does not exist"]);
    refused("vuumount $W/empty", 1, &["$W/empty"]);
    refused("vuumount $W/missing", 1, &["$W/missing"]);
}

#[test]
fn what_was_refused_leaves_nothing_behind() {
    let site = Site::new();
    let said = site
        .session(
            "exec 2> /dev/null; vumount -t vufs $W/missing $W/dir; vumount -t vufs -o nosuch $W/dir $W/empty; vumount -t vufs $W/dir $W/file/x; vuumount $W/empty; vu_insmod vufs nosuch vudev
            vumount | grep -c work; ls empty; vu_rmmod vufs && echo removed",
        )
        .stdout();
    assert_eq!(said, "0\nremoved\n");
}

#[test]
fn commands_that_cannot_be_executed() {
    let site = Site::new();
    site.native("printf '#!/no/such\\n' > nointerpreter; chmod +x nointerpreter").ok();
    for (command, status) in [
        ("nosuchcommand", 127),
        ("./missing", 127),
        ("./file/x", 127),
        ("./nointerpreter", 127),
        ("./file", 126),
        ("./dir", 126),
    ] {
        let complaint = site.umvu(&["--norc", "--", command], b"").refused(status);
        assert!(
            complaint.starts_with("umvu: ") && complaint.contains(command) && complaint.lines().count() == 1,
            "{complaint}"
        );
        // The same in an inner view.
        let ran = site.session(&format!("$UMVU --norc -- {command}"));
        assert_eq!((ran.status.code(), ran.stderr()), (Some(status), complaint), "{command} inside");
    }
}

#[test]
fn a_module_that_is_asked_for_and_does_not_exist() {
    let complaint = Site::new().umvu(&["--norc", "-m", "vufs,nosuch", "--", "true"], b"").refused(1);
    assert!(complaint.contains("nosuch") && complaint.lines().count() == 1, "{complaint}");
}
