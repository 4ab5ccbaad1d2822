//! Paths of the host that were found free of symbolic links a moment ago.
//!
//! `ls -l` asks three or four questions about each file of a directory, by its whole path, and each answer begins with the proof that no
//! symbolic link stands on the way. The proof is kept for a few milliseconds, and no longer than until a process of the view renames, links or mounts
//! something (but a file, which is no link after that either). What it decides is only that the kernel may look the path up by itself, which it then does anew: all that a change from outside the
//! view in just that time could do is that a link into a mount is followed on the host for once.
//!
//! The same holds for paths *with* links that were walked and led to where the kernel's own look-up leads (`/lib/x86_64-linux-gnu/libc.so.6`): they are kept
//! by their text, for one view and as long as no mount comes or goes. So is where such a path led through a mount; whoever goes by that asks the host whether it
//! leads there still.

use crate::{agents::Agents, task::Object};
use ahash::AHashMap;
use nix::time::{ClockId, clock_gettime};
use parking_lot::Mutex;
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use vu_api::{AbsPath, Withdrawal, Withdrawn};

/// How long a proof is good for.
pub(crate) const LIFETIME: Duration = Duration::from_millis(12);
/// How long none is kept after a change was announced: the tracee makes it a moment later.
pub(crate) const UNREST: Duration = Duration::from_millis(12);
/// How many proofs are kept.
const MOST: usize = 1024;

/// The proofs.
#[derive(Default)]
pub struct ClearPaths {
    known: Mutex<Known>,
    /// To whom the directories were published in which they lead.
    agents: OnceLock<Arc<Agents>>,
}

#[derive(Default)]
struct Known {
    until: AHashMap<Box<[u8]>, Duration>,
    agreed: AHashMap<Box<[u8]>, (Duration, Seen)>,
    walked: AHashMap<Box<[u8]>, (Duration, Seen, Walked)>,
    unrest_until: Duration,
}

/// For whom kernel and view agree: a view with its mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The view's address.
    pub view: usize,
    /// Changes whenever a mount comes or goes, or a view is made.
    pub generation: u64,
}

/// Where a path with links on its way led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walked {
    /// The name in the view, canonical.
    pub name: AbsPath,
    /// Its name on the host.
    pub host: AbsPath,
    /// What it is.
    pub object: Object,
}

impl ClearPaths {
    /// From now on, these are told when directories do not show any more what they showed.
    pub(crate) fn serve(&self, agents: Arc<Agents>) {
        // There is one hypervisor in a process.
        let _ = self.agents.set(agents);
    }

    /// See [`Filesystem::withdraw`](vu_api::Filesystem::withdraw).
    pub(crate) fn withdraw(&self, what: Withdrawn) -> Withdrawal {
        match self.agents.get() {
            Some(agents) => Box::new(agents.hold_back(what)),
            None => Box::new(()),
        }
    }

    /// Whether the kernel's own look-up of an absolute path led to what the view means by it.
    pub fn agree(&self, text: &[u8], seen: Seen) -> bool {
        let known = self.known.lock();
        known.agreed.get(text).is_some_and(|&(until, by)| by == seen && now() < until)
    }

    /// Notes that it did.
    pub fn note_agreed(&self, text: &[u8], seen: Seen) {
        let now = now();
        let mut known = self.known.lock();
        if now < known.unrest_until {
            return;
        }
        if known.agreed.len() >= MOST {
            known.agreed.clear();
        }
        known.agreed.insert(text.into(), (now + LIFETIME, seen));
    }

    /// Where an absolute path with links on its way led.
    pub fn walked(&self, text: &[u8], seen: Seen) -> Option<Walked> {
        let known = self.known.lock();
        let (until, by, walked) = known.walked.get(text)?;
        (*by == seen && now() < *until).then(|| walked.clone())
    }

    /// Notes where it led.
    pub fn note_walked(&self, text: &[u8], seen: Seen, walked: Walked) {
        let now = now();
        let mut known = self.known.lock();
        if now < known.unrest_until {
            return;
        }
        if known.walked.len() >= MOST {
            known.walked.clear();
        }
        known.walked.insert(text.into(), (now + LIFETIME, seen, walked));
    }

