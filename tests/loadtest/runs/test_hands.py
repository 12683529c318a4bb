"""The hands of the kill tests, on processes that do nothing: what ends is started again, and must end as it was made
to.
"""

import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from loadtest.parts.processes import Child, children_of
from loadtest.runs.hands import Hands, Kept, session_of, stopped
from loadtest.runs.trouble import Trouble
from loadtest.runs.world import Plan, World

pytestmark = pytest.mark.system

WAITS = "import signal; signal.signal(signal.SIGTERM, lambda *_: exit(0)); print('up', flush=True); signal.pause()"
WITHIN_S = 30


async def until(what: Callable[[], bool]) -> None:
    """Wait until the system says so."""
    while not what():  # noqa: ASYNC110 - another process cannot set our events
        await trio.sleep(0.01)


class KeptScript(Kept):
    """A process of this script."""

    def __init__(self, hands: Hands, directory: Path, script: str = WAITS) -> None:
        super().__init__("script", hands)
        self._directory = directory
        self.script = script
        self._child: Child | None = None

    @property
    def child(self) -> Child | None:
        return self._child

    async def begin(self) -> None:
        child = await Child.start("script", [sys.executable, "-c", self.script], self._directory, piped=True)
        assert child.process.stdout is not None
        await child.process.stdout.receive_some()
        self._child = child

    def forget(self) -> None:
        self._child = None


@asynccontextmanager
async def kept(directory: Path, script: str = WAITS) -> AsyncIterator[tuple[Hands, KeptScript]]:
    """A script that is kept running by hands that have nobody else."""

    async def nothing(_: object) -> None:
        pass

    hands = Hands(World(directory, Plan()), print, nothing)
    one = KeptScript(hands, directory, script)
    with trio.fail_after(WITHIN_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.run)
            await one.up.wait()
            yield hands, one
            nursery.cancel_scope.cancel()
        if one.child is not None:
            await one.child.end(signal.SIGKILL)


async def test_what_is_killed_or_drained_is_started_again(tmp_path: Path) -> None:
    """By its signal or by 0, which is as it should be."""
    async with kept(tmp_path) as (hands, one):
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
            pid, gone = one.pid, one.gone
            assert one.send(number)
            await gone.wait()
            await one.up.wait()
            assert one.pid not in {None, pid}
        assert one.starts == 4
        assert hands.problems == []


async def test_what_ends_by_itself_is_a_problem(tmp_path: Path) -> None:
    """It is started again all the same."""
    async with kept(tmp_path) as (hands, one):
        one.script = WAITS.replace("signal.pause()", "exit(3)")
        one.send(signal.SIGKILL)
        while not hands.problems:
            await one.gone.wait()
        assert hands.problems[0].startswith("script ended with 3, which nobody made it do: see ")


async def test_what_is_stopped_goes_on_also_when_cancelled(tmp_path: Path) -> None:
    def state(pid: int) -> str:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]

    async with kept(tmp_path) as (_, one):
        assert one.pid is not None
        with trio.move_on_after(0.2):
            await stopped(one.pid, 60, lambda: True)
        assert state(one.pid) != "T"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.stop, 60)
            await until(lambda: state(one.pid or 0) == "T")
            nursery.cancel_scope.cancel()
        assert state(one.pid) != "T"


async def test_a_worker_that_outlives_its_gateway_is_found(tmp_path: Path) -> None:
    """And ended: nothing of a world stays."""
    waits = "import time; time.sleep(600)"
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {waits!r}]); {WAITS}"
    async with kept(tmp_path, parent) as (hands, one):
        assert one.pid is not None
        sid = one.pid
        (worker,) = children_of(sid)
        hands._sessions[sid] = "sip-a"
        gone, one.pause_s = one.gone, 60
        one.send(signal.SIGKILL)
        await gone.wait()
        assert session_of(sid) == [worker]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("loadtest.runs.hands.GONE_WITHIN_S", 0.1)
            await hands.nobody_left()
        assert hands.problems == [f"a worker of sip-a (process {worker}) has outlived its gateway"]
        await until(lambda: not session_of(sid))


async def test_a_trouble_whose_victim_is_away_is_void(tmp_path: Path) -> None:
    async with kept(tmp_path) as (hands, one):
        hands.processors["script"] = one  # type: ignore[assignment]  # it is kept like one
        gone = one.gone
        await hands.play([Trouble(0, "kill", "script", 60)])
        await gone.wait()
        await hands.play([Trouble(0, "kill", "script", 60), Trouble(0, "stop", "script", 60)])
        assert hands.void == 2
        assert hands.done == {"kill processor": 1}
