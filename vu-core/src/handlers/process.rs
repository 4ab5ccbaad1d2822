//! What changes which resources a task shares, or how and where it works: unshare(2), setns(2), umask(2), sched_setaffinity(2).

use super::stand_ins;
use crate::call::{Call, Outcome};
use vu_api::Errno;
use vu_trace::Argument;

/// unshare(2): a copy of root and working directory is a copy of what the hypervisor knows of them. A mount namespace of virtual root's, which the host refuses,
/// is an inner view.
pub fn unshare(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    // What needs no privilege beside it cannot fail after it.
    let unprivileged = libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SYSVSEM;
    let flags = call.int(0);
    if flags & !unprivileged == libc::CLONE_NEWNS && stand_ins::is_virtual_root(call) {
        call.task.unshare_fs();
        call.task.set_view(call.view.fork(&call.view.name()));
        call.core.agents.switch_off(&call.task);
        call.core.mounts_changed();
        let mut args: [Argument; 6] = Default::default();
        let flags = flags & unprivileged | libc::CLONE_FS;
        args[0] = Argument::Value(u64::from(flags.cast_unsigned()));
        return Ok(call.rewrite(args));
    }
    // A new user or mount namespace implies it (unshare(2)).
    let implies = libc::CLONE_FS | libc::CLONE_NEWNS | libc::CLONE_NEWUSER;
    if call.int(0) & implies != 0 {
        call.task.unshare_fs();
    }
    if call.int(0) & (libc::CLONE_NEWNS | libc::CLONE_NEWUSER) != 0 {
        set_apart(call);
    }
    Ok(Outcome::Host)
}

/// What the hypervisor can do will not be what the caller can, nor what it finds what others find.
fn set_apart(call: &Call<'_>) {
    call.task.set_apart();
    call.core.agents.switch_off(&call.task);
}

/// setns(2): another mount namespace begins at its own root.
pub fn setns(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    call.task.fs().forget_cwd();
    set_apart(call);
    Ok(Outcome::Host)
}

/// sched_setaffinity(2) and sched_getaffinity(2) with the number of a thread: the affinity of another one is to be as it would be outside.
pub fn affinity(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    if call.int(0) != call.task.tid.0 {
        vu_trace::forgo_confinement();
    }
    Ok(Outcome::Host)
}

/// umask(2): the kernel keeps it; the hypervisor puts it on for what it makes in the task's place.
pub fn umask(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    call.task.fs().set_umask(call.uint(0) & 0o777);
    Ok(Outcome::Host)
}
