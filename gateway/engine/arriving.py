"""Carries out the commands of `inbound`, and sends whatever leaves on the link of its own request."""

import heapq
from collections.abc import Callable

from gateway import config, log, metrics
from gateway.clock import Now
from gateway.engine import notes
from gateway.engine.batch import Batch
from gateway.engine.jobs import Outgoing
from gateway.engine.reserving import Reserving
from gateway.engine.shells import Processor, hub_link
from gateway.hub.exchanges import MessageIds, transmission_time
from gateway.log.limit import Limit
from gateway.payments import arrival, steps
from gateway.payments.arrival import Arrival, Note
from gateway.payments.inbound import Inbound
from gateway.payments.links import Link
from gateway.payments.mode import Mode
from gateway.payments.outcomes import Outcomes
from gateway.payments.steps import Kind
from gateway.payments.work import Ask
from gateway.wire.codec import Codec, join_mac
from gateway.wire.message import Advice, PaymentRequest

_log = log.get("engine")


class Arriving(arrival.Commands):
    """Carries payments that arrive through the shells."""

    def __init__(
        self, pair: config.Pair, payments_max: int, codec: Codec, outcomes: Outcomes, batch: Batch,
        processor: Processor, ids: MessageIds, reserving: Reserving,
        may_stand_in: Callable[[PaymentRequest], bool], in_doubt: Callable[[Now], bool],
    ) -> None:  # fmt: skip
        self._places = Limit("node.payments_max", payments_max)
        self.story = Inbound(pair, payments_max, outcomes, codec, self, may_stand_in, in_doubt)
        self.mode = Mode(self.story.stand_in, self)
        self.timers: list[tuple[float, str]] = []
        self.replies_owed = 0
        """Replies that have not reached a link."""
        self.message_ids = ids
        self._reserving = reserving
        self._deadlines = pair.deadlines
        self._codec = codec
        self._batch = batch
        self._processor = processor

    # --- what happened

    def take_timers(self, now: Now) -> None:
        """Tell the story of the deadlines that have passed."""
        timers, in_flight = self.timers, self.story.in_flight
        while timers and timers[0][0] <= now.mono_s:
            payment = in_flight.get(heapq.heappop(timers)[1])
            if payment is not None:
                self.story.deciding.on_deadline(payment, now)

    def start(self, outgoing: Outgoing) -> None:
        """Have the MAC of a message made."""
        self.replies_owed += outgoing.owed
        self._batch.jobs.append(outgoing)

    def complete(self, outgoing: Outgoing, now: Now) -> None:
        """Send a message that is durable and authenticated, unless it is of no use any more."""
        self.replies_owed -= outgoing.owed
        body = join_mac(outgoing.data, outgoing.made)
        payment = outgoing.payment
        if outgoing.decides:
            assert payment is not None
            self.story.replying.on_ready(payment, body, now)
            return
        assert outgoing.link is not None
        reason = ""
        if payment is not None and not self.story.replying.on_repeat_ready(payment):
            reason = "reversed"
        elif now.mono_s > outgoing.deadline_s:
            reason = "too-late"
        elif not outgoing.link.send(body, payment, until_s=outgoing.deadline_s):
            reason = "link-lost"
        else:
            self._batch.touched.add(outgoing.link)
        if reason:
            self._lost(outgoing, reason, now)

    def abandon(self, outgoing: Outgoing, now: Now) -> None:
        """The MAC of a message cannot be made in time."""
        self.replies_owed -= outgoing.owed
        self._lost(outgoing, "no-mac", now)

    def _lost(self, outgoing: Outgoing, reason: str, now: Now) -> None:
        self._batch.count("unsent")
        if outgoing.payment is not None:
            self.story.replying.on_unsent(outgoing.payment, reason, now)
        else:
            _log.warning("message not sent", reason=reason, mti=outgoing.data[:4].decode("ascii"))

    # --- Commands

    def record(self, kind: Kind, body: bytes, fpid: str, link: Link) -> int:
        """See `arrival.Commands`; so are all that follow."""
        return self._batch.record(kind, body, fpid, link)

    def when_recorded(self, position: int, payment: Arrival) -> None:
        """Bring RECORDED."""
        self._batch.wait_for_disk(position, payment)

    def ask(self, payment: Arrival, deadline_s: float) -> None:
        """Ask the processor."""
        assert payment.request is not None
        unusual = payment.unusual_date
        payment.question = Ask(payment.fpid, payment.request, deadline_s, payment, unusual_date=unusual)
        self._batch.asks.append(payment.question)

    def unask(self, payment: Arrival) -> None:
        """No answer is wanted any more."""
        if payment.question is not None:
            payment.question.void = True

    def why_unasked(self, question: Ask) -> str:
        """Have the processor's client say why."""
        return self._processor.why_unasked(question)

    def set_timer(self, payment: Arrival, at_s: float) -> None:
        """Bring a deadline."""
        heapq.heappush(self.timers, (at_s, payment.fpid))

    def authenticate(self, payment: Arrival, covered: bytes, position: int, until_s: float) -> None:
        """Make the MAC of the decision's reply."""
        outgoing = Outgoing(self._batch.own_key, covered, until_s, None, payment, decides=True, durable=False)
        self._batch.wait_for_disk(position, outgoing)
        self.start(outgoing)

    def send(self, payment: Arrival, link: Link, body: bytes, until_s: float) -> bool:
        """Put a reply into the link's buffer."""
        going = hub_link(link)
        self._batch.touched.add(going)
        return going.send(body, payment, until_s=until_s)

    def leave(self, link: Link, covered: bytes, position: int, until_s: float, payment: Arrival | None) -> None:
        """Make the MAC of any other reply and send it."""
        outgoing = Outgoing(
            self._batch.own_key, covered, until_s, hub_link(link), payment, decides=False, durable=False
        )
        self._batch.wait_for_disk(position, outgoing)
        self.start(outgoing)

    def advise(self, link: Link, body: bytes, function_code: str, where: str) -> None:
        """Send a 9624, unless this is one: an advice is never answered with an advice. Nor is one sent when ids run
        short because the disk hangs: it would not leave in time.
        """
        if body[:4] == b"9624" or not self._reserving.has_room_for_advice:
            self.record(Kind.REJECTED, steps.pack(steps.Rejected(function_code, where, body, b"")), "", link)
            return
        now = self._batch.now
        stamp, message_id = transmission_time(now), self.message_ids.take()
        covered = self._codec.encode(
            Advice(mti="9624", transmission_time=stamp, message_id=message_id, function_code=function_code)
        )
        record = steps.pack(steps.Rejected(function_code, where, body, covered))
        position = self.record(Kind.REJECTED, record, "", link)
        self.leave(link, covered, position, now.mono_s + self._deadlines.reply_within_s, None)

    def note(self, note: Note, fpid: str, detail: str = "", since_s: float = 0.0) -> None:
        """Count it, and say it where somebody may want to hear."""
        self._batch.count(note.name.lower())
        elapsed_ms = round((self._batch.now.mono_s - since_s) * 1000, 3) if since_s else 0.0
        if note is Note.OVERLOAD:
            self._places.hit(self._batch.now.mono_s, "payments are not asked about: too many are being decided", 1)
        elif self._places.reached and len(self.story.in_flight) < self._places.most:
            self._places.eased()
        if note is Note.REPLIED and since_s:  # a repeat of what an earlier process decided has no first byte here
            metrics.PAYMENT_REPLY_S.observe(elapsed_ms / 1000)
        notes.say(note, fpid, detail, elapsed_ms)
