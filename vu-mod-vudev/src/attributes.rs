//! What a special file has that its device does not care about.

use nix::sys::stat::{major, makedev, minor};
use std::fmt;
use vu_api::{MountWords, Stat, Time};

/// The attributes of a special file that differ from those of its device; `None` where they do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// The permission bits.
    pub mode: Option<u32>,
    /// The owner.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
    /// The major device number; below 2¹².
    pub major: Option<u32>,
    /// The minor device number; below 2²⁰.
    pub minor: Option<u32>,
    /// The time of the last access.
    pub atime: Option<Time>,
    /// The time of the last modification.
    pub mtime: Option<Time>,
    /// The time of the last change of attributes.
    pub ctime: Option<Time>,
}

/// A word that is refused, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WordError {
    /// No such word.
    Unknown(String),
    /// The value of this word is not a number, or too large a one.
    Value(String, String),
}

impl Attributes {
    /// Reads the words `mode=` (octal), `uid=`, `gid=`, `major=`, `minor=`, which all devices understand. The others go to
    /// `own`, which says whether the word is one of the device's.
    ///
    /// # Errors
    /// The first word that is refused.
    pub fn parse(
        words: &MountWords,
        mut own: impl FnMut(&str, Option<&str>) -> Result<Known, WordError>,
    ) -> Result<Attributes, WordError> {
        let mut attributes = Attributes::default();
        for (name, value) in words.iter() {
            // (uid_t)-1 means "leave it" to chown(2) and can be no owner. Device numbers: `MINORBITS`, `linux/kdev_t.h`.
            let (field, radix, max) = match name {
                "mode" => (&mut attributes.mode, 8, 0o7777),
                "uid" => (&mut attributes.uid, 10, u32::MAX - 1),
                "gid" => (&mut attributes.gid, 10, u32::MAX - 1),
                "major" => (&mut attributes.major, 10, (1 << 12) - 1),
                "minor" => (&mut attributes.minor, 10, (1 << 20) - 1),
                _ => match own(name, value)? {
                    Known::Yes => continue,
                    Known::No => return Err(WordError::Unknown(name.to_owned())),
                },
            };
            let value = value.unwrap_or_default();
            *field = Some(
                number(value, radix)
                    .filter(|&number| number <= max)
                    .ok_or_else(|| WordError::Value(name.to_owned(), value.to_owned()))?,
            );
        }
        Ok(attributes)
    }

    /// `stat`, the device's, with these attributes.
    #[must_use]
    pub fn over(&self, stat: Stat) -> Stat {
        let part = |own: Option<u32>, theirs| own.map_or(theirs, u64::from);
        Stat {
            mode: self.mode.map_or(stat.mode, |mode| stat.mode & !0o7777 | mode),
            uid: self.uid.unwrap_or(stat.uid),
            gid: self.gid.unwrap_or(stat.gid),
            rdev: makedev(part(self.major, major(stat.rdev)), part(self.minor, minor(stat.rdev))),
            atime: self.atime.unwrap_or(stat.atime),
            mtime: self.mtime.unwrap_or(stat.mtime),
            ctime: self.ctime.unwrap_or(stat.ctime),
            ..stat
        }
    }
}

/// Whether a device has a word of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It has, and took it.
    Yes,
    /// It has not.
    No,
}

/// Digits only: `from_str_radix` takes a sign, too.
fn number(text: &str, radix: u32) -> Option<u32> {
    if text.bytes().all(|b| b.is_ascii_digit()) { u32::from_str_radix(text, radix).ok() } else { None }
}

impl fmt::Display for WordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WordError::Unknown(name) => {
                write!(f, "unknown mount option {name:?}; all devices have mode=, uid=, gid=, major=, minor=")
            }
            WordError::Value(name, value) => write!(f, "{name}={value}: not a number it can be"),
        }
    }
}

impl std::error::Error for WordError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Attributes, WordError> {
        let words = MountWords::parse(words.as_bytes()).unwrap();
        Attributes::parse(&words, |name, _| Ok(if name == "size" { Known::Yes } else { Known::No }))
    }

    #[test]
    fn words() {
        let set = Attributes {
            mode: Some(0o640),
            uid: Some(7),
            gid: Some(8),
            major: Some(9),
            minor: Some(10),
            ..Attributes::default()
        };
        assert_eq!(parse("mode=0640,uid=7,gid=8,major=9,minor=10"), Ok(set));
        assert_eq!(parse(""), Ok(Attributes::default()));
        assert_eq!(parse("size=10M,size"), Ok(Attributes::default()), "the device's own");
    }

    #[test]
    fn refused_words_are_named() {
        assert_eq!(parse("uid=1,bogus=2"), Err(WordError::Unknown("bogus".into())));
        for (name, value) in [
            ("mode", "10000"),
            ("mode", "0o7"),
            ("mode", "8"),
            ("uid", ""),
            ("uid", "-1"),
            ("uid", "+1"),
            ("uid", "4294967295"),
            ("gid", "root"),
            ("major", "4096"),
            ("minor", "1048576"),
        ] {
            assert_eq!(parse(&format!("{name}={value}")), Err(WordError::Value(name.into(), value.into())));
        }
        assert_eq!(parse("mode"), Err(WordError::Value("mode".into(), String::new())));
    }

    #[test]
    fn what_is_not_set_is_the_devices() {
        let device = Stat { mode: 0o020_666, uid: 1, gid: 2, rdev: makedev(1, 3), ino: 5, ..Stat::default() };
        assert_eq!(Attributes::default().over(device), device);
        let changed = parse("mode=0600,gid=9,minor=7").unwrap().over(device);
        assert_eq!(changed, Stat { mode: 0o020_600, gid: 9, rdev: makedev(1, 7), ..device });
    }
}
