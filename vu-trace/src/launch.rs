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
    doorbell::{Doorbell, Request},
    ptrace::{Tid, seize},
    tracer::{Required, Tracer},
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
        atomic::{AtomicI32, Ordering},
    },
    thread,
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
const GO: u8 = b'g';
const TERMINATE: u8 = b't';
const FAREWELL: u8 = b'f';
const STAYS: u8 = b's';

/// Where the front's signal handler writes to.
static CONTROL: AtomicI32 = AtomicI32::new(-1);

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

    CONTROL.store(control.as_raw_fd(), Ordering::SeqCst);
    front_signals();
    let started = attach(&mut control, command).and_then(|()| {
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
    let status = mirror(command);
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

/// The status wait(2) tells, or `None` if there is no such child.
fn wait(child: i32, options: i32) -> Option<i32> {
    let mut status = 0;
    loop {
        // SAFETY: the kernel writes one int.
        if unsafe { libc::waitpid(child, &raw mut status, options) } == child {
            return Some(status);
        }
        if Errno::last() != Errno::EINTR {
            return None;
        }
    }
}

fn set_signal(signal: i32, handler: libc::sighandler_t) {
    // SAFETY: the handlers used are SIG_IGN, SIG_DFL and `ask_to_terminate`, which is async-signal-safe.
    unsafe { libc::signal(signal, handler) };
}

fn read_number(socket: &mut UnixStream) -> Option<i32> {
    let mut number = [0; 4];
    socket.read_exact(&mut number).ok()?;
    Some(i32::from_le_bytes(number))
}

// ---- the front

/// The terminal's signals are the command's; ours are requests to end the view in order.
fn front_signals() {
    for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP] {
        set_signal(signal, libc::SIG_IGN);
    }
    for signal in [libc::SIGTERM, libc::SIGHUP] {
        set_signal(signal, ask_to_terminate as *const () as libc::sighandler_t);
    }
}

extern "C" fn ask_to_terminate(_signal: i32) {
    let message = [TERMINATE];
    // SAFETY: write(2) is async-signal-safe, and the byte lives through the call.
    unsafe { libc::write(CONTROL.load(Ordering::SeqCst), message.as_ptr().cast(), 1) };
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

/// Waits for the command, stops when it stops, and returns its status as a shell tells it.
fn mirror(command: i32) -> i32 {
    while let Some(status) = wait(command, libc::WUNTRACED) {
        if libc::WIFEXITED(status) {
            return libc::WEXITSTATUS(status);
        }
        if libc::WIFSIGNALED(status) {
            return 128 + libc::WTERMSIG(status);
        }
        // The shell that waits for us is to see the job stopped. It continues the whole process group.
        // SAFETY: no memory is involved.
        unsafe { libc::raise(libc::SIGSTOP) };
    }
    1
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
    let mut byte = [0];
    if front.read_exact(&mut byte).is_err() {
        return 1;
    }
    let errno = install(filter).err().map_or(0, Errno::raw);
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
        let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
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
    let (Ok(doorbell), Ok(mut to_front)) = (Doorbell::new(), front.try_clone()) else { return 1 };
    let doorbell = Arc::new(doorbell);
    let hypervisor = make(required.clone());
    if front.write_all(&errno.to_le_bytes()).is_err() || errno != 0 {
        return 1;
    }
    if let Err(error) = watch(front, doorbell.clone()) {
        tracing::error!("no thread can be started: {error}");
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
    0
}

/// Makes `number` a copy of `fd`.
fn replace(fd: RawFd, number: RawFd) {
    // SAFETY: 0, 1 and 2 are not owned by any Rust object.
    unsafe { libc::dup2(fd, number) };
}

/// Listens to the front.
fn watch(mut front: UnixStream, doorbell: Arc<Doorbell>) -> io::Result<()> {
    let listen = move || {
        let mut byte = [0];
        let mut farewell = false;
        loop {
            match front.read(&mut byte) {
                Ok(1) if byte[0] == TERMINATE => doorbell.ring(Request::KillAll),
                Ok(1) if byte[0] == FAREWELL => {
                    farewell = true;
                    doorbell.ring(Request::Farewell);
                }
                Ok(1) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ if farewell => return,
                // The front died. No process shall survive with half a view; the kernel ends them with us.
                _ => process::exit(1),
            }
        }
    };
    thread::Builder::new().name("front".into()).stack_size(64 << 10).spawn(listen).map(drop)
}
