"""What is remembered of a payment that leaves, in memory and over restarts, and when it is said."""

import pytest

from gateway.config import days_spanned
from gateway.payments.outbound_law import State
from gateway.payments.steps import TOLD_KINDS
from gateway.payments.submissions import Known, Submissions
from gateway.payments.work import Standing
from gateway.wire.message import Advice
from loadtest.ledger.entries import TOLD_KINDS as LEDGER_TOLD_KINDS
from tests.fakes.engine import FakeLink, World, response, sealed, submission
from tests.fakes.outbound import LIMITS, Heard, answer, kinds, second, sent, unknown


def durable(world: World) -> None:
    """Let also that become durable which nobody waits for."""
    world.later(0.1)
    world.settle()


def test_a_restart_remembers_what_is_unknown_and_another_round_is_of_repeats(world: World, heard: Heard) -> None:
    unknown(world, heard)
    durable(world)
    world = world.restarted(after_s=1.0)
    found = world.engine.look("key-1")
    assert found is not None
    assert found.state is State.UNKNOWN
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    assert sent(world.link) == ["9201"], "it may have left in the life before"
    world.submit(heard.of(submission(amount="00000000009999")), heard.of(submission("key-2")))
    assert heard.states == ["UNKNOWN", "conflict", "conflict"]


def test_what_an_earlier_life_left_unknown_is_never_unsent(world: World, heard: Heard) -> None:
    unknown(world, heard)
    durable(world)
    world = world.restarted(after_s=1.0)
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    world.down(world.link, surely=True)
    for _ in range(100):
        world.later(LIMITS.pause_max_s)
        world.settle()
    assert heard.states == ["UNKNOWN", "UNKNOWN"]


def test_another_round_that_a_restart_interrupts_goes_on(world: World, heard: Heard) -> None:
    unknown(world, heard)
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    assert kinds(world)[-1] == "RETRIED"
    durable(world)
    world = world.restarted(after_s=1.0)
    assert world.engine.in_flight == 1
    world.later(LIMITS.pause_s)
    world.settle()
    assert sent(world.link) == ["9201"]
    answer(world)
    world.settle()
    assert kinds(world)[-1] == "SETTLED"


def test_repeats_are_counted_over_restarts(world: World) -> None:
    """A gateway that is started again and again does not repeat for ever."""
    world.submit(submission())
    world.settle()
    left = 1
    for _ in range(3 * LIMITS.repeats_max):
        world = world.restarted(after_s=0.0)
        world.later(LIMITS.pause_s)
        world.settle()
        left += len(world.link.sent)
    assert left == 1 + LIMITS.repeats_max
    assert kinds(world).count("UNKNOWN") == 1


def test_an_outcome_is_shown_to_nobody_before_it_is_durable(world: World, heard: Heard) -> None:
    world.submit(submission())
    world.settle()
    answer(world, "1114")
    found = world.engine.look("key-1")
    assert found is not None
    assert (found.state, found.code) == (State.WAITING, "")
    world.submit(heard.of(submission()))
    assert heard.states == ["WAITING"]
    world.sync()
    found = world.engine.look("key-1")
    assert found is not None
    assert (found.state, found.code) == (State.SETTLED, "1114")


def test_what_settles_nothing_on_an_earlier_connection_leaves_the_present_attempt_alone(world: World) -> None:
    other = second(world)
    world.submit(submission())
    world.settle()
    first = world.link if world.link.sent else other
    world.later(LIMITS.answer_within_s)
    world.turn()
    world.settle()
    before = len(world.link.sent) + len(other.sent)
    world.frames(response(first.sent[0], "9909"), link=first)
    world.macs()
    world.later(LIMITS.pause_max_s)
    world.settle()
    assert len(world.link.sent) + len(other.sent) == before, "the repeat may still be answered"


