//! What the walk and the mount table cost by themselves: the trees are in memory, so no system call is among it.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench, not an interface")]

#[path = "../tests/support/mod.rs"]
mod support;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use support::{Files, Node, StepByStep, View};
use vu_api::{AbsPath, Errno, FileType, Probe};
use vu_path::{Epoch, Look, MountTable, Options, Start, Tree, resolve, resolve_existing};

fn p(text: &str) -> AbsPath {
    AbsPath::new(text).unwrap_or_else(|_| panic!("{text}"))
}

/// A tree that answers at once: what remains is the walk.
struct Instant(Result<FileType, Errno>);

impl Tree for Instant {
    fn look(&self, _path: &AbsPath) -> Result<Look, Errno> {
        Ok(Look::Directory)
    }

    fn probe(&self, _path: &AbsPath) -> Result<Probe, Errno> {
        self.0.map(|file_type| Probe::Found { file_type: Some(file_type), handle: None })
    }
}

fn walks(c: &mut Criterion) {
    let (root, cwd) = (AbsPath::root(), p("/home/user/src"));
    let start = Start { root: &root, cwd: &cwd };
    let options = Options::default();
    let mut group = c.benchmark_group("walk");
    let found = Instant(Ok(FileType::Regular));
    for path in [
        "/",
        "/etc/passwd",
        "main.rs",
        "/usr/lib/x86_64-linux-gnu/libc.so.6",
        "/usr/lib/gcc/x86_64-linux-gnu/13/include-fixed/x86_64-linux-gnu/sys/stdio.h",
    ] {
        group.bench_with_input(BenchmarkId::new("fast", path), path, |b, path| {
            b.iter(|| resolve(&found, &start, black_box(path.as_bytes()), &options).map(|resolved| resolved.state));
        });
    }
    let missing = Instant(Err(Errno::ENOENT));
    group.bench_function("missing", |b| {
        b.iter(|| resolve_existing(&missing, &start, black_box(b"/usr/local/bin/ls"), &options).is_err());
    });
    let mut files = Files::default();
    files.add(p("/usr/bin/ls"), Node::File);
    files.add(p("/bin"), Node::Link(b"usr/bin".to_vec()));
    files.add(p("/a/b/c/d/e/f/g/h"), Node::File);
    let view = View::new(files);
    group.bench_function("one link", |b| {
        b.iter(|| resolve(&view, &start, black_box(b"/bin/ls"), &options).map(|resolved| resolved.state));
    });
    group.bench_function("eight names, step by step", |b| {
        let view = StepByStep(&view);
        b.iter(|| resolve(&view, &start, black_box(b"/a/b/c/d/e/f/g/h"), &options).map(|resolved| resolved.state));
    });
    group.finish();
}

/// So many mounts elsewhere.
fn table(mounts: u64, below: &str) -> MountTable<()> {
    let mut table = MountTable::new();
    for n in 0..mounts {
        table.insert(Epoch(n + 1), p(&format!("{below}/mount{n}")), ());
    }
    table
}

fn lookups(c: &mut Criterion) {
    let mut group = c.benchmark_group("covering");
    for mounts in [1, 100, 10_000] {
        for (name, path) in [
            ("nothing", "/usr/lib/x86_64-linux-gnu/libc.so.6"),
            // Its directory is full of mount points.
            ("a sibling", "/srv/data/elsewhere/file"),
        ] {
            let (table, path) = (table(mounts, "/srv/data"), p(path));
            group.bench_function(BenchmarkId::new(name, mounts), |b| {
                b.iter(|| table.covering(black_box(&path), Epoch::MAX).next().is_none());
            });
        }
        let (mut table, path) = (table(mounts, "/srv/data"), p("/srv/data/mount0/dir/file"));
        table.insert(Epoch(u64::MAX - 1), AbsPath::root(), ());
        group.bench_function(BenchmarkId::new("two mounts", mounts), |b| {
            b.iter(|| table.covering(black_box(&path), Epoch::MAX).count());
        });
    }
    group.finish();
}

fn changes(c: &mut Criterion) {
    let mut group = c.benchmark_group("change");
    for mounts in [1, 100, 10_000] {
        let table = table(mounts, "/srv/data");
        let point = p("/srv/data/new");
        // As the view does it: on a copy, while readers keep the present one.
        group.bench_function(BenchmarkId::new("insert", mounts), |b| {
            b.iter_batched(
                || point.clone(),
                |point| {
                    let mut next = table.clone();
                    next.insert(Epoch(mounts + 1), point, ());
                    next
                },
                BatchSize::SmallInput,
            );
        });
        group.bench_function(BenchmarkId::new("remove", mounts), |b| {
            b.iter(|| {
                let mut next = table.clone();
                next.remove(Epoch(mounts));
                next
            });
        });
    }
    group.finish();
}

criterion_group!(benches, walks, lookups, changes);
criterion_main!(benches);
