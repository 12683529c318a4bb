"""Journals of each format are read for ever, and the present format is what it says it is.

`kept.py` says what to do when one of these fails.
"""

import msgspec
import pytest

import gateway
from gateway.journal.looking import Watch, look
from gateway.journal.manifest import read_cursor, read_manifest
from gateway.journal.record import VERSION, VERSION_MAX
from gateway.journal.seals import Seals
from gateway.payments import steps
from gateway.payments.steps import Kind, Started
from hsm import reference
from tests.fakes.engine import World
from tests.fakes.journal import DIR
from tests.fuzz.damage import disk_of, files_of
from tests.journal import history, kept

every_format = pytest.mark.parametrize("version", kept.versions())


def test_a_journal_of_each_format_is_kept() -> None:
    """Of all that were ever written; the present one among them."""
    assert kept.versions() == list(range(1, VERSION + 1))
    assert VERSION <= VERSION_MAX


@every_format
def test_a_kept_journal_reads_as_it_did(version: int) -> None:
    """Every record, and the same past made of them; the torn tail is cut and kept beside, the cursors are found."""
    files, reads = kept.kept(version)
    disk, records, journal = kept.started(files)
    lines = [line.entry() for batch in reads.batches for line in batch]
    assert [(each.time_ns, each.kind, each.link, each.fpid, each.body) for each in records] == lines
    assert [each.position for each in records] == list(range(1, len(lines) + 1))
    assert records[-1].chain.hex() == reads.chain == journal.durable_chain.hex()
    assert kept.differences(reads.past, kept.past_of(records)) == []
    after = files_of(disk)
    assert sum(name.endswith(".torn") for name in after) == 1
    directory = disk.directory(DIR)
    manifest = read_manifest(directory)
    assert manifest is not None
    assert (manifest.format, manifest.writer) == (max(version, VERSION), gateway.__version__)
    assert {name: read_cursor(directory, name)[0] for name in manifest.followers} == {
        name: positions[-1] for name, positions in kept.CURSORS.items()
    }
    disk.kill()
    assert kept.started(after)[1] == records, "and the next start finds the same"


@every_format
def test_an_engine_begins_with_the_past_of_a_kept_journal(version: int) -> None:
    """Payments under way are taken up: one is undecided, one's reply may have left, two have left."""
    world = World()
    for each in kept.started(kept.kept(version)[0])[1]:
        world.past.record(each.kind, each.time_ns, each.fpid, each.body)
    world.engine = world.made()
    world.engine.begin(Started("sip-a", "9", "f" * 16))
    kinds = world.journal.kinds()
    assert kinds[0] == "STARTED"
    assert {"ORPHANED", "UNDELIVERED"} <= set(kinds)


@every_format
def test_the_seals_of_a_kept_journal_hold(version: int) -> None:
    """They name the chain values that are computed today, and the MACs are right."""
    disk = disk_of(kept.kept(version)[0])
    seals = Seals(Watch())
    look(disk.directory(DIR), seals)
    assert (len(seals.found), seals.faults, seals.gone) == (2, [], [])
    for seal in seals.found:
        assert seal.mac == reference.mac("aes-cmac", history.SEAL_KEY, seal.chain)


def test_what_the_present_code_writes_is_the_kept_journal_of_the_present_format(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Byte by byte, in every file. Whoever means to change it raises `VERSION`."""
    files, reads = kept.kept(VERSION)
    monkeypatch.setattr(gateway, "__version__", reads.writer)
    batches = [[line.entry() for line in batch] for batch in (*reads.batches, reads.torn)]
    again = kept.used(kept.written([list(batch) for batch in batches]))
    assert sorted(again) == sorted(files)
    changed = [name for name in files if files[name] != again[name]]
    assert not changed, "the format has changed, and its version has not: see tests/journal/kept.py"


def test_bodies_are_written_as_they_are_kept() -> None:
    """Read and written again, each is the same: no field came or went without a new version."""
    _, records, _ = kept.started(kept.kept(VERSION)[0])
    changed = {each.kind.name for each in records if kept.same_body(each.kind, each.body) != each.body}
    assert not changed, "the format has changed, and its version has not: see tests/journal/kept.py"


def test_every_kind_is_in_the_kept_journal_of_the_present_format() -> None:
    """A kind that a release before does not know is a new format."""
    _, records, _ = kept.started(kept.kept(VERSION)[0])
    missing = {kind.name for kind in Kind} - {each.kind.name for each in records}
    assert not missing, "the format has changed, and its version has not: see tests/journal/kept.py"


def test_a_past_that_is_another_one_is_noticed() -> None:
    """Anything but a member that is new to what is remembered of a payment."""
    before = {"F 1": {"state": "REPLIED", "list": [1]}}
    assert kept.differences(before, {"F 1": {"state": "REPLIED", "list": [1], "more": ""}}) == []
    assert kept.differences(before, {"F 1": {"state": "REVERSED", "list": [1]}}) == ["F 1.state"]
    assert kept.differences(before, {"F 1": {"list": [1, 2]}}) == ["F 1.list", "F 1.state"]
    assert kept.differences(before, {}) == ["F 1"]
    assert kept.differences(before, {**before, "F 2": {}}) == ["F 2"]


def test_the_history_has_every_kind() -> None:
    """Also when the next format is made of it."""
    kinds = {entry.kind for batch in history.batches() for entry in batch if isinstance(entry, history.Entry)}
    assert set(Kind) - kinds == {Kind.SEALED}
    assert any(isinstance(entry, history.Unsealed) for batch in history.batches() for entry in batch)


def test_a_field_more_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above would see it."""

    class More(steps.Started, frozen=True, array_like=True):
        more: str = ""

    body = steps.pack(Started("a", "1", "f"))
    monkeypatch.setitem(steps._decoders, Kind.STARTED, msgspec.msgpack.Decoder(More))
    assert kept.same_body(Kind.STARTED, body) != body
