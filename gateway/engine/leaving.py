"""Carries out the commands of `outbound`."""

import heapq
from collections.abc import Callable, Sequence

from gateway import config, log, metrics
from gateway.clock import Now
from gateway.engine import notes
from gateway.engine.batch import Batch
from gateway.engine.jobs import Carried, Departing
from gateway.engine.shells import Links, hub_link
from gateway.log.limit import Limit
from gateway.payments import departure
from gateway.payments.departure import Departure, Note
from gateway.payments.ejection import Change, Ejection
from gateway.payments.links import Link
from gateway.payments.outbound import Outbound
from gateway.payments.steps import Kind
from gateway.payments.submissions import Submissions
from gateway.wire.codec import Codec, join_mac
from gateway.wire.message import PaymentRequest

_log = log.get("engine")


class Leaving(departure.Commands):
    """Carries payments that leave through the shells."""

    def __init__(
        self,
        pair: config.Pair,
        payments_max: int,
        codec: Codec,
        submissions: Submissions,
        batch: Batch,
        forbids: Callable[[PaymentRequest], str],
        ejection: Ejection,
    ) -> None:
        self._places = Limit("node.payments_max", payments_max)
        self.story = Outbound(pair, payments_max, submissions, codec, self, ejection, forbids)
        self.links: Links
        """`Engine.join` gives them."""
        self.alarms: list[tuple[float, str]] = []
        self._batch = batch

    # --- what happened

    def take_alarms(self, now: Now) -> None:
        """Tell the story of the deadlines that have passed and still hold."""
        if self.story.ejection.due_s <= now.mono_s:
            self.story.awaiting.judge_links(now)
        alarms, in_flight, unknown = self.alarms, self.story.in_flight, self.story.unknown
        while alarms and alarms[0][0] <= now.mono_s:
            at_s, fpid = heapq.heappop(alarms)
            payment = in_flight.get(fpid) or unknown.get(fpid)
            if payment is not None and payment.due_s == at_s:
                self.story.awaiting.on_deadline(payment, now)

    def stop(self, now: Now) -> int:
        """An operator stops submitting: what waits in a link's buffer is taken back. Returns the record's position."""
        try:
            return self.story.stopping.stop(now)
        finally:
            for carried in self.links.recall(Carried):
                self.story.attempting.on_recalled(carried.payment, carried.attempt, now)

    def complete(self, departing: Departing, now: Now) -> None:
        """Hand over a request that is durable and authenticated."""
        body = join_mac(departing.data, departing.made)
        self.story.attempting.on_ready(departing.payment, departing.attempt, body, now)

    # --- Commands

    def record(self, kind: Kind, body: bytes, fpid: str, link: Link) -> int:
        """See `departure.Commands`; so are all that follow."""
        return self._batch.record(kind, body, fpid, link)

    def when_settled(self, position: int, payment: Departure) -> None:
        """Bring RECORDED."""
        self._batch.wait_for_disk(position, payment)

    def depart(self, payment: Departure, covered: bytes, position: int, until_s: float) -> None:
        """Make the MAC of a request."""
        departing = Departing(self._batch.own_key, covered, until_s, payment)
        self._batch.wait_for_disk(position, departing)
        self._batch.jobs.append(departing)

    def hand(self, payment: Departure, link: Link, body: bytes, until_s: float) -> bool:
        """Put a request into the link's buffer."""
        going = hub_link(link)
        self._batch.touched.add(going)
        return going.send(body, Carried(payment, payment.attempt), until_s=until_s)

    def submitters(self) -> Sequence[Link]:
        """The links that are signed on to submit."""
        return self.links.submitters()

    def set_alarm(self, payment: Departure, at_s: float) -> None:
        """Bring a deadline."""
        heapq.heappush(self.alarms, (at_s, payment.fpid))

    def tell_outbound(self, note: Note, fpid: str, detail: str = "", since_s: float = 0.0) -> None:
        """Count it, and say it where somebody may want to hear."""
        self._batch.count("outbound_" + note.name.lower())
        if note is Note.FULL:
            self._places.hit(self._batch.now.mono_s, "payments that the processor submits are turned away", 1)
        elif self._places.reached and (note is Note.SUBMITTED or len(self.story.in_flight) < self._places.most):
            self._places.eased()
        elapsed_s = self._batch.now.mono_s - since_s if since_s else 0.0
        if note is Note.SETTLED and since_s:
            metrics.OUTBOUND_SETTLE_S.observe(elapsed_s)
        notes.say(note, fpid, detail, round(elapsed_s * 1000, 3))

    def tell_share(self, change: Change) -> None:
        """Say it: a link that stands and brings no answers is somebody's to look at."""
        metrics.LINK_EJECTED.labels(change.site).set(change.ejected)
        if change.ejected:
            metrics.LINK_EJECTIONS.labels(change.site).inc()
            _log.warning("link ejected: it gets no new payments", link=change.site, reason=change.why)
        else:
            _log.info("link is well again: it gets its share", link=change.site, elapsed_s=round(change.after_s, 3))
