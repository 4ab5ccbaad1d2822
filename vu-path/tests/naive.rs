//! The walk against a second implementation, over random trees with nested and file-level mounts.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod support;

use proptest::prelude::*;
use support::{Case, StepByStep, config, naive};
use vu_api::Errno;
use vu_path::{Kind, State, resolve, resolve_existing};

proptest! {
    #![proptest_config(config(10_000))]

    #[test]
    fn both_walks_agree(bytes in proptest::collection::vec(any::<u8>(), 40..700)) {
        let case = Case::from_bytes(&bytes);
        let expected = naive(&case);
        let view = &case.view;
        let walks = [
            resolve(view, &case.start(), &case.path, &case.options),
            resolve(&StepByStep(view), &case.start(), &case.path, &case.options),
        ];
        for walked in walks {
            match (&expected, &walked) {
                (Ok(expected), Ok(walked)) => {
                    prop_assert_eq!(&walked.path, &expected.path);
                    if walked.state != State::Found(Kind::Unknown) {
                        prop_assert_eq!(walked.state, expected.state);
                    } else {
                        prop_assert!(view.shy && expected.state != State::Missing);
                    }
                    prop_assert_eq!(walked.last, expected.last);
                    prop_assert_eq!(walked.must_be_dir, expected.must_be_dir);
                    prop_assert_eq!(walked.opaque, expected.opaque);
                    prop_assert_eq!(walked.symlinks, expected.symlinks);
                }
                (Err(expected), Err(errno)) => prop_assert_eq!(errno, expected),
                _ => prop_assert!(false, "{expected:?} is expected, but it is {walked:?}"),
            }
        }
    }

    #[test]
    fn a_missing_object_does_not_exist(bytes in proptest::collection::vec(any::<u8>(), 40..700)) {
        let case = Case::from_bytes(&bytes);
        let place = resolve(&case.view, &case.start(), &case.path, &case.options);
        let object = resolve_existing(&case.view, &case.start(), &case.path, &case.options);
        match (place, object) {
            (Ok(place), Err(errno)) => prop_assert_eq!((place.state, errno), (State::Missing, Errno::ENOENT)),
            (Ok(place), Ok(object)) => prop_assert_eq!((place.path, place.state), (object.path, object.state)),
            (place, object) => prop_assert_eq!(place.err(), object.err()),
        }
    }
}
