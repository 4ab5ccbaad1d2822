//! The invariants of the architecture that the compiler does not check: which crate may know which, and where `unsafe` may stand.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The crates of ours that each crate depends on (for its tests it may use others).
fn our_dependencies() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(ROOT)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let depends = |package: &Value| {
        let ours = list(&package["dependencies"]).into_iter().filter(|d| d["kind"] != "dev" && !d["path"].is_null());
        ours.map(|d| text(&d["name"])).collect()
    };
    list(&metadata["packages"]).iter().map(|package| (text(&package["name"]), depends(package))).collect()
}

/// What a crate may depend on among ours; `None` for whatever it likes.
fn allowed(name: &str) -> Option<&'static [&'static str]> {
    match name {
        "vu-api" => Some(&[]),
        "vu-core" => Some(&["vu-api", "vu-trace", "vu-path", "vu-fd", "vu-agent"]),
        // The only crate that knows the modules.
        "vu-tools" => None,
        // vu-trace, vu-path, vu-fd and vu-agent do not know one another; modules, examples of modules too, know vu-api only.
        _ => Some(&["vu-api"]),
    }
}

#[test]
fn crates_know_only_what_they_may() {
    let all = our_dependencies();
    assert!(all.contains_key("vu-core") && all.contains_key("vu-mod-vufs"), "the workspace was not read: {all:?}");
    assert!(all["vu-core"].contains(&"vu-api".to_owned()), "dependencies were not read: {all:?}");
    for (name, dependencies) in &all {
        if let Some(allowed) = allowed(name) {
            let forbidden: Vec<_> = dependencies.iter().filter(|d| !allowed.contains(&d.as_str())).collect();
            assert!(forbidden.is_empty(), "{name} must not depend on {forbidden:?}");
        }
    }
}

/// Where `unsafe` may stand, relative to the workspace. Tests may do what they need.
fn may_be_unsafe(file: &Path) -> bool {
    file.starts_with("vu-trace/src")
        || ["vu-core/src/host.rs", "vu-core/src/sys.rs", "vu-agent/src/board.rs", "vu-agent/src/code.rs"]
            .iter()
            .any(|allowed| Path::new(allowed) == file)
}

#[test]
fn unsafe_stands_only_where_it_may() {
    let mut files = Vec::new();
    for name in our_dependencies().keys() {
        sources(&Path::new(ROOT).join(name).join("src"), &mut files);
    }
    assert!(files.len() > 30, "the sources were not found: {files:?}");
    let mut offenders = Vec::new();
    for file in files {
        let relative = file.strip_prefix(ROOT).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let lines = text.lines().enumerate().filter(|(_, line)| is_unsafe(line) && !may_be_unsafe(relative));
        offenders.extend(lines.map(|(i, line)| format!("{}:{}: {}", relative.display(), i + 1, line.trim())));
    }
    assert!(offenders.is_empty(), "unsafe where it may not stand:\n{}", offenders.join("\n"));
}

/// Whether a line of source, its comment aside, has the keyword.
fn is_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    code.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == "unsafe")
}

#[test]
fn the_keyword_is_recognised() {
    for line in ["unsafe { x }", "    pub unsafe fn f() {}", "unsafe impl Send for X {}", "(unsafe {x})"] {
        assert!(is_unsafe(line), "{line}");
    }
    for line in ["#![forbid(unsafe_code)]", "// unsafe { x }", "let unsafely = 1;"] {
        assert!(!is_unsafe(line), "{line}");
    }
}

/// The sources of a crate; a module crate without the directory is not one of ours (an example in one file).
fn sources(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
