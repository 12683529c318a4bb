"""Append, commit, durable: on both disks; and what happens when the disk is slow, full or broken."""

import errno
import math
import os
import stat
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from gateway import metrics
from gateway.config.file import load
from gateway.disk import RealDisk
from gateway.errors import ConfigurationError, JournalFault, JournalFull, Unavailable
from gateway.exitcodes import ExitCode, exit_code
from gateway.journal.writer import Journal, open_journal
from gateway.payments import steps
from gateway.payments.steps import Kind
from tests.fakes.disk import FakeDisk, SimulatedThread
from tests.fakes.journal import ID, SETTINGS, WALL_NS, bodies, durable, fill, read, running
from tests.journal.conftest import Place

replace = msgspec.structs.replace


async def test_what_was_durable_is_read_after_a_restart(place: Place) -> None:
    """Positions count from 1; every field of a record comes back; a restart goes on where the last run ended."""
    disk, settings = place
    async with running(disk, settings) as journal:
        assert journal.append(Kind.RECEIVED, b"body", fpid="FPID", link=3, wall_ns=WALL_NS) == 1
        assert journal.append(Kind.REPLIED, wall_ns=WALL_NS - 5) == 2
        assert journal.durable == 0
        await durable(journal)
        assert journal.durable == 2
        chain = journal.durable_chain
    records = read(disk, settings)
    first, second = records
    assert (first.position, first.kind, first.body, first.fpid, first.link) == (1, Kind.RECEIVED, b"body", "FPID", 3)
    assert (second.position, second.kind, second.body, second.fpid, second.link) == (2, Kind.REPLIED, b"", "", 0)
    assert second.time_ns == WALL_NS - 5
    assert second.chain == chain
    async with running(disk, settings) as journal:
        assert journal.append(Kind.STARTED, b"", wall_ns=WALL_NS) == 3
    assert [record.position for record in read(disk, settings)] == [1, 2, 3]


async def test_who_waits_for_a_record_goes_on_when_it_is_durable(place: Place) -> None:
    """Not when an earlier one is, and at once when it is durable already."""
    disk, settings = place
    done: list[int] = []
    async with running(disk, settings) as journal, trio.open_nursery() as nursery:

        async def wait(position: int) -> None:
            await journal.until_durable(position)
            done.append(position)

        first = journal.append(Kind.RECEIVED, b"body", wall_ns=WALL_NS)
        nursery.start_soon(wait, first + 1)
        nursery.start_soon(wait, first)
        await durable(journal)
        await trio.testing.wait_all_tasks_blocked()
        assert done == [first]
        journal.append(Kind.REPLIED, wall_ns=WALL_NS)
        await durable(journal)
        await journal.until_durable(first + 1)
        await trio.testing.wait_all_tasks_blocked()
        assert done == [first, first + 1]


async def test_a_journal_spans_segments(place: Place) -> None:
    """Segments follow one another without a gap, prepared ahead, and all of it is read again."""
    disk, settings = place
    written = [[b"%05d" % (10 * n + m) * 300 for m in range(10)] for n in range(30)]
    async with running(disk, settings) as journal:
        await fill(journal, written)
    assert bodies(disk, settings) == [body for batch in written for body in batch]
    names = disk.directory(settings.dir).names()
    assert sum(name.endswith(".segment") for name in names) >= 9


async def test_closing_makes_everything_durable(place: Place) -> None:
    """Records appended before `aclose` are there, committed or not; none is taken afterwards."""
    disk, settings = place
    async with running(disk, settings, clean=False) as journal:
        journal.append(Kind.STOPPED, b"last", wall_ns=WALL_NS)
        await journal.aclose()
        with pytest.raises(JournalFault, match="closed"):
            journal.append(Kind.STOPPED, wall_ns=WALL_NS)
        assert not journal.has_room()
        await journal.aclose()
    assert bodies(disk, settings) == [b"last"]


