"""`fps-gateway journal init`: the first journal is begun by a person, and no start makes an empty one."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gateway.__main__ import main
from gateway.config import JournalSettings
from gateway.disk import RealDisk
from gateway.errors import JournalFault, Refusal
from gateway.exitcodes import ExitCode
from gateway.journal.manifest import MANIFEST
from gateway.journal.segment import name_of
from gateway.journal.writer import open_journal
from tests.fakes.example import example


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Neither the directory nor the one above exists."""
    return tmp_path / "sip" / "journal"


@pytest.fixture
def settings(tmp_path: Path, journal: Path) -> Iterator[Path]:
    """A configuration that says so."""
    text, count = re.subn(r'(?m)^dir = ".*"$', f'dir = "{journal}"', example())
    assert count == 1
    path = tmp_path / "gateway.toml"
    path.write_text(text, encoding="utf-8")
    interval_s = sys.getswitchinterval()
    yield path
    sys.setswitchinterval(interval_s)


def everything_below(path: Path) -> dict[str, bytes]:
    """Each file's bytes."""
    return {str(at): at.read_bytes() if at.is_file() else b"" for at in sorted(path.rglob("*"))}


@pytest.mark.parametrize(
    "made", [[], ["sip"], ["sip", "sip/journal"], ["sip", "sip/journal", "sip/journal/lost+found"]]
)
def test_a_start_begins_no_journal(
    settings: Path, tmp_path: Path, made: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever of its directory is there: it says what is missing and what to do, exit code 75, and changes nothing."""
    for name in made:
        (tmp_path / name).mkdir()
    before = everything_below(tmp_path)
    assert main(["run", "--config", str(settings)]) == ExitCode.REFUSED
    assert everything_below(tmp_path) == before
    line = msgspec.json.decode(capfd.readouterr().out.splitlines()[-1])
    assert line["error"].startswith(f"node.journal.dir: {tmp_path / 'sip' / 'journal'} ")
    assert line["error"].endswith("begin it: fps-gateway journal init")


def test_a_journal_is_begun_once_and_a_start_takes_it(
    settings: Path, journal: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A second time it is refused, and nothing is changed: nothing is lost by a command that is typed twice."""
    assert main(["journal", "init", "--config", str(settings)]) == ExitCode.ENDED
    assert capfd.readouterr().out == f"{journal}: an empty journal, for sip-a\n"
    assert main(["journal", "verify", str(journal)]) == ExitCode.ENDED
    before = everything_below(journal)
    capfd.readouterr()
    assert main(["journal", "init", "--config", str(settings)]) == ExitCode.REFUSED
    assert capfd.readouterr().err == f"fps-gateway journal: {journal} holds a journal already: nothing was changed\n"
    assert everything_below(journal) == before
    disk = RealDisk()
    opened = open_journal(JournalSettings(dir=str(journal), segment_bytes=65536), disk, begin=False)
    assert opened.position == 1
    disk.release()


def test_beside_a_running_gateway_it_is_refused(
    settings: Path, journal: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It takes the lock."""
    disk = RealDisk()
    disk.directory(str(journal), create=True).lock()
    assert main(["journal", "init", "--config", str(settings)]) == ExitCode.REFUSED
    assert "in use by another process" in capfd.readouterr().err
    disk.release()
    assert not (journal / MANIFEST).exists()


def test_a_journal_that_lost_its_manifest_is_no_empty_one(settings: Path, journal: Path) -> None:
    """Neither by a start nor by the command: it was one, and what it holds is somewhere."""
    assert main(["journal", "init", "--config", str(settings)]) == ExitCode.ENDED
    (journal / MANIFEST).unlink()
    (journal / name_of(1)).write_bytes(b"something")
    assert main(["journal", "init", "--config", str(settings)]) == ExitCode.JOURNAL
    with pytest.raises(JournalFault, match="the manifest is missing"):
        open_journal(JournalSettings(dir=str(journal)), RealDisk(), begin=False)


def test_beside_its_volume_no_journal_is_begun(
    settings: Path, journal: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """On the wrong server the command refuses as a start does."""
    settings.write_text(settings.read_text() + '[node.volume]\nresource = "fps-none"\n', encoding="utf-8")
    assert main(["journal", "init", "--config", str(settings)]) == ExitCode.REFUSED
    assert "fps-none is not up on this server" in capfd.readouterr().err
    assert not journal.exists()


def test_a_directory_that_cannot_be_made_is_said(
    settings: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """With the path and the system's words."""
    (tmp_path / "sip").write_bytes(b"")
    assert main(["journal", "init", "--config", str(settings)]) == ExitCode.UNAVAILABLE
    assert capfd.readouterr().err.startswith(f"fps-gateway journal: {tmp_path / 'sip' / 'journal'}: ")


def test_a_wrong_configuration_begins_nothing(settings: Path, journal: Path) -> None:
    """All mistakes are said, as by `config check`."""
    settings.write_text("", encoding="utf-8")
    assert main(["journal", "init", "--config", str(settings)]) == ExitCode.CONFIGURATION
    assert not journal.exists()


def test_a_world_that_is_thrown_away_may_say_that_a_start_begins_it(journal: Path) -> None:
    """`node.journal.begin_if_none`; else a directory that is there and empty is refused."""
    settings = JournalSettings(dir=str(journal), segment_bytes=65536)
    with pytest.raises(Refusal, match="is not there"):
        open_journal(settings, RealDisk(), begin=settings.begin_if_none)
    disk = RealDisk()
    opened = open_journal(settings, disk, begin=msgspec.structs.replace(settings, begin_if_none=True).begin_if_none)
    assert opened.position == 1
    disk.release()
