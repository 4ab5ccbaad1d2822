//! `vustack`: run a command on a network stack.

use super::Program;
use crate::failure::{self, Failure, Outcome};
use crate::{start, view};
use clap::Parser;
use std::ffi::OsString;
use vu_api::Errno;
use vu_api::control::Request;

/// Run a command with another network stack as its default
///
/// STACK is the mount point of a stack (see vumount(1)); the command and what it starts open their sockets there: those of every
/// address family, or of the ones that -f or -s choose. Options after STACK belong to the command.
#[derive(Debug, Parser)]
pub struct Options {
    /// Only the families that the stack supports
    #[arg(short, long)]
    supported: bool,
    /// Say which families are chosen
    #[arg(short, long)]
    verbose: bool,
    /// Only these families, separated by commas: names (inet6), numbers (10) or groups (ip: inet, inet6; net: ip, netlink, packet; all)
    #[arg(short, long, visible_alias = "family", value_name = "FAMILIES", value_delimiter = ',')]
    families: Vec<String>,
    /// The mount point of the stack
    stack: String,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

impl Program for Options {
    fn run(self) -> Outcome {
        view::require()?;
        let families = numbers(&self.families)?;
        let stack = &self.stack;
        // The hypervisor takes the path as it is; a relative one is meant from here.
        let path = std::path::absolute(stack).ok().and_then(|path| path.into_os_string().into_string().ok());
        let path =
            path.ok_or_else(|| Failure::new(format!("stack {stack}: the path of the working directory is not UTF-8")))?;
        let request = Request::SetStack { path, families: families.clone(), supported_only: self.supported };
        view::ask(&request).map_err(|error| Failure::new(explain(stack, error)))?;
        if self.verbose {
            let which = if self.supported { "the supported ones of " } else { "" };
            failure::report("vustack", &format!("{stack} for {which}{}", show(&families)));
        }
        Err(start::exec(&self.command, None))
    }
}

fn explain(stack: &str, error: Errno) -> String {
    match error {
        Errno::ENOENT => format!("stack {stack} does not exist: mount one there ('vumount' lists what is mounted)"),
        Errno::EINVAL | Errno::ENODEV | Errno::ENOTSOCK => format!("{stack} is not the mount point of a network stack"),
        error => format!("stack {stack}: {error}"),
    }
}

/// Names of address families. AF_UNIX is not among them: its addresses are paths, and never a stack's business.
const FAMILIES: [(&str, i32); 16] = [
    ("inet", libc::AF_INET),
    ("inet6", libc::AF_INET6),
    ("netlink", libc::AF_NETLINK),
    ("packet", libc::AF_PACKET),
    ("ax25", libc::AF_AX25),
    ("ipx", libc::AF_IPX),
    ("appletalk", libc::AF_APPLETALK),
    ("x25", libc::AF_X25),
    ("bluetooth", libc::AF_BLUETOOTH),
    ("can", libc::AF_CAN),
    ("tipc", libc::AF_TIPC),
    ("ieee802154", libc::AF_IEEE802154),
    ("alg", libc::AF_ALG),
    ("vsock", libc::AF_VSOCK),
    ("xdp", libc::AF_XDP),
    ("rds", libc::AF_RDS),
];

/// Other names: of one family as people call it, and of groups.
const GROUPS: [(&str, &[i32]); 4] = [
    ("ipv4", &[libc::AF_INET]),
    ("ipv6", &[libc::AF_INET6]),
    ("ip", &[libc::AF_INET, libc::AF_INET6]),
    ("net", &[libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_PACKET]),
];

/// The families that are named; none stand for all.
fn numbers(names: &[String]) -> Result<Vec<i32>, Failure> {
    let mut numbers = Vec::new();
    for name in names.iter().map(|name| name.to_ascii_lowercase()) {
        if name == "all" {
            return Ok(Vec::new());
        }
        if let Some((_, number)) = FAMILIES.iter().find(|(known, _)| *known == name) {
            numbers.push(*number);
        } else if let Some((_, group)) = GROUPS.iter().find(|(known, _)| *known == name) {
            numbers.extend_from_slice(group);
        } else {
            // Numbers as the kernel bounds them (AF_MAX, far below 256).
            match name.parse::<u8>() {
                Ok(number) => numbers.push(number.into()),
                Err(_) => return Err(Failure::misuse(unknown(&name))),
            }
        }
    }
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

fn unknown(name: &str) -> String {
    let known: Vec<&str> = FAMILIES.iter().map(|(n, _)| *n).chain(GROUPS.iter().map(|(n, _)| *n)).collect();
    format!("there is no address family '{name}'; there are: {}, all, or a number", known.join(", "))
}

fn show(families: &[i32]) -> String {
    let name = |number: i32| match FAMILIES.iter().find(|(_, n)| *n == number) {
        Some((name, _)) => format!("{name}({number})"),
        None => number.to_string(),
    };
    match families {
        [] => "all address families".to_owned(),
        some => some.iter().map(|&number| name(number)).collect::<Vec<_>>().join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(families: &str, shown: &str) {
        let names: Vec<String> = families.split(',').map(str::to_owned).collect();
        assert_eq!(show(&numbers(&names).unwrap()), shown);
    }

    #[test]
    fn families() {
        check("inet", "inet(2)");
        check("IP,10", "inet(2) inet6(10)");
        check("net", "inet(2) inet6(10) netlink(16) packet(17)");
        check("99,ipv6", "inet6(10) 99");
        check("inet,all", "all address families");
        assert!(numbers(&["bogus".into()]).unwrap_err().message.contains("inet6"));
        assert!(numbers(&["-1".into()]).is_err());
    }

    #[test]
    fn options_after_the_stack_are_the_command_s() {
        let options =
            Options::try_parse_from(["vustack", "-v", "-f", "ip,16", "/dev/net/x", "ip", "-s", "link"]).unwrap();
        assert_eq!(options.families, ["ip", "16"]);
        assert!(options.verbose && !options.supported);
        assert_eq!(options.command, ["ip", "-s", "link"]);
    }
}
