"""One durable record is found by its position, verified, for a person."""

from typing import Any

import pytest
import trio
import trio.testing

from gateway.errors import JournalFault
from gateway.journal.age import BELIEVED_AFTER_S
from gateway.journal.record import HEADER_BYTES
from gateway.journal.segment import name_of
from gateway.payments.steps import Kind
from tests.fakes.disk import FakeDisk
from tests.fakes.journal import DIR, WALL_NS, durable, fill, running
from tests.journal.conftest import Place
from tests.journal.following import ALL, LATER_NS, SHORT, take, write
from tests.journal.test_retention import three_segments


async def life_of(life: Any, *, clean: bool) -> None:
    """For trio.run."""
    await life(clean=clean)


# --- one record, for a person


async def test_any_record_that_is_durable_can_be_looked_at(place: Place) -> None:
    """A record is found by its position in any segment, without a cursor. One that is not there (yet) is None."""
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
    """A segment that retention deletes during the reading is no fault of the disk."""
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
