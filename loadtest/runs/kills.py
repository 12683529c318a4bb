"""Kill tests: real processes, sockets, SoftHSM and disk; gateways, signer workers and processor killed or stopped.

    .venv/bin/python -m loadtest kills --duration 120 --seed 7
    .venv/bin/python -m loadtest kills --duration 3600 --seed 8 --banks 2 --rate 40 --outbound 40

A bank has a gateway in each of two data centres, each with a journal of its own and links to both hub sites. Payments
go both ways. At moments that the seed chooses, a gateway, a signer worker or the processor gets SIGKILL, SIGSTOP (for
up to twice the hub's patience) or SIGTERM, often two of them at once, and is started again, as systemd would start it.
The hub hangs up, too. Then the world must recover: every process is back, every payment has its outcome, everything is
told. The ledger judges the books. A process that ends by itself, or outlives its gateway, is a failure, too.

A seed replays what is done, to which process, when and for how long. It does not replay how the processes interleave:
one run of a seed may show what the next does not. When something is wrong, the directory is kept, and the stories of
the first broken payments are told: what every book, journal and log says of them, in the order of time.
"""

import argparse
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import trio

from gateway.machine.arguments import FEW, RATE_OR_NONE, SECONDS, SEED, Commands
from loadtest.ledger import report
from loadtest.runs import siege, story
from loadtest.runs.load import Rates
from loadtest.runs.siege import Seen, Siege
from loadtest.runs.trouble import EVERY_S, schedule
from loadtest.runs.world import SITES, world

PROGRESS_EVERY_S = 10.0


def add_parser(commands: Commands) -> None:
    """Add `kills`."""
    parser = commands.add_parser(
        "kills",
        help="kill and stop real processes at random moments, under load; the ledger judges",
        description=__doc__,
        epilog="Exit code 0: the ledger balances and everybody behaved. 1: not so. 2: it could not be run.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--duration", type=SECONDS, default=120.0, metavar="S", help="of load and trouble (default: 120)"
    )
    parser.add_argument("--seed", type=SEED, default=1, help="of the troubles and the load (default: 1)")
    parser.add_argument("--every", type=SECONDS, default=EVERY_S, metavar="S", help="between troubles (default: 3)")
    parser.add_argument(
        "--rate", type=RATE_OR_NONE, default=30.0, metavar="PER_S", help="that the hub sends (default: 30)"
    )
    parser.add_argument("--outbound", type=RATE_OR_NONE, default=30.0, metavar="PER_S", help="that leave (default: 30)")
    parser.add_argument("--sites", type=FEW, default=2, help="data centres: gateways of a bank (default: 2)")
    parser.add_argument("--banks", type=int, choices=(1, 2), default=1, help="2: they pay each other (default: 1)")
    parser.add_argument("--asynchronous", action="store_true", help="the hub repeats rather than reverses")
    parser.add_argument("--dir", type=Path, help="put everything below this (default: a temporary directory)")
    parser.add_argument("--keep", action="store_true", help="do not remove the directory, though all was well")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Kill and judge."""
    return siege.in_directory("kills", options, _main)


async def _main(options: argparse.Namespace, directory: Path) -> int:
    plan = siege.plan(sites=options.sites, banks=options.banks, synchronous=not options.asynchronous)
    async with world(plan, directory, keep=True) as it:
        say = Clock()
        say(f"seed {options.seed}; everything is in {it.directory}")
        await it.start()
        rates = Rates(options.rate, options.outbound)
        under = Siege(it, rates, say, seed=options.seed)
        troubles = schedule(options.seed, options.duration, under.whom(), options.every)
        say.start()
        say(f"{rates}, for {options.duration:g} s, and {len(troubles)} troubles")
        seen = await under.run(options.duration, troubles, partial(_progress, under, say))
        print("", report.verdict(seen.verdict), figures(under, seen), "", sep="\n\n")
        good = seen.verdict.balances and not seen.problems
        if not good:
            names = story.broken(seen.verdict)
            print(await trio.to_thread.run_sync(story.tell, it.directory, names, under.watch.hub_ahead_s))
            print(_again(options))
    print("Nothing was lost, nothing made twice, nothing left unsaid." if good else "THE KILL TEST FAILED.")
    return 0 if good else 1


def _again(options: argparse.Namespace) -> str:
    """How the same troubles are had again."""
    flags = [f"--{name} {getattr(options, name):g}" for name in ("duration", "seed", "every", "rate", "outbound")]
    flags += [f"--sites {options.sites}", f"--banks {options.banks}", *(["--asynchronous"] * options.asynchronous)]
    command = ".venv/bin/python -m loadtest kills " + " ".join(flags)
    return f"\nthe same troubles again, though not the same interleaving:\n  {command}"


class Clock:
    """Says things, each with its time."""

    def __init__(self) -> None:
        self._start_s = trio.current_time()

    def start(self) -> None:
        """Time is counted from now."""
        self._start_s = trio.current_time()

    def __call__(self, what: str) -> None:
        """Say it."""
        print(f"{trio.current_time() - self._start_s:7.1f} s  {what}", flush=True)


async def _progress(under: Siege, say: Clock) -> None:
    while True:
        await trio.sleep(PROGRESS_EVERY_S)
        hub = under.watch.hub
        if hub:
            counts: dict[str, int] = hub["counts"]
            on = sum(link["receive"] for link in hub["links"])
            wanted = len(under.it.gateways) * len(SITES)
            say(
                f"… {counts.get('sent', 0):,} sent, {counts.get('replied', 0):,} answered, "
                f"{counts.get('reversed', 0):,} reversed, {hub['submitted']:,} submitted; "
                f"{hub['outstanding']:,} open; {on} of {wanted} links; {counts.get('faults', 0)} faults"
            )


def figures(under: Siege, seen: Seen) -> str:
    """What was done to whom, and what came of it, as text."""
    hands, watch = under.hands, under.watch
    accounts = Counter(seen.verdict.accounts)
    counts: dict[str, Any] = {
        **dict(sorted(hands.done.items())),
        "troubles whose victim was away": hands.void,
        "started again": hands.restarts,
        "stood in": accounts["stood in"],
        "reversed": accounts["reversed"],
        "unknown for a time": seen.verdict.figures.get("steps UNKNOWN", 0),
        "withheld, for want of a link": seen.hub.get("counts", {}).get("withheld", 0),
    }
    lines = [
        report.counts("what was done, and what came of it", counts),
        *(
            f"{bank}: no link to receive by for {seconds:.1f} s at the longest"
            for bank, seconds in watch.deaf_s.items()
        ),
        f"from a gateway's start to its sign-on at both sites: {watch.slowest_s:.1f} s at the longest",
        *(f"PROBLEM: {problem}" for problem in seen.problems),
        *(f"the hub's fault: {fault}" for fault in seen.hub.get("faults", [])),
    ]
    return "\n".join(lines)
