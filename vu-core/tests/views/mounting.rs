//! mount, umount and modules.

use crate::support::*;
use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use vu_api::{AbsPath, DirEntry, Errno, File, MountFlags, OpenFlags, Stat, testing::path};
use vu_core::{
    host::HostFs,
    view::{MountCall, Refusal, View},
};

fn errno(result: Result<impl Sized, Refusal>) -> Errno {
    match result {
        Err(Refusal::Errno(errno)) => errno,
        Err(Refusal::NotOurs) => panic!("it is not ours"),
        Ok(_) => panic!("it was done"),
    }
}

/// A mount of the type `mark`.
fn marks(target: &AbsPath) -> MountCall<'_> {
    MountCall {
        fs_type: b"mark",
        source: b"m",
        source_path: None,
        target,
        flags: MountFlags::empty(),
        data: b"",
        shown: None,
        wanted: &|| true,
    }
}

#[test]
fn what_is_not_ours() {
    let view = marked_view();
    assert_eq!(try_mount(&view, "ext4", "/dev/sda", "/m", "").err(), Some(Refusal::NotOurs));
    assert_eq!(try_mount(&view, "idler", "none", "/m", "").err(), Some(Refusal::NotOurs), "not active");
    let target = path("/m");
    let call = MountCall { fs_type: b"\xff", source: b"", ..marks(&target) };
    assert_eq!(view.mount(&call).err(), Some(Refusal::NotOurs));
    assert_eq!(umount(&view, "/m"), Err(Refusal::NotOurs));
    mount(&view, "mark", "m", "/m", "");
    assert_eq!(umount(&view, "/m/x"), Err(Refusal::NotOurs));
    assert_eq!(umount(&view, "/"), Err(Refusal::NotOurs));
}

#[test]
fn the_parent_of_a_mount_point_must_be_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let root = root.to_str().unwrap();
    std::fs::write(format!("{root}/file"), "").unwrap();
    let view = view_over(Arc::new(HostFs::new().unwrap()));
    let try_at = |text: &str| errno(try_mount(&view, "mark", "m", &format!("{root}{text}"), ""));
    assert_eq!(try_at("/none/x"), Errno::ENOENT);
    assert_eq!(try_at("/file/x"), Errno::ENOTDIR);
    mount(&view, "mark", "m", "/unreal", "");
    mount(&view, "mark", "m", &format!("{root}/file"), "");
    mount(&view, "mark", "m", "/unreal/x/y", "");
    mount(&view, "mark", "m", "/", "");
}

#[test]
fn words_and_flags() {
    let view = marked_view();
    let mounted = mount(&view, "mark", "m", "/m", "ro,defaults,noexec,except=/a\\,b,list,exec,nosuid,relatime");
    assert_eq!(mounted.flags, MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::RELATIME);
    assert!(mounted.list && !mounted.permanent);
    assert_eq!(mounted.words.iter().collect::<Vec<_>>(), [("except", Some("/a,b"))]);
    assert_eq!(mounted.options(), r"ro,nosuid,relatime,list,except=/a\,b");
    assert_eq!(mount(&view, "mark", "m", "/n", "").options(), "rw");

    assert_eq!(errno(try_mount(&view, "mark", "m", "/o", "bogus")), Errno::EINVAL);
    assert_eq!(errno(try_mount(&view, "mark", "m", "/o", "'open")), Errno::EINVAL);
    assert_eq!(errno(try_mount(&view, "bind", "relative", "/o", "")), Errno::ENOENT);
    let with_flags = |flags| {
        view.mount(&MountCall { flags: MountFlags::from_bits_retain(flags), data: b"rw", ..marks(&path("/o")) })
    };
    let mounted = with_flags(libc::MS_MGC_VAL | libc::MS_RDONLY | libc::MS_NODEV).unwrap();
    assert_eq!(mounted.flags, MountFlags::NODEV);
}

