"""How a command orders an act of a running gateway: which gateway, why, the question before, and what is said after.

Every act is ordered alike. At a terminal it says what the act will mean and asks; a script gives `--yes`. It goes to
the Unix socket of the gateway (`--config`, `--socket`) or to its TLS port (`--url`), to several one after another.
"""

import argparse
import random
import sys
from collections.abc import Iterable, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import trio

from gateway import config
from gateway.acts.table import KINDS, WHY_MAX
from gateway.config import file as config_file
from gateway.errors import ConfigurationError, Unavailable
from gateway.http.connection import Response
from gateway.http.hosts import Hosts, Keys
from gateway.machine import harmless
from gateway.network.names import MACHINE, by_socket
from gateway.processor.calls import Calls
from gateway.strict_json import Reader

WITHIN_S = 30.0
"""Time that any response may take: more than the gateway gives an act."""


class Code(IntEnum):
    """What a command that orders an act ends with. Of several gateways, the worst: the one furthest down."""

    DONE = 0
    """Done."""
    ASKED = 3
    """It waits for a second person."""
    REFUSED = 1
    """The gateway refused, and says why: nothing was done."""
    USAGE = 2
    """The command line makes no sense, or nobody said yes."""
    CONFIGURATION = 78
    """The configuration holds mistakes."""
    UNAVAILABLE = 69
    """Nobody listens there, or nothing was done for now: try again later."""
    UNKNOWN = 124
    """It is not known whether it was done: look with `fps-gateway acts`."""


EPILOG = """\
exit codes; of several gateways the worst, in this order:
    0  done
    3  it waits for a second person: fps-gateway acts approve NUMBER
    1  the gateway refused; nothing was done
    2  the command line makes no sense, or the question was not answered with yes
   78  the configuration holds mistakes
   69  nobody listens there, or the gateway cannot do it now; nothing was done
  124  it is not known whether it was done: look with fps-gateway acts"""
_WORST_LAST = list(Code)


def worst(codes: Iterable[Code]) -> Code:
    """Of several gateways, the code that counts."""
    return max(codes, key=_WORST_LAST.index)


class Target(NamedTuple):
    """One gateway to act on."""

    name: str
    """As it was given."""
    calls: Calls


def add_targets(parser: argparse.ArgumentParser) -> None:
    """Options that say which gateway."""
    which = parser.add_argument_group("which gateway")
    which.add_argument(
        "--config", action="append", default=[], metavar="FILE",
        help="a file of its configuration, which names its socket; repeat the option for each file, as for `run`",
    )  # fmt: skip
    which.add_argument("--socket", action="append", default=[], metavar="PATH", help="its node.acts.socket")
    which.add_argument("--url", action="append", default=[], metavar="URL", help="its ops server's https:// URL")
    which.add_argument("--ca", default="", metavar="FILE", help="with --url: who may have signed its certificate")
    which.add_argument("--certificate", default="", metavar="FILE", help="with --url: your client certificate")
    which.add_argument("--key", default="", metavar="FILE", help="with --url: the key of --certificate")


def add_options(parser: argparse.ArgumentParser) -> None:
    """What every command that orders an act has."""
    add_targets(parser)
    parser.add_argument("--why", default="", metavar="TEXT", help="the reason, kept with the act; no customer's data")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="print one JSON object for each gateway")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG


def targets_of(args: argparse.Namespace) -> list[Target]:
    """The gateways that the options name. Raises `ConfigurationError`."""
    found = []
    if args.config:
        path = config_file.load(*args.config).node.acts.socket
        if not path:
            raise ConfigurationError(["node.acts.socket: is not set: this gateway takes no acts but signals"])
        found.append(Target(path, _calls_by_socket(path)))
    found += [Target(path, _calls_by_socket(path)) for path in args.socket]
    found += [Target(url, _calls_by_url(url, args)) for url in args.url]
    if not found:
        raise ConfigurationError(["which gateway? give --config, --socket or --url"])
    return found


def _calls_by_socket(path: str) -> Calls:
    settings = config.Processor(url="http://localhost", tell_within_s=WITHIN_S)
    return Calls(settings, Hosts(settings, by_socket(path), random.random, Keys("--socket", "--socket", "ops")))


def _calls_by_url(url: str, args: argparse.Namespace) -> Calls:
    if not url.startswith("https://"):
        raise ConfigurationError(["--url: must be https://host[:port]: acts over the network need a certificate"])
    missing = [f"--{name}" for name in ("ca", "certificate", "key") if not getattr(args, name)]
    if missing:
        raise ConfigurationError([f"--url: needs {', '.join(missing)}, too"])
    for name in ("ca", "certificate", "key"):
        if not Path(getattr(args, name)).is_file():
            raise ConfigurationError([f"--{name}: no such file"])
    tls = config.Tls(ca_file=args.ca, certificate_file=args.certificate, key_file=args.key)
    try:
        settings = msgspec.convert({"url": url, "tell_within_s": WITHIN_S}, config.Processor)
    except msgspec.ValidationError as error:
        raise ConfigurationError(["--url: must be https://host[:port] and nothing else"]) from error
    settings = msgspec.structs.replace(settings, tls=tls)
    return Calls(settings, Hosts(settings, MACHINE, random.random, Keys("--url", "--ca", "ops")))


