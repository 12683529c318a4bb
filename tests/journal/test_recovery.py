"""What a start does about damage: every row of the table, and every fault by its name."""

import itertools
import random
import re
from hashlib import blake2b
from typing import Any

import msgspec
import pytest
import trio
from msgspec.structs import replace

import gateway
from gateway import log
from gateway.errors import JournalFault, Refusal
from gateway.journal import opening
from gateway.journal.manifest import Manifest, create_manifest, read_cursor, read_manifest, write_manifest
from gateway.journal.record import (
    HEADER_BYTES,
    MARK_BYTES,
    VERSION,
    VERSION_MAX,
    chained,
    header_bytes,
    mark_at,
    read_header,
)
from gateway.journal.recovery import TABLE, Corrupt, DamageVerdict, Newer, Shape, shape_of
from gateway.journal.segment import name_of
from gateway.payments.steps import Kind
from tests.fakes.disk import Blob, FakeDisk
from tests.fakes.journal import DIR, ID, SETTINGS, bodies, build, durable, fill, read, running

SECTOR = 512
FIRST = name_of(1)
THREE = [[b"one", b"two"], [b"three"], [b"four", b"five"]]
FIVE = [b"one", b"two", b"three", b"four", b"five"]


def content(disk: FakeDisk, name: str = FIRST) -> bytearray:
    """A file of the journal, to look at and to damage."""
    return disk.directories[DIR].files[name].content


def files(disk: FakeDisk) -> dict[str, bytes]:
    """All that is in the directory."""
    return {name: bytes(blob.content) for name, blob in disk.directories[DIR].files.items()}


def batches(disk: FakeDisk, name: str = FIRST) -> list[tuple[int, int]]:
    """Where each batch of a segment begins and ends."""
    data, at, found = bytes(content(disk, name)), HEADER_BYTES, []
    while (mark := mark_at(data, at, ID)) is not None:
        found.append((at, at + MARK_BYTES + mark.size))
        at = found[-1][1]
    return found


def big(count: int, size: int = 3000) -> list[bytes]:
    """Bodies that span sectors, with no zeros in them."""
    return [bytes([65 + n % 26]) * size for n in range(count)]


def evidence(disk: FakeDisk) -> list[bytes]:
    """What starts have cut off."""
    files = disk.directories[DIR].files
    return [bytes(files[name].content) for name in sorted(files) if name.endswith(".torn")]


# --- the table


def test_the_table_is_whole() -> None:
    """Every combination of facts has a verdict and a reason."""
    every = set(itertools.product((False, True), (False, True), (False, True), Shape))
    assert set(TABLE) == every
    assert all(why for _, why in TABLE.values())


@pytest.mark.parametrize(("facts", "verdict"), [(facts, verdict) for facts, (verdict, _) in TABLE.items()])
def test_only_a_lost_write_at_the_very_end_is_torn(
    facts: tuple[bool, bool, bool, Shape], verdict: DamageVerdict
) -> None:
    """Torn: the last segment, nothing after the batch, and bytes that a lost write explains. All else is corrupt."""
    last, later, beyond, shape = facts
    torn = last and not later and not beyond and shape is not Shape.CHANGED
    assert verdict is (DamageVerdict.TORN if torn else DamageVerdict.CORRUPT)


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        (b"x" * 2048, Shape.CHANGED),
        (b"x" * 512 + bytes(512) + b"x" * 1024, Shape.LOST),
        (b"x" * 700 + bytes(1348), Shape.LOST),
        (b"x" * 2000 + bytes(48), Shape.CUT),
        (bytes(2048), Shape.LOST),
        (b"x" * 600, Shape.LOST),  # the file ends there
        (b"x" * 600 + bytes(100) + b"x" * 1348, Shape.CHANGED),  # zeros, but no whole sector of them
    ],
)
def test_the_shape_of_damage(data: bytes, shape: Shape) -> None:
    """A whole sector of zeros was lost; zeros up to the end were cut; anything else was changed."""
    assert shape_of(data, 4096, 4096, 6144, 6144) is shape


# --- no damage


