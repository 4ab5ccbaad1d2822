//! How a view is run.

use crate::{
    config::{Config, ExecFailure},
    core::Core,
    host::HostFs,
    sys,
    table::{self, Filter},
    view::View,
};
use std::{
    ffi::{CString, OsStr, OsString},
    os::unix::ffi::OsStrExt,
    sync::Arc,
};
use thiserror::Error;
use vu_api::{Errno, Filesystem};
use vu_fd::Nodes;
use vu_trace::{Hindrance, Launch, Required};

/// Why a view cannot be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// The host does not allow it.
    #[error(transparent)]
    Host(#[from] Hindrance),
    /// Nor this.
    #[error(transparent)]
    HostFs(#[from] crate::host::Unsupported),
    /// A filter cannot be compiled: a defect.
    #[error("the base filter cannot be made: {0}")]
    Filter(#[from] vu_trace::filter::FilterError),
    /// No randomness.
    #[error("no random number can be had: {0}")]
    Random(std::io::Error),
}

/// Runs a view; the exit status of its command as a shell tells it.
///
/// To be called while the process has one thread.
///
/// # Errors
/// See [`StartError`].
pub fn run(config: Config) -> Result<i32, StartError> {
    let host = HostFs::new()?;
    let clear = host.proofs();
    let host: Arc<dyn Filesystem> = Arc::new(host);
    let cookie = random()?;
    let base_filter = vu_trace::filter::compile(&table::filter(Filter::Base, cookie))?;
    let hypervisor = |required: Arc<Required>| {
        sys::give_back_large_memory();
        let nodes = Arc::new(Nodes::new());
        let view = View::new(host, nodes.clone(), config.nesting);
        view.set_name(&config.view_name);
        view.debug().change(&config.debug);
        for module in &config.modules {
            // Which modules there are was looked at before; what else is wrong is in the log.
            let _ = view.insert_module(module, false);
        }
        let identities = view.identities().is_some();
        let core = Arc::new_cyclic(|me| Core::new(me, view, nodes, clear, required, cookie));
        if identities {
            core.identities_are_virtual();
        }
        core
    };
    let command = || execute(&config.command, &config.environment);
    Ok(vu_trace::launch(Launch { base_filter: base_filter.into(), cookie, hypervisor, command })?)
}

/// A number that no process can guess.
fn random() -> Result<u64, StartError> {
    use std::io::Read;
    let mut bytes = [0; 8];
    let file = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    file.map_err(StartError::Random)?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Becomes the command; returns the status if it cannot be executed.
fn execute(command: &[OsString], environment: &[(OsString, OsString)]) -> i32 {
    let failed = |program: &OsStr, errno: Errno| {
        let failure = ExecFailure::new(program, errno);
        eprintln!("umvu: {}", failure.message);
        failure.status
    };
    let Some(program) = command.first() else { return 0 };
    let strings = |words: &mut dyn Iterator<Item = Vec<u8>>| words.map(CString::new).collect::<Result<Vec<_>, _>>();
    let mut variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    variables.retain(|(name, _)| !environment.iter().any(|(new, _)| new == name));
    variables.extend(environment.iter().cloned());
    let joined = |(name, value): &(OsString, OsString)| [name.as_bytes(), b"=", value.as_bytes()].concat();
    let (Ok(argv), Ok(envp)) =
        (strings(&mut command.iter().map(|word| word.as_bytes().to_vec())), strings(&mut variables.iter().map(joined)))
    else {
        return failed(program, Errno::EINVAL);
    };
    let path = environment.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone());
    let path = path.or_else(|| std::env::var_os("PATH")).unwrap_or_else(|| "/bin:/usr/bin".into());
    let error = vu_trace::execute_on_path(&argv, &envp, path.as_bytes());
    failed(program, error)
}
