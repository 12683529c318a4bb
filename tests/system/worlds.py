"""What system tests do with a world of real processes."""

import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
import trio

from loadtest.ledger import Verdict
from loadtest.world import Plan, World, http

FAST = Plan(stand_in_after_s=0.4, patience_s=4.0)
"""Deadlines short enough for a test to see them pass, as long as is fair on a busy machine."""
WITHIN_S = 60.0
"""No test waits longer for anything."""

Worlds = Callable[..., AbstractAsyncContextManager[World]]


async def until(what: Callable[[], Awaitable[object]], within_s: float = WITHIN_S) -> None:
    """Wait until something that another process says is so."""
    with trio.fail_after(within_s):
        while not await what():  # noqa: ASYNC110 - another process cannot set our events
            await trio.sleep(0.05)


async def ready(it: World) -> dict[str, Any]:
    """What `/ready` says; empty when nobody listens."""
    try:
        _, body = await http(it.ops_port, "GET", "/ready")
    except OSError:
        return {}
    return msgspec.json.decode(body, type=dict[str, Any])


async def load(it: World, rate: float, duration_s: float) -> None:
    """Begin to send payments."""
    await it.hub("start", rate=rate, duration=duration_s, model="poisson", seed=1)


async def end(it: World) -> Verdict:
    """Let everything get its outcome and be told, stop every part, and judge the books."""
    await it.settled()
    assert await it.told_everything(WITHIN_S), "everything is told"
    assert await it.stop_gateway() == 0
    hub = await it.finish_hub()
    assert not hub["faults"], hub["faults"]
    await it.stop_processor()
    verdict = await it.verdict()
    assert verdict.balances, verdict
    return verdict


def log_of(it: World, name: str = "gateway") -> list[dict[str, Any]]:
    """The gateway's log, line by line."""
    text = (it.directory / f"{name}.log").read_bytes()
    return [msgspec.json.decode(line, type=dict[str, Any]) for line in text.splitlines() if line.startswith(b"{")]


def change(it: World, pattern: str, replacement: str) -> None:
    """Edit the gateway's configuration."""
    text = it.configuration.read_text(encoding="utf-8")
    changed, count = re.subn(pattern, replacement, text)
    assert count, pattern
    it.configuration.write_text(changed, encoding="utf-8")
