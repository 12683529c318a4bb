"""A shortage of descriptors, threads or memory is no failure of the disk: tried again, said, and nothing is lost."""

import errno
import os
from math import inf
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing

from gateway.errors import JournalFull, Unavailable
from gateway.exitcodes import ExitCode, exit_code
from gateway.journal.committer import Chunk, Committer
from gateway.journal.opening import open_directory
from gateway.journal.record import CHAIN_BYTES
from gateway.journal.writer import open_journal
from gateway.payments.steps import Kind
from tests.fakes.disk import FakeDisk, error
from tests.fakes.journal import ID, SETTINGS, WALL_NS, bodies, durable, fill, running
from tests.fakes.shortage import no_file_can_be_opened, no_threads
from tests.journal.conftest import Place

ALL = frozenset(Kind)
EMFILE = os.strerror(errno.EMFILE)
BODY = b"x" * 5000


def committer_of(place: Place) -> Committer:
    """Of a new journal, as a start makes it."""
    disk, settings = place
    directory = disk.directory(settings.dir, create=True)
    directory.lock()
    opened = open_directory(directory, None, ID)
    return Committer(directory, opened.manifest, settings.segment_bytes, opened.current, opened.unused)


def some(committer: Committer, first: int) -> None:
    """A batch that takes a third of a segment; of what it holds the committer knows nothing."""
    data = bytes(CHAIN_BYTES + SETTINGS.segment_bytes // 3)
    committer.commit([Chunk(first, first, data, bytes(CHAIN_BYTES), 0, 0, 0)])


# --- on both disks


def test_a_journal_goes_from_segment_to_segment_without_a_descriptor_to_be_had(place: Place) -> None:
    """Each new one gets that of the last full one, which nobody else could take meanwhile. Manifest and directory are
    open from the start.
    """
    committer = committer_of(place)
    some(committer, 1)
    while committer.wants(idle=True):
        committer.prepare()
    with no_file_can_be_opened(place[0]):
        for position in range(2, 20):
            some(committer, position)
        assert committer.no_next == ""
        committer.remember("somebody")
        assert committer.retire(3) == ["0000000001.segment", "0000000002.segment"]
        committer.close(20, bytes(CHAIN_BYTES))


def test_a_next_segment_that_cannot_be_opened_is_tried_again(place: Place) -> None:
    """Right after a start there is no full segment either: the current one is used, as on a full disk."""
    committer = committer_of(place)
    some(committer, 1)
    with no_file_can_be_opened(place[0]):
        while committer.wants(idle=True):
            committer.prepare()
        assert EMFILE in committer.no_next
        some(committer, 2)
        with pytest.raises(JournalFull, match=f"no next segment: {EMFILE}"):
            some(committer, 3)
    committer.retry()
    while committer.wants(idle=True):
        committer.prepare()
    assert committer.no_next == ""
    assert committer.next_ready


def test_a_cursor_that_cannot_be_opened_now_is_saved_later(place: Place) -> None:
    committer = committer_of(place)
    with no_file_can_be_opened(place[0]), pytest.raises(Unavailable, match=f"cursor of f: {EMFILE}"):
        committer.save_cursor("f", 7)
    committer.save_cursor("f", 7)
    with no_file_can_be_opened(place[0]):
        committer.save_cursor("f", 8)


def test_a_start_that_is_short_of_descriptors_can_be_tried_again(place: Place) -> None:
    """Nobody is told that the journal cannot be trusted: 69, and the next start finds it whole."""
    disk, settings = place
    with no_file_can_be_opened(disk), pytest.raises(Unavailable, match=EMFILE) as caught:
        open_journal(settings, disk, journal_id=ID)
    assert exit_code(caught.value) is ExitCode.UNAVAILABLE
    assert bodies(disk, settings) == []


async def test_a_follower_that_cannot_open_a_segment_waits_and_goes_on(place: Place, logged: Any) -> None:
    """One line for the episode, one for its end; every record comes once."""
    disk, settings = place
    async with running(disk, settings) as journal:
        follower = journal.follower("f", ALL)
        await fill(journal, [[b"1", b"2"]])
        came: list[bytes] = []

        async def read() -> None:
            came.extend(record.body for record in await follower.batch(10))

        async with trio.open_nursery() as nursery:
            with no_file_can_be_opened(disk):
                nursery.start_soon(read)
                while not logged("the journal cannot be read just now"):
                    await trio.lowlevel.checkpoint()
                await fill(journal, [[b"3"]])  # meanwhile payments go on
            assert came == []
        assert came == [b"1", b"2", b"3"]
    (line,) = logged("the journal cannot be read just now")
    assert EMFILE in line["reason"]
    assert len(logged("the journal is read again")) == 1


# --- in time


async def test_a_shortage_is_said_and_gone_through(fake: FakeDisk, autojump_clock: trio.abc.Clock, logged: Any) -> None:
    """Unready while there is no next segment; every second it is tried again, and all is well when that is over."""
    async with running(fake) as journal:
        fake.files_max = 2  # the manifest and the first segment
        await fill(journal, [[BODY]] * 3)
        await trio.sleep(3)
        assert journal.health(trio.current_time()) == f"no next segment: {EMFILE}"
        assert logged("no next segment")[0]["reason"] == EMFILE
        assert journal.failed is None
        fake.files_max = inf
        await trio.sleep(1.1)
        assert journal.health(trio.current_time()) == ""
        await fill(journal, [[BODY] * 11] * 3)


async def test_a_follower_is_read_again_when_threads_are_to_be_had(fake: FakeDisk, logged: Any) -> None:
    """With the real driver, whose reads take a thread each."""
    async with trio.open_nursery() as nursery:
        journal = open_journal(SETTINGS, fake, journal_id=ID)
        await nursery.start(journal.run, lambda _: None)
        follower = journal.follower("f", ALL)
        await fill(journal, [[b"1"]])
        with no_threads():
            nursery.start_soon(follower.batch, 1)
            while not logged("the journal cannot be read just now"):
                await trio.lowlevel.checkpoint()
        while not logged("the journal is read again"):
            await trio.lowlevel.checkpoint()
        await journal.aclose()
    assert logged("the journal cannot be read just now")[0]["reason"] == "no thread can be started"


async def test_without_its_threads_no_journal_runs(fake: FakeDisk) -> None:
    """A start that may be tried again, and no bug of ours."""
    journal = open_journal(SETTINGS, fake, journal_id=ID)
    with no_threads(), pytest.raises(Unavailable, match="no thread can be started for journal"):
        await journal.run(lambda _: None)


async def test_memory_that_is_not_to_be_had_says_nothing_against_the_disk(fake: FakeDisk) -> None:
    """It ends, and starting again is of use; after a write or a sync that failed for want of it, of none."""
    for fault, code in ((MemoryError(), ExitCode.UNAVAILABLE), (error(errno.ENOMEM), ExitCode.JOURNAL)):
        disk = FakeDisk()
        with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012  a journal's life, which ends so
            async with running(disk, clean=False) as journal:
                await fill(journal, [[b"first"]])
                while not journal._committer.next_ready:
                    await trio.lowlevel.checkpoint()
                disk.faults["sync"] = fault
                journal.append(Kind.RECEIVED, b"lost", wall_ns=WALL_NS)
                journal.commit()
                await trio.sleep_forever()
        assert exit_code(caught.value) is code


# --- the entry of a segment


async def test_a_segment_whose_entry_was_not_synced_is_synced_before_it_is_used(
    fake: FakeDisk, autojump_clock: trio.abc.Clock
) -> None:
    """A sync of the directory that found no room is made up for: else a power cut would take the whole segment."""
    async with running(fake, clean=False) as journal:
        await fill(journal, [[b"first"]])
        await trio.sleep(0.1)
        directory = fake.directories[SETTINGS.dir]
        synced = directory.sync
        left = [1]

        def full() -> None:
            if left:
                left.pop()
                raise error(errno.ENOSPC)
            synced()

        directory.sync = full  # type: ignore[method-assign]
        await fill(journal, [[BODY] * 11] * 2)  # into the second segment: the third is made, and its entry not synced
        await trio.sleep(2)
        assert not left
        await fill(journal, [[BODY] * 11] * 2)
        await durable(journal)
    fake.crash(keep_nothing=True)
    assert len(bodies(fake)) == 1 + 44
