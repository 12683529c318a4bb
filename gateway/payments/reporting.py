"""The end of the story of a payment that leaves: how it stands goes to the disk, and is said once that is durable.

An UNKNOWN payment is held for as long as a connection that carried a request may bring an answer, or while it waits for
the start of submitting.
"""

from math import inf

from gateway.clock import Now
from gateway.payments.departure import Commands, Departure, Note
from gateway.payments.departures import Departures
from gateway.payments.links import Link
from gateway.payments.outbound_law import Act, Event
from gateway.payments.steps import Kind
from gateway.payments.submissions import Known
from gateway.payments.submitting import STOPPED, Submitting
from gateway.payments.work import Standing

LINGER_S = 30.0
"""How long an UNKNOWN payment stays in memory after its last connection went: an answer that was read before may still
wait for its MAC to be verified."""


class Reporting:
    """Says how a payment stands, and never before that is durable."""

    def __init__(self, departures: Departures, submitting: Submitting, commands: Commands) -> None:
        self._departures = departures
        self._submitting = submitting
        self._do = commands

    def record(self, payment: Departure, kind: Kind, body: bytes, link: Link) -> None:
        """Record how it stands. Nobody hears of it before that is durable."""
        payment.recording = self._do.record(kind, body, payment.fpid, link)
        self._do.when_settled(payment.recording, payment)

    def on_recorded(self, payment: Departure, position: int, now: Now) -> None:
        """The record of how it stands is durable. Where an answer came meanwhile, a later record says it."""
        if position != payment.recording:
            return
        act = self._departures.step(payment, Event.RECORDED)
        standing = payment.standing = payment.outcome
        assert standing is not None
        if act is Act.REPORT:
            self._do.tell_outbound(Note.SETTLED, payment.fpid, standing.code, payment.submitted_s)
        self._rest(payment, standing, now)
        if act is Act.REPORT_UNKNOWN and (payment.links or payment.reason == STOPPED):
            self._departures.unknown[payment.fpid] = self._departures.by_key[payment.key] = payment
            if payment.reason == STOPPED and not self._submitting.stopped:
                self._departures.take_up_again(payment, now.mono_s, now.mono_s)
            else:
                self._linger(payment, now)

    def _rest(self, payment: Departure, standing: Standing, now: Now) -> None:
        """Nothing of ours is under way any more: remember where it stands, and tell the submissions that wait."""
        departures = self._departures
        del departures.in_flight[payment.fpid], departures.by_key[payment.key]
        departures.remembered.put(Known(payment.key, payment.content, standing), now.wall_ns)
        waiting, payment.waiting = payment.waiting, []
        for submission in waiting:
            submission.report(standing)

    # --- what is unknown

    def link_gone(self, link: Link, now: Now) -> None:
        """This connection brings no answer any more."""
        if link.id in self._departures.standing_links:
            self._departures.standing_links.discard(link.id)
            for payment in self._departures.unknown.values():
                self._linger(payment, now)

    def _linger(self, payment: Departure, now: Now) -> None:
        """Hold it for some time yet, where no connection can bring an answer any more and it waits for no start."""
        if payment.due_s == inf and payment.reason != STOPPED and not payment.links & self._departures.standing_links:
            self._departures.set_timer(payment, now.mono_s + LINGER_S)

    def let_go(self, payment: Departure) -> None:
        """No answer can come any more: hold it no longer."""
        del self._departures.unknown[payment.fpid], self._departures.by_key[payment.key]
