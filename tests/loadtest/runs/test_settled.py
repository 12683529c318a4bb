"""Waiting for every payment's outcome: it ends when all have one, and says so when one never gets it."""

from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from loadtest.hub.control import Control, Service
from loadtest.runs.world import Plan, World, WorldError

WITHIN_S = 20.0


class Hub:
    """A hub that sends for a time, and whose payments get their outcomes later, or never."""

    def __init__(self, loads_s: float, settles_s: float) -> None:
        self._start_s = trio.current_time()
        self._loads_s, self._settles_s = loads_s, settles_s

    async def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        assert request == {"do": "statistics"}
        elapsed_s = trio.current_time() - self._start_s
        return {"loading": elapsed_s < self._loads_s, "outstanding": 3 * (elapsed_s < self._settles_s)}


async def settled(directory: Path, nursery: trio.Nursery, loads_s: float, settles_s: float) -> float:
    """How long the world waited."""
    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(Service(Hub(loads_s, settles_s).handle).serve, theirs)
    world = World(directory, Plan())
    world.hub = Control(ours)
    start_s = trio.current_time()
    try:
        await world.settled(WITHIN_S)
        return trio.current_time() - start_s
    finally:
        await world.hub.aclose()


async def test_it_waits_until_every_payment_has_its_outcome(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """However long the load takes: the limit counts from the last payment that was sent."""
    async with trio.open_nursery() as nursery:
        assert 0 < await settled(tmp_path, nursery, 0, 5) < 6
        assert 105 <= await settled(tmp_path, nursery, 100, 105) < 106


async def test_a_payment_that_never_gets_its_outcome_is_said_in_time(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """With how many there are."""
    async with trio.open_nursery() as nursery:
        with trio.fail_after(2 * WITHIN_S + 30), pytest.raises(WorldError, match="3 payments without an outcome 20 s"):
            await settled(tmp_path, nursery, 30, float("inf"))
