"""A journal on a fake disk, looked at and damaged byte by byte."""

import pytest

from gateway.journal.record import (
    HEADER_BYTES,
    MARK_BYTES,
    mark_at,
)
from gateway.journal.recovery import Corrupt
from gateway.journal.segment import name_of
from tests.fakes.disk import FakeDisk
from tests.fakes.journal import DIR, ID, read

SECTOR = 512

FIRST = name_of(1)

THREE = [[b"one", b"two"], [b"three"], [b"four", b"five"]]

FIVE = [b"one", b"two", b"three", b"four", b"five"]


def content(disk: FakeDisk, name: str = FIRST) -> bytearray:
    """A file of the journal, to look at and to damage."""
    return disk.directories[DIR].files[name].content


def files(disk: FakeDisk) -> dict[str, bytes]:
    """All that is in the directory."""
    return {name: bytes(blob.content) for name, blob in disk.directories[DIR].files.items()}


def batches(disk: FakeDisk, name: str = FIRST) -> list[tuple[int, int]]:
    """The beginning and end of each batch of a segment."""
    data, at, found = bytes(content(disk, name)), HEADER_BYTES, []
    while (mark := mark_at(data, at, ID)) is not None:
        found.append((at, at + MARK_BYTES + mark.size))
        at = found[-1][1]
    return found


def big(count: int, size: int = 3000) -> list[bytes]:
    """Bodies that span sectors, with no zeros in them."""
    return [bytes([65 + n % 26]) * size for n in range(count)]


def evidence(disk: FakeDisk) -> list[bytes]:
    """The torn tails that starts have kept."""
    files = disk.directories[DIR].files
    return [bytes(files[name].content) for name in sorted(files) if name.endswith(".torn")]


# --- corrupt: refused, and said where


def refused(disk: FakeDisk) -> Corrupt:
    """The start refuses, twice the same, and changes nothing."""
    before = {name: bytes(blob.content) for name, blob in disk.directories[DIR].files.items()}
    with pytest.raises(Corrupt) as caught:
        read(disk)
    with pytest.raises(Corrupt) as again:
        read(disk)
    assert str(caught.value) == str(again.value)
    assert {name: bytes(blob.content) for name, blob in disk.directories[DIR].files.items()} == before
    assert caught.value.segment in str(caught.value)
    return caught.value
