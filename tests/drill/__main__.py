"""Real DRBD under a real gateway, in virtual machines: a server, disks, the network are lost; the ledger judges.

    make drbd-drill                                   all three, five to fifteen minutes
    .venv/bin/python -m tests.drill --scenario split --keep

Two servers are QEMU guests under software emulation with Debian's kernel and its DRBD 8.4; each has two disks, RAID-1,
and DRBD on that. A gateway with SoftHSM runs on one of them, its journal on the volume. Hub and processor are outside,
on a bridge of a network namespace. While payments go both ways

  server   the server that the gateway is on is killed; the gateway is started on the other one; the first comes back
  disks    then one disk of each server is lost: one is pulled out, requests to the other fail
  split    then the servers do not hear each other any more, and everybody else hears both

At the end the journals are read from the disks that are left. Needs root; what is missing `make drbd-drill` installs.
"""

import sys

from gateway import entry

if __name__ == "__main__":  # before the rest is imported
    sys.exit(entry.command("tests.drill.__main__"))

import argparse
import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path

import trio

from gateway.machine.arguments import Parser
from loadtest.ledger import report
from loadtest.ledger.oracle import Verdict
from loadtest.parts.processes import children_of
from loadtest.runs.kills import Clock
from loadtest.runs.load import Rates
from loadtest.runs.world import WorldError, interruptible, said
from tests.drill.scenarios import BROKEN, SCENARIOS
from tests.drill.world import Drill, drill
from tests.machines import roots

INSIDE = "FPS_DRILL_INSIDE"
"""Set for the process that has namespaces of its own."""
END_WITHIN_S = 60.0


def main(arguments: list[str]) -> int:
    """The command."""
    options = _options(arguments)
    try:
        return _play(options) if INSIDE in os.environ else _in_namespaces()
    except roots.Missing as error:
        print(f"drill: {error}", file=sys.stderr)
        return 2


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog=".venv/bin/python -m tests.drill", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Exit code 0: the ledger balances and everything was as it must be. 1: not so. 2: it could not be run.",
    )  # fmt: skip
    parser.add_argument(
        "--scenario", action="append", choices=tuple(SCENARIOS), default=[], help="this one, or these (default: all)"
    )
    parser.add_argument("--rate", type=float, default=3.0, metavar="PER_S", help="that the hub sends (default: 3)")
    parser.add_argument("--outbound", type=float, default=1.0, metavar="PER_S", help="that leave (default: 1)")
    parser.add_argument("--accelerator", default="tcg,tb-size=256", help="of QEMU (default: %(default)s)")
    parser.add_argument("--dir", type=Path, help="put everything below this (default: a temporary directory)")
    parser.add_argument("--keep", action="store_true", help="do not remove the directory, though all was well")
    return parser.parse_args(arguments)


def _in_namespaces() -> int:
    """Run ourselves with networks, mounts and processes of our own, all of which end with that. Hands signals on."""
    roots.need_root("virtual machines on a bridge")
    command = [
        roots.command("setpriv", "util-linux"), "--pdeathsig", "KILL", roots.command("unshare", "util-linux"),
        "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
        sys.executable, "-m", "tests.drill", *sys.argv[1:],
    ]  # fmt: skip
    inside = subprocess.Popen(command, env={**os.environ, INSIDE: "1"}, start_new_session=True)

    def hand_on(number: int, _: object) -> None:
        pids = children_of(inside.pid)
        if not pids:
            inside.kill()  # nothing was begun yet
        for pid in pids:
            with suppress(OSError):
                os.kill(pid, number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, hand_on)
    return inside.wait()


def _play(options: argparse.Namespace) -> int:
    made = options.dir is None
    if not made:
        options.dir.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="fps-drill-", dir=None if made else options.dir))
    code = 2
    try:
        code = trio.run(interruptible, partial(_main, options, directory))
    except* (WorldError, roots.Missing, *BROKEN, subprocess.CalledProcessError) as group:
        print(f"drill: {said(group)}", file=sys.stderr)
    if code in {0, 130} and made and not options.keep:
        shutil.rmtree(directory, ignore_errors=True)
    else:
        print(f"everything is kept in {directory}", flush=True)
    return code


async def _main(options: argparse.Namespace, directory: Path) -> int:
    say = Clock()
    async with drill(directory, Rates(options.rate, options.outbound), options.accelerator, say) as it:
        say(f"the gateway is signed on at both sites; {options.rate:g}/s in and {options.outbound:g}/s out from now on")
        verdict = await _judged(it, options.scenario or list(SCENARIOS))
    if verdict is not None:
        print("", report.verdict(verdict), sep="\n\n")
    print("", _figures(it), "", sep="\n\n")
    good = verdict is not None and verdict.balances and not it.problems
    for problem in it.problems:
        print(f"PROBLEM: {problem}")
    print("Nothing acknowledged was lost, nothing made twice." if good else "THE DRILL FAILED.")
    return 0 if good else 1


async def _judged(it: Drill, scenarios: list[str]) -> Verdict | None:
    """Play these; what the ledger says then. None when one of them came to no end, which is a problem."""
    await it.load()
    try:
        for name in scenarios:
            it.say(f"== {name}: {(SCENARIOS[name].__doc__ or '').splitlines()[0]}")
            await SCENARIOS[name](it)
        return await it.finish()
    except BROKEN as error:
        it.problems.append(str(error))
    return None


def _figures(it: Drill) -> str:
    rows = [[name, f"{seconds:.1f}"] for name, seconds in it.figures.items()]
    return report.table(["emulated machines; what a real one needs is less", "s"], rows)
