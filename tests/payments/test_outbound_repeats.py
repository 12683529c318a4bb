"""A payment without an outcome is repeated, ends unknown, and is settled by any answer that comes after all."""

import gc

import pytest

from gateway.payments.outbound_law import State
from gateway.payments.reporting import LINGER_S
from gateway.payments.work import Standing
from gateway.wire.codec import fpid_of
from gateway.wire.message import Advice, PaymentRequest
from tests.conftest import Reached
from tests.fakes.engine import CODEC, FakeLink, World, codes, response, sealed, submission
from tests.fakes.outbound import LIMITS, Heard, answer, kinds, second, sent, unknown


def test_silence_is_met_with_repeats_and_ends_unknown(world: World, heard: Heard) -> None:
    """A bounded number of 9201, on another link each time; then UNKNOWN: never failed, since it may have left."""
    other = second(world)
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    for _ in range(LIMITS.repeats_max + 1):
        world.later(LIMITS.answer_within_s)
        world.turn()
        world.settle()
    assert sorted(sent(world.link) + sent(other)) == ["9200"] + ["9201"] * LIMITS.repeats_max
    assert abs(len(world.link.sent) - len(other.sent)) <= 1
    assert heard.states == ["UNKNOWN"]
    assert kinds(world)[-1] == "UNKNOWN"
    assert world.engine.in_flight == 0


def test_a_repeat_is_the_same_payment_but_for_the_last_digit_of_its_mti(world: World) -> None:
    other = second(world)
    world.submit(submission())
    world.settle()
    first = world.link if world.link.sent else other
    world.down(first)
    world.later(LIMITS.pause_s)
    world.settle()
    again = other if first is world.link else world.link
    (request,), (repeat,) = first.sent, again.sent
    assert (request.mti, repeat.mti) == ("9200", "9201")
    assert CODEC.content_digest(request) == CODEC.content_digest(repeat)


def test_a_lost_link_is_met_with_a_repeat_on_another_one(world: World, heard: Heard) -> None:
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    other = second(world)
    world.down(world.link)
    world.later(LIMITS.pause_s)
    world.settle()
    assert sent(other) == ["9201"]
    answer(world, link=other)
    world.sync()
    assert heard.states == ["SETTLED"]


@pytest.mark.parametrize(("surely", "mti"), [(True, "9200"), (False, "9201")])
def test_what_surely_did_not_leave_is_sent_anew(world: World, mti: str, *, surely: bool) -> None:
    """A request that the link gave back unwritten leaves as a first one; one that was being written may have left."""
    world.submit(submission())
    world.settle()
    other = second(world)
    world.down(world.link, surely=surely)
    world.later(LIMITS.pause_s)
    world.settle()
    assert sent(other) == [mti]


def test_an_answer_to_what_surely_did_not_leave_is_none(world: World, heard: Heard) -> None:
    """Read before the connection went, and verified while the payment is being withdrawn: it ends nothing of ours."""
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    (request,) = world.link.sent
    world.frames(response(request))
    early = world.signer.batches.pop()
    world.down(world.link, surely=True)
    for _ in range(50):
        if kinds(world)[-1] == "UNSENT":
            break
        world.later(LIMITS.pause_max_s)
    assert kinds(world)[-1] == "UNSENT"
    world.signer.batches.append(early)
    world.macs()
    assert kinds(world)[-2:] == ["UNSENT", "UNPLACED"]
    world.settle()
    assert heard.states == ["UNSENT"]


def test_what_never_left_is_unsent_and_may_be_submitted_again(world: World, heard: Heard) -> None:
    """The link went before the request was written, and no other came in time."""
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    world.down(world.link, surely=True)
    for _ in range(50):
        world.later(LIMITS.pause_max_s)
        world.settle()
    assert heard.states == ["UNSENT"]
    assert kinds(world) == ["SUBMITTED", "UNSENT"]
    other = second(world)
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    assert sent(other) == ["9200"]
    answer(world, link=other)
    world.sync()
    assert heard.states == ["UNSENT", "SETTLED"]


