"""Followers read what is durable, in order and verified, and remember how far they are."""

import errno
import threading
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.errors import JournalFault
from gateway.journal import cursor as cursor_module
from gateway.journal.manifest import cursor_name
from gateway.journal.record import HEADER_BYTES, Record
from gateway.journal.segment import name_of
from gateway.journal.writer import open_journal
from gateway.payments.steps import Kind
from tests.fakes.disk import FakeDirectory, FakeDisk, FakeFile
from tests.fakes.journal import DIR, ID, SETTINGS, WALL_NS, durable, fill, running
from tests.journal.conftest import Place
from tests.journal.following import ALL, ODD, take, write
from tests.journal.test_lookup import life_of


async def test_a_follower_reads_what_is_durable_in_order(place: Place) -> None:
    """A follower gets everything once, across segments, as it was written, and never more at once than it asks for."""
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
    """It passes over other kinds, which move its cursor when it has nothing left to settle."""
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
    """Records on their way to the disk are read, too."""
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
