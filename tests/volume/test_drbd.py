"""This machine is asked as it should be: real files, real processes in drbdsetup's place; the fake does the same."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from gateway.errors import Unavailable
from gateway.volume import drbd as module
from gateway.volume.drbd import Drbd, RealDrbd
from gateway.volume.status import Peer
from tests.fakes.volume import FakeDrbd, well

pytestmark = pytest.mark.system

SAMPLES = Path(__file__).parent / "samples"
VERSION_9 = "version: 9.2.12 (api:2/proto:86-122)\nTransports (api:21): tcp\n"
WELL = well(peers=(Peer("fps-a2", "Connected", "UpToDate", 0), Peer("fps-a3", "Connected", "UpToDate", 0)))


class Scene:
    """A machine's `/proc/drbd`, and a program in drbdsetup's place."""

    def __init__(self, at: Path) -> None:
        self.at = at
        self.proc = at / "drbd"
        self.program = at / "drbdsetup"
        self.proc.write_text(VERSION_9, encoding="ascii")
        self.does(f"cat {SAMPLES}/9.2-well-two-resources.json")
        self.drbd = RealDrbd(self.proc, str(self.program))

    def does(self, script: str) -> None:
        self.program.write_text(f"#!/bin/sh\nPATH=/bin:/usr/bin\n{script}\n", encoding="ascii")
        self.program.chmod(0o755)


async def written(path: Path) -> None:
    """Wait until there is a line in the file."""
    while not path.exists() or not path.read_text(encoding="ascii").endswith("\n"):  # noqa: ASYNC110 - files tell nobody
        await trio.sleep(0.01)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def test_drbd_9_is_asked_for_this_resource(scene: Scene) -> None:
    scene.does(f'echo "$*" > {scene.at}/asked; cat {SAMPLES}/9.0-well.json')
    assert await scene.drbd.status("fps-sip", 11) == WELL
    assert (scene.at / "asked").read_text(encoding="ascii") == "status --json fps-sip\n"


async def test_drbd_8_4_is_read_and_no_program_is_run(scene: Scene) -> None:
    scene.proc.write_bytes((SAMPLES / "8.4-well.txt").read_bytes())
    scene.program.unlink()
    assert (await scene.drbd.status("fps-sip", 11)).quorum is None


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda scene: scene.proc.unlink(), "/drbd is not there"),
        (lambda scene: scene.program.unlink(), "/drbdsetup is not there"),
        (lambda scene: scene.program.chmod(0o644), "DRBD cannot be asked: Permission denied"),
        (lambda scene: scene.does("exit 10"), "drbdsetup status ended with 10: is fps-sip up here?"),
        (lambda scene: scene.does("echo '[]'"), "the status has no resource fps-sip"),
        (lambda scene: scene.does("yes"), "the status has no end"),
        (lambda scene: scene.proc.write_text("nothing\n"), "/proc/drbd does not begin with a version"),
        (lambda scene: scene.proc.write_bytes(b"\xff\n"), "/proc/drbd does not begin with a version"),
    ],
)
async def test_why_it_cannot_be_asked_is_said(scene: Scene, spoil: Callable[[Scene], object], why: str) -> None:
    spoil(scene)
    with pytest.raises(Unavailable) as raised:
        await scene.drbd.status("fps-sip", 11)
    assert str(raised.value).endswith(why)


async def test_one_that_hangs_is_given_up_and_is_gone(scene: Scene) -> None:
    scene.does(f"echo $$ > {scene.at}/pid.new; mv {scene.at}/pid.new {scene.at}/pid; exec sleep 1000")
    with trio.move_on_after(30) as patience:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scene.drbd.status, "fps-sip", 11)
            await written(scene.at / "pid")
            nursery.cancel_scope.cancel()
    assert not patience.cancelled_caught
    with pytest.raises(ProcessLookupError):
        os.kill(int((scene.at / "pid").read_text(encoding="ascii")), 0)


async def test_one_that_cannot_even_be_killed_is_left_behind_and_has_no_second_beside_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a kernel that is stuck: here SIGKILL never arrives."""
    monkeypatch.setattr(module, "KILL_WITHIN_S", 0.01)
    monkeypatch.setattr(subprocess.Popen, "kill", lambda _: None)
    scene.does(f"echo $$ >> {scene.at}/pids; exec sleep 1000")  # a second one would show
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.drbd.status, "fps-sip", 11)
        await written(scene.at / "pids")
        nursery.cancel_scope.cancel()
    (pid,) = map(int, (scene.at / "pids").read_text(encoding="ascii").split())
    try:
        with pytest.raises(Unavailable, match=f"pid {pid}, asked before, is stuck in the kernel"):
            await scene.drbd.status("fps-sip", 11)
    finally:
        os.kill(pid, signal.SIGKILL)
    scene.does(f"cat {SAMPLES}/9.0-well.json")
    stuck = scene.drbd._stuck
    assert stuck is not None
    await trio.to_thread.run_sync(stuck.wait)
    assert await scene.drbd.status("fps-sip", 11) == WELL


