"""How connections are taken: the one thing that the servers of this process share."""

import errno
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


_NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""What an address says that this machine does not have."""


async def listen_tcp(host: str, port: int, backlog: int) -> Listening:
    """Over TCP, at the same port of each of the host's addresses that this machine has: `localhost` is often said to
    have one of either family where there is only one.
    """
    found: list[Any] = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    listeners: list[Any] = []
    missing: list[OSError] = []
    try:
        for address in dict.fromkeys(entry[4][0] for entry in found):
            try:
                listeners += await trio.open_tcp_listeners(port, host=address, backlog=backlog)
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing.append(error)
            else:
                port = listeners[0].socket.getsockname()[1]
    except BaseException:
        for listener in listeners:
            listener.socket.close()
        raise
    if not listeners:
        raise missing[0]
    return Listening(listeners, port)
