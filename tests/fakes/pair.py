"""For tests of the library: the doors of two sites over memory streams, each before an engine that does what a test
says, and connections that a test refuses or cuts.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing

from gateway.payments.work import Submission
from gateway.sdk import Gateways, Limits, Site
from tests.fakes.door import World, door, durable
from tests.fakes.network import nameless
from tests.fakes.processor import Processor, Script

Play = Callable[[Submission], None]


class Pair:
    """Two sites, and the library's end of them."""

    def __init__(self, nursery: trio.Nursery, doors: dict[str, World], ready: dict[str, Script]) -> None:
        self._nursery = nursery
        self.doors = doors
        self.ops = {f"{name}-ops": Processor(nursery, script) for name, script in ready.items()}
        self.away: set[str] = set()
        """Sites that refuse connections."""
        self.dials: list[str] = []
        self._streams: dict[str, list[trio.abc.Stream]] = {name: [] for name in doors}
        self.gateways: Gateways

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        """What the library dials with."""
        if host in self.ops:
            return await self.ops[host].connect(host, port)
        self.dials.append(host)
        await trio.lowlevel.checkpoint()
        if host in self.away:
            raise ConnectionRefusedError(111, "Connection refused")
        ours, theirs = trio.testing.memory_stream_pair()
        self._streams[host].append(theirs)
        self.doors[host].attend(theirs)
        return ours

    def cut(self, host: str) -> None:
        """Break every connection to this site, soon."""
        for stream in self._streams[host]:
            self._nursery.start_soon(trio.aclose_forcefully, stream)
        self._streams[host].clear()

    def tries(self, host: str) -> list[str]:
        """The keys that were submitted at this site."""
        return [submission.key for submission in self.doors[host].engine.submissions]


@asynccontextmanager
async def pair(
    a: Play = durable,
    b: Play = durable,
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    ready: dict[str, Script] | None = None,
    **changes: Any,
) -> AsyncIterator[Pair]:
    """Both doors, and the library before them. `ready`: by site, what plays its `/ready`."""
    async with door(a, **changes) as here, door(b, **changes) as there, trio.open_nursery() as nursery:
        doors = {"a": here, "b": there}
        it = Pair(nursery, doors, ready or {})
        sites = [
            Site(name, f"http://{name}:9300", f"http://{name}-ops/ready" if name in (ready or {}) else "")
            for name in doors
        ]
        it.gateways = Gateways(sites, limits, network=nameless(it.connect), luck=lambda: 1.0)
        await nursery.start(it.gateways.run)
        yield it
        nursery.cancel_scope.cancel()
