//! Debuggers inside: what debug.c looks at holds natively, and in a view.

use crate::{House, finish, lifetime::Test};
use std::{
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

pub const TESTS: &[(&str, Test)] =
    &[("debug_natively", natively), ("debug_in_a_view", in_a_view), ("debug_with_a_filter", with_a_filter)];

fn check(command: &mut Command) {
    let output = finish(command, 120);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{}\n{errors}", output.status);
}

fn debug(house: &House) -> String {
    house.tracee.with_file_name("debug").to_str().unwrap().to_owned()
}

/// The scenarios themselves are right.
fn natively(house: &House) {
    let mut command = Command::new(debug(house));
    // As in a view.
    command.process_group(0);
    command.arg("all").stdin(Stdio::null());
    if let Some(user) = house.who {
        command.uid(user).gid(user);
    }
    check(&mut command);
}

fn in_a_view(house: &House) {
    check(&mut house.view(&[&debug(house), "all"]));
}

/// Calls are answered, exchanged and let run, and the debugger sees the debuggee's own.
fn with_a_filter(house: &House) {
    check(&mut house.view(&[&debug(house), "all", "filter"]));
}
