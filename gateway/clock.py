"""Time as an argument: the two readings that one wake-up takes, and the type of the clock that takes them.

Deadlines count the time that really passed, also while this machine slept (a laptop's lid, a suspended virtual machine,
a host that stood still). CLOCK_BOOTTIME counts that time; CLOCK_MONOTONIC, which trio's own clock follows, does not. A
hub does not sleep with us: a reply that leaves an hour late by its clock must be an hour late by ours.
"""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

import trio


class Now(NamedTuple):
    """One reading of both clocks. Deadlines live on `mono_s` (never steps); records and messages carry `wall_ns`."""

    mono_s: float
    """Seconds on trio's clock (`ElapsedClock`; a mock clock in tests). Never steps back."""
    wall_ns: int
    """Nanoseconds since the epoch, UTC. May step; it decides no deadline, only what goes by dates or news."""


Clock = Callable[[], Now]


ELAPSED: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""The system's clock that counts while the machine sleeps, where there is one (Linux)."""


class ElapsedClock(trio.abc.Clock):
    """The clock that a gateway runs by: `trio.run(…, clock=ElapsedClock())`.

    The kernel's wait for the next event does not count a sleep. So a deadline that passes during a sleep is met when
    the loop next turns, which is soon: the daemon looks at itself several times a second.
    """

    def start_clock(self) -> None:
        """Nothing to prepare."""

    def current_time(self) -> float:
        """Seconds since the machine started, sleep included."""
        return time.clock_gettime(ELAPSED)

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Seconds until then."""
        return deadline - self.current_time()


def system_clock() -> Now:
    """Read both clocks. Only inside `trio.run`."""
    return Now(trio.current_time(), time.time_ns())
