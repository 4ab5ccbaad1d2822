//! What is published of directories: that what is asked there is the kernel's to answer.

use super::Agent;
use crate::{
    call::Call,
    resolve::{Meaning, PathArg, Place},
    route::Lending,
    sys::{self, Reach},
    task::{Object, host_name},
};
use std::{os::fd::AsFd, sync::atomic::Ordering};
use vu_agent::{Bind, Key, Start};
use vu_api::{AbsPath, Caller, Errno, FileType, Filesystem, Location, Purpose, Shows};
use vu_trace::Abi;

impl Call<'_> {
    /// Publishes what was found out about a path that was only looked at: that the kernel finds the same, in the directory of this text.
    pub(crate) fn prove(&self, arg: &PathArg, meaning: &Meaning) {
        let Some(agent) = self.told_agent() else { return };
        if self.proofs == 0 || self.abi != Abi::X86_64 || !arg.resolve.is_empty() || !self.is_plain() {
            return;
        }
        if arg.dirfd >= 0 && !arg.path.contains(&b'/') {
            return self.prove_descriptor(arg.dirfd);
        }
        let directory = match arg.path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => &arg.path[..slash],
            None => b"",
        };
        // What is there is another thing for each who looks.
        let in_proc = |name: &[u8]| name.split(|&byte| byte == b'/').any(|name| name == b"proc");
        let host = match meaning {
            Meaning::Place(place) => place.host(),
            Meaning::Kernel => None,
        };
        if in_proc(directory) || host.is_some_and(|host| in_proc(host.as_bytes())) {
            return;
        }
        let Some(start) = self.proved_from(agent, arg, directory, meaning) else { return };
        if self.core.agents.expiry.begin(&self.core.agents) {
            if let Meaning::Place(place) = meaning
                && let Some((tag, lending)) = self.lent_in(place)
            {
                agent.tell_mount(tag, Some(lending));
                agent.publish(Key::of_lent(self.proofs, start, directory, tag));
            }
            agent.publish(Key::new(self.proofs, start, directory));
        }
    }

    /// That of the view, if there is one, told of the mounts.
    fn told_agent(&self) -> Option<&Agent> {
        let agent = self.view.agent()?;
        agent.renew(self.core, &self.view, &self.core.agents);
        Some(agent)
    }

    /// Publishes that a descriptor with a tag is of a directory that the kernel lists and searches as the view has it, and whose attributes it tells. (Of those without a tag, the agent
    /// knows by itself.)
    pub(crate) fn prove_descriptor(&self, number: i32) {
        let asks = self.task.process.agent.load(Ordering::Acquire) && self.abi == Abi::X86_64;
        let Some(agent) = asks.then(|| self.told_agent()).flatten() else { return };
        let published = self.proofs != 0 && number >= 0 && self.core.has_virtual_files();
        if !published || !self.is_plain() {
            return;
        }
        if let Some((object, tag, lending)) = self.proved_behind(number) {
            self.publish_descriptor(agent, object, tag, lending);
        }
    }

    /// The same of a directory that is about to be lent, under its name on the host, by the only route of this tag: it is untouched.
    pub(crate) fn prove_lent(&self, object: Object, tag: i32, lending: Lending) {
        let Some(agent) = self.view.agent().filter(|_| self.proofs != 0 && self.is_plain()) else { return };
        if self.task.process.agent.load(Ordering::Acquire)
            && !self.task.is_virtual()
            && let Ok(tag) = u32::try_from(tag)
        {
            self.publish_descriptor(agent, object, tag, Some(lending));
        }
    }

    /// `lending` is what all have in common that are lent with this tag.
    fn publish_descriptor(&self, agent: &Agent, (device, inode): Object, tag: u32, lending: Option<Lending>) {
        let agents = &self.core.agents;
        if agents.expiry.begin(agents) {
            agent.tell_mount(tag, lending);
            if lending.is_some_and(|lending| agents.is_of_now(lending, self.view.table_number())) {
                agent.publish(Key::of_all(self.proofs, tag));
            }
            agent.publish(Key::new(self.proofs, Start::Tagged(device, inode, tag), b""));
        }
    }

    fn proved_behind(&self, number: i32) -> Option<(Object, u32, Option<Lending>)> {
        let fd = self.task.descriptor(number).ok()?;
        let tag = sys::tag(fd.as_fd()).ok().filter(|&tag| tag != 0)?;
        // Of several, another directory may be behind the same numbers.
        let route = self.core.routes.only(tag)?;
        let stat = sys::fstat(fd.as_fd()).ok()?;
        if FileType::from_mode(stat.st_mode) != Some(FileType::Directory) {
            return None;
        }
        let object = (stat.st_dev, stat.st_ino);
        let same = if let Some(lending) = route.lent {
            let lent = self.lent(&self.task, number, fd.as_fd(), object)?;
            // What is opened there has no other name, either.
            lending.may_be_with(self.view.table_number())
                && lent.name == lent.host
                && lent.is_the_agents(self)
                && lent.kept(self).is_none()
                && self.are_agents_told(lent.shows)
        } else {
            let host = host_name(self.told_name(&format!("fd/{number}")).ok()??).ok()?;
            let name = self.name_by(&route, &host)?;
            !sys::is_procfs(fd.as_fd()) && self.layer.locate(&name, Purpose::List) == Ok(Location::Host(host))
        };
        same.then(|| Some((object, u32::try_from(tag).ok()?, route.lent)))?
    }

    fn proved_from(&self, agent: &Agent, arg: &PathArg, directory: &[u8], meaning: &Meaning) -> Option<Start> {
        let clear = &self.core.clear;
        match meaning {
            Meaning::Kernel => {
                let table = self.view.table();
                if directory.split(|&byte| byte == b'/').any(|name| name == b".." || table.has_name(name)) {
                    return None;
                }
                let (device, inode) = self.clear_way(arg)?;
                Some(Start::Directory(device, inode))
            }
            Meaning::Place(place) if arg.is_absolute() && without_slash(place.name.directory()) == directory => {
                let host = place.host()?;
                if !clear.knows(host.directory()) || !self.shows_the_host(&place.name, host) {
                    return None;
                }
                if place.native {
                    return (*host == place.name).then_some(Start::Root);
                }
                let leads = |bind: &Bind| {
                    let rest = place.name.as_bytes().strip_prefix(bind.point.as_slice());
                    let below = host.as_bytes().strip_prefix(bind.source.as_slice());
                    rest == below && rest.is_some_and(|rest| rest.starts_with(b"/"))
                };
                agent.state.lock().told.binds.iter().position(leads).map(Start::Bind)
            }
            Meaning::Place(place) if !arg.is_absolute() && arg.dirfd == libc::AT_FDCWD => {
                self.proved_from_placeholder(agent, place, directory)
            }
            Meaning::Place(_) => None,
        }
    }

    /// The same where the working directory is a placeholder. The name of that on the host is the view's, else there would be more to be told of what is opened.
    fn proved_from_placeholder(&self, agent: &Agent, place: &Place, directory: &[u8]) -> Option<Start> {
        let (placeholder, name) = self.cwd_placeholder()?;
        let mut looked_in = name.clone();
        for component in directory.split(|&byte| byte == b'/').filter(|name| !matches!(*name, b"" | b".")) {
            if component == b".." {
                return None;
            }
            looked_in.push(component);
        }
        let host = place.host().filter(|host| **host == place.name)?;
        let proved = host.directory() == looked_in.as_bytes()
            && self.core.clear.knows(host.directory())
            && self.shows_the_host(&place.name, host);
        (proved && agent.tell_stand(self.proofs, placeholder, &name))
            .then_some(Start::Stand(placeholder.0, placeholder.1))
    }

    /// The tag that a directory is given which a union lends in the directory of this place, and what it must have in common with others.
    fn lent_in(&self, place: &Place) -> Option<(u32, Lending)> {
        if !self.core.has_virtual_files() || self.task.is_virtual() {
            return None;
        }
        let host = place.host().filter(|host| **host == place.name)?.parent();
        let name = place.name.parent();
        if self.layer.locate(&name, Purpose::List) != Ok(Location::Own)
            || self.layer.locate(&name, Purpose::Attributes) == Ok(Location::Own)
        {
            return None;
        }
        let stat = sys::statx(Reach::Path(host.as_bytes()), 0, libc::STATX_MNT_ID).ok()?;
        let era = self.core.agents.era_of_lending();
        let lending = Lending { mount: stat.stx_mnt_id, era, table: self.view.table_number() };
        let tag = self.core.routes.tag(&self.lent_route(&name, &host, lending));
        let route = self.core.routes.only(tag)?;
        Some((u32::try_from(tag).ok()?, route.lent?))
    }

    /// Whether the directory of a name shows what is in that directory of the host, and all of it, until something is [withdrawn](Filesystem::withdraw).
    fn shows_the_host(&self, name: &AbsPath, host: &AbsPath) -> bool {
        if !self.core.has_virtual_files() {
            return true;
        }
        let (directory, shown) = (name.parent(), host.parent());
        if self.layer.locate(&directory, Purpose::List) == Ok(Location::Host(shown.clone())) {
            return true;
        }
        // What is not there comes to be there by a change of the nearest directory that is.
        let (mut directory, mut shown) = (directory, shown);
        let there = loop {
            match sys::stat_at(Reach::Path(shown.as_bytes())) {
                Err(Errno::ENOENT) => (directory, shown) = (directory.parent(), shown.parent()),
                there => break there,
            }
        };
        let is_directory = |stat: libc::stat| FileType::from_mode(stat.st_mode) == Some(FileType::Directory);
        let is_shown = || self.layer.shows(&directory, &shown).unwrap_or(Shows::Part);
        there.is_ok_and(is_directory) && self.are_agents_told(is_shown())
    }

    /// Whether a directory shows enough for agents to look there by themselves; they are told what they must look at.
    pub(crate) fn are_agents_told(&self, shows: Shows) -> bool {
        if shows == Shows::AllButLinked
            && let Some(agent) = self.view.agent()
        {
            agent.doubt_links();
        }
        matches!(shows, Shows::All | Shows::AllButLinked)
    }

    /// Whether nothing is special about who calls, so that it may have an agent, and what it finds others find, too.
    pub(super) fn is_plain(&self) -> bool {
        let task = &self.task;
        task.fs().root.read().is_root() && !task.appearance().watched && !task.is_apart() && task.identity().is_none()
    }
}

/// The directory of an absolute path, as agents read it: up to its last slash, without that.
fn without_slash(directory: &[u8]) -> &[u8] {
    if directory == b"/" { b"" } else { directory }
}
