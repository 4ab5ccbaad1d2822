"""Random things done to a tree by three processes, one after the other, and what comes of each: a line a step, and the tree at the end.

    in_turn.py make SEED                      makes the tree, in an empty directory
    in_turn.py run SEED STEPS OPTIONS NAME... runs the steps; each process has a name of that directory as the place where it begins

OPTIONS are letters, or `-`: `d` directories are not renamed, and links not counted; `r` nothing is read by a descriptor that was opened for reading only (both are
what a `cow` mount does differently, as overlayfs does).
"""
import ctypes, errno, fcntl, mmap, os, random, stat, subprocess, sys

NAMES = ["a", "b", "c", "dd", "e.txt"]
FLAGS = [os.O_RDONLY, os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_CREAT, os.O_RDWR | os.O_CREAT | os.O_EXCL, os.O_RDWR | os.O_CREAT | os.O_TRUNC,
         os.O_RDONLY | os.O_NOFOLLOW]
MODES = [0o644, 0o755, 0o600, 0o555, 0o700]
libc = ctypes.CDLL(None, use_errno=True)


def make(choose, directory=".", depth=0):
    for name in NAMES:
        path, kind = f"{directory}/{name}", choose.random()
        if kind < 0.3 and depth < 3:
            os.mkdir(path)
            make(choose, path, depth + 1)
        elif kind < 0.6:
            with open(path, "w") as file:
                file.write(name * choose.randrange(50))
            os.chmod(path, choose.choice(MODES[:2]))
        elif kind < 0.7:
            os.symlink(choose.choice(NAMES + ["a/b"] + ["../" + other for other in NAMES if depth]), path)


