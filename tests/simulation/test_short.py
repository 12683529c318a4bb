"""A process without a descriptor left, again and again, in the simulation: no promise is broken, and no journal blamed.

A gateway that takes it for a failure of the disk, as it did once, is seen.
"""

import pytest

from gateway.journal import committer, cursor, writer
from loadtest.ledger.oracle import Verdict
from tests.simulation import canaries, world
from tests.simulation.canaries import Scenario

WEATHER = Scenario({"short": 15.0, "kill": 60.0}, {"lasts_s": 150.0, "segment_bytes": 65536})
SEEDS = (1, 2, 3)


def simulated(seed: int) -> Verdict:
    """What comes of it."""
    outcome = world.simulate(canaries.settings(WEATHER, seed))
    assert not outcome.failure
    return outcome.verdict


@pytest.mark.parametrize("seed", SEEDS)
def test_a_process_that_is_short_of_descriptors_keeps_every_promise(seed: int) -> None:
    verdict = simulated(seed)
    assert not {one.name: one.first for one in verdict.invariants if one.violations}
    assert verdict.sent > 100


def test_a_shortage_that_is_taken_for_a_failure_of_the_disk_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (committer, cursor, writer):
        monkeypatch.setattr(module, "is_shortage", lambda _error: False)
    broken = {one.name for seed in SEEDS for one in simulated(seed).invariants if one.violations}
    assert "stops-rather-than-lies" in broken
