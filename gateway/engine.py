"""Where events meet machines: in one wake-up the engine takes all that has happened, lets the stories speak, and hands
each shell its batch: one write to the disk, one message to the token, one flush per link.

Shells call the `on_`-methods and those of `hub.link.Inbox` from the trio thread; these only note what happened and wake
the engine's one task. The order within a wake-up is fixed: what became durable, MACs, answers, what was sent, frames,
timers. So an answer that arrives together with its deadline wins, and a reply never overtakes its record.

The engine decodes and verifies each message before anything else sees it, and joins the two conditions of everything
that leaves: its record is durable, its MAC is made.
"""

import heapq
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Protocol

import trio

from gateway import config, log, metrics, steps
from gateway.clock import Clock, Now
from gateway.errors import HubFault
from gateway.hub.session import MessageIds, transmission_time
from gateway.inbound import Commands, Inbound, Note, Payment
from gateway.inbound import Link as StoryLink
from gateway.outcomes import Outcomes, Replay
from gateway.steps import Kind
from gateway.verify import REVERSAL_PROBLEM, UNREADABLE, WRONG_MAC, names_a_payment
from gateway.wire.codec import Codec, join_mac, split_mac
from gateway.wire.message import (
    Advice,
    Message,
    PaymentRequest,
    PaymentResponse,
    ReversalRequest,
    ReversalResponse,
    Usm,
)
from gateway.work import Answer, Ask, MacJob

_log = log.get("engine")

COMMIT_WITHIN_S = 0.02
"""How long a record may wait for the next batch when nobody waits for it (REPLIED, a late answer): a sync less for most
payments. What a kill takes of these is made good at the restart, where a decision without REPLIED is UNDELIVERED."""

PAYMENT_CLASSES = (b"92", b"94")
"""How the MTI of a message begins that is about a payment."""

_NOTES: dict[Note, tuple[str | None, str]] = {
    Note.RECEIVED: (None, ""),
    Note.ANSWERED: (None, ""),
    Note.JOINED: ("info", "repeat waits for the decision"),
    Note.STOOD_IN: ("info", "payment stood in"),
    Note.REPLIED: ("info", "payment replied"),
    Note.UNDELIVERED: ("warning", "reply undelivered"),
    Note.LATE_ANSWER: ("info", "answer came late"),
    Note.LATE_REFUSAL: ("error", "refusal came after stand-in had accepted"),
    Note.REVERSED: ("warning", "payment reversed"),
    Note.REVERSED_AGAIN: ("info", "reversal repeated"),
    Note.REPEATED: ("info", "repeat replied from the stored outcome"),
    Note.CONFLICT: ("warning", "payment refused: its FPID was used by other content"),
    Note.BAD_FIELD: ("warning", "payment refused: a field is in error"),
    Note.REFUSED_REVERSED: ("warning", "payment refused: it was reversed before"),
    Note.OVERLOAD: ("debug", "payment not asked about: too many are being decided"),
    Note.ORPHANED: ("warning", "payment orphaned by a restart"),
}
"""How each note is said: one line for a payment that goes well, at its end. A late refusal is the alarm."""


class Link(StoryLink, Protocol):
    """What the engine asks of a link (hub/link.py)."""

    site: str

    def send(self, body: bytes, context: object) -> bool:
        """Queue a whole message; False when the link is gone. Ends in `on_sent` or `on_unsent` with the context."""

    def flush(self) -> None:
        """Write what is queued."""

    def manage(self, message: Message, now: Now) -> None:
        """Hand a verified management message to the session."""


class Journal(Protocol):
    """What the engine asks of the journal."""

    durable: int

    def append(self, kind: Kind, body: bytes = b"", *, fpid: str = "", link: int = 0, wall_ns: int) -> int:
        """Append; returns the position. Raises JournalFault."""

    def commit(self) -> None:
        """Hand what was appended to the disk."""

    def has_room(self) -> bool:
        """Whether new payments may be taken in."""


