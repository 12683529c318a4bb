"""The engine that tests run: whoever runs them finds the machine as it was."""

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tests.machines import engine, roots

pytestmark = pytest.mark.system

HOLDING = """
import sys
from tests.machines import engine
with engine.engine(compose=False) as docker:
    docker.base("localhost/base:1", "python3", "softhsm2", "ca-certificates", "python3-venv")
    docker.run("run", "--detach", "localhost/base:1", "sleep", "3600")
    print(docker.directory, flush=True)
    input()
"""


def processes_of(place: Path) -> dict[int, str]:
    """Those that name this directory, and those in its cgroup: process id and command line."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line, groups = (process / "cmdline").read_bytes(), (process / "cgroup").read_text()
        except OSError:
            continue  # gone
        if str(place).encode() in line or f"/{place.name}/" in groups:
            found[int(process.name)] = line.replace(b"\0", b" ").decode()
    return found


def left_of(place: Path) -> list[str]:
    """All that the machine has of an engine."""
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if place.name in line]
    groups = [str(group) for group in Path("/sys/fs/cgroup").glob(f"**/{place.name}")]
    namespace = Path("/run/netns", place.name)
    return [
        *processes_of(place).values(),
        *mounts,
        *groups,
        *(str(path) for path in (place, namespace) if path.exists()),
    ]


def test_an_engine_runs_containers_and_leaves_nothing() -> None:
    """A container that goes on running, too."""
    try:
        with engine.engine() as docker:
            docker.base("localhost/base:1", "python3", "softhsm2", "ca-certificates", "python3-venv")
            said = docker.run(
                "run", "--rm", "--read-only", "--cap-drop=ALL", "localhost/base:1", "python3", "-c", "print(7)"
            )
            assert said == "7\n"
            assert docker.run("compose", "version", "--short").startswith("2.")
            docker.run("run", "--detach", "localhost/base:1", "sleep", "3600")
            assert any("sleep 3600" in line for line in processes_of(docker.directory).values())
            with pytest.raises(engine.Failed, match="No such container"):
                docker.run("inspect", "--type=container", "nobody")
            place = docker.directory
    except roots.Missing as missing:
        pytest.skip(str(missing))
    assert left_of(place) == []


def test_what_a_killed_run_has_left_is_taken_away_by_the_next() -> None:
    """Its processes end with it; directory, namespace and cgroups are left for the next run."""
    try:
        with engine.engine(compose=False):
            pass  # or skipped, with the reason
    except roots.Missing as missing:
        pytest.skip(str(missing))
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as killed:
        assert killed.stdout is not None
        place = Path(killed.stdout.readline().decode().strip())
        handles = [os.pidfd_open(pid) for pid in processes_of(place)]
        assert handles
        killed.kill()
    for handle in handles:
        assert select.select([handle], [], [], 30)[0], "a process of the engine outlives us"
        os.close(handle)
    engine.sweep()
    assert left_of(place) == []
