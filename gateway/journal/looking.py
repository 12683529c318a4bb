"""Reads a journal beside its gateway, which may write to it and delete from it meanwhile.

It takes no lock and changes nothing. A batch that is just being written may look like anything: so damage counts only
when it is still there at a second look.
"""

import sys
import time
from collections.abc import Iterator

from gateway.disk import Directory, File
from gateway.errors import Refusal
from gateway.journal.manifest import Manifest, read_manifest
from gateway.journal.record import HEADER_BYTES, Damage, Header, Record, Unknown, read_header
from gateway.journal.recovery import Corrupt, Newer
from gateway.journal.segment import Scan, Walk, name_of, number_of
from gateway.machine import console

PROGRESS_EVERY_S = 0.1
LOOKS_MAX = 5
"""Readings of the whole journal at most, when a running gateway deletes segments meanwhile."""


def manifest_of(directory: Directory) -> Manifest:
    """The manifest. Raises `ValueError` when there is none: no journal is here."""
    manifest = read_manifest(directory)
    if manifest is None:
        raise ValueError(f"{directory.path} holds no journal")
    return manifest


# --- all of it, verified


class Watch:
    """Hears of each batch."""

    def batch(self, walk: Walk, records: list[Record]) -> None:
        """A batch was read."""

    def again(self) -> None:
        """All is read again, from the start."""

    def end(self) -> None:
        """Nothing more is read."""


def look(directory: Directory, watch: Watch) -> Walk:
    """Walk through a whole journal, also one that is being written to. Raises `Corrupt`, `Refusal`, `OSError`."""
    seen: tuple[str, int] | None = None
    for _ in range(LOOKS_MAX):
        walk = Walk(directory, manifest_of(directory))
        try:
            for records in walk:
                watch.batch(walk, records)
            watch.end()
        except FileNotFoundError:
            seen = None  # retention deleted it just now
        except Corrupt as corrupt:
            if seen == (corrupt.segment, corrupt.offset):
                raise
            seen = corrupt.segment, corrupt.offset
        else:
            return walk
        watch.again()
    raise Refusal(f"{directory.path} changes faster than it can be read")


class Progress(Watch):
    """A line on a terminal."""

    def __init__(self, segments: int) -> None:
        self._segments = max(segments, 1)
        self._records = 0
        self._next_s = 0.0

    def batch(self, walk: Walk, records: list[Record]) -> None:
        """Say how far it is, now and then."""
        self._records += len(records)
        now_s = time.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + PROGRESS_EVERY_S
            done = len(walk.segments) + 1
            console.rewrite(f"{self._records} records, segment {done} of {self._segments} ")

    def again(self) -> None:
        """Count from the start."""
        self._records = 0

    def end(self) -> None:
        """Leave no trace."""
        console.rewrite("")


def progress(directory: Directory) -> Watch:
    """A progress line for a person, or nothing where standard error is no terminal."""
    if not console.rewrites(sys.stderr):
        return Watch()
    return Progress(sum(number_of(name) is not None for name in directory.names()))


# --- from some segment on


class RecordReader:
    """Reads on from segment to segment, each verified from its own header on; stops where nothing more is yet."""

    def __init__(self, directory: Directory, number: int) -> None:
        self._directory = directory
        self._manifest = manifest_of(directory)
        self._number = number
        self._file: File | None = None
        self._scan: Scan | None = None
        self.unfinished: Damage | None = None
        """What the records end at, if it is not the end of the journal: a batch being written, torn or damaged."""

    def records(self) -> Iterator[Record]:
        """All there are now. Call again for what came since.

        Raises `Corrupt` where a segment ends before its time, `Newer`.
        """
        stuck = -1
        while (scan := self._opened()) is not None:
            try:
                for batch in scan.again():
                    yield from batch
            except Unknown as unknown:
                what = f"segment {name_of(self._number)}: {unknown}"
                raise Newer(self._directory.path, self._manifest.writer, what) from unknown
            following = _header(self._directory, self._number + 1)
            self.unfinished = scan.damage
            if following is None:
                return
            if following == scan.position:
                self.close()
                self._number += 1
            elif stuck == scan.offset:
                what = scan.damage.what if scan.damage else "there is no mark of a batch"
                raise Corrupt(self._directory.path, name_of(self._number), scan.offset, scan.position, what)
            else:
                stuck = scan.offset  # written to while we looked: look again

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
        self._file = self._scan = None

    def _opened(self) -> Scan | None:
        if self._scan is None:
            try:
                self._file = self._directory.open(name_of(self._number))
            except FileNotFoundError:
                return None
            header = _read_header(self._directory, self._file)
            if header is None:
                self.close()
                return None
            self._scan = Scan(self._file, self._manifest.journal, HEADER_BYTES, header.first, header.chain)
        return self._scan


def _header(directory: Directory, number: int) -> int | None:
    """First position of a segment, None when it is not in use."""
    try:
        file = directory.open(name_of(number))
    except FileNotFoundError:
        return None
    try:
        header = _read_header(directory, file)
    finally:
        file.close()
    return None if header is None else header.first


def _read_header(directory: Directory, file: File) -> Header | None:
    """None when the segment is not in use, or damaged. Raises `Newer`: a gateway may be replaced while we look."""
    try:
        return read_header(file.read(0, HEADER_BYTES))
    except Damage:
        return None
    except Unknown:
        manifest_of(directory)
        return None


def begun(directory: Directory) -> list[tuple[int, int]]:
    """(number, first position) of each segment in use, oldest first."""
    oldest = manifest_of(directory).oldest
    numbers = [number for number in map(number_of, directory.names()) if number is not None and number >= oldest]
    return [(number, first) for number in numbers if (first := _header(directory, number)) is not None]


def reader(directory: Directory, position: int = 0) -> RecordReader:
    """A reader that begins with the segment in which a position is."""
    segments = begun(directory)
    before = [number for number, first in segments if first <= position]
    oldest = segments[0][0] if segments else manifest_of(directory).oldest
    return RecordReader(directory, before[-1] if before else oldest)
