//! Programs that mean no good: the hypervisor lives, and others in the view do not notice.

use crate::harness::{Flavour, Site, View, helper};

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
fn processes_without_memory_and_descriptors() {
    beside_a_witness("poverty");
}
