"""All writing to the disk, one thing after another. It knows no threads, no trio and no payments.

The disk thread (`thread.DiskThread`) drives it; a simulation drives it from a task. Every method blocks. An `OSError`
that leaves a method is fatal: nothing is retried after it, for after a failed sync nobody knows what is on the disk.
Two things may fail and be tried again: preparing the next segment, which holds no promise yet, when the disk is full or
the process is short of something; and opening a cursor's file. All other files are opened at the start and kept open.
"""

import errno
from typing import NamedTuple

from msgspec.structs import replace

from gateway.disk import Directory, File
from gateway.errors import JournalFull, Unavailable
from gateway.journal.manifest import MANIFEST, Manifest, cursor_name, cursor_slot, slots_of, write_over
from gateway.journal.record import (
    BATCH_BYTES_MAX,
    CHAIN_BYTES,
    HEADER_BYTES,
    MARK_BYTES,
    Header,
    header_bytes,
    mark_bytes,
)
from gateway.journal.segment import SegmentInfo, name_of
from gateway.machine.shortage import is_shortage

FILL_BYTES = 512 * 1024
"""Zeros written and synced at once into the next segment. A commit may have to wait for it: about a millisecond."""
FULL_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_ZEROS = bytes(FILL_BYTES)


class Chunk(NamedTuple):
    """Records that go to the disk together, as `Journal.commit` hands them over."""

    first: int
    last: int
    data: bytes
    """The chain value before them, then the records, but for the chain value of the last."""
    chain: bytes
    """The chain value of the last."""
    kinds: int
    """A bit for each kind among them."""
    newest_ns: int
    """The newest time of any record up to the last."""
    wall_ns: int
    """When it was handed over: for the header of a segment that begins with it."""


class Synced(NamedTuple):
    """A batch is durable."""

    last: int
    chain: bytes
    """The chain value of the last record."""
    segment: int
    first: int
    """Position of the first record of the segment."""
    end: int
    """Offset behind the batch."""
    bytes: int
    kinds: int
    newest_ns: int


