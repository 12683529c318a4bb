"""The story of a payment that leaves: playbooks for each branch, then any order of events. All through the engine."""

import gc
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import config
from gateway.payments import steps
from gateway.payments.outbound import LINGER_S
from gateway.payments.outbound_law import State
from gateway.payments.steps import Kind
from gateway.payments.submissions import Replay as SubmissionsReplay
from gateway.payments.submissions import Submissions
from gateway.payments.work import Standing, Submission
from gateway.wire.codec import fpid_of
from gateway.wire.message import Advice, PaymentRequest
from tests.conftest import Reached
from tests.fakes.engine import CODEC, FakeLink, World, codes, response, sealed, submission
from tests.fakes.outbound import LIMITS, Heard, answer, kinds, second, sent, unknown


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def heard() -> Heard:
    return Heard()


def test_nothing_leaves_before_it_is_durable_and_authentic(world: World) -> None:
    world.submit(submission())
    world.macs()
    assert sent(world.link) == []
    world.sync()
    assert sent(world.link) == ["9200"]
    assert kinds(world) == ["SUBMITTED"]


def test_who_waits_hears_the_outcome_once_it_is_durable(world: World, heard: Heard) -> None:
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    answer(world)
    assert heard.states == [], "an outcome that is not durable is none"
    world.sync()
    assert heard.states == ["SETTLED"]
    standing = heard.all[0].standing
    assert standing is not None
    assert (standing.code, standing.by, standing.settlement) == ("0000", "receiver", "20261123002")
    assert kinds(world) == ["SUBMITTED", "SETTLED"]
    assert world.engine.in_flight == 0


def test_who_does_not_wait_hears_when_the_submission_is_durable(world: World, heard: Heard) -> None:
    world.submit(heard.of(submission()))
    assert heard.states == []
    world.sync()
    assert heard.states == ["WAITING"], "the HSM may take its time"


def test_who_waits_hears_that_it_is_durable_before_it_hears_the_outcome(world: World) -> None:
    said: list[str] = []
    one = submission(wait=True)
    one.done = lambda submitted: said.append(submitted.standing.state.name if submitted.standing else "")
    world.submit(one)
    assert said == []
    world.settle()
    answer(world)
    world.settle()
    assert said == ["WAITING", "SETTLED"]


def test_what_is_not_durable_is_not_shown(world: World) -> None:
    world.submit(submission())
    assert world.engine.look("key-1") is None
    world.sync()
    found = world.engine.look("key-1")
    assert found is not None
    assert found.state is State.WAITING


def test_who_went_away_is_told_nothing(world: World, heard: Heard) -> None:
    one = heard.of(submission(wait=True))
    world.submit(one)
    one.void = True
    world.settle()
    answer(world)
    world.settle()
    assert heard.all == []


def test_a_thousand_submissions_move_as_one_batch_at_every_stage(world: World) -> None:
    world.submit(*(submission(f"key-{n}", f"OUT{n}") for n in range(1000)))
    assert [len(batch) for batch in world.signer.batches] == [1000]
    world.macs()
    world.sync()
    assert world.journal.commits == 1
    assert len(world.link.sent) == 1000
    assert world.link.flushes == 1


@pytest.mark.parametrize(
    ("code", "by"), [("0000", "receiver"), ("0083", "receiver"), ("1114", "receiver"), ("9911", "hub")]
)
def test_the_first_digit_says_who_speaks(world: World, heard: Heard, code: str, by: str) -> None:
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    answer(world, code)
    world.sync()
    standing = heard.all[0].standing
    assert standing is not None
    assert (standing.code, standing.by) == (code, by)


def test_a_redirection_is_told(world: World, heard: Heard) -> None:
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    answer(world, redirected_agent="700003", redirected_account="00000007", asynchronous="1")
    world.sync()
    standing = heard.all[0].standing
    assert standing is not None
    assert (standing.redirected_agent, standing.redirected_account) == ("700003", "00000007")
    assert standing.asynchronous == "1"


def test_the_same_key_again_is_the_same_payment(world: World, heard: Heard) -> None:
    """While it is under way it waits too; afterwards it hears the outcome; it never leaves twice."""
    world.submit(heard.of(submission()), heard.of(submission(wait=True)))
    world.settle()
    world.submit(heard.of(submission(wait=True)))
    answer(world)
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    world.submit(heard.of(submission()))
    assert heard.states == ["WAITING", "SETTLED", "SETTLED", "SETTLED", "SETTLED"]
    assert sent(world.link) == ["9200"]


