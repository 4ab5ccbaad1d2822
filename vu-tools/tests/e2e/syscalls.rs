//! Every system call that takes a path, with every shape of argument, natively and in each view: the same results.

use crate::harness::{Flavour, Site, View, helper};
use std::collections::{BTreeMap, VecDeque};

/// Runs `tests/c/paths.c` everywhere. Its output is some 40000 lines, a system call each.
fn paths(flavour: Flavour) {
    let program = helper("paths", flavour);
    let site = Site::new();
    let script = format!("mkdir scratch && exec \"$P{}\" \"$W/scratch\"", program.display());
    let native = site.script_in(None, "sh", &script).ok();
    assert!(native.ends_with("done\n") && native.lines().count() > 30000, "it ends early: {:?}", native.lines().last());
    let mut failures = Vec::new();
    for view in View::ALL {
        site.reset();
        let ran = site.script_in(Some(view), "sh", &script);
        let seen = ran.stdout();
        if seen != native || !ran.status.success() {
            failures.push(format!(
                "in the view {view:?} ({}):\n{}{}",
                ran.status,
                differing_calls(&native, &seen),
                ran.stderr()
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Each call that ends in another way, or changes something else, than on the host; counted by system call.
fn differing_calls(native: &str, seen: &str) -> String {
    // A call's own line, and those that tell what it changed.
    let calls = |text: &str| {
        let mut calls: Vec<(String, String)> = Vec::new();
        for line in text.lines() {
            match calls.last_mut() {
                Some((_, result)) if line.starts_with(' ') => *result += &format!(";{}", &line[3..]),
                _ => {
                    let (call, result) = line.split_once(" = ").unwrap_or((line, ""));
                    calls.push((call.to_owned(), result.to_owned()));
                }
            }
        }
        calls
    };
    let (native, seen) = (calls(native), calls(seen));
    // The same call may be made more than once; then the order tells which is which.
    let mut results: BTreeMap<&str, VecDeque<&str>> = BTreeMap::new();
    for (call, result) in &seen {
        results.entry(call).or_default().push_back(result);
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut shown = String::new();
    for (call, host) in &native {
        let view = results.get_mut(call.as_str()).and_then(VecDeque::pop_front);
        if view == Some(host) {
            continue;
        }
        let count = counts.entry(call.split(' ').next().unwrap_or_default()).or_default();
        *count += 1;
        // A few of each system call; the rest is usually more of the same.
        if *count <= 12 {
            shown += &format!("  {call}: host: {host}  view: {}\n", view.unwrap_or("no such line"));
        }
    }
    if native.len() != seen.len() {
        shown +=
            &format!("  {} calls on the host, {} in the view, the last {:?}\n", native.len(), seen.len(), seen.last());
    }
    format!("{shown}  how many: {counts:?}\n")
}

#[test]
fn paths_of_a_64_bit_program() {
    paths(Flavour::Dynamic);
}

#[test]
fn paths_of_a_32_bit_program() {
    paths(Flavour::I386);
}
