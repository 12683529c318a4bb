"""Limits that are reached without anybody being told: each says so, once for each time that it lasts.

Whoever is turned away hears why; a limit that only makes things wait, or leaves them undone, would be silent. It is an
episode from the first that meets the limit to the first moment at which nothing is held up by it any more.
"""

import math

from gateway import log, metrics

SAY_EVERY_S = 60.0
"""At most so often each limit is said: one that is reached and left again many times a second is one fact."""

_log = log.get("limit")


class Limit:
    """One of `metrics.LIMITS`."""

    def __init__(self, name: str, most: int) -> None:
        """`name`: its setting, or where it stands in the code."""
        self.name = name
        self.most = most
        self.reached = False
        """Somebody is held up by it."""
        self._said_s = -math.inf

    def hit(self, now_s: float, what: str, times: int = 0) -> None:
        """It holds something up: `what`, in words; `times`: so many were turned away for good."""
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
