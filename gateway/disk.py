"""A disk as this gateway needs it, and the real one. It knows files and when they are durable, and no formats.

`Directory` is a Protocol so that a fake can lose what was not synced, tear writes, hang and fill up; the fake and the
real one pass the same tests. Every method blocks: the journal calls them in its own thread, or before payments flow.
Every method raises `OSError`; its meaning is for the caller to decide.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import NamedTuple, Protocol

from gateway.errors import Refusal

PIECES_MAX = 1000
"""Buffers in one write; Linux takes 1,024 (IOV_MAX)."""
SECTOR_BYTES = 512
"""The unit that a disk writes whole or not at all. Disks with larger sectors keep this promise, too."""


class File(Protocol):
    """One open file."""

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the end of the file."""

    def write(self, offset: int, pieces: Sequence[bytes]) -> None:
        """Write the pieces one after another, whole. Durable only after `sync`."""

    def sync(self) -> None:
        """Return when everything written is durable (fdatasync). After a failure, nothing is known about what is
        durable.
        """

    def allocate(self, size: int) -> None:
        """Reserve blocks and set the size. Bytes that were never written read as zeros."""

    def truncate(self) -> None:
        """Make it empty, and give its blocks back."""

    def size(self) -> int:
        """Bytes in the file."""

    def close(self) -> None:
        """Let go of it."""


class Directory(Protocol):
    """The files of one directory, by name."""

    path: str

    def names(self) -> list[str]:
        """Names of all files, sorted."""

    def open(self, name: str, *, create: bool = False, write: bool = False) -> File:
        """Open a file; with `create` it must not exist yet and can be read by its owner only."""

    def replace(self, name: str, content: bytes) -> None:
        """Give a file this content, all of it or none, durably."""

    def remove(self, name: str) -> None:
        """Remove a file. Durable after `sync`."""

    def sync(self) -> None:
        """Make creations and removals durable."""

    def free_bytes(self) -> int:
        """Free on the file system, for us."""

    def lock(self) -> None:
        """Take the directory for this process, until it ends. Raises `Refusal` with the holder's pid."""


class Disk(Protocol):
    """Where directories are."""

    def directory(self, path: str, *, create: bool = False) -> Directory:
        """A directory; with `create` it is made when missing, for its owner only."""


class Room(NamedTuple):
    """The free space of a file system, as far as we may use it."""

    bytes: int
    files: float
    """Inodes; inf where they are made as it goes."""


def room(at: Path | int) -> Room:
    """Of the file system of a path, or of an open file."""
    status = os.statvfs(at)
    return Room(status.f_bavail * status.f_frsize, status.f_favail if status.f_files else inf)


def _in(doing: str, error: OSError, at: Path | int) -> OSError:
    """The same error with words about what was being done to which file, so that its reader knows where to look. The
    system has one error for two shortages, of bytes and of inodes: so the text says what is free, too.
    """
    number = error.errno or errno.EIO
    said = f"{os.strerror(number)} in {doing}"
    if number == errno.ENOSPC:
        with contextlib.suppress(OSError):
            free = room(at)
            inodes = f" and {free.files:.0f} inodes" if free.files < inf else ""
            said += f": {free.bytes} bytes{inodes} are free"
    return OSError(number, said)


def _refuse_other(at: Path) -> None:
    """Raise when something other than a directory is there."""
    if at.exists():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(at))


