//! How a view starts and ends: three processes.
//!
//! ```text
//! umvu (front) ──┬── hypervisor    traces; has no terminal signals; lives as long as a process of the view does
//!                └── command       a child of the front, so that job control, exit status and signals are the kernel's
//! ```
//!
//! The front does nothing but wait for the command and pass on how it stopped or ended. If the hypervisor dies, `PTRACE_O_EXITKILL` ends every
//! process of the view; if the front dies without a farewell, the hypervisor notices the end of their socket and ends itself. When
//! the command ends and others go on (daemons, background jobs), the front is done and the hypervisor stays for them.

use crate::{
    check::Hindrance,
    debugger,
    doorbell::{Doorbell, Request},
    fence,
    filters::{FLAG_SPEC_ALLOW, Required},
    front::{mirror, set_signal, take_signals, wait},
    own_filters,
    ptrace::{Tid, seize},
    tracer::Tracer,
    verdict::Hypervisor,
};
use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsRawFd, RawFd},
        unix::net::UnixStream,
    },
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use vu_api::Errno;

/// What a view needs to start.
pub struct Launch<S, C> {
    /// The filter every process has from the start.
    pub base_filter: Arc<[libc::sock_filter]>,
    /// The number that lets a rewritten call pass.
    pub cookie: u64,
    /// Makes the hypervisor, in its process, before the command runs.
    pub hypervisor: S,
    /// Runs in the command's process, inside the view; executes the command, or returns the status of the failure.
    pub command: C,
}

/// The messages of the sockets between the three processes.
const READY: u8 = b'r';
const GO: u8 = b'g';
pub(crate) const TERMINATE: u8 = b't';
pub(crate) const HANG_UP: u8 = b'h';
pub(crate) const STOPS: u8 = b'z';
pub(crate) const GOES_ON: u8 = b'c';
const FAREWELL: u8 = b'f';
const STAYS: u8 = b's';

/// How long processes have to end themselves when they are asked to.
const GRACE: Duration = Duration::from_secs(2);
/// How often it is looked whether the command goes on without the front, while that is stopped.
const GLANCE: Duration = Duration::from_millis(50);

/// Starts the view, and returns the command's exit status as a shell tells it: 128+N if signal N killed it.
///
/// To be called while the process has one thread.
///
/// # Errors
/// What keeps the host from running a view.
pub fn launch<H, S, C>(launch: Launch<S, C>) -> Result<i32, Hindrance>
where
    H: Hypervisor,
    S: FnOnce(Arc<Required>) -> Arc<H>,
    C: FnOnce() -> i32,
{
    crate::check::kernel()?;
    let (mut control, hypervisors_end) = UnixStream::pair().map_err(Hindrance::start)?;
    let (mut go, commands_end) = UnixStream::pair().map_err(Hindrance::start)?;
    let limit = descriptor_limit();

    let hypervisor = fork().map_err(Hindrance::start)?;
    if hypervisor == 0 {
        drop((control, go, commands_end));
        let status = be_hypervisor(hypervisors_end, launch.cookie, launch.hypervisor);
        // Nothing of the front's is to be flushed or dropped here.
        // SAFETY: ends the process.
        unsafe { libc::_exit(status) };
    }
    let command = fork().map_err(Hindrance::start)?;
    if command == 0 {
        drop((control, go, hypervisors_end));
        let status = be_command(commands_end, hypervisor, limit, &launch.base_filter, launch.command);
        process::exit(status);
    }
    drop((hypervisors_end, commands_end));

    take_signals(&control);
    let started = await_command(&mut go).and_then(|()| attach(&mut control, command)).and_then(|()| {
        go.write_all(&[GO]).map_err(Hindrance::start)?;
        // The command reports whether its filter could be installed; end-of-file would be its death.
        match read_number(&mut go) {
            Some(0) | None => Ok(()),
            Some(errno) => Err(crate::check::no_filter(Errno::new(errno))),
        }
    });
    if let Err(hindrance) = started {
        // SAFETY: no memory is involved; both are our own children.
        unsafe {
            libc::kill(command, libc::SIGKILL);
            libc::kill(hypervisor, libc::SIGKILL);
        }
        wait(command, 0);
        wait(hypervisor, 0);
        return Err(hindrance);
    }
    drop(go);
    let status = mirror(command, &mut control);
    // Either others still run, and the hypervisor stays for them, or it ends.
    let _ = control.write_all(&[FAREWELL]);
    let mut answer = [0];
    if !matches!(control.read(&mut answer), Ok(1) if answer[0] == STAYS) {
        let ended = wait(hypervisor, 0);
        if ended != Some(0) {
            eprintln!("umvu: the hypervisor died, and with it all processes of the view; please report this");
        }
    }
    Ok(status)
}

