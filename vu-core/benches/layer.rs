//! What a layer costs: per number of mounts, and per depth of nesting.
#![allow(missing_docs, reason = "of the function that criterion makes")]

#[path = "../tests/views/support.rs"]
mod support;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use std::{hint::black_box, sync::Arc};
use support::{marked_view, mount, umount, view_over};
use vu_api::{Filesystem, Purpose, testing::path};
use vu_core::{host::HostFs, layer::Layer, view::View};

/// A view with this many mounts that do not cover what is asked.
fn with_mounts(view: Arc<View>, count: usize) -> Layer {
    for i in 0..count {
        mount(&view, "bind", "/", &format!("/tmp/m{i}"), "");
    }
    Layer::top(view)
}

fn host() -> Arc<View> {
    view_over(Arc::new(HostFs::new().expect("openat2")))
}

fn mounts(c: &mut Criterion) {
    let question = path("/usr/bin/env");
    for count in [0, 1, 100, 10_000] {
        let top = with_mounts(host(), count);
        c.bench_function(&format!("locate, {count} mounts"), |b| {
            b.iter(|| top.locate(black_box(&question), Purpose::Read));
        });
        c.bench_function(&format!("probe, {count} mounts"), |b| b.iter(|| top.probe(black_box(&question))));
    }
}

/// `/` on `/mnt`, again and again: `/mnt/mnt/…/usr/bin/env` is answered by every one of the mounts.
fn nesting(c: &mut Criterion) {
    for depth in [1, 2, 5, 10, 15, 20] {
        let view = host();
        for _ in 0..depth {
            mount(&view, "bind", "/", "/mnt", "");
        }
        let top = Layer::top(view);
        let question = path(&format!("{}/usr/bin/env", "/mnt".repeat(depth)));
        c.bench_function(&format!("locate, depth {depth}"), |b| {
            b.iter(|| top.locate(black_box(&question), Purpose::Read));
        });
        c.bench_function(&format!("probe, depth {depth}"), |b| b.iter(|| top.probe(black_box(&question))));
    }
}

/// Each mount has the one before as its source and stands in it: the way to each leads through all older ones.
fn chain(c: &mut Criterion) {
    for depth in [1, 5, 10, 20] {
        let view = marked_view();
        let mut source = String::from("/a");
        for _ in 0..depth {
            let target = format!("{source}/x");
            mount(&view, "bind", &source, &target, "");
            source = target;
        }
        let top = Layer::top(view);
        let question = path(&format!("{source}/file"));
        c.bench_function(&format!("probe, chain of {depth}"), |b| b.iter(|| top.probe(black_box(&question))));
    }
}

fn changes(c: &mut Criterion) {
    for count in [0, 100, 10_000] {
        let top = with_mounts(marked_view(), count);
        let unmount = || umount(top.view(), "/new").is_ok();
        let mount = || mount(top.view(), "bind", "/", "/new", "");
        c.bench_function(&format!("mount, {count} others"), |b| {
            b.iter_batched(unmount, |_| mount(), BatchSize::NumIterations(1));
        });
        unmount();
        c.bench_function(&format!("umount, {count} others"), |b| {
            b.iter_batched(mount, |_| unmount(), BatchSize::NumIterations(1));
        });
    }
}

criterion_group!(benches, mounts, nesting, chain, changes);
criterion_main!(benches);
