"""Logs a line, once per episode, when a limit is reached that would otherwise hold work up in silence.

A client that is turned away hears why. A limit that makes work wait, or leaves it undone, would be silent. An episode
lasts from the first time that the limit holds something up to the first moment when it holds nothing up.
"""

import math

from gateway import log, metrics

SAY_EVERY_S = 60.0
"""Least time between two lines about one limit. A limit may be reached and left many times a second."""

_log = log.get("limit")


class Limit:
    """One of `metrics.LIMITS`."""

    def __init__(self, name: str, most: int) -> None:
        """`name` is the setting of the limit, or its place in the code."""
        self.name = name
        self.most = most
        self.reached = False
        """True while it holds something up."""
        self._said_s = -math.inf

    def hit(self, now_s: float, what: str, times: int = 0) -> None:
        """Note that it holds something up: `what`, in words. `times` is the number turned away for good."""
        metrics.LIMIT_TURNED_AWAY[self.name].inc(times)
        if self.reached:
            return
        self.reached = True
        metrics.LIMIT_REACHED[self.name].inc()
        if now_s - self._said_s >= SAY_EVERY_S:
            self._said_s = now_s
            _log.warning("limit reached", where=self.name, limit=self.most, reason=what)

    def eased(self) -> None:
        """Note that it holds nothing up any more."""
        self.reached = False
