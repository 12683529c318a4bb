"""A start cuts what a lost write explains, at the very end alone: every row of the table, and every flipped bit."""

import itertools
import random

import pytest

from gateway import log
from gateway.errors import JournalFault, Refusal
from gateway.journal.record import (
    HEADER_BYTES,
    MARK_BYTES,
)
from gateway.journal.recovery import TABLE, DamageVerdict, Shape, shape_of
from gateway.journal.segment import name_of
from tests.fakes.journal import DIR, bodies, build, read
from tests.journal.damaging import FIRST, FIVE, SECTOR, THREE, batches, big, content, evidence

# --- the table


def test_the_table_is_whole() -> None:
    """Every combination of facts has a verdict and a reason."""
    every = set(itertools.product((False, True), (False, True), (False, True), Shape))
    assert set(TABLE) == every
    assert all(why for _, why in TABLE.values())


@pytest.mark.parametrize(("facts", "verdict"), [(facts, verdict) for facts, (verdict, _) in TABLE.items()])
def test_only_a_lost_write_at_the_very_end_is_torn(
    facts: tuple[bool, bool, bool, Shape], verdict: DamageVerdict
) -> None:
    """Torn: the last segment, nothing after the batch, and bytes that a lost write explains. All else is corrupt."""
    last, later, beyond, shape = facts
    torn = last and not later and not beyond and shape is not Shape.CHANGED
    assert verdict is (DamageVerdict.TORN if torn else DamageVerdict.CORRUPT)


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        (b"x" * 2048, Shape.CHANGED),
        (b"x" * 512 + bytes(512) + b"x" * 1024, Shape.LOST),
        (b"x" * 700 + bytes(1348), Shape.LOST),
        (b"x" * 2000 + bytes(48), Shape.CUT),
        (bytes(2048), Shape.LOST),
        (b"x" * 600, Shape.LOST),  # the file ends there
        (b"x" * 600 + bytes(100) + b"x" * 1348, Shape.CHANGED),  # zeros, but no whole sector of them
    ],
)
def test_the_shape_of_damage(data: bytes, shape: Shape) -> None:
    """A whole sector of zeros was lost; zeros up to the end were cut; anything else was changed."""
    assert shape_of(data, 4096, 4096, 6144, 6144) is shape


# --- no damage


def test_an_empty_journal_opens() -> None:
    """A new journal has no records, and opening it again changes nothing."""
    disk = build([])
    assert read(disk) == []
    assert read(disk) == []


def test_a_zero_tail_is_the_end() -> None:
    """A complete record followed by zeros is what a journal in use looks like."""
    disk = build(THREE)
    assert not any(content(disk)[batches(disk)[-1][1] :])
    assert bodies(disk) == FIVE


def test_a_segment_preallocated_but_unused_is_the_next() -> None:
    """The segment after the current one is there, holds zeros, and is no gap."""
    disk = build(THREE)
    assert FIRST in disk.directories[DIR].files
    assert not any(content(disk, name_of(2)))
    assert bodies(disk) == FIVE


def test_an_empty_segment_file_at_the_end_is_the_next() -> None:
    """A crash while the next segment was made leaves an empty file; it is filled anew."""
    disk = build(THREE)
    content(disk, name_of(2)).clear()
    assert bodies(disk) == FIVE


def test_a_clean_stop_ends_with_an_empty_mark() -> None:
    """After `aclose` a mark without records says that all before it was durable."""
    disk = build(THREE, clean=True)
    start, end = batches(disk)[-1]
    assert end - start == MARK_BYTES
    assert bodies(disk) == FIVE


# --- torn: the very end, explained by a lost write


def test_cut_at_every_byte_of_the_last_batch() -> None:
    """Wherever a write stopped, what was durable is there, what was not is cut, and the journal goes on."""
    whole = build(THREE)
    start, end = batches(whole)[-1]
    for cut in range(start, end):
        disk = build(THREE)
        data = content(disk)
        kept = bytes(data[start:cut])
        data[cut:] = bytes(len(data) - cut)
        assert bodies(disk) == FIVE[:3], cut
        assert b"".join(evidence(disk)) == kept.rstrip(b"\0"), cut
        assert not any(content(disk)[start:]), cut
        assert len(content(disk)) == 65536
        assert bodies(disk) == FIVE[:3], cut


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_a_lost_sector_in_the_middle_of_the_last_batch_is_torn(count: int) -> None:
    """An unsynced batch may miss any sectors on disk while later ones are there: good records follow the bad one."""
    start, end = batches(build([[b"before"], big(6)]))[-1]
    inner = range(start - start % SECTOR + SECTOR, end - SECTOR, SECTOR)
    chance = random.Random(count)  # noqa: S311  which sectors
    for _ in range(20):
        disk = build([[b"before"], big(6)])
        for at in chance.sample(inner, count):
            content(disk)[at : at + SECTOR] = bytes(SECTOR)
        assert bodies(disk) == [b"before"]
        assert len(evidence(disk)) == 1


