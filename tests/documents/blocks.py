"""The fenced blocks of every Markdown file of this project, each with what its document says of how it is tried.

A comment directly above a block says what the test cannot see; several may stand there:

    <!-- not run: needs root, needs systemd; tried by tests/machines/test_systemd.py -->
                                   why not, and who does it instead (tried), or has its programs read it (read)
    <!-- exit: 78 -->                  its one command ends with this code, and not with 0
    <!-- terminal: until started -->   in a terminal of its own, until it has printed this; ended after the last block
    <!-- before: NAME -->              what a person, or a fault, did before: tests/documents/before/NAME.sh
    <!-- output -->                    above a `text` block: what the block before prints, digits aside

What is read here is a document's structure, by a Markdown parser; nothing is run.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

TOP = Path(__file__).parents[2]
SHELL = "sh"
MARKS = ("not run", "exit", "terminal", "before", "output")
_COMMENT = re.compile(r"<!--\s*(?P<name>[a-z ]+?)(?::\s*(?P<value>.*?))?\s*-->")


class Block(NamedTuple):
    """One fenced block."""

    document: str
    """Path below the project's top."""
    line: int
    """Of its fence, from 1."""
    language: str
    text: str
    marks: dict[str, str]

    @property
    def place(self) -> str:
        """For messages."""
        return f"{self.document}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """A shell block's lines, each whole, without comments on lines of their own."""
        lines = self.text.replace("\\\n", "").splitlines()
        return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def documents() -> list[str]:
    """Every Markdown file that git tracks, or will once it is added."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate", "--", "*.md"],
        cwd=TOP, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return sorted(name for name in listed.stdout.split("\0") if name and (TOP / name).is_file())


def blocks_of(document: str) -> list[Block]:
    """In their order."""
    return list(_blocks(document, (TOP / document).read_text(encoding="utf-8")))


def _blocks(document: str, text: str) -> Iterator[Block]:
    marks: dict[str, str] = {}
    for token in MarkdownIt("commonmark").parse(text):
        if token.type == "html_block":
            marks |= _marks(token.content)
        elif token.type in {"fence", "code_block"}:
            assert token.map is not None
            language = token.info.split(" ")[0] if token.type == "fence" else "indented"
            yield Block(document, token.map[0] + 1, language, token.content, marks)
            marks = {}
        else:
            marks = {}


def _marks(text: str) -> dict[str, str]:
    found = {match["name"]: match["value"] or "" for match in _COMMENT.finditer(text)}
    return {name: value for name, value in found.items() if name in MARKS}


def spans_of(document: str) -> list[str]:
    """What stands between backticks in the text of a document."""
    tokens = MarkdownIt("commonmark").enable("table").parse((TOP / document).read_text(encoding="utf-8"))
    children = [child for token in tokens if token.type == "inline" for child in token.children or []]
    return [child.content.replace("\n", " ") for child in children if child.type == "code_inline"]
