"""Random things done to files by random users, and what comes of each: a line a step, and the tree at the end.

Run as root in an empty directory: by the kernel's root, or by one of a view whose mount keeps owners. Both must print the same.
    permissions.py SEED STEPS
"""
import errno, os, random, stat, sys

seed, steps = int(sys.argv[1]), int(sys.argv[2])
choose = random.Random(seed)
NAMES = ["a", "b", "a/x", "a/y", "a/d", "a/d/z", "b/x", "b/d", "b/d/z"]
# uid, gid, further groups; the last keeps some of root's capabilities away.
USERS = [(0, 0, []), (0, 0, []), (1, 1, []), (2, 2, [1]), (3, 3, [2, 9])]
MODES = [0o777, 0o755, 0o700, 0o750, 0o711, 0o070, 0o007, 0o000, 0o1777, 0o2775, 0o644, 0o600, 0o640, 0o444, 0o4755, 0o6755, 0o200, 0o555]
IDS = [-1, 0, 1, 2, 9]
FLAGS = [os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_CREAT, os.O_RDWR | os.O_CREAT | os.O_EXCL, os.O_WRONLY | os.O_TRUNC,
         os.O_RDONLY | os.O_CREAT, os.O_PATH, os.O_RDONLY | os.O_DIRECTORY]


def opened(name, flags, mode):
    fd = os.open(name, flags | os.O_NONBLOCK, mode)
    told = os.fstat(fd)
    os.close(fd)
    return oct(told.st_mode)


def by_descriptor(name, what):
    fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
    try:
        what(fd)
    finally:
        os.close(fd)


def entered(name):
    os.chdir(name)
    return sorted(os.listdir(".")) if os.access(".", os.R_OK) else "?"


def step():
    """What is done, as text and as a function."""
    name, other, mode = choose.choice(NAMES), choose.choice(NAMES), choose.choice(MODES)
    uid, gid, flags = choose.choice(IDS), choose.choice(IDS), choose.choice(FLAGS)
    things = [
        (3, f"open {name} {flags:o} {mode:o}", lambda: opened(name, flags, mode)),
        (2, f"mkdir {name} {mode:o}", lambda: os.mkdir(name, mode)),
        (1, f"mknod {name} {mode:o}", lambda: os.mknod(name, stat.S_IFIFO | mode)),
        (1, f"device {name} {mode:o}", lambda: os.mknod(name, stat.S_IFCHR | mode, os.makedev(1, 3))),
        (1, f"symlink {other} {name}", lambda: os.symlink(os.path.basename(other), name)),
        (2, f"chmod {name} {mode:o}", lambda: os.chmod(name, mode)),
        (1, f"fchmod {name} {mode:o}", lambda: by_descriptor(name, lambda fd: os.fchmod(fd, mode))),
        (2, f"chown {name} {uid} {gid}", lambda: os.chown(name, uid, gid, follow_symlinks=False)),
        (1, f"fchown {name} {uid} {gid}", lambda: by_descriptor(name, lambda fd: os.fchown(fd, uid, gid))),
        (1, f"unlink {name}", lambda: os.unlink(name)),
        (1, f"rmdir {name}", lambda: os.rmdir(name)),
        (2, f"rename {name} {other}", lambda: os.rename(name, other)),
        (1, f"link {name} {other}", lambda: os.link(name, other, follow_symlinks=False)),
        (1, f"utime {name}", lambda: os.utime(name, (5, 5), follow_symlinks=False)),
        (1, f"touch {name}", lambda: os.utime(name, follow_symlinks=False)),
        (1, f"truncate {name}", lambda: os.truncate(name, 3)),
        (1, f"access {name}", lambda: [os.access(name, how) for how in range(8)]),
        (1, f"effective {name}", lambda: [os.access(name, how, effective_ids=True) for how in range(8)]),
        (1, f"stat {name}", lambda: oct(os.stat(name).st_mode)),
        (1, f"list {name}", lambda: sorted(os.listdir(name))),
        (1, f"chdir {name}", lambda: entered(name)),
        (1, f"setxattr {name}", lambda: os.setxattr(name, "user.a", b"b")),
        (1, f"getxattr {name}", lambda: os.getxattr(name, "user.a")),
        (1, f"trusted {name}", lambda: os.setxattr(name, "trusted.a", b"b")),
        (1, f"execute {name}", lambda: os.execv(name, [name])),
        (1, f"chroot {name}", lambda: os.chroot(name)),
    ]
    return choose.choices(things, [weight for weight, *_ in things])[0][1:]


os.umask(0o022)
os.mkdir("a")
os.mkdir("b")
os.chmod("a", 0o777)
for number in range(steps):
    uid, gid, groups = choose.choice(USERS)
    text, what = step()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        try:
            said = what()
        except OSError as error:
            said = errno.errorcode[error.errno]
        print(f"{number} {uid}: {text}: {said}", flush=True)
        os._exit(0)
    os.waitpid(child, 0)
for directory, names, files in sorted(os.walk(".")):
    for name in sorted(names + files):
        path = os.path.join(directory, name)
        told = os.lstat(path)
        # How many directories are in one, not every file system tells.
        links = 0 if stat.S_ISDIR(told.st_mode) else told.st_nlink
        print(path, oct(told.st_mode), told.st_uid, told.st_gid, links, told.st_rdev, int(told.st_mtime) == 5, sorted(os.listxattr(path, follow_symlinks=False)))
