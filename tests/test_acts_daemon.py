"""Acts that were done while no gateway ran, as a start takes them in. `tests/system/test_acts.py` has real starts."""

from pathlib import Path
from typing import Any

import trio
from trio.testing import MockClock

from gateway import config, daemon
from gateway.acts.book import Book
from gateway.clock import Now
from gateway.disk import RealDisk
from gateway.journal import beside
from gateway.ops.desk import Desk
from gateway.payments import steps
from tests.conftest import Logged
from tests.ops.test_desk import Recorder

JOURNAL = b"j" * 16
ACT = steps.Act("reveal", "done", "", "uid 0 here", "a complaint", {"scope": "everything"}, time_ns=5)


class Gateway:
    """As much of `daemon.Gateway` as takes acts in."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self.desk = Desk(config.Acts(), self.recorder, Book(), {}, lambda: Now(trio.current_time(), 10**9))
        self.journal: Any = type("Journal", (), {"name": JOURNAL})

    async def take_in(self, path: str) -> None:
        directory = RealDisk().directory(path)
        found = daemon._acts_beside(directory, JOURNAL)
        await daemon.Gateway._take_in_acts(self, directory, found)  # type: ignore[arg-type]  # a part of one


async def test_they_are_recorded_once_that_there_is_room_and_then_the_file_begins_anew(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """With the time at which they were done; a full disk keeps them where they are."""
    path = str(tmp_path)
    beside.append(path, JOURNAL, ACT)
    gateway = Gateway()
    gateway.recorder.room = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gateway.desk.run)
        nursery.start_soon(gateway.take_in, path)
        await trio.sleep(100)
        assert gateway.recorder.acts == []
        assert (tmp_path / "acts").read_bytes().strip(b"\0")
        gateway.recorder.room = True
        await trio.sleep(2)
        assert [(act.act, act.why, act.time_ns) for act in gateway.recorder.acts] == [("reveal", "a complaint", 5)]
        assert [entry.begun_ns for entry in gateway.desk.book] == [5]
        await trio.testing.wait_all_tasks_blocked(0.05)
        nursery.cancel_scope.cancel()


async def test_a_disk_that_does_not_take_the_new_file_ends_nothing(tmp_path: Path, logged: Logged) -> None:
    """They are taken in once more at the next start: twice is better than not at all."""
    path = str(tmp_path)
    beside.append(path, JOURNAL, ACT)
    gateway = Gateway()
    directory = RealDisk().directory(path)
    found = daemon._acts_beside(directory, JOURNAL)
    (tmp_path / "acts").unlink()
    await daemon.Gateway._take_in_acts(gateway, directory, found)  # type: ignore[arg-type]  # a part of one
    assert len(gateway.recorder.acts) == 1
    (line,) = logged("acts beside the journal are taken in again at the next start")
    assert "No such file" in line["error"]


async def test_what_cannot_be_read_keeps_nobody_from_starting(tmp_path: Path, logged: Logged) -> None:
    (tmp_path / "acts").mkdir()
    found = daemon._acts_beside(RealDisk().directory(str(tmp_path)), JOURNAL)
    assert found.acts == []
    assert logged("acts beside the journal are not read, or have no room reserved")


async def test_what_was_changed_is_an_act_too(tmp_path: Path, logged: Logged) -> None:
    """What could be read is taken in; the file is kept as evidence, and the journal says so."""
    path = str(tmp_path)
    for _ in range(2):
        beside.append(path, JOURNAL, ACT)
    content = bytearray((tmp_path / "acts").read_bytes())
    content[-1] ^= 1
    (tmp_path / "acts").write_bytes(content)
    gateway = Gateway()
    await gateway.take_in(path)
    assert [(act.act, act.phase) for act in gateway.recorder.acts] == [
        ("reveal", "done"), ("acts-beside-the-journal", "failed"),
    ]  # fmt: skip
    assert logged("the acts beside the journal are damaged")
    assert len(list(tmp_path.glob("acts-*.torn"))) == 1
    assert not (tmp_path / "acts").read_bytes().strip(b"\0")
