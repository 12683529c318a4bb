"""The rare turns of a payment that arrives: what may come at any time comes at each of its states."""

from collections.abc import Callable

import pytest

from gateway import config
from gateway.payments.inbound_law import State
from gateway.payments.steps import Kind
from gateway.wire.message import PaymentRequest, ReversalRequest
from tests.conftest import Logged
from tests.fakes.engine import World, codes, payment, sealed
from tests.fakes.stage import Stage, Wire, request, restarted, reversal, scheme_return

LAST_MOMENT_S = config.Pair(group="sip").deadlines.last_moment_s


def _receiving(stage: Stage) -> Stage:
    stage.came(request())
    return stage


def _overdue(stage: Stage) -> Stage:
    stage.came(request())
    stage.story.deciding.on_deadline(stage.waiting[0], stage.now)
    return stage


def _asked(stage: Stage) -> Stage:
    stage.received()
    return stage


def _deciding(stage: Stage) -> Stage:
    stage.story.deciding.on_deadline(stage.received(), stage.now)
    return stage


def _replying(stage: Stage) -> Stage:
    _deciding(stage).ready()
    return stage


def _replied(stage: Stage) -> Stage:
    (found,) = _replying(stage).story.in_flight.values()
    stage.story.replying.on_sent(found, stage.link, stage.now)
    return stage


def _undelivered(stage: Stage) -> Stage:
    (found,) = _deciding(stage).story.in_flight.values()
    stage.story.replying.on_unsent(found, "no-mac", stage.now)
    stage.decided.clear()
    return stage


def _reversed(stage: Stage) -> Stage:
    _replied(stage).came(reversal())
    return stage


def _orphaned(stage: Stage) -> Stage:
    return restarted(_asked(stage))


Bring = Callable[[Stage], Stage]
KNOWN: dict[str, Bring] = {
    "receiving": _receiving, "overdue": _overdue, "asked": _asked, "deciding": _deciding, "replying": _replying,
    "replied": _replied, "undelivered": _undelivered, "reversed": _reversed, "orphaned": _orphaned,
}  # fmt: skip
"""How a stage is brought to where its payment is known and stands so. Stand-in decides."""


def brought(when: str) -> Stage:
    """A stage that has said everything so far."""
    stage = KNOWN[when](Stage())
    stage.heard()
    return stage


@pytest.mark.parametrize("when", KNOWN)
def test_other_content_under_a_used_fpid_is_refused_at_any_time(when: str) -> None:
    """1181 on its own link, and nothing of what is known changes."""
    stage = brought(when)
    stage.came(request(amount="00000000009999"), Wire(7))
    assert stage.heard() == ["record REFUSED", "leave 9210/1181 on 7 after REFUSED"]
    assert Kind.REFUSED not in stage.told()


@pytest.mark.parametrize("when", KNOWN)
def test_a_repeat_gets_what_the_payment_has_come_to_at_any_time(when: str) -> None:
    """Undecided or not yet ready it waits for the same reply; after that the stored one goes on its own link."""
    stage = brought(when)
    stage.came(request("9201"), Wire(7))
    stored = ["record REPEATED", "leave 9210/0080 on 7 after REPEATED"]
    assert stage.heard() == {
        "replying": stored, "replied": stored, "undelivered": stored,
        "reversed": ["record REFUSED", "leave 9210/1100 on 7 after REFUSED"],
        "orphaned": ["record RECEIVED", "timer +5"],
    }.get(when, ["record REPEATED"])  # fmt: skip


@pytest.mark.parametrize("when", KNOWN)
def test_a_repeat_of_a_known_payment_is_treated_alike_whatever_its_date(when: str) -> None:
    """The date window is for what nobody knows: a repeat that comes days later gets what an early one gets."""
    late, early = brought(when), brought(when)
    late.days = 5
    for stage in (late, early):
        stage.came(request("9201"), Wire(7))
    assert late.heard() == early.heard()
    assert Kind.REFUSED not in late.told()


REPLIED_TO = ["replying", "replied", "undelivered"]


