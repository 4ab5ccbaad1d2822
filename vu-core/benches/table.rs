//! The syscall table: what dispatching, decoding and printing a call cost.
#![allow(missing_docs, reason = "of the function that criterion makes")]

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use vu_core::table::{Filter, Printed, filter, lookup};
use vu_trace::{Abi, FakeMemory};

const BASE: u64 = 0x10_0000;

fn table(c: &mut Criterion) {
    c.bench_function("look up every number", |b| {
        b.iter(|| (0..512).filter_map(|nr| lookup(Abi::X86_64, black_box(nr))).count());
    });
    c.bench_function("look up one number", |b| b.iter(|| lookup(Abi::X86_64, black_box(libc::SYS_newfstatat))));

    let linkat = lookup(Abi::X86_64, libc::SYS_linkat).expect("linkat has a row");
    let args = [7, BASE, 8, BASE, 0, 0];
    c.bench_function("find the paths of linkat", |b| b.iter(|| linkat.paths(black_box(&args)).count()));

    c.bench_function("compile the path filter", |b| {
        b.iter(|| vu_trace::filter::compile(&filter(Filter::Path, black_box(1 << 40))).map(|program| program.len()));
    });
}

fn printing(c: &mut Criterion) {
    let path = b"/usr/lib/x86_64-linux-gnu/libc.so.6\0";
    let mut bytes = path.to_vec();
    bytes.resize(64, 0);
    for pointer in [BASE, BASE + 4, BASE + 8, 0] {
        bytes.extend(pointer.to_le_bytes());
    }
    let memory = FakeMemory { base: BASE, bytes: bytes.into() };
    let cwd = u64::from(libc::AT_FDCWD.cast_unsigned());
    let cloexec = u64::from(libc::O_CLOEXEC.cast_unsigned());
    let calls = [
        ("print openat", libc::SYS_openat, [cwd, BASE, cloexec, 0, 0, 0]),
        ("print newfstatat", libc::SYS_newfstatat, [cwd, BASE, 0x7ffe_0000_0000, 0, 0, 0]),
        ("print execve", libc::SYS_execve, [BASE, BASE + 64, BASE + 64, 0, 0, 0]),
        ("print a call without a row", 600, [1; 6]),
    ];
    for (name, nr, args) in calls {
        let call = Printed { abi: Abi::X86_64, nr, args, memory: &memory };
        c.bench_function(name, |b| b.iter(|| black_box(&call).to_string()));
    }
}

criterion_group!(benches, table, printing);
criterion_main!(benches);
