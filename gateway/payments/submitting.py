"""Whether payments of ours may leave: an operator stops that at once, and starts it again. Recorded, lasting. Pure.

A stop counts from the moment at which it is ordered: it only makes us do less, so it waits for no disk. A start waits
for its record. The latest order counts, over restarts too. The story asks here before anything leaves.
"""

from typing import Protocol

from gateway.clock import Now
from gateway.payments import steps
from gateway.payments.departure import Note
from gateway.payments.lasting import Lasting
from gateway.payments.links import RECORDER, Link
from gateway.payments.steps import Kind

STOPPED = "stopped"
"""Why an attempt ended, or never began: an operator had stopped submitting."""
WHY = "an operator has stopped submitting"
"""The reason that a submitter hears."""


class Commands(Protocol):
    """The two commands of the story (`departure.Commands`) that are needed here."""

    def record(self, kind: Kind, body: bytes, fpid: str, link: Link) -> int:
        """Append a record; returns its position."""

    def tell_outbound(self, note: Note, fpid: str, detail: str = "", since_s: float = 0.0) -> None:
        """Log or count an event."""


class Submitting:
    """The switch, and its record."""

    def __init__(self, commands: Commands) -> None:
        self._do = commands
        self._lasting = Lasting()
        self._order = steps.SubmitMode(stopped=False, since_ns=0)
        """The latest."""
        self._starting = 0
        """The position of the record that a start waits for; 0: none does."""
        self.stopped = False
        """No request may leave."""

    @property
    def why(self) -> str:
        """Why no payment may be submitted, in words; empty when one may."""
        return WHY if self.stopped else ""

    @property
    def since_ns(self) -> int:
        """When the latest order was given, by the wall clock; 0: none ever was."""
        return self._order.since_ns

    @property
    def due_s(self) -> float:
        """When to call `handle_timer`, on the monotonic clock."""
        return self._lasting.due_s

    def take_up(self, recorded: steps.SubmitMode | None, now: Now) -> None:
        """At a start of the process: go on as the latest order says. A stop is recorded anew."""
        if recorded is None:
            return
        self._order, self.stopped = recorded, recorded.stopped
        if self.stopped:
            self._do.tell_outbound(Note.STOPPED, "")
            self._record(now)

    def stop(self, now: Now) -> int:
        """Stop, from here on; returns the position of the record that makes it last."""
        if not self.stopped:
            self._do.tell_outbound(Note.STOPPED, "")
        self.stopped, self._starting = True, 0
        if not self._order.stopped:
            self._order = steps.SubmitMode(stopped=True, since_ns=now.wall_ns)
        return self._record(now)

    def start(self, now: Now) -> int:
        """Record a start; returns the position at which `on_recorded` is to be called."""
        self._order = steps.SubmitMode(stopped=False, since_ns=now.wall_ns)
        self._starting = self._record(now)
        return self._starting

    def on_recorded(self, position: int) -> bool:
        """A start is durable. Returns whether payments may leave from here on: not when another order came after it."""
        if position != self._starting:
            return False
        self._starting, self.stopped = 0, False
        self._do.tell_outbound(Note.STARTED, "")
        return True

    def handle_timer(self, now: Now) -> None:
        """Record the order anew, if that is due."""
        if self._lasting.is_due(now):
            self._record(now)

    def _record(self, now: Now) -> int:
        if self._order.stopped:
            self._lasting.written(now)
        else:
            self._lasting.cease()
        return self._do.record(Kind.SUBMIT_MODE, steps.pack(self._order), "", RECORDER)
