"""Asks this machine about its DRBD volume: which device a directory lies on, and DRBD's status. Changes nothing.

The status program is a process of its own, with a deadline: it talks to the kernel, and a stuck kernel keeps it for
ever, beyond SIGKILL. Then it is left behind, and none is started beside it.
"""

import os
import subprocess
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import trio

from gateway.errors import Unavailable
from gateway.machine.aside import aside
from gateway.volume.status import Status, UnreadableError, major_of, of_json, of_proc

PROC = Path("/proc/drbd")
DRBDSETUP = "/usr/sbin/drbdsetup"
KILL_WITHIN_S = 0.5
"""How long a process that was killed may take to go, before it counts as stuck in the kernel."""
LOOK_S = 0.01
"""Between two looks whether it is gone, once its output has ended or it was killed."""
REPORT_BYTES_MAX = 1 << 20
"""Ten thousand times a status of three servers."""


class Drbd(Protocol):
    """A machine, as the watch uses it. `tests/fakes/volume.py` has another one."""

    def device_below(self, directory: str) -> int:
        """The device number below a directory, or below the nearest one above it that is there. Raises `OSError`."""

    def number_of(self, device: str) -> int:
        """The number of a device by its path. Raises `OSError`."""

    async def status(self, resource: str, minor: int) -> Status:
        """DRBD's status now. Raises `Unavailable`, which says why. May be cancelled at any time."""


class Mounts:
    """Which device a directory lies on: no privilege is needed to see it."""

    def device_below(self, directory: str) -> int:
        """The device number below a directory, or below the nearest one above it that is there."""
        at = Path(directory).absolute()
        while not at.exists() and at != at.parent:
            at = at.parent
        return at.stat().st_dev


class _Begun(NamedTuple):
    """A status program that runs."""

    process: subprocess.Popen[bytes]
    output: int
    """The descriptor of its output; nothing else owns it yet."""


class RealDrbd(Mounts):
    """DRBD of this machine."""

    def __init__(self, proc: Path = PROC, program: str = DRBDSETUP) -> None:
        self._proc = proc
        self._program = program
        self._stuck: subprocess.Popen[bytes] | None = None
        self._begun: _Begun | None = None
        """Started, and not ended yet."""
        self._reading = trio.CapacityLimiter(1)

    def number_of(self, device: str) -> int:
        """The number of a device by its path."""
        return os.stat(device).st_rdev  # noqa: PTH116 - a device's number, not a path's

    async def status(self, resource: str, minor: int) -> Status:
        """DRBD's status now."""
        try:
            # in a thread that may be left behind, one at most: a stuck kernel must not hold up payments
            proc = await aside(self._read, self._reading)
            if major_of(proc) < 9:
                return of_proc(proc, minor)
            return of_json(await self._ask(resource), resource, minor)
        except FileNotFoundError as error:
            raise Unavailable(f"{error.filename} is not there") from error
        except OSError as error:
            raise Unavailable(f"DRBD cannot be asked: {error.strerror}") from error
        except UnreadableError as error:
            raise Unavailable(str(error)) from error

    def _read(self) -> str:
        return self._proc.read_text(encoding="ascii", errors="replace")

    async def _ask(self, resource: str) -> bytes:
        if self._begun is not None:  # left over from a cancelled question
            await self._end(self._begun.process, trio.lowlevel.FdStream(self._begun.output))
        if self._stuck is not None and self._stuck.poll() is None:
            raise Unavailable(f"pid {self._stuck.pid}, asked before, is stuck in the kernel")
        self._stuck = None
        # aside, too: the file system of the program may hang
        await aside(partial(self._begin, resource), self._reading)
        assert self._begun is not None
        process, said = self._begun.process, trio.lowlevel.FdStream(self._begun.output)
        try:
            report = b""
            while part := await said.receive_some(65536):
                report += part
                if len(report) > REPORT_BYTES_MAX:
                    raise Unavailable("the status has no end")
            code = await _ended(process)
        finally:
            await self._end(process, said)
        if code:
            raise Unavailable(f"drbdsetup status ended with {code}: is {resource} up here?")
        return report

    def _begin(self, resource: str) -> None:
        output, theirs = os.pipe()
        try:
            process = subprocess.Popen(  # noqa: S603 - our own program, and a name that config has checked
                [self._program, "status", "--json", resource],
                stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.DEVNULL, env={},
            )  # fmt: skip
        except BaseException:
            os.close(output)
            raise
        finally:
            os.close(theirs)
        self._begun = _Begun(process, output)

    async def _end(self, process: subprocess.Popen[bytes], said: trio.lowlevel.FdStream) -> None:
        self._begun = None
        if process.poll() is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await said.aclose()
            with trio.move_on_after(KILL_WITHIN_S):
                await _ended(process)
        if process.poll() is None:
            self._stuck = process


async def _ended(process: subprocess.Popen[bytes]) -> int:
    while (code := process.poll()) is None:  # noqa: ASYNC110 - a wait for it could last for ever
        await trio.sleep(LOOK_S)
    return code
