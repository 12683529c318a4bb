"""Followers: what they read, what they remember, and what is kept for them."""

import errno
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.config import JournalSettings
from gateway.disk import SECTOR_BYTES, RealDirectory, RealDisk
from gateway.errors import JournalFault
from gateway.journal import cursor as cursor_module
from gateway.journal import writer
from gateway.journal.age import BELIEVED_AFTER_S, settle_ages
from gateway.journal.committer import Synced
from gateway.journal.manifest import MANIFEST, cursor_name, read_manifest, write_manifest
from gateway.journal.record import HEADER_BYTES, Record
from gateway.journal.segment import SegmentInfo, name_of, number_of
from gateway.journal.writer import DAY_NS, RETENTION_EVERY_S, Journal, open_journal
from gateway.payments.steps import Kind
from tests.fakes.disk import FakeDirectory, FakeDisk, FakeFile, SimulatedThread
from tests.fakes.journal import DIR, ID, SETTINGS, WALL_NS, durable, fill, running
from tests.journal.conftest import Place

ALL = frozenset(Kind)
ODD = frozenset({Kind.STOOD_IN, Kind.TOLD})
replace = msgspec.structs.replace
SHORT = replace(SETTINGS, retention_days=1.0)
LATER_NS = WALL_NS + 2 * DAY_NS
WITHIN_S = 60.0


async def take(follower: Any, count: int, max_records: int = 7) -> list[int]:
    """Positions of the next records; exactly so many come."""
    got: list[int] = []
    while len(got) < count:
        got += [record.position for record in await follower.batch(max_records)]
    assert len(got) == count
    return got


async def write(journal: Journal, kinds: list[Kind], size: int = 10) -> None:
    """One batch of records of these kinds."""
    for kind in kinds:
        journal.append(kind, b"x" * size, fpid="F" * 42, wall_ns=WALL_NS)
    await durable(journal)


async def test_a_follower_reads_what_is_durable_in_order(place: Place) -> None:
    """Everything, once, across segments, as it was written; never more at once than asked for."""
    disk, settings = place
    async with running(disk, settings) as journal:
        follower = journal.follower("f", ALL)
        await fill(journal, [[b"%03d" % n * 500, b""] for n in range(100)])
        records: list[Record] = []
        while len(records) < 200:
            batch = await follower.batch(9)
            assert 1 <= len(batch) <= 9
            records += batch
        assert [record.position for record in records] == list(range(1, 201))
        assert [record.body for record in records[::2]] == [b"%03d" % n * 500 for n in range(100)]
        assert follower.position == 201


async def test_a_follower_sees_nothing_before_it_is_durable(fake: FakeDisk, autojump_clock: trio.abc.Clock) -> None:
    """It waits for the sync."""
    async with running(fake) as journal:
        follower = journal.follower("f", ALL)
        await fill(journal, [[b"one"]])
        assert await take(follower, 1) == [1]
        fake.latency_s = lambda: 5.0
        journal.append(Kind.RECEIVED, b"two", wall_ns=WALL_NS)
        journal.commit()
        with trio.move_on_after(4.9) as scope:
            await follower.batch(10)
        assert scope.cancelled_caught
        assert await take(follower, 1) == [2]


async def test_a_follower_gets_its_kinds_only(place: Place) -> None:
    """And passes over the rest, which moves its cursor when it has nothing left to settle."""
    disk, settings = place
    async with running(disk, settings) as journal:
        follower = journal.follower("f", ODD)
        await write(journal, [Kind.RECEIVED] * 10)
        assert follower.position == 11
        assert follower.cursor == 11
        await write(journal, [Kind.RECEIVED, Kind.STOOD_IN, Kind.RECEIVED, Kind.TOLD, Kind.RECEIVED])
        assert await take(follower, 2) == [12, 14]
        assert follower.cursor == 12
        follower.settle(14)
        assert follower.cursor == 14
        follower.settle(15)
        await write(journal, [Kind.REPLIED])
        with trio.move_on_after(0.05):
            await follower.batch(10)
        assert follower.cursor == 17


