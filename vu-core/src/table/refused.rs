//! The calls that fail in a view: they would lead out of it unseen, and programs do without them.

use super::{
    Row,
    Tier::{Base, Path as PathTier},
};
use vu_api::Errno;

const URING: &str = "requests in the ring would open files past the view; programs fall back to ordinary calls";
const MOUNT_API: &str = "mount(8) and others fall back to mount(2), which the view answers";
const FANOTIFY: &str = "its events tell of the host's files, past the view; EPERM is what Linux says without CAP_SYS_ADMIN, and programs fall back to inotify";

/// Those of `Base` fail from the start: a ring outlives the moment of the first mount, and that first mount itself must come by mount(2).
pub(super) const ROWS: &[Row] = &[
    Row::refused(Base, 425, "io_uring_setup", Errno::ENOSYS, URING).i386(425),
    Row::refused(Base, 426, "io_uring_enter", Errno::ENOSYS, URING).i386(426),
    Row::refused(Base, 427, "io_uring_register", Errno::ENOSYS, URING).i386(427),
    Row::refused(Base, 428, "open_tree", Errno::ENOSYS, MOUNT_API).i386(428),
    Row::refused(Base, 429, "move_mount", Errno::ENOSYS, MOUNT_API).i386(429),
    Row::refused(Base, 430, "fsopen", Errno::ENOSYS, MOUNT_API).i386(430),
    Row::refused(Base, 431, "fsconfig", Errno::ENOSYS, MOUNT_API).i386(431),
    Row::refused(Base, 432, "fsmount", Errno::ENOSYS, MOUNT_API).i386(432),
    Row::refused(Base, 433, "fspick", Errno::ENOSYS, MOUNT_API).i386(433),
    Row::refused(Base, 442, "mount_setattr", Errno::ENOSYS, MOUNT_API).i386(442),
    Row::refused(Base, 467, "open_tree_attr", Errno::ENOSYS, MOUNT_API).i386(467),
    Row::refused(PathTier, 300, "fanotify_init", Errno::EPERM, FANOTIFY).i386(338),
    Row::refused(PathTier, 301, "fanotify_mark", Errno::EPERM, FANOTIFY).i386(339),
    Row::refused(
        PathTier,
        155,
        "pivot_root",
        Errno::EPERM,
        "it would exchange the host's tree below the view; EPERM is what Linux says without CAP_SYS_ADMIN",
    )
    .i386(217),
];
