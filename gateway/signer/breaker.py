"""How long a sick token is kept out. Pure: times and luck are arguments."""

from gateway.backoff import backoff_s, jittered_s

PAUSE_S = 0.2
"""The first pause; each further failure doubles it, up to:"""
PAUSE_MAX_S = 30.0
"""The longest pause. A token that works again goes unnoticed for at most this time."""
PAUSE_ALONE_MAX_S = 1.0
"""The longest pause while no token serves: then there is nothing else to try. There is still a pause, so that a module
that is gone is not started without end."""
STEADY_S = 30.0
"""A token that served this long is well again: its failures are forgotten."""


class Breaker:
    """Counts the failures of one token and says how long to leave it alone after each."""

    def __init__(self) -> None:
        self.failures = 0
        """Failures in a row, without `STEADY_S` of service in between."""
        self.alone_s = 0.0
        """The part of the last pause that holds while no other token serves either."""

    def failed(self, served_s: float | None, luck: float) -> float:
        """The pause in seconds after a failure.

        `served_s` is for how long it served before, None when it never came up; `luck` in 0..1 spreads the pauses over
        their upper half, so that tokens that fell together are not tried together. The first failure of a token that
        served steadily costs no pause at all: most often a process died and the token is well.
        """
        if served_s is not None and served_s >= STEADY_S:
            self.failures = 0
        self.failures += 1
        if served_s is not None and self.failures == 1:
            self.alone_s = 0.0
            return 0.0
        self.alone_s = jittered_s(backoff_s(self.failures - 1, PAUSE_S, PAUSE_ALONE_MAX_S), luck)
        return jittered_s(backoff_s(self.failures - 1, PAUSE_S, PAUSE_MAX_S), luck)
