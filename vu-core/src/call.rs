//! One intercepted system call of a tracee, and what becomes of it.

use crate::{core::Core, debug::Tag, layer::Layer, resolve::Base, sys::shorten, task::Task, view::View};
use std::{
    cell::{Cell, OnceCell, RefCell},
    os::fd::{AsRawFd, OwnedFd},
    sync::Arc,
};
use vu_api::{AbsPath, Credentials, Errno, FileType, OpenFlags};
use vu_trace::{
    Abi, Argument, Borrow, Finish, Intercepted, Interception, Memory, NewDescriptor, Placed, ProcessMemory, Rewrite,
};

/// A system call as it stands in the tracee's registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Syscall {
    /// Its number.
    pub nr: i64,
    /// Its six arguments.
    pub args: [u64; 6],
}

/// An intercepted call while it is handled.
pub struct Call<'a> {
    /// What the tracee asked.
    pub syscall: Syscall,
    /// By which entry.
    pub abi: Abi,
    /// Who asked.
    pub task: Arc<Task>,
    /// The view it lives in.
    pub view: Arc<View>,
    /// The view's newest layer: what the task sees.
    pub layer: Layer,
    /// The state of the mounts of all views when the call was looked at.
    pub generation: u64,
    /// What proofs of the time when the call was looked at are published by; 0 if none are.
    pub(crate) proofs: u64,
    /// What proofs of programs are, too.
    pub(crate) programs: u64,
    /// The hypervisor.
    pub core: &'a Core,
    intercepted: &'a Intercepted<'a>,
    /// Where its last path led to, if people are told about it.
    pub(crate) meant: RefCell<Option<AbsPath>>,
    pub(crate) told: bool,
    /// The placeholder that a descriptor of it was found to be.
    pub(crate) begins: RefCell<Option<(i32, Base)>>,
    /// A path of it could not be read. The kernel cannot either, and knows which of its errors comes first.
    pub(crate) unreadable: Cell<bool>,
    /// The type of what its path leads to, if that was looked at on the way.
    pub(crate) seen: Cell<Option<FileType>>,
    /// Whether the call that takes its place, if one does, may wait, so that a signal may interrupt it.
    pub(crate) waits: Cell<bool>,
    /// Who asks, if it has given up root, which the hypervisor has.
    without_root: OnceCell<Option<Credentials>>,
    /// What the paths of the call that takes its place lead through.
    held: RefCell<Vec<OwnedFd>>,
}

/// What becomes of a call; `Err(errno)` of a handler is an answer like any other.
#[derive(Debug)]
pub enum Outcome {
    /// It runs in the kernel as it is.
    Host,
    /// It runs in the kernel as it is, and may sleep there, so that a signal may interrupt it.
    HostMaySleep,
    /// It is answered with this result.
    Done(i64),
    /// The tracee receives a descriptor.
    Install(NewDescriptor),
    /// Another call runs in its place.
    Rewrite(Box<Rewrite>),
    /// The same, on a descriptor that the tracee has for just that long. Only where [`Call::can_install`].
    Borrow(Borrow),
}

