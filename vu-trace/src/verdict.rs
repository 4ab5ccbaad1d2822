//! What the hypervisor decides about an intercepted call, and the trait by which it is asked.

use crate::{Filter, Listener, naming::Naming, ptrace::Tid, x86_64::Abi};
use std::{
    fmt,
    os::fd::OwnedFd,
    sync::{Arc, OnceLock, Weak},
};

/// An intercepted system call.
#[derive(Debug, Clone, Copy)]
pub struct Intercepted<'a> {
    /// Which thread made it.
    pub tid: Tid,
    /// By which entry.
    pub abi: Abi,
    /// Its number.
    pub nr: i64,
    /// Its arguments.
    pub args: [u64; 6],
    /// The address behind the instruction that made it.
    pub instruction: u64,
    /// How it was intercepted.
    pub by: Interception<'a>,
}

/// How a call was intercepted.
#[derive(Debug, Clone, Copy)]
pub enum Interception<'a> {
    /// By a notification; the caller can receive descriptors.
    Notification {
        /// Where it came from.
        listener: &'a Listener,
        /// Its identity.
        id: u64,
    },
    /// By a stop of the tracee.
    Stop {
        /// Gone when the tracee is in it no more; `None` where nobody notices before the verdict.
        stop: Option<&'a Weak<()>>,
    },
}

impl Intercepted<'_> {
    /// Whether the caller still waits, so that [`tid`](Self::tid) is still this thread: to be asked before acting on what was read
    /// from its memory where the action cannot be taken back.
    #[must_use]
    pub fn still_waits(&self) -> bool {
        match self.by {
            Interception::Notification { listener, id } => listener.waits(id),
            Interception::Stop { stop } => stop.is_none_or(|stop| stop.strong_count() > 0),
        }
    }
}

/// What becomes of an intercepted call, the cheapest first.
#[derive(Debug)]
pub enum Verdict {
    /// It runs as it is.
    Continue,
    /// It is answered: a result, or a negative errno.
    Return(i64),
    /// The caller receives a descriptor, at its lowest free number.
    Install(NewDescriptor),
    /// Another call runs in its place.
    Rewrite(Box<Rewrite>),
    /// Another call runs in its place, on a descriptor that the caller has for just that long.
    Borrow(Borrow),
}

/// A call that a tracee makes, in place of its own, on a descriptor of the hypervisor's.
pub struct Borrow {
    /// The descriptor, which is the call's first and only argument.
    pub fd: OwnedFd,
    /// Its number, in the numbering of the original's entry. It must be one that does not wait.
    pub nr: i64,
    /// What is to be done with the result.
    pub finish: Finish,
}

impl fmt::Debug for Borrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Borrow").field("fd", &self.fd).field("nr", &self.nr).finish_non_exhaustive()
    }
}

/// A descriptor for a tracee.
pub struct NewDescriptor {
    /// Ours, closed afterwards.
    pub fd: OwnedFd,
    /// `FD_CLOEXEC`
    pub close_on_exec: bool,
    /// Undoes what was done to get it, if the tracee can have no more descriptors (`EMFILE`).
    pub undo: Option<Box<dyn FnOnce() + Send>>,
}

impl fmt::Debug for NewDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewDescriptor")
            .field("fd", &self.fd)
            .field("close_on_exec", &self.close_on_exec)
            .finish_non_exhaustive()
    }
}

/// A call that a tracee makes in place of its own.
pub struct Rewrite {
    /// Its number, in the numbering of the original's entry.
    pub nr: i64,
    /// Its arguments.
    pub args: [Argument; 6],
    /// Whether the call may carry the view's cookie, so that the filter lets it pass at once; calls that use their sixth argument, or that the
    /// filter never lets pass, may not.
    pub cookie: bool,
    /// What is to be done with the result, on the tracer's thread, before the tracee goes on.
    pub finish: Option<Finish>,
    /// Told, if somebody asks for it, with which arguments the call is made: of what lies in the tracee's memory, where that is. It lies there until
    /// `finish` has returned.
    pub placed: Option<Placed>,
    /// A filter that the process is to have, without a listener, when the call is over: for what concerns only processes that make such calls. Its children
    /// will have it, too.
    pub filter: Option<Filter>,
}

