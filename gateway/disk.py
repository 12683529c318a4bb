"""The disk as this gateway needs it: protocols, and the real implementation. Knows files and durability, no formats.

`Directory` is a Protocol so that a fake can lose unsynced data, tear writes, hang and fill up. The fake and the real
one pass the same tests. Every method blocks: the journal calls them in its own thread, or before payments flow. Every
method raises `OSError`, and the caller decides what it means.
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
"""Buffers in one write at most; Linux allows 1,024 (IOV_MAX)."""
SECTOR_BYTES = 512
"""The unit that a disk writes whole or not at all. A disk with larger sectors keeps this promise, too."""


class File(Protocol):
    """One open file."""

    def read(self, offset: int, size: int) -> bytes:
        """Read `size` bytes; fewer only at the end of the file."""

    def write(self, offset: int, pieces: Sequence[bytes]) -> None:
        """Write all pieces, one after another. They are durable only after `sync`."""

    def sync(self) -> None:
        """Return when all written data is durable (fdatasync). After a failure, it may be durable or not."""

    def allocate(self, size: int) -> None:
        """Reserve blocks and set the size. Bytes that were never written read as zeros."""

    def truncate(self) -> None:
        """Empty the file and free its blocks."""

    def size(self) -> int:
        """Bytes in the file."""

    def close(self) -> None:
        """Close the file."""


class Directory(Protocol):
    """The files of one directory, by name."""

    path: str

    def names(self) -> list[str]:
        """Names of all files, sorted."""

    def open(self, name: str, *, create: bool = False, write: bool = False) -> File:
        """Open a file. With `create`, it must not exist yet, and only its owner can read it."""

    def replace(self, name: str, content: bytes) -> None:
        """Give a file this content, all or none of it, durably."""

    def remove(self, name: str) -> None:
        """Remove a file. The removal is durable after `sync`."""

    def sync(self) -> None:
        """Make creations and removals durable."""

    def free_bytes(self) -> int:
        """Bytes on the file system that we may use."""

    def lock(self) -> None:
        """Lock the directory for this process, until it ends. Raises `Refusal` with the holder's pid."""


class Disk(Protocol):
    """Gives access to directories."""

    def directory(self, path: str, *, create: bool = False) -> Directory:
        """Open a directory. With `create`, make a missing one, for its owner only."""


class Room(NamedTuple):
    """The free space of a file system that we may use."""

    bytes: int
    files: float
    """Inodes; inf where the file system makes them on demand."""


def room(at: Path | int) -> Room:
    """The room on the file system of a path, or of an open file."""
    status = os.statvfs(at)
    return Room(status.f_bavail * status.f_frsize, status.f_favail if status.f_files else inf)


def _in(doing: str, error: OSError, at: Path | int) -> OSError:
    """The same error, with the action and the file in its text, so that the reader knows where to look.

    The system has one error for two shortages, of bytes and of inodes, so the text also says how much is free.
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
    """Raise if something other than a directory has this path."""
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
            # rare: a signal, or a disk that is just full, which the next call reports
            rest = memoryview(b"".join(pieces))
            while written < total:
                written += os.pwrite(self._fd, rest[written:], offset + written)
        except OSError as error:
            raise _in(f"a write to {self._name}", error, self._fd) from error

    def sync(self) -> None:
        """Fdatasync: sync the data and the metadata needed to read it."""
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
        """Write a file beside it, sync it, rename it over the old one, sync the directory."""
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
        """Make creations and removals durable. A locked directory needs no new descriptor for it."""
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
        """Flock the file `lock`, which holds its owner's pid. The kernel unlocks it when the process ends."""
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
    """The disk of this machine. Its locks last until the process ends (in tests: until `release`)."""

    def __init__(self) -> None:
        self._locks: dict[str, _Held] = {}

    def directory(self, path: str, *, create: bool = False) -> RealDirectory:
        """Open a directory. With `create`, make a missing one and its parents, for their owner only and durably."""
        at = Path(path)
        if create:
            self._make(at)
        if not at.is_dir():
            _refuse_other(at)
            raise FileNotFoundError(2, "No such directory", path)
        return RealDirectory(path, self._locks)

    def _make(self, at: Path) -> None:
        """Make it and its missing parents, and sync each one's entry in the directory above.

        The entry of an existing directory is synced, too: a process that was killed may just have made it, and a power
        cut would remove it with its content.
        """
        if not at.is_dir():
            _refuse_other(at)
            if not at.parent.is_dir():
                self._make(at.parent)
            try:
                at.mkdir(mode=0o700)
            except OSError as error:
                raise _in(f"making {at.name}", error, at.parent) from error
        with contextlib.suppress(PermissionError):  # we may not read it, so we cannot have made anything in it
            RealDirectory(str(at.parent), self._locks).sync()

    def release(self) -> None:
        """Release every lock, as the end of the process does."""
        for held in self._locks.values():
            for fd in held:
                os.close(fd)
        self._locks.clear()
