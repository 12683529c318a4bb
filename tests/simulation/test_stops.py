"""Operators stop and start submitting again and again in the simulation, and drop parked notices."""

from typing import Any
from unittest.mock import patch

from gateway.payments import steps
from gateway.payments.steps import Kind
from gateway.payments.submitting import WHY
from loadtest.ledger.oracle import Verdict
from tests.simulation import canaries, operators, world
from tests.simulation.canaries import Scenario
from tests.simulation.oracle import Oracle

OFTEN = Scenario(
    {"stop": 6.0, "parked": 8.0, "kill": 15.0, "hung-sync": 15.0, "cut": 8.0, "drain": 25.0},
    {"lasts_s": 60.0, "rate": 3.0, "outbound": 5.0},
)
CALM = Scenario({"stop": 6.0})
SEEDS = (4, 6, 8)


def broken(verdict: Verdict) -> dict[str, list[str]]:
    return {invariant.name: invariant.first for invariant in verdict.invariants if invariant.violations}


def test_stops_among_everything_else_keep_every_promise_and_cut_off_what_they_should() -> None:
    """What never left, and what may have left; notices are dropped meanwhile."""
    reasons: set[tuple[Kind, str]] = set()
    event = Oracle._event

    def look(oracle: Oracle, record: Any) -> Any:
        if record.kind in {Kind.UNSENT, Kind.UNKNOWN, Kind.DROPPED}:
            body = steps.unpack(record.kind, record.body)
            assert isinstance(body, steps.Unsettled | steps.Dropped)
            reasons.add((record.kind, body.reason))
        return event(oracle, record)

    with patch.object(Oracle, "_event", look):
        for seed in SEEDS:
            outcome = world.simulate(canaries.settings(OFTEN, seed))
            assert (outcome.failure, broken(outcome.verdict)) == ("", {})
    assert {(Kind.UNSENT, "stopped"), (Kind.UNKNOWN, "stopped"), (Kind.DROPPED, "settled by hand")} <= reasons


def test_whoever_would_submit_hears_of_a_stop_and_nobody_else_is_kept_away() -> None:
    """`/ready` at the door is 503 and says why; on the ops port it is not, and the part of it is not well."""
    seen: list[tuple[bool, tuple[str, ...], bool, str, bool]] = []
    stop = operators._stop

    async def look(it: world.World, node: Any) -> None:
        await stop(it, node)
        health = node.gateway.health
        presented, (ready, said) = health.presented(), health.ready()
        part = said["parts"]["submitting"]
        seen.append((presented.ready, presented.reasons, ready, part, health.well()["submitting"]))

    with patch.object(operators, "_stop", look):
        assert broken(world.simulate(canaries.settings(CALM, 1)).verdict) == {}
    assert set(seen) == {(False, (WHY,), True, WHY, False)}