class Signer(Protocol):
    """What the engine asks of the HSMs. What is submitted comes back through `on_macs`, each with its result."""

    def submit(self, jobs: list[MacJob]) -> None:
        """Never waits."""


class Processor(Protocol):
    """What the engine asks of the processor's client. Answers come back through `on_answers`, or never."""

    def ask(self, asks: list[Ask]) -> None:
        """Never waits."""


class Incoming(MacJob):
    """A message that came, while its MAC is verified."""

    __slots__ = ("first_byte_s", "link", "message")

    def __init__(self, key: str, covered: bytes, mac: bytes, deadline_s: float, link: Link, message: Message,
                 first_byte_s: float) -> None:  # fmt: skip
        super().__init__(key, covered, deadline_s=deadline_s, mac=mac)
        self.link = link
        self.message = message
        self.first_byte_s = first_byte_s


class Outgoing(MacJob):
    """A message that is to leave once its MAC is made and its record is durable."""

    __slots__ = ("authentic", "decides", "durable", "link", "owed", "payment")

    def __init__(self, key: str, covered: bytes, deadline_s: float, link: Link | None, payment: Payment | None,
                 *, decides: bool, durable: bool, owed: bool = True) -> None:  # fmt: skip
        super().__init__(key, covered, deadline_s=deadline_s)
        self.link = link
        self.payment = payment
        self.decides = decides
        """The reply of a decision: when complete, the story sends it on every leg."""
        self.durable = durable
        self.owed = owed
        """Whether a drain waits for it: replies are owed, what a session says is not."""
        self.authentic = False
        """The signer brought its MAC. Not the same as `made`, which the signer fills in before it says so."""


class Sealing(MacJob):
    """A seal under way: a MAC over the journal's chain value at a position."""

    __slots__ = ("position",)

    def __init__(self, key: str, chain: bytes, deadline_s: float, position: int) -> None:
        super().__init__(key, chain, deadline_s=deadline_s)
        self.position = position


class _Recorder:
    """The link of what no link brought: records of the process itself."""

    id = 0


RECORDER = _Recorder()


class Announced:
    """A 9824 that waits for its record: it is acknowledged once it cannot be lost."""

    __slots__ = ("link", "message")

    def __init__(self, link: Link, message: Message) -> None:
        self.link = link
        self.message = message


