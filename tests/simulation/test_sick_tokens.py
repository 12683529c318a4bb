"""Three of four tokens sick at once, again and again, in the simulation: nobody may notice; and a pool that waits for a
token that hangs, as it did once, is seen. Then the fourth is lost when the others are well again, which may be noticed,
but not for long.
"""

import random
from typing import Any

import msgspec
import pytest
import trio

from gateway.signer import breaker, choice, pool
from loadtest.ledger.oracle import Verdict
from tests.simulation import canaries, faults, world
from tests.simulation.canaries import PAIR, Scenario
from tests.simulation.faults import FOUND_S
from tests.simulation.world import World

DEADLINES = {"stand_in_after_s": 1.5, "reply_within_s": 9.0, "hub_patience_s": 10.0}
"""So that two tokens that hang, each for its whole second, are too many."""
WEATHER = Scenario(
    {"most-tokens": 6.0, "token": 8.0},
    {"lasts_s": 60.0, "rate": 5.0, "outbound": 5.0, "pair": {**PAIR, "deadlines": DEADLINES}},
)
SEEDS = (2, 6, 10)
"""Where such a pool is seen."""


def simulated(seed: int) -> Verdict:
    """What comes of it."""
    outcome = world.simulate(canaries.settings(WEATHER, seed))
    assert not outcome.failure
    return outcome.verdict


@pytest.mark.parametrize("seed", SEEDS)
def test_no_payment_is_stood_in_for_and_none_is_refused(seed: int) -> None:
    """Whichever three it is, and however: slow, hung, crashed, refusing or gone."""
    verdict = simulated(seed)
    assert not broken(verdict)
    assert verdict.accounts["answered"] == verdict.sent > 0
    assert not verdict.figures.get("steps STOOD_IN")
    assert not verdict.figures.get("submissions unavailable")


def test_a_pool_that_waits_for_tokens_that_hang_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has the payment for its whole second, one after the other; then it is too late to ask the processor."""
    monkeypatch.setattr(pool, "LATE_S", 1e9)
    monkeypatch.setattr(choice, "ALIKE_S", 1e9)
    monkeypatch.setattr(choice, "FAR_S", 1e9)
    assert any("asked-first" in broken(simulated(seed)) for seed in SEEDS)


class Bad(random.Random):
    """The luck by which a-1 is gone for a minute."""

    def choice(self, given: Any) -> Any:
        return "a-1" if "a-1" in given else "disappear" if "disappear" in given else super().choice(given)

    def expovariate(self, _lambd: float = 1.0) -> float:
        return 60.0


LONG_S, SHORT_S = 5 * breaker.PAUSE_MAX_S, 1.0
"""A pause after so long an absence has long been over, or has just begun, where none may be longer than a second."""


def without_the_last(monkeypatch: pytest.MonkeyPatch, seed: int, away_s: float) -> tuple[Verdict, list[bool]]:
    """Three tokens are away, and well again, and the gateways do not know that when the fourth goes, too: what comes of
    it, and whether each of them serves soon.
    """
    serve: list[bool] = []

    async def scene(world: World, _luck: random.Random) -> None:
        await trio.sleep(10.0)  # of links that are newer than some seconds the judge expects nothing
        others = [node.tokens[name] for node in world.nodes.values() for name in faults.TOKENS if name != "a-1"]
        for token in others:
            token.crash()
            token.disappear()
        await trio.sleep(away_s)
        for token in others:
            token.come_back()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(faults.token, world, Bad())
            await trio.sleep(FOUND_S)
            serve.extend(node.serving for node in world.nodes.values())
        await trio.sleep_forever()

    monkeypatch.setitem(faults.FAULTS, "scene", scene)
    given = canaries.settings(WEATHER, seed)
    outcome = world.simulate(
        msgspec.structs.replace(given, lasts_s=away_s + 20.0, mean_s={"scene": 0.001}, rate=1.0, outbound=10.0)
    )
    assert not outcome.failure
    return outcome.verdict, serve


@pytest.mark.parametrize("away_s", [LONG_S, SHORT_S])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_last_token_may_be_lost_when_others_are_well(
    monkeypatch: pytest.MonkeyPatch, seed: int, away_s: float
) -> None:
    """They are found by then, and nothing but that moment is excused."""
    verdict, serve = without_the_last(monkeypatch, seed, away_s)
    assert not broken(verdict)
    assert serve == [True, True]


def test_the_moment_in_which_no_token_is_known_to_be_well_is_excused_where_the_world_makes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The judge sees what happens in it: the world could say nothing only where the gateway could do better."""
    monkeypatch.setattr(faults, "FOUND_S", -1e9)
    assert any("always-taken" in broken(without_the_last(monkeypatch, seed, SHORT_S)[0]) for seed in SEEDS)


def test_a_pool_that_sits_out_its_pauses_without_any_token_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it did once: well tokens are left alone for half a minute while both sites serve nobody."""
    monkeypatch.setattr(breaker, "PAUSE_ALONE_MAX_S", breaker.PAUSE_MAX_S)
    assert not all(all(without_the_last(monkeypatch, seed, LONG_S)[1]) for seed in SEEDS)


def broken(verdict: Verdict) -> dict[str, list[str]]:
    return {one.name: one.first for one in verdict.invariants if one.violations}
