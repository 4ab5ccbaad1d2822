//! The tree that is walked.

use vu_api::{AbsPath, Errno, FileType, Filesystem, Probe};

/// A tree of files as the walk sees it, on behalf of one caller.
///
/// The paths it is asked for contain no symbolic link, the last component excepted. A mount point may stand where the directory
/// above does not list it, or does not exist any more: the walk never concludes from a parent to its entries.
pub trait Tree {
    /// Looks at one object and follows nothing.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR` (the directory is none), `EACCES` (no permission to search the directory), others as path_resolution(7).
    fn look(&self, path: &AbsPath) -> Result<Look, Errno>;

    /// Looks at many components in one go: [`Filesystem::probe`]. Here, any component *may* be a link. The default says
    /// that the walk must go step by step.
    ///
    /// # Errors
    /// As [`look`](Self::look); final, that is, no symbolic link stands before the component that causes it.
    fn probe(&self, _path: &AbsPath) -> Result<Probe, Errno> {
        Ok(Probe::Symlink)
    }

    /// Looks at a name behind which another one stands: is it a link? What is none, and no directory either, may be called a directory here, for then the look
    /// at the next name fails, with `ENOTDIR`; where that can be told for less. The default looks as ever.
    ///
    /// # Errors
    /// As [`look`](Self::look).
    fn pass(&self, path: &AbsPath) -> Result<Look, Errno> {
        self.look(path)
    }

    /// Looks at the object at the end of a path, which is not followed. Of a link, nobody asks for the target, and to read it would change when it was last read: it may be
    /// left out. The default looks as ever.
    ///
    /// # Errors
    /// As [`look`](Self::look).
    fn end(&self, path: &AbsPath) -> Result<Look, Errno> {
        self.look(path)
    }

    /// Whether names may be looked up in this directory. Asked only for `.` and `..`, since the other methods judge for
    /// names (`may_lookup`, `fs/namei.c`). The default permits it.
    ///
    /// # Errors
    /// `EACCES`.
    fn search(&self, _directory: &AbsPath) -> Result<(), Errno> {
        Ok(())
    }

    /// Whether a symbolic link that ends the path may be followed (`may_follow_link`, `fs/namei.c`). The default permits it.
    ///
    /// # Errors
    /// `EACCES`.
    fn may_follow(&self, _link: &AbsPath) -> Result<(), Errno> {
        Ok(())
    }
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// A directory.
    Directory,
    /// A symbolic link, with its target.
    Symlink(Vec<u8>),
    /// A magic link of proc(5): `/proc/PID/fd/N`, `cwd`, `root`, `exe`.
    Magic(Magic),
    /// Anything else.
    Other,
}

/// Where a magic link leads: to an object, whatever its text says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Magic {
    /// To the object of this path, in which no component is a symbolic link that would have to be followed.
    Jump(AbsPath),
    /// To an object without a path: a pipe, a socket, a deleted file. Only the kernel can follow it.
    Opaque,
}

/// Any file system as a tree, without magic links: how a mount's own paths are walked in the layer below it.
#[derive(Debug)]
pub struct Plain<'a, F: ?Sized>(pub &'a F);

impl<F: Filesystem + ?Sized> Tree for Plain<'_, F> {
    fn look(&self, path: &AbsPath) -> Result<Look, Errno> {
        Ok(match self.0.stat(path)?.file_type() {
            FileType::Directory => Look::Directory,
            FileType::Symlink => Look::Symlink(self.0.read_link(path)?),
            _ => Look::Other,
        })
    }

    fn probe(&self, path: &AbsPath) -> Result<Probe, Errno> {
        self.0.probe(path)
    }

    fn end(&self, path: &AbsPath) -> Result<Look, Errno> {
        Ok(Look::without_target(self.0.stat(path)?.file_type()))
    }
}

impl Look {
    /// What stands there by its type alone.
    #[must_use]
    pub fn without_target(file_type: FileType) -> Look {
        match file_type {
            FileType::Directory => Look::Directory,
            FileType::Symlink => Look::Symlink(Vec::new()),
            _ => Look::Other,
        }
    }
}
