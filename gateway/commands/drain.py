"""Drain a running gateway, wait for its end, and say how it went.

The gateway signs off to receive, finishes the payments in flight, signs off to submit, and ends. Meanwhile the hub and
the processor use the other site. The command asks for this at the gateway's ops port and changes nothing else.
"""

import argparse
import random
import sys
from collections.abc import Callable
from enum import IntEnum
from math import inf

import msgspec
import trio

from gateway import config
from gateway.config import file as config_file
from gateway.errors import ConfigurationError, Unavailable
from gateway.exitcodes import ExitCode, exit_code
from gateway.http.hosts import Hosts, Keys
from gateway.machine import console, harmless
from gateway.machine.arguments import SECONDS, Commands
from gateway.network.names import MACHINE, Network
from gateway.ops.drain import WAIT_S_MAX, Progress
from gateway.processor.calls import Calls
from gateway.strict_json import Reader

SHOW_EVERY_S = 0.5
"""Pause between two updates of the line on a terminal."""
GRACE_S = 5.0
"""Added to the time that the gateway says it may take, where `--within` is not given."""
RESPOND_WITHIN_S = 2.0
"""Time that a response may take beyond the wait that was asked for."""
PATIENCE_S = WAIT_S_MAX + RESPOND_WITHIN_S
"""Time that any response may take."""
LOOK_S = 0.05
"""Pause between two looks whether the port is closed."""


_progress = Reader(Progress)


class Code(IntEnum):
    """What the command ends with."""

    ENDED = 0
    """It has drained and ended; everything in flight was finished."""
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
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--config",
        action="append",
        metavar="FILE",
        help="a file of its configuration, which tells the ops port; repeat the option for each file, as for `run`",
    )
    which.add_argument("--ops", metavar="URL", help="the URL of its ops server, such as http://127.0.0.1:9200")
    parser.add_argument(
        "--within", type=SECONDS, metavar="S",
        help="seconds to wait at most, more than 0 (default: the longest time that the gateway says it may take)",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    try:
        url = arguments.ops or ops_url(config_file.load(*arguments.config).node.ops)
        calls = calls_of(url)
    except ConfigurationError as error:
        return config_file.say(error)
    show = _on_terminal if console.rewrites(sys.stderr) else None
    try:
        code, text = trio.run(drain, calls, url, arguments.within, show)
    except (KeyboardInterrupt, BaseExceptionGroup) as error:
        if exit_code(error) is not ExitCode.INTERRUPTED:
            raise
        code, text = Code.OVERDUE, f"{url}: not waited for any longer; if it was asked in time, it goes on draining"
    (sys.stderr if code else sys.stdout).write(f"{harmless.line(text)}\n")
    return code


def ops_url(ops: config.Ops) -> str:
    """Where the ops server is, seen from its own machine. Raises `ConfigurationError`."""
    if not ops.port:
        raise ConfigurationError(["node.ops.port: is 0, so only its log knows the port: give --ops URL instead"])
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(ops.host, ops.host)  # noqa: S104 - what is replaced
    return f"http://[{host}]:{ops.port}" if ":" in host else f"http://{host}:{ops.port}"


def calls_of(url: str, network: Network = MACHINE) -> Calls:
    """What asks. Raises `ConfigurationError`."""
    try:
        settings = msgspec.convert({"url": url, "tell_within_s": PATIENCE_S}, config.Processor)
    except msgspec.ValidationError as error:
        raise ConfigurationError(["--ops: must be http(s)://host[:port][/path] and nothing else"]) from error
    return Calls(settings, Hosts(settings, network, random.random, Keys("--ops", "--ops", "ops")))


def _on_terminal(progress: Progress | None) -> None:
    """One line that changes in its place; None: it is over, and the line goes."""
    console.rewrite(f"{progress.node} drains: {progress.in_flight} in flight" if progress else "")


async def drain(
    calls: Calls, url: str, within_s: float | None, show: Callable[[Progress | None], None] | None = None
) -> tuple[Code, str]:
    """Drain it and wait: the exit code, and what to say. `show` is called with what is left, and None at the end."""
    async with trio.open_nursery() as nursery:
        await nursery.start(calls.run)
        try:
            said = await _Drain(calls, url, within_s, show).run()
        finally:
            if show is not None:
                show(None)
        nursery.cancel_scope.cancel()
    return said


class _Drain:
    """One drain, from asking to its end."""

    def __init__(
        self, calls: Calls, url: str, within_s: float | None, show: Callable[[Progress | None], None] | None
    ) -> None:
        self._calls = calls
        self._url = url
        self._within_s = within_s
        self._show = show
        self._began_s = trio.current_time()

    async def run(self) -> tuple[Code, str]:
        progress: Progress | None = None
        try:
            with trio.move_on_at(self._began_s + (inf if self._within_s is None else self._within_s)) as asking:
                progress = await self._ask(0)
        except Unavailable as error:
            return Code.UNAVAILABLE, f"{self._url}: nobody to drain: {error}"
        if asking.cancelled_caught:
            return Code.OVERDUE, f"{self._url}: no response within {self._within_s:g} s; it may drain all the same"
        if progress is None:
            return Code.UNAVAILABLE, f"{self._url}: what listens there is no gateway that can be drained"
        within_s = progress.longest_s + GRACE_S if self._within_s is None else self._within_s
        how = "drains already: waiting with it" if progress.joined else "drains"
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
                if trio.current_time() - asked_s >= PATIENCE_S:  # it is slow: one that has ended is found out at once
                    continue
                return (
                    Code.UNFINISHED,
                    f"{name} ended without saying that everything in flight was finished: see its log",
                )
            if came is None or came.node != name:
                return Code.UNFINISHED, f"{name} ended, and something else listens at {self._url} now: see its log"
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
        response = await self._calls.post(b"/drain", msgspec.json.encode({"wait_s": wait_s}))
        try:
            return _progress(response.body)
        except msgspec.DecodeError:
            return None

    async def _closed(self) -> None:
        """Wait until nobody listens there: the process closes its port, then its journal, and is gone."""
        try:
            while True:
                await self._calls.look(b"/live")
                await trio.sleep(LOOK_S)
        except Unavailable:
            return
