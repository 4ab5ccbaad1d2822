//! Core files (core(5)) of processes whose working directory is one of ours.
//!
//! The kernel writes them into the directory in which the process works. Where that is a placeholder, nothing can be made in it. So before such a process gets the signal that ends
//! it, it changes to a directory of the host that is shown there: the signal is held back, the change is injected, and the signal is sent again and given what was known of it.
//! The hypervisor finds the directory, which may take a while, on a thread of its own.

use crate::{
    doorbell::Request,
    memory::{Memory, ProcessMemory},
    proc::{self, Status},
    ptrace::{Boundary, Delivery, Gone, SIGINFO, Stopped, Tid, interrupt, tgkill},
    relief,
    tracer::{Phase, Tracer},
    verdict::Hypervisor,
};
use std::sync::{Arc, Weak};

/// The stop before a signal that leaves a core file, while it is found out where.
pub(crate) struct Dumping {
    stop: Arc<()>,
    stopped: Stopped<Delivery>,
    signal: i32,
}

/// A signal that was held back, and is to come again.
pub(crate) struct Doomed {
    signal: i32,
    info: [u8; SIGINFO],
    /// Where the core file is to lie, until the process has gone there.
    directory: Option<Vec<u8>>,
}

/// Those that leave a core file by default (signal(7)).
const DUMPING: [i32; 10] = [
    libc::SIGQUIT,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGSEGV,
    libc::SIGXCPU,
    libc::SIGXFSZ,
    libc::SIGSYS,
];

impl<H: Hypervisor> Tracer<H> {
    /// Before a signal is delivered: keeps the thread in its stop if the signal leaves a core file that the kernel could not write; else the stop is given back.
    pub(crate) fn before_core_file(
        &mut self,
        stopped: Stopped<Delivery>,
        signal: i32,
    ) -> Result<Option<Stopped<Delivery>>, Gone> {
        let tid = stopped.tid();
        let Some(thread) = self.threads.get_mut(&tid) else { return Ok(Some(stopped)) };
        if let Some(doomed) = thread.doomed.take_if(|doomed| doomed.signal == signal) {
            stopped.set_whole_info(&doomed.info);
            return Ok(Some(stopped));
        }
        let dumps = DUMPING.contains(&signal)
            && matches!(thread.phase, Phase::Free)
            && self.hypervisor.may_work_in_its_own(tid)
            && proc::Status::read(tid).is_some_and(|status: Status| !status.catches(signal) && !status.ignores(signal));
        if !dumps {
            return Ok(Some(stopped));
        }
        let stop = Arc::new(());
        let (hypervisor, doorbell, process) = (self.hypervisor.clone(), self.doorbell.clone(), thread.process);
        let asked = Arc::downgrade(&stop);
        let started = relief::start("core file", move || {
            let directory = hypervisor.core_directory(process);
            doorbell.ring(Request::Dumps { tid, stop: asked, directory });
        });
        if !started {
            return Ok(Some(stopped));
        }
        self.set_phase(tid, Phase::Dumping(Dumping { stop, stopped, signal }));
        Ok(None)
    }

    /// It was found out where the core file is to lie; `None` if the kernel is to do what it can.
    pub(crate) fn dumps(&mut self, tid: Tid, stop: &Weak<()>, directory: Option<Vec<u8>>) -> Result<(), Gone> {
        let Dumping { stopped, signal, .. } = match self.take_phase(tid) {
            Phase::Dumping(dumping) if Weak::ptr_eq(stop, &Arc::downgrade(&dumping.stop)) => dumping,
            phase => {
                // It is dead, or another one of that number.
                self.set_phase(tid, phase);
                return Ok(());
            }
        };
        let how = self.how(tid);
        if directory.is_none() {
            stopped.deliver(how, signal);
            return Ok(());
        }
        let info = stopped.whole_info()?;
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.doomed = Some(Box::new(Doomed { signal, info, directory }));
        }
        // It stops before it does anything else.
        interrupt(tid)?;
        stopped.deliver(how, 0);
        Ok(())
    }

    /// Whether a thread is on its way to where its core file is to lie.
    pub(crate) fn is_doomed(&self, tid: Tid) -> bool {
        let doomed = self.threads.get(&tid).and_then(|thread| thread.doomed.as_deref());
        doomed.is_some_and(|doomed| doomed.directory.is_some())
    }

    /// At the stop behind a signal that was held back: goes there, and has the signal come again, whatever became of that.
    pub(crate) fn go_to_die(&mut self, stopped: Stopped<Boundary>) -> Result<(), Gone> {
        let tid = stopped.tid();
        let Some(thread) = self.threads.get_mut(&tid) else { return Ok(()) };
        let Some((signal, mut directory)) =
            thread.doomed.as_mut().and_then(|doomed| Some((doomed.signal, doomed.directory.take()?)))
        else {
            return self.go_on(stopped);
        };
        thread.owed = true;
        directory.push(0);
        let abi = stopped.abi(&stopped.registers()?);
        self.with_memory(stopped, abi, directory.len(), move |tracer, stopped, lease| {
            let Ok(lease) = lease else { return tracer.ends(stopped, signal) };
            if ProcessMemory(tid).write(lease.address(), &directory).is_err() {
                return tracer.ends(stopped, signal);
            }
            tracer.passing.let_pass(tid);
            let args = [lease.address(), 0, 0, 0, 0, 0];
            tracer.inject(stopped, abi, abi.numbers().chdir, args, move |tracer, stopped, _| {
                drop(lease);
                tracer.passing.take(tid);
                tracer.ends(stopped, signal)
            })
        })
    }

    fn ends(&mut self, stopped: Stopped<Boundary>, signal: i32) -> Result<(), Gone> {
        let tid = stopped.tid();
        let process = self.threads.get(&tid).map_or(tid, |thread| thread.process);
        tgkill(process, tid, signal);
        self.go_on(stopped)
    }
}
