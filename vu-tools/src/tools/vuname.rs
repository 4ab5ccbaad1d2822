//! `vuname`: uname, extended.

use super::Program;
use crate::failure::{Failure, Outcome};
use crate::view::{self, Info};
use clap::Parser;
use nix::sys::utsname::{UtsName, uname};
use vu_api::control::Request;

/// Print information on the system and the view, or name the view
///
/// Without options: the name of the kernel. Outside a view it says what uname(1) says, unless --nouname is given.
#[derive(Debug, Default, Parser)]
pub struct Options {
    /// Everything, in the order of the options
    #[arg(short, long)]
    all: bool,
    /// The name of the kernel
    #[arg(short = 's', long)]
    kernel_name: bool,
    /// The name of the machine in the network
    #[arg(short, long)]
    nodename: bool,
    /// The release of the kernel
    #[arg(short = 'r', long)]
    kernel_release: bool,
    /// The version of the kernel
    #[arg(short = 'v', long)]
    kernel_version: bool,
    /// The name of the hardware
    #[arg(short, long)]
    machine: bool,
    /// The type of the processor, or 'unknown'
    #[arg(short, long)]
    processor: bool,
    /// The hardware platform, or 'unknown'
    #[arg(short = 'i', long)]
    hardware_platform: bool,
    /// The operating system
    #[arg(short, long)]
    operating_system: bool,
    /// The server id of the view: the process id of its umvu
    #[arg(short = 'U', long)]
    serverid: bool,
    /// The name of the view
    #[arg(short = 'V', long)]
    viewname: bool,
    /// What a prompt may show: the name of the view, or else machine[serverid]; outside a view the name of the machine
    #[arg(short = 'P', long)]
    prompt: bool,
    /// Do not act as uname outside a view, but fail
    #[arg(short = 'x', long)]
    nouname: bool,
    /// No messages on errors
    #[arg(short, long)]
    quiet: bool,
    /// The new name of the view
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

impl Program for Options {
    fn run(self) -> Outcome {
        let result = self.act();
        if self.quiet { result.map_err(|failure| Failure { message: String::new(), ..failure }) } else { result }
    }
}

impl Options {
    fn act(&self) -> Outcome {
        let view = if self.nouname || self.name.is_some() { Some(view::require()?) } else { view::info() };
        if let Some(name) = &self.name {
            if self.asks() {
                return Err(Failure::misuse("either ask or name the view: NAME goes with no other option"));
            }
            view::ask(&Request::SetViewName { name: name.clone() })
                .map_err(|error| Failure::new(format!("cannot name the view '{name}': {error}")))?;
            return Ok(0);
        }
        let system = uname().map_err(|error| Failure::new(format!("uname: {}", error.desc())))?;
        crate::print(&(self.answer(&system, view.as_ref())?.join(" ") + "\n"))?;
        Ok(0)
    }

    fn asks(&self) -> bool {
        let Options { all, kernel_name, nodename, kernel_release, kernel_version, machine, processor, .. } = self;
        let Options { hardware_platform, operating_system, serverid, viewname, prompt, .. } = self;
        [all, kernel_name, nodename, kernel_release, kernel_version, machine, processor].into_iter().any(|&o| o)
            || [hardware_platform, operating_system, serverid, viewname, prompt].into_iter().any(|&o| o)
    }

    fn answer(&self, system: &UtsName, view: Option<&Info>) -> Result<Vec<String>, Failure> {
        let node = system.nodename().to_string_lossy().into_owned();
        if self.prompt {
            return Ok(vec![match view {
                Some(view) if !view.name.is_empty() => view.name.clone(),
                Some(view) => format!("{node}[{}]", view.server_id),
                None => node,
            }]);
        }
        if view.is_none() && (self.serverid || self.viewname) {
            return Err(Failure::new("this process is not in a view, so there is no server id and no name of it"));
        }
        let text = |field: &std::ffi::OsStr| field.to_string_lossy().into_owned();
        let unknown = "unknown".to_owned();
        // What -a leaves out is unknown to uname, too.
        let fields = [
            (self.all || self.kernel_name || !self.asks(), text(system.sysname())),
            (self.all || self.nodename, node),
            (self.all || self.kernel_release, text(system.release())),
            (self.all || self.kernel_version, text(system.version())),
            (self.all || self.machine, text(system.machine())),
            (self.processor, unknown.clone()),
            (self.hardware_platform, unknown),
            (self.all || self.operating_system, "GNU/Linux".to_owned()),
            (self.all && view.is_some() || self.serverid, view.map_or(String::new(), |v| v.server_id.clone())),
            (self.all && view.is_some() || self.viewname, view.map_or(String::new(), |v| v.name.clone())),
        ];
        Ok(fields.into_iter().filter(|(wanted, _)| *wanted).map(|(_, field)| field).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(options: &[&str], view: Option<&Info>) -> Result<String, Failure> {
        let options = Options::try_parse_from([&["vuname"], options].concat()).unwrap();
        Ok(options.answer(&uname().unwrap(), view)?.join(" "))
    }

    #[test]
    fn outside_it_is_uname() {
        for option in ["-s", "-n", "-r", "-v", "-m", "-o", "-a", "-srm"] {
            let output = std::process::Command::new("uname").arg(option).output().unwrap();
            let expected = String::from_utf8(output.stdout).unwrap();
            assert_eq!(ask(&[option], None).unwrap(), expected.trim_end(), "{option}");
        }
        assert_eq!(ask(&[], None), ask(&["-s"], None));
        assert_eq!(ask(&["-P"], None), ask(&["-n"], None));
        assert!(ask(&["-U"], None).is_err() && ask(&["-V"], None).is_err());
    }

    #[test]
    fn inside_it_knows_the_view() {
        let named = |name: &str| Info { server_id: "42".into(), name: name.into(), version: "1".into() };
        assert_eq!(ask(&["-UV"], Some(&named("lab"))).unwrap(), "42 lab");
        assert_eq!(ask(&["-P"], Some(&named("lab"))).unwrap(), "lab");
        assert_eq!(ask(&["-P"], Some(&named(""))).unwrap(), ask(&["-n"], None).unwrap() + "[42]");
        assert!(ask(&["-a"], Some(&named("lab"))).unwrap().ends_with("GNU/Linux 42 lab"));
    }
}
