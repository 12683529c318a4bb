"""A circuit breaker: when to leave a host alone, and for how long. Pure: `now` and luck are arguments.

Closed, it lets every request go. After `after` failures in a row it opens: nothing goes until the pause is over, and
then one probe at a time. Each failed probe doubles the pause; the first that succeeds closes the breaker.
"""

import math

from gateway.backoff import backoff_s, jittered_s


class Breaker:
    """Counts failures in a row. A request that was under way when it opened is not counted again."""

    def __init__(self, first_s: float, max_s: float, after: int = 1) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._after = after
        self._opened_s = -math.inf
        self.failures = 0
        """Failures in a row."""
        self.until_s = -math.inf
        """While open: when the next probe may go."""

    @property
    def open(self) -> bool:
        """Whether only probes go."""
        return self.failures >= self._after

    def allows(self, now_s: float) -> bool:
        """Whether one more request may go now. When it goes, call `started`."""
        return self.failures < self._after or now_s >= self.until_s

    def started(self, now_s: float) -> None:
        """A request goes. While open it is the probe: no other goes until it ended, or the longest pause is over."""
        if self.failures >= self._after:
            self.until_s = now_s + self._max_s

    def succeeded(self) -> None:
        """A request succeeded: close."""
        self.failures = 0

    def again(self, now_s: float, started_s: float, luck: float, at_least_s: float = 0.0) -> None:
        """A probe failed that says nothing about other requests: the next may go after a pause as long as the last."""
        if started_s > self._opened_s:
            self._pause(now_s, luck, at_least_s)

    def failed(self, now_s: float, started_s: float, luck: float, at_least_s: float = 0.0) -> None:
        """A request failed that had started at `started_s`. `luck` in 0..1 spreads the pause over its upper half."""
        if self.open and started_s <= self._opened_s:
            return
        self.failures += 1
        if self.open:
            self._opened_s = now_s
            self._pause(now_s, luck, at_least_s)

    def _pause(self, now_s: float, luck: float, at_least_s: float) -> None:
        pause_s = jittered_s(backoff_s(self.failures - self._after, self._first_s, self._max_s), luck)
        self.until_s = now_s + max(pause_s, at_least_s)