async def test_one_sync_and_one_callback_for_all_that_waits(fake: FakeDisk, autojump_clock: trio.abc.Clock) -> None:
    """While the disk is busy records collect; they become durable together, by one write and one sync."""
    async with running(fake) as journal:
        await fill(journal, [[b"first"]])
        await trio.testing.wait_all_tasks_blocked()  # the next segment is made
        seen: list[int] = []
        journal.on_durable = seen.append
        fake.latency_s = lambda: 0.01
        for _ in range(50):
            journal.append(Kind.RECEIVED, b"x", wall_ns=WALL_NS)
            journal.commit()
        syncs = fake.syncs
        await durable(journal)
        assert seen == [51]
        assert fake.syncs == syncs + 1


async def test_a_batch_is_limited(fake: FakeDisk) -> None:
    """More than a batch may hold becomes several, in order."""
    async with running(fake) as journal:
        seen: list[int] = []
        journal.on_durable = seen.append
        for _ in range(30):
            journal.append(Kind.RECEIVED, b"x" * 5000, wall_ns=WALL_NS)
        await durable(journal)
        assert len(seen) == 3
        assert seen == sorted(seen)
    assert len(read(fake)) == 30


async def test_the_zeros_of_a_segment_are_durable_before_it_is_used(fake: FakeDisk) -> None:
    """A lost write leaves known content in it, and a sync of records has nothing else to write."""
    async with running(fake) as journal:
        await fill(journal, [[b"first"]])
        await trio.testing.wait_all_tasks_blocked()
        segment = fake.directories[SETTINGS.dir].files["0000000002.segment"]
        assert (len(segment.durable), len(segment.dirty)) == (65536, 0)


async def test_a_record_that_no_batch_holds_is_a_bug(fake: FakeDisk) -> None:
    """It would never become durable."""
    async with running(fake) as journal:
        with pytest.raises(AssertionError, match="fits"):
            journal.append(Kind.RECEIVED, b"x" * 65536, wall_ns=WALL_NS)


def test_every_message_fits_into_a_record(tmp_path: Path) -> None:
    """The configuration says so: no frame of the hub's may be more than the journal can hold."""
    node = 'node.name="n"\nnode.journal={dir="d",segment_bytes=131072}\nnode.processor.url="https://p"\n'
    hub = '[[node.hub]]\nname="h"\nhost="h"\nport=1\n[[node.token]]\nname="t"\nlabel="t"\nmodule="m"\npin_file="p"\n'
    path = tmp_path / "c.toml"
    path.write_text(f'pair.group="sip"\npair.wire.frame_bytes_max=40000\n{node}{hub}')
    with pytest.raises(ConfigurationError, match="131072 must be at least four times"):
        load(path)


async def test_what_waits_is_limited(fake: FakeDisk, autojump_clock: trio.abc.Clock) -> None:
    """First no new payments, then nothing at all; when the disk has caught up everything goes on."""
    settings = replace(SETTINGS, waiting_bytes_max=100_000)
    async with running(fake, settings) as journal:
        await fill(journal, [[b"first"]])
        fake.latency_s = lambda: 5.0
        for _ in range(3):
            assert journal.has_room()
            journal.append(Kind.RECEIVED, b"x" * 11_000, wall_ns=WALL_NS)
        assert not journal.has_room()
        assert "wait for the disk" in journal.health(trio.current_time())
        for _ in range(6):
            journal.append(Kind.RECEIVED, b"x" * 11_000, wall_ns=WALL_NS)
        with pytest.raises(JournalFault, match="the journal is full: 99396 bytes wait for the disk, of at most 100000"):
            journal.append(Kind.RECEIVED, b"x" * 11_000, wall_ns=WALL_NS)
        await durable(journal)
        assert journal.has_room()
        assert journal.health(trio.current_time()) == ""
        assert journal.append(Kind.RECEIVED, b"x", wall_ns=WALL_NS) == 11


