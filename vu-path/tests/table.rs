//! The mount table against a plain list, and its rules, a line a case.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod support;

use proptest::prelude::*;
use support::{Source, config};
use vu_api::AbsPath;
use vu_path::{Epoch, MountTable};

fn p(text: &str) -> AbsPath {
    AbsPath::new(text).unwrap()
}

fn table(points: &[&str]) -> MountTable<usize> {
    let mut table = MountTable::new();
    for (at, point) in points.iter().enumerate() {
        table.insert(Epoch(at as u64 + 1), p(point), at);
    }
    table
}

#[track_caller]
fn covering(table: &MountTable<usize>, path: &str, before: Epoch, expected: &[usize]) {
    let mounts: Vec<usize> = table.covering(&p(path), before).map(|entry| entry.mount).collect();
    assert_eq!(mounts, expected, "{path}");
}

#[test]
fn the_newest_covers_not_the_deepest() {
    let table = table(&["/a/b", "/", "/a", "/a/b/c", "/a", "/ab"]);
    covering(&table, "/", Epoch::MAX, &[1]);
    covering(&table, "/a", Epoch::MAX, &[4, 2, 1]);
    covering(&table, "/a/b/c/d", Epoch::MAX, &[4, 3, 2, 1, 0]);
    covering(&table, "/a/b/c/d", Epoch(4), &[2, 1, 0]);
    covering(&table, "/ab/x", Epoch::MAX, &[5, 1]);
    covering(&table, "/abc", Epoch::MAX, &[1]);
    covering(&table, "/a/b/c", Epoch::HOST, &[]);
}

#[test]
fn questions_about_names_and_places() {
    let mut table = table(&["/a/b", "/etc/b", "/", "/etc/b"]);
    assert!(table.has_name(b"b") && !table.has_name(b"a") && !table.has_name(b"etc") && !table.has_name(b""));
    assert!(table.any_below(&p("/")) && table.any_below(&p("/etc")) && !table.any_below(&p("/etc/b")));
    assert!(!table.any_below(&p("/et")) && table.covers_root());
    assert_eq!(table.newest_at(&p("/etc/b"), Epoch::MAX).map(|entry| entry.mount), Some(3));
    assert_eq!(table.newest_at(&p("/etc/b"), Epoch(4)).map(|entry| entry.mount), Some(1));
    assert!(table.newest_at(&p("/etc"), Epoch::MAX).is_none());
    for epoch in [3, 2, 1] {
        assert!(table.remove(Epoch(epoch)).is_some() && table.remove(Epoch(epoch)).is_none());
        assert!(!table.contains(Epoch(epoch)) && table.contains(Epoch(4)));
    }
    assert!(table.has_name(b"b") && !table.covers_root() && !table.any_below(&p("/a")) && table.len() == 1);
    table.remove(Epoch(4));
    assert!(table.is_empty() && !table.has_name(b"b") && !table.any_below(&p("/")));
}

#[test]
fn exceptions_have_names_too() {
    let mut table = table(&["/a/b"]);
    table.insert_with_exceptions(Epoch(2), p("/m"), &[p("/x/y"), p("/b")], 1);
    let mut names: Vec<&[u8]> = table.names().collect();
    names.sort_unstable();
    assert_eq!(names, [b"b", b"b", b"m", b"y"]);
    assert!(table.has_name(b"y") && table.has_name(b"m") && !table.has_name(b"x"));
    covering(&table, "/m/x/y", Epoch::MAX, &[1]);
    table.remove(Epoch(2));
    assert!(table.has_name(b"b") && !table.has_name(b"y") && !table.has_name(b"m"));
}

#[test]
fn a_snapshot_stays_as_it_is() {
    let mut now = table(&["/a", "/b"]);
    let before = now.clone();
    now.remove(Epoch(1));
    now.insert(Epoch(3), p("/c"), 9);
    covering(&before, "/a", Epoch::MAX, &[0]);
    covering(&before, "/c", Epoch::MAX, &[]);
    covering(&now, "/a", Epoch::MAX, &[]);
    covering(&now, "/c", Epoch::MAX, &[9]);
    assert_eq!((before.len(), now.len()), (2, 2));
}

#[test]
fn an_epoch_belongs_to_one_mount() {
    let mut table = table(&["/a"]);
    table.insert(Epoch(1), p("/b"), 7);
    assert_eq!(table.len(), 1);
    covering(&table, "/a", Epoch::MAX, &[]);
    covering(&table, "/b", Epoch::MAX, &[7]);
}

