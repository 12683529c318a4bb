"""What goes wrong in a simulation, one function for each kind: begin, say so, and in the end be well again.

Each takes its time out of the seed's luck. `weather` starts them at the intervals that the settings say; when the time
is over, what is still wrong is healed.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
import trio

from gateway.acts.actors import Caller
from gateway.errors import GatewayError
from gateway.signer.breaker import PAUSE_ALONE_MAX_S
from gateway.signer.tokens import PROBE_EVERY_S
from loadtest.hub import mischief
from tests.fakes.token import FakeToken
from tests.simulation import attacker, operators, storage_faults
from tests.simulation.luck import SITES, Happening, a_node, cancel_when, some_s
from tests.simulation.node import Node

if TYPE_CHECKING:
    from tests.simulation.world import World

TOKENS = ("a-1", "a-2", "b-1", "b-2")
"""Two in each data centre; both gateways use all of them."""
INJECTIONS = ("swallow", "late", "twice", "drop", "lose", "9909", "9909-after", "650", "690")
MODES = (
    "slow:1", "slow:6", "slow:12", "silent", "refusing:1114", "qualified:0081", "status:503", "status:500", "malformed",
    "half", "huge", "twice", "mix:fast=2,slow:4=1,silent=1,refusing:1160=1,malformed=1,garbled=1,status:503=1",
)  # fmt: skip
RULES = ("accept", "0000*9,1114", "1160", "slow=3", "slow=20", "silent", "0000*5,slow=8*3,silent,1114")
SICKNESSES = (("silent", 0.0), ("deaf", 0.0), ("mute", 0.0), ("slow", 3.0), ("slow", 20.0))
STEPS_S = (0.5, -0.5, 5.0, -5.0, 60.0, -60.0, 3600.0, -3600.0, 86400.0)
NOTICED_S = 15.0
"""By then both ends know that a connection broke without a word."""
FOUND_S = PROBE_EVERY_S + 1.0 + PAUSE_ALONE_MAX_S
"""By then a gateway that lost the last token that serves knows (`config.Token.batch_within_s` is a second), and has
tried the others again."""
SWITCHED_BACK_S = 600.0
"""An operator tries for so long."""


async def weather(world: "World") -> None:
    """Let things go wrong for as long as the settings say, and heal what is broken then."""
    async with trio.open_nursery() as nursery:
        for name, mean_s in sorted(world.settings.mean_s.items()):
            luck = random.Random(f"{name} {world.settings.seed}")  # noqa: S311 - a seed that replays
            nursery.start_soon(_again_and_again, world, FAULTS[name], mean_s, luck, name=name)
        await trio.sleep(world.settings.lasts_s)
        nursery.cancel_scope.cancel()
    world.stepping = 0
    for node in world.nodes.values():
        node.fuse = 0


async def _again_and_again(world: "World", fault: Happening, mean_s: float, luck: random.Random) -> None:
    while True:
        await trio.sleep(luck.expovariate(1 / mean_s))
        await fault(world, luck)


# --- the lines to the hub


async def cut(world: "World", luck: random.Random) -> None:
    """A connection breaks."""
    node, site, rst = luck.choice(SITES), luck.choice(SITES), luck.random() < 0.7
    with world.trouble("link", f"{node}/{site}"):
        world.route(node, f"hub-{site}").cut(rst=rst)
        await trio.sleep(0.0 if rst else NOTICED_S)


async def stall(world: "World", luck: random.Random) -> None:
    """Nothing gets through for a while, and nobody is told."""
    node, site = luck.choice(SITES), luck.choice(SITES)
    route = world.route(node, f"hub-{site}")
    with world.trouble("link", f"{node}/{site}"):
        route.stall()
        try:
            await trio.sleep(some_s(luck, 8.0))
        finally:
            route.go_on()


async def lag(world: "World", luck: random.Random) -> None:
    """The line is slow."""
    node, site = luck.choice(SITES), luck.choice(SITES)
    route = world.route(node, f"hub-{site}")
    before = route.latency_s
    with world.trouble("link", f"{node}/{site}"):
        route.latency_s = (0.0, luck.choice((0.1, 1.0, 4.0)))
        try:
            await trio.sleep(some_s(luck, 20.0))
        finally:
            route.latency_s = before


async def half_open(world: "World", luck: random.Random) -> None:
    """What one end says is lost from now on, until somebody finds out."""
    node, site = luck.choice(SITES), luck.choice(SITES)
    route = world.route(node, f"hub-{site}")
    with world.trouble("link", f"{node}/{site}"):
        route.half_open(world.network.place(luck.choice((node, f"hub-{site}"))))
        try:
            await trio.sleep(60.0)
        finally:
            route.cut()


async def sick_link(world: "World", luck: random.Random) -> None:
    """The hub brings no answers to payments by a link, or late ones, while the link stands and echoes are answered; or
    nothing at all comes by it.
    """
    node, site = luck.choice(SITES), luck.choice(SITES)
    how, after_s = luck.choice(SICKNESSES)
    say = {"do": "sicken", "site": site, "node": node}
    world.say(f"{node}/{site}: the hub is {how} there")
    with world.trouble("link" if how == "silent" else "sick link", f"{node}/{site}"):
        await world.steer({**say, "how": how, "after_s": after_s})
        try:
            await trio.sleep(some_s(luck, 40.0))
        finally:
            with trio.CancelScope(shield=True):
                await world.steer({**say, "how": "well"})


async def hub_site_away(world: "World", luck: random.Random) -> None:
    """A site of the hub takes no connections; dialling it is refused, or hangs."""
    site = luck.choice(SITES)
    routes = [world.route(node, f"hub-{site}") for node in SITES]
    silent = luck.random() < 0.5
    with world.trouble("link", f"a/{site}"), world.trouble("link", f"b/{site}"):
        for route in routes:
            route.refuse, route.silent = not silent, silent
            route.cut(rst=not silent)
        try:
            await trio.sleep(some_s(luck, 30.0))
        finally:
            for route in routes:
                route.refuse = route.silent = False
        await trio.sleep(NOTICED_S if silent else 0.0)


# --- the process


async def kill(world: "World", luck: random.Random) -> None:
    """`kill -9`, between any two steps of anything."""
    _at_some_step(world, luck, a_node(world, luck).kill)


async def power(world: "World", luck: random.Random) -> None:
    """A server loses its power, between any two steps of anything."""
    node, keep_nothing = a_node(world, luck), luck.random() < 0.3

    def lose() -> None:
        world.say(f"{node.name}: power lost")
        node.power_off(keep_nothing=keep_nothing)

    _at_some_step(world, luck, lose)


def _at_some_step(world: "World", luck: random.Random, what: Callable[[], None]) -> None:
    if not world.stepping:
        world.at_step = what
        world.stepping = luck.randrange(1, luck.choice((10, 300, 3000)))


async def power_in_disk(world: "World", luck: random.Random) -> None:
    """A server loses its power before one of the next things that its disk does: within a write and its sync, or while
    the next process opens the journal.
    """
    node = a_node(world, luck)
    node.fuse = luck.randrange(1, luck.choice((8, 30, 200)))
    if luck.random() < 0.4:
        world.say(f"{node.name}: power lost")
        node.power_off()


async def drain(world: "World", luck: random.Random) -> None:
    """SIGTERM: a new version is installed."""
    node = a_node(world, luck)
    if node.up:
        with world.trouble("drain", node.name):
            node.terminate()
            await _over(node)


async def at_once(world: "World", luck: random.Random) -> None:
    """SIGTERM, and soon a second one."""
    node = a_node(world, luck)
    if node.up:
        with world.trouble("drain", node.name):
            node.terminate()
            await trio.sleep(some_s(luck, 0.5))
            node.terminate()
            await _over(node)


async def _over(node: Node) -> None:
    """A drain that has begun takes its time, also when the weather ends."""
    with trio.CancelScope(shield=True):
        await node.over.wait()


async def clock(world: "World", luck: random.Random) -> None:
    """A node's wall clock steps."""
    node, step_s = a_node(world, luck), luck.choice(STEPS_S)
    with world.trouble("clock", node.name):
        node.offset_ns += int(step_s * 1e9)
        try:
            await trio.sleep(some_s(luck, 30.0))
        finally:
            node.offset_ns = 0


