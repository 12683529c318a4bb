"""When a record that lasts is written anew. Pure.

Old segments of the journal are removed. A record that says what still holds (`steps.LASTING_KINDS`) must not go with
its segment: it is written at every start, at every change, and once a day.
"""

from math import inf

from gateway.clock import Now

DAILY_S = 86_400.0


class Lasting:
    """The timer of one such record."""

    def __init__(self) -> None:
        self.due_s = inf
        """When to write it anew, on the monotonic clock; inf: it was never written."""

    def is_due(self, now: Now) -> bool:
        """Whether a day has passed since it was written."""
        return self.due_s <= now.mono_s

    def written(self, now: Now) -> None:
        """It was written just now."""
        self.due_s = now.mono_s + DAILY_S

    def cease(self) -> None:
        """The record written just now says what holds without a record, too: it is not written anew."""
        self.due_s = inf
