//! The control call of the `vu_*` tools.

use crate::{
    call::{Call, Outcome},
    control::{Served, StackChoice, serve},
    debug::Tag,
    resolve::PathArg,
};
use vu_api::{
    Errno,
    control::{MAX_MESSAGE, Request, encode_rows},
};
use vu_path::Follow;
use vu_trace::{Memory, Tid};

/// See `vu_api::control`.
pub fn control(call: &mut Call<'_>) -> Result<Outcome, Errno> {
    let length = call.size(1);
    if length > MAX_MESSAGE {
        return Err(Errno::EINVAL);
    }
    let mut message = vec![0; length];
    call.memory().read(call.arg(0), &mut message)?;
    call.still_waits()?;
    if call.tells(Tag::Control)
        && let Ok(request) = Request::decode(&message)
    {
        call.debug(Tag::Control, format_args!("{request:?}"));
    }
    let had_identities = call.view.identities().is_some();
    let served = serve(&call.view, &message)?;
    match (had_identities, call.view.identities().is_some()) {
        (false, true) => {
            for filter in call.core.identities_are_virtual() {
                call.debug(Tag::Filters, format_args!("the filter {filter:?} is installed in every process"));
            }
        }
        (true, false) => call.core.identities_are_real(&call.view),
        _ => {}
    }
    let reply = match served {
        Served::Reply(reply) => reply,
        Served::DebugOf { pid, changes } => {
            let task = call.core.tasks.get(Tid(pid)).ok_or(Errno::ESRCH)?;
            task.set_debug(call.view.debug().override_task(task.debug(), &changes));
            Vec::new()
        }
        Served::Explain { path } => encode_rows(&call.explain(path.into_bytes())),
        Served::SetStack { path, families, supported_only } => {
            let choice = if path.is_empty() {
                None
            } else {
                let point = call.place(&PathArg::at_cwd(path.into_bytes(), Follow::Last))?.name;
                Some(StackChoice::new(call.view.stack_at(&point)?, &families, supported_only))
            };
            call.task.set_stack(choice);
            Vec::new()
        }
        Served::FreeIdentity => {
            call.task.free_identity(call.view.identities().ok_or(Errno::EINVAL)?)?;
            call.core.agents.switch_off(&call.task);
            Vec::new()
        }
        Served::Enter(view) => {
            call.task.set_view(view);
            call.core.agents.switch_off(&call.task);
            call.core.mounts_changed();
            Vec::new()
        }
    };
    // A debug category, or a module.
    call.core.agents.outdate();
    if reply.len() > call.size(3) {
        return Err(Errno::ERANGE);
    }
    call.write(call.arg(2), &reply)?;
    Ok(Outcome::Done(i64::try_from(reply.len()).unwrap_or(i64::MAX)))
}
