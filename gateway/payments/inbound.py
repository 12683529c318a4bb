"""THE STORY of a payment that arrives: every branch is here, and nothing else is. Start reading here.

    request → RECEIVE → (durable) → ASK → ANSWER or STAND_IN → (durable, MAC made) → REPLY → REPLIED or UNDELIVERED

Around that line: a repeat JOINs a decision that is being made, or gets the reply of one that was made (REPLY_AGAIN).
Other content under a used FPID is a CONFLICT. A reversal ends everything. An answer that comes after stand-in is LATE.
A payment that stand-in may not accept waits longer (EXTEND), and then gets a refusal (TURN_AWAY) or nothing (ABANDON).

`inbound_law` is the law: it says for each (state, event) where the payment goes and which act is done on the way. This
file says how each act is done: it brings events, and branches on the act that the law answers with. docs/fates.md shows
where each way ends.

It knows no socket, disk, HSM, clock, log or task. Events come in through the `on_` methods, commands leave through
`Commands`, and `now` is an argument. Its promise of order: each question and each reply is commanded together with the
position of the record that must be durable first.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from gateway import config
from gateway.clock import Now
from gateway.errors import HubFault
from gateway.payments import steps
from gateway.payments.dates import Verdict, Window
from gateway.payments.inbound_law import RESTS, Act, Event, State, step
from gateway.payments.links import RECORDER, Link
from gateway.payments.outcomes import NO_CONTENT, Outcome, Outcomes, Unfinished, unseen
from gateway.payments.standin import StandIn
from gateway.payments.steps import Kind
from gateway.payments.verify import UNREADABLE, BadField, fault_of
from gateway.payments.work import Ask
from gateway.wire.codec import Codec, fpid_of
from gateway.wire.codes import ACCEPTED, DUPLICATE, MALFUNCTION, SYNTAX_ERROR
from gateway.wire.message import PaymentRequest, ReversalRequest

DATE_SENT = "012"
"""DE44 of a payment that is refused for its date."""
UNUSUAL = "date"
"""Why stand-in may not accept a payment whose date is outside the window."""
RESERVE_FACTOR = 2
"""Payments being decided at once at most, as a multiple of `payments_max`, where the rules keep stand-in from taking
the rest."""


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


@dataclass(slots=True, eq=False)
class Arrival:
    """A payment in flight; or one at rest, of which a shell still holds a question or a reply."""

    fpid: str
    state: State = State.NEW
    rests: bool = False
    """It is not in flight: its `Outcome` says where it stands. Only `Inbound._step` has to know that."""
    request: PaymentRequest | None = None
    content: bytes = b""
    legs: list[Leg] = field(default_factory=list)
    legs_out: int = 0
    """Legs whose reply waits in a link's buffer."""
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


class Commands(Protocol):
    """What the story has the shells do. Each call only notes it for the end of this wake-up."""

    def record(self, kind: Kind, body: bytes, fpid: str, link: Link) -> int:
        """Append a record; returns its position."""

    def when_recorded(self, position: int, payment: Arrival) -> None:
        """Bring RECORDED when everything up to `position` is durable."""

    def ask(self, payment: Arrival, deadline_s: float) -> None:
        """Ask the processor; bring ANSWER, whenever it comes."""

    def unask(self, payment: Arrival) -> None:
        """Keep a question from leaving, if it has not left: no answer is wanted any more."""

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


