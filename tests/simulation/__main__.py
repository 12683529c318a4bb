"""Run simulations: the whole system in one process, on a mock clock, everything random out of one seed.

    python -m tests.simulation --seed 7                 one, with what happened; a failure ends with the story of the
                                                        payment that broke a promise, from everybody's books
    python -m tests.simulation --seeds 1:200 --jobs 2   many, with progress and a summary
    python -m tests.simulation --random --for 60 --jobs 2   seeds that nobody tried before, for so many seconds

A seed is the whole world: its load, its weather, its schedule. The same seed replays the same simulation.
"""

import argparse
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import count
from multiprocessing import get_context
from pathlib import Path

from tests import rare
from tests.simulation.seeds import Result, run_seed

STORY_LINES_MAX = 400


def main() -> int:
    """The command."""
    options = _options()
    if os.environ.get("PYTHONHASHSEED") != "0":
        # the order of a set of strings is part of what a seed must replay
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])  # noqa: S606 - ourselves
    if options.seed is not None:
        result = run_seed(
            options.seed, options.canary, only=options.payment, watch=bool(options.reached), narrate=options.narrate
        )
        _save_reached(options.reached, [result])
        print(_told(result, whole=True))
        return 0 if result.ok else 1
    return _run_many(options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Exit code 0: every promise was kept. 1: one was not; the seeds are said, and one's story told.",
    )  # fmt: skip
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int, metavar="N", help="replay this one")
    which.add_argument("--seeds", metavar="A:B", help="from A up to, not including, B")
    which.add_argument("--random", action="store_true", help="new ones, until --for is over")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="J", help="processes (default: cores)")
    parser.add_argument("--for", dest="for_s", type=float, metavar="S", help="begin no more after so many seconds")
    parser.add_argument("--canary", default="", metavar="NAME", help="break this promise on purpose (canaries.py)")
    parser.add_argument("--payment", default="", metavar="HASH", help="with --seed: tell this payment's story")
    parser.add_argument("--narrate", action="store_true", help="with --seed: tell everything that happened")
    parser.add_argument("--reached", type=Path, metavar="FILE", help="note what rare places were reached (tests.rare)")
    options = parser.parse_args()
    if options.random and options.for_s is None:
        parser.error("--random needs --for")
    return options


def _seeds(options: argparse.Namespace) -> Iterator[int]:
    if options.random:
        draw = random.SystemRandom()
        return (draw.randrange(1_000_000, 1 << 40) for _ in count())
    first, _, end = options.seeds.partition(":")
    return iter(range(int(first), int(end)))


def _run_many(options: argparse.Namespace) -> int:
    began = time.perf_counter()
    results: list[Result] = []
    seeds = _seeds(options)
    with ProcessPoolExecutor(options.jobs, get_context("spawn"), max_tasks_per_child=8) as pool:
        running: set[Future[Result]] = set()
        more = True
        while more or running:
            while more and len(running) < options.jobs:
                late = options.for_s is not None and time.perf_counter() - began >= options.for_s
                seed = None if late else next(seeds, None)
                more = seed is not None
                if seed is not None:
                    running.add(pool.submit(run_seed, seed, options.canary, watch=bool(options.reached)))
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                results.append(future.result())
                print(_told(results[-1], whole=False), flush=True)
    _save_reached(options.reached, results)
    return _summary(results, time.perf_counter() - began)


def _told(result: Result, *, whole: bool) -> str:
    """One result as text."""
    head = (
        f"seed {result.seed}: {'kept' if result.ok else 'BROKEN'}, {result.payments} payments, "
        f"{result.simulated_s:.0f} s simulated in {result.took_s:.1f} s"
    )
    lines = [head]
    if result.failure:
        lines.append(f"  the simulation: {result.failure}")
    lines += [f"  {name}: {text}" for name, texts in result.broken.items() for text in texts]
    if whole:
        lines += [f"  {name}: {number}" for name, number in sorted(result.figures.items()) if number]
        lines += result.story
    return "\n".join(lines)


def _summary(results: list[Result], took_s: float) -> int:
    broken = [result for result in results if not result.ok]
    hours = sum(result.simulated_s for result in results) / 3600
    figures: Counter[str] = Counter()
    for result in results:
        figures.update(result.figures)
    print(
        f"{len(results)} seeds, {sum(result.payments for result in results)} payments, {hours:.1f} simulated hours in "
        f"{took_s:.0f} s: {hours / max(took_s, 1e-9):.3f} hours per second"
    )
    print("  " + ", ".join(f"{number} {name}" for name, number in sorted(figures.items()) if number))
    if not results:
        print("no seed was run", file=sys.stderr)
        return 1
    if broken:
        first = broken[0]
        print(f"\n{len(broken)} broken: {' '.join(str(result.seed) for result in broken)}")
        print("\n".join(first.story[:STORY_LINES_MAX]))
        print(f"replay: python -m tests.simulation --seed {first.seed}")
    return 1 if broken else 0


def _save_reached(path: Path | None, results: list[Result]) -> None:
    if path is not None:
        reached = rare.Reached()
        for result in results:
            reached.merge(rare.Reached("", result.reached))
        reached.save(path)


if __name__ == "__main__":
    sys.exit(main())