def test_a_lost_first_sector_of_the_last_batch_is_torn() -> None:
    """Even when its mark is what was lost."""
    disk = build([[b"before"], big(3)])
    start = batches(disk)[-1][0]
    content(disk)[start : start - start % SECTOR + SECTOR] = bytes(SECTOR - start % SECTOR)
    assert bodies(disk) == [b"before"]


def test_a_torn_first_write_of_a_segment_is_torn() -> None:
    """The header and the first batch are one write: without the header the segment is as if it had not been begun."""
    disk = build([big(19), big(3)])
    assert batches(disk, name_of(2))
    disk.directory(DIR).remove(name_of(3))  # it would not have been made yet
    content(disk, name_of(2))[:SECTOR] = bytes(SECTOR)
    assert bodies(disk) == big(19)
    assert not any(content(disk, name_of(2)))
    assert bodies(disk) == big(19)


def test_a_torn_first_batch_behind_a_good_header_is_torn() -> None:
    """The header of a segment survives the loss of its first batch."""
    disk = build([big(19), big(3)])
    content(disk, name_of(2))[HEADER_BYTES + 1024 : HEADER_BYTES + 2048] = bytes(1024)
    assert bodies(disk) == big(19)
    assert bodies(disk) == big(19)


def test_a_torn_first_batch_of_a_journal_leaves_it_empty() -> None:
    """Nothing was durable, nothing was promised."""
    for lost in (0, 1024 + HEADER_BYTES):
        disk = build([big(3)])
        disk.directory(DIR).remove(name_of(2))  # it would not have been made yet
        content(disk)[lost : lost + 512] = bytes(512)
        assert bodies(disk) == []


def test_the_log_says_what_was_cut() -> None:
    """Where, how much, from which position on."""
    lines: list[bytes] = []
    log.configure(
        "info", "json", type("W", (log.Writer,), {"__init__": lambda _: None, "write": lambda _, x: lines.append(x)})()
    )
    disk = build(THREE)
    start = batches(disk)[-1][0]
    content(disk)[start + 60 :] = bytes(65536 - start - 60)
    read(disk)
    line = next(line for line in lines if b"torn tail cut" in line)
    assert b'"position":4' in line
    assert f'"where":"offset {start}"'.encode() in line
    assert b'"segment":"0000000001.segment"' in line


def test_evidence_is_limited() -> None:
    """A process that is started and dies again and again does not fill the disk with evidence."""
    disk = build([[b"before"]])
    end = batches(disk)[-1][1]
    for turn in range(40):
        content(disk)[end : end + 5] = b"MRK\xff" + bytes([turn + 1])
        assert bodies(disk) == [b"before"]
    assert len(evidence(disk)) == 16
    assert evidence(disk)[-1] == b"MRK\xff\x28"


# --- everything at once


def test_every_flipped_bit_is_found_or_cut() -> None:
    """Flip any bit of a small journal: the start refuses, or cuts the end; what it hands over is always true."""
    whole = build([[b"one", b"two"], [b"three"]])
    end = batches(whole)[-1][1]
    original = bytes(content(whole))
    outcomes = {"refused": 0, "cut": 0}
    for at in [*range(96), *range(HEADER_BYTES, end + 64)]:
        for bit in range(8):
            disk = whole
            content(disk)[:] = original
            content(disk)[at] ^= 1 << bit
            try:
                found = bodies(disk)
            except (JournalFault, Refusal):
                outcomes["refused"] += 1
            else:
                outcomes["cut"] += 1
                assert found == FIVE[: len(found)]
                assert len(evidence(disk)) >= 1
    assert outcomes["refused"] > 100 * outcomes["cut"]
