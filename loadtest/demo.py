"""A minute in the life of a gateway, with everything going wrong that may, ending in the ledger.

    python -m loadtest demo

Starts a mock hub with two sites, a mock processor and one gateway with two SoftHSM tokens, all on loopback, and sends
payments all the while. In the middle the processor is taken away (stand-in answers, nobody is rejected) and brought
back (it is told everything); one hub site goes and comes; the worker process of an HSM token is killed; the gateway is
killed with SIGKILL and started again (the hub takes back what was in the air). At the end everything was told and every
payment is accounted for, exactly.

The stand-in deadline is 1.5 s here, so that stand-in shows within the minute; a bank would configure some seconds.
Exit code 0: the ledger balances and every part ended as it should.
"""

import argparse
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio

from loadtest import report
from loadtest.screen import Row, Screen, screen
from loadtest.world import Plan, World, WorldError, backlog, interruptible, said, world

STAND_IN_AFTER_S = 1.5
TOLD_WITHIN_S = 60.0
"""How long telling everything may take at the end."""
SECONDS_MIN = 20.0
"""Less does not leave room for what is to be shown."""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `demo`."""
    parser = commands.add_parser(
        "demo",
        help="a minute in the life of a gateway, ending in the ledger",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rate", type=float, default=100.0, metavar="PER_S", help="payments per second (default: 100)")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S", help="of payments (default: 60, least: 20)")
    parser.add_argument("--dir", type=Path, help="put everything below this (default: a temporary directory)")
    parser.add_argument("--keep", action="store_true", help="do not remove the temporary directory")
    parser.add_argument("--plain", action="store_true", help="lines rather than a live table, also on a terminal")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the demo and return its exit code."""
    if options.seconds < SECONDS_MIN or not options.rate > 0:
        print(f"demo: at least {SECONDS_MIN:g} seconds and a rate above 0 are needed", file=sys.stderr)
        return 2
    return trio.run(interruptible, partial(_demo, options))


async def _demo(options: argparse.Namespace) -> int:
    plan = Plan(stand_in_after_s=STAND_IN_AFTER_S)
    try:
        async with world(plan, options.dir, keep=options.keep) as it:
            with screen(plain=options.plain) as shown:
                shown.event(f"everything is in {it.directory}{'' if options.keep or options.dir else ' until the end'}")
                shown.event("making two tokens; starting processor, hub with sites a and b, gateway")
                await it.start()
                shown.event(f"signed on at both sites; stand-in after {STAND_IN_AFTER_S:g} s (short, for the demo)")
                watch = Watch(it, shown)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(watch.run)
                    told, ended, hub = await _play(it, shown, options.rate, options.seconds)
                    nursery.cancel_scope.cancel()
            verdict = await it.verdict()
            print("", report.hub(hub), report.verdict(verdict), "", sep="\n\n")
            return _conclude(verdict.balances, told=told, exit_code=ended)
    except* WorldError as group:
        print(f"demo: {said(group)}", file=sys.stderr)
    return 1


def _conclude(balances: bool, *, told: bool, exit_code: int) -> int:  # noqa: FBT001 - it is what all is about
    problems = []
    if not balances:
        problems.append("the ledger does not balance")
    if not told:
        problems.append(f"not everything was told within {TOLD_WITHIN_S:g} s")
    if exit_code:
        problems.append(f"the gateway ended with {exit_code}")
    print("The demo failed: " + ", ".join(problems) + "." if problems else "The demo went as it should.")
    return 1 if problems else 0


async def _play(it: World, shown: Screen, rate: float, seconds: float) -> tuple[bool, int, dict[str, Any]]:
    """The play, and its end. Returns whether everything was told, the gateway's exit code, the hub's statistics."""
    start_s = trio.current_time()
    await it.hub("start", rate=rate, duration=seconds)
    shown.event(f"{rate:g} payments/s for {seconds:g} s")
    for share, act in SCRIPT:
        await trio.sleep_until(start_s + share * seconds)
        await act(it, shown)
    await trio.sleep_until(start_s + seconds)
    shown.event("no more payments: waiting until each has its outcome")
    await it.settled()
    shown.event("waiting until the processor has been told everything")
    told = await it.told_everything(TOLD_WITHIN_S)
    shown.event("draining the gateway" if told else "not everything was told in time")
    code = await it.stop_gateway()
    hub = await it.finish_hub()
    await it.stop_processor()
    shown.event(f"all parts have ended, the gateway with {code}")
    return told, code, hub


async def _processor_away(it: World, shown: Screen) -> None:
    shown.event("the processor is gone: stand-in takes over")
    await it.stop_processor()


async def _processor_back(it: World, shown: Screen) -> None:
    await it.start_processor()
    shown.event("the processor is back: it is told what was done in its absence")


async def _site_away(it: World, shown: Screen) -> None:
    await it.hub("close", site="a")
    shown.event("hub site a is gone: site b carries everything")


async def _site_back(it: World, shown: Screen) -> None:
    await it.hub("open", site="a")
    shown.event("hub site a is back")


async def _worker_away(it: World, shown: Screen) -> None:
    shown.event("kill -9 of an HSM token's worker: the other token carries on, a new worker comes")
    it.kill_token_worker()


async def _processor_slow(it: World, shown: Screen) -> None:
    await it.processor_mode("slow:0.5")
    shown.event("the processor takes half a second for each answer: payments are in the air")


async def _kill(it: World, shown: Screen) -> None:
    shown.event("kill -9 of the gateway")
    await it.kill_gateway()
    await it.processor_mode("fast")
    await it.start_gateway()
    shown.event("the gateway is up again: it has read its journal; the hub takes back what was in the air")


SCRIPT: tuple[tuple[float, Callable[[World, Screen], Awaitable[None]]], ...] = (
    (0.15, _processor_away),
    (0.40, _processor_back),
    (0.55, _site_away),
    (0.63, _site_back),
    (0.68, _worker_away),
    (0.74, _processor_slow),
    (0.80, _kill),
)
"""What happens, each at its share of the time."""


class Watch:
    """Looks at the world once a second and shows what it sees."""

    def __init__(self, it: World, shown: Screen) -> None:
        self._it = it
        self._shown = shown

    async def run(self) -> None:
        """Until cancelled, or until the hub has ended."""
        start_s = trio.current_time()
        while True:
            # not to be cut off in the middle of a reply: the play goes on asking on the same connection
            with trio.CancelScope(shield=True):
                hub = await self._it.hub("statistics", recent=True)
            waiting = backlog(await self._it.statistics())
            self._shown.row(row(trio.current_time() - start_s, hub, waiting))
            await trio.sleep(1)


def row(elapsed_s: float, hub: dict[str, Any], waiting: int | None) -> Row:
    """What is shown of one moment."""
    codes: dict[str, int] = hub["codes"]
    counts: dict[str, int] = hub["counts"]
    stood_in = sum(number for code, number in codes.items() if code.startswith("008"))
    answered = codes.get("0000", 0)
    recent = hub["recent"]["decided"]
    return Row(
        elapsed_s=elapsed_s,
        sent=counts.get("sent", 0),
        answered=answered,
        stood_in=stood_in,
        refused=sum(codes.values()) - answered - stood_in,
        reversed=counts.get("reversed", 0),
        outstanding=hub["outstanding"],
        untold=waiting,
        p50_ms=recent.get("p50_ms"),
        p99_ms=recent.get("p99_ms"),
        faults=counts.get("faults", 0),
    )
