"""`.venv/bin/python -m supply`: see the package."""

import sys

from gateway import entry

if __name__ == "__main__":  # before the rest is imported
    sys.exit(entry.command("supply.__main__"))

import argparse
import datetime as dt
import email
import zipfile
from pathlib import Path

from gateway.machine import harmless
from gateway.machine.arguments import Parser
from supply import advisories, licences, locks

FAILED, UNAVAILABLE = 1, 69


def main(arguments: list[str]) -> int:
    """Return the exit status: 0 done and nothing is wrong, 1 something is, 2 wrong usage (argparse), 69 nobody could be
    asked.
    """
    options = _parser().parse_args(arguments)
    code: int = options.run(options)
    return code


def _audit(_: argparse.Namespace) -> int:
    locked = locks.read(locks.TOOLS)
    today = dt.datetime.now(dt.UTC).date()
    known = advisories.known()
    found = advisories.judge(locked, known, advisories.accepted(), today)
    rows, wrong = licences.all_of(locked, licences.rules())
    for warning in found.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    failures = [*found.failures, *wrong]
    for failure in failures:
        print(harmless.line(failure), file=sys.stderr)
    published = sum(len(package.advisories) for package in known.values())
    print(f"{len(locked)} locked packages, {published} published vulnerabilities, {len(rows)} licences: "
          + (f"{len(failures)} things are wrong" if failures else "nothing is wrong"))  # fmt: skip
    return FAILED if failures else 0


def _renew(_: argparse.Namespace) -> int:
    from supply import osv

    today = dt.datetime.now(dt.UTC).date()
    try:
        known = osv.renewed([package.name for package in locks.read(locks.TOOLS)], today)
    except (OSError, ValueError) as error:
        print(f"OSV cannot be asked, and nothing was written: {harmless.line(error)}", file=sys.stderr)
        return UNAVAILABLE
    advisories.KNOWN.write_text(advisories.as_text(known), encoding="utf-8")
    print(f"{sum(len(each.advisories) for each in known.values())} advisories about {len(known)} packages, of {today}")
    return 0


def _sbom(options: argparse.Namespace) -> int:
    from supply import sbom

    with zipfile.ZipFile(options.wheel) as packed:
        (name,) = [name for name in packed.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(packed.read(name))
    try:
        text = sbom.written(options.wheel, locks.read(locks.SHIPPED), metadata)
    except licences.Unknown as unknown:
        print(harmless.line(unknown), file=sys.stderr)
        return FAILED
    options.wheel.with_suffix(sbom.SUFFIX).write_text(text, encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=".venv/bin/python -m supply", description="What the gateway is made of that is not ours.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    audit = commands.add_parser("audit", help="judge the locks: published vulnerabilities, licences; without a network")
    audit.set_defaults(run=_audit)
    renew = commands.add_parser("renew", help="ask OSV what is published by now")
    renew.set_defaults(run=_renew)
    sbom = commands.add_parser("sbom", help="write the bill of materials of a wheel, beside it")
    sbom.add_argument("wheel", type=Path, metavar="WHEEL")
    sbom.set_defaults(run=_sbom)
    return parser
