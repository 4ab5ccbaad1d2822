//! `umvu`: start a view.

use super::Program;
use super::vu_insmod::explain as explain_module;
use crate::failure::{self, Failure, Outcome};
use crate::links::{self, Make};
use crate::view::Info;
use crate::{modules, start, view};
use clap::Parser;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use vu_api::Errno;
use vu_api::control::Request;
use vu_core::config::{Config, Nesting};
use vu_core::debug::Changes;
use vu_core::log::{DEFAULT_SEVERITY, Settings, Severity, connect_syslog};

/// Run a command in a view of the system of its own
///
/// The view begins empty: programs behave in it as outside. vu_insmod(1) activates modules, and vumount(1) mounts what they provide:
/// the command and everything it starts, and nobody else, sees it. Nothing is installed, and no privilege is needed. A view is made to
/// change what programs see; it is not a security boundary.
///
/// Inside a view, umvu makes an inner one that begins with the mounts of the outer.
#[derive(Debug, Parser)]
#[command(
    after_help = "The exit status is the command's; 128+N if signal N killed it; 127 if it is not found, 126 if it cannot be \
                        executed; 1 if the view cannot be started; 2 for arguments that make no sense."
)]
pub struct Options {
    /// Run this start-up file instead of /etc/vurc and ~/.vurc
    ///
    /// Start-up files are programs, scripts as a rule, that run inside the view before the command.
    #[arg(short = 'f', long, value_name = "FILE")]
    rc: Option<PathBuf>,
    /// Run no start-up files
    #[arg(short = 'N', long, conflicts_with = "rc")]
    norc: bool,
    /// Name the view
    #[arg(short = 'V', long, alias = "vu_name", value_name = "NAME")]
    vu_name: Option<String>,
    /// Activate modules before the command starts
    #[arg(short, long = "module", value_name = "NAME", value_delimiter = ',')]
    modules: Vec<String>,
    /// Mounts work on the host instead of the layer below them
    #[arg(short = 'x', long)]
    nonesting: bool,
    /// Debug categories that are on from the start: see vudebug(1)
    #[arg(short, long, value_name = "TAGS")]
    debugtags: Vec<String>,
    /// The colours of debug categories, TAGS:COLOUR: see vudebug(1)
    #[arg(short = 'D', long, value_name = "SPEC")]
    debugcols: Vec<String>,
    /// Log up to this severity, from 0 (emergency) over 3 (error), 4 (warning), 6 (information) to 7 (debug)
    #[arg(short, long, value_name = "N", default_value_t = DEFAULT_SEVERITY, value_parser = clap::value_parser!(u8).range(0..=7))]
    loglevel: Severity,
    /// Log to syslog, too, up to this severity
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=7))]
    syslog: Option<Severity>,
    /// Log to a file instead of standard error
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Refused: without seccomp there is no view
    #[arg(short = 'S', long)]
    noseccomp: bool,
    /// The command and its arguments; without it, $SHELL or /bin/sh
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    command: Vec<OsString>,
}

/// The longest name of a view, in bytes.
const NAME_MAX: usize = 64;

impl Program for Options {
    fn run(self) -> Outcome {
        if self.noseccomp {
            return Err(Failure::new("seccomp is required, since it is how umvu sees system calls: run it without -S"));
        }
        if self.vu_name.as_ref().is_some_and(|name| name.len() > NAME_MAX || name.contains(char::is_control)) {
            return Err(Failure::misuse(format!(
                "the name of a view has at most {NAME_MAX} bytes and no control characters: choose another one"
            )));
        }
        let debug = self.debug()?;
        self.modules.iter().try_for_each(|name| modules::check(name))?;
        match view::info() {
            Some(outer) => Err(self.inner_view(&outer)),
            None => self.outer_view(debug),
        }
    }
}

impl Options {
    /// Starts a hypervisor.
    fn outer_view(self, debug: Changes) -> Outcome {
        self.start_log()?;
        let umvu =
            std::env::current_exe().map_err(|error| Failure::new(format!("its own file: {}", Errno::from(error))))?;
        let links = links::provide(&umvu, std::env::var_os("PATH").as_deref(), Make::Anywhere);
        let config = Config {
            command: start::with_files(&umvu, &self.files()?, self.command_or_shell()),
            environment: links.path.iter().map(|path| ("PATH".into(), path.clone())).collect(),
            view_name: self.vu_name.unwrap_or_default(),
            modules: self.modules,
            nesting: if self.nonesting { Nesting::Host } else { Nesting::Layers },
            debug,
        };
        // `links` lives as long as the view.
        vu_core::run(config).map_err(|error| Failure::new(error.to_string()))
    }

