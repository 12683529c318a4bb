"""What the engine tells a link about the frames that it has brought: each of them gets one verdict, sooner or later."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.message import Advice, NetworkRequest
from tests.fakes.engine import World, payment, sealed

ECHO = NetworkRequest(mti="9804", transmission_time="1122120000", message_id="000001", function_code="831")
TRN = itertools.count()


def fresh() -> bytes:
    return payment(f"T{next(TRN)}")


def off_by_a_digit(body: bytes) -> bytes:
    return body[:-1] + (b"0" if body[-1:] != b"0" else b"1")


KINDS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a payment": (fresh, "proved"),
    "a payment again": (lambda: payment("AGAIN"), "proved"),
    "an echo": (lambda: sealed(ECHO), "proved"),
    "an advice": (lambda: sealed(Advice(mti="9624", function_code="650")), "proved"),
    "a payment with a wrong MAC": (lambda: off_by_a_digit(fresh()), "disproved"),
    "an advice with a wrong MAC": (lambda: sealed(Advice(mti="9624", function_code="650"), key="other"), "disproved"),
    "a type that there is none of": (lambda: b"9999" + fresh()[4:], "disproved"),
    "an unreadable advice": (lambda: b"9624 what", "disproved"),
    "garbage": (lambda: bytes(range(256)), "disproved"),
    "a crumb": (lambda: b"9", "disproved"),
    "no text": (lambda: b"\xff" * 600, "disproved"),
}
"""How each is made, and what it proves."""


@pytest.mark.parametrize("kind", KINDS)
def test_each_frame_is_judged_by_who_can_have_sent_it(kind: str) -> None:
    """With its size, and once."""
    world, (make, verdict) = World(), KINDS[kind]
    body = make()
    world.frames(body)
    world.settle()
    assert world.link.verdicts == [(verdict, len(body))]


@pytest.mark.parametrize("kind", [kind for kind, (_, verdict) in KINDS.items() if "MAC" in kind or verdict == "proved"])
def test_a_frame_that_no_hsm_could_judge_is_held_against_nobody(kind: str) -> None:
    world = World()
    body = KINDS[kind][0]()
    world.frames(body)
    assert world.link.verdicts == [], "not before the HSM has said"
    world.macs(error="unavailable")
    assert world.link.verdicts == [("dropped", len(body))]


def test_a_payment_that_the_disk_has_no_room_for_is_held_against_nobody() -> None:
    world = World()
    body, echo = fresh(), sealed(ECHO)
    world.journal.room = False
    world.frames(body, echo)
    world.settle()
    assert world.link.verdicts == [("dropped", len(body)), ("proved", len(echo))]


@given(
    st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.sampled_from(["", "hsm away", "disk behind"])), max_size=30)
)
def test_whatever_comes_each_frame_has_one_verdict(events: list[tuple[str, str]]) -> None:
    """In whatever order: what is not given back would be missing from what the link may bring, for ever."""
    world: Any = World()
    sizes = list[int]()
    for kind, trouble in events:
        body = KINDS[kind][0]()
        sizes.append(len(body))
        world.journal.room = trouble != "disk behind"
        world.frames(body)
        if trouble == "hsm away" and world.signer.batches:
            world.macs(error="unavailable")
    world.journal.room = True
    world.settle()
    assert sorted(size for _, size in world.link.verdicts) == sorted(sizes)
