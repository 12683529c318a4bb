"""Where a demo shows what happens: a picture on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.machine import console
from loadtest.runs.rows import PlainLines, Screen


@contextmanager
def screen(*, plain: bool) -> Iterator[Screen]:
    """A picture on a terminal, lines elsewhere."""
    if plain or not console.rewrites(sys.stdout):
        yield PlainLines()
        return
    from loadtest.runs import board  # it draws with rich, which the mock world's image lacks

    with board.board() as drawn:
        yield drawn
