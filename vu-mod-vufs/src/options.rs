//! The data words of a vufs mount.

use crate::Attributes;
use std::fmt;
use vu_api::{AbsPath, MountWords};

/// What a vufs mount was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What is done with source and target.
    pub mode: Mode,
    /// Where the mount declines: paths relative to the mount point.
    pub except: Vec<AbsPath>,
    /// Whether a change of attributes alone makes a copy.
    pub attributes: Attributes,
}

/// What a vufs mount does with its source A and its target B.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A takes B's place; the word `move` means the same.
    Bind,
    /// A's entries are added to B's and are read-only.
    Merge,
    /// A over B; every change is made in A.
    Cow,
    /// The same, for changes that B refuses.
    Mincow,
}

/// A word that is refused, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionError {
    /// No such word.
    Unknown(String),
    /// The value of `except` is no path below the mount point.
    Exception(String),
}

impl Options {
    /// Reads the words.
    ///
    /// # Errors
    /// The first word that is refused.
    pub fn parse(words: &MountWords) -> Result<Options, OptionError> {
        let mut options = Options { mode: Mode::Bind, except: Vec::new(), attributes: Attributes::Copied };
        for word in words.iter() {
            match word {
                ("bind" | "move", None) => options.mode = Mode::Bind,
                ("merge", None) => options.mode = Mode::Merge,
                ("cow", None) => options.mode = Mode::Cow,
                ("mincow", None) => options.mode = Mode::Mincow,
                ("nochcopy", None) => options.attributes = Attributes::Kept,
                ("except", Some(path)) => match AbsPath::new(path) {
                    // A mount that declines its own root would decline everything.
                    Ok(path) if !path.is_root() => options.except.push(path),
                    _ => return Err(OptionError::Exception(path.to_owned())),
                },
                (name, _) => return Err(OptionError::Unknown(name.to_owned())),
            }
        }
        Ok(options)
    }
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OptionError::Unknown(name) => {
                write!(
                    f,
                    "unknown mount option {name:?}; there are bind, move, merge, cow, mincow, nochcopy and except=/PATH"
                )
            }
            OptionError::Exception(path) => {
                write!(f, "except={path:?}: must be an absolute path below the mount point, without '..'")
            }
        }
    }
}

impl std::error::Error for OptionError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn parse(words: &str) -> Result<Options, OptionError> {
        Options::parse(&MountWords::parse(words.as_bytes()).unwrap())
    }

    #[test]
    fn exceptions_are_normalised_and_kept_in_order() {
        let paths = |words| parse(words).unwrap().except;
        assert_eq!(paths(""), []);
        assert_eq!(
            paths("except=//b/./c/,except=/a").iter().map(AbsPath::as_bytes).collect::<Vec<_>>(),
            [b"/b/c", &b"/a"[..]]
        );
    }

    #[test]
    fn the_refused_word_is_named() {
        assert_eq!(parse("bind,bogus,cow"), Err(OptionError::Unknown("bogus".into())));
        assert_eq!(parse("cow,merge").map(|options| options.mode), Ok(Mode::Merge), "the last one counts");
        for bad in ["", "a", "/", "/a/../b", ".."] {
            assert_eq!(parse(&format!("except={bad}")), Err(OptionError::Exception(bad.into())));
        }
    }

    proptest! {
        #[test]
        fn no_exception_is_the_root_or_leaves_the_mount(data in "(bind|except=[/a.]{0,6}|[a-z=,]{0,8}){0,3}") {
            if let Ok(words) = MountWords::parse(data.as_bytes())
                && let Ok(options) = Options::parse(&words)
            {
                prop_assert!(options.except.iter().all(|path| !path.is_root()));
            }
        }
    }
}
