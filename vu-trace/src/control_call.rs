//! The control call from the asking side: how a tool inside a view speaks to its hypervisor.

use vu_api::Errno;
use vu_api::control::{CONTROL_SYSCALL, MAX_MESSAGE, Request, Rows, decode_rows};

/// What most replies fit into, in bytes.
const FIRST_REPLY: usize = 64 << 10;

/// Asks the hypervisor of the calling process.
///
/// # Errors
/// `ENOSYS` outside a view (the kernel has no such call), and what [`Request`] says of each request.
pub fn control(request: &Request) -> Result<Rows, Errno> {
    let request = request.encode();
    let mut reply = vec![0; FIRST_REPLY];
    let length = loop {
        match call(&request, &mut reply) {
            // Only questions have long replies, so asking once more changes nothing.
            Err(Errno::ERANGE) if reply.len() < MAX_MESSAGE => reply.resize(reply.len() * 16, 0),
            result => break result?,
        }
    };
    match reply.get(..length) {
        // Orders are answered by nothing.
        Some([]) => Ok(Rows::new()),
        Some(bytes) => decode_rows(bytes),
        None => Err(Errno::EIO),
    }
}

/// The bare call; the length of the reply.
fn call(request: &[u8], reply: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the call reads `request.len()` bytes and writes at most `reply.len()` bytes; both buffers live longer
    // than the call. Where nobody answers it, the kernel returns ENOSYS and touches neither.
    let result =
        unsafe { libc::syscall(CONTROL_SYSCALL, request.as_ptr(), request.len(), reply.as_mut_ptr(), reply.len()) };
    usize::try_from(result).map_err(|_| Errno::last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_a_view_the_kernel_knows_no_such_call() {
        assert_eq!(control(&Request::ViewInfo), Err(Errno::ENOSYS));
    }
}
