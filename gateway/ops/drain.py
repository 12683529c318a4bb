"""The drain as an act, and its progress (`GET /drain`), for `fps-gateway drain`.

A client may wait for a while (`/drain?wait_s=5`) and ask again, as often as it takes. All who wait hear the end before
the port is closed, also a client that is about to ask again.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import msgspec
import trio
from msgspec import Struct

from gateway.http.visitor import Request

WAIT_S_MAX = 5.0
"""How long one request may wait: well within `server.CONTROL_S_MAX`."""
RETURN_WITHIN_S = 1.0
"""How long a client may take to ask again: it does so at once, or never."""


class Progress(Struct, frozen=True, forbid_unknown_fields=True):
    """The progress of a drain."""

    node: str
    draining: bool
    over: bool
    """The drain is over: the process ends."""
    in_flight: int
    """Payments without an end; once the drain is over, those that were not finished."""
    longest_s: float
    """How long the drain may take, from its beginning to the end of the process."""


class Drain:
    """Begins a drain, and shows it."""

    def __init__(self, node: str, asked: trio.Event, in_flight: Callable[[], int], longest_s: float) -> None:
        """`asked` is set to begin the drain."""
        self._node = node
        self._asked = asked
        self._over = trio.Event()
        self._expected = 0
        """Clients that heard that it is not over, and have not asked again yet."""
        self._came = trio.Event()
        self._in_flight = in_flight
        self._longest_s = longest_s

    def begin(self) -> bool:
        """Begin it. Returns whether it had begun already. Whoever orders it is about to ask how it goes."""
        joined = self._asked.is_set()
        self._expected += not self._over.is_set()
        self._asked.set()
        return joined

    async def see(self, request: Request) -> tuple[int, dict[str, Any]]:
        """200: the drain is over; 202: it is under way, or none is."""
        self._expected = max(0, self._expected - 1)
        self._came.set()
        with trio.move_on_after(_wait_s(request)):
            await self._over.wait()
        over, draining = self._over.is_set(), self._asked.is_set()
        self._expected += draining and not over
        progress = Progress(self._node, draining, over, self._in_flight(), self._longest_s)
        return (200 if over else 202), msgspec.to_builtins(progress)

    async def ended(self) -> None:
        """The drain is over: wait until every client that waits has heard it, or does not come back."""
        self._over.set()
        with trio.move_on_after(RETURN_WITHIN_S):
            while self._expected:
                self._came = trio.Event()
                await self._came.wait()


def _wait_s(request: Request) -> float:
    """How long the client wants to wait, in seconds; what is no such number is none."""
    asked = parse_qs(request.target.partition(b"?")[2][:200].decode("latin-1")).get("wait_s", ["0"])[0]
    try:
        wait_s = float(asked)
    except ValueError:
        return 0.0
    return min(wait_s, WAIT_S_MAX) if wait_s > 0 else 0.0  # what is no number is greater than none
