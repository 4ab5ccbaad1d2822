//! `vusu`: su(1) inside a view whose users are virtual.

use super::Program;
use crate::failure::{self, Failure, Outcome};
use crate::view;
use clap::Parser;
use nix::unistd::{Gid, Uid, User, getgrouplist, setgroups, setresgid, setresuid};
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use vu_api::Errno;
use vu_api::control::Request;
use vu_trace::with_inherited_broken_pipes;

/// The module that makes users virtual.
const MODULE: &str = "unrealuidgid";

/// Become another user of the view, without a password
///
/// Runs a shell, or a command, as USER (root, if none is named), as su(1) does. The view must have the module unrealuidgid: then users are virtual, and everybody
/// may become whoever they like by this program. On the host's own files, nothing changes. Root's PATH gets the directories of root's own programs (/usr/sbin, …) that are missing
/// from it, behind the others.
#[derive(Debug, Parser)]
pub struct Options {
    /// Run this by the shell
    #[arg(short, long)]
    command: Option<OsString>,
    /// A login shell: with an environment of its own, and in the home directory; '-' before USER is the same
    #[arg(short, long)]
    login: bool,
    /// Leave HOME, SHELL, USER and LOGNAME as they are
    #[arg(short, long, visible_short_alias = 'm', conflicts_with = "login")]
    preserve_environment: bool,
    /// Run this shell instead of the user's
    #[arg(short, long)]
    shell: Option<PathBuf>,
    /// The user, by name or number, and arguments for the shell; write '--' before those that begin with '-'
    #[arg(value_name = "USER")]
    words: Vec<OsString>,
}

/// What is to be run, and how.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    login: bool,
    user: OsString,
    arguments: Vec<OsString>,
}

impl Program for Options {
    fn run(self) -> Outcome {
        view::require()?;
        let active = view::ask(&Request::ActiveModules)
            .map_err(|error| Failure::new(format!("the list of modules: {error}")))?;
        if !active.iter().any(|row| row.first().is_some_and(|name| name == MODULE)) {
            return Err(Failure::new(format!(
                "users are not virtual in this view: 'vu_insmod {MODULE}' makes them so"
            )));
        }
        let plan = self.plan();
        let user = find(&plan.user)?;
        become_user(&user)?;
        Err(self.exec(&plan, &user))
    }
}

impl Options {
    fn plan(&self) -> Plan {
        let mut words = self.words.iter().cloned().peekable();
        let dash = words.next_if(|word| word == "-").is_some();
        let user = words.next().unwrap_or_else(|| "root".into());
        let command = self.command.iter().flat_map(|command| [OsString::from("-c"), command.clone()]);
        Plan { login: self.login || dash, user, arguments: command.chain(words).collect() }
    }

    /// Becomes the shell; returns only why it could not.
    fn exec(&self, plan: &Plan, user: &User) -> Failure {
        let keeps = self.preserve_environment && !plan.login;
        let kept = if keeps { std::env::var_os("SHELL").map(PathBuf::from) } else { None };
        let own = Some(user.shell.clone()).filter(|shell| !shell.as_os_str().is_empty());
        let shell = self.shell.clone().or(kept).or(own).unwrap_or_else(|| "/bin/sh".into());
        let mut command = Command::new(&shell);
        let base = shell.file_name().unwrap_or(shell.as_os_str());
        let mut argv0 = OsString::from(if plan.login { "-" } else { "" });
        argv0.push(base);
        command.arg0(argv0).args(&plan.arguments);
        if plan.login {
            command.env_clear();
            command.envs(std::env::var_os("TERM").map(|term| ("TERM", term)));
            command.env("PATH", login_path(user.uid));
            if let Err(error) = std::env::set_current_dir(&user.dir) {
                let error = Errno::from(error);
                failure::report("vusu", &format!("home directory {}: {error}", user.dir.display()));
            }
        }
        if !keeps {
            command.env("HOME", &user.dir).env("SHELL", &shell);
            // su(1): root works under the name of whoever became root.
            if plan.login || !user.uid.is_root() {
                command.env("USER", &user.name).env("LOGNAME", &user.name);
            }
        }
        if !keeps && !plan.login && user.uid.is_root() {
            command.env("PATH", with_roots_own(&std::env::var_os("PATH").unwrap_or_default()));
        }
        let error = Errno::from(with_inherited_broken_pipes(&mut command).exec());
        let status = if error == Errno::ENOENT { 127 } else { 126 };
        Failure { message: format!("{}: {error}", shell.display()), status }
    }
}

