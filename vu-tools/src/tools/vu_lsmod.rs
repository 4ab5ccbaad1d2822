//! `vu_lsmod`: list modules.

use super::Program;
use crate::failure::{Failure, Outcome};
use crate::view;
use clap::Parser;
use std::fmt::Write as _;
use vu_api::control::{Request, Rows};

/// List the modules of the running view
///
/// A line for each active module: its name and what it does.
#[derive(Debug, Parser)]
pub struct Options {
    /// The modules that are not active, too
    #[arg(short, long)]
    all: bool,
    /// The submodules of each, too
    #[arg(short, long)]
    verbose: bool,
}

impl Program for Options {
    fn run(self) -> Outcome {
        view::require()?;
        let request = if self.all { Request::AvailableModules } else { Request::ActiveModules };
        let rows = view::ask(&request).map_err(|error| Failure::new(format!("the list of modules: {error}")))?;
        crate::print(&self.list(&rows))?;
        Ok(0)
    }
}

impl Options {
    fn list(&self, rows: &Rows) -> String {
        let mut text = String::new();
        for row in rows {
            let field = |i: usize| row.get(i).map_or("", String::as_str);
            let inactive = if self.all && field(3).is_empty() { " (not active)" } else { "" };
            // Writing to a String does not fail.
            let _ = writeln!(text, "{}: {}{inactive}", field(0), field(1));
            if self.verbose {
                field(2).split_whitespace().for_each(|submodule| {
                    let _ = writeln!(text, "    {submodule}");
                });
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(all: bool, verbose: bool, rows: &[&[&str]], expected: &str) {
        let rows = rows.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect();
        assert_eq!(Options { all, verbose }.list(&rows), expected);
    }

    #[test]
    fn lists() {
        check(false, false, &[], "");
        check(false, false, &[&["vufs", "patchwork", ""]], "vufs: patchwork\n");
        let rows: &[&[&str]] = &[&["vudev", "devices", "vudevnull vudevx", ""], &["vufs", "patchwork", "", "active"]];
        check(true, false, rows, "vudev: devices (not active)\nvufs: patchwork\n");
        check(true, true, rows, "vudev: devices (not active)\n    vudevnull\n    vudevx\nvufs: patchwork\n");
    }
}
