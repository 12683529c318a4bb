"""What people order while a simulation runs: a stop of submitting and its start; what becomes of a parked notice."""

import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import trio

from gateway.errors import GatewayError, Refusal, Unavailable
from tests.simulation.luck import SITES, a_node, cancel_when, some_s
from tests.simulation.node import Node

if TYPE_CHECKING:
    from tests.simulation.world import World

ORDERED_S = 600.0
"""An operator tries for so long."""
AGAIN_S = 1.0
"""Between two attempts: the process may be away, or go away while it waits for the disk."""
REFUSALS = ("status:409", "status:422")
"""How a processor refuses notices for good."""


async def stop(world: "World", luck: random.Random) -> None:
    """Submitting is stopped at a site or at both, and started again."""
    names = SITES if luck.random() < 0.4 else (luck.choice(SITES),)
    stays_s = some_s(luck, 20.0)
    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(_stop_for, world, world.nodes[name], stays_s)


async def _stop_for(world: "World", node: Node, stays_s: float) -> None:
    world.say(f"{node.name}: an operator stops submitting")
    try:
        await _stop(world, node)
        await trio.sleep(stays_s)
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + ORDERED_S):
            world.say(f"{node.name}: an operator starts submitting again")
            world.oracle.may_submit(node.name)
            await _start(node)
        world.oracle.submits(node.name)


async def _stop(world: "World", node: Node) -> None:
    """As often as it takes to make it last: what a process forgets with its life is ordered anew."""
    while True:
        gateway, over = node.gateway, node.over
        if gateway is not None and node.up:
            try:
                durable = gateway.engine.control.stop_submitting()
            except GatewayError:
                pass  # its disk has failed, and so has it
            else:
                world.oracle.stopped(node.name)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cancel_when, over, nursery.cancel_scope)
                    await durable.wait()
                    nursery.cancel_scope.cancel()
                if durable.is_set():
                    return
                world.oracle.may_submit(node.name)
                world.oracle.submits(node.name)
        await trio.sleep(AGAIN_S)


async def _start(node: Node) -> None:
    while True:
        gateway, over = node.gateway, node.over
        if gateway is not None and node.up:
            started = False
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel_when, over, nursery.cancel_scope)
                try:
                    await gateway.engine.control.start_submitting()
                    started = True
                except GatewayError:
                    pass
                nursery.cancel_scope.cancel()
            if started:
                return
        await trio.sleep(AGAIN_S)


async def parked(world: "World", luck: random.Random) -> None:
    """The processor refuses notices for good for a while; then people have some told again, and some dropped."""
    mode = luck.choice(REFUSALS)
    world.say(f"the processor is {mode}")
    with world.trouble("processor", ""):
        world.processor.set_mode(mode)
        try:
            await trio.sleep(some_s(luck, 5.0))
        finally:
            world.processor.set_mode("fast")
    await trio.sleep(some_s(luck, 5.0))
    node = a_node(world, luck)
    gateway, over = node.gateway, node.over
    if gateway is None or not node.up:
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel_when, over, nursery.cancel_scope)
        forwarder = gateway.forwarder
        try:
            listed = await forwarder.parked(luck.choice((1, 5, 20)))
            for each in listed:
                drop = partial(forwarder.drop, each.position, "settled by hand")
                tell = partial(forwarder.tell_again, each.position)
                await _order(world, node, drop if luck.random() < 0.5 else tell)
        except GatewayError:
            pass  # it has only just started, or its disk has failed
        nursery.cancel_scope.cancel()


async def _order(world: "World", node: Node, order: Callable[[], Awaitable[None]]) -> None:
    try:
        await order()
    except (Refusal, Unavailable) as why:
        world.say(f"{node.name}: an operator hears {why}")
