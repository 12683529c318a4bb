"""What a disk promises. The fake one and real ones pass the same tests; what only some can be made to do comes after.

The real ones are a directory of this machine, ext4 and XFS on loop devices, and a FUSE file system that fails on order.
"""

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.disk import PIECES_MAX, Directory, Disk, RealDisk, RealFile
from gateway.errors import Refusal
from tests.disks.kits import ALL, FAILING, FILLING, REAL, FakeKit, Kit, kits


@pytest.fixture(scope="module", params=ALL)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """Each disk, made once for this file."""
    with kits(request.param, tmp_path_factory.mktemp("disk")) as kit:
        yield kit


@pytest.fixture
def kit(made: Kit) -> Kit:
    """A disk on which nothing was done yet."""
    made.anew()
    return made


@pytest.fixture
def disk(kit: Kit) -> Disk:
    """Any disk."""
    return kit.disk


@pytest.fixture
def path(kit: Kit) -> str:
    """A directory that is not there yet."""
    return kit.path


def peek(directory: Directory, name: str, offset: int, size: int) -> bytes:
    """Read as a follower does: open, read, close."""
    file = directory.open(name)
    try:
        return file.read(offset, size)
    finally:
        file.close()


def on(*kinds: str) -> pytest.MarkDecorator:
    """Run on these disks only."""
    return pytest.mark.parametrize("made", kinds, indirect=True)


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
    assert peek(directory, "f", 0, 4) == b"x\0\0a"


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
    assert peek(directory, "f", 0, 10) == b"two"
    assert directory.names() == ["f"]


def test_the_lock_can_be_taken_again_by_its_holder(disk: Disk, path: str) -> None:
    """One process may open its journal twice, one after the other."""
    directory = disk.directory(path, create=True)
    directory.lock()
    directory.lock()
    disk.directory(path).lock()


def test_what_was_written_is_read_through_any_other_handle_at_once(disk: Disk, path: str) -> None:
    """A follower opens the file that is being written to: it sees every write that has returned, synced or not."""
    directory = disk.directory(path, create=True)
    file = directory.open("f", create=True)
    file.allocate(64 * 1024)
    reader = directory.open("f")
    for number in range(64):
        file.write(number * 1000, (b"%04d" % number * 250,))
        assert reader.read(number * 1000, 1000) == b"%04d" % number * 250
        assert peek(directory, "f", number * 1000 + 996, 8) == b"%04d" % number + bytes(4)


def test_a_reader_beside_the_writer_sees_whole_writes_in_their_order(disk: Disk, path: str) -> None:
    """Whatever it reads before the end that it was told is what was written, while more is being written behind."""
    directory = disk.directory(path, create=True)
    file = directory.open("f", create=True)
    file.allocate(200 * 700)
    told = [0]
    wrong: list[int] = []

    def read() -> None:
        while (end := told[0]) < 200:
            data = peek(directory, "f", 0, end * 700)
            wrong.extend(n for n in range(end) if data[n * 700 : (n + 1) * 700] != b"%07d" % n * 100)

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(200):
        file.write(number * 700, (b"%07d" % number * 50, b"%07d" % number * 50))
        told[0] = number + 1
    thread.join()
    assert not wrong


def test_a_replaced_file_is_there_whole_at_every_moment(disk: Disk, path: str) -> None:
    """Another process that reads it sees the content before or the one after, and never none."""
    directory = disk.directory(path, create=True)
    directory.replace("f", b"0000" * 500)
    done = threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not done.is_set():
            content = peek(directory, "f", 0, 4000)
            seen.add(content if content == content[:4] * 500 else b"torn")

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(100):
        directory.replace("f", b"%04d" % number * 500)
    done.set()
    thread.join()
    assert b"torn" not in seen
    assert seen


def test_a_file_that_is_removed_can_be_read_by_whoever_has_it_open(disk: Disk, path: str) -> None:
    """Retention deletes a segment under a follower's read."""
    directory = disk.directory(path, create=True)
    file = directory.open("f", create=True)
    file.write(0, (b"abc",))
    reader = directory.open("f")
    directory.remove("f")
    directory.sync()
    assert reader.read(0, 3) == b"abc"
    assert directory.names() == []


