//! The names that AF_UNIX sockets were given in the view, where the kernel knows them by others.

use ahash::AHashMap;
use parking_lot::Mutex;
use std::collections::VecDeque;

/// How many are remembered; of those that were given before, the host's names are shown again.
const MOST: usize = 1 << 16;

/// By the kernel's name, which is a path of the host: what the program said.
#[derive(Debug, Default)]
pub struct SocketNames(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    given: AHashMap<Vec<u8>, Vec<u8>>,
    /// The kernel's names, the oldest first.
    order: VecDeque<Vec<u8>>,
}

impl SocketNames {
    /// A socket was bound.
    pub fn note(&self, kernels: Vec<u8>, given: Vec<u8>) {
        let mut known = self.0.lock();
        if known.given.insert(kernels.clone(), given).is_none() {
            known.order.push_back(kernels);
        }
        if known.order.len() > MOST
            && let Some(oldest) = known.order.pop_front()
        {
            known.given.remove(&oldest);
        }
    }

    /// A socket was bound to a name that the program gave it.
    pub fn forget(&self, name: &[u8]) {
        let mut known = self.0.lock();
        if known.given.remove(name).is_some() {
            known.order.retain(|kernels| kernels != name);
        }
    }

    /// What the program said, by a name of this length of which only the beginning is told: if all that begin so were given the same.
    #[must_use]
    pub fn given_by_beginning(&self, beginning: &[u8], length: usize) -> Option<Vec<u8>> {
        let known = self.0.lock();
        let mut fitting =
            known.given.iter().filter(|(kernels, _)| kernels.len() == length && kernels.starts_with(beginning));
        let (_, given) = fitting.next()?;
        fitting.all(|(_, other)| other == given).then(|| given.clone())
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.lock().given.is_empty()
    }

    /// What the program said.
    #[must_use]
    pub fn given(&self, kernels: &[u8]) -> Option<Vec<u8>> {
        self.0.lock().given.get(kernels).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered() {
        let names = SocketNames::default();
        let name = |n: usize| n.to_string().into_bytes();
        for n in 0..=MOST {
            names.note(name(n), b"first".to_vec());
            names.note(name(n), b"second".to_vec());
        }
        assert_eq!(names.given(&name(0)), None);
        assert_eq!(names.given(&name(1)), Some(b"second".to_vec()));
        assert_eq!(names.given_by_beginning(b"65536", 5), Some(b"second".to_vec()));
        assert_eq!(names.given_by_beginning(b"6553", 5), Some(b"second".to_vec()), "several, of one name");
        names.note(name(MOST), b"third".to_vec());
        assert_eq!(names.given_by_beginning(b"6553", 5), None, "of several");
        assert_eq!(names.given_by_beginning(b"65536", 6), None);
        assert_eq!(names.given(&name(MOST)), Some(b"third".to_vec()));
        assert_eq!(names.0.lock().order.len(), MOST);
        names.forget(b"65536");
        assert_eq!(names.given_by_beginning(b"65536", 5), None);
        assert_eq!(names.0.lock().order.len(), MOST - 1);
    }
}
