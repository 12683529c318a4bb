"""A campaign of seeds goes on whatever one of them does, and says which one it was. With workers as in a real one."""

import os
import random
import re
import signal
import subprocess
import sys

import msgspec
import pytest

from tests.rare_places import TOP
from tests.simulation import __main__, campaign, faults, seeds
from tests.simulation.oracle import Oracle
from tests.simulation.seeds import Result, run_seed
from tests.simulation.settings import draw
from tests.simulation.world import World

DIES, FAILS, LAST = 3, 5, 12
CALM = msgspec.structs.replace(
    draw(3), lasts_s=10.0, rate=1.0, outbound=1.0, mean_s={"scene": 0.001}, pair={}, payment_type="10"
)


def kept(seed: int) -> Result:
    return Result(seed, {}, "", [], 1.0, 0.1, 10, {"pid": os.getpid()})


def some_die(seed: int) -> Result:
    """A seed of a campaign: one takes its process with it, one fails, the others are kept."""
    if seed == DIES:
        os.kill(os.getpid(), signal.SIGKILL)
    if seed == FAILS:
        return Result.failed(seed, "crashed", 0.1)
    return kept(seed)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_seed_whose_process_dies_is_named_and_costs_no_other_one(jobs: int) -> None:
    """Whichever else runs at that moment."""
    told: list[Result] = []
    campaign.run(iter(range(LAST)), some_die, jobs, told.append)
    assert sorted(result.seed for result in told) == list(range(LAST))
    assert {result.seed: result.failure for result in told if not result.ok} == {
        DIES: "its process died: exit code -9",
        FAILS: "crashed",
    }


def test_a_process_has_so_many_seeds_and_none_after_a_crash() -> None:
    """A crash may have left anything behind; and what a library keeps for ever is given back."""
    told: list[Result] = []
    campaign.run(iter(range(DIES + 1, DIES + 1 + LAST)), some_die, 1, told.append)
    pids = [result.figures["pid"] for result in told if result.ok]
    assert pids.count(pids[0]) == FAILS - DIES - 1
    assert pids.count(pids[1]) == campaign.SEEDS_MAX
    assert len({*pids}) == 3


def ends_afterwards(seed: int) -> Result:
    """Each second seed's process dies when it is told already: between two seeds."""
    if seed % 2:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 1e-3)
    return kept(seed)


def test_a_process_that_dies_between_two_seeds_ends_no_campaign() -> None:
    """Whether it is found out before the next seed is given to it or after."""
    told: list[Result] = []
    campaign.run(iter(range(LAST)), ends_afterwards, 2, told.append)
    assert sorted(result.seed for result in told) == list(range(LAST))


def hangs(seed: int) -> Result:
    if seed == DIES:
        signal.pause()
    return kept(seed)


def test_a_seed_without_an_end_is_ended_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands still where its own alarm is not heard."""
    monkeypatch.setattr(campaign, "OVERDUE_S", 0.0)
    told: list[Result] = []
    campaign.run(iter([DIES]), hangs, 1, told.append)
    assert [(result.seed, result.failure) for result in told] == [(DIES, "its process died: exit code -9")]


def interrupts(seed: int) -> Result:
    """Ctrl-C comes while this one runs."""
    if seed == DIES:
        os.kill(os.getppid(), signal.SIGINT)
        signal.pause()
    return kept(seed)


def test_an_interrupted_campaign_ends_its_workers_and_keeps_what_was_told() -> None:
    told: list[Result] = []
    with pytest.raises(KeyboardInterrupt):
        campaign.run(iter(range(LAST)), interrupts, 1, told.append)
    assert [result.seed for result in told] == list(range(DIES))
    with pytest.raises(ProcessLookupError):
        os.kill(told[0].figures["pid"], 0)


def crashing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A world with a bug of its own."""

    async def scene(_world: World, _luck: random.Random) -> None:
        raise KeyError("a bug of the world")

    monkeypatch.setitem(faults.FAULTS, "scene", scene)
    monkeypatch.setattr(seeds, "draw", lambda _seed: CALM)


def test_a_world_that_crashes_is_a_seed_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With where it was; and with the story so far, where that is asked for."""
    crashing(monkeypatch)
    result = run_seed(7, narrate=True)
    assert (result.seed, result.ok) == (7, False)
    assert "KeyError: 'a bug of the world'" in result.failure
    assert "in scene" in result.failure
    assert any("hub" in line and "connected" in line for line in result.story)


def test_a_judge_that_crashes_is_a_seed_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def verdict(*_: object) -> None:
        raise IndexError("a bug of the judge")

    monkeypatch.setattr(seeds, "draw", lambda _seed: msgspec.structs.replace(CALM, mean_s={}))
    monkeypatch.setattr(Oracle, "finish", verdict)
    assert "IndexError: a bug of the judge" in run_seed(7).failure


def test_a_world_without_an_end_is_a_seed_that_failed_wherever_the_alarm_is_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also in a task of a process, which ends for any error of its own and is started again."""

    async def live(*_: object, **_more: object) -> None:
        signal.raise_signal(signal.SIGALRM)

    monkeypatch.setattr(seeds, "draw", lambda _seed: msgspec.structs.replace(CALM, mean_s={}))
    monkeypatch.setattr("gateway.daemon.run", live)
    assert f"no end after {seeds.SEED_WITHIN_S} s" in run_seed(7).failure


def test_an_interrupted_campaign_says_what_was_run() -> None:
    """By its own account: how far it is while it runs, and what it came to."""
    command = [sys.executable, "-m", "tests.simulation", "--seeds", "1000:1100", "--jobs", "1"]
    with subprocess.Popen(command, cwd=TOP, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        first = running.stdout.readline()
        running.send_signal(signal.SIGINT)
        rest = running.stdout.read()
    assert re.match(r"\[1 of 100, 0 broken, \d+ min left] seed 1000: kept, ", first)
    assert re.search(r"^\d seeds, \d+ payments, ", rest, re.MULTILINE)
    assert running.returncode == 130


@pytest.mark.parametrize(
    ("arguments", "seeds_run"),
    [
        (["--count", "1000"], 1000),
        (["--seeds", "3:7"], 4),
        (["--count", "1000", "--for", "0"], 0),
        (["--random", "--for", "0"], 0),
    ],
)
def test_a_campaign_has_as_many_seeds_as_was_said(arguments: list[str], seeds_run: int) -> None:
    """None of them twice; and no more once the time is over."""
    assert len({*__main__.seeds_of(__main__.options_of(arguments))}) == seeds_run
