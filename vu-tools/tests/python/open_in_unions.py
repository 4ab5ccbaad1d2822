#!/usr/bin/python3
"""open_in_unions.py DIRECTORY: what descriptors that are open in an empty directory are called there, and lead to when what they are open on has been removed."""

import ctypes
import errno
import os
import socket
import sys

os.chdir(sys.argv[1])
top = os.getcwd()
libc = ctypes.CDLL(None)


def tell(what, call, *arguments, **keywords):
    try:
        print(what, call(*arguments, **keywords), flush=True)
    except OSError as error:
        print(what, errno.errorcode[error.errno], flush=True)


def name(path, flags=os.O_RDONLY, **where):
    fd = os.open(path, flags, **where)
    told = os.readlink(f"/proc/self/fd/{fd}")
    os.close(fd)
    return os.path.relpath(told, top)


def seen(fd):
    stat = os.fstat(fd)
    return oct(stat.st_mode), stat.st_nlink, stat.st_size


os.mkdir("d")
for file in "f", "d/inner":
    with open(file, "w") as made:
        made.write(file)
os.mkfifo("fifo")
os.symlink("f", "link")
held = os.open("d", os.O_RDONLY)
for path in "../f", "inner":
    tell("opened by d: " + path, name, path, dir_fd=held)
    tell("the same, by name: " + path, name, path, os.O_PATH, dir_fd=held)
tell("made by d", name, "made", os.O_RDWR | os.O_CREAT, dir_fd=held)
tell("fifo", name, "fifo", os.O_RDWR)
for path in "missing/", "f/", "d/":
    at = os.path.relpath(f"{top}/{path}", "/") + "/"
    os.chdir("/")
    tell("socket made " + path, socket.socket(socket.AF_UNIX).bind, at)
    tell("socket found " + path, socket.socket(socket.AF_UNIX).connect, at)
    os.chdir(top)
tell("fifo by name", name, "fifo", os.O_PATH)
one, other = socket.socketpair()
socket.send_fds(one, [b"x"], [held])
received = socket.recv_fds(other, 1, 1)[1][0]
tell("opened by what was received", name, "../f", dir_fd=received)
for file in "f", "link":
    fd = os.open(file, os.O_PATH | os.O_NOFOLLOW)
    if file == "link":
        tell("link of a link", libc.linkat, fd, b"", -100, b"second", 0x1000)
    os.unlink(file)
    tell("removed, by name: " + file, seen, fd)
for file in "inner", "made":
    os.unlink("d/" + file)
os.rmdir("d")
os.mkdir("d")
open("d/inner", "w").close()
for call in os.stat, os.chmod, os.unlink, os.mkdir, os.open:
    for path in "inner", "new":
        more = {os.chmod: [0o600], os.open: [os.O_CREAT | os.O_RDWR]}.get(call, [])
        tell(f"removed d: {call.__name__} {path}", call, path, *more, dir_fd=held)
tell("removed d: listed", os.listdir, held)
print(os.listdir("d"))
