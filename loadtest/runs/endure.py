"""Endurance: a million payments in one run, with faults. Nothing may grow except what is remembered of each payment.

    .venv/bin/python -m loadtest endure --payments 1000000

As in `kills`, a bank has a gateway in each of two data centres, and payments go both ways at a steady rate. The gateway
of the second data centre is killed, stopped and drained now and then. The gateway of the first is never restarted, and
is watched: memory, open files, threads. Its signer workers and the processor are killed and stopped, and the hub hangs
up. Latencies are measured in windows, over both gateways.

In the end the ledger judges every payment. The samples are judged, too: bytes for each payment that the watched gateway
remembers (the slope of a line through the samples); files, threads and latencies (the last quarter against the first).
"""

import argparse
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio

from gateway.machine.arguments import CORE, COUNT, RATE_OR_NONE, SECONDS, SEED, Commands, Number
from loadtest.ledger import report
from loadtest.runs import siege, steady, story
from loadtest.runs.banks import Gateway
from loadtest.runs.kills import Clock, figures
from loadtest.runs.load import Rates
from loadtest.runs.siege import Siege
from loadtest.runs.steady import Finding, Limits, Sample, Window
from loadtest.runs.trouble import schedule
from loadtest.runs.world import Plan, WorldError, world

WINDOWS = 120
"""Windows of latencies, and samples, in a run; fewer when a window would be shorter than:"""
WINDOW_MIN_S = 2.0
SHOWN = 16
"""Rows of the table."""
COUNTED = ("received", "outbound_submitted")
"""Counters of the gateway's `/statistics`: payments that it has taken in."""


