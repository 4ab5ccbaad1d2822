//! The calls umvu looks at.
//!
//! Which calls never carry the cookie ([`Row::always`]): those that leave something behind in the task that umvu keeps, too (chdir, chroot), those
//! whose meaning the path alone does not tell (openat2, rename, link, symlink), and those that use their sixth argument.

use super::{
    Arg::{self, *},
    Row,
    Tier::{Attribute, Base, Descriptor, Message, SocketName, Stat},
};
use crate::handlers::{
    control, dirs, exec, fds, handles, ioctls, landlock, messages, mount_queries, mounts, open, process, quota,
    rewrite, sockets, stat,
};
use vu_api::control::CONTROL_SYSCALL;
use vu_trace::filter::When;

pub(super) const OPEN: &[Row] = &[
    Row::path(2, "open", &[Path, OpenFlags, Mode], open::open).i386(5).may_sleep(),
    Row::path(85, "creat", &[Path, Mode], open::creat).i386(8).may_sleep(),
    Row::path(257, "openat", &[DirFd, Path, OpenFlags, Mode], open::openat).i386(295).may_sleep(),
    Row::path(437, "openat2", &[DirFd, Path, OpenHow, Size], open::openat2)
        .i386(437)
        .always()
        .may_sleep()
        .partial("RESOLVE_NO_XDEV does not stop at the view's mounts"),
];

pub(super) const STAT: &[Row] = &[
    Row::path(4, "stat", &[Path, Pointer], stat::stat),
    Row::path(6, "lstat", &[PathNoFollow, Pointer], stat::lstat),
    Row::path(262, "newfstatat", &[DirFd, Path, Pointer, AtFlags], stat::newfstatat),
    Row::path(332, "statx", &[DirFd, Path, AtFlags, Hex, Pointer], stat::statx).i386(383),
    Row::path(21, "access", &[Path, AccessMode], stat::access).i386(33),
    Row::path(269, "faccessat", &[DirFd, Path, AccessMode], stat::faccessat).i386(307),
    Row::path(439, "faccessat2", &[DirFd, Path, AccessMode, AtFlags], stat::faccessat2).i386(439),
    Row::path(89, "readlink", &[PathNoFollow, Pointer, Size], stat::readlink).i386(85),
    Row::path(267, "readlinkat", &[DirFd, PathNoFollow, Pointer, Size], stat::readlinkat).i386(305),
    Row::path(137, "statfs", &[Path, Pointer], stat::statfs),
];

