"""The clocks, looked at again and again: did this process stand still, is our wall clock right, does the hub agree?"""

from gateway import log, metrics
from gateway.clock import Clock
from gateway.hub.pool import Links
from gateway.journal.writer import Journal
from gateway.machine.standstill import Standstill
from gateway.payments.dates import Clocks

_log = log.get("daemon")


class ClockWatch:
    """Looks at the clocks, and tells those that must know."""

    def __init__(self, clock: Clock, standstill: Standstill, clocks: Clocks, journal: Journal, links: Links) -> None:
        self._clock = clock
        self._standstill = standstill
        self._clocks = clocks
        self._journal = journal
        self._links = links
        self.hub_differs = False
        """Whether the hub's clock differs from ours on every link. That is for people to know: it makes us no less
        ready."""

    def begins(self) -> None:
        """The process has started: the time before is no standstill."""
        self._standstill.begins(self._clock())

    def look(self) -> None:
        """Look at all of them."""
        self._look_back()
        now = self._clock()
        metrics.CLOCK_WRONG.set(bool(self._clocks.look(now)))
        differs = self._clocks.hub_differs(now)
        metrics.HUB_CLOCK_DIFFERS.set(differs)
        if differs != self.hub_differs:
            self.hub_differs = differs
            if differs:
                _log.warning("the hub's clock differs from ours on every link")
            else:
                _log.info("the hub's clock agrees with ours again")

    def _look_back(self) -> None:
        """Did this process run since the last look? If it did not, nobody can say which links still stand."""
        gap = self._standstill.runs(self._clock())
        if gap.stood_still_s:
            _log.warning("stood still", pause_s=round(gap.stood_still_s, 1))
            metrics.STOOD_STILL_S.inc(gap.stood_still_s)
            self._journal.stood_still(gap.stood_still_s)
        if gap.went_ahead_s:
            why = "it was set, or this machine stood still unseen"
            _log.warning("the wall clock went ahead", pause_s=round(gap.went_ahead_s, 1), reason=why)
        if any(gap):
            self._links.doubt()
