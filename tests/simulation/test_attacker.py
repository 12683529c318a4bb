"""Somebody on the path, again and again, in the simulation: no promise is broken. A gateway that believes what no key
has signed is seen.
"""

import random
from typing import Any

import pytest
import trio

from gateway.wire.fields import load
from loadtest.hub.keys import mac_of
from loadtest.ledger.oracle import Verdict
from loadtest.traffic.payments import Generator
from tests.simulation import canaries, world
from tests.simulation.attacker import KINDS, Attacker, framed
from tests.simulation.canaries import Scenario
from tests.simulation.lines import Clock, Heard, Lines

MIXED = Scenario({"attacker": 6.0, "cut": 30.0, "kill": 60.0, "processor": 30.0, "bank": 30.0}, {"lasts_s": 60.0})
REPEATS = Scenario({"attacker": 4.0}, {"lasts_s": 60.0, "synchronous": False, "payment_type": "30"})
SEEDS = (1, 2, 3, 4)


def simulated(scenario: Scenario, seed: int) -> Verdict:
    """What comes of it."""
    with canaries.weather(scenario):
        outcome = world.simulate(canaries.settings(scenario, seed))
    assert not outcome.failure
    return outcome.verdict


@pytest.mark.parametrize("scenario", [canaries.ATTACKED, MIXED, REPEATS], ids=["alone", "with others", "asynchronous"])
def test_with_somebody_on_the_path_every_promise_is_kept(scenario: Scenario) -> None:
    verdict = simulated(scenario, SEEDS[0])
    assert not {one.name: one.first for one in verdict.invariants if one.violations}
    assert verdict.sent > 50


def test_a_gateway_that_believes_what_no_key_has_signed_is_seen() -> None:
    """It tells its processor of outcomes that nobody has decided, and asks about payments that nobody made."""
    found: set[str] = set()
    assert not {one.name for one in simulated(canaries.FORGERIES, SEEDS[0]).invariants if one.violations}
    with canaries.CREDULOUS.broken():
        for seed in SEEDS:
            found |= {one.name for one in simulated(canaries.CREDULOUS.scenario, seed).invariants if one.violations}
            if found >= {"settled-as-answered", "received-once", "content-kept"}:
                return
    pytest.fail(f"only these: {found}")


# --- what they can do, and what they cannot


class Bench(Lines):
    """A line with an attacker, from a gateway at a to a hub at b."""

    def __init__(self) -> None:
        super().__init__()
        self.b = self.network.place("hub-a")
        self.route = self.network.route(self.a, self.b)
        self.attacker = Attacker(random.Random(7), load(""))  # noqa: S311 - a simulation
        self.attacker.listen(self.route)


def payments(count: int, key: bytes = b"k" * 16) -> list[bytes]:
    """With MACs by this key, which is the hub's if it is not said."""
    generator, sign = Generator(load(""), "ATTACK", "20260301", seed=1), mac_of("aes-cmac", key)
    return [made.covered + sign(made.covered) for made in (generator.make() for _ in range(count))]


async def sent(bench: Bench, bodies: list[bytes], size: int = 100) -> bytes:
    """What arrives of these frames, sent by the hub in pieces."""
    await bench.open()
    ours, theirs = await bench.connected()
    async with trio.open_nursery() as nursery:
        heard = Heard(nursery, ours)
        await ours.send_all(b"".join(map(framed, payments(10, b"o" * 16))))
        stream = b"".join(map(framed, bodies))
        for at in range(0, len(stream), size):
            await theirs.send_all(stream[at : at + size])
        await trio.sleep(60)
        bench.attacker.release()
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    return bytes(heard.data)


@pytest.mark.parametrize("size", [1, 100, 5000])
async def test_who_only_listens_changes_nothing(autojump_clock: Clock, size: int) -> None:
    bodies = payments(20)
    assert await sent(Bench(), bodies, size) == b"".join(map(framed, bodies))


@pytest.mark.parametrize("kind", sorted({*KINDS, "delay"} - {"cut"}))
async def test_nothing_that_they_send_is_authentic_but_what_was_sent_before(autojump_clock: Clock, kind: str) -> None:
    """Whatever they do: a body that arrives is one of the hub's, or its MAC is wrong, or it has none."""
    bench, bodies, sign = Bench(), payments(60), mac_of("aes-cmac", b"k" * 16)
    with bench.attacker.at_work(bench.route, (kind,)):
        data = await sent(bench, bodies)
    arrived: list[bytes] = []
    while data:
        end = 4 + int.from_bytes(data[:4], "big")
        arrived.append(data[4:end])
        data = data[end:]
    assert arrived != bodies, "something was done"
    for body in arrived:
        if body not in bodies:
            assert not is_authentic(body, sign)


def is_authentic(body: bytes, sign: Any) -> bool:
    return len(body) > 16 and sign(body[:-16]) == body[-16:]
