//! The host's file system, against what std says of the same files.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
    path::PathBuf,
};
use tempfile::TempDir;
use vu_api::{
    AbsPath, AccessMode, Credentials, Errno, FileType, Filesystem, Location, OpenFlags, OpenHow, Opened, Probe,
    Purpose, RenameFlags, Stat, Time, TimeChange, XattrFlags,
    testing::{As, path},
};
use vu_core::host::{HostFs, stat_of};

struct Tree {
    host: HostFs,
    dir: TempDir,
    me: As,
}

/// A directory with `file` (3 bytes), `dir`, and the symbolic links `link` → `file`, `dirlink` → `dir`, `dangling`.
fn tree() -> Tree {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("file"), "abc").unwrap();
    fs::create_dir(at("dir")).unwrap();
    fs::write(at("dir/inner"), "").unwrap();
    symlink("file", at("link")).unwrap();
    symlink("dir", at("dirlink")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    let own = fs::metadata(dir.path()).unwrap();
    let me = As(Credentials { uid: own.uid(), gid: own.gid(), groups: Vec::new(), umask: 0o027, capabilities: 0 });
    Tree { host: HostFs::new().unwrap(), dir, me }
}

impl Tree {
    fn std(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    fn at(&self, name: &str) -> AbsPath {
        path(self.std(name).to_str().unwrap())
    }

    fn open(&self, name: &str, flags: OpenFlags) -> Result<std::os::fd::OwnedFd, Errno> {
        match self.host.open(&self.at(name), &OpenHow { flags, mode: 0o666 }, &self.me)? {
            Opened::Host(fd) => Ok(fd),
            Opened::Virtual(_) => panic!("the host has no virtual files"),
        }
    }
}

#[test]
fn everything_is_located_where_it_is() {
    let t = tree();
    for purpose in [Purpose::Read, Purpose::Change, Purpose::Execute] {
        assert_eq!(t.host.locate(&t.at("none"), purpose), Ok(Location::Host(t.at("none"))));
    }
}

#[test]
fn attributes() {
    let t = tree();
    for name in ["file", "dir", "link", "dangling"] {
        let (ours, std) = (t.host.stat(&t.at(name)).unwrap(), fs::symlink_metadata(t.std(name)).unwrap());
        assert_eq!(
            (ours.dev, ours.ino, ours.mode, ours.nlink, ours.uid, ours.gid, ours.size, ours.blocks),
            (std.dev(), std.ino(), std.mode(), std.nlink(), std.uid(), std.gid(), std.size(), std.blocks())
        );
        assert_eq!((ours.mtime.secs, i64::from(ours.mtime.nanos)), (std.mtime(), std.mtime_nsec()));
    }
    let null = t.host.stat(&path("/dev/null")).unwrap();
    assert_eq!((null.file_type(), null.rdev), (FileType::CharDevice, libc::makedev(1, 3)));
    assert_eq!(t.host.stat(&t.at("none")).err(), Some(Errno::ENOENT));
    assert_eq!(t.host.stat(&t.at("file/x")).err(), Some(Errno::ENOTDIR));
    assert_eq!(t.host.stat(&t.at(&"x".repeat(256))).err(), Some(Errno::ENAMETOOLONG));
    let statfs = t.host.statfs(&t.at("file")).unwrap();
    assert!(statfs.bsize > 0 && statfs.namelen >= 255 && statfs.fs_type != 0);
}

#[test]
fn a_probe_gives_a_handle_or_a_link_on_the_way() {
    let t = tree();
    let probe = |name: &str| t.host.probe(&t.at(name));
    for name in ["file", "link", "dir", "dangling", "dir/inner"] {
        let Ok(Probe::Found { handle: Some(handle), .. }) = probe(name) else { panic!("{name}") };
        assert_eq!(stat_of(handle).unwrap(), t.host.stat(&t.at(name)).unwrap(), "{name}");
    }
    for name in ["dirlink/inner", "dirlink/none", "dangling/x", "link/x"] {
        assert!(matches!(probe(name), Ok(Probe::Symlink)), "{name}");
    }
    assert_eq!(probe("dir/none").err(), Some(Errno::ENOENT));
    assert_eq!(probe("file/x").err(), Some(Errno::ENOTDIR));
    assert!(matches!(t.host.probe(&path("/proc/self/fd")), Ok(Probe::Symlink)));
    assert!(matches!(t.host.probe(&AbsPath::root()), Ok(Probe::Found { .. })));
}

/// The whole point of this file system: whatever is asked, a link that was put on the way meanwhile leads nowhere.
#[test]
fn nothing_follows_a_link_on_the_way() {
    let t = tree();
    let (h, me) = (&t.host, &t.me);
    let at = t.at("dirlink/inner");
    let new = t.at("dirlink/new");
    let all = [
        h.stat(&at).map(drop),
        h.read_link(&at).map(drop),
        h.access(&at, AccessMode::empty(), me),
        h.mkdir(&new, 0o777, me),
        h.mknod(&new, libc::S_IFREG | 0o600, 0, me),
        h.unlink(&at, me),
        h.rmdir(&at, me),
        h.rename(&at, &t.at("dir/y"), RenameFlags::empty(), me),
        h.rename(&t.at("file"), &new, RenameFlags::empty(), me),
        h.link(&at, &t.at("y"), me),
        h.link(&t.at("file"), &new, me),
        h.symlink(b"x", &new, me),
        h.chmod(&at, 0, me),
        h.chown(&at, None, None, me),
        h.utimens(&at, TimeChange::Now, TimeChange::Now, me),
        h.truncate(&at, 0, me),
        h.statfs(&at).map(drop),
        h.get_xattr(&at, b"user.x").map(drop),
        h.list_xattr(&at).map(drop),
        h.set_xattr(&at, b"user.x", b"", XattrFlags::empty(), me),
        h.remove_xattr(&at, b"user.x", me),
        t.open("dirlink/inner", OpenFlags::empty()).map(drop),
        t.open("link", OpenFlags::empty()).map(drop),
        t.open("dangling", OpenFlags::CREAT | OpenFlags::WRONLY).map(drop),
    ];
    for (i, result) in all.into_iter().enumerate() {
        assert_eq!(result, Err(Errno::ELOOP), "operation {i}");
    }
    assert_eq!(fs::read_dir(t.std("dir")).unwrap().count(), 1);
    assert!(!t.std("nowhere").exists());
}

#[test]
fn opening() {
    let t = tree();
    let status = |fd: &std::os::fd::OwnedFd| {
        fs::read_to_string(format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(fd))).unwrap()
    };
    let flags_of = |fd: &std::os::fd::OwnedFd| {
        let info = status(fd);
        let octal = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
        i32::from_str_radix(octal.trim(), 8).unwrap()
    };
    // As std's open leaves them: F_GETFL shows O_LARGEFILE, and nothing of what is only for the opening.
    let native = fs::OpenOptions::new().read(true).append(true).open(t.std("file")).unwrap();
    let ours = t.open("file", OpenFlags::RDWR | OpenFlags::APPEND | OpenFlags::from_bits_retain(1 << 30)).unwrap();
    assert_eq!(flags_of(&ours), flags_of(&native.into()));
    let link = t.open("link", OpenFlags::PATH | OpenFlags::RDWR | OpenFlags::CREAT).unwrap();
    assert_eq!(stat_of(link).unwrap().file_type(), FileType::Symlink);

