"""Orders to the engine beside payments: from operators, our other processes and the daemon."""

from collections.abc import Callable
from math import inf

import trio

from gateway import config
from gateway.acts.settings import Remembered
from gateway.clock import Clock, Now
from gateway.engine.batch import Batch
from gateway.engine.hearing import Hearing
from gateway.engine.jobs import Sealing
from gateway.engine.keying import Keying
from gateway.engine.leaving import Leaving
from gateway.engine.shells import Journal
from gateway.errors import Refusal
from gateway.payments import steps
from gateway.payments.links import RECORDER
from gateway.payments.mode import Mode
from gateway.payments.steps import Kind
from gateway.scheme.keywork import Done
from gateway.scheme.news import HandedOn, Lift, Taken
from gateway.scheme.ring import Allow, Use


class Control:
    """What is beside payments: acts, stand-in's mode, submitting, keys, news, seals."""

    def __init__(
        self, mode: Mode, leaving: Leaving, keying: Keying, hearing: Hearing, batch: Batch, clock: Clock,
        wake: Callable[[], None], seal_key: str, seal_within_s: float, journal: Journal,
    ) -> None:  # fmt: skip
        """`wake` has the next wake-up come at once."""
        self._mode = mode
        self._leaving = leaving
        self._keying = keying
        self._hearing = hearing
        self._batch = batch
        self._clock = clock
        self._wake = wake
        self._journal = journal
        self._seal_key = seal_key
        self._seal_within_s = seal_within_s
        self._settings: Remembered | None = None

    async def set_stand_in_mode(self, mode: config.StandInMode) -> None:
        """Switch stand-in; returns when that is durable."""
        now = self._batch.now = self._clock()
        durable = trio.Event()
        position = self._mode.switch(mode, now)
        self._batch.wait_for_disk(position, lambda _now: durable.set())
        self._wake()
        await durable.wait()

    def stop_submitting(self) -> trio.Event:
        """Let no 9200 or 9201 leave from here on: in effect when this returns, whatever the disk does. The event is set
        when it is durable, and holds over restarts. Stopped already: nothing but the record is new.

        Raises JournalFault when memory has no room for the record, or the journal has failed; in effect all the same.
        """
        now = self._batch.now = self._clock()
        durable = trio.Event()
        self._wake()
        position = self._leaving.stop(now)
        self._batch.wait_for_disk(position, lambda _now: durable.set())
        return durable

    async def start_submitting(self) -> int:
        """Let payments leave again; returns when that is durable and in effect, with the number of payments that the
        stop had cut off and that are repeated now. Not stopped: nothing is done. Cancelled, it counts all the same.

        Raises `Refusal` when submitting was stopped again meanwhile.
        """
        story = self._leaving.story
        if not story.submitting.stopped:
            return 0
        now = self._batch.now = self._clock()
        over, cut_off = trio.Event(), list[int | None]()
        position = story.submitting.start(now)

        def durable(now: Now) -> None:
            cut_off.append(story.stopping.start(position, now))
            over.set()

        self._batch.wait_for_disk(position, durable)
        self._wake()
        await over.wait()
        if cut_off[0] is None:
            raise Refusal("another order to stop or start submitting came meanwhile")
        return cut_off[0]

    # --- acts

    def remember(self, settings: Remembered, now: Now) -> list[steps.Act]:
        """At a start: record the settings. Returns what has changed, to be recorded as acts."""
        self._settings = settings
        return settings.begin(now)

    @property
    def due_s(self) -> float:
        """When to call `handle_timer`, on the monotonic clock."""
        return self._settings.due_s if self._settings is not None else inf

    def handle_timer(self, now: Now) -> None:
        """Record the settings anew, if that is due."""
        if self._settings is not None:
            self._settings.handle_timer(now)

    def record_act(self, act: steps.Act) -> tuple[int, trio.Event]:
        """Record an act. Returns its position, and an event for when that is durable."""
        self._batch.now = self._clock()
        durable = trio.Event()
        position = self._batch.record(Kind.ACT, steps.pack(act), "", RECORDER)
        self._batch.wait_for_disk(position, lambda _now: durable.set())
        self._wake()
        return position, durable

    def has_room_for_act(self) -> bool:
        """Whether the journal takes one more record of an act."""
        return self._journal.has_room_for_act()

    def ask_for_key(self, use: Use) -> str:
        """Ask the hub for a new key (885); returns why not, in words, or nothing."""
        now = self._batch.now = self._clock()
        why = self._keying.ask(use, now)
        self._wake()
        return why

    def on_allow(self, order: Allow, reason: str, done: Done) -> None:
        """An operator lets a superseded key come back, once, for this reason. Ends in one call of `done`."""
        now = self._batch.now = self._clock()
        self._keying.allow(order, reason, done, now)
        self._wake()

    def on_handed_on(self, handed_on: HandedOn, taken: Taken) -> None:
        """Another process of ours hands on news of the scheme. Ends in one call of `taken`."""
        self._hearing.hand_in(handed_on, taken)
        self._wake()

    def on_lift(self, lift: Lift, reason: str, done: Taken) -> None:
        """An operator lifts what the scheme's news has set, for this reason. Ends in one call of `done`."""
        self._hearing.order(lift, reason, done)
        self._wake()

    async def seal(self, position: int, chain: bytes) -> bool:
        """Have the journal's chain value at `position` signed and recorded; returns whether it is. Without an HSM there
        is no seal this time.
        """
        sealing = Sealing(self._seal_key, chain, self._clock().mono_s + self._seal_within_s, position)
        self._batch.jobs.append(sealing)
        self._wake()
        await sealing.over.wait()
        return sealing.ok

    def sealed(self, sealing: Sealing) -> None:
        """The signer is done with a seal."""
        if sealing.ok:
            body = steps.pack(steps.Seal(sealing.position, sealing.data, sealing.key, sealing.made))
            self._batch.record(Kind.SEALED, body, "", RECORDER)
        sealing.over.set()
