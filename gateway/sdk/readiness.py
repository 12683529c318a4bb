"""Whether a site would take a payment now, as far as we know. Pure: `now` and luck are arguments.

There are two sources: its `/ready`, where we look at it, and what submissions meet there. Readiness is a preference: a
site that is not ready is still asked when the other one does not help.
"""

import math

from gateway.http.breaker import Breaker
from gateway.sdk.answers import Met

AWAY_PAUSE_S = 0.2
"""How long a site that was not reached is not tried first; it doubles, up to:"""
AWAY_PAUSE_MAX_S = 5.0
DECLINED_PAUSE_S = 1.0
"""The same for a site that declines, unless it asks for longer."""

AWAY = frozenset({Met.UNREACHED, Met.SILENT, Met.BROKEN, Met.UNCLEAR})


class Readiness:
    """The readiness of one site."""

    def __init__(self) -> None:
        self.said: bool | None = None
        """As its `/ready` says; None: we do not look."""
        self._away = Breaker(AWAY_PAUSE_S, AWAY_PAUSE_MAX_S)
        self._declined_until_s = -math.inf

    def ready(self, now_s: float) -> bool:
        """Whether to go there first."""
        return self.said is not False and now_s >= self._declined_until_s and self._away.allows(now_s)

    def started(self, now_s: float) -> None:
        """An attempt goes there. While the site is away, it is the probe."""
        self._away.started(now_s)

    def met(self, met: Met, retry_after_s: float, started_s: float, now_s: float, luck: float) -> None:
        """An attempt that began at `started_s` is over, and met this."""
        if met in AWAY:
            self._away.failed(now_s, started_s, luck)
            return
        self._away.succeeded()
        declined = met is Met.DECLINED
        self._declined_until_s = now_s + max(retry_after_s, DECLINED_PAUSE_S) if declined else -math.inf
