//! Routes: under which name in the view an open host directory is known.
//!
//! With `/` bound to `/mnt`, `/etc` and `/mnt/etc` are the same host directory, and a descriptor of it is a descriptor of that host directory in
//! both cases, so that listing, fstat, locks and all the rest run in the kernel. Which of both names it was opened under matters for `..`, for mounts below it and
//! for its name; so it is kept in the open file description itself: the signal number of `F_SETSIG`, which means nothing for directories and regular
//! files unless a program asks for a lease or for news of a directory (then it is taken off, and the process remembers the object: `handlers/fds.rs`), is the *tag* of the route. Like all of a description it is shared by dup, fork and SCM_RIGHTS and survives exec; nothing needs to be followed or
//! forgotten. No tag is the route of the host: the name in the view is the host's.

use parking_lot::RwLock;
use std::{collections::HashMap, sync::Arc};
use vu_api::AbsPath;

/// A pair of prefixes: `view` + rest in the view is `host` + rest on the host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    /// In the view.
    pub view: AbsPath,
    /// On the host.
    pub host: AbsPath,
    /// The epoch of the mount through which it leads; 0 for the host's own.
    pub mount: u64,
    /// If what it leads to is lent by the lower tree of a union (`lent.rs`). Then there is a route also where both prefixes are the same.
    pub lent: Option<Lending>,
}

/// What the directories have in common that were lent by a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lending {
    /// In which of the host's mounts they lie.
    pub mount: u64,
    /// When they were lent ([`Agents::era`](crate::agents::Agents::era)); 0 for no certain time.
    pub era: u64,
    /// In views with which mounts ([`View::table_number`](crate::view::View::table_number)); 0 for any.
    pub table: u64,
}

impl Lending {
    /// The same, at any time and in any view.
    #[must_use]
    pub fn anywhere(self) -> Lending {
        Lending { era: 0, table: 0, ..self }
    }

    /// Whether what is lent by views with these mounts may have this in common.
    #[must_use]
    pub fn may_be_with(self, table: u64) -> bool {
        self.table == 0 || self.table == table
    }
}

impl Route {
    /// The route of a path in the view whose object is this one on the host: both without their common end.
    #[must_use]
    pub fn between(view: &AbsPath, host: &AbsPath, mount: u64) -> Route {
        let (mut view, mut host) = (view.clone(), host.clone());
        while let (Some(v), Some(h)) = (view.file_name(), host.file_name())
            && v == h
        {
            view.pop();
            host.pop();
        }
        Route { view, host, mount, lent: None }
    }

    /// The host's own.
    #[must_use]
    pub fn of_host() -> Route {
        Route { view: AbsPath::root(), host: AbsPath::root(), mount: 0, lent: None }
    }

    /// Whether it is the host's own.
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.view == self.host && self.lent.is_none()
    }

    /// The name in the view of what the host knows under `host`.
    #[must_use]
    pub fn view_path(&self, host: &AbsPath) -> Option<AbsPath> {
        host.rebase(&self.host, &self.view)
    }

    /// Whether both may lead to one object of the host, so that its name there does not tell them apart.
    fn is_like(&self, other: &Route) -> bool {
        self.host.starts_with(&other.host) || other.host.starts_with(&self.host)
    }
}

/// How many tags there are: the signal numbers. 0 is no tag.
const TAGS: usize = 64;

/// The routes that were given a tag.
///
/// If there are more than tags, a tag stands for several, if possible for such as the host's names tell apart. Where that is not possible, it is the last tag: those that came first keep theirs to themselves, as that of a
/// `cow` mount over `/` does in which others come and go. Of several that fit the host's name the one is meant whose mount is there, then the nearest, then the newest. A route whose mount is gone from all views says
/// no more than none, and is forgotten when there are more than tags.
#[derive(Default)]
pub struct Routes {
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    tags: HashMap<Arc<Route>, usize>,
    /// Those of each tag, the newest last; made with the first one.
    routes: Vec<Vec<Arc<Route>>>,
    /// How many there were when those of gone mounts had been forgotten.
    left: usize,
}

impl Routes {
    /// More are not remembered: what is opened by further ones goes by its name on the host.
    const MOST: usize = 1 << 16;
    /// How many are no reason to look which are of gone mounts: each can have a tag of its own.
    const FEW: usize = TAGS;

