"""The command `fps-gateway config`: check a configuration, or print an example that documents every setting.

The example is made of `gateway.config` itself: the types there have the limits, and the docstrings below the fields the
meanings, so that neither can be forgotten. This file does not know what a setting does.
"""

import argparse
import ast
import inspect
import os
import stat
import sys
import textwrap
from collections.abc import Collection, Iterator
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec import inspect as msgspec_inspect

from gateway import config, log
from gateway.commands.here import lacks
from gateway.config import file as config_file
from gateway.config.rules import is_file, remarks_on, short_of
from gateway.errors import ConfigurationError
from gateway.exitcodes import ExitCode
from gateway.machine import harmless
from gateway.machine.arguments import Commands
from gateway.network import papers
from gateway.running import allowance, rulebook
from gateway.signer.pin import NoPin, read_pin
from gateway.wire import codes

WIDTH = 100

_CHECK_EPILOG = """\
exit codes:
   0  no mistake
   2  the command line makes no sense
  69  with --here: something is missing on this machine
  78  the configuration holds mistakes, or with --rate: a limit is too small"""

HALVES = {"node": "What is one gateway process's own", "pair": "What both sites share"}
"""The tables of a configuration, each of which may be a file of its own."""

EXAMPLES: dict[str, Any] = {
    "pair.group": "choose one",
    "node.name": "sip-a",
    "node.hub": [
        {"name": "hub-1", "host": "hub-1.example", "port": 8301},
        {"name": "hub-2", "host": "hub-2.example", "port": 8301},
    ],
    "node.hub.tls.ca_file": "/etc/fps-gateway/hub-ca.pem",
    "node.token": [
        {
            "name": "hsm-1",
            "label": "fps-1",
            "module": "/usr/lib/softhsm/libsofthsm2.so",
            "pin_file": "$CREDENTIALS_DIRECTORY/pin_hsm-1",
        },
        {
            "name": "hsm-2",
            "label": "fps-2",
            "module": "/usr/lib/softhsm/libsofthsm2.so",
            "pin_file": "$CREDENTIALS_DIRECTORY/pin_hsm-2",
        },
    ],
    "node.journal.dir": "/var/lib/fps-gateway/sip/journal",
    "node.ops.tls.certificate_file": "/etc/fps-gateway/gateway.pem",
    "node.ops.tls.key_file": "/etc/fps-gateway/gateway.key",
    "node.ops.tls.ca_file": "/etc/fps-gateway/operators-ca.pem",
    "node.actors": [{"name": "anna", "roles": ["operate"], "user": "anna"}],
    "node.volume.resource": "fps-sip",
    "node.processor.url": "https://processor.example/fps",
    "node.processor.tls.ca_file": "/etc/fps-gateway/processor-ca.pem",
    "node.submissions.tls.certificate_file": "/etc/fps-gateway/gateway.pem",
    "node.submissions.tls.key_file": "/etc/fps-gateway/gateway.key",
    "node.submissions.tls.ca_file": "/etc/fps-gateway/processor-ca.pem",
    "node.submissions.tls.client_name": "processor.bank.example",
    "node.peer_tls.ca_file": "/etc/fps-gateway/ops-ca.pem",
    "node.sibling.url": "https://sip-b.example:9200",
    "node.sibling.tls.ca_file": "/etc/fps-gateway/ops-ca.pem",
}
"""Values for the settings that must be given; the tests fail when one is missing here. Hosts and the group must be
edited: a configuration that nobody has thought about is refused (`config.rules`)."""


