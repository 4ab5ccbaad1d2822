//! execve(2) and execveat(2): programs, scripts and interpreters of the view.
//!
//! The kernel looks three kinds of names up itself: the program's, that of a script's interpreter (`#!`), and that of an ELF
//! program's loader. Where each leads to what the view means, the call runs as it is. Otherwise the program's name is replaced; a script is
//! replaced by its interpreter, with the script's name *in the view* among the arguments, as the kernel does it (`fs/binfmt_script.c`); and a program whose
//! loader is another one in the view is started by way of that loader.

use crate::{
    call::{Call, Outcome, own_descriptor},
    handlers::{ownership, stat::magic_name},
    program::{Header, Interpreter},
    resolve::{Meaning, Need, PathArg, Place},
    sys::{self, Reach},
    task::host_name,
};
use std::{
    ops::ControlFlow,
    os::fd::{AsFd, OwnedFd},
};
use vu_api::{AbsPath, Errno, FileType, Filesystem, Location, OpenHow, Opened, Purpose};
use vu_path::Follow;
use vu_trace::{Argument, Memory, NamedBy, Naming, Pointer};

/// How many interpreters may follow one another (`exec_binprm`, `fs/exec.c`).
const MAX_DEPTH: usize = 5;

const CHECK: i32 = sys::EXECVE_CHECK;

/// Where the arguments stand.
struct Request {
    arg: PathArg,
    /// The path as given.
    text: Vec<u8>,
    argv: u64,
    path_index: usize,
}

/// execve(2).
pub fn execve(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let text = call.read_path(0)?;
    let arg = PathArg::at_cwd(text.clone(), Follow::Last);
    call.task.process.set_next_program(call.core.agents.program(&text));
    exec(call, &Request { arg, text, argv: call.arg(1), path_index: 0 })
}

/// execveat(2).
pub fn execveat(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let flags = call.int(4);
    if flags & !(libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW | CHECK) != 0 {
        return Ok(Outcome::Host);
    }
    let text = call.read_path(1)?;
    call.task.process.set_next_program(call.core.agents.program(&text));
    if text.is_empty() {
        // By descriptor (fexecve): it is the file itself, whatever its name.
        let number = call.int(0);
        ownership::will_execute_descriptor(call, number)?;
        let Ok(fd) = call.task.descriptor(number) else { return Ok(Outcome::Host) };
        let arg = PathArg::at(number, text.clone(), Follow::Last);
        let request = Request { arg, text, argv: call.arg(2), path_index: 1 };
        let name = call.descriptor_name(&call.task, number);
        return Ok(open_file(call, &request, &own_descriptor(&fd), name)?.unwrap_or(Outcome::Host));
    }
    let follow = if flags & libc::AT_SYMLINK_NOFOLLOW != 0 { Follow::Never } else { Follow::Last };
    let arg = PathArg::at(call.int(0), text.clone(), follow);
    exec(call, &Request { arg, text, argv: call.arg(2), path_index: 1 })
}

/// Whether the kernel by itself finds a program of the host, and all its interpreters, as the view means them. False only means that it takes a
/// closer look to say so.
fn kernel_runs(call: &Call<'_>, program: &[u8], depth: usize) -> bool {
    match call.core.programs.interpreter(program).as_deref() {
        None => false,
        Some(None) => true,
        Some(Some(Interpreter::Loader(loader))) => kernel_finds(call, loader),
        Some(Some(Interpreter::Script { path, .. })) => {
            depth < MAX_DEPTH
                && path.starts_with(b"/")
                && kernel_finds(call, path)
                && kernel_runs(call, path, depth + 1)
        }
    }
}

/// Whether a path leads the kernel to the object of the view, and under the same name.
fn kernel_finds(call: &Call<'_>, path: &[u8]) -> bool {
    match call.meaning(&PathArg::at_cwd(path.to_vec(), Follow::Last), Need::Object) {
        Ok(Meaning::Place(place)) => is_natural(&place),
        _ => false,
    }
}

/// Whether kernel and view find the same object, and call it the same.
fn is_natural(place: &Place) -> bool {
    place.native && !place.opaque && place.host() == Some(&place.name)
}

