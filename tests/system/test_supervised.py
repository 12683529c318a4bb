"""A gateway that somebody supervises, by sd_notify: what is said when, and that it holds up nobody."""

import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

from loadtest.runs.world import World, children_of, http
from tests.system.worlds import WITHIN_S, Worlds, end, load, log_of

pytestmark = pytest.mark.system
WATCHDOG_S = 1.5


class Overseer:
    """Listens as systemd does, when it is asked to."""

    def __init__(self, ear: socket.socket) -> None:
        self._ear = ear
        self.heard: list[dict[str, str]] = []

    async def hear(self, name: str, begins: str = "") -> str:
        """Listen until something of that name, which begins like that, is said: what it is, in full."""
        with trio.fail_after(WITHIN_S):
            while True:
                await trio.lowlevel.wait_readable(self._ear)
                self.heard.append(dict(line.split("=", 1) for line in self._ear.recv(65536).decode().split("\n")))
                said = self.heard[-1].get(name)
                if said is not None and said.startswith(begins):
                    return said


@asynccontextmanager
async def supervised(worlds: Worlds, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[World, Overseer]]:
    """A world whose gateway has a supervisor."""
    address = f"fps-overseer-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind("\0" + address)
        ear.setblocking(False)
        async with worlds(gateway=False) as it:
            monkeypatch.setenv("NOTIFY_SOCKET", "@" + address)
            monkeypatch.setenv("WATCHDOG_USEC", str(round(WATCHDOG_S * 1e6)))
            yield it, Overseer(ear)


async def test_its_supervisor_hears_how_it_is_from_its_start_to_its_end(
    worlds: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And, while tokens hang, that it is alive as ever: it sees to them itself."""
    async with supervised(worlds, monkeypatch) as (it, overseer):
        await it.the_gateway.start()
        assert it.gateway is not None
        await overseer.hear("READY")
        assert (await http(it.ops_port, "GET", "/live"))[0] == 200, "what is ready can be asked"
        await overseer.hear("STATUS", "ready")
        assert overseer.heard[0] == {"EXTEND_TIMEOUT_USEC": "120000000", "STATUS": "opening the journal"}
        assert any(lines.get("STATUS", "").startswith("unready: no link to the hub: ") for lines in overseer.heard)
        await it.signed_on(it.gateway)
        workers = children_of(it.gateway.process.pid)
        assert len(workers) == it.plan.tokens
        for worker in workers:
            assert b"NOTIFY_SOCKET" not in Path(f"/proc/{worker}/environ").read_bytes(), "none speaks for its parent"
            os.kill(worker, signal.SIGSTOP)
        await load(it, 20, 2)
        for _ in range(4):
            await overseer.hear("WATCHDOG")
        await end(it, may={"unreached", "lost"})
        assert float(await overseer.hear("EXTEND_TIMEOUT_USEC")) > 12e6, "as long as a drain may take"
        assert overseer.heard[-1]["STOPPING"] == "1"
        assert sum("READY" in lines for lines in overseer.heard) == 1


async def test_a_supervisor_that_does_not_listen_holds_up_no_payment(
    worlds: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with supervised(worlds, monkeypatch) as (it, overseer):
        address = "\0" + os.environ["NOTIFY_SOCKET"][1:]
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as crowd,
            suppress(BlockingIOError),
        ):
            while True:
                crowd.sendto(b"X=1", address)
        await it.start_gateway()
        await load(it, 50, 1)
        await end(it)
        said = [line for line in log_of(it) if line["component"] == "notify"]
        assert [line["event"] for line in said] == ["the supervisor is not reached"]
        assert not overseer.heard
