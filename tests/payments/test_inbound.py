"""The story of an inbound payment, as packet traces: this goes in, this comes out, in this order."""

from collections.abc import Callable
from typing import get_args

import pytest

from gateway import config
from gateway.config import Group
from gateway.payments import steps
from gateway.payments.arrival import Note
from gateway.payments.inbound_law import State
from gateway.payments.steps import Kind
from gateway.processor.answers import Answers
from gateway.wire.codec import fpid_of
from tests.fakes.stage import CODEC, REPLY_S, Stage, Wire, request, restarted, reversal, scheme_return
from tests.processor.answer_shapes import SHAPES, Shape


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_payment_is_received_asked_answered_and_replied_to(stage: Stage) -> None:
    payment = stage.came(request())
    assert payment is not None
    assert stage.heard() == ["record RECEIVED", "timer +5"]
    stage.recorded()
    assert stage.heard() == ["ask"], "only now that it is durable"
    stage.answers(payment, "0000")
    assert stage.heard() == ["record ANSWERED", "mac 9210/0000"]
    stage.ready()
    assert stage.heard() == ["send 9210/0000 on 1"]
    stage.story.replying.on_sent(payment, stage.link, stage.now)
    assert stage.heard() == ["record REPLIED"]
    assert stage.state() is State.REPLIED
    assert not stage.story.in_flight
    assert not stage.told()


def test_a_refusal_carries_its_field(stage: Stage) -> None:
    payment = stage.received()
    stage.answers(payment, "1930", "035")
    assert stage.heard() == ["record ANSWERED", "mac 9210/1930035"]


@pytest.mark.parametrize(
    ("attempts", "why", "detail"),
    [(0, "too slow", "0080, not asked: too slow"), (0, "", "0080"), (1, "too slow", "0080")],
)
def test_a_stand_in_says_why_nobody_was_asked(stage: Stage, attempts: int, why: str, detail: str) -> None:
    """Its line names what kept the question, when it never left."""
    payment = stage.received()
    assert payment.question is not None
    payment.question.attempts, stage.hindrance = attempts, why
    stage.story.deciding.on_deadline(payment, stage.now)
    assert (stage.notes[-1], stage.details[-1]) == (Note.STOOD_IN, detail)


def test_when_the_timer_fires_stand_in_answers(stage: Stage) -> None:
    payment = stage.received()
    stage.story.deciding.on_deadline(payment, stage.now)
    assert stage.heard() == ["record STOOD_IN", "mac 9210/0080"]
    kind, _, body = stage.bodies[-1]
    decision = steps.unpack(kind, body)
    assert isinstance(decision, steps.Decision)
    assert decision.request == request().body, "the notice carries what the processor has to process"


def test_when_the_disk_is_slower_than_the_timer_stand_in_answers_as_soon_as_it_may(stage: Stage) -> None:
    payment = stage.came(request())
    assert payment is not None
    stage.heard()
    stage.story.deciding.on_deadline(payment, stage.now)
    assert stage.heard() == [], "nothing is decided before RECEIVED is durable"
    stage.recorded()
    assert stage.heard() == ["record STOOD_IN", "mac 9210/0080"]


@pytest.mark.parametrize(("code", "kind"), [("0000", Kind.LATE_ANSWER), ("1114", Kind.LATE_REFUSAL)])
@pytest.mark.parametrize("when", ["deciding", "replying", "replied"])
def test_a_late_answer_changes_nothing_and_is_recorded(stage: Stage, code: str, kind: Kind, when: str) -> None:
    payment = stage.received()
    stage.story.deciding.on_deadline(payment, stage.now)
    if when != "deciding":
        stage.ready()
    if when == "replied":
        stage.story.replying.on_sent(payment, stage.link, stage.now)
    stage.heard()
    stage.answers(payment, code)
    assert stage.heard() == [f"record {kind.name}"]
    assert stage.notes[-1] is (Note.LATE_REFUSAL if kind is Kind.LATE_REFUSAL else Note.LATE_ANSWER)
    assert payment.code == "0080"
    assert stage.told() == [Kind.STOOD_IN] + ([kind] if kind is Kind.LATE_REFUSAL else [])


