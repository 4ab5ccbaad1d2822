//! Where the core file of a process comes to lie.

use crate::{layer::Layer, sys, task::Task};
use std::os::fd::AsFd;
use vu_api::{Filesystem, Location, Purpose};
use vu_fd::Nodes;

impl Task {
    /// The host's directory in which what is made in its working directory comes to lie, if that is a placeholder and the kernel is to leave a core file there (core(5)).
    #[must_use]
    pub fn core_directory(&self, nodes: &Nodes) -> Option<Vec<u8>> {
        let pattern = std::fs::read("/proc/sys/kernel/core_pattern").ok()?;
        if pattern.starts_with(b"/") || pattern.starts_with(b"|") {
            return None;
        }
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", self.tid)).ok()?;
        let limit = limits.lines().find_map(|line| line.strip_prefix("Max core file size"))?;
        if limit.split_whitespace().next()? == "0" {
            return None;
        }
        let cwd = sys::fstat(sys::open_link(self.proc().ok()?, "cwd").ok()?.as_fd()).ok()?;
        let name = nodes.find(cwd.st_dev, cwd.st_ino)?.name();
        match Layer::top(self.view()).locate(&name.path, Purpose::Write) {
            Ok(Location::Host(host)) if !name.removed => Some(host.as_bytes().to_vec()),
            _ => None,
        }
    }
}