/// What login.defs(5) has where nothing is configured.
fn login_path(uid: Uid) -> &'static OsStr {
    OsStr::new(if uid.is_root() {
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    } else {
        "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"
    })
}

/// The PATH of an ordinary user has no place for what only root has a use for (chroot, mke2fs, debootstrap), and there is no sudo here that would
/// add it: it comes behind what is there.
fn with_roots_own(path: &OsStr) -> OsString {
    let mut list = path.to_owned();
    for directory in ["/usr/local/sbin", "/usr/sbin", "/sbin"] {
        if !path.as_bytes().split(|&byte| byte == b':').any(|entry| entry == directory.as_bytes()) {
            list.push(if list.is_empty() { "" } else { ":" });
            list.push(directory);
        }
    }
    list
}

/// The account of a name or number.
fn find(name: &OsStr) -> Result<User, Failure> {
    let shown = Path::new(name).display();
    let failed = |error: nix::Error| Failure::new(format!("user {shown}: {}", Errno::new(error as i32)));
    let text = name.to_str().ok_or_else(|| Failure::new(format!("there is no user '{shown}'")))?;
    let found = match User::from_name(text).map_err(failed)? {
        None => match text.parse() {
            Ok(number) => User::from_uid(Uid::from_raw(number)).map_err(failed)?,
            Err(_) => None,
        },
        found => found,
    };
    found.ok_or_else(|| Failure::new(format!("there is no user '{shown}'")))
}

/// Groups first: who is not root any more has no right to change them.
fn become_user(user: &User) -> Result<(), Failure> {
    let name = CString::new(OsStr::new(&user.name).as_bytes()).unwrap_or_default();
    let groups = getgrouplist(&name, user.gid).unwrap_or_else(|_| vec![user.gid]);
    let (uid, gid): (Uid, Gid) = (user.uid, user.gid);
    view::ask(&Request::FreeIdentity).map_err(|error| Failure::new(format!("cannot become {}: {error}", user.name)))?;
    setgroups(&groups)
        .and_then(|()| setresgid(gid, gid, gid))
        .and_then(|()| setresuid(uid, uid, uid))
        .map_err(|error| Failure::new(format!("cannot become {}: {}", user.name, Errno::new(error as i32))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &[&str], login: bool, user: &str, arguments: &[&str]) {
        let options = Options::try_parse_from(std::iter::once(&"vusu").chain(words)).unwrap();
        let arguments = arguments.iter().map(OsString::from).collect();
        assert_eq!(options.plan(), Plan { login, user: user.into(), arguments });
    }

    #[test]
    fn words_mean_what_they_mean_to_su() {
        check(&[], false, "root", &[]);
        check(&["-"], true, "root", &[]);
        check(&["-l", "daemon"], true, "daemon", &[]);
        check(&["-", "daemon", "x"], true, "daemon", &["x"]);
        check(&["-c", "id -u"], false, "root", &["-c", "id -u"]);
        check(&["daemon", "-c", "id", "a", "b"], false, "daemon", &["-c", "id", "a", "b"]);
        check(&["-m", "daemon", "--", "-x", "-"], false, "daemon", &["-x", "-"]);
    }

    #[test]
    fn root_finds_its_own_programs() {
        let check = |path: &str, expected: &str| assert_eq!(with_roots_own(path.as_ref()), expected);
        check("/usr/bin:/bin", "/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin");
        check("/usr/sbin:/usr/bin", "/usr/sbin:/usr/bin:/usr/local/sbin:/sbin");
        check("", "/usr/local/sbin:/usr/sbin:/sbin");
    }

    #[test]
    fn accounts_have_names_and_numbers() {
        assert_eq!(find("root".as_ref()).unwrap().uid.as_raw(), 0);
        assert_eq!(find("0".as_ref()).unwrap().name, "root");
        assert_eq!(find("no such user".as_ref()).unwrap_err().message, "there is no user 'no such user'");
    }
}
