//! Absolute, normalised paths.

use smallvec::SmallVec;
use std::{ffi::CString, fmt};

/// The longest name of one component (`NAME_MAX`, `include/uapi/linux/limits.h`), in bytes.
pub const NAME_MAX: usize = 255;
/// The longest path a system call accepts, *including* its final NUL, in bytes.
pub const PATH_MAX: usize = 4096;

/// An absolute path in normal form: it begins with `/`, has no empty component, no `.`, no `..`, no
/// NUL, and ends in `/` only if it is the root. Bytes, not text: Linux names are bytes.
///
/// Prefixes always end at a component boundary: `/root` is no prefix of `/root2`.
///
/// Its length is not bounded here; what came from a tracee was bounded by `PATH_MAX` when it was read, and
/// what is handed to the host is judged by the host.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AbsPath(SmallVec<[u8; 64]>);

impl Clone for AbsPath {
    fn clone(&self) -> AbsPath {
        // SmallVec's own clones byte by byte.
        AbsPath(SmallVec::from_slice(&self.0))
    }
}

/// Why bytes are no [`AbsPath`]: they do not begin with `/`, or hold a NUL or a `..` component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAbsolute;

impl AbsPath {
    /// `/`.
    #[must_use]
    pub fn root() -> AbsPath {
        AbsPath(SmallVec::from_slice(b"/"))
    }

    /// Takes a textual path: repeated slashes and `.` components vanish. `..` is refused, since what it
    /// means depends on symbolic links (path_resolution(7)).
    ///
    /// # Errors
    /// [`NotAbsolute`] for a relative path, a NUL, or a `..` component.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<AbsPath, NotAbsolute> {
        let bytes = bytes.as_ref();
        if bytes.first() != Some(&b'/') || bytes.contains(&0) {
            return Err(NotAbsolute);
        }
        let mut path = AbsPath::root();
        for name in bytes.split(|&b| b == b'/') {
            match name {
                b"" | b"." => {}
                b".." => return Err(NotAbsolute),
                name => path.push(name),
            }
        }
        Ok(path)
    }

    /// The bytes; never empty.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is `/`.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// Appends one component.
    ///
    /// # Panics
    /// In debug builds, if `name` is not one plain component.
    pub fn push(&mut self, name: &[u8]) {
        debug_assert!(is_component(name), "{:?} is not a component", name.escape_ascii());
        if !self.is_root() {
            self.0.push(b'/');
        }
        self.0.extend_from_slice(name);
    }

    /// Removes the last component; at the root nothing happens, as `/..` is `/`.
    pub fn pop(&mut self) {
        let slash = self.0.iter().rposition(|&b| b == b'/').unwrap_or(0);
        self.0.truncate(slash.max(1));
    }

    /// `self` with one more component.
    #[must_use]
    pub fn child(&self, name: &[u8]) -> AbsPath {
        let mut path = self.clone();
        path.push(name);
        path
    }

    /// The directory that holds this name; the root's parent is the root.
    #[must_use]
    pub fn parent(&self) -> AbsPath {
        let mut path = self.clone();
        path.pop();
        path
    }

    /// The text of the directory that holds the last component: [`parent`](Self::parent) without a copy.
    #[must_use]
    pub fn directory(&self) -> &[u8] {
        match self.0.iter().rposition(|&b| b == b'/') {
            Some(slash) => &self.0[..slash.max(1)],
            None => &self.0,
        }
    }

    /// The last component; `None` for the root.
    #[must_use]
    pub fn file_name(&self) -> Option<&[u8]> {
        if self.is_root() { None } else { self.0.rsplit(|&b| b == b'/').next() }
    }

    /// The components from the root on.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|&b| b == b'/').filter(|name| !name.is_empty())
    }

    /// How many components there are; 0 for the root.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.components().count()
    }

    /// Whether `self` is `prefix` or lies below it.
    #[must_use]
    pub fn starts_with(&self, prefix: &AbsPath) -> bool {
        self.strip_prefix(prefix).is_some()
    }

    /// What follows `prefix`, without a leading slash; empty if both are equal, `None` if `self` does
    /// not lie there.
    #[must_use]
    pub fn strip_prefix(&self, prefix: &AbsPath) -> Option<&[u8]> {
        if prefix.is_root() {
            return Some(&self.0[1..]);
        }
        let rest = self.0.strip_prefix(prefix.as_bytes())?;
        match rest.first() {
            None => Some(rest),
            Some(b'/') => Some(&rest[1..]),
            Some(_) => None,
        }
    }

    /// `self` with `rest`, the result of a [`strip_prefix`](Self::strip_prefix), below it.
    #[must_use]
    pub fn below(&self, rest: &[u8]) -> AbsPath {
        let mut path = self.clone();
        if !rest.is_empty() {
            if !path.is_root() {
                path.0.push(b'/');
            }
            path.0.extend_from_slice(rest);
        }
        path
    }

    /// `self` moved from below `from` to below `to`; `None` if it does not lie below `from`.
    #[must_use]
    pub fn rebase(&self, from: &AbsPath, to: &AbsPath) -> Option<AbsPath> {
        self.strip_prefix(from).map(|rest| to.below(rest))
    }

    /// The path as a C string.
    #[must_use]
    pub fn to_cstring(&self) -> CString {
        // No NUL by construction; the fallback keeps this total.
        CString::new(self.as_bytes()).unwrap_or_default()
    }
}

