"""Who reaches what is rare: every warning, error of ours, row of the law and exit code, and the test that comes to it.

    with rare.watch("seed 7") as reached:
        …
    reached.save(path)

`.venv/bin/python -m tests.rare [FILE…]` lists each rare place (tests/rare_places.py finds them in the source) and who
reached it in the last run of all tests, or nobody; with files that `save` made, also who of these did. A run of all
tests fails when there is a place that nobody reached (tests/rare_plugin.py).

Nothing of this is in the gateway: what watches is put around its parts from here, while somebody watches.
"""

import sys

from gateway import entry

if __name__ == "__main__":  # before the rest is imported
    sys.exit(entry.command("tests.rare"))

from collections.abc import Callable, Collection, Iterator, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
import structlog

from gateway import __main__ as command_line
from gateway import log
from gateway.errors import GatewayError
from gateway.exitcodes import ExitCode
from gateway.payments import arrival, departures, settling, taking
from gateway.payments.law import Row
from tests.rare_places import RARE, TOP, Place, Source, exit_name, find, law_name, log_name

RECORD = TOP / ".pytest_cache" / "v" / "rare" / "reached"
"""Where the plugin keeps what the tests reached, by pytest's own cache."""

EXEMPT: dict[str, str] = {}
"""Places that no test can reach, and why. What is here and is reached all the same fails too."""


class Reached:
    """Names of rare places, and who came there first."""

    def __init__(self, by: str = "", found: dict[str, str] | None = None) -> None:
        self.by = by
        """Who is at work now."""
        self.found = {} if found is None else found

    def note(self, name: str) -> None:
        """Somebody is there."""
        if name not in self.found:
            self.found[name] = self.by

    def note_line(self, line: MutableMapping[str, Any]) -> None:
        """A line of a log, whoever wrote it."""
        component, level, text = (str(line.get(key, "")) for key in ("component", "level", "event"))
        if level in RARE:
            self.note(log_name(component, level, text))
        if (component, text) == ("main", "ended"):
            self.note(exit_name(line["exit_code"]))

    def note_log(self, path: Path) -> None:
        """The log of another process, JSON lines among others. One that is cut short costs itself."""
        for line in path.read_bytes().splitlines():
            if line.startswith(b"{"):
                with suppress(msgspec.MsgspecError):
                    self.note_line(msgspec.json.decode(line, type=dict[str, Any]))

    def merge(self, other: "Reached") -> None:
        """Take what somebody else knows; who was here before stays."""
        self.found = {**other.found, **self.found}

    def save(self, path: Path) -> None:
        """Write it down, JSON."""
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self.found)))

    @classmethod
    def load(cls, path: Path) -> Self:
        """What `save` wrote."""
        return cls("", msgspec.json.decode(path.read_bytes(), type=dict[str, str]))


@contextmanager
def watch(by: str = "") -> Iterator[Reached]:
    """Note what is rare and happens meanwhile in this process. May be nested; each notes for itself."""
    reached = Reached(by)
    with pytest.MonkeyPatch.context() as patch, _lines(reached, patch):
        _law(reached, patch)
        _errors(reached, patch)
        _exits(reached, patch)
        yield reached


