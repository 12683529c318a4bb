"""A segment is deleted when all have settled it and it is old, by a clock that can be believed."""

import errno
import threading
from pathlib import Path

import pytest
import trio
import trio.testing

from gateway.config import JournalSettings
from gateway.disk import SECTOR_BYTES, RealDirectory, RealDisk
from gateway.errors import JournalFault
from gateway.journal import writer
from gateway.journal.age import BELIEVED_AFTER_S, settle_ages
from gateway.journal.committer import Synced
from gateway.journal.manifest import MANIFEST, cursor_name, read_manifest, write_manifest
from gateway.journal.segment import SegmentInfo, name_of, number_of
from gateway.journal.writer import DAY_NS, RETENTION_EVERY_S, open_journal
from gateway.payments.steps import Kind
from tests.fakes.disk import FakeDirectory, FakeDisk, FakeFile, SimulatedThread
from tests.fakes.journal import DIR, SETTINGS, WALL_NS, durable, fill, running
from tests.journal.following import ALL, LATER_NS, SHORT, WITHIN_S, replace, take

# --- retention


def kept(disk: FakeDisk | RealDisk, settings: JournalSettings) -> list[str]:
    """The oldest segment's name, and so on."""
    return [name for name in disk.directory(settings.dir).names() if name.endswith(".segment")]


async def three_segments(disk: FakeDisk | RealDisk, settings: JournalSettings, *names: str) -> None:
    """Three segments in use, and followers that have settled nothing."""
    async with running(disk, settings) as journal:
        for name in names:
            journal.follower(name, ALL)
        await fill(journal, [[b"x" * 5000] * 11] * 3)


async def age(disk: FakeDisk | RealDisk, settings: JournalSettings, settle: dict[str, int], wall_ns: int) -> list[str]:
    """Run long enough for retention to look; the segments that are left."""
    async with running(disk, settings, wall_ns=wall_ns) as journal:
        for name, position in settle.items():
            follower = journal.follower(name, ALL)
            while follower.position < position:
                await follower.batch(position - follower.position)
            follower.settle(max(position, 1))
        await trio.sleep(BELIEVED_AFTER_S + 5)
    return kept(disk, settings)


async def test_a_segment_goes_when_all_have_settled_it_and_it_is_old(
    fake: FakeDisk, autojump_clock: trio.abc.Clock
) -> None:
    """Not before; never the current one; and a start finds the rest whole."""
    await three_segments(fake, SHORT, "a", "b")
    whole = kept(fake, SHORT)
    assert await age(fake, SHORT, {"a": 34, "b": 11}, LATER_NS) == whole
    assert await age(fake, SHORT, {"a": 34, "b": 20}, WALL_NS) == whole
    left = await age(fake, SHORT, {"a": 34, "b": 20}, LATER_NS)
    assert left == whole[1:]
    left = await age(fake, SHORT, {"a": 34, "b": 34}, LATER_NS)
    assert left[0] == name_of(3)
    assert left[0] in whole
    async with running(fake, SHORT) as journal:
        assert journal.oldest == 23
        assert journal.position == 34


async def test_without_followers_age_decides(fake: FakeDisk, autojump_clock: trio.abc.Clock) -> None:
    """Nobody to wait for."""
    await three_segments(fake, SHORT)
    assert (await age(fake, SHORT, {}, LATER_NS))[0] == name_of(3)


async def test_a_known_follower_keeps_its_records_without_its_cursor(
    fake: FakeDisk, autojump_clock: trio.abc.Clock
) -> None:
    """Its cursor is gone, or it is not even running: nothing that it may need is deleted."""
    await three_segments(fake, SHORT, "archive", "processor")
    whole = kept(fake, SHORT)
    await age(fake, SHORT, {"archive": 34, "processor": 34}, WALL_NS)
    del fake.directories[DIR].files[cursor_name("archive")]
    assert await age(fake, SHORT, {"processor": 34}, LATER_NS) == whole
    assert (await age(fake, SHORT, {"archive": 34}, LATER_NS))[0] == name_of(3)


async def test_a_follower_in_memory_does_not_count_before_its_cursor_is_on_disk(
    fake: FakeDisk, autojump_clock: trio.abc.Clock
) -> None:
    """A segment is deleted only when a cursor that survives a loss of power has settled it."""
    await three_segments(fake, SHORT, "a")
    async with running(fake, SHORT, clean=False, wall_ns=LATER_NS) as journal:
        follower = journal.follower("a", ALL)
        await take(follower, 33)
        follower.settle(34)
        journal._retire()
        assert len(journal._segments) == 3
        await trio.sleep(BELIEVED_AFTER_S + 5)
        assert len(journal._segments) == 1


