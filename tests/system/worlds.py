"""What system tests do with a world of real processes."""

import re
from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import msgspec
import trio

from loadtest.hub.switch import SIGNED_BEFORE
from loadtest.ledger.oracle import Verdict
from loadtest.runs.world import Plan, World, http

FAST = Plan(stand_in_after_s=0.4, patience_s=4.0)
"""Deadlines short enough for a test to see them pass, as long as is fair on a busy machine."""
TROUBLE = frozenset({"unknown", "unsent", "invalid", "unreached", "lost", "parked", "nothing was paid"})
"""What a test does not meet unless it is about that: accounts of the ledger (unknown and unsent also for a time),
notices that were parked, idleness."""
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


async def noted(it: World, what: str, count: int) -> bool:
    """Whether the hub has counted this so often."""
    return bool((await it.hub("statistics"))["counts"].get(what, 0) >= count)


async def load(it: World, rate: float, duration_s: float) -> None:
    """Begin to send payments."""
    await it.hub("start", rate=rate, duration=duration_s, model="poisson", seed=1)


async def end(it: World, *, may: Collection[str] = ()) -> Verdict:
    """Let everything get its outcome and be told, stop every part, and judge the books.

    `may`: what of `TROUBLE` is no surprise in this test.
    """
    await it.settled()
    assert await it.told_everything(WITHIN_S), "everything is told"
    assert await it.stop_gateway() == 0
    hub = await it.finish_hub()
    assert not hub["faults"], hub["faults"]
    assert not hub["counts"].get(SIGNED_BEFORE), "what leaves is signed with the key in force"
    if it.plan.data_centres == 1:
        assert not hub["counts"].get("9200 again"), "a request that may have left goes again as a repeat"
    await it.stop_processor()
    verdict = await it.verdict()
    assert verdict.balances, verdict
    found = {
        *(name for accounts in (verdict.accounts, verdict.outbound) for name, count in accounts.items() if count),
        *(name for name in ("unknown", "unsent") if verdict.figures.get(f"steps {name.upper()}")),
        *(["parked"] if verdict.figures.get("parked") else []),
        *(["nothing was paid"] if not verdict.sent + verdict.submitted else []),
    }
    assert not (found & TROUBLE) - set(may), verdict
    return verdict


def log_of(it: World, name: str = "gateway") -> list[dict[str, Any]]:
    """The gateway's log, line by line."""
    return _lines(it.directory / f"{name}.log")


def held(it: World) -> bool:
    """Whether any gateway has signed off to receive for a time, and says so: the machine was too busy for it."""
    logs = (gateway.bank.directory / f"{gateway.output}.log" for gateway in it.gateways)
    return any(line["event"] == "links on hold: signing off to receive" for log in logs for line in _lines(log))


def _lines(log: Path) -> list[dict[str, Any]]:
    text = log.read_bytes()
    return [msgspec.json.decode(line, type=dict[str, Any]) for line in text.splitlines() if line.startswith(b"{")]


def change(it: World, pattern: str, replacement: str) -> None:
    """Edit the gateway's configuration."""
    text = it.configuration.read_text(encoding="utf-8")
    changed, count = re.subn(pattern, replacement, text)
    assert count, pattern
    it.configuration.write_text(changed, encoding="utf-8")
