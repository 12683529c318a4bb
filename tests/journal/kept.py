"""A journal of each format, kept: what the gateway wrote when that format was new, and what it must read as for ever.

`formats/N/` has the files of a journal of format N, each packed with gzip (a segment is mostly zeros), as a kill under
way left them: several segments, every kind, seals, cursors of two followers, a torn tail. `reads.json` beside them says
what is in it (the records, batch by batch) and what a start makes of that: outcomes, what was under way, keys, news,
what is still to be told, and to whom.

    .venv/bin/python -m tests.journal.kept        # make the one of the present format, from tests/journal/history.py

The bytes that the present code writes for a history that is kept are those that are kept, or a test fails. Then either
the change was not meant, or the format has changed:

1. raise `VERSION` in `gateway/journal/record.py` (its package's docstring says what that means for a release);
2. see that what is older is read still, and rebuilds the same past: the kept journals of all older formats stay;
3. have each new kind in `tests/journal/history.py`; run the command above; commit what it made.
"""

import sys

from gateway import entry

if __name__ == "__main__":  # before the rest is imported
    sys.exit(entry.command("tests.journal.kept"))

import gzip
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
import trio
from msgspec import Struct

from gateway.disk import SECTOR_BYTES
from gateway.engine.past import Past
from gateway.journal.committer import Committer
from gateway.journal.looking import Watch, look
from gateway.journal.manifest import read_manifest
from gateway.journal.record import VERSION, Record
from gateway.journal.writer import Journal, open_journal
from gateway.payments import steps
from gateway.payments.steps import Kind
from gateway.processor.addressees import Addressee, peer, the_processor
from gateway.processor.backlog import Backlog
from gateway.scheme import ring
from gateway.scheme.permits import Permits
from gateway.wire import meanings
from gateway.wire.codec import Codec
from tests.fakes.disk import FakeDisk, SimulatedThread
from tests.fakes.journal import DIR, ID, SETTINGS, durable
from tests.fuzz.damage import disk_of, files_of
from tests.journal import history
from tests.journal.history import Batch, Entry, Unsealed

FOLDER = Path(__file__).parent / "formats"
READS = "reads.json"
NODE, PEER = "sip-a", "usm"
CURSORS = {"processor": (5, 8), f"peer-{PEER}": (1, 3)}
"""Follower → what its cursor said, and says."""
CODEC = Codec()
REPEATED_MIN = 64
"""A body of one byte so many times is written as the byte, an asterisk and the number."""


class Line(Struct, frozen=True, array_like=True):
    """A record, as JSON."""

    time_ns: int
    kind: str
    link: int
    fpid: str
    body: str
    """In hex."""

    def entry(self) -> Entry:
        """As it is to be written."""
        byte, asterisk, count = self.body.partition("*")
        body = bytes.fromhex(byte) * (int(count) if asterisk else 1)
        return Entry(self.time_ns, Kind[self.kind], self.link, self.fpid, body)


class Reads(Struct, frozen=True):
    """A journal kept in an older format, and the content that it must have."""

    writer: str
    """The version of the gateway that wrote it."""
    batches: list[list[Line]]
    torn: list[Line]
    """The last batch, of which a sector is missing."""
    chain: str
    """The chain value of the last record, in hex."""
    past: dict[str, Any]
    """What a start makes of it (`past_of`)."""


# --- writing


def written(batches: list[Batch]) -> FakeDisk:
    """The journal that the present code writes and a kill leaves. Nothing in it depends on the time of writing."""
    disk = FakeDisk()
    now_ns = [history.WALL_NS]

    async def write() -> None:
        async with trio.open_nursery() as nursery:
            driver = SimulatedThread(nursery, disk)
            journal = open_journal(SETTINGS, disk, driver=driver, journal_id=ID, wall_ns=lambda: now_ns[0])
            await nursery.start(journal.run, lambda _: None)
            for name in CURSORS:
                journal.follower(name, frozenset())
            for batch in batches:
                now_ns[0] = batch[-1].time_ns
                _append(journal, batch)
                await durable(journal)
            nursery.cancel_scope.cancel()

    trio.run(write)
    disk.kill()
    _save_cursors(disk)
    _tear(disk)
    return disk