def test_an_empty_journal_opens() -> None:
    """A new journal has no records, and opening it again changes nothing."""
    disk = build([])
    assert read(disk) == []
    assert read(disk) == []


def test_a_zero_tail_is_the_end() -> None:
    """A complete record followed by zeros is what a journal in use looks like."""
    disk = build(THREE)
    assert not any(content(disk)[batches(disk)[-1][1] :])
    assert bodies(disk) == FIVE


def test_a_segment_preallocated_but_unused_is_the_next() -> None:
    """The segment after the current one is there, holds zeros, and is no gap."""
    disk = build(THREE)
    assert FIRST in disk.directories[DIR].files
    assert not any(content(disk, name_of(2)))
    assert bodies(disk) == FIVE


def test_an_empty_segment_file_at_the_end_is_the_next() -> None:
    """A crash while the next segment was made leaves an empty file; it is filled anew."""
    disk = build(THREE)
    content(disk, name_of(2)).clear()
    assert bodies(disk) == FIVE


def test_a_clean_stop_ends_with_an_empty_mark() -> None:
    """After `aclose` a mark without records says that all before it was durable."""
    disk = build(THREE, clean=True)
    start, end = batches(disk)[-1]
    assert end - start == MARK_BYTES
    assert bodies(disk) == FIVE


# --- torn: the very end, explained by a lost write


def test_cut_at_every_byte_of_the_last_batch() -> None:
    """Wherever a write stopped, what was durable is there, what was not is cut, and the journal goes on."""
    whole = build(THREE)
    start, end = batches(whole)[-1]
    for cut in range(start, end):
        disk = build(THREE)
        data = content(disk)
        kept = bytes(data[start:cut])
        data[cut:] = bytes(len(data) - cut)
        assert bodies(disk) == FIVE[:3], cut
        assert b"".join(evidence(disk)) == kept.rstrip(b"\0"), cut
        assert not any(content(disk)[start:]), cut
        assert len(content(disk)) == 65536
        assert bodies(disk) == FIVE[:3], cut


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_a_lost_sector_in_the_middle_of_the_last_batch_is_torn(count: int) -> None:
    """An unsynced batch may miss any sectors on disk while later ones are there: good records follow the bad one."""
    start, end = batches(build([[b"before"], big(6)]))[-1]
    inner = range(start - start % SECTOR + SECTOR, end - SECTOR, SECTOR)
    chance = random.Random(count)  # noqa: S311  which sectors
    for _ in range(20):
        disk = build([[b"before"], big(6)])
        for at in chance.sample(inner, count):
            content(disk)[at : at + SECTOR] = bytes(SECTOR)
        assert bodies(disk) == [b"before"]
        assert len(evidence(disk)) == 1


def test_a_lost_first_sector_of_the_last_batch_is_torn() -> None:
    """Even when its mark is what was lost."""
    disk = build([[b"before"], big(3)])
    start = batches(disk)[-1][0]
    content(disk)[start : start - start % SECTOR + SECTOR] = bytes(SECTOR - start % SECTOR)
    assert bodies(disk) == [b"before"]


def test_a_torn_first_write_of_a_segment_is_torn() -> None:
    """The header and the first batch are one write: without the header the segment is as if it had not been begun."""
    disk = build([big(19), big(3)])
    assert batches(disk, name_of(2))
    disk.directory(DIR).remove(name_of(3))  # it would not have been made yet
    content(disk, name_of(2))[:SECTOR] = bytes(SECTOR)
    assert bodies(disk) == big(19)
    assert not any(content(disk, name_of(2)))
    assert bodies(disk) == big(19)


def test_a_torn_first_batch_behind_a_good_header_is_torn() -> None:
    """The header of a segment survives the loss of its first batch."""
    disk = build([big(19), big(3)])
    content(disk, name_of(2))[HEADER_BYTES + 1024 : HEADER_BYTES + 2048] = bytes(1024)
    assert bodies(disk) == big(19)
    assert bodies(disk) == big(19)


