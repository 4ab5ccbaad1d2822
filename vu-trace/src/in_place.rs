//! An exec by another path, without a stop.
//!
//! Two stops and a second notification of an exec that takes the place of another one ([`rewrite`](crate::rewrite)) are spent on registers: they lead to the new path,
//! and lead to the old one again if the exec fails. Most often neither is needed, because the new path is made as long as the old one
//! and the memory of the caller, a child made by fork(2), is nobody else's and is gone in a moment. So the old path is overwritten where it stands, while the call waits for its verdict,
//! and the call is let run. The caller is interrupted before that: an exec that succeeds forgets it, since its own stop comes first (`ptrace_stop`, `kernel/signal.c`). One
//! that fails stops before it is back in its program, gets its path back, and is made again the long way, which knows what to do with errors.
//!
//! **Nobody can tell**, if nothing but the path lies there, which is looked at: no argument, no part of the environment, and if the memory is not shared with the process that made the caller, which is looked at afterwards.

use crate::{
    Listener,
    memory::{Memory, ProcessMemory},
    ptrace::{Boundary, Gone, Resume, Stopped, Tid, interrupt},
    rewrite::{Answered, Replaced},
    tracer::{Phase, Tracer},
    verdict::{Argument, Hypervisor},
    x86_64::Abi,
};
use std::ops::{ControlFlow, Range};

/// An exec that runs with another path than its caller has given.
pub(crate) struct Overwritten {
    replaced: Replaced,
    path: Path,
}

/// Where the path of an exec stands.
#[derive(Debug, PartialEq, Eq)]
struct Path {
    address: u64,
    /// Without its NUL.
    own: Vec<u8>,
}

impl Overwritten {
    /// The exec has succeeded.
    pub(crate) fn succeeded(self) {
        if let Some(finish) = self.replaced.rewrite.finish {
            finish(0);
        }
    }
}

impl<H: Hypervisor> Tracer<H> {
    /// Has an exec that waits for its verdict run with another path. If that cannot be done so, it is given back.
    pub(crate) fn overwrite(
        &mut self,
        tid: Tid,
        listener: &Listener,
        id: u64,
        replaced: Replaced,
    ) -> Result<(), Replaced> {
        let Some((path, new)) = self.path_to_overwrite(tid, &replaced) else { return Err(replaced) };
        let memory = ProcessMemory(tid);
        // Nothing is written to a stranger of the same number.
        if !listener.waits(id) || memory.write(path.address, &new).is_err() {
            return Err(replaced);
        }
        if !self.is_as_before_for_maker(tid, &path) {
            let _ = memory.write(path.address, &path.own);
            return Err(replaced);
        }
        if interrupt(tid).is_ok() {
            self.set_phase(tid, Phase::Overwritten(Box::new(Overwritten { replaced, path })));
            // If it does not wait any more, it has been killed, or it was interrupted and stops (Linux before 6.0).
            listener.let_run(id);
        }
        Ok(())
    }

    fn path_to_overwrite(&self, tid: Tid, replaced: &Replaced) -> Option<(Path, Vec<u8>)> {
        let Replaced { rewrite, abi, nr, args } = replaced;
        let exec = *abi == Abi::X86_64 && rewrite.nr == *nr && rewrite.filter.is_none();
        // Debuggers see how calls begin and end.
        if !exec
            || self.how(tid) != Resume::Freely
            || self.threads.get(&tid)?.debuggee.is_some()
            || !self.is_about_to_vanish(tid, *abi, *nr)
        {
            return None;
        }
        place(&ProcessMemory(tid), &rewrite.args, *args)
    }

    /// Whether the process that made this one has the path, too, and does not see that it was changed: then the child has it from there, and it lies in no memory that they share.
    fn is_as_before_for_maker(&self, tid: Tid, path: &Path) -> bool {
        let maker = self.processes.get(&tid).and_then(|process| process.maker);
        let mut found = vec![0; path.own.len()];
        maker.is_some_and(|maker| ProcessMemory(maker).read(path.address, &mut found).is_ok()) && found == path.own
    }

    /// At the stop behind an exec that has failed.
    pub(crate) fn put_path_back(&mut self, stopped: Stopped<Boundary>, overwritten: Overwritten) -> Result<(), Gone> {
        let Overwritten { replaced, path } = overwritten;
        // What was written before can be written again.
        let _ = ProcessMemory(stopped.tid()).write(path.address, &path.own);
        let regs = stopped.registers()?;
        self.instead(stopped, regs, Answered::Rewrite(replaced))
    }
}

