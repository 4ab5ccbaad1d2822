//! The files of `/proc/PID` that a view tells otherwise than the kernel.
//!
//! What is told is the content of a file of umvu's, as it was when the file was opened: it can be read in pieces, sought in and read again. Where nothing differs from
//! what the kernel tells, its own file is opened.
//!
//! The name of such a file of umvu's is the path of the one that it stands for, so whoever asks about it is told the attributes of that ([`attributes`]). Who looks at one by its name, and then
//! opens it, compares them: `cp` says else that it was replaced. So a process that does is looked at from then on when it asks about what is open ([`look`]).

use crate::{
    call::{Call, Outcome},
    handlers::rewrite,
    host, identity, mount_list, proc_fdinfo, proc_maps, proc_status,
    resolve::PathArg,
    sys,
    task::{REMOVED, Task, host_name},
};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::{
    ffi::CString,
    fs::{File, Permissions},
    io::Write,
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::{MetadataExt, PermissionsExt},
    },
    sync::OnceLock,
};
use vu_api::{AbsPath, Errno, Stat};
use vu_trace::Tid;

/// Whether a path may be that of such a file, by its last name, where the kernel finds one by itself: a relative path below a directory of `/proc`.
#[must_use]
pub fn may_be(call: &Call<'_>, path: &[u8]) -> bool {
    let last = last_name(path);
    names_one(path) && (last != b"stat" || call.core.has_stopped_tasks()) || number(last).is_some()
}

/// An open file with what the view has for `path` on the host, if that is such a file of a task of some view, and differs.
///
/// # Errors
/// Those of reading the host's file.
pub fn open(call: &Call<'_>, path: &AbsPath) -> Result<Option<OwnedFd>, Errno> {
    let Some((tid, name)) = file_of_task(path) else { return Ok(None) };
    let Some(owner) = call.core.tasks.get(tid) else { return Ok(None) };
    match name {
        b"status" | b"stat" => proc_status::open(call, &owner, path, name),
        b"mounts" | b"mountinfo" | b"mountstats" => mount_list::open(call, &owner, path, name),
        b"maps" | b"smaps" | b"numa_maps" => proc_maps::open(call, &owner, path, name),
        name => match descriptor(name) {
            Some(number) => proc_fdinfo::open(call, &owner, path, number),
            None => Ok(None),
        },
    }
}

/// Before a file is looked at by its name: if it may be one of these, what is asked about it once it is open is to be seen, too. Returns what becomes of the call where that
/// takes a filter.
///
/// # Errors
/// Those of the look.
pub(crate) fn look(call: &mut Call<'_>, arg: &PathArg) -> Result<Option<Outcome>, Errno> {
    let in_proc = || arg.path.windows(4).any(|window| window == b"proc") || call.may_be_magic(arg);
    if !names_one(&arg.path) || !in_proc() {
        return Ok(None);
    }
    // It asks about what is open without being seen.
    call.core.agents.switch_off(&call.task);
    if call.task.process.watches_stat() || call.task.identity().is_some() {
        return Ok(None);
    }
    let Some(filter) = call.core.stat_filter() else { return Ok(None) };
    let mut outcome = rewrite::paths(call)?;
    if matches!(outcome, Outcome::Host | Outcome::HostMaySleep) {
        outcome = call.rewrite(Default::default());
    }
    if let Outcome::Rewrite(rewrite) = &mut outcome {
        rewrite.filter = Some(filter);
        call.task.process.watch_stat();
    }
    Ok(Some(outcome))
}

/// The last names of these files.
const TOLD: [&[u8]; 8] = [b"status", b"stat", b"mounts", b"mountinfo", b"mountstats", b"maps", b"smaps", b"numa_maps"];

/// Whether a path is that of such a file, if it leads to `/proc` at all.
fn names_one(path: &[u8]) -> bool {
    TOLD.contains(&last_name(path)) || path.windows(7).any(|window| window == b"fdinfo/")
}

