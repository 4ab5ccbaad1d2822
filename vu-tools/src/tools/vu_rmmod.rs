//! `vu_rmmod`: deactivate modules.

use super::Program;
use crate::failure::{self, Outcome};
use crate::view;
use clap::Parser;
use vu_api::Errno;
use vu_api::control::Request;

/// Deactivate modules of the running view
///
/// A module can be deactivated when no mount of it is left.
#[derive(Debug, Parser)]
pub struct Options {
    /// The modules
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl Program for Options {
    fn run(self) -> Outcome {
        view::require()?;
        let mut status = 0;
        for name in self.names {
            if let Err(error) = view::ask(&Request::RemoveModule { name: name.clone() }) {
                failure::report("vu_rmmod", &explain(&name, error));
                status = 1;
            }
        }
        Ok(status)
    }
}

fn explain(name: &str, error: Errno) -> String {
    match error {
        Errno::ENOENT => match view::ask(&Request::ActiveModules) {
            Ok(rows) => format!("module {name} is not active; active: {}", view::names(&rows)),
            Err(_) => format!("module {name} is not active"),
        },
        Errno::EBUSY => format!("module {name} is in use: unmount what it mounted first ('vumount' lists it)"),
        Errno::EPERM => format!("module {name} is permanent: it goes with the view"),
        error => format!("module {name}: {error}"),
    }
}