def add_parser(subparsers: Commands) -> None:
    """Add `config check FILE ...` and `config example [pair | node]` to the command line."""
    parser = subparsers.add_parser("config", help="check a configuration, or print an example of one")
    commands = parser.add_subparsers(dest="config_command", required=True, metavar="check | example")
    checking = commands.add_parser(
        "check",
        help="print every mistake of a configuration; exit code 78 when there is one",
        description="Print every mistake of a configuration, or, if there is none, what it comes to.",
        epilog=_CHECK_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    checking.add_argument("files", metavar="FILE", nargs="+", help="every file that `run` is given as --config")
    checking.add_argument(
        "--here", action="store_true",
        help="also check this machine: PINs, tokens and their keys (each PIN is tried once), certificates, and the"
        " journal's directory. Run it as the gateway's user, with its credentials (`hsm check --help` has the command)",
    )  # fmt: skip
    checking.add_argument(
        "--rate", type=_rate, metavar="PER_S", help="also check that the limits suffice for this many payments a second"
    )
    printing = commands.add_parser(
        "example",
        help="print a configuration that documents every setting",
        description="Print a configuration that documents every setting, to be edited.",
    )
    printing.add_argument(
        "half",
        choices=sorted(HALVES),
        nargs="?",
        help="only the settings that both sites share, or only those of one node (default: both)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do what `add_parser` offers; returns the exit code."""
    if arguments.config_command == "check":
        return check(*arguments.files, here=arguments.here, per_s=arguments.rate)
    sys.stdout.write(example(arguments.half))
    return ExitCode.ENDED


def _rate(text: str) -> float:
    per_s = float(text)
    if not 0 < per_s < inf:
        raise ValueError
    return per_s


def check(first: str | Path, *others: str | Path, here: bool = False, per_s: float | None = None) -> int:
    """Print every mistake, or what the configuration comes to, and return the exit code. Changes nothing."""
    try:
        configuration = config_file.load(first, *others, rulebook=rulebook.mistakes_of)
    except ConfigurationError as error:
        return _say_all(error.mistakes, "mistake", ExitCode.CONFIGURATION)
    if per_s is not None and (short := [f"{key}: {what}" for key, what in short_of(configuration, per_s)]):
        return _say_all(short, "limit too small", ExitCode.CONFIGURATION)
    found = list(notes(configuration))
    remarks = [f"{key}: {what}" for key, what in remarks_on(configuration)]
    lines = summary(configuration, codes.load(configuration.pair.wire.code_table))
    said = remarks if here else [*remarks, *found]
    sys.stdout.write("".join(f"{harmless.line(line)}\n" for line in (*lines, *(f"note: {note}" for note in said))))
    if not here:
        return ExitCode.ENDED
    # what tokens' libraries say is for the person who looks
    writer = log.configure("warning", "console", log.Writer(sys.stderr.buffer))
    try:
        found += lacks(configuration)
    finally:
        writer.close()
    return _say_all(list(dict.fromkeys(found)), "thing not in order here", ExitCode.UNAVAILABLE)


def _say_all(mistakes: list[str], what: str, code: ExitCode) -> ExitCode:
    """Print each on a line, then their number. Returns 0 when there are none."""
    if not mistakes:
        return ExitCode.ENDED
    noun, *rest = what.split(" ")
    counted = " ".join([noun + "s"[: len(mistakes) - 1], *rest])
    sys.stderr.write("".join(f"{harmless.line(line)}\n" for line in (*mistakes, f"{len(mistakes)} {counted}")))
    return code


def summary(configuration: config.Configuration, action_codes: codes.Codes) -> Iterator[str]:
    """A few lines about what the configuration comes to."""
    node, pair, times = configuration.node, configuration.pair, configuration.pair.deadlines
    hubs = ", ".join(f"{site.name} {site.host}:{site.port}" for site in node.hub)
    tokens = ", ".join(token.name for token in node.token)
    yield f"{node.name}: group {pair.group}; hub {hubs}; tokens {tokens}; processor {node.processor.url}"
    yield (
        f"deadlines from the first byte of a request: stand-in after {times.stand_in_after_s:g} s (with"
        f" {pair.stand_in.code}), no reply after {times.reply_within_s:g} s, the hub gives up after"
        f" {times.hub_patience_s:g} s, the sender hears by {times.sender_answer_s:g} s"
    )
    end = "gets no answer" if pair.stand_in.otherwise == "nothing" else "is refused"
    yield f"stand-in mode {pair.stand_in.mode}; what it may not accept {end} after {times.last_moment_s:g} s"
    told = action_codes.says(pair.stand_in.code)
    yield f"of what stand-in accepts the sender is told: accepted, to be {told} ({pair.stand_in.code})"
    door = configuration.node.submissions
    yield f"payments are submitted at {door.host}:{door.port}" if door else "nobody submits payments here"
    yield f"pair fingerprint {configuration.fingerprint()}: the other site must show the same"
    places, within_s = node.processor.connections_max, times.stand_in_after_s
    yield (
        f"{places} connections to the processor carry {places / within_s:.0f} payments per second when each answer"
        f" takes the whole {within_s:g} s until stand-in, {places / (within_s / 10):.0f} when it takes a tenth of that"
    )


def notes(configuration: config.Configuration) -> Iterator[str]:
    """Reasons why it would not start on this machine, as far as looking at files can tell."""
    node = configuration.node
    pins: dict[str, str] = {}
    for key, name in _files_of(node):
        path = Path(os.path.expandvars(name))
        if not is_file(str(path)):
            yield f"{key}: no such file here"
        elif key.endswith(("pin_file", "key_file")) and path.stat().st_mode & stat.S_IRWXO:
            yield f"{key}: everyone on this machine may read it"
        if key.endswith("pin_file") and os.access(path, os.R_OK):
            yield from _of_pin(key, path, pins)
    for place, tls in papers.uses_of(node):
        yield from papers.notes_on(tls, place)
    if not node.journal.begin_if_none and not Path(node.journal.dir).exists():
        yield "node.journal.dir: no such directory here"
    if node.volume is not None:
        yield from _of_volume(node.volume)
    yield from allowance.notes(node)


def _files_of(node: config.Node) -> list[tuple[str, str]]:
    """Key and path of every file that it reads, except the journal."""
    files = [
        *((f"node.token[{n}].module", token.module) for n, token in enumerate(node.token)),
        *((f"node.token[{n}].pin_file", token.pin_file) for n, token in enumerate(node.token)),
    ]
    for place, tls in papers.uses_of(node):
        files += [(f"{place}.{name}", path) for name, path in papers.files_of(tls) if path]
    return files


def _of_pin(key: str, path: Path, seen: dict[str, str]) -> Iterator[str]:
    """`seen`: PIN → the first key of the configuration that has it."""
    try:
        pin = read_pin(path)
    except NoPin as error:
        yield f"{key}: {error}"
        return
    if (first := seen.setdefault(pin, key)) != key:
        yield f"{key}: is the same PIN as that of {first}: give each partition one of its own"


def _of_volume(volume: config.Volume) -> Iterator[str]:
    if volume.report:
        if not is_file(volume.report):
            yield f"node.volume.report: {volume.report} is not there: fps-volume-report@ does not run on the host"
    elif not Path(volume.path).is_block_device():
        yield f"node.volume.resource: {volume.path} is no device here: the volume is not up"


def example(half: str | None = None) -> str:
    """Return a configuration that documents every setting: one file without mistakes, or the half of it for a file."""
    what = HALVES[half] if half else "The configuration of one gateway process"
    command = " ".join(["fps-gateway config example", *([half] if half else [])])
    lines = [
        *_comment(f"{what}. Printed by `{command}`."),
        "#",
        *_comment("Lines that begin with # and no space are settings at their default; take the # away to change one."),
        *_comment("In brackets: what is allowed. Names that end in _s are seconds, _bytes bytes, _days days."),
        *_comment("The group, and each host whose name ends in .example, must be replaced: nothing starts with them."),
    ]
    for field in msgspec.structs.fields(config.Configuration):
        if half in {field.name, None}:
            lines += _inner(field, field.name, EXAMPLES)
    return "\n".join(lines) + "\n"


def _table(
    kind: type[Struct], place: str, given: dict[str, Any], *, live: bool = True, shown: Collection[str] = ()
) -> Iterator[str]:
    """Print the fields of one table, the plain ones first, as TOML wants it; `live`: not commented out as a whole.
    `shown`: fields whose given value is printed although they have a default.
    """
    tables = []
    documentation = docstrings(kind)
    for field in msgspec.structs.fields(kind):
        here = f"{place}.{field.name}" if place else field.name
        if config.struct_in(field.type) is not None:
            tables.append((field, here))
            continue
        yield from _comment(f"{documentation.get(field.name, '')} {limits_in_words(field.type)}")
        must = field.required or here in given  # the other settings demand it, though it has a default
        value = given.get(here, given.get(field.name)) if must or field.name in shown else default_of(field)
        yield f"{'' if live and must else '#'}{field.name} = {as_toml(value)}"
    for field, here in tables:
        yield from _inner(field, here, given, live=live)


def _inner(field: msgspec.structs.FieldInfo, here: str, given: dict[str, Any], *, live: bool = True) -> Iterator[str]:
    """Print the table, or the tables, that a field stands for."""
    inner = config.struct_in(field.type)
    assert inner is not None
    inner_live = live and (field.required or (field.default is not None and field.default != ()))
    hash_sign = "" if inner_live else "#"
    yield ""
    yield from _comment(inner.__doc__ or "")
    if not config.is_many(field.type):
        yield f"{hash_sign}[{here}]"
        yield from _table(inner, here, given, live=inner_live)
        return
    first, *others = given[here]
    yield f"{'' if field.required else '#'}[[{here}]]"
    yield from _table(inner, here, {**given, **first}, live=field.required, shown=() if field.required else first)
    for other in others:
        yield ""
        yield f"[[{here}]]"
        yield from (f"{name} = {as_toml(value)}" for name, value in other.items())


def docstrings(kind: type[Struct]) -> dict[str, str]:
    """Return the docstring below each field of one table of the configuration."""
    (table,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(table, ast.ClassDef)
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(table.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def default_of(field: msgspec.structs.FieldInfo) -> Any:
    """The default of a setting."""
    return field.default_factory() if field.default is msgspec.NODEFAULT else field.default


def limits_in_words(kind: Any) -> str:
    """A type's limits in words."""
    match msgspec_inspect.type_info(kind):
        case msgspec_inspect.LiteralType(values=values):
            return f"[{' | '.join(str(value) for value in values)}]"
        case msgspec_inspect.IntType() | msgspec_inspect.FloatType() as number:
            limits = {">": number.gt, "≥": number.ge, "<": number.lt, "≤": number.le}
            return "[" + " ".join(f"{sign}{limit:.15g}" for sign, limit in limits.items() if limit is not None) + "]"
    return "".join(f"[{words}]" for words in config.described(kind).values())


def as_toml(value: Any) -> str:
    """Write a plain value; JSON's strings, numbers and booleans are TOML's too."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {as_toml(inner)}" for key, inner in value.items()) + "}"
    return msgspec.json.encode(value).decode()


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, WIDTH, break_on_hyphens=False, break_long_words=False)]