def test_a_torn_first_batch_of_a_journal_leaves_it_empty() -> None:
    """Nothing was durable, nothing was promised."""
    for lost in (0, 1024 + HEADER_BYTES):
        disk = build([big(3)])
        disk.directory(DIR).remove(name_of(2))  # it would not have been made yet
        content(disk)[lost : lost + 512] = bytes(512)
        assert bodies(disk) == []


def test_the_log_says_what_was_cut() -> None:
    """Where, how much, from which position on."""
    lines: list[bytes] = []
    log.configure(
        "info", "json", type("W", (log.Writer,), {"__init__": lambda _: None, "write": lambda _, x: lines.append(x)})()
    )
    disk = build(THREE)
    start = batches(disk)[-1][0]
    content(disk)[start + 60 :] = bytes(65536 - start - 60)
    read(disk)
    line = next(line for line in lines if b"torn tail cut" in line)
    assert b'"position":4' in line
    assert f'"where":"offset {start}"'.encode() in line
    assert b'"segment":"0000000001.segment"' in line


def test_evidence_is_limited() -> None:
    """A process that is started and dies again and again does not fill the disk with evidence."""
    disk = build([[b"before"]])
    end = batches(disk)[-1][1]
    for turn in range(40):
        content(disk)[end : end + 5] = b"MRK\xff" + bytes([turn + 1])
        assert bodies(disk) == [b"before"]
    assert len(evidence(disk)) == 16
    assert evidence(disk)[-1] == b"MRK\xff\x28"


# --- corrupt: refused, and said where


def refused(disk: FakeDisk) -> Corrupt:
    """The start refuses, twice the same, and changes nothing."""
    before = {name: bytes(blob.content) for name, blob in disk.directories[DIR].files.items()}
    with pytest.raises(Corrupt) as caught:
        read(disk)
    with pytest.raises(Corrupt) as again:
        read(disk)
    assert str(caught.value) == str(again.value)
    assert {name: bytes(blob.content) for name, blob in disk.directories[DIR].files.items()} == before
    assert caught.value.segment in str(caught.value)
    return caught.value


@pytest.mark.parametrize("lost", ["removed", "emptied", "zeros", "its header"])
def test_a_last_segment_that_holds_nothing_is_corrupt_when_the_next_was_made(lost: str) -> None:
    """The next one is made when the first batch of the last is durable: as if it had not been begun it cannot be."""
    disk = build([big(19), big(3)])
    assert name_of(3) in disk.directories[DIR].files
    if lost == "removed":
        disk.directory(DIR).remove(name_of(2))
    elif lost == "emptied":
        content(disk, name_of(2)).clear()
    else:
        size = SECTOR if lost == "its header" else 65536
        content(disk, name_of(2))[:size] = bytes(size)
    fault = refused(disk)
    assert (fault.segment, fault.position) == (name_of(2), 20)
    assert "0000000003.segment was made" in fault.what


def test_a_journal_of_one_segment_that_holds_nothing_is_corrupt_when_the_next_was_made() -> None:
    """Nor can the first one."""
    disk = build(THREE)
    content(disk)[:] = bytes(65536)
    assert "0000000002.segment was made" in refused(disk).what


def test_a_file_that_ends_before_its_segment_is_corrupt() -> None:
    """No lost write shortens a file. Wherever it was cut, at the end of a batch, too: what was durable may be gone."""
    start, end = batches(build(THREE))[1]
    for cut in (1, 100, HEADER_BYTES - 1, HEADER_BYTES, start, start + 20, end, 65535):
        disk = build(THREE)
        del content(disk)[cut:]
        fault = refused(disk)
        assert fault.offset == cut
        assert "the file ends" in fault.what


def test_a_bad_record_with_a_later_batch_behind_it_is_corrupt() -> None:
    """The later batch was written after the sync of the one before: this record was durable."""
    disk = build(THREE)
    start, end = batches(disk)[1]
    content(disk)[end - 20] ^= 1
    fault = refused(disk)
    assert (fault.segment, fault.offset, fault.position) == (FIRST, start + MARK_BYTES, 3)
    assert "checksum" in fault.what
    assert "later batch" in fault.what


