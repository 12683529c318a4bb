"""Reads segments from disk: finds them, reads all of them batch by batch, and says what lies where they stop.

Only reads, so it works beside a running gateway, too. `recovery` says what damage means, `committer` writes.
"""

from collections.abc import Iterator

from msgspec import Struct

from gateway.disk import Directory, File
from gateway.journal.manifest import Manifest
from gateway.journal.record import (
    BATCH_BYTES_MAX,
    HEADER_BYTES,
    MAGIC,
    MARK_BYTES,
    MARK_TEXT,
    Damage,
    Header,
    Mark,
    Record,
    Unknown,
    find_mark,
    mark_at,
    read_header,
    read_records,
)
from gateway.journal.recovery import TABLE, Corrupt, DamageVerdict, Newer, shape_of

WINDOW_BYTES = 4 << 20
"""Bytes read at once; at least one batch fits."""
assert WINDOW_BYTES >= BATCH_BYTES_MAX + MARK_BYTES


def name_of(number: int) -> str:
    """The file name of a segment."""
    return f"{number:010d}.segment"


def number_of(name: str) -> int | None:
    """The number of the segment in this file; None for another file."""
    stem, dot, ending = name.partition(".")
    return int(stem) if dot and ending == "segment" and len(stem) == 10 and stem.isdecimal() else None


class SegmentInfo(Struct, gc=False):
    """A segment that is in use."""

    number: int
    first: int
    """Position of its first record."""
    last: int
    """Position of its last record; `first - 1` when it has none yet."""
    end: int
    """Offset behind its last batch."""
    newest_ns: int
    """The latest time at which its newest record can have been written (`age`). During reading: the newest time in
    it."""
    size: int = 0
    """Bytes of the file, as allocated."""


class Torn(Struct, frozen=True):
    """An incomplete batch at the very end."""

    number: int
    offset: int
    """Where the batch begins; 0 when the segment's header is torn too."""
    end: int
    """The offset behind the last byte that is not zero."""
    position: int
    what: str


class Scan:
    """Reads the batches of one segment from `offset` on. After the iteration, `offset` and `damage` say where it
    stopped and why.
    """

    def __init__(self, file: File, journal: bytes, offset: int, position: int, chain: bytes | None) -> None:
        self.offset = offset
        self.position = position
        self.chain = chain
        """The chain value before the next record; None: believe the first mark."""
        self.damage: Damage | None = None
        self.batch_end = 0
        """The end of the damaged batch; 0 when its mark cannot be read."""
        self._file = file
        self._journal = journal

    def again(self) -> Iterator[list[Record]]:
        """Read on from where it stopped, in a file that is being written to."""
        self.damage, self.batch_end = None, 0
        yield from self

    def __iter__(self) -> Iterator[list[Record]]:
        """The records of one batch after another, verified. An empty mark gives an empty list."""
        window, base = b"", self.offset
        while True:
            at = self.offset - base
            mark = mark_at(window, at, self._journal)
            if mark is None or at + MARK_BYTES + mark.size > len(window):
                window, base = self._file.read(self.offset, WINDOW_BYTES), self.offset
                mark, at = mark_at(window, 0, self._journal), 0
            if mark is None:
                if any(window[:MARK_BYTES]):
                    self.damage = Damage(
                        self.offset, self.position, "there is no mark of a batch", self.offset + MARK_BYTES
                    )
                return
            try:
                batch = self._batch(mark, window, at, base)
            except Damage as damage:
                self.damage = damage
                self.batch_end = self.offset + MARK_BYTES + mark.size
                return
            self.offset += MARK_BYTES + mark.size
            yield batch

    def _batch(self, mark: Mark, window: bytes, at: int, base: int) -> list[Record]:
        start = at + MARK_BYTES
        stop = start + mark.size
        if mark.first != self.position or mark.size > BATCH_BYTES_MAX:
            what = f"a batch begins with position {mark.first}"
            raise Damage(self.offset, self.position, what, self.offset + MARK_BYTES)
        if self.chain is not None and mark.chain != self.chain:
            raise Damage(self.offset, self.position, "a batch does not continue the chain", self.offset + MARK_BYTES)
        if stop > len(window):
            window = window.ljust(stop, b"\0")
        batch = read_records(window, start, stop, base, self.position)
        if len(batch) != mark.count:
            what = f"a batch of {mark.count} records holds {len(batch)}"
            raise Damage(self.offset, self.position, what, self.offset + MARK_BYTES)
        self.chain = batch[-1].chain if batch else mark.chain
        self.position += len(batch)
        return batch