@pytest.mark.parametrize("size", [150, 400, 8000])
async def test_what_was_taken_in_finds_room_for_its_outcome(
    fake: FakeDisk, autojump_clock: trio.abc.Clock, size: int
) -> None:
    """However much waits while a disk hangs: each payment's decision and an undelivered reply fit when it goes on."""
    settings = replace(SETTINGS, waiting_bytes_max=1 << 20)
    request, reply = b"x" * size, b"y" * size
    stood_in = steps.pack(steps.Decision("0083", "120", bytes(8), reply, request))
    undelivered = steps.pack(steps.Undelivered("link-lost-writing", "0083", request))
    async with running(fake, settings) as journal:
        await fill(journal, [[b"first"]])
        fake.latency_s = lambda: 60.0
        undecided = journal.position

        def decide(upto: int) -> None:
            """As the engine does when a record is durable: one batch at a time, while all others still wait."""
            nonlocal undecided
            for _ in range(undecided, min(upto, received) + 1):
                journal.append(Kind.STOOD_IN, stood_in, fpid="F" * 42, wall_ns=WALL_NS)
                journal.append(Kind.UNDELIVERED, undelivered, fpid="F" * 42, wall_ns=WALL_NS)
            undecided = max(undecided, min(upto, received) + 1)

        while journal.has_room():
            journal.append(Kind.RECEIVED, request, fpid="F" * 42, wall_ns=WALL_NS)
            journal.commit()
        received = journal.position - 1
        journal.on_durable = decide
        await durable(journal)
        assert undecided == received + 1
        await durable(journal)
        assert journal.position - 1 == 1 + 3 * (received - 1)


async def test_a_sync_that_hangs_is_said(fake: FakeDisk, autojump_clock: trio.abc.Clock) -> None:
    """Past its limit a sync makes the gateway unready, by words that say for how long; then it is well again."""
    async with running(fake) as journal:
        await fill(journal, [[b"first"]])
        await trio.sleep(100)
        assert journal.health(trio.current_time()) == ""
        fake.latency_s = lambda: 3.0
        journal.append(Kind.RECEIVED, b"x", wall_ns=WALL_NS)
        journal.commit()
        await trio.sleep(0.9)
        assert journal.health(trio.current_time()) == ""
        await trio.sleep(1.2)
        assert journal.health(trio.current_time()) == "sync stalled for 2.1 s"
        await durable(journal)
        assert journal.health(trio.current_time()) == ""


async def test_a_process_that_stood_still_takes_no_disk_for_stalled(
    fake: FakeDisk, autojump_clock: trio.abc.Clock
) -> None:
    """The time of a sync under way begins again when the process goes on; a hanging disk is found then."""
    async with running(fake) as journal:
        fake.latency_s = lambda: 3700.0
        journal.append(Kind.RECEIVED, b"x", wall_ns=WALL_NS)
        journal.commit()
        await trio.sleep(3600)
        journal.stood_still(3600)
        assert journal.health(trio.current_time()) == ""
        await trio.sleep(2.1)
        assert journal.health(trio.current_time()) == "sync stalled for 2.1 s"
        await durable(journal)
        assert journal.health(trio.current_time()) == ""
        journal.stood_still(3600)


async def test_a_busy_disk_is_not_a_stalled_one(fake: FakeDisk, autojump_clock: trio.abc.Clock) -> None:
    """Each sync counts from the end of the one before, however long something has been waiting."""
    async with running(fake) as journal:
        fake.latency_s = lambda: 0.5
        for _ in range(20):
            journal.append(Kind.RECEIVED, b"x", wall_ns=WALL_NS)
            journal.commit()
            await trio.sleep(0.3)
            assert journal.health(trio.current_time()) == ""


async def test_a_journal_that_nobody_runs_is_not_well(fake: FakeDisk) -> None:
    """Before `run` there is no disk thread."""
    async with trio.open_nursery() as nursery:
        journal = open_journal(SETTINGS, fake, driver=SimulatedThread(nursery, fake))
        assert journal.health(0.0) == "the journal is not running"
        journal.append(Kind.STARTED, b"early", wall_ns=WALL_NS)
        await journal.aclose()
    assert bodies(fake) == [b"early"]