def test_zeros_with_a_later_batch_behind_them_are_corrupt() -> None:
    """A durable sector that reads as zeros is not torn."""
    disk = build([[b"before"], big(1), [b"after"]])
    start, end = batches(disk)[1]
    at = start - start % SECTOR + SECTOR
    content(disk)[at : at + SECTOR] = bytes(SECTOR)
    assert "later batch" in refused(disk).what
    content(disk)[start:end] = bytes(end - start)
    assert "later batch" in refused(disk).what


def test_a_changed_byte_in_the_last_batch_is_corrupt() -> None:
    """No lost write changes a byte and keeps its neighbours."""
    disk = build([[b"before"], big(1)])
    start, _ = batches(disk)[-1]
    content(disk)[start + 1000] ^= 0x40
    fault = refused(disk)
    assert (fault.offset, fault.position) == (start + MARK_BYTES, 2)
    assert "changed" in fault.what


def test_after_a_clean_stop_nothing_is_torn() -> None:
    """The empty mark at the end proves that the last batch was durable: lost sectors in it are corruption."""
    disk = build([[b"before"], big(3)], clean=True)
    start, _ = batches(disk)[-2]
    at = start - start % SECTOR + SECTOR
    content(disk)[at : at + SECTOR] = bytes(SECTOR)
    assert "later batch" in refused(disk).what


def test_damage_in_an_older_segment_is_corrupt() -> None:
    """Damage where a later segment is in use says exactly where, whatever it looks like."""
    for at in (0, 40, HEADER_BYTES, HEADER_BYTES + 600, HEADER_BYTES + 19 * 3000):
        for size in (1, SECTOR):
            disk = build([big(19), big(3)])
            data = content(disk)
            data[at : at + size] = bytes(b ^ 0xFF for b in data[at : at + size]) if size == 1 else bytes(size)
            assert refused(disk).segment == FIRST


def test_a_missing_segment_is_corrupt() -> None:
    """The first, one in the middle: the file is named."""
    for gone in (1, 2):
        disk = build([big(19), big(19), big(19)])
        del disk.directories[DIR].files[name_of(gone)]
        fault = refused(disk)
        assert fault.segment == name_of(gone)
        assert "missing" in fault.what


def test_an_empty_segment_in_the_middle_is_corrupt() -> None:
    """Empty or all zeros: a later one is in use, so this one was."""
    for keep in (0, 65536):
        disk = build([big(19), big(19), big(19)])
        content(disk, name_of(2))[:] = bytes(keep)
        assert refused(disk).segment == name_of(2)


def test_the_last_segment_lost_and_another_in_its_place() -> None:
    """A segment of another journal, or of this one under another name, is recognised."""
    disk, other = build([big(19), big(3)]), build([big(19), big(3)])
    header = read_header(bytes(content(other, name_of(2))[:HEADER_BYTES]))
    files = disk.directories[DIR].files
    files[name_of(2)].content[:HEADER_BYTES] = header_bytes(replace(header, journal=b"x" * 16))
    assert "another journal" in refused(disk).what
    files[name_of(2)].content[:] = files[name_of(1)].content
    assert "says that it is segment 1" in refused(disk).what


def changed_header(disk: FakeDisk, number: int, **changes: Any) -> None:
    """Write a header that is right in itself, but for what it says."""
    header = read_header(bytes(content(disk, name_of(number))[:HEADER_BYTES]))
    content(disk, name_of(number))[:HEADER_BYTES] = header_bytes(replace(header, **changes))


def test_overlapping_segments_are_corrupt() -> None:
    """Two segments that hold the same position."""
    disk = build([big(19), big(3)])
    changed_header(disk, 2, first=19)
    assert "overlap" in refused(disk).what


def test_missing_positions_between_segments_are_corrupt() -> None:
    """The end of a segment is gone, cleanly: its successor shows it."""
    disk = build([big(10), big(9), big(19)])
    start, end = batches(disk)[-1]
    content(disk)[start:end] = bytes(end - start)
    assert "positions 11 to 19 are missing" in refused(disk).what


