//! Changes of names and attributes on the host that the hypervisor makes in the tracee's place.
//!
//! The tracee could make them itself, with its arguments exchanged; that takes three stops of it, each with two wake-ups of sleeping cores: five to ten times
//! as long. So where it comes to the same, the supervisor's thread makes the very call, with the arguments that the tracee's would have got. It does come to the
//! same where the hypervisor has all rights of the tracee and no others, and the call depends on nothing else of its caller but the umask. Calls bounded
//! by resource limits (truncate(2): `RLIMIT_FSIZE`), and those that may wait for somebody (opens of a FIFO), are not among them.

use crate::{
    call::Call,
    sys::{self, Passed},
    umask::Worn,
};
use vu_api::Errno;
use vu_trace::{Abi, Argument, Memory};

/// The size of the two `struct timespec` of utimensat(2).
const TIMES: usize = 32;

/// Makes the call with these arguments; `None` if the tracee is to do it. Each path argument is among those that are exchanged.
pub(super) fn change(call: &Call<'_>, name: &str, args: &[Argument; 6]) -> Result<Option<i64>, Errno> {
    let alike = sys::everybodys_ids().is_some() && call.task.same_credentials();
    if !sys::is_change(call.syscall.nr) || call.abi != Abi::X86_64 || !call.can_install() || !alike {
        return Ok(None);
    }
    // What the remaining arguments point to.
    let pointed: Option<(usize, Vec<u8>)> = match name {
        "symlink" | "symlinkat" => {
            let mut text = call.read_path(0)?;
            text.push(0);
            Some((0, text))
        }
        "utimensat" if call.arg(2) != 0 => {
            let mut times = vec![0; TIMES];
            call.memory().read(call.arg(2), &mut times)?;
            Some((2, times))
        }
        _ => None,
    };
    let makes = name.starts_with("mk");
    let umask = if makes { Worn::new(call.task.umask()?) } else { None };
    if makes && umask.is_none() {
        return Ok(None);
    }
    let mut passed = [Passed::Number(0); 6];
    for (index, (passed, argument)) in passed.iter_mut().zip(args).enumerate() {
        *passed = match (argument, &pointed) {
            (Argument::Bytes(bytes), _) => Passed::Bytes(bytes),
            (Argument::Value(value), _) => Passed::Number(*value),
            (Argument::Keep, Some((at, bytes))) if *at == index => Passed::Bytes(bytes),
            (Argument::Keep, _) => Passed::Number(call.arg(index)),
            (Argument::Vector(_) | Argument::Record(..), _) => return Ok(None),
        };
    }
    call.still_waits()?;
    sys::change(call.syscall.nr, &passed).map(Some)
}
