"""What every fault of a simulation draws from its luck: which node, and for how long."""

import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from tests.simulation.node import Node

if TYPE_CHECKING:
    from tests.simulation.world import World

Happening = Callable[["World", random.Random], Awaitable[None]]
"""A fault: begins, says so, and in the end is well again."""
SITES = ("a", "b")


def a_node(world: "World", luck: random.Random) -> Node:
    return world.nodes[luck.choice(SITES)]


async def cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    """Whoever waits within the scope waits no longer than for this."""
    await event.wait()
    scope.cancel()


def some_s(luck: random.Random, mean_s: float) -> float:
    return luck.expovariate(1 / mean_s)
