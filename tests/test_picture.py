"""The picture of the demo is drawn from a real run, of the demo as it is now."""

import ast
import re
from xml.etree import ElementTree as ET

from docs.picture import COLUMNS, EVENT, LAST, PICTURE, STATIC, TEXT, lines, picture
from gateway.exitcodes import ExitCode
from loadtest.runs import demo

KEPT = TEXT.read_text(encoding="utf-8")


def events() -> list[re.Pattern[str]]:
    """What the demo's source has it say, anything in place of what it fills in."""
    source = ast.parse((STATIC.parents[1] / "loadtest" / "runs" / "demo.py").read_text(encoding="utf-8"))
    found = []
    for node in ast.walk(source):
        if not (isinstance(node, ast.Call) and ast.unparse(node.func) in {"say", "self._say", "shown.event"}):
            continue
        texts = [node.args[0]]
        if isinstance(texts[0], ast.IfExp):
            texts = [texts[0].body, texts[0].orelse]
        for text in texts:
            parts = text.values if isinstance(text, ast.JoinedStr) else [text]
            said = (re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+" for part in parts)
            found.append(re.compile("".join(said)))
    return found


def test_the_picture_is_that_of_the_kept_run() -> None:
    """The same text gives the same bytes: `make picture ARGS=--again` changes nothing."""
    assert PICTURE.read_text(encoding="utf-8") == picture(KEPT)


def test_the_kept_run_is_one_of_the_demo_as_it_is_now() -> None:
    """Whoever changes what the demo says makes the picture anew: `make picture`."""
    said = [line.removeprefix(EVENT) for line in KEPT.splitlines() if line.startswith(EVENT)]
    texts = events()
    assert [line for line in said if not any(text.fullmatch(line) for text in texts)] == []
    assert len(said) == len(demo.SCRIPT) + 7
    assert KEPT.endswith(f"The ledger balances.\n\n{LAST}\n")
    assert demo._word(balances=True, told=True, exit_code=ExitCode.ENDED) == LAST


def test_the_picture_has_each_line_and_needs_nothing_from_elsewhere() -> None:
    """No line is wider than it; characters that mean something to XML are escaped."""
    drawn = ET.fromstring(picture(KEPT.replace("--- Hub site a goes away.", "--- Hub site <a> & co.")))  # noqa: S314 - ours
    texts = [element.text or "" for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    shown = lines(KEPT)
    assert len(texts) == sum(1 for line in shown if line.text)
    assert max(len(line.text) for line in shown) <= COLUMNS
    assert "--- Hub site <a> & co. Site b carries everything." in texts
    assert not re.search(r"href|url\(|<script|<image|@import", picture(KEPT))
