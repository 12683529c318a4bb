"""`fps-gateway completion SHELL`: a script with which a shell completes our command line, made of the parser itself.

    bash    fps-gateway completion bash > /etc/bash_completion.d/fps-gateway
    zsh     fps-gateway completion zsh > _fps-gateway, in a folder of $fpath
    fish    fps-gateway completion fish > ~/.config/fish/completions/fps-gateway.fish

Nothing of ours runs when a shell completes.
"""

import argparse
import sys
from collections.abc import Callable, Iterator

from gateway.exitcodes import ExitCode
from gateway.machine.arguments import Commands, Parser

SHELLS = ("bash", "fish", "zsh")
FILES = frozenset({"FILE", "FILES", "FILE|-"})
"""The names of arguments that are files, in a usage line."""
FOLDERS = frozenset({"DIR"})


def add_parser(subparsers: Commands, command_line: Callable[[], Parser]) -> None:
    """Add `completion SHELL` to the command line. `command_line` makes what is to be completed."""
    parser = subparsers.add_parser(
        "completion",
        help="print a script for a shell's completion",
        description="Print a script with which a shell completes the arguments of fps-gateway.",
    )
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=f"one of {', '.join(SHELLS)}")
    parser.set_defaults(run=lambda arguments: run(arguments.shell, command_line()))


def run(shell: str, command_line: Parser) -> int:
    """Print the script; return the exit code."""
    import shtab

    for action in _actions(command_line):
        if action.metavar in FILES or "--config" in action.option_strings:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar in FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    sys.stdout.write(shtab.complete(command_line, shell=shell).rstrip() + "\n")
    return ExitCode.ENDED


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every argument of a command and of those below it."""
    for action in parser._actions:  # noqa: SLF001 - argparse shows them to nobody
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for inner in action.choices.values():
                yield from _actions(inner)