fn last_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

/// The attributes of an open file of `/proc` where the kernel's are not those of the view: of one that umvu tells, and of those of a task whose owner is another one.
///
/// # Errors
/// `ESRCH` if the caller is gone.
pub(crate) fn attributes(call: &Call<'_>, number: i32, fd: BorrowedFd<'_>) -> Result<Option<Stat>, Errno> {
    let told = DEVICE.get().is_some_and(|&device| sys::fstat(fd).is_ok_and(|stat| stat.st_dev == device));
    let others_owner = || call.view.identities().is_some() && sys::is_procfs(fd);
    if !told && !others_owner() {
        return Ok(None);
    }
    let link = sys::read_link(call.task.proc()?, &format!("fd/{number}"))?;
    let name = if told { stands_for(&link) } else { host_name(link).ok() };
    let Some(name) = name else { return Ok(None) };
    let owner = identity::owner_in_proc(call, &name);
    let stat = match told {
        // Of a task that is gone, the file is left.
        true => sys::open(name.as_bytes(), libc::O_PATH).and_then(host::stat_of).ok(),
        false if owner.is_some() => Some(host::stat_of(fd)?),
        false => None,
    };
    Ok(stat.map(|stat| match owner {
        Some((uid, gid)) if stat.uid == sys::effective_uid() => Stat { uid, gid, ..stat },
        _ => stat,
    }))
}

/// What the link of a descriptor in `/proc` reads as, if one of these files is open there.
pub(crate) fn told_name(task: &Task, number: i32) -> Option<AbsPath> {
    DEVICE.get()?;
    stands_for(&sys::read_link(task.proc().ok()?, &format!("fd/{number}")).ok()?)
}

/// What a file of umvu's stands for that has this name.
fn stands_for(link: &[u8]) -> Option<AbsPath> {
    let name = AbsPath::new(link.strip_prefix(MEMORY)?.strip_suffix(REMOVED)?).ok()?;
    let (_, last) = file_of_task(&name)?;
    (TOLD.contains(&last) || descriptor(last).is_some()).then_some(name)
}

/// How the name of a file in memory begins in `/proc` (memfd_create(2)).
const MEMORY: &[u8] = b"/memfd:";

/// The device of all files in memory, once there is one of these. There is one hypervisor in a process.
static DEVICE: OnceLock<u64> = OnceLock::new();

/// The number of the descriptor that such a file is about.
fn descriptor(name: &[u8]) -> Option<i32> {
    number(name.strip_prefix(b"fdinfo/")?)
}

fn number(text: &[u8]) -> Option<i32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The task of `/proc/PID/NAME` and `/proc/PID/task/TID/NAME`, and the name: the last one, or `fdinfo/N`.
fn file_of_task(path: &AbsPath) -> Option<(Tid, &[u8])> {
    let (mut task, mut name) = first_name(path.as_bytes().strip_prefix(b"/proc/")?)?;
    number(task)?;
    if let Some(of_thread) = name.strip_prefix(b"task/") {
        (task, name) = first_name(of_thread)?;
    }
    let tid = number(task)?;
    let is_one = !name.contains(&b'/') || descriptor(name).is_some();
    is_one.then_some((Tid(tid), name))
}

/// The first name of a path, and what is behind its slash.
fn first_name(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = path.iter().position(|&byte| byte == b'/')?;
    Some((&path[..slash], &path[slash + 1..]))
}

/// What will be the content of such a file.
pub(crate) struct Content {
    /// What it stands for.
    path: AbsPath,
    /// Made with the first piece.
    file: Option<File>,
    /// Written in large pieces.
    pending: Vec<u8>,
    length: usize,
}

impl Content {
    /// How much is written at once.
    const PIECE: usize = 1 << 16;

    /// Nothing yet, for the file of `/proc` of this path.
    pub fn of(path: &AbsPath) -> Content {
        Content { path: path.clone(), file: None, pending: Vec::new(), length: 0 }
    }

