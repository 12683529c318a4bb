"""Acts that are done while no gateway writes the journal: a file beside it, `acts`, which the next start takes in.

`fps-gateway journal show --reveal` on the journal of a gateway that is stopped shows customers' data, and no process
is there to record who did so. So the command writes it here, before it shows anything; where it cannot be written,
nothing is shown. The file is made and filled with zeros by each start, so that a disk that is full by then has room.

Entries one after another, then zeros: bytes of the body (u32), the body (`steps.Act` as MessagePack), chain value (16).
The chain value is a BLAKE2b over the one before it and the body; the first is made of the journal's name. So an entry
cannot be changed or taken out without the last ones showing it. Whoever can write the file can cut off its end: the
record of a look at a stopped gateway is as good as the machine on which it was made.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import msgspec

from gateway.disk import Directory
from gateway.errors import Refusal
from gateway.payments import steps

NAME = "acts"
BYTES = 65536
"""Of the file: room for a few hundred entries between two starts."""
ENTRY_BYTES_MAX = 4096
_LENGTH = struct.Struct("<I")
_decode = msgspec.msgpack.Decoder(steps.Act).decode


class Found(NamedTuple):
    """What the file holds."""

    acts: list[steps.Act]
    end: int
    """Where the next entry goes."""
    chain: bytes
    damage: str
    """Why what follows cannot be read, in words; empty: it is whole."""


def parse(content: bytes, journal: bytes) -> Found:
    """Read a file's content. `journal`: the journal's name."""
    acts: list[steps.Act] = []
    at, chain = 0, blake2b(b"acts" + journal, digest_size=16).digest()
    while at + _LENGTH.size <= len(content):
        (length,) = _LENGTH.unpack_from(content, at)
        if not length:
            break
        body = content[at + _LENGTH.size : at + _LENGTH.size + length]
        after = at + _LENGTH.size + length + 16
        if length > ENTRY_BYTES_MAX or after > len(content):
            return Found(acts, at, chain, f"byte {at}: no entry is so long")
        if content[after - 16 : after] != (chain := _link(chain, body)):
            return Found(acts, at, chain, f"byte {at}: the entry is not what was written")
        try:
            acts.append(_decode(body))
        except msgspec.DecodeError:
            return Found(acts, at, chain, f"byte {at}: the entry holds no act")
        at = after
    rest = content[at:]
    return Found(acts, at, chain, f"byte {at}: something follows the last entry" if rest.strip(b"\0") else "")


def _link(chain: bytes, body: bytes) -> bytes:
    return blake2b(chain + body, digest_size=16).digest()


def take(directory: Directory, journal: bytes) -> Found:
    """At a start, by whoever holds the journal's lock: read what is there, and reserve the room for more.

    Raises `OSError`.
    """
    there = NAME in directory.names()
    file = directory.open(NAME, create=not there, write=True)
    try:
        found = parse(file.read(0, max(file.size(), BYTES)) if there else b"", journal)
        if file.size() < BYTES:
            file.write(0, (bytes(BYTES),)) if not there else file.allocate(BYTES)
            file.sync()
    finally:
        file.close()
    if not there:
        directory.sync()
    return found


def clear(directory: Directory, _journal: bytes) -> None:
    """What was taken is durable in the journal: begin anew. Raises `OSError`."""
    file = directory.open(NAME, write=True)
    try:
        file.write(0, (bytes(BYTES),))
        file.sync()
    finally:
        file.close()


def keep_damaged(directory: Directory, journal: bytes) -> None:
    """Put a damaged file aside, as evidence, and begin anew. Raises `OSError`."""
    file = directory.open(NAME)
    try:
        content = file.read(0, file.size())
    finally:
        file.close()
    directory.replace(f"{NAME}-{blake2b(journal + content, digest_size=4).hexdigest()}.torn", content)
    clear(directory, journal)


def append(path: str, journal: bytes, act: steps.Act) -> None:
    """Write one act, durably, into the file beside the journal at `path`. For a command; the lock is on this file.

    Raises `Refusal`: it could not be written, so what is to be known must not be done.
    """
    body = steps.pack(act)
    try:
        fd = os.open(Path(path) / NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            _write(fd, body, parse(os.pread(fd, 1 << 24, 0), journal))
        finally:
            os.close(fd)
        _sync_directory(path)
    except OSError as error:
        raise Refusal(f"{path}: not shown, because that cannot be recorded: {os.strerror(error.errno or 0)}") from error


def _write(fd: int, body: bytes, found: Found) -> None:
    if found.damage:
        raise OSError(errno.EUCLEAN, found.damage)
    entry = _LENGTH.pack(len(body)) + body + _link(found.chain, body)
    if len(body) > ENTRY_BYTES_MAX or found.end + len(entry) > 16 * BYTES:
        raise OSError(errno.EFBIG, "no room")
    pieces: Sequence[bytes] = (entry,)
    if (written := os.pwritev(fd, pieces, found.end)) != len(entry):
        os.pwrite(fd, bytes(written), found.end)  # half an entry would read as damage
        raise OSError(errno.ENOSPC, "written in part")
    os.fdatasync(fd)


def _sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def is_in_use(path: str) -> bool:
    """Whether a gateway runs on the journal at this path. Raises `OSError`."""
    try:
        fd = os.open(Path(path) / "lock", os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