class Stuck(RealDisk):
    """A real disk on which deleting a segment takes until the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.deleting = threading.Event()
        self.go_on = threading.Event()

    def directory(self, path: str, *, create: bool = False) -> RealDirectory:
        """A directory that deletes so."""
        directory = super().directory(path, create=create)
        remove = directory.remove

        def slow(name: str) -> None:
            if number_of(name):
                self.deleting.set()
                assert self.go_on.wait(WITHIN_S)
            remove(name)

        directory.remove = slow  # type: ignore[method-assign]
        return directory


async def test_deleting_segments_stands_before_no_commit(tmp_path: Path) -> None:
    """However many there are and however long each takes; ended meanwhile, the next start finishes it."""
    disk, settings = Stuck(), replace(SHORT, dir=str(tmp_path / "journal"))
    bodies = [[b"x" * 20_000] for _ in range(12)]
    async with running(disk, settings) as journal:
        await fill(journal, bodies)
        assert len(journal._segments) >= 3
        oldest = journal._segments[-1].number
        journal._driver.submit(journal._retire_before(oldest))
        with trio.fail_after(WITHIN_S):
            while not disk.deleting.is_set():
                await durable(journal)
                journal.append(Kind.RECEIVED, b"", wall_ns=WALL_NS)
        assert name_of(1) in disk.directory(settings.dir).names()
        await fill(journal, bodies[:3])
    disk.release()
    disk.go_on.set()
    with trio.fail_after(WITHIN_S):
        async with running(disk, settings) as journal:
            assert journal.oldest > 1
            await fill(journal, bodies[:1])
    assert min(filter(number_of, disk.directory(settings.dir).names())) == name_of(oldest)


async def test_a_deletion_that_fails_is_a_failure_of_the_disk(fake: FakeDisk, autojump_clock: trio.abc.Clock) -> None:
    """Nothing that comes to be durable afterwards counts: the journal has failed."""

    def broken(name: str) -> None:
        raise OSError(errno.EIO, f"removing {name}")

    await three_segments(fake, SHORT)
    with pytest.RaisesGroup(pytest.RaisesExc(JournalFault, match="the disk failed")):
        async with trio.open_nursery() as nursery:
            journal = open_journal(SHORT, fake, driver=SimulatedThread(nursery, fake), wall_ns=lambda: LATER_NS)
            journal._directory.remove = broken  # type: ignore[method-assign]
            durable_before = journal.durable
            await nursery.start(journal.run, lambda _: None)
            await journal._over.wait()
            journal._report(Synced(durable_before + 1, b"", 1, 1, 1, 1, 0, 0))
            assert journal.durable == durable_before


async def test_a_clock_that_steps_back_ages_nothing(fake: FakeDisk, autojump_clock: trio.abc.Clock) -> None:
    """Records with times long gone are as young as those before them."""
    async with running(fake, SHORT) as journal:
        journal.append(Kind.RECEIVED, b"", wall_ns=LATER_NS)
        for _ in range(33):
            journal.append(Kind.RECEIVED, b"x" * 5000, wall_ns=0)
        await durable(journal)
    whole = kept(fake, SHORT)
    assert await age(fake, SHORT, {}, LATER_NS) == whole


async def test_a_clock_that_steps_deletes_nothing(
    fake: FakeDisk, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ahead or back, for however long: age is by the clock that never steps. It is said once; then all goes on."""
    said: list[str] = []
    monkeypatch.setattr(writer._log, "error", lambda event, **_: said.append(event))
    hour_long = replace(SETTINGS, retention_days=1 / 24)
    step_ns = 0
    async with running(fake, hour_long, step_ns=lambda: step_ns) as journal:
        await fill(journal, [[b"x" * 5000] * 11] * 3)
        for step_ns in (15 * DAY_NS, -15 * DAY_NS):  # noqa: B007  the clock reads it
            await trio.sleep(BELIEVED_AFTER_S + 2 * RETENTION_EVERY_S)
            assert len(journal._segments) == 3
        await trio.sleep(3600)
        assert len(journal._segments) == 3
        assert said == ["the wall clock stepped: no segment is deleted until it is back or a restart"]
        step_ns = 0
        await trio.sleep(2 * RETENTION_EVERY_S)
        assert len(journal._segments) == 1


async def test_nothing_is_deleted_right_after_a_start(fake: FakeDisk, autojump_clock: trio.abc.Clock) -> None:
    """A machine that boots with a wrong clock has time to set it right."""
    await three_segments(fake, SHORT)
    step_ns = 15 * DAY_NS
    async with running(fake, SHORT, step_ns=lambda: step_ns) as journal:
        await trio.sleep(BELIEVED_AFTER_S - 5)
        step_ns = 0
        await trio.sleep(BELIEVED_AFTER_S)
        assert len(journal._segments) == 3


async def test_a_time_still_to_come_keeps_nothing_for_ever(fake: FakeDisk, autojump_clock: trio.abc.Clock) -> None:
    """One record from the future: what is written with it and after it goes when it is old, after a restart, too."""
    async with running(fake, SHORT) as journal:
        journal.append(Kind.STARTED, b"", wall_ns=WALL_NS + 3650 * DAY_NS)
        await fill(journal, [[b"x" * 5000] * 11] * 4)
        assert [info.newest_ns for info in journal._segments] == [WALL_NS] * 4
    assert (await age(fake, SHORT, {}, LATER_NS))[0] == name_of(4)