/// Where the one path among these arguments of an exec stands, and what is to stand there; `None` if something else lies there, too, or if they are not of the same
/// length.
fn place(memory: &impl Memory, new: &[Argument; 6], args: [u64; 6]) -> Option<(Path, Vec<u8>)> {
    let index = new.iter().position(|argument| *argument != Argument::Keep)?;
    let (Argument::Bytes(text), others) = (&new[index], &new[index + 1..]) else { return None };
    if others.iter().any(|argument| *argument != Argument::Keep) {
        return None;
    }
    let text = text.strip_suffix(&[0])?;
    let address = args[index];
    let (argv, envp) = (*args.get(index + 1)?, *args.get(index + 2)?);
    // With the byte before it, which ends another string: otherwise the path may be the end of a longer one.
    let mut found = vec![1; text.len() + 2];
    let (mut arguments, mut environment) = ([0; BEGINNING], [0; BEGINNING]);
    let [whole, arguments_read, environment_read] = memory.read_pieces([
        (address.checked_sub(1)?, &mut found[..]),
        (argv, beginning(argv, &mut arguments)),
        (envp, beginning(envp, &mut environment)),
    ]);
    let own = found.get(..whole)?.strip_prefix(&[0])?.strip_suffix(&[0])?.to_vec();
    if own.len() != text.len() || own.contains(&0) || text.contains(&0) {
        return None;
    }
    let region = address..address.checked_add(own.len() as u64)?;
    let apart = lies_apart(memory, argv, arguments.get(..arguments_read)?, &region)?
        && lies_apart(memory, envp, environment.get(..environment_read)?, &region)?;
    apart.then(|| (Path { address, own }, text.to_vec()))
}

/// So much of a vector is read together with the path.
const BEGINNING: usize = 512;

/// What is read of a vector at first: nothing if there is none, and nothing behind a page's end.
fn beginning(vector: u64, buffer: &mut [u8; BEGINNING]) -> &mut [u8] {
    const PAGE: u64 = 4096;
    let length = if vector == 0 { 0 } else { usize::try_from(PAGE - vector % PAGE).unwrap_or(0).min(BEGINNING) };
    &mut buffer[..length]
}

