"""How names become addresses and addresses become connections: the machine's way, and a way without names."""

import errno
import socket
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import trio

from gateway.errors import Unavailable
from gateway.machine.aside import begin_thread
from gateway.machine.shortage import no_thread

Answer = tuple[str, ...] | OSError
"""At least one address, the preferred ones first; or why there is none."""
Lookup = Callable[[str, Callable[[Answer], None]], None]
"""Look a name up where that blocks nobody. The answer comes in the trio thread: once, at once or later, or never."""
Connect = Callable[[str, int], Awaitable[trio.abc.Stream]]
"""How a TCP connection is made: address and port in, a stream out. Raises `OSError`."""


class Network(NamedTuple):
    """What is dialled through. A simulation has its own."""

    lookup: Lookup
    connect: Connect


def lookup_aside(name: str, answered: Callable[[Answer], None]) -> None:
    """Ask this machine's resolver in a thread of its own. One that hangs keeps neither us nor the process's end."""
    token = trio.lowlevel.current_trio_token()

    def look() -> None:
        answer = resolved(name)
        try:
            token.run_sync_soon(answered, answer)
        except trio.RunFinishedError:
            return  # nobody wants to know any more

    try:
        begin_thread(look, "lookup")
    except Unavailable:
        answered(no_thread())


def resolved(name: str) -> Answer:
    """What getaddrinfo says. Blocks."""
    try:
        found: list[Any] = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        return error
    except ValueError:  # of the codec for names
        return OSError(errno.EINVAL, "not a host name")
    return tuple(dict.fromkeys(address[0] for *_, address in found))


"".encode("idna")  # the codec is a file: it is read now, and not when no descriptor is left

MACHINE = Network(lookup_aside, trio.open_tcp_stream)
"""This machine. Connecting to an address looks nothing up."""


def nameless(connect: Connect) -> Network:
    """A network in which a name is its only address."""
    return Network(lambda name, answered: answered((name,)), connect)