# --- tokens


async def token(world: "World", luck: random.Random) -> None:
    """One token hangs, is lost, refuses, or is gone, for both data centres.

    Also the only one that serves, while others are well and a gateway has not found that out. Then it has none for a
    while, and must have found it out by `FOUND_S`.
    """
    name = luck.choice(TOKENS)
    if name != world.spared:
        for node in world.nodes.values():
            if not any(_serves(node, other) for other in TOKENS if other != name and other not in world.sick):
                world.say(f"{node.name}: loses the only token that serves")
                world.oracle.trouble("tokens", node.name, trio.current_time(), trio.current_time() + FOUND_S)
        with world.trouble("token", name), _sick(world, {name}):
            await _spoil([node.tokens[name] for node in world.nodes.values()], luck)


async def most_tokens(world: "World", luck: random.Random) -> None:
    """Three of the four, and the last one serves wherever a process runs: nobody may notice."""
    well = [name for name in TOKENS if name not in world.sick and all(_serves(n, name) for n in world.nodes.values())]
    if well:
        spared = luck.choice(well)
        others = set(TOKENS) - {spared}
        with world.trouble("token", f"all but {spared}"), _sick(world, others, spared):
            await _spoil([node.tokens[name] for node in world.nodes.values() for name in sorted(others)], luck)