fn exec(call: &Call<'_>, request: &Request) -> Result<Outcome, Errno> {
    ownership::will_execute(call, &request.arg)?;
    let mut place = match call.meaning(&request.arg, Need::Object)? {
        Meaning::Place(place) => Some(place),
        Meaning::Kernel => None,
    };
    if let Some(place) = &place {
        if place.found {
            place.must_suit_slash(call)?;
        }
        may_execute(call, place)?;
    }
    if let Some(place) = &place
        && is_natural(place)
        && request.text.starts_with(b"/")
        && request.arg.follow == Follow::Last
        && !call.core.has_mounts_without_programs()
        && kernel_runs(call, &request.text, 0)
    {
        if request.path_index == 0 {
            call.prove_program(&request.text, None);
        }
        return Ok(Outcome::Host);
    }
    // Where it was only clear that the kernel finds it, its name is to be found out.
    if place.as_ref().is_none_or(|place| place.found && place.handle.is_none()) {
        place = match call.meaning(&request.arg, Need::Name)? {
            Meaning::Place(place) => Some(place),
            Meaning::Kernel => None,
        };
    }
    let Some(place) = place else { return Ok(Outcome::Host) };
    if !place.found {
        return if place.native { Ok(Outcome::Host) } else { Err(Errno::ENOENT) };
    }
    call.layer.locate(&place.name, Purpose::Execute)?;
    if place.opaque {
        let path = host_of(&place)?;
        let name = place.host().and_then(|link| magic_name(call, link));
        if let Some(outcome) = open_file(call, request, &path, name)? {
            return Ok(outcome);
        }
        return if place.native { Ok(Outcome::Host) } else { by_path(call, request, &place, &host_of(&place)?) };
    }
    if place.native && !executable_here(call, &place) {
        return Ok(Outcome::Host);
    }
    let program = Program::open(call, &place)?;
    let natural = place.native && place.host() == Some(&place.name);
    match program.interpreter.clone() {
        None if natural => Ok(Outcome::Host),
        None => by_path(call, request, &place, &program.path),
        Some(Interpreter::Loader(loader)) => match other_loader(call, &loader)? {
            None if natural => Ok(Outcome::Host),
            None => {
                if request.path_index == 0
                    && program.held.is_none()
                    && last_component(&program.path) == last_component(&request.text)
                {
                    call.prove_program(&request.text, Some((&place.name, &program.path)));
                }
                by_path(call, request, &place, &program.path)
            }
            Some(loader) => by_loader(call, request, &place, &loader),
        },
        Some(Interpreter::Script { .. }) => {
            if natural && kernel_runs_script(call, program.interpreter.clone())? {
                return Ok(Outcome::Host);
            }
            // The kernel only gets to see the interpreter.
            if sys::is_being_written(&program.path) {
                return Err(Errno::ETXTBSY);
            }
            by_interpreter(call, request, program)
        }
    }
}

/// A program that is executed as an open file: `path` leads to it, `name` is what it is called in the view. `None` if the kernel finds its interpreters as the view does.
fn open_file(call: &Call<'_>, request: &Request, path: &[u8], name: Option<AbsPath>) -> Result<Option<Outcome>, Errno> {
    // What may not be read is left to the kernel.
    let link = AbsPath::new(path).map_err(|_| Errno::ENOENT)?;
    let Some(known) = call.core.programs.interpreter(path) else { return Ok(None) };
    let interpreter = (*known).clone();
    match interpreter.clone() {
        None => Ok(None),
        Some(Interpreter::Loader(loader)) => {
            // A file without a name (a memfd, or what was removed) has none that another loader could open it by.
            let Some(name) = name.or_else(|| host_name(sys::read_link_at(path).ok()?).ok()) else { return Ok(None) };
            let place = Place {
                name,
                location: Location::Host(link),
                found: true,
                handle: None,
                must_be_dir: false,
                native: false,
                opaque: false,
                file_type: None,
            };
            match other_loader(call, &loader)? {
                None => Ok(None),
                Some(loader) => by_loader(call, request, &place, &loader).map(Some),
            }
        }
        // The interpreter is told the path by which the script was executed, so that needs no name.
        Some(Interpreter::Script { .. }) => {
            if kernel_runs_script(call, interpreter.clone())? {
                return Ok(None);
            }
            by_interpreter(call, request, Program { path: path.to_vec(), interpreter, held: None }).map(Some)
        }
    }
}

/// Whether the mount of a program, where it keeps who may execute it, permits that; the host must not be in the way then.
fn may_execute(call: &Call<'_>, place: &Place) -> Result<(), Errno> {
    if !place.found || place.opaque {
        return Ok(());
    }
    let Some(judge) = call.layer.judge(&place.name, &*call.task) else { return Ok(()) };
    match judge.may_execute(&place.name) {
        // Whoever executes it hears of it.
        Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno),
        Ok(()) => call.let_access(place, libc::X_OK),
    }
}

