"""How connections are taken: the one thing that the servers of this process share."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import trio


class Listening(NamedTuple):
    """What is listened on, and where."""

    listeners: list[Any]
    """Trio's, of any kind of stream."""
    port: int


Listen = Callable[[str, int, int], Awaitable[Listening]]
"""Host, port (0: any) and backlog in. Raises `OSError`."""


async def listen_tcp(host: str, port: int, backlog: int) -> Listening:
    """Over TCP."""
    listeners = await trio.open_tcp_listeners(port, host=host, backlog=backlog)
    return Listening(listeners, listeners[0].socket.getsockname()[1])