@pytest.mark.parametrize("what", ["write", "sync"])
async def test_a_disk_that_fails_is_fatal(place: Place, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never retried: `run` raises, nothing more is durable, nothing more is taken in, and health says it."""
    disk, settings = place
    journal = None
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012  a journal's life, which ends so
        async with running(disk, settings, clean=False) as journal:
            await fill(journal, [[b"durable"]])
            break_disk(disk, what, monkeypatch)
            journal.append(Kind.RECEIVED, b"lost", wall_ns=WALL_NS)
            journal.commit()
            await trio.sleep_forever()
    assert caught.group_contains(JournalFault, match="the disk failed: OSError: Input/output error")
    assert journal is not None
    assert journal.durable == 1
    assert journal.failed is not None
    assert "Input/output error" in journal.health(0.0)
    assert not journal.has_room()
    with pytest.raises(JournalFault, match="Input/output error"):
        journal.append(Kind.RECEIVED, b"x", wall_ns=WALL_NS)


async def test_a_last_sync_that_fails_is_no_clean_end(fake: FakeDisk) -> None:
    """The process has nobody but `aclose` left to tell it: it raises, and again for whoever calls it again."""
    async with trio.open_nursery() as nursery:
        journal = open_journal(SETTINGS, fake, driver=SimulatedThread(nursery, fake), journal_id=ID)
        async with trio.open_nursery() as tree:
            await tree.start(journal.run, lambda _: None)
            await fill(journal, [[b"durable"]])
            tree.cancel_scope.cancel()
        fake.faults["sync"] = OSError(errno.EIO, os.strerror(errno.EIO))
        journal.append(Kind.STOPPED, wall_ns=WALL_NS)
        for _ in range(2):
            with pytest.raises(JournalFault, match="the disk failed: OSError: Input/output error") as caught:
                await journal.aclose()
            assert exit_code(caught.value) is ExitCode.JOURNAL
        assert journal.durable == 1


def break_disk(disk: FakeDisk | RealDisk, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next operation fails, once; a second try would succeed."""
    if isinstance(disk, FakeDisk):
        disk.faults[what] = OSError(errno.EIO, os.strerror(errno.EIO))
        return
    name = {"write": "pwritev", "sync": "fdatasync"}[what]

    def fail(*_: object) -> None:
        monkeypatch.undo()
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, name, fail)


async def test_a_real_sync_that_hangs(fake: FakeDisk) -> None:
    """With the real thread: the trio thread goes on, health says that it stalls, and the sync ends when it ends."""
    async with trio.open_nursery() as nursery:
        journal = open_journal(replace(SETTINGS, stall_after_s=1e-6), fake, journal_id=ID)
        await nursery.start(journal.run, lambda _: None)
        await fill(journal, [[b"first"]])
        fake.may_sync.clear()
        journal.append(Kind.RECEIVED, b"x", wall_ns=WALL_NS)
        journal.commit()
        assert journal.health(trio.current_time() + 1.0) == "sync stalled for 1.0 s"
        fake.may_sync.set()
        await journal.aclose()
    assert len(read(fake)) == 2


# --- a full disk


async def test_a_full_disk_is_said_long_before_it_hurts(fake: FakeDisk, autojump_clock: trio.abc.Clock) -> None:
    """No next segment: health says so, records go on into the current one; with room again all is well."""
    async with running(fake) as journal:
        await fill(journal, [[b"first"]])
        fake.capacity_bytes = fake.used_bytes()
        await fill(journal, [[b"x" * 5000] * 11] * 1)
        await fill(journal, [[b"x" * 5000] * 8])
        await trio.sleep(1.1)
        for _ in range(300):
            # trying again, which takes a moment, is no reason to call ourselves ready: the hub would be told each time
            assert journal.health(trio.current_time()) == "no next segment: No space left on device"
            await trio.sleep(0.01)
        await fill(journal, [[b"on we go"]])
        assert journal.has_room()
        await fill(journal, [[b"x" * 1000]] * 12)
        assert not journal.has_room()
        fake.capacity_bytes = 1 << 40
        await trio.sleep(2.1)
        assert journal.health(trio.current_time()) == ""
        assert journal.has_room()
        await fill(journal, [[b"x" * 5000] * 11] * 3)


ACT = steps.pack(steps.Act("stand-in", "begun", "anna", "uid 1000 by socket", "w" * 500, {"mode": "never"}))


