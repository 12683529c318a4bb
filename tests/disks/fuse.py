"""The kernel's half of a file system in user space: mounts it, takes its requests, packs our replies. No files here.

Spoken directly (`linux/fuse.h`, protocol 7.31, any kernel since 5.4), without libfuse: the kernel's own interface is
stable, needs no package on the machine, and lets us say exactly what the kernel may cache: nothing. So whatever a
process does on the mount comes here, in its order. Needs root and /dev/fuse.
"""

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import NamedTuple, Protocol

WRITE_BYTES_MAX = 1 << 20
"""In one request; the kernel splits what is longer."""
_ROOM = WRITE_BYTES_MAX + 65536
_PAGES = WRITE_BYTES_MAX // 4096
_HEAD = struct.Struct("<IIQQIIII")
_REPLY = struct.Struct("<IiQ")
_INIT_FLAGS = 1 << 5 | 1 << 22
"""Writes larger than a page, and that we say how large."""
_DIRECT = 1
"""The kernel keeps no page of an open file."""
_SIZE_VALID, _MODE_VALID = 1 << 3, 1 << 0
_NOSUID_NODEV, _DETACH = 6, 2
_libc = ctypes.CDLL(None, use_errno=True)


class Op(IntEnum):
    """What the kernel asks for, as far as we do it; everything else is ENOSYS, and then not asked again."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    FALLOCATE = 43
    RENAME2 = 45


class Request(NamedTuple):
    """One thing that the kernel asks for."""

    op: int
    unique: int
    node: int
    body: bytes


class Attributes(NamedTuple):
    """What `stat` says."""

    node: int
    mode: int
    """With the type."""
    size: int


class Files(Protocol):
    """The file system behind it. What raises `OSError` gets it as its reply. A node is a number, the root is 1."""

    def lookup(self, node: int, name: str) -> Attributes:
        """A name in a directory."""

    def attributes(self, node: int) -> Attributes:
        """Of a node."""

    def change(self, node: int, size: int | None, mode: int | None) -> Attributes:
        """Truncate, chmod."""

    def make(self, node: int, name: str, mode: int, target: str = "") -> Attributes:
        """A new file, directory or symbolic link in a directory; the mode says which."""

    def target(self, node: int) -> str:
        """Where a symbolic link leads."""

    def remove(self, node: int, name: str) -> None:
        """Take a name out of a directory."""

    def rename(self, node: int, name: str, to_node: int, to_name: str) -> None:
        """Move a name, over what has the new one already."""

    def read(self, node: int, offset: int, size: int) -> bytes:
        """Of a file."""

    def write(self, node: int, offset: int, data: bytes) -> int:
        """Into a file: how much of it found room."""

    def allocate(self, node: int, size: int) -> None:
        """Make a file at least so large."""

    def sync(self, node: int) -> None:
        """Of a file or directory."""

    def names(self, node: int) -> Iterable[tuple[str, Attributes]]:
        """What is in a directory."""

    def space(self) -> tuple[int, int]:
        """All and free bytes."""


class Mount:
    """A mounted file system: a descriptor of /dev/fuse. `close` or the end of the process takes it from the kernel."""

    def __init__(self, at: str, source: str) -> None:
        """Mount. Raises OSError."""
        self.at = at
        self.fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self.fd},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},default_permissions"
        if _libc.mount(source.encode(), at.encode(), b"fuse.faulty", _NOSUID_NODEV, f"{options},allow_other".encode()):
            number = ctypes.get_errno()
            os.close(self.fd)
            raise OSError(number, os.strerror(number), at)

    def receive(self) -> Request | None:
        """The next request, waiting for it; None when the one that was there is no more. Raises OSError: unmounted."""
        try:
            data = os.read(self.fd, _ROOM)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                return None
            raise
        _, op, unique, node, *_ = _HEAD.unpack_from(data)
        return Request(op, unique, node, data[_HEAD.size :])

    def reply(self, unique: int, body: bytes | OSError) -> None:
        """Answer a request. One that is gone meanwhile is nobody's loss."""
        failed = isinstance(body, OSError)
        number = -(body.errno or errno.EIO) if isinstance(body, OSError) else 0
        data = b"" if isinstance(body, OSError) else body
        try:
            os.write(self.fd, _REPLY.pack(_REPLY.size + len(data), number, unique) + data)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV) and not failed:
                raise

    def close(self) -> None:
        """Fail whatever is under way in the kernel, and take the mount away, in use or not."""
        os.close(self.fd)
        _libc.umount2(self.at.encode(), _DETACH)


def replies(request: Request) -> bool:
    """Whether the kernel waits for a reply."""
    return request.op not in (Op.FORGET, Op.BATCH_FORGET, Op.INTERRUPT)


def serve(files: Files, request: Request) -> bytes:
    """Do what a request asks for, and return the body of the reply. Raises OSError, which is the reply then."""
    do = _SERVED.get(request.op)
    if do is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    return do(files, request)


# --- the requests


