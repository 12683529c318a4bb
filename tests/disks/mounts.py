"""Real disks for tests: mounts of their own, made here and taken away whatever happens.

`loop("ext4")` is a file system in a file; `faulty()` one that fails on order. Where the machine cannot, the test is
skipped with the reason. Each lies in a directory that names our process: what a killed run has left is taken away by
the next one.
"""

import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

MEBI = 1 << 20
SIZES = {"ext4": 64 * MEBI, "xfs": 300 * MEBI}
"""Of file systems in a file, bytes; XFS takes no less. The file is sparse."""
FAULTY_BYTES = 64 * MEBI
PREFIX = "fps-disk-"
_DETACH = 2
_PLACE = re.compile(rf"{PREFIX}(\d+)-")
_libc = ctypes.CDLL(None, use_errno=True)


class Mounted:
    """A file system of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self, leave_bytes: int = 0) -> None:
        """Have somebody else use up what is free, but for so much."""
        with self._filler.open("ab") as filler:
            while (more := shutil.disk_usage(self.path).free - leave_bytes) > 0:
                try:
                    filler.write(bytes(min(more, MEBI)))
                    filler.flush()
                    os.fsync(filler.fileno())
                except OSError:
                    return  # full to the last byte, whatever the file system counts as free

    def empty(self) -> None:
        """Give that back, now: XFS takes its time with a file that is only removed."""
        if self._filler.exists():
            os.truncate(self._filler, 0)
            self._filler.unlink()


class Faulty(Mounted):
    """The other end of `tests.disks.faulty`, which says what may be ordered."""

    def __init__(self, path: Path, process: "subprocess.Popen[bytes]") -> None:
        super().__init__(path)
        self._process = process

    def said(self) -> dict[str, Any]:
        """The next line from it."""
        assert self._process.stdout is not None
        return msgspec.json.decode(self._process.stdout.readline() or b"{}", type=dict[str, Any])

    def __call__(self, do: str, **order: Any) -> dict[str, Any]:
        """Order something: `faulty("fail", kind="sync")`. Answered at once, also while everything hangs."""
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode({"do": do, **order}) + b"\n")
        self._process.stdin.flush()
        return self.said()


@contextmanager
def faulty(capacity_bytes: int = FAULTY_BYTES) -> Iterator[Faulty]:
    """A file system that fails on order, in memory. Skips where the machine cannot mount one."""
    _need_root("a FUSE file system")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("no FUSE here: /dev/fuse is missing, or not ours to open")
    with (
        _place() as (path, _),
        subprocess.Popen(
            [sys.executable, "-m", "tests.disks.faulty", str(path), str(capacity_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            start_new_session=True,  # Ctrl-C ends the test, and the test ends this
        ) as process,
    ):
        it = Faulty(path, process)
        try:
            said = it.said()
            if "mounted" not in said:
                pytest.skip(f"this machine mounts no FUSE file system: {said.get('error', 'it did not start')}")
            yield it
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def loop(kind: str) -> Iterator[Mounted]:
    """A file system of this kind in a file, on a loop device. Skips where the machine cannot."""
    _need_root(f"{kind} on a loop device")
    make = shutil.which(f"mkfs.{kind}", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if make is None:
        pytest.skip(f"mkfs.{kind} is not installed")
    with _place() as (path, beside):
        image = beside / "image"
        with image.open("wb") as file:
            file.truncate(SIZES[kind])
        # nothing is kept for root, who the tests are: full is full
        options = ["-q", "-m", "0"] if kind == "ext4" else ["-q"]
        _or_skip([make, *options, str(image)], f"mkfs.{kind}")
        _or_skip(["mount", "-t", kind, "-o", "loop", str(image), str(path)], f"a loop device with {kind}")
        yield Mounted(path)


@contextmanager
def small() -> Iterator[Mounted]:
    """A small file system, on a disk where the machine can, else in memory. Skips where it cannot mount either."""
    with ExitStack() as stack:
        try:
            it = stack.enter_context(loop("ext4"))
        except pytest.skip.Exception:
            _need_root("a small file system")
            path, _ = stack.enter_context(_place())
            _or_skip(["mount", "-t", "tmpfs", "-o", f"size={SIZES['ext4']}", "tmpfs", str(path)], "a tmpfs")
            it = Mounted(path)
        yield it


def sweep() -> None:
    """Take away what runs that were killed have left mounted, or lying about."""
    for at in _mounted():
        if _abandoned(at.parent.name):
            _libc.umount2(str(at).encode(), _DETACH)
    mounted = _mounted()
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if _abandoned(left.name) and left / "mount" not in mounted:
            shutil.rmtree(left, ignore_errors=True)


def _mounted() -> list[Path]:
    return [Path(line.split(" ")[1]) for line in Path("/proc/self/mounts").read_text().splitlines()]


def _abandoned(name: str) -> bool:
    """Whether a place of this name is one of ours whose process is gone."""
    found = _PLACE.match(name)
    return found is not None and not Path("/proc", found[1]).exists()


@contextmanager
def _place() -> Iterator[tuple[Path, Path]]:
    """Where to mount, and a directory beside; what is mounted then is taken away, in use or not."""
    sweep()
    beside = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    path = beside / "mount"
    path.mkdir()
    try:
        yield path, beside
    finally:
        # lazily: a process that hangs in it must not make us hang. A loop device goes with its mount
        _libc.umount2(str(path).encode(), _DETACH)
        shutil.rmtree(beside, ignore_errors=True)


def _need_root(what: str) -> None:
    if os.geteuid() != 0:
        pytest.skip(f"mounting {what} needs root")


def _or_skip(command: list[str], what: str) -> None:
    made = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    if made.returncode:
        why = (made.stderr.splitlines() or [f"exit code {made.returncode}"])[0].rpartition(": ")[2]
        pytest.skip(f"this machine cannot make {what}: {why}")