fn fork() -> io::Result<i32> {
    // SAFETY: the process has one thread (precondition of `launch`), so the child may do anything.
    let child = unsafe { libc::fork() };
    if child < 0 { Err(io::Error::last_os_error()) } else { Ok(child) }
}

fn read_number(socket: &mut UnixStream) -> Option<i32> {
    let mut number = [0; 4];
    socket.read_exact(&mut number).ok()?;
    Some(i32::from_le_bytes(number))
}

/// Waits until the command may be attached to.
fn await_command(go: &mut UnixStream) -> Result<(), Hindrance> {
    go.read_exact(&mut [0]).map_err(Hindrance::start)
}

/// Has the hypervisor attach to the command.
fn attach(control: &mut UnixStream, command: i32) -> Result<(), Hindrance> {
    control.write_all(&command.to_le_bytes()).map_err(Hindrance::start)?;
    match read_number(control) {
        Some(0) => Ok(()),
        Some(errno) => Err(crate::check::no_ptrace(Errno::new(errno))),
        None => Err(Hindrance::start(io::Error::other("the hypervisor did not start"))),
    }
}

// ---- the command

fn be_command(
    mut front: UnixStream,
    hypervisor: i32,
    limit: libc::rlimit,
    filter: &[libc::sock_filter],
    command: impl FnOnce() -> i32,
) -> i32 {
    // SAFETY: plain numbers; where Yama is not built in the request fails, and nothing needs it.
    unsafe {
        libc::prctl(libc::PR_SET_PTRACER, hypervisor);
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
    if front.write_all(&[READY]).and_then(|()| front.read_exact(&mut [0])).is_err() {
        return 1;
    }
    let installed =
        [filter, &fence::filter(), &debugger::filter(), &own_filters::filter()].into_iter().try_for_each(install);
    let errno = installed.err().map_or(0, Errno::raw);
    if front.write_all(&errno.to_le_bytes()).is_err() || errno != 0 {
        return 1;
    }
    drop(front);
    command()
}

/// Installs a filter in the calling thread.
fn install(filter: &[libc::sock_filter]) -> Result<(), Errno> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| Errno::E2BIG)?,
        filter: filter.as_ptr().cast_mut(),
    };
    let set = || {
        // SAFETY: `program` describes `filter`, which the kernel copies.
        let result = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, FLAG_SPEC_ALLOW, &raw const program)
        };
        if result == 0 { Ok(()) } else { Err(Errno::last()) }
    };
    // Who may administrate the system needs no promise; all others promise to gain no rights by an exec, which a traced
    // process would not gain anyway.
    set().or_else(|_| {
        // SAFETY: plain numbers.
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        set()
    })
}

/// The limit of descriptors, as we were started with it; ours is raised to what is allowed.
fn descriptor_limit() -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills, then reads, one struct rlimit.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised);
    }
    limit
}

// ---- the hypervisor

