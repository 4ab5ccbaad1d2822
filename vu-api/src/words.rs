//! The data string of mount(2): words separated by commas, with quotes and backslash escapes.

use std::fmt;

/// The data words of a mount, taken apart: `mode=0644,"a,b",except=/x`.
///
/// A comma inside quotes (`'` or `"`), or after a backslash, belongs to the word; the quotes and the backslash do not.
/// Empty words vanish. A word is a name, or a name, `=` and a value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MountWords(Vec<(String, Option<String>)>);

/// What is wrong with a data string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WordError {
    /// It is not UTF-8.
    NotText,
    /// A quote is not closed, or a backslash ends the string.
    Unterminated,
    /// A word begins with `=`.
    NoName,
    /// There are more words than [`MountWords::MAX_WORDS`].
    TooMany,
}

impl MountWords {
    /// How many words are accepted at most.
    pub const MAX_WORDS: usize = 1024;

    /// Takes a data string apart.
    ///
    /// # Errors
    /// See [`WordError`].
    pub fn parse(data: &[u8]) -> Result<MountWords, WordError> {
        let data = std::str::from_utf8(data).map_err(|_| WordError::NotText)?;
        let mut words = Vec::new();
        let mut chars = data.chars();
        let mut word = String::new();
        // Where the first unquoted '=' stands in `word`.
        let mut equals = None;
        let mut quote = None;
        loop {
            let next = chars.next();
            match (next, quote) {
                (None, Some(_)) => return Err(WordError::Unterminated),
                (None | Some(','), None) => {
                    Self::add(&mut words, std::mem::take(&mut word), equals.take())?;
                    if next.is_none() {
                        return Ok(MountWords(words));
                    }
                }
                (Some('\\'), _) => word.push(chars.next().ok_or(WordError::Unterminated)?),
                (Some(c), Some(open)) if c == open => quote = None,
                (Some(c @ ('\'' | '"')), None) => quote = Some(c),
                (Some('='), None) if equals.is_none() => {
                    equals = Some(word.len());
                    word.push('=');
                }
                (Some(c), _) => word.push(c),
            }
        }
    }

    fn add(words: &mut Vec<(String, Option<String>)>, word: String, equals: Option<usize>) -> Result<(), WordError> {
        if word.is_empty() {
            return Ok(());
        }
        if words.len() == Self::MAX_WORDS {
            return Err(WordError::TooMany);
        }
        words.push(match equals {
            Some(0) => return Err(WordError::NoName),
            Some(at) => (word[..at].to_owned(), Some(word[at + 1..].to_owned())),
            None => (word, None),
        });
        Ok(())
    }

    /// The words in order: name, and value if there is a `=`.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    /// Whether the bare word is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.iter().any(|(n, value)| n == name && value.is_none())
    }

    /// Takes every bare word of this name out; whether there was one.
    pub fn take(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|(n, value)| n != name || value.is_some());
        self.0.len() != before
    }

    /// Takes over words of another list, in the place of those of the same name.
    pub fn exchange(&mut self, newer: &MountWords) {
        for (name, value) in &newer.0 {
            match self.0.iter_mut().find(|(known, _)| known == name) {
                Some(word) => word.1.clone_from(value),
                None => self.0.push((name.clone(), value.clone())),
            }
        }
    }

    /// The first word whose name is in none of the lists: what a module must refuse with `EINVAL`.
    #[must_use]
    pub fn unknown(&self, bare: &[&str], with_value: &[&str]) -> Option<String> {
        self.iter().find_map(|(name, value)| {
            let known = if value.is_some() { with_value } else { bare };
            (!known.contains(&name)).then(|| name.to_owned())
        })
    }
}

impl fmt::Display for WordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WordError::NotText => "the mount options are not UTF-8",
            WordError::Unterminated => "the mount options end inside a quote or after a backslash",
            WordError::NoName => "a mount option begins with '='",
            WordError::TooMany => "there are too many mount options",
        })
    }
}

impl std::error::Error for WordError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(data: &str, expected: &[(&str, Option<&str>)]) {
        let words = MountWords::parse(data.as_bytes()).unwrap();
        assert_eq!(words.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn words_values_quotes_and_escapes() {
        check("", &[]);
        check("ro,,cow", &[("ro", None), ("cow", None)]);
        check("mode=0644,x=", &[("mode", Some("0644")), ("x", Some(""))]);
        check("except='/a,b',c", &[("except", Some("/a,b")), ("c", None)]);
        check(r#"a\,b,"c=d",e\"f"#, &[("a,b", None), ("c=d", None), ("e\"f", None)]);
        check("k=v=w", &[("k", Some("v=w"))]);
    }

    #[test]
    fn newer_words_take_the_place_of_older_ones() {
        let mut words = MountWords::parse(b"size=1,ro,mode=2").unwrap();
        words.exchange(&MountWords::parse(b"mode=3,x,size=4").unwrap());
        let expected = [("size", Some("4")), ("ro", None), ("mode", Some("3")), ("x", None)];
        assert_eq!(words.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn malformed() {
        for (data, error) in [
            (&b"'a"[..], WordError::Unterminated),
            (b"a\\", WordError::Unterminated),
            (b"=a", WordError::NoName),
            (b"\xff", WordError::NotText),
        ] {
            assert_eq!(MountWords::parse(data), Err(error));
        }
        let many = "a,".repeat(MountWords::MAX_WORDS + 1);
        assert_eq!(MountWords::parse(many.as_bytes()), Err(WordError::TooMany));
    }

    #[test]
    fn unknown_words_are_named() {
        let words = MountWords::parse(b"ro,mode=1,bogus").unwrap();
        assert_eq!(words.unknown(&["ro"], &["mode"]), Some("bogus".to_owned()));
        assert_eq!(words.unknown(&["ro", "mode", "bogus"], &[]), Some("mode".to_owned()));
    }

    proptest! {
        #[test]
        fn never_panics(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = MountWords::parse(&data);
        }

        #[test]
        fn an_escaped_word_comes_back(word in "[^\0]{1,20}") {
            let escaped: String = word.chars().flat_map(|c| ['\\', c]).collect();
            let words = MountWords::parse(escaped.as_bytes()).unwrap();
            prop_assert_eq!(words.iter().collect::<Vec<_>>(), vec![(word.as_str(), None)]);
        }
    }
}
