//! A placeholder as a working directory. Alone in its process: a child that is being started holds, for a moment, copies of
//! all descriptors of its parent, which other tests would see as open files.

use nix::sys::stat::fstat;
use std::{
    os::fd::AsRawFd,
    process::{Command, Stdio},
    sync::Arc,
};
use vu_api::{AbsPath, Errno, File, OpenFlags, Stat};
use vu_fd::Nodes;

struct Directory;

impl File for Directory {
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(Stat::default())
    }
}

#[test]
fn a_working_directory_keeps_its_node() {
    let nodes = Nodes::new();
    let fd = nodes
        .open(Arc::new(Directory), OpenFlags::DIRECTORY, 1, AbsPath::root(), vu_fd::HeldAs::WorkingDirectory)
        .unwrap();
    let mut child = Command::new("/bin/cat")
        .current_dir(format!("/proc/self/fd/{}", fd.as_raw_fd()))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let placeholder = fstat(&fd).unwrap();
    let kept = || nodes.find(placeholder.st_dev, placeholder.st_ino).is_some();
    drop(fd);
    assert!(kept());
    assert!(!nodes.busy(1), "a working directory does not hold the mount");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    // A look-up may do with what was known a moment ago; this question is not answered so.
    assert!(!nodes.busy(1) && !kept());
}
