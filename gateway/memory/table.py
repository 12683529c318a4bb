"""Names and a few bytes about each of them, for millions of names. Pure.

A name is kept as sixteen bytes of its BLAKE2b: no two names will have the same, and no name can be read from memory.
Entries have one width and lie one after another in buckets. A bucket is a `bytearray` of some dozen entries, which
`find` searches. So no name is an object that costs memory and that the garbage collector looks at. Buckets have few
sizes, so that the room that one leaves behind when it grows fits another.

The table grows by linear hashing: every few dozen entries one bucket is split in two. Growth never moves more entries
than one bucket holds, so it never pauses.

Each entry has a mark of one byte. Dropping a mark takes no time; its entries leave later, one bucket with each `put`.
"""

import struct
from array import array
from collections.abc import Iterable
from hashlib import blake2b

_DIGEST_BYTES = 16
_BUCKET_ENTRIES = 32
"""On average. Fewer cost memory (each bucket is an object), more cost time (each is searched from its beginning)."""
_STEP_ENTRIES = 8
"""A bucket grows by this many at once."""
_MARKS = tuple(bytes([mark]) for mark in range(256))
_EMPTY = blake2b(digest_size=_DIGEST_BYTES, person=b"fps-table")


def _digest(name: str) -> bytes:
    digest = _EMPTY.copy()  # takes less time than a new one
    digest.update(name.encode())
    return digest.digest()


class Table:
    """Name → value, all values of the same width."""

    __slots__ = (
        "_buckets",
        "_counts",
        "_dropped",
        "_entries",
        "_hand",
        "_mask",
        "_room",
        "_used",
        "_value_bytes",
        "_walk",
        "_width",
    )

    def __init__(self, value_bytes: int) -> None:
        self._value_bytes = value_bytes
        self._width = _DIGEST_BYTES + value_bytes + 1
        """Of an entry: digest, value, mark."""
        self._walk = struct.Struct(f"{_DIGEST_BYTES}s{value_bytes + 1}s").iter_unpack
        self._buckets = [bytearray()]
        """Zeros behind the entries."""
        self._used = array("H", [0])
        """Bytes of each that are entries."""
        self._mask = 0
        """The least 2^n - 1 that reaches every bucket."""
        self._entries = 0
        """Including those that are still to leave."""
        self._room = _BUCKET_ENTRIES
        """Entries at which the next bucket is due."""
        self._counts = [0] * len(_MARKS)
        """Names, by mark."""
        self._dropped = set[int]()
        """Marks whose entries are to leave."""
        self._hand = 0
        """The bucket that dropped entries leave next; the buckets before it have none."""

    def __len__(self) -> int:
        return sum(self._counts)

    def __repr__(self) -> str:
        return f"<Table of {len(self)}>"

    def get(self, name: str) -> tuple[bytes, int] | None:
        """The value that is kept under this name, and its mark."""
        digest = _digest(name)
        # Python hashes bytes with a secret of the process: nobody can choose names that fill one bucket
        number = hash(digest) & self._mask
        bucket = self._buckets[number if number < len(self._buckets) else number & self._mask >> 1]
        at = bucket.find(digest)
        if at > 0 and at % self._width:
            at = self._aligned(bucket, digest)
        if at < 0:
            return None
        mark_at = at + self._width - 1
        mark = bucket[mark_at]
        if self._dropped and mark in self._dropped:
            return None
        return bytes(bucket[at + _DIGEST_BYTES : mark_at]), mark

    def put(self, name: str, value: bytes, mark: int) -> None:
        """Keep; what was kept before under this name is replaced. Raises `ValueError` for a value of another width."""
        if len(value) != self._value_bytes:
            raise ValueError("this value would shear all that lies behind it")
        if self._dropped:
            self._sweep(mark)
        digest = _digest(name)
        entry = digest + value + _MARKS[mark]
        number = hash(digest) & self._mask
        bucket = self._buckets[number if number < len(self._buckets) else number & self._mask >> 1]
        at = bucket.find(digest)
        if at > 0 and at % self._width:
            at = self._aligned(bucket, digest)
        self._counts[mark] += 1
        if at < 0:
            self._append(number if number < len(self._buckets) else number & self._mask >> 1, entry)
            self._entries += 1
            if self._entries > self._room:
                self._split()
        else:
            before = bucket[at + self._width - 1]
            if before not in self._dropped:
                self._counts[before] -= 1
            bucket[at : at + self._width] = entry

    def drop(self, mark: int) -> None:
        """Forget all that is kept under this mark."""
        self._counts[mark] = 0
        self._dropped.add(mark)
        self._hand = 0

    def _append(self, number: int, entry: bytes) -> None:
        bucket, used = self._buckets[number], self._used[number]
        end = used + self._width
        if end > len(bucket):
            self._buckets[number] = bytearray(bucket + entry + bytes((_STEP_ENTRIES - 1) * self._width))
        else:
            bucket[used:end] = entry
        self._used[number] = end

    def _fill(self, number: int, parts: Iterable[bytes]) -> None:
        """Give a bucket these entries."""
        entries = b"".join(parts)
        step = _STEP_ENTRIES * self._width
        self._buckets[number] = bytearray(entries + bytes(-len(entries) % step))
        self._used[number] = len(entries)

    def _entries_of(self, number: int) -> Iterable[tuple[bytes, bytes]]:
        """Digest, and value and mark."""
        pairs: Iterable[tuple[bytes, bytes]] = self._walk(bytes(self._buckets[number][: self._used[number]]))
        return pairs

    def _aligned(self, bucket: bytearray, digest: bytes) -> int:
        """Where the entry begins; -1 when there is none. For the case that an entry's inside looks like a digest."""
        at = bucket.find(digest)
        while at >= 0 and at % self._width:
            at = bucket.find(digest, at + 1)
        return at

    def _split(self) -> None:
        """One bucket more: it gets its share of the one whose numbers it had until now."""
        number = len(self._buckets)
        if number > self._mask:
            self._mask = 2 * self._mask + 1
        parent = number & self._mask >> 1
        mask = self._mask
        stay: list[bytes] = []
        go: list[bytes] = []
        for digest, rest in self._entries_of(parent):
            half = go if hash(digest) & mask == number else stay
            half += digest, rest
        self._buckets.append(bytearray())
        self._used.append(0)
        self._fill(parent, stay)
        self._fill(number, go)
        self._room += _BUCKET_ENTRIES

    def _sweep(self, mark: int) -> None:
        """What was dropped leaves the next bucket; or all of them, when its mark is wanted again so soon."""
        buckets, used, width, dropped = self._buckets, self._used, self._width, self._dropped
        until = len(buckets) if mark in dropped else self._hand + 1
        for number in range(self._hand, until):
            if not dropped.isdisjoint(buckets[number][width - 1 : used[number] : width]):
                stay = [digest + rest for digest, rest in self._entries_of(number) if rest[-1] not in dropped]
                self._entries -= used[number] // width - len(stay)
                self._fill(number, stay)
        self._hand = until
        if until == len(buckets):
            dropped.clear()