def add_parser(commands: Commands) -> None:
    """Add `endure`."""
    parser = commands.add_parser(
        "endure",
        help="a million payments in one go, with faults: nothing grows",
        description=__doc__,
        epilog="Exit code 0: the ledger balances, and all is flat. 1: not so. 2: it could not be run.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    limits = Limits()
    parser.add_argument("--payments", type=COUNT, default=1_000_000, metavar="N", help="both ways (default: 1000000)")
    parser.add_argument("--rate", type=RATE_OR_NONE, default=300.0, metavar="PER_S", help="that come (default: 300)")
    parser.add_argument(
        "--outbound", type=RATE_OR_NONE, default=300.0, metavar="PER_S", help="that leave (default: 300)"
    )
    parser.add_argument("--every", type=SECONDS, default=60.0, metavar="S", help="between troubles (default: 60)")
    parser.add_argument("--seed", type=SEED, default=1, help="of the troubles and the load (default: 1)")
    parser.add_argument(
        "--bytes", type=Number(0, 1e9, above=True), default=limits.bytes_per_payment, metavar="N",
        help="what the watched gateway may grow for each payment (default: %(default)g)",
    )  # fmt: skip
    parser.add_argument("--gateway-cpu", type=CORE, metavar="N", help="pin the gateways to this core")
    parser.add_argument("--others-cpu", type=CORE, metavar="N", help="pin hub and processor to this core")
    parser.add_argument("--dir", type=Path, help="put everything below this (default: a temporary directory)")
    parser.add_argument("--keep", action="store_true", help="do not remove the directory, though all was well")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Endure and judge."""
    return siege.in_directory("endure", options, _main)


async def _main(options: argparse.Namespace, directory: Path) -> int:
    rates = Rates(options.rate, options.outbound)
    duration_s = options.payments / sum(rates)
    plan = siege.plan(
        sites=2, banks=1, processor_mode="fast", log_level="warning", tell_per_s=20_000.0,
        segment_bytes=Plan().segment_bytes, repeats_max=None,
        gateway_cpu=options.gateway_cpu, workers_cpu=options.gateway_cpu, others_cpu=options.others_cpu,
    )  # fmt: skip
    async with world(plan, directory, keep=True) as it:
        say = Clock()
        say(f"seed {options.seed}; everything is in {it.directory}")
        await it.start()
        under = Siege(it, rates, say, seed=options.seed, bank_rule="accept")
        watched = it.gateways[0]
        troubles = schedule(options.seed, duration_s, under.whom(spared=[watched.name]), options.every)
        say.start()
        say(f"{rates}, for {duration_s:,.0f} s, and {len(troubles)} troubles; {watched.name} is watched")
        looking = Looking(under, watched, say, max(duration_s / WINDOWS, WINDOW_MIN_S))
        seen = await under.run(duration_s, troubles, looking.run)
        print("", report.verdict(seen.verdict), figures(under, seen), "", looking.table(), "", sep="\n\n")
        good = seen.verdict.balances and not seen.problems
        if not good:
            names = story.broken(seen.verdict)
            print(await trio.to_thread.run_sync(story.tell, it.directory, names, under.watch.hub_ahead_s))
        try:
            findings = steady.judge(looking.samples, looking.windows, Limits(bytes_per_payment=options.bytes))
        except ValueError as error:
            raise WorldError(f"too short a run: {error}") from error
        print(_findings(findings), "", sep="\n")
        good = good and all(finding.holds is not False for finding in findings)
    short = any(finding.holds is None for finding in findings)
    well = "Everything adds up" + ("." if short else ", and nothing grew that should not.")
    print(well if good else "IT DID NOT ENDURE.")
    return 0 if good else 1


class Looking:
    """Samples the watched gateway and takes latencies, window by window."""

    def __init__(self, under: Siege, watched: Gateway, say: Clock, every_s: float) -> None:
        self.samples: list[Sample] = []
        self.windows: list[Window] = []
        self.sizes: list[float] = []
        """Of the watched gateway's journal at each sample, MiB."""
        self._under = under
        self._watched = watched
        self._say = say
        self._every_s = every_s
        self._payments = 0

    async def run(self) -> None:
        """Until cancelled."""
        start_s = trio.current_time()
        said_s = start_s
        while True:
            await trio.sleep(self._every_s)
            await self._look(trio.current_time() - start_s)
            if trio.current_time() > said_s + 60 and self.samples:
                said_s = trio.current_time()
                self._say(
                    "… " + ", ".join(f"{name} {value}" for name, value in zip(HEAD[1:], self._row(-1)[1:], strict=True))
                )

    async def _look(self, at_s: float) -> None:
        it, child = self._under.it, self._watched.child
        hub = await it.hub("statistics", recent=True)
        came = hub["recent"]["intended"]
        try:
            left = (await it.submitted(recent=True))["recent"]["settled"]
        except WorldError:
            left = {}  # the processor is away
        self.windows.append(Window(at_s, *_of(came), *_of(left)))
        statistics = await self._watched.statistics()
        if statistics:
            counts: dict[str, int] = statistics["engine"]["counts"]
            self._payments = sum(counts.get(name, 0) for name in COUNTED)
        assert child is not None, "it is never restarted"
        self.samples.append(await trio.to_thread.run_sync(steady.sample, child.process.pid, at_s, self._payments))
        self.sizes.append(_bytes_below(self._watched.journal) / 2**20)

    def table(self) -> str:
        """Some of what was seen."""
        step = max(1, math.ceil(len(self.samples) / SHOWN))
        places = [*range(0, len(self.samples), step)]
        if self.samples and places[-1] != len(self.samples) - 1:
            places.append(len(self.samples) - 1)
        return report.table(HEAD, [self._row(place) for place in places])

    def _row(self, place: int) -> list[str]:
        sample, window = self.samples[place], self.windows[place]
        return [
            f"{sample.at_s:,.0f} s", f"{sample.payments:,}", f"{sample.rss_bytes / 2**20:.1f}",
            f"{sample.uss_bytes / 2**20:.1f}", f"{sample.files}", f"{sample.threads}", f"{self.sizes[place]:,.0f}",
            *(f"{value:.1f}" for value in window[1:]),
        ]  # fmt: skip


HEAD = [
    "after", "payments", "RSS MiB", "USS MiB", "files", "threads", "journal MiB", "p50 in ms", "p99 in", "p50 out",
    "p99 out",
]  # fmt: skip


def _bytes_below(directory: Path) -> int:
    """Of the files in it; one that is removed meanwhile has none."""
    total = 0
    for file in directory.iterdir():
        with suppress(FileNotFoundError):
            total += file.stat().st_size
    return total


def _of(latency: dict[str, Any]) -> tuple[float, float]:
    return float(latency.get("p50_ms", math.nan)), float(latency.get("p99_ms", math.nan))


def _findings(findings: list[Finding]) -> str:
    words = {True: "flat", False: "GREW", None: "too short a run to say"}
    rows = [
        [finding.what, f"{finding.first:,.1f}", f"{finding.last:,.1f}", finding.limit, words[finding.holds]]
        for finding in findings
    ]
    return report.table(["is it flat", "at first", "at last", "may be", ""], rows)
