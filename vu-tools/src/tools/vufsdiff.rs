//! `vufsdiff`: what a cow mount of vufs has changed.

mod apply;
mod archive;

use super::Program;
use crate::failure::{Failure, Outcome};
use crate::view;
use clap::Parser;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use vu_api::control::Request;
use vu_api::{Errno, FileType};
use vu_mod_vufs::{Change, Difference, changes};

/// Tell what the directory of a cow mount holds
///
/// Each line is a letter and a path: A for what was added, C for what was changed, M where only owner, mode, time or other attributes were,
/// D for what was deleted. The directory must not be mounted meanwhile: use it outside of the view ('umvu vufsdiff DIR LOWER'), or after vuumount(1).
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
        if let Some(target) = mounted_on(&self.upper) {
            let upper = self.upper.display();
            return Err(Failure::new(format!(
                "{upper} is mounted on {target} here, where nothing differs from itself: leave the view, and say 'umvu vufsdiff {upper} …'"
            )));
        }
        let changes = changes(&self.upper, self.lower.as_deref()).map_err(|error| Failure::new(error.to_string()))?;
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

/// An object, and why nothing could be done with it.
fn complaint(object: &Path, error: &io::Error) -> String {
    match error.raw_os_error() {
        // People are told the sentence only, not its number.
        Some(number) => format!("{}: {}", object.display(), Errno::new(number)),
        None => format!("{}: {error}", object.display()),
    }
}

fn failed(object: &Path, error: io::Error) -> Failure {
    Failure::new(complaint(object, &error))
}

/// Where the view of this process shows a directory as a part of a union: LOWER would be compared with itself there, and written into DIR.
fn mounted_on(upper: &Path) -> Option<String> {
    let mounts = view::ask(&Request::Mounts).ok()?;
    let upper = upper.canonicalize().ok()?;
    mounts.into_iter().find_map(|row| {
        let [source, target, fs_type, options, _epoch] = <[String; 5]>::try_from(row).ok()?;
        let union = options.split(',').any(|word| matches!(word, "cow" | "mincow"));
        (fs_type == "vufs" && union && Path::new(&source) == upper).then_some(target)
    })
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
        Box::new(File::create(file).map_err(|error| failed(file, error))?)
    };
    let mut to = BufWriter::new(to);
    archive::write(&mut to, changes)
        .map_err(|(path, error)| Failure::new(format!("{}: {}", file.display(), complaint(path, &error))))?;
    to.flush().map_err(|error| failed(file, error))?;
    Ok(0)
}
