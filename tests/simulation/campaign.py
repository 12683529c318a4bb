"""Many seeds in several processes, each seed with an end that is told: what it came to, or that its process died.

Each worker has one seed at a time. So the seed that took a process with it is known, and costs no other one.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from time import monotonic

from tests.simulation.seeds import SEED_WITHIN_S, Result

RunOne = Callable[[int], Result]
SEEDS_MAX = 8
"""Seeds of one process: what a library of it keeps for ever is given back."""
OVERDUE_S = SEED_WITHIN_S + 60.0
"""A worker whose seed does not end by itself is killed."""
JOIN_WITHIN_S = 10.0
_spawning = get_context("spawn")


class _Worker:
    """A process that runs seeds, and the one that it runs."""

    def __init__(self, run_one: RunOne) -> None:
        self.seed: int | None = None
        self.began_s = 0.0
        self.seeds = 0
        self.channel, theirs = _spawning.Pipe()
        self.process = _spawning.Process(target=_work, args=(theirs, run_one), daemon=True)
        # Ctrl-C goes to every process of the terminal and means this one, which ends the others
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    def give(self, seed: int) -> None:
        self.seed, self.began_s = seed, monotonic()
        self.seeds += 1
        with suppress(OSError):  # it died while it had no seed: `result` tells
            self.channel.send(seed)

    def result(self) -> Result:
        """What came of its seed; also when it died, and then it is over."""
        assert self.seed is not None
        seed, self.seed = self.seed, None
        try:
            result: Result = self.channel.recv()
        except (EOFError, OSError):
            self.process.join(JOIN_WITHIN_S)
            why = f"its process died: exit code {self.process.exitcode}"
            return Result.failed(seed, why, monotonic() - self.began_s)
        return result

    def end(self) -> None:
        """Also in the middle of a seed."""
        self.process.kill()
        self.process.join(JOIN_WITHIN_S)
        self.channel.close()


def _work(channel: Connection, run_one: RunOne) -> None:
    while True:
        channel.send(run_one(channel.recv()))


def run(seeds: Iterator[int], run_one: RunOne, jobs: int, tell: Callable[[Result], None]) -> None:
    """Run each of the seeds, as many at a time as there are jobs; `tell` hears of each as it ends.

    Cancelled by an exception (Ctrl-C), it ends the workers and leaves the seeds that they run untold.
    """
    idle, busy = list[_Worker](), list[_Worker]()
    try:
        while True:
            while len(busy) < jobs and (seed := next(seeds, None)) is not None:
                busy.append(idle.pop() if idle else _Worker(run_one))
                busy[-1].give(seed)
            if not busy:
                return
            for worker in _ready(busy):
                result = worker.result()
                tell(result)
                busy.remove(worker)
                # a world that crashed may have left its process in any state
                if result.failure or worker.seeds >= SEEDS_MAX:
                    worker.end()
                else:
                    idle.append(worker)
    finally:
        for worker in idle + busy:
            worker.end()


def _ready(workers: list[_Worker]) -> list[_Worker]:
    """Wait for one at least that has something to say or is dead."""
    overdue_s = min(worker.began_s for worker in workers) + OVERDUE_S
    ready = connection.wait([worker.channel for worker in workers], max(overdue_s - monotonic(), 0.0))
    if not ready:
        for worker in workers:
            if monotonic() >= worker.began_s + OVERDUE_S:
                worker.process.kill()
    return [worker for worker in workers if worker.channel in ready]
