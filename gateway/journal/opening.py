"""Opens a journal: makes it where there is none, verifies it, cuts a torn tail, and hands every record over once."""

import contextlib
import os
import re
import time
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

import gateway
from gateway import log
from gateway.disk import Directory, Disk, File
from gateway.errors import JournalFault, Refusal
from gateway.journal.manifest import MANIFEST, Manifest, create_manifest, read_cursor, read_manifest, write_manifest
from gateway.journal.record import VERSION, Record
from gateway.journal.recovery import Corrupt
from gateway.journal.segment import SegmentInfo, Torn, Walk, any_from, name_of, number_of

TORN_FILES_MAX = 16
"""Torn tails kept at most. Older ones are removed, so that repeated starts do not fill the disk."""
ZEROS_BYTES = 1 << 20
AGAIN_BYTES = 1 << 20
"""Bytes of a segment that are read and written at once."""

OnRecord = Callable[[Record], object]

_log = log.get("journal")


class Opened(Struct):
    """The journal as a start found it."""

    manifest: Manifest
    segments: list[SegmentInfo]
    unused: list[int]
    position: int
    """The position of the next record."""
    chain: bytes
    cursors: dict[str, int]
    """The cursor of every known follower; 0 when its file is missing or unreadable."""

    @property
    def current(self) -> SegmentInfo | None:
        """The segment to which the next batch goes."""
        return self.segments[-1] if self.segments else None


def existing(disk: Disk, path: str) -> Directory:
    """The directory of a journal that must exist. Makes nothing, not even a lock. Raises `Refusal`."""
    try:
        directory = disk.directory(path)
        if any(name == MANIFEST or number_of(name) is not None for name in directory.names()):
            return directory
        what = "holds no journal"
    except FileNotFoundError:
        what = "is not there"
    raise Refusal(
        f"node.journal.dir: {path} {what}. An empty journal would remember no payment: is the volume mounted, is this"
        " the right server? Only where there has never been one, begin it: fps-gateway journal init"
    )


def begin_empty(disk: Disk, path: str) -> Directory:
    """Make an empty journal, durably.

    Raises `Refusal` when the directory holds a journal or other files; `Corrupt`, `OSError`.
    """
    directory = disk.directory(path, create=True)
    refuse_strangers(directory)
    directory.lock()
    if read_manifest(directory) is not None:
        raise Refusal(f"{path} holds a journal already: nothing was changed")
    _create(directory, os.urandom(16))
    return directory


def open_directory(directory: Directory, on_record: OnRecord | None, journal_id: bytes) -> Opened:
    """Open a journal, as the module says. The caller holds the lock. Raises `Corrupt`, `Refusal`, `OSError`."""
    started = time.monotonic()
    manifest = read_manifest(directory) or _create(directory, journal_id or os.urandom(16))
    walk = Walk(directory, manifest)
    for batch in walk:
        if on_record is not None:
            for record in batch:
                on_record(record)
    cursors = {name: read_cursor(directory, name)[0] for name in manifest.followers}
    for name, cursor in cursors.items():
        if cursor > walk.position:
            what = f"follower {name} has settled up to {cursor}, the journal ends before {walk.position}"
            raise JournalFault(f"journal {directory.path} is not whole: {what}")
    manifest = _of_ours(manifest)
    # changes begin only here: a start that refuses changes nothing
    if walk.torn is not None:
        cut(directory, walk.torn)
        if not walk.torn.offset:
            walk.unused.insert(0, walk.torn.number)
    _make_durable(directory, walk, manifest)
    _log.info(
        "journal opened",
        path=directory.path,
        position=walk.position,
        segments=len(walk.segments),
        records=walk.position - walk.segments[0].first if walk.segments else 0,
        elapsed_ms=round(1000 * (time.monotonic() - started), 1),
    )
    return Opened(manifest, walk.segments, walk.unused, walk.position, walk.chain, cursors)


def refuse_strangers(directory: Directory) -> None:
    """Refuse a directory with foreign files, where a mistake in a path would mix a journal with them. Raises `Refusal`.

    The files of an interrupted start are ours; hidden files and lost+found belong to the file system.
    """
    names = directory.names()
    others = [name for name in names if not _OURS.fullmatch(name)]
    if others and MANIFEST not in names and not any(number_of(name) is not None for name in names):
        count = len(others)
        raise Refusal(
            f"{directory.path} holds no journal, and {count} other thing{'s'[: count - 1]}: it was not made one"
        )


