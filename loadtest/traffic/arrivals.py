"""When payments arrive: an open model. The times are fixed before anything is sent, however the gateway fares.

A generator that waits for replies before it sends on (a closed model) slows down with the system that it measures and
so hides the very delays that it looks for. Here a payment's *intended* time comes from the rate alone; whoever sends
late measures from the intended time all the same. Pure: `now_s` is an argument, the randomness comes from a seed.
"""

import math
import random
from collections.abc import Iterator
from itertools import count
from typing import Literal

Model = Literal["constant", "poisson"]


def constant(rate_per_s: float) -> Iterator[float]:
    """Offsets in seconds, evenly spaced, the first at 0. Computed from the index: no error adds up over hours."""
    for index in count():
        yield index / rate_per_s


def poisson(rate_per_s: float, seed: int) -> Iterator[float]:
    """Offsets in seconds with exponential gaps: independent senders, as the scheme's are."""
    draw = random.Random(seed).random  # noqa: S311 - synthetic load, not a secret
    log, at = math.log, 0.0
    while True:
        # 1 - u is in (0, 1]: the logarithm of 0 cannot come up
        at -= log(1.0 - draw()) / rate_per_s
        yield at


class Schedule:
    """Which payments are due. `start_s` is on the caller's clock; so are all times that come out."""

    def __init__(
        self, rate_per_s: float, duration_s: float, start_s: float, *, model: Model = "poisson", seed: int = 1
    ) -> None:
        """Raises ValueError when the rate is not a positive number or the duration not at least 0."""
        if not (rate_per_s > 0 and math.isfinite(rate_per_s)) or not duration_s >= 0:
            raise ValueError(
                f"a rate above 0 and a duration of at least 0 are needed, not {rate_per_s:g} and {duration_s:g}"
            )
        self.rate_per_s = rate_per_s
        self.start_s = start_s
        self.end_s = start_s + duration_s
        self._offsets = constant(rate_per_s) if model == "constant" else poisson(rate_per_s, seed)
        self._next_s = start_s + next(self._offsets)

    @property
    def next_s(self) -> float:
        """When the next payment is intended; infinite when the schedule is over."""
        return self._next_s if self._next_s < self.end_s else math.inf

    def due(self, now_s: float) -> list[float]:
        """The intended times up to now, each given out once, in order."""
        times: list[float] = []
        offsets, start_s, at = self._offsets, self.start_s, self._next_s
        limit = min(now_s, math.nextafter(self.end_s, -math.inf))
        while at <= limit:
            times.append(at)
            at = start_s + next(offsets)
        self._next_s = at
        return times
