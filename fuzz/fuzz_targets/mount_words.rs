//! The data string of mount(2).
#![no_main]

use libfuzzer_sys::fuzz_target;
use vu_api::MountWords;

/// The text in which nothing has a meaning.
fn escaped(text: &str) -> String {
    text.chars().flat_map(|c| ['\\', c]).collect()
}

fuzz_target!(|data: &[u8]| {
    let Ok(words) = MountWords::parse(data) else { return };
    let spelled: Vec<String> = words
        .iter()
        .map(|(name, value)| match value {
            Some(value) => format!("{}={}", escaped(name), escaped(value)),
            None => escaped(name),
        })
        .collect();
    assert_eq!(MountWords::parse(spelled.join(",").as_bytes()), Ok(words.clone()));

    assert_eq!(words.unknown(&[], &[]), words.iter().next().map(|(name, _)| name.to_owned()));
    let mut rest = words.clone();
    for (name, _) in words.iter() {
        assert_eq!(rest.has(name), rest.take(name));
        assert!(!rest.has(name));
    }
    assert!(rest.iter().eq(words.iter().filter(|(_, value)| value.is_some())));
});
