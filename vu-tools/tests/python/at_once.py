#!/usr/bin/python3
"""What holds of every file system, however many processes work in it at once.

at_once.py make          makes the tree in the current directory
at_once.py run ROUNDS    says of each property whether it holds; in a union, what was made before is B's

Each property is that of a protocol between programs: locks, mail boxes, files that are replaced.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import random
import sys
import time
import traceback

PROCESSES = 6
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
libc = ctypes.CDLL(None, use_errno=True)


def write(name, text):
    with open(name, "w") as file:
        file.write(text)


def read(name):
    with open(name) as file:
        return file.read()


def renameat2(name, other, flags):
    if libc.renameat2(-100, name.encode(), -100, other.encode(), flags):
        raise OSError(ctypes.get_errno(), "", name)


def make():
    for directory in "da", "db", "dc", "many", "tmp", "new", "cur", "deep":
        os.mkdir(directory)
    for number in range(10):
        write(f"log{number}", "begun\n")
        write(f"da/m{number}", f"m{number}")
    for number in range(100):
        write(f"many/{number}", "")
    for name in "x", "y":
        write(name, name)
    write("counter", "000000")
    write("replaced", "0 0\n" * 50)
    write("linked", "")
    write("mapped", "\0" * 65536)


def together(work):
    """Whether all processes did their part of the work without an error."""
    sys.stdout.flush()
    children = []
    for number in range(PROCESSES):
        child = os.fork()
        if child == 0:
            try:
                work(number)
                os._exit(0)
            except BaseException:
                traceback.print_exc(file=sys.stdout)
                sys.stdout.flush()
                os._exit(1)
        children.append(child)
    return [os.waitpid(child, 0)[1] for child in children] == [0] * PROCESSES


def appending(rounds):
    def work(number):
        for turn in range(rounds):
            fd = os.open(f"log{turn % 10}", os.O_WRONLY | os.O_APPEND)
            os.write(fd, b"%d %d\n" % (number, turn))
            os.close(fd)

    return together(work) and sum(len(read(f"log{number}").splitlines()) for number in range(10)) == 10 + PROCESSES * rounds


LOCKS = {
    "mkdir": (lambda own: os.mkdir("lock"), os.rmdir),
    "O_EXCL": (lambda own: os.close(os.open("lock", os.O_CREAT | os.O_EXCL | os.O_WRONLY)), os.unlink),
    "symlink": (lambda own: os.symlink("owner", "lock"), os.unlink),
    "link": (lambda own: os.link(own, "lock"), os.unlink),
    "RENAME_NOREPLACE": (lambda own: renameat2(own, "lock", RENAME_NOREPLACE), os.unlink),
}


def excluding(kind):
    """Who makes a name has it alone."""
    take, release = LOCKS[kind]

    def holds(rounds):
        write("counter", "0")

        def work(number):
            own = f"own{number}"
            for _ in range(rounds):
                write(own, "")
                while True:
                    try:
                        take(own)
                        break
                    except FileExistsError:
                        time.sleep(0.0003)
                write("counter", str(int(read("counter")) + 1))
                release("lock")

        return together(work) and read("counter") == str(PROCESSES * rounds)

    return holds


def locking(lock):
    def holds(rounds):
        with open("counter", "r+") as file:
            file.write("000000")

        def work(number):
            for _ in range(rounds):
                fd = os.open("counter", os.O_RDWR)
                lock(fd, fcntl.LOCK_EX)
                os.pwrite(fd, b"%06d" % (int(os.pread(fd, 6, 0)) + 1), 0)
                os.close(fd)

        return together(work) and int(read("counter")) == PROCESSES * rounds

    return holds


def replacing(rounds):
    """What is renamed onto is there all the time, and whole."""

    def work(number):
        for turn in range(rounds):
            if number < 2:
                write(f"part{number}", f"{number} {turn}\n" * 50)
                os.rename(f"part{number}", "replaced")
                continue
            text = read("replaced")
            assert text.count("\n") == 50 and len(set(text.splitlines())) == 1, text
            os.stat("replaced")
            assert "replaced" in os.listdir(), "not listed"

    return together(work)


def exchanging(rounds):
    def work(number):
        for _ in range(rounds):
            if number < 2:
                renameat2("x", "y", RENAME_EXCHANGE)
            else:
                assert read("x") in "xy" and read("y") in "xy"
                assert {"x", "y"} <= set(os.listdir()), "not listed"

    return together(work) and read("x") + read("y") in ("xy", "yx")


def delivering(rounds):
    """A mail box in the manner of qmail."""

    def work(number):
        for turn in range(rounds):
            if number % 2:
                name = f"{number}.{turn}"
                write("tmp/" + name, "mail")
                os.link("tmp/" + name, "new/" + name)
                os.unlink("tmp/" + name)
                continue
            for name in os.listdir("new"):
                try:
                    os.rename("new/" + name, "cur/" + name)
                except FileNotFoundError:
                    pass

    return together(work) and not os.listdir("tmp") and len(os.listdir("new") + os.listdir("cur")) == PROCESSES // 2 * rounds


def removing(rounds):
    """Each name is removed by one."""
    reader, writer = os.pipe()

    def work(number):
        names = sorted(os.listdir("many"))
        random.Random(number).shuffle(names)
        for name in names:
            try:
                os.unlink("many/" + name)
                os.write(writer, b".")
            except FileNotFoundError:
                pass

    worked = together(work)
    os.close(writer)
    return worked and len(os.read(reader, 1000)) == 100 and not os.listdir("many")


def mapping(rounds):
    def work(number):
        fd = os.open("mapped", os.O_RDWR)
        with mmap.mmap(fd, 65536) as shared:
            for page in range(16):
                shared[page * 4096 + number] = 65 + number
        os.close(fd)

    pages = lambda: [read("mapped")[page * 4096 :][:PROCESSES] for page in range(16)]
    return together(work) and pages() == ["ABCDEF"] * 16


def moving(rounds):
    def work(number):
        choose = random.Random(number)
        for _ in range(rounds):
            source, target = choose.sample(["da", "db", "dc"], 2)
            for name in os.listdir(source)[:1]:
                try:
                    os.rename(f"{source}/{name}", f"{target}/{name}")
                except FileNotFoundError:
                    pass

    held = lambda: sorted((name, read(f"{directory}/{name}")) for directory in ("da", "db", "dc") for name in os.listdir(directory))
    return together(work) and held() == [(f"m{number}", f"m{number}") for number in range(10)]


def coming_and_going(rounds):
    """Directories that are made and removed under others."""

    def tolerating(expected, call, *arguments):
        try:
            call(*arguments)
        except OSError as error:
            assert error.errno in expected, error

    def work(number):
        choose = random.Random(number)
        for _ in range(rounds):
            path = "deep/a/b/c/d"
            for end in range(6, len(path) + 1, 2):
                tolerating([errno.EEXIST, errno.ENOENT], os.mkdir, path[:end])
            path = path[: choose.choice([6, 8, 10, 12])]
            tolerating([errno.ENOENT, errno.ENOTEMPTY], os.rmdir, path)
            tolerating([errno.ENOENT], write, f"{path}/{number}", "")
            tolerating([errno.ENOENT], os.unlink, f"{path}/{number}")

    return together(work)


def linking(rounds):
    def work(number):
        for turn in range(rounds):
            name = f"name{number}"
            os.link("linked", name)
            os.chmod(name, 0o600 + turn % 7)
            os.unlink(name)

    return together(work) and os.stat("linked").st_nlink == 1


PROPERTIES = {
    "appends are all there": appending,
    **{f"{kind} excludes": excluding(kind) for kind in LOCKS},
    "flock excludes": locking(fcntl.flock),
    "F_SETLKW excludes": locking(fcntl.lockf),
    "what is replaced is there": replacing,
    "what is exchanged is there": exchanging,
    "mail is delivered once": delivering,
    "names are removed once": removing,
    "shared mappings are one": mapping,
    "what is moved is somewhere": moving,
    "directories come and go": coming_and_going,
    "links are counted": linking,
}

if sys.argv[1] == "make":
    make()
else:
    for name, holds in PROPERTIES.items():
        print(name + ":", "yes" if holds(int(sys.argv[2])) else "NO")
    print(sorted(os.listdir()))
