//! What the `vu_*` tools and the hypervisor say to each other.
//!
//! The tools make one system call whose number ([`CONTROL_SYSCALL`]) no kernel has: inside a view it is the hypervisor's,
//! outside the kernel says `ENOSYS`. Its arguments are: address and length of a [`Request`] in its wire form, address and size of
//! a buffer for the reply. It returns the length of the reply, or a negative errno; `ERANGE` if the buffer is too small.
//!
//! Wire form: fields of bytes, each preceded by its length as a little-endian `u32`; the first is the name of the request.
//! Replies have the same form. Whatever does not parse is `EINVAL`.

use crate::Errno;

/// The system call number of the control call: "vu" in ASCII, far above what the kernel will use.
pub const CONTROL_SYSCALL: i64 = 0x7675;

/// The longest request or reply, in bytes.
pub const MAX_MESSAGE: usize = 16 << 20;

/// What a tool asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Activate a module. Errors: `EEXIST`, `ENOENT` (the reply to [`Request::AvailableModules`] tells which there are).
    InsertModule {
        /// Its name.
        name: String,
        /// Whether it can never be removed.
        permanent: bool,
    },
    /// Deactivate a module. Errors: `ENOENT`, `EBUSY` (a mount of it exists), `EPERM` (permanent).
    RemoveModule {
        /// Its name.
        name: String,
    },
    /// The active modules. Reply: rows of name, description, submodules (separated by spaces).
    ActiveModules,
    /// All modules there are; the reply as for [`Request::ActiveModules`], with a fourth field: `active` or empty.
    AvailableModules,
    /// The mounts, newest first. Reply: rows of source, target, type, options, epoch.
    Mounts,
    /// About the view. Reply: server id, name of the view, version of umvu.
    ViewInfo,
    /// Name the view.
    SetViewName {
        /// Its new name; at most 64 bytes.
        name: String,
    },
    /// Switch debug categories, of the view or of one process and its future children. Errors: `EINVAL` for an unknown tag.
    SetDebug {
        /// `0`: the view; otherwise the process and what it starts.
        pid: i32,
        /// Changes in the syntax of `vudebug`: `+TAGS[:COLOR]`, `-TAGS`; one field each.
        changes: Vec<String>,
    },
    /// The debug categories. Reply: rows of letter, name, meaning, `on` or empty, colour.
    DebugTags,
    /// How a path resolves for the calling process. Reply: rows of a name, what stands there, and who answers for it, hop by hop; the last row is the
    /// result, its name empty if the path means nothing.
    Explain {
        /// The path, relative ones from the caller's working directory.
        path: String,
    },
    /// Choose the network stack of the calling process.
    SetStack {
        /// The mount point of the stack; empty: back to the host's.
        path: String,
        /// The families, as numbers; empty: all.
        families: Vec<i32>,
        /// Only those of `families` that the stack supports.
        supported_only: bool,
    },
    /// Let the calling process become any user, whoever it is: what `vusu` asks for, as su(1) has its set-user-id bit. Errors: `EINVAL` if users are not virtual,
    /// `EPERM` for who promised to gain no rights (`PR_SET_NO_NEW_PRIVS`).
    FreeIdentity,
    /// Make an inner view for the calling process and what it starts; it begins with the mounts of the outer one.
    NewView {
        /// Its name; empty for none.
        name: String,
    },
}

/// A reply of rows, each of the same number of fields.
pub type Rows = Vec<Vec<String>>;

