//! Directories for what is to lie nowhere: the content of a `tmpfs` of the view, and the file systems of the host that are mounted where it has no place for them.
//!
//! What a mount shows is the host's, so it needs a place there, and a directory with something in it has a name. Whoever removes it must outlive the hypervisor,
//! which may be killed at any moment: a process of its own waits at a pipe until the other end is closed, on purpose or by the kernel.

use crate::sys::{self, Reach};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::statvfs::{FsFlags, statvfs},
    unistd::{AccessFlags, access, mkdtemp},
};
use std::{
    env,
    ffi::OsStr,
    fs::Permissions,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::PermissionsExt,
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
    sync::OnceLock,
};
use vu_api::{AbsPath, Errno};

/// Two directories of the host, gone with everything in them soon after this value is, or the hypervisor.
#[derive(Debug)]
pub struct Scratch {
    directory: AbsPath,
    /// Whether something of the host's is to be mounted on the one for the content.
    for_mount: bool,
    /// The number of that, once it is.
    number: OnceLock<u64>,
    _alive: ChildStdin,
}

/// Waits for the end of its input and runs the rest. The outer shell ends at once, so that nobody has to wait for the inner one.
const WAIT: &str = "trap '' HUP INT QUIT TERM; exec 3<&0\n{ read -r _ <&3; ";
/// Removes the directory, also what its owner may not search.
const REMOVE: &str = r#"rm -rf -- "$1" || { chmod -R u+rwx -- "$1"; rm -rf -- "$1"; }; } &"#;
/// Takes away what is mounted, and removes no file.
const UNMOUNT: &str = r#"umount -l "$1/content"; rmdir -- "$1/content" "$1/nothing" "$1"; } &"#;

impl Scratch {
    /// Makes them, empty, in memory where possible.
    ///
    /// # Errors
    /// What hinders it.
    pub fn new() -> Result<Scratch, Errno> {
        Scratch::made(REMOVE)
    }

    /// Makes them, for something that the host mounts on the one for the content. Everybody may pass there who knows the way.
    ///
    /// # Errors
    /// What hinders it.
    pub fn for_mount() -> Result<Scratch, Errno> {
        let mut scratch = Scratch::made(UNMOUNT)?;
        scratch.for_mount = true;
        std::fs::set_permissions(host_path(&scratch.directory), Permissions::from_mode(0o711))?;
        Ok(scratch)
    }

    fn made(how_it_ends: &str) -> Result<Scratch, Errno> {
        let directory = mkdtemp(&place().join("umvu-tmpfs-XXXXXX")).map_err(errno)?;
        let alive = remover(&directory, how_it_ends).inspect_err(|_| {
            let _ = std::fs::remove_dir(&directory);
        })?;
        let directory = AbsPath::new(directory.into_os_string().into_vec()).map_err(|_| Errno::EINVAL)?;
        let scratch = Scratch { directory, for_mount: false, number: OnceLock::new(), _alive: alive };
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

    /// Whether the content is a mount of the host's.
    #[must_use]
    pub fn is_mount(&self) -> bool {
        self.for_mount
    }

    /// Notes that the host has mounted it.
    pub fn mounted(&self) {
        if let Ok(number) = self.top() {
            let _ = self.number.set(number);
        }
    }

    /// The number of the newest mount at the content; its file system is not asked for it.
    fn top(&self) -> Result<u64, Errno> {
        let content = self.content();
        let told = sys::statx(Reach::Path(content.as_bytes()), libc::AT_STATX_DONT_SYNC, libc::STATX_MNT_ID)?;
        Ok(told.stx_mnt_id)
    }

    /// Whether the same directory of a file system is mounted on another one.
    #[must_use]
    pub fn shows_the_same(&self, other: &Scratch) -> bool {
        let object = |scratch: &Scratch| {
            let content = scratch.content();
            let told = sys::statx(Reach::Path(content.as_bytes()), libc::AT_STATX_DONT_SYNC, libc::STATX_INO).ok()?;
            Some((told.stx_dev_major, told.stx_dev_minor, told.stx_ino))
        };
        object(self).is_some_and(|own| object(other) == Some(own))
    }

    /// Has the host change its mount: `flags` and `data` of mount(2) with `MS_REMOUNT`.
    ///
    /// # Errors
    /// What the host says.
    pub fn remount(&self, flags: u64, data: Option<&[u8]>) -> Result<(), Errno> {
        let nothing: Option<&[u8]> = None;
        let flags = MsFlags::from_bits_retain(flags);
        mount(nothing, self.content().as_bytes(), nothing, flags, data).map_err(errno)
    }

    /// Has the host take its newest mount away. Whether that was the one that this was made for: others may have been made on it since.
    ///
    /// # Errors
    /// Those of umount2(2).
    pub fn unmount(&self, flags: i32) -> Result<bool, Errno> {
        let own = self.number.get() == Some(&self.top()?);
        umount2(self.content().as_bytes(), MntFlags::from_bits_retain(flags)).map_err(errno)?;
        Ok(own)
    }
}

impl Drop for Scratch {
    /// What is mounted goes now, since its device may be wanted; the rest is the remover's.
    fn drop(&mut self) {
        if self.for_mount {
            while umount2(self.content().as_bytes(), MntFlags::MNT_DETACH).is_ok() {}
        }
    }
}

fn remover(directory: &Path, how_it_ends: &str) -> Result<ChildStdin, Errno> {
    let mut shell = Command::new("/bin/sh")
        .args(["-c", &[WAIT, how_it_ends].concat(), "umvu-tmpfs"])
        .arg(directory)
        .env_clear()
        .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
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
    use std::{fs, thread};

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
