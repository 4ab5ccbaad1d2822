//! Where the log goes: standard error or a file, and syslog; what the rest of the program says by `tracing`, and the lines of the
//! debug categories ([`crate::debug`]).
//!
//! A line is written by one write(2), so that lines of the hypervisor and of the programs in the view do not mix. Control
//! characters are escaped: names of files and arguments of system calls are not trusted with somebody's terminal.
//!
//! Of a call that fails, a warning says only what no errno can: the rest its caller says, often on the same terminal.

use anstyle::Style;
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, IsTerminal, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::OnceLock;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// A severity of syslog(3): 0 emergency … 7 debug.
pub type Severity = u8;

/// The severity up to which messages are logged if nobody says otherwise: warnings.
pub const DEFAULT_SEVERITY: Severity = 4;

const DEBUG: Severity = 7;

/// Where messages go, and which.
#[derive(Debug)]
pub struct Settings {
    /// What goes to standard error, or `file`.
    pub level: Severity,
    /// Instead of standard error.
    pub file: Option<File>,
    /// The socket of syslog, and what goes there besides.
    pub syslog: Option<(UnixDatagram, Severity)>,
}

/// Connects to the syslog of the machine.
///
/// # Errors
/// Those of connect(2): there may be no such daemon.
pub fn connect_syslog(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    // The daemon may be a program of this very view: never wait for it.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    settings: Settings,
    coloured: bool,
}

/// Starts the log; only the first call in a process has an effect.
pub fn init(settings: Settings) {
    let coloured = settings.file.is_none() && io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let coloured = coloured || std::env::var_os("CLICOLOR_FORCE").is_some_and(|value| value != "0");
    let most = settings.syslog.as_ref().map_or(settings.level, |(_, level)| settings.level.max(*level));
    if LOG.set(Log { settings, coloured }).is_ok() {
        let subscriber = tracing_subscriber::registry().with(Lines).with(filter(most));
        // Fails only if there is a subscriber already, which is then somebody's intention.
        let _ = tracing::subscriber::set_global_default(subscriber);
    }
}

fn filter(severity: Severity) -> LevelFilter {
    match severity {
        0..3 => LevelFilter::OFF,
        3 => LevelFilter::ERROR,
        4 | 5 => LevelFilter::WARN,
        6 => LevelFilter::INFO,
        7.. => LevelFilter::DEBUG,
    }
}

fn severity(level: Level) -> (Severity, &'static str) {
    match level {
        Level::ERROR => (3, "error: "),
        Level::WARN => (4, "warning: "),
        Level::INFO => (6, ""),
        Level::DEBUG | Level::TRACE => (DEBUG, "debug: "),
    }
}

/// One line of a debug category; it is shown whatever the level of the log.
pub(crate) fn debug_line(style: Style, text: fmt::Arguments<'_>) {
    let Some(log) = LOG.get() else { return };
    let text = printable(&text.to_string());
    if log.coloured && style != Style::new() {
        log.write(&format!("{}{text}{}", style.render(), style.render_reset()));
    } else {
        log.write(&text);
    }
    log.write_syslog(DEBUG, &text);
}

impl Log {
    fn write(&self, text: &str) {
        let mut line = String::with_capacity(text.len() + 40);
        // Nobody is left to be told of a log that cannot be written.
        if let Some(mut file) = self.settings.file.as_ref() {
            if SystemTime.format_time(&mut Writer::new(&mut line)).is_ok() {
                line.push(' ');
            }
            line.push_str(text);
            line.push('\n');
            let _ = file.write_all(line.as_bytes());
        } else {
            line.push_str(text);
            line.push('\n');
            let _ = io::stderr().write_all(line.as_bytes());
        }
    }

    fn write_syslog(&self, severity: Severity, text: &str) {
        if let Some((socket, level)) = &self.settings.syslog
            && severity <= *level
        {
            let _ = socket.send(syslog_line(severity, text).as_bytes());
        }
    }
}

/// The form in which /dev/log takes messages (RFC 3164, with the time left to the daemon).
fn syslog_line(severity: Severity, text: &str) -> String {
    // Facility "user".
    let priority = (1 << 3) | severity;
    format!("<{priority}>umvu[{}]: {text}", std::process::id())
}

/// The messages of `tracing` as lines.
struct Lines;

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let Some(log) = LOG.get() else { return };
        let mut text = Text::default();
        event.record(&mut text);
        let message = printable(&(text.message + &text.fields));
        let (severity, kind) = severity(*event.metadata().level());
        if severity <= log.settings.level {
            log.write(&format!("umvu: {kind}{message}"));
        }
        log.write_syslog(severity, &message);
    }
}

/// The fields of an event: the message, then `name=value` each.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            name => {
                let _ = write!(self.fields, " {name}={value}");
            }
        }
    }
}

/// The text with control characters escaped: one line, which is safe to show on a terminal.
#[must_use]
pub fn printable(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if c.is_control() { clean.extend(c.escape_default()) } else { clean.push(c) }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_safe() {
        assert_eq!(printable("a é\n"), "a é\\n");
        assert_eq!(printable("\u{1b}[2J\u{9b}x"), "\\u{1b}[2J\\u{9b}x");
    }

    #[test]
    fn levels_are_those_of_syslog() {
        for (severity_up_to, shown) in [(0, 0), (2, 0), (3, 1), (4, 2), (5, 2), (6, 3), (7, 4), (255, 4)] {
            let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
            assert_eq!(levels.iter().filter(|&&level| level <= filter(severity_up_to)).count(), shown);
        }
    }

    /// The whole way, in one test since a process has one log: events and debug lines, to a file and to a syslog of ours.
    #[test]
    fn lines_reach_the_file_and_syslog() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("log");
        let daemon = UnixDatagram::bind(directory.path().join("dev-log")).unwrap();
        daemon.set_nonblocking(true).unwrap();
        let syslog = connect_syslog(&directory.path().join("dev-log")).unwrap();
        init(Settings { level: 4, file: Some(File::create(&file).unwrap()), syslog: Some((syslog, 6)) });

        tracing::warn!(module = "vufs", "cannot mount {}", "\u{1b}x");
        tracing::info!("only for syslog");
        tracing::debug!("for nobody");
        crate::debug::Debug::default().line(crate::debug::Tag::Paths, 42, format_args!("/a -> /b"));

        let text = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = text.lines().map(|line| line.split_once(' ').unwrap().1).collect();
        assert_eq!(lines, ["umvu: warning: cannot mount \\u{1b}x module=vufs", "42 p /a -> /b"]);

        let mut received = Vec::new();
        let mut buffer = [0; 1000];
        while let Ok(length) = daemon.recv(&mut buffer) {
            received.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
        }
        let process = std::process::id();
        let expected = [
            format!("<12>umvu[{process}]: cannot mount \\u{{1b}}x module=vufs"),
            format!("<14>umvu[{process}]: only for syslog"),
        ];
        assert_eq!(received, expected);
    }

    #[test]
    fn a_missing_syslog_is_an_error() {
        assert!(connect_syslog(Path::new("/nonexistent/log")).is_err());
    }
}
