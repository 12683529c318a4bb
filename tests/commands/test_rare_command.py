"""Journals that a person cannot be shown: damaged in the middle, or gone while one looks."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import trio
from msgspec.structs import replace

from gateway.__main__ import main
from gateway.config import JournalSettings
from gateway.disk import File, RealDirectory, RealDisk
from gateway.journal import looking, record
from gateway.journal.manifest import read_manifest, write_manifest
from gateway.journal.record import VERSION_MAX
from gateway.journal.recovery import Newer
from gateway.journal.segment import name_of
from tests.fakes.journal import SETTINGS, fill, running

BODY = b"a body that is found again"


@pytest.fixture
def settings(tmp_path: Path) -> JournalSettings:
    """A journal of several segments, on the real disk."""
    made = msgspec.structs.replace(SETTINGS, dir=str(tmp_path / "journal"))

    async def write() -> None:
        disk = RealDisk()
        async with running(disk, made) as journal:
            await fill(journal, [[BODY + bytes(20_000)] for _ in range(8)])
        disk.release()

    trio.run(write)
    assert (Path(made.dir) / name_of(2)).exists()
    return made


def test_records_before_a_damage_in_the_middle_are_shown_and_then_its_place(
    settings: JournalSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    """A segment that another one follows must have an end that fits: what is missing is no torn tail."""
    path = Path(settings.dir) / name_of(1)
    data = bytearray(path.read_bytes())
    data[data.rindex(BODY)] ^= 1
    path.write_bytes(data)
    assert main(["journal", "show", settings.dir]) == 1
    said = capsys.readouterr()
    assert f"segment {name_of(1)}, offset " in said.err
    assert "the record's checksum does not fit" in said.err
    assert BODY.decode() not in said.out + said.err


@pytest.mark.parametrize("command", ["show", "tail", "verify", "stat", "compare"])
def test_what_a_newer_gateway_wrote_is_shown_by_none_of_the_commands(
    settings: JournalSettings, command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 75, and no damage is claimed: in the manifest, or (should it ever be) in a record."""
    arguments = [settings.dir] * (2 if command == "compare" else 1)
    monkeypatch.setattr(record, "KINDS", [None] * 256)
    assert main(["journal", command, *arguments]) == 75
    assert "was written by a newer gateway" in capsys.readouterr().err
    monkeypatch.undo()
    assert main(["journal", command, *arguments]) == 0
    directory = RealDisk().directory(settings.dir)
    manifest = read_manifest(directory)
    assert manifest is not None
    write_manifest(directory, replace(manifest, format=VERSION_MAX + 1, turn=9))
    capsys.readouterr()
    assert main(["journal", command, *arguments]) == 75
    assert f"it is of format version {VERSION_MAX + 1}, and this one reads {VERSION_MAX}" in capsys.readouterr().err


def test_a_gateway_that_is_replaced_by_a_newer_one_ends_who_looks_on(settings: JournalSettings) -> None:
    """Its first segment of the new format is not passed over in silence."""
    directory = RealDisk().directory(settings.dir)
    reading = looking.reader(directory)
    records = reading.records()
    assert next(records).position == 1
    path = Path(settings.dir) / name_of(2)
    data = bytearray(path.read_bytes())
    data[8] = VERSION_MAX + 1
    path.write_bytes(data)
    manifest = read_manifest(directory)
    assert manifest is not None
    write_manifest(directory, replace(manifest, format=VERSION_MAX + 1, turn=9))
    with pytest.raises(Newer):
        list(records)
    write_manifest(directory, replace(manifest, turn=10))
    seen = [each.position for each in looking.reader(directory).records()]
    assert seen == [1, 2, 3], "damage, of which `verify` says more"


def test_a_journal_whose_files_go_faster_than_one_can_read_is_left_alone(
    settings: JournalSettings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retention that is always a step ahead: a person is told, and no look lasts for ever."""
    looks: list[str] = []

    def gone(look: Callable[..., File]) -> Callable[..., File]:
        def opened(self: RealDirectory, name: str, **how: bool) -> File:
            if name == name_of(2):
                looks.append(name)
                raise FileNotFoundError(2, "No such file or directory")
            return look(self, name, **how)

        return opened

    monkeypatch.setattr(RealDirectory, "open", gone(RealDirectory.open))
    assert main(["journal", "verify", settings.dir]) == 1
    assert "changes faster than it can be read" in capsys.readouterr().err
    assert len(looks) >= looking.LOOKS_MAX