_OURS = re.compile(r"lock|acts|lost\+found|\..*|manifest(\.new)?|.*\.(cursor|torn)(\.new)?")


def _create(directory: Directory, journal_id: bytes) -> Manifest:
    """Make an empty journal. The first segment's file comes first: a manifest without it means that it was lost."""
    assert len(journal_id) == 16
    numbers = [number for number in map(number_of, directory.names()) if number is not None]
    for number in numbers:
        file = directory.open(name_of(number))
        try:
            # the second segment is made when the first holds something
            if number > 1 or any_from(file, 0):
                what = f"the manifest is missing, yet {name_of(number)} was made; restore it from the other copy"
                raise Corrupt(directory.path, MANIFEST, 0, 0, what)
        finally:
            file.close()
    if 1 not in numbers:
        directory.open(name_of(1), create=True).close()
        directory.sync()
    manifest = Manifest(journal=journal_id, writer=gateway.__version__)
    create_manifest(directory, manifest)
    return manifest


def _of_ours(manifest: Manifest) -> Manifest:
    """The manifest as we write it: from then on, a gateway that cannot read our format leaves the journal alone."""
    ours = replace(manifest, format=max(manifest.format, VERSION), writer=gateway.__version__)
    return ours if ours == manifest else replace(ours, turn=manifest.turn + 1)


def _make_durable(directory: Directory, walk: Walk, manifest: Manifest) -> None:
    """Sync the journal before anything acts on it: what we read may be in the page cache only, left by a killed
    process.

    The manifest comes first and is written again (`_write_again` says why): a deletion must not become durable before
    the manifest that announces it.
    """
    write_manifest(directory, manifest)
    for number in map(number_of, directory.names()):
        if number is not None and number < manifest.oldest:
            directory.remove(name_of(number))  # retention was interrupted
    if walk.segments:
        info = walk.segments[-1]
        file = directory.open(name_of(info.number), write=True)
        try:
            _write_again(file, info.end)
            file.sync()
        finally:
            file.close()
    directory.sync()


def _write_again(file: File, end: int) -> None:
    """Write the same bytes again, so that a sync writes them.

    After a failed sync, Linux treats the pages in its cache as clean, though the disk may never have had them. The
    segments before the last were synced before it was begun.
    """
    for offset in range(0, end, AGAIN_BYTES):
        file.write(offset, (file.read(offset, min(AGAIN_BYTES, end - offset)),))


def cut(directory: Directory, torn: Torn) -> None:
    """Keep a torn batch in a file as evidence, then write zeros over it: the next batch must be written onto zeros."""
    file = directory.open(name_of(torn.number), write=True)
    try:
        _keep_evidence(directory, torn, file)
        for offset in range(torn.offset, torn.end, ZEROS_BYTES):
            file.write(offset, (bytes(min(ZEROS_BYTES, torn.end - offset)),))
        file.sync()
    finally:
        file.close()
    _log.warning(
        "torn tail cut",
        segment=name_of(torn.number),
        where=f"offset {torn.offset}",
        bytes=torn.end - torn.offset,
        position=torn.position,
        reason=torn.what,
    )


def _keep_evidence(directory: Directory, torn: Torn, file: File) -> None:
    """Copy a torn batch into a file of its own, durably, and remove the oldest such files.

    On a full disk the copy is removed: repeated failed starts must not push out older evidence.
    """
    kept = [name for name in directory.names() if name.endswith(".torn")]
    stem = f"{torn.number:010d}-{torn.offset:012d}"
    taken = [int(name[len(stem) + 1 : -len(".torn")]) for name in kept if name.startswith(stem)]
    name = f"{stem}-{max(taken, default=0) + 1:06d}.torn"
    evidence = directory.open(name, create=True)
    try:
        for offset in range(torn.offset, torn.end, ZEROS_BYTES):
            size = min(ZEROS_BYTES, torn.end - offset)
            evidence.write(offset - torn.offset, (file.read(offset, size),))
        evidence.sync()
    except OSError:
        with contextlib.suppress(OSError):
            directory.remove(name)
        raise
    finally:
        evidence.close()
    for old in kept[: max(0, len(kept) + 1 - TORN_FILES_MAX)]:
        directory.remove(old)
    directory.sync()
