//! The requests of the tools.

use crate::support::*;
use std::sync::Arc;
use vu_api::{
    Errno, Family,
    control::{Request, Rows, decode_rows},
    testing::path,
};
use vu_core::{
    control::{Families, Served, StackChoice, serve},
    debug::{Override, Tag},
    view::View,
};

fn ask(view: &Arc<View>, request: &Request) -> Result<Rows, Errno> {
    match serve(view, &request.encode())? {
        Served::Reply(reply) if reply.is_empty() => Ok(Vec::new()),
        Served::Reply(reply) => Ok(decode_rows(&reply).unwrap()),
        _ => panic!("{request:?} is answered"),
    }
}

#[test]
fn modules() {
    let view = marked_view();
    let insert = |name: &str| ask(&view, &Request::InsertModule { name: name.into(), permanent: false });
    let remove = |name: &str| ask(&view, &Request::RemoveModule { name: name.into() });
    assert_eq!(insert("idler"), Ok(Vec::new()));
    assert_eq!(insert("idler"), Err(Errno::EEXIST));
    assert_eq!(insert("nosuch"), Err(Errno::ENOENT));
    let active = ask(&view, &Request::ActiveModules).unwrap();
    assert_eq!(active, [["tester", "mounts for tests", ""], ["idler", "nothing", ""]]);
    assert_eq!(remove("idler"), Ok(Vec::new()));
    assert_eq!(remove("idler"), Err(Errno::ENOENT));
    let all = ask(&view, &Request::AvailableModules).unwrap();
    assert_eq!(all, [["idler", "nothing", "", ""], ["tester", "mounts for tests", "", "active"]]);
}

#[test]
fn mounts_are_listed_newest_first() {
    let view = marked_view();
    assert_eq!(ask(&view, &Request::Mounts), Ok(Vec::new()));
    let one = mount(&view, "mark", "one", "/a", "ro");
    let two = mount(&view, "mark", "two", "/a", "except=/x");
    let rows = ask(&view, &Request::Mounts).unwrap();
    assert_eq!(rows[0], ["two", "/a", "mark", "rw,except=/x", &two.epoch.to_string()]);
    assert_eq!(rows[1], ["one", "/a", "mark", "ro", &one.epoch.to_string()]);
}

#[test]
fn the_view_and_its_name() {
    let view = marked_view();
    let id = std::process::id().to_string();
    let info = |name: &str| vec![vec![id.clone(), name.to_owned(), env!("CARGO_PKG_VERSION").to_owned()]];
    assert_eq!(ask(&view, &Request::ViewInfo), Ok(info("")));
    ask(&view, &Request::SetViewName { name: "x y".into() }).unwrap();
    assert_eq!(ask(&view, &Request::ViewInfo), Ok(info("x y")));
    for name in ["x".repeat(65), "a\nb".to_owned()] {
        assert_eq!(ask(&view, &Request::SetViewName { name: name.clone() }), Err(Errno::EINVAL));
        assert_eq!(serve(&view, &Request::NewView { name }.encode()).err(), Some(Errno::EINVAL));
    }
    let Ok(Served::Enter(inner)) = serve(&view, &Request::NewView { name: "in".into() }.encode()) else {
        panic!("no view to enter")
    };
    assert_eq!(inner.name(), "in");
}

#[test]
fn debug_categories() {
    let view = marked_view();
    let change = |pid, change: &str| serve(&view, &Request::SetDebug { pid, changes: vec![change.into()] }.encode());
    assert!(change(0, "+s").is_ok());
    assert!(view.debug().enabled(Tag::Syscalls, &Override::default()));
    assert!(matches!(change(12, "+p"), Ok(Served::DebugOf { pid: 12, .. })));
    assert!(!view.debug().enabled(Tag::Paths, &Override::default()));
    assert_eq!(change(0, "+Z").err(), Some(Errno::EINVAL));
    let rows = ask(&view, &Request::DebugTags).unwrap();
    assert!(rows.iter().any(|row| row[0] == "s" && row[3] == "on"));
}

#[test]
fn stacks() {
    let view = marked_view();
    let request = Request::SetStack { path: "x".into(), families: vec![2], supported_only: true };
    assert!(matches!(serve(&view, &request.encode()), Ok(Served::SetStack { path, .. }) if path == "x"));
    mount(&view, "stack", "none", "/dev/net/x", "");
    let choose = |families: &[i32], supported_only| {
        StackChoice::new(view.stack_at(&path("/dev/net/x")).unwrap(), families, supported_only)
    };
    let (inet, inet6) = (Family::INET, Family::INET6);
    assert_eq!(choose(&[], false).families, Families::All);
    assert_eq!(choose(&[], true).families, Families::Only(vec![inet]));
    assert_eq!(choose(&[2, 10], false).families, Families::Only(vec![inet, inet6]));
    assert_eq!(choose(&[2, 10], true).families, Families::Only(vec![inet]));
    assert!(choose(&[], false).covers(inet6) && !choose(&[], false).covers(Family::UNIX));
    assert!(!choose(&[], true).covers(inet6));
}

#[test]
fn garbage_is_einval() {
    let view = marked_view();
    for message in [&b""[..], b"x", b"\xff\xff\xff\xff", b"\x01\0\0\0x"] {
        assert_eq!(serve(&view, message).err(), Some(Errno::EINVAL));
    }
}
