//! What is known of the host's C library.

use std::{fs::File, io::Read};
use vu_agent::image::LONGEST;
use vu_trace::filter::Site;

/// Where the dynamic linker is (the System V ABI's AMD64 supplement says so), and where distributions have the library.
const PATHS: [&str; 4] =
    ["/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6", "/lib64/libc.so.6", "/usr/lib/libc.so.6"];

/// The places where they ask about open files by a call that might have a path. Those of other libraries, in a root of a process's own for instance, are not known.
pub(crate) fn sites() -> Vec<Site> {
    let mut sites = Vec::new();
    for path in PATHS {
        let mut library = Vec::new();
        let read = File::open(path).and_then(|file| file.take(LONGEST as u64).read_to_end(&mut library));
        if read.is_err() {
            continue;
        }
        for vu_agent::fstat::Site { in_page, distance } in vu_agent::fstat::sites(&library) {
            let site = Site { in_page, distance };
            if !sites.contains(&site) {
                sites.push(site);
            }
        }
    }
    sites
}