def test_an_answer_on_another_connection_is_none(world: World, heard: Heard) -> None:
    """A response is valid only on the connection that brought its request."""
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    (request,) = world.link.sent
    other = second(world)
    world.frames(response(request), link=other)
    world.settle()
    assert heard.states == []
    assert kinds(world) == ["SUBMITTED", "UNPLACED"]


@pytest.mark.parametrize("code", LIMITS.inconclusive_codes)
def test_an_answer_that_settles_nothing_is_met_with_a_repeat(world: World, heard: Heard, code: str) -> None:
    """The hub malfunctions, or knows the FPID: the payment may be done all the same."""
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    answer(world, code)
    assert heard.states == []
    world.later(LIMITS.pause_s)
    world.settle()
    assert sent(world.link) == ["9200", "9201"]
    assert "INCONCLUSIVE" in kinds(world)
    for _ in range(LIMITS.repeats_max + 1):
        if not heard.all:
            answer(world, code)
            world.later(LIMITS.pause_max_s)
            world.settle()
    assert heard.states == ["UNKNOWN"]
    assert heard.all[0].standing == Standing(fpid_of(submission().request), State.UNKNOWN, code)


def test_an_advice_that_names_the_payment_is_met_with_a_repeat(world: World) -> None:
    """The hub could not read or trust the request: it will not answer it."""
    world.submit(submission())
    world.settle()
    request = world.link.sent[0]
    assert isinstance(request, PaymentRequest)
    names = {name: getattr(request, name) for name in ("processing_code", "date_sent", "trn", "currency", "sender")}
    advice = Advice(mti="9624", transmission_time="1122101112", message_id="000007", function_code="690", **names)
    world.frames(sealed(advice))
    world.macs()
    world.later(LIMITS.pause_s)
    world.settle()
    assert sent(world.link) == ["9200", "9201"]


FOREIGN: dict[str, dict[str, str]] = {
    "nothing": dict.fromkeys(("processing_code", "date_sent", "trn", "currency", "sender"), ""),
    "another TRN": {"trn": "SOMEBODYS"},
    "another day": {"date_sent": "20250101"},
    "another sender": {"sender": "999999"},
    "another type": {"processing_code": "300000"},
}


@pytest.mark.parametrize("function_code", ["650", "670", "671", "672", "690"])
@pytest.mark.parametrize("about", [*FOREIGN, "ours, on a connection that did not carry it", "ours, and settled"])
def test_an_advice_about_what_is_not_ours_changes_nothing(world: World, about: str, function_code: str) -> None:
    """Kept, counted; no repeat, no other attempt, nothing told."""
    world.submit(submission())
    world.settle()
    request = world.link.sent[0]
    assert isinstance(request, PaymentRequest)
    if about == "ours, and settled":
        answer(world)
        world.settle()
    names = {name: getattr(request, name) for name in ("processing_code", "date_sent", "trn", "currency", "sender")}
    names |= FOREIGN.get(about, {})
    advice = Advice(
        mti="9624", transmission_time="1122101112", message_id="000007", function_code=function_code, **names
    )
    link = FakeLink(2) if "connection" in about else world.link
    world.submitting.append(link)
    before, recorded = world.engine.look("key-1"), kinds(world)
    world.frames(sealed(advice), link=link)
    world.macs()
    world.later(LIMITS.pause_s)
    world.settle()
    assert kinds(world) == [*recorded, "UNPLACED"]
    assert world.engine.counts["unplaced"] == 1
    assert world.engine.look("key-1") == before
    assert sent(world.link) == ["9200"]
    assert sent(link) == (["9200"] if link is world.link else [])


def test_an_answer_settles_what_was_unknown(world: World, heard: Heard) -> None:
    """Whatever comes later, on a connection that carried it."""
    unknown(world, heard)
    answer(world)
    world.settle()
    assert kinds(world)[-2:] == ["UNKNOWN", "SETTLED"]
    found = world.engine.look("key-1")
    assert found is not None
    assert found.state is State.SETTLED


def test_the_same_key_asks_for_another_round(world: World, heard: Heard) -> None:
    unknown(world, heard)
    before = len(world.link.sent)
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    assert sent(world.link)[before:] == ["9201"]
    answer(world)
    world.settle()
    assert heard.states == ["UNKNOWN", "SETTLED"]


