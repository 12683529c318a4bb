"""A disk in memory that does what disks do at their worst, from one seed; and a task in place of the disk thread.

What is written is in the page cache (`content`); `sync` makes it durable. `kill` leaves the page cache, `crash` (power
lost) keeps of each sector written since the last sync the old or the new one, by chance, and of the directory, too.
`tests/journal/test_disk.py` runs the same tests on this and on the real disk.
"""

import errno
import math
import os
import random
import threading
from collections.abc import Callable, Sequence

import trio

from gateway.disk import SECTOR_BYTES, Directory, File
from gateway.errors import Refusal
from gateway.journal.committer import Committer
from gateway.journal.thread import Aside, Failed, Job, Result, perform


def error(number: int) -> OSError:
    """The system's error of this number."""
    return OSError(number, os.strerror(number))


class Blob:
    """What a file holds, now and after a power cut."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.durable = bytearray()
        self.dirty: set[int] = set()
        """Sectors written since the last sync."""

    def write(self, offset: int, data: bytes) -> None:
        """Put this there; zeros fill what lies between it and the end."""
        self.content += bytes(max(0, offset + len(data) - len(self.content)))
        self.content[offset : offset + len(data)] = data
        self.dirty.update(range(offset // SECTOR_BYTES, (offset + len(data) - 1) // SECTOR_BYTES + 1))

    def resize(self, size: int) -> None:
        """Cut it, or go on with zeros. What is cut off is gone only after a sync, even when it has grown again."""
        self.dirty.update(range(size // SECTOR_BYTES, -(-len(self.content) // SECTOR_BYTES)))
        del self.content[size:]
        self.content += bytes(size - len(self.content))

    def sync(self) -> None:
        """All that is there survives a power cut from now on."""
        self.durable += bytes(max(0, len(self.content) - len(self.durable)))
        del self.durable[len(self.content) :]
        for sector in self.dirty:
            at = sector * SECTOR_BYTES
            self.durable[at : at + SECTOR_BYTES] = self.content[at : at + SECTOR_BYTES]
        self.dirty.clear()

    def sync_failed(self) -> None:
        """As on Linux: what was to be written counts as clean from now on. It is read, and no sync writes it."""
        self.dirty.clear()

    def settle(self, chance: random.Random | None) -> None:
        """Power is lost: keep of each dirty sector the old or the new one; without `chance` all of the old ones."""
        size = len(self.content) if chance is not None and chance.random() < 0.5 else len(self.durable)
        kept = bytearray(self.durable[:size].ljust(size, b"\0"))
        for sector in sorted(self.dirty):
            at = sector * SECTOR_BYTES
            if chance is not None and chance.random() < 0.5 and at < size:
                kept[at : at + SECTOR_BYTES] = self.content[at : min(at + SECTOR_BYTES, size)]
        self.content, self.durable = kept, bytearray(kept)
        self.dirty.clear()

    def flip(self, at: int, bit: int) -> None:
        """A bit is another one, in the cache and on the disk; once more, and it is as it was."""
        self.durable[at] ^= bit
        if at < len(self.content):
            self.content[at] ^= bit


class FakeFile:
    """An open file."""

    def __init__(self, disk: "FakeDisk", blob: Blob, *, write: bool) -> None:
        self._disk = disk
        self._blob = blob
        self._write = write
        self._closed = False
        self._process = disk.process
        disk.files_open += 1

    def read(self, offset: int, size: int) -> bytes:
        assert not self._closed
        self._disk.check("read")
        return bytes(self._blob.content[offset : offset + size])

    def write(self, offset: int, pieces: Sequence[bytes]) -> None:
        assert not self._closed
        if not self._write:
            raise error(errno.EBADF)
        self._disk.check("write")
        data = b"".join(pieces)
        self._grow(offset + len(data))
        self._blob.write(offset, data)

    def sync(self) -> None:
        assert not self._closed
        self._disk.syncs += 1
        try:
            self._disk.check("sync")
        except OSError:
            self._blob.sync_failed()
            raise
        self._disk.may_sync.wait()
        self._blob.sync()
        self._disk.synced()

    def allocate(self, size: int) -> None:
        assert not self._closed
        self._disk.check("allocate")
        self._grow(size)

    def truncate(self) -> None:
        assert not self._closed
        self._blob.resize(0)

    def size(self) -> int:
        return len(self._blob.content)

    def close(self) -> None:
        if not self._closed and self._process == self._disk.process:
            self._disk.files_open -= 1
        self._closed = True

    def _grow(self, size: int) -> None:
        more = size - len(self._blob.content)
        if more > 0:
            if self._disk.used_bytes() + more > self._disk.capacity_bytes:
                raise error(errno.ENOSPC)
            self._blob.resize(size)


class FakeDirectory:
    """The files of one directory."""

    def __init__(self, disk: "FakeDisk", path: str) -> None:
        self.path = path
        self.files: dict[str, Blob] = {}
        self.durable: dict[str, Blob] = {}
        """The entries as the last sync left them."""
        self._disk = disk

    def names(self) -> list[str]:
        return sorted(self.files)

    def open(self, name: str, *, create: bool = False, write: bool = False) -> FakeFile:
        if create:
            if name in self.files:
                raise error(errno.EEXIST)
            self._may_open()
            self._disk.check("create")
            self.files[name] = Blob()
        elif name not in self.files:
            raise error(errno.ENOENT)
        else:
            self._may_open()
        return FakeFile(self._disk, self.files[name], write=write or create)

    def _may_open(self) -> None:
        if self._disk.files_open >= self._disk.files_max:
            raise error(errno.EMFILE)

    def replace(self, name: str, content: bytes) -> None:
        self.files.pop(name + ".new", None)
        file = self.open(name + ".new", create=True)
        file.write(0, (content,))
        file.sync()
        file.close()
        self.files[name] = self.files.pop(name + ".new")
        self.sync()

    def remove(self, name: str) -> None:
        if name not in self.files:
            raise error(errno.ENOENT)
        del self.files[name]

    def sync(self) -> None:
        self._disk.check("sync")
        self.durable = dict(self.files)
        self._disk.synced()

    def free_bytes(self) -> int:
        return max(0, self._disk.capacity_bytes - self._disk.used_bytes())

    def lock(self) -> None:
        holder = self._disk.locks.setdefault(self.path, self._disk.process)
        if holder != self._disk.process:
            raise Refusal(f"{self.path} is in use by another process, pid {holder}")


class FakeDisk:
    """A disk in memory. `faults[what]` is raised by the next `what`: read, write, sync, create or allocate."""

    def __init__(self, seed: int = 0, capacity_bytes: int = 1 << 40) -> None:
        self.directories: dict[str, FakeDirectory] = {}
        self.capacity_bytes = capacity_bytes
        self.faults: dict[str, BaseException] = {}
        self.syncs = 0
        self.may_sync = threading.Event()
        """Clear it and the next sync hangs its thread until it is set. A simulation uses `latency_s` instead."""
        self.may_sync.set()
        self.latency_s: Callable[[], float] = lambda: 0.0
        """How long the next batch takes, on trio's clock; `math.inf` hangs."""
        self.files_open = 0
        """By the process that uses it now."""
        self.files_max: float = math.inf
        """Open files at most: beyond, there is no descriptor. The directory, once locked, needs none."""
        self.process = 1
        """The pid of whoever uses the disk now; `kill` and `crash` make the next one."""
        self.locks: dict[str, int] = {}
        self.synced: Callable[[], None] = lambda: None
        """Called whenever more, or something else, may be durable than before."""
        self.flipped: list[tuple[Blob, int, int]] = []
        """Bits that are wrong (file, offset, bit), for whoever puts them right."""
        self.reseed(seed)

    def directory(self, path: str, *, create: bool = False) -> FakeDirectory:
        if path not in self.directories:
            if not create:
                raise error(errno.ENOENT)
            self.directories[path] = FakeDirectory(self, path)
        return self.directories[path]

    def check(self, what: str) -> None:
        """Raise the fault that was ordered, once."""
        if what in self.faults:
            raise self.faults.pop(what)

    def used_bytes(self) -> int:
        """In all files."""
        return sum(len(blob.content) for at in self.directories.values() for blob in at.files.values())

    def forget_dirty(self) -> None:
        """What a failed sync leaves behind on Linux: the page cache counts as clean, and the disk does not have it."""
        for at in self.directories.values():
            for blob in at.files.values():
                blob.dirty.clear()

    def kill(self) -> None:
        """The process ends; the page cache stays."""
        self.locks.clear()
        self.process += 1
        self.files_open = 0

    def reseed(self, seed: int) -> None:
        """Have what follows replay from this seed."""
        self._random = random.Random(seed)  # noqa: S311  a seed that replays

    def crash(self, *, keep_nothing: bool = False) -> None:
        """Power is lost. What was synced stays; the rest by chance, or nothing of it."""
        chance = None if keep_nothing else self._random
        for at in self.directories.values():
            kept = dict(at.durable)
            for name in sorted({*at.files, *at.durable}):
                now = at.files.get(name)
                if chance is not None and now is not at.durable.get(name) and chance.random() < 0.5:
                    if now is None:
                        kept.pop(name, None)
                    else:
                        kept[name] = now
            for blob in [*kept.values()]:
                blob.settle(chance)
            at.files, at.durable = kept, dict(kept)
        self.kill()
        self.synced()