def test_other_content_under_the_key_or_its_fpid_is_a_conflict(world: World, heard: Heard) -> None:
    world.submit(submission())
    world.submit(heard.of(submission(amount="00000000009999")), heard.of(submission("key-2")))
    assert heard.states == ["conflict", "conflict"]
    assert [one.why.split()[0] for one in heard.all] == ["this", "another"]
    world.settle()
    answer(world)
    world.sync()
    world.submit(heard.of(submission(amount="00000000009999")), heard.of(submission("key-2")))
    assert heard.states == ["conflict"] * 4
    assert kinds(world) == ["SUBMITTED", "SETTLED"]


def test_without_a_link_nothing_is_recorded(world: World, heard: Heard) -> None:
    world.submitting = []
    world.submit(heard.of(submission()))
    assert heard.states == ["unavailable"]
    assert kinds(world) == []
    assert world.engine.in_flight == 0


@pytest.mark.parametrize("why", ["room", "closed", "full", "stale"])
def test_what_cannot_be_taken_is_unavailable(world: World, heard: Heard, why: str, reached: Reached) -> None:
    """A disk that does not keep up, a drain, too many under way, one that lay here while the machine slept: said at
    once, and nothing is recorded. The limit says that it was that.
    """
    if why == "room":
        world.journal.room = False
    elif why == "closed":
        world.closed = "draining"
    elif why == "full":
        world.submit(*(submission(f"key-{n}", f"OUT{n}") for n in range(1000)))
    before = len(kinds(world))
    last = submission("key-x", "OUTX")
    last.stale = "it lay here" if why == "stale" else ""
    world.submit(heard.of(last))
    assert heard.states == ["unavailable"]
    assert len(kinds(world)) == before
    assert reached("node.payments_max") == (([1000], 1) if why == "full" else ([], 0))


def test_what_is_known_keeps_its_standing_however_long_it_lay_here(world: World, heard: Heard) -> None:
    """Of one under way nobody says that nothing left; one that is UNKNOWN is not sent once more."""

    def again() -> Submission:
        one = submission()
        one.stale = "it lay here"
        return heard.of(one)

    unknown(world, heard)
    before = len(kinds(world))
    world.submit(again())
    assert heard.states == ["UNKNOWN"] * 2
    assert len(kinds(world)) == before
    world = World()
    world.submit(heard.of(submission()))
    world.settle()
    world.submit(again())
    assert heard.states == [*["UNKNOWN"] * 2, *["WAITING"] * 2]


def test_what_the_scheme_would_refuse_is_not_taken_and_not_settled(world: World, heard: Heard) -> None:
    """With the scheme's code. The other site may have sent it before it heard of that: we cannot say an outcome."""
    world.engine.outbound._forbids = lambda _request: "9943"
    world.submit(heard.of(submission()))
    assert (heard.states, heard.all[0].code) == (["unavailable"], "9943")
    assert "9943" in heard.all[0].why
    assert (sent(world.link), kinds(world)) == ([], [])
    world.engine.outbound._forbids = lambda _request: ""
    world.submit(heard.of(submission()))
    world.settle()
    assert sent(world.link) == ["9200"], "now it is"


def test_what_never_left_is_judged_again_when_it_is_submitted_again(world: World, heard: Heard) -> None:
    """The scheme may have suspended something meanwhile."""
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    world.down(world.link, surely=True)
    for _ in range(50):
        world.later(LIMITS.pause_max_s)
        world.settle()
    second(world)
    world.engine.outbound._forbids = lambda _request: "9943"
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    assert (heard.states, heard.all[1].code) == (["UNSENT", "unavailable"], "9943")
    found = world.engine.look("key-1")
    assert found is not None
    assert found.state is State.UNSENT


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
    assert not world.engine.outbound._standing_links


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


def test_another_round_survives_a_restart_although_all_before_it_is_forgotten(world: World, heard: Heard) -> None:
    """The segments with its UNKNOWN are deleted: the record of the repeat holds all that is needed."""
    unknown(world, heard)
    world.submit(submission())
    world.settle()
    (retried,) = [number for number, kind in enumerate(kinds(world)) if kind == "RETRIED"][-1:]
    world.journal.records = world.journal.records[retried:]
    world.journal.durable = world.journal.handed_over = len(world.journal.records)
    again = world.restarted(after_s=1.0)
    found = again.engine.look("key-1")
    assert found is not None
    assert found.state is State.WAITING


def test_a_restart_by_a_clock_that_went_back_sends_nothing(world: World) -> None:
    """Nobody knows how old the payment is."""
    world.submit(submission())
    world.settle()
    world = world.restarted(after_s=-86400.0)
    world.later(LIMITS.pause_s)
    world.settle()
    assert sent(world.link) == []
    assert kinds(world)[-1] == "UNKNOWN"


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


