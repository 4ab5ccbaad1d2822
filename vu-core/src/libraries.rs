//! What is known of the host's C library, and of the files that its dynamic linker looks for.

use crate::{
    sys::{self, Reach},
    table::Filter,
};
use std::{fs::File, io::Read, iter, os::fd::AsFd};
use vu_agent::{
    image::LONGEST,
    sites::{self, LINKER_FILES},
};
use vu_api::{AbsPath, FileType};
use vu_trace::filter::{AtSite, Site};

/// Where the dynamic linker is (the System V ABI's AMD64 supplement says so).
const LINKER: &str = "/lib64/ld-linux-x86-64.so.2";
/// Where distributions have the library.
const LIBRARIES: [&str; 3] = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/libc.so.6", "/usr/lib/libc.so.6"];

/// The places where the host's libraries make calls that the filters know by that. Those of other libraries, in a root of a process's own for instance, are not known.
pub(crate) struct Sites {
    /// Where they ask about open files, by a call that might have a path.
    of_descriptors: Vec<Site>,
    /// Where the linker looks for its files.
    of_linker: Vec<Site>,
}

impl Sites {
    pub(crate) fn find() -> Sites {
        let linker = read(LINKER).unwrap_or_default();
        let of_linker = sites::of_linker(&linker).into_iter().map(converted).collect();
        let mut of_descriptors = Vec::new();
        for library in iter::once(linker).chain(LIBRARIES.iter().filter_map(|path| read(path))) {
            for site in sites::of_descriptors(&library).into_iter().map(converted) {
                if !of_descriptors.contains(&site) {
                    of_descriptors.push(site);
                }
            }
        }
        Sites { of_descriptors, of_linker }
    }

    /// What a filter does there. `linker_passes`: the linker's files are what the kernel finds.
    pub(crate) fn of(&self, filter: Filter, linker_passes: bool) -> Vec<(Site, AtSite)> {
        let all = |sites: &[Site], at| sites.iter().map(|&site| (site, at)).collect::<Vec<_>>();
        let linker = if linker_passes { all(&self.of_linker, AtSite::Allow) } else { Vec::new() };
        match filter {
            // As fstat(2) is treated.
            Filter::Path => [all(&self.of_descriptors, AtSite::Allow), linker].concat(),
            Filter::PathAndDescriptor => linker,
            Filter::Descriptor | Filter::Stat => all(&self.of_descriptors, AtSite::Trace),
            Filter::Linker => all(&self.of_linker, AtSite::Unmask),
            _ => Vec::new(),
        }
    }
}

fn read(path: &str) -> Option<Vec<u8>> {
    let file = File::open(path).ok()?;
    let size = usize::try_from(file.metadata().ok()?.len()).ok()?;
    // With a byte more, the end is seen without more room.
    let mut library = Vec::with_capacity(size.min(LONGEST) + 1);
    file.take(LONGEST as u64).read_to_end(&mut library).ok()?;
    Some(library)
}

fn converted(site: sites::Site) -> Site {
    let sites::Site { nr, path, flags, in_page, distance } = site;
    Site { nr, path, flags, in_page, distance }
}

/// Whether a mount there hides one of the files that the linker looks for.
pub(crate) fn hides_linker_files(point: &AbsPath) -> bool {
    LINKER_FILES.iter().any(|file| AbsPath::new(*file).is_ok_and(|file| file.starts_with(point)))
}

/// Whether the linker's files are files, or missing, no link leads to them, and nobody in the view can change that.
pub(crate) fn linker_files_stay() -> bool {
    let is_plain = |file: &&str| match sys::stat_at(Reach::Path(file.as_bytes())) {
        Ok(stat) => FileType::from_mode(stat.st_mode) == Some(FileType::Regular),
        Err(errno) => errno == vu_api::Errno::ENOENT,
    };
    let Ok(directory) = sys::open(b"/etc", libc::O_PATH | libc::O_NOFOLLOW | libc::O_DIRECTORY) else { return false };
    sys::access(Reach::Held(directory.as_fd()), libc::W_OK, libc::AT_EACCESS).is_err()
        && LINKER_FILES.iter().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_hide_the_linker_s_files_on_them_and_above_them() {
        let hides = |point: &str| hides_linker_files(&AbsPath::new(point).unwrap());
        for point in ["/", "/etc", "/etc/ld.so.cache", "/etc/ld.so.preload"] {
            assert!(hides(point), "{point}");
        }
        for point in ["/usr", "/et", "/etc/ld.so", "/etc/ld.so.cache2", "/etc/ld.so.conf.d", "/mnt"] {
            assert!(!hides(point), "{point}");
        }
    }
}
