"""The bank that the hub plays when no second gateway is there: how it answers a payment, by rule.

A rule is a list of ways, each with how often it comes of all: `0000*90,1114*5,slow=0.5*4,silent`. A way is a code of
DE26 (0000, 0081, 1114 …), `accept` (0000), `slow=SECONDS` (0000 after so long) or `silent`. Pure: drawn from a seed.
"""

import random
from itertools import accumulate
from typing import NamedTuple

from loadtest.traffic.judge import RECEIVER_CODES


class Way(NamedTuple):
    """How one payment is answered."""

    code: str
    """DE26."""
    after_s: float = 0.0
    """0: at once. Infinite: never."""


ACCEPT = Way("0000")
NEVER_S = float("inf")


class SimulatedBank:
    """A simulated bank."""

    def __init__(self, rule: str = "accept", *, seed: int = 1) -> None:
        """Raises ValueError when there is no such rule."""
        self.rule = rule
        parts = [part.strip().partition("*") for part in rule.split(",")]
        self._ways = [_way(name) for name, _, _ in parts]
        weights = [int(often) if often else 1 for _, _, often in parts]
        if min(weights) < 1:
            raise ValueError(f"{rule}: a way comes at least once")
        self._bounds = list(accumulate(weights))
        self._draw = random.Random(seed)  # noqa: S311 - synthetic answers, not a secret
        self.always = self._ways[0] if len(self._ways) == 1 else None
        """The answer to every payment, when there is only one."""

    def decide(self) -> Way:
        """The answer to the next payment."""
        if self.always is not None:
            return self.always
        drawn = self._draw.randrange(self._bounds[-1])
        return next(way for way, bound in zip(self._ways, self._bounds, strict=True) if drawn < bound)


def _way(name: str) -> Way:
    if name == "accept":
        return ACCEPT
    if name == "silent":
        return Way("0000", NEVER_S)
    if name.startswith("slow="):
        return Way("0000", float(name.removeprefix("slow=")))
    if name in RECEIVER_CODES and name != "1930":
        return Way(name)
    raise ValueError(f"{name}: a bank answers accept, silent, slow=SECONDS, or a code that a receiver may say")
