"""Decides which lines are written, of those that a peer can cause at its own pace. Pure.

A hub may hang up on every connection, a peer may send bad frames, a client may be refused again and again: the first
lines say everything. So the first few lines about one subject are written, then one after each silence, and each
silence is twice as long as the previous one. A line that is written says how many were held back before it.
"""

from collections.abc import Hashable
from math import inf

FIRST = 5
"""Lines about one subject that are written at once."""
SILENCE_S = 1.0
"""The first silence. Each further line doubles it, up to `SILENCE_MAX_S`."""
SILENCE_MAX_S = 300.0
"""The longest silence."""
OVER_AFTER = 2.0
"""Silences without a line after which the next line counts as a first one, but never before `OVER_AFTER_S`."""
OVER_AFTER_S = 60.0
KEYS_MAX = 1000
"""Subjects known at once at most. Beyond, all lines in the same words have one subject: a peer that makes up names
gains nothing, and hides no line in other words."""


_OTHERS = object()


class _Subject:
    """What the lines are about, and what was written about it."""

    __slots__ = ("held", "last_s", "lines", "silence_s", "until_s")

    def __init__(self) -> None:
        self.lines = 0
        self.held = 0
        self.last_s = -inf
        self.silence_s = 0.0
        self.until_s = -inf


class Quiet:
    """Decides about each line."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, Hashable], _Subject] = {}

    def takes(self, event: str, who: Hashable, now_s: float) -> int:
        """Return how many such lines were held back since the last that was written; -1: hold this one back, too."""
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

    def _begin(self, event: str, who: Hashable, now_s: float) -> _Subject:
        if len(self._known) >= KEYS_MAX:
            self._known = {
                key: about for key, about in self._known.items() if now_s - about.last_s <= 2 * SILENCE_MAX_S
            }
        # events are our own words, so they are few
        what = (event, who) if len(self._known) < KEYS_MAX else (event, _OTHERS)
        return self._known.setdefault(what, _Subject())
