//! What a program that was executed by another name finds about itself.
//!
//! Where a program is another file on the host, or is started by its loader, the kernel has noted what it was given in its place: as the process's name, as the path in the auxiliary vector,
//! and as its arguments. A program finds there what was asked for, since its stack and its name are put right before it begins.

use crate::{
    auxiliary,
    memory::{Memory, ProcessMemory},
    proc,
    ptrace::{Boundary, Gone, Midway, Stopped},
    tracer::{Phase, Tracer},
    verdict::Hypervisor,
    x86_64::Abi,
};

/// What is to be put right.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Naming {
    /// What gives the process its name (`comm`, proc(5)).
    pub named_by: Option<NamedBy>,
    /// The path by which it was executed (`AT_EXECFN`, getauxval(3)): not longer than the one that the kernel was given.
    pub path: Option<Vec<u8>>,
    /// The arguments begin with those of the loader: `LOADER --argv0 NAME PROGRAM`.
    pub by_loader: bool,
}

/// Whose last component is the name of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedBy {
    /// The path by which it was executed.
    Path,
    /// This argument.
    Argument(u16),
}

/// `prctl(2)`; the size of `struct prctl_mm_map` (`include/uapi/linux/prctl.h`).
const SET_MM: u64 = 35;
const SET_MM_MAP: u64 = 14;
const MM_MAP: usize = 104;
/// Longer arguments than this the kernel does not take (`MAX_ARG_STRLEN`, `include/uapi/linux/binfmts.h`).
const LONGEST: u64 = 32 << 12;

impl<H: Hypervisor> Tracer<H> {
    /// In an exec, when the new program's memory is there: what takes no call of the program's. What does follows at the exit of the exec.
    pub(crate) fn rename(
        &mut self,
        stopped: &Stopped<Midway>,
        naming: Naming,
        known: Option<ExecutedBy>,
    ) -> Result<(), Gone> {
        let tid = stopped.tid();
        if let Some(path) = &naming.path
            && let Some(by) = known.map_or_else(|| ExecutedBy::find(stopped), |known| Ok(Some(known)))?
        {
            by.replace(&ProcessMemory(tid), path);
        }
        // A debugger looks at the stops that follow.
        if (naming.named_by.is_some() || naming.by_loader) && self.debuggee(tid).is_none() {
            self.set_phase(tid, Phase::Naming(naming));
        }
        Ok(())
    }

    /// At the exit from an exec: has the process named after the last component of what was executed, as the kernel does it by the program's path
    /// (`begin_new_exec`, `fs/exec.c`).
    pub(crate) fn name(&mut self, stopped: Stopped<Boundary>, naming: Naming) -> Result<(), Gone> {
        let regs = stopped.registers()?;
        let abi = regs.abi();
        let memory = ProcessMemory(stopped.tid());
        let arguments = if naming.by_loader { hide_loader(&memory, regs.stack(), abi) } else { None };
        let text = match naming.named_by {
            None => None,
            Some(NamedBy::Path) => auxiliary::get(&memory, regs.stack(), abi, libc::AT_EXECFN),
            Some(NamedBy::Argument(index)) => argument(&memory, regs.stack(), abi, index),
        };
        let name = text.and_then(|text| last_component(&memory, text));
        let Some(name) = name else { return self.show_arguments(stopped, arguments) };
        let args = [libc::PR_SET_NAME.unsigned_abs().into(), name, 0, 0, 0, 0];
        self.inject(stopped, abi, abi.numbers().prctl, args, move |tracer, stopped, _| {
            tracer.show_arguments(stopped, arguments)
        })
    }

    /// Has `/proc/PID/cmdline` begin with this argument.
    fn show_arguments(&mut self, stopped: Stopped<Boundary>, first: Option<u64>) -> Result<(), Gone> {
        let tid = stopped.tid();
        let Some(first) = first else { return self.go_on(stopped) };
        let Some(mut map) = proc::memory_map(tid) else { return self.go_on(stopped) };
        map[proc::ARGUMENTS] = first;
        let abi = stopped.registers()?.abi();
        self.with_memory(stopped, abi, MM_MAP, move |tracer, stopped, lease| {
            let Ok(lease) = lease else { return tracer.go_on(stopped) };
            // Behind the addresses: no other auxiliary vector, and no other program.
            let mut bytes: Vec<u8> = map.iter().flat_map(|address| address.to_le_bytes()).collect();
            bytes.resize(MM_MAP - 4, 0);
            bytes.extend(u32::MAX.to_le_bytes());
            if ProcessMemory(stopped.tid()).write(lease.address(), &bytes).is_err() {
                return tracer.go_on(stopped);
            }
            let args = [SET_MM, SET_MM_MAP, lease.address(), MM_MAP as u64, 0, 0];
            tracer.inject(stopped, abi, abi.numbers().prctl, args, move |tracer, stopped, result| {
                drop(lease);
                if result < 0 {
                    tracing::debug!("{}: its arguments are shown with the loader's ({result})", stopped.tid());
                }
                tracer.go_on(stopped)
            })
        })
    }
}