/// The arguments of a rewritten call that was made.
pub type Placed = Arc<OnceLock<[u64; 6]>>;

/// Receives the result of a rewritten call and gives the one that the tracee sees. A successful exec is told as 0.
pub type Finish = Box<dyn FnOnce(i64) -> i64 + Send>;

/// An argument of a rewritten call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Argument {
    /// As the tracee gave it.
    #[default]
    Keep,
    /// This value.
    Value(u64),
    /// The address of a copy of these bytes in the tracee.
    Bytes(Vec<u8>),
    /// The address of a NULL-terminated vector of pointers in the tracee.
    Vector(Vec<Pointer>),
    /// The address of a copy of these bytes, in which each of these offsets holds the address of a copy of its own bytes.
    Record(Vec<u8>, Vec<(usize, Vec<u8>)>),
}

/// An entry of an [`Argument::Vector`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pointer {
    /// An address in the tracee.
    Address(u64),
    /// The address of a copy of these bytes in the tracee.
    Bytes(Vec<u8>),
}

impl fmt::Debug for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rewrite").field("nr", &self.nr).field("args", &self.args).finish_non_exhaustive()
    }
}

/// The end of a thread that may have made another one of which it had not told. Such ends are counted: the thread's number is soon another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Death(pub u64);

/// Who made a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parent {
    /// A thread that lives.
    Living(Tid),
    /// One that was killed before it told of it.
    Killed(Death),
}

impl fmt::Display for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Parent::Living(tid) => tid.fmt(f),
            Parent::Killed(_) => f.write_str("one that was killed"),
        }
    }
}

/// A thread or process that a tracee started.
#[derive(Debug, Clone, Copy)]
pub struct Birth {
    /// Who made it.
    pub parent: Parent,
    /// The new thread.
    pub child: Tid,
    /// The process the new thread belongs to: the child itself, or the parent's process.
    pub process: Tid,
    /// `CLONE_*` (clone(2)); of the bits that are no flags nothing is said.
    pub flags: u64,
}

/// What `/proc` is to tell of a thread where the kernel tells of the hypervisor (proc_pid_status(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Appearance {
    /// The thread of the view that debugs it.
    pub debugger: Option<Tid>,
    /// It is stopped by a signal, and by no debugger.
    pub stopped: bool,
    /// 0 for none, 1 for strict, 2 for filters: what it has asked for itself.
    pub seccomp_mode: u8,
    /// How many filters it has installed itself.
    pub filters: u32,
    /// It has promised to gain no rights by an exec.
    pub no_new_privileges: bool,
    /// Somebody in the view looks at its system calls: a debugger, or a filter of its own.
    pub watched: bool,
}

