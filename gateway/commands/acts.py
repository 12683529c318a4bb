"""The acts: what people have a running gateway do, each by a command of the same shape, and the list of them."""

import argparse
import sys
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
import trio

from gateway.commands import ordering
from gateway.commands.ordering import Code
from gateway.config import file as config_file
from gateway.errors import ConfigurationError, Unavailable
from gateway.machine import harmless
from gateway.machine.arguments import COUNT, Commands
from gateway.scheme.permits import THINGS


def add_parsers(commands: Commands) -> None:
    """Mount a command for each act that has none of its own."""
    _add(commands, "stop-submitting", "let no payment of ours leave, from now on and over restarts")
    _add(commands, "start-submitting", "let payments of ours leave again")
    mode = _add(commands, "stand-in", "set how stand-in works from here on")
    mode.add_argument("mode", choices=("timer", "always", "never"))
    use = _add(commands, "request-key", "ask the hub for a new key")
    use.add_argument("use", choices=("own", "hub"), help="own: the key that we sign with; hub: the hub's")
    allow = _add(commands, "allow-key", "let the hub bring back a key that was superseded")
    allow.add_argument("use", choices=("own", "hub"), help="whose key it is")
    allow.add_argument("check", metavar="CHECK", help="the key's check value, as the log line about its refusal has it")
    lift = _add(commands, "lift", "lift what the scheme's news holds against payments")
    lift.add_argument("what", choices=THINGS)
    lift.add_argument("institution", nargs="?", default="", help="whom it is about; without: us, or everyone")
    _add_notices(commands)
    _add_list(commands)


def _add(commands: Commands, act: str, text: str, name: str = "") -> argparse.ArgumentParser:
    parser = commands.add_parser(name or act, help=text, description=f"{text[0].upper()}{text[1:]}.")
    ordering.add_options(parser)
    parser.set_defaults(run=partial(_run, act))
    return parser


def _run(act: str, args: argparse.Namespace) -> int:
    names = ("mode", "use", "check", "what", "institution", "position", "to", "number")
    what = {name: value for name in names if (value := getattr(args, name, None)) not in {None, ""}}
    return ordering.order(args, act, what)


def _add_notices(commands: Commands) -> None:
    parser = commands.add_parser("notices", help="parked notices: list them, tell one again, drop one")
    inner = parser.add_subparsers(dest="notices_command", required=True, metavar="COMMAND")
    listed = inner.add_parser("list", help="the notices that their receiver refused", description="List them.")
    ordering.add_targets(listed)
    listed.add_argument("--json", action="store_true", help="print one JSON object for each notice")
    listed.set_defaults(run=partial(_show, "/notices", "parked", _notice_words))
    for name, act, text in (
        ("again", "tell-again", "have a parked notice told once more"),
        ("drop", "drop-notice", "never tell a parked notice again"),
    ):
        command = _add(inner, act, text, name)
        command.add_argument("position", type=COUNT, help="its position, as `notices list` has it")
        command.add_argument("--to", default="processor", metavar="NAME", help="its receiver (default: %(default)s)")


def _add_list(commands: Commands) -> None:
    parser = commands.add_parser("acts", help="what was done, by whom, and what waits for a second person")
    inner = parser.add_subparsers(dest="acts_command", required=True, metavar="COMMAND")
    listed = inner.add_parser("list", help="the latest acts", description="List the latest acts of a running gateway; "
                              "`fps-gateway journal show --kind act DIR` has all of them.")  # fmt: skip
    ordering.add_targets(listed)
    listed.add_argument("--json", action="store_true", help="print one JSON object for each act")
    listed.set_defaults(run=partial(_show, "/acts", "acts", _act_words))
    for name, text in (("approve", "be the second person for an act"), ("reject", "end an act that waits")):
        command = _add(inner, name, text)
        command.add_argument("number", type=COUNT, help="the act's number")


def _show(path: str, member: str, words: Any, args: argparse.Namespace) -> int:
    """Print a list of each gateway; returns the exit code."""
    try:
        targets = ordering.targets_of(args)
    except ConfigurationError as error:
        return config_file.say(error)
    codes = [Code.DONE]
    for target in targets:
        try:
            response = trio.run(ordering.ask, target, path)
        except Unavailable as error:
            sys.stderr.write(harmless.line(f"{target.name}: {error}") + "\n")
            codes.append(Code.UNAVAILABLE)
            continue
        said = ordering.said_in(response)
        if response.status != 200 or member not in said:
            sys.stderr.write(harmless.line(f"{target.name}: {said.get('error', 'no answer')}") + "\n")
            codes.append(Code.REFUSED)
            continue
        for item in said[member]:
            line = msgspec.json.encode({"gateway": target.name, **item}).decode() if args.json else words(item)
            sys.stdout.write(line + "\n")
    return ordering.worst(codes)


def _act_words(act: dict[str, Any]) -> str:
    at = datetime.fromtimestamp(act["begun_ns"] / 1e9, UTC)
    who = act["who"] or "nobody by name"
    given = " ".join(f"{name}={value}" for name, value in act["what"].items())
    second = f", second person {act['second']}" if act["second"] else ""
    result = " ".join(f"{name}={value}" for name, value in act["result"].items())
    line = f"{act['number']:>10} {at:%F %T} {act['state']:7} {act['act']} {given}".rstrip()
    line += f" · {who} ({act['origin']}){second}" + (f" · {act['why']}" if act["why"] else "")
    return harmless.line(line + (f" · {result}" if result else ""))


def _notice_words(notice: dict[str, Any]) -> str:
    return harmless.line("  ".join(f"{name} {value}" for name, value in notice.items()))
