"""DRBD's tools and files, for whoever tests them."""

import shutil
from pathlib import Path

import pytest

from tests.compose.drbd_tools import FILES, on, rendered


@pytest.fixture(scope="session")
def drbdadm() -> str:
    """DRBD's tool, or a skip that says why not."""
    program = shutil.which("drbdadm", path="/usr/sbin:/sbin")
    if program is None:
        pytest.skip("drbdadm is not here (Debian: drbd-utils)")
    if on("fps-a1", "true").returncode:
        pytest.skip("no UTS name space may be made here (needs root)")
    return program


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """As `/etc/drbd.conf` has it."""
    assert rendered(tmp_path).returncode == 0
    shutil.copy(FILES / "common.conf", tmp_path)
    path = tmp_path / "drbd.conf"
    path.write_text('include "common.conf";\ninclude "*.res";\n', encoding="ascii")
    return path
