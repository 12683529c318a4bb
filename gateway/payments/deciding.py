"""The middle of the story of a payment that arrives: who decides it, and how. `inbound` is the beginning.

The processor is asked once the payment is durable, and its first answer is the decision. Without an answer in time,
stand-in decides where the bank's rules let it (`standin`); else the payment waits until the last moment, and is then
turned away or abandoned. An answer that comes after the decision is late: it is recorded, and told where it matters.
"""

from collections.abc import Mapping

from gateway import config
from gateway.clock import Now
from gateway.payments import steps
from gateway.payments.arrival import Arrival, Arrivals, Commands, Note
from gateway.payments.inbound_law import Act, Event
from gateway.payments.standin import StandIn
from gateway.payments.steps import Kind
from gateway.wire.codec import Codec
from gateway.wire.codes import ACCEPTED, MALFUNCTION
from gateway.wire.fields import PaymentType
from gateway.wire.message import PaymentRequest

UNUSUAL = "date"
"""Why stand-in may not accept a payment whose date is outside the window."""


class Deciding:
    """Gives each payment in flight its one decision."""

    def __init__(
        self, deadlines: config.Deadlines, stand_in: StandIn, arrivals: Arrivals, codec: Codec, commands: Commands
    ) -> None:
        self._deadlines = deadlines
        self._last_moment_s = deadlines.last_moment_s
        self._stand_in = stand_in
        self._step, self._settle = arrivals.step, arrivals.settle
        self._types: Mapping[str, PaymentType] = codec.table.types
        self._codec = codec
        self._do = commands

    # --- events

    def on_recorded(self, payment: Arrival, now: Now) -> None:
        """Its RECEIVED record is durable: now we may act on it."""
        act = self._step(payment, Event.RECORDED)
        if act is Act.ASK and self._stand_in.mode == "always" and not self.refusal(payment, now):
            act = self._step(payment, Event.DEADLINE)  # by order, stand-in's time has come at once
        if act is Act.ASK:
            self._ask(payment, now)
        elif act is Act.JUDGE:
            self._judge(payment, now)

    def on_answer(self, payment: Arrival, code: str, field_in_error: str) -> None:
        """The processor answered. The first answer wins; later ones are only recorded."""
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

    # --- the question

    def _ask(self, payment: Arrival, now: Now) -> None:
        """Ask, with as much time as there will be: more when stand-in would not be allowed as things are."""
        forbidden = self.refusal(payment, now)
        within_s = self._last_moment_s if forbidden else self._deadlines.stand_in_after_s
        self._do.ask(payment, payment.first_byte_s + within_s)

    def _extend(self, payment: Arrival, now: Now) -> None:
        """Wait for the processor until the last moment."""
        if payment.question is None:
            self._ask(payment, now)
        until_s = payment.first_byte_s + self._last_moment_s
        self._do.set_timer(payment, until_s)
        if payment.question is not None:
            payment.question.deadline_s = until_s  # it may still have to be sent, or sent again

    # --- stand-in

    def refusal(self, payment: Arrival, now: Now) -> str:
        """Why stand-in may not accept this payment as things are; empty when it may."""
        return UNUSUAL if payment.unusual_date else self._stand_in.refusal(_request_of(payment), now.wall_ns)

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
        reason = self.refusal(payment, now)
        if not reason:
            return Event.ALLOWED
        if not payment.forbidden:
            payment.forbidden = reason
            self._stand_in.refused[reason] += 1
            self._do.note(Note.FORBIDDEN, payment.fpid, reason)
        if not payment.unasked and now.mono_s < payment.first_byte_s + self._last_moment_s:
            return Event.FORBIDDEN
        if self._must_accept(payment):
            if reason == UNUSUAL:
                return Event.SILENCED  # neither refused, which the scheme forbids, nor accepted: the hub repeats it
            self._do.note(Note.MUST_ACCEPT, payment.fpid, reason)
            return Event.ALLOWED
        return Event.SILENCED if self._stand_in.silent else Event.TURNED_AWAY

    def _must_accept(self, payment: Arrival) -> bool:
        """Whether the scheme forbids to refuse it (a scheme return)."""
        kind = self._types.get(_request_of(payment).processing_code[:2])
        return kind is not None and kind.must_accept

    # --- decisions

    def _decide_by_stand_in(self, payment: Arrival, now: Now) -> None:
        payment.stood_in = True
        pence = self._stand_in.accept(_request_of(payment), now.wall_ns)
        asked = payment.question
        why = self._do.why_unasked(asked) if asked is not None and not asked.attempts else ""
        self._do.note(Note.STOOD_IN, payment.fpid, self._stand_in.code + (f", not asked: {why}" if why else ""))
        self._decide(payment, Kind.STOOD_IN, self._stand_in.code, "", pence)

    def _decide(self, payment: Arrival, kind: Kind, code: str, field_in_error: str, pence: int = 0) -> None:
        """Give a payment its outcome: the one place. The record goes to the disk and the reply to the HSM together."""
        request = _request_of(payment)
        payment.code, payment.field_in_error = code, field_in_error
        covered = self._codec.respond(request, code, field_in_error)
        told = b"" if kind is Kind.ANSWERED else request.body
        body = steps.pack(steps.Decision(code, field_in_error, payment.content, covered, told, pence))
        position = self._do.record(kind, body, payment.fpid, payment.legs[0].link)
        latest_s = max(leg.first_byte_s for leg in payment.legs) + self._deadlines.reply_within_s
        self._do.authenticate(payment, covered, position, latest_s)

    def _overrule(self, payment: Arrival, code: str) -> None:
        """The processor refuses what must be accepted: it hears that it was accepted. Recorded before the decision."""
        body = steps.pack(steps.Late(code, ACCEPTED, _request_of(payment).body))
        self._do.record(Kind.OVERRULED, body, payment.fpid, payment.legs[0].link)
        self._do.note(Note.OVERRULED, payment.fpid, code)

    def _abandon(self, payment: Arrival, now: Now) -> None:
        """Leave it unanswered: the hub will reverse it, or repeat it, and that is decided like a new payment."""
        body = steps.pack(steps.Orphan(_request_of(payment).body, payment.content))
        self._do.record(Kind.UNANSWERED, body, payment.fpid, payment.legs[0].link)
        self._do.unask(payment)
        self._settle(payment, now)
        self._do.note(Note.UNANSWERED, payment.fpid, payment.forbidden)

    def _late(self, payment: Arrival, code: str) -> None:
        """The answer came too late to decide. A refusal after stand-in's acceptance is told."""
        refused = code.startswith("1")
        if refused and payment.stood_in:
            kind, note = Kind.LATE_REFUSAL, Note.LATE_REFUSAL
        else:
            kind, note = Kind.LATE_ANSWER, Note.LATE_ANSWER
            if payment.declined and not refused:
                note = Note.LATE_ACCEPT  # DECLINED is told: the processor must take it back
        body = steps.pack(steps.Late(code, payment.code, _request_of(payment).body))
        self._do.record(kind, body, payment.fpid, payment.legs[0].link)
        self._do.note(note, payment.fpid, code)


def _request_of(payment: Arrival) -> PaymentRequest:
    """The request of a payment that was received in this process, which all that are decided or asked about were."""
    assert payment.request is not None
    return payment.request
