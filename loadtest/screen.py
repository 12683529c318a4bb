"""What a demo shows while it runs: a live table on a terminal, plain lines elsewhere."""

import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway import console

LINES_EVERY_S = 5.0
"""Without a terminal, a line so often and at each event."""
EVENTS_SHOWN = 12
COLUMNS = 5
"""In a row: three rows fit into a terminal of 80 columns, with numbers of seven digits."""


class Row(NamedTuple):
    """One moment. Times of the last second; `untold` None: the gateway does not say, it is away.

    `sent` is what comes, and what became of it; `submitted` is what leaves, and what of it was `accepted`.
    """

    elapsed_s: float
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

    def cells(self) -> list[tuple[str, str]]:
        """Title and text of each column."""

        def ms(value: float | None) -> str:
            return "–" if value is None else f"{value:,.1f}"

        return [
            ("seconds", f"{self.elapsed_s:.0f}"),
            ("sent", f"{self.sent:,}"),
            ("answered", f"{self.answered:,}"),
            ("stood in", f"{self.stood_in:,}"),
            ("refused", f"{self.refused:,}"),
            ("reversed", f"{self.reversed:,}"),
            ("outstanding", f"{self.outstanding:,}"),
            ("submitted", f"{self.submitted:,}"),
            ("accepted", f"{self.accepted:,}"),
            ("to be told", "away" if self.untold is None else f"{self.untold:,}"),
            ("p50 ms", ms(self.p50_ms)),
            ("p99 ms", ms(self.p99_ms)),
            ("faults", f"{self.faults:,}"),
        ]


class Screen(Protocol):
    """Where rows and events go."""

    def row(self, row: Row) -> None:
        """Show this moment."""

    def event(self, text: str) -> None:
        """Say what happens."""


class Lines:
    """Plain lines."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def row(self, row: Row) -> None:
        """A line, when it is time."""
        if row.elapsed_s >= self._next_s:
            self._next_s = row.elapsed_s + LINES_EVERY_S
            print("  ".join(f"{title} {text}" for title, text in row.cells()), flush=True)

    def event(self, text: str) -> None:
        """A line; the next row is shown too."""
        self._next_s = 0.0
        print(f"--- {text}", flush=True)


class Board:
    """A table that stays where it is, with the latest events below."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._row: Row | None = None
        self._events: deque[str] = deque(maxlen=EVENTS_SHOWN)

    def row(self, row: Row) -> None:
        """Show this moment in place of the last."""
        self._row = row
        self._show()

    def event(self, text: str) -> None:
        """Add a line below."""
        at = f"{self._row.elapsed_s:4.0f} s" if self._row else "   0 s"
        self._events.append(f"{at}  {text}")
        self._show()

    def _show(self) -> None:
        parts: list[Table | Text] = []
        if self._row is not None:
            cells = self._row.cells()
            parts += [_table(cells[at : at + COLUMNS]) for at in range(0, len(cells), COLUMNS)]
        self._live.update(Group(*parts, *(Text(event) for event in self._events)), refresh=True)


@contextmanager
def screen(*, plain: bool) -> Iterator[Screen]:
    """A table on a terminal, lines elsewhere."""
    if plain or not console.rewrites(sys.stdout):
        yield Lines()
        return
    with Live(console=Console(), auto_refresh=False) as live:
        yield Board(live)


def _table(cells: list[tuple[str, str]]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for title, _ in cells:
        table.add_column(title, justify="right", no_wrap=True, min_width=9)
    table.add_row(*(text for _, text in cells))
    return table
