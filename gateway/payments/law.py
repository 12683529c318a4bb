"""The form of a law: for each state and event, where the payment goes and which act is done. Pure.

Rows are (state, event) → (next state, act). A pair is either a row or an impossibility with its reason. To meet an
impossibility is a bug of ours and ends the process. `inbound_law` and `outbound_law` are the two laws.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import Generic, NamedTuple, TypeVar

StateT = TypeVar("StateT", bound=IntEnum)
EventT = TypeVar("EventT", bound=IntEnum)
ActT = TypeVar("ActT", bound=IntEnum)


class Row(NamedTuple, Generic[StateT, ActT]):
    """Where a payment goes, and what is done on the way."""

    to: StateT
    act: ActT


class Law(Generic[StateT, EventT, ActT]):
    """One direction's table. States and events are numbered from 0."""

    def __init__(
        self,
        states: type[StateT],
        events: type[EventT],
        rows: dict[StateT, dict[EventT, Row[StateT, ActT]]],
        impossible: dict[StateT, dict[EventT, str]],
    ) -> None:
        self.states = states
        self.events = events
        self.rows = rows
        """Every pair that can happen."""
        self.impossible = impossible
        """Every pair that cannot, and why."""
        self._table = [[rows[state].get(event) for event in events] for state in states]

    def step(self, state: StateT, event: EventT) -> Row[StateT, ActT]:
        """Look a pair up. Raises AssertionError (a bug of ours: the process ends) when it is an impossibility."""
        row = self._table[state][event]
        if row is None:
            raise AssertionError(f"{event.name} in state {state.name} cannot be: {self.impossible[state][event]}")
        return row


def each(events: Iterable[EventT], why: str) -> dict[EventT, str]:
    """One reason for several events."""
    return dict.fromkeys(events, why)
