"""The end of the story of a payment that arrives: its reply leaves, or is recorded as undelivered."""

from gateway import config
from gateway.clock import Now
from gateway.payments import steps
from gateway.payments.arrival import Arrival, Arrivals, Commands, Note
from gateway.payments.inbound_law import Act, Event
from gateway.payments.links import Link
from gateway.payments.steps import Kind


class Replying:
    """Sends each decision to the hub, on every link that asked for it."""

    def __init__(self, deadlines: config.Deadlines, arrivals: Arrivals, commands: Commands) -> None:
        self._reply_within_s = deadlines.reply_within_s
        self._step, self._settle = arrivals.step, arrivals.settle
        self._do = commands

    def on_ready(self, payment: Arrival, body: bytes, now: Now) -> None:
        """The decision is durable and its reply complete: it leaves on every leg that is still there and in time."""
        if self._step(payment, Event.READY) is not Act.REPLY:
            return
        reason = "link-lost"
        for leg in payment.legs:
            until_s = leg.first_byte_s + self._reply_within_s
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

    def _undelivered(self, payment: Arrival, reason: str, now: Now) -> None:
        if self._step(payment, Event.REPLY_FAILED) is not Act.RECORD_UNDELIVERED:
            return
        assert payment.request is not None
        body = steps.pack(steps.Undelivered(reason, payment.code, payment.request.body))
        self._do.record(Kind.UNDELIVERED, body, payment.fpid, payment.legs[0].link)
        self._settle(payment, now)
        self._do.note(Note.UNDELIVERED, payment.fpid, reason)
