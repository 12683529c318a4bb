"""How old a segment is, and which clock is believed about that. Knows no disk, and reads no clock itself.

Deleting is for ever, and a wall clock may be wrong for a while. So age is told by the monotonic clock, which was set by
the wall clock when the gateway started; and when the wall clock moves away from it, nothing is deleted until both agree
again or the gateway is started again. What cannot be seen from here is a clock that is wrong at the start and stays so.
"""

from typing import NamedTuple

from gateway.journal.segment import SegmentInfo

DISAGREE_MAX_S = 3600.0
"""How far the wall clock may move away from the monotonic one. They drift apart by seconds a year; more is a step."""
BELIEVED_AFTER_S = 600.0
"""Nothing is deleted for so long after a start: a clock that a machine booted with is set right by then."""
SECOND_NS = 1_000_000_000


class Anchor(NamedTuple):
    """Both clocks, read when the gateway started."""

    wall_ns: int
    mono_s: float

    def now_ns(self, mono_s: float) -> int:
        """What the wall clock would say if it had never stepped since."""
        return self.wall_ns + int((mono_s - self.mono_s) * SECOND_NS)

    def step_s(self, wall_ns: int, mono_s: float) -> float:
        """How far the wall clock has moved ahead of the monotonic one since; negative when it has moved back."""
        return (wall_ns - self.now_ns(mono_s)) / SECOND_NS


def settle_ages(segments: list[SegmentInfo], now_ns: int) -> None:
    """Make `newest_ns`, read as the newest time in each segment alone, tell when the segment was written at the latest.

    A clock that stepped back ages nothing: no segment is older than the ones before. A time that is still to come says
    nothing: a segment with one is as old as the next one without, by which it had been written; without such, as now.
    """
    newest_ns = 0
    for info in segments:
        if info.newest_ns <= now_ns:
            newest_ns = info.newest_ns = max(newest_ns, info.newest_ns)
    newest_ns = now_ns
    for info in reversed(segments):
        newest_ns = info.newest_ns = min(newest_ns, info.newest_ns)
