//! What a virtual identity may do where a mount keeps owners and modes: what the kernel would let it do, were they real.
//!
//! Everywhere else the host decides, and for tasks that have not become anybody, it decides everywhere. The kernel's rules are in `vu-api`; here is what they are
//! asked about. They are asked in the top layer only: what a mount does below on behalf of its caller is the mount's own business.

use crate::layer::Layer;
use vu_api::{
    AbsPath, AccessMode, Caller, Credentials, Errno, FileType, Filesystem, Location, OpenFlags, Purpose, RenameFlags,
    Stat, TimeChange, capability, may_chown, may_follow, may_set_times, may_set_xattr, may_take, mode_to_set, owns,
    permitted_with,
};

/// Who is judged by what a mount keeps.
pub struct Judge<'a> {
    layer: &'a Layer,
    who: Credentials,
}

/// With these no file's mode, list or owner forbids anything but the execution of what nobody may execute.
const ALL_OF_FILES: u64 = 1 << capability::CHOWN
    | 1 << capability::DAC_OVERRIDE
    | 1 << capability::FOWNER
    | 1 << capability::FSETID
    | 1 << capability::SETFCAP
    | 1 << capability::SYS_ADMIN
    | 1 << capability::MKNOD;

const WRITE_IN: AccessMode = AccessMode::WRITE.union(AccessMode::EXECUTE);

impl Layer {
    /// The judge of what `caller` does with what lies at `path`; `None` if the host decides.
    #[must_use]
    pub fn judge(&self, path: &AbsPath, caller: &dyn Caller) -> Option<Judge<'_>> {
        self.judge_of(path, caller.judged()?)
    }

    /// The same for this identity.
    #[must_use]
    pub fn judge_of(&self, path: &AbsPath, who: Credentials) -> Option<Judge<'_>> {
        if !self.is_top() || !self.keeps_owners(path) {
            return None;
        }
        let judge = Judge { layer: self, who };
        // What the kernel itself shows of processes and devices is the host's, also in a mount that covers everything.
        if !judge.is_mighty() && self.is_kernels(path) { None } else { Some(judge) }
    }

    /// The judge of who has gone a way by looks of a hypervisor that may search every directory; `None` where the kernel has rules of its own.
    #[must_use]
    pub fn judge_of_way(&self, directory: &AbsPath, who: Credentials) -> Option<Judge<'_>> {
        (!self.is_kernels(directory)).then_some(Judge { layer: self, who })
    }

    fn is_kernels(&self, path: &AbsPath) -> bool {
        let of_kernel = |host: &AbsPath| matches!(host.components().next(), Some(b"proc" | b"sys"));
        matches!(self.locate(path, Purpose::Read), Ok(Location::Host(host)) if of_kernel(&host))
    }

    /// Whether a link that ends a path may be followed ([`vu_api::may_follow`]).
    ///
    /// # Errors
    /// `EACCES`; those of stat(2).
    pub fn may_follow(&self, link: &AbsPath, caller: &dyn Caller) -> Result<(), Errno> {
        let directory = self.stat(&link.parent())?;
        if directory.permissions() & 0o1002 != 0o1002 || setting("protected_symlinks") == 0 {
            return Ok(());
        }
        let who = if self.keeps_owners(link) { caller.credentials() } else { caller.host_credentials() }?;
        may_follow(&directory, &self.stat(link)?, &who)
    }
}

