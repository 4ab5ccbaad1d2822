//! The man pages in `man/` and the completions in `completions/` are made from the definitions of the options, and kept in the
//! repository so that packages need no build step for them. After a change of options:
//!
//! `UPDATE_GENERATED=1 cargo test -p vu-tools --test generated`
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use clap_complete::Shell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use vu_tools::tools::{TOOLS, Tool};

#[test]
fn man_pages_are_up_to_date() {
    check("man", TOOLS.iter().map(|tool| (format!("{}.1", tool.name), man_page(tool))));
}

#[test]
fn completions_are_up_to_date() {
    let shells = [Shell::Bash, Shell::Zsh, Shell::Fish];
    let all = TOOLS.iter().flat_map(|tool| shells.map(|shell| completion(tool, shell)));
    check("completions", all);
}

/// Every option that a tool has stands in its man page: the page is not only current but complete.
#[test]
fn man_pages_name_every_option() {
    for tool in TOOLS {
        let page = man_page(&tool).replace("\\-", "-");
        for option in tool.command().get_arguments().filter(|a| !a.is_hide_set()).filter_map(|a| a.get_long()) {
            assert!(page.contains(&format!("--{option}")), "{}: --{option}", tool.name);
        }
    }
}

fn man_page(tool: &Tool) -> String {
    let mut command = tool.command();
    command.build();
    let version = format!("umvu {}", env!("CARGO_PKG_VERSION"));
    let man =
        clap_mangen::Man::new(command).title(tool.name.to_uppercase()).section("1").source(version).manual("umvu");
    let mut page = Vec::new();
    man.render(&mut page).unwrap();
    // clap's heading for what follows the options says nothing.
    let page = String::from_utf8(page).unwrap().replace(".SH EXTRA\n", ".SH NOTES\n");
    let others: Vec<String> = TOOLS
        .iter()
        .filter(|other| other.name != tool.name)
        .map(|other| format!("\\fB{}\\fR(1)", other.name))
        .collect();
    page + ".SH \"SEE ALSO\"\n" + &others.join(", ") + "\n"
}

fn completion(tool: &Tool, shell: Shell) -> (String, String) {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut tool.command(), tool.name, &mut text);
    let name = match shell {
        Shell::Zsh => format!("zsh/_{}", tool.name),
        Shell::Fish => format!("fish/{}.fish", tool.name),
        _ => format!("bash/{}", tool.name),
    };
    (name, String::from_utf8(text).unwrap())
}

/// Compares the files of a directory with what they should be; nothing may be missing, and nothing else may be there.
fn check(directory: &str, expected: impl Iterator<Item = (String, String)>) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(directory);
    let update = std::env::var_os("UPDATE_GENERATED").is_some();
    let mut names = BTreeSet::new();
    let mut stale = Vec::new();
    for (name, text) in expected {
        let file = directory.join(&name);
        if update {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, &text).unwrap();
        }
        if std::fs::read_to_string(&file).is_ok_and(|found| found == text) {
            names.insert(file);
        } else {
            stale.push(name);
        }
    }
    assert!(stale.is_empty(), "not up to date: {stale:?}; UPDATE_GENERATED=1 makes them anew");
    assert_eq!(files(&directory), names, "files that belong to no tool");
}

fn files(directory: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path);
        }
    }
    found
}
