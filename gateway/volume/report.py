"""The host's report on a volume, for a gateway that cannot ask DRBD: a container has neither program nor device.

`fps-volume report GROUP` (compose/drbd/) writes the file every two seconds: a line with the time since the host was
started and the device's number, then `/proc/drbd`, then the output of `drbdsetup status --json` (DRBD 9). A report that
is no longer renewed is as good as none.
"""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import trio

from gateway.errors import Unavailable
from gateway.machine.aside import aside
from gateway.volume.drbd import Mounts
from gateway.volume.status import Status, UnreadableError, major_of, of_json, of_proc

OLD_S = 10.0
"""An older report counts as none. It is written every two seconds, by a program that DRBD may hold up for a moment."""
BYTES_MAX = 1 << 20
_HEAD = re.compile(rb"fps-volume ([0-9]{1,12}\.[0-9]{2}) ([0-9a-f]{1,4}):([0-9a-f]{1,6})\n")


def since_boot_s() -> float:
    """The same as the host's `/proc/uptime`, also in a container: a clock that cannot be set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Reported(Mounts):
    """A machine as its host describes it; see `drbd.Drbd`."""

    def __init__(self, path: str, uptime_s: Callable[[], float] = since_boot_s) -> None:
        self._path = Path(path)
        self._uptime_s = uptime_s
        self._reading = trio.CapacityLimiter(1)

    def number_of(self, device: str) -> int:  # noqa: ARG002 - the report says whose it is
        """The number of the device, by the report: the name is the host's. Raises `OSError`."""
        head = _HEAD.match(self._read())
        if head is None:
            raise OSError(None, "no report of fps-volume", str(self._path))
        return os.makedev(int(head[2], 16), int(head[3], 16))

    async def status(self, resource: str, minor: int) -> Status:
        """DRBD's status when the report was written."""
        try:
            # in a thread that may be left behind, one at most: the path may lead to a file system that hangs
            text = await aside(self._read, self._reading)
        except OSError as error:
            raise Unavailable(f"{self._path}: {error.strerror}: does fps-volume-report@ run on the host?") from error
        head = _HEAD.match(text)
        if head is None:
            raise Unavailable(f"{self._path} is no report of fps-volume")
        old_s = self._uptime_s() - float(head[1])
        if abs(old_s) > OLD_S:
            raise Unavailable(f"the report is {old_s:.0f} s old: does fps-volume-report@ run on the host?")
        proc, bracket, json = text[head.end() :].partition(b"\n[")
        try:
            if major_of(proc.decode("ascii", "replace")) < 9:
                return of_proc(proc.decode("ascii", "replace"), minor)
            return of_json(bracket[1:] + json, resource, minor)
        except UnreadableError as error:
            raise Unavailable(str(error)) from error

    def _read(self) -> bytes:
        with self._path.open("rb") as file:
            return file.read(BYTES_MAX)
