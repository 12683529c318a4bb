"""The timer of a payment that leaves: the wait for an answer, the pause, and links that are in doubt."""

from math import inf

from gateway import config
from gateway.clock import Now
from gateway.payments.attempting import Attempting
from gateway.payments.departure import Commands, Departure
from gateway.payments.departures import Departures
from gateway.payments.ejection import Change, Ejection
from gateway.payments.outbound_law import Act, Event
from gateway.payments.reporting import Reporting
from gateway.payments.submitting import STOPPED, Submitting


class Awaiting:
    """Judges what a timer asks: whether a payment has waited long enough, and whether an attempt is left."""

    def __init__(
        self,
        settings: config.Submit,
        departures: Departures,
        attempting: Attempting,
        reporting: Reporting,
        ejection: Ejection,
        submitting: Submitting,
        commands: Commands,
    ) -> None:
        self._submit = settings
        self._departures = departures
        self._step, self._set_timer = departures.step, departures.set_timer
        self._attempting = attempting
        self._reporting = reporting
        self._ejection = ejection
        self._submitting = submitting
        self._do = commands

    def on_deadline(self, payment: Departure, now: Now) -> None:
        """Its timer fired: no answer came in time, or its pause is over."""
        payment.due_s = inf
        match self._step(payment, Event.DEADLINE):
            case Act.LET_GO:
                self._reporting.let_go(payment)
            case Act.JUDGE_WAIT:
                if not self._waits_on(payment, now):
                    self._attempting.interrupt(payment, Event.NO_ANSWER, "no-answer", now)
            case Act.JUDGE_PAUSE:
                self._judge_pause(payment, now)
            case act:
                raise AssertionError(act)

    def _judge_pause(self, payment: Departure, now: Now) -> None:
        """Its pause is over: see whether there is another attempt, and a link for it."""
        exhausted = payment.repeats >= self._submit.repeats_max or self._attempting.is_old(payment, now)
        if exhausted or self._submitting.stopped:
            payment.reason = payment.reason if exhausted else STOPPED
            self._attempting.give_up(payment)
        elif not self._do.submitters():
            self._attempting.interrupt(payment, Event.NO_LINK, "no-link", now)
        else:
            self._step(payment, Event.DUE)
            self._attempting.repeat(payment, now)

    def _waits_on(self, payment: Departure, now: Now) -> bool:
        """Whether it waits in full after all. A repeat was due early, as its link was in doubt; there may be no better
        link now.
        """
        until_s = payment.sent_s + self._submit.answer_within_s
        waits = now.mono_s < until_s and not self._is_doubted(payment)
        if waits:
            self._set_timer(payment, until_s)
        return waits

    # --- links in doubt

    def _is_doubted(self, payment: Departure) -> bool:
        """Whether its link is in doubt, and another one is not."""
        link = payment.link
        assert link is not None
        doubted = self._ejection.patience_s(link) < self._submit.answer_within_s
        return doubted and self._ejection.another(self._do.submitters(), link)

    def judge_links(self, now: Now) -> None:
        """See which link brings fewer or slower answers than the others."""
        for change in self._ejection.judge(self._do.submitters(), now.mono_s):
            self.on_change(change)

    def on_change(self, change: Change) -> None:
        """A link gets no new payments any more, or gets them again. The payments of an ejected one are repeated by
        another link, once they have waited as for a link on trial.
        """
        self._do.tell_share(change)
        if change.ejected:
            for payment in self._departures.in_flight.values():
                link = payment.link
                if link is not None and link.site == change.site:
                    self._set_timer(payment, payment.sent_s + self._ejection.patience_s(link))
