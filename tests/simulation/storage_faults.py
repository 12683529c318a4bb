"""What goes wrong below the journal in a simulation: the disk, and the volume that carries it. `faults` starts them."""

import errno
import math
import random
from typing import TYPE_CHECKING

import trio

from gateway.volume.status import Status
from gateway.volume.watch import EVERY_S, WITHIN_S
from tests.fakes.disk import error
from tests.fakes.volume import well, without
from tests.simulation.luck import a_node, some_s
from tests.simulation.node import Node, hang_s

if TYPE_CHECKING:
    from tests.simulation.world import World

VOLUME_NOTICED_S = EVERY_S + WITHIN_S + 1.0
"""By then a gateway knows that its volume is well again, and has signed on."""
VOLUMES: tuple[tuple[Status | str, bool, str], ...] = (
    (without("server-2"), False, "volume degraded"),
    (without("server-3", connection="StandAlone"), False, "volume degraded"),
    (without("server-2", "server-3"), False, "volume"),
    (well(quorum=False), False, "volume"),
    (well(), True, "volume unknown"),
    ("drbdsetup is not there", False, "volume unknown"),
)
"""What DRBD says, whether it hangs, and which trouble that is: `volume` alone excuses a site that takes no payments."""
SHORT_FELT_S = 15.0
"""By then what could not be dialled has been, and a process that could not go on was started again."""
AFTER_FAILED_SYNC_S = 5.0
"""By then a process whose sync failed has ended."""


# --- the disk


async def slow_sync(world: "World", luck: random.Random) -> None:
    """Syncs take long."""
    node, limit_s = a_node(world, luck), luck.choice((0.05, 0.3, 0.9))
    with world.trouble("disk", node.name):
        node.disk.latency_s = lambda: luck.uniform(0, limit_s)
        try:
            await trio.sleep(some_s(luck, 15.0))
        finally:
            node.disk.latency_s = _at_once


async def hung_sync(world: "World", luck: random.Random) -> None:
    """A sync hangs, and comes to an end after all."""
    node, long_s = a_node(world, luck), some_s(luck, 15.0)
    from_s = trio.current_time()
    # what hangs already hangs to the end, also when the time for faults is over before
    world.oracle.trouble("disk", node.name, from_s, from_s + long_s)
    with world.trouble("disk", node.name):
        node.disk.latency_s = hang_s(from_s + long_s)
        try:
            await trio.sleep(long_s)
        finally:
            node.disk.latency_s = _at_once


async def failed_sync(world: "World", luck: random.Random) -> None:
    """A sync, write or read fails: the process must end."""
    node, what = a_node(world, luck), luck.choice(("sync", "sync", "sync", "write", "read"))
    with world.trouble("disk", node.name):
        node.disk.faults[what] = error(errno.EIO)
        life = node.lives
        try:
            await trio.sleep(20.0)
        finally:
            happened = node.disk.faults.pop(what, None) is None
        if happened and what == "sync":
            await trio.sleep(AFTER_FAILED_SYNC_S)
            if node.lives == life and node.up:
                world.oracle.lied(node.name, "goes on after a sync that failed")


async def full_disk(world: "World", luck: random.Random) -> None:
    """The file system is full for a while."""
    node = a_node(world, luck)
    with world.trouble("disk", node.name):
        before = node.disk.capacity_bytes
        node.disk.capacity_bytes = node.disk.used_bytes() + luck.choice((0, 1000, 100_000))
        try:
            await trio.sleep(some_s(luck, 30.0))
        finally:
            node.disk.capacity_bytes = before


async def short(world: "World", luck: random.Random) -> None:
    """A process has no descriptor left for a while: what is open stays open, nothing can be opened or dialled."""
    node = a_node(world, luck)
    with world.trouble("short", node.name):
        node.short, node.disk.files_max = True, node.disk.files_open
        try:
            await trio.sleep(some_s(luck, 15.0))
        finally:
            node.short, node.disk.files_max = False, math.inf
        await trio.sleep(SHORT_FELT_S)


async def flipped_bit(world: "World", luck: random.Random) -> None:
    """A bit of an old segment is another one. Whoever reads it must stop; then it is restored from the other copy."""
    node = a_node(world, luck)
    directory = node.disk.directories.get("journal")
    names = [name for name in directory.names() if name.endswith(".segment")] if directory is not None else []
    used = [name for name in names if directory is not None and any(directory.files[name].durable)]
    if directory is None or len(used) < 2:
        return
    blob = directory.files[luck.choice(used[:-1])]
    at, bit = luck.randrange(len(blob.durable)), 1 << luck.randrange(8)
    with world.trouble("disk", node.name):
        blob.flip(at, bit)
        node.disk.flipped.append((blob, at, bit))
        if luck.random() < 0.7:
            node.kill()
        await trio.sleep(some_s(luck, 20.0))


def repair(world: "World", node: Node) -> None:
    """What a person does about a journal that cannot be trusted: restore it, move to another server or try again."""
    disk, luck = node.disk, node.luck
    restore(node)
    if luck.random() < 0.5:
        world.say(f"{node.name}: moved to another server")
        node.power_off(keep_nothing=luck.random() < 0.5)
    else:
        # started again where it was: what a failed sync left in the page cache counts as clean, and is on no disk
        world.say(f"{node.name}: started again where it was")
        disk.forget_dirty()


def restore(node: Node) -> None:
    """The bits that were flipped are as they were."""
    for blob, at, bit in node.disk.flipped:
        blob.flip(at, bit)
    node.disk.flipped.clear()


def _at_once() -> float:
    return 0.0


# --- the volume below the disk


async def volume(world: "World", luck: random.Random) -> None:
    """Copies or quorum are lost, or DRBD cannot be asked; only where none is left to lose may payments be kept away."""
    node = a_node(world, luck)
    says, hangs, what = luck.choice(VOLUMES)
    with world.trouble(what, node.name):
        node.drbd.says, node.drbd.hangs = says, hangs
        try:
            await trio.sleep(some_s(luck, 20.0))
        finally:
            node.drbd.says, node.drbd.hangs = well(), False
        await trio.sleep(VOLUME_NOTICED_S)