pub(super) const NAMES: &[Row] = &[
    Row::path(83, "mkdir", &[Entry, Mode], rewrite::paths).i386(39),
    Row::path(258, "mkdirat", &[DirFd, Entry, Mode], rewrite::paths).i386(296),
    Row::path(133, "mknod", &[Entry, Mode, Hex], rewrite::paths).i386(14),
    Row::path(259, "mknodat", &[DirFd, Entry, Mode, Hex], rewrite::paths).i386(297),
    Row::path(84, "rmdir", &[Entry], rewrite::paths).i386(40),
    Row::path(87, "unlink", &[Entry], rewrite::paths).i386(10),
    Row::path(263, "unlinkat", &[DirFd, Entry, UnlinkFlags], rewrite::paths).i386(301),
    Row::path(82, "rename", &[Entry, Entry], rewrite::paths).i386(38).always(),
    Row::path(264, "renameat", &[DirFd, Entry, DirFd, Entry], rewrite::paths).i386(302).always(),
    Row::path(316, "renameat2", &[DirFd, Entry, DirFd, Entry, RenameFlags], rewrite::paths).i386(353).always(),
    Row::path(86, "link", &[PathNoFollow, Entry], rewrite::paths).i386(9).always(),
    Row::path(265, "linkat", &[DirFd, PathNoFollow, DirFd, Entry, AtFlags], rewrite::paths).i386(303).always(),
    Row::path(88, "symlink", &[Text, Entry], rewrite::paths).i386(83).always(),
    Row::path(266, "symlinkat", &[Text, DirFd, Entry], rewrite::paths).i386(304).always(),
    Row::path(90, "chmod", &[ChangedPath, Mode], rewrite::paths).i386(15),
    Row::path(268, "fchmodat", &[DirFd, ChangedPath, Mode], rewrite::paths).i386(306),
    Row::path(452, "fchmodat2", &[DirFd, ChangedPath, Mode, AtFlags], rewrite::paths).i386(452),
    Row::path(92, "chown", &[ChangedPath, Id, Id], rewrite::paths).i386(182),
    Row::path(94, "lchown", &[ChangedPathNoFollow, Id, Id], rewrite::paths).i386(16),
    Row::path(260, "fchownat", &[DirFd, ChangedPath, Id, Id, AtFlags], rewrite::paths).i386(298),
    Row::path(132, "utime", &[ChangedPath, Pointer], rewrite::paths).i386(30),
    Row::path(235, "utimes", &[ChangedPath, Pointer], rewrite::paths).i386(271),
    Row::path(261, "futimesat", &[DirFd, ChangedPath, Pointer], rewrite::paths).i386(299),
    Row::path(280, "utimensat", &[DirFd, ChangedPath, Pointer, AtFlags], rewrite::paths).i386(320),
    Row::path(76, "truncate", &[ChangedPath, Long], rewrite::paths).i386(92),
    Row::path(468, "file_getattr", &[DirFd, Path, Pointer, Size, AtFlags], rewrite::paths).i386(468),
    Row::path(469, "file_setattr", &[DirFd, ChangedPath, Pointer, Size, AtFlags], rewrite::paths).i386(469),
    Row::path(254, "inotify_add_watch", &[Fd, Path, WatchMask], rewrite::paths)
        .i386(292)
        .partial("only objects of the host can be watched"),
    Row::path(457, "statmount", &[Pointer, Pointer, Size, Hex], mount_queries::statmount).i386(457),
    Row::path(458, "listmount", &[Pointer, Pointer, Size, Hex], mount_queries::listmount).i386(458),
    Row::path(303, "name_to_handle_at", &[DirFd, PathNoFollow, Pointer, Pointer, AtFlags], rewrite::paths)
        .i386(341)
        .partial("the mount id is that of the host's mount"),
    Row::path(304, "open_by_handle_at", &[Fd, Pointer, OpenFlags], handles::open_by_handle_at)
        .i386(342)
        .partial("a handle leads to a file without a path, past every mount: EPERM, which Linux says without CAP_DAC_READ_SEARCH"),
    Row::path(179, "quotactl", &[Hex, Path, Id, Pointer], quota::quotactl)
        .i386(131)
        .partial("Q_QUOTAON names a quota file of the host: EPERM, which Linux says without CAP_SYS_ADMIN"),
    Row::path(163, "acct", &[ChangedPath], rewrite::paths).i386(51),
    Row::path(167, "swapon", &[ChangedPath, Hex], rewrite::paths).i386(87),
    Row::path(168, "swapoff", &[ChangedPath], rewrite::paths).i386(115),
];

