"""The memory of what was decided: packed, forgotten by the business day, and rebuilt from the journal."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import days_spanned
from gateway.memory.days import SPARE_DAYS
from gateway.payments import steps
from gateway.payments.inbound_law import State
from gateway.payments.outcomes import Outcome, Outcomes, Replay, unseen
from gateway.payments.steps import Kind

DAY_NS = 86_400 * 10**9
CONTENT = b"12345678"


def ns(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp()) * 10**9


outcomes = st.builds(
    Outcome,
    state=st.sampled_from(State),
    code=st.one_of(st.just(""), st.integers(0, 9999).map("{:04}".format)),
    field=st.one_of(st.just(""), st.integers(0, 999).map("{:03}".format)),
    stood_in=st.booleans(),
    content=st.binary(min_size=8, max_size=8),
)


@given(outcomes)
def test_what_is_put_is_got(outcome: Outcome) -> None:
    memory = Outcomes(7)
    memory.put("fpid", outcome, 0)
    assert memory.get("fpid") == outcome
    assert memory.get("other") is None


@pytest.mark.parametrize(
    "wrong",
    [{"code": "10000"}, {"code": "-001"}, {"code": "x"}, {"field": "1000"}, {"field": "-1"}, {"content": b"short"}],
)
def test_what_is_no_outcome_is_not_remembered(wrong: dict[str, Any]) -> None:
    """It can only come out of a journal that is not ours: who reads that hears of it."""
    memory = Outcomes(7)
    memory.put("before", unseen(State.REVERSED), 0)
    with pytest.raises(ValueError, match=r"code|literal|shear"):
        memory.put("fpid", Outcome(State.REPLIED, "0000", "", stood_in=False, content=CONTENT)._replace(**wrong), 0)
    assert memory.get("fpid") is None
    assert memory.get("before") == unseen(State.REVERSED)


def test_an_outcome_is_kept_for_its_business_days_and_then_forgotten() -> None:
    """Seven business days and the weekends in them, twelve days with today, some to spare; then the first one goes."""
    memory = Outcomes(7)
    first, kept = date(2026, 11, 2), 12 + SPARE_DAYS
    for number in range(kept):
        memory.put(f"day {number}", unseen(State.REVERSED), ns(first + timedelta(days=number)))
    assert memory.get("day 0") is not None
    memory.put(f"day {kept}", unseen(State.REVERSED), ns(first + timedelta(days=kept)))
    assert memory.get("day 0") is None
    assert memory.get("day 1") is not None


@pytest.mark.parametrize("business_days", range(1, 30))
def test_the_days_spanned_are_enough_whatever_the_weekday(business_days: int) -> None:
    for weekday in range(7):
        day = today = date(2026, 11, 2) + timedelta(days=weekday)
        left = business_days
        while left:
            day -= timedelta(days=1)
            left -= day.weekday() < 5
        assert (today - day).days + 1 <= days_spanned(business_days)


def test_an_outcome_that_changes_on_another_day_is_one_outcome_still() -> None:
    memory = Outcomes(7)
    memory.put("f", Outcome(State.REPLIED, "0000", "", stood_in=False, content=CONTENT), ns(date(2026, 11, 9)))
    memory.put("g", unseen(State.REVERSED), ns(date(2026, 11, 10)))
    memory.put("f", Outcome(State.REVERSED, "0000", "", stood_in=False, content=CONTENT), ns(date(2026, 11, 10)))
    found = memory.get("f")
    assert found is not None
    assert found.state is State.REVERSED
    assert len(memory) == 2


def test_a_clock_that_steps_forgets_nothing() -> None:
    """Neither back, nor ahead and back, nor ahead for good after the machine was switched on with an old date."""
    memory = Outcomes(7)
    for fpid, day in (("now", 20), ("back", 1), ("ahead", 30), ("again", 20), ("later", 21)):
        memory.put(fpid, unseen(State.REVERSED), ns(date(2026, 1 if fpid == "back" else 11, day)))
    assert all(memory.get(fpid) for fpid in ("now", "back", "ahead", "again", "later"))


def test_what_is_decided_while_the_clock_is_wrong_is_kept_as_long_as_anything_else() -> None:
    """Back to a day that is still known, and right again: what was decided meanwhile does not go with the old day."""
    memory = Outcomes(7)
    first, kept = date(2026, 11, 2), 12 + SPARE_DAYS
    for number in range(kept):
        memory.put(f"day {number}", unseen(State.REVERSED), ns(first + timedelta(days=number)))
    memory.put("meanwhile", unseen(State.REVERSED), ns(first))
    memory.put("right again", unseen(State.REVERSED), ns(first + timedelta(days=kept - 1)))
    for number in range(kept, kept + 5):
        memory.put(f"day {number}", unseen(State.REVERSED), ns(first + timedelta(days=number)))
    assert memory.get("meanwhile") is not None


def decision(code: str = "0000") -> bytes:
    return steps.pack(steps.Decision(code, "", CONTENT, b"reply"))


def test_replay_finds_what_was_left_between_two_steps() -> None:
    """Received and undecided, decided and unreplied, replied: each is found as what it is."""
    memory = Outcomes(7)
    replay = Replay(memory)
    replay.record(Kind.STARTED, 0, "", b"")
    for fpid in ("undecided", "unreplied", "replied"):
        replay.record(Kind.RECEIVED, 0, fpid, b"raw " + fpid.encode())
    for fpid in ("unreplied", "replied"):
        replay.record(Kind.ANSWERED, 0, fpid, decision())
    replay.record(Kind.REPLIED, 0, "replied", b"")
    assert list(replay.unfinished) == ["undecided", "unreplied"]
    assert replay.unfinished["undecided"].outcome is None
    assert replay.unfinished["undecided"].request == b"raw undecided"
    left = replay.unfinished["unreplied"].outcome
    assert left is not None
    assert left.code == "0000"
    assert not replay.clean


def test_replay_remembers_reversals_and_orphans() -> None:
    memory = Outcomes(7)
    replay = Replay(memory)
    replay.record(Kind.RECEIVED, 0, "a", b"raw")
    replay.record(Kind.STOOD_IN, 0, "a", decision("0083"))
    replay.record(Kind.UNDELIVERED, 0, "a", steps.pack(steps.Undelivered("link-lost", "0083", b"raw")))
    undelivered = memory.get("a")
    assert undelivered is not None
    assert (undelivered.state, undelivered.stood_in) == (State.UNDELIVERED, True)
    replay.record(Kind.REVERSED, 0, "a", steps.pack(steps.Reversal(b"m", "UNDELIVERED", "0083", CONTENT)))
    replay.record(Kind.REVERSED, 0, "b", steps.pack(steps.Reversal(b"m", "NEW", "", b"\0" * 8)))
    replay.record(Kind.RECEIVED, 0, "c", b"raw")
    replay.record(Kind.ORPHANED, 0, "c", steps.pack(steps.Orphan(b"raw", CONTENT)))
    states = {fpid: found.state for fpid in "abc" if (found := memory.get(fpid))}
    assert states == {"a": State.REVERSED, "b": State.REVERSED, "c": State.ORPHANED}
    replay.record(Kind.RECEIVED, 0, "d", b"raw")
    replay.record(Kind.DECLINED, 0, "d", decision("1909"))
    replay.record(Kind.REPLIED, 0, "d", b"")
    assert memory.get("d") == Outcome(State.REPLIED, "1909", "", stood_in=False, content=CONTENT)
    replay.record(Kind.RECEIVED, 0, "e", b"raw")
    replay.record(Kind.UNANSWERED, 0, "e", steps.pack(steps.Orphan(b"raw", CONTENT)))
    assert memory.get("e") == Outcome(State.ORPHANED, "", "", stood_in=False, content=CONTENT)
    replay.record(Kind.RECEIVED, 0, "f", b"raw")
    replay.record(Kind.OVERRULED, 0, "f", steps.pack(steps.Late("1114", "0000", b"raw")))
    replay.record(Kind.ANSWERED, 0, "f", decision("0000"))
    replay.record(Kind.REPLIED, 0, "f", b"")
    assert memory.get("f") == Outcome(State.REPLIED, "0000", "", stood_in=False, content=CONTENT)
    assert not replay.unfinished
    b = memory.get("b")
    assert b is not None
    assert not b.seen
    replay.record(Kind.STOPPED, 0, "", b"")
    assert replay.clean
