//! Where what is to be changed, or listed, lives: asked of the mount once it is known what will be done.
//!
//! A path is resolved for a look at its object. For most mounts that is where changes go, too; a mount that keeps them elsewhere (`cow`)
//! names another place, after having prepared it, or does the change itself.

use crate::{
    call::Call,
    handlers::stat::magic_name,
    host,
    resolve::Place,
    sys::{self, At, Final, Reach},
    task::{REMOVED, host_name},
};
use std::os::fd::{AsFd, BorrowedFd};
use vu_api::{AbsPath, Caller, Errno, FileType, Filesystem, Location, OpenFlags, Purpose, Removed, Shows, Stat};

impl Call<'_> {
    /// The place where an object is to be written to, or made.
    ///
    /// # Errors
    /// Those of [`Filesystem::locate`].
    pub(super) fn for_writing(&self, place: Place, purpose: Purpose) -> Result<Place, Errno> {
        let location = self.layer.locate(&place.name, purpose)?;
        self.found_for_writing(place, location)
    }

    /// The same, of what was located just now.
    fn found_for_writing(&self, mut place: Place, location: Location) -> Result<Place, Errno> {
        if location == place.location {
            return Ok(place);
        }
        (place.found, place.handle) = match &location {
            Location::Host(host) => match sys::look_at(At::Root, host.as_bytes(), Final::Itself) {
                Ok(handle) => (true, Some(handle)),
                Err(Errno::ENOENT) => (false, None),
                Err(errno) => return Err(errno),
            },
            Location::Own => (place.found, None),
        };
        place.file_type = None;
        place.native = false;
        place.location = location;
        Ok(place)
    }

    /// The place where a file is to be made that is not there. Whoever makes it hears if it has come meanwhile.
    fn for_making(&self, place: Place) -> Result<Place, Errno> {
        let location = self.layer.locate(&place.name, Purpose::Write)?;
        let native = place.native && location == place.location;
        Ok(Place { location, native, handle: None, file_type: None, ..place })
    }

    /// The place that an open with these flags works on.
    ///
    /// # Errors
    /// Those of [`Filesystem::locate`].
    pub(super) fn for_opening(&self, mut place: Place, flags: OpenFlags) -> Result<Place, Errno> {
        let path_only = flags.contains(OpenFlags::PATH);
        let unnamed = flags.contains(OpenFlags::TMPFILE) && !path_only;
        // Of all others, reading and changing happen at the same place. A file without a name is made by the tracee, for only who has opened it may
        // give it one (`do_linkat`, fs/namei.c).
        if !self.core.has_virtual_files() || place.opaque || place.host().is_none() && place.found && !unnamed {
            return Ok(place);
        }
        let file_type = match place.found.then(|| place.file_type(self)) {
            Some(Ok(file_type)) => Some(file_type),
            None | Some(Err(Errno::ENOENT)) => None,
            Some(Err(errno)) => return Err(errno),
        };
        place.found = file_type.is_some();
        let writes = flags.writes() && !path_only;
        let wants_directory = place.must_be_dir || flags.contains(OpenFlags::DIRECTORY);
        match file_type {
            Some(FileType::Directory) if unnamed => self.for_writing(place, Purpose::Write),
            Some(FileType::Directory) => Ok(self.for_listing(place)?),
            // What fails changes nothing.
            Some(FileType::Regular) if wants_directory || flags.contains(OpenFlags::CREAT | OpenFlags::EXCL) => {
                Ok(place)
            }
            Some(FileType::Regular) if writes => {
                let purpose = if flags.contains(OpenFlags::TRUNC) { Purpose::Replace } else { Purpose::Write };
                match self.layer.locate(&place.name, purpose) {
                    // It was removed a moment ago.
                    Err(Errno::ENOENT) if flags.contains(OpenFlags::CREAT) => {
                        self.for_making(Place { found: false, ..place })
                    }
                    located => self.found_for_writing(place, located?),
                }
            }
            None if flags.contains(OpenFlags::CREAT) && !path_only => self.for_making(place),
            _ => Ok(place),
        }
    }

    /// Whether the caller may open an object so, as far as its mount keeps who may.
    ///
    /// # Errors
    /// `EACCES`, `EPERM`.
    pub(super) fn may_open(&self, place: &Place, flags: OpenFlags) -> Result<(), Errno> {
        if !self.task.is_virtual() {
            return Ok(());
        }
        // A magic link leads to an object that is open already, and may be opened once more by who may open it at all.
        let magic = if place.opaque { place.host().and_then(|link| magic_name(self, link)) } else { None };
        if place.opaque && magic.is_none() {
            return Ok(());
        }
        let name = magic.as_ref().unwrap_or(&place.name);
        self.layer.judge(name, &*self.task).map_or(Ok(()), |judge| judge.may_open(name, flags))
    }

    /// Has the host let the caller open what it may: in a mount that keeps modes of its own, that on the host may be in the way.
    ///
    /// # Errors
    /// Those of [`Filesystem::unlock`].
    pub(super) fn let_open(&self, place: &Place, flags: OpenFlags) -> Result<(), Errno> {
        if !self.task.is_virtual() || place.opaque || flags.contains(OpenFlags::PATH) {
            return Ok(());
        }
        let Some(host) = place.host() else { return Ok(()) };
        let (object, mode) = if place.found {
            let reads = if flags.reads() { libc::R_OK } else { 0 };
            (host.clone(), reads | if flags.writes() { libc::W_OK } else { 0 })
        } else {
            (host.parent(), libc::W_OK | libc::X_OK)
        };
        self.let_at(&object, &place.name, mode)
    }

    /// The same for a program that is executed, or another access (access(2)).
    ///
    /// # Errors
    /// Those of [`Filesystem::unlock`].
    pub(super) fn let_access(&self, place: &Place, mode: i32) -> Result<(), Errno> {
        match place.host() {
            Some(host) if self.task.is_virtual() && !place.opaque => self.let_at(host, &place.name, mode),
            _ => Ok(()),
        }
    }

    fn let_at(&self, object: &AbsPath, name: &AbsPath, mode: i32) -> Result<(), Errno> {
        let refused = sys::access(Reach::Path(object.as_bytes()), mode, libc::AT_EACCESS) == Err(Errno::EACCES);
        if refused && self.layer.keeps_owners(name) {
            self.layer.unlock(name)?;
        }
        Ok(())
    }

    /// The place of a directory that is opened, or made the working directory.
    ///
    /// # Errors
    /// Those of [`Filesystem::locate`].
    pub(super) fn for_listing(&self, mut place: Place) -> Result<Place, Errno> {
        if self.core.has_virtual_files()
            && !place.opaque
            && self.layer.locate(&place.name, Purpose::List)? == Location::Own
        {
            place.location = Location::Own;
            place.native = false;
        }
        Ok(place)
    }

    /// The place that tells the attributes of an object, or those that `purpose` says.
    ///
    /// # Errors
    /// Those of [`Filesystem::locate`].
    pub(super) fn for_attributes(&self, mut place: Place, purpose: Purpose) -> Result<Place, Errno> {
        if self.core.has_virtual_files()
            && !place.opaque
            && place.host().is_some()
            && self.layer.locate(&place.name, purpose)? == Location::Own
        {
            place.location = Location::Own;
            place.native = false;
            place.handle = None;
        }
        Ok(place)
    }

    /// The attributes that a mount keeps of an open file of the host, if it keeps any.
    ///
    /// # Errors
    /// Those of [`Filesystem::stat`].
    pub(super) fn kept_attributes(&self, number: i32, fd: BorrowedFd<'_>) -> Result<Option<Stat>, Errno> {
        match self.kept_name(number, fd, Purpose::Attributes)? {
            Some(name) => self.layer.stat(&name).map(Some),
            None => Ok(self.removed(number, fd)?.map(|removed| removed.stat)),
        }
    }

    /// What is told of an open file of the host that was removed, if its mount may have kept something of it.
    ///
    /// # Errors
    /// Those of looking at it.
    pub(super) fn removed(&self, number: i32, fd: BorrowedFd<'_>) -> Result<Option<Removed>, Errno> {
        // An object that has lost one of its names may have others only where a mount of ours counts them.
        if sys::fstat(fd)?.st_nlink != 0 && !self.core.has_virtual_files() || self.opened_natively(fd) {
            return Ok(None);
        }
        let named = self.removed_name(&self.task, number);
        let Some(name) = named.and_then(|name| AbsPath::new(name.as_bytes().strip_suffix(REMOVED)?).ok()) else {
            return Ok(None);
        };
        let object = Removed { stat: host::stat_of(fd)?, xattrs: host::xattrs_of(fd)? };
        Ok(Some(self.layer.removed(&name, object)))
    }

    /// The name in the view of an open file of the host, if its mount keeps attributes of it, or those that `purpose` says.
    ///
    /// # Errors
    /// Those of [`Filesystem::locate`].
    pub(super) fn kept_name(
        &self,
        number: i32,
        fd: BorrowedFd<'_>,
        purpose: Purpose,
    ) -> Result<Option<AbsPath>, Errno> {
        // What has no route is open where kernel and view agree.
        if self.opened_natively(fd) {
            return Ok(None);
        }
        let Some((name, host)) = self.name_and_host(number, fd) else { return Ok(None) };
        if self.layer.locate(&name, purpose)? != Location::Own {
            return Ok(None);
        }
        match self.layer.locate(&name, Purpose::Read)? {
            Location::Host(there) if there == host => Ok(Some(name)),
            _ => Ok(None),
        }
    }

    /// The names of an open file of the host, in the view and there.
    fn name_and_host(&self, number: i32, fd: BorrowedFd<'_>) -> Option<(AbsPath, AbsPath)> {
        let host = self.host_of(number)?;
        let name = self.name_of(fd, &host).unwrap_or_else(|| host.clone());
        Some((name, host))
    }

    /// Whether a descriptor is open on the host's object of this name.
    pub(super) fn is_open_at(&self, number: i32, there: &AbsPath) -> bool {
        self.host_of(number).is_some_and(|host| host == *there)
    }

    fn host_of(&self, number: i32) -> Option<AbsPath> {
        let link = sys::read_link(self.task.proc().ok()?, &format!("fd/{number}")).ok()?;
        host_name(link).ok()
    }

    /// The place that tells by inotify(7) what happens in a directory: that where names are made.
    pub(super) fn for_watching(&self, place: Place) -> Place {
        let listed_by_mount = self.core.has_virtual_files()
            && !place.opaque
            && place.found
            && self.layer.locate(&place.name, Purpose::List) == Ok(Location::Own);
        if !listed_by_mount || !place.file_type(self).is_ok_and(|kind| kind == FileType::Directory) {
            return place;
        }
        match self.layer.locate(&place.name, Purpose::Write) {
            Ok(location @ Location::Host(_)) => Place { location, handle: None, native: false, ..place },
            // Nothing is made where nothing can be written to: what is read there is watched.
            _ => place,
        }
    }

    /// A host's name of an object that its mount keeps itself, for calls that need one.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if it has none; those of [`Filesystem::locate`].
    pub(super) fn with_host_name(&self, place: Place) -> Result<Place, Errno> {
        let place = self.for_writing(place, Purpose::Write)?;
        if place.location == Location::Own { Err(Errno::EOPNOTSUPP) } else { Ok(place) }
    }

    /// The name under which the object of a descriptor is to have its attributes changed: that of a virtual file, and of one whose mount changes attributes
    /// itself. `None` for all others: the kernel's own call is right.
    ///
    /// # Errors
    /// Those of [`Filesystem::locate`].
    pub(super) fn changed_by_name(&self, number: i32) -> Result<Option<AbsPath>, Errno> {
        if !self.core.has_virtual_files() || number < 0 {
            return Ok(None);
        }
        let Ok(fd) = self.task.descriptor(number) else { return Ok(None) };
        if let Some(lent) = self.lent_by(&self.task, number, fd.as_fd()) {
            return if lent.shows == Shows::Nothing { Err(Errno::ENOENT) } else { Ok(Some(lent.name)) };
        }
        let Some((name, _)) = self.name_and_host(number, fd.as_fd()) else {
            // A placeholder has a name of its mount alone.
            return Ok(self.descriptor_name(&self.task, number));
        };
        Ok((self.layer.locate(&name, Purpose::Change)? == Location::Own).then_some(name))
    }
}
