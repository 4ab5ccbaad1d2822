//! Sandboxes that a program builds for itself: landlock(7).

use crate::{
    call::{Call, Outcome},
    sys,
};
use std::os::fd::AsFd;
use vu_api::{Errno, Filesystem, Purpose};
use vu_trace::Memory;

/// landlock_add_rule(2): a directory that umvu serves is a placeholder, below which nothing lies. What is allowed there is allowed where its entries are, and
/// where new ones will be made.
pub fn add_rule(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    if !call.core.has_virtual_files() || call.uint(1) != sys::LANDLOCK_RULE_PATH_BENEATH || call.uint(3) != 0 {
        return Ok(Outcome::Host);
    }
    // `struct landlock_path_beneath_attr`, packed. What cannot be read is the kernel's to refuse.
    let (memory, rule) = (call.memory(), call.arg(2));
    let (Ok(access), Ok(number)) = (memory.read_u64(rule), memory.read_u32(rule.wrapping_add(8))) else {
        return Ok(Outcome::Host);
    };
    let (Ok(ruleset), Ok(directory)) = (call.task.descriptor(call.int(0)), call.task.descriptor(number.cast_signed()))
    else {
        return Ok(Outcome::Host);
    };
    let stat = sys::fstat(directory.as_fd())?;
    let path = match call.core.nodes.find(stat.st_dev, stat.st_ino).map(|node| node.name()) {
        Some(name) if name.removed => return Ok(Outcome::Host),
        Some(name) => name.path,
        None => match call.lent_by(&call.task, number.cast_signed(), directory.as_fd()) {
            Some(lent) => lent.name,
            None => return Ok(Outcome::Host),
        },
    };
    // Prepared, if anything is made there at all; who cannot write there needs no rule for it.
    let _ = call.layer.locate(&path, Purpose::Write);
    let behind = call.layer.host_directories(&path);
    if behind.is_empty() {
        return Ok(Outcome::Host);
    }
    for host in behind {
        let directory = sys::open(host.as_bytes(), libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW)?;
        sys::allow_beneath(ruleset.as_fd(), access, directory.as_fd())?;
    }
    Ok(Outcome::Done(0))
}

/// landlock_restrict_self(2): what the rules forbid the task, the hypervisor is not to do for it. They may be given to all threads of the process.
pub fn restrict_self(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let process = call.task.process.id;
    for task in call.core.tasks.all().into_iter().filter(|task| task.process.id == process) {
        task.set_apart();
    }
    Ok(Outcome::Host)
}
