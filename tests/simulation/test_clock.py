"""A site whose wall clock cannot be right keeps payments away until it is, and the other one serves."""

import json
import random
from typing import Any

import pytest
import trio

from tests.simulation import faults
from tests.simulation.test_volume import CALM
from tests.simulation.world import World, _Lines, simulate

LOOK_S = 3.0
Lines = list[dict[str, Any]]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Lines:
    """What the gateways write into their logs."""
    written: Lines = []
    write = _Lines.write

    def keep(self: _Lines, line: bytes) -> None:
        written.append(json.loads(line))
        write(self, line)

    monkeypatch.setattr(_Lines, "write", keep)
    return written


def said_by(lines: Lines, event: str) -> Lines:
    return [line for line in lines if line["event"] == event]


DAY_S = 86_400


def test_a_clock_that_cannot_be_right_signs_off_and_is_well_again_by_itself(
    monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    """Two days back, three years ahead; an hour back and a day ahead are nothing."""
    seen: dict[str, tuple[bool, bool, str]] = {}

    async def scene(world: World, _luck: random.Random) -> None:
        a, b = world.nodes.values()
        assert a.gateway is not None
        for what, offset_s in (
            ("an hour back", -3600),
            ("right", 0),
            ("two days back", -2 * DAY_S),
            ("right again", 0),
            ("years ahead", 3 * 366 * DAY_S),
            ("and again", 0),
        ):
            with world.trouble("clock", a.name):
                a.offset_ns = offset_s * 10**9
                await trio.sleep(LOOK_S)
                ready, said = a.gateway.health.ready()
                seen[what] = (ready, b.serving, said["parts"]["clock"])
                assert ready or said["reasons"][0] == said["parts"]["clock"]
        await trio.sleep_forever()

    monkeypatch.setitem(faults.FAULTS, "scene", scene)
    outcome = simulate(CALM)
    assert outcome.failure == ""
    assert [i for i in outcome.verdict.invariants if i.violations] == []
    assert seen == {
        "an hour back": (True, True, "ok"),
        "right": (True, True, "ok"),
        "two days back": (False, True, "the wall clock is more than a day earlier than the journal's last record"),
        "right again": (True, True, "ok"),
        "years ahead": (False, True, "the wall clock is years later than the journal's last record"),
        "and again": (True, True, "ok"),
    }
    errors = [line["reason"] for line in said_by(lines, "unready") if "wall clock" in line["reason"]]
    assert len(errors) == 2


def test_a_hub_whose_clock_differs_is_told_of_and_keeps_no_payment_away(
    monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    """A line when it begins, one when it ends; ready all the while."""
    seen: list[tuple[bool, str]] = []

    async def scene(world: World, _luck: random.Random) -> None:
        a, _ = world.nodes.values()
        assert a.gateway is not None
        for stamp in ("0226120000", "0301100030"):
            for link in a.gateway.links.links:
                a.gateway.engine.clocks.heard(link.id, stamp, a.clock())
            await trio.sleep(1.0)
            ready, said = a.gateway.health.ready()
            seen.append((ready, said["parts"]["hub_clock"]))
        await trio.sleep_forever()

    monkeypatch.setitem(faults.FAULTS, "scene", scene)
    outcome = simulate(CALM)
    assert outcome.failure == ""
    assert [i for i in outcome.verdict.invariants if i.violations] == []
    assert seen == [(True, "differs on every link"), (True, "ok")]
    (began,) = said_by(lines, "the hub's clock differs from ours on every link")
    assert began["level"] == "warning"
    assert said_by(lines, "the hub's clock agrees with ours again")