class Inbound:
    """The payments in flight, and what happens to them."""

    def __init__(
        self,
        pair: config.Pair,
        payments_max: int,
        outcomes: Outcomes,
        codec: Codec,
        commands: Commands,
        may_stand_in: Callable[[PaymentRequest], bool] = lambda _request: True,
        in_doubt: Callable[[Now], bool] = lambda _now: False,
    ) -> None:
        """`may_stand_in`: whether the scheme's news lets us accept this payment in the processor's stead. `in_doubt`:
        whether it is not sure which day it is.
        """
        self._deadlines = pair.deadlines
        self._reversed_code = pair.reversed_code
        self._payments_max = payments_max
        self._last_moment_s = pair.deadlines.last_moment_s
        self.stand_in = StandIn(pair.stand_in, outcomes.stood_in, may_stand_in)
        """Which payments we may answer for; `mode` switches it."""
        self._types = codec.table.types
        self._ours = frozenset(code for code, kind in self._types.items() if kind.group == pair.group)
        self._window = Window(pair.dates, codec.table.types, pair.business_days)
        self._in_doubt = in_doubt
        self._outcomes = outcomes
        self._codec = codec
        self._do = commands
        self.in_flight: dict[str, Arrival] = {}

    # --- events

    def on_request(self, request: PaymentRequest, link: Link, first_byte_s: float, now: Now) -> None:
        """A 9200 or 9201 came, authentic."""
        if request.fault:
            self._refuse_fault(request, fault_of(request), link, first_byte_s)
            return
        fpid, content = fpid_of(request), self._codec.content_digest(request)
        payment = self._find(fpid)
        dated = self._window.judge(request.processing_code[:2], request.date_sent, now, self._in_doubt)
        if payment.content and payment.content != content:
            event = Event.CONFLICT
        else:
            event = Event.MISDATED if dated is Verdict.REFUSED else Event.REQUEST
        match self._step(payment, event):
            case Act.RECEIVE:
                if dated is not Verdict.ORDINARY:
                    payment.unusual_date = True
                    self._do.note(Note.UNUSUAL_DATE, fpid)
                self._receive(payment, request, content, Leg(link, first_byte_s), now)
            case Act.REFUSE_DATE:
                self._do.note(Note.BAD_DATE, fpid)
                self._refuse(request, fpid, SYNTAX_ERROR, DATE_SENT, link, first_byte_s)
            case Act.JOIN:
                payment.legs.append(Leg(link, first_byte_s))
                self._do.record(Kind.REPEATED, request.body, fpid, link)
                self._do.note(Note.JOINED, fpid)
            case Act.REPLY_AGAIN:
                self._reply_again(payment, request, link, first_byte_s)
            case Act.REFUSE_CONFLICT:
                self._do.note(Note.CONFLICT, fpid)
                self._refuse(request, fpid, DUPLICATE, "", link, first_byte_s)
            case Act.REFUSE_REVERSED:
                self._do.note(Note.REFUSED_REVERSED, fpid)
                self._refuse(request, fpid, self._reversed_code, "", link, first_byte_s)
            case act:
                raise AssertionError(act)

    def on_reversal(self, reversal: ReversalRequest, link: Link, first_byte_s: float, now: Now) -> None:
        """A 9420 or 9421 came: what it reverses is reversed, known or not, and it is answered positively."""
        fpid = fpid_of(reversal)
        payment = self._find(fpid)
        found = payment.state
        act = self._step(payment, Event.REVERSAL)
        if act is Act.REVERSE:
            content = payment.content or NO_CONTENT
            body = steps.pack(steps.Reversal(reversal.body, found.name, payment.code, content))
            position = self._do.record(Kind.REVERSED, body, fpid, link)
            self._do.unask(payment)
            self._settle(payment, now)
            self._do.note(Note.REVERSED, fpid, found.name)
        else:
            position = self._do.record(Kind.REPEATED, reversal.body, fpid, link)
            self._do.note(Note.REVERSED_AGAIN, fpid)
        covered = self._codec.respond(reversal, ACCEPTED)
        self._do.leave(link, covered, position, first_byte_s + self._deadlines.reply_within_s, None)

    def on_recorded(self, payment: Arrival, now: Now) -> None:
        """Its RECEIVED record is durable: now we may act on it."""
        act = self._step(payment, Event.RECORDED)
        if act is Act.ASK and self.stand_in.mode == "always" and not self._refusal(payment, now):
            act = self._step(payment, Event.DEADLINE)  # by order, stand-in's time has come at once
        if act is Act.ASK:
            self._ask(payment, now)
        elif act is Act.JUDGE:
            self._judge(payment, now)

    def on_answer(self, payment: Arrival, code: str, field_in_error: str) -> None:
        """The processor answered. The first answer wins; later ones are only recorded."""
        # it may have been given up, and have come again: the answer is about the same payment
        payment = self.in_flight.get(payment.fpid, payment)
        act = self._step(payment, Event.ANSWER)
        if act is Act.TAKE_ANSWER:
            self._do.note(Note.ANSWERED, payment.fpid, code)
            if code.startswith("1") and self._must_accept(payment):
                self._overrule(payment, code)
                code, field_in_error = ACCEPTED, ""
            self._decide(payment, Kind.ANSWERED, code, field_in_error)
        else:
            self._late(payment, code)

    def on_deadline(self, payment: Arrival, now: Now) -> None:
        """Its timer fired: stand-in's time has come, or the last moment."""
        if self._step(payment, Event.DEADLINE) is Act.JUDGE:
            self._judge(payment, now)

    def on_ready(self, payment: Arrival, body: bytes, now: Now) -> None:
        """The decision is durable and its reply complete: it leaves on every leg that is still there and in time."""
        if self._step(payment, Event.READY) is not Act.REPLY:
            return
        reason = "link-lost"
        for leg in payment.legs:
            until_s = leg.first_byte_s + self._deadlines.reply_within_s
            if now.mono_s > until_s:
                reason = "too-late"
            elif self._do.send(payment, leg.link, body, until_s):
                payment.legs_out += 1
        if not payment.legs_out:
            self._undelivered(payment, reason, now)

    def on_repeat_ready(self, payment: Arrival) -> bool:
        """The reply to a repeat is complete; returns whether it may still leave: not when a reversal came meanwhile."""
        return self._step(payment, Event.REPEAT_READY) is Act.RELEASE

    def on_sent(self, payment: Arrival, link: Link, now: Now) -> None:
        """A reply was written to its link."""
        payment.legs_out -= 1
        if self._step(payment, Event.REPLY_SENT) is Act.RECORD_REPLIED:
            self._do.record(Kind.REPLIED, b"", payment.fpid, link)
            self._settle(payment, now)
            self._do.note(Note.REPLIED, payment.fpid, payment.code, payment.first_byte_s)

    def on_unsent(self, payment: Arrival, reason: str, now: Now) -> None:
        """A reply will not leave. The payment is undelivered when that was its last leg."""
        payment.legs_out = max(0, payment.legs_out - 1)
        if not payment.legs_out:
            self._undelivered(payment, reason, now)

    def on_restart(self, unfinished: dict[str, Unfinished], now: Now) -> None:
        """Take up what the last process left between two steps. Nothing leaves: those connections are gone."""
        for fpid, (raw, decided) in unfinished.items():
            if decided is None:
                content = self._content_of(raw)
                outcome = Outcome(RESTS[Kind.ORPHANED], "", "", stood_in=False, content=content)
                self._do.record(Kind.ORPHANED, steps.pack(steps.Orphan(raw, content)), fpid, RECORDER)
                self._do.note(Note.ORPHANED, fpid)
            else:
                outcome = decided._replace(state=RESTS[Kind.UNDELIVERED])
                body = steps.pack(steps.Undelivered("restart", decided.code, raw))
                self._do.record(Kind.UNDELIVERED, body, fpid, RECORDER)
                self._do.note(Note.UNDELIVERED, fpid, "restart")
            self._outcomes.put(fpid, outcome, now.wall_ns)

    def _content_of(self, raw: bytes) -> bytes:
        """The content's digest; zeros when the field table has changed so that the message is none any more."""
        try:
            return self._codec.content_digest(self._codec.decode(raw))
        except HubFault:
            return NO_CONTENT

    # --- acts

    def _receive(self, payment: Arrival, request: PaymentRequest, content: bytes, leg: Leg, now: Now) -> None:
        payment.request, payment.content, payment.rests = request, content, False
        payment.legs, payment.first_byte_s = [leg], leg.first_byte_s
        overload = len(self.in_flight) >= self._payments_max
        if overload and len(self.in_flight) < RESERVE_FACTOR * self._payments_max:
            # stand-in may not accept it, so it would be turned away: there is a reserve for such payments
            overload = not self._refusal(payment, now)
        self.in_flight[payment.fpid] = payment
        position = self._do.record(Kind.RECEIVED, request.body, payment.fpid, leg.link)
        self._do.when_recorded(position, payment)
        self._do.note(Note.RECEIVED, payment.fpid)
        if request.processing_code[:2] not in self._ours:  # the hub has decided where it sends it: only said
            note = Note.OTHER_GROUP if request.processing_code[:2] in self._types else Note.UNKNOWN_TYPE
            self._do.note(note, payment.fpid, request.processing_code[:2])
        if overload:
            # too much is being decided already: this one is not asked about, but it is answered
            self._do.note(Note.OVERLOAD, payment.fpid)
            payment.unasked = True
            self._step(payment, Event.DEADLINE)
        else:
            self._do.set_timer(payment, leg.first_byte_s + self._deadlines.stand_in_after_s)

    def _ask(self, payment: Arrival, now: Now) -> None:
        """Ask, with as much time as there will be: more when stand-in would not be allowed as things are."""
        forbidden = self._refusal(payment, now)
        within_s = self._last_moment_s if forbidden else self._deadlines.stand_in_after_s
        self._do.ask(payment, payment.first_byte_s + within_s)

    def _refusal(self, payment: Arrival, now: Now) -> str:
        assert payment.request is not None
        return UNUSUAL if payment.unusual_date else self.stand_in.refusal(payment.request, now.wall_ns)

    def _judge(self, payment: Arrival, now: Now) -> None:
        """The processor has not answered: see whether stand-in may, and do as the law says."""
        match self._step(payment, self._judgement(payment, now)):
            case Act.STAND_IN:
                self._decide_by_stand_in(payment, now)
            case Act.EXTEND:
                self._extend(payment, now)
            case Act.TURN_AWAY:
                payment.declined = True
                self._do.note(Note.DECLINED, payment.fpid, payment.forbidden)
                self._decide(payment, Kind.DECLINED, MALFUNCTION, "")
            case Act.ABANDON:
                self._abandon(payment, now)
            case act:
                raise AssertionError(act)

    def _judgement(self, payment: Arrival, now: Now) -> Event:
        """Judge by the rules as they are now. They may say otherwise than the last time."""
        reason = self._refusal(payment, now)
        if not reason:
            return Event.ALLOWED
        if not payment.forbidden:
            payment.forbidden = reason
            self.stand_in.refused[reason] += 1
            self._do.note(Note.FORBIDDEN, payment.fpid, reason)
        if not payment.unasked and now.mono_s < payment.first_byte_s + self._last_moment_s:
            return Event.FORBIDDEN
        if self._must_accept(payment):
            if reason == UNUSUAL:
                return Event.SILENCED  # neither refused, which the scheme forbids, nor accepted: the hub repeats it
            self._do.note(Note.MUST_ACCEPT, payment.fpid, reason)
            return Event.ALLOWED
        return Event.SILENCED if self.stand_in.silent else Event.TURNED_AWAY

    def _extend(self, payment: Arrival, now: Now) -> None:
        """Wait for the processor until the last moment."""
        if payment.question is None:
            self._ask(payment, now)
        until_s = payment.first_byte_s + self._last_moment_s
        self._do.set_timer(payment, until_s)
        if payment.question is not None:
            payment.question.deadline_s = until_s  # it may still have to be sent, or sent again

    def _abandon(self, payment: Arrival, now: Now) -> None:
        """Leave it unanswered: the hub will reverse it, or repeat it, and that is decided like a new payment."""
        request = payment.request
        assert request is not None
        body = steps.pack(steps.Orphan(request.body, payment.content))
        self._do.record(Kind.UNANSWERED, body, payment.fpid, payment.legs[0].link)
        self._do.unask(payment)
        self._settle(payment, now)
        self._do.note(Note.UNANSWERED, payment.fpid, payment.forbidden)

    def _must_accept(self, payment: Arrival) -> bool:
        """Whether the scheme forbids to refuse it (a scheme return)."""
        assert payment.request is not None
        kind = self._types.get(payment.request.processing_code[:2])
        return kind is not None and kind.must_accept

    def _overrule(self, payment: Arrival, code: str) -> None:
        """The processor refuses what must be accepted: it hears that it was accepted. Recorded before the decision."""
        request = payment.request
        assert request is not None
        body = steps.pack(steps.Late(code, ACCEPTED, request.body))
        self._do.record(Kind.OVERRULED, body, payment.fpid, payment.legs[0].link)
        self._do.note(Note.OVERRULED, payment.fpid, code)

    def _decide_by_stand_in(self, payment: Arrival, now: Now) -> None:
        assert payment.request is not None
        payment.stood_in = True
        pence = self.stand_in.accept(payment.request, now.wall_ns)
        asked = payment.question
        why = asked.why_unasked() if asked is not None and not asked.attempts else ""
        self._do.note(Note.STOOD_IN, payment.fpid, self.stand_in.code + (f", not asked: {why}" if why else ""))
        self._decide(payment, Kind.STOOD_IN, self.stand_in.code, "", pence)

    def _decide(self, payment: Arrival, kind: Kind, code: str, field_in_error: str, pence: int = 0) -> None:
        """Give a payment its outcome: the one place. The record goes to the disk and the reply to the HSM together."""
        request = payment.request
        assert request is not None
        payment.code, payment.field_in_error = code, field_in_error
        covered = self._codec.respond(request, code, field_in_error)
        told = b"" if kind is Kind.ANSWERED else request.body
        body = steps.pack(steps.Decision(code, field_in_error, payment.content, covered, told, pence))
        position = self._do.record(kind, body, payment.fpid, payment.legs[0].link)
        latest_s = max(leg.first_byte_s for leg in payment.legs) + self._deadlines.reply_within_s
        self._do.authenticate(payment, covered, position, latest_s)

    def _late(self, payment: Arrival, code: str) -> None:
        request = payment.request
        assert request is not None
        refused = code.startswith("1")
        if refused and payment.stood_in:
            kind, note = Kind.LATE_REFUSAL, Note.LATE_REFUSAL
        else:
            kind, note = Kind.LATE_ANSWER, Note.LATE_ANSWER
            if payment.declined and not refused:
                note = Note.LATE_ACCEPT  # DECLINED is told: the processor must take it back
        body = steps.pack(steps.Late(code, payment.code, request.body))
        self._do.record(kind, body, payment.fpid, payment.legs[0].link)
        self._do.note(note, payment.fpid, code)

    def _undelivered(self, payment: Arrival, reason: str, now: Now) -> None:
        if self._step(payment, Event.REPLY_FAILED) is not Act.RECORD_UNDELIVERED:
            return
        request = payment.request
        assert request is not None
        body = steps.pack(steps.Undelivered(reason, payment.code, request.body))
        self._do.record(Kind.UNDELIVERED, body, payment.fpid, payment.legs[0].link)
        self._settle(payment, now)
        self._do.note(Note.UNDELIVERED, payment.fpid, reason)

    def _reply_again(self, payment: Arrival, request: PaymentRequest, link: Link, first_byte_s: float) -> None:
        position = self._do.record(Kind.REPEATED, request.body, payment.fpid, link)
        covered = self._codec.respond(request, payment.code, payment.field_in_error)
        payment.legs_out += 1
        until_s = first_byte_s + self._deadlines.reply_within_s
        self._do.leave(link, covered, position, until_s, payment)
        self._do.note(Note.REPEATED, payment.fpid, payment.code)

    def _refuse_fault(self, request: PaymentRequest, fault: BadField, link: Link, first_byte_s: float) -> None:
        if fault.answerable:
            fpid = fpid_of(request)
            self._do.note(Note.BAD_FIELD, fpid, f"{fault.field:03}")
            self._refuse(request, fpid, SYNTAX_ERROR, f"{fault.field:03}", link, first_byte_s)
        else:
            self._do.advise(link, request.body, UNREADABLE, f"DE{fault.field}")

    def _refuse(
        self, request: PaymentRequest, fpid: str, code: str, field_in_error: str, link: Link, first_byte_s: float
    ) -> None:
        """Refuse this message without asking anyone, and without touching what may be known under its FPID."""
        covered = self._codec.respond(request, code, field_in_error)
        body = steps.pack(steps.Refused(code, field_in_error, request.body, covered))
        position = self._do.record(Kind.REFUSED, body, fpid, link)
        self._do.leave(link, covered, position, first_byte_s + self._deadlines.reply_within_s, None)

    # --- memory

    def _find(self, fpid: str) -> Arrival:
        """The payment in flight; else what is remembered of it, or a new one."""
        payment = self.in_flight.get(fpid)
        if payment is not None:
            return payment
        outcome = self._outcomes.get(fpid)
        if outcome is None:
            return Arrival(fpid)
        content = outcome.content if outcome.seen else b""
        return Arrival(
            fpid, outcome.state, True, content=content, code=outcome.code, field_in_error=outcome.field,
            stood_in=outcome.stood_in,
        )  # fmt: skip

    def _settle(self, payment: Arrival, now: Now) -> None:
        """Nothing of ours is under way any more: remember the outcome, forget the payment."""
        self.in_flight.pop(payment.fpid, None)
        payment.rests = True
        payment.question = None  # which points back here: what is over must not wait for the garbage collector
        if payment.content:
            content = payment.content
            outcome = Outcome(payment.state, payment.code, payment.field_in_error, payment.stood_in, content)
        else:
            outcome = unseen(payment.state)
        self._outcomes.put(payment.fpid, outcome, now.wall_ns)

    def _step(self, payment: Arrival, event: Event) -> Act:
        """Take a payment one step on: the one place that does.

        In flight, a payment is the only one of its FPID and its state is its own. At rest, its state is its outcome's:
        the shells may hold a late question, a reply under way and a repeat of one payment, and what one of them brings
        counts for all.
        """
        if payment.rests:
            outcome = self._outcomes.get(payment.fpid)
            if outcome is not None:  # else it is forgotten, and stands as it stood
                payment.state, payment.code, payment.stood_in = outcome.state, outcome.code, outcome.stood_in
        row = step(payment.state, event)
        payment.state = row.to
        return row.act
