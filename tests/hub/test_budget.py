"""The budget for unproved frames of a link, and the frames not judged yet, without a link."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import config
from gateway.hub.budget import (
    UNJUDGED_BYTES_MAX,
    UNJUDGED_BYTES_MIN,
    UNJUDGED_FRAMES_MAX,
    UNJUDGED_FRAMES_MIN,
    Budget,
    Unjudged,
)
from gateway.signer.queues import VERIFICATIONS_MAX

SMALL = config.Unproved(
    frames_max=10, frames_per_s=1.0, bytes_max=1000, bytes_per_s=100.0, key_change_factor=10.0, pause_s=4.0,
    pause_max_s=60.0,
)  # fmt: skip


@pytest.mark.parametrize(("size", "number"), [(1, 10), (100, 10), (500, 2), (1000, 1)])
def test_a_budget_is_spent_by_frames_or_by_bytes(size: int, number: int) -> None:
    """Whichever is spent first; one frame more is a debt."""
    budget = Budget(SMALL)
    for _ in range(number):
        budget.charge(size, 5.0)
        assert budget.paid_s(5.0) == 5.0
        assert not budget.strained(5.0)
    budget.charge(size, 5.0)
    assert budget.paid_s(5.0) > 5.0
    assert budget.strained(5.0)


def test_a_debt_is_paid_in_time_and_a_strain_lasts_until_the_budget_is_full() -> None:
    budget = Budget(SMALL)
    for _ in range(12):
        budget.charge(50, 0.0)
    assert budget.paid_s(0.0) == 2.0
    assert budget.paid_s(2.0) == 2.0
    assert budget.strained(11.9)
    assert not budget.strained(12.0)
    assert budget.strains == 1


def test_while_keys_change_a_frame_costs_a_fraction() -> None:
    budget = Budget(SMALL)
    for _ in range(100):
        budget.charge(100, 0.0, key_changes=True)
    assert budget.paid_s(0.0) == pytest.approx(0.0)
    budget.charge(100, 0.0, key_changes=True)
    assert budget.paid_s(0.0) > 0.05


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(0, 900)), max_size=60))
def test_whatever_comes_when_a_budget_lets_no_more_through_than_it_says(events: list[tuple[float, int]]) -> None:
    """One who reads only while there is no debt reads the most at once, what was earned since, and one frame more."""
    budget, now_s, frames, size = Budget(SMALL), 100.0, 0, 0
    for pause_s, bytes_ in events:
        now_s += pause_s
        if budget.paid_s(now_s) <= now_s:
            budget.charge(bytes_, now_s)
            frames, size = frames + 1, size + bytes_
    passed_s = now_s - 100.0
    assert frames <= 10 + passed_s + 1 + 1e-6
    assert size <= 1000 + 100 * passed_s + 900 + 1e-3


def test_pauses_grow_up_to_their_limit_and_begin_anew_after_good_conduct() -> None:
    """At their longest, and at their shortest, which is half of that."""
    budget, now_s, pauses = Budget(SMALL), 0.0, list[float]()
    for _ in range(6):
        pauses.append(budget.pause_s(now_s, 1.0))
        now_s += pauses[-1] + 1
    assert pauses == [4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert budget.pause_s(now_s, 0.0) == 30.0
    now_s += 30.0
    assert budget.pause_s(now_s + 59.9, 1.0) == 60.0
    assert budget.pause_s(now_s + 59.9 + 60 + 60, 1.0) == 4.0


# --- frames that nobody has judged


def some(count: int, size: int = 100) -> list[tuple[float, bytes]]:
    return [(0.0, bytes(size))] * count


def test_a_link_that_has_proved_nothing_may_have_little_unjudged() -> None:
    unjudged = Unjudged()
    assert unjudged.take(some(1000)) == UNJUDGED_FRAMES_MIN
    assert unjudged.take(some(1000)) == 0
    unjudged.dropped(100)
    assert unjudged.take(some(1000)) == 1


def test_what_is_proved_opens_the_window_and_one_frame_that_proves_nothing_closes_it() -> None:
    unjudged = Unjudged()
    for _ in range(1000):
        assert unjudged.take(some(1))
        unjudged.proved(100)
    assert unjudged.take(some(5000)) == 1000
    for _ in range(1000):
        unjudged.proved(100)
    assert unjudged.take(some(5000)) == 2000
    unjudged.disproved(100)
    assert unjudged.take(some(5000)) == 0
    for _ in range(1999):
        unjudged.dropped(100)
    assert unjudged.take(some(5000)) == UNJUDGED_FRAMES_MIN


def test_bytes_count_too_and_one_frame_always_fits() -> None:
    unjudged = Unjudged()
    assert unjudged.take(some(100, 8192)) == UNJUDGED_BYTES_MIN // 8192
    assert Unjudged().take(some(2, UNJUDGED_BYTES_MIN + 1)) == 1


@given(
    st.lists(st.tuples(st.sampled_from(["take", "proved", "disproved", "dropped"]), st.integers(1, 9000)), max_size=80)
)
def test_no_more_is_ever_unjudged_than_a_link_may_have(steps: list[tuple[str, int]]) -> None:
    """This is the most by which a budget can be exceeded."""
    unjudged, out = Unjudged(), list[int]()
    for what, size in steps:
        if what == "take":
            frames = some(200, size)
            room = unjudged.frames_max, unjudged.bytes_max
            count = unjudged.take(frames)
            out += [size] * count
            assert not count or (unjudged.frames <= room[0] and unjudged.bytes <= room[1]) or unjudged.frames == 1
        elif out:
            getattr(unjudged, what)(out.pop())
        assert (unjudged.frames, unjudged.bytes) == (len(out), sum(out))
        assert unjudged.frames_max <= UNJUDGED_FRAMES_MAX
        assert unjudged.bytes_max <= UNJUDGED_BYTES_MAX


def test_what_the_links_to_two_sites_may_have_unjudged_fits_into_the_signers_queue() -> None:
    """So no flood makes a frame unavailable that the other link has brought."""
    assert 2 * UNJUDGED_FRAMES_MAX < VERIFICATIONS_MAX