    /// The tag of a route; 0 for the host's own.
    pub fn tag(&self, route: &Route) -> i32 {
        self.tagged(route).map_or(0, |(tag, _)| tag)
    }

    /// The same, with the route itself; `None` for the host's own.
    pub fn tagged(&self, route: &Route) -> Option<(i32, Arc<Route>)> {
        if route.is_host() {
            return None;
        }
        let found = self.known.read().tags.get_key_value(route).map(|(route, &index)| (index, route.clone()));
        let (index, route) = found.or_else(|| self.known.write().add(route))?;
        Some((i32::try_from(index + 1).ok()?, route))
    }

    /// Whether a description with this tag may be of a directory that is lent.
    #[must_use]
    pub fn may_be_lent(&self, tag: i32) -> bool {
        let Some(first) = usize::try_from(tag).ok().and_then(|tag| tag.checked_sub(1)) else { return false };
        self.known.read().routes.get(first).is_some_and(|routes| routes.iter().any(|route| route.lent.is_some()))
    }

    /// The route of all descriptions with this tag; `None` if there are several, or none.
    #[must_use]
    pub fn only(&self, tag: i32) -> Option<Arc<Route>> {
        let first = usize::try_from(tag).ok()?.checked_sub(1)?;
        match self.known.read().routes.get(first)?.as_slice() {
            [route] => Some(route.clone()),
            _ => None,
        }
    }

    /// Whether a route can have a tag of its own without there being few left.
    #[must_use]
    pub fn have_room_for(&self, route: &Route) -> bool {
        let known = self.known.read();
        known.tags.len() < TAGS / 2 || known.tags.contains_key(route)
    }

    /// Whether twice as many are known as when they were [looked through](Self::retain).
    #[must_use]
    pub fn are_many(&self) -> bool {
        let known = self.known.read();
        known.tags.len() > (2 * known.left).max(Self::FEW)
    }

    /// Forgets those through other mounts than these.
    pub fn retain(&self, is_there: impl Fn(u64) -> bool) {
        let mut known = self.known.write();
        known.tags.retain(|route, _| is_there(route.mount));
        for routes in &mut known.routes {
            routes.retain(|route| is_there(route.mount));
        }
        known.left = known.tags.len();
    }

    /// The route of a description with this tag, whose name on the host is `host`, for who has the mounts of which `is_there` says so; `None` is the host's own.
    #[must_use]
    pub fn find(&self, tag: i32, host: &AbsPath, is_there: impl Fn(u64) -> bool) -> Option<Arc<Route>> {
        let first = usize::try_from(tag).ok()?.checked_sub(1)?;
        let known = self.known.read();
        let fitting = known.routes.get(first)?.iter().filter(|route| host.starts_with(&route.host));
        fitting.max_by_key(|route| (is_there(route.mount), route.host.as_bytes().len())).cloned()
    }
}

impl Known {
    fn add(&mut self, route: &Route) -> Option<(usize, Arc<Route>)> {
        // Another thread may have added it meanwhile.
        if let Some((route, &index)) = self.tags.get_key_value(route) {
            return Some((index, route.clone()));
        }
        if self.tags.len() >= Routes::MOST {
            return None;
        }
        self.routes.resize_with(TAGS, Vec::new);
        let index = self.best_tag(route);
        let route = Arc::new(route.clone());
        self.routes.get_mut(index)?.push(route.clone());
        self.tags.insert(route.clone(), index);
        Some((index, route))
    }

