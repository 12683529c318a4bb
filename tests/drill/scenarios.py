"""The three losses, and what must hold during each. What was lost or made twice, the ledger finds at the end."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import trio

from gateway.volume.status import PRIMARY, UnreadableError
from loadtest.hub.control import ControlError
from tests.drill import network, plan
from tests.drill.guest import GuestError
from tests.drill.server import Server, whole
from tests.drill.world import Drill

BEFORE, AFTER = 40, 40
"""Payments of the hub's that are replied to before something is taken away, and when it is back."""
WHILE = 60
"""Those while one disk of each server is gone: many enough that each server's array has written."""
SPLIT_S = 40.0
"""Longer than any patience of the gateway's or the hub's, and than DRBD's."""
UNDER_WAY_S = 3.0
"""Replies to what was on both disks before the split may still be on their way so long after it."""
LOOK_EVERY_S = 0.5


async def server(it: Drill) -> None:
    """The primary server loses power in the middle of its work; the gateway is started on the other one."""
    victim, other = it.servers
    await it.go_on(BEFORE)
    it.say(f"kill -9 of {victim}, which the gateway is on")
    old = [link["number"] for link in await it.links()]
    killed_s = trio.current_time()
    await victim.guest.kill()

    def took(what: str) -> None:
        it.figures[f"killed → {what}"] = trio.current_time() - killed_s
        it.say(f"{what}, {trio.current_time() - killed_s:.1f} s after the kill")

    await other.confirm_dead()
    it.moved_to(other)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other.take_volume)
        await other.until("primary", lambda status: status.role == PRIMARY)
        took("promoted")
    took("mounted")
    await other.start_gateway()
    await it.signed_on(old)
    took("signed on at both sites")
    await it.go_on(AFTER)
    await other.take_back()
    it.say(f"{victim} is switched on again, under load")
    await it.boot(victim)
    began_s = trio.current_time()
    await victim.rejoin()
    await other.until("in sync again", whole)
    it.figures["server back: volume up → in sync"] = trio.current_time() - began_s
    it.say(f"{victim} is in sync again, {trio.current_time() - began_s:.1f} s after its volume was up")
    await _seen(it, "the gateway sees both copies", lambda _, volume: (volume["state"], volume["copies"]) == ("ok", 2))
    await it.go_on(AFTER)


async def disks(it: Drill) -> None:
    """One disk of each server is lost: one is pulled out, each request to the other one fails. Nobody notices."""
    primary = it.primary
    other = next(one for one in it.servers if one is not primary)
    faults = it.problems
    await it.go_on(BEFORE)
    links = [link["number"] for link in await it.links()]
    first, second = plan.DISKS
    it.say(f"disk {first} of {primary} is pulled out; from now on each request to disk {second} of {other} fails")
    await primary.guest.pull(first)
    await other.guest.break_disk(second)
    primary.lost.append(first)
    other.lost.append(second)
    await it.go_on(WHILE)
    for one in (primary, other):
        await one.degraded()
        status = await one.status()
        if not whole(status):
            faults.append(f"{one} lost more than a disk: {status}")
    if [link["number"] for link in await it.links()] != links:
        faults.append("a link was lost when a disk was")
    it.say(f"both arrays run on one disk, both copies are whole; {WHILE} payments more were replied to")


async def split(it: Drill) -> None:
    """The servers do not hear each other any more, and everybody hears both: nobody may go on alone."""
    primary = it.primary
    other = next(one for one in it.servers if one is not primary)
    await it.go_on(BEFORE)
    it.say("the network between the servers is cut")
    cut_s = trio.current_time()
    network.split()
    try:
        await trio.sleep(UNDER_WAY_S)
        replied, settled = await it.replied(), await it.settled()
        await _frozen(it, cut_s)
        await _refused(other)
        it.say(f"{other} was told to be primary: it refuses")
        await trio.sleep_until(cut_s + SPLIT_S)
        more_in, more_out = await it.replied() - replied, await it.settled() - settled
        if more_in or more_out:
            it.problems.append(f"{more_in} payments were replied to, {more_out} settled, that only one server holds")
        it.say(f"since then {more_in} were replied to, {more_out} settled")
    finally:
        network.heal()
    healed_s = trio.current_time()
    it.say("the network is whole again")
    for one in it.servers:
        await one.until("in sync again", whole)
    it.figures["healed → in sync, writing"] = trio.current_time() - healed_s
    it.say(f"both are in sync, {trio.current_time() - healed_s:.1f} s later")
    await it.signed_on()
    it.figures["healed → signed on at both sites"] = trio.current_time() - healed_s
    it.say(
        f"the gateway is signed on at both sites, {trio.current_time() - healed_s:.1f} s after the network was whole"
    )
    await it.go_on(AFTER)


async def _frozen(it: Drill, cut_s: float) -> None:
    """The primary must stop writing, and the gateway must say so. Where not, that is noted, and the split goes on."""
    try:
        await it.primary.until("stopped writing", lambda status: status.suspended, SPLIT_S)
        it.figures["split → writing stopped"] = trio.current_time() - cut_s
        it.say(f"{it.primary} writes nothing any more, {trio.current_time() - cut_s:.1f} s after the cut")
        await _seen(it, "the gateway is unready", lambda ready, _: not ready)
        it.figures["split → unready"] = trio.current_time() - cut_s
        it.say(f"the gateway says that it is not ready, {trio.current_time() - cut_s:.1f} s after the cut")
    except GuestError as error:
        it.problems.append(str(error))


async def _refused(other: Server) -> None:
    """It must not become primary, too: nobody has said that the other one is off. Raises `GuestError`."""
    code, _ = await other.guest.try_("drbdadm", "primary", plan.RESOURCE)
    if code == 0:
        raise GuestError(f"{other} became primary, too: now each server has records that the other one has not")


async def _seen(it: Drill, what: str, holds: Callable[[bool, dict[str, Any]], bool]) -> None:
    """Wait until the gateway's `/ready` says so: whether it is ready, and of its volume. Raises `GuestError`."""
    volume: dict[str, Any] = {}
    with trio.move_on_after(plan.STEP_WITHIN_S):
        while True:
            with suppress(OSError):
                ready, said = await it.ready()
                volume = said["parts"]["volume"]
                if holds(ready, volume):
                    return
            await trio.sleep(LOOK_EVERY_S)
    raise GuestError(f"not so within {plan.STEP_WITHIN_S:g} s: {what}: {volume}")


SCENARIOS: dict[str, Callable[[Drill], Awaitable[None]]] = {"server": server, "disks": disks, "split": split}
"""In the order in which they are played."""

BROKEN = (GuestError, UnreadableError, ControlError, OSError)
"""What ends a scenario: something is not as it must be, or is not there."""
