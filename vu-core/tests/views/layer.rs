//! Which mount answers, and what a layer does for every mount.

use crate::support::*;
use std::{fs, os::unix::fs::symlink, sync::Arc};
use vu_api::{
    AbsPath, AccessMode, Errno, FileType, Filesystem, OpenFlags, OpenHow, Probe, Purpose, RenameFlags,
    testing::{As, path},
};
use vu_core::{config::Nesting, host::HostFs, layer::Layer, view::View};

#[track_caller]
fn check(view: &Arc<View>, text: &str, expected: &str) {
    assert_eq!(located(view, text).as_deref(), Ok(expected), "{text}");
}

#[test]
fn the_newest_wins_not_the_deepest() {
    let view = marked_view();
    mount(&view, "mark", "deep", "/a/b", "");
    mount(&view, "mark", "wide", "/a", "");
    check(&view, "/a/b/x", "/wide/b/x");
    umount(&view, "/a").unwrap();
    check(&view, "/a/b/x", "/deep/x");
    check(&view, "/a/x", "/host/a/x");
    mount(&view, "mark", "all", "/", "");
    check(&view, "/a/b", "/all/a/b");
    check(&view, "/", "/all");
}

#[test]
fn prefixes_end_at_components() {
    let view = marked_view();
    mount(&view, "mark", "m", "/root", "");
    check(&view, "/root2", "/host/root2");
    check(&view, "/root", "/m");
}

#[test]
fn declined_paths_go_to_the_next_older_mount_and_at_last_to_the_host() {
    let view = marked_view();
    mount(&view, "mark", "old", "/a", "except=/x");
    mount(&view, "mark", "new", "/", "except=/a/x,except=/a/y");
    check(&view, "/a/z", "/new/a/z");
    check(&view, "/a/y/1", "/old/y/1");
    check(&view, "/a/x/1", "/host/a/x/1");
    check(&view, "/a/xx", "/new/a/xx");
}

#[test]
fn a_mount_sees_only_what_is_below_it() {
    let view = marked_view();
    mount(&view, "bind", "/", "/mnt", "");
    check(&view, "/mnt/etc", "/host/etc");
    check(&view, "/mnt/mnt", "/host/mnt");
    mount(&view, "bind", "/", "/mnt", "");
    check(&view, "/mnt/mnt/etc", "/host/etc");
    check(&view, "/mnt/mnt/mnt", "/host/mnt");
    mount(&view, "mark", "later", "/etc", "");
    check(&view, "/mnt/etc", "/host/etc");
    check(&view, "/etc", "/later");
}

#[test]
fn a_mount_on_its_own_source_sees_what_it_hides() {
    let view = marked_view();
    mount(&view, "bind", "/", "/", "");
    mount(&view, "bind", "/a", "/", "");
    check(&view, "/x", "/host/a/x");
}

#[test]
fn without_nesting_mounts_work_on_the_host() {
    let host = Arc::new(Mark { mark: "host".to_owned(), except: Vec::new() });
    let view = View::new(host, Arc::default(), Nesting::Host);
    view.insert_module("tester", false).unwrap();
    mount(&view, "mark", "m", "/etc", "");
    mount(&view, "bind", "/", "/mnt", "");
    check(&view, "/mnt/etc", "/host/etc");
}

#[test]
fn read_only_mounts() {
    let view = marked_view();
    mount(&view, "mark", "m", "/ro", "ro");
    mount(&view, "bind", "/ro/sub", "/through", "");
    for text in ["/ro/x", "/through/x"] {
        assert_eq!(located_for(&view, text, Purpose::Change), Err(Errno::EROFS));
        assert!(located_for(&view, text, Purpose::Read).is_ok());
        assert!(located_for(&view, text, Purpose::Execute).is_ok());
    }
    let top = Layer::top(view.clone());
    let me = As::user(1000);
    assert_eq!(top.chmod(&path("/ro/x"), 0, &me), Err(Errno::EROFS));
    assert_eq!(top.unlink(&path("/ro/x"), &me), Err(Errno::EROFS));
    assert_eq!(top.mkdir(&path("/ro/x"), 0, &me), Err(Errno::EEXIST), "all exists there, and that is said first");
    assert_eq!(top.access(&path("/ro"), AccessMode::READ, &me), Ok(()));
    let root =
        As(vu_api::Credentials { uid: 0, gid: 0, groups: Vec::new(), umask: 0, capabilities: vu_api::capability::ALL });
    assert_eq!(top.access(&path("/ro"), AccessMode::WRITE, &root), Err(Errno::EROFS));
    assert_eq!(top.statfs(&path("/ro")).unwrap().flags & libc::ST_RDONLY.cast_signed(), 1);
}

