"""Which of the tokens that serve get work. Pure: times are arguments.

A token may answer and be of no use: in seconds, where another one takes milliseconds. So each one's pace is known, and
one that is slower than the best by far gets nothing while that one serves. Its probes tell when it is well again.

Tokens of our own data centre come first. The way to the others is longer, their HSMs are the other site's, which may
need all of them, and what cuts the sites off from each other must not cost a payment. But a preference is not a
promise: when our own are so slow that payments would feel it, and remote ones are not, the remote ones are used. That
a local token is only hung, and will be found out and restarted, is no reason to wait for it: it looks slow at once.
"""

from math import inf
from typing import NamedTuple

ALIKE_S = 0.05
"""A token that answers within this is as good as any: nobody waits for it, and small differences are the machine's."""
FAR_S = 0.25
"""So slow must the best local token be before a remote one may take its place: a payment has two MACs, and some
seconds."""
TIMES_SLOWER = 4.0
"""Slower by this factor than the best is slower by far: less is made up for by what it takes off the best one."""


class Pace:
    """How long a token takes to answer. It is as slow as its last answer at once, and quick again by and by: what was
    measured before is halved with each quicker answer, so that one good moment does not bring work back to a token
    that is sick. One that works has forgotten a bad moment after a few batches.
    """

    __slots__ = ("answer_s",)

    def __init__(self) -> None:
        self.answer_s = 0.0
        """As it looks now, in seconds. A token that has not answered anything yet is taken for quick."""

    def took(self, answer_s: float) -> None:
        """It took so long, or has not answered for so long and was given up."""
        self.answer_s = max(answer_s, self.answer_s / 2)

    def expected_s(self, waited_s: float) -> float:
        """How long its next answer may take, when it has been at work on the present one for so long (0: it idles)."""
        return max(self.answer_s, waited_s)


class Candidate(NamedTuple):
    """A token that serves."""

    local: bool
    expected_s: float


def choose(candidates: list[Candidate]) -> list[int]:
    """Which of them get work: their places in the list. All are local, or all are remote; none only of none."""
    local_s = remote_s = inf
    for each in candidates:
        if each.local:
            local_s = min(local_s, each.expected_s)
        else:
            remote_s = min(remote_s, each.expected_s)
    local = local_s <= max(FAR_S, TIMES_SLOWER * remote_s)
    limit_s = max(ALIKE_S, TIMES_SLOWER * (local_s if local else remote_s))
    return [at for at, each in enumerate(candidates) if each.local is local and each.expected_s <= limit_s]