async def tokens(world: "World", luck: random.Random) -> None:
    """A node is cut off from all tokens."""
    node = a_node(world, luck)
    with world.trouble("tokens", node.name):
        await _spoil([node.tokens[name] for name in TOKENS], luck)


def _serves(node: Node, name: str) -> bool:
    return node.gateway is None or node.gateway.signer.health()[name].state == "serving"


@contextmanager
def _sick(world: "World", names: set[str], spared: str = "") -> Iterator[None]:
    """One kind of trouble at a time has a token: what heals it first heals all of it."""
    names = names - world.sick
    world.sick |= names
    world.spared = spared or world.spared
    try:
        yield
    finally:
        world.sick -= names
        world.spared = "" if spared else world.spared


async def _spoil(spoilt: list[FakeToken], luck: random.Random) -> None:
    how = luck.choice(("hang", "crash", "fail", "disappear", "slow"))
    for one in spoilt:
        if how == "hang":
            one.hang()
        elif how == "crash":
            one.crash()
        elif how == "fail":
            one.fail("failing", "the token says DEVICE_ERROR")
        elif how == "slow":
            one.batch_s = luck.choice((0.05, 0.5, 2.0))
        else:
            one.disappear()
    try:
        await trio.sleep(some_s(luck, 15.0))
    finally:
        for one in spoilt:
            one.go_on()
            one.come_back()
            one.batch_s = 0.0


# --- the processor


async def processor(world: "World", luck: random.Random) -> None:
    """It is slow, silent, wrong, or refuses."""
    mode = luck.choice(MODES)
    world.say(f"the processor is {mode}")
    with world.trouble("processor", ""):
        world.processor.set_mode(mode)
        try:
            await trio.sleep(some_s(luck, 25.0))
        finally:
            world.processor.set_mode("fast")


async def processor_away(world: "World", luck: random.Random) -> None:
    """Nobody listens, perhaps for hours."""
    routes = [world.route(node, "processor") for node in SITES]
    silent = luck.random() < 0.3
    with world.trouble("processor", "a"), world.trouble("processor", "b"):
        for route in routes:
            route.refuse, route.silent = not silent, silent
            route.cut(rst=not silent)
        try:
            await trio.sleep(some_s(luck, world.settings.away_s))
        finally:
            for route in routes:
                route.refuse = route.silent = False


# --- the hub


async def hub_mischief(world: "World", luck: random.Random) -> None:
    """It sends what it never should."""
    what = luck.choice(sorted(mischief.KINDS))
    if what == "duplicate" and "attacker" in world.settings.mean_s:
        # somebody on the path may take it to the other site, which has not seen the first content: to that site the
        # second one is a payment of the hub's, and the books do not know that the hub has sent it
        return
    world.say(f"the hub's mischief: {what}")
    world.hub.misbehave_once(what, payment_type=world.settings.payment_type)


async def injection(world: "World", luck: random.Random) -> None:
    """It spoils some of its answers."""
    await world.steer(
        {"do": "inject", "what": luck.choice(INJECTIONS), "count": luck.choice((1, 5)), "after_s": luck.choice((1, 20))}
    )


async def bank(world: "World", luck: random.Random) -> None:
    """The other bank answers otherwise."""
    await world.steer({"do": "bank", "rule": luck.choice(RULES)})
    try:
        await trio.sleep(some_s(luck, 30.0))
    finally:
        with trio.CancelScope(shield=True):
            await world.steer({"do": "bank", "rule": "accept"})


