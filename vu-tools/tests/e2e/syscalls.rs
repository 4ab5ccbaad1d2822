//! Every system call that takes a path, with every shape of argument, natively and in each view: the same results.

use crate::harness::{Flavour, Site, View, difference, helper};

/// Runs `tests/c/paths.c` everywhere. Its output is some 40000 lines, a system call each.
fn paths(flavour: Flavour) {
    let program = helper("paths", flavour);
    let site = Site::new();
    let script = format!("rm -rf scratch && mkdir scratch && exec \"$P{}\" \"$W/scratch\"", program.display());
    let native = site.script_in(None, "sh", &script).ok();
    assert!(native.ends_with("done\n") && native.lines().count() > 30000, "it ends early: {:?}", native.lines().last());
    let mut failures = Vec::new();
    for view in View::ALL {
        let ran = site.script_in(Some(view), "sh", &script);
        let seen = ran.stdout();
        if seen != native || !ran.status.success() {
            failures.push(format!(
                "in the view {view:?} ({}):\n{}{}",
                ran.status,
                difference(&native, &seen),
                ran.stderr()
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn paths_of_a_64_bit_program() {
    paths(Flavour::Dynamic);
}

#[test]
fn paths_of_a_32_bit_program() {
    paths(Flavour::I386);
}
