//! `vu_insmod`: activate modules.

use super::Program;
use crate::failure::{self, Outcome};
use crate::view;
use clap::Parser;
use vu_api::Errno;
use vu_api::control::Request;

/// Activate modules in the running view
///
/// The modules are active at once for every process of the view. What they virtualise begins with the first mount of one of their
/// types: see vumount(1). 'vu_lsmod -a' says which modules there are.
#[derive(Debug, Parser)]
pub struct Options {
    /// Activate for good: they can never be removed
    #[arg(short, long)]
    permanent: bool,
    /// The modules
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl Program for Options {
    fn run(self) -> Outcome {
        view::require()?;
        let mut status = 0;
        for name in self.names {
            let request = Request::InsertModule { name: name.clone(), permanent: self.permanent };
            if let Err(error) = view::ask(&request) {
                failure::report("vu_insmod", &explain(&name, error));
                status = 1;
            }
        }
        Ok(status)
    }
}

/// Why a module cannot be activated.
#[must_use]
pub fn explain(name: &str, error: Errno) -> String {
    match error {
        Errno::EEXIST => format!("module {name} is active already"),
        Errno::ENOENT => match view::ask(&Request::AvailableModules) {
            Ok(rows) => format!("there is no module '{name}'; there are: {}", view::names(&rows)),
            Err(_) => format!("there is no module '{name}'"),
        },
        error => format!("module {name}: {error}"),
    }
}
