//! Programs that mean no good: the hypervisor lives, and others in the view do not notice.

use crate::harness::{Flavour, Site, View, helper, run};

/// Runs a scenario of `tests/c/hostile.c` in each view beside one who does everyday things and looks at the results.
fn beside_a_witness(scenario: &str) {
    let program = helper("hostile", Flavour::Dynamic);
    for view in View::ALL {
        let site = Site::new();
        let script = format!(
            r#"mkdir hostile seen
            (while [ ! -e stop ]; do
                read -r line < file && [ "$line" = content ] && [ -d /usr ] && [ "$(/bin/echo x)" = x ] && mkdir seen/x && rmdir seen/x ||
                    {{ echo a witness saw something else; exit 1; }}
            done) & witness=$!
            its=$("$(dirname "$UMVU")/vuname" -U)
            cd hostile; "$P{}" {scenario} $its; status=$?; cd ..
            touch stop; wait $witness || exit 8; chmod -R u+rwx hostile; rm -rf hostile seen stop; cat file; exit $status"#,
            program.display()
        );
        let ran = site.script_in(Some(view), "bash", &script);
        let stderr = ran.stderr();
        assert!(
            ran.status.success() && !stderr.contains("panicked"),
            "{scenario} in {view:?}: {}\n{stderr}",
            ran.status
        );
        assert_eq!(ran.stdout(), "content\n", "{scenario} in {view:?}");
    }
}

#[test]
fn memory_that_changes_while_it_is_read() {
    beside_a_witness("race");
}

#[test]
fn memory_that_goes_away() {
    beside_a_witness("unmap");
}

#[test]
fn descriptors_that_are_closed_while_others_are_given() {
    beside_a_witness("descriptors");
}

#[test]
fn guessed_cookies() {
    beside_a_witness("cookies");
}

#[test]
fn the_hypervisor_cannot_be_debugged_from_inside() {
    beside_a_witness("hypervisor");
}

#[test]
fn signals_without_end() {
    beside_a_witness("signals");
}

#[test]
fn threads_that_all_execute_and_are_killed() {
    beside_a_witness("executions");
}

#[test]
fn processes_that_end_while_they_make_children() {
    beside_a_witness("orphans");
    // Their children are in their view, and in no other one.
    let site = Site::new();
    let inner = r#"vuumount "$W"; cd "$D/out"; ELSEWHERE="$W/here" exec "$1" orphans 0"#;
    let script = format!(
        r#"vumount -t vufs -o cow "$D/cow" "$W" && cd "$W" && echo > here && umvu --norc -m vufs -- sh -c '{inner}' sh {}; echo $?; ls here*"#,
        helper("hostile", Flavour::Dynamic).display()
    );
    assert_eq!(site.session(&script).ok(), "0\nhere\n");
}

#[test]
fn processes_without_memory_and_descriptors() {
    beside_a_witness("poverty");
}

/// A number is the next one's when its thread is gone, and nobody is told of each that goes. In a pid namespace of few numbers that takes no time; a view there
/// shows what the one inside of it does not.
#[test]
fn numbers_come_again() {
    let site = Site::new();
    let few = "unshare --user --map-root-user --pid --fork --mount-proc sh -c 'echo 400 > /proc/sys/kernel/pid_max'";
    if !site.native(few).status.success() {
        // Linux 6.14 is the first that has a limit for each namespace.
        return eprintln!("not tested: there is no pid namespace with numbers of its own here");
    }
    let program = helper("hostile", Flavour::Dynamic);
    let look = r#"vumount -t vufs -o cow "$D/cow" "$W" && cd "$W" || exit 99
        echo changed > file
        umvu --norc -m vufs -- sh -c 'vuumount "$W"; cd "$D/out"; exec "$1" executions 0' sh "$1" & other=$!
        while kill -0 $other; do read -r line <<< "$(cat file)"; [ "$line" = changed ] || { echo "it is '$line'"; exit 1; }; done 2> /dev/null
        wait $other && for i in {1..400}; do cat file; done | uniq -c"#;
    let script = format!(
        "echo 400 > /proc/sys/kernel/pid_max; exec \"$UMVU\" --norc -m vufs -- bash -c '{}' sh {}",
        look.replace('\'', r"'\''"),
        program.display()
    );
    let mut command = site.user_command("/usr/bin/unshare");
    command.args(["--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "bash", "-c", &script]);
    assert_eq!(run(command, b"").ok().trim(), "400 changed");
}
