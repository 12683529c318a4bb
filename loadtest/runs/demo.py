"""Less than a minute in the life of a bank's gateways: everything that may go wrong does, and the ledger judges.

    .venv/bin/python -m loadtest demo

The demo starts a mock hub with two sites, a bank's mock processor, two SoftHSM tokens, and a gateway in each of the
bank's two data centres, all on loopback. The hub sends payments throughout, and the processor submits some. Meanwhile:

* The processor goes away: stand-in answers, and no payment is refused. It comes back, and is told everything.
* The hub changes the key that the gateways sign with.
* The scheme's news suspend a bank: payments to it are declined until the suspension ends.
* A hub site goes away and comes back.
* The worker process of an HSM token is killed.
* The gateway of a data centre is killed with SIGKILL, and the other carries on. It starts again: the hub reverses what
  was in the air, and the gateway repeats what had left.

In the end the processor has been told everything, and every payment in both directions is accounted for.

The stand-in deadline is 1.5 s here, so that stand-in shows soon. A bank would configure some seconds.
Exit code 0: the ledger balances and every part ended as it should.
"""

import argparse
import fcntl
import os
import shlex
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from gateway.machine import harmless
from gateway.machine.arguments import RATE, SECONDS, Commands, Number
from loadtest.ledger import report
from loadtest.ledger.oracle import Verdict
from loadtest.runs.banks import SIMULATED
from loadtest.runs.rows import Part, Row, Screen
from loadtest.runs.screen import screen
from loadtest.runs.world import SITES, Plan, World, WorldError, backlog, interruptible, said, world

STAND_IN_AFTER_S = 1.5
TOLD_WITHIN_S = 60.0
"""How long the processor may take at the end to acknowledge everything."""
LEAVING = 0.5
"""Outbound payments for each inbound one."""
WAIT_S = 5.0
"""How long each submission may wait for its outcome (`Prefer: wait`)."""
MARK = ".demo"
"""Marks a directory whose content an earlier demo made, so that the next may clear it. A demo that runs locks it."""
SECONDS_MIN = 20.0
"""A shorter demo leaves no room for everything that it shows."""


