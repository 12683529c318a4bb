"""The picture of the demo: runs it, keeps what it printed (`_static/demo.txt`) and draws that (`_static/demo.svg`).

    make picture                             # a new run
    make picture ARGS=--again                # the same run, drawn anew

The picture follows from the kept text alone, so the same text gives the same bytes. It needs no font, script or
image from elsewhere, has a background of its own, and colours for a dark and for a light page.
"""

import sys

from gateway import entry

if __name__ == "__main__":  # before the rest is imported
    sys.exit(entry.command("docs.picture"))

import subprocess
import textwrap
from html import escape
from pathlib import Path
from typing import NamedTuple

from gateway.machine.arguments import Parser

STATIC = Path(__file__).parent / "_static"
TEXT = STATIC / "demo.txt"
PICTURE = STATIC / "demo.svg"
TYPED = "./run demo"
EVENT = "--- "
LEDGER = "the ledger "
LAST = "The demo went as it should."
COLUMNS = 100
"""Longer lines are wrapped: wide enough for the demo's figures, and not wider than a page on a code host."""
CHARACTER, LINE, MARGIN = 7.8, 18, 18
"""The size of one character, of a line, and of the margin around them, in pixels."""
STYLE = """
text { font: 13px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #1f2328 }
rect { fill: #f6f8fa; stroke: #d0d7de }
.typed, .good { font-weight: bold }
.event { fill: #0550ae }
.figures { fill: #59636e }
.good { fill: #1a7f37 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  rect { fill: #161b22; stroke: #3d444d }
  .event { fill: #79c0ff }
  .figures { fill: #9198a1 }
  .good { fill: #56d364 }
}
"""


class Line(NamedTuple):
    """A line of the picture, and of which kind it is."""

    kind: str
    text: str


def lines(text: str) -> list[Line]:
    """The lines of a picture of this run: every event, the figures while something is away, and the ledger."""
    found = [Line("typed", f"$ {TYPED}")]
    running, _, after = text.partition(LEDGER)
    for line in running.splitlines():
        if line.startswith(EVENT):
            found += (Line("event", part) for part in textwrap.wrap(line, COLUMNS, subsequent_indent=" " * len(EVENT)))
        elif "; away " in line and not line.endswith("; away nobody"):
            found += (Line("figures", part) for part in textwrap.wrap(line, COLUMNS, subsequent_indent=" " * 8))
    ledger, last, _ = (LEDGER + after).partition(LAST)
    kept = [Line("ledger", line) for line in ledger.rstrip().splitlines()]
    return [*found, Line("ledger", ""), *kept, Line("ledger", ""), Line("good", last)]


def picture(text: str) -> str:
    """An SVG of this run."""
    shown = lines(text)
    width, height = COLUMNS * CHARACTER + 2 * MARGIN, len(shown) * LINE + 2 * MARGIN
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img">',
        "<title>What the demo prints</title>",
        f"<style>{STYLE}</style>",
        f'<rect x="0.5" y="0.5" width="{width - 1:g}" height="{height - 1:g}" rx="8"/>',
    ]
    for number, (kind, line) in enumerate(shown, start=1):
        if not line:
            continue
        said = line.lstrip()
        # the place of a text and its length are given: columns stay columns, whichever font there is
        x, y = MARGIN + (len(line) - len(said)) * CHARACTER, MARGIN + number * LINE - 5
        length = f'textLength="{len(said) * CHARACTER:.1f}" lengthAdjust="spacingAndGlyphs" xml:space="preserve"'
        drawn.append(f'<text class="{kind}" x="{x:.1f}" y="{y}" {length}>{escape(said)}</text>')
    return "\n".join([*drawn, "</svg>", ""])


def main(arguments: list[str]) -> int:
    """Read the command line."""
    parser = Parser(prog=".venv/bin/python -m docs.picture", description=__doc__)
    parser.add_argument("--again", action="store_true", help="draw the kept text, without a new run")
    if not parser.parse_args(arguments).again:
        run = [sys.executable, "-m", "loadtest", "demo", "--plain", "--last", "var/demo"]
        demo = subprocess.run(run, cwd=STATIC.parents[1], stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
        if demo.returncode:
            sys.stderr.write(demo.stdout)
            return 1
        # what comes after it names directories of this run
        TEXT.write_text(demo.stdout.partition(LAST)[0] + LAST + "\n", encoding="utf-8")
    PICTURE.write_text(picture(TEXT.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{PICTURE.relative_to(STATIC.parents[1])}\n")
    return 0
