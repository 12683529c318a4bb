"""A follower: a task that reads the durable part of the journal, and remembers over restarts how far it is.

It reads from the disk in large chunks, never from the writer's memory, so that a follower that is days behind costs no
more than one that is not. Once it has read everything, the writer tells it the kinds of record in each synced batch,
and it passes over batches without its kinds unread.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

import trio

from gateway import log, metrics
from gateway.disk import Directory
from gateway.errors import JournalFault
from gateway.journal.record import (
    BATCH_BYTES_MAX,
    CHAIN_BYTES,
    HEAD,
    HEADER_BYTES,
    MARK,
    MARK_BYTES,
    RECORD_BYTES_MIN,
    Damage,
    Record,
    Unknown,
    read_records,
)
from gateway.journal.segment import SegmentInfo, name_of
from gateway.machine.shortage import is_shortage
from gateway.payments.steps import Kind

READ_BYTES = 256 * 1024
"""Read at once: about 700 records, whose parsing keeps the trio thread for about half a millisecond."""
GATHER_S = 0.005
"""Time that a follower that has read everything lets batches gather before it reads: a read costs a trip to a
thread, and without this pause there would be one for each sync."""
AGAIN_S = 0.25
"""Pause before another read after a shortage of descriptors or threads. Nobody waits for a follower."""
_log = log.get("journal")


class Reads(Protocol):
    """Runs a blocking read where it blocks nobody."""

    async def __call__(self, read: Callable[[int, int], bytes], offset: int, size: int) -> bytes:
        """The bytes."""


class Follower:
    """Reads the records of its kinds, oldest first. One task at a time waits in `batch`."""

    def __init__(
        self,
        name: str,
        kinds: frozenset[Kind],
        cursor: int,
        directory: Directory,
        segments: list[SegmentInfo],
        reads: Reads,
    ) -> None:
        self.name = name
        self.position = cursor
        """Of the next record to read."""
        self.saved = 0
        """The cursor on disk: everything before it is settled. 0: not known to be there."""
        self.saving = 0
        """The cursor that is being written, 0 for none."""
        self._kinds = kinds
        self._bits = sum(1 << kind for kind in kinds)
        self._directory = directory
        self._segments = segments  # the journal's own list: grows behind us, shrinks never past a cursor
        self._reads = reads
        self._number = 0
        self._offset = 0
        self._window = b""
        self._base = 0
        self._settled = cursor
        self._delivered = cursor - 1
        self._caught_up = False
        self._short = False
        """The process is short of descriptors or threads for reading."""
        self._news = trio.Event()
        self._seek()

    @property
    def cursor(self) -> int:
        """The position for the cursor: everything before it is settled, or of no interest to this follower."""
        return self.position if self._settled > self._delivered else self._settled

    def settle(self, position: int) -> None:
        """Everything before `position` is done with. The cursor file follows within a second or so."""
        assert position <= self.position, "only what was read can be settled"
        self._settled = max(self._settled, position)

    def saved_at(self, position: int) -> None:
        """Called by the journal when the cursor is on disk; 0 when it could not be written."""
        self.saving = 0
        self.saved = position or self.saved

    async def batch(self, max_records: int) -> list[Record]:
        """Wait for records of its kinds; up to `max_records` of them. Cancelled, it loses nothing.

        Raises `JournalFault` when what is on the disk is not what was written.
        """
        while True:
            if self._caught_up:
                await self._news.wait()
                await trio.sleep(GATHER_S)
            else:
                await trio.lowlevel.checkpoint()
            found = await self._next(max_records)
            if found:
                return found

    def synced(self, info: SegmentInfo, kinds: int) -> None:
        """Called by the journal for each batch that became durable."""
        if not self._caught_up:
            return
        if kinds & self._bits:
            self._caught_up = False
            self._news.set()
        else:
            self._number, self._offset, self.position = info.number, info.end, info.last + 1
            self._window = b""

    def _seek(self) -> None:
        """Find the segment that holds our position, or its end when we have read everything."""
        for info in reversed(self._segments):
            if info.first <= self.position or info is self._segments[0]:
                at_end = info is self._segments[-1] and self.position > info.last
                self._number, self._offset = info.number, info.end if at_end else HEADER_BYTES
                self.position = max(self.position, info.first)
                self._caught_up = at_end
                return
        self._caught_up = True

    async def _next(self, max_records: int) -> list[Record]:
        """Read on by one window at most. Nothing is changed until it has been read."""
        info = self._info()
        if info is None:
            return []
        before = self._offset
        found = self._take(max_records) if self._window else []
        for size in (READ_BYTES, BATCH_BYTES_MAX + MARK_BYTES + CHAIN_BYTES):
            if self._offset != before:
                break
            # what is left in the window is part of a record or mark: read again from here
            await self._fill(info, size)
            found = self._take(max_records)
        if self._offset == before:
            raise self._fault(before)
        if found:
            if self._settled > self._delivered:
                # all that was handed out is settled, and what lies between was of no interest
                self._settled = max(self._settled, found[0].position)
            self._delivered = found[-1].position
        return found

    def _info(self) -> SegmentInfo | None:
        """The segment to read from; None when there is nothing more to read now."""
        segments = self._segments
        if segments:
            info = segments[max(self._number - segments[0].number, 0)]
            if info.number == self._number and self._offset >= info.end and info is not segments[-1]:
                info = segments[self._number + 1 - segments[0].number]
            if info.number != self._number:
                self._window = b""
                self._number, self._offset = info.number, HEADER_BYTES
            if self._offset < info.end:
                return info
        self._caught_up = True
        self._news = trio.Event()
        return None

    async def _fill(self, info: SegmentInfo, size: int) -> None:
        start = self._offset - CHAIN_BYTES
        read = partial(_read, self._directory, name_of(info.number))
        while True:
            try:
                window = await self._reads(read, start, min(size, info.end - start))
            except OSError as error:
                if not is_shortage(error):
                    where = f"segment {name_of(info.number)}, offset {start}"
                    raise JournalFault(f"follower {self.name} cannot read {where}: {log.describe(error)}") from error
                self._is_short(log.describe(error))
                await trio.sleep(AGAIN_S)
            else:
                break
        self._is_short("")
        self._window, self._base = window, start

    def _is_short(self, reason: str) -> None:
        """Said once for each episode."""
        if reason:
            metrics.SHORTAGES["journal"].inc()
        if reason and not self._short:
            _log.warning("the journal cannot be read just now", follower=self.name, reason=reason)
        elif self._short and not reason:
            _log.info("the journal is read again", follower=self.name)
        self._short = bool(reason)

    def _take(self, max_records: int) -> list[Record]:
        """Take the records of our kinds out of the window, and move on behind them."""
        at = self._offset - self._base
        window, bits, position = self._window, self._bits, self.position
        unpack_from, size = HEAD.unpack_from, len(window)
        found: list[Record] = []
        while size - at >= RECORD_BYTES_MIN:
            length, said, _, _, number, _, _ = unpack_from(window, at)
            if length == MARK:
                if size - at < MARK_BYTES:
                    break
                at += MARK_BYTES
                continue
            end = at + length
            if end > size or length < RECORD_BYTES_MIN:
                break
            if said >= position:
                if said != position:
                    raise self._fault(self._base + at)
                if bits >> number & 1:
                    found.append(self._verified(at, end, position))
                position += 1
            at = end
            if len(found) >= max_records:
                break
        self._offset, self.position = self._base + at, position
        return found

    def _verified(self, at: int, end: int, position: int) -> Record:
        try:
            return read_records(self._window, at, end, self._base, position)[0]
        except (Damage, Unknown) as error:
            raise self._fault(self._base + at) from error

    def _fault(self, offset: int) -> JournalFault:
        where = f"segment {name_of(self._number)}, offset {offset}, position {self.position}"
        return JournalFault(f"follower {self.name} reads what was not written: {where}")


def _read(directory: Directory, name: str, offset: int, size: int) -> bytes:
    """Open, read and close: a file that is held open could be closed under a read that was given up."""
    file = directory.open(name)
    try:
        return file.read(offset, size)
    finally:
        file.close()