def add_parser(commands: Commands) -> None:
    """Add `demo`."""
    parser = commands.add_parser(
        "demo",
        help="less than a minute in the life of a bank's gateways, ending in the ledger",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rate", type=RATE, default=100.0, metavar="PER_S", help="payments per second (default: 100)")
    parser.add_argument(
        "--seconds",
        type=Number(SECONDS_MIN, SECONDS.most),
        default=40.0,
        metavar="S",
        help="of payments (default: 40, least: 20)",
    )
    parser.add_argument("--dir", type=Path, help="put everything below this (default: a temporary directory)")
    parser.add_argument("--keep", action="store_true", help="do not remove the temporary directory")
    parser.add_argument(
        "--last", type=Path, metavar="DIR",
        help="without --dir and --keep: put everything below this, in place of what the demo before it has left there",
    )  # fmt: skip
    parser.add_argument("--plain", action="store_true", help="lines rather than a live picture, also on a terminal")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the demo and return its exit code."""
    return trio.run(interruptible, partial(_demo, options))


async def _demo(options: argparse.Namespace) -> int:
    plan = Plan(stand_in_after_s=STAND_IN_AFTER_S, outbound=True, data_centres=2, answer_within_s=11.0, contents=True)
    try:
        with place(options) as (below, keep):
            async with world(plan, below, keep=keep) as it:
                return await _played(it, options, stays=keep or below is not None)
    except* (WorldError, OSError) as group:
        print(f"demo: {harmless.line(said(group))}", file=sys.stderr)
    return 1


@contextmanager
def place(options: argparse.Namespace) -> Iterator[tuple[Path | None, bool]]:
    """The directory for the world (None: a temporary one), and whether to keep a temporary one. Raises OSError."""
    if options.last is None or options.dir is not None or options.keep:
        yield options.dir, options.keep
        return
    below: Path = options.last
    below.mkdir(parents=True, exist_ok=True)
    mark = below / MARK
    if not mark.exists() and any(below.iterdir()):
        raise FileExistsError(f"{below}: no demo has made what is in there")
    with mark.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(f"{below}: a demo runs there") from None
        for left in below.glob("world-*"):
            shutil.rmtree(left)
        yield below, True


async def _played(it: World, options: argparse.Namespace, *, stays: bool) -> int:
    """Start the world, play it to its end, and judge it. Returns the exit code."""
    with screen(plain=options.plain) as shown:
        shown.event("Making two HSM tokens, and starting a hub, a bank's processor and two gateways.")
        await it.start()
        shown.event("All are signed on: the gateways of data centres A and B, each to both hub sites.")
        watch = Dashboard(it, shown)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(it.hub.look_on, watch.run)
            told, ended, hub = await Play(it, shown, watch, options.rate, options.seconds).run()
            nursery.cancel_scope.cancel()
    verdict = await it.verdict()
    well = verdict.balances and told and not ended
    print(*conclusion(hub, verdict, short=well), sep="\n\n")
    print("", _word(verdict.balances, told=told, exit_code=ended), sep="\n")
    if well:
        print("", where_next(it.journal if stays else None), sep="\n")
    elif not stays:
        print("With --keep, books, journals and logs stay.")
    return 0 if well else 1


def conclusion(hub: dict[str, Any], verdict: Verdict, *, short: bool) -> list[str]:
    """What became of the payments; with `short` False, everything that is known."""
    if not short:
        return ["", report.hub(hub), report.verdict(verdict)]
    checked = [invariant.checked for invariant in verdict.invariants if invariant.checked]
    return [
        "",
        "What the hub, the processor and both journals say of each payment, compared:",
        report.accounts(verdict),
        f"{len(checked)} promises were checked, {sum(checked):,} times in all. None was broken.\nThe ledger balances.",
    ]


def _word(balances: bool, *, told: bool, exit_code: int) -> str:  # noqa: FBT001 - it is what all is about
    problems = []
    if not balances:
        problems.append("the ledger does not balance")
    if not told:
        problems.append(f"not everything was told within {TOLD_WITHIN_S:g} s")
    if exit_code:
        problems.append(f"a gateway ended with {exit_code}")
    return "The demo failed: " + ", ".join(problems) + "." if problems else "The demo went as it should."


def where_next(journal: Path | None) -> str:
    """Suggestions for what to look at now. `journal` None: the world was removed."""
    python = shlex.quote(os.path.relpath(sys.executable))
    command = shlex.quote(os.path.relpath(Path(sys.executable).parent / "fps-gateway"))
    steps: list[tuple[str, str]] = []
    if journal is not None:
        world_ = shlex.quote(os.path.relpath(journal.parent))
        steps += [
            ("what data centre A wrote down of each payment", f"{command} journal show {world_}/journal"),
            ("what it said meanwhile, without any customer's data", f"cat {world_}/gateway.log"),
        ]
    else:
        steps.append(("the same, and keep its journals and logs", f"{python} -m loadtest demo --last var/demo"))
    steps += [
        ("a gateway of your own, a payment in and one out", f"mkdir -p var && {python} -m loadtest try var/my-gateway"),
        ("every setting, with its meaning and unit", f"{command} config example pair"),
        ("how it is run for real", "docs/operating.md"),
    ]
    return "\n".join(["Where to look next", *(f"  {what}:\n      {how}" for what, how in steps)])


class Play:
    """What happens, and when."""

    def __init__(self, it: World, shown: Screen, watch: "Dashboard", rate: float, seconds: float) -> None:
        self._it = it
        self._watch = watch
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
        say(f"{self._rate:g} payments a second come in, {self._rate * LEAVING:g} go out, for {self._seconds:g} s.")
        for share, act in SCRIPT:
            await trio.sleep_until(start_s + share * self._seconds)
            await act(self)
        await trio.sleep_until(self._end_s)
        say("No more payments. Each one that is in the air gets its outcome.")
        await it.settled()
        told = await it.told_everything(TOLD_WITHIN_S)
        say("The processor was told everything." if told else "The processor was not told everything in time.")
        await self._watch.look()  # the last figures are those of the ledger
        code = await it.stop_gateway()
        say("The gateways have signed off and ended." if not code else f"A gateway ended with {code}.")
        hub = await it.finish_hub()
        await it.stop_processor()
        say("Now the books are compared.")
        return told, code, hub

    async def _submit(self) -> None:
        """Have the processor submit for the rest of the time."""
        await self._it.submit(self._rate * LEAVING, max(self._end_s - trio.current_time(), 0.1), wait_s=WAIT_S)

    async def processor_away(self) -> None:
        """The processor stops."""
        self._say(
            f"The bank's processor goes away. After {STAND_IN_AFTER_S:g} s without an answer the gateways reply in its "
            "place: stand-in. Nobody is refused."
        )
        await self._it.stop_processor()

    async def processor_back(self) -> None:
        """The processor starts again, and goes on to submit."""
        await self._it.start_processor()
        await self._submit()
        self._say("The processor is back. It is told of every payment that was decided without it.")

    async def key(self) -> None:
        """The hub changes the signing key."""
        self._say("The hub changes the gateways' signing key. It goes, wrapped, into the HSM tokens; no payment waits.")
        await self._it.hub("key", use="own", everywhere=True)

    async def suspended(self) -> None:
        """The other bank is suspended."""
        await self._it.hub("usm", everywhere=True, function="972", fields={"67": "01", "100": SIMULATED.institution})
        self._say("News of the scheme: the other bank is suspended. Payments to it are declined here, at once.")

    async def available(self) -> None:
        """The suspension ends."""
        await self._it.hub(
            "usm", everywhere=True, function="972", fields={"67": "00", "68": "01", "100": SIMULATED.institution}
        )
        checks = (await self._it.hub("statistics"))["keys"][self._it.bank.identity.name]
        self._say(f"The other bank is available again. Key changes so far: {checks['changed']}.")

    async def site_away(self) -> None:
        """A hub site closes its connections."""
        await self._it.hub("close", site="a")
        self._say("Hub site a goes away. Site b carries everything.")

    async def site_back(self) -> None:
        """The site takes connections again."""
        await self._it.hub("open", site="a")
        self._say("Hub site a is back. The gateways sign on again by themselves.")

    async def worker_away(self) -> None:
        """The worker of one of two tokens is killed."""
        self._say("kill -9: the worker of an HSM token in A. The other token carries on, and a new worker comes.")
        self._it.kill_token_worker()

    async def processor_slow(self) -> None:
        """Both banks answer slowly, so that payments are in the air at the kill."""
        await self._it.processor_mode("slow:0.5")
        await self._it.hub("bank", rule="slow=0.5")
        self._say("Both banks now take half a second for each answer, so that payments are in the air when …")

    async def kill(self) -> None:
        """The gateway of data centre A is killed."""
        self._say("… kill -9: the gateway of data centre A. B carries on alone.")
        await self._it.kill_gateway()
        await self._it.processor_mode("fast")
        await self._it.hub("bank", rule="accept")

    async def restart(self) -> None:
        """It starts again, as systemd would start it."""
        await self._it.start_gateway()
        self._say(
            "A is up again. It has read its journal and signs with the new key. What was in the air when it was killed "
            "the hub reverses (9420); what had left it repeats (9201). None is paid twice."
        )


SCRIPT: tuple[tuple[float, Callable[[Play], Awaitable[None]]], ...] = (
    (0.09, Play.processor_away),
    (0.28, Play.processor_back),
    (0.37, Play.key),
    (0.43, Play.suspended),
    (0.49, Play.available),
    (0.55, Play.site_away),
    (0.62, Play.site_back),
    (0.67, Play.worker_away),
    (0.72, Play.processor_slow),
    (0.77, Play.kill),
    (0.85, Play.restart),
)
"""What happens, each at its share of the time."""


class Dashboard:
    """Shows the world once a second."""

    def __init__(self, it: World, shown: Screen) -> None:
        self._it = it
        self._shown = shown
        self._start_s = trio.current_time()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await trio.sleep(1)

    async def look(self) -> None:
        """Show this moment."""
        hub = await self._it.hub("statistics", recent=True)
        said = [await gateway.statistics() for gateway in self._it.gateways]
        self._shown.row(row(trio.current_time() - self._start_s, hub, said, self._parts(hub, said)))

    def _parts(self, hub: dict[str, Any], said: Sequence[dict[str, Any]]) -> tuple[Part, ...]:
        sites = {link["site"] for link in hub["links"] if link["receive"]}
        return (
            *(Part(f"hub site {site}", site in sites) for site in SITES),
            *(
                Part(f"data centre {gateway.data_centre.upper()}", bool(one))
                for gateway, one in zip(self._it.gateways, said, strict=True)
            ),
            Part("processor", self._it.processor is not None),
        )


def row(elapsed_s: float, hub: dict[str, Any], said: Sequence[dict[str, Any]], parts: tuple[Part, ...]) -> Row:
    """The figures of one moment. `said`: each gateway's statistics, empty while it is away."""
    codes: dict[str, int] = hub["codes"]
    counts: dict[str, int] = hub["counts"]
    stood_in = sum(number for code, number in codes.items() if code.startswith("008"))
    answered = codes.get("0000", 0)
    recent = hub["recent"]["decided"]
    untold = [left for left in map(backlog, said) if left is not None]
    return Row(
        elapsed_s=elapsed_s,
        parts=parts,
        sent=counts.get("sent", 0),
        answered=answered,
        stood_in=stood_in,
        refused=sum(codes.values()) - answered - stood_in,
        reversed=counts.get("reversed", 0),
        outstanding=hub["outstanding"],
        submitted=hub["submitted"],
        accepted=sum(number for code, number in hub["submitted_outcomes"].items() if code.startswith("0")),
        untold=sum(untold) if untold else None,
        p50_ms=recent.get("p50_ms"),
        p99_ms=recent.get("p99_ms"),
        faults=counts.get("faults", 0),
    )