pub(super) const XATTR: &[Row] = &[
    Row::path(188, "setxattr", &[ChangedPath, Text, Bytes, Size, Hex], rewrite::paths).i386(226),
    Row::path(189, "lsetxattr", &[ChangedPathNoFollow, Text, Bytes, Size, Hex], rewrite::paths).i386(227),
    Row::path(463, "setxattrat", &[DirFd, ChangedPath, AtFlags, Text, Pointer, Size], rewrite::paths)
        .i386(463)
        .always(),
    Row::path(191, "getxattr", &[Path, Text, Pointer, Size], stat::getxattr).i386(229),
    Row::path(192, "lgetxattr", &[PathNoFollow, Text, Pointer, Size], stat::lgetxattr).i386(230),
    Row::path(464, "getxattrat", &[DirFd, Path, AtFlags, Text, Pointer, Size], rewrite::paths).i386(464).always(),
    Row::path(194, "listxattr", &[Path, Pointer, Size], stat::listxattr).i386(232),
    Row::path(195, "llistxattr", &[PathNoFollow, Pointer, Size], stat::llistxattr).i386(233),
    Row::path(465, "listxattrat", &[DirFd, Path, AtFlags, Pointer, Size], rewrite::paths).i386(465),
    Row::path(197, "removexattr", &[ChangedPath, Text], rewrite::paths).i386(235),
    Row::path(198, "lremovexattr", &[ChangedPathNoFollow, Text], rewrite::paths).i386(236),
    Row::path(466, "removexattrat", &[DirFd, ChangedPath, AtFlags, Text], rewrite::paths).i386(466),
];

pub(super) const DIRECTORIES: &[Row] = &[
    Row::path(80, "chdir", &[Path], dirs::chdir).i386(12).always(),
    Row::path(81, "fchdir", &[Fd], dirs::fchdir).i386(133).always(),
    Row::path(79, "getcwd", &[Pointer, Size], dirs::getcwd).i386(183).always(),
    Row::path(161, "chroot", &[Path], dirs::chroot).i386(61).always(),
];

pub(super) const EXEC: &[Row] = &[
    Row::path(59, "execve", &[Path, Strings, Environment], exec::execve).i386(11),
    Row::path(322, "execveat", &[DirFd, Path, Strings, Environment, AtFlags], exec::execveat).i386(358).always(),
];

/// The call of the `vu_*` tools; no kernel has it.
pub(super) const CONTROL: Row =
    Row::each(Base, CONTROL_SYSCALL, "umvu_control", &[Pointer, Size, Pointer, Size], control::control)
        .i386(CONTROL_SYSCALL);

pub(super) const MOUNTS: &[Row] = &[
    Row::each(Base, 165, "mount", &[Text, Path, Text, MountFlags, Text], mounts::mount)
        .i386(21)
        .partial("a file system that no active module offers is mounted by the host's kernel, for the whole machine"),
    Row::each(Base, 166, "umount2", &[Path, UmountFlags], mounts::umount2).i386(52),
    CONTROL,
];

pub(super) const SOCKETS: &[Row] = &[
    Row::path(41, "socket", &[Family, SocketType, Int], sockets::socket).i386(359).always(),
    Row::path(49, "bind", &[Fd, SocketAddress, Size], sockets::bind).i386(361).always(),
    Row::path(42, "connect", &[Fd, SocketAddress, Size], sockets::connect).i386(362).always().may_sleep(),
    Row::path(44, "sendto", &[Fd, Bytes, Size, Hex, SocketAddress, Size], sockets::sendto)
        .i386(369)
        .when(When::ArgumentNotZero(4))
        .may_sleep(),
    Row::each(SocketName, 51, "getsockname", &[Fd, Pointer, Pointer], sockets::getsockname).i386(367),
    Row::each(SocketName, 52, "getpeername", &[Fd, Pointer, Pointer], sockets::getpeername).i386(368),
    Row::each(SocketName, 43, "accept", &[Fd, Pointer, Pointer], sockets::accept)
        .when(When::ArgumentNotZero(1))
        .may_sleep(),
    Row::each(SocketName, 288, "accept4", &[Fd, Pointer, Pointer, Hex], sockets::accept)
        .i386(364)
        .when(When::ArgumentNotZero(1))
        .may_sleep(),
    Row::each(SocketName, 45, "recvfrom", &[Fd, Pointer, Size, Hex, Pointer, Pointer], sockets::recvfrom)
        .i386(371)
        .when(When::ArgumentNotZero(4))
        .may_sleep(),
    Row::each(Message, 46, "sendmsg", &[Fd, Pointer, Hex], messages::sendmsg).i386(370).may_sleep(),
    Row::each(Message, 307, "sendmmsg", &[Fd, Pointer, Size, Hex], messages::sendmmsg).i386(345).may_sleep(),
    Row::each(Message, 47, "recvmsg", &[Fd, Pointer, Hex], messages::recvmsg).i386(372).may_sleep(),
    Row::each(Message, 299, "recvmmsg", &[Fd, Pointer, Size, Hex, Pointer], messages::recvmmsg).i386(337).may_sleep(),
];

