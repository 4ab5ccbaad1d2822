//! The tools: one file each, with its options as clap reads them and what it does with them.

pub mod umvu;
pub mod vu_insmod;
pub mod vu_lsmod;
pub mod vu_rmmod;
pub mod vudebug;
pub mod vufsdiff;
pub mod vumount;
pub mod vuname;
pub mod vustack;
pub mod vusu;
pub mod vuumount;

use crate::failure::{Failure, Outcome};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, CommandFactory, FromArgMatches};
use std::ffi::OsString;
use std::path::Path;

/// A tool's options, and what it does with them.
trait Program: CommandFactory + FromArgMatches {
    /// Does it; the exit status.
    fn run(self) -> Outcome;
}

/// One of the programs that the executable is.
#[derive(Clone, Copy)]
pub struct Tool {
    /// The name by which it is called.
    pub name: &'static str,
    command: fn() -> clap::Command,
    run: fn(&clap::ArgMatches) -> Outcome,
}

/// All of them.
pub const TOOLS: [Tool; 11] = [
    Tool::UMVU,
    tool::<vu_insmod::Options>("vu_insmod"),
    tool::<vu_lsmod::Options>("vu_lsmod"),
    tool::<vu_rmmod::Options>("vu_rmmod"),
    tool::<vudebug::Options>("vudebug"),
    tool::<vufsdiff::Options>("vufsdiff"),
    tool::<vumount::Options>("vumount"),
    tool::<vuname::Options>("vuname"),
    tool::<vustack::Options>("vustack"),
    tool::<vusu::Options>("vusu"),
    tool::<vuumount::Options>("vuumount"),
];

const fn tool<P: Program>(name: &'static str) -> Tool {
    Tool {
        name,
        command: P::command,
        run: |matches| P::from_arg_matches(matches).map_err(|error| Failure::misuse(error.to_string()))?.run(),
    }
}

impl Tool {
    /// The hypervisor.
    pub const UMVU: Tool = tool::<umvu::Options>("umvu");

    /// The tool that is called by this path.
    #[must_use]
    pub fn by_name(path: &Path) -> Option<Tool> {
        TOOLS.into_iter().find(|tool| path.file_name().is_some_and(|name| name == tool.name))
    }

    /// Its command line, from which man page and completions are made.
    #[must_use]
    pub fn command(&self) -> clap::Command {
        // `-V` means something else in some tools, so it is `--version` in all of them.
        let version = Arg::new("version").long("version").action(ArgAction::Version).help("Print the version");
        (self.command)().name(self.name).version(env!("CARGO_PKG_VERSION")).disable_version_flag(true).arg(version)
    }

    /// Runs it with these arguments, its name not among them.
    ///
    /// # Errors
    /// A [`Failure`] if the arguments make no sense, or the tool fails.
    pub fn run(&self, args: &[OsString]) -> Outcome {
        let words = std::iter::once(OsString::from(self.name)).chain(args.iter().cloned());
        match self.command().try_get_matches_from(words) {
            Ok(matches) => (self.run)(&matches),
            Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
                crate::print(&error.to_string())?;
                Ok(0)
            }
            Err(error) => Err(Failure::usage(self.name, &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_sound() {
        for tool in TOOLS {
            tool.command().debug_assert();
        }
    }

    #[test]
    fn the_name_decides() {
        for tool in TOOLS {
            assert_eq!(Tool::by_name(Path::new("/any/where").join(tool.name).as_path()).unwrap().name, tool.name);
        }
        assert!(Tool::by_name(Path::new("/bin/mount")).is_none());
        assert!(Tool::by_name(Path::new("")).is_none());
    }
}
