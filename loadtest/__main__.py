"""`.venv/bin/python -m loadtest COMMAND`: which commands there are. Each is explained by its own --help."""

import sys

from gateway import entry

if __name__ == "__main__":  # before the rest is imported
    sys.exit(entry.command("loadtest.__main__"))

import argparse

import loadtest
from gateway.machine.arguments import Parser


def _commands() -> argparse.ArgumentParser:
    from loadtest.hub import command as hub
    from loadtest.ledger import books
    from loadtest.processor import command as processor_command
    from loadtest.runs import demo, endure, kills, run, steer, trying

    parser = Parser(
        prog=".venv/bin/python -m loadtest",
        description=loadtest.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for part in (demo, trying, run, kills, endure, hub, processor_command, steer, books):
        part.add_parser(commands)
    return parser


def main(arguments: list[str]) -> int:
    """Run a command and return its exit code: 0 all well, 1 something did not hold, 2 could not be done as asked."""
    options = _commands().parse_args(arguments)
    code: int = options.run(options)
    return code
