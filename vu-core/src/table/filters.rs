//! The seccomp filters that follow from the table.

use super::{Row, Support, Tier, rows};
use vu_trace::{
    Abi,
    filter::{Calls, FilterSpec, Rule, When, X32},
};

/// A filter of the view, by what it adds to those installed before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Filter {
    /// [`Tier::Base`], by stops: every view, from the start.
    Base,
    /// [`Tier::Path`], by notification: from the first mount on.
    Path,
    /// [`Tier::Path`], [`Tier::Descriptor`], [`Tier::Stat`] and [`Tier::Attribute`], by notification: where the first mount has files of its own. A task can have only one filter that
    /// notifies.
    PathAndDescriptor,
    /// [`Tier::Descriptor`], [`Tier::Stat`] and [`Tier::Attribute`], by stops: where such a mount comes later.
    Descriptor,
    /// [`Tier::Stat`], by stops: for a process that looks by name at what umvu tells in `/proc`.
    Stat,
    /// [`Tier::Attribute`], by stops: from the first read-only mount on.
    Attribute,
    /// [`Tier::SocketName`], by stops: from the first AF_UNIX socket on that the host knows by another name.
    SocketName,
    /// [`Tier::Message`], by stops: for a process that makes an AF_UNIX socket for datagrams.
    Message,
    /// [`Tier::Identity`], by stops: from the first module that makes identities virtual.
    Identity,
    /// No tier: takes back that the first filter with paths lets the dynamic linker look for its files by itself.
    Linker,
}

impl Filter {
    /// Whether it has a listener.
    #[must_use]
    pub fn notifies(self) -> bool {
        matches!(self, Filter::Path | Filter::PathAndDescriptor)
    }

    /// Whether it intercepts this call; `cookie` is the view's secret.
    #[must_use]
    pub fn intercepts(self, row: &Row, abi: Abi, args: &[u64; 6], cookie: u64) -> bool {
        matches!(row.support, Support::Handled { tier, when, .. } if self.covers(tier) && as_entered(when, abi).applies(args, cookie))
    }

    fn covers(self, tier: Tier) -> bool {
        match self {
            Filter::Base => tier == Tier::Base,
            Filter::Path => tier == Tier::Path,
            Filter::PathAndDescriptor => matches!(tier, Tier::Path | Tier::Descriptor | Tier::Stat | Tier::Attribute),
            Filter::Descriptor => matches!(tier, Tier::Descriptor | Tier::Stat | Tier::Attribute),
            Filter::Stat => tier == Tier::Stat,
            Filter::Attribute => tier == Tier::Attribute,
            Filter::SocketName => tier == Tier::SocketName,
            Filter::Message => tier == Tier::Message,
            Filter::Identity => tier == Tier::Identity,
            Filter::Linker => false,
        }
    }
}

/// What a filter intercepts and refuses; `cookie` is the view's secret. The sites are left out: they are
/// the host's.
#[must_use]
pub fn filter(filter: Filter, cookie: u64) -> FilterSpec {
    FilterSpec {
        x86_64: calls(filter, Abi::X86_64),
        i386: calls(filter, Abi::I386),
        // With nothing mounted, a view is transparent to x32 programs, too.
        x32: if filter.notifies() { X32::Refuse } else { X32::Allow },
        cookie,
        sites: Vec::new(),
    }
}

fn calls(filter: Filter, abi: Abi) -> Calls {
    let mut calls = Calls::default();
    for row in rows() {
        let nr = match abi {
            Abi::X86_64 => row.nr,
            Abi::I386 => row.i386,
        };
        let Some(nr) = nr else { continue };
        match row.support {
            Support::Handled { tier, when, .. } if filter.covers(tier) => {
                let list = if filter.notifies() { &mut calls.notify } else { &mut calls.trace };
                list.push(Rule { nr, when: as_entered(when, abi) });
            }
            Support::Refused { tier, errno, .. } if filter.covers(tier) => calls.refuse.push((nr, errno)),
            _ => {}
        }
    }
    calls
}

/// The 32-bit entry has no room for the cookie.
fn as_entered(when: When, abi: Abi) -> When {
    match (when, abi) {
        (When::WithoutCookie, Abi::I386) => When::Always,
        (When::ArgumentInWithoutCookie(index, values), Abi::I386) => When::ArgumentIn(index, values),
        (when, _) => when,
    }
}