async def news(world: "World", luck: random.Random) -> None:
    """An institution is suspended, and is available again."""
    institution = luck.choice(("400001", "400001", "123456"))
    everywhere = True
    world.say(f"news: {institution} is suspended")
    say = {"do": "usm", "function": "972", "everywhere": everywhere}
    await world.steer({**say, "fields": {"67": "01", "100": institution}})
    try:
        await trio.sleep(some_s(luck, 20.0))
    finally:
        with trio.CancelScope(shield=True):
            await world.steer({**say, "fields": {"67": "00", "68": "01", "100": institution}})


async def hub_clock(world: "World", luck: random.Random) -> None:
    """The hub's clock steps back, by the hour of October or by another time; and forward again."""
    step_s = luck.choice((3600, 3600, 3600, 900, 60))
    world.say(f"the hub's clock steps back by {step_s} s")
    world.hub_stepped_s -= step_s
    try:
        await trio.sleep(some_s(luck, 60.0))
    finally:
        world.hub_stepped_s += step_s


async def key(world: "World", luck: random.Random) -> None:
    """The hub changes a key, well or badly."""
    spoil = luck.choice(("", "", "", "check", "wrapping"))
    links = [link for link in world.hub.scheme.links.values() if (link.receive or link.submit) and not link.lost]
    if len(links) < 4:
        return  # a site that is away would not learn of it
    try:
        await world.steer({"do": "key", "use": luck.choice(("hub", "own")), "everywhere": True, "spoil": spoil})
    except ValueError:
        return  # the change before is under way
    world.say(f"the hub changes a key {spoil}")


OPERATOR = Caller("anna", frozenset({"operate", "look"}), "uid 1 by socket")


def ordered(what: dict[str, str]) -> bytes:
    """The body of an order."""
    return msgspec.json.encode({"why": "the simulation", "what": what})


async def operator(world: "World", luck: random.Random) -> None:
    """A person switches stand-in, or asks for a key."""
    node = a_node(world, luck)
    gateway = node.gateway
    if gateway is None:
        return
    if luck.random() < 0.3 and "key" in world.settings.mean_s:
        await gateway.desk.order(OPERATOR, "request-key", ordered({"use": luck.choice(("own", "hub"))}))
        return
    mode = luck.choice(("always", "never", "timer"))
    world.say(f"{node.name}: an operator sets stand-in to {mode}")
    with world.trouble("stand-in", node.name):
        await _switch(node, mode)
        try:
            await trio.sleep(some_s(luck, 20.0))
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + SWITCHED_BACK_S):
                await _switch(node, "timer")


async def _switch(node: Node, mode: str) -> None:
    """As often as it takes: the process may be away, or go away while it waits for the disk."""
    while True:
        gateway, over = node.gateway, node.over
        if gateway is not None and node.up:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel_when, over, nursery.cancel_scope)
                try:
                    status, _ = await gateway.desk.order(OPERATOR, "stand-in", ordered({"mode": mode}))
                except GatewayError:
                    status = 0
                nursery.cancel_scope.cancel()
                if status == 200:
                    return
        await trio.sleep(1.0)


FAULTS: dict[str, Happening] = {
    "cut": cut,
    "stall": stall,
    "lag": lag,
    "half-open": half_open,
    "sick-link": sick_link,
    "hub-site-away": hub_site_away,
    "slow-sync": storage_faults.slow_sync,
    "hung-sync": storage_faults.hung_sync,
    "failed-sync": storage_faults.failed_sync,
    "full-disk": storage_faults.full_disk,
    "short": storage_faults.short,
    "flipped-bit": storage_faults.flipped_bit,
    "volume": storage_faults.volume,
    "kill": kill,
    "power": power,
    "power-in-disk": power_in_disk,
    "drain": drain,
    "at-once": at_once,
    "token": token,
    "tokens": tokens,
    "most-tokens": most_tokens,
    "processor": processor,
    "processor-away": processor_away,
    "clock": clock,
    "mischief": hub_mischief,
    "injection": injection,
    "bank": bank,
    "news": news,
    "hub-clock": hub_clock,
    "key": key,
    "operator": operator,
    "stop": operators.stop,
    "parked": operators.parked,
    "attacker": attacker.attack,
}
"""By name, as in `settings.MEAN_S`."""
