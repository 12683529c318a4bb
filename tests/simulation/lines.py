"""Two places and a line between them: what tests of the simulated network speak over."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from tests.simulation.network import Network
from tests.simulation.streams import Stream

Clock = trio.testing.MockClock
HOUR_S = 3600.0
PORT = 4711


class Lines:
    """Places a and b, a second apart, a listener at b, and an hour of patience."""

    def __init__(self) -> None:
        self.network = Network(random.Random(1))  # noqa: S311 - a simulation
        self.a, self.b = self.network.place("a"), self.network.place("b")
        self.route = self.network.route(self.a, self.b)
        self.route.latency_s = (1.0, 1.0)
        self.listener: Any = None

    async def open(self) -> None:
        """Listen at b."""
        self.listener = (await self.b.listen("", PORT, 1)).listeners[0]

    async def connected(self) -> tuple[Stream, Stream]:
        """The ends at a and b of a new connection."""
        ours = await self.a.dial(PORT)
        return ours, await self.listener.accept()


class Heard:
    """What a task hears at one end: pieces, the end, an error, each with its time."""

    def __init__(self, nursery: trio.Nursery, stream: Stream) -> None:
        self.data = b""
        self.end = ""
        self.at_s = 0.0
        self._stream = stream
        nursery.start_soon(self._listen)

    async def _listen(self) -> None:
        try:
            async for chunk in self._stream:
                self.data += chunk
                self.at_s = trio.current_time()
            self.end = "closed"
        except trio.BrokenResourceError as error:
            self.end = str(error.__cause__)
        self.at_s = trio.current_time()


async def hears_nothing(use: Callable[[], Awaitable[object]]) -> bool:
    """Whether it takes longer than an hour."""
    with trio.move_on_after(HOUR_S) as scope:
        await use()
    return scope.cancelled_caught


async def never(use: Callable[[], Awaitable[object]]) -> None:
    """It must not come to an end."""
    await use()
    pytest.fail("it came to an end")


async def error_of(use: Callable[[], Awaitable[object]]) -> str:
    """What breaks it."""
    with pytest.raises((trio.BrokenResourceError, OSError)) as raised:
        await use()
    return str(raised.value)


async def idle() -> None:
    """Let everybody do what can be done without time passing."""
    await trio.testing.wait_all_tasks_blocked()
