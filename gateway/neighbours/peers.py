"""Our other processes in this data centre, told the scheme's news: for each a forwarder, and calls to reach it by.

The news comes over the `usm` group, and every process refuses payments and stands in by it. So the process that hears
it from the hub hands it on (`POST /news` of the other's ops server), in order and paced like notices, until the other
has it on disk. A process that was away gets all of it when it is back: the journal is kept until then.
"""

import random
from collections.abc import Callable
from typing import Any

import msgspec
import trio

from gateway import config
from gateway.clock import Clock, system_clock
from gateway.http.hosts import Hosts, Keys
from gateway.http.statuses import Told
from gateway.network.names import MACHINE, Network, by_socket
from gateway.processor.addressees import peer
from gateway.processor.calls import Calls
from gateway.processor.forwarder import Forwarder, Journal
from gateway.processor.notices import Record

PATH = b"/news"
"""Below the base URL of a process's ops server."""


class Peers:
    """All our peers. `remember` while the journal is opened, then `run`."""

    def __init__(
        self,
        node: config.Node,
        *,
        clock: Clock = system_clock,
        network: Network = MACHINE,
        luck: Callable[[], float] = random.random,
    ) -> None:
        """`network` and `luck` are what a simulation replaces. Raises `ConfigurationError`."""
        self._calls: dict[str, Calls] = {}
        self._forwarders: dict[str, Forwarder] = {}
        for name, url in node.peers.items():
            # told as patiently as the processor; news is told in one order, so one connection does
            path = url.removeprefix("unix:") if url.startswith("unix:") else ""
            base, tls = ("http://localhost", None) if path else (url, node.peer_tls)
            settings = msgspec.structs.replace(node.processor, url=base, tls=tls, tell_connections=1)
            keys = Keys(f"node.peers.{name}", "node.peer_tls", f"peer {name}")
            way = by_socket(path) if path else network
            calls = self._calls[name] = Calls(settings, Hosts(settings, way, luck, keys))
            self._forwarders[name] = Forwarder(
                settings, node.name, _Teller(calls), peer(node.name, name), clock=clock, luck=luck
            )

    def remember(self, record: Record) -> None:
        """Take a record that the journal found at its opening: each one, in order."""
        for forwarder in self._forwarders.values():
            forwarder.remember(record)

    async def run(self, journal: Journal, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tell them for ever. Cancelled, what is in flight will be told again. Raises `JournalFault`."""
        async with trio.open_nursery() as nursery:
            for name, forwarder in self._forwarders.items():
                await nursery.start(self._calls[name].run)
                await nursery.start(forwarder.run, journal)
            task_status.started()

    def forwarders(self) -> list[Forwarder]:
        """Who tells them, one for each."""
        return list(self._forwarders.values())

    def health(self) -> str:
        """Names the peers that take no news; empty: all do, or there is none. No reason to be unready."""
        return "; ".join(filter(None, (forwarder.health() for forwarder in self._forwarders.values())))

    def statistics(self) -> dict[str, Any]:
        """Each one's, by name."""
        return {name: forwarder.statistics() for name, forwarder in self._forwarders.items()}


class _Teller:
    """Tells one of them."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def tell(self, key: str, body: bytes) -> Told:
        """Once; see `forwarder.Teller`."""
        return await self._calls.tell(key, body, PATH)