impl Request {
    /// The wire form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let flag = |on: bool| if on { "1" } else { "" }.to_owned();
        let fields: Vec<String> = match self {
            Request::InsertModule { name, permanent } => vec!["insmod".into(), name.clone(), flag(*permanent)],
            Request::RemoveModule { name } => vec!["rmmod".into(), name.clone()],
            Request::ActiveModules => vec!["lsmod".into()],
            Request::AvailableModules => vec!["modules".into()],
            Request::Mounts => vec!["mounts".into()],
            Request::ViewInfo => vec!["info".into()],
            Request::SetViewName { name } => vec!["name".into(), name.clone()],
            Request::SetDebug { pid, changes } => {
                let mut fields = vec!["debug".into(), pid.to_string()];
                fields.extend(changes.iter().cloned());
                fields
            }
            Request::DebugTags => vec!["tags".into()],
            Request::Explain { path } => vec!["explain".into(), path.clone()],
            Request::SetStack { path, families, supported_only } => {
                let mut fields = vec!["stack".into(), path.clone(), flag(*supported_only)];
                fields.extend(families.iter().map(ToString::to_string));
                fields
            }
            Request::FreeIdentity => vec!["free".into()],
            Request::NewView { name } => vec!["view".into(), name.clone()],
        };
        encode_fields(fields.iter().map(String::as_str))
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// `EINVAL` for whatever [`encode`](Self::encode) does not make.
    pub fn decode(bytes: &[u8]) -> Result<Request, Errno> {
        let fields = decode_fields(bytes)?;
        let flag = |text: &str| match text {
            "" => Ok(false),
            "1" => Ok(true),
            _ => Err(Errno::EINVAL),
        };
        let number = |text: &String| text.parse::<i32>().map_err(|_| Errno::EINVAL);
        let (verb, rest) = fields.split_first().ok_or(Errno::EINVAL)?;
        Ok(match (verb.as_str(), rest) {
            ("insmod", [name, permanent]) => Request::InsertModule { name: name.clone(), permanent: flag(permanent)? },
            ("rmmod", [name]) => Request::RemoveModule { name: name.clone() },
            ("lsmod", []) => Request::ActiveModules,
            ("modules", []) => Request::AvailableModules,
            ("mounts", []) => Request::Mounts,
            ("info", []) => Request::ViewInfo,
            ("name", [name]) => Request::SetViewName { name: name.clone() },
            ("debug", [pid, changes @ ..]) => Request::SetDebug { pid: number(pid)?, changes: changes.to_vec() },
            ("tags", []) => Request::DebugTags,
            ("explain", [path]) => Request::Explain { path: path.clone() },
            ("stack", [path, supported_only, families @ ..]) => Request::SetStack {
                path: path.clone(),
                families: families.iter().map(number).collect::<Result<_, _>>()?,
                supported_only: flag(supported_only)?,
            },
            ("free", []) => Request::FreeIdentity,
            ("view", [name]) => Request::NewView { name: name.clone() },
            _ => return Err(Errno::EINVAL),
        })
    }
}

/// The wire form of a reply.
#[must_use]
pub fn encode_rows(rows: &Rows) -> Vec<u8> {
    let width = rows.first().map_or(0, Vec::len).to_string();
    encode_fields(std::iter::once(width.as_str()).chain(rows.iter().flatten().map(String::as_str)))
}

/// Reads a reply.
///
/// # Errors
/// `EINVAL` if the bytes are not a reply.
pub fn decode_rows(bytes: &[u8]) -> Result<Rows, Errno> {
    let fields = decode_fields(bytes)?;
    let (width, cells) = fields.split_first().ok_or(Errno::EINVAL)?;
    match width.parse::<usize>() {
        Ok(0) if cells.is_empty() => Ok(Vec::new()),
        Ok(width) if width > 0 && cells.len() % width == 0 => Ok(cells.chunks(width).map(<[String]>::to_vec).collect()),
        _ => Err(Errno::EINVAL),
    }
}

fn encode_fields<'a>(fields: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in fields {
        // A field longer than the whole message may be is cut, and refused by the length check of the reader.
        let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(field.as_bytes());
    }
    bytes
}

fn decode_fields(mut bytes: &[u8]) -> Result<Vec<String>, Errno> {
    if bytes.len() > MAX_MESSAGE {
        return Err(Errno::EINVAL);
    }
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or(Errno::EINVAL)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| Errno::EINVAL)?;
        let field = rest.get(..length).ok_or(Errno::EINVAL)?;
        fields.push(String::from_utf8(field.to_vec()).map_err(|_| Errno::EINVAL)?);
        bytes = &rest[length..];
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requests_round_trip() {
        for request in [
            Request::InsertModule { name: "vufs".into(), permanent: true },
            Request::RemoveModule { name: String::new() },
            Request::ActiveModules,
            Request::AvailableModules,
            Request::Mounts,
            Request::ViewInfo,
            Request::SetViewName { name: "a b".into() },
            Request::SetDebug { pid: 7, changes: vec!["+s:red".into(), "-p".into()] },
            Request::DebugTags,
            Request::Explain { path: "a/../b".into() },
            Request::SetStack { path: "/dev/net/x".into(), families: vec![2, 10], supported_only: true },
            Request::FreeIdentity,
            Request::NewView { name: "in".into() },
        ] {
            assert_eq!(Request::decode(&request.encode()), Ok(request));
        }
    }

    proptest! {
        #[test]
        fn garbage_is_einval_or_a_request(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Request::decode(&bytes);
            let _ = decode_rows(&bytes);
        }

        #[test]
        fn rows_round_trip(rows in proptest::collection::vec(proptest::collection::vec(".{0,8}", 3), 0..5)) {
            prop_assert_eq!(decode_rows(&encode_rows(&rows)), Ok(rows));
        }
    }
}
