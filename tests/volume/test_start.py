"""The whole process, on this machine, beside its volume: it refuses, says what it found, and leaves nothing behind."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gateway.__main__ import main
from gateway.exitcodes import ExitCode
from tests.fakes.example import example
from tests.fakes.volume import NUMBER


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Path]:
    """The example, with a journal in the test's directory and a volume."""
    text, count = re.subn(r'(?m)^dir = ".*"$', f'dir = "{tmp_path / "journal"}"', example())
    assert count == 1
    path = tmp_path / "gateway.toml"
    volume = f'[node.volume]\nresource = "fps-none"\ndevice = "{tmp_path / "device"}"\n'
    path.write_text(text + volume, encoding="utf-8")
    interval_s = sys.getswitchinterval()
    yield path
    sys.setswitchinterval(interval_s)


def ended(settings: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """What the last line says; nothing was made."""
    assert main(["run", "--config", str(settings)]) == ExitCode.REFUSED
    assert not (settings.parent / "journal").exists()
    line = msgspec.json.decode(capfd.readouterr().out.splitlines()[-1], type=dict[str, object])
    assert (line["event"], line["exit_code"]) == ("ended", 75)
    return str(line["error"])


def test_where_the_volume_is_not_up_nothing_is_started(settings: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert ended(settings, capfd).endswith("the resource fps-none is not up on this server")


def test_where_the_journal_lies_elsewhere_nothing_is_started(
    settings: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The device is a real one; the directory lies on this machine's own disk."""
    try:
        os.mknod(tmp_path / "device", 0o60600, NUMBER)
    except PermissionError:
        pytest.skip("no device node may be made here (needs root)")
    assert ended(settings, capfd).endswith("is 147:11: the volume is not mounted there")