_said: Reader[dict[str, Any]] = Reader(dict)

# --- ordering


def order(args: argparse.Namespace, act: str, what: dict[str, Any]) -> int:
    """Ask for what is missing, order the act of each gateway, say what came of it. Returns the exit code."""
    try:
        targets = targets_of(args)
    except ConfigurationError as error:
        return config_file.say(error)
    if (why := agreed(args, act, what, targets)) is None:
        return Code.USAGE
    body = msgspec.json.encode({"why": why, "what": what})
    codes = [trio.run(_order, target, act, body, args.json) for target in targets]
    return worst(codes)


def agreed(args: argparse.Namespace, act: str, what: dict[str, Any], targets: Sequence[Target]) -> str | None:
    """The reason; None: nobody wants it."""
    asks = sys.stdin.isatty() and sys.stderr.isatty()
    why: str = args.why.strip()
    if not (args.yes or asks):
        sys.stderr.write(f"{act}: nobody is here to be asked: give --yes\n")
        return None
    if not args.yes:
        given = " ".join(f"{name} {value}" for name, value in what.items())
        where = harmless.line(", ".join(target.name for target in targets))
        sys.stderr.write(f"{act} {given}".rstrip() + f"\nat {where}\n{KINDS[act].means}\n")
    if not why and asks:
        sys.stderr.write("Why? ")
        sys.stderr.flush()
        why = sys.stdin.readline().strip()
    if not why or len(why) > WHY_MAX:
        sys.stderr.write(f"{act}: give the reason: --why TEXT, of at most {WHY_MAX} characters\n")
        return None
    if not args.yes:
        sys.stderr.write("Do it? [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            sys.stderr.write("not done\n")
            return None
    return why


async def _order(target: Target, act: str, body: bytes, as_json: bool) -> Code:  # noqa: FBT001 - trio.run passes by place
    try:
        response = await ask(target, f"/acts/{act}", body)
    except Unavailable as error:
        code, said = _code_of(error), {"error": str(error)}
    else:
        code, said = code_of(response), said_in(response)
    if as_json:
        sys.stdout.write(msgspec.json.encode({"gateway": target.name, **said}).decode() + "\n")
    else:
        line = harmless.line(f"{target.name}: {_words(act, said)}")
        (sys.stdout if code in {Code.DONE, Code.ASKED} else sys.stderr).write(f"{line}\n")
    return code


async def ask(target: Target, path: str, body: bytes | None = None) -> Response:
    """One request. Raises `Unavailable`."""
    found: Response | Unavailable
    async with trio.open_nursery() as nursery:
        await nursery.start(target.calls.run)
        calls, way = target.calls, path.encode()
        try:
            found = await (calls.look(way) if body is None else calls.post(way, body))
        except Unavailable as error:  # out of the nursery it would come in a group
            found = error
        nursery.cancel_scope.cancel()
    if isinstance(found, Unavailable):
        raise found
    return found


def _code_of(error: Unavailable) -> Code:
    """Nobody was reached, and nothing was asked; or it was asked, and nobody says what became of it."""
    return Code.UNKNOWN if str(error).startswith(("connection ", "no response")) else Code.UNAVAILABLE


def code_of(response: Response) -> Code:
    """What a response's status means."""
    by_status = {200: Code.DONE, 202: Code.ASKED, 503: Code.UNAVAILABLE, 504: Code.UNKNOWN}
    return by_status.get(response.status, Code.REFUSED)


def said_in(response: Response) -> dict[str, Any]:
    """A response's body."""
    try:
        said = _said(response.body)
    except msgspec.DecodeError:
        return {"error": f"what listens there is no gateway (status {response.status})"}
    return said


def _words(act: str, said: dict[str, Any]) -> str:
    number = f"act {said['act']}" if said.get("act") else "its record follows when the journal has room"
    if "error" in said or "state" not in said:
        return f"{act}: {said.get('error', 'no answer of a gateway')}"
    if said.get("state") == "asked":
        return (
            f"{act}: waits for a second person, {said['within_s']:g} s at most: fps-gateway acts approve {said['act']}"
        )
    result = ", ".join(f"{name} {value}" for name, value in said.get("result", {}).items())
    return f"{act}: done ({number})" + (f": {result}" if result else "")
