"""`make pages`: how long it takes from a fault to its page, with a real Prometheus, gateway, hub, processor and tokens.

Each fault is caused again and again at a moment that is drawn, in a world of its own that has some load; a Prometheus
that has seen nothing yet watches each time, with the configuration and the rules that we give. The table says, for each
alert, the median and the worst of the times from the fault until Prometheus says that it fires. A worst time of
`PAGE_WITHIN_S` or more is an exit code of 1.
"""

import sys

from gateway import entry

if __name__ == "__main__":  # before the rest is imported
    sys.exit(entry.command("tests.paging.__main__"))

import random
import statistics
import tempfile
from pathlib import Path

import pytest
import trio

from gateway.machine.arguments import Parser
from loadtest.runs.world import WorldError, world
from tests.paging import prometheus
from tests.paging.faults import FAULTS, FOREVER_S, RATE_PER_S, Fault, begin, disk_for, fires
from tests.system.worlds import load

PAGE_WITHIN_S = 45.0
GIVEN_UP_S = 90.0
INTERVAL_S = 5.0
"""Prometheus's own: a fault comes anywhere in it."""
Times = dict[tuple[str, str], list[float]]
"""By fault and alert: seconds, one for each repetition."""


async def measure(name: str, fault: Fault, times: int, directory: Path, found: Times) -> None:
    """Cause one fault so many times. Raises `WorldError`, `TooSlowError`, or pytest's word that this machine has no
    such disk.
    """
    with disk_for(fault) as disk:
        async with trio.open_nursery() as nursery, world(fault.plan, directory / "world", keep=False) as it:
            await begin(it, fault, disk, nursery)
            await load(it, RATE_PER_S, FOREVER_S)
            for number in range(times):
                async with prometheus.prometheus(directory / f"prometheus-{number}", it.ops_port) as watching:
                    await watching.until("count_over_time(up[5m]) >= 2")
                    await trio.sleep(random.uniform(0, INTERVAL_S))  # noqa: S311 - not a secret
                    early = set(fault.alerts) & await watching.firing()
                    assert not early, f"{name}: before the fault: {early}"
                    await fault.cause(it)
                    took_s = await fires(watching.firing, fault.alerts, GIVEN_UP_S)
                for alert, seconds in took_s.items():
                    found.setdefault((name, alert), []).append(seconds)
                print(f"{name}, {number + 1}: {took_s}", file=sys.stderr, flush=True)
                await fault.mend(it)
            nursery.cancel_scope.cancel()


async def _measure(names: list[str], times: int, at_once: int) -> int:
    """All of these faults. One that cannot be measured costs the others nothing."""
    found: Times = {}
    failed: list[str] = []
    limit = trio.CapacityLimiter(at_once)

    async def one(name: str, directory: Path) -> None:
        async with limit:
            directory.mkdir()
            try:
                await measure(name, FAULTS[name], times, directory, found)
            except* (WorldError, trio.TooSlowError, pytest.skip.Exception) as group:
                failed.append(name)
                print(f"{name}: not measured: {group.exceptions}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="fps-pages-") as place:
        async with trio.open_nursery() as nursery:
            for number, name in enumerate(names):
                nursery.start_soon(one, name, Path(place, str(number)))
    print(f"| fault | alert | median, s | worst of {times}, s |\n| --- | --- | --- | --- |")
    for (name, alert), seconds in sorted(found.items()):
        print(f"| {name} | {alert} | {statistics.median(seconds):.1f} | {max(seconds):.1f} |")
    late = {key for key, seconds in found.items() if max(seconds) >= PAGE_WITHIN_S}
    for name, alert in sorted(late):
        print(f"{name}: {alert} came later than {PAGE_WITHIN_S:g} s", file=sys.stderr)
    return 1 if late or failed else 0


def main(arguments: list[str]) -> int:
    """Read the command line."""
    parser = Parser(prog=".venv/bin/python -m tests.paging", description=__doc__)
    parser.add_argument("--times", type=int, default=5, help="repetitions of each fault")
    parser.add_argument("--fault", action="append", choices=list(FAULTS), help="this one; may be repeated")
    parser.add_argument("--at-once", type=int, default=3, help="worlds side by side")
    order = parser.parse_args(arguments)
    if not prometheus.installed():
        print("prometheus is not installed: it is in the package prometheus", file=sys.stderr)
        return 2
    return trio.run(_measure, order.fault or list(FAULTS), order.times, order.at_once)
