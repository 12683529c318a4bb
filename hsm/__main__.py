"""`.venv/bin/python -m hsm`: see the package."""

import sys

from gateway import entry

if __name__ == "__main__":  # before the rest is imported
    sys.exit(entry.command("hsm.__main__"))

import argparse
from pathlib import Path

from gateway.config import Keys, Mac
from gateway.errors import Refusal
from gateway.machine import harmless
from gateway.machine.arguments import FEW, FEW_OR_NONE, Parser
from gateway.signer.outage import TokenOutage
from hsm import layout, provision

ZEROS = bytes(16)
"""The text whose MAC is a key check value."""
KCV_BYTES = 3
"""Leftmost bytes that are shown: enough to tell keys apart, too few to help an attacker."""


def main(arguments: list[str]) -> int:
    """Return the exit status: 0 done or agreed, 1 refused or not agreed, 2 wrong usage (argparse)."""
    options = _parser().parse_args(arguments)
    try:
        where = _layout(options)
        if options.command == "provision":
            return _provision(where, _keys_from(options))
        return _check(where)
    except Refusal as refusal:
        print(f"refused: {harmless.line(refusal)}", file=sys.stderr)
        return 1


def _keys_from(options: argparse.Namespace) -> provision.KeysFrom | None:
    if options.scheme_keys_from:
        return provision.KeysFrom(options.scheme_keys_from, scheme_only=True)
    return provision.KeysFrom(options.keys_from) if options.keys_from else None


def _provision(where: layout.Layout, keys_from: provision.KeysFrom | None) -> int:
    count = provision.provision(where, lambda what: print(harmless.line(what)), keys_from)
    labels = f"{', '.join(where.labels)} for {where.mac.algorithm} and {where.transport_key}"
    tokens = f"{where.tokens} tokens with {labels}"
    print(f"{count} things done: {tokens}" if count else f"nothing to do: {tokens}")
    print(f"\nkey values for a mock hub, development only: {harmless.line(where.keys_file)}")
    print(f"for the gateway's configuration:\n\n{where.snippet()}", end="")
    return 0


def _check(where: layout.Layout) -> int:
    """Print the key check values of each token: leftmost bytes of the MAC of zeros; for the transport key, as the token
    shows it.
    """
    shown: dict[str, dict[str, str]] = {}
    for name in where.names:
        try:
            values = provision.check_values(where, name, ZEROS)
        except TokenOutage as error:
            print(f"{name}  {error}")
            continue
        shown[name] = {label: value[: 2 * KCV_BYTES].upper() for label, value in values.items()}
        shown[name][where.transport_key] = provision.transport_check(where, name)
        print(name, *(f"{label}={value}" for label, value in shown[name].items()), sep="  ")
    wrong = len(shown) < len(where.names)
    for label in where.lengths:
        if len({values[label] for values in shown.values()}) > 1:
            wrong = True
            print(f"{label}: the tokens do NOT agree")
    if not wrong:
        print(f"all {len(shown)} tokens agree")
    return 1 if wrong else 0


def _layout(options: argparse.Namespace) -> layout.Layout:
    if options.remote > options.tokens:
        raise Refusal("--remote must be no more than --tokens")
    mac = Mac(
        algorithm=options.algorithm,
        hub_key=options.hub_key,
        own_key=options.own_key,
        seal_key=options.seal_key,
    )
    return layout.Layout(
        dir=options.dir.absolute(),
        module=options.module or layout.find_module(),
        tokens=options.tokens,
        remote=options.remote,
        prefix=options.prefix,
        mac=mac,
        transport_key=options.transport_key,
    )


def _parser() -> argparse.ArgumentParser:
    form = argparse.ArgumentDefaultsHelpFormatter
    parser = Parser(prog=".venv/bin/python -m hsm", description="Development tokens in SoftHSM.")
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser(
        "provision",
        formatter_class=form,
        help="make tokens that all hold the same keys",
        description="Make SoftHSM tokens with the same random keys in each, PIN files, and a key file for a mock hub. "
        "A further run adds only what is missing. For development only: in production, keys are made in a ceremony "
        "(hsm/README.md), and no person ever has their values.",
    )
    given = making.add_mutually_exclusive_group()
    given.add_argument(
        "--keys-from",
        type=Path,
        metavar="FILE",
        help="take the key values from this key file: two sites hold the same keys",
    )
    given.add_argument(
        "--scheme-keys-from",
        type=Path,
        metavar="FILE",
        help="take the scheme's keys from this key file, of another payment group: each has a seal key of its own",
    )
    checking = commands.add_parser(
        "check",
        formatter_class=form,
        help="check that all tokens hold the same keys",
        description="Print each token's key check values (the MAC of 16 zero bytes, leftmost 3 bytes; for the "
        "transport key, a block of zeros enciphered, where the token shows that). Exit status 1 when they do not "
        "agree or a token cannot be used.",
    )
    defaults = Mac()
    for command in (making, checking):
        command.add_argument("--dir", type=Path, required=True, help="directory of the tokens, PIN files and key file")
        command.add_argument("--tokens", type=FEW, default=4, metavar="N", help="number of tokens")
        command.add_argument(
            "--remote",
            type=FEW_OR_NONE,
            default=0,
            metavar="N",
            help="number of remote tokens (local = false), the last ones",
        )
        command.add_argument("--prefix", default="fps", help="tokens are named PREFIX-1, PREFIX-2 …")
        command.add_argument(
            "--algorithm",
            choices=sorted(layout.KEY_BYTES),
            default=defaults.algorithm,
            help="the MAC algorithm of the keys",
        )
        command.add_argument("--hub-key", default=defaults.hub_key, metavar="LABEL", help="label of the hub's MAC key")
        command.add_argument("--own-key", default=defaults.own_key, metavar="LABEL", help="label of our own MAC key")
        command.add_argument(
            "--seal-key", default=defaults.seal_key, metavar="LABEL", help="label of the key that seals the journal"
        )
        command.add_argument(
            "--transport-key",
            default=Keys().transport_key,
            metavar="LABEL",
            help="label of the key that wraps new keys",
        )
        command.add_argument("--module", metavar="PATH", help="the SoftHSM module (default: searched for)")
    return parser
