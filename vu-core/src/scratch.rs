//! Directories for what is to lie nowhere: the content of a `tmpfs` of the view.
//!
//! What a mount shows is the host's, so it needs a place there, and a directory with something in it has a name. Whoever removes it must outlive the hypervisor,
//! which may be killed at any moment: a process of its own waits at a pipe until the other end is closed, on purpose or by the kernel.

use nix::{
    sys::statvfs::{FsFlags, statvfs},
    unistd::{AccessFlags, access, mkdtemp},
};
use std::{
    env,
    ffi::OsStr,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
};
use vu_api::{AbsPath, Errno};

/// Two empty directories of the host, gone with everything in them soon after this value is, or the hypervisor.
#[derive(Debug)]
pub struct Scratch {
    directory: AbsPath,
    _alive: ChildStdin,
}

/// Waits for the end of its input and removes the directory, also what its owner may not search. The outer shell ends at once, so that nobody has to wait for
/// the inner one.
const REMOVE: &str = r#"trap '' HUP INT QUIT TERM; exec 3<&0
{ read -r _ <&3; rm -rf -- "$1" || { chmod -R u+rwx -- "$1"; rm -rf -- "$1"; }; } &"#;

impl Scratch {
    /// Makes them, in memory where possible.
    ///
    /// # Errors
    /// What hinders it.
    pub fn new() -> Result<Scratch, Errno> {
        let directory = mkdtemp(&place().join("umvu-tmpfs-XXXXXX")).map_err(errno)?;
        let alive = remover(&directory).inspect_err(|_| {
            let _ = std::fs::remove_dir(&directory);
        })?;
        let directory = AbsPath::new(directory.into_os_string().into_vec()).map_err(|_| Errno::EINVAL)?;
        let scratch = Scratch { directory, _alive: alive };
        for part in [scratch.content(), scratch.nothing()] {
            std::fs::create_dir(host_path(&part))?;
        }
        Ok(scratch)
    }

    /// For the content.
    #[must_use]
    pub fn content(&self) -> AbsPath {
        self.directory.child(b"content")
    }

    /// What stays empty.
    #[must_use]
    pub fn nothing(&self) -> AbsPath {
        self.directory.child(b"nothing")
    }
}

fn remover(directory: &Path) -> Result<ChildStdin, Errno> {
    let mut shell = Command::new("/bin/sh")
        .args(["-c", REMOVE, "umvu-tmpfs"])
        .arg(directory)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/")
        // What is meant for the processes of a terminal is not meant for this one.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let alive = shell.stdin.take().ok_or(Errno::EPIPE)?;
    let _ = shell.wait();
    Ok(alive)
}

/// The first usual place for temporary things in which programs may run; failing that, one in which they may not.
fn place() -> PathBuf {
    let usual = [Some("/dev/shm".into()), env::var_os("TMPDIR"), Some("/tmp".into()), Some("/var/tmp".into())];
    let usable: Vec<PathBuf> = usual
        .into_iter()
        .flatten()
        .map(PathBuf::from)
        .filter(|place| place.is_absolute() && access(place, AccessFlags::W_OK | AccessFlags::X_OK).is_ok())
        .collect();
    let executable =
        |place: &&PathBuf| statvfs(place.as_path()).is_ok_and(|about| !about.flags().contains(FsFlags::ST_NOEXEC));
    usable.iter().find(executable).or(usable.first()).cloned().unwrap_or_else(env::temp_dir)
}

fn host_path(path: &AbsPath) -> &Path {
    Path::new(OsStr::from_bytes(path.as_bytes()))
}

fn errno(error: nix::Error) -> Errno {
    Errno::new(error as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt,
        thread,
    };

    #[test]
    fn it_goes_with_everything_in_it() {
        let scratch = Scratch::new().unwrap();
        let directory = host_path(&scratch.directory).to_owned();
        let inner = host_path(&scratch.content()).join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("file"), "x").unwrap();
        fs::set_permissions(&inner, Permissions::from_mode(0o0)).unwrap();
        assert!(host_path(&scratch.nothing()).is_dir());
        drop(scratch);
        while directory.exists() {
            thread::yield_now();
        }
    }
}
