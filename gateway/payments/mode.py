"""The mode that stand-in works in: switched while the gateway runs, recorded, and taken up again at a start. Pure.

`standin` says what each mode means, and which of two orders counts.
"""

from gateway import config
from gateway.clock import Now
from gateway.payments import steps
from gateway.payments.arrival import Commands, Note
from gateway.payments.lasting import Lasting
from gateway.payments.links import RECORDER
from gateway.payments.standin import StandIn
from gateway.payments.steps import Kind


class Mode:
    """Switches a `StandIn`, and keeps its mode on record."""

    def __init__(self, stand_in: StandIn, commands: Commands) -> None:
        self._stand_in = stand_in
        self._do = commands
        self._lasting = Lasting()

    def take_up(self, recorded: steps.StandInMode | None, now: Now) -> None:
        """At a start: go on as the latest order says, and record it anew."""
        self._stand_in.take_up(recorded)
        if self._stand_in.mode != "timer":
            self._do.note(Note.STAND_IN_MODE, "", self._stand_in.mode)
        self._record(now)

    def switch(self, mode: config.StandInMode, now: Now) -> int:
        """Switch stand-in from here on; returns the position of the record that makes it last.

        A payment that the processor was asked about already keeps its time. When that is over, the mode of that moment
        counts.
        """
        self._stand_in.mode = mode
        self._do.note(Note.STAND_IN_MODE, "", mode)
        return self._record(now)

    @property
    def due_s(self) -> float:
        """When to call `handle_timer`, on the monotonic clock."""
        return self._lasting.due_s

    def handle_timer(self, now: Now) -> None:
        """Record the mode anew, if that is due."""
        if self._lasting.is_due(now):
            self._record(now)

    def _record(self, now: Now) -> int:
        self._lasting.written(now)
        return self._do.record(Kind.STAND_IN_MODE, steps.pack(self._stand_in.order()), "", RECORDER)
