//! `vuumount`: unmount.

use super::Program;
use crate::failure::{self, Outcome};
use crate::view;
use clap::Parser;
use nix::mount::{MntFlags, umount2};
use std::path::{Path, PathBuf};
use vu_api::Errno;
use vu_api::control::Request;

/// Unmount what was mounted in the running view
///
/// The newest mount at exactly this mount point goes, and what it hid shows again.
#[derive(Debug, Parser)]
pub struct Options {
    /// Lazily: unmount now, clean up when the last of its files is closed
    #[arg(short, long)]
    force: bool,
    /// Detach: as --force
    #[arg(short, long)]
    detach: bool,
    /// The mount points
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<PathBuf>,
}

impl Program for Options {
    fn run(self) -> Outcome {
        view::require()?;
        let mut flags = MntFlags::empty();
        flags.set(MntFlags::MNT_FORCE, self.force);
        flags.set(MntFlags::MNT_DETACH, self.detach);
        let mut status = 0;
        for target in &self.targets {
            if let Err(error) = umount2(target, flags) {
                failure::report("vuumount", &explain(target, Errno::new(error as i32)));
                status = 1;
            }
        }
        Ok(status)
    }
}

fn explain(target: &Path, error: Errno) -> String {
    let target_shown = target.display();
    // What the view does not know goes to the host, and the host allows nothing to an ordinary user.
    let not_ours = format!("{target_shown} is not a mount point of this view ('vumount' lists them)");
    match error {
        Errno::EBUSY => {
            format!("{target_shown} is in use: a file of it is open, or a mount is built on it; -d unmounts it lazily")
        }
        Errno::EPERM if is_mounted(target) => format!("{target_shown} is mounted permanently: it goes with the view"),
        Errno::EPERM | Errno::EINVAL => not_ours,
        error => format!("{target_shown}: {error}"),
    }
}

/// Whether the view has a mount there.
fn is_mounted(target: &Path) -> bool {
    let Ok(target) = target.canonicalize() else { return false };
    let mounts = view::ask(&Request::Mounts).unwrap_or_default();
    mounts.iter().any(|row| row.get(1).is_some_and(|point| Path::new(point) == target))
}
