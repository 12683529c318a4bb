"""A minute in the life of a gateway, with everything going wrong that may, ending in the ledger.

    python -m loadtest demo

Starts a mock hub with two sites, a mock processor and two gateways with two SoftHSM tokens, all on loopback: one for
immediate payments, one for returns. The hub sends payments all the while, and the processor submits some. In between
the processor returns what it received; it is taken away (stand-in answers, nobody is rejected) and brought back (it is
told everything); the hub changes the key that the gateway signs with; the scheme's news say that a bank is suspended,
and payments to it are declined until it is not; one hub site goes and comes; the worker process of an HSM token is
killed; the gateway is killed with SIGKILL and started again (what was in the air comes back, what had left is
repeated). At the end everything was told and every payment, in both directions, is accounted for, exactly.

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

from gateway.arguments import RATE, SECONDS, Commands, Number
from loadtest import report
from loadtest.banks import SIMULATED
from loadtest.screen import Row, Screen, screen
from loadtest.world import Plan, World, WorldError, backlog, interruptible, said, world

STAND_IN_AFTER_S = 1.5
TOLD_WITHIN_S = 60.0
"""How long telling everything may take at the end."""
LEAVING = 0.5
"""Payments that leave, for each one that comes."""
WAIT_S = 5.0
"""How long the processor asks to wait for an outcome."""
RETURNED = 3
SECONDS_MIN = 20.0
"""Less does not leave room for what is to be shown."""


def add_parser(commands: Commands) -> None:
    """Add `demo`."""
    parser = commands.add_parser(
        "demo",
        help="a minute in the life of a gateway, ending in the ledger",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rate", type=RATE, default=100.0, metavar="PER_S", help="payments per second (default: 100)")
    parser.add_argument(
        "--seconds",
        type=Number(SECONDS_MIN, SECONDS.most),
        default=60.0,
        metavar="S",
        help="of payments (default: 60, least: 20)",
    )
    parser.add_argument("--dir", type=Path, help="put everything below this (default: a temporary directory)")
    parser.add_argument("--keep", action="store_true", help="do not remove the temporary directory")
    parser.add_argument("--plain", action="store_true", help="lines rather than a live table, also on a terminal")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the demo and return its exit code."""
    return trio.run(interruptible, partial(_demo, options))


async def _demo(options: argparse.Namespace) -> int:
    plan = Plan(
        stand_in_after_s=STAND_IN_AFTER_S,
        outbound=True,
        groups=("sip", "other"),
        answer_within_s=11.0,
        contents=True,
    )
    try:
        async with world(plan, options.dir, keep=options.keep) as it:
            with screen(plain=options.plain) as shown:
                shown.event(f"everything is in {it.directory}{'' if options.keep or options.dir else ' until the end'}")
                shown.event("making two tokens; starting processor, hub with sites a and b, gateways")
                await it.start()
                shown.event(f"signed on at both sites; stand-in after {STAND_IN_AFTER_S:g} s (short, for the demo)")
                watch = Watch(it, shown)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(watch.run)
                    told, ended, hub = await Play(it, shown, options.rate, options.seconds).run()
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