    t.open("new", OpenFlags::CREAT | OpenFlags::WRONLY).unwrap();
    assert_eq!(fs::metadata(t.std("new")).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(t.open("new", OpenFlags::CREAT | OpenFlags::EXCL).err(), Some(Errno::EEXIST));
    assert_eq!(t.open("dir", OpenFlags::WRONLY).err(), Some(Errno::EISDIR));
    assert_eq!(t.open("file", OpenFlags::DIRECTORY).err(), Some(Errno::ENOTDIR));
    t.open("dir", OpenFlags::TMPFILE | OpenFlags::WRONLY).unwrap();
}

#[test]
fn links() {
    let t = tree();
    assert_eq!(t.host.read_link(&t.at("link")).unwrap(), b"file");
    assert_eq!(t.host.read_link(&t.at("file")).err(), Some(Errno::EINVAL));
    let long = vec![b'x'; 4095];
    t.host.symlink(&long, &t.at("long"), &t.me).unwrap();
    assert_eq!(t.host.read_link(&t.at("long")).unwrap(), long);
    assert_eq!(t.host.symlink(b"", &t.at("empty"), &t.me), Err(Errno::ENOENT));
    assert_eq!(t.host.symlink(b"a\0b", &t.at("nul"), &t.me), Err(Errno::EINVAL));
    // A hard link of a symbolic link is one of the link.
    t.host.link(&t.at("link"), &t.at("hard"), &t.me).unwrap();
    assert_eq!(fs::read_link(t.std("hard")).unwrap(), PathBuf::from("file"));
}

#[test]
fn making_and_removing_names() {
    let t = tree();
    let (h, me) = (&t.host, &t.me);
    h.mkdir(&t.at("d"), 0o777, me).unwrap();
    assert_eq!(fs::metadata(t.std("d")).unwrap().permissions().mode() & 0o7777, 0o750);
    assert_eq!(h.mkdir(&t.at("d"), 0o777, me), Err(Errno::EEXIST));
    h.mknod(&t.at("fifo"), libc::S_IFIFO | 0o666, 0, me).unwrap();
    let fifo = fs::metadata(t.std("fifo")).unwrap();
    assert!(fifo.file_type().is_fifo() && fifo.permissions().mode() & 0o777 == 0o640);
    assert_eq!(h.unlink(&t.at("d"), me), Err(Errno::EISDIR));
    assert_eq!(h.rmdir(&t.at("file"), me), Err(Errno::ENOTDIR));
    assert_eq!(h.rmdir(&t.at("dir"), me), Err(Errno::ENOTEMPTY));
    h.rmdir(&t.at("d"), me).unwrap();
    h.unlink(&t.at("link"), me).unwrap();
    assert!(t.std("file").exists() && !t.std("d").exists());
    let replace = |flags| h.rename(&t.at("fifo"), &t.at("file"), flags, me);
    assert_eq!(replace(RenameFlags::NOREPLACE), Err(Errno::EEXIST));
    replace(RenameFlags::EXCHANGE).unwrap();
    assert!(fs::metadata(t.std("file")).unwrap().file_type().is_fifo());
    replace(RenameFlags::empty()).unwrap();
    assert_eq!(fs::read(t.std("file")).unwrap(), b"abc");
    let root = AbsPath::root();
    assert_eq!(h.mkdir(&root, 0, me), Err(Errno::EEXIST));
    assert_eq!(h.rmdir(&root, me), Err(Errno::EBUSY));
    assert_eq!(h.unlink(&root, me), Err(Errno::EISDIR));
}

#[test]
fn changing_attributes() {
    let t = tree();
    let (h, me) = (&t.host, &t.me);
    h.chmod(&t.at("file"), 0o100_751, me).unwrap();
    assert_eq!(fs::metadata(t.std("file")).unwrap().mode() & 0o7777, 0o751);
    assert_eq!(h.chmod(&t.at("link"), 0o600, me), Err(Errno::EOPNOTSUPP), "a link has no mode to change");
    assert_eq!(fs::metadata(t.std("file")).unwrap().mode() & 0o7777, 0o751);
    h.chown(&t.at("link"), Some(me.0.uid), None, me).unwrap();

    let times = |name: &str| {
        let stat: Stat = h.stat(&t.at(name)).unwrap();
        (stat.atime, stat.mtime)
    };
    let (then, before) = (Time { secs: -5, nanos: 7 }, times("file"));
    h.utimens(&t.at("link"), TimeChange::Set(then), TimeChange::Omit, me).unwrap();
    assert_eq!((times("link").0, times("file")), (then, before));
    h.utimens(&t.at("file"), TimeChange::Omit, TimeChange::Set(then), me).unwrap();
    assert_eq!(times("file"), (before.0, then));
    h.utimens(&t.at("file"), TimeChange::Omit, TimeChange::Now, me).unwrap();
    assert!(times("file").1 > before.1);

    h.truncate(&t.at("file"), 1, me).unwrap();
    assert_eq!(fs::read(t.std("file")).unwrap(), b"a");
    assert_eq!(h.truncate(&t.at("dir"), 0, me), Err(Errno::EISDIR));
    assert_eq!(h.truncate(&t.at("file"), u64::MAX, me), Err(Errno::EFBIG));
}

#[test]
fn extended_attributes() {
    let t = tree();
    let (h, me, file) = (&t.host, &t.me, t.at("file"));
    let long = vec![7; 1000];
    h.set_xattr(&file, b"user.a", &long, XattrFlags::CREATE, me).unwrap();
    assert_eq!(h.set_xattr(&file, b"user.a", b"", XattrFlags::CREATE, me), Err(Errno::EEXIST));
    h.set_xattr(&file, b"user.b", b"", XattrFlags::empty(), me).unwrap();
    assert_eq!(h.get_xattr(&file, b"user.a").unwrap(), long);
    assert_eq!(h.get_xattr(&file, b"user.b").unwrap(), b"");
    let mut names = h.list_xattr(&file).unwrap();
    names.retain(|name| name.starts_with(b"user."));
    names.sort();
    assert_eq!(names, [b"user.a", b"user.b"]);
    h.remove_xattr(&file, b"user.a", me).unwrap();
    assert_eq!(h.get_xattr(&file, b"user.a").err(), Some(Errno::ENODATA));
    assert_eq!(h.set_xattr(&t.at("link"), b"user.c", b"", XattrFlags::empty(), me), Err(Errno::EPERM), "not of a link");
}

/// As root, what a caller makes is its own, and what it may not do is refused; without privilege nothing changes.
#[test]
fn callers_have_their_own_rights() {
    let t = tree();
    fs::set_permissions(t.dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(t.std("file"), fs::Permissions::from_mode(0o600)).unwrap();
    let own = fs::metadata(t.dir.path()).unwrap().uid();
    let user = As(Credentials { uid: 12345, gid: 23456, groups: vec![34567], umask: 0, capabilities: 0 });
    let how = OpenHow { flags: OpenFlags::empty(), mode: 0 };
    t.host.mkdir(&t.at("theirs"), 0o700, &user).unwrap();
    let made = fs::metadata(t.std("theirs")).unwrap();
    let (open, access) =
        (t.host.open(&t.at("file"), &how, &user).map(drop), t.host.access(&t.at("file"), AccessMode::READ, &user));
    if own == 0 {
        assert_eq!((made.uid(), made.gid()), (12345, 23456));
        assert_eq!((open, access), (Err(Errno::EACCES), Err(Errno::EACCES)));
        fs::set_permissions(t.std("file"), fs::Permissions::from_mode(0o040)).unwrap();
        std::os::unix::fs::chown(t.std("file"), None, Some(34567)).unwrap();
        assert!(t.host.open(&t.at("file"), &how, &user).is_ok(), "by a supplementary group");
    } else {
        assert_eq!(made.uid(), own);
        assert_eq!((open, access), (Ok(()), Ok(())));
    }
    // The hypervisor has its own again.
    t.host.mkdir(&t.at("ours"), 0o700, &t.me).unwrap();
    assert_eq!(fs::metadata(t.std("ours")).unwrap().uid(), own);
    fs::write(t.std("file"), "x").unwrap();
}
