"""Notices that one addressee had not taken when the journal was opened, and those that it refused for good."""

from typing import NamedTuple

from gateway.memory.positions import Positions
from gateway.payments import steps
from gateway.payments.steps import Kind
from gateway.processor.addressees import handed_on
from gateway.processor.notices import Record

PARKED_SHOWN_MAX = 1000
"""Parked notices that are listed by position: the latest. All are in the journal."""

_DONE = 1 << Kind.TOLD | 1 << Kind.PARKED | 1 << Kind.DROPPED


class Refused(NamedTuple):
    """How a notice came to be parked."""

    status: int
    """The HTTP status of the refusal."""
    since_ns: int
    """By the wall clock."""


class Backlog:
    """What one addressee had not been told when the journal was opened."""

    def __init__(self, to: str, kinds: frozenset[Kind]) -> None:
        self._to = to
        self._bits = sum(1 << kind for kind in kinds)
        self.untold = Positions()
        """Notices that were neither acknowledged nor parked."""
        self.parked = Positions()
        """Notices that were parked, and neither acknowledged nor dropped since."""
        self._parked_last: dict[int, Refused] = {}
        """The latest of these, by position, in the order of parking."""
        self.last = 0
        """The last position seen."""

    def take(self, record: Record) -> None:
        """Take in one record."""
        kind = record.kind
        if self._bits >> kind & 1:  # bits: this runs for every record of weeks
            if kind != Kind.USM or not handed_on(record):
                self.untold.add(record.position)
        elif _DONE >> kind & 1:
            done = steps.unpack(kind, record.body)
            assert isinstance(done, (steps.Told, steps.Parked, steps.Dropped))
            if done.to == self._to:
                self.untold.discard(done.position)
                if isinstance(done, steps.Parked):
                    self.park(done.position, Refused(done.status, record.time_ns))
                else:
                    self.unpark(done.position)
        self.last = record.position

    def park(self, position: int, refused: Refused) -> None:
        """Note that this notice was refused for good."""
        self.parked.add(position)
        self._parked_last[position] = refused
        if len(self._parked_last) > PARKED_SHOWN_MAX:
            del self._parked_last[next(iter(self._parked_last))]

    def unpark(self, position: int) -> None:
        """It was acknowledged after all, or dropped, or its record is not kept any more."""
        self.parked.discard(position)
        self._parked_last.pop(position, None)

    def parked_last(self) -> dict[int, Refused]:
        """The latest parked notices, by position, in the order of parking."""
        return dict(self._parked_last)
