//! The smallest hypervisor that uses every verdict.

use std::{
    fs::File,
    io::{Seek, Write},
    os::fd::{FromRawFd, OwnedFd},
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};
use vu_api::Errno;
use vu_trace::{
    Abi, Argument, Birth, Death, Filter, Hypervisor, Intercepted, Memory, NewDescriptor, ProcessMemory, Required,
    Rewrite, Tid, Verdict,
    filter::{Calls, FilterSpec, Rule, When, X32, compile},
};

pub const COOKIE: u64 = 0x5eed_c0de_8000_0001;
const CONTROL: i64 = 0x7675;

/// Calls with a path as their first argument: number by `syscall`, by `int 0x80`.
const PATH_CALLS: [(i64, i64); 3] = [(libc::SYS_access, 33), (libc::SYS_mkdir, 39), (libc::SYS_execve, 11)];
/// openat, whose path is the second.
const OPENAT: (i64, i64) = (libc::SYS_openat, 295);

pub struct Tiny {
    required: Arc<Required>,
    living: AtomicI64,
    mounted: AtomicBool,
    awaited: AtomicI64,
    left: AtomicI64,
    meeting: Barrier,
}

fn spec(trace: &[(i64, i64)], notify: &[(i64, i64)]) -> FilterSpec {
    let rule = |nr| Rule { nr, when: if nr == libc::SYS_execve { When::Always } else { When::WithoutCookie } };
    let calls = |pick: fn(&(i64, i64)) -> i64| Calls {
        trace: trace.iter().map(|pair| Rule { nr: pick(pair), when: When::Always }).collect(),
        notify: notify.iter().map(|pair| rule(pick(pair))).collect(),
        refuse: Vec::new(),
    };
    FilterSpec {
        x86_64: calls(|pair| pair.0),
        i386: calls(|pair| pair.1),
        x32: X32::Allow,
        cookie: COOKIE,
        sites: Vec::new(),
    }
}

pub fn base_filter() -> Arc<[libc::sock_filter]> {
    compile(&spec(&[(CONTROL, CONTROL)], &[])).unwrap().into()
}

impl Tiny {
    pub fn new(required: Arc<Required>) -> Arc<Tiny> {
        Arc::new(Tiny {
            required,
            living: AtomicI64::new(0),
            mounted: AtomicBool::new(false),
            awaited: AtomicI64::new(0),
            left: AtomicI64::new(0),
            meeting: Barrier::new(2),
        })
    }

    /// As long as the caller does.
    fn wait(&self, call: &Intercepted<'_>) -> i64 {
        self.awaited.fetch_add(1, Ordering::SeqCst);
        while call.still_waits() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        self.left.fetch_add(1, Ordering::SeqCst)
    }

    fn mount(&self) {
        self.mounted.store(true, Ordering::SeqCst);
        let calls: Vec<_> = PATH_CALLS.into_iter().chain([OPENAT]).collect();
        self.required.add(Filter { program: compile(&spec(&[], &calls)).unwrap().into(), notifies: true });
    }
}

fn installed() -> OwnedFd {
    // SAFETY: a C string, and a descriptor that is nobody else's.
    let mut file = unsafe { File::from_raw_fd(libc::memfd_create(c"tiny".as_ptr(), 0)) };
    file.write_all(b"installed").unwrap();
    file.rewind().unwrap();
    file.into()
}

impl Hypervisor for Tiny {
    fn intercepted(&self, call: &Intercepted<'_>) -> Verdict {
        if call.nr == CONTROL {
            return Verdict::Return(match call.args[0] {
                1 => {
                    self.mount();
                    0
                }
                2 => std::process::id().into(),
                3 => self.living.load(Ordering::SeqCst),
                // Takes until somebody else makes the same call.
                4 => {
                    self.meeting.wait();
                    0
                }
                // Takes until its caller waits no more; how often that began and ended, others may ask.
                5 => self.wait(call),
                6 => self.awaited.load(Ordering::SeqCst),
                7 => self.left.load(Ordering::SeqCst),
                _ => Errno::EINVAL.as_result(),
            });
        }
        // A filter of a tracee's own stops it before anything is mounted, too.
        if !self.mounted.load(Ordering::SeqCst) || !self.never_interrupted(call.tid, call.abi, call.nr, &call.args) {
            return Verdict::Continue;
        }
        let openat = if call.abi == Abi::X86_64 { OPENAT.0 } else { OPENAT.1 };
        let index = usize::from(call.nr == openat);
        let path = match ProcessMemory(call.tid).read_path(call.args[index]) {
            Ok(path) => path,
            Err(errno) => return Verdict::Return(errno.as_result()),
        };
        let rewrite = |nr, args, finish| {
            Verdict::Rewrite(Box::new(Rewrite {
                nr,
                args,
                cookie: call.nr != libc::SYS_execve,
                finish,
                placed: None,
                filter: None,
            }))
        };
        match path.as_slice() {
            b"/virt/answer" => Verdict::Return(Errno::EXDEV.as_result()),
            // Takes until somebody else makes the same call.
            b"/virt/meet" => {
                self.meeting.wait();
                Verdict::Return(0)
            }
            b"/virt/wait" => Verdict::Return(self.wait(call)),
            b"/virt/fd" => Verdict::Install(NewDescriptor { fd: installed(), close_on_exec: true, undo: None }),
            b"/virt/finish" => rewrite(libc::SYS_getppid, Default::default(), Some(Box::new(|parent| 2 * parent))),
            _ => match path.strip_prefix(b"/virt/host") {
                Some(host) => {
                    let mut args: [Argument; 6] = Default::default();
                    args[index] = Argument::Bytes([host, &[0]].concat());
                    rewrite(call.nr, args, None)
                }
                None => Verdict::Continue,
            },
        }
    }

    fn never_interrupted(&self, _tid: Tid, abi: Abi, nr: i64, _args: &[u64; 6]) -> bool {
        let number = |pair: &(i64, i64)| if abi == Abi::X86_64 { pair.0 } else { pair.1 };
        PATH_CALLS.iter().chain([&OPENAT]).any(|pair| number(pair) == nr)
    }

    fn began(&self, _first: Tid) {
        self.living.fetch_add(1, Ordering::SeqCst);
    }

    fn born(&self, _birth: Birth) {
        self.living.fetch_add(1, Ordering::SeqCst);
    }

    fn executed(&self, process: Tid, former: Tid) {
        if process != former {
            self.living.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn was_killed(&self, tid: Tid, _death: Death) {
        self.exited(tid);
    }

    fn forgets(&self, _death: Death) {}

    fn exited(&self, _tid: Tid) {
        self.living.fetch_sub(1, Ordering::SeqCst);
    }
}
