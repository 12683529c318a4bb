"""A manifest or a cursor that is missing, damaged or newer is refused, or read from its other half."""

import re
from hashlib import blake2b

import pytest
import trio
from msgspec.structs import replace

import gateway
from gateway.errors import JournalFault
from gateway.journal import opening
from gateway.journal.manifest import Manifest, create_manifest, read_cursor, read_manifest, write_manifest
from gateway.journal.record import (
    MARK_BYTES,
    VERSION,
    VERSION_MAX,
    chained,
)
from gateway.journal.recovery import Newer
from gateway.journal.segment import name_of
from gateway.payments.steps import Kind
from tests.fakes.disk import Blob, FakeDisk
from tests.fakes.journal import DIR, ID, bodies, build, durable, fill, read, running
from tests.journal.damaging import FIVE, SECTOR, THREE, batches, content, files, refused


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
    """Records that a follower has settled were durable: the tail stays, and people find it as it was."""
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
    """Its checksum is right, but no gateway wrote it."""
    disk = build(THREE)
    start, _ = batches(disk)[-1]
    data = content(disk)
    first = start + MARK_BYTES
    length = int.from_bytes(data[first : first + 4], "little")
    data[first + 28] = 0xFF
    chain = chained(bytes(data[first - 16 : first]), bytes(data[first : first + length - 16]))
    data[first + length - 16 : first + length] = chain
    assert "no text" in refused(disk).what
