"""What one wake-up collects for the shells, handed over at its end in a fixed order."""

from collections import deque
from collections.abc import Callable
from math import inf

from gateway.clock import Now
from gateway.engine.jobs import Departing, Outgoing
from gateway.engine.shells import HubLink, Journal, Processor, Signer
from gateway.payments.departure import Departure
from gateway.payments.inbound import Arrival
from gateway.payments.links import Link
from gateway.payments.steps import Kind
from gateway.payments.work import Ask, MacJob

COMMIT_WITHIN_S = 0.02
"""How long a record may wait for the next batch when nobody waits for it (REPLIED, a late answer): a sync less for most
payments. What a kill takes of these is made good at the restart, where a decision without REPLIED is UNDELIVERED."""

Waiting = Arrival | Departure | Outgoing | Departing | Callable[[Now], None]
"""What waits for a record to be durable."""


class Batch:
    """Records, MACs, questions and links to flush."""

    def __init__(self, journal: Journal, signer: Signer, processor: Processor) -> None:
        self.now = Now(0.0, 0)
        """Of the present wake-up."""
        self.own_key = ""
        """The label of the key that we sign with."""
        self.verifiers: tuple[str, ...] = ()
        """The labels of the keys that what comes may be signed with, the likeliest first."""
        self.counts: dict[str, int] = {}
        """What was done since the start, by name."""
        self.pending: deque[tuple[int, Waiting]] = deque()
        """What waits for the disk, by position."""
        self.commit_by_s = inf
        """When what was appended goes to the disk; inf: nothing was."""
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
        """Somebody waits for this record: it goes to the disk at the end of this wake-up."""
        self.pending.append((position, waiting))
        self.commit_by_s = self.now.mono_s

    def count(self, what: str, by: int = 1) -> None:
        """Count something that was done."""
        self.counts[what] = self.counts.get(what, 0) + by

    def flush(self) -> None:
        """The token first, because it works beside us; the disk last, because its thread wants the interpreter."""
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