async def test_on_a_full_disk_there_is_room_for_acts_when_there_is_none_for_payments(
    fake: FakeDisk, autojump_clock: trio.abc.Clock
) -> None:
    """People can act, and what they do is on the disk; in the end it is the payments in flight that count."""
    async with running(fake) as journal:
        await fill(journal, [[b"first"]])
        fake.capacity_bytes = fake.used_bytes()
        await fill(journal, [[b"x" * 5000] * 11])
        await trio.sleep(1.1)
        while journal.has_room():
            await fill(journal, [[b"x" * 500]])
        acts = 0
        while journal.has_room_for_act():
            position = journal.append(Kind.ACT, ACT, wall_ns=WALL_NS)
            journal.commit()
            await durable(journal)
            assert journal.durable == position
            acts += 1
        assert acts > 3
        await fill(journal, [[b"the outcome of a payment in flight"]])


async def test_while_a_disk_hangs_there_is_room_for_acts(fake: FakeDisk, autojump_clock: trio.abc.Clock) -> None:
    """They wait in memory that no payment takes, and are durable when it goes on."""
    settings = replace(SETTINGS, waiting_bytes_max=1 << 20)
    async with running(fake, settings) as journal:
        await fill(journal, [[b"first"]])
        fake.latency_s = lambda: 60.0
        while journal.has_room():
            journal.append(Kind.RECEIVED, b"x" * 5000, wall_ns=WALL_NS)
            journal.commit()
        assert journal.has_room_for_act()
        position = journal.append(Kind.ACT, ACT, wall_ns=WALL_NS)
        journal.commit()
        await durable(journal)
        assert journal.durable >= position


async def test_only_a_disk_full_to_the_last_byte_ends_the_process(fake: FakeDisk) -> None:
    """When the current segment is full and there is no next, the journal fails; what was durable stays."""
    count = 0
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012  a journal's life, which ends so
        async with running(fake, clean=False) as journal:
            await fill(journal, [[b"first"]])
            fake.capacity_bytes = fake.used_bytes()
            while True:
                await fill_or_wait(journal, b"x" * 5000)
                count = journal.durable
    assert caught.group_contains(JournalFull, match="is full: no next segment: No space left on device")
    assert count >= 20
    fake.capacity_bytes = 1 << 40
    fake.kill()
    assert len(read(fake)) == count
    async with running(fake) as journal:
        await fill(journal, [[b"on we go"]])


async def fill_or_wait(journal: Journal, body: bytes) -> None:
    """Append; once nothing becomes durable any more this waits until the journal's failure cancels it."""
    journal.append(Kind.RECEIVED, body, wall_ns=WALL_NS)
    await durable(journal)


async def test_a_full_disk_at_the_first_start(fake: FakeDisk) -> None:
    """The process ends with the reason; with room it starts as if nothing had been."""
    fake.capacity_bytes = 10_000
    with pytest.raises(ExceptionGroup) as caught:
        async with running(fake, clean=False) as journal:
            await fill_or_wait(journal, b"x")
    assert caught.group_contains(JournalFault, match="No space left on device")
    fake.capacity_bytes = 1 << 40
    fake.kill()
    async with running(fake) as journal:
        await fill(journal, [[b"x"]])
    assert bodies(fake) == [b"x"]


async def test_an_error_while_the_next_segment_is_made_is_fatal(fake: FakeDisk) -> None:
    """Only a full disk is waited for; a disk that fails anywhere is not trusted anywhere."""
    fake.faults["allocate"] = OSError(errno.EIO, os.strerror(errno.EIO))
    with pytest.raises(ExceptionGroup) as caught:
        async with running(fake, clean=False):
            await trio.sleep_forever()
    assert caught.group_contains(JournalFault, match="Input/output error")


# --- opening


async def test_what_a_killed_process_left_is_synced_before_anything_acts_on_it(fake: FakeDisk) -> None:
    """A whole batch may be in the page cache only: after a start it survives the loss of power."""
    async with running(fake, clean=False) as journal:
        await fill(journal, [[b"durable"]])
        fake.latency_s = lambda: 0.0
        file = fake.directories["journal"].files["0000000001.segment"]
        before = bytes(file.durable)
        await fill(journal, [[b"not yet"]])
        file.durable[:] = before  # the page cache has it, the disk has not: the sync had not returned
        file.dirty.update(range(8, 12))
    assert bodies(fake) == [b"durable", b"not yet"]
    fake.crash(keep_nothing=True)
    assert bodies(fake) == [b"durable", b"not yet"]


