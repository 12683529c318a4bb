"""Asks OSV (https://osv.dev), which gathers what the Python Packaging Authority, GitHub and others publish.

It is asked for everything about a package, and not about a version: `advisories` says why. Its form is documented at
https://ossf.github.io/osv-schema/; of it is kept what decides whether a version is affected.
"""

import datetime as dt
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from supply.advisories import Advisory, Known, Package, Range

URL = "https://api.osv.dev/v1/query"
WITHIN_S = 30.0
ANSWER_BYTES_MAX = 32 << 20
PAGES_MAX = 20

Ask = Callable[[bytes], bytes]
"""A request's body in, the response's body out."""


def ask(body: bytes) -> bytes:
    """Ask the real one. Raises `OSError`."""
    request = urllib.request.Request(URL, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=WITHIN_S) as response:  # noqa: S310 - one constant URL
        read: bytes = response.read(ANSWER_BYTES_MAX + 1)
    if len(read) > ANSWER_BYTES_MAX:
        raise OSError("the answer is too long")
    return read


def renewed(names: Iterable[str], today: dt.date, ask: Ask = ask) -> Known:
    """What is known today about these packages. Raises `OSError`, or `ValueError` for an answer that cannot be read."""
    return {name: Package(today, "osv.dev", _about(name, ask)) for name in sorted(set(names))}


def _about(name: str, ask: Ask) -> tuple[Advisory, ...]:
    query: dict[str, Any] = {"package": {"ecosystem": "PyPI", "name": name}}
    found: dict[str, Advisory] = {}
    for _ in range(PAGES_MAX):
        answer = msgspec.json.decode(ask(msgspec.json.encode(query)), type=dict[str, Any])
        for raw in answer.get("vulns", ()):
            if "withdrawn" not in raw and (advisory := advisory_of(raw, name)) is not None:
                found[advisory.id] = advisory
        if not answer.get("next_page_token"):
            return tuple(found[each] for each in sorted(found))
        query["page_token"] = answer["next_page_token"]
    raise ValueError(f"{name}: the answer has no end")


def advisory_of(raw: dict[str, Any], name: str) -> Advisory | None:
    """What an entry says of one package; None when it says nothing of it."""
    ranges: list[Range] = []
    versions: list[str] = []
    for affected in raw.get("affected", ()):
        package = affected.get("package", {})
        if package.get("ecosystem") != "PyPI" or package.get("name", "").lower().replace("_", "-") != name:
            continue
        inside = [
            pair
            for each in affected.get("ranges", ())
            if each["type"] == "ECOSYSTEM"
            for pair in _ranges(each["events"])
        ]
        ranges += inside
        if not inside:
            versions += affected.get("versions", ())
    if not ranges and not versions:
        return None
    aliases = tuple(sorted(raw.get("aliases", ())))
    source = f"https://osv.dev/vulnerability/{raw['id']}"
    return Advisory(id=raw["id"], aliases=aliases, affected=tuple(ranges), versions=tuple(versions), source=source)


def _ranges(events: list[dict[str, str]]) -> list[Range]:
    """Events in their order, an end after each beginning, as ranges. A beginning without an end goes on for ever."""
    found: list[Range] = []
    introduced = ""
    for event in events:
        ((kind, version),) = event.items()
        if kind == "introduced":
            if introduced:
                found.append(Range(introduced))
            introduced = version
        elif introduced and kind in {"fixed", "last_affected"}:
            found.append(Range(introduced, **{kind: version}))
            introduced = ""
    return [*found, Range(introduced)] if introduced else found
