//! What a virtual identity means for files: whose they are that it makes, and what set-id bits make of it.
//!
//! On the host nothing is pretended. A mount that does its changes itself (`cow`) keeps owners, too.

use crate::{
    call::Call,
    handlers::exec::Program,
    layer::Layer,
    resolve::{Meaning, Need, PathArg},
    task::Task,
};
use vu_api::{AbsPath, Caller, Credentials, Errno, FileType, Filesystem, Location, MountFlags, Purpose, SetIds};
use vu_path::Follow;

/// How many interpreters may follow one another (`exec_binprm`, `fs/exec.c`).
const MAX_DEPTH: usize = 5;

/// The mode with which something is to be made on the host: what its maker may forbid himself must not hinder those whom the mount lets at it.
pub(super) fn made_with(task: &Task, layer: &Layer, name: &AbsPath, mode: u32, kind: FileType) -> u32 {
    if task.is_virtual() && layer.keeps_owners(&name.parent()) { mode & 0o1777 | for_its_user(kind) } else { mode }
}

/// The permissions that the host's user needs of what is made.
fn for_its_user(kind: FileType) -> u32 {
    match kind {
        FileType::Directory => 0o700,
        FileType::Regular | FileType::Fifo | FileType::Socket => 0o600,
        _ => 0,
    }
}

/// The one who made it, who is not asked once more whether he may.
pub(super) struct Maker<'a>(pub &'a Task);

impl Caller for Maker<'_> {
    fn pid(&self) -> i32 {
        self.0.pid()
    }

    fn credentials(&self) -> Result<Credentials, Errno> {
        self.0.host_credentials()
    }

    fn is_virtual(&self) -> bool {
        true
    }
}

/// What was just made belongs to the virtual identity of who made it (`inode_init_owner`, `fs/inode.c`), and has the mode that was asked for; `None` for a
/// symbolic link, which has none.
pub(super) fn adopt(task: &Task, layer: &Layer, name: &AbsPath, asked: Option<u32>) {
    let Some(who) = task.identity() else { return };
    if !layer.keeps_owners(name) || layer.locate(name, Purpose::Change) != Ok(Location::Own) {
        return;
    }
    let (Ok(made), Ok(directory)) = (layer.stat(name), layer.stat(&name.parent())) else { return };
    let of_directory = directory.mode & libc::S_ISGID != 0;
    let (uid, gid) = (who.users.fs, if of_directory { directory.gid } else { who.groups.fs });
    let maker = &Maker(task);
    let forced = for_its_user(made.file_type());
    let mut mode = made.permissions();
    if let Some(asked) = asked
        && (asked & forced != forced || asked & 0o7000 != 0 || mode & forced != forced)
        && let Ok(who) = task.host_credentials()
    {
        mode = asked & 0o7777 & !who.umask;
    }
    if made.file_type() == FileType::Directory {
        mode = mode & !0o6000 | if of_directory { libc::S_ISGID } else { 0 };
    }
    let is_others = (made.uid, made.gid) != (uid, gid);
    let has_other_mode = mode != made.permissions() || mode & forced != forced;
    let done = match (is_others, has_other_mode) {
        (true, true) => layer.give(name, (uid, gid), mode, maker),
        (true, false) => layer.chown(name, Some(uid), Some(gid), maker),
        (false, true) => layer.chmod(name, mode, maker),
        (false, false) => Ok(()),
    };
    if let Err(errno) = done {
        tracing::warn!("{name}: that it belongs to {uid}:{gid} cannot be kept ({errno})");
    }
}

/// Notes which identity the caller will have when it executes this program.
pub(super) fn will_execute(call: &Call<'_>, arg: &PathArg) -> Result<(), Errno> {
    let Some(rules) = call.view.identities() else { return Ok(()) };
    call.task.will_execute(rules, set_ids(call, arg, 0))
}

/// The same for a program that is executed by its descriptor.
pub(super) fn will_execute_descriptor(call: &Call<'_>, number: i32) -> Result<(), Errno> {
    let Some(rules) = call.view.identities() else { return Ok(()) };
    let name = call.descriptor_name(&call.task, number);
    call.task.will_execute(rules, name.map_or_else(SetIds::default, |name| bits(call, &name)))
}

/// Of a script, the bits of its interpreter count (`bprm_creds_from_file`, `fs/exec.c`). Why a program cannot be executed is said when it is.
fn set_ids(call: &Call<'_>, arg: &PathArg, depth: usize) -> SetIds {
    let Ok(Meaning::Place(place)) = call.meaning(arg, Need::Name) else { return SetIds::default() };
    if !place.found || place.opaque || depth > MAX_DEPTH {
        return SetIds::default();
    }
    let bits = bits(call, &place.name);
    if bits == SetIds::default() && depth == 0 && !is_script(call, &place) {
        return bits;
    }
    match Program::open(call, &place).map(|program| program.script_interpreter()) {
        Ok(Some(interpreter)) => set_ids(call, &PathArg::at_cwd(interpreter, Follow::Last), depth + 1),
        Ok(None) => bits,
        Err(_) => SetIds::default(),
    }
}

/// Whether a program may be a script: what a mount keeps itself is not looked at twice.
fn is_script(call: &Call<'_>, place: &crate::resolve::Place) -> bool {
    let Some(host) = place.host() else { return true };
    let interpreter = call.core.programs.interpreter(host.as_bytes());
    matches!(interpreter.as_deref(), Some(Some(crate::program::Interpreter::Script { .. })))
}

/// What the bits of a file say (`bprm_fill_uid`, `fs/exec.c`).
fn bits(call: &Call<'_>, name: &AbsPath) -> SetIds {
    let Ok(stat) = call.layer.stat(name) else { return SetIds::default() };
    if stat.file_type() != FileType::Regular || stat.mode & (libc::S_ISUID | libc::S_ISGID) == 0 {
        return SetIds::default();
    }
    let ignored = match call.layer.mount_for(name) {
        Some((mount, _)) => mount.flags.contains(MountFlags::NOSUID),
        None => call.view.host().statfs(name).is_ok_and(|fs| fs.flags.cast_unsigned() & libc::ST_NOSUID != 0),
    };
    if ignored {
        return SetIds::default();
    }
    let group = libc::S_ISGID | libc::S_IXGRP;
    SetIds {
        user: (stat.mode & libc::S_ISUID != 0).then_some(stat.uid),
        group: (stat.mode & group == group).then_some(stat.gid),
    }
}
