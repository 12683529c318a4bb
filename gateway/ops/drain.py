"""`POST /drain`: end this process as SIGTERM does, and report progress. For `fps-gateway drain`.

A client may wait for a while (`wait_s`) and ask again, as often as it takes: the first one begins the drain, all others
join it. All of them hear the end before the port is closed, also a client that is about to ask again.
"""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import trio
from msgspec import Meta, Struct

from gateway import log
from gateway.strict_json import Reader

WAIT_S_MAX = 5.0
"""How long one request may wait: well within `server.CONTROL_S_MAX`."""
RETURN_WITHIN_S = 1.0
"""How long a client may take to ask again: it does so at once, or never."""

_log = log.get("ops")


class Order(Struct, frozen=True, forbid_unknown_fields=True):
    """The request."""

    wait_s: Annotated[float, Meta(ge=0, le=WAIT_S_MAX)] = 0.0
    """How long to wait for the end of the drain before responding."""


_read = Reader(Order)


class Progress(Struct, frozen=True):
    """The progress of a drain."""

    node: str
    joined: bool
    """It was draining already."""
    over: bool
    """The drain is over: the process ends."""
    in_flight: int
    """Payments without an end; once the drain is over, those that were not finished."""
    longest_s: float
    """How long the drain may take, from its beginning to the end of the process."""


class DrainControl:
    """The ops server's control for `/drain`."""

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

    async def __call__(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """200: the drain is over; 202: it is under way. Cancelled, the drain goes on."""
        try:
            order = _read(body)
        except msgspec.DecodeError as error:
            return 400, {"error": f'the body must be JSON, {{}} or {{"wait_s": seconds}}: {error}'}
        self._expected = max(0, self._expected - 1)
        self._came.set()
        joined = self._asked.is_set()
        if not joined:
            _log.info("asked to drain")
            self._asked.set()
        with trio.move_on_after(order.wait_s):
            await self._over.wait()
        over = self._over.is_set()
        self._expected += not over
        progress = Progress(self._node, joined, over, self._in_flight(), self._longest_s)
        return (200 if over else 202), msgspec.to_builtins(progress)

    async def ended(self) -> None:
        """The drain is over: wait until every client that waits has heard it, or does not come back."""
        self._over.set()
        with trio.move_on_after(RETURN_WITHIN_S):
            while self._expected:
                self._came = trio.Event()
                await self._came.wait()
