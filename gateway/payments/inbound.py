"""THE STORY of a payment that arrives. Start reading here.

    request → RECEIVE → (durable) → ASK → ANSWER or STAND_IN → (durable, MAC made) → REPLY → REPLIED or UNDELIVERED

Around that line: a repeat JOINs a decision that is being made, or gets the reply of one that was made (REPLY_AGAIN).
Other content under a used FPID is a CONFLICT. A reversal ends everything. An answer that comes after stand-in is LATE.
A payment that stand-in may not accept waits longer (EXTEND), and then gets a refusal (TURN_AWAY) or nothing (ABANDON).

The story has three chapters, and each branch is in one of them. This file: the hub's requests and reversals, and what
a restart finds. `deciding`: the question, stand-in and the decision. `replying`: the way out. They share one memory,
`arrival`.

`inbound_law` is the law: it says for each (state, event) where the payment goes and which act is done on the way. The
chapters say how each act is done: they bring events, and branch on the act that the law answers with. docs/fates.md
shows where each way ends.

The story knows no socket, disk, HSM, clock, log or task. Events come in through the `on_` methods, commands leave
through `Commands`, and `now` is an argument. Its promise of order: each question and each reply is commanded together
with the position of the record that must be durable first.
"""

from collections.abc import Callable

from gateway import config
from gateway.clock import Now
from gateway.errors import HubFault
from gateway.payments import steps
from gateway.payments.arrival import Arrival, Arrivals, Commands, Leg, Note
from gateway.payments.dates import Verdict, Window
from gateway.payments.deciding import Deciding
from gateway.payments.inbound_law import RESTS, Act, Event
from gateway.payments.links import RECORDER, Link
from gateway.payments.outcomes import NO_CONTENT, Outcome, Outcomes, Unfinished
from gateway.payments.replying import Replying
from gateway.payments.standin import StandIn
from gateway.payments.steps import Kind
from gateway.payments.verify import UNREADABLE, BadField, fault_of
from gateway.wire.codec import Codec, fpid_of
from gateway.wire.codes import ACCEPTED, DUPLICATE, SYNTAX_ERROR
from gateway.wire.message import PaymentRequest, ReversalRequest

DATE_SENT = "012"
"""DE44 of a payment that is refused for its date."""
SENDER = "098"
"""DE44 of a payment that is refused because it is our own."""
RETURNED = 127
"""The data element (FPID of the payment returned) that returns must have."""
RESERVE_FACTOR = 2
"""Payments being decided at once at most, as a multiple of `payments_max`, where the rules keep stand-in from taking
the rest."""


class Inbound:
    """Takes the hub's requests and reversals; holds the other chapters."""

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
        self._own_senders = frozenset(pair.own_senders)
        self._returns = frozenset(code for code, kind in codec.table.types.items() if RETURNED in kind.mandatory)
        self._payments_max = payments_max
        self._types = codec.table.types
        self._ours = frozenset(code for code, kind in self._types.items() if kind.group == pair.group)
        self._window = Window(pair.dates, codec.table.types, pair.business_days)
        self._in_doubt = in_doubt
        self._outcomes = outcomes
        self._codec = codec
        self._do = commands
        self._arrivals = Arrivals(outcomes)
        self._step, self._settle = self._arrivals.step, self._arrivals.settle
        self.in_flight = self._arrivals.in_flight
        self.stand_in = StandIn(pair.stand_in, outcomes.stood_in, may_stand_in)
        """Which payments we may answer for; `mode` switches it."""
        self.deciding = Deciding(pair.deadlines, self.stand_in, self._arrivals, codec, commands)
        self.replying = Replying(pair.deadlines, self._arrivals, commands)

    # --- requests

    def on_request(self, request: PaymentRequest, link: Link, first_byte_s: float, now: Now) -> None:
        """A 9200 or 9201 came, authentic."""
        if request.fault:
            self._refuse_fault(request, fault_of(request), link, first_byte_s)
            return
        fpid, content = fpid_of(request), self._codec.content_digest(request)
        payment = self._arrivals.find(fpid)
        dated = self._window.judge(request.processing_code[:2], request.date_sent, now, self._in_doubt)
        if payment.content and payment.content != content:
            event = Event.CONFLICT
        else:
            unfit = dated is Verdict.REFUSED or self._is_our_own(request)
            event = Event.MISDATED if unfit else Event.REQUEST
        match self._step(payment, event):
            case Act.RECEIVE:
                payment.begin(request, content, Leg(link, first_byte_s), unusual_date=dated is not Verdict.ORDINARY)
                self._receive(payment, request, now)
            case Act.REFUSE_DATE:
                own = self._is_our_own(request)
                self._do.note(Note.OWN_SENDER if own else Note.BAD_DATE, fpid)
                self._refuse(request, fpid, SYNTAX_ERROR, SENDER if own else DATE_SENT, link, first_byte_s)
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

    def _is_our_own(self, request: PaymentRequest) -> bool:
        """Whether it says that we sent it, and cannot: a payment of ours that comes back. Like its date, that is judged
        while it is not known.
        """
        return request.sender in self._own_senders and request.processing_code[:2] not in self._returns

    def _receive(self, payment: Arrival, request: PaymentRequest, now: Now) -> None:
        if payment.unusual_date:
            self._do.note(Note.UNUSUAL_DATE, payment.fpid)
        overload = self._overload(payment, now)
        self._arrivals.take_in(payment)
        position = self._do.record(Kind.RECEIVED, request.body, payment.fpid, payment.legs[0].link)
        self._do.when_recorded(position, payment)
        self._do.note(Note.RECEIVED, payment.fpid)
        kind = request.processing_code[:2]
        if kind not in self._ours:  # the hub has decided where it sends it: only said
            self._do.note(Note.OTHER_GROUP if kind in self._types else Note.UNKNOWN_TYPE, payment.fpid, kind)
        if overload:  # it is not asked about, but it is answered
            self._do.note(Note.OVERLOAD, payment.fpid)
            payment.unasked = True
            self._step(payment, Event.DEADLINE)
        else:
            self._do.set_timer(payment, payment.first_byte_s + self._deadlines.stand_in_after_s)

    def _overload(self, payment: Arrival, now: Now) -> bool:
        """Whether too much is being decided already for this payment to be asked about."""
        count = len(self.in_flight)
        if count < self._payments_max:
            return False
        # where stand-in may not accept it, it would be turned away: there is a reserve for such payments
        return count >= RESERVE_FACTOR * self._payments_max or not self.deciding.refusal(payment, now)

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

    # --- reversals

    def on_reversal(self, reversal: ReversalRequest, link: Link, first_byte_s: float, now: Now) -> None:
        """A 9420 or 9421 came: what it reverses is reversed, known or not, and it is answered positively."""
        fpid = fpid_of(reversal)
        payment = self._arrivals.find(fpid)
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

    # --- a restart

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
