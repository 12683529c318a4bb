"""Two small files beside the segments: the manifest (what must be there) and the cursors (how far each follower is).

Both are text for people, followed by a checksum. Both are written in place, because a full disk must not keep retention
from making room, and in two slots, so that one of them is always whole. The manifest is written to both slots: later
damage to one loses nothing. A cursor is written to each slot in turn: an older cursor only costs reading again.
"""

import re
from hashlib import blake2b
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from gateway.disk import SECTOR_BYTES, Directory, File
from gateway.journal.record import VERSION, VERSION_MAX
from gateway.journal.recovery import Corrupt, Newer
from gateway.strict_json import Reader

MANIFEST = "manifest"
SLOT_BYTES = 4096
"""Bytes of each of the manifest's two slots."""
_CURSOR = re.compile(r"([A-Za-z0-9_.-]{1,40})\.cursor")
_CURSOR_TEXT = re.compile(rb"cursor ([0-9]{1,19}) ([0-9]{1,19})")


class Manifest(Struct, frozen=True, kw_only=True):
    """The facts about a journal as a whole."""

    format: int = VERSION
    """The newest format that anything in the directory may have. Raised before the first byte of a newer one."""
    writer: str = ""
    """The version of the gateway that opened it last."""
    journal: bytes
    """Sixteen random bytes; the chain value before position 1."""
    oldest: int = 1
    """Number of the oldest segment. Retention writes it before it deletes those before."""
    followers: tuple[str, ...] = ()
    """Every follower ever known. A segment that one of them has not settled is kept, also when its cursor is
    missing."""
    turn: int = 1
    """Counts how often the manifest was written."""


_Version = Annotated[str, Meta(pattern=r"^[0-9A-Za-z.+-]{0,40}\Z")]


class _Written(Struct):
    format: int
    journal: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    oldest: Annotated[int, Meta(ge=1)]
    followers: tuple[Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,40}\Z")], ...]
    turn: int
    writer: _Version = ""


class _Newer(Struct):
    """The members that every newer format has, too. `writer` is used if it still is a text."""

    format: int
    writer: Any = ""


_newer = Reader(_Newer)
_written = Reader(_Written)


def _sum(text: bytes) -> bytes:
    return blake2b(text, digest_size=8).hexdigest().encode()


def _slot(manifest: Manifest) -> bytes:
    written = _Written(
        manifest.format,
        manifest.journal.hex(),
        manifest.oldest,
        manifest.followers,
        manifest.turn,
        manifest.writer,
    )
    text = msgspec.json.encode(written)
    assert len(text) < SLOT_BYTES - 20, "too many followers"
    return (text + b" " + _sum(text) + b"\n").ljust(SLOT_BYTES, b" ")


def create_manifest(directory: Directory, manifest: Manifest) -> None:
    """Write the first one, durably."""
    directory.replace(MANIFEST, _slot(manifest) * 2)


def write_manifest(directory: Directory, manifest: Manifest) -> None:
    """Open the file and write the manifest over it (`write_over`)."""
    file = directory.open(MANIFEST, write=True)
    try:
        write_over(file, manifest)
    finally:
        file.close()


def write_over(file: File, manifest: Manifest) -> None:
    """Write the manifest over both slots and sync each. A damaged slot comes first: only the other one holds the data.

    This needs no room on the disk.
    """
    content = file.read(0, 2 * SLOT_BYTES)
    for offset in sorted((0, SLOT_BYTES), key=lambda at: _read_slot(content[at : at + SLOT_BYTES]) is not None):
        file.write(offset, (_slot(manifest),))
        file.sync()


def forget_follower(directory: Directory, manifest: Manifest, follower: str) -> None:
    """Write a manifest without a follower that is gone. For a command that holds the lock."""
    kept = tuple(name for name in manifest.followers if name != follower)
    write_manifest(directory, replace(manifest, followers=kept, turn=manifest.turn + 1))


def read_manifest(directory: Directory) -> Manifest | None:
    """Read it; None when there is none. Raises `Corrupt` when neither slot reads, `Newer`."""
    try:
        file = directory.open(MANIFEST)
    except FileNotFoundError:
        return None
    try:
        content = file.read(0, 2 * SLOT_BYTES)
    finally:
        file.close()
    slots = [_read_slot(content[at : at + SLOT_BYTES]) for at in (0, SLOT_BYTES)]
    newest = max((slot for slot in slots if slot is not None), key=lambda slot: slot.format, default=None)
    if newest is not None and newest.format > VERSION_MAX:
        what = f"it is of format version {newest.format}, and this one reads {VERSION_MAX} and older"
        raise Newer(directory.path, newest.writer if isinstance(newest.writer, str) else "", what)
    found = max((slot for slot in slots if isinstance(slot, _Written)), key=lambda slot: slot.turn, default=None)
    if found is None:
        what = "neither copy of the manifest in it reads; restore the file from the volume's other copy"
        raise Corrupt(directory.path, MANIFEST, 0, 0, what)
    return Manifest(
        format=found.format,
        writer=found.writer,
        journal=bytes.fromhex(found.journal),
        oldest=found.oldest,
        followers=found.followers,
        turn=found.turn,
    )


def _read_slot(slot: bytes) -> _Written | _Newer | None:
    text, _, check = slot.rstrip(b" \n").rpartition(b" ")
    if check != _sum(text):
        return None
    try:
        newer = _newer(text)
        return newer if newer.format > VERSION_MAX else _written(text)
    except msgspec.DecodeError:
        return None  # the checksum is right, but this is no manifest


def cursor_name(follower: str) -> str:
    """The file of a follower's cursor."""
    name = f"{follower}.cursor"
    assert _CURSOR.fullmatch(name), "a follower's name is a file name"
    return name


def cursor_slot(position: int, turn: int) -> tuple[int, bytes]:
    """The offset and the bytes of the `turn`th saving of a cursor."""
    text = b"cursor %d %d" % (position, turn)
    return turn % 2 * SECTOR_BYTES, (text + b" " + _sum(text) + b"\n").ljust(SECTOR_BYTES, b" ")


def read_cursor(directory: Directory, follower: str) -> tuple[int, int]:
    """(position, turn) of a follower; (0, 0) when there is no file, or neither slot can be read."""
    try:
        file = directory.open(cursor_name(follower))
    except FileNotFoundError:
        return 0, 0
    try:
        return slots_of(file)
    finally:
        file.close()


def slots_of(file: File) -> tuple[int, int]:
    """(position, turn) in the file of a cursor."""
    content = file.read(0, 2 * SECTOR_BYTES)
    best = (0, 0)
    for slot in (content[:SECTOR_BYTES], content[SECTOR_BYTES:]):
        text, _, check = slot.strip().rpartition(b" ")
        said = _CURSOR_TEXT.fullmatch(text)
        if said is not None and check == _sum(text) and int(said[2]) > best[1]:
            best = int(said[1]), int(said[2])
    return best