class RealFile:
    """A file descriptor."""

    __slots__ = ("_fd", "_name")

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self._name = name

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the end of the file."""
        try:
            data = os.pread(self._fd, size, offset)
            while len(data) < size and (more := os.pread(self._fd, size - len(data), offset + len(data))):
                data += more
        except OSError as error:
            raise _in(f"a read of {self._name}", error, self._fd) from error
        return data

    def write(self, offset: int, pieces: Sequence[bytes]) -> None:
        """Write the pieces one after another, whole."""
        if len(pieces) > PIECES_MAX:
            pieces = (b"".join(pieces),)
        try:
            written = os.pwritev(self._fd, pieces, offset)
            total = sum(map(len, pieces))
            if written == total:
                return
            # rare: a signal, or a disk that is just filling up, which the next call then says
            rest = memoryview(b"".join(pieces))
            while written < total:
                written += os.pwrite(self._fd, rest[written:], offset + written)
        except OSError as error:
            raise _in(f"a write to {self._name}", error, self._fd) from error

    def sync(self) -> None:
        """Fdatasync: the data, and what is needed to read it."""
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            raise _in(f"a sync of {self._name}", error, self._fd) from error

    def allocate(self, size: int) -> None:
        """Reserve blocks and set the size."""
        try:
            os.posix_fallocate(self._fd, 0, size)
        except OSError as error:
            raise _in(f"an allocation for {self._name}", error, self._fd) from error

    def truncate(self) -> None:
        """Make it empty, and give its blocks back."""
        os.ftruncate(self._fd, 0)

    def size(self) -> int:
        """Bytes in the file."""
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)


class RealDirectory:
    """A directory of this machine."""

    def __init__(self, path: str, locks: dict[str, "_Held"]) -> None:
        self.path = path
        self._at = Path(path)
        self._locks = locks
        self._held: _Held | None = None

    def names(self) -> list[str]:
        """Names of all files, sorted."""
        return sorted(os.listdir(self._at))  # noqa: PTH208  names are wanted, not paths

    def open(self, name: str, *, create: bool = False, write: bool = False) -> RealFile:
        """Open a file. Descriptors are not inherited by worker processes (PEP 446)."""
        flags = (os.O_RDWR if write or create else os.O_RDONLY) | (os.O_CREAT | os.O_EXCL if create else 0)
        try:
            return RealFile(os.open(self._at / name, flags | os.O_NOFOLLOW, 0o600), name)
        except OSError as error:
            raise _in(f"{'creating' if create else 'opening'} {name}", error, self._at) from error

    def replace(self, name: str, content: bytes) -> None:
        """Write beside, sync, rename over, sync the directory."""
        beside = name + ".new"
        with contextlib.suppress(FileNotFoundError):
            self.remove(beside)
        file = self.open(beside, create=True)
        try:
            file.write(0, (content,))
            file.sync()
        finally:
            file.close()
        try:
            os.rename(self._at / beside, self._at / name)  # noqa: PTH104  symmetric with the other calls here
        except OSError as error:
            raise _in(f"renaming {beside}", error, self._at) from error
        self.sync()

    def remove(self, name: str) -> None:
        """Remove a file."""
        try:
            (self._at / name).unlink()
        except OSError as error:
            raise _in(f"removing {name}", error, self._at) from error

    def sync(self) -> None:
        """Make creations and removals durable. A locked directory needs no new descriptor for that."""
        fd = self._held.directory if self._held is not None else self._open_directory()
        try:
            os.fsync(fd)
        except OSError as error:
            raise _in("a sync of the directory", error, self._at) from error
        finally:
            if self._held is None:
                os.close(fd)

    def _open_directory(self) -> int:
        return os.open(self._at, os.O_RDONLY | os.O_DIRECTORY)

    def free_bytes(self) -> int:
        """Free on the file system, for us."""
        return room(self._at).bytes

    def lock(self) -> None:
        """Flock the file `lock`, which holds its owner's pid. The kernel lets go when the process ends."""
        key = str(self._at.resolve())
        self._held = self._locks.get(key)
        if self._held is not None:
            return
        try:
            fd = os.open(self._at / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise _in("opening lock", error, self._at) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise Refusal(f"{self.path} is in use by another process, pid {holder}") from error
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, b"%d\n" % os.getpid(), 0)
            self._held = self._locks[key] = _Held(fd, self._open_directory())
        except OSError as error:
            os.close(fd)
            raise _in("taking lock", error, self._at) from error


class _Held(NamedTuple):
    """Descriptors of a directory that this process has locked."""

    lock: int
    directory: int


class RealDisk:
    """The disk of this machine. It keeps the locks it took until the process ends (tests: `release`)."""

    def __init__(self) -> None:
        self._locks: dict[str, _Held] = {}

    def directory(self, path: str, *, create: bool = False) -> RealDirectory:
        """A directory; with `create` it is made when missing, for its owner only, and durably, with all above it."""
        at = Path(path)
        if create:
            self._make(at)
        if not at.is_dir():
            _refuse_other(at)
            raise FileNotFoundError(2, "No such directory", path)
        return RealDirectory(path, self._locks)

    def _make(self, at: Path) -> None:
        """Make it, and what is missing above it, each synced into what it lies in.

        One that is there is synced, too: a process that was killed may just have made it, and a power cut would take
        it with all that is below.
        """
        if not at.is_dir():
            _refuse_other(at)
            if not at.parent.is_dir():
                self._make(at.parent)
            try:
                at.mkdir(mode=0o700)
            except OSError as error:
                raise _in(f"making {at.name}", error, at.parent) from error
        with contextlib.suppress(PermissionError):  # not ours to read, so we cannot have made anything in it
            RealDirectory(str(at.parent), self._locks).sync()

    def release(self) -> None:
        """Let go of every lock, as the end of the process does."""
        for held in self._locks.values():
            for fd in held:
                os.close(fd)
        self._locks.clear()
