"""The work that one wake-up collects for the shells, and hands over at its end in a fixed order."""

from collections import deque
from collections.abc import Callable
from math import inf

from gateway.clock import Now
from gateway.engine.jobs import Departing, Outgoing
from gateway.engine.shells import HubLink, Journal, Processor, Signer
from gateway.payments.arrival import Arrival
from gateway.payments.departure import Departure
from gateway.payments.links import Link
from gateway.payments.steps import Kind
from gateway.payments.work import Ask, MacJob

COMMIT_WITHIN_S = 0.02
"""A record that nothing waits for (REPLIED, a late answer) waits so long at most for the next batch. That saves most
payments a sync. A kill may lose such records, and the restart makes that good: a decision without REPLIED is
UNDELIVERED."""

Waiting = Arrival | Departure | Outgoing | Departing | Callable[[Now], None]
"""Work that waits for a record to be durable."""


class Batch:
    """Records, MACs, questions and links to flush."""

    def __init__(self, journal: Journal, signer: Signer, processor: Processor) -> None:
        self.now = Now(0.0, 0)
        """The moment of the present wake-up."""
        self.own_key = ""
        """The label of the key that we sign with."""
        self.verifiers: tuple[str, ...] = ()
        """The labels of the keys by which the hub may sign, the likeliest first."""
        self.counts: dict[str, int] = {}
        """Events since the start, by name."""
        self.pending: deque[tuple[int, Waiting]] = deque()
        """Work that waits for a record to be durable, by position."""
        self.commit_by_s = inf
        """When the appended records go to the disk; inf when there are none."""
        self.jobs: list[MacJob] = []
        self.asks: list[Ask] = []
        self.touched: set[HubLink] = set()
        self._journal = journal
        self._signer = signer
        self._processor = processor

    def record(self, kind: Kind, body: bytes, fpid: str, link: Link) -> int:
        """Append a record; returns its position."""
        self.commit_by_s = min(self.commit_by_s, self.now.mono_s + COMMIT_WITHIN_S)
        return self._journal.append(kind, body, fpid=fpid, link=link.id, wall_ns=self.now.wall_ns)

    def wait_for_disk(self, position: int, waiting: Waiting) -> None:
        """Have this record written at the end of this wake-up, because something waits for it."""
        self.pending.append((position, waiting))
        self.commit_by_s = self.now.mono_s

    def count(self, what: str, by: int = 1) -> None:
        """Count an event."""
        self.counts[what] = self.counts.get(what, 0) + by

    def flush(self) -> None:
        """The token goes first, because it works beside us; the disk last, because its thread needs the interpreter."""
        if self.jobs:
            jobs, self.jobs = self.jobs, []
            self._signer.submit(jobs)
        if self.touched:
            for link in self.touched:
                link.flush()
            self.touched.clear()
        if self.asks:
            asks, self.asks = self.asks, []
            self._processor.ask(asks)
        if self.commit_by_s <= self.now.mono_s:
            self.commit_by_s = inf
            self._journal.commit()