/// By which path the kernel has executed a program.
pub(crate) struct ExecutedBy {
    address: u64,
    pub path: Vec<u8>,
}

impl ExecutedBy {
    /// On the stack of a program that has not run yet; `None` where no path can be read.
    pub(crate) fn find(stopped: &Stopped<Midway>) -> Result<Option<ExecutedBy>, Gone> {
        let (memory, regs) = (ProcessMemory(stopped.tid()), stopped.registers()?);
        let found = auxiliary::path(&memory, regs.stack(), regs.abi(), libc::AT_EXECFN);
        Ok(found.map(|(address, path)| ExecutedBy { address, path }))
    }

    /// Writes another one over it, which is not longer.
    fn replace(&self, memory: &impl Memory, path: &[u8]) {
        if path.len() <= self.path.len() {
            let _ = memory.write(self.address, &[path, b"\0"].concat());
        }
    }
}

/// A word of the stack of a program that has not run yet: on it are the number of arguments and their addresses.
fn word(memory: &impl Memory, stack: u64, abi: Abi, index: u64) -> Option<u64> {
    let address = stack.checked_add(index * abi.pointer_size() as u64)?;
    memory.read_pointer(address, abi.pointer_size()).ok()
}

/// Where an argument lies.
fn argument(memory: &impl Memory, stack: u64, abi: Abi, index: u16) -> Option<u64> {
    let index = u64::from(index);
    if index >= word(memory, stack, abi, 0)? { None } else { word(memory, stack, abi, 1 + index) }
}

/// Where the last component of a path lies.
fn last_component(memory: &impl Memory, text: u64) -> Option<u64> {
    let path = memory.read_path(text).ok()?;
    let slash = path.iter().rposition(|&b| b == b'/');
    text.checked_add(slash.map_or(0, |slash| slash as u64 + 1))
}

/// Exchanges the places of the name and the program's path in `LOADER --argv0 NAME PROGRAM ARGUMENT…`, so that the name and the arguments lie together; where they begin.
fn hide_loader(memory: &impl Memory, stack: u64, abi: Abi) -> Option<u64> {
    const NAME: u64 = 1 + 2;
    const PROGRAM: u64 = NAME + 1;
    if word(memory, stack, abi, 0)? < PROGRAM {
        return None;
    }
    let (name, program) = (word(memory, stack, abi, NAME)?, word(memory, stack, abi, PROGRAM)?);
    let length = program.checked_sub(name).filter(|length| (1..=LONGEST).contains(length))?;
    let mut strings = vec![0; usize::try_from(length).ok()?];
    memory.read(name, &mut strings).ok()?;
    let mut path = memory.read_path(program).ok()?;
    path.push(0);
    let moved = name.checked_add(path.len() as u64)?;
    path.extend_from_slice(&strings);
    memory.write(name, &path).ok()?;
    let width = abi.pointer_size();
    for (index, address) in [(NAME, moved), (PROGRAM, name)] {
        let place = stack.checked_add(index * width as u64)?;
        memory.write(place, &address.to_le_bytes()[..width]).ok()?;
    }
    Some(moved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::FakeMemory;

    #[test]
    fn the_loader_s_words_are_hidden() {
        let strings = b"/ld.so\0--argv0\0name\0/bin/prog\0one\0";
        let at = |text: &[u8]| 0x2000 + strings.windows(text.len()).position(|bytes| bytes == text).unwrap() as u64;
        let words = [5, 0x2000, at(b"--argv0"), at(b"name"), at(b"/bin/prog"), at(b"one"), 0];
        let stack: Vec<u8> = words.iter().flat_map(|word: &u64| word.to_le_bytes()).collect();
        let mut bytes = stack;
        bytes.resize(0x1000, 0);
        bytes.extend_from_slice(strings);
        let memory = FakeMemory { base: 0x1000, bytes: bytes.into() };
        let first = hide_loader(&memory, 0x1000, Abi::X86_64).unwrap();
        let mut shown = [0; 9];
        memory.read(first, &mut shown).unwrap();
        assert_eq!(&shown, b"name\0one\0");
        assert_eq!(memory.read_path(word(&memory, 0x1000, Abi::X86_64, 3).unwrap()).unwrap(), b"name");
        assert_eq!(memory.read_path(word(&memory, 0x1000, Abi::X86_64, 4).unwrap()).unwrap(), b"/bin/prog");
        let program = argument(&memory, 0x1000, Abi::X86_64, 3).unwrap();
        assert_eq!(memory.read_path(last_component(&memory, program).unwrap()).unwrap(), b"prog");
        assert_eq!(argument(&memory, 0x1000, Abi::X86_64, 5), None);
    }
}