    /// The tag of the fewest routes among those of which none is like this one.
    fn best_tag(&self, route: &Route) -> usize {
        let apart = |others: &[Arc<Route>]| !others.iter().any(|other| other.is_like(route));
        let tags = self.routes.iter().enumerate().filter(|(_, others)| apart(others));
        tags.min_by_key(|(_, others)| others.len()).map_or(TAGS - 1, |(index, _)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(text: &str) -> AbsPath {
        AbsPath::new(text).unwrap()
    }

    #[test]
    fn common_ends_vanish() {
        let route = Route::between(&p("/mnt/etc/x"), &p("/etc/x"), 3);
        assert_eq!(route, Route { view: p("/mnt"), host: p("/"), mount: 3, lent: None });
        assert_eq!(route.view_path(&p("/usr")), Some(p("/mnt/usr")));
        assert!(Route::between(&p("/a/b"), &p("/a/b"), 1).is_host());
        assert_eq!(
            Route::between(&p("/unreal"), &p("/"), 1),
            Route { view: p("/unreal"), host: p("/"), mount: 1, lent: None }
        );
    }

    #[test]
    fn tags_lead_back() {
        let routes = Routes::default();
        let there = |_| true;
        let all: Vec<Route> = (0..200)
            .map(|i| Route { view: p(&format!("/m{i}")), host: p(&format!("/s{i}")), mount: 1, lent: None })
            .collect();
        let tags: Vec<i32> = all.iter().map(|route| routes.tag(route)).collect();
        assert!(tags.iter().all(|tag| (1..=64).contains(tag)));
        for (route, tag) in all.iter().zip(&tags) {
            assert_eq!(routes.tag(route), *tag, "the same again");
            assert_eq!(routes.find(*tag, &route.host.child(b"x"), there).as_deref(), Some(route));
            assert_eq!(routes.only(*tag), None, "there are more routes than tags");
        }
        assert!(routes.have_room_for(&all[0]) && !routes.have_room_for(&Route { mount: 2, ..all[0].clone() }));
        let few = Routes::default();
        assert!(few.have_room_for(&all[0]));
        let tag = few.tag(&all[0]);
        assert_eq!(few.only(tag).as_deref(), Some(&all[0]));
        assert_eq!((few.only(0), few.only(-1), few.only(tag + 1)), (None, None, None));
        assert_eq!(routes.find(0, &p("/s0"), there), None);
        assert_eq!(routes.find(5, &p("/elsewhere"), there), None);
        assert_eq!(routes.find(-3, &p("/"), there), None);
        assert_eq!(routes.tag(&Route { view: p("/a"), host: p("/a"), mount: 1, lent: None }), 0);
    }

    /// What lies above everything does not make others be taken for it, however often it is mounted.
    #[test]
    fn those_that_came_first_keep_their_tags_to_themselves() {
        let routes = Routes::default();
        let first = Route { view: p("/"), host: p("/upper"), mount: 1, lent: None };
        let tag = routes.tag(&first);
        for mount in 2..1000 {
            routes.tag(&Route { view: p("/m"), host: p("/"), mount, lent: None });
        }
        assert_eq!(routes.only(tag).as_deref(), Some(&first));
    }

    #[test]
    fn of_several_that_fit_one_that_is_there_is_meant() {
        let routes = Routes::default();
        let to = |host: &str, mount: u64| Route { view: p("/m"), host: p(host), mount, lent: None };
        for mount in 1..=64 {
            routes.tag(&to("/", mount));
        }
        let tags = [("/a", 65), ("/", 66), ("/", 67)].map(|(host, mount)| routes.tag(&to(host, mount)));
        assert_eq!(tags, [64; 3]);
        let found = |there: &dyn Fn(u64) -> bool| routes.find(64, &p("/a/x"), there).map(|route| route.mount);
        assert_eq!(found(&|_| true), Some(65), "the nearest");
        assert_eq!(found(&|mount| mount != 65), Some(67), "the newest");
        assert_eq!(found(&|mount| mount == 66), Some(66), "the one that is there");
        assert_eq!(found(&|_| false), Some(65), "one that is gone, too, took the place of a signal number");
    }

    /// A view in which mounts come and go for days has no more routes than mounts.
    #[test]
    fn those_of_gone_mounts_are_forgotten() {
        let routes = Routes::default();
        let through = |mount: u64| Route { view: p("/m"), host: p("/s"), mount, lent: None };
        let kept = routes.tag(&through(0));
        let mut most = 0;
        for mount in 1..100_000 {
            assert_ne!(routes.tag(&through(mount)), 0);
            if routes.are_many() {
                most = most.max(routes.known.read().tags.len());
                routes.retain(|there| there == 0 || there == mount);
            }
        }
        assert!(most <= Routes::FEW + 1, "{most}");
        assert_eq!(routes.tag(&through(0)), kept, "what is there keeps its tag");
        assert!(routes.find(kept, &p("/s/x"), |_| true).is_some());
        // None of those that are there is forgotten, however many they are.
        for mount in 0..1000 {
            routes.tag(&through(mount));
            if routes.are_many() {
                routes.retain(|_| true);
            }
        }
        assert!(routes.known.read().tags.len() >= 1000);
    }
}