class Process:
    """One of those who take turns: its descriptors, and what it does."""

    def __init__(self, base, options):
        self.base, self.files, self.directories = base, {}, {}
        self.keeps_directories, self.reads_no_old = "d" in options, "r" in options

    def at(self, way, path):
        """A path, and the descriptor that it begins at: by its whole name, from the working directory, or from an open one."""
        fd = self.directories.get(way)
        if way == "cwd":
            return path, None
        return (path, fd) if fd is not None else (f"{self.base}/{path}", None)

    def is_directory(self, path, fd):
        try:
            return stat.S_ISDIR(os.stat(path, dir_fd=fd, follow_symlinks=False).st_mode)
        except OSError:
            return False

    def keep(self, table, slot, fd):
        if slot in table:
            os.close(table[slot])
        table[slot] = fd

    def open_file(self, slot):
        """An open file, if something can be said of it."""
        fd = self.files.get(slot)
        old = fd is not None and self.reads_no_old and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
        return None if fd is None or old or stat.S_ISDIR(os.fstat(fd).st_mode) else fd

    def stat(self, way, path, follow):
        path, fd = self.at(way, path)
        told = os.stat(path, dir_fd=fd, follow_symlinks=follow)
        if stat.S_ISDIR(told.st_mode):
            return oct(told.st_mode)
        return oct(told.st_mode), told.st_size, 0 if self.keeps_directories else told.st_nlink

    def access(self, way, path, mode):
        path, fd = self.at(way, path)
        return os.access(path, mode, dir_fd=fd)

    def open(self, way, path, flags, slot):
        path, fd = self.at(way, path)
        self.keep(self.files, slot, os.open(path, flags | os.O_NONBLOCK, 0o640, dir_fd=fd))

    def opendir(self, way, path, flags, slot):
        path, fd = self.at(way, path)
        self.keep(self.directories, slot, os.open(path, flags | os.O_DIRECTORY, dir_fd=fd))

    def read(self, fd):
        return os.pread(fd, 100, 0)

    def write(self, fd, text, where):
        return os.pwrite(fd, text, where)

    def map(self, fd):
        length = os.fstat(fd).st_size
        if length:
            with mmap.mmap(fd, length, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE) as mapped:
                return mapped[:50]

    def fstat(self, fd):
        told = os.fstat(fd)
        return oct(told.st_mode), told.st_size

    def fchmod(self, fd, mode):
        os.fchmod(fd, mode)

    def ftruncate(self, fd, length):
        os.ftruncate(fd, length)

    def listdir(self, way, path):
        return sorted(os.listdir(self.at(way, path)[0]))

    def list_open(self, slot):
        if slot in self.directories:
            return sorted(os.listdir(self.directories[slot]))

    def mkdir(self, way, path, mode):
        path, fd = self.at(way, path)
        os.mkdir(path, mode | 0o700, dir_fd=fd)

    def rmdir(self, way, path):
        path, fd = self.at(way, path)
        os.rmdir(path, dir_fd=fd)

    def unlink(self, way, path):
        path, fd = self.at(way, path)
        os.unlink(path, dir_fd=fd)

    def rename(self, way, path, other_way, other, flags):
        (path, fd), (other, other_fd) = self.at(way, path), self.at(other_way, other)
        if self.keeps_directories and (self.is_directory(path, fd) or self.is_directory(other, other_fd)):
            return "a directory"
        at = lambda fd: -100 if fd is None else fd
        if libc.renameat2(at(fd), path.encode(), at(other_fd), other.encode(), flags):
            raise OSError(ctypes.get_errno(), "")

    def link(self, way, path, other_way, other):
        (path, fd), (other, other_fd) = self.at(way, path), self.at(other_way, other)
        os.link(path, other, src_dir_fd=fd, dst_dir_fd=other_fd, follow_symlinks=False)

    def symlink(self, way, path, target):
        path, fd = self.at(way, path)
        os.symlink(target, path, dir_fd=fd)

    def readlink(self, way, path):
        path, fd = self.at(way, path)
        return os.readlink(path, dir_fd=fd)

    def mkfifo(self, way, path):
        path, fd = self.at(way, path)
        os.mkfifo(path, 0o644, dir_fd=fd)

    def chmod(self, way, path, mode):
        path, fd = self.at(way, path)
        # Directories can always be searched: what cannot is looked up from the root in unions.
        os.chmod(path, mode | 0o711 if stat.S_ISDIR(os.stat(path, dir_fd=fd).st_mode) else mode, dir_fd=fd)

    def utime(self, way, path, time):
        path, fd = self.at(way, path)
        os.utime(path, (time, time + 5), dir_fd=fd)
        return os.stat(path, dir_fd=fd).st_mtime

    def truncate(self, path, length):
        os.truncate(f"{self.base}/{path}", length)

    def setxattr(self, path, name, value, flags):
        os.setxattr(f"{self.base}/{path}", name, value, flags)

    def getxattr(self, path, name):
        return os.getxattr(f"{self.base}/{path}", name)

    def listxattr(self, path):
        return sorted(os.listxattr(f"{self.base}/{path}"))

    def statvfs(self, path):
        return os.statvfs(f"{self.base}/{path}").f_namemax

    def unnamed(self, way, path, other_way, other):
        (path, fd), (other, other_fd) = self.at(way, path), self.at(other_way, other)
        file = os.open(path, os.O_TMPFILE | os.O_RDWR, 0o644, dir_fd=fd)
        try:
            os.write(file, b"unnamed")
            os.link(f"/proc/self/fd/{file}", other, dst_dir_fd=other_fd, follow_symlinks=True)
        finally:
            os.close(file)

    def chdir(self, path):
        os.chdir(f"{self.base}/{path}")

    def fchdir(self, slot):
        if slot in self.directories:
            os.fchdir(self.directories[slot])

    def getcwd(self):
        return os.path.relpath(os.getcwd(), self.base)

    def run(self, program, path):
        path = f"{self.base}/{path}"
        if os.path.exists(path) and stat.S_ISFIFO(os.stat(path).st_mode):
            return "a FIFO"
        return subprocess.run(program + [path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, cwd="/").stdout

    def find(self):
        found = subprocess.run(["find", self.base, "-printf", "%P %y %m %l\\n"], stdout=subprocess.PIPE, cwd="/").stdout
        return sorted(found.split(b"\n"))

    def step(self, name, arguments):
        if name in OF_OPEN_FILES:
            fd = self.open_file(arguments[0])
            if fd is None:
                return "not open"
            arguments = (fd, *arguments[1:])
        try:
            return getattr(self, name)(*arguments)
        except OSError as error:
            return errno.errorcode[error.errno]


OF_OPEN_FILES = {"read", "write", "map", "fstat", "fchmod", "ftruncate"}


def chosen(choose):
    """A step: the name of a method and its arguments."""

    def path():
        parts = [choose.choice(NAMES) for _ in range(choose.choice([1, 1, 2, 2, 3]))]
        odd = choose.random()
        if odd < 0.08:
            parts.insert(choose.randrange(1, len(parts) + 1), "..")
        elif odd < 0.13:
            parts.append("")
        elif odd < 0.16:
            parts.insert(choose.randrange(len(parts) + 1), ".")
        return "/".join(parts)

    def way():
        return choose.choice(["whole", "whole", "whole", "cwd", 0, 1, 2])

    def slot():
        return choose.randrange(3)

    def name():
        return choose.choice(["user.a", "user.b"])

    weights = {
        "stat": 20, "access": 6, "open": 12, "opendir": 8, "read": 6, "write": 6, "map": 2, "fstat": 3, "fchmod": 2, "ftruncate": 2, "listdir": 10,
        "list_open": 5, "mkdir": 6, "rmdir": 5, "unlink": 6, "rename": 11, "link": 3, "symlink": 3, "readlink": 4, "mkfifo": 1, "chmod": 4, "utime": 2,
        "truncate": 2, "setxattr": 3, "getxattr": 4, "listxattr": 3, "statvfs": 1, "unnamed": 2, "chdir": 5, "fchdir": 2, "getcwd": 4, "run": 2, "find": 1,
    }
    step = choose.choices(list(weights), list(weights.values()))[0]
    arguments = {
        "stat": lambda: (way(), path(), choose.random() < 0.6),
        "access": lambda: (way(), path(), choose.choice([os.F_OK, os.R_OK, os.W_OK, os.X_OK])),
        "open": lambda: (way(), path(), choose.choice(FLAGS), slot()),
        "opendir": lambda: (way(), choose.choice([path(), path(), "."]), choose.choice([0, 0, os.O_PATH, os.O_PATH, os.O_WRONLY | os.O_TRUNC]), slot()),
        "write": lambda: (slot(), b"xyz"[: choose.randrange(1, 4)], choose.randrange(5)),
        "fchmod": lambda: (slot(), choose.choice(MODES)),
        "ftruncate": lambda: (slot(), choose.randrange(9)),
        "mkdir": lambda: (way(), path(), choose.choice(MODES)),
        "rename": lambda: (way(), path(), way(), path(), choose.choice([0, 0, 0, 1, 2])),
        "symlink": lambda: (way(), path(), choose.choice(NAMES + ["../a", "b/c"])),
        "chmod": lambda: (way(), path(), choose.choice(MODES)),
        "utime": lambda: (way(), path(), choose.randrange(10**9)),
        "truncate": lambda: (path(), choose.randrange(9)),
        "setxattr": lambda: (path(), name(), b"v" * choose.randrange(9), choose.choice([0, 1, 2])),
        "getxattr": lambda: (path(), name()),
        "run": lambda: (choose.choice([["cat"], ["sh"], []]), path()),
        "getcwd": tuple,
        "find": tuple,
    }
    if step in ("read", "map", "fstat", "list_open", "fchdir"):
        return step, (slot(),)
    if step in ("link", "unnamed"):
        return step, (way(), path(), way(), path())
    if step in ("listxattr", "statvfs", "chdir"):
        return step, (path(),)
    return step, arguments.get(step, lambda: (way(), path()))()


def take_turns(seed, steps, options, names):
    choose = random.Random(seed)
    plan = [(choose.randrange(len(names)), *chosen(choose)) for _ in range(steps)]
    pipes = [os.pipe() for _ in names]
    back = os.pipe()
    for number, base in enumerate(names):
        if os.fork() == 0:
            os.close(back[0])
            for _, write_end in pipes:
                os.close(write_end)
            os.umask(0o022)
            os.chdir(base)
            process = Process(base, options)
            while word := os.read(pipes[number][0], 8):
                _, name, arguments = plan[int(word)]
                os.write(back[1], repr(process.step(name, arguments)).encode() + b"\n")
            os._exit(0)
    os.close(back[1])
    with os.fdopen(back[0]) as answers:
        for index, (number, name, arguments) in enumerate(plan):
            os.write(pipes[number][1], b"%8d" % index)
            print(index, number, name, arguments, "->", answers.readline().rstrip("\n"))
    for _, write_end in pipes:
        os.close(write_end)
    for _ in names:
        os.wait()
    print(Process(names[0], options).find())


if sys.argv[1] == "make":
    make(random.Random(int(sys.argv[2])))
else:
    take_turns(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5:])
