use super::*;
use std::{collections::BTreeMap, fs, path::Path};
use vu_trace::{FakeMemory, filter::compile};

/// The system calls of the machine's kernel headers.
fn headers(name: &str) -> BTreeMap<i64, String> {
    let text = ["/usr/include/x86_64-linux-gnu/asm", "/usr/include/asm"]
        .iter()
        .find_map(|directory| fs::read_to_string(Path::new(directory).join(name)).ok())
        .unwrap_or_else(|| panic!("the kernel's headers are needed: no asm/{name} (Debian: linux-libc-dev)"));
    let calls: BTreeMap<i64, String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("#define __NR_")?.split_once(' '))
        .filter_map(|(name, nr)| Some((nr.trim().parse().ok()?, name.to_owned())))
        .collect();
    assert!(calls.len() > 300, "asm/{name} has another form than expected");
    calls
}

#[test]
fn every_number_of_the_headers_is_in_a_row_of_its_name() {
    for (nr, name) in headers("unistd_64.h") {
        let row = lookup(Abi::X86_64, nr).unwrap_or_else(|| panic!("{name} ({nr}) is in no row"));
        assert_eq!(row.name, name, "number {nr}");
        assert_eq!(row.nr, Some(nr));
    }
}

/// Newer calls than the machine's headers have.
#[test]
fn every_number_up_to_linux_6_19_is_in_a_row() {
    let numbers = (0..=336).chain(424..=470);
    for nr in numbers.clone() {
        assert!(lookup(Abi::X86_64, nr).is_some(), "{nr} is in no row");
    }
    let rows = rows().filter(|row| row.nr.is_some()).count();
    assert_eq!(rows, numbers.count() + 1, "the control call is the only other row");
}

#[test]
fn i386_numbers_are_those_of_the_headers() {
    let headers = headers("unistd_32.h");
    for row in rows() {
        let Some(nr) = row.i386 else { continue };
        match headers.get(&nr) {
            Some(name) => assert_eq!(row.name, name, "i386 number {nr}"),
            // From here on all architectures share the numbers.
            None => assert!(nr >= 424 && row.nr == Some(nr), "{} of i386 is not {nr}", row.name),
        }
    }
}

/// A call that is intercepted must not pass by the other entry.
#[test]
fn what_is_intercepted_on_x86_64_is_intercepted_on_i386() {
    let by_name: BTreeMap<String, i64> = headers("unistd_32.h").into_iter().map(|(nr, name)| (name, nr)).collect();
    let mut checked = 0;
    for row in rows().filter(|row| row.nr.is_some() && !matches!(row.support, Support::Host(_))) {
        let name = if row.name == "newfstatat" { "fstatat64" } else { row.name };
        // The same call in other sizes of its arguments.
        for variant in ["", "32", "64", "_time64"] {
            if let Some(&nr) = by_name.get(&format!("{name}{variant}")) {
                let twin = lookup(Abi::I386, nr).unwrap_or_else(|| panic!("{name}{variant} of i386 ({nr}) passes"));
                assert!(!matches!(twin.support, Support::Host(_)), "{name}{variant} of i386 passes");
                checked += 1;
            }
        }
        if row.nr.is_some_and(|nr| nr >= 424) {
            assert_eq!(row.i386, row.nr, "{}", row.name);
        }
    }
    assert!(checked > 90, "only {checked} were found in the headers");
}

#[test]
fn no_number_leads_astray() {
    for nr in [-1, i64::MIN, i64::MAX, 337, 423, 471, 479, 480, 512, 600, 100_000, 0x4000_0000, 0x4000_0002] {
        for abi in [Abi::X86_64, Abi::I386] {
            let row = lookup(abi, nr);
            assert!(row.is_none() || row.is_some_and(|row| row.i386 == Some(nr)), "{nr} leads to a row");
        }
    }
    assert_eq!(lookup(Abi::I386, 5).map(|row| row.name), Some("open"));
    assert_eq!(lookup(Abi::X86_64, 5).map(|row| row.name), Some("fstat"));
    for abi in [Abi::X86_64, Abi::I386] {
        assert_eq!(name(abi, CONTROL_SYSCALL), Some("umvu_control"));
    }
}