#[test]
fn opening_on_a_read_only_mount() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "x").unwrap();
    let view = view_over(Arc::new(HostFs::new().unwrap()));
    mount(&view, "bind", dir.path().to_str().unwrap(), "/ro", "ro");
    mount(&view, "bind", "/dev", "/ro-dev", "ro");
    let top = Layer::top(view);
    let open =
        |text: &str, flags| top.open(&path(text), &OpenHow { flags, mode: 0o600 }, &As::user(1000)).map(drop).err();
    let (create, write) = (OpenFlags::CREAT, OpenFlags::WRONLY);
    assert_eq!(open("/ro/file", OpenFlags::empty()), None);
    assert_eq!(open("/ro/file", create), None);
    assert_eq!(open("/ro/file", create | OpenFlags::EXCL), Some(Errno::EEXIST));
    assert_eq!(open("/ro/file", write), Some(Errno::EROFS));
    assert_eq!(open("/ro/file", OpenFlags::TRUNC), Some(Errno::EROFS));
    assert_eq!(open("/ro/new", create), Some(Errno::EROFS));
    assert_eq!(open("/ro/new", write), Some(Errno::ENOENT));
    assert_eq!(open("/ro", write | OpenFlags::TMPFILE), Some(Errno::EROFS));
    assert_eq!(open("/ro-dev/null", write), None);
    assert!(!dir.path().join("new").exists());
}

#[test]
fn noexec_mounts() {
    let view = marked_view();
    mount(&view, "mark", "m", "/m", "noexec");
    mount(&view, "bind", "/m", "/b", "");
    for text in ["/m/x", "/b/x"] {
        assert_eq!(located_for(&view, text, Purpose::Execute), Err(Errno::EACCES));
        assert!(located_for(&view, text, Purpose::Change).is_ok());
    }
}

#[test]
fn two_names_of_different_mounts() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().to_str().unwrap();
    fs::write(format!("{dir}/a"), "").unwrap();
    let view = view_over(Arc::new(HostFs::new().unwrap()));
    mount(&view, "bind", dir, "/one", "");
    mount(&view, "bind", dir, "/two", "");
    let top = Layer::top(view);
    let me = As::user(1000);
    let here = path(&format!("{dir}/a"));
    for (from, to) in [(path("/one/a"), path("/two/b")), (path("/one/a"), here.clone()), (here, path("/one/b"))] {
        assert_eq!(top.link(&from, &to, &me), Err(Errno::EXDEV));
        assert_eq!(top.rename(&from, &to, RenameFlags::empty(), &me), Err(Errno::EXDEV));
    }
    assert_eq!(top.rename(&path("/one"), &path("/one/b"), RenameFlags::empty(), &me), Err(Errno::EBUSY));
    let root =
        As(vu_api::Credentials { uid: 0, gid: 0, groups: Vec::new(), umask: 0, capabilities: vu_api::capability::ALL });
    assert_eq!(top.link(&path("/one/a"), &path("/one/b"), &root), Ok(()));
    assert!(fs::exists(format!("{dir}/b")).unwrap());
}

#[test]
fn a_mount_point_cannot_be_removed() {
    let view = marked_view();
    mount(&view, "mark", "m", "/m", "");
    let top = Layer::top(view);
    assert_eq!(top.rmdir(&path("/m"), &As::user(1)), Err(Errno::EBUSY));
    assert_eq!(top.unlink(&path("/m"), &As::user(1)), Err(Errno::EBUSY));
}

#[test]
fn a_module_that_panics_is_an_io_error() {
    let view = marked_view();
    mount(&view, "panic", "none", "/p", "");
    mount(&view, "bind", "/p", "/b", "");
    let top = Layer::top(view.clone());
    for text in ["/p", "/p/x", "/p/declines", "/b/x"] {
        assert_eq!(top.stat(&path(text)).err(), Some(Errno::EIO), "{text}");
        assert_eq!(top.probe(&path(text)).err(), Some(Errno::EIO), "{text}");
    }
    let how = OpenHow { flags: OpenFlags::empty(), mode: 0 };
    assert_eq!(top.open(&path("/p"), &how, &As::user(1)).err(), Some(Errno::EIO));
    assert_eq!(try_mount(&view, "panic-at-mount", "none", "/q", "").err(), Some(Errno::EIO.into()));
    check(&view, "/q", "/host/q");
}

