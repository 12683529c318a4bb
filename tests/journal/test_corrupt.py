"""Damage that no lost write explains is refused, the place is named, and nothing is changed."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from gateway.journal.manifest import Manifest, create_manifest
from gateway.journal.record import (
    HEADER_BYTES,
    MARK_BYTES,
    VERSION,
    header_bytes,
    read_header,
)
from gateway.journal.segment import name_of
from tests.fakes.disk import FakeDisk
from tests.fakes.journal import DIR, ID, SETTINGS, build
from tests.journal.damaging import FIRST, SECTOR, THREE, batches, big, content, refused


@pytest.mark.parametrize("lost", ["removed", "emptied", "zeros", "its header"])
def test_a_last_segment_that_holds_nothing_is_corrupt_when_the_next_was_made(lost: str) -> None:
    """The next one is made when the first batch of the last is durable: as if it had not been begun it cannot be."""
    disk = build([big(19), big(3)])
    assert name_of(3) in disk.directories[DIR].files
    if lost == "removed":
        disk.directory(DIR).remove(name_of(2))
    elif lost == "emptied":
        content(disk, name_of(2)).clear()
    else:
        size = SECTOR if lost == "its header" else 65536
        content(disk, name_of(2))[:size] = bytes(size)
    fault = refused(disk)
    assert (fault.segment, fault.position) == (name_of(2), 20)
    assert "0000000003.segment was made" in fault.what


def test_a_journal_of_one_segment_that_holds_nothing_is_corrupt_when_the_next_was_made() -> None:
    """Nor can the first one."""
    disk = build(THREE)
    content(disk)[:] = bytes(65536)
    assert "0000000002.segment was made" in refused(disk).what


def test_a_file_that_ends_before_its_segment_is_corrupt() -> None:
    """No lost write shortens a file. Wherever it was cut, at the end of a batch, too: what was durable may be gone."""
    start, end = batches(build(THREE))[1]
    for cut in (1, 100, HEADER_BYTES - 1, HEADER_BYTES, start, start + 20, end, 65535):
        disk = build(THREE)
        del content(disk)[cut:]
        fault = refused(disk)
        assert fault.offset == cut
        assert "the file ends" in fault.what


def test_a_bad_record_with_a_later_batch_behind_it_is_corrupt() -> None:
    """The later batch was written after the sync of the one before: this record was durable."""
    disk = build(THREE)
    start, end = batches(disk)[1]
    content(disk)[end - 20] ^= 1
    fault = refused(disk)
    assert (fault.segment, fault.offset, fault.position) == (FIRST, start + MARK_BYTES, 3)
    assert "checksum" in fault.what
    assert "later batch" in fault.what


def test_zeros_with_a_later_batch_behind_them_are_corrupt() -> None:
    """A durable sector that reads as zeros is not torn."""
    disk = build([[b"before"], big(1), [b"after"]])
    start, end = batches(disk)[1]
    at = start - start % SECTOR + SECTOR
    content(disk)[at : at + SECTOR] = bytes(SECTOR)
    assert "later batch" in refused(disk).what
    content(disk)[start:end] = bytes(end - start)
    assert "later batch" in refused(disk).what


def test_a_changed_byte_in_the_last_batch_is_corrupt() -> None:
    """No lost write changes a byte and keeps its neighbours."""
    disk = build([[b"before"], big(1)])
    start, _ = batches(disk)[-1]
    content(disk)[start + 1000] ^= 0x40
    fault = refused(disk)
    assert (fault.offset, fault.position) == (start + MARK_BYTES, 2)
    assert "changed" in fault.what


def test_after_a_clean_stop_nothing_is_torn() -> None:
    """The empty mark at the end proves that the last batch was durable: lost sectors in it are corruption."""
    disk = build([[b"before"], big(3)], clean=True)
    start, _ = batches(disk)[-2]
    at = start - start % SECTOR + SECTOR
    content(disk)[at : at + SECTOR] = bytes(SECTOR)
    assert "later batch" in refused(disk).what


def test_damage_in_an_older_segment_is_corrupt() -> None:
    """Damage where a later segment is in use says exactly where, whatever it looks like."""
    for at in (0, 40, HEADER_BYTES, HEADER_BYTES + 600, HEADER_BYTES + 19 * 3000):
        for size in (1, SECTOR):
            disk = build([big(19), big(3)])
            data = content(disk)
            data[at : at + size] = bytes(b ^ 0xFF for b in data[at : at + size]) if size == 1 else bytes(size)
            assert refused(disk).segment == FIRST


def test_a_missing_segment_is_corrupt() -> None:
    """The first, one in the middle: the file is named."""
    for gone in (1, 2):
        disk = build([big(19), big(19), big(19)])
        del disk.directories[DIR].files[name_of(gone)]
        fault = refused(disk)
        assert fault.segment == name_of(gone)
        assert "missing" in fault.what


def test_an_empty_segment_in_the_middle_is_corrupt() -> None:
    """Empty or all zeros: a later one is in use, so this one was."""
    for keep in (0, 65536):
        disk = build([big(19), big(19), big(19)])
        content(disk, name_of(2))[:] = bytes(keep)
        assert refused(disk).segment == name_of(2)


def test_the_last_segment_lost_and_another_in_its_place() -> None:
    """A segment of another journal, or of this one under another name, is recognised."""
    disk, other = build([big(19), big(3)]), build([big(19), big(3)])
    header = read_header(bytes(content(other, name_of(2))[:HEADER_BYTES]))
    files = disk.directories[DIR].files
    files[name_of(2)].content[:HEADER_BYTES] = header_bytes(replace(header, journal=b"x" * 16))
    assert "another journal" in refused(disk).what
    files[name_of(2)].content[:] = files[name_of(1)].content
    assert "says that it is segment 1" in refused(disk).what


def changed_header(disk: FakeDisk, number: int, **changes: Any) -> None:
    """Write a header that is right in itself, but for what it says."""
    header = read_header(bytes(content(disk, name_of(number))[:HEADER_BYTES]))
    content(disk, name_of(number))[:HEADER_BYTES] = header_bytes(replace(header, **changes))


def test_overlapping_segments_are_corrupt() -> None:
    """Two segments that hold the same position."""
    disk = build([big(19), big(3)])
    changed_header(disk, 2, first=19)
    assert "overlap" in refused(disk).what


def test_missing_positions_between_segments_are_corrupt() -> None:
    """The end of a segment is gone, cleanly: its successor shows it."""
    disk = build([big(10), big(9), big(19)])
    start, end = batches(disk)[-1]
    content(disk)[start:end] = bytes(end - start)
    assert "positions 11 to 19 are missing" in refused(disk).what


def test_a_wrong_chain_between_segments_is_corrupt() -> None:
    """A segment that was whole in another history."""
    disk = build([big(19), big(3)])
    changed_header(disk, 2, chain=b"x" * 16)
    assert "does not continue the chain" in refused(disk).what


def test_the_first_segment_begins_with_the_journal() -> None:
    """Position 1, and the journal's name as chain value."""
    disk = build(THREE)
    changed_header(disk, 1, first=2)
    assert "position 1" in refused(disk).what


