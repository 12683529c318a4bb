"""The world of a simulation: two data centres, both hub sites, a processor that submits, and time, from one seed.

`simulate` runs it in one `trio.run`: payments come and leave while `faults` happen, then everything is well again and
settles, both gateways are drained, and `oracle` judges what hub, processor, disks and gateways saw.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import NamedTuple
from unittest.mock import patch

import msgspec
import trio
import trio.testing
from trio._core import _run as trio_run

from gateway import config, daemon, log
from gateway.exitcodes import ExitCode
from gateway.wire import fields
from loadtest.hub.bank import SimulatedBank
from loadtest.hub.keys import mac_of, wrap
from loadtest.hub.rekey import KeyBox
from loadtest.hub.scheme import HubSettings, Party, Scheme
from loadtest.hub.sites import Hub
from loadtest.hub.steering import Steering
from loadtest.ledger.oracle import Verdict
from loadtest.processor.server import MockProcessor
from loadtest.processor.submitter import SubmissionOrder
from loadtest.traffic import iso
from tests.fakes.disk import FakeDisk
from tests.fakes.token import TRANSPORT, FakeTokens
from tests.simulation import faults, storage_faults
from tests.simulation.attacker import Attacker
from tests.simulation.network import Network, Route
from tests.simulation.node import BASE_NS, NODE, Node, Watched
from tests.simulation.oracle import NEWS_WITHIN_S, Oracle
from tests.simulation.settings import GROUPS, Settings

SITES = ("a", "b")
"""The data centres, and the hub's sites."""
DATE = "20260301"
PROCESSOR_PORT = 8080
DOORS = {"a": 9300, "b": 9301}
OPS = {"a": 9210, "b": 9211}
HUB_PORTS = {("a", "a"): 9100, ("a", "b"): 9101, ("b", "a"): 9102, ("b", "b"): 9103}
"""The hub's ports by data centre and hub site, so that the port tells who dials."""
RESTART_S = 2.0
"""Time after which a process that ended is started again, as systemd does."""
SETTLE_S = 4 * 3600.0
"""Time that everything may take to settle once all is well."""
QUIET_S = 75.0
"""Time without anything new after which all has settled. Longer than any pause between two attempts of any part."""
LOOK_S = 5.0
WALL_S = 600.0
"""A simulation may take so long by the wall's clock: one of hours takes half a minute on a machine of its own, and many
times that on a busy one.
"""


class Outcome(NamedTuple):
    """The outcome of a simulation."""

    settings: Settings
    verdict: Verdict
    simulated_s: float
    story: Callable[[str], list[str]]
    """Everything that anybody saw of a payment, in order, by the hash of its FPID; for the empty hash, everything
    else."""
    failure: str
    """The reason why the simulation itself could not be carried through; empty when it could."""


class Crashed(Exception):
    """The simulation could not go on; the cause says why."""

    def __init__(self, story: Callable[[str], list[str]]) -> None:
        super().__init__()
        self.story = story
        """As `Outcome.story`, up to this point."""


