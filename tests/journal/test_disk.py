"""What a disk promises. The fake one and the real one pass the same tests; what only the fake can do comes after."""

import errno
import os
import stat
from pathlib import Path

import pytest

from gateway.disk import PIECES_MAX, Disk, RealDisk, RealFile
from gateway.errors import Refusal
from tests.fakes.disk import FakeDirectory, FakeDisk


@pytest.fixture(params=["fake", "real"])
def disk(request: pytest.FixtureRequest) -> Disk:
    """Either."""
    return FakeDisk() if request.param == "fake" else RealDisk()


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A directory that is not there yet."""
    return str(tmp_path / "a" / "b")


def test_a_file_holds_what_was_written(disk: Disk, path: str) -> None:
    """Pieces lie one after another; gaps are zeros; a read past the end is short."""
    directory = disk.directory(path, create=True)
    file = directory.open("f", create=True)
    file.write(3, (b"ab", b"", b"cd"))
    file.sync()
    assert file.read(0, 100) == b"\0\0\0abcd"
    assert file.read(4, 2) == b"bc"
    assert file.read(50, 2) == b""
    assert file.size() == 7
    file.close()
    again = directory.open("f", write=True)
    again.write(0, (b"x",))
    again.close()
    assert directory.open("f").read(0, 4) == b"x\0\0a"


def test_more_pieces_than_the_system_takes_at_once(disk: Disk, path: str) -> None:
    """Many small pieces are written whole."""
    file = disk.directory(path, create=True).open("f", create=True)
    file.write(0, [b"%05d" % n for n in range(3 * PIECES_MAX)])
    assert file.read(5 * (3 * PIECES_MAX - 1), 9) == b"02999"


def test_allocated_bytes_are_zeros_and_truncated_ones_gone(disk: Disk, path: str) -> None:
    """Allocation sets the size and keeps what is there."""
    file = disk.directory(path, create=True).open("f", create=True)
    file.write(0, (b"ab",))
    file.allocate(10000)
    assert (file.size(), file.read(0, 3)) == (10000, b"ab\0")
    file.truncate()
    assert file.size() == 0


def test_names_and_what_is_missing(disk: Disk, path: str) -> None:
    """Names come sorted; what is not there, or there already, is said by the system's error."""
    with pytest.raises(FileNotFoundError):
        disk.directory(path)
    directory = disk.directory(path, create=True)
    for name in ("b", "a"):
        directory.open(name, create=True).close()
    directory.sync()
    assert directory.names() == ["a", "b"]
    with pytest.raises(FileExistsError):
        directory.open("a", create=True)
    directory.remove("a")
    for failing in (directory.open, directory.remove):
        with pytest.raises(FileNotFoundError):
            failing("a")
    assert disk.directory(path).names() == ["b"]
    assert directory.free_bytes() > 0


def test_replacing_gives_the_new_content_whole(disk: Disk, path: str) -> None:
    """And leaves nothing beside, also after an earlier attempt that was interrupted."""
    directory = disk.directory(path, create=True)
    directory.open("f.new", create=True).close()
    directory.replace("f", b"one")
    directory.replace("f", b"two")
    assert directory.open("f").read(0, 10) == b"two"
    assert directory.names() == ["f"]


def test_the_lock_can_be_taken_again_by_its_holder(disk: Disk, path: str) -> None:
    """One process may open its journal twice, one after the other."""
    directory = disk.directory(path, create=True)
    directory.lock()
    directory.lock()
    disk.directory(path).lock()


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    """0600 and 0700, whatever the umask."""
    before = os.umask(0)
    try:
        directory = RealDisk().directory(str(tmp_path / "j"), create=True)
        directory.open("f", create=True).close()
        directory.replace("g", b"")
        directory.lock()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "j").stat().st_mode) == 0o700
    assert {stat.S_IMODE((tmp_path / "j" / name).stat().st_mode) for name in ("f", "g", "lock")} == {0o600}


def test_a_second_holder_is_told_who_the_first_is(tmp_path: Path) -> None:
    """Another holder, here another descriptor of the same process, is refused with path and pid."""
    first, second = RealDisk(), RealDisk()
    first.directory(str(tmp_path)).lock()
    with pytest.raises(Refusal, match=rf"{tmp_path} is in use by another process, pid {os.getpid()}"):
        second.directory(str(tmp_path)).lock()
    first.release()
    second.directory(str(tmp_path)).lock()
    second.release()


def test_a_write_that_the_system_cuts_short_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal may interrupt a large write: the rest follows."""
    real = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda fd, pieces, at: real(fd, [b"".join(pieces)[:3]], at))
    file = RealDisk().directory(str(tmp_path)).open("f", create=True)
    assert isinstance(file, RealFile)
    file.write(2, (b"abc", b"defg"))
    assert file.read(0, 20) == b"\0\0abcdefg"
    file.close()


# --- the worst that a disk can do


def used(seed: int) -> tuple[FakeDisk, FakeDirectory]:
    """A file of four sectors, synced, then written over without a sync, beside one whose creation was not synced."""
    disk = FakeDisk(seed)
    directory = disk.directory("d", create=True)
    file = directory.open("f", create=True)
    file.write(0, (b"a" * 2048,))
    file.sync()
    directory.sync()
    file.write(0, (b"b" * 2048,))
    directory.open("g", create=True)
    return disk, directory


def test_a_crash_keeps_sectors_whole() -> None:
    """Each sector is the old or the new one; over many crashes both happen, and so do holes in the middle."""
    seen = set()
    for seed in range(200):
        disk, directory = used(seed)
        disk.crash()
        content = directory.open("f").read(0, 4096)
        sectors = [content[at : at + 512] for at in range(0, 2048, 512)]
        assert all(sector in (b"a" * 512, b"b" * 512) for sector in sectors)
        seen.add(("".join(chr(sector[0]) for sector in sectors), "g" in directory.names()))
    assert len(seen) == 32


def test_a_crash_may_keep_nothing_and_a_kill_keeps_all() -> None:
    """What was not synced is nobody's, what the page cache has survives a killed process."""
    disk, directory = used(1)
    disk.kill()
    assert directory.open("f").read(0, 1) == b"b"
    disk, directory = used(1)
    disk.crash(keep_nothing=True)
    assert directory.open("f").read(0, 4096) == b"a" * 2048
    assert directory.names() == ["f"]


def test_faults_come_once_and_room_ends() -> None:
    """A fault that was ordered is raised by the next operation; beyond its capacity the fake is full."""
    disk = FakeDisk(capacity_bytes=1000)
    file = disk.directory("d", create=True).open("f", create=True)
    disk.faults["sync"] = OSError(errno.EIO, "Input/output error")
    with pytest.raises(OSError, match="Input/output"):
        file.sync()
    file.sync()
    with pytest.raises(OSError, match="No space left"):
        file.allocate(1001)
    assert disk.directory("d").free_bytes() == 1000
