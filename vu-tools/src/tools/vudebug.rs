//! `vudebug`: switch debug categories, live.

use super::Program;
use crate::failure::{Failure, Outcome};
use crate::{start, view};
use clap::Parser;
use std::ffi::OsString;
use std::fmt::Write as _;
use vu_api::control::{Request, Rows};
use vu_core::debug::{Changes, TagSet};

/// Show and set the debug categories of the running view, or of one command
///
/// Each change is +TAGS or +TAGS:COLOUR to switch on, -TAGS to switch off, ?TAGS to ask; TAGS are letters (sp), or names between
/// commas (syscalls,paths); none at all are all of them. COLOUR is a name (red), or letters of nrgybmcw for the foreground, capital
/// ones for the background, and + - _ * # for bold, dim, underlined, blinking, inverted.
///
/// Without arguments: all categories. What is switched on is written to the log of umvu, a line each time.
///
/// 'vudebug explain PATH...' tells how each path resolves in the view: every name that is looked at on the way, what stands there, and which mount answers,
/// declines or is hidden; last, marked '=', what the path means. The status is 1 if one of them means nothing.
#[derive(Debug, Parser)]
#[command(
    override_usage = "vudebug [CHANGE]... [-- COMMAND...]\n       vudebug explain PATH...",
    after_help = "Examples: 'vudebug +s:red +m' shows the system calls, in red, and which mount answers; 'vudebug -' ends all; \
                  'vudebug +p -- ls /mnt' shows how one command's paths are resolved; \
                  'vudebug explain /etc/mtab' how one path is."
)]
pub struct Options {
    /// +TAGS, +TAGS:COLOUR, -TAGS or ?TAGS; or 'explain' and paths
    #[arg(value_name = "CHANGE", allow_hyphen_values = true)]
    changes: Vec<OsString>,
    /// After '--': run this command; the changes are for it and what it starts alone
    #[arg(value_name = "COMMAND", last = true)]
    command: Vec<OsString>,
}

impl Program for Options {
    fn run(self) -> Outcome {
        view::require()?;
        let (changes, command) = self.split();
        if let [verb, paths @ ..] = &changes[..]
            && verb == "explain"
            && command.is_empty()
        {
            return explain(paths);
        }
        let changes = changes.iter().map(|change| change.to_string_lossy().into_owned());
        let (questions, changes): (Vec<String>, Vec<String>) = changes.partition(|change| change.starts_with('?'));
        // Told here rather than by an errno of the hypervisor, so that the message can say what is wrong.
        let misuse = |error: vu_core::debug::BadChange| Failure::misuse(error.to_string());
        Changes::parse(&changes).map_err(misuse)?;
        let asked = questions.iter().map(|q| TagSet::parse(&q[1..])).collect::<Result<Vec<_>, _>>().map_err(misuse)?;

        let list = questions.is_empty() && changes.is_empty() && command.is_empty();
        if !changes.is_empty() {
            let pid = if command.is_empty() { 0 } else { std::process::id().cast_signed() };
            view::ask(&Request::SetDebug { pid, changes })
                .map_err(|error| Failure::new(format!("the debug categories cannot be changed: {error}")))?;
        }
        if list || !asked.is_empty() {
            let rows = view::ask(&Request::DebugTags)
                .map_err(|error| Failure::new(format!("the list of debug categories: {error}")))?;
            crate::print(&table(&rows, if list { &[TagSet::ALL] } else { &asked }))?;
        }
        if command.is_empty() { Ok(0) } else { Err(start::exec(&command, None)) }
    }
}

impl Options {
    /// The changes and the command. Since a change may begin with '-', clap takes a '--' that follows one for a change, too.
    fn split(self) -> (Vec<OsString>, Vec<OsString>) {
        let mut changes = self.changes;
        let mut command = match changes.iter().position(|change| change == "--") {
            Some(end) => changes.drain(end..).skip(1).collect(),
            None => Vec::new(),
        };
        command.extend(self.command);
        (changes, command)
    }
}

/// Prints how paths resolve.
fn explain(paths: &[OsString]) -> Outcome {
    if paths.is_empty() {
        return Err(Failure::misuse("explain which path?".to_owned()));
    }
    let mut status = 0;
    for path in paths {
        let Some(path) = path.to_str() else {
            return Err(Failure::new(format!("{}: a path that is no UTF-8 cannot be explained", path.display())));
        };
        let rows = view::ask(&Request::Explain { path: path.to_owned() })
            .map_err(|error| Failure::new(format!("{path}: {error}")))?;
        crate::print(&hops(path, &rows))?;
        if rows.last().and_then(|row| row.first()).is_none_or(String::is_empty) {
            status = 1;
        }
    }
    Ok(status)
}

/// The way of a path, in columns.
fn hops(path: &str, rows: &Rows) -> String {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let (name_width, what_width) = (width(0).unwrap_or(0), width(1).unwrap_or(0));
    let mut text = format!("{path}\n");
    for (index, row) in rows.iter().enumerate() {
        let [name, what, who] = row.as_slice() else { continue };
        let sign = if index + 1 == rows.len() { '=' } else { ' ' };
        let line = format!("{sign} {name:<name_width$}  {what:<what_width$}  {who}");
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// The categories (letter, name, meaning, `on` or empty, colour) that were asked for.
fn table(rows: &Rows, asked: &[TagSet]) -> String {
    let wanted: Vec<char> = asked.iter().flat_map(|set| set.iter()).map(vu_core::debug::Tag::letter).collect();
    let mut text = String::new();
    for row in rows {
        let [letter, name, meaning, on, colour] = row.as_slice() else { continue };
        if letter.chars().all(|letter| wanted.contains(&letter)) {
            let sign = if on.is_empty() { '-' } else { '+' };
            let colour = if colour.is_empty() { String::new() } else { format!(" [{colour}]") };
            // Writing to a String does not fail.
            let _ = writeln!(text, "{letter} {sign} {name:<8}  {meaning}{colour}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_and_command_are_told_apart() {
        for (words, changes, command) in [
            (&["+s:r", "-p", "?", "--", "ls", "-l", "--"][..], &["+s:r", "-p", "?"][..], &["ls", "-l", "--"][..]),
            (&["--", "+x", "-y"], &[], &["+x", "-y"]),
            (&["-"], &["-"], &[]),
            (&[], &[], &[]),
        ] {
            let (c, d) = Options::try_parse_from([&["vudebug"], words].concat()).unwrap().split();
            assert!(c.iter().eq(changes) && d.iter().eq(command), "{words:?}: {c:?} {d:?}");
        }
    }

    #[test]
    fn the_way_of_a_path() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = vec![row(["/a", "link to b", "the host"]), row(["/b", "directory", "vufs on /b: the host's /c"])];
        assert_eq!(hops("a", &rows), "a\n  /a  link to b  the host\n= /b  directory  vufs on /b: the host's /c\n");
        assert_eq!(hops("x", &vec![row(["", "No such file", ""])]), "x\n=   No such file\n");
    }

    #[test]
    fn the_table() {
        let debug = vu_core::debug::Debug::default();
        debug.change(&Changes::parse(["+s:r+"]).unwrap());
        let sets = [TagSet::parse("s").unwrap(), TagSet::parse("paths").unwrap()];
        let expected = "p - paths     path resolution\ns + syscalls  every intercepted system call [r+]\n";
        assert_eq!(table(&debug.rows(), &sets), expected);
    }
}