class Committer:
    """The current segment, the next one, the manifest and the cursors."""

    def __init__(
        self,
        directory: Directory,
        manifest: Manifest,
        segment_bytes: int,
        current: SegmentInfo | None,
        unused: list[int],
    ) -> None:
        self.manifest = manifest
        self.no_next = ""
        """Why the next segment could not be prepared, or empty. Read by the trio thread."""
        self.next_ready = False
        """Whether the next segment is filled. Read by the trio thread."""
        self._trying = False
        """Whether the next segment is tried again, although `no_next` says why there is none."""
        self.room_bytes = 0
        """Left in the current segment. Read by the trio thread."""
        self.batch_bytes_max = min(BATCH_BYTES_MAX, segment_bytes - HEADER_BYTES - MARK_BYTES)
        """Records in one batch, bytes: it fits into an empty segment."""
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._number = manifest.oldest - 1 if current is None else current.number
        self._first = 0 if current is None else current.first
        self._offset = 0 if current is None else current.end
        self._size = 0
        self._manifest_file = directory.open(MANIFEST, write=True)
        self._file: File | None = None
        self._last: File | None = None
        """Of no more use, but for its descriptor: kept until the next segment is open, so that nobody else gets it."""
        if current is not None:
            self._file = directory.open(name_of(current.number), write=True)
            self._size = current.size
            self.room_bytes = self._size - self._offset
        self._next: File | None = None
        self._made = set(unused)
        """Segments whose file is there already. What they read as is not trusted: they are filled anew."""
        self._entered = set(unused)
        """Those of them whose entry in the directory is durable."""
        self._next_bytes = segment_bytes
        self._filled = 0
        self._cursors: dict[str, tuple[File, int]] = {}

    def commit(self, chunks: list[Chunk]) -> Synced:
        """Write a batch and sync it. Raises `JournalFault` when the disk is full to the last byte, `OSError`."""
        first, last = chunks[0].first, chunks[-1].last
        chain_before, chain_after = chunks[0].data[:CHAIN_BYTES], chunks[-1].chain
        size = sum([len(chunk.data) for chunk in chunks])
        pieces = [mark_bytes(self.manifest.journal, size, first, last - first + 1, chain_before)]
        pieces += [chunk.data for chunk in chunks]
        pieces.append(chain_after)
        total = size + MARK_BYTES
        if self._file is None or self._offset + total > self._size:
            self._switch()
            self._first = first
            header = Header(self._number, self._size, first, chunks[0].wall_ns, self.manifest.journal, chain_before)
            pieces.insert(0, header_bytes(header))
            total += HEADER_BYTES
        file = self._file
        assert file is not None
        assert self._offset + total <= self._size, "a batch fits into a segment"
        file.write(self._offset, pieces)
        file.sync()
        self._offset += total
        self.room_bytes = self._size - self._offset
        kinds = 0
        for chunk in chunks:
            kinds |= chunk.kinds
        return Synced(last, chain_after, self._number, self._first, self._offset, size, kinds, chunks[-1].newest_ns)

    def close(self, position: int, chain: bytes) -> None:
        """Write and sync an empty mark: everything before it was durable. Then let go of the files."""
        if self._file is not None and self._offset + MARK_BYTES <= self._size:
            self._file.write(self._offset, (mark_bytes(self.manifest.journal, 0, position, 0, chain), chain))
            self._file.sync()
        cursors = [file for file, _ in self._cursors.values()]
        for file in (self._file, self._last, self._next, self._manifest_file, *cursors):
            if file is not None:
                file.close()
        self._file = self._last = self._next = None
        self._cursors.clear()

    # --- the next segment

    def wants(self, *, idle: bool) -> bool:
        """Whether a piece of the next segment should be prepared now: when idle, or when it falls behind."""
        if self.next_ready or self._given_up:
            return False
        # From half full on the next segment fills twice as fast as this one, and is ready before it is needed.
        return idle or self._filled < 2 * self._offset - self._size

    def prepare(self) -> None:
        """Do one piece of preparing the next segment. A full disk, or a shortage, is noted in `no_next`; `retry` tries
        again.
        """
        try:
            if self._next is None:
                self._begin_next()
            else:
                size = min(FILL_BYTES, self._next_bytes - self._filled)
                self._next.write(self._filled, (_ZEROS[:size],))
                self._next.sync()
                self._filled += size
                self.next_ready = self._filled == self._next_bytes
                if self.next_ready:
                    self.no_next, self._trying = "", False
        except OSError as error:
            if error.errno not in FULL_ERRORS and not is_shortage(error):
                raise
            self.no_next, self._trying = error.strerror or "the disk is full", False
            self._drop_next()

    def retry(self) -> None:
        """Try again to prepare the next segment. `no_next` stays until there is one: readiness must not flap."""
        self._trying = True

    @property
    def _given_up(self) -> bool:
        return bool(self.no_next) and not self._trying

    def _begin_next(self) -> None:
        number = self._number + 1
        try:
            self._next = self._open_next(number)
        except OSError as error:
            if self._last is None or not is_shortage(error):
                raise
            self._let_go()
            self._next = self._open_next(number)
        self._let_go()
        if number not in self._entered:
            self._directory.sync()
            self._entered.add(number)
        # one left by a run with larger segments stays as large: its end must be zeros, too
        self._next_bytes = max(self._segment_bytes, self._next.size())
        self._next.allocate(self._next_bytes)
        self._filled = 0

    def _open_next(self, number: int) -> File:
        file = self._directory.open(name_of(number), create=number not in self._made, write=True)
        self._made.add(number)
        return file

    def _let_go(self) -> None:
        if self._last is not None:
            self._last.close()
            self._last = None

    def _drop_next(self) -> None:
        """Give back what it took of the full disk. The file stays: segment 1 must be there even when it is empty."""
        if self._next is not None:
            self._next.truncate()
            self._last, self._next = self._next, None

    def _switch(self) -> None:
        """Go on in the next segment, preparing what is missing of it now."""
        while not self.next_ready and not self._given_up:
            self.prepare()
        if not self.next_ready:
            self.retry()
            while not self.next_ready and not self._given_up:
                self.prepare()
        if not self.next_ready:
            raise JournalFull(f"journal {self._directory.path} is full: no next segment: {self.no_next}")
        self._last, self._file, self._next = self._file, self._next, None
        self._number += 1
        self._size, self._offset = self._next_bytes, 0
        self._filled, self.next_ready = 0, False

    # --- beside the segments

    def remember(self, follower: str) -> None:
        """Write a new follower into the manifest, before anything relies on its cursor."""
        if follower not in self.manifest.followers:
            self._write(replace(self.manifest, followers=(*self.manifest.followers, follower)))

    def save_cursor(self, follower: str, position: int) -> None:
        """Write a cursor into the older of its two slots, and sync it. Raises `Unavailable` when its file cannot be
        opened just now.
        """
        file, turn = self._cursors.get(follower) or self._open_cursor(follower)
        offset, slot = cursor_slot(position, turn + 1)
        file.write(offset, (slot,))
        file.sync()
        self._cursors[follower] = file, turn + 1

    def _open_cursor(self, follower: str) -> tuple[File, int]:
        """The file, made when there is none, and its turn. It stays open, also when a full disk takes nothing yet."""
        name, there = cursor_name(follower), True
        try:
            try:
                file = self._directory.open(name, write=True)
            except FileNotFoundError:
                file, there = self._directory.open(name, create=True), False
        except OSError as error:
            if not is_shortage(error):
                raise
            raise Unavailable(f"cursor of {follower}: {error.strerror}") from error
        turn = slots_of(file)[1]
        self._cursors[follower] = file, turn
        if not there:
            self._directory.sync()
        return file, turn

    def retire(self, oldest: int) -> list[str]:
        """Say in the manifest that every segment before `oldest` is gone; returns the files that may go from then on.
        The next start finishes what is left of that.
        """
        assert oldest <= self._number, "the current segment stays"
        before = self.manifest.oldest
        self._write(replace(self.manifest, oldest=oldest))
        return [name_of(number) for number in range(before, oldest)]

    def _write(self, manifest: Manifest) -> None:
        manifest = replace(manifest, turn=manifest.turn + 1)
        write_over(self._manifest_file, manifest)
        self.manifest = manifest
