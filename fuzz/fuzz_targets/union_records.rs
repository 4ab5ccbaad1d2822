//! What a directory keeps of a cow mount, in `.-`: any text in place of the records of a file and of a directory, with and without an object beside it. All that a
//! mount tells of them is an answer or an errno, and what is changed is kept, also for the next mount.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};
use vu_api::{
    Filesystem, Module, MountFlags, MountRequest, MountWords, Mounted, OpenFlags, OpenHow, Opened, Purpose, XattrFlags,
    testing::{As, path},
};
use vu_core::host::HostFs;
use vu_mod_vufs::Vufs;

static HOME: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let home = parent.join(format!("umvu-fuzz-{}", std::process::id()));
    fs::create_dir_all(home.join("b/dir")).expect("there is room for a directory");
    fs::write(home.join("b/file"), "below").expect("there is room for a file");
    fs::write(home.join("b/dir/inner"), "inner").expect("there is room for a file");
    home
});

fn mounted() -> Arc<dyn Filesystem> {
    let host = HostFs::new().expect("a kernel with openat2");
    let (upper, lower) = (HOME.join("a"), HOME.join("b"));
    let words = MountWords::parse(b"cow").expect("a word");
    let target = path(lower.to_str().expect("an ordinary name"));
    let source = path(upper.to_str().expect("an ordinary name"));
    let request = MountRequest {
        fs_type: "vufs",
        source: source.as_bytes(),
        source_path: Some(source.clone()),
        target: &target,
        flags: MountFlags::empty(),
        words: &words,
        below: Arc::new(host),
    };
    match Vufs.mount(&request) {
        Ok(Mounted::Filesystem(fs)) => fs,
        _ => panic!("two directories can be mounted"),
    }
}

/// Everything that is asked of an object.
fn look(fs: &dyn Filesystem, name: &str, who: &As) {
    let name = path(name);
    for purpose in [Purpose::Read, Purpose::List, Purpose::Attributes, Purpose::Execute] {
        let _ = fs.locate(&name, purpose);
    }
    let _ = (
        fs.probe(&name).is_ok(),
        fs.stat(&name),
        fs.read_link(&name),
        fs.list_xattr(&name),
        fs.get_xattr(&name, b"user.x"),
    );
    let how = OpenHow { flags: OpenFlags::DIRECTORY, mode: 0 };
    if let Ok(Opened::Virtual(dir)) = fs.open(&name, &how, who) {
        let mut at = 0;
        while let Ok(entries) = dir.entries(at) {
            let Some(last) = entries.last() else { break };
            assert!(entries.iter().all(|entry| entry.name != b".-"), "what is kept is hidden");
            at = last.next;
        }
    }
}

fuzz_target!(|input: (u8, &[u8], &[u8])| {
    let (what, of_file, of_dir) = input;
    let upper = HOME.join("a");
    let _ = fs::remove_dir_all(&upper);
    fs::create_dir_all(upper.join(".-")).expect("there is room for a directory");
    if what & 1 != 0 {
        fs::write(upper.join("file"), "above").expect("there is room for a file");
    }
    if what & 2 != 0 {
        fs::create_dir(upper.join("dir")).expect("there is room for a directory");
    }
    fs::write(upper.join(".-/file\x7f"), of_file).expect("there is room for a file");
    fs::write(upper.join(".-/dir\x7f"), of_dir).expect("there is room for a file");
    if what & 4 != 0 {
        // A whiteout, beside the record.
        fs::write(upper.join(".-/file"), "").expect("there is room for a file");
    }

    let fs = mounted();
    // SAFETY: plain numbers are returned.
    let who = As::user(unsafe { libc::geteuid() });
    for name in ["/", "/file", "/dir", "/dir/inner", "/missing", "/.-", "/.-/file"] {
        look(&*fs, name, &who);
    }
    let (file, dir) = (path("/file"), path("/dir"));
    if fs.chmod(&file, 0o2640, &who).is_ok() {
        assert_eq!(mounted().stat(&file).map(|stat| stat.mode & 0o7777), Ok(0o2640));
    }
    if fs.chown(&file, Some(12), Some(34), &who).is_ok() {
        assert_eq!(mounted().stat(&file).map(|stat| (stat.uid, stat.gid)), Ok((12, 34)));
    }
    if fs.set_xattr(&file, b"user.set", of_dir.get(..64).unwrap_or(of_dir), XattrFlags::empty(), &who).is_ok() {
        assert_eq!(mounted().get_xattr(&file, b"user.set").as_deref(), Ok(of_dir.get(..64).unwrap_or(of_dir)));
    }
    if fs.unlink(&file, &who).is_ok() {
        assert!(mounted().stat(&file).is_err());
    }
    if fs.unlink(&dir.child(b"inner"), &who).is_ok() && fs.rmdir(&dir, &who).is_ok() {
        assert!(mounted().stat(&dir).is_err());
        if fs.mkdir(&dir, 0o755, &who).is_ok() {
            assert!(mounted().stat(&dir.child(b"inner")).is_err(), "what was removed is there again");
        }
    }
    assert_eq!(fs::read(HOME.join("b/file")).ok().as_deref(), Some(&b"below"[..]), "the lower tree is never changed");
    assert!(HOME.join("b/dir/inner").exists(), "the lower tree is never changed");
});
