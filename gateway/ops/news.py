"""Controls of the ops port for the scheme's news.

`POST /news`: another process of ours hands on news. `POST /news/lift`: an operator takes back a restriction that news
has set, with a reason. Each is acknowledged when it is on our disk.

Every client of the ops port can claim that the service is suspended, or that it is not: a port that is open to the
other processes of the data centre must be open to them only (a proxy with client certificates in front of it).
"""

from collections.abc import Callable
from typing import Any

import msgspec
import trio

from gateway.scheme.news import HandedOn, Lift, Taken
from gateway.strict_json import Reader

HandIn = Callable[[HandedOn, Taken], None]
"""Takes the news, and a callback for when it is durable or refused. Never waits."""
Order = Callable[[Lift, Taken], None]
"""Takes an operator's order, likewise."""

_read = Reader(HandedOn)
_read_lift = Reader(Lift)


class NewsControl:
    """The ops server's control for `/news`."""

    def __init__(self, hand_in: HandIn) -> None:
        self._hand_in = hand_in

    async def __call__(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """200: the news is on disk and counts. 400, 422: it never will be. Cancelled, either may be: hand it in
        again.
        """
        try:
            handed_on = _read(body)
        except msgspec.DecodeError:
            return 400, {"error": "the body must be JSON: a source, and a message in base64"}
        refused = await done(lambda taken: self._hand_in(handed_on, taken))
        return (422, {"error": refused}) if refused else (200, {"taken": handed_on.source})


class LiftControl:
    """The ops server's control for `/news/lift`."""

    def __init__(self, order: Order) -> None:
        self._order = order

    async def __call__(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """200: it is on disk and counts. 400: it is no order. 409: nothing of this is held. Cancelled, it may count."""
        try:
            lift = _read_lift(body)
        except msgspec.DecodeError as error:  # a validation error is one, too
            return 400, {"error": str(error)}
        refused = await done(lambda done: self._order(lift, done))
        return (409, {"error": refused}) if refused else (200, {"lifted": lift.what, "institution": lift.institution})


async def done(begin: Callable[[Taken], None]) -> str:
    """Begin what ends in one call of a callback, and wait for that; returns why it was refused, or nothing."""
    over = trio.Event()
    refused = [""]

    def end(why: str) -> None:
        refused[0] = why
        over.set()

    begin(end)
    await over.wait()
    return refused[0]
