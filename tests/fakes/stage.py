"""Plays the shells around the story of inbound payments: every command is written down as a word."""

from dataclasses import dataclass, field
from typing import Any

from gateway import config
from gateway.clock import Now
from gateway.payments import steps
from gateway.payments.arrival import Arrival, Note
from gateway.payments.inbound import Inbound
from gateway.payments.inbound_law import State
from gateway.payments.links import Link
from gateway.payments.mode import Mode
from gateway.payments.outcomes import Outcomes, Replay
from gateway.payments.steps import Kind
from gateway.payments.work import Ask
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
    site: str = "hub1"


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


def reversal(mti: str = "9420", trn: str = "TRN1", date_sent: str = "20261122") -> ReversalRequest:
    built = ReversalRequest(
        mti=mti, processing_code="100000", amount="00000000001000", date_sent=date_sent, trn=trn, currency="826",
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
    details: list[str] = field(default_factory=list)
    bodies: list[tuple[Kind, str, bytes]] = field(default_factory=list)
    asked: list[Arrival] = field(default_factory=list)
    left: list[Arrival | None] = field(default_factory=list)
    unasked: list[Arrival] = field(default_factory=list)
    waiting: list[Arrival] = field(default_factory=list)
    decided: list[tuple[Arrival, bytes]] = field(default_factory=list)
    now_s: float = 100.0
    pair: config.Pair = field(default_factory=lambda: config.Pair(group="sip"))
    news: bool = True
    days: int = 0
    in_doubt: bool = False
    """Whether it is not sure which day it is."""
    outcomes: Outcomes = field(default_factory=lambda: Outcomes(7))
    hindrance: str = ""
    """Why questions do not leave."""

    def __post_init__(self) -> None:
        self.story = Inbound(
            self.pair, self.payments_max, self.outcomes, CODEC, self, lambda _request: self.news,
            lambda _now: self.in_doubt,
        )  # fmt: skip
        self.link = Wire(1)

    @property
    def mode(self) -> Mode:
        return Mode(self.story.stand_in, self)

    @property
    def now(self) -> Now:
        return Now(self.now_s, (1_795_348_800 + self.days * 86_400) * 10**9)

    # Commands

    def record(self, kind: Kind, body: bytes, fpid: str, link: Link) -> int:
        self.bodies.append((kind, fpid, body))
        self.said.append(f"record {kind.name}")
        return len(self.bodies)

    def when_recorded(self, position: int, payment: Arrival) -> None:
        assert self.bodies[position - 1][0] is Kind.RECEIVED
        self.waiting.append(payment)

    def ask(self, payment: Arrival, deadline_s: float) -> None:
        assert payment.request is not None
        payment.question = Ask(payment.fpid, payment.request, deadline_s, payment)
        self.asked.append(payment)
        within_s = deadline_s - payment.first_byte_s
        self.said.append("ask" if within_s == STAND_IN_S else f"ask +{within_s:g}")

    def unask(self, payment: Arrival) -> None:
        self.unasked.append(payment)

    def why_unasked(self, question: Ask) -> str:
        return self.hindrance

    def set_timer(self, payment: Arrival, at_s: float) -> None:
        self.said.append(f"timer +{at_s - payment.first_byte_s:g}")

    def authenticate(self, payment: Arrival, covered: bytes, position: int, until_s: float) -> None:
        kind, _, body = self.bodies[position - 1]
        assert kind in (Kind.ANSWERED, Kind.STOOD_IN, Kind.DECLINED)
        decision = steps.unpack(kind, body)
        assert isinstance(decision, steps.Decision)
        assert decision.reply == covered, "what will be sent is what was recorded"
        self.decided.append((payment, covered))
        self.said.append(f"mac {code_of(covered)}")

    def send(self, payment: Arrival, link: Link, body: bytes, until_s: float) -> bool:
        assert isinstance(link, Wire)
        if link.open:
            self.said.append(f"send {code_of(body[:-16])} on {link.id}")
        return link.open

    def leave(self, link: Link, covered: bytes, position: int, until_s: float, payment: Arrival | None) -> None:
        self.left.append(payment)
        self.said.append(f"leave {code_of(covered)} on {link.id} after {self.bodies[position - 1][0].name}")

    def note(self, note: Note, fpid: str, detail: str = "", since_s: float = 0.0) -> None:
        self.notes.append(note)
        self.details.append(detail)

    def advise(self, link: Link, body: bytes, function_code: str, where: str) -> None:
        self.said.append(f"advise {function_code} {where}")

    # events

    def came(self, message: PaymentRequest | ReversalRequest, link: Wire | None = None) -> Arrival | None:
        on = link or self.link
        if isinstance(message, PaymentRequest):
            self.story.on_request(message, on, self.now_s, self.now)
        else:
            self.story.on_reversal(message, on, self.now_s, self.now)
        return self.story.in_flight.get(fpid_of(message))

    def recorded(self) -> None:
        self.story.deciding.on_recorded(self.waiting.pop(0), self.now)

    def answers(self, payment: Arrival, code: str, field_in_error: str = "") -> None:
        self.story.deciding.on_answer(payment, code, field_in_error)

    def fires(self, payment: Arrival, after_s: float) -> list[str]:
        """The payment's timer fires so long after its first byte; what is said then."""
        self.now_s = payment.first_byte_s + after_s
        if payment.fpid in self.story.in_flight:
            self.story.deciding.on_deadline(payment, self.now)
        return self.heard()

    def ready(self) -> None:
        payment, covered = self.decided.pop(0)
        self.story.replying.on_ready(payment, join_mac(covered, MAC), self.now)

    def heard(self) -> list[str]:
        said, self.said = self.said, []
        return said

    def received(self, link: Wire | None = None) -> Arrival:
        payment = self.came(request(), link)
        assert payment is not None
        self.recorded()
        self.heard()
        return payment

    def state(self, trn: str = "TRN1") -> State:
        return self.state_of(request(trn=trn))

    def state_of(self, message: PaymentRequest) -> State:
        outcome = self.outcomes.get(fpid_of(message))
        assert outcome is not None
        return outcome.state

    def told(self) -> list[Kind]:
        return [kind for kind, _, _ in self.bodies if kind in steps.TOLD_KINDS]


def restarted(stage: Stage) -> Stage:
    """What a new process knows when it has read what the old one recorded."""
    after = Stage()
    replay = Replay(after.outcomes)
    for kind, fpid, body in stage.bodies:
        replay.record(kind, stage.now.wall_ns, fpid, body)
    after.story.on_restart(replay.unfinished, after.now)
    return after


def scheme_return(mti: str = "9200", kind: str = "25", **changes: str) -> PaymentRequest:
    fields = {"processing_code": f"{kind}0000", "return_code": "00000001", "returned_fpid": "F" * 42}
    return request(mti, **(fields | changes))
