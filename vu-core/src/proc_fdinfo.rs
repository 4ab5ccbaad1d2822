//! `/proc/TID/fdinfo/N` as a view has it: the mount in which an open file lies, and its number, are the view's (proc_pid_fdinfo(5)).

use crate::{
    call::Call,
    mount_list,
    proc_files::with_content,
    sys,
    task::{Task, host_name},
};
use std::{
    ffi::OsStr,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
};
use vu_api::{AbsPath, Errno, Filesystem};

/// An open file with what the view has for a descriptor of a task; `None` if that is what the host tells.
///
/// # Errors
/// Those of reading the host's file.
pub fn open(call: &Call<'_>, owner: &Task, path: &AbsPath, number: i32) -> Result<Option<OwnedFd>, Errno> {
    let Some(name) = name_of(call, owner, number) else { return Ok(None) };
    let Some((mount, _)) = call.layer.mount_for(&name) else { return Ok(None) };
    let host = std::fs::read(OsStr::from_bytes(path.as_bytes()))?;
    let inode = call.layer.stat(&name).ok().map(|stat| stat.ino);
    with_content(path, &told(&host, mount_list::id(&mount), inode)).map(Some)
}

/// The name in the view of what a descriptor is open on; `None` if it has none.
fn name_of(call: &Call<'_>, owner: &Task, number: i32) -> Option<AbsPath> {
    if !call.view.has(owner) || call.removed_name(owner, number).is_some() {
        return None;
    }
    let host = || host_name(sys::read_link(owner.proc().ok()?, &format!("fd/{number}")).ok()?).ok();
    call.descriptor_name(owner, number).or_else(host)
}

/// In the kernel's form (`seq_show`, `fs/proc/fd.c`).
fn told(host: &[u8], mount: u64, inode: Option<u64>) -> Vec<u8> {
    let mut text = Vec::with_capacity(host.len() + 16);
    for line in host.split_inclusive(|&byte| byte == b'\n') {
        match (line.strip_prefix(b"mnt_id:\t"), line.strip_prefix(b"ino:\t"), inode) {
            (Some(_), ..) => text.extend(format!("mnt_id:\t{mount}\n").into_bytes()),
            (_, Some(_), Some(inode)) => text.extend(format!("ino:\t{inode}\n").into_bytes()),
            _ => text.extend_from_slice(line),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_of_the_view_stays() {
        let host =
            b"pos:\t5\nflags:\t0100000\nmnt_id:\t30\nino:\t206431\nlock:\t1: FLOCK  ADVISORY  WRITE 7 00:17:30 0 EOF\n";
        let text = |inode| String::from_utf8(told(host, 7, inode)).unwrap();
        let rest = "lock:\t1: FLOCK  ADVISORY  WRITE 7 00:17:30 0 EOF\n";
        assert_eq!(text(Some(9)), format!("pos:\t5\nflags:\t0100000\nmnt_id:\t7\nino:\t9\n{rest}"));
        assert_eq!(text(None), format!("pos:\t5\nflags:\t0100000\nmnt_id:\t7\nino:\t206431\n{rest}"));
    }
}
