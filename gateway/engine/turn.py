"""The wake-up: everything that has happened goes to the stories, in a fixed order; then each shell gets its batch.

Shells call the `on_`-methods and those of `hub.link.Inbox` from the trio thread; these only note what happened and wake
the engine's one task. The order within a wake-up is fixed: what became durable, MACs, answers, what was sent, links
that went, frames, submissions, timers. So an answer that arrives together with its deadline wins, and nothing overtakes
its record.

The engine decodes and verifies each message before anything else sees it, and joins the two conditions of everything
that leaves: its record is durable, its MAC is made.
"""

from collections.abc import Callable
from math import inf

import trio

from gateway import config, log
from gateway.clock import Clock, Now
from gateway.engine.arriving import Arriving
from gateway.engine.batch import Batch
from gateway.engine.hearing import NEWS_LIFTED, Hearing
from gateway.engine.jobs import Carried, Departing, Incoming, Outgoing, Sealing
from gateway.engine.keying import Keying
from gateway.engine.leaving import Leaving
from gateway.engine.past import Past
from gateway.engine.shells import HubLink, Journal, Links, Processor, Signer
from gateway.errors import HubFault
from gateway.hub.exchanges import MessageIds
from gateway.payments import inbound, outbound, steps
from gateway.payments.dates import Clocks
from gateway.payments.ejection import Ejection
from gateway.payments.links import RECORDER
from gateway.payments.steps import Kind
from gateway.payments.verify import REVERSAL_PROBLEM, UNREADABLE, WRONG_MAC, names_a_payment
from gateway.payments.work import Answer, MacJob, Standing, Submission
from gateway.scheme import keyring
from gateway.scheme.news import HandedOn, Lift, Taken
from gateway.scheme.ring import Use
from gateway.wire.codec import Codec, split_mac
from gateway.wire.message import (
    Advice,
    Message,
    NetworkRequest,
    NetworkResponse,
    PaymentRequest,
    PaymentResponse,
    ReversalRequest,
    ReversalResponse,
    Usm,
)

_log = log.get("engine")

DAILY_S = 86_400.0
"""How often stand-in's mode is recorded anew."""
STEPS = (
    *(note.name.lower() for note in inbound.Note),
    *(f"outbound_{note.name.lower()}" for note in outbound.Note),
    NEWS_LIFTED,
    *(f"key_{note.name.lower()}" for note in keyring.Note),
    "not_taken_in", "unreadable", "unverified",
)  # fmt: skip
"""What is counted of messages, payments and keys, by name (`Batch.counts`), and is there before it counts."""
FRESH_S = 10.0
"""What came longer ago lay here while this machine slept. It says nothing of what the hub's clock shows now."""
PAYMENT_CLASSES = (b"92", b"94")
"""How the MTI of a message begins that is about a payment."""