/// Whether `name` can stand between two slashes and means an entry of a directory.
fn is_component(name: &[u8]) -> bool {
    !name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/') && !name.contains(&0)
}

/// The bytes, with what is not printable ASCII escaped.
impl fmt::Display for AbsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(&self.0) {
            Ok(text) if !text.chars().any(char::is_control) => f.write_str(text),
            _ => write!(f, "{}", self.0.escape_ascii()),
        }
    }
}

impl fmt::Debug for AbsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl fmt::Display for NotAbsolute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an absolute path without '..'")
    }
}

impl std::error::Error for NotAbsolute {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn p(text: &str) -> AbsPath {
        AbsPath::new(text).unwrap()
    }

    #[test]
    fn normal_form() {
        for (text, normal) in [("/", "/"), ("//", "/"), ("/a//b/./c/", "/a/b/c"), ("/...", "/...")] {
            assert_eq!(p(text).as_bytes(), normal.as_bytes());
        }
        for text in ["", "a", "./a", "/a/../b", "/a\0b"] {
            assert_eq!(AbsPath::new(text), Err(NotAbsolute), "{text:?}");
        }
    }

    #[test]
    fn prefixes_end_at_components() {
        assert!(p("/root/x").starts_with(&p("/root")));
        assert!(!p("/root2").starts_with(&p("/root")));
        assert_eq!(p("/a/b").strip_prefix(&p("/a/b")), Some(&b""[..]));
        assert_eq!(p("/a/b/c").rebase(&p("/a"), &p("/x/y")), Some(p("/x/y/b/c")));
        assert_eq!(p("/a").rebase(&p("/a"), &p("/")), Some(p("/")));
        assert_eq!(p("/a").rebase(&p("/"), &p("/m")), Some(p("/m/a")));
        assert_eq!(p("/").rebase(&p("/"), &p("/m")), Some(p("/m")));
    }

    #[test]
    fn the_root_is_its_own_parent() {
        assert_eq!(p("/").parent(), p("/"));
        assert_eq!(p("/a").parent(), p("/"));
        assert_eq!(p("/a/b").parent(), p("/a"));
        assert_eq!(p("/").file_name(), None);
        assert_eq!(p("/a/b").file_name(), Some(&b"b"[..]));
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_normal(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(path) = AbsPath::new(&bytes) {
                prop_assert_eq!(AbsPath::new(path.as_bytes()), Ok(path.clone()));
                prop_assert!(path.components().all(is_component));
                let rebuilt = path.components().fold(AbsPath::root(), |p, name| p.child(name));
                prop_assert_eq!(rebuilt, path);
            }
        }
    }
}
