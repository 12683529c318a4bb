"""Drain a running gateway, wait for its end, and say how it went.

The gateway signs off to receive, finishes the payments in flight, signs off to submit, and ends. Meanwhile the hub and
the processor use the other site. Draining is an act: the gateway records who ordered it, and why.
"""

import argparse
import sys
from collections.abc import Callable
from enum import IntEnum
from math import inf

import msgspec
import trio

from gateway.acts.table import WHY_MAX
from gateway.commands import ordering
from gateway.commands.ordering import Target
from gateway.config import file as config_file
from gateway.errors import ConfigurationError, Unavailable
from gateway.exitcodes import ExitCode, exit_code
from gateway.machine import console, harmless
from gateway.machine.arguments import SECONDS, Commands
from gateway.ops.drain import WAIT_S_MAX, Progress
from gateway.strict_json import Reader

SHOW_EVERY_S = 0.5
"""Pause between two updates of the line on a terminal."""
GRACE_S = 5.0
"""Added to the time that the gateway says it may take, where `--within` is not given."""
LOOK_S = 0.05
"""Pause between two looks whether the port is closed."""


_progress = Reader(Progress)


class Code(IntEnum):
    """What the command ends with."""

    ENDED = 0
    """It has drained and ended; everything in flight was finished."""
    REFUSED = 1
    """The gateway refused: this caller may not."""
    UNAVAILABLE = 69
    """Nothing was drained: nobody listens there, or it is no gateway."""
    CONFIGURATION = 78
    """The configuration holds mistakes, all of them printed."""
    OVERDUE = 124
    """It has not ended within the time given, or Ctrl-C ended the waiting; it goes on draining."""
    UNFINISHED = 130
    """It ended, and not everything in flight was finished, or it did not say so. Nothing durable is lost."""


_EPILOG = """\
exit codes:
    0  the gateway has drained, and every payment in flight was finished
    1  the gateway refused: who asked may not drain it
    2  the command line makes no sense
   69  nothing listens there, or it is no gateway
   78  the configuration holds mistakes
  124  the time given is over, or Ctrl-C was pressed; the gateway goes on draining
  130  the gateway ended with payments in flight unfinished, or without saying so; nothing durable is lost, and the next
       start takes them up"""


def add_parser(subparsers: Commands) -> None:
    """Mount the command."""
    parser = subparsers.add_parser(
        "drain",
        help="let a running gateway finish its payments in flight and end, and wait for that",
        description=__doc__,
    )
    ordering.add_options(parser)
    parser.add_argument(
        "--within", type=SECONDS, metavar="S",
        help="seconds to wait at most, more than 0 (default: the longest time that the gateway says it may take)",
    )  # fmt: skip
    parser.epilog = _EPILOG
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    try:
        targets = ordering.targets_of(arguments)
    except ConfigurationError as error:
        return config_file.say(error)
    if len(targets) > 1:
        return config_file.say(ConfigurationError(["one gateway at a time: the other takes the payments meanwhile"]))
    if (why := ordering.agreed(arguments, "drain", {}, targets)) is None:
        return ExitCode.USAGE
    show = _on_terminal if console.rewrites(sys.stderr) else None
    [target] = targets
    try:
        code, text = trio.run(drain, target, why[:WHY_MAX], arguments.within, show)
    except (KeyboardInterrupt, BaseExceptionGroup) as error:
        if exit_code(error) is not ExitCode.INTERRUPTED:
            raise
        code, text = Code.OVERDUE, f"{target.name}: not waited for any longer; if it was asked in time, it drains"
    (sys.stderr if code else sys.stdout).write(f"{harmless.line(text)}\n")
    return code


def _on_terminal(progress: Progress | None) -> None:
    """One line that changes in its place; None: it is over, and the line goes."""
    console.rewrite(f"{progress.node} drains: {progress.in_flight} in flight" if progress else "")