def test_a_second_answer_changes_nothing(stage: Stage) -> None:
    payment = stage.received()
    stage.answers(payment, "0000")
    stage.answers(payment, "1114")
    assert payment.code == "0000"
    assert stage.heard() == ["record ANSWERED", "mac 9210/0000", "record LATE_ANSWER"]


@pytest.mark.parametrize("again", ["9200", "9201"])
def test_a_repeat_gets_the_stored_answer_on_its_own_link(stage: Stage, again: str) -> None:
    payment = stage.received()
    stage.answers(payment, "1114")
    stage.ready()
    stage.story.replying.on_sent(payment, stage.link, stage.now)
    stage.heard()
    stage.came(request(again, settlement_date="20261123", settlement_cycle="002"), Wire(7))
    assert stage.heard() == ["record REPEATED", "leave 9210/1114 on 7 after REPEATED"]


def test_a_repeat_during_the_decision_waits_for_it(stage: Stage) -> None:
    payment = stage.received()
    stage.came(request("9201"), Wire(2))
    assert stage.heard() == ["record REPEATED"]
    stage.answers(payment, "0000")
    stage.heard()
    stage.ready()
    assert stage.heard() == ["send 9210/0000 on 1", "send 9210/0000 on 2"]
    stage.story.replying.on_sent(payment, stage.link, stage.now)
    stage.story.replying.on_unsent(payment, "link-lost", stage.now)
    assert stage.heard() == ["record REPLIED"]
    assert stage.state() is State.REPLIED


def test_a_repeat_saves_a_payment_whose_first_link_is_gone(stage: Stage) -> None:
    first = Wire(1)
    payment = stage.received(first)
    stage.came(request("9201"), Wire(2))
    first.open = False
    stage.answers(payment, "0000")
    stage.ready()
    stage.heard()
    stage.story.replying.on_sent(payment, Wire(2), stage.now)
    assert stage.heard() == ["record REPLIED"]
    assert not stage.told()


def test_when_the_link_is_gone_the_reply_is_recorded_as_undelivered(stage: Stage) -> None:
    link = Wire(1)
    payment = stage.received(link)
    stage.answers(payment, "0000")
    link.open = False
    stage.heard()
    stage.ready()
    assert stage.heard() == ["record UNDELIVERED"]
    assert stage.state() is State.UNDELIVERED
    assert stage.told() == [Kind.UNDELIVERED]


def test_when_the_link_breaks_before_the_reply_is_written_it_is_undelivered(stage: Stage) -> None:
    payment = stage.received()
    stage.answers(payment, "0000")
    stage.ready()
    stage.heard()
    stage.story.replying.on_unsent(payment, "link-lost", stage.now)
    assert stage.heard() == ["record UNDELIVERED"]


def test_when_no_hsm_makes_the_mac_the_reply_is_undelivered(stage: Stage) -> None:
    payment = stage.received()
    stage.answers(payment, "0000")
    stage.heard()
    stage.story.replying.on_unsent(payment, "no-mac", stage.now)
    assert stage.heard() == ["record UNDELIVERED"]


def test_a_reply_that_would_be_too_late_is_not_sent(stage: Stage) -> None:
    payment = stage.received()
    stage.story.deciding.on_deadline(payment, stage.now)
    stage.heard()
    stage.now_s += REPLY_S + 0.001
    stage.ready()
    assert stage.heard() == ["record UNDELIVERED"]


def test_an_undelivered_reply_leaves_with_the_repeat(stage: Stage) -> None:
    link = Wire(1, open=False)
    payment = stage.received(link)
    stage.answers(payment, "0000")
    stage.ready()
    stage.heard()
    stage.came(request("9201"), Wire(2))
    assert stage.heard() == ["record REPEATED", "leave 9210/0000 on 2 after REPEATED"]


def test_the_same_fpid_with_other_content_is_refused_and_the_payment_goes_on(stage: Stage) -> None:
    payment = stage.received()
    stage.came(request(amount="00000000009999"))
    assert stage.heard() == ["record REFUSED", "leave 9210/1181 on 1 after REFUSED"]
    stage.answers(payment, "0000")
    assert stage.heard() == ["record ANSWERED", "mac 9210/0000"]
    stage.ready()
    stage.story.replying.on_sent(payment, stage.link, stage.now)
    stage.heard()
    stage.came(request(amount="00000000009999"))
    assert stage.heard() == ["record REFUSED", "leave 9210/1181 on 1 after REFUSED"]


