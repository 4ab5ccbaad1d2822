//! What the tools ask of a view.

use crate::{debug::Changes, view::View};
use std::sync::Arc;
use vu_api::{
    Errno, Family, Stack,
    control::{MAX_MESSAGE, Request, encode_rows},
};

/// The longest name of a view, in bytes.
pub const MAX_VIEW_NAME: usize = 64;

/// One more than the greatest address family (include/linux/socket.h).
const AF_MAX: i32 = 46;

/// What becomes of a request.
pub enum Served {
    /// It is done; this is the reply.
    Reply(Vec<u8>),
    /// The debug categories of a process are to be changed; the reply is empty.
    DebugOf {
        /// The process.
        pid: i32,
        /// The changes.
        changes: Changes,
    },
    /// The calling process asks how this path resolves: `Call::explain` makes the reply.
    Explain {
        /// The path, as the tool gave it.
        path: String,
    },
    /// The calling process is to choose a network stack. Its path, as the tool gave it, is the process' to resolve; then
    /// [`StackChoice::new`]. The reply is empty.
    SetStack {
        /// The mount point of the stack; empty for the host's.
        path: String,
        /// The families that were asked for; empty: all.
        families: Vec<i32>,
        /// Only those of them that the stack supports.
        supported_only: bool,
    },
    /// The calling process may become any user; the reply is empty.
    FreeIdentity,
    /// The calling process, and what it starts, is to live in this view; the reply is empty.
    Enter(Arc<View>),
}

/// A network stack for some families of a process.
#[derive(Clone)]
pub struct StackChoice {
    /// The stack.
    pub stack: Arc<dyn Stack>,
    /// The families whose sockets are its.
    pub families: Families,
}

/// Address families.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Families {
    /// Every one but `AF_UNIX`, whose names are paths.
    All,
    /// These.
    Only(Vec<Family>),
}

/// Does what a tool asks of the view its caller lives in.
///
/// # Errors
/// `EINVAL` for what is no request, a name that is too long, and an unknown debug category; others as [`Request`] says. `E2BIG` if the
/// reply is longer than a message may be.
pub fn serve(view: &View, message: &[u8]) -> Result<Served, Errno> {
    let reply = match Request::decode(message)? {
        Request::InsertModule { name, permanent } => view.insert_module(&name, permanent).map(|()| Vec::new())?,
        Request::RemoveModule { name } => view.remove_module(&name).map(|()| Vec::new())?,
        Request::ActiveModules => encode_rows(&view.module_rows()),
        Request::AvailableModules => encode_rows(&view.available_module_rows()),
        Request::Mounts => encode_rows(&view.mount_rows()),
        Request::ViewInfo => {
            let version = env!("CARGO_PKG_VERSION").to_owned();
            encode_rows(&vec![vec![std::process::id().to_string(), view.name(), version]])
        }
        Request::SetViewName { name } => {
            view.set_name(checked_name(&name)?);
            Vec::new()
        }
        Request::SetDebug { pid, changes } => {
            let changes = Changes::parse(changes).map_err(|error| {
                tracing::info!("{error}");
                Errno::EINVAL
            })?;
            if pid != 0 {
                return Ok(Served::DebugOf { pid, changes });
            }
            view.debug().change(&changes);
            Vec::new()
        }
        Request::DebugTags => encode_rows(&view.debug().rows()),
        Request::Explain { path } => return Ok(Served::Explain { path }),
        Request::SetStack { path, families, supported_only } => {
            return Ok(Served::SetStack { path, families, supported_only });
        }
        Request::FreeIdentity => return Ok(Served::FreeIdentity),
        Request::NewView { name } => return Ok(Served::Enter(view.fork(checked_name(&name)?))),
    };
    if reply.len() > MAX_MESSAGE { Err(Errno::E2BIG) } else { Ok(Served::Reply(reply)) }
}

fn checked_name(name: &str) -> Result<&str, Errno> {
    if name.len() > MAX_VIEW_NAME || name.contains(char::is_control) {
        tracing::info!(
            "{:?} is no name for a view: it must have {MAX_VIEW_NAME} bytes at most, and no control characters",
            name
        );
        return Err(Errno::EINVAL);
    }
    Ok(name)
}

impl StackChoice {
    /// The stack for these families, as [`Served::SetStack`] names them.
    #[must_use]
    pub fn new(stack: Arc<dyn Stack>, families: &[i32], supported_only: bool) -> StackChoice {
        let supported = |family: &Family| !supported_only || stack.supports(*family);
        let families = if families.is_empty() && !supported_only {
            Families::All
        } else if families.is_empty() {
            Families::Only((0..AF_MAX).map(Family).filter(supported).collect())
        } else {
            Families::Only(families.iter().copied().map(Family).filter(supported).collect())
        };
        StackChoice { stack, families }
    }

    /// Whether sockets of this family are the stack's.
    #[must_use]
    pub fn covers(&self, family: Family) -> bool {
        family != Family::UNIX
            && match &self.families {
                Families::All => true,
                Families::Only(some) => some.contains(&family),
            }
    }
}
