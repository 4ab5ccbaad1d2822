//! A copy of a C library whose path calls go by way of the agent.
//!
//! The file is the library's, with the agent's code and a [`Board`] behind it. Three things are changed in it:
//!
//! * Where a path call is made, `mov eax, NUMBER; …; syscall`, the first instruction becomes a jump of the same length. All others stay; those between the two, which may be nothing but
//!   moves of arguments to their registers, are made on the way as well. The last one is where the call is made that the agent does not answer; whoever jumps right there, or in between, finds what he expects.
//! * The program header that says which hardware checks the program could be run with (`PT_GNU_PROPERTY`: they are not applied then, as in programs without it) becomes one
//!   that maps the code and the board (`PT_LOAD`).
//! * The last writable segment is 16 bytes longer in memory: there the process's switch stands, 0 as long as it has an agent.

use crate::{
    board::{self, Board},
    calls::{self, Call, JUMP, MOV_SIZE, STUB_SIZE, calls, distance, put},
    code,
    elf::{self, Header, headers},
};
use nix::{
    fcntl::{FcntlArg, OFlag, SealFlag, fcntl, openat},
    sys::{
        memfd::{MFdFlags, memfd_create},
        stat::{Mode, fstat},
    },
};
use std::{
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::FileExt,
    },
};

/// Why there is no copy of a file.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It is no shared library of this machine, or damaged.
    #[error("not a 64-bit x86 shared library")]
    NotALibrary,
    /// It is one, and cannot be extended.
    #[error("no program header can be spared")]
    NoRoom,
    /// It makes no path calls in the known way.
    #[error("no path call is found in it")]
    NoCalls,
    /// Longer than a library is.
    #[error("longer than {LONGEST} bytes")]
    TooLong,
    /// The host does not allow it.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<nix::Error> for ImageError {
    fn from(errno: nix::Error) -> ImageError {
        ImageError::Io(errno.into())
    }
}

/// Of longer files no copy is made.
pub const LONGEST: usize = 32 << 20;

const PAGE: u64 = 4096;
/// The copied library.
#[derive(Debug)]
struct Extended {
    bytes: Vec<u8>,
    /// Where the code page lies, in the file and in memory from where the library begins there.
    code: (usize, u64),
    /// Where the switch lies in memory.
    switch: u64,
}

/// A copy that is there for programs, and its board.
#[derive(Debug)]
pub struct Image {
    file: OwnedFd,
    /// `/proc/self/fd`
    descriptors: OwnedFd,
    /// Its device and inode number.
    object: (u64, u64),
    board: Board,
    code: (u64, u64),
    switch: u64,
}

impl Image {
    /// Of the content of a library. `signature` is what the tracer knows the code page by. The board is disabled.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn new(library: Vec<u8>, signature: [u8; code::SIGNATURE_SIZE]) -> Result<Image, ImageError> {
        let Extended { bytes, code, switch } = extend(library, signature)?;
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        // A kernel may want to be told that it is for programs (`vm.memfd_noexec`, Linux 6.3); older ones do not know the flag.
        let executable = MFdFlags::from_bits_retain(libc::MFD_EXEC);
        let memory = memfd_create(c"libc.so.6", flags | executable).or_else(|_| memfd_create(c"libc.so.6", flags))?;
        let mut file = File::from(memory);
        let size = (bytes.len() + board::SIZE).next_multiple_of(board::HUGE);
        file.set_len(size as u64)?;
        // In small ones it serves as well.
        let _ = in_huge_pages(&file, size);
        file.write_all(&bytes)?;
        let board = Board::new(file.as_fd(), code.0 + code::SIZE)?;
        let seals =
            SealFlag::F_SEAL_FUTURE_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
        let stat = fstat(&file)?;
        let directory = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let image = Image {
            descriptors: nix::fcntl::open("/proc/self/fd", directory, Mode::empty())?,
            object: (stat.st_dev, stat.st_ino),
            file: file.into(),
            board,
            code: (code.0 as u64, code.1),
            switch,
        };
        // A host may forbid that such memory is executed.
        board::try_to_execute(image.open()?.as_fd(), code.0)?;
        Ok(image)
    }

    /// What is published to its readers.
    #[must_use]
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Device and inode number of the copy.
    #[must_use]
    pub fn object(&self) -> (u64, u64) {
        self.object
    }

    /// A new description of the copy, for reading.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn open(&self) -> io::Result<OwnedFd> {
        let name = self.file.as_raw_fd().to_string();
        Ok(openat(&self.descriptors, name.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?)
    }

    /// Where a process has its switch that has mapped a part of the copy, from `offset` in the file on, at `address`; `None` if that part is not the code.
    #[must_use]
    pub fn switch(&self, offset: u64, address: u64) -> Option<u64> {
        let (code, place) = self.code;
        if offset != code { None } else { address.checked_sub(place)?.checked_add(self.switch) }
    }
}