class World:
    """All parts, and the means to break and mend them."""

    def __init__(self, settings: Settings) -> None:
        seed = settings.seed
        self.settings = settings
        self.luck = random.Random(f"world {seed}")  # noqa: S311 - a seed that replays
        self.network = Network(random.Random(f"network {seed}"))  # noqa: S311
        self.oracle = Oracle(SITES, DOORS)
        self.group = GROUPS[settings.payment_type]
        self.oracle.rules = self.configuration("a").pair.stand_in
        self.hub_stepped_s = 0
        """Seconds by which the hub's clock has stepped."""
        self.keys = {label: self.luck.randbytes(16) for label in ("fps-hub", "fps-own", "fps-seal", TRANSPORT)}
        self.hub = self._make_hub()
        self.steer = Steering(self.hub)
        self.processor = MockProcessor(
            "fast", seed=settings.processor_seed, book=self.oracle.processor_book,
            dial=self.network.place("processor").dial,
        )  # fmt: skip
        self.processor.submitter._run = f"{seed % 36**5:05d}"[-5:] + "0"
        tokens = FakeTokens(faults.TOKENS, self.keys)
        self.nodes = {name: self._make_node(name, tokens.beside()) for name in SITES}
        self.sick: set[str] = set()
        """Tokens that are broken, for all nodes."""
        self.spared = ""
        """The token that must stay well, because the others are sick."""
        self.stepping = 0
        """Task steps until a node loses power or is killed; 0: none does."""
        self.at_step: Callable[[], None] = lambda: None
        self.attacker = Attacker(random.Random(f"attacker {seed}"), fields.load(""), self.oracle.sent_again)  # noqa: S311
        if "attacker" in settings.mean_s:
            for node, site in HUB_PORTS:
                self.attacker.listen(self.route(node, f"hub-{site}"), f"{node}/{site}")

    # --- who takes part

    def _make_hub(self) -> Hub:
        given, luck = self.settings, self.luck
        hub_key, own_key, transport = self.keys["fps-hub"], self.keys["fps-own"], self.keys[TRANSPORT]
        bank = Party("alpha", "600002", ("60",), mac_of("aes-cmac", hub_key), mac_of("aes-cmac", own_key),
                     groups=(self.group,))  # fmt: skip
        other = Party("bank", "400001", ("40",), _no_mac, _no_mac, bank=SimulatedBank("accept", seed=given.seed))
        box = KeyBox(
            mac_of=lambda key: mac_of("aes-cmac", key),
            wrap=lambda key: wrap(transport, key),
            in_use={"hub": hub_key, "own": own_key},
        )
        scheme = Scheme(
            fields.load(""), iso.Framing(4, "binary", inclusive=False), [bank, other],
            HubSettings(synchronous=given.synchronous, asynchronous_answer=given.asynchronous_answer,
                        settlement_date=DATE, overlap_s=60.0, acknowledge_within_s=NEWS_WITHIN_S, repeats_max=60,
                        asked_everywhere=True),
            self.oracle.hub_book, self._stamp, boxes={"alpha": box}, draw=luck.randbytes,
        )  # fmt: skip
        return Hub(scheme, self.oracle.hub_book, run="SIMUL0", date=DATE, seed=given.seed)

    def _stamp(self) -> str:
        seconds = BASE_NS // 1_000_000_000 + int(trio.current_time()) + self.hub_stepped_s
        day, rest = divmod(seconds % (86400 * 28), 86400)
        return f"03{day + 1:02d}{rest // 3600:02d}{rest // 60 % 60:02d}{rest % 60:02d}"

    def _make_node(self, name: str, tokens: FakeTokens) -> Node:
        luck = random.Random(f"node {name} {self.settings.seed}")  # noqa: S311
        disk = FakeDisk(seed=luck.randrange(1 << 30))
        self.oracle.disk(name, disk)
        ports = {site: HUB_PORTS[name, site] for site in SITES}
        return Node(name, self.network, disk, tokens, ports, luck, self.say)

    def configuration(self, name: str) -> config.Configuration:
        """A node's configuration."""
        given = self.settings
        tokens = [
            {"name": token, "label": token, "module": "none", "pin_file": "none", "local": token.startswith(name)}
            for token in faults.TOKENS
        ]
        raw = {
            "pair": {"group": self.group, **given.pair},
            "node": {
                "name": name,
                "hub": [{"name": site, "host": f"hub-{site}", "port": HUB_PORTS[name, site]} for site in SITES],
                "token": tokens,
                "journal": {
                    "dir": "journal",
                    "begin_if_none": True,
                    "segment_bytes": given.segment_bytes,
                    "seal_every_s": 20.0,
                },
                "processor": {"url": f"http://processor:{PROCESSOR_PORT}", "tell_pause_max_s": 20.0},
                "volume": {"resource": "fps-simulated"},
                "submissions": {"port": DOORS[name]},
                "ops": {"port": OPS[name], "hosts": [name]},
                "sibling": {"url": f"http://{(other := SITES[name == SITES[0]])}:{OPS[other]}"},
            },
        }
        return msgspec.convert(raw, config.Configuration)

    # --- what happens

    def route(self, one: str, other: str) -> Route:
        """The route between these places."""
        return self.network.route(self.network.place(one), self.network.place(other))

    def say(self, text: str) -> None:
        """Note an event that concerns no payment."""
        self.oracle.said(text)

    @contextmanager
    def trouble(self, what: str, where: str) -> Iterator[None]:
        """Note that something is broken there while the block runs."""
        from_s = trio.current_time()
        self.say(f"{where}: {what} begins")
        try:
            yield
        finally:
            self.oracle.trouble(what, where, from_s, trio.current_time())
            self.say(f"{where}: {what} is over")

    async def serve(self) -> None:
        """Let hub and processor take connections, for ever."""
        async with trio.open_nursery() as nursery:
            for (node, site), port in HUB_PORTS.items():
                listening = await self.network.place(f"hub-{site}").listen("", port, 64)
                serve = partial(self._serve_hub, node, site)
                nursery.start_soon(partial(trio.serve_listeners, serve, listening.listeners))
            listening = await self.network.place("processor").listen("", PROCESSOR_PORT, 64)
            nursery.start_soon(partial(trio.serve_listeners, self.processor.serve, listening.listeners))
            nursery.start_soon(self.processor.submitter.run)
            nursery.start_soon(self.hub.drive)

    async def _serve_hub(self, node: str, site: str, stream: trio.abc.Stream) -> None:
        await self.hub.serve(site, stream, self.hub.scheme.first, self.group, node)

    async def keep(self, node: Node) -> None:
        """Start a node's process, and again when it has ended, as systemd would; repair what needs a person."""
        while True:
            code = await node.live(self.configuration(node.name))
            from_s = trio.current_time()
            self.oracle.ended(node.name, code, node.ended[-1][2], node.ended[-1][3])
            self.oracle.overseen(node.name, node.overseer.silent_s, node.overseer.words)
            if code is ExitCode.JOURNAL:
                storage_faults.repair(self, node)
            await trio.sleep(self.luck.choice((RESTART_S, RESTART_S, 20.0)))
            self.oracle.trouble("down", node.name, from_s, trio.current_time())

    # --- the load

    def start_load(self) -> None:
        given = self.settings
        self.hub.start(given.rate, given.lasts_s, seed=given.seed, payment_type=given.payment_type)
        order = SubmissionOrder(
            "start", rate=given.outbound, duration=given.lasts_s, seed=given.seed,
            targets={self.group: [*DOORS.values()]}, group=self.group,
            type=given.payment_type, date=DATE, wait_s=given.wait_s,
        )  # fmt: skip
        self.processor.submitter.order(msgspec.json.encode(order))

    async def settle(self) -> str:
        """Wait until nothing is under way. When that takes too long, return what still is."""
        began_s = since_s = trio.current_time()
        seen = -1
        while trio.current_time() - began_s < SETTLE_S:
            under_way = self._under_way()
            if self.oracle.events != seen or under_way:
                seen, since_s = self.oracle.events, trio.current_time()
            elif trio.current_time() - since_s >= QUIET_S:
                return ""
            await trio.sleep(LOOK_S)
        return f"after {SETTLE_S:g} s with nothing wrong: {self._under_way() or 'still talking'}"

    def _under_way(self) -> str:
        found = []
        scheme, submitter = self.hub.scheme, self.processor.submitter
        if scheme.outstanding:
            found.append(f"the hub waits for {scheme.outstanding} payments")
        if submitter._open:
            found.append(f"the processor waits for {len(submitter._open)} payments")
        for node in self.nodes.values():
            if not node.serving:
                why = node.gateway.health.ready()[1]["reasons"] if node.gateway is not None else "down"
                found.append(f"{node.name} does not serve: {why}")
            elif node.gateway is not None and (number := node.gateway.engine.in_flight):
                found.append(f"{node.name} has {number} payments in flight")
        return ", ".join(found)


