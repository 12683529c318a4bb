"""The test of the test: each promise, broken on purpose, is seen by the oracle, which sees nothing where none is."""

from functools import cache

import pytest

from loadtest.ledger.oracle import Verdict
from loadtest.ledger.promises import INVARIANTS, NINE, SIMULATED, WITNESSES
from tests.simulation import breakages, canaries, world
from tests.simulation.canaries import CANARIES, Scenario

SEEDS = (1, 2, 3, 4)
"""Tried in turn until the canary is caught."""


def broken(verdict: Verdict) -> dict[str, list[str]]:
    return {invariant.name: invariant.first for invariant in verdict.invariants if invariant.violations}


def simulated(scenario: Scenario, seed: int, canary: str = "") -> dict[str, list[str]]:
    """What is broken in this weather."""
    with canaries.weather(scenario), canaries.canary(canary):
        return broken(world.simulate(canaries.settings(scenario, seed)).verdict)


@cache
def without_canary(name: str, seed: int) -> dict[str, list[str]]:
    """The same without: once for each weather, whichever canary it was for."""
    return simulated(getattr(canaries, name), seed)


def name_of(scenario: Scenario) -> str:
    return next(name for name, value in vars(canaries).items() if value is scenario)


@pytest.mark.parametrize("name", CANARIES)
def test_a_promise_broken_on_purpose_is_seen_and_nothing_is_seen_without_that(name: str) -> None:
    """By the invariant of that name, within few seeds; the same seeds without the canary are clean."""
    scenario = CANARIES[name].scenario
    for seed in SEEDS:
        assert without_canary(name_of(scenario), seed) == {}
        if name in simulated(scenario, seed, name):
            return
    pytest.fail(f"the canary of {name} was not seen in any of seeds {SEEDS}")


def test_a_disk_that_lies_is_seen_by_whatever_must_be_durable_first() -> None:
    """The oracle asks the disk when it held a record, not the gateway, which cannot know."""
    with canaries.LYING_DISK.broken():
        found = broken(world.simulate(canaries.settings(canaries.CALM, 1)).verdict)
    first = {"durable-before-reply", "asked-after-durable", "taken-after-durable", "sent-after-durable"}
    assert first | {"told-what-happened"} <= found.keys()


def test_a_heartbeat_that_waits_for_the_disk_is_seen() -> None:
    """A disk that hangs is the gateway's to see to: a supervisor that restarted it would lose its links for nothing."""
    hung = canaries.settings(canaries.HUNG_DISK, 1)
    assert broken(world.simulate(hung).verdict) == {}
    with canaries.WAITING_HEART.broken():
        found = broken(world.simulate(hung).verdict)
    assert found.keys() == {"stops-rather-than-lies"}
    assert "taken for stuck" in found["stops-rather-than-lies"][0]


def test_every_invariant_has_its_canary_and_every_canary_its_invariant() -> None:
    """Whoever adds a promise breaks it, too."""
    assert CANARIES.keys() == INVARIANTS.keys()


def test_each_of_the_nine_promises_is_judged_by_invariants_and_each_invariant_judges_one() -> None:
    """But for those about hub and processor themselves, who testify."""
    assert len(NINE) == 9
    assert all(NINE.values())
    assert {name for names in NINE.values() for name in names} | set(WITNESSES) == set(INVARIANTS)
    assert set(SIMULATED) <= set(INVARIANTS)


def test_a_canary_leaves_the_gateway_as_it_was() -> None:
    """What follows in this process is judged without it."""
    parts = [*vars(canaries).values(), *vars(breakages).values()]
    before = {(part, key): value for part in parts if isinstance(part, type) for key, value in vars(part).items()}
    for name in CANARIES:
        with canaries.canary(name):
            pass
    after = {(part, key): value for part in parts if isinstance(part, type) for key, value in vars(part).items()}
    assert after == before