#[test]
fn a_remount_exchanges_the_flags() {
    let view = marked_view();
    mount(&view, "mark", "m", "/m", "ro,noatime,except=/a");
    let remount = |flags: u64, data: &str| {
        view.remount(&path("/m"), MountFlags::from_bits_retain(libc::MS_REMOUNT | flags), data.as_bytes())
    };
    assert_eq!(remount(libc::MS_NOEXEC, "").unwrap().options(), "rw,noexec,noatime,except=/a");
    assert_eq!(remount(libc::MS_RELATIME, "ro,except=/a").unwrap().options(), "ro,relatime,except=/a");
    assert_eq!(errno(remount(0, "except=/b")), Errno::EINVAL);
    assert_eq!(remount(libc::MS_BIND, "except=/b").unwrap().options(), "rw,relatime,except=/a");
    assert_eq!(located(&view, "/m").unwrap(), "/m");
    let elsewhere = view.remount(&path("/m/x"), MountFlags::REMOUNT, b"");
    assert_eq!(elsewhere.err(), Some(Refusal::NotOurs));
}

#[test]
fn a_mount_moves_with_what_is_mounted_below_it_since() {
    let view = marked_view();
    mount(&view, "mark", "old", "/m/old", "");
    mount(&view, "mark", "m", "/m", "");
    mount(&view, "mark", "in", "/m/in", "");
    mount(&view, "mark", "over", "/n", "");
    let moved = |from: &str, to: &str| view.move_mount(&path(from), &path(to));
    assert_eq!(errno(moved("/m", "/m/in/x")), Errno::ELOOP);
    assert_eq!(errno(moved("/m", "/m")), Errno::ELOOP);
    assert_eq!(moved("/m/none", "/n"), Err(Refusal::NotOurs));
    moved("/m", "/n").unwrap();
    assert_eq!(located(&view, "/n/x").unwrap(), "/m/x", "it is the newest there");
    assert_eq!(located(&view, "/n/in/x").unwrap(), "/in/x");
    assert_eq!(located(&view, "/m/old/x").unwrap(), "/old/x", "what it hid is not part of it");
    umount(&view, "/n/in").unwrap();
    umount(&view, "/n").unwrap();
    assert_eq!(located(&view, "/n/x").unwrap(), "/over/x");

    mount(&view, "bind", "/n/x", "/b", "");
    assert_eq!(errno(moved("/n", "/m")), Errno::EBUSY);
    mount(&view, "mark", "p", "/p", "permanent");
    assert_eq!(errno(moved("/p", "/m")), Errno::EPERM);
}

/// A module may take its time, and its caller be killed meanwhile.
#[test]
fn who_waits_no_more_mounts_nothing() {
    let view = marked_view();
    let call = |wanted: &dyn Fn() -> bool| view.mount(&MountCall { wanted, ..marks(&path("/m")) });
    assert_eq!(errno(call(&|| false)), Errno::EINTR);
    assert!(view.table().is_empty());
    assert!(call(&|| true).is_ok());
}

#[test]
fn unmounting_takes_the_newest_at_this_point_in_any_order() {
    let view = marked_view();
    mount(&view, "mark", "one", "/m", "");
    mount(&view, "mark", "two", "/m", "");
    mount(&view, "mark", "all", "/", "");
    umount(&view, "/m").unwrap();
    assert_eq!(located(&view, "/m").unwrap(), "/all/m", "the newer one was hidden");
    umount(&view, "/").unwrap();
    assert_eq!(located(&view, "/m").unwrap(), "/one");
    umount(&view, "/m").unwrap();
    assert_eq!(umount(&view, "/m"), Err(Refusal::NotOurs));
}

#[test]
fn flags_of_umount() {
    let view = marked_view();
    mount(&view, "mark", "m", "/m", "");
    for flags in [libc::MNT_EXPIRE, 16, -1] {
        assert_eq!(errno(view.umount(&path("/m"), flags)), Errno::EINVAL);
    }
    view.umount(&path("/m"), libc::UMOUNT_NOFOLLOW | libc::MNT_FORCE).unwrap();
}