def test_a_missing_field_is_refused_with_its_number(stage: Stage) -> None:
    stage.came(request(creditor_account=""))
    assert stage.heard() == ["record REFUSED", "leave 9210/1930035 on 1 after REFUSED"]
    assert not stage.outcomes.get(fpid_of(request())), "a refused message does not use the FPID up"


def test_what_cannot_be_answered_with_a_response_is_advised(stage: Stage) -> None:
    stage.came(request(trn=""))
    assert stage.heard() == ["advise 650 DE31"]


ANY_TIME: dict[str, Callable[[Stage], object]] = {
    "unseen": lambda stage: None,
    "receiving": lambda stage: stage.came(request()),
    "asked": lambda stage: stage.received(),
    "deciding": lambda stage: stage.answers(stage.received(), "0000"),
}


@pytest.mark.parametrize("when", ANY_TIME)
def test_a_reversal_is_answered_positively_always(stage: Stage, when: str) -> None:
    """9430 with 0000 whatever was known, told to the processor, and the payment stays reversed."""
    ANY_TIME[when](stage)
    stage.heard()
    stage.came(reversal())
    assert stage.heard() == ["record REVERSED", "leave 9430/0000 on 1 after REVERSED"]
    assert stage.state() is State.REVERSED
    assert stage.told()[-1] is Kind.REVERSED
    assert len(stage.unasked) == 1, "a question that has not left need not"
    stage.came(reversal("9421"))
    assert stage.heard() == ["record REPEATED", "leave 9430/0000 on 1 after REPEATED"]
    assert stage.told().count(Kind.REVERSED) == 1
    stage.came(request("9201"))
    assert stage.heard() == ["record REFUSED", "leave 9210/1100 on 1 after REFUSED"]


def test_a_reply_that_becomes_ready_after_the_reversal_is_withheld(stage: Stage) -> None:
    stage.answers(stage.received(), "0000")
    stage.came(reversal())
    stage.heard()
    stage.ready()
    assert stage.heard() == []


def test_what_becomes_durable_after_the_reversal_is_not_asked_about(stage: Stage) -> None:
    stage.came(request())
    stage.came(reversal())
    stage.heard()
    stage.recorded()
    assert stage.heard() == []


def test_an_answer_after_the_reversal_is_recorded(stage: Stage) -> None:
    payment = stage.received()
    stage.came(reversal())
    stage.heard()
    stage.answers(payment, "0000")
    assert stage.heard() == ["record LATE_ANSWER"]


def test_a_reversal_is_not_forgotten_for_a_repeat_that_was_being_replied_to(stage: Stage) -> None:
    """Undelivered, repeated, reversed, and only then is the repeat's reply written: it stays reversed."""
    link = Wire(1, open=False)
    payment = stage.received(link)
    stage.answers(payment, "0000")
    stage.ready()
    stage.came(request("9201"), Wire(2))
    repeated = stage.left[-1]
    assert repeated is not None
    stage.came(reversal(), Wire(2))
    assert not stage.story.replying.on_repeat_ready(repeated), "and what is not written yet is withheld"
    stage.story.replying.on_sent(repeated, Wire(2), stage.now)
    assert stage.state() is State.REVERSED
    stage.heard()
    stage.came(request("9201"), Wire(2))
    assert stage.heard() == ["record REFUSED", "leave 9210/1100 on 2 after REFUSED"]


def test_a_late_refusal_of_a_settled_and_then_reversed_payment_is_still_told(stage: Stage) -> None:
    payment = stage.received()
    stage.story.deciding.on_deadline(payment, stage.now)
    stage.ready()
    stage.story.replying.on_sent(payment, stage.link, stage.now)
    stage.came(reversal())
    stage.answers(payment, "1114")
    assert stage.told() == [Kind.STOOD_IN, Kind.REVERSED, Kind.LATE_REFUSAL]
    assert payment.state is State.REVERSED


def test_beyond_the_limit_a_payment_is_not_asked_about_but_answered() -> None:
    stage = Stage(payments_max=1)
    stage.received()
    stage.came(request(trn="TRN2"))
    assert stage.heard() == ["record RECEIVED"]
    stage.recorded()
    assert stage.heard() == ["record STOOD_IN", "mac 9210/0080"]
    assert Note.OVERLOAD in stage.notes