#[test]
fn notes_are_sentences() {
    for row in rows() {
        let (Support::Host(note) | Support::Refused { why: note, .. } | Support::Handled { partial: Some(note), .. }) =
            row.support
        else {
            continue;
        };
        assert!(note.len() > 10 && !note.ends_with('.') && !note.contains("  "), "{}: {note:?}", row.name);
    }
}

fn numbers(calls: &vu_trace::filter::Calls) -> (Vec<i64>, Vec<i64>, Vec<i64>) {
    let list = |rules: &[vu_trace::filter::Rule]| rules.iter().map(|rule| rule.nr).collect();
    (list(&calls.trace), list(&calls.notify), calls.refuse.iter().map(|&(nr, _)| nr).collect())
}

#[test]
fn every_filter_compiles() {
    for kind in [
        Filter::Base,
        Filter::Path,
        Filter::PathAndDescriptor,
        Filter::Descriptor,
        Filter::Stat,
        Filter::Attribute,
        Filter::SocketName,
        Filter::Message,
        Filter::Identity,
        Filter::Linker,
    ] {
        let program = compile(&filter(kind, 0x1234_5678_9abc_def0)).unwrap();
        assert!((5..3000).contains(&program.len()), "{kind:?} has {} instructions", program.len());
    }
}

#[test]
fn the_base_filter_stops_only_at_what_is_rare() {
    let base = filter(Filter::Base, 1);
    let (mut trace, notify, refuse) = numbers(&base.x86_64);
    trace.sort_unstable();
    // setfsuid, setfsgid; mount, umount2; landlock_restrict_self
    assert_eq!(trace, [122, 123, 165, 166, 446, CONTROL_SYSCALL]);
    assert!(notify.is_empty());
    for nr in [libc::SYS_io_uring_setup, libc::SYS_fsopen, libc::SYS_move_mount] {
        assert!(refuse.contains(&nr));
    }
    let (mut trace, ..) = numbers(&base.i386);
    trace.sort_unstable();
    assert_eq!(trace, [21, 22, 52, 138, 139, 215, 216, 446, CONTROL_SYSCALL]);
}

#[test]
fn the_path_filter_notifies_and_the_cookie_never_moves_a_task() {
    let cookie = 0x1234_5678_9abc_def0;
    let path = filter(Filter::Path, cookie);
    assert!(path.x86_64.trace.is_empty() && path.i386.trace.is_empty());
    assert_eq!(path.cookie, cookie);
    let when = |nr| path.x86_64.notify.iter().find(|rule| rule.nr == nr).map(|rule| rule.when);
    for nr in [libc::SYS_openat, libc::SYS_newfstatat, libc::SYS_mkdir, libc::SYS_unlinkat, libc::SYS_execve] {
        assert_eq!(when(nr), Some(When::WithoutCookie), "{nr}");
    }
    for nr in [
        libc::SYS_execveat,
        libc::SYS_chroot,
        libc::SYS_chdir,
        libc::SYS_openat2,
        libc::SYS_rename,
        libc::SYS_renameat,
        libc::SYS_renameat2,
        libc::SYS_link,
        libc::SYS_linkat,
        libc::SYS_symlink,
        libc::SYS_symlinkat,
        libc::SYS_getcwd,
        463,
        464,
    ] {
        assert_eq!(when(nr), Some(When::Always), "{nr}");
    }
    assert_eq!(when(libc::SYS_sendto), Some(When::ArgumentNotZero(4)));
    for nr in [libc::SYS_mount, libc::SYS_fstat, libc::SYS_read, libc::SYS_close, libc::SYS_mmap] {
        assert_eq!(when(nr), None, "{nr}");
    }
    assert!(path.i386.notify.iter().all(|rule| rule.when != When::WithoutCookie));
}

#[test]
fn the_descriptor_tier_comes_by_either_mechanism() {
    let both = filter(Filter::PathAndDescriptor, 1).x86_64;
    let path = filter(Filter::Path, 1).x86_64;
    let alone = filter(Filter::Descriptor, 1).x86_64;
    assert_eq!(both.notify.len(), path.notify.len() + alone.trace.len());
    assert!(alone.notify.is_empty() && alone.refuse.is_empty());
    assert!(alone.trace.iter().any(|rule| rule.nr == libc::SYS_getdents64));
}

