//! The second look: what the text of a path says by itself, with one proof that no symbolic link stands on its way; and what was walked a moment ago.

use super::{Base, ByText, Need, PathArg, Place};
use crate::{
    call::Call,
    clear::{Seen, Walked},
    sys::{self, At, Final, Reach},
};
use std::{os::fd::AsFd, sync::Arc};
use vu_api::{AbsPath, Caller, Errno, FileType, Filesystem, Location, Probe, Purpose};
use vu_path::Follow;

impl Call<'_> {
    /// The second look.
    pub(super) fn by_text(&self, arg: &PathArg, base: &Base, need: Need) -> Result<ByText, Errno> {
        let mut name = base.view.clone();
        // What the kernel would reach, as long as it is known and not the same.
        let mut kernel = base.host.clone().filter(|host| *host != name);
        let known = base.host.is_some();
        let mut dots = false;
        if arg.has_dot_behind_a_name() {
            return Ok(ByText::Unclear);
        }
        for component in arg.components() {
            if component == b".." {
                dots = true;
                // Only where kernel and view agree on the directory do they agree on what is above it.
                let here = known
                    && self
                        .layer
                        .locate(&name, Purpose::Read)
                        .is_ok_and(|l| matches!(&l, Location::Host(host) if host == kernel.as_ref().unwrap_or(&name)));
                if !here || name.is_root() {
                    return Ok(ByText::Unclear);
                }
                name.pop();
                if let Some(kernel) = &mut kernel {
                    kernel.pop();
                }
            } else {
                if component.len() > vu_api::NAME_MAX {
                    return Ok(ByText::Unclear);
                }
                name.push(component);
                if let Some(kernel) = &mut kernel {
                    kernel.push(component);
                }
            }
        }
        let must_be_dir = arg.path.ends_with(b"/") || arg.path.ends_with(b"/.") || arg.path == b".";
        // Behind a slash a link is followed.
        let last = if arg.follow != Follow::Last && !must_be_dir { Final::Itself } else { Final::Refuse };
        let root = self.task.fs().root.read().is_root();
        match self.layer.locate(&name, Purpose::Read)? {
            Location::Host(host) => {
                let native = root && known && *kernel.as_ref().unwrap_or(&name) == host;
                let place = |found, handle| {
                    let location = Location::Host(host.clone());
                    let (name, file_type) = (name.clone(), None);
                    Place { name, location, found, handle, file_type, must_be_dir, native, opaque: false }
                };
                let same_name = native && host == name;
                let unheld = if native { need != Need::Name && host == name } else { need == Need::Path };
                // What is to be changed may be changed elsewhere, so what is there must be known.
                let looks = need.changes() && self.core.has_virtual_files();
                if unheld && !looks && !dots && !must_be_dir && self.is_clear(&host, last) {
                    // Whether it exists, the kernel will say.
                    return Ok(ByText::Place(place(true, None)));
                }
                if need == Need::Open
                    && !native
                    && !looks
                    && !dots
                    && !must_be_dir
                    && self.core.clear.knows(host.directory())
                {
                    // Where the way is clear, a look that holds nothing is enough, at half the cost.
                    return match sys::stat_at(Reach::Path(host.as_bytes()))
                        .map(|stat| FileType::from_mode(stat.st_mode))
                    {
                        Ok(Some(FileType::Symlink)) if last == Final::Refuse => Ok(ByText::Linked(name)),
                        Ok(file_type) => Ok(ByText::Place(Place { file_type, ..place(true, None) })),
                        Err(Errno::ENOENT) => Ok(ByText::Place(place(false, None))),
                        Err(errno) => Err(errno),
                    };
                }
                if same_name && self.agreed(arg, need) {
                    return Ok(ByText::Place(place(true, None)));
                }
                let looked = if dots && native {
                    // The text itself, since the components before a ".." must be directories, too.
                    let mut text = match &base.host {
                        Some(host) if !arg.is_absolute() => host.as_bytes().to_vec(),
                        _ => Vec::new(),
                    };
                    text.push(b'/');
                    text.extend_from_slice(&arg.path);
                    sys::look_at(At::Root, &text, last)
                } else if dots {
                    return Ok(ByText::Unclear);
                } else {
                    sys::look_at(At::Root, host.as_bytes(), last)
                };
                match looked {
                    Ok(handle) => {
                        if !dots {
                            self.note_clear(&host, last);
                        }
                        Ok(ByText::Place(place(true, Some(handle))))
                    }
                    Err(Errno::ELOOP) if dots => Ok(ByText::Unclear),
                    // The name says nothing of a component that a ".." takes back, and that may be what is missing.
                    Err(_) if dots && (need.is_of_the_name() || self.core.has_virtual_files()) => Ok(ByText::Unclear),
                    Err(Errno::ELOOP) => Ok(ByText::Linked(name)),
                    Err(Errno::ENOENT) => {
                        if !dots {
                            self.note_clear(&host, Final::Itself);
                        }
                        Ok(ByText::Place(place(false, None)))
                    }
                    // The kernel finds the same, and knows best which error comes first.
                    Err(_) if native => Ok(ByText::Place(place(false, None))),
                    Err(errno) => Err(errno),
                }
            }
            Location::Own => {
                if dots {
                    return Ok(ByText::Unclear);
                }
                let probed = match self.layer.probe(&name) {
                    Ok(Probe::Symlink) => return Ok(ByText::Unclear),
                    Ok(Probe::Found { file_type: Some(file_type), handle }) => Ok((file_type, handle)),
                    Ok(Probe::Found { file_type: None, handle }) => {
                        self.layer.stat(&name).map(|stat| (stat.file_type(), handle))
                    }
                    Err(errno) => Err(errno),
                };
                let (found, handle) = match probed {
                    Ok((FileType::Symlink, _)) if last == Final::Refuse => return Ok(ByText::Unclear),
                    Ok((file_type, _)) if must_be_dir && file_type != FileType::Directory => {
                        return Err(Errno::ENOTDIR);
                    }
                    Ok((_, handle)) => (true, handle),
                    // It may have gone between two looks at it.
                    Err(Errno::ENOENT) => (false, None),
                    Err(errno) => return Err(errno),
                };
                let location = Location::Own;
                let (file_type, native) = (None, false);
                Ok(ByText::Place(Place {
                    name,
                    location,
                    found,
                    handle,
                    file_type,
                    must_be_dir,
                    native,
                    opaque: false,
                }))
            }
        }
    }

    /// Whether no symbolic link stands on the way to a path of the host, as far as it matters: the way was found clear a moment ago, and the last
    /// component is no link, or is not followed.
    fn is_clear(&self, name: &AbsPath, last: Final) -> bool {
        let clear = &self.core.clear;
        match last {
            Final::Itself => clear.knows(name.directory()),
            Final::Refuse => {
                clear.knows(name.as_bytes())
                    || clear.knows(name.directory()) && self.is_no_link(At::Root, name.as_bytes())
            }
        }
    }

    fn note_clear(&self, name: &AbsPath, last: Final) {
        if last == Final::Refuse {
            self.core.clear.note(name.as_bytes());
        }
        self.core.clear.note(name.directory());
    }

    /// Whether an absolute path, with the links on its way, was found to lead the kernel to what the view means. Its name is not known then.
    fn agreed(&self, arg: &PathArg, need: Need) -> bool {
        self.can_agree(arg)
            && matches!(need, Need::Object | Need::Path | Need::Open)
            && !self.core.has_listed_mounts()
            && self.core.clear.agree(&arg.path, self.seen())
    }

    pub(super) fn can_agree(&self, arg: &PathArg) -> bool {
        // Where a mount keeps changes elsewhere, what the host's path leads to may not be what is meant a moment later.
        arg.is_absolute() && arg.follow == Follow::Last && arg.resolve.is_empty() && !self.core.has_virtual_files()
    }

    /// What a path with links on its way, in a mount, led to a moment ago, if the host's look-up of it leads there now: every directory on the way
    /// may still be searched, and the links lead where they led.
    pub(super) fn walked_before(&self, arg: &PathArg, need: Need) -> Option<Place> {
        if !matches!(need, Need::Object | Need::Path | Need::Open) || !self.can_be_walked_before(arg) {
            return None;
        }
        let Walked { name, host, object } = self.core.clear.walked(&arg.path, self.seen())?;
        let text = AbsPath::new(&arg.path[..]).ok()?;
        let Ok(Location::Host(text)) = self.layer.locate(&text, Purpose::Read) else { return None };
        let handle = sys::open(text.as_bytes(), libc::O_PATH).ok()?;
        let stat = sys::fstat(handle.as_fd()).ok()?;
        ((stat.st_dev, stat.st_ino) == object).then(|| Place {
            name,
            location: Location::Host(host),
            found: true,
            handle: Some(handle),
            file_type: FileType::from_mode(stat.st_mode),
            must_be_dir: false,
            native: false,
            opaque: false,
        })
    }

    pub(super) fn can_be_walked_before(&self, arg: &PathArg) -> bool {
        self.can_agree(arg)
            && !arg.path.ends_with(b"/")
            && arg.components().all(|name| name != b"..")
            && !self.core.has_listed_mounts()
            && !self.task.is_virtual()
            && self.task.fs().root.read().is_root()
    }

    pub(crate) fn seen(&self) -> Seen {
        Seen { view: Arc::as_ptr(&self.view).addr(), generation: self.generation }
    }
}