def _no_mac(_: bytes) -> bytes:
    raise AssertionError("nobody talks to a bank of the hub's own")


class _Steps(trio.abc.Instrument):
    """Counts task steps down, so that a fault may happen between any two of them."""

    def __init__(self, world: World) -> None:
        self._world = world

    def after_task_step(self, _task: trio.lowlevel.Task) -> None:
        world = self._world
        if world.stepping:
            world.stepping -= 1
            if not world.stepping:
                world.at_step()


class _Lines(log.Writer):
    """Sends log lines to the oracle."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle

    def write(self, line: bytes) -> None:
        node = NODE.get(None)
        self._oracle.log_line(node.name if node is not None else "", line)

    def close(self, within_s: float = 0.0) -> None:
        pass


async def _lose_patience(scope: trio.CancelScope) -> None:
    began = time.perf_counter()
    while time.perf_counter() - began < WALL_S:  # noqa: ASYNC110 - the wall's clock tells nobody
        await trio.sleep(LOOK_S)
    scope.cancel()


async def _run(settings: Settings) -> Outcome:
    world = World(settings)
    try:
        return await _live_through(world)
    except (Exception, BaseExceptionGroup) as crash:
        raise Crashed(world.oracle.story) from crash


async def _live_through(world: World) -> Outcome:
    failure = ""
    async with trio.open_nursery() as nursery:
        log.configure("info", "json", _Lines(world.oracle), seconds=trio.current_time)
        trio.lowlevel.add_instrument(_Steps(world))
        nursery.start_soon(world.serve)
        for node in world.nodes.values():
            nursery.start_soon(world.keep, node)
        with trio.move_on_after(60):
            while not all(node.serving for node in world.nodes.values()):  # noqa: ASYNC110 - as an operator does
                await trio.sleep(1)
        with trio.CancelScope() as patience:
            nursery.start_soon(_lose_patience, patience)
            world.start_load()
            await faults.weather(world)
            world.say("all is well from here on")
            failure = await world.settle()
        if patience.cancelled_caught:
            failure = f"no end after {WALL_S:g} s by the wall's clock"
        for node in world.nodes.values():
            node.terminate()
        for node in world.nodes.values():
            with trio.move_on_after(60):
                await node.over.wait()
        if not failure:
            world.hub.scheme.end(trio.current_time())
        for node in world.nodes.values():
            storage_faults.restore(node)  # a bit that nobody came to read is no gateway's fault
        simulated_s = trio.current_time()
        nursery.cancel_scope.cancel()
    verdict = world.oracle.finish({name: node.disk for name, node in world.nodes.items()})
    return Outcome(world.settings, verdict, simulated_s, world.oracle.story, failure)


def simulate(settings: Settings) -> Outcome:
    """Run one simulation. The same settings give the same simulation in a process with the same hash seed.

    Raises `Crashed` when a part of the world, or the judge, does what it must not.
    """
    with ExitStack() as stack:
        stack.enter_context(patch.object(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True))
        stack.enter_context(patch.object(daemon, "Gateway", Watched))
        strict, log.strict = log.strict, True
        stack.callback(setattr, log, "strict", strict)
        trio_run._r.seed(settings.seed)
        return trio.run(_run, settings, clock=trio.testing.MockClock(autojump_threshold=0))
