"""`fps-gateway config check --here`: what this machine must have, opened as the gateway would open it."""

import os
import re
from datetime import timedelta
from math import inf
from pathlib import Path

import pytest

from gateway import config
from gateway.__main__ import main
from gateway.commands import config as config_command
from gateway.commands import here
from gateway.config import file as config_file
from gateway.disk import RealDisk, Room
from gateway.exitcodes import ExitCode
from gateway.journal.opening import begin_empty
from gateway.network import papers
from tests.fakes.example import example
from tests.fakes.token import FakeTokens
from tests.network.test_papers import AUTHORITY, DAY, NOW, issue, until

KEYS = {"fps-own": bytes([1] * 16), "fps-hub": bytes([2] * 16), "fps-seal": bytes([3] * 16)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration whose journal is there."""
    path = tmp_path / "gateway.toml"
    text, count = re.subn(r'(?m)^dir = ".*"$', f'dir = "{tmp_path / "journal"}"', example())
    assert count == 1
    path.write_text(text.replace("#segment_bytes = 67108864", "segment_bytes = 65536"), encoding="utf-8")
    disk = RealDisk()
    begin_empty(disk, str(tmp_path / "journal"))
    disk.release()
    return path


def lacking(file: Path, tokens: FakeTokens | None = None) -> list[str]:
    """The mistakes found here, without those about key changes in band."""
    configuration = config_file.load(file)
    tokens = tokens or FakeTokens([token.name for token in configuration.node.token], KEYS)
    return [what for what in here.lacks(configuration, open_worker=tokens.open) if "in band" not in what]


def test_where_all_is_there_nothing_is_said(file: Path) -> None:
    """A directory of ours with a journal in it, and tokens that agree."""
    assert lacking(file) == []


def test_the_directory_must_be_ours_closed_and_hold_a_journal(file: Path, tmp_path: Path) -> None:
    """Kind, owner, mode, and what is in it; nothing is made or changed."""
    journal = tmp_path / "journal"
    journal.chmod(0o755)
    assert lacking(file) == ["node.journal.dir: is open to others (mode 0755): customers' data is in it"]
    journal.chmod(0o700)
    if not os.geteuid():
        os.chown(journal, 860, -1)
        assert lacking(file) == [
            "node.journal.dir: belongs to user 860, and this is user 0: run this as the gateway's user"
        ]
    for path in journal.iterdir():
        path.unlink()
    assert any("holds no journal" in what for what in lacking(file))
    assert list(journal.iterdir()) == []
    journal.rmdir()
    assert lacking(file) == []
    assert "node.journal.dir: no such directory here" in config_command.notes(config_file.load(file))
    journal.touch()
    assert lacking(file) == [f"node.journal.dir: {journal} is not a directory"]


@pytest.mark.parametrize(
    ("free", "said"),
    [
        (Room(3 * 65536 - 1, inf), "196607 bytes are free, and it needs 196608: 3 segments"),
        (Room(1 << 40, 15), "15 inodes are free, and it needs 16: a file takes one, whatever the bytes"),
    ],
)
def test_the_directory_must_have_room(file: Path, monkeypatch: pytest.MonkeyPatch, free: Room, said: str) -> None:
    """For three segments, and for the files that a start makes."""
    monkeypatch.setattr(here, "room", lambda _path: free)
    assert lacking(file) == [f"node.journal.dir: {said}"]


def test_tokens_are_asked_as_hsm_check_asks_them(file: Path) -> None:
    """Each that would not serve is named, with the reason."""
    tokens = FakeTokens(["hsm-1", "hsm-2"], KEYS)
    tokens["hsm-2"].keys = {}
    (said,) = lacking(file, tokens)
    assert said.startswith("hsm-2: ")


def test_keys_that_must_differ_are_compared(file: Path) -> None:
    """Each token is named in which two of them are one, with both uses."""
    tokens = FakeTokens(["hsm-1", "hsm-2"], KEYS)
    tokens["hsm-2"].keys = {**KEYS, "fps-seal": KEYS["fps-own"]}
    (said,) = lacking(file, tokens)
    assert said == 'hsm-2: "fps-own" (what we sign with) and "fps-seal" (what seals the journal) are the same key'


@pytest.mark.parametrize(("days", "said"), [(29, True), (31, False), (-1, False)])
@pytest.mark.parametrize("member", ["certificate_file", "ca_file"])
def test_a_certificate_that_is_about_to_end_is_said(tmp_path: Path, member: str, days: int, *, said: bool) -> None:
    """Ours, and the last authority to end; one that has ended is said elsewhere."""
    dates = until(NOW + days * DAY)
    for name in ("certificate_file", "ca_file"):
        made = issue("x", AUTHORITY, dates if name == member else until(NOW + 400 * DAY))
        (tmp_path / name).write_bytes(made.pem)
    settings = config.Tls(str(tmp_path / "ca_file"), str(tmp_path / "certificate_file"), "none")
    found = list(papers.ending(settings, "node.processor.tls", NOW))
    assert bool(found) is said
    if said:
        (line,) = found
        end = NOW + timedelta(days=days)
        assert line == f"node.processor.tls.{member} ends at {end:%F %T} UTC: in less than 30 days"


def test_the_command_says_what_is_not_in_order(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 69: the configuration is right, and this machine lacks what it names. Else these are notes."""
    assert main(["config", "check", str(file)]) == ExitCode.ENDED
    assert "note: node.token[0].pin_file: no such file here" in capsys.readouterr().out
    assert main(["config", "check", "--here", str(file)]) == ExitCode.UNAVAILABLE
    said = capsys.readouterr()
    assert "no such file here" not in said.out
    lines = said.err.splitlines()
    assert "node.token[0].pin_file: no such file here" in lines
    assert any(line.startswith("hsm-1: ") for line in lines)
    assert re.fullmatch(r"\d+ things not in order here", lines[-1])
