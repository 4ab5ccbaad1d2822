//! `umvu` and the tools that speak to it, as one executable: the name by which it is called decides which it is.
//!
//! * [`tools`]: one file a tool, its options and what it does; the man pages and completions are made from the same options;
//! * [`view`]: asking the hypervisor;
//! * [`start`]: start-up files, and the command itself;
//! * [`links`]: the other names of the executable, and the `PATH` of a view;
//! * [`modules`]: the modules that are linked in.
#![forbid(unsafe_code)]

pub mod failure;
pub mod links;
pub mod modules;
pub mod start;
pub mod tools;
pub mod view;

use failure::{Failure, Outcome};
use std::ffi::OsString;
use std::path::Path;
use tools::Tool;

/// Runs the tool that the first argument names; the exit status.
pub fn main(args: impl Iterator<Item = OsString>) -> i32 {
    let mut args = args;
    let called = args.next().unwrap_or_default();
    let tool = Tool::by_name(Path::new(&called)).unwrap_or(Tool::UMVU);
    let args: Vec<OsString> = args.collect();
    match run(&tool, &args) {
        Ok(status) => status,
        Err(failure) => {
            failure.report(tool.name);
            failure.status
        }
    }
}

fn run(tool: &Tool, args: &[OsString]) -> Outcome {
    match args.split_first() {
        Some((first, rest)) if tool.name == Tool::UMVU.name && first == start::INSIDE => start::inside(rest),
        _ => tool.run(args),
    }
}

/// Prints to standard output.
///
/// # Errors
/// A [`Failure`] if it cannot be written; whoever closed a pipe knows that, and is not told.
pub fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Failure::silent()),
        Err(error) => Err(Failure::new(format!("cannot write to standard output: {}", vu_api::Errno::from(error)))),
        Ok(()) => Ok(()),
    }
}
