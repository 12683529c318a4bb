"""Reads the books from disk, and is the command that judges them.

    .venv/bin/python -m loadtest ledger --hub hub.ndjson --processor processor.ndjson --journal DIR

The gateway's own command reads the journal, `fps-gateway journal show DIR --json`: the judge sees only what a person
can see there. Chain and checksums are left to `journal verify`.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from gateway.machine import harmless
from gateway.machine.arguments import Commands
from loadtest.ledger import report
from loadtest.ledger.entries import key_hash
from loadtest.ledger.oracle import HubEvent, JournalEvent, Ledger, ProcessorEvent, Verdict

_Line = TypeVar("_Line", bound=Struct)

SHOW = (sys.executable, "-P", "-m", "gateway", "journal", "show")
"""The gateway's command, with this interpreter."""
PROCESSOR = "processor"
"""The name of the processor in the journal, as the party that acknowledges notices."""


class Unusable(Exception):
    """A book cannot be read. The message says which, and where."""


def lines(path: str | Path, kind: type[_Line]) -> Iterator[_Line]:
    """The lines of an NDJSON book. An unfinished last line, whose writer was killed, is left out.

    Raises `Unusable` or OSError.
    """
    decode = msgspec.json.Decoder(kind).decode
    with Path(path).open("rb") as book:
        for number, line in enumerate(book, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield decode(line)
            except msgspec.MsgspecError as error:
                raise Unusable(f"{path}:{number}: {error}") from error


def journal(directory: str | Path) -> Iterator[tuple[str, JournalEvent]]:
    """Node and record of a journal, in order. Raises `Unusable`."""
    with subprocess.Popen([*SHOW, str(directory), "--json"], stdout=subprocess.PIPE) as shown:  # noqa: S603 - our own
        assert shown.stdout is not None
        node = ""
        try:
            for number, line in enumerate(shown.stdout, 1):
                try:
                    record = msgspec.json.decode(line, type=dict[str, Any])
                    event = journal_event(record)
                except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
                    raise Unusable(f"journal show {directory}, line {number}: {error!r}") from error
                node = str(record["body"]["node"]) if event.kind == "STARTED" else node
                yield node, event
        finally:
            shown.stdout.close()
    if shown.returncode:
        raise Unusable(f"journal show {directory} ended with {shown.returncode}")


def journal_event(record: dict[str, Any]) -> JournalEvent:
    """Convert a line of `journal show --json`. Raises KeyError, TypeError or ValueError."""
    body = record.get("body", {})
    kind = str(record["kind"])
    told = kind in {"TOLD", "PARKED", "DROPPED"}
    to = str(body.get("to", "")) if told else ""
    key = str(body.get("key", "")) if kind == "SUBMITTED" else ""
    return JournalEvent(
        position=int(record["position"]),
        kind=kind,
        fpid=str(record.get("fpid_hash", "")),
        code=str(body.get("code", "")),
        told=int(body["position"]) if told else 0,
        to="" if to == PROCESSOR else to,
        key=key_hash(key) if key else "",
        by=str(body.get("by", "")),
        source=str(body.get("source", "")),
        said=str(body.get("stood_in", "")),
    )


def judge(hub: list[Path], processor: list[Path], journals: list[Path], *, whole: bool = False) -> Verdict:
    """Feed all books to a ledger and return its verdict. Raises `Unusable` or OSError.

    `whole`: nothing was deleted from the journals.
    """
    ledger = Ledger(whole=whole)
    for path in hub:
        for event in lines(path, HubEvent):
            ledger.hub(event)
    for path in processor:
        for told in lines(path, ProcessorEvent):
            ledger.processor(told)
    for directory in journals:
        for node, record in journal(directory):
            ledger.journal(record, node)
    return ledger.verdict()


def add_parser(commands: Commands) -> None:
    """Add `ledger`."""
    parser = commands.add_parser(
        "ledger",
        help="judge the books of an earlier run",
        description=__doc__,
        epilog="Exit code 0: the ledger balances. 1: it does not. 2: a book cannot be read.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--hub", type=Path, action="append", required=True, metavar="FILE", help="the hub's book")
    parser.add_argument("--processor", type=Path, action="append", default=[], metavar="FILE", help="a processor's")
    parser.add_argument("--journal", type=Path, action="append", default=[], metavar="DIR", help="a gateway's journal")
    parser.add_argument("--json", action="store_true", help="the verdict as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Judge and print."""
    try:
        verdict = judge(options.hub, options.processor, options.journal)
    except (Unusable, OSError) as error:
        print(f"ledger: {harmless.line(error)}", file=sys.stderr)
        return 2
    print(msgspec.json.encode(verdict).decode() if options.json else report.verdict(verdict))
    return 0 if verdict.balances else 1
