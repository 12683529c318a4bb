"""Limits that would be reached in silence: each logs a line, once per episode.

A client that is turned away hears why, but a limit that only makes work wait, or leaves it undone, would be silent. An
episode lasts from the first time that the limit is met to the first moment at which it holds nothing up any more.
"""

import math

from gateway import log, metrics

SAY_EVERY_S = 60.0
"""Least time between two lines about one limit: one that is reached and left many times a second is one fact."""

_log = log.get("limit")


class Limit:
    """One of `metrics.LIMITS`."""

    def __init__(self, name: str, most: int) -> None:
        """`name` is its setting, or its place in the code."""
        self.name = name
        self.most = most
        self.reached = False
        """It holds something up now."""
        self._said_s = -math.inf

    def hit(self, now_s: float, what: str, times: int = 0) -> None:
        """It holds something up. `what` says what, in words; `times` is the number turned away for good."""
        metrics.LIMIT_TURNED_AWAY[self.name].inc(times)
        if self.reached:
            return
        self.reached = True
        metrics.LIMIT_REACHED[self.name].inc()
        if now_s - self._said_s >= SAY_EVERY_S:
            self._said_s = now_s
            _log.warning("limit reached", where=self.name, limit=self.most, reason=what)

    def eased(self) -> None:
        """Nothing is held up by it."""
        self.reached = False