class Engine:
    """One wake-up after the other."""

    def __init__(
        self, pair: config.Pair, payments_max: int, codec: Codec, past: Past, journal: Journal, signer: Signer,
        processor: Processor, clock: Clock, message_ids: MessageIds, ejection: Ejection, *,
        closed: Callable[[], str], released_ns: int = 0,
    ) -> None:  # fmt: skip
        """`closed`: says why no payment may be submitted now, as far as it is not the links'; empty when one may.
        `released_ns`: when this version was released; 0: not known.
        """
        batch = self._batch = Batch(journal, signer, processor)
        outcomes, submissions = past.inbound.outcomes, past.outbound.submissions
        self.hearing = Hearing(pair.news, past.meanings, codec, past.news, batch)
        self.news = self.hearing.story
        self.keying = Keying(pair, past.ring, batch, signer, message_ids, self._transmit)
        self.clocks = Clocks(pair.dates.hub_clock_differs_s, past.recorded_ns, released_ns)
        """Whether our clock can be right, and what the hub's clocks say."""
        self.arriving = Arriving(
            pair, payments_max, codec, outcomes, batch, message_ids, self.news.may_stand_in,
            self.clocks.in_doubt,
        )  # fmt: skip
        self.leaving = Leaving(pair, payments_max, codec, submissions, batch, self.news.refusal, ejection)
        self.inbound = self.arriving.story
        self.outbound = self.leaving.story
        self.outcomes = outcomes
        self.submissions = submissions
        self._past: Past | None = past
        self.counts = self._batch.counts
        self._closed = closed
        self._seal_key = pair.mac.seal_key
        self._deadlines = pair.deadlines
        self._respond_within_s = pair.session.respond_within_s
        self._codec = codec
        self._journal = journal
        self._clock = clock
        # what has happened since the last wake-up
        self._wake = trio.Event()
        self._frames: list[tuple[HubLink, list[tuple[float, bytes]]]] = []
        self._macs: list[list[MacJob]] = []
        self._answers: list[list[Answer]] = []
        self._sent: list[tuple[HubLink, list[object], str]] = []
        self._downs: list[HubLink] = []
        self._submitted: list[list[Submission]] = []
        self._installed: list[tuple[str, bool, str]] = []
        self._verifying = 0
        self._record_mode_s = inf

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

    def submit(self, submissions: list[Submission]) -> None:
        """The processor submits these. Each gets its `done`."""
        self._submitted.append(submissions)
        self._wake.set()

    def on_installed(self, label: str, ok: bool, why: str) -> None:  # noqa: FBT001 - as the signer says it
        """The tokens have this key, or have it not and why."""
        self._installed.append((label, ok, why))
        self._wake.set()

    def on_handed_on(self, handed_on: HandedOn, taken: Taken) -> None:
        """Another process of ours hands on news of the scheme. Ends in one call of `taken`."""
        self.hearing.hand_in(handed_on, taken)
        self._wake.set()

    def on_lift(self, lift: Lift, done: Taken) -> None:
        """An operator lifts what the scheme's news has set. Ends in one call of `done`."""
        self.hearing.order(lift, done)
        self._wake.set()

    def look(self, key: str) -> Standing | None:
        """Where the payment that was submitted under this key stands."""
        return self.outbound.look(key)

    def link_up(self, link: HubLink) -> None:
        """A connection stands."""

    def link_down(self, link: HubLink, _reason: str) -> None:
        """A connection has ended; what it did not write came back through `unsent` before."""
        self._downs.append(link)
        self._wake.set()

    def frames(self, link: HubLink, frames: list[tuple[float, bytes]], _now_s: float) -> None:
        """A link read these frames, each with the time of its first byte."""
        self._frames.append((link, frames))
        self._wake.set()

    def sent(self, link: HubLink, contexts: list[object]) -> None:
        """A link wrote what these contexts stand for."""
        self._sent.append((link, contexts, ""))
        self._wake.set()

    def unsent(self, link: HubLink, contexts: list[object], *, surely: bool) -> None:
        """A link is gone, and these were not written, or were being written and may have left."""
        self._sent.append((link, contexts, "link-lost" if surely else "link-lost-writing"))
        self._wake.set()

    def expired(self, link: HubLink, contexts: list[object]) -> None:
        """These were not written: it was too late for them."""
        self._sent.append((link, contexts, "too-late"))
        self._wake.set()

    def frame_error(self, link: HubLink, error: HubFault) -> None:
        """A link cannot read its frames any more: say so while it still can write."""
        self._batch.now = self._clock()
        self._reject(link, b"", error.function_code, str(error))
        self._batch.flush()

    def transmit(self, link: HubLink, message: Message) -> None:
        """A session wants this sent. It is recorded, but does not wait for the disk.

        No money is in it, and a gateway whose disk hangs must still be able to sign off. It leaves in the time that the
        session waits for its response, or never: a sign-off must not overtake the sign-on that replaced it.
        """
        self._batch.now = self._clock()
        self._transmit(link, message, self._batch.own_key)

    def _transmit(self, link: HubLink, message: Message, key: str) -> None:
        covered = self._codec.encode(message)
        self._batch.record(Kind.MANAGEMENT_OUT, covered, "", link)
        until_s = self._batch.now.mono_s + self._respond_within_s
        self.arriving.start(Outgoing(key, covered, until_s, link, None, decides=False, durable=True, owed=False))
        self._wake.set()

    # --- the wake-up

    async def run(self) -> None:
        """Turn until cancelled, which leaves what is in flight to the journal: a restart takes it up.

        Raises JournalFault when a record cannot be written.
        """
        while True:
            with trio.move_on_at(self._next_s()):
                await self._wake.wait()
            self._wake = trio.Event()
            self.turn(self._clock())

    def _next_s(self) -> float:
        """When something is due although nothing happens."""
        timers, alarms = self.arriving.timers, self.leaving.alarms
        return min(
            timers[0][0] if timers else inf,
            alarms[0][0] if alarms else inf,
            self.outbound.ejection.due_s,
            self._batch.commit_by_s,
            self.keying.due_s,
            self.news.next_timer(),
            self._record_mode_s,
        )

    def turn(self, now: Now) -> None:
        """Everything that has happened, in the fixed order; then each shell gets its batch."""
        self._batch.now = now
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
        downs, self._downs = self._downs, []
        for link in downs:
            self.outbound.on_link_down(link, now)
            self.clocks.gone(link.id)
        frames, self._frames = self._frames, []
        for link, batch_of_frames in frames:
            self._take_frames(link, batch_of_frames)
        if self._submitted:
            self._take_submissions(now)
        self._take_rare(now)
        self._take_timers(now)
        self._batch.flush()

    def _take_durable(self, now: Now) -> None:
        durable, pending = self._journal.durable, self._batch.pending
        while pending and pending[0][0] <= durable:
            position, waiting = pending.popleft()
            if isinstance(waiting, inbound.Payment):
                self.inbound.on_recorded(waiting, now)
            elif isinstance(waiting, Outgoing):
                waiting.durable = True
                if waiting.authentic:
                    self.arriving.complete(waiting, now)
            elif isinstance(waiting, Departing):
                waiting.durable = True
                self.outbound.on_durable(waiting.payment)
                if waiting.authentic:
                    self.leaving.complete(waiting, now)
            elif isinstance(waiting, outbound.Payment):
                self.outbound.on_recorded(waiting, position, now)
            else:
                waiting(now)

    def _take_mac(self, job: MacJob, now: Now) -> None:
        if isinstance(job, Incoming):
            self._take_incoming(job, now)
        elif isinstance(job, Outgoing):
            job.authentic = job.ok
            if not job.ok:
                self.arriving.abandon(job, now)
            elif job.durable:
                self.arriving.complete(job, now)
        elif isinstance(job, Departing):
            job.authentic = job.ok
            if not job.ok:
                self.outbound.on_unsent(job.payment, job.attempt, "no-mac", now)
            elif job.durable:
                self.leaving.complete(job, now)
        else:
            assert isinstance(job, Sealing)
            if job.ok:
                body = steps.pack(steps.Seal(job.position, job.data, job.key, job.made))
                self._batch.record(Kind.SEALED, body, "", RECORDER)
            job.over.set()

    def _take_incoming(self, incoming: Incoming, now: Now) -> None:
        self._verifying -= 1
        if incoming.ok:
            self._dispatch(incoming, now)
        elif incoming.error == "wrong-mac":
            if self._verify_again(incoming):
                return
            self._batch.count("wrong_mac")
            self._reject(incoming.link, incoming.message.body, WRONG_MAC, "DE128")
        else:
            self._unverified(incoming)

    def _verify_again(self, incoming: Incoming) -> bool:
        """Keys are changing: what one key did not sign, another may have, also one that came meanwhile."""
        tried = (*incoming.tried, incoming.key)
        untried = [key for key in self._batch.verifiers if key not in tried]
        if not untried:
            return False
        again = Incoming(
            untried[0], incoming.data, incoming.mac, incoming.deadline_s, incoming.link, incoming.message,
            incoming.first_byte_s, tried,
        )  # fmt: skip
        again.urgent = incoming.urgent
        self._batch.jobs.append(again)
        self._batch.count("verified_by_another_key")
        self._verifying += 1
        return True

    def _take_rare(self, now: Now) -> None:
        if self._installed:
            installed, self._installed = self._installed, []
            for label, ok, why in installed:
                self.keying.take_installed(label, why, now, ok=ok)
        self.hearing.take(now)

    def _take_timers(self, now: Now) -> None:
        self.arriving.take_timers(now)
        self.leaving.take_alarms(now)
        self.keying.take_timer(now)
        if self._record_mode_s <= now.mono_s:
            self._record_mode(now)

    def _take_sent(self, link: HubLink, contexts: list[object], reason: str, now: Now) -> None:
        for context in contexts:
            if isinstance(context, inbound.Payment):
                if reason:
                    self.inbound.on_unsent(context, reason, now)
                else:
                    self.inbound.on_sent(context, link, now)
            elif isinstance(context, Carried) and reason:
                surely = reason != "link-lost-writing"
                why = "too-old" if reason == "too-late" else "link-lost"
                self.outbound.on_unsent(context.payment, context.attempt, why, now, surely=surely)

    def _take_frames(self, link: HubLink, frames: list[tuple[float, bytes]]) -> None:
        if not self._journal.has_room():
            frames = self._without_payments(link, frames)
        decode, key, patience = self._codec.decode, self._batch.verifiers[0], self._deadlines.reply_within_s
        for first_byte_s, body in frames:
            try:
                covered, mac = split_mac(body)
                message = decode(body)
            except HubFault as fault:
                self._batch.count("unreadable")
                self._reject(link, body, fault.function_code, str(fault))
            else:
                incoming = Incoming(key, covered, mac, first_byte_s + patience, link, message, first_byte_s)
                incoming.urgent = body[:2] not in PAYMENT_CLASSES  # a sign-off must not wait behind a flood of payments
                self._batch.jobs.append(incoming)
                self._verifying += 1

    def _without_payments(self, link: HubLink, frames: list[tuple[float, bytes]]) -> list[tuple[float, bytes]]:
        """The disk does not keep up: no promise is made about payments, the hub will repeat or reverse.

        Management goes on: it needs little room, and a gateway in trouble must be able to sign off. So do answers to
        payments of ours, which make room.
        """
        kept = [frame for frame in frames if frame[1][:2] not in PAYMENT_CLASSES or frame[1][:4] == b"9210"]
        if len(kept) < len(frames):
            count = len(frames) - len(kept)
            self._batch.count("not_taken_in", count)
            _log.error("payments not taken in: too much waits for the disk", link=link.site, count=count)
        return kept

    def _take_submissions(self, now: Now) -> None:
        submitted, self._submitted = self._submitted, []
        unavailable = self._closed()
        if not unavailable and not self._journal.has_room():
            unavailable = "the disk does not keep up"
        if not unavailable and not self.leaving.links.submitters():
            unavailable = "no link to the hub is signed on to submit"
        for batch in submitted:
            for submission in batch:
                self.outbound.on_submission(submission, unavailable or submission.stale, now)

    # --- messages that came

    def _dispatch(self, incoming: Incoming, now: Now) -> None:
        message, link = incoming.message, incoming.link
        if isinstance(message, PaymentRequest):
            self.inbound.on_request(message, link, incoming.first_byte_s, now)
        elif isinstance(message, PaymentResponse | Advice):
            self._take_answer(message, link, now)
        elif isinstance(message, ReversalRequest):
            if names_a_payment(message):
                self.inbound.on_reversal(message, link, incoming.first_byte_s, now)
            else:
                self._reject(link, message.body, REVERSAL_PROBLEM, f"DE{message.fault}")
        elif isinstance(message, ReversalResponse):
            self._unplaced(link, message)
        elif message.fault:
            self._reject(link, message.body, UNREADABLE, f"DE{message.fault}")
        else:
            self._manage(message, link, now, fresh=now.mono_s - incoming.first_byte_s < FRESH_S)

    def _take_answer(self, message: PaymentResponse | Advice, link: HubLink, now: Now) -> None:
        """What the hub says of a payment of ours."""
        if isinstance(message, Advice):
            placed = self.outbound.on_advice(message, link, now)
        elif message.fault:
            self._reject(link, message.body, UNREADABLE, f"DE{message.fault}")
            return
        else:
            placed = self.outbound.on_response(message, link, now)
        if not placed:
            self._unplaced(link, message)

    def _manage(self, message: Message, link: HubLink, now: Now, *, fresh: bool) -> None:
        """Fresh: it came just now, and says what the hub's clock shows now."""
        if fresh and isinstance(message, NetworkRequest | Usm):  # a response copies our own DE7
            self.clocks.heard(link.id, message.transmission_time, now)
        if isinstance(message, Usm):
            self.news.on_usm(message, link, now, fresh=fresh)
            return
        self._batch.record(Kind.MANAGEMENT_IN, message.body, "", link)
        if fresh and isinstance(message, NetworkRequest):
            self.news.on_request(message, link, now)
        if isinstance(message, NetworkRequest | NetworkResponse) and self.keying.story.takes(message):
            self.keying.take(message, link, now)
        else:
            link.manage(message, now)

    def _unplaced(self, link: HubLink, message: PaymentResponse | ReversalResponse | Advice) -> None:
        """A response to nothing that we sent, or an advice: kept, shown, and it changes nothing."""
        self._batch.record(Kind.UNPLACED, message.body, "", link)
        self._batch.count("unplaced")
        code = message.function_code if isinstance(message, Advice) else message.action_code
        _log.warning("message belongs to nothing we know", link=link.site, mti=message.mti, code=code)

    def _unverified(self, incoming: Incoming) -> None:
        """No HSM could say whether this message is the hub's: it is kept, and not acted upon."""
        self._batch.count("unverified")
        body = steps.pack(steps.Rejected("", "unverified: no HSM", incoming.message.body, b""))
        self._batch.record(Kind.REJECTED, body, "", incoming.link)
        _log.error("message not verified: no HSM", link=incoming.link.site, mti=incoming.message.mti)

    def _reject(self, link: HubLink, body: bytes, function_code: str, where: str) -> None:
        _log.warning("message rejected", link=link.site, function_code=function_code, where=where, bytes=len(body))
        self.arriving.advise(link, body, function_code, where)

    # --- for others

    async def seal(self, position: int, chain: bytes) -> bool:
        """Have the journal's chain value at `position` signed and recorded; returns whether it is. Without an HSM there
        is no seal this time.
        """
        until_s = self._clock().mono_s + self._deadlines.reply_within_s
        sealing = Sealing(self._seal_key, chain, until_s, position)
        self._batch.jobs.append(sealing)
        self._wake.set()
        await sealing.over.wait()
        return sealing.ok

    def join(self, links: Links) -> None:
        """Where payments of ours may leave."""
        self.leaving.links = self.keying.links = links

    async def set_stand_in_mode(self, mode: config.StandInMode) -> None:
        """Switch stand-in; returns when that is durable."""
        self._batch.now = self._clock()
        durable = trio.Event()
        position = self.inbound.set_mode(mode)
        self._batch.wait_for_disk(position, lambda _now: durable.set())
        self._wake.set()
        await durable.wait()

    def ask_for_key(self, use: Use) -> str:
        """Ask the hub for a new key (885); returns why not, in words, or nothing."""
        now = self._batch.now = self._clock()
        why = self.keying.ask(use, now)
        self._wake.set()
        return why

    def _record_mode(self, now: Now) -> None:
        """So that it does not go with its segment."""
        self.inbound.record_mode()
        self._record_mode_s = now.mono_s + DAILY_S

    @property
    def in_flight(self) -> int:
        """What a drain waits for: messages not verified yet, payments not settled, replies that are owed."""
        unread = sum(len(frames) for _, frames in self._frames) + sum(map(len, self._submitted))
        under_way = len(self.inbound.in_flight) + len(self.outbound.in_flight)
        return unread + self._verifying + under_way + self.arriving.leaving

    def statistics(self) -> dict[str, object]:
        """Counts since the start, and what is under way."""
        return {
            "counts": dict(sorted(self.counts.items())),
            "in_flight": len(self.inbound.in_flight),
            "leaving": self.arriving.leaving,
            "waiting_for_disk": len(self._batch.pending),
            "remembered": len(self.outcomes),
            "stand_in": self.inbound.stand_in_statistics(self._clock()),
            "keys": self.keying.story.statistics(),
            "news": self.news.statistics(),
            "outbound": {
                "in_flight": len(self.outbound.in_flight),
                "unknown": len(self.outbound.unknown),
                "remembered": len(self.submissions),
                "links": self.outbound.ejection.statistics(),
            },
        }

    def begin(self, started: steps.Started) -> None:
        """Before anything else: take up what the last process left unfinished.

        What came and was not replied to is orphaned or undelivered, and told; what left is repeated. What lasts (keys,
        permits, stand-in's mode) is recorded anew.
        """
        past, self._past = self._past, None
        assert past is not None, "an engine begins once"
        now = self._batch.now = self._clock()
        self._batch.record(Kind.STARTED, steps.pack(started), "", RECORDER)
        self.keying.begin(now)
        self.news.begin(now)
        self.inbound.take_up_mode(past.inbound.stand_in_mode)
        self._record_mode_s = now.mono_s + DAILY_S
        self.inbound.on_restart(past.inbound.unfinished, now)
        self.outbound.on_restart(past.outbound.unfinished, now)
        self._journal.commit()