def test_no_connection_can_settle_what_is_unknown_once_they_are_gone(world: World, heard: Heard) -> None:
    """It is remembered, and no longer held in memory as something that may be answered."""
    unknown(world, heard)
    world.down(world.link)
    world.later(LINGER_S)
    assert not world.engine.outbound.unknown
    found = world.engine.look("key-1")
    assert found is not None
    assert found.state is State.UNKNOWN


def test_an_answer_that_was_read_before_its_connection_went_settles_what_is_unknown(world: World, heard: Heard) -> None:
    """Its MAC is still being verified when the connection goes: it is the hub's answer all the same."""
    unknown(world, heard)
    request = world.link.sent[0]
    world.frames(response(request))
    world.down(world.link)
    world.settle()
    assert kinds(world)[-1] == "SETTLED"
    assert not world.engine.outbound.unknown


def test_how_it_stands_is_not_said_before_that_is_durable(world: World, heard: Heard) -> None:
    """UNSENT above all: a restart that finds no such record repeats the payment."""
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    world.down(world.link, surely=True)
    while "UNSENT" not in kinds(world):
        world.later(LIMITS.pause_max_s)
        world.macs() if world.signer.batches else world.turn()
    assert heard.states == []
    found = world.engine.look("key-1")
    assert found is not None
    assert found.state is State.WAITING
    world.submit(heard.of(submission(wait=True)))
    assert heard.states == []
    world.sync()
    assert heard.states == ["UNSENT", "UNSENT"]


def test_an_answer_that_comes_while_it_is_given_up_settles_it(world: World, heard: Heard) -> None:
    """The first of the two records being durable does not say the second one's outcome."""
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    while "UNKNOWN" not in kinds(world):
        world.later(LIMITS.answer_within_s)
        world.turn()
        if "UNKNOWN" not in kinds(world):
            world.settle()
    world.journal.commit()
    before = world.journal.handed_over
    answer(world)
    world.journal.durable = before
    world.engine.on_durable(before)
    world.turn()
    assert heard.states == []
    world.sync()
    assert heard.states == ["SETTLED"]


@pytest.mark.parametrize("code", ["4021", "4400", "2000", "5555", "8888", "0999", "0001"])
def test_a_code_by_nobody_who_may_say_so_settles_nothing(world: World, heard: Heard, code: str) -> None:
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    answer(world, code)
    world.settle()
    assert heard.states == []
    assert "INCONCLUSIVE" in kinds(world)


@pytest.mark.parametrize("code", LIMITS.request_codes)
def test_a_refusal_of_a_repeat_is_no_refusal_of_what_may_have_left_before(
    world: World, heard: Heard, code: str
) -> None:
    """The hub judges the request that it got; of a payment that left only once it settles the payment."""
    world.submit(heard.of(submission(wait=True)))
    world.submit(heard.of(submission("key-2", "OUT2", wait=True)))
    world.settle()
    first, other = world.link.sent
    world.frames(response(other, code))
    world.settle()
    assert heard.states == ["SETTLED"]
    again = second(world)
    world.down(world.link)
    world.later(LIMITS.pause_s)
    world.settle()
    world.frames(response(first, code), link=again)
    world.settle()
    assert heard.states == ["SETTLED"], "the first request may have been obeyed"


def test_what_is_unknown_is_not_called_unavailable(world: World, heard: Heard) -> None:
    """503 says that nothing was recorded and nothing left. Without a link it goes on standing as it stood."""
    unknown(world, heard)
    world.submitting = []
    world.submit(heard.of(submission(wait=True)))
    assert heard.states == ["UNKNOWN", "UNKNOWN"]
    again = world.restarted(after_s=1.0)
    again.submitting = []
    again.submit(heard.of(submission()))
    assert heard.states == ["UNKNOWN"] * 3