class SimulatedThread:
    """The driver of a simulation: a task on trio's clock. It waits as long as the disk says, then does the work."""

    def __init__(self, nursery: trio.Nursery, disk: FakeDisk) -> None:
        self._nursery = nursery
        self._disk = disk
        self._send, self._receive = trio.open_memory_channel[Job | None](1_000_000)
        self._aside, self._set_aside = trio.open_memory_channel[Aside](1_000_000)

    async def reads(self, read: Callable[[int, int], bytes], offset: int, size: int) -> bytes:
        await trio.lowlevel.checkpoint()
        return read(offset, size)

    def start(self, committer: Committer, report: Callable[[Result], None]) -> None:
        self._nursery.start_soon(self._run, committer, report, name="disk")
        self._nursery.start_soon(self._run_aside, report, name="disk aside")

    def submit(self, job: Job) -> None:
        self._send.send_nowait(job)

    def aside(self, job: Aside) -> None:
        self._aside.send_nowait(job)

    def stop(self) -> None:
        self._send.send_nowait(None)
        self._aside.close()

    async def _run_aside(self, report: Callable[[Result], None]) -> None:
        async for job in self._set_aside:
            await trio.sleep(self._disk.latency_s())
            try:
                job()
            except Exception as fault:  # noqa: BLE001  the boundary of the thread that this stands for
                report(Failed(fault))
                return

    async def _run(self, committer: Committer, report: Callable[[Result], None]) -> None:
        while True:
            while committer.wants(idle=self._receive.statistics().current_buffer_used == 0):
                try:
                    committer.prepare()
                except OSError as fault:
                    report(Failed(fault))
                    return
                await trio.lowlevel.checkpoint()
            jobs: list[Job] = []
            job = await self._receive.receive()
            while job is not None:
                jobs.append(job)
                try:
                    job = self._receive.receive_nowait()
                except trio.WouldBlock:
                    break
            await trio.sleep(self._disk.latency_s())
            try:
                for result in perform(committer, jobs):
                    report(result)
            except Exception as fault:  # noqa: BLE001  the boundary of the thread that this stands for
                report(Failed(fault))
                return
            if job is None:
                return


def held_to(disk: FakeDisk, directory: FakeDirectory, file: FakeFile) -> tuple[Directory, File]:
    """For mypy: the fakes have the shape of the real ones."""
    return disk.directory(directory.path), file
