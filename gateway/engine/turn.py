"""The wake-up: everything that has happened goes to the stories, in a fixed order; then each shell gets its batch.

What has happened lies in the `inbox`. The order within a wake-up is fixed: what became durable, MACs, answers, what was
sent, links that went, frames, submissions, timers. So an answer that arrives together with its deadline wins, and
nothing overtakes its record.

The engine joins the two conditions of everything that leaves: its record is durable, its MAC is made.
"""

from collections.abc import Callable
from math import inf

import trio

from gateway import config, log
from gateway.acts.settings import Remembered
from gateway.clock import Clock, Now
from gateway.engine.arriving import Arriving
from gateway.engine.batch import Batch
from gateway.engine.control import Control
from gateway.engine.dispatch import Dispatch
from gateway.engine.hearing import NEWS_LIFTED, Hearing
from gateway.engine.inbox import Inbox
from gateway.engine.intake import Intake
from gateway.engine.jobs import Carried, Departing, Incoming, Outgoing, Sealing
from gateway.engine.keying import Keying
from gateway.engine.leaving import Leaving
from gateway.engine.past import Past
from gateway.engine.reserving import Reserving
from gateway.engine.shells import HubLink, Journal, Links, Processor, Signer
from gateway.errors import HubFault
from gateway.hub.exchanges import MessageIds
from gateway.payments import arrival, departure, steps
from gateway.payments.arrival import Arrival
from gateway.payments.dates import Clocks
from gateway.payments.departure import Departure
from gateway.payments.ejection import Ejection
from gateway.payments.links import RECORDER
from gateway.payments.steps import Kind
from gateway.payments.work import MacJob, Standing
from gateway.scheme import keywork
from gateway.wire.codec import Codec
from gateway.wire.message import (
    Message,
)

_log = log.get("engine")

STEPS = (
    *(note.name.lower() for note in arrival.Note),
    *(f"outbound_{note.name.lower()}" for note in departure.Note),
    NEWS_LIFTED,
    *(f"key_{note.name.lower()}" for note in keywork.Note),
    "not_taken_in", "unreadable", "unverified",
)  # fmt: skip
"""The names under which messages, payments and keys are counted (`Batch.counts`). Each is there from the start."""


