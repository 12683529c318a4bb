"""What is remembered of payments is what a dictionary for each day would hold, whatever the clock shows."""

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import days_spanned
from gateway.memory.days import SPARE_DAYS, Days
from gateway.payments import inbound_law, outbound_law, submissions
from gateway.payments.outcomes import Outcome, Outcomes
from gateway.payments.submissions import Known, Submissions
from gateway.payments.work import Standing

DAY_NS = 86_400 * 10**9
CONTENT = b"12345678"


class PlainDays:
    """A dictionary for each day: to be compared with."""

    def __init__(self, days: int) -> None:
        self.days_max = days + SPARE_DAYS
        self.days: dict[int, dict[str, Any]] = {}

    def put(self, name: str, value: Any, day: int) -> None:
        self.days[day] = self.days.pop(day, {})
        while len(self.days) > self.days_max:
            del self.days[next(iter(self.days))]
        for names in self.days.values():
            names.pop(name, None)
        self.days[day][name] = value

    def all(self) -> dict[str, Any]:
        return {name: value for names in self.days.values() for name, value in names.items()}


# by steps of a day or so, with a clock that is wrong now and then
steps_of_days = st.one_of(st.integers(0, 2), st.integers(-30, 30))
puts = st.lists(st.tuples(st.integers(0, 40), steps_of_days, st.integers(0, 5)), max_size=120)


@given(puts)
def test_outcomes_are_kept_as_by_dictionaries(events: list[tuple[int, int, int]]) -> None:
    memory, plain, day = Outcomes(1), PlainDays(days_spanned(1)), 1000
    for number, step, code in events:
        day += step
        outcome = Outcome(inbound_law.State.REPLIED, f"{code:04}", "", stood_in=False, content=CONTENT)
        memory.put(str(number), outcome, day * DAY_NS)
        plain.put(str(number), outcome, day)
    kept = plain.all()
    assert {str(number): memory.get(str(number)) for number in range(41)} == {
        str(number): kept.get(str(number)) for number in range(41)
    }
    assert len(memory) == len(kept)


@given(puts)
def test_submissions_are_kept_as_by_dictionaries(events: list[tuple[int, int, int]]) -> None:
    """Under both names, and the days' texts go with them."""
    memory, plain, day = Submissions(1), PlainDays(days_spanned(1)), 1000
    for number, step, code in events:
        day += step
        known = Known(f"k{number}", CONTENT, Standing(f"f{number}", outbound_law.State.SETTLED, f"{code:04}"))
        memory.put(known, day * DAY_NS)
        plain.put(str(number), known, day)
    kept = plain.all()
    for number in range(41):
        assert memory.of_key(f"k{number}") == memory.of_fpid(f"f{number}") == kept.get(str(number))
    assert len(memory) == len(kept)
    assert len(memory._days) == len(plain.days)


def test_a_mark_that_was_dropped_is_not_used_again_soon() -> None:
    """What goes by it may take its time to leave."""
    dropped: list[int] = []
    days = Days(12, dropped.append)
    for day in range(1000):
        mark = days.mark(day * DAY_NS)
        assert 0 <= mark < 256
        assert mark not in dropped[-200:]
    assert len(dropped) == 1000 - 12 - SPARE_DAYS


names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=64)
short = st.one_of(st.just(""), names)
FIELDS: dict[str, st.SearchStrategy[Any]] = dict.fromkeys(Standing.__struct_fields__, short) | {
    "fpid": st.one_of(names, st.text(min_size=1, max_size=42)),
    "state": st.sampled_from([outbound_law.State.SETTLED, outbound_law.State.UNKNOWN, outbound_law.State.UNSENT]),
}
"""All there are, so that none is forgotten."""
standings = st.builds(Standing, **FIELDS)
knowns = st.builds(Known, key=names, content=st.binary(min_size=8, max_size=8), standing=standings)


@pytest.mark.parametrize("commons_max", [0, 2, 4096])
@given(all_of=st.lists(knowns, max_size=8, unique_by=(lambda known: known.key, lambda known: known.standing.fpid)))
def test_all_that_is_known_of_a_submission_is_kept(commons_max: int, all_of: list[Known]) -> None:
    """However much of it a day's payments have in common."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(submissions, "_COMMONS_MAX", commons_max)
        memory = Submissions(7)
        for known in all_of:
            memory.put(known, 0)
        for known in all_of:
            assert memory.of_key(known.key) == memory.of_fpid(known.standing.fpid) == known


def test_no_repr_names_a_payment() -> None:
    known = Known("a-key", CONTENT, Standing("an FPID", outbound_law.State.SETTLED, "0000"))
    assert repr(known) == "<Known SETTLED>"
    memory = Submissions(7)
    memory.put(known, 0)
    (day,) = memory._days.values()
    assert "an FPID" not in repr(day.commons)
    left = submissions.Unfinished("a-key", CONTENT, b"9200", 0, repeats=2)
    assert repr(left) == "<Unfinished, 2 repeats>"


def came(number: int, memory: Outcomes) -> None:
    outcome = Outcome(inbound_law.State.REPLIED, "0000", "", stood_in=False, content=number.to_bytes(8))
    memory.put(f"{number:042}", outcome, 0)


def left(number: int, memory: Submissions) -> None:
    standing = Standing(
        f"{number:018}1020261122826040004     ", outbound_law.State.SETTLED, "0000", "", "receiver",
        settlement="20261122001", asynchronous="0",
    )  # fmt: skip
    memory.put(Known(f"00000000-0000-4000-8000-{number:012}", number.to_bytes(8), standing), 0)


@pytest.mark.parametrize(("remember", "kind", "bytes_max"), [(came, Outcomes, 48), (left, Submissions, 144)])
def test_a_payment_is_remembered_in_few_bytes(
    remember: Callable[[int, Any], None], kind: Callable[[int], Any], bytes_max: int
) -> None:
    """And in nothing that a garbage collector looks at."""
    memory, count = kind(7), 20_000
    remember(0, memory)
    gc.collect()
    objects = len(gc.get_objects())
    tracemalloc.start()
    try:
        for number in range(count):
            remember(number, memory)
        used_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used_bytes / count <= bytes_max
    assert len(gc.get_objects()) - objects < count / 100
    assert len(memory) == count