@pytest.mark.parametrize("format_of_manifest", [VERSION, VERSION - 1])
def test_a_segment_newer_than_the_manifest_says_is_corrupt(format_of_manifest: int) -> None:
    """The manifest is the first to say that a newer gateway writes, and with it that is a refusal."""
    disk = build(THREE)
    newer = format_of_manifest + 1
    create_manifest(disk.directory(DIR), Manifest(journal=ID, format=format_of_manifest))
    changed_header(disk, 1, version=newer)
    fault = refused(disk)
    assert fault.segment == name_of(1)
    assert f"the header says format version {newer}" in fault.what
    assert fault.what.endswith(f"and the manifest {format_of_manifest}")


def test_garbage_behind_the_end_is_corrupt() -> None:
    """Bytes after the last batch that no torn batch can be: no mark at its start, or too far away."""
    disk = build(THREE)
    end = batches(disk)[-1][1]
    content(disk)[end : end + 3] = b"abc"
    assert refused(disk).offset == end
    large = msgspec.structs.replace(SETTINGS, segment_bytes=3 << 20)
    disk = build(THREE, settings=large)
    content(disk)[2 << 20] = 1
    assert "more lies behind it" in refused(disk).what


def test_garbage_at_the_end_of_a_full_segment_is_corrupt() -> None:
    """Nothing can be torn where no mark fits any more."""
    room = 65536 - HEADER_BYTES - MARK_BYTES - 42 - 44
    disk = build([[b"x" * (room - 20)]])
    content(disk)[-10] = 1
    assert refused(disk).offset == 65516