def test_a_restart_repeats_what_was_under_way(world: World, heard: Heard) -> None:
    world.submit(submission())
    world.settle()
    world = world.restarted(after_s=1.0)
    world.submit(heard.of(submission(wait=True)))
    world.later(LIMITS.pause_s)
    world.settle()
    assert sent(world.link) == ["9201"]
    answer(world)
    world.settle()
    assert heard.states == ["SETTLED"]


def test_a_restart_sends_nothing_that_is_too_old(world: World) -> None:
    """Days later a payment must not be made by surprise: it is UNKNOWN, and the processor decides."""
    world.submit(submission())
    world.settle()
    world = world.restarted(after_s=LIMITS.repeat_for_s + 1)
    world.later(LIMITS.pause_s)
    world.settle()
    assert sent(world.link) == []
    assert kinds(world)[-1] == "UNKNOWN"


def test_a_restart_remembers_outcomes_and_keys(world: World, heard: Heard) -> None:
    world.submit(submission(), submission("key-2", "OUT2"))
    world.settle()
    for code, request in zip(("0081", "1114"), list(world.link.sent), strict=True):
        world.frames(response(request, code))
    world.settle()
    world = world.restarted(after_s=1.0)
    world.submit(heard.of(submission()), heard.of(submission("key-2", "OUT2")), heard.of(submission("key-3", "OUT2")))
    assert [one.refused or (one.standing and one.standing.code) for one in heard.all] == ["0081", "1114", "conflict"]


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


EVENTS = [
    "submit", "submit-again", "submit-other", "macs", "no-hsm", "sync", "accept", "refuse", "nothing-said", "stray",
    "later", "much-later", "lose", "lose-unwritten", "lose-writing", "connect", "restart",
]  # fmt: skip
OFTEN = ["submit", "macs", "macs", "sync", "sync", "accept", "refuse", "lose-unwritten"]
"""So that payments come somewhere."""


