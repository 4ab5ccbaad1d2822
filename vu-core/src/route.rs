//! Routes: under which name in the view an open host directory is known.
//!
//! With `/` bound to `/mnt`, `/etc` and `/mnt/etc` are the same host directory, and a descriptor of it is a descriptor of that host directory in
//! both cases, so that listing, fstat, locks and all the rest run in the kernel. Which of both names it was opened under matters for `..`, for mounts below it and
//! for its name; so it is kept in the open file description itself: the signal number of `F_SETSIG`, which means nothing for directories and regular
//! files unless a program asks for a lease or for news of a directory (then it is taken off: `handlers/fds.rs`), is the *tag* of the route. Like all of a description it is shared by dup, fork and SCM_RIGHTS and survives exec; nothing needs to be followed or
//! forgotten. No tag is the route of the host: the name in the view is the host's.

use parking_lot::RwLock;
use std::sync::Arc;
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
        Route { view, host, mount }
    }

    /// The host's own.
    #[must_use]
    pub fn of_host() -> Route {
        Route { view: AbsPath::root(), host: AbsPath::root(), mount: 0 }
    }

    /// Whether it is the host's own.
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.view == self.host
    }

    /// The name in the view of what the host knows under `host`.
    #[must_use]
    pub fn view_path(&self, host: &AbsPath) -> Option<AbsPath> {
        host.rebase(&self.host, &self.view)
    }
}

/// How many tags there are: the signal numbers. 0 is no tag.
const TAGS: usize = 64;

/// The routes that were ever given a tag.
///
/// If there are more than tags, a tag stands for several; the newest that fits the host's name is meant. A route stays
/// known when its mount is gone, since descriptors that were opened by it may live on.
#[derive(Default)]
pub struct Routes {
    known: RwLock<Vec<Arc<Route>>>,
}

impl Routes {
    /// More are not remembered: what is opened by further ones goes by its name on the host.
    const MOST: usize = 1 << 16;

    /// The tag of a route; 0 for the host's own.
    pub fn tag(&self, route: &Route) -> i32 {
        if route.is_host() {
            return 0;
        }
        let find = |known: &Vec<Arc<Route>>| known.iter().rposition(|r| **r == *route);
        let index = find(&self.known.read());
        let index = index.or_else(|| {
            let mut known = self.known.write();
            // Another thread may have added it meanwhile.
            if let Some(index) = find(&known) {
                return Some(index);
            }
            if known.len() >= Self::MOST {
                return None;
            }
            known.push(Arc::new(route.clone()));
            Some(known.len() - 1)
        });
        index.map_or(0, |index| i32::try_from(index % TAGS + 1).unwrap_or(0))
    }

    /// The route of a description with this tag, whose name on the host is `host`; `None` is the host's own.
    #[must_use]
    pub fn find(&self, tag: i32, host: &AbsPath) -> Option<Arc<Route>> {
        let first = usize::try_from(tag).ok()?.checked_sub(1)?;
        let known = self.known.read();
        let mut fitting = known.iter().skip(first).step_by(TAGS).filter(|route| host.starts_with(&route.host));
        fitting.next_back().cloned()
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
        assert_eq!(route, Route { view: p("/mnt"), host: p("/"), mount: 3 });
        assert_eq!(route.view_path(&p("/usr")), Some(p("/mnt/usr")));
        assert!(Route::between(&p("/a/b"), &p("/a/b"), 1).is_host());
        assert_eq!(Route::between(&p("/unreal"), &p("/"), 1), Route { view: p("/unreal"), host: p("/"), mount: 1 });
    }

    #[test]
    fn tags_lead_back() {
        let routes = Routes::default();
        let all: Vec<Route> =
            (0..200).map(|i| Route { view: p(&format!("/m{i}")), host: p(&format!("/s{i}")), mount: 1 }).collect();
        let tags: Vec<i32> = all.iter().map(|route| routes.tag(route)).collect();
        assert!(tags.iter().all(|tag| (1..=64).contains(tag)));
        for (route, tag) in all.iter().zip(&tags) {
            assert_eq!(routes.tag(route), *tag, "the same again");
            assert_eq!(routes.find(*tag, &route.host.child(b"x")).as_deref(), Some(route));
        }
        assert_eq!(routes.find(0, &p("/s0")), None);
        assert_eq!(routes.find(5, &p("/elsewhere")), None);
        assert_eq!(routes.find(-3, &p("/")), None);
        assert_eq!(routes.tag(&Route { view: p("/a"), host: p("/a"), mount: 1 }), 0);
    }
}