fn host_of(place: &Place) -> Result<Vec<u8>, Errno> {
    place.host().map(|host| host.as_bytes().to_vec()).ok_or(Errno::EACCES)
}

/// Whether the kernel would come as far as reading it.
fn executable_here(call: &Call<'_>, place: &Place) -> bool {
    place.handle.as_ref().is_some_and(|handle| {
        sys::file_type(handle.as_fd()) == Ok(FileType::Regular)
            && (!call.task.same_credentials()
                || sys::access(Reach::Held(handle.as_fd()), libc::X_OK, libc::AT_EACCESS).is_ok())
    })
}

/// A program file, opened for a look at how it begins.
pub(super) struct Program {
    /// The path by which the tracee executes it.
    path: Vec<u8>,
    interpreter: Option<Interpreter>,
    /// Kept open until the tracee has executed it, if it is reached by this descriptor.
    held: Option<OwnedFd>,
}

impl Program {
    /// The interpreter, if it is a script.
    pub(super) fn script_interpreter(self) -> Option<Vec<u8>> {
        match self.interpreter {
            Some(Interpreter::Script { path, .. }) => Some(path),
            _ => None,
        }
    }

    pub(super) fn open(call: &Call<'_>, place: &Place) -> Result<Program, Errno> {
        may_execute(call, place)?;
        match &place.location {
            Location::Host(host) => {
                must_be_program(place.file_type(call)?)?;
                let path = host.as_bytes().to_vec();
                // A program that may not be read may still be executed; then it cannot be a script.
                let interpreter = call.core.programs.interpreter(&path).and_then(|known| (*known).clone());
                if matches!(interpreter, Some(Interpreter::Script { .. })) {
                    // The kernel only gets to see whom it is for.
                    call.layer.access(&place.name, vu_api::AccessMode::EXECUTE, &*call.task)?;
                }
                Ok(Program { interpreter, path, held: None })
            }
            Location::Own => {
                must_be_program(call.layer.stat(&place.name)?.file_type())?;
                call.layer.access(&place.name, vu_api::AccessMode::EXECUTE, &*call.task)?;
                let how = OpenHow { flags: vu_api::OpenFlags::empty(), mode: 0 };
                let Opened::Host(fd) = call.layer.open(&place.name, &how, &*call.task)? else {
                    return Err(Errno::EACCES);
                };
                let interpreter = Header::read(fd.try_clone()?).ok().and_then(|header| header.interpreter());
                Ok(Program { path: own_descriptor(&fd), interpreter, held: Some(fd) })
            }
        }
    }
}

/// What can be executed; a link is only met where it was not to be followed (`do_open_execat`, `fs/exec.c`).
fn must_be_program(file_type: FileType) -> Result<(), Errno> {
    match file_type {
        FileType::Regular => Ok(()),
        FileType::Symlink => Err(Errno::ELOOP),
        _ => Err(Errno::EACCES),
    }
}

/// What is noted when the program runs: its names, and that its descriptor is not needed any more.
fn finish(call: &Call<'_>, name: Option<AbsPath>, naming: Naming, held: Vec<Option<OwnedFd>>) -> vu_trace::Finish {
    let process = call.task.process.clone();
    Box::new(move |result| {
        if result == 0 {
            process.set_next_executable(name, naming);
        }
        drop(held);
        result
    })
}

