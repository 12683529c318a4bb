"""The command `fps-gateway hsm check`: which tokens, keys and check values agree, and which of them a gateway would
use.

It shows what `signer.survey` saw, and does not know how a token is asked. A check value (six digits) tells keys apart
and helps nobody to guess one: custodians compare it with the scheme's letter.
"""

import argparse
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import trio

from gateway import log
from gateway.config import file as config_file
from gateway.errors import ConfigurationError
from gateway.exitcodes import ExitCode
from gateway.exitcodes import exit_code as ended_by
from gateway.machine import harmless
from gateway.machine.arguments import Commands
from gateway.signer.survey import MACS, Report, Seen, survey

AGREED, OFF = 0, 1
CHECK_DIGITS = 6
"""Digits of a check value that are shown, as in the scheme's letters."""
GROUPS = "ABCDEFGH"
_EPILOG = f"""\
The keys of the ceremony are checked, by the labels in pair.mac and pair.keys. Keys that came in band have labels of
their own, which /statistics of a running gateway names: give them with --key. Each key makes a MAC over a known text,
and the whole MACs are compared, not the check values alone. The transport key may not make any: for it, the properties
that the token shows are compared.

Tokens with the same letter have the same keys. A gateway uses the largest group of them, or in a tie the group with the
token that is configured first. Of that group it uses the local tokens as long as they serve and are not slow.

Each token's PIN is tried once. A wrong PIN uses up one of the tries before the token is locked: correct the file first.
PIN files are found as the gateway finds them. Where they are systemd's credentials, run the command as the unit would:

  systemd-run --pipe --wait --collect --uid=fps-gateway-sip --gid=fps-gateway-sip \\
    --property=LoadCredentialEncrypted=pin:/etc/fps-gateway/pins-sip \\
    /opt/fps-gateway/bin/fps-gateway hsm check --config FILE --config FILE

It may run beside a gateway: it logs in once more to each token, changes nothing, and makes {MACS} MACs in each.

exit codes:
   0  all tokens serve and agree
   1  something is wrong, but a gateway would serve
   2  the command line makes no sense
  69  no token would serve
  78  the configuration holds mistakes"""


def add_parser(subparsers: Commands) -> None:
    """Mount the command."""
    parser = subparsers.add_parser("hsm", help="check that the HSM tokens and their keys agree")
    commands = parser.add_subparsers(dest="hsm_command", required=True, metavar="check")
    checking = commands.add_parser(
        "check",
        help="open every token as the gateway would, and compare their keys",
        description="Open every token of a configuration as a gateway would, and compare their keys.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    config_file.add_argument(checking)
    checking.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="LABEL",
        help="another key that every token should have (may be repeated)",
    )
    checking.add_argument("--json", action="store_true", help="print one JSON object")
    checking.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do what `add_parser` offers; returns the exit code."""
    try:
        configuration = config_file.load(*arguments.config)
    except ConfigurationError as error:
        return config_file.say(error)
    # what tokens' libraries say is for the person who looks, and no part of what is printed
    writer = log.configure("warning", "console", log.Writer(sys.stderr.buffer), out=sys.stderr)
    try:
        report = trio.run(survey, configuration.node.token, configuration.pair, arguments.key)
    except (KeyboardInterrupt, BaseExceptionGroup) as error:
        if ended_by(error) is not ExitCode.INTERRUPTED:
            raise
        return ExitCode.INTERRUPTED
    finally:
        writer.close()
    code = exit_code(report)
    if arguments.json:
        sys.stdout.write(msgspec.json.encode({**as_json(report), "exit_code": code}).decode() + "\n")
    else:
        sys.stdout.write("".join(f"{harmless.line(line)}\n" for line in as_text(report)))
    return code


def exit_code(report: Report) -> int:
    """What it comes to."""
    if not report.serving:
        return ExitCode.UNAVAILABLE
    return AGREED if report.well else OFF


def as_json(report: Report) -> dict[str, Any]:
    """For programs."""
    tokens = []
    for seen in report.seen:
        state = report.states[seen.token.name]
        keys = {
            label: {"check": _check(seen, label), "why": seen.shown.failures.get(label, "")}
            for label in _labels(report)
        }
        tokens.append({
            "name": seen.token.name,
            "local": seen.token.local,
            "state": state.state,
            "why": state.why,
            "tries": seen.tries,
            "keys": keys,
            "group": _group(report, seen),
            "mac_ms": None if seen.mac_s is None else round(seen.mac_s * 1000, 3),
        })  # fmt: skip
    verdict = {"serving": report.serving, "used": report.used, "well": report.well}
    return {"tokens": tokens, "transport_keys": report.transport_keys, "verdict": verdict}


def as_text(report: Report) -> Iterator[str]:
    """For people: a table, what is the matter with whom, and what a gateway would do."""
    labels = _labels(report)
    head = ["token", "where", "state", *labels, "same", "a MAC"]
    rows = [head]
    for seen in report.seen:
        checks = ["missing" if label in seen.shown.failures else _check(seen, label) or "-" for label in labels]
        mac = "-" if seen.mac_s is None else f"{seen.mac_s * 1000:.2f} ms"
        where = "local" if seen.token.local else "remote"
        state = report.states[seen.token.name].state
        rows.append([seen.token.name, where, state, *checks, _group(report, seen) or "-", mac])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    yield from ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    yield ""
    yield from matters(report)
    yield from _verdict(report)


def matters(report: Report) -> Iterator[str]:
    """What is off, token by token."""
    for seen in report.seen:
        name, state = seen.token.name, report.states[seen.token.name]
        if state.why:
            once = ": tried once; correct the file before you try again" if state.state == "wrong-pin" else ""
            yield f"{name}: {state.why}{once}"
        if (why := seen.shown.failures.get(report.transport_key)) is not None:
            yield f"{name}: {why}: it serves, and no key can come in band"
    if len(report.transport_keys) > 1:
        groups = ", and another in ".join(", ".join(names) for names in report.transport_keys)
        yield f'"{report.transport_key}" is one key in {groups}'


def _verdict(report: Report) -> Iterator[str]:
    if not report.serving:
        yield "no token would serve"
        return
    others = [name for name in report.serving if name not in report.used]
    rest = f"; {', '.join(others)} when these cannot" if others else ""
    yield f"a gateway would use {', '.join(report.used)}{rest}"
    count = f"{len(report.serving)} of {len(report.seen)} tokens would serve"
    yield f"{count}: all agree" if report.well else f"{count}: NOT all is well"


def _labels(report: Report) -> tuple[str, ...]:
    return (*report.labels, report.transport_key)


def _check(seen: Seen, label: str) -> str:
    return seen.shown.checks.get(label, "")[:CHECK_DIGITS]


def _group(report: Report, seen: Seen) -> str:
    """The letter of the tokens with its keys; empty when it does not have them all."""
    places = (at for at, names in enumerate(report.groups) if seen.token.name in names)
    return next((GROUPS[min(at, len(GROUPS) - 1)] for at in places), "")