def test_what_was_opened_to_read_cannot_be_written(disk: Disk, path: str) -> None:
    directory = disk.directory(path, create=True)
    directory.open("f", create=True).write(0, (b"abc",))
    with pytest.raises(OSError, match="Bad file descriptor"):
        directory.open("f").write(0, (b"x",))
    assert peek(directory, "f", 0, 3) == b"abc"


def test_large_writes_and_reads_are_whole(disk: Disk, path: str) -> None:
    """More than any system does in one piece, at an odd offset."""
    file = disk.directory(path, create=True).open("f", create=True)
    data = bytes(range(251)) * 20_000
    file.write(777, (data[:1_000_000], data[1_000_000:]))
    file.sync()
    assert file.size() == 777 + len(data)
    assert file.read(777, len(data) + 100) == data
    assert file.read(777 + len(data) - 3, 100) == data[-3:]


def test_a_truncated_file_can_be_allocated_and_written_again(disk: Disk, path: str) -> None:
    """Preparing a segment on a disk that was full begins so."""
    file = disk.directory(path, create=True).open("f", create=True)
    file.write(0, (b"x" * 5000,))
    file.truncate()
    file.allocate(5000)
    assert file.read(0, 5000) == bytes(5000)
    file.write(4999, (b"y",))
    assert file.read(4990, 100) == bytes(9) + b"y"


# --- a full disk


@on(*FILLING)
def test_what_was_allocated_and_filled_can_be_written_on_a_full_disk(kit: Kit) -> None:
    """So a batch finds its room in the segment, a cursor and the manifest in their slots, whatever others fill up."""
    directory = kit.disk.directory(kit.path, create=True)
    file = directory.open("f", create=True)
    file.allocate(1 << 20)
    file.write(0, (bytes(1 << 20),))
    file.sync()
    kit.fill(0)
    for offset in range(0, 1 << 20, 100_000):
        file.write(offset, (b"abc",))
        file.sync()
    assert file.read(900_000, 3) == b"abc"


@on(*FILLING)
def test_a_full_disk_says_so_and_keeps_what_is_there(kit: Kit) -> None:
    """At allocating as at writing; a write may leave a part of itself, which a second one writes over."""
    directory = kit.disk.directory(kit.path, create=True)
    small, large = directory.open("small", create=True), directory.open("large", create=True)
    small.write(0, (b"s" * 4096,))
    small.sync()
    kit.fill(100_000)
    free = directory.free_bytes()
    assert free < 1 << 20
    with pytest.raises(OSError, match="No space left on device") as failed:
        large.allocate(4 << 20)
    assert failed.value.errno == errno.ENOSPC
    large.truncate()
    assert large.size() == 0
    with pytest.raises(OSError, match="No space left on device"):
        small.write(4096, (b"t" * (2 << 20), b"u" * (2 << 20)))
    assert small.read(0, 4096) == b"s" * 4096
    assert set(small.read(4096, 4 << 20)) <= set(b"t\0")
    kit.empty()
    assert directory.free_bytes() > free
    small.write(4096, (b"v" * (4 << 20),))
    small.sync()
    assert small.read(4096, 5 << 20) == b"v" * (4 << 20)


@on(*FILLING)
def test_space_is_given_back_by_truncating_and_by_removing(kit: Kit) -> None:
    directory = kit.disk.directory(kit.path, create=True)
    before = directory.free_bytes()
    for give_back in ("truncate", "remove"):
        file = directory.open(give_back, create=True)
        file.allocate(4 << 20)
        file.sync()
        assert directory.free_bytes() <= before - (4 << 20)
        if give_back == "truncate":
            file.truncate()
            file.sync()
        file.close()
        directory.remove(give_back)
        for _ in range(1000):  # XFS does it soon after
            directory.sync()
            if directory.free_bytes() >= before - 100_000:
                break
        else:
            pytest.fail(f"{before - directory.free_bytes()} bytes were not given back")


# --- errors


