"""What the journal costs: `python tests/benchmarks/bench_journal.py [DIR]`. DIR is on the disk that is to be measured.

1. Records per second with 64 (256) waiting: each waits for its own record to be durable, then appends the next.
2. Latency of a lone record, and of one sync as the disk thread sees it.
3. The trio thread's cost of a record: append and commit, with nothing waiting for the disk.
4. The same load with two followers reading behind: what they take from it.
5. A start with a million records, and `verify`.

No limits are asserted here: speed is measured, never tested. Records are 350 bytes, as those of a payment.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import trio

from gateway import log
from gateway.config import JournalSettings
from gateway.disk import RealDisk
from gateway.journal.looking import Watch, look
from gateway.journal.writer import Journal, open_journal
from gateway.machine.arguments import Parser
from gateway.payments.steps import TOLD_KINDS, Kind

BODY = b"x" * 264
FPID = "F" * 42
RECORD_BYTES = 350
assert len(BODY) + len(FPID) + 44 == RECORD_BYTES


def say(what: str, value: str) -> None:
    """One line of the result."""
    sys.stdout.write(f"{what:64} {value}\n")
    sys.stdout.flush()


class Waiters:
    """Payments that wait at once, each with one record on its way to the disk at any time."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.seen = journal.durable
        self.batches = 0
        self._wake = trio.Event()

    def durable(self, _: int) -> None:
        """As the engine does: note it and wake up. The journal is run with this."""
        self.batches += 1
        self._wake.set()

    async def run(self, records: int, count: int) -> float:
        """Records per second with `count` waiting."""
        journal, wall_ns = self.journal, time.time_ns()
        start_s = time.perf_counter()
        first = self.seen
        free = count
        while self.seen - first < records:
            if free:
                for _ in range(free):
                    journal.append(Kind.RECEIVED, BODY, fpid=FPID, link=1, wall_ns=wall_ns)
                journal.commit()
            await self._wake.wait()
            self._wake = trio.Event()
            free = journal.durable - self.seen
            self.seen = journal.durable
        return (self.seen - first) / (time.perf_counter() - start_s)


async def throughput(settings: JournalSettings, disk: RealDisk) -> None:
    """1."""
    journal = open_journal(settings, disk)
    waiters = Waiters(journal)
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run, waiters.durable)
        for count in (1, 64, 256, 1024):
            await waiters.run(10 * count, count)
            waiters.batches, before = 0, waiters.seen
            rate = await waiters.run(max(5000, 400 * count), count)
            say(
                f"records/s with {count} waiting; records in a batch",
                f"{rate:,.0f}; {(waiters.seen - before) / waiters.batches:.0f}",
            )
        await journal.aclose()


async def latency(settings: JournalSettings, disk: RealDisk) -> None:
    """2."""
    journal = open_journal(settings, disk)
    waiters = Waiters(journal)
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run, waiters.durable)
        took = []
        for _ in range(3000):
            start_s = time.perf_counter()
            await waiters.run(1, 1)
            took.append(1000 * (time.perf_counter() - start_s))
        say("a lone record until durable, ms: p50 / p99 / p99.9", quantiles(took))
        await journal.aclose()
    file = disk.directory(settings.dir).open("bench", create=True)
    file.allocate(1 << 20)
    file.write(0, (bytes(1 << 20),))
    file.sync()
    took = []
    for n in range(2000):
        start_s = time.perf_counter()
        file.write(n % 256 * 4096, (b"x" * RECORD_BYTES,))
        file.sync()
        took.append(1000 * (time.perf_counter() - start_s))
    file.close()
    disk.directory(settings.dir).remove("bench")
    say("the floor: write and fdatasync, no threads, ms", quantiles(took))


def quantiles(took: list[float]) -> str:
    """p50, p99, p99.9."""
    took = sorted(took)
    return f"{statistics.median(took):.3f} / {took[int(len(took) * 0.99)]:.3f} / {took[int(len(took) * 0.999)]:.3f}"


