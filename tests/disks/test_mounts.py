"""The mounts that tests make: whoever runs them finds the machine as it was."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.disks import mounts

HOLDING = """
from tests.disks import mounts
with mounts.{maker} as it:
    print(it.path, flush=True)
    input()
"""


@pytest.mark.parametrize("maker", ["loop('ext4')", "faulty()"])
def test_what_a_killed_run_has_left_is_taken_away_by_the_next(maker: str) -> None:
    """Also a file system whose server went with it: using that would give errors, or hang."""
    with mounts.faulty() if maker == "faulty()" else mounts.loop("ext4"):
        pass  # or skipped, with the reason
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING.format(maker=maker)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as killed:
        assert killed.stdout is not None
        path = killed.stdout.readline().decode().strip()
        assert path in Path("/proc/self/mounts").read_text()
        killed.kill()
    mounts.sweep()
    assert path not in Path("/proc/self/mounts").read_text()
    assert not Path(path).exists()
