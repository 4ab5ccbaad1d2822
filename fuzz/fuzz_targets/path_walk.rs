//! The path walk over random trees with nested and file-level mounts against a naive walk.
#![no_main]

#[path = "../../vu-path/tests/support/mod.rs"]
mod support;

use libfuzzer_sys::fuzz_target;
use support::{Case, StepByStep, naive};
use vu_path::{Kind, State, resolve};

fuzz_target!(|data: &[u8]| {
    let case = Case::from_bytes(data);
    let expected = naive(&case);
    let view = &case.view;
    for walked in [
        resolve(view, &case.start(), &case.path, &case.options),
        resolve(&StepByStep(view), &case.start(), &case.path, &case.options),
    ] {
        match (&expected, walked) {
            (Ok(expected), Ok(walked)) => {
                assert_eq!(walked.path, expected.path);
                if walked.state != State::Found(Kind::Unknown) {
                    assert_eq!(walked.state, expected.state);
                }
                assert_eq!(walked.last, expected.last);
                assert_eq!(walked.must_be_dir, expected.must_be_dir);
                assert_eq!(walked.opaque, expected.opaque);
                assert_eq!(walked.symlinks, expected.symlinks);
            }
            (Err(expected), Err(errno)) => assert_eq!(errno, *expected),
            (expected, walked) => panic!("{expected:?} is expected, but it is {walked:?}"),
        }
    }
});
