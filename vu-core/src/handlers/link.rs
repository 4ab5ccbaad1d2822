//! link(2) of an open file rather than of a name: `linkat(fd, "", …, AT_EMPTY_PATH)`, or by way of its magic link.

use crate::{
    call::Call,
    handlers::{
        rewrite::{Meant, of_mount},
        stat::{magic_descriptor, magic_name},
    },
    resolve::{Meaning, Place},
    sys::{self, Reach},
    task::host_name,
};
use std::os::fd::{AsFd, OwnedFd};
use vu_api::{AbsPath, Errno, Filesystem, Location, Purpose};

/// Whether it is an open file rather than a name.
pub(super) fn is_unnamed(from: &Meant) -> bool {
    match &from.meaning {
        Meaning::Kernel => from.text.is_empty(),
        Meaning::Place(place) => place.opaque,
    }
}

/// Whether it is an open file that a link is to be made to.
pub(super) fn unnamed(meant: &[Meant]) -> bool {
    meant.first().is_some_and(is_unnamed)
}

/// The open file.
fn file(call: &Call<'_>, from: &Meant) -> Result<OwnedFd, Errno> {
    match &from.meaning {
        Meaning::Place(Place { location: Location::Host(link), .. }) => match magic_descriptor(call, link) {
            Some((task, number)) => task.descriptor(number),
            None => sys::open(link.as_bytes(), libc::O_PATH),
        },
        _ => call.task.descriptor(from.dirfd.map_or(libc::AT_FDCWD, |at| call.int(at))),
    }
}

/// The name that an open file has in the view.
fn name(call: &Call<'_>, from: &Meant) -> Result<Option<AbsPath>, Errno> {
    match &from.meaning {
        Meaning::Place(Place { location: Location::Host(link), .. }) => {
            Ok(magic_name(call, link).or_else(|| host_name(sys::read_link_at(link.as_bytes()).ok()?).ok()))
        }
        _ => call.changed_by_name(from.dirfd.map_or(libc::AT_FDCWD, |at| call.int(at))),
    }
}

/// Where an open file belongs to a mount that makes links itself, its name takes its place, if the view has the same object there.
pub(super) fn by_name(call: &Call<'_>, from: &mut Meant) -> Result<(), Errno> {
    if !call.core.has_virtual_files() {
        return Ok(());
    }
    let Some(name) = name(call, from)? else { return Ok(()) };
    if call.layer.locate(&name, Purpose::Change)? == Location::Own && is_same(call, from, &name)? {
        from.meaning = Meaning::Place(of_mount(name));
    }
    Ok(())
}

/// Whether what the view has under a name is the open file, or what has become of it when it was copied: that keeps its number.
fn is_same(call: &Call<'_>, from: &Meant, name: &AbsPath) -> Result<bool, Errno> {
    let open = sys::fstat(file(call, from)?.as_fd())?;
    if call.core.nodes.find(open.st_dev, open.st_ino).is_some() {
        return Ok(true);
    }
    if let Location::Host(there) = call.layer.locate(name, Purpose::Read)?
        && let Ok(there) = sys::stat_at(Reach::Path(there.as_bytes()))
        && (there.st_dev, there.st_ino) == (open.st_dev, open.st_ino)
    {
        return Ok(true);
    }
    Ok(call.layer.stat(name).is_ok_and(|stat| stat.ino == open.st_ino))
}

/// A link to an open file that has no name, made by the tracee itself in a directory that the mount prepares. Only one that was made without a name
/// (`O_TMPFILE`) was surely made there; another could be an object that the mount does not change. Tells the name it gets.
pub(super) fn into_mount(call: &Call<'_>, from: &Meant, to: &mut Meant) -> Result<Option<AbsPath>, Errno> {
    let Meaning::Place(place) = &to.meaning else { return Ok(None) };
    if place.location != Location::Own || place.found {
        return Ok(None);
    }
    if place.must_be_dir {
        return Err(Errno::ENOENT);
    }
    if let Some(judge) = call.layer.judge(&place.name, &*call.task) {
        judge.may_make(&place.name)?;
    }
    let made = place.name.clone();
    let file = file(call, from)?;
    if sys::fstat(file.as_fd())?.st_nlink > 0 && !sys::was_made_unnamed(file.as_fd()) {
        return Err(Errno::EXDEV);
    }
    let place = Place { name: place.name.clone(), location: Location::Own, handle: None, ..*place };
    to.meaning = Meaning::Place(call.for_writing(place, Purpose::Write)?);
    Ok(Some(made))
}