    /// Adds to it.
    ///
    /// # Errors
    /// `EMFILE`, `ENOMEM`.
    pub fn add(&mut self, text: &[u8]) -> Result<(), Errno> {
        self.length += text.len();
        self.pending.extend_from_slice(text);
        if self.pending.len() >= Content::PIECE { self.flush().map(drop) } else { Ok(()) }
    }

    /// How long it is.
    pub fn len(&self) -> usize {
        self.length
    }

    fn make(&self) -> Result<File, Errno> {
        let name = CString::new(self.path.as_bytes()).map_err(|_| Errno::EINVAL)?;
        let fd = memfd_create(&*name, MFdFlags::MFD_CLOEXEC).map_err(|error| Errno::new(error as i32))?;
        let file = File::from(fd);
        let device = file.metadata()?.dev();
        DEVICE.get_or_init(|| device);
        Ok(file)
    }

    fn flush(&mut self) -> Result<&File, Errno> {
        let file = match self.file.take() {
            Some(file) => file,
            None => self.make()?,
        };
        let file = self.file.insert(file);
        file.write_all(&self.pending)?;
        self.pending.clear();
        Ok(file)
    }

    /// The open file, for reading only.
    ///
    /// # Errors
    /// `EMFILE`, `ENOMEM`.
    pub fn finish(mut self) -> Result<OwnedFd, Errno> {
        let file = self.flush()?;
        file.set_permissions(Permissions::from_mode(0o444))?;
        // Another description, for reading only, that begins at the start.
        let link = format!("/proc/self/fd/{}", file.as_raw_fd());
        sys::open(link.as_bytes(), libc::O_RDONLY)
    }
}

/// An open file, for reading only, with this content, that stands for the file of `/proc` of this path.
///
/// # Errors
/// `EMFILE`, `ENOMEM`.
pub(crate) fn with_content(path: &AbsPath, text: &[u8]) -> Result<OwnedFd, Errno> {
    let mut content = Content::of(path);
    content.add(text)?;
    content.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, SeekFrom, Write};

    #[test]
    fn files_of_tasks() {
        let file = |path: &str| {
            file_of_task(&AbsPath::new(path).unwrap())
                .map(|(tid, name)| (tid.0, String::from_utf8_lossy(name).into_owned()))
        };
        assert_eq!(file("/proc/12/mounts"), Some((12, "mounts".into())));
        assert_eq!(file("/proc/12/task/13/mountinfo"), Some((13, "mountinfo".into())));
        assert_eq!(file("/proc/12/task/13/fdinfo/4"), Some((13, "fdinfo/4".into())));
        assert_eq!(file("/proc/12/task/13"), None);
        for other in
            ["/proc/mounts", "/proc/x/mounts", "/proc/12/mounts/x", "/etc/mounts", "/proc/12", "/proc/12/fdinfo/x"]
        {
            assert_eq!(file(other), None, "{other}");
        }
    }

    #[test]
    fn content_is_read_from_its_beginning_and_not_written_to() {
        let mut content = Content::of(&AbsPath::new("/proc/1/maps").unwrap());
        let line = [b'x'; 1000];
        for _ in 0..100 {
            content.add(&line).unwrap();
        }
        assert_eq!(content.len(), 100_000);
        let mut file = File::from(content.finish().unwrap());
        let mut text = Vec::new();
        file.read_to_end(&mut text).unwrap();
        assert_eq!(text, [b'x'; 100_000]);
        file.seek(SeekFrom::Start(99_999)).unwrap();
        assert_eq!(file.read(&mut [0; 10]).unwrap(), 1);
        assert!(file.write(b"y").is_err());
        let link = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
        assert_eq!(stands_for(link.as_os_str().as_encoded_bytes()), AbsPath::new("/proc/1/maps").ok());
        assert_eq!(stands_for(b"/memfd:/proc/1/exe (deleted)"), None);
    }
}
