"""One data centre's gateway in a simulation: the very process of `gateway.daemon`, in a world of its own.

A life begins with `daemon.run` and ends as a process ends: by itself, by a signal (drained), killed (its memory is
gone, the page cache stays) or without power (what was not synced is gone, too). A process that is dead does nothing
more: whatever its finalisers still try meets a disk and a network that know it no longer.
"""

import errno
import random
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from typing import Any, Literal

import trio

from gateway import config, daemon
from gateway.__main__ import traceback_of
from gateway.clock import Now
from gateway.disk import Directory, File
from gateway.exitcodes import ExitCode, exit_code
from gateway.hub.dial import HubConnection
from gateway.journal.thread import Driver
from gateway.log import describe
from gateway.network.dialler import Dialler
from gateway.notify import Supervisor
from gateway.outside import Outside
from tests.fakes.disk import FakeDisk, SimulatedThread, error
from tests.fakes.network import nameless
from tests.fakes.token import FakeTokens
from tests.fakes.volume import FakeDrbd
from tests.simulation.network import Network

BASE_NS = 1_772_359_200_000_000_000
"""The time on the clocks when a simulation begins: 2026-03-01 10:00 UTC."""
DEAD = 5
"""EIO: the error that a dead process gets from its disk."""
WATCHDOG_S = 10.0
"""`WatchdogSec` of the unit file."""
NODE: ContextVar["Node"] = ContextVar("node")
"""The process that runs this task."""

Ending = Literal["", "killed", "power", "drain", "at-once"]


class Mount:
    """A process's view of its disk: gone when the process is."""

    def __init__(self, disk: FakeDisk, operating: Callable[[], None] = lambda: None) -> None:
        """`operating` is called before each operation."""
        self.alive = True
        self._disk = disk
        self._operating = operating

    def directory(self, path: str, *, create: bool = False) -> Directory:
        self.check()
        return _Directory(self, self._disk.directory(path, create=create))

    def check(self) -> None:
        if self.alive:
            self._operating()
        if not self.alive:
            raise error(DEAD)


class _Directory:
    def __init__(self, mount: Mount, real: Directory) -> None:
        self.path = real.path
        self._mount, self._real = mount, real

    def names(self) -> list[str]:
        self._mount.check()
        return self._real.names()

    def open(self, name: str, *, create: bool = False, write: bool = False) -> File:
        self._mount.check()
        return _File(self._mount, self._real.open(name, create=create, write=write))

    def replace(self, name: str, content: bytes) -> None:
        self._mount.check()
        self._real.replace(name, content)

    def remove(self, name: str) -> None:
        self._mount.check()
        self._real.remove(name)

    def sync(self) -> None:
        self._mount.check()
        self._real.sync()

    def free_bytes(self) -> int:
        self._mount.check()
        return self._real.free_bytes()

    def lock(self) -> None:
        self._mount.check()
        self._real.lock()


class _File:
    def __init__(self, mount: Mount, real: File) -> None:
        self._mount, self._real = mount, real

    def read(self, offset: int, size: int) -> bytes:
        self._mount.check()
        return self._real.read(offset, size)

    def write(self, offset: int, pieces: Sequence[bytes]) -> None:
        self._mount.check()
        self._real.write(offset, pieces)

    def sync(self) -> None:
        self._mount.check()
        self._real.sync()

    def allocate(self, size: int) -> None:
        self._mount.check()
        self._real.allocate(size)

    def truncate(self) -> None:
        self._mount.check()
        self._real.truncate()

    def size(self) -> int:
        self._mount.check()
        return self._real.size()

    def close(self) -> None:
        self._real.close()


class Overseer:
    """Stands for systemd in one life of the process: notes its notifications, and its silences."""

    def __init__(self) -> None:
        self.ready = False
        self.silent_s = 0.0
        """The longest silence after it was ready."""
        self.words: set[str] = set()
        """All status texts that it sent."""
        self._heard_s = inf

    def __call__(self, datagram: bytes) -> None:
        lines = dict(line.split("=", 1) for line in datagram.decode().splitlines())
        if "STATUS" in lines:
            self.words.add(lines["STATUS"])
        if "READY" in lines:
            self.ready, self._heard_s = True, trio.current_time()
        if "WATCHDOG" in lines:
            self.look()
            self._heard_s = trio.current_time()

    def look(self) -> None:
        """Judge its silence now."""
        self.silent_s = max(self.silent_s, trio.current_time() - self._heard_s)


