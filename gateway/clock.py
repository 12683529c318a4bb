"""Time as an argument: the two readings that one wake-up takes, and the protocol of who takes them."""

import time
from collections.abc import Callable
from typing import NamedTuple

import trio


class Now(NamedTuple):
    """One reading of both clocks. Deadlines live on `mono_s` (never steps); records and messages carry `wall_ns`."""

    mono_s: float
    """Seconds on trio's clock (monotonic; a mock clock in tests)."""
    wall_ns: int
    """Nanoseconds since the epoch, UTC. May step; nothing is decided by it but the date on a message."""


Clock = Callable[[], Now]


def system_clock() -> Now:
    """Read both clocks. Only inside `trio.run`."""
    return Now(trio.current_time(), time.time_ns())