def test_a_restart_orphans_what_was_undecided_and_a_repeat_decides_it(stage: Stage) -> None:
    stage.received()
    after = restarted(stage)
    assert after.heard() == ["record ORPHANED"]
    assert after.state() is State.ORPHANED
    payment = after.came(request("9201"))
    assert payment is not None
    assert after.heard() == ["record RECEIVED", "timer +5"]
    after.recorded()
    after.answers(payment, "0000")
    assert after.heard() == ["ask", "record ANSWERED", "mac 9210/0000"]


def test_an_orphan_is_not_revived_by_other_content(stage: Stage) -> None:
    stage.received()
    after = restarted(stage)
    after.heard()
    after.came(request(amount="00000000009999"))
    assert after.heard() == ["record REFUSED", "leave 9210/1181 on 1 after REFUSED"]


def test_a_restart_says_of_a_decision_without_reply_that_it_may_not_have_arrived(stage: Stage) -> None:
    stage.answers(stage.received(), "1114")
    after = restarted(stage)
    assert after.heard() == ["record UNDELIVERED"]
    after.came(request("9201"))
    assert after.heard() == ["record REPEATED", "leave 9210/1114 on 1 after REPEATED"]


def test_a_restart_remembers_what_was_replied(stage: Stage) -> None:
    payment = stage.received()
    stage.answers(payment, "0000")
    stage.ready()
    stage.story.replying.on_sent(payment, stage.link, stage.now)
    after = restarted(stage)
    assert after.heard() == []
    after.came(request("9201"))
    assert after.heard() == ["record REPEATED", "leave 9210/0000 on 1 after REPEATED"]


# --- payment types


def test_a_refusal_of_a_scheme_return_is_overruled() -> None:
    """It must be accepted: the hub hears 0000, the processor is told so, and repeats get the same."""
    stage = Stage()
    payment = stage.came(scheme_return())
    assert payment is not None
    stage.recorded()
    stage.heard()
    stage.answers(payment, "1114", "035")
    assert stage.heard() == ["record OVERRULED", "record ANSWERED", "mac 9210/0000"]
    assert Note.OVERRULED in stage.notes
    kind, _, body = stage.bodies[-2]
    late = steps.unpack(kind, body)
    assert isinstance(late, steps.Late)
    assert (late.code, late.stood_in, late.request) == ("1114", "0000", scheme_return().body)
    stage.ready()
    stage.story.replying.on_sent(payment, stage.link, stage.now)
    assert stage.told() == [Kind.OVERRULED]
    stage.heard()
    stage.came(scheme_return("9201"))
    assert stage.heard() == ["record REPEATED", "leave 9210/0000 on 1 after REPEATED"]
    assert restarted(stage).outcomes.get(payment.fpid) == stage.outcomes.get(payment.fpid)


GARBLED = [shape for shape in SHAPES if shape.outcome.endswith("!")]


@pytest.mark.parametrize("shape", GARBLED, ids=lambda shape: shape.what.replace(" ", "-"))
def test_a_refusal_that_is_not_as_agreed_is_a_refusal_to_every_law(shape: Shape) -> None:
    """In time it is the answer; late it is a late refusal; of what must be accepted it is overruled."""
    decided = Answers().read(shape.status, shape.body)
    in_time, late, overruled = Stage(), Stage(), Stage()
    payment = in_time.received()
    in_time.answers(payment, decided.code, decided.field)
    assert in_time.heard() == ["record ANSWERED", f"mac 9210/{decided.code}"]
    payment = late.received()
    late.story.deciding.on_deadline(payment, late.now)
    late.heard()
    late.answers(payment, decided.code, decided.field)
    assert late.heard() == ["record LATE_REFUSAL"]
    must = overruled.came(scheme_return())
    assert must is not None
    overruled.recorded()
    overruled.heard()
    overruled.answers(must, decided.code, decided.field)
    assert overruled.heard() == ["record OVERRULED", "record ANSWERED", "mac 9210/0000"]


@pytest.mark.parametrize(("kind", "code"), [("25", "0000"), ("25", "0083"), ("20", "1114")])
def test_nothing_else_is_overruled(kind: str, code: str) -> None:
    stage = Stage()
    payment = stage.came(scheme_return(kind=kind))
    assert payment is not None
    stage.recorded()
    stage.heard()
    stage.answers(payment, code)
    assert stage.heard() == ["record ANSWERED", f"mac 9210/{code}"]
    assert not stage.told()


