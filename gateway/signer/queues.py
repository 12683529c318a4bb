"""The jobs that wait for a token: MACs to make first, then MACs to verify. Both queues have limits; a full one
refuses.
"""

from collections import deque
from collections.abc import Iterator

from gateway.clock import Clock
from gateway.log.limit import Limit
from gateway.payments.work import MacJob as Job

WAITING_MAX = 20_000
"""Jobs at most that wait for a token. Further jobs are unavailable at once. One SoftHSM token does so many in some
seconds, which is less than the deadlines of payments allow."""
VERIFICATIONS_MAX = WAITING_MAX * 3 // 4
"""Verifications that may wait: the rest of the room is for the replies of decided payments."""
BATCH_BYTES_MAX = 128 * 1024
"""Data in a batch: two batches fit into a socket's buffer."""


class Queues:
    """Jobs to make (`urgent`) and to verify, each in the order in which they came."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._urgent: deque[Job] = deque()
        self._others: deque[Job] = deque()
        self._places = Limit("signer.WAITING_MAX", WAITING_MAX)
        self.verifications = Limit("signer.VERIFICATIONS_MAX", VERIFICATIONS_MAX)

    def __len__(self) -> int:
        return len(self._urgent) + len(self._others)

    def __iter__(self) -> Iterator[Job]:
        yield from self._urgent
        yield from self._others

    def add(self, jobs: list[Job]) -> list[Job]:
        """Queue jobs; returns those for which there is no room."""
        urgent = [job for job in jobs if job.urgent]
        others = [job for job in jobs if not job.urgent] if urgent else jobs
        refused: list[Job] = []
        room = max(WAITING_MAX - len(self), 0)
        if len(urgent) > room:
            urgent, refused = urgent[:room], urgent[room:]
        left, room = room - len(urgent), VERIFICATIONS_MAX - len(self._others)
        full = self._places if refused or left <= room else self.verifications
        room = max(min(left, room), 0)
        if len(others) > room:
            others, refused = others[:room], refused + others[room:]
        elif others:
            self.verifications.eased()
        self._urgent.extend(urgent)
        self._others.extend(others)
        if full is self.verifications or not refused:
            self._places.eased()
        if refused:
            what = "not verified" if full is self.verifications else "neither verified nor signed"
            full.hit(self._clock().mono_s, f"messages are {what}", len(refused))
        return refused

    def take(self, count: int, now_s: float, late: list[Job]) -> list[Job]:
        """At most `count` jobs for a batch, MACs to make first; jobs past their deadline go to `late`."""
        taken, size = list[Job](), 0
        for waiting in (self._urgent, self._others):
            while waiting and len(taken) < count:
                job = waiting[0]
                if job.done:  # by the token that had it first
                    waiting.popleft()
                    continue
                size += len(job.data)
                if size > BATCH_BYTES_MAX and taken:
                    return taken
                waiting.popleft()
                if job.deadline_s <= now_s:
                    late.append(job)
                else:
                    taken.append(job)
        return taken

    def put_back(self, jobs: list[Job]) -> None:
        """Return jobs to the head of their queues. There was room for them before: no limit."""
        for job in reversed(jobs):
            (self._urgent if job.urgent else self._others).appendleft(job)

    def drop_late(self, now_s: float) -> None:
        """Drop the jobs past their deadlines."""
        self._urgent = deque(job for job in self._urgent if job.deadline_s > now_s)
        self._others = deque(job for job in self._others if job.deadline_s > now_s)
