"""`POST /notices/again`: an operator has a parked notice told once more, now that its receiver has been mended.

One notice for each request, told once under its original id. Only the receiver's 2xx ends its being parked: nothing
here can acknowledge in the receiver's name.
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
    """The request: which notice, and to which receiver."""

    position: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    """The position of the record that it tells, as in `journal show --parked`, the log and `/statistics`."""
    to: Annotated[str, Meta(min_length=1, max_length=80)] = "processor"
    """The receiver that refused it: `follower` in the log, `to` in the journal. A process of ours is `peer-NAME`."""


_read = Reader(Order)


class AgainControl:
    """The ops server's control for `/notices/again`."""

    def __init__(self, tellers: Mapping[str, TellAgain]) -> None:
        """`tellers`: by the name of the receiver."""
        self._tellers = tellers

    async def __call__(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """200: acknowledged. 400: no order. 404: no receiver of this name. 409: the notice is not parked, was refused
        again, or must wait for another one. 503: no answer. Cancelled, it is as with no answer.
        """
        try:
            order = _read(body)
        except msgspec.DecodeError as error:  # a validation error is one, too
            return 400, {"error": str(error)}
        tell_again = self._tellers.get(order.to)
        if tell_again is None:
            return 404, {"error": "no receiver of this name", "known": sorted(self._tellers)}
        try:
            await tell_again(order.position)
        except Refusal as refusal:
            return 409, {"error": str(refusal)}
        except Unavailable as away:
            return 503, {"error": str(away)}
        return 200, {"told": order.position, "to": order.to}
