"""`POST /news`: another process of ours hands on what the scheme told it. Acknowledged when it is on our disk.

Whoever reaches the ops port can claim that the service is suspended, or that it is not: a port that is open to the
other processes of the data centre must be open to them only (a proxy with client certificates in front of it).
"""

from collections.abc import Callable
from typing import Any

import msgspec
import trio

from gateway.news import HandedOn, Taken
from gateway.strict_json import Reader

HandIn = Callable[[bytes, str, Taken], None]
"""Takes a raw message, the source's id for it, and whom to tell once it is durable or refused. Never waits."""

_read = Reader(HandedOn)


class NewsControl:
    """The control of the ops server."""

    def __init__(self, hand_in: HandIn) -> None:
        self._hand_in = hand_in

    async def __call__(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """200: it is on disk and counts. 400, 422: it will never be. Cancelled, it may be or not: hand it in again."""
        try:
            handed_on = _read(body)
        except msgspec.DecodeError:
            return 400, {"error": "the body must be JSON: a source, and a message in base64"}
        taken = trio.Event()
        refused: list[str] = []

        def take(why: str) -> None:
            if why:
                refused.append(why)
            taken.set()

        self._hand_in(handed_on.message, handed_on.source, take)
        await taken.wait()
        return (422, {"error": refused[0]}) if refused else (200, {"taken": handed_on.source})