def test_a_wrong_chain_between_segments_is_corrupt() -> None:
    """A segment that was whole in another history."""
    disk = build([big(19), big(3)])
    changed_header(disk, 2, chain=b"x" * 16)
    assert "does not continue the chain" in refused(disk).what


def test_the_first_segment_begins_with_the_journal() -> None:
    """Position 1, and the journal's name as chain value."""
    disk = build(THREE)
    changed_header(disk, 1, first=2)
    assert "position 1" in refused(disk).what


@pytest.mark.parametrize("format_of_manifest", [VERSION, VERSION - 1])
def test_a_segment_newer_than_the_manifest_says_is_corrupt(format_of_manifest: int) -> None:
    """The manifest is the first to say that a newer gateway writes, and with it that is a refusal."""
    disk = build(THREE)
    newer = format_of_manifest + 1
    create_manifest(disk.directory(DIR), Manifest(journal=ID, format=format_of_manifest))
    changed_header(disk, 1, version=newer)
    fault = refused(disk)
    assert fault.segment == name_of(1)
    assert f"the header says format version {newer}" in fault.what
    assert fault.what.endswith(f"and the manifest {format_of_manifest}")


def test_garbage_behind_the_end_is_corrupt() -> None:
    """Bytes after the last batch that no torn batch can be: no mark at its start, or too far away."""
    disk = build(THREE)
    end = batches(disk)[-1][1]
    content(disk)[end : end + 3] = b"abc"
    assert refused(disk).offset == end
    large = msgspec.structs.replace(SETTINGS, segment_bytes=3 << 20)
    disk = build(THREE, settings=large)
    content(disk)[2 << 20] = 1
    assert "more lies behind it" in refused(disk).what


def test_garbage_at_the_end_of_a_full_segment_is_corrupt() -> None:
    """Where no mark fits any more nothing can have been torn."""
    room = 65536 - HEADER_BYTES - MARK_BYTES - 42 - 44
    disk = build([[b"x" * (room - 20)]])
    content(disk)[-10] = 1
    assert refused(disk).offset == 65516


def test_a_missing_or_damaged_manifest_is_refused() -> None:
    """Without it nobody knows what must be there. One damaged copy of its two costs nothing: a start writes it anew."""
    disk = build(THREE)
    whole = bytes(content(disk, "manifest"))
    for damaged in (10, 4096 + 10):
        content(disk, "manifest")[damaged] ^= 1
        assert bodies(disk) == FIVE
        assert content(disk, "manifest") == whole
    for damaged in (10, 4096 + 10):
        content(disk, "manifest")[damaged] ^= 1
    assert refused(disk).segment == "manifest"
    del disk.directories[DIR].files["manifest"]
    assert "missing" in refused(disk).what


def test_half_a_manifest_is_the_one_before() -> None:
    """Both copies are written in turn: a crash in between leaves the new one and the old one, or one of them torn."""
    disk = build_followed()
    whole = bytes(content(disk, "manifest"))
    assert whole[:4096] == whole[4096:]
    content(disk, "manifest")[4096:] = build(THREE).directories[DIR].files["manifest"].content[:4096]
    manifest = read_manifest(disk.directory(DIR))
    assert manifest is not None
    assert manifest.followers == ("f",)
    content(disk, "manifest")[:2000] = bytes(2000)
    assert bodies(disk) == FIVE


@pytest.mark.parametrize("damaged", [10, 4096 + 10])
def test_power_lost_while_a_damaged_copy_is_written_anew_spares_the_other(damaged: int) -> None:
    """The damaged one is written first."""
    for seed in range(50):
        disk = build(THREE)
        disk.reseed(seed)
        manifest = disk.directories[DIR].files["manifest"]
        manifest.content[damaged] ^= 1
        manifest.durable[damaged] ^= 1
        disk.faults["sync"] = PowerLostError()
        with pytest.raises(PowerLostError):
            write_manifest(disk.directory(DIR), Manifest(journal=ID, followers=("f" * 40,) * 90, turn=7))
        disk.crash()
        assert read_manifest(disk.directory(DIR)) is not None


