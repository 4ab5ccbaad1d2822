//! The options of tmpfs (`Documentation/filesystems/tmpfs.rst`).

use vu_api::{Errno, MountWords};

/// What is done of what was asked for. The other options are about memory, of which the host decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The permissions of the root directory.
    pub mode: u32,
    /// Its owner, if not who mounts it.
    pub uid: Option<u32>,
    /// Its group.
    pub gid: Option<u32>,
}

impl Options {
    /// Reads the words.
    ///
    /// # Errors
    /// `EINVAL` for a word that tmpfs does not know, and for a value that it does not take (`shmem_parse_one`, `mm/shmem.c`).
    pub fn parse(words: &MountWords) -> Result<Options, Errno> {
        let mut options = Options { mode: 0o1777, uid: None, gid: None };
        let number = |value: &str| value.parse().map_err(|_| Errno::EINVAL);
        for word in words.iter() {
            match word {
                ("mode", Some(value)) => {
                    options.mode = u32::from_str_radix(value, 8).map_err(|_| Errno::EINVAL)? & 0o7777;
                }
                ("uid", Some(value)) => options.uid = Some(number(value)?),
                ("gid", Some(value)) => options.gid = Some(number(value)?),
                ("size", Some(value)) => amount(value.strip_suffix('%').unwrap_or(value))?,
                ("nr_blocks" | "nr_inodes", Some(value)) => amount(value)?,
                ("huge" | "mpol", Some(_)) | ("noswap" | "inode32" | "inode64", None) => {}
                _ => return Err(Errno::EINVAL),
            }
        }
        Ok(options)
    }
}

/// A number with a suffix (`memparse`, `lib/cmdline.c`).
fn amount(value: &str) -> Result<(), Errno> {
    let number = value.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G', 't', 'T', 'p', 'P', 'e', 'E']).unwrap_or(value);
    let is_number = match number.strip_prefix("0x") {
        Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16).is_ok(),
        None => number.parse::<u64>().is_ok(),
    };
    if is_number { Ok(()) } else { Err(Errno::EINVAL) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let parse = |words: &str| Options::parse(&MountWords::parse(words.as_bytes()).unwrap());
        let options = |mode, uid, gid| Ok(Options { mode, uid, gid });
        assert_eq!(parse(""), options(0o1777, None, None));
        assert_eq!(parse("size=10%,nr_inodes=1k,mode=755,uid=1,gid=2"), options(0o755, Some(1), Some(2)));
        assert_eq!(parse("size=0x1000,huge=never,noswap,nr_blocks=7,mode=0700"), options(0o700, None, None));
        for bad in ["size=much", "size", "mode=9", "uid=root", "gid=-1", "nosuch", "noswap=1", "nr_inodes=1%"] {
            assert_eq!(parse(bad), Err(Errno::EINVAL), "{bad}");
        }
    }
}
