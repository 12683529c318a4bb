"""Everything that a gateway process takes from its machine: disk, sockets, tokens, clocks, chance, signals, and the
supervisor that is told how it is.

All of it comes in through here, so that a simulation can run the very same process in a world of its own. The log's
writer and the metrics' registry are not here: they only show, and decide nothing.
"""

import errno
import gc
import os
import pwd
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import NamedTuple

import trio

import gateway
from gateway import config
from gateway.acts.actors import Caller
from gateway.clock import Clock, system_clock
from gateway.disk import Disk, RealDisk
from gateway.hub.dial import Dial, Sockets
from gateway.journal.thread import DiskThread, Driver
from gateway.machine.descriptors import Kept, next_is_kept
from gateway.network.listening import Listen, listen_tcp
from gateway.network.names import MACHINE, Network
from gateway.notify import Supervisor, supervisor_of
from gateway.running.signals import HEARD
from gateway.signer import process
from gateway.volume.drbd import Drbd, RealDrbd

GC_THRESHOLDS = (50_000, 20, 50)
"""Thresholds of the garbage collector. A payment's objects are freed by reference counts alone; a full collection
over a memory of a million payments would hold up every payment in flight for a tenth of a second."""
SWITCH_INTERVAL_S = 0.0005
"""Time that the event loop may keep the interpreter from the journal's thread when that is back from the disk."""


class Outside(NamedTuple):
    """The world around one process. `machine` makes the real one."""

    disk: Disk
    driver: Callable[[], Driver]
    """Makes the driver of the journal's disk work."""
    clock: Clock
    luck: random.Random
    """Jitter, and the id of a new journal: nothing that must be secret."""
    open_worker: Callable[[config.Token], Awaitable[process.Worker]]
    dial_hub: Dial
    network: Network
    """Names, and connections to the processor, the peers and the sibling."""
    listen: Listen
    """For the ports of submissions and of operators."""
    drbd: Drbd
    """Answers questions about the volume under the journal."""
    signals: Callable[[], AbstractContextManager[AsyncIterator[int]]]
    """Those of `signals.HEARD`."""
    settle: Callable[[], None]
    """Called once, when the journal's past is in memory."""
    supervisor: Supervisor
    """Hears how the process is, and whether it is alive."""
    uid_of: Callable[[str], int | None]
    """The number of a user of this machine; None: there is none of this name."""
    kept: Kept = Kept()
    """Descriptors that are kept back from some parts for others."""
    released_ns: int = 0
    """When this version was released: no right wall clock shows an earlier time. 0: not known."""
    identify: Callable[[trio.abc.Stream], Caller] | None = None
    """Who comes to the ops server by a stream that is no socket."""

    def modest(self) -> Network:
        """The network of the parts that must leave descriptors to others."""
        return _modest(self.network, self.kept.questions) if self.kept.questions else self.network


def _modest(network: Network, kept: int) -> Network:
    async def connect(address: str, port: int) -> trio.abc.Stream:
        if next_is_kept(kept):
            raise OSError(errno.EMFILE, "Too many open files: the rest is kept for others")
        return await network.connect(address, port)

    return network._replace(connect=connect)


def machine(kept: Kept) -> Outside:
    """This machine. `kept`: see `allowance`."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    return Outside(
        RealDisk(),
        DiskThread,
        system_clock,
        random.Random(),  # noqa: S311 - jitter
        process.start,
        Sockets().dial,
        MACHINE,
        listen_tcp,
        RealDrbd(),
        lambda: trio.open_signal_receiver(*HEARD),
        _settle,
        supervisor_of(os.environ),
        _uid_of,
        kept,
        _released_ns(),
    )


def _uid_of(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def _released_ns() -> int:
    return round(datetime.fromisoformat(gateway.__released__).replace(tzinfo=UTC).timestamp()) * 10**9


def _settle() -> None:
    """Keep the journal's memory, which is no garbage, out of every later collection."""
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
