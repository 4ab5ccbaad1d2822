//! A persistent map: a clone is one reference count, and a change copies only the path to it.

use ahash::RandomState;
use smallvec::SmallVec;
use std::{borrow::Borrow, hash::Hash, sync::Arc};

/// How many bits of the hash one level consumes.
const BITS: u32 = 5;

/// A hash array mapped trie (Bagwell, "Ideal Hash Trees", 2001). Snapshots share what they have in common; a map
/// that shares nothing is changed in place.
pub(crate) struct Map<K, V> {
    root: Option<Arc<Node<K, V>>>,
    hasher: RandomState,
}

enum Node<K, V> {
    /// One child for each bit that is set, in the order of the bits.
    Branch { bits: u32, children: Vec<Arc<Node<K, V>>> },
    /// The entries with this hash: one, but for collisions of all 64 bits.
    Leaf { hash: u64, entries: SmallVec<[(K, V); 1]> },
}

impl<K: Hash + Eq + Clone, V: Clone> Map<K, V> {
    pub fn new() -> Self {
        Map { root: None, hasher: RandomState::new() }
    }

    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let hash = self.hasher.hash_one(key);
        let mut node = self.root.as_deref()?;
        let mut shift = 0;
        loop {
            match node {
                Node::Branch { bits, children } => {
                    let bit = bit(hash, shift);
                    if bits & bit == 0 {
                        return None;
                    }
                    node = &children[index(*bits, bit)];
                    shift += BITS;
                }
                Node::Leaf { hash: h, entries } => {
                    return if *h == hash {
                        entries.iter().find(|(k, _)| k.borrow() == key).map(|(_, v)| v)
                    } else {
                        None
                    };
                }
            }
        }
    }

    /// Changes the value of a key: `change` is given the present one and says which it is to be; `None` is none.
    pub fn change(&mut self, key: K, change: impl FnOnce(Option<V>) -> Option<V>) {
        let hash = self.hasher.hash_one(&key);
        self.root = match self.root.take() {
            Some(node) => altered(node, hash, 0, key, change),
            None => change(None).map(|value| Arc::new(leaf(hash, key, value))),
        };
    }

    /// All values, in no particular order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        let mut stack: Vec<std::slice::Iter<'_, Arc<Node<K, V>>>> = Vec::new();
        let mut entries = [].iter();
        let mut start = self.root.as_deref();
        std::iter::from_fn(move || {
            loop {
                if let Some((_, value)) = entries.next() {
                    return Some(value);
                }
                let node = match start.take() {
                    Some(root) => root,
                    None => loop {
                        match stack.last_mut()?.next() {
                            Some(node) => break node.as_ref(),
                            None => drop(stack.pop()),
                        }
                    },
                };
                match node {
                    Node::Branch { children, .. } => stack.push(children.iter()),
                    Node::Leaf { entries: leaf, .. } => entries = leaf.iter(),
                }
            }
        })
    }
}

impl<K, V> Clone for Map<K, V> {
    fn clone(&self) -> Self {
        Map { root: self.root.clone(), hasher: self.hasher.clone() }
    }
}

impl<K: Clone, V: Clone> Clone for Node<K, V> {
    fn clone(&self) -> Self {
        match self {
            Node::Branch { bits, children } => Node::Branch { bits: *bits, children: children.clone() },
            Node::Leaf { hash, entries } => Node::Leaf { hash: *hash, entries: entries.clone() },
        }
    }
}

fn leaf<K, V>(hash: u64, key: K, value: V) -> Node<K, V> {
    Node::Leaf { hash, entries: SmallVec::from_iter([(key, value)]) }
}

/// The bit of a branch at this depth that the hash chooses.
fn bit(hash: u64, shift: u32) -> u32 {
    1 << (hash >> shift & 0x1f)
}

/// Where the child of `bit` stands.
fn index(bits: u32, bit: u32) -> usize {
    (bits & (bit - 1)).count_ones() as usize
}