/// The paths of a call as (index, dirfd, follow, empty).
fn paths(nr: i64, args: [u64; 6]) -> Vec<(usize, Option<usize>, Follow, EmptyPath)> {
    let row = lookup(Abi::X86_64, nr).unwrap();
    row.paths(&args).map(|path| (path.index, path.dirfd, path.follow, path.empty)).collect()
}

#[test]
fn flags_decide_about_links_and_empty_paths() {
    use EmptyPath::{Allow, Refuse};
    let at = |flags: i32, index: usize| {
        let mut args = [0; 6];
        args[index] = u64::from(flags.cast_unsigned());
        args
    };
    assert_eq!(paths(libc::SYS_stat, [0; 6]), [(0, None, Follow::Last, Refuse)]);
    assert_eq!(paths(libc::SYS_lstat, [0; 6]), [(0, None, Follow::Never, Refuse)]);
    assert_eq!(paths(libc::SYS_newfstatat, [0; 6]), [(1, Some(0), Follow::Last, Refuse)]);
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH;
    assert_eq!(paths(libc::SYS_newfstatat, at(flags, 3)), [(1, Some(0), Follow::Never, Allow)]);
    assert_eq!(
        paths(libc::SYS_linkat, at(libc::AT_SYMLINK_FOLLOW | libc::AT_EMPTY_PATH, 4)),
        [(1, Some(0), Follow::Last, Allow), (3, Some(2), Follow::Entry, Refuse)]
    );
    assert_eq!(
        paths(libc::SYS_linkat, [0; 6]),
        [(1, Some(0), Follow::Never, Refuse), (3, Some(2), Follow::Entry, Refuse)]
    );
    assert_eq!(paths(libc::SYS_symlinkat, [0; 6]), [(2, Some(1), Follow::Entry, Refuse)]);
    assert_eq!(paths(libc::SYS_unlinkat, at(libc::AT_REMOVEDIR, 2)), [(1, Some(0), Follow::Entry, Refuse)]);
    let watch = at(libc::IN_DONT_FOLLOW.cast_signed(), 2);
    assert_eq!(paths(libc::SYS_inotify_add_watch, watch), [(1, None, Follow::Never, Refuse)]);
    let umount = at(libc::UMOUNT_NOFOLLOW, 1);
    assert_eq!(paths(libc::SYS_umount2, umount), [(0, None, Follow::Never, Refuse)]);
    // AT_SYMLINK_FOLLOW means nothing to calls that follow anyway, nor AT_EACCESS, which has the bit of AT_REMOVEDIR.
    assert_eq!(paths(libc::SYS_faccessat2, at(libc::AT_EACCESS, 3)), [(1, Some(0), Follow::Last, Refuse)]);
}

#[test]
fn purposes() {
    let purpose = |nr| lookup(Abi::X86_64, nr).unwrap().paths(&[0; 6]).map(|path| path.purpose).collect::<Vec<_>>();
    assert_eq!(purpose(libc::SYS_getxattr), [Purpose::Read]);
    assert_eq!(purpose(libc::SYS_setxattr), [Purpose::Change]);
    assert_eq!(purpose(libc::SYS_linkat), [Purpose::Read, Purpose::Change]);
    assert_eq!(purpose(libc::SYS_rename), [Purpose::Change, Purpose::Change]);
    assert_eq!(purpose(libc::SYS_read), []);
}

#[test]
fn the_page_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../SYSCALLS.md");
    let text = document();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "SYSCALLS.md is out of date: run UPDATE=1 cargo test -p vu-core table");
}

const BASE: u64 = 0x10_0000;

/// Prints a call whose strings and structures stand one behind the other in memory; `args` receives their addresses.
fn check(nr: i64, data: &[&[u8]], args: impl Fn(&[u64]) -> [u64; 6], expected: &str) {
    check_abi(Abi::X86_64, nr, data, args, expected);
}

