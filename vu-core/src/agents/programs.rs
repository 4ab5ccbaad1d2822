//! What is published of programs, and what takes that away.

use crate::{
    call::Call,
    resolve::{Meaning, PathArg},
    sys::{self, At, Reach},
};
use std::os::fd::{AsFd, OwnedFd};
use vu_agent::{Bind, Doubts, Key};
use vu_api::{AbsPath, Errno, FileType};
use vu_trace::Abi;

/// Longer paths of programs are left to the hypervisor.
const LONGEST_PROGRAM: usize = 400;

/// What a program is to be called that an agent executed by a path of the host.
#[derive(Debug, Clone)]
pub(crate) struct Called {
    /// The path that was given.
    pub told: Vec<u8>,
    /// Its name in the view, if it has another one on the host.
    pub name: Option<AbsPath>,
}

impl Call<'_> {
    /// Publishes what was found out about a program that is executed by an absolute path: that the kernel does right by itself. `place` is given where it lies in a mount: its name there, and
    /// where it is on the host; its loader, if it has one, is then the kernel's, and it is no script.
    pub(crate) fn prove_program(&self, text: &[u8], place: Option<(&AbsPath, &[u8])>) {
        if self.proofs == 0 || self.abi != Abi::X86_64 || text.len() > LONGEST_PROGRAM || !self.is_plain() {
            return;
        }
        let Some(agent) = self.view.agent() else { return };
        if self.core.agents.files_change() {
            return;
        }
        // Elsewhere, what is executed may be another file after the next change, or not to be executed at all.
        if agent.state.lock().told.doubts != Doubts::default() {
            return;
        }
        // Each name once, and none that is another thing for each who looks.
        let Some(names) = text.strip_prefix(b"/") else { return };
        if names.split(|&byte| byte == b'/').any(|name| matches!(name, b"" | b"." | b".." | b"proc")) {
            return;
        }
        let seed = self.programs;
        let (key, path, name) = match place {
            None => (Key::of_program(seed, None, text), text.to_vec(), None),
            Some((name, host)) => {
                let binds = agent.state.lock().told.binds.clone();
                let rest = |bind: &Bind| text.strip_prefix(bind.point.as_slice()).filter(|rest| rest.starts_with(b"/"));
                let Some((index, bind, rest)) =
                    binds.iter().enumerate().find_map(|(index, bind)| Some((index, bind, rest(bind)?)))
                else {
                    return;
                };
                // Links on the way lead the kernel to the same file.
                let path = [&bind.exec_prefix(index), rest].concat();
                if !sys::identity(&path).is_ok_and(|object| sys::identity(host) == Ok(object)) {
                    return;
                }
                (Key::of_program(seed, Some(index), text), path, Some(name.clone()))
            }
        };
        // Who may not write to it has it not open, either.
        let host = place.map_or(text, |(_, host)| host);
        let may_be_written = |fd: OwnedFd| sys::access(Reach::Held(fd.as_fd()), libc::W_OK, libc::AT_EACCESS).is_ok();
        if sys::open(host, libc::O_PATH).is_ok_and(may_be_written) && sys::is_being_written(host) {
            return;
        }
        agent.remember(path, Called { told: text.to_vec(), name });
        // Looked at last: who announces a change first says so, and then voids the proofs of before.
        if !self.core.agents.files_change() && self.core.agents.expiry.begin(&self.core.agents) {
            agent.publish(key);
        }
    }

    /// This is about to be written to, removed, or given other permissions. What is no program, and cannot become one by that alone, takes no proof away.
    pub(crate) fn program_changes(&self, arg: &PathArg, meaning: &Meaning) {
        if self.core.agents.exist() && self.may_be_program(arg, meaning) {
            self.core.agents.forget_programs();
        }
    }

    /// Whether a path leads, or a link there may lead, to a file that somebody may execute.
    fn may_be_program(&self, arg: &PathArg, meaning: &Meaning) -> bool {
        let mode = match meaning {
            Meaning::Kernel if !arg.is_absolute() && arg.dirfd == libc::AT_FDCWD && !arg.path.is_empty() => {
                self.cwd().and_then(|cwd| sys::last_mode(At::Dir(cwd.fd.as_fd()), &arg.path))
            }
            Meaning::Place(place) if !place.opaque => match place.host() {
                Some(host) => sys::last_mode(At::Root, host.as_bytes()),
                None => return true,
            },
            _ => return true,
        };
        match mode {
            Ok(mode) => match FileType::from_mode(mode) {
                Some(FileType::Regular) => mode & 0o111 != 0,
                file_type => matches!(file_type, None | Some(FileType::Symlink)),
            },
            // It is made as a new one then: what had been found there was announced when it went.
            Err(errno) => errno != Errno::ENOENT,
        }
    }
}