def test_what_must_be_told_is_the_ledgers_list() -> None:
    """Two lists, written apart: what one forgets the other names."""
    assert {kind.name for kind in TOLD_KINDS} == LEDGER_TOLD_KINDS


@pytest.mark.parametrize("state", ["UNSENT", "UNKNOWN"])
def test_unsent_and_unknown_are_heard_once_they_are_durable(world: World, heard: Heard, state: str) -> None:
    """Else a kill makes a payment leave that its processor was told would not."""
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    if state == "UNSENT":
        world.down(world.link, surely=True)
    for _ in range(200):
        if kinds(world)[-1] == state:
            break
        world.later(LIMITS.pause_max_s)
        while world.signer.batches:
            world.macs()
        if kinds(world)[-1] != state:
            world.sync()
    assert kinds(world)[-1] == state
    assert heard.states == [], "not durable yet"
    found = world.engine.look("key-1")
    assert found is not None
    assert found.state is State.WAITING
    durable(world)
    assert heard.states == [state]


def test_what_is_withdrawn_and_killed_before_that_is_durable_was_never_said(world: World, heard: Heard) -> None:
    """The restart finds it under way and repeats it: so nobody may have heard that it never left."""
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    world.down(world.link, surely=True)
    for _ in range(50):
        if kinds(world)[-1] == "UNSENT":
            break
        world.later(LIMITS.pause_max_s)
    assert kinds(world)[-1] == "UNSENT"
    assert heard.states == []
    world = world.restarted(after_s=0.0)
    world.later(LIMITS.pause_s)
    world.settle()
    assert sent(world.link) == ["9201"]


def test_a_repeat_that_surely_did_not_leave_says_nothing_of_the_request_that_did(world: World, heard: Heard) -> None:
    """The first request left; the connection of the repeat goes before it was written: still not unsent."""
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    other = second(world)
    world.link.contexts.clear()  # written
    world.down(world.link)
    world.later(LIMITS.pause_s)
    world.settle()
    assert sent(other) == ["9201"]
    world.down(other, surely=True)
    third = FakeLink(id=3)
    world.submitting.append(third)
    world.later(LIMITS.pause_max_s)
    world.settle()
    assert sent(third) == ["9201"]
    world.down(third, surely=True)
    for _ in range(200):
        world.later(LIMITS.pause_max_s)
        world.settle()
    assert heard.states == ["UNKNOWN"]


def test_the_same_key_twice_at_once_is_taken_once_it_is_durable(world: World, heard: Heard) -> None:
    """The second one waits for the first one's record, too."""
    world.submit(heard.of(submission()), heard.of(submission()))
    world.macs()
    assert heard.states == []
    world.sync()
    assert heard.states == ["WAITING", "WAITING"]


def test_an_advice_on_another_connection_is_none(world: World, heard: Heard) -> None:
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    (request,) = world.link.sent
    other = second(world)
    names = {name: getattr(request, name) for name in ("processing_code", "date_sent", "trn", "currency", "sender")}
    advice = Advice(mti="9624", transmission_time="1122101112", message_id="000007", function_code="690", **names)
    world.frames(sealed(advice), link=other)
    world.settle()
    world.later(LIMITS.pause_max_s)
    world.settle()
    assert sent(world.link) + sent(other) == ["9200"]
    assert kinds(world) == ["SUBMITTED", "UNPLACED"]


@pytest.mark.parametrize("between", [0, 1, 2])
def test_a_repeat_leaves_by_another_link_however_many_left_meanwhile(world: World, between: int) -> None:
    other = second(world)
    world.submit(submission())
    world.settle()
    first = world.link if world.link.sent else other
    world.later(1.0)
    for number in range(between):
        world.submit(submission(f"key-b{number}", f"BETWEEN{number}"))
        world.settle()
    world.later(LIMITS.answer_within_s - 1.0)
    world.turn()
    world.settle()
    again = other if first is world.link else world.link
    assert [message.mti for message in again.sent if getattr(message, "trn", "") == "OUT1"] == ["9201"]


