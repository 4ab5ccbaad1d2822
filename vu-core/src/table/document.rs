//! SYSCALLS.md: the table for people.

use super::{GROUPS, Group, Row, Support, Tier};
use std::fmt::Write;

/// The text of SYSCALLS.md.
#[must_use]
pub fn document() -> String {
    let mut text = String::from(INTRODUCTION);
    for group in GROUPS {
        section(&mut text, group);
    }
    text
}

const INTRODUCTION: &str = "\
# System calls under umvu

This page is printed from the syscall table (`vu-core/src/table`) and checked by `cargo test`;
`UPDATE=1 cargo test -p vu-core table` writes it anew. It has every call of x86_64 up to Linux 6.19.

| umvu | means |
| --- | --- |
| **handled** | looked at, and answered as the view has it |
| **partial** | handled, but for what the note says |
| host | runs in the kernel, unseen and at full speed, for the reason given |
| refused | fails with this errno, so that programs do without it |

*From* tells since when: *start*, *first mount*, or *first virtual file*, which is the first mount of a module whose files
no file of the host stands for, or *module for identities*: while `unrealuidgid` is active. Before that, the call runs in the kernel.

By the 32-bit entry (`int 0x80`), calls have the numbers of the column i386; those whose arguments differ there are in a
section of their own, and all others are the kernel's. Numbers with the x32 bit are the kernel's until the first mount and
`ENOSYS` from then on. A number that no table has goes to the kernel, which says `ENOSYS`.

umvu changes views; it is not a security boundary.
";

fn section(text: &mut String, group: &Group) {
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "\n## {}\n\n| call | x86_64 | i386 | umvu | from | note |\n| --- | --- | --- | --- | --- | --- |\n",
        group.title
    );
    for row in group.rows {
        let number = |nr: Option<i64>| nr.map_or_else(String::new, |nr| nr.to_string());
        let (status, from, note) = status(row);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {status} | {from} | {} |",
            row.name.replace('_', "\\_"),
            number(row.nr),
            number(row.i386),
            note.replace('_', "\\_").replace('|', "\\|"),
        );
    }
}

fn status(row: &Row) -> (String, &'static str, &'static str) {
    match row.support {
        Support::Handled { tier, partial: None, .. } => ("**handled**".into(), from(tier), ""),
        Support::Handled { tier, partial: Some(note), .. } => ("**partial**".into(), from(tier), note),
        Support::Host(why) => ("host".into(), "", why),
        Support::Refused { tier, errno, why } => (format!("refused: `{errno:?}`"), from(tier), why),
    }
}

fn from(tier: Tier) -> &'static str {
    match tier {
        Tier::Base => "start",
        Tier::Path => "first mount",
        Tier::Descriptor => "first virtual file",
        Tier::Stat => "first virtual file, or look at what umvu tells in `/proc`",
        Tier::Identity => "module for identities",
        Tier::Attribute => "first virtual file or read-only mount",
        Tier::Message => "in processes with datagram sockets of AF_UNIX",
        Tier::SocketName => "first socket with a name of the view's",
    }
}
