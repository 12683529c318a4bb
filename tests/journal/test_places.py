"""Paths that are no journal's: said by the commands and by a start, which changes nothing there."""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from math import inf
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway import disk as disk_module
from gateway.__main__ import main
from gateway.disk import RealDisk, Room
from gateway.errors import GatewayError, JournalFault, Refusal, Unavailable
from gateway.journal.opening import begin_empty
from gateway.journal.writer import open_journal
from tests.fakes.disk import FakeDisk
from tests.fakes.journal import SETTINGS

COMMANDS = (["verify"], ["show"], ["tail"], ["stat"], ["compare"], ["forget"])


def contents(place: Path) -> list[str]:
    """All that is there."""
    return sorted(str(path.relative_to(place)) for path in place.rglob("*"))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """With what a path may lead to by mistake."""
    for name in ("empty", "others", "others/nested", "fresh", "fresh/lost+found"):
        (tmp_path / name).mkdir()
    for name in ("file", "others/letter.txt", "fresh/.hidden", "fresh/manifest.new", "fresh/lock"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("empty", "holds no journal"),
        ("others", "holds no journal"),
        ("file", "Not a directory"),
        ("file/below", "No such directory"),
        ("nothing", "No such directory"),
        ("loop", ""),
        ("x" * 300, ""),
    ],
)
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_command_says_that_it_is_no_journal(
    place: Path, command: list[str], name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By exit code 2, in one line; nothing is damaged."""
    before = contents(place)
    path = str(place / name)
    more = {"compare": [path], "forget": ["processor"]}.get(command[0], [])
    assert main(["journal", *command, path, *more]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("fps-gateway journal: ")
    assert err.count("\n") == 1
    assert said in err
    assert "damaged" not in err
    assert contents(place) == before or command == ["forget"]  # which takes the lock


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("file", "Not a directory"),
        ("file/below", "Not a directory"),
        ("loop", "File exists"),
        ("x" * 300, "File name too long"),
        ("others", "holds no journal, and 2 other things"),
    ],
)
def test_a_start_refuses_a_place_that_is_none_for_a_journal(place: Path, name: str, said: str) -> None:
    """That is no matter of trust, and starting again helps when the path is right."""
    before = contents(place)
    with pytest.raises(Refusal, match=said):
        open_journal(replace(SETTINGS, dir=str(place / name)), RealDisk())
    assert contents(place) == before


@pytest.mark.parametrize("name", ["empty", "fresh", "nothing"])
def test_a_start_makes_a_journal_where_there_is_room_for_one(place: Path, name: str) -> None:
    """Also where a start was ended half way, and in a file system that is new."""
    disk = RealDisk()
    open_journal(replace(SETTINGS, dir=str(place / name)), disk)
    disk.release()
    assert main(["journal", "verify", str(place / name)]) == 0


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EACCES, Refusal),
        (errno.EPERM, Refusal),
        (errno.EIO, JournalFault),
        (errno.EROFS, JournalFault),  # what a file system does when its disk fails
        (errno.ENOSPC, Unavailable),
    ],
)
def test_a_place_of_somebody_else_is_told_from_a_disk_that_fails(number: int, kind: type[GatewayError]) -> None:
    disk = FakeDisk()
    disk.faults["create"] = OSError(number, os.strerror(number))
    with pytest.raises(GatewayError, match=os.strerror(number)) as raised:
        open_journal(SETTINGS, disk)
    assert type(raised.value) is kind


def test_no_journal_is_begun_among_other_things(place: Path) -> None:
    """By `journal init`, either."""
    before = contents(place)
    with pytest.raises(Refusal, match="and 2 other things"):
        begin_empty(RealDisk(), str(place / "others"))
    assert contents(place) == before


# --- which room is missing

FULL = {"inodes": "nr_inodes=4", "bytes": "nr_inodes=50"}


@pytest.fixture(params=FULL)
def full(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A file system without inodes, or without bytes, and with room enough of the other kind."""
    path = tmp_path / "full"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size=4m,{FULL[request.param]},mode=700", "tmpfs", str(path)]
    if os.geteuid() or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        for number in range(3):
            (path / f".{number}").touch()
        if request.param == "bytes":
            with suppress(OSError), (path / ".0").open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(65536))
        yield request.param, path
    finally:
        subprocess.run(["umount", str(path)], check=True)


@pytest.mark.parametrize("where", ["", "journal"], ids=["in it", "below it"])
@pytest.mark.parametrize("begun", [open_journal, None], ids=["a start", "journal init"])
def test_whatever_meets_a_full_disk_says_whether_bytes_or_inodes_are_missing(
    full: tuple[str, Path], where: str, begun: Callable[..., object] | None
) -> None:
    """The system has the same words for both, and whoever looks at the wrong one looks for long."""
    missing, path = full
    directory = str(path / where)
    disk = RealDisk()
    try:
        with pytest.raises((Unavailable, OSError), match="No space left on device") as raised:
            begun(replace(SETTINGS, dir=directory), disk) if begun else begin_empty(disk, directory)
    finally:
        disk.release()
    assert (missing == "inodes") == (" and 0 inodes are free" in str(raised.value))
    assert (missing == "bytes") == (": 0 bytes and " in str(raised.value))


@pytest.mark.parametrize(
    ("number", "files", "said"),
    [
        (errno.ENOSPC, 5, "No space left on device in creating x: 8192 bytes and 5 inodes are free"),
        (errno.ENOSPC, 0, "No space left on device in creating x: 8192 bytes and 0 inodes are free"),
        (errno.ENOSPC, inf, "No space left on device in creating x: 8192 bytes are free"),
        (errno.EDQUOT, 0, "Disk quota exceeded in creating x"),
        (errno.EFBIG, 0, "File too large in creating x"),
    ],
)
def test_each_shortage_has_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, files: float, said: str
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    directory = RealDisk().directory(str(tmp_path))
    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(disk_module, "room", lambda _: Room(8192, files))
    with pytest.raises(OSError, match=said) as raised:
        directory.open("x", create=True)
    assert (raised.value.errno, raised.value.strerror) == (number, said)