async def test_a_segment_of_another_size_is_used_up(place: Place) -> None:
    """Changing `segment_bytes` between runs is no damage."""
    disk, settings = place
    written = [[b"%d" % n * 4000 for _ in range(5)] for n in range(8)]
    for size, part in ((200_000, written[:3]), (65536, written[3:5]), (300_000, written[5:])):
        async with running(disk, replace(settings, segment_bytes=size)) as journal:
            await fill(journal, part)
    assert bodies(disk, settings) == [body for batch in written for body in batch]


async def test_files_of_a_journal_are_for_their_owner_only(tmp_path: Path) -> None:
    """Whatever the umask says."""
    disk, settings = RealDisk(), replace(SETTINGS, dir=str(tmp_path / "journal"))
    before = os.umask(0)
    try:
        async with running(disk, settings) as journal:
            journal.follower("f", frozenset(Kind))
            await fill(journal, [[b"x"]])
            await journal.follower("g", frozenset(Kind)).batch(10)
    finally:
        os.umask(before)
        disk.release()
    for path in (tmp_path / "journal").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name
    assert stat.S_IMODE((tmp_path / "journal").stat().st_mode) == 0o700


async def test_a_clock_that_steps_back_changes_nothing(place: Place) -> None:
    """Times are written down as they are; positions are the order."""
    disk, settings = place
    times = [WALL_NS, WALL_NS - 10**15, 0, -5, WALL_NS + 1]
    async with running(disk, settings) as journal:
        for time_ns in times:
            journal.append(Kind.RECEIVED, wall_ns=time_ns)
        await durable(journal)
    assert [(record.position, record.time_ns) for record in read(disk, settings)] == list(enumerate(times, 1))


async def test_what_is_counted(fake: FakeDisk) -> None:
    """Records, bytes and syncs."""
    records = metrics.REGISTRY.get_sample_value("fps_journal_records_total") or 0.0
    async with running(fake) as journal:
        await fill(journal, [[b"x"] * 5])
    assert metrics.REGISTRY.get_sample_value("fps_journal_records_total") == records + 5


async def test_a_hung_disk_does_not_keep_aclose_from_being_cancelled(
    fake: FakeDisk, autojump_clock: trio.abc.Clock
) -> None:
    """Records that were not durable stay so, and the next start finds the state that a kill leaves."""
    async with running(fake, clean=False) as journal:
        await fill(journal, [[b"durable"]])
        fake.latency_s = lambda: math.inf
        journal.append(Kind.RECEIVED, b"never", wall_ns=WALL_NS)
        with trio.move_on_after(5) as scope:
            await journal.aclose()
        assert scope.cancelled_caught
    fake.latency_s = lambda: 0.0
    assert bodies(fake) == [b"durable"]


async def test_a_start_on_a_full_disk_changes_nothing_and_may_be_tried_again(fake: FakeDisk) -> None:
    """A torn tail is not cut where its evidence finds no room: nothing is wrong with the journal, then."""
    async with running(fake, clean=False) as journal:
        await fill(journal, [[b"durable"], [b"torn" * 500]])
    directory = fake.directories[SETTINGS.dir]
    content = directory.files["0000000001.segment"].content
    end = len(content.rstrip(b"\0"))
    content[end - 1000 : end] = bytes(1000)
    before = bytes(content)
    capacity_bytes, fake.capacity_bytes = fake.capacity_bytes, fake.used_bytes() + 100
    for _ in range(30):
        with pytest.raises(Unavailable, match="No space left on device") as refused:
            open_journal(SETTINGS, fake)
        fake.kill()
        assert exit_code(refused.value) == ExitCode.UNAVAILABLE
    assert content == before
    assert not [name for name in directory.names() if name.endswith(".torn")]
    fake.capacity_bytes = capacity_bytes
    assert bodies(fake) == [b"durable"]
    assert [name for name in directory.names() if name.endswith(".torn")]


async def test_a_new_journal_finds_no_room(fake: FakeDisk) -> None:
    """The same, where there is nothing yet."""
    fake.capacity_bytes = 100
    with pytest.raises(Unavailable, match="No space left on device"):
        open_journal(SETTINGS, fake)
    fake.kill()
    fake.capacity_bytes = 1 << 30
    assert bodies(fake) == []
