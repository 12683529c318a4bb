"""Which tokens get work: the whole decision, as tables."""

import pytest

from gateway.signer.choice import ALIKE_S, FAR_S, Candidate, Pace, choose

L, R = True, False
"""Local, remote."""


@pytest.mark.parametrize(
    ("candidates", "chosen", "why"),
    [
        ([], [], "none serves"),
        ([(L, 0.0), (L, 0.0), (R, 0.0), (R, 0.0)], [0, 1], "all are well: those of our own site"),
        ([(L, 0.001), (L, ALIKE_S)], [0, 1], "nobody feels the difference"),
        ([(L, 0.001), (L, 0.9)], [0], "one is slow, and one is not"),
        ([(L, 0.9), (L, 0.8)], [0, 1], "both are slow, and there is no other"),
        ([(L, 0.9), (L, 0.1)], [1], "slower by far than one that is slow itself"),
        ([(L, 0.9)], [0], "a slow one is better than none"),
        ([(R, 0.9)], [0], "a remote one, too"),
        ([(R, 0.001), (R, 0.0), (R, 0.7)], [0, 1], "no local one serves"),
        ([(L, 0.2), (R, 0.0)], [0], "a local one that is slow, but not so that a payment feels it"),
        ([(L, FAR_S), (R, 0.0)], [0], "at the limit"),
        ([(L, 0.9), (L, 0.6), (R, 0.0), (R, 0.8)], [2], "too slow for payments: the quick one of the others"),
        ([(L, 0.9), (L, 0.01), (R, 0.0)], [1], "one good local one is enough"),
        ([(L, 0.9), (R, 0.5), (R, 0.4)], [0], "the remote ones are slow as well: no reason to go there"),
    ],
)  # fmt: skip
def test_who_gets_work(candidates: list[tuple[bool, float]], chosen: list[int], why: str) -> None:
    assert choose([Candidate(*each) for each in candidates]) == chosen, why


def test_a_token_is_slow_at_once_and_quick_again_by_and_by() -> None:
    """One bad answer counts in full, and each better one halves it: a token that flaps gets no work for a while."""
    pace = Pace()
    assert pace.expected_s(0.0) == 0.0, "nothing is known: it is tried"
    pace.took(0.8)
    seen = []
    for _ in range(5):
        pace.took(0.001)
        seen.append(pace.expected_s(0.0))
    assert seen == pytest.approx([0.4, 0.2, 0.1, 0.05, 0.025])
    pace.took(0.8)
    assert pace.expected_s(0.0) == 0.8


def test_what_is_not_answered_yet_counts_as_soon_as_it_is_late() -> None:
    """A token that hangs looks slow long before it is taken for hung."""
    pace = Pace()
    pace.took(0.01)
    assert pace.expected_s(0.005) == 0.01
    assert pace.expected_s(0.4) == 0.4