#[test]
fn permanent_mounts_stay() {
    let view = marked_view();
    mount(&view, "mark", "m", "/m", "permanent");
    assert_eq!(errno(umount(&view, "/m")), Errno::EPERM);
    assert_eq!(errno(umount_lazily(&view, "/m")), Errno::EPERM);
    assert_eq!(located(&view, "/m").unwrap(), "/m");
}

#[test]
fn a_mount_is_busy_while_another_has_its_source_in_it() {
    let view = marked_view();
    mount(&view, "mark", "m", "/m", "");
    mount(&view, "bind", "/m/x", "/b", "");
    mount(&view, "bind", "/b", "/c", "");
    assert_eq!(errno(umount(&view, "/m")), Errno::EBUSY);
    assert_eq!(errno(umount(&view, "/b")), Errno::EBUSY);
    umount(&view, "/c").unwrap();
    assert_eq!(errno(umount(&view, "/m")), Errno::EBUSY);
    umount(&view, "/b").unwrap();
    umount(&view, "/m").unwrap();
    // A mount that fails holds nothing.
    mount(&view, "mark", "m", "/m", "");
    assert_eq!(errno(try_mount(&view, "bind", "/m", "/b", "bogus")), Errno::EINVAL);
    umount(&view, "/m").unwrap();
}

#[test]
fn a_lazily_unmounted_mount_stays_for_those_built_on_it() {
    let view = marked_view();
    mount(&view, "mark", "m", "/m", "");
    mount(&view, "bind", "/m/x", "/b", "");
    mount(&view, "bind", "/b", "/c", "");
    mount(&view, "bind", "/", "/all", "");
    umount_lazily(&view, "/m").unwrap();
    umount_lazily(&view, "/b").unwrap();
    assert_eq!(umount(&view, "/m"), Err(Refusal::NotOurs));
    assert_eq!(located(&view, "/m").unwrap(), "/host/m");
    assert_eq!(located(&view, "/all/m").unwrap(), "/host/m");
    assert_eq!(located(&view, "/b").unwrap(), "/host/b");
    assert_eq!(located(&view, "/c").unwrap(), "/m/x");
    assert_eq!(view.mount_rows().len(), 2);
    assert_eq!(errno_of(view.remove_module("tester")), Errno::EBUSY);
    umount(&view, "/c").unwrap();
    umount(&view, "/all").unwrap();
    assert!(view.table().is_empty());
}

fn errno_of(result: Result<(), Errno>) -> Errno {
    result.expect_err("it was done")
}

struct Empty;

impl File for Empty {
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(Stat::default())
    }

    fn entries(&self, _from: u64) -> Result<Vec<DirEntry>, Errno> {
        Ok(Vec::new())
    }
}

#[test]
fn an_open_virtual_file_keeps_its_mount() {
    let view = marked_view();
    let mounted = mount(&view, "mark", "m", "/m", "");
    let open = || {
        view.nodes().open(Arc::new(Empty), OpenFlags::DIRECTORY, mounted.epoch.0, path("/m"), vu_fd::HeldAs::Descriptor)
    };
    let fd = open().unwrap();
    assert_eq!(errno(umount(&view, "/m")), Errno::EBUSY);
    drop(fd);
    let fd = open().unwrap();
    umount_lazily(&view, "/m").unwrap();
    drop(fd);
}

#[test]
fn modules() {
    let view = marked_view();
    assert_eq!(errno_of(view.insert_module("tester", false)), Errno::EEXIST);
    assert_eq!(errno_of(view.insert_module("nosuch", false)), Errno::ENOENT);
    assert_eq!(errno_of(view.remove_module("idler")), Errno::ENOENT);
    view.insert_module("idler", true).unwrap();
    assert_eq!(errno_of(view.remove_module("idler")), Errno::EPERM);
    mount(&view, "mark", "m", "/m", "");
    assert_eq!(errno_of(view.remove_module("tester")), Errno::EBUSY);
    umount(&view, "/m").unwrap();
    view.remove_module("tester").unwrap();
    assert_eq!(try_mount(&view, "mark", "m", "/m", "").err(), Some(Refusal::NotOurs));
    view.insert_module("tester", false).unwrap();
    mount(&view, "mark", "m", "/m", "");
}

