"""Both disks, so that the fake one is held to what the real one does."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gateway.config import JournalSettings
from gateway.disk import RealDisk
from tests.fakes.disk import FakeDisk
from tests.fakes.journal import SETTINGS

Place = tuple[FakeDisk | RealDisk, JournalSettings]


@pytest.fixture(params=["fake", "real"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A disk, and settings for a journal on it."""
    if request.param == "fake":
        yield FakeDisk(), SETTINGS
        return
    disk = RealDisk()
    yield disk, msgspec.structs.replace(SETTINGS, dir=str(tmp_path / "journal"))
    disk.release()


@pytest.fixture
def fake() -> FakeDisk:
    """A disk in memory."""
    return FakeDisk()
