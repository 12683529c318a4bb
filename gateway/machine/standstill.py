"""Whether this process ran all the time, and how old bytes may be when it did not. Pure: `now` is an argument.

A machine sleeps, a host takes the processor away, an operator stops the process: then nothing here runs, and time goes
on for all others. The daemon reports several times a second that it runs; a gap between two reports is a standstill. A
hypervisor may hide one from every clock of the guest but the wall clock, once that is set right: so a wall clock that
goes ahead is reported, too.

Bytes that are read just after a standstill may have come at any time during it: they lay in the socket's buffer. Taken
for fresh, they would give a payment its whole time once more, while the hub has long given it up. So they count as
having come when this process was last known to run, which is the earliest possible time.
"""

from typing import NamedTuple

from gateway.clock import Now

RUNS_EVERY_S = 0.1
"""How often the daemon reports that it runs."""
STANDSTILL_S = 1.0
"""The shortest gap that is a standstill. A shorter one harms no decision that is made by whole seconds."""


class Gap(NamedTuple):
    """The gap between two reports of the daemon; 0 when too short to matter."""

    stood_still_s: float
    """How long this process did not run."""
    went_ahead_s: float
    """How far the wall clock went ahead of the time that passed by our clock."""


class Standstill:
    """Gets the reports that this process runs, and knows when it did not."""

    def __init__(self, now: Now) -> None:
        self._ran = now
        """When it was last known to run."""
        self._before_s = now.mono_s
        """When it was last known to run before the last standstill."""
        self._settled_s = now.mono_s
        """Bytes that are read from then on came after the last standstill."""

    def begins(self, now: Now) -> None:
        """From now on it runs. The time before is no standstill: a start takes long, and has read nothing."""
        self._ran = now

    def runs(self, now: Now) -> Gap:
        """This process runs. Returns the gap before."""
        passed_s = now.mono_s - self._ran.mono_s
        ahead_s = (now.wall_ns - self._ran.wall_ns) / 1e9 - passed_s
        if passed_s >= STANDSTILL_S:
            self._before_s = self._ran.mono_s
            # by its next report, each socket has been read once
            self._settled_s = now.mono_s + RUNS_EVERY_S
        self._ran = now
        return Gap(passed_s if passed_s >= STANDSTILL_S else 0.0, ahead_s if ahead_s >= STANDSTILL_S else 0.0)

    def came_s(self, now_s: float) -> float:
        """The earliest time at which bytes read now may have come; both on the clock of `Now.mono_s`."""
        if now_s - self._ran.mono_s >= STANDSTILL_S:
            return self._ran.mono_s
        return self._before_s if now_s < self._settled_s else now_s
