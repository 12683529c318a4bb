"""Three of four tokens sick at once, again and again, in the simulation: nobody may notice; and a pool that waits for a
token that hangs, as it did once, is seen.
"""

import pytest

from gateway.signer import choice, pool
from loadtest.ledger import Verdict
from tests.simulation import canaries, world
from tests.simulation.canaries import PAIR, Scenario

DEADLINES = {"stand_in_after_s": 2.0, "reply_within_s": 9.0, "hub_patience_s": 10.0}
WEATHER = Scenario(
    {"most-tokens": 6.0, "token": 8.0},
    {"lasts_s": 60.0, "rate": 5.0, "outbound": 5.0, "pair": {**PAIR, "deadlines": DEADLINES}},
)
SEEDS = (3, 4, 9)
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


def broken(verdict: Verdict) -> dict[str, list[str]]:
    return {one.name: one.first for one in verdict.invariants if one.violations}
