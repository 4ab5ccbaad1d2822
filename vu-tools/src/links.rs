//! The tools are symbolic links to the one executable. umvu sees to it that the view finds them: if `PATH` does not lead to them,
//! it makes the links beside its own executable, or, where it may not write, in a private directory that is removed at the end,
//! and appends that directory to the `PATH` of the view.

use crate::tools::{TOOLS, Tool};
use nix::fcntl::{Flock, FlockArg};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use vu_api::Errno;

/// The links to the tools as a view needs them. Dropping it removes what is private to it.
#[derive(Debug, Default)]
pub struct Links {
    /// The `PATH` that leads to them, if it is not the one there is.
    pub path: Option<OsString>,
    /// Kept for its `Drop`.
    _private: Option<PrivateDirectory>,
}

/// Where links may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    /// Beside the executable or else in a private directory.
    Anywhere,
    /// Beside the executable only: nobody would be there to remove a private directory.
    Beside,
}

/// Where a command line finds programs if the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Finds or makes the links for the executable `umvu`. What cannot be done is said in the log: a view without its tools on
/// `PATH` is still a view.
#[must_use]
pub fn provide(umvu: &Path, path: Option<&OsStr>, make: Make) -> Links {
    let path = path.unwrap_or(OsStr::new(DEFAULT_PATH));
    match find(umvu, path) {
        Found::All => return Links::default(),
        Found::Foreign(file) => tracing::warn!(
            "{} comes first on PATH and does not belong to this umvu: put {} before it",
            file.display(),
            umvu.parent().unwrap_or(umvu).display()
        ),
        Found::Missing => {}
    }
    match make_somewhere(umvu, make) {
        Ok((directory, private)) => Links { path: appended(path, &directory), _private: private },
        Err(error) => {
            let error = Errno::from(error);
            tracing::warn!("cannot make the links to the tools: {error}; a writable $XDG_RUNTIME_DIR or $TMPDIR helps");
            Links::default()
        }
    }
}

enum Found {
    /// Every tool, and each is this executable.
    All,
    /// Some tool is not on `PATH`.
    Missing,
    /// Another program of that name is found first.
    Foreign(PathBuf),
}

fn find(umvu: &Path, path: &OsStr) -> Found {
    let umvu = identity(umvu);
    let directories: Vec<PathBuf> = std::env::split_paths(path).filter(|directory| directory.is_absolute()).collect();
    // Whose umvu is found there does not matter, since the tools speak to the one that runs.
    for tool in TOOLS.iter().filter(|tool| tool.name != Tool::UMVU.name) {
        let file = directories.iter().map(|directory| directory.join(tool.name)).find(|file| file.is_file());
        match file {
            Some(file) if identity(&file) == umvu => {}
            Some(file) => return Found::Foreign(file),
            None => return Found::Missing,
        }
    }
    Found::All
}

/// Device and inode number of a file, if it is there.
fn identity(file: &Path) -> Option<(u64, u64)> {
    fs::metadata(file).ok().map(|about| (about.dev(), about.ino()))
}

/// `path` with the directory at its end; `None` if it is there already, or cannot be written in a `PATH`.
fn appended(path: &OsStr, directory: &Path) -> Option<OsString> {
    let mut directories: Vec<PathBuf> = std::env::split_paths(path).collect();
    if directories.iter().any(|d| d == directory) {
        return None;
    }
    directories.push(directory.to_owned());
    match std::env::join_paths(directories) {
        Ok(path) => Some(path),
        Err(_) => {
            tracing::warn!(
                "the directory of the tools, {}, has a ':' in its name and cannot be on PATH",
                directory.display()
            );
            None
        }
    }
}

/// Makes the links; their directory.
fn make_somewhere(umvu: &Path, make: Make) -> io::Result<(PathBuf, Option<PrivateDirectory>)> {
    let (Some(directory), Some(name)) = (umvu.parent(), umvu.file_name()) else {
        return Err(io::Error::from_raw_os_error(libc::ENOENT));
    };
    match make_links(directory, Path::new(name), umvu) {
        Err(error) if make == Make::Beside => Err(error),
        Err(_) => {
            let base = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|base| base.is_dir());
            let private = PrivateDirectory::new(&base.unwrap_or_else(std::env::temp_dir), umvu)?;
            Ok((private.path.clone(), Some(private)))
        }
        Ok(()) => Ok((directory.to_owned(), None)),
    }
}

