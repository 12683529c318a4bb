"""Shortages of this process, for a while: the real one of descriptors, and one of threads that looks like it."""

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from trio._core._thread_cache import THREAD_CACHE

import gateway
from gateway.machine.shortage import NO_THREAD
from tests import rare
from tests.fakes.disk import FakeDisk

HERE = Path(gateway.__file__).parent
RAISE = (
    ("journal/writer.py", "Unavailable"), ("journal/committer.py", "Unavailable"), ("volume/drbd.py", "Unavailable"),
    ("network/papers.py", "ConfigurationError"),
)  # fmt: skip
"""What raises an error of ours when a descriptor is not to be had, and which."""


@contextmanager
def short_of_descriptors(left: int = 0) -> Iterator[None]:
    """No descriptor above the next `left` numbers can be had; who closes one gives it back."""
    for name, kind in RAISE:
        rare._errors_of(str(HERE / name), kind)  # it reads the source of what raises, and must have by then
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + left, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def no_file_can_be_opened(disk: object) -> Iterator[None]:
    """The same, of whichever disk it is."""
    if not isinstance(disk, FakeDisk):
        with short_of_descriptors():
            yield
        return
    disk.files_max = disk.files_open
    try:
        yield
    finally:
        disk.files_max = float("inf")


@contextmanager
def no_threads() -> Iterator[None]:
    """No thread can be started. tests/machine/test_shortage.py holds the error to the real one."""

    def start(_thread: threading.Thread) -> None:
        raise RuntimeError(NO_THREAD)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        patch.setattr(THREAD_CACHE, "_idle_workers", {})  # trio keeps those that were of use for a while
        yield
