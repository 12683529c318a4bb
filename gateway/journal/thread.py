"""The disk thread: takes the waiting jobs, lets the committer do them, and wakes the trio thread once per batch. A
second thread does the work that no record waits for: deleting a segment takes longer than a hundred syncs.

It spends its time in system calls, without the interpreter's lock. It is a `Driver`: a simulation puts a task in its
place, which drives the same `Committer` on a mock clock.
"""

import queue
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple, Protocol

import trio

from gateway.disk import PIECES_MAX
from gateway.journal.committer import Chunk, Committer, Synced
from gateway.machine.aside import aside, begin_thread

READS_MAX = 8
"""Followers that read at once at most: they share one disk, and each waits for its own read alone."""
BATCH_CHUNKS_MAX = PIECES_MAX - 3
"""Chunks in a batch at most. It also writes a mark, the last chain value and, in a new segment, the header."""


class Done(NamedTuple):
    """A job other than a batch is done; `then` runs in the trio thread."""

    then: Callable[[], None]


class Failed(NamedTuple):
    """The disk failed; nothing is done any more."""

    error: Exception


Aside = Callable[[], None]
"""Something slow on disk that no record waits for, and that nobody needs to know the end of."""
Job = Chunk | Callable[[Committer], Callable[[], None]]
"""What a driver takes: records, or something else to do on disk, which returns what to do in the trio thread after."""
Result = Synced | Done | Failed


def perform(committer: Committer, jobs: list[Job]) -> Iterator[Result]:
    """Do jobs in their order; chunks that stand together become batches. Raises as the committer does."""
    batch: list[Chunk] = []
    size = 0
    for job in jobs:
        more = len(job.data) if isinstance(job, Chunk) else committer.batch_bytes_max
        if batch and (size + more > committer.batch_bytes_max or len(batch) >= BATCH_CHUNKS_MAX):
            yield committer.commit(batch)
            batch, size = [], 0
        if isinstance(job, Chunk):
            batch.append(job)
            size += more
        else:
            yield Done(job(committer))
    if batch:
        yield committer.commit(batch)


class Driver(Protocol):
    """Drives a committer, somewhere where it blocks nobody."""

    async def reads(self, read: Callable[[int, int], bytes], offset: int, size: int) -> bytes:
        """Run a blocking read where it blocks nobody. Cancelled, it returns at once; the read may go on by itself.
        Raises `OSError`, also for a shortage of whatever it is run by.
        """

    def start(self, committer: Committer, report: Callable[[Result], None]) -> None:
        """Begin; `report` is called in the trio thread, in order. After a `Failed` nothing more comes."""

    def submit(self, job: Job) -> None:
        """Hand over a job. Never blocks; the journal limits what waits."""

    def aside(self, job: Aside) -> None:
        """Hand over slow work that is done beside all jobs, one after another. An error in it is a failure of the
        disk.
        """

    def stop(self) -> None:
        """End after the jobs handed over so far. Slow work that still waits is not done."""


class DiskThread:
    """The driver of production: a thread of its own."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._aside: queue.SimpleQueue[Aside | None] = queue.SimpleQueue()
        self._ending = False
        self._reads = trio.CapacityLimiter(READS_MAX)
        """Of our own: whatever else waits in trio's threads, the journal is read."""

    async def reads(self, read: Callable[[int, int], bytes], offset: int, size: int) -> bytes:
        """Read in one of trio's threads, so that a follower far behind never delays a commit.

        A read that hangs is given up when it is cancelled: it must not keep the process from ending.
        """
        return await aside(partial(read, offset, size), self._reads)

    def start(self, committer: Committer, report: Callable[[Result], None]) -> None:
        """Start the threads. Inside `trio.run`. They do not keep the process from ending: a hung sync must not. Raises
        `Unavailable` when there are none to be had.
        """
        token = trio.lowlevel.current_trio_token()

        def tell(result: Result) -> None:
            token.run_sync_soon(report, result)

        for name, work in (("journal", partial(self._work, committer)), ("journal-aside", self._work_aside)):
            begin_thread(partial(_run, work, tell), name)

    def submit(self, job: Job) -> None:
        """Hand over a job."""
        self._queue.put(job)

    def aside(self, job: Aside) -> None:
        """Hand over what is done beside all jobs."""
        self._aside.put(job)

    def stop(self) -> None:
        """End after the jobs handed over so far."""
        self._ending = True
        self._queue.put(None)
        self._aside.put(None)

    def _work_aside(self, _report: Callable[[Result], None]) -> None:
        while (job := self._aside.get()) is not None and not self._ending:
            job()

    def _work(self, committer: Committer, report: Callable[[Result], None]) -> None:
        waiting = self._queue
        while True:
            while committer.wants(idle=waiting.empty()):
                committer.prepare()
                if not waiting.empty():
                    break  # one piece at most between two batches
            jobs: list[Job] = []
            job = waiting.get()
            while job is not None:
                jobs.append(job)
                if waiting.empty():
                    break
                job = waiting.get()
            for result in perform(committer, jobs):
                report(result)
            if job is None:
                return


def _run(work: Callable[[Callable[[Result], None]], None], report: Callable[[Result], None]) -> None:
    """What a thread does. Whatever ends it before its time must end the process."""
    try:
        work(report)
    except trio.RunFinishedError:
        return  # the gateway has ended around us; what was not reported as durable was promised to nobody
    except Exception as error:  # noqa: BLE001  the boundary of the thread
        try:
            report(Failed(error))
        except trio.RunFinishedError:
            return
