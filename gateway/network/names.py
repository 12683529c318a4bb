"""How names become addresses and addresses become connections, on this machine and without names."""

import errno
import socket
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import trio

from gateway.errors import Unavailable
from gateway.machine.aside import begin_thread
from gateway.machine.shortage import no_thread

Answer = tuple[str, ...] | OSError
"""At least one address, in order of preference; or why there is none."""
Lookup = Callable[[str, Callable[[Answer], None]], None]
"""Look a name up without blocking. The answer comes in the trio thread: at most once, at once or later."""
Connect = Callable[[str, int], Awaitable[trio.abc.Stream]]
"""How a TCP connection is made: address and port in, a stream out. Raises `OSError`."""


class Network(NamedTuple):
    """The network to dial through. A simulation has its own."""

    lookup: Lookup
    connect: Connect


def lookup_aside(name: str, answered: Callable[[Answer], None]) -> None:
    """Ask this machine's resolver in a thread of its own. A lookup that hangs holds up nothing, and no end either."""
    token = trio.lowlevel.current_trio_token()

    def look() -> None:
        answer = resolved(name)
        try:
            token.run_sync_soon(answered, answer)
        except trio.RunFinishedError:
            return  # the process is ending

    try:
        begin_thread(look, "lookup")
    except Unavailable:
        answered(no_thread())


def resolved(name: str) -> Answer:
    """The answer of getaddrinfo. Blocks."""
    try:
        found: list[Any] = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        return error
    except ValueError:  # from the codec for names
        return OSError(errno.EINVAL, "not a host name")
    return tuple(dict.fromkeys(address[0] for *_, address in found))


"".encode("idna")  # the codec is a file: read it now, before no descriptor is left


def by_socket(path: str) -> Network:
    """Every connection leads to a Unix socket of this machine."""

    async def connect(_address: str, _port: int) -> trio.abc.Stream:
        return await trio.open_unix_socket(path)

    return Network(lambda name, answered: answered((name,)), connect)


MACHINE = Network(lookup_aside, trio.open_tcp_stream)
"""This machine. Connecting to an address needs no lookup."""
