"""Arrivals are an open model: fixed in advance, whatever happens to what was sent."""

import math
from itertools import pairwise

import pytest

from loadtest.traffic.arrivals import Schedule


def test_constant_arrivals_are_evenly_spaced_and_stop_at_the_end() -> None:
    """Ten a second for a second are ten, the first at once, none at or after the end."""
    schedule = Schedule(10, 1.0, 100.0, model="constant")
    assert schedule.due(200.0) == pytest.approx([100 + index / 10 for index in range(10)])
    assert schedule.next_s == math.inf
    assert schedule.due(300.0) == []


def test_a_late_caller_gets_everything_that_was_due_meanwhile() -> None:
    """No coordinated omission: a stall of the sender drops no arrival and moves none."""
    calm, stalled = (Schedule(1000, 1.0, 0.0, seed=7) for _ in range(2))
    steps = [time for tick in range(1001) for time in calm.due(tick / 1000)]
    assert stalled.due(1.0) == steps


def test_poisson_arrivals_have_the_rate_and_the_spread() -> None:
    """The mean gap is 1/rate and so is its deviation; the same seed gives the same times, another seed others."""
    times = Schedule(500, 100.0, 0.0, seed=3).due(100.0)
    gaps = [b - a for a, b in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    deviation = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    assert mean == pytest.approx(1 / 500, rel=0.02)
    assert deviation == pytest.approx(mean, rel=0.05)
    assert Schedule(500, 100.0, 0.0, seed=3).due(100.0) == times
    assert Schedule(500, 100.0, 0.0, seed=4).due(100.0) != times


def test_next_is_the_first_that_due_has_not_given() -> None:
    """A sender can sleep until then, and finds it due."""
    schedule = Schedule(50, 2.0, 0.0, seed=1)
    assert schedule.due(schedule.next_s - 1e-9) == []
    at = schedule.next_s
    assert schedule.due(at) == [at]


@pytest.mark.parametrize(("rate", "duration"), [(0.0, 1.0), (-1.0, 1.0), (math.inf, 1.0), (math.nan, 1.0), (1.0, -1.0)])
def test_a_schedule_that_makes_no_sense_is_refused(rate: float, duration: float) -> None:
    """Rather than sending nothing, or for ever in one instant."""
    with pytest.raises(ValueError, match="rate above 0"):
        Schedule(rate, duration, 0.0)