    /// Makes this very process the first of an inner view: the hypervisor is there already, so nobody needs to stay behind, and
    /// statuses and signals are the command's own. Returns only why that failed.
    fn inner_view(self, outer: &Info) -> Failure {
        let outer = &outer.server_id;
        let ignored = [
            ("--loglevel", self.loglevel != DEFAULT_SEVERITY),
            ("--syslog", self.syslog.is_some()),
            ("--output", self.output.is_some()),
            ("--nonesting", self.nonesting),
        ];
        for (option, _) in ignored.iter().filter(|(_, given)| *given) {
            failure::report(
                "umvu",
                &format!("{option} has no effect in a view: give it to the outer umvu (process {outer})"),
            );
        }
        self.try_inner_view().unwrap_or_else(|failure| failure)
    }

    /// The failure of the command, or of the way there.
    fn try_inner_view(self) -> Result<Failure, Failure> {
        let files = self.files()?;
        let failed = |what: &str, error: Errno| Failure::new(format!("{what}: {error}"));
        view::ask(&Request::NewView { name: self.vu_name.clone().unwrap_or_default() })
            .map_err(|error| failed("cannot make an inner view", error))?;
        let changes = self.debug_changes();
        if !changes.is_empty() {
            let pid = std::process::id().cast_signed();
            view::ask(&Request::SetDebug { pid, changes }).map_err(|error| failed("debug categories", error))?;
        }
        for name in &self.modules {
            match view::ask(&Request::InsertModule { name: name.clone(), permanent: false }) {
                // Inherited from the outer view.
                Ok(_) | Err(Errno::EEXIST) => {}
                Err(error) => return Err(Failure::new(explain_module(name, error))),
            }
        }
        let umvu = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("umvu"));
        let links = links::provide(&umvu, std::env::var_os("PATH").as_deref(), Make::Beside);
        start::run_files(&files, links.path.as_deref());
        Ok(start::exec(&self.command_or_shell(), links.path.as_deref()))
    }

    fn files(&self) -> Result<Vec<PathBuf>, Failure> {
        match &self.rc {
            Some(file) => Ok(vec![start::given_file(file)?]),
            None if self.norc => Ok(Vec::new()),
            None => Ok(start::default_files()),
        }
    }

    fn command_or_shell(&self) -> Vec<OsString> {
        if !self.command.is_empty() {
            return self.command.clone();
        }
        vec![std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into())]
    }

    /// The debug categories as the hypervisor's own umvu wants them.
    fn debug(&self) -> Result<Changes, Failure> {
        let mut changes = Changes::default();
        let tags = self.debugtags.iter().try_for_each(|tags| changes.switch_on(tags));
        let colours = self.debugcols.iter().flat_map(|spec| spec.split(',')).try_for_each(|spec| changes.colour(spec));
        tags.and(colours).map_err(|error| Failure::misuse(error.to_string()))?;
        Ok(changes)
    }

    /// The debug categories as a request to the hypervisor tells them.
    fn debug_changes(&self) -> Vec<String> {
        self.debugtags.iter().map(|tags| format!("+{tags}")).collect()
    }

    fn start_log(&self) -> Result<(), Failure> {
        let cannot =
            |file: &Path, error| Failure::new(format!("cannot log to {}: {}", file.display(), Errno::from(error)));
        let open =
            |file: &PathBuf| File::options().create(true).append(true).open(file).map_err(|error| cannot(file, error));
        let syslog = Path::new("/dev/log");
        let connect = |level| Ok((connect_syslog(syslog).map_err(|error| cannot(syslog, error))?, level));
        let (file, syslog) = (self.output.as_ref().map(open).transpose()?, self.syslog.map(connect).transpose()?);
        vu_core::log::init(Settings { level: self.loglevel, file, syslog });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Options {
        Options::try_parse_from([&["umvu"], args].concat()).unwrap()
    }

    #[test]
    fn options_end_at_the_command() {
        assert_eq!(parse(&["ls", "-l", "--norc"]).command, ["ls", "-l", "--norc"]);
        let options = parse(&["-N", "--", "-x", "-f"]);
        assert!(options.norc && options.command == ["-x", "-f"]);
        assert!(Options::try_parse_from(["umvu", "--nosuch", "ls"]).is_err());
    }

    #[test]
    fn modules_and_names_in_either_spelling() {
        assert_eq!(parse(&["-m", "vufs,vudev", "--module", "vunet"]).modules, ["vufs", "vudev", "vunet"]);
        for spelling in ["-V", "--vu-name", "--vu_name"] {
            assert_eq!(parse(&[spelling, "lab"]).vu_name.as_deref(), Some("lab"));
        }
    }

    #[test]
    fn debug_categories() {
        let options = parse(&["-d", "sp:r", "-D", "p:b,m:g+"]);
        assert_ne!(options.debug().unwrap(), Changes::default());
        assert_eq!(options.debug_changes(), ["+sp:r"]);
        assert!(parse(&["-d", "Z"]).debug().is_err());
        assert!(parse(&["-D", "p"]).debug().is_err());
    }
}
