"""The story of an inbound payment, as packet traces: this goes in, this comes out, in this order."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway import config, steps
from gateway.clock import Now
from gateway.inbound import Inbound, Link, Note, Payment
from gateway.lifecycle import State
from gateway.outcomes import Outcomes, Replay
from gateway.steps import Kind
from gateway.wire.codec import Codec, fpid_of, join_mac
from gateway.wire.message import PaymentRequest, ReversalRequest

CODEC = Codec()
MAC = bytes.fromhex("0123456789ABCDEF")
STAND_IN_S, REPLY_S = 5.0, 9.0


@dataclass
class Wire:
    """A link as far as the story knows one."""

    id: int
    open: bool = True


def request(mti: str = "9200", **changes: str) -> PaymentRequest:
    fields: dict[str, Any] = {
        "processing_code": "100000", "amount": "00000000001000", "date_sent": "20261122", "trn": "TRN1",
        "submitting_member": "00000001", "creditor_account": "12345678", "debtor_agent": "040004", "debtor_account":
        "87654321", "currency": "826", "creditor_agent": "050005", "sender": "040004", "debtor_name": "A PAYER",
        "creditor_name": "A PAYEE", "reference": "RENT",
    }  # fmt: skip
    built = PaymentRequest(mti=mti, **(fields | changes))
    decoded = CODEC.decode(join_mac(CODEC.encode(built), MAC))
    assert isinstance(decoded, PaymentRequest)
    return decoded


def reversal(mti: str = "9420", trn: str = "TRN1") -> ReversalRequest:
    built = ReversalRequest(
        mti=mti, processing_code="100000", amount="00000000001000", date_sent="20261122", trn=trn, currency="826",
        sender="040004", action_code="4021",
    )  # fmt: skip
    decoded = CODEC.decode(join_mac(CODEC.encode(built), MAC))
    assert isinstance(decoded, ReversalRequest)
    return decoded


def code_of(covered: bytes) -> str:
    response = CODEC.decode(join_mac(covered, MAC))
    return response.mti + "/" + getattr(response, "action_code", "") + getattr(response, "field_in_error", "")


@dataclass
class Stage:
    """Plays the shells: writes down every command as a word, and can bring their events."""

    payments_max: int = 10
    said: list[str] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    bodies: list[tuple[Kind, str, bytes]] = field(default_factory=list)
    asked: list[Payment] = field(default_factory=list)
    left: list[Payment | None] = field(default_factory=list)
    unasked: list[Payment] = field(default_factory=list)
    waiting: list[Payment] = field(default_factory=list)
    decided: list[tuple[Payment, bytes]] = field(default_factory=list)
    now_s: float = 100.0
    pair: config.Pair = field(default_factory=config.Pair)
    news: bool = True
    outcomes: Outcomes = field(default_factory=lambda: Outcomes(7))

    def __post_init__(self) -> None:
        self.story = Inbound(self.pair, self.payments_max, self.outcomes, CODEC, self, lambda _request: self.news)
        self.link = Wire(1)

    @property
    def now(self) -> Now:
        return Now(self.now_s, 1_800_000_000 * 10**9)

    # Commands

    def record(self, kind: Kind, body: bytes, fpid: str, link: Link) -> int:
        self.bodies.append((kind, fpid, body))
        self.said.append(f"record {kind.name}")
        return len(self.bodies)

    def when_recorded(self, position: int, payment: Payment) -> None:
        assert self.bodies[position - 1][0] is Kind.RECEIVED
        self.waiting.append(payment)

    def ask(self, payment: Payment, deadline_s: float) -> None:
        self.asked.append(payment)
        within_s = deadline_s - payment.first_byte_s
        self.said.append("ask" if within_s == STAND_IN_S else f"ask +{within_s:g}")

    def unask(self, payment: Payment) -> None:
        self.unasked.append(payment)

    def set_timer(self, payment: Payment, at_s: float) -> None:
        self.said.append(f"timer +{at_s - payment.first_byte_s:g}")

    def authenticate(self, payment: Payment, covered: bytes, position: int, until_s: float) -> None:
        kind, _, body = self.bodies[position - 1]
        assert kind in (Kind.ANSWERED, Kind.STOOD_IN, Kind.DECLINED)
        decision = steps.unpack(kind, body)
        assert isinstance(decision, steps.Decision)
        assert decision.reply == covered, "what will be sent is what was recorded"
        self.decided.append((payment, covered))
        self.said.append(f"mac {code_of(covered)}")

    def send(self, payment: Payment, link: Link, body: bytes) -> bool:
        assert isinstance(link, Wire)
        if link.open:
            self.said.append(f"send {code_of(body[:-16])} on {link.id}")
        return link.open

    def leave(self, link: Link, covered: bytes, position: int, until_s: float, payment: Payment | None) -> None:
        self.left.append(payment)
        self.said.append(f"leave {code_of(covered)} on {link.id} after {self.bodies[position - 1][0].name}")

    def note(self, note: Note, fpid: str, detail: str = "", since_s: float = 0.0) -> None:
        self.notes.append(note)

    def advise(self, link: Link, body: bytes, function_code: str, where: str) -> None:
        self.said.append(f"advise {function_code} {where}")

    # events

    def came(self, message: PaymentRequest | ReversalRequest, link: Wire | None = None) -> Payment | None:
        on = link or self.link
        if isinstance(message, PaymentRequest):
            self.story.on_request(message, on, self.now_s)
        else:
            self.story.on_reversal(message, on, self.now_s, self.now)
        return self.story.in_flight.get(fpid_of(message))

    def recorded(self) -> None:
        self.story.on_recorded(self.waiting.pop(0), self.now)

    def answers(self, payment: Payment, code: str, field_in_error: str = "") -> None:
        self.story.on_answer(payment, code, field_in_error)

    def ready(self) -> None:
        payment, covered = self.decided.pop(0)
        self.story.on_ready(payment, join_mac(covered, MAC), self.now)

    def heard(self) -> list[str]:
        said, self.said = self.said, []
        return said

    def received(self, link: Wire | None = None) -> Payment:
        payment = self.came(request(), link)
        assert payment is not None
        self.recorded()
        self.heard()
        return payment

    def state(self, trn: str = "TRN1") -> State:
        outcome = self.outcomes.get(fpid_of(request(trn=trn)))
        assert outcome is not None
        return outcome.state

    def told(self) -> list[Kind]:
        return [kind for kind, _, _ in self.bodies if kind in steps.TOLD_KINDS]


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
    stage.story.on_sent(payment, stage.link, stage.now)
    assert stage.heard() == ["record REPLIED"]
    assert stage.state() is State.REPLIED
    assert not stage.story.in_flight
    assert not stage.told()


def test_a_refusal_carries_its_field(stage: Stage) -> None:
    payment = stage.received()
    stage.answers(payment, "1930", "035")
    assert stage.heard() == ["record ANSWERED", "mac 9210/1930035"]


def test_when_the_timer_fires_stand_in_answers(stage: Stage) -> None:
    payment = stage.received()
    stage.story.on_deadline(payment, stage.now)
    assert stage.heard() == ["record STOOD_IN", "mac 9210/0083"]
    kind, _, body = stage.bodies[-1]
    decision = steps.unpack(kind, body)
    assert isinstance(decision, steps.Decision)
    assert decision.request == request().body, "the notice carries what the processor has to process"


def test_when_the_disk_is_slower_than_the_timer_stand_in_answers_as_soon_as_it_may(stage: Stage) -> None:
    payment = stage.came(request())
    assert payment is not None
    stage.heard()
    stage.story.on_deadline(payment, stage.now)
    assert stage.heard() == [], "nothing is decided before RECEIVED is durable"
    stage.recorded()
    assert stage.heard() == ["record STOOD_IN", "mac 9210/0083"]


@pytest.mark.parametrize(("code", "kind"), [("0000", Kind.LATE_ANSWER), ("1114", Kind.LATE_REFUSAL)])
@pytest.mark.parametrize("when", ["deciding", "replying", "replied"])
def test_a_late_answer_changes_nothing_and_is_recorded(stage: Stage, code: str, kind: Kind, when: str) -> None:
    payment = stage.received()
    stage.story.on_deadline(payment, stage.now)
    if when != "deciding":
        stage.ready()
    if when == "replied":
        stage.story.on_sent(payment, stage.link, stage.now)
    stage.heard()
    stage.answers(payment, code)
    assert stage.heard() == [f"record {kind.name}"]
    assert payment.code == "0083"
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
    stage.story.on_sent(payment, stage.link, stage.now)
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
    stage.story.on_sent(payment, stage.link, stage.now)
    stage.story.on_unsent(payment, "link-lost", stage.now)
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
    stage.story.on_sent(payment, Wire(2), stage.now)
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
    stage.story.on_unsent(payment, "link-lost", stage.now)
    assert stage.heard() == ["record UNDELIVERED"]


def test_when_no_hsm_makes_the_mac_the_reply_is_undelivered(stage: Stage) -> None:
    payment = stage.received()
    stage.answers(payment, "0000")
    stage.heard()
    stage.story.on_unsent(payment, "no-mac", stage.now)
    assert stage.heard() == ["record UNDELIVERED"]


def test_a_reply_that_would_be_too_late_is_not_sent(stage: Stage) -> None:
    payment = stage.received()
    stage.story.on_deadline(payment, stage.now)
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
    stage.story.on_sent(payment, stage.link, stage.now)
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
    assert not stage.story.may_repeat(repeated), "and what is not written yet is withheld"
    stage.story.on_sent(repeated, Wire(2), stage.now)
    assert stage.state() is State.REVERSED
    stage.heard()
    stage.came(request("9201"), Wire(2))
    assert stage.heard() == ["record REFUSED", "leave 9210/1100 on 2 after REFUSED"]


def test_a_late_refusal_of_a_settled_and_then_reversed_payment_is_still_told(stage: Stage) -> None:
    payment = stage.received()
    stage.story.on_deadline(payment, stage.now)
    stage.ready()
    stage.story.on_sent(payment, stage.link, stage.now)
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
    assert stage.heard() == ["record STOOD_IN", "mac 9210/0083"]
    assert Note.OVERLOAD in stage.notes


def restarted(stage: Stage) -> Stage:
    """What a new process knows when it has read what the old one recorded."""
    after = Stage()
    replay = Replay(after.outcomes)
    for kind, fpid, body in stage.bodies:
        replay.record(kind, stage.now.wall_ns, fpid, body)
    after.story.on_restart(replay.unfinished, Wire(0), after.now)
    return after


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
    stage.story.on_sent(payment, stage.link, stage.now)
    after = restarted(stage)
    assert after.heard() == []
    after.came(request("9201"))
    assert after.heard() == ["record REPEATED", "leave 9210/0000 on 1 after REPEATED"]
