"""`fps-gateway`: arguments → configuration → `trio.run` → exit code (gateway/exitcodes.py)."""

import sys

from gateway import entry

if __name__ == "__main__":  # before the rest is imported
    sys.exit(entry.command("gateway.__main__"))

import argparse
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import gateway
from gateway.commands import acts as acts_command
from gateway.commands import completion, decode
from gateway.commands import config as config_command
from gateway.commands import drain as drain_command
from gateway.commands import hsm as hsm_command
from gateway.commands import journal as journal_command
from gateway.config import file as config_file
from gateway.errors import ConfigurationError, Unavailable
from gateway.exitcodes import ExitCode, exit_code
from gateway.machine import console, harmless
from gateway.machine.arguments import Parser

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.config import Configuration
    from gateway.journal.seals import Ask


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    chosen = command_line().parse_args(arguments)
    code: int = chosen.run(chosen)
    return code


def command_line() -> Parser:
    """The parser of `fps-gateway`. The reference in docs/ is made of it."""
    parser = Parser(
        prog="fps-gateway",
        description="A gateway between a bank and the UK Faster Payments hub.",
        epilog=_exit_codes(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fps-gateway {gateway.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    run = commands.add_parser(
        "run",
        help="run one gateway process",
        description="Run one gateway process. SIGTERM or Ctrl-C drains it; a second one ends it at once.",
    )
    config_file.add_argument(run)
    run.set_defaults(run=_run)
    drain_command.add_parser(commands)
    acts_command.add_parsers(commands)
    config_command.add_parser(commands)
    hsm_command.add_parser(commands)
    journal_command.add_parser(commands, _tokens_of, _begin_journal)
    decode.add_parser(commands)
    completion.add_parser(commands, command_line)
    return parser


def _tokens_of(files: Sequence[str], older: Sequence[str]) -> "Ask":
    from gateway.commands import seal_check

    return seal_check.tokens_of(files, older)


def _begin_journal(files: Sequence[str]) -> int:
    from gateway.commands import init as init_command

    return init_command.run(files)


def _exit_codes() -> str:
    lines = ["exit codes:"]
    lines += [f"  {code.value:3}  {code.name.lower()}" for code in ExitCode]
    lines += [f"commands that print: {console.EXIT_CODES}"]
    return "\n".join(lines)


def _run(arguments: argparse.Namespace) -> int:
    from gateway.running import signals

    signals.while_starting(lambda _name: None)
    from gateway import log
    from gateway.log import foreign
    from gateway.running import rulebook

    read = partial(config_file.load, *arguments.config, rulebook=rulebook.mistakes_of)
    try:
        configuration = read()
    except ConfigurationError as error:
        return config_file.say(error)
    try:
        writer = log.configure(configuration.node.log.level, configuration.node.log.format, seconds=time.monotonic)
    except Unavailable as error:
        sys.stderr.write(f"{harmless.line(error)}\n")
        return exit_code(error)
    foreign.take_over()

    def ended(name: str) -> None:
        log.get("main").info("ended: told to while it started", signal=name)
        writer.close()

    signals.while_starting(ended)
    try:
        return _run_daemon(configuration, read)
    finally:
        writer.close()


def _run_daemon(configuration: "Configuration", reread: "Callable[[], Configuration]") -> int:
    """Run until stopped. One last line says how the process ended, whatever ended it."""
    import trio

    from gateway import daemon, log
    from gateway.clock import ElapsedClock
    from gateway.running import allowance

    logger = log.get("main")
    try:
        allowance.fit(configuration.node)
        finished = trio.run(partial(daemon.run, reread=reread), configuration, clock=ElapsedClock())
    except BaseException as error:  # noqa: BLE001 - the boundary of the process: everything gets its exit code and its line
        code = exit_code(error)
        where = traceback_of(error) if code is ExitCode.BUG else ""
        logger.critical("ended", error=log.describe(error), where=where, exit_code=int(code))
        return code
    code = ExitCode.ENDED if finished else ExitCode.INTERRUPTED
    logger.info("ended", exit_code=int(code))
    return code


def traceback_of(error: BaseException) -> str:
    """Where a bug of ours is."""
    from gateway.log.foreign import where_of

    while isinstance(error, BaseExceptionGroup):
        error = next(inner for inner in error.exceptions if exit_code(inner) is ExitCode.BUG)
    return where_of(error)