/// Whether a descriptor of the caller's is closed by the exec.
fn closes_on_exec(call: &Call<'_>, number: i32) -> bool {
    let info = std::fs::read_to_string(format!("/proc/{}/fdinfo/{number}", call.task.tid)).unwrap_or_default();
    let flags = info.lines().find_map(|line| i32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
    flags.is_some_and(|flags| flags & libc::O_CLOEXEC != 0)
}

/// What the program is told as the path by which it was executed (`alloc_bprm`, `fs/exec.c`).
fn told_path(call: &Call<'_>, request: &Request) -> Vec<u8> {
    if request.path_index == 0 || request.arg.dirfd == libc::AT_FDCWD || request.text.starts_with(b"/") {
        return request.text.clone();
    }
    let directory = format!("/dev/fd/{}", call.int(0));
    if request.text.is_empty() { directory.into_bytes() } else { [directory.as_bytes(), b"/", &request.text].concat() }
}

/// A path on the host that leaves room for the one that the program is told: slashes at its beginning mean nothing more.
fn with_room(path: &[u8], told: &[u8]) -> Vec<u8> {
    let mut roomy = vec![b'/'; told.len().saturating_sub(path.len())];
    roomy.extend_from_slice(path);
    roomy
}

/// The program by its name on the host.
fn by_path(call: &Call<'_>, request: &Request, place: &Place, path: &[u8]) -> Result<Outcome, Errno> {
    let mut args: [Argument; 6] = Default::default();
    let told = told_path(call, request);
    args[request.path_index] = call.path_argument(&with_room(path, &told))?;
    // The kernel names the process after the path it is given; what was said may have been a link.
    let named_by = (last_component(path) != last_component(&request.text)).then_some(NamedBy::Path);
    let naming = Naming { named_by, path: Some(told), by_loader: false };
    Ok(call.rewrite_with(call.syscall.nr, args, Some(finish(call, Some(place.name.clone()), naming, Vec::new()))))
}

fn last_component(path: &[u8]) -> &[u8] {
    path.rsplit(|&b| b == b'/').next().unwrap_or(path)
}

/// The loader of the view, if it is not what the kernel finds under that name.
fn other_loader(call: &Call<'_>, loader: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    let place = match call.meaning(&PathArg::at_cwd(loader.to_vec(), Follow::Last), Need::Object)? {
        Meaning::Kernel => return Ok(None),
        Meaning::Place(place) => place,
    };
    if place.native {
        return Ok(None);
    }
    let place = place.existing(call)?;
    may_execute(call, &place)?;
    let host = host_of(&place)?;
    // Below a virtual root, or in a bind, it may well be the same file.
    let same = sys::identity(loader).is_ok_and(|kernels| sys::identity(&host) == Ok(kernels));
    Ok((!same).then_some(host))
}

/// A name of the view as the caller knows it: below its root.
fn own_name(call: &Call<'_>, name: &AbsPath) -> Vec<u8> {
    let root = call.task.fs().root.read().clone();
    name.rebase(&root, &AbsPath::root()).unwrap_or_else(|| name.clone()).as_bytes().to_vec()
}

/// A program whose loader is another one in the view: the loader runs it (ld.so(8)).
fn by_loader(call: &Call<'_>, request: &Request, place: &Place, loader: &[u8]) -> Result<Outcome, Errno> {
    let mut first = true;
    let mut argv = vec![Pointer::Bytes(terminated(loader))];
    // The loader tells it as the path by which it was executed. Without a slash it would look for a library.
    let told = told_path(call, request);
    let program = if told.contains(&b'/') && request.arg.follow == Follow::Last && !told.starts_with(b"/dev/fd/") {
        told
    } else {
        own_name(call, &place.name)
    };
    for_each_argument(call, request, |pointer| {
        if std::mem::take(&mut first) {
            argv.push(Pointer::Bytes(terminated(b"--argv0")));
            argv.push(Pointer::Address(pointer));
            argv.push(Pointer::Bytes(terminated(&program)));
        } else {
            argv.push(Pointer::Address(pointer));
        }
    })?;
    if first {
        // The kernel gives a program without arguments an empty one.
        argv.extend([b"--argv0", &b""[..], &program].map(|word| Pointer::Bytes(terminated(word))));
    }
    let named_by = Some(NamedBy::Argument(BEHIND_LOADER));
    let name = Name { program: place.name.clone(), named_by, by_loader: true };
    replaced(call, request, loader, argv, name, Vec::new())
}

/// Which argument is the program: that behind the loader and `--argv0 NAME`.
const BEHIND_LOADER: u16 = 3;

/// Visits the caller's arguments; NULL is the same as none (execve(2)).
fn for_each_argument(call: &Call<'_>, request: &Request, mut visit: impl FnMut(u64)) -> Result<(), Errno> {
    if request.argv == 0 {
        return Ok(());
    }
    call.memory().for_each_pointer(request.argv, call.abi.pointer_size(), |pointer| {
        visit(pointer);
        Ok(ControlFlow::Continue(()))
    })
}