@pytest.mark.parametrize("when", REPLIED_TO)
@pytest.mark.parametrize("reversed_", [False, True], ids=["still there", "reversed meanwhile"])
def test_the_reply_to_a_repeat_leaves_unless_a_reversal_came_meanwhile(when: str, *, reversed_: bool) -> None:
    """Whatever the payment has come to when the reply has its MAC."""
    stage = brought(when)
    stage.came(request("9201"), Wire(7))
    repeated = stage.left[-1]
    assert repeated is not None
    if reversed_:
        stage.came(reversal(), Wire(7))
    assert stage.story.replying.on_repeat_ready(repeated) is not reversed_


@pytest.mark.parametrize("overdue", [False, True])
def test_an_answer_to_a_payment_that_was_given_up_and_comes_again_is_recorded(*, overdue: bool) -> None:
    """The new request is not durable yet: the answer decides nothing, and the payment is asked about anew."""
    stage = Stage(pair=config.Pair(group="sip", stand_in=config.StandIn(mode="never", otherwise="nothing")))
    before = stage.received()
    for after_s in (stage.pair.deadlines.stand_in_after_s, LAST_MOMENT_S):
        stage.fires(before, after_s)
    assert stage.state() is State.ORPHANED
    again = stage.came(request("9201"), Wire(7))
    assert again is not None
    if overdue:
        stage.story.deciding.on_deadline(again, stage.now)
    stage.heard()
    stage.answers(before, "0000")
    assert stage.heard() == ["record LATE_ANSWER"]
    stage.recorded()
    assert stage.heard()[0].startswith("ask")


@pytest.mark.parametrize("when", KNOWN)
def test_a_reversal_ends_a_payment_at_any_time(when: str) -> None:
    """9430 always; what was under way comes to its end, is recorded where it happened, and decides nothing."""
    stage = brought(when)
    under_way = list(stage.story.in_flight.values())
    stage.came(reversal("9421"), Wire(7))
    kind = "REPEATED" if when == "reversed" else "REVERSED"
    assert stage.heard() == [f"record {kind}", f"leave 9430/0000 on 7 after {kind}"]
    while stage.waiting:
        stage.recorded()
    while stage.decided:
        stage.ready()
    assert stage.heard() == [], "nobody is asked, nothing is decided, no reply leaves"
    if when == "replying":  # it was in the link's buffer already
        stage.story.replying.on_sent(under_way[0], stage.link, stage.now)
        assert stage.heard() == ["record REPLIED"]
    assert stage.state() is State.REVERSED
    assert not stage.story.in_flight


@pytest.mark.parametrize("when", ["deciding", "replying", "replied", "undelivered", "reversed"])
def test_a_refusal_after_stand_in_is_told_however_far_the_payment_is(when: str) -> None:
    stage = Stage()
    KNOWN[when](stage)
    asked = stage.asked[0]
    stage.heard()
    stage.answers(asked, "1114")
    assert stage.heard() == ["record LATE_REFUSAL"]
    assert stage.told()[-1] is Kind.LATE_REFUSAL


def test_a_repeat_that_cannot_be_replied_to_either_leaves_it_undelivered_and_says_so_once() -> None:
    stage = brought("undelivered")
    stage.came(request("9201"), Wire(7))
    repeated = stage.left[-1]
    assert repeated is not None
    stage.heard()
    stage.story.replying.on_unsent(repeated, "link-lost", stage.now)
    assert stage.heard() == []
    assert stage.state() is State.UNDELIVERED
    assert stage.told().count(Kind.UNDELIVERED) == 1


def test_a_repeat_that_is_replied_to_ends_an_undelivered_payment_well() -> None:
    stage = brought("undelivered")
    stage.came(request("9201"), Wire(7))
    repeated = stage.left[-1]
    assert repeated is not None
    stage.heard()
    stage.story.replying.on_sent(repeated, Wire(7), stage.now)
    assert stage.heard() == ["record REPLIED"]
    assert stage.state() is State.REPLIED


def test_a_reply_that_leaves_on_two_links_is_recorded_once() -> None:
    stage = brought("deciding")
    stage.came(request("9201"), Wire(7))
    (found,) = stage.story.in_flight.values()
    stage.ready()
    stage.heard()
    for link in (stage.link, Wire(7)):
        stage.story.replying.on_sent(found, link, stage.now)
    assert stage.heard() == ["record REPLIED"]


