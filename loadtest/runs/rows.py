"""One moment of a demo, and how it is said in plain lines. Pure but for `print`."""

from typing import NamedTuple, Protocol

LINES_EVERY_S = 5.0
"""Without a terminal, a line so often and at each event."""


class Part(NamedTuple):
    """One of the processes or sites, and whether it does its work."""

    name: str
    up: bool


class Row(NamedTuple):
    """One moment. Times of the last second; `untold` None: no gateway says, all are away.

    `sent` is what comes, and what became of it; `submitted` is what leaves, and what became of that.
    """

    elapsed_s: float
    parts: tuple[Part, ...]
    sent: int
    answered: int
    stood_in: int
    refused: int
    reversed: int
    outstanding: int
    submitted: int
    accepted: int
    untold: int | None
    p50_ms: float | None
    p99_ms: float | None
    faults: int

    def lines(self) -> list[tuple[str, str]]:
        """A name, and what there is to say of it."""
        away = [part.name for part in self.parts if not part.up]
        untold = "–" if self.untold is None else f"{self.untold:,}"
        came = (
            f"{self.sent:,}: {self.answered:,} answered, {self.stood_in:,} by stand-in, "
            f"{self.refused:,} refused, {self.reversed:,} reversed"
        )
        return [
            ("payments in", came),
            ("payments out", f"{self.submitted:,}: {self.accepted:,} accepted"),
            ("away", ", ".join(away) or "nobody"),
            ("right now", f"{self.outstanding:,} in the air, {untold} to be told, {self.faults:,} faults"),
            ("reply time", self._reply_time()),
        ]

    def _reply_time(self) -> str:
        if self.p50_ms is None or self.p99_ms is None:
            return "no reply just now"
        return f"half within {self.p50_ms:,.1f} ms, 99 of 100 within {self.p99_ms:,.1f} ms"


class Screen(Protocol):
    """Where rows and events go."""

    def row(self, row: Row) -> None:
        """Show this moment."""

    def event(self, text: str) -> None:
        """Say what happens."""


class PlainLines:
    """Plain lines."""

    _SHOWN = 3
    """Of a row's lines: one has to read them at the end of a page that is 120 characters wide."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def row(self, row: Row) -> None:
        """A line, when it is time."""
        if row.elapsed_s >= self._next_s:
            self._next_s = row.elapsed_s + LINES_EVERY_S
            said = "; ".join(f"{name} {text}" for name, text in row.lines()[: self._SHOWN])
            print(f"{row.elapsed_s:4.0f} s  {said}", flush=True)

    def event(self, text: str) -> None:
        """A line; the next row is shown too."""
        self._next_s = 0.0
        print(f"--- {text}", flush=True)
