"""What every book, journal and log of a world says of one payment, in the order of time: to be read when a ledger does
not balance.

Hub and gateways run on one machine, so that their clocks agree but for the granularity of a system call.
"""

import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from loadtest.ledger.books import SHOW
from loadtest.ledger.oracle import Verdict

LINES_MAX = 80
"""Of each payment; more are left out, and counted."""
_HEX = frozenset("0123456789abcdef")
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Line(NamedTuple):
    """What somebody says."""

    at_s: float
    """Wall clock."""
    who: str
    what: str


def broken(verdict: Verdict, most: int = 3) -> list[str]:
    """The hashes of the first payments about which promises are broken."""
    found: dict[str, None] = {}
    for invariant in verdict.invariants:
        for example in invariant.first:
            name = example.partition(":")[0]
            if len(name) == 16 and _HEX.issuperset(name):
                found[name] = None
    return list(found)[:most]


def tell(directory: Path, names: list[str], hub_ahead_s: float) -> str:
    """The stories of these payments. `hub_ahead_s`: the wall clock less the hub's own."""
    said: dict[str, list[Line]] = {name: [] for name in names}
    for who, what, at_s in _all(directory, names, hub_ahead_s):
        for name in names:
            if name in what:
                said[name].append(Line(at_s, who, what))
    return "\n\n".join(_one(name, lines) for name, lines in said.items())


def _one(name: str, lines: list[Line]) -> str:
    lines.sort()
    began_s = lines[0].at_s if lines else 0.0
    shown = [f"  {line.at_s - began_s:10.4f}  {line.who:<24} {line.what}" for line in lines[:LINES_MAX]]
    more = [f"  and {len(lines) - LINES_MAX} more"] if len(lines) > LINES_MAX else []
    return "\n".join([f"the story of {name}, in seconds:", *shown, *more])


def _all(directory: Path, names: list[str], hub_ahead_s: float) -> Iterator[tuple[str, str, float]]:
    """Who, what and when, of these payments, book by book."""
    wanted = [name.encode() for name in names]
    for book in (directory / "hub.ndjson", *directory.rglob("processor.ndjson")):
        for entry in _lines(book, wanted):
            hub = book.name == "hub.ndjson"
            at_s = float(entry.pop("t", 0.0)) + hub_ahead_s if hub else float(entry.pop("at", 0.0))
            entry.pop("intended", None)
            yield book.stem if hub else f"{book.parent.name} {book.stem}", _text(entry), at_s
    for log in directory.rglob("gateway*.log"):
        for entry in _lines(log, wanted):
            at_s = _seconds(str(entry.pop("time", "")))
            yield f"{log.stem} log", _text(entry), at_s
    for journal in directory.rglob("journal*"):
        if journal.is_dir():
            yield from _of_journal(journal, wanted)


def _of_journal(journal: Path, wanted: list[bytes]) -> Iterator[tuple[str, str, float]]:
    """Records about these payments, and those that say of such a record that it was told; and every start."""
    steps: dict[int, str] = {}
    with subprocess.Popen([*SHOW, str(journal), "--json"], stdout=subprocess.PIPE) as shown:  # noqa: S603 - our own
        assert shown.stdout is not None
        for raw in shown.stdout:
            told = any(kind in raw for kind in (b'"TOLD"', b'"PARKED"', b'"DROPPED"'))
            if not told and not any(name in raw for name in wanted):
                continue
            record = _decode(raw)
            body = record.get("body", {})
            name = str(record.get("fpid_hash", ""))
            if told:
                name = steps.get(int(body.get("position", 0)), "")
                if not name:
                    continue
            steps[int(record["position"])] = name
            shown_body = {key: value for key, value in body.items() if len(str(value)) < 40}
            what = f"{record['position']} {record['kind']} {name} link={record['link']} {_text(shown_body)}"
            yield journal.name, what, int(record["time_ns"]) / 1e9


def _lines(path: Path, wanted: list[bytes]) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    with path.open("rb") as file:
        for raw in file:
            if any(name in raw for name in wanted):
                try:
                    yield _decode(raw)
                except msgspec.DecodeError:
                    continue  # torn, or no JSON


def _text(entry: dict[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in entry.items() if value not in ("", None))


def _seconds(stamp: str) -> float:
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return 0.0
