//! Random sequences of mount and umount, against a list that is searched from its end.

use crate::support::*;
use proptest::prelude::*;
use vu_api::{AbsPath, Errno, Purpose, testing::path};
use vu_core::view::Refusal;

#[derive(Debug, Clone)]
enum Step {
    Mount { bind: Option<String>, target: String, except: Option<String>, read_only: bool },
    Umount { target: String, lazily: bool },
}

/// The naive view.
#[derive(Default)]
struct Model {
    mounts: Vec<ModelMount>,
    made: usize,
}

#[derive(Clone)]
struct ModelMount {
    number: usize,
    point: AbsPath,
    /// The source of a bind; otherwise it is a mark with its number.
    bind: Option<AbsPath>,
    except: Option<AbsPath>,
    read_only: bool,
    source_mount: Option<usize>,
    detached: bool,
}

impl Model {
    /// The newest mount older than `before` that has the path, and the rest of the path.
    fn find(&self, path: &AbsPath, before: usize, source_mount: Option<usize>) -> Option<(&ModelMount, AbsPath)> {
        self.mounts.iter().rev().find_map(|mount| {
            let rest = path.rebase(&mount.point, &AbsPath::root())?;
            let visible = mount.number < before && (!mount.detached || source_mount == Some(mount.number));
            let declined = mount.except.as_ref().is_some_and(|exception| rest.starts_with(exception));
            (visible && !declined).then_some((mount, rest))
        })
    }

    fn locate(&self, path: &AbsPath, before: usize, through: Option<usize>, change: bool) -> Result<String, Errno> {
        let at = |place: &str, rest: &AbsPath| self::path(place).below(&rest.as_bytes()[1..]).to_string();
        match self.find(path, before, through) {
            None => Ok(at("/host", path)),
            Some((mount, _)) if change && mount.read_only => Err(Errno::EROFS),
            Some((mount, rest)) => match &mount.bind {
                None => Ok(at(&format!("/{}", mount.number), &rest)),
                Some(source) => {
                    let source = source.below(&rest.as_bytes()[1..]);
                    self.locate(&source, mount.number, mount.source_mount, change)
                }
            },
        }
    }

    fn has_dependants(&self, number: usize) -> bool {
        self.mounts.iter().any(|mount| mount.source_mount == Some(number))
    }

    fn umount(&mut self, point: &AbsPath, lazily: bool) -> Result<(), Refusal> {
        let at = self.mounts.iter().rposition(|mount| mount.point == *point && !mount.detached);
        let at = at.ok_or(Refusal::NotOurs)?;
        if !self.has_dependants(self.mounts[at].number) {
            self.mounts.remove(at);
        } else if lazily {
            self.mounts[at].detached = true;
        } else {
            return Err(Errno::EBUSY.into());
        }
        while let Some(at) = self.mounts.iter().position(|mount| mount.detached && !self.has_dependants(mount.number)) {
            self.mounts.remove(at);
        }
        Ok(())
    }
}

fn paths() -> impl Strategy<Value = String> {
    proptest::collection::vec("[abc]", 0..4).prop_map(|names| format!("/{}", names.join("/")))
}

fn steps() -> impl Strategy<Value = Step> {
    let below_root = paths().prop_filter("a mount that declines its root is none", |path| path != "/");
    let except = proptest::option::weighted(0.3, below_root);
    prop_oneof![
        3 => (proptest::option::weighted(0.7, paths()), paths(), except, proptest::bool::weighted(0.1))
            .prop_map(|(bind, target, except, read_only)| Step::Mount { bind, target, except, read_only }),
        2 => (paths(), proptest::bool::weighted(0.3)).prop_map(|(target, lazily)| Step::Umount { target, lazily }),
    ]
}

proptest! {
    #[test]
    fn the_view_is_as_the_list_says(
        steps in proptest::collection::vec(steps(), 1..40),
        questions in proptest::collection::vec(paths(), 12),
    ) {
        let view = marked_view();
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Mount { bind, target, except, read_only } => {
                    let number = model.made;
                    let mut words = except.as_ref().map_or(String::new(), |path| format!("except={path}"));
                    words.push_str(if read_only { ",ro" } else { "" });
                    let source_mount = bind.as_ref().and_then(|source| {
                        model.find(&path(source), usize::MAX, None).map(|(mount, _)| mount.number)
                    });
                    match &bind {
                        Some(source) => mount(&view, "bind", source, &target, &words),
                        None => mount(&view, "mark", &number.to_string(), &target, &words),
                    };
                    model.mounts.push(ModelMount {
                        number,
                        point: path(&target),
                        bind: bind.as_deref().map(path),
                        except: except.as_deref().map(path),
                        read_only,
                        source_mount,
                        detached: false,
                    });
                    model.made += 1;
                }
                Step::Umount { target, lazily } => {
                    let ours = if lazily { umount_lazily(&view, &target) } else { umount(&view, &target) };
                    prop_assert_eq!(ours, model.umount(&path(&target), lazily));
                }
            }
            prop_assert_eq!(view.table().len(), model.mounts.len());
            for question in &questions {
                for (purpose, change) in [(Purpose::Read, false), (Purpose::Change, true)] {
                    prop_assert_eq!(
                        located_for(&view, question, purpose),
                        model.locate(&path(question), usize::MAX, None, change)
                    );
                }
            }
        }
        let shown: Vec<String> = view.mount_rows().into_iter().map(|mut row| row.swap_remove(1)).collect();
        let listed: Vec<String> =
            model.mounts.iter().rev().filter(|mount| !mount.detached).map(|mount| mount.point.to_string()).collect();
        prop_assert_eq!(shown, listed);
    }
}