@pytest.mark.parametrize("kind", ["20", "25"])
@pytest.mark.parametrize(
    ("lacks", "field"),
    [
        ({"return_code": ""}, "126"),
        ({"returned_fpid": ""}, "127"),
        ({"return_code": "", "returned_fpid": ""}, "126"),
        ({"return_code": "", "creditor_account": ""}, "035"),
    ],
)
def test_a_return_that_does_not_say_what_it_returns_is_refused(kind: str, lacks: dict[str, str], field: str) -> None:
    """1930, with the first field in error."""
    stage = Stage()
    stage.came(scheme_return(kind=kind, **lacks))
    assert stage.heard() == ["record REFUSED", f"leave 9210/1930{field} on 1 after REFUSED"]


def test_the_first_field_in_error_is_named_whoever_found_it() -> None:
    """A bad 127, and 126 that is missing: the missing one comes first, and one that every payment has before both."""
    stage = Stage()
    stage.came(scheme_return(kind="20", return_code="", returned_fpid="F"))
    stage.came(scheme_return(kind="20", return_code="", returned_fpid="F", creditor_account=" "))
    assert [line for line in stage.heard() if line.startswith("leave")] == [
        "leave 9210/1930126 on 1 after REFUSED", "leave 9210/1930035 on 1 after REFUSED",
    ]  # fmt: skip


def test_a_return_that_cannot_be_named_is_advised() -> None:
    stage = Stage()
    stage.came(scheme_return(return_code="", trn=""))
    assert stage.heard() == ["advise 650 DE31"]


def test_an_unknown_type_is_processed_like_any_other_and_noted() -> None:
    stage = Stage()
    payment = stage.came(request(processing_code="770000"))
    assert payment is not None
    stage.recorded()
    stage.answers(payment, "0000")
    assert stage.heard() == ["record RECEIVED", "timer +5", "ask", "record ANSWERED", "mac 9210/0000"]
    assert Note.UNKNOWN_TYPE in stage.notes


GROUPS: tuple[Group, ...] = get_args(Group)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("kind", sorted({*CODEC.table.types, "77"}))
def test_a_type_of_another_group_is_answered_like_any_payment_and_noted(kind: str, group: Group) -> None:
    """The hub has decided where it sends it. People hear of it once; of a type of ours nothing is said."""
    stage = Stage(pair=config.Pair(group=group))
    returned = {"return_code": "00000001", "returned_fpid": "F" * 42} if kind in {"20", "25"} else {}
    payment = stage.came(request(processing_code=f"{kind}0000", **returned))
    assert payment is not None
    stage.recorded()
    stage.answers(payment, "0000")
    assert stage.heard() == ["record RECEIVED", "timer +5", "ask", "record ANSWERED", "mac 9210/0000"]
    noted = [note for note in stage.notes if note in {Note.OTHER_GROUP, Note.UNKNOWN_TYPE}]
    known = CODEC.table.types.get(kind)
    assert noted == ([Note.UNKNOWN_TYPE] if known is None else [] if known.group == group else [Note.OTHER_GROUP])


@pytest.mark.parametrize("kind", sorted(CODEC.table.types))
@pytest.mark.parametrize("code", ["0000", "0083"])
def test_repeats_of_every_type_are_answered_from_the_stored_outcome(kind: str, code: str) -> None:
    """Asynchronous ones are repeated by the hub until they are answered: before the decision, after it, for ever."""
    stage = Stage()
    payment = stage.came(scheme_return(kind=kind))
    assert payment is not None
    stage.recorded()
    stage.came(scheme_return("9201", kind), Wire(2))
    stage.answers(payment, code)
    stage.heard()
    stage.ready()
    assert stage.heard() == [f"send 9210/{code} on 1", f"send 9210/{code} on 2"]
    stage.story.replying.on_sent(payment, stage.link, stage.now)
    stage.heard()
    for link in (3, 4):
        stage.came(scheme_return("9201", kind, settlement_cycle=f"{link:03}"), Wire(link))
        assert stage.heard() == ["record REPEATED", f"leave 9210/{code} on {link} after REPEATED"]
    assert len(stage.asked) == 1
