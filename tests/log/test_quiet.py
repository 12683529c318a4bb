"""Lines that a peer causes again and again are written a few times, then ever more rarely; all others are counted."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import log
from gateway.log.quiet import FIRST, KEYS_MAX, OVER_AFTER_S, SILENCE_MAX_S, Quiet


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 400)), max_size=200))
def test_every_line_is_written_or_counted_by_the_next_that_is(lines: list[tuple[str, float]]) -> None:
    """Any things, any pace."""
    quiet, now_s = Quiet(), 0.0
    held = dict.fromkeys("abc", 0)
    for what, pause_s in lines:
        now_s += pause_s
        said = quiet.takes(what, None, now_s)
        if said < 0:
            held[what] += 1
        else:
            assert said == held[what]
            held[what] = 0


def test_a_flood_is_a_few_lines_and_then_one_in_five_minutes() -> None:
    """A hundred a second for an hour."""
    quiet = Quiet()
    written = [at / 100 for at in range(360_000) if quiet.takes("x", None, at / 100) >= 0]
    assert len(written) < FIRST + 9 + 3600 / SILENCE_MAX_S
    assert written[-1] > 3600 - SILENCE_MAX_S


def test_what_was_over_begins_anew() -> None:
    quiet = Quiet()
    for _ in range(100):
        quiet.takes("x", None, 0.0)
    assert [quiet.takes("x", None, OVER_AFTER_S + 1) for _ in range(FIRST + 1)] == [100 - FIRST, *[0] * (FIRST - 1), -1]


def test_names_that_a_peer_makes_up_take_no_memory() -> None:
    quiet = Quiet()
    for number in range(3 * KEYS_MAX):
        quiet.takes("x", number, 0.0)
    assert len(quiet._known) <= KEYS_MAX + 1
    assert quiet.takes("x", "one more", 0.0) < 0
    assert [quiet.takes("y", number, 0.0) for number in range(FIRST + 1)] == [*[0] * FIRST, -1]


@pytest.fixture
def written() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def clock(written: list[dict[str, Any]]) -> Callable[[float], None]:
    """Sets the log up as a process does, and its clock."""
    now = [0.0]

    class Kept(log.Writer):
        def __init__(self) -> None:
            pass

        def write(self, line: bytes) -> None:
            written.append(msgspec.json.decode(line))

    log.configure("info", "json", Kept(), seconds=lambda: now[0])

    def go(to_s: float) -> None:
        now[0] = to_s

    return go


def test_lines_are_held_back_by_what_they_are_about(clock: Callable[[float], None], written: list[Any]) -> None:
    """One link's do not hide another's, nor another text; the next one that is written says how many there were."""
    for _ in range(20):
        log.get("hub").warning("link down", link="a")
    log.get("hub").warning("link down", link="b")
    log.get("hub").warning("link up", link="a")
    assert [line["link"] for line in written] == ["a"] * FIRST + ["b", "a"]
    clock(2.0)
    log.get("hub").warning("link down", link="a")
    assert written[-1]["held_back"] == 20 - FIRST


@pytest.mark.parametrize(("component", "fields"), [("hub", {"fpid": "0" * 16}), ("journal", {}), ("signer", {})])
def test_what_is_about_a_payment_or_our_own_is_always_said(
    clock: Callable[[float], None], written: list[Any], component: str, fields: dict[str, str]
) -> None:
    for _ in range(20):
        log.get(component).warning("something", **fields)
    assert len(written) == 20