#[test]
fn an_inner_view_begins_as_its_outer_one_and_goes_its_own_way() {
    let outer = marked_view();
    mount(&outer, "mark", "m", "/m", "");
    mount(&outer, "bind", "/m", "/b", "");
    let inner = outer.fork("inner");
    assert_eq!((inner.name().as_str(), outer.name().as_str()), ("inner", ""));
    mount(&inner, "mark", "new", "/new", "");
    umount(&inner, "/b").unwrap();
    umount(&inner, "/m").unwrap();
    inner.insert_module("idler", false).unwrap();
    assert_eq!(located(&inner, "/new").unwrap(), "/new");
    assert_eq!(located(&inner, "/m").unwrap(), "/host/m");
    assert_eq!(located(&outer, "/new").unwrap(), "/host/new");
    assert_eq!(located(&outer, "/b").unwrap(), "/m");
    assert_eq!(outer.module_rows().len(), 1);
    assert_eq!(errno(umount(&outer, "/m")), Errno::EBUSY);
}

#[test]
fn a_closed_view_is_freed() {
    let view = marked_view();
    mount(&view, "bind", "/", "/m", "");
    mount(&view, "bind", "/m", "/n", "permanent");
    let weak = Arc::downgrade(&view);
    view.close();
    drop(view);
    assert_eq!(weak.strong_count(), 0);
}

#[test]
fn ten_thousand_mounts() {
    let view = marked_view();
    for i in 0..10_000 {
        mount(&view, "bind", "/", &format!("/m/{}/{i}", i % 100), "");
    }
    for i in 0..10_000 {
        assert_eq!(located(&view, &format!("/m/{}/{i}/x", i % 100)).unwrap(), "/host/x");
    }
    assert_eq!(view.mount_rows().len(), 10_000);
    for i in (0..10_000).rev() {
        umount(&view, &format!("/m/{}/{i}", i % 100)).unwrap();
    }
    assert!(view.table().is_empty());
}

#[test]
fn readers_and_a_writer_at_once() {
    let view = marked_view();
    let done = AtomicBool::new(false);
    let start = Barrier::new(3);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                start.wait();
                let mut seen = [0; 3];
                while !done.load(Ordering::Relaxed) {
                    match located(&view, "/m/x").unwrap().as_str() {
                        "/host/m/x" => seen[0] += 1,
                        "/one/x" => seen[1] += 1,
                        "/host/x" => seen[2] += 1,
                        other => panic!("{other}"),
                    }
                }
                assert!(seen[0] > 0, "{seen:?}");
            });
        }
        start.wait();
        for _ in 0..3_000 {
            mount(&view, "mark", "one", "/m", "");
            mount(&view, "bind", "/", "/m", "");
            umount(&view, "/m").unwrap();
            umount(&view, "/m").unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn writers_at_once_lose_nothing() {
    let view = marked_view();
    thread::scope(|scope| {
        for thread in 0..4 {
            let view = &view;
            scope.spawn(move || {
                for i in 0..200 {
                    mount(view, "mark", "m", &format!("/{thread}/{i}"), "");
                    if i % 2 == 0 {
                        umount(view, &format!("/{thread}/{i}")).unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(view.table().len(), 4 * 100);
    let epochs: Vec<u64> = view.mount_rows().iter().map(|row| row[4].parse().unwrap()).collect();
    assert!(epochs.is_sorted_by(|newer, older| newer > older));
}

/// Names that are not text are shown as well as can be, and are no less mount points.
#[test]
fn any_bytes_make_a_mount_point() {
    let view: Arc<View> = marked_view();
    let target = AbsPath::new(b"/\xff\n").unwrap();
    view.mount(&marks(&target)).unwrap();
    assert_eq!(view.mount_rows()[0][1], "/\u{fffd}\n");
    view.umount(&target, 0).unwrap();
}