@contextmanager
def _lines(reached: Reached, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Come first among the processors, now and whenever the log is configured again."""

    def noted(_logger: object, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if (method in RARE or "exit_code" in line) and _of_the_gateway():
            reached.note_line({**line, "level": method})
        return line

    configure, dropped_line = log.configure, log._dropped_line

    def configured(*arguments: Any, **named: Any) -> log.Writer:
        writer = configure(*arguments, **named)
        structlog.get_config()["processors"].insert(0, noted)
        return writer

    def noted_dropped(count: int) -> bytes:
        made = dropped_line(count)
        reached.note_line(msgspec.json.decode(made, type=dict[str, Any]))
        return made

    patch.setattr(log, "configure", configured)
    patch.setattr(log, "_dropped_line", noted_dropped)
    structlog.get_config()["processors"].insert(0, noted)
    try:
        yield
    finally:
        with suppress(ValueError):
            structlog.get_config()["processors"].remove(noted)


def _of_the_gateway() -> bool:
    """Whether the gateway logs this, and not a test that would like to have come there."""
    frame = sys._getframe(2)
    while frame.f_globals["__name__"].startswith("structlog.") and frame.f_back is not None:
        frame = frame.f_back
    return str(frame.f_globals["__name__"]).startswith("gateway.")


def _law(reached: Reached, patch: pytest.MonkeyPatch) -> None:
    """Rows that the stories look up; a test of the law itself, which looks at every row, does not count."""

    def noting(look_up: Callable[[IntEnum, IntEnum], Row[Any, Any]]) -> Callable[[IntEnum, IntEnum], Row[Any, Any]]:
        seen = set[tuple[IntEnum, IntEnum]]()  # of each law: their members have the same numbers

        def step(state: IntEnum, event: IntEnum) -> Row[Any, Any]:
            row = look_up(state, event)
            if (state, event) not in seen:
                seen.add((state, event))
                reached.note(law_name(state.name, event.name))
            return row

        return step

    for memory in (arrival, departures, settling, taking):
        patch.setattr(memory, "step", noting(memory.__dict__["step"]))


def _errors(reached: Reached, patch: pytest.MonkeyPatch) -> None:
    """Errors of ours, by the line of the gateway that makes them; one that a test makes does not count."""
    make = GatewayError.__init__
    seen = set[tuple[str, int, str]]()

    def made(self: GatewayError, *arguments: object) -> None:
        make(self, *arguments)
        frame = sys._getframe(1)
        while frame.f_back is not None and (frame.f_code.co_name == "made" or frame.f_locals.get("self") is self):
            frame = frame.f_back  # of a class of its own, or of somebody else who watches
        place = file, line, kind = frame.f_code.co_filename, frame.f_lineno, self.__class__.__name__
        if place not in seen:
            seen.add(place)
            for name in _errors_of(file, kind).get(line, ()):
                reached.note(name)

    patch.setattr(GatewayError, "__init__", made)


@cache
def _errors_of(file: str, kind: str) -> dict[int, list[str]]:
    """Line → names of the errors of this class that are made there."""
    path = Path(file)
    if not path.is_relative_to(TOP / "gateway"):
        return {}
    found: dict[int, list[str]] = {}
    for place in Source(path).errors(frozenset({kind})):
        found.setdefault(int(place.where.rpartition(":")[2]), []).append(place.name)
    return found


def _exits(reached: Reached, patch: pytest.MonkeyPatch) -> None:
    """What the command line ends with when a test runs it here; of processes their last line tells."""
    main = command_line.main

    def noted(arguments: Sequence[str]) -> int:
        runs = list(arguments)[:1] == ["run"]  # others have codes of their own
        try:
            code = main(arguments)
        except SystemExit as end:
            if runs:
                reached.note(exit_name(int(end.code or 0)))
            raise
        if runs or code == ExitCode.NOT_FOUND:  # which no gateway ends with, but who looks for a record
            reached.note(exit_name(code))
        return code

    patch.setattr(command_line, "main", noted)


# --- what is missing


def complaints(found: Collection[str], places: Sequence[Place] = (), exempt: dict[str, str] | None = None) -> list[str]:
    """What is wrong with what was reached: a line for each place that nobody came to, and for each exemption that is
    none.
    """
    places = places or find()
    exempt = EXEMPT if exempt is None else exempt
    known = {place.name for place in places}
    said = [
        f"reached by nobody: {place.name}  {place.where}".rstrip()
        for place in places
        if place.name not in found and place.name not in exempt
    ]
    said += [f"exempt, and reached all the same: {name}" for name in exempt if name in found]
    return said + [f"exempt, and not in the source: {name}" for name in exempt if name not in known]


def main(files: Sequence[str]) -> int:
    """Print each place and who reached it; returns 1 when there is one that nobody did."""
    reached = Reached.load(RECORD) if RECORD.exists() else Reached()
    for file in files:
        reached.merge(Reached.load(Path(file)))
    for place in find():
        reason = EXEMPT.get(place.name)
        by = reached.found.get(place.name) or (f"exempt: {reason}" if reason else "nobody")
        print(f"{place.name}  {place.where}".rstrip() + f"\n    {by}")  # noqa: T201 - it talks to a person
    wrong = complaints(reached.found)
    print("", *wrong, f"{len(find())} places, {len(wrong)} complaints", sep="\n")  # noqa: T201 - the same
    return 1 if wrong else 0