fn be_hypervisor<H: Hypervisor>(mut front: UnixStream, cookie: u64, make: impl FnOnce(Arc<Required>) -> Arc<H>) -> i32 {
    // Out of the terminal's foreground job: its signals are not for us, nor is a SIGTTOU for writing the log.
    // SAFETY: no memory is involved.
    unsafe { libc::setpgid(0, 0) };
    for signal in [
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGTSTP,
        libc::SIGTTOU,
        libc::SIGHUP,
        libc::SIGTERM,
        libc::SIGPIPE,
        libc::SIGXFSZ,
    ] {
        set_signal(signal, libc::SIG_IGN);
    }
    // Whoever started us may ignore it, and of a child that ends nothing would be told to us.
    set_signal(libc::SIGCHLD, libc::SIG_DFL);
    // Whoever reads what the command writes is to see the end of it.
    let null = std::fs::File::options().read(true).write(true).open("/dev/null");
    if let Ok(null) = &null {
        replace(null.as_raw_fd(), 0);
        replace(null.as_raw_fd(), 1);
    }
    let Some(command) = read_number(&mut front) else { return 1 };
    let attached = seize(Tid(command));
    let errno = attached.err().map_or(0, Errno::raw);
    let required = Arc::new(Required::default());
    let (ended, parted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let started = Doorbell::new().and_then(|doorbell| {
        let to_front = front.try_clone()?;
        let watcher =
            Watcher { front, doorbell: doorbell.clone(), command, ended: ended.clone(), parted: parted.clone() };
        let watcher = thread::Builder::new().name("front".into()).stack_size(64 << 10).spawn(|| watcher.run())?;
        Ok((doorbell, to_front, watcher))
    });
    let (doorbell, mut to_front, watcher) = match started {
        Ok(started) => started,
        Err(error) => {
            let way_out = if error.kind() == io::ErrorKind::WouldBlock { " (see ulimit -u)" } else { "" };
            tracing::error!("the hypervisor cannot be started: {error}{way_out}");
            return 1;
        }
    };
    let hypervisor = make(required.clone());
    if to_front.write_all(&errno.to_le_bytes()).is_err() || errno != 0 {
        return 1;
    }
    let on_farewell = Box::new(move || {
        let _ = to_front.write_all(&[STAYS]);
        // The terminal or pipe belongs to others from now on.
        if let Ok(null) = &null {
            replace(null.as_raw_fd(), 2);
        }
    });
    let mut tracer = Tracer::new(hypervisor, required, cookie, doorbell, on_farewell);
    tracer.adopt(Tid(command));
    tracer.run();
    ended.store(true, Ordering::SeqCst);
    // The front may be stopped, because the command was: then it is continued before we go.
    if !parted.load(Ordering::SeqCst) {
        let _ = watcher.join();
    }
    0
}

/// Makes `number` a copy of `fd`.
fn replace(fd: RawFd, number: RawFd) {
    // SAFETY: 0, 1 and 2 are not owned by any Rust object.
    unsafe { libc::dup2(fd, number) };
}

/// Listens to the front.
struct Watcher {
    front: UnixStream,
    doorbell: Arc<Doorbell>,
    command: i32,
    /// No process of the view is left.
    ended: Arc<AtomicBool>,
    /// The front has said farewell.
    parted: Arc<AtomicBool>,
}

impl Watcher {
    fn run(mut self) {
        // SAFETY: a plain number is returned.
        let front_process = unsafe { libc::getppid() };
        let mut byte = [0];
        let mut deadline: Option<Instant> = None;
        // From when the front says that it stops until it says that it goes on: on a busy machine it takes its time for either.
        let mut front_stops = false;
        let mut command_ran = false;
        loop {
            let patience = if front_stops { Some(GLANCE) } else { deadline.map(|_| GRACE) };
            let _ = self.front.set_read_timeout(patience);
            match self.front.read(&mut byte) {
                Ok(1) => match byte[0] {
                    // Asked a second time, nobody is waited for.
                    TERMINATE | HANG_UP if deadline.is_some() => self.doorbell.ring(Request::End(libc::SIGKILL)),
                    request @ (TERMINATE | HANG_UP) => {
                        deadline = Some(Instant::now() + GRACE);
                        let signal = if request == HANG_UP { libc::SIGHUP } else { libc::SIGTERM };
                        self.doorbell.ring(Request::End(signal));
                    }
                    FAREWELL => {
                        self.parted.store(true, Ordering::SeqCst);
                        if self.ended.load(Ordering::SeqCst) {
                            return;
                        }
                        // If the view is to end, the front waits for that.
                        if deadline.is_none() {
                            self.doorbell.ring(Request::Farewell);
                        }
                    }
                    STOPS => front_stops = true,
                    GOES_ON => front_stops = false,
                    _ => {}
                },
                Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                _ if self.parted.load(Ordering::SeqCst) => return,
                // The front died. No process shall survive with half a view; the kernel ends them with us.
                _ => process::exit(1),
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                self.doorbell.ring(Request::End(libc::SIGKILL));
            }
            if front_stops {
                let (stopped, alone) = (is_stopped(front_process), !is_stopped(self.command));
                // Seen twice: a stopped process may make a call of ours for a moment.
                if stopped && alone && command_ran {
                    // SAFETY: no memory is involved.
                    unsafe { libc::kill(front_process, libc::SIGCONT) };
                }
                command_ran = alone;
            }
        }
    }
}

/// Whether a process is stopped, by a signal or in tracing (proc(5), the third field of `stat`).
fn is_stopped(process: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['T', 't']))
}