pub(super) const NAMESPACES: &[Row] = &[
    Row::path(272, "unshare", &[CloneFlags], process::unshare).i386(310).always(),
    Row::path(308, "setns", &[Fd, CloneFlags], process::setns).i386(346).always(),
    Row::path(95, "umask", &[Mode], process::umask).i386(60).always(),
    Row::path(445, "landlock_add_rule", &[Fd, Int, Pointer, Hex], landlock::add_rule).i386(445).always(),
    Row::each(Base, 446, "landlock_restrict_self", &[Fd, Hex], landlock::restrict_self).i386(446),
    Row::path(203, "sched_setaffinity", &[Int, Size, Pointer], process::affinity)
        .i386(241)
        .when(When::ArgumentNotZero(0)),
    Row::path(204, "sched_getaffinity", &[Int, Size, Pointer], process::affinity)
        .i386(242)
        .when(When::ArgumentNotZero(0)),
];

/// Those that have signals sent which `F_SETSIG` chooses, and that which tells the choice (fcntl(2)).
const SIGNALLING: &[u32] =
    &[libc::F_SETLEASE.cast_unsigned(), libc::F_NOTIFY.cast_unsigned(), crate::sys::F_GETSIG.cast_unsigned()];

pub(super) const CONTROLS: &[Row] = &[
    Row::path(72, "fcntl", &[Fd, Int, Hex], fds::fcntl).i386(55).when(When::ArgumentInWithoutCookie(1, SIGNALLING)),
    Row::path(221, "fcntl64", &[Fd, Int, Hex], fds::fcntl).only_i386().when(When::ArgumentIn(1, SIGNALLING)),
];

const XATTR_OF_FD: &[Arg] = &[Fd, Text, Bytes, Size, Hex];

pub(super) const DESCRIPTORS: &[Row] = &[
    Row::each(Stat, 5, "fstat", &[Fd, Pointer], fds::fstat).when(When::WithoutCookie),
    Row::each(Descriptor, 78, "getdents", &[Fd, Pointer, Size], fds::getdents),
    Row::each(Descriptor, 217, "getdents64", &[Fd, Pointer, Size], fds::getdents64).i386(220).when(When::WithoutCookie),
    Row::each(Descriptor, 16, "ioctl", &[Fd, Hex, Hex], ioctls::ioctl).i386(54).may_sleep(),
    Row::each(Descriptor, 74, "fsync", &[Fd], fds::fsync).i386(118),
    Row::each(Descriptor, 75, "fdatasync", &[Fd], fds::fsync).i386(148),
    Row::each(Descriptor, 138, "fstatfs", &[Fd, Pointer], fds::fstatfs),
    Row::each(Attribute, 91, "fchmod", &[Fd, Mode], fds::fchmod).i386(94),
    Row::each(Attribute, 93, "fchown", &[Fd, Id, Id], fds::fchown).i386(95),
    Row::each(Descriptor, 77, "ftruncate", &[Fd, Long], fds::ftruncate).i386(93),
    Row::each(Attribute, 190, "fsetxattr", XATTR_OF_FD, fds::fsetxattr).i386(228),
    Row::each(Descriptor, 193, "fgetxattr", &[Fd, Text, Pointer, Size], fds::fgetxattr).i386(231),
    Row::each(Descriptor, 196, "flistxattr", &[Fd, Pointer, Size], fds::flistxattr).i386(234),
    Row::each(Attribute, 199, "fremovexattr", &[Fd, Text], fds::fremovexattr).i386(237),
];
