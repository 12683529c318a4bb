"""The choice of the serving tokens that get work. Pure: times are arguments.

A token may answer and be of no use, because it takes seconds where another one takes milliseconds. So the pace of each
is known, and a token that is slower than the best by far gets nothing while the best one serves. Its probes show when
it is well again.

Tokens of our own data centre come first. The way to the others is longer, the other site may need all of its HSMs, and
a cut between the sites must not cost a payment. But this is only a preference: when our own tokens are so slow that
payments would feel it, and remote ones are not, the remote ones are used. A local token that hangs is not waited for,
although it will be found out and restarted: it looks slow at once.
"""

from math import inf
from typing import NamedTuple

ALIKE_S = 0.05
"""A token that answers within this time is as good as any: small differences come from the machine."""
FAR_S = 0.25
"""A remote token may take the place of the best local one only when that is slower than this: a payment has two MACs,
and some seconds."""
TIMES_SLOWER = 4.0
"""A token is slower by far than the best when it is slower by this factor. With less, the work that it takes off the
best one makes up for it."""


class Pace:
    """How long a token takes to answer. A slow answer counts at once; with each quicker one the time is halved, so that
    one good moment does not bring work back to a sick token. A token that works has forgotten a bad moment after a few
    batches.
    """

    __slots__ = ("answer_s",)

    def __init__(self) -> None:
        self.answer_s = 0.0
        """In seconds, as of now. A token that has not answered yet is taken for quick."""

    def took(self, answer_s: float) -> None:
        """It answered after this time, or was given up after it."""
        self.answer_s = max(answer_s, self.answer_s / 2)

    def expected_s(self, waited_s: float) -> float:
        """How long its next answer may take. `waited_s`: how long it has been at the present one; 0 when idle."""
        return max(self.answer_s, waited_s)


class Candidate(NamedTuple):
    """A token that serves."""

    local: bool
    expected_s: float


def choose(candidates: list[Candidate]) -> list[int]:
    """The places in the list of those that get work: all local, or all remote. Empty only for an empty list."""
    local_s = remote_s = inf
    for each in candidates:
        if each.local:
            local_s = min(local_s, each.expected_s)
        else:
            remote_s = min(remote_s, each.expected_s)
    local = local_s <= max(FAR_S, TIMES_SLOWER * remote_s)
    limit_s = max(ALIKE_S, TIMES_SLOWER * (local_s if local else remote_s))
    return [at for at, each in enumerate(candidates) if each.local is local and each.expected_s <= limit_s]
