"""Telling out of the real journal, on a disk in memory that is killed and loses power: nothing is forgotten."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from zlib import crc32

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from gateway import config
from gateway.clock import Now
from gateway.http.statuses import Told
from gateway.journal.writer import Journal, open_journal
from gateway.payments import steps
from gateway.payments.steps import TOLD_KINDS, Kind
from gateway.processor.addressees import the_processor
from gateway.processor.forwarder import Forwarder
from gateway.processor.notices import notice_id
from tests.fakes.disk import FakeDisk, SimulatedThread
from tests.fakes.journal import ID, SETTINGS, durable, read
from tests.fakes.processor import CODEC, WALL_NS, payment, settings


class Teller:
    """Takes or refuses notices by chance; remembers what it took, and in which order."""

    def __init__(self, luck: Random) -> None:
        self._luck = luck
        self.taken: list[str] = []

    async def tell(self, key: str, body: bytes) -> Told:
        """One notice."""
        await trio.sleep(self._luck.random() * 0.01)
        # a notice that is refused for good is refused whenever it is told
        refused = crc32(key.encode()) % 7 == 0
        status = 422 if refused else self._luck.choice([204, 204, 204, 204, 503, 0])
        if status == 204:
            self.taken.append(key)
        await trio.sleep(self._luck.random() * 0.01)
        return Told(status, 0.0, "")


@asynccontextmanager
async def gateway(disk: FakeDisk, teller: Teller, given: config.JournalSettings) -> AsyncIterator[Journal]:
    """A journal and a forwarder that run until killed."""
    luck = Random(1)  # noqa: S311 - a test
    found = Forwarder(
        settings(tell_pause_s=0.01, tell_pause_max_s=0.1), "node", teller, the_processor("node", CODEC),
        clock=lambda: Now(trio.current_time(), WALL_NS), luck=luck.random,
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        driver = SimulatedThread(nursery, disk)
        journal = open_journal(
            given, disk, on_record=found.remember, driver=driver, journal_id=ID, wall_ns=lambda: WALL_NS
        )
        await nursery.start(journal.run, lambda _: None)
        await nursery.start(found.run, journal)
        yield journal
        nursery.cancel_scope.cancel()


def stand_in(journal: Journal, number: int) -> int:
    """Record a stand-in for this payment, among other records."""
    fpid, request = payment(number)
    journal.append(Kind.RECEIVED, CODEC.encode(request), fpid=fpid, wall_ns=WALL_NS)
    body = steps.Decision("0083", "", bytes(8), b"", CODEC.encode(request) + b"0" * 16)
    position = journal.append(Kind.STOOD_IN, steps.pack(body), fpid=fpid, wall_ns=WALL_NS)
    journal.append(Kind.REPLIED, fpid=fpid, wall_ns=WALL_NS)
    return position


@pytest.mark.parametrize("seed", range(6))
async def test_killed_again_and_again(seed: int, autojump_clock: MockClock) -> None:
    """Killed at random moments, every durable notice is told or parked in the end, and in the order of its payment."""
    luck = Random(seed)  # noqa: S311 - a test
    disk, teller = FakeDisk(), Teller(luck)
    for life in range(6):
        async with gateway(disk, teller, SETTINGS) as journal:
            for _ in range(40):
                stand_in(journal, luck.randrange(15))
            await durable(journal)
            await trio.sleep(luck.random() * 0.4 if life < 5 else 60)
        if luck.random() < 0.5:
            disk.kill()
        else:
            disk.crash()
    records = read(disk)
    told, parked = set[int](), set[int]()
    for record in records:
        body = steps.unpack(record.kind, record.body) if record.kind in (Kind.TOLD, Kind.PARKED) else None
        if isinstance(body, steps.Told):
            told.add(body.position)
        elif isinstance(body, steps.Parked):
            parked.add(body.position)
    notices = {record.position: record.fpid for record in records if record.kind in TOLD_KINDS}
    assert len(notices) == 240
    assert told | parked == set(notices)
    assert {notice_id("node", position) for position in told} <= set(teller.taken)
    first: dict[str, list[int]] = {}
    for key in dict.fromkeys(teller.taken):
        position = int(key.removeprefix("node/"))
        first.setdefault(notices[position], []).append(position)
    assert all(positions == sorted(positions) for positions in first.values())


async def test_a_restart_tells_only_what_is_left(autojump_clock: MockClock) -> None:
    """After a clean stop what was told is not told again, though the cursor rests at a notice that never was."""
    disk = FakeDisk()

    class Stubborn(Teller):
        async def tell(self, key: str, body: bytes) -> Told:
            self.taken.append(key)
            return Told(503 if key == self.never else 204, 0.0, "")

        never = ""

    teller = Stubborn(Random(1))  # noqa: S311 - a test
    async with gateway(disk, teller, SETTINGS) as journal:
        positions = [stand_in(journal, number) for number in range(50)]
        teller.never = notice_id("node", positions[3])
        await durable(journal)
        await trio.sleep(5)
        await journal.aclose()
    disk.kill()
    again = Stubborn(Random(1))  # noqa: S311 - a test
    async with gateway(disk, again, SETTINGS) as journal:
        await trio.sleep(5)
        await journal.aclose()
    assert again.taken == [teller.never]


async def test_the_cursor_moves_in_quiet_times(autojump_clock: MockClock) -> None:
    """Days without a notice do not hold segments back: the cursor follows what is of no interest, too."""
    disk, teller = FakeDisk(), Teller(Random(1))  # noqa: S311 - a test
    async with gateway(disk, teller, SETTINGS) as journal:
        stand_in(journal, 1)
        await durable(journal)
        await trio.sleep(5)
        for _ in range(5):
            for _ in range(100):
                journal.append(Kind.RECEIVED, b"x" * 100, fpid="F" * 42, wall_ns=WALL_NS)
            await durable(journal)
            await trio.sleep(2)
        follower = journal._followers["processor"]
        assert follower.saved == journal.durable + 1