async def appending(settings: JournalSettings, disk: RealDisk) -> None:
    """3. The disk thread does not run: only what the trio thread does is measured."""
    journal = open_journal(settings, disk)
    count, wall_ns = 100_000, time.time_ns()
    start_s = time.perf_counter()
    for _ in range(count // 50):
        for _ in range(50):
            journal.append(Kind.RECEIVED, BODY, fpid=FPID, link=1, wall_ns=wall_ns)
        journal.commit()
    took_s = time.perf_counter() - start_s
    say("append and commit in the trio thread, µs per record", f"{1e6 * took_s / count:.2f}")
    await journal.aclose()


async def following(settings: JournalSettings, disk: RealDisk) -> None:
    """4. 7,500 payments/s with three records each, two followers (one of all kinds, one of what is told)."""
    for names in ([], ["archive", "processor"]):
        journal = open_journal(settings, disk)
        read = 0
        async with trio.open_nursery() as nursery:
            await nursery.start(journal.run, lambda _: None)

            async def follow(name: str, kinds: frozenset[Kind], journal: Journal = journal) -> None:
                nonlocal read
                follower = journal.follower(name, kinds)
                while True:
                    records = await follower.batch(1000)
                    read += len(records)
                    follower.settle(follower.position)

            for name in names:
                nursery.start_soon(follow, name, frozenset(Kind) if name == "archive" else TOLD_KINDS)
            await catch_up(journal, len(names))
            read = 0
            cpu_s, start_s = time.process_time(), time.perf_counter()
            wall_ns, seconds, rate, tick_s = time.time_ns(), 4, 22_500, 0.002
            for tick in range(int(seconds / tick_s)):
                for _ in range(int(rate * tick_s)):
                    journal.append(Kind.RECEIVED, BODY, fpid=FPID, link=1, wall_ns=wall_ns)
                journal.commit()
                await trio.sleep(max(0.0, start_s + (tick + 1) * tick_s - time.perf_counter()))
            spent = (time.process_time() - cpu_s) / (time.perf_counter() - start_s)
            say(f"22,500 records/s, {len(names)} followers: part of a core; records read", f"{spent:.0%}; {read:,}")
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await journal.aclose()


async def catch_up(journal: Journal, count: int) -> None:
    """Wait until every follower has read what there is."""
    while len(journal._followers) < count or any(  # noqa: ASYNC110  nobody else asks
        follower.position <= journal.durable for follower in journal._followers.values()
    ):
        await trio.sleep(0.05)


async def million(settings: JournalSettings, disk: RealDisk, records: int) -> None:
    """5."""
    journal = open_journal(settings, disk)
    waiters = Waiters(journal)
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run, waiters.durable)
        await waiters.run(records, 4096)
        await journal.aclose()
    count = 0

    def on_record(_: object) -> None:
        nonlocal count
        count += 1

    for name, given in (("with on_record", on_record), ("without", None)):
        start_s = time.perf_counter()
        open_journal(settings, disk, on_record=given)
        took_s = time.perf_counter() - start_s
        say(f"a start with {records:,} records, {name}, s", f"{took_s:.2f}   ({1e6 * took_s / records:.2f} µs each)")
    start_s = time.perf_counter()
    look(disk.directory(settings.dir), Watch())
    say("verify, s", f"{time.perf_counter() - start_s:.2f}")


def main() -> None:
    """Each part in a directory of its own, removed at the end."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", nargs="?", default=".", help="where (default: here)")
    parser.add_argument("--records", type=int, default=1_000_000, help="of the start (default: %(default)s)")
    args = parser.parse_args()
    log.configure("error", "json")

    async def start(settings: JournalSettings, disk: RealDisk) -> None:
        await million(settings, disk, args.records)

    for part in (throughput, latency, appending, following, start):
        path = Path(tempfile.mkdtemp(dir=args.dir, prefix="bench-"))
        settings = JournalSettings(dir=str(path / "journal"))
        disk = RealDisk()
        try:
            trio.run(part, settings, disk)
        finally:
            disk.release()
            shutil.rmtree(path)


if __name__ == "__main__":
    main()