/// Whether neither a vector of strings, whose beginning was read, nor one of the strings lies, or begins, there.
fn lies_apart(memory: &impl Memory, vector: u64, beginning: &[u8], region: &Range<u64>) -> Option<bool> {
    const POINTER: u64 = 8;
    if vector == 0 {
        return Some(true);
    }
    let mut behind = vector;
    for bytes in beginning.as_chunks::<8>().0 {
        behind = behind.checked_add(POINTER)?;
        match u64::from_le_bytes(*bytes) {
            0 => return Some(behind <= region.start || vector >= region.end),
            pointer if region.contains(&pointer) => return Some(false),
            _ => {}
        }
    }
    let mut apart = true;
    let rest = behind;
    behind = behind.checked_add(POINTER)?;
    let look = |pointer| {
        behind = behind.saturating_add(POINTER);
        apart = !region.contains(&pointer);
        Ok(if apart { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    };
    memory.for_each_pointer(rest, 8, look).ok()?;
    Some(apart && (behind <= region.start || vector >= region.end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::FakeMemory;

    const BASE: u64 = 0x1000;
    /// Where the path stands in the memory of the tests, behind another string.
    const PATH: u64 = BASE + 8;
    const ARGV: u64 = BASE + 0x100;
    const ENVP: u64 = BASE + 0x200;

    struct Caller {
        bytes: Vec<u8>,
        args: [u64; 6],
    }

    impl Caller {
        fn new() -> Caller {
            let mut bytes = vec![0; 0x800];
            bytes[..7].copy_from_slice(b"another");
            bytes[8..18].copy_from_slice(b"/m/bin/cmd");
            let mut caller = Caller { bytes, args: [PATH, ARGV, ENVP, 0, 0, 0] };
            caller.point(ARGV, &[BASE, BASE + 1]);
            caller.point(ENVP, &[BASE + 0x300]);
            caller
        }

        fn point(&mut self, vector: u64, pointers: &[u64]) {
            let at = usize::try_from(vector - BASE).unwrap();
            for (place, pointer) in self.bytes[at..].chunks_mut(8).zip(pointers.iter().chain([&0])) {
                place.copy_from_slice(&pointer.to_le_bytes());
            }
        }

        fn place(&self, path: &[u8]) -> Option<(Path, Vec<u8>)> {
            let memory = FakeMemory { base: BASE, bytes: self.bytes.clone().into() };
            let mut new: [Argument; 6] = Default::default();
            let index = self.args.iter().position(|&arg| arg == PATH).unwrap();
            new[index] = Argument::Bytes(path.to_vec());
            place(&memory, &new, self.args)
        }

        fn fits(&self) -> bool {
            self.place(b"///bin/cmd\0").is_some()
        }
    }

    #[test]
    fn a_path_that_is_as_long_goes_where_the_other_stands() {
        let mut caller = Caller::new();
        let expected = (Path { address: PATH, own: b"/m/bin/cmd".to_vec() }, b"///bin/cmd".to_vec());
        assert_eq!(caller.place(b"///bin/cmd\0"), Some(expected));
        assert_eq!(caller.place(b"/bin/cmd\0"), None, "shorter");
        assert_eq!(caller.place(b"////bin/cmd\0"), None, "longer");
        assert_eq!(caller.place(b"/b\0/bin/cm\0"), None, "shorter, too");
        caller.args = [3, PATH, ARGV, ENVP, 0, 0];
        assert!(caller.fits(), "execveat");
        caller.args = [PATH, 0, 0, 0, 0, 0];
        assert!(caller.fits(), "no arguments, no environment");
    }

    #[test]
    fn what_else_lies_there_is_not_touched() {
        for (vector, name) in [(ARGV, "argument"), (ENVP, "environment")] {
            for (pointer, fits) in
                [(PATH - 8, true), (PATH, false), (PATH + 3, false), (PATH + 9, false), (PATH + 10, true)]
            {
                let mut caller = Caller::new();
                caller.point(vector, &[BASE, pointer]);
                assert_eq!(caller.fits(), fits, "{name} at {pointer:#x}");
            }
        }
        let mut caller = Caller::new();
        caller.bytes[7] = b'=';
        assert!(!caller.fits(), "the end of a longer string");
        let mut caller = Caller::new();
        caller.args[1] = PATH - 8;
        assert!(!caller.fits(), "the vector itself");
        let mut caller = Caller::new();
        caller.args[2] = BASE + 0x7fc;
        assert!(!caller.fits(), "a vector that cannot be read");
        let memory = FakeMemory { base: PATH, bytes: caller.bytes.split_off(8).into() };
        let new = [
            Argument::Bytes(b"///bin/cmd\0".to_vec()),
            const { Argument::Keep },
            const { Argument::Keep },
            const { Argument::Keep },
            const { Argument::Keep },
            const { Argument::Keep },
        ];
        assert_eq!(place(&memory, &new, [PATH, 0, 0, 0, 0, 0]), None, "nothing can be read before it");
    }

    #[test]
    fn long_vectors_are_looked_at_to_the_end() {
        for (pointer, fits) in [(BASE, true), (PATH, false)] {
            let mut caller = Caller::new();
            let mut pointers = [BASE; 120];
            pointers[119] = pointer;
            caller.args[2] = BASE + 0x300;
            caller.point(BASE + 0x300, &pointers);
            assert_eq!(caller.fits(), fits, "{pointer:#x}");
        }
        let mut caller = Caller::new();
        caller.args[2] = BASE + 0x700;
        caller.point(BASE + 0x700, &[BASE; 31]);
        caller.bytes[0x7f8..].fill(1);
        assert!(!caller.fits(), "one without an end");
    }

    #[test]
    fn other_arguments_take_the_long_way() {
        let caller = Caller::new();
        let memory = FakeMemory { base: BASE, bytes: caller.bytes.clone().into() };
        let mut new: [Argument; 6] = Default::default();
        assert_eq!(place(&memory, &new, caller.args), None);
        new[0] = Argument::Bytes(b"///bin/cmd\0".to_vec());
        new[1] = Argument::Vector(Vec::new());
        assert_eq!(place(&memory, &new, caller.args), None);
    }
}
