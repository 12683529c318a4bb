"""`POST /notices/again`: an operator has a parked notice told once more, now that its receiver has been mended.

One notice for each request, told once under the id that it always had. The receiver's 2xx ends its being parked, and
nothing else does: nobody here can say in the receiver's name that it knows.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from gateway.errors import Refusal, Unavailable
from gateway.strict_json import Reader

TellAgain = Callable[[int], Awaitable[None]]
"""`Forwarder.tell_again`."""


class Order(Struct, frozen=True, forbid_unknown_fields=True):
    """Which notice."""

    position: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    """Of the record that it tells, as `journal show --parked`, the log and `/statistics` have it."""
    to: Annotated[str, Meta(min_length=1, max_length=80)] = "processor"
    """Who refused it: `follower` in the log, `to` in the journal. A process of ours is `peer-NAME`."""


_read = Reader(Order)


class AgainControl:
    """The control of the ops server."""

    def __init__(self, tellers: Mapping[str, TellAgain]) -> None:
        """`tellers`: by the name of who is told."""
        self._tellers = tellers

    async def __call__(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """200: acknowledged. 400: no order. 404: nobody of this name is told anything. 409: it is not parked, was
        refused again, or must wait for another notice. 503: nobody answered. Cancelled, it is as if nobody had.
        """
        try:
            order = _read(body)
        except msgspec.DecodeError as error:  # a validation error is one, too
            return 400, {"error": str(error)}
        tell_again = self._tellers.get(order.to)
        if tell_again is None:
            return 404, {"error": "nobody of this name is told anything", "known": sorted(self._tellers)}
        try:
            await tell_again(order.position)
        except Refusal as refusal:
            return 409, {"error": str(refusal)}
        except Unavailable as away:
            return 503, {"error": str(away)}
        return 200, {"told": order.position, "to": order.to}
