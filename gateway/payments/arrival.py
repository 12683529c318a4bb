"""A payment that arrives, as its story (`inbound`) holds it; what the story commands; what it notes.

`Arrivals` sees to it that each FPID has one object at a time. The shells hold that object while a question, a record or
a reply is under way, and what any of them brings counts for the payment, wherever it stands by then.
"""

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol
from weakref import ref

from gateway.clock import Now
from gateway.payments.inbound_law import Act, Event, State, step
from gateway.payments.links import Link
from gateway.payments.outcomes import Outcome, Outcomes, unseen
from gateway.payments.steps import Kind
from gateway.payments.work import Ask
from gateway.wire.message import PaymentRequest

SWEEP_MIN = 1024
"""Payments at rest among which those that nobody holds any more are looked for, at least. A sweep takes some 50 µs."""


class Note(Enum):
    """An event that people may want to hear of; `engine` logs and counts it."""

    RECEIVED = auto()
    ANSWERED = auto()
    STOOD_IN = auto()
    REPLIED = auto()
    UNDELIVERED = auto()
    LATE_ANSWER = auto()
    LATE_REFUSAL = auto()
    REVERSED = auto()
    REVERSED_AGAIN = auto()
    REPEATED = auto()
    JOINED = auto()
    CONFLICT = auto()
    BAD_FIELD = auto()
    BAD_DATE = auto()
    OWN_SENDER = auto()
    UNUSUAL_DATE = auto()
    REFUSED_REVERSED = auto()
    OVERLOAD = auto()
    ORPHANED = auto()
    FORBIDDEN = auto()
    DECLINED = auto()
    UNANSWERED = auto()
    OVERRULED = auto()
    LATE_ACCEPT = auto()
    MUST_ACCEPT = auto()
    UNKNOWN_TYPE = auto()
    OTHER_GROUP = auto()
    STAND_IN_MODE = auto()


@dataclass(slots=True)
class Leg:
    """A request of this payment that waits for the reply: the link that brought it, and when its first byte came."""

    link: Link
    first_byte_s: float


@dataclass(slots=True, eq=False, weakref_slot=True)
class Arrival:
    """A payment in flight; or one at rest that a shell still holds. Only `Arrivals` makes one."""

    fpid: str
    state: State = State.NEW
    request: PaymentRequest | None = None
    content: bytes = b""
    legs: list[Leg] = field(default_factory=list)
    legs_out: int = 0
    """Replies on their way: in a link's buffer, or, to a repeat, waiting for their MAC and the disk."""
    first_byte_s: float = 0.0
    """When the first byte of the first request came: its deadlines count from here."""
    code: str = ""
    field_in_error: str = ""
    stood_in: bool = False
    declined: bool = False
    """Refused in the processor's stead."""
    forbidden: str = ""
    """Why stand-in may not accept it, once that was asked."""
    unasked: bool = False
    """The processor is not asked about it: too many payments are being decided."""
    unusual_date: bool = False
    """Its date is outside the window, and it has no outcome here: it may be a copy of a payment of long ago."""
    question: Ask | None = None
    """The question about it, once the processor is asked."""

    def begin(self, request: PaymentRequest, content: bytes, leg: Leg, *, unusual_date: bool) -> None:
        """Start to decide it: for the first time, or anew where it was given up undecided."""
        self.request, self.content = request, content
        self.legs, self.first_byte_s = [leg], leg.first_byte_s
        self.forbidden, self.unasked, self.unusual_date = "", False, unusual_date


class Commands(Protocol):
    """What the story has the shells do. Each call only notes it for the end of this wake-up, but for `why_unasked`."""

    def record(self, kind: Kind, body: bytes, fpid: str, link: Link) -> int:
        """Append a record; returns its position."""

    def when_recorded(self, position: int, payment: Arrival) -> None:
        """Bring RECORDED when everything up to `position` is durable."""

    def ask(self, payment: Arrival, deadline_s: float) -> None:
        """Ask the processor; bring ANSWER, whenever it comes."""

    def unask(self, payment: Arrival) -> None:
        """Keep a question from leaving, if it has not left: no answer is wanted any more."""

    def why_unasked(self, question: Ask) -> str:
        """Say at once why this question has not left, in words fit for a log; empty when no reason can be named."""

    def set_timer(self, payment: Arrival, at_s: float) -> None:
        """Bring DEADLINE at that time."""

    def authenticate(self, payment: Arrival, covered: bytes, position: int, until_s: float) -> None:
        """Make the MAC of the decision's reply; bring READY when that and `position` are done, else UNSENT."""

    def send(self, payment: Arrival, link: Link, body: bytes, until_s: float) -> bool:
        """Put a reply into the link's buffer and bring SENT, or UNSENT when it has not left by `until_s`; False: the
        link is gone.
        """

    def leave(self, link: Link, covered: bytes, position: int, until_s: float, payment: Arrival | None) -> None:
        """Make the MAC of any other reply; send it once `position` is durable. With a payment, bring SENT or UNSENT."""

    def note(self, note: Note, fpid: str, detail: str = "", since_s: float = 0.0) -> None:
        """Log or count an event; `since_s` is when the first byte of the request came."""

    def advise(self, link: Link, body: bytes, function_code: str, where: str) -> None:
        """Tell the hub by a 9624 that this message cannot be answered otherwise."""


class Arrivals:
    """The payments in flight, and those at rest that a shell holds: one object for each FPID."""

    def __init__(self, outcomes: Outcomes) -> None:
        self.in_flight: dict[str, Arrival] = {}
        self._outcomes = outcomes
        self._held: dict[str, ref[Arrival]] = {}
        """Those at rest, for as long as a shell holds them. What finds one here has the object that the shell has."""
        self._sweep_at = SWEEP_MIN

    def find(self, fpid: str) -> Arrival:
        """The payment, wherever it stands: in flight, held by a shell, remembered, or new."""
        payment = self.in_flight.get(fpid)
        if payment is None and (held := self._held.get(fpid)) is not None:
            payment = held()
        if payment is None:
            payment = Arrival(fpid)
            outcome = self._outcomes.get(fpid)
            if outcome is not None:
                payment.state, payment.code, payment.field_in_error = outcome.state, outcome.code, outcome.field
                payment.stood_in = outcome.stood_in
                payment.content = outcome.content if outcome.seen else b""
                self._hold(payment)
        return payment

    @staticmethod
    def step(payment: Arrival, event: Event) -> Act:
        """Take a payment one step on: the one place that does."""
        row = step(payment.state, event)
        payment.state = row.to
        return row.act

    def take_in(self, payment: Arrival) -> None:
        """It is in flight from here on."""
        self.in_flight[payment.fpid] = payment

    def settle(self, payment: Arrival, now: Now) -> None:
        """Nothing of ours is under way any more: remember the outcome, and let go of the payment."""
        self.in_flight.pop(payment.fpid, None)
        payment.question = None  # which points back here: what is over must not wait for the garbage collector
        if payment.content:
            content = payment.content
            outcome = Outcome(payment.state, payment.code, payment.field_in_error, payment.stood_in, content)
        else:
            outcome = unseen(payment.state)
        self._outcomes.put(payment.fpid, outcome, now.wall_ns)
        self._hold(payment)

    def _hold(self, payment: Arrival) -> None:
        """Know it for as long as it lives, without keeping it alive."""
        self._held[payment.fpid] = ref(payment)
        if len(self._held) >= self._sweep_at:
            self._held = {fpid: held for fpid, held in self._held.items() if held() is not None}
            self._sweep_at = max(SWEEP_MIN, 2 * len(self._held))