/// A handler of the syscall table.
pub type Handler = fn(&mut Call<'_>) -> Result<Outcome, Errno>;

impl<'a> Call<'a> {
    /// The call of a task.
    #[must_use]
    pub fn new(core: &'a Core, task: Arc<Task>, intercepted: &'a Intercepted<'a>) -> Call<'a> {
        // Before the mounts are looked at: what is noted under this number is never newer than what was seen.
        let generation = core.generation();
        let view = task.view();
        let (proofs, programs) = view.agent().map_or((0, 0), |agent| (core.agents.seed_of(agent), agent.exec_seed()));
        let layer = Layer::top(view.clone());
        let syscall = Syscall { nr: intercepted.nr, args: intercepted.args };
        let told = !view.debug().silent() && view.debug().enabled(Tag::Syscalls, &task.debug());
        let meant = RefCell::default();
        Call {
            syscall,
            abi: intercepted.abi,
            task,
            view,
            layer,
            generation,
            proofs,
            programs,
            core,
            intercepted,
            meant,
            told,
            begins: RefCell::default(),
            unreadable: Cell::new(false),
            seen: Cell::new(None),
            waits: Cell::new(true),
            without_root: OnceCell::new(),
            held: RefCell::default(),
        }
    }

    /// The address behind the instruction that made it.
    #[must_use]
    pub fn instruction(&self) -> u64 {
        self.intercepted.instruction
    }

    /// Who asks, as [`Task::without_root`] tells.
    pub(crate) fn without_root(&self) -> Option<&Credentials> {
        self.without_root.get_or_init(|| self.task.without_root()).as_ref()
    }

    /// Argument `index`, counted from 0.
    #[must_use]
    pub fn arg(&self, index: usize) -> u64 {
        self.syscall.args[index]
    }

    /// Argument `index` as the kernel reads an `int`: its lower half.
    #[must_use]
    pub fn int(&self, index: usize) -> i32 {
        low(self.arg(index)).cast_signed()
    }

    /// Argument `index` as the kernel reads an `unsigned int`.
    #[must_use]
    pub fn uint(&self, index: usize) -> u32 {
        low(self.arg(index))
    }

    /// Argument `index` as a `size_t`.
    #[must_use]
    pub fn size(&self, index: usize) -> usize {
        usize::try_from(self.arg(index)).unwrap_or(usize::MAX)
    }

    /// Argument `index` as the flags of open(2).
    #[must_use]
    pub fn open_flags(&self, index: usize) -> OpenFlags {
        OpenFlags::from_bits_retain(self.int(index))
    }

    /// The tracee's memory.
    #[must_use]
    pub fn memory(&self) -> ProcessMemory {
        self.task.memory()
    }

    /// Reads the path at argument `index`.
    ///
    /// # Errors
    /// `EFAULT`, `ENAMETOOLONG`.
    pub fn read_path(&self, index: usize) -> Result<Vec<u8>, Errno> {
        self.memory().read_path(self.arg(index)).inspect_err(|errno| {
            // EPERM is another thing: memory that only the hypervisor may not read; the tracer knows what to do.
            self.unreadable.set(matches!(*errno, Errno::EFAULT | Errno::ENAMETOOLONG));
        })
    }

    /// Writes an answer into the tracee.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.memory().write(address, bytes)
    }

    /// Whether the call can be answered with a descriptor.
    #[must_use]
    pub fn can_install(&self) -> bool {
        matches!(self.intercepted.by, Interception::Notification { .. })
    }

    /// Whether the tracee still waits: asked before what cannot be taken back.
    ///
    /// # Errors
    /// `ESRCH` if it does not.
    pub fn still_waits(&self) -> Result<(), Errno> {
        if self.intercepted.still_waits() { Ok(()) } else { Err(Errno::ESRCH) }
    }

    /// The same call with other arguments.
    #[must_use]
    pub fn rewrite(&self, args: [Argument; 6]) -> Outcome {
        self.rewrite_with(self.syscall.nr, args, None)
    }

    /// A path of the host as the argument of a rewritten call. One that is too long goes by way of a descriptor of ours, which is held until the call was made.
    ///
    /// # Errors
    /// Those of openat2(2) for the beginning of a path that is too long.
    pub fn path_argument(&self, path: &[u8]) -> Result<Argument, Errno> {
        let (start, rest) = shorten(path)?;
        let mut bytes = Vec::with_capacity(path.len() + 1);
        if let Some(start) = start {
            bytes.extend_from_slice(&own_descriptor(&start));
            bytes.push(b'/');
            self.held.borrow_mut().push(start);
        }
        bytes.extend_from_slice(rest);
        bytes.push(0);
        Ok(Argument::Bytes(bytes))
    }

    /// Another call in its place.
    #[must_use]
    pub fn rewrite_with(&self, nr: i64, args: [Argument; 6], finish: Option<Finish>) -> Outcome {
        let held = self.held.take();
        let finish = if held.is_empty() {
            finish
        } else {
            Some(Box::new(move |result| {
                drop(held);
                finish.map_or(result, |finish| finish(result))
            }) as Finish)
        };
        // The filter lets only those with a cookie pass that cannot lead past the view; the others are notified again, and recognised.
        let cookie = crate::table::lookup(self.abi, nr).is_some_and(crate::table::Row::takes_cookie);
        Outcome::Rewrite(Box::new(Rewrite { nr, args, cookie, finish, placed: None, filter: None }))
    }

    /// The call with other arguments. `finish` is told, too, where those lie in memory.
    #[must_use]
    pub fn rewrite_placed(
        &self,
        args: [Argument; 6],
        finish: impl FnOnce(i64, &[u64; 6]) -> i64 + Send + 'static,
    ) -> Outcome {
        let placed = Placed::default();
        let told = placed.clone();
        let finish = move |result| told.get().map_or(result, |placed| finish(result, placed));
        let mut outcome = self.rewrite_with(self.syscall.nr, args, Some(Box::new(finish)));
        if let Outcome::Rewrite(rewrite) = &mut outcome {
            rewrite.placed = Some(placed);
        }
        outcome
    }
}

/// The lower half of a register.
#[must_use]
pub fn low(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The path by which a tracee reaches a descriptor of the hypervisor.
pub(crate) fn own_descriptor(fd: &OwnedFd) -> Vec<u8> {
    format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd()).into_bytes()
}
