//! Calls that only the 32-bit entry has, or whose arguments differ there, as far as they concern paths and virtual files
//! (`arch/x86/entry/syscalls/syscall_32.tbl`).
//!
//! Where a structure is laid out otherwise than on x86_64 (`struct stat`, `struct statfs`), the kernel fills it where it can, and only the path is replaced; for
//! what a mount keeps itself it is filled in `handlers/layouts.rs`.

use super::{
    Arg::*,
    Row,
    Tier::{Attribute, Base, Descriptor, Message, Stat},
};
use crate::handlers::{fds, messages, mounts, rewrite, sockets};

const OTHER_LAYOUT: &str = "EOVERFLOW for a virtual file";

pub(super) const ROWS: &[Row] = &[
    Row::path(18, "oldstat", &[Path, Pointer], rewrite::paths).only_i386(),
    Row::path(84, "oldlstat", &[PathNoFollow, Pointer], rewrite::paths).only_i386(),
    Row::path(106, "stat", &[Path, Pointer], rewrite::paths).only_i386(),
    Row::path(107, "lstat", &[PathNoFollow, Pointer], rewrite::paths).only_i386(),
    Row::path(195, "stat64", &[Path, Pointer], rewrite::paths).only_i386(),
    Row::path(196, "lstat64", &[PathNoFollow, Pointer], rewrite::paths).only_i386(),
    Row::path(300, "fstatat64", &[DirFd, Path, Pointer, AtFlags], rewrite::paths).only_i386(),
    Row::path(99, "statfs", &[Path, Pointer], rewrite::paths).only_i386(),
    Row::path(268, "statfs64", &[Path, Size, Pointer], rewrite::paths).only_i386(),
    Row::path(198, "lchown32", &[ChangedPathNoFollow, Id, Id], rewrite::paths).only_i386(),
    Row::path(212, "chown32", &[ChangedPath, Id, Id], rewrite::paths).only_i386(),
    Row::path(193, "truncate64", &[ChangedPath, Hex, Hex], rewrite::paths).only_i386(),
    Row::path(412, "utimensat_time64", &[DirFd, ChangedPath, Pointer, AtFlags], rewrite::paths).only_i386(),
    Row::path(86, "uselib", &[Path], rewrite::paths).only_i386(),
    Row::each(Base, 22, "umount", &[Path], mounts::umount2).only_i386(),
    Row::path(102, "socketcall", &[Int, Pointer], sockets::socketcall).only_i386().always().may_sleep(),
    Row::each(Message, 417, "recvmmsg_time64", &[Fd, Pointer, Size, Hex, Pointer], messages::recvmmsg)
        .only_i386()
        .may_sleep(),
    Row::each(Stat, 28, "oldfstat", &[Fd, Pointer], fds::fstat).only_i386().partial(OTHER_LAYOUT),
    Row::each(Stat, 108, "fstat", &[Fd, Pointer], fds::fstat).only_i386(),
    Row::each(Stat, 197, "fstat64", &[Fd, Pointer], fds::fstat).only_i386(),
    Row::each(Descriptor, 89, "readdir", &[Fd, Pointer, Size], fds::getdents)
        .only_i386()
        .partial("EINVAL for a virtual directory"),
    Row::each(Descriptor, 141, "getdents", &[Fd, Pointer, Size], fds::getdents).only_i386(),
    Row::each(Descriptor, 100, "fstatfs", &[Fd, Pointer], fds::fstatfs).only_i386(),
    Row::each(Descriptor, 269, "fstatfs64", &[Fd, Size, Pointer], fds::fstatfs).only_i386(),
    Row::each(Attribute, 207, "fchown32", &[Fd, Id, Id], fds::fchown).only_i386(),
    Row::each(Descriptor, 194, "ftruncate64", &[Fd, Hex, Hex], fds::ftruncate).only_i386(),
];
