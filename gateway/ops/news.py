"""`POST /news`: another process of ours hands on news of the scheme; it is acknowledged when it is on our disk.

The process that hands it on has verified the MAC; we cannot, because keys are per group. So the role `peer` is
believed, and who it was stands in the record: the `source` of what a process hands on, which is that and nothing else,
begins with its name.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import trio

from gateway.acts.actors import Caller
from gateway.scheme.news import HandedOn, Taken
from gateway.strict_json import Reader

HandIn = Callable[[HandedOn, Taken], None]
"""Takes the news, and a callback for when it is durable or refused. Never waits."""

_read = Reader(HandedOn)


class NewsControl:
    """The ops server's control for `/news`."""

    def __init__(self, hand_in: HandIn) -> None:
        self._hand_in = hand_in

    async def __call__(self, caller: Caller, body: bytes) -> tuple[int, dict[str, Any]]:
        """200: the news is on disk and counts. 400, 422: it never will be. Cancelled, either may be: hand it in
        again.
        """
        try:
            handed_on = _read(body)
        except msgspec.DecodeError:
            return 400, {"error": "the body must be JSON: a source, and a message in base64"}
        if caller.roles == {"peer"} and handed_on.source.partition("/")[0] != caller.name:
            return 422, {"error": f"the source is not {caller.name}'s, which hands it on: it must begin with that name"}
        refused = await until_taken(lambda taken: self._hand_in(handed_on, taken))
        return (422, {"error": refused}) if refused else (200, {"taken": handed_on.source})


async def until_taken(begin: Callable[[Taken], None]) -> str:
    """Begin, and wait for the end; returns why it was refused, or nothing."""
    over = trio.Event()
    refused = [""]

    def end(why: str) -> None:
        refused[0] = why
        over.set()

    begin(end)
    await over.wait()
    return refused[0]
