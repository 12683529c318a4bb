"""Tells how old a segment is, and which clock to believe. Knows no disk, and reads no clock itself.

A deletion is for ever, and a wall clock may be wrong for a while. So age goes by the monotonic clock, which is set by
the wall clock when the gateway starts. When the two move apart, nothing is deleted until they agree again or the
gateway is restarted. A clock that is wrong at the start and stays wrong cannot be detected here.
"""

from typing import NamedTuple

from gateway.journal.segment import SegmentInfo

DISAGREE_MAX_S = 3600.0
"""The wall clock may move away from the monotonic one by this at most. They drift by seconds a year; more is a step."""
BELIEVED_AFTER_S = 600.0
"""Time after a start in which nothing is deleted. By its end, a clock that was wrong at boot has been set right."""
SECOND_NS = 1_000_000_000


class Anchor(NamedTuple):
    """Both clocks, read when the gateway started."""

    wall_ns: int
    mono_s: float

    def now_ns(self, mono_s: float) -> int:
        """The time that the wall clock would show if it had not stepped since the start."""
        return self.wall_ns + int((mono_s - self.mono_s) * SECOND_NS)

    def step_s(self, wall_ns: int, mono_s: float) -> float:
        """Seconds that the wall clock has gained on the monotonic one since the start; negative when it moved back."""
        return (wall_ns - self.now_ns(mono_s)) / SECOND_NS


def settle_ages(segments: list[SegmentInfo], now_ns: int) -> None:
    """Turn `newest_ns` from the newest time in each segment into the latest time at which the segment can be written.

    A clock that stepped back ages nothing: no segment is older than the ones before. A time in the future says nothing:
    such a segment is as old as the next one without, by whose time it had been written; if there is none, it is new.
    """
    newest_ns = 0
    for info in segments:
        if info.newest_ns <= now_ns:
            newest_ns = info.newest_ns = max(newest_ns, info.newest_ns)
    newest_ns = now_ns
    for info in reversed(segments):
        newest_ns = info.newest_ns = min(newest_ns, info.newest_ns)
