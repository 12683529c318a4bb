"""Decides which of the lines that a peer can cause at its own pace are written. Pure.

A hub that hangs up on every connection, frames that make no sense, a client that is refused again and again: the first
lines say all that there is to say. So the first few lines about one thing are written, then one after each silence, and
each silence is twice the previous one. A line that is written says how many were held back before it.
"""

from collections.abc import Hashable
from math import inf

FIRST = 5
"""Lines about one thing that are written as they come."""
SILENCE_S = 1.0
"""The first silence. Each further line doubles it, up to `SILENCE_MAX_S`."""
SILENCE_MAX_S = 300.0
"""The longest silence."""
OVER_AFTER = 2.0
"""Silences without a line after which a thing is over, and `OVER_AFTER_S` at least: the next line is a first one."""
OVER_AFTER_S = 60.0
KEYS_MAX = 1000
"""Things that are known at once, at most. Beyond them, all lines in the same words are about one thing: a peer that
makes up names gains nothing, and hides no line in other words."""


_OTHERS = object()


class _About:
    """One thing that lines are about."""

    __slots__ = ("held", "last_s", "lines", "silence_s", "until_s")

    def __init__(self) -> None:
        self.lines = 0
        self.held = 0
        self.last_s = -inf
        self.silence_s = 0.0
        self.until_s = -inf


class Quiet:
    """Says of each line whether it is written."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, Hashable], _About] = {}

    def takes(self, event: str, who: Hashable, now_s: float) -> int:
        """Return how many such lines were held back since the last one that was written, or -1 when this one is held
        back, too.
        """
        about = self._known.get((event, who)) or self._begin(event, who, now_s)
        if now_s - about.last_s > max(OVER_AFTER * about.silence_s, OVER_AFTER_S):
            about.lines, about.silence_s, about.until_s = 0, 0.0, -inf
        about.last_s = now_s
        if now_s < about.until_s:
            about.held += 1
            return -1
        about.lines += 1
        if about.lines >= FIRST:
            about.silence_s = min(2 * about.silence_s or SILENCE_S, SILENCE_MAX_S)
            about.until_s = now_s + about.silence_s
        held, about.held = about.held, 0
        return held

    def _begin(self, event: str, who: Hashable, now_s: float) -> _About:
        if len(self._known) >= KEYS_MAX:
            self._known = {
                key: about for key, about in self._known.items() if now_s - about.last_s <= 2 * SILENCE_MAX_S
            }
        # our own words are few
        what = (event, who) if len(self._known) < KEYS_MAX else (event, _OTHERS)
        return self._known.setdefault(what, _About())
