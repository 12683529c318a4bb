"""Power is lost again and again, at any moment: what was durable is there, and the journal is whole."""

import errno
import random

import pytest
import trio
import trio.testing

from gateway.journal.writer import open_journal
from gateway.payments.steps import Kind
from tests.fakes.disk import FakeDisk, SimulatedThread, error
from tests.fakes.journal import ID, SETTINGS, WALL_NS, bodies, build, running

SEEDS = 25
LIVES = 12


class Life:
    """One run of a journal that writes until power is lost in the middle of something."""

    def __init__(self, disk: FakeDisk, chance: random.Random, before: list[bytes]) -> None:
        self.disk = disk
        self.chance = chance
        self.appended = list(before)
        """Everything that may be found after the crash."""
        self.durable = len(before)

    async def run(self, lives: int) -> None:
        """Write batches of all sizes; power goes at a moment of the disk's time, not of ours."""
        found: list[bytes] = []
        with trio.move_on_after(self.chance.random() * 0.2):
            async with trio.open_nursery() as nursery:
                self.disk.latency_s = lambda: self.chance.random() * 0.01
                driver = SimulatedThread(nursery, self.disk)
                journal = open_journal(
                    SETTINGS,
                    self.disk,
                    driver=driver,
                    journal_id=ID,
                    on_record=lambda record: found.append(record.body),
                    wall_ns=lambda: WALL_NS,
                )
                assert found == self.appended, lives
                await nursery.start(journal.run, self.note)
                while True:
                    for _ in range(self.chance.choice([1, 1, 2, 5, 30])):
                        body = self.chance.randbytes(self.chance.choice([0, 10, 300, 300, 5000]))
                        journal.append(Kind.RECEIVED, body, fpid="F" * 42, wall_ns=WALL_NS)
                        self.appended.append(body)
                    journal.commit()
                    await trio.sleep(self.chance.random() * 0.005)

    def note(self, position: int) -> None:
        """Somebody acts on this."""
        self.durable = position


class TearingDisk(FakeDisk):
    """Loses power within the write of a batch, or between the write and its sync, now and then."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.chance = random.Random(seed)  # noqa: S311  a seed that replays
        self.armed = False
        self.cuts = 0

    def check(self, what: str) -> None:
        """Lose power here?"""
        super().check(what)
        if self.armed and what == "sync" and self.chance.random() < 0.02:
            raise PowerLostError


class PowerLostError(BaseException):
    """Everything ends here."""


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_was_durable_survives(seed: int) -> None:
    """A seed that fails is replayed by its number."""
    disk = TearingDisk(seed)
    chance = random.Random(seed)  # noqa: S311  a seed that replays
    before: list[bytes] = []
    for lives in range(LIVES):
        life = Life(disk, chance, before)
        disk.armed = True
        try:
            trio.run(life.run, lives, clock=trio.testing.MockClock(autojump_threshold=0))
        except* PowerLostError:
            disk.cuts += 1
        disk.armed = False
        disk.crash()
        after = bodies(disk)
        assert len(after) >= life.durable
        assert after == life.appended[: len(after)]
        before = after


@pytest.mark.parametrize("seed", range(5))
def test_a_killed_process_loses_nothing_that_it_wrote(seed: int) -> None:
    """The page cache outlives it: whole batches that were written are there, synced or not."""
    disk = TearingDisk(seed)
    chance = random.Random(seed)  # noqa: S311  a seed that replays
    before: list[bytes] = []
    for lives in range(LIVES):
        life = Life(disk, chance, before)
        trio.run(life.run, lives, clock=trio.testing.MockClock(autojump_threshold=0))
        disk.kill()
        after = bodies(disk)
        assert len(after) >= life.durable
        assert after == life.appended[: len(after)]
        before = after


def test_what_a_failed_sync_left_behind_is_written_again() -> None:
    """Linux counts it as clean, and the disk never had it: a start that reads it must not rely on a sync alone."""
    disk = build([[b"durable"]])

    async def fail() -> None:
        async with running(disk, clean=False) as journal:
            journal.append(Kind.RECEIVED, b"written", fpid="F" * 42, wall_ns=WALL_NS)
            journal.commit()
            disk.faults["sync"] = error(errno.EIO)
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup):
        trio.run(fail)
    disk.kill()
    disk.forget_dirty()
    found = bodies(disk)
    assert found == [b"durable", b"written"]
    disk.crash(keep_nothing=True)
    assert bodies(disk) == found