async def drain(
    target: Target, why: str, within_s: float | None, show: Callable[[Progress | None], None] | None = None
) -> tuple[Code, str]:
    """Drain it and wait: the exit code, and what to say. `show` is called with what is left, and None at the end."""
    async with trio.open_nursery() as nursery:
        await nursery.start(target.calls.run)
        try:
            said = await _Drain(target, why, within_s, show).run()
        finally:
            if show is not None:
                show(None)
        nursery.cancel_scope.cancel()
    return said


class _Drain:
    """One drain, from asking to its end."""

    def __init__(
        self, target: Target, why: str, within_s: float | None, show: Callable[[Progress | None], None] | None
    ) -> None:
        self._calls = target.calls
        self._name = target.name
        self._why = why
        self._within_s = within_s
        self._show = show
        self._began_s = trio.current_time()

    async def run(self) -> tuple[Code, str]:
        progress: Progress | None = None
        joined = False
        try:
            with trio.move_on_at(self._began_s + (inf if self._within_s is None else self._within_s)) as asking:
                body = msgspec.json.encode({"why": self._why})
                response = await self._calls.post(b"/acts/drain", body)
                said = ordering.said_in(response)
                if response.status in {400, 403}:
                    return Code.REFUSED, f"{self._name}: {harmless.line(str(said.get('error', 'refused')))}"
                joined = "joined" in (said.get("result") or {})
                progress = await self._ask(0) if response.status == 200 else None
        except Unavailable as error:
            return Code.UNAVAILABLE, f"{self._name}: nobody to drain: {error}"
        if asking.cancelled_caught:
            return Code.OVERDUE, f"{self._name}: no response within {self._within_s:g} s; it may drain all the same"
        if progress is None:
            return Code.UNAVAILABLE, f"{self._name}: what listens there is no gateway that can be drained"
        within_s = progress.longest_s + GRACE_S if self._within_s is None else self._within_s
        how = "drains already: waiting with it" if joined else "drains"
        if self._show is None:
            sys.stdout.write(f"{harmless.shown(progress.node)} {how}\n")
            sys.stdout.flush()
        with trio.move_on_at(self._began_s + within_s):
            return await self._wait(progress)
        return Code.OVERDUE, f"{progress.node} has not ended within {within_s:g} s; it goes on draining"

    async def _wait(self, progress: Progress) -> tuple[Code, str]:
        name = progress.node
        while not progress.over:
            if self._show is not None:
                self._show(progress)
            asked_s = trio.current_time()
            try:
                came = await self._ask(WAIT_S_MAX if self._show is None else SHOW_EVERY_S)
            except Unavailable:
                if trio.current_time() - asked_s >= ordering.WITHIN_S:  # it is slow: an end is found out at once
                    continue
                return (
                    Code.UNFINISHED,
                    f"{name} ended without saying that everything in flight was finished: see its log",
                )
            if came is None or came.node != name:
                return Code.UNFINISHED, f"{name} ended, and something else listens at {self._name} now: see its log"
            progress = came
        await self._closed()
        took = f"after {trio.current_time() - self._began_s:.1f} s"
        if progress.in_flight:
            return (
                Code.UNFINISHED,
                f"{name} drained {took}, and {progress.in_flight} payments in flight were not finished",
            )
        return Code.ENDED, f"{name} drained {took}: everything in flight was finished"

    async def _ask(self, wait_s: float) -> Progress | None:
        """None: no gateway says that. Raises `Unavailable`."""
        response = await self._calls.look(b"/drain?wait_s=%g" % wait_s)
        try:
            return _progress(response.body)
        except msgspec.DecodeError:
            return None

    async def _closed(self) -> None:
        """Wait until nobody listens there: the process closes its socket, then its journal, and is gone."""
        try:
            while True:
                await self._calls.look(b"/live")
                await trio.sleep(LOOK_S)
        except Unavailable:
            return