class Walk:
    """Reads and verifies every record of a journal, oldest first, batch by batch. Then its attributes describe the end.

    Raises `Corrupt` where the journal contradicts itself, `Newer`, `OSError`.
    """

    def __init__(self, directory: Directory, manifest: Manifest) -> None:
        self.segments: list[SegmentInfo] = []
        """The segments in use, oldest first."""
        self.unused: list[int] = []
        """The segments that were prepared but hold nothing yet."""
        self.torn: Torn | None = None
        self.position = 1 if manifest.oldest == 1 else 0
        """Position of the next record. Moves on after each segment, not during one. 0 while it is unknown."""
        self.chain = manifest.journal
        """The chain value before that position."""
        self._directory = directory
        self._manifest = manifest

    def __iter__(self) -> Iterator[list[Record]]:
        """The records of one batch after another."""
        numbers = [n for n in map(number_of, self._directory.names()) if n is not None and n >= self._manifest.oldest]
        last = self._last_used(numbers)
        if self._manifest.oldest not in numbers:
            raise self._corrupt(self._manifest.oldest, 0, 1, "the file is missing")
        if last is None:
            if self._manifest.oldest != 1:
                raise self._corrupt(
                    self._manifest.oldest, 0, 0, "the file is empty, yet older ones were used and deleted"
                )
            self._check_unused(0)
            return
        for number in range(self._manifest.oldest, last + 1):
            if number not in numbers:
                raise self._corrupt(number, 0, self.position, "the file is missing")
            yield from self._segment(number, last=number == last)
            if self.torn is not None:
                break
        self._check_unused(last)

    def _check_unused(self, last: int) -> None:
        """Check that at most one segment is unused: each is made when the first batch of its predecessor is durable."""
        lost = last if self.torn is not None and not self.torn.offset else last + 1
        if self.unused and self.unused[-1] > lost:
            what = f"it holds nothing, yet {name_of(self.unused[-1])} was made, so something in it was durable"
            raise self._corrupt(lost, 0, self.position, what)

    def _last_used(self, numbers: list[int]) -> int | None:
        for number in reversed(numbers):
            file = self._directory.open(name_of(number))
            try:
                if any_from(file, 0):
                    self.unused.reverse()
                    return number
            finally:
                file.close()
            self.unused.append(number)
        self.unused.reverse()
        return None

    def _segment(self, number: int, *, last: bool) -> Iterator[list[Record]]:
        file = self._directory.open(name_of(number))
        try:
            header = self._header(file, number, last=last)
            if header is None:
                return
            if not self.segments:
                self.position, self.chain = header.first, header.chain
            info = SegmentInfo(number, header.first, header.first - 1, HEADER_BYTES, 0, header.size)
            scan = Scan(file, self._manifest.journal, HEADER_BYTES, header.first, header.chain)
            try:
                for batch in scan:
                    if batch:
                        info.newest_ns = max(info.newest_ns, batch[0].time_ns, batch[-1].time_ns)
                    yield batch
            except Unknown as unknown:
                what = f"segment {name_of(number)}: {unknown}"
                raise Newer(self._directory.path, self._manifest.writer, what) from unknown
            info.end, info.last = scan.offset, scan.position - 1
            self.position, self.chain = scan.position, scan.chain or header.chain
            if scan.damage is None and any_from(file, scan.offset):
                what = "there is no mark of a batch"
                scan.damage = Damage(scan.offset, scan.position, what, scan.offset + MARK_BYTES)
            if scan.damage is not None:
                self._judge(file, number, scan.offset, scan.batch_end, scan.damage, last=last)
            self.segments.append(info)
        finally:
            file.close()

    def _header(self, file: File, number: int, *, last: bool) -> Header | None:
        """The header, or None when the segment's first write was torn."""
        page, size = file.read(0, HEADER_BYTES), file.size()
        if len(page) < HEADER_BYTES:
            raise self._corrupt(number, len(page), self.position, "the file ends within the segment's header")
        try:
            header = read_header(page)
        except Unknown as unknown:
            # a gateway writes the number of a newer format into the manifest first
            what = f"the header says {unknown}, and the manifest {self._manifest.format}"
            raise self._corrupt(number, 0, self.position, what) from unknown
        except Damage as damage:
            damage.position = self.position
            self._judge(file, number, 0, 0, damage, last=last)
            return None
        if header.version > self._manifest.format:
            what = f"the header says format version {header.version}, and the manifest {self._manifest.format}"
            raise self._corrupt(number, 0, self.position, what)
        if header.number != number:
            raise self._corrupt(number, 0, self.position, f"the header says that it is segment {header.number}")
        if size < header.size:
            # a lost write does not shorten a file, and nobody knows how many durable records are gone with its end
            what = f"the file ends there, and its header says that it has {header.size} bytes"
            raise self._corrupt(number, size, self.position, what)
        if header.journal != self._manifest.journal:
            raise self._corrupt(number, 0, self.position, "the segment belongs to another journal")
        if what := self._discontinuity(header):
            raise self._corrupt(number, 0, self.position, what)
        return header

    def _discontinuity(self, header: Header) -> str:
        """The reason why this segment does not continue the one before; empty if it does."""
        if not self.segments:
            wrong = header.number == 1 and (header.first != 1 or header.chain != self._manifest.journal)
            return "the first segment does not begin at position 1" if wrong else ""
        if header.first < self.position:
            return f"it begins at position {header.first}, which the segment before holds already: they overlap"
        if header.first > self.position:
            return f"positions {self.position} to {header.first - 1} are missing at the end of the segment before"
        return "" if header.chain == self.chain else "it does not continue the chain of the segment before"

    def _judge(self, file: File, number: int, batch: int, batch_end: int, damage: Damage, *, last: bool) -> None:
        """Decide by the table: set `torn`, or raise `Corrupt`."""
        journal = self._manifest.journal
        body = batch or HEADER_BYTES
        begins = b"" if batch_end else MARK_TEXT if batch else MAGIC
        extent_end = batch_end or body + MARK_BYTES + BATCH_BYTES_MAX
        if batch and (size := read_header(file.read(0, HEADER_BYTES)).size) < extent_end:
            extent_end = size if batch + MARK_BYTES <= size else batch  # no batch begins where no mark fits
        bad_end = min(damage.end, extent_end)
        data = file.read(batch, extent_end - batch)
        facts = (
            last,
            mark_from(file, body + 1, journal) >= 0,
            any_from(file, extent_end),
            shape_of(data, batch, damage.offset, bad_end, extent_end, begins),
        )
        verdict, why = TABLE[facts]
        if not self.position and not batch:
            verdict, why = DamageVerdict.CORRUPT, "retention deletes only what is older than a segment in use"
        if verdict is DamageVerdict.CORRUPT:
            raise self._corrupt(number, damage.offset, damage.position, f"{damage.what}; {why}")
        end = 1 + last_from(file, batch)
        self.torn = Torn(number, batch, end, self.position, f"{damage.what}; {why}")

    def _corrupt(self, number: int, offset: int, position: int, what: str) -> Corrupt:
        return Corrupt(self._directory.path, name_of(number), offset, position, what)


_ZEROS = bytes(WINDOW_BYTES)


def _windows(file: File, offset: int, overlap: int = 0) -> Iterator[tuple[int, bytes]]:
    while window := file.read(offset, WINDOW_BYTES):
        yield offset, window
        if len(window) < WINDOW_BYTES:
            return
        offset += WINDOW_BYTES - overlap


def any_from(file: File, offset: int) -> bool:
    """Whether any byte from `offset` on is not zero."""
    return any(window != _ZEROS[: len(window)] for _, window in _windows(file, offset))


def last_from(file: File, offset: int) -> int:
    """The offset of the last byte that is not zero; `offset - 1` when all are zero."""
    found = offset - 1
    for base, window in _windows(file, offset):
        if kept := len(window.rstrip(b"\0")):
            found = base + kept - 1
    return found


def mark_from(file: File, offset: int, journal: bytes) -> int:
    """The offset of the next mark of this journal; -1 when there is none."""
    for base, window in _windows(file, offset, MARK_BYTES - 1):
        if (at := find_mark(window, 0, journal)) >= 0:
            return base + at
    return -1