def segments_of(times_ns: list[int]) -> list[SegmentInfo]:
    """Segments whose newest records have these times."""
    return [SegmentInfo(number, 1, 1, 1, time_ns) for number, time_ns in enumerate(times_ns, 1)]


@pytest.mark.parametrize(
    ("times_ns", "settled_ns"),
    [
        ([], []),
        ([10, 20, 30], [10, 20, 30]),
        ([10, 5, 30], [10, 10, 30]),  # stepped back: no younger than before
        ([10, 999, 30, 40], [10, 30, 30, 40]),  # from the future: no later than the next
        ([10, 999, 5, 40], [10, 10, 10, 40]),
        ([10, 999, 999, 40], [10, 40, 40, 40]),
        ([10, 20, 999], [10, 20, 100]),  # nothing after it: now
        ([999, 998], [100, 100]),
        ([100, 101], [100, 100]),
        ([-5, 0], [0, 0]),
    ],
)
def test_ages(times_ns: list[int], settled_ns: list[int]) -> None:
    """At 100: each segment's newest time, alone, becomes when it was written at the latest."""
    segments = segments_of(times_ns)
    settle_ages(segments, 100)
    assert [info.newest_ns for info in segments] == settled_ns


async def test_an_interrupted_deletion_is_finished(fake: FakeDisk, autojump_clock: trio.abc.Clock) -> None:
    """The manifest came first: what is left before its oldest segment goes at the next start."""
    await three_segments(fake, SHORT)
    first = fake.directories[DIR].files[name_of(1)]
    await age(fake, SHORT, {}, LATER_NS)
    fake.directories[DIR].files[name_of(1)] = first
    async with running(fake, SHORT):
        pass
    assert kept(fake, SHORT)[0] == name_of(3)


async def test_a_deletion_that_only_the_page_cache_knows_of_is_durable_before_it_is_finished(
    fake: FakeDisk, autojump_clock: trio.abc.Clock
) -> None:
    """A process killed between writing the manifest and syncing it: were its power lost after the next one's deletion,
    the manifest of before would miss a segment.
    """
    await three_segments(fake, SHORT)
    manifest = fake.directories[DIR].files[MANIFEST]
    before = bytes(manifest.durable)
    found = read_manifest(fake.directory(DIR))
    assert found is not None
    write_manifest(fake.directory(DIR), replace(found, oldest=3, turn=found.turn + 1))
    manifest.durable[:] = before
    manifest.dirty.update(range(len(before) // SECTOR_BYTES))
    fake.kill()
    async with running(fake, SHORT, clean=False):
        assert kept(fake, SHORT)[0] == name_of(3)
    fake.crash(keep_nothing=True)
    async with running(fake, SHORT):
        assert kept(fake, SHORT)[0] == name_of(3)


async def test_retention_needs_no_room(fake: FakeDisk, autojump_clock: trio.abc.Clock) -> None:
    """On a full disk it is what makes room."""
    await three_segments(fake, SHORT, "a")
    fake.capacity_bytes = fake.used_bytes()
    left = await age(fake, SHORT, {"a": 34}, LATER_NS)
    assert left[0] == name_of(3)


async def test_a_cursor_that_finds_no_room_waits(fake: FakeDisk, autojump_clock: trio.abc.Clock) -> None:
    """A new follower's cursor file cannot be made on a full disk: it is made when there is room."""
    async with running(fake) as journal:
        await fill(journal, [[b"x"]])
        await trio.sleep(5)
        fake.capacity_bytes = fake.used_bytes()
        follower = journal.follower("f", ALL)
        await take(follower, 1)
        follower.settle(2)
        await trio.sleep(5)
        assert follower.saved == 0
        fake.capacity_bytes = 1 << 40
        await trio.sleep(5)
        assert follower.saved == 2


async def test_a_cursor_that_finds_no_room_takes_no_file_after_the_other(
    fake: FakeDisk, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.abc.Clock
) -> None:
    """It is tried again every second: for as long as the disk is full, one file stays open, and that one is used."""
    opened: list[FakeFile] = []

    def open_(directory: FakeDirectory, name: str, *, create: bool = False, write: bool = False) -> FakeFile:
        file = real(directory, name, create=create, write=write)
        if name.endswith(".cursor"):
            opened.append(file)
        return file

    real = FakeDirectory.open
    monkeypatch.setattr(FakeDirectory, "open", open_)
    async with running(fake) as journal:
        await fill(journal, [[b"x"]])
        await trio.sleep(5)
        fake.capacity_bytes = fake.used_bytes()
        follower = journal.follower("f", ALL)
        await take(follower, 1)
        follower.settle(2)
        await trio.sleep(100)
        assert sum(not file._closed for file in opened) == 1
        fake.capacity_bytes = 1 << 40
        await trio.sleep(5)
        assert follower.saved == 2
    fake.crash(keep_nothing=True)
    async with running(fake) as journal:
        assert journal.follower("f", ALL).cursor == 2
