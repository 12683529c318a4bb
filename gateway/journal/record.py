"""The layout of records, marks and headers in bytes: encodes them, and reads them back by their checksums. Pure.

The docstring of `gateway.journal` has the layout in prose. All integers are little-endian.
"""

import struct
from hashlib import blake2b

from msgspec import Struct

from gateway.disk import SECTOR_BYTES
from gateway.payments.steps import Kind

VERSION = 3
"""The format that is written. The docstring of `gateway.journal` says when it is raised."""
VERSION_MAX = 3
"""The newest format that is read. Newer ones are refused."""
assert VERSION <= VERSION_MAX
CHAIN_BYTES = 16
HEADER_BYTES = 4096
"""A segment's header has a page of its own, so that a batch never shares a sector with it."""
MARK_BYTES = 48
RECORD_BYTES_MIN = 44
"""A record without FPID and body."""
BATCH_BYTES_MAX = 1 << 20
"""Bytes of the records in one batch. Recovery relies on it: bytes further on were not written by the same batch."""
FPID_BYTES_MAX = 255

MAGIC = b"FPSJRNL\n"
MARK = 0xFF4B524D
"""`MRK` and 255. It stands where a record has its length, and is larger than any length."""
MARK_TEXT = MARK.to_bytes(4, "little")

HEAD = struct.Struct("<IQqIBBH")
"""Length of the whole record, position, time (ns since the epoch), link, kind, bytes of the FPID, zero."""
HEAD_BYTES = 28
assert HEAD.size == HEAD_BYTES
assert RECORD_BYTES_MIN == HEAD_BYTES + CHAIN_BYTES
_MARK_HEAD = struct.Struct("<IIQI")
_HEADER = struct.Struct("<8sIIQQQq16s16s")
_HEADER_SUM_AT = _HEADER.size
HEADER_USED_BYTES = _HEADER_SUM_AT + 16
assert HEADER_USED_BYTES < SECTOR_BYTES, "a header is there or not, never half"

KINDS: list[Kind | None] = [None] * 256
for _kind in Kind:
    KINDS[_kind] = _kind


class Record(Struct, frozen=True, gc=False):
    """A step on disk."""

    position: int
    """1, 2, 3 … without gaps, for the life of the journal."""
    time_ns: int
    """Time by the wall clock (ns since the epoch, UTC). It may step back between records, so it orders nothing."""
    kind: Kind
    link: int
    """Number of the link within the process run; 0 for none."""
    fpid: str
    """The payment; empty for none."""
    body: bytes
    """In the form that `steps.BODIES` gives for its kind."""
    chain: bytes
    """Sixteen bytes of BLAKE2b over the previous chain value and this record."""


class Damage(Exception):
    """These bytes are not the bytes that were written. `offset` is in the file."""

    def __init__(self, offset: int, position: int, what: str, end: int = 0) -> None:
        super().__init__(what)
        self.offset = offset
        self.position = position
        self.what = what
        self.end = end
        """The end that the bad record gives, as far as that can be believed."""


class Unknown(Exception):
    """Whole and correct, but from a newer gateway."""


class Mark(Struct, frozen=True, gc=False):
    """The mark before each batch."""

    size: int
    """Bytes of the records that follow."""
    first: int
    """Position of the first of them."""
    count: int
    chain: bytes
    """Chain value before that record."""


class Header(Struct, frozen=True, gc=False):
    """The first page of a segment."""

    number: int
    size: int
    """Bytes of the whole segment, as allocated."""
    first: int
    """Position of the first record."""
    created_ns: int
    journal: bytes
    """Sixteen random bytes that name the journal."""
    chain: bytes
    """Chain value before the first record."""
    version: int = VERSION


def chained(chain: bytes, record: bytes) -> bytes:
    """The chain value after a record (given without its own chain value)."""
    return blake2b(chain + record, digest_size=CHAIN_BYTES).digest()


def mark_bytes(journal: bytes, size: int, first: int, count: int, chain: bytes) -> bytes:
    """A mark without its last sixteen bytes, which are `chain`: the data of a batch begins with them anyway."""
    head = _MARK_HEAD.pack(MARK, size, first, count)
    return head + blake2b(journal + head + chain, digest_size=12).digest()


