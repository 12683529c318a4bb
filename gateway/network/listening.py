"""How connections are accepted, in every server of this process."""

import errno
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import trio

from gateway import log, metrics
from gateway.machine.shortage import is_shortage

AGAIN_S = 0.1
"""The wait before the next attempt when there is no descriptor for a connection. It waits in the kernel."""

_log = log.get("listening")


class Patient(trio.abc.Listener[trio.SocketStream]):
    """A listener that goes on when the process is short of descriptors or memory, and says so."""

    def __init__(self, listener: trio.SocketListener, host: str, port: int) -> None:
        self.socket = listener.socket
        self._listener = listener
        self._host = host
        self._port = port

    async def accept(self) -> trio.SocketStream:
        """The next connection, as soon as there can be one."""
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
    """Open listeners, and their port."""

    listeners: list[Any]
    """Trio's, of any kind of stream."""
    port: int


Listen = Callable[[str, int, int], Awaitable[Listening]]
"""Host, port (0: any) and backlog in. Raises `OSError`."""


_NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""Errors of an address that this machine does not have."""


async def listen_tcp(host: str, port: int, backlog: int) -> Listening:
    """Listen on TCP, at the same port of each address of the host that this machine has: `localhost` often resolves to
    an address of each family where only one exists.
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