/// The subtree with the change made; `None` if nothing is left of it.
fn altered<K: Eq + Clone, V: Clone>(
    mut node: Arc<Node<K, V>>,
    hash: u64,
    shift: u32,
    key: K,
    change: impl FnOnce(Option<V>) -> Option<V>,
) -> Option<Arc<Node<K, V>>> {
    // A leaf of another hash moves one level down, until the hashes part.
    if let Node::Leaf { hash: other, .. } = &*node
        && *other != hash
    {
        return Some(match change(None) {
            Some(value) => parted(node, shift, hash, key, value),
            None => node,
        });
    }
    match Arc::make_mut(&mut node) {
        Node::Leaf { entries, .. } => {
            let place = entries.iter().position(|(k, _)| *k == key);
            let old = place.map(|at| entries.swap_remove(at).1);
            entries.extend(change(old).map(|value| (key, value)));
            (!entries.is_empty()).then_some(node)
        }
        Node::Branch { bits, children } => {
            let bit = bit(hash, shift);
            let at = index(*bits, bit);
            if *bits & bit == 0 {
                if let Some(value) = change(None) {
                    children.insert(at, Arc::new(leaf(hash, key, value)));
                    *bits |= bit;
                }
            } else {
                match altered(children.remove(at), hash, shift + BITS, key, change) {
                    Some(child) => children.insert(at, child),
                    None => *bits &= !bit,
                }
            }
            match children.as_slice() {
                [] => None,
                // A lone leaf takes the place of its branch, so the shape depends on the content alone.
                [only] if matches!(**only, Node::Leaf { .. }) => Some(Arc::clone(only)),
                _ => Some(node),
            }
        }
    }
}

/// The branch that parts an existing leaf from a new one of another hash.
fn parted<K, V>(node: Arc<Node<K, V>>, shift: u32, hash: u64, key: K, value: V) -> Arc<Node<K, V>> {
    let Node::Leaf { hash: other, .. } = *node else { return node };
    let (old, new) = (bit(other, shift), bit(hash, shift));
    let children = if old == new {
        vec![parted(node, shift + BITS, hash, key, value)]
    } else if old < new {
        vec![node, Arc::new(leaf(hash, key, value))]
    } else {
        vec![Arc::new(leaf(hash, key, value)), node]
    };
    Arc::new(Node::Branch { bits: old | new, children })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{collections::HashMap, hash::Hasher};

    /// A key whose hash is chosen by whoever wants to do harm: few values, and many keys for each.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Colliding(u8);

    impl Hash for Colliding {
        fn hash<H: Hasher>(&self, state: &mut H) {
            state.write_u8(self.0 % 4);
        }
    }

    fn agree<K: Hash + Eq + Clone>(keys: impl Fn(u8) -> K, steps: &[(u8, Option<u32>)]) -> Result<(), TestCaseError> {
        let (mut map, mut model) = (Map::new(), HashMap::new());
        let mut snapshots = Vec::new();
        for (key, value) in steps {
            let key = keys(*key);
            map.change(key.clone(), |old| {
                assert_eq!(old, model.get(&key).copied());
                *value
            });
            match value {
                Some(value) => model.insert(key, *value),
                None => model.remove(&key),
            };
            snapshots.push((map.clone(), model.clone()));
        }
        for (map, model) in snapshots {
            for key in 0..=u8::MAX {
                prop_assert_eq!(map.get(&keys(key)), model.get(&keys(key)));
            }
            let mut values: Vec<u32> = map.values().copied().collect();
            let mut expected: Vec<u32> = model.into_values().collect();
            values.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(values, expected);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn a_map_is_a_map(steps in proptest::collection::vec((any::<u8>(), any::<Option<u32>>()), 0..60)) {
            agree(|key| key, &steps)?;
            agree(|key| Colliding(key % 32), &steps)?;
        }
    }

    #[test]
    fn ten_thousand_entries_and_back() {
        let mut map = Map::new();
        for key in 0..10_000_u32 {
            map.change(key, |_| Some(key));
        }
        let all = map.clone();
        for key in 0..10_000 {
            assert_eq!(map.get(&key), Some(&key));
            if key == 9_999 {
                // What is left takes no more than it would have taken alone.
                assert!(matches!(map.root.as_deref(), Some(Node::Leaf { .. })));
            }
            map.change(key, |_| None);
            assert_eq!(map.get(&key), None);
        }
        assert!(map.root.is_none());
        assert_eq!(all.values().count(), 10_000);
    }
}