/// Has an empty file of this size, which is a multiple of [`board::HUGE`], lie in huge pages.
fn in_huge_pages(file: &File, size: usize) -> io::Result<()> {
    for place in (0..size).step_by(board::HUGE) {
        file.write_at(&[0], place as u64)?;
    }
    board::collapse(file.as_fd(), size)
}

/// The library with the agent, but for the board behind it.
fn extend(mut bytes: Vec<u8>, signature: [u8; code::SIGNATURE_SIZE]) -> Result<Extended, ImageError> {
    if bytes.len() > LONGEST {
        return Err(ImageError::TooLong);
    }
    let headers = headers(&bytes).ok_or(ImageError::NotALibrary)?;
    let spare = headers.iter().position(|(_, header)| header.kind == elf::GNU_PROPERTY).ok_or(ImageError::NoRoom)?;
    let last = headers.iter().rposition(|(_, header)| header.kind == elf::LOAD).ok_or(ImageError::NotALibrary)?;
    let (last_place, mut data) = headers[last];
    // Segments stand in the order of their addresses (elf(5)), and what comes last in memory must be data for the switch to be behind it.
    let end = data.address.checked_add(data.memory_size).filter(|&end| end < 1 << 40).ok_or(ImageError::NotALibrary)?;
    let highest = headers.iter().all(|(_, header)| header.kind != elf::LOAD || header.address <= data.address);
    if spare < last || !highest || data.flags != elf::READ | elf::WRITE || data.file_size > data.memory_size {
        return Err(ImageError::NoRoom);
    }
    let switch = end.next_multiple_of(8);
    data.memory_size = switch + 16 - data.address;
    let place = (switch + 16).next_multiple_of(PAGE).next_multiple_of(data.align.clamp(PAGE, 1 << 21));

    let mut page = code::bytes().to_vec();
    page[code::SIGNATURE..code::SIGNATURE + code::SIGNATURE_SIZE].copy_from_slice(&signature);
    // The instruction ends one byte behind its displacement.
    let at = code::off_switch();
    let behind = place + at as u64 + 5;
    put(&mut page, at, distance(behind, switch)?)?;

    let mut found = 0;
    for (_, text) in headers.iter().filter(|(_, header)| header.kind == elf::LOAD && header.flags & elf::EXECUTE != 0) {
        for Call { at, between, nr, kind } in calls(&bytes, text) {
            let behind = text.address + (at as u64 - text.offset) + MOV_SIZE as u64;
            let moves = bytes[at + MOV_SIZE..at + MOV_SIZE + between].to_vec();
            let stub = page.len();
            if stub + moves.len() + STUB_SIZE > code::SIZE {
                break;
            }
            page.extend_from_slice(&moves);
            let call = behind + moves.len() as u64;
            page.extend_from_slice(&calls::stub(nr, kind, place + page.len() as u64, call, place)?);
            bytes[at] = JUMP;
            put(&mut bytes, at + 1, distance(behind, place + stub as u64)?)?;
            found += 1;
        }
    }
    if found == 0 {
        return Err(ImageError::NoCalls);
    }
    page.resize(code::SIZE, 0);

    let offset = bytes.len().next_multiple_of(code::SIZE);
    let size = (code::SIZE + board::SIZE) as u64;
    let agent = Header {
        kind: elf::LOAD,
        flags: elf::READ | elf::EXECUTE,
        offset: offset as u64,
        address: place,
        file_size: size,
        memory_size: size,
        align: PAGE,
    };
    bytes.resize(offset, 0);
    bytes.extend_from_slice(&page);
    for (at, header) in [(last_place, data), (headers[spare].0, agent)] {
        bytes[at..at + Header::SIZE].copy_from_slice(&header.bytes());
    }
    Ok(Extended { bytes, code: (offset, place), switch })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bind, Doubts, Key, Seeds, Start};
    use proptest::prelude::*;
    use std::{
        fs,
        os::unix::fs::{MetadataExt, symlink},
        path::{Path, PathBuf},
        process::{Command, Output},
        slice,
    };

    const LIBRARY: &str = "/lib/x86_64-linux-gnu/libc.so.6";
    const COOKIE: u64 = 77;
    const SEEDS: Seeds = Seeds { paths: 5, programs: 9 };

    /// A directory with the copy as the C library of the programs that are run with it.
    struct Copied {
        directory: tempfile::TempDir,
        library: Vec<u8>,
    }

    impl Copied {
        fn new() -> Copied {
            let directory = tempfile::tempdir().unwrap();
            let mut library = extend(fs::read(LIBRARY).unwrap(), [7; 16]).unwrap().bytes;
            library.resize(library.len() + board::SIZE, 0);
            Copied { directory, library }
        }

        fn path(&self) -> PathBuf {
            self.directory.path().join("libc.so.6")
        }

        /// Runs a program with a board that a test has written to.
        fn run(&self, board: impl FnOnce(&Board), argv: &[&str]) -> Output {
            self.run_in(Path::new("."), board, argv)
        }

        /// The same in a directory.
        fn run_in(&self, directory: &Path, board: impl FnOnce(&Board), argv: &[&str]) -> Output {
            fs::write(self.path(), &self.library).unwrap();
            let file = fs::OpenOptions::new().read(true).write(true).open(self.path()).unwrap();
            let offset = self.library.len() - board::SIZE;
            let shared = Board::new(file.as_fd(), offset).unwrap();
            shared.set_cookie(COOKIE);
            board(&shared);
            Command::new(argv[0])
                .args(&argv[1..])
                .current_dir(directory)
                .env("LD_LIBRARY_PATH", self.directory.path())
                .env("LC_ALL", "C")
                .output()
                .unwrap()
        }
    }

    fn enable(board: &Board, binds: &[Bind]) {
        board.enable(SEEDS, [&b"hidden"[..]].into_iter(), binds, Doubts::default());
    }

    #[test]
    fn programs_run_with_a_copy_that_is_switched_off() {
        let copied = Copied::new();
        let with = copied.run(|_| {}, &["/bin/ls", "-l", "/usr"]);
        let without = Command::new("/bin/ls").args(["-l", "/usr"]).env("LC_ALL", "C").output().unwrap();
        assert!(with.status.success());
        assert_eq!(String::from_utf8_lossy(&with.stdout), String::from_utf8_lossy(&without.stdout));
    }

    /// Natively there is no filter, so what the agent asks and what the program itself asks gives the same, but in binds.
    #[test]
    fn programs_see_the_same_by_way_of_the_agent() {
        let copied = Copied::new();
        let tree = tempfile::tempdir().unwrap();
        let at = |name: &str| tree.path().join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("a/b/file"), "text").unwrap();
        symlink("file", at("a/b/link")).unwrap();
        symlink("nothing", at("a/b/dangling")).unwrap();
        let script = format!(
            "cd {}; for p in a/b/file a/b/link a/b/dangling a/b/none a/b/ a/b/. a/b/.. a/none/x a/b/file/x $PWD/a/b/file $PWD/a/b/link \
             $PWD/a/b/none file a; do stat -c '%n %F %s %i' $p; stat -L -c '%n %F %s' $p; [ -e $p ] && echo there; readlink $p; ls -ld $p; done; \
             find . -ls; cat a/b/link; ls -lR . ; [ -r /etc/passwd ]; echo $?",
            tree.path().display()
        );
        let bash = ["/bin/bash", "-c", &script];
        let without = Command::new(bash[0]).args(&bash[1..]).env("LC_ALL", "C").output().unwrap();
        let directory = |name: &str| at(name).into_os_string().into_encoded_bytes();
        let (device, inode) = {
            use std::os::unix::fs::MetadataExt;
            let meta = fs::metadata(tree.path()).unwrap();
            (meta.dev(), meta.ino())
        };
        let with = copied.run(
            |board| {
                enable(board, &[]);
                board.publish(Key::new(5, Start::Root, &directory("a/b")));
                board.publish(Key::new(5, Start::Directory(device, inode), b"a/b"));
                board.publish(Key::new(5, Start::Directory(device, inode), b""));
                board.publish(Key::new(5, Start::Root, b"/etc"));
            },
            &bash,
        );
        assert_eq!(String::from_utf8_lossy(&with.stdout), String::from_utf8_lossy(&without.stdout));
        assert_eq!(String::from_utf8_lossy(&with.stderr), String::from_utf8_lossy(&without.stderr));
    }

    /// Where it changes the path, one can see that it was asked.
    #[test]
    fn paths_in_binds_are_looked_up_below_the_source() {
        let copied = Copied::new();
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir_all(tree.path().join("source/inner")).unwrap();
        fs::write(tree.path().join("source/inner/file"), "12345").unwrap();
        let source = tree.path().join("source").into_os_string().into_encoded_bytes();
        let bind = |point: &str, source: &[u8]| Bind { point: point.into(), source: source.to_vec(), tag: 63 };
        let binds = [bind("/no/such", b""), bind("/mnt/nowhere", &source)];
        let stat = |path: &str, key: Key| {
            let output = copied.run(
                |board| {
                    enable(board, &binds);
                    board.publish(key);
                },
                &["/usr/bin/stat", "-c", "%n %s", path],
            );
            String::from_utf8(output.stdout).unwrap()
        };
        let key = |seed, bind, text: &str| Key::new(seed, Start::Bind(bind), text.as_bytes());
        assert_eq!(stat("/mnt/nowhere/inner/file", key(5, 1, "/mnt/nowhere/inner")), "/mnt/nowhere/inner/file 5\n");
        let inner = format!("/no/such{}/inner", tree.path().join("source").display());
        assert_eq!(stat(&format!("{inner}/file"), key(5, 0, &inner)), format!("{inner}/file 5\n"));
        // No proof, one of another time, of another bind, and one for the root.
        assert_eq!(stat("/mnt/nowhere/inner/file", key(5, 1, "/mnt/nowhere")), "");
        assert_eq!(stat("/mnt/nowhere/inner/file", key(4, 1, "/mnt/nowhere/inner")), "");
        assert_eq!(stat("/mnt/nowhere/inner/file", key(5, 0, "/mnt/nowhere/inner")), "");
        assert_eq!(stat("/mnt/nowhere/inner/file", Key::new(5, Start::Root, b"/mnt/nowhere/inner")), "");
        // The name of a mount point.
        assert_eq!(stat("/mnt/nowhere/inner/hidden", key(5, 1, "/mnt/nowhere/inner")), "");
    }

    /// glibc moves arguments between the number and the call there. A locale, which exists below its bind's source only, shows whether it was asked.
    #[test]
    fn what_the_library_opens_for_itself_is_looked_up_too() {
        let copied = Copied::new();
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir(tree.path().join("ours")).unwrap();
        for file in fs::read_dir("/usr/lib/locale/C.utf8").unwrap().map(Result::unwrap) {
            if file.path().is_file() {
                fs::copy(file.path(), tree.path().join("ours").join(file.file_name())).unwrap();
            }
        }
        let source = tree.path().as_os_str().as_encoded_bytes().to_vec();
        let bind = Bind { point: b"/no/such".to_vec(), source, tag: 63 };
        let charmap = |directory: &str| {
            let proofs = |board: &Board| {
                enable(board, slice::from_ref(&bind));
                board.publish(Key::new(SEEDS.paths, Start::Bind(0), directory.as_bytes()));
            };
            let argv = ["/usr/bin/env", "LOCPATH=/no/such", "LC_ALL=ours", "/usr/bin/locale", "charmap"];
            String::from_utf8(copied.run(proofs, &argv).stdout).unwrap()
        };
        assert_eq!(charmap("/no/such/ours"), "UTF-8\n");
        assert_ne!(charmap("/no/such"), "UTF-8\n");
    }

    #[test]
    fn all_calls_of_the_library_have_room() {
        let library = fs::read(LIBRARY).unwrap();
        let texts = headers(&library).unwrap();
        let of =
            |(_, text): &(usize, Header)| if text.flags & elf::EXECUTE != 0 { calls(&library, text) } else { vec![] };
        let size: usize = texts.iter().flat_map(of).map(|call| call.between + STUB_SIZE).sum();
        assert!(size > 0 && code::bytes().len() + size <= code::SIZE);
    }

    #[test]
    fn paths_are_put_together_no_longer_than_there_is_room() {
        let copied = Copied::new();
        let tree = tempfile::tempdir().unwrap();
        let (here, there) = (tree.path().join("here"), tree.path().join("there"));
        fs::create_dir(&here).unwrap();
        fs::create_dir(&there).unwrap();
        fs::write(there.join("file"), "12345").unwrap();
        let cwd = fs::metadata(&here).unwrap();
        let object = (cwd.dev(), cwd.ino());
        let name = there.as_os_str().as_encoded_bytes();
        // With its slash and the NUL, from well within to well beyond what the frame holds.
        for length in [100, 400, 502, 503, 504, 505, 506, 510, 511, 512, 513, 520, 600, 900] {
            let path_length = length - name.len() - 2;
            let directory = if path_length.is_multiple_of(2) {
                "./".repeat((path_length - 6) / 2) + "./"
            } else {
                "./".repeat((path_length - 7) / 2) + ".//"
            };
            let path = directory.clone() + "file";
            assert_eq!(path.len(), path_length);
            let publish = |board: &Board| {
                let doubts = Doubts { descriptors: true, access: true, owners: true };
                board.enable(SEEDS, [&b"hidden"[..]].into_iter(), &[], doubts);
                assert!(board.tell_stand(SEEDS.paths, object, name));
                let start = Start::Stand(object.0, object.1);
                board.publish(Key::new(SEEDS.paths, start, directory.strip_suffix('/').unwrap().as_bytes()));
            };
            let output = copied.run_in(&here, publish, &["/usr/bin/stat", "-c", "%s", &path]);
            let expected = if length <= 504 { "5\n" } else { "" };
            assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{length}");
            assert_eq!(output.status.code(), Some(i32::from(expected.is_empty())), "{length}");
        }
    }

    fn in_doubt(board: &Board) {
        board.enable(
            SEEDS,
            [&b"hidden"[..]].into_iter(),
            &[],
            Doubts { descriptors: true, access: true, owners: true },
        );
    }

    /// Nobody catches here what would fault.
    #[test]
    fn what_is_in_doubt_is_listed_and_opened() {
        let copied = Copied::new();
        let script =
            "ls -lR /etc/apt; find /etc/apt /etc/ld.so.conf.d -ls; cat /etc/passwd; cd /etc; ls -l apt .; cat hosts";
        let bash = ["/bin/bash", "-c", script];
        let without = Command::new(bash[0]).args(&bash[1..]).env("LC_ALL", "C").output().unwrap();
        let with = copied.run(in_doubt, &bash);
        assert!(with.status.success());
        assert_eq!(String::from_utf8_lossy(&with.stdout), String::from_utf8_lossy(&without.stdout));
    }

    #[test]
    fn directories_are_given_the_tags_of_their_routes() {
        let copied = Copied::new();
        let tree = tempfile::tempdir().unwrap();
        let inner = tree.path().join("inner");
        fs::create_dir_all(inner.join("below")).unwrap();
        symlink("below", inner.join("link")).unwrap();
        let object = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).unwrap();
        let name = |path: &Path| path.as_os_str().as_encoded_bytes().to_vec();
        let mount = {
            let open = fs::File::open(tree.path()).unwrap();
            let told = fs::read_to_string(format!("/proc/self/fdinfo/{}", open.as_raw_fd())).unwrap();
            told.lines().find_map(|line| line.strip_prefix("mnt_id:")).unwrap().trim().parse::<u64>().unwrap()
        };
        // The tags of two directories, of which the second is opened by way of the first: fcntl(fd, F_GETSIG). The first may be given one before.
        let tags = |publish: &dyn Fn(&Board), first: &str, given: u32, second: &str| {
            let script = format!(
                "import os, fcntl\na = os.open({first:?}, os.O_DIRECTORY)\ngiven = {given} or fcntl.fcntl(a, 11)\nfcntl.fcntl(a, 10, given)\n\
                 b = os.open({second:?}, os.O_RDONLY, dir_fd=a)\nprint(given, fcntl.fcntl(b, 11), len(os.listdir(b)))"
            );
            let output = copied.run_in(&inner, publish, &["/usr/bin/python3", "-c", &script]);
            String::from_utf8(output.stdout).unwrap()
        };
        // In a bind, by its name and by that with a slash.
        let bind = Bind { point: b"/mnt/nowhere".to_vec(), source: name(tree.path()), tag: 63 };
        let in_bind = |board: &Board| {
            enable(board, std::slice::from_ref(&bind));
            board.publish(Key::new(SEEDS.paths, Start::Bind(0), b"/mnt/nowhere"));
            board.publish(Key::new(SEEDS.paths, Start::Bind(0), b"/mnt/nowhere/inner"));
        };
        assert_eq!(tags(&in_bind, "/mnt/nowhere/inner", 0, "below"), "63 63 0\n");
        assert_eq!(tags(&in_bind, "/mnt/nowhere/inner/", 0, "below"), "63 63 0\n");
        assert_eq!(tags(&in_bind, "/mnt/nowhere/inner/", 0, "hidden"), "");
        // Of a directory that is the host's, none.
        let (path, with_slash) = (inner.to_str().unwrap(), format!("{}/", inner.display()));
        let own = |board: &Board| {
            enable(board, &[]);
            board.publish(Key::new(SEEDS.paths, Start::Root, &name(tree.path())));
            board.publish(Key::new(SEEDS.paths, Start::Root, &name(&inner)));
        };
        assert_eq!(tags(&own, path, 0, "below"), "0 0 0\n");
        assert_eq!(tags(&own, &with_slash, 0, "below"), "0 0 0\n");
        // What is lent: in that mount of the host.
        let lent = |mounts: &[(u32, Option<u64>)]| {
            let (mounts, inner) = (mounts.to_vec(), inner.clone());
            let directories = [name(tree.path()), name(&inner)];
            move |board: &Board| {
                in_doubt(board);
                mounts.iter().for_each(|&(tag, mount)| board.tell_mount(tag, mount));
                for directory in &directories {
                    board.publish(Key::new(SEEDS.paths, Start::Root, directory));
                    board.publish(Key::of_lent(SEEDS.paths, Start::Root, directory, 42));
                }
                let (device, inode) = object(&inner);
                board.publish(Key::new(SEEDS.paths, Start::Tagged(device, inode, 42), b""));
            }
        };
        assert_eq!(tags(&lent(&[(7, Some(mount)), (42, Some(mount))]), path, 0, "below"), "42 42 0\n");
        assert_eq!(tags(&lent(&[(42, Some(mount))]), &with_slash, 0, "below"), "42 42 0\n");
        assert_eq!(tags(&lent(&[(42, Some(mount + 1))]), path, 0, "below"), "0 0 0\n", "in another mount");
        assert_eq!(tags(&lent(&[(42, Some(mount + 1))]), path, 42, "below"), "42 0 0\n", "in another mount");
        assert_eq!(tags(&lent(&[(42, None)]), path, 42, "below"), "42 42 0\n", "in all mounts");
        assert_eq!(tags(&lent(&[]), path, 42, "below"), "42 0 0\n");
        assert_eq!(tags(&lent(&[(42, Some(mount))]), path, 41, "below"), "41 0 0\n", "of another route");
        assert_eq!(
            tags(&lent(&[(42, Some(mount))]), path, 42, "link"),
            "42 0 0\n",
            "a link is the hypervisor's to follow"
        );
        // All that has a tag is untouched, but what was touched.
        let all = |change: &dyn Fn(&Board)| {
            let publish = |board: &Board| {
                in_doubt(board);
                board.tell_mount(42, Some(mount));
                board.publish(Key::of_all(SEEDS.paths, 42));
                change(board);
            };
            tags(&publish, path, 42, "below")
        };
        let (touched, another) = (object(&inner), object(tree.path()));
        assert_eq!(all(&|_| {}), "42 42 0\n");
        assert_eq!(all(&|board| board.touch(touched)), "42 0 0\n");
        assert_eq!(all(&|board| board.touch(another)), "42 42 0\n");
        let forgotten = |board: &Board| {
            board.touch(touched);
            board.forget_touched();
        };
        assert_eq!(all(&forgotten), "42 42 0\n");
        // By a working directory that stands for it.
        let stand = |board: &Board| {
            let (start, name) = (object(&inner), name(&inner));
            in_doubt(board);
            board.tell_mount(42, Some(mount));
            assert!(board.tell_stand(SEEDS.paths, start, &name));
            let start = Start::Stand(start.0, start.1);
            board.publish(Key::new(SEEDS.paths, start, b"."));
            board.publish(Key::of_lent(SEEDS.paths, start, b".", 42));
        };
        assert_eq!(tags(&stand, "./below", 0, "."), "42 0 0\n");
    }

    /// Where objects with several names are in doubt. What is asked of the bind is seen, and not what is left to others.
    #[test]
    fn what_has_several_names_is_left_to_others() {
        let copied = Copied::new();
        let tree = tempfile::tempdir().unwrap();
        let at = |name: &str| tree.path().join(name);
        fs::create_dir_all(at("d/sub")).unwrap();
        fs::write(at("d/one"), "1").unwrap();
        fs::write(at("d/two"), "22").unwrap();
        fs::hard_link(at("d/two"), at("other")).unwrap();
        symlink("one", at("d/link")).unwrap();
        let bind = Bind {
            point: b"/mnt/nowhere".to_vec(),
            source: tree.path().as_os_str().as_encoded_bytes().to_vec(),
            tag: 63,
        };
        let script = "cd /; p=/mnt/nowhere/d; for n in one two sub link none; do stat -c '%n %F' $p/$n; [ -r $p/$n ] && echo readable; readlink $p/$n; done; cat $p/one $p/two; ls $p/sub";
        let told = |links: bool| {
            let publish = |board: &Board| {
                enable(board, slice::from_ref(&bind));
                board.publish(Key::new(SEEDS.paths, Start::Bind(0), b"/mnt/nowhere/d"));
                if links {
                    board.doubt_links();
                }
            };
            String::from_utf8(copied.run(publish, &["/bin/bash", "-c", script]).stdout)
                .unwrap()
                .replace("/mnt/nowhere/d/", "")
        };
        let (without, with) = (told(false), told(true));
        assert_eq!(
            without,
            "one regular file\nreadable\ntwo regular file\nreadable\nsub directory\nreadable\nlink symbolic link\none\n122"
        );
        assert_eq!(with, "one regular file\nreadable\nsub directory\nreadable\nlink symbolic link\none\n1");
    }

    #[test]
    fn programs_are_executed_where_that_is_proved() {
        let copied = Copied::new();
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir(tree.path().join("bin")).unwrap();
        symlink("/bin/true", tree.path().join("bin/program")).unwrap();
        let source = tree.path().as_os_str().as_encoded_bytes();
        let bind = |point: &str, source: &[u8]| Bind { point: point.into(), source: source.to_vec(), tag: 0 };
        let binds = [bind("/no/such", b""), bind("/mnt/nowhere", source), bind(&"/long".repeat(40), source)];
        let executes = |path: &str, key: Key| {
            let publish = |board: &Board| {
                enable(board, &binds);
                board.publish(key);
            };
            copied.run(publish, &["/usr/bin/env", path]).status.code() == Some(0)
        };
        let key = |seed, bind, path: &str| Key::of_program(seed, bind, path.as_bytes());
        let long = format!("{}/bin/program", "/long".repeat(40));
        for (bind, path) in [(0, "/no/such/bin/true"), (1, "/mnt/nowhere/bin/program"), (2, &long)] {
            assert!(executes(path, key(SEEDS.programs, Some(bind), path)), "{path}");
            assert!(!executes(path, key(SEEDS.programs, None, path)), "{path}: of another start");
            assert!(!executes(path, key(SEEDS.programs, Some(bind + 1), path)), "{path}: of another bind");
            for other in [8, SEEDS.paths] {
                assert!(!executes(path, key(other, Some(bind), path)), "{path}: of another time");
            }
            let directory = &path[..path.rfind('/').unwrap()];
            let proof = Key::new(SEEDS.paths, Start::Bind(bind), directory.as_bytes());
            assert!(!executes(path, proof), "{path}: of its directory");
        }
        // Who fails is told so by the kernel, asked for what was given.
        let missing = "/no/such/bin/nothing";
        let output = copied.run(|board| enable(board, &binds), &["/usr/bin/env", missing]);
        let proved = |board: &Board| {
            enable(board, &binds);
            board.publish(key(SEEDS.programs, Some(0), missing));
        };
        assert_eq!(copied.run(proved, &["/usr/bin/env", missing]), output);
    }

    #[test]
    fn what_stands_before_a_source_tells_the_bind_and_has_room() {
        let texts = ["", "/a", "/mnt/nowhere", &"/long".repeat(49)];
        for (index, point, source) in (0..board::MOST_BINDS)
            .flat_map(|index| texts[1..].iter().flat_map(move |point| texts.map(|source| (index, point, source))))
        {
            let bind = Bind { point: point.as_bytes().to_vec(), source: source.into(), tag: 0 };
            let prefix = bind.exec_prefix(index);
            let slashes = prefix.strip_suffix(source.as_bytes()).unwrap();
            assert!(slashes.iter().all(|&byte| byte == b'/') && slashes.len() >= 2);
            assert_eq!(slashes.len() % board::MOST_BINDS, index);
            assert!(prefix.len() >= point.len());
        }
    }

    #[test]
    fn what_is_no_library_is_refused() {
        let library = fs::read(LIBRARY).unwrap();
        assert!(matches!(
            extend(library[..2000].to_vec(), [0; 16]),
            Err(ImageError::NoRoom | ImageError::NotALibrary | ImageError::NoCalls)
        ));
        assert!(matches!(extend(b"#!/bin/sh\n".to_vec(), [0; 16]), Err(ImageError::NotALibrary)));
        let program = fs::read(Path::new("/lib64/ld-linux-x86-64.so.2")).unwrap();
        let extended = extend(program, [0; 16]);
        assert!(extended.is_ok() || matches!(extended, Err(ImageError::NoRoom | ImageError::NoCalls)));
    }

    #[test]
    fn an_image_is_sealed_and_can_be_opened_by_readers() {
        let image = Image::new(fs::read(LIBRARY).unwrap(), [1; 16]).unwrap();
        let file = image.open().unwrap();
        let stat = fstat(&file).unwrap();
        assert_eq!(image.object(), (stat.st_dev, stat.st_ino));
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let written = fs::OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(b"x"));
        assert_eq!(written.unwrap_err().raw_os_error(), Some(libc::EPERM));
        let place = image.switch(image.code.0, 0x7000_0000 + image.code.1);
        assert_eq!(place, Some(0x7000_0000 + image.switch));
        assert_eq!(image.switch(0, 0x7000_0000), None);
    }

    proptest! {
        /// Whatever a file says of itself, nothing is read or written beside it.
        #[test]
        fn damaged_libraries_are_refused_or_extended(changes in prop::collection::vec((0usize..1000, any::<u8>()), 1..6)) {
            let mut library = fs::read(LIBRARY).unwrap();
            for (at, byte) in changes {
                library[at] = byte;
            }
            let _ = extend(library, [0; 16]);
        }
    }
}
