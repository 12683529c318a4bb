"""A hub's links that stand and are sick: each way of it, for a participant's payments, for echoes, and healed again."""

from typing import Any

import pytest

from gateway.wire.message import PaymentResponse
from loadtest.hub.parties import Sick, Sickness
from tests.loadtest.conftest import payment_request as request


def sicken(bench: Any, how: Sickness | None, after_s: float = 0.0) -> None:
    bench.scheme.switch.sicken(bench.scheme.parties["alpha"], "a", "", Sick(how, after_s) if how else None)


@pytest.mark.parametrize(("how", "carried_out"), [("deaf", False), ("mute", True)])
def test_echoes_are_answered_and_payments_are_not(bench: Any, how: Sickness, carried_out: bool) -> None:  # noqa: FBT001
    """Deaf, it never heard of them; mute, they were carried out, and a repeat by another link hears the outcome."""
    sicken(bench, how)
    link, well = bench.link(), bench.link(site="b")
    bench.say(link, request())
    bench.manage(link, "831")
    assert [message.mti for message in bench.out(link)] == ["9814"]
    assert bool(bench.said("outcome")) is carried_out
    bench.say(well, request(mti="9201"))
    (answer,) = bench.out(well)
    assert isinstance(answer, PaymentResponse)
    assert len(bench.said("outcome")) == 1


def test_a_slow_one_answers_payments_later(bench: Any) -> None:
    link = bench.link()
    sicken(bench, "slow", 3.0)
    bench.say(link, request())
    assert bench.out(link) == []
    assert bench.scheme.outstanding == 1
    bench.now_s += 3.0
    bench.scheme.tick(bench.now_s)
    assert bench.codes(link) == ["0000"]
    assert bench.scheme.outstanding == 0


def test_nothing_leaves_by_a_silent_one_and_it_blames_nobody_for_an_echo(bench: Any) -> None:
    link = bench.link()
    sicken(bench, "silent")
    bench.manage(link, "831")
    bench.say(link, request())
    bench.now_s += 100.0
    bench.scheme.tick(bench.now_s)
    bench.scheme.tick(bench.now_s + 100.0)
    assert bench.out(link) == []
    assert not bench.scheme.faults


def test_one_that_is_well_again_answers(bench: Any) -> None:
    """A connection made meanwhile was sick, too."""
    sicken(bench, "mute")
    link = bench.link()
    sicken(bench, None)
    bench.say(link, request())
    assert bench.codes(link) == ["0000"]
