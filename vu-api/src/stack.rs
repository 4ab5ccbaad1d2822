//! Network stacks.

use crate::{Errno, Opened};

/// An address family number (`AF_*`, socket(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Family(pub i32);

impl Family {
    /// `AF_UNIX`: never a stack's business; its names are paths.
    pub const UNIX: Family = Family(libc::AF_UNIX);
    /// IPv4.
    pub const INET: Family = Family(libc::AF_INET);
    /// IPv6.
    pub const INET6: Family = Family(libc::AF_INET6);
    /// rtnetlink and its relatives.
    pub const NETLINK: Family = Family(libc::AF_NETLINK);
    /// Raw link-layer packets.
    pub const PACKET: Family = Family(libc::AF_PACKET);
}

/// A network stack: what socket(2) is asked of when a process has chosen it.
pub trait Stack: Send + Sync {
    /// Whether it takes sockets of this family; what it does not take goes to the host.
    fn supports(&self, family: Family) -> bool;

    /// Opens a socket. `kind` is socket(2)'s second argument without `SOCK_CLOEXEC` and `SOCK_NONBLOCK`.
    ///
    /// # Errors
    /// Those of socket(2).
    fn socket(&self, family: Family, kind: i32, protocol: i32) -> Result<Opened, Errno>;
}
