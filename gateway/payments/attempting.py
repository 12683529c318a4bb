"""One attempt after the other: a request of a payment leaves, or does not, and the next one has its time.

A repeat is a 9201, and a 9200 only where surely nothing left before. It takes another link where there is one
(`ejection`). When no attempt is left, the payment is UNKNOWN if one of them may have left: never failed.
"""

from math import inf

from gateway import config
from gateway.backoff import backoff_s
from gateway.clock import Now
from gateway.payments import steps
from gateway.payments.departure import Commands, Departure, Note
from gateway.payments.departures import Departures
from gateway.payments.ejection import Ejection
from gateway.payments.links import RECORDER, Link
from gateway.payments.outbound_law import RESTS, Act, Event
from gateway.payments.reporting import Reporting
from gateway.payments.steps import Kind
from gateway.payments.submitting import STOPPED, Submitting
from gateway.payments.work import Standing

REPEAT = b"9201"
REQUEST = b"9200"


class Attempting:
    """Makes the attempts."""

    def __init__(
        self,
        pair: config.Pair,
        departures: Departures,
        reporting: Reporting,
        ejection: Ejection,
        submitting: Submitting,
        commands: Commands,
    ) -> None:
        self._submit = pair.submit
        self._prepare_within_s = pair.session.respond_within_s
        self._departures = departures
        self._step, self._set_timer = departures.step, departures.set_timer
        self._reporting = reporting
        self._ejection = ejection
        self._submitting = submitting
        self._do = commands

    # --- the way out

    def begin(self, payment: Departure, covered: bytes, position: int, now: Now) -> None:
        """Have a request's MAC made; `position` is that of its record."""
        payment.attempt += 1
        payment.under_way = payment.attempt
        self._do.depart(payment, covered, position, now.mono_s + self._prepare_within_s)

    def repeat(self, payment: Departure, now: Now) -> None:
        """Begin another attempt."""
        payment.repeats += 1
        payment.due_s = inf
        covered = (REPEAT if payment.left else REQUEST) + payment.covered[4:]
        body = steps.pack(steps.Retry(payment.attempt + 1, covered, payment.key, payment.content))
        position = self._do.record(Kind.RETRIED, body, payment.fpid, RECORDER)
        self.begin(payment, covered, position, now)
        self._do.tell_outbound(Note.RETRIED, payment.fpid, payment.reason)

    def on_ready(self, payment: Departure, attempt: int, body: bytes, now: Now) -> None:
        """A request is durable and has its MAC: it leaves, if there is a link and still a reason."""
        if attempt != payment.under_way:  # answered meanwhile
            return
        self._step(payment, Event.READY)
        # a person stopped it meanwhile, or the disk took its time
        if why := STOPPED if self._submitting.stopped else "too-old" if self.is_old(payment, now) else "":
            self.interrupt(payment, Event.SEND_FAILED, why, now)
            return
        link = self._next_link(payment, now)
        until_s = now.mono_s + self._submit.answer_within_s
        if link is None or not self._do.hand(payment, link, body, until_s):
            self.interrupt(payment, Event.SEND_FAILED, "no-link", now)
            return
        self._ejection.sent(link, payment.fpid, now.mono_s, new=payment.attempt == 1)
        payment.link, payment.link_before_id = link, link.id
        payment.left_before, payment.left = payment.left, True
        payment.is_first_here = link.id not in payment.links
        payment.links.add(link.id)
        self._departures.standing_links.add(link.id)
        payment.sent_s = now.mono_s
        self._set_timer(payment, now.mono_s + self._ejection.patience_s(link))
        self._do.tell_outbound(Note.TRANSMITTED, payment.fpid)

    def _next_link(self, payment: Departure, now: Now) -> Link | None:
        links = self._do.submitters()
        if not links:
            return None
        if payment.attempt == 1:
            return self._ejection.deal(links, now.mono_s)
        return self._ejection.deal_again(links, payment.link_before_id, silent=payment.reason != "inconclusive")

    # --- its end

    def on_unsent(self, payment: Departure, attempt: int, reason: str, now: Now, *, surely: bool = True) -> None:
        """This attempt's request did not leave (no link, no MAC, the link went first); or, not surely, may have."""
        if attempt != payment.under_way:
            return
        if surely and payment.link is not None:
            payment.left = payment.left_before
            if payment.is_first_here:  # it carried none: whatever the hub says there is about something else
                payment.links.discard(payment.link.id)
        self.interrupt(payment, Event.SEND_FAILED if surely else Event.LOST, reason, now)

    def on_recalled(self, payment: Departure, attempt: int, now: Now) -> None:
        """A stop took this attempt's request back out of the link's buffer."""
        if attempt == payment.under_way and payment.link is not None:
            self._ejection.unsent(payment.link, payment.fpid, now.mono_s)
        self.on_unsent(payment, attempt, STOPPED, now)

    def on_link_down(self, link: Link, now: Now) -> None:
        """A connection is gone, and with it every answer that it could have brought."""
        self._ejection.link_down(link, now.mono_s)
        for payment in [p for p in self._departures.in_flight.values() if p.link is link]:
            self.interrupt(payment, Event.LOST, "link-lost", now)
        self._reporting.link_gone(link, now)

    def interrupt(self, payment: Departure, event: Event, reason: str, now: Now) -> None:
        """This attempt is over: the next one has its time."""
        self._step(payment, event)
        self.pause(payment, reason, now, at_once=event is Event.NO_ANSWER)

    def pause(self, payment: Departure, reason: str, now: Now, *, at_once: bool = False) -> None:
        """Give the next attempt its time, which is at once where waiting was long already, or nothing may leave."""
        payment.under_way, payment.link, payment.reason = 0, None, reason
        self._do.tell_outbound(Note.PAUSED, payment.fpid, reason)
        if at_once or self._submitting.stopped:
            payment.pauses = 0
            self._set_timer(payment, now.mono_s)
            return
        pause_s = backoff_s(payment.pauses, self._submit.pause_s, self._submit.pause_max_s)
        payment.pauses += 1
        self._set_timer(payment, now.mono_s + pause_s)

    # --- the end of all attempts

    def is_old(self, payment: Departure, now: Now) -> bool:
        """Whether no attempt may begin any more."""
        return now.mono_s - payment.submitted_s >= self._submit.repeat_for_s

    def give_up(self, payment: Departure) -> None:
        """Send nothing more on our own account: it is unknown when it may have left, never failed."""
        act = self._step(payment, Event.EXHAUSTED if payment.left else Event.NEVER_LEFT)
        unknown = act is Act.GIVE_UP
        unsettled = steps.Unsettled(
            payment.key, payment.content, payment.reason, payment.inconclusive, payment.attempt, payment.covered
        )
        kind, note = (Kind.UNKNOWN, Note.UNKNOWN) if unknown else (Kind.UNSENT, Note.UNSENT)
        self._do.tell_outbound(note, payment.fpid, payment.reason)
        payment.outcome = Standing(payment.fpid, RESTS[kind], payment.inconclusive)
        self._reporting.record(payment, kind, steps.pack(unsettled), RECORDER)
