"""Journals that a person cannot be shown: damaged in the middle, or gone while one looks."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import trio

from gateway.__main__ import main
from gateway.config import JournalSettings
from gateway.disk import File, RealDirectory, RealDisk
from gateway.journal import looking
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
