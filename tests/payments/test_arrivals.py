"""Each FPID has one object at a time, wherever its payment stands and whoever holds it."""

import gc
from weakref import ref

import pytest

from gateway import config
from gateway.clock import Now
from gateway.payments.arrival import SWEEP_MIN, Arrival, Arrivals
from gateway.payments.inbound_law import Event, State
from gateway.payments.outcomes import Outcomes
from tests.fakes.stage import Stage, Wire, request, reversal
from tests.payments.test_rare_inbound import LAST_MOMENT_S, REPLIED_TO, brought

NOW = Now(100.0, 1_795_348_800 * 10**9)


@pytest.mark.parametrize("when", REPLIED_TO)
def test_a_repeat_is_replied_to_by_the_object_that_the_question_holds(when: str) -> None:
    """What the processor still says and what becomes of the reply are about one payment."""
    stage = brought(when)
    stage.came(request("9201"), Wire(7))
    assert stage.left[-1] is stage.asked[0]


def test_two_repeats_of_what_only_memory_knows_are_one_payment() -> None:
    """Both replies are under way at once: the second request finds what the first reply holds."""
    stage = brought("undelivered")
    stage.asked.clear()
    gc.collect()
    for link in (7, 8):
        stage.came(request("9201"), Wire(link))
    first, second = stage.left[-2:]
    assert first is not None
    assert first is second
    assert first.legs_out == 2


def test_what_was_given_up_and_comes_again_is_the_same_object_with_nothing_of_before() -> None:
    rules = config.StandIn(mode="never", otherwise="nothing")
    stage = Stage(pair=config.Pair(group="sip", stand_in=rules))
    before = stage.received()
    for after_s in (stage.pair.deadlines.stand_in_after_s, LAST_MOMENT_S):
        stage.fires(before, after_s)
    assert (before.state, before.forbidden) == (State.ORPHANED, "mode")
    again = stage.came(request("9201"), Wire(7))
    assert again is before
    assert (again.forbidden, again.question, [leg.link.id for leg in again.legs]) == ("", None, [7])
    assert again.first_byte_s == stage.now_s


def test_a_reversal_is_seen_by_the_reply_that_is_under_way() -> None:
    stage = brought("replied")
    stage.came(request("9201"), Wire(7))
    stage.came(reversal(), Wire(7))
    held = stage.left[0]
    assert held is not None
    assert held.state is State.REVERSED


def test_what_nobody_holds_is_let_go_and_what_somebody_holds_is_not() -> None:
    """Memory is for outcomes: an object lives in flight, or for as long as a shell has it."""
    arrivals = Arrivals(Outcomes(7))
    held = _reversed(arrivals, "held")
    for number in range(3 * SWEEP_MIN):
        gone = ref(_reversed(arrivals, str(number)))
    assert gone() is None
    assert len(arrivals._held) <= SWEEP_MIN
    assert arrivals.find("held") is held
    assert arrivals.find("0").state is State.REVERSED, "made anew of its outcome"


def _reversed(arrivals: Arrivals, fpid: str) -> Arrival:
    payment = arrivals.find(fpid)
    arrivals.step(payment, Event.REVERSAL)
    arrivals.settle(payment, NOW)
    return payment
