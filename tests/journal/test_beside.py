"""Acts beside a journal: written before anything is shown, taken in at the next start, never silently lost."""

import os
from pathlib import Path

import pytest

from gateway.disk import RealDisk
from gateway.errors import Refusal
from gateway.journal import beside
from gateway.payments import steps

JOURNAL = b"j" * 16
ACT = steps.Act("reveal", "done", "", "uid 0 here", "a complaint", {"scope": "everything"}, time_ns=5)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path)


def test_what_was_written_is_taken_in_order_and_once(path: str) -> None:
    """Room for it is reserved by a start, and used again."""
    directory = RealDisk().directory(path)
    assert beside.take(directory, JOURNAL).acts == []
    assert (Path(path) / "acts").stat().st_size == beside.BYTES
    acts = [ACT, ACT.__class__(*("reveal", "done", "eve", "uid 7 here", "why", {"scope": "2"}))]
    for act in acts:
        beside.append(path, JOURNAL, act)
    found = beside.take(directory, JOURNAL)
    assert (found.acts, found.damage) == (acts, "")
    beside.clear(directory, JOURNAL)
    assert beside.take(directory, JOURNAL).acts == []
    beside.append(path, JOURNAL, ACT)
    assert beside.take(directory, JOURNAL).acts == [ACT]


def test_before_the_first_start_the_file_is_made(path: str) -> None:
    beside.append(path, JOURNAL, ACT)
    assert beside.take(RealDisk().directory(path), JOURNAL).acts == [ACT]
    assert (Path(path) / "acts").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("at", [0, 3, 5, 30, -17, -1])
@pytest.mark.parametrize("which", [0, 1])
def test_what_was_changed_shows(path: str, at: int, which: int) -> None:
    """Any byte of any entry; what comes before it is taken all the same, and the file is kept as evidence."""
    for _ in range(2):
        beside.append(path, JOURNAL, ACT)
    file = Path(path) / "acts"
    content = bytearray(file.read_bytes())
    size = len(content) // 2
    content[which * size + (at if at >= 0 else size + at)] ^= 0x40
    file.write_bytes(content)
    directory = RealDisk().directory(path)
    found = beside.take(directory, JOURNAL)
    assert found.damage
    assert found.acts == [ACT] * which
    with pytest.raises(Refusal, match="not shown, because that cannot be recorded"):
        beside.append(path, JOURNAL, ACT)
    beside.keep_damaged(directory, JOURNAL)
    assert beside.take(directory, JOURNAL).damage == ""
    [kept] = Path(path).glob("acts-*.torn")
    assert kept.read_bytes().startswith(bytes(content))


def test_an_entry_that_was_taken_out_shows(path: str) -> None:
    for _ in range(3):
        beside.append(path, JOURNAL, ACT)
    file = Path(path) / "acts"
    content = file.read_bytes()
    size = len(content) // 3
    file.write_bytes(content[:size] + content[2 * size :])
    assert beside.take(RealDisk().directory(path), JOURNAL).damage


def test_another_journals_acts_are_not_taken(path: str) -> None:
    beside.append(path, JOURNAL, ACT)
    assert beside.take(RealDisk().directory(path), b"k" * 16).damage


@pytest.mark.parametrize(
    "content", [b"", b"\x01", b"\xff" * 9, b"\x04\0\0\0abc", bytes(100) + b"x", b"\x01\0\0\0" + bytes(30)]
)
def test_any_bytes_are_read(content: bytes) -> None:
    """Nothing but acts comes of them, and never an error."""
    found = beside.parse(content, JOURNAL)
    assert found.acts == []
    assert bool(found.damage) == bool(content.strip(b"\0") and len(content) > 1) or content == b"\x01"


def test_what_cannot_be_written_is_not_done(path: str) -> None:
    """No directory, no permission, a link in its place, no room."""
    with pytest.raises(Refusal, match="No such file"):
        beside.append(f"{path}/nowhere", JOURNAL, ACT)
    (Path(path) / "acts").symlink_to("elsewhere")
    with pytest.raises(Refusal, match="symbolic links"):
        beside.append(path, JOURNAL, ACT)


def test_it_has_a_limit(path: str) -> None:
    """Somebody who looks in a loop fills no disk."""
    file = Path(path) / "acts"
    file.write_bytes(b"")
    with pytest.raises(Refusal, match="large"):
        beside.append(path, JOURNAL, steps.Act("reveal", "done", "", "o", "w" * 5000, {}))
    assert file.stat().st_size == 0


def test_whether_a_gateway_runs(path: str) -> None:
    assert not beside.is_in_use(path)
    disk = RealDisk()
    disk.directory(path).lock()
    assert beside.is_in_use(path)
    disk.release()
    assert not beside.is_in_use(path)
    assert os.listdir(path) == ["lock"]  # noqa: PTH208 - names are wanted