def _append(journal: Journal, batch: Batch) -> None:
    for each in batch:
        if isinstance(each, Unsealed):
            body = history.seal(journal.durable, journal.durable_chain)
            journal.append(Kind.SEALED, body, wall_ns=each.time_ns)
        else:
            journal.append(each.kind, each.body, fpid=each.fpid, link=each.link, wall_ns=each.time_ns)


def _save_cursors(disk: FakeDisk) -> None:
    directory = disk.directory(DIR)
    manifest = read_manifest(directory)
    assert manifest is not None
    committer = Committer(directory, manifest, SETTINGS.segment_bytes, None, [])
    for name, positions in CURSORS.items():
        for position in positions:
            committer.save_cursor(name, position)


def _tear(disk: FakeDisk) -> None:
    """The last sector of the last batch was never written."""
    last = look(disk.directory(DIR), Watch()).segments[-1]
    content = disk.directories[DIR].files[f"{last.number:010}.segment"].content
    at = (last.end - 1) // SECTOR_BYTES * SECTOR_BYTES
    content[at : last.end] = bytes(last.end - at)


def used(disk: FakeDisk) -> dict[str, bytes]:
    """The files that hold something: whether the next segment is there yet is the disk thread's luck."""
    return {name: content for name, content in files_of(disk).items() if any(content) and name != "lock"}


# --- reading


def kept(version: int) -> tuple[dict[str, bytes], Reads]:
    """The files of the kept journal of a format, and what they must read as."""
    folder = FOLDER / str(version)
    files = {path.name.removesuffix(".gz"): gzip.decompress(path.read_bytes()) for path in folder.glob("*.gz")}
    return files, msgspec.json.decode((folder / READS).read_bytes(), type=Reads)


def versions() -> list[int]:
    """The formats of which a journal is kept."""
    return sorted(int(path.name) for path in FOLDER.iterdir())


def started(files: dict[str, bytes]) -> tuple[FakeDisk, list[Record], Journal]:
    """The content that a start of the present gateway finds."""
    disk, records = disk_of(files), list[Record]()
    journal = open_journal(SETTINGS, disk, on_record=records.append)
    return disk, records, journal


def past_of(records: list[Record]) -> dict[str, Any]:
    """The state that a start makes of these records, handed on as by `daemon.run`, for comparison."""
    past = Past(7, CODEC, meanings.built_in())
    addressees = [the_processor(NODE, CODEC), peer(NODE, PEER)]
    backlogs = [Backlog(to.name, to.kinds) for to in addressees]
    for record in records:
        past.record(record.kind, record.time_ns, record.fpid, record.body)
        for backlog in backlogs:
            backlog.take(record)
    fpids = sorted({record.fpid for record in records} - {""})
    inbound, outbound = past.inbound, past.outbound
    return {
        "outcomes": {fpid: _plain(inbound.outcomes.get(fpid)) for fpid in fpids if inbound.outcomes.get(fpid)},
        "unfinished": {fpid: _plain(unfinished) for fpid, unfinished in inbound.unfinished.items()},
        "stood_in_pence": [inbound.outcomes.stood_in.on(record.time_ns) for record in (records[0], records[-1])],
        "stand_in_mode": _plain(inbound.stand_in_mode),
        "clean": inbound.clean,
        "submissions": {fpid: _plain(outbound.submissions.of_fpid(fpid)) for fpid in fpids
                        if outbound.submissions.of_fpid(fpid)},
        "submissions_unfinished": {fpid: _plain(unfinished) for fpid, unfinished in outbound.unfinished.items()},
        "submissions_cut_off": {fpid: _plain(cut_off) for fpid, cut_off in outbound.cut_off.items()},
        "submit_mode": _plain(outbound.submit_mode),
        "keys": _plain(past.ring),
        "message_ids": past.message_ids,
        "permits": _plain(past.news.permits),
        "news_heard": [content.hex() for content in past.news.known.contents],
        "to_tell": {to.name: _to_tell(to, backlog, records) for to, backlog in zip(addressees, backlogs, strict=True)},
        "parked": {to.name: list(backlog.parked_last()) for to, backlog in zip(addressees, backlogs, strict=True)},
    }  # fmt: skip


