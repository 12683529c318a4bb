"""The picture of the law in the documents is the law."""

from pathlib import Path
from typing import Any

import pytest

import gateway
from gateway.commands.diagram import diagrams, edges, renewed
from gateway.payments import inbound_law, outbound_law
from gateway.payments.law import Law

PAGE = Path(gateway.__file__).parent.parent / "docs" / "law.md"


def test_the_page_shows_the_law_as_it_is() -> None:
    """`.venv/bin/python -m gateway.commands.diagram docs/law.md` makes it so."""
    text = PAGE.read_text(encoding="utf-8")
    assert diagrams() in text
    assert renewed(text) == text


@pytest.mark.parametrize("law", [inbound_law.LAW, outbound_law.LAW], ids=["inbound", "outbound"])
def test_every_step_that_moves_a_payment_is_drawn(law: Law[Any, Any, Any]) -> None:
    drawn = edges(law)
    moves = [(state, row.to) for state, rows in law.rows.items() for row in rows.values() if row.to is not state]
    assert set(drawn) == set(moves)
    assert sum(len(words) for words in drawn.values()) == len(moves)