#[test]
fn ten_thousand_at_one_point() {
    let mut table = MountTable::new();
    for epoch in 1..=10_000 {
        table.insert(Epoch(epoch), p("/m"), ());
    }
    assert!(table.covering(&p("/m/x"), Epoch::MAX).map(|entry| entry.epoch.0).eq((1..=10_000).rev()));
    for epoch in 1..=10_000 {
        assert!(table.remove(Epoch(epoch)).is_some());
    }
    assert!(table.is_empty());
}

/// The same, as a list, oldest first.
#[derive(Default, Clone)]
struct List(Vec<(Epoch, AbsPath)>);

impl List {
    fn covering(&self, path: &AbsPath, before: Epoch) -> Vec<(Epoch, AbsPath)> {
        self.0.iter().rev().filter(|(epoch, point)| *epoch < before && path.starts_with(point)).cloned().collect()
    }
}

fn same(table: &MountTable<u64>, list: &List, path: &AbsPath, before: Epoch) -> Result<(), TestCaseError> {
    let entries = |entries: &mut dyn Iterator<Item = &vu_path::Entry<u64>>| -> Vec<(Epoch, AbsPath)> {
        entries
            .map(|entry| {
                assert_eq!(entry.mount, entry.epoch.0);
                (entry.epoch, entry.point.clone())
            })
            .collect()
    };
    prop_assert_eq!(entries(&mut table.covering(path, before)), list.covering(path, before));
    prop_assert_eq!(entries(&mut table.iter_newest_first()), list.covering_all());
    let at = list.covering(path, before).into_iter().find(|(_, point)| point == path);
    prop_assert_eq!(table.newest_at(path, before).map(|entry| entry.epoch), at.map(|(epoch, _)| epoch));
    for (epoch, _) in &list.0 {
        prop_assert!(table.contains(*epoch) && !table.contains(Epoch(epoch.0 + 1_000_000)));
    }
    prop_assert_eq!(table.len(), list.0.len());
    prop_assert_eq!(table.is_empty(), list.0.is_empty());
    prop_assert_eq!(table.covers_root(), list.0.iter().any(|(_, point)| point.is_root()));
    let below = |point: &AbsPath| point != path && point.starts_with(path);
    prop_assert_eq!(table.any_below(path), list.0.iter().any(|(_, point)| below(point)));
    for name in [&b"a"[..], b"b", b"c", b"x"] {
        prop_assert_eq!(table.has_name(name), list.0.iter().any(|(_, point)| point.file_name() == Some(name)));
    }
    Ok(())
}

impl List {
    fn covering_all(&self) -> Vec<(Epoch, AbsPath)> {
        self.0.iter().rev().cloned().collect()
    }
}

proptest! {
    #![proptest_config(config(2000))]

    /// Mounts and unmounts in any order; every snapshot that is kept goes on saying what it said.
    #[test]
    fn the_table_is_a_list(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = Source(&bytes);
        let (mut table, mut list) = (MountTable::new(), List::default());
        let mut kept = Vec::new();
        let mut epoch = 0;
        while !bytes.0.is_empty() {
            match bytes.below(8) {
                0..=3 => {
                    epoch += 1;
                    let point = bytes.place();
                    table.insert(Epoch(epoch), point.clone(), epoch);
                    list.0.push((Epoch(epoch), point));
                }
                // umount: the newest at this very point.
                4 => {
                    let point = bytes.place();
                    let newest = table.newest_at(&point, Epoch::MAX).map(|entry| entry.epoch);
                    prop_assert_eq!(newest, list.0.iter().rev().find(|(_, p)| *p == point).map(|(epoch, _)| *epoch));
                    if let Some(newest) = newest {
                        prop_assert_eq!(table.remove(newest).map(|entry| entry.point.clone()), Some(point));
                        list.0.retain(|(epoch, _)| *epoch != newest);
                    }
                }
                5 => {
                    let any = Epoch(u64::from(bytes.byte()) % (epoch + 2));
                    prop_assert_eq!(table.remove(any).is_some(), list.0.iter().any(|(epoch, _)| *epoch == any));
                    list.0.retain(|(epoch, _)| *epoch != any);
                }
                6 => kept.push((table.clone(), list.clone())),
                _ => {
                    let before = if bytes.flag() { Epoch::MAX } else { Epoch(u64::from(bytes.byte()) % (epoch + 2)) };
                    same(&table, &list, &bytes.place(), before)?;
                }
            }
        }
        kept.push((table, list));
        for (table, list) in &kept {
            for path in ["/", "/a", "/b", "/a/a", "/a/b", "/b/c", "/a/b/a", "/a/b/a/b", "/x", "/x/a"] {
                same(table, list, &p(path), Epoch::MAX)?;
                same(table, list, &p(path), Epoch(epoch / 2))?;
            }
        }
    }
}
