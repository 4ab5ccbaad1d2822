//! Device nodes that are kept: what is open by one is the host's device of that number.

use super::{Trees, listing::read_directory};
use parking_lot::Mutex;
use std::collections::HashMap;
use vu_api::{AbsPath, FileType};

/// A device: its type and number.
type Device = (FileType, u64);

/// Where the host has its devices.
const DIRECTORY: &[u8] = b"dev";
/// How many entries of it are looked at.
const MOST: usize = 4096;

/// Names of devices that were found.
#[derive(Default)]
pub(super) struct Devices(Mutex<HashMap<Device, AbsPath>>);

impl Trees {
    /// The name of a device in the layer below: there in `/dev`, or in a directory of that. Whoever opens it does so with their own rights.
    pub(super) fn device(&self, device: Device) -> Option<AbsPath> {
        let is_it = |name: &AbsPath| self.below.stat(name).is_ok_and(|stat| (stat.file_type(), stat.rdev) == device);
        let known = self.devices.0.lock().get(&device).cloned();
        if let Some(name) = known.filter(is_it) {
            return Some(name);
        }
        let top = AbsPath::root().child(DIRECTORY);
        let mut directories = vec![top.clone()];
        let mut looked_at = 0;
        while let Some(directory) = directories.pop() {
            for entry in read_directory(&*self.below, &directory, &self.me).unwrap_or_default() {
                looked_at += 1;
                if looked_at > MOST {
                    return None;
                }
                let name = directory.child(&entry.name);
                if entry.file_type == FileType::Directory {
                    if directory == top {
                        directories.insert(0, name);
                    }
                } else if entry.file_type == device.0 && is_it(&name) {
                    self.devices.0.lock().insert(device, name.clone());
                    return Some(name);
                }
            }
        }
        None
    }
}
