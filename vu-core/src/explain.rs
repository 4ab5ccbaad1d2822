//! How a path of a task resolves, hop by hop, for people (`vudebug explain`).

use crate::{call::Call, layer::Considered, resolve::PathArg, tree::ViewTree};
use std::cell::RefCell;
use vu_api::{AbsPath, Errno, FileType, Filesystem, Location, Probe, Purpose, control::Rows};
use vu_path::{EmptyPath, Follow, Look, Magic, Options, Start, Tree};

/// The view's tree, with notes of what the walk looked at.
struct Noting<'a> {
    tree: ViewTree<'a>,
    call: &'a Call<'a>,
    hops: RefCell<Rows>,
}

impl Noting<'_> {
    fn note(&self, path: &AbsPath, found: String) {
        let hop = vec![path.to_string(), found, answerer(self.call, path)];
        let mut hops = self.hops.borrow_mut();
        // The walk may look twice, first at several names together.
        if hops.last() != Some(&hop) {
            hops.push(hop);
        }
    }
}

impl Tree for Noting<'_> {
    fn look(&self, path: &AbsPath) -> Result<Look, Errno> {
        let looked = self.tree.look(path);
        self.note(
            path,
            match &looked {
                Ok(Look::Directory) => "directory".to_owned(),
                Ok(Look::Symlink(target)) => format!("link to {}", target.escape_ascii()),
                Ok(Look::Magic(Magic::Jump(target))) => format!("leads the process to {target}"),
                Ok(Look::Magic(Magic::Opaque)) => "leads the process to an object without a name".to_owned(),
                Ok(Look::Other) => "file".to_owned(),
                Err(errno) => errno.to_string(),
            },
        );
        looked
    }

    // The default of `probe` has the walk go step by step: each is to be told.
    fn probe(&self, _path: &AbsPath) -> Result<Probe, Errno> {
        Ok(Probe::Symlink)
    }

    fn search(&self, directory: &AbsPath) -> Result<(), Errno> {
        let searched = self.tree.search(directory);
        if let Err(errno) = searched {
            self.note(directory, errno.to_string());
        }
        searched
    }
}

/// Who answers for a path, and who did not want to.
fn answerer(call: &Call<'_>, path: &AbsPath) -> String {
    let mut mount = None;
    let mut notes = String::new();
    for (considered, how) in call.layer.considered(path) {
        match how {
            Considered::Answers => mount = Some(considered),
            Considered::Declines => notes += &format!("; {considered} declines"),
            Considered::Unmounted => notes += &format!("; {considered} is unmounted"),
            Considered::Hidden => notes += &format!("; {considered} is hidden"),
        }
    }
    let located = call.layer.locate(path, Purpose::Read);
    let who = match (mount, located) {
        (None, _) => "the host".to_owned(),
        (Some(mount), Ok(Location::Host(host))) => format!("{mount}: the host's {host}"),
        (Some(mount), Ok(Location::Own)) => format!("{mount}: its own"),
        (Some(mount), Err(errno)) => format!("{mount}: {errno}"),
    };
    who + &notes
}

impl Call<'_> {
    /// Tells how a path resolves for the caller, final links followed: rows of a name, what stands there, and who answers for it. The last row
    /// says what the path means; its name is empty if it means nothing.
    #[must_use]
    pub fn explain(&self, path: Vec<u8>) -> Rows {
        let arg = PathArg::at_cwd(path, Follow::Last);
        let base = match self.base(&arg) {
            Ok(Some(base)) => base,
            Ok(None) => {
                return vec![nothing("the working directory was removed, or has no name in the view".to_owned())];
            }
            Err(errno) => return vec![nothing(errno.to_string())],
        };
        let root = self.task.fs().root.read().clone();
        let noting = Noting { tree: ViewTree::new(self, AbsPath::root(), true), call: self, hops: RefCell::default() };
        let options = Options { follow: Follow::Last, empty: EmptyPath::Refuse, resolve: arg.resolve };
        let walked = vu_path::resolve(&noting, &Start { root: &root, cwd: &base.view }, &arg.path, &options);
        let mut rows = noting.hops.into_inner();
        rows.push(match walked.and_then(|_| self.place(&arg)) {
            Ok(place) => {
                let what = match place.file_type(self) {
                    _ if place.opaque => "an object without a name".to_owned(),
                    Ok(FileType::Regular) if place.found => "file".to_owned(),
                    Ok(file_type) if place.found => format!("{file_type:?}").to_lowercase(),
                    _ => "missing".to_owned(),
                };
                let kernel = if place.native { "the kernel finds it by itself" } else { "the kernel is led there" };
                vec![place.name.to_string(), what, format!("{}; {kernel}", answerer(self, &place.name))]
            }
            Err(errno) => nothing(errno.to_string()),
        });
        rows
    }
}

fn nothing(why: String) -> Vec<String> {
    vec![String::new(), why, String::new()]
}