impl Judge<'_> {
    fn is_mighty(&self) -> bool {
        self.who.capabilities & ALL_OF_FILES == ALL_OF_FILES
    }

    /// Access to an object (`inode_permission`).
    ///
    /// # Errors
    /// `EACCES`; those of stat(2).
    pub fn may(&self, path: &AbsPath, mode: AccessMode) -> Result<(), Errno> {
        if self.is_mighty() && !mode.contains(AccessMode::EXECUTE) {
            return Ok(());
        }
        self.may_by(&self.layer.stat(path)?, path, mode)
    }

    fn may_by(&self, stat: &Stat, path: &AbsPath, mode: AccessMode) -> Result<(), Errno> {
        let list = || self.layer.get_xattr(path, b"system.posix_acl_access").ok();
        permitted_with(stat, list, mode, &self.who)
    }

    /// Search of a directory.
    ///
    /// # Errors
    /// As [`may`](Self::may); `ENOTDIR` if it is none.
    pub fn may_search(&self, directory: &AbsPath) -> Result<(), Errno> {
        if self.who.has(capability::DAC_OVERRIDE) || self.who.has(capability::DAC_READ_SEARCH) {
            return Ok(());
        }
        let stat = self.layer.stat(directory)?;
        if stat.file_type() != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        self.may_by(&stat, directory, AccessMode::EXECUTE)
    }

    /// Execution as a program.
    ///
    /// # Errors
    /// `EACCES`; those of stat(2).
    pub fn may_execute(&self, path: &AbsPath) -> Result<(), Errno> {
        self.may(path, AccessMode::EXECUTE)
    }

    /// Opening (`may_open`, `may_o_create`, `fs/namei.c`). What is wrong with the path otherwise is said when it is opened.
    ///
    /// # Errors
    /// `EACCES`; `EPERM` for `O_NOATIME` of what is another's.
    pub fn may_open(&self, path: &AbsPath, flags: OpenFlags) -> Result<(), Errno> {
        if flags.contains(OpenFlags::PATH) {
            return Ok(());
        }
        let stat = match self.layer.stat(path) {
            Ok(stat) => stat,
            Err(Errno::ENOENT) if flags.contains(OpenFlags::CREAT) => return self.may_make(path),
            Err(_) => return Ok(()),
        };
        if flags.contains(OpenFlags::CREAT | OpenFlags::EXCL) {
            return Ok(());
        }
        let mut mode = AccessMode::empty();
        mode.set(AccessMode::READ, flags.reads());
        mode.set(AccessMode::WRITE, flags.writes());
        let is_directory = stat.file_type() == FileType::Directory;
        if flags.contains(OpenFlags::DIRECTORY) && !is_directory {
            return Ok(());
        }
        if is_directory {
            if flags.contains(OpenFlags::TMPFILE) {
                mode = WRITE_IN;
            } else if flags.writes() || flags.contains(OpenFlags::CREAT) {
                // That it is a directory is said first.
                return Ok(());
            }
        }
        if flags.contains(OpenFlags::CREAT) {
            self.may_reuse(path, &stat)?;
        }
        self.may_by(&stat, path, mode)?;
        if flags.contains(OpenFlags::NOATIME) { owns(&stat, &self.who) } else { Ok(()) }
    }

    /// Opening with `O_CREAT` what is there, in a directory where everybody may have put it (`may_create_in_sticky`; proc_sys_fs(5)).
    fn may_reuse(&self, path: &AbsPath, stat: &Stat) -> Result<(), Errno> {
        let level = match stat.file_type() {
            FileType::Regular => setting("protected_regular"),
            FileType::Fifo => setting("protected_fifos"),
            _ => 0,
        };
        let directory = self.layer.stat(&path.parent())?;
        let mode = directory.permissions();
        let trusted = mode & 0o1000 == 0 || stat.uid == directory.uid || stat.uid == self.who.uid;
        let others = mode & 0o002 != 0 || level >= 2 && mode & 0o020 != 0;
        if level == 0 || trusted || !others { Ok(()) } else { Err(Errno::EACCES) }
    }

    /// A further name (`may_linkat`, `vfs_link`): where that is protected, only of what is one's own or could be written to.
    ///
    /// # Errors
    /// `EACCES`, `EPERM`; those of stat(2).
    pub fn may_link(&self, from: &AbsPath, to: &AbsPath) -> Result<(), Errno> {
        if !self.is_mighty() && setting("protected_hardlinks") != 0 {
            // Whether there is a directory to make it in is said first.
            self.layer.stat(&to.parent())?;
            let stat = self.layer.stat(from)?;
            let harmless = stat.file_type() == FileType::Regular
                && stat.mode & libc::S_ISUID == 0
                && stat.permissions() & 0o2010 != 0o2010
                && self.may_by(&stat, from, AccessMode::READ | AccessMode::WRITE).is_ok();
            if !harmless {
                owns(&stat, &self.who)?;
            }
        }
        self.may_make(to)
    }

    /// Making a name (`may_create`).
    ///
    /// # Errors
    /// `EACCES`.
    pub fn may_make(&self, path: &AbsPath) -> Result<(), Errno> {
        self.may_write_in(&path.parent())
    }

    fn may_write_in(&self, directory: &AbsPath) -> Result<(), Errno> {
        if self.is_mighty() { Ok(()) } else { self.may(directory, WRITE_IN) }
    }

    /// Making a special file (`vfs_mknod`).
    ///
    /// # Errors
    /// `EACCES`, `EPERM`.
    pub fn may_make_special(&self, path: &AbsPath, mode: u32) -> Result<(), Errno> {
        self.may_make(path)?;
        let device = matches!(FileType::from_mode(mode), Some(FileType::CharDevice | FileType::BlockDevice));
        if device && !self.who.has(capability::MKNOD) { Err(Errno::EPERM) } else { Ok(()) }
    }

    /// Taking a name away, or giving it to something else (`may_delete`).
    ///
    /// # Errors
    /// `EACCES`, `EPERM`; those of stat(2).
    pub fn may_remove(&self, path: &AbsPath) -> Result<(), Errno> {
        if self.is_mighty() {
            return Ok(());
        }
        let directory = path.parent();
        let above = self.layer.stat(&directory)?;
        self.may_by(&above, &directory, WRITE_IN)?;
        may_take(&above, &self.layer.stat(path)?, &self.who)
    }

    /// Renaming (`vfs_rename`): a directory that gets another parent changes, too, since its `..` does.
    ///
    /// # Errors
    /// As [`may_remove`](Self::may_remove).
    pub fn may_rename(&self, from: &AbsPath, to: &AbsPath, flags: RenameFlags) -> Result<(), Errno> {
        if self.is_mighty() {
            return Ok(());
        }
        let source = self.layer.stat(from)?;
        let target = match self.layer.stat(to) {
            Ok(stat) => Some(stat),
            Err(Errno::ENOENT) => {
                self.layer.stat(&to.parent())?;
                None
            }
            Err(errno) => return Err(errno),
        };
        // What is said without a look at permissions, the mount says.
        let same = target.as_ref().is_some_and(|target| (target.dev, target.ino) == (source.dev, source.ino));
        let taken = target.is_some() && flags.contains(RenameFlags::NOREPLACE);
        if same || taken || from.starts_with(to) || to.starts_with(from) {
            return Ok(());
        }
        let moves = |path: &AbsPath, stat: &Stat| {
            let changes = stat.file_type() == FileType::Directory && from.parent() != to.parent();
            if changes { self.may_by(stat, path, AccessMode::WRITE) } else { Ok(()) }
        };
        self.may_remove(from)?;
        match &target {
            Some(_) => self.may_remove(to)?,
            None => self.may_make(to)?,
        }
        moves(from, &source)?;
        match target {
            Some(target) if flags.contains(RenameFlags::EXCHANGE) => moves(to, &target),
            _ => Ok(()),
        }
    }

    /// The mode that is set when this one is asked for.
    ///
    /// # Errors
    /// `EPERM`; those of stat(2).
    pub fn mode_to_set(&self, path: &AbsPath, mode: u32) -> Result<u32, Errno> {
        if self.is_mighty() { Ok(mode) } else { mode_to_set(&self.layer.stat(path)?, mode, &self.who) }
    }

    /// chown(2).
    ///
    /// # Errors
    /// `EPERM`; those of stat(2).
    pub fn may_chown(&self, path: &AbsPath, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
        if self.is_mighty() { Ok(()) } else { may_chown(&self.layer.stat(path)?, uid, gid, &self.who) }
    }

    /// What only the owner may change, the flags of `chattr` (`vfs_fileattr_set`, `fs/file_attr.c`).
    ///
    /// # Errors
    /// `EPERM`; those of stat(2).
    pub fn owns(&self, path: &AbsPath) -> Result<(), Errno> {
        if self.is_mighty() { Ok(()) } else { owns(&self.layer.stat(path)?, &self.who) }
    }

    /// utimensat(2).
    ///
    /// # Errors
    /// `EPERM`, `EACCES`; those of stat(2).
    pub fn may_set_times(&self, path: &AbsPath, atime: TimeChange, mtime: TimeChange) -> Result<(), Errno> {
        if self.is_mighty() {
            return Ok(());
        }
        let stat = self.layer.stat(path)?;
        may_set_times(&stat, (atime, mtime), || self.may_by(&stat, path, AccessMode::WRITE), &self.who)
    }

    /// setxattr(2), removexattr(2).
    ///
    /// # Errors
    /// `EPERM`, `EACCES`; those of stat(2).
    pub fn may_set_xattr(&self, path: &AbsPath, name: &[u8]) -> Result<(), Errno> {
        let stat = self.layer.stat(path)?;
        may_set_xattr(&stat, name, || self.may_by(&stat, path, AccessMode::WRITE), &self.who)
    }
}

/// A setting of the kernel's file system (proc_sys_fs(5)); 0 if it is not there.
fn setting(name: &str) -> u32 {
    let text = std::fs::read_to_string(format!("/proc/sys/fs/{name}")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}
