"""Tables in Markdown."""

from collections.abc import Iterator


def cell(text: str) -> str:
    """A text in a table: on one line, without what would end the cell."""
    return " ".join(text.split()).replace("|", "\\|")


def table(heads: list[str], rows: list[list[str]]) -> Iterator[str]:
    """A table in Markdown, and a blank line behind it."""
    yield "| " + " | ".join(heads) + " |"
    yield "| " + " | ".join("---" for _ in heads) + " |"
    yield from ("| " + " | ".join(cell(text) for text in row) + " |" for row in rows)
    yield ""