class Engine(Inbox):
    """One wake-up after the other."""

    def __init__(
        self, pair: config.Pair, payments_max: int, codec: Codec, past: Past, journal: Journal, signer: Signer,
        processor: Processor, clock: Clock, message_ids: MessageIds, ejection: Ejection, *,
        closed: Callable[[], str], released_ns: int = 0,
    ) -> None:  # fmt: skip
        """`closed`: says why no payment may be submitted now, as far as it is not the links'; empty when one may.
        `released_ns`: when this version was released; 0: not known.
        """
        super().__init__()
        batch = self._batch = Batch(journal, signer, processor)
        outcomes, submissions = past.inbound.outcomes, past.outbound.submissions
        self.hearing = Hearing(pair.news, past.meanings, codec, past.news, batch)
        self.news = self.hearing.story
        self.reserving = Reserving(message_ids, batch)
        self.keying = Keying(pair, past.ring, batch, signer, message_ids, self._transmit)
        self.clocks = Clocks(pair.dates.hub_clock_differs_s, past.recorded_ns, released_ns)
        """Whether our clock can be right, and what the hub's clocks say."""
        self.arriving = Arriving(
            pair, payments_max, codec, outcomes, batch, processor, message_ids, self.reserving,
            self.news.may_stand_in, self.clocks.in_doubt,
        )  # fmt: skip
        self.leaving = Leaving(pair, payments_max, codec, submissions, batch, self.news.refusal, ejection)
        self.inbound = self.arriving.story
        self.outbound = self.leaving.story
        self.outcomes = outcomes
        self.submissions = submissions
        self.book = past.book
        """The acts of this journal."""
        self._past: Past | None = past
        self.counts = self._batch.counts
        self._closed = closed
        self._respond_within_s = pair.session.respond_within_s
        self._codec = codec
        self._journal = journal
        self._clock = clock
        reply_within_s = pair.deadlines.reply_within_s
        self._dispatch = Dispatch(self.arriving, self.leaving, self.keying, self.hearing, self.clocks, batch)
        self._intake = Intake(codec, journal, batch, self._dispatch, reply_within_s)
        self.control = Control(
            self.arriving.mode, self.leaving, self.keying, self.hearing, batch, clock, self.wake, pair.mac.seal_key,
            reply_within_s, journal,
        )  # fmt: skip

    # --- what links want at once

    def frame_error(self, link: HubLink, error: HubFault) -> None:
        """A link cannot read its frames any more: say so while it still can write."""
        self._batch.now = self._clock()
        self._dispatch.reject(link, b"", error.function_code, str(error))
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
        self.wake()

    # --- the wake-up

    async def run(self) -> None:
        """Turn until cancelled, which leaves what is in flight to the journal: a restart takes it up.

        Raises JournalFault when a record cannot be written.
        """
        while True:
            with trio.move_on_at(self._next_s()):
                await self._woken.wait()
            self._woken = trio.Event()
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
            self.reserving.due_s,
            self.news.next_timer(),
            self.arriving.mode.due_s,
            self.outbound.submitting.due_s,
            self.control.due_s,
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
                self.inbound.deciding.on_answer(answer.context, answer.code, answer.field)
        sent, self._sent = self._sent, []
        for link, contexts, reason in sent:
            self._take_sent(link, contexts, reason, now)
        downs, self._downs = self._downs, []
        for link in downs:
            self.outbound.attempting.on_link_down(link, now)
            self.clocks.gone(link.id)
        frames, self._frames = self._frames, []
        for link, batch_of_frames in frames:
            self._intake.take_frames(link, batch_of_frames)
        if self._submitted:
            self._take_submissions(now)
        self._take_rare(now)
        self._take_timers(now)
        self._batch.flush()

    def _take_durable(self, now: Now) -> None:
        durable, pending = self._journal.durable, self._batch.pending
        while pending and pending[0][0] <= durable:
            position, waiting = pending.popleft()
            if isinstance(waiting, Arrival):
                self.inbound.deciding.on_recorded(waiting, now)
            elif isinstance(waiting, Outgoing):
                waiting.durable = True
                if waiting.authentic:
                    self.arriving.complete(waiting, now)
            elif isinstance(waiting, Departing):
                waiting.durable = True
                self.outbound.taking.on_durable(waiting.payment)
                if waiting.authentic:
                    self.leaving.complete(waiting, now)
            elif isinstance(waiting, Departure):
                self.outbound.reporting.on_recorded(waiting, position, now)
            else:
                waiting(now)

    def _take_mac(self, job: MacJob, now: Now) -> None:
        if isinstance(job, Incoming):
            self._intake.take_verified(job, now)
        elif isinstance(job, Outgoing):
            job.authentic = job.ok
            if not job.ok:
                self.arriving.abandon(job, now)
            elif job.durable:
                self.arriving.complete(job, now)
        elif isinstance(job, Departing):
            job.authentic = job.ok
            if not job.ok:
                self.outbound.attempting.on_unsent(job.payment, job.attempt, "no-mac", now)
            elif job.durable:
                self.leaving.complete(job, now)
        else:
            assert isinstance(job, Sealing)
            self.control.sealed(job)

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
        self.arriving.mode.handle_timer(now)
        self.reserving.look(now)
        self.outbound.submitting.handle_timer(now)
        self.control.handle_timer(now)

    def _take_sent(self, link: HubLink, contexts: list[object], reason: str, now: Now) -> None:
        for context in contexts:
            if isinstance(context, Arrival):
                if reason:
                    self.inbound.replying.on_unsent(context, reason, now)
                else:
                    self.inbound.replying.on_sent(context, link, now)
            elif isinstance(context, Carried) and reason:
                surely = reason != "link-lost-writing"
                why = "too-old" if reason == "too-late" else "link-lost"
                self.outbound.attempting.on_unsent(context.payment, context.attempt, why, now, surely=surely)

    def _take_submissions(self, now: Now) -> None:
        submitted, self._submitted = self._submitted, []
        unavailable = self.outbound.submitting.why or self._closed()
        if not unavailable and not self._journal.has_room():
            unavailable = "the disk does not keep up"
        if not unavailable and not self.leaving.links.submitters():
            unavailable = "no link to the hub is signed on to submit"
        for batch in submitted:
            for submission in batch:
                self.outbound.taking.on_submission(submission, unavailable or submission.stale, now)

    # --- its life

    def join(self, links: Links) -> None:
        """Name the links by which payments of ours may leave. Before anything runs: the links need the engine, too."""
        self.leaving.links = self.keying.links = links

    def begin(self, started: steps.Started, settings: dict[str, str] | None = None) -> list[steps.Act]:
        """Before anything else: take up what the last process left unfinished. Returns how the settings differ from
        those of the start before: acts that are still to be recorded. Without settings none are kept.

        What came and was not replied to is orphaned or undelivered, and told; what left is repeated, unless an operator
        had stopped that. What lasts (keys, permits, stand-in's mode, a stop, the ids spoken for) is recorded
        anew.
        """
        past, self._past = self._past, None
        assert past is not None, "an engine begins once"
        now = self._batch.now = self._clock()
        self._batch.record(Kind.STARTED, steps.pack(started), "", RECORDER)
        self.reserving.begin(now)
        past.book.restarted()
        changes: list[steps.Act] = []
        if settings is not None:
            changes = self.control.remember(Remembered(settings, past.settings, self._batch.record), now)
        self.keying.begin(now)
        self.news.begin(now)
        self.arriving.mode.take_up(past.inbound.stand_in_mode, now)
        self.inbound.on_restart(past.inbound.unfinished, now)
        self.outbound.submitting.take_up(past.outbound.submit_mode, now)
        self.outbound.on_restart(past.outbound.unfinished, now)
        self.outbound.stopping.on_restart(past.outbound.cut_off, now)
        self._journal.commit()
        return changes

    # --- what others look at

    def look(self, key: str) -> Standing | None:
        """Where the payment that was submitted under this key stands."""
        return self.outbound.look(key)

    @property
    def in_flight(self) -> int:
        """The work that a drain waits for: messages not verified yet, payments not settled, replies that are owed."""
        under_way = len(self.inbound.in_flight) + len(self.outbound.in_flight)
        return self.unread + self._intake.verifying + under_way + self.arriving.replies_owed

    def statistics(self) -> dict[str, object]:
        """Counts since the start, and what is under way."""
        return {
            "counts": dict(sorted(self.counts.items())),
            "in_flight": len(self.inbound.in_flight),
            "leaving": self.arriving.replies_owed,
            "waiting_for_disk": len(self._batch.pending),
            "remembered": len(self.outcomes),
            "stand_in": self.inbound.stand_in.statistics(self._clock().wall_ns),
            "keys": self.keying.story.statistics(),
            "news": self.news.statistics(),
            "outbound": self.outbound.statistics(),
        }