async def test_a_kernel_that_answers_no_more_keeps_one_thread_and_no_payment(scene: Scene) -> None:
    """Reading hangs: it is given up each time, and begun anew only once it has come to an end."""
    scene.proc.unlink()
    os.mkfifo(scene.proc)
    for _ in range(3):
        with trio.move_on_after(0.05) as scope:
            await scene.drbd.status("fps-sip", 11)
        assert scope.cancelled_caught
    assert scene.drbd._reading.borrowed_tokens == 1
    await trio.to_thread.run_sync(scene.proc.write_text, VERSION_9)
    while scene.drbd._reading.borrowed_tokens:  # noqa: ASYNC110 - a thread that was left behind tells nobody
        await trio.sleep(0.01)
    scene.proc.unlink()
    scene.proc.write_text(VERSION_9, encoding="ascii")
    await scene.drbd.status("fps-sip", 11)


async def test_a_program_that_cannot_even_be_started_keeps_one_thread_and_no_payment(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file system that it lies on hangs: the disk of the system, not the volume's."""
    hangs, popen = threading.Event(), subprocess.Popen

    def begin(*arguments: Any, **more: Any) -> "subprocess.Popen[bytes]":
        hangs.wait(30)
        return popen(*arguments, **more)

    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "Popen", begin)
        try:
            for _ in range(3):
                with trio.move_on_after(0.05) as scope:
                    await scene.drbd.status("fps-sip", 11)
                assert scope.cancelled_caught
                assert not hangs.is_set()
            assert scene.drbd._reading.borrowed_tokens == 1
        finally:
            hangs.set()
        while scene.drbd._reading.borrowed_tokens:  # noqa: ASYNC110 - a thread that was left behind tells nobody
            await trio.sleep(0.01)
    await scene.drbd.status("fps-sip", 11)


def test_what_a_directory_lies_on_is_known_before_it_is_made(scene: Scene) -> None:
    """The first start of all makes it."""
    assert scene.drbd.device_below(f"{scene.at}/sip/journal") == scene.at.stat().st_dev
    assert scene.drbd.device_below("/proc/self") == Path("/proc").stat().st_dev


def test_a_devices_number_is_known_by_its_path(scene: Scene) -> None:
    assert scene.drbd.number_of("/dev/null") == os.makedev(1, 3)
    with pytest.raises(FileNotFoundError):
        scene.drbd.number_of("/dev/drbd/by-res/none/0")


@pytest.fixture(params=["real", "fake"])
def either(request: pytest.FixtureRequest, scene: Scene) -> tuple[Drbd, Callable[[str], None]]:
    """A machine, and how to make it say: well, nothing (a hang), or why it cannot."""
    fake = FakeDrbd()

    def real_says(what: str) -> None:
        scripts = {"well": f"cat {SAMPLES}/9.0-well.json", "hang": "exec sleep 1000", "broken": "exit 20"}
        scene.does(scripts[what])

    def fake_says(what: str) -> None:
        fake.hangs, fake.says = what == "hang", WELL if what == "well" else "drbdsetup status ended with 20"

    return (scene.drbd, real_says) if request.param == "real" else (fake, fake_says)


async def test_the_fake_is_like_the_real_one(either: tuple[Drbd, Callable[[str], None]]) -> None:
    """It says the same, fails the same, can be given up at any time, and asked again."""
    drbd, says = either
    for what in ("well", "hang", "broken", "well"):
        says(what)
        if what == "well":
            assert await drbd.status("fps-sip", 11) == WELL
        elif what == "broken":
            with pytest.raises(Unavailable, match="drbdsetup status ended with 20"):
                await drbd.status("fps-sip", 11)
        else:
            with trio.move_on_after(0.05) as scope:
                await drbd.status("fps-sip", 11)
            assert scope.cancelled_caught