def _attr(found: Attributes) -> bytes:
    node, mode, size = found
    blocks, links = -(-size // 512), 2 if stat.S_ISDIR(mode) else 1
    owner, group = os.getuid(), os.getgid()
    return struct.pack("<6Q10I", node, size, blocks, 0, 0, 0, 0, 0, 0, mode, links, owner, group, 0, 4096, 0)


def _entry(found: Attributes) -> bytes:
    return struct.pack("<4Q2I", found.node, 0, 0, 0, 0, 0) + _attr(found)


def _opened(node: int) -> bytes:
    return struct.pack("<QII", node, _DIRECT, 0)


def _name(body: bytes) -> str:
    return os.fsdecode(body.partition(b"\0")[0])


def _two_names(body: bytes) -> tuple[str, str]:
    first, second, *_ = body.split(b"\0")
    return os.fsdecode(first), os.fsdecode(second)


def _init(files: Files, request: Request) -> bytes:
    return struct.pack("<4I2H2I2HI7I", 7, 31, 0, _INIT_FLAGS, 16, 12, WRITE_BYTES_MAX, 1, _PAGES, 0, *[0] * 8)


def _setattr(files: Files, request: Request) -> bytes:
    fields = struct.unpack_from("<2I6Q7I", request.body)
    valid, size, mode = fields[0], fields[3], fields[11]
    found = files.change(request.node, size if valid & _SIZE_VALID else None, mode if valid & _MODE_VALID else None)
    return struct.pack("<Q2I", 0, 0, 0) + _attr(found)


def _create(files: Files, request: Request) -> bytes:
    _, mode, _, _ = struct.unpack_from("<4I", request.body)
    found = files.make(request.node, _name(request.body[16:]), stat.S_IFREG | stat.S_IMODE(mode))
    return _entry(found) + _opened(found.node)


def _mkdir(files: Files, request: Request) -> bytes:
    mode, _ = struct.unpack_from("<2I", request.body)
    return _entry(files.make(request.node, _name(request.body[8:]), stat.S_IFDIR | stat.S_IMODE(mode)))


def _symlink(files: Files, request: Request) -> bytes:
    name, target = _two_names(request.body)
    return _entry(files.make(request.node, name, stat.S_IFLNK | 0o777, target))


def _remove(files: Files, request: Request) -> bytes:
    files.remove(request.node, _name(request.body))
    return b""


def _rename(files: Files, request: Request) -> bytes:
    head = 8 if request.op == Op.RENAME else 16
    to, flags = struct.unpack_from("<QI", request.body + bytes(4))
    if request.op == Op.RENAME2 and flags:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    name, to_name = _two_names(request.body[head:])
    files.rename(request.node, name, to, to_name)
    return b""


def _read(files: Files, request: Request) -> bytes:
    _, offset, size = struct.unpack_from("<QQI", request.body)
    return files.read(request.node, offset, size)


def _write(files: Files, request: Request) -> bytes:
    _, offset, size = struct.unpack_from("<QQI", request.body)
    return struct.pack("<2I", files.write(request.node, offset, request.body[40 : 40 + size]), 0)


def _allocate(files: Files, request: Request) -> bytes:
    _, offset, length, mode = struct.unpack_from("<3QI", request.body)
    if mode:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    files.allocate(request.node, offset + length)
    return b""


def _sync(files: Files, request: Request) -> bytes:
    files.sync(request.node)
    return b""


def _readdir(files: Files, request: Request) -> bytes:
    _, offset, room = struct.unpack_from("<QQI", request.body)
    data = b""
    for number, (name, found) in enumerate(files.names(request.node), 1):
        if number <= offset:
            continue
        text = os.fsencode(name)
        entry = struct.pack("<2Q2I", found.node, number, len(text), found.mode >> 12) + text
        entry = entry.ljust(-(-len(entry) // 8) * 8, b"\0")
        if len(data) + len(entry) > room:
            break
        data += entry
    return data


def _statfs(files: Files, request: Request) -> bytes:
    whole, free = (size // 4096 for size in files.space())
    return struct.pack("<5Q4I6I", whole, free, free, 1 << 20, 1 << 20, 4096, 255, 4096, 0, *[0] * 6)


_SERVED: dict[int, Callable[[Files, Request], bytes]] = {
    Op.INIT: _init,
    Op.LOOKUP: lambda files, request: _entry(files.lookup(request.node, _name(request.body))),
    Op.GETATTR: lambda files, request: struct.pack("<Q2I", 0, 0, 0) + _attr(files.attributes(request.node)),
    Op.SETATTR: _setattr,
    Op.READLINK: lambda files, request: os.fsencode(files.target(request.node)),
    Op.SYMLINK: _symlink,
    Op.MKDIR: _mkdir,
    Op.CREATE: _create,
    Op.UNLINK: _remove,
    Op.RMDIR: _remove,
    Op.RENAME: _rename,
    Op.RENAME2: _rename,
    Op.OPEN: lambda files, request: _opened(request.node),
    Op.OPENDIR: lambda files, request: _opened(request.node),
    Op.RELEASE: lambda files, request: b"",
    Op.RELEASEDIR: lambda files, request: b"",
    Op.READ: _read,
    Op.WRITE: _write,
    Op.STATFS: _statfs,
    Op.FSYNC: _sync,
    Op.FSYNCDIR: _sync,
    Op.READDIR: _readdir,
    Op.FALLOCATE: _allocate,
    Op.DESTROY: lambda files, request: b"",
    Op.FORGET: lambda files, request: b"",
    Op.BATCH_FORGET: lambda files, request: b"",
    Op.INTERRUPT: lambda files, request: b"",
}
