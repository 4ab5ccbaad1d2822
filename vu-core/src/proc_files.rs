//! The files of `/proc/PID` that a view tells otherwise than the kernel.
//!
//! What is told is the content of a file of umvu's, as it was when the file was opened: it can be read in pieces, sought in and read again. Where nothing differs from
//! what the kernel tells, its own file is opened.

use crate::{call::Call, mount_list, proc_maps, proc_status, sys};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::{
    fs::{File, Permissions},
    io::Write,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
};
use vu_api::{AbsPath, Errno};
use vu_trace::Tid;

/// Whether a path may be that of such a file, by its last name, where the kernel finds one by itself: a relative path below a directory of `/proc`.
#[must_use]
pub fn may_be(call: &Call<'_>, path: &[u8]) -> bool {
    proc_status::may_be(call, path) || path.ends_with(b"maps")
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
        _ => Ok(None),
    }
}

/// The task and the last name of `/proc/PID/NAME` and `/proc/PID/task/TID/NAME`.
fn file_of_task(path: &AbsPath) -> Option<(Tid, &[u8])> {
    let rest = path.as_bytes().strip_prefix(b"/proc/")?;
    let mut names = rest.split(|&b| b == b'/');
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok().map(Tid);
    let mut tid = number(names.next()?)?;
    let mut last = names.next()?;
    if last == b"task" {
        tid = number(names.next()?)?;
        last = names.next()?;
    }
    if names.next().is_some() { None } else { Some((tid, last)) }
}

/// What will be the content of such a file.
#[derive(Default)]
pub(crate) struct Content {
    /// Made with the first piece.
    file: Option<File>,
    /// Written in large pieces.
    pending: Vec<u8>,
    length: usize,
}

impl Content {
    /// How much is written at once.
    const PIECE: usize = 1 << 16;

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

    fn flush(&mut self) -> Result<&File, Errno> {
        let file = match self.file.take() {
            Some(file) => file,
            None => File::from(memfd_create(c"proc", MFdFlags::MFD_CLOEXEC).map_err(|error| Errno::new(error as i32))?),
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

/// An open file, for reading only, with this content.
///
/// # Errors
/// `EMFILE`, `ENOMEM`.
pub(crate) fn with_content(text: &[u8]) -> Result<OwnedFd, Errno> {
    let mut content = Content::default();
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
        for other in
            ["/proc/mounts", "/proc/x/mounts", "/proc/12/mounts/x", "/etc/mounts", "/proc/12", "/proc/12/task/13"]
        {
            assert_eq!(file(other), None, "{other}");
        }
    }

    #[test]
    fn content_is_read_from_its_beginning_and_not_written_to() {
        let mut content = Content::default();
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
    }
}