def _to_tell(to: Addressee, backlog: Backlog, records: list[Record]) -> dict[str, Any]:
    """Position → notice."""
    return {
        str(record.position): msgspec.json.decode(to.write(record))
        for record in records
        if record.position in backlog.untold
    }


def _plain(value: object) -> Any:
    """The same in a form that JSON can hold: bytes in hex, tuples as lists, steps by name."""
    match value:
        case bytes():
            plain: Any = value.hex()
        case Enum():
            plain = value.name
        case Struct():
            plain = {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
        case tuple() if hasattr(value, "_asdict"):
            plain = {name: _plain(each) for name, each in value._asdict().items()}
        case tuple() | list():
            plain = [_plain(each) for each in value]
        case dict():
            plain = {name: _plain(each) for name, each in value.items()}
        case _:
            plain = value
    return plain


def differences(before: Any, now: Any, place: str = "") -> list[str]:
    """Where a past is another one than it was. A member that a later gateway has more is none: its name is a word,
    which no FPID and no position is.
    """
    if not isinstance(before, dict) or not isinstance(now, dict):
        return [] if before == now else [place]
    found = []
    for name in sorted(before.keys() | now.keys()):
        at = f"{place}.{name}" if place else name
        if name in before and name in now:
            found += differences(before[name], now[name], at)
        elif name in before or not name.isidentifier():
            found.append(at)
    return found


def same_body(kind: Kind, body: bytes) -> bytes:
    """A body read and written again."""
    if kind is Kind.KEYS:
        return steps.pack(ring.unpack(body))
    if kind is Kind.PERMITS:
        return steps.pack(msgspec.msgpack.decode(body, type=Permits))
    return steps.pack(steps.unpack(kind, body)) if kind in steps.BODIES else body


# --- making


def make(folder: Path) -> None:
    """Keep a journal of the present format."""
    disk = written(history.batches())
    files = used(disk)
    manifest = read_manifest(disk.directory(DIR))
    assert manifest is not None
    _, records, _ = started(files)
    *whole, torn = history.batches()
    lines = iter([_line(Entry(each.time_ns, each.kind, each.link, each.fpid, each.body)) for each in records])
    batches = [[next(lines) for _ in batch] for batch in whole]
    assert next(lines, None) is None
    reads = Reads(manifest.writer, batches, [_line(entry) for entry in torn], records[-1].chain.hex(), past_of(records))
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
    (folder / READS).write_bytes(_text(reads))


def _text(reads: Reads) -> bytes:
    """JSON, a batch on each line, for people who look at a change of it."""
    encode = msgspec.json.encode
    lines = b",\n".join(encode(batch) for batch in reads.batches)
    rest = [encode(name) + b":" + encode(getattr(reads, name)) for name in ("writer", "torn", "chain")]
    past = b'"past":{\n' + b",\n".join(encode(name) + b":" + encode(each) for name, each in reads.past.items()) + b"\n}"
    return b"{" + b",\n".join([*rest, b'"batches":[\n' + lines + b"\n]", past]) + b"}\n"


def _line(entry: Entry | Unsealed) -> Line:
    assert isinstance(entry, Entry), "the last batch is not sealed"
    body = entry.body.hex()
    if len(entry.body) >= REPEATED_MIN and len(set(entry.body)) == 1:
        body = f"{entry.body[:1].hex()}*{len(entry.body)}"
    return Line(entry.time_ns, entry.kind.name, entry.link, entry.fpid, body)


def main(_arguments: list[str]) -> int:
    """Make what is missing; what is there is for ever."""
    folder = FOLDER / str(VERSION)
    if folder.exists():
        sys.stderr.write(f"a journal of format {VERSION} is kept already: raise gateway.journal.record.VERSION\n")
        return 1
    make(folder)
    return 0
