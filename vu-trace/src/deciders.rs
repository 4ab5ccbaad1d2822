//! Who decides about calls that stop their callers.
//!
//! Only the tracer's thread lets a stopped tracee go on, but it is not the one to find out how: an image on a dead server, a slow module, a directory of a
//! million entries would have all other tracees' events wait. So another thread decides, the caller stays in its stop ([`Phase::Deciding`]), and the tracer is
//! told the verdict. A decider that takes long is relieved, as a supervisor is. What the hypervisor knows at once, the tracer asks it itself.
//!
//! There is one question of a stopped thread at most, so the queue is bounded by the number of tracees.

use crate::{
    doorbell::{Doorbell, Request},
    memory, proc,
    ptrace::{Entry, Gone, Stopped, Tid},
    relief::{self, Relief},
    tracer::{Phase, Tracer},
    verdict::{Hypervisor, Intercepted, Interception, Verdict},
    x86_64::{Abi, Registers},
};
use parking_lot::{Condvar, Mutex};
use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};
use vu_api::Errno;

/// After how long it is looked whether a caller is to end.
const LONG: Duration = Duration::from_millis(100);

/// A call of a stopped thread.
pub(crate) struct Question {
    tid: Tid,
    abi: Abi,
    nr: i64,
    args: [u64; 6],
    instruction: u64,
    /// Gone when the thread is in that stop no more.
    stop: Weak<()>,
}

/// The stop in which a thread waits for its verdict.
pub(crate) struct Deciding {
    stop: Arc<()>,
    stopped: Stopped<Entry>,
    regs: Registers,
    abi: Abi,
    since: Instant,
}

/// Asks, and starts the threads that answer.
pub(crate) struct Deciders<H>(Arc<Shared<H>>);

struct Shared<H> {
    hypervisor: Arc<H>,
    doorbell: Arc<Doorbell>,
    relief: Arc<Relief>,
    questions: Mutex<Questions>,
    asked: Condvar,
}

#[derive(Default)]
struct Questions {
    queue: VecDeque<Question>,
    /// A thread answers.
    started: bool,
}

impl<H: Hypervisor> Deciders<H> {
    pub(crate) fn new(hypervisor: Arc<H>, doorbell: Arc<Doorbell>, relief: Arc<Relief>) -> Deciders<H> {
        let (questions, asked) = (Mutex::default(), Condvar::new());
        Deciders(Arc::new(Shared { hypervisor, doorbell, relief, questions, asked }))
    }

    /// Has a question answered; false if there can be no thread for that.
    fn ask(&self, question: Question) -> bool {
        let mut questions = self.0.questions.lock();
        if !questions.started {
            let shared = self.0.clone();
            questions.started = spawn(move || shared.run());
            if !questions.started {
                return false;
            }
        }
        questions.queue.push_back(question);
        self.0.asked.notify_one();
        true
    }
}

fn spawn(run: impl FnOnce() + Send + 'static) -> bool {
    relief::start("decider", run)
}

impl<H: Hypervisor> Shared<H> {
    /// Answers, as long as nobody has to take over.
    fn run(self: &Arc<Self>) {
        let shared = self.clone();
        let post = self.relief.post(move |post, since| {
            // Whoever waits for this long may be dying.
            shared.doorbell.alarm();
            let shared = shared.clone();
            spawn(move || {
                if shared.relief.takes_over(&post, since) {
                    drop(post);
                    shared.run();
                }
            });
        });
        loop {
            let question = self.next();
            self.relief.begins(&post, None);
            self.decide(question);
            if !self.relief.ends(&post) {
                return;
            }
        }
    }

    fn next(&self) -> Question {
        let mut questions = self.questions.lock();
        loop {
            match questions.queue.pop_front() {
                Some(question) => return question,
                None => self.asked.wait(&mut questions),
            }
        }
    }

    fn decide(&self, question: Question) {
        let Question { tid, abi, nr, args, instruction, stop } = question;
        let call = Intercepted { tid, abi, nr, args, instruction, by: Interception::Stop { stop: Some(&stop) } };
        if call.still_waits() {
            let verdict = self.hypervisor.intercepted(&call);
            self.doorbell.ring(Request::Decided { tid, stop, verdict });
        }
    }
}

impl<H: Hypervisor> Tracer<H> {
    /// At the stop before a call: finds out, or has found out, what becomes of it.
    pub(crate) fn decide(&mut self, stopped: Stopped<Entry>, regs: Registers, abi: Abi) -> Result<(), Gone> {
        let (tid, nr, args, instruction) = (stopped.tid(), regs.syscall(), regs.args(abi), regs.instruction());
        if !self.hypervisor.decides_at_once(abi, nr) {
            let stop = Arc::new(());
            if self.deciders.ask(Question { tid, abi, nr, args, instruction, stop: Arc::downgrade(&stop) }) {
                let since = Instant::now();
                self.set_phase(tid, Phase::Deciding(Deciding { stop, stopped, regs, abi, since }));
                return Ok(());
            }
        }
        let by = Interception::Stop { stop: None };
        let verdict = self.hypervisor.intercepted(&Intercepted { tid, abi, nr, args, instruction, by });
        self.carry_out(stopped, regs, abi, verdict)
    }

    /// The verdict on a call whose caller waits for it in this stop.
    pub(crate) fn decided(&mut self, tid: Tid, stop: &Weak<()>, verdict: Verdict) -> Result<(), Gone> {
        match self.take_phase(tid) {
            Phase::Deciding(deciding) if Weak::ptr_eq(stop, &Arc::downgrade(&deciding.stop)) => {
                let Deciding { stopped, regs, abi, .. } = deciding;
                self.carry_out(stopped, regs, abi, verdict)
            }
            phase => {
                // Its caller is dead, or was told that it will be.
                self.set_phase(tid, phase);
                Ok(())
            }
        }
    }

    fn carry_out(&mut self, stopped: Stopped<Entry>, regs: Registers, abi: Abi, verdict: Verdict) -> Result<(), Gone> {
        if matches!(verdict, Verdict::Return(_)) && memory::unreadable(stopped.tid(), regs.instruction()) {
            return self.expose(stopped);
        }
        // What became necessary is in force when the call returns: all others are told first, then the caller gets it.
        self.spread();
        self.conclude(stopped, abi, regs, verdict)
    }

    /// Callers that wait for long, and have a signal that ends them: as one that waits for a server in the kernel, they do not wait for the verdict
    /// (`fatal_signal_pending`; a tracee's stop hides the signal from the kernel).
    pub(crate) fn look_for_dying(&mut self) {
        let is_long = |phase: &Phase<H>| matches!(phase, Phase::Deciding(deciding) if deciding.since.elapsed() > LONG);
        let long: Vec<Tid> =
            self.threads.iter().filter(|(_, thread)| is_long(&thread.phase)).map(|(&tid, _)| tid).collect();
        for &tid in &long {
            if proc::Status::read(tid).is_some_and(|status| status.is_to_end())
                && let Phase::Deciding(Deciding { stopped, regs, abi, .. }) = self.take_phase(tid)
            {
                let (Ok(()) | Err(Gone)) = self.conclude(stopped, abi, regs, Verdict::Return(Errno::EINTR.as_result()));
            }
        }
        if !long.is_empty() {
            self.doorbell.alarm();
        }
    }
}
