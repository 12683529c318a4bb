"""The age of bytes after this process did not run."""

import time

import pytest
import trio

from gateway.clock import ELAPSED, ElapsedClock, Now, system_clock
from gateway.machine.standstill import RUNS_EVERY_S, STANDSTILL_S, Gap, Standstill

NOON_NS = 1_792_238_400_000_000_000


def at(mono_s: float, wall_s: float | None = None) -> Now:
    """The moment this many seconds after noon; the wall clock goes along unless said otherwise."""
    return Now(mono_s, NOON_NS + round((mono_s if wall_s is None else wall_s) * 1e9))


@pytest.mark.parametrize(
    ("words", "gap"),
    [
        ([at(10), at(10.1), at(10.2)], Gap(0, 0)),
        ([at(10), at(10.999)], Gap(0, 0)),
        ([at(10), at(13)], Gap(3, 0)),
        ([at(10), at(3610)], Gap(3600, 0)),
        ([at(10), at(3610), at(3610.1)], Gap(0, 0)),
        ([at(10), at(10.1, 13.1)], Gap(0, 3)),
        ([at(10), at(10.1, 8.1)], Gap(0, 0)),
        ([at(10), at(13, 23)], Gap(3, 10)),
    ],
    ids=["runs", "held up", "stopped", "slept", "runs again", "wall ahead", "wall back", "both"],
)
def test_a_gap_between_two_words_is_told_once(words: list[Now], gap: Gap) -> None:
    """By our clock, and by how far the wall clock went ahead of it; a step back is no sleep."""
    standstill = Standstill(words[0])
    for now in words[1:]:
        told = standstill.runs(now)
    assert told == pytest.approx(gap)


def test_what_is_read_after_a_standstill_may_be_as_old_as_that() -> None:
    """Whether the daemon's word comes first or the socket is read first; from its next word on it is fresh."""
    standstill = Standstill(at(10))
    assert standstill.came_s(10.05) == 10.05
    standstill.runs(at(10.1))
    slept_s = 10.1 + 3600
    assert standstill.came_s(slept_s) == 10.1, "read before the daemon's word"
    standstill.runs(at(slept_s))
    assert standstill.came_s(slept_s) == 10.1, "read after it"
    assert standstill.came_s(slept_s + RUNS_EVERY_S / 2) == 10.1
    fresh_s = slept_s + RUNS_EVERY_S
    assert standstill.came_s(fresh_s) == fresh_s


def test_what_was_before_it_begins_is_no_standstill() -> None:
    """A start takes its time, and no socket was open yet: nothing that is read after it is older than that."""
    standstill = Standstill(at(10))
    standstill.begins(at(15))
    assert standstill.runs(at(15.05)) == Gap(0, 0)
    assert standstill.came_s(15.06) == 15.06


def test_below_a_second_nothing_is_older_than_it_is_read() -> None:
    standstill = Standstill(at(10))
    assert standstill.came_s(10 + STANDSTILL_S - 0.001) == 10 + STANDSTILL_S - 0.001


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="this system has no clock that counts its sleep")
def test_the_gateways_clock_counts_the_sleep_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """And trio's deadlines, and our `Now`, go by it."""
    slept_s = 0.0
    real = time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda clock: real(clock) + slept_s * (clock == time.CLOCK_BOOTTIME))

    async def life() -> None:
        nonlocal slept_s
        before = system_clock()
        assert before.mono_s == pytest.approx(real(ELAPSED), abs=60)
        with trio.CancelScope(deadline=before.mono_s + 3000) as scope:
            slept_s = 3600.0
            assert system_clock().mono_s >= before.mono_s + 3600
            await trio.sleep_forever()
        assert scope.cancelled_caught

    trio.run(life, clock=ElapsedClock())