/// The side that knows what calls mean. Its methods are called by the tracer's thread and by the supervisors' threads, at
/// the same time.
pub trait Hypervisor: Send + Sync + 'static {
    /// Decides about a call.
    fn intercepted(&self, call: &Intercepted<'_>) -> Verdict;

    /// Whether the verdict is known without waiting for anything, nor looking at any file: then the tracer's thread asks for it, and all tracees' events
    /// wait meanwhile. It is asked of calls that stop their callers only.
    fn decides_at_once(&self, _abi: Abi, _nr: i64) -> bool {
        false
    }

    /// Whether a call that was interrupted by a signal is to be made again after the signal's handler, whatever the handler's flags: true if it was
    /// the wait for the verdict that was interrupted, and so only for a call that waits for one.
    fn never_interrupted(&self, tid: Tid, abi: Abi, nr: i64, args: &[u64; 6]) -> bool;

    /// The view's first process is there. It does not run before this returns.
    fn began(&self, first: Tid);

    /// A thread was made by another one. It does not run before this returns, nor does its parent.
    fn born(&self, birth: Birth);

    /// A process executes another program; `former` is the thread that made the call, whose id is now `process`.
    fn executed(&self, process: Tid, former: Tid);

    /// Asked before that: whether the path by which the kernel executed the program is to be told ([`executes`](Self::executes)), because it may stand for another one.
    fn asks_for_path(&self, _process: Tid) -> bool {
        false
    }

    /// The path by which the kernel executed the program.
    fn executes(&self, _process: Tid, _path: &[u8]) {}

    /// Asked after that: what the program is to find about itself, where it is another one for the kernel.
    fn naming(&self, _process: Tid) -> Naming {
        Naming::default()
    }

    /// Where a thread goes on that met memory it cannot read at this instruction, if the program is not to hear of it.
    fn recovers(&self, _tid: Tid, _instruction: u64) -> Option<u64> {
        None
    }

    /// Whether a thread's working directory may be one of the hypervisor's, in which the kernel can make nothing.
    fn may_work_in_its_own(&self, _tid: Tid) -> bool {
        false
    }

    /// The directory of the host in which the core file of a process is to lie, if the kernel would not write one where the process works. This may take its time.
    fn core_directory(&self, _process: Tid) -> Option<Vec<u8>> {
        None
    }

    /// What a thread looks like has changed.
    fn appears(&self, _tid: Tid, _appearance: Appearance) {}

    /// The capabilities in force of a thread, if they are other ones than the kernel's.
    fn capabilities(&self, _tid: Tid) -> Option<u64> {
        None
    }

    /// Asked after that, too: entries of the auxiliary vector (getauxval(3)), type and value, that are others for the process than the kernel says.
    fn auxiliary(&self, _process: Tid) -> Vec<(u64, u64)> {
        Vec::new()
    }

    /// A thread is gone.
    fn exited(&self, tid: Tid);

    /// The same of one that may have made another one: what that one would have of it is kept until this [death is forgotten](Self::forgets).
    fn was_killed(&self, tid: Tid, death: Death);

    /// Nobody is born any more of a thread that was killed.
    fn forgets(&self, death: Death);
}

impl<T: Hypervisor> Hypervisor for Arc<T> {
    fn intercepted(&self, call: &Intercepted<'_>) -> Verdict {
        T::intercepted(self, call)
    }
    fn decides_at_once(&self, abi: Abi, nr: i64) -> bool {
        T::decides_at_once(self, abi, nr)
    }
    fn never_interrupted(&self, tid: Tid, abi: Abi, nr: i64, args: &[u64; 6]) -> bool {
        T::never_interrupted(self, tid, abi, nr, args)
    }
    fn began(&self, first: Tid) {
        T::began(self, first);
    }
    fn born(&self, birth: Birth) {
        T::born(self, birth);
    }
    fn executed(&self, process: Tid, former: Tid) {
        T::executed(self, process, former);
    }
    fn asks_for_path(&self, process: Tid) -> bool {
        T::asks_for_path(self, process)
    }
    fn executes(&self, process: Tid, path: &[u8]) {
        T::executes(self, process, path);
    }
    fn naming(&self, process: Tid) -> Naming {
        T::naming(self, process)
    }
    fn recovers(&self, tid: Tid, instruction: u64) -> Option<u64> {
        T::recovers(self, tid, instruction)
    }
    fn may_work_in_its_own(&self, tid: Tid) -> bool {
        T::may_work_in_its_own(self, tid)
    }
    fn core_directory(&self, process: Tid) -> Option<Vec<u8>> {
        T::core_directory(self, process)
    }
    fn appears(&self, tid: Tid, appearance: Appearance) {
        T::appears(self, tid, appearance);
    }
    fn capabilities(&self, tid: Tid) -> Option<u64> {
        T::capabilities(self, tid)
    }
    fn auxiliary(&self, process: Tid) -> Vec<(u64, u64)> {
        T::auxiliary(self, process)
    }
    fn exited(&self, tid: Tid) {
        T::exited(self, tid);
    }
    fn was_killed(&self, tid: Tid, death: Death) {
        T::was_killed(self, tid, death);
    }
    fn forgets(&self, death: Death) {
        T::forgets(self, death);
    }
}
