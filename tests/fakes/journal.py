"""Journals for tests: run one for a while, make small ones to damage, read back what is in them."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import trio

from gateway.config import JournalSettings
from gateway.disk import Disk
from gateway.journal.record import Record
from gateway.journal.thread import DiskThread, Driver
from gateway.journal.writer import Journal, open_journal
from gateway.payments.steps import Kind
from tests.fakes.disk import FakeDisk, SimulatedThread

DIR = "journal"
ID = bytes(range(16))
SETTINGS = JournalSettings(dir=DIR, segment_bytes=65536)
WALL_NS = 1_700_000_000_000_000_000


@asynccontextmanager
async def running(
    disk: Disk,
    settings: JournalSettings = SETTINGS,
    *,
    clean: bool = True,
    wall_ns: int = WALL_NS,
    step_ns: Callable[[], int] = lambda: 0,
) -> AsyncIterator[Journal]:
    """Open a journal and run it; at the end close it, or (not `clean`) leave it as a killed process does.

    The wall clock is at `wall_ns` then, goes on with trio's clock, and is wrong by `step_ns`.
    """
    start_s = trio.current_time()

    def wall() -> int:
        return wall_ns + int((trio.current_time() - start_s) * 1e9) + step_ns()

    async with trio.open_nursery() as nursery:
        driver: Driver = SimulatedThread(nursery, disk) if isinstance(disk, FakeDisk) else DiskThread()
        journal = open_journal(settings, disk, driver=driver, journal_id=ID, wall_ns=wall)
        await nursery.start(journal.run, lambda _: None)
        yield journal
        if clean:
            await journal.aclose()
        nursery.cancel_scope.cancel()
    if not clean and isinstance(disk, FakeDisk):
        disk.kill()


async def durable(journal: Journal) -> None:
    """Commit, and wait until everything is durable."""
    journal.commit()
    last = journal.position - 1
    before = journal.on_durable
    while journal.durable < last:
        synced = trio.Event()

        def then(position: int, synced: trio.Event = synced) -> None:
            before(position)
            synced.set()

        journal.on_durable = then
        await synced.wait()
    journal.on_durable = before


async def fill(journal: Journal, batches: Iterable[Iterable[bytes]]) -> None:
    """Write batches of records with these bodies."""
    for batch in batches:
        for body in batch:
            journal.append(Kind.RECEIVED, body, fpid="F" * 42, link=1, wall_ns=WALL_NS)
        await durable(journal)


def build(batches: Iterable[Iterable[bytes]], *, clean: bool = False, settings: JournalSettings = SETTINGS) -> FakeDisk:
    """A journal with these batches of bodies, left by a killed process unless `clean`."""
    disk = FakeDisk()

    async def run() -> None:
        async with running(disk, settings, clean=clean) as journal:
            await fill(journal, batches)

    trio.run(run)
    disk.kill()
    return disk


def read(disk: Disk, settings: JournalSettings = SETTINGS) -> list[Record]:
    """Open the journal as a start does; the records that it hands over. Raises what a start raises."""
    records: list[Record] = []
    open_journal(settings, disk, on_record=records.append, journal_id=ID)
    return records


def bodies(disk: Disk, settings: JournalSettings = SETTINGS) -> list[bytes]:
    """The bodies of those records."""
    return [record.body for record in read(disk, settings)]
