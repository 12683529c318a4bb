"""The simulated network beside the real one: the same tests run on both. What sockets cannot be told to do has tests of
its own, on the mock clock.
"""

import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple

import pytest
import trio
import trio.testing

from gateway.listening import Listening, listen_tcp
from tests.simulation.network import Network

PATIENCE_S = 20.0


class World(NamedTuple):
    """A listener, and what dials to it."""

    listen: Callable[[], Awaitable[Listening]]
    dial: Callable[[int], Awaitable[trio.abc.HalfCloseableStream]]


def simulated() -> World:
    """Two places."""
    network = Network(random.Random(1))  # noqa: S311 - a simulation
    here, there = network.place("here"), network.place("there")
    return World(partial(there.listen, "127.0.0.1", 0, 10), here.dial)


def real() -> World:
    """Loopback."""
    return World(partial(listen_tcp, "127.0.0.1", 0, 10), partial(trio.open_tcp_stream, "127.0.0.1"))


@pytest.fixture(params=[simulated, real])
def world(request: pytest.FixtureRequest) -> World:
    """One of the two."""
    made: World = request.param()
    return made


Pair = tuple[Any, Any]


async def connected(world: World) -> Pair:
    """The two ends of a connection."""
    listening = await world.listen()
    ours = await world.dial(listening.port)
    theirs = await listening.listeners[0].accept()
    await listening.listeners[0].aclose()
    return ours, theirs


async def clogged(world: World) -> Pair:
    """The same, with as much written at both ends as goes."""
    pair = await connected(world)
    for stream in pair:
        with trio.move_on_after(0.2):
            while True:
                await stream.send_all(bytes(65536))
    return pair


async def test_it_is_a_stream(world: World) -> None:
    """What trio asks of any stream that can be closed half."""
    with trio.fail_after(PATIENCE_S):
        await trio.testing.check_half_closeable_stream(lambda: connected(world), lambda: clogged(world))
