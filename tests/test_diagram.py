"""The picture of the law in the README is the law."""

from pathlib import Path

import gateway
from gateway.diagram import diagrams, edges, renewed
from gateway.lifecycle import LAW, State

README = Path(gateway.__file__).parent.parent / "README.md"


def test_the_readme_shows_the_law_as_it_is() -> None:
    """`python -m gateway.diagram README.md` makes it so."""
    text = README.read_text(encoding="utf-8")
    assert diagrams() in text
    assert renewed(text) == text


def test_every_step_that_moves_a_payment_is_drawn() -> None:
    drawn = edges(list(State))
    moves = [(state, row.to) for state in State for row in LAW[state].values() if row.to is not state]
    assert set(drawn) == set(moves)
    assert sum(len(words) for words in drawn.values()) == len(moves)
