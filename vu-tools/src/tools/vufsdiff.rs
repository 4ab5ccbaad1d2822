//! `vufsdiff`: what a cow mount of vufs has changed.

mod apply;
mod archive;

use super::Program;
use crate::failure::{Failure, Outcome};
use clap::Parser;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use vu_api::FileType;
use vu_mod_vufs::{Change, Difference, changes};

/// Tell what the directory of a cow mount holds
///
/// Each line is a letter and a path: A for what was added, C for what was changed, M where only owner, mode or other attributes were, D for
/// what was deleted. It works outside of views, too; the directory must not be mounted meanwhile.
#[derive(Debug, Parser)]
pub struct Options {
    /// Write the changes to LOWER
    #[arg(long, requires = "lower", conflicts_with = "tar")]
    apply: bool,
    /// Write the changes to FILE as a layer of a container image (a tar archive, with .wh. files for what was deleted); - is standard output
    #[arg(long, value_name = "FILE")]
    tar: Option<PathBuf>,
    /// The directory that was mounted
    #[arg(value_name = "DIR")]
    upper: PathBuf,
    /// The directory it was mounted over; without it, all in DIR counts as added
    lower: Option<PathBuf>,
}

impl Program for Options {
    fn run(self) -> Outcome {
        for directory in [Some(&self.upper), self.lower.as_ref()].into_iter().flatten() {
            if !directory.is_dir() {
                return Err(Failure::new(format!("{} is no directory", directory.display())));
            }
        }
        let changes = changes(&self.upper, self.lower.as_deref())
            .map_err(|error| Failure::new(format!("{}: {error}", self.upper.display())))?;
        match (&self.tar, &self.lower) {
            (Some(file), _) => write_archive(file, &changes),
            (None, Some(lower)) if self.apply => apply::apply(&changes, lower),
            _ => {
                crate::print(&changes.iter().map(line).collect::<String>())?;
                Ok(0)
            }
        }
    }
}

fn line(change: &Change) -> String {
    let letter = match change.difference {
        Difference::Added => 'A',
        Difference::Changed => 'C',
        Difference::Attributes => 'M',
        Difference::Deleted => 'D',
    };
    let directory = change.difference != Difference::Deleted && change.stat.file_type() == FileType::Directory;
    format!("{letter} {}{}\n", change.path.display(), if directory { "/" } else { "" })
}

fn write_archive(file: &Path, changes: &[Change]) -> Outcome {
    let to: Box<dyn Write> = if file == Path::new("-") {
        Box::new(std::io::stdout().lock())
    } else {
        Box::new(File::create(file).map_err(|error| Failure::new(format!("{}: {error}", file.display())))?)
    };
    let mut to = BufWriter::new(to);
    archive::write(&mut to, changes)
        .and_then(|()| to.flush())
        .map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
    Ok(0)
}
