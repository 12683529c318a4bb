"""One of a site's two links stands and brings no answers to payments, or late ones, again and again, in the simulation:
the other one settles them in good time. A gateway that deals by turn and waits, as it did once, is seen.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import Any
from unittest.mock import patch

import pytest
import trio

from gateway.payments import ejection
from loadtest.ledger.oracle import Verdict
from tests.simulation import canaries, faults, world
from tests.simulation.canaries import PAIR, Scenario
from tests.simulation.oracle import Oracle

ANSWER_S = 16.0
"""The hub's time for an answer."""
WEATHER = Scenario(
    {"sick-link": 25.0},
    {"lasts_s": 150.0, "rate": 1.0, "outbound": 5.0, "wait_s": 20.0,
     "pair": {**PAIR, "submit": {"answer_within_s": ANSWER_S}}},
)  # fmt: skip
SEEDS = (2, 5)
LATE_S = 8.0
"""Few payments may take longer: those that left just before it shows what their link is like."""
LATE_SHARE_MAX = 0.03


class Waits:
    """How long each payment took from its submission until its processor was told the outcome."""

    def __init__(self) -> None:
        self.first: dict[str, float] = {}
        self.answered: dict[str, float] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look over the oracle's shoulder."""
        happened = Oracle.happened

        def look(oracle: Oracle, event: Any) -> None:
            if event.event == "submitting":
                self.first.setdefault(event.fpid, trio.current_time())
            elif event.event == "noticed" and event.kind == "SETTLED":
                self.answered.setdefault(event.fpid, trio.current_time())
            happened(oracle, event)

        with patch.object(Oracle, "happened", look):
            yield

    @property
    def all_s(self) -> list[float]:
        """In order."""
        return sorted(self.answered[fpid] - at_s for fpid, at_s in self.first.items() if fpid in self.answered)


def simulated(seed: int) -> tuple[Verdict, list[float]]:
    """What comes of it."""
    waits = Waits()
    with waits.watching(), patch.object(faults, "SICKNESSES", faults.SICKNESSES[1:]):
        outcome = world.simulate(canaries.settings(WEATHER, seed))
    assert not outcome.failure
    return outcome.verdict, waits.all_s


@pytest.mark.parametrize("seed", SEEDS)
def test_payments_are_settled_in_good_time_by_the_other_link(seed: int) -> None:
    """However the one is sick: it loses payments or answers, or answers late. Every promise is kept, too."""
    verdict, waits_s = simulated(seed)
    assert not {one.name: one.first for one in verdict.invariants if one.violations}
    assert len(waits_s) > 500
    assert sum(wait_s > LATE_S for wait_s in waits_s) <= LATE_SHARE_MAX * len(waits_s)
    assert waits_s[-1] < 2 * ANSWER_S


def test_a_gateway_that_judges_no_link_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of what leaves meanwhile goes by the sick link, and waits for as long as the hub may take."""
    monkeypatch.setattr(ejection.Ejection, "judge", lambda self, _links, _now_s: setattr(self, "due_s", inf))
    monkeypatch.setattr(ejection, "AHEAD_MAX", 1 << 30)
    _, waits_s = simulated(SEEDS[0])
    assert sum(wait_s > LATE_S for wait_s in waits_s) > LATE_SHARE_MAX * len(waits_s)
