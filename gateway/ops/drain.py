"""`POST /drain`: end this process as SIGTERM does, and hear how far that is. For `fps-gateway drain`.

Whoever asks may wait for a while (`wait_s`) and ask again, as often as it takes: the first one begins the drain, all
others join it. All of them hear how it ended before the port is closed, also who is just about to ask again.
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
"""Who heard that it is not over asks again at once, or never will."""

_log = log.get("ops")


class Order(Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked for."""

    wait_s: Annotated[float, Meta(ge=0, le=WAIT_S_MAX)] = 0.0
    """How long to wait for the end of the drain before responding."""


_read = Reader(Order)


class Progress(Struct, frozen=True):
    """How far it is."""

    node: str
    joined: bool
    """It was draining already."""
    over: bool
    """Nothing is waited for any more: the process ends."""
    in_flight: int
    """Payments without an end; once it is over, those that were not finished."""
    longest_s: float
    """How long all of it may take, from its beginning to the end of the process."""


class DrainControl:
    """The control of the ops server."""

    def __init__(self, node: str, asked: trio.Event, in_flight: Callable[[], int], longest_s: float) -> None:
        """`asked` is set to begin the drain."""
        self._node = node
        self._asked = asked
        self._over = trio.Event()
        self._expected = 0
        """So many heard that it is not over, and have not come back."""
        self._came = trio.Event()
        self._in_flight = in_flight
        self._longest_s = longest_s

    async def __call__(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """200: it is over; 202: it is under way. Cancelled, it goes on."""
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
        """It is over: wait until all who waited with it have been here for that, or do not come back."""
        self._over.set()
        with trio.move_on_after(RETURN_WITHIN_S):
            while self._expected:
                self._came = trio.Event()
                await self._came.wait()