#[test]
fn a_stack_shows_as_a_device() {
    let view = marked_view();
    mount(&view, "stack", "none", "/dev/net/x", "");
    let top = Layer::top(view.clone());
    assert_eq!(top.stat(&path("/dev/net/x")).unwrap().file_type(), FileType::CharDevice);
    assert_eq!(top.stat(&path("/dev/net/x/y")).err(), Some(Errno::ENOTDIR));
    assert_eq!(top.probe(&path("/dev/net/x/y")).err(), Some(Errno::ENOTDIR));
    assert!(view.stack_at(&path("/dev/net/x")).is_ok());
    assert_eq!(view.stack_at(&path("/dev/net")).err(), Some(Errno::ENOENT));
    mount(&view, "mark", "m", "/m", "");
    assert_eq!(view.stack_at(&path("/m")).err(), Some(Errno::ENODEV));
}

/// What a probe of a tree with symbolic links says: `link`, an errno, or what type was found.
#[track_caller]
fn probed(top: &Layer, text: &str) -> String {
    match top.probe(&AbsPath::new(text).unwrap()) {
        Ok(Probe::Symlink) => "link".to_owned(),
        Ok(Probe::Found { .. }) => format!("{:?}", top.stat(&path(text)).unwrap().file_type()),
        Err(errno) => format!("{errno:?}"),
    }
}

#[test]
fn a_probe_meets_symbolic_links_before_and_in_mounts() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let root = root.to_str().unwrap();
    for name in ["dir/sub", "source/in", "elsewhere"] {
        fs::create_dir_all(format!("{root}/{name}")).unwrap();
    }
    fs::write(format!("{root}/file"), "").unwrap();
    symlink("in", format!("{root}/source/link")).unwrap();
    let view = view_over(Arc::new(HostFs::new().unwrap()));
    let top = Layer::top(view.clone());
    mount(&view, "bind", &format!("{root}/source"), &format!("{root}/dir/sub/new"), "");
    let at = |rest: &str| format!("{root}/dir/sub/new{rest}");
    assert_eq!(probed(&top, &at("")), "Directory");
    assert_eq!(probed(&top, &at("/in")), "Directory");
    assert_eq!(probed(&top, &at("/link")), "Symlink");
    assert_eq!(probed(&top, &at("/link/x")), "link");
    assert_eq!(probed(&top, &at("/none")), "ENOENT");
    assert_eq!(probed(&top, &format!("{root}/file/x")), "ENOTDIR");
    assert_eq!(probed(&top, &format!("{root}/dir/sub")), "Directory");

    // The way to the mount point changes under it.
    fs::rename(format!("{root}/dir"), format!("{root}/was")).unwrap();
    assert_eq!(probed(&top, &at("/in")), "ENOENT");
    symlink("was", format!("{root}/dir")).unwrap();
    assert_eq!(probed(&top, &at("/in")), "link");
    fs::remove_file(format!("{root}/dir")).unwrap();
    fs::create_dir(format!("{root}/dir")).unwrap();
    symlink("../elsewhere", format!("{root}/dir/sub")).unwrap();
    assert_eq!(probed(&top, &at("")), "link");
    fs::remove_file(format!("{root}/dir/sub")).unwrap();
    fs::write(format!("{root}/dir/sub"), "").unwrap();
    assert_eq!(probed(&top, &at("/in")), "ENOTDIR");
}

#[test]
fn a_probe_of_a_declined_path() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let root = root.to_str().unwrap();
    for name in ["under/d/x", "under/real/x", "over/d", "over/l"] {
        fs::create_dir_all(format!("{root}/{name}")).unwrap();
    }
    symlink("real", format!("{root}/under/l")).unwrap();
    symlink("d", format!("{root}/over/m")).unwrap();
    let view = view_over(Arc::new(HostFs::new().unwrap()));
    let top = Layer::top(view.clone());
    mount(&view, "bind", &format!("{root}/under"), "/u", "");
    mount(&view, "bind", &format!("{root}/over"), "/u", "except=/d/x,except=/l/x,except=/m/x");
    assert_eq!(probed(&top, "/u/d/x"), "Directory");
    assert_eq!(probed(&top, "/u/d/x/y"), "ENOENT");
    assert_eq!(probed(&top, "/u/m/x"), "link");
    // Below the directory l of the upper mount, the lower has nothing but what is behind its link of that name.
    assert_eq!(probed(&top, "/u/l/x"), "ENOENT");
}
