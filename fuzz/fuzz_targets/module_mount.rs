//! mount(2) of every module's types with any source and any data string: an errno or a mount, never a panic, and a
//! word that no module has is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};
use vu_api::testing::{DirTree, Objects};
use vu_api::{AbsPath, Errno, Filesystem, Module, MountFlags, MountRequest, MountWords, Mounted, modules, submodules};
use {vu_mod_vudev as _, vu_mod_vufs as _, vu_mod_vufuse as _, vu_mod_vunet as _};

/// Each type of mount with its module.
static TYPES: LazyLock<Vec<(&'static dyn Module, &'static str)>> = LazyLock::new(|| {
    let mut types = Vec::new();
    for module in modules() {
        types.extend(
            submodules(module.name()).flat_map(|submodule| submodule.types()).map(|&fs_type| (module, fs_type)),
        );
        if submodules(module.name()).next().is_none() {
            types.push((module, module.name()));
        }
    }
    types.sort_by_key(|(_, fs_type)| *fs_type);
    assert!(types.len() >= 5, "a module is not linked in");
    types
});

fuzz_target!(|input: (u8, &[u8], &[u8])| {
    let (which, source, data) = input;
    let (module, fs_type) = TYPES[usize::from(which) % TYPES.len()];
    let Ok(words) = MountWords::parse(data) else { return };
    let below: Arc<dyn Filesystem> = DirTree::new("/", Objects::Host);
    let target = AbsPath::root().child(b"mnt");
    let source_path = AbsPath::new(source).ok().filter(|path| below.stat(path).is_ok());
    let request = MountRequest {
        fs_type,
        source,
        source_path,
        target: &target,
        flags: MountFlags::empty(),
        words: &words,
        below,
    };

    match module.mount(&request) {
        Ok(Mounted::Filesystem(fs)) => {
            assert!(!fs.declines(&AbsPath::root()), "a mount that declines its own root is none");
            let _ = fs.probe(&AbsPath::root());
        }
        Ok(Mounted::Stack(stack)) => assert!(!stack.supports(vu_api::Family::UNIX)),
        Err(_) => {}
    }

    let with_bogus = [data, b",no-such-word"].concat();
    if let Ok(words) = MountWords::parse(&with_bogus) {
        let request = MountRequest { words: &words, ..request };
        assert_eq!(module.mount(&request).err(), Some(Errno::EINVAL), "{fs_type}");
    }
});