@pytest.mark.parametrize("when", ["deciding", "replying"])
def test_the_timer_of_what_the_processor_decided_in_time_says_nothing(when: str) -> None:
    stage = Stage()
    found = stage.received()
    stage.answers(found, "0000")
    if when == "replying":
        stage.ready()
    stage.heard()
    assert stage.fires(found, stage.pair.deadlines.stand_in_after_s) == []
    assert found.code == "0000"


# --- said aloud, through the engine


def of_the_hub(*messages: PaymentRequest | ReversalRequest) -> list[bytes]:
    """As they come, authentic."""
    return [sealed(message) for message in messages]


def test_a_payment_that_was_reversed_before_is_refused_and_people_hear_of_it(logged: Logged) -> None:
    world = World()
    world.frames(*of_the_hub(reversal()))
    world.settle()
    world.frames(*of_the_hub(request()))
    world.settle()
    assert codes(world.link) == ["9430/0000", "9210/1100"]
    assert [line["level"] for line in logged("payment refused: it was reversed before")] == ["warning"]


def test_the_answer_to_a_reversal_whose_link_is_gone_is_lost_and_that_is_said(logged: Logged) -> None:
    """The hub repeats it on another link; nothing of a payment depends on it."""
    world = World()
    world.frames(*of_the_hub(reversal()))
    world.macs()
    world.down(world.link)
    world.settle()
    assert codes(world.link) == []
    (line,) = logged("message not sent")
    assert (line["level"], line["reason"], line["mti"]) == ("warning", "link-lost", "9430")


def test_a_refusal_of_a_scheme_return_is_overruled_and_that_is_an_alarm(logged: Logged) -> None:
    world = World()
    world.frames(*of_the_hub(scheme_return()))
    world.settle()
    world.answer("1114")
    world.settle()
    assert codes(world.link) == ["9210/0000"]
    (line,) = logged("refusal overruled: the scheme says that this must be accepted")
    assert (line["level"], line["detail"]) == ("error", "1114")


def test_a_scheme_return_is_stood_in_for_even_where_the_rules_forbid_it(logged: Logged) -> None:
    world = World(config.Pair(group="sip", stand_in=config.StandIn(mode="never")))
    world.frames(*of_the_hub(scheme_return()))
    world.settle()
    for _ in range(2):  # stand-in's time, and the last moment
        world.later(LAST_MOMENT_S)
        world.settle()
    assert codes(world.link) == ["9210/0080"]
    (line,) = logged("payment stood in against the rules: the scheme says that it must be accepted")
    assert (line["level"], line["detail"]) == ("warning", "mode")


def test_a_stand_in_says_what_kept_the_question_from_the_processor(logged: Logged) -> None:
    """The processor's client says it, when stand-in's time comes and the question has not left."""
    world = World()
    world.frames(payment())
    world.settle()
    world.processor.hindrance = "each connection was in use"
    world.later(config.Deadlines().stand_in_after_s)
    (line,) = logged("payment stood in")
    assert line["detail"] == "0080, not asked: each connection was in use"


def test_a_payment_of_a_type_that_nobody_knows_is_processed_and_people_hear_of_it(logged: Logged) -> None:
    world = World()
    world.frames(payment(processing_code="770000"))
    world.settle()
    world.answer()
    world.settle()
    assert codes(world.link) == ["9210/0000"]
    (line,) = logged("payment is of a type that the field table does not know")
    assert (line["level"], line["detail"]) == ("warning", "77")


def test_an_acceptance_after_the_refusal_in_its_stead_is_an_alarm(logged: Logged) -> None:
    """The hub was told 1909: the processor must take it back."""
    world = World(config.Pair(group="sip", stand_in=config.StandIn(mode="never")))
    world.frames(payment())
    world.settle()
    for _ in range(2):  # stand-in's time, and the last moment
        world.later(LAST_MOMENT_S)
        world.settle()
    assert codes(world.link) == ["9210/1909"]
    world.answer("0000")
    world.settle()
    (line,) = logged("processor accepts what was refused in its stead")
    assert line["level"] == "error"
    assert codes(world.link) == ["9210/1909"]
