//! Who is given a copy of the C library: programs whose dynamic linker opens it.

use super::Agents;
use crate::{
    call::Call,
    sys,
    task::{Object, Task},
};
use std::{
    ffi::OsStr,
    io::Read,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    sync::{Arc, atomic::Ordering},
};
use vu_agent::{code, image};
use vu_api::AbsPath;
use vu_trace::{Abi, Memory};

/// How many dynamic linkers are known by their beginnings.
const MOST_LOADERS: usize = 8;

/// A file that processes have mapped a copy of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// Its name on the host.
    pub path: AbsPath,
    /// Its device and inode number.
    pub object: Object,
    /// What tells that it is another one now: its size, and when it was changed.
    pub(super) version: (u64, i64, i64),
}

impl Library {
    /// From where on a copy has what the file has not: the agent.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.version.0.next_multiple_of(4096)
    }
}

/// A dynamic linker in memory.
pub(super) struct Loader {
    /// Where it opens files, from its beginning on.
    opens_at: u64,
    /// How it begins: its headers, and the number of its build.
    head: [u8; 1024],
}

impl Agents {
    /// Whether the instruction before this address is one by which the dynamic linker of the task's program opens files.
    pub(super) fn is_loader(&self, task: &Task, instruction: u64) -> bool {
        let begins = |base: u64| {
            let mut head = [0; 1024];
            task.memory().read(base, &mut head).is_ok().then_some(head)
        };
        let known = self.loaders.lock().clone();
        let is_known = |loader: &Arc<Loader>| {
            let base = instruction.wrapping_sub(loader.opens_at);
            base.is_multiple_of(4096) && begins(base) == Some(loader.head)
        };
        if known.iter().any(is_known) {
            return true;
        }
        // Farther than a linker is long.
        const FAR: u64 = 1 << 20;
        let Some(base) = loader_base(task).filter(|&base| base != 0 && (base..base + FAR).contains(&instruction))
        else {
            return false;
        };
        let Some(head) = begins(base) else { return false };
        let mut loaders = self.loaders.lock();
        if loaders.len() >= MOST_LOADERS {
            loaders.clear();
        }
        loaders.push(Arc::new(Loader { opens_at: instruction - base, head }));
        true
    }
}

impl Call<'_> {
    /// A copy with the agent of the C library that the dynamic linker of the caller's program opens just now, to be opened instead; `None` if it is anything else that is opened.
    pub(crate) fn library(&self, host: &AbsPath) -> Option<OwnedFd> {
        if self.abi != Abi::X86_64 || !host.as_bytes().ends_with(b"/libc.so.6") || !self.is_plain() {
            return None;
        }
        let agent = self.core.agents.of(self.core, &self.view);
        if agent.seed() == 0 {
            return None;
        }
        let process = &self.task.process;
        let modest = &self.core.agents.modest;
        let program = process.program.load(Ordering::Relaxed);
        if modest.know(program) {
            process.asked.begin(program, false, modest);
            return None;
        }
        if !self.core.agents.is_loader(&self.task, self.instruction()) {
            return None;
        }
        let stat = sys::stat(host.as_bytes()).ok()?;
        let version = (stat.st_size.cast_unsigned(), stat.st_ctime, stat.st_ctime_nsec);
        let library = Library { path: host.clone(), object: (stat.st_dev, stat.st_ino), version };
        let copy = agent.image(&self.core.agents, &library)?.open().ok()?;
        if program != 0 {
            process.asked.begin(program, true, modest);
        }
        process.agent.store(true, Ordering::Release);
        Some(copy)
    }
}

/// The content of a library, if it is still that one, and everybody may read it.
pub(super) fn read(library: &Library) -> Option<Vec<u8>> {
    let mut file = std::fs::File::open(OsStr::from_bytes(library.path.as_bytes())).ok()?;
    let meta = file.metadata().ok()?;
    let public = meta.is_file() && meta.mode() & 0o004 != 0;
    let same = (meta.dev(), meta.ino()) == library.object && meta.len() == library.version.0;
    if !public || !same || meta.len() > image::LONGEST as u64 {
        return None;
    }
    // The agent is put behind it.
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).ok()?.saturating_add(2 * code::SIZE));
    file.by_ref().take(image::LONGEST as u64).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Where the dynamic linker of a program begins; 0 for none (getauxval(3)).
fn loader_base(task: &Task) -> Option<u64> {
    let vector = std::fs::read(format!("/proc/{}/auxv", task.process.id)).ok()?;
    let word = |bytes: &[u8]| bytes.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes));
    let base = vector.chunks_exact(16).find(|entry| word(entry) == Some(libc::AT_BASE))?;
    word(&base[8..])
}