class PowerLostError(BaseException):
    """Everything ends here."""


def test_a_newer_manifest_is_refused_clearly() -> None:
    """Not as damage: as what it is."""
    disk = build(THREE)
    create_manifest(disk.directory(DIR), Manifest(journal=ID, format=VERSION_MAX + 1, writer="9.8"))
    before = files(disk)
    with pytest.raises(Newer) as refusal:
        read(disk)
    assert str(refusal.value) == (
        f"journal {DIR} was written by a newer gateway (9.8) than this one ({gateway.__version__}):"
        f" it is of format version {VERSION_MAX + 1}, and this one reads {VERSION_MAX} and older"
    )
    assert files(disk) == before, "and nothing is changed"


def test_once_a_newer_gateway_has_started_an_older_one_leaves_the_journal_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It says so in the manifest before it writes anything else, whatever it writes later."""
    disk = build(THREE)
    monkeypatch.setattr(opening, "VERSION", VERSION_MAX + 1)
    monkeypatch.setattr(gateway, "__version__", "9.8")
    assert len(read(disk)) == 5
    monkeypatch.undo()
    disk.kill()
    before = files(disk)
    with pytest.raises(Newer, match=r"by a newer gateway \(9\.8\) than this one"):
        read(disk)
    assert files(disk) == before


def test_a_start_says_which_gateway_it_was() -> None:
    """And nothing of the manifest changes when it was the same before."""
    disk = build(THREE)
    made = read_manifest(disk.directory(DIR))
    assert made is not None
    assert (made.format, made.writer) == (VERSION, gateway.__version__)
    read(disk)
    assert read_manifest(disk.directory(DIR)) == made
    disk.kill()
    create_manifest(disk.directory(DIR), replace(made, writer="0.0.1"))
    read(disk)
    assert read_manifest(disk.directory(DIR)) == replace(made, turn=made.turn + 1)


def test_a_kind_that_only_a_newer_gateway_knows_is_refused_and_not_passed_over() -> None:
    """Should it ever be written without a newer format: what we do not understand we may not skip."""
    disk = FakeDisk()

    async def write() -> None:
        async with running(disk, clean=False) as journal:
            await fill(journal, THREE)
            journal.append(200, wall_ns=0)  # type: ignore[arg-type]  # that is the point
            await durable(journal)

    trio.run(write)
    before = files(disk)
    what = f"segment 0000000001.segment: position 6 is of kind 200, format version {VERSION_MAX} has none"
    with pytest.raises(Newer, match=re.escape(what)):
        read(disk)
    assert files(disk) == before


def test_an_interrupted_creation_is_done_again() -> None:
    """An empty segment and no manifest yet: nothing was ever recorded."""
    disk = build([])
    del disk.directories[DIR].files["manifest"]
    assert read(disk) == []


def test_a_cursor_beyond_the_end_is_refused() -> None:
    """A follower has settled what is not there: the volume was set back."""
    files = build_followed().directories[DIR].files
    with pytest.raises(JournalFault, match="follower f has settled up to 6, the journal ends before 1"):
        read(emptied(files))


def build_followed() -> FakeDisk:
    """A journal whose follower has settled everything."""
    disk = FakeDisk()

    async def run() -> None:
        async with running(disk) as journal:
            follower = journal.follower("f", frozenset(Kind))
            await fill(journal, THREE)
            await follower.batch(100)
            follower.settle(follower.position)

    trio.run(run)
    disk.kill()
    return disk


def emptied(files: dict[str, Blob]) -> FakeDisk:
    """The same directory with its records gone."""
    disk = FakeDisk()
    disk.directory(DIR, create=True).files.update(files)
    disk.directory(DIR).remove(name_of(2))  # nor was it made then
    content(disk)[:] = bytes(65536)
    return disk


def written_as(disk: FakeDisk, manifest: bytes) -> None:
    """Give it a manifest with this text, and the right checksum."""
    check = blake2b(manifest, digest_size=8).hexdigest().encode()
    slot = (manifest + b" " + check + b"\n").ljust(4096)
    disk.directory(DIR).replace("manifest", slot * 2)


@pytest.mark.parametrize(
    "manifest",
    [
        b"", b"{}", b"[1]", b"\xff", b'{"format":"1"}', b"[" * 2000,
        b'{"format":1,"journal":"00","oldest":1,"followers":[],"turn":1}',
        b'{"format":1,"journal":"000102030405060708090a0b0c0d0e0f","oldest":0,"followers":[],"turn":1}',
        b'{"format":1,"journal":"000102030405060708090a0b0c0d0e0f","oldest":1,"followers":["../f"],"turn":1}',
    ],
)  # fmt: skip
def test_a_manifest_that_is_whole_and_says_nothing_of_use_is_refused(manifest: bytes) -> None:
    """As a damaged one is; not by an error that nobody expects."""
    disk = build(THREE)
    written_as(disk, manifest)
    assert refused(disk).segment == "manifest"


def test_a_newer_manifest_of_another_shape_is_refused_clearly() -> None:
    """All that it must have is a format."""
    disk = build(THREE)
    newer = VERSION_MAX + 1
    written_as(disk, b'{"format":%d,"journal":{"name":"x"},"writer":["y"]}' % newer)
    what = rf"written by a newer gateway than this one \(.*\): it is of format version {newer}"
    with pytest.raises(Newer, match=what):
        read(disk)


def test_a_cursor_that_is_whole_and_no_cursor_is_none() -> None:
    """Its follower reads from the oldest record again."""
    for text in (b"cursor x 9", b"cursor -1 9", b"cursor 1 \xb2", b"cursor 1 " + b"9" * 5000, b"7 7 7"):
        disk = build_followed()
        slot = (text + b" " + blake2b(text, digest_size=8).hexdigest().encode() + b"\n").ljust(SECTOR)
        disk.directory(DIR).replace("f.cursor", slot[:SECTOR] * 2)
        assert bodies(disk) == FIVE
        assert read_cursor(disk.directory(DIR), "f") == (0, 0)


def test_a_start_that_refuses_leaves_a_torn_tail_where_it_is() -> None:
    """What a follower has settled was durable: the tail is not torn off, and whoever looks finds it as it was."""
    disk = build_followed()
    start, _ = batches(disk)[-2]
    at = start + MARK_BYTES + 10
    content(disk)[at:] = bytes(65536 - at)
    before = {name: bytes(blob.content) for name, blob in disk.directories[DIR].files.items()}
    for _ in range(2):
        with pytest.raises(JournalFault, match="follower f has settled up to 6, the journal ends before 4"):
            read(disk)
        assert {name: bytes(blob.content) for name, blob in disk.directories[DIR].files.items()} == before


def test_an_fpid_that_is_no_text_is_corrupt() -> None:
    """Whoever wrote it had a right checksum for it, and was not this gateway."""
    disk = build(THREE)
    start, _ = batches(disk)[-1]
    data = content(disk)
    first = start + MARK_BYTES
    length = int.from_bytes(data[first : first + 4], "little")
    data[first + 28] = 0xFF
    chain = chained(bytes(data[first - 16 : first]), bytes(data[first : first + length - 16]))
    data[first + length - 16 : first + length] = chain
    assert "no text" in refused(disk).what


# --- everything at once


def test_every_flipped_bit_is_found_or_cut() -> None:
    """Flip any bit of a small journal: the start refuses, or cuts the end; what it hands over is always true."""
    whole = build([[b"one", b"two"], [b"three"]])
    end = batches(whole)[-1][1]
    original = bytes(content(whole))
    outcomes = {"refused": 0, "cut": 0}
    for at in [*range(96), *range(HEADER_BYTES, end + 64)]:
        for bit in range(8):
            disk = whole
            content(disk)[:] = original
            content(disk)[at] ^= 1 << bit
            try:
                found = bodies(disk)
            except (JournalFault, Refusal):
                outcomes["refused"] += 1
            else:
                outcomes["cut"] += 1
                assert found == FIVE[: len(found)]
                assert len(evidence(disk)) >= 1
    assert outcomes["refused"] > 100 * outcomes["cut"]