@on(*FAILING)
@pytest.mark.parametrize("kind", ["read", "write", "sync", "create", "allocate"])
def test_an_error_of_the_disk_is_raised_where_it_happens(kit: Kit, kind: str) -> None:
    """And never swallowed; nothing is tried again by itself."""
    directory = kit.disk.directory(kit.path, create=True)
    file = directory.open("f", create=True)
    file.write(0, (b"abc",))
    done: dict[str, Callable[[], object]] = {
        "read": lambda: file.read(0, 3),
        "write": lambda: file.write(0, (b"x",)),
        "sync": file.sync,
        "create": lambda: directory.open("g", create=True),
        "allocate": lambda: file.allocate(10_000),
    }
    kit.fail(kind, errno.EIO)
    with pytest.raises(OSError, match="Input/output error") as failed:
        done[kind]()
    assert failed.value.errno == errno.EIO
    done[kind]()
    assert file.read(1, 2) == b"bc"


@on("fuse")
@pytest.mark.parametrize("kind", ["write", "sync", "dirsync", "create", "rename"])
def test_replacing_that_fails_leaves_the_content_before(kit: Kit, kind: str) -> None:
    """Whichever step fails: but for the last sync, after which either may be there, whole."""
    directory = kit.disk.directory(kit.path, create=True)
    directory.replace("f", b"before")
    kit.fail(kind, errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        directory.replace("f", b"after")
    assert peek(directory, "f", 0, 10) == (b"after" if kind == "dirsync" else b"before")
    kit.crash(None)
    assert kit.disk.directory(kit.path).open("f").read(0, 10) == b"before"


@on("fuse")
def test_an_error_says_what_was_done_to_which_file(kit: Kit) -> None:
    """It is the last line that an operator reads."""
    directory = kit.disk.directory(kit.path, create=True)
    file = directory.open("f", create=True)
    for kind, said, do in (
        ("sync", "Input/output error in a sync of f", file.sync),
        ("write", "Input/output error in a write to f", lambda: file.write(0, (b"x",))),
        ("read", "Input/output error in a read of f", lambda: file.read(0, 1)),
        ("allocate", "Input/output error in an allocation for f", lambda: file.allocate(1 << 20)),
        ("create", "Input/output error in creating g", lambda: directory.open("g", create=True)),
        ("dirsync", "Input/output error in a sync of the directory", directory.sync),
        ("remove", "Input/output error in removing f", lambda: directory.remove("f")),
    ):
        kit.fail(kind, errno.EIO)
        with pytest.raises(OSError, match=r"Input/output error") as failed:
            do()
        assert failed.value.strerror == said


# --- what only a real disk can be asked


@on(*REAL)
def test_files_are_for_their_owner_only(kit: Kit) -> None:
    """0600 and 0700, whatever the umask."""
    before = os.umask(0)
    try:
        directory = kit.disk.directory(kit.path, create=True)
        directory.open("f", create=True).close()
        directory.replace("g", b"")
        directory.lock()
    finally:
        os.umask(before)
    at = Path(kit.path)
    assert stat.S_IMODE(at.stat().st_mode) == 0o700
    assert {stat.S_IMODE((at / name).stat().st_mode) for name in ("f", "g", "lock")} == {0o600}


@on(*REAL)
def test_a_symbolic_link_is_not_followed(kit: Kit) -> None:
    """Somebody who could put a link into the directory could make us write elsewhere."""
    directory = kit.disk.directory(kit.path, create=True)
    at = Path(kit.path)
    (at / "elsewhere").write_bytes(b"abc")
    for name in ("f", "lock", "g.new"):
        (at / name).symlink_to(at / "elsewhere")
    for write in (False, True):
        with pytest.raises(OSError, match="Too many levels of symbolic links"):
            directory.open("f", write=write)
    with pytest.raises(FileExistsError):
        directory.open("f", create=True)
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        directory.lock()
    directory.replace("g", b"x")
    directory.replace("f", b"y")
    assert not (at / "f").is_symlink()
    assert (at / "elsewhere").read_bytes() == b"abc"


@on(*REAL)
def test_a_second_holder_is_told_who_the_first_is(kit: Kit) -> None:
    """Another holder, here another descriptor of the same process, is refused with path and pid."""
    first, second = RealDisk(), RealDisk()
    at = first.directory(kit.path, create=True)
    at.lock()
    with pytest.raises(Refusal, match=rf"{kit.path} is in use by another process, pid {os.getpid()}"):
        second.directory(kit.path).lock()
    first.release()
    second.directory(kit.path).lock()
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


def used(kit: Kit) -> Directory:
    """A file of four sectors, synced, then written over without a sync, beside one whose creation was not synced."""
    kit.anew()
    directory = kit.disk.directory(kit.path, create=True)
    file = directory.open("f", create=True)
    file.write(0, (b"a" * 2048,))
    file.sync()
    directory.sync()
    file.write(0, (b"b" * 2048,))
    directory.open("g", create=True).close()
    file.close()
    return directory


@on(*FAILING)
def test_a_crash_keeps_sectors_whole(kit: Kit) -> None:
    """Each sector is the old or the new one; over many crashes both happen, and so do holes in the middle."""
    seen = set()
    for seed in range(200):
        directory = used(kit)
        kit.crash(seed)
        content = peek(directory, "f", 0, 4096)
        sectors = [content[at : at + 512] for at in range(0, 2048, 512)]
        assert all(sector in (b"a" * 512, b"b" * 512) for sector in sectors)
        seen.add(("".join(chr(sector[0]) for sector in sectors), "g" in directory.names()))
    assert len(seen) == 32


@on(*FAILING)
def test_a_crash_may_keep_nothing_that_was_not_synced(kit: Kit) -> None:
    """Unsynced data may be lost."""
    directory = used(kit)
    kit.crash(None)
    assert peek(directory, "f", 0, 4096) == b"a" * 2048
    assert directory.names() == ["f"]


@on(*FAILING)
def test_what_a_truncation_cut_off_may_come_back(kit: Kit) -> None:
    """Until it is synced; then it is gone, also where the file has grown again."""
    kit.anew()
    directory = kit.disk.directory(kit.path, create=True)
    file = directory.open("f", create=True)
    file.write(0, (b"a" * 1024,))
    file.sync()
    directory.sync()
    file.truncate()
    file.allocate(1024)
    file.sync()
    file.truncate()
    file.write(0, (b"b" * 1024,))
    file.close()
    kit.crash(None)
    assert peek(directory, "f", 0, 4096) == bytes(1024)


@on(*FAILING)
def test_after_a_failed_sync_another_one_says_yes_and_writes_nothing(kit: Kit) -> None:
    """As on Linux: after a failed sync the data can be read, and is lost with the power, until it is written again."""
    for again in (False, True):
        kit.anew()
        directory = kit.disk.directory(kit.path, create=True)
        file = directory.open("f", create=True)
        file.allocate(512)
        file.sync()
        directory.sync()
        file.write(0, (b"b" * 512,))
        kit.fail("sync", errno.EIO)
        with pytest.raises(OSError, match="Input/output error"):
            file.sync()
        if again:
            file.write(0, (file.read(0, 512),))
        file.sync()
        assert peek(directory, "f", 0, 512) == b"b" * 512
        file.close()
        kit.crash(None)
        assert peek(directory, "f", 0, 512) == (b"b" * 512 if again else bytes(512))


@on(*FAILING)
def test_a_directory_that_was_made_is_there_after_a_crash_and_so_is_all_above_it(kit: Kit) -> None:
    """Each directory on the way is new: one whose name is lost takes all below with it."""
    kit.disk.directory(kit.path, create=True).replace("f", b"abc")
    kit.crash(None)
    assert kit.disk.directory(kit.path).open("f").read(0, 3) == b"abc"


@on("fuse")
def test_a_directory_that_a_killed_process_left_is_made_durable_by_the_next(kit: Kit) -> None:
    """It may have been killed between making it and syncing what it lies in."""
    Path(kit.path).mkdir(parents=True)
    for at in Path(kit.path).parents[1:3]:
        fd = os.open(at, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
    kit.disk.directory(kit.path, create=True).replace("f", b"abc")
    kit.crash(None)
    assert kit.disk.directory(kit.path).open("f").read(0, 3) == b"abc"


@on("fake")
def test_a_killed_process_leaves_what_the_page_cache_has(kit: Kit) -> None:
    directory = used(kit)
    assert isinstance(kit, FakeKit)
    kit.fake.kill()
    assert peek(directory, "f", 0, 1) == b"b"