async def test_batches_without_its_kinds_are_not_read(fake: FakeDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower of what is rare costs nothing while nothing of it comes."""
    async with running(fake) as journal:
        follower = journal.follower("f", ODD)
        await write(journal, [Kind.RECEIVED])
        fake.faults["read"] = AssertionError("nothing to read")
        for _ in range(50):
            await write(journal, [Kind.RECEIVED] * 20)
        assert follower.position == 1002
        del fake.faults["read"]
        await write(journal, [Kind.TOLD])
        assert await take(follower, 1) == [1002]


async def test_a_cursor_outlives_the_process(place: Place) -> None:
    """A restart goes on behind what was settled: what was read and not settled comes again."""
    disk, settings = place
    async with running(disk, settings) as journal:
        follower = journal.follower("f", ALL)
        await write(journal, [Kind.RECEIVED] * 20, 5000)
        await take(follower, 20)
        follower.settle(13)
    for _ in range(2):
        async with running(disk, settings) as journal:
            follower = journal.follower("f", ALL)
            assert (await take(follower, 8))[0] == 13
    async with running(disk, settings) as journal:
        follower = journal.follower("f", ALL)
        await take(follower, 8)
        follower.settle(follower.position)
    async with running(disk, settings) as journal:
        follower = journal.follower("f", ALL)
        await write(journal, [Kind.RECEIVED])
        assert await take(follower, 1) == [21]


async def test_a_cursor_is_saved_while_running(fake: FakeDisk, autojump_clock: trio.abc.Clock) -> None:
    """Once a second, not with each record: a kill costs no more than that."""
    async with running(fake, clean=False) as journal:
        follower = journal.follower("f", ALL)
        await write(journal, [Kind.RECEIVED] * 20)
        await trio.testing.wait_all_tasks_blocked()  # the next segment is made
        syncs = fake.syncs
        for position in range(1, 11):
            follower.settle((await follower.batch(1))[0].position)
            assert fake.syncs == syncs, position
        await trio.sleep(1.5)
        assert fake.syncs == syncs + 1
        follower.settle(11)
        await follower.batch(5)
    async with running(fake) as journal:
        assert await take(journal.follower("f", ALL), 11) == list(range(10, 21))


async def test_several_followers_are_independent(fake: FakeDisk) -> None:
    """Each with its kinds and its cursor."""
    async with running(fake) as journal:
        fast, slow = journal.follower("fast", ALL), journal.follower("slow", ODD)
        await write(journal, [Kind.RECEIVED, Kind.TOLD] * 5)
        assert await take(fast, 10) == list(range(1, 11))
        fast.settle(11)
        assert await take(slow, 5) == [2, 4, 6, 8, 10]
        assert (fast.cursor, slow.cursor) == (11, 2)


async def test_a_follower_that_comes_later_reads_from_the_oldest(fake: FakeDisk) -> None:
    """Whatever is kept."""
    async with running(fake) as journal:
        await write(journal, [Kind.RECEIVED] * 5)
        assert await take(journal.follower("late", ALL), 5) == [1, 2, 3, 4, 5]


async def test_a_new_journals_follower_misses_nothing_that_was_appended_before_it(fake: FakeDisk) -> None:
    """What is on its way to the disk is read, too."""
    async with running(fake) as journal:
        journal.append(Kind.STOOD_IN, b"early", fpid="F" * 42, wall_ns=WALL_NS)
        follower = journal.follower("f", ALL)
        journal.commit()
        assert await take(follower, 1) == [1]


async def test_a_follower_waits_in_an_empty_journal(fake: FakeDisk) -> None:
    """Until there is something; also with a cursor behind kinds that are not its own."""
    got: list[int] = []
    async with running(fake) as journal, trio.open_nursery() as nursery:
        follower = journal.follower("f", ODD)

        async def follow() -> None:
            got.extend(await take(follower, 2))

        nursery.start_soon(follow)
        await write(journal, [Kind.RECEIVED, Kind.TOLD])
        await write(journal, [Kind.STOOD_IN])
    assert got == [2, 3]


async def test_a_lost_cursor_reads_again_from_the_oldest(fake: FakeDisk, logged: Any) -> None:
    """A cursor file deleted or damaged by accident loses nothing: it is said, and records come twice."""
    for damage in ("deleted", "damaged"):
        async with running(fake) as journal:
            follower = journal.follower("f", ALL)
            await write(journal, [Kind.RECEIVED] * 3)
            await follower.batch(10)
            follower.settle(follower.position)
        files = fake.directories[DIR].files
        if damage == "deleted":
            del files[cursor_name("f")]
        else:
            files[cursor_name("f")].content[:] = b"x" * 1024
        async with running(fake) as journal:
            assert (await journal.follower("f", ALL).batch(1))[0].position == 1
        assert logged("no cursor of a known follower: it reads from the oldest record again")


async def test_half_a_cursor_is_the_one_before(fake: FakeDisk) -> None:
    """Each saving writes one of two slots: a torn one leaves the other."""
    async with running(fake) as journal:
        follower = journal.follower("f", ALL)
        await write(journal, [Kind.RECEIVED] * 9)
        await take(follower, 9)
        for position in (4, 7):
            follower.settle(position)
            journal._save(follower)
            await write(journal, [Kind.TOLD])
        follower.settle(7)
    content = fake.directories[DIR].files[cursor_name("f")].content
    newer = bytes(content).index(b"cursor 7 ")
    content[newer : newer + 512] = bytes(512)
    async with running(fake) as journal:
        assert (await journal.follower("f", ALL).batch(1))[0].position == 4


async def test_what_a_follower_reads_is_verified(fake: FakeDisk) -> None:
    """Bytes that changed under a running gateway are not handed on."""
    async with running(fake, clean=False) as journal:
        follower = journal.follower("f", ALL)
        await write(journal, [Kind.RECEIVED] * 3)
        fake.directories[DIR].files[name_of(1)].content[HEADER_BYTES + 100] ^= 1
        with pytest.raises(JournalFault, match=r"segment 0000000001.segment, offset 4144, position 1"):
            await follower.batch(10)


async def test_a_follower_that_cannot_read_says_where(fake: FakeDisk) -> None:
    """A disk that fails is no news to wait for."""
    async with running(fake, clean=False) as journal:
        follower = journal.follower("f", ALL)
        await write(journal, [Kind.RECEIVED])
        fake.faults["read"] = OSError(errno.EIO, "Input/output error")
        with pytest.raises(JournalFault, match=r"cannot read segment 0000000001\.segment, offset 4080: OSError: Input"):
            await follower.batch(10)


async def test_a_read_that_hangs_can_be_given_up(fake: FakeDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps nobody from ending, no file is closed under it, and the follower has lost nothing."""
    token = trio.lowlevel.current_trio_token()
    scope, goes_on, over = trio.CancelScope(), threading.Event(), trio.Event()
    read = FakeFile.read
    got: list[bytes] = []

    def hung(file: FakeFile, offset: int, size: int) -> bytes:
        token.run_sync_soon(scope.cancel)
        assert goes_on.wait(10), "the read was waited for"
        got.append(read(file, offset, size))
        token.run_sync_soon(over.set)
        return got[0]

    async with trio.open_nursery() as nursery:
        journal = open_journal(SETTINGS, fake, journal_id=ID)
        await nursery.start(journal.run, lambda _: None)
        follower = journal.follower("f", ALL)
        await write(journal, [Kind.RECEIVED])
        monkeypatch.setattr(FakeFile, "read", hung)
        with scope:
            await follower.batch(10)
        assert scope.cancelled_caught
        monkeypatch.undo()
        assert await take(follower, 1) == [1]
        goes_on.set()
        await over.wait()
        assert len(got) == 1
        await journal.aclose()


async def test_the_trio_thread_touches_no_disk(fake: FakeDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a segment and asking for free space hang on a suspended volume, too: both are done elsewhere."""
    loop = threading.get_ident()
    threads: set[int] = set()

    def noted(what: Any) -> Any:
        def noting(*args: Any, **named: Any) -> Any:
            threads.add(threading.get_ident())
            return what(*args, **named)

        return noting

    async with trio.open_nursery() as nursery:
        journal = open_journal(SETTINGS, fake, journal_id=ID)
        monkeypatch.setattr(FakeDirectory, "open", noted(FakeDirectory.open))
        monkeypatch.setattr(FakeDirectory, "free_bytes", noted(FakeDirectory.free_bytes))
        await nursery.start(journal.run, lambda _: None)
        follower = journal.follower("f", ALL)
        await write(journal, [Kind.RECEIVED])
        assert await take(follower, 1) == [1]
        journal._committer.no_next = "full"
        journal._keep_house()
        await journal.aclose()
    assert threads
    assert loop not in threads


@pytest.mark.parametrize("window", [4000, 4096, 5000, 65536])
async def test_records_across_the_edges_of_what_is_read_at_once(
    fake: FakeDisk, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a chunk that is read ends: within a mark, a head, a body."""
    monkeypatch.setattr(cursor_module, "READ_BYTES", window)
    async with running(fake) as journal:
        follower = journal.follower("f", ALL)
        sizes = [(n * 37) % 1500 for n in range(200)] + [30_000, 1, 50_000, 0]
        for start in range(0, len(sizes), 3):
            for size in sizes[start : start + 3]:
                journal.append(Kind.RECEIVED, b"x" * size, wall_ns=WALL_NS)
            await durable(journal)
        got: list[int] = []
        while len(got) < len(sizes):
            got += [len(record.body) for record in await follower.batch(5)]
        assert got == sizes


@hypothesis_settings(max_examples=30)
@given(st.data())
def test_followers_come_and_go(data: st.DataObject) -> None:
    """Whatever is written, read, settled, in any order, with restarts and kills: in order, no gap."""
    disk = FakeDisk()
    kinds = [Kind.RECEIVED, Kind.TOLD, Kind.STOOD_IN]
    written: list[Kind] = []
    settled = 1

    async def life(*, clean: bool) -> None:
        nonlocal settled
        async with running(disk, clean=clean) as journal:
            follower = journal.follower("f", ODD)
            read_to = follower.position
            assert read_to <= max(settled, 1) or not any(k in ODD for k in written[settled - 1 : read_to - 1])
            for _ in range(data.draw(st.integers(0, 6))):
                new = data.draw(st.lists(st.sampled_from(kinds), max_size=30))
                await write(journal, new, data.draw(st.sampled_from([0, 100, 3000])))
                written.extend(new)
                expected = [p for p, kind in enumerate(written, 1) if kind in ODD and p >= read_to]
                if not expected:
                    continue
                got = [record.position for record in await follower.batch(data.draw(st.integers(1, 20)))]
                assert got == expected[: len(got)]
                read_to = got[-1] + 1
                if data.draw(st.booleans()):
                    follower.settle(read_to)
                    settled = read_to

    for _ in range(data.draw(st.integers(1, 4))):
        trio.run(lambda: life_of(life, clean=data.draw(st.booleans())))
        disk.kill()


async def life_of(life: Any, *, clean: bool) -> None:
    """For trio.run."""
    await life(clean=clean)


# --- one record, for a person


async def test_any_record_that_is_durable_can_be_looked_at(place: Place) -> None:
    """By its position, in whichever segment; no cursor is kept for it. What is not there (yet) is None."""
    disk, settings = place
    async with running(disk, settings) as journal:
        await fill(journal, [[b"%03d" % n * 500, b""] for n in range(100)])
        assert len(journal._segments) >= 3
        journal.append(Kind.RECEIVED, b"not durable", wall_ns=WALL_NS)
        for position in (1, 2, 57, 150, 199, 200):
            record = await journal.record(position)
            assert record is not None
            assert record.position == position
            assert record.body == (b"%03d" % (position // 2) * 500 if position % 2 else b"")
        for position in (-1, 0, 201, 202, 2**63):
            assert await journal.record(position) is None
        await durable(journal)
        record = await journal.record(201)
        assert record is not None
        assert record.body == b"not durable"
        assert journal._followers == {}


async def test_what_is_looked_at_is_verified(fake: FakeDisk) -> None:
    """Bytes that changed are not handed on."""
    async with running(fake, clean=False) as journal:
        await write(journal, [Kind.RECEIVED] * 3)
        fake.directories[DIR].files[name_of(1)].content[HEADER_BYTES + 100] ^= 1
        with pytest.raises(JournalFault, match=r"segment 0000000001.segment, offset 4144, position 1"):
            await journal.record(1)


@pytest.mark.parametrize("asked", ["before", "after"])
async def test_a_record_whose_segment_goes_is_not_there(
    asked: str, fake: FakeDisk, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when retention takes it while it is being read: that is no fault of the disk."""
    await three_segments(fake, SHORT, "a")
    async with running(fake, SHORT, wall_ns=LATER_NS) as journal:
        follower = journal.follower("a", ALL)
        await take(follower, 33, 33)
        follower.settle(34)
        reads = journal._driver.reads

        async def late(read: Any, offset: int, size: int) -> bytes:
            monkeypatch.undo()
            await trio.sleep(BELIEVED_AFTER_S + 5)
            assert journal.oldest > 1
            return await reads(read, offset, size)

        if asked == "before":
            monkeypatch.setattr(journal._driver, "reads", late)
        else:
            await trio.sleep(BELIEVED_AFTER_S + 5)
        assert await journal.record(1) is None
        assert await journal.record(33) is not None


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
    """What is deleted was settled by a cursor that survives the loss of power."""
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