class Story:
    """Drives a world at random and holds it to the promises about payments that leave."""

    def __init__(self, seed: int) -> None:
        self.world = World()
        self.luck = random.Random(seed)  # noqa: S311 - to be replayed
        self.links: list[FakeLink] = [self.world.link]
        self.submitted: list[Submission] = []
        self.told: list[Submission] = []
        self.written: dict[str, int] = {}
        """By FPID: requests that may have left."""
        self.checked = 0
        """Records that were held against what was known when they were written."""
        self.said: dict[str, set[str]] = {}
        """By FPID: what the hub said conclusively."""

    def run(self, events: Iterator[str]) -> None:
        for event in events:
            getattr(self, "do_" + event.replace("-", "_"))()
            self.check()
        while self.world.engine.outbound.in_flight:
            self.do_later()
            self.world.settle()
        self.check()
        self.check_memory()

    def check(self) -> None:
        settled: dict[str, int] = {}
        for number, (kind, body, fpid) in enumerate(self.world.journal.records, 1):
            if kind is Kind.SETTLED:
                settlement = steps.unpack(kind, body)
                assert isinstance(settlement, steps.Settlement)
                assert settlement.code in self.said[fpid], "the outcome is what the hub said"
                settled[fpid] = number
            if kind is Kind.UNSENT and number > self.checked:  # submitted again it may leave
                assert not self.written.get(fpid), "what may have left is never given up as unsent"
        self.checked = len(self.world.journal.records)
        kinds_of = [(kind, fpid) for kind, _, fpid in self.world.journal.records if kind is Kind.SETTLED]
        assert len(kinds_of) == len(set(kinds_of)), "one outcome for each payment"
        durable = {
            (steps.unpack(kind, body).covered, fpid)  # type: ignore[attr-defined]
            for kind, body, fpid in self.world.journal.records[: self.world.journal.durable]
            if kind in (Kind.SUBMITTED, Kind.RETRIED)
        }
        for link in self.links:
            for message in link.sent:
                if isinstance(message, PaymentRequest):
                    assert (message.body[:-16], fpid_of(message)) in durable, "what left is durable"
        firsts = Counter(
            fpid_of(message)
            for link in self.links
            for message in link.sent
            if isinstance(message, PaymentRequest) and message.mti == "9200"
        )
        assert all(count == 1 for count in firsts.values()), "what may have left goes again as a repeat"
        for one in self.told:
            assert one.refused or one.standing
            if one.standing and one.standing.state is State.SETTLED:
                assert settled[one.standing.fpid] <= self.world.journal.durable, "what is reported is durable"
            if one.standing and one.standing.state in {State.UNKNOWN, State.UNSENT}:
                said = [
                    number
                    for number, (kind, _, fpid) in enumerate(self.world.journal.records, 1)
                    if fpid == one.standing.fpid and kind.name == one.standing.state.name
                ]
                assert min(said) <= self.world.journal.durable, "so is that nobody knows, or that it never left"

    def check_memory(self) -> None:
        """What memory holds is what the journal says."""
        self.world.sync()
        replay = SubmissionsReplay(Submissions(7), CODEC)
        for kind, body, fpid in self.world.journal.records:
            replay.record(kind, self.world.now.wall_ns, fpid, body)
        assert not replay.unfinished
        for _, _, fpid in self.world.journal.records:
            known = replay.submissions.of_fpid(fpid)
            if known is not None:
                assert self.world.engine.look(known.key) == known.standing

    def submission(self, key: str, trn: str, **changes: Any) -> None:
        one = submission(key, trn, wait=self.luck.random() < 0.5, **changes)
        one.done = self.told.append
        self.submitted.append(one)
        self.world.submit(one)

    def do_submit(self) -> None:
        number = self.luck.randrange(4)
        self.submission(f"key-{number}", f"OUT{number}")

    do_submit_again = do_submit

    def do_submit_other(self) -> None:
        self.submission(f"key-{self.luck.randrange(4)}", f"OUT{self.luck.randrange(4)}", amount="00000000000001")

    def do_macs(self) -> None:
        if self.world.signer.batches:
            self.world.macs()
            self.note_written()

    def do_no_hsm(self) -> None:
        if self.world.signer.batches:
            self.world.macs(error="unavailable")

    def do_sync(self) -> None:
        self.world.sync()
        self.note_written()

    def note_written(self) -> None:
        for link in self.links:
            for message in link.sent:
                if isinstance(message, PaymentRequest):
                    self.written.setdefault(fpid_of(message), 0)
        self.written = dict.fromkeys(self.written, 0) | {
            fpid_of(message): 1 for link in self.links for message in link.sent if isinstance(message, PaymentRequest)
        }

    def say(self, code: str) -> None:
        link = self.luck.choice(self.links)
        requests = [message for message in link.sent if isinstance(message, PaymentRequest)]
        if requests and link.open:
            request = self.luck.choice(requests)
            self.said.setdefault(fpid_of(request), set()).add(code)
            self.world.frames(response(request, code), link=link)

    def do_accept(self) -> None:
        self.say("0000")

    def do_refuse(self) -> None:
        self.say("1114")

    def do_nothing_said(self) -> None:
        self.say("9909")

    def do_stray(self) -> None:
        """An answer on a connection that may never have carried the request."""
        requests = [m for link in self.links for m in link.sent if isinstance(m, PaymentRequest)]
        link = self.luck.choice(self.links)
        self.world.settle()  # what it meets is what has left by now
        if requests and link.open:
            request = self.luck.choice(requests)
            if any(fpid_of(m) == fpid_of(request) for m in link.sent if isinstance(m, PaymentRequest)):
                self.said.setdefault(fpid_of(request), set()).add("0082")
            self.world.frames(response(request, "0082"), link=link)
            self.world.settle()
            self.note_written()

    def do_later(self) -> None:
        self.world.later(LIMITS.pause_max_s)
        self.note_written()

    def do_much_later(self) -> None:
        self.world.later(LIMITS.answer_within_s)
        self.note_written()

    def do_lose(self, *, surely: bool | None = None) -> None:
        link = self.luck.choice(self.links)
        if link.open:
            if surely:
                waiting = [context for context in link.contexts if context is not None]
                kept = len(link.sent) - len(waiting)
                link.sent = link.sent[: max(kept, 0)]
            self.world.down(link, surely=surely)
            self.note_written()

    def do_lose_unwritten(self) -> None:
        self.do_lose(surely=True)

    def do_lose_writing(self) -> None:
        self.do_lose(surely=False)

    def do_connect(self) -> None:
        link = FakeLink(id=max(link.id for link in self.links) + 1)
        self.links.append(link)
        self.world.submitting.append(link)

    def do_restart(self) -> None:
        self.world = self.world.restarted(after_s=1.0)
        for link in self.links:
            link.open = False
        self.checked = min(self.checked, len(self.world.journal.records))
        self.told = [one for one in self.told if not one.standing or one.standing.state is not State.WAITING]
        self.world.link.id = max(link.id for link in self.links) + 1
        self.links.append(self.world.link)


@given(st.integers(0, 1 << 32), st.lists(st.sampled_from(EVENTS + OFTEN), min_size=30, max_size=100))
def test_whatever_happens_in_whatever_order_the_promises_hold(seed: int, events: list[str]) -> None:
    """One outcome per payment, which is what the hub said; nothing leaves or is reported before it is durable; what may
    have left is never given up as unsent; memory is what the journal says; and no impossibility is met.
    """
    Story(seed).run(iter(events))


def test_the_defaults_fit_the_scheme() -> None:
    """The hub owes the sender an answer within 15 seconds: no repeat before that."""
    assert config.Submit().answer_within_s > config.Deadlines().sender_answer_s
