"""Keeps the ids of our own management messages (DE11) from repeating over restarts.

A mark in the journal says how many ids are spoken for. It is written ahead: a crash skips ids, and never repeats one.
The links start when the first mark of this process is durable, and the next one is written when half of the reserve is
left. Should the disk hang for so long that the reserve is used up, ids are taken past the mark all the same: such a
gateway must still be able to sign off. 9624s leave half of the reserve to what must be said then.
"""

from math import inf

import trio

from gateway.clock import Now
from gateway.engine.batch import Batch
from gateway.hub.exchanges import MessageIds
from gateway.payments import steps
from gateway.payments.lasting import Lasting
from gateway.payments.links import RECORDER
from gateway.payments.steps import Kind

RESERVE = 20_000
"""Ids that a mark is ahead of those in use: some hours of sign-ons and echoes, and fifty restarts until the ids come
round."""
ROOM_MIN = RESERVE // 2
"""With fewer ids left before the mark, another one is written."""
ADVICE_ROOM_MIN = RESERVE // 4
"""With fewer ids left before the durable mark, no 9624 takes one."""


def spoken_for(body: bytes) -> int:
    """Read the body of a MESSAGE_IDS record. Raises `msgspec.DecodeError` when it is none."""
    mark = steps.unpack(Kind.MESSAGE_IDS, body)
    assert isinstance(mark, steps.MessageIds)
    return mark.spoken_for


class Reserving:
    """Writes the marks."""

    def __init__(self, ids: MessageIds, batch: Batch) -> None:
        self._ids = ids
        self._batch = batch
        self._marked = ids.taken
        """The mark that was written last."""
        self._durable = ids.taken
        """The highest one that is durable."""
        self._lasting = Lasting()
        self.begun = trio.Event()
        """A mark of this process is durable: from now on ids may be used."""

    @property
    def due_s(self) -> float:
        """When `look` has something to do because of the time."""
        return self._lasting.due_s

    @property
    def has_room_for_advice(self) -> bool:
        """Whether a 9624 may take an id. Before the links start, nobody asks for one."""
        return not self.begun.is_set() or self._durable - self._ids.taken >= ADVICE_ROOM_MIN

    def begin(self, now: Now) -> None:
        """Before anything else: speak for the ids of this process."""
        self._mark(self._ids.taken + RESERVE, now)

    def look(self, now: Now) -> None:
        """At every wake-up: write a mark when too few ids are left before the last one, and once a day."""
        if self._lasting.due_s < inf and self._marked - self._ids.taken < ROOM_MIN:
            self._mark(self._ids.taken + RESERVE, now)
        elif self._lasting.is_due(now):
            self._mark(self._marked, now)

    def _mark(self, mark: int, now: Now) -> None:
        self._marked = mark
        self._lasting.written(now)
        position = self._batch.record(Kind.MESSAGE_IDS, steps.pack(steps.MessageIds(mark)), "", RECORDER)
        self._batch.wait_for_disk(position, lambda _now: self._is_durable(mark))

    def _is_durable(self, mark: int) -> None:
        self._durable = max(self._durable, mark)
        self.begun.set()