def test_another_round_that_there_is_no_place_for_is_counted(world: World, heard: Heard, reached: Reached) -> None:
    """It goes on standing as it stood, without a word to who asks for it: the limit says why. Once there is room, it
    is no limit that holds anything up.
    """
    unknown(world, heard)
    world.submit(*(submission(f"more-{n}", f"MORE{n}") for n in range(1000)))
    for _ in range(2):
        world.submit(heard.of(submission(wait=True)))
    assert heard.states == ["UNKNOWN"] * 3
    assert reached("node.payments_max") == ([1000], 2)
    world.settle()
    answer(world)
    world.settle()
    world.submit(submission("key-x", "OUTX"))
    assert not world.engine.leaving._places.reached


def test_memory_of_what_is_unknown_is_bounded_by_its_connections(world: World, heard: Heard) -> None:
    """Whatever connections it left by: when they are all gone it is soon held no more."""
    world.submit(*(submission(f"key-{n}", f"OUT{n}") for n in range(20)))
    world.settle()
    for number in range(2, 10):
        link = FakeLink(id=number)
        world.submitting.append(link)
        world.down(world.submitting[-2])
        world.later(LIMITS.answer_within_s)
        world.turn()
        world.settle()
    world.down(world.submitting[-1])
    for _ in range(20):
        world.later(LIMITS.answer_within_s)
        world.settle()
    assert not world.engine.outbound.in_flight
    assert not world.engine.outbound.unknown
    assert not world.engine.outbound._departures.standing_links


def test_what_the_disk_held_up_for_too_long_does_not_leave(world: World, heard: Heard) -> None:
    world.submit(heard.of(submission(wait=True)))
    world.macs()
    world.later(LIMITS.repeat_for_s)
    world.settle()
    world.later(LIMITS.pause_max_s)
    world.settle()
    assert sent(world.link) == []
    assert heard.states == ["UNSENT"]


def test_who_waits_no_longer_is_not_held(world: World) -> None:
    """A client that asks again and again, and goes away each time."""
    world.submit(submission())
    world.settle()
    for _ in range(200):
        one = submission(wait=True)
        world.submit(one)
        one.void = True
    (payment,) = world.engine.outbound.in_flight.values()
    assert len(payment.waiting) < 40


def test_another_answer_changes_nothing_and_is_an_alarm_when_it_differs(world: World, heard: Heard) -> None:
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    answer(world)
    answer(world)
    world.settle()
    answer(world)
    answer(world, "1114")
    world.settle()
    assert kinds(world) == ["SUBMITTED", "SETTLED", "UNPLACED", "UNPLACED", "CONTRADICTED"]
    found = world.engine.look("key-1")
    assert found is not None
    assert found.code == "0000"


def test_an_answer_that_meets_a_repeat_on_its_way_ends_it(world: World, heard: Heard) -> None:
    """The repeat's MAC is being made when the late answer comes: it does not leave any more."""
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    world.later(LIMITS.answer_within_s)
    world.turn()
    jobs = world.signer.batches.pop()
    answer(world)
    world.signer.batches.append(jobs)
    world.settle()
    assert sent(world.link) == ["9200"]
    assert heard.states == ["SETTLED"]


def test_without_a_token_it_is_tried_again(world: World, heard: Heard) -> None:
    world.submit(heard.of(submission(wait=True)))
    world.sync()
    world.macs(error="unavailable")
    assert sent(world.link) == []
    world.later(LIMITS.pause_s)
    world.settle()
    assert sent(world.link) == ["9200"], "it surely never left before"


def test_an_unreadable_answer_is_advised_and_the_payment_goes_on(world: World, heard: Heard) -> None:
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    answer(world, "")
    world.settle()
    assert "9624/650" in codes(world.link)
    assert heard.states == []


def test_what_is_over_waits_for_no_garbage_collector(world: World) -> None:
    """Payments go by reference counts alone: a collector that looks at thousands of them holds up all the others."""

    def pay(first: int) -> None:
        world.submit(*(submission(f"key-{n}", f"OUT{n}", wait=True) for n in range(first, first + 50)))
        world.settle()
        for request in list(world.link.sent[-50:]):
            world.frames(response(request))
        world.settle()

    pay(0)  # what is made once
    gc.collect()
    gc.disable()
    try:
        pay(50)
        left = gc.collect()
    finally:
        gc.enable()
    assert left < 50
    assert len(world.engine.submissions) == 100
