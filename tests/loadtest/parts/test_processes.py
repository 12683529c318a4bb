"""A process that is looked at, or sent something, may have ended meanwhile: that is no failure of a world."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import trio

from loadtest.parts.processes import Child, WorldError, children_of, rss_bytes, spent_s
from loadtest.runs import banks, world
from loadtest.runs.banks import Plan
from loadtest.runs.hands import _send
from loadtest.runs.world import World


@pytest.fixture
def ended() -> int:
    """The id of a process that has ended and was waited for: nobody has it now."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


@pytest.fixture
def zombie() -> Iterator[int]:
    """The id of one that has ended and was not waited for: it is still listed."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        yield process.pid


@pytest.fixture
def it(tmp_path: Path) -> World:
    """A world in which nothing was started."""
    return World(tmp_path, msgspec.structs.replace(Plan(), workers_cpu=0))


def test_one_that_has_ended_spends_and_holds_nothing_and_has_no_children(ended: int, zombie: int) -> None:
    """However far it is gone; of a running one all of it can be had."""
    assert spent_s(ended) == 0.0
    assert rss_bytes(ended) is rss_bytes(zombie) is None
    assert (rss_bytes(os.getpid()) or 0) > 0
    assert children_of(ended) == []
    assert spent_s(zombie) >= 0.0
    assert children_of(zombie) == []
    assert spent_s(os.getpid()) > 0.0
    assert zombie in children_of(os.getpid())


def test_a_signal_to_one_that_has_ended_is_not_sent(ended: int, zombie: int) -> None:
    """And whoever sends it hears that."""
    assert not _send(ended, signal.SIGKILL)
    assert _send(zombie, signal.SIGKILL)


async def test_what_a_world_does_to_workers_that_have_just_ended(
    it: World, ended: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pinned they are not, they have spent nothing, and that none can be killed is said in words."""
    child = it.the_gateway.child = await Child.start("gateway", ["sleep", "60"], it.directory)
    try:
        for workers in ([ended], []):
            for module in (banks, world):
                monkeypatch.setattr(module, "children_of", lambda _, workers=workers: workers)
            it.the_gateway.pin_workers()
            assert it.spent_s()["workers"] == 0.0
            with pytest.raises(WorldError, match="the gateway has no token worker"):
                it.kill_token_worker()
    finally:
        await child.end(signal.SIGKILL)


async def test_what_a_world_says_of_a_gateway_that_ends_meanwhile(it: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was running when it was asked for, and is gone when its memory and time are read."""
    child = it.the_gateway.child = await Child.start("gateway", ["sleep", "60"], it.directory)
    assert (it.gateway_rss_bytes() or 0) > 0
    await child.end(signal.SIGKILL)
    assert it.gateway_rss_bytes() is None
    monkeypatch.setattr(Child, "running", property(lambda _: True))
    assert it.gateway_rss_bytes() is None
    assert it.spent_s()["gateway"] == it.spent_s()["workers"] == 0.0
    with pytest.raises(WorldError, match="the gateway has no token worker"):
        it.kill_token_worker()


async def test_ending_one_that_has_ended_says_how_it_ended(tmp_path: Path) -> None:
    """Twice, too; and one that does not end when asked to is killed."""
    child = await Child.start("short", [sys.executable, "-c", "raise SystemExit(7)"], tmp_path)
    await child.process.wait()
    assert [await child.end(), await child.end(signal.SIGKILL)] == [7, 7]
    deaf = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('{}', flush=True); signal.pause()"
    child = await Child.start("deaf", [sys.executable, "-c", deaf], tmp_path, piped=True)
    with trio.fail_after(30):
        assert await child.first_line() == {}
        assert await child.end(within_s=0.0) == -signal.SIGKILL
