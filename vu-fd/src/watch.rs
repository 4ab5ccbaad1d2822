//! Who tells that a placeholder is held no more: inotify(7), or fanotify(7) where other programs have used up their user's instances of that, as many as there are
//! on machines where people write programs. Each has a limit of its own (`fs.inotify.max_user_instances`, `fs.fanotify.max_user_groups`).

use crate::placeholder;
use nix::{
    errno::Errno,
    fcntl::AT_FDCWD,
    sys::{
        fanotify::{self, EventFFlags, Fanotify, MarkFlags, MaskFlags},
        inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor},
    },
    unistd,
};
use std::{
    collections::HashSet,
    fs,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

/// Watches placeholders.
pub(crate) enum Watcher {
    /// It tells which one has come to its end.
    Inotify(Inotify),
    /// It is only asked whether one has: then the kernel lists which ones are still watched.
    Fanotify(Fanotify),
}

/// What a watcher tells.
pub(crate) enum End {
    /// The placeholder of this watch is held no more.
    Of(WatchDescriptor),
    /// Some are not: those that are not [watched](Watcher::watched).
    OfSome,
}

impl Watcher {
    /// # Errors
    /// Those of inotify_init(2), if fanotify is not to be had either (fanotify_init(2): Linux 5.13 for ordinary users).
    pub fn new() -> nix::Result<Watcher> {
        match Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC) {
            Ok(inotify) => Ok(Watcher::Inotify(inotify)),
            Err(errno) => Watcher::by_fanotify().map_err(|_| errno),
        }
    }

    pub fn by_fanotify() -> nix::Result<Watcher> {
        // Events that bear no descriptor of the object; ordinary users have no others.
        let by_number = fanotify::InitFlags::from_bits_retain(nix::libc::FAN_REPORT_FID);
        let flags = fanotify::InitFlags::FAN_CLOEXEC | fanotify::InitFlags::FAN_NONBLOCK | by_number;
        Fanotify::init(flags, EventFFlags::empty()).map(Watcher::Fanotify)
    }

    /// Watches a placeholder until it is held no more. Inotify's watches have descriptors.
    ///
    /// # Errors
    /// `ENOSPC` if its user can have no more watches; others of inotify_add_watch(2), fanotify_mark(2).
    pub fn watch(&self, fd: &OwnedFd) -> nix::Result<Option<WatchDescriptor>> {
        let path = placeholder::link_to(fd);
        match self {
            Watcher::Inotify(inotify) => inotify.add_watch(path.as_str(), AddWatchFlags::IN_DELETE_SELF).map(Some),
            Watcher::Fanotify(fanotify) => {
                let mask = MaskFlags::FAN_DELETE_SELF | MaskFlags::FAN_ONDIR;
                fanotify.mark(MarkFlags::FAN_MARK_ADD, mask, AT_FDCWD, Some(path.as_str())).map(|()| None)
            }
        }
    }

    /// The setting of the host by which there can be more watches.
    pub fn limit(&self) -> &'static str {
        match self {
            Watcher::Inotify(_) => "fs.inotify.max_user_watches",
            Watcher::Fanotify(_) => "fs.fanotify.max_user_marks",
        }
    }

    /// What has ended since this was asked the last time.
    pub fn ends(&self) -> Vec<End> {
        let mut ends = Vec::new();
        match self {
            Watcher::Inotify(inotify) => {
                while let Ok(events) = inotify.read_events() {
                    // IN_IGNORED ends a watch, whatever the reason; it is the last event of its number.
                    ends.extend(events.iter().filter_map(|event| match event.mask {
                        mask if mask.contains(AddWatchFlags::IN_IGNORED) => Some(End::Of(event.wd)),
                        mask if mask.contains(AddWatchFlags::IN_Q_OVERFLOW) => Some(End::OfSome),
                        _ => None,
                    }));
                }
            }
            Watcher::Fanotify(fanotify) => {
                let mut events = [0; 4096];
                while let Ok(1..) | Err(Errno::EINTR) = unistd::read(fanotify, &mut events) {
                    ends = vec![End::OfSome];
                }
            }
        }
        ends
    }

    /// The inode numbers of what is still watched, as `/proc/self/fdinfo` lists them (proc_pid_fdinfo(5)).
    pub fn watched(&self) -> HashSet<u64> {
        let number = match self {
            Watcher::Inotify(inotify) => inotify.as_fd().as_raw_fd(),
            Watcher::Fanotify(fanotify) => fanotify.as_fd().as_raw_fd(),
        };
        parse_fdinfo(&fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default())
    }
}

/// Lines such as `inotify wd:3 ino:9e7e sdev:800013 mask:400 …`, the numbers hexadecimal; those of fanotify have no `wd:`.
fn parse_fdinfo(text: &str) -> HashSet<u64> {
    text.lines()
        .filter(|line| line.starts_with("inotify ") || line.starts_with("fanotify "))
        .filter_map(|line| line.split(' ').find_map(|field| field.strip_prefix("ino:")))
        .filter_map(|ino| u64::from_str_radix(ino, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fdinfo() {
        let text = "pos:\t0\nflags:\t02000000\ninotify wd:2 ino:9e7e sdev:800013 mask:400 ignored_mask:0 fhandle-bytes:8\n\
                    inotify wd:1 ino:ffffffffff sdev:1 mask:400\ninotify wd:1 ino:zz\nfanotify flags:200 event-flags:0\n\
                    fanotify ino:4f9 sdev:1a mflags:0 mask:40000400 ignored_mask:0\n";
        assert_eq!(parse_fdinfo(text), HashSet::from([0x9e7e, 0xff_ffff_ffff, 0x4f9]));
    }
}