def test_another_round_has_all_its_repeats(world: World, heard: Heard) -> None:
    unknown(world, heard)
    before = len(world.link.sent)
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    while len(heard.all) < 2:
        world.later(LIMITS.answer_within_s)
        world.turn()
        world.settle()
    assert len(world.link.sent) - before == LIMITS.repeats_max
    assert heard.states == ["UNKNOWN", "UNKNOWN"]


def test_a_restart_remembers_all_that_the_answer_said(world: World) -> None:
    world.submit(submission())
    world.settle()
    answer(world, redirected_agent="700003", redirected_account="00000007", asynchronous="1")
    world.settle()
    before = world.engine.look("key-1")
    assert before is not None
    assert before.redirected_account == "00000007"
    assert world.restarted(after_s=1.0).engine.look("key-1") == before


def test_submissions_are_remembered_for_seven_business_days() -> None:
    """Over a weekend or two, and with steps of the clock besides."""
    day_ns = 86_400 * 10**9
    submissions = Submissions(7)
    submissions.put(Known("key", b"content!", Standing("FPID", State.SETTLED, "0000")), 0)
    for day in range(1, days_spanned(7)):
        submissions.put(Known(f"key-{day}", b"content!", Standing(f"FPID-{day}", State.SETTLED, "0000")), day * day_ns)
        assert submissions.of_key("key") is not None, day
        assert submissions.of_fpid("FPID") is not None, day


@pytest.mark.parametrize("when", ["answerable", "links gone", "restarted"])
def test_other_content_under_the_key_of_what_is_unknown_is_a_conflict(world: World, heard: Heard, when: str) -> None:
    unknown(world, heard)
    if when == "links gone":
        world.down(world.link)
        second(world)
    elif when == "restarted":
        durable(world)
        world = world.restarted(after_s=1.0)
    before = len(kinds(world))
    world.submit(heard.of(submission(amount="00000000009999")), heard.of(submission("key-2")))
    assert heard.states == ["UNKNOWN", "conflict", "conflict"]
    assert len(kinds(world)) == before


def test_a_repeat_that_no_token_makes_a_mac_for_says_nothing_of_the_request_that_left(
    world: World, heard: Heard
) -> None:
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    world.later(LIMITS.answer_within_s)
    world.turn()
    world.macs(error="unavailable")
    world.later(LIMITS.pause_s)
    world.settle()
    assert sent(world.link) == ["9200", "9201"]
    for _ in range(200):
        world.later(LIMITS.pause_max_s)
        while world.signer.batches:
            world.macs(error="unavailable")
        world.sync()
    assert heard.states == ["UNKNOWN"]


def test_pauses_grow_up_to_the_longest(world: World) -> None:
    world.submit(submission())
    world.sync()
    world.macs(error="unavailable")
    pauses = []
    for _ in range(LIMITS.repeats_max):
        payment = next(iter(world.engine.outbound.in_flight.values()), None)
        if payment is None or payment.due_s == float("inf"):
            break
        pauses.append(round(payment.due_s - world.now_s, 3))
        world.later(payment.due_s - world.now_s)
        while world.signer.batches:
            world.macs(error="unavailable")
        world.sync()
    assert pauses[:3] == [
        LIMITS.pause_s,
        min(2 * LIMITS.pause_s, LIMITS.pause_max_s),
        min(4 * LIMITS.pause_s, LIMITS.pause_max_s),
    ]


def test_a_drain_waits_for_payments_that_leave(world: World) -> None:
    world.submit(submission())
    for _ in range(3):
        assert world.engine.in_flight == 1
        while world.signer.batches:
            world.macs()
        assert world.engine.in_flight == 1
        world.sync()
    answer(world)
    assert world.engine.in_flight == 1, "its outcome is not durable yet"
    world.sync()
    assert world.engine.in_flight == 0
