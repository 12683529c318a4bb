"""Paths that are no journal's: said by the commands and by a start, which changes nothing there."""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.__main__ import main
from gateway.disk import RealDisk
from gateway.errors import GatewayError, JournalFault, Refusal, Unavailable
from gateway.journal.committer import why_full
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


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[Path]:
    """A file system with room, and without inodes."""
    path = tmp_path / "crowded"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=4,mode=700", "tmpfs", str(path)]
    if os.geteuid() or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        for number in range(3):
            (path / f"{number}").touch()
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_that_inodes_are_missing_is_told_from_bytes(crowded: Path) -> None:
    """Which are there, and would have whoever looks at them search for long."""
    directory = RealDisk().directory(str(crowded))
    with pytest.raises(OSError, match="No space left") as failed:
        directory.open("one more", create=True)
    assert directory.free_bytes() > 1 << 20
    assert directory.free_files() == 0
    assert "no free inodes" in why_full(directory, failed.value)


@pytest.mark.parametrize(
    ("number", "free_files", "said"),
    [
        (errno.ENOSPC, 1, "No space left on device"),
        (errno.ENOSPC, 0, "No space left on device: it has no free inodes, whatever the free bytes"),
        (errno.EDQUOT, 0, "Disk quota exceeded"),
        (errno.EFBIG, 0, "File too large"),
    ],
)
def test_each_shortage_has_its_words(number: int, free_files: int, said: str) -> None:
    disk = FakeDisk()
    directory = disk.directory("journal", create=True)
    disk.free_files = free_files
    assert why_full(directory, OSError(number, os.strerror(number))) == said