/// A script: its interpreter, with the script's name in the view behind it.
fn by_interpreter(call: &Call<'_>, request: &Request, program: Program) -> Result<Outcome, Errno> {
    let mut held = vec![program.held];
    let mut front: Vec<Vec<u8>> = Vec::new();
    let mut name = told_path(call, request);
    // It is to be opened once more, by way of a descriptor that is closed then (`BINPRM_FLAGS_PATH_INACCESSIBLE`).
    if name.starts_with(b"/dev/fd/") && !request.text.starts_with(b"/") && closes_on_exec(call, call.int(0)) {
        return Err(Errno::ENOENT);
    }
    let mut interpreter = program.interpreter;
    for _ in 0..MAX_DEPTH {
        let Some(Interpreter::Script { path, argument }) = interpreter else { break };
        let place = call.object(&PathArg::at_cwd(path.clone(), Follow::Last))?;
        let next = Program::open(call, &place)?;
        let mut words = vec![path.clone()];
        words.extend(argument);
        words.push(name);
        words.extend(front.into_iter().skip(1));
        front = words;
        name = path;
        let following = next.interpreter;
        let loader = match &following {
            Some(Interpreter::Script { .. }) => {
                interpreter = following;
                held.push(next.held);
                continue;
            }
            Some(Interpreter::Loader(loader)) => other_loader(call, loader)?,
            None => None,
        };
        let mut argv: Vec<Pointer> = front.iter().map(|word| Pointer::Bytes(terminated(word))).collect();
        let mut path = next.path.clone();
        // The script gives the name; one that is executed as an open file has none, and its interpreter does.
        let mut named_by = (!request.text.is_empty()).then_some(NamedBy::Path);
        let mut by_loader = false;
        held.push(next.held);
        if let Some(loader) = loader {
            argv.insert(0, Pointer::Bytes(terminated(&own_name(call, &place.name))));
            argv.insert(0, Pointer::Bytes(terminated(&front[0])));
            argv.insert(0, Pointer::Bytes(terminated(b"--argv0")));
            argv.insert(0, Pointer::Bytes(terminated(&loader)));
            argv.remove(4);
            path = loader;
            by_loader = true;
            named_by = match named_by {
                // What the script is called stands behind its interpreters, and they behind the loader and its words.
                Some(_) => u16::try_from(front.len() - 1).ok().map(|at| NamedBy::Argument(at + BEHIND_LOADER)),
                None => Some(NamedBy::Argument(BEHIND_LOADER)),
            };
        }
        // The script's own arguments; its argv[0] gives way to its name.
        let mut first = true;
        for_each_argument(call, request, |pointer| {
            if !std::mem::take(&mut first) {
                argv.push(Pointer::Address(pointer));
            }
        })?;
        return replaced(call, request, &path, argv, Name { program: place.name, named_by, by_loader }, held);
    }
    Err(Errno::ELOOP)
}

/// Whether the kernel finds all interpreters of a script of the host as the view does.
fn kernel_runs_script(call: &Call<'_>, mut interpreter: Option<Interpreter>) -> Result<bool, Errno> {
    for _ in 0..MAX_DEPTH {
        let path = match interpreter {
            None => return Ok(true),
            Some(Interpreter::Loader(loader)) => return Ok(other_loader(call, &loader)?.is_none()),
            Some(Interpreter::Script { path, .. }) => path,
        };
        match call.meaning(&PathArg::at_cwd(path, Follow::Last), Need::Name)? {
            Meaning::Kernel => return Ok(true),
            // What does not exist, or is no program, is the kernel's to refuse.
            Meaning::Place(place) if place.native && (!place.found || place.opaque) => return Ok(true),
            Meaning::Place(place) if place.native => interpreter = Program::open(call, &place)?.interpreter,
            Meaning::Place(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// What a program is called that is executed in place of another.
struct Name {
    /// What `/proc/PID/exe` shows.
    program: AbsPath,
    /// What gives the process its name, if its own path does not.
    named_by: Option<NamedBy>,
    /// The first arguments are the loader's.
    by_loader: bool,
}

/// Another program with another argument vector.
fn replaced(
    call: &Call<'_>,
    request: &Request,
    path: &[u8],
    argv: Vec<Pointer>,
    name: Name,
    held: Vec<Option<OwnedFd>>,
) -> Result<Outcome, Errno> {
    let mut args: [Argument; 6] = Default::default();
    let told = told_path(call, request);
    args[request.path_index] = call.path_argument(&with_room(path, &told))?;
    args[request.path_index + 1] = Argument::Vector(argv);
    if request.path_index == 1 {
        // What execveat's flags said about the path has been done.
        args[4] = Argument::Value(u64::from((call.int(4) & CHECK).unsigned_abs()));
    }
    // A loader tells the program's path itself.
    let path = (!name.by_loader).then_some(told);
    let naming = Naming { named_by: name.named_by, path, by_loader: name.by_loader };
    Ok(call.rewrite_with(call.syscall.nr, args, Some(finish(call, Some(name.program), naming, held))))
}

fn terminated(text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    text.push(0);
    text
}