class Play:
    """What happens, and when."""

    def __init__(self, it: World, shown: Screen, rate: float, seconds: float) -> None:
        self._it = it
        self._say = shown.event
        self._rate = rate
        self._seconds = seconds
        self._end_s = 0.0

    async def run(self) -> tuple[bool, int, dict[str, Any]]:
        """Play it to its end. Returns whether everything was told, the gateways' exit code, the hub's statistics."""
        it, say = self._it, self._say
        start_s = trio.current_time()
        self._end_s = start_s + self._seconds
        await it.hub("start", rate=self._rate, duration=self._seconds)
        await self._submit()
        say(f"{self._rate:g} payments/s come, {self._rate * LEAVING:g}/s leave, for {self._seconds:g} s")
        for share, act in SCRIPT:
            await trio.sleep_until(start_s + share * self._seconds)
            await act(self)
        await trio.sleep_until(self._end_s)
        say("no more payments: waiting until each has its outcome")
        await it.settled()
        say("waiting until the processor has been told everything")
        told = await it.told_everything(TOLD_WITHIN_S)
        say("draining the gateways" if told else "not everything was told in time")
        code = await it.stop_gateway()
        hub = await it.finish_hub()
        await it.stop_processor()
        say(f"all parts have ended, the gateways with {code}")
        return told, code, hub

    async def _submit(self) -> None:
        """Have the processor submit for the rest of the time."""
        await self._it.submit(self._rate * LEAVING, max(self._end_s - trio.current_time(), 0.1), wait_s=WAIT_S)

    async def returns(self) -> None:
        """Payments go back to where they came from."""
        await self._it.bank.submissions(do="return", count=RETURNED)
        self._say(f"the processor returns {RETURNED} payments that it received (type 20)")

    async def processor_away(self) -> None:
        """Nobody to ask."""
        self._say("the processor is gone: stand-in takes over, nothing is submitted")
        await self._it.stop_processor()

    async def processor_back(self) -> None:
        """Somebody to ask and to tell."""
        await self._it.start_processor()
        await self._submit()
        self._say("the processor is back: it is told what was done in its absence")

    async def key(self) -> None:
        """A new key, wrapped, into the tokens."""
        self._say("the hub sends a new key, wrapped (811): into the tokens, then proved (886)")
        await self._it.hub("key", use="own", everywhere=True)

    async def suspended(self) -> None:
        """News."""
        await self._it.hub("usm", everywhere=True, function="972", fields={"67": "01", "100": SIMULATED.institution})
        self._say("news (972): the other bank is suspended, payments to it are not taken")

    async def available(self) -> None:
        """Better news."""
        await self._it.hub(
            "usm", everywhere=True, function="972", fields={"67": "00", "68": "01", "100": SIMULATED.institution}
        )
        checks = (await self._it.hub("statistics"))["keys"][self._it.bank.identity.name]
        self._say(f"news (972): it is available again; key changes so far: {checks['changed']}")

    async def site_away(self) -> None:
        """Half of the connections."""
        await self._it.hub("close", site="a")
        self._say("hub site a is gone: site b carries everything")

    async def site_back(self) -> None:
        """All of them."""
        await self._it.hub("open", site="a")
        self._say("hub site a is back")

    async def worker_away(self) -> None:
        """One of two tokens."""
        self._say("kill -9 of an HSM token's worker: the other token carries on, a new worker comes")
        self._it.kill_token_worker()

    async def processor_slow(self) -> None:
        """So that something is in the air."""
        await self._it.processor_mode("slow:0.5")
        await self._it.hub("bank", rule="slow=0.5")
        self._say("both ends take half a second for each answer: payments are in the air")

    async def kill(self) -> None:
        """In the middle of it."""
        self._say("kill -9 of the gateway")
        await self._it.kill_gateway()
        await self._it.processor_mode("fast")
        await self._it.hub("bank", rule="accept")
        await self._it.start_gateway()
        self._say("the gateway is up again: it has read its journal, and signs with the new key")
        self._say("what was in the air comes back (9420); what had left is repeated (9201)")


SCRIPT: tuple[tuple[float, Callable[[Play], Awaitable[None]]], ...] = (
    (0.08, Play.returns),
    (0.14, Play.processor_away),
    (0.34, Play.processor_back),
    (0.44, Play.key),
    (0.49, Play.suspended),
    (0.54, Play.available),
    (0.58, Play.site_away),
    (0.65, Play.site_back),
    (0.69, Play.worker_away),
    (0.74, Play.processor_slow),
    (0.80, Play.kill),
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
        submitted=counts.get("submitted", 0),
        accepted=sum(number for code, number in hub["submitted_codes"].items() if code.startswith("0")),
        untold=waiting,
        p50_ms=recent.get("p50_ms"),
        p99_ms=recent.get("p99_ms"),
        faults=counts.get("faults", 0),
    )