/// Makes the links that are missing in a directory.
fn make_links(directory: &Path, target: &Path, umvu: &Path) -> io::Result<()> {
    let umvu = identity(umvu);
    for tool in &TOOLS {
        let link = directory.join(tool.name);
        let is_there = || umvu.is_some() && identity(&link) == umvu;
        if !is_there() {
            match symlink(target, &link) {
                // Another umvu did it just now.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_there() => {}
                result => result?,
            }
        }
    }
    Ok(())
}

/// A directory of links, removed when it is dropped. As long as its umvu lives it is locked: what a killed umvu left behind is
/// recognised by its lock being free, and removed by the next one.
#[derive(Debug)]
struct PrivateDirectory {
    path: PathBuf,
    _lock: Flock<File>,
}

const PRIVATE_PREFIX: &str = "umvu-tools-";

impl PrivateDirectory {
    fn new(base: &Path, umvu: &Path) -> io::Result<PrivateDirectory> {
        remove_leftovers(base);
        for attempt in 0..100 {
            let path = base.join(format!("{PRIVATE_PREFIX}{}-{attempt}", std::process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                result => result?,
            }
            // Another umvu may take the directory for a leftover before it is locked: then once more.
            if let Some(lock) = lock(&path)
                && make_links(&path, umvu, umvu).is_ok()
            {
                return Ok(PrivateDirectory { path, _lock: lock });
            }
        }
        Err(io::Error::from_raw_os_error(libc::EEXIST))
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        remove_links(&self.path);
    }
}

fn lock(directory: &Path) -> Option<Flock<File>> {
    Flock::lock(File::open(directory).ok()?, FlockArg::LockExclusiveNonblock).ok()
}

fn remove_leftovers(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        let ours = entry.file_name().as_encoded_bytes().starts_with(PRIVATE_PREFIX.as_bytes())
            && entry.metadata().is_ok_and(|m| m.is_dir() && m.uid() == nix::unistd::geteuid().as_raw());
        if ours && let Some(_lock) = lock(&entry.path()) {
            remove_links(&entry.path());
        }
    }
}

/// Removes the links and then the directory, unless something else lies there.
fn remove_links(directory: &Path) {
    for tool in &TOOLS {
        let _ = fs::remove_file(directory.join(tool.name));
    }
    let _ = fs::remove_dir(directory);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with something that stands for the executable.
    fn installed() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let umvu = directory.path().join("umvu");
        fs::write(&umvu, "").unwrap();
        (directory, umvu)
    }

    #[test]
    fn links_are_made_beside_the_executable_and_found_again() {
        let (directory, umvu) = installed();
        let path = OsStr::new("/nonexistent");
        let links = provide(&umvu, Some(path), Make::Beside);
        assert_eq!(links.path, Some(format!("/nonexistent:{}", directory.path().display()).into()));
        assert_eq!(identity(&directory.path().join("vu_insmod")), identity(&umvu));

        let links = provide(&umvu, links.path.as_deref(), Make::Beside);
        assert_eq!(links.path, None, "they are on PATH now");
    }

    #[test]
    fn foreign_tools_are_noticed() {
        let (directory, umvu) = installed();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("vumount"), "").unwrap();
        make_links(directory.path(), Path::new("umvu"), &umvu).unwrap();
        assert!(matches!(find(&umvu, directory.path().as_os_str()), Found::All));
        let path = std::env::join_paths([elsewhere.path(), directory.path()]).unwrap();
        assert!(matches!(find(&umvu, &path), Found::Foreign(file) if file == elsewhere.path().join("vumount")));
    }

    #[test]
    fn a_file_of_another_program_is_not_replaced() {
        let (directory, umvu) = installed();
        fs::write(directory.path().join("vumount"), "mine").unwrap();
        assert!(make_links(directory.path(), Path::new("umvu"), &umvu).is_err());
        assert_eq!(fs::read(directory.path().join("vumount")).unwrap(), b"mine");
    }

    #[test]
    fn private_directories_go_with_their_umvu() {
        let (_directory, umvu) = installed();
        let base = tempfile::tempdir().unwrap();
        let leftover = base.path().join(format!("{PRIVATE_PREFIX}1-0"));
        fs::create_dir(&leftover).unwrap();
        make_links(&leftover, &umvu, &umvu).unwrap();

        let first = PrivateDirectory::new(base.path(), &umvu).unwrap();
        assert!(!leftover.exists(), "what a killed umvu left is removed");
        let second = PrivateDirectory::new(base.path(), &umvu).unwrap();
        assert_eq!(identity(&first.path.join("vuname")), identity(&umvu), "a living umvu keeps its links");
        drop((first, second));
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }
}
