"""Every disk that a suite can be run on: the fake, this machine's, and real mounts, one that fails on order.

A `Kit` is a disk with what can be done to it from outside. `kits(kind)` makes one; it skips what the machine has not.
"""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gateway.disk import Disk, RealDisk
from tests.disks import mounts
from tests.fakes.disk import FakeDisk, error

REAL = ("real", "ext4", "xfs", "fuse")
ALL = ("fake", *REAL)
FILLING = ("fake", "ext4", "xfs", "fuse")
"""Those that can be filled up."""
FAILING = ("fake", "fuse")
"""Those that fail on order, and lose what was not synced."""


class Kit:
    """A disk, a place on it that is not there yet, and what can be done to it."""

    def __init__(self, disk: Disk, below: str) -> None:
        self.disk = disk
        self._below = below
        self._numbers = itertools.count()
        self.path = below

    def anew(self) -> None:
        """The next test: another place, and nothing fails."""
        self.close()
        self.path = os.path.join(self._below, str(next(self._numbers)), "a", "b")  # noqa: PTH118  a name, for a fake, too

    def close(self) -> None:
        """Close whatever a test has left open: a mount that is in use stays."""
        if isinstance(self.disk, RealDisk):
            self.disk.release()
            for fd in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208  numbers are wanted, not paths
                with suppress(OSError):  # the listing's own is gone already
                    if os.readlink(f"/proc/self/fd/{fd}").startswith(self._below):  # noqa: PTH115  no path either
                        os.close(fd)

    def fill(self, leave_bytes: int) -> None:
        """Somebody else uses up what is free, but for so much."""
        raise NotImplementedError

    def empty(self) -> None:
        """And gives it back."""
        raise NotImplementedError

    def fail(self, kind: str, number: int) -> None:
        """The next operation of this kind (read, write, sync, create, allocate) fails so."""
        raise NotImplementedError

    def crash(self, seed: int | None) -> None:
        """Power is lost: of what was not synced something is kept by chance, without a seed nothing."""
        raise NotImplementedError


class FakeKit(Kit):
    """In memory."""

    def __init__(self) -> None:
        self.fake = FakeDisk()
        self.capacity_bytes = self.fake.capacity_bytes
        super().__init__(self.fake, "")

    def anew(self) -> None:
        """Another fake."""
        self.__init__()  # type: ignore[misc]

    def fill(self, leave_bytes: int) -> None:
        """It is as small as that."""
        self.fake.capacity_bytes = self.fake.used_bytes() + leave_bytes

    def empty(self) -> None:
        """It is as large as before."""
        self.fake.capacity_bytes = self.capacity_bytes

    def fail(self, kind: str, number: int) -> None:
        """Ordered."""
        self.fake.faults[kind] = error(number)

    def crash(self, seed: int | None) -> None:
        """Its own."""
        self.fake.reseed(seed or 0)
        self.fake.crash(keep_nothing=seed is None)


class MountKit(Kit):
    """On a mount of its own."""

    def __init__(self, mounted: mounts.Mounted) -> None:
        super().__init__(RealDisk(), str(mounted.path))
        self.mounted = mounted

    def anew(self) -> None:
        """Empty again."""
        super().anew()
        self.mounted.empty()

    def fill(self, leave_bytes: int) -> None:
        """With a file."""
        self.mounted.fill(leave_bytes)

    def empty(self) -> None:
        """The file goes."""
        self.mounted.empty()


class FaultyKit(MountKit):
    """On one that fails on order."""

    def __init__(self, mounted: mounts.Faulty) -> None:
        super().__init__(mounted)
        self.faulty = mounted

    def anew(self) -> None:
        """Healthy again."""
        self.faulty("heal")
        super().anew()

    def fail(self, kind: str, number: int) -> None:
        """Ordered."""
        self.faulty("fail", kind=kind, number=number, times=1)

    def crash(self, seed: int | None) -> None:
        """Its own. What was open is of no use any more."""
        self.close()
        self.faulty("boot", seed=seed)


@contextmanager
def kits(kind: str, scratch: Path) -> Iterator[Kit]:
    """One of `ALL`. Skips what the machine has not."""
    if kind == "fake":
        yield FakeKit()
    elif kind == "real":
        yield Kit(RealDisk(), str(scratch))
    elif kind == "fuse":
        with mounts.faulty() as faulty:
            kit = FaultyKit(faulty)
            yield kit
            kit.close()
    else:
        with mounts.loop(kind) as mounted:
            mount = MountKit(mounted)
            yield mount
            mount.close()