    /// Whether neither the path nor anything on the way is a symbolic link.
    pub fn knows(&self, path: &[u8]) -> bool {
        // To the root there is no way.
        if path == b"/" {
            return true;
        }
        let known = self.known.lock();
        known.until.get(path).is_some_and(|&until| now() < until)
    }

    /// Notes that it is so.
    pub fn note(&self, path: &[u8]) {
        let now = now();
        let mut known = self.known.lock();
        if now < known.unrest_until {
            return;
        }
        if known.until.len() >= MOST {
            known.until.clear();
        }
        match known.until.get_mut(path) {
            Some(until) => *until = now + LIFETIME,
            None => drop(known.until.insert(path.into(), now + LIFETIME)),
        }
    }

    /// A name that could stand on the way of others is about to change.
    pub fn forget(&self) {
        let mut known = self.known.lock();
        known.until.clear();
        known.agreed.clear();
        known.walked.clear();
        known.unrest_until = now() + UNREST;
    }
}

/// A clock that costs next to nothing to read, and ticks every few milliseconds.
pub(crate) fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_or(Duration::MAX, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proofs_end_by_time_and_by_change() {
        let clear = ClearPaths::default();
        assert!(!clear.knows(b"/usr"));
        clear.note(b"/usr");
        assert!(clear.knows(b"/usr") && !clear.knows(b"/usr/bin"));
        std::thread::sleep(2 * LIFETIME);
        assert!(!clear.knows(b"/usr"));
        clear.note(b"/usr");
        clear.forget();
        assert!(!clear.knows(b"/usr"));
        clear.note(b"/usr");
        assert!(!clear.knows(b"/usr"), "the change is under way");
    }

    #[test]
    fn agreement_is_that_of_a_view() {
        let clear = ClearPaths::default();
        let seen = Seen { view: 1, generation: 1 };
        clear.note_agreed(b"/lib/x", seen);
        assert!(clear.agree(b"/lib/x", seen));
        assert!(
            !clear.agree(b"/lib/x", Seen { view: 2, ..seen })
                && !clear.agree(b"/lib/x", Seen { generation: 2, ..seen })
        );
        clear.forget();
        assert!(!clear.agree(b"/lib/x", seen));
    }

    #[test]
    fn what_was_walked_is_that_of_a_view_and_ends_by_time_and_by_change() {
        let clear = ClearPaths::default();
        let seen = Seen { view: 1, generation: 1 };
        let path = |text: &str| AbsPath::new(text.as_bytes()).unwrap();
        let walked = Walked { name: path("/m/usr/x"), host: path("/usr/x"), object: (1, 2) };
        let note = || clear.note_walked(b"/m/x", seen, walked.clone());
        note();
        assert_eq!(clear.walked(b"/m/x", seen), Some(walked.clone()));
        assert_eq!(clear.walked(b"/m/x", Seen { view: 2, ..seen }), None);
        assert_eq!(clear.walked(b"/m/x", Seen { generation: 2, ..seen }), None);
        std::thread::sleep(2 * LIFETIME);
        assert_eq!(clear.walked(b"/m/x", seen), None);
        note();
        clear.forget();
        assert_eq!(clear.walked(b"/m/x", seen), None);
    }

    #[test]
    fn they_are_bounded() {
        let clear = ClearPaths::default();
        let walked = Walked { name: AbsPath::root(), host: AbsPath::root(), object: (1, 2) };
        for i in 0..3 * MOST {
            clear.note(format!("/{i}").as_bytes());
            clear.note_walked(format!("/{i}").as_bytes(), Seen { view: 1, generation: 1 }, walked.clone());
            clear.note_agreed(format!("/{i}").as_bytes(), Seen { view: 1, generation: 1 });
        }
        let known = clear.known.lock();
        assert!([known.until.len(), known.agreed.len(), known.walked.len()].iter().all(|&count| count <= MOST));
    }
}
