"""The units under a real systemd, installed as their README says: `under_systemd.py`, in a machine that is made here.

Those tests need a network with nothing in it but the server, the hub and the processor: they run in one of their own.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.machines import engine, roots
from tests.machines.server import PACKAGES

pytestmark = pytest.mark.system

TOP = Path(__file__).parents[2]
IMAGE = "localhost/fps-server:1"
WITHIN_S = 600.0


def test_the_units_do_under_a_real_systemd_what_their_readme_says(tmp_path: Path) -> None:
    try:
        with engine.engine(compose=False) as docker:
            docker.base(IMAGE, *PACKAGES)
            wheels = roots.cache("wheels")
            subprocess.run(["make", "--silent", "wheels", f"WHEELS={wheels}"], cwd=TOP, check=True)
            tests = Path(__file__).with_name("under_systemd.py")
            command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", f"--basetemp={tmp_path / 'in'}"]
            environment = {**docker.environment, "SERVER_IMAGE": IMAGE, "SERVER_WHEELS": str(wheels)}
            done = subprocess.run(
                [*docker.inside(*command), str(tests)],
                cwd=TOP,
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                check=False,
                timeout=WITHIN_S,
            )
    except roots.Missing as missing:
        pytest.skip(str(missing))
    assert done.returncode == 0, f"{done.stdout[-20_000:]}\n{done.stderr[-5_000:]}"
    assert "skipped" not in done.stdout
