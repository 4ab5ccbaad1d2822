//! How a tool fails: one line, and a status.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// What a tool ends with: its exit status, or why it could not do its work.
pub type Outcome = Result<i32, Failure>;

/// The status of a tool that could not do what it was asked.
const FAILED: i32 = 1;
/// The status of a tool that does not understand its arguments.
const MISUSED: i32 = 2;

/// Why a tool could not do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The object, the reason and the way out, in one line. Empty: it was said already.
    pub message: String,
    /// The exit status.
    pub status: i32,
}

impl Failure {
    /// A failure with status 1.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), status: FAILED }
    }

    /// Arguments that do not make sense.
    #[must_use]
    pub fn misuse(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), status: MISUSED }
    }

    /// A failure that needs no words, or had them already.
    #[must_use]
    pub fn silent() -> Failure {
        Failure { message: String::new(), status: FAILED }
    }

    /// Arguments that clap refused, in one line.
    #[must_use]
    pub fn usage(tool: &str, error: &clap::Error) -> Failure {
        let context = |kind| error.get(kind).map(ToString::to_string);
        let missing = match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::Strings(names)) if error.kind() == ErrorKind::MissingRequiredArgument => names.join(" "),
            _ => String::new(),
        };
        let reason = match error.kind() {
            ErrorKind::MissingRequiredArgument => format!("{missing} is missing"),
            ErrorKind::UnknownArgument => match context(ContextKind::InvalidArg) {
                Some(argument) if argument.starts_with('-') => format!("there is no option '{argument}'"),
                Some(argument) => format!("there is one argument too many: '{argument}'"),
                None => "there is no such option".to_owned(),
            },
            // clap's own words: "error: ..." up to the first empty line, which begins the hints.
            _ => {
                let text = error.to_string();
                let sentence = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
                sentence.split_whitespace().collect::<Vec<_>>().join(" ")
            }
        };
        Failure::misuse(format!("{reason} ('{tool} --help' says what there is)"))
    }

    /// Says it on standard error.
    pub fn report(&self, tool: &str) {
        report(tool, &self.message);
    }
}

/// Says one line on standard error.
pub fn report(tool: &str, message: &str) {
    use std::io::Write as _;
    if !message.is_empty() {
        // One write: the tools of a pipeline share the terminal. If it cannot be written, the status still tells.
        let line = format!("{tool}: {}\n", vu_core::log::printable(message));
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}
