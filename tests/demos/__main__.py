"""Demos whose parts start, end and reply late, each by a time that is drawn, and are stopped now and then.

    .venv/bin/python -m tests.demos --runs 50 --at-once 2
    .venv/bin/python -m tests.demos --seed 7 --runs 1 --verbose

Each demo is a process of its own, with a seed of its own: it is not told of the delays, which are put around the places
where a world starts a part, ends it and asks it something. A demo is clean when its exit code is 0 and nothing is left
in its temporary directory. Exit code 0: all were. A seed replays the delays, not how the processes interleave.
"""

import sys

from gateway import entry

if __name__ == "__main__":  # before the rest is imported
    sys.exit(entry.command("tests.demos.__main__"))

import os
import random
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import trio

from gateway.machine.arguments import COUNT, FEW, SEED, Parser
from loadtest.__main__ import main as loadtest
from loadtest.hub.control import Control
from loadtest.parts import processes
from loadtest.parts.processes import Child, children_of
from loadtest.runs import banks, world

START_S, END_S, ASK_S, STOP_S = 1.5, 1.0, 0.25, 0.4
"""Delays at most: of a process's first line, of its end, of a request and its reply; how long it is stopped."""
STOP_EVERY_S = 1.5
DEMO = ("demo", "--seconds", "20", "--rate", "40", "--plain")
WITHIN_S = 180.0
"""A limit for when one hangs."""


def delay(draw: random.Random) -> None:
    """Put delays around what a world does with its parts, in this process."""
    start = Child.start

    async def late_start(name: str, command: list[str], *more: Any, **options: Any) -> Child:
        late = ["sh", "-c", f'sleep {draw.uniform(0, START_S):.3f}; exec "$@"', "sh", *command]
        return await start(name, late, *more, **options)

    patch = pytest.MonkeyPatch()
    patch.setattr(Child, "start", late_start)
    patch.setattr(Child, "end", _late(Child.end, draw, END_S))
    patch.setattr(Control, "__call__", _late(Control.__call__, draw, ASK_S))
    http = _late(processes.http, draw, ASK_S)
    for module in (banks, processes, world):
        patch.setattr(module, "http", http)
    threading.Thread(target=_stop_now_and_then, args=(draw,), daemon=True).start()


def _late(what: Callable[..., Awaitable[Any]], draw: random.Random, most_s: float) -> Callable[..., Awaitable[Any]]:
    @wraps(what)
    async def late(*arguments: Any, **options: Any) -> Any:
        await trio.sleep(draw.uniform(0, most_s))
        result = await what(*arguments, **options)
        await trio.sleep(draw.uniform(0, most_s))
        return result

    return late


def _stop_now_and_then(draw: random.Random) -> None:
    """SIGSTOP one of the processes for a moment; while it ends, too."""
    pause = threading.Event().wait  # nobody sets it: a demo's process ends, and this with it
    while True:
        pause(draw.uniform(0, STOP_EVERY_S))
        there = children_of(os.getpid())
        if there:
            with suppress(ProcessLookupError):
                pid = draw.choice(there)
                os.kill(pid, signal.SIGSTOP)
                pause(draw.uniform(0, STOP_S))
                os.kill(pid, signal.SIGCONT)


def one(seed: int, verbose: bool) -> tuple[float, str]:  # noqa: FBT001 - a flag of the command line
    """Run a demo in a process of its own. Returns how long it took, and what was wrong with it."""
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fps-demos-") as place:
        command = [sys.executable, "-m", "tests.demos", "--only", "--seed", str(seed)]
        try:
            ran = subprocess.run(
                command, env={**os.environ, "TMPDIR": place}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, check=False, timeout=WITHIN_S,
            )  # fmt: skip
            said, code = ran.stdout, ran.returncode
        except subprocess.TimeoutExpired as error:
            said, code = (error.stdout or b"").decode(errors="replace"), -1
        left = [path.name for path in Path(place).iterdir()]
    wrong = f"exit code {code}" if code else f"left behind: {left}" if left else ""
    if wrong or verbose:
        print(said, flush=True)
    return time.monotonic() - began_s, wrong


def run_demos(first: int, runs: int, at_once: int, *, verbose: bool) -> int:
    """So many demos, the seeds one after the other."""
    with ThreadPoolExecutor(at_once) as pool:
        went = []
        for seed, (took_s, wrong) in enumerate(
            pool.map(lambda seed: one(seed, verbose), range(first, first + runs)), first
        ):
            print(f"seed {seed}: {took_s:.1f} s, {wrong or 'clean'}", flush=True)
            went.append((took_s, wrong))
    times = [took_s for took_s, _ in went]
    clean = sum(not wrong for _, wrong in went)
    print(
        f"{clean} of {runs} clean; seconds each: least {min(times):.1f}, median {statistics.median(times):.1f}, "
        f"most {max(times):.1f}"
    )
    return 0 if clean == runs else 1


def main(arguments: list[str]) -> int:
    """Read the command line."""
    parser = Parser(prog=".venv/bin/python -m tests.demos", description=__doc__)
    parser.add_argument("--runs", type=COUNT, default=50, help="demos (default: 50)")
    parser.add_argument("--at-once", type=FEW, default=2, help="side by side (default: 2)")
    parser.add_argument("--seed", type=SEED, default=1, help="of the first (default: 1)")
    parser.add_argument("--verbose", action="store_true", help="show what each says")
    parser.add_argument("--only", action="store_true", help="this one demo, in this process")
    options = parser.parse_args(arguments)
    if options.only:
        delay(random.Random(options.seed))  # noqa: S311 - to be had again
        return loadtest([*DEMO])
    return run_demos(options.seed, options.runs, options.at_once, verbose=options.verbose)