def mark_at(data: bytes, at: int, journal: bytes) -> Mark | None:
    """The mark of this journal at `at`, or None."""
    if len(data) - at < MARK_BYTES or not data.startswith(MARK_TEXT, at):
        return None
    head, chain = data[at : at + _MARK_HEAD.size], data[at + 32 : at + 48]
    if blake2b(journal + head + chain, digest_size=12).digest() != data[at + _MARK_HEAD.size : at + 32]:
        return None
    _, size, first, count = _MARK_HEAD.unpack(head)
    return Mark(size, first, count, chain)


def find_mark(data: bytes, start: int, journal: bytes) -> int:
    """The place of the next mark of this journal, at or after `start`; -1 when there is none."""
    at = data.find(MARK_TEXT, start)
    while at >= 0 and mark_at(data, at, journal) is None:
        at = data.find(MARK_TEXT, at + 1)
    return at


def header_bytes(header: Header) -> bytes:
    """The first page of a segment."""
    head = _HEADER.pack(
        MAGIC,
        header.version,
        0,
        header.number,
        header.size,
        header.first,
        header.created_ns,
        header.journal,
        header.chain,
    )
    return (head + blake2b(head, digest_size=16).digest()).ljust(HEADER_BYTES, b"\0")


def read_header(page: bytes) -> Header:
    """The header in a segment's first page. Raises `Damage`, and `Unknown` for a newer format."""
    if len(page) < HEADER_BYTES:
        raise Damage(0, 0, "the header is cut off", HEADER_USED_BYTES)
    magic, version, _, number, size, first, created_ns, journal, chain = _HEADER.unpack_from(page)
    if magic != MAGIC:
        raise Damage(0, 0, "this is not a segment header", HEADER_USED_BYTES)
    if version > VERSION_MAX:
        raise Unknown(f"format version {version}, this gateway reads {VERSION_MAX} and older")
    right = blake2b(page[:_HEADER_SUM_AT], digest_size=16).digest() == page[_HEADER_SUM_AT:HEADER_USED_BYTES]
    if not right or page[HEADER_USED_BYTES:].strip(b"\0"):
        raise Damage(0, 0, "the header's checksum does not fit", HEADER_USED_BYTES)
    return Header(number, size, first, created_ns, journal, chain, version)


def read_records(data: bytes, start: int, stop: int, base: int, position: int) -> list[Record]:
    """All records in `data[start:stop]`, verified. The chain value before them stands right before `start`.

    `base` is the offset of `data` in its file, `position` that of the first record. Raises `Damage` at the first bad
    record, `Unknown` for a kind from the future. A start spends most of its time in this loop.
    """
    view = memoryview(data)
    unpack_from, hashed, kinds = HEAD.unpack_from, blake2b, KINDS
    records: list[Record] = []
    keep = records.append
    at = start
    try:
        while at < stop:
            if stop - at < RECORD_BYTES_MIN:
                raise Damage(base + at, position, "too few bytes for a record", base + stop)
            length, said, time_ns, link, number, fpid_bytes, _ = unpack_from(data, at)
            end = at + length
            sum_at = end - CHAIN_BYTES
            body_at = at + HEAD_BYTES + fpid_bytes
            if end > stop or body_at > sum_at:
                raise Damage(base + at, position, "the record's length cannot be right", base + stop)
            chain = data[sum_at:end]
            if hashed(view[at - CHAIN_BYTES : sum_at], digest_size=CHAIN_BYTES).digest() != chain:
                raise Damage(base + at, position, "the record's checksum does not fit", base + end)
            if said != position:
                raise Damage(base + at, position, f"the record says that its position is {said}", base + end)
            kind = kinds[number]
            if kind is None:
                raise Unknown(f"position {position} is of kind {number}, format version {VERSION_MAX} has none such")
            keep(
                Record(said, time_ns, kind, link, data[at + HEAD_BYTES : body_at].decode(), data[body_at:sum_at], chain)
            )
            at = end
            position += 1
    except UnicodeDecodeError:
        raise Damage(base + at, position, "the record's FPID is no text", base + end) from None
    return records
