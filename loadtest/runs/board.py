"""The picture of a demo on a terminal. It stays where it is, as wide and as high as the terminal.

The one user of `rich`: what draws nothing, such as the mock hub's image, needs no `rich`.
"""

import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gateway.machine import console
from loadtest.runs.rows import Row

HISTORY_SHOWN = 48
"""Seconds of payments that the picture goes back, at most."""
_BARS = " ▁▂▃▄▅▆▇█"
_NAME_COLUMNS, _TIME_COLUMNS = 14, 8
_EVENT_LINES_MIN = 6
"""What happens is worth more than figures: these go first where there is no room for both."""


class Board:
    """A picture that stays where it is, with the latest events below: as many as fit."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._row: Row | None = None
        self._before: Row | None = None
        self._events: list[tuple[str, str]] = []
        self._paces: deque[tuple[float, float]] = deque(maxlen=HISTORY_SHOWN)
        """Payments per second that got their reply, and that got their outcome, second by second."""

    def row(self, row: Row) -> None:
        """Show this moment in place of the last."""
        self._before, self._row = self._row, row
        if self._before is not None:
            self._paces.append(_paces(self._before, row))
        self._show()

    def event(self, text: str) -> None:
        """Add it below."""
        at = f"{self._row.elapsed_s:.0f} s" if self._row else ""
        self._events.append((at, text))
        self._show()

    def _show(self) -> None:
        # the last line stays free: a picture as high as the terminal would scroll
        wide, high = self._live.console.width, self._live.console.height - 1
        head = self._head() if self._row is not None else []
        while head and _height(self._live.console, head) > high - _EVENT_LINES_MIN:
            head.pop()
        events: list[Table] = []
        left = high - _height(self._live.console, head)
        for number, (at, text) in enumerate(reversed(self._events)):
            event = _two(Text(at, style="dim"), Text(text, style="bold" if not number else ""), _TIME_COLUMNS, wide)
            left -= _height(self._live.console, [event])
            if left < 0:
                break
            events.insert(0, event)
        self._live.update(Group(*head, *events), refresh=True)

    def _head(self) -> list[Text | Table | Padding]:
        row, wide = self._row, self._live.console.width
        assert row is not None
        plain = not (self._live.console.encoding or "").startswith("utf")
        parts = Text("  ")
        for part in row.parts:
            sign = ("up" if part.up else "AWAY") if plain else ("●" if part.up else "○")
            parts.append(f"{sign} {part.name}", style="green" if part.up else "bold red")
            parts.append("   ")
        lines = [(name, text) for name, text in row.lines() if name != "away"]
        said = [_two(Text(name, style="dim"), Text(text), _NAME_COLUMNS, wide) for name, text in lines]
        if not plain:
            for place, name in enumerate(("per s, in", "out")):
                bars = _bars([paces[place] for paces in self._paces])
                said.append(_two(Text(name, style="dim"), Text(bars, style="cyan"), _NAME_COLUMNS, wide))
        return [Text(""), parts, Text(""), *said, Text("")]


def _paces(before: Row, now: Row) -> tuple[float, float]:
    elapsed_s = max(now.elapsed_s - before.elapsed_s, 0.1)
    done = [row.answered + row.stood_in + row.refused for row in (before, now)]
    return (done[1] - done[0]) / elapsed_s, (now.accepted - before.accepted) / elapsed_s


def _bars(values: Sequence[float]) -> str:
    """A bar for each value; the highest is as high as there is."""
    most = max(values, default=0) or 1
    return "".join(_BARS[min(round(max(value, 0) / most * (len(_BARS) - 1)), len(_BARS) - 1)] for value in values)


def _two(name: Text, text: Text, name_columns: int, wide: int) -> Table:
    """A name, and beside it a text that may need several lines."""
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", width=name_columns, no_wrap=True)
    table.add_column(width=max(wide - name_columns - 2, 10), overflow="fold")
    table.add_row(name, text)
    return table


def _height(on: Console, parts: Sequence[Text | Table | Padding]) -> int:
    return sum(len(on.render_lines(part)) for part in parts)


@contextmanager
def board() -> Iterator[Board]:
    """Draw on the terminal until the context ends."""
    with Live(console=Console(file=console.drawing(sys.stdout), highlight=False), auto_refresh=False) as live:
        yield Board(live)
