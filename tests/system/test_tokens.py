"""Four HSM tokens, two in each data centre, and any three of them gone: payments go on, and what is well again is used.

Real gateways, workers and SoftHSM, under load in both directions all the time; the ledger judges.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from loadtest.runs.banks import Gateway
from loadtest.runs.world import Plan, World, children_of, http
from tests.system.worlds import Worlds, end, load, log_of, until

pytestmark = pytest.mark.system

FOUR = Plan(tokens=4, remote_tokens=2, data_centres=2, outbound=True)
"""A processor that answers at once has seconds to spare: what is stood in for or refused is so for want of a MAC."""
LEFT = "fps-3"
"""The one that stays well: local to the second gateway, remote to the first."""
SICK = frozenset({"fps-1", "fps-2", "fps-4"})
RATE = 20.0
START_WITHIN_S = 2.0
"""The tokens' limit: a worker that hangs in its start is given up sooner than a bank would."""
STOPPED_S, RUNNING_S = 0.5, 0.1
"""What makes a worker slow, and not hung: it stands still most of the time."""
LASTS_S = 4.0
"""How long each trouble lasts: some lives of a worker that hangs, many of one that dies."""
LOOK_S = 0.02


def configure(gateway: Gateway) -> None:
    """Name each worker's token in its environment, where this test looks for it, and set the limit."""
    text = gateway.configuration.read_text(encoding="utf-8")
    named = r'name = "(fps-[0-9])"((?:\n[^\n\[]+)*?)\nenvironment = \{'
    text, count = re.subn(
        named, rf'start_within_s = {START_WITHIN_S}\nname = "\1"\2\nenvironment = {{ TOKEN = "\1",', text
    )
    assert count == FOUR.tokens
    gateway.configuration.write_text(text, encoding="utf-8")


def workers(it: World, names: frozenset[str]) -> list[int]:
    """The workers of these tokens, of all gateways."""
    found = []
    for gateway in it.gateways:
        assert gateway.child is not None
        for pid in children_of(gateway.child.process.pid):
            with suppress(OSError):
                environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                if any(f"TOKEN={name}".encode() in environment for name in names):
                    found.append(pid)
    return found


def send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


async def dead(it: World) -> None:
    """None of their workers lives long enough to open a token."""
    while True:
        send(workers(it, SICK), signal.SIGKILL)
        await trio.sleep(LOOK_S)


async def hung(it: World) -> None:
    """Each stands still, and so does each that takes its place."""
    while True:
        send(workers(it, SICK), signal.SIGSTOP)
        await trio.sleep(LOOK_S)


async def slow(it: World) -> None:
    """Each stands still most of the time, but for less than would be taken for hung."""
    try:
        while True:
            send(workers(it, SICK), signal.SIGSTOP)
            await trio.sleep(STOPPED_S)
            send(workers(it, SICK), signal.SIGCONT)
            await trio.sleep(RUNNING_S)
    finally:
        send(workers(it, SICK), signal.SIGCONT)


@asynccontextmanager
async def trouble(it: World, what: Callable[[World], Awaitable[None]]) -> AsyncIterator[None]:
    """Three tokens are so meanwhile."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(what, it)
        yield
        nursery.cancel_scope.cancel()


async def get(gateway: Gateway, path: str) -> bytes:
    return (await http(gateway.ops_port, "GET", path))[1]


async def ready(gateway: Gateway) -> dict[str, Any]:
    return msgspec.json.decode(await get(gateway, "/ready"), type=dict[str, Any])


async def metric(gateway: Gateway, name: str) -> float:
    lines = (await get(gateway, "/metrics")).decode().splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name + " "))


async def used(gateway: Gateway) -> set[str]:
    """Which tokens get work."""
    signer = (await ready(gateway))["parts"]["signer"]
    return {name for name, health in signer.items() if health["used"]}


async def settled(it: World) -> dict[str, int]:
    """How many payments have come to an outcome, that came and that left."""
    hub, processor = await it.hub("statistics"), await it.submitted()
    return {"came": hub["counts"]["replied"], "left": processor["counts"]["settled"]}


async def all_are_well(it: World) -> None:
    """Wait until all tokens serve, and each gateway uses local ones: those that hung are tried for longer."""

    async def so() -> bool:
        for gateway, local in zip(it.gateways, ({"fps-1", "fps-2"}, {"fps-3", "fps-4"}), strict=True):
            signer = (await ready(gateway))["parts"]["signer"]
            if not await used(gateway) <= local or any(health["state"] != "serving" for health in signer.values()):
                return False
        return True

    await until(so)


async def check(gateway: Gateway) -> dict[str, Any]:
    """What `fps-gateway hsm check` makes of its tokens, while it runs."""
    command = [sys.executable, "-m", "gateway", "hsm", "check", "--json", "--config", str(gateway.configuration)]
    said = await trio.run_process(command, capture_stdout=True, check=False, stderr=subprocess.STDOUT)
    return msgspec.json.decode(said.stdout, type=dict[str, Any])


async def test_any_three_of_four_tokens_may_be_slow_hung_or_dead_and_nobody_notices(worlds: Worlds) -> None:
    """The one that is left serves both sites; the others are taken back by themselves, local ones first, under load."""
    async with worlds(FOUR, gateway=False) as it:
        a, b = it.gateways
        for gateway in it.gateways:
            configure(gateway)
            await gateway.start()
        await it.signed_on(it.gateway)
        await load(it, RATE, 600)
        await it.submit(RATE, 600)
        await all_are_well(it)
        said = await check(a)
        assert said["exit_code"] == 0, said
        assert said["verdict"]["used"] == ["fps-1", "fps-2"]
        for what in (slow, hung, dead):  # the last one has them wait for longest until they are tried again
            async with trouble(it, what):
                await until(lambda: _only(it, LEFT))
                before = await settled(it)
                await trio.sleep(LASTS_S)
                after = await settled(it)
                assert all(after[way] - before[way] > RATE * LASTS_S / 2 for way in after), (what.__name__, after)
                assert (await ready(a))["ready"], what.__name__
                if what is not slow:  # one that is slow has its good moments, and is tried then
                    assert await _only(it, LEFT), what.__name__
                    assert (await ready(a))["parts"]["tokens"].startswith("only remote tokens are used: fps-1 ")
                    assert await metric(a, "fps_signer_remote_only") == 1
                    assert await metric(b, "fps_signer_remote_only") == 0
            await all_are_well(it)
            assert await metric(a, "fps_signer_remote_only") == 0
        for gateway in it.gateways:
            assert await metric(gateway, 'fps_signer_jobs_total{outcome="unavailable"}') == 0
        await it.hub("stop")
        await it.bank.submissions(do="stop")
        verdict = await end(it)
        lines = [line["event"] for line in log_of(it)]
    assert not verdict.figures.get("steps STOOD_IN"), verdict
    assert verdict.accounts["answered"] == verdict.sent > 0, verdict
    assert verdict.outbound["accepted"] == verdict.submitted > 0, verdict
    assert lines.count("only remote tokens are used") == lines.count("local tokens are used again") >= 3


async def _only(it: World, name: str) -> bool:
    return all([await used(gateway) == {name} for gateway in it.gateways])
