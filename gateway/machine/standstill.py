"""Whether this process ran all the time, and what can be trusted after it did not. Pure: `now` is an argument.

A machine sleeps, a host takes the processor away, somebody stops the process: then nothing here ran, and everybody
else's time went on. The daemon says several times a second that it runs; a gap between two such words is a standstill.
A hypervisor may hide one from every clock of the guest but the wall clock, once that is set right: so a wall clock that
goes ahead is told, too.

What is read just after a standstill may have come at any time during it: it lay in the socket's buffer. Taking it for
fresh would give a payment its whole time once more, while the hub has long given it up. So it counts as having come
when this process was last known to run, which is the earliest that is possible.
"""

from typing import NamedTuple

from gateway.clock import Now

RUNS_EVERY_S = 0.1
"""How often the daemon says that it runs."""
STANDSTILL_S = 1.0
"""A gap of so long is a standstill. Below it, nothing that is decided by whole seconds goes wrong."""


class Gap(NamedTuple):
    """What was between two words of the daemon; 0 is not worth a word."""

    stood_still_s: float
    """So long this process did not run."""
    went_ahead_s: float
    """So far the wall clock went ahead of the time that passed by our clock."""


class Standstill:
    """Hears that this process runs, and knows when it did not."""

    def __init__(self, now: Now) -> None:
        self._ran = now
        """When it was last known to run."""
        self._before_s = now.mono_s
        """When it was last known to run before the last standstill."""
        self._settled_s = now.mono_s
        """What is read from then on has come after the last standstill."""

    def begins(self, now: Now) -> None:
        """From now on it runs. What was before is no standstill: a start takes its time, and nothing was read yet."""
        self._ran = now

    def runs(self, now: Now) -> Gap:
        """This process runs. Returns what was before."""
        passed_s = now.mono_s - self._ran.mono_s
        ahead_s = (now.wall_ns - self._ran.wall_ns) / 1e9 - passed_s
        if passed_s >= STANDSTILL_S:
            self._before_s = self._ran.mono_s
            # until its next word, each socket has been read once
            self._settled_s = now.mono_s + RUNS_EVERY_S
        self._ran = now
        return Gap(passed_s if passed_s >= STANDSTILL_S else 0.0, ahead_s if ahead_s >= STANDSTILL_S else 0.0)

    def came_s(self, now_s: float) -> float:
        """When what is read now may have come, at the earliest; both on the clock of `Now.mono_s`."""
        if now_s - self._ran.mono_s >= STANDSTILL_S:
            return self._ran.mono_s
        return self._before_s if now_s < self._settled_s else now_s