class Engine(Commands):
    """One wake-up after the other."""

    def __init__(
        self, pair: config.Pair, payments_max: int, codec: Codec, outcomes: Outcomes,
        journal: Journal, signer: Signer, processor: Processor, clock: Clock,
    ) -> None:  # fmt: skip
        self.inbound = Inbound(pair, payments_max, outcomes, codec, self)
        self.outcomes = outcomes
        self._mac = pair.mac
        self._deadlines = pair.deadlines
        self._respond_within_s = pair.session.respond_within_s
        self._codec = codec
        self._journal = journal
        self._signer = signer
        self._processor = processor
        self._clock = clock
        self._now = Now(0.0, 0)
        # what has happened since the last wake-up
        self._wake = trio.Event()
        self._frames: list[tuple[Link, list[tuple[float, bytes]]]] = []
        self._macs: list[list[MacJob]] = []
        self._answers: list[list[Answer]] = []
        self._sent: list[tuple[Link, list[object], str]] = []
        # what waits for the disk, by position; what waits for its time
        self._pending: deque[tuple[int, Payment | Outgoing | Announced]] = deque()
        self._timers: list[tuple[float, str]] = []
        self._commit_by_s = inf
        """When what was appended goes to the disk; inf: nothing was."""
        # what leaves at the end of this wake-up
        self._jobs: list[MacJob] = []
        self._asks: list[Ask] = []
        self._touched: set[Link] = set()
        self._leaving = 0
        self._verifying = 0
        self.message_ids = MessageIds()
        """DE11 of what we send; the sessions' too, once the daemon has joined them."""
        self.counts: dict[str, int] = {}

    # --- what shells call: noted, nothing more

    def on_durable(self, _position: int) -> None:
        """The journal synced."""
        self._wake.set()

    def on_macs(self, jobs: list[MacJob]) -> None:
        """The signer is done with these."""
        self._macs.append(jobs)
        self._wake.set()

    def on_answers(self, answers: list[Answer]) -> None:
        """The processor answered these."""
        self._answers.append(answers)
        self._wake.set()

    def link_up(self, link: Link) -> None:
        """A connection stands."""

    def link_down(self, link: Link, reason: str) -> None:
        """A connection has ended; what it did not write came back through `unsent` before."""

    def frames(self, link: Link, frames: list[tuple[float, bytes]], _now_s: float) -> None:
        """A link read these frames, each with the time of its first byte."""
        self._frames.append((link, frames))
        self._wake.set()

    def sent(self, link: Link, contexts: list[object]) -> None:
        """A link wrote what these contexts stand for."""
        self._sent.append((link, contexts, ""))
        self._wake.set()

    def unsent(self, link: Link, contexts: list[object], *, surely: bool) -> None:
        """A link is gone, and these were not written, or were being written and may have left."""
        self._sent.append((link, contexts, "link-lost" if surely else "link-lost-writing"))
        self._wake.set()

    def frame_error(self, link: Link, error: HubFault) -> None:
        """A link cannot read its frames any more: say so while it still can write."""
        self._now = self._clock()
        self._reject(link, b"", error.function_code, str(error))
        self._flush()

    def transmit(self, link: Link, message: Message) -> None:
        """A session wants this sent. It is recorded, but does not wait for the disk.

        No money is in it, and a gateway whose disk hangs must still be able to sign off. It leaves in the time that the
        session waits for its response, or never: a sign-off must not overtake the sign-on that replaced it.
        """
        now = self._now = self._clock()
        covered = self._codec.encode(message)
        self.record(Kind.MANAGEMENT_OUT, covered, "", link)
        until_s = now.mono_s + self._respond_within_s
        key = self._mac.own_key
        self._authenticate(Outgoing(key, covered, until_s, link, None, decides=False, durable=True, owed=False))
        self._wake.set()

    # --- the wake-up

    async def run(self) -> None:
        """Turn until cancelled, which leaves what is in flight to the journal: a restart takes it up.

        Raises JournalFault when a record cannot be written.
        """
        while True:
            timer_s = self._timers[0][0] if self._timers else inf
            with trio.move_on_at(min(timer_s, self._commit_by_s)):
                await self._wake.wait()
            self._wake = trio.Event()
            self.turn(self._clock())

    def turn(self, now: Now) -> None:
        """Everything that has happened, in the fixed order; then each shell gets its batch."""
        self._now = now
        self._take_durable(now)
        macs, self._macs = self._macs, []
        for jobs in macs:
            for job in jobs:
                self._take_mac(job, now)
        answers, self._answers = self._answers, []
        for batch in answers:
            for answer in batch:
                self.inbound.on_answer(answer.context, answer.code, answer.field)
        sent, self._sent = self._sent, []
        for link, contexts, reason in sent:
            self._take_sent(link, contexts, reason, now)
        frames, self._frames = self._frames, []
        for link, batch_of_frames in frames:
            self._take_frames(link, batch_of_frames)
        self._take_timers(now)
        self._flush()

    def _flush(self) -> None:
        """The token first, because it works beside us; the disk last, because its thread wants the interpreter."""
        if self._jobs:
            jobs, self._jobs = self._jobs, []
            self._signer.submit(jobs)
        if self._touched:
            for link in self._touched:
                link.flush()
            self._touched.clear()
        if self._asks:
            asks, self._asks = self._asks, []
            self._processor.ask(asks)
        if self._commit_by_s <= self._now.mono_s:
            self._commit_by_s = inf
            self._journal.commit()

    def _wait_for_disk(self, position: int, waiting: Payment | Outgoing | Announced) -> None:
        """Somebody waits for this record: it goes to the disk at the end of this wake-up."""
        self._pending.append((position, waiting))
        self._commit_by_s = self._now.mono_s

    def _take_durable(self, now: Now) -> None:
        durable, pending = self._journal.durable, self._pending
        while pending and pending[0][0] <= durable:
            waiting = pending.popleft()[1]
            if waiting.__class__ is Payment:
                self.inbound.on_recorded(waiting)
            elif isinstance(waiting, Outgoing):
                waiting.durable = True
                if waiting.authentic:
                    self._complete(waiting, now)
            elif isinstance(waiting, Announced):
                waiting.link.manage(waiting.message, now)

    def _take_mac(self, job: MacJob, now: Now) -> None:
        if isinstance(job, Incoming):
            self._verifying -= 1
            if job.ok:
                self._dispatch(job, now)
            elif job.error == "wrong-mac":
                self._count("wrong_mac")
                self._reject(job.link, job.message.body, WRONG_MAC, "DE128")
            else:
                self._unverified(job)
        elif isinstance(job, Sealing):
            if job.ok:
                body = steps.pack(steps.Seal(job.position, job.data, job.key, job.made))
                self.record(Kind.SEALED, body, "", RECORDER)
        else:
            assert isinstance(job, Outgoing)
            job.authentic = job.ok
            if not job.ok:
                self._abandon(job, "no-mac", now)
            elif job.durable:
                self._complete(job, now)

    def _take_sent(self, link: Link, contexts: list[object], reason: str, now: Now) -> None:
        for payment in contexts:
            if not isinstance(payment, Payment):
                continue
            if reason:
                self.inbound.on_unsent(payment, reason, now)
            else:
                self.inbound.on_sent(payment, link, now)

    def _take_frames(self, link: Link, frames: list[tuple[float, bytes]]) -> None:
        if not self._journal.has_room():
            frames = self._without_payments(link, frames)
        decode, key, patience = self._codec.decode, self._mac.hub_key, self._deadlines.reply_within_s
        for first_byte_s, body in frames:
            try:
                covered, mac = split_mac(body)
                message = decode(body)
            except HubFault as fault:
                self._count("unreadable")
                self._reject(link, body, fault.function_code, str(fault))
            else:
                incoming = Incoming(key, covered, mac, first_byte_s + patience, link, message, first_byte_s)
                incoming.urgent = body[:2] not in PAYMENT_CLASSES  # a sign-off must not wait behind a flood of payments
                self._jobs.append(incoming)
                self._verifying += 1

    def _without_payments(self, link: Link, frames: list[tuple[float, bytes]]) -> list[tuple[float, bytes]]:
        """The disk does not keep up: no promise is made about payments, the hub will repeat or reverse.

        Management goes on: it needs little room, and a gateway in trouble must be able to sign off.
        """
        kept = [frame for frame in frames if frame[1][:2] not in PAYMENT_CLASSES]
        if len(kept) < len(frames):
            count = len(frames) - len(kept)
            self._count("not_taken_in", count)
            _log.error("payments not taken in: too much waits for the disk", link=link.site, count=count)
        return kept

    def _take_timers(self, now: Now) -> None:
        timers, in_flight = self._timers, self.inbound.in_flight
        while timers and timers[0][0] <= now.mono_s:
            payment = in_flight.get(heapq.heappop(timers)[1])
            if payment is not None:
                self.inbound.on_deadline(payment)

    # --- messages that came

    def _dispatch(self, incoming: Incoming, now: Now) -> None:
        message, link = incoming.message, incoming.link
        if isinstance(message, PaymentRequest):
            self.inbound.on_request(message, link, incoming.first_byte_s)
        elif isinstance(message, ReversalRequest):
            if names_a_payment(message):
                self.inbound.on_reversal(message, link, incoming.first_byte_s, now)
            else:
                self._reject(link, message.body, REVERSAL_PROBLEM, f"DE{message.fault}")
        elif isinstance(message, PaymentResponse | ReversalResponse | Advice):
            self._unplaced(link, message)
        elif message.fault:
            self._reject(link, message.body, UNREADABLE, f"DE{message.fault}")
        else:
            position = self.record(Kind.MANAGEMENT_IN, message.body, "", link)
            if isinstance(message, Usm):
                self._wait_for_disk(position, Announced(link, message))
            else:
                link.manage(message, now)

    def _unplaced(self, link: Link, message: PaymentResponse | ReversalResponse | Advice) -> None:
        """A response to nothing that we sent, or an advice: kept, shown, and it changes nothing."""
        self.record(Kind.UNPLACED, message.body, "", link)
        self._count("unplaced")
        code = message.function_code if isinstance(message, Advice) else message.action_code
        _log.warning("message belongs to nothing we know", link=link.site, mti=message.mti, code=code)

    def _unverified(self, incoming: Incoming) -> None:
        """No HSM could say whether this message is the hub's: it is kept, and not acted upon."""
        self._count("unverified")
        body = steps.pack(steps.Rejected("", "unverified: no HSM", incoming.message.body, b""))
        self.record(Kind.REJECTED, body, "", incoming.link)
        _log.error("message not verified: no HSM", link=incoming.link.site, mti=incoming.message.mti)

    def _reject(self, link: Link, body: bytes, function_code: str, where: str) -> None:
        _log.warning("message rejected", link=link.site, function_code=function_code, where=where, bytes=len(body))
        self.advise(link, body, function_code, where)

    # --- messages that leave

    def _authenticate(self, outgoing: Outgoing) -> None:
        self._leaving += outgoing.owed
        self._jobs.append(outgoing)

    def _complete(self, outgoing: Outgoing, now: Now) -> None:
        """Durable and authenticated."""
        self._leaving -= outgoing.owed
        body = join_mac(outgoing.data, outgoing.made)
        payment = outgoing.payment
        if outgoing.decides:
            assert payment is not None
            self.inbound.on_ready(payment, body, now)
            return
        assert outgoing.link is not None
        reason = ""
        if payment is not None and not self.inbound.may_repeat(payment):
            reason = "reversed"
        elif now.mono_s > outgoing.deadline_s:
            reason = "too-late"
        elif not outgoing.link.send(body, payment):
            reason = "link-lost"
        else:
            self._touched.add(outgoing.link)
        if reason:
            self._lost(outgoing, reason, now)

    def _abandon(self, outgoing: Outgoing, reason: str, now: Now) -> None:
        """Its MAC cannot be made in time."""
        self._leaving -= outgoing.owed
        self._lost(outgoing, reason, now)

    def _lost(self, outgoing: Outgoing, reason: str, now: Now) -> None:
        self._count("unsent")
        if outgoing.payment is not None:
            self.inbound.on_unsent(outgoing.payment, reason, now)
        else:
            _log.warning("message not sent", reason=reason, mti=outgoing.data[:4].decode("ascii"))

    # --- Commands

    def record(self, kind: Kind, body: bytes, fpid: str, link: StoryLink) -> int:
        """See `Commands`."""
        self._commit_by_s = min(self._commit_by_s, self._now.mono_s + COMMIT_WITHIN_S)
        return self._journal.append(kind, body, fpid=fpid, link=link.id, wall_ns=self._now.wall_ns)

    def when_recorded(self, position: int, payment: Payment) -> None:
        """See `Commands`."""
        self._wait_for_disk(position, payment)

    def ask(self, payment: Payment, deadline_s: float) -> None:
        """See `Commands`."""
        assert payment.request is not None
        payment.question = Ask(payment.fpid, payment.request, deadline_s, payment)
        self._asks.append(payment.question)

    def unask(self, payment: Payment) -> None:
        """See `Commands`."""
        if payment.question is not None:
            payment.question.void = True

    def set_timer(self, payment: Payment, at_s: float) -> None:
        """See `Commands`."""
        heapq.heappush(self._timers, (at_s, payment.fpid))

    def authenticate(self, payment: Payment, covered: bytes, position: int, until_s: float) -> None:
        """See `Commands`."""
        outgoing = Outgoing(self._mac.own_key, covered, until_s, None, payment, decides=True, durable=False)
        self._wait_for_disk(position, outgoing)
        self._authenticate(outgoing)

    def send(self, payment: Payment, link: StoryLink, body: bytes) -> bool:
        """See `Commands`."""
        going: Link = link  # type: ignore[assignment]  # the story only knows ids; what it holds are our links
        self._touched.add(going)
        return going.send(body, payment)

    def leave(self, link: StoryLink, covered: bytes, position: int, until_s: float, payment: Payment | None) -> None:
        """See `Commands`."""
        going: Link = link  # type: ignore[assignment]  # as in `send`
        outgoing = Outgoing(self._mac.own_key, covered, until_s, going, payment, decides=False, durable=False)
        self._wait_for_disk(position, outgoing)
        self._authenticate(outgoing)

    def advise(self, link: StoryLink, body: bytes, function_code: str, where: str) -> None:
        """See `Commands`. An advice is never answered with an advice."""
        if body[:4] == b"9624":
            self.record(Kind.REJECTED, steps.pack(steps.Rejected(function_code, where, body, b"")), "", link)
            return
        now = self._now
        stamp, message_id = transmission_time(now), self.message_ids.take()
        covered = self._codec.encode(
            Advice(mti="9624", transmission_time=stamp, message_id=message_id, function_code=function_code)
        )
        record = steps.pack(steps.Rejected(function_code, where, body, covered))
        position = self.record(Kind.REJECTED, record, "", link)
        self.leave(link, covered, position, now.mono_s + self._deadlines.reply_within_s, None)

    def note(self, note: Note, fpid: str, detail: str = "", since_s: float = 0.0) -> None:
        """See `Commands`."""
        self._count(note.name.lower())
        level, text = _NOTES[note]
        if level is None:
            return
        elapsed_ms = round((self._now.mono_s - since_s) * 1000, 3) if since_s else 0.0
        if note is Note.REPLIED and since_s:  # a repeat of what an earlier process decided has no first byte here
            metrics.PAYMENT_REPLY_S.observe(elapsed_ms / 1000)
        say: Callable[..., None] = getattr(_log, level)
        say(text, fpid=log.fpid_hash(fpid), detail=detail, elapsed_ms=elapsed_ms)

    def _count(self, what: str, by: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + by

    def seal(self, position: int, chain: bytes) -> None:
        """Have the journal's chain value at `position` signed and recorded. Without an HSM there is none this time."""
        until_s = self._clock().mono_s + self._deadlines.reply_within_s
        self._jobs.append(Sealing(self._mac.seal_key, chain, until_s, position))
        self._wake.set()

    # --- for others to see

    @property
    def in_flight(self) -> int:
        """What a drain waits for: messages not verified yet, payments not settled, replies that are owed."""
        unread = sum(len(frames) for _, frames in self._frames)
        return unread + self._verifying + len(self.inbound.in_flight) + self._leaving

    def statistics(self) -> dict[str, object]:
        """Counts since the start, and what is under way."""
        return {
            "counts": dict(sorted(self.counts.items())),
            "in_flight": len(self.inbound.in_flight),
            "leaving": self._leaving,
            "waiting_for_disk": len(self._pending),
            "remembered": len(self.outcomes),
        }

    def begin(self, started: steps.Started, replay: Replay) -> None:
        """Before anything else: what the last process left unfinished is orphaned or undelivered, and told."""
        self._now = self._clock()
        self.record(Kind.STARTED, steps.pack(started), "", RECORDER)
        self.inbound.on_restart(replay.unfinished, RECORDER, self._now)
        replay.unfinished.clear()
        self._journal.commit()