fn check_abi(abi: Abi, nr: i64, data: &[&[u8]], args: impl Fn(&[u64]) -> [u64; 6], expected: &str) {
    let mut bytes = Vec::new();
    let mut addresses = Vec::new();
    for piece in data {
        addresses.push(BASE + bytes.len() as u64);
        bytes.extend_from_slice(piece);
    }
    let memory = FakeMemory { base: BASE, bytes: bytes.into() };
    assert_eq!(Printed { abi, nr, args: args(&addresses), memory: &memory }.to_string(), expected);
}

fn int(value: i32) -> u64 {
    u64::from(value.cast_unsigned())
}

#[test]
fn calls_as_text() {
    let cwd = int(libc::AT_FDCWD);
    check(
        libc::SYS_openat,
        &[b"/etc/passwd\0"],
        |a| [cwd, a[0], int(libc::O_CLOEXEC), 0o644, 0, 0],
        r#"openat(AT_FDCWD, "/etc/passwd", O_RDONLY|O_CLOEXEC)"#,
    );
    check(
        libc::SYS_openat,
        &[b"new\0"],
        |a| [7, a[0], int(libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC | libc::O_SYNC), 0o644, 0, 0],
        r#"openat(7, "new", O_WRONLY|O_SYNC|O_CREAT|O_TRUNC, 0o644)"#,
    );
    check(
        libc::SYS_openat2,
        &[b"a\0", &[0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]],
        |a| [cwd, a[0], a[1], 24, 0, 0],
        r#"openat2(AT_FDCWD, "a", {flags=O_RDONLY|O_DIRECTORY, resolve=RESOLVE_BENEATH}, 24)"#,
    );
    check(
        libc::SYS_newfstatat,
        &[b"\0"],
        |a| [3, a[0], 0x7000, int(libc::AT_EMPTY_PATH), 0, 0],
        r#"newfstatat(3, "", 0x7000, AT_EMPTY_PATH)"#,
    );
    check(libc::SYS_access, &[b"/x\0"], |a| [a[0], 0, 0, 0, 0, 0], r#"access("/x", F_OK)"#);
    check(libc::SYS_chown, &[b"/x\0"], |a| [a[0], int(-1), 100, 0, 0, 0], r#"chown("/x", -1, 100)"#);
    check(libc::SYS_truncate, &[b"/x\0"], |a| [a[0], u64::MAX, 0, 0, 0, 0], r#"truncate("/x", -1)"#);
    check(libc::SYS_mkdir, &[b"a\"b\n\xff\0"], |a| [a[0], 0o755, 0, 0, 0, 0], r#"mkdir("a\"b\n\xff", 0o755)"#);
    check(
        libc::SYS_mount,
        &[b"/\0", b"/mnt\0", b"vufs\0", b"ro\0"],
        |a| [a[0], a[1], a[2], libc::MS_RDONLY | libc::MS_NOSUID | 1 << 29, a[3], 0],
        r#"mount("/", "/mnt", "vufs", MS_RDONLY|MS_NOSUID|0x20000000, "ro")"#,
    );
}

#[test]
fn vectors_as_text() {
    let pointers = |list: &[u64]| list.iter().flat_map(|p| p.to_le_bytes()).collect::<Vec<u8>>();
    let argv = pointers(&[BASE, BASE + 3, 0]);
    let narrow: Vec<u8> = [BASE, BASE + 3, 0].iter().flat_map(|p| p.to_le_bytes()[..4].to_vec()).collect();
    let args = |a: &[u64]| [a[0], a[2], a[2], 0, 0, 0];
    let expected = format!(r#"execve("ls", ["ls", "-l"], {:#x} /* 2 strings */)"#, BASE + 6);
    check(libc::SYS_execve, &[b"ls\0", b"-l\0", &argv], args, &expected);
    check_abi(Abi::I386, 11, &[b"ls\0", b"-l\0", &narrow], args, &expected);

    let many = pointers(&[&[BASE; 40][..], &[0]].concat());
    let expected = format!(r#"execve("x", [{}...], NULL)"#, r#""x", "#.repeat(12));
    check(libc::SYS_execve, &[b"x\0", &many], |a| [a[0], a[1], 0, 0, 0, 0], &expected);
}

#[test]
fn addresses_of_sockets_as_text() {
    let with = |data: &[u8], expected: &str| {
        check(
            libc::SYS_connect,
            &[data],
            |a| [3, a[0], data.len() as u64, 0, 0, 0],
            &format!("connect(3, {expected}, {})", data.len()),
        );
    };
    with(b"\x01\0/run/x\0rest", r#"{AF_UNIX, "/run/x"}"#);
    with(b"\x01\0\0bus", r#"{AF_UNIX, @"bus"}"#);
    with(b"\x01\0", "{AF_UNIX}");
    with(b"\x02\0\0\x50\x7f\0\0\x01\0\0\0\0\0\0\0\0", "{AF_INET, 127.0.0.1:80}");
    with(b"\x0a\0\0\x50\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0", "{AF_INET6, [::1]:80}");
    with(b"\x02\0\0", "{AF_INET, 1 bytes}");
    with(b"\x63\0abc", "{AF_99, 3 bytes}");
    with(b"\x01", "0x100000");
    check(
        libc::SYS_socket,
        &[],
        |_| [1, int(libc::SOCK_STREAM | libc::SOCK_CLOEXEC), 0, 0, 0, 0],
        "socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0)",
    );
}

#[test]
fn what_cannot_be_read_is_an_address() {
    let all = u64::MAX;
    check(libc::SYS_open, &[], |_| [0, 0, 0, 0, 0, 0], "open(NULL, O_RDONLY)");
    check(libc::SYS_open, &[], |_| [8, 0, 0, 0, 0, 0], "open(0x8, O_RDONLY)");
    check(libc::SYS_open, &[b"abc"], |a| [a[0], 0, 0, 0, 0, 0], r#"open("abc"..., O_RDONLY)"#);
    check(
        libc::SYS_execve,
        &[],
        |_| [all; 6],
        "execve(0xffffffffffffffff, 0xffffffffffffffff, 0xffffffffffffffff /* 0 strings */)",
    );
    check(libc::SYS_connect, &[], |_| [all; 6], "connect(-1, 0xffffffffffffffff, 18446744073709551615)");
    check(libc::SYS_openat2, &[b"a\0"], |a| [0, a[0], all, 24, 0, 0], r#"openat2(0, "a", 0xffffffffffffffff, 24)"#);
    check(600, &[], |_| [1, 2, 3, 4, 5, 6], "syscall_600(0x1, 0x2, 0x3, 0x4, 0x5, 0x6)");
    check(-1, &[], |_| [0; 6], "syscall_-1(0x0, 0x0, 0x0, 0x0, 0x0, 0x0)");
    check(libc::SYS_getpid, &[], |_| [0; 6], "getpid(0x0, 0x0, 0x0, 0x0, 0x0, 0x0)");
    let long = [b'x'; 5000];
    let expected = format!(r#"open("{}"..., O_RDONLY)"#, "x".repeat(4096));
    check(libc::SYS_open, &[&long], |a| [a[0], 0, 0, 0, 0, 0], &expected);
}

#[test]
fn results_as_text() {
    assert_eq!(PrintedResult(3).to_string(), "3");
    assert_eq!(PrintedResult(-2).to_string(), "ENOENT (No such file or directory)");
    assert_eq!(PrintedResult(-4096).to_string(), "-4096");
    assert_eq!(PrintedResult(-512).to_string(), "errno 512 (Unknown error 512)");
    assert_eq!(PrintedResult(i64::MIN).to_string(), i64::MIN.to_string());
}

proptest::proptest! {
    /// Whatever a tracee does, its call can be printed, and no line is longer than its parts allow.
    #[test]
    fn any_call_can_be_printed(
        nr in -10i64..500,
        narrow in proptest::bool::ANY,
        args in proptest::array::uniform6(proptest::prop_oneof![
            proptest::num::u64::ANY, 0..BASE + 300, BASE..BASE + 300,
        ]),
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
    ) {
        let abi = if narrow { Abi::I386 } else { Abi::X86_64 };
        let memory = FakeMemory { base: BASE, bytes: bytes.into() };
        let text = Printed { abi, nr, args, memory: &memory }.to_string();
        proptest::prop_assert!(text.ends_with(')') && !text.contains('\n') && text.len() < 8000, "{}", text);
    }
}
