"""How connections are taken: the one thing that the servers of this process share."""

import errno
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import trio

from gateway import log, metrics
from gateway.machine.shortage import is_shortage

AGAIN_S = 0.1
"""So long the next connection waits when there is no descriptor for it. It lies in the kernel meanwhile."""

_log = log.get("listening")


class Patient(trio.abc.Listener[trio.SocketStream]):
    """A listener that goes on when the process is short of descriptors or memory, and says so."""

    def __init__(self, listener: trio.SocketListener, host: str, port: int) -> None:
        self.socket = listener.socket
        self._listener = listener
        self._host = host
        self._port = port

    async def accept(self) -> trio.SocketStream:
        """The next connection, whenever there can be one."""
        while True:
            try:
                return await self._listener.accept()
            except OSError as error:
                if not is_shortage(error):
                    raise
                metrics.SHORTAGES["accept"].inc()
                _log.warning("no connection is taken", host=self._host, port=self._port, reason=log.describe(error))
            await trio.sleep(AGAIN_S)

    async def aclose(self) -> None:
        """Listen no more."""
        await self._listener.aclose()


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
                found_here = await trio.open_tcp_listeners(port, host=address, backlog=backlog)
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing.append(error)
            else:
                port = found_here[0].socket.getsockname()[1]
                listeners += [Patient(listener, host, port) for listener in found_here]
    except BaseException:
        for listener in listeners:
            listener.socket.close()
        raise
    if not listeners:
        raise missing[0]
    return Listening(listeners, port)