class Watched(daemon.Gateway):
    """The gateway, known to the node that it runs for: the operator's hands."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        NODE.get().gateway = self


class Node:
    """A data centre: its disk, its volume, its tokens, its clock, and the process that runs there, if one does."""

    def __init__(
        self,
        name: str,
        network: Network,
        disk: FakeDisk,
        tokens: FakeTokens,
        ports: dict[str, int],
        luck: random.Random,
        say: Callable[[str], None],
    ) -> None:
        """`ports`: by hub site."""
        self.name = name
        self.disk = disk
        self.tokens = tokens
        self.drbd = FakeDrbd()
        self.luck = luck
        self.gateway: daemon.Gateway | None = None
        self.offset_ns = 0
        """The error of its wall clock."""
        self.up = False
        self.short = False
        """True while its process has no descriptor left."""
        self.fuse = 0
        """Disk operations until power is lost, in this life or the next; 0: it is not lost."""
        self.lives = 0
        self.ended: list[tuple[float, ExitCode | None, Ending, str]] = []
        """The end of each life: time, exit, cause, and, for a bug, the place."""
        self._network = network
        self._ports = ports
        self._say = say
        self._scope = trio.CancelScope()
        self._mount = Mount(disk)
        self._ending: Ending = ""
        self._signals, self._heard = trio.open_memory_channel[int](10)
        self._may_run = trio.Event()
        self._may_run.set()
        self.over = trio.Event()
        """Set when the present life has ended."""
        self.overseer = Overseer()
        """The supervisor of the present life, or of the last."""

    # --- what it takes from outside

    def clock(self) -> Now:
        now_s = trio.current_time()
        return Now(now_s, BASE_NS + int(now_s * 1e9) + self.offset_ns)

    def _may_dial(self) -> None:
        if self.short:
            raise error(errno.EMFILE)

    def _outside(self, nursery: trio.Nursery) -> Outside:
        place = self._network.place(self.name)

        async def dial(site: config.HubSite, _dialler: Dialler) -> HubConnection:
            self._may_dial()
            return HubConnection(await place.dial(self._ports[site.name]), site.host, lambda: 0.0)

        async def connect(_host: str, port: int) -> trio.abc.Stream:
            self._may_dial()
            return await place.dial(port)

        @contextmanager
        def signals() -> Iterator[AsyncIterator[int]]:
            yield self._heard

        def driver() -> Driver:
            return SimulatedThread(nursery, self.disk)

        luck = random.Random(self.luck.random())  # noqa: S311 - a seed that replays
        return Outside(
            self._mount, driver, self.clock, luck, self.tokens.open, dial, nameless(connect),
            place.listen, self.drbd, signals, lambda: None, Supervisor(self.overseer, WATCHDOG_S), lambda _user: None,
        )  # fmt: skip

    # --- its lives

    async def live(self, configuration: config.Configuration) -> ExitCode | None:
        """Run one process until it ends. Return its exit code; None when it was killed."""
        NODE.set(self)
        self.lives += 1
        self._ending, self._mount, self.gateway = "", Mount(self.disk, self._operate), None
        self._signals, self._heard = trio.open_memory_channel[int](10)
        self.over = trio.Event()
        self.overseer = Overseer()
        code: ExitCode | None = None
        where = ""
        try:
            with trio.CancelScope() as self._scope:
                self.up = True
                async with trio.open_nursery() as nursery:
                    finished = await daemon.run(configuration, self._outside(nursery), reread=lambda: configuration)
                    nursery.cancel_scope.cancel()
                code = ExitCode.ENDED if finished else ExitCode.INTERRUPTED
        except Exception as fault:  # noqa: BLE001 - the boundary of the process, as in gateway.__main__
            if self._mount.alive:
                code = exit_code(fault)
                where = f"{describe(fault)} {traceback_of(fault) if code is ExitCode.BUG else ''}"
        if self._mount.alive:
            self._mount.alive = False
            self._network.place(self.name).exit()
            self.disk.kill()
        self.up = False
        self.gateway = None
        self.overseer.look()
        self.ended.append((trio.current_time(), code, self._ending, where))
        ended = f"ended with {code.name} {where}" if code is not None else f"is gone ({self._ending})"
        self._say(f"{self.name}: {ended}")
        self.over.set()
        return code

    def kill(self) -> None:
        """Kill it (`kill -9`), at this very step."""
        if self.up and self._mount.alive:
            self._ending = "killed"
            self._mount.alive = False
            self._network.place(self.name).exit()
            self.disk.kill()
            self._scope.cancel()

    def _operate(self) -> None:
        if self.fuse:
            self.fuse -= 1
            if not self.fuse:
                self._say(f"{self.name}: power lost in the middle of the disk's work")
                self.power_off()

    def power_off(self, *, keep_nothing: bool = False) -> None:
        """Cut the power: unsynced data is lost, or by chance not. Also while no process runs."""
        if self.up and self._mount.alive:
            self._ending = "power"
            self._mount.alive = False
            self._network.place(self.name).fail(half_open=self.luck.random() < 0.5)
            self._scope.cancel()
        self.disk.crash(keep_nothing=keep_nothing)

    def terminate(self) -> None:
        """SIGTERM: once drains, twice ends at once."""
        if self.up and self._mount.alive:
            self._ending = "at-once" if self._ending == "drain" else "drain"
            self._signals.send_nowait(signal.SIGTERM)

    @property
    def serving(self) -> bool:
        """Whether its process is up and reports that it is ready for payments."""
        return self.up and self.gateway is not None and self.gateway.health.ready()[0]


def hang_s(until_s: float) -> Callable[[], float]:
    """A latency of the disk that holds up every batch until this time."""
    return lambda: max(0.0, (until_s if until_s < inf else 1e9) - trio.current_time())
