"""The lock, a kill and a full file system, for real: processes, signals, a small tmpfs."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from gateway.__main__ import main
from gateway.disk import RealDisk
from gateway.errors import JournalFull, Refusal
from gateway.journal.writer import open_journal
from tests.fakes.journal import SETTINGS, bodies, fill, running

WRITER = """
import sys, time, trio
from gateway.config import JournalSettings
from gateway.disk import RealDisk
from gateway.journal.writer import open_journal
from gateway.payments.steps import Kind

async def main():
    journal = open_journal(JournalSettings(dir=sys.argv[1], segment_bytes=65536), RealDisk())
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run, lambda position: print(position, flush=True))
        print("open", flush=True)
        while True:
            for _ in range(10):
                journal.append(Kind.RECEIVED, b"%d" % journal.position, wall_ns=time.time_ns())
            journal.commit()
            await trio.sleep(0)

trio.run(main)
"""


@contextlib.contextmanager
def writer(path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that writes a journal as fast as it can, and prints what is durable."""
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = process.stdout
        while (line := lines.readline()) and "open" not in line.split():
            pass
        try:
            yield process
        finally:
            process.kill()


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    """It is told the directory and the pid of the first; when the first has ended, however, it may."""
    path = tmp_path / "journal"
    settings = replace(SETTINGS, dir=str(path))
    with writer(path) as process:
        with pytest.raises(Refusal, match=rf"{path} is in use by another process, pid {process.pid}"):
            open_journal(settings, RealDisk())
        process.kill()
        process.wait()
        disk = RealDisk()
        open_journal(settings, disk)
        disk.release()


def test_what_a_killed_process_said_was_durable_is_there(tmp_path: Path) -> None:
    """Kill -9 in the middle, again and again: all it had reported, in order, whole."""
    path = tmp_path / "journal"
    settings = replace(SETTINGS, dir=str(path))
    known = 0
    for turn in range(4):
        with writer(path) as process:
            assert process.stdout is not None
            while known < 1000 * (turn + 1):
                known = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            # what it had still said before it died
            known = max([known, *(int(line) for line in process.stdout if line.endswith("\n"))])
            process.wait()
        disk = RealDisk()
        found = bodies(disk, settings)
        disk.release()
        assert len(found) >= known
        assert found == [b"%d" % position for position in range(1, len(found) + 1)]


def test_verify_beside_a_process_that_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Records that are being written are no damage, however often one looks."""
    path = tmp_path / "journal"
    with writer(path) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) % 100 == 0:
                code = main(["journal", "verify", str(path)])
                out, err = capsys.readouterr()
                assert code == 0, err
                found = int(out.split(" records")[0].split()[-1])
                assert found >= int(line)
            if int(line) >= 3000:
                break


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    path = tmp_path / "small"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k,mode=700", "tmpfs", str(path)]
    mounted = subprocess.run(command, check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


async def test_a_file_system_that_is_really_full(small: Path) -> None:
    """Health says it first; the journal fails at the last byte; with room again all that was durable is there."""
    settings = replace(SETTINGS, dir=str(small / "journal"))
    disk = RealDisk()
    count, said = 0, ""
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012  a journal's life, which ends so
        async with running(disk, settings, clean=False) as journal:
            while True:
                await fill(journal, [[b"x" * 1000]])
                count = journal.durable
                said = said or journal.health(trio.current_time())
    assert said.startswith("no next segment: No space left on device")
    assert caught.group_contains(JournalFull, match="is full: no next segment: No space left on device")
    assert len(bodies(disk, settings)) == count
    assert count > 300
    disk.release()
