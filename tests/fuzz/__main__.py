"""Fuzzing: `.venv/bin/python -m tests.fuzz --target NAME|all --seconds N [--jobs J] [--keep]`, or `--replay FILE`."""

import sys

from gateway import entry

if __name__ == "__main__":  # before the rest is imported
    sys.exit(entry.command("tests.fuzz.__main__"))

import importlib.util
from pathlib import Path

from gateway.machine.arguments import Parser
from tests.fuzz import runner
from tests.fuzz.quiet import hush
from tests.fuzz.target import MODULES, target_of

EXIT_GOOD, EXIT_FOUND, EXIT_CANNOT = 0, 1, 2


def main(arguments: list[str]) -> int:
    """Fuzz or replay; returns the exit code: 0 nothing was found, 1 something was, 2 it cannot run."""
    parser = Parser(prog=".venv/bin/python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "--target", choices=["all", *MODULES], default="all", help="what to fuzz (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=45.0, help="how long in all (default: %(default)g)")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time (default: %(default)s)")
    parser.add_argument(
        "--keep", action="store_true", help="put the corpora together anew, with what was found to reach more"
    )
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one input, and show what is wrong")
    options = parser.parse_args(arguments)
    hush()
    if options.replay is not None:
        if options.target == "all":
            parser.error("--replay needs the --target")
        target_of(options.target).run(options.replay.read_bytes())
        _say(f"{options.target}: nothing is wrong with {options.replay}")
        return EXIT_GOOD
    if importlib.util.find_spec("atheris") is None:
        _say(
            "atheris is not installed: there is no wheel of it for this platform; the corpora run as tests all the same"
        )
        return EXIT_CANNOT
    names = list(MODULES) if options.target == "all" else [options.target]
    outcomes = runner.run(names, options.seconds, options.jobs, keep=options.keep, say=_say)
    bad = [outcome.name for outcome in outcomes if not outcome.good]
    if bad:
        _say(f"found something in: {' '.join(bad)}")
    return EXIT_FOUND if bad else EXIT_GOOD


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
